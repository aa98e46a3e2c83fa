#include "tools/pollux-bench/report.h"

#include <string.h>

#include "tools/pollux-bench/probe.h"

static const struct report_quantile {
    const char *name;
    double share;
} report_quantiles[] = {
    {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999},
};

enum { REPORT_QUANTILES = sizeof(report_quantiles) / sizeof(report_quantiles[0]) };

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static double mean_us(const struct histogram *histogram)
{
    return ratio((double)histogram->sum_ns, (double)histogram->total) / 1e3;
}

/* ---- Text ------------------------------------------------------------------------------------- */

static void text_latency(FILE *out, const char *what, const struct histogram *histogram)
{
    fprintf(out, "%s, us:", what);
    for (int i = 0; i < REPORT_QUANTILES; i++)
        fprintf(out, " %s %.1f", report_quantiles[i].name,
                (double)histogram_quantile(histogram, report_quantiles[i].share) / 1e3);
    fprintf(out, " max %.1f (mean %.1f)\n", (double)histogram->max_ns / 1e3, mean_us(histogram));
}

static void text_gap_side(FILE *out, const char *who, const struct gap_side *side)
{
    fprintf(out, "%s %llu, %.0f us in all, longest %.0f", who, (unsigned long long)side->count,
            (double)side->lost_ns / 1e3, (double)side->longest_ns / 1e3);
}

static void text_gaps(FILE *out, const struct gaps_report *gaps)
{
    text_latency(out, "without gaps", &gaps->latency);
    text_gap_side(out, "gaps: generator", &gaps->own);
    text_gap_side(out, "; server", &gaps->server);
    fprintf(out, "; left out %llu requests, %.2f %%\n", (unsigned long long)gaps->left_out,
            100 * ratio((double)gaps->left_out, (double)(gaps->left_out + gaps->latency.total)));
}

static void text_sides(FILE *out, const struct options *options, const struct result *result)
{
    if (result->server_cpu_s > 0)
        fprintf(out,
                "server: %.3f CPU seconds, %.0f %% of a core, %.0f requests for each CPU second\n",
                result->server_cpu_s, 100 * result->server_cpu_s / result->seconds,
                (double)result->requests / result->server_cpu_s);
    fprintf(out, "generator: %.3f CPU seconds, busy %.0f %% of the time%s\n", result->own_cpu_s,
            100 * result->busy_share,
            options->rate == 0 && result->busy_share > 0.95 ? ": it may be the limit" : "");
}

static void text_packets(FILE *out, const struct result *result)
{
    const struct transport_counters *packets = &result->packets;

    if (packets->packets_sent == 0)
        return;
    double all = (double)result->replies;
    fprintf(out, "packets a request: %.3f sent, %.3f received; %llu retransmitted\n",
            ratio((double)packets->packets_sent, all),
            ratio((double)packets->packets_received, all),
            (unsigned long long)packets->retransmits);
    if (packets->flood_per_s > 0)
        fprintf(out, "beside them: %.0f SYNs a second\n", packets->flood_per_s);
}

static void text_probe(FILE *out, const struct result *result)
{
    if (result->probe_ns[0] > 0)
        fprintf(out, "ring probe: %.0f ns before, %.0f ns after: %s\n", result->probe_ns[0],
                result->probe_ns[1], probe_label(result->probe_ns[0], result->probe_ns[1]));
}

static void text_echo(FILE *out, const struct options *options, const struct result *result)
{
    fprintf(out, "%llu frames of %u bytes there and back in %.3f s: %.0f a second, %llu lost\n",
            (unsigned long long)result->requests, options->frame_len, result->seconds,
            ratio((double)result->requests, result->seconds), (unsigned long long)result->lost);
    text_latency(out, "round trip", &result->latency);
    text_probe(out, result);
}

void report_text(FILE *out, const struct options *options, const struct result *result)
{
    if (options->l2_echo != NULL) {
        text_echo(out, options, result);
        return;
    }
    fprintf(out, "%llu requests in %.3f s: %.0f a second\n", (unsigned long long)result->requests,
            result->seconds, ratio((double)result->requests, result->seconds));
    text_latency(out, "latency", &result->latency);
    if (options->exclude_gaps)
        text_gaps(out, &result->gaps);
    if (options->churn > 0) {
        fprintf(out, "%llu connections: %.0f a second\n", (unsigned long long)result->connections,
                ratio((double)result->connections, result->seconds));
        text_latency(out, "connecting", &result->connect_latency);
    }
    text_sides(out, options, result);
    text_packets(out, result);
    fprintf(out, "replies: %llu errors, %llu MOVED, %llu nulls\n",
            (unsigned long long)result->counts.errors, (unsigned long long)result->counts.moved,
            (unsigned long long)result->counts.nulls);
    if (result->counts.errors > 0)
        fprintf(out, "first error: %s\n", result->counts.first_error);
    if (result->broken > 0)
        fprintf(out, "%llu connections broke, %llu requests were lost\n",
                (unsigned long long)result->broken, (unsigned long long)result->lost);
    text_probe(out, result);
}

/* ---- JSON ------------------------------------------------------------------------------------- */

void report_json_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++)
        fputc(*text == '"' || *text == '\\' || *text < ' ' || *text > '~' ? '?' : *text, out);
    fputc('"', out);
}

static void json_count(FILE *out, const char *name, uint64_t value)
{
    fprintf(out, "\"%s\": %llu, ", name, (unsigned long long)value);
}

static void json_number(FILE *out, const char *name, double value)
{
    fprintf(out, "\"%s\": %.9g, ", name, value);
}

static void json_latency(FILE *out, const char *name, const struct histogram *histogram)
{
    fprintf(out, "\"%s\": {", name);
    for (int i = 0; i < REPORT_QUANTILES; i++)
        fprintf(out, "\"%s\": %.3f, ", report_quantiles[i].name,
                (double)histogram_quantile(histogram, report_quantiles[i].share) / 1e3);
    json_number(out, "mean", mean_us(histogram));
    fprintf(out, "\"count\": %llu, \"max\": %.3f}, ", (unsigned long long)histogram->total,
            (double)histogram->max_ns / 1e3);
}

static void json_gap_side(FILE *out, const char *name, const struct gap_side *side)
{
    fprintf(out, "\"%s\": {", name);
    json_count(out, "count", side->count);
    json_count(out, "vague", side->vague);
    json_number(out, "lost_us", (double)side->lost_ns / 1e3);
    fprintf(out, "\"longest_us\": %.3f}, ", (double)side->longest_ns / 1e3);
}

static void json_gaps(FILE *out, const struct gaps_report *gaps)
{
    fputs("\"gaps\": {", out);
    json_gap_side(out, "generator", &gaps->own);
    json_gap_side(out, "server", &gaps->server);
    json_latency(out, "latency_us", &gaps->latency);
    fprintf(out, "\"left_out\": %llu}, ", (unsigned long long)gaps->left_out);
}

static void json_config(FILE *out, const struct options *options)
{
    fprintf(out, "\"config\": {\"transport\": ");
    report_json_string(out, options->dpdk_port != NULL ? options->dpdk_port : "kernel");
    fprintf(out, ", \"mix\": ");
    report_json_string(out, options->mix);
    fprintf(out, ", \"value_len\": ");
    report_json_string(out, options->value_len);
    fputs(", ", out);
    json_count(out, "clients", options->clients);
    json_count(out, "idle", options->idle);
    json_count(out, "pipeline", options->pipeline);
    json_count(out, "keys", options->keys);
    json_count(out, "key_len", options->request.format.len_bytes);
    json_number(out, "zipf", options->zipf);
    json_number(out, "rate", options->rate);
    json_count(out, "churn", options->churn);
    json_number(out, "warmup", options->warmup_s);
    json_number(out, "ramp", options->ramp_s);
    fprintf(out, "\"seed\": %llu}, ", (unsigned long long)options->request.seed);
}

static void json_series(FILE *out, const struct result *result)
{
    fputs("\"series\": [", out);
    for (uint32_t i = 0; i < result->series_count; i++) {
        const struct result_interval *one = &result->series[i];
        fprintf(out,
                "%s{\"end\": %.6f, \"seconds\": %.6f, \"requests\": %llu, \"connections\": %llu, "
                "\"p50_us\": %.3f, \"p99_us\": %.3f, \"max_us\": %.3f}",
                i > 0 ? ", " : "", one->end_s, one->seconds, (unsigned long long)one->requests,
                (unsigned long long)one->connections, (double)one->p50_ns / 1e3,
                (double)one->p99_ns / 1e3, (double)one->max_ns / 1e3);
    }
    fputs("], ", out);
}

static void json_counts(FILE *out, const struct result *result)
{
    json_count(out, "sent", result->sent);
    json_count(out, "replies", result->replies);
    json_count(out, "errors", result->counts.errors);
    json_count(out, "moved", result->counts.moved);
    json_count(out, "nulls", result->counts.nulls);
    json_count(out, "lost", result->lost);
    json_count(out, "broken", result->broken);
    json_count(out, "opened", result->opened);
    json_count(out, "preloaded", result->preloaded);
    json_count(out, "ports", result->ports);
    json_count(out, "next_key", result->next_key);
    json_count(out, "packets_sent", result->packets.packets_sent);
    json_count(out, "packets_received", result->packets.packets_received);
    json_count(out, "retransmits", result->packets.retransmits);
    json_number(out, "flood_per_second", result->packets.flood_per_s);
}

void report_json(FILE *out, const struct options *options, const struct result *result)
{
    double all = (double)result->replies;
    uint64_t packets = result->packets.packets_sent + result->packets.packets_received;

    fputc('{', out);
    json_count(out, "requests", result->requests);
    json_number(out, "seconds", result->seconds);
    json_number(out, "rate", ratio((double)result->requests, result->seconds));
    json_count(out, "connections", result->connections);
    json_number(out, "connection_rate", ratio((double)result->connections, result->seconds));
    json_number(out, "server_cpu_seconds", result->server_cpu_s);
    json_number(out, "load_cpu_seconds", result->own_cpu_s);
    json_number(out, "busy_share", result->busy_share);
    json_counts(out, result);
    json_number(out, "packets_per_request", ratio((double)packets, all));
    json_latency(out, "latency_us", &result->latency);
    json_latency(out, "connect_latency_us", &result->connect_latency);
    if (options->exclude_gaps)
        json_gaps(out, &result->gaps);
    json_number(out, "probe_before_ns", result->probe_ns[0]);
    json_number(out, "probe_after_ns", result->probe_ns[1]);
    fprintf(out, "\"cores\": \"%s\", ", probe_label(result->probe_ns[0], result->probe_ns[1]));
    if (options->l2_echo != NULL)
        fprintf(out, "\"l2_echo\": {\"frame_len\": %u, \"window\": %u}, ", options->frame_len,
                options->window);
    else
        json_config(out, options);
    json_series(out, result);
    fputs("\"first_error\": ", out);
    report_json_string(out, result->counts.first_error);
    fputs("}\n", out);
}

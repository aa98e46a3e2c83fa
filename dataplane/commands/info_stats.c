/* INFO: stats, commandstats, errorstats, latencystats, keyspace. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/histogram.h"
#include "dataplane/commands/holdings.h"
#include "dataplane/commands/info.h"
#include "dataplane/worker.h"

#define STAT(node, field) node_sum((node), offsetof(struct worker_stats, field))

/* ---- stats ---- */

/* Of the streams of all workers. */
struct traffic {
    uint64_t rx_bytes, tx_bytes, rx_events, tx_calls;
};

static struct traffic traffic_of(const struct node *node)
{
    struct traffic traffic = {0};

    for (uint32_t i = 0; i < node->worker_count; i++) {
        const struct worker *worker = node->workers[i];
        const struct stream_counters *counters = worker->driver->counters(worker->stream);
        traffic.rx_bytes += count_get(&counters->rx_bytes);
        traffic.tx_bytes += count_get(&counters->tx_bytes);
        traffic.rx_events += count_get(&counters->rx_events);
        traffic.tx_calls += count_get(&counters->tx_calls);
    }
    return traffic;
}

static void kilobytes(struct report *report, const char *name, uint64_t bytes)
{
    report_format(report, "%s:%.2f\r\n", name, (double)bytes / 1024);
}

static void rates(const struct node *node, const struct traffic *traffic, struct report *report)
{
    info_number(report, "total_connections_received", STAT(node, connections));
    info_number(report, "total_commands_processed", STAT(node, commands));
    info_number(report, "instantaneous_ops_per_sec", STAT(node, operations_per_second));
    info_number(report, "total_net_input_bytes", traffic->rx_bytes);
    info_number(report, "total_net_output_bytes", traffic->tx_bytes);
    info_number(report, "total_net_repl_input_bytes", 0);
    info_number(report, "total_net_repl_output_bytes", 0);
    kilobytes(report, "instantaneous_input_kbps", STAT(node, rx_per_second));
    kilobytes(report, "instantaneous_output_kbps", STAT(node, tx_per_second));
    kilobytes(report, "instantaneous_input_repl_kbps", 0);
    kilobytes(report, "instantaneous_output_repl_kbps", 0);
    info_number(report, "rejected_connections", STAT(node, rejected_connections));
}

static void expiry(const struct node *node, struct report *report)
{
    report_format(report, "expired_stale_perc:%.2f\r\n",
                  (double)STAT(node, expired_stale_permille) / 10);
    info_number(report, "expired_time_cap_reached_count", 0);
    info_number(report, "expire_cycle_cpu_milliseconds", STAT(node, expire_us) / 1000);
    info_number(report, "evicted_keys", STAT(node, evicted_keys));
    info_number(report, "evicted_clients", 0);
    info_number(report, "total_eviction_exceeded_time", STAT(node, over_limit_ms));
    info_number(report, "current_eviction_exceeded_time", 0);
}

void info_stats(struct call *call, struct report *report)
{
    static const char *const syncs[] = {"sync_full", "sync_partial_ok", "sync_partial_err", NULL};
    static const char *const absent[] = {"pubsub_channels",
                                         "pubsub_patterns",
                                         "pubsubshard_channels",
                                         "latest_fork_usec",
                                         "total_forks",
                                         "migrate_cached_sockets",
                                         "slave_expires_tracked_keys",
                                         "active_defrag_hits",
                                         "active_defrag_misses",
                                         "active_defrag_key_hits",
                                         "active_defrag_key_misses",
                                         "total_active_defrag_time",
                                         "current_active_defrag_time",
                                         "tracking_total_keys",
                                         "tracking_total_items",
                                         "tracking_total_prefixes",
                                         "unexpected_error_replies",
                                         NULL};
    static const char *const last[] = {"io_threaded_reads_processed",
                                       "io_threaded_writes_processed", "reply_buffer_shrinks",
                                       "reply_buffer_expands", NULL};
    const struct node *node = call->node;
    struct traffic traffic = traffic_of(node);

    rates(node, &traffic, report);
    info_zeros(report, syncs);
    info_number(report, "expired_keys", STAT(node, expired_keys));
    expiry(node, report);
    info_number(report, "keyspace_hits", STAT(node, keyspace_hits));
    info_number(report, "keyspace_misses", STAT(node, keyspace_misses));
    info_zeros(report, absent);
    info_number(report, "total_error_replies", STAT(node, total_error_replies));
    info_number(report, "dump_payload_sanitizations", 0);
    info_number(report, "total_reads_processed", traffic.rx_events);
    info_number(report, "total_writes_processed", traffic.tx_calls);
    info_zeros(report, last);
}

/* ---- commandstats ---- */

struct command_sums {
    uint64_t calls, nanoseconds, rejected, failed;
};

static struct command_sums sums_of(const struct node *node, uint32_t number)
{
    struct command_sums sums = {0};

    for (uint32_t i = 0; i < node->worker_count; i++) {
        const struct command_stats *stats = &node->workers[i]->command_stats[number];
        sums.calls += count_get(&stats->calls);
        sums.nanoseconds += count_get(&stats->nanoseconds);
        sums.rejected += count_get(&stats->rejected);
        sums.failed += count_get(&stats->failed);
    }
    return sums;
}

void info_commandstats(struct call *call, struct report *report)
{
    const struct command_index *index = call->node->commands;

    for (uint32_t number = 0; number < command_numbers(index); number++) {
        struct command_sums sums = sums_of(call->node, number);
        if (sums.calls == 0 && sums.rejected == 0 && sums.failed == 0)
            continue;
        double us = (double)sums.nanoseconds / 1000;
        report_format(report,
                      "cmdstat_%s:calls=%llu,usec=%llu,usec_per_call=%.2f,rejected_calls=%llu,"
                      "failed_calls=%llu\r\n",
                      command_by_number(index, number)->full_name, (unsigned long long)sums.calls,
                      (unsigned long long)(sums.nanoseconds / 1000),
                      sums.calls == 0 ? 0 : us / (double)sums.calls,
                      (unsigned long long)sums.rejected, (unsigned long long)sums.failed);
    }
}

/* ---- errorstats ---- */

struct error_sum {
    const char *code;
    uint64_t count;
};

/* The kinds of all workers, each once. */
struct error_sums {
    struct error_sum *kinds;
    uint32_t count;
};

static void add_error(struct error_sums *sums, const char *code, uint64_t count)
{
    for (uint32_t i = 0; i < sums->count; i++) {
        if (strcmp(sums->kinds[i].code, code) == 0) {
            sums->kinds[i].count += count;
            return;
        }
    }
    sums->kinds[sums->count++] = (struct error_sum){code, count};
}

static int by_code(const void *left, const void *right)
{
    return strcmp(((const struct error_sum *)left)->code, ((const struct error_sum *)right)->code);
}

void info_errorstats(struct call *call, struct report *report)
{
    const struct node *node = call->node;
    struct error_sums sums = {
        .kinds = calloc((size_t)node->worker_count * ERROR_KINDS_MAX, sizeof *sums.kinds)};

    if (sums.kinds == NULL) {
        report->failed = true;
        return;
    }
    for (uint32_t i = 0; i < node->worker_count; i++) {
        for (uint32_t k = 0; k < ERROR_KINDS_MAX; k++) {
            const struct error_kind *kind = &node->workers[i]->errors[k];
            uint64_t count = atomic_load_explicit(&kind->count, memory_order_acquire);
            if (count > 0)
                add_error(&sums, kind->code, count);
        }
    }
    qsort(sums.kinds, sums.count, sizeof *sums.kinds, by_code);
    for (uint32_t i = 0; i < sums.count; i++)
        report_format(report, "errorstat_%s:count=%llu\r\n", sums.kinds[i].code,
                      (unsigned long long)sums.kinds[i].count);
    free(sums.kinds);
}

/* ---- latencystats ---- */

static double percentile_us(const uint64_t counts[HISTOGRAM_BUCKETS], uint64_t total,
                            double percentile)
{
    uint64_t wanted = (uint64_t)ceil((double)total * percentile / 100), seen = 0;

    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += counts[bucket];
        if (seen >= wanted && seen > 0)
            return (double)histogram_bucket_top_ns(bucket) / 1000;
    }
    return 0;
}

void info_latencystats(struct call *call, struct report *report)
{
    const struct node *node = call->node;
    const struct config_percentiles *percentiles = node->config->latency_tracking_info_percentiles;

    if (node->config->latency_tracking == 0)
        return;
    for (uint32_t number = 0; number < command_numbers(node->commands); number++) {
        uint64_t counts[HISTOGRAM_BUCKETS];
        uint64_t total = command_durations(node, number, counts);
        if (total == 0)
            continue;
        report_format(report, "latency_percentiles_usec_%s:",
                      command_by_number(node->commands, number)->full_name);
        for (unsigned i = 0; i < percentiles->count; i++)
            report_format(report, "%sp%.10g=%.3f", i > 0 ? "," : "", percentiles->values[i],
                          percentile_us(counts, total, percentiles->values[i]));
        report_text(report, "\r\n");
    }
}

/* ---- keyspace ---- */

static struct holdings holdings(const struct call *call, const struct keyspace *keyspace)
{
    if (keyspace == NULL)
        return (struct holdings){0};
    if (call->session->cluster)
        return holdings_of_port(call, keyspace);
    return (struct holdings){keyspace_keys(keyspace), keyspace_expires(keyspace)};
}

void info_keyspace(struct call *call, struct report *report)
{
    const struct node *node = call->node;

    for (uint32_t db = 0; db < node->database_count; db++) {
        const struct keyspace *keyspace = keyspace_get(node, db);
        struct holdings held = holdings(call, keyspace);
        if (held.keys <= 0)
            continue;
        /* The mean is that of all workers' keys on the port of one, too: sums of deadlines are
         * kept by executing worker, not by slot. */
        int64_t mean_ms = held.expires <= 0 ? 0 : keyspace_mean_ttl_ms(keyspace, call->now_unix_ms);
        report_format(report, "db%u:keys=%lld,expires=%lld,avg_ttl=%lld\r\n", db,
                      (long long)held.keys, (long long)(held.expires < 0 ? 0 : held.expires),
                      (long long)mean_ms);
    }
}

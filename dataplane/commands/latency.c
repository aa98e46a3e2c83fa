/* The latency monitor: samples of what took too long, and the commands that show them.
 * LATENCY HISTOGRAM is in histograms.c. */
#include "dataplane/commands/latency.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/functions.h"
#include "dataplane/commands/gather.h"
#include "dataplane/commands/report.h"
#include "dataplane/worker.h"

enum {
    NAME_MAX_BYTES = 32,
    GRAPH_BAR_MAX = 50,
    AGE_MAX = 24,
};

struct sample {
    int64_t unix_s;
    uint64_t ms;
};

struct event {
    const char *name;
    uint64_t worst_ms;
    uint32_t count, next; /* samples held; where the next one goes */
    struct sample samples[LATENCY_SAMPLES];
};

struct latency {
    struct event *events[LATENCY_EVENTS_MAX];
    uint32_t count;
};

struct latency *latency_create(void)
{
    return calloc(1, sizeof(struct latency));
}

static void forget(struct latency *latency, uint32_t index)
{
    free(latency->events[index]);
    latency->events[index] = latency->events[--latency->count];
}

void latency_destroy(struct latency *latency)
{
    while (latency != NULL && latency->count > 0)
        forget(latency, 0);
    free(latency);
}

static struct event *event_of(struct latency *latency, const char *name)
{
    for (uint32_t i = 0; i < latency->count; i++)
        if (strcmp(latency->events[i]->name, name) == 0)
            return latency->events[i];
    if (latency->count == LATENCY_EVENTS_MAX)
        return NULL;
    struct event *event = calloc(1, sizeof *event);
    if (event == NULL)
        return NULL;
    event->name = name;
    latency->events[latency->count++] = event;
    return event;
}

void latency_note(struct worker *worker, const char *name, uint64_t duration_ms)
{
    struct event *event = event_of(worker->latency, name);
    int64_t now_s = worker->now_unix_ms / 1000;

    if (event == NULL)
        return;
    if (duration_ms > event->worst_ms)
        event->worst_ms = duration_ms;
    struct sample *last = &event->samples[(event->next + LATENCY_SAMPLES - 1) % LATENCY_SAMPLES];
    if (event->count > 0 && last->unix_s == now_s) { /* one a second: the worst */
        if (duration_ms > last->ms)
            last->ms = duration_ms;
        return;
    }
    event->samples[event->next] = (struct sample){now_s, duration_ms};
    event->next = (event->next + 1) % LATENCY_SAMPLES;
    if (event->count < LATENCY_SAMPLES)
        event->count++;
}

/* ---- what a worker hands over: for each event a head, and its samples, oldest first ---- */

struct head {
    char name[NAME_MAX_BYTES];
    uint64_t worst_ms;
    uint32_t count;
};

static void write_event(struct reply *reply, const struct event *event)
{
    struct head head = {.worst_ms = event->worst_ms, .count = event->count};
    uint32_t first = (event->next + LATENCY_SAMPLES - event->count) % LATENCY_SAMPLES;

    strncpy(head.name, event->name, sizeof head.name - 1);
    reply_bytes(reply, (const char *)&head, sizeof head);
    for (uint32_t i = 0; i < event->count; i++)
        reply_bytes(reply, (const char *)&event->samples[(first + i) % LATENCY_SAMPLES],
                    sizeof(struct sample));
}

static bool named(const struct event *event, struct text text)
{
    return strlen(event->name) == text.len_bytes &&
           memcmp(event->name, text.data, text.len_bytes) == 0;
}

static void gather_events(struct worker *worker, const struct text *name, struct reply *reply)
{
    for (uint32_t i = 0; i < worker->latency->count; i++)
        if (name == NULL || named(worker->latency->events[i], *name))
            write_event(reply, worker->latency->events[i]);
}

void gather_latency_history(struct worker *worker, struct call *call, struct reply_memory *part,
                            uint64_t *number)
{
    gather_events(worker, &call->argv[2], &part->reply);
}

void gather_latency_graph(struct worker *worker, struct call *call, struct reply_memory *part,
                          uint64_t *number)
{
    gather_events(worker, &call->argv[2], &part->reply);
}

void gather_latency_latest(struct worker *worker, struct call *call, struct reply_memory *part,
                           uint64_t *number)
{
    gather_events(worker, NULL, &part->reply);
}

void gather_latency_doctor(struct worker *worker, struct call *call, struct reply_memory *part,
                           uint64_t *number)
{
    gather_events(worker, NULL, &part->reply);
}

void gather_latency_reset(struct worker *worker, struct call *call, struct reply_memory *part,
                          uint64_t *number)
{
    struct latency *latency = worker->latency;

    for (uint32_t i = latency->count; i-- > 0;) {
        bool matches = call->argc == 2;
        for (uint32_t j = 2; j < call->argc && !matches; j++)
            matches = named(latency->events[i], call->argv[j]);
        if (!matches)
            continue;
        write_event(&part->reply, latency->events[i]);
        forget(latency, i);
    }
}

/* ---- the node's view ---- */

struct merged_event {
    char name[NAME_MAX_BYTES];
    uint64_t worst_ms;
    uint32_t count;
    struct sample samples[LATENCY_SAMPLES]; /* oldest first */
};

struct merged {
    uint32_t count;
    struct merged_event *events[LATENCY_EVENTS_MAX];
};

static void merged_fini(struct merged *merged)
{
    while (merged->count > 0)
        free(merged->events[--merged->count]);
}

static struct merged_event *merged_of(struct merged *merged, const char *name)
{
    for (uint32_t i = 0; i < merged->count; i++)
        if (strcmp(merged->events[i]->name, name) == 0)
            return merged->events[i];
    if (merged->count == LATENCY_EVENTS_MAX)
        return NULL;
    struct merged_event *event = calloc(1, sizeof *event);
    if (event == NULL)
        return NULL;
    memcpy(event->name, name, sizeof event->name);
    merged->events[merged->count++] = event;
    return event;
}

/* Keeps the samples in the order of time, one a second, the latest LATENCY_SAMPLES. */
static void merge_sample(struct merged_event *event, struct sample sample)
{
    uint32_t at = event->count;

    while (at > 0 && event->samples[at - 1].unix_s > sample.unix_s)
        at--;
    if (at > 0 && event->samples[at - 1].unix_s == sample.unix_s) {
        if (sample.ms > event->samples[at - 1].ms)
            event->samples[at - 1].ms = sample.ms;
        return;
    }
    if (event->count == LATENCY_SAMPLES) {
        if (at == 0)
            return;
        at--;
        memmove(&event->samples[0], &event->samples[1], at * sizeof sample);
    } else {
        memmove(&event->samples[at + 1], &event->samples[at], (event->count - at) * sizeof sample);
        event->count++;
    }
    event->samples[at] = sample;
}

static bool merge_part(struct merged *merged, struct gather_part *part)
{
    struct head head;
    struct sample sample;

    while (gather_read(part, &head, sizeof head)) {
        struct merged_event *event = merged_of(merged, head.name);
        if (event == NULL)
            return false;
        if (head.worst_ms > event->worst_ms)
            event->worst_ms = head.worst_ms;
        for (; head.count > 0 && gather_read(part, &sample, sizeof sample); head.count--)
            merge_sample(event, sample);
    }
    return true;
}

/* False: an error was replied. */
static bool merge(struct call *call, struct merged *merged)
{
    *merged = (struct merged){0};
    if (gather_failed(call))
        return false;
    for (uint32_t i = 0; i < call->part_count; i++) {
        if (merge_part(merged, &call->parts[i]))
            continue;
        merged_fini(merged);
        reply_error(call->reply, "-OOM no memory for the samples");
        return false;
    }
    return true;
}

/* ---- the commands ---- */

void cmd_latency_history(struct call *call)
{
    struct merged merged;

    if (!merge(call, &merged))
        return;
    uint32_t count = merged.count == 0 ? 0 : merged.events[0]->count;
    reply_array(call->reply, count);
    for (uint32_t i = 0; i < count; i++) {
        reply_array(call->reply, 2);
        reply_integer(call->reply, merged.events[0]->samples[i].unix_s);
        reply_integer(call->reply, (int64_t)merged.events[0]->samples[i].ms);
    }
    merged_fini(&merged);
}

void cmd_latency_latest(struct call *call)
{
    struct merged merged;

    if (!merge(call, &merged))
        return;
    reply_array(call->reply, merged.count);
    for (uint32_t i = 0; i < merged.count; i++) {
        const struct merged_event *event = merged.events[i];
        const struct sample *last = &event->samples[event->count - 1];
        reply_array(call->reply, 4);
        reply_bulk_cstr(call->reply, event->name);
        reply_integer(call->reply, last->unix_s);
        reply_integer(call->reply, (int64_t)last->ms);
        reply_integer(call->reply, (int64_t)event->worst_ms);
    }
    merged_fini(&merged);
}

void cmd_latency_reset(struct call *call)
{
    struct merged merged;

    if (!merge(call, &merged))
        return;
    reply_integer(call->reply, merged.count);
    merged_fini(&merged);
}

static void span(const struct merged_event *event, uint64_t *low_ms, uint64_t *high_ms)
{
    *low_ms = UINT64_MAX;
    *high_ms = 0;
    for (uint32_t i = 0; i < event->count; i++) {
        uint64_t ms = event->samples[i].ms;
        *low_ms = ms < *low_ms ? ms : *low_ms;
        *high_ms = ms > *high_ms ? ms : *high_ms;
    }
}

static void age(int64_t seconds, char text[AGE_MAX])
{
    if (seconds < 60)
        snprintf(text, AGE_MAX, "%llds", (long long)(seconds < 0 ? 0 : seconds));
    else if (seconds < 3600)
        snprintf(text, AGE_MAX, "%lldm", (long long)seconds / 60);
    else if (seconds < 86400)
        snprintf(text, AGE_MAX, "%lldh", (long long)seconds / 3600);
    else
        snprintf(text, AGE_MAX, "%lldd", (long long)seconds / 86400);
}

static void draw(const struct call *call, const struct merged_event *event, struct report *report)
{
    static const char bar[] = "##################################################";
    uint64_t low_ms, high_ms;

    _Static_assert(sizeof bar == GRAPH_BAR_MAX + 1, "the longest bar");
    span(event, &low_ms, &high_ms);
    report_format(report, "%s - high %llu ms, low %llu ms (all time high %llu ms)\n", event->name,
                  (unsigned long long)high_ms, (unsigned long long)low_ms,
                  (unsigned long long)event->worst_ms);
    report_text(report, "--------------------------------------------------------------------\n");
    for (uint32_t i = 0; i < event->count; i++) {
        const struct sample *sample = &event->samples[i];
        char ago[AGE_MAX];
        age(call->now_unix_ms / 1000 - sample->unix_s, ago);
        double share = high_ms == 0 ? 0 : (double)sample->ms / (double)high_ms;
        report_format(report, "%5s ago |%-*.*s| %llu ms\n", ago, GRAPH_BAR_MAX,
                      (int)ceil(share * GRAPH_BAR_MAX), bar, (unsigned long long)sample->ms);
    }
}

void cmd_latency_graph(struct call *call)
{
    struct report report = {0};
    struct merged merged;

    if (!merge(call, &merged))
        return;
    if (merged.count == 0) {
        reply_errorf(call->reply, "No samples available for event '%.*s'",
                     text_shown(call->argv[2]), call->argv[2].data);
        return;
    }
    draw(call, merged.events[0], &report);
    merged_fini(&merged);
    report_reply(&report, call->reply);
}

static void describe(const struct merged_event *event, struct report *report)
{
    double sum = 0, deviation = 0, count = event->count;

    for (uint32_t i = 0; i < event->count; i++)
        sum += (double)event->samples[i].ms;
    for (uint32_t i = 0; i < event->count; i++)
        deviation += fabs((double)event->samples[i].ms - sum / count);
    double span_s = (double)(event->samples[event->count - 1].unix_s - event->samples[0].unix_s);
    report_format(report,
                  "* %s: %u spikes, %.0f ms on average (mean deviation %.0f ms), one every %.2f "
                  "seconds; the worst ever took %llu ms.\n",
                  event->name, event->count, sum / count, deviation / count,
                  count > 1 ? span_s / (count - 1) : 0, (unsigned long long)event->worst_ms);
}

void cmd_latency_doctor(struct call *call)
{
    struct report report = {0};
    struct merged merged;
    bool commands = false;

    if (!merge(call, &merged))
        return;
    if (merged.count == 0 && call->node->config->latency_monitor_threshold == 0) {
        report_text(&report, "The latency monitor is off. Switch it on with CONFIG SET "
                             "latency-monitor-threshold <milliseconds>, and ask again later.\n");
    } else if (merged.count == 0) {
        report_format(&report,
                      "Nothing took %lld ms or longer since the monitor was switched on or "
                      "reset.\n",
                      (long long)call->node->config->latency_monitor_threshold);
    } else {
        report_text(&report, "These took longer than latency-monitor-threshold allows:\n\n");
        for (uint32_t i = 0; i < merged.count; i++) {
            describe(merged.events[i], &report);
            commands |= strstr(merged.events[i]->name, "command") != NULL;
        }
        if (commands)
            report_text(&report,
                        "\nSome commands are slow by themselves. SLOWLOG GET names them; commands "
                        "that look at many keys or at a large value are better split, or sent as "
                        "SCAN and its like. INFO workers shows the longest turn of each worker: "
                        "where it is longer than its CPU time, other processes held the core.\n");
    }
    merged_fini(&merged);
    report_reply(&report, call->reply);
}

void cmd_latency_help(struct call *call)
{
    static const char *const lines[] = {
        "DOCTOR",
        "    Explain the samples in words.",
        "GRAPH <event>",
        "    Draw the samples of an event.",
        "HISTOGRAM [<command> ...]",
        "    How the run times of commands are distributed: for each command its calls, and how",
        "    many of them took up to so many microseconds.",
        "HISTORY <event>",
        "    The samples of an event: Unix time and milliseconds.",
        "LATEST",
        "    The latest sample of each event, and the worst.",
        "RESET [<event> ...]",
        "    Drop the samples of these events, or of all.",
    };

    call_help(call, lines, sizeof lines / sizeof *lines);
}

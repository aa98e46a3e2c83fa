/* INFO: workers. A line for each, "worker0:name=value,name=value". */
#include "dataplane/client/client.h"
#include "dataplane/commands/info.h"

/* Figures that are counted, under the names shown. */
static const struct figure {
    const char *name;
    size_t offset; /* in struct worker_stats */
    uint64_t unit;
} figures[] = {
#define FIGURE(name, field, unit)                                                                  \
    {                                                                                              \
        name, offsetof(struct worker_stats, field), unit                                           \
    }
    FIGURE("commands", commands, 1),
    FIGURE("ops_per_sec", operations_per_second, 1),
    FIGURE("connections", connections, 1),
    FIGURE("hops", client_queries_hops, 1),
    FIGURE("forwarded_in", forwarded_in, 1),
    FIGURE("loans_taken", loans_taken, 1),
    FIGURE("loans_granted", loans_granted, 1),
    FIGURE("loans_refused", loans_refused, 1),
    FIGURE("second_rounds", loan_second_rounds, 1),
    FIGURE("mails_sent", mails_sent, 1),
    FIGURE("mails_received", mails_received, 1),
    FIGURE("wakeups", wakeups_sent, 1),
    FIGURE("parked", parked, 1),
    FIGURE("slots_moved_in", slots_moved_in, 1),
    FIGURE("slots_moved_out", slots_moved_out, 1),
    FIGURE("turns", turns, 1),
    FIGURE("sleeps", sleeps, 1),
    FIGURE("long_turns", long_turns, 1), /* over 1 ms of CPU time */
    FIGURE("longest_turn_cpu_us", longest_turn_cpu_ns, 1000),
    FIGURE("longest_turn_us", longest_turn_us, 1),
    FIGURE("gaps", gaps, 1), /* its core was somebody else's: POLLUX GAPS */
    FIGURE("gap_us", gap_ns, 1000),
    FIGURE("expired_keys", expired_keys, 1),
    FIGURE("expiry_backlog_ms", expiry_backlog_ms, 1),
    FIGURE("evicted_keys", evicted_keys, 1),
    FIGURE("lazyfree_pending", lazyfree_pending, 1),
    FIGURE("lazyfreed", lazyfreed, 1),
    FIGURE("client_bytes", client_bytes, 1),
    FIGURE("page_bytes", page_bytes, 1),
    FIGURE("protocol_errors", protocol_errors, 1),
    FIGURE("query_buffer_disconnects", query_buffer_limit_disconnects, 1),
    FIGURE("output_buffer_disconnects", output_buffer_limit_disconnects, 1),
#undef FIGURE
};

static void field(struct report *report, const char *name, uint64_t value)
{
    report_format(report, ",%s=%llu", name, (unsigned long long)value);
}

static void line(const struct worker *worker, uint32_t slots, struct report *report)
{
    const struct stream_counters *stream = worker->driver->counters(worker->stream);

    report_format(report, "worker%u:cpu=%d,numa_node=%d", worker->index, worker->cpu,
                  worker->numa_node);
    field(report, "clients", count_get(&worker->stats.clients));
    field(report, "slots", slots);
    field(report, "hangs", count_get(&worker->hangs));
    field(report, "hung_s", count_get(&worker->hung_s));
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        field(report, figures[i].name,
              count_get(
                  (const _Atomic uint64_t *)((const char *)&worker->stats + figures[i].offset)) /
                  figures[i].unit);
    /* Negative where it frees what others made. */
    report_format(report, ",used_bytes=%lld", (long long)memory_used_bytes(worker->memory));
    field(report, "rx_bytes", count_get(&stream->rx_bytes));
    field(report, "tx_bytes", count_get(&stream->tx_bytes));
    field(report, "rx_nobufs", count_get(&stream->rx_nobufs));
    field(report, "accept_errors", count_get(&stream->accept_errors));
    report_text(report, "\r\n");
}

void info_workers(struct call *call, struct report *report)
{
    uint32_t slots[WORKERS_MAX] = {0};

    for (uint32_t slot = 0; slot < SLOTS; slot++)
        slots[atomic_load_explicit(&call->node->owner[slot], memory_order_relaxed)]++;
    for (uint32_t i = 0; i < call->node->worker_count; i++)
        line(call->node->workers[i], slots[i], report);
}

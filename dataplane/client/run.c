/* Run: one command on the worker that holds its slots, with everything that is counted about it. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/client/client.h"
#include "dataplane/commands/histogram.h"
#include "dataplane/commands/latency.h"
#include "dataplane/commands/slowlog.h"

uint64_t run_clock_ns(const struct worker *worker)
{
    return clock_stamp_ns(&worker->node->tsc);
}

void run_count_error(struct worker *worker, const char *code)
{
    count_add(&worker->stats.total_error_replies, 1);
    if (code[0] == '\0')
        code = "ERR";
    for (uint32_t i = 0; i < ERROR_KINDS_MAX; i++) {
        struct error_kind *kind = &worker->errors[i];
        uint64_t count = count_get(&kind->count);
        if (kind->code[0] == '\0') /* readers look at it when the count says that it is there */
            strncpy(kind->code, code, sizeof kind->code - 1);
        else if (strncmp(kind->code, code, sizeof kind->code) != 0)
            continue;
        atomic_store_explicit(&kind->count, count + 1, memory_order_release);
        return;
    }
}

static void note_latency(struct call *call, struct command_stats *stats, uint64_t took_ns)
{
    struct worker *worker = call->worker;
    struct config *config = call->node->config;
    int64_t slower_than_us = config->slowlog_log_slower_than;

    if (config->latency_tracking != 0) {
        struct histogram *histogram = atomic_load_explicit(&stats->latency, memory_order_relaxed);
        if (histogram == NULL) {
            histogram = calloc(1, sizeof *histogram);
            atomic_store_explicit(&stats->latency, histogram, memory_order_release);
        }
        if (histogram != NULL)
            histogram_add(histogram, took_ns);
    }
    if (slower_than_us >= 0 && took_ns / 1000 >= (uint64_t)slower_than_us &&
        (call->command->flags & CMD_SKIP_SLOWLOG) == 0)
        slowlog_add(call, took_ns / 1000);
    if (config->latency_monitor_threshold > 0 &&
        took_ns / 1000000 >= (uint64_t)config->latency_monitor_threshold)
        latency_note(worker, (call->command->flags & CMD_FAST) != 0 ? "fast-command" : "command",
                     took_ns / 1000000);
}

void run_note(struct call *call, uint64_t took_ns, uint64_t errors)
{
    struct worker *worker = call->worker;
    struct command_stats *stats =
        &worker->command_stats[command_number(call->node->commands, call->command)];

    count_add(&stats->calls, 1);
    count_add(&stats->nanoseconds, took_ns);
    count_add(&worker->stats.commands, 1);
    if (errors > 0) {
        count_add(&stats->failed, 1);
        run_count_error(worker, reply_error_code(call->reply));
    }
    note_latency(call, stats, took_ns);
}

void call_run(struct call *call)
{
    struct worker *worker = call->worker;
    uint32_t errors = call->reply->errors;
    uint64_t started_ns = worker->clock_ns;

    call->command->run(call);
    if (call->dirty != 0) {
        count_add(&worker->stats.changes, call->dirty);
        gate_commit(call);
    }
    worker->clock_ns = run_clock_ns(worker);
    if ((call->command->flags & CMD_WALK) != 0 && call->continue_slot >= 0)
        return; /* a step of a walk: its last one counts */
    run_note(call, worker->clock_ns > started_ns ? worker->clock_ns - started_ns : 0,
             call->reply->errors - errors);
}

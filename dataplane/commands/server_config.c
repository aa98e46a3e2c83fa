/* CONFIG: GET, SET, REWRITE, RESETSTAT. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/directive.h"
#include "config/rewrite.h"
#include "dataplane/client/client.h"
#include "dataplane/commands/functions.h"
#include "dataplane/commands/histogram.h"
#include "dataplane/commands/server.h"

/* The arguments behind "CONFIG GET" or "CONFIG SET"; NULL without memory. The caller frees it. */
static struct config_span *spans_of(const struct call *call, unsigned *count)
{
    struct config_span *spans = malloc(call->argc * sizeof *spans);

    *count = call->argc - 2;
    for (unsigned i = 0; spans != NULL && i < *count; i++)
        spans[i] = (struct config_span){call->argv[i + 2].data, call->argv[i + 2].len_bytes};
    return spans;
}

/* config's texts begin with their code. */
static void reply_config_error(struct reply *reply, const char *text)
{
    reply_error(reply, strncmp(text, "ERR ", 4) == 0 ? text + 4 : text);
}

/* ---- GET ---- */

static void emit_nothing(void *arg, const char *name, size_t name_len, const char *value,
                         size_t value_len)
{
}

static void emit_pair(void *arg, const char *name, size_t name_len, const char *value,
                      size_t value_len)
{
    struct reply *reply = arg;

    reply_bulk(reply, (struct text){name, name_len});
    reply_bulk(reply, (struct text){value, value_len});
}

void cmd_config_get(struct call *call)
{
    const struct config *config = call->node->config;
    unsigned count;
    struct config_span *patterns = spans_of(call, &count);

    if (patterns == NULL) {
        reply_error(call->reply, "-OOM no memory for the patterns");
        return;
    }
    /* Which names match never changes, so that counting first gives the header. */
    int found = config_get(config, patterns, count, emit_nothing, NULL);
    if (found < 0) {
        reply_errorf(call->reply, "CONFIG GET takes at most %d patterns", CONFIG_GET_PATTERNS_MAX);
    } else {
        reply_map(call->reply, (uint64_t)found);
        config_get(config, patterns, count, emit_pair, call->reply);
    }
    free(patterns);
}

/* ---- SET ---- */

/* Sockets are opened on all workers: only the control thread can wait for them. */
bool waits_config_set(const struct call *call)
{
    for (uint32_t i = 2; i + 1 < call->argc; i += 2) {
        const struct directive *directive =
            directive_find(call->argv[i].data, call->argv[i].len_bytes, NULL);
        if (directive != NULL &&
            (strcmp(directive->name, "port") == 0 || strcmp(directive->name, "bind") == 0))
            return true;
    }
    return false;
}

void control_config_set(struct call *call, struct gather_part *part)
{
    const struct node_control *control = call->node->control_calls;
    char text[CONFIG_REASON_MAX];
    unsigned count;
    struct config_span *words = spans_of(call, &count);
    bool local = part->number != 0;

    part->number = 0; /* then: 1 if it is done and the reply is in the part */
    if (words != NULL && waits_config_set(call)) {
        part->number = 1;
        if (control->configure(call->node->control, words, count, local, text) < 0)
            reply_config_error(&part->memory.reply, text);
        else
            reply_ok(&part->memory.reply);
    }
    free(words);
}

static bool is_local(const struct call *call)
{
    const struct client *client = call->client;

    return client != NULL && client->conn != NULL &&
           call->worker->driver->is_loopback(client->conn);
}

void cmd_config_set(struct call *call)
{
    struct node *node = call->node;
    const struct node_control *control = node->control_calls;
    char text[CONFIG_REASON_MAX];
    unsigned count;
    struct config_span *words;

    if (call->part_count > 0 && call->parts[0].number == 1) {
        reply_memory_move(&call->parts[0].memory, call->reply);
        return;
    }
    words = spans_of(call, &count);
    if (words == NULL)
        reply_error(call->reply, "-OOM no memory for the directives");
    else if (config_set(node->config, words, count, is_local(call),
                        control == NULL ? NULL : control->apply, node->control, text) < 0)
        reply_config_error(call->reply, text);
    else
        reply_ok(call->reply);
    free(words);
}

/* ---- REWRITE ---- */

bool waits_config_rewrite(const struct call *call)
{
    (void)call;
    return true;
}

void control_config_rewrite(struct call *call, struct gather_part *part)
{
    char text[CONFIG_REASON_MAX];

    if (config_rewrite(call->node->config, text) < 0)
        reply_config_error(&part->memory.reply, text);
    else
        reply_ok(&part->memory.reply);
}

void cmd_config_rewrite(struct call *call)
{
    if (call->part_count == 0)
        reply_error(call->reply, "CONFIG REWRITE needs the control thread");
    else
        reply_memory_move(&call->parts[0].memory, call->reply);
}

/* ---- RESETSTAT ---- */

static void set_zero(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, 0, memory_order_relaxed);
}

static void reset_rates(struct worker *worker)
{
    /* The counters of the stream have this worker as their one writer. */
    struct stream_counters *stream =
        (struct stream_counters *)worker->driver->counters(worker->stream);

    set_zero(&stream->rx_bytes);
    set_zero(&stream->tx_bytes);
    set_zero(&stream->rx_events);
    set_zero(&stream->tx_calls);
    memset(worker->rates, 0, sizeof worker->rates);
    set_zero(&worker->stats.operations_per_second);
    set_zero(&worker->stats.rx_per_second);
    set_zero(&worker->stats.tx_per_second);
}

static void reset_commands(struct worker *worker)
{
    for (uint32_t i = 0; i < command_numbers(worker->node->commands); i++) {
        struct command_stats *stats = &worker->command_stats[i];
        struct histogram *histogram = atomic_load_explicit(&stats->latency, memory_order_relaxed);

        set_zero(&stats->calls);
        set_zero(&stats->nanoseconds);
        set_zero(&stats->rejected);
        set_zero(&stats->failed);
        /* Other workers may be reading it: it is emptied, not freed. */
        for (uint32_t bucket = 0; histogram != NULL && bucket < HISTOGRAM_BUCKETS; bucket++)
            set_zero(&histogram->counts[bucket]);
    }
}

void gather_config_resetstat(struct worker *worker, struct call *call, struct reply_memory *part,
                             uint64_t *number)
{
    struct worker_stats *stats = &worker->stats;
    _Atomic uint64_t *const counters[] = {
        &stats->commands,
        &stats->connections,
        &stats->rejected_connections,
        &stats->keyspace_hits,
        &stats->keyspace_misses,
        &stats->expired_keys,
        &stats->evicted_keys,
        &stats->expired_stale_permille,
        &stats->error_replies,
        &stats->protocol_errors,
        &stats->query_buffer_limit_disconnects,
        &stats->output_buffer_limit_disconnects,
        &stats->client_queries_hops,
        &stats->forwarded_in,
        &stats->loans_taken,
        &stats->loans_granted,
        &stats->loans_refused,
        &stats->loan_second_rounds,
        &stats->slots_moved_in,
        &stats->slots_moved_out,
        &stats->mails_sent,
        &stats->mails_received,
        &stats->wakeups_sent,
        &stats->parked,
        &stats->turns,
        &stats->long_turns,
        &stats->longest_turn_cpu_ns,
        &stats->longest_turn_us,
        &stats->gaps,
        &stats->gap_ns,
        &stats->sleeps,
        &stats->lazyfreed,
        &stats->total_error_replies,
        &stats->monitor_lines,
    };

    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
        set_zero(counters[i]);
    for (uint32_t i = 0; i < ERROR_KINDS_MAX; i++)
        set_zero(&worker->errors[i].count);
    reset_rates(worker);
    reset_commands(worker);
}

void cmd_config_resetstat(struct call *call)
{
    reply_ok(call->reply);
}

/* ---- HELP ---- */

void cmd_config_help(struct call *call)
{
    static const char *const lines[] = {
        "GET <pattern> [<pattern> ...]",
        "    The directives that match, with their values.",
        "SET <directive> <value> [<directive> <value> ...]",
        "    Change directives: all of them, or none.",
        "RESETSTAT",
        "    Start the figures of INFO anew.",
        "REWRITE",
        "    Bring the configuration file up to date.",
    };

    call_help(call, lines, sizeof lines / sizeof lines[0]);
}

/* LATENCY HISTOGRAM: the run times of each command, over all workers. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/functions.h"
#include "dataplane/commands/histogram.h"
#include "dataplane/worker.h"

enum {
    FIRST_POWER = 10,         /* the shortest class is 2^10 ns */
    LABEL_PRECISION_BITS = 7, /* Redis labels a class with the end of its first 1/128 */
};

uint64_t command_durations(const struct node *node, uint32_t number,
                           uint64_t counts[HISTOGRAM_BUCKETS])
{
    uint64_t total = 0;

    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++)
        counts[bucket] = 0;
    for (uint32_t i = 0; i < node->worker_count; i++) {
        const struct histogram *histogram =
            atomic_load_explicit(&node->workers[i]->command_stats[number].latency,
                                 memory_order_acquire);
        if (histogram == NULL)
            continue;
        for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
            uint64_t count = count_get(&histogram->counts[bucket]);
            counts[bucket] += count;
            total += count;
        }
    }
    return total;
}

/* Writes the classes that hold something, each with the count of itself and all shorter ones;
 * `reply` NULL only counts them. */
static uint32_t classes(const uint64_t counts[HISTOGRAM_BUCKETS], struct reply *reply)
{
    uint64_t seen = 0, shown = 0;
    uint32_t bucket = 0, written = 0;

    for (uint32_t power = FIRST_POWER; power <= HISTOGRAM_OCTAVES; power++) {
        uint64_t limit_ns = (uint64_t)1 << power;
        bool last = power == HISTOGRAM_OCTAVES; /* and what took longer still */
        while (bucket < HISTOGRAM_BUCKETS && (last || histogram_bucket_top_ns(bucket) < limit_ns))
            seen += counts[bucket++];
        if (seen == shown)
            continue;
        shown = seen;
        written++;
        if (reply == NULL)
            continue;
        uint64_t label_ns = limit_ns + (limit_ns >> LABEL_PRECISION_BITS) - 1;
        reply_integer(reply, (int64_t)(label_ns / 1000));
        reply_integer(reply, (int64_t)seen);
    }
    return written;
}

/* The reply so far. Each command is shown once, however often it is asked for. */
struct listing {
    const struct node *node;
    struct reply *reply;
    bool *seen; /* by command number */
    uint64_t written;
};

static void write_command(struct listing *listing, const struct command *command)
{
    const struct command_index *index = listing->node->commands;
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint32_t number = command_number(index, command);
    struct reply *reply = listing->reply;

    if (listing->seen[number])
        return;
    listing->seen[number] = true;
    uint64_t total = command_durations(listing->node, number, counts);
    if (total == 0)
        return; /* it has not run yet */
    reply_bulk_cstr(reply, command_full_name(index, command));
    reply_map(reply, 2);
    reply_bulk_cstr(reply, "calls");
    reply_integer(reply, (int64_t)total);
    reply_bulk_cstr(reply, "histogram_usec");
    reply_map(reply, classes(counts, NULL));
    classes(counts, reply);
    listing->written++;
}

static void write_with_subcommands(struct listing *listing, const struct command *command)
{
    write_command(listing, command);
    for (uint32_t i = 0; i < command->subcommand_count; i++)
        write_command(listing, &command->subcommands[i]);
}

/* By a name as COMMAND LIST shows it: "set", "config|get". */
static const struct command *find(const struct call *call, struct text name)
{
    const char *bar = name.len_bytes == 0 ? NULL : memchr(name.data, '|', name.len_bytes);

    if (bar == NULL)
        return command_find(call->node->commands, name);
    size_t len = (size_t)(bar - name.data);
    const struct command *container =
        command_find(call->node->commands, (struct text){name.data, len});
    if (container == NULL || container->subcommand_count == 0)
        return NULL;
    return command_find_sub(container, (struct text){bar + 1, name.len_bytes - len - 1});
}

void cmd_latency_histogram(struct call *call)
{
    uint32_t numbers = command_numbers(call->node->commands);
    struct reply_memory memory;
    struct listing listing = {.node = call->node, .reply = &memory.reply};

    listing.seen = calloc(numbers, sizeof *listing.seen);
    if (listing.seen == NULL) {
        reply_error(call->reply, "-OOM no memory for the listing");
        return;
    }
    reply_memory_init(&memory, call->reply->resp, NULL, 0);
    for (uint32_t i = 2; i < call->argc; i++) {
        const struct command *command = find(call, call->argv[i]);
        if (command != NULL)
            write_with_subcommands(&listing, command);
    }
    for (uint32_t i = 0; call->argc == 2 && i < numbers; i++)
        write_command(&listing, command_by_number(call->node->commands, i));
    reply_memory_finish(&memory);
    reply_map(call->reply, listing.written);
    reply_memory_move(&memory, call->reply);
    reply_memory_fini(&memory);
    free(listing.seen);
}

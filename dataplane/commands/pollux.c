/* POLLUX: what Redis has no command for. Which worker owns which slots, and moving them. */
#include <stdlib.h>

#include "dataplane/commands/functions.h"
#include "dataplane/slots/job.h"
#include "dataplane/slots/move.h"
#include "dataplane/turns.h"
#include "dataplane/worker.h"

static uint64_t keys_of_slot(const struct node *node, uint32_t slot, uint64_t *operations)
{
    uint64_t keys = 0;

    for (uint32_t db = 0; db < node->database_count; db++) {
        const struct keyspace *keyspace = keyspace_get(node, db);
        if (keyspace == NULL)
            continue;
        keys += table_used(&keyspace->slots[slot].table);
        *operations += keyspace->slots[slot].operations;
    }
    return keys;
}

static uint32_t range_end(const struct node *node, uint32_t first, uint32_t owner)
{
    uint32_t slot = first;

    while (slot + 1 < SLOTS && node_owner(node, slot + 1) == owner)
        slot++;
    return slot;
}

/* One map for this worker. Keys in slots that are lent are left out: they are their holder's. */
void gather_pollux_slots(struct worker *worker, struct call *call, struct reply_memory *part,
                         uint64_t *number)
{
    struct node *node = worker->node;
    struct reply *reply = &part->reply;
    uint64_t keys = 0, operations = 0, lent = 0;
    uint32_t ranges = 0, slots = 0;

    (void)call;
    (void)number;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        if (node_owner(node, slot) != worker->index)
            continue;
        slots++;
        ranges += slot == 0 || node_owner(node, slot - 1) != worker->index;
        if (slots_busy(worker, (uint16_t)slot))
            lent++;
        else
            keys += keys_of_slot(node, slot, &operations);
    }
    reply_map(reply, 8);
    reply_bulk_cstr(reply, "worker");
    reply_integer(reply, worker->index);
    reply_bulk_cstr(reply, "cpu");
    reply_integer(reply, worker->cpu);
    reply_bulk_cstr(reply, "slot-count");
    reply_integer(reply, slots);
    reply_bulk_cstr(reply, "busy-slots");
    reply_integer(reply, (int64_t)lent);
    reply_bulk_cstr(reply, "keys");
    reply_integer(reply, (int64_t)keys);
    reply_bulk_cstr(reply, "operations");
    reply_integer(reply, (int64_t)operations);
    reply_bulk_cstr(reply, "operations-per-second");
    reply_integer(reply, (int64_t)count_get(&worker->stats.operations_per_second));
    reply_bulk_cstr(reply, "slots");
    reply_array(reply, ranges);
    for (uint32_t slot = 0; ranges > 0 && slot < SLOTS; slot++) {
        if (node_owner(node, slot) != worker->index)
            continue;
        uint32_t end = range_end(node, slot, worker->index);
        reply_array(reply, 2);
        reply_integer(reply, slot);
        reply_integer(reply, end);
        slot = end;
        ranges--;
    }
    for (; ranges > 0; ranges--) { /* a slot left between the two looks */
        reply_array(reply, 0);
    }
}

/* Oldest first: [begin, end, time lost in between], us of CLOCK_MONOTONIC. */
void gather_pollux_gaps(struct worker *worker, struct call *call, struct reply_memory *part,
                        uint64_t *number)
{
    const struct turns *turns = worker->turns;
    uint64_t kept = turns->gaps_count < TURNS_GAPS_KEPT ? turns->gaps_count : TURNS_GAPS_KEPT;
    struct reply *reply = &part->reply;

    (void)call;
    (void)number;
    reply_map(reply, 3);
    reply_bulk_cstr(reply, "worker");
    reply_integer(reply, worker->index);
    reply_bulk_cstr(reply, "count");
    reply_integer(reply, (int64_t)turns->gaps_count);
    reply_bulk_cstr(reply, "gaps");
    reply_array(reply, (uint32_t)kept);
    for (uint64_t i = turns->gaps_count - kept; i < turns->gaps_count; i++) {
        const struct turns_gap *gap = &turns->gaps[i % TURNS_GAPS_KEPT];
        reply_array(reply, 3);
        reply_integer(reply, (int64_t)(gap->begin_ns / 1000));
        reply_integer(reply, (int64_t)(gap->end_ns / 1000));
        reply_integer(reply, (int64_t)(gap->lost_ns / 1000));
    }
}

static void reply_parts(struct call *call)
{
    reply_array(call->reply, call->part_count);
    for (uint32_t i = 0; i < call->part_count; i++)
        reply_memory_move(&call->parts[i].memory, call->reply);
}

void cmd_pollux_gaps(struct call *call)
{
    reply_parts(call);
}

void cmd_pollux_slots(struct call *call)
{
    reply_parts(call);
}

int32_t slot_of_argument(struct call *call)
{
    int64_t slot;

    return call->argc > 2 && text_to_integer(call->argv[2], &slot) && slot >= 0 && slot < SLOTS
               ? (int32_t)slot
               : -1; /* run() says why */
}

void cmd_pollux_move_slot(struct call *call)
{
    int64_t slot, to;

    if (!call_integer_range(call, 2, 0, SLOTS - 1, &slot, "Invalid slot") ||
        !call_integer_range(call, 3, 0, (int64_t)call->node->worker_count - 1, &to,
                            "Invalid worker"))
        return;
    if (slot_move_held(call->worker, (uint16_t)slot, (uint32_t)to) < 0)
        reply_error(call->reply, "-TRYAGAIN the slot has just moved");
    else
        reply_ok(call->reply);
}

static uint32_t home_of(const struct node *node, uint32_t slot)
{
    return (uint32_t)((uint64_t)slot * node->worker_count / SLOTS);
}

/* A slot that is lent or waited for moves when its turn has come: a job of the server's own stands
 * in line. */
static bool move_later(struct worker *worker, const struct command *command, uint32_t slot,
                       uint32_t to)
{
    char slot_text[24], to_text[24];
    struct text argv[] = {{"pollux", 6},
                          {"move-slot", 9},
                          {slot_text, integer_to_text(slot, slot_text)},
                          {to_text, integer_to_text(to, to_text)}};
    struct job_command alone = {.command = command, .argv = argv, .argc = 4};
    struct session session = {.resp = 2};
    struct job *job = job_create(worker, JOB_COMMANDS, &session, &alone, 1, NULL, 0);

    if (job == NULL)
        return false;
    job_dispatch(worker, job);
    return true;
}

void gather_pollux_rebalance(struct worker *worker, struct call *call, struct reply_memory *part,
                             uint64_t *number)
{
    struct node *node = worker->node;
    const struct command *move =
        command_find_sub(command_find(node->commands, (struct text){"pollux", 6}),
                         (struct text){"move-slot", 9});

    (void)call;
    (void)part;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        uint32_t to = home_of(node, slot);
        if (to == worker->index || node_owner(node, slot) != worker->index)
            continue;
        if (slot_move(worker, (uint16_t)slot, to) == 0 || move_later(worker, move, slot, to))
            ++*number;
    }
}

void cmd_pollux_rebalance(struct call *call)
{
    uint64_t moved = 0;

    for (uint32_t i = 0; i < call->part_count; i++)
        moved += call->parts[i].number;
    reply_integer(call->reply, (int64_t)moved);
}

void cmd_pollux_help(struct call *call)
{
    static const char *const lines[] = {
        "GAPS",
        "    When other programs or the host had the core of a worker that polls.",
        "MOVE-SLOT <slot> <worker>",
        "    Give a slot to another worker; traffic goes on.",
        "REBALANCE",
        "    Give every worker an equal range of slots again. Returns how many moved.",
        "SLOTS",
        "    What each worker owns, and its load.",
    };

    call_help(call, lines, sizeof lines / sizeof lines[0]);
}

#include "dataplane/slots/part.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "dataplane/slots/crc16.h"
#include "dataplane/slots/job.h"
#include "dataplane/worker.h"

/* ---- what a job needs ---- */

static void add_keys(struct slot_set *set, const struct command *command, const struct text *argv,
                     uint32_t argc)
{
    if (command->find_keys != NULL) {
        uint32_t *positions = malloc(argc * sizeof *positions);
        if (positions == NULL) {
            set->failed = true;
            return;
        }
        int count = command_keys(command, argv, argc, positions, argc);
        for (int i = 0; i < count; i++)
            slot_set_add(set, crc16_slot(argv[positions[i]].data, argv[positions[i]].len_bytes));
        free(positions);
        return;
    }
    if (command->keys.first == 0)
        return;
    int64_t last = command->keys.last < 0 ? (int64_t)argc + command->keys.last : command->keys.last;
    for (int64_t i = command->keys.first; i <= last && i < (int64_t)argc; i += command->keys.step)
        slot_set_add(set, crc16_slot(argv[i].data, argv[i].len_bytes));
}

/* Some slot of this worker's; of another's if it has none. */
static int32_t own_slot(const struct worker *worker)
{
    uint32_t first = (uint32_t)((uint64_t)SLOTS * worker->index / worker->node->worker_count);

    for (uint32_t i = 0; i < SLOTS; i++)
        if (node_owner(worker->node, (first + i) % SLOTS) == worker->index)
            return (int32_t)((first + i) % SLOTS);
    return (int32_t)first;
}

static void add_chosen_slot(struct worker *worker, struct job *job, struct slot_set *set,
                            const struct job_command *command)
{
    struct reply muted = {.muted = true, .resp = 2};
    struct call call = {.worker = worker,
                        .node = worker->node,
                        .session = &job->session,
                        .command = command->command,
                        .argv = command->argv,
                        .argc = command->argc,
                        .reply = &muted,
                        .now_unix_ms = worker->now_unix_ms,
                        .continue_slot = -1};
    int32_t slot = job->call != NULL ? job->call->continue_slot : command->command->slot_of(&call);

    /* "Nothing there" may be what a transaction sees halfway that holds all slots: it goes first. */
    if (slot == -1 && worker->queues->whole != NULL)
        slot = own_slot(worker);
    if (slot >= 0)
        slot_set_add(set, (uint16_t)slot);
}

void parts_plan(struct worker *worker, struct job *job, struct slot_set *set)
{
    slot_set_init(set);
    for (uint32_t i = job->next_command; i < job->count; i++) {
        const struct job_command *command = &job->commands[i];
        uint32_t flags = command->command->flags;

        if ((flags & CMD_HOME) != 0)
            set->home = true;
        if ((flags & CMD_ALL_SLOTS) != 0 || (job->kind == JOB_EXEC && (flags & CMD_WALK) != 0))
            set->whole = true;
        else if ((flags & (CMD_WALK | CMD_AT_SLOT)) != 0)
            add_chosen_slot(worker, job, set, command);
        else if (command->key.position != 0)
            slot_set_add(set, command->key.slot);
        else
            add_keys(set, command->command, command->argv, command->argc);
    }
    for (uint32_t i = 0; i < job->watch_count; i++)
        slot_set_add(set, job->watches[i].slot);
}

/* ---- one part for each owner ---- */

struct part_block {
    _Atomic uint32_t references; /* the job, and each return under way */
    uint32_t count;
    /* In the job's own room: a job with one owner runs there, so nothing is returned by mail. */
    bool inside;
    struct loan_part parts[];
};

void part_block_get(struct part_block *block)
{
    atomic_fetch_add_explicit(&block->references, 1, memory_order_relaxed);
}

void part_block_put(struct part_block *block)
{
    if (atomic_fetch_sub_explicit(&block->references, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < block->count; i++)
        effects_fini(&block->parts[i].effects);
    if (!block->inside)
        free(block);
}

void parts_drop(struct job *job)
{
    if (job->block != NULL)
        part_block_put(job->block);
    job->block = NULL;
    job->parts = NULL;
    job->part_count = 0;
}

int parts_make(struct worker *worker, struct job *job, const struct slot_set *set)
{
    struct node *node = worker->node;
    uint16_t counts[WORKERS_MAX] = {0};
    uint16_t index[WORKERS_MAX];
    uint32_t owners = 0, refs = set->whole ? 0 : set->count;

    if (set->failed)
        return -ENOMEM;
    for (uint32_t i = 0; i < refs; i++)
        if (counts[node_owner(node, set->slots[i])]++ == 0)
            owners++;
    if (set->whole)
        owners = node->worker_count;
    if (owners == 0)
        return 0;
    size_t at_refs = sizeof(struct part_block) + owners * sizeof(struct loan_part);
    size_t bytes = at_refs + refs * sizeof(struct part_ref);
    bool inside = owners == 1 && !set->whole && !set->home && bytes <= sizeof job->parts_room;
    char *memory = inside ? job->parts_room : malloc(bytes);
    if (memory == NULL)
        return -ENOMEM;
    struct part_block *block = (struct part_block *)memory;
    struct part_ref *next_ref = (struct part_ref *)(memory + at_refs);
    atomic_init(&block->references, 1);
    block->count = owners;
    block->inside = inside;
    job->block = block;
    job->parts = block->parts;
    for (uint32_t owner = 0; owner < node->worker_count; owner++) {
        if (!set->whole && counts[owner] == 0)
            continue;
        index[owner] = (uint16_t)job->part_count;
        block->parts[job->part_count++] = (struct loan_part){.job = job,
                                                             .block = block,
                                                             .owner = (uint16_t)owner,
                                                             .whole = set->whole,
                                                             .refs = next_ref};
        next_ref += counts[owner];
    }
    for (uint32_t i = 0; i < refs; i++) {
        uint32_t owner = node_owner(node, set->slots[i]);
        struct loan_part *part = counts[owner] == 0 ? NULL : &job->parts[index[owner]];
        if (part == NULL || part->count == counts[owner])
            return -EAGAIN;
        part->refs[part->count++].slot = set->slots[i];
    }
    return 0;
}

struct loan_part *parts_of(const struct job *job, uint32_t owner)
{
    for (uint32_t i = 0; i < job->part_count; i++)
        if (job->parts[i].owner == owner)
            return &job->parts[i];
    return NULL;
}

struct effects *call_effects(struct call *call, uint16_t slot)
{
    uint32_t owner = node_owner(call->node, slot);

    if (owner == call->worker->index)
        return NULL;
    assert(call->job != NULL);
    struct loan_part *part = parts_of(call->job, owner);
    assert(part != NULL); /* a command touched a slot that it did not declare */
    return &part->effects;
}

/* Walks over the slots: SCAN, KEYS, RANDOMKEY.
 * A cursor is slot and position in hash order (14 + 39 bits, below 2^53), so it survives growth of tables and moves of slots. A walk stays at the
 * owner of a slot while that owner has the following ones too; otherwise the job goes on to the next owner. */
#include <stdlib.h>
#include <string.h>

#include "config/glob.h"
#include "dataplane/commands/functions.h"
#include "dataplane/slots/job.h"
#include "dataplane/worker.h"

enum {
    WALK_COUNT_DEFAULT = 10,
    WALK_EFFORT = 10,        /* SCAN looks at so many buckets for each element asked for, at most */
    WALK_SLICE_US = 50,      /* of KEYS, then others have their turn */
    WALK_SLICE_BUCKETS = 16, /* between two looks at the clock */
    RANDOM_TRIES = 100,
};

/* walk_state: the walk's place between its steps */
enum { STATE_CURSOR, STATE_FOUND, STATE_EFFORT, STATE_STARTED };

struct walk {
    struct call *call;
    struct text pattern, type; /* no data: any */
    uint64_t count, found;
};

static uint64_t cursor_of(uint32_t slot, uint64_t position)
{
    return (uint64_t)slot << TABLE_CURSOR_BITS | position;
}

static uint32_t cursor_slot(uint64_t cursor)
{
    return cursor >> TABLE_CURSOR_BITS >= SLOTS ? SLOTS : (uint32_t)(cursor >> TABLE_CURSOR_BITS);
}

static uint64_t cursor_position(uint64_t cursor)
{
    return cursor & (((uint64_t)1 << TABLE_CURSOR_BITS) - 1);
}

static bool read_cursor(struct text text, uint64_t *cursor)
{
    char copy[32], *end;

    if (text.len_bytes == 0 || text.len_bytes >= sizeof copy || text.data[0] == ' ' ||
        (text.data[0] >= '\t' && text.data[0] <= '\r'))
        return false;
    memcpy(copy, text.data, text.len_bytes);
    copy[text.len_bytes] = '\0';
    unsigned long long value = strtoull(copy, &end, 10);
    if ((size_t)(end - copy) != text.len_bytes ||
        (value == UINT64_MAX && strcmp(copy, "18446744073709551615") != 0))
        return false;
    *cursor = value;
    return true;
}

static int32_t next_slot(struct call *call, uint32_t from)
{
    struct keyspace *keyspace = keyspace_get(call->node, call->session->db);

    if (keyspace == NULL || from >= SLOTS)
        return -1;
    int32_t slot = keyspace_next_slot(keyspace, (int32_t)from);
    /* On a port for one core only that core's slots count. */
    while (slot >= 0 && call->session->cluster &&
           node_owner(call->node, (uint32_t)slot) != call->session->port_worker)
        slot = slot + 1 < SLOTS ? keyspace_next_slot(keyspace, slot + 1) : -1;
    return slot;
}

int32_t slot_of_scan(struct call *call)
{
    uint64_t cursor;

    return read_cursor(call->argv[1], &cursor) ? next_slot(call, cursor_slot(cursor)) : -1;
}

int32_t slot_of_keys(struct call *call)
{
    return next_slot(call, 0);
}

/* ---- what is found ---- */

static void visit(void *argument, struct entry *entry)
{
    struct walk *walk = argument;
    struct text key = entry_key(entry);
    int64_t deadline = entry_expiry_unix_ms(entry);
    static const char *const types[] = {"string", "list",   "set",   "zset",
                                        "hash",   "module", "stream"};

    if (deadline >= 0 && deadline <= walk->call->now_unix_ms)
        return;
    if (walk->type.data != NULL && !text_is(walk->type, types[entry_type(entry)]))
        return;
    if (walk->pattern.data != NULL &&
        !glob_match(walk->pattern.data, walk->pattern.len_bytes, key.data, key.len_bytes, false))
        return;
    reply_bulk(&walk->call->walk_reply->reply, key);
    walk->found++;
}

/* May the walk look into this slot right here: is it the one the job holds, or a free one of this worker? */
static bool is_at_hand(const struct call *call, uint32_t slot)
{
    const struct job *job = call->job;

    if (call->in_transaction)
        return true; /* all slots are on loan */
    if (job->part_count == 1 && job->parts[0].refs[0].slot == slot)
        return true;
    return node_owner(call->node, slot) == call->worker->index &&
           !slots_busy(call->worker, (uint16_t)slot);
}

/* Goes on from `cursor` until `done` says so; returns the new cursor, 0 at the end. Sets call->continue_slot when it must go on elsewhere. */
static uint64_t step(struct walk *walk, uint64_t cursor, bool (*done)(struct walk *walk))
{
    struct call *call = walk->call;
    int32_t slot = next_slot(call, cursor_slot(cursor));

    if (slot < 0)
        return 0;
    if ((uint32_t)slot != cursor_slot(cursor))
        cursor = cursor_of((uint32_t)slot, 0);
    if (!is_at_hand(call,
                    (uint32_t)slot)) { /* the slot that the job was routed to is empty by now */
        call_continue_at(call, slot);
        return cursor;
    }
    for (;;) {
        struct keyspace *keyspace = keyspace_get(call->node, call->session->db);
        uint64_t position = table_scan(&keyspace->slots[slot].table, call->node->hash_seed,
                                       cursor_position(cursor), visit, walk);
        if (position != 0) {
            cursor = cursor_of((uint32_t)slot, position);
        } else {
            slot = next_slot(call, (uint32_t)slot + 1);
            if (slot < 0)
                return 0;
            cursor = cursor_of((uint32_t)slot, 0);
        }
        if (done(walk))
            return cursor;
        if (position == 0 && !is_at_hand(call, (uint32_t)slot)) {
            call_continue_at(call, slot);
            return cursor;
        }
    }
}

/* ---- SCAN ---- */

static bool scan_options(struct call *call, struct walk *walk)
{
    for (uint32_t i = 2; i < call->argc; i += 2) {
        int64_t count;
        if (i + 1 >= call->argc) {
            call_syntax_error(call);
            return false;
        }
        if (call_option(call, i, "count")) {
            if (!call_integer(call, i + 1, &count))
                return false;
            if (count < 1) {
                call_syntax_error(call);
                return false;
            }
            walk->count = (uint64_t)count;
        } else if (call_option(call, i, "match")) {
            walk->pattern = call->argv[i + 1];
            if (walk->pattern.len_bytes == 1 && walk->pattern.data[0] == '*')
                walk->pattern.data = NULL;
        } else if (call_option(call, i, "type")) {
            walk->type = call->argv[i + 1];
        } else {
            call_syntax_error(call);
            return false;
        }
    }
    return true;
}

static bool scan_done(struct walk *walk)
{
    struct call *call = walk->call;
    uint64_t effort =
        walk->count > UINT64_MAX / WALK_EFFORT ? UINT64_MAX : walk->count * WALK_EFFORT;

    return walk->found >= walk->count || ++call->walk_state[STATE_EFFORT] >= effort;
}

void cmd_scan(struct call *call)
{
    struct walk walk = {.call = call,
                        .count = WALK_COUNT_DEFAULT,
                        .found = call->walk_state[STATE_FOUND]};
    uint64_t cursor = call->walk_state[STATE_CURSOR];
    bool started = call->walk_state[STATE_STARTED] != 0;

    call->continue_slot = -1;
    if (!started && !read_cursor(call->argv[1], &cursor)) {
        reply_error(call->reply, "invalid cursor");
        return;
    }
    if (!scan_options(call, &walk))
        return;
    cursor = step(&walk, cursor, scan_done);
    if (call->continue_slot >= 0) {
        call->walk_state[STATE_CURSOR] = cursor;
        call->walk_state[STATE_FOUND] = walk.found;
        call->walk_state[STATE_STARTED] = 1;
        return;
    }
    reply_array(call->reply, 2);
    reply_bulk_integer(call->reply, (int64_t)cursor);
    reply_array(call->reply, walk.found);
    reply_memory_finish(call->walk_reply);
    reply_memory_move(call->walk_reply, call->reply);
}

/* ---- KEYS ---- */

static bool keys_done(struct walk *walk)
{
    if (++walk->count % WALK_SLICE_BUCKETS != 0 || walk->call->in_transaction)
        return false;
    return clock_now_us() >= walk->call->worker->now_us + WALK_SLICE_US;
}

void cmd_keys(struct call *call)
{
    struct walk walk = {.call = call,
                        .pattern = call->argv[1],
                        .found = call->walk_state[STATE_FOUND]};
    uint64_t cursor = call->walk_state[STATE_CURSOR];

    call->continue_slot = -1;
    if (walk.pattern.len_bytes == 1 && walk.pattern.data[0] == '*')
        walk.pattern.data = NULL;
    cursor = step(&walk, cursor, keys_done);
    if (call->continue_slot < 0 && cursor != 0)
        call_continue_at(call, (int32_t)cursor_slot(cursor)); /* the slice is over */
    call->walk_state[STATE_CURSOR] = cursor;
    call->walk_state[STATE_FOUND] = walk.found;
    if (call->continue_slot >= 0)
        return;
    reply_array(call->reply, walk.found);
    reply_memory_finish(call->walk_reply);
    reply_memory_move(call->walk_reply, call->reply);
}

/* ---- RANDOMKEY ---- */

int32_t slot_of_randomkey(struct call *call)
{
    int32_t from = (int32_t)(rng_next(&call->worker->rng) % SLOTS);
    int32_t slot = next_slot(call, (uint32_t)from);

    return slot >= 0 ? slot : next_slot(call, 0);
}

void cmd_randomkey(struct call *call)
{
    int32_t slot = call->continue_slot;

    call->continue_slot = -1;
    if (slot < 0)
        slot = slot_of_randomkey(call);
    struct keyspace *keyspace = keyspace_get(call->node, call->session->db);
    if (keyspace == NULL) /* flushed since the slot was chosen */
        slot = -1;
    for (uint64_t *tries = &call->walk_state[STATE_EFFORT];
         slot >= 0 && (*tries)++ < RANDOM_TRIES;) {
        if (!is_at_hand(call, (uint32_t)slot)) {
            call_continue_at(call, slot);
            return;
        }
        struct entry *entry = table_random(&keyspace->slots[slot].table, call->node->hash_seed,
                                           rng_next(&call->worker->rng));
        int64_t deadline = entry == NULL ? -1 : entry_expiry_unix_ms(entry);
        if (entry != NULL && (deadline < 0 || deadline > call->now_unix_ms)) {
            reply_bulk(call->reply, entry_key(entry));
            return;
        }
        slot = slot_of_randomkey(call);
    }
    reply_null(call->reply);
}

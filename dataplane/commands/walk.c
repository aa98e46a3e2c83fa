/* Walks over the slots: SCAN, KEYS, RANDOMKEY.
 * A cursor is slot and position in hash order (14 + 39 bits, below 2^53), so it survives growth of
 * tables and moves of slots. A walk stays at the owner of a slot while that owner has the following
 * ones too; otherwise the job goes on to the next owner. */
#include <stdlib.h>
#include <string.h>

#include "config/glob.h"
#include "dataplane/commands/functions.h"
#include "dataplane/slots/job.h"
#include "dataplane/worker.h"

enum {
    WALK_COUNT_DEFAULT = 10,
    WALK_EFFORT = 10,        /* SCAN looks at so many buckets for each element asked for, at most */
    WALK_SLICE_US = 50,      /* then others have their turn */
    WALK_SLICE_BUCKETS = 16, /* between two looks at the clock */
    RANDOM_TRIES = 100,      /* of RANDOMKEY, where nothing is found */
    RANDOM_EXPIRED = 100,    /* removed on the way, then others have their turn */
};

/* walk_state: the walk's place between its steps */
enum { STATE_CURSOR, STATE_FOUND, STATE_EFFORT, STATE_STARTED };

struct walk {
    struct call *call;
    struct text pattern, type; /* no data: any */
    uint64_t count, found, buckets;
    bool complete; /* SCAN has what it was asked for */
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

/* As strtoul reads it, which is what Redis does: a sign is taken, the empty text is 0, and a zero
 * byte ends it. */
static bool read_cursor(struct text text, uint64_t *cursor)
{
    const char *at = text.data, *end = at + text.len_bytes;
    const char *zero = text.len_bytes > 0 ? memchr(at, '\0', text.len_bytes) : NULL;
    bool negative, digits = false;
    uint64_t value = 0;

    end = zero != NULL ? zero : end;
    *cursor = 0;
    if (at == end)
        return true;
    negative = *at == '-';
    at += *at == '-' || *at == '+';
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        digits = true;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return false;
    }
    *cursor = negative ? 0 - value : value;
    return digits && at == end;
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

static bool is_expired(const struct call *call, const struct entry *entry)
{
    int64_t deadline = entry_expiry_unix_ms(entry);

    return deadline >= 0 && deadline < call->now_unix_ms;
}

static void visit(void *argument, struct entry *entry)
{
    struct walk *walk = argument;
    struct text key = entry_key(entry);
    static const char *const types[] = {"string", "list",   "set",   "zset",
                                        "hash",   "module", "stream"};

    if (is_expired(walk->call, entry))
        return;
    if (walk->type.data != NULL && !text_is(walk->type, types[entry_type(entry)]))
        return;
    if (walk->pattern.data != NULL &&
        !glob_match(walk->pattern.data, walk->pattern.len_bytes, key.data, key.len_bytes, false))
        return;
    reply_bulk(&walk->call->walk_reply->reply, key);
    walk->found++;
}

/* May the walk look into this slot right here: is it the one the job holds, or a free one of this
 * worker? */
static bool is_at_hand(const struct call *call, uint32_t slot)
{
    const struct job *job = call->job;

    if (call->in_transaction)
        return true; /* all slots are on loan */
    if (job != NULL && job->part_count == 1 && job->parts[0].refs[0].slot == slot)
        return true;
    return node_owner(call->node, slot) == call->worker->index &&
           !slots_busy(call->worker, (uint16_t)slot);
}

/* Is it others' turn? In a transaction it is not before the end. */
static bool slice_over(struct walk *walk)
{
    if (++walk->buckets % WALK_SLICE_BUCKETS != 0 || walk->call->in_transaction)
        return false;
    return clock_now_us() >= walk->call->worker->now_us + WALK_SLICE_US;
}

/* Goes on from `cursor` until `done` says so; returns the new cursor, 0 at the end. Sets
 * call->continue_slot when it must go on elsewhere. */
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
    uint64_t *effort = &walk->call->walk_state[STATE_EFFORT];
    uint64_t limit =
        walk->count > UINT64_MAX / WALK_EFFORT ? UINT64_MAX : walk->count * WALK_EFFORT;

    walk->complete = walk->found >= walk->count || ++*effort >= limit;
    return walk->complete || slice_over(walk);
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
    if (call->continue_slot < 0 && cursor != 0 && !walk.complete)
        call_continue_at(call, (int32_t)cursor_slot(cursor));
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

void cmd_keys(struct call *call)
{
    struct walk walk = {.call = call,
                        .pattern = call->argv[1],
                        .found = call->walk_state[STATE_FOUND]};
    uint64_t cursor = call->walk_state[STATE_CURSOR];

    call->continue_slot = -1;
    if (walk.pattern.len_bytes == 1 && walk.pattern.data[0] == '*')
        walk.pattern.data = NULL;
    cursor = step(&walk, cursor, slice_over);
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

/* The slot that the job stands at, or one of chance. */
static int32_t first_slot(struct call *call)
{
    const struct job *job = call->job;

    if (call->continue_slot >= 0)
        return call->continue_slot;
    if (job != NULL && job->part_count == 1 && !call->in_transaction)
        return job->parts[0].refs[0].slot;
    return slot_of_randomkey(call);
}

/* A key that has run out goes when it is met, as in Redis. */
static bool is_live(struct call *call, const struct entry *entry)
{
    struct key key;

    return key_find(call, entry_key(entry), FIND_READ | FIND_NO_TOUCH | FIND_NO_STATS, &key);
}

void cmd_randomkey(struct call *call)
{
    int32_t slot = first_slot(call);
    uint64_t *tries = &call->walk_state[STATE_EFFORT];
    unsigned expired = 0;

    call->continue_slot = -1;
    while (slot >= 0 && *tries < RANDOM_TRIES) {
        struct keyspace *keyspace = keyspace_get(call->node, call->session->db);
        if (keyspace == NULL)
            break; /* flushed since the slot was chosen */
        if (!is_at_hand(call, (uint32_t)slot) || expired == RANDOM_EXPIRED) {
            call_continue_at(call, slot);
            return;
        }
        struct table *table = &keyspace->slots[slot].table;
        uint32_t used = table_used(table);
        struct entry *entry =
            table_random(table, call->node->hash_seed, rng_next(&call->worker->rng));
        if (entry != NULL && is_live(call, entry)) {
            reply_bulk(call->reply, entry_key(entry));
            return;
        }
        if (table_used(table) < used)
            expired++;
        else
            ++*tries;
        slot = slot_of_randomkey(call);
    }
    reply_null(call->reply);
}

#include "dataplane/store/evict.h"

#include <stdlib.h>
#include <string.h>

#include "drivers/clock.h"
#include "dataplane/slots/queue.h"
#include "dataplane/store/lazyfree.h"
#include "dataplane/worker.h"

enum {
    EVICT_CLOCK_EVERY = 8, /* evictions between two looks at the clock */
    EVICT_EMPTY_ROUNDS_MAX =
        4, /* in a row without a candidate, before the worker is taken to have none */
    EVICT_HELD_MS = 100,
};

struct candidate {
    uint64_t hash;
    uint32_t idle_seconds, access;
    uint16_t db, slot;
};

struct evict {
    int64_t drawn_bytes;        /* this worker's part of node->memory_drawn */
    int64_t held_unix_ms;       /* when held_bytes was counted */
    _Atomic int64_t held_bytes; /* by the keys in this worker's slots */
    uint32_t pool_count;
    struct candidate pool[EVICT_POOL]; /* longest idle last */
};

struct evict *evict_create(void)
{
    return calloc(1, sizeof(struct evict));
}

void evict_destroy(struct evict *evict)
{
    free(evict);
}

/* ---- the budget ---- */

int64_t evict_fixed_bytes(const struct node *node)
{
    return (int64_t)(sizeof *node + node->worker_count * sizeof(struct worker));
}

int64_t evict_used_bytes(const struct node *node)
{
    int64_t sum = evict_fixed_bytes(node);

    for (uint32_t i = 0; i < node->worker_count; i++)
        sum += memory_used_bytes(node->workers[i]->memory);
    return sum;
}

/* Small limits need a fine grain: all workers together are off by 1/32 of the limit at the most. */
static int64_t chunk_bytes(const struct node *node, int64_t limit)
{
    int64_t chunk = limit / (64 * (int64_t)node->worker_count);

    if (limit == 0 || chunk > EVICT_CHUNK_MAX_BYTES)
        return EVICT_CHUNK_MAX_BYTES;
    return chunk < EVICT_CHUNK_MIN_BYTES ? EVICT_CHUNK_MIN_BYTES : chunk;
}

/* Brings this worker's part of the budget up to date; returns what is drawn on the node. */
static int64_t draw(struct worker *worker, int64_t limit)
{
    struct evict *evict = worker->evict;
    int64_t used = memory_used_bytes(worker->memory);
    int64_t chunk = chunk_bytes(worker->node, limit);
    int64_t change = 0;

    if (used > evict->drawn_bytes || used < evict->drawn_bytes - 2 * chunk)
        change = used + chunk - evict->drawn_bytes;
    if (change == 0)
        return atomic_load_explicit(&worker->node->memory_drawn, memory_order_relaxed);
    evict->drawn_bytes += change;
    return atomic_fetch_add_explicit(&worker->node->memory_drawn, change, memory_order_relaxed) +
           change;
}

/* Bytes too much; 0 or less: none. */
static int64_t excess(struct worker *worker, int64_t limit)
{
    int64_t drawn = draw(worker, limit) + evict_fixed_bytes(worker->node);

    if (limit == 0 || drawn <= limit)
        return drawn - limit;
    return evict_used_bytes(worker->node) - limit;
}

/* ---- candidates ---- */

static void pool_insert(struct evict *evict, struct candidate candidate)
{
    uint32_t at = evict->pool_count;

    for (uint32_t i = 0; i < evict->pool_count; i++)
        if (evict->pool[i].hash == candidate.hash && evict->pool[i].db == candidate.db)
            return;
    while (at > 0 && evict->pool[at - 1].idle_seconds > candidate.idle_seconds)
        at--;
    if (evict->pool_count == EVICT_POOL) {
        if (at == 0)
            return;
        at--; /* the least idle makes room */
        memmove(&evict->pool[0], &evict->pool[1], at * sizeof candidate);
    } else {
        memmove(&evict->pool[at + 1], &evict->pool[at],
                (evict->pool_count - at) * sizeof candidate);
        evict->pool_count++;
    }
    evict->pool[at] = candidate;
}

static bool may_take(const struct worker *worker, uint32_t slot)
{
    return node_owner(worker->node, slot) == worker->index && !slots_busy(worker, (uint16_t)slot);
}

/* A slot of this worker that has keys, the first from a random place on; -1: none. */
static int32_t some_slot(struct worker *worker, const struct keyspace *keyspace)
{
    uint32_t workers = worker->node->worker_count;
    uint32_t first = (uint32_t)((uint64_t)SLOTS * worker->index / workers);
    uint32_t end = (uint32_t)((uint64_t)SLOTS * (worker->index + 1) / workers);
    int32_t from = (int32_t)(first + rng_next(&worker->rng) % (end - first));

    /* Slots that moved here lie outside of the range that the worker began with. */
    int32_t slot = from;
    for (bool wrapped = false;;) {
        slot = keyspace_next_slot(keyspace, slot);
        if (slot < 0 || (wrapped && slot >= from)) {
            if (wrapped)
                return -1;
            wrapped = true;
            slot = 0;
            continue;
        }
        if (may_take(worker, (uint32_t)slot))
            return slot;
        slot++;
    }
}

/* false: no slot of this worker has keys there. */
static bool sample(struct worker *worker, uint32_t db, const struct keyspace *keyspace)
{
    int32_t slot = some_slot(worker, keyspace);

    if (slot < 0)
        return false;
    struct entry *entry =
        table_random(&keyspace->slots[slot].table, worker->node->hash_seed, rng_next(&worker->rng));
    if (entry == NULL)
        return false;
    uint32_t access = entry_access(entry);
    pool_insert(worker->evict,
                (struct candidate){.hash = table_hash(worker->node->hash_seed, entry_key(entry)),
                                   .idle_seconds = entry_idle_seconds(entry, worker->now_unix_ms),
                                   .access = access,
                                   .db = (uint16_t)db,
                                   .slot = (uint16_t)slot});
    return true;
}

static bool fill_pool(struct worker *worker)
{
    bool any = false;

    for (uint32_t db = 0; db < worker->node->database_count; db++) {
        const struct keyspace *keyspace = keyspace_get(worker->node, db);
        for (unsigned i = 0; keyspace != NULL && i < EVICT_SAMPLES; i++) {
            if (!sample(worker, db, keyspace))
                break;
            any = true;
        }
    }
    return any;
}

struct search {
    uint64_t hash, seed;
    struct entry *entry;
};

static void match(void *arg, struct entry *entry)
{
    struct search *search = arg;

    if (table_hash(search->seed, entry_key(entry)) == search->hash)
        search->entry = entry;
}

static bool evict_candidate(struct worker *worker, const struct candidate *candidate)
{
    struct node *node = worker->node;
    struct keyspace *keyspace = keyspace_get(node, candidate->db);
    struct search search = {.hash = candidate->hash, .seed = node->hash_seed};

    if (keyspace == NULL || !may_take(worker, candidate->slot))
        return false;
    table_visit_prefix(&keyspace->slots[candidate->slot].table,
                       (uint32_t)(candidate->hash >> (64 - WHEEL_PREFIX_BITS)), WHEEL_PREFIX_BITS,
                       (uint8_t)candidate->hash, match, &search);
    /* Gone, or used since it was sampled. */
    if (search.entry == NULL || entry_access(search.entry) != candidate->access)
        return false;
    struct call call = {.worker = worker, .node = node, .now_unix_ms = worker->now_unix_ms};
    struct key key = {.name = entry_key(search.entry),
                      .hash = candidate->hash,
                      .keyspace = keyspace,
                      .slot = &keyspace->slots[candidate->slot],
                      .entry = search.entry,
                      .db = candidate->db,
                      .slot_number = candidate->slot,
                      .seen = worker->gate.changes - 1};
    key_evict_now(&call, &key);
    return true;
}

/* Evicts one entry. false: this worker has none that it may take. */
static bool evict_one(struct worker *worker)
{
    struct evict *evict = worker->evict;

    for (unsigned round = 0; round < EVICT_EMPTY_ROUNDS_MAX; round++) {
        if (!fill_pool(worker))
            return false;
        while (evict->pool_count > 0)
            if (evict_candidate(worker, &evict->pool[--evict->pool_count]))
                return true;
    }
    return false;
}

/* ---- how much ---- */

static bool evicts(const struct node *node)
{
    return atomic_load_explicit(&node->config->maxmemory_policy, memory_order_relaxed) ==
           CONFIG_POLICY_ALLKEYS_LRU;
}

struct holding {
    int64_t bytes;
    uint32_t slots, lent; /* counted; in use, but not to be looked into now */
};

static void count_held(const struct worker *worker, const struct keyspace *keyspace,
                       struct holding *holding)
{
    int32_t slot = keyspace_next_slot(keyspace, 0);

    for (; slot >= 0; slot = keyspace_next_slot(keyspace, slot + 1)) {
        if (may_take(worker, (uint32_t)slot)) {
            holding->bytes += (int64_t)keyspace->slots[slot].value_bytes;
            holding->slots++;
        } else if (node_owner(worker->node, (uint32_t)slot) == worker->index) {
            holding->lent++;
        }
    }
}

/* What the keys in this worker's slots take, as of a moment ago. Memory counters do not tell: who
 * executes allocates, and that may be another worker (a loan). */
static int64_t held(struct worker *worker)
{
    struct evict *evict = worker->evict;
    struct holding holding = {0};

    if (evict->held_unix_ms != 0 && worker->now_unix_ms >= evict->held_unix_ms &&
        worker->now_unix_ms - evict->held_unix_ms < EVICT_HELD_MS)
        return atomic_load_explicit(&evict->held_bytes, memory_order_relaxed);
    for (uint32_t db = 0; db < worker->node->database_count; db++)
        if (keyspace_get(worker->node, db) != NULL)
            count_held(worker, keyspace_get(worker->node, db), &holding);
    if (holding.slots == 0 && holding.lent > 0) /* nothing to be seen: as before */
        return atomic_load_explicit(&evict->held_bytes, memory_order_relaxed);
    if (holding.slots > 0)
        holding.bytes += holding.bytes / holding.slots * holding.lent;
    evict->held_unix_ms = worker->now_unix_ms;
    atomic_store_explicit(&evict->held_bytes, holding.bytes, memory_order_relaxed);
    return holding.bytes;
}

/* This worker's part of the excess, by what it holds. */
static int64_t share(struct worker *worker, int64_t excess_bytes)
{
    const struct node *node = worker->node;
    int64_t own = held(worker), all = 0;

    for (uint32_t i = 0; i < node->worker_count; i++)
        all += atomic_load_explicit(&node->workers[i]->evict->held_bytes, memory_order_relaxed);
    if (own <= 0)
        return 0;
    if (own >= all)
        return excess_bytes;
    return (int64_t)((double)excess_bytes * (double)own / (double)all) + 1;
}

/* Frees `goal` bytes of this worker's, until the time is over. Returns what was freed; *empty:
 * there was nothing (more) to take. */
static int64_t evict_bytes(struct worker *worker, int64_t goal, uint32_t budget_us, bool *empty)
{
    int64_t before = memory_used_bytes(worker->memory), freed = 0;
    uint64_t end_us = clock_now_us() + budget_us;

    *empty = false;
    for (unsigned count = 1; freed < goal; count++) {
        if (!evict_one(worker)) {
            *empty = true;
            break;
        }
        freed = before - memory_used_bytes(worker->memory);
        if (count % EVICT_CLOCK_EVERY == 0 && clock_now_us() >= end_us)
            break;
    }
    return freed;
}

static void wake_others(struct worker *worker)
{
    struct node *node = worker->node;

    for (uint32_t i = 0; i < node->worker_count; i++) {
        struct worker *other = node->workers[i];
        if (other != worker && atomic_load_explicit(&other->sleeping, memory_order_acquire) != 0)
            worker->driver->wake(worker->stream, other->stream);
    }
}

static int64_t slack(int64_t limit)
{
    if (limit / EVICT_SLACK_DIVISOR > EVICT_SLACK_MIN_BYTES)
        return limit / EVICT_SLACK_DIVISOR;
    return limit < EVICT_SLACK_MIN_BYTES ? limit : EVICT_SLACK_MIN_BYTES;
}

/* Memory of FLUSHALL that is on its way back does not refuse a write, up to the limit once more. */
static bool is_coming_back(struct worker *worker, int64_t limit)
{
    (void)lazyfree_run(worker, EVICT_SLICE_US);
    return atomic_load_explicit(&worker->node->dropped_keyspaces, memory_order_relaxed) > 0 &&
           excess(worker, limit) <= limit;
}

bool evict_before_write(struct call *call)
{
    struct worker *worker = call->worker;
    int64_t limit = atomic_load_explicit(&call->node->config->maxmemory, memory_order_relaxed);

    if (limit == 0)
        return true;
    int64_t over = excess(worker, limit);
    if (over <= 0)
        return true;
    if (is_coming_back(worker, limit))
        return true;
    over = excess(worker, limit);
    if (over <= 0 || !evicts(call->node))
        return over <= 0;
    bool pressed = over > slack(limit), empty = true;
    int64_t goal = pressed ? over : share(worker, over);
    if (goal > 0 && evict_bytes(worker, goal, EVICT_SLICE_US, &empty) >= over)
        return true;
    if (call->node->worker_count > 1)
        wake_others(worker);
    over = excess(worker, limit);
    if (over <= 0)
        return true;
    /* Writes go through while eviction makes headway. A worker that has nothing (left) to evict
     * relies on the others, but they must not fall behind. */
    return !empty || (call->node->worker_count > 1 && over <= slack(limit));
}

bool evict_run(struct worker *worker, uint32_t budget_us)
{
    struct node *node = worker->node;
    int64_t limit = atomic_load_explicit(&node->config->maxmemory, memory_order_relaxed);
    bool empty;

    /* What this worker holds is drawn also without a limit: one may be set while it sleeps. */
    int64_t over = excess(worker, limit);
    if (limit == 0 || over <= 0 || !evicts(node))
        return false;
    int64_t goal = share(worker, over);
    return goal > 0 && evict_bytes(worker, goal, budget_us, &empty) < goal && !empty;
}

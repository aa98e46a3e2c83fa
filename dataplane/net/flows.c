#include "dataplane/net/flows.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

enum {
    FULL_LOAD = 7,        /* entries for a bucket when `capacity` are in, at most */
    OVER_LOAD = 8,        /* the same when there was no memory to grow */
    FIRST_BUCKETS = 1024, /* of one that grows */
    /* Buckets of the old table emptied by an insertion: it is done with long before the new one
     * is full, which has room for 7 more for each of them. */
    MOVED_BUCKETS = 4,
};

/* Keyed hashes spread well: with 7 entries for 10 slots one bucket in ten overflows, and few of
 * those into more than the next. */
static int make_table(struct flows_table *table, uint32_t buckets)
{
    /* Pages come as they are touched, zero, and an outgrown table's go at once: an allocator would
     * keep them for a while. */
    void *memory = mmap(NULL, (size_t)buckets * sizeof(struct flows_bucket), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return -ENOMEM;
    *table = (struct flows_table){memory, buckets - 1};
    return 0;
}

static void free_table(struct flows_table *table)
{
    if (table->buckets != NULL)
        munmap(table->buckets, ((size_t)table->mask + 1) * sizeof(struct flows_bucket));
    *table = (struct flows_table){0};
}

static uint32_t buckets_for(uint32_t capacity)
{
    uint32_t buckets = 1;

    assert(capacity > 0 && capacity <= FLOWS_CAPACITY_MAX);
    while ((uint64_t)buckets * FULL_LOAD < capacity)
        buckets *= 2;
    return buckets;
}

int flows_init(struct flows *flows, uint32_t capacity)
{
    *flows = (struct flows){.capacity = capacity};
    return make_table(&flows->now, buckets_for(capacity));
}

int flows_init_growing(struct flows *flows, uint32_t capacity, flows_hash_fn *hash,
                       const void *owner)
{
    uint32_t buckets = buckets_for(capacity);

    *flows = (struct flows){.capacity = capacity, .hash = hash, .owner = owner};
    return make_table(&flows->now, buckets < FIRST_BUCKETS ? buckets : (uint32_t)FIRST_BUCKETS);
}

void flows_fini(struct flows *flows)
{
    free_table(&flows->now);
    free_table(&flows->old);
    *flows = (struct flows){0};
}

static void put(struct flows_table *table, uint64_t hash, uint32_t index)
{
    uint32_t at = flows_home(table, hash);
    uint16_t free;

    while ((free = flows_match(&table->buckets[at], 0)) == 0) {
        table->buckets[at].passed++;
        at = (at + 1) & table->mask;
    }
    unsigned slot = (unsigned)__builtin_ctz(free);
    table->buckets[at].tags[slot] = flows_tag(hash);
    table->buckets[at].indices[slot] = index;
}

/* Frees a slot of bucket `at`; every bucket that its entry went past loses one who did. */
static void take(struct flows_table *table, uint64_t hash, uint32_t at, unsigned slot)
{
    table->buckets[at].tags[slot] = 0;
    for (uint32_t past = flows_home(table, hash); past != at; past = (past + 1) & table->mask)
        table->buckets[past].passed--;
}

/* ---- growing ------------------------------------------------------------------------------- */

static void move_bucket(struct flows *flows, uint32_t at)
{
    const struct flows_bucket *bucket = &flows->old.buckets[at];

    for (unsigned slot = 0; slot < FLOWS_BUCKET; slot++) {
        if (bucket->tags[slot] == 0)
            continue;
        uint32_t index = bucket->indices[slot];
        uint64_t hash = flows->hash(flows->owner, index);
        take(&flows->old, hash, at, slot);
        put(&flows->now, hash, index);
    }
}

static void move_some(struct flows *flows)
{
    for (unsigned i = 0; i < MOVED_BUCKETS && flows->moved <= flows->old.mask; i++)
        move_bucket(flows, flows->moved++);
    if (flows->moved <= flows->old.mask)
        return;
    free_table(&flows->old);
}

/* Room for one more. */
static int make_room(struct flows *flows)
{
    uint64_t buckets = (uint64_t)flows->now.mask + 1;
    struct flows_table larger;

    if (flows->used == flows->capacity)
        return -ENOSPC;
    if (flows->old.buckets != NULL)
        move_some(flows);
    if (flows->used < buckets * FULL_LOAD)
        return 0;
    if (flows->old.buckets == NULL && make_table(&larger, (uint32_t)(2 * buckets)) == 0) {
        flows->old = flows->now;
        flows->now = larger;
        flows->moved = 0;
        return 0;
    }
    return flows->used < buckets * OVER_LOAD ? 0 : -ENOSPC;
}

/* ---- entries ------------------------------------------------------------------------------- */

int flows_insert(struct flows *flows, uint64_t hash, uint32_t index)
{
    assert(index != FLOWS_NONE);
    int status = make_room(flows);
    if (status < 0)
        return status;
    put(&flows->now, hash, index);
    flows->used++;
    return 0;
}

bool flows_remove(struct flows *flows, uint64_t hash, uint32_t index)
{
    struct flows_probe probe = flows_find(flows, hash);
    uint32_t candidate;
    unsigned slot = 0;

    while ((candidate = flows_next(&probe)) != index)
        if (candidate == FLOWS_NONE)
            return false;
    struct flows_table *table = probe.table == &flows->now ? &flows->now : &flows->old;
    struct flows_bucket *bucket = &table->buckets[probe.bucket];
    while (bucket->tags[slot] == 0 || bucket->indices[slot] != index)
        slot++;
    take(table, hash, probe.bucket, slot);
    flows->used--;
    return true;
}

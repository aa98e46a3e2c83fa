#include "dataplane/net/flows.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum {
    FULL_LOAD = 7, /* entries for a bucket when `capacity` are in, at most */
    LINE_BYTES = 64,
};

/* Keyed hashes spread well: with 7 entries for 10 slots one bucket in ten overflows, and few of
 * those into more than the next. A table is made for no more than its owner can hold at all, so
 * zeroed pages that the kernel gives when they are touched are the cheapest form of growth. */
int flows_init(struct flows *flows, uint32_t capacity)
{
    uint32_t buckets = 1;
    size_t bytes;

    assert(capacity > 0 && capacity <= FLOWS_CAPACITY_MAX);
    while ((uint64_t)buckets * FULL_LOAD < capacity)
        buckets *= 2;
    bytes = (size_t)buckets * sizeof(struct flows_bucket);
    *flows = (struct flows){.mask = buckets - 1, .capacity = capacity};
    /* calloc alone would not align, aligned_alloc would not leave pages untouched. */
    flows->memory = calloc(1, bytes + LINE_BYTES);
    if (flows->memory == NULL)
        return -ENOMEM;
    flows->buckets =
        (void *)(((uintptr_t)flows->memory + LINE_BYTES - 1) & ~(uintptr_t)(LINE_BYTES - 1));
    return 0;
}

void flows_fini(struct flows *flows)
{
    free(flows->memory);
    *flows = (struct flows){0};
}

int flows_insert(struct flows *flows, uint64_t hash, uint32_t index)
{
    uint32_t at = flows_home(flows, hash);
    uint16_t free;

    assert(index != FLOWS_NONE);
    if (flows->used == flows->capacity)
        return -ENOSPC;
    while ((free = flows_match(&flows->buckets[at], 0)) == 0) {
        flows->buckets[at].passed++;
        at = (at + 1) & flows->mask;
    }
    unsigned slot = (unsigned)__builtin_ctz(free);
    flows->buckets[at].tags[slot] = flows_tag(hash);
    flows->buckets[at].indices[slot] = index;
    flows->used++;
    return 0;
}

bool flows_remove(struct flows *flows, uint64_t hash, uint32_t index)
{
    struct flows_probe probe = flows_find(flows, hash);
    struct flows_bucket *bucket;
    uint32_t candidate;
    unsigned slot = 0;

    while ((candidate = flows_next(&probe)) != index)
        if (candidate == FLOWS_NONE)
            return false;
    bucket = &flows->buckets[probe.bucket];
    while (bucket->tags[slot] == 0 || bucket->indices[slot] != index)
        slot++;
    bucket->tags[slot] = 0;
    /* Every bucket that it went past loses one who did. */
    for (uint32_t at = flows_home(flows, hash); at != probe.bucket; at = (at + 1) & flows->mask)
        flows->buckets[at].passed--;
    flows->used--;
    return true;
}

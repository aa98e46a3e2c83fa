/* Connection table: from a flow to the 32-bit index of its connection.
 * Purpose:   one cache line for a look-up, found by a hash that strangers cannot steer.
 * Layout:    buckets of one line: FLOWS_BUCKET slots of a 16-bit tag and a 32-bit index, and how
 *            many entries went past the bucket because it was full. The flows themselves stay with
 *            the caller, who compares the candidates; one in 6,000 is a false one.
 * Size:      fixed when made, for `capacity` entries, or growing up to that: a table twice as large
 *            takes the entries over a few buckets an insertion, so none takes long, and both are
 *            looked at until the old one is empty. (A fixed one for a million would be 16 MiB that
 *            a few thousand entries, spread evenly, touch every page of.)
 * Ownership: the caller owns struct flows; it owns its buckets.
 * Threading: one worker.
 * Errors:    -ENOMEM when made, -ENOSPC for more than `capacity` entries, or when there is no
 *            memory to grow. */
#ifndef DATAPLANE_NET_FLOWS_H
#define DATAPLANE_NET_FLOWS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "dataplane/net/address.h"

enum {
    FLOWS_BUCKET = 10,
    FLOWS_CAPACITY_MAX = 1 << 26,
};

static const uint32_t FLOWS_NONE = 0xffffffffu;

struct flows_bucket {
    uint16_t tags[FLOWS_BUCKET]; /* 0: the slot is free */
    uint32_t passed;             /* entries that stand in a later bucket and looked here first */
    uint32_t indices[FLOWS_BUCKET];
};
_Static_assert(sizeof(struct flows_bucket) == 64, "a bucket is one cache line");

struct flows_table {
    struct flows_bucket *buckets;
    uint32_t mask; /* number of buckets - 1 */
};

/* The hash that an entry was added with. */
typedef uint64_t flows_hash_fn(const void *owner, uint32_t index);

struct flows {
    struct flows_table now, old; /* old: without buckets, unless its entries are being moved */
    uint32_t used, capacity;     /* of both */
    uint32_t moved;              /* buckets of the old one that are empty for good */
    flows_hash_fn *hash;         /* NULL: it does not grow */
    const void *owner;
};

/* Walks the entries that may be the flow of one hash. */
struct flows_probe {
    const struct flows *flows;
    const struct flows_table *table;
    uint64_t hash;
    uint32_t home, bucket;
    uint16_t tag;
    uint16_t match; /* slots of this bucket not yet handed out */
};

/* `capacity`: 1 to FLOWS_CAPACITY_MAX. 0 or -ENOMEM. */
int flows_init(struct flows *flows, uint32_t capacity);
/* The same, small at first; `hash` gives the hash of an entry in the table, for `owner`. */
int flows_init_growing(struct flows *flows, uint32_t capacity, flows_hash_fn *hash,
                       const void *owner);
void flows_fini(struct flows *flows);
/* Adds an entry that is not there yet. 0 or -ENOSPC. */
int flows_insert(struct flows *flows, uint64_t hash, uint32_t index);
/* Removes the entry; false: it is not there. An index stands in the table once at most. */
bool flows_remove(struct flows *flows, uint64_t hash, uint32_t index);

static inline uint32_t flows_home(const struct flows_table *table, uint64_t hash)
{
    return (uint32_t)hash & table->mask;
}

static inline uint16_t flows_tag(uint64_t hash)
{
    uint16_t tag = (uint16_t)(hash >> 48);

    return tag != 0 ? tag : 1;
}

static inline void flows_prefetch(const struct flows *flows, uint64_t hash)
{
    __builtin_prefetch(&flows->now.buckets[flows_home(&flows->now, hash)]);
}

/* The slots of a bucket that have this tag, as bits. */
static inline uint16_t flows_match(const struct flows_bucket *bucket, uint16_t tag)
{
#if defined(__SSE2__)
    /* Tags 0 to 7 in one register, 4 to 9 and `passed` in the other. */
    const __m128i wanted = _mm_set1_epi16((short)tag);
    __m128i low = _mm_loadu_si128((const void *)bucket->tags);
    __m128i high = _mm_loadu_si128((const void *)(bucket->tags + 4));
    unsigned mask = (unsigned)_mm_movemask_epi8(
        _mm_packs_epi16(_mm_cmpeq_epi16(low, wanted), _mm_cmpeq_epi16(high, wanted)));

    return (uint16_t)((mask & 0xff) | (mask >> 4 & 0x300));
#else
    unsigned match = 0;

    for (unsigned i = 0; i < FLOWS_BUCKET; i++)
        match |= (unsigned)(bucket->tags[i] == tag) << i;
    return (uint16_t)match;
#endif
}

static inline struct flows_probe flows_probe_table(const struct flows *flows,
                                                   const struct flows_table *table, uint64_t hash)
{
    uint32_t home = flows_home(table, hash);
    uint16_t tag = flows_tag(hash);

    return (struct flows_probe){.flows = flows,
                                .table = table,
                                .hash = hash,
                                .home = home,
                                .bucket = home,
                                .tag = tag,
                                .match = flows_match(&table->buckets[home], tag)};
}

static inline struct flows_probe flows_find(const struct flows *flows, uint64_t hash)
{
    return flows_probe_table(flows, &flows->now, hash);
}

/* The next candidate, or FLOWS_NONE:
 *     struct flows_probe probe = flows_find(flows, hash);
 *     while ((index = flows_next(&probe)) != FLOWS_NONE && !same(index))
 *         ;
 * The table may not change in between. */
static inline uint32_t flows_next(struct flows_probe *probe)
{
    while (probe->match == 0) {
        const struct flows_table *table = probe->table;
        uint32_t next = (probe->bucket + 1) & table->mask;

        if (table->buckets[probe->bucket].passed != 0 && next != probe->home) {
            probe->bucket = next;
            probe->match = flows_match(&table->buckets[next], probe->tag);
        } else if (table == &probe->flows->now && probe->flows->old.buckets != NULL) {
            *probe = flows_probe_table(probe->flows, &probe->flows->old, probe->hash);
        } else {
            return FLOWS_NONE;
        }
    }
    unsigned slot = (unsigned)__builtin_ctz(probe->match);
    probe->match &= (uint16_t)(probe->match - 1);
    return probe->table->buckets[probe->bucket].indices[slot];
}

#endif

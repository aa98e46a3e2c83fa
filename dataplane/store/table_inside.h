/* The inside of a table: what table.c and table_walk.c share; nobody else includes it.
 * Purpose:   buckets, arrays of them, and entries as they stand there (a `mark`: the address with
 *            the high bits of the hash above it).
 * Ownership, threading, errors: as in table.h. */
#ifndef DATAPLANE_STORE_TABLE_INSIDE_H
#define DATAPLANE_STORE_TABLE_INSIDE_H

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "dataplane/store/table.h"

/* Invariants of an array of buckets:
 *   - bit 7 of `present` is set in every bucket that some entry passed on its way to a later
 *     one;
 *   - it is clear in every bucket with room. In the old array of a moving table it may be stale:
 *     that costs a look;
 *   - tags of absent entries are 0. */
enum {
    BUCKET_FULL = (1 << TABLE_BUCKET_ENTRIES) - 1,
    BUCKET_PASSED = 1 << TABLE_BUCKET_ENTRIES,
};
_Static_assert(sizeof(struct table_bucket) == MEMORY_LINE_BYTES, "a bucket is one cache line");
_Static_assert(offsetof(struct table_bucket, tags) == 56 && TABLE_BUCKET_ENTRIES == 7 &&
                   __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "tags and, highest, present make one word");
_Static_assert(sizeof(struct table) <= 32, "there is one in each slot object");

/* An array of buckets on its own: a table has one of them, or two while it moves. */
struct array {
    struct table_bucket *buckets;
    uint32_t count;
};

struct table_growth {
    struct array next;
    /* Homes of the old array that are empty: their entries are in `next`, as are all new ones. */
    uint32_t moved;
    uint32_t drained, next_drained; /* buckets that table_drain has emptied */
};

static inline uint64_t hash_of(uint64_t seed, const struct entry *entry)
{
    return table_hash(seed, entry_key(entry));
}

/* ---- addresses with hash bits ---- */

#ifdef POLLUX_ASAN
enum { TABLE_HIGH_BITS = 0 }; /* known of an entry's hash without reading its key */
#else
enum { TABLE_HIGH_BITS = 64 - TABLE_ADDRESS_BITS };
#endif

static const uint64_t address_mask = (1ull << TABLE_ADDRESS_BITS) - 1;
static const uint64_t high_mask = TABLE_HIGH_BITS > 0 ? ~address_mask : 0;

static inline uint64_t marked(struct entry *entry, uint64_t hash)
{
    assert(((uintptr_t)entry & ~address_mask) == 0);
    return (uintptr_t)entry | (hash & high_mask);
}

static inline struct entry *entry_of(uint64_t mark)
{
    return (struct entry *)(uintptr_t)(mark & address_mask);
}

/* ---- buckets ---- */

/* Bit 8 i + 7 is set when entry i is there. */
static inline uint64_t bucket_present(uint64_t word)
{
    /* Bit i goes to 8 i + 7; no two of the products meet in one place. */
    return (word >> 56 & BUCKET_FULL) * 0x0002040810204080ull & 0x0080808080808080ull;
}

static inline uint64_t bucket_word(const struct table_bucket *bucket)
{
    uint64_t word;

    memcpy(&word, bucket->tags, sizeof(word));
    return word;
}

/* Bit 8 i + 7 is set when entry i is there and has this tag. */
static inline uint64_t bucket_match(uint64_t word, uint8_t tag)
{
    const uint64_t low7 = 0x7f7f7f7f7f7f7f7full;
    uint64_t different = word ^ tag * 0x0101010101010101ull;
    uint64_t same = ~(((different & low7) + low7) | different | low7);

    return same & bucket_present(word);
}

static inline unsigned match_index(uint64_t match)
{
    return (unsigned)__builtin_ctzll(match) >> 3;
}

static inline bool bucket_has_room(const struct table_bucket *bucket)
{
    return (bucket->present & BUCKET_FULL) != BUCKET_FULL;
}

static inline void bucket_put(struct table_bucket *bucket, unsigned index, uint8_t tag,
                              uint64_t mark)
{
    bucket->entries[index] = mark;
    bucket->tags[index] = tag;
    bucket->present |= (uint8_t)(1u << index);
}

static inline void bucket_clear(struct table_bucket *bucket, unsigned index)
{
    bucket->entries[index] = 0;
    bucket->tags[index] = 0;
    bucket->present &= (uint8_t) ~(1u << index);
}

static inline void bucket_prefetch_entries(const struct table_bucket *bucket)
{
    for (uint64_t there = bucket_present(bucket_word(bucket)); there != 0; there &= there - 1)
        __builtin_prefetch(entry_of(bucket->entries[match_index(there)]));
}

/* ---- arrays ---- */

static inline uint32_t home_of(struct array array, uint64_t hash)
{
    return table_home_among(array.count, hash);
}

/* The home of an entry, from the bits beside its address where they suffice: they leave it open
 * only when a bucket ends among the hashes that begin with them. */
static inline uint32_t home_of_marked(struct array array, uint64_t seed, uint64_t mark)
{
    uint64_t low = mark & high_mask;
    uint32_t home = home_of(array, low);

    if (home == home_of(array, low | ~high_mask))
        return home;
    return home_of(array, hash_of(seed, entry_of(mark)));
}

/* Whether that home is this one: for most entries without their key, however large the array. */
static inline bool is_home(struct array array, uint64_t seed, uint64_t mark, uint32_t home)
{
    uint64_t low = mark & high_mask;
    uint32_t first = home_of(array, low), last = home_of(array, low | ~high_mask);

    if (home < first || home > last)
        return false;
    return first == last || home_of(array, hash_of(seed, entry_of(mark))) == home;
}

static inline uint32_t after(struct array array, uint32_t index)
{
    return index + 1 == array.count ? 0 : index + 1;
}

static inline size_t array_bytes(struct array array)
{
    return (size_t)array.count * sizeof(struct table_bucket);
}

static inline struct array table_array(const struct table *table)
{
    return (struct array){.buckets = table->buckets, .count = table->bucket_count};
}

static inline void array_discard(struct array array, uint32_t was, uint32_t dead)
{
    memory_discard_lines(array.buckets, array_bytes(array), was * sizeof(struct table_bucket),
                         dead * sizeof(struct table_bucket));
}

/* A table that is drained keeps its progress, twice and plus one, where the growth was. */
static inline bool is_draining(const struct table *table)
{
    return (uintptr_t)table->growth & 1;
}

/* Frees the arrays, whatever state the table is in, and leaves it empty. */
void table_free_arrays(struct table *table, struct memory *memory);

#endif

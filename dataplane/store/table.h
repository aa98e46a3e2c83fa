/* Table: the hash table of one slot and database (and later of large sets and hashes).
 * Shape:     an array of buckets, one cache line each: 7 places for an entry's address, 7 hash
 *            bytes, one byte of presence bits with the overflow bit. Home bucket = high 64 bits
 *            of (position * bucket count), the position being the hash's high 39 bits: hash
 *            order is bucket order for every size, and a cursor is a position that survives
 *            each resize. An entry that finds
 *            its home full goes to the next bucket (wrapping) and sets the overflow bit of those
 *            it passed.
 * Sizes:     1 to 16 buckets in single steps, then steps of an eighth to a quarter.
 * Growth:    tables up to TABLE_ONE_GO_BUCKETS are rebuilt in one go; larger ones move a bounded
 *            number of buckets with each write and table_step call (two arrays meanwhile). They
 *            shrink likewise, below a third of what they may hold.
 * Hash bits: user addresses have 48 bits (more only where asked for, and nobody here does), so
 *            the 16 above hold the high bits of the entry's hash. From them comes its home in an
 *            array of any usual size: a table grows, shrinks and is scanned without reading the
 *            entries, each of which would be a cache miss. Under ASan the bits are not used, for
 *            the leak checker looks for addresses.
 * Ownership: the table owns its arrays, never the entries. Memory through the `struct memory`
 *            passed in.
 * Threading: the worker that holds the slot; table_used, any. */
#ifndef DATAPLANE_STORE_TABLE_H
#define DATAPLANE_STORE_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/store/entry.h"

enum {
    TABLE_BUCKET_ENTRIES = 7,
    TABLE_ONE_GO_BUCKETS = 512, /* some 3,300 entries: a rebuild of about 20 us */
    TABLE_CURSOR_BITS = 39,     /* position in hash order: the high bits of the hash */
    TABLE_ADDRESS_BITS = 48,
};

struct table_bucket {
    uint64_t entries[TABLE_BUCKET_ENTRIES]; /* address, and above it the high bits of the hash */
    uint8_t tags[TABLE_BUCKET_ENTRIES];     /* low 8 bits of the hash */
    uint8_t present; /* bits 0 to 6; bit 7: something that belongs here, or before, went on */
};

struct table_growth; /* the second array and progress, while a large table moves */

struct table { /* zeroed is empty; 32 bytes at most */
    struct table_bucket *buckets;
    struct table_growth *growth;
    uint32_t bucket_count;
    _Atomic uint32_t used; /* written by the slot's holder, read by others (DBSIZE, INFO) */
};

struct table_place { /* valid until the next change of the table */
    struct table_bucket *bucket;
    uint32_t index;
};

static inline struct entry *table_at(struct table_place place)
{
    return (struct entry *)(uintptr_t)(place.bucket->entries[place.index] &
                                       ((1ull << TABLE_ADDRESS_BITS) - 1));
}

static inline uint32_t table_used(const struct table *table)
{
    return atomic_load_explicit(&table->used, memory_order_relaxed);
}

/* One writer: the atomic only keeps readers whole. */
static inline void table_set_used(struct table *table, uint32_t used)
{
    atomic_store_explicit(&table->used, used, memory_order_relaxed);
}

uint64_t table_hash(uint64_t seed, struct text key); /* XXH3 with the node's random seed */

/* Only the position counts, so no bucket ends within one: a walk meets each entry once. */
static inline uint32_t table_home_among(uint32_t bucket_count, uint64_t hash)
{
    uint64_t position = hash >> (64 - TABLE_CURSOR_BITS) << (64 - TABLE_CURSOR_BITS);

    return (uint32_t)(((unsigned __int128)position * bucket_count) >> 64);
}

static inline uint32_t table_home(const struct table *table, uint64_t hash)
{
    return table_home_among(table->bucket_count, hash);
}

static inline void table_prefetch_bucket(const struct table *table, uint64_t hash)
{
    if (table->buckets != NULL)
        __builtin_prefetch(&table->buckets[table_home(table, hash)]);
}

/* Entries that may be it by the hash bits in the bucket, which is read. */
void table_prefetch_entry(const struct table *table, uint64_t hash);

struct entry *table_find(const struct table *table, uint64_t hash, struct text key);
bool table_locate(const struct table *table, uint64_t hash, struct text key,
                  struct table_place *place);
/* The key must not be there. 0 or -ENOMEM with nothing changed. `seed`: to re-hash when the
 * table grows. */
int table_insert(struct table *table, struct memory *memory, uint64_t seed, uint64_t hash,
                 struct entry *entry);
void table_replace(struct table_place place, struct entry *entry); /* same key */
/* Takes the entry at `place` out (does not free it). Pulls passed-on entries home, may shrink
 * the table. */
struct entry *table_remove(struct table *table, struct memory *memory, uint64_t seed,
                           struct table_place place);
/* Moves up to `buckets` buckets of a table that is growing or shrinking; true while more remain. */
bool table_step(struct table *table, struct memory *memory, uint64_t seed, unsigned buckets);

/* Visits every entry from position `cursor` (the high TABLE_CURSOR_BITS bits of the hash) to the end
 * of the home bucket that covers it, and returns the next position, 0 at the end (as for a cursor
 * out of range). Entries present throughout a whole iteration are visited exactly once whatever
 * happens to the table in between. `visit` must not change the table. */
uint64_t table_scan(const struct table *table, uint64_t seed, uint64_t cursor,
                    void (*visit)(void *arg, struct entry *entry), void *arg);
/* Visits the entries whose hash begins with these prefix_bits bits (1 to 32) and ends with
 * `tag`, and perhaps some whose hash does not: they are told apart by 16 bits and the tag, not
 * by the key. */
void table_visit_prefix(const struct table *table, uint32_t prefix, unsigned prefix_bits,
                        uint8_t tag, void (*visit)(void *arg, struct entry *entry), void *arg);
/* Any entry, each as likely as any other but in a nearly empty table; NULL if there is none. */
struct entry *table_random(const struct table *table, uint64_t seed, uint64_t random);
/* Hands out entries for freeing, in slices: empties up to `max` entries into `entries`, returns
 * how many; 0: the table is empty and its arrays are freed. Used on tables nobody looks into any
 * more (FLUSHALL). */
unsigned table_drain(struct table *table, struct memory *memory, struct entry **entries,
                     unsigned max);
size_t table_bytes(const struct table *table);

#endif

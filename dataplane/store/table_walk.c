#include "dataplane/store/table.h"

#include <assert.h>
#include <xxhash.h>

#include "dataplane/store/table_inside.h"

enum {
    TABLE_RANDOM_TRIES = 64,
    TABLE_DRAIN_BUCKETS = 1024,
    TABLE_POSITION_SHIFT = 64 - TABLE_CURSOR_BITS,
};

typedef void visit_fn(void *arg, struct entry *entry);

/* ---- going over all ---- */

struct span { /* of hashes, both ends included */
    uint64_t low, high;
};

/* Visits the entries whose home is `home`; with a span only those within. */
static void array_visit_home(struct array array, uint64_t seed, uint32_t home,
                             const struct span *span, visit_fn *visit, void *arg)
{
    uint32_t before = home == 0 ? array.count - 1 : home - 1, i = home;
    /* Do entries of other homes lie here too? */
    bool mixed = array.buckets[before].present & BUCKET_PASSED;

    do {
        const struct table_bucket *bucket = &array.buckets[i];
        uint64_t word = bucket_word(bucket);

        for (uint64_t there = bucket_present(word); there != 0; there &= there - 1) {
            uint64_t mark = bucket->entries[match_index(there)], hash;

            if (mixed && !is_home(array, seed, mark, home))
                continue;
            if (span != NULL) {
                hash = hash_of(seed, entry_of(mark));
                if (hash < span->low || hash > span->high)
                    continue;
            }
            visit(arg, entry_of(mark));
        }
        if ((int64_t)word >= 0)
            return;
        mixed = true;
        i = after(array, i);
    } while (i != home);
}

/* The first position of bucket `index`; that of index `count` is behind the last one. */
static uint64_t first_position(struct array array, uint32_t index)
{
    unsigned __int128 scaled = (unsigned __int128)index << TABLE_CURSOR_BITS;

    return (uint64_t)((scaled + array.count - 1) / array.count);
}

static uint64_t hash_at(uint64_t position)
{
    return position << TABLE_POSITION_SHIFT;
}

/* Visits the entries of the positions from `from` to before `to`. */
static void array_visit_range(struct array array, uint64_t seed, uint64_t from, uint64_t to,
                              visit_fn *visit, void *arg)
{
    struct span span = {.low = hash_at(from), .high = hash_at(to - 1) | ~hash_at(UINT64_MAX)};
    uint32_t last = home_of(array, span.high);

    for (uint32_t home = home_of(array, span.low); home <= last; home++) {
        /* A bucket that reaches beyond the range: its other part belongs to another call. */
        bool whole = first_position(array, home) >= from && first_position(array, home + 1) <= to;

        array_visit_home(array, seed, home, whole ? NULL : &span, visit, arg);
    }
}

uint64_t table_scan(const struct table *table, uint64_t seed, uint64_t cursor, visit_fn *visit,
                    void *arg)
{
    struct array array = table_array(table);
    uint64_t end;

    if (table_used(table) == 0 || cursor >> TABLE_CURSOR_BITS != 0)
        return 0;

    end = first_position(array, home_of(array, hash_at(cursor)) + 1);
    array_visit_range(array, seed, cursor, end, visit, arg);
    if (table->growth != NULL)
        array_visit_range(table->growth->next, seed, cursor, end, visit, arg);
    return end >> TABLE_CURSOR_BITS == 0 ? end : 0;
}

static void array_visit_prefix(struct array array, uint64_t low, uint64_t high, uint8_t tag,
                               visit_fn *visit, void *arg)
{
    uint32_t first = home_of(array, low), homes = home_of(array, high) - first + 1, i = first;

    for (uint32_t seen = 0; seen < array.count; seen++) {
        const struct table_bucket *bucket = &array.buckets[i];
        uint64_t word = bucket_word(bucket);

        for (uint64_t match = bucket_match(word, tag); match != 0; match &= match - 1) {
            uint64_t mark = bucket->entries[match_index(match)];

            if ((mark & high_mask) >= (low & high_mask) && (mark & high_mask) <= high)
                visit(arg, entry_of(mark));
        }
        if (seen + 1 >= homes && (int64_t)word >= 0)
            return;
        i = after(array, i);
    }
}

void table_visit_prefix(const struct table *table, uint32_t prefix, unsigned prefix_bits,
                        uint8_t tag, visit_fn *visit, void *arg)
{
    assert(prefix_bits > 0 && prefix_bits <= 32);
    if (table_used(table) == 0)
        return;

    uint64_t low = (uint64_t)prefix << (64 - prefix_bits);
    uint64_t high = low | (UINT64_MAX >> prefix_bits);

    array_visit_prefix(table_array(table), low, high, tag, visit, arg);
    if (table->growth != NULL)
        array_visit_prefix(table->growth->next, low, high, tag, visit, arg);
}

/* Any bucket of the table's one or two arrays. */
static const struct table_bucket *any_bucket(const struct table *table, uint64_t index)
{
    return index < table->bucket_count ? &table->buckets[index]
                                       : &table->growth->next.buckets[index - table->bucket_count];
}

struct entry *table_random(const struct table *table, uint64_t seed, uint64_t random)
{
    uint64_t count =
        table->bucket_count + (table->growth != NULL ? (uint64_t)table->growth->next.count : 0);
    uint64_t start = 0;

    if (table_used(table) == 0)
        return NULL;
    /* A place at random until one is taken: each entry is as likely as any other. */
    for (unsigned i = 0; i < TABLE_RANDOM_TRIES; i++) {
        uint64_t r = XXH3_64bits_withSeed(&random, sizeof(random), seed + i);
        unsigned index = (unsigned)((r & UINT32_MAX) * TABLE_BUCKET_ENTRIES >> 32);

        start = (r >> 32) * count >> 32;
        if (any_bucket(table, start)->present >> index & 1)
            return entry_of(any_bucket(table, start)->entries[index]);
    }
    /* Nearly empty (it could not shrink, or is just moving): the next one from there. */
    for (uint64_t i = 0; i < count; i++) {
        const struct table_bucket *bucket = any_bucket(table, (start + i) % count);

        if (bucket->present & BUCKET_FULL)
            return entry_of(bucket->entries[match_index(bucket_present(bucket_word(bucket)))]);
    }
    assert(!"used is not 0, so there is an entry");
    return NULL;
}

/* ---- emptying ---- */

/* Takes entries out of the buckets from *drained to `end`. */
static unsigned array_drain(struct array array, uint32_t *drained, uint32_t end,
                            struct entry **entries, unsigned max)
{
    uint32_t was = *drained, at = was;
    unsigned taken = 0;

    for (; at < end; at++) {
        struct table_bucket *bucket = &array.buckets[at];
        uint64_t there = bucket_present(bucket_word(bucket));

        for (; there != 0 && taken < max; there &= there - 1) {
            unsigned index = match_index(there);

            entries[taken++] = entry_of(bucket->entries[index]);
            bucket_clear(bucket, index);
        }
        if (there != 0)
            break;
    }
    array_discard(array, was, at);
    *drained = at;
    return taken;
}

/* Where, in the old array of a moving table, the entries end that wrapped round from its last
 * bucket. */
static uint32_t wrapped_end(const struct table *table)
{
    struct array old = table_array(table);
    uint32_t end = 0, last = old.count - 1;

    while (end < table->growth->moved &&
           (old.buckets[end == 0 ? last : end - 1].present & BUCKET_PASSED))
        end++;
    return end;
}

/* Either array may be nearly empty, for long stretches; then the other is nearly full. A call
 * looks at a stretch of the next one, and takes the rest of what it hands out from the old one,
 * whose beginning it skips. */
static unsigned drain_moving(struct table *table, struct entry **entries, unsigned max)
{
    struct table_growth *growth = table->growth;
    struct array old = table_array(table), next = growth->next;
    uint32_t stretch = next.count - growth->next_drained;
    unsigned taken;

    if (stretch > TABLE_DRAIN_BUCKETS)
        stretch = TABLE_DRAIN_BUCKETS;
    taken = array_drain(next, &growth->next_drained, growth->next_drained + stretch, entries, max);
    if (taken < max && growth->drained < growth->moved) {
        taken +=
            array_drain(old, &growth->drained, wrapped_end(table), entries + taken, max - taken);
        if (taken < max)
            growth->drained = growth->moved;
    }
    if (taken < max)
        taken += array_drain(old, &growth->drained, old.count, entries + taken, max - taken);
    if (taken == 0)
        taken = array_drain(next, &growth->next_drained, next.count, entries, max);
    return taken;
}

unsigned table_drain(struct table *table, struct memory *memory, struct entry **entries,
                     unsigned max)
{
    unsigned taken;

    assert(max > 0);
    if (table->growth != NULL && !is_draining(table)) {
        taken = drain_moving(table, entries, max);
    } else {
        uint32_t drained = (uint32_t)((uintptr_t)table->growth >> 1);

        taken = array_drain(table_array(table), &drained, table->bucket_count, entries, max);
        table->growth = (struct table_growth *)((uintptr_t)drained << 1 | 1);
    }
    table_set_used(table, table_used(table) - taken);
    if (taken == 0) {
        assert(table_used(table) == 0);
        table_free_arrays(table, memory);
    }
    return taken;
}

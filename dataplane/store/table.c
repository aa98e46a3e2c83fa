#include "dataplane/store/table.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "dataplane/store/table_inside.h"

enum {
    TABLE_BUCKETS_MAX = 1 << 30,
    /* Homes moved with each write while a table moves: done after count / 2 writes. As many
     * entries can come meanwhile: that is two places a bucket for an array of a quarter the
     * size, and what moves there fills it to three quarters of nine tenths at the most. So there
     * is always room. */
    TABLE_MOVE_BUCKETS = 2,
    TABLE_SHRINK_MAX = 4,
    TABLE_PACK_INTERVAL = 4, /* every so many inserts an array is asked whether it lies well */
    /* Below this part of what it may hold a table shrinks, to three quarters full. */
    TABLE_SHRINK_FACTOR = 3,
};

uint64_t table_hash(uint64_t seed, struct text key)
{
    return XXH3_64bits_withSeed(key.data, key.len_bytes, seed);
}

/* ---- arrays ---- */

/* Steps forward, round the end, from one bucket to the other. */
static uint32_t distance(struct array array, uint32_t from, uint32_t to)
{
    return to >= from ? to - from : to + (array.count - from);
}

static bool array_create(struct array *array, struct memory *memory, uint32_t count)
{
    array->count = count;
    array->buckets = memory_alloc_lines(memory, array_bytes(*array));
    return array->buckets != NULL;
}

static void array_free(struct array array, struct memory *memory)
{
    memory_free_lines(memory, array.buckets, array_bytes(array));
}

/* There is room: who calls keeps `used` below the number of places. */
static void array_put(struct array array, uint32_t home, uint8_t tag, uint64_t mark)
{
    struct table_bucket *bucket = &array.buckets[home];
    uint32_t index = home;

    for (uint32_t left = array.count; !bucket_has_room(bucket); left--) {
        assert(left > 1);
        bucket->present |= BUCKET_PASSED;
        index = after(array, index);
        bucket = &array.buckets[index];
    }
    bucket_put(bucket, (unsigned)__builtin_ctz(~(unsigned)bucket->present), tag, mark);
}

static inline uint64_t load(const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return word;
}

/* For the length of usual keys: a call to memcmp costs more than they have words. */
static inline bool same_bytes(const char *a, const char *b, size_t len)
{
    if (len < 8 || len > 32)
        return memcmp(a, b, len) == 0;
    for (size_t i = 0; i + 8 < len; i += 8)
        if (load(a + i) != load(b + i))
            return false;
    return load(a + len - 8) == load(b + len - 8);
}

static inline bool entry_has_key(const struct entry *entry, struct text key)
{
    struct text own = entry_key(entry);

    return own.len_bytes == key.len_bytes && same_bytes(own.data, key.data, key.len_bytes);
}

static inline bool array_locate(struct array array, uint64_t hash, struct text key,
                                struct table_place *place)
{
    uint32_t home = home_of(array, hash), index = home;

    do {
        struct table_bucket *bucket = &array.buckets[index];
        uint64_t word = bucket_word(bucket);

        for (uint64_t match = bucket_match(word, (uint8_t)hash); match != 0; match &= match - 1) {
            unsigned i = match_index(match);

            if (((bucket->entries[i] ^ hash) & high_mask) == 0 &&
                entry_has_key(entry_of(bucket->entries[i]), key)) {
                *place = (struct table_place){.bucket = bucket, .index = i};
                return true;
            }
        }
        if ((int64_t)word >= 0) /* nothing was passed on */
            return false;
        index = after(array, index);
    } while (index != home);
    return false;
}

/* Finds an entry behind `hole` that passed it on its way. */
static bool array_find_passed(struct array array, uint64_t seed, uint32_t hole, uint32_t *from,
                              unsigned *from_index)
{
    for (uint32_t i = after(array, hole); i != hole; i = after(array, i)) {
        const struct table_bucket *bucket = &array.buckets[i];
        uint64_t word = bucket_word(bucket);

        for (uint64_t there = bucket_present(word); there != 0; there &= there - 1) {
            unsigned index = match_index(there);
            uint32_t home = home_of_marked(array, seed, bucket->entries[index]);

            if (distance(array, home, i) >= distance(array, hole, i)) {
                *from = i;
                *from_index = index;
                return true;
            }
        }
        if ((int64_t)word >= 0)
            break;
    }
    return false;
}

/* Empties a place and pulls entries that had to pass it back, each into the hole that the one
 * before it left. */
static void array_remove(struct array array, uint64_t seed, uint32_t hole, unsigned index)
{
    uint32_t from;
    unsigned from_index;

    for (;;) {
        struct table_bucket *bucket = &array.buckets[hole];

        bucket_clear(bucket, index);
        if (!(bucket->present & BUCKET_PASSED))
            return;
        if (!array_find_passed(array, seed, hole, &from, &from_index)) {
            bucket->present &= BUCKET_FULL;
            return;
        }
        bucket_put(bucket, index, array.buckets[from].tags[from_index],
                   array.buckets[from].entries[from_index]);
        hole = from;
        index = from_index;
    }
}

/* ---- sizes ---- */

/* What an array may hold before it must grow: thirteen places of fourteen, a single bucket all
 * of them. (Measured with a million keys in 16,384 slots: 1.23 buckets looked at to find a key,
 * 2.3 to miss one, neighbours in memory, and 10.3 bytes a key.) In a larger one, where full
 * buckets can gather in long rows, nine of ten. */
static uint32_t limit_of(uint32_t count)
{
    uint32_t free = count <= TABLE_ONE_GO_BUCKETS ? count / 2 : count * 3 / 4;

    return count * TABLE_BUCKET_ENTRIES - free;
}

/* The next size: single lines up to 16, then steps of an eighth (but whole KiB from 4 KiB on, as
 * lines.h packs them), and of a quarter when it is done in steps. */
static uint32_t size_after(uint32_t count)
{
    uint32_t doubling = count == 0 ? 0 : 1u << (31 - __builtin_clz(count));

    if (count < 16)
        return count + 1;
    if (count >= 64 && count < 128)
        return count + 16;
    return count + doubling / (count < TABLE_ONE_GO_BUCKETS ? 8 : 4);
}

static uint32_t size_for(uint64_t used)
{
    uint32_t count = 1;

    while (count < TABLE_BUCKETS_MAX && limit_of(count) < used)
        count = size_after(count);
    return count;
}

static int rebuild(struct table *table, struct memory *memory, uint64_t seed, uint32_t count)
{
    struct array old = table_array(table), array;

    if (!array_create(&array, memory, count))
        return -ENOMEM;
    for (uint32_t i = 0; i < old.count; i++) {
        const struct table_bucket *bucket = &old.buckets[i];

        for (uint64_t there = bucket_present(bucket_word(bucket)); there != 0; there &= there - 1) {
            unsigned index = match_index(there);
            uint64_t mark = bucket->entries[index];

            array_put(array, home_of_marked(array, seed, mark), bucket->tags[index], mark);
        }
    }
    array_free(old, memory);
    table->buckets = array.buckets;
    table->bucket_count = array.count;
    return 0;
}

static uint32_t shrunk_size(const struct table *table)
{
    uint32_t count = size_for((uint64_t)table_used(table) + table_used(table) / 3 + 1);
    uint32_t least =
        table->bucket_count > TABLE_ONE_GO_BUCKETS ? table->bucket_count / TABLE_SHRINK_MAX : 1;

    return count > least ? count : least;
}

/* Goes over to `count` buckets, at once or in steps. */
static int resize(struct table *table, struct memory *memory, uint64_t seed, uint32_t count)
{
    struct table_growth *growth;

    if (count > TABLE_BUCKETS_MAX)
        return -ENOMEM;
    if (table->bucket_count <= TABLE_ONE_GO_BUCKETS)
        return rebuild(table, memory, seed, count);
    growth = memory_alloc_zero(memory, sizeof(*growth));
    if (growth == NULL)
        return -ENOMEM;
    if (!array_create(&growth->next, memory, count)) {
        memory_free(memory, growth, sizeof(*growth));
        return -ENOMEM;
    }
    table->growth = growth;
    return 0;
}

/* Moves the entries of one home to the next array. They lie in its bucket and, passed on, behind
 * it. */
static void move_home(struct table *table, uint64_t seed, uint32_t home)
{
    struct array old = table_array(table), next = table->growth->next;
    uint32_t i = home;

    do {
        struct table_bucket *bucket = &old.buckets[i];
        uint64_t word = bucket_word(bucket);

        for (uint64_t there = bucket_present(word); there != 0; there &= there - 1) {
            unsigned index = match_index(there);
            uint64_t mark = bucket->entries[index];
            uint8_t tag = bucket->tags[index];

            if (is_home(old, seed, mark, home)) {
                bucket_clear(bucket, index);
                array_put(next, home_of_marked(next, seed, mark), tag, mark);
            }
        }
        if ((int64_t)word >= 0)
            return;
        i = after(old, i);
    } while (i != home);
}

/* Gives back the part of the old array that has been moved. Entries from its end may have
 * wrapped round to its beginning: they are sure to lie before the first bucket that passes
 * nothing on, and the first stride stays. */
static void discard_moved(const struct table *table, uint32_t was, uint32_t moved)
{
    const uint32_t stride = MEMORY_DISCARD_BYTES / sizeof(struct table_bucket);
    struct array old = table_array(table);
    uint32_t i = 0;

    if (moved / stride == was / stride || moved / stride < 2)
        return;
    while (i < stride && (old.buckets[i].present & BUCKET_PASSED))
        i++;
    if (i < stride)
        array_discard(old, was > stride ? was : stride, moved);
}

static void finish_growth(struct table *table, struct memory *memory)
{
    struct table_growth *growth = table->growth;

    array_free(table_array(table), memory);
    table->buckets = growth->next.buckets;
    table->bucket_count = growth->next.count;
    table->growth = NULL;
    memory_free(memory, growth, sizeof(*growth));
}

bool table_step(struct table *table, struct memory *memory, uint64_t seed, unsigned buckets)
{
    struct table_growth *growth = table->growth;

    if (growth == NULL)
        return false;

    struct array old = table_array(table);
    uint32_t was = growth->moved;

    for (; buckets > 0 && growth->moved < old.count; buckets--) {
        /* What the steps after this one will read. */
        if (growth->moved + 2 * TABLE_MOVE_BUCKETS < old.count)
            bucket_prefetch_entries(&old.buckets[growth->moved + 2 * TABLE_MOVE_BUCKETS]);
        if (growth->moved + 4 * TABLE_MOVE_BUCKETS < old.count)
            __builtin_prefetch(&old.buckets[growth->moved + 4 * TABLE_MOVE_BUCKETS]);
        move_home(table, seed, growth->moved);
        growth->moved++;
    }
    if (growth->moved < old.count) {
        discard_moved(table, was, growth->moved);
        return true;
    }
    finish_growth(table, memory);
    return false;
}

/* Moves a small array out of a sparse page. */
static void pack(struct table *table, struct memory *memory)
{
    void *better = memory_pack_lines(memory, table->buckets, array_bytes(table_array(table)));

    if (better != NULL)
        table->buckets = better;
}

void table_free_arrays(struct table *table, struct memory *memory)
{
    if (table->growth != NULL && !is_draining(table)) {
        array_free(table->growth->next, memory);
        memory_free(memory, table->growth, sizeof(*table->growth));
    }
    array_free(table_array(table), memory);
    table->buckets = NULL;
    table->growth = NULL;
    table->bucket_count = 0;
    table_set_used(table, 0);
}

/* ---- entries ---- */

bool table_locate(const struct table *table, uint64_t hash, struct text key,
                  struct table_place *place)
{
    struct array array = table_array(table);

    if (table_used(table) == 0)
        return false;
    if (table->growth == NULL)
        return array_locate(array, hash, key, place);
    return (home_of(array, hash) >= table->growth->moved &&
            array_locate(array, hash, key, place)) ||
           array_locate(table->growth->next, hash, key, place);
}

struct entry *table_find(const struct table *table, uint64_t hash, struct text key)
{
    struct table_place place;

    return table_locate(table, hash, key, &place) ? table_at(place) : NULL;
}

__attribute__((noinline)) void table_prefetch_entry(const struct table *table, uint64_t hash)
{
    if (table->buckets == NULL)
        return;

    struct array array = table_array(table);

    if (table->growth != NULL && home_of(array, hash) < table->growth->moved)
        array = table->growth->next;

    const struct table_bucket *bucket = &array.buckets[home_of(array, hash)];
    uint64_t match = bucket_match(bucket_word(bucket), (uint8_t)hash);

    for (; match != 0; match &= match - 1) {
        uint64_t mark = bucket->entries[match_index(match)];
        const char *entry = (const char *)entry_of(mark);

        if (((mark ^ hash) & high_mask) != 0)
            continue;
        /* Entries are not aligned to lines: a short one may lie in two. */
        __builtin_prefetch(entry);
        __builtin_prefetch(entry + 40);
        /* GCC takes a function that only prefetches for one without effect, and link-time
         * optimisation drops its calls: this is one. */
        __asm__ volatile("");
    }
}

int table_insert(struct table *table, struct memory *memory, uint64_t seed, uint64_t hash,
                 struct entry *entry)
{
    if (table_step(table, memory, seed, TABLE_MOVE_BUCKETS)) {
        /* The next array has room for all that can be inserted until this is over: see
         * TABLE_MOVE_BUCKETS. */
    } else if (table_used(table) >= limit_of(table->bucket_count)) {
        int error = resize(table, memory, seed, size_after(table->bucket_count));

        if (error < 0)
            return error;
    } else if (table_used(table) % TABLE_PACK_INTERVAL == 0) {
        pack(table, memory);
    }

    /* What is new goes to the next array at once: the old one must not fill up while it is
     * emptied. */
    struct array array = table->growth != NULL ? table->growth->next : table_array(table);

    array_put(array, home_of(array, hash), (uint8_t)hash, marked(entry, hash));
    table_set_used(table, table_used(table) + 1);
    return 0;
}

void table_replace(struct table_place place, struct entry *entry)
{
    uint64_t *mark = &place.bucket->entries[place.index];

    *mark = marked(entry, *mark);
}

struct entry *table_remove(struct table *table, struct memory *memory, uint64_t seed,
                           struct table_place place)
{
    struct entry *entry = table_at(place);
    struct array array = table_array(table);

    assert(place.bucket->present >> place.index & 1);
    if (table->growth != NULL && place.bucket >= table->growth->next.buckets &&
        place.bucket < table->growth->next.buckets + table->growth->next.count)
        array = table->growth->next;
    array_remove(array, seed, (uint32_t)(place.bucket - array.buckets), place.index);
    table_set_used(table, table_used(table) - 1);
    if (table_used(table) == 0) {
        table_free_arrays(table, memory);
    } else if (!table_step(table, memory, seed, TABLE_MOVE_BUCKETS) &&
               table_used(table) < limit_of(table->bucket_count) / TABLE_SHRINK_FACTOR) {
        uint32_t count = shrunk_size(table);

        /* Without memory it stays as it is, and the next removal tries again. */
        if (count < table->bucket_count)
            (void)resize(table, memory, seed, count);
    }
    return entry;
}

size_t table_bytes(const struct table *table)
{
    size_t bytes = array_bytes(table_array(table));

    if (table->growth != NULL && !is_draining(table))
        bytes += array_bytes(table->growth->next) + memory_usable(sizeof(*table->growth));
    return bytes;
}

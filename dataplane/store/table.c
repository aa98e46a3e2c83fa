#include "dataplane/store/table.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <xxhash.h>

/* Invariants of an array of buckets:
 *   - bit 7 of `present` is set in every bucket that some entry passed on its way to a later
 *     one;
 *   - it is clear in every bucket with room. In the old array of a moving table it may be stale:
 *     that costs a look;
 *   - tags of absent entries are 0. */
enum {
    BUCKET_FULL = (1 << TABLE_BUCKET_ENTRIES) - 1,
    BUCKET_PASSED = 1 << TABLE_BUCKET_ENTRIES,
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
    TABLE_RANDOM_TRIES = 64,
    TABLE_DRAIN_BUCKETS = 1024,
    TABLE_POSITION_SHIFT = 64 - TABLE_CURSOR_BITS,
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

typedef void visit_fn(void *arg, struct entry *entry);

uint64_t table_hash(uint64_t seed, struct text key)
{
    return XXH3_64bits_withSeed(key.data, key.len_bytes, seed);
}

static uint64_t hash_of(uint64_t seed, const struct entry *entry)
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

static uint64_t marked(struct entry *entry, uint64_t hash)
{
    assert(((uintptr_t)entry & ~address_mask) == 0);
    return (uintptr_t)entry | (hash & high_mask);
}

static struct entry *entry_of(uint64_t mark)
{
    return (struct entry *)(uintptr_t)(mark & address_mask);
}

/* ---- buckets ---- */

/* Bit 8 i + 7 is set when entry i is there. */
static uint64_t bucket_present(uint64_t word)
{
    /* Bit i goes to 8 i + 7; no two of the products meet in one place. */
    return (word >> 56 & BUCKET_FULL) * 0x0002040810204080ull & 0x0080808080808080ull;
}

static uint64_t bucket_word(const struct table_bucket *bucket)
{
    uint64_t word;

    memcpy(&word, bucket->tags, sizeof(word));
    return word;
}

/* Bit 8 i + 7 is set when entry i is there and has this tag. */
static uint64_t bucket_match(uint64_t word, uint8_t tag)
{
    const uint64_t low7 = 0x7f7f7f7f7f7f7f7full;
    uint64_t different = word ^ tag * 0x0101010101010101ull;
    uint64_t same = ~(((different & low7) + low7) | different | low7);

    return same & bucket_present(word);
}

static unsigned match_index(uint64_t match)
{
    return (unsigned)__builtin_ctzll(match) >> 3;
}

static bool bucket_has_room(const struct table_bucket *bucket)
{
    return (bucket->present & BUCKET_FULL) != BUCKET_FULL;
}

static void bucket_put(struct table_bucket *bucket, unsigned index, uint8_t tag, uint64_t mark)
{
    bucket->entries[index] = mark;
    bucket->tags[index] = tag;
    bucket->present |= (uint8_t)(1u << index);
}

static void bucket_clear(struct table_bucket *bucket, unsigned index)
{
    bucket->entries[index] = 0;
    bucket->tags[index] = 0;
    bucket->present &= (uint8_t)~(1u << index);
}

static void bucket_prefetch_entries(const struct table_bucket *bucket)
{
    for (uint64_t there = bucket_present(bucket_word(bucket)); there != 0; there &= there - 1)
        __builtin_prefetch(entry_of(bucket->entries[match_index(there)]));
}

/* ---- arrays ---- */

static uint32_t home_of(struct array array, uint64_t hash)
{
    return (uint32_t)(((unsigned __int128)hash * array.count) >> 64);
}

/* The home of an entry, from the bits beside its address where they suffice: they leave it open
 * only when a bucket ends among the hashes that begin with them. */
static uint32_t home_of_marked(struct array array, uint64_t seed, uint64_t mark)
{
    uint64_t low = mark & high_mask;
    uint32_t home = home_of(array, low);

    if (home == home_of(array, low | ~high_mask))
        return home;
    return home_of(array, hash_of(seed, entry_of(mark)));
}

/* Whether that home is this one: for most entries without their key, however large the array. */
static bool is_home(struct array array, uint64_t seed, uint64_t mark, uint32_t home)
{
    uint64_t low = mark & high_mask;
    uint32_t first = home_of(array, low), last = home_of(array, low | ~high_mask);

    if (home < first || home > last)
        return false;
    return first == last || home_of(array, hash_of(seed, entry_of(mark))) == home;
}

static uint32_t after(struct array array, uint32_t index)
{
    return index + 1 == array.count ? 0 : index + 1;
}

/* Steps forward, round the end, from one bucket to the other. */
static uint32_t distance(struct array array, uint32_t from, uint32_t to)
{
    return to >= from ? to - from : to + (array.count - from);
}

static size_t array_bytes(struct array array)
{
    return (size_t)array.count * sizeof(struct table_bucket);
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

static bool entry_has_key(const struct entry *entry, struct text key)
{
    struct text own = entry_key(entry);

    return own.len_bytes == key.len_bytes && memcmp(own.data, key.data, key.len_bytes) == 0;
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

/* Visits the entries whose home is `home`. */
static void array_visit_home(struct array array, uint64_t seed, uint32_t home, visit_fn *visit,
                             void *arg)
{
    uint32_t before = home == 0 ? array.count - 1 : home - 1, i = home;
    /* Do entries of other homes lie here too? */
    bool mixed = array.buckets[before].present & BUCKET_PASSED;

    do {
        const struct table_bucket *bucket = &array.buckets[i];
        uint64_t word = bucket_word(bucket);

        for (uint64_t there = bucket_present(word); there != 0; there &= there - 1) {
            uint64_t mark = bucket->entries[match_index(there)];

            if (!mixed || is_home(array, seed, mark, home))
                visit(arg, entry_of(mark));
        }
        if ((int64_t)word >= 0)
            return;
        mixed = true;
        i = after(array, i);
    } while (i != home);
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

static struct array table_array(const struct table *table)
{
    return (struct array){.buckets = table->buckets, .count = table->bucket_count};
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
    uint32_t count = size_for((uint64_t)table->used + table->used / 3 + 1);
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

static void discard(struct array array, uint32_t was, uint32_t dead)
{
    memory_discard_lines(array.buckets, array_bytes(array), was * sizeof(struct table_bucket),
                         dead * sizeof(struct table_bucket));
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
        discard(old, was > stride ? was : stride, moved);
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

/* A table that is drained keeps its progress, twice and plus one, where the growth was. */
static bool is_draining(const struct table *table)
{
    return (uintptr_t)table->growth & 1;
}

static void free_arrays(struct table *table, struct memory *memory)
{
    if (table->growth != NULL && !is_draining(table)) {
        array_free(table->growth->next, memory);
        memory_free(memory, table->growth, sizeof(*table->growth));
    }
    array_free(table_array(table), memory);
    *table = (struct table){0};
}

/* ---- entries ---- */

bool table_locate(const struct table *table, uint64_t hash, struct text key,
                  struct table_place *place)
{
    struct array array = table_array(table);

    if (table->used == 0)
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

void table_prefetch_entry(const struct table *table, uint64_t hash)
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
    }
}

int table_insert(struct table *table, struct memory *memory, uint64_t seed, uint64_t hash,
                 struct entry *entry)
{
    if (table_step(table, memory, seed, TABLE_MOVE_BUCKETS)) {
        /* The next array has room for all that can be inserted until this is over: see
         * TABLE_MOVE_BUCKETS. */
    } else if (table->used >= limit_of(table->bucket_count)) {
        int error = resize(table, memory, seed, size_after(table->bucket_count));

        if (error < 0)
            return error;
    } else if (table->used % TABLE_PACK_INTERVAL == 0) {
        pack(table, memory);
    }

    /* What is new goes to the next array at once: the old one must not fill up while it is
     * emptied. */
    struct array array = table->growth != NULL ? table->growth->next : table_array(table);

    array_put(array, home_of(array, hash), (uint8_t)hash, marked(entry, hash));
    table->used++;
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
    table->used--;
    if (table->used == 0) {
        free_arrays(table, memory);
    } else if (!table_step(table, memory, seed, TABLE_MOVE_BUCKETS) &&
               table->used < limit_of(table->bucket_count) / TABLE_SHRINK_FACTOR) {
        uint32_t count = shrunk_size(table);

        /* Without memory it stays as it is, and the next removal tries again. */
        if (count < table->bucket_count)
            (void)resize(table, memory, seed, count);
    }
    return entry;
}

/* ---- going over all ---- */

/* The first hash that lies behind bucket `index`; false when that is the last one. */
static bool array_end_of(struct array array, uint32_t index, uint64_t *hash)
{
    if (index + 1 >= array.count)
        return false;

    unsigned __int128 scaled = ((unsigned __int128)index + 1) << 64;

    *hash = (uint64_t)((scaled + array.count - 1) / array.count);
    return true;
}

/* Visits the homes of the hashes from `low` to `high`, all of each. */
static void array_visit_range(struct array array, uint64_t seed, uint64_t low, uint64_t high,
                              visit_fn *visit, void *arg)
{
    uint32_t last = home_of(array, high);

    for (uint32_t home = home_of(array, low); home <= last; home++)
        array_visit_home(array, seed, home, visit, arg);
}

uint64_t table_scan(const struct table *table, uint64_t seed, uint64_t cursor, visit_fn *visit,
                    void *arg)
{
    struct array array = table_array(table);
    uint64_t end;

    if (table->used == 0 || cursor >> TABLE_CURSOR_BITS != 0)
        return 0;

    /* The call answers for the hashes of position `cursor` and all after it up to the end of the
     * bucket in which that position ends. Where a bucket ends within a position, both calls
     * visit it: once too often, never too little. */
    uint64_t low = cursor << TABLE_POSITION_SHIFT;
    uint64_t high = low | ((1ull << TABLE_POSITION_SHIFT) - 1);
    bool more = array_end_of(array, home_of(array, high), &end);

    if (more)
        high = end - 1;
    else
        high = UINT64_MAX;
    array_visit_range(array, seed, low, high, visit, arg);
    if (table->growth != NULL)
        array_visit_range(table->growth->next, seed, low, high, visit, arg);
    return more ? end >> TABLE_POSITION_SHIFT : 0;
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
    if (table->used == 0)
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

    if (table->used == 0)
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
    discard(array, was, at);
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
    table->used -= taken;
    if (taken == 0) {
        assert(table->used == 0);
        free_arrays(table, memory);
    }
    return taken;
}

size_t table_bytes(const struct table *table)
{
    size_t bytes = array_bytes(table_array(table));

    if (table->growth != NULL && !is_draining(table))
        bytes += array_bytes(table->growth->next) + memory_usable(sizeof(*table->growth));
    return bytes;
}

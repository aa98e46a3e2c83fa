#include "dataplane/store/table.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/dataplane/seed.h"

enum {
    PREFIX_BITS = 18,
    DRAIN_MAX = 10,
};

/* A table of integers (key and value are their index) beside an array that says which are in it. */
struct trial {
    struct seed seed;
    struct memory *memory;
    struct table table;
    uint64_t hash_seed;
    uint32_t count, used;
    struct entry **entries; /* the model */
    uint8_t *seen, *throughout;
};

static void trial_begin(struct trial *trial, uint64_t seed, uint32_t count)
{
    *trial = (struct trial){.seed = seed_new(seed), .memory = memory_create(), .count = count};
    trial->hash_seed = seed_next(&trial->seed);
    trial->entries = calloc(count, sizeof(trial->entries[0]));
    trial->seen = calloc(count, 1);
    trial->throughout = calloc(count, 1);
}

static void trial_end(struct trial *trial)
{
    struct entry *entries[DRAIN_MAX];
    unsigned taken;

    while ((taken = table_drain(&trial->table, trial->memory, entries, DRAIN_MAX)) > 0)
        for (unsigned i = 0; i < taken; i++)
            entry_free(trial->memory, entries[i]);
    cr_assert_eq(memory_used_bytes(trial->memory), 0, "seed %lu", trial->seed.start);
    memory_destroy(trial->memory);
    free(trial->entries);
    free(trial->seen);
    free(trial->throughout);
}

static struct text key_of(const uint32_t *index)
{
    return (struct text){.data = (const char *)index, .len_bytes = sizeof(*index)};
}

static uint32_t index_of(const struct entry *entry)
{
    int64_t value = -1;

    cr_assert(entry_string_is_integer(entry, &value));
    return (uint32_t)value;
}

static uint64_t hash_of(const struct trial *trial, uint32_t index)
{
    return table_hash(trial->hash_seed, key_of(&index));
}

static struct entry *find(const struct trial *trial, uint32_t index)
{
    return table_find(&trial->table, hash_of(trial, index), key_of(&index));
}

static int add(struct trial *trial, uint32_t index)
{
    struct entry *entry = entry_create_integer(trial->memory, key_of(&index), index, -1);
    int error;

    if (entry == NULL)
        return -ENOMEM;
    error =
        table_insert(&trial->table, trial->memory, trial->hash_seed, hash_of(trial, index), entry);
    if (error < 0) {
        entry_free(trial->memory, entry);
        return error;
    }
    trial->entries[index] = entry;
    trial->used++;
    return 0;
}

static void take(struct trial *trial, uint32_t index)
{
    struct table_place place;

    cr_assert(table_locate(&trial->table, hash_of(trial, index), key_of(&index), &place));

    struct entry *entry = table_remove(&trial->table, trial->memory, trial->hash_seed, place);

    cr_assert_eq(entry, trial->entries[index]);
    entry_free(trial->memory, entry);
    trial->entries[index] = NULL;
    trial->throughout[index] = 0;
    trial->used--;
}

static void check_all(const struct trial *trial)
{
    cr_assert_eq(trial->table.used, trial->used, "seed %lu", trial->seed.start);
    for (uint32_t i = 0; i < trial->count; i++)
        cr_assert_eq(find(trial, i), trial->entries[i], "%u, seed %lu", i, trial->seed.start);
}

static void see(void *arg, struct entry *entry)
{
    struct trial *trial = arg;
    uint32_t index = index_of(entry);

    cr_assert_eq(trial->entries[index], entry);
    if (trial->seen[index] < UINT8_MAX)
        trial->seen[index]++;
}

/* One step of an iteration that goes on while the table changes; counts the iterations. */
static void scan_on(struct trial *trial, uint64_t *cursor, unsigned *iterations)
{
    if (*cursor == 0) {
        memset(trial->seen, 0, trial->count);
        for (uint32_t i = 0; i < trial->count; i++)
            trial->throughout[i] = trial->entries[i] != NULL;
    }

    uint64_t next = table_scan(&trial->table, trial->hash_seed, *cursor, see, trial);

    cr_assert(next == 0 || next > *cursor);
    cr_assert_eq(next >> TABLE_CURSOR_BITS, 0);
    *cursor = next;
    if (next != 0)
        return;
    ++*iterations;
    for (uint32_t i = 0; i < trial->count; i++) {
        cr_assert(!trial->throughout[i] || trial->seen[i] > 0, "%u was missed, seed %lu", i,
                  trial->seed.start);
        cr_assert_leq(trial->seen[i], 1, "%u came twice, seed %lu", i, trial->seed.start);
    }
}

/* Tides:     the share of keys that are there changes from time to time, so tables grow, shrink
 *            and churn. */
static void run_tides(uint64_t seed, uint32_t count, unsigned rounds, unsigned scans_in_16)
{
    struct trial trial;
    uint64_t cursor = 0;
    unsigned iterations = 0;
    uint64_t tide = 50;

    trial_begin(&trial, seed, count);
    for (unsigned round = 0; round < rounds; round++) {
        uint32_t index = (uint32_t)seed_below(&trial.seed, count);
        bool wanted = seed_below(&trial.seed, 100) < tide;

        if (round % (4 * count) == 0)
            tide = seed_below(&trial.seed, 101);
        cr_assert_eq(find(&trial, index), trial.entries[index], "seed %lu", trial.seed.start);
        if (wanted && trial.entries[index] == NULL)
            cr_assert_eq(add(&trial, index), 0);
        else if (!wanted && trial.entries[index] != NULL)
            take(&trial, index);
        if (seed_below(&trial.seed, 16) < scans_in_16)
            scan_on(&trial, &cursor, &iterations);
        if (seed_below(&trial.seed, 64) == 0)
            table_step(&trial.table, trial.memory, trial.hash_seed, 3);
        if (trial.used > 0) {
            struct entry *entry =
                table_random(&trial.table, trial.hash_seed, seed_next(&trial.seed));

            cr_assert_eq(trial.entries[index_of(entry)], entry);
        }
        if (round % (rounds / 8) == 0)
            check_all(&trial);
    }
    cr_assert_gt(iterations, 0);
    trial_end(&trial);
}

Test(table, tiny_tables_equal_a_model_and_scans_miss_nothing)
{
    for (uint32_t count = 1; count < 40; count += 1 + count / 3)
        run_tides(100 + count, count, 20000, 8);
}

Test(table, tables_of_a_usual_slot_equal_a_model_and_scans_miss_nothing)
{
    run_tides(200, 60, 100000, 4);
    run_tides(201, 600, 100000, 4);
}

Test(table, tables_that_move_in_steps_equal_a_model_and_scans_miss_nothing)
{
    run_tides(300, 6000, 300000, 4);
    run_tides(301, 60000, 1500000, 8);
}

Test(table, scan_of_a_table_at_rest_returns_each_entry_once)
{
    static const uint32_t counts[] = {0, 1, 7, 8, 61, 700, 5000};

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct trial trial;
        uint64_t cursor = 0;
        unsigned calls = 0, iterations = 0;

        trial_begin(&trial, 400 + i, counts[i] + 1);
        for (uint32_t index = 0; index < counts[i]; index++)
            cr_assert_eq(add(&trial, index), 0);
        while (table_step(&trial.table, trial.memory, trial.hash_seed, 100))
            ;
        do {
            scan_on(&trial, &cursor, &iterations);
            calls++;
        } while (cursor != 0);
        cr_assert_eq(calls, trial.table.bucket_count > 0 ? trial.table.bucket_count : 1);
        for (uint32_t index = 0; index < counts[i]; index++)
            cr_assert_eq(trial.seen[index], 1);
        trial_end(&trial);
    }
}

Test(table, a_cursor_that_never_was_is_harmless)
{
    struct trial trial;

    trial_begin(&trial, 500, 1000);
    for (uint32_t i = 0; i < 1000; i++)
        add(&trial, i);
    cr_assert_eq(table_scan(&trial.table, trial.hash_seed, UINT64_MAX, see, &trial), 0);
    cr_assert_eq(table_scan(&trial.table, trial.hash_seed, 1ull << TABLE_CURSOR_BITS, see, &trial),
                 0);
    cr_assert_eq(table_scan(&trial.table, trial.hash_seed, (1ull << TABLE_CURSOR_BITS) - 1, see,
                            &trial),
                 0);
    for (int i = 0; i < 10000; i++) {
        uint64_t cursor = seed_next(&trial.seed) >> (64 - TABLE_CURSOR_BITS);
        uint64_t next = table_scan(&trial.table, trial.hash_seed, cursor, see, &trial);

        cr_assert(next == 0 || next > cursor);
    }
    trial_end(&trial);
}

static void see_prefix(void *arg, struct entry *entry)
{
    see(arg, entry);
}

Test(table, the_entry_of_a_prefix_and_tag_is_visited_also_while_the_table_moves)
{
    struct trial trial;
    bool moved = false;

    trial_begin(&trial, 600, 60000);
    for (uint32_t i = 0; i < trial.count; i++) {
        cr_assert_eq(add(&trial, i), 0);
        moved = moved || trial.table.growth != NULL;
        for (int look = 0; look < 3; look++) {
            uint32_t index = (uint32_t)seed_below(&trial.seed, i + 1);
            uint64_t hash = hash_of(&trial, index);

            trial.seen[index] = 0;
            table_visit_prefix(&trial.table, (uint32_t)(hash >> (64 - PREFIX_BITS)), PREFIX_BITS,
                               (uint8_t)hash, see_prefix, &trial);
            cr_assert_eq(trial.seen[index], 1, "%u of %u, seed %lu", index, i, trial.seed.start);
        }
    }
    cr_assert(moved);
    trial_end(&trial);
}

Test(table, few_are_visited_for_a_prefix_and_tag)
{
    struct trial trial;
    uint64_t visited = 0;

    trial_begin(&trial, 601, 10000);
    for (uint32_t i = 0; i < trial.count; i++)
        add(&trial, i);
    for (uint32_t i = 0; i < trial.count; i++) {
        uint64_t hash = hash_of(&trial, i);

        table_visit_prefix(&trial.table, (uint32_t)(hash >> (64 - PREFIX_BITS)), PREFIX_BITS,
                           (uint8_t)hash, see_prefix, &trial);
    }
    for (uint32_t i = 0; i < trial.count; i++)
        visited += trial.seen[i];
    /* Of the seven and more in a bucket, and the chain behind it, one in 256 has the tag by
     * chance. */
    cr_assert_leq(visited, trial.count * 13 / 10);
    trial_end(&trial);
}

Test(table, random_entries_are_spread_evenly)
{
    enum { COUNT = 500, DRAWS = 500000 };
    struct trial trial;
    static uint32_t drawn[COUNT];

    trial_begin(&trial, 700, COUNT);
    for (uint32_t i = 0; i < COUNT; i++)
        add(&trial, i);
    for (int i = 0; i < DRAWS; i++)
        drawn[index_of(table_random(&trial.table, trial.hash_seed, seed_next(&trial.seed)))]++;
    for (uint32_t i = 0; i < COUNT; i++) {
        /* Expected 1000, standard deviation 32. */
        cr_assert_geq(drawn[i], 800, "%u was drawn %u times, seed %lu", i, drawn[i],
                      trial.seed.start);
        cr_assert_leq(drawn[i], 1200, "%u was drawn %u times, seed %lu", i, drawn[i],
                      trial.seed.start);
    }
    trial_end(&trial);
}

Test(table, without_memory_an_insert_changes_nothing)
{
    struct trial trial;
    unsigned failures = 0;

    trial_begin(&trial, 800, 20000);
    for (uint32_t i = 0; i < trial.count;) {
        memory_fail_nth(trial.memory, 1 + seed_below(&trial.seed, 4));
        if (add(&trial, i) == 0)
            i++;
        else
            failures++;
        memory_fail_nth(trial.memory, 0);
        cr_assert_eq(trial.table.used, trial.used);
        if (i % 1000 == 0)
            check_all(&trial);
    }
    cr_assert_gt(failures, 1000);
    check_all(&trial);
    trial_end(&trial);
}

Test(table, without_memory_to_shrink_it_still_works)
{
    struct trial trial;

    trial_begin(&trial, 801, 20000);
    for (uint32_t i = 0; i < trial.count; i++)
        add(&trial, i);
    for (uint32_t i = 0; i < trial.count - 3; i++) {
        memory_fail_nth(trial.memory, 1);
        take(&trial, i);
        memory_fail_nth(trial.memory, 0);
    }
    check_all(&trial);
    cr_assert_gt(trial.table.bucket_count, 2000);
    /* It begins to shrink, by no more than may fill up before it is done. */
    for (uint32_t i = 0; i < trial.count - 3; i++)
        cr_assert_eq(add(&trial, i), 0);
    check_all(&trial);
    trial_end(&trial);
}

Test(table, a_table_that_empties_gives_its_memory_back)
{
    struct trial trial;
    size_t most;

    trial_begin(&trial, 900, 50000);
    for (uint32_t i = 0; i < trial.count; i++)
        add(&trial, i);
    most = table_bytes(&trial.table);
    for (uint32_t i = 0; i < trial.count; i++) {
        take(&trial, i);
        cr_assert_leq(table_bytes(&trial.table), 2 * most);
        if (trial.used > 1000 && trial.table.growth == NULL)
            cr_assert_leq(table_bytes(&trial.table), 40 * (size_t)trial.used);
    }
    cr_assert_eq(table_bytes(&trial.table), 0);
    cr_assert_null(trial.table.buckets);
    trial_end(&trial);
}

Test(table, draining_hands_out_every_entry_once_at_any_stage)
{
    static const uint32_t counts[] = {0, 1, 6, 7, 8, 60, 800, 1500, 3000, 9000, 40000};

    for (unsigned round = 0; round < 60; round++) {
        struct trial trial;
        struct entry *entries[DRAIN_MAX];
        unsigned taken;
        uint32_t count = counts[round % 11];

        trial_begin(&trial, 1000 + round, 50000);
        count += (uint32_t)seed_below(&trial.seed, count / 4 + 1);
        for (uint32_t i = 0; i < count; i++)
            add(&trial, i);
        for (uint32_t i = 0; round % 3 == 0 && i < count * 3 / 4; i++)
            take(&trial, i);
        while ((taken = table_drain(&trial.table, trial.memory, entries, DRAIN_MAX)) > 0) {
            for (unsigned i = 0; i < taken; i++) {
                see(&trial, entries[i]);
                cr_assert_eq(trial.seen[index_of(entries[i])], 1);
                entry_free(trial.memory, entries[i]);
            }
            trial.used -= taken;
            cr_assert_eq(trial.table.used, trial.used);
        }
        cr_assert_eq(trial.used, 0, "seed %lu", trial.seed.start);
        cr_assert_null(trial.table.buckets);
        trial_end(&trial);
    }
}

Test(table, replacing_keeps_the_place)
{
    struct trial trial;
    uint32_t index = 5;
    struct table_place place;

    trial_begin(&trial, 1100, 100);
    for (uint32_t i = 0; i < 100; i++)
        add(&trial, i);
    cr_assert(table_locate(&trial.table, hash_of(&trial, index), key_of(&index), &place));

    struct entry *other = entry_create_string(trial.memory, key_of(&index), key_of(&index), 7);

    table_replace(place, other);
    cr_assert_eq(find(&trial, index), other);
    entry_free(trial.memory, trial.entries[index]);
    trial.entries[index] = other;
    check_all(&trial);
    trial_end(&trial);
}

Test(table, memory_a_key_stays_near_a_line_for_seven)
{
    struct trial trial;

    trial_begin(&trial, 1200, 120);
    for (uint32_t i = 0; i < trial.count; i++) {
        add(&trial, i);
        if (i >= 28)
            cr_assert_leq(table_bytes(&trial.table),
                          (size_t)(trial.used + 10) * 64 * 100 / (7 * 87), "%u", i);
    }
    trial_end(&trial);
}

/* With one hash for all, only the keys' bytes tell entries apart. */
Test(table, tells_keys_of_one_hash_apart_by_every_byte)
{
    enum { LEN_MAX = 41, HASH = 12345 };
    char bytes[LEN_MAX];

    for (size_t len = 1; len <= LEN_MAX; len++) {
        struct memory *memory = memory_create();
        struct table table = {0};
        struct text key = {bytes, len};
        struct table_place place;

        memset(bytes, 'k', sizeof bytes);
        struct entry *entry = entry_create_integer(memory, key, 1, -1);
        cr_assert_eq(table_insert(&table, memory, 1, HASH, entry), 0);
        cr_assert_eq(table_find(&table, HASH, key), entry);
        for (size_t at = 0; at < len; at++) {
            bytes[at] = 'l';
            cr_assert_null(table_find(&table, HASH, key), "%zu of %zu", at, len);
            bytes[at] = 'k';
        }
        cr_assert_null(table_find(&table, HASH, (struct text){bytes, len - 1}));
        cr_assert(table_locate(&table, HASH, key, &place));
        entry_free(memory, table_remove(&table, memory, 1, place));
        memory_destroy(memory);
    }
}

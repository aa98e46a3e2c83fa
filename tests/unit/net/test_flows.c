/* The connection table against a plain list. */
#include <criterion/criterion.h>
#include <errno.h>

#include "dataplane/net/flows.h"
#include "tests/unit/dataplane/seed.h"

enum { ENTRIES_MAX = 20000 };

struct model {
    struct flows flows;
    uint64_t hashes[ENTRIES_MAX]; /* by index */
    bool there[ENTRIES_MAX];
    uint32_t count;
};

static struct model model;

static bool found(uint64_t hash, uint32_t wanted)
{
    struct flows_probe probe = flows_find(&model.flows, hash);
    uint32_t index;

    while ((index = flows_next(&probe)) != FLOWS_NONE) {
        cr_assert(index < ENTRIES_MAX && model.there[index], "an index that was removed");
        if (index == wanted)
            return true;
    }
    return false;
}

static void add(uint64_t hash, uint32_t index)
{
    model.hashes[index] = hash;
    model.there[index] = true;
    cr_assert_eq(flows_insert(&model.flows, hash, index), 0);
    model.count++;
}

static void drop(uint32_t index)
{
    cr_assert(flows_remove(&model.flows, model.hashes[index], index));
    model.there[index] = false;
    model.count--;
    cr_assert_not(flows_remove(&model.flows, model.hashes[index], index));
}

static void begin(uint32_t capacity)
{
    memset(&model, 0, sizeof(model));
    cr_assert_eq(flows_init(&model.flows, capacity), 0);
}

/* Everything that a bucket says about those that went past must add up. */
static void check_empty(void)
{
    cr_assert_eq(model.flows.used, 0);
    for (uint32_t i = 0; i <= model.flows.now.mask; i++) {
        cr_assert_eq(model.flows.now.buckets[i].passed, 0);
        cr_assert_eq(flows_match(&model.flows.now.buckets[i], 0), (1 << FLOWS_BUCKET) - 1);
    }
    flows_fini(&model.flows);
}

/* `hash_of` bits decide how badly hashes collide. */
static void run_trial(uint32_t capacity, uint64_t hash_mask, unsigned steps, uint64_t seed_number)
{
    struct seed seed = seed_new(seed_number);

    for (unsigned step = 0; step < steps; step++) {
        uint32_t index = (uint32_t)seed_below(&seed, capacity);

        if (model.there[index])
            drop(index);
        else
            add(seed_next(&seed) & hash_mask, index);
        cr_assert_eq(model.flows.used, model.count);
        index = (uint32_t)seed_below(&seed, capacity);
        cr_assert_eq(found(model.hashes[index], index), model.there[index],
                     "capacity %u, seed %llu, step %u", capacity, (unsigned long long)seed.start,
                     step);
    }
    for (uint32_t index = 0; index < capacity; index++) {
        if (!model.there[index])
            continue;
        cr_assert(found(model.hashes[index], index));
        drop(index);
    }
    check_empty();
}

static uint64_t hash_of(const void *owner, uint32_t index)
{
    const struct model *own = owner;

    cr_assert(index < ENTRIES_MAX && own->there[index], "asked for one that is not there");
    return own->hashes[index];
}

static void begin_growing(uint32_t capacity)
{
    memset(&model, 0, sizeof(model));
    cr_assert_eq(flows_init_growing(&model.flows, capacity, hash_of, &model), 0);
}

static void trial(uint32_t capacity, uint64_t hash_mask, unsigned steps, uint64_t seed_number)
{
    begin(capacity);
    run_trial(capacity, hash_mask, steps, seed_number);
    begin_growing(capacity);
    run_trial(capacity, hash_mask, steps, seed_number);
}

/* From a small table to the largest, every entry found at each size and in the midst of moving;
 * the old table is gone long before the next is needed. */
Test(flows, grow_without_losing_anybody)
{
    struct seed seed = seed_new(6);
    unsigned sizes = 0, moving = 0;

    begin_growing(ENTRIES_MAX);
    uint32_t mask = model.flows.now.mask;
    cr_assert_lt(mask, ENTRIES_MAX / 10, "nothing to grow");
    for (uint32_t i = 0; i < ENTRIES_MAX; i++) {
        bool moved = model.flows.old.buckets != NULL;
        add(seed_next(&seed), i);
        if (model.flows.now.mask != mask) {
            cr_assert_not(moved, "two moves at once at %u", i);
            mask = model.flows.now.mask;
            sizes++;
        }
        moving += model.flows.old.buckets != NULL;
        uint32_t other = (uint32_t)seed_below(&seed, i + 1);
        cr_assert(found(model.hashes[other], other), "entry %u of %u, seed %llu", other, i,
                  (unsigned long long)seed.start);
        if (i % 3 == 0) {
            drop(other);
            add(seed_next(&seed), other);
        }
    }
    cr_assert(sizes > 0 && moving > 0);
    for (uint32_t i = 0; i < ENTRIES_MAX; i++)
        cr_assert(found(model.hashes[i], i));
    cr_assert_eq(flows_insert(&model.flows, 1, 0), -ENOSPC);
    for (uint32_t i = 0; i < ENTRIES_MAX; i++)
        drop(i);
    cr_assert_null(model.flows.old.buckets, "the old table is not given back");
    check_empty();
}

Test(flows, behave_as_a_list_with_good_hashes)
{
    static const uint32_t capacities[] = {1, 2, 7, 8, 14, 15, 100, 1000, ENTRIES_MAX};

    for (unsigned i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++)
        trial(capacities[i], ~0ull, 60000, 1 + i);
}

/* All in few buckets, all with few tags, all the same. */
Test(flows, behave_as_a_list_when_hashes_collide)
{
    trial(200, 0xffff000000000000u, 20000, 20);
    trial(200, 0xffff000000000003u, 20000, 21);
    trial(200, 0x000000000000ffffu, 20000, 22);
    trial(14, 0x0001000000000001u, 20000, 23);
    trial(100, 0, 5000, 24);
}

Test(flows, take_no_more_than_their_capacity)
{
    struct seed seed = seed_new(3);

    begin(100);
    for (uint32_t i = 0; i < 100; i++)
        add(seed_next(&seed), i);
    cr_assert_eq(flows_insert(&model.flows, seed_next(&seed), 100), -ENOSPC);
    drop(5);
    add(seed_next(&seed), 5);
    for (uint32_t i = 0; i < 100; i++)
        drop(i);
    check_empty();
}

/* A walk that ends only where nobody went past must end even when somebody went past everywhere:
 * overflow each of two buckets into the other, then take the first entries away. */
Test(flows, a_search_ends_when_every_bucket_was_passed)
{
    begin(14);
    cr_assert_eq(model.flows.now.mask, 1);
    for (uint32_t i = 0; i < 11; i++) /* bucket 0, the last one in bucket 1 */
        add((uint64_t)(i + 2) << 48, i);
    for (uint32_t i = 0; i < 8; i++)
        drop(i);
    for (uint32_t i = 0; i < 10; i++) /* bucket 1 has room for nine, the last one in bucket 0 */
        if (!model.there[i])
            add((uint64_t)(i + 100) << 48 | 1, i);
    add((uint64_t)150 << 48 | 1, 11);
    add((uint64_t)151 << 48 | 1, 12);
    cr_assert(model.flows.now.buckets[0].passed > 0 && model.flows.now.buckets[1].passed > 0);
    cr_assert_not(found((uint64_t)999 << 48, 0));
    cr_assert_not(found((uint64_t)999 << 48 | 1, 0));
    for (uint32_t i = 0; i < 13; i++)
        if (model.there[i])
            drop(i);
    check_empty();
}

/* At full capacity a look-up should rarely leave its first line. */
Test(flows, stay_near_their_home_when_full)
{
    struct seed seed = seed_new(5);
    unsigned at_home = 0;

    begin(ENTRIES_MAX);
    for (uint32_t i = 0; i < ENTRIES_MAX; i++)
        add(seed_next(&seed), i);
    for (uint32_t i = 0; i < ENTRIES_MAX; i++) {
        struct flows_probe probe = flows_find(&model.flows, model.hashes[i]);

        while (flows_next(&probe) != i)
            ;
        at_home += probe.bucket == probe.home;
    }
    cr_assert_gt(at_home, ENTRIES_MAX * 85 / 100, "only %u (seed %llu)", at_home,
                 (unsigned long long)seed.start);
    flows_fini(&model.flows);
}

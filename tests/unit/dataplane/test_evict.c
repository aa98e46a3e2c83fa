#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/slots/crc16.h"
#include "dataplane/slots/queue.h"
#include "dataplane/store/evict.h"
#include "dataplane/store/lazyfree.h"
#include "tests/unit/dataplane/fixture.h"

static struct fixture *f;

static void begin(uint32_t workers)
{
    f = fixture_create(workers);
    fixture_journal_on(f);
}

static void stop(void)
{
    fixture_destroy(f);
}

TestSuite(evict, .fini = stop);

/* A limit that leaves `bytes` for keys. */
static void limit_to(int64_t bytes, int policy)
{
    int64_t used = evict_used_bytes(f->node);
    atomic_store(&f->node->config->maxmemory, used + bytes);
    atomic_store(&f->node->config->maxmemory_policy, policy);
}

/* One write as the dispatcher does it: on the key's owner, refused or not. */
static bool write_value(const char *name, struct text value)
{
    struct key key;
    uint16_t slot = crc16_slot(name, strlen(name));

    fixture_on(f, node_owner(f->node, slot));
    struct call *call =
        fixture_call(f, 3, (struct text[]){TEXT("SET"), {name, strlen(name)}, value});
    if (!evict_before_write(call))
        return false;
    key_find(call, call->argv[1], FIND_WRITE, &key);
    slot_write_begin(call, &key);
    cr_assert(key_set_string(call, &key, value, -1));
    slot_write_end(call, &key, "set");
    gate_commit(call);
    return true;
}

static bool write_key(const char *prefix, int number)
{
    char name[32], value[200];

    memset(value, 'v', sizeof value);
    snprintf(name, sizeof name, "%s:%d", prefix, number);
    return write_value(name, (struct text){value, sizeof value});
}

/* Each worker's loop comes by here once a turn. */
static void turn_of_all(void)
{
    for (uint32_t i = 0; i < f->node->worker_count; i++)
        evict_run(f->node->workers[i], 10);
}

static bool is_there(const char *prefix, int number)
{
    char name[32];
    struct key key;

    snprintf(name, sizeof name, "%s:%d", prefix, number);
    struct call *call = fixture_call(f, 1, (struct text[]){TEXT("x")});
    return key_find(call, (struct text){name, strlen(name)}, FIND_NO_TOUCH | FIND_NO_STATS, &key);
}

static uint64_t evicted(void)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < f->node->worker_count; i++)
        sum += count_get(&f->node->workers[i]->stats.evicted_keys);
    return sum;
}

Test(evict, without_a_limit_everything_is_welcome)
{
    begin(1);
    for (int i = 0; i < 1000; i++)
        cr_assert(write_key("k", i));
    cr_assert_eq(evicted(), 0);
    cr_assert_not(evict_run(f->worker, 1000));
}

Test(evict, noeviction_refuses_at_the_limit_and_takes_again_below_it)
{
    begin(2);
    int written = 0;
    cr_assert(write_key("first", 0));
    limit_to(500000, CONFIG_POLICY_NOEVICTION);
    while (written < 100000 && write_key("k", written))
        written++;
    cr_assert_gt(written, 1000);
    cr_assert_lt(written, 2500);
    cr_assert_eq(evicted(), 0);
    int64_t limit = atomic_load(&f->node->config->maxmemory);
    cr_assert_leq(evict_used_bytes(f->node) - limit, 4096);
    atomic_store(&f->node->config->maxmemory, limit * 2);
    cr_assert(write_key("k", written));
}

Test(evict, a_limit_below_what_the_server_itself_takes_refuses_all)
{
    begin(1);
    atomic_store(&f->node->config->maxmemory, 1);
    cr_assert_not(write_key("k", 1));
    atomic_store(&f->node->config->maxmemory_policy, CONFIG_POLICY_ALLKEYS_LRU);
    cr_assert_not(write_key("k", 1));
}

Test(evict, a_flush_makes_room_at_once)
{
    begin(2);
    int written = 0;
    limit_to(2000000, CONFIG_POLICY_NOEVICTION);
    while (write_key("k", written))
        written++;
    struct call *call = fixture_call(f, 1, (struct text[]){TEXT("FLUSHALL")});
    keyspace_flush(call, -1);
    gate_commit(call);
    cr_assert(write_key("again", 0));
    fixture_background(f);
    for (int i = 0; i < written / 2; i++)
        cr_assert(write_key("again", i));
}

Test(evict, lru_keeps_within_the_limit_and_keeps_what_is_used)
{
    begin(2);
    enum { HOT = 100, COLD = 20000 };
    for (int i = 0; i < HOT; i++)
        write_key("hot", i);
    limit_to(1000000, CONFIG_POLICY_ALLKEYS_LRU);
    int64_t limit = atomic_load(&f->node->config->maxmemory);
    for (int i = 0; i < COLD; i++) {
        cr_assert(write_key("cold", i), "%d", i);
        cr_assert_leq(evict_used_bytes(f->node), limit + EVICT_SLACK_MIN_BYTES + 4096);
        if (i % 200 == 0) { /* the hot ones are read each second */
            fixture_sleep(f, 1000);
            for (int hot = 0; hot < HOT; hot++) {
                char name[32];
                struct key key;
                snprintf(name, sizeof name, "hot:%d", hot);
                struct call *call = fixture_call(f, 1, (struct text[]){TEXT("GET")});
                key_find(call, (struct text){name, strlen(name)}, FIND_READ, &key);
            }
        }
    }
    int kept = 0, old = 0;
    for (int i = 0; i < HOT; i++)
        kept += is_there("hot", i);
    for (int i = 0; i < COLD / 4; i++)
        old += is_there("cold", i);
    cr_assert_geq(kept, HOT - 5, "%d kept", kept);
    cr_assert_leq(old, COLD / 400, "%d of the oldest left", old);
    cr_assert_gt(evicted(), COLD / 2);
    for (uint32_t i = 0; i < 2; i++)
        cr_assert_gt(count_get(&f->node->workers[i]->stats.evicted_keys), COLD / 8);
}

/* Another worker's clock may be ahead of the evicting one's. */
Test(evict, what_was_used_a_second_from_now_is_not_what_is_unused)
{
    enum { AHEAD = 2000, OLD = 2000 };

    begin(1);
    for (int i = 0; i < OLD; i++)
        write_key("old", i);
    fixture_sleep(f, 5000);
    for (int i = 0; i < AHEAD; i++)
        write_key("ahead", i);
    fixture_sleep(f, -1000);
    limit_to(0, CONFIG_POLICY_ALLKEYS_LRU);
    for (int i = 0; i < OLD / 2; i++)
        write_key("more", i);
    int ahead = 0, old = 0;
    for (int i = 0; i < AHEAD; i++)
        ahead += is_there("ahead", i);
    for (int i = 0; i < OLD; i++)
        old += is_there("old", i);
    cr_assert_gt(evicted(), OLD / 4);
    cr_assert_lt(old, OLD * 3 / 4, "%d of the old left", old);
    cr_assert_gt(ahead, AHEAD * 95 / 100, "%d of those used last left", ahead);
}

Test(evict, what_goes_is_in_the_journal)
{
    begin(1);
    limit_to(20000, CONFIG_POLICY_ALLKEYS_LRU);
    int dels = 0, sets = 0;
    for (int i = 0; i < 1000; i++)
        cr_assert(write_key("k", i));
    for (const char *at = fixture_journal(f); (at = strchr(at, ':')) != NULL; at++) {
        dels += strncmp(at, ": DEL", 5) == 0;
        sets += strncmp(at, ": SET", 5) == 0;
    }
    cr_assert_eq(sets, 1000);
    cr_assert_eq(dels, (int)evicted());
    cr_assert_eq(keyspace_keys(keyspace_get(f->node, 0)), sets - dels);
}

Test(evict, a_worker_with_little_leaves_it_to_the_one_with_much)
{
    begin(2);
    for (int i = 0; i < 4000; i++)
        write_key("{much}", i);
    uint32_t rich = f->worker->index;
    /* One slot of the other half. */
    const char *little = crc16_slot("little", 6) / (SLOTS / 2) != rich ? "{little}" : "{b}";
    cr_assert_neq(node_owner(f->node, crc16_slot(little, strlen(little))), rich);
    limit_to(0, CONFIG_POLICY_ALLKEYS_LRU);
    for (int i = 0; i < 500; i++) {
        cr_assert(write_key(little, i));
        fixture_on(f, rich);
        evict_run(f->worker, 1000);
    }
    int kept = 0;
    for (int i = 0; i < 500; i++)
        kept += is_there(little, i);
    cr_assert_geq(kept, 400, "%d kept", kept);
}

Test(evict, a_worker_with_nothing_lets_writes_run_ahead_only_so_far)
{
    begin(2);
    for (int i = 0; i < 4000; i++)
        write_key("{much}", i);
    uint32_t rich = f->worker->index;
    const char *little = crc16_slot("little", 6) / (SLOTS / 2) != rich ? "{little}" : "{b}";
    turn_of_all();
    limit_to(0, CONFIG_POLICY_ALLKEYS_LRU);
    int64_t limit = atomic_load(&f->node->config->maxmemory);
    /* The rich one is busy elsewhere: it never gets to evict. The other one has to make do with what it has. */
    for (int i = 0; i < 20000; i++) {
        write_key(little, i);
        cr_assert_leq(evict_used_bytes(f->node), limit + limit / EVICT_SLACK_DIVISOR +
                                                     EVICT_SLACK_MIN_BYTES +
                                                     65536 /* a table that grows */);
    }
}

Test(evict, lent_slots_are_left_alone)
{
    begin(1);
    for (int i = 0; i < 100; i++)
        write_key("{lent}", i);
    struct part_ref ref = {.slot = crc16_slot("lent", 4)};
    struct loan_part part = {.refs = &ref, .count = 1};
    cr_assert(queues_try(f->worker, &part));
    limit_to(-10000, CONFIG_POLICY_ALLKEYS_LRU);
    cr_assert_not(evict_run(f->worker, 1000));
    cr_assert_eq(evicted(), 0);
    queues_leave(f->worker, &part);
    while (evict_run(f->worker, 1000))
        continue;
    cr_assert_gt(evicted(), 0);
}

#include <criterion/criterion.h>

#include "dataplane/net/syncache.h"
#include "tests/unit/dataplane/seed.h"

enum { CAPACITY = 64 };

static const uint64_t SECOND = 1000000;
static const struct siphash_key key = {11, 12};

static struct syncache cache;

static struct net_flow flow_of(unsigned which)
{
    uint8_t remote[16] = {0x20, 0x01, 0x0d, 0xb8}, local[16] = {0x20, 0x01, 0x0d, 0xb8, 1};

    memcpy(remote + 8, &which, sizeof(which));
    return (struct net_flow){net_address_v6(remote), net_address_v6(local), 1000, 6379};
}

static struct syncache_entry *find(unsigned which)
{
    struct net_flow flow = flow_of(which);

    return syncache_find(&cache, net_flow_hash(&key, &flow), &flow);
}

static struct syncache_entry *add(unsigned which, uint64_t now_us)
{
    struct net_flow flow = flow_of(which);
    struct syncache_entry *entry = syncache_add(&cache, net_flow_hash(&key, &flow), &flow, now_us);

    if (entry != NULL)
        entry->iss = which;
    return entry;
}

static void begin(unsigned capacity)
{
    cr_assert_eq(syncache_init(&cache, capacity, &key), 0);
}

static void end(void)
{
    syncache_fini(&cache);
}

Test(syncache, entries_are_compact)
{
    cr_assert_leq(sizeof(struct syncache_entry), 80);
}

Test(syncache, finds_what_was_added_until_it_is_removed)
{
    begin(CAPACITY);
    for (unsigned i = 0; i < CAPACITY; i++)
        cr_assert_not_null(add(i, 0));
    cr_assert_null(add(CAPACITY, 0));
    for (unsigned i = 0; i < CAPACITY; i++)
        cr_assert_eq(find(i)->iss, i);
    cr_assert_null(find(CAPACITY));
    for (unsigned i = 0; i < CAPACITY; i += 2)
        syncache_remove(&cache, find(i));
    for (unsigned i = 0; i < CAPACITY; i++)
        cr_assert_eq(find(i) != NULL, i % 2 == 1);
    cr_assert_not_null(add(CAPACITY, 0));
    cr_assert_eq(cache.used, CAPACITY / 2 + 1);
    end();
}

/* RFC 6298: the wait doubles; then the entry goes. */
Test(syncache, asks_for_syn_acks_at_doubling_intervals_and_gives_up)
{
    static const uint64_t times_s[] = {1, 3, 7, 15, 31};
    struct syncache_entry *due[4];
    unsigned sent = 0;

    begin(CAPACITY);
    add(1, 0);
    for (uint64_t now = 0; now < 62 * SECOND; now += SECOND / 10) {
        unsigned count = syncache_collect(&cache, now, due, 4);

        if (count == 0)
            continue;
        cr_assert_eq(count, 1);
        cr_assert_eq(now, times_s[sent++] * SECOND);
        cr_assert_eq(due[0]->iss, 1);
        cr_assert_eq(due[0]->sends, sent + 1);
    }
    cr_assert_eq(sent, 5);
    cr_assert_not_null(find(1));
    cr_assert_eq(syncache_collect(&cache, 63 * SECOND, due, 4), 0);
    cr_assert_null(find(1));
    cr_assert_eq(cache.expired, 1);
    end();
}

Test(syncache, gives_up_sooner_when_more_than_half_full)
{
    struct syncache_entry *due[CAPACITY];
    unsigned taken = 0;

    begin(CAPACITY);
    for (unsigned i = 0; i <= CAPACITY / 2; i++)
        add(i, 0);
    for (uint64_t now = 0; now < 7 * SECOND; now += SECOND / 10)
        taken += syncache_collect(&cache, now, due, CAPACITY);
    cr_assert_eq(taken, 2 * (CAPACITY / 2 + 1));
    cr_assert_eq(cache.expired, 0);
    syncache_collect(&cache, 7 * SECOND, due, CAPACITY);
    cr_assert_eq(cache.expired, 1, "only until no more than half of them are taken");
    end();
}

Test(syncache, hands_out_no_more_than_asked_for)
{
    struct syncache_entry *due[5];
    unsigned taken = 0, count;

    begin(CAPACITY);
    for (unsigned i = 0; i < CAPACITY; i++)
        add(i, 0);
    while ((count = syncache_collect(&cache, SECOND, due, 5)) > 0) {
        cr_assert(count <= 5);
        for (unsigned i = 0; i < count; i++)
            cr_assert_eq(due[i]->sends, 2);
        taken += count;
    }
    cr_assert_eq(taken, CAPACITY);
    end();
}

Test(syncache, says_when_it_has_work)
{
    begin(CAPACITY);
    cr_assert_eq(syncache_next_us(&cache, 5), UINT64_MAX);
    add(1, 2 * SECOND);
    add(2, 5 * SECOND / 2);
    cr_assert_eq(syncache_next_us(&cache, 5 * SECOND / 2), 3 * SECOND);
    cr_assert_eq(syncache_next_us(&cache, 4 * SECOND), 4 * SECOND);
    syncache_remove(&cache, find(1));
    cr_assert_eq(syncache_next_us(&cache, 5 * SECOND / 2), 7 * SECOND / 2);
    end();
}

Test(syncache, walks_the_entries_of_a_listener)
{
    unsigned place = 0, seen = 0;
    struct syncache_entry *entry;

    begin(CAPACITY);
    for (unsigned i = 0; i < CAPACITY; i++)
        add(i, 0)->listener = (uint16_t)(i % 3);
    while ((entry = syncache_walk(&cache, &place, 1)) != NULL) {
        cr_assert_eq(entry->listener, 1);
        syncache_remove(&cache, entry);
        seen++;
    }
    cr_assert_eq(seen, (CAPACITY + 1) / 3);
    cr_assert_eq(cache.used, CAPACITY - seen);
    end();
}

/* Against a list, with millisecond times around the point where 32 bits of them wrap. */
Test(syncache, behaves_as_a_list_of_deadlines)
{
    enum { FLOWS = 150 };
    struct seed seed = seed_new(99);
    uint64_t now = ((1ull << 32) - 30000) * 1000, deadline[FLOWS] = {0};
    unsigned sends[FLOWS] = {0}, used = 0;
    struct syncache_entry *due[FLOWS];

    begin(4 * FLOWS); /* never busy */
    for (unsigned step = 0; step < 40000; step++) {
        unsigned which = (unsigned)seed_below(&seed, FLOWS);

        cr_assert_eq(find(which) != NULL, sends[which] > 0, "seed %llu step %u",
                     (unsigned long long)seed.start, step);
        if (sends[which] == 0) {
            add(which, now);
            sends[which] = 1;
            deadline[which] = now + SECOND;
            used++;
        } else if (seed_below(&seed, 3) == 0) {
            syncache_remove(&cache, find(which));
            sends[which] = 0;
            used--;
        }
        now += seed_below(&seed, 100) * 1000;
        unsigned count = syncache_collect(&cache, now, due, FLOWS), want = 0;
        for (unsigned i = 0; i < FLOWS; i++) {
            if (sends[i] == 0 || deadline[i] > now)
                continue;
            if (sends[i] == SYNCACHE_SENDS) {
                sends[i] = 0;
                used--;
                continue;
            }
            deadline[i] = now + (SECOND << sends[i]++);
            want++;
        }
        cr_assert_eq(count, want, "seed %llu step %u", (unsigned long long)seed.start, step);
        for (unsigned i = 0; i < count; i++)
            cr_assert_eq(due[i]->sends, sends[due[i]->iss]);
        cr_assert_eq(cache.used, used);
    }
    end();
}

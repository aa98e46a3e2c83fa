#include <criterion/criterion.h>

#include "dataplane/net/timewait.h"
#include "dataplane/net/wire.h"
#include "tests/unit/dataplane/seed.h"

static const uint64_t SECOND = 1000000;
static const uint64_t FULL_US = (uint64_t)TIMEWAIT_MS * 1000;

static struct timewait table;

static void begin(uint32_t capacity)
{
    cr_assert_eq(timewait_init(&table, capacity), 0);
}

static uint64_t hash_of(uint64_t which)
{
    return (which + 1) * 0x9e3779b97f4a7c15ull;
}

static void add(uint64_t which, uint64_t now_us)
{
    struct timewait_entry state = {.snd_nxt = (uint32_t)which, .rcv_nxt = 7};

    timewait_add(&table, hash_of(which), &state, now_us);
}

Test(timewait, entries_last_two_segment_lifetimes)
{
    begin(100);
    add(1, 5 * SECOND);
    cr_assert_eq(timewait_find(&table, hash_of(1))->snd_nxt, 1);
    cr_assert_null(timewait_find(&table, hash_of(2)));
    cr_assert_eq(timewait_next_us(&table, 6 * SECOND), 5 * SECOND + FULL_US);
    cr_assert_eq(timewait_expire(&table, 5 * SECOND + FULL_US - 1000, 10), 0);
    cr_assert_eq(timewait_expire(&table, 5 * SECOND + FULL_US, 10), 1);
    cr_assert_null(timewait_find(&table, hash_of(1)));
    cr_assert_eq(timewait_next_us(&table, 6 * SECOND), UINT64_MAX);
    timewait_fini(&table);
}

Test(timewait, a_table_may_have_another_time)
{
    begin(100);
    table.lasts_ms = 128000;
    add(1, 5 * SECOND);
    cr_assert_eq(timewait_next_us(&table, 6 * SECOND), 133 * SECOND);
    cr_assert_eq(timewait_expire(&table, 133 * SECOND - 1000, 10), 0);
    cr_assert_eq(timewait_expire(&table, 133 * SECOND, 10), 1);
    timewait_fini(&table);
}

Test(timewait, a_restart_gives_the_full_time)
{
    begin(100);
    add(1, 0);
    add(2, SECOND);
    timewait_restart(&table, timewait_find(&table, hash_of(1)), 30 * SECOND);
    cr_assert_eq(timewait_expire(&table, FULL_US + 29 * SECOND, 10), 1);
    cr_assert_not_null(timewait_find(&table, hash_of(1)));
    cr_assert_null(timewait_find(&table, hash_of(2)));
    cr_assert_eq(timewait_expire(&table, FULL_US + 30 * SECOND, 10), 1);
    timewait_fini(&table);
}

Test(timewait, the_oldest_goes_when_it_is_full)
{
    begin(10);
    for (unsigned i = 0; i < 25; i++)
        add(i, i * SECOND);
    for (unsigned i = 0; i < 25; i++)
        cr_assert_eq(timewait_find(&table, hash_of(i)) != NULL, i >= 15);
    cr_assert_eq(table.evicted, 15);
    cr_assert_eq(table.used, 10);
    timewait_fini(&table);
}

Test(timewait, expiry_is_done_in_pieces)
{
    begin(100);
    for (unsigned i = 0; i < 100; i++)
        add(i, 0);
    cr_assert_eq(timewait_expire(&table, FULL_US, 30), 30);
    cr_assert_eq(timewait_next_us(&table, FULL_US), FULL_US);
    cr_assert_eq(timewait_expire(&table, FULL_US, 100), 70);
    timewait_fini(&table);
}

/* Against a list, over the point where 32 bits of milliseconds wrap. */
Test(timewait, behaves_as_a_list)
{
    enum { FLOWS = 200, CAPACITY = 120 };
    struct seed seed = seed_new(1337);
    uint64_t deadline[FLOWS] = {0}, order[FLOWS] = {0}, turn = 0;
    uint64_t now = ((1ull << 32) - 100000) * 1000;
    unsigned used = 0;

    begin(CAPACITY);
    for (unsigned step = 0; step < 50000; step++) {
        unsigned which = (unsigned)seed_below(&seed, FLOWS), oldest = FLOWS;
        struct timewait_entry *entry = timewait_find(&table, hash_of(which));

        cr_assert_eq(entry != NULL, deadline[which] != 0, "seed %llu step %u",
                     (unsigned long long)seed.start, step);
        if (entry != NULL && seed_below(&seed, 2) == 0) {
            cr_assert_eq(entry->snd_nxt, which);
            timewait_remove(&table, entry);
            deadline[which] = 0;
            used--;
        } else if (entry != NULL) {
            timewait_restart(&table, entry, now);
            deadline[which] = now + FULL_US;
            order[which] = ++turn;
        } else {
            for (unsigned i = 0; used == CAPACITY && i < FLOWS; i++)
                if (deadline[i] != 0 && (oldest == FLOWS || order[i] < order[oldest]))
                    oldest = i;
            if (oldest < FLOWS) {
                deadline[oldest] = 0;
                used--;
            }
            add(which, now);
            deadline[which] = now + FULL_US;
            order[which] = ++turn;
            used++;
        }
        now += seed_below(&seed, 1000) * 1000;
        unsigned want = 0;
        for (unsigned i = 0; i < FLOWS; i++) {
            if (deadline[i] == 0 || deadline[i] > now)
                continue;
            deadline[i] = 0;
            used--;
            want++;
        }
        cr_assert_eq(timewait_expire(&table, now, FLOWS), want);
        cr_assert_eq(table.used, used);
    }
    timewait_fini(&table);
}

/* ---- segments ---- */

static const struct timewait_entry plain = {.snd_nxt = 1000, .rcv_nxt = 0xfffffff0};
static const struct timewait_entry stamped = {.snd_nxt = 1000,
                                              .rcv_nxt = 0xfffffff0,
                                              .ts_recent = 5000,
                                              .flags = TIMEWAIT_TIMESTAMPS};

static void expect(const struct timewait_entry *entry, uint8_t flags, uint32_t seq,
                   uint32_t seg_len, int64_t ts, enum timewait_verdict want)
{
    struct timewait_segment segment = {.seq = seq,
                                       .seg_len = seg_len,
                                       .flags = flags,
                                       .timestamps = ts >= 0,
                                       .ts_value = ts >= 0 ? (uint32_t)ts : 0};

    cr_assert_eq(timewait_judge(entry, &segment), want, "flags %x seq %x len %u ts %lld", flags,
                 seq, seg_len, (long long)ts);
}

/* RFC 1337: a reset, forged or old, does not end the wait. */
Test(timewait, resets_are_ignored)
{
    expect(&plain, TCP_RST, 0xfffffff0, 0, -1, TIMEWAIT_DROP);
    expect(&plain, TCP_RST | TCP_ACK, 0xfffffff0, 0, -1, TIMEWAIT_DROP);
    expect(&plain, TCP_RST | TCP_SYN | TCP_FIN, 0xfffffff0, 2, -1, TIMEWAIT_DROP);
    expect(&stamped, TCP_RST, 0xfffffff0, 0, 6000, TIMEWAIT_DROP);
}

Test(timewait, the_fin_again_restarts_the_wait)
{
    expect(&plain, TCP_FIN | TCP_ACK, 0xffffffef, 1, -1, TIMEWAIT_FIN);
    expect(&plain, TCP_FIN | TCP_ACK | TCP_PSH, 0xffffffe0, 16, -1, TIMEWAIT_FIN);
    expect(&stamped, TCP_FIN | TCP_ACK, 0xffffffef, 1, 5000, TIMEWAIT_FIN);
    expect(&stamped, TCP_FIN | TCP_ACK, 0xffffffef, 1, 4999, TIMEWAIT_ACK);
    expect(&plain, TCP_FIN | TCP_ACK, 0xfffffff0, 1, -1, TIMEWAIT_ACK); /* beyond the last one */
}

Test(timewait, old_data_is_acknowledged_and_acknowledgements_are_not)
{
    expect(&plain, TCP_ACK, 0xffffff00, 100, -1, TIMEWAIT_ACK);
    expect(&plain, TCP_ACK, 0x00000100, 100, -1, TIMEWAIT_ACK);
    expect(&plain, TCP_ACK, 0xffffffef, 0, -1, TIMEWAIT_ACK); /* keepalive */
    expect(&plain, TCP_ACK, 0xfffffff0, 0, -1, TIMEWAIT_DROP);
    expect(&plain, 0, 0xfffffff0, 10, -1, TIMEWAIT_ACK);
}

/* RFC 6191 and RFC 9293 section 3.10.7.4 */
Test(timewait, a_syn_that_is_surely_new_reuses_the_flow)
{
    expect(&plain, TCP_SYN, 0xfffffff1, 1, -1, TIMEWAIT_REUSE);
    expect(&plain, TCP_SYN, 5, 1, 9, TIMEWAIT_REUSE);
    expect(&plain, TCP_SYN, 0xfffffff0, 1, -1, TIMEWAIT_ACK);
    expect(&plain, TCP_SYN, 0xffffffef, 1, 9, TIMEWAIT_ACK);
    expect(&stamped, TCP_SYN, 0x80000000, 1, 5001, TIMEWAIT_REUSE);
    expect(&stamped, TCP_SYN, 5, 1, 4999, TIMEWAIT_ACK);
    expect(&stamped, TCP_SYN, 5, 1, 5000, TIMEWAIT_REUSE);
    expect(&stamped, TCP_SYN, 0xffffffef, 1, 5000, TIMEWAIT_ACK);
    expect(&stamped, TCP_SYN, 5, 1, -1, TIMEWAIT_REUSE);
    expect(&stamped, TCP_SYN | TCP_ACK, 5, 1, 6000, TIMEWAIT_ACK);
    expect(&stamped, TCP_SYN | TCP_FIN, 5, 2, 6000, TIMEWAIT_REUSE);
}

Test(timewait, the_next_isn_lies_beyond_the_last_incarnation)
{
    struct timewait_entry entry = {.snd_nxt = 0xffffff00};

    cr_assert_eq(timewait_iss(&entry, 0x100), 0x100);
    cr_assert((int32_t)(timewait_iss(&entry, 0xfffffe00) - entry.snd_nxt) > 0);
    cr_assert((int32_t)(timewait_iss(&entry, 0xffffff00) - entry.snd_nxt) > 0);
}

/* Turns of a loop, with clocks of our own. */
#include <criterion/criterion.h>

#include "dataplane/turns.h"

static struct turns turns;

static void begin(void)
{
    turns = (struct turns){0};
    turns_begin(&turns, 1000000, 500000, 3);
}

TestSuite(turns, .init = begin);

Test(turns, short_turns_are_read_once_the_last_reading_is_old)
{
    cr_assert(!turns_end(&turns, 1010000));
    cr_assert(!turns_end(&turns, 1000000 + TURNS_READ_NS - 1));
    cr_assert(turns_end(&turns, 1000000 + TURNS_READ_NS));
}

Test(turns, a_turn_costs_no_more_than_it_took)
{
    uint64_t lost_ns;

    /* 40 us of other turns, then one of 30. */
    cr_assert(!turns_end(&turns, 1040000));
    cr_assert(turns_end(&turns, 1070000));
    cr_assert_eq(turns_read(&turns, 1070000, 570000, &lost_ns), 30000);
    cr_assert_eq(lost_ns, 0);
    /* One of 5 ms, of which it ran 2. */
    cr_assert_eq(turns_read(&turns, 6070000, 2570000, &lost_ns), 2000000);
    cr_assert_eq(lost_ns, 3000000);
}

Test(turns, time_of_its_own_is_no_gap)
{
    uint64_t lost_ns;

    for (uint64_t i = 1; i <= 100; i++) { /* 10 ms of work each, clocks that differ by 1/1000 */
        turns_read(&turns, 1000000 + i * 10000000, 500000 + i * 9990000, &lost_ns);
        cr_assert_eq(lost_ns, 0);
        cr_assert(!turns_gap(&turns, 3, lost_ns));
    }
    cr_assert_eq(turns.gaps_count, 0);
}

Test(turns, a_core_that_was_taken_is_a_gap)
{
    uint64_t lost_ns;

    turns_read(&turns, 1300000, 510000, &lost_ns);
    cr_assert_eq(lost_ns, 290000);
    cr_assert(turns_gap(&turns, 3, lost_ns));
    cr_assert_eq(turns.gaps_count, 1);
    cr_assert_eq(turns.gaps[0].begin_ns, 1000000);
    cr_assert_eq(turns.gaps[0].end_ns, 1300000);
    cr_assert_eq(turns.gaps[0].lost_ns, 290000);
}

Test(turns, sleep_is_no_gap)
{
    uint64_t lost_ns;

    turns_read(&turns, 1300000, 510000, &lost_ns);
    cr_assert(!turns_gap(&turns, 4, lost_ns));
    cr_assert_eq(turns.gaps_count, 0);
    turns_read(&turns, 1600000, 520000, &lost_ns);
    cr_assert(turns_gap(&turns, 4, lost_ns));
    cr_assert_eq(turns.gaps_count, 1);
}

Test(turns, the_oldest_gaps_are_forgotten)
{
    uint64_t lost_ns;

    for (uint64_t i = 1; i <= TURNS_GAPS_KEPT + 2; i++) {
        turns_read(&turns, 1000000 + i * 100000, 500000, &lost_ns);
        cr_assert(turns_gap(&turns, 3, lost_ns));
    }
    cr_assert_eq(turns.gaps_count, TURNS_GAPS_KEPT + 2);
    cr_assert_eq(turns.gaps[1].begin_ns, 1000000 + (TURNS_GAPS_KEPT + 1) * 100000);
    cr_assert_eq(turns.gaps[2].begin_ns, 1200000);
}

/* RFC 6298 by its own numbers. */
#include <criterion/criterion.h>

#include "dataplane/net/rtt.h"

enum { S = 1000 * 1000 };

static struct rtt fresh(void)
{
    struct rtt rtt;

    rtt_init(&rtt);
    return rtt;
}

Test(rtt, waits_a_second_before_the_first_sample)
{
    struct rtt rtt = fresh();

    cr_assert_eq(rtt_timeout_us(&rtt), 1 * S);
    cr_assert_eq(rtt_smoothed_us(&rtt), 0);
}

Test(rtt, first_sample_gives_three_times_itself)
{
    struct rtt rtt = fresh();

    rtt_sample(&rtt, 400 * 1000, S);
    cr_assert_eq(rtt_smoothed_us(&rtt), 400 * 1000);
    cr_assert_eq(rtt_timeout_us(&rtt), 1200 * 1000); /* srtt + 4 * srtt / 2 */
}

Test(rtt, later_samples_are_smoothed_by_an_eighth_and_a_quarter)
{
    struct rtt rtt = fresh();

    rtt_sample(&rtt, 400 * 1000, S);
    rtt_sample(&rtt, 800 * 1000, 2 * S);
    /* var = 3/4 * 200 + 1/4 * 400 = 250 ms; srtt = 7/8 * 400 + 1/8 * 800 = 450 ms. */
    cr_assert_eq(rtt_smoothed_us(&rtt), 450 * 1000);
    cr_assert_eq(rtt_timeout_us(&rtt), 1450 * 1000);
}

Test(rtt, short_round_trips_keep_the_floor)
{
    struct rtt rtt = fresh();

    for (unsigned i = 0; i < 100; i++)
        rtt_sample(&rtt, 5, i);
    cr_assert_eq(rtt_smoothed_us(&rtt), 5);
    cr_assert_eq(rtt_timeout_us(&rtt), RTT_RTO_MIN_US);
}

Test(rtt, steady_round_trips_are_waited_for_with_the_clocks_grain)
{
    struct rtt rtt = fresh();

    for (unsigned i = 0; i < 1000; i++)
        rtt_sample(&rtt, 300 * 1000, i);
    cr_assert_eq(rtt_timeout_us(&rtt), 301 * 1000);
}

Test(rtt, doubles_on_each_timeout_up_to_the_maximum)
{
    struct rtt rtt = fresh();
    uint32_t expected = RTT_RTO_MIN_US;

    rtt_sample(&rtt, 50, 0);
    for (unsigned i = 0; i < 300; i++) {
        cr_assert_eq(rtt_timeout_us(&rtt), expected, "after %u timeouts", i);
        rtt_back_off(&rtt);
        expected = expected < RTT_RTO_MAX_US / 2 ? 2 * expected : RTT_RTO_MAX_US;
    }
}

Test(rtt, a_sample_ends_the_back_off)
{
    struct rtt rtt = fresh();

    rtt_sample(&rtt, 50, 0);
    rtt_back_off(&rtt);
    rtt_back_off(&rtt);
    rtt_sample(&rtt, 50, 0);
    cr_assert_eq(rtt_timeout_us(&rtt), RTT_RTO_MIN_US);
}

Test(rtt, a_lost_syn_makes_it_three_seconds)
{
    struct rtt rtt = fresh();

    rtt_back_off(&rtt);
    rtt_syn_was_lost(&rtt);
    cr_assert_eq(rtt_timeout_us(&rtt), 3 * S);
}

Test(rtt, absurd_samples_are_capped)
{
    struct rtt rtt = fresh();

    for (unsigned i = 0; i < 100; i++)
        rtt_sample(&rtt, i % 2 == 0 ? UINT32_MAX : 0, i);
    cr_assert_leq(rtt_smoothed_us(&rtt), RTT_SAMPLE_MAX_US);
    cr_assert_eq(rtt_timeout_us(&rtt), RTT_RTO_MAX_US);
}

Test(rtt, the_minimum_is_that_of_the_last_seconds)
{
    struct rtt rtt = fresh();

    rtt_sample(&rtt, 100, 1 * S);
    rtt_sample(&rtt, 300, 2 * S);
    cr_assert_eq(rtt.min_us, 100);
    rtt_sample(&rtt, 300, 12 * S); /* the first window is over */
    rtt_sample(&rtt, 280, 13 * S);
    cr_assert_leq(rtt.min_us, 280);
    rtt_sample(&rtt, 300, 23 * S);
    cr_assert_eq(rtt.min_us, 280, "%u", rtt.min_us);
    rtt_sample(&rtt, 500, 80 * S); /* nothing is remembered over a long pause */
    cr_assert_eq(rtt.min_us, 500);
}

Test(rtt, the_minimum_outlives_the_millisecond_clock)
{
    struct rtt rtt = fresh();
    uint64_t wrap_us = ((uint64_t)1 << 32) * 1000;

    rtt_sample(&rtt, 100, wrap_us - S);
    rtt_sample(&rtt, 300, wrap_us + S);
    cr_assert_eq(rtt.min_us, 100);
    rtt_sample(&rtt, 300, wrap_us + 30 * (uint64_t)S);
    cr_assert_eq(rtt.min_us, 300);
}

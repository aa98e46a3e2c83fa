#include <criterion/criterion.h>

#include "tools/pollux-bench/schedule.h"

static uint64_t due_after(struct schedule schedule, double arrivals)
{
    schedule_advance(&schedule, arrivals);
    return schedule_due_ns(&schedule);
}

Test(schedule, spaces_bursts_evenly)
{
    struct schedule schedule = {.bursts_per_s = 1000};

    for (uint64_t burst = 0; burst < 100000; burst++) {
        uint64_t due_ns = schedule_due_ns(&schedule);
        cr_assert(due_ns + 1 >= burst * 1000000 && due_ns <= burst * 1000000 + 1);
        schedule_advance(&schedule, 1);
    }
}

Test(schedule, a_ramp_offers_half_of_what_its_time_would)
{
    struct schedule schedule = {.bursts_per_s = 1000, .ramp_s = 10};

    cr_assert_eq(due_after(schedule, 0), 0);
    /* A quarter of the time is a sixteenth of the bursts of the ramp. */
    cr_assert_eq(due_after(schedule, 5000.0 / 16), 2500000000);
    cr_assert_eq(due_after(schedule, 5000), 10000000000);
    cr_assert_eq(due_after(schedule, 6000), 11000000000);
}

Test(schedule, never_goes_back)
{
    struct schedule schedule = {.bursts_per_s = 333.3, .ramp_s = 0.7};
    uint64_t last_ns = 0;

    for (int i = 0; i < 10000; i++) {
        uint64_t due_ns = schedule_due_ns(&schedule);
        cr_assert_geq(due_ns, last_ns);
        last_ns = due_ns;
        schedule_advance(&schedule, (i % 7) * 0.3);
    }
}

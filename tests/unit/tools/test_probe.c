#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "tools/pollux-bench/probe.h"

Test(probe, labels_a_run_by_both_ends)
{
    cr_assert_str_eq(probe_label(200, 220), "near");
    cr_assert_str_eq(probe_label(790, 810), "far");
    cr_assert_str_eq(probe_label(200, 810), "mixed");
    cr_assert_str_eq(probe_label(790, 210), "mixed");
    cr_assert_str_eq(probe_label(0, 210), "unknown");
}

Test(probe, measures_a_plausible_round_trip)
{
    cpu_set_t set;
    int cpus[2] = {-1, -1}, found = 0;
    double round_trip_ns = 0;

    cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++) {
        if (CPU_ISSET((unsigned)cpu, &set))
            cpus[found++] = cpu;
    }
    if (found < 2)
        cr_skip_test("one core only");
    cr_assert_eq(probe_run(cpus, &round_trip_ns), 0);
    cr_assert(round_trip_ns > 10 && round_trip_ns < 1e8, "%g", round_trip_ns);
}

Test(probe, refuses_a_core_that_is_not_ours)
{
    double round_trip_ns;

    cr_assert_eq(probe_run((const int[2]){0, CPU_SETSIZE - 1}, &round_trip_ns), -EINVAL);
    cr_assert_eq(probe_run((const int[2]){CPU_SETSIZE - 1, 0}, &round_trip_ns), -EINVAL);
}

#include "tools/pollux-bench/schedule.h"

#include <math.h>

uint64_t schedule_due_ns(const struct schedule *schedule)
{
    double ramp_s = schedule->ramp_s;
    double rate = schedule->bursts_per_s;
    /* While the rate rises from 0, rate * t^2 / (2 ramp) bursts are due by t. */
    double in_ramp = rate * ramp_s / 2;
    double due_s = schedule->arrivals < in_ramp ? sqrt(2 * schedule->arrivals * ramp_s / rate)
                                                : ramp_s / 2 + schedule->arrivals / rate;

    return (uint64_t)(due_s * 1e9);
}

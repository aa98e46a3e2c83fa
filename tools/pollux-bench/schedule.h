/* The schedule of an open loop: when each burst is due.
 * Purpose:   times that depend on nothing the server does: evenly spaced or random (a Poisson
 *            process), with a linear rise of the rate in the beginning.
 * Ownership: a plain value. Threading: one thread. Errors: none. */
#ifndef POLLUX_BENCH_SCHEDULE_H
#define POLLUX_BENCH_SCHEDULE_H

#include <stdint.h>

struct schedule {
    double bursts_per_s; /* in the end */
    double ramp_s;
    double arrivals; /* of a process of rate 1; the ramp bends its time */
};

/* The time of the next burst in ns since the start. */
uint64_t schedule_due_ns(const struct schedule *schedule);

/* Goes on to the burst after it: `step` is 1 for even spacing, or drawn from the exponential
 * distribution of mean 1. */
static inline void schedule_advance(struct schedule *schedule, double step)
{
    schedule->arrivals += step;
}

#endif

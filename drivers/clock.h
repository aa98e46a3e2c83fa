/* Clocks: monotonic, wall, thread CPU time, and stamps from the time-stamp counter.
 * Purpose:   one place that reads time. `_us` and `_ns` are monotonic, `_unix_` is wall time.
 * Ownership: struct clock_tsc belongs to its caller and is read-only once initialised.
 * Threading: any; a struct clock_tsc is shared by all threads of the process.
 * Errors:    none: where the kernel does not trust the counter, its own clock is read instead. */
#ifndef DRIVERS_CLOCK_H
#define DRIVERS_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

uint64_t clock_now_ns(void);        /* CLOCK_MONOTONIC */
uint64_t clock_now_us(void);        /* the same, microseconds */
uint64_t clock_unix_us(void);       /* wall time */
uint64_t clock_unix_ms(void);       /* wall time */
uint64_t clock_thread_cpu_ns(void); /* CPU time that the calling thread has used */

/* The relation of the counter to wall time, measured at start:
 * stamp = base_unix_ns + (ticks - base_ticks) * mult / 2^32. */
struct clock_tsc {
    uint64_t base_ticks;
    uint64_t base_unix_ns;
    uint64_t mult;         /* ns for each tick, 32.32 fixed point */
    uint64_t base_mono_ns; /* CLOCK_MONOTONIC at the base, for machines without a usable counter */
    bool counter;          /* the counter is read; false: CLOCK_MONOTONIC */
};

enum {
    CLOCK_CALIBRATE_US = 20000, /* how long clock_tsc_init measures: about 1 ppm of error */
};

/* Measures the counter against CLOCK_MONOTONIC; takes CLOCK_CALIBRATE_US of sleep. */
void clock_tsc_init(struct clock_tsc *tsc);

/* The slow half of clock_stamp_ns: CLOCK_MONOTONIC on the same base. */
uint64_t clock_stamp_kernel_ns(const struct clock_tsc *tsc);

/* The counter, read after all earlier loads of this thread; earlier stores may still be on their
 * way: who publishes "I am about to take a stamp" puts a full fence in between. */
static inline uint64_t clock_ticks(void)
{
#if defined(__x86_64__)
    _mm_lfence();
    return __rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(ticks)::"memory");
    return ticks;
#else
    return 0;
#endif
}

/* Nanoseconds since the epoch as of start, and monotonic from there on: comparable across the
 * cores of this machine, and growing across restarts unless the wall clock is set back. Drifts from
 * wall time as it is adjusted: an order, not a time of day. Never below an earlier result of the
 * same thread; equal ones occur. Inline: it is read for every change of the keyspace. */
static inline uint64_t clock_stamp_ns(const struct clock_tsc *tsc)
{
    if (!tsc->counter)
        return clock_stamp_kernel_ns(tsc);
    uint64_t ticks = clock_ticks() - tsc->base_ticks;
    __extension__ unsigned __int128 product = ticks;

    product *= tsc->mult;
    return tsc->base_unix_ns + (uint64_t)(product >> 32);
}

#endif

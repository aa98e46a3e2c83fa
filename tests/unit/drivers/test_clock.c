#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "drivers/clock.h"

Test(clock, units_agree)
{
    uint64_t ns = clock_now_ns();
    uint64_t us = clock_now_us();
    uint64_t unix_ms = clock_unix_ms();
    uint64_t unix_us = clock_unix_us();

    cr_assert_lt(us - ns / 1000, 1000000);
    cr_assert_lt(unix_us / 1000 - unix_ms, 1000);
    cr_assert_gt(unix_ms, 1600000000000u);
}

Test(clock, thread_time_counts_work_not_waiting)
{
    uint64_t start_ns = clock_thread_cpu_ns();
    uint64_t end_us = clock_now_us() + 5000;
    volatile uint64_t work = 0;

    while (clock_now_us() < end_us)
        work = work + 1;
    cr_assert_gt(clock_thread_cpu_ns(), start_ns);
    cr_assert_leq(clock_thread_cpu_ns() - start_ns, 10000000000u);
}

static void expect_steady(const struct clock_tsc *tsc)
{
    uint64_t last = clock_stamp_ns(tsc);

    for (int i = 0; i < 100000; i++) {
        uint64_t stamp = clock_stamp_ns(tsc);
        cr_assert_geq(stamp, last);
        last = stamp;
    }
}

Test(clock, stamps_grow_at_the_pace_of_the_kernel)
{
    struct clock_tsc tsc;

    clock_tsc_init(&tsc);
    expect_steady(&tsc);
    uint64_t wall_us = clock_unix_us();
    cr_assert_lt(llabs((long long)(clock_stamp_ns(&tsc) / 1000 - wall_us)), 50000);
    uint64_t mono_ns = clock_now_ns();
    uint64_t stamp_ns = clock_stamp_ns(&tsc);
    while (clock_now_ns() - mono_ns < 50000000)
        continue;
    int64_t drift_ns =
        (int64_t)(clock_stamp_ns(&tsc) - stamp_ns) - (int64_t)(clock_now_ns() - mono_ns);
    cr_assert_lt(llabs(drift_ns), 5000000, "%lld ns in 50 ms", (long long)drift_ns);
}

Test(clock, stamps_work_without_a_counter)
{
    struct clock_tsc tsc;

    clock_tsc_init(&tsc);
    uint64_t by_counter = clock_stamp_ns(&tsc);
    tsc.counter = false;
    cr_assert_lt(llabs((long long)(clock_stamp_ns(&tsc) - by_counter)), 1000000000);
    expect_steady(&tsc);
}

struct relay {
    const struct clock_tsc *tsc;
    _Atomic uint64_t stamp; /* even turns are ours, odd ones the other's */
    _Atomic unsigned turn;
};

enum { RELAY_TURNS = 50000 };

/* Takes turns: each stamp must not be below the other core's stamp that it has seen. */
static void relay_run(struct relay *relay, unsigned own)
{
    for (unsigned turn = own; turn < RELAY_TURNS; turn += 2) {
        while (atomic_load(&relay->turn) != turn)
            sched_yield();
        uint64_t stamp = clock_stamp_ns(relay->tsc);
        cr_assert_geq(stamp, atomic_load(&relay->stamp));
        atomic_store(&relay->stamp, stamp);
        atomic_store(&relay->turn, turn + 1);
    }
}

static void *relay_other(void *arg)
{
    relay_run(arg, 1);
    return NULL;
}

Test(clock, stamps_compare_across_cores)
{
    struct clock_tsc tsc;
    struct relay relay = {.tsc = &tsc};
    pthread_t thread;

    clock_tsc_init(&tsc);
    cr_assert_eq(pthread_create(&thread, NULL, relay_other, &relay), 0);
    relay_run(&relay, 0);
    pthread_join(thread, NULL);
}

#include "drivers/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t clock_read_ns(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now); /* fails only for clocks that do not exist; these always do */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t clock_now_ns(void)
{
    return clock_read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_now_us(void)
{
    return clock_read_ns(CLOCK_MONOTONIC) / 1000;
}

uint64_t clock_unix_us(void)
{
    return clock_read_ns(CLOCK_REALTIME) / 1000;
}

uint64_t clock_unix_ms(void)
{
    return clock_read_ns(CLOCK_REALTIME) / 1000000;
}

uint64_t clock_thread_cpu_ns(void)
{
    return clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t clock_stamp_kernel_ns(const struct clock_tsc *tsc)
{
    return tsc->base_unix_ns + (clock_now_ns() - tsc->base_mono_ns);
}

/* The kernel watches the counter (constant rate, in step on all cores) and names it as its clock
 * source only while it holds up. On aarch64 the architecture promises both. */
static bool counter_is_trusted(void)
{
#if defined(__x86_64__)
    char name[32] = "";
    FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");

    if (file == NULL)
        return false;
    bool read = fgets(name, sizeof name, file) != NULL;
    fclose(file);
    return read && strcmp(name, "tsc\n") == 0;
#elif defined(__aarch64__)
    return true;
#else
    return false;
#endif
}

struct clock_pair {
    uint64_t ticks;
    uint64_t mono_ns;
};

/* Reads both clocks at the same moment: of several tries the one with the least time in between,
 * as a preemption or an interrupt would shift one against the other. */
static struct clock_pair clock_pair_read(void)
{
    struct clock_pair best = {0, 0};
    uint64_t best_span = UINT64_MAX;

    for (int tries = 0; tries < 16; tries++) {
        uint64_t before = clock_ticks();
        uint64_t mono_ns = clock_now_ns();
        uint64_t after = clock_ticks();

        if (after - before < best_span) {
            best_span = after - before;
            best = (struct clock_pair){before + (after - before) / 2, mono_ns};
        }
    }
    return best;
}

void clock_tsc_init(struct clock_tsc *tsc)
{
    *tsc = (struct clock_tsc){.base_mono_ns = clock_now_ns(),
                              .base_unix_ns = clock_read_ns(CLOCK_REALTIME)};
    if (!counter_is_trusted())
        return;

    struct clock_pair start = clock_pair_read();
    struct timespec wait = {0, CLOCK_CALIBRATE_US * 1000L};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, NULL);
    struct clock_pair end = clock_pair_read();
    if (end.ticks <= start.ticks || end.mono_ns <= start.mono_ns)
        return;

    __extension__ unsigned __int128 span_ns = end.mono_ns - start.mono_ns;
    tsc->mult = (uint64_t)((span_ns << 32) / (end.ticks - start.ticks));
    tsc->base_unix_ns += end.mono_ns - tsc->base_mono_ns;
    tsc->base_mono_ns = end.mono_ns;
    tsc->base_ticks = end.ticks;
    tsc->counter = tsc->mult != 0;
}

/* The timer wheel against the deadlines themselves. Input: steps of three bytes, what to do, with
 * which timer, and how far in time, as a small floating number. */
#include "dataplane/net/timers.h"

#include <stdlib.h>

enum { TIMERS = 64, STEPS_MAX = 2000, LATE_US = 2 * TIMERS_TICK_US };

struct trial {
    struct timers wheel;
    struct net_timer timers[TIMERS];
    uint64_t deadline_us[TIMERS]; /* 0: unarmed */
    uint64_t now_us;
};

static void need(bool holds)
{
    if (!holds)
        abort();
}

static void collect(struct trial *trial, unsigned max)
{
    struct net_timer *due[TIMERS];
    unsigned count = timers_collect(&trial->wheel, trial->now_us, due, max);

    need(count <= max);
    for (unsigned i = 0; i < count; i++) {
        size_t which = (size_t)(due[i] - trial->timers);

        need(trial->deadline_us[which] != 0 && trial->deadline_us[which] <= trial->now_us);
        trial->deadline_us[which] = 0;
    }
}

static void check(struct trial *trial)
{
    uint64_t next = timers_next_us(&trial->wheel);

    for (unsigned i = 0; i < TIMERS; i++) {
        need(net_timer_armed(&trial->timers[i]) == (trial->deadline_us[i] != 0));
        if (trial->deadline_us[i] == 0)
            continue;
        need(trial->deadline_us[i] + LATE_US > trial->now_us);
        need(next <= trial->deadline_us[i] + LATE_US);
    }
}

static void step(struct trial *trial, uint8_t what, uint8_t which, uint8_t far)
{
    uint64_t span = (uint64_t)(far & 7) << (far >> 3); /* 0 to 7 * 2^31 us */

    which %= TIMERS;
    switch (what & 3) {
    case 0:
        timers_cancel(&trial->wheel, &trial->timers[which]);
        trial->deadline_us[which] = 0;
        break;
    case 1:
        trial->now_us += span;
        collect(trial, what >> 2); /* 0 to 63 */
        break;
    case 2:
        trial->now_us += span;
        for (unsigned i = 0; i < 4; i++)
            collect(trial, TIMERS);
        check(trial);
        break;
    default:
        trial->deadline_us[which] = trial->now_us + span;
        timers_arm(&trial->wheel, &trial->timers[which], trial->now_us + span);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t starts_us[] = {1, 255999, 65536000, 16777216000, 4294967295000};
    struct trial *trial;

    if (size < 1 || size > STEPS_MAX * 3)
        return 0;
    trial = calloc(1, sizeof(*trial));
    need(trial != NULL);
    trial->now_us = starts_us[data[0] % 5];
    timers_init(&trial->wheel, trial->now_us);
    for (size_t at = 1; at + 3 <= size; at += 3)
        step(trial, data[at], data[at + 1], data[at + 2]);
    free(trial);
    return 0;
}

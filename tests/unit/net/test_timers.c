/* The wheel against the deadlines themselves. */
#include <criterion/criterion.h>

#include "dataplane/net/timers.h"
#include "tests/unit/dataplane/seed.h"

enum {
    TIMERS_MAX = 300,
    MS = 1000,
};

struct trial {
    struct timers wheel;
    struct net_timer timers[TIMERS_MAX];
    uint64_t deadline_us[TIMERS_MAX];
    bool armed[TIMERS_MAX];
    uint64_t now_us;
    struct seed seed;
};

static struct trial trial;

static void begin(uint64_t now_us, uint64_t seed)
{
    memset(&trial, 0, sizeof(trial));
    trial.now_us = now_us;
    trial.seed = seed_new(seed);
    timers_init(&trial.wheel, now_us);
}

static void arm(unsigned which, uint64_t deadline_us)
{
    timers_arm(&trial.wheel, &trial.timers[which], deadline_us);
    trial.armed[which] = true;
    trial.deadline_us[which] = deadline_us;
}

static void cancel(unsigned which)
{
    timers_cancel(&trial.wheel, &trial.timers[which]);
    trial.armed[which] = false;
}

/* Takes what is due now, and checks each against its deadline. Returns how many. */
static unsigned collect(unsigned max)
{
    struct net_timer *due[TIMERS_MAX];
    unsigned count = timers_collect(&trial.wheel, trial.now_us, due, max);

    cr_assert(count <= max);
    for (unsigned i = 0; i < count; i++) {
        unsigned which = (unsigned)(due[i] - trial.timers);

        cr_assert(trial.armed[which], "seed %llu: fired, but not armed",
                  (unsigned long long)trial.seed.start);
        cr_assert(trial.deadline_us[which] <= trial.now_us, "seed %llu: early by %llu us",
                  (unsigned long long)trial.seed.start,
                  (unsigned long long)(trial.deadline_us[which] - trial.now_us));
        cr_assert_not(net_timer_armed(due[i]));
        trial.armed[which] = false;
    }
    return count;
}

/* Nothing whose tick is over may still be armed. */
static void check_none_late(void)
{
    unsigned armed = 0;
    uint64_t earliest = UINT64_MAX;

    for (unsigned i = 0; i < TIMERS_MAX; i++) {
        cr_assert_eq(net_timer_armed(&trial.timers[i]), trial.armed[i]);
        if (!trial.armed[i])
            continue;
        armed++;
        cr_assert(trial.deadline_us[i] + 2 * MS > trial.now_us, "seed %llu: timer %u late by %llu",
                  (unsigned long long)trial.seed.start, i,
                  (unsigned long long)(trial.now_us - trial.deadline_us[i]));
        if (trial.deadline_us[i] < earliest)
            earliest = trial.deadline_us[i];
    }
    cr_assert_eq(trial.wheel.armed, armed);
    if (armed == 0)
        cr_assert_eq(timers_next_us(&trial.wheel), TIMERS_NEVER);
    else
        cr_assert(timers_next_us(&trial.wheel) <= (earliest / MS + 2) * MS);
}

static uint64_t any_span(void)
{
    static const uint64_t spans[] = {
        1, 300, 5 * MS, 300 * MS, 70000ull * MS, 20000000ull * MS, 1000000000ull * MS};

    return seed_below(&trial.seed, spans[seed_below(&trial.seed, 7)]);
}

static void run(uint64_t start_us, uint64_t seed, unsigned steps)
{
    begin(start_us, seed);
    for (unsigned step = 0; step < steps; step++) {
        unsigned which = (unsigned)seed_below(&trial.seed, TIMERS_MAX);

        switch (seed_below(&trial.seed, 8)) {
        case 0:
            cancel(which);
            break;
        case 1: /* in the past */
            arm(which, trial.now_us - seed_below(&trial.seed, trial.now_us < MS ? 1 : MS));
            break;
        case 2: /* time goes on, by as much as it likes */
            trial.now_us += any_span();
            while (timers_due(&trial.wheel, trial.now_us) && collect(TIMERS_MAX) > 0)
                ;
            check_none_late();
            break;
        case 3: /* a little, and only a few are taken */
            trial.now_us += seed_below(&trial.seed, 3 * MS);
            collect((unsigned)seed_below(&trial.seed, 3));
            break;
        case 4: /* until the wheel says that there is something to do */
            if (timers_next_us(&trial.wheel) != TIMERS_NEVER &&
                timers_next_us(&trial.wheel) > trial.now_us)
                trial.now_us = timers_next_us(&trial.wheel);
            while (collect(7) > 0)
                ;
            check_none_late();
            break;
        default:
            arm(which, trial.now_us + any_span());
            break;
        }
    }
    for (unsigned i = 0; i < TIMERS_MAX; i++)
        cancel(i);
    check_none_late();
}

Test(timers, fire_when_they_are_due)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        run(0, seed, 4000);
        run(1700000000ull * 1000000 + seed * 77, 100 + seed, 4000);
        run(((1ull << 32) - 500) * MS, 200 + seed, 4000);
        run((255ull << 24 | 0xfffff0) * MS, 300 + seed, 4000);
    }
}

/* Every deadline of the first 70,000 ticks, from starts around the edges of slots. */
Test(timers, no_deadline_is_missed_by_stepping_through)
{
    static const uint64_t starts[] = {0, 1, 255, 256, 257, 65535, 65536, 16777215};

    for (unsigned s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
        begin(starts[s] * MS, s);
        for (uint64_t tick = 0; tick < 70000; tick += 233) {
            arm(0, trial.now_us + tick * MS + 1);
            uint64_t want = (trial.deadline_us[0] + MS - 1) / MS * MS;
            for (unsigned calls = 0; trial.armed[0]; calls++) {
                uint64_t next = timers_next_us(&trial.wheel);

                cr_assert(next <= want && calls < 20);
                if (next > trial.now_us)
                    trial.now_us = next;
                collect(1);
            }
            cr_assert(trial.now_us <= want + MS, "fired at %llu, not %llu",
                      (unsigned long long)trial.now_us, (unsigned long long)want);
        }
    }
}

Test(timers, putting_off_does_not_move_a_timer_until_its_slot_comes)
{
    begin(0, 1);
    arm(0, 10 * MS);
    struct net_timer *neighbour = trial.timers[0].next;
    arm(0, 50 * MS);
    cr_assert_eq(trial.timers[0].next, neighbour);
    trial.now_us = 10 * MS;
    cr_assert_eq(collect(8), 0);
    trial.now_us = 49 * MS;
    cr_assert_eq(collect(8), 0);
    trial.now_us = 50 * MS;
    cr_assert_eq(collect(8), 1);
}

Test(timers, pulling_in_takes_effect_at_once)
{
    begin(0, 1);
    arm(0, 100000ull * MS);
    arm(0, 5 * MS);
    trial.now_us = 5 * MS;
    cr_assert_eq(collect(8), 1);
    trial.now_us = 200000ull * MS;
    cr_assert_eq(collect(8), 0);
}

/* A coarse slot whose only timer was cancelled, and which the clock then enters while nothing is
 * armed, is no work that was missed. */
Test(timers, a_cancelled_timer_leaves_nothing_to_do)
{
    begin(0, 1);
    arm(0, 300 * MS);
    cancel(0);
    trial.now_us = 400 * MS;
    cr_assert_eq(collect(8), 0);
    arm(1, 410 * MS);
    cr_assert_eq(timers_next_us(&trial.wheel), 410 * MS);
    trial.now_us = 405 * MS;
    cr_assert_eq(collect(8), 0);
    cr_assert_eq(timers_next_us(&trial.wheel), 410 * MS);
    trial.now_us = 410 * MS;
    cr_assert_eq(collect(8), 1);
}

Test(timers, a_deadline_beyond_the_span_is_cut_to_it)
{
    begin(5 * MS, 1);
    timers_arm(&trial.wheel, &trial.timers[0], TIMERS_NEVER);
    trial.armed[0] = true;
    trial.now_us = TIMERS_SPAN_US - 1000 * (uint64_t)MS;
    cr_assert_eq(collect(8), 0);
    trial.now_us = TIMERS_SPAN_US + 100 * (uint64_t)MS;
    cr_assert_eq(collect(8), 1);
}

/* A clock that leaps by years fires each timer once, and no arithmetic wraps on the way. */
Test(timers, a_leap_of_the_clock_fires_all)
{
    unsigned fired = 0;

    begin(0, 9);
    for (unsigned i = 0; i < TIMERS_MAX; i++)
        arm(i, any_span());
    trial.now_us = 3ull * 365 * 86400 * 1000 * MS;
    for (unsigned calls = 0; calls < 1000 && fired < TIMERS_MAX; calls++)
        fired += collect(16);
    cr_assert_eq(fired, TIMERS_MAX);
    check_none_late();
    collect(16);
    arm(3, trial.now_us + 20 * MS);
    trial.now_us += 22 * MS;
    for (unsigned calls = 0; calls < 1000 && trial.armed[3]; calls++)
        collect(16);
    check_none_late();
}

Test(timers, time_that_falls_back_does_no_harm)
{
    begin(1000 * MS, 1);
    trial.now_us = 5000 * MS;
    collect(1);
    trial.now_us = 1000 * MS;
    arm(0, 2000 * MS);
    cr_assert_eq(collect(8), 0);
    trial.now_us = 5001 * MS;
    cr_assert_eq(collect(8), 1);
}

/* A great many timers in one coarse slot are spread over calls: none takes more than its share of
 * work, none of the timers is lost, and a timer that is due meanwhile is not kept waiting. */
Test(timers, a_crowded_slot_does_not_stop_the_worker)
{
    enum { CROWD = 100000 };
    struct net_timer *crowd = calloc(CROWD, sizeof(*crowd)), *due[64];
    unsigned fired = 0, calls = 0, count;

    begin(0, 1);
    for (unsigned i = 0; i < CROWD; i++)
        timers_arm(&trial.wheel, &crowd[i], (70000ull + i % 60000) * MS);
    trial.now_us = 131072ull * MS; /* most of them are due, all but a few were in one slot */
    arm(0, 131073ull * MS);
    while ((count = timers_collect(&trial.wheel, trial.now_us, due, 64)) > 0 ||
           timers_next_us(&trial.wheel) <= trial.now_us) {
        for (unsigned i = 0; i < count; i++)
            cr_assert(due[i] >= crowd && due[i] < crowd + CROWD);
        fired += count;
        cr_assert_lt(++calls, 10 * CROWD / 64);
    }
    cr_assert_eq(fired, CROWD);
    trial.now_us = 131074ull * MS;
    cr_assert_eq(collect(4), 1);
    free(crowd);
}

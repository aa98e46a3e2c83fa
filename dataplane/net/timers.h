/* Timer wheel of one worker's network stack.
 * Purpose:   one timer for each connection, put off at nearly every segment: putting off is a
 *            store, the timer moves only when its old place comes due.
 * Layout:    4 levels of 256 slots, ticks of 1 ms; a deadline further off than TIMERS_SPAN_US is
 *            taken as that.
 * Ownership: the caller owns the wheel and every timer; the wheel links them. A timer all zero is
 *            unarmed. An armed one must be cancelled before its memory is reused.
 * Threading: one worker. Time comes from the caller and never runs backwards (an earlier now_us
 *            is taken as the latest seen).
 * Errors:    none. */
#ifndef DATAPLANE_NET_TIMERS_H
#define DATAPLANE_NET_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TIMERS_TICK_US = 1000,
    TIMERS_LEVELS = 4,
    TIMERS_SLOTS = 256,
    TIMERS_WORK_MAX = 512, /* timers looked at by one timers_collect: bounds the time it takes */
};

static const uint64_t TIMERS_SPAN_US = (uint64_t)1000 << 30; /* 12 days */
static const uint64_t TIMERS_NEVER = UINT64_MAX;

struct net_timer {
    struct net_timer *next, *prev; /* NULL: unarmed */
    uint32_t deadline;             /* tick, modulo 2^32 */
    uint32_t filed;                /* tick of the slot that it is in: not after the deadline */
};

struct timers {
    struct net_timer slots[TIMERS_LEVELS][TIMERS_SLOTS]; /* heads of rings */
    struct net_timer moving; /* out of a coarse slot that came due, to be filed anew */
    uint64_t filled[TIMERS_LEVELS][TIMERS_SLOTS / 64]; /* bits: the slot is not empty */
    uint64_t tick;                                     /* the next one to be worked off */
    uint32_t armed;
};

void timers_init(struct timers *timers, uint64_t now_us);

static inline bool net_timer_armed(const struct net_timer *timer)
{
    return timer->next != NULL;
}

/* Links the timer where `tick` belongs: the slow half of timers_arm. */
void timers_file(struct timers *timers, struct net_timer *timer, uint64_t tick);

/* Arms the timer for an absolute time, or changes its deadline. It fires at or after it, at most a
 * tick late by itself. A deadline in the past fires with the next tick. */
static inline void timers_arm(struct timers *timers, struct net_timer *timer, uint64_t deadline_us)
{
    uint64_t tick = deadline_us / TIMERS_TICK_US + (deadline_us % TIMERS_TICK_US != 0);

    if (timer->next != NULL && tick >= timers->tick &&
        tick - timers->tick <= TIMERS_SPAN_US / TIMERS_TICK_US &&
        (int32_t)((uint32_t)tick - timer->filed) >= 0)
        timer->deadline = (uint32_t)tick;
    else
        timers_file(timers, timer, tick);
}

/* Unarmed timers are left as they are. */
void timers_cancel(struct timers *timers, struct net_timer *timer);

/* Moves up to `max` timers that are due into `due`, each unarmed. Returns how many. It may return
 * fewer, even none, though more are due, when it looked at TIMERS_WORK_MAX of them: then
 * timers_next_us is not in the future. */
unsigned timers_collect(struct timers *timers, uint64_t now_us, struct net_timer **due,
                        unsigned max);

/* When timers_collect is to be called next: not later than the earliest deadline, sometimes
 * sooner. TIMERS_NEVER: no timer is armed. */
uint64_t timers_next_us(const struct timers *timers);

/* True when timers_collect may have something to do: a comparison or two for the poll loop. With
 * nothing armed it is true once a tick, so that the wheel's idea of the time does not fall back. */
static inline bool timers_due(const struct timers *timers, uint64_t now_us)
{
    return now_us >= timers->tick * TIMERS_TICK_US || timers->moving.next != &timers->moving;
}

#endif

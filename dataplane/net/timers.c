#include "dataplane/net/timers.h"

#include <assert.h>

/* A slot of level n stands for 256^n ticks. timers->tick is the next tick to work off; all before
 * it is done. A timer stands at the lowest level whose slots, counted from that of the tick, reach
 * it: at a coarse level never in the tick's own slot. When the tick enters a coarse slot, its
 * timers go to `moving` and are filed anew, some in each call, so that a million idle connections
 * that share a slot do not stop the worker. */

enum {
    LEVEL_BITS = 8,
    SLOT_MASK = TIMERS_SLOTS - 1,
    SPAN_TICKS = 1 << 30,
};
_Static_assert((uint64_t)SPAN_TICKS *TIMERS_TICK_US == (uint64_t)1000 << 30, "as the header says");

static void ring_init(struct net_timer *head)
{
    head->next = head;
    head->prev = head;
}

static bool ring_empty(const struct net_timer *head)
{
    return head->next == head;
}

static void ring_append(struct net_timer *head, struct net_timer *timer)
{
    timer->next = head;
    timer->prev = head->prev;
    head->prev->next = timer;
    head->prev = timer;
}

static void ring_remove(struct net_timer *timer)
{
    timer->prev->next = timer->next;
    timer->next->prev = timer->prev;
    timer->next = NULL;
    timer->prev = NULL;
}

/* Moves all of `from` behind those of `to`. */
static void ring_splice(struct net_timer *to, struct net_timer *from)
{
    if (ring_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    ring_init(from);
}

static void fill(struct timers *timers, unsigned level, unsigned slot)
{
    timers->filled[level][slot / 64] |= 1ull << slot % 64;
}

/* A slot's bit may outlive its last timer, until the tick passes: cancelling stays a few stores. */
static void clear(struct timers *timers, unsigned level, unsigned slot)
{
    timers->filled[level][slot / 64] &= ~(1ull << slot % 64);
}

void timers_init(struct timers *timers, uint64_t now_us)
{
    for (unsigned level = 0; level < TIMERS_LEVELS; level++) {
        for (unsigned slot = 0; slot < TIMERS_SLOTS; slot++)
            ring_init(&timers->slots[level][slot]);
        for (unsigned word = 0; word < TIMERS_SLOTS / 64; word++)
            timers->filled[level][word] = 0;
    }
    ring_init(&timers->moving);
    timers->tick = now_us / TIMERS_TICK_US;
    timers->armed = 0;
}

/* Puts an unlinked timer where `tick` belongs, which is timers->tick or later. */
static void place(struct timers *timers, struct net_timer *timer, uint64_t tick)
{
    unsigned level = 0;

    while ((tick >> LEVEL_BITS * level) - (timers->tick >> LEVEL_BITS * level) >= TIMERS_SLOTS)
        level++;
    assert(level < TIMERS_LEVELS);
    unsigned slot = (unsigned)(tick >> LEVEL_BITS * level) & SLOT_MASK;
    timer->filed = (uint32_t)tick;
    ring_append(&timers->slots[level][slot], timer);
    fill(timers, level, slot);
}

void timers_file(struct timers *timers, struct net_timer *timer, uint64_t tick)
{
    if (timer->next != NULL)
        ring_remove(timer);
    else
        timers->armed++;
    if (tick < timers->tick)
        tick = timers->tick;
    if (tick - timers->tick > SPAN_TICKS)
        tick = timers->tick + SPAN_TICKS;
    timer->deadline = (uint32_t)tick;
    place(timers, timer, tick);
}

void timers_cancel(struct timers *timers, struct net_timer *timer)
{
    if (timer->next == NULL)
        return;
    ring_remove(timer);
    timers->armed--;
}

/* The first slot in use at or after `from` in this round of the level, or TIMERS_SLOTS. */
static unsigned next_filled(const struct timers *timers, unsigned level, unsigned from)
{
    for (unsigned at = from; at < TIMERS_SLOTS; at = (at | 63) + 1) {
        uint64_t bits = timers->filled[level][at / 64] >> at % 64;

        if (bits != 0)
            return at + (unsigned)__builtin_ctzll(bits);
    }
    return TIMERS_SLOTS;
}

/* When the next slot in use of a level begins, as a tick; UINT64_MAX: none is in use. */
static uint64_t level_work(const struct timers *timers, unsigned level)
{
    unsigned shift = LEVEL_BITS * level;
    uint64_t at = timers->tick >> shift, round = at & ~(uint64_t)SLOT_MASK;
    unsigned slot;

    /* The coarse slot that the tick is in has begun, unless it begins just now. */
    if ((timers->tick & ((1ull << shift) - 1)) != 0)
        at++;
    slot = at - round < TIMERS_SLOTS ? next_filled(timers, level, (unsigned)(at - round))
                                     : (unsigned)TIMERS_SLOTS;
    if (slot == TIMERS_SLOTS) {
        round += TIMERS_SLOTS;
        slot = next_filled(timers, level, 0);
    }
    return slot < TIMERS_SLOTS ? (round + slot) << shift : UINT64_MAX;
}

/* The next tick, timers->tick or later, at which something is to be done. */
static uint64_t next_work(const struct timers *timers)
{
    uint64_t earliest = UINT64_MAX;

    for (unsigned level = 0; level < TIMERS_LEVELS; level++) {
        uint64_t work = level_work(timers, level);

        if (work < earliest)
            earliest = work;
    }
    return earliest;
}

/* Takes the coarse slots that begin with timers->tick into `moving`. */
static void begin_slots(struct timers *timers)
{
    for (unsigned level = 1; level < TIMERS_LEVELS; level++) {
        unsigned shift = LEVEL_BITS * level;
        unsigned slot = (unsigned)(timers->tick >> shift) & SLOT_MASK;

        if ((timers->tick & ((1ull << shift) - 1)) != 0)
            return;
        ring_splice(&timers->moving, &timers->slots[level][slot]);
        clear(timers, level, slot);
    }
}

/* What one timers_collect may still do, and has done. */
struct collection {
    uint64_t now; /* tick: deadlines up to it are due */
    struct net_timer **due;
    unsigned count, max, work;
};

/* Takes a timer out of its ring: to the due ones, or where its deadline has moved to. */
static void settle(struct timers *timers, struct net_timer *timer, struct collection *collection)
{
    /* Never near 2^31, as neither deadlines nor steps of the clock exceed SPAN_TICKS. */
    int32_t ahead = (int32_t)(timer->deadline - (uint32_t)collection->now);

    ring_remove(timer);
    if (ahead > 0) {
        place(timers, timer, collection->now + (uint32_t)ahead);
        return;
    }
    timers->armed--;
    collection->due[collection->count++] = timer;
}

/* Empties a ring as far as room and work allow; false: something is left. */
static bool drain(struct timers *timers, struct net_timer *head, struct collection *collection)
{
    while (!ring_empty(head)) {
        if (collection->count == collection->max || collection->work == 0)
            return false;
        collection->work--;
        settle(timers, head->next, collection);
    }
    return true;
}

/* Works off all ticks up to now, as far as room and work allow. */
static void advance(struct timers *timers, struct collection *collection)
{
    while (timers->tick <= collection->now) {
        uint64_t work = next_work(timers);
        unsigned slot = (unsigned)work & SLOT_MASK;

        if (work > collection->now) {
            timers->tick = collection->now + 1;
            return;
        }
        timers->tick = work;
        begin_slots(timers);
        if (!drain(timers, &timers->slots[0][slot], collection))
            return;
        clear(timers, 0, slot);
        timers->tick++;
    }
}

unsigned timers_collect(struct timers *timers, uint64_t now_us, struct net_timer **due,
                        unsigned max)
{
    struct collection collection = {.now = now_us / TIMERS_TICK_US, .due = due, .max = max};

    if (timers->armed == 0 && collection.now >= timers->tick) {
        timers->tick = collection.now + 1;
        return 0;
    }
    if (collection.now + 1 < timers->tick)
        collection.now = timers->tick - 1;
    else if (collection.now > timers->tick && collection.now - timers->tick > SPAN_TICKS)
        collection.now = timers->tick + SPAN_TICKS;
    /* Neither of the two can keep the other waiting. */
    collection.work = TIMERS_WORK_MAX / 2;
    drain(timers, &timers->moving, &collection);
    collection.work += TIMERS_WORK_MAX / 2;
    advance(timers, &collection);
    drain(timers, &timers->moving, &collection);
    return collection.count;
}

uint64_t timers_next_us(const struct timers *timers)
{
    uint64_t work;

    if (timers->armed == 0)
        return TIMERS_NEVER;
    if (!ring_empty(&timers->moving))
        return 0;
    work = next_work(timers);
    /* Deadlines are never sooner than the next tick, bits of cancelled timers may be. */
    return work == UINT64_MAX ? TIMERS_NEVER : work * TIMERS_TICK_US;
}

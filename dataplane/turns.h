/* Turns of one worker's loop: the CPU time they take, and gaps in which the thread did not run.
 * Purpose:   the CPU clock of a thread costs a system call, so it is read only when a turn was long
 *            or the last reading is old. Where the wall clock went farther than the CPU clock
 *            though the thread never gave up its core, somebody took the core: another program, or
 *            the host of a virtual machine. Such gaps are kept, so that a benchmark can tell what
 *            the machine did from what the server did. Work of the worker's own, interrupts and
 *            page faults included, is CPU time and never a gap.
 * Ownership: the worker's. Times are arguments, so a test replays them.
 * Threading: one worker.
 * Errors:    none; of more than TURNS_GAPS_KEPT gaps the oldest are forgotten. */
#ifndef DATAPLANE_TURNS_H
#define DATAPLANE_TURNS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    TURNS_READ_NS = 50000,   /* age of a reading from which the CPU clock is read again */
    TURNS_GAP_NS = 20000,    /* shortest gap: below it the two clocks' own jitter counts */
    TURNS_DRIFT_PARTS = 500, /* ... and 1/500 of the span more: the clocks drift apart */
    TURNS_GAPS_KEPT = 4096,
};

/* Somewhere between two readings, `lost_ns` in all (CLOCK_MONOTONIC). */
struct turns_gap {
    uint64_t begin_ns;
    uint64_t end_ns;
    uint64_t lost_ns;
};

struct turns {
    uint64_t ended_ns;   /* when the last turn ended */
    uint64_t read_ns;    /* when the CPU clock was last read ... */
    uint64_t cpu_ns;     /* ... and what it said */
    uint64_t sleeps;     /* times that the thread had given up its core by then */
    uint64_t gaps_count; /* ever; gap N lies at N % TURNS_GAPS_KEPT */
    struct turns_gap gaps[TURNS_GAPS_KEPT];
};

/* Begins at `now_ns`, with the CPU clock at `cpu_ns`. */
void turns_begin(struct turns *turns, uint64_t now_ns, uint64_t cpu_ns, uint64_t sleeps);

/* A turn ended. True: turns_read is wanted. */
static inline bool turns_end(struct turns *turns, uint64_t now_ns)
{
    if (now_ns - turns->read_ns >= TURNS_READ_NS)
        return true;
    turns->ended_ns = now_ns;
    return false;
}

/* The same with a reading. Returns the CPU time of the turn, at most TURNS_READ_NS too much, in ns;
 * *lost_ns is the time since the last reading in which the thread did not run. */
uint64_t turns_read(struct turns *turns, uint64_t now_ns, uint64_t cpu_ns, uint64_t *lost_ns);

/* After a turns_read that lost time: `sleeps` as of now. True: the thread never slept, so the time
 * was taken from it, and the gap is kept. */
bool turns_gap(struct turns *turns, uint64_t sleeps, uint64_t lost_ns);

#endif

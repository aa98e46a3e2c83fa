/* Gaps: moments in which the machine ran neither the server nor this program, and latency without.
 * Purpose:   on a virtual or shared machine somebody takes a core now and then, and all requests on
 *            their way wait. That says nothing of the server, so its latency is reported a second
 *            time without the requests that such a gap hit. What counts as a gap is never read off
 *            a reply:
 *            - of this program: its loop reads the clock every few events, and between two readings
 *              more than GAPS_OWN_NS passed;
 *            - of the server: a worker that polls and never sleeps found that its CPU clock had
 *              stopped while the wall clock went on (POLLUX GAPS). Whatever the server does itself
 *              is CPU time, so it stays in.
 *            A request is left out if it was due within a gap, within GAPS_LEAD_NS before (it was on
 *            its way) or for as long after as the gap had lasted (the queue that it left drains).
 * Ownership: gaps_create to gaps_destroy. Memory for all samples is taken and touched at once.
 * Threading: one thread.
 * Errors:    negative errno; what is no longer kept is counted, and the caller asks. */
#ifndef POLLUX_BENCH_GAPS_H
#define POLLUX_BENCH_GAPS_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/pollux-bench/ask.h"
#include "tools/pollux-bench/histogram.h"

enum {
    GAPS_OWN_NS = 20000,    /* no work between two clock readings takes that long */
    GAPS_LEAD_NS = 20000,   /* a request on its way is hit as well */
    GAPS_VAGUE_NS = 200000, /* a gap that may lie anywhere in a longer span leaves nothing out */
    GAPS_MAX = 1 << 16,     /* of both sides */
    GAPS_SAMPLES_MAX = 1 << 26, /* requests of a run: 1 GiB */
};

/* Somewhere in the span, `lost_ns` in all. Clock of the caller. */
struct gap {
    uint64_t begin_ns;
    uint64_t end_ns;
    uint64_t lost_ns;
};

struct gap_side {
    uint64_t count;
    uint64_t lost_ns;
    uint64_t longest_ns;
    uint64_t vague; /* of them, that leave nothing out */
};

/* What the report says. */
struct gaps_report {
    struct gap_side own;
    struct gap_side server;
    uint64_t left_out; /* requests */
    struct histogram latency;
};

struct gaps;

/* Room for `samples_max` requests. -E2BIG over GAPS_SAMPLES_MAX, -ENOMEM. */
int gaps_create(struct gaps **gaps, uint64_t samples_max);
void gaps_destroy(struct gaps *gaps);

/* `times` replies came at `done_ns` to requests that were due at `due_ns`. */
void gaps_sample(struct gaps *gaps, uint64_t due_ns, uint64_t done_ns, uint32_t times);

void gaps_note_own(struct gaps *gaps, const struct gap *gap);
void gaps_note_server(struct gaps *gaps, const struct gap *gap);

/* Two clock readings of the loop, one after the other. */
static inline void gaps_look(struct gaps *gaps, uint64_t before_ns, uint64_t now_ns)
{
    if (now_ns - before_ns > GAPS_OWN_NS)
        gaps_note_own(gaps, &(struct gap){before_ns, now_ns, now_ns - before_ns});
}

/* The relation of two clocks, from two moments at which both were read. */
struct gaps_clock {
    uint64_t ours_ns[2];
    uint64_t theirs_ns[2];
};

/* Reads a reply to POLLUX GAPS and notes what overlaps [from_ns, until_ns]. -EPROTO for another
 * shape, -ENOBUFS if the server no longer keeps the first gaps of the span. */
int gaps_read(struct gaps *gaps, struct ask_cursor *cursor, const struct gaps_clock *clock,
              uint64_t from_ns, uint64_t until_ns);

/* Leaves out what the gaps hit. -ENOBUFS if there was no room for all gaps or samples. */
int gaps_finish(struct gaps *gaps, struct gaps_report *report);

#endif

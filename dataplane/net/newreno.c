/* Congestion avoidance of RFC 5681: one segment of growth for each window acknowledged, half the
 * flight after an event. */
#include "dataplane/net/congestion.h"

static void newreno_init(struct congestion *congestion)
{
    congestion->newreno = (struct newreno){0};
}

/* Section 3.1, the counting variant of RFC 3465 section 2.1. */
static void newreno_avoid(struct congestion *congestion, uint32_t bytes, uint32_t srtt_us,
                          uint64_t now_us)
{
    struct newreno *newreno = &congestion->newreno;

    newreno->acked += bytes;
    if (newreno->acked < congestion->cwnd)
        return;
    newreno->acked -= congestion->cwnd;
    /* One window at most is carried over, however much a stretch ACK covers. */
    if (newreno->acked > congestion->cwnd)
        newreno->acked = congestion->cwnd;
    congestion->cwnd += congestion->mss;
}

/* Section 3.1, equation 4. */
static void newreno_event(struct congestion *congestion, uint32_t flight)
{
    uint32_t least = 2 * congestion->mss;

    congestion->ssthresh = flight / 2 > least ? flight / 2 : least;
    congestion->newreno.acked = 0;
}

static void newreno_undo(struct congestion *congestion)
{
    congestion->newreno.acked = 0;
}

const struct congestion_ops congestion_newreno = {
    .name = "newreno",
    .init = newreno_init,
    .avoid = newreno_avoid,
    .event = newreno_event,
    .undo = newreno_undo,
};

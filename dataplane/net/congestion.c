#include "dataplane/net/congestion.h"

#include <assert.h>

uint32_t congestion_initial_window(uint32_t mss)
{
    uint32_t cap = mss > 7300 ? 2 * mss : 14600;

    return 10 * mss < cap ? 10 * mss : cap;
}

void congestion_init(struct congestion *congestion, const struct congestion_ops *ops, uint32_t mss,
                     bool syn_was_lost)
{
    assert(mss != 0 && mss <= UINT16_MAX);
    *congestion = (struct congestion){.ops = ops, .mss = mss};
    congestion->cwnd = syn_was_lost ? mss : congestion_initial_window(mss);
    congestion->ssthresh = CONGESTION_SSTHRESH_NONE;
    congestion->before_cwnd = congestion->cwnd;
    congestion->before_ssthresh = congestion->ssthresh;
    ops->init(congestion);
}

/* RFC 5681 section 3.1 with the byte counting of RFC 3465. Returns the bytes that are left over
 * when ssthresh is reached. */
static uint32_t slow_start(struct congestion *congestion, uint32_t bytes, unsigned limit)
{
    uint32_t room = congestion->ssthresh - congestion->cwnd;
    uint32_t grow = bytes < limit * congestion->mss ? bytes : limit * congestion->mss;

    if (grow < room) {
        congestion->cwnd += grow;
        return 0;
    }
    congestion->cwnd = congestion->ssthresh;
    return grow - room;
}

void congestion_acked(struct congestion *congestion, uint32_t bytes, bool full, unsigned limit,
                      uint32_t srtt_us, uint64_t now_us)
{
    if (!full || congestion->cwnd >= CONGESTION_WINDOW_MAX)
        return;
    if (congestion->cwnd < congestion->ssthresh)
        bytes = slow_start(congestion, bytes, limit);
    if (bytes != 0 && congestion->cwnd >= congestion->ssthresh)
        congestion->ops->avoid(congestion, bytes, srtt_us, now_us);
    if (congestion->cwnd > CONGESTION_WINDOW_MAX)
        congestion->cwnd = CONGESTION_WINDOW_MAX;
}

void congestion_event(struct congestion *congestion, uint32_t flight)
{
    congestion->before_cwnd = congestion->cwnd;
    congestion->before_ssthresh = congestion->ssthresh;
    congestion->ops->event(congestion, flight);
}

void congestion_undo(struct congestion *congestion)
{
    if (congestion->cwnd < congestion->before_cwnd)
        congestion->cwnd = congestion->before_cwnd;
    if (congestion->ssthresh < congestion->before_ssthresh)
        congestion->ssthresh = congestion->before_ssthresh;
    congestion->ops->undo(congestion);
}

void congestion_idle(struct congestion *congestion)
{
    uint32_t restart = congestion_initial_window(congestion->mss);

    if (congestion->cwnd <= restart)
        return;
    /* What the path has carried is worth remembering in ssthresh (RFC 2861 section 3.1). */
    if (congestion->ssthresh < congestion->cwnd / 4 * 3)
        congestion->ssthresh = congestion->cwnd / 4 * 3;
    congestion->cwnd = restart;
}

/* CUBIC, RFC 9438: the window is a cubic function of the time since the last congestion event, with
 * its plateau where the event came. Computed in segments, kept in bytes. */
#include "dataplane/net/congestion.h"

#include <math.h>

static const float CUBIC_C = 0.4f;                /* section 5.1: segments per second cubed */
static const float CUBIC_ALPHA = 3 * 0.3f / 1.7f; /* section 4.3, of beta = 0.7 */
enum { CUBIC_BETA_TENTHS = 7, CUBIC_K_MAX_US = 1000 * 1000 * 1000 };

static void cubic_init(struct congestion *congestion)
{
    congestion->cubic = (struct cubic){0};
}

/* Section 4.2: the curve of this stretch of congestion avoidance. */
static void cubic_begin(struct congestion *congestion, uint64_t now_us)
{
    struct cubic *cubic = &congestion->cubic;
    float mss = (float)congestion->mss;
    float k_us = 0;

    cubic->epoch_us = cubic->last_us = now_us;
    cubic->grown = 0;
    cubic->estimate = (float)congestion->cwnd / mss;
    cubic->origin = cubic->estimate;
    if (cubic->w_max > congestion->cwnd) {
        cubic->origin = (float)cubic->w_max / mss;
        k_us = cbrtf((cubic->origin - cubic->estimate) / CUBIC_C) * 1e6f;
    }
    cubic->k_us = k_us < CUBIC_K_MAX_US ? (uint32_t)k_us : CUBIC_K_MAX_US;
}

/* Equation 1, at `at_us` after the epoch's start. */
static float cubic_window(const struct cubic *cubic, uint64_t at_us)
{
    float t = (float)((int64_t)at_us - (int64_t)cubic->k_us) * 1e-6f;

    return CUBIC_C * t * t * t + cubic->origin;
}

/* Section 4.3: what Reno with the same reduction would have reached. */
static float cubic_friendly(struct congestion *congestion, float cwnd, float acked)
{
    struct cubic *cubic = &congestion->cubic;
    bool caught_up = congestion->cwnd >= congestion->before_cwnd;

    cubic->estimate += (caught_up ? 1 : CUBIC_ALPHA) * acked / cwnd;
    return cubic->estimate;
}

static void cubic_avoid(struct congestion *congestion, uint32_t bytes, uint32_t srtt_us,
                        uint64_t now_us)
{
    struct cubic *cubic = &congestion->cubic;
    float mss = (float)congestion->mss;
    float cwnd = (float)congestion->cwnd / mss;
    float target, friendly;

    if (cubic->epoch_us == 0)
        cubic_begin(congestion, now_us);
    /* Section 5.8 and the end of 4.2: time in which the window was not used up does not count. */
    if (now_us - cubic->last_us > 2 * (uint64_t)srtt_us)
        cubic->epoch_us += now_us - cubic->last_us - srtt_us;
    cubic->last_us = now_us;

    target = cubic_window(cubic, now_us - cubic->epoch_us + srtt_us);
    friendly = cubic_friendly(congestion, cwnd, (float)bytes / mss);
    if (target > 1.5f * cwnd)
        target = 1.5f * cwnd;
    if (target > cwnd)
        cubic->grown += (target - cwnd) / cwnd * (float)bytes;
    if (friendly * mss > (float)congestion->cwnd + cubic->grown) {
        /* Not by more than slow start would: the estimate runs free while cwnd is capped. */
        float most = (float)(2 * congestion->mss);
        float more = friendly * mss - (float)congestion->cwnd;

        cubic->grown = more < most ? more : most;
    }
    if (cubic->grown >= 1) {
        uint32_t whole = (uint32_t)cubic->grown;

        congestion->cwnd += whole;
        cubic->grown -= (float)whole;
    }
}

/* Sections 4.6 and 4.7. The share is taken of cwnd, not of the flight, as section 4.6 allows where
 * cwnd grows only while it is used up: a lost reply does not cost an idle connection its window. */
static void cubic_event(struct congestion *congestion, uint32_t flight)
{
    struct cubic *cubic = &congestion->cubic;
    uint32_t reduced = (uint32_t)((uint64_t)congestion->cwnd * CUBIC_BETA_TENTHS / 10);
    uint32_t least = 2 * congestion->mss;

    cubic->w_max_before = cubic->w_max;
    /* Fast convergence: less than last time means that others need room. */
    if (congestion->cwnd < cubic->w_max)
        cubic->w_max = (uint32_t)((uint64_t)congestion->cwnd * (10 + CUBIC_BETA_TENTHS) / 20);
    else
        cubic->w_max = congestion->cwnd;
    cubic->epoch_us = 0;
    congestion->ssthresh = reduced > least ? reduced : least;
}

/* Section 4.9. */
static void cubic_undo(struct congestion *congestion)
{
    congestion->cubic.w_max = congestion->cubic.w_max_before;
    congestion->cubic.epoch_us = 0;
}

const struct congestion_ops congestion_cubic = {
    .name = "cubic",
    .init = cubic_init,
    .avoid = cubic_avoid,
    .event = cubic_event,
    .undo = cubic_undo,
};

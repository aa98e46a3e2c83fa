/* Windows of NewReno and CUBIC against the RFCs' own formulas. */
#include <criterion/criterion.h>

#include <math.h>

#include "dataplane/net/congestion.h"

enum { MSS = 1000, S = 1000 * 1000, MS = 1000 };

static struct congestion started(const struct congestion_ops *ops, uint32_t mss)
{
    struct congestion congestion;

    congestion_init(&congestion, ops, mss, false);
    return congestion;
}

/* One window of full segments is acknowledged, two by two, at `now_us`. */
static void round_trip(struct congestion *congestion, uint64_t now_us, uint32_t srtt_us)
{
    uint32_t window = congestion->cwnd;

    for (uint32_t acked = 0; acked + 2 * congestion->mss <= window; acked += 2 * congestion->mss)
        congestion_acked(congestion, 2 * congestion->mss, true, 2, srtt_us, now_us);
}

Test(congestion, begins_with_ten_segments_and_fewer_large_ones)
{
    cr_assert_eq(started(&congestion_newreno, 536).cwnd, 5360);
    cr_assert_eq(started(&congestion_newreno, 1460).cwnd, 14600);
    cr_assert_eq(started(&congestion_newreno, 4000).cwnd, 14600);
    cr_assert_eq(started(&congestion_newreno, 8960).cwnd, 2 * 8960);
}

Test(congestion, begins_with_one_after_a_lost_syn)
{
    struct congestion congestion;

    congestion_init(&congestion, &congestion_cubic, 1460, true);
    cr_assert_eq(congestion.cwnd, 1460);
}

Test(congestion, slow_start_doubles_each_round_trip)
{
    struct congestion congestion = started(&congestion_newreno, MSS);

    round_trip(&congestion, S, 10 * MS);
    cr_assert_eq(congestion.cwnd, 20 * MSS);
    round_trip(&congestion, S, 10 * MS);
    cr_assert_eq(congestion.cwnd, 40 * MSS);
}

Test(congestion, slow_start_takes_two_segments_of_a_stretch_ack)
{
    struct congestion congestion = started(&congestion_newreno, MSS);

    congestion_acked(&congestion, 10 * MSS, true, 2, 1, S);
    cr_assert_eq(congestion.cwnd, 12 * MSS);
    congestion_acked(&congestion, 10 * MSS, true, 1, 1, S); /* after a timeout: one */
    cr_assert_eq(congestion.cwnd, 13 * MSS);
}

Test(congestion, split_acknowledgments_gain_nothing)
{
    struct congestion congestion = started(&congestion_newreno, MSS);

    for (unsigned i = 0; i < MSS; i++) /* one segment, byte by byte */
        congestion_acked(&congestion, 1, true, 2, 1, S);
    cr_assert_eq(congestion.cwnd, 11 * MSS);
}

Test(congestion, a_window_not_used_up_does_not_grow)
{
    struct congestion reno = started(&congestion_newreno, MSS);
    struct congestion cubic = started(&congestion_cubic, MSS);

    for (unsigned i = 0; i < 1000; i++) {
        congestion_acked(&reno, 2 * MSS, false, 2, MS, S + i);
        congestion_acked(&cubic, 2 * MSS, false, 2, MS, S + i);
    }
    cr_assert_eq(reno.cwnd, 10 * MSS);
    cr_assert_eq(cubic.cwnd, 10 * MSS);
}

Test(newreno, halves_the_flight_and_keeps_two_segments)
{
    struct congestion congestion = started(&congestion_newreno, MSS);

    congestion_event(&congestion, 9 * MSS);
    cr_assert_eq(congestion.ssthresh, 4500);
    cr_assert_eq(congestion.cwnd, 10 * MSS, "the reduction itself is recovery's");
    congestion_event(&congestion, MSS);
    cr_assert_eq(congestion.ssthresh, 2 * MSS);
}

Test(newreno, avoidance_adds_a_segment_each_round_trip)
{
    struct congestion congestion = started(&congestion_newreno, MSS);

    congestion.cwnd = congestion.ssthresh = 20 * MSS;
    for (unsigned i = 1; i <= 10; i++) {
        uint32_t window = congestion.cwnd;

        for (uint32_t acked = 0; acked < window; acked += MSS)
            congestion_acked(&congestion, MSS, true, 2, 1, S);
        cr_assert_eq(congestion.cwnd, (20 + i) * MSS, "round trip %u: %u", i, congestion.cwnd);
    }
}

Test(congestion, slow_start_ends_at_ssthresh)
{
    struct congestion congestion = started(&congestion_newreno, MSS);

    congestion.ssthresh = 11 * MSS + 500;
    congestion_acked(&congestion, 2 * MSS, true, 2, 1, S);
    cr_assert_eq(congestion.cwnd, 11 * MSS + 500);
}

Test(congestion, undo_restores_what_the_event_took)
{
    const struct congestion_ops *both[] = {&congestion_newreno, &congestion_cubic};

    for (unsigned i = 0; i < 2; i++) {
        struct congestion congestion = started(both[i], MSS);

        congestion.cwnd = 50 * MSS;
        congestion.ssthresh = 60 * MSS;
        congestion_event(&congestion, 50 * MSS);
        congestion.cwnd = MSS;
        congestion_undo(&congestion);
        cr_assert_eq(congestion.cwnd, 50 * MSS, "%s", both[i]->name);
        cr_assert_eq(congestion.ssthresh, 60 * MSS, "%s", both[i]->name);
    }
}

Test(congestion, undo_never_takes_away)
{
    struct congestion congestion = started(&congestion_newreno, MSS);

    congestion_event(&congestion, 10 * MSS);
    congestion.cwnd = 30 * MSS; /* has grown since */
    congestion_undo(&congestion);
    cr_assert_eq(congestion.cwnd, 30 * MSS);
    cr_assert_eq(congestion.ssthresh, (uint32_t)CONGESTION_SSTHRESH_NONE);
}

Test(congestion, idle_restarts_at_the_initial_window_and_remembers)
{
    struct congestion congestion = started(&congestion_cubic, MSS);

    congestion.cwnd = 100 * MSS;
    congestion.ssthresh = 20 * MSS;
    congestion_idle(&congestion);
    cr_assert_eq(congestion.cwnd, 10 * MSS);
    cr_assert_eq(congestion.ssthresh, 75 * MSS);
    congestion.cwnd = 3 * MSS;
    congestion_idle(&congestion);
    cr_assert_eq(congestion.cwnd, 3 * MSS, "idleness gives nothing");
}

Test(congestion, no_window_outgrows_what_a_peer_can_offer)
{
    const struct congestion_ops *both[] = {&congestion_newreno, &congestion_cubic};

    for (unsigned i = 0; i < 2; i++) {
        struct congestion congestion = started(both[i], 8960);

        for (unsigned j = 0; j < 200000; j++)
            congestion_acked(&congestion, UINT32_MAX / 2, true, 2, MS, S + j * (uint64_t)S);
        cr_assert_leq(congestion.cwnd, CONGESTION_WINDOW_MAX, "%s", both[i]->name);
        congestion_event(&congestion, congestion.cwnd);
        cr_assert_leq(congestion.ssthresh, congestion.cwnd, "%s", both[i]->name);
    }
}

/* ---- CUBIC ---- */

static void lose(struct congestion *congestion)
{
    congestion_event(congestion, congestion->cwnd);
    congestion->cwnd = congestion->ssthresh;
}

Test(cubic, keeps_seven_tenths)
{
    struct congestion congestion = started(&congestion_cubic, MSS);

    congestion.cwnd = 100 * MSS;
    lose(&congestion);
    cr_assert_eq(congestion.cwnd, 70 * MSS);
}

Test(cubic, a_lost_reply_costs_no_more_with_little_in_flight)
{
    struct congestion congestion = started(&congestion_cubic, MSS);

    congestion_event(&congestion, 100); /* one small reply was out */
    cr_assert_eq(congestion.ssthresh, 7 * MSS);
}

/* RFC 9438 section 4.2: concave up to W_max, reached after K seconds, convex beyond. */
Test(cubic, follows_the_curve_of_the_rfc)
{
    struct congestion congestion = started(&congestion_cubic, MSS);
    const uint32_t rtt_us = 100 * MS;
    const double w_max = 1000, start = 700;
    const double k = cbrt((w_max - start) / 0.4);
    uint64_t now_us = 5 * (uint64_t)S, epoch_us = now_us;

    congestion.cwnd = 1000 * MSS;
    lose(&congestion);
    for (unsigned i = 0; i < 150; i++) {
        double t = (double)(now_us - epoch_us + rtt_us) * 1e-6;
        double expected = 0.4 * pow(t - k, 3) + w_max;

        round_trip(&congestion, now_us, rtt_us);
        cr_assert_float_eq((double)congestion.cwnd / MSS, expected, 0.02 * expected,
                           "round trip %u: %u bytes, %f segments expected", i, congestion.cwnd,
                           expected);
        now_us += rtt_us;
    }
    cr_assert_gt(congestion.cwnd, 1000 * MSS);
}

/* Section 4.3: on short paths it is no slower than Reno would be. */
Test(cubic, is_reno_friendly_on_short_paths)
{
    struct congestion congestion = started(&congestion_cubic, MSS);
    const uint32_t rtt_us = MS;
    const double alpha = 3 * 0.3 / 1.7;
    uint64_t now_us = S;

    congestion.cwnd = 40 * MSS;
    lose(&congestion);
    for (unsigned i = 0; i < 10; i++) {
        round_trip(&congestion, now_us, rtt_us);
        now_us += rtt_us;
    }
    cr_assert_float_eq((double)congestion.cwnd / MSS, 28 + 10 * alpha, 1.0, "%u", congestion.cwnd);
}

Test(cubic, gives_way_when_the_second_loss_comes_earlier)
{
    struct congestion congestion = started(&congestion_cubic, MSS);

    congestion.cwnd = 100 * MSS;
    lose(&congestion);
    cr_assert_eq(congestion.cubic.w_max, 100 * MSS);
    congestion.cwnd = 80 * MSS;
    lose(&congestion);
    cr_assert_eq(congestion.cubic.w_max, 68 * MSS); /* 80 * (1 + 0.7) / 2 */
}

/* Section 4.2: time in which the application held back is not time on the curve. */
Test(cubic, a_pause_does_not_let_the_window_leap)
{
    struct congestion congestion = started(&congestion_cubic, MSS);
    uint32_t before;

    congestion.cwnd = 100 * MSS;
    lose(&congestion);
    round_trip(&congestion, S, 10 * MS);
    before = congestion.cwnd;
    round_trip(&congestion, 600 * (uint64_t)S, 10 * MS);
    cr_assert_leq(congestion.cwnd, before + 2 * MSS, "%u to %u", before, congestion.cwnd);
}

Test(cubic, grows_by_half_at_most_each_round_trip)
{
    struct congestion congestion = started(&congestion_cubic, MSS);
    uint64_t now_us = S;

    congestion.cwnd = 1000 * MSS;
    lose(&congestion);
    for (unsigned i = 0; i < 20; i++) {
        uint32_t before = congestion.cwnd;

        round_trip(&congestion, now_us, 2 * S);
        cr_assert_leq(congestion.cwnd, before + before / 2 + 2 * MSS);
        now_us += 2 * S;
    }
}

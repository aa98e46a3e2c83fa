/* Loss recovery, one behaviour of the RFCs at a time. */
#include "tests/unit/net/recovery_line.h"

enum { RTT_US = 20000 };

static struct line line;

/* Ten packets are out and a round trip is known; the clock stands a round trip after them. */
static void ten_out_with(const struct congestion_ops *ops, bool sack, bool stamps)
{
    line_init(&line, ops, 0xfffff000u, sack, stamps);
    line_send(&line, 1);
    line_pass(&line, RTT_US);
    line_ack(&line, 1);
    line_pass(&line, RTT_US);
    line_send(&line, 10);
    line_pass(&line, RTT_US);
}

static void ten_out(void)
{
    ten_out_with(&congestion_newreno, true, false);
}

Test(recovery, a_reply_and_its_ack_leave_nothing_behind)
{
    line_init(&line, &congestion_cubic, 5, true, true);
    line_send(&line, 1);
    cr_assert_eq(line.recovery.pipe_bytes, LINE_MSS);
    line_pass(&line, RTT_US);
    line_ack(&line, 1);
    cr_assert_eq(line.news.acked_bytes, LINE_MSS);
    cr_assert_eq(line.short_ways, 1);
    cr_assert_eq(line.recovery.pipe_bytes, 0);
    cr_assert_eq(recovery_deadline_us(&line.recovery), UINT64_MAX);
    cr_assert_eq(rtt_smoothed_us(&line.recovery.rtt), RTT_US);
    cr_assert_eq(line.packets[0].state & ~(uint32_t)RECOVERY_STATE, 0xabcd0000u,
                 "bits of others stay");
}

Test(recovery, the_initial_window_lets_ten_packets_go)
{
    line_init(&line, &congestion_cubic, 5, true, true);
    cr_assert_eq(line_output(&line, 100), 10);
    cr_assert_eq(recovery_room(&line.recovery, line.now_us), 0);
}

Test(recovery, slow_start_opens_two_for_one)
{
    line_init(&line, &congestion_cubic, 5, true, true);
    line_output(&line, 100);
    line_pass(&line, RTT_US);
    line_ack(&line, 2);
    cr_assert_eq(line_output(&line, 100), 4);
}

Test(recovery, one_packet_in_flight_does_not_grow_the_window)
{
    line_init(&line, &congestion_cubic, 5, true, true);
    for (unsigned i = 0; i < 50; i++) {
        line_send(&line, 1);
        line_pass(&line, RTT_US);
        line_ack(&line, i + 1);
    }
    cr_assert_eq(line.recovery.congestion.cwnd, 10 * LINE_MSS);
}

Test(recovery, an_idle_connection_starts_with_the_initial_window)
{
    line_init(&line, &congestion_cubic, 5, true, true);
    line.recovery.congestion.cwnd = 100 * LINE_MSS;
    line_send(&line, 1);
    line_pass(&line, RTT_US);
    line_ack(&line, 1);
    cr_assert_eq(recovery_room(&line.recovery, line.now_us), 100 * LINE_MSS);
    line_pass(&line, 10 * 1000000);
    cr_assert_eq(recovery_room(&line.recovery, line.now_us), 10 * LINE_MSS);
}

Test(recovery, half_an_acknowledged_packet_stays)
{
    struct recovery_ack ack = {.now_us = LINE_START_US};

    ten_out();
    ack.ack = line_seq(&line, 1) + 400;
    line_take(&line, &ack);
    cr_assert_eq(line.news.left, &line.packets[1]);
    cr_assert_eq(line.recovery.pipe_bytes, 10 * LINE_MSS);
    line_ack(&line, 3);
    cr_assert_eq(line.news.acked_bytes, 2 * LINE_MSS - 400);
}

/* ---- SACK and RACK ---- */

Test(recovery, three_later_packets_sacked_mean_a_loss)
{
    ten_out();
    line_sack(&line, 1, 2, 3);
    cr_assert_not(line.news.entered);
    line_sack(&line, 1, 2, 4);
    cr_assert_not(line.news.entered);
    line_sack(&line, 1, 2, 5);
    cr_assert(line.news.entered);
    cr_assert_eq(line_state(&line, 1), RECOVERY_LOST);
    cr_assert_eq(line.recovery.congestion.ssthresh, 5 * LINE_MSS);
    cr_assert_eq(recovery_lost(&line.recovery, line_queue(&line)), &line.packets[1]);
    cr_assert(recovery_may_send(&line.recovery, LINE_MSS, line.now_us));
}

Test(recovery, one_later_packet_and_a_quarter_round_trip_mean_a_loss)
{
    ten_out();
    line_sack(&line, 1, 2, 3);
    cr_assert_eq(recovery_deadline_us(&line.recovery), line.now_us + RTT_US / 4);
    cr_assert_eq(line_expire(&line), RECOVERY_OUTPUT);
    cr_assert_eq(line_state(&line, 1), RECOVERY_LOST);
    cr_assert_eq(line.recovery.phase, RECOVERY_REPAIR);
    cr_assert(recovery_may_send(&line.recovery, LINE_MSS, line.now_us));
}

Test(recovery, a_packet_that_was_only_late_is_not_sent_again)
{
    ten_out();
    line_sack(&line, 1, 2, 3);
    line_pass(&line, RTT_US / 8);
    line_ack(&line, 4);
    cr_assert(line.recovery.reordering);
    cr_assert_eq(line.recovery.lost_bytes, 0);
    cr_assert_eq(line.recovery.phase, RECOVERY_OPEN);
}

Test(recovery, after_reordering_three_sacked_packets_are_not_enough)
{
    ten_out();
    line_sack(&line, 1, 2, 3);
    line_ack(&line, 3);
    line_sack(&line, 3, 4, 9);
    cr_assert_not(line.news.entered);
    cr_assert_eq(line_expire(&line), RECOVERY_OUTPUT);
    cr_assert_eq(line_state(&line, 3), RECOVERY_LOST);
}

Test(recovery, every_hole_below_the_newest_is_lost)
{
    ten_out();
    line_ack_echo(&line, 1, 0, 3, (const unsigned[3][2]){{8, 11}, {5, 6}, {2, 3}});
    for (unsigned i = 1; i < 11; i++) {
        bool sacked = i == 2 || i == 5 || i >= 8;

        cr_assert_eq(line_state(&line, i), sacked ? RECOVERY_SACKED : RECOVERY_LOST, "%u", i);
    }
    cr_assert_eq(line.recovery.pipe_bytes, 0);
    cr_assert_eq(line.recovery.lost_bytes, 5 * LINE_MSS);
}

Test(recovery, a_lost_retransmission_is_found_by_time)
{
    ten_out();
    line_sack(&line, 1, 2, 6);
    line_output(&line, 0);
    cr_assert_eq(line_state(&line, 1), RECOVERY_RESENT);
    line_pass(&line, 100);
    line_send(&line, 1); /* packet 11, after it */
    line_pass(&line, 2 * RTT_US);
    line_ack_echo(&line, 1, 0, 1, (const unsigned[1][2]){{2, 12}});
    cr_assert_eq(line_state(&line, 1), RECOVERY_RESENT | RECOVERY_LOST);
    cr_assert_eq(line.recovery.congestion.ssthresh, 5 * LINE_MSS, "one reduction is enough");
}

Test(recovery, ends_when_all_that_was_out_has_arrived)
{
    ten_out();
    line_sack(&line, 1, 2, 6);
    line_output(&line, 2);
    line_pass(&line, RTT_US);
    line_ack(&line, 10);
    cr_assert_eq(line.recovery.phase, RECOVERY_REPAIR);
    line_ack(&line, 11);
    cr_assert_eq(line.recovery.phase, RECOVERY_OPEN);
    cr_assert_eq(line.recovery.congestion.cwnd, 5 * LINE_MSS);
}

Test(recovery, proportional_reduction_sends_one_for_two)
{
    unsigned sent = 0;

    ten_out();
    line_sack(&line, 1, 2, 5);
    sent += line_output(&line, 100);
    cr_assert_eq(sent, 1, "only the fast retransmit: %u", sent);
    for (unsigned to = 6; to <= 11; to++) {
        line_sack(&line, 1, 2, to);
        sent += line_output(&line, 100);
    }
    /* Nine packets of ten have arrived, and half as many have gone out. */
    cr_assert_eq(sent, 5, "%u", sent);
}

Test(recovery, blocks_that_cannot_be_are_not_heard)
{
    static const unsigned made_up[][2] = {
        {4, 3},           /* backwards */ {5, 5}, /* empty */
        {1, 4},  /* begins at una: it would have been acknowledged */
        {0, 4},  /* begins before it */
        {3, 12}, /* ends in what was never sent */
        {900000, 900001},
    };

    ten_out();
    for (unsigned i = 0; i < sizeof(made_up) / sizeof(made_up[0]); i++) {
        line_ack_echo(&line, 1, 0, 1, &made_up[i]);
        cr_assert_eq(line.recovery.sacked_bytes, 0, "block %u", i);
    }
}

Test(recovery, a_block_that_covers_half_a_packet_marks_only_whole_ones)
{
    struct tcp_sack sack = {0, 0};
    struct recovery_ack ack = {.sack_count = 1, .sack = &sack};

    ten_out();
    ack.now_us = line.now_us;
    ack.ack = line_seq(&line, 1);
    sack = (struct tcp_sack){line_seq(&line, 2) + 1, line_seq(&line, 5) - 1};
    line_take(&line, &ack);
    cr_assert_eq(line.recovery.sacked_bytes, LINE_MSS);
    cr_assert_eq(line_state(&line, 3), RECOVERY_SACKED);
}

Test(recovery, nested_and_repeated_blocks_count_once)
{
    ten_out();
    line_ack_echo(&line, 1, 0, 4, (const unsigned[4][2]){{3, 8}, {4, 5}, {3, 8}, {2, 9}});
    cr_assert_eq(line.recovery.sacked_bytes, 7 * LINE_MSS);
    line_ack_echo(&line, 1, 0, 4, (const unsigned[4][2]){{3, 8}, {4, 5}, {3, 8}, {2, 9}});
    cr_assert_eq(line.recovery.sacked_bytes, 7 * LINE_MSS);
}

Test(recovery, sack_from_a_peer_that_did_not_agree_is_not_heard)
{
    ten_out_with(&congestion_newreno, false, false);
    line_sack(&line, 1, 3, 9);
    cr_assert_eq(line.recovery.sacked_bytes, 0);
}

Test(recovery, a_receiver_that_forgets_what_it_sacked_gets_it_again)
{
    ten_out();
    line_sack(&line, 1, 2, 6);
    line_output(&line, 0);
    line_pass(&line, RTT_US);
    line_ack(&line, 2); /* the hole is filled, and yet it does not go on: 2 to 5 are gone */
    while (line_expire(&line) != RECOVERY_RTO)
        line_output(&line, 0);
    cr_assert_eq(line.recovery.sacked_bytes, 0);
    for (unsigned rounds = 0; line.gone < 11; rounds++) {
        cr_assert_lt(rounds, 20);
        cr_assert_geq(line_output(&line, 0), 1);
        line_pass(&line, RTT_US);
        for (unsigned i = line.gone; i < 11 && line.packets[i].sends > 1; i++)
            line_ack(&line, i + 1);
    }
}

/* Two packets sent again in one instant, of which the first one has arrived: the second is not
 * overtaken, and no timer may be due for it over and over. */
Test(recovery, the_reordering_timer_does_not_spin)
{
    ten_out();
    line_ack_echo(&line, 1, 0, 1, (const unsigned[1][2]){{4, 11}});
    cr_assert_eq(line.recovery.lost_bytes, 3 * LINE_MSS);
    while (line.recovery.lost_bytes != 0)
        line_send_packet(&line, recovery_lost(&line.recovery, line_queue(&line)));
    line_pass(&line, 2 * RTT_US);
    line_ack(&line, 2);
    cr_assert_gt(recovery_deadline_us(&line.recovery), line.now_us);
    line_expire(&line);
    cr_assert_gt(recovery_deadline_us(&line.recovery), line.now_us);
}

/* ---- A flood of SACK blocks ---- */

Test(recovery, a_flood_of_holes_costs_what_was_sent_and_no_more)
{
    const unsigned out = 4000;
    uint64_t looked_at = 0;

    line_init(&line, &congestion_cubic, 0, true, false);
    line.recovery.congestion.cwnd = 1 << 29;
    line_send(&line, out);
    line_pass(&line, RTT_US);
    /* One packet of two, in an order that has each block begin far from the last. */
    for (unsigned i = 0; i < 20000; i++) {
        unsigned at = 2 + 2 * (unsigned)(i * 7919ull % (out / 2 - 1));
        unsigned before = line.recovery.credit;
        struct tcp_sack sack = {line_seq(&line, at), line_seq(&line, at + 1)};
        struct recovery_ack ack = {.now_us = line.now_us,
                                   .sack_count = 1,
                                   .sack = &sack,
                                   .duplicate = true};

        ack.ack = line_seq(&line, 0);
        recovery_acked(&line.recovery, line_queue(&line), &ack, &line.news);
        if (i >= 1000)
            looked_at += before + RECOVERY_CREDIT_EACH - line.recovery.credit;
    }
    line_check(&line);
    /* The savings are spent; from then on an ACK buys no more than its own. */
    cr_assert_leq(looked_at, 19000 * (uint64_t)RECOVERY_CREDIT_EACH + RECOVERY_CREDIT_MAX);
    cr_assert_leq(line.recovery.credit, 1000);
    cr_assert_gt(looked_at, 10000, "it does look");
}

Test(recovery, an_ordinary_burst_loss_is_walked_over_once)
{
    const unsigned out = 4000;

    line_init(&line, &congestion_cubic, 0, true, false);
    line.recovery.congestion.cwnd = 1 << 29;
    line_send(&line, out);
    line_pass(&line, RTT_US);
    line.recovery.credit = RECOVERY_CREDIT_MAX;
    /* Every hundredth is missing; the others come in order, with the three blocks of an honest
     * receiver: each is looked at once or twice. */
    for (unsigned i = 1; i < out; i++) {
        unsigned hole = i / 100 * 100;

        if (i == hole)
            continue;
        if (hole < 200)
            line_sack(&line, 0, hole + 1, i + 1);
        else
            line_ack_echo(&line, 0, 0, 3,
                          (const unsigned[3][2]){{hole + 1, i + 1},
                                                 {hole - 99, hole},
                                                 {hole - 199, hole - 100}});
        cr_assert_eq(line_state(&line, i), RECOVERY_SACKED, "packet %u", i);
    }
    for (unsigned i = 0; i < out - 100; i += 100)
        cr_assert_eq(line_state(&line, i), RECOVERY_LOST, "hole %u", i);
}

/* ---- Undo ---- */

Test(recovery, a_dsack_for_each_retransmission_takes_the_reduction_back)
{
    ten_out();
    line_sack(&line, 1, 2, 6);
    line_output(&line, 0);
    cr_assert_lt(line.recovery.congestion.cwnd, 10 * LINE_MSS);
    line_pass(&line, RTT_US / 2);
    line_ack(&line, 11); /* the late original fills the hole */
    line_ack_echo(&line, 11, 0, 1, (const unsigned[1][2]){{1, 2}});
    cr_assert(line.news.duplicate_told);
    cr_assert(line.news.undone);
    cr_assert_eq(line.recovery.congestion.cwnd, 10 * LINE_MSS);
    cr_assert_gt(line.recovery.reo_mult, 1, "and more reordering is put up with");
}

Test(recovery, one_dsack_of_two_takes_nothing_back)
{
    ten_out();
    line_ack_echo(&line, 1, 0, 2, (const unsigned[2][2]){{5, 11}, {3, 4}});
    cr_assert_eq(line.recovery.lost_bytes, 3 * LINE_MSS);
    while (line.recovery.lost_bytes != 0)
        line_send_packet(&line, recovery_lost(&line.recovery, line_queue(&line)));
    line_pass(&line, RTT_US);
    line_ack(&line, 11);
    line_ack_echo(&line, 11, 0, 1, (const unsigned[1][2]){{1, 2}});
    cr_assert_not(line.news.undone);
}

Test(recovery, a_duplicate_within_the_second_block_is_told_too)
{
    ten_out();
    line_ack_echo(&line, 1, 0, 2, (const unsigned[2][2]){{4, 5}, {3, 7}});
    cr_assert(line.news.duplicate_told);
    cr_assert_eq(line.recovery.sacked_bytes, 4 * LINE_MSS);
}

Test(recovery, an_echo_from_before_the_retransmission_takes_it_back)
{
    ten_out_with(&congestion_newreno, true, true);
    line_sack(&line, 1, 2, 6);
    line_output(&line, 0);
    line_pass(&line, 2000);
    line_ack_echo(&line, 6, RTT_US, 0, NULL); /* the original's timestamp */
    cr_assert(line.news.undone);
    cr_assert_eq(line.recovery.phase, RECOVERY_OPEN);
    cr_assert_geq(line.recovery.congestion.cwnd, 10 * LINE_MSS);
}

Test(recovery, an_echo_of_the_retransmission_does_not)
{
    ten_out_with(&congestion_newreno, true, true);
    line_sack(&line, 1, 2, 6);
    line_output(&line, 0);
    line_pass(&line, RTT_US);
    line_ack_echo(&line, 6, RTT_US, 0, NULL);
    cr_assert_not(line.news.undone);
}

/* ---- Tail loss probe ---- */

Test(recovery, a_silent_tail_is_probed_after_two_round_trips)
{
    ten_out();
    cr_assert_eq(recovery_deadline_us(&line.recovery), line.now_us - RTT_US + 2 * RTT_US);
    cr_assert_eq(line_expire(&line), RECOVERY_PROBE);
    cr_assert_eq(recovery_probe(&line.recovery), &line.packets[10]);
    cr_assert_eq(line.recovery.timeouts, 0);
}

Test(recovery, a_single_packet_is_given_time_for_a_delayed_ack)
{
    line_init(&line, &congestion_cubic, 5, true, true);
    line_send(&line, 1);
    line_pass(&line, RTT_US);
    line_ack(&line, 1);
    line_send(&line, 1);
    cr_assert_eq(recovery_deadline_us(&line.recovery),
                 line.now_us + 2 * RTT_US + RECOVERY_ACK_DELAY_US);
}

Test(recovery, one_probe_and_then_the_timeout)
{
    ten_out();
    cr_assert_eq(line_expire(&line), RECOVERY_PROBE);
    line_send_packet(&line, recovery_probe(&line.recovery));
    cr_assert_eq(line_expire(&line), RECOVERY_RTO);
    cr_assert_eq(line.recovery.timeouts, 1);
}

Test(recovery, a_tail_loss_mended_by_the_probe_is_still_a_loss)
{
    uint32_t cwnd;

    ten_out();
    line_expire(&line);
    line_send_packet(&line, recovery_probe(&line.recovery));
    line_pass(&line, RTT_US);
    line_ack(&line, 11);
    cwnd = line.recovery.congestion.cwnd;
    line_send(&line, 2);
    line_pass(&line, RTT_US);
    line_ack(&line, 13);
    cr_assert_lt(line.recovery.congestion.cwnd, cwnd);
}

Test(recovery, a_probe_that_arrived_twice_was_no_loss)
{
    uint32_t cwnd;

    ten_out();
    line_expire(&line);
    line_send_packet(&line, recovery_probe(&line.recovery));
    line_pass(&line, RTT_US);
    line_ack(&line, 11);
    line_ack_echo(&line, 11, 0, 1, (const unsigned[1][2]){{10, 11}});
    cwnd = line.recovery.congestion.cwnd;
    line_send(&line, 2);
    line_pass(&line, RTT_US);
    line_ack(&line, 13);
    cr_assert_geq(line.recovery.congestion.cwnd, cwnd);
}

Test(recovery, a_probe_makes_lost_packets_known)
{
    ten_out();
    line_ack(&line, 5); /* the rest is lost */
    line_expire(&line);
    line_send_packet(&line, recovery_probe(&line.recovery));
    line_pass(&line, RTT_US);
    line_sack(&line, 5, 10, 11);
    line_pass(&line, RTT_US);
    line_sack(&line, 5, 10, 11);
    cr_assert_eq(line.recovery.phase, RECOVERY_REPAIR);
    cr_assert_eq(line.recovery.lost_bytes, 5 * LINE_MSS);
}

/* ---- Retransmission timeout ---- */

static void time_out(void)
{
    while (line_expire(&line) != RECOVERY_RTO) {
    }
}

Test(recovery, a_timeout_leaves_one_segment_and_marks_all)
{
    ten_out_with(&congestion_newreno, false, false);
    time_out();
    cr_assert_eq(line.recovery.congestion.cwnd, LINE_MSS);
    cr_assert_eq(line.recovery.congestion.ssthresh, 5 * LINE_MSS);
    cr_assert_eq(line.recovery.lost_bytes, 10 * LINE_MSS);
    cr_assert_eq(line_output(&line, 100), 1);
    cr_assert_eq(line.packets[1].sends, 2);
}

Test(recovery, timeouts_back_off_and_are_counted_until_something_arrives)
{
    uint64_t last_us;

    ten_out_with(&congestion_newreno, false, false);
    time_out();
    for (unsigned i = 2; i <= 15; i++) {
        uint64_t wait_us = (uint64_t)RTT_RTO_MIN_US << (i - 1);

        line_output(&line, 0);
        last_us = line.now_us;
        time_out();
        if (wait_us > RTT_RTO_MAX_US)
            wait_us = RTT_RTO_MAX_US;
        cr_assert_eq(line.now_us - last_us, wait_us, "timeout %u", i);
        cr_assert_eq(line.recovery.timeouts, i);
        cr_assert_eq(line.recovery.congestion.ssthresh, 5 * LINE_MSS, "reduced once");
    }
    line_output(&line, 0);
    line_ack(&line, 2);
    cr_assert_eq(line.recovery.timeouts, 0);
}

Test(recovery, the_back_off_stays_until_a_sample_is_sure)
{
    ten_out_with(&congestion_newreno, false, false);
    time_out();
    line_output(&line, 0);
    line_pass(&line, RTT_US);
    line_ack(&line, 2); /* which of the two it answers nobody knows */
    cr_assert_gt(rtt_timeout_us(&line.recovery.rtt), RTT_RTO_MIN_US);
}

Test(recovery, a_timestamp_makes_the_sample_sure)
{
    ten_out_with(&congestion_newreno, false, true);
    time_out();
    line_output(&line, 0);
    line_pass(&line, RTT_US);
    line_ack_echo(&line, 2, RTT_US, 0, NULL);
    cr_assert_eq(rtt_timeout_us(&line.recovery.rtt), RTT_RTO_MIN_US);
}

Test(recovery, after_a_timeout_everything_gets_through)
{
    ten_out();
    time_out();
    for (unsigned rounds = 0; line.gone < 11; rounds++) {
        cr_assert_lt(rounds, 20);
        cr_assert_geq(line_output(&line, 0), 1);
        line_pass(&line, RTT_US);
        /* All that was repeated arrives. */
        for (unsigned i = line.gone; i < 11 && line.packets[i].sends > 1; i++)
            line_ack(&line, i + 1);
    }
    cr_assert_eq(line.recovery.phase, RECOVERY_OPEN);
    cr_assert_eq(recovery_deadline_us(&line.recovery), UINT64_MAX);
}

Test(recovery, a_late_original_after_a_timeout_takes_it_back)
{
    ten_out();
    time_out();
    line_output(&line, 0);
    line_pass(&line, 1000);
    line_ack(&line, 2);
    cr_assert(recovery_new_first(&line.recovery), "F-RTO sends new data");
    cr_assert_geq(line_output(&line, 2), 1);
    line_pass(&line, 1000);
    line_ack(&line, 3); /* not sent twice: the first one got through */
    cr_assert(line.news.undone);
    cr_assert_eq(line.recovery.lost_bytes, 0);
    cr_assert_geq(line.recovery.congestion.cwnd, 10 * LINE_MSS);
}

Test(recovery, new_data_answered_by_duplicates_confirm_the_timeout)
{
    ten_out();
    time_out();
    line_output(&line, 0);
    line_pass(&line, RTT_US);
    line_ack(&line, 2);
    cr_assert_eq(line_output(&line, 2), 2);
    cr_assert_eq(line.packets[12].sends, 1);
    line_pass(&line, RTT_US);
    line_sack(&line, 2, 11, 12);
    cr_assert_not(line.news.undone);
    cr_assert_not(recovery_new_first(&line.recovery));
    cr_assert_geq(line_output(&line, 0), 1);
    cr_assert_eq(line.packets[2].sends, 2);
}

Test(recovery, without_new_data_the_timeouts_repair_goes_on)
{
    ten_out();
    time_out();
    line_output(&line, 0);
    line_pass(&line, RTT_US);
    line_ack(&line, 2);
    cr_assert_geq(line_output(&line, 0), 1);
    cr_assert_not(recovery_new_first(&line.recovery));
}

/* ---- Without SACK ---- */

Test(recovery, three_duplicates_without_sack_mean_a_loss)
{
    ten_out_with(&congestion_newreno, false, false);
    line_ack(&line, 1);
    line_ack(&line, 1);
    cr_assert_not(line.news.entered);
    line_ack(&line, 1);
    cr_assert(line.news.entered);
    cr_assert_eq(line_output(&line, 0), 1);
    cr_assert_eq(line.packets[1].sends, 2);
}

Test(recovery, the_first_duplicates_let_new_data_out)
{
    ten_out_with(&congestion_newreno, false, false);
    cr_assert_eq(line_output(&line, 10), 0);
    line_ack(&line, 1);
    cr_assert_eq(line_output(&line, 10), 1); /* RFC 3042 */
    line_ack(&line, 1);
    cr_assert_eq(line_output(&line, 10), 1);
}

Test(recovery, a_partial_ack_without_sack_sends_the_next_hole)
{
    ten_out_with(&congestion_newreno, false, false);
    for (unsigned i = 0; i < 8; i++) /* 1 and 5 are missing */
        line_ack(&line, 1);
    line_output(&line, 0);
    line_pass(&line, RTT_US);
    line_ack(&line, 5);
    cr_assert_eq(line.recovery.phase, RECOVERY_REPAIR);
    cr_assert_eq(line_output(&line, 0), 1);
    cr_assert_eq(line.packets[5].sends, 2);
    line_pass(&line, RTT_US);
    line_ack(&line, 11);
    cr_assert_eq(line.recovery.phase, RECOVERY_OPEN);
    cr_assert_eq(line.recovery.congestion.cwnd, 5 * LINE_MSS);
}

Test(recovery, duplicates_of_our_own_repetitions_are_no_second_loss)
{
    ten_out_with(&congestion_newreno, false, false);
    time_out();
    line_output(&line, 0);
    line_pass(&line, RTT_US);
    line_ack(&line, 11);
    line_send(&line, 4);
    for (unsigned i = 0; i < 5; i++)
        line_ack(&line, 11);
    cr_assert_eq(line.recovery.phase, RECOVERY_OPEN); /* RFC 6582 section 3.2, step 2 */
}

Test(recovery, segments_with_data_or_a_new_window_are_no_duplicates)
{
    ten_out_with(&congestion_newreno, false, false);
    for (unsigned i = 0; i < 10; i++) {
        struct recovery_ack ack = {.ack = line_seq(&line, 1), .now_us = line.now_us};

        line_take(&line, &ack);
    }
    cr_assert_eq(line.recovery.phase, RECOVERY_OPEN);
}

Test(recovery, a_flood_of_duplicates_does_not_open_the_window_without_end)
{
    unsigned sent = 0;

    ten_out_with(&congestion_newreno, false, false);
    for (unsigned i = 0; i < 1000; i++) {
        line_ack(&line, 1);
        sent += line_output(&line, 1);
    }
    /* Each new packet out may be answered by a duplicate, as RFC 5681 has it; what is in flight
     * never exceeds what the duplicates could have been about. */
    cr_assert_leq(line.recovery.dup_bytes + LINE_MSS,
                  line.recovery.pipe_bytes + line.recovery.lost_bytes);
    cr_assert_leq(sent, 1000);
}

/* ---- ECN, PMTU and the queue ---- */

static void echo_congestion(unsigned acked)
{
    struct recovery_ack ack = {.ack = line_seq(&line, acked),
                               .now_us = line.now_us,
                               .ecn_echo = true};

    line_take(&line, &ack);
}

Test(recovery, an_ecn_echo_reduces_once_a_round_trip)
{
    ten_out();
    echo_congestion(3);
    cr_assert(line.news.reduced);
    cr_assert_eq(line.recovery.congestion.cwnd, 5 * LINE_MSS);
    echo_congestion(5);
    cr_assert_not(line.news.reduced);
    cr_assert_eq(line.recovery.congestion.cwnd, 5 * LINE_MSS);
    echo_congestion(11);
    cr_assert_eq(line.recovery.phase, RECOVERY_OPEN);
    line_send(&line, 5);
    echo_congestion(12);
    cr_assert(line.news.reduced);
    cr_assert_eq(line.recovery.congestion.cwnd, 2500);
}

Test(recovery, loss_and_echo_in_one_window_reduce_once)
{
    ten_out();
    echo_congestion(2);
    line_sack(&line, 2, 3, 8);
    cr_assert(line.news.entered);
    cr_assert_eq(line.recovery.congestion.ssthresh, 5 * LINE_MSS);
}

Test(recovery, packets_too_big_for_the_path_go_again_at_the_old_window)
{
    struct packet *rest;

    ten_out();
    recovery_too_big(&line.recovery, line_queue(&line), 600);
    line_check(&line);
    cr_assert_eq(line.recovery.lost_bytes, 10 * LINE_MSS);
    cr_assert_eq(line.recovery.congestion.cwnd, 10 * LINE_MSS);
    /* The connection cuts the packet that it is given. */
    rest = &line.packets[4000];
    *rest = (struct packet){.seq = line_seq(&line, 1) + 600,
                            .seg_len = 400,
                            .next = line.packets[1].next};
    line.packets[1].next = rest;
    line.packets[1].seg_len = 600;
    recovery_split(&line.recovery, &line.packets[1], rest);
    line_check(&line);
    cr_assert_eq(recovery_lost(&line.recovery, line_queue(&line)), &line.packets[1]);
    line_send_packet(&line, &line.packets[1]);
    cr_assert_eq(recovery_lost(&line.recovery, line_queue(&line)), rest);
    line_send_packet(&line, rest);
    line_pass(&line, RTT_US);
    line_ack(&line, 11);
    cr_assert_eq(line.recovery.phase, RECOVERY_OPEN);
}

Test(recovery, a_copy_takes_the_place_of_a_packet_the_device_holds)
{
    struct packet *copy = &line.packets[4000];

    ten_out();
    line_sack(&line, 1, 2, 11);
    *copy = line.packets[1];
    line.packets[0].next = copy;
    recovery_replaced(&line.recovery, &line.packets[1], copy);
    cr_assert_eq(recovery_lost(&line.recovery, copy), copy);
    recovery_sent(&line.recovery, copy, line_ts(&line), line.now_us);
    cr_assert_null(recovery_check(&line.recovery, copy));
}

Test(recovery, a_probe_that_could_not_be_sent_leaves_the_timeout_running)
{
    ten_out();
    cr_assert_eq(line_expire(&line), RECOVERY_PROBE);
    cr_assert_eq(line_expire(&line), RECOVERY_RTO);
}

Test(recovery, a_late_call_of_an_old_deadline_does_nothing)
{
    ten_out();
    line_ack(&line, 11);
    cr_assert_eq(recovery_expired(&line.recovery, line_queue(&line), line.now_us + 10 * 1000000),
                 RECOVERY_NOTHING);
}

Test(recovery, sequence_numbers_wrap_in_the_middle_of_everything)
{
    for (unsigned back = 0; back < 14; back++) {
        line_init(&line, &congestion_cubic, 0u - back * LINE_MSS - 1, true, true);
        line_send(&line, 1);
        line_pass(&line, RTT_US);
        line_ack(&line, 1);
        line_send(&line, 10);
        line_pass(&line, RTT_US);
        line_sack(&line, 1, 2, 11);
        cr_assert_eq(line_output(&line, 0), 1, "%u packets before the wrap", back);
        line_pass(&line, RTT_US);
        line_ack(&line, 11);
        cr_assert_eq(line.recovery.phase, RECOVERY_OPEN);
    }
}

/* Connections at rest: blocks are shared, and nothing that later segments are judged by is lost. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "dataplane/net/net_inside.h"
#include "tests/unit/dataplane/seed.h"

enum { CONNS = 3000, MSS = 1448, START_MS = 5000 };

static struct net *net;

static void pass_ms(uint32_t ms)
{
    net->now_us += (uint64_t)ms * 1000;
    net->now_ms += ms;
}

static void start(void)
{
    net = calloc(1, sizeof *net);
    cr_assert_not_null(net);
    net->options.connections_max = CONNS;
    net->conns = calloc(CONNS, sizeof *net->conns);
    pass_ms(START_MS);
    cr_assert_eq(rest_init(net), 0);
}

static void stop(void)
{
    rest_fini(net);
    free(net->conns);
    free(net);
}

TestSuite(rest, .init = start, .fini = stop);

static struct net_conn *established(uint32_t index)
{
    struct net_conn *conn = &net->conns[index];
    struct rtt rtt;

    rtt_init(&rtt);
    rtt_sample(&rtt, 100 + index, net->now_us);
    rest_begin_work(net, conn);
    conn->state = NET_STATE_ESTABLISHED;
    conn->flags = CONN_IN_TABLE | CONN_SACK;
    conn->heard_ms = net_now_ms(net);
    recovery_init(&conn->busy->recovery, &congestion_cubic, index * 1000, MSS, true, false, &rtt);
    sendqueue_init(&conn->busy->queue, index * 1000);
    return conn;
}

/* Waking anybody takes a block from one that is quiet; who is not keeps his. */
Test(rest, idle_connections_share_what_they_need_at_work)
{
    struct seed seed = seed_new(1);
    struct send_piece piece = {0};

    struct net_conn *sending = established(0);
    sending->busy->queue.piece = sending->busy->queue.piece_last = &piece;
    for (uint32_t i = 1; i < CONNS; i++) {
        established(i);
        pass_ms(1);
    }
    cr_assert_leq(net->busy_fresh, REST_BUSY_KEPT + 8 * REST_LOOKS, "%u blocks", net->busy_fresh);
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t index = 1 + (uint32_t)seed_below(&seed, CONNS - 1);
        struct net_conn *conn = &net->conns[index];

        conn_wake(net, conn);
        conn->heard_ms = net_now_ms(net);
        cr_assert_eq(conn->busy->conn, conn);
        cr_assert_eq(conn->busy->recovery.una, index * 1000, "seed %llu",
                     (unsigned long long)seed.start);
        cr_assert_eq(rtt_smoothed_us(&conn->busy->recovery.rtt), 100 + index);
        cr_assert_not_null(sending->busy);
        pass_ms(1);
    }
    cr_assert_leq(net->busy_fresh, REST_BUSY_KEPT + 8 * REST_LOOKS, "%u blocks", net->busy_fresh);
}

Test(rest, who_was_heard_a_moment_ago_keeps_his_block)
{
    for (uint32_t i = 0; i < CONNS; i++)
        established(i);
    cr_assert_eq(net->busy_fresh, CONNS);
    for (uint32_t i = 0; i < CONNS; i++)
        cr_assert_not_null(net->conns[i].busy);
}

Test(rest, a_connection_with_something_to_do_does_not_rest)
{
    static const uint32_t flags[] = {CONN_DIRTY,    CONN_READY,  CONN_ACK_NOW,
                                     CONN_ACK_OWED, CONN_ORPHAN, CONN_TELL_DRAINED,
                                     CONN_PERSIST,  CONN_DYING,  CONN_TELL_END};
    struct net_conn *conn = established(7);
    struct packet packet = {0};

    for (unsigned i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        conn->flags |= flags[i];
        cr_assert_not(rest_try(net, conn), "flag %x", flags[i]);
        conn->flags &= ~flags[i];
    }
    conn->busy->ack_ms = 1;
    cr_assert_not(rest_try(net, conn));
    conn->busy->ack_ms = 0;
    conn->busy->rx_first = &packet;
    cr_assert_not(rest_try(net, conn));
    conn->busy->rx_first = NULL;
    conn->busy->recovery.nxt++;
    cr_assert_not(rest_try(net, conn));
    conn->busy->recovery.nxt--;
    conn->state = NET_STATE_CLOSE_WAIT;
    cr_assert_not(rest_try(net, conn));
    conn->state = NET_STATE_ESTABLISHED;
    cr_assert(rest_try(net, conn));
    cr_assert_null(conn->busy);
}

/* A window that losses have made small, and what is known of the path, outlive the rest; the idle
 * restart of RFC 5681 section 4.1 comes as if there had been none. */
Test(rest, what_losses_have_taught_is_kept)
{
    struct net_conn *conn = established(9);
    struct recovery *recovery = &conn->busy->recovery, room;

    congestion_event(&recovery->congestion, 20 * MSS);
    recovery->congestion.cwnd = recovery->congestion.ssthresh = 40 * MSS;
    recovery->reordering = true;
    recovery->reo_mult = 3;
    recovery->reo_persist = 5;
    recovery->credit = 77;
    recovery->rtt.backoff = 2;
    recovery->last_sent_us = net->now_us - 1234567;
    struct recovery before = *recovery;
    cr_assert(rest_try(net, conn));
    const struct recovery *seen = rest_recovery(net, conn, &room);
    cr_assert_eq(seen->congestion.cwnd, before.congestion.cwnd);
    conn_wake(net, conn);
    recovery = &conn->busy->recovery;
    cr_assert_eq(recovery->una, before.una);
    cr_assert_eq(recovery->nxt, before.nxt);
    cr_assert_eq(conn->busy->queue.end_seq, before.nxt);
    cr_assert_eq(recovery->congestion.cwnd, before.congestion.cwnd);
    cr_assert_eq(recovery->congestion.ssthresh, before.congestion.ssthresh);
    cr_assert_eq(recovery->congestion.cubic.w_max, before.congestion.cubic.w_max);
    cr_assert_eq(recovery->congestion.before_cwnd, recovery->congestion.cwnd);
    cr_assert_eq(recovery->reo_mult, 3);
    cr_assert_eq(recovery->reo_persist, 5);
    cr_assert_eq(recovery->credit, 77);
    cr_assert(recovery->reordering && recovery->sack);
    cr_assert_eq(rtt_timeout_us(&recovery->rtt), rtt_timeout_us(&before.rtt));
    cr_assert_eq(recovery->rtt.base_us, before.rtt.base_us);
    cr_assert_eq(recovery->rtt.min_us, before.rtt.min_us);
    cr_assert_leq(before.last_sent_us - recovery->last_sent_us, 1000);
    cr_assert_null(recovery_check(recovery, NULL));
    recovery_room(recovery, net->now_us);
    cr_assert_eq(recovery->congestion.cwnd, congestion_initial_window(MSS));
}

/* RFC 6298 section 5.7: three seconds until the first sample. */
Test(rest, a_lost_syn_is_not_forgotten)
{
    struct net_conn *conn = established(3);
    struct rtt rtt;

    rtt_init(&rtt);
    rtt_syn_was_lost(&rtt);
    conn->busy->recovery.rtt = rtt;
    cr_assert(rest_try(net, conn));
    conn_wake(net, conn);
    cr_assert_eq(rtt_timeout_us(&conn->busy->recovery.rtt), RTT_RTO_LOST_SYN_US);
}

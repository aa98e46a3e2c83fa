/* The timer of a connection: one wheel entry for the earliest of its deadlines. */
#include <assert.h>
#include <errno.h>

#include "dataplane/net/net_inside.h"

enum {
    RETRIES_MAX = 15,       /* of a segment without an answer */
    SYN_RETRIES_MAX = 7,    /* RFC 9293 section 3.8.3: at least three minutes; 1 s doubled */
    ORPHAN_RETRIES_MAX = 8, /* for a connection that nobody owns any more */
    KEEPALIVE_PROBES = 3,   /* without an answer */
    SHUT_RETRIES = 8,       /* count of those that found the peer's window shut, at most */
    PERSIST_BACKOFF_MAX = 16,
    HEARD_LATELY_MS = 130000, /* more than the longest time between two resends or probes */
};

static const uint32_t PERSIST_MAX_US = 60000000;

uint32_t tcp_deadline_ms(const struct net *net, uint64_t in_us)
{
    uint32_t at = (uint32_t)((net->now_us + in_us) / 1000);

    return at != 0 ? at : 1;
}

static bool is_due(const struct net *net, uint32_t deadline_ms)
{
    return deadline_ms != 0 && !seq_after(deadline_ms, net_now_ms(net));
}

static void earlier(const struct net *net, uint64_t *next_us, uint32_t deadline_ms)
{
    if (deadline_ms == 0)
        return;
    int32_t left = (int32_t)(deadline_ms - net_now_ms(net));
    uint64_t at = (net->now_us / 1000 + (left > 0 ? (uint32_t)left : 0)) * 1000;

    if (at < *next_us)
        *next_us = at;
}

void tcp_alarm(struct net *net, struct net_conn *conn)
{
    uint64_t next = TIMERS_NEVER;

    if (conn->state == NET_STATE_CLOSED)
        return;
    if (conn->state >= NET_STATE_ESTABLISHED)
        next = recovery_deadline_us(&conn->busy->recovery);
    earlier(net, &next, conn->busy->ack_ms);
    earlier(net, &next, conn->busy->wait_ms);
    earlier(net, &next, conn->idle_ms);
    if (next != TIMERS_NEVER)
        timers_arm(&net->timers, &conn->timer, next);
}

/* ---- handshake ----------------------------------------------------------------------------- */

static void handshake_due(struct net *net, struct net_conn *conn)
{
    conn->busy->wait_ms = 0;
    if (conn->flags & CONN_WAITS_MAC) {
        /* Three questions of a second each, then the link gives up. */
        if (conn->soft_error == EHOSTUNREACH) {
            tcp_finish(net, conn, EHOSTUNREACH);
            return;
        }
        tcp_send_syn(net, conn);
        return;
    }
    if (conn->backoff >= SYN_RETRIES_MAX) {
        tcp_finish(net, conn, conn->soft_error != 0 ? conn->soft_error : ETIMEDOUT);
        return;
    }
    conn->backoff++;
    conn->flags |= CONN_SYN_LOST;
    net_count(&net->counters.tx_retransmits, 1);
    tcp_send_syn(net, conn);
}

/* ---- window probes ------------------------------------------------------------------------- */

static uint64_t persist_us(const struct net_conn *conn)
{
    uint64_t wait = (uint64_t)rtt_timeout_us(&conn->busy->recovery.rtt) << conn->backoff;

    return wait < PERSIST_MAX_US ? wait : PERSIST_MAX_US;
}

void tcp_persist(struct net *net, struct net_conn *conn)
{
    if (conn->flags & CONN_PERSIST)
        return;
    conn->flags |= CONN_PERSIST;
    conn->backoff = 0;
    conn->probes = 0;
    recovery_rest(&conn->busy->recovery);
    conn->busy->wait_ms = tcp_deadline_ms(net, persist_us(conn));
}

static bool gives_up(const struct net *net, const struct net_conn *conn, unsigned tries)
{
    uint32_t timeout_s =
        conn->user_timeout_s != 0 ? conn->user_timeout_s : net->options.user_timeout_s;

    if ((conn->flags & CONN_ORPHAN) && tries > ORPHAN_RETRIES_MAX)
        return true;
    if (timeout_s != 0)
        return conn->busy->stalled_ms != 0 &&
               net_now_ms(net) - conn->busy->stalled_ms >= (uint64_t)timeout_s * 1000;
    return tries > RETRIES_MAX;
}

static int timeout_error(const struct net_conn *conn)
{
    return conn->soft_error != 0 ? conn->soft_error : ETIMEDOUT;
}

static void persist_due(struct net *net, struct net_conn *conn)
{
    bool orphan = (conn->flags & CONN_ORPHAN) != 0;

    conn->busy->wait_ms = 0;
    if (!sendqueue_has_unsent(&conn->busy->queue) || recovery_flight(&conn->busy->recovery) > 0) {
        conn->flags &= ~(uint32_t)CONN_PERSIST;
        conn_dirty(net, conn);
        return;
    }
    /* For ever as long as the peer answers (RFC 9293 section 3.8.6.1), but not for nobody. */
    if (conn->probes > RETRIES_MAX || (orphan && conn->backoff > ORPHAN_RETRIES_MAX) ||
        (conn->probes > 1 && gives_up(net, conn, 0))) {
        tcp_abort(net, conn, timeout_error(conn));
        return;
    }
    if (conn->snd_wnd > 0) {
        /* Too small to be worth it, but it stays so (section 3.8.6.2.1, the override). */
        conn->flags &= ~(uint32_t)CONN_PERSIST;
        conn->flags |= CONN_PROBE_DUE;
        conn_dirty(net, conn);
        return;
    }
    if (tcp_send_probe_byte(net, conn)) {
        conn->probes += conn->probes < UINT8_MAX;
        conn->backoff += conn->backoff < PERSIST_BACKOFF_MAX;
    }
    conn->busy->wait_ms = tcp_deadline_ms(net, persist_us(conn));
}

/* ---- retransmission ------------------------------------------------------------------------ */

static void timed_out(struct net *net, struct net_conn *conn)
{
    unsigned tries = conn->busy->recovery.timeouts;

    net_count(&net->counters.rto_fired, 1);
    /* With its window shut the peer answers without taking anything: it is there. What was sent
     * meanwhile is not held against it once the window is open again. */
    bool shut = conn->snd_wnd == 0 && net_now_ms(net) - conn->heard_ms < HEARD_LATELY_MS;

    if (shut && (conn->flags & CONN_ORPHAN) == 0) {
        if (tries > SHUT_RETRIES)
            conn->busy->recovery.timeouts = SHUT_RETRIES;
        conn->busy->stalled_ms = net_now_ms(net) | 1;
    } else if (gives_up(net, conn, tries)) {
        tcp_abort(net, conn, timeout_error(conn));
        return;
    }
    tcp_path_silent(net, conn, tries);
    conn_dirty(net, conn);
}

static void recovery_due(struct net *net, struct net_conn *conn)
{
    struct recovery *recovery = &conn->busy->recovery;
    uint8_t phase = recovery->phase;
    enum recovery_order order = recovery_expired(recovery, conn->busy->queue.head, net->now_us);

    if (phase == RECOVERY_OPEN && recovery->phase != RECOVERY_OPEN)
        conn->flags |= CONN_ECN_REDUCED; /* RFC 3168 section 6.1.2: for whatever reason */
    switch (order) {
    case RECOVERY_NOTHING:
        break;
    case RECOVERY_OUTPUT:
        conn_dirty(net, conn);
        break;
    case RECOVERY_PROBE:
        tcp_send_tail_probe(net, conn);
        break;
    case RECOVERY_RTO:
        timed_out(net, conn);
        break;
    }
}

/* ---- idle ---------------------------------------------------------------------------------- */

static void keepalive_due(struct net *net, struct net_conn *conn)
{
    uint32_t idle_ms = net_now_ms(net) - conn->heard_ms;
    uint32_t first_ms = net->options.keepalive_s * 1000;

    conn->idle_ms = 0;
    if (net->options.keepalive_s == 0)
        return;
    /* While output waits for the peer, resends and window probes find out the same. */
    if (idle_ms < first_ms || conn->busy->queue.head != NULL || conn->busy->queue.piece != NULL) {
        if (idle_ms >= first_ms)
            idle_ms = 0;
        else
            conn->probes = conn->flags & CONN_PERSIST ? conn->probes : 0;
        conn->idle_ms = tcp_deadline_ms(net, (uint64_t)(first_ms - idle_ms) * 1000);
        return;
    }
    if (conn->probes >= KEEPALIVE_PROBES) {
        tcp_abort(net, conn, timeout_error(conn));
        return;
    }
    conn->probes++;
    tcp_send_keepalive(net, conn);
    conn->idle_ms = tcp_deadline_ms(net, (uint64_t)net->options.keepalive_interval_s * 1000000);
}

static void idle_due(struct net *net, struct net_conn *conn)
{
    if (conn->state == NET_STATE_FIN_WAIT_2 && (conn->flags & CONN_ORPHAN)) {
        conn->idle_ms = 0;
        tcp_finish(net, conn, 0);
        return;
    }
    keepalive_due(net, conn);
}

/* ---- the timer has fired ------------------------------------------------------------------- */

static void acks_due(struct net *net, struct net_conn *conn)
{
    conn->busy->ack_ms = 0;
    if ((conn->flags & (CONN_ACK_OWED | CONN_ACK_NOW)) == 0)
        return;
    conn->flags |= CONN_ACK_NOW | CONN_ACK_QUICK;
    conn_dirty(net, conn);
}

void tcp_alarm_run(struct net *net, struct net_conn *conn)
{
    if (conn->busy == NULL) {
        /* What it was armed for is done with; nothing is left but to be idle too long. */
        if (!is_due(net, conn->idle_ms) && !tcp_path_is_due(net, conn)) {
            uint64_t next = TIMERS_NEVER;

            earlier(net, &next, conn->idle_ms);
            if (next != TIMERS_NEVER)
                timers_arm(&net->timers, &conn->timer, next);
            return;
        }
        rest_end(net, conn);
    }
    if (tcp_path_is_due(net, conn))
        tcp_path_try(net, conn);
    if (is_due(net, conn->busy->ack_ms))
        acks_due(net, conn);
    if (is_due(net, conn->busy->wait_ms)) {
        if (conn->state < NET_STATE_ESTABLISHED)
            handshake_due(net, conn);
        else
            persist_due(net, conn);
    }
    if (conn->state >= NET_STATE_ESTABLISHED &&
        recovery_deadline_us(&conn->busy->recovery) <= net->now_us)
        recovery_due(net, conn);
    if (conn->state != NET_STATE_CLOSED && is_due(net, conn->idle_ms))
        idle_due(net, conn);
    tcp_alarm(net, conn);
}

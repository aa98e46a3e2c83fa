/* The caller's side of connections: events, output, closing (contracts in net.h). */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "dataplane/net/net.h"
#include "dataplane/net/net_inside.h"

enum {
    PORT_FIRST = 49152, /* RFC 6335 section 6 */
    PORTS = 65536 - PORT_FIRST,
    REUSE_AFTER_MS = 2, /* of TIME-WAIT */
};

/* ---- events -------------------------------------------------------------------------------- */

/* With any of these there is, or was, more to tell than bytes. */
static const uint32_t CONN_TELLS = CONN_TELL_ACCEPTED | CONN_TELL_CONNECTED | CONN_TELL_END |
                                   CONN_TELL_DRAINED | CONN_TELL_CLOSED | CONN_ORPHAN;

static bool take_bytes(struct net *net, struct net_conn *conn, struct net_event *event)
{
    struct packet *packet = conn->busy->rx_first;

    if (packet == NULL || (conn->flags & CONN_PAUSED))
        return false;
    conn->busy->rx_first = packet->next;
    if (conn->busy->rx_first == NULL)
        conn->busy->rx_last = NULL;
    conn->busy->rcv_queued -= packet->len;
    packet->next = net->spent;
    net->spent = packet;
    event->kind = NET_BYTES;
    event->data = packet->data;
    event->len_bytes = packet->len;
    /* The window may have something to say about it once the reply is there. */
    if (conn->state != NET_STATE_CLOSED)
        conn_dirty(net, conn);
    return true;
}

static bool take_flag(struct net_conn *conn, uint32_t flag, enum net_event_kind kind,
                      struct net_event *event)
{
    if ((conn->flags & flag) == 0)
        return false;
    conn->flags &= ~flag;
    event->kind = kind;
    return true;
}

static bool take_closed(struct net *net, struct net_conn *conn, struct net_event *event)
{
    if ((conn->flags & CONN_PAUSED) && conn->error == 0 &&
        (conn->busy->rx_first != NULL || (conn->flags & CONN_TELL_END)))
        return false;
    if (!take_flag(conn, CONN_TELL_CLOSED, NET_CLOSED, event))
        return false;
    event->error = conn->error;
    conn->flags |= CONN_TOLD_CLOSED | CONN_ORPHAN;
    if (conn->state == NET_STATE_CLOSED)
        net_conn_let_go(net, conn);
    return true;
}

/* What a connection tells, in this order; false: nothing. */
static bool take(struct net *net, struct net_conn *conn, struct net_event *event)
{
    if ((conn->flags & CONN_TELLS) == 0)
        return take_bytes(net, conn, event);
    if (conn->flags & CONN_ORPHAN)
        return take_closed(net, conn, event);
    if (take_flag(conn, CONN_TELL_ACCEPTED, NET_ACCEPTED, event) ||
        take_flag(conn, CONN_TELL_CONNECTED, NET_CONNECTED, event) || take_bytes(net, conn, event))
        return true;
    if (conn->busy->rx_first == NULL && (conn->flags & CONN_PAUSED) == 0 &&
        take_flag(conn, CONN_TELL_END, NET_END, event))
        return true;
    if (conn->stream.pending_bytes == 0 && conn->state != NET_STATE_CLOSED &&
        take_flag(conn, CONN_TELL_DRAINED, NET_DRAINED, event))
        return true;
    return take_closed(net, conn, event);
}

/* Whether it may have more to tell; most have only the one request. */
static bool may_tell(const struct net_conn *conn)
{
    return conn->busy->rx_first != NULL || (conn->flags & (CONN_TELLS & ~CONN_ORPHAN)) != 0;
}

bool net_event(struct net *net, struct net_event *event)
{
    struct net_conn *conn;

    while ((conn = net->ready) != NULL) {
        *event = (struct net_event){.conn = conn};
        bool told = take(net, conn, event);
        if (told && may_tell(conn)) {
            if (conn->busy->rx_first != NULL)
                __builtin_prefetch(conn->busy->rx_first->data);
            return true;
        }
        net->ready = conn->busy->ready_next;
        if (net->ready == NULL)
            net->ready_end = &net->ready;
        conn->flags &= ~(uint32_t)CONN_READY;
        if (conn->flags & CONN_DYING) {
            conn->busy->dying_next = net->dying;
            net->dying = conn;
        }
        if (told)
            return true;
    }
    return false;
}

void net_conn_let_go(struct net *net, struct net_conn *conn)
{
    if (conn->flags & CONN_DYING)
        return;
    conn->flags |= CONN_DYING;
    /* One link serves both lists: off the ready list it goes in net_event(). */
    if (conn->flags & CONN_READY)
        return;
    conn->busy->dying_next = net->dying;
    net->dying = conn;
}

/* ---- output -------------------------------------------------------------------------------- */

static bool takes_output(const struct net_conn *conn)
{
    return conn->state != NET_STATE_CLOSED && (conn->flags & (CONN_FIN_WANTED | CONN_ORPHAN)) == 0;
}

static void forget_reserved(struct net *net)
{
    if (net->reserved_packet != NULL)
        packet_release(net->port, net->reserved_packet);
    net->reserved_packet = NULL;
    net->reserved_scratch = false;
    net->reserved_conn = NULL;
}

uint8_t *net_reserve(struct net *net, struct net_conn *conn, size_t len, size_t *room)
{
    struct sendqueue *queue;
    uint32_t tail_room, mss = conn->mss;

    assert(len <= NET_RESERVE_MAX);
    if (net->reserved_conn != NULL)
        forget_reserved(net);
    if (!takes_output(conn))
        return NULL;
    conn_wake(net, conn);
    queue = &conn->busy->queue;
    net->reserved_conn = conn;
    if (len <= mss && queue->piece == NULL && queue->packet_bytes < SENDQUEUE_PACKET_BYTES_MAX &&
        conn->state >= NET_STATE_ESTABLISHED) {
        tail_room = sendqueue_tail_room(queue, mss);
        if (tail_room > 0 && tail_room >= len) {
            *room = net->reserved_room = tail_room;
            return queue->tail->data + queue->tail->len;
        }
        /* With some room left the bytes are copied, for the sake of full segments. */
        struct packet *packet = tail_room == 0 ? sendpool_alloc(&net->sendpool, queue) : NULL;
        if (packet != NULL) {
            packet->len = 0;
            packet->state = 0;
            net->reserved_packet = packet;
            *room = net->reserved_room = mss;
            return packet->data;
        }
    }
    net->reserved_scratch = true;
    *room = net->reserved_room = NET_RESERVE_MAX;
    return net->scratch;
}

static int commit_scratch(struct net *net, struct net_conn *conn, size_t len)
{
    size_t done = 0;

    if (conn->state >= NET_STATE_ESTABLISHED)
        done = sendqueue_copy(&net->sendpool, &conn->busy->queue, net->scratch, len, conn->mss);
    if (done == len)
        return 0;
    return sendqueue_append_copy(&net->sendpool, &conn->busy->queue, net->scratch + done,
                                 len - done);
}

/* What goes behind other bytes, or nowhere. */
__attribute__((noinline)) static void commit_behind(struct net *net, struct net_conn *conn,
                                                    size_t len)
{
    int status = 0;

    if (len > 0 && conn->state != NET_STATE_CLOSED) {
        if (net->reserved_scratch)
            status = commit_scratch(net, conn, len);
        else
            sendqueue_extend(&conn->busy->queue, (uint32_t)len);
        conn->stream.pending_bytes += len;
        conn_dirty(net, conn);
    }
    forget_reserved(net);
    if (status < 0)
        tcp_abort(net, conn, ENOBUFS);
}

void net_commit(struct net *net, struct net_conn *conn, size_t len)
{
    struct packet *packet = net->reserved_packet;

    assert(net->reserved_conn == conn && len <= net->reserved_room);
    if (packet == NULL || len == 0 || conn->state == NET_STATE_CLOSED) {
        commit_behind(net, conn, len);
        return;
    }
    packet->len = (uint16_t)len;
    sendqueue_push(&conn->busy->queue, packet);
    conn->stream.pending_bytes += len;
    conn_dirty(net, conn);
    net->reserved_packet = NULL;
    net->reserved_conn = NULL;
}

int net_append(struct net *net, struct net_conn *conn, const void *data, size_t len,
               void (*release)(void *arg), void *arg)
{
    if (net->reserved_conn != NULL)
        forget_reserved(net);
    if (!takes_output(conn))
        return -EPIPE;
    if (len == 0) {
        if (release != NULL)
            release(arg);
        return 0;
    }
    conn_wake(net, conn);
    int status = sendqueue_append(&net->sendpool, &conn->busy->queue, data, len, release, arg);
    if (status < 0)
        return status;
    conn->stream.pending_bytes += len;
    conn_dirty(net, conn);
    return 0;
}

void net_notify_drained(struct net *net, struct net_conn *conn)
{
    if (conn->state == NET_STATE_CLOSED || (conn->flags & CONN_ORPHAN))
        return;
    conn_wake(net, conn);
    conn->flags |= CONN_TELL_DRAINED;
    if (conn->stream.pending_bytes == 0)
        conn_ready(net, conn);
}

/* ---- input --------------------------------------------------------------------------------- */

void net_pause(struct net *net, struct net_conn *conn)
{
    conn->flags |= CONN_PAUSED;
}

void net_resume(struct net *net, struct net_conn *conn)
{
    conn_wake(net, conn);
    conn->flags &= ~(uint32_t)CONN_PAUSED;
    if (conn->busy->rx_first != NULL || (conn->flags & (CONN_TELL_END | CONN_TELL_CLOSED)))
        conn_ready(net, conn);
}

/* ---- opening and closing ------------------------------------------------------------------- */

/* A flow in TIME-WAIT may be opened anew from here if timestamps tell its segments apart: ours have
 * moved on since (RFC 6191, for the side that opens). */
static bool may_reuse(const struct net *net, const struct timewait_entry *entry)
{
    int32_t left_ms = (int32_t)(entry->deadline_ms - net_now_ms(net));

    return (entry->flags & TIMEWAIT_TIMESTAMPS) != 0 && !net->options.no_timestamps &&
           left_ms < TIMEWAIT_MS - REUSE_AFTER_MS;
}

static int choose_port(struct net *net, struct net_flow *flow, uint16_t wanted, uint64_t *hash)
{
    uint32_t start = (uint32_t)net->options.random(net->options.random_arg);

    for (unsigned i = 0; i < (wanted != 0 ? 1 : PORTS); i++) {
        flow->local_port = wanted != 0 ? wanted : (uint16_t)(PORT_FIRST + (start + i) % PORTS);
        *hash = net_flow_hash(&net->key, flow);
        const struct timewait_entry *last = timewait_find(&net->timewait, *hash);

        if (net_lookup(net, flow, *hash) == NULL &&
            syncache_find(&net->syncache, *hash, flow) == NULL &&
            (last == NULL || may_reuse(net, last)))
            return 0;
    }
    return wanted != 0 ? -EADDRINUSE : -EADDRNOTAVAIL;
}

static bool may_connect_from(const struct net *net, const struct net_address *from,
                             const struct net_endpoint *to)
{
    return net_address_is_v4(from) == net_address_is_v4(&to->address) &&
           net_link_is_ours(&net->link, from);
}

int net_connect_from(struct net *net, const struct net_address *from, const struct net_endpoint *to,
                     uint16_t local_port, void *user, struct net_conn **made)
{
    const struct net_address *local =
        from != NULL ? from : net_link_source(&net->link, &to->address);
    struct net_flow flow = {.remote = to->address, .remote_port = to->port};
    struct net_conn *conn;
    uint64_t hash;
    int status;

    if (to->port == 0 || !net_link_may_be_host(&net->link, &to->address))
        return -EINVAL;
    if (local == NULL || (from != NULL && !may_connect_from(net, from, to)))
        return -EADDRNOTAVAIL;
    net_read_clock(net);
    flow.local = *local;
    status = choose_port(net, &flow, local_port, &hash);
    if (status < 0)
        return status;
    conn = net_conn_open(net, &flow, hash);
    if (conn == NULL)
        return -ENFILE;
    conn->stream.user = user;
    struct timewait_entry *last = timewait_find(&net->timewait, hash);
    tcp_open(net, conn, last);
    if (last != NULL)
        timewait_remove(&net->timewait, last);
    *made = conn;
    return 0;
}

int net_connect(struct net *net, const struct net_endpoint *to, uint16_t local_port, void *user,
                struct net_conn **made)
{
    return net_connect_from(net, NULL, to, local_port, user, made);
}

static void want_fin(struct net *net, struct net_conn *conn)
{
    if (conn->flags & CONN_FIN_WANTED)
        return;
    conn_wake(net, conn);
    conn->flags |= CONN_FIN_WANTED;
    if (conn->state == NET_STATE_ESTABLISHED || conn->state == NET_STATE_SYN_RECEIVED)
        conn->state = conn->state == NET_STATE_ESTABLISHED ? NET_STATE_FIN_WAIT_1 : conn->state;
    else if (conn->state == NET_STATE_CLOSE_WAIT)
        conn->state = NET_STATE_LAST_ACK;
    conn_dirty(net, conn);
}

void net_shutdown(struct net *net, struct net_conn *conn)
{
    if (conn->state != NET_STATE_CLOSED && (conn->flags & CONN_ORPHAN) == 0)
        want_fin(net, conn);
}

void net_close(struct net *net, struct net_conn *conn, enum net_close how)
{
    if (conn->flags & CONN_ORPHAN)
        return;
    conn_wake(net, conn);
    bool lost = conn->busy->rx_first != NULL;
    conn->flags |= CONN_ORPHAN;
    conn->flags &= ~(uint32_t)(CONN_PAUSED | CONN_TELL_DRAINED);
    tcp_receive_drop(net, conn);
    if (conn->state == NET_STATE_CLOSED) {
        /* It had ended by itself. */
        conn->flags |= CONN_TELL_CLOSED;
        conn_ready(net, conn);
    } else if (conn->state == NET_STATE_SYN_SENT) {
        tcp_finish(net, conn, 0);
    } else if (how == NET_CLOSE_NOW && (conn->stream.pending_bytes > 0 || lost)) {
        tcp_abort(net, conn, 0);
    } else {
        want_fin(net, conn);
        tcp_orphaned(net, conn);
        /* Told at once if all was handed over: the rest concerns only the peer. */
        if (conn->stream.pending_bytes == 0) {
            conn->flags |= CONN_TELL_CLOSED;
            conn_ready(net, conn);
        }
    }
}

void net_set_user_timeout(struct net *net, struct net_conn *conn, uint32_t timeout_s)
{
    conn->user_timeout_s = (uint16_t)(timeout_s < 0xffff ? timeout_s : 0xffff);
}

/* ---- questions ----------------------------------------------------------------------------- */

void net_peer(const struct net_conn *conn, struct net_endpoint *peer)
{
    *peer = (struct net_endpoint){.address = conn->flow.remote, .port = conn->flow.remote_port};
}

void net_local(const struct net_conn *conn, struct net_endpoint *local)
{
    *local = (struct net_endpoint){.address = conn->flow.local, .port = conn->flow.local_port};
}

struct net_conn *net_find(const struct net *net, const struct net_flow *flow)
{
    return net_lookup(net, flow, net_flow_hash(&net->key, flow));
}

enum net_state net_flow_state(const struct net *net, const struct net_flow *flow)
{
    uint64_t hash = net_flow_hash(&net->key, flow);
    const struct net_conn *conn = net_lookup(net, flow, hash);

    if (conn != NULL)
        return (enum net_state)conn->state;
    if (timewait_find(&net->timewait, hash) != NULL)
        return NET_STATE_TIME_WAIT;
    if (syncache_find(&net->syncache, hash, flow) != NULL)
        return NET_STATE_SYN_RECEIVED;
    return net_listener_find(net, flow->local_port) != NULL ? NET_STATE_LISTEN : NET_STATE_CLOSED;
}

void net_info(const struct net *net, const struct net_conn *conn, struct net_info *info)
{
    struct recovery room;
    const struct recovery *recovery = rest_recovery(net, conn, &room);

    *info = (struct net_info){
        .state = (enum net_state)conn->state,
        .snd_una = recovery->una,
        .snd_nxt = recovery->nxt,
        .snd_wnd = conn->snd_wnd,
        .rcv_nxt = conn->rcv_nxt,
        .rcv_wnd = conn->rcv_edge - conn->rcv_nxt,
        .cwnd = recovery->congestion.cwnd,
        .ssthresh = recovery->congestion.ssthresh,
        .flight = recovery->pipe_bytes,
        .srtt_us = rtt_smoothed_us(&recovery->rtt),
        .rto_us = rtt_timeout_us(&recovery->rtt),
        .mss = conn->mss,
        .retransmits = conn->retransmits,
        .out_of_order_packets =
            conn->busy != NULL && conn->busy->reorder != NULL ? conn->busy->reorder->packets : 0,
        .queued_bytes = (uint32_t)(conn->stream.pending_bytes + recovery->nxt - recovery->una),
        .soft_error = conn->soft_error,
        .sack = (conn->flags & CONN_SACK) != 0,
        .timestamps = (conn->flags & CONN_TIMESTAMPS) != 0,
        .window_scale = (conn->flags & CONN_SCALED) != 0,
        .ecn = (conn->flags & CONN_ECN) != 0,
    };
    if (conn->busy == NULL)
        return;
    for (const struct packet *packet = conn->busy->rx_first; packet != NULL; packet = packet->next)
        info->received_packets++;
}

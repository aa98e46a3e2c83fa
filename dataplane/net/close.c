/* The ends of connections: FIN, TIME-WAIT, resets, and what is told about them. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "dataplane/net/net_inside.h"

void tcp_finish(struct net *net, struct net_conn *conn, int error)
{
    if (conn->state == NET_STATE_CLOSED)
        return;
    conn->state = NET_STATE_CLOSED;
    tcp_waits_mac(net, conn, false);
    net_conn_detach(net, conn);
    sendqueue_fini(&net->sendpool, &conn->busy->queue);
    conn->stream.pending_bytes = 0;
    conn->flags &= ~(uint32_t)(CONN_ACK_NOW | CONN_ACK_OWED | CONN_PERSIST | CONN_TELL_DRAINED);
    conn->error = (uint8_t)error;
    net_count(&net->counters.closed, 1);
    if (error == ETIMEDOUT)
        net_count(&net->counters.timed_out, 1);
    if (conn->flags & CONN_TOLD_CLOSED) {
        net_conn_let_go(net, conn);
        return;
    }
    conn->flags |= CONN_TELL_CLOSED;
    conn_ready(net, conn);
}

void tcp_abort(struct net *net, struct net_conn *conn, int error)
{
    if (conn->state == NET_STATE_CLOSED)
        return;
    if (conn->state != NET_STATE_SYN_SENT)
        tcp_send_reset(net, conn);
    net_count(&net->counters.aborted, 1);
    tcp_finish(net, conn, error);
}

void tcp_enter_time_wait(struct net *net, struct net_conn *conn)
{
    struct timewait_entry entry = {.snd_nxt = conn->busy->recovery.nxt,
                                   .rcv_nxt = conn->rcv_nxt,
                                   .ts_recent = conn->ts_recent};

    if (conn->flags & CONN_TIMESTAMPS)
        entry.flags = TIMEWAIT_TIMESTAMPS;
    /* The FIN is acknowledged by the connection as long as it is one. */
    if (conn->flags & (CONN_ACK_NOW | CONN_ACK_OWED))
        tcp_send_ack(net, conn);
    uint64_t hash = net_flow_hash(&net->key, &conn->flow);
    timewait_add(&net->timewait, hash, &entry, net->now_us);
    tcp_finish(net, conn, 0);
}

void tcp_fin_received(struct net *net, struct net_conn *conn)
{
    if (conn->flags & CONN_FIN_RECEIVED)
        return;
    conn->rcv_nxt++;
    /* The edge is behind the FIN: nothing more may come. */
    if (seq_after(conn->rcv_nxt, conn->rcv_edge))
        conn->rcv_edge = conn->rcv_nxt;
    conn->flags |= CONN_FIN_RECEIVED | CONN_ACK_NOW;
    conn_dirty(net, conn);
    if ((conn->flags & CONN_ORPHAN) == 0) {
        conn->flags |= CONN_TELL_END;
        if ((conn->flags & CONN_PAUSED) == 0)
            conn_ready(net, conn);
    }
    switch (conn->state) {
    case NET_STATE_ESTABLISHED:
        conn->state = NET_STATE_CLOSE_WAIT;
        break;
    case NET_STATE_FIN_WAIT_1:
        conn->state = NET_STATE_CLOSING;
        break;
    case NET_STATE_FIN_WAIT_2:
        tcp_enter_time_wait(net, conn);
        break;
    default:
        break;
    }
}

bool tcp_fin_acked(struct net *net, struct net_conn *conn)
{
    switch (conn->state) {
    case NET_STATE_FIN_WAIT_1:
        conn->state = NET_STATE_FIN_WAIT_2;
        if (conn->flags & CONN_ORPHAN)
            tcp_orphaned(net, conn);
        return true;
    case NET_STATE_CLOSING:
        tcp_enter_time_wait(net, conn);
        return false;
    case NET_STATE_LAST_ACK:
        tcp_finish(net, conn, 0);
        return false;
    default:
        return true;
    }
}

void tcp_orphaned(struct net *net, struct net_conn *conn)
{
    /* A peer that never closes its side would keep the block for ever. */
    if (conn->state == NET_STATE_FIN_WAIT_2)
        conn->idle_ms = tcp_deadline_ms(net, (uint64_t)net->options.fin_wait2_s * 1000000);
    tcp_alarm(net, conn);
}

/* ---- TIME-WAIT ----------------------------------------------------------------------------- */

static void time_wait_ack(struct net *net, const struct timewait_entry *entry,
                          const struct frame *frame)
{
    struct tcp_bare bare = {.seq = entry->snd_nxt, .ack = entry->rcv_nxt, .flags = TCP_ACK};
    uint8_t bytes[TCP_OPTIONS_TIMESTAMPS_LEN];

    if (!net_limit_take(&net->time_wait_acks, net->now_us, NET_TIME_WAIT_ACKS_PER_S)) {
        net_count(&net->counters.challenge_acks_limited, 1);
        return;
    }
    if (entry->flags & TIMEWAIT_TIMESTAMPS) {
        tcp_options_write_timestamps(bytes,
                                     net_now_ms(net) +
                                         isn_timestamp_offset(&net->isn, &frame->flow),
                                     entry->ts_recent);
        bare.options = bytes;
        bare.options_len = sizeof bytes;
    }
    if (tcp_send_bare(net, &frame->flow, frame_source_mac(frame), frame->vlan, &bare))
        net_count(&net->counters.tx_acks, 1);
}

void tcp_time_wait_segment(struct net *net, struct timewait_entry *entry, struct packet *packet,
                           const struct frame *frame, uint64_t hash)
{
    const struct net_listener *listener = net_listener_find(net, frame->flow.local_port);
    struct timewait_segment segment = {.seq = frame->seq,
                                       .seg_len = frame_seg_len(frame),
                                       .flags = frame->flags};
    struct tcp_options options;
    struct timewait_entry last;

    if (!tcp_options_parse(frame_options(frame), frame->options_len, (frame->flags & TCP_SYN) != 0,
                           &options)) {
        packet_release(net->port, packet);
        return;
    }
    segment.timestamps = (options.present & TCP_OPTION_TIMESTAMPS) != 0;
    segment.ts_value = segment.timestamps ? options.ts_value : 0;
    switch (timewait_judge(entry, &segment)) {
    case TIMEWAIT_DROP:
        break;
    case TIMEWAIT_FIN:
        timewait_restart(&net->timewait, entry, net->now_us);
        time_wait_ack(net, entry, frame);
        break;
    case TIMEWAIT_ACK:
        time_wait_ack(net, entry, frame);
        break;
    case TIMEWAIT_REUSE:
        if (listener == NULL) {
            tcp_refuse(net, frame);
            break;
        }
        last = *entry;
        timewait_remove(&net->timewait, entry);
        net_count(&net->counters.time_wait_reused, 1);
        tcp_listen_segment(net, listener, packet, frame, hash, &last);
        return;
    }
    packet_release(net->port, packet);
}

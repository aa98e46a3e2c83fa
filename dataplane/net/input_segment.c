/* A segment for a connection: RFC 9293 section 3.10.7, with RFC 5961 and RFC 7323. */
#include <assert.h>
#include <errno.h>

#include "dataplane/net/net_inside.h"

enum { PAWS_IDLE_MS = 24 * 24 * 3600 * 1000 }; /* RFC 7323 section 5.5 */

static void drop(struct net *net, struct packet *packet)
{
    packet_release(net->port, packet);
}

static void owe_ack(struct net *net, struct net_conn *conn)
{
    conn->flags |= CONN_ACK_OWED;
    conn->ack_segments += conn->ack_segments < UINT8_MAX;
    conn_dirty(net, conn);
}

static void ack_now(struct net *net, struct net_conn *conn)
{
    conn->flags |= CONN_ACK_NOW;
    conn_dirty(net, conn);
}

/* Padding and what is trimmed may be written over, too. */
static void set_room(struct packet *packet, const uint8_t *payload_end)
{
    packet->room = (uint16_t)(packet->room + (packet->data + packet->len - payload_end));
}

/* The last packets are for those who read at once, or nothing could be received any more, no
 * acknowledgment either. It is not acknowledged, so it comes again. */
static bool must_drop(struct net *net, const struct net_conn *conn)
{
    if (!net->scarce || (conn->flags & CONN_PAUSED) == 0)
        return false;
    net_count(&net->counters.rx_no_memory, 1);
    return true;
}

/* ---- the common case ----------------------------------------------------------------------- */

/* In-order data or a plain ACK on an established connection with nothing odd about it (Van
 * Jacobson's header prediction). False: the long way; nothing has changed then. */
static bool predicted(struct net *net, struct net_conn *conn, struct packet *packet,
                      const struct frame *frame)
{
    struct tcp_options options;
    uint32_t len = frame->payload_len;

    if (conn->state != NET_STATE_ESTABLISHED || (frame->flags & ~TCP_PSH) != TCP_ACK ||
        frame->seq != conn->rcv_nxt || conn->busy->reorder != NULL ||
        (conn->flags & (CONN_FIN_RECEIVED | CONN_ORPHAN | CONN_PROBED)) != 0 ||
        (frame->tos & WIRE_ECN_CE) == WIRE_ECN_CE || len > conn->rcv_edge - conn->rcv_nxt ||
        frame->ack - conn->busy->recovery.una > conn->busy->recovery.nxt - conn->busy->recovery.una)
        return false;
    options.present = 0;
    if (conn->flags & CONN_TIMESTAMPS) {
        if (!tcp_options_timestamps_only(frame_options(frame), frame->options_len,
                                         &options.ts_value, &options.ts_echo) ||
            seq_before(options.ts_value, conn->ts_recent))
            return false;
        options.present = TCP_OPTION_TIMESTAMPS;
        /* The segment begins at or before what we acknowledged last only if that was RCV.NXT. */
        if (conn->rcv_acked == conn->rcv_nxt) {
            conn->ts_recent = options.ts_value;
            conn->ts_recent_ms = net_now_ms(net);
        }
    } else if (frame->options_len != 0) {
        return false;
    }
    conn->heard_ms = net_now_ms(net);
    if ((!tcp_ack_all(net, conn, frame) && !tcp_ack_segment(net, conn, frame, &options)) ||
        len == 0 || must_drop(net, conn)) {
        drop(net, packet);
        return true;
    }
    set_room(packet, frame->payload + len);
    tcp_receive(net, conn, packet, (uint8_t *)(uintptr_t)frame->payload, len);
    owe_ack(net, conn);
    return true;
}

/* ---- checks before the state counts -------------------------------------------------------- */

/* RFC 7323 section 5: an old duplicate by its timestamp. */
static bool is_old(struct net *net, const struct net_conn *conn, const struct tcp_options *options)
{
    return seq_before(options->ts_value, conn->ts_recent) &&
           net_now_ms(net) - conn->ts_recent_ms < (uint32_t)PAWS_IDLE_MS;
}

static bool timestamps_pass(struct net *net, struct net_conn *conn, const struct frame *frame,
                            const struct tcp_options *options)
{
    if ((conn->flags & CONN_TIMESTAMPS) == 0 || (frame->flags & TCP_RST))
        return true;
    if ((options->present & TCP_OPTION_TIMESTAMPS) == 0) {
        /* Section 3.2: once agreed on, every segment has them. A SYN gets its challenge. */
        if ((frame->flags & TCP_SYN) == 0) {
            net_count(&net->counters.paws_dropped, 1);
            return false;
        }
        return true;
    }
    if (!is_old(net, conn, options))
        return true;
    net_count(&net->counters.paws_dropped, 1);
    if (frame->payload_len > 0 && seq_before(frame->seq, conn->rcv_nxt))
        tcp_duplicate(net, conn, frame->seq, frame->seq + frame->payload_len);
    tcp_challenge(net, conn);
    return false;
}

static void take_timestamp(struct net *net, struct net_conn *conn, const struct frame *frame,
                           const struct tcp_options *options)
{
    if ((conn->flags & CONN_TIMESTAMPS) == 0 || (options->present & TCP_OPTION_TIMESTAMPS) == 0 ||
        (frame->flags & TCP_RST))
        return;
    /* A probe of a shut window is looked at for its ACK, but is not acceptable. */
    if (conn->rcv_edge == conn->rcv_nxt && frame_seg_len(frame) > 0)
        return;
    /* Section 4.3: of the segment that the next ACK answers. */
    if (!seq_after(frame->seq, conn->rcv_acked) &&
        (!seq_before(options->ts_value, conn->ts_recent) ||
         net_now_ms(net) - conn->ts_recent_ms >= (uint32_t)PAWS_IDLE_MS)) {
        conn->ts_recent = options->ts_value;
        conn->ts_recent_ms = net_now_ms(net);
    }
}

/* Some of the segment is what we wait for. An empty one may stand at the right edge, where a peer
 * is that has filled the window. */
static bool in_window(const struct net_conn *conn, const struct frame *frame)
{
    uint32_t len = frame_seg_len(frame), window = conn->rcv_edge - conn->rcv_nxt;
    uint32_t offset = frame->seq - conn->rcv_nxt;

    if (offset <= window && (len == 0 || offset < window || offset == 0))
        return true;
    return len > 0 && seq_before(frame->seq, conn->rcv_nxt) &&
           seq_after(frame->seq + len, conn->rcv_nxt);
}

/* RFC 5961 section 3: only an exact RST ends a connection. */
static void reset_segment(struct net *net, struct net_conn *conn, const struct frame *frame)
{
    uint32_t offset = frame->seq - conn->rcv_nxt;

    if (offset == 0) {
        net_count(&net->counters.resets_received, 1);
        int error = conn->state == NET_STATE_SYN_RECEIVED ? ECONNREFUSED : ECONNRESET;
        /* All was said by both: nothing is lost (RFC 9293 section 3.10.7.4, last states). */
        if (conn->state == NET_STATE_CLOSING || conn->state == NET_STATE_LAST_ACK)
            error = 0;
        tcp_finish(net, conn, error);
    } else if (offset < conn->rcv_edge - conn->rcv_nxt) {
        tcp_challenge(net, conn);
    }
}

/* Both sides may probe shut windows at the same time. If each takes the other's byte, each one's
 * ACKs are numbered one byte too low for the other until one of them counts nonetheless
 * (draft-gont-tcpm-tcp-seq-validation, "simultaneous window probes"). A guess has to be as exact as
 * that of an RST. False: the connection is over. */
static bool ack_of_our_probe(struct net *net, struct net_conn *conn, const struct frame *frame,
                             const struct tcp_options *options)
{
    if ((conn->flags & CONN_PROBED) == 0 || frame->seq != conn->rcv_nxt - 1 ||
        (frame->flags & (TCP_ACK | TCP_FIN)) != TCP_ACK || frame->payload_len > 1 ||
        frame->ack != conn->busy->recovery.nxt + 1)
        return true;
    return tcp_ack_segment(net, conn, frame, options);
}

/* Whole segments from before or behind the window. */
static void outside_window(struct net *net, struct net_conn *conn, const struct frame *frame,
                           const struct tcp_options *options)
{
    uint32_t end = frame->seq + frame->payload_len;

    net_count(&net->counters.rx_outside_window, 1);
    if (!ack_of_our_probe(net, conn, frame, options))
        return;
    if (frame_seg_len(frame) > 0 && !seq_after(end, conn->rcv_nxt) &&
        conn->rcv_nxt - frame->seq < 1u << 30) {
        /* Sent again because our ACK was lost, or was late: it decides the peer's recovery. */
        if (frame->payload_len > 0)
            tcp_duplicate(net, conn, frame->seq, end);
        ack_now(net, conn);
    } else if (frame_seg_len(frame) > 0 && frame->seq == conn->rcv_edge) {
        ack_now(net, conn); /* a probe of a window that is not open yet */
    } else {
        tcp_challenge(net, conn);
    }
}

/* ---- payload ------------------------------------------------------------------------------- */

static void congestion_marks(struct net *net, struct net_conn *conn, const struct frame *frame)
{
    if ((conn->flags & CONN_ECN) == 0)
        return;
    if (frame->flags & TCP_CWR)
        conn->flags &= ~(uint32_t)CONN_ECN_ECHO;
    if ((frame->tos & WIRE_ECN_CE) == WIRE_ECN_CE && frame->payload_len > 0) {
        conn->flags |= CONN_ECN_ECHO;
        ack_now(net, conn);
    }
}

/* The caller has closed and everything that it said has arrived: what the peer still sends nobody
 * will read (RFC 9293 section 3.6.1, MUST-... "half-closed" by RFC 1122 section 4.2.2.13). */
static bool nobody_reads(struct net *net, struct net_conn *conn, uint32_t len)
{
    if ((conn->flags & CONN_ORPHAN) == 0 || len == 0 || conn->state != NET_STATE_FIN_WAIT_2)
        return false;
    tcp_abort(net, conn, 0);
    return true;
}

/* Takes payload and FIN; the packet's reference too. */
static void take_payload(struct net *net, struct net_conn *conn, struct packet *packet,
                         const struct frame *frame)
{
    uint8_t *payload = (uint8_t *)(uintptr_t)frame->payload;
    uint32_t seq = frame->seq, len = frame->payload_len;
    uint32_t window = conn->rcv_edge - conn->rcv_nxt;
    bool fin = (frame->flags & TCP_FIN) != 0;

    congestion_marks(net, conn, frame);
    if (conn->state == NET_STATE_CLOSE_WAIT || conn->state >= NET_STATE_CLOSING ||
        (conn->flags & CONN_FIN_RECEIVED) || (len == 0 && !fin)) {
        /* Nothing comes behind the FIN; the peer's own is repeated if the ACK was lost. */
        if (len > 0 || fin)
            ack_now(net, conn);
        drop(net, packet);
        return;
    }
    if (seq_before(seq, conn->rcv_nxt)) {
        uint32_t known = conn->rcv_nxt - seq;

        if (len > 0)
            tcp_duplicate(net, conn, seq, seq + (known < len ? known : len));
        known = known < len ? known : len;
        payload += known;
        seq += known;
        len -= known;
        ack_now(net, conn);
    }
    if (seq - conn->rcv_nxt + len + fin > window) {
        uint32_t room = seq - conn->rcv_nxt < window ? window - (seq - conn->rcv_nxt) : 0;
        len = len < room ? len : room;
        fin = false;
        ack_now(net, conn);
    }
    if (nobody_reads(net, conn, len) || (len > 0 && must_drop(net, conn))) {
        drop(net, packet);
        return;
    }
    set_room(packet, payload + len);
    if (seq != conn->rcv_nxt) {
        tcp_receive_out_of_order(net, conn, packet, payload, seq, len, fin);
        /* RFC 5681 section 4.2: at once, for the peer's fast retransmit counts them. */
        if (!tcp_send_ack(net, conn))
            ack_now(net, conn);
        return;
    }
    if (len > 0) {
        tcp_receive(net, conn, packet, payload, len);
        owe_ack(net, conn);
    } else {
        drop(net, packet);
    }
    if (conn->busy->reorder != NULL &&
        (conn->busy->reorder->first != NULL || conn->busy->reorder->has_fin)) {
        ack_now(net, conn); /* a hole is filled, or made smaller */
        fin = tcp_receive_join(net, conn) || (fin && seq + len == conn->rcv_nxt);
    }
    if (fin)
        tcp_fin_received(net, conn);
}

/* ---- the long way -------------------------------------------------------------------------- */

/* Steps one to four of section 3.10.7.4. True: ACK and payload are to be looked at. */
static bool acceptable(struct net *net, struct net_conn *conn, const struct frame *frame,
                       const struct tcp_options *options)
{
    if (!timestamps_pass(net, conn, frame, options))
        return false;
    if (frame->flags & TCP_SYN) {
        if (frame->flags & TCP_RST)
            return false;
        /* Both sides opened at once: the peer's SYN-ACK answers our SYN. */
        if (conn->state == NET_STATE_SYN_RECEIVED && frame->seq == conn->rcv_nxt - 1) {
            if (frame->flags & TCP_ACK)
                return true;
            tcp_send_syn(net, conn);
            return false;
        }
        tcp_challenge(net, conn);
        return false;
    }
    if (!in_window(conn, frame)) {
        if ((frame->flags & TCP_RST) == 0)
            outside_window(net, conn, frame, options);
        return false;
    }
    if (frame->flags & TCP_RST) {
        reset_segment(net, conn, frame);
        return false;
    }
    return (frame->flags & TCP_ACK) != 0;
}

static void slow_segment(struct net *net, struct net_conn *conn, struct packet *packet,
                         const struct frame *frame)
{
    struct tcp_options options;

    if (!tcp_options_parse(frame_options(frame), frame->options_len, (frame->flags & TCP_SYN) != 0,
                           &options)) {
        net_count(&net->counters.rx_malformed, 1);
        drop(net, packet);
        return;
    }
    if (!acceptable(net, conn, frame, &options)) {
        drop(net, packet);
        return;
    }
    conn->heard_ms = net_now_ms(net);
    if (conn->state == NET_STATE_SYN_RECEIVED && !tcp_syn_received_segment(net, conn, frame)) {
        drop(net, packet);
        return;
    }
    take_timestamp(net, conn, frame, &options);
    if ((frame->flags & TCP_SYN) || !tcp_ack_segment(net, conn, frame, &options)) {
        drop(net, packet);
        return;
    }
    take_payload(net, conn, packet, frame);
}

void tcp_segment(struct net *net, struct net_conn *conn, struct packet *packet,
                 const struct frame *frame)
{
    if (predicted(net, conn, packet, frame))
        return;
    if (conn->state == NET_STATE_SYN_SENT) {
        tcp_syn_sent_segment(net, conn, frame);
        drop(net, packet);
        return;
    }
    slow_segment(net, conn, packet, frame);
}

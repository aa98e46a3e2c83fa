/* Sending: segments of the queue as windows allow, ACKs that are owed, resets. */
#include <assert.h>
#include <string.h>

#include "dataplane/net/net_inside.h"
#include "dataplane/net/window.h"
#include "dataplane/net/wire_plain.h"

enum {
    CHECKSUM_OFFLOADS = PACKET_TX_IP_CHECKSUM | PACKET_TX_TCP_CHECKSUM,
    ALARM_EARLY_TICKS = 32, /* a timer that fires so much too soon costs less than to put it off */
};

/* ---- writing segments ---------------------------------------------------------------------- */

/* Puts the headers in front of `body`, where the payload of the packet starts or would start. `tso`:
 * PACKET_TX_TSO or 0. */
static void write_headers(struct net *net, struct packet *packet, uint8_t *body,
                          const struct wire_segment *segment, const uint8_t *payload, uint32_t tso)
{
    unsigned headers = wire_segment_len(segment);
    uint32_t offloads = (net->port->offloads & CHECKSUM_OFFLOADS) | tso;
    uint64_t sum = 0;

    if ((offloads & PACKET_TX_TCP_CHECKSUM) == 0 && segment->payload_len > 0)
        sum = checksum_sum(payload, segment->payload_len);
    struct wire_lengths lengths = wire_write_segment(body - headers, segment, offloads, sum);
    if (!net_address_is_v4(&segment->flow->local))
        offloads &= ~(uint32_t)PACKET_TX_IP_CHECKSUM;
    packet->data = body - headers;
    packet->len = (uint16_t)(headers + (packet->more != NULL ? 0 : segment->payload_len));
    packet->flags = (uint16_t)offloads;
    packet->l2_len = (uint8_t)lengths.l2;
    packet->l3_len = (uint8_t)lengths.l3;
}

bool tcp_send_bare(struct net *net, const struct net_flow *flow, const uint8_t mac[6],
                   uint16_t vlan, const struct tcp_bare *bare)
{
    struct packet *packet;

    if (!net_transmit_room(net)) {
        net_count(&net->counters.tx_queue_full, 1);
        return false;
    }
    packet = net_alloc(net);
    if (packet == NULL)
        return false;
    struct wire_segment segment = {.flow = flow,
                                   .remote_mac = mac,
                                   .local_mac = net->port->mac,
                                   .vlan = vlan,
                                   .window = bare->window,
                                   .seq = bare->seq,
                                   .ack = bare->ack,
                                   .flags = bare->flags,
                                   .tos = bare->tos,
                                   .options_len = bare->options_len,
                                   .options = bare->options};
    write_headers(net, packet, packet->data, &segment, NULL, 0);
    return net_transmit(net, packet);
}

/* Timestamps, and as many SACK blocks as `room` bytes hold. Returns the length. */
static unsigned write_options(const struct net *net, const struct net_conn *conn, unsigned room,
                              uint8_t *bytes)
{
    struct tcp_options options = {.present = 0};

    if (conn->flags & CONN_TIMESTAMPS) {
        options.present = TCP_OPTION_TIMESTAMPS;
        options.ts_value = net_now_ms(net) + conn->ts_offset;
        options.ts_echo = conn->ts_recent;
        if (conn->busy->reorder == NULL) {
            tcp_options_write_timestamps(bytes, options.ts_value, options.ts_echo);
            return TCP_OPTIONS_TIMESTAMPS_LEN;
        }
        room -= room < TCP_OPTIONS_TIMESTAMPS_LEN ? room : TCP_OPTIONS_TIMESTAMPS_LEN;
    }
    if (conn->busy->reorder != NULL && (conn->flags & CONN_SACK) && room >= 12) {
        options.sack_count = (uint8_t)tcp_sack_blocks(conn, options.sack, (room - 4) / 8);
        if (options.sack_count > 0)
            options.present |= TCP_OPTION_SACK;
    }
    return options.present != 0 ? tcp_options_write(bytes, &options) : 0;
}

static uint16_t window_field(struct net *net, struct net_conn *conn)
{
    return (uint16_t)(tcp_window(net, conn) >> conn->rcv_scale);
}

/* Every segment tells RCV.NXT: what was owed is paid. */
static void acked(struct net_conn *conn)
{
    conn->flags &= ~(uint32_t)(CONN_ACK_NOW | CONN_ACK_OWED);
    conn->rcv_acked = conn->rcv_nxt;
    conn->ack_segments = 0;
    conn->busy->ack_ms = 0;
}

static struct wire_segment segment_of(struct net *net, struct net_conn *conn, uint32_t seq,
                                      uint8_t flags)
{
    if (conn->flags & CONN_ECN_ECHO)
        flags |= TCP_ECE;
    return (struct wire_segment){.flow = &conn->flow,
                                 .remote_mac = conn->remote_mac,
                                 .local_mac = net->port->mac,
                                 .vlan = conn->vlan,
                                 .window = window_field(net, conn),
                                 .seq = seq,
                                 .ack = conn->rcv_nxt,
                                 .flags = flags};
}

/* A segment without payload of ours at `seq`. */
static bool send_empty(struct net *net, struct net_conn *conn, uint32_t seq, uint8_t flags)
{
    uint8_t bytes[TCP_OPTIONS_MAX];
    struct packet *packet;

    if (!net_transmit_room(net)) {
        net_count(&net->counters.tx_queue_full, 1);
        return false;
    }
    packet = net_alloc(net);
    if (packet == NULL)
        return false;
    struct wire_segment segment = segment_of(net, conn, seq, flags);
    segment.options_len = (uint8_t)write_options(net, conn, TCP_OPTIONS_MAX, bytes);
    segment.options = bytes;
    write_headers(net, packet, packet->data, &segment, NULL, 0);
    return net_transmit(net, packet);
}

bool tcp_send_ack(struct net *net, struct net_conn *conn)
{
    if (!send_empty(net, conn, conn->busy->recovery.nxt, TCP_ACK))
        return false;
    net_count(&net->counters.tx_acks, 1);
    tcp_sack_told(net, conn);
    acked(conn);
    return true;
}

/* RFC 5961 section 7, with a count for each connection: a common one tells strangers about others'
 * connections. */
void tcp_challenge(struct net *net, struct net_conn *conn)
{
    uint16_t second = (uint16_t)(net->now_us / 1000000);

    if (second != conn->challenge_second) {
        conn->challenge_second = second;
        conn->challenges = 0;
    }
    if (conn->challenges >= NET_CHALLENGES_PER_S) {
        net_count(&net->counters.challenge_acks_limited, 1);
        return;
    }
    conn->challenges++;
    net_count(&net->counters.challenge_acks, 1);
    conn->flags |= CONN_ACK_NOW;
    conn_dirty(net, conn);
}

void tcp_send_reset(struct net *net, struct net_conn *conn)
{
    if (send_empty(net, conn, conn->busy->recovery.nxt, TCP_RST | TCP_ACK))
        net_count(&net->counters.tx_resets, 1);
}

void tcp_refuse(struct net *net, const struct frame *frame)
{
    struct tcp_bare bare = {.flags = TCP_RST};

    if (frame->flags & TCP_RST)
        return;
    if (!net_limit_take(&net->resets, net->now_us, NET_RESETS_PER_S)) {
        net_count(&net->counters.resets_limited, 1);
        return;
    }
    if (frame->flags & TCP_ACK) {
        bare.seq = frame->ack;
    } else {
        bare.flags |= TCP_ACK;
        bare.ack = frame->seq + frame_seg_len(frame);
    }
    if (tcp_send_bare(net, &frame->flow, frame_source_mac(frame), frame->vlan, &bare))
        net_count(&net->counters.tx_resets, 1);
}

/* ---- segments of the queue ----------------------------------------------------------------- */

/* Makes the segment fit to be (re)written: cut to the MSS, and ours alone. NULL: no packet. */
static struct packet *prepare(struct net *net, struct net_conn *conn, struct packet *packet,
                              uint32_t payload_max)
{
    struct sendpool *pool = &net->sendpool;

    if ((packet->state & SEGMENT_SENT) && packet_shared(net->port, packet)) {
        struct packet *copy = sendqueue_replace(pool, &conn->busy->queue, packet);

        if (copy == NULL)
            return NULL;
        recovery_replaced(&conn->busy->recovery, packet, copy);
        packet = copy;
    }
    /* A part that is acknowledged does not go again: cut in two, the first piece could be nothing
     * else, and would be sent for ever. */
    if (packet->sends > 0 && seq_before(packet->seq, conn->busy->recovery.una)) {
        uint32_t known = conn->busy->recovery.una - packet->seq;

        recovery_trimmed(&conn->busy->recovery, packet, known);
        sendqueue_trim(&conn->busy->queue, packet, known);
    }
    if (segment_payload(packet) > payload_max) {
        if (sendqueue_split(pool, &conn->busy->queue, packet, payload_max) < 0)
            return NULL;
        if (packet->sends > 0)
            recovery_split(&conn->busy->recovery, packet, packet->next);
    }
    return packet;
}

static uint8_t flags_of(const struct net_conn *conn, const struct packet *packet)
{
    uint8_t flags = TCP_ACK;

    if (packet->state & SEGMENT_FIN)
        flags |= TCP_FIN;
    /* Nothing follows for now: the receiver need not wait (RFC 9293 section 3.9.1.2). */
    if (segment_payload(packet) > 0 && ((packet->next == NULL && conn->busy->queue.piece == NULL) ||
                                        (packet->state & SEGMENT_PUSH)))
        flags |= TCP_PSH;
    return flags;
}

/* The first transmission of a segment. */
static void leave_unsent(struct net_conn *conn, struct packet *packet, uint32_t payload)
{
    conn->busy->queue.unsent = packet->next;
    conn->stream.pending_bytes -= payload;
    /* The reply came in time to carry the ACK: waiting for one is worth it. */
    if (conn->flags & CONN_ACK_OWED)
        conn->flags &= ~(uint32_t)CONN_ACK_QUICK;
}

/* Hands a segment to the port. Returns the length of the options that it got. */
static unsigned put_segment(struct net *net, struct net_conn *conn, struct packet *packet,
                            uint8_t flags, uint8_t tos)
{
    uint32_t payload = segment_payload(packet);
    unsigned room = (unsigned)conn->mss + TCP_OPTIONS_TIMESTAMPS_LEN - payload;
    uint8_t bytes[TCP_OPTIONS_MAX];
    uint8_t *body = packet->data + packet->len - (packet->more != NULL ? 0 : payload);
    struct wire_segment segment = segment_of(net, conn, packet->seq, flags);

    if ((conn->flags & CONN_TIMESTAMPS) == 0)
        room -= TCP_OPTIONS_TIMESTAMPS_LEN;
    segment.options_len =
        (uint8_t)write_options(net, conn, room < TCP_OPTIONS_MAX ? room : TCP_OPTIONS_MAX, bytes);
    segment.options = bytes;
    segment.payload_len = payload;
    segment.tos = tos;
    write_headers(net, packet, body, &segment, segment_data(packet), 0);
    packet_hold(net->port, packet);
    net_transmit(net, packet);
    return segment.options_len;
}

/* Hands all that are held back to the port as one frame. */
static void put_frame(struct net *net, struct net_conn *conn)
{
    uint8_t bytes[TCP_OPTIONS_MAX];
    struct wire_segment segment = segment_of(net, conn, net->tso.first->seq, net->tso.flags);
    struct packet *frame;

    segment.options_len = (uint8_t)write_options(net, conn, TCP_OPTIONS_TIMESTAMPS_LEN, bytes);
    segment.options = bytes;
    segment.payload_len = net->tso.bytes;
    segment.tos = net->tso.tos;
    net_count(&net->counters.tx_tso_frames, 1);
    net_count(&net->counters.tx_tso_segments, net->tso.count);
    frame = tso_take(&net->tso, net->port, WIRE_TCP_LEN + segment.options_len);
    write_headers(net, frame, frame->data, &segment, NULL, PACKET_TX_TSO);
    net_transmit(net, frame);
}

/* What is held back goes now: nothing that is sent may come before it. */
static void put_held(struct net *net, struct net_conn *conn)
{
    struct tso *tso = &net->tso;

    if (tso->first == NULL)
        return;
    if (tso->frame != NULL) {
        put_frame(net, conn);
        return;
    }
    /* Few, for which there is room. */
    for (struct packet *packet = tso->first; tso->count > 0; packet = packet->next)
        put_segment(net, conn, packet, --tso->count == 0 ? tso->flags : TCP_ACK, tso->tos);
    tso->first = NULL;
}

/* Whether a segment that is sent for the first time waits for others to make a frame with. */
static bool hold_back(struct net *net, struct net_conn *conn, struct packet *packet, uint8_t flags,
                      uint8_t tos)
{
    bool v4 = net_address_is_v4(&conn->flow.local);
    uint32_t headers;

    if (net->tso.first != NULL) {
        if (tso_join(&net->tso, &net->sendpool, &conn->busy->queue, packet, flags, tos))
            return true;
        put_held(net, conn);
    }
    /* PSH: there is nothing behind it. */
    if (flags != TCP_ACK || (conn->flags & CONN_ECN_ECHO) != 0 || conn->busy->reorder != NULL)
        return false;
    headers = WIRE_ETHERNET_LEN + (conn->vlan != WIRE_NO_VLAN ? WIRE_VLAN_LEN : 0) +
              (v4 ? WIRE_IPV4_LEN : WIRE_IPV6_LEN) + WIRE_TCP_LEN +
              ((conn->flags & CONN_TIMESTAMPS) != 0 ? TCP_OPTIONS_TIMESTAMPS_LEN : 0);
    if (!tso_fits(net->port, v4, segment_payload(packet), headers))
        return false;
    tso_begin(&net->tso, packet, tos);
    return true;
}

/* Sends a segment that is ready, first or again. It may be held back until put_held(). */
static void send_segment(struct net *net, struct net_conn *conn, struct packet *packet)
{
    uint32_t payload = segment_payload(packet);
    bool fresh = packet == conn->busy->queue.unsent;
    uint8_t flags = flags_of(conn, packet), tos = WIRE_ECN_NONE;
    unsigned options_len = TCP_OPTIONS_TIMESTAMPS_LEN;

    if (fresh && payload > 0 && (conn->flags & CONN_ECN)) {
        tos = WIRE_ECN_ECT0; /* not on what is sent again: RFC 3168 section 6.1.5 */
        if (conn->flags & CONN_ECN_REDUCED) {
            flags |= TCP_CWR;
            conn->flags &= ~(uint32_t)CONN_ECN_REDUCED;
        }
    }
    packet->state |= SEGMENT_SENT | ((flags & TCP_PSH) != 0 ? SEGMENT_PUSH : 0);
    if (!fresh || !hold_back(net, conn, packet, flags, tos)) {
        put_held(net, conn);
        options_len = put_segment(net, conn, packet, flags, tos);
    }
    if (fresh) {
        leave_unsent(conn, packet, payload);
    } else {
        conn->retransmits += conn->retransmits < UINT16_MAX;
        net_count(&net->counters.tx_retransmits, 1);
    }
    net_count(&net->counters.tx_segments, 1);
    recovery_sent(&conn->busy->recovery, packet, net_now_ms(net) + conn->ts_offset, net->now_us);
    if (conn->busy->stalled_ms == 0)
        conn->busy->stalled_ms = net_now_ms(net) | 1;
    if (conn->busy->reorder != NULL &&
        (conn->flags & (CONN_SACK | CONN_ACK_NOW)) == (CONN_SACK | CONN_ACK_NOW) &&
        options_len <= TCP_OPTIONS_TIMESTAMPS_LEN)
        return; /* no room for the blocks: an ACK of its own tells of them */
    tcp_sack_told(net, conn);
    acked(conn);
}

/* ---- the common case ----------------------------------------------------------------------- */

/* A connection with any of these goes the long way. */
static const uint32_t CONN_NOT_PLAIN = CONN_FIN_WANTED | CONN_FIN_QUEUED | CONN_ECN_ECHO |
                                       CONN_ECN_REDUCED | CONN_PERSIST | CONN_PROBED |
                                       CONN_PROBE_DUE;

/* The only unsent segment may go as it is. */
static bool is_reply(struct net *net, struct net_conn *conn)
{
    struct recovery *recovery = &conn->busy->recovery;
    const struct packet *packet = conn->busy->queue.unsent;
    int32_t usable = (int32_t)(recovery->una + conn->snd_wnd - recovery->nxt);

    if (packet == NULL || packet->next != NULL || packet->more != NULL ||
        conn->busy->queue.piece != NULL || recovery->lost_bytes != 0 ||
        conn->busy->reorder != NULL ||
        (conn->flags & (CONN_TIMESTAMPS | CONN_NOT_PLAIN)) != CONN_TIMESTAMPS ||
        conn->vlan != WIRE_NO_VLAN || !net_address_is_v4(&conn->flow.local))
        return false;
    return packet->seg_len <= conn->mss && (int32_t)packet->seg_len <= usable &&
           recovery_may_send(recovery, packet->seg_len, net->now_us) && net_transmit_room(net);
}

/* A reply, or a request: what send_next() would do with it, in one go. False: nothing has changed,
 * and it has to. */
static bool send_reply(struct net *net, struct net_conn *conn)
{
    struct packet *packet = conn->busy->queue.unsent;

    if (!is_reply(net, conn))
        return false;
    uint32_t payload = packet->seg_len, stamp = net_now_ms(net) + conn->ts_offset;
    uint32_t offloads = net->port->offloads & CHECKSUM_OFFLOADS;
    uint8_t *body = packet->data + packet->len - payload;
    struct wire_plain segment = {.flow = &conn->flow,
                                 .remote_mac = conn->remote_mac,
                                 .local_mac = net->port->mac,
                                 .seq = packet->seq,
                                 .ack = conn->rcv_nxt,
                                 .ts_value = stamp,
                                 .ts_echo = conn->ts_recent,
                                 .payload_len = payload,
                                 .window = window_field(net, conn),
                                 .flags = TCP_ACK | TCP_PSH,
                                 .tos = conn->flags & CONN_ECN ? WIRE_ECN_ECT0 : WIRE_ECN_NONE};
    uint64_t sum = offloads & PACKET_TX_TCP_CHECKSUM ? 0 : checksum_sum_inline(body, payload);

    wire_write_plain(body - WIRE_PLAIN_LEN, &segment, offloads, sum);
    packet->data = body - WIRE_PLAIN_LEN;
    packet->len = (uint16_t)(WIRE_PLAIN_LEN + payload);
    packet->flags = (uint16_t)offloads;
    packet->l2_len = WIRE_ETHERNET_LEN;
    packet->l3_len = WIRE_IPV4_LEN;
    packet->state |= SEGMENT_SENT | SEGMENT_PUSH;
    leave_unsent(conn, packet, payload);
    net_count(&net->counters.tx_segments, 1);
    recovery_sent(&conn->busy->recovery, packet, stamp, net->now_us);
    if (conn->busy->stalled_ms == 0)
        conn->busy->stalled_ms = net_now_ms(net) | 1;
    packet_hold(net->port, packet);
    net_transmit(net, packet);
    acked(conn);
    return true;
}

/* A reply has put loss recovery's deadlines off, and no other one nearer. As long as the timer
 * fires in time for them, and not much too early, it may stay as it is. */
static void alarm_after_reply(struct net *net, struct net_conn *conn)
{
    uint32_t tick = (uint32_t)(recovery_deadline_us(&conn->busy->recovery) / TIMERS_TICK_US);

    if (!net_timer_armed(&conn->timer) || tick - conn->timer.deadline >= ALARM_EARLY_TICKS)
        tcp_alarm(net, conn);
}

/* ---- what may be sent ---------------------------------------------------------------------- */

enum next { NEXT_SENT, NEXT_NONE, NEXT_WINDOW, NEXT_CWND, NEXT_NO_PACKET };

static enum next resend_lost(struct net *net, struct net_conn *conn)
{
    struct recovery *recovery = &conn->busy->recovery;
    struct packet *packet;

    if (recovery->lost_bytes == 0)
        return NEXT_NONE;
    packet = recovery_lost(recovery, conn->busy->queue.head);
    if (packet == NULL)
        return NEXT_NONE;
    /* RFC 6298 section 5.4: after a timeout the earliest one alone, however small, until it is
     * answered. */
    if (recovery->timeouts > 0 && packet != conn->busy->queue.head)
        return NEXT_CWND;
    if (!recovery_may_send(recovery, packet->seg_len, net->now_us))
        return NEXT_CWND;
    packet = prepare(net, conn, packet, conn->mss);
    if (packet == NULL)
        return NEXT_NO_PACKET;
    send_segment(net, conn, packet);
    return NEXT_SENT;
}

/* The first segment that was never sent; made from pieces, or the FIN, if there is none. */
static enum next first_unsent(struct net *net, struct net_conn *conn)
{
    struct sendqueue *queue = &conn->busy->queue;
    int status = 0;

    /* A small one grows as long as pieces wait that it can take. */
    while (queue->piece != NULL &&
           (queue->unsent == NULL ||
            (queue->unsent == queue->tail && queue->unsent->more == NULL &&
             segment_payload(queue->unsent) < conn->mss && !queue->piece->pinned &&
             queue->piece->len < SENDQUEUE_PINNED_MIN))) {
        status = sendqueue_advance(&net->sendpool, queue, conn->mss);
        if (status < 0)
            break;
    }
    if (queue->piece == NULL &&
        (conn->flags & (CONN_FIN_WANTED | CONN_FIN_QUEUED)) == CONN_FIN_WANTED) {
        status = sendqueue_fin(&net->sendpool, queue);
        if (status == 0)
            conn->flags |= CONN_FIN_QUEUED;
    }
    if (queue->unsent != NULL)
        return NEXT_SENT;
    return status < 0 ? NEXT_NO_PACKET : NEXT_NONE;
}

/* How much of a new segment with `payload` bytes the peer's window takes now: silly window
 * avoidance of RFC 9293 section 3.8.6.2.1 without Nagle's rule. 0: wait. */
static uint32_t window_allows(const struct net_conn *conn, uint32_t payload)
{
    const struct recovery *recovery = &conn->busy->recovery;
    int32_t usable = (int32_t)(recovery->una + conn->snd_wnd - recovery->nxt);

    if (usable <= 0)
        return 0;
    if (payload <= (uint32_t)usable)
        return payload;
    if ((uint32_t)usable >= conn->snd_wnd_max / 2 || (uint32_t)usable >= conn->mss ||
        (conn->flags & CONN_PROBE_DUE))
        return (uint32_t)usable;
    return 0;
}

static enum next send_new(struct net *net, struct net_conn *conn)
{
    enum next found = first_unsent(net, conn);
    struct packet *packet = conn->busy->queue.unsent;
    uint32_t payload, allowed;

    if (found != NEXT_SENT)
        return found;
    payload = segment_payload(packet);
    if (payload > conn->mss)
        payload = conn->mss;
    allowed = window_allows(conn, payload);
    if (allowed == 0 && payload > 0)
        return NEXT_WINDOW;
    if (!recovery_may_send(&conn->busy->recovery, allowed + (payload == 0), net->now_us))
        return NEXT_CWND;
    packet = prepare(net, conn, packet, allowed);
    if (packet == NULL)
        return NEXT_NO_PACKET;
    conn->flags &= ~(uint32_t)(CONN_PROBED | CONN_PROBE_DUE);
    send_segment(net, conn, packet);
    return NEXT_SENT;
}

static enum next send_next(struct net *net, struct net_conn *conn)
{
    enum next result = NEXT_NONE;

    if (conn->busy->recovery.lost_bytes > 0) {
        if (recovery_new_first(&conn->busy->recovery) && send_new(net, conn) == NEXT_SENT)
            return NEXT_SENT;
        result = resend_lost(net, conn);
    }
    return result == NEXT_NONE ? send_new(net, conn) : result;
}

/* ---- ACKs ---------------------------------------------------------------------------------- */

static bool ack_is_due(const struct net *net, const struct net_conn *conn)
{
    if (conn->flags & CONN_ACK_NOW)
        return true;
    if (tcp_window_opened(net, conn))
        return true;
    if ((conn->flags & CONN_ACK_OWED) == 0)
        return false;
    /* RFC 9293 section 3.8.6.3: every second full segment, or what amounts to it. */
    return conn->ack_segments >= 2 || conn->rcv_nxt - conn->rcv_acked >= 2u * conn->mss ||
           (conn->flags & CONN_ACK_QUICK);
}

static void settle_acks(struct net *net, struct net_conn *conn)
{
    if (ack_is_due(net, conn)) {
        if (!tcp_send_ack(net, conn))
            conn->busy->ack_ms = tcp_deadline_ms(net, 1000); /* no packet: soon again */
    } else if ((conn->flags & CONN_ACK_OWED) && conn->busy->ack_ms == 0) {
        conn->busy->ack_ms = tcp_deadline_ms(net, net->options.ack_delay_us);
    }
}

/* ---- the flush of one connection ----------------------------------------------------------- */

static void tell_drained(struct net *net, struct net_conn *conn)
{
    if (conn->stream.pending_bytes > 0)
        return;
    if (conn->flags & CONN_TELL_DRAINED)
        conn_ready(net, conn);
    if ((conn->flags & (CONN_ORPHAN | CONN_TOLD_CLOSED)) == CONN_ORPHAN) {
        conn->flags |= CONN_TELL_CLOSED;
        conn_ready(net, conn);
    }
}

/* Sends what may be sent, and ACKs that are due. */
static void send_all(struct net *net, struct net_conn *conn)
{
    enum next result = NEXT_NONE;

    while (conn->busy->recovery.lost_bytes > 0 || sendqueue_has_unsent(&conn->busy->queue) ||
           (conn->flags & (CONN_FIN_WANTED | CONN_FIN_QUEUED)) == CONN_FIN_WANTED) {
        if (!net_transmit_room(net)) {
            net_count(&net->counters.tx_queue_full, 1);
            conn_dirty(net, conn);
            break;
        }
        result = send_next(net, conn);
        if (result != NEXT_SENT)
            break;
    }
    put_held(net, conn);
    if (result == NEXT_NO_PACKET) {
        net_count(&net->counters.tx_no_packet, 1);
        conn_dirty(net, conn); /* for the next flush */
    } else if (result == NEXT_WINDOW && recovery_flight(&conn->busy->recovery) == 0) {
        tcp_persist(net, conn);
    }
    settle_acks(net, conn);
}

void tcp_output(struct net *net, struct net_conn *conn)
{
    if (conn->state < NET_STATE_ESTABLISHED) {
        if ((conn->flags & CONN_ACK_NOW) && conn->state == NET_STATE_SYN_RECEIVED)
            tcp_send_ack(net, conn);
        return;
    }
    /* Behind a reply there is nothing to send, and no ACK is owed. */
    bool reply = send_reply(net, conn);
    if (!reply)
        send_all(net, conn);
    if (conn->flags & (CONN_TELL_DRAINED | CONN_ORPHAN))
        tell_drained(net, conn);
    if (reply)
        alarm_after_reply(net, conn);
    else
        tcp_alarm(net, conn);
}

/* ---- probes -------------------------------------------------------------------------------- */

bool tcp_send_probe_byte(struct net *net, struct net_conn *conn)
{
    const struct packet *next;
    uint8_t bytes[TCP_OPTIONS_MAX];
    struct packet *packet;

    if (first_unsent(net, conn) != NEXT_SENT)
        return false;
    next = conn->busy->queue.unsent;
    if (segment_payload(next) == 0 || !net_transmit_room(net) || (packet = net_alloc(net)) == NULL)
        return false;
    packet->data[0] = segment_data(next)[0];
    struct wire_segment segment = segment_of(net, conn, next->seq, TCP_ACK);
    segment.options_len = (uint8_t)write_options(net, conn, TCP_OPTIONS_MAX, bytes);
    segment.options = bytes;
    segment.payload_len = 1;
    write_headers(net, packet, packet->data, &segment, packet->data, 0);
    net_transmit(net, packet);
    conn->flags |= CONN_PROBED;
    net_count(&net->counters.tx_probes, 1);
    acked(conn);
    return true;
}

bool tcp_send_keepalive(struct net *net, struct net_conn *conn)
{
    net_count(&net->counters.tx_probes, 1);
    return send_empty(net, conn, conn->busy->recovery.nxt - 1, TCP_ACK);
}

void tcp_send_tail_probe(struct net *net, struct net_conn *conn)
{
    struct packet *packet;

    if (sendqueue_has_unsent(&conn->busy->queue) && net_transmit_room(net) &&
        first_unsent(net, conn) == NEXT_SENT) {
        uint32_t payload = segment_payload(conn->busy->queue.unsent);

        if (payload > conn->mss)
            payload = conn->mss;
        if (window_allows(conn, payload) == payload &&
            (packet = prepare(net, conn, conn->busy->queue.unsent, payload)) != NULL) {
            net_count(&net->counters.tlp_sent, 1);
            send_segment(net, conn, packet);
            put_held(net, conn);
            return;
        }
    }
    packet = recovery_probe(&conn->busy->recovery);
    if (packet == NULL || !net_transmit_room(net))
        return;
    packet = prepare(net, conn, packet, conn->mss);
    /* Cut, its last part is the one to go. */
    if (packet != NULL && (packet = recovery_probe(&conn->busy->recovery)) != NULL &&
        segment_payload(packet) <= conn->mss &&
        !((packet->state & SEGMENT_SENT) && packet_shared(net->port, packet))) {
        net_count(&net->counters.tlp_sent, 1);
        send_segment(net, conn, packet);
    }
}

bool tcp_probe_accepted(struct net *net, struct net_conn *conn)
{
    struct packet *packet = conn->busy->queue.unsent;

    conn->flags &= ~(uint32_t)CONN_PROBED;
    if (packet == NULL || packet->seq != conn->busy->recovery.nxt || segment_payload(packet) == 0)
        return false;
    if (segment_payload(packet) > 1) {
        if (sendqueue_split(&net->sendpool, &conn->busy->queue, packet, 1) < 0)
            return false;
    } else if (packet->state & SEGMENT_FIN) {
        /* The last byte without the FIN, which gets a segment of its own. */
        packet->state &= ~(uint32_t)SEGMENT_FIN;
        packet->seg_len--;
        conn->busy->queue.end_seq--;
        conn->flags &= ~(uint32_t)CONN_FIN_QUEUED;
    }
    conn->busy->queue.unsent = packet->next;
    conn->stream.pending_bytes--;
    recovery_sent(&conn->busy->recovery, packet, net_now_ms(net) + conn->ts_offset, net->now_us);
    return true;
}

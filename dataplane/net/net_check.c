/* What must always hold, walked in whole: for tests (contract in net.h). */
#include "dataplane/net/net_inside.h"

static const char *check_queue(const struct net_conn *conn)
{
    const struct sendqueue *queue = &conn->busy->queue;
    const struct packet *last = NULL;
    uint32_t seq = queue->head != NULL ? queue->head->seq : queue->end_seq, bytes = 0, packets = 0;
    uint64_t unsent = 0;
    bool is_unsent = false;

    if (queue->head != NULL && seq_after(queue->head->seq, conn->busy->recovery.una))
        return "the first segment is beyond SND.UNA";
    for (const struct packet *at = queue->head; at != NULL; at = at->next) {
        if (at->seq != seq)
            return "a gap between segments of the send queue";
        if (at == queue->unsent) {
            is_unsent = true;
            if (at->seq != conn->busy->recovery.nxt)
                return "the first unsent segment does not begin at SND.NXT";
        }
        if (is_unsent != (at->sends == 0))
            return "sent and unsent segments are mixed";
        if (segment_payload(at) > 0 && segment_data(at) == NULL)
            return "a segment without its payload";
        if (is_unsent)
            unsent += segment_payload(at);
        bytes += segment_payload(at);
        packets++;
        seq += at->seg_len;
        last = at;
    }
    if (last != queue->tail)
        return "the send queue's tail is not its last segment";
    if (seq != queue->end_seq)
        return "the send queue's end is not where its segments end";
    if (queue->unsent != NULL && !is_unsent)
        return "the first unsent segment is not in the queue";
    if (queue->unsent == NULL && conn->state >= NET_STATE_ESTABLISHED &&
        queue->end_seq != conn->busy->recovery.nxt)
        return "SND.NXT is not the end of what was sent";
    if (packets != queue->packets)
        return "the send queue's count of segments is wrong";
    if (bytes != queue->packet_bytes)
        return "the send queue's sum of payload is wrong";
    for (const struct send_piece *piece = queue->piece; piece != NULL; piece = piece->next)
        unsent += piece->len;
    if (unsent != conn->stream.pending_bytes)
        return "pending_bytes is not what is unsent";
    return NULL;
}

static const char *check_receive(const struct net_conn *conn, uint32_t *held)
{
    const struct tcp_reorder *reorder = conn->busy->reorder;
    uint32_t queued = 0, packets = 0, bytes = 0, end = conn->rcv_nxt;

    for (const struct packet *at = conn->busy->rx_first; at != NULL; at = at->next) {
        queued += at->len;
        if (at->next == NULL && at != conn->busy->rx_last)
            return "the last received packet is another one";
    }
    if (queued != conn->busy->rcv_queued)
        return "rcv_queued is not what waits";
    if (conn->snd_scale > ((conn->flags & CONN_SCALED) != 0 ? TCP_WINDOW_SCALE_MAX : 0))
        return "a window scale that nobody agreed on";
    if (seq_after(conn->rcv_acked, conn->rcv_nxt))
        return "more was acknowledged than received";
    if (seq_before(conn->rcv_edge, conn->rcv_nxt))
        return "RCV.NXT is beyond the window";
    if (reorder == NULL)
        return NULL;
    for (const struct packet *at = reorder->first; at != NULL; at = at->next) {
        if (conn->state != NET_STATE_CLOSED && !seq_after(at->seq, conn->rcv_nxt))
            return "a segment waits that is in order";
        if (seq_before(at->seq, end))
            return "segments that wait overlap";
        end = at->seq + at->len;
        packets++;
        bytes += at->len;
    }
    if (packets != reorder->packets || bytes != reorder->bytes)
        return "the sums of what waits out of order are wrong";
    if (packets > NET_OUT_OF_ORDER_PACKETS || bytes > NET_OUT_OF_ORDER_BYTES)
        return "too much waits out of order";
    *held += packets;
    return NULL;
}

static const char *check_rest(const struct net *net, const struct net_conn *conn)
{
    if (conn->state != NET_STATE_ESTABLISHED)
        return "a connection rests that is not established";
    if (conn->flags & (CONN_DIRTY | CONN_READY | CONN_ACK_OWED | CONN_ACK_NOW | CONN_DYING))
        return "a connection rests that has something to do";
    if (conn->stream.pending_bytes != 0)
        return "a connection rests that has output";
    if (conn->idle_ms != 0 && !net_timer_armed(&conn->timer))
        return "a connection rests and no timer runs";
    return net_find(net, &conn->flow) == conn ? NULL : "a resting connection is not found";
}

static const char *check_conn(const struct net *net, const struct net_conn *conn, uint32_t *held)
{
    if (conn->busy == NULL)
        return check_rest(net, conn);
    if (conn->busy->conn != conn)
        return "a connection works with another one's block";
    const char *broken = check_receive(conn, held);

    if (broken != NULL)
        return broken;
    if (conn->state == NET_STATE_CLOSED) {
        if (net_timer_armed(&conn->timer))
            return "a timer on a closed connection";
        if (conn->flags & CONN_IN_TABLE)
            return "a closed connection in the table";
        return NULL;
    }
    if (net_find(net, &conn->flow) != conn)
        return "a connection is not found by its flow";
    if (seq_after(conn->busy->recovery.una, conn->busy->recovery.nxt))
        return "SND.UNA is beyond SND.NXT";
    broken = check_queue(conn);
    if (broken == NULL && conn->state >= NET_STATE_ESTABLISHED)
        broken = recovery_check(&conn->busy->recovery, conn->busy->queue.head);
    if (broken == NULL && conn->state >= NET_STATE_ESTABLISHED &&
        recovery_flight(&conn->busy->recovery) > 0 && !net_timer_armed(&conn->timer))
        broken = "data are in flight and no timer runs";
    return broken;
}

const char *net_check(const struct net *net)
{
    uint32_t held = 0, used = 0, in_table = 0;

    for (uint32_t i = 0; i < net->conn_fresh; i++) {
        const struct net_conn *conn = &net->conns[i];

        if (conn->state == NET_STATE_CLOSED && (conn->flags & ~(uint32_t)CONN_IN_TABLE) == 0) {
            if (net_timer_armed(&conn->timer))
                return "a timer on a free connection block";
            continue;
        }
        used++;
        in_table += (conn->flags & CONN_IN_TABLE) != 0;
        const char *broken = check_conn(net, conn, &held);
        if (broken != NULL)
            return broken;
    }
    for (uint32_t i = 0; i < net->busy_fresh; i++)
        if (net->busy[i].conn != NULL && net->busy[i].conn->busy != &net->busy[i])
            return "a block at work is not its connection's";
    if (used != net->conn_count)
        return "the count of connections is wrong";
    if (in_table != net->flows.used)
        return "the table holds other connections than there are";
    if (held != net->out_of_order_packets)
        return "the count of packets out of order is wrong";
    return NULL;
}

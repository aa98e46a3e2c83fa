/* Receiving: payload in order, payload out of order, SACK blocks. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/net_inside.h"

/* ---- in order ------------------------------------------------------------------------------ */

/* While the caller does not read, small segments share packets: what waits takes at most about
 * twice its size. */
static bool merge(struct net *net, struct net_conn *conn, const uint8_t *payload, uint32_t len)
{
    struct packet *last = conn->busy->rx_last;

    if (last->room < len)
        return false;
    memcpy(last->data + last->len, payload, len);
    last->len = (uint16_t)(last->len + len);
    last->room = (uint16_t)(last->room - len);
    return true;
}

/* The place of a packet of in-order bytes behind those that wait; NULL: it is done with. */
__attribute__((noinline)) static struct packet **
receive_behind(struct net *net, struct net_conn *conn, struct packet *packet,
               const uint8_t *payload, uint32_t len)
{
    if ((conn->flags & CONN_ORPHAN) == 0) {
        if (!merge(net, conn, payload, len))
            return &conn->busy->rx_last->next;
        conn->busy->rcv_queued += len;
    }
    packet_release(net->port, packet);
    return NULL;
}

void tcp_receive(struct net *net, struct net_conn *conn, struct packet *packet, uint8_t *payload,
                 uint32_t len)
{
    struct packet **place = &conn->busy->rx_first;

    conn->rcv_nxt += len;
    if ((conn->flags & CONN_ORPHAN) != 0 || conn->busy->rx_last != NULL) {
        place = receive_behind(net, conn, packet, payload, len);
        if (place == NULL)
            return;
    }
    conn->busy->rcv_queued += len;
    packet->data = payload;
    packet->len = (uint16_t)len;
    packet->next = NULL;
    *place = packet;
    conn->busy->rx_last = packet;
    if ((conn->flags & CONN_PAUSED) == 0)
        conn_ready(net, conn);
}

/* ---- out of order -------------------------------------------------------------------------- */

static void reorder_free(struct net_conn *conn)
{
    if (conn->busy->reorder == NULL || conn->busy->reorder->first != NULL ||
        conn->busy->reorder->has_fin ||
        conn->busy->reorder->dsack.left != conn->busy->reorder->dsack.right)
        return;
    free(conn->busy->reorder);
    conn->busy->reorder = NULL;
}

static bool reorder_need(struct net_conn *conn)
{
    if (conn->busy->reorder == NULL)
        conn->busy->reorder = calloc(1, sizeof *conn->busy->reorder);
    return conn->busy->reorder != NULL;
}

static void reorder_unlink(struct net *net, struct net_conn *conn, struct packet **link)
{
    struct packet *packet = *link;

    *link = packet->next;
    conn->busy->reorder->packets--;
    conn->busy->reorder->bytes -= packet->len;
    net->out_of_order_packets--;
}

void tcp_receive_drop(struct net *net, struct net_conn *conn)
{
    while (conn->busy->rx_first != NULL) {
        struct packet *packet = conn->busy->rx_first;

        conn->busy->rx_first = packet->next;
        packet_release(net->port, packet);
    }
    conn->busy->rx_last = NULL;
    conn->busy->rcv_queued = 0;
    if (conn->busy->reorder == NULL)
        return;
    while (conn->busy->reorder->first != NULL) {
        struct packet *packet = conn->busy->reorder->first;

        reorder_unlink(net, conn, &conn->busy->reorder->first);
        packet_release(net->port, packet);
    }
    free(conn->busy->reorder);
    conn->busy->reorder = NULL;
}

/* The stretch without a hole that has `seq` in it. */
static struct tcp_sack block_around(const struct tcp_reorder *reorder, uint32_t seq)
{
    struct tcp_sack block = {0, 0};

    for (const struct packet *at = reorder->first; at != NULL; at = at->next) {
        if (block.left != block.right && at->seq == block.right) {
            block.right = at->seq + at->len;
        } else {
            if (block.left != block.right && !seq_before(seq, block.left) &&
                seq_before(seq, block.right))
                break;
            block = (struct tcp_sack){at->seq, at->seq + at->len};
        }
    }
    return block;
}

/* The block with `seq` goes first; those that it has swallowed go (RFC 2018 section 4). */
static void remember_block(struct tcp_reorder *reorder, uint32_t seq)
{
    struct tcp_sack block = block_around(reorder, seq), kept[TCP_SACK_BLOCKS_MAX];
    unsigned count = 1;

    kept[0] = block;
    for (unsigned i = 0; i < reorder->recent_count && count < TCP_SACK_BLOCKS_MAX; i++) {
        const struct tcp_sack *old = &reorder->recent[i];

        if (seq_before(old->left, block.left) || seq_after(old->right, block.right))
            kept[count++] = *old;
    }
    memcpy(reorder->recent, kept, count * sizeof *kept);
    reorder->recent_count = count;
}

void tcp_duplicate(struct net *net, struct net_conn *conn, uint32_t left, uint32_t right)
{
    net_count(&net->counters.rx_duplicate, 1);
    if ((conn->flags & CONN_SACK) == 0 || left == right || !reorder_need(conn))
        return;
    conn->busy->reorder->dsack = (struct tcp_sack){left, right};
}

unsigned tcp_sack_blocks(const struct net_conn *conn, struct tcp_sack *blocks, unsigned max)
{
    const struct tcp_reorder *reorder = conn->busy->reorder;
    unsigned count = 0;

    if (max > TCP_SACK_BLOCKS_MAX)
        max = TCP_SACK_BLOCKS_MAX;
    if (reorder->dsack.left != reorder->dsack.right && count < max)
        blocks[count++] = reorder->dsack;
    for (unsigned i = 0; i < reorder->recent_count && count < max; i++)
        if (seq_after(reorder->recent[i].right, conn->rcv_nxt))
            blocks[count++] = reorder->recent[i];
    return count;
}

void tcp_sack_told(struct net *net, struct net_conn *conn)
{
    if (conn->busy->reorder == NULL)
        return;
    if (conn->busy->reorder->dsack.left != conn->busy->reorder->dsack.right) {
        conn->busy->reorder->dsack = (struct tcp_sack){0, 0};
        net_count(&net->counters.dsacks_sent, 1);
    }
    reorder_free(conn);
}

static bool may_keep(const struct net *net, const struct tcp_reorder *reorder, uint32_t len)
{
    return !net->scarce && reorder->packets < NET_OUT_OF_ORDER_PACKETS &&
           reorder->bytes + len <= NET_OUT_OF_ORDER_BYTES &&
           net->out_of_order_packets < net->out_of_order_max;
}

/* Cuts from a new segment what is there already. False: nothing is left of it. */
static bool trim_new(struct net *net, struct net_conn *conn, struct packet *packet,
                     struct packet **before)
{
    uint32_t end = packet->seq + packet->len;

    if (*before != NULL) {
        uint32_t known = (*before)->seq + (*before)->len;

        if (!seq_after(end, known)) {
            tcp_duplicate(net, conn, packet->seq, end);
            return false;
        }
        if (seq_before(packet->seq, known)) {
            uint32_t cut = known - packet->seq;

            tcp_duplicate(net, conn, packet->seq, known);
            packet->seq += cut;
            packet->data += cut;
            packet->len = (uint16_t)(packet->len - cut);
        }
    }
    return true;
}

/* Links a packet with data, len and seq set. False: nothing new, or no room. */
static bool insert(struct net *net, struct net_conn *conn, struct packet *packet)
{
    struct tcp_reorder *reorder = conn->busy->reorder;
    struct packet **link = &reorder->first, *before = NULL;
    uint32_t end = packet->seq + packet->len;

    while (*link != NULL && !seq_after((*link)->seq, packet->seq)) {
        before = *link;
        link = &before->next;
    }
    if (!trim_new(net, conn, packet, &before))
        return false;
    /* What the new one covers goes; what it covers in part is cut at its end. */
    while (*link != NULL && seq_after(end, (*link)->seq)) {
        struct packet *old = *link;

        if (seq_before(end, old->seq + old->len)) {
            tcp_duplicate(net, conn, old->seq, end);
            packet->len = (uint16_t)(old->seq - packet->seq);
            break;
        }
        tcp_duplicate(net, conn, old->seq, old->seq + old->len);
        reorder_unlink(net, conn, link);
        packet_release(net->port, old);
    }
    if (!may_keep(net, reorder, packet->len))
        return false;
    packet->next = *link;
    *link = packet;
    reorder->packets++;
    reorder->bytes += packet->len;
    net->out_of_order_packets++;
    return true;
}

void tcp_receive_out_of_order(struct net *net, struct net_conn *conn, struct packet *packet,
                              uint8_t *payload, uint32_t seq, uint32_t len, bool fin)
{
    net_count(&net->counters.rx_out_of_order, 1);
    if ((conn->flags & CONN_ORPHAN) || !reorder_need(conn)) {
        packet_release(net->port, packet);
        return;
    }
    if (fin) {
        conn->busy->reorder->has_fin = true;
        conn->busy->reorder->fin_seq = seq + len;
    }
    if (len == 0) {
        packet_release(net->port, packet);
        return;
    }
    packet->data = payload;
    packet->len = (uint16_t)len;
    packet->seq = seq;
    if (insert(net, conn, packet)) {
        remember_block(conn->busy->reorder, packet->seq);
    } else {
        net_count(&net->counters.rx_out_of_order_dropped, 1);
        packet_release(net->port, packet);
    }
}

bool tcp_receive_join(struct net *net, struct net_conn *conn)
{
    struct tcp_reorder *reorder = conn->busy->reorder;

    while (reorder->first != NULL && !seq_after(reorder->first->seq, conn->rcv_nxt)) {
        struct packet *packet = reorder->first;
        uint32_t known = conn->rcv_nxt - packet->seq;

        reorder_unlink(net, conn, &reorder->first);
        if (known < packet->len)
            tcp_receive(net, conn, packet, packet->data + known, packet->len - known);
        else
            packet_release(net->port, packet);
    }
    /* A FIN inside of what came later was none. */
    bool fin = reorder->has_fin && reorder->fin_seq == conn->rcv_nxt;
    if (reorder->has_fin && !seq_after(reorder->fin_seq, conn->rcv_nxt))
        reorder->has_fin = false;
    reorder_free(conn);
    return fin;
}

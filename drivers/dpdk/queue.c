/* The fast path of one queue pair. */
#include <rte_ethdev.h>
#include <rte_prefetch.h>
#include <string.h>

#include "drivers/dpdk/inside.h"

enum { PREFETCH_AHEAD = 4 };

static void count(_Atomic uint64_t *counter, uint64_t amount)
{
    uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, before + amount, memory_order_relaxed);
}

static struct dpdk_queue *queue_of(struct packet_port *port)
{
    return (struct dpdk_queue *)port;
}

/* ---- receive ---- */

/* What the device found out about checksums; zero if it left one of them unverified. */
static uint16_t checksum_flags(uint64_t found, const uint8_t *frame)
{
    uint64_t ip = found & RTE_MBUF_F_RX_IP_CKSUM_MASK, tcp = found & RTE_MBUF_F_RX_L4_CKSUM_MASK;

    if (ip == RTE_MBUF_F_RX_IP_CKSUM_BAD || tcp == RTE_MBUF_F_RX_L4_CKSUM_BAD)
        return PACKET_CHECKSUM_BAD;
    if (tcp == RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN)
        return 0;
    /* IPv6 has no header checksum, so that drivers may leave its bits unknown. */
    if (ip == RTE_MBUF_F_RX_IP_CKSUM_UNKNOWN && !(frame[12] == 0x86 && frame[13] == 0xdd))
        return 0;
    return PACKET_CHECKSUM_GOOD;
}

/* Chained buffers become one, if they fit: devices that merge buffers chain them even below our
 * MTU. */
static bool in_one_piece(struct rte_mbuf *mbuf)
{
    return mbuf->nb_segs == 1 || rte_pktmbuf_linearize(mbuf) == 0;
}

/* net_af_xdp places frames 256 bytes farther in than others, and takes some that end beyond the
 * buffer proper, in the padding that the pool has between packets. */
static uint16_t room_behind(const struct rte_mbuf *mbuf)
{
    unsigned end = (unsigned)mbuf->data_off + mbuf->data_len;

    return end < mbuf->buf_len ? (uint16_t)(mbuf->buf_len - end) : 0;
}

static struct packet *received(struct dpdk_queue *queue, struct rte_mbuf *mbuf)
{
    struct packet *packet = dpdk_packet(mbuf);

    memset(packet, 0, sizeof(*packet));
    packet->data = rte_pktmbuf_mtod(mbuf, uint8_t *);
    packet->len = rte_pktmbuf_data_len(mbuf);
    packet->room = room_behind(mbuf);
    if (queue->checks_rx && packet->len >= RTE_ETHER_HDR_LEN) {
        packet->flags = checksum_flags(mbuf->ol_flags, packet->data);
        if (packet->flags & PACKET_CHECKSUM_BAD)
            count(&queue->counters.rx_checksum, 1);
    }
    if (mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) {
        packet->flags |= PACKET_VLAN;
        packet->vlan = mbuf->vlan_tci;
    }
    return packet;
}

static unsigned receive(struct packet_port *port, struct packet **packets, unsigned max)
{
    struct dpdk_queue *queue = queue_of(port);
    struct rte_mbuf *mbufs[PACKET_BURST_MAX];
    unsigned found, kept = 0;
    uint64_t bytes = 0;

    if (max > PACKET_BURST_MAX)
        max = PACKET_BURST_MAX;
    found = rte_eth_rx_burst(queue->port_id, queue->queue_id, mbufs, (uint16_t)max);
    if (found == 0)
        return 0;
    for (unsigned i = 0; i < found && i < PREFETCH_AHEAD; i++)
        rte_prefetch0(rte_pktmbuf_mtod(mbufs[i], void *));
    for (unsigned i = 0; i < found; i++) {
        if (i + PREFETCH_AHEAD < found)
            rte_prefetch0(rte_pktmbuf_mtod(mbufs[i + PREFETCH_AHEAD], void *));
        bytes += rte_pktmbuf_pkt_len(mbufs[i]);
        if (unlikely(!in_one_piece(mbufs[i]))) {
            count(&queue->counters.rx_too_long, 1);
            rte_pktmbuf_free(mbufs[i]);
            continue;
        }
        packets[kept++] = received(queue, mbufs[i]);
    }
    count(&queue->counters.rx_packets, found);
    count(&queue->counters.rx_bytes, bytes);
    return kept;
}

/* ---- transmit ---- */

/* Payload that is pinned elsewhere is copied behind the headers: the store's memory is not mapped
 * for DMA. It stays outside [data, len), so a second transmission writes the same bytes again. */
static bool gather(struct rte_mbuf *mbuf, const struct packet *packet)
{
    uint8_t *end = (uint8_t *)mbuf->buf_addr + mbuf->buf_len;
    uint8_t *tail = packet->data + packet->len;

    if (packet->more_len > (size_t)(end - tail))
        return false;
    memcpy(tail, packet->more, packet->more_len);
    return true;
}

/* A part of a frame that the device cuts becomes an mbuf of it. False: it does not fit. */
static bool describe_part(struct rte_mbuf *mbuf, const struct packet_tso_part *part)
{
    uint8_t *end = (uint8_t *)mbuf->buf_addr + mbuf->buf_len;
    uint8_t *at = part->packet->data + part->packet->len;

    if (part->packet->more == NULL) {
        mbuf->data_off = (uint16_t)(part->data - (const uint8_t *)mbuf->buf_addr);
    } else { /* pinned elsewhere: see gather() */
        if (part->len > (size_t)(end - at))
            return false;
        memcpy(at, part->data, part->len);
        mbuf->data_off = (uint16_t)(at - (uint8_t *)mbuf->buf_addr);
    }
    mbuf->data_len = (uint16_t)part->len;
    mbuf->nb_segs = 1;
    mbuf->next = NULL;
    mbuf->ol_flags = 0;
    return true;
}

/* Chains the parts behind the headers' mbuf, which is described already. */
static bool describe_tso(struct rte_mbuf *mbuf, const struct packet *packet)
{
    const struct packet_tso *tso = packet_tso(packet);
    struct rte_mbuf *last = mbuf;

    for (unsigned i = 0; i < tso->count; i++) {
        struct rte_mbuf *part = dpdk_mbuf(tso->parts[i].packet);

        if (!describe_part(part, &tso->parts[i]))
            return false;
        last->next = part;
        last = part;
    }
    mbuf->nb_segs = (uint16_t)(1 + tso->count);
    mbuf->data_len = packet->len;
    mbuf->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
    mbuf->l4_len = tso->l4_len;
    mbuf->tso_segsz = tso->segment;
    return true;
}

static uint64_t transmit_flags(const struct packet *packet)
{
    uint64_t flags = 0;

    if (packet->flags & (PACKET_TX_IP_CHECKSUM | PACKET_TX_TCP_CHECKSUM)) {
        flags = packet->data[packet->l2_len] >> 4 == 4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
        if (packet->flags & PACKET_TX_IP_CHECKSUM)
            flags |= RTE_MBUF_F_TX_IP_CKSUM;
        if (packet->flags & PACKET_TX_TCP_CHECKSUM)
            flags |= RTE_MBUF_F_TX_TCP_CKSUM;
    }
    if (packet->flags & PACKET_VLAN)
        flags |= RTE_MBUF_F_TX_VLAN;
    return flags;
}

/* Makes the mbuf say what its packet says. */
static void describe(struct rte_mbuf *mbuf, const struct packet *packet)
{
    uint32_t len = packet_bytes(packet);

    mbuf->data_off = (uint16_t)(packet->data - (uint8_t *)mbuf->buf_addr);
    mbuf->data_len = (uint16_t)len;
    mbuf->pkt_len = len;
    mbuf->nb_segs = 1;
    mbuf->next = NULL;
    mbuf->ol_flags = transmit_flags(packet);
    mbuf->tx_offload = 0;
    if (mbuf->ol_flags != 0) {
        mbuf->l2_len = packet->l2_len;
        mbuf->l3_len = packet->l3_len;
        mbuf->vlan_tci = packet->vlan;
    }
}

/* Another packet with the same bytes, for devices that pass on the very mbuf; NULL: pool empty. */
static struct rte_mbuf *duplicate(struct dpdk_queue *queue, const struct rte_mbuf *mbuf)
{
    struct rte_mbuf *copy = rte_pktmbuf_alloc(queue->pool);

    if (copy == NULL)
        return NULL;
    memcpy(rte_pktmbuf_append(copy, rte_pktmbuf_data_len(mbuf)),
           rte_pktmbuf_mtod(mbuf, const void *), rte_pktmbuf_data_len(mbuf));
    return copy;
}

/* Turns packets into mbufs, those that cannot be sent (counted) into NULL. Returns how many it got
 * through before a pool ran dry. */
static unsigned prepare(struct dpdk_queue *queue, struct packet *const *packets, unsigned max,
                        struct rte_mbuf **mbufs)
{
    for (unsigned i = 0; i < max; i++) {
        struct rte_mbuf *mbuf = dpdk_mbuf(packets[i]);

        bool tso = (packets[i]->flags & PACKET_TX_TSO) != 0;

        if (!tso && packets[i]->more_len > 0 && !gather(mbuf, packets[i])) {
            count(&queue->counters.tx_too_long, 1);
            mbufs[i] = NULL;
            continue;
        }
        describe(mbuf, packets[i]);
        if (tso && !describe_tso(mbuf, packets[i])) {
            count(&queue->counters.tx_too_long, 1);
            mbufs[i] = NULL;
            continue;
        }
        if (queue->passes_on && rte_mbuf_refcnt_read(mbuf) > 1) {
            mbuf = duplicate(queue, mbuf);
            if (mbuf == NULL) {
                count(&queue->counters.alloc_failed, 1);
                return i;
            }
        }
        mbufs[i] = mbuf;
    }
    return max;
}

/* The device took (or we dropped) packets[0, sent): of duplicated or dropped ones it is up to us to
 * give the reference back; of the others, to free the duplicates. */
static void settle(struct packet_port *port, struct packet *const *packets,
                   struct rte_mbuf *const *mbufs, unsigned sent, unsigned prepared)
{
    for (unsigned i = 0; i < prepared; i++) {
        struct rte_mbuf *own = dpdk_mbuf(packets[i]);

        if (mbufs[i] == own)
            continue;
        if (i < sent)
            packet_release_frame(port, packets[i]);
        else if (mbufs[i] != NULL)
            rte_pktmbuf_free_seg(mbufs[i]);
    }
}

/* The driver will never take it. If it would not cut it, it would not cut the next one either. */
static void refused(struct dpdk_queue *queue, const struct rte_mbuf *mbuf)
{
    if (mbuf->ol_flags & RTE_MBUF_F_TX_TCP_SEG) {
        count(&queue->counters.tx_tso_refused, 1);
        queue->port.tso = (struct packet_tso_limits){.v4 = false};
    } else {
        count(&queue->counters.tx_too_long, 1);
    }
}

/* How many packets from `mbufs` on can go in one burst; at least one. What the driver refuses for
 * good becomes NULL, so that it does not block those behind it. */
static unsigned run_length(struct dpdk_queue *queue, struct rte_mbuf **mbufs, unsigned max)
{
    unsigned run = 0, fit;

    while (run < max && mbufs[run] != NULL)
        run++;
    if (!queue->adjusts || run == 0)
        return run;
    fit = rte_eth_tx_prepare(queue->port_id, queue->queue_id, mbufs, (uint16_t)run);
    if (unlikely(fit == 0)) {
        refused(queue, mbufs[0]);
        mbufs[0] = NULL;
    }
    return fit;
}

/* Sends the runs between packets that cannot be sent. Returns how many packets are done with. */
static unsigned send_prepared(struct dpdk_queue *queue, struct rte_mbuf **mbufs, unsigned prepared)
{
    unsigned done = 0;

    while (done < prepared) {
        unsigned run = run_length(queue, mbufs + done, prepared - done), taken;

        if (run == 0) { /* dropped */
            done++;
            continue;
        }
        taken = rte_eth_tx_burst(queue->port_id, queue->queue_id, mbufs + done, (uint16_t)run);
        done += taken;
        if (taken < run) {
            count(&queue->counters.tx_full, 1);
            break;
        }
    }
    return done;
}

static unsigned transmit(struct packet_port *port, struct packet *const *packets, unsigned max)
{
    struct dpdk_queue *queue = queue_of(port);
    struct rte_mbuf *mbufs[PACKET_BURST_MAX];
    uint32_t lengths[PACKET_BURST_MAX];
    unsigned prepared, done, sent = 0;
    uint64_t bytes = 0;

    if (max > PACKET_BURST_MAX)
        max = PACKET_BURST_MAX;
    /* Noted before: once sent, a packet may be somebody else's. */
    for (unsigned i = 0; i < max; i++)
        lengths[i] = packet_bytes(packets[i]);
    prepared = prepare(queue, packets, max, mbufs);
    done = send_prepared(queue, mbufs, prepared);
    for (unsigned i = 0; i < done; i++)
        if (mbufs[i] != NULL) {
            sent++;
            bytes += lengths[i];
        }
    if (unlikely(queue->passes_on || sent < done || done < prepared))
        settle(port, packets, mbufs, done, prepared);
    count(&queue->counters.tx_packets, sent);
    count(&queue->counters.tx_bytes, bytes);
    return done;
}

/* ---- the same through the gate ---- */

static bool enter(struct dpdk_queue *queue)
{
    if (gate_enter(queue->gate, &queue->user)) {
        if (!atomic_load_explicit(&queue->stopped, memory_order_relaxed))
            return true;
        gate_exit(&queue->user);
    }
    count(&queue->counters.peer_gone, 1);
    return false;
}

static unsigned receive_gated(struct packet_port *port, struct packet **packets, unsigned max)
{
    struct dpdk_queue *queue = queue_of(port);
    unsigned found;

    if (!enter(queue))
        return 0;
    found = receive(port, packets, max);
    gate_exit(&queue->user);
    return found;
}

static unsigned transmit_gated(struct packet_port *port, struct packet *const *packets,
                               unsigned max)
{
    struct dpdk_queue *queue = queue_of(port);
    unsigned done;

    if (!enter(queue))
        return 0;
    done = transmit(port, packets, max);
    gate_exit(&queue->user);
    return done;
}

/* ---- packets ---- */

static struct packet *alloc(struct packet_port *port)
{
    struct dpdk_queue *queue = queue_of(port);
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(queue->pool);
    struct packet *packet;

    if (unlikely(mbuf == NULL)) {
        count(&queue->counters.alloc_failed, 1);
        return NULL;
    }
    packet = dpdk_packet(mbuf);
    memset(packet, 0, sizeof(*packet));
    packet->data = (uint8_t *)mbuf->buf_addr + PACKET_HEADROOM;
    return packet;
}

/* Not atomic, unlike rte_mbuf_refcnt_update: the holders are all on this worker's thread. */
static void hold(struct packet_port *port, struct packet *packet)
{
    struct rte_mbuf *mbuf = dpdk_mbuf(packet);

    rte_mbuf_refcnt_set(mbuf, (uint16_t)(rte_mbuf_refcnt_read(mbuf) + 1));
}

static void release(struct packet_port *port, struct packet *packet)
{
    rte_pktmbuf_free_seg(dpdk_mbuf(packet));
}

static bool shared(const struct packet *packet)
{
    return rte_mbuf_refcnt_read(dpdk_mbuf(packet)) > 1;
}

/* What rte_mempool_avail_count gives, without its look at every core's cache. */
static unsigned available(const struct packet_port *port)
{
    const struct dpdk_queue *queue = (const struct dpdk_queue *)port;
    struct rte_mempool_cache *cache = rte_mempool_default_cache(queue->pool, rte_lcore_id());

    return rte_mempool_get_ops(queue->pool->ops_index)->get_count(queue->pool) +
           (cache != NULL ? cache->len : 0);
}

/* ---- sleep ---- */

static int wake_fd(const struct packet_port *port)
{
    return ((const struct dpdk_queue *)port)->wake_fd;
}

static bool arm(struct packet_port *port, bool on)
{
    struct dpdk_queue *queue = queue_of(port);

    if (!queue->arms)
        return true;
    return (on ? rte_eth_dev_rx_intr_enable(queue->port_id, queue->queue_id)
               : rte_eth_dev_rx_intr_disable(queue->port_id, queue->queue_id)) == 0;
}

const struct packet_port_ops dpdk_queue_ops = {
    .receive = receive,
    .transmit = transmit,
    .alloc = alloc,
    .hold = hold,
    .release = release,
    .shared = shared,
    .available = available,
    .wake_fd = wake_fd,
    .arm = arm,
};

const struct packet_port_ops dpdk_queue_ops_gated = {
    .receive = receive_gated,
    .transmit = transmit_gated,
    .alloc = alloc,
    .hold = hold,
    .release = release,
    .shared = shared,
    .available = available,
};

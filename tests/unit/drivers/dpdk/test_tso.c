/* Frames that a card cuts: what is asked of which card, and what its driver gets. The driver is one
 * of a ring, with another transmit in its place. Each test is a process of its own, as EAL wants it. */
#include <criterion/criterion.h>
#include <string.h>

#include "drivers/dpdk/inside.h"

enum { MTU = 1500, MSS = 1448, HEADERS = 66, SEGMENTS = 5 };

static const uint64_t CAPABLE =
    RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | DPDK_TSO_OFFLOADS;

/* ---- limits ---- */

static struct packet_tso_limits limits_of(const char *driver, uint64_t offloads, unsigned fragments,
                                          unsigned of_segment)
{
    struct rte_eth_dev_info info = {.tx_offload_capa = offloads,
                                    .tx_desc_lim = {.nb_max = 4096,
                                                    .nb_seg_max = (uint16_t)fragments,
                                                    .nb_mtu_seg_max = (uint16_t)of_segment}};
    struct packet_tso_limits limits;

    dpdk_tso_limits(driver, &info, MTU, &limits);
    return limits;
}

static bool cuts(struct packet_tso_limits limits)
{
    return limits.v4 || limits.v6;
}

Test(dpdk_tso, a_card_needs_all_of_it)
{
    static const uint64_t each[] = {RTE_ETH_TX_OFFLOAD_TCP_CKSUM, RTE_ETH_TX_OFFLOAD_TCP_TSO,
                                    RTE_ETH_TX_OFFLOAD_MULTI_SEGS};
    struct packet_tso_limits limits = limits_of("net_ice", CAPABLE, UINT16_MAX, UINT16_MAX);

    cr_expect(limits.v4 && limits.v6);
    cr_expect_eq(limits.parts, PACKET_TSO_PARTS_MAX);
    cr_expect_eq(limits.bytes, PACKET_TSO_BYTES_MAX);
    cr_expect_geq(limits.cut_len, MTU + 18, "a tag may be in it");
    for (unsigned i = 0; i < sizeof each / sizeof *each; i++)
        cr_expect_not(cuts(limits_of("net_ice", CAPABLE & ~each[i], UINT16_MAX, UINT16_MAX)));
    limits = limits_of("net_ice", CAPABLE & ~(uint64_t)RTE_ETH_TX_OFFLOAD_IPV4_CKSUM, 64, 64);
    cr_expect(!limits.v4 && limits.v6, "IPv6 has no header checksum");
}

Test(dpdk_tso, fragments_are_what_the_driver_says)
{
    cr_expect_eq(limits_of("net_ena", CAPABLE, 17, 17).parts, 16);
    cr_expect_eq(limits_of("net_i40e", CAPABLE, 255, 8).parts, PACKET_TSO_PARTS_MAX);
    cr_expect_not(cuts(limits_of("net_odd", CAPABLE, 3, 3)));
    cr_expect_not(cuts(limits_of("net_odd", CAPABLE, 64, 2)));
    cr_expect_eq(limits_of("net_odd", CAPABLE, 0, 0).parts, PACKET_TSO_PARTS_MAX, "it is silent");
}

Test(dpdk_tso, what_drivers_do_not_say)
{
    const uint64_t no_ip = CAPABLE & ~(uint64_t)RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;

    cr_expect_eq(limits_of("net_vmxnet3", CAPABLE, 255, 16).parts, 23);
    cr_expect(limits_of("net_vmxnet3", no_ip, 255, 16).v4);
    cr_expect(limits_of("net_virtio", no_ip, 64, 64).v4);
    cr_expect_not(limits_of("net_tap", CAPABLE, 64, 64).v6);
    cr_expect_eq(limits_of("net_tap", CAPABLE, 64, 64).cut_len, MTU);
}

/* ---- a frame on its way ---- */

static struct rte_mbuf *taken; /* by the device */
static bool willing;

static uint16_t look(void *queue, struct rte_mbuf **mbufs, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++)
        if ((mbufs[i]->ol_flags & RTE_MBUF_F_TX_TCP_SEG) && !willing)
            return i;
    return count;
}

static uint16_t take(void *queue, struct rte_mbuf **mbufs, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        if (mbufs[i]->ol_flags & RTE_MBUF_F_TX_TCP_SEG)
            taken = mbufs[i];
        else
            rte_pktmbuf_free(mbufs[i]);
    }
    return count;
}

static struct dpdk *dpdk;
static struct packet_port *port;
static struct dpdk_port *device;
static struct packet *segments[SEGMENTS];
static uint8_t pinned[MSS];
static unsigned before;

static void begin(void)
{
    static const char *const spec = "net_ring0";
    const struct dpdk_options options = {.specs = &spec, .spec_count = 1, .queues = 1};
    char error[DPDK_ERROR_MAX];

    cr_assert_eq(dpdk_start(&dpdk, &options, error), 0, "%s", error);
    cr_assert_eq(dpdk_thread_register(), 0);
    cr_assert_eq(dpdk_port_open(dpdk, spec, 1, MTU, &device, error), 0, "%s", error);
    port = dpdk_queue(device, 0);
    cr_expect_not(cuts(port->tso), "a ring does not");
    ((struct dpdk_queue *)port)->adjusts = true;
    rte_eth_fp_ops[((struct dpdk_queue *)port)->port_id].tx_pkt_prepare = look;
    rte_eth_fp_ops[((struct dpdk_queue *)port)->port_id].tx_pkt_burst = take;
    port->tso = (struct packet_tso_limits){.v4 = true, .parts = SEGMENTS};
    before = packet_available(port);
}

static void end(void)
{
    for (unsigned i = 0; i < SEGMENTS; i++) {
        cr_expect_not(packet_shared(port, segments[i]), "the queue alone has segment %u", i);
        packet_release(port, segments[i]);
    }
    cr_expect_eq(packet_available(port), before);
    dpdk_port_close(device);
    dpdk_stop(dpdk);
}

/* Segments as a send queue has them, one of them pinned, each held for a frame of all. */
static struct packet *frame_of_segments(void)
{
    struct packet *frame = packet_alloc(port);
    struct packet_tso *list = (struct packet_tso *)(void *)frame->data;

    for (unsigned i = 0; i < SEGMENTS; i++) {
        struct packet *segment = segments[i] = packet_alloc(port);

        memset(i == 2 ? pinned : segment->data, (int)i + 1, MSS);
        segment->len = i == 2 ? 0 : MSS;
        segment->more = i == 2 ? pinned : NULL;
        segment->more_len = i == 2 ? MSS : 0;
        list->parts[i] =
            (struct packet_tso_part){segment, i == 2 ? pinned : segment->data, MSS - i / 4u};
        packet_hold(port, segment);
    }
    list->segment = MSS;
    list->l4_len = 32;
    list->count = SEGMENTS;
    frame->more = (const uint8_t *)list;
    frame->more_len = SEGMENTS * MSS - 1;
    frame->data -= HEADERS;
    frame->len = HEADERS;
    memset(frame->data, 0, HEADERS);
    frame->data[14] = 0x45;
    frame->flags = PACKET_TX_TSO | PACKET_TX_TCP_CHECKSUM | PACKET_TX_IP_CHECKSUM;
    frame->l2_len = 14;
    frame->l3_len = 20;
    return frame;
}

Test(dpdk_tso, the_driver_gets_a_chain, .init = begin, .fini = end)
{
    struct packet *frame = frame_of_segments();
    unsigned number = 0;

    willing = true;
    cr_assert_eq(packet_transmit(port, &frame, 1), 1);
    cr_assert_eq(taken, dpdk_mbuf(frame));
    cr_expect_eq(taken->nb_segs, 1 + SEGMENTS);
    cr_expect_eq(taken->pkt_len, HEADERS + SEGMENTS * MSS - 1);
    cr_expect_eq(taken->data_len, HEADERS);
    cr_expect_eq(taken->tso_segsz, MSS);
    cr_expect_eq(taken->l2_len, 14);
    cr_expect_eq(taken->l3_len, 20);
    cr_expect_eq(taken->l4_len, 32);
    cr_expect_eq(taken->ol_flags, RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM |
                                      RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_IPV4);
    const char *reason = "";
    cr_expect_eq(rte_mbuf_check(taken, 1, &reason), 0, "%s", reason);
    for (const struct rte_mbuf *at = taken->next; at != NULL; at = at->next, number++) {
        const uint8_t *bytes = rte_pktmbuf_mtod(at, const uint8_t *);

        cr_expect_eq(at->data_len, MSS - number / 4);
        cr_expect_eq(bytes[0], number + 1);
        cr_expect_eq(bytes[at->data_len - 1], number + 1);
        cr_expect(packet_shared(port, segments[number]), "the device holds segment %u", number);
    }
    cr_expect_eq(number, SEGMENTS);
    rte_pktmbuf_free(taken);
}

Test(dpdk_tso, a_refusal_ends_it, .init = begin, .fini = end)
{
    struct packet *packets[2] = {frame_of_segments(), packet_alloc(port)};

    willing = false;
    packets[1]->len = HEADERS;
    memset(packets[1]->data, 0, HEADERS);
    cr_assert_eq(packet_transmit(port, packets, 2), 2, "what is behind it goes");
    cr_expect_null(taken);
    cr_expect_eq(dpdk_queue_counters(device, 0)->tx_tso_refused, 1);
    cr_expect_eq(dpdk_queue_counters(device, 0)->tx_packets, 1);
    cr_expect_not(cuts(port->tso), "from now on software cuts");
}

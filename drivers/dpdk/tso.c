/* What devices cut into segments (TSO). */
#include <string.h>

#include "drivers/dpdk/inside.h"

/* What a device takes of a frame that it is to cut. */
enum {
    TSO_FRAGMENTS_MIN = 3, /* of a segment: headers, payload, and one to spare */
    TSO_RING_SHARE = 8,    /* a frame takes so much of the descriptors at most */
};

/* What drivers of DPDK 22.11 do not say of themselves. */
static const struct tso_quirk {
    const char *driver;
    bool no_v6;         /* cuts IPv4 alone */
    bool ip_checksum;   /* makes the IPv4 checksums of what it cuts, though it offers none */
    bool within_mtu;    /* counts the Ethernet header to the MTU, and stops at a longer segment */
    uint16_t fragments; /* of a frame, with the headers; 0: as it says */
} tso_quirks[] = {
    {.driver = "net_tap", .no_v6 = true, .within_mtu = true},
    {.driver = "net_virtio", .ip_checksum = true},
    {.driver = "net_virtio_user", .ip_checksum = true},
    /* VMXNET3_MAX_TSO_TXD_PER_PKT of Linux, which leaves the header's checksum to it as well. */
    {.driver = "net_vmxnet3", .ip_checksum = true, .fragments = 24},
};

static const struct tso_quirk *tso_quirk(const char *driver)
{
    static const struct tso_quirk none;

    for (unsigned i = 0; i < sizeof tso_quirks / sizeof *tso_quirks; i++)
        if (strcmp(tso_quirks[i].driver, driver) == 0)
            return &tso_quirks[i];
    return &none;
}

void dpdk_tso_limits(const char *driver, const struct rte_eth_dev_info *info, unsigned mtu,
                     struct packet_tso_limits *limits)
{
    const uint64_t must = DPDK_TSO_OFFLOADS | RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
    const struct tso_quirk *quirk = tso_quirk(driver);
    unsigned fragments = info->tx_desc_lim.nb_seg_max;

    *limits = (struct packet_tso_limits){.v4 = false};
    if ((info->tx_offload_capa & must) != must)
        return;
    if (fragments == 0) /* it does not say */
        fragments = UINT16_MAX;
    if (quirk->fragments != 0)
        fragments = RTE_MIN(fragments, quirk->fragments);
    fragments = RTE_MIN(fragments, (unsigned)DPDK_RING_SIZE / TSO_RING_SHARE);
    if (info->tx_desc_lim.nb_max != 0)
        fragments = RTE_MIN(fragments, info->tx_desc_lim.nb_max / TSO_RING_SHARE);
    /* Each segment lies in one packet, so it has two fragments. */
    if (fragments < 1 + TSO_FRAGMENTS_MIN || (info->tx_desc_lim.nb_mtu_seg_max != 0 &&
                                              info->tx_desc_lim.nb_mtu_seg_max < TSO_FRAGMENTS_MIN))
        return;
    limits->v4 = quirk->ip_checksum || (info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0;
    limits->v6 = !quirk->no_v6;
    limits->parts = (uint16_t)RTE_MIN(fragments - 1, (unsigned)PACKET_TSO_PARTS_MAX);
    limits->bytes = PACKET_TSO_BYTES_MAX;
    limits->cut_len = (uint16_t)(quirk->within_mtu ? mtu : mtu + DPDK_FRAME_HEADER);
}

/* What the files of drivers/dpdk share; nobody else includes this but their tests.
 * A packet is the private area of its mbuf, so either is found from the other by arithmetic:
 * [ struct rte_mbuf 128 | struct packet 64 | headroom 128 | dpdk_room() ]. */
#ifndef POLLUX_DRIVERS_DPDK_INSIDE_H
#define POLLUX_DRIVERS_DPDK_INSIDE_H

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "drivers/dpdk/dpdk.h"
#include "drivers/dpdk/gate.h"
#include "drivers/dpdk/rules.h"
#include "drivers/dpdk/spec.h"

static_assert(RTE_PKTMBUF_HEADROOM == PACKET_HEADROOM, "a received frame leaves that much");

enum {
    DPDK_POOL_CACHE = 256,   /* packets that a worker's cache keeps from the shared ring */
    DPDK_MTU_DEFAULT = 1500, /* bytes behind the Ethernet header */
    DPDK_FRAME_HEADER = 18,  /* Ethernet and one VLAN tag */
    DPDK_AF_XDP_ROOM = 256,  /* that net_af_xdp leaves free in front of a received frame */
    DPDK_MTU_MAX = 9000,
    DPDK_LINE_MAX = 256, /* of a line that DPDK logs */
};

static_assert(DPDK_MTU_MAX + DPDK_FRAME_HEADER + DPDK_AF_XDP_ROOM <= PACKET_ROOM_MAX, "all fits");

/* Bytes of a packet behind its headroom, for every driver; `mtu` 0 is the default. */
static inline unsigned dpdk_room(unsigned mtu)
{
    unsigned room = mtu + DPDK_FRAME_HEADER + DPDK_AF_XDP_ROOM;

    if (room <= PACKET_DATA_MAX)
        return PACKET_DATA_MAX;
    return room < PACKET_ROOM_MAX ? (room + 63) & ~63u : PACKET_ROOM_MAX;
}

struct dpdk_queue {
    struct packet_port port;
    uint16_t port_id, queue_id;
    bool gated;           /* bursts pass the gate */
    bool passes_on;       /* net_ring: the receiver gets our very mbuf */
    bool checks_rx;       /* the device verifies checksums */
    bool adjusts;         /* rte_eth_tx_prepare has something to do */
    _Atomic bool stopped; /* changed only while the gate is closed */
    bool arms;            /* the interrupt is asked for; otherwise it comes with every frame */
    int wake_fd;          /* -1: none */
    struct gate *gate;
    struct gate_user user;
    struct rte_mempool *pool;
    struct dpdk_counters counters __attribute__((aligned(64)));
} __attribute__((aligned(64)));

struct dpdk_port {
    struct dpdk *dpdk;
    struct dpdk_spec spec;
    uint16_t id;
    bool started;
    bool reconnects; /* a memif client */
    bool interrupts; /* asked of the device */
    struct dpdk_port_info info;
    bool link_up; /* when dpdk_port_tick last looked */
    _Atomic uint64_t link_changes;
    struct rules rules;
    _Atomic unsigned steer_ports, steer_by_rule; /* dpdk_port_steering */
    struct rte_eth_rss_reta_entry64 *table;      /* as it was last seen; NULL: never */
    uint16_t table_size;                         /* entries; 0: the device has none */
    unsigned queue_count;
    struct dpdk_queue *queues;
};

struct dpdk {
    struct log *log;
    FILE *stream; /* where EAL writes its log */
    bool hugepages;
    bool isolate, interrupts, no_offloads, no_tso;
    _Atomic bool starting; /* lines go to error_lines only */
    int memif_logtype;     /* of lines of the memif driver, -1 without it */
    bool interrupt_holds;  /* the interrupt thread has closed the gate; only it reads this */
    _Atomic bool parked;   /* the interrupt thread does nothing any more */
    unsigned packets_per_queue;
    char error_lines[DPDK_LINE_MAX]; /* errors that DPDK logged while starting or opening */
    struct gate gate;
    struct dpdk_port *ports[DPDK_PORTS_MAX];
};

extern const struct packet_port_ops dpdk_queue_ops;
extern const struct packet_port_ops dpdk_queue_ops_gated;

/* ---- tso.c ---- */

/* All that is asked of a device that is to cut frames. */
#define DPDK_TSO_OFFLOADS (RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS)

/* What a device of this driver cuts into segments, with `mtu`. */
void dpdk_tso_limits(const char *driver, const struct rte_eth_dev_info *info, unsigned mtu,
                     struct packet_tso_limits *limits);

/* ---- steer.c ---- */

/* Before the port is configured: isolates it if that is wanted. */
int dpdk_steer_init(struct dpdk_port *port, const struct rte_eth_dev_info *info, char *error);
/* Before the port is stopped; harmless without init. */
void dpdk_steer_fini(struct dpdk_port *port);

static inline struct packet *dpdk_packet(struct rte_mbuf *mbuf)
{
    return (struct packet *)(mbuf + 1);
}

static inline struct rte_mbuf *dpdk_mbuf(const struct packet *packet)
{
    return (struct rte_mbuf *)((uintptr_t)packet - sizeof(struct rte_mbuf));
}

#endif

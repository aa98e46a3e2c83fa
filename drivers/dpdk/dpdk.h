/* DPDK: packet ports that bypass the kernel.
 * Purpose:   starts DPDK's environment (EAL) once in a process, opens ports by their specs and gives
 *            each worker one receive and transmit queue pair as a struct packet_port.
 * Ownership: struct dpdk owns its ports, they own their queues and packet pools. All packets must
 *            have been released and all workers have stopped polling before dpdk_port_close.
 * Threading: start, open, close and stop from one thread (control); a queue is used by one worker's
 *            thread after dpdk_thread_register. Counters are read relaxed, and links, statistics and
 *            descriptions asked for, by any thread.
 * Errors:    negative errno, and one line in `error` (DPDK_ERROR_MAX bytes) that says what is
 *            missing and, where there is one, the command that mends it. -ENOSYS: built without
 *            DPDK (then every other function is never reached).
 * Specs:     "0000:03:00.0" or "03:00.0" (a PCI address) or "net_<driver><n>", each with driver
 *            arguments behind commas: "net_memif0,role=server,socket=/run/a.sock",
 *            "net_af_xdp0,iface=eth1", "net_tap0,iface=pollux0", "net_af_packet0,iface=eth1",
 *            "net_ring0", "net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap". */
#ifndef POLLUX_DRIVERS_DPDK_DPDK_H
#define POLLUX_DRIVERS_DPDK_DPDK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "drivers/packet.h"

enum {
    DPDK_ERROR_MAX = 512,       /* the line that says what is missing, with its NUL */
    DPDK_PORTS_MAX = 8,         /* ports of one process */
    DPDK_QUEUES_MAX = 64,       /* queue pairs of one port */
    DPDK_NAME_MAX = 64,         /* a device's name, with its NUL */
    DPDK_RING_SIZE = 1024,      /* descriptors of each receive and transmit queue */
    DPDK_SPARE_PACKETS = 8192,  /* packets of a queue's pool besides those in its two rings */
    DPDK_PACKETS_MAX = 1 << 20, /* largest pool of one queue */
};

struct log;
struct dpdk;
struct dpdk_port;

struct dpdk_options {
    const char *const
        *specs; /* of all ports that will be opened: they decide on memory and buses */
    unsigned spec_count;
    unsigned queues;            /* queue pairs of each port, for the memory to be set aside */
    unsigned mtu;               /* that ports will be opened with, for the memory; 0: 1500 */
    unsigned packets_per_queue; /* 0: two rings and DPDK_SPARE_PACKETS */
    bool interrupts;            /* queues that can wake a sleeping worker are to do so */
    bool isolate;               /* only what rules of ours match comes to the ports */
    bool no_offloads;           /* checksums are computed and verified in software only, ... */
    bool no_tso;                /* ... and segments cut */
    const char *args;           /* further EAL arguments, blanks between them; NULL: none */
    struct log *log;            /* where DPDK's warnings go; NULL: nowhere */
};

/* Whether this program was built with DPDK. */
bool dpdk_built(void);

/* Checks the machine, then starts EAL: on hugepages when there are free ones, else, if all ports are
 * virtual devices, without (said in the log, with what it costs). Does not change the affinity of
 * the calling thread. Only one in the life of a process: after dpdk_stop, or a failure in EAL itself,
 * -EALREADY. */
int dpdk_start(struct dpdk **dpdk, const struct dpdk_options *options, char *error);
/* Closes ports that are still open. */
void dpdk_stop(struct dpdk *dpdk);

/* Each thread that uses a queue registers first, after it pinned itself. -ENOMEM beyond DPDK's limit
 * of threads (RTE_MAX_LCORE). */
int dpdk_thread_register(void);
void dpdk_thread_unregister(void);

/* Opens and starts a port with `queues` queue pairs, or as many as the device has if those are fewer
 * (dpdk_port_info tells), received frames spread by a symmetric RSS hash where the device can. `mtu`
 * 0 is 1500, or less if the device allows no more. */
int dpdk_port_open(struct dpdk *dpdk, const char *spec, unsigned queues, unsigned mtu,
                   struct dpdk_port **port, char *error);
void dpdk_port_close(struct dpdk_port *port);

/* The queue pair of worker `index`; lives as long as the port. */
struct packet_port *dpdk_queue(struct dpdk_port *port, unsigned index);

/* TCP ports that are to come to certain queues. */
struct dpdk_steer_ports {
    uint16_t common; /* spread over all queues; 0: none */
    uint16_t first;  /* port first + k goes to queue k modulo the number of queues, ... */
    unsigned count;  /* ... for k below this, at most 128 */
    bool v4, v6;     /* families in use */
};

/* How they do. */
struct dpdk_steering {
    unsigned ports;   /* of single queues that wanted a rule */
    unsigned by_rule; /* have one; the others come to any queue */
    bool isolated;    /* nothing but what rules match comes at all */
    char reason[160]; /* why not all have one: the device's words, or "" */
};

/* Has the card bring these ports to their queues by flow rules, instead of those before; to be
 * called again when they change, from the thread that opened the port. Refusals are told in
 * `result`; an error only with `isolate`: -errno, and `result->reason` says why. */
int dpdk_port_steer(struct dpdk_port *port, const struct dpdk_steer_ports *ports,
                    struct dpdk_steering *result);
/* Any thread: the last result, without its words. */
void dpdk_port_steering(const struct dpdk_port *port, struct dpdk_steering *result);

/* Whether the device's redirection table is another than at the last call, or the first one; to be
 * called now and then from the thread that opened the port. -ENOTSUP: it has none, or does not show
 * it: who knows which queue the next frame of a flow comes to. */
int dpdk_port_table_changed(struct dpdk_port *port);

/* What gives a port of this driver more queue pairs, in words that follow "more queues: ". */
const char *dpdk_queues_remedy(const char *driver);

/* What a port is; fixed once it is open. */
struct dpdk_port_info {
    char name[DPDK_NAME_MAX];   /* as DPDK calls it */
    char driver[DPDK_NAME_MAX]; /* "net_mlx5", "net_memif" ... */
    uint8_t mac[6];
    uint16_t mtu;
    unsigned queues;
    unsigned queues_left;         /* of its interface, which stay the kernel's */
    unsigned numa_node;           /* of its packets */
    uint32_t offloads;            /* PACKET_TX_* the device does */
    struct packet_tso_limits tso; /* what it cuts; a queue may have given up on it since */
    bool checks_rx;               /* it verifies received checksums */
    bool rss;                     /* it spreads flows over the queues */
    bool hugepages;               /* false: --no-huge */
    bool rx_interrupts;           /* frames wake a sleeping worker */
    unsigned pool_packets;        /* of each queue */
};
void dpdk_port_info(const struct dpdk_port *port, struct dpdk_port_info *info);

struct dpdk_link {
    bool up;
    unsigned speed_mbps; /* 0: unknown */
    bool full_duplex;
    uint64_t changes; /* seen by dpdk_port_tick: down and up again are two */
};
void dpdk_port_link(const struct dpdk_port *port, struct dpdk_link *link);

/* To be called about once a second by the control thread: tells in the log when the link goes or
 * comes; a memif client whose server went away connects again once it is back. */
void dpdk_port_tick(struct dpdk_port *port);

/* Counters of one queue pair; its worker writes, anyone reads relaxed. */
struct dpdk_counters {
    _Atomic uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
    _Atomic uint64_t rx_too_long; /* dropped: longer than a packet */
    _Atomic uint64_t rx_checksum; /* marked PACKET_CHECKSUM_BAD; the stack drops them */
    _Atomic uint64_t tx_too_long; /* dropped: payload elsewhere does not fit behind the headers */
    _Atomic uint64_t tx_tso_refused; /* frames that the driver would not cut: with the first one the
                                      * queue gives up on them */
    _Atomic uint64_t tx_full;        /* bursts that the device did not take as a whole */
    _Atomic uint64_t alloc_failed;   /* packet_alloc found the pool empty */
    _Atomic uint64_t peer_gone;      /* polls skipped while a memif peer's memory was taken away */
};
const struct dpdk_counters *dpdk_queue_counters(const struct dpdk_port *port, unsigned index);

/* What the device counted. */
struct dpdk_stats {
    uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
    uint64_t rx_missed;  /* no descriptor free: the worker did not keep up */
    uint64_t rx_errors;  /* damaged frames */
    uint64_t rx_no_pool; /* no packet free */
    uint64_t tx_errors;
};
int dpdk_port_stats(const struct dpdk_port *port, struct dpdk_stats *stats);

/* Calls `each` for every extended statistic of the device; the name is valid during the call. */
int dpdk_port_xstats(const struct dpdk_port *port,
                     void (*each)(void *arg, const char *name, uint64_t value), void *arg);

#endif

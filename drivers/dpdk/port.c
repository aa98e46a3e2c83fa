/* Ports: opening, description, statistics. */
#include <dlfcn.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_mbuf_pool_ops.h>

#include "drivers/dpdk/inside.h"
#include "drivers/dpdk/machine.h"
#include "drivers/log.h"

enum {
    RSS_KEY_MAX = 64, /* bytes; 40 and 52 occur */
    /* Of a page, besides the datagram: what a mempool keeps, mbuf, packet, both headrooms, frame
     * header. */
    AF_XDP_BESIDES = sizeof(struct rte_mempool_objhdr) + RTE_CACHE_LINE_SIZE +
                     sizeof(struct rte_mbuf) + sizeof(struct packet) + PACKET_HEADROOM +
                     DPDK_AF_XDP_ROOM + DPDK_FRAME_HEADER,
    MEMIF_BUFFER = 2048,    /* bytes of a buffer, unless told */
    AF_PACKET_BESIDES = 80, /* of a frame of the ring, besides the datagram (packet(7)) */
    AF_PACKET_FRAME = 2048, /* its size, unless told */
    AF_PACKET_ALIGN = 128,
    AF_PACKET_FRAMES = 32, /* of a block, so that it is whole pages */
};

#define RSS_FIELDS                                                                                 \
    (RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_NONFRAG_IPV4_TCP |                          \
     RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_IPV6_TCP_EX)

__attribute__((format(printf, 3, 4))) static int fail(char *error, int code, const char *format,
                                                      ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, DPDK_ERROR_MAX, format, args);
    va_end(args);
    return code;
}

/* ---- attaching the device ---- */

/* What commonly is missing when a driver refuses, as far as it is not seen from files. */
static const char *remedy(const struct dpdk_spec *spec)
{
    static const struct {
        const char *driver, *remedy;
    } rows[] = {
        {"net_af_xdp", "; run as root, or: setcap cap_net_admin,cap_net_raw,cap_bpf,cap_sys_admin,"
                       "cap_ipc_lock+ep polluxd"},
        {"net_af_packet", "; run as root, or: setcap cap_net_raw+ep polluxd"},
        {"net_pcap", "; interfaces want root, or: setcap cap_net_raw+ep polluxd"},
        {"net_tap", "; run as root, or: setcap cap_net_admin+ep polluxd"},
        {"net_memif", "; is the directory of its socket writable, the server there?"},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(spec->driver, rows[i].driver) == 0)
            return rows[i].remedy;
    return spec->pci ? "; tools/pollux-nic doctor" : "";
}

static int refused(struct dpdk_port *port, int code, const char *what, char *error)
{
    const char *line = port->dpdk->error_lines;

    return fail(error, code, "port %s: %s (%s)%s%s%s", port->spec.name, what, rte_strerror(-code),
                line[0] != '\0' ? ": " : "", line, remedy(&port->spec));
}

/* af_xdp and af_packet have one queue pair unless their arguments say more. */
static int ask_for_queues(struct dpdk_spec *spec, unsigned queues)
{
    if (queues > 1 && strcmp(spec->driver, "net_af_xdp") == 0)
        return dpdk_spec_default(spec, "queue_count", queues);
    if (queues > 1 && strcmp(spec->driver, "net_af_packet") == 0)
        return dpdk_spec_default(spec, "qpairs", queues);
    return 0;
}

/* For libbpf and libxdp, which net_af_xdp brings: what they have to say is of interest to whoever asks
 * (dpdk-args --log-level=user1:notice), and not worth the server's standard error. */
static int say_as_dpdk(int level, const char *format, va_list args)
{
    return rte_vlog(RTE_LOG_NOTICE, RTE_LOGTYPE_USER1, format, args);
}

static void quieten(const char *library, const char *setter)
{
    void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    void (*set_print)(int (*)(int, const char *, va_list));

    if (handle == NULL)
        return;
    *(void **)&set_print = dlsym(handle, setter);
    if (set_print != NULL)
        set_print(say_as_dpdk);
    dlclose(handle);
}

static int attach(struct dpdk_port *port, char *error)
{
    char text[DPDK_NAME_MAX + DPDK_SPEC_MAX + 2];
    int result = dpdk_spec_text(&port->spec, text, sizeof(text));

    if (result != 0)
        return fail(error, result, "port %s: its arguments are too long", port->spec.name);
    /* EAL found PCI devices when it started. */
    if (!port->spec.pci && rte_eth_dev_get_port_by_name(port->spec.name, &port->id) == 0)
        return fail(error, -EEXIST, "port %s is open already; give another name or number",
                    port->spec.name);
    if (strcmp(port->spec.driver, "net_af_xdp") == 0) {
        quieten("libbpf.so.1", "libbpf_set_print");
        quieten("libxdp.so.1", "libxdp_set_print");
    }
    if (!port->spec.pci) {
        result = rte_dev_probe(text);
        if (result != 0)
            return refused(port, result, "its driver does not start", error);
    }
    if (rte_eth_dev_get_port_by_name(port->spec.name, &port->id) != 0)
        return refused(port, -ENODEV, "no driver of DPDK took it", error);
    return 0;
}

static void detach(struct dpdk_port *port)
{
    struct rte_eth_dev_info info;
    bool known = rte_eth_dev_info_get(port->id, &info) == 0;

    rte_eth_dev_close(port->id);
    if (known && !port->spec.pci && info.device != NULL)
        rte_dev_remove(info.device);
}

/* ---- configuring it ---- */

static uint64_t wanted_rx(const struct dpdk_port *port, const struct rte_eth_dev_info *info)
{
    if (port->dpdk->no_offloads)
        return 0;
    return info->rx_offload_capa & (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM);
}

static uint64_t wanted_tx(const struct dpdk_port *port, const struct rte_eth_dev_info *info)
{
    if (port->dpdk->no_offloads)
        return 0;
    uint64_t wanted = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
    struct packet_tso_limits tso;

    dpdk_tso_limits(info->driver_name, info, DPDK_MTU_DEFAULT, &tso);
    if (!port->dpdk->no_tso && (tso.v4 || tso.v6))
        wanted |= DPDK_TSO_OFFLOADS;
    return info->tx_offload_capa & wanted;
}

/* The key of Woo and Park ("Scalable TCP Session Monitoring with Symmetric Receive-side Scaling"):
 * its period of 16 bits gives both directions of a flow the same hash. */
static void symmetric_key(uint8_t *key, unsigned len)
{
    for (unsigned i = 0; i < len; i++)
        key[i] = i % 2 == 0 ? 0x6d : 0x5a;
}

static int configure(struct dpdk_port *port, const struct rte_eth_dev_info *info, unsigned queues,
                     char *error)
{
    uint8_t key[RSS_KEY_MAX];
    struct rte_eth_conf conf = {.rxmode = {.offloads = wanted_rx(port, info)},
                                .txmode = {.offloads = wanted_tx(port, info)},
                                .intr_conf = {.rxq = port->interrupts}};
    int result;

    port->info.rss = queues > 1 && (info->flow_type_rss_offloads & RSS_FIELDS) != 0;
    if (port->info.rss) {
        unsigned len = info->hash_key_size != 0 ? info->hash_key_size : 40;

        symmetric_key(key, RSS_KEY_MAX);
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = info->flow_type_rss_offloads & RSS_FIELDS;
        if (len <= RSS_KEY_MAX) {
            conf.rx_adv_conf.rss_conf.rss_key = key;
            conf.rx_adv_conf.rss_conf.rss_key_len = (uint8_t)len;
        }
    }
    result = rte_eth_dev_configure(port->id, (uint16_t)queues, (uint16_t)queues, &conf);
    if (result != 0)
        return refused(port, result, "its driver refuses the configuration", error);
    return 0;
}

/* What ethdev lets pass. Without a limit of its own a driver's max_mtu is 65535; af_packet and memif of
 * DPDK 22.11 name an ordinary frame as their longest, and carry what their buffers hold. */
static unsigned device_limit(const struct dpdk_port *port, const struct rte_eth_dev_info *info)
{
    unsigned most = DPDK_MTU_MAX, header = DPDK_FRAME_HEADER;

    if (strcmp(port->spec.driver, "net_af_packet") == 0 ||
        strcmp(port->spec.driver, "net_memif") == 0)
        return most;
    if (info->max_mtu != 0 && info->max_mtu != UINT16_MAX) {
        most = RTE_MIN(most, (unsigned)info->max_mtu);
        if (info->max_rx_pktlen > info->max_mtu)
            header = info->max_rx_pktlen - info->max_mtu;
    }
    return info->max_rx_pktlen > header ? RTE_MIN(most, info->max_rx_pktlen - header) : most;
}

/* The largest MTU; `mend` says what would allow more. */
static unsigned mtu_limit(const struct dpdk_port *port, const struct rte_eth_dev_info *info,
                          const char **mend)
{
    unsigned most = device_limit(port, info), driver = DPDK_MTU_MAX;
    char value[16];

    *mend = "";
    if (strcmp(port->spec.driver, "net_af_xdp") == 0) {
        driver = (unsigned)sysconf(_SC_PAGESIZE) - AF_XDP_BESIDES;
        *mend = " (a packet must fit into a page)";
    } else if (strcmp(port->spec.driver, "net_af_packet") == 0 &&
               dpdk_spec_value(&port->spec, "framesz", value, sizeof(value))) {
        unsigned long size = strtoul(value, NULL, 10);

        driver = size > AF_PACKET_BESIDES && size < PACKET_ROOM_MAX ? size - AF_PACKET_BESIDES
                                                                    : DPDK_MTU_MAX;
        *mend = " (more with a larger framesz= and blocksz= in dpdk-port, or without them)";
    }
    if (driver >= most)
        *mend = strcmp(port->spec.driver, "net_tap") == 0 ? " (net_af_packet carries 9000)" : "";
    return RTE_MIN(most, driver);
}

/* A memif client's buffers are those of both ends; a frame that is longer takes several of them, and
 * of the ring. */
static int ask_for_buffers(struct dpdk_spec *spec, unsigned mtu)
{
    unsigned need = (mtu + DPDK_FRAME_HEADER + 63) & ~63u;
    char role[16] = "client";

    dpdk_spec_value(spec, "role", role, sizeof(role));
    if (need <= MEMIF_BUFFER || strcmp(role, "client") != 0)
        return 0;
    return dpdk_spec_default(spec, "bsize", need);
}

/* af_packet's frames are large enough for few MTUs beyond the default, unless it is told. */
static int ask_for_frames(struct dpdk_spec *spec, unsigned mtu)
{
    unsigned need = mtu + AF_PACKET_BESIDES;
    char value[16];

    if (mtu > DPDK_MTU_MAX) /* is refused later */
        return 0;
    if (strcmp(spec->driver, "net_memif") == 0)
        return ask_for_buffers(spec, mtu);
    if (strcmp(spec->driver, "net_af_packet") != 0 || need <= AF_PACKET_FRAME ||
        dpdk_spec_value(spec, "framesz", value, sizeof(value)) ||
        dpdk_spec_value(spec, "blocksz", value, sizeof(value)))
        return 0;
    /* Not more than a packet has room for, and a whole number of frames in a block of whole pages. */
    need = (need + AF_PACKET_ALIGN - 1) / AF_PACKET_ALIGN * AF_PACKET_ALIGN;
    int result = dpdk_spec_default(spec, "blocksz", need * AF_PACKET_FRAMES);
    return result != 0 ? result : dpdk_spec_default(spec, "framesz", need);
}

/* af_packet tells ethdev of no frames beyond 1518 bytes, and carries what its ring's frames hold. */
static int set_interface_mtu(unsigned index, unsigned mtu)
{
    struct ifreq request = {.ifr_mtu = (int)mtu};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), result = 0;

    if (fd < 0)
        return -errno;
    if (if_indextoname(index, request.ifr_name) == NULL || ioctl(fd, SIOCSIFMTU, &request) < 0)
        result = -errno;
    close(fd);
    return result;
}

static int set_mtu(struct dpdk_port *port, const struct rte_eth_dev_info *info, unsigned wanted,
                   char *error)
{
    const char *mend;
    unsigned most = mtu_limit(port, info, &mend);
    unsigned mtu = wanted != 0 ? wanted : RTE_MIN((unsigned)DPDK_MTU_DEFAULT, most);
    int result;

    if (mtu > most || mtu < RTE_ETHER_MIN_MTU)
        return fail(error, -ERANGE, "port %s: its MTU can be %d to %u, not %u%s", port->spec.name,
                    RTE_ETHER_MIN_MTU, most, mtu, mend);
    if (mtu > DPDK_MTU_DEFAULT && strcmp(port->spec.driver, "net_af_packet") == 0)
        result = set_interface_mtu(info->if_index, mtu);
    else
        result = rte_eth_dev_set_mtu(port->id, (uint16_t)mtu);
    /* Virtual devices without an MTU of their own carry what they are given. */
    if (result != 0 && (result != -ENOTSUP || (port->spec.pci && mtu > DPDK_MTU_DEFAULT)))
        return refused(port, result, "it does not take that MTU", error);
    port->info.mtu = (uint16_t)mtu;
    return 0;
}

/* Packets for one queue. Without DMA they need not keep within pages, so they lie next to each other:
 * more than a third of the memory less on ordinary pages; and net_af_xdp takes that for granted (it
 * gives the kernel so many times the size of a packet, and what lies beyond would never be sent). */
static struct rte_mempool *make_pool(const struct dpdk_port *port, const char *name, int node)
{
    unsigned flags = port->spec.pci ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG;

    /* Lines that spread packets over the memory's channels would push them out of their page. */
    if (strcmp(port->spec.driver, "net_af_xdp") == 0 && dpdk_room(port->info.mtu) > PACKET_DATA_MAX)
        flags |= RTE_MEMPOOL_F_NO_SPREAD;
    struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size =
                                                   (uint16_t)(PACKET_HEADROOM +
                                                              dpdk_room(port->info.mtu)),
                                               .mbuf_priv_size = sizeof(struct packet)};
    unsigned size = sizeof(struct rte_mbuf) + private.mbuf_priv_size + private.mbuf_data_room_size;
    struct rte_mempool *pool =
        rte_mempool_create_empty(name, port->dpdk->packets_per_queue, size, DPDK_POOL_CACHE,
                                 sizeof(private), node, flags);

    if (pool == NULL)
        return NULL;
    if (rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL) != 0) {
        rte_mempool_free(pool);
        return NULL;
    }
    rte_pktmbuf_pool_init(pool, &private);
    if (rte_mempool_populate_default(pool) < 0) {
        rte_mempool_free(pool);
        return NULL;
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
    return pool;
}

static int set_up_queue(struct dpdk_port *port, const struct rte_eth_dev_info *info, unsigned index,
                        unsigned descriptors_rx, unsigned descriptors_tx, char *error)
{
    struct dpdk_queue *queue = &port->queues[index];
    int node = rte_eth_dev_socket_id(port->id);
    struct rte_eth_rxconf rx = info->default_rxconf;
    struct rte_eth_txconf tx = info->default_txconf;
    char name[RTE_MEMPOOL_NAMESIZE];
    int result;

    snprintf(name, sizeof(name), "pollux_%u_%u", port->id, index);
    if (queue->pool == NULL) /* else: set up a second time */
        queue->pool = make_pool(port, name, node);
    if (queue->pool == NULL && node > 0) /* the card's node has no hugepages: any is better */
        queue->pool = make_pool(port, name, SOCKET_ID_ANY);
    if (queue->pool == NULL)
        return fail(error, -rte_errno,
                    "port %s: no memory for %u packets of queue %u (%s); give it more hugepages: "
                    "sysctl vm.nr_hugepages, or more memory: dpdk-args '-m MEGABYTES'",
                    port->spec.name, port->dpdk->packets_per_queue, index, rte_strerror(rte_errno));
    rx.offloads = wanted_rx(port, info);
    tx.offloads = wanted_tx(port, info);
    result = rte_eth_rx_queue_setup(port->id, (uint16_t)index, (uint16_t)descriptors_rx,
                                    (unsigned)node, &rx, queue->pool);
    if (result == 0)
        result = rte_eth_tx_queue_setup(port->id, (uint16_t)index, (uint16_t)descriptors_tx,
                                        (unsigned)node, &tx);
    if (result != 0)
        return refused(port, result, "its driver refuses a queue", error);
    queue->port_id = port->id;
    queue->queue_id = (uint16_t)index;
    queue->gate = &port->dpdk->gate;
    return 0;
}

static int set_up_queues(struct dpdk_port *port, const struct rte_eth_dev_info *info, char *error)
{
    uint16_t rx = DPDK_RING_SIZE, tx = DPDK_RING_SIZE;
    int result = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &rx, &tx);

    if (result != 0)
        return refused(port, result, "its driver refuses the ring sizes", error);
    for (unsigned i = 0; i < port->queue_count; i++) {
        result = set_up_queue(port, info, i, rx, tx, error);
        if (result != 0)
            return result;
    }
    return 0;
}

/* ---- what workers see of it ---- */

static void describe(struct dpdk_port *port, const struct rte_eth_dev_info *info)
{
    struct rte_ether_addr mac = {{0}};
    int node = rte_eth_dev_socket_id(port->id);
    uint64_t tx = wanted_tx(port, info);

    rte_eth_macaddr_get(port->id, &mac);
    memcpy(port->info.mac, mac.addr_bytes, sizeof(port->info.mac));
    snprintf(port->info.name, sizeof(port->info.name), "%s", port->spec.name);
    snprintf(port->info.driver, sizeof(port->info.driver), "%s", info->driver_name);
    port->info.queues = port->queue_count;
    port->info.queues_left = machine_queues_left(&port->spec, port->queue_count);
    port->info.numa_node = node > 0 ? (unsigned)node : 0;
    port->info.hugepages = port->dpdk->hugepages;
    port->info.pool_packets = port->dpdk->packets_per_queue;
    port->info.checks_rx = wanted_rx(port, info) != 0;
    port->info.offloads = (tx & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM ? PACKET_TX_IP_CHECKSUM : 0) |
                          (tx & RTE_ETH_TX_OFFLOAD_TCP_CKSUM ? PACKET_TX_TCP_CHECKSUM : 0);
    if (tx & RTE_ETH_TX_OFFLOAD_TCP_TSO)
        dpdk_tso_limits(info->driver_name, info, port->info.mtu, &port->info.tso);
}

static int publish(struct dpdk_port *port, char *error)
{
    bool memif = strcmp(port->spec.driver, "net_memif") == 0;

    for (unsigned i = 0; i < port->queue_count; i++) {
        struct dpdk_queue *queue = &port->queues[i];

        queue->port.ops = memif ? &dpdk_queue_ops_gated : &dpdk_queue_ops;
        memcpy(queue->port.mac, port->info.mac, sizeof(queue->port.mac));
        queue->port.mtu = port->info.mtu;
        queue->port.room = (uint16_t)dpdk_room(port->info.mtu);
        queue->port.offloads = port->info.offloads;
        queue->port.tso = port->info.tso;
        queue->gated = memif;
        queue->wake_fd = -1;
        queue->passes_on = strcmp(port->spec.driver, "net_ring") == 0;
        queue->checks_rx = port->info.checks_rx;
        queue->adjusts = port->info.offloads != 0;
    }
    if (!memif)
        return 0;
    gate_close(&port->dpdk->gate); /* for the interrupt thread, which looks through the users */
    for (unsigned i = 0; i < port->queue_count; i++)
        if (gate_add(&port->dpdk->gate, &port->queues[i].user) != 0) {
            gate_open(&port->dpdk->gate);
            return fail(error, -ENOSPC, "port %s: more than %d queues of memif ports",
                        port->spec.name, GATE_USERS_MAX);
        }
    gate_open(&port->dpdk->gate);
    return 0;
}

/* Which queues can wake their worker. Drivers differ: some raise interrupts once they are asked to,
 * some (TAP) have a file that is readable whenever there is a frame, most virtual ones have
 * neither. */
static void find_wake_ups(struct dpdk_port *port)
{
    for (unsigned i = 0; i < port->queue_count && port->interrupts; i++) {
        struct dpdk_queue *queue = &port->queues[i];
        int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(port->id, (uint16_t)i);
        if (fd < 0)
            continue;
        int result = rte_eth_dev_rx_intr_enable(port->id, (uint16_t)i);
        if (result != 0 && result != -ENOTSUP)
            continue;
        queue->arms = result == 0;
        if (queue->arms)
            rte_eth_dev_rx_intr_disable(port->id, (uint16_t)i);
        queue->wake_fd = fd;
        port->info.rx_interrupts = true;
    }
}

static int start(struct dpdk_port *port, char *error)
{
    int result = rte_eth_dev_start(port->id);

    if (result != 0)
        return refused(port, result, "it does not start", error);
    port->started = true;
    find_wake_ups(port);
    /* Neighbour discovery asks by multicast. Virtual devices take everything anyway. */
    rte_eth_allmulticast_enable(port->id);
    return 0;
}

/* ---- open and close ---- */

/* As many as the device has, if those are fewer than wanted. */
static int settle_queues(struct dpdk_port *port, const struct rte_eth_dev_info *info, char *error)
{
    unsigned most = RTE_MIN(info->max_rx_queues, info->max_tx_queues);

    if (most == 0)
        return fail(error, -ENODEV, "port %s: it has no queue pair%s", port->spec.name,
                    remedy(&port->spec));
    port->queue_count = RTE_MIN(port->queue_count, most);
    return 0;
}

static int set_up(struct dpdk_port *port, const struct rte_eth_dev_info *info, unsigned mtu,
                  char *error)
{
    int result = configure(port, info, port->queue_count, error);

    if (result == 0)
        result = set_mtu(port, info, mtu, error);
    return result != 0 ? result : set_up_queues(port, info, error);
}

static int open_device(struct dpdk_port *port, unsigned mtu, char *error)
{
    struct rte_eth_dev_info info;
    int result = rte_eth_dev_info_get(port->id, &info);

    if (result != 0)
        return refused(port, result, "it does not say what it can", error);
    result = settle_queues(port, &info, error);
    if (result == 0)
        result = dpdk_steer_init(port, &info, error);
    if (result == 0)
        result = set_up(port, &info, mtu, error);
    if (result != 0)
        return result;
    describe(port, &info);
    result = publish(port, error);
    if (result == 0)
        result = start(port, error);
    if (result == 0 || !port->interrupts)
        return result;
    /* Some drivers refuse interrupts only here, for want of vectors: then without. */
    port->interrupts = false;
    result = set_up(port, &info, mtu, error);
    return result != 0 ? result : start(port, error);
}

static struct dpdk_port **free_place(struct dpdk *dpdk)
{
    for (unsigned i = 0; i < DPDK_PORTS_MAX; i++)
        if (dpdk->ports[i] == NULL)
            return &dpdk->ports[i];
    return NULL;
}

static void free_port(struct dpdk_port *port)
{
    if (port->queues != NULL)
        for (unsigned i = 0; i < port->queue_count; i++)
            rte_mempool_free(port->queues[i].pool);
    free(port->queues);
    free(port);
}

static void close_device(struct dpdk_port *port)
{
    dpdk_steer_fini(port);
    gate_close(&port->dpdk->gate);
    if (port->started)
        rte_eth_dev_stop(port->id);
    for (unsigned i = 0; i < port->queue_count; i++)
        if (port->queues[i].gated)
            gate_leave_out(&port->dpdk->gate, &port->queues[i].user);
    detach(port);
    gate_open(&port->dpdk->gate);
}

static struct dpdk_port *new_port(struct dpdk *dpdk, unsigned queues)
{
    struct dpdk_port *port = calloc(1, sizeof(*port));

    if (port == NULL)
        return NULL;
    port->dpdk = dpdk;
    port->interrupts = dpdk->interrupts;
    port->queue_count = queues;
    port->queues = aligned_alloc(64, queues * sizeof(struct dpdk_queue));
    if (port->queues == NULL) {
        free(port);
        return NULL;
    }
    memset(port->queues, 0, queues * sizeof(struct dpdk_queue));
    return port;
}

int dpdk_port_open(struct dpdk *dpdk, const char *spec, unsigned queues, unsigned mtu,
                   struct dpdk_port **out, char *error)
{
    struct dpdk_port **place = free_place(dpdk);
    struct dpdk_port *port;
    struct dpdk_link link;
    char role[16] = "client";
    int result;

    if (place == NULL || queues == 0 || queues > DPDK_QUEUES_MAX)
        return fail(error, -ENOSPC, "port %.80s: at most %d ports of 1 to %d queues are served",
                    spec, DPDK_PORTS_MAX, DPDK_QUEUES_MAX);
    port = new_port(dpdk, queues);
    if (port == NULL)
        return fail(error, -ENOMEM, "port %.80s: out of memory", spec);
    dpdk->starting = true;
    result = dpdk_spec_parse(spec, &port->spec, error);
    /* EAL looked at PCI devices when it started: what it said then is why one is not there now. */
    if (!port->spec.pci)
        dpdk->error_lines[0] = '\0';
    if (result == 0)
        result = machine_check("", &port->spec, error);
    if (result == 0 && ask_for_queues(&port->spec, machine_queues(&port->spec, queues)) != 0)
        result = fail(error, -ENOSPC, "port %s: its arguments are too long", port->spec.name);
    if (result == 0 && ask_for_frames(&port->spec, mtu) != 0)
        result = fail(error, -ENOSPC, "port %s: its arguments are too long", port->spec.name);
    if (result == 0)
        result = attach(port, error);
    if (result != 0)
        goto fail;
    result = open_device(port, mtu, error);
    if (result != 0) {
        close_device(port);
        goto fail;
    }
    dpdk_spec_value(&port->spec, "role", role, sizeof(role));
    port->reconnects = strcmp(port->spec.driver, "net_memif") == 0 && strcmp(role, "client") == 0;
    dpdk->starting = false;
    dpdk_port_link(port, &link);
    port->link_up = link.up;
    *place = *out = port;
    return 0;
fail:
    dpdk->starting = false;
    free_port(port);
    return result;
}

void dpdk_port_close(struct dpdk_port *port)
{
    for (unsigned i = 0; i < DPDK_PORTS_MAX; i++)
        if (port->dpdk->ports[i] == port)
            port->dpdk->ports[i] = NULL;
    close_device(port);
    free_port(port);
}

static void note_link(struct dpdk_port *port, const struct dpdk_link *link)
{
    struct log *log = port->dpdk->log;

    if (link->up == port->link_up)
        return;
    port->link_up = link->up;
    atomic_fetch_add_explicit(&port->link_changes, 1, memory_order_relaxed);
    if (log != NULL && link->speed_mbps != 0 && link->up)
        log_write(log, LOG_LEVEL_NOTICE, "dpdk: port %s: link up, %u Mbit/s", port->info.name,
                  link->speed_mbps);
    else if (log != NULL)
        log_write(log, link->up ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING, "dpdk: port %s: link %s",
                  port->info.name, link->up ? "up" : "down");
}

/* The driver of memif does not try again by itself. */
void dpdk_port_tick(struct dpdk_port *port)
{
    struct dpdk_link link;
    struct log *log = port->dpdk->log;

    dpdk_port_link(port, &link);
    note_link(port, &link);
    if (!port->reconnects)
        return;
    if (port->started && link.up)
        return;
    dpdk_steer_fini(port);
    gate_close(&port->dpdk->gate);
    if (port->started)
        rte_eth_dev_stop(port->id);
    port->dpdk->starting = true; /* that the server is not back yet is not worth a line */
    port->started = rte_eth_dev_start(port->id) == 0;
    port->dpdk->starting = false;
    for (unsigned i = 0; i < port->queue_count; i++)
        atomic_store_explicit(&port->queues[i].stopped, !port->started, memory_order_relaxed);
    gate_open(&port->dpdk->gate);
    if (port->started && log != NULL)
        log_write(log, LOG_LEVEL_NOTICE, "dpdk: port %s connects again", port->info.name);
}

/* ---- questions ---- */

struct packet_port *dpdk_queue(struct dpdk_port *port, unsigned index)
{
    assert(index < port->queue_count);
    return &port->queues[index].port;
}

const struct dpdk_counters *dpdk_queue_counters(const struct dpdk_port *port, unsigned index)
{
    assert(index < port->queue_count);
    return &port->queues[index].counters;
}

void dpdk_port_info(const struct dpdk_port *port, struct dpdk_port_info *info)
{
    *info = port->info;
}

void dpdk_port_link(const struct dpdk_port *port, struct dpdk_link *link)
{
    struct rte_eth_link found;

    memset(link, 0, sizeof(*link));
    link->changes = atomic_load_explicit(&port->link_changes, memory_order_relaxed);
    if (rte_eth_link_get_nowait(port->id, &found) != 0)
        return;
    link->up = found.link_status == RTE_ETH_LINK_UP;
    link->full_duplex = found.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
    if (found.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN)
        link->speed_mbps = found.link_speed;
}

int dpdk_port_stats(const struct dpdk_port *port, struct dpdk_stats *stats)
{
    struct rte_eth_stats found;
    int result = rte_eth_stats_get(port->id, &found);

    memset(stats, 0, sizeof(*stats));
    if (result != 0)
        return result;
    stats->rx_packets = found.ipackets;
    stats->rx_bytes = found.ibytes;
    stats->tx_packets = found.opackets;
    stats->tx_bytes = found.obytes;
    stats->rx_missed = found.imissed;
    stats->rx_errors = found.ierrors;
    stats->rx_no_pool = found.rx_nombuf;
    stats->tx_errors = found.oerrors;
    return 0;
}

int dpdk_port_xstats(const struct dpdk_port *port,
                     void (*each)(void *arg, const char *name, uint64_t value), void *arg)
{
    int count = rte_eth_xstats_get_names(port->id, NULL, 0);
    struct rte_eth_xstat_name *names;
    struct rte_eth_xstat *values;
    int result = 0, got;

    if (count <= 0)
        return count;
    names = calloc((size_t)count, sizeof(*names));
    values = calloc((size_t)count, sizeof(*values));
    if (names == NULL || values == NULL) {
        result = -ENOMEM;
        goto out;
    }
    if (rte_eth_xstats_get_names(port->id, names, (unsigned)count) != count) {
        result = -EAGAIN;
        goto out;
    }
    got = rte_eth_xstats_get(port->id, values, (unsigned)count);
    for (int i = 0; i < got && i < count; i++)
        if (values[i].id < (uint64_t)count)
            each(arg, names[values[i].id].name, values[i].value);
out:
    free(values);
    free(names);
    return result;
}

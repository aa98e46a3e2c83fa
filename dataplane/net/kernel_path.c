#include "dataplane/net/kernel_path.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/link.h"
#include "dataplane/net/wire.h"

enum {
    PORT_BGP = 179,
    NDP_FIRST = 133, /* router solicitation (RFC 4861 section 4) ... */
    NDP_LAST = 137,  /* ... to redirect */
    MACS_LEN = 2 * WIRE_MAC_LEN,
};

/* Frames a second and worker. The first class has to bear a network's broadcasts; ICMP needs few;
 * TCP is what ssh, management and replication are carried by. */
static const uint32_t per_second[KERNEL_CLASSES] = {
    [KERNEL_FIRST] = 5000, [KERNEL_ICMP] = 2000, [KERNEL_TCP] = 100000, [KERNEL_OTHER] = 20000};

/* The writer moves `tail`, the reader `head`. */
struct kernel_ring {
    _Alignas(64) _Atomic uint32_t tail;
    _Alignas(64) _Atomic uint32_t head;
    struct kernel_frame frames[KERNEL_RING];
};

struct kernel_port {
    struct kernel_ring ring;            /* to the kernel */
    _Alignas(64) _Atomic uint64_t seen; /* generation of snapshots after which it holds none */
    struct kernel_path *path;
    bool takes; /* what the kernel sends leaves by its queue */
    struct link_bucket buckets[KERNEL_CLASSES];
    struct kernel_counters counters;
};

struct kernel_path {
    struct kernel_ring from;          /* the kernel, to the one port that takes */
    _Alignas(64) _Atomic bool sleeps; /* the control thread */
    _Atomic uint64_t generation;      /* of snapshots published */
    struct neighbours_cell cell;
    const struct config *config;
    unsigned address_count;
    struct net_address addresses[NET_ADDRESSES_MAX]; /* of dpdk-address */
    unsigned count, turn;                            /* turn: whose ring is looked at first */
    void (*wake)(void *arg);
    void *arg;
    struct neighbours *current, *last; /* snapshots; `last` may still be held */
    struct kernel_path_counters counters;
    struct kernel_port *ports;
};

static void add(_Atomic uint64_t *counter)
{
    link_count(counter);
}

/* ---- rings ----------------------------------------------------------------------------------- */

static void ring_init(struct kernel_ring *ring)
{
    atomic_init(&ring->tail, 0);
    atomic_init(&ring->head, 0);
}

/* Where the writer puts the next frame, leaving `kept` places free; NULL: full. */
static struct kernel_frame *ring_room(struct kernel_ring *ring, uint32_t kept)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_acquire);

    return tail - head >= KERNEL_RING - kept ? NULL : &ring->frames[tail % KERNEL_RING];
}

static void ring_put(struct kernel_ring *ring)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
}

/* The reader's next frame; NULL: empty. */
static struct kernel_frame *ring_next(struct kernel_ring *ring)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

    return head == atomic_load_explicit(&ring->tail, memory_order_acquire)
               ? NULL
               : &ring->frames[head % KERNEL_RING];
}

static void ring_done(struct kernel_ring *ring)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
}

/* ---- whose frame ----------------------------------------------------------------------------- */

/* Whether clients are served on this TCP port, by any worker. */
static bool is_service_port(const struct kernel_path *path, uint16_t port)
{
    const struct config *config = path->config;
    int64_t common = atomic_load_explicit(&config->port, memory_order_relaxed);
    int64_t base = atomic_load_explicit(&config->per_core_port_base, memory_order_relaxed);

    if (common == 0)
        return false;
    if (port == common)
        return true;
    if (atomic_load_explicit(&config->per_core_endpoints, memory_order_relaxed) == 0)
        return false;
    base = base != 0 ? base : common + 1;
    return port >= base && port < base + (int64_t)path->count;
}

/* The same port of an address that only the kernel has is the kernel's. */
static bool is_ours(const struct kernel_path *path, const struct net_address *address,
                    uint16_t port)
{
    if (!is_service_port(path, port))
        return false;
    for (unsigned i = 0; i < path->address_count; i++)
        if (net_address_equal(&path->addresses[i], address))
            return true;
    return false;
}

static bool is_discovery(const struct frame *frame)
{
    return frame->kind == FRAME_ICMPV6 && frame->l4_len > 0 && frame->l4[0] >= NDP_FIRST &&
           frame->l4[0] <= NDP_LAST;
}

static enum kernel_class class_of(const struct frame *frame)
{
    switch ((enum frame_kind)frame->kind) {
    case FRAME_ARP:
        return KERNEL_FIRST;
    case FRAME_ICMP:
    case FRAME_ICMPV6:
        return is_discovery(frame) ? KERNEL_FIRST : KERNEL_ICMP;
    case FRAME_TCP:
        return frame->flow.local_port == PORT_BGP || frame->flow.remote_port == PORT_BGP
                   ? KERNEL_FIRST
                   : KERNEL_TCP;
    case FRAME_FRAGMENT:
    case FRAME_OTHER:
    case FRAME_BAD:
        break;
    }
    return KERNEL_OTHER;
}

/* ---- workers --------------------------------------------------------------------------------- */

/* Room in the worker's ring for one of that class; NULL: dropped and counted. */
static struct kernel_frame *room(struct kernel_port *port, enum kernel_class class, uint64_t now_us)
{
    if (!link_bucket_take(&port->buckets[class], now_us)) {
        add(&port->counters.limited[class]);
        return NULL;
    }
    struct kernel_frame *frame = ring_room(&port->ring, class == KERNEL_FIRST ? 0 : KERNEL_KEPT);
    if (frame == NULL)
        add(&port->counters.full);
    return frame;
}

/* As it was on the wire: a tag that the port took out goes back in. */
static void copy(struct kernel_frame *to, const struct packet *packet)
{
    unsigned tag = packet->flags & PACKET_VLAN ? WIRE_VLAN_LEN : 0;

    memcpy(to->bytes, packet->data, MACS_LEN);
    if (tag != 0) {
        wire_put16(to->bytes + MACS_LEN, WIRE_VLAN);
        wire_put16(to->bytes + MACS_LEN + 2, packet->vlan);
    }
    memcpy(to->bytes + MACS_LEN + tag, packet->data + MACS_LEN, packet->len - MACS_LEN);
    to->len = (uint16_t)(packet->len + tag);
}

bool kernel_port_offer(struct kernel_port *port, const struct packet *packet, uint64_t now_us)
{
    struct frame frame;
    enum kernel_class class;

    /* The stack hands out only what it could parse; of others the kernel has nothing. */
    if (packet->len > PACKET_ROOM_MAX || wire_parse(packet->data, packet->len, &frame) == FRAME_BAD)
        return false;
    if (frame.kind == FRAME_TCP && is_ours(port->path, &frame.flow.local, frame.flow.local_port)) {
        add(&port->counters.ours);
        return false;
    }
    class = class_of(&frame);
    struct kernel_frame *to = room(port, class, now_us);
    if (to == NULL)
        return false;
    copy(to, packet);
    ring_put(&port->ring);
    add(&port->counters.to_kernel[class]);
    return true;
}

static bool want(struct kernel_port *port, const struct net_address *address, uint64_t now_us)
{
    struct kernel_frame *to = room(port, KERNEL_FIRST, now_us);

    if (to == NULL)
        return false;
    to->len = 0;
    memcpy(to->bytes, address, sizeof *address);
    ring_put(&port->ring);
    add(&port->counters.wanted);
    return true;
}

static void wake(struct kernel_path *path)
{
    /* Pairs with kernel_path_sleep: either it sees our frames, or we see that it sleeps. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&path->sleeps, memory_order_relaxed) &&
        atomic_exchange_explicit(&path->sleeps, false, memory_order_relaxed))
        path->wake(path->arg);
}

static unsigned give(struct kernel_port *port, struct net *net, struct packet_port *queue,
                     uint64_t now_us)
{
    struct net_address wanted;
    struct packet *packet;
    unsigned given = 0;

    while ((packet = net_take_foreign(net)) != NULL) {
        given += kernel_port_offer(port, packet, now_us);
        packet_release(queue, packet);
    }
    if (net_take_wanted(net, &wanted))
        given += want(port, &wanted, now_us);
    if (given > 0)
        wake(port->path);
    return given;
}

static unsigned take(struct kernel_port *port, struct net *net, struct packet_port *queue)
{
    struct kernel_ring *ring = &port->path->from;
    const struct kernel_frame *frame;
    unsigned taken = 0;

    for (; taken < KERNEL_TAKE_MAX && (frame = ring_next(ring)) != NULL; taken++) {
        if (frame->len > queue->room) { /* somebody raised the MTU of the TAP */
            add(&port->counters.too_long);
            ring_done(ring);
            continue;
        }
        struct packet *packet = packet_alloc(queue);
        if (packet == NULL) {
            add(&port->counters.no_packet);
            break;
        }
        memcpy(packet->data, frame->bytes, frame->len);
        packet->len = frame->len;
        ring_done(ring);
        net_send_frame(net, packet);
        add(&port->counters.from_kernel);
    }
    return taken;
}

unsigned kernel_port_exchange(struct kernel_port *port, struct net *net, struct packet_port *queue,
                              uint64_t now_us)
{
    uint64_t generation = atomic_load_explicit(&port->path->generation, memory_order_acquire);

    if (atomic_load_explicit(&port->seen, memory_order_relaxed) != generation)
        atomic_store_explicit(&port->seen, generation, memory_order_release);
    unsigned moved = give(port, net, queue, now_us);
    return port->takes ? moved + take(port, net, queue) : moved;
}

const struct neighbours_cell *kernel_port_neighbours(const struct kernel_port *port)
{
    return &port->path->cell;
}

/* ---- control thread -------------------------------------------------------------------------- */

const struct kernel_frame *kernel_path_next(struct kernel_path *path)
{
    for (unsigned i = 0; i < path->count; i++) {
        const struct kernel_frame *frame = ring_next(&path->ports[path->turn].ring);
        if (frame != NULL)
            return frame;
        path->turn = (path->turn + 1) % path->count;
    }
    return NULL;
}

void kernel_path_done(struct kernel_path *path)
{
    ring_done(&path->ports[path->turn].ring);
    path->turn = (path->turn + 1) % path->count;
}

struct kernel_frame *kernel_path_room(struct kernel_path *path)
{
    struct kernel_frame *frame = ring_room(&path->from, 0);

    if (frame == NULL)
        add(&path->counters.stalled);
    return frame;
}

void kernel_path_put(struct kernel_path *path, uint16_t len)
{
    struct kernel_frame *to = ring_room(&path->from, 0);
    struct frame frame;

    assert(to != NULL && len <= PACKET_ROOM_MAX);
    if (wire_parse(to->bytes, len, &frame) == FRAME_TCP &&
        is_ours(path, &frame.flow.remote, frame.flow.remote_port)) {
        add(&path->counters.ours);
        return;
    }
    to->len = len;
    ring_put(&path->from);
}

bool kernel_path_sleep(struct kernel_path *path)
{
    atomic_store_explicit(&path->sleeps, true, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (kernel_path_next(path) == NULL)
        return true;
    kernel_path_awake(path);
    return false;
}

void kernel_path_awake(struct kernel_path *path)
{
    atomic_store_explicit(&path->sleeps, false, memory_order_relaxed);
}

bool kernel_path_reclaim(struct kernel_path *path)
{
    uint64_t generation = atomic_load_explicit(&path->generation, memory_order_relaxed);

    if (path->last == NULL)
        return true;
    for (unsigned i = 0; i < path->count; i++)
        if (atomic_load_explicit(&path->ports[i].seen, memory_order_acquire) != generation)
            return false;
    free(path->last);
    path->last = NULL;
    return true;
}

bool kernel_path_publish(struct kernel_path *path, struct neighbours *snapshot)
{
    uint64_t generation = atomic_load_explicit(&path->generation, memory_order_relaxed);

    if (!kernel_path_reclaim(path))
        return false;
    path->last = path->current;
    path->current = snapshot;
    atomic_store_explicit(&path->cell.current, snapshot, memory_order_release);
    /* After the pointer: who sees this generation finds no older snapshot any more. */
    atomic_store_explicit(&path->generation, generation + 1, memory_order_release);
    add(&path->counters.snapshots);
    return true;
}

struct kernel_path_counters *kernel_path_count(struct kernel_path *path)
{
    return &path->counters;
}

/* ---- life and counters ----------------------------------------------------------------------- */

/* The directive was checked by stream_net_check. */
static void read_addresses(struct kernel_path *path)
{
    const struct config_list *list = path->config->dpdk_address;
    struct net_prefix prefix;

    for (unsigned i = 0; i < list->count && path->address_count < NET_ADDRESSES_MAX; i++)
        if (net_prefix_parse(list->items[i], &prefix) == 0)
            path->addresses[path->address_count++] = prefix.address;
}

struct kernel_path *kernel_path_create(const struct config *config, unsigned workers,
                                       void (*wake_up)(void *arg), void *arg)
{
    struct kernel_path *path = aligned_alloc(64, (sizeof *path + 63) & ~(size_t)63);
    struct kernel_port *ports = aligned_alloc(64, workers * sizeof *ports);

    assert(workers > 0 && workers <= CONFIG_WORKERS_MAX);
    if (path == NULL || ports == NULL) {
        free(path);
        free(ports);
        return NULL;
    }
    memset(path, 0, sizeof *path);
    memset(ports, 0, workers * sizeof *ports);
    path->config = config;
    read_addresses(path);
    path->count = workers;
    path->wake = wake_up;
    path->arg = arg;
    path->ports = ports;
    ring_init(&path->from);
    for (unsigned i = 0; i < workers; i++) {
        ring_init(&ports[i].ring);
        ports[i].path = path;
        ports[i].takes = i == 0;
        for (unsigned class = 0; class < KERNEL_CLASSES; class ++)
            ports[i].buckets[class].per_s = per_second[class];
    }
    return path;
}

void kernel_path_destroy(struct kernel_path *path)
{
    if (path == NULL)
        return;
    free(path->current);
    free(path->last);
    free(path->ports);
    free(path);
}

struct kernel_port *kernel_path_port(struct kernel_path *path, unsigned index)
{
    assert(index < path->count);
    return &path->ports[index];
}

const struct kernel_counters *kernel_counters(const struct kernel_path *path, unsigned index)
{
    return &path->ports[index].counters;
}

const struct kernel_path_counters *kernel_path_counters(const struct kernel_path *path)
{
    return &path->counters;
}

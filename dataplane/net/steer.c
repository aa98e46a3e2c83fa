#include "dataplane/net/steer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/wire.h"

enum {
    IPV4_PROTOCOL = 9, /* places of bytes in headers */
    IPV6_NEXT = 6,
    IPV4_FRAGMENT = 6,
    FRAGMENTED = 0x3fff, /* more fragments, or an offset */
    NOBODY = -1,
};

/* One frame under way. */
struct steer_frame {
    uint16_t len, flags, vlan;
    uint8_t bytes[PACKET_DATA_MAX];
};

/* From one worker to another: the sender moves `tail`, the receiver `head`. */
struct steer_ring {
    _Alignas(64) _Atomic uint32_t tail;
    _Alignas(64) _Atomic uint32_t head;
    struct steer_frame frames[STEER_RING];
};

struct steered {
    struct packet_port base; /* first */
    struct packet_port_ops ops;
    struct packet_port *queue;
    struct steer_group *group;
    unsigned index, next; /* next: whose ring is looked at first */
    struct steer_counters counters;
    _Alignas(64) _Atomic uint64_t senders[2]; /* bits: whose rings may hold frames for us */
};

struct steer_group {
    const struct config *config;
    unsigned count;
    struct steer_ring *_Atomic *rings; /* [from * count + to] */
    struct steered *ports;
};

_Static_assert((int)CONFIG_WORKERS_MAX <= 128, "a bit for each worker in two words");

static void add(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static struct steered *steered_of(struct packet_port *port)
{
    return (struct steered *)port;
}

/* ---- whose is it ----------------------------------------------------------------------------- */

/* Port of worker 0; the others follow. */
static int64_t core_base(const struct config *config)
{
    int64_t base = atomic_load_explicit(&config->per_core_port_base, memory_order_relaxed);

    return base != 0 ? base : atomic_load_explicit(&config->port, memory_order_relaxed) + 1;
}

/* The destination port of a frame that is plainly TCP, or -1: what is unusual (extension headers,
 * fragments) stays with who received it. */
static int tcp_port(const struct packet *packet)
{
    const uint8_t *bytes = packet->data;
    uint32_t len = packet->len, at = WIRE_ETHERNET_LEN;

    if (len < WIRE_ETHERNET_LEN + WIRE_VLAN_LEN)
        return NOBODY;
    uint16_t type = wire_get16(bytes + 12);
    if (type == WIRE_VLAN) {
        type = wire_get16(bytes + 16);
        at += WIRE_VLAN_LEN;
    }
    if (type == WIRE_IPV4) {
        if (len < at + WIRE_IPV4_LEN || bytes[at + IPV4_PROTOCOL] != WIRE_TCP ||
            (wire_get16(bytes + at + IPV4_FRAGMENT) & FRAGMENTED) != 0)
            return NOBODY;
        at += (bytes[at] & 15u) * 4;
    } else if (type == WIRE_IPV6) {
        if (len < at + WIRE_IPV6_LEN || bytes[at + IPV6_NEXT] != WIRE_TCP)
            return NOBODY;
        at += WIRE_IPV6_LEN;
    } else {
        return NOBODY;
    }
    return len < at + 4 ? NOBODY : wire_get16(bytes + at + 2);
}

/* Which worker a frame is for; `self` unless it is for another's own port. */
static unsigned owner(const struct steered *port, const struct packet *packet, int64_t base)
{
    int64_t place = tcp_port(packet) - base;

    return place >= 0 && place < (int64_t)port->group->count ? (unsigned)place : port->index;
}

/* ---- handing over ---------------------------------------------------------------------------- */

static struct steer_ring *ring_to(struct steered *port, unsigned to)
{
    struct steer_ring *_Atomic *place = &port->group->rings[port->index * port->group->count + to];
    struct steer_ring *ring = atomic_load_explicit(place, memory_order_relaxed);

    if (ring != NULL)
        return ring;
    ring = aligned_alloc(64, (sizeof *ring + 63) & ~(size_t)63);
    if (ring == NULL)
        return NULL;
    atomic_init(&ring->tail, 0);
    atomic_init(&ring->head, 0);
    atomic_store_explicit(place, ring, memory_order_release);
    return ring;
}

static void hand_over(struct steered *port, unsigned to, const struct packet *packet)
{
    struct steer_ring *ring = ring_to(port, to);
    _Atomic uint64_t *senders = &port->group->ports[to].senders[port->index / 64];
    uint64_t bit = UINT64_C(1) << port->index % 64;

    if (ring == NULL || packet->len > PACKET_DATA_MAX) {
        add(&port->counters.dropped);
        return;
    }
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail - atomic_load_explicit(&ring->head, memory_order_acquire) == STEER_RING) {
        add(&port->counters.dropped);
        return;
    }
    struct steer_frame *frame = &ring->frames[tail % STEER_RING];
    frame->len = packet->len;
    frame->flags = packet->flags;
    frame->vlan = packet->vlan;
    memcpy(frame->bytes, packet->data, packet->len);
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    /* Stays set once set: a connection brings more than one frame. */
    if ((atomic_load_explicit(senders, memory_order_relaxed) & bit) == 0)
        atomic_fetch_or_explicit(senders, bit, memory_order_release);
    add(&port->counters.handed_over);
}

/* ---- taking over ----------------------------------------------------------------------------- */

static unsigned take_from(struct steered *port, unsigned from, struct packet **packets,
                          unsigned max)
{
    struct steer_ring *ring =
        atomic_load_explicit(&port->group->rings[from * port->group->count + port->index],
                             memory_order_acquire);
    unsigned taken = 0;

    if (ring == NULL)
        return 0;
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    for (; taken < max && head != tail; taken++, head++) {
        const struct steer_frame *frame = &ring->frames[head % STEER_RING];
        struct packet *packet = packet_alloc(port->queue);
        if (packet == NULL) {
            add(&port->counters.no_packet);
            break;
        }
        packet->len = frame->len;
        packet->room = (uint16_t)(PACKET_DATA_MAX - frame->len);
        packet->flags = frame->flags;
        packet->vlan = frame->vlan;
        memcpy(packet->data, frame->bytes, frame->len);
        packets[taken] = packet;
        add(&port->counters.taken_over);
    }
    atomic_store_explicit(&ring->head, head, memory_order_release);
    return taken;
}

static unsigned take_over(struct steered *port, struct packet **packets, unsigned max)
{
    uint64_t senders[2] = {atomic_load_explicit(&port->senders[0], memory_order_acquire),
                           atomic_load_explicit(&port->senders[1], memory_order_acquire)};
    unsigned taken = 0, count = port->group->count;

    if ((senders[0] | senders[1]) == 0)
        return 0;
    for (unsigned i = 0; i < count && taken < max; i++) {
        unsigned from = (port->next + i) % count;
        if ((senders[from / 64] >> from % 64 & 1) != 0)
            taken += take_from(port, from, packets + taken, max - taken);
    }
    port->next =
        (port->next + 1) % count; /* so that a full burst of one does not shut out others */
    return taken;
}

/* ---- a port of ports ------------------------------------------------------------------------- */

static unsigned receive(struct packet_port *base, struct packet **packets, unsigned max)
{
    struct steered *port = steered_of(base);
    int64_t first = core_base(port->group->config);
    unsigned kept = take_over(port, packets, max / 2);
    unsigned received = packet_receive(port->queue, packets + kept, max - kept),
             end = kept + received;

    for (unsigned i = kept; i < end; i++) {
        unsigned to = owner(port, packets[i], first);
        if (to == port->index) {
            packets[kept++] = packets[i];
            continue;
        }
        hand_over(port, to, packets[i]);
        packet_release(port->queue, packets[i]);
    }
    return kept;
}

static unsigned transmit(struct packet_port *port, struct packet *const *packets, unsigned count)
{
    return packet_transmit(steered_of(port)->queue, packets, count);
}

static struct packet *alloc(struct packet_port *port)
{
    return packet_alloc(steered_of(port)->queue);
}

static void hold(struct packet_port *port, struct packet *packet)
{
    packet_hold(steered_of(port)->queue, packet);
}

static void release(struct packet_port *port, struct packet *packet)
{
    packet_release(steered_of(port)->queue, packet);
}

static unsigned available(const struct packet_port *port)
{
    return packet_available(((const struct steered *)port)->queue);
}

struct steer_group *steer_create(const struct config *config, unsigned count)
{
    struct steer_group *group = calloc(1, sizeof *group);

    assert(count > 0 && count <= CONFIG_WORKERS_MAX);
    if (group == NULL)
        return NULL;
    group->config = config;
    group->count = count;
    group->rings = calloc((size_t)count * count, sizeof *group->rings);
    group->ports = aligned_alloc(64, count * sizeof *group->ports);
    if (group->rings == NULL || group->ports == NULL) {
        steer_destroy(group);
        return NULL;
    }
    memset(group->ports, 0, count * sizeof *group->ports);
    return group;
}

void steer_destroy(struct steer_group *group)
{
    if (group == NULL)
        return;
    for (unsigned i = 0; group->rings != NULL && i < group->count * group->count; i++)
        free(atomic_load_explicit(&group->rings[i], memory_order_relaxed));
    free(group->rings);
    free(group->ports);
    free(group);
}

struct packet_port *steer_port(struct steer_group *group, unsigned index, struct packet_port *queue)
{
    struct steered *port = &group->ports[index];

    *port = (struct steered){.base = *queue, .queue = queue, .group = group, .index = index};
    port->ops = (struct packet_port_ops){.receive = receive,
                                         .transmit = transmit,
                                         .alloc = alloc,
                                         .hold = hold,
                                         .release = release,
                                         .shared = queue->ops->shared, /* asks packets alone */
                                         .available = available};
    port->base.ops = &port->ops;
    return &port->base;
}

const struct steer_counters *steer_counters(const struct steer_group *group, unsigned index)
{
    return &group->ports[index].counters;
}

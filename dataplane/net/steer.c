#include "dataplane/net/steer.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/wire.h"

enum {
    IPV4_PROTOCOL = 9, /* places of bytes in headers */
    IPV6_NEXT = 6,
    IPV4_FRAGMENT = 6,
    IPV4_SOURCE = 12,
    IPV6_SOURCE = 8,
    FRAGMENTED = 0x3fff, /* more fragments, or an offset */
    NOBODY = -1,
    BY_HINT = 0xff, /* instead of the number of workers that have seen a frame */
    HINT_WORKER_BITS = 8,
};

/* One frame under way. */
struct steer_frame {
    uint16_t len, flags, vlan;
    uint8_t bytes[]; /* a packet's room */
};

/* From one worker to another: the sender moves `tail`, the receiver `head`. */
struct steer_ring {
    _Alignas(64) _Atomic uint32_t tail;
    _Alignas(64) _Atomic uint32_t head;
    _Alignas(64) uint8_t frames[]; /* STEER_RING times frame_bytes() */
};

struct steered {
    struct packet_port_ops ops;        /* the queue's, while it is in the group */
    const struct packet_port_ops *own; /* the queue's before and after */
    struct packet_port *queue;
    struct steer_group *group;
    unsigned index, next; /* next: whose ring is looked at first */
    unsigned walks;       /* begun since the last poll */
    struct steer_counters counters;
    _Alignas(64) _Atomic uint64_t senders[2]; /* bits: whose rings may hold frames for us */
};

struct steer_group {
    const struct config *config;
    unsigned workers, count; /* count: of those with a queue, who alone are in the group */
    bool core_ports;
    _Atomic bool by_card, passes_on;
    _Atomic uint16_t former;           /* first of the workers' ports of before; 0: none */
    struct steer_ring *_Atomic *rings; /* [from * count + to] */
    struct steered *ports;
    /* By flow: who has the connection, plus one, below other bits of the flow's hash. A wrong one
     * costs a detour. */
    _Atomic uint32_t hints[STEER_HINTS];
};

_Static_assert((int)CONFIG_WORKERS_MAX <= 128, "a bit for each worker in two words");
_Static_assert((int)CONFIG_WORKERS_MAX < (int)BY_HINT, "a packet's flags count all workers");

static void add(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static struct steered *steered_of(struct packet_port *queue)
{
    return (struct steered *)((char *)(uintptr_t)queue->ops - offsetof(struct steered, ops));
}

/* ---- whose is it ----------------------------------------------------------------------------- */

/* Port of worker 0; the others follow. */
static int64_t core_base(const struct config *config)
{
    int64_t base = atomic_load_explicit(&config->per_core_port_base, memory_order_relaxed);

    return base != 0 ? base : atomic_load_explicit(&config->port, memory_order_relaxed) + 1;
}

/* Where in a frame its IP header and TCP's begin. */
struct place {
    uint32_t ip, tcp;
    bool v6;
};

/* False: not plainly TCP. What is unusual (extension headers, fragments) stays with who received
 * it. */
static bool find_tcp(const struct packet *packet, struct place *place)
{
    const uint8_t *bytes = packet->data;
    uint32_t len = packet->len, at = WIRE_ETHERNET_LEN;

    if (len < WIRE_ETHERNET_LEN + WIRE_VLAN_LEN)
        return false;
    uint16_t type = wire_get16(bytes + 12);
    if (type == WIRE_VLAN) {
        type = wire_get16(bytes + 16);
        at += WIRE_VLAN_LEN;
    }
    *place = (struct place){.ip = at, .v6 = type == WIRE_IPV6};
    if (type == WIRE_IPV4) {
        if (len < at + WIRE_IPV4_LEN || bytes[at + IPV4_PROTOCOL] != WIRE_TCP ||
            (wire_get16(bytes + at + IPV4_FRAGMENT) & FRAGMENTED) != 0)
            return false;
        at += (bytes[at] & 15u) * 4;
    } else if (type == WIRE_IPV6) {
        if (len < at + WIRE_IPV6_LEN || bytes[at + IPV6_NEXT] != WIRE_TCP)
            return false;
        at += WIRE_IPV6_LEN;
    } else {
        return false;
    }
    place->tcp = at;
    return len >= at + 4;
}

/* Which worker a frame is for; `self` unless it is for another's own port. */
static unsigned owner(const struct steered *port, const struct packet *packet, int64_t base,
                      uint16_t former)
{
    const struct steer_group *group = port->group;
    struct place place;

    if (!find_tcp(packet, &place))
        return port->index;
    int64_t tcp_port = wire_get16(packet->data + place.tcp + 2), worker = tcp_port - base;
    if (former != 0 && (worker < 0 || worker >= (int64_t)group->workers))
        worker = tcp_port - former;
    if (worker < 0 || worker >= (int64_t)group->workers)
        return port->index;
    return worker < (int64_t)group->count ? (unsigned)worker : (unsigned)(worker % group->count);
}

/* The same for all segments of one direction of a flow, on every worker. */
static uint32_t flow_hash(const struct packet *packet, const struct place *at)
{
    const struct place place = *at;
    const uint8_t *addresses = packet->data + place.ip + (place.v6 ? IPV6_SOURCE : IPV4_SOURCE);
    unsigned len = place.v6 ? 32 : 8;
    uint64_t hash = (uint64_t)wire_get16(packet->data + place.tcp) << 16 |
                    wire_get16(packet->data + place.tcp + 2);
    for (unsigned i = 0; i < len; i += 2)
        hash = (hash ^ wire_get16(addresses + i)) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(hash >> 32);
}

/* ---- handing over ---------------------------------------------------------------------------- */

static size_t frame_bytes(const struct steered *port)
{
    return sizeof(struct steer_frame) + port->queue->room;
}

static struct steer_frame *frame_at(const struct steered *port, struct steer_ring *ring,
                                    uint32_t at)
{
    return (struct steer_frame *)(ring->frames + at % STEER_RING * frame_bytes(port));
}

static struct steer_ring *ring_to(struct steered *port, unsigned to)
{
    struct steer_ring *_Atomic *place = &port->group->rings[port->index * port->group->count + to];
    struct steer_ring *ring = atomic_load_explicit(place, memory_order_relaxed);

    if (ring != NULL)
        return ring;
    ring = aligned_alloc(64, (sizeof *ring + STEER_RING * frame_bytes(port) + 63) & ~(size_t)63);
    if (ring == NULL)
        return NULL;
    atomic_init(&ring->tail, 0);
    atomic_init(&ring->head, 0);
    atomic_store_explicit(place, ring, memory_order_release);
    return ring;
}

/* `share`: how much of the ring it may fill. False: dropped and counted. */
static bool hand_over(struct steered *port, unsigned to, const struct packet *packet,
                      uint16_t flags, uint32_t share)
{
    struct steer_ring *ring = ring_to(port, to);
    _Atomic uint64_t *senders = &port->group->ports[to].senders[port->index / 64];
    uint64_t bit = UINT64_C(1) << port->index % 64;

    if (ring == NULL || packet->len > port->queue->room) {
        add(&port->counters.dropped);
        return false;
    }
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail - atomic_load_explicit(&ring->head, memory_order_acquire) >= share) {
        add(&port->counters.dropped);
        return false;
    }
    struct steer_frame *frame = frame_at(port, ring, tail);
    frame->len = packet->len;
    frame->flags = flags;
    frame->vlan = packet->vlan;
    memcpy(frame->bytes, packet->data, packet->len);
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    /* Stays set once set: a connection brings more than one frame. */
    if ((atomic_load_explicit(senders, memory_order_relaxed) & bit) == 0)
        atomic_fetch_or_explicit(senders, bit, memory_order_release);
    return true;
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
        const struct steer_frame *frame = frame_at(port, ring, head);
        struct packet *packet = port->own->alloc(port->queue);
        if (packet == NULL) {
            add(&port->counters.no_packet);
            break;
        }
        packet->len = frame->len;
        packet->room = (uint16_t)(port->queue->room - frame->len);
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

/* ---- segments without a connection ----------------------------------------------------------- */

static _Atomic uint32_t *hint_of(struct steer_group *group, uint32_t hash)
{
    return &group->hints[hash % STEER_HINTS];
}

/* Who has the connection of a flow, if somebody said so; else NOBODY. */
static int hinted(struct steer_group *group, uint32_t hash)
{
    uint32_t hint = atomic_load_explicit(hint_of(group, hash), memory_order_relaxed);
    uint32_t worker = hint & ((1u << HINT_WORKER_BITS) - 1);

    return worker != 0 && worker <= group->count && (hint ^ hash) >> HINT_WORKER_BITS == 0
               ? (int)worker - 1
               : NOBODY;
}

static bool lost(struct packet_port *queue, const struct packet *packet)
{
    struct steered *port = steered_of(queue);
    struct steer_group *group = port->group;
    unsigned seen = packet->flags >> PACKET_SEEN_SHIFT, to = (port->index + 1) % group->count;
    uint16_t flags = packet->flags & ((1u << PACKET_SEEN_SHIFT) - 1);
    struct place place;
    bool is_tcp = find_tcp(packet, &place);
    int known = NOBODY;

    /* ICMP errors come to any queue at all times. */
    if (is_tcp && !steer_passes_on(group))
        return false;
    if (seen == BY_HINT)
        seen = 0; /* the hint was wrong: round it goes */
    else if (seen == 0 && is_tcp)
        known = hinted(group, flow_hash(packet, &place));
    if (seen + 1 >= group->count)
        return false;
    if (known != NOBODY && (unsigned)known != port->index) {
        to = (unsigned)known;
        seen = BY_HINT;
    } else if (++seen == 1 && ++port->walks > STEER_WALKS_A_POLL) {
        add(&port->counters.walks_limited);
        return true;
    }
    if (hand_over(port, to, packet, (uint16_t)(flags | seen << PACKET_SEEN_SHIFT), STEER_RING / 2))
        add(&port->counters.passed_on);
    return true;
}

static void found(struct packet_port *queue, const struct packet *packet)
{
    struct steered *port = steered_of(queue);
    uint32_t hash, low = (1u << HINT_WORKER_BITS) - 1;
    struct place place;

    add(&port->counters.found);
    if (!find_tcp(packet, &place))
        return;
    hash = flow_hash(packet, &place);
    atomic_store_explicit(hint_of(port->group, hash), (hash & ~low) | (port->index + 1),
                          memory_order_relaxed);
}

/* ---- a queue in a group ---------------------------------------------------------------------- */

/* Keeps of packets[from, end) what is this worker's, and hands over the rest. */
static unsigned sort(struct steered *port, struct packet **packets, unsigned from, unsigned end)
{
    int64_t first = core_base(port->group->config);
    uint16_t former = atomic_load_explicit(&port->group->former, memory_order_relaxed);
    unsigned kept = from;

    for (unsigned i = from; i < end; i++) {
        unsigned to = owner(port, packets[i], first, former);
        if (to == port->index) {
            packets[kept++] = packets[i];
            continue;
        }
        if (hand_over(port, to, packets[i], packets[i]->flags, STEER_RING))
            add(&port->counters.handed_over);
        port->own->release(port->queue, packets[i]);
    }
    return kept;
}

static unsigned receive(struct packet_port *queue, struct packet **packets, unsigned max)
{
    struct steered *port = steered_of(queue);
    const struct steer_group *group = port->group;
    unsigned taken = take_over(port, packets, max / 2);
    unsigned end = taken + port->own->receive(queue, packets + taken, max - taken);

    port->walks = 0;
    /* The card has no rules for the ports of before. */
    if (!group->core_ports || (atomic_load_explicit(&group->by_card, memory_order_relaxed) &&
                               atomic_load_explicit(&group->former, memory_order_relaxed) == 0))
        return end;
    return sort(port, packets, taken, end);
}

/* Frames of others wait in rings, which wake nobody: who may get some sleeps no longer than a ring
 * may wait. */
static bool arm(struct packet_port *queue, bool on)
{
    struct steered *port = steered_of(queue);
    const struct steer_group *group = port->group;
    bool rings =
        steer_passes_on(group) ||
        (group->core_ports && !atomic_load_explicit(&group->by_card, memory_order_relaxed));

    return (!on || !rings) && port->own->arm(queue, on);
}

struct steer_group *steer_create(const struct config *config, unsigned workers, unsigned queues)
{
    struct steer_group *group = calloc(1, sizeof *group);

    assert(queues > 0 && queues <= workers && workers <= CONFIG_WORKERS_MAX);
    if (group == NULL)
        return NULL;
    group->config = config;
    group->workers = workers;
    group->count = queues;
    group->core_ports = config->per_core_endpoints != 0;
    group->rings = calloc((size_t)queues * queues, sizeof *group->rings);
    group->ports = aligned_alloc(64, queues * sizeof *group->ports);
    if (group->rings == NULL || group->ports == NULL) {
        free(group->rings);
        free(group->ports);
        free(group);
        return NULL;
    }
    memset(group->ports, 0, queues * sizeof *group->ports);
    return group;
}

void steer_destroy(struct steer_group *group)
{
    if (group == NULL)
        return;
    for (unsigned i = 0; i < group->count; i++)
        if (group->ports[i].queue != NULL)
            group->ports[i].queue->ops = group->ports[i].own;
    for (unsigned i = 0; i < group->count * group->count; i++)
        free(atomic_load_explicit(&group->rings[i], memory_order_relaxed));
    free(group->rings);
    free(group->ports);
    free(group);
}

void steer_port(struct steer_group *group, unsigned index, struct packet_port *queue)
{
    struct steered *port = &group->ports[index];

    if (port->queue == queue) /* a second start of the workers */
        return;
    *port = (struct steered){
        .ops = *queue->ops, .own = queue->ops, .queue = queue, .group = group, .index = index};
    port->ops.receive = receive;
    port->ops.lost = lost;
    port->ops.found = found;
    port->ops.arm = arm;
    queue->ops = &port->ops;
}

void steer_by_card(struct steer_group *group, bool does)
{
    atomic_store_explicit(&group->by_card, does, memory_order_relaxed);
}

void steer_ports_moved(struct steer_group *group, uint16_t base)
{
    atomic_store_explicit(&group->former, base, memory_order_relaxed);
}

void steer_table_changed(struct steer_group *group)
{
    atomic_store_explicit(&group->passes_on, true, memory_order_relaxed);
}

bool steer_passes_on(const struct steer_group *group)
{
    return atomic_load_explicit(&group->passes_on, memory_order_relaxed);
}

const struct steer_counters *steer_counters(const struct steer_group *group, unsigned index)
{
    return &group->ports[index].counters;
}

/* Two packet ports, each of which receives what the other transmits, at once and in order.
 * `lose` drops each Nth frame (0: none), a `stuck` port takes none at all; `live` counts packets
 * that are not released yet. */
#ifndef POLLUX_TESTS_UNIT_NET_PAIR_PORT_H
#define POLLUX_TESTS_UNIT_NET_PAIR_PORT_H

#include <stdlib.h>
#include <string.h>

#include "drivers/packet.h"

enum { PAIR_QUEUE_MAX = 4096, PAIR_POOL = 8192 };

struct pair_packet {
    struct packet packet; /* first */
    unsigned refs;
    uint8_t bytes[PACKET_HEADROOM + PACKET_DATA_MAX];
};

struct pair_port {
    struct packet_port base; /* first */
    struct pair_port *other;
    unsigned first, count, live, lose, sent;
    bool stuck;
    struct packet *queue[PAIR_QUEUE_MAX]; /* of received ones */
};

static inline struct packet *pair_alloc(struct packet_port *base)
{
    struct pair_port *port = (struct pair_port *)base;
    struct pair_packet *own;

    if (port->live == PAIR_POOL)
        return NULL;
    own = calloc(1, sizeof *own);
    own->refs = 1;
    own->packet.data = own->bytes + PACKET_HEADROOM;
    port->live++;
    return &own->packet;
}

static inline void pair_hold(struct packet_port *base, struct packet *packet)
{
    ((struct pair_packet *)packet)->refs++;
}

static inline void pair_release(struct packet_port *base, struct packet *packet)
{
    struct pair_packet *own = (struct pair_packet *)packet;

    if (--own->refs > 0)
        return;
    ((struct pair_port *)base)->live--;
    free(own);
}

static inline bool pair_shared(const struct packet *packet)
{
    return ((const struct pair_packet *)packet)->refs > 1;
}

static inline unsigned pair_available(const struct packet_port *base)
{
    return PAIR_POOL - ((const struct pair_port *)base)->live;
}

static inline unsigned pair_receive(struct packet_port *base, struct packet **packets, unsigned max)
{
    struct pair_port *port = (struct pair_port *)base;
    unsigned taken = 0;

    for (; taken < max && port->count > 0; taken++, port->count--) {
        packets[taken] = port->queue[port->first];
        port->first = (port->first + 1) % PAIR_QUEUE_MAX;
    }
    return taken;
}

static inline unsigned pair_transmit(struct packet_port *base, struct packet *const *packets,
                                     unsigned count)
{
    struct pair_port *port = (struct pair_port *)base, *other = port->other;

    if (port->stuck)
        return 0;
    for (unsigned i = 0; i < count; i++) {
        bool lost = port->lose != 0 && ++port->sent % port->lose == 0;
        struct packet *copy =
            lost || other->count == PAIR_QUEUE_MAX ? NULL : pair_alloc(&other->base);
        if (copy != NULL) {
            memcpy(copy->data, packets[i]->data, packets[i]->len);
            if (packets[i]->more_len > 0)
                memcpy(copy->data + packets[i]->len, packets[i]->more, packets[i]->more_len);
            copy->len = (uint16_t)packet_bytes(packets[i]);
            copy->room = (uint16_t)(PACKET_DATA_MAX - copy->len);
            other->queue[(other->first + other->count++) % PAIR_QUEUE_MAX] = copy;
        }
        pair_release(base, packets[i]);
    }
    return count;
}

static inline void pair_port_init(struct pair_port *a, struct pair_port *b)
{
    static const struct packet_port_ops ops = {.receive = pair_receive,
                                               .transmit = pair_transmit,
                                               .alloc = pair_alloc,
                                               .hold = pair_hold,
                                               .release = pair_release,
                                               .shared = pair_shared,
                                               .available = pair_available};
    struct packet_port base = {.ops = &ops,
                               .mac = {2, 0, 0, 0, 0, 1},
                               .mtu = 1500,
                               .room = PACKET_DATA_MAX};

    *a = (struct pair_port){.base = base, .other = b};
    base.mac[5] = 2;
    *b = (struct pair_port){.base = base, .other = a};
}

/* What is still in the queues belongs to nobody else. */
static inline void pair_port_drop(struct pair_port *port)
{
    for (; port->count > 0; port->count--) {
        pair_release(&port->base, port->queue[port->first]);
        port->first = (port->first + 1) % PAIR_QUEUE_MAX;
    }
}

#endif

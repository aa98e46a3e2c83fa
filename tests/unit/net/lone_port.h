/* A packet port with nobody behind it: packets come from malloc and `live` counts them. */
#ifndef POLLUX_TESTS_UNIT_NET_LONE_PORT_H
#define POLLUX_TESTS_UNIT_NET_LONE_PORT_H

#include <stdlib.h>

#include "drivers/packet.h"

struct lone_port {
    struct packet_port base; /* first */
    unsigned live, room;     /* packets out, and how many may be */
};

static inline struct packet *lone_alloc(struct packet_port *base)
{
    struct lone_port *port = (struct lone_port *)base;
    struct packet *packet;

    if (port->live == port->room)
        return NULL;
    packet = calloc(1, sizeof *packet + PACKET_HEADROOM + PACKET_DATA_MAX);
    packet->data = (uint8_t *)(packet + 1) + PACKET_HEADROOM;
    port->live++;
    return packet;
}

static inline void lone_release(struct packet_port *base, struct packet *packet)
{
    ((struct lone_port *)base)->live--;
    free(packet);
}

static inline void lone_port_init(struct lone_port *port)
{
    static const struct packet_port_ops ops = {.alloc = lone_alloc, .release = lone_release};

    *port = (struct lone_port){
        .base = {.ops = &ops, .mac = {2, 0, 0, 0, 0, 1}, .mtu = 1500, .room = PACKET_DATA_MAX},
        .room = 64};
}

#endif

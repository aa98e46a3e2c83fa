#include "tests/bench/frame_port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct frame_port *port_of(struct packet_port *base)
{
    return (struct frame_port *)base;
}

static struct packet *frame_alloc(struct packet_port *base)
{
    struct frame_port *port = port_of(base);

    if (port->free_count == 0)
        return NULL;
    struct frame_packet *own = port->free[--port->free_count];
    memset(&own->packet, 0, sizeof own->packet);
    own->refs = 1;
    own->packet.data = own->bytes + PACKET_HEADROOM;
    return &own->packet;
}

static void frame_hold(struct packet_port *base, struct packet *packet)
{
    (void)base;
    ((struct frame_packet *)packet)->refs++;
}

static void frame_release(struct packet_port *base, struct packet *packet)
{
    struct frame_port *port = port_of(base);
    struct frame_packet *own = (struct frame_packet *)packet;

    if (--own->refs == 0)
        port->free[port->free_count++] = own;
}

static bool frame_shared(const struct packet *packet)
{
    return ((const struct frame_packet *)packet)->refs > 1;
}

static unsigned frame_available(const struct packet_port *base)
{
    return ((const struct frame_port *)base)->free_count;
}

unsigned frame_receive(struct packet_port *base, struct packet **packets, unsigned max)
{
    struct frame_port *port = port_of(base);
    unsigned taken = 0;

    for (; taken < max && port->queue_count > 0; taken++, port->queue_count--) {
        packets[taken] = &port->queue[port->queue_first]->packet;
        port->queue_first = (port->queue_first + 1) % FRAME_POOL;
    }
    return taken;
}

static void arrive(struct frame_port *port, const struct packet *packet)
{
    struct frame_packet *copy = (struct frame_packet *)frame_alloc(&port->base);

    if (copy == NULL)
        return;
    memcpy(copy->packet.data, packet->data, packet->len);
    if (packet->more_len > 0)
        memcpy(copy->packet.data + packet->len, packet->more, packet->more_len);
    copy->packet.len = (uint16_t)packet_bytes(packet);
    copy->packet.room = (uint16_t)(PACKET_DATA_MAX - copy->packet.len);
    copy->packet.flags = port->checks ? PACKET_CHECKSUM_GOOD : 0;
    port->queue[(port->queue_first + port->queue_count++) % FRAME_POOL] = copy;
}

unsigned frame_transmit(struct packet_port *base, struct packet *const *packets, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        arrive(port_of(base)->other, packets[i]);
        frame_release(base, packets[i]);
    }
    return count;
}

static int port_init(struct frame_port *port, struct frame_port *other, uint8_t mac, bool checks)
{
    static const struct packet_port_ops ops = {.receive = frame_receive,
                                               .transmit = frame_transmit,
                                               .alloc = frame_alloc,
                                               .hold = frame_hold,
                                               .release = frame_release,
                                               .shared = frame_shared,
                                               .available = frame_available};

    *port = (struct frame_port){
        .base = {.ops = &ops, .mac = {2, 0, 0, 0, 0, mac}, .mtu = 1500, .room = PACKET_DATA_MAX},
        .other = other,
        .checks = checks};
    if (checks)
        port->base.offloads = PACKET_TX_IP_CHECKSUM | PACKET_TX_TCP_CHECKSUM;
    port->pool = aligned_alloc(64, FRAME_POOL * sizeof *port->pool);
    if (port->pool == NULL)
        return -ENOMEM;
    memset(port->pool, 0, FRAME_POOL * sizeof *port->pool);
    while (port->free_count < FRAME_POOL) {
        port->free[port->free_count] = &port->pool[port->free_count];
        port->free_count++;
    }
    return 0;
}

int frame_ports_init(struct frame_port *a, struct frame_port *b, bool checks)
{
    if (port_init(a, b, 1, checks) < 0)
        return -ENOMEM;
    if (port_init(b, a, 2, checks) < 0) {
        free(a->pool);
        return -ENOMEM;
    }
    return 0;
}

void frame_ports_fini(struct frame_port *a, struct frame_port *b)
{
    free(a->pool);
    free(b->pool);
}

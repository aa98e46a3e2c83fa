#include "tests/net/port.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef POLLUX_ASAN
#include <sanitizer/asan_interface.h>
#define HIDE(at, len) ASAN_POISON_MEMORY_REGION(at, len)
#define SHOW(at, len) ASAN_UNPOISON_MEMORY_REGION(at, len)
#else
/* Freed bytes are spoilt, so that whoever reads them notices. */
#define HIDE(at, len) memset(at, 0xdd, len)
#define SHOW(at, len) ((void)0)
#endif

static void blame(struct port *port, const char *text)
{
    if (port->fault[0] == '\0')
        snprintf(port->fault, sizeof port->fault, "%s", text);
}

static struct port_packet *take(struct port *port)
{
    if (port->free_count == 0)
        return NULL;
    struct port_packet *packet = &port->pool[port->free[--port->free_count]];
    memset(&packet->packet, 0, sizeof packet->packet);
    SHOW(packet->bytes, sizeof packet->bytes);
    packet->packet.data = packet->bytes + PACKET_HEADROOM;
    packet->refs = 1;
    return packet;
}

enum { CANARY = 0x5c };

static bool overflowed(const struct port_packet *packet)
{
    for (unsigned i = 0; i < sizeof packet->behind; i++)
        if (packet->behind[i] != CANARY)
            return true;
    return false;
}

static bool ours(const struct port *port, const struct packet *packet)
{
    const struct port_packet *at = (const struct port_packet *)packet;

    return at >= port->pool && at < port->pool + port->packets;
}

static void let_go(struct port *port, struct port_packet *packet)
{
    if (!ours(port, &packet->packet) || packet->refs == 0) {
        blame(port, "a packet was released that nobody held");
        return;
    }
    if (--packet->refs > 0)
        return;
    if (overflowed(packet))
        blame(port, "bytes beyond the end of a packet were written");
    HIDE(packet->bytes, sizeof packet->bytes);
    port->free[port->free_count++] = (uint16_t)(packet - port->pool);
}

/* FNV-1a over all that goes onto the wire. */
static uint64_t digest(const struct packet *packet)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (unsigned i = 0; i < packet->len; i++)
        hash = (hash ^ packet->data[i]) * 0x100000001b3u;
    for (unsigned i = 0; i < packet->more_len; i++)
        hash = (hash ^ packet->more[i]) * 0x100000001b3u;
    return hash;
}

static void complete_first(struct port *port, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (digest(&port->held[i].packet->packet) != port->held[i].digest)
            blame(port, "a packet was rewritten while the device held it");
        let_go(port, port->held[i].packet);
    }
    port->held_count -= count;
    memmove(port->held, port->held + count, port->held_count * sizeof *port->held);
}

void port_complete(struct port *port)
{
    complete_first(port, port->held_count);
}

static bool send_one(struct port *port, struct packet *packet)
{
    if (port->sent_count == PORT_SENT_MAX) {
        blame(port, "the stack sends without end");
        return false;
    }
    struct port_frame *frame = &port->sent[(port->sent_first + port->sent_count) % PORT_SENT_MAX];
    uint32_t len = packet_bytes(packet);
    if (len > port->base.mtu + 14u || len > sizeof frame->bytes) {
        blame(port, "a frame is longer than the MTU");
        return false;
    }
    memcpy(frame->bytes, packet->data, packet->len);
    if (packet->more_len > 0)
        memcpy(frame->bytes + packet->len, packet->more, packet->more_len);
    frame->len = (uint16_t)len;
    frame->at_us = *port->now_us;
    port->sent_count++;
    return true;
}

static unsigned op_transmit(struct packet_port *base, struct packet *const *packets, unsigned count)
{
    struct port *port = (struct port *)base;
    unsigned older = port->held_count, taken;

    for (taken = 0; taken < count && port->transmit_room > 0; taken++) {
        struct port_packet *packet = (struct port_packet *)packets[taken];

        if (!ours(port, packets[taken]) || packet->refs == 0) {
            blame(port, "a packet was sent that nobody holds");
            continue;
        }
        if (port->transmit_room != UINT_MAX)
            port->transmit_room--;
        send_one(port, packets[taken]);
        if (port->lazy && port->held_count < PORT_PACKETS_MAX) {
            port->held[port->held_count++] = (struct port_held){packet, digest(packets[taken])};
        } else {
            let_go(port, packet);
        }
    }
    complete_first(port, older);
    return taken;
}

static unsigned op_receive(struct packet_port *base, struct packet **packets, unsigned max)
{
    struct port *port = (struct port *)base;
    unsigned count;

    for (count = 0; count < max && port->arrived_count > 0; count++) {
        packets[count] = &port->arrived[port->arrived_first]->packet;
        port->arrived_first = (port->arrived_first + 1) % PORT_PACKETS_MAX;
        port->arrived_count--;
    }
    return count;
}

static struct packet *op_alloc(struct packet_port *base)
{
    struct port *port = (struct port *)base;
    struct port_packet *packet;

    port->allocations++;
    if (port->fail_all || (port->fail_every > 0 && port->allocations % port->fail_every == 0)) {
        port->failed_allocations++;
        return NULL;
    }
    packet = take(port);
    if (packet == NULL) {
        port->failed_allocations++;
        return NULL;
    }
    return &packet->packet;
}

static void op_hold(struct packet_port *base, struct packet *packet)
{
    struct port_packet *at = (struct port_packet *)packet;

    if (!ours((struct port *)base, packet) || at->refs == 0)
        blame((struct port *)base, "a packet was held that was free");
    else
        at->refs++;
}

static void op_release(struct packet_port *base, struct packet *packet)
{
    let_go((struct port *)base, (struct port_packet *)packet);
}

static bool op_shared(const struct packet *packet)
{
    return ((const struct port_packet *)packet)->refs > 1;
}

static unsigned op_available(const struct packet_port *base)
{
    return ((const struct port *)base)->free_count;
}

static const struct packet_port_ops ops = {
    .receive = op_receive,
    .transmit = op_transmit,
    .alloc = op_alloc,
    .hold = op_hold,
    .release = op_release,
    .shared = op_shared,
    .available = op_available,
};

struct port *port_create(void)
{
    struct port *port = calloc(1, sizeof *port);

    if (port == NULL)
        return NULL;
    port->pool = calloc(PORT_PACKETS_MAX, sizeof *port->pool);
    port->sent = calloc(PORT_SENT_MAX, sizeof *port->sent);
    if (port->pool != NULL && port->sent != NULL)
        return port;
    port_destroy(port);
    return NULL;
}

void port_destroy(struct port *port)
{
    if (port == NULL)
        return;
    free(port->pool);
    free(port->sent);
    free(port);
}

void port_reset(struct port *port, unsigned packets, const uint64_t *now_us)
{
    struct port_packet *pool = port->pool;
    struct port_frame *sent = port->sent;

    assert(packets <= PORT_PACKETS_MAX);
    memset(port, 0, sizeof *port);
    port->pool = pool;
    port->sent = sent;
    port->packets = packets;
    port->now_us = now_us;
    port->transmit_room = UINT_MAX;
    port->base.ops = &ops;
    port->base.mtu = 1500;
    port->base.room = PACKET_ROOM_MAX;
    for (unsigned i = 0; i < packets; i++) {
        pool[i].refs = 0;
        memset(pool[i].behind, CANARY, sizeof pool[i].behind);
        /* The lowest index is taken first. */
        port->free[i] = (uint16_t)(packets - 1 - i);
    }
    port->free_count = packets;
}

void port_push(struct port *port, const uint8_t *frame, size_t len, unsigned flags)
{
    struct port_packet *packet = take(port);

    if (packet == NULL || len > PACKET_ROOM_MAX) {
        port->lost_arrivals++;
        if (packet != NULL)
            let_go(port, packet);
        return;
    }
    size_t room = PACKET_ROOM_MAX - len, farther = room < PORT_FARTHER ? room : PORT_FARTHER;
    packet->packet.data += farther;
    packet->packet.room = (uint16_t)(room - farther);
    memcpy(packet->packet.data, frame, len);
    packet->packet.len = (uint16_t)len;
    packet->packet.flags = (uint16_t)flags;
    port->arrived[(port->arrived_first + port->arrived_count++) % PORT_PACKETS_MAX] = packet;
}

const struct port_frame *port_pop(struct port *port)
{
    const struct port_frame *frame = &port->sent[port->sent_first];

    if (port->sent_count == 0)
        return NULL;
    port->sent_first = (port->sent_first + 1) % PORT_SENT_MAX;
    port->sent_count--;
    return frame;
}

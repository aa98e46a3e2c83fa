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

static uint64_t digest_of(uint64_t hash, const uint8_t *bytes, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

/* FNV-1a over all that goes onto the wire. */
static uint64_t digest(const struct packet *packet)
{
    uint64_t hash = digest_of(0xcbf29ce484222325u, packet->data, packet->len);

    if ((packet->flags & PACKET_TX_TSO) == 0)
        return digest_of(hash, packet->more, packet->more_len);
    for (unsigned i = 0; i < packet_tso(packet)->count; i++)
        hash = digest_of(hash, packet_tso(packet)->parts[i].data, packet_tso(packet)->parts[i].len);
    return hash;
}

static void let_go_frame(struct port *port, struct port_packet *packet)
{
    packet_release_frame(&port->base, &packet->packet);
}

static void complete_first(struct port *port, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (digest(&port->held[i].packet->packet) != port->held[i].digest)
            blame(port, "a packet was rewritten while the device held it");
        let_go_frame(port, port->held[i].packet);
    }
    port->held_count -= count;
    memmove(port->held, port->held + count, port->held_count * sizeof *port->held);
}

void port_complete(struct port *port)
{
    complete_first(port, port->held_count);
}

/* ---- numbers of the wire ---- */

static void put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, (uint16_t)(value >> 16));
    put16(at + 2, (uint16_t)value);
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint64_t sum_of(const uint8_t *bytes, size_t len, uint64_t sum)
{
    for (size_t i = 0; i < len; i++)
        sum += (uint64_t)bytes[i] << (i % 2 == 0 ? 8 : 0);
    return sum;
}

static uint16_t fold(uint64_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* A frame of `len` bytes is on the wire; NULL: it cannot be. Its bytes are the caller's to write. */
static uint8_t *new_frame(struct port *port, uint32_t len, bool tagged)
{
    struct port_frame *frame = &port->sent[(port->sent_first + port->sent_count) % PORT_SENT_MAX];

    if (port->sent_count == PORT_SENT_MAX) {
        blame(port, "the stack sends without end");
        return NULL;
    }
    if (len > port->base.mtu + (tagged ? 18u : 14u) || len > sizeof frame->bytes) {
        blame(port, "a frame is longer than the MTU");
        return NULL;
    }
    frame->len = (uint16_t)len;
    frame->at_us = *port->now_us;
    port->sent_count++;
    return frame->bytes;
}

/* Makes the checksums that the stack has left to the device. */
static void finish(const struct packet *packet, uint8_t *bytes, uint32_t len)
{
    uint8_t *ip = bytes + packet->l2_len, *l4 = ip + packet->l3_len;

    if (packet->flags & PACKET_TX_IP_CHECKSUM)
        put16(ip + 10, fold(sum_of(ip, packet->l3_len, 0)));
    if (packet->flags & PACKET_TX_TCP_CHECKSUM)
        put16(l4 + 16, fold(sum_of(l4, len - packet->l2_len - packet->l3_len, 0)));
}

static void send_one(struct port *port, const struct packet *packet)
{
    uint32_t len = packet_bytes(packet);
    uint8_t *bytes = new_frame(port, len, packet->l2_len > 14);

    if (bytes == NULL)
        return;
    memcpy(bytes, packet->data, packet->len);
    if (packet->more_len > 0)
        memcpy(bytes + packet->len, packet->more, packet->more_len);
    finish(packet, bytes, len);
}

/* ---- TSO, as a device would do it, from what it is told and nothing else ---- */

static const char *tso_fault(const struct port *port, const struct packet *packet)
{
    const struct packet_tso *tso = packet_tso(packet);
    const struct port_packet *own = (const struct port_packet *)packet;
    unsigned headers = (unsigned)packet->l2_len + packet->l3_len + tso->l4_len;
    bool v4 = packet->data[packet->l2_len] >> 4 == 4;
    uint32_t bytes = 0;

    if (!(v4 ? port->base.tso.v4 : port->base.tso.v6))
        return "a frame to be cut, of a family that the port does not cut";
    if ((const uint8_t *)tso < own->bytes ||
        (const uint8_t *)(tso + 1) > own->bytes + PACKET_HEADROOM + port->base.room)
        return "what a frame is made of does not lie in its packet";
    if (tso->count < 2 || tso->count > port->base.tso.parts)
        return "a frame with too many parts or too few";
    if (packet->len != headers || headers + tso->segment > port->base.tso.cut_len)
        return "a frame's lengths are wrong";
    if ((packet->flags & PACKET_TX_TCP_CHECKSUM) == 0)
        return "a frame whose checksums nobody makes";
    for (unsigned i = 0; i < tso->count; i++) {
        const struct port_packet *part = (const struct port_packet *)tso->parts[i].packet;

        if (!ours(port, &part->packet) || part->refs < 1)
            return "a part that nobody holds";
        if (tso->parts[i].len > port->base.room || tso->parts[i].len == 0)
            return "a part without bytes, or with more than a packet has";
        bytes += tso->parts[i].len;
    }
    if (bytes != packet->more_len || bytes > port->base.tso.bytes || headers + bytes > 65536)
        return "a frame's parts are not its payload, or too much";
    return packet->data[packet->l2_len + packet->l3_len + 13] & 0x80 ? "CWR in a frame" : NULL;
}

/* Copies payload from `at` on. */
static void gather(const struct packet_tso *tso, uint32_t at, uint8_t *to, uint32_t len)
{
    for (unsigned i = 0; len > 0; at -= tso->parts[i++].len) {
        uint32_t part = tso->parts[i].len;

        for (; at < part && len > 0; at++, len--)
            *to++ = tso->parts[i].data[at];
        if (len == 0)
            return;
    }
}

static void cut(struct port *port, const struct packet *packet)
{
    const struct packet_tso *tso = packet_tso(packet);
    const char *fault = tso_fault(port, packet);
    unsigned headers = packet->len, id = 0;

    if (fault != NULL) {
        blame(port, fault);
        return;
    }
    port->cut++;
    for (uint32_t at = 0; at < packet->more_len; at += tso->segment) {
        uint32_t left = packet->more_len - at, len = left < tso->segment ? left : tso->segment;
        uint8_t *bytes = new_frame(port, headers + len, packet->l2_len > 14), *ip, *tcp;

        if (bytes == NULL)
            return;
        memcpy(bytes, packet->data, headers);
        gather(tso, at, bytes + headers, len);
        ip = bytes + packet->l2_len;
        tcp = ip + packet->l3_len;
        if (ip[0] >> 4 == 4) {
            put16(ip + 2, (uint16_t)(headers + len - packet->l2_len));
            put16(ip + 4, (uint16_t)id++);
            put16(ip + 10, 0);
            put16(ip + 10, fold(sum_of(ip, packet->l3_len, 0)));
        } else {
            put16(ip + 4, (uint16_t)(tso->l4_len + len));
        }
        put32(tcp + 4, get32(tcp + 4) + at);
        if (left > tso->segment)
            tcp[13] &= (uint8_t) ~(0x01 | 0x08); /* FIN, PSH */
        /* The field has the sum of the pseudo-header but for the length. */
        put16(tcp + 16, fold(sum_of(tcp, tso->l4_len + len, tso->l4_len + len)));
    }
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
        if (packets[taken]->flags & PACKET_TX_TSO)
            cut(port, packets[taken]);
        else
            send_one(port, packets[taken]);
        if (port->lazy && port->held_count < PORT_PACKETS_MAX) {
            port->held[port->held_count++] = (struct port_held){packet, digest(packets[taken])};
        } else {
            let_go_frame(port, packet);
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

void port_offer_tso(struct port *port, unsigned parts, uint32_t bytes, uint32_t offloads)
{
    port->base.offloads = offloads | PACKET_TX_TCP_CHECKSUM;
    port->base.tso = (struct packet_tso_limits){
        .v4 = true, .v6 = true, .parts = (uint16_t)parts, .bytes = bytes, .cut_len = UINT16_MAX};
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

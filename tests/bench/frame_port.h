/* Two packet ports of memory, each of which receives what the other sends.
 * Purpose:   pool and queues at about the price of a device's: a packet costs a look at a list and
 *            the clearing of its header; sending copies into a packet of the other side's.
 * Ownership: the caller embeds both; packets belong to their port's pool.
 * Threading: one thread.
 * Errors:    an empty pool drops frames, as a device does. */
#ifndef TESTS_BENCH_FRAME_PORT_H
#define TESTS_BENCH_FRAME_PORT_H

#include "drivers/packet.h"

enum { FRAME_POOL = 4096 };

struct frame_packet {
    struct packet packet; /* first: the stack sees only this */
    unsigned refs;
    _Alignas(64) uint8_t bytes[PACKET_HEADROOM + PACKET_DATA_MAX];
};

struct frame_port {
    struct packet_port base; /* first */
    struct frame_port *other;
    bool checks; /* a device that checks what it receives and fills in what it sends */
    unsigned free_count, queue_first, queue_count;
    struct frame_packet *free[FRAME_POOL];
    struct frame_packet *queue[FRAME_POOL]; /* received, in order */
    struct frame_packet *pool;
};

/* -ENOMEM. */
int frame_ports_init(struct frame_port *a, struct frame_port *b, bool checks);
void frame_ports_fini(struct frame_port *a, struct frame_port *b);

unsigned frame_receive(struct packet_port *base, struct packet **packets, unsigned max);
unsigned frame_transmit(struct packet_port *base, struct packet *const *packets, unsigned count);

#endif

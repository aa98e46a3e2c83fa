/* A SYN flood beside a load, from the same packet port.
 * Purpose:   a port between the stack and the device: it passes everything on, learns the server's
 *            MAC from what comes in, sends SYNs from made-up addresses at a fixed rate, and keeps the
 *            answers to those from our stack.
 * Ownership: the caller owns the struct and the device's port, which outlives it. `port` goes to the
 *            stack.
 * Threading: one thread.
 * Errors:    what the device does not take, or no packet was free for, is not sent later. */
#ifndef POLLUX_BENCH_FLOOD_H
#define POLLUX_BENCH_FLOOD_H

#include <stdbool.h>
#include <stdint.h>

#include "drivers/packet.h"

enum {
    FLOOD_BURST = 32,
    FLOOD_BEHIND_MAX = 1024,       /* SYNs that are due and not sent; what is older is left out */
    FLOOD_DELAY_NS = 200000000,    /* from the first frame of the server to the first SYN */
    FLOOD_SOURCE_NET = 0xc6120000, /* 198.18.0.0/15: benchmarks (RFC 2544) */
    FLOOD_SOURCE_MASK = 0x1ffff,
};

struct flood {
    struct packet_port port;
    struct packet_port_ops ops;
    struct packet_port *device;
    double rate; /* SYNs a second */
    uint32_t to; /* the server, network order */
    uint16_t to_port;
    uint8_t peer[6];
    uint64_t start_ns; /* 0: the server's MAC is not known */
    uint64_t now_ns;
    uint64_t due; /* SYNs, those left out included */
    uint64_t sent;
    uint64_t random;
};

/* `to` in network order, `to_port` in host order. */
void flood_init(struct flood *flood, struct packet_port *device, double rate, uint32_t to,
                uint16_t to_port, uint64_t seed);
/* Sends what is due. */
void flood_turn(struct flood *flood, uint64_t now_ns);
/* SYNs a second since the first; 0: none was sent. */
double flood_rate(const struct flood *flood);

#endif

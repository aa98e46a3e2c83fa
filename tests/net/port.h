/* A packet port of memory.
 * Purpose:   a pool and one queue pair for one stack under test: frames are pushed in and popped
 *            out by the test, allocations fail and queues are full when the test says so, and every
 *            reference is accounted for.
 *            With `base.tso` it cuts frames as a device does, before the test pops them.
 * Ownership: the test owns the port; packets belong to its pool.
 * Threading: none.
 * Errors:    what the stack does wrong (a reference too many, a frame too long, bytes rewritten
 *            while the device holds them, or beyond a packet's end) is kept as text in `fault`, the
 *            first one only. */
#ifndef POLLUX_TESTS_NET_PORT_H
#define POLLUX_TESTS_NET_PORT_H

#include "drivers/packet.h"
#include "tests/net/frame.h"

enum {
    PORT_PACKETS_MAX = 1024,
    PORT_SENT_MAX = 2048, /* frames that may wait to be popped */
    PORT_FARTHER = 256,   /* bytes: received frames lie that far behind the headroom, as
                           * net_af_xdp's do */
};

struct port_frame {
    uint64_t at_us;
    uint16_t len;
    uint8_t bytes[FRAME_MAX];
};

struct port_packet {
    struct packet packet; /* first: the stack sees only this */
    unsigned refs;
    uint8_t bytes[PACKET_HEADROOM + PACKET_ROOM_MAX];
    uint8_t behind[PORT_FARTHER]; /* nobody's: an overflow is noticed */
};

struct port {
    struct packet_port base;
    const uint64_t *now_us;
    unsigned packets;    /* size of the pool */
    unsigned free_count; /* indices of the free ones are free[0, free_count) */
    uint16_t free[PORT_PACKETS_MAX];
    unsigned arrived_first, arrived_count; /* a ring of received frames */
    struct port_packet *arrived[PORT_PACKETS_MAX];
    unsigned sent_first, sent_count; /* a ring of sent frames */
    struct port_frame *sent;         /* PORT_SENT_MAX */
    unsigned held_count;             /* packets the device still holds */
    struct port_held {
        struct port_packet *packet;
        uint64_t digest; /* of the frame as it was sent */
    } held[PORT_PACKETS_MAX];
    struct port_packet *pool; /* PORT_PACKETS_MAX */

    /* What the test may set. */
    bool lazy;              /* the device keeps each packet until the next but one transmit */
    unsigned transmit_room; /* frames taken before the queue is full; starts out unlimited */
    unsigned fail_every;    /* 0, or each Nth allocation of the stack fails */
    bool fail_all;          /* every one does */

    unsigned allocations, failed_allocations, lost_arrivals;
    uint64_t cut; /* frames that were cut */
    char fault[FRAME_WHY_MAX];
};

/* Memory for the largest pool; NULL without memory. port_reset() makes it ready. */
struct port *port_create(void);
void port_destroy(struct port *port);

/* All packets free, queues empty, settings at rest. Memory of earlier use is kept. */
void port_reset(struct port *port, unsigned packets, const uint64_t *now_us);

/* From now on it cuts frames of `parts` packets (at most PACKET_TSO_PARTS_MAX) and up to `bytes` of
 * payload, with the checksums that `offloads` names. */
void port_offer_tso(struct port *port, unsigned parts, uint32_t bytes, uint32_t offloads);

/* A frame for the stack to receive; `flags` of enum packet_flag. Dropped if the pool is empty. */
void port_push(struct port *port, const uint8_t *frame, size_t len, unsigned flags);

/* The oldest frame that the stack has sent, or NULL; valid until the next transmit. */
const struct port_frame *port_pop(struct port *port);

/* The device lets go of all packets it still holds. */
void port_complete(struct port *port);

#endif

/* Segments that wait for company: one frame of several, which the port cuts (TSO).
 * Purpose:   output goes on to decide segment by segment. Those that follow each other within one
 *            flush of one connection, and differ in nothing that a device could not make from common
 *            headers, are held back here and go as one frame. What the peer gets is the same, and so
 *            is what loss recovery knows: it never sees a frame.
 * Not for:   what is sent again; a segment with CWR (devices differ in where they put it), ECE or
 *            SACK blocks; segments that are too small or too long for the port.
 * Ownership: the send queue's segments, pointed to; the frame's packet is ours until it is taken.
 *            Nothing stays from one flush to the next.
 * Threading: one worker.
 * Errors:    none. Without a packet for the headers, segments go one by one. */
#ifndef DATAPLANE_NET_TSO_H
#define DATAPLANE_NET_TSO_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/net/sendqueue.h"
#include "drivers/packet.h"

enum {
    /* Two cost as much as a frame: a packet for its headers and a descriptor more. */
    TSO_SEGMENTS_MIN = 3,
};

struct tso {
    struct packet *first; /* of `count` that follow each other in the queue; NULL: none */
    struct packet *frame; /* for the headers; NULL: there are fewer than TSO_SEGMENTS_MIN */
    uint32_t count, bytes;
    uint32_t segment; /* bytes of payload of each but the last */
    bool closed;      /* the last one ends the frame */
    uint8_t flags;    /* of the last one; the others have TCP_ACK */
    uint8_t tos;      /* of all */
};

/* Whether a segment of `payload` bytes with `headers` bytes before it may begin a frame. */
static inline bool tso_fits(const struct packet_port *port, bool v4, uint32_t payload,
                            uint32_t headers)
{
    const struct packet_tso_limits *limits = &port->tso;

    return (v4 ? limits->v4 : limits->v6) && payload >= PACKET_TSO_SEGMENT_MIN &&
           headers + payload <= limits->cut_len;
}

/* Holds back the first one, which has TCP_ACK alone; nothing may be held. */
void tso_begin(struct tso *tso, struct packet *segment, uint8_t tos);
/* Holds back the queue's next one as well. False: it does not go with those before, or there is no
 * packet for the frame; nothing has changed. */
bool tso_join(struct tso *tso, struct sendpool *pool, const struct sendqueue *queue,
              struct packet *segment, uint8_t flags, uint8_t tos);
/* Makes a frame of what is held: parts with a reference each. Its headers are still to be written;
 * nothing is held any more. Only if there is a `frame`. */
struct packet *tso_take(struct tso *tso, struct packet_port *port, unsigned l4_len);

#endif

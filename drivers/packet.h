/* Packets and packet ports: the world of frames as one worker sees it.
 * Purpose:   a packet buffer with a header that the network stack may use, and the burst interface
 *            of one receive and transmit queue pair. Nothing here knows which driver is behind it.
 * Ownership: a packet belongs to its port's pool; references count its holders. Whoever takes one
 *            (receive, alloc, hold) gives it back with release or by a transmit that accepted it.
 * Threading: one worker owns port, pool and packets. References are not atomic.
 * Errors:    an empty pool (alloc gives NULL) and a full queue (transmit takes fewer than it was
 *            offered) are ordinary results.
 * A segment that is kept for retransmission is held once by its send queue and once more for each
 * transmit; while packet_shared() its bytes are not rewritten: put the retransmission off or copy. */
#ifndef POLLUX_DRIVERS_PACKET_H
#define POLLUX_DRIVERS_PACKET_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PACKET_HEADROOM = 128,  /* bytes before `data` of a new packet, for headers */
    PACKET_DATA_MAX = 2048, /* bytes of room behind the headroom of an ordinary port */
    PACKET_ROOM_MAX = 9344, /* of a port with the largest MTU, whatever its driver adds */
    PACKET_BURST_MAX = 64,  /* packets of one receive or transmit */
    /* Of a frame that the device cuts into segments (TSO). */
    PACKET_TSO_PARTS_MAX = 48,
    PACKET_TSO_BYTES_MAX = 65535 - 128, /* payload: with headers of any kind below 64 KiB */
    PACKET_TSO_SEGMENT_MIN = 256,       /* bytes; i40e refuses less */
};

enum packet_flag {
    PACKET_CHECKSUM_GOOD = 1,   /* received: the device found IP and TCP checksum right */
    PACKET_CHECKSUM_BAD = 2,    /* received: it found one wrong; neither flag: verify in software */
    PACKET_TX_IP_CHECKSUM = 4,  /* to be sent: the device fills in the IPv4 header checksum */
    PACKET_TX_TCP_CHECKSUM = 8, /* ... and TCP's; its field holds the pseudo-header's sum */
    PACKET_VLAN = 16,           /* `vlan` holds a tag that is not (received) or not yet (sent) in
                                 * the frame */
    PACKET_TX_TSO = 32,         /* to be sent: the headers of a frame that the device cuts; `more`
                                 * is a struct packet_tso, more_len the payload of all its parts */
    PACKET_CHECKSUM_FLAGS = PACKET_CHECKSUM_GOOD | PACKET_CHECKSUM_BAD,
    PACKET_SEEN_SHIFT = 8, /* received: in the upper bits, of how many queues the holders have seen
                            * it and have no connection for it; see `lost` */
};

struct packet {
    struct packet *next; /* for the queue it is in; the holder's */
    uint8_t *data;       /* first valid byte */
    const uint8_t *more; /* NULL, or payload elsewhere that follows data[0, len): pinned by the
                          * sender until packet_shared() is false; or see PACKET_TX_TSO */
    uint32_t more_len;
    uint16_t len; /* valid bytes at `data` */
    uint16_t flags;
    uint16_t vlan;
    uint16_t room;  /* received: bytes that may be written behind data[0, len), for drivers differ
                     * in where in its buffer a frame lies; 0 after alloc */
    uint8_t l2_len; /* lengths of the headers, for the device's checksums */
    uint8_t l3_len;
    /* The holder's from here on: the send queue of a connection keeps its segment's facts here.
     * alloc and receive leave them zero. */
    uint16_t sends; /* transmissions so far */
    uint32_t seq;
    uint32_t seg_len; /* sequence numbers it takes */
    uint32_t state;
    uint32_t mark;
    uint64_t sent_us;
};
static_assert(sizeof(struct packet) == 64, "one cache line");

/* What the device is to make of a packet with PACKET_TX_TSO: segments of `segment` bytes of payload
 * each, the last one of what is left, all with that packet's headers (its TCP checksum is the
 * pseudo-header's sum without a length, as DPDK has it; its IP length that of the whole). FIN and
 * PSH go with the last one. It lies in the packet's own room. The transmit that takes the packet
 * takes one reference of each part, too. */
struct packet_tso {
    uint16_t segment;
    uint8_t l4_len; /* of the TCP header with its options */
    uint8_t count;
    struct packet_tso_part {
        struct packet *packet; /* that `data` lies in, or that pins it by its `more` */
        const uint8_t *data;
        uint32_t len;
    } parts[PACKET_TSO_PARTS_MAX];
};
static_assert(sizeof(struct packet_tso) + _Alignof(struct packet_tso) <= PACKET_DATA_MAX,
              "it has room behind the headroom");

/* What a device cuts; all zero: nothing. */
struct packet_tso_limits {
    bool v4, v6;
    uint16_t parts;   /* of a frame, at most PACKET_TSO_PARTS_MAX */
    uint32_t bytes;   /* of payload of a frame, at most PACKET_TSO_BYTES_MAX */
    uint16_t cut_len; /* bytes of a segment with all its headers, at most */
};

struct packet_port_ops;

/* One queue pair; a driver embeds it as its first member. */
struct packet_port {
    const struct packet_port_ops *ops;
    uint8_t mac[6];
    uint16_t mtu;      /* bytes behind the Ethernet header */
    uint16_t room;     /* bytes of a packet behind the headroom: PACKET_DATA_MAX to _ROOM_MAX */
    uint32_t offloads; /* PACKET_TX_*_CHECKSUM that the device does; the others are the sender's */
    struct packet_tso_limits tso; /* may go to all zero while it is open */
};

struct packet_port_ops {
    /* Takes up to `max` (at most PACKET_BURST_MAX) frames; each comes with one reference. */
    unsigned (*receive)(struct packet_port *port, struct packet **packets, unsigned max);
    /* Sends; takes one reference of each of the first N, the return value. The rest stay the
     * caller's. */
    unsigned (*transmit)(struct packet_port *port, struct packet *const *packets, unsigned count);
    /* A packet with one reference, `data` behind PACKET_HEADROOM, len 0; NULL: the pool is empty. */
    struct packet *(*alloc)(struct packet_port *port);
    void (*hold)(struct packet_port *port, struct packet *packet);
    void (*release)(struct packet_port *port, struct packet *packet);
    /* Whether somebody besides the caller (the device, another holder) still has it. */
    bool (*shared)(const struct packet *packet);
    /* Free packets in the pool, about. */
    unsigned (*available)(const struct packet_port *port);
    /* NULL, or the descriptor that becomes readable, for an epoll that takes edges, when frames come
     * to a queue that is armed; -1: this queue has none. It stays the port's. */
    int (*wake_fd)(const struct packet_port *port);
    /* Asks for that, or no longer. Frames may have come before: look once more, then sleep. False:
     * the device does not do it. */
    bool (*arm)(struct packet_port *port, bool on);
    /* NULL, or for a received segment of no connection here, while the card may bring segments to
     * another queue than those before, or for an ICMP error about one: true: it was copied to who may have the connection, or
     * dropped; false: nobody has it. The packet stays the caller's. */
    bool (*lost)(struct packet_port *port, const struct packet *packet);
    /* With `lost`: the connection of a segment that others had seen before is here. */
    void (*found)(struct packet_port *port, const struct packet *packet);
};

static inline unsigned packet_receive(struct packet_port *port, struct packet **packets,
                                      unsigned max)
{
    return port->ops->receive(port, packets, max);
}

static inline unsigned packet_transmit(struct packet_port *port, struct packet *const *packets,
                                       unsigned count)
{
    return port->ops->transmit(port, packets, count);
}

static inline struct packet *packet_alloc(struct packet_port *port)
{
    return port->ops->alloc(port);
}

static inline void packet_hold(struct packet_port *port, struct packet *packet)
{
    port->ops->hold(port, packet);
}

static inline void packet_release(struct packet_port *port, struct packet *packet)
{
    port->ops->release(port, packet);
}

static inline bool packet_shared(const struct packet_port *port, const struct packet *packet)
{
    return port->ops->shared(packet);
}

static inline unsigned packet_available(const struct packet_port *port)
{
    return port->ops->available(port);
}

static inline int packet_wake_fd(const struct packet_port *port)
{
    return port->ops->wake_fd != NULL ? port->ops->wake_fd(port) : -1;
}

static inline bool packet_arm(struct packet_port *port, bool on)
{
    return port->ops->arm(port, on);
}

/* Others have looked for its connection. */
static inline bool packet_seen(const struct packet *packet)
{
    return packet->flags >> PACKET_SEEN_SHIFT != 0;
}

static inline bool packet_lost(struct packet_port *port, const struct packet *packet)
{
    return port->ops->lost != NULL && port->ops->lost(port, packet);
}

static inline void packet_found(struct packet_port *port, const struct packet *packet)
{
    port->ops->found(port, packet);
}

static inline const struct packet_tso *packet_tso(const struct packet *packet)
{
    return (const struct packet_tso *)(const void *)packet->more;
}

/* Gives back a frame that was to be sent, with its parts. */
static inline void packet_release_frame(struct packet_port *port, struct packet *packet)
{
    if (packet->flags & PACKET_TX_TSO) {
        const struct packet_tso *tso = packet_tso(packet);

        for (unsigned i = 0; i < tso->count; i++)
            packet_release(port, tso->parts[i].packet);
    }
    packet_release(port, packet);
}

/* Bytes of the frame, with what is pinned elsewhere. */
static inline uint32_t packet_bytes(const struct packet *packet)
{
    return packet->len + packet->more_len;
}

#endif

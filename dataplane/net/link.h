/* Link: the Ethernet side of one worker's stack. Where a kernel stands behind the port it answers
 * and asks itself: then this only looks up what the kernel knows.
 * Purpose:   which addresses are ours and where the others are: answers ARP (RFC 826) and neighbour
 *            solicitations (RFC 4861), learns neighbours, finds the MAC of whom we call first. Who
 *            calls us is answered at the MAC that his frame came from: passive opens need none of
 *            this.
 * Ownership: the caller owns the struct. A packet that is returned has one reference, the
 *            caller's, and is a whole frame ready to be transmitted.
 * Threading: one worker; counters have one writer and relaxed readers.
 * Errors:    an empty packet pool drops the answer and counts it.
 * Limits:    LINK_NEIGHBOURS entries, the least recently heard of a set of LINK_WAYS goes;
 *            LINK_ANSWERS_PER_S answers a second, beyond that requests are dropped and counted. An
 *            unsolicited claim never makes a new entry (RFC 4861 section 7.2.5), so that nobody
 *            fills the cache by shouting; it may change one (a neighbour got another NIC). */
#ifndef DATAPLANE_NET_LINK_H
#define DATAPLANE_NET_LINK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/net/address.h"
#include "dataplane/net/neighbours.h"
#include "dataplane/net/wire.h"
#include "drivers/packet.h"

enum {
    LINK_ADDRESSES_MAX = 16,
    LINK_NEIGHBOURS = 256,
    LINK_WAYS = 4,
    LINK_ANSWERS_PER_S = 20000,
    LINK_FRESH_US = 60000000,  /* a neighbour is asked again after so long without a word ... */
    LINK_STALE_US = 300000000, /* ... and its MAC is no longer used after so long */
    LINK_RETRY_US = 1000000,   /* between two questions (RFC 4861 section 10, RETRANS_TIMER) */
    LINK_TRIES_MAX = 3,        /* questions without an answer before it counts as absent */
    LINK_ABSENT_US = 5000000,  /* and for how long it does, before it is asked anew */
};

/* So many events a second, up to a tenth of a second's worth at once. */
struct link_bucket {
    uint64_t filled_us;
    uint32_t tokens, per_s;
};

/* Takes a token; false: there is none. */
bool link_bucket_take(struct link_bucket *bucket, uint64_t now_us);

struct link_counters {
    _Atomic uint64_t arp_requests, /* for our addresses */
        solicitations,             /* the same in IPv6 */
        answers,                   /* sent to either */
        questions,                 /* that we asked */
        learned,                   /* neighbours, or new MACs of them */
        conflicts,                 /* somebody else claims an address of ours */
        limited,                   /* dropped above the limit of answers */
        ignored,                   /* malformed, or not for us */
        no_packet;                 /* dropped for want of a packet */
};

struct link_neighbour {
    struct net_address address;
    uint64_t heard_us; /* 0: never */
    uint64_t asked_us;
    uint16_t vlan;
    uint8_t mac[6];
    uint8_t tries; /* questions since it was heard */
    bool used;
};

struct net_link_options {
    struct packet_port *port;
    const struct net_prefix *addresses; /* copied; at most LINK_ADDRESSES_MAX are taken */
    unsigned address_count;
    const struct net_address *gateways; /* copied; the first of each family counts */
    unsigned gateway_count;
    uint16_t vlan;                        /* of what we ask, or WIRE_NO_VLAN */
    const struct neighbours_cell *kernel; /* NULL: we ask ourselves. Outlives the link */
};

struct net_link {
    struct packet_port *port;
    unsigned address_count;
    struct net_prefix addresses[LINK_ADDRESSES_MAX];
    bool has_gateway[2]; /* IPv4, IPv6 */
    struct net_address gateway[2];
    uint16_t vlan;
    bool is_wanted; /* the kernel did not know the MAC of `wanted` */
    struct net_address wanted;
    const struct neighbours_cell *kernel;
    struct link_bucket bucket;
    struct link_counters counters;
    struct link_neighbour neighbours[LINK_NEIGHBOURS];
};

/* 0, or -EINVAL: an address of ours or a gateway can be nobody's, -E2BIG: too many addresses. */
int net_link_init(struct net_link *link, const struct net_link_options *options);

bool net_link_is_ours(const struct net_link *link, const struct net_address *address);
/* A single host's, as far as the address shows: no group's, not everybody's, and neither the directed
 * broadcast nor the own address of one of our networks. */
bool net_link_may_be_host(const struct net_link *link, const struct net_address *address);
/* Ours and of the same family as `to`, best with `to` in its network; NULL: none. */
const struct net_address *net_link_source(const struct net_link *link,
                                          const struct net_address *to);
/* Who takes a packet to `to`: itself on our networks, else the gateway; NULL: nobody. */
const struct net_address *net_link_next_hop(const struct net_link *link,
                                            const struct net_address *to);

/* Takes an ARP packet (FRAME_ARP), or an ICMPv6 message (FRAME_ICMPV6) that wire_parse_ndp may
 * know: learns from it and returns the answer, or NULL. The caller has checked the ICMPv6 checksum
 * or knows that the port did. */
struct packet *net_link_input(struct net_link *link, const struct frame *frame, uint64_t now_us);

enum link_found {
    LINK_FOUND,  /* mac and vlan are set */
    LINK_ASKED,  /* not yet known: try again when something was received or LINK_RETRY_US passed */
    LINK_ABSENT, /* no answer to LINK_TRIES_MAX questions */
    LINK_NO_WAY, /* neither on our networks nor behind a gateway, or we have no such address */
};

/* The MAC to send a packet for `to` to. `*question` is set to a frame to transmit, or NULL; also
 * with LINK_FOUND, when the entry is not fresh. With a kernel there are no questions: who is not
 * known is left in `wanted` for it to ask. */
enum link_found net_link_resolve(struct net_link *link, const struct net_address *to,
                                 uint64_t now_us, uint8_t mac[6], uint16_t *vlan,
                                 struct packet **question);

/* Tells all neighbours of our address `index` (gratuitous ARP, RFC 5227 section 2.3; unsolicited
 * advertisement, RFC 4861 section 7.2.6), as their caches may hold a former owner. NULL: no
 * packet. */
struct packet *net_link_announce(struct net_link *link, unsigned index);

/* Begins an IP packet of ours for a neighbour: Ethernet and IP headers of a packet with `len` bytes
 * behind them, which the caller fills in at `*body` (checksum and all). NULL: no packet, or `len`
 * does not fit into one. */
struct packet *net_link_packet(struct net_link *link, const uint8_t mac[6], uint16_t vlan,
                               const struct net_address *source,
                               const struct net_address *destination, uint8_t protocol,
                               uint8_t hops, uint32_t len, uint8_t **body);

/* Adds one to a counter that only this worker writes. */
static inline void link_count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

#endif

/* ICMP and ICMPv6 for one worker's stack.
 * Purpose:   answers echo requests (RFC 792, RFC 4443 section 4.2) where no kernel does, and judges
 *            errors about our connections by RFC 5927, so that a blind attacker cannot end or slow
 *            one by them.
 * Ownership: the caller's structs; a packet that is returned is a whole frame with one reference.
 * Threading: one worker; counters have one writer and relaxed readers.
 * Errors:    an empty packet pool drops the answer and counts it.
 * Limits:    ICMP_ECHOES_PER_S answers a second and no echo longer than a packet: the rest is
 *            dropped and counted. Fragments never get here. */
#ifndef DATAPLANE_NET_ICMP_H
#define DATAPLANE_NET_ICMP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/net/link.h"
#include "dataplane/net/wire.h"
#include "drivers/packet.h"

enum {
    ICMP_ECHOES_PER_S = 10000,
    ICMP_MTU_MIN_V4 = 552,  /* bytes; below that an attacker asks, not a path (RFC 1191's 68) */
    ICMP_MTU_MIN_V6 = 1280, /* RFC 8201 section 4 */
};

struct icmp_counters {
    _Atomic uint64_t echoes, /* answered */
        limited,             /* echo requests above the limit */
        errors,              /* that quote a segment of ours */
        refused,             /* of those: fitting no connection, or nothing that it has sent */
        shrunk,              /* packet sizes of paths that went down */
        ignored;             /* other types, malformed, not to us alone */
};

struct net_icmp {
    struct net_link *link;
    struct link_bucket bucket;
    struct icmp_counters counters;
};

void net_icmp_init(struct net_icmp *icmp, struct net_link *link);

/* Takes a message (FRAME_ICMP or FRAME_ICMPV6, its checksum found good) that is neither neighbour
 * discovery nor an error with a quote. Returns the echo reply, or NULL. */
struct packet *net_icmp_input(struct net_icmp *icmp, const struct frame *frame, uint64_t now_us);

/* What the connection that an error quotes has sent. */
struct icmp_flow {
    uint32_t snd_una, snd_nxt;
    uint16_t path_mtu;    /* bytes of the largest IP packet now */
    bool is_synchronized; /* past the handshake */
    bool is_v4;
};

enum icmp_verdict {
    ICMP_REFUSED, /* not about bytes on their way: a forgery, or too late */
    ICMP_SOFT,    /* true or not, the connection goes on; tell it apart when it times out */
    ICMP_ABORT,   /* the connection was only being opened: it ends with `*error` */
    ICMP_SHRINK,  /* packets of at most `*value` bytes from now on */
};

/* Judges an error by the flow that it quotes. `*value`: the errno of ICMP_ABORT and ICMP_SOFT
 * (0: none), the size of ICMP_SHRINK. */
enum icmp_verdict net_icmp_judge(struct net_icmp *icmp, const struct wire_quote *quote,
                                 const struct icmp_flow *flow, int *value);

/* An error whose flow is none of ours. */
void net_icmp_no_flow(struct net_icmp *icmp);

#endif

/* TIME-WAIT: what is left of closed connections, 32 bytes each and the table's slot.
 * Purpose:   answer late segments, keep old duplicates out of new connections (RFC 9293 section
 *            3.6.1), ignore RST (RFC 1337), let a new SYN reuse the flow when that is safe (RFC
 *            6191).
 * Identity:  an entry knows its flow only as the 64-bit keyed hash: nobody without the key can
 *            make two flows meet, and of 2^20 chance pairs one in 2^44 would.
 *            The same table remembers which SYN cookies were used (handshake.c).
 * Full:      the oldest entry goes (counted as `evicted`): better than a connection that cannot
 *            close.
 * Ownership: entries belong to the table; a pointer holds until the next call that changes it.
 * Threading: one worker.
 * Errors:    -ENOMEM when made. */
#ifndef DATAPLANE_NET_TIMEWAIT_H
#define DATAPLANE_NET_TIMEWAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/net/flows.h"

enum {
    TIMEWAIT_CAPACITY_MAX = 1 << 25,
    TIMEWAIT_MS = 60000,     /* 2 MSL, with the MSL of 30 s that all of today's hosts assume */
    TIMEWAIT_TIMESTAMPS = 1, /* a flag: ts_recent is valid */
};

struct timewait_entry {
    uint64_t hash;
    uint32_t snd_nxt, rcv_nxt;
    uint32_t ts_recent;
    uint32_t deadline_ms; /* modulo 2^32 */
    /* Two links in order of deadlines; 28 bits are enough, which makes room for flags. */
    uint32_t prev : 28, flags : 4;
    uint32_t next : 28, : 4;
};
_Static_assert(sizeof(struct timewait_entry) == 32, "two to a cache line");

struct timewait {
    struct timewait_entry *entries; /* [0] is the head of the ring */
    struct flows flows;
    uint32_t free, fresh; /* freed entries; the first that was never used */
    uint32_t used, capacity;
    uint32_t lasts_ms; /* of each entry: TIMEWAIT_MS unless the owner of an empty table says so */
    uint64_t evicted;
};

/* `capacity`: 1 to TIMEWAIT_CAPACITY_MAX. Memory is taken as entries are first used.
 * 0 or -ENOMEM. */
int timewait_init(struct timewait *timewait, uint32_t capacity);
void timewait_fini(struct timewait *timewait);

/* Enters a flow that is not there, for `lasts_ms`. `state`: snd_nxt, rcv_nxt, ts_recent and
 * flags, the rest is set here. */
void timewait_add(struct timewait *timewait, uint64_t hash, const struct timewait_entry *state,
                  uint64_t now_us);
/* NULL: not there. */
struct timewait_entry *timewait_find(const struct timewait *timewait, uint64_t hash);
void timewait_remove(struct timewait *timewait, struct timewait_entry *entry);
/* The full time anew. */
void timewait_restart(struct timewait *timewait, struct timewait_entry *entry, uint64_t now_us);
/* Drops up to `max` entries whose time has passed. Returns how many. */
unsigned timewait_expire(struct timewait *timewait, uint64_t now_us, unsigned max);
/* When the next one expires; UINT64_MAX: none. */
uint64_t timewait_next_us(const struct timewait *timewait, uint64_t now_us);

/* A segment for a flow in TIME-WAIT. */
struct timewait_segment {
    uint32_t seq;
    uint32_t seg_len; /* with SYN and FIN */
    uint8_t flags;    /* TCP_* */
    bool timestamps;
    uint32_t ts_value;
};

enum timewait_verdict {
    TIMEWAIT_DROP,  /* nothing is sent */
    TIMEWAIT_ACK,   /* an ACK (limited in rate) of snd_nxt, rcv_nxt */
    TIMEWAIT_FIN,   /* the peer's FIN again: the same ACK and timewait_restart */
    TIMEWAIT_REUSE, /* a SYN that may open the flow anew: remove the entry, handle it as a SYN;
                     * the ISN must be timewait_iss() */
};

enum timewait_verdict timewait_judge(const struct timewait_entry *entry,
                                     const struct timewait_segment *segment);
/* An ISN for the flow's next incarnation: `isn` if it lies beyond all that was sent in the last
 * one, else one that does (RFC 9293 section 3.4.3; a fast connection outruns the 4 us clock). */
uint32_t timewait_iss(const struct timewait_entry *entry, uint32_t isn);

#endif

/* SYN cache: handshakes that wait for their last ACK (RFC 4987 section 3.5).
 * Purpose:   a half-open connection takes one small entry, not a connection block; when all are
 *            taken the caller falls back to SYN cookies (isn.h). It also says when a SYN-ACK is to
 *            be sent again, and gives up what was never answered.
 * Times:     a SYN-ACK goes again after 1, 2, 4, 8 and 16 s (RFC 6298 section 2.1, 5.5) and the
 *            entry is dropped 32 s later; with more than half of the entries taken it has only
 *            SYNCACHE_SENDS_BUSY transmissions.
 * Ownership: entries belong to the cache; a pointer holds until the entry is removed or collected.
 * Threading: one worker. Hashes are net_flow_hash under the key given to syncache_init.
 * Errors:    -ENOMEM when made; NULL when full. */
#ifndef DATAPLANE_NET_SYNCACHE_H
#define DATAPLANE_NET_SYNCACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/net/address.h"
#include "dataplane/net/flows.h"

enum {
    SYNCACHE_CAPACITY_MAX = 32768,
    SYNCACHE_SENDS = 6, /* transmissions of a SYN-ACK */
    SYNCACHE_SENDS_BUSY = 3,
    SYNCACHE_TIMEOUT_MS = 1000, /* after the first one, doubled with each */
};

struct syncache_entry {
    struct net_flow flow; /* the cache's, read-only for others */
    /* The caller's, all of them: */
    uint32_t iss, irs;
    uint32_t ts_recent; /* the timestamp of the SYN */
    uint32_t sent_us;   /* when the SYN-ACK was last sent, low 32 bits: for a first RTT */
    uint16_t mss;       /* the peer's */
    uint16_t vlan;      /* as in struct frame */
    uint16_t listener;
    uint8_t remote_mac[6];
    uint8_t options;      /* TCP_OPTION_* agreed on */
    uint8_t window_scale; /* the peer's */
    bool ecn;
    /* The cache's: */
    uint8_t sends; /* SYN-ACKs asked for so far, the first one included */
    uint16_t next, prev;
    uint32_t deadline_ms; /* modulo 2^32 */
};

struct syncache_list {
    uint16_t first, last; /* earliest deadline first */
};

struct syncache {
    struct syncache_entry *entries;
    struct flows flows;
    struct siphash_key key;
    struct syncache_list lists[SYNCACHE_SENDS]; /* by sends - 1: each has one timeout */
    uint16_t free;
    uint16_t used, capacity;
    uint64_t expired; /* entries given up */
};

/* `capacity`: 1 to SYNCACHE_CAPACITY_MAX. 0 or -ENOMEM. */
int syncache_init(struct syncache *cache, unsigned capacity, const struct siphash_key *key);
void syncache_fini(struct syncache *cache);

/* NULL: not there. */
struct syncache_entry *syncache_find(const struct syncache *cache, uint64_t hash,
                                     const struct net_flow *flow);
/* A new entry for a flow that is not there, its first SYN-ACK about to be sent; the caller fills
 * it in. NULL: all are taken. */
struct syncache_entry *syncache_add(struct syncache *cache, uint64_t hash,
                                    const struct net_flow *flow, uint64_t now_us);
void syncache_remove(struct syncache *cache, struct syncache_entry *entry);

/* Takes up to `max` entries whose SYN-ACK has to go out again; they stay in the cache with their
 * next deadline. Drops those that had all their transmissions. Returns how many were taken; `max`
 * means more may wait. */
unsigned syncache_collect(struct syncache *cache, uint64_t now_us, struct syncache_entry **due,
                          unsigned max);
/* When syncache_collect has work next; UINT64_MAX: the cache is empty. */
uint64_t syncache_next_us(const struct syncache *cache, uint64_t now_us);

/* Hands over the entries one at a time, for when a listener ends: the next one of `listener`,
 * starting at *place (0 at first), which moves on. NULL: no more. The entry may be removed. */
struct syncache_entry *syncache_walk(struct syncache *cache, unsigned *place, uint16_t listener);

#endif

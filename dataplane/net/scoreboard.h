/* The marks on sent packets: what SACK and time say of each (the inner half of recovery.h).
 * Purpose:   keeps pipe_bytes, lost_bytes, sacked_bytes and the pointers of struct recovery in step
 *            with the bits of the packets; knows nothing of windows, phases and timers.
 * Layout:    packets that were SACKed and stand side by side form runs. The first one's `sent_us`,
 *            which has served its purpose, is the address of the run's last one, so that walks
 *            step over a run at once; in the others it is 0. Two runs may touch.
 * Ownership, threading, errors: as recovery.h says. */
#ifndef DATAPLANE_NET_SCOREBOARD_H
#define DATAPLANE_NET_SCOREBOARD_H

#include "dataplane/net/recovery.h"

/* What one acknowledgment brought. */
struct scoreboard_news {
    const struct recovery_ack *ack;
    uint32_t fack;           /* RACK.fack before it */
    uint64_t sent_us;        /* of the first packet acknowledged that was sent once; 0: none */
    uint64_t sacked_sent_us; /* the same of SACK */
    uint32_t bytes;          /* newly delivered, by ACK or SACK */
    bool moved;              /* una has */
    bool resent;             /* una went past a packet that was sent twice */
    uint32_t resent_mark;    /* if so: its last timestamp and time, of the first such packet */
    uint64_t resent_us;
    bool original;           /* a packet from before `recover` that was sent once has arrived */
    bool duplicate;          /* DSACK: the peer got these bytes twice */
    uint32_t duplicate_left, duplicate_right;
};

/* Takes the packets up to ack->ack off the counts and moves una; returns the first that is left,
 * or NULL. */
struct packet *scoreboard_acked(struct recovery *recovery, struct packet *queue,
                                struct scoreboard_news *news);
/* Marks what the SACK blocks cover; `queue` begins with the first packet not acknowledged. */
void scoreboard_sacked(struct recovery *recovery, struct packet *queue,
                       struct scoreboard_news *news);

/* RFC 8985 section 6.2, step 5: marks what was sent long enough before something that has arrived.
 * Returns the bytes marked and arms or stops the reordering timer. */
uint32_t scoreboard_detect(struct recovery *recovery, struct packet *queue, uint64_t now_us);
/* Section 6.3: at a retransmission timeout; `all` marks whatever is in flight. */
void scoreboard_timeout(struct recovery *recovery, struct packet *queue, bool all, uint64_t now_us);
/* Marks a packet that is in flight. */
void scoreboard_lose(struct recovery *recovery, struct packet *packet);
/* A lost packet goes out once more: it is in flight again. */
void scoreboard_resent(struct recovery *recovery, struct packet *packet, uint64_t now_us);
/* What is marked lost is in flight after all. */
void scoreboard_find_all(struct recovery *recovery, struct packet *queue);
/* The peer may have thrown away what it had SACKed (RFC 2018 section 8): nothing is. */
void scoreboard_forget(struct recovery *recovery, struct packet *queue);

/* The next packet of the queue, past the run if `packet` begins one. */
struct packet *scoreboard_after(const struct packet *packet);

/* Walks the queue. NULL, or what is broken. */
const char *scoreboard_check(const struct recovery *recovery, const struct packet *queue);

static inline bool scoreboard_in_flight(const struct packet *packet)
{
    return packet->sends != 0 && (packet->state & (RECOVERY_SACKED | RECOVERY_LOST)) == 0;
}

#endif

/* Loss recovery of one connection: what is in flight, what is lost, what may be sent.
 * Purpose:   the scoreboard of sent segments (RFC 2018, 6675), loss detection by time (RACK-TLP,
 *            RFC 8985), window reduction (PRR, RFC 6937), the retransmission timer (RFC 6298),
 *            undo of needless reductions by DSACK (RFC 2883, 3708) and timestamps (RFC 3522, 4015),
 *            F-RTO (RFC 5682), NewReno for peers without SACK (RFC 6582), ECN (RFC 3168).
 * Queue:     the connection's send queue is a list of struct packet linked by `next` in sequence
 *            order without gaps: first those sent and not acknowledged, then those not sent yet.
 *            `seq` and `seg_len` are set before a packet is sent first (FIN counts as one). From
 *            then on `sends`, `sent_us`, `mark` and the bits RECOVERY_STATE of `state` are written
 *            here only; they start as zero.
 * Ownership: the caller's struct and packets. Pointers into the queue are kept between calls: a
 *            sent packet leaves the queue only as recovery_acked() says, and is replaced or split
 *            only with recovery_replaced() or recovery_split(). Not for the handshake: SYNs have
 *            their timer elsewhere and use only struct rtt.
 * Threading: one worker. No clock is read, nothing is allocated.
 * Errors:    none. Whatever a peer writes into acknowledgments leads at most to needless or late
 *            retransmissions to that peer. Work for an ACK is bounded: by the packets that it
 *            acknowledges and by a credit that grows with each packet sent; what SACK blocks say
 *            beyond it is not looked at.
 *
 * How a connection uses it:
 *   input:   recovery_acked(), release the packets before `left`, then output.
 *   output:  while recovery_room(): if recovery_lost() has a packet, send it, else the first unsent
 *            one if the peer's window has room for it; recovery_sent() for each.
 *   timer:   at recovery_deadline_us(): recovery_expired(), then as the answer says.
 */
#ifndef DATAPLANE_NET_RECOVERY_H
#define DATAPLANE_NET_RECOVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/net/congestion.h"
#include "dataplane/net/options.h"
#include "dataplane/net/rtt.h"
#include "drivers/packet.h"

enum {
    RECOVERY_DUP_THRESHOLD = 3,    /* RFC 5681 section 3.2; RFC 8985's DupThresh */
    RECOVERY_ACK_DELAY_US = 50000, /* RFC 8985 section 7.2: how long a peer may hold an ACK back */
    RECOVERY_PROBE_MIN_US = 2000,  /* a probe sooner than that would be our own timer's jitter */
    RECOVERY_CREDIT_MAX = 4096,    /* packets looked at for one ACK, at most */
    RECOVERY_CREDIT_EACH = 64,     /* credit for each ACK and each packet sent */
};

/* The bits of packet.state that are ours; a sent packet with neither of the first two is in flight
 * (counts in pipe_bytes). */
enum recovery_bits {
    RECOVERY_SACKED = 1, /* the peer has it, by SACK */
    RECOVERY_LOST = 2,   /* to be sent again */
    RECOVERY_RESENT = 4, /* was sent more than once, or when is not known */
    RECOVERY_STATE = 0xff,
};

enum recovery_phase {
    RECOVERY_OPEN,   /* nothing is wrong, or not yet known to be */
    RECOVERY_CWR,    /* window reduced for an ECN echo or a loss that a probe has mended */
    RECOVERY_REPAIR, /* fast recovery */
    RECOVERY_TIMEOUT /* after the retransmission timer */
};

struct recovery {
    uint32_t una, nxt;   /* SND.UNA and SND.NXT, kept here */
    uint32_t pipe_bytes; /* in flight */
    uint32_t lost_bytes; /* marked lost and not sent again yet */
    uint32_t sacked_bytes;
    uint32_t sacked_packets;
    uint32_t dup_bytes;  /* without SACK: what duplicate ACKs say has left the network */
    uint32_t full_seq;   /* data up to here were sent into a full window */
    uint8_t phase;       /* enum recovery_phase */
    uint8_t timeouts;    /* expirations of the retransmission timer since una moved; saturates */
    bool sack;           /* agreed on with the peer */
    bool probing;        /* RECOVERY_PROBE is to be sent */
    bool probe_out;      /* a probe is out; probe_seq, probe_resent */
    bool probe_resent;   /* ... and repeats old data */
    bool reordering;     /* RFC 8985: reordering has been seen */
    bool undo;           /* undo_seq and undo_resent are valid */
    bool fast_frto;      /* RFC 5682: step 1 done, 2 is pending */
    bool frto_new;       /* ... step 2b: new data go first */
    bool resent_stamped; /* resent_ts is valid */
    uint8_t dup_acks;
    uint8_t reo_mult, reo_persist; /* RFC 8985 section 6.2, step 4 */
    uint16_t credit;
    uint32_t recover;     /* recovery ends when una gets here */
    uint32_t undo_seq;    /* una when it began */
    uint32_t undo_resent; /* packets resent since and not reported as duplicates; undo when 0 */
    uint32_t resent_ts;   /* timestamp of the first of them */
    uint32_t probe_seq;
    uint32_t prr_flight, prr_delivered, prr_out; /* RFC 6937: RecoverFS and so on */
    uint32_t reo_round;                          /* DSACK reactions wait until una is here */
    uint32_t rack_seq, rack_fack, rack_rtt_us;
    uint64_t rack_us;   /* when the newest delivered packet was sent */
    uint64_t oldest_us; /* no packet in flight was sent before */
    uint64_t reorder_deadline_us, probe_deadline_us, timeout_deadline_us; /* 0: not armed */
    uint64_t last_sent_us;
    struct packet *newest; /* the packet that ends at nxt; NULL: nothing is out */
    struct packet *resend; /* no lost packet before it; NULL: the queue's first */
    struct packet *live;   /* nothing in flight before it; NULL: the queue's first */
    struct packet *hint;   /* where the last SACK walk ended; NULL: nowhere */
    /* Hashes of the last ACK's SACK blocks: most of them come again with the next. */
    uint32_t blocks[TCP_SACK_BLOCKS_MAX];
    struct rtt rtt;
    struct congestion congestion;
};

/* What is kept of a connection with nothing in flight: all that later losses and round trips are
 * judged by. What is left out is of packets that are acknowledged. */
struct recovery_rest {
    uint32_t last_sent_ms; /* 0: never */
    uint32_t una;
    uint32_t cwnd, ssthresh;
    uint32_t w_max;                         /* CUBIC's; NewReno's bytes towards a segment */
    uint32_t srtt_x8_us, var_x4_us, min_us; /* struct rtt's */
    uint16_t mss;
    uint16_t credit;
    uint8_t reo_mult, reo_persist, backoff;
    bool sack : 1;
    bool reordering : 1;
    bool syn_was_lost : 1; /* and there is no sample yet */
};

/* One acceptable acknowledgment: una <= ack <= nxt (the caller has answered others by RFC 9293
 * section 3.10.7.4 and RFC 5961 section 5). */
struct recovery_ack {
    uint32_t ack;
    bool duplicate;   /* no data, no SYN or FIN, and the window as before (RFC 5681 section 2) */
    bool ecn_echo;    /* ECE on a connection with ECN */
    bool stamped;     /* ts_echo is valid */
    uint32_t ts_echo; /* what the peer echoes */
    uint32_t ts_now;  /* what we would send now */
    uint64_t now_us;
    unsigned sack_count;
    const struct tcp_sack *sack; /* as received; anything is possible */
};

struct recovery_news {
    struct packet *left;  /* first packet of the queue that is not wholly acknowledged, or NULL */
    uint32_t acked_bytes; /* by which una moved */
    bool duplicate_told;  /* the ACK carried a DSACK */
    bool entered;         /* fast recovery has begun */
    bool undone;          /* a reduction was taken back */
    /* The window was reduced, for ECN or loss: CWR goes with the next new data (RFC 3168 section
     * 6.1.2). Of a reduction in recovery_expired() a change of phase from OPEN tells. */
    bool reduced;
};

enum recovery_order {
    RECOVERY_NOTHING, /* the timer had been put off: arm it anew */
    RECOVERY_OUTPUT,  /* run output: packets may have been marked lost */
    RECOVERY_PROBE,   /* send one probe now, whatever cwnd says: the first unsent packet if the
                       * peer's window has room for it, else recovery_probe() */
    RECOVERY_RTO,     /* like OUTPUT, and `timeouts` has grown: the caller may give up */
};

/* `iss_next`: sequence number of the first byte, after SYN. `rtt` has the handshake's sample. */
void recovery_init(struct recovery *recovery, const struct congestion_ops *ops, uint32_t iss_next,
                   uint32_t mss, bool sack, bool syn_was_lost, const struct rtt *rtt);

/* A packet goes out: the queue's first unsent one (it begins at nxt), one of recovery_lost(), or
 * any other sent one. `ts_now` is the timestamp in it. Arms the timers. */
void recovery_sent(struct recovery *recovery, struct packet *packet, uint32_t ts_now,
                   uint64_t now_us);

/* Takes in an acknowledgment. `queue` is the first packet of the send queue, or NULL. */
void recovery_acked(struct recovery *recovery, struct packet *queue, const struct recovery_ack *ack,
                    struct recovery_news *news);

/* The same, by the shortest way, for an acknowledgment of all that is out (ack is nxt) without SACK
 * blocks and ECN echo, which is what most are where requests and replies take turns. False: there
 * is more to it; nothing has changed, and recovery_acked() is to be called. True: it has done what
 * that would have, with nothing in the news but what was acknowledged. */
bool recovery_acked_all(struct recovery *recovery, const struct packet *queue, uint64_t now_us);

/* The next packet to be sent again, or NULL. */
struct packet *recovery_lost(struct recovery *recovery, struct packet *queue);
/* What is in the network. Without SACK, each duplicate ACK says that a segment has left it. */
static inline uint32_t recovery_pipe(const struct recovery *recovery)
{
    return recovery->pipe_bytes > recovery->dup_bytes ? recovery->pipe_bytes - recovery->dup_bytes
                                                      : 0;
}
/* Bytes that congestion control lets go out now. One packet may always go when nothing is in
 * flight; otherwise a packet goes if its seg_len fits. Restarts an idle connection's window. */
static inline uint32_t recovery_room(struct recovery *recovery, uint64_t now_us)
{
    struct congestion *congestion = &recovery->congestion;
    uint32_t pipe = recovery_pipe(recovery);

    /* The floor first: it spares most calls the rest. */
    if (recovery->una == recovery->nxt && recovery->last_sent_us != 0 &&
        now_us - recovery->last_sent_us > RTT_RTO_MIN_US &&
        now_us - recovery->last_sent_us > rtt_timeout_us(&recovery->rtt))
        congestion_idle(congestion);
    return congestion->cwnd > pipe ? congestion->cwnd - pipe : 0;
}
/* Whether a packet of `seg_len` may go. */
static inline bool recovery_may_send(struct recovery *recovery, uint32_t seg_len, uint64_t now_us)
{
    /* Nothing in flight, and not idle: whatever the window. */
    if (recovery->pipe_bytes == 0 && now_us - recovery->last_sent_us <= RTT_RTO_MIN_US)
        return true;
    return recovery_room(recovery, now_us) >= seg_len || recovery->pipe_bytes == 0;
}
/* F-RTO asks for new data before what is lost (RFC 5682 section 3.1, step 2b); output then takes
 * unsent packets, if the peer's window has room for any, before those of recovery_lost(). */
static inline bool recovery_new_first(const struct recovery *recovery)
{
    return recovery->frto_new;
}

/* When recovery_expired() is to be called; UINT64_MAX: no timer runs. It changes with each call of
 * recovery_sent, recovery_acked and recovery_expired; a late call costs time and nothing else. */
static inline uint64_t recovery_deadline_us(const struct recovery *recovery)
{
    uint64_t deadline_us = UINT64_MAX;

    /* 0, not armed, wraps to the largest. */
    if (recovery->timeout_deadline_us - 1 < deadline_us)
        deadline_us = recovery->timeout_deadline_us - 1;
    if (recovery->probe_deadline_us - 1 < deadline_us)
        deadline_us = recovery->probe_deadline_us - 1;
    if (recovery->reorder_deadline_us - 1 < deadline_us)
        deadline_us = recovery->reorder_deadline_us - 1;
    return deadline_us == UINT64_MAX ? deadline_us : deadline_us + 1;
}
enum recovery_order recovery_expired(struct recovery *recovery, struct packet *queue,
                                     uint64_t now_us);
/* The packet to repeat as a probe; NULL: nothing is out. */
static inline struct packet *recovery_probe(const struct recovery *recovery)
{
    return recovery->newest;
}

/* The peer's window is shut and the caller's persist timer has taken over: the retransmission timer
 * starts again with the next packet sent. Only while nothing is in flight. */
void recovery_rest(struct recovery *recovery);

/* Nothing is out and no reduction may yet be undone. */
bool recovery_may_rest(const struct recovery *recovery, uint64_t now_us);
void recovery_save(const struct recovery *recovery, struct recovery_rest *rest);
/* A new stretch of CUBIC's congestion avoidance begins, from the same window, and the least round
 * trip is as if just seen. The window before the last event, which the slope of CUBIC's estimate
 * depends on, is taken to be w_max. */
void recovery_restore(struct recovery *recovery, const struct congestion_ops *ops,
                      const struct recovery_rest *rest, uint64_t now_us);

/* Packets now carry at most `mss` bytes (PMTU, RFC 1191 and 8201); those in flight that are longer
 * count as lost, which is no sign of congestion. The caller splits them before sending again. */
void recovery_too_big(struct recovery *recovery, struct packet *queue, uint32_t mss);
/* From now on packets may carry `mss` bytes, more than before. */
void recovery_larger(struct recovery *recovery, uint32_t mss);
/* `first` was cut: `second` follows it in the queue and both have their seq and seg_len. Not while
 * `first` is SACKED. */
void recovery_split(struct recovery *recovery, struct packet *first, struct packet *second);
/* `len` sequence numbers at the beginning of `packet`, all below una, are no longer part of it. */
void recovery_trimmed(struct recovery *recovery, const struct packet *packet, uint32_t len);
/* `copy` has taken the place of `old` in the queue and all its fields but next's holders. */
void recovery_replaced(struct recovery *recovery, struct packet *old, struct packet *copy);

/* Bytes sent and not cumulatively acknowledged. */
static inline uint32_t recovery_flight(const struct recovery *recovery)
{
    return recovery->nxt - recovery->una;
}

/* Walks the queue and checks every counter and pointer. NULL, or what is broken. */
const char *recovery_check(const struct recovery *recovery, const struct packet *queue);

#endif

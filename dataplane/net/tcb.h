/* State of one TCP connection.
 * Purpose:   what the core's modules share about a connection. The first two lines hold what the
 *            fast path of input needs. What it needs only while something is under way, queues and
 *            loss recovery foremost, is in struct conn_busy, and what only a connection with holes
 *            in its stream needs on the heap.
 * Rest:      there are many connections and few at work. One that is idle gives its struct
 *            conn_busy to another that needs one, and keeps the few words that recovery cannot do
 *            without (rest.h). All functions of the stack but those that say so want it awake:
 *            whoever gets a connection from the table, the timers or the caller wakes it.
 * Ownership: the stack's; `stream.user` is the caller's.
 * Threading: one worker.
 * Units:     sequence numbers modulo 2^32, windows in bytes, `_ms` the stack's clock in
 *            milliseconds modulo 2^32 (a deadline of 0 is none). */
#ifndef DATAPLANE_NET_TCB_H
#define DATAPLANE_NET_TCB_H

#include "dataplane/net/address.h"
#include "dataplane/net/net.h"
#include "dataplane/net/options.h"
#include "dataplane/net/recovery.h"
#include "dataplane/net/sendqueue.h"
#include "dataplane/net/timers.h"
#include "drivers/packet.h"
#include "drivers/stream.h"

/* Where path_mtu comes from. */
enum path_knowledge {
    PATH_TOLD,     /* the interface, or a router */
    PATH_GUESSED,  /* large segments found no answer */
    PATH_ON_TRIAL, /* such a guess has been dropped: the next silence has it back at once */
};

enum conn_flag {
    CONN_DIRTY = 1 << 0,     /* on the stack's list of that name */
    CONN_READY = 1 << 1,     /* the same */
    CONN_ACK_NOW = 1 << 2,   /* an ACK goes with the next flush, whatever happens */
    CONN_ACK_OWED = 1 << 3,  /* something in order came since the last ACK */
    CONN_ACK_QUICK = 1 << 4, /* the last delayed ACK was in vain: the next ones do not wait */
    CONN_PAUSED = 1 << 5,
    CONN_ORPHAN = 1 << 6,      /* the caller has closed it */
    CONN_TOLD_CLOSED = 1 << 7, /* and has been told */
    CONN_FIN_WANTED = 1 << 8,  /* the caller sends no more */
    CONN_FIN_QUEUED = 1 << 9,
    CONN_FIN_RECEIVED = 1 << 10,
    CONN_TELL_ACCEPTED = 1 << 11, /* events to come */
    CONN_TELL_CONNECTED = 1 << 12,
    CONN_TELL_END = 1 << 13,
    CONN_TELL_DRAINED = 1 << 14,
    CONN_TELL_CLOSED = 1 << 15,
    CONN_SACK = 1 << 16, /* agreed on in the handshake */
    CONN_TIMESTAMPS = 1 << 17,
    CONN_SCALED = 1 << 18,
    CONN_ECN = 1 << 19,
    CONN_ECN_ECHO = 1 << 20,    /* ECE in every ACK until CWR comes (RFC 3168 section 6.1.3) */
    CONN_ECN_REDUCED = 1 << 21, /* CWR goes with the next new data (section 6.1.2) */
    CONN_PERSIST = 1 << 22,     /* wait_ms is that of a window probe */
    CONN_PROBED = 1 << 23,      /* the byte at SND.NXT was sent into a shut window */
    CONN_PROBE_DUE = 1 << 24,   /* output may use a window that is too small to be worth it */
    CONN_IN_TABLE = 1 << 25,
    CONN_PASSIVE = 1 << 26,
    CONN_WAITS_MAC = 1 << 27, /* an active open that does not know where to */
    CONN_SYN_LOST = 1 << 28,  /* the SYN was sent more than once */
    CONN_DYING = 1 << 29,
};

/* Segments that wait for earlier ones, and a duplicate to report; on the heap while there are. */
struct tcp_reorder {
    struct packet *first; /* by seq, without overlap */
    uint32_t packets, bytes;
    struct tcp_sack recent[TCP_SACK_BLOCKS_MAX]; /* the block that changed last goes first */
    struct tcp_sack dsack;                       /* RFC 2883; empty: none */
    uint32_t recent_count;
    uint32_t fin_seq; /* of a FIN that came too early, if has_fin */
    bool has_fin;
};

/* What a connection needs while something is under way. */
struct conn_busy {
    struct packet *rx_first, *rx_last;
    struct net_conn *conn; /* whose it is; NULL: nobody's */
    struct conn_busy *free_next;
    struct net_conn *dirty_next;
    union {
        struct net_conn *ready_next;
        struct net_conn *dying_next;
    };
    struct tcp_reorder *reorder;
    uint32_t rcv_queued; /* bytes that wait for the caller */
    uint32_t ack_ms;     /* delayed ACK */
    uint32_t wait_ms;    /* SYN, SYN-ACK or window probe */
    uint32_t stalled_ms; /* since when output waits for the peer; 0: it does not */
    struct sendqueue queue;
    struct recovery recovery; /* SND.UNA and SND.NXT among it; before the handshake's end only
                               * these and `rtt` mean anything */
};

struct net_conn {
    /* Line 1: whose it is. */
    struct stream_conn stream;
    struct net_flow flow;
    uint8_t state; /* enum net_state */
    uint8_t snd_scale, rcv_scale;
    uint8_t backoff; /* doublings of wait_ms */

    /* Line 2: what each segment looks at. */
    struct conn_busy *busy; /* NULL: it rests */
    uint32_t flags;         /* enum conn_flag */
    uint32_t rcv_nxt;
    uint32_t rcv_edge;  /* right edge of the window that was told: never moves back */
    uint32_t rcv_acked; /* RCV.NXT in the last segment that we sent */
    uint32_t snd_wnd, snd_wl1, snd_wl2;
    uint32_t ts_recent, ts_recent_ms, ts_offset;
    uint32_t heard_ms; /* when a segment last came */
    uint16_t mss;      /* payload of a segment at most, timestamps allowed for */
    uint16_t vlan;
    uint8_t remote_mac[6];
    uint8_t ack_segments; /* in-order segments since the last ACK; saturates */
    uint8_t probes;       /* of keepalive or persist without an answer */

    struct net_timer timer;
    uint32_t snd_wnd_max; /* the largest window seen */
    uint32_t idle_ms;     /* keepalive, FIN-WAIT-2 */
    uint16_t user_timeout_s;
    uint16_t mss_peer; /* as it said */
    uint16_t path_mtu;
    uint16_t challenge_second; /* RFC 5961 section 7, for each connection by itself */
    uint16_t path_s; /* since when path_mtu is what it is, by the clock's seconds; 0: no matter */
    uint16_t retransmits;
    uint8_t challenges;
    uint8_t soft_error, error; /* errno */
    uint8_t path;              /* enum path_knowledge */
    union {
        struct recovery_rest rest;  /* while it has no `busy` */
        struct net_conn *free_next; /* while it is no connection at all */
    };
};

_Static_assert(sizeof(struct net_conn) <= 216, "memory of an idle connection");

#endif

/* The inside of one stack, shared by the core's modules; nobody else includes it but link glue,
 * stream driver tests and fuzz targets.
 * Ownership: struct net owns all that it points to but the port.
 * Threading: one worker. */
#ifndef DATAPLANE_NET_NET_INSIDE_H
#define DATAPLANE_NET_NET_INSIDE_H

#include "dataplane/net/flows.h"
#include "dataplane/net/icmp.h"
#include "dataplane/net/isn.h"
#include "dataplane/net/link.h"
#include "dataplane/net/net.h"
#include "dataplane/net/rest.h"
#include "dataplane/net/sendqueue.h"
#include "dataplane/net/syncache.h"
#include "dataplane/net/tcb.h"
#include "dataplane/net/timers.h"
#include "dataplane/net/timewait.h"
#include "dataplane/net/tso.h"
#include "dataplane/net/wire.h"

enum {
    NET_TX_MAX = 256,          /* frames that wait for the port */
    NET_TX_ROOM_MIN = 8,       /* connections stop sending when less is left */
    NET_FOREIGN_MAX = 64,      /* frames for the kernel that wait */
    NET_TIMERS_A_POLL = 64,    /* timers run in one poll */
    NET_RECENT_BITS = 10,      /* of the places of connections last found */
    NET_RESETS_PER_S = 1000,   /* to strays */
    NET_CHALLENGES_PER_S = 10, /* a connection (RFC 5961 section 7) */
    NET_TIME_WAIT_ACKS_PER_S = 1000,
    NET_OUT_OF_ORDER_PACKETS = 64,  /* a connection */
    NET_OUT_OF_ORDER_BYTES = 65536, /* a connection */
};

struct net_listener {
    uint16_t port;
    bool used;
    uint32_t id;
};

/* Up to `per_s` a second, kept in whole seconds. */
struct net_limit {
    uint64_t second;
    uint32_t left;
};

struct net {
    struct packet_port *port;
    uint64_t now_us;                     /* of this poll */
    uint32_t now_ms;                     /* the same, modulo 2^32 */
    struct net_conn *dirty, **dirty_end; /* owe an ACK or may send */
    struct net_conn *ready, **ready_end; /* have something to tell */
    struct packet *spent;                /* payload handed over, released at the next poll */
    struct flows flows;
    struct siphash_key key;
    struct net_conn *conns;     /* connections_max of them; touched as they are first used */
    struct net_conn *conn_free; /* freed ones */
    uint32_t conn_fresh;        /* first that was never used */
    uint32_t conn_count;
    struct net_conn *dying;      /* CLOSED was told: freed at the next poll */
    struct conn_busy *busy;      /* connections_max of them, so that there is one for each */
    struct conn_busy *busy_free; /* given back */
    uint32_t busy_fresh;         /* first that was never used */
    uint32_t busy_hand;          /* where the last search for one at rest ended */

    bool scarce;            /* the pool is nearly empty: nothing is kept for who does not read */
    uint32_t window_limit;  /* bytes a connection may be offered, by the pool's headroom */
    uint32_t packets_total; /* free in the pool when the stack was made */
    uint32_t out_of_order_packets; /* held in all connections */
    uint32_t out_of_order_max;
    uint16_t mtu;
    uint8_t window_scale; /* that we ask for */

    unsigned tx_count;
    struct packet *tx[NET_TX_MAX];

    struct timers timers;
    struct sendpool sendpool;
    struct tso tso; /* of the connection whose output runs */
    struct syncache syncache;
    struct timewait timewait;
    struct timewait cookies_used; /* see handshake.c */
    struct isn isn;
    struct net_link link;
    struct net_icmp icmp;
    struct net_options options;
    struct net_listener listeners[NET_LISTENERS_MAX];
    unsigned listeners_end; /* behind the last one used */
    struct net_limit resets, time_wait_acks;
    uint32_t connects_waiting; /* SYN-SENT connections without a MAC */

    /* net_reserve() handed out: */
    struct net_conn *reserved_conn; /* NULL: nothing */
    struct packet *reserved_packet; /* NULL: the tail's room or scratch */
    bool reserved_scratch;
    size_t reserved_room;
    uint8_t *scratch; /* NET_RESERVE_MAX */

    uint8_t starved_flushes; /* in a row; saturates */
    bool starved;            /* what is dirty could not send for want of packets or room */
    unsigned foreign_count;
    struct packet *foreign[NET_FOREIGN_MAX];
    struct net_counters counters;
    uint32_t recent[1 << NET_RECENT_BITS]; /* connections last found, by net_recent_place() */
    uint8_t few_bursts; /* of late whose segments were nearly all for those; saturates */
};

static inline void net_count(_Atomic uint64_t *counter, uint64_t count)
{
    stream_count(counter, count);
}

static inline bool seq_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static inline bool seq_after(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

static inline bool net_limit_take(struct net_limit *limit, uint64_t now_us, uint32_t per_s)
{
    uint64_t second = now_us / 1000000;

    if (second != limit->second) {
        limit->second = second;
        limit->left = per_s;
    }
    if (limit->left == 0)
        return false;
    limit->left--;
    return true;
}

/* Where the connection of a flow is looked for first. Nothing depends on who meets whom there. */
static inline uint32_t net_recent_place(const struct net_flow *flow)
{
    return ((flow->remote_port ^ flow->remote.words[3]) * 0x9e3779b1u) >> (32 - NET_RECENT_BITS);
}

/* Gives it what it needs at work; see tcb.h. */
static inline void conn_wake(struct net *net, struct net_conn *conn)
{
    if (conn->busy == NULL)
        rest_end(net, conn);
}

static inline uint32_t conn_index(const struct net *net, const struct net_conn *conn)
{
    return (uint32_t)(conn - net->conns);
}

/* Something may have to be sent for it: looked at in the next flush. */
static inline void conn_dirty(struct net *net, struct net_conn *conn)
{
    if (conn->flags & CONN_DIRTY)
        return;
    conn->flags |= CONN_DIRTY;
    net->starved = false;
    conn->busy->dirty_next = NULL;
    *net->dirty_end = conn;
    net->dirty_end = &conn->busy->dirty_next;
}

/* It has something to tell. */
static inline void conn_ready(struct net *net, struct net_conn *conn)
{
    if (conn->flags & CONN_READY)
        return;
    conn->flags |= CONN_READY;
    conn->busy->ready_next = NULL;
    *net->ready_end = conn;
    net->ready_end = &conn->busy->ready_next;
}

static inline void net_read_clock(struct net *net)
{
    net->now_us = net->options.clock_us(net->options.clock_arg);
    net->now_ms = (uint32_t)(net->now_us / 1000);
}

static inline uint32_t net_now_ms(const struct net *net)
{
    return net->now_ms;
}

/* ---- net.c ---- */

void net_transmit_burst(struct net *net);
/* The rare halves of the two below. */
bool net_transmit_full(struct net *net, struct packet *packet);
bool net_transmit_make_room(struct net *net);

/* A frame ready for the wire; takes the caller's reference. False: the queue is full, the frame is
 * dropped and counted. */
static inline bool net_transmit(struct net *net, struct packet *packet)
{
    if (net->tx_count == NET_TX_MAX)
        return net_transmit_full(net, packet);
    net->tx[net->tx_count++] = packet;
    return true;
}

/* Room for more frames, after an attempt to empty the queue into the port. */
static inline bool net_transmit_room(struct net *net)
{
    return NET_TX_MAX - net->tx_count >= NET_TX_ROOM_MIN || net_transmit_make_room(net);
}

/* A packet for a control segment or an answer, from the pool's last. */
struct packet *net_alloc(struct net *net);
const struct net_listener *net_listener_find(const struct net *net, uint16_t port);
/* A connection block of the flow in the table, all else zero; NULL: no room. */
struct net_conn *net_conn_open(struct net *net, const struct net_flow *flow, uint64_t hash);
/* CLOSED was told and TCP is done with it: the block is free at the next poll. */
void net_conn_let_go(struct net *net, struct net_conn *conn);
/* Takes it out of the table and of the timers. */
void net_conn_detach(struct net *net, struct net_conn *conn);
struct net_conn *net_lookup(const struct net *net, const struct net_flow *flow, uint64_t hash);
/* ---- input.c ---- */
/* Takes the packet's reference. `likely`: a block that the table named for this hash when the burst
 * began, or NULL. `hash` 0: not worked out yet, and `likely` was the flow's then, or is NULL. */
void net_input(struct net *net, struct packet *packet, const struct frame *frame, uint64_t hash,
               struct net_conn *likely);
/* Whether a segment of no connection, other than a SYN, was passed on to the worker of another queue
 * that may have one; the packet stays the caller's. */
bool tcp_elsewhere(struct net *net, const struct packet *packet, const struct frame *frame);

/* ---- input_segment.c: a segment for a connection; takes the packet's reference ---- */
void tcp_segment(struct net *net, struct net_conn *conn, struct packet *packet,
                 const struct frame *frame);

/* ---- input_ack.c ---- */
/* False: the segment ends here (its ACK was bad, or the connection is over). */
bool tcp_ack_segment(struct net *net, struct net_conn *conn, const struct frame *frame,
                     const struct tcp_options *options);
/* The same for a segment of an established connection, without SACK blocks, ECE and FIN, that
 * acknowledges all that is out. False: nothing has changed; it goes the other way. */
bool tcp_ack_all(struct net *net, struct net_conn *conn, const struct frame *frame);
/* ---- path.c: what the path takes; for connections that are awake ---- */
/* Packets of at most so many bytes, as a router says. */
void tcp_path_mtu(struct net *net, struct net_conn *conn, uint16_t mtu);
/* The retransmission timer has run out for the `tries`th time in a row. */
void tcp_path_silent(struct net *net, struct net_conn *conn, unsigned tries);
/* Whether tcp_path_try has something to do; this also for a connection that rests. */
bool tcp_path_is_due(const struct net *net, const struct net_conn *conn);
/* Some time after path_mtu fell: larger packets may go by now. */
void tcp_path_try(struct net *net, struct net_conn *conn);

/* ---- handshake.c; those with a packet take its reference ---- */

/* A segment for a port that is listened on. `last` is what is left of the flow's last connection,
 * which this SYN may replace, or NULL. */
void tcp_listen_segment(struct net *net, const struct net_listener *listener, struct packet *packet,
                        const struct frame *frame, uint64_t hash,
                        const struct timewait_entry *last);
void tcp_half_open_segment(struct net *net, struct syncache_entry *entry, struct packet *packet,
                           const struct frame *frame, uint64_t hash);
/* SYN-ACKs to be sent again. */
void tcp_syn_cache_run(struct net *net);
/* An active open begins. `last`: what is left of the flow's last connection, or NULL. */
void tcp_open(struct net *net, struct net_conn *conn, const struct timewait_entry *last);
void tcp_syn_sent_segment(struct net *net, struct net_conn *conn, const struct frame *frame);
/* It waits, or no longer, for a MAC to send its SYN to. */
void tcp_waits_mac(struct net *net, struct net_conn *conn, bool waits);
/* A segment of an active open that met another one. False: the segment is done with; true: the
 * connection is established and the segment goes on. */
bool tcp_syn_received_segment(struct net *net, struct net_conn *conn, const struct frame *frame);
/* Sends the SYN or SYN-ACK of an active open (again). */
void tcp_send_syn(struct net *net, struct net_conn *conn);
/* Payload of a segment within the path's MTU and the peer's MSS. */
uint16_t tcp_mss(const struct net_conn *conn);

/* ---- output.c ---- */
void tcp_output(struct net *net, struct net_conn *conn);
/* One byte into a shut window (RFC 9293 section 3.8.6.1). It is not part of what is in flight until
 * it is acknowledged. False: nothing to send, no packet or no room. */
bool tcp_send_probe_byte(struct net *net, struct net_conn *conn);
/* The peer has taken that byte after all: it counts as sent. False: there was none, or no packet
 * for it. */
bool tcp_probe_accepted(struct net *net, struct net_conn *conn);
bool tcp_send_keepalive(struct net *net, struct net_conn *conn);
/* RFC 8985 section 7.3. */
void tcp_send_tail_probe(struct net *net, struct net_conn *conn);
/* A bare ACK, now. False: no packet or no room. */
bool tcp_send_ack(struct net *net, struct net_conn *conn);
void tcp_challenge(struct net *net, struct net_conn *conn);
/* RST of a connection, of its SND.NXT. */
void tcp_send_reset(struct net *net, struct net_conn *conn);
/* RST in answer to a segment that belongs to nothing (RFC 9293 section 3.5.2), limited. */
void tcp_refuse(struct net *net, const struct frame *frame);

/* A segment without payload and without connection, to where `frame` came from. */
struct tcp_bare {
    uint32_t seq, ack;
    uint16_t window;
    uint8_t flags, tos, options_len;
    const uint8_t *options;
};
bool tcp_send_bare(struct net *net, const struct net_flow *flow, const uint8_t mac[6],
                   uint16_t vlan, const struct tcp_bare *bare);

/* ---- receive.c ---- */
/* In-order payload; takes the reference. `room` of the packet is that behind its payload. */
void tcp_receive(struct net *net, struct net_conn *conn, struct packet *packet, uint8_t *payload,
                 uint32_t len);
/* A segment beyond RCV.NXT, trimmed to the window; takes the reference. */
void tcp_receive_out_of_order(struct net *net, struct net_conn *conn, struct packet *packet,
                              uint8_t *payload, uint32_t seq, uint32_t len, bool fin);
/* What has become in order; true: a FIN came with it. */
bool tcp_receive_join(struct net *net, struct net_conn *conn);
void tcp_receive_drop(struct net *net, struct net_conn *conn); /* all that waits */
/* SACK blocks to report, the most recent first (RFC 2018 section 4, RFC 2883). */
unsigned tcp_sack_blocks(const struct net_conn *conn, struct tcp_sack *blocks, unsigned max);
/* They have been sent: a duplicate is reported once. */
void tcp_sack_told(struct net *net, struct net_conn *conn);
/* [left, right) came though we had it; to be reported if the peer takes SACK. */
void tcp_duplicate(struct net *net, struct net_conn *conn, uint32_t left, uint32_t right);

/* ---- close.c ---- */
/* The connection is over for `error` (0: regularly): told upwards, its memory given back. */
void tcp_finish(struct net *net, struct net_conn *conn, int error);
/* The same with an RST to the peer. */
void tcp_abort(struct net *net, struct net_conn *conn, int error);
void tcp_enter_time_wait(struct net *net, struct net_conn *conn);
/* The peer's FIN is in order. */
void tcp_fin_received(struct net *net, struct net_conn *conn);
/* Our FIN was acknowledged. False: the connection is over. */
bool tcp_fin_acked(struct net *net, struct net_conn *conn);
void tcp_time_wait_segment(struct net *net, struct timewait_entry *entry, struct packet *packet,
                           const struct frame *frame, uint64_t hash);
/* The caller has closed: nobody waits for what the peer may still do. */
void tcp_orphaned(struct net *net, struct net_conn *conn);

/* ---- alarm.c ---- */
/* Arms the connection's timer for the earliest of its deadlines. */
void tcp_alarm(struct net *net, struct net_conn *conn);
void tcp_alarm_run(struct net *net, struct net_conn *conn);

/* Milliseconds from now, never 0. */
uint32_t tcp_deadline_ms(const struct net *net, uint64_t in_us);
/* Puts the first window probe off by a timeout. */
void tcp_persist(struct net *net, struct net_conn *conn);
/* An ICMP error about a segment of ours (RFC 5927); in input.c. False: of no connection here. */
bool tcp_icmp(struct net *net, const struct wire_quote *quote);

#endif

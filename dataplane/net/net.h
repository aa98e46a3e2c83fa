/* The network stack of one worker: TCP over one packet port.
 * Purpose:   turns frames of a packet port into byte streams and back: RFC 9293 with what
 *            docs/architecture.md lists beside it. One instance a worker, nothing shared.
 * Ownership: the caller owns the port, which outlives the stack. The stack owns connections and
 *            every packet that it received or allocated. A connection is the caller's to use from
 *            NET_ACCEPTED or net_connect() until NET_CLOSED; its memory is freed at the next
 *            net_poll(). Bytes of a NET_BYTES event stay valid until the next net_poll().
 * Threading: one worker; no locks. Nothing here reads a clock or random numbers but through the
 *            two functions in the options, so a run replays from its seed.
 * Errors:    0 or a negative errno. What a peer causes ends at most its connection; an empty packet
 *            pool or short memory delays or ends a connection and never more than that.
 * Upwards:   nothing is called; events are taken one by one with net_event(). */
#ifndef DATAPLANE_NET_NET_H
#define DATAPLANE_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/net/address.h"
#include "drivers/packet.h"
#include "drivers/stream.h"

enum {
    NET_ADDRESSES_MAX = 16,    /* local addresses of a stack */
    NET_LISTENERS_MAX = 264,   /* TCP ports listened on */
    NET_BURST = 32,            /* frames taken in one poll */
    NET_RESERVE_MAX = 16384,   /* largest contiguous room of net_reserve(), bytes */
    NET_PIN_BYTES_MIN = 16384, /* appended memory from this size on is sent where it lies */
    NET_NEVER = -1,            /* no deadline */
};

struct neighbours_cell; /* neighbours.h */

enum net_congestion { NET_CUBIC, NET_NEWRENO };

/* Zero means the default wherever one is named; the switches are for tests and odd networks. */
struct net_options {
    struct packet_port *port;
    uint64_t (*clock_us)(void *arg); /* monotonic; never 0 */
    void *clock_arg;
    uint64_t (*random)(void *arg); /* 64 bits that no stranger can predict */
    void *random_arg;

    const struct net_prefix *addresses;    /* local ones with their networks; copied */
    unsigned addresses_count;              /* 1 to NET_ADDRESSES_MAX */
    struct net_address gateway4, gateway6; /* all zero: none */
    bool kernel_path; /* ARP, NDP and echo are answered elsewhere; see kernel_path.h */
    const struct neighbours_cell *neighbours; /* with kernel_path: whom the kernel knows; outlives
                                               * the stack */

    unsigned connections_max;      /* default 65536 */
    unsigned half_open_max;        /* SYN cache; beyond it SYN cookies; default 4096 */
    unsigned time_wait_max;        /* default 65536; the oldest gives way */
    uint32_t receive_bytes;        /* receive window of a connection; default 262144 */
    uint32_t keepalive_s;          /* first probe after this idle time; 0: off */
    uint32_t keepalive_interval_s; /* default a third of keepalive_s; 3 lost probes end it */
    uint32_t user_timeout_s;       /* unacknowledged data end a connection; 0: after 15 resends */
    uint32_t fin_wait2_s;          /* default 60; only once the caller has closed */
    uint32_t ack_delay_us;         /* the longest an ACK waits; default 40000 */
    enum net_congestion congestion;
    bool no_sack, no_timestamps, no_window_scale, no_ecn;
    bool cookies_only;     /* every SYN is answered with a cookie */
    uint64_t boot_seed[4]; /* all zero: taken from random(); fixes ISNs and hashes in tests */
};

/* Counters; written by the worker, read relaxed by any thread. */
struct net_counters {
    _Atomic uint64_t rx_frames, rx_bytes, tx_frames, tx_bytes; /* bytes: of frames */
    _Atomic uint64_t rx_tcp, rx_other, rx_malformed, rx_bad_checksum, rx_fragments, rx_not_ours;
    _Atomic uint64_t rx_stray;     /* TCP to no connection and no listener */
    _Atomic uint64_t rx_elsewhere; /* to no connection here, given to another queue's worker */
    _Atomic uint64_t rx_out_of_order, rx_out_of_order_dropped, rx_duplicate, rx_outside_window;
    _Atomic uint64_t rx_no_memory;  /* dropped: no packet or memory to keep it */
    _Atomic uint64_t tx_no_packet;  /* put off: the packet pool was empty */
    _Atomic uint64_t tx_queue_full; /* put off: the port took no more */
    _Atomic uint64_t tx_segments, tx_retransmits, tx_acks, tx_resets, tx_probes;
    _Atomic uint64_t tx_tso_frames,
        tx_tso_segments; /* of tx_frames, tx_segments: cut by the port */
    _Atomic uint64_t resets_limited, challenge_acks, challenge_acks_limited;
    _Atomic uint64_t paws_dropped, bad_acks, resets_received;
    _Atomic uint64_t accepted, connected, closed, aborted, timed_out, refused_full;
    _Atomic uint64_t syns, syn_cache_hits, cookies_sent, cookies_good, cookies_bad;
    _Atomic uint64_t cookies_used; /* refused: the connection that they made has ended */
    _Atomic uint64_t time_wait_reused, rto_fired, tlp_sent, fast_recoveries, undos, dsacks_sent;
    _Atomic uint64_t icmp_soft, icmp_too_big, icmp_ignored;
    _Atomic uint64_t connections, half_open, time_wait; /* as they are now */
};

struct net;
struct net_conn; /* begins with a struct stream_conn: `user`, `pending_bytes`, `listener_id` */

static inline struct stream_conn *net_conn_stream(struct net_conn *conn)
{
    return (struct stream_conn *)conn;
}

static inline struct net_conn *net_stream_conn(struct stream_conn *stream)
{
    return (struct net_conn *)stream;
}

enum net_event_kind {
    NET_ACCEPTED,  /* a new connection of a listener; set its `user` now */
    NET_CONNECTED, /* net_connect() has succeeded */
    NET_BYTES,     /* data[0, len_bytes) arrived in order: the payload of one packet */
    NET_END,       /* the peer sends no more; output still flows */
    NET_DRAINED,   /* nothing is pending, after net_notify_drained() */
    NET_CLOSED,    /* last event of a connection, also of one the caller closed */
};

struct net_event {
    enum net_event_kind kind;
    int error; /* NET_CLOSED: 0 or the positive errno that ended it */
    struct net_conn *conn;
    const uint8_t *data; /* NET_BYTES */
    uint32_t len_bytes;
};

enum net_close {
    NET_CLOSE_FLUSH, /* sends what is committed, then FIN; reading stops at once */
    NET_CLOSE_NOW,   /* drops unsent output; if there was any, or unread input, by an RST */
};

/* -EINVAL for options that cannot be, -ENOMEM. */
int net_create(struct net **net, const struct net_options *options);
/* Releases everything, pinned memory too; sends nothing. */
void net_destroy(struct net *net);

/* Receives one burst, runs timers, sends what is owed. Returns the number of frames received plus
 * timers run: 0 says that there was nothing to do. */
unsigned net_poll(struct net *net);
/* The next event; false: none. Events of one poll are complete; take all before the next poll. */
bool net_event(struct net *net, struct net_event *event);
/* Sends what replies and ACKs are owed since; net_poll() does so first, too. */
void net_flush(struct net *net);
/* When the next timer is due, absolute, of the injected clock; UINT64_MAX: never. At or before now:
 * poll again at once. Never late, may be early. */
uint64_t net_next_deadline_us(const struct net *net);

/* With kernel_path: the next frame that is not for us, with one reference, now the caller's; NULL:
 * no more. What is not taken before the next poll is dropped. */
struct packet *net_take_foreign(struct net *net);
/* With `neighbours`: the address whose MAC was last looked for in vain, if that was since; the
 * kernel is to find it out. */
bool net_take_wanted(struct net *net, struct net_address *wanted);
/* Sends a frame that is ready for the wire; takes the caller's reference. */
void net_send_frame(struct net *net, struct packet *packet);

/* Accepts connections to `tcp_port` on all local addresses. -EADDRINUSE, -ENOSPC. */
int net_listen(struct net *net, uint16_t tcp_port, uint32_t listener_id);
/* Half-open connections of it are forgotten; established ones stay. -ENOENT. */
int net_unlisten(struct net *net, uint16_t tcp_port);

/* Keepalive from now on, as in the options; with 0 before, only connections to come have it. */
void net_set_keepalive(struct net *net, uint32_t keepalive_s);
/* Tells all neighbours of the local addresses, as their caches may hold a former owner's MAC. The
 * frames go with the next flush. */
void net_announce(struct net *net);

/* Opens a connection from the first local address of its family; NET_CONNECTED or NET_CLOSED
 * follows. `local_port` 0: any free one of 49152 to 65535. -EADDRINUSE, -EADDRNOTAVAIL, -ENFILE,
 * -ENOMEM, -EINVAL. */
int net_connect(struct net *net, const struct net_endpoint *to, uint16_t local_port, void *user,
                struct net_conn **conn);
/* From one of several local addresses, of the family of `to`; else -EADDRNOTAVAIL. NULL: the first,
 * as net_connect(). */
int net_connect_from(struct net *net, const struct net_address *from, const struct net_endpoint *to,
                     uint16_t local_port, void *user, struct net_conn **conn);

/* Contiguous room for at least `len` <= NET_RESERVE_MAX bytes, `*room` in all; NULL: no memory, or
 * the connection is gone or closed for output. Valid until the next call on this stack. */
uint8_t *net_reserve(struct net *net, struct net_conn *conn, size_t len, size_t *room);
/* `len` bytes of the room are output. A shortage of memory here ends the connection (ENOBUFS). */
void net_commit(struct net *net, struct net_conn *conn, size_t len);
/* Output where it lies; release(arg), unless NULL, is called when it is acknowledged or dropped,
 * and calls nothing of the stack. -ENOMEM, -EPIPE: the memory stays the caller's. */
int net_append(struct net *net, struct net_conn *conn, const void *data, size_t len,
               void (*release)(void *arg), void *arg);
/* Sends FIN after what is committed; receiving goes on (half-close). */
void net_shutdown(struct net *net, struct net_conn *conn);
/* NET_CLOSED follows and nothing else. Harmless when the connection has ended already. */
void net_close(struct net *net, struct net_conn *conn, enum net_close how);
/* One NET_DRAINED as soon as nothing is pending. */
void net_notify_drained(struct net *net, struct net_conn *conn);
/* While paused no NET_BYTES and no NET_END come; the receive window closes as bytes wait. */
void net_pause(struct net *net, struct net_conn *conn);
void net_resume(struct net *net, struct net_conn *conn);
/* RFC 5482 for this connection, seconds; 0: as the options say. */
void net_set_user_timeout(struct net *net, struct net_conn *conn, uint32_t timeout_s);

void net_peer(const struct net_conn *conn, struct net_endpoint *peer);
void net_local(const struct net_conn *conn, struct net_endpoint *local);
const struct net_counters *net_counters(const struct net *net);

/* The states of RFC 9293 section 3.3.2. LISTEN, SYN-RECEIVED of a passive open and TIME-WAIT have
 * no connection: they are in the listeners, the SYN cache and the TIME-WAIT table. */
enum net_state {
    NET_STATE_CLOSED,
    NET_STATE_LISTEN,
    NET_STATE_SYN_SENT,
    NET_STATE_SYN_RECEIVED,
    NET_STATE_ESTABLISHED,
    NET_STATE_FIN_WAIT_1,
    NET_STATE_FIN_WAIT_2,
    NET_STATE_CLOSE_WAIT,
    NET_STATE_CLOSING,
    NET_STATE_LAST_ACK,
    NET_STATE_TIME_WAIT,
};

/* Inside view of one connection for INFO, tools and tests. */
struct net_info {
    enum net_state state;
    uint32_t snd_una, snd_nxt, snd_wnd, rcv_nxt, rcv_wnd; /* windows unscaled, in bytes */
    uint32_t cwnd, ssthresh, flight;                      /* bytes */
    uint32_t srtt_us, rto_us;
    uint32_t mss; /* what a segment of ours may carry */
    uint32_t retransmits;
    uint32_t received_packets, out_of_order_packets; /* waiting in the connection */
    uint32_t queued_bytes;                           /* committed and not yet acknowledged */
    int soft_error;                                  /* last one that ICMP told of, 0: none */
    bool sack, timestamps, window_scale, ecn;
};
void net_info(const struct net *net, const struct net_conn *conn, struct net_info *info);

/* The state that the flow has here: that of its connection, NET_STATE_SYN_RECEIVED or
 * NET_STATE_TIME_WAIT by the tables, NET_STATE_LISTEN if its port is listened on, else
 * NET_STATE_CLOSED. */
enum net_state net_flow_state(const struct net *net, const struct net_flow *flow);
/* The connection of a flow, or NULL. */
struct net_conn *net_find(const struct net *net, const struct net_flow *flow);

/* Puts all connections to rest that have nothing under way, as happens to some when there are many
 * (rest.h): a test sees then that none forgets anything. Returns how many. */
unsigned net_rest(struct net *net);

/* Walks everything and checks what must always hold. NULL, or what is broken. */
const char *net_check(const struct net *net);

#endif

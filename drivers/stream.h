/* Streams: the byte streams of one worker's clients, whatever carries them.
 * Purpose:   one small interface over kernel sockets (io_uring, epoll) and, later, DPDK ports, so
 *            that everything above is the same code. A driver hands over events and takes bytes;
 *            it never calls upwards.
 * Ownership: the driver owns connections and all transmit memory. `conn->user` belongs to the
 *            caller. Bytes of a STREAM_BYTES event stay valid until the next poll of the stream: no
 *            receive buffer survives the turn, so the caller copies what it must keep.
 * Threading: one stream is used by one worker's thread; only wake may be called for the stream of
 *            another worker (with the caller's own stream as first argument). It may be made, given
 *            listeners and connections by another thread before the first poll or flush, which
 *            settles whose it is, and destroyed by another once that thread has ended.
 * Errors:    a connection that fails yields one STREAM_CLOSED and is gone; functions on it before
 *            that event are harmless. Functions return 0 or a negative errno. */
#ifndef DRIVERS_STREAM_H
#define DRIVERS_STREAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STREAM_EVENTS_MAX = 32,        /* events of one poll: a burst, never waited for */
    STREAM_RESERVE_MAX = 16384,    /* largest contiguous room that stream_reserve gives, bytes */
    STREAM_ADDRESS_TEXT_MAX = 128, /* "[v6]:port", or the path of a unix socket, with its NUL */
    STREAM_ERROR_MAX = 256,        /* the line that says why a stream cannot be made */
    STREAM_RX_BUFFERS = 256,       /* defaults of the options */
    STREAM_RX_BUFFER_BYTES = 16384,
    STREAM_FD_NONE = -1,   /* of a connection that never had one */
    STREAM_FD_CLOSED = -2, /* of one that had */
};

enum stream_event_kind {
    STREAM_ACCEPTED, /* a new connection; set conn->user now */
    STREAM_HANDED,   /* a unix socket's acceptor got descriptor `fd`, now the caller's, who chooses
                        a worker; that worker calls adopt */
    STREAM_BYTES,    /* data[0, len_bytes) arrived, in order */
    STREAM_END,      /* the peer sends no more (half-close); output still flows */
    STREAM_DRAINED,  /* all output has gone to the transport after stream_notify_drained */
    STREAM_CLOSED,   /* last event of a connection, also of one that the caller closed: conn is
                        freed at the next poll */
};

/* What the caller sees of a connection; drivers embed it as the first member of their own. */
struct stream_conn {
    void *user;             /* the caller's */
    uint64_t pending_bytes; /* output committed or appended, and not yet sent; read only */
    uint32_t listener_id;   /* of the listener that accepted it; read only */
    int fd;                 /* kernel socket; STREAM_FD_NONE or STREAM_FD_CLOSED; read only */
};

struct stream_event {
    enum stream_event_kind kind;
    int error;                /* STREAM_CLOSED: 0 or the errno that ended it */
    struct stream_conn *conn; /* all but STREAM_HANDED */
    const char *data;         /* STREAM_BYTES */
    uint32_t len_bytes;       /* STREAM_BYTES; at most the size of one receive buffer */
    int fd;                   /* STREAM_HANDED */
    uint32_t listener_id;     /* STREAM_HANDED, STREAM_ACCEPTED */
};

enum stream_close {
    STREAM_CLOSE_FLUSH, /* send what is committed, then close; reading stops at once */
    STREAM_CLOSE_NOW,   /* drop unsent output */
};

/* Counters of one stream; written by its worker, read relaxed by any thread. */
struct stream_counters {
    _Atomic uint64_t rx_bytes, tx_bytes, accepted, accept_errors;
    _Atomic uint64_t rx_events, tx_calls; /* receive completions; send calls or submissions */
    _Atomic uint64_t rx_nobufs;           /* receives put off because no buffer was free */
};

struct config;      /* config/config.h */
struct packet_port; /* drivers/packet.h */
struct kernel_port; /* the driver's own: dataplane/net/kernel_path.h */

struct stream_options {
    unsigned connections_max; /* bound for tables; at least maxclients + 32 */
    unsigned rx_buffers;      /* receive buffers in the ring, power of two (default 256) */
    unsigned rx_buffer_bytes; /* size of each (default 16 KiB) */
    unsigned keepalive_s;     /* tcp-keepalive; 0 is off */
    bool may_sleep;           /* false: poll never blocks */
    bool shares_cpu;          /* other workers are pinned to the same CPU */
    /* For a driver of packet ports; others do not look at them. */
    struct packet_port *port;    /* this worker's queue pair; NULL: it has no network */
    struct kernel_port *kernel;  /* where what is not for it goes; NULL: nowhere */
    const struct config *config; /* addresses and the like */
    char *error;                 /* NULL, or STREAM_ERROR_MAX bytes: why create failed, in words */
};

struct stream;

/* One driver. `create` probes: -ENOSYS or -EPERM when the machine does not offer it, -ENOMEM when a
 * limit is in the way (the caller may choose another); `options->error` names the limit. */
struct stream_driver {
    const char *name;
    bool flush_is_cheap; /* no system call: worth doing as soon as replies are there */
    int (*create)(struct stream **stream, const struct stream_options *options);
    void (*destroy)(struct stream *stream); /* closes every connection and listener */

    /* Accepts on `fd` (bound, listening; the driver's, unless an error is returned). TCP listeners
     * deliver STREAM_ACCEPTED; with `hand_over` (unix sockets) STREAM_HANDED instead. Where
     * descriptors or memory run out, accepting rests for 100 ms; past connections_max a connection
     * is closed at once. Both count in accept_errors. */
    int (*listen)(struct stream *stream, int fd, uint32_t listener_id, bool hand_over);
    /* Accepts on a TCP port of the driver's own addresses; STREAM_ACCEPTED follows as above. NULL for
     * drivers of kernel sockets. */
    int (*listen_port)(struct stream *stream, uint16_t port, uint32_t listener_id);
    int (*unlisten)(struct stream *stream, uint32_t listener_id);
    /* Keepalive of connections accepted on ports from now on. NULL as above: sockets inherit it. */
    void (*set_keepalive)(struct stream *stream, unsigned keepalive_s);
    /* Tells the network whose the addresses of a port of the driver's own are. NULL as above. */
    void (*announce)(struct stream *stream);
    /* Takes over a connected socket; STREAM_ACCEPTED follows at a later poll. Closes fd on
     * failure. */
    int (*adopt)(struct stream *stream, int fd, uint32_t listener_id);

    /* Collects up to `events_max` (1 to STREAM_EVENTS_MAX) events. timeout_us 0: do not wait; < 0:
     * until an event or wake. Returns their number (0 after a wake-up, a time-out, or something
     * that concerns the driver alone) or a negative errno (fatal). Also flushes, so a caller that
     * polls need not call flush before it. */
    int (*poll)(struct stream *stream, struct stream_event *events, unsigned events_max,
                int64_t timeout_us);
    /* Ends the (current or next) sleep of `target`'s poll. Callable from any worker thread with its
     * own stream as `from` (NULL: a thread without one); takes effect at the latest with the next
     * flush or poll of `from`. Cheap to repeat: the caller still avoids it when nobody sleeps. */
    void (*wake)(struct stream *from, struct stream *target);

    /* Contiguous room of at least len_bytes (<= STREAM_RESERVE_MAX); *room_bytes tells how much
     * there is in all. NULL when memory is short or the connection is gone already (then the caller
     * closes it). Valid until the next flush or poll, call on this conn, or reserve or append on
     * any other: a driver may have room for one connection at a time. */
    char *(*reserve)(struct stream *stream, struct stream_conn *conn, size_t len_bytes,
                     size_t *room_bytes);
    void (*commit)(struct stream *stream, struct stream_conn *conn, size_t len_bytes);
    /* Appends caller's memory without copying; release(arg), unless NULL, is called once it is sent
     * or dropped, inside poll, flush, close or destroy, and calls nothing of the stream. On an
     * error the memory stays the caller's. */
    int (*append)(struct stream *stream, struct stream_conn *conn, const char *data,
                  size_t len_bytes, void (*release)(void *arg), void *arg);
    /* Starts sending what was committed since (one batch for all connections). */
    void (*flush)(struct stream *stream);
    /* Asks for one STREAM_DRAINED, as soon as nothing is pending (at once if nothing is now). */
    void (*notify_drained)(struct stream *stream, struct stream_conn *conn);

    /* Back-pressure: while paused no STREAM_BYTES is delivered for conn. Bytes wait in the kernel,
     * apart from those that it had already handed to the driver. */
    void (*pause)(struct stream *stream, struct stream_conn *conn);
    void (*resume)(struct stream *stream, struct stream_conn *conn);
    /* STREAM_CLOSED follows at a later poll; nothing else does. */
    void (*close)(struct stream *stream, struct stream_conn *conn, enum stream_close how);

    /* Texts as CLIENT LIST shows them: "ip:port" / "[ip6]:port" / "/path:0". */
    int (*peer)(struct stream_conn *conn, char text[STREAM_ADDRESS_TEXT_MAX]);
    int (*local)(struct stream_conn *conn, char text[STREAM_ADDRESS_TEXT_MAX]);
    bool (*is_loopback)(struct stream_conn *conn); /* also true for unix sockets (protected mode) */
    const struct stream_counters *(*counters)(const struct stream *stream);
};

/* Adds to a counter that only the calling thread writes: no locked instruction is needed. */
static inline void stream_count(_Atomic uint64_t *counter, uint64_t count)
{
    uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, before + count, memory_order_relaxed);
}

/* The drivers that this build has; NULL for an unknown name. */
const struct stream_driver *stream_driver_find(const char *name);

#endif

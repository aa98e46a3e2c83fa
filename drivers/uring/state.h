/* What the parts of the uring driver share: its stream, connections and listeners.
 * Purpose:   the structs, and the lists that a connection can be on.
 * Ownership: a stream owns all of them. A connection is freed one poll after its STREAM_CLOSED, and
 *            only once no operation of the kernel refers to it, so a completion never names memory
 *            that is gone.
 * Threading: the stream's worker.
 * Errors:    none. */
#ifndef DRIVERS_URING_STATE_H
#define DRIVERS_URING_STATE_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "drivers/stream.h"
#include "drivers/transmit.h"
#include "drivers/uring/buffers.h"
#include "drivers/uring/ring.h"

enum {
    UR_SUBMISSIONS = 256,  /* entries queued before the kernel is entered */
    UR_COMPLETIONS = 4096, /* a burst; beyond it the kernel keeps a list */
    UR_LISTENERS_MAX = 64, /* `bind` addresses and unix sockets of one stream */
    UR_PARTS_MAX = 16,     /* pieces of one sendmsg */
    UR_GATHERS_MAX = 32,   /* sendmsg prepared before the kernel is entered */
    UR_ROUNDS_MAX = 64,    /* without an event in one poll; then its caller has a turn */
    UR_DRAIN_US = 10000,   /* of one wait for the last completions when a stream is destroyed */
    UR_DRAINS_MAX = 200,   /* such waits */
};

/* The low bits of an operation's user_data; the rest is a pointer. */
enum ur_op {
    UR_OP_RECEIVE,     /* connection */
    UR_OP_SEND,        /* connection */
    UR_OP_CANCEL,      /* connection: of either of the two */
    UR_OP_ACCEPT,      /* listener */
    UR_OP_STOP,        /* listener: cancels its accept */
    UR_OP_WOKEN,       /* none: the message of another ring */
    UR_OP_EVENTFD,     /* none: the poll of our own eventfd */
    UR_OP_WAKE_FAILED, /* stream that could not be sent a message */
    UR_OP_MASK = 7,
};

/* What a connection has to do or is. */
enum {
    UR_READY = 1 << 0,        /* linked in the ready list */
    UR_DIRTY = 1 << 1,        /* linked in the dirty list */
    UR_STARVED = 1 << 2,      /* linked in the starved list */
    UR_ACCEPT_DUE = 1 << 3,   /* STREAM_ACCEPTED is to be delivered */
    UR_RECEIVING = 1 << 4,    /* a receive is with the kernel */
    UR_SENDING = 1 << 5,      /* a send is with the kernel, and with it the queue's first bytes */
    UR_STOP_RECEIVE = 1 << 6, /* a cancel of the receive is with the kernel */
    UR_STOP_SEND = 1 << 7,    /* a cancel of the send is */
    UR_PAUSED = 1 << 8,
    UR_ENDED = 1 << 9,    /* the peer sends no more */
    UR_END_DUE = 1 << 10, /* STREAM_END is to be delivered */
    UR_DRAIN_WANTED = 1 << 11,
    UR_DRAIN_DUE = 1 << 12,  /* STREAM_DRAINED is to be delivered */
    UR_CLOSING = 1 << 13,    /* closes once all is sent */
    UR_DEAD = 1 << 14,       /* ends as soon as the kernel has given back its operations */
    UR_CLOSED_DUE = 1 << 15, /* STREAM_CLOSED is to be delivered */
    UR_SUSPECT = 1 << 16,    /* looked dead at the last sweep, and nothing has come since */
};

/* Bytes that arrived for a paused connection, copied so that their buffer can go back. */
struct ur_held {
    struct ur_held *next;
    uint32_t len_bytes;
    char data[];
};

struct ur_conn {
    struct stream_conn base; /* first: the caller's pointer is ours */
    unsigned flags;
    unsigned operations; /* with the kernel */
    struct transmit transmit;
    struct ur_conn *ready_next;
    struct ur_conn *dirty_next;
    struct ur_conn *starved_next;
    struct ur_held *held_first, *held_last;
    struct ur_conn *next, *prev;
    int error;
};

struct ur_listener {
    int fd; /* -1: the place is free */
    uint32_t id;
    bool hand_over;
    bool accepting; /* an accept is with the kernel */
    bool stopped;   /* closes once the kernel has given that back */
    bool stopping;  /* a cancel of it is with the kernel */
    uint64_t retry_at_us;
};

/* What one sendmsg reads; needed until it is submitted. */
struct ur_gather {
    struct msghdr message;
    struct iovec parts[UR_PARTS_MAX];
};

struct ur_list {
    struct ur_conn *first, *last;
};

struct ur_stream {
    struct ring ring;
    struct buffers buffers;
    int wake_fd;
    unsigned conns_max, conns_count;
    unsigned keepalive_s;
    bool may_sleep;
    bool started; /* by its worker */
    bool woken;   /* a wake-up was collected */
    bool eventfd_watched;
    bool listeners_due;       /* one has to be armed */
    unsigned listeners_count; /* places in use are below it */
    unsigned operations;      /* with the kernel, of connections and listeners */
    unsigned gathers_used;
    struct ur_conn *conns;
    struct ur_conn *graves;     /* STREAM_CLOSED delivered: freed at the next poll */
    struct ur_held *given;      /* delivered: freed at the next poll */
    struct ur_conn *sweep_next; /* looked at next; NULL: the first */
    uint64_t sweep_at_us;
    struct ur_list ready;   /* something to deliver */
    struct ur_list dirty;   /* output to be sent */
    struct ur_list starved; /* found no receive buffer */
    struct transmit_pool pool;
    struct stream_counters counters;
    struct ur_listener listeners[UR_LISTENERS_MAX];
    struct ur_gather gathers[UR_GATHERS_MAX];
};

static inline struct ur_stream *ur_of(struct stream *stream)
{
    return (struct ur_stream *)stream;
}

static inline struct ur_conn *ur_conn_of(struct stream_conn *conn)
{
    return (struct ur_conn *)conn;
}

static inline uint64_t ur_tag(const void *pointer, enum ur_op op)
{
    return (uint64_t)(uintptr_t)pointer | (uint64_t)op;
}

static inline struct stream_event ur_event(enum stream_event_kind kind, struct ur_conn *conn)
{
    return (struct stream_event){.kind = kind,
                                 .conn = &conn->base,
                                 .listener_id = conn->base.listener_id,
                                 .fd = -1};
}

#endif

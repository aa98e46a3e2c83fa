#include "drivers/epoll/stream_epoll.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/clock.h"
#include "drivers/socket.h"
#include "drivers/transmit.h"

enum {
    EP_ACCEPTS_MAX = 16,   /* connections taken from one listener in one poll */
    EP_LISTENERS_MAX = 64, /* `bind` addresses and unix sockets of one stream */
    EP_PARTS_MAX = 32,     /* pieces of one sendmsg */
    EP_SEND_MAX = 1 << 20, /* bytes of one connection in one flush; then others have a turn */
};

/* What a connection has to do or is. */
enum {
    EP_READY = 1 << 0,      /* linked in the ready list */
    EP_DIRTY = 1 << 1,      /* linked in the dirty list */
    EP_ACCEPT_DUE = 1 << 2, /* STREAM_ACCEPTED is to be delivered */
    EP_READABLE = 1 << 3,   /* the kernel may have bytes: no new edge comes before all are read */
    EP_HUNG_UP = 1 << 4,    /* the peer has ended: read up to its end, also after a short read */
    EP_PAUSED = 1 << 5,
    EP_ENDED = 1 << 6,   /* STREAM_END was delivered */
    EP_BLOCKED = 1 << 7, /* the socket's send buffer is full: wait for its edge */
    EP_DRAIN_WANTED = 1 << 8,
    EP_DRAIN_DUE = 1 << 9, /* STREAM_DRAINED is to be delivered */
    EP_CLOSING = 1 << 10,  /* closes once all is sent */
    EP_DEAD = 1 << 11,     /* the descriptor is closed, STREAM_CLOSED is to be delivered */
};

struct ep_conn {
    struct stream_conn base; /* first: the caller's pointer is ours */
    struct ep_conn *next, *prev;
    struct ep_conn *ready_next;
    struct ep_conn *dirty_next;
    struct transmit transmit;
    unsigned flags;
    int error;
};

struct ep_listener {
    int fd; /* -1: the place is free */
    uint32_t id;
    bool hand_over;
    uint64_t retry_at_us; /* accepting rests until then; 0: it does not */
};

struct ep_handed {
    int fd;
    uint32_t listener_id;
};

struct ep_list {
    struct ep_conn *first, *last;
};

struct ep_stream {
    int epoll_fd;
    bool only_epoll_wait; /* epoll_pwait2 is not to be had: milliseconds must do */
    int wake_fd;
    unsigned conns_max, conns_count;
    unsigned rx_buffer_bytes;
    unsigned keepalive_s;
    bool may_sleep;
    unsigned listeners_resting;
    unsigned handed_count;
    char *arena; /* the bytes of this turn's events, packed */
    size_t arena_bytes, arena_used;
    struct ep_conn *conns;  /* all that are not in the graveyard */
    struct ep_conn *graves; /* STREAM_CLOSED delivered: freed at the next poll */
    struct ep_list dirty;   /* output committed since the last flush */
    struct ep_list ready;   /* something to deliver, oldest first */
    struct transmit_pool pool;
    struct ep_handed handed[EP_ACCEPTS_MAX];
    struct ep_listener listeners[EP_LISTENERS_MAX];
    struct stream_counters counters;
};

static struct ep_stream *ep_of(struct stream *stream)
{
    return (struct ep_stream *)stream;
}

static struct ep_conn *ep_conn_of(struct stream_conn *conn)
{
    return (struct ep_conn *)conn;
}

/* ---- Connections ----------------------------------------------------------------------------- */

static void ep_make_ready(struct ep_stream *stream, struct ep_conn *conn)
{
    if (conn->flags & EP_READY)
        return;
    conn->flags |= EP_READY;
    conn->ready_next = NULL;
    if (stream->ready.last == NULL)
        stream->ready.first = conn;
    else
        stream->ready.last->ready_next = conn;
    stream->ready.last = conn;
}

static void ep_make_dirty(struct ep_stream *stream, struct ep_conn *conn)
{
    if (conn->flags & EP_DIRTY)
        return;
    conn->flags |= EP_DIRTY;
    conn->dirty_next = NULL;
    if (stream->dirty.last == NULL)
        stream->dirty.first = conn;
    else
        stream->dirty.last->dirty_next = conn;
    stream->dirty.last = conn;
}

/* Ends a connection: nothing is sent or received any more, STREAM_CLOSED follows. */
static void ep_die(struct ep_stream *stream, struct ep_conn *conn, int error)
{
    if (conn->flags & EP_DEAD)
        return;
    conn->flags |= EP_DEAD;
    conn->error = error;
    transmit_drop(&stream->pool, &conn->transmit);
    conn->base.pending_bytes = 0;
    if (error == 0 && !(conn->flags & EP_ENDED))
        socket_discard_input(conn->base.fd);
    /* Closing forgets it too, but only if nobody holds a duplicate. */
    epoll_ctl(stream->epoll_fd, EPOLL_CTL_DEL, conn->base.fd, NULL);
    close(conn->base.fd);
    conn->base.fd = STREAM_FD_CLOSED;
    ep_make_ready(stream, conn);
}

static void ep_conn_free(struct ep_stream *stream, struct ep_conn *conn)
{
    if (conn->prev == NULL)
        stream->conns = conn->next;
    else
        conn->prev->next = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    stream->conns_count--;
    free(conn);
}

static void ep_bury(struct ep_stream *stream)
{
    while (stream->graves != NULL) {
        struct ep_conn *conn = stream->graves;
        stream->graves = conn->ready_next;
        ep_conn_free(stream, conn);
    }
}

/* Takes over a connected, non-blocking socket; closes it on failure. */
static int ep_conn_new(struct ep_stream *stream, int fd, uint32_t listener_id)
{
    int result = -EMFILE;
    struct ep_conn *conn = NULL;

    if (stream->conns_count >= stream->conns_max)
        goto fail;
    result = -ENOMEM;
    conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        goto fail;
    struct epoll_event watch = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = conn};
    if (epoll_ctl(stream->epoll_fd, EPOLL_CTL_ADD, fd, &watch) != 0) {
        result = -errno;
        goto fail;
    }
    conn->base.fd = fd;
    conn->base.listener_id = listener_id;
    conn->next = stream->conns;
    if (conn->next != NULL)
        conn->next->prev = conn;
    stream->conns = conn;
    stream->conns_count++;
    conn->flags = EP_ACCEPT_DUE;
    ep_make_ready(stream, conn);
    return 0;
fail:
    free(conn);
    close(fd);
    return result;
}

static int ep_adopt(struct stream *base, int fd, uint32_t listener_id)
{
    struct ep_stream *stream = ep_of(base);
    int result = socket_set_blocking(fd, false);

    if (result == 0)
        result = socket_set_options(fd, stream->keepalive_s);
    if (result < 0) {
        close(fd);
        return result;
    }
    return ep_conn_new(stream, fd, listener_id);
}

/* ---- Output ---------------------------------------------------------------------------------- */

static void ep_all_sent(struct ep_stream *stream, struct ep_conn *conn)
{
    /* An unused reservation or an empty append is still there. */
    transmit_sent(&stream->pool, &conn->transmit, 0);
    if (conn->flags & EP_CLOSING) {
        ep_die(stream, conn, 0);
    } else if (conn->flags & EP_DRAIN_WANTED) {
        conn->flags = (conn->flags & ~(unsigned)EP_DRAIN_WANTED) | EP_DRAIN_DUE;
        ep_make_ready(stream, conn);
    }
}

static ssize_t ep_send_once(struct ep_stream *stream, struct ep_conn *conn)
{
    struct iovec parts[EP_PARTS_MAX];
    unsigned count = transmit_next(&conn->transmit, parts, EP_PARTS_MAX);
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};

    stream_count(&stream->counters.tx_calls, 1);
    if (count == 1)
        return send(conn->base.fd, parts[0].iov_base, parts[0].iov_len,
                    MSG_NOSIGNAL | MSG_DONTWAIT);
    return sendmsg(conn->base.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Sends until all has gone or the socket is full. After a short send it asks again, as only a
 * refusal promises an edge when there is room. */
static void ep_send(struct ep_stream *stream, struct ep_conn *conn)
{
    size_t sent_bytes = 0;

    while (conn->base.pending_bytes > 0) {
        if (sent_bytes >= EP_SEND_MAX) {
            ep_make_dirty(stream, conn);
            return;
        }
        ssize_t result = ep_send_once(stream, conn);
        if (result < 0 && errno == EINTR)
            continue;
        if (result < 0 && errno == EAGAIN) {
            conn->flags |= EP_BLOCKED;
            return;
        }
        if (result < 0) {
            ep_die(stream, conn, errno);
            return;
        }
        transmit_sent(&stream->pool, &conn->transmit, (size_t)result);
        conn->base.pending_bytes -= (uint64_t)result;
        sent_bytes += (size_t)result;
        stream_count(&stream->counters.tx_bytes, (uint64_t)result);
    }
    ep_all_sent(stream, conn);
}

static void ep_flush(struct stream *base)
{
    struct ep_stream *stream = ep_of(base);
    struct ep_conn *conn = stream->dirty.first;

    stream->dirty = (struct ep_list){NULL, NULL};
    while (conn != NULL) {
        struct ep_conn *next = conn->dirty_next;
        conn->flags &= ~(unsigned)EP_DIRTY;
        if (!(conn->flags & (EP_DEAD | EP_BLOCKED)))
            ep_send(stream, conn);
        conn = next;
    }
}

static char *ep_reserve(struct stream *base, struct stream_conn *conn, size_t len_bytes,
                        size_t *room_bytes)
{
    struct ep_stream *stream = ep_of(base);
    struct ep_conn *own = ep_conn_of(conn);

    if (own->flags & EP_DEAD)
        return NULL;
    ep_make_dirty(stream, own);
    return transmit_reserve(&stream->pool, &own->transmit, len_bytes, room_bytes);
}

static void ep_commit(struct stream *base, struct stream_conn *conn, size_t len_bytes)
{
    transmit_commit(&ep_conn_of(conn)->transmit, len_bytes);
    conn->pending_bytes += len_bytes;
}

static int ep_append(struct stream *base, struct stream_conn *conn, const char *data,
                     size_t len_bytes, void (*release)(void *arg), void *arg)
{
    struct ep_stream *stream = ep_of(base);
    struct ep_conn *own = ep_conn_of(conn);

    if (own->flags & EP_DEAD)
        return -EPIPE;
    int result = transmit_append(&stream->pool, &own->transmit, data, len_bytes, release, arg);
    if (result < 0)
        return result;
    conn->pending_bytes += len_bytes;
    ep_make_dirty(stream, own);
    return 0;
}

static void ep_notify_drained(struct stream *base, struct stream_conn *conn)
{
    struct ep_conn *own = ep_conn_of(conn);

    if (own->flags & EP_DEAD)
        return;
    own->flags |= EP_DRAIN_WANTED;
    if (conn->pending_bytes == 0)
        ep_make_dirty(ep_of(base), own); /* the next flush finds that all is sent */
}

/* ---- Listeners ------------------------------------------------------------------------------- */

/* Listeners and the wake-up are told from connections by the low bit of what epoll hands back. */
static void *ep_listener_tag(struct ep_listener *listener)
{
    return (char *)listener + 1;
}

static int ep_watch_listener(struct ep_stream *stream, struct ep_listener *listener)
{
    struct epoll_event watch = {.events = EPOLLIN, .data.ptr = ep_listener_tag(listener)};

    return epoll_ctl(stream->epoll_fd, EPOLL_CTL_ADD, listener->fd, &watch) == 0 ? 0 : -errno;
}

static int ep_listen(struct stream *base, int fd, uint32_t listener_id, bool hand_over)
{
    struct ep_stream *stream = ep_of(base);
    struct ep_listener *listener = stream->listeners;
    struct ep_listener *end = listener + EP_LISTENERS_MAX;

    while (listener < end && listener->fd >= 0)
        listener++;
    if (listener == end)
        return -ENOSPC;
    int result = socket_set_options(fd, stream->keepalive_s);
    if (result == 0)
        result = socket_set_blocking(fd, false);
    if (result < 0)
        return result;
    *listener = (struct ep_listener){.fd = fd, .id = listener_id, .hand_over = hand_over};
    result = ep_watch_listener(stream, listener);
    if (result < 0)
        listener->fd = -1;
    return result;
}

static int ep_unlisten(struct stream *base, uint32_t listener_id)
{
    struct ep_stream *stream = ep_of(base);

    for (unsigned i = 0; i < EP_LISTENERS_MAX; i++) {
        struct ep_listener *listener = &stream->listeners[i];
        if (listener->fd < 0 || listener->id != listener_id)
            continue;
        if (listener->retry_at_us != 0)
            stream->listeners_resting--;
        close(listener->fd);
        listener->fd = -1;
        return 0;
    }
    return -ENOENT;
}

/* Without descriptors or memory the listener would stay readable and have us spin. */
static void ep_rest_listener(struct ep_stream *stream, struct ep_listener *listener)
{
    epoll_ctl(stream->epoll_fd, EPOLL_CTL_DEL, listener->fd, NULL);
    listener->retry_at_us = clock_now_us() + SOCKET_ACCEPT_RETRY_US;
    stream->listeners_resting++;
}

/* Puts rested listeners back; returns how long the next one has to rest, or -1 for none. */
static int64_t ep_retry_listeners(struct ep_stream *stream)
{
    int64_t next_us = -1;

    if (stream->listeners_resting == 0)
        return -1;
    uint64_t now_us = clock_now_us();
    for (unsigned i = 0; i < EP_LISTENERS_MAX; i++) {
        struct ep_listener *listener = &stream->listeners[i];
        if (listener->fd < 0 || listener->retry_at_us == 0)
            continue;
        if (listener->retry_at_us <= now_us && ep_watch_listener(stream, listener) == 0) {
            listener->retry_at_us = 0;
            stream->listeners_resting--;
            continue;
        }
        if (listener->retry_at_us <= now_us)
            listener->retry_at_us = now_us + SOCKET_ACCEPT_RETRY_US;
        int64_t wait_us = (int64_t)(listener->retry_at_us - now_us);
        if (next_us < 0 || wait_us < next_us)
            next_us = wait_us;
    }
    return next_us;
}

static void ep_accepted(struct ep_stream *stream, struct ep_listener *listener, int fd)
{
    if (listener->hand_over) {
        stream->handed[stream->handed_count++] = (struct ep_handed){fd, listener->id};
        return;
    }
    if (ep_conn_new(stream, fd, listener->id) < 0)
        stream_count(&stream->counters.accept_errors, 1);
    else
        stream_count(&stream->counters.accepted, 1);
}

static void ep_accept(struct ep_stream *stream, struct ep_listener *listener)
{
    if (listener->fd < 0)
        return;
    for (unsigned i = 0; i < EP_ACCEPTS_MAX; i++) {
        if (listener->hand_over && stream->handed_count == EP_ACCEPTS_MAX)
            return;
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            ep_accepted(stream, listener, fd);
            continue;
        }
        if (errno == EAGAIN)
            return;
        stream_count(&stream->counters.accept_errors, 1);
        if (socket_accept_must_wait(errno)) {
            ep_rest_listener(stream, listener);
            return;
        }
    }
}

/* ---- Events ---------------------------------------------------------------------------------- */

static struct stream_event ep_event(enum stream_event_kind kind, struct ep_conn *conn)
{
    return (struct stream_event){.kind = kind,
                                 .conn = &conn->base,
                                 .listener_id = conn->base.listener_id,
                                 .fd = -1};
}

/* Reads once. Returns whether `event` was filled. */
static bool ep_receive(struct ep_stream *stream, struct ep_conn *conn, struct stream_event *event)
{
    char *data = stream->arena + stream->arena_used;
    ssize_t result = recv(conn->base.fd, data, stream->rx_buffer_bytes, MSG_DONTWAIT);

    if (result > 0) {
        stream->arena_used += ((size_t)result + 63) & ~(size_t)63;
        stream_count(&stream->counters.rx_bytes, (uint64_t)result);
        stream_count(&stream->counters.rx_events, 1);
        if ((size_t)result < stream->rx_buffer_bytes && !(conn->flags & EP_HUNG_UP))
            conn->flags &= ~(unsigned)EP_READABLE;
        *event = ep_event(STREAM_BYTES, conn);
        event->data = data;
        event->len_bytes = (uint32_t)result;
        return true;
    }
    if (result == 0) {
        conn->flags = (conn->flags & ~(unsigned)EP_READABLE) | EP_ENDED;
        *event = ep_event(STREAM_END, conn);
        return true;
    }
    if (errno == EAGAIN)
        conn->flags &= ~(unsigned)EP_READABLE;
    else if (errno != EINTR)
        ep_die(stream, conn, errno);
    return false;
}

static bool ep_may_receive(const struct ep_conn *conn)
{
    return (conn->flags & (EP_READABLE | EP_PAUSED | EP_CLOSING | EP_ENDED | EP_DEAD)) ==
           EP_READABLE;
}

/* Delivers the next thing of one ready connection. Returns whether `event` was filled. */
static bool ep_deliver(struct ep_stream *stream, struct ep_conn *conn, struct stream_event *event)
{
    if (conn->flags & EP_ACCEPT_DUE) {
        conn->flags &= ~(unsigned)EP_ACCEPT_DUE;
        *event = ep_event(STREAM_ACCEPTED, conn);
        return true;
    }
    if (conn->flags & EP_DEAD) {
        *event = ep_event(STREAM_CLOSED, conn);
        event->error = conn->error;
        conn->flags |= EP_READY; /* in the graveyard now: it must not be linked again */
        conn->ready_next = stream->graves;
        stream->graves = conn;
        return true;
    }
    if ((conn->flags & EP_DRAIN_DUE) && conn->base.pending_bytes > 0) {
        /* More was committed since. */
        conn->flags = (conn->flags & ~(unsigned)EP_DRAIN_DUE) | EP_DRAIN_WANTED;
    }
    if (conn->flags & EP_DRAIN_DUE) {
        conn->flags &= ~(unsigned)EP_DRAIN_DUE;
        *event = ep_event(STREAM_DRAINED, conn);
        return true;
    }
    if (!ep_may_receive(conn))
        return false;
    if (stream->arena_bytes - stream->arena_used < stream->rx_buffer_bytes) {
        stream_count(&stream->counters.rx_nobufs, 1);
        return false; /* still ready: read at the next turn */
    }
    return ep_receive(stream, conn, event);
}

static bool ep_has_more(const struct ep_conn *conn)
{
    return (conn->flags & (EP_ACCEPT_DUE | EP_DRAIN_DUE | EP_DEAD)) || ep_may_receive(conn);
}

/* Goes once round the connections that were ready at the start, each for one event. */
static unsigned ep_deliver_ready(struct ep_stream *stream, struct stream_event *events,
                                 unsigned events_max)
{
    unsigned count = 0;
    struct ep_conn *last = stream->ready.last;

    while (count < events_max && stream->ready.first != NULL) {
        struct ep_conn *conn = stream->ready.first;
        bool round_done = conn == last;
        stream->ready.first = conn->ready_next;
        if (stream->ready.first == NULL)
            stream->ready.last = NULL;
        conn->flags &= ~(unsigned)EP_READY;
        count += ep_deliver(stream, conn, &events[count]);
        if (ep_has_more(conn))
            ep_make_ready(stream, conn);
        if (round_done)
            break;
    }
    return count;
}

static unsigned ep_deliver_handed(struct ep_stream *stream, struct stream_event *events,
                                  unsigned events_max)
{
    unsigned count = 0;

    while (count < events_max && stream->handed_count > 0) {
        struct ep_handed handed = stream->handed[--stream->handed_count];
        events[count++] = (struct stream_event){.kind = STREAM_HANDED,
                                                .fd = handed.fd,
                                                .listener_id = handed.listener_id};
    }
    return count;
}

/* A reset is seen by recv, except where nobody reads. */
static void ep_check_error(struct ep_stream *stream, struct ep_conn *conn)
{
    int error = 0;
    socklen_t length = sizeof error;

    if (!(conn->flags & (EP_PAUSED | EP_ENDED | EP_CLOSING)))
        return;
    if (getsockopt(conn->base.fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error != 0)
        ep_die(stream, conn, error);
}

static void ep_conn_edge(struct ep_stream *stream, struct ep_conn *conn, uint32_t edges)
{
    if (conn->flags & EP_DEAD)
        return;
    if ((edges & EPOLLOUT) && (conn->flags & EP_BLOCKED)) {
        conn->flags &= ~(unsigned)EP_BLOCKED;
        ep_send(stream, conn);
    }
    if (edges & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        conn->flags |= EP_HUNG_UP | EP_READABLE;
    if (edges & EPOLLIN)
        conn->flags |= EP_READABLE;
    if (edges & EPOLLERR)
        ep_check_error(stream, conn);
    if (ep_has_more(conn))
        ep_make_ready(stream, conn);
}

int stream_epoll_watch(struct stream *base, int fd)
{
    struct epoll_event watch = {.events = EPOLLIN | EPOLLET}; /* as the wake-up */

    return epoll_ctl(ep_of(base)->epoll_fd, EPOLL_CTL_ADD, fd, &watch) == 0 ? 0 : -errno;
}

static int ep_wait(struct ep_stream *stream, struct epoll_event *edges, int64_t timeout_us)
{
    int64_t retry_us = ep_retry_listeners(stream);

    if (retry_us >= 0 && (timeout_us < 0 || retry_us < timeout_us))
        timeout_us = retry_us;
    if (stream->ready.first != NULL || stream->dirty.first != NULL || stream->handed_count > 0 ||
        !stream->may_sleep)
        timeout_us = 0;
    struct timespec timeout = {.tv_sec = timeout_us / 1000000,
                               .tv_nsec = timeout_us % 1000000 * 1000};
    int count;
    if (timeout_us == 0 || stream->only_epoll_wait) {
        int64_t timeout_ms = timeout_us < 0 ? -1 : (timeout_us + 999) / 1000;
        count = epoll_wait(stream->epoll_fd, edges, STREAM_EVENTS_MAX, (int)timeout_ms);
    } else {
        count = epoll_pwait2(stream->epoll_fd, edges, STREAM_EVENTS_MAX,
                             timeout_us < 0 ? NULL : &timeout, NULL);
        if (count < 0 && (errno == ENOSYS || errno == EPERM)) {
            /* Before Linux 5.11, under a filter that does not know it, or under valgrind. */
            stream->only_epoll_wait = true;
            return 0;
        }
    }
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    return count;
}

static int ep_poll(struct stream *base, struct stream_event *events, unsigned events_max,
                   int64_t timeout_us)
{
    struct ep_stream *stream = ep_of(base);
    struct epoll_event edges[STREAM_EVENTS_MAX];

    assert(events_max > 0 && events_max <= STREAM_EVENTS_MAX);
    ep_flush(base); /* before the graves: it unlinks the dead from the dirty list */
    ep_bury(stream);
    stream->arena_used = 0;
    int count = ep_wait(stream, edges, timeout_us);
    if (count < 0)
        return count;
    for (int i = 0; i < count; i++) {
        char *tagged = edges[i].data.ptr;
        if (tagged == NULL)
            continue; /* the wake-up: being awake is all it asks for */
        if ((uintptr_t)tagged & 1)
            ep_accept(stream, (struct ep_listener *)(tagged - 1));
        else
            ep_conn_edge(stream, (struct ep_conn *)tagged, edges[i].events);
    }
    unsigned filled = ep_deliver_handed(stream, events, events_max);
    return (int)(filled + ep_deliver_ready(stream, events + filled, events_max - filled));
}

/* The descriptor is edge-triggered, so each write ends one sleep and nobody needs to read it. */
static void ep_wake(struct stream *from, struct stream *target)
{
    uint64_t one = 1;
    ssize_t written = write(ep_of(target)->wake_fd, &one, sizeof one);

    assert(written == sizeof one || errno == EAGAIN); /* EAGAIN after 2^64 wake-ups */
}

/* ---- Back-pressure and closing --------------------------------------------------------------- */

static void ep_pause(struct stream *base, struct stream_conn *conn)
{
    ep_conn_of(conn)->flags |= EP_PAUSED;
}

static void ep_resume(struct stream *base, struct stream_conn *conn)
{
    struct ep_conn *own = ep_conn_of(conn);

    own->flags &= ~(unsigned)EP_PAUSED;
    if (ep_may_receive(own))
        ep_make_ready(ep_of(base), own);
}

static void ep_close(struct stream *base, struct stream_conn *conn, enum stream_close how)
{
    struct ep_conn *own = ep_conn_of(conn);

    if (own->flags & EP_DEAD)
        return;
    own->flags &= ~(unsigned)(EP_DRAIN_WANTED | EP_DRAIN_DUE);
    if (how == STREAM_CLOSE_NOW || conn->pending_bytes == 0)
        ep_die(ep_of(base), own, 0);
    else
        own->flags |= EP_CLOSING;
}

static int ep_peer(struct stream_conn *conn, char text[STREAM_ADDRESS_TEXT_MAX])
{
    return socket_peer(conn->fd, text);
}

static int ep_local(struct stream_conn *conn, char text[STREAM_ADDRESS_TEXT_MAX])
{
    return socket_local(conn->fd, text);
}

static bool ep_is_loopback(struct stream_conn *conn)
{
    return socket_is_loopback(conn->fd);
}

static const struct stream_counters *ep_counters(const struct stream *base)
{
    return &((const struct ep_stream *)base)->counters;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static void ep_destroy(struct stream *base)
{
    struct ep_stream *stream = ep_of(base);

    if (stream == NULL)
        return;
    for (struct ep_conn *conn = stream->conns; conn != NULL; conn = conn->next)
        ep_die(stream, conn, 0);
    while (stream->conns != NULL)
        ep_conn_free(stream, stream->conns);
    for (unsigned i = 0; i < EP_LISTENERS_MAX; i++) {
        if (stream->listeners[i].fd >= 0)
            close(stream->listeners[i].fd);
    }
    while (stream->handed_count > 0)
        close(stream->handed[--stream->handed_count].fd);
    if (stream->wake_fd >= 0)
        close(stream->wake_fd);
    if (stream->epoll_fd >= 0)
        close(stream->epoll_fd);
    transmit_pool_fini(&stream->pool);
    free(stream->arena);
    free(stream);
}

static int ep_open(struct ep_stream *stream)
{
    struct epoll_event watch = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};

    stream->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (stream->epoll_fd < 0)
        return -errno;
    stream->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (stream->wake_fd < 0)
        return -errno;
    if (epoll_ctl(stream->epoll_fd, EPOLL_CTL_ADD, stream->wake_fd, &watch) != 0)
        return -errno;
    stream->arena = malloc(stream->arena_bytes);
    return stream->arena == NULL ? -ENOMEM : 0;
}

static int ep_create(struct stream **out, const struct stream_options *options)
{
    struct ep_stream *stream = calloc(1, sizeof *stream);
    unsigned rx_buffers = options->rx_buffers == 0 ? STREAM_RX_BUFFERS : options->rx_buffers;

    *out = NULL;
    if (stream == NULL)
        return -ENOMEM;
    stream->epoll_fd = -1;
    stream->wake_fd = -1;
    for (unsigned i = 0; i < EP_LISTENERS_MAX; i++)
        stream->listeners[i].fd = -1;
    stream->conns_max = options->connections_max;
    stream->keepalive_s = options->keepalive_s;
    stream->may_sleep = options->may_sleep;
    stream->rx_buffer_bytes =
        options->rx_buffer_bytes == 0 ? STREAM_RX_BUFFER_BYTES : options->rx_buffer_bytes;
    /* More than one buffer for each event of a turn is never in use here. */
    if (rx_buffers > STREAM_EVENTS_MAX)
        rx_buffers = STREAM_EVENTS_MAX;
    stream->arena_bytes = (size_t)rx_buffers * stream->rx_buffer_bytes;
    transmit_pool_init(&stream->pool);
    int result = ep_open(stream);
    if (result < 0) {
        if (options->error != NULL)
            snprintf(options->error, STREAM_ERROR_MAX, "epoll: %s", strerror(-result));
        ep_destroy((struct stream *)stream);
        return result;
    }
    *out = (struct stream *)stream;
    return 0;
}

const struct stream_driver stream_epoll = {
    .name = "epoll",
    .create = ep_create,
    .destroy = ep_destroy,
    .listen = ep_listen,
    .unlisten = ep_unlisten,
    .adopt = ep_adopt,
    .poll = ep_poll,
    .wake = ep_wake,
    .reserve = ep_reserve,
    .commit = ep_commit,
    .append = ep_append,
    .flush = ep_flush,
    .notify_drained = ep_notify_drained,
    .pause = ep_pause,
    .resume = ep_resume,
    .close = ep_close,
    .peer = ep_peer,
    .local = ep_local,
    .is_loopback = ep_is_loopback,
    .counters = ep_counters,
};

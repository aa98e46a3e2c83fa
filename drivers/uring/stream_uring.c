#include "drivers/uring/stream_uring.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "drivers/clock.h"
#include "drivers/socket.h"
#include "drivers/uring/accept.h"
#include "drivers/uring/conn.h"
#include "drivers/uring/receive.h"
#include "drivers/uring/send.h"
#include "drivers/uring/sweep.h"

/* ---- Wake-ups -------------------------------------------------------------------------------- */

/* Edge-triggered as multishot polls are: each write completes it, and nobody reads. */
static void ur_watch_eventfd(struct ur_stream *stream)
{
    struct io_uring_sqe *entry = ring_entry(&stream->ring);

    stream->eventfd_watched = entry != NULL;
    if (entry == NULL)
        return;
    io_uring_prep_poll_multishot(entry, stream->wake_fd, POLLIN);
    io_uring_sqe_set_data64(entry, ur_tag(NULL, UR_OP_EVENTFD));
}

static void ur_wake_by_eventfd(struct ur_stream *target)
{
    uint64_t one = 1;
    ssize_t written = write(target->wake_fd, &one, sizeof one);

    assert(written == sizeof one || errno == EAGAIN); /* EAGAIN after 2^64 wake-ups */
}

static void ur_wake(struct stream *from, struct stream *target)
{
    struct ur_stream *sender = from == NULL ? NULL : ur_of(from);
    struct io_uring_sqe *entry = NULL;

    if (sender != NULL && sender->started && from != target)
        entry = ring_entry(&sender->ring);
    if (entry == NULL) {
        ur_wake_by_eventfd(ur_of(target));
        return;
    }
    io_uring_prep_msg_ring(entry, ur_of(target)->ring.io.ring_fd, 0, ur_tag(NULL, UR_OP_WOKEN), 0);
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(entry, ur_tag(target, UR_OP_WAKE_FAILED));
}

/* ---- Completions ----------------------------------------------------------------------------- */

static bool ur_complete(struct ur_stream *stream, const struct io_uring_cqe *completion,
                        struct stream_event *event)
{
    void *pointer = (void *)(uintptr_t)(completion->user_data & ~(uint64_t)UR_OP_MASK);
    int result = completion->res;

    switch ((enum ur_op)(completion->user_data & UR_OP_MASK)) {
    case UR_OP_RECEIVE:
        return ur_received(stream, pointer, result, completion->flags, event);
    case UR_OP_SEND:
        ur_sent(stream, pointer, result);
        return false;
    case UR_OP_CANCEL:
        ur_conn_stopped(stream, pointer);
        return false;
    case UR_OP_ACCEPT:
        return ur_accepted(stream, pointer, result, completion->flags, event);
    case UR_OP_STOP:
        ur_accept_stopped(stream, pointer);
        return false;
    case UR_OP_EVENTFD:
        stream->eventfd_watched = (completion->flags & IORING_CQE_F_MORE) != 0;
        stream->woken = true;
        return false;
    case UR_OP_WAKE_FAILED:
        ur_wake_by_eventfd(pointer); /* its queue is full, or its ring not enabled yet */
        return false;
    case UR_OP_WOKEN:
    default:
        stream->woken = true;
        return false;
    }
}

static unsigned ur_collect(struct ur_stream *stream, struct stream_event *events,
                           unsigned events_max)
{
    struct io_uring_cqe *completion;
    unsigned head;
    unsigned seen = 0;
    unsigned count = 0;

    io_uring_for_each_cqe(&stream->ring.io, head, completion)
    {
        if (count == events_max)
            break;
        count += ur_complete(stream, completion, &events[count]);
        seen++;
    }
    io_uring_cq_advance(&stream->ring.io, seen);
    return count;
}

/* ---- What does not come from the kernel ------------------------------------------------------ */

/* Delivers the next thing of one ready connection. Returns whether `event` was filled. */
static bool ur_deliver(struct ur_stream *stream, struct ur_conn *conn, struct stream_event *event)
{
    if (conn->flags & UR_ACCEPT_DUE) {
        conn->flags &= ~(unsigned)UR_ACCEPT_DUE;
        *event = ur_event(STREAM_ACCEPTED, conn);
        ur_receive_start(stream, conn, true);
        return true;
    }
    if (conn->flags & UR_CLOSED_DUE) {
        conn->flags &= ~(unsigned)UR_CLOSED_DUE;
        conn->flags |= UR_READY; /* in the graveyard now: it must not be linked again */
        conn->ready_next = stream->graves;
        stream->graves = conn;
        *event = ur_event(STREAM_CLOSED, conn);
        event->error = conn->error;
        return true;
    }
    ur_conn_stop(stream, conn);
    if (ur_held_is_due(conn)) {
        ur_held_deliver(stream, conn, event);
        return true;
    }
    if ((conn->flags & UR_END_DUE) && conn->held_first == NULL) {
        conn->flags &= ~(unsigned)UR_END_DUE;
        *event = ur_event(STREAM_END, conn);
        return true;
    }
    if ((conn->flags & UR_DRAIN_DUE) && conn->base.pending_bytes > 0) {
        /* More was committed since. */
        conn->flags = (conn->flags & ~(unsigned)UR_DRAIN_DUE) | UR_DRAIN_WANTED;
    }
    if (conn->flags & UR_DRAIN_DUE) {
        conn->flags &= ~(unsigned)UR_DRAIN_DUE;
        *event = ur_event(STREAM_DRAINED, conn);
        return true;
    }
    if (conn->held_first == NULL)
        ur_receive_start(stream, conn, false);
    return false;
}

/* Goes once round the connections that were ready at the start. One that yielded an event may have
 * more, so it comes back. */
static unsigned ur_deliver_ready(struct ur_stream *stream, struct stream_event *events,
                                 unsigned events_max)
{
    struct ur_conn *last = stream->ready.last;
    unsigned count = 0;
    bool done = last == NULL;

    while (!done && count < events_max) {
        struct ur_conn *conn = ur_pop_ready(stream);
        done = conn == last;
        if (ur_deliver(stream, conn, &events[count])) {
            count++;
            ur_make_ready(stream, conn);
        }
    }
    return count;
}

/* ---- The turn -------------------------------------------------------------------------------- */

static int ur_start(struct ur_stream *stream)
{
    int result = ring_enable(&stream->ring);

    if (result < 0)
        return result;
    stream->started = true;
    ur_watch_eventfd(stream);
    return 0;
}

static void ur_flush(struct stream *base)
{
    struct ur_stream *stream = ur_of(base);

    if (!stream->started && ur_start(stream) < 0)
        return; /* the next poll meets and reports the same error */
    ur_send_dirty(stream);
    ring_submit(&stream->ring);
    ur_gathers_release(stream);
}

/* Queues what is to be asked of the kernel; returns how long it may be waited for at most. */
static int64_t ur_prepare(struct ur_stream *stream, int64_t timeout_us)
{
    int64_t rest_us = ur_accept_start(stream);

    if (!stream->eventfd_watched)
        ur_watch_eventfd(stream);
    ur_receive_start_starved(stream);
    ur_send_dirty(stream);
    if (stream->ready.first != NULL || stream->starved.first != NULL ||
        stream->dirty.first != NULL || !stream->may_sleep ||
        io_uring_cq_ready(&stream->ring.io) > 0)
        return 0;
    return rest_us >= 0 && (timeout_us < 0 || rest_us < timeout_us) ? rest_us : timeout_us;
}

/* One round: what is due, then what the kernel has. Returns the number of events, or -errno. */
static int ur_round(struct ur_stream *stream, struct stream_event *events, unsigned events_max,
                    int64_t timeout_us)
{
    unsigned count = ur_deliver_ready(stream, events, events_max);

    timeout_us = ur_prepare(stream, count > 0 ? 0 : timeout_us);
    int result = ring_wait(&stream->ring, timeout_us);
    if (result == -EINTR)
        stream->woken = true; /* the caller may want to know why */
    else if (result < 0)
        return result;
    ur_gathers_release(stream);
    return (int)(count + ur_collect(stream, events + count, events_max - count));
}

static int ur_poll(struct stream *base, struct stream_event *events, unsigned events_max,
                   int64_t timeout_us)
{
    struct ur_stream *stream = ur_of(base);
    int result = stream->started ? 0 : ur_start(stream);

    assert(events_max > 0 && events_max <= STREAM_EVENTS_MAX);
    if (result < 0)
        return result;
    ur_conn_bury(stream);
    ur_held_free_given(stream);
    buffers_publish(&stream->buffers);
    stream->woken = false;
    uint64_t begun_us = clock_now_us();
    uint64_t deadline_us = timeout_us > 0 ? begun_us + (uint64_t)timeout_us : 0;
    ur_sweep(stream, begun_us);
    /* Completions of sends and the like end the kernel's wait, but not ours. */
    for (unsigned rounds = 0; rounds < UR_ROUNDS_MAX; rounds++) {
        result = ur_round(stream, events, events_max, timeout_us);
        if (result != 0 || stream->woken || timeout_us == 0 || !stream->may_sleep)
            return result;
        if (timeout_us < 0)
            continue;
        uint64_t now_us = clock_now_us();
        if (now_us >= deadline_us)
            return 0;
        timeout_us = (int64_t)(deadline_us - now_us);
    }
    return 0;
}

/* ---- Closing, addresses ---------------------------------------------------------------------- */

static void ur_close(struct stream *base, struct stream_conn *conn, enum stream_close how)
{
    struct ur_stream *stream = ur_of(base);
    struct ur_conn *own = ur_conn_of(conn);

    if (own->flags & UR_DEAD)
        return;
    own->flags &= ~(unsigned)(UR_END_DUE | UR_DRAIN_WANTED | UR_DRAIN_DUE);
    if (how == STREAM_CLOSE_NOW || conn->pending_bytes == 0) {
        ur_conn_die(stream, own, 0);
        return;
    }
    own->flags |= UR_CLOSING;
    ur_conn_stop(stream, own);
}

static int ur_peer(struct stream_conn *conn, char text[STREAM_ADDRESS_TEXT_MAX])
{
    return socket_peer(conn->fd, text);
}

static int ur_local(struct stream_conn *conn, char text[STREAM_ADDRESS_TEXT_MAX])
{
    return socket_local(conn->fd, text);
}

static bool ur_is_loopback(struct stream_conn *conn)
{
    return socket_is_loopback(conn->fd);
}

static const struct stream_counters *ur_counters(const struct stream *base)
{
    return &((const struct ur_stream *)base)->counters;
}

/* ---- Life ------------------------------------------------------------------------------------ */

/* Takes back all operations. Where the owner has ended, the kernel has done so already, and what it
 * accepted since is in the queue. Bounded: a socket whose send hangs in the kernel is left to it.
 */
static void ur_drain(struct ur_stream *stream)
{
    struct stream_event events[STREAM_EVENTS_MAX];
    bool owner = stream->ring.owner == gettid();

    ur_unlisten_all(stream);
    for (unsigned i = 0; i < UR_DRAINS_MAX; i++) {
        int count = (int)ur_collect(stream, events, STREAM_EVENTS_MAX);
        for (int k = 0; k < count; k++) {
            if (events[k].kind == STREAM_HANDED)
                close(events[k].fd);
        }
        for (struct ur_conn *conn = stream->conns; conn != NULL; conn = conn->next)
            ur_conn_die(stream, conn, 0);
        if (count > 0)
            continue;
        if (stream->operations == 0 || !owner)
            return;
        buffers_publish(&stream->buffers);
        ring_wait(&stream->ring, UR_DRAIN_US);
    }
}

static void ur_destroy(struct stream *base)
{
    struct ur_stream *stream = ur_of(base);

    if (stream == NULL)
        return;
    if (stream->started)
        ur_drain(stream);
    ring_close(&stream->ring);
    while (ur_pop_dirty(stream) != NULL || ur_pop_starved(stream) != NULL)
        continue;
    while (stream->conns != NULL)
        ur_conn_free(stream, stream->conns);
    ur_held_free_given(stream);
    for (unsigned i = 0; i < UR_LISTENERS_MAX; i++) {
        if (stream->listeners[i].fd >= 0)
            close(stream->listeners[i].fd);
    }
    buffers_fini(&stream->buffers);
    transmit_pool_fini(&stream->pool);
    close(stream->wake_fd);
    free(stream);
}

static int ur_init(struct ur_stream *stream, const struct stream_options *options, char *error)
{
    unsigned rx_buffers = options->rx_buffers == 0 ? STREAM_RX_BUFFERS : options->rx_buffers;
    unsigned rx_bytes =
        options->rx_buffer_bytes == 0 ? STREAM_RX_BUFFER_BYTES : options->rx_buffer_bytes;
    int result = ring_open(&stream->ring, UR_SUBMISSIONS, UR_COMPLETIONS, error, STREAM_ERROR_MAX);

    if (result < 0)
        return result;
    result = buffers_init(&stream->buffers, &stream->ring, rx_buffers, rx_bytes);
    if (result < 0) {
        snprintf(error, STREAM_ERROR_MAX, "io_uring: receive buffers: %s", strerror(-result));
        goto fail;
    }
    stream->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (stream->wake_fd < 0) {
        result = -errno;
        snprintf(error, STREAM_ERROR_MAX, "io_uring: eventfd: %s", strerror(-result));
        goto fail;
    }
    return 0;
fail:
    ring_close(&stream->ring);
    buffers_fini(&stream->buffers);
    return result;
}

static int ur_create(struct stream **out, const struct stream_options *options)
{
    struct ur_stream *stream = calloc(1, sizeof *stream);
    char error[STREAM_ERROR_MAX] = "";

    *out = NULL;
    if (stream == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < UR_LISTENERS_MAX; i++)
        stream->listeners[i].fd = -1;
    stream->conns_max = options->connections_max;
    stream->keepalive_s = options->keepalive_s;
    stream->may_sleep = options->may_sleep;
    transmit_pool_init(&stream->pool);
    int result = ur_init(stream, options, error);
    if (result < 0) {
        if (options->error != NULL)
            memcpy(options->error, error, sizeof error);
        free(stream);
        return result;
    }
    *out = (struct stream *)stream;
    return 0;
}

const struct stream_driver stream_uring = {
    .name = "uring",
    .create = ur_create,
    .destroy = ur_destroy,
    .listen = ur_listen,
    .unlisten = ur_unlisten,
    .adopt = ur_adopt,
    .poll = ur_poll,
    .wake = ur_wake,
    .reserve = ur_reserve,
    .commit = ur_commit,
    .append = ur_append,
    .flush = ur_flush,
    .notify_drained = ur_notify_drained,
    .pause = ur_pause,
    .resume = ur_resume,
    .close = ur_close,
    .peer = ur_peer,
    .local = ur_local,
    .is_loopback = ur_is_loopback,
    .counters = ur_counters,
};

#include "drivers/uring/accept.h"

#include <errno.h>
#include <unistd.h>

#include "drivers/clock.h"
#include "drivers/socket.h"
#include "drivers/uring/conn.h"
#include "drivers/uring/receive.h"

int ur_listen(struct stream *base, int fd, uint32_t listener_id, bool hand_over)
{
    struct ur_stream *stream = ur_of(base);
    unsigned place = 0;

    while (place < UR_LISTENERS_MAX && stream->listeners[place].fd >= 0)
        place++;
    if (place == UR_LISTENERS_MAX)
        return -ENOSPC;
    /* io_uring hands EAGAIN of a non-blocking socket on to us instead of waiting. */
    int result = socket_set_blocking(fd, true);
    if (result == 0)
        result = socket_set_options(fd, stream->keepalive_s);
    if (result < 0)
        return result;
    stream->listeners[place] =
        (struct ur_listener){.fd = fd, .id = listener_id, .hand_over = hand_over};
    if (stream->listeners_count <= place)
        stream->listeners_count = place + 1;
    stream->listeners_due = true;
    return 0;
}

static void ur_listener_close(struct ur_listener *listener)
{
    close(listener->fd);
    listener->fd = -1;
}

/* Where no entry is to be had, ur_accept_start tries again. */
static void ur_accept_stop(struct ur_stream *stream, struct ur_listener *listener)
{
    struct io_uring_sqe *entry = ring_entry(&stream->ring);

    stream->listeners_due = entry == NULL || stream->listeners_due;
    if (entry == NULL)
        return;
    io_uring_prep_cancel64(entry, ur_tag(listener, UR_OP_ACCEPT), 0);
    io_uring_sqe_set_data64(entry, ur_tag(listener, UR_OP_STOP));
    listener->stopping = true;
    stream->operations++;
}

static void ur_listener_stop(struct ur_stream *stream, struct ur_listener *listener)
{
    if (listener->stopped)
        return;
    listener->stopped = true;
    if (listener->accepting)
        ur_accept_stop(stream, listener);
    else
        ur_listener_close(listener);
}

int ur_unlisten(struct stream *base, uint32_t listener_id)
{
    struct ur_stream *stream = ur_of(base);

    for (unsigned i = 0; i < stream->listeners_count; i++) {
        struct ur_listener *listener = &stream->listeners[i];
        if (listener->fd < 0 || listener->id != listener_id || listener->stopped)
            continue;
        ur_listener_stop(stream, listener);
        return 0;
    }
    return -ENOENT;
}

void ur_unlisten_all(struct ur_stream *stream)
{
    for (unsigned i = 0; i < stream->listeners_count; i++) {
        if (stream->listeners[i].fd >= 0)
            ur_listener_stop(stream, &stream->listeners[i]);
    }
}

int ur_adopt(struct stream *base, int fd, uint32_t listener_id)
{
    struct ur_stream *stream = ur_of(base);
    int result = socket_set_blocking(fd, true);

    if (result == 0)
        result = socket_set_options(fd, stream->keepalive_s);
    if (result < 0) {
        close(fd);
        return result;
    }
    struct ur_conn *conn = ur_conn_new(stream, fd, listener_id, &result);
    if (conn == NULL)
        return result;
    conn->flags |= UR_ACCEPT_DUE;
    ur_make_ready(stream, conn);
    return 0;
}

/* ---- Operations ------------------------------------------------------------------------------ */

static void ur_accept_arm(struct ur_stream *stream, struct ur_listener *listener)
{
    struct io_uring_sqe *entry = ring_entry(&stream->ring);

    if (entry == NULL) {
        stream->listeners_due = true;
        return;
    }
    io_uring_prep_multishot_accept(entry, listener->fd, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(entry, ur_tag(listener, UR_OP_ACCEPT));
    listener->accepting = true;
    listener->retry_at_us = 0;
    stream->operations++;
}

int64_t ur_accept_start(struct ur_stream *stream)
{
    int64_t next_us = -1;

    if (!stream->listeners_due)
        return -1;
    stream->listeners_due = false;
    uint64_t now_us = clock_now_us();
    for (unsigned i = 0; i < stream->listeners_count; i++) {
        struct ur_listener *listener = &stream->listeners[i];
        if (listener->fd < 0)
            continue;
        if (listener->stopped && listener->accepting && !listener->stopping)
            ur_accept_stop(stream, listener);
        if (listener->stopped || listener->accepting)
            continue;
        if (listener->retry_at_us <= now_us) {
            ur_accept_arm(stream, listener);
            continue;
        }
        int64_t wait_us = (int64_t)(listener->retry_at_us - now_us);
        next_us = next_us < 0 || wait_us < next_us ? wait_us : next_us;
        stream->listeners_due = true;
    }
    return next_us;
}

static bool ur_accepted_socket(struct ur_stream *stream, const struct ur_listener *listener, int fd,
                               struct stream_event *event)
{
    int result;

    if (listener->stopped) {
        close(fd);
        return false;
    }
    if (listener->hand_over) {
        *event =
            (struct stream_event){.kind = STREAM_HANDED, .fd = fd, .listener_id = listener->id};
        return true;
    }
    struct ur_conn *conn = ur_conn_new(stream, fd, listener->id, &result);
    if (conn == NULL) {
        stream_count(&stream->counters.accept_errors, 1);
        return false;
    }
    stream_count(&stream->counters.accepted, 1);
    ur_receive_start(stream, conn, true);
    *event = ur_event(STREAM_ACCEPTED, conn);
    return true;
}

bool ur_accepted(struct ur_stream *stream, struct ur_listener *listener, int result, unsigned flags,
                 struct stream_event *event)
{
    bool filled = false;

    if (result >= 0) {
        filled = ur_accepted_socket(stream, listener, result, event);
    } else if (!listener->stopped) {
        stream_count(&stream->counters.accept_errors, 1);
        if (socket_accept_must_wait(-result))
            listener->retry_at_us = clock_now_us() + SOCKET_ACCEPT_RETRY_US;
    }
    if (flags & IORING_CQE_F_MORE)
        return filled;
    listener->accepting = false;
    stream->operations--;
    if (!listener->stopped)
        stream->listeners_due = true;
    else if (!listener->stopping)
        ur_listener_close(listener);
    return filled;
}

/* The place stays taken until both completions are in, so that neither can meet a new listener. */
void ur_accept_stopped(struct ur_stream *stream, struct ur_listener *listener)
{
    listener->stopping = false;
    stream->operations--;
    if (!listener->accepting)
        ur_listener_close(listener);
    else
        stream->listeners_due = true; /* the cancel missed it */
}

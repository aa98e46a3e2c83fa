#include "drivers/uring/receive.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/uring/conn.h"

static bool ur_may_receive(const struct ur_conn *conn)
{
    const unsigned against = UR_RECEIVING | UR_ENDED | UR_PAUSED | UR_CLOSING | UR_DEAD;

    return (conn->flags & against) == 0;
}

void ur_receive_start(struct ur_stream *stream, struct ur_conn *conn, bool idle)
{
    if (!ur_may_receive(conn))
        return;
    struct io_uring_sqe *entry = ring_entry(&stream->ring);
    if (entry == NULL) {
        ur_make_starved(stream, conn);
        return;
    }
    io_uring_prep_recv_multishot(entry, conn->base.fd, NULL, 0, 0);
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = BUFFERS_GROUP;
    if (idle)
        entry->ioprio |= IORING_RECVSEND_POLL_FIRST;
    io_uring_sqe_set_data64(entry, ur_tag(conn, UR_OP_RECEIVE));
    ur_conn_lend(stream, conn, UR_RECEIVING);
}

/* More receives than buffers would only find none again: with thousands of connections that would
 * cost more than all the rest. */
void ur_receive_start_starved(struct ur_stream *stream)
{
    unsigned unread = io_uring_cq_ready(&stream->ring.io);
    unsigned free = buffers_free(&stream->buffers);

    while (stream->starved.first != NULL && free > unread) {
        ur_receive_start(stream, ur_pop_starved(stream), false);
        free--;
    }
}

/* ---- Held bytes ------------------------------------------------------------------------------ */

static void ur_hold(struct ur_stream *stream, struct ur_conn *conn, const char *data,
                    uint32_t len_bytes)
{
    struct ur_held *held = malloc(sizeof *held + len_bytes);

    if (held == NULL) {
        ur_conn_die(stream, conn, ENOMEM);
        return;
    }
    held->next = NULL;
    held->len_bytes = len_bytes;
    memcpy(held->data, data, len_bytes);
    if (conn->held_last == NULL)
        conn->held_first = held;
    else
        conn->held_last->next = held;
    conn->held_last = held;
    ur_conn_stop(stream, conn); /* from now on bytes wait in the socket */
}

bool ur_held_is_due(const struct ur_conn *conn)
{
    return conn->held_first != NULL && !(conn->flags & (UR_PAUSED | UR_CLOSING | UR_DEAD));
}

void ur_held_deliver(struct ur_stream *stream, struct ur_conn *conn, struct stream_event *event)
{
    struct ur_held *held = conn->held_first;

    conn->held_first = held->next;
    if (conn->held_first == NULL)
        conn->held_last = NULL;
    held->next = stream->given;
    stream->given = held;
    *event = ur_event(STREAM_BYTES, conn);
    event->data = held->data;
    event->len_bytes = held->len_bytes;
}

void ur_held_free_given(struct ur_stream *stream)
{
    while (stream->given != NULL) {
        struct ur_held *held = stream->given;
        stream->given = held->next;
        free(held);
    }
}

/* ---- Completions ----------------------------------------------------------------------------- */

static bool ur_bytes(struct ur_stream *stream, struct ur_conn *conn, unsigned id,
                     uint32_t len_bytes, struct stream_event *event)
{
    const char *data = buffers_data(&stream->buffers, id);

    stream_count(&stream->counters.rx_bytes, len_bytes);
    stream_count(&stream->counters.rx_events, 1);
    if (conn->flags & (UR_DEAD | UR_CLOSING))
        return false;
    if ((conn->flags & UR_PAUSED) || conn->held_first != NULL) {
        ur_hold(stream, conn, data, len_bytes);
        return false;
    }
    *event = ur_event(STREAM_BYTES, conn);
    event->data = data;
    event->len_bytes = len_bytes;
    return true;
}

static bool ur_end(struct ur_stream *stream, struct ur_conn *conn, struct stream_event *event)
{
    conn->flags |= UR_ENDED;
    if (conn->flags & (UR_DEAD | UR_CLOSING))
        return false;
    if (conn->held_first != NULL) {
        conn->flags |= UR_END_DUE;
        ur_make_ready(stream, conn);
        return false;
    }
    *event = ur_event(STREAM_END, conn);
    return true;
}

static void ur_receive_failed(struct ur_stream *stream, struct ur_conn *conn, int result)
{
    switch (-result) {
    case ENOBUFS:
        stream->buffers.ran_out = true;
        stream_count(&stream->counters.rx_nobufs, 1);
        if (ur_may_receive(conn))
            ur_make_starved(stream, conn);
        break;
    case ECANCELED: /* by us, for a pause that may be over already */
    case EAGAIN:
    case EINTR:
        ur_receive_start(stream, conn, false);
        break;
    default:
        ur_conn_die(stream, conn, -result);
    }
}

bool ur_received(struct ur_stream *stream, struct ur_conn *conn, int result, unsigned flags,
                 struct stream_event *event)
{
    bool more = (flags & IORING_CQE_F_MORE) != 0;
    bool filled = false;

    conn->flags &= ~(unsigned)UR_SUSPECT;
    if (flags & IORING_CQE_F_BUFFER)
        buffers_take(&stream->buffers, flags >> IORING_CQE_BUFFER_SHIFT);
    if (result > 0)
        filled = ur_bytes(stream, conn, flags >> IORING_CQE_BUFFER_SHIFT, (uint32_t)result, event);
    else if (result == 0)
        filled = ur_end(stream, conn, event);
    if (more)
        return filled;
    ur_conn_return(stream, conn, UR_RECEIVING);
    if (result < 0)
        ur_receive_failed(stream, conn, result);
    else
        ur_receive_start(stream, conn, false); /* the kernel ends a multishot when it likes */
    return filled;
}

/* ---- Back-pressure --------------------------------------------------------------------------- */

/* The receive stays with the kernel until bytes come: most pauses are shorter than that. */
void ur_pause(struct stream *base, struct stream_conn *conn)
{
    ur_conn_of(conn)->flags |= UR_PAUSED;
}

void ur_resume(struct stream *base, struct stream_conn *conn)
{
    struct ur_conn *own = ur_conn_of(conn);

    if (!(own->flags & UR_PAUSED))
        return;
    own->flags &= ~(unsigned)UR_PAUSED;
    if (!(own->flags & UR_DEAD))
        ur_make_ready(ur_of(base), own); /* delivers what is held, or receives again */
}

#include "drivers/uring/send.h"

#include <errno.h>

#include "drivers/uring/conn.h"

void ur_gathers_release(struct ur_stream *stream)
{
    if (io_uring_sq_ready(&stream->ring.io) == 0)
        stream->gathers_used = 0;
}

static struct ur_gather *ur_gather_get(struct ur_stream *stream)
{
    if (stream->gathers_used == UR_GATHERS_MAX) {
        ring_submit(&stream->ring);
        ur_gathers_release(stream);
    }
    if (stream->gathers_used == UR_GATHERS_MAX)
        return NULL;
    return &stream->gathers[stream->gathers_used];
}

/* Queues a send of the next bytes; false when the kernel takes no more for now. */
static bool ur_send_next(struct ur_stream *stream, struct ur_conn *conn)
{
    struct ur_gather *gather = ur_gather_get(stream);

    if (gather == NULL)
        return false;
    unsigned count = transmit_next(&conn->transmit, gather->parts, UR_PARTS_MAX);
    struct io_uring_sqe *entry = ring_entry(&stream->ring);
    if (entry == NULL)
        return false;
    if (count == 1) {
        io_uring_prep_send(entry, conn->base.fd, gather->parts[0].iov_base,
                           gather->parts[0].iov_len, MSG_NOSIGNAL);
    } else {
        stream->gathers_used++;
        gather->message = (struct msghdr){.msg_iov = gather->parts, .msg_iovlen = count};
        io_uring_prep_sendmsg(entry, conn->base.fd, &gather->message, MSG_NOSIGNAL);
    }
    io_uring_sqe_set_data64(entry, ur_tag(conn, UR_OP_SEND));
    ur_conn_lend(stream, conn, UR_SENDING);
    stream_count(&stream->counters.tx_calls, 1);
    return true;
}

static void ur_all_sent(struct ur_stream *stream, struct ur_conn *conn)
{
    /* An unused reservation or an empty append is still there. */
    transmit_sent(&stream->pool, &conn->transmit, 0);
    if (conn->flags & UR_CLOSING) {
        ur_conn_die(stream, conn, 0);
    } else if (conn->flags & UR_DRAIN_WANTED) {
        conn->flags = (conn->flags & ~(unsigned)UR_DRAIN_WANTED) | UR_DRAIN_DUE;
        ur_make_ready(stream, conn);
    }
}

void ur_send_dirty(struct ur_stream *stream)
{
    struct ur_conn *conn;

    while ((conn = ur_pop_dirty(stream)) != NULL) {
        if (conn->flags & (UR_SENDING | UR_DEAD))
            continue;
        if (conn->base.pending_bytes == 0) {
            ur_all_sent(stream, conn);
        } else if (!ur_send_next(stream, conn)) {
            ur_make_dirty(stream, conn);
            return;
        }
    }
}

void ur_sent(struct ur_stream *stream, struct ur_conn *conn, int result)
{
    bool dead = (conn->flags & UR_DEAD) != 0;

    ur_conn_return(stream, conn, UR_SENDING);
    if (dead)
        return;
    if (result < 0 && result != -EAGAIN && result != -EINTR) {
        ur_conn_die(stream, conn, -result);
        return;
    }
    if (result > 0) {
        stream_count(&stream->counters.tx_bytes, (uint64_t)result);
        conn->base.pending_bytes -= (uint64_t)result;
        transmit_sent(&stream->pool, &conn->transmit, (size_t)result);
    }
    if (conn->base.pending_bytes > 0)
        ur_make_dirty(stream, conn);
    else
        ur_all_sent(stream, conn);
}

/* ---- What the worker calls ------------------------------------------------------------------- */

char *ur_reserve(struct stream *base, struct stream_conn *conn, size_t len_bytes,
                 size_t *room_bytes)
{
    struct ur_stream *stream = ur_of(base);
    struct ur_conn *own = ur_conn_of(conn);

    if (own->flags & UR_DEAD)
        return NULL;
    ur_make_dirty(stream, own);
    return transmit_reserve(&stream->pool, &own->transmit, len_bytes, room_bytes);
}

void ur_commit(struct stream *base, struct stream_conn *conn, size_t len_bytes)
{
    transmit_commit(&ur_conn_of(conn)->transmit, len_bytes);
    conn->pending_bytes += len_bytes;
}

int ur_append(struct stream *base, struct stream_conn *conn, const char *data, size_t len_bytes,
              void (*release)(void *arg), void *arg)
{
    struct ur_stream *stream = ur_of(base);
    struct ur_conn *own = ur_conn_of(conn);

    if (own->flags & UR_DEAD)
        return -EPIPE;
    int result = transmit_append(&stream->pool, &own->transmit, data, len_bytes, release, arg);
    if (result < 0)
        return result;
    conn->pending_bytes += len_bytes;
    ur_make_dirty(stream, own);
    return 0;
}

void ur_notify_drained(struct stream *base, struct stream_conn *conn)
{
    struct ur_conn *own = ur_conn_of(conn);

    if (own->flags & UR_DEAD)
        return;
    own->flags |= UR_DRAIN_WANTED;
    if (conn->pending_bytes == 0)
        ur_make_dirty(ur_of(base), own); /* the next poll finds that all is sent */
}

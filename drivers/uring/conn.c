#include "drivers/uring/conn.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "drivers/socket.h"
#include "drivers/uring/sweep.h"

/* ---- Lists ----------------------------------------------------------------------------------- */

void ur_make_ready(struct ur_stream *stream, struct ur_conn *conn)
{
    if (conn->flags & UR_READY)
        return;
    conn->flags |= UR_READY;
    conn->ready_next = NULL;
    if (stream->ready.last == NULL)
        stream->ready.first = conn;
    else
        stream->ready.last->ready_next = conn;
    stream->ready.last = conn;
}

struct ur_conn *ur_pop_ready(struct ur_stream *stream)
{
    struct ur_conn *conn = stream->ready.first;

    if (conn == NULL)
        return NULL;
    stream->ready.first = conn->ready_next;
    if (stream->ready.first == NULL)
        stream->ready.last = NULL;
    conn->flags &= ~(unsigned)UR_READY;
    return conn;
}

void ur_make_dirty(struct ur_stream *stream, struct ur_conn *conn)
{
    if (conn->flags & UR_DIRTY)
        return;
    conn->flags |= UR_DIRTY;
    conn->dirty_next = NULL;
    if (stream->dirty.last == NULL)
        stream->dirty.first = conn;
    else
        stream->dirty.last->dirty_next = conn;
    stream->dirty.last = conn;
}

struct ur_conn *ur_pop_dirty(struct ur_stream *stream)
{
    struct ur_conn *conn = stream->dirty.first;

    if (conn == NULL)
        return NULL;
    stream->dirty.first = conn->dirty_next;
    if (stream->dirty.first == NULL)
        stream->dirty.last = NULL;
    conn->flags &= ~(unsigned)UR_DIRTY;
    return conn;
}

void ur_make_starved(struct ur_stream *stream, struct ur_conn *conn)
{
    if (conn->flags & UR_STARVED)
        return;
    conn->flags |= UR_STARVED;
    conn->starved_next = NULL;
    if (stream->starved.last == NULL)
        stream->starved.first = conn;
    else
        stream->starved.last->starved_next = conn;
    stream->starved.last = conn;
}

struct ur_conn *ur_pop_starved(struct ur_stream *stream)
{
    struct ur_conn *conn = stream->starved.first;

    if (conn == NULL)
        return NULL;
    stream->starved.first = conn->starved_next;
    if (stream->starved.first == NULL)
        stream->starved.last = NULL;
    conn->flags &= ~(unsigned)UR_STARVED;
    return conn;
}

/* ---- Life ------------------------------------------------------------------------------------ */

struct ur_conn *ur_conn_new(struct ur_stream *stream, int fd, uint32_t listener_id, int *result)
{
    struct ur_conn *conn = NULL;

    *result = -EMFILE;
    if (stream->conns_count < stream->conns_max) {
        *result = -ENOMEM;
        conn = calloc(1, sizeof *conn);
    }
    if (conn == NULL) {
        close(fd);
        return NULL;
    }
    conn->base.fd = fd;
    conn->base.listener_id = listener_id;
    conn->next = stream->conns;
    if (conn->next != NULL)
        conn->next->prev = conn;
    stream->conns = conn;
    stream->conns_count++;
    *result = 0;
    return conn;
}

static void ur_drop_held(struct ur_conn *conn)
{
    while (conn->held_first != NULL) {
        struct ur_held *held = conn->held_first;
        conn->held_first = held->next;
        free(held);
    }
    conn->held_last = NULL;
}

void ur_conn_free(struct ur_stream *stream, struct ur_conn *conn)
{
    assert(!(conn->flags & (UR_DIRTY | UR_STARVED)));
    if (conn->prev == NULL)
        stream->conns = conn->next;
    else
        conn->prev->next = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    stream->conns_count--;
    ur_sweep_forget(stream, conn);
    transmit_drop(&stream->pool, &conn->transmit);
    ur_drop_held(conn);
    if (conn->base.fd >= 0)
        close(conn->base.fd);
    free(conn);
}

void ur_conn_bury(struct ur_stream *stream)
{
    struct ur_conn *kept = NULL;

    while (stream->graves != NULL) {
        struct ur_conn *conn = stream->graves;
        stream->graves = conn->ready_next;
        /* Its turn on these lists comes within this poll. */
        if (conn->flags & (UR_DIRTY | UR_STARVED)) {
            conn->ready_next = kept;
            kept = conn;
            continue;
        }
        ur_conn_free(stream, conn);
    }
    stream->graves = kept;
}

/* The kernel holds nothing of it any more. */
static void ur_conn_finish(struct ur_stream *stream, struct ur_conn *conn)
{
    transmit_drop(&stream->pool, &conn->transmit);
    if (conn->error == 0 && !(conn->flags & UR_ENDED))
        socket_discard_input(conn->base.fd);
    close(conn->base.fd);
    conn->base.fd = -1;
    conn->flags |= UR_CLOSED_DUE;
    ur_make_ready(stream, conn);
}

void ur_conn_die(struct ur_stream *stream, struct ur_conn *conn, int error)
{
    if (conn->flags & UR_DEAD)
        return;
    conn->flags |= UR_DEAD;
    conn->flags &= ~(unsigned)(UR_END_DUE | UR_DRAIN_WANTED | UR_DRAIN_DUE);
    conn->error = error;
    conn->base.pending_bytes = 0;
    ur_drop_held(conn);
    if (!(conn->flags & UR_SENDING))
        transmit_drop(&stream->pool, &conn->transmit);
    if (conn->operations == 0)
        ur_conn_finish(stream, conn);
    else
        ur_conn_stop(stream, conn);
}

/* ---- Operations ------------------------------------------------------------------------------ */

void ur_conn_lend(struct ur_stream *stream, struct ur_conn *conn, unsigned flag)
{
    assert(!(conn->flags & flag));
    conn->flags |= flag;
    conn->operations++;
    stream->operations++;
}

void ur_conn_return(struct ur_stream *stream, struct ur_conn *conn, unsigned flag)
{
    assert(conn->flags & flag);
    conn->flags &= ~flag;
    conn->operations--;
    stream->operations--;
    if ((conn->flags & UR_DEAD) && conn->operations == 0)
        ur_conn_finish(stream, conn);
}

static bool ur_must_stop_receive(const struct ur_conn *conn)
{
    if ((conn->flags & (UR_RECEIVING | UR_STOP_RECEIVE)) != UR_RECEIVING)
        return false;
    return (conn->flags & (UR_DEAD | UR_CLOSING)) ||
           ((conn->flags & UR_PAUSED) && conn->held_first != NULL);
}

static bool ur_must_stop_send(const struct ur_conn *conn)
{
    return (conn->flags & (UR_SENDING | UR_STOP_SEND | UR_DEAD)) == (UR_SENDING | UR_DEAD);
}

bool ur_conn_must_stop(const struct ur_conn *conn)
{
    return ur_must_stop_receive(conn) || ur_must_stop_send(conn);
}

static void ur_cancel(struct ur_stream *stream, struct ur_conn *conn, enum ur_op op, unsigned flag)
{
    struct io_uring_sqe *entry = ring_entry(&stream->ring);

    if (entry == NULL) {
        ur_make_ready(stream, conn); /* tries again at the next poll */
        return;
    }
    io_uring_prep_cancel64(entry, ur_tag(conn, op), 0);
    io_uring_sqe_set_data64(entry, ur_tag(conn, UR_OP_CANCEL));
    ur_conn_lend(stream, conn, flag);
}

void ur_conn_stop(struct ur_stream *stream, struct ur_conn *conn)
{
    if (ur_must_stop_receive(conn))
        ur_cancel(stream, conn, UR_OP_RECEIVE, UR_STOP_RECEIVE);
    if (ur_must_stop_send(conn))
        ur_cancel(stream, conn, UR_OP_SEND, UR_STOP_SEND);
}

/* The completions of both cancels look alike: the receive's is counted first, which only matters
 * to which of the two is tried again. A cancel can miss an operation that the kernel is just about
 * to start anew: then it is tried again. */
void ur_conn_stopped(struct ur_stream *stream, struct ur_conn *conn)
{
    ur_conn_return(stream, conn, conn->flags & UR_STOP_RECEIVE ? UR_STOP_RECEIVE : UR_STOP_SEND);
    if (ur_conn_must_stop(conn))
        ur_make_ready(stream, conn);
}

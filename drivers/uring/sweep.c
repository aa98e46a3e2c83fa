#include "drivers/uring/sweep.h"

#include <errno.h>
#include <poll.h>

#include "drivers/uring/conn.h"

static bool ur_waits_for_bytes(const struct ur_conn *conn)
{
    const unsigned against = UR_STOP_RECEIVE | UR_PAUSED | UR_ENDED | UR_CLOSING | UR_DEAD;

    return (conn->flags & (UR_RECEIVING | against)) == UR_RECEIVING && conn->held_first == NULL;
}

static unsigned ur_choose(struct ur_stream *stream, struct pollfd *asked, struct ur_conn **conns)
{
    struct ur_conn *conn = stream->sweep_next != NULL ? stream->sweep_next : stream->conns;
    unsigned count = 0;

    for (unsigned seen = 0; conn != NULL && seen < UR_SWEEP_CONNS; seen++, conn = conn->next) {
        if (!ur_waits_for_bytes(conn))
            continue;
        asked[count] = (struct pollfd){.fd = conn->base.fd};
        conns[count++] = conn;
    }
    stream->sweep_next = conn;
    return count;
}

void ur_sweep(struct ur_stream *stream, uint64_t now_us)
{
    struct pollfd asked[UR_SWEEP_CONNS];
    struct ur_conn *conns[UR_SWEEP_CONNS];

    if (now_us < stream->sweep_at_us || io_uring_cq_ready(&stream->ring.io) > 0)
        return;
    stream->sweep_at_us = now_us + UR_SWEEP_US;
    unsigned count = ur_choose(stream, asked, conns);
    if (count == 0 || poll(asked, count, 0) < 0)
        return;
    for (unsigned i = 0; i < count; i++) {
        if (!(asked[i].revents & (POLLERR | POLLHUP)))
            conns[i]->flags &= ~(unsigned)UR_SUSPECT;
        else if (conns[i]->flags & UR_SUSPECT)
            ur_conn_die(stream, conns[i], ECONNRESET);
        else
            conns[i]->flags |= UR_SUSPECT; /* its completion may be on the way: asked again */
    }
}

void ur_sweep_forget(struct ur_stream *stream, const struct ur_conn *conn)
{
    if (stream->sweep_next == conn)
        stream->sweep_next = conn->next;
}

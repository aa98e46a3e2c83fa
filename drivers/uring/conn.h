/* Connections of the uring driver: their life, and the lists that they wait on.
 * Purpose:   from the descriptor to STREAM_CLOSED, whatever the kernel still holds meanwhile.
 * Ownership: drivers/uring/state.h.
 * Threading: the stream's worker.
 * Errors:    a connection that cannot be made closes its descriptor. */
#ifndef DRIVERS_URING_CONN_H
#define DRIVERS_URING_CONN_H

#include "drivers/uring/state.h"

/* Makes a connection of a connected, blocking socket. NULL when there are too many or memory is
 * short; the socket is closed then, and `result` says why. */
struct ur_conn *ur_conn_new(struct ur_stream *stream, int fd, uint32_t listener_id, int *result);
void ur_conn_free(struct ur_stream *stream, struct ur_conn *conn);
void ur_conn_bury(struct ur_stream *stream); /* frees those whose STREAM_CLOSED was delivered */

/* Ends a connection: nothing is sent or delivered any more; STREAM_CLOSED follows when the kernel
 * has given back all operations. */
void ur_conn_die(struct ur_stream *stream, struct ur_conn *conn, int error);

/* Whether an operation that must end is still with the kernel, without a cancel on its way. */
bool ur_conn_must_stop(const struct ur_conn *conn);
/* Cancels the operations that must end. One that cannot be queued leaves ur_conn_must_stop true. */
void ur_conn_stop(struct ur_stream *stream, struct ur_conn *conn);
/* A completion of UR_OP_CANCEL. */
void ur_conn_stopped(struct ur_stream *stream, struct ur_conn *conn);

/* Counts an operation handed to the kernel, and one that came back for good. */
void ur_conn_lend(struct ur_stream *stream, struct ur_conn *conn, unsigned flag);
void ur_conn_return(struct ur_stream *stream, struct ur_conn *conn, unsigned flag);

/* The lists, in order of arrival; adding what is there already does nothing. */
void ur_make_ready(struct ur_stream *stream, struct ur_conn *conn);
void ur_make_dirty(struct ur_stream *stream, struct ur_conn *conn);
void ur_make_starved(struct ur_stream *stream, struct ur_conn *conn);
struct ur_conn *ur_pop_ready(struct ur_stream *stream);
struct ur_conn *ur_pop_dirty(struct ur_stream *stream);
struct ur_conn *ur_pop_starved(struct ur_stream *stream);

#endif

/* Sending of the uring driver: one send of each connection in flight, a batch at a time.
 * Purpose:   the functions of stream_driver that take output, and the completions of sends.
 * Ownership: queued bytes belong to the connection until they are sent or dropped; those of a send
 *            in flight stay where they are until it completes, also if the connection dies.
 * Threading: the stream's worker.
 * Errors:    a send that fails ends the connection. */
#ifndef DRIVERS_URING_SEND_H
#define DRIVERS_URING_SEND_H

#include "drivers/uring/state.h"

/* Queues one send for each connection that has output and none in flight. */
void ur_send_dirty(struct ur_stream *stream);
/* A completion of UR_OP_SEND. */
void ur_sent(struct ur_stream *stream, struct ur_conn *conn, int result);
/* The kernel may have taken all entries: then the memory of prepared sendmsg is free again. */
void ur_gathers_release(struct ur_stream *stream);

char *ur_reserve(struct stream *base, struct stream_conn *conn, size_t len_bytes,
                 size_t *room_bytes);
void ur_commit(struct stream *base, struct stream_conn *conn, size_t len_bytes);
int ur_append(struct stream *base, struct stream_conn *conn, const char *data, size_t len_bytes,
              void (*release)(void *arg), void *arg);
void ur_notify_drained(struct stream *base, struct stream_conn *conn);

#endif

/* Receiving of the uring driver: multishot receives into provided buffers.
 * Purpose:   bytes become events; those of a paused connection are held back.
 * Ownership: an event's bytes are the stream's, until its next poll.
 * Threading: the stream's worker.
 * Errors:    a receive that fails ends the connection. */
#ifndef DRIVERS_URING_RECEIVE_H
#define DRIVERS_URING_RECEIVE_H

#include "drivers/uring/state.h"

/* Has the kernel receive for `conn`, unless it does so already or must not. `idle` says that bytes
 * are not expected to be there yet, which spares the kernel a look. */
void ur_receive_start(struct ur_stream *stream, struct ur_conn *conn, bool idle);
/* Starts those that had found no buffer, as many as there are buffers now. */
void ur_receive_start_starved(struct ur_stream *stream);

/* A completion of UR_OP_RECEIVE. Returns whether `event` was filled. */
bool ur_received(struct ur_stream *stream, struct ur_conn *conn, int result, unsigned flags,
                 struct stream_event *event);

/* Whether held bytes may be delivered; takes the oldest into `event`. */
bool ur_held_is_due(const struct ur_conn *conn);
void ur_held_deliver(struct ur_stream *stream, struct ur_conn *conn, struct stream_event *event);
void ur_held_free_given(struct ur_stream *stream);

void ur_pause(struct stream *base, struct stream_conn *conn);
void ur_resume(struct stream *base, struct stream_conn *conn);

#endif

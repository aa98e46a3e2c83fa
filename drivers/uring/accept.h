/* Accepting of the uring driver: multishot accepts.
 * Purpose:   listeners of one stream.
 * Ownership: the stream owns the descriptors of its listeners.
 * Threading: the stream's worker.
 * Errors:    negative errno. Without descriptors or memory a listener rests. */
#ifndef DRIVERS_URING_ACCEPT_H
#define DRIVERS_URING_ACCEPT_H

#include "drivers/uring/state.h"

int ur_listen(struct stream *base, int fd, uint32_t listener_id, bool hand_over);
int ur_unlisten(struct stream *base, uint32_t listener_id);
void ur_unlisten_all(struct ur_stream *stream);
int ur_adopt(struct stream *base, int fd, uint32_t listener_id);

/* Starts accepting where it does not run; returns how long the next listener rests, or -1. */
int64_t ur_accept_start(struct ur_stream *stream);

/* A completion of UR_OP_ACCEPT. Returns whether `event` was filled. */
bool ur_accepted(struct ur_stream *stream, struct ur_listener *listener, int result, unsigned flags,
                 struct stream_event *event);
/* A completion of UR_OP_STOP. */
void ur_accept_stopped(struct ur_stream *stream, struct ur_listener *listener);

#endif

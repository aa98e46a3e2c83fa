/* Pipes: a stream driver over memory, so that threads or a unit test speak to real workers without
 * sockets, also under valgrind.
 * Purpose:   everything of drivers/stream.h, and for the other end of a connection: connect, send,
 *            receive, and all the ways of going away. Bytes arrive in pieces of random length, sent
 *            ones are taken in pieces as a small socket buffer would.
 * Ownership: a pipe belongs to whoever connected until pipe_close or pipe_reset. Received bytes and
 *            reserved room are blocks of their own and freed at the next poll, so that sanitizers
 *            see who holds on to them. As in the network stack, one connection of a stream has room
 *            at a time: a reply that is still open when another connection reserves ends the program
 *            when it is committed.
 * Threading: the stream is its worker's; a pipe is used by one thread. Between workers nothing is
 *            synchronised but by the mails themselves: wake is a relaxed counter and a futex, so
 *            TSan still sees what the mailboxes order and what they do not.
 * Errors:    without memory the program ends. */
#ifndef TESTS_STRESS_PIPES_H
#define TESTS_STRESS_PIPES_H

#include <sys/types.h>

#include "drivers/stream.h"

enum {
    PIPE_IN_BYTES = 256 * 1024, /* sent and not yet taken by the worker; then pipe_send waits */
    PIPE_OUT_BYTES = 64 * 1024, /* answered and not yet received; then output is pending */
    PIPE_PIECE_BYTES = 16384,
};

struct pipe;

extern const struct stream_driver stream_pipes;

/* Seeds the lengths of pieces, from the next connection on. 0: always as much as there is. Any
 * thread. */
void pipes_tear(struct stream *stream, uint64_t seed);
/* On each connection that is made from now on, `count` calls of reserve find no memory, after
 * `after` that did. The worker's thread. */
void pipes_starve(struct stream *stream, unsigned after, unsigned count);

/* A new connection, as if accepted by that listener. */
struct pipe *pipe_connect(struct stream *stream, uint32_t listener_id);
/* How many bytes were taken within the time, or -EPIPE when the worker has closed. */
ssize_t pipe_send(struct pipe *pipe, const char *data, size_t len_bytes, int64_t timeout_ms);
/* How many bytes, 0 at the end, -ETIMEDOUT, or -EAGAIN with timeout_ms 0 and nothing there. */
ssize_t pipe_receive(struct pipe *pipe, char *to, size_t max_bytes, int64_t timeout_ms);
/* Sends no more; receiving goes on. */
void pipe_end(struct pipe *pipe);
/* As close(2) of a socket: the worker sees the end, and cannot send any more. The pipe is gone. */
void pipe_close(struct pipe *pipe);
/* As a reset: the worker sees the connection closed. The pipe is gone. */
void pipe_reset(struct pipe *pipe);

#endif

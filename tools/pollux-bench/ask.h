/* One question to a server, outside of the load, and reading what it answers.
 * Purpose:   CLUSTER SLOTS before a run, POLLUX GAPS after it, over the run's own transport.
 * Ownership: the caller's buffer holds the reply; a cursor points into it.
 * Threading: one thread, which waits for the answer.
 * Errors:    negative errno; -EPROTO for an error reply or one of another shape, -EMSGSIZE for one
 *            that is too long, -ETIMEDOUT for a server that does not answer. */
#ifndef POLLUX_BENCH_ASK_H
#define POLLUX_BENCH_ASK_H

#include "tools/pollux-bench/transport.h"

enum {
    ASK_REPLY_MAX = 4 << 20, /* bytes of a reply */
    ASK_ANSWER_MAX_S = 10,   /* how long it is waited for */
};

/* Opens a connection, sends `question` (a command in RESP) and waits for the whole reply. Events of
 * other links are dropped. Returns the reply's length. */
int64_t ask_server(struct transport *transport, const struct transport_address *to,
                   const char *question, char *buffer, size_t room);

/* A reading position in a complete reply. */
struct ask_cursor {
    const char *at;
    const char *end;
};

/* Reads a header line of the wanted type. Returns its number, not negative, or -EPROTO. */
int64_t ask_number(struct ask_cursor *cursor, char type);

/* Reads a bulk string of fewer than `room` bytes and ends it with a NUL. */
int ask_bulk(struct ask_cursor *cursor, char *out, size_t room);

/* Passes over whole elements, nested ones included. */
int ask_skip(struct ask_cursor *cursor, int64_t elements);

#endif

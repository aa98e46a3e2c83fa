/* Harness: a node with real workers in this process, whose clients are threads on memory pipes.
 * Purpose:   what stress programs and unit tests of the dataplane share: the node, its workers on
 *            threads or turned by hand, connections that speak RESP, and what must hold at the end.
 * Use:       struct harness *h =
 *                harness_create(&(struct harness_options){.workers = 4, .threads = true});
 *            struct peer *peer = peer_create(h, 0);
 *            peer_send(peer, "SET a %d", 1); peer_answer(peer) ...
 *            peer_close(peer); harness_stop(h); harness_check(h); harness_destroy(h);
 *            Without threads the test calls harness_turn for one worker at a time.
 * Ownership: the harness owns node, workers and configuration; peers are their threads'.
 * Threading: one thread creates, starts, stops; each peer belongs to one thread.
 * Errors:    an answer that does not come within the patience, or is malformed, prints the state of
 *            all workers and ends the program with 1: nothing after it can be trusted. */
#ifndef TESTS_STRESS_HARNESS_H
#define TESTS_STRESS_HARNESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/slots/mailbox.h"
#include "dataplane/worker.h"
#include "tests/stress/pipes.h"

enum { HARNESS_PATIENCE_MS = 10000, PEER_ARGS_MAX = 512 };

struct harness_options {
    uint32_t workers, databases; /* 0: 1 and 16 */
    uint32_t mailbox_size;       /* 0: the default */
    uint64_t tear;               /* seed of the pieces in which bytes arrive; 0: whole */
    bool threads;                /* start the workers */
    int64_t now_unix_ms;         /* without threads: the wall clock stands still; 0: it does not */
    void (*prepare)(struct node *node, void *arg); /* before the workers start: another driver,
                                                    * say, with ports and listeners; or NULL */
    void *arg;
};

struct harness {
    struct node *node;
    bool threads;
    int64_t now_unix_ms; /* as in the options; a test may change it */
    bool long_turns;     /* without threads: every turn has overspent before it begins */
    _Atomic bool stop;   /* for the program's own threads */
};

struct harness *harness_create(const struct harness_options *options);
/* One turn of a worker that has no thread. Returns whether it did anything. */
bool harness_turn(struct harness *harness, uint32_t worker);
/* Turns of all workers, in turn, until none does anything. */
void harness_idle(struct harness *harness);
/* Ends and joins the workers, and settles what they left in their mailboxes. */
void harness_stop(struct harness *harness);
/* After harness_stop, with all peers gone: counts against contents, bits, watches, clients. Prints
 * what is wrong; returns whether all is well. */
bool harness_check(struct harness *harness);
void harness_destroy(struct harness *harness);

/* Of all keys with values and deadlines in all databases, whatever their order; after harness_stop.
 */
uint64_t harness_digest(const struct harness *harness);
int64_t harness_keys(const struct harness *harness); /* by the counts, at any time */
int64_t harness_expires(const struct harness *harness);
/* To standard error: queues, credits and clients of all workers. Looks without asking. */
void harness_print(const struct harness *harness);
/* Prints the text and the state, and ends the program with 1. */
_Noreturn void harness_fail(const struct harness *harness, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The nth key name whose slot this worker owns now. */
void harness_name(const struct harness *harness, uint32_t worker, unsigned nth, char name[16]);

/* ---- answers ---- */

struct answer {
    char type; /* '+', '-', ':', '$', '*', '_' (null of either kind) */
    int64_t integer;
    char *text; /* of + - $, with a NUL behind */
    size_t len_bytes;
    struct answer *items;
    size_t count;
};
void answer_free(struct answer *answer);
bool answer_is(const struct answer *answer, const char *text); /* of + - $ */
int64_t answer_number(const struct answer *answer);            /* of : or $; else it fails */

/* ---- peers ---- */

struct peer {
    struct harness *harness;
    struct pipe *pipe;
    char *in, *out;
    size_t in_start, in_end, in_capacity, out_len, out_capacity;
    bool closed;        /* the worker has closed it */
    bool may_be_closed; /* and that is no failure */
    char last[256];     /* the last command, for messages */
};

struct peer *peer_create(struct harness *harness, uint32_t worker);
/* On the port of that worker alone. */
struct peer *peer_create_core(struct harness *harness, uint32_t worker);
void peer_close(struct peer *peer);
void peer_reset(struct peer *peer);
/* Adds one command (words divided by blanks; no quotes) to what the next flush sends. */
void peer_add(struct peer *peer, const char *format, ...) __attribute__((format(printf, 2, 3)));
void peer_add_words(struct peer *peer, uint32_t count, const char *const *words);
void peer_add_raw(struct peer *peer, const char *bytes, size_t len_bytes);
void peer_flush(struct peer *peer);
/* peer_add and peer_flush. */
void peer_send(struct peer *peer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Waits for the next answer; free it. type 0: the connection was closed (peer->may_be_closed).
 * Without threads the workers have turns until it is there, none if it is already. */
struct answer peer_answer(struct peer *peer);
/* Is an answer there already? */
bool peer_has_answer(struct peer *peer);
/* Waits for an answer and drops it. */
void peer_skip(struct peer *peer);
int64_t peer_number(struct peer *peer); /* waits for an answer that is a number */
/* For tests without threads: has all turns done that there are, then compares the raw bytes that
 * have come in, and forgets them. Sets peer->closed. Only for short answers. */
bool peer_got(struct peer *peer, const char *bytes);

/* ---- random numbers of a thread ---- */

struct dice {
    uint64_t state;
};
uint32_t dice_below(struct dice *dice, uint32_t end);

#endif

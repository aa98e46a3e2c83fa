/* Gate: what one worker keeps while its commands change things, and the end of each command.
 * Purpose:   after a command (or a whole transaction) has run, its changes get one stamp and one
 *            record in the journal.
 * Ownership: embedded in struct worker. The changes themselves are in store/keyspace.h.
 * Threading: the worker that executes; `dirty` may be read by any thread.
 * Errors:    a journal without memory fails for good and says so (persist/journal.h); the change
 *            itself stands. */
#ifndef DATAPLANE_STORE_GATE_H
#define DATAPLANE_STORE_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct call;
struct slot;

enum { GATE_TOUCHED_MAX = 32 };

struct gate {          /* zeroed is ready */
    uint64_t changes;  /* raised by each change: places found before it are looked up again */
    uint32_t key_hint; /* where in call->keys the next name is expected */
    bool transaction;  /* between gate_transaction_begin and _end */
    bool journaling;   /* somebody read the journal when the transaction began */
    bool block_open;   /* the transaction has put something into its block */
    /* Changed and not stamped yet. A command that changes more slots raises the floor of its whole
     * database instead, as FLUSHALL does of all. */
    uint32_t touched_count;
    struct slot *touched[GATE_TOUCHED_MAX];
    uint32_t floor_first, floor_end; /* databases [first, end) */
    /* Changes since start: INFO's rdb_changes_since_last_save is the sum over workers. */
    _Atomic uint64_t dirty;
};

/* After a command has run and while its slots are still held: stamps and journals it if
 * call->dirty, then forgets call->dirty and the propagated arguments. call->stamp is the stamp of
 * the change, unchanged when there was none. Called once for each command, also inside EXEC. */
void gate_commit(struct call *call);

/* Around the commands of one EXEC (each with its gate_commit): one stamp, and in the journal one
 * block, MULTI ... EXEC unless it is a single command. */
void gate_transaction_begin(struct call *call);
void gate_transaction_end(struct call *call);

#endif

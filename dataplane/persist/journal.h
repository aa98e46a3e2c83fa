/* Journal: every change of one worker, with its stamp, in a ring that the control thread reads.
 * Purpose:   the source of the one ordered stream of the node (AOF, replication; today a recording
 *            for tests).
 * Shape:     records {lengths, databases, u64 stamp, RESP bytes of one command or of a whole MULTI
 *            ... EXEC block}. A block changes databases with SELECT inside. The ring grows in
 *            chunks (a linked list of chunks, bounded by JOURNAL_MAX_BYTES; past it the worker's
 *            connections are parked, nothing is dropped).
 * Window:    `window` is odd between taking a stamp and publishing the record, so a reader that
 *            first reads its clock, then finds the window even, knows that everything stamped up to
 *            that reading is in the ring, also from workers that sleep.
 * Ownership: the worker creates and writes; the control thread reads; chunks that were read are
 *            freed by the reader.
 * Threading: single producer, single consumer, no locks.
 * Errors:    no memory: journal_failed is set, the reader learns it, and the node refuses writes
 *            (-MISCONF). */
#ifndef DATAPLANE_PERSIST_JOURNAL_H
#define DATAPLANE_PERSIST_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/store/entry.h"

struct journal;

enum {
    JOURNAL_CHUNK_BYTES = 256 * 1024,
    /* Unread; then the worker takes no more commands until the reader has caught up. */
    JOURNAL_MAX_BYTES = 64 * 1024 * 1024,
};

/* bytes: valid until journal_next. db: what must be selected in front of them; db_after: what is
 * selected behind them. */
struct journal_record {
    uint64_t stamp;
    uint32_t db, db_after;
    struct text bytes;
};

struct journal *journal_create(void);
void journal_destroy(struct journal *journal);

/* Worker. open .. (stamp taken) .. close; between them whole commands are written. */
void journal_window_open(struct journal *journal);
void journal_begin(struct journal *journal, uint64_t stamp, uint32_t db);
void journal_command(struct journal *journal, uint32_t argc, const struct text *argv);
void journal_end(struct journal *journal);
void journal_window_close(struct journal *journal);
/* A transaction: written outside the window, as its stamp is known only at the end;
 * journal_block_end publishes it, inside the window. MULTI and EXEC are put around unless it holds
 * a single command. */
void journal_block_begin(struct journal *journal, uint32_t db);
void journal_block_command(struct journal *journal, uint32_t db, uint32_t argc,
                           const struct text *argv);
void journal_block_end(struct journal *journal, uint64_t stamp);
bool journal_over_limit(const struct journal *journal);
/* Any thread: a record was lost for want of memory, and all that follow are lost, too. */
bool journal_failed(const struct journal *journal);

/* Reader. journal_settled: true when every record with stamp <= the clock reading taken before the
 * call is readable. (A reading by clock_stamp_ns, which is ordered before the loads of the call.)
 */
bool journal_settled(const struct journal *journal);
bool journal_peek(struct journal *journal, struct journal_record *record);
void journal_next(struct journal *journal);

#endif

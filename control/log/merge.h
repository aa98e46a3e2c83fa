/* Merge: the journals of all workers as one stream of commands, in the order of their stamps.
 * Purpose:   the order of the node. Today the stream is recorded into a file; it is what the AOF
 *            and replicas will get.
 * Order:     by stamp, then worker. A reading of the clock is taken first; a journal whose window
 *            is even afterwards has everything up to it. What is not greater than the least such
 *            reading over all journals is complete, and goes out.
 * Form:      RESP commands, with SELECT where the database changes. Every prefix that ends at a
 *            record's end is a state that existed.
 * Ownership: merge_create/merge_finish. While one exists, node->journal_readers counts it. One
 *            merge at a time: journals have one reader.
 * Threading: the control thread. Writing may block: a recording is for tests.
 * Errors:    negative errno of the file; then the merge goes on reading, so that workers are not
 *            held up, and the error stays. */
#ifndef CONTROL_LOG_MERGE_H
#define CONTROL_LOG_MERGE_H

#include <stdint.h>

struct merge;
struct node;

enum { MERGE_BUFFER_BYTES = 64 * 1024, MERGE_STEP_RECORDS = 65536 };

/* Starts reading: what was changed before is not in the recording. The workers exist. NULL with
 * *error (negative errno). */
struct merge *merge_create(struct node *node, const char *path, int *error);
/* Writes what is complete, at most MERGE_STEP_RECORDS records. Returns the bytes written, 0 when
 * there is nothing, or a negative errno. */
int64_t merge_step(struct merge *merge);
/* Stops reading: writes everything that was published up to now, frees the merge. Workers that are
 * executing may take until the end of their command to publish it, so stop writing first if the
 * recording has to be complete. 0 or a negative errno. */
int merge_finish(struct merge *merge);

#endif

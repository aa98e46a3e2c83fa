/* Watch records: who watches which key of a slot (WATCH), and whether it has changed since.
 * Purpose:   a change marks the records of its key; EXEC asks whether one of its client's is
 *            marked.
 * Shape:     a small hash table for each slot that has records, at node->watches[slot]; it moves
 *            with the slot and is for all databases. node->watch_count counts all records, so that
 *            a node without any looks nowhere.
 * Ownership: the slot's; memory from the `struct memory` of whoever holds the slot.
 * Threading: the worker that holds the slot.
 * Source:    what marks a record is as in Redis 7.0: WATCH remembers whether the key had run out
 *            already; a record that had, and whose key is now removed, is as good as new; a
 *            database that is flushed or exchanged marks keys that were there or are there now. */
#ifndef DATAPLANE_SLOTS_WATCH_H
#define DATAPLANE_SLOTS_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/store/entry.h"

struct keyspace;
struct memory;
struct node;

enum { WATCH_BUCKETS_MIN = 4 };

/* Records that the client watches the key as it is now; a second WATCH of the same key changes
 * nothing. 0 or -ENOMEM. */
int watch_add(struct node *node, struct memory *memory, uint16_t slot, uint64_t client_id,
              uint32_t db, struct text key, int64_t now_unix_ms);
/* Must EXEC of this client fail on account of this slot: was a key of it changed, or has one run
 * out that had not at WATCH? */
bool watch_check(const struct node *node, uint16_t slot, uint64_t client_id, int64_t now_unix_ms);
void watch_remove_client(struct node *node, struct memory *memory, uint16_t slot,
                         uint64_t client_id);

/* A key was changed (the change is made already). */
void watch_touch(struct node *node, uint16_t slot, uint32_t db, uint64_t hash, struct text key);
/* Database `db` is about to lose `emptied` (NULL: it is empty) and to get `replaced_with` (NULL:
 * nothing; a flush). All slots are held. */
void watch_touch_db(struct node *node, uint32_t db, const struct keyspace *emptied,
                    const struct keyspace *replaced_with, int64_t now_unix_ms);
/* At the end of the node. */
void watch_destroy_all(struct node *node, struct memory *memory);

#endif

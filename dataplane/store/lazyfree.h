/* Lazy free: memory that nobody can reach any more goes back in slices.
 * Purpose:   FLUSHALL and the deletion of a large value take no longer than any other command.
 * Shape:     a keyspace that was dropped is freed by all workers, each an equal range of its slots;
 *            the last one unmaps it. A worker runs no command while it frees, and the keyspace left
 *            the node before it was handed over, so no worker can still be looking into it when the
 *            last one is done.
 * Ownership: entries and keyspaces handed over are lazyfree's.
 * Threading: lazyfree_add_keyspace: any worker; the rest: the worker itself.
 * Errors:    without memory to remember a value it is freed at once. */
#ifndef DATAPLANE_STORE_LAZYFREE_H
#define DATAPLANE_STORE_LAZYFREE_H

#include <stdbool.h>
#include <stdint.h>

struct entry;
struct keyspace;
struct lazyfree;
struct node;
struct worker;

enum {
    LAZYFREE_LARGE_BYTES = 64 * 1024, /* values from here on are not freed by the command itself */
    LAZYFREE_BATCH = 64,              /* entries between two looks at the clock */
};

struct lazyfree *lazyfree_create(void); /* NULL: no memory */
/* At the end of a worker, after the last worker has stopped: frees what is left. Destroy the
 * lazyfree of every worker of the node. */
void lazyfree_destroy(struct worker *worker, struct lazyfree *lazyfree);

/* Hands a dropped keyspace to all workers of the node. */
void lazyfree_add_keyspace(struct node *node, struct keyspace *keyspace);
/* Frees an entry that is in no table any more, now or (large) later. */
void lazyfree_entry(struct worker *worker, struct entry *entry);

/* Frees for about budget_us; true while more remains. */
bool lazyfree_run(struct worker *worker, uint32_t budget_us);

#endif

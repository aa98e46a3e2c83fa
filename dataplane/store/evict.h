/* Memory limit: how much the node uses, and what goes when that is too much.
 * Purpose:   `maxmemory` with the policies noeviction and allkeys-lru.
 * Budget:    one for the node. A worker draws it in chunks (node->memory_drawn), so that a write
 *            looks at no other worker's counters; only near the limit the exact sum is taken.
 * Eviction:  a worker evicts from slots that it owns and that are not busy: samples entries, keeps
 *            the longest unused in a small pool, deletes the best through the gate, journaled as
 *            DEL. Each worker frees its share of what is too much, by how much it holds; a worker
 *            with nothing to free wakes the others.
 * Bounds:    one slice is at most EVICT_SLICE_US. While eviction cannot keep up, writes are refused
 *            from limit + slack on.
 * Ownership: struct evict belongs to its worker.
 * Threading: the worker; evict_used_bytes: any thread.
 * Errors:    none. */
#ifndef DATAPLANE_STORE_EVICT_H
#define DATAPLANE_STORE_EVICT_H

#include <stdbool.h>
#include <stdint.h>

struct call;
struct evict;
struct node;
struct worker;

enum {
    EVICT_SAMPLES = 5, /* entries looked at for each eviction and database */
    EVICT_POOL = 16,
    EVICT_SLICE_US = 500,
    EVICT_CHUNK_MAX_BYTES = 256 * 1024,
    EVICT_CHUNK_MIN_BYTES = 1024,
    EVICT_SLACK_DIVISOR = 16, /* of maxmemory: how far writes may run ahead of eviction */
    EVICT_SLACK_MIN_BYTES = 1024 * 1024, /* but not more than maxmemory itself */
};

struct evict *evict_create(void); /* NULL: no memory */
void evict_destroy(struct evict *evict);

/* What counts against maxmemory: all that workers have handed out, and the node's structures. */
int64_t evict_used_bytes(const struct node *node);
int64_t evict_fixed_bytes(const struct node *node); /* the latter alone */

/* Before a command with CMD_DENYOOM (EXEC: before its first). Evicts if need be. false: refuse it
 * with "-OOM command not allowed when used memory > 'maxmemory'." */
bool evict_before_write(struct call *call);
/* Background: evicts this worker's share for about budget_us; true while more should go. */
bool evict_run(struct worker *worker, uint32_t budget_us);

#endif

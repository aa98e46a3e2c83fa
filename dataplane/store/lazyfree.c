#include "dataplane/store/lazyfree.h"

#include <stdlib.h>

#include "drivers/clock.h"
#include "dataplane/worker.h"

struct lazyfree {
    struct keyspace_drain *_Atomic inbox; /* pushed by any worker, taken whole by this one */
    struct keyspace_drain *drains;        /* taken */
    struct entry **entries;
    uint32_t entry_count, entry_capacity;
};

struct lazyfree *lazyfree_create(void)
{
    return calloc(1, sizeof(struct lazyfree));
}

static void push(struct lazyfree *lazyfree, struct keyspace_drain *drain)
{
    drain->next = atomic_load_explicit(&lazyfree->inbox, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&lazyfree->inbox, &drain->next, drain,
                                                  memory_order_release, memory_order_relaxed))
        continue;
}

void lazyfree_add_keyspace(struct node *node, struct keyspace *keyspace)
{
    uint32_t workers = node->worker_count;

    atomic_store_explicit(&keyspace->draining, workers, memory_order_relaxed);
    atomic_fetch_add_explicit(&node->dropped_keyspaces, 1, memory_order_relaxed);
    for (uint32_t i = 0; i < workers; i++) {
        struct keyspace_drain *drain = &keyspace->drains[i];
        drain->keyspace = keyspace;
        drain->slot = (uint32_t)((uint64_t)SLOTS * i / workers);
        drain->end = (uint32_t)((uint64_t)SLOTS * (i + 1) / workers);
    }
    /* Not before all are filled in: the keyspace may be gone as soon as the last one is pushed. */
    for (uint32_t i = 0; i < workers; i++)
        push(node->workers[i]->lazyfree, &keyspace->drains[i]);
}

void lazyfree_entry(struct worker *worker, struct entry *entry)
{
    struct lazyfree *lazyfree = worker->lazyfree;

    if ((entry->flags & ENTRY_POINTER) == 0 || entry_total_bytes(entry) < LAZYFREE_LARGE_BYTES) {
        entry_free(worker->memory, entry);
        return;
    }
    if (lazyfree->entry_count == lazyfree->entry_capacity) {
        uint32_t capacity = lazyfree->entry_capacity == 0 ? 64 : lazyfree->entry_capacity * 2;
        struct entry **entries = realloc(lazyfree->entries, capacity * sizeof(struct entry *));
        if (entries == NULL) {
            entry_free(worker->memory, entry);
            return;
        }
        lazyfree->entries = entries;
        lazyfree->entry_capacity = capacity;
    }
    lazyfree->entries[lazyfree->entry_count++] = entry;
    count_add(&worker->stats.lazyfree_pending, 1);
}

static void take_inbox(struct lazyfree *lazyfree)
{
    if (atomic_load_explicit(&lazyfree->inbox, memory_order_relaxed) == NULL)
        return;
    struct keyspace_drain *drain =
        atomic_exchange_explicit(&lazyfree->inbox, NULL, memory_order_acquire);
    while (drain != NULL) {
        struct keyspace_drain *next = drain->next;
        drain->next = lazyfree->drains;
        lazyfree->drains = drain;
        drain = next;
    }
}

/* Frees one large value. */
static bool free_entry(struct worker *worker, struct lazyfree *lazyfree)
{
    if (lazyfree->entry_count == 0)
        return false;
    entry_free(worker->memory, lazyfree->entries[--lazyfree->entry_count]);
    count_add(&worker->stats.lazyfreed, 1);
    count_add(&worker->stats.lazyfree_pending, (uint64_t)-1);
    if (lazyfree->entry_count == 0) {
        free(lazyfree->entries);
        lazyfree->entries = NULL;
        lazyfree->entry_capacity = 0;
    }
    return true;
}

static void free_batch(struct worker *worker, struct entry **entries, unsigned count)
{
    unsigned stale = 0;

    for (unsigned i = 0; i < count; i++)
        __builtin_prefetch(entries[i]);
    for (unsigned i = 0; i < count; i++) {
        stale += (entries[i]->flags & ENTRY_TICKET) != 0;
        entry_free(worker->memory, entries[i]);
    }
    if (stale > 0)
        wheel_note_stale(worker->wheel, stale);
    count_add(&worker->stats.lazyfreed, count);
}

/* Frees a batch of one slot, or passes over a run of slots that hold nothing. */
static bool drain_step(struct worker *worker, struct lazyfree *lazyfree)
{
    struct keyspace_drain *drain = lazyfree->drains;
    struct entry *entries[LAZYFREE_BATCH];

    if (drain == NULL)
        return false;
    struct keyspace *keyspace = drain->keyspace;
    for (unsigned passed = 0; drain->slot < drain->end && passed < LAZYFREE_BATCH; passed++) {
        struct table *table = &keyspace->slots[drain->slot].table;
        unsigned count = table->buckets == NULL && table->growth == NULL
                             ? 0
                             : table_drain(table, worker->memory, entries, LAZYFREE_BATCH);
        if (count > 0) {
            free_batch(worker, entries, count);
            return true;
        }
        drain->slot++;
    }
    if (drain->slot < drain->end)
        return true;
    lazyfree->drains = drain->next;
    if (atomic_fetch_sub_explicit(&keyspace->draining, 1, memory_order_acq_rel) == 1) {
        keyspace_destroy_empty(keyspace);
        atomic_fetch_sub_explicit(&worker->node->dropped_keyspaces, 1, memory_order_relaxed);
    }
    return true;
}

bool lazyfree_run(struct worker *worker, uint32_t budget_us)
{
    struct lazyfree *lazyfree = worker->lazyfree;

    take_inbox(lazyfree);
    if (lazyfree->drains == NULL && lazyfree->entry_count == 0)
        return false;
    uint64_t end_us = clock_now_us() + budget_us;
    do {
        if (!free_entry(worker, lazyfree) && !drain_step(worker, lazyfree))
            return false;
    } while (clock_now_us() < end_us);
    return lazyfree->drains != NULL || lazyfree->entry_count > 0;
}

void lazyfree_destroy(struct worker *worker, struct lazyfree *lazyfree)
{
    if (lazyfree == NULL)
        return;
    take_inbox(lazyfree);
    while (free_entry(worker, lazyfree) || drain_step(worker, lazyfree))
        continue;
    free(lazyfree);
}

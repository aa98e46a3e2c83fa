/* Slot sets: the slots that a job needs, each once.
 * Purpose:   collects slots in the order in which they are first named; quick for a few, and for all.
 * Ownership: the caller's memory, often its stack; slot_set_fini frees what did not fit.
 * Threading: none.
 * Errors:    without memory `failed` is set, and the set is not complete. */
#ifndef DATAPLANE_SLOTS_SLOT_SET_H
#define DATAPLANE_SLOTS_SLOT_SET_H

#include <stdbool.h>
#include <stdint.h>

enum { SLOT_SET_SMALL = 64 };

struct slot_set {
    uint16_t *slots; /* small, or heap */
    uint32_t count, capacity;
    bool failed, has_bits;
    bool whole, home; /* the job's: it needs every slot; it runs where its connection is */
    uint16_t small[SLOT_SET_SMALL];
    uint64_t bits[256]; /* only when there are more than a few */
};

void slot_set_init(struct slot_set *set);
void slot_set_add(struct slot_set *set, uint16_t slot);
void slot_set_fini(struct slot_set *set);

#endif

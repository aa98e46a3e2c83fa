/* Effects: what a command that ran on borrowed slots still has to change at their owner.
 * Purpose:   today expiry tickets, which belong into the owner's wheel, and how many of them went
 *            stale. They return with the loan, and the owner applies them before it serves the
 *            slots' queues.
 * Ownership: embedded in a part of a loan; zeroed is empty.
 * Threading: the coordinator while the slots are lent, their owner afterwards.
 * Errors:    without memory a ticket is dropped: its key expires on access only. */
#ifndef DATAPLANE_SLOTS_EFFECTS_H
#define DATAPLANE_SLOTS_EFFECTS_H

#include <stdbool.h>
#include <stdint.h>

struct call;
struct worker;

struct effect_ticket {
    uint64_t hash; /* of the key */
    int64_t deadline_unix_ms;
    uint16_t slot, label; /* label: keyspace_label of its database */
};

struct effects {
    struct effect_ticket *tickets;
    uint32_t count, capacity;
    uint32_t stale;
};

/* The effects for the owner of `slot`; NULL when the executing worker owns it. Implemented in
 * slots/. */
struct effects *call_effects(struct call *call, uint16_t slot);

bool effects_ticket(struct effects *effects, struct effect_ticket ticket); /* false: no memory */
/* By the owner; leaves them empty. */
void effects_apply(struct worker *worker, struct effects *effects);
void effects_fini(struct effects *effects);

#endif

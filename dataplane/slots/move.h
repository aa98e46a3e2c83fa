/* Moves: a slot goes to another worker of this node while traffic runs.
 * How:       the owner stores the new owner (release) while nobody holds or waits for the slot; whoever sees the new owner (acquire) also sees everything the
 *            old one wrote. Jobs that were on their way are refused and routed anew. Tickets in the old owner's wheel follow when they fire (slots/tickets.c).
 * Ownership: nothing is copied. Threading: the owner's thread. Errors: -EBUSY: the slot is lent or waited for. */
#ifndef DATAPLANE_SLOTS_MOVE_H
#define DATAPLANE_SLOTS_MOVE_H

#include <stdint.h>

struct worker;

/* 0, -EBUSY, or -ENOENT when this worker does not own the slot. */
int slot_move(struct worker *worker, uint16_t slot, uint32_t to);
/* As slot_move, for the slot that the calling job holds alone. */
int slot_move_held(struct worker *worker, uint16_t slot, uint32_t to);

#endif

/* Queues: who holds the slots of this worker, and who waits for them.
 * Purpose:   first in, first out for every slot; a part (the slots of one job at one owner) enters all its queues at one moment and is ready when it is
 *            first in each. A slot whose queue is empty is free: its owner runs commands on it without coming here.
 * Whole:     a part may ask for all slots of the worker. While it waits or holds, everything that arrives stands in one line behind it.
 * Ownership: the queues link parts, the jobs own them.
 * Threading: the owner's thread.
 * Errors:    none; memory is in the parts. */
#ifndef DATAPLANE_SLOTS_QUEUE_H
#define DATAPLANE_SLOTS_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/slots/effects.h"
#include "dataplane/slots/mailbox.h"

struct worker;
struct job;
struct loan_part;
struct slot_queues;
struct part_block;

struct part_ref {
    struct part_ref *next;
    struct loan_part *part;
    uint16_t slot;
};

enum part_state { PART_IDLE, PART_ASKED, PART_QUEUED, PART_HELD };

struct loan_part {
    struct mail_wait wait; /* while an ask waits for credit */
    struct job *job;       /* not looked at by the owner after the return */
    struct part_block *block;
    struct loan_part *next; /* ready list, line behind a whole loan */
    struct part_ref *refs;  /* [count] */
    uint32_t count;
    uint32_t pending; /* queues in which it is not first */
    uint16_t owner;
    uint8_t state; /* enum part_state, as the coordinator sees it */
    bool whole;
    bool given;         /* the home's slots, lent with the job itself */
    bool asked_by_mail; /* the coordinator is another worker */
    struct effects effects;
};

struct slot_line {
    struct part_ref *first, *last;
};

struct slot_queues {    /* of one worker; other modules only ask slots_busy and queues_any_busy */
    uint64_t busy[256]; /* bit: the slot's line is not empty */
    struct loan_part *whole; /* waits for every slot, or holds them */
    uint32_t busy_slots;
    bool whole_held;
    struct loan_part *behind_first, *behind_last;
    struct loan_part *ready_first, *ready_last;
    struct slot_line *lines; /* [slot], zero pages until used */
    size_t lines_bytes;
};

int queues_create(struct slot_queues **queues, uint32_t slot_count);
void queues_destroy(struct slot_queues *queues);

/* Is this slot held, waited for, or behind a whole loan? */
static inline bool queues_slot_busy(const struct slot_queues *queues, uint16_t slot)
{
    return queues->whole != NULL || (queues->busy[slot / 64] >> (slot % 64) & 1) != 0;
}
bool slots_busy(const struct worker *worker, uint16_t slot);
bool queues_any_busy(const struct worker *worker); /* false: no slot of this worker is busy */
/* Are all slots of the part free? Then whoever runs to completion without yielding need not take them. */
bool queues_part_free(const struct worker *worker, const struct loan_part *part);

/* Takes all slots of the part if each is free; else changes nothing. */
bool queues_try(struct worker *worker, struct loan_part *part);
/* Stands in line; true when it is ready at once. Otherwise queues_next_ready gives it back later. */
bool queues_enter(struct worker *worker, struct loan_part *part);
/* Gives up the place of a part that is first everywhere (held or ready). */
void queues_leave(struct worker *worker, struct loan_part *part);
struct loan_part *queues_next_ready(struct worker *worker);
bool queues_any_ready(const struct worker *worker);
/* Are all slots of the part still this worker's? (They may have moved while it stood in line.) */
bool queues_owns(const struct worker *worker, const struct loan_part *part);

#endif

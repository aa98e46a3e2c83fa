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
    struct mail_wait wait;      /* while an ask waits for credit */
    struct job *job;            /* not looked at by the owner after the return */
    struct part_block *block;
    struct loan_part *next;     /* ready list, line behind a whole loan */
    struct part_ref *refs;      /* [count] */
    uint32_t count;
    uint32_t pending;           /* queues in which it is not first */
    uint16_t owner;
    uint8_t state;              /* enum part_state, as the coordinator sees it */
    bool whole;
    bool given;                 /* the home's slots, lent with the job itself */
    bool asked_by_mail;         /* the coordinator is another worker */
    struct effects effects;
};

int queues_create(struct slot_queues **queues, uint32_t slot_count);
void queues_destroy(struct slot_queues *queues);

/* Is this slot held, waited for, or behind a whole loan? */
bool slots_busy(const struct worker *worker, uint16_t slot);
bool queues_any_busy(const struct worker *worker);  /* false: no slot of this worker is busy */

/* Takes all slots of the part if each is free; else changes nothing. */
bool queues_try(struct worker *worker, struct loan_part *part);
/* Stands in line; true when it is ready at once. Otherwise queues_next_ready gives it back later. */
bool queues_enter(struct worker *worker, struct loan_part *part);
/* Gives up the place of a part that is first everywhere (held or ready). */
void queues_leave(struct worker *worker, struct loan_part *part);
struct loan_part *queues_next_ready(struct worker *worker);
/* Are all slots of the part still this worker's? (They may have moved while it stood in line.) */
bool queues_owns(const struct worker *worker, const struct loan_part *part);

#endif

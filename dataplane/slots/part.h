/* Parts: which slots a job needs, and one part of them for each owner.
 * Purpose:   the plan of a job, made at home: what its commands touch, cut by owner.
 * Ownership: the parts of a job are one block that counts references: a return may still be under
 *            way when the job has come home; whoever is last frees it.
 * Threading: the home makes and drops them; part_block_put: whoever is last.
 * Errors:    -ENOMEM; -EAGAIN when slots moved meanwhile. */
#ifndef DATAPLANE_SLOTS_PART_H
#define DATAPLANE_SLOTS_PART_H

#include <stdint.h>

#include "dataplane/slots/slot_set.h"

struct worker;
struct job;
struct loan_part;
struct part_block;

/* The slots of the job's commands that have not run yet, and of its watches. slot_set_fini. */
void parts_plan(struct worker *worker, struct job *job, struct slot_set *set);
/* Cuts the set into one part for each owner, ascending: job->parts. 0, -ENOMEM or -EAGAIN. */
int parts_make(struct worker *worker, struct job *job, const struct slot_set *set);
void parts_drop(struct job *job);
/* NULL: that worker has no part in it. */
struct loan_part *parts_of(const struct job *job, uint32_t owner);

void part_block_get(struct part_block *block);
void part_block_put(struct part_block *block);

#endif

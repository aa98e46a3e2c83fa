/* Loans: how a coordinator comes by the slots of its job, and what their owners answer.
 * Purpose:   the two rounds of job.h. The coordinator asks, executes and returns; the owner grants,
 *            refuses, or has the part stand in line.
 * Ownership: parts are the job's; between ask and return their queue links are the owner's.
 * Threading: each function on the worker whose side it is; mail carries parts between them.
 * Errors:    a job that cannot have its slots because they moved goes home, to be routed anew. */
#ifndef DATAPLANE_SLOTS_LOAN_H
#define DATAPLANE_SLOTS_LOAN_H

#include <stdbool.h>
#include <stdint.h>

struct worker;
struct job;
struct loan_part;

/* ---- the coordinator ---- */

/* Collects what the job needs, then runs it; it may have gone home before this returns. */
void loan_collect(struct worker *worker, struct job *job);
void loan_granted(struct worker *worker, struct loan_part *part);
void loan_refused(struct worker *worker, struct loan_part *part, uint32_t why);

/* ---- the owner ---- */

void loan_asked(struct worker *worker, struct loan_part *part, bool wait_in_line,
                uint32_t coordinator);
void loan_returned(struct worker *worker, struct loan_part *part);

#endif

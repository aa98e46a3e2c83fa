/* Mailboxes: one ring for each ordered pair of workers.
 * Purpose:   requests, answers, grants and returns between workers, without locks and without ever blocking a loop.
 * Credit:    with `worker-mailbox-size` S, each ordered pair may have S/4 unanswered requests of each kind (jobs, loans, calls); the ring has 2 S
 *            entries, so answers and returns always find room: at most 3 S/4 requests, 3 S/4 answers that the sender owes, and S/4 returns (a loan keeps
 *            its credit until it is returned, and the ring is first in, first out). A request without credit waits in a list at
 *            the sender (its connection is parked); the loop never waits.
 *            The kinds have credit of their own because they wait for each other: a job may wait for loans, and a job that executes for calls; sharing one pool
 *            would close a cycle.
 * Ownership: a mail's body belongs to the job that it speaks of; the ring holds plain pointers.
 * Threading: mail_request, mail_answer, mail_return, mail_flush: the worker's own thread. Rings are single producer, single consumer.
 * Stamps:    every mail carries its sender's stamp, so that a stamp is greater than that of its cause. */
#ifndef DATAPLANE_SLOTS_MAILBOX_H
#define DATAPLANE_SLOTS_MAILBOX_H

#include <stdbool.h>
#include <stdint.h>

struct worker;
struct node;

enum { MAILBOX_SIZE_MIN = 4, MAIL_BATCH_MAX = 16 };

enum mail_kind {
    MAIL_JOB = 1,  /* request: run this job; body: struct job */
    MAIL_JOB_DONE, /* answer: it ran, or must be routed anew */
    MAIL_LOAN_ASK, /* request: lend these slots; body: struct loan_part; argument: 1 to wait for them, 0 to refuse if one is busy */
    MAIL_LOAN_GRANT,  /* answer; keeps the request's credit until the return */
    MAIL_LOAN_REFUSE, /* answer; argument: enum loan_refusal */
    MAIL_LOAN_RETURN, /* the slots come back, with effects */
    MAIL_CALL,        /* request: run a function on that worker; body: struct mail_call */
    MAIL_CALL_DONE,   /* answer */
};

struct mail {
    uint32_t kind, argument;
    uint64_t stamp;
    void *body;
};

/* Link of a request that waits for credit; part of the body. */
struct mail_wait {
    struct mail_wait *next;
    struct mail mail;
};

/* A function that travels: run(worker, call) there, then done(worker, call) back at the sender. */
struct mail_call {
    struct mail_wait wait;
    void (*run)(struct worker *worker, struct mail_call *call);
    void (*done)(struct worker *worker, struct mail_call *call);
    void *argument;
    uint64_t number;
};

struct mailroom;

/* Creates the rings of worker `index` towards all others. All rooms must exist before a worker runs. 0 or -ENOMEM. */
int mailroom_create(struct mailroom **room, uint32_t index, uint32_t workers, uint32_t ring_size);
void mailroom_destroy(struct mailroom *room);

/* Sends a request to worker `to` (not itself), now or as soon as there is credit. `wait` is linked meanwhile. */
void mail_request(struct worker *worker, uint32_t to, struct mail_wait *wait, uint32_t kind,
                  uint32_t argument, void *body);
/* Would a request of this kind go out at once? Whoever already holds slots asks first and does not wait (except in ascending order of owners). */
bool mail_has_credit(const struct worker *worker, uint32_t to, uint32_t kind);
void mail_answer(struct worker *worker, uint32_t to, uint32_t kind, uint32_t argument, void *body);
void mail_return(struct worker *worker, uint32_t to, void *body);
void mail_call(struct worker *worker, uint32_t to, struct mail_call *call);

/* Takes up to `max` mails that arrived, from all workers in turn; returns their number. `from[i]` tells the sender. Credits
 * of answered requests are given back here, and waiting requests sent. */
unsigned mail_take(struct worker *worker, struct mail *mails, uint32_t *from, unsigned max);
bool mail_waiting(const struct worker *worker);   /* is there anything to take? */
bool mail_expecting(const struct worker *worker); /* requests unanswered: an answer is on its way */
/* Wakes the workers that sleep and were sent something since the last flush. */
void mail_flush(struct worker *worker);

#endif

/* Jobs: commands that cannot simply run where they arrived.
 * Purpose:   a command, a burst of one connection, a transaction; travels to its coordinator, which borrows what slots it needs (DESIGN section 2), runs
 *            the commands as one unit, returns the slots and sends the reply home.
 * Rounds:    first all owners are asked in parallel and each grants everything or refuses; after a refusal all is returned and asked for again owner by owner in
 *            ascending order, now standing in line. Waiting always goes upwards, so there is no cycle; credit is part of that order (mailbox.h).
 * Home part: when the coordinator is another worker the home's own free slots travel with the job, already lent.
 * Moves:     an owner that finds a slot gone refuses; the job goes home and is routed anew.
 * Ownership: a job is allocated at home in one block with its arguments, and freed at home. Its parts are a block of their own that counts references: a return
 * may still be under way when the job has come home; whoever is last frees the block.
 * Threading: exactly one worker has a job at a time; a part's queue links belong to its owner between ask and return. */
#ifndef DATAPLANE_SLOTS_JOB_H
#define DATAPLANE_SLOTS_JOB_H

#include <stdatomic.h>
#include <stdint.h>

#include "dataplane/commands/command.h"
#include "dataplane/slots/queue.h"

enum {
    JOB_REPLY_BASE_BYTES = 192,   /* room for replies inside the job: so much, ... */
    JOB_REPLY_COMMAND_BYTES = 96, /* ... so much for each command, ... */
    JOB_REPLY_MAX_BYTES = 4096,   /* ... and no more than this; longer replies take chunks */
    JOB_PARTS_BYTES = 256,        /* room for the parts of a job with one owner */
};

enum job_kind {
    JOB_COMMANDS, /* one command or a burst */
    JOB_EXEC,     /* a transaction: atomic, with watches and the array around the replies */
    JOB_UNWATCH,  /* removes the watch records of a client; no reply */
};

struct job_command {
    const struct command *command;
    struct text *argv;
    uint32_t argc;
    uint32_t reply_bytes_high; /* reply_bytes / 2^32 */
    uint32_t reply_bytes;      /* so that a scattered burst's replies can be put in order */
    struct call_key key; /* of a command with one key, computed when it arrived; position 0: none */
};

struct job_watch {
    uint16_t slot;
}; /* a slot that holds watch records of the client */

struct job {
    struct mail_wait wait;
    uint16_t home, coordinator;
    uint8_t kind;
    bool reroute; /* ownership changed, or a walk goes on: home routes it again */
    bool second_round;
    bool refused, started;
    bool
        asks_all; /* a command of it asks other workers or the control thread: execution may have to wait */
    struct client *client; /* home's; NULL: nobody waits for it */
    struct session session;
    struct job_command *commands;
    uint32_t count, next_command; /* next_command: those before it have run (a long burst) */
    struct job_watch *watches;
    uint32_t watch_count;
    struct loan_part *parts; /* ascending by owner */
    struct part_block *block;
    uint32_t part_count,
        open; /* open: asks without an answer (first round), or the part whose turn it is (second) */
    struct call *call;      /* state of a walk that outlives one function call */
    struct gather *gathers; /* client/execute.c: of the commands that ask every worker */
    uint32_t gathers_open;
    struct control_ask
        *control_ask; /* client/execute.c: of a command that asks the control thread */
    struct afterwards *afterwards; /* client/execute.c: of a transaction with such commands */
    bool begun;       /* watches checked and removed; false when it comes home: it was refused */
    bool dropped;     /* a watched key had changed: nothing was run */
    struct reply_memory reply, walk;
    struct job *next; /* lists of the home */
    uint32_t origin;  /* scattered burst: index in the client's plan */
    _Alignas(8) char parts_room[JOB_PARTS_BYTES];
};

/* Allocates a job with copies of `count` commands' arguments. NULL: no memory. */
struct job *job_create(struct worker *worker, enum job_kind kind, const struct session *session,
                       const struct job_command *commands, uint32_t count,
                       const struct job_watch *watches, uint32_t watch_count);
/* Routes a job of this (home) worker: works out slots and owners, chooses the coordinator, starts. It may complete before this returns:
 * then job_done_fn has been called. */
void job_dispatch(struct worker *worker, struct job *job);
/* Instead of running it: the error for each answer that is owed. */
void job_refuse(struct job *job, const char *error);
void job_destroy(struct job *job); /* at home, when it is done */

/* Before the mails are worked on one by one: brings what their jobs will touch near, all of them together. */
void job_mail_prefetch(struct worker *worker, const struct mail *mails, unsigned count);
/* Mail that concerns jobs and loans. */
void job_mail(struct worker *worker, const struct mail *mail, uint32_t from);
/* Parts that became ready since; called after anything that may release slots, and in every turn: a long one leaves some (queues_any_ready). */
void job_ready_parts(struct worker *worker);

/* Implemented in client/: the home's end of a job. */
void client_job_done(struct worker *worker, struct job *job);
/* Implemented in client/execute.c: runs the job's commands; false when it waits for the other workers' parts of a gather (job_resume goes on). */
bool job_execute(struct worker *worker, struct job *job);
void job_gathers_destroy(struct job *job);
void job_resume(struct worker *worker, struct job *job);

#endif

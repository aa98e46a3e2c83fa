#include "dataplane/slots/loan.h"

#include <assert.h>

#include "dataplane/slots/job.h"
#include "dataplane/slots/part.h"
#include "dataplane/worker.h"

enum {
    LOAN_MOVED = 1,
    LOAN_BUSY = 0,
    READY_MIN = 16, /* parts that are served in one go, also in a long turn */
};

/* ---- the coordinator ---- */

static void ask(struct worker *worker, struct loan_part *part, bool wait_in_line)
{
    part->state = PART_ASKED;
    part->asked_by_mail = true;
    mail_request(worker, part->owner, &part->wait, MAIL_LOAN_ASK, wait_in_line, part);
}

static void return_part(struct worker *worker, struct loan_part *part)
{
    part->state = PART_IDLE;
    if (part->owner == worker->index) {
        queues_leave(worker, part);
    } else if (!part->given) { /* a part given with the job goes home with it */
        part_block_get(part->block);
        mail_return(worker, part->owner, part);
    }
}

static void finish(struct worker *worker, struct job *job);
static void second_round(struct worker *worker, struct job *job);

void job_resume(struct worker *worker, struct job *job)
{
    if (job_execute(worker, job))
        finish(worker, job);
}

static void start(struct worker *worker, struct job *job)
{
    job->started = true;
    if (job->part_count > 1)
        count_add(&worker->stats.loans_taken, job->part_count - 1);
    job_resume(worker, job);
}

/* Sends the job home to be routed again, holding nothing. */
static void go_home_unrun(struct worker *worker, struct job *job)
{
    for (uint32_t i = 0; i < job->part_count; i++)
        if (job->parts[i].state == PART_HELD)
            return_part(worker, &job->parts[i]);
    job->reroute = true;
    if (job->home == worker->index)
        client_job_done(worker, job);
    else
        mail_answer(worker, job->home, MAIL_JOB_DONE, 0, job);
}

static void first_round_over(struct worker *worker, struct job *job)
{
    bool given = false;

    if (!job->refused) {
        start(worker, job);
        return;
    }
    count_add(&worker->stats.loan_second_rounds, 1);
    for (uint32_t i = 0; i < job->part_count; i++) {
        struct loan_part *part = &job->parts[i];
        given = given || part->given;
        if (part->state == PART_HELD && !part->given)
            return_part(worker, part);
    }
    job->second_round = true;
    if (given) {
        /* The home's part can only be handed back with the job itself; the home starts the second round. */
        job->reroute = true;
        mail_answer(worker, job->home, MAIL_JOB_DONE, 0, job);
        return;
    }
    job->open = 0;
    second_round(worker, job);
}

/* Owner by owner, ascending; job->open is the part whose turn it is. */
static void second_round(struct worker *worker, struct job *job)
{
    while (job->open < job->part_count) {
        struct loan_part *part = &job->parts[job->open];
        if (part->owner != worker->index) {
            ask(worker, part, true);
            return;
        }
        part->state = PART_QUEUED;
        part->asked_by_mail = false;
        if (!queues_enter(worker, part))
            return; /* job_ready_parts goes on */
        part->state = PART_HELD;
        if (!queues_owns(worker, part)) {
            go_home_unrun(worker, job);
            return;
        }
        job->open++;
    }
    start(worker, job);
}

static bool has_all_credit(const struct worker *worker, const struct job *job)
{
    for (uint32_t i = 0; i < job->part_count; i++) {
        const struct loan_part *part = &job->parts[i];
        if (part->owner != worker->index && !part->given &&
            !mail_has_credit(worker, part->owner, MAIL_LOAN_ASK))
            return false;
    }
    return true;
}

void loan_collect(struct worker *worker, struct job *job)
{
    struct loan_part *own = parts_of(job, worker->index);
    uint32_t foreign = 0;

    job->coordinator = (uint16_t)worker->index;
    for (uint32_t i = 0; i < job->part_count; i++)
        foreign += job->parts[i].owner != worker->index && !job->parts[i].given;
    if (foreign == 0 && own == NULL) {
        start(worker, job);
        return;
    }
    if (job->second_round) {
        job->open = 0;
        second_round(worker, job);
        return;
    }
    job->refused = false;
    job->open = 0;
    if (own != NULL) {
        if (!queues_owns(worker, own)) {
            go_home_unrun(worker, job);
            return;
        }
        own->asked_by_mail = false;
        if (foreign == 0 && !job->asks_all && queues_part_free(worker, own)) {
            start(worker, job); /* it runs to its end here and now: nobody can come between */
            return;
        }
        if (queues_try(worker, own)) {
            own->state = PART_HELD;
        } else if (job->part_count == 1) {
            /* Nothing else is held, so waiting in line cannot close a cycle. */
            job->second_round = true;
            second_round(worker, job);
            return;
        } else {
            job->refused = true;
        }
    }
    if (job->refused || !has_all_credit(worker, job)) {
        job->refused = true;
        first_round_over(worker, job);
        return;
    }
    job->open = foreign;
    for (uint32_t i = 0; i < job->part_count; i++)
        if (job->parts[i].owner != worker->index && !job->parts[i].given)
            ask(worker, &job->parts[i], false);
    if (foreign == 0)
        first_round_over(worker, job);
}

static void finish(struct worker *worker, struct job *job)
{
    for (uint32_t i = 0; i < job->part_count; i++)
        if (job->parts[i].state == PART_HELD)
            return_part(worker, &job->parts[i]);
    if (job->home == worker->index)
        client_job_done(worker, job);
    else
        mail_answer(worker, job->home, MAIL_JOB_DONE, 0, job);
}

void loan_granted(struct worker *worker, struct loan_part *part)
{
    struct job *job = part->job;

    part->state = PART_HELD;
    if (!job->second_round) {
        if (--job->open == 0)
            first_round_over(worker, job);
        return;
    }
    job->open++;
    second_round(worker, job);
}

void loan_refused(struct worker *worker, struct loan_part *part, uint32_t why)
{
    struct job *job = part->job;

    part->state = PART_IDLE;
    if (job->second_round) {
        assert(why == LOAN_MOVED);
        go_home_unrun(worker, job);
        return;
    }
    job->refused = true;
    if (--job->open == 0)
        first_round_over(worker, job);
}

/* ---- the owner ---- */

void loan_asked(struct worker *worker, struct loan_part *part, bool wait_in_line,
                uint32_t coordinator)
{
    uint32_t why = LOAN_BUSY;

    if (!queues_owns(worker, part)) {
        why = LOAN_MOVED;
    } else if (wait_in_line) {
        if (!queues_enter(worker, part))
            return;
        count_add(&worker->stats.loans_granted, 1);
        mail_answer(worker, coordinator, MAIL_LOAN_GRANT, 0, part);
        return;
    } else if (queues_try(worker, part)) {
        count_add(&worker->stats.loans_granted, 1);
        mail_answer(worker, coordinator, MAIL_LOAN_GRANT, 0, part);
        return;
    }
    count_add(&worker->stats.loans_refused, 1);
    mail_answer(worker, coordinator, MAIL_LOAN_REFUSE, why, part);
}

void job_ready_parts(struct worker *worker)
{
    for (unsigned i = 0; i < READY_MIN || !worker_turn_long(worker); i++) {
        struct loan_part *part = queues_next_ready(worker);
        if (part == NULL)
            return;
        bool owns = queues_owns(worker, part);
        uint32_t coordinator = part->job->coordinator;

        if (part->asked_by_mail) {
            if (!owns) {
                queues_leave(worker, part);
                mail_answer(worker, coordinator, MAIL_LOAN_REFUSE, LOAN_MOVED, part);
            } else {
                count_add(&worker->stats.loans_granted, 1);
                mail_answer(worker, coordinator, MAIL_LOAN_GRANT, 0, part);
            }
            continue;
        }
        part->state = PART_HELD;
        if (!owns) {
            go_home_unrun(worker, part->job);
            continue;
        }
        part->job->open++;
        second_round(worker, part->job);
    }
}

void loan_returned(struct worker *worker, struct loan_part *part)
{
    struct part_block *block = part->block;

    effects_apply(worker, &part->effects);
    queues_leave(worker, part);
    part_block_put(block);
}

#include "dataplane/slots/job.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/slots/loan.h"
#include "dataplane/slots/part.h"
#include "dataplane/worker.h"

/* ---- life ---- */

static size_t aligned(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15;
}

struct job *job_create(struct worker *worker, enum job_kind kind, const struct session *session,
                       const struct job_command *commands, uint32_t count,
                       const struct job_watch *watches, uint32_t watch_count)
{
    size_t argc = 0, bytes = 0;

    for (uint32_t i = 0; i < count; i++) {
        argc += commands[i].argc;
        for (uint32_t a = 0; a < commands[i].argc; a++)
            bytes += commands[i].argv[a].len_bytes + 1;
    }
    size_t at_commands = aligned(sizeof(struct job));
    size_t at_watches = at_commands + aligned(count * sizeof(struct job_command));
    size_t at_argv = at_watches + aligned(watch_count * sizeof(struct job_watch));
    size_t at_bytes = at_argv + aligned(argc * sizeof(struct text));
    size_t at_reply = aligned(at_bytes + bytes);
    size_t reply_bytes = JOB_REPLY_BASE_BYTES + (size_t)count * JOB_REPLY_COMMAND_BYTES;
    if (reply_bytes > JOB_REPLY_MAX_BYTES)
        reply_bytes = JOB_REPLY_MAX_BYTES;
    char *block = malloc(at_reply + reply_bytes);
    if (block == NULL)
        return NULL;

    struct job *job = (struct job *)block;
    memset(job, 0, offsetof(struct job, parts_room));
    job->home = job->coordinator = (uint16_t)worker->index;
    job->kind = (uint8_t)kind;
    job->session = *session;
    job->commands = (struct job_command *)(block + at_commands);
    job->watches = (struct job_watch *)(block + at_watches);
    job->count = count;
    job->watch_count = watch_count;
    struct text *argv = (struct text *)(block + at_argv);
    char *to = block + at_bytes;
    for (uint32_t i = 0; i < count; i++) {
        job->commands[i] = commands[i];
        job->commands[i].argv = argv;
        job->asks_all =
            job->asks_all || (commands[i].command->flags & (CMD_GATHER | CMD_CONTROL)) != 0;
        for (uint32_t a = 0; a < commands[i].argc; a++) {
            struct text from = commands[i].argv[a];
            *argv++ = (struct text){to, from.len_bytes};
            memcpy(to, from.data, from.len_bytes);
            to[from.len_bytes] = '\0';
            to += from.len_bytes + 1;
        }
    }
    for (uint32_t i = 0; i < watch_count; i++)
        job->watches[i] = watches[i];
    reply_memory_init(&job->reply, session->resp, block + at_reply, reply_bytes);
    reply_memory_init(&job->walk, session->resp, NULL, 0);
    return job;
}

void job_destroy(struct job *job)
{
    parts_drop(job);
    reply_memory_fini(&job->reply);
    reply_memory_fini(&job->walk);
    job_gathers_destroy(job);
    free(job->call);
    free(job);
}

/* ---- the home ---- */

static uint32_t choose_coordinator(const struct worker *worker, const struct job *job,
                                   const struct slot_set *set)
{
    uint32_t best = worker->index, most = 0;

    if (set->whole || set->home || job->part_count == 0)
        return worker->index;
    /* Two owners, one of them here: the home's part travels with the job, two mails instead of three. */
    if (job->part_count == 2 && parts_of(job, worker->index) != NULL)
        return job->parts[0].owner == worker->index ? job->parts[1].owner : job->parts[0].owner;
    for (uint32_t i = 0; i < job->part_count; i++) {
        if (job->parts[i].count > most) {
            most = job->parts[i].count;
            best = job->parts[i].owner;
        }
    }
    return best;
}

/* Nobody else's mail can be needed to free these slots again, and nothing is held while waiting for credit. */
static void give_home_part(struct worker *worker, struct job *job, uint32_t coordinator)
{
    struct loan_part *part = parts_of(job, worker->index);

    if (part == NULL || job->second_round || !mail_has_credit(worker, coordinator, MAIL_JOB))
        return;
    part->asked_by_mail = false;
    if (!queues_owns(worker, part) || !queues_try(worker, part))
        return;
    part->state = PART_HELD;
    part->given = true;
}

void job_refuse(struct job *job, const char *error)
{
    struct reply *reply = &job->reply.reply;
    uint32_t answers = job->kind == JOB_COMMANDS ? job->count : job->kind == JOB_EXEC ? 1 : 0;

    for (uint32_t i = job->next_command; i < answers; i++) {
        uint64_t before = reply->committed_bytes;
        reply_error(reply, error);
        reply_memory_finish(&job->reply);
        if (job->kind == JOB_COMMANDS)
            job->commands[i].reply_bytes = (uint32_t)(reply->committed_bytes - before);
    }
    job->next_command = job->count;
}

void job_dispatch(struct worker *worker, struct job *job)
{
    struct slot_set set;

    job->reroute = false;
    job->started = false;
    int error;
    do {
        parts_drop(job);
        parts_plan(worker, job, &set);
        error = parts_make(worker, job, &set);
        slot_set_fini(&set);
    } while (error == -EAGAIN);
    if (error < 0) {
        job_refuse(job, "-OOM no memory to plan this command");
        client_job_done(worker, job);
        return;
    }
    uint32_t coordinator = choose_coordinator(worker, job, &set);
    if (coordinator != worker->index || (job->part_count > 1 && !set.whole))
        count_add(&worker->stats.client_queries_hops, job->count);
    if (coordinator == worker->index) {
        loan_collect(worker, job);
        return;
    }
    give_home_part(worker, job, coordinator);
    job->coordinator = (uint16_t)coordinator;
    mail_request(worker, coordinator, &job->wait, MAIL_JOB, 0, job);
}

static void came_home(struct worker *worker, struct job *job)
{
    for (uint32_t i = 0; i < job->part_count; i++) {
        struct loan_part *part = &job->parts[i];
        if (!part->given)
            continue;
        effects_apply(worker, &part->effects);
        part->given = false;
        queues_leave(worker, part);
    }
    client_job_done(worker, job);
}

/* The one key of a job that came to be run; NULL: none or several. */
static const struct call_key *mail_key(const struct mail *mail)
{
    const struct job *job = mail->kind == MAIL_JOB ? mail->body : NULL;

    return job != NULL && job->count == 1 && job->commands[0].key.position != 0
               ? &job->commands[0].key
               : NULL;
}

void job_mail_prefetch(struct worker *worker, const struct mail *mails, unsigned count)
{
    const struct table *tables[MAIL_BATCH_MAX];

    for (unsigned i = 0; i < count; i++)
        __builtin_prefetch(mails[i].body);
    for (unsigned i = 0; i < count; i++) {
        const struct call_key *key = mail_key(&mails[i]);
        const struct keyspace *keyspace =
            key == NULL
                ? NULL
                : keyspace_get(worker->node, ((const struct job *)mails[i].body)->session.db);
        tables[i] = keyspace == NULL ? NULL : &keyspace->slots[key->slot].table;
        if (tables[i] != NULL)
            __builtin_prefetch(tables[i]);
    }
    for (unsigned i = 0; i < count;
         i++) /* the table of a slot that has moved away is not ours to read */
        if (tables[i] != NULL &&
            (node_owner(worker->node, mail_key(&mails[i])->slot) != worker->index ||
             slots_busy(worker, mail_key(&mails[i])->slot)))
            tables[i] = NULL;
    for (unsigned i = 0; i < count; i++)
        if (tables[i] != NULL)
            table_prefetch_bucket(tables[i], mail_key(&mails[i])->hash);
    for (unsigned i = 0; i < count; i++)
        if (tables[i] != NULL)
            table_prefetch_entry(tables[i], mail_key(&mails[i])->hash);
}

void job_mail(struct worker *worker, const struct mail *mail, uint32_t from)
{
    switch ((enum mail_kind)mail->kind) {
    case MAIL_JOB:
        count_add(&worker->stats.forwarded_in, 1);
        loan_collect(worker, mail->body);
        break;
    case MAIL_JOB_DONE:
        came_home(worker, mail->body);
        break;
    case MAIL_LOAN_ASK:
        loan_asked(worker, mail->body, mail->argument != 0, from);
        break;
    case MAIL_LOAN_GRANT:
        loan_granted(worker, mail->body);
        break;
    case MAIL_LOAN_REFUSE:
        loan_refused(worker, mail->body, mail->argument);
        break;
    case MAIL_LOAN_RETURN:
        loan_returned(worker, mail->body);
        break;
    case MAIL_CALL: {
        struct mail_call *call = mail->body;
        call->run(worker, call);
        mail_answer(worker, from, MAIL_CALL_DONE, 0, call);
        break;
    }
    case MAIL_CALL_DONE: {
        struct mail_call *call = mail->body;
        call->done(worker, call);
        break;
    }
    }
}

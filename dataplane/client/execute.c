/* Execute: a job's commands, on the worker that holds all their slots. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/client/client.h"
#include "dataplane/slots/watch.h"

/* One command that asks every worker before it runs. */
struct gather {
    struct gather *next;
    struct job *job;
    uint32_t index; /* of the command in the job */
    uint32_t open;
    struct call call;
    uint32_t worker_count;
    struct gather_part *parts; /* [worker_count] */
    struct gather_ask {
        struct mail_call call;
        struct gather *gather;
    } * asks; /* [worker_count] */
};

/* A command that asks the control thread before it runs; travels there and back. */
struct control_ask {
    struct task task;
    struct worker *home;
    struct job *job;
    struct call call;
    struct gather_part part;
};

/* The commands of a transaction that ask the control thread: each in its turn when all others have
 * run, so that nothing waits between two changes. The slots are held to the end. */
struct afterwards {
    struct reply_memory replies; /* the transaction's, in order, up to `next` */
    uint32_t next;
    uint32_t last; /* the last one that is answered: its caller has killed itself there */
};

static struct session *session_of(const struct worker *worker, struct job *job)
{
    /* At home the client's own, so that SELECT or HELLO in a transaction holds for what follows. */
    return job->client != NULL && job->home == worker->index ? &job->client->session
                                                             : &job->session;
}

static void call_of(struct call *call, struct worker *worker, struct job *job, uint32_t index)
{
    struct job_command *command = &job->commands[index];

    call_init(call, worker, session_of(worker, job), command->command, command->argv, command->argc,
              &job->reply.reply);
    call->job = job;
    call->in_transaction = job->kind == JOB_EXEC;
    call->walk_reply = &job->walk;
    if (command->key.position != 0) {
        call->keys[0] = command->key;
        call->key_count = 1;
    }
    if ((command->command->flags & CMD_HOME) != 0 && job->home == worker->index)
        call->client = job->client;
}

/* ---- gathers ---- */

static void control_ask_destroy(struct control_ask *ask)
{
    if (ask == NULL)
        return;
    reply_memory_fini(&ask->part.memory);
    free(ask);
}

void job_gathers_destroy(struct job *job)
{
    control_ask_destroy(job->control_ask);
    job->control_ask = NULL;
    if (job->afterwards != NULL)
        reply_memory_fini(&job->afterwards->replies);
    free(job->afterwards);
    job->afterwards = NULL;
    while (job->gathers != NULL) {
        struct gather *gather = job->gathers;
        job->gathers = gather->next;
        for (uint32_t i = 0; i < gather->worker_count; i++)
            reply_memory_fini(&gather->parts[i].memory);
        free(gather->parts);
        free(gather->asks);
        free(gather);
    }
}

static void gather_part(struct worker *worker, struct gather *gather)
{
    struct gather_part *part = &gather->parts[worker->index];

    gather->call.command->gather(worker, &gather->call, &part->memory, &part->number);
    reply_memory_finish(&part->memory);
}

static void gather_there(struct worker *worker, struct mail_call *call)
{
    gather_part(worker, ((struct gather_ask *)call->argument)->gather);
}

static void gather_back(struct worker *worker, struct mail_call *call)
{
    struct gather *gather = ((struct gather_ask *)call->argument)->gather;

    if (--gather->open == 0 && --gather->job->gathers_open == 0)
        job_resume(worker, gather->job);
}

static bool gather_start(struct worker *worker, struct job *job, uint32_t index)
{
    uint32_t count = worker->node->worker_count;
    struct gather *gather = calloc(1, sizeof *gather);

    if (gather == NULL)
        return false;
    gather->parts = calloc(count, sizeof *gather->parts);
    gather->asks = calloc(count, sizeof *gather->asks);
    if (gather->parts == NULL || gather->asks == NULL) {
        free(gather->parts);
        free(gather->asks);
        free(gather);
        return false;
    }
    gather->job = job;
    gather->index = index;
    gather->worker_count = count;
    call_of(&gather->call, worker, job, index);
    for (uint32_t i = 0; i < count; i++)
        reply_memory_init(&gather->parts[i].memory, gather->call.session->resp, NULL, 0);
    gather->next = job->gathers;
    job->gathers = gather;
    return true;
}

/* Starts all gathers of the job. False while parts are outstanding. */
static bool gather_all(struct worker *worker, struct job *job)
{
    job->gathers_open = 0;
    for (uint32_t i = 0; i < job->count; i++)
        if ((job->commands[i].command->flags & CMD_GATHER) != 0 && !gather_start(worker, job, i))
            continue; /* the command itself will say that there is no memory */
    for (struct gather *gather = job->gathers; gather != NULL; gather = gather->next) {
        gather->open = gather->worker_count - 1;
        job->gathers_open += gather->open > 0;
    }
    for (struct gather *gather = job->gathers; gather != NULL; gather = gather->next) {
        for (uint32_t to = 0; to < gather->worker_count; to++) {
            struct gather_ask *ask = &gather->asks[to];
            if (to == worker->index) {
                gather_part(worker, gather);
                continue;
            }
            ask->gather = gather;
            ask->call =
                (struct mail_call){.run = gather_there, .done = gather_back, .argument = ask};
            mail_call(worker, to, &ask->call);
        }
    }
    return job->gathers_open == 0;
}

static struct gather *gather_of(struct job *job, uint32_t index)
{
    for (struct gather *gather = job->gathers; gather != NULL; gather = gather->next)
        if (gather->index == index)
            return gather;
    return NULL;
}

/* ---- the control thread ---- */

static void control_answered(void *runner, struct task *task)
{
    struct control_ask *ask = (struct control_ask *)task;

    job_resume(runner, ask->job);
}

static void control_asked(void *runner, struct task *task)
{
    struct control_ask *ask = (struct control_ask *)task;

    ask->call.command->on_control(&ask->call, &ask->part);
    reply_memory_finish(&ask->part.memory);
    ask->task.run = control_answered;
    worker_post(ask->home, &ask->task);
}

/* True: the job waits for the answer. A job with a command that asks runs at home. */
static bool ask_control(struct worker *worker, struct job *job, uint32_t index)
{
    const struct node_control *control = worker->node->control_calls;
    struct control_ask *ask;

    if ((job->commands[index].command->flags & CMD_CONTROL) == 0 || control == NULL)
        return false;
    ask = calloc(1, sizeof *ask);
    if (ask == NULL)
        return false; /* attach_control says so */
    ask->task.run = control_asked;
    ask->home = worker;
    ask->job = job;
    call_of(&ask->call, worker, job, index);
    reply_memory_init(&ask->part.memory, job->session.resp, NULL, 0);
    ask->part.number = ask->call.client != NULL && ask->call.client->conn != NULL &&
                       worker->driver->is_loopback(ask->call.client->conn);
    job->control_ask = ask;
    control->post(worker->node->control, &ask->task);
    return true;
}

/* ---- commands ---- */

static uint64_t written(const struct reply *reply)
{
    return reply->committed_bytes + (uint64_t)(reply->cur - reply->base);
}

static bool attach_control(struct job *job, struct call *call)
{
    if (job->control_ask == NULL) {
        reply_error(call->reply, "-OOM no memory to ask the control thread");
        return false;
    }
    call->parts = &job->control_ask->part;
    call->part_count = 1;
    return true;
}

static bool attach_gather(struct job *job, uint32_t index, struct call *call)
{
    struct gather *gather;

    if ((call->command->flags & CMD_CONTROL) != 0 && job->kind == JOB_COMMANDS)
        return attach_control(job, call);
    if ((call->command->flags & CMD_GATHER) == 0)
        return true;
    gather = gather_of(job, index);
    if (gather == NULL) {
        reply_error(call->reply, "-OOM no memory to ask all workers");
        return false;
    }
    call->parts = gather->parts;
    call->part_count = gather->worker_count;
    return true;
}

/* Keeps a walk's state for its next step, at another slot. */
static bool walk_on(struct job *job, const struct call *call)
{
    if (call->continue_slot < 0 || job->kind == JOB_EXEC)
        return false;
    if (job->call == NULL)
        job->call = malloc(sizeof *job->call);
    if (job->call == NULL) {
        reply_error(call->reply, "-OOM no memory to go on");
        return false;
    }
    *job->call = *call;
    job->reroute = true;
    job->second_round = false;
    return true;
}

static void run_command(struct worker *worker, struct job *job, uint32_t index)
{
    struct call call;
    uint64_t before = written(&job->reply.reply);

    call_of(&call, worker, job, index);
    if (job->call != NULL) {
        memcpy(call.walk_state, job->call->walk_state, sizeof call.walk_state);
        call.continue_slot = job->call->continue_slot;
    } else {
        memset(call.walk_state, 0, sizeof call.walk_state);
    }
    if (attach_gather(job, index, &call)) {
        do {
            call_run(&call);
        } while (call.in_transaction && call.continue_slot >= 0);
    }
    if (walk_on(job, &call))
        return;
    uint64_t bytes = written(&job->reply.reply) - before;
    job->commands[index].reply_bytes = (uint32_t)bytes;
    job->commands[index].reply_bytes_high = (uint32_t)(bytes >> 32);
}

/* ---- transactions ---- */

static bool watches_hold(struct worker *worker, struct job *job)
{
    bool hold = true;

    for (uint32_t i = 0; i < job->watch_count; i++)
        if (watch_check(worker->node, job->watches[i].slot, job->session.client_id,
                        worker->now_unix_ms))
            hold = false;
    for (uint32_t i = 0; i < job->watch_count; i++)
        watch_remove_client(worker->node, worker->memory, job->watches[i].slot,
                            job->session.client_id);
    return hold;
}

/* Does this command of a transaction ask the control thread? */
static bool comes_afterwards(struct worker *worker, struct job *job, uint32_t index)
{
    const struct command *command = job->commands[index].command;
    struct call call;

    if (command->waits == NULL || worker->node->control_calls == NULL)
        return false;
    call_of(&call, worker, job, index);
    return command->waits(&call);
}

/* False: no memory for the commands that come afterwards. */
static bool plan_afterwards(struct worker *worker, struct job *job)
{
    uint32_t i = 0;

    while (i < job->count && !comes_afterwards(worker, job, i))
        i++;
    if (i == job->count)
        return true;
    job->afterwards = calloc(1, sizeof *job->afterwards);
    if (job->afterwards == NULL)
        return false;
    job->afterwards->last = job->count;
    reply_memory_init(&job->afterwards->replies, job->session.resp, NULL, 0);
    return true;
}

static void run_transaction(struct worker *worker, struct job *job)
{
    struct call call;

    if (!plan_afterwards(worker, job)) {
        reply_error(&job->reply.reply, "-OOM no memory for this transaction");
        return;
    }
    reply_array(&job->reply.reply, job->count);
    if (job->count == 0)
        return;
    if (job->afterwards != NULL) {
        reply_memory_finish(&job->reply);
        reply_memory_move(&job->reply, &job->afterwards->replies.reply);
    }
    call_of(&call, worker, job, 0);
    gate_transaction_begin(&call);
    for (uint32_t i = 0; i < job->count; i++) {
        if (job->afterwards != NULL && comes_afterwards(worker, job, i))
            continue;
        run_command(worker, job, i);
        if (job->afterwards != NULL && job->reply.reply.muted && job->afterwards->last > i)
            job->afterwards->last = i;
    }
    gate_transaction_end(&call);
}

static void run_asked(struct worker *worker, struct job *job, uint32_t index)
{
    struct call call;

    call_of(&call, worker, job, index);
    call.reply = &job->afterwards->replies.reply;
    if (attach_control(job, &call))
        call_run(&call);
    control_ask_destroy(job->control_ask);
    job->control_ask = NULL;
}

/* False while the control thread is asked. In the end the replies are in order. */
static bool run_afterwards(struct worker *worker, struct job *job)
{
    struct afterwards *afterwards = job->afterwards;

    reply_memory_finish(&job->reply);
    for (; afterwards->next < job->count; afterwards->next++) {
        const struct job_command *command = &job->commands[afterwards->next];
        afterwards->replies.reply.muted = afterwards->next > afterwards->last;
        if (!comes_afterwards(worker, job, afterwards->next)) {
            reply_memory_take(&job->reply,
                              (uint64_t)command->reply_bytes_high << 32 | command->reply_bytes,
                              &afterwards->replies.reply);
            continue;
        }
        if (job->control_ask == NULL && ask_control(worker, job, afterwards->next))
            return false;
        run_asked(worker, job, afterwards->next);
    }
    reply_memory_finish(&afterwards->replies);
    job->reply.reply.muted = false; /* all are in order, and muted where they have to be */
    reply_memory_move(&afterwards->replies, &job->reply.reply);
    return true;
}

/* Brings the buckets and entries of the commands with one key near, as a batch does for its own. The
 * slots of those that have run are not held any more. */
static void prefetch(struct worker *worker, struct job *job)
{
    const struct keyspace *keyspace = keyspace_get(worker->node, job->session.db);
    uint32_t first = job->next_command;

    if (keyspace == NULL || job->count - first < 2)
        return;
    for (uint32_t i = first; i < job->count; i++)
        if (job->commands[i].key.position != 0)
            __builtin_prefetch(&keyspace->slots[job->commands[i].key.slot]);
    for (uint32_t i = first; i < job->count; i++)
        if (job->commands[i].key.position != 0)
            table_prefetch_bucket(&keyspace->slots[job->commands[i].key.slot].table,
                                  job->commands[i].key.hash);
    for (uint32_t i = first; i < job->count; i++)
        if (job->commands[i].key.position != 0)
            table_prefetch_entry(&keyspace->slots[job->commands[i].key.slot].table,
                                 job->commands[i].key.hash);
}

/* Commands of a burst are no unit: after a slice of long ones it goes home, holding nothing, and is
 * routed again for the rest. */
static void run_burst(struct worker *worker, struct job *job)
{
    uint64_t began_ns = worker->clock_ns;

    while (job->next_command < job->count) {
        run_command(worker, job, job->next_command);
        if (job->reroute) /* a walk, which is alone in its job, goes on elsewhere */
            return;
        job->next_command++;
        if (job->next_command < job->count &&
            (worker->clock_ns - began_ns > BURST_SLICE_NS ||
             job->reply.total_bytes + (size_t)(job->reply.reply.cur - job->reply.reply.base) >
                 BURST_REPLIES_MAX_BYTES)) {
            job->reroute = true;
            job->second_round = false;
            return;
        }
    }
}

bool job_execute(struct worker *worker, struct job *job)
{
    if (!job->begun) {
        bool hold = job->watch_count == 0 || watches_hold(worker, job);
        job->begun = true;
        if (job->kind == JOB_UNWATCH)
            return true;
        if (!hold) {
            job->dropped = true;
            reply_null_array(&job->reply.reply);
            reply_memory_finish(&job->reply);
            return true;
        }
        if (!gather_all(worker, job) ||
            (job->kind == JOB_COMMANDS && ask_control(worker, job, 0)))
            return false;
    }
    worker->clock_ns = run_clock_ns(worker);
    if (job->afterwards == NULL) {
        prefetch(worker, job);
        if (job->kind == JOB_EXEC)
            run_transaction(worker, job);
        else
            run_burst(worker, job);
    }
    if (job->afterwards != NULL && !run_afterwards(worker, job))
        return false;
    reply_memory_finish(&job->reply);
    return true;
}

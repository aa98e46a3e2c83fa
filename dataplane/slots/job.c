#include "dataplane/slots/job.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/slots/crc16.h"
#include "dataplane/worker.h"

enum {
    LOAN_MOVED = 1,
    LOAN_BUSY = 0,
    SLOT_SET_LINEAR = 32,
    READY_MIN = 16, /* parts that are served in one go, also in a long turn */
};

/* ---- slot sets ---- */

void slot_set_init(struct slot_set *set)
{
    set->slots = set->small;
    set->count = 0;
    set->capacity = SLOT_SET_SMALL;
    set->whole = set->home = set->failed = set->has_bits = false;
}

static bool contains(struct slot_set *set, uint16_t slot)
{
    if (set->count <= SLOT_SET_LINEAR && !set->has_bits) {
        for (uint32_t i = 0; i < set->count; i++)
            if (set->slots[i] == slot)
                return true;
        return false;
    }
    if (!set->has_bits) {
        memset(set->bits, 0, sizeof set->bits);
        for (uint32_t i = 0; i < set->count; i++)
            set->bits[set->slots[i] / 64] |= (uint64_t)1 << (set->slots[i] % 64);
        set->has_bits = true;
    }
    return (set->bits[slot / 64] >> (slot % 64) & 1) != 0;
}

void slot_set_add(struct slot_set *set, uint16_t slot)
{
    if (contains(set, slot))
        return;
    if (set->count == set->capacity) {
        uint32_t capacity = set->capacity * 2;
        uint16_t *slots = malloc(capacity * sizeof *slots);
        if (slots == NULL) {
            set->failed = true;
            return;
        }
        memcpy(slots, set->slots, set->count * sizeof *slots);
        slot_set_fini(set);
        set->slots = slots;
        set->capacity = capacity;
    }
    if (set->has_bits)
        set->bits[slot / 64] |= (uint64_t)1 << (slot % 64);
    set->slots[set->count++] = slot;
}

void slot_set_fini(struct slot_set *set)
{
    if (set->slots != set->small)
        free(set->slots);
}

static void add_keys(struct slot_set *set, const struct command *command, const struct text *argv,
                     uint32_t argc)
{
    if (command->find_keys != NULL) {
        uint32_t *positions = malloc(argc * sizeof *positions);
        if (positions == NULL) {
            set->failed = true;
            return;
        }
        int count = command_keys(command, argv, argc, positions, argc);
        for (int i = 0; i < count; i++)
            slot_set_add(set, crc16_slot(argv[positions[i]].data, argv[positions[i]].len_bytes));
        free(positions);
        return;
    }
    if (command->keys.first == 0)
        return;
    int64_t last = command->keys.last < 0 ? (int64_t)argc + command->keys.last : command->keys.last;
    for (int64_t i = command->keys.first; i <= last && i < (int64_t)argc; i += command->keys.step)
        slot_set_add(set, crc16_slot(argv[i].data, argv[i].len_bytes));
}

/* Some slot of this worker's; of another's if it has none. */
static int32_t own_slot(const struct worker *worker)
{
    uint32_t first = (uint32_t)((uint64_t)SLOTS * worker->index / worker->node->worker_count);

    for (uint32_t i = 0; i < SLOTS; i++)
        if (node_owner(worker->node, (first + i) % SLOTS) == worker->index)
            return (int32_t)((first + i) % SLOTS);
    return (int32_t)first;
}

static void add_chosen_slot(struct worker *worker, struct job *job, struct slot_set *set,
                            const struct job_command *command)
{
    struct reply muted = {.muted = true, .resp = 2};
    struct call call = {.worker = worker,
                        .node = worker->node,
                        .session = &job->session,
                        .command = command->command,
                        .argv = command->argv,
                        .argc = command->argc,
                        .reply = &muted,
                        .now_unix_ms = worker->now_unix_ms,
                        .continue_slot = -1};
    int32_t slot = job->call != NULL ? job->call->continue_slot : command->command->slot_of(&call);

    /* "Nothing there" may be what a transaction sees halfway that holds all slots: it goes first. */
    if (slot == -1 && worker->queues->whole != NULL)
        slot = own_slot(worker);
    if (slot >= 0)
        slot_set_add(set, (uint16_t)slot);
}

static void job_slots(struct worker *worker, struct job *job, struct slot_set *set)
{
    slot_set_init(set);
    for (uint32_t i = job->next_command; i < job->count; i++) {
        const struct job_command *command = &job->commands[i];
        uint32_t flags = command->command->flags;

        if ((flags & CMD_HOME) != 0)
            set->home = true;
        if ((flags & CMD_ALL_SLOTS) != 0 || (job->kind == JOB_EXEC && (flags & CMD_WALK) != 0))
            set->whole = true;
        else if ((flags & (CMD_WALK | CMD_AT_SLOT)) != 0)
            add_chosen_slot(worker, job, set, command);
        else if (command->key.position != 0)
            slot_set_add(set, command->key.slot);
        else
            add_keys(set, command->command, command->argv, command->argc);
    }
    for (uint32_t i = 0; i < job->watch_count; i++)
        slot_set_add(set, job->watches[i].slot);
}

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

struct part_block {
    _Atomic uint32_t references; /* the job, and each return under way */
    uint32_t count;
    bool
        inside; /* in the job's own room: a job with one owner runs there, so nothing is ever returned by mail */
    struct loan_part parts[];
};

static void block_put(struct part_block *block)
{
    if (atomic_fetch_sub_explicit(&block->references, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < block->count; i++)
        effects_fini(&block->parts[i].effects);
    if (!block->inside)
        free(block);
}

static void parts_fini(struct job *job)
{
    if (job->block != NULL)
        block_put(job->block);
    job->block = NULL;
    job->parts = NULL;
    job->part_count = 0;
}

void job_destroy(struct job *job)
{
    parts_fini(job);
    reply_memory_fini(&job->reply);
    reply_memory_fini(&job->walk);
    job_gathers_destroy(job);
    free(job->call);
    free(job);
}

/* ---- parts ---- */

/* Cuts the set into one part for each owner, ascending. 0, -ENOMEM, or -EAGAIN when slots moved meanwhile. */
static int make_parts(struct worker *worker, struct job *job, const struct slot_set *set)
{
    struct node *node = worker->node;
    uint16_t counts[WORKERS_MAX] = {0};
    uint16_t index[WORKERS_MAX];
    uint32_t owners = 0, refs = set->whole ? 0 : set->count;

    if (set->failed)
        return -ENOMEM;
    for (uint32_t i = 0; i < refs; i++)
        if (counts[node_owner(node, set->slots[i])]++ == 0)
            owners++;
    if (set->whole)
        owners = node->worker_count;
    if (owners == 0)
        return 0;
    size_t at_refs = aligned(sizeof(struct part_block) + owners * sizeof(struct loan_part));
    size_t bytes = at_refs + refs * sizeof(struct part_ref);
    bool inside = owners == 1 && !set->whole && !set->home && bytes <= sizeof job->parts_room;
    char *memory = inside ? job->parts_room : malloc(bytes);
    if (memory == NULL)
        return -ENOMEM;
    struct part_block *block = (struct part_block *)memory;
    struct part_ref *next_ref = (struct part_ref *)(memory + at_refs);
    atomic_init(&block->references, 1);
    block->count = owners;
    block->inside = inside;
    job->block = block;
    job->parts = block->parts;
    for (uint32_t owner = 0; owner < node->worker_count; owner++) {
        if (!set->whole && counts[owner] == 0)
            continue;
        index[owner] = (uint16_t)job->part_count;
        block->parts[job->part_count++] = (struct loan_part){.job = job,
                                                             .block = block,
                                                             .owner = (uint16_t)owner,
                                                             .whole = set->whole,
                                                             .refs = next_ref};
        next_ref += counts[owner];
    }
    for (uint32_t i = 0; i < refs; i++) {
        uint32_t owner = node_owner(node, set->slots[i]);
        struct loan_part *part = counts[owner] == 0 ? NULL : &job->parts[index[owner]];
        if (part == NULL || part->count == counts[owner])
            return -EAGAIN;
        part->refs[part->count++].slot = set->slots[i];
    }
    return 0;
}

static struct loan_part *part_of(const struct job *job, uint32_t owner)
{
    for (uint32_t i = 0; i < job->part_count; i++)
        if (job->parts[i].owner == owner)
            return &job->parts[i];
    return NULL;
}

struct effects *call_effects(struct call *call, uint16_t slot)
{
    uint32_t owner = node_owner(call->node, slot);

    if (owner == call->worker->index)
        return NULL;
    assert(call->job != NULL);
    struct loan_part *part = part_of(call->job, owner);
    assert(part != NULL); /* a command touched a slot that it did not declare */
    return &part->effects;
}

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
        atomic_fetch_add_explicit(&part->block->references, 1, memory_order_relaxed);
        mail_return(worker, part->owner, part);
    }
}

/* ---- the coordinator ---- */

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

static void collect(struct worker *worker, struct job *job)
{
    struct loan_part *own = part_of(job, worker->index);
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

static void granted(struct worker *worker, struct loan_part *part)
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

static void refused(struct worker *worker, struct loan_part *part, uint32_t why)
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

static void asked(struct worker *worker, struct loan_part *part, bool wait_in_line,
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

static void returned(struct worker *worker, struct loan_part *part)
{
    struct part_block *block = part->block;

    effects_apply(worker, &part->effects);
    queues_leave(worker, part);
    block_put(block);
}

/* ---- the home ---- */

static uint32_t choose_coordinator(const struct worker *worker, const struct job *job,
                                   const struct slot_set *set)
{
    uint32_t best = worker->index, most = 0;

    if (set->whole || set->home || job->part_count == 0)
        return worker->index;
    /* Two owners, one of them here: the home's part travels with the job, two mails instead of three. */
    if (job->part_count == 2 && part_of(job, worker->index) != NULL)
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
    struct loan_part *part = part_of(job, worker->index);

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
        parts_fini(job);
        job_slots(worker, job, &set);
        error = make_parts(worker, job, &set);
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
        collect(worker, job);
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
        collect(worker, mail->body);
        break;
    case MAIL_JOB_DONE:
        came_home(worker, mail->body);
        break;
    case MAIL_LOAN_ASK:
        asked(worker, mail->body, mail->argument != 0, from);
        break;
    case MAIL_LOAN_GRANT:
        granted(worker, mail->body);
        break;
    case MAIL_LOAN_REFUSE:
        refused(worker, mail->body, mail->argument);
        break;
    case MAIL_LOAN_RETURN:
        returned(worker, mail->body);
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

/* Dispatch: whether a command may run, and where. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dataplane/client/batch.h"
#include "dataplane/client/client.h"
#include "dataplane/commands/functions.h"
#include "dataplane/persist/journal.h"
#include "dataplane/slots/crc16.h"
#include "dataplane/store/evict.h"

enum {
    /* Any of these sends a command through all checks. */
    SLOW_FLAGS = CLIENT_MULTI | CLIENT_DIRTY_EXEC | CLIENT_MONITOR | CLIENT_REPLY_OFF |
                 CLIENT_REPLY_SKIP_NEXT | CLIENT_REPLY_SKIP | CLIENT_CLOSE_AFTER_REPLY |
                 CLIENT_WAITING | CLIENT_UNWATCHING,
    PLACED_ELSEWHERE = CMD_HOME | CMD_ALL_SLOTS | CMD_WALK | CMD_GATHER | CMD_CONTROL |
                       CMD_AT_SLOT | CMD_TRANSACTION | CMD_BLOCKING,
    ERROR_TEXT_MAX = 512,
};

static bool arity_fits(const struct command *command, uint32_t argc)
{
    return command->arity < 0 ? argc >= (uint32_t)-command->arity
                              : argc == (uint32_t)command->arity;
}

static bool paused(const struct node *node, const struct worker *worker)
{
    return worker->now_unix_ms <
           atomic_load_explicit(&node->pause_until_unix_ms, memory_order_relaxed);
}

static void call_of(struct call *call, struct client *client, const struct parsed *parsed)
{
    call_init(call, client->worker, &client->session, parsed->command, parsed->argv, parsed->argc,
              &client->reply);
    call->client = client;
}

/* ---- admission ---- */

void run_reject(struct client *client, const struct command *command, const char *error)
{
    struct worker *worker = client->worker;

    if ((client->flags & CLIENT_MULTI) != 0)
        client->flags |= CLIENT_DIRTY_EXEC;
    if (command != NULL)
        count_add(&worker->command_stats[command_number(worker->node->commands, command)].rejected,
                  1);
    if (command != NULL && command->run == cmd_exec) {
        client_unwatch(client);
        multi_discard(client);
        reply_errorf(&client->reply, "-EXECABORT Transaction discarded because of: %s",
                     error[0] == '-' ? error + 1 : error);
    } else {
        reply_error(&client->reply, error);
    }
    run_count_error(worker, reply_error_code(&client->reply));
}

void run_fail(struct client *client, const struct command *command, const char *error)
{
    struct worker *worker = client->worker;
    struct command_stats *stats =
        &worker->command_stats[command_number(worker->node->commands, command)];

    reply_error(&client->reply, error);
    run_count_error(worker, reply_error_code(&client->reply));
    count_add(&stats->calls, 1);
    count_add(&stats->failed, 1);
    count_add(&worker->stats.commands, 1);
}

static void reject_unknown(struct client *client, const struct parsed *parsed)
{
    char text[ERROR_TEXT_MAX], args[160];
    size_t used = 0;

    args[0] = '\0';
    for (uint32_t i = 1; i < parsed->argc && used < 128; i++) {
        int room = 128 - (int)used;
        int len = parsed->argv[i].len_bytes < (size_t)room ? (int)parsed->argv[i].len_bytes : room;
        used +=
            (size_t)snprintf(args + used, sizeof args - used, "'%.*s' ", len, parsed->argv[i].data);
    }
    int len = parsed->argv[0].len_bytes < 128 ? (int)parsed->argv[0].len_bytes : 128;
    snprintf(text, sizeof text, "ERR unknown command '%.*s', with args beginning with: %s", len,
             parsed->argv[0].data, args);
    run_reject(client, NULL, text + 4);
}

static void reject_unknown_sub(struct client *client, const struct parsed *parsed)
{
    char text[ERROR_TEXT_MAX], container[64];
    size_t i = 0;

    for (const char *from = parsed->command->name; *from != '\0' && i + 1 < sizeof container;
         from++)
        container[i++] = *from >= 'a' && *from <= 'z' ? (char)(*from - 32) : *from;
    container[i] = '\0';
    int len = parsed->argv[1].len_bytes < 128 ? (int)parsed->argv[1].len_bytes : 128;
    snprintf(text, sizeof text, "unknown subcommand '%.*s'. Try %s HELP.", len,
             parsed->argv[1].data, container);
    run_reject(client, NULL, text);
}

static bool is_known(struct client *client, const struct parsed *parsed)
{
    const struct command *command = parsed->command;

    if (command == NULL) {
        reject_unknown(client, parsed);
        return false;
    }
    if (command->subcommand_count > 0 && parsed->argc > 1) {
        reject_unknown_sub(client, parsed);
        return false;
    }
    if (!arity_fits(command, parsed->argc)) {
        char text[ERROR_TEXT_MAX];
        snprintf(text, sizeof text, "wrong number of arguments for '%s' command",
                 command_full_name(client->worker->node->commands, command));
        run_reject(client, command, text);
        return false;
    }
    return true;
}

static bool debug_allowed(const struct client *client)
{
    switch ((enum config_local)client->worker->node->config->enable_debug_command) {
    case CONFIG_YES:
        return true;
    case CONFIG_LOCAL:
        return client->conn != NULL && client->worker->driver->is_loopback(client->conn);
    case CONFIG_NO:
        break;
    }
    return false;
}

static bool allowed(struct client *client, const struct command *command)
{
    if (command->run == cmd_debug && !debug_allowed(client)) {
        run_reject(client, command,
                   "DEBUG command not allowed. If the enable-debug-command option is set to "
                   "\"local\", you can run it from a local "
                   "connection, otherwise you need to set this option in the configuration file, "
                   "and then restart the server.");
        return false;
    }
    if (client_is_anonymous(client) && (command->flags & CMD_NO_AUTH) == 0) {
        run_reject(client, command, "-NOAUTH Authentication required.");
        return false;
    }
    if ((client->flags & CLIENT_MULTI) != 0 && (command->flags & CMD_NO_MULTI) != 0) {
        run_reject(client, command, "Command not allowed inside a transaction");
        return false;
    }
    return true;
}

/* Cluster rules on a port for one core. Returns the slot, -1 for no key, -2 when an error was replied. */
static int32_t cluster_slot(struct client *client, const struct parsed *parsed)
{
    struct node *node = client->worker->node;
    int32_t slot = -1;
    uint32_t positions_small[64], *positions = positions_small;
    uint32_t max = parsed->argc;

    if (max > 64 && (positions = malloc(max * sizeof *positions)) == NULL) {
        run_reject(client, parsed->command, "-OOM no memory to find the keys");
        return -2;
    }
    int count = command_keys(parsed->command, parsed->argv, parsed->argc, positions, max);
    for (int i = 0; i < count && slot != -2; i++) {
        int32_t of_key =
            crc16_slot(parsed->argv[positions[i]].data, parsed->argv[positions[i]].len_bytes);
        if (slot >= 0 && of_key != slot) {
            run_reject(client, parsed->command,
                       "-CROSSSLOT Keys in request don't hash to the same slot");
            slot = -2;
        } else {
            slot = of_key;
        }
    }
    if (positions != positions_small)
        free(positions);
    if (slot < 0)
        return slot;
    uint32_t owner = node_owner(node, (uint32_t)slot);
    if (owner != client->session.port_worker) {
        char text[ERROR_TEXT_MAX];
        client_moved_text(client, (uint16_t)slot, owner, text, sizeof text);
        run_reject(client, parsed->command, text);
        return -2;
    }
    return slot;
}

/* Of a transaction's keys; MULTI has made the block. */
static void note_slot(struct client *client, int32_t slot)
{
    struct multi *multi = &client->extra->multi;

    multi->slot = multi->slot == -1 || multi->slot == slot ? slot : -2;
}

static bool cluster_allows(struct client *client, const struct parsed *parsed)
{
    int32_t slot = cluster_slot(client, parsed);

    if (slot == -2)
        return false;
    if ((client->flags & CLIENT_MULTI) != 0 && slot >= 0)
        note_slot(client, slot);
    if (parsed->command->run != cmd_exec || client_extra(client)->multi.slot != -2)
        return true;
    client_unwatch(client);
    multi_discard(client);
    run_reject(client, NULL, "-CROSSSLOT Keys in request don't hash to the same slot");
    return false;
}

static bool out_of_memory(struct client *client, const struct parsed *parsed)
{
    const struct command *command = parsed->command;
    bool in_multi = (client->flags & CLIENT_MULTI) != 0;
    bool denied = (command->flags & CMD_DENYOOM) != 0;
    struct call call;

    if (command->run == cmd_exec)
        denied = (client_extra(client)->multi.flags_seen & CMD_DENYOOM) != 0;
    else if (in_multi && command->run != cmd_discard && command->run != cmd_quit &&
             command->run != cmd_reset)
        denied = true; /* a queue takes memory, whatever is in it */
    if (client->worker->node->config->maxmemory == 0 || !denied)
        return false;
    call_of(&call, client, parsed);
    return !evict_before_write(&call);
}

/* The journal's reader is behind, or the journal has lost its memory: no write may run. */
static bool journal_in_trouble(const struct node *node, const struct worker *worker)
{
    return atomic_load_explicit(&node->journal_readers, memory_order_relaxed) > 0 &&
           (journal_over_limit(worker->journal) || journal_failed(worker->journal));
}

static bool must_pause(struct client *client, const struct command *command)
{
    struct node *node = client->worker->node;
    uint32_t flags =
        command->run == cmd_exec ? client_extra(client)->multi.flags_seen : command->flags;

    if (journal_in_trouble(node, client->worker) && (flags & (CMD_WRITE | CMD_MAY_REPLICATE)) != 0)
        return true;
    if (!paused(node, client->worker) || command->run == cmd_client_unpause)
        return false;
    return !atomic_load_explicit(&node->pause_writes_only, memory_order_relaxed) ||
           (flags & (CMD_WRITE | CMD_MAY_REPLICATE)) != 0;
}

enum admission { ADMITTED, REPLIED, MUST_WAIT };

static enum admission admit(struct client *client, const struct parsed *parsed)
{
    const struct command *command = parsed->command;

    if (command == NULL &&
        (text_is(parsed->argv[0], "post") || text_is(parsed->argv[0], "host:"))) {
        client_close(client, false); /* a browser that was tricked into speaking to us */
        return REPLIED;
    }
    if (!is_known(client, parsed))
        return REPLIED;
    if (!allowed(client, command))
        return REPLIED;
    if (client->session.cluster && !cluster_allows(client, parsed))
        return REPLIED;
    if (out_of_memory(client, parsed)) {
        run_reject(client, command, "-OOM command not allowed when used memory > 'maxmemory'.");
        return REPLIED;
    }
    if (journal_failed(client->worker->journal) && (command->flags & CMD_WRITE) != 0) {
        run_reject(client, command,
                   "-MISCONF Errors writing to the journal: it ran out of memory. Writes are "
                   "refused until it is stopped and started again.");
        return REPLIED;
    }
    /* Read first: a change that comes meanwhile has us look again. */
    uint64_t pause_generation =
        atomic_load_explicit(&client->worker->node->pause_generation, memory_order_acquire);
    if (must_pause(client, command)) {
        client->flags |= CLIENT_PAUSED;
        if (client->worker->clients->paused++ == 0) /* else some may wait since an older one */
            client->worker->clients->pause_generation_seen = pause_generation;
        return MUST_WAIT;
    }
    return ADMITTED;
}

/* ---- running here and now ---- */

static inline void run_one_key(struct client *client, const struct parsed *parsed)
{
    struct call call;

    call_of(&call, client, parsed);
    call.keys[0] = (struct call_key){.hash = parsed->hash,
                                     .position = (uint32_t)parsed->command->keys.first,
                                     .slot = parsed->slot};
    call.key_count = 1;
    call_run(&call);
}

static void run_here(struct client *client, const struct parsed *parsed)
{
    struct call call;

    call_of(&call, client, parsed);
    call_run(&call);
}

/* ---- routing ---- */

/* Owners of a command's keys. */
struct owners {
    uint32_t first; /* owner of the first key */
    bool several;   /* more than one owner */
    bool busy;      /* a slot of ours is lent or waited for */
    bool none;
};

static void note_owner(const struct worker *worker, struct owners *owners, struct text key)
{
    uint16_t slot = crc16_slot(key.data, key.len_bytes);
    uint32_t owner = node_owner(worker->node, slot);

    if (owners->none)
        owners->first = owner;
    else if (owner != owners->first)
        owners->several = true;
    owners->none = false;
    if (owner == worker->index && slots_busy(worker, slot))
        owners->busy = true;
}

static struct owners find_owners(const struct worker *worker, const struct parsed *parsed)
{
    struct owners owners = {.first = worker->index, .none = true};
    const struct command *command = parsed->command;

#ifdef POLLUX_NO_SLOT_LAYER
    return owners;
#endif
    if (parsed->kind == PARSED_ONE_KEY) {
        owners.first = node_owner(worker->node, parsed->slot);
        owners.none = false;
        owners.busy = owners.first == worker->index && slots_busy(worker, parsed->slot);
        return owners;
    }
    if (command->find_keys != NULL) {
        uint32_t positions[CALL_KEYS_MAX];
        int count = command_keys(command, parsed->argv, parsed->argc, positions, CALL_KEYS_MAX);
        owners.several = count == CALL_KEYS_MAX; /* more than we look at: let the job find out */
        for (int i = 0; i < count; i++)
            note_owner(worker, &owners, parsed->argv[positions[i]]);
        return owners;
    }
    if (command->keys.first == 0)
        return owners;
    int64_t last =
        command->keys.last < 0 ? (int64_t)parsed->argc + command->keys.last : command->keys.last;
    for (int64_t i = command->keys.first; i <= last && i < (int64_t)parsed->argc;
         i += command->keys.step)
        note_owner(worker, &owners, parsed->argv[i]);
    return owners;
}

static struct job_command command_of(const struct parsed *parsed)
{
    struct job_command command = {.command = parsed->command,
                                  .argv = parsed->argv,
                                  .argc = parsed->argc};

    if (parsed->kind == PARSED_ONE_KEY)
        command.key = (struct call_key){.hash = parsed->hash,
                                        .position = (uint32_t)parsed->command->keys.first,
                                        .slot = parsed->slot};
    return command;
}

static struct job *new_job(struct client *client, enum job_kind kind,
                           const struct job_command *commands, uint32_t count)
{
    struct job *job = job_create(client->worker, kind, &client->session, commands, count, NULL, 0);

    if (job == NULL) {
        client_reply_begin(client);
        for (uint32_t i = 0; i < count; i++)
            reply_error(&client->reply, "-OOM no memory for a command that spans workers");
        return NULL;
    }
    job->client = client;
    return job;
}

static void send_job(struct client *client, const struct job_command *commands, uint32_t count)
{
    struct job *job = new_job(client, JOB_COMMANDS, commands, count);

    if (job == NULL)
        return;
    client->flags |= CLIENT_WAITING | CLIENT_SENT;
    job_dispatch(client->worker, job);
}

/* Made with the first scattered burst; NULL: no memory. */
static struct plan *client_plan(struct client *client)
{
    struct client_extra *extra = client_extra_make(client);

    if (extra != NULL && extra->plan == NULL)
        extra->plan = calloc(1, sizeof *extra->plan);
    return extra == NULL ? NULL : extra->plan;
}

/* Reads with one owner each: one job an owner, all in flight together. */
static void scatter(struct client *client, const struct job_command *commands,
                    const uint8_t *owner_of, uint32_t count)
{
    struct worker *worker = client->worker;
    struct plan *plan = client_plan(client);
    struct job_command mine[BATCH_COMMANDS_MAX];
    uint8_t index_of[WORKERS_MAX];

    if (plan == NULL) {
        send_job(client, commands, count);
        return;
    }
    memset(index_of, 0xff, worker->node->worker_count);
    plan->job_count = 0;
    plan->command_count = count;
    plan->delivered = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t owner = owner_of[i], mine_count = 0;
        if (index_of[owner] == 0xff) {
            index_of[owner] = (uint8_t)plan->job_count;
            for (uint32_t k = i; k < count; k++)
                if (owner_of[k] == owner)
                    mine[mine_count++] = commands[k];
            struct job *job = new_job(client, JOB_COMMANDS, mine, mine_count);
            if (job == NULL)
                client_close(client, false); /* replies would be out of step */
            else
                job->origin = plan->job_count;
            plan->taken_of[plan->job_count] = plan->ran_of[plan->job_count] = 0;
            plan->jobs[plan->job_count++] = job;
        }
        plan->order[i] = index_of[owner];
    }
    plan->open = 0;
    for (uint32_t i = 0; i < plan->job_count; i++)
        plan->open += plan->jobs[i] != NULL;
    if (plan->open == 0)
        return;
    client->flags |= CLIENT_WAITING | CLIENT_SENT | CLIENT_SCATTERED;
    for (uint32_t i = 0, jobs = plan->job_count; i < jobs; i++)
        if (plan->jobs[i] != NULL)
            job_dispatch(worker, plan->jobs[i]);
}

static bool may_join_burst(const struct client *client, const struct parsed *parsed)
{
    const struct command *command = parsed->command;

    return command != NULL && (command->flags & PLACED_ELSEWHERE) == 0 &&
           (parsed->kind == PARSED_ONE_KEY || command->keys.first > 0) &&
           command->subcommand_count == 0 && arity_fits(command, parsed->argc) &&
           !((command->flags & CMD_DENYOOM) != 0 && client->worker->node->config->maxmemory != 0);
}

/* The command, and those behind it that may travel with it. Returns how many. */
static uint32_t send_burst(struct client *client, struct parsed *parsed, uint32_t count)
{
    struct worker *worker = client->worker;
    struct node *node = worker->node;
    struct job_command commands[BATCH_COMMANDS_MAX];
    uint8_t owner_of[BATCH_COMMANDS_MAX];
    bool all_reads = true, one_each = true, several = false;
    uint32_t taken = 0;

    if ((client->flags & SLOW_FLAGS) != 0 || client->session.cluster || paused(node, worker) ||
        journal_in_trouble(node, worker) ||
        atomic_load_explicit(&node->monitors, memory_order_relaxed) > 0)
        count = 1;
    while (taken < count && (taken == 0 || may_join_burst(client, &parsed[taken]))) {
        struct owners owners = find_owners(worker, &parsed[taken]);
        commands[taken] = command_of(&parsed[taken]);
        owner_of[taken] = (uint8_t)owners.first;
        all_reads = all_reads && (parsed[taken].command->flags & CMD_WRITE) == 0;
        one_each = one_each && !owners.several;
        several = several || owners.several || owner_of[taken] != owner_of[0];
        taken++;
    }
    if (taken > 1 && several && all_reads && one_each)
        scatter(client, commands, owner_of, taken);
    else
        send_job(client, commands, taken);
    return taken;
}

/* What a reply leaves behind for the next one. */
static void after_reply(struct client *client, const struct command *command)
{
    if ((client->flags & CLIENT_REPLY_SKIP) != 0)
        client->flags &= ~(uint32_t)CLIENT_REPLY_SKIP;
    if ((client->flags & CLIENT_REPLY_SKIP_NEXT) != 0) {
        client->flags &= ~(uint32_t)CLIENT_REPLY_SKIP_NEXT;
        client->flags |= CLIENT_REPLY_SKIP;
    }
    if (command != NULL && command->run != cmd_asking && (client->flags & CLIENT_MULTI) == 0)
        client->flags &= ~(uint32_t)CLIENT_ASKING;
    client_reply_begin(
        client); /* mutes the next or not: the common case of client_run does not look at the flags */
}

static bool has_monitors(const struct client *client)
{
    return atomic_load_explicit(&client->worker->node->monitors, memory_order_relaxed) > 0;
}

/* MONITOR shows commands when they have run: queued ones with EXEC, and QUIT never. */
static void feed_monitors(struct client *client, const struct parsed *parsed, bool queued)
{
    if (has_monitors(client) && !queued && parsed->command->run != cmd_quit)
        monitor_feed(client, client->session.db, parsed->command, parsed->argv, parsed->argc);
}

static bool is_queued(const struct client *client, const struct command *command)
{
    return (client->flags & CLIENT_MULTI) != 0 && (command->flags & CMD_TRANSACTION) == 0;
}

static uint32_t route(struct client *client, struct parsed *parsed, uint32_t count)
{
    const struct command *command = parsed->command;
    struct job_command alone = command_of(parsed);

    if ((command->flags & CMD_TRANSACTION) != 0 && command->run == cmd_exec)
        return client_exec(client, parsed);
    if ((command->flags & CMD_TRANSACTION) != 0 && command->run == cmd_watch)
        return client_watch(client, parsed);
    if (is_queued(client, command)) {
        multi_queue(client, parsed);
        return 1;
    }
    if ((command->flags & (CMD_ALL_SLOTS | CMD_WALK | CMD_GATHER | CMD_CONTROL | CMD_AT_SLOT)) !=
        0) {
        send_job(client, &alone, 1);
        return 1;
    }
    if ((command->flags & CMD_HOME) != 0) {
        run_here(client, parsed);
        return 1;
    }
    struct owners owners = find_owners(client->worker, parsed);
    if (!owners.several && !owners.busy && owners.first == client->worker->index) {
        if (parsed->kind == PARSED_ONE_KEY)
            run_one_key(client, parsed);
        else
            run_here(client, parsed);
        return 1;
    }
    return send_burst(client, parsed, count);
}

uint32_t client_run(struct client *client, struct parsed *parsed, uint32_t count)
{
    struct worker *worker = client->worker;
    struct node *node = worker->node;
    const struct command *command = parsed->command;

    /* The common case: one key, ours, nobody in the way. */
    if (parsed->kind == PARSED_ONE_KEY &&
        (client->flags & (SLOW_FLAGS | CLIENT_AUTHENTICATED)) == CLIENT_AUTHENTICATED &&
        (command->flags & PLACED_ELSEWHERE) == 0 && !client->session.cluster &&
        arity_fits(command, parsed->argc) &&
#ifndef POLLUX_NO_SLOT_LAYER
        node_owner(node, parsed->slot) == worker->index &&
        !queues_slot_busy(worker->queues, parsed->slot) &&
#endif
        command->subcommand_count == 0 && !paused(node, worker) &&
        !journal_in_trouble(node, worker) &&
        atomic_load_explicit(&node->monitors, memory_order_relaxed) == 0 &&
        (node->config->maxmemory == 0 || (command->flags & CMD_DENYOOM) == 0)) {
        client->last_command = command;
        run_one_key(client, parsed);
        return 1;
    }

    client_reply_begin(client);
    client->last_command = command;
    switch (admit(client, parsed)) {
    case REPLIED:
        if (command != NULL && command->run == cmd_exec)
            feed_monitors(client, parsed, false); /* they have seen its MULTI */
        after_reply(client, command);
        return 1;
    case MUST_WAIT:
        return 0;
    case ADMITTED:
        break;
    }
    bool queued = is_queued(client, command);
    client->flags &= ~(uint32_t)CLIENT_SENT;
    uint32_t taken = route(client, parsed, count);
    if ((client->flags & CLIENT_SENT) == 0) { /* else this is done when the job comes home */
        feed_monitors(client, parsed, queued);
        after_reply(client, command);
    }
    return taken;
}

/* ---- a job came home ---- */

static void monitor_job(struct client *client, const struct job *job)
{
    const struct client_extra *extra = client_extra(client);
    struct text word = {extra->exec_word, sizeof extra->exec_word};

    monitor_feed_job(client, job);
    if (job->kind == JOB_EXEC)
        monitor_feed(client, client->session.db, command_find(client->worker->node->commands, word),
                     &word, 1);
}

void client_job_done(struct worker *worker, struct job *job)
{
    struct client *client = job->client;

    if (job->reroute && job->next_command > 0 && client != NULL) {
        burst_came_halfway(client, job);
        return;
    }
    if (job->reroute || (job->kind == JOB_UNWATCH &&
                         !job->begun)) { /* without memory now: again, until it is done */
        client_redo_job(worker, job);
        return;
    }
    if (job->kind == JOB_UNWATCH) {
        transaction_unwatched(client);
        job_destroy(job);
        return;
    }
    if (client == NULL) { /* the server's own: nobody waits for the answer */
        job_destroy(job);
        return;
    }
    client_reply_begin(client);
    if ((client->flags & CLIENT_SCATTERED) != 0) {
        if (burst_came_home(client, job) > 0)
            return;
        client->flags &= ~(uint32_t)CLIENT_SCATTERED;
    } else {
        reply_memory_move(&job->reply, &client->reply);
        if (has_monitors(client))
            monitor_job(client, job);
        if (job->kind == JOB_EXEC)
            transaction_done(client, job->begun);
        job_destroy(job);
    }
    client_reply_end(client);
    client->flags &= ~(uint32_t)CLIENT_WAITING;
    after_reply(client, client->last_command);
    if ((client->flags & CLIENT_CLOSE_AFTER_REPLY) != 0)
        client_close(client, true);
    client_check_output(client);
    client_continue_later(client);
}

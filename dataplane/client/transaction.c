/* Transactions: the queue between MULTI and EXEC, and the client's end of its watch records. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/client/client.h"
#include "dataplane/commands/functions.h"
#include "dataplane/slots/crc16.h"
#include "dataplane/slots/watch.h"

enum { MULTI_STEP = 8, WATCH_STEP = 8, WATCH_SEARCH_MAX = 64 };

/* ---- the queue ---- */

void multi_discard(struct client *client)
{
    struct client_extra *extra = client->extra;

    if (extra != NULL) {
        for (uint32_t i = 0; i < extra->multi.count; i++)
            free(extra->multi.commands[i].argv);
        free(extra->multi.commands);
        extra->multi = (struct multi){.slot = -1};
    }
    client->flags &= ~(uint32_t)(CLIENT_MULTI | CLIENT_DIRTY_EXEC);
}

/* A copy of the arguments in one allocation, vector first. */
static struct text *copy_arguments(const struct parsed *parsed, size_t *bytes_out)
{
    size_t bytes = parsed->argc * sizeof(struct text);
    struct text *argv;
    char *to;

    for (uint32_t i = 0; i < parsed->argc; i++)
        bytes += parsed->argv[i].len_bytes;
    argv = malloc(bytes);
    if (argv == NULL)
        return NULL;
    to = (char *)(argv + parsed->argc);
    for (uint32_t i = 0; i < parsed->argc; i++) {
        argv[i] = (struct text){to, parsed->argv[i].len_bytes};
        memcpy(to, parsed->argv[i].data, parsed->argv[i].len_bytes);
        to += parsed->argv[i].len_bytes;
    }
    *bytes_out = bytes;
    return argv;
}

void multi_queue(struct client *client, const struct parsed *parsed)
{
    struct multi *multi = &client->extra->multi; /* by MULTI */
    size_t bytes = 0;
    struct text *argv = NULL;

    if ((client->flags & CLIENT_DIRTY_EXEC) != 0) { /* it will not run: keep nothing */
        reply_status(&client->reply, "QUEUED");
        return;
    }
    if (multi->bytes > (uint64_t)client->worker->node->config->client_query_buffer_limit) {
        client_close(client, false);
        return;
    }
    if (multi->count == multi->capacity) {
        uint32_t capacity = multi->capacity == 0 ? MULTI_STEP : multi->capacity * 2;
        struct job_command *grown = realloc(multi->commands, capacity * sizeof *grown);
        if (grown != NULL) {
            multi->commands = grown;
            multi->capacity = capacity;
        }
    }
    if (multi->count < multi->capacity)
        argv = copy_arguments(parsed, &bytes);
    if (argv == NULL) {
        run_reject(client, parsed->command, "-OOM no memory to queue this command");
        return;
    }
    multi->commands[multi->count++] =
        (struct job_command){.command = parsed->command, .argv = argv, .argc = parsed->argc};
    multi->flags_seen |= parsed->command->flags;
    multi->bytes += bytes + sizeof(struct job_command);
    reply_status(&client->reply, "QUEUED");
}

void cmd_multi(struct call *call)
{
    struct client *client = call->client;

    if ((client->flags & CLIENT_MULTI) != 0) {
        reply_error(call->reply, "MULTI calls can not be nested");
        return;
    }
    struct client_extra *extra = client_extra_make(client);
    if (extra == NULL) {
        reply_error(call->reply, "-OOM no memory for a transaction");
        return;
    }
    client->flags |= CLIENT_MULTI;
    extra->multi.slot = -1;
    reply_ok(call->reply);
}

void cmd_discard(struct call *call)
{
    struct client *client = call->client;

    if ((client->flags & CLIENT_MULTI) == 0) {
        reply_error(call->reply, "DISCARD without MULTI");
        return;
    }
    multi_discard(client);
    client_unwatch(client);
    reply_ok(call->reply);
}

static void forget_watches(struct client *client)
{
    struct client_extra *extra = client->extra;

    if (extra == NULL)
        return;
    free(extra->watches);
    free(extra->watch_bits);
    extra->watches = NULL;
    extra->watch_bits = NULL;
    extra->watch_count = extra->watch_capacity = 0;
}

/* ---- EXEC ---- */

/* EXEC is taken by client_exec before it could be run as a command of its own. */
void cmd_exec(struct call *call)
{
    reply_error(call->reply, "EXEC without MULTI");
}

uint32_t client_exec(struct client *client, const struct parsed *parsed)
{
    struct worker *worker = client->worker;
    struct command_stats *stats =
        &worker->command_stats[command_number(worker->node->commands, parsed->command)];
    struct client_extra *extra = client->extra; /* there is one if there was a MULTI */
    struct job *job;

    if ((client->flags & CLIENT_MULTI) == 0) {
        run_fail(client, parsed->command, "EXEC without MULTI");
        return 1;
    }
    if ((client->flags & CLIENT_DIRTY_EXEC) != 0) {
        client_unwatch(client);
        multi_discard(client);
        run_fail(client, parsed->command,
                 "-EXECABORT Transaction discarded because of previous errors.");
        return 1;
    }
    job = job_create(worker, JOB_EXEC, &client->session, extra->multi.commands, extra->multi.count,
                     extra->watches, extra->watch_count);
    if (job == NULL) {
        client_unwatch(client);
        multi_discard(client);
        run_fail(client, parsed->command,
                 "-EXECABORT Transaction discarded because of: OOM no memory to run it");
        return 1;
    }
    count_add(&stats->calls, 1);
    count_add(&worker->stats.commands, 1);
    job->client = client;
    extra->executing = extra->multi.count + 1;
    memcpy(extra->exec_word, parsed->argv[0].data, sizeof extra->exec_word);
    multi_discard(client);
    client->flags |= CLIENT_WAITING | CLIENT_SENT;
    job_dispatch(worker, job);
    return 1;
}

/* ---- watches ---- */

/* Does the client watch something in this slot already? A client may name any number of keys, so a list is searched only while it is short. */
static bool slot_watched(const struct client_extra *extra, uint16_t slot)
{
    if (extra->watch_bits != NULL)
        return (extra->watch_bits[slot / 64] >> (slot % 64) & 1) != 0;
    for (uint32_t i = 0; i < extra->watch_count; i++)
        if (extra->watches[i].slot == slot)
            return true;
    return false;
}

static bool start_watch_bits(struct client_extra *extra)
{
    extra->watch_bits = calloc(SLOTS / 64, sizeof *extra->watch_bits);
    if (extra->watch_bits == NULL)
        return false;
    for (uint32_t i = 0; i < extra->watch_count; i++)
        extra->watch_bits[extra->watches[i].slot / 64] |= (uint64_t)1
                                                          << (extra->watches[i].slot % 64);
    return true;
}

/* The records themselves stand in the slots; the client only knows where. */
static bool remember_watch(struct client_extra *extra, uint16_t slot)
{
    if (slot_watched(extra, slot))
        return true;
    if (extra->watch_count == WATCH_SEARCH_MAX && extra->watch_bits == NULL &&
        !start_watch_bits(extra))
        return false;
    if (extra->watch_count == extra->watch_capacity) {
        uint32_t capacity = extra->watch_capacity == 0 ? WATCH_STEP : extra->watch_capacity * 2;
        struct job_watch *grown = realloc(extra->watches, capacity * sizeof *grown);
        if (grown == NULL)
            return false;
        extra->watches = grown;
        extra->watch_capacity = capacity;
    }
    extra->watches[extra->watch_count++] = (struct job_watch){.slot = slot};
    if (extra->watch_bits != NULL)
        extra->watch_bits[slot / 64] |= (uint64_t)1 << (slot % 64);
    return true;
}

/* Runs where the slots are. */
void cmd_watch(struct call *call)
{
    for (uint32_t i = 1; i < call->argc; i++) {
        uint16_t slot = crc16_slot(call->argv[i].data, call->argv[i].len_bytes);
        if (watch_add(call->node, call->worker->memory, slot, call->session->client_id,
                      call->session->db, call->argv[i], call->now_unix_ms) < 0) {
            reply_error(call->reply, "-OOM no memory to watch");
            return;
        }
    }
    reply_ok(call->reply);
}

uint32_t client_watch(struct client *client, struct parsed *parsed)
{
    struct job_command command = {.command = parsed->command,
                                  .argv = parsed->argv,
                                  .argc = parsed->argc};
    struct job *job;

    if ((client->flags & CLIENT_MULTI) != 0) {
        run_fail(client, parsed->command,
                 "WATCH inside MULTI is not allowed"); /* does not spoil the transaction */
        return 1;
    }
    job = job_create(client->worker, JOB_COMMANDS, &client->session, &command, 1, NULL, 0);
    struct client_extra *extra = client_extra_make(client);
    if (extra == NULL && job != NULL) {
        job_destroy(job);
        job = NULL;
    }
    for (uint32_t i = 1; job != NULL && i < parsed->argc; i++) {
        if (!remember_watch(extra, crc16_slot(parsed->argv[i].data, parsed->argv[i].len_bytes))) {
            job_destroy(job);
            job = NULL;
        }
    }
    if (job == NULL) {
        run_reject(client, parsed->command, "-OOM no memory to watch");
        return 1;
    }
    job->client = client;
    client->flags |= CLIENT_WAITING | CLIENT_SENT;
    job_dispatch(client->worker, job);
    return 1;
}

void client_unwatch(struct client *client)
{
    const struct client_extra *extra = client_extra(client);
    struct job *job;

    if (extra->watch_count == 0)
        return;
    job = job_create(client->worker, JOB_UNWATCH, &client->session, NULL, 0, extra->watches,
                     extra->watch_count);
    if (job == NULL)
        return; /* the client still knows them: its next EXEC takes them along, at worst in vain */
    forget_watches(client);
    job->client = client;
    client->flags |= CLIENT_UNWATCHING;
    job_dispatch(client->worker, job);
}

/* EXEC's job came home. It has removed the watch records unless there was no memory to start it. */
void transaction_done(struct client *client, bool begun)
{
    if (begun)
        forget_watches(client);
    else
        client_unwatch(client);
    client->extra->executing = 0;
    client->last_active_unix_ms = client->worker->now_unix_ms;
}

void transaction_unwatched(struct client *client)
{
    client->flags &= ~(uint32_t)CLIENT_UNWATCHING;
    client_continue_later(client);
}

void cmd_unwatch(struct call *call)
{
    client_unwatch(call->client);
    reply_ok(call->reply);
}

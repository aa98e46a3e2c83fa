/* SLOWLOG: entries are kept as the bytes of their reply, so that GET copies and formats nothing. */
#include "dataplane/commands/slowlog.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/client/client.h"
#include "dataplane/commands/functions.h"
#include "dataplane/commands/gather.h"
#include "dataplane/commands/secret.h"

enum {
    HEADER_MAX_BYTES = 24, /* '$' or '*', 20 digits, CR LF */
    CUT_NOTE_MAX_BYTES = 64,
    GET_DEFAULT = 10,
    ENTRY_FIELDS = 6,
};

struct slowlog_entry {
    struct slowlog_entry *newer, *older;
    uint64_t id;
    int64_t unix_s;
    uint64_t duration_us;
    size_t len_bytes;
    char bytes[]; /* RESP: the array of arguments, the client's address, its name */
};

struct slowlog {
    struct slowlog_entry *oldest, *newest;
    uint64_t count;
};

/* In front of each entry in the part of a gather. */
struct entry_mark {
    uint64_t id, len_bytes;
};

struct slowlog *slowlog_create(void)
{
    return calloc(1, sizeof(struct slowlog));
}

static void drop_oldest(struct slowlog *slowlog)
{
    struct slowlog_entry *entry = slowlog->oldest;

    slowlog->oldest = entry->newer;
    if (slowlog->oldest == NULL)
        slowlog->newest = NULL;
    else
        slowlog->oldest->older = NULL;
    slowlog->count--;
    free(entry);
}

static void trim(struct slowlog *slowlog, uint64_t most)
{
    while (slowlog->count > most)
        drop_oldest(slowlog);
}

void slowlog_destroy(struct slowlog *slowlog)
{
    if (slowlog != NULL)
        trim(slowlog, 0);
    free(slowlog);
}

/* ---- one entry ---- */

static char *put_bytes(char *at, const char *data, size_t len_bytes)
{
    if (len_bytes > 0)
        memcpy(at, data, len_bytes);
    return at + len_bytes;
}

static char *put_bulk(char *at, const char *data, size_t len_bytes, const char *note)
{
    size_t note_bytes = strlen(note);

    at += snprintf(at, HEADER_MAX_BYTES, "$%zu\r\n", len_bytes + note_bytes);
    at = put_bytes(at, data, len_bytes);
    at = put_bytes(at, note, note_bytes);
    return put_bytes(at, "\r\n", 2);
}

static char *put_argument(char *at, const struct call *call, uint32_t position)
{
    struct text text = call->argv[position];
    char note[CUT_NOTE_MAX_BYTES] = "";

    if (secret_argument(call->command, call->argv, call->argc, position))
        return put_bulk(at, "", 0, SECRET_SHOWN);
    if (text.len_bytes > SLOWLOG_ARGUMENT_MAX_BYTES) {
        snprintf(note, sizeof note, "... (%zu more bytes)",
                 text.len_bytes - SLOWLOG_ARGUMENT_MAX_BYTES);
        text.len_bytes = SLOWLOG_ARGUMENT_MAX_BYTES;
    }
    return put_bulk(at, text.data, text.len_bytes, note);
}

static char *put_arguments(char *at, const struct call *call)
{
    uint32_t shown = call->argc <= SLOWLOG_ARGUMENTS_MAX ? call->argc : SLOWLOG_ARGUMENTS_MAX - 1;
    char note[CUT_NOTE_MAX_BYTES];

    at += snprintf(at, HEADER_MAX_BYTES, "*%u\r\n", shown + (shown < call->argc));
    for (uint32_t i = 0; i < shown; i++)
        at = put_argument(at, call, i);
    if (shown == call->argc)
        return at;
    snprintf(note, sizeof note, "... (%u more arguments)", call->argc - shown);
    return put_bulk(at, "", 0, note);
}

/* The connection behind the call. Away from home it may be read as well: while its job is out it
 * runs nothing that could change its name, and it is freed by nobody. */
static const struct client *client_of(const struct call *call)
{
    if (call->client != NULL || call->job == NULL)
        return call->client;
    return call->job->client;
}

static struct slowlog_entry *make_entry(const struct call *call)
{
    const struct client *client = client_of(call);
    const char *peer = client == NULL ? "" : client->peer;
    const char *name = client == NULL ? NULL : client_extra(client)->texts[CLIENT_NAME];

    name = name == NULL ? "" : name;
    size_t most = HEADER_MAX_BYTES +
                  (size_t)SLOWLOG_ARGUMENTS_MAX *
                      (HEADER_MAX_BYTES + SLOWLOG_ARGUMENT_MAX_BYTES + CUT_NOTE_MAX_BYTES) +
                  2 * HEADER_MAX_BYTES + strlen(peer) + strlen(name) + 4;
    struct slowlog_entry *entry = malloc(sizeof *entry + most);

    if (entry == NULL)
        return NULL;
    char *at = put_arguments(entry->bytes, call);
    at = put_bulk(at, peer, strlen(peer), "");
    at = put_bulk(at, name, strlen(name), "");
    entry->len_bytes = (size_t)(at - entry->bytes);
    struct slowlog_entry *fitted = realloc(entry, sizeof *entry + entry->len_bytes);
    return fitted != NULL ? fitted : entry;
}

void slowlog_add(struct call *call, uint64_t duration_us)
{
    struct slowlog *slowlog = call->worker->slowlog;
    int64_t most = call->node->config->slowlog_max_len;
    struct slowlog_entry *entry = most > 0 ? make_entry(call) : NULL;

    if (entry != NULL) {
        entry->newer = NULL;
        entry->older = slowlog->newest;
        entry->id =
            atomic_fetch_add_explicit(&call->node->next_slowlog_id, 1, memory_order_relaxed);
        entry->unix_s = call->worker->now_unix_ms / 1000;
        entry->duration_us = duration_us;
        if (slowlog->newest != NULL)
            slowlog->newest->newer = entry;
        else
            slowlog->oldest = entry;
        slowlog->newest = entry;
        slowlog->count++;
    }
    trim(slowlog, (uint64_t)most);
}

/* ---- the commands ---- */

static uint64_t max_len(const struct call *call)
{
    return (uint64_t)call->node->config->slowlog_max_len;
}

/* How many entries GET is asked for; false: the argument is wrong. */
static bool wanted(const struct call *call, uint64_t *count)
{
    int64_t given = GET_DEFAULT;

    if (call->argc > 3)
        return false;
    if (call->argc == 3 && (!text_to_integer(call->argv[2], &given) || given < -1))
        return false;
    *count = given == -1 || (uint64_t)given > max_len(call) ? max_len(call) : (uint64_t)given;
    return true;
}

static void write_entry(struct reply *reply, const struct slowlog_entry *entry)
{
    char head[4 * HEADER_MAX_BYTES];
    int len = snprintf(head, sizeof head, "*%d\r\n:%llu\r\n:%lld\r\n:%llu\r\n", ENTRY_FIELDS,
                       (unsigned long long)entry->id, (long long)entry->unix_s,
                       (unsigned long long)entry->duration_us);
    struct entry_mark mark = {entry->id, (uint64_t)len + entry->len_bytes};

    reply_bytes(reply, (const char *)&mark, sizeof mark);
    reply_bytes(reply, head, (size_t)len);
    reply_bytes(reply, entry->bytes, entry->len_bytes);
}

/* This worker's latest entries, newest first. */
void gather_slowlog_get(struct worker *worker, struct call *call, struct reply_memory *part,
                        uint64_t *number)
{
    struct slowlog *slowlog = worker->slowlog;
    const struct slowlog_entry *entry;
    uint64_t count;

    if (!wanted(call, &count))
        return;
    trim(slowlog, max_len(call));
    for (entry = slowlog->newest; entry != NULL && *number < count; entry = entry->older) {
        write_entry(&part->reply, entry);
        ++*number;
    }
}

/* Ids are given out in the order of time, whichever worker logs. */
static void reply_merged(struct call *call, uint64_t count)
{
    struct entry_mark marks[WORKERS_MAX];
    bool have[WORKERS_MAX];

    for (uint32_t i = 0; i < call->part_count; i++)
        have[i] = gather_read(&call->parts[i], &marks[i], sizeof *marks);
    while (count-- > 0) {
        uint32_t best = WORKERS_MAX;
        for (uint32_t i = 0; i < call->part_count; i++)
            if (have[i] && (best == WORKERS_MAX || marks[i].id > marks[best].id))
                best = i;
        assert(best < WORKERS_MAX);
        reply_memory_take(&call->parts[best].memory, marks[best].len_bytes, call->reply);
        have[best] = gather_read(&call->parts[best], &marks[best], sizeof *marks);
    }
}

void cmd_slowlog_get(struct call *call)
{
    uint64_t count, found = 0;

    if (call->argc > 3) {
        call_wrong_subcommand(call);
        return;
    }
    if (!wanted(call, &count)) {
        reply_error(call->reply, "count should be greater than or equal to -1");
        return;
    }
    if (gather_failed(call))
        return;
    for (uint32_t i = 0; i < call->part_count; i++)
        found += call->parts[i].number;
    if (found > count)
        found = count;
    reply_array(call->reply, found);
    reply_merged(call, found);
}

void gather_slowlog_len(struct worker *worker, struct call *call, struct reply_memory *part,
                        uint64_t *number)
{
    trim(worker->slowlog, max_len(call));
    *number = worker->slowlog->count;
}

void cmd_slowlog_len(struct call *call)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < call->part_count; i++)
        sum += call->parts[i].number;
    reply_integer(call->reply, (int64_t)(sum < max_len(call) ? sum : max_len(call)));
}

void gather_slowlog_reset(struct worker *worker, struct call *call, struct reply_memory *part,
                          uint64_t *number)
{
    trim(worker->slowlog, 0);
}

void cmd_slowlog_reset(struct call *call)
{
    reply_ok(call->reply);
}

void cmd_slowlog_help(struct call *call)
{
    static const char *const lines[] = {
        "GET [<count>]",
        "    The latest entries, newest first (10; -1: all). Each one: id, Unix time, run time",
        "    in microseconds, arguments, address and name of the client.",
        "LEN",
        "    How many entries there are.",
        "RESET",
        "    Drop all entries.",
    };

    call_help(call, lines, sizeof lines / sizeof *lines);
}

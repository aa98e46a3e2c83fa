/* CLIENT and its subcommands. LIST and KILL ask every worker (gathers). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/client/batch.h"
#include "dataplane/client/client.h"
#include "dataplane/commands/functions.h"
#include "dataplane/commands/gather.h"
#include "dataplane/commands/server.h"

/* ---- which clients ---- */

/* What LIST and KILL select by; no data or zero: any. */
struct selection {
    struct text address, local, type;
    uint64_t id;
    bool skip_me;
    uint32_t ids_at; /* LIST ID: position of the first; 0: no such list */
};

/* Why a selection is refused: a format for one text of the client's. */
struct refusal {
    const char *format; /* NULL: a syntax error */
    struct text text;
};

static bool refuse(struct refusal *refusal, const char *format, struct text text)
{
    *refusal = (struct refusal){format, text};
    return false;
}

static void reply_refusal(struct call *call, const struct refusal *refusal)
{
    if (refusal->format == NULL)
        call_syntax_error(call);
    else
        reply_errorf(call->reply, refusal->format, text_shown(refusal->text), refusal->text.data);
}

static bool known_type(struct text type)
{
    return text_is(type, "normal") || text_is(type, "slave") || text_is(type, "replica") ||
           text_is(type, "pubsub") || text_is(type, "master");
}

static bool is_text(struct text text, const char *wanted)
{
    return strlen(wanted) == text.len_bytes && memcmp(text.data, wanted, text.len_bytes) == 0;
}

static bool is_open(const struct client *client)
{
    return client->conn != NULL && (client->flags & CLIENT_CLOSED) == 0;
}

static bool is_at(const struct client *client, struct text wanted)
{
    char local[STREAM_ADDRESS_TEXT_MAX];

    client_local(client, local);
    return is_text(wanted, local);
}

static bool matches(const struct client *client, const struct selection *selection,
                    uint64_t asking_id)
{
    if (!is_open(client))
        return false;
    if (selection->address.data != NULL && !is_text(selection->address, client->peer))
        return false;
    if (selection->local.data != NULL && !is_at(client, selection->local))
        return false;
    if (selection->type.data != NULL && !text_is(selection->type, "normal"))
        return false;
    if (selection->id != 0 && client->session.client_id != selection->id)
        return false;
    return !(selection->skip_me && client->session.client_id == asking_id);
}

/* ---- LIST, INFO ---- */

/* A line that LIST ID asked for, from the worker that knows the client. */
struct listed {
    uint64_t id;
    size_t len_bytes;
    char *line;
};

static bool list_selection(const struct call *call, struct selection *selection,
                           struct refusal *refusal)
{
    *selection = (struct selection){0};
    if (call->argc == 2)
        return true;
    if (call->argc == 4 && text_is(call->argv[2], "type")) {
        selection->type = call->argv[3];
        return known_type(selection->type) ||
               refuse(refusal, "Unknown client type '%.*s'", selection->type);
    }
    if (call->argc == 3 || !text_is(call->argv[2], "id"))
        return refuse(refusal, NULL, call->argv[0]);
    selection->ids_at = 3;
    for (uint32_t i = selection->ids_at; i < call->argc; i++) {
        int64_t id;
        if (!text_to_integer(call->argv[i], &id))
            return refuse(refusal, "Invalid client ID%.*s", (struct text){"", 0});
    }
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

/* The ids asked for, ascending: one look at each client is enough however many there are. NULL: no
 * memory. */
static uint64_t *sorted_ids(const struct call *call, uint32_t first, size_t *count)
{
    uint64_t *ids = malloc((call->argc - first) * sizeof *ids);

    *count = 0;
    for (uint32_t i = first; ids != NULL && i < call->argc; i++) {
        int64_t id;
        if (text_to_integer(call->argv[i], &id) && id > 0)
            ids[(*count)++] = (uint64_t)id;
    }
    if (ids != NULL)
        qsort(ids, *count, sizeof *ids, compare_ids);
    return ids;
}

static size_t describe_line(const struct client *client, char line[CLIENT_LINE_MAX_BYTES])
{
    size_t len = client_describe(client, line, CLIENT_LINE_MAX_BYTES - 1);

    line[len++] = '\n';
    return len;
}

static void gather_listed(struct worker *worker, const struct call *call, uint32_t first,
                          struct reply *reply)
{
    char line[CLIENT_LINE_MAX_BYTES];
    size_t count;
    uint64_t *ids = sorted_ids(call, first, &count);

    if (ids == NULL) {
        reply->failed = true;
        return;
    }
    for (const struct client *client = worker->clients->first; client != NULL;
         client = client->next) {
        struct listed listed = {.id = client->session.client_id};
        if (!is_open(client) || bsearch(&listed.id, ids, count, sizeof *ids, compare_ids) == NULL)
            continue;
        listed.len_bytes = describe_line(client, line);
        reply_bytes(reply, (const char *)&listed, sizeof listed);
        reply_bytes(reply, line, listed.len_bytes);
    }
    free(ids);
}

void gather_client_list(struct worker *worker, struct call *call, struct reply_memory *part,
                        uint64_t *number)
{
    struct selection selection;
    struct refusal refusal;
    char line[CLIENT_LINE_MAX_BYTES];

    (void)number;
    if (!list_selection(call, &selection, &refusal))
        return;
    if (selection.ids_at > 0) {
        gather_listed(worker, call, selection.ids_at, &part->reply);
        return;
    }
    for (const struct client *client = worker->clients->first; client != NULL;
         client = client->next)
        if (matches(client, &selection, 0))
            reply_bytes(&part->reply, line, describe_line(client, line));
}

static void reply_text_header(struct reply *reply, uint64_t len_bytes)
{
    char header[48];
    int len;

    if (reply->resp >= 3)
        len = snprintf(header, sizeof header, "=%llu\r\ntxt:", (unsigned long long)len_bytes + 4);
    else
        len = snprintf(header, sizeof header, "$%llu\r\n", (unsigned long long)len_bytes);
    reply_bytes(reply, header, (size_t)len);
}

void reply_gathered_text(struct call *call)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < call->part_count; i++)
        total += call->parts[i].memory.total_bytes;
    reply_text_header(call->reply, total);
    for (uint32_t i = 0; i < call->part_count; i++)
        reply_memory_move(&call->parts[i].memory, call->reply);
    reply_bytes(call->reply, "\r\n", 2);
}

/* Reads the lines of all workers, ascending by id, into one block; false: no memory. */
static bool read_listed(struct call *call, struct listed **lines, size_t *count)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < call->part_count; i++)
        total += call->parts[i].memory.total_bytes;
    /* A record is longer than its head, so `total` has room for all heads, and again for lines. */
    *count = 0;
    *lines = malloc(2 * total + 1);
    if (*lines == NULL)
        return false;
    char *at = (char *)*lines + total;
    for (uint32_t i = 0; i < call->part_count; i++) {
        struct listed *line = &(*lines)[*count];
        while (gather_read(&call->parts[i], line, sizeof *line)) {
            line->line = at;
            at += line->len_bytes;
            gather_read(&call->parts[i], line->line, line->len_bytes);
            line++;
        }
        *count = (size_t)(line - *lines);
    }
    qsort(*lines, *count, sizeof **lines, compare_ids);
    return true;
}

static const struct listed *find_listed(const struct listed *lines, size_t count, struct text text)
{
    int64_t id;

    if (!text_to_integer(text, &id))
        return NULL;
    return bsearch(&id, lines, count, sizeof *lines, compare_ids);
}

/* In the order of the ids, each as often as it was given. */
static void reply_listed(struct call *call, uint32_t first)
{
    struct listed *lines;
    const struct listed *found;
    uint64_t total = 0;
    size_t count;

    if (gather_failed(call))
        return;
    if (!read_listed(call, &lines, &count)) {
        reply_error(call->reply, "-OOM no memory for the list");
        return;
    }
    for (uint32_t i = first; i < call->argc; i++)
        if ((found = find_listed(lines, count, call->argv[i])) != NULL)
            total += found->len_bytes;
    reply_text_header(call->reply, total);
    for (uint32_t i = first; i < call->argc; i++)
        if ((found = find_listed(lines, count, call->argv[i])) != NULL)
            reply_bytes(call->reply, found->line, found->len_bytes);
    reply_bytes(call->reply, "\r\n", 2);
    free(lines);
}

void cmd_client_list(struct call *call)
{
    struct selection selection;
    struct refusal refusal;

    if (!list_selection(call, &selection, &refusal))
        reply_refusal(call, &refusal);
    else if (selection.ids_at > 0)
        reply_listed(call, selection.ids_at);
    else if (!gather_failed(call))
        reply_gathered_text(call);
}

void cmd_client_info(struct call *call)
{
    char line[CLIENT_LINE_MAX_BYTES];
    size_t len = describe_line(call->client, line);

    reply_verbatim(call->reply, "txt", (struct text){line, len});
}

/* ---- KILL ---- */

/* In a part's number, beside how many were killed: one of them was the caller. */
static const uint64_t KILLED_CALLER = UINT64_C(1) << 32;

static bool kill_option(struct text word, struct text value, struct selection *selection,
                        struct refusal *refusal)
{
    int64_t id;

    if (text_is(word, "id")) {
        if (!text_to_integer(value, &id) || id < 1)
            return refuse(refusal, "client-id should be greater than 0%.*s", (struct text){"", 0});
        selection->id = (uint64_t)id;
    } else if (text_is(word, "type")) {
        selection->type = value;
        return known_type(value) || refuse(refusal, "Unknown client type '%.*s'", value);
    } else if (text_is(word, "addr")) {
        selection->address = value;
    } else if (text_is(word, "laddr")) {
        selection->local = value;
    } else if (text_is(word, "user")) {
        /* There is one user, and all connections are its own. */
        return is_text(value, "default") || refuse(refusal, "No such user '%.*s'", value);
    } else if (text_is(word, "skipme") && (text_is(value, "yes") || text_is(value, "no"))) {
        selection->skip_me = text_is(value, "yes");
    } else {
        return refuse(refusal, NULL, word);
    }
    return true;
}

static bool kill_selection(const struct call *call, struct selection *selection,
                           struct refusal *refusal)
{
    *selection = (struct selection){.skip_me = true};
    if (call->argc == 3) { /* the old form: an address */
        selection->address = call->argv[2];
        selection->skip_me = false;
        return true;
    }
    for (uint32_t i = 2; i < call->argc; i += 2) {
        if (i + 1 >= call->argc)
            return refuse(refusal, NULL, call->argv[i]);
        if (!kill_option(call->argv[i], call->argv[i + 1], selection, refusal))
            return false;
    }
    return true;
}

void gather_client_kill(struct worker *worker, struct call *call, struct reply_memory *part,
                        uint64_t *number)
{
    struct selection selection;
    struct refusal refusal;

    (void)part;
    if (!kill_selection(call, &selection, &refusal))
        return;
    for (struct client *client = worker->clients->first; client != NULL; client = client->next) {
        if (!matches(client, &selection, call->session->client_id))
            continue;
        ++*number;
        if (client->session.client_id == call->session->client_id) {
            client->flags |= CLIENT_CLOSE_AFTER_REPLY; /* it still learns that it killed itself */
            *number += KILLED_CALLER;
        } else {
            client_close(client, false);
        }
    }
}

void cmd_client_kill(struct call *call)
{
    struct selection selection;
    struct refusal refusal;
    uint64_t number = 0, killed;

    if (!kill_selection(call, &selection, &refusal)) {
        reply_refusal(call, &refusal);
        return;
    }
    for (uint32_t i = 0; i < call->part_count; i++)
        number += call->parts[i].number;
    killed = number % KILLED_CALLER;
    if (call->argc > 3)
        reply_integer(call->reply, (int64_t)killed);
    else if (killed > 0)
        reply_ok(call->reply);
    else
        reply_error(call->reply, "No such client");
    /* What follows in its transaction still runs; this is the last reply that it gets. */
    if (number >= KILLED_CALLER && call->in_transaction)
        call->reply->muted = true;
}

/* ---- names ---- */

void cmd_client_id(struct call *call)
{
    reply_integer(call->reply, (int64_t)call->session->client_id);
}

void cmd_client_getname(struct call *call)
{
    const char *name = client_extra(call->client)->texts[CLIENT_NAME];

    if (name == NULL)
        reply_null(call->reply);
    else
        reply_bulk_cstr(call->reply, name);
}

void cmd_client_setname(struct call *call)
{
    if (client_set_text(call, CLIENT_NAME, call->argv[2], "Client names"))
        reply_ok(call->reply);
}

void cmd_client_setinfo(struct call *call)
{
    bool done;

    if (call_option(call, 2, "lib-name")) {
        done = client_set_text(call, CLIENT_LIBRARY_NAME, call->argv[3], "CLIENT SETINFO lib-name");
    } else if (call_option(call, 2, "lib-ver")) {
        done =
            client_set_text(call, CLIENT_LIBRARY_VERSION, call->argv[3], "CLIENT SETINFO lib-ver");
    } else {
        reply_errorf(call->reply, "Unrecognized option '%.*s'", text_shown(call->argv[2]),
                     call->argv[2].data);
        return;
    }
    if (done)
        reply_ok(call->reply);
}

/* ---- switches ---- */

void cmd_client_reply(struct call *call)
{
    struct client *client = call->client;

    if (call_option(call, 2, "on")) {
        client->flags &= ~(uint32_t)(CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT);
        call->reply->muted = client->conn == NULL;
        reply_ok(call->reply);
    } else if (call_option(call, 2, "off")) {
        client->flags |= CLIENT_REPLY_OFF;
    } else if (call_option(call, 2, "skip")) {
        if ((client->flags & CLIENT_REPLY_OFF) == 0)
            client->flags |= CLIENT_REPLY_SKIP_NEXT;
    } else {
        call_syntax_error(call);
    }
}

/* Too many arguments for a subcommand whose arity in the table is open, as in Redis. */
static void too_many(struct call *call)
{
    reply_errorf(call->reply,
                 "unknown subcommand or wrong number of arguments for '%.*s'. Try CLIENT HELP.",
                 call->argv[1].len_bytes > 128 ? 128 : (int)call->argv[1].len_bytes,
                 call->argv[1].data);
}

static int on_or_off(struct call *call)
{
    if (call_option(call, 2, "on"))
        return 1;
    if (call_option(call, 2, "off"))
        return 0;
    call_syntax_error(call);
    return -1;
}

void cmd_client_no_evict(struct call *call)
{
    int on = on_or_off(call);

    if (on < 0)
        return;
    call->client->flags = on != 0 ? call->client->flags | CLIENT_NO_EVICT
                                  : call->client->flags & ~(uint32_t)CLIENT_NO_EVICT;
    call->session->no_evict = on != 0;
    reply_ok(call->reply);
}

void cmd_client_no_touch(struct call *call)
{
    int on = on_or_off(call);

    if (on < 0)
        return;
    call->session->no_touch = on != 0;
    reply_ok(call->reply);
}

/* ---- PAUSE ---- */

void cmd_client_pause(struct call *call)
{
    struct node *node = call->node;
    bool writes_only = false;
    int64_t timeout_ms, until;

    if (call->argc > 4) {
        too_many(call);
        return;
    }
    if (call->argc == 4 && call_option(call, 3, "write")) {
        writes_only = true;
    } else if (call->argc == 4 && !call_option(call, 3, "all")) {
        reply_error(call->reply, "CLIENT PAUSE mode must be WRITE or ALL");
        return;
    }
    if (!text_to_integer(call->argv[2], &timeout_ms)) {
        reply_error(call->reply, "timeout is not an integer or out of range");
        return;
    }
    if (timeout_ms < 0) {
        reply_error(call->reply, "timeout is negative");
        return;
    }
    if (__builtin_add_overflow(timeout_ms, call->now_unix_ms, &until))
        until = INT64_MAX; /* until UNPAUSE; Redis overflows here, and does not pause */
    int64_t standing = atomic_load_explicit(&node->pause_until_unix_ms, memory_order_relaxed);
    if (standing > call->now_unix_ms) { /* the longer and the stricter of both */
        until = standing > until ? standing : until;
        writes_only =
            writes_only && atomic_load_explicit(&node->pause_writes_only, memory_order_relaxed);
    }
    atomic_store_explicit(&node->pause_writes_only, writes_only, memory_order_relaxed);
    atomic_store_explicit(&node->pause_until_unix_ms, until, memory_order_release);
    reply_ok(call->reply);
}

void cmd_client_unpause(struct call *call)
{
    struct node *node = call->node;

    atomic_store_explicit(&node->pause_until_unix_ms, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&node->pause_generation, 1, memory_order_release);
    reply_ok(call->reply);
}

/* ---- blocked clients, tracking: there are none yet, and the answers say so ---- */

void cmd_client_unblock(struct call *call)
{
    int64_t id;

    if (call->argc > 4) {
        too_many(call);
        return;
    }
    if (call->argc == 4 && !call_option(call, 3, "timeout") && !call_option(call, 3, "error")) {
        reply_error(call->reply, "CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        return;
    }
    if (call_integer(call, 2, &id))
        reply_integer(call->reply, 0);
}

void cmd_client_getredir(struct call *call)
{
    reply_integer(call->reply, -1);
}

void cmd_client_help(struct call *call)
{
    static const char *const lines[] = {
        "GETNAME",
        "    The name of this connection.",
        "GETREDIR",
        "    The client that gets this connection's tracking messages (-1: tracking is off).",
        "ID",
        "    The id of this connection.",
        "INFO",
        "    Everything about this connection.",
        "KILL <ip:port>",
        "KILL <option> <value> [<option> <value> ...]",
        "    Close connections: ADDR and LADDR <ip:port>, ID <id>, USER <name>,",
        "    TYPE (NORMAL|MASTER|REPLICA|PUBSUB), SKIPME (YES|NO).",
        "LIST [TYPE <type> | ID <id> ...]",
        "    Everything about all connections.",
        "NO-EVICT (ON|OFF)",
        "    Keep this connection when client memory is scarce.",
        "NO-TOUCH (ON|OFF)",
        "    Leave access clocks alone.",
        "PAUSE <ms> [WRITE|ALL]",
        "    Hold back commands for a while.",
        "REPLY (ON|OFF|SKIP)",
        "    Choose whether commands are answered.",
        "SETINFO <LIB-NAME|LIB-VER> <text>",
        "    Name the client library.",
        "SETNAME <name>",
        "    Name this connection.",
        "UNBLOCK <id> [TIMEOUT|ERROR]",
        "    End the wait of a blocked client.",
        "UNPAUSE",
        "    End a pause.",
    };

    call_help(call, lines, sizeof lines / sizeof lines[0]);
}

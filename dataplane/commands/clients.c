/* CLIENT and its subcommands. LIST and KILL ask every worker (gathers). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/client/batch.h"
#include "dataplane/client/client.h"
#include "dataplane/commands/functions.h"
#include "dataplane/commands/server.h"

/* ---- which clients ---- */

/* What LIST and KILL select by; no data or zero: any. */
struct selection {
    struct text address, local, type;
    const struct text *ids;
    uint32_t id_count;
    uint64_t id;
    bool skip_me, user_given, none; /* none: nobody can match */
    uint32_t criteria;
};

static bool known_type(struct text type)
{
    return text_is(type, "normal") || text_is(type, "slave") || text_is(type, "replica") ||
           text_is(type, "pubsub") || text_is(type, "master");
}

static bool matches(const struct client *client, const struct selection *selection,
                    uint64_t asking_id)
{
    if (client->conn == NULL || (client->flags & CLIENT_CLOSED) != 0 || selection->none)
        return false;
    if (selection->address.data != NULL &&
        !(strlen(client->peer) == selection->address.len_bytes &&
          memcmp(client->peer, selection->address.data, selection->address.len_bytes) == 0))
        return false;
    if (selection->local.data != NULL &&
        !(strlen(client->local) == selection->local.len_bytes &&
          memcmp(client->local, selection->local.data, selection->local.len_bytes) == 0))
        return false;
    if (selection->type.data != NULL && !text_is(selection->type, "normal"))
        return false;
    if (selection->id != 0 && client->session.client_id != selection->id)
        return false;
    if (selection->user_given && (client->flags & CLIENT_AUTHENTICATED) == 0)
        return false;
    if (selection->id_count > 0) {
        bool found = false;
        for (uint32_t i = 0; i < selection->id_count && !found; i++) {
            int64_t id;
            found = text_to_integer(selection->ids[i], &id) &&
                    (uint64_t)id == client->session.client_id;
        }
        if (!found)
            return false;
    }
    return !(selection->skip_me && client->session.client_id == asking_id);
}

/* ---- LIST, INFO ---- */

/* NULL when the arguments are fine; "" for a syntax error; else the text (in `text`). */
static const char *list_selection(const struct call *call, struct selection *selection,
                                  char text[256])
{
    *selection = (struct selection){0};
    if (call->argc == 2)
        return NULL;
    if (call->argc == 4 && text_is(call->argv[2], "type")) {
        selection->type = call->argv[3];
        if (known_type(selection->type))
            return NULL;
        snprintf(text, 256, "Unknown client type '%.*s'",
                 selection->type.len_bytes > 128 ? 128 : (int)selection->type.len_bytes,
                 selection->type.data);
        return text;
    }
    if (call->argc > 3 && text_is(call->argv[2], "id")) {
        selection->ids = &call->argv[3];
        selection->id_count = call->argc - 3;
        for (uint32_t i = 0; i < selection->id_count; i++) {
            int64_t id;
            if (!text_to_integer(selection->ids[i], &id) || id < 1)
                return "Invalid client ID";
        }
        return NULL;
    }
    return "";
}

void gather_client_list(struct worker *worker, struct call *call, struct reply_memory *part,
                        uint64_t *number)
{
    struct selection selection;
    char text[256], line[CLIENT_LINE_MAX_BYTES];

    (void)number;
    if (list_selection(call, &selection, text) != NULL)
        return;
    for (const struct client *client = worker->clients->first; client != NULL;
         client = client->next) {
        if (!matches(client, &selection, 0))
            continue;
        size_t len = client_describe(client, line, sizeof line - 1);
        line[len++] = '\n';
        reply_bytes(&part->reply, line, len);
    }
}

/* A text whose pieces lie in the parts of a gather. */
void reply_gathered_text(struct call *call)
{
    uint64_t total = 0;
    char header[48];
    int len;

    for (uint32_t i = 0; i < call->part_count; i++)
        total += call->parts[i].memory.total_bytes;
    if (call->reply->resp >= 3)
        len = snprintf(header, sizeof header, "=%llu\r\ntxt:", (unsigned long long)total + 4);
    else
        len = snprintf(header, sizeof header, "$%llu\r\n", (unsigned long long)total);
    reply_bytes(call->reply, header, (size_t)len);
    for (uint32_t i = 0; i < call->part_count; i++)
        reply_memory_move(&call->parts[i].memory, call->reply);
    reply_bytes(call->reply, "\r\n", 2);
}

static void reply_selection_error(struct call *call, const char *error)
{
    if (error[0] == '\0')
        call_syntax_error(call);
    else
        reply_error(call->reply, error);
}

void cmd_client_list(struct call *call)
{
    struct selection selection;
    char text[256];
    const char *error = list_selection(call, &selection, text);

    if (error != NULL)
        reply_selection_error(call, error);
    else
        reply_gathered_text(call);
}

void cmd_client_info(struct call *call)
{
    char line[CLIENT_LINE_MAX_BYTES];
    size_t len = client_describe(call->client, line, sizeof line - 1);

    line[len++] = '\n';
    reply_verbatim(call->reply, "txt", (struct text){line, len});
}

/* ---- KILL ---- */

static const char *kill_selection(const struct call *call, struct selection *selection,
                                  char text[256])
{
    *selection = (struct selection){.skip_me = true};
    if (call->argc == 3) { /* the old form: an address */
        selection->address = call->argv[2];
        selection->skip_me = false;
        return NULL;
    }
    for (uint32_t i = 2; i < call->argc; i += 2) {
        struct text word = call->argv[i];
        if (i + 1 >= call->argc)
            return "";
        struct text value = call->argv[i + 1];
        int64_t id;
        if (text_is(word, "id")) {
            if (!text_to_integer(value, &id) || id < 1)
                return "client-id should be greater than 0";
            selection->id = (uint64_t)id;
        } else if (text_is(word, "type")) {
            selection->type = value;
            if (!known_type(value)) {
                snprintf(text, 256, "Unknown client type '%.*s'",
                         value.len_bytes > 128 ? 128 : (int)value.len_bytes, value.data);
                return text;
            }
        } else if (text_is(word, "addr")) {
            selection->address = value;
        } else if (text_is(word, "laddr")) {
            selection->local = value;
        } else if (text_is(word, "user")) {
            if (!(value.len_bytes == 7 && memcmp(value.data, "default", 7) == 0)) {
                snprintf(text, 256, "No such user '%.*s'",
                         value.len_bytes > 128 ? 128 : (int)value.len_bytes, value.data);
                return text;
            }
            selection->user_given = true;
        } else if (text_is(word, "skipme")) {
            if (!text_is(value, "yes") && !text_is(value, "no"))
                return "";
            selection->skip_me = text_is(value, "yes");
        } else {
            return "";
        }
    }
    return NULL;
}

void gather_client_kill(struct worker *worker, struct call *call, struct reply_memory *part,
                        uint64_t *number)
{
    struct selection selection;
    char text[256];

    (void)part;
    if (kill_selection(call, &selection, text) != NULL)
        return;
    for (struct client *client = worker->clients->first; client != NULL; client = client->next) {
        if (!matches(client, &selection, call->session->client_id))
            continue;
        ++*number;
        if (client->session.client_id == call->session->client_id)
            client->flags |= CLIENT_CLOSE_AFTER_REPLY; /* it still learns that it killed itself */
        else
            client_close(client, false);
        if (call->argc == 3)
            return;
    }
}

void cmd_client_kill(struct call *call)
{
    struct selection selection;
    char text[256];
    const char *error = kill_selection(call, &selection, text);
    uint64_t killed = 0;

    if (error != NULL) {
        reply_selection_error(call, error);
        return;
    }
    for (uint32_t i = 0; i < call->part_count; i++)
        killed += call->parts[i].number;
    if (call->argc > 3)
        reply_integer(call->reply, (int64_t)killed);
    else if (killed > 0)
        reply_ok(call->reply);
    else
        reply_error(call->reply, "No such client");
}

/* ---- names ---- */

void cmd_client_id(struct call *call)
{
    reply_integer(call->reply, (int64_t)call->session->client_id);
}

void cmd_client_getname(struct call *call)
{
    if (call->client->name == NULL)
        reply_null(call->reply);
    else
        reply_bulk_cstr(call->reply, call->client->name);
}

void cmd_client_setname(struct call *call)
{
    if (client_set_text(call, &call->client->name, call->argv[2], "Client names"))
        reply_ok(call->reply);
}

void cmd_client_setinfo(struct call *call)
{
    struct client *client = call->client;
    bool done;

    if (call_option(call, 2, "lib-name")) {
        done =
            client_set_text(call, &client->library_name, call->argv[3], "CLIENT SETINFO lib-name");
    } else if (call_option(call, 2, "lib-ver")) {
        done = client_set_text(call, &client->library_version, call->argv[3],
                               "CLIENT SETINFO lib-ver");
    } else {
        int len = call->argv[2].len_bytes > 128 ? 128 : (int)call->argv[2].len_bytes;
        reply_errorf(call->reply, "Unrecognized option '%.*s'", len, call->argv[2].data);
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

    if (call->argc == 4 && call_option(call, 3, "write")) {
        writes_only = true;
    } else if (call->argc > 4 || (call->argc == 4 && !call_option(call, 3, "all"))) {
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
    /* Redis overflows here for very long pauses and does not pause at all. */
    if (__builtin_add_overflow(timeout_ms, call->now_unix_ms, &until))
        until = INT64_MAX;
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

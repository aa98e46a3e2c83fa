/* Commands of the connection itself. */
#include <limits.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/client/client.h"
#include "dataplane/commands/functions.h"
#include "dataplane/commands/server.h"

void cmd_ping(struct call *call)
{
    if (call->argc > 2)
        call_wrong_arity(call);
    else if (call->argc == 2)
        reply_bulk(call->reply, call->argv[1]);
    else
        reply_status(call->reply, "PONG");
}

void cmd_echo(struct call *call)
{
    reply_bulk(call->reply, call->argv[1]);
}

void cmd_select(struct call *call)
{
    int64_t db;

    if (!call_integer_range(call, 1, INT_MIN, INT_MAX, &db, NULL))
        return;
    if (call->session->cluster && db != 0) {
        reply_error(call->reply, "SELECT is not allowed in cluster mode");
    } else if (db < 0 || db >= (int64_t)call->node->database_count) {
        reply_error(call->reply, "DB index is out of range");
    } else {
        call->session->db = (uint32_t)db;
        reply_ok(call->reply);
    }
}

void cmd_quit(struct call *call)
{
    reply_ok(call->reply);
    call->client->flags |= CLIENT_CLOSE_AFTER_REPLY;
}

/* ---- authentication ---- */

static bool same_secret(struct text given, const char *secret)
{
    size_t len = strlen(secret);

    /* Takes the same time wherever the difference is; only the length shows. */
    return given.len_bytes == len && CRYPTO_memcmp(given.data, secret, len) == 0;
}

static bool authenticate(struct call *call, struct text user, struct text password)
{
    const char *secret = call->node->config->requirepass;

    if (user.len_bytes == 7 && memcmp(user.data, "default", 7) == 0 &&
        (secret[0] == '\0' || same_secret(password, secret))) {
        call->client->flags |= CLIENT_AUTHENTICATED;
        return true;
    }
    reply_error(call->reply, "-WRONGPASS invalid username-password pair or user is disabled.");
    return false;
}

void cmd_auth(struct call *call)
{
    struct text user = {"default", 7};

    if (call->argc > 3) {
        call_syntax_error(call);
        return;
    }
    if (call->argc == 2 && call->node->config->requirepass[0] == '\0') {
        reply_error(call->reply, "AUTH <password> called without any password configured for the "
                                 "default user. Are you sure your configuration is correct?");
        return;
    }
    if (call->argc == 3)
        user = call->argv[1];
    if (authenticate(call, user, call->argv[call->argc - 1]))
        reply_ok(call->reply);
}

bool client_set_text(struct call *call, enum client_text which, struct text value, const char *what)
{
    struct client *client = call->client;
    char *copy = NULL;

    for (size_t i = 0; i < value.len_bytes; i++) {
        if (value.data[i] >= '!' && value.data[i] <= '~')
            continue;
        reply_errorf(call->reply, "%s cannot contain spaces, newlines or special characters.",
                     what);
        return false;
    }
    if (value.len_bytes > 0) {
        copy = client_extra_make(client) == NULL ? NULL : malloc(value.len_bytes + 1);
        if (copy == NULL) {
            reply_error(call->reply, "-OOM no memory for the name");
            return false;
        }
        memcpy(copy, value.data, value.len_bytes);
        copy[value.len_bytes] = '\0';
    }
    if (client->extra != NULL) {
        free(client->extra->texts[which]);
        client->extra->texts[which] = copy;
    }
    return true;
}

/* ---- HELLO, RESET ---- */

static void reply_hello(struct call *call)
{
    struct reply *reply = call->reply;

    reply_map(reply, 7);
    reply_bulk_cstr(reply, "server");
    reply_bulk_cstr(reply, "redis");
    reply_bulk_cstr(reply, "version");
    reply_bulk_cstr(reply, SERVER_REDIS_VERSION);
    reply_bulk_cstr(reply, "proto");
    reply_integer(reply, call->session->resp);
    reply_bulk_cstr(reply, "id");
    reply_integer(reply, (int64_t)call->session->client_id);
    reply_bulk_cstr(reply, "mode");
    reply_bulk_cstr(reply, call->session->cluster ? "cluster" : "standalone");
    reply_bulk_cstr(reply, "role");
    reply_bulk_cstr(reply, "master");
    reply_bulk_cstr(reply, "modules");
    reply_array(reply, 0);
}

void cmd_hello(struct call *call)
{
    struct client *client = call->client;
    int64_t version = call->session->resp;

    if (call->argc >= 2 && (!text_to_integer(call->argv[1], &version))) {
        reply_error(call->reply, "Protocol version is not an integer or out of range");
        return;
    }
    if (call->argc >= 2 && (version < 2 || version > 3)) {
        reply_error(call->reply, "-NOPROTO unsupported protocol version");
        return;
    }
    for (uint32_t i = 2; i < call->argc; i++) {
        if (call_option(call, i, "auth") && i + 2 < call->argc) {
            if (!authenticate(call, call->argv[i + 1], call->argv[i + 2]))
                return;
            i += 2;
        } else if (call_option(call, i, "setname") && i + 1 < call->argc) {
            /* Holds whatever the words behind it bring, as in Redis. */
            if (!client_set_text(call, CLIENT_NAME, call->argv[++i], "Client names"))
                return;
        } else {
            reply_errorf(call->reply, "Syntax error in HELLO option '%.*s'",
                         text_shown(call->argv[i]), call->argv[i].data);
            return;
        }
    }
    if ((client->flags & CLIENT_AUTHENTICATED) == 0) {
        reply_error(call->reply, "-NOAUTH HELLO must be called with the client already "
                                 "authenticated, otherwise the HELLO AUTH <user> <pass> option "
                                 "can be used to authenticate the client and select the RESP "
                                 "protocol version at the same time");
        return;
    }
    call->session->resp = (uint8_t)version;
    call->reply->resp = (uint8_t)version;
    client->reply.resp = (uint8_t)version;
    reply_hello(call);
}

static void leave_monitor(struct client *client)
{
    if ((client->flags & CLIENT_MONITOR) == 0)
        return;
    client->flags &= ~(uint32_t)CLIENT_MONITOR;
    atomic_fetch_sub_explicit(&client->worker->clients->monitors, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&client->worker->node->monitors, 1, memory_order_relaxed);
}

void cmd_reset(struct call *call)
{
    struct client *client = call->client;

    leave_monitor(client);
    multi_discard(client);
    client_unwatch(client);
    client->flags &= ~(uint32_t)(CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT |
                                 CLIENT_READONLY | CLIENT_ASKING); /* NO-EVICT stays */
    if (call->node->config->requirepass[0] != '\0')
        client->flags &= ~(uint32_t)CLIENT_AUTHENTICATED;
    call->session->db = 0;
    call->session->resp = 2;
    call->session->no_touch = false;
    call->reply->resp = 2;
    call->reply->muted = client->conn == NULL;
    client->reply.resp = 2;
    if (client->extra != NULL) {
        free(client->extra->texts[CLIENT_NAME]);
        client->extra->texts[CLIENT_NAME] = NULL;
    }
    reply_status(call->reply, "RESET");
}

void cmd_monitor(struct call *call)
{
    struct client *client = call->client;

    if (call->in_transaction) {
        reply_error(call->reply, "MONITOR isn't allowed for DENY BLOCKING client");
        return;
    }
    if ((client->flags & CLIENT_MONITOR) == 0) {
        client->flags |= CLIENT_MONITOR;
        atomic_fetch_add_explicit(&client->worker->clients->monitors, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&client->worker->node->monitors, 1, memory_order_relaxed);
    }
    reply_ok(call->reply);
}

/* ---- cluster clients ---- */

void cmd_readonly(struct call *call)
{
    if (!call->session->cluster) {
        reply_error(call->reply, "This instance has cluster support disabled");
        return;
    }
    call->client->flags |= CLIENT_READONLY;
    reply_ok(call->reply);
}

void cmd_readwrite(struct call *call)
{
    if (!call->session->cluster) {
        reply_error(call->reply, "This instance has cluster support disabled");
        return;
    }
    call->client->flags &= ~(uint32_t)CLIENT_READONLY;
    reply_ok(call->reply);
}

void cmd_asking(struct call *call)
{
    if (!call->session->cluster) {
        reply_error(call->reply, "This instance has cluster support disabled");
        return;
    }
    call->client->flags |= CLIENT_ASKING;
    reply_ok(call->reply);
}

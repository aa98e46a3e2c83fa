/* MONITOR: one line for each command, to every connection that asked, on every worker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/client/client.h"
#include "dataplane/commands/functions.h"
#include "dataplane/commands/secret.h"

enum { MONITOR_LINE_MAX_BYTES = 1 << 20 };

struct line {
    struct mail_call call;
    size_t len_bytes;
    char bytes[];
};

void monitor_line(struct worker *worker, struct text line)
{
    for (struct client *client = worker->clients->first; client != NULL; client = client->next) {
        if ((client->flags & CLIENT_MONITOR) == 0 || client->conn == NULL ||
            (client->flags & CLIENT_CLOSED) != 0)
            continue;
        client_reply_begin(client);
        reply_bytes(&client->reply, line.data, line.len_bytes);
        client_reply_end(client);
        client->flags |= CLIENT_TOUCHED;
        count_add(&worker->stats.monitor_lines, 1);
    }
}

static size_t quoted(char *to, struct text text)
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;

    to[at++] = '"';
    for (size_t i = 0; i < text.len_bytes; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        const char *escapes = "\\\\\"\"\nn\rr\tt\aa\bb";
        char escaped = '\0';
        for (const char *pair = escapes; *pair != '\0'; pair += 2)
            if ((unsigned char)*pair == byte)
                escaped = pair[1];
        if (escaped != '\0') {
            to[at++] = '\\';
            to[at++] = escaped;
        } else if (byte >= ' ' && byte < 127) {
            to[at++] = (char)byte;
        } else {
            to[at++] = '\\';
            to[at++] = 'x';
            to[at++] = hex[byte >> 4];
            to[at++] = hex[byte & 15];
        }
    }
    to[at++] = '"';
    return at;
}

static void line_there(struct worker *worker, struct mail_call *call)
{
    struct line *line = call->argument;

    monitor_line(worker, (struct text){line->bytes, line->len_bytes});
}

static void line_done(struct worker *worker, struct mail_call *call)
{
    (void)worker;
    free(call->argument);
}

static void send_line(struct worker *worker, uint32_t to, const char *bytes, size_t len_bytes)
{
    struct line *line = malloc(sizeof *line + len_bytes);

    if (line == NULL)
        return;
    line->call = (struct mail_call){.run = line_there, .done = line_done, .argument = line};
    line->len_bytes = len_bytes;
    memcpy(line->bytes, bytes, len_bytes);
    mail_call(worker, to, &line->call);
}

static struct text shown(const struct command *command, const struct text *argv, uint32_t argc,
                         uint32_t position)
{
    if (secret_argument(command, argv, argc, position))
        return (struct text){SECRET_SHOWN, sizeof SECRET_SHOWN - 1};
    return argv[position];
}

/* Where the client is: its address, or the path of the unix socket that it came through. */
static size_t put_origin(const struct client *client, char *to, size_t to_bytes)
{
    const char *colon = strrchr(client->peer, ':');

    if ((client->flags & CLIENT_UNIX) == 0 || colon == NULL)
        return (size_t)snprintf(to, to_bytes, "%s]", client->peer);
    return (size_t)snprintf(to, to_bytes, "unix:%.*s]", (int)(colon - client->peer), client->peer);
}

void monitor_feed(struct client *client, uint32_t db, const struct command *command,
                  const struct text *argv, uint32_t argc)
{
    struct worker *worker = client->worker;
    struct node *node = worker->node;
    size_t room = 256 + strlen(client->peer);
    uint64_t now_us = clock_unix_us();

    if ((command->flags & (CMD_SKIP_MONITOR | CMD_ADMIN)) != 0)
        return;
    for (uint32_t i = 0; i < argc; i++) {
        if (argv[i].len_bytes > MONITOR_LINE_MAX_BYTES)
            return;
        room += 4 * shown(command, argv, argc, i).len_bytes + 3;
    }
    char *bytes = room <= MONITOR_LINE_MAX_BYTES * 8 ? malloc(room) : NULL;
    if (bytes == NULL)
        return;
    size_t at =
        (size_t)snprintf(bytes, room, "+%llu.%06llu [%u ", (unsigned long long)(now_us / 1000000),
                         (unsigned long long)(now_us % 1000000), db);
    at += put_origin(client, bytes + at, room - at);
    for (uint32_t i = 0; i < argc; i++) {
        bytes[at++] = ' ';
        at += quoted(bytes + at, shown(command, argv, argc, i));
    }
    bytes[at++] = '\r';
    bytes[at++] = '\n';
    client_reply_end(client); /* a monitor may be this client itself */
    monitor_line(worker, (struct text){bytes, at});
    for (uint32_t to = 0; to < node->worker_count; to++)
        if (to != worker->index &&
            atomic_load_explicit(&node->workers[to]->clients->monitors, memory_order_relaxed) > 0)
            send_line(worker, to, bytes, at);
    free(bytes);
    client_reply_begin(client);
}

/* The database that a SELECT leaves behind, as far as its argument tells. */
static uint32_t selected(const struct node *node, const struct job_command *select, uint32_t db)
{
    int64_t number;

    if (!text_to_integer(select->argv[1], &number) || number < 0 ||
        number >= (int64_t)node->database_count)
        return db;
    return (uint32_t)number;
}

void monitor_feed_job(struct client *client, const struct job *job)
{
    uint32_t db = job->session.db;

    if (job->dropped || !job->begun)
        return; /* nothing was run */
    for (uint32_t i = 0; i < job->count; i++) {
        const struct job_command *command = &job->commands[i];
        if (command->command->run == cmd_select)
            db = selected(client->worker->node, command, db);
        monitor_feed(client, db, command->command, command->argv, command->argc);
    }
}

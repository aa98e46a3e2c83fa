#include <stdio.h>
#include <string.h>

#include "dataplane/client/client.h"
#include "dataplane/client/input.h"

/* Redis's letters but for 'd': whether a watched key has changed is known where the key is. */
static void flag_letters(const struct client *client, char letters[16])
{
    static const struct {
        uint32_t flag;
        char letter;
    } rows[] = {
        {CLIENT_MONITOR, 'O'},  {CLIENT_MULTI, 'x'}, {CLIENT_CLOSE_AFTER_REPLY, 'c'},
        {CLIENT_CLOSED, 'A'},   {CLIENT_UNIX, 'U'},  {CLIENT_READONLY, 'r'},
        {CLIENT_NO_EVICT, 'e'},
    };
    uint32_t flags =
        client_extra(client)->executing > 0 ? client->flags | CLIENT_MULTI : client->flags;
    int at = 0;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if ((flags & rows[i].flag) != 0)
            letters[at++] = rows[i].letter;
    if (client->session.no_touch)
        letters[at++] = 'T';
    if (at == 0)
        letters[at++] = 'N';
    letters[at] = '\0';
}

uint64_t client_idle_bytes(const struct client *client)
{
    return sizeof *client + strlen(client->peer) + 1 +
           (client->extra == NULL ? 0 : sizeof *client->extra);
}

uint64_t client_memory_bytes(const struct client *client)
{
    uint64_t pending = client->conn == NULL ? 0 : client->conn->pending_bytes;

    uint64_t bytes = client_idle_bytes(client) + pending;

    if (client->extra != NULL)
        bytes += client->extra->multi.bytes;
    if (client->input != NULL)
        bytes += sizeof *client->input + client->input->bytes.capacity;
    return bytes;
}

/* Commands queued or being executed; -1: no transaction. */
static int multi_commands(const struct client *client)
{
    const struct client_extra *extra = client_extra(client);

    if (extra->executing > 0)
        return (int)extra->executing - 1;
    return (client->flags & CLIENT_MULTI) != 0 ? (int)extra->multi.count : -1;
}

static const char *text_of(const struct client_extra *extra, enum client_text which)
{
    return extra->texts[which] == NULL ? "" : extra->texts[which];
}

size_t client_describe(const struct client *client, char *line, size_t line_bytes)
{
    const struct worker *worker = client->worker;
    uint64_t pending = client->conn == NULL ? 0 : client->conn->pending_bytes;
    const struct client_extra *extra = client_extra(client);
    size_t waiting = client_input_len(client);
    char letters[16], local[STREAM_ADDRESS_TEXT_MAX];
    int len;

    client_local(client, local);
    flag_letters(client, letters);
    len = snprintf(line, line_bytes,
                   "id=%llu addr=%s laddr=%s fd=%d name=%.200s age=%lld idle=%lld flags=%s db=%u "
                   "sub=0 psub=0 ssub=0 multi=%d qbuf=%zu qbuf-free=%zu "
                   "argv-mem=0 multi-mem=%llu rbs=0 rbp=0 obl=0 oll=%d omem=%llu tot-mem=%llu "
                   "events=r cmd=%s user=default redir=-1 resp=%u "
                   "lib-name=%.100s lib-ver=%.100s",
                   (unsigned long long)client->session.client_id, client->peer, local,
                   client->conn == NULL ? -1 : client->conn->fd, text_of(extra, CLIENT_NAME),
                   (long long)(worker->now_unix_ms - client->created_unix_ms) / 1000,
                   (long long)(worker->now_unix_ms - client->last_active_unix_ms) / 1000, letters,
                   client->session.db, multi_commands(client), waiting,
                   client->input == NULL ? 0 : client->input->bytes.capacity - waiting,
                   (unsigned long long)extra->multi.bytes, pending > 0, (unsigned long long)pending,
                   (unsigned long long)client_memory_bytes(client),
                   client->last_command == NULL
                       ? "NULL"
                       : command_full_name(worker->node->commands, client->last_command),
                   client->session.resp, text_of(extra, CLIENT_LIBRARY_NAME),
                   text_of(extra, CLIENT_LIBRARY_VERSION));
    return (size_t)len < line_bytes ? (size_t)len : line_bytes - 1;
}

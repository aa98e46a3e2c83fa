#include "tests/unit/dataplane/commands/client_fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "config/words.h"

enum { WORDS_MAX = 32 };

static int local(struct stream_conn *conn, char text[STREAM_ADDRESS_TEXT_MAX])
{
    (void)conn;
    strcpy(text, "10.0.0.9:6379");
    return 0;
}

static const struct stream_driver driver = {.local = local};

struct client *client_fixture_add(struct client_fixture *fixture, uint64_t id, const char *peer)
{
    struct client_list *list = fixture->base->worker->clients;
    struct client *client = calloc(1, sizeof *client + strlen(peer) + 1);

    cr_assert_not_null(client);
    client->worker = fixture->base->worker;
    client->conn = &fixture->conn;
    client->flags = CLIENT_AUTHENTICATED;
    client->session = (struct session){.client_id = id, .resp = 2};
    strcpy(client->peer, peer);
    client->previous = list->last;
    if (list->last == NULL)
        list->first = client;
    else
        list->last->next = client;
    list->last = client;
    return client;
}

static void free_client(struct client *client)
{
    if (client->extra != NULL)
        for (unsigned i = 0; i < CLIENT_TEXTS; i++)
            free(client->extra->texts[i]);
    free(client->extra);
    free(client);
}

struct client_fixture *client_fixture_create(void)
{
    struct client_fixture *fixture = calloc(1, sizeof *fixture);
    struct fixture *base = fixture_create(1);

    fixture->base = base;
    base->node->commands = command_index_create();
    base->worker->driver = &driver;
    base->worker->clients = calloc(1, sizeof *base->worker->clients);
    fixture->client = client_fixture_add(fixture, 1, "10.0.0.1:1");
    return fixture;
}

void client_fixture_destroy(struct client_fixture *fixture)
{
    struct fixture *base = fixture->base;

    for (struct client *at = base->worker->clients->first, *next; at != NULL; at = next) {
        next = at->next;
        free_client(at);
    }
    free(base->worker->clients);
    command_index_destroy(base->node->commands);
    fixture_destroy(base);
    free(fixture);
}

static const struct command *row_of(const struct node *node, uint32_t argc, const struct text *argv)
{
    const struct command *command = command_find(node->commands, argv[0]);

    cr_assert_not_null(command);
    if (command->subcommand_count > 0 && argc > 1)
        command = command_find_sub(command, argv[1]);
    cr_assert_not_null(command);
    return command;
}

const char *client_fixture_run(struct client_fixture *fixture, const char *line)
{
    struct fixture *base = fixture->base;
    struct words_span words[WORDS_MAX];
    struct text argv[WORDS_MAX];
    struct gather_part part = {0};

    free(base->line);
    base->line = strdup(line);
    int count = words_split(base->line, strlen(line), words, WORDS_MAX);
    cr_assert(count > 0, "%s", line);
    for (int i = 0; i < count; i++)
        argv[i] = (struct text){words[i].data, words[i].len};
    struct call *call = fixture_call(base, (uint32_t)count, argv);
    call->command = row_of(base->node, (uint32_t)count, argv);
    call->client = fixture->client;
    reply_memory_init(&part.memory, base->session.resp, NULL, 0);
    if (call->command->gather != NULL) {
        call->command->gather(base->worker, call, &part.memory, &part.number);
        reply_memory_finish(&part.memory);
        call->parts = &part;
        call->part_count = 1;
    }
    call->command->run(call);
    reply_memory_fini(&part.memory);
    return fixture_reply(base);
}

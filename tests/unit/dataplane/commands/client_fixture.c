#include "tests/unit/dataplane/commands/client_fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "config/words.h"

enum { WORDS_MAX = 32 };

struct client_fixture *client_fixture_create(void)
{
    struct client_fixture *fixture = calloc(1, sizeof *fixture);
    struct fixture *base = fixture_create(1);
    struct client *client = &fixture->client;

    fixture->base = base;
    base->node->commands = command_index_create();
    client->worker = base->worker;
    client->conn = &fixture->conn;
    client->flags = CLIENT_AUTHENTICATED;
    client->session = (struct session){.client_id = 1, .resp = 2};
    client->multi.slot = -1;
    client->peer = client->local = "";
    base->worker->clients = calloc(1, sizeof *base->worker->clients);
    base->worker->clients->first = base->worker->clients->last = client;
    return fixture;
}

void client_fixture_destroy(struct client_fixture *fixture)
{
    struct fixture *base = fixture->base;

    free(fixture->client.name);
    free(fixture->client.library_name);
    free(fixture->client.library_version);
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
    call->client = &fixture->client;
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

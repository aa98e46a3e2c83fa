#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/words.h"
#include "dataplane/store/gate.h"
#include "tests/unit/dataplane/fixture.h"

static void give_up(const char *what, const char *line)
{
    fprintf(stderr, "fixture_run: %s: %s\n", what, line);
    abort();
}

static void run_fini(struct fixture *fixture)
{
    command_index_destroy(fixture->node->commands);
}

static const struct command *row_of(struct fixture *fixture, uint32_t argc, const struct text *argv)
{
    if (fixture->node->commands == NULL) {
        fixture->node->commands = command_index_create();
        fixture->run_fini = run_fini;
    }
    if (fixture->node->commands == NULL || argc == 0)
        give_up("no command table, or no command", "");
    const struct command *command = command_find(fixture->node->commands, argv[0]);
    if (command != NULL && command->subcommand_count > 0 && argc > 1) {
        const struct command *sub = command_find_sub(command, argv[1]);
        if (sub != NULL)
            return sub;
    }
    return command;
}

/* A walk goes from slot to slot until the command says that it is finished. */
static void run(struct call *call)
{
    do {
        call->command->run(call);
        gate_commit(call);
    } while (call->continue_slot >= 0);
}

/* Asks every worker, in turn. */
static void gather(struct fixture *fixture, struct call *call, struct gather_part *parts)
{
    call->part_count = fixture->node->worker_count;
    call->parts = parts;
    for (uint32_t i = 0; i < call->part_count; i++) {
        parts[i].number = 0;
        reply_memory_init(&parts[i].memory, fixture->session.resp, NULL, 0);
        call->command->gather(fixture->node->workers[i], call, &parts[i].memory, &parts[i].number);
        reply_memory_finish(&parts[i].memory);
    }
}

const char *fixture_run_argv(struct fixture *fixture, uint32_t argc, const struct text *argv)
{
    struct call *call = fixture_call(fixture, argc, argv);
    uint32_t positions[FIXTURE_ARGC_MAX];
    struct reply_memory walk;
    struct gather_part parts[WORKERS_MAX];

    call->command = row_of(fixture, argc, argv);
    if (call->command == NULL)
        give_up("unknown command", argv[0].data);
    int16_t arity = call->command->arity;
    if (arity >= 0 ? argc != (uint32_t)arity : argc < (uint32_t)-arity) {
        call_wrong_arity(call);
        return fixture_reply(fixture);
    }
    int keys = command_keys(call->command, call->argv, argc, positions, FIXTURE_ARGC_MAX);
    if (keys > 0)
        fixture_keys(fixture, (uint32_t)keys, positions);
    if ((call->command->flags & CMD_GATHER) != 0)
        gather(fixture, call, parts);
    reply_memory_init(&walk, fixture->session.resp, NULL, 0);
    call->walk_reply = &walk;
    run(call);
    reply_memory_fini(&walk);
    for (uint32_t i = 0; i < call->part_count; i++)
        reply_memory_fini(&parts[i].memory);
    return fixture_reply(fixture);
}

const char *fixture_run(struct fixture *fixture, const char *line)
{
    struct words_span words[FIXTURE_ARGC_MAX];
    struct text argv[FIXTURE_ARGC_MAX];

    free(fixture->line);
    fixture->line = strdup(line);
    int count = words_split(fixture->line, strlen(line), words, FIXTURE_ARGC_MAX);
    if (count <= 0)
        give_up("cannot split", line);
    for (int i = 0; i < count; i++)
        argv[i] = (struct text){words[i].data, words[i].len};
    return fixture_run_argv(fixture, (uint32_t)count, argv);
}

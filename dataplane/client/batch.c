#include "dataplane/client/batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/client/input.h"
#include "dataplane/slots/crc16.h"

enum {
    BATCH_ROUNDS_MAX = 16, /* of one connection in one turn; then others have theirs */
    KNOWN_BITS = 3,        /* of the places for commands that came lately */
};

struct group {
    struct client *client;
    const char *data;
    size_t len_bytes;
    size_t parsed_bytes;   /* offset behind the last parsed command */
    size_t ran_bytes;      /* and in front of the first of them: what has run in earlier rounds */
    uint32_t first, count; /* of batch->parsed */
    bool from_input, bad, complete;
    bool partial; /* ends within a command: client->input knows how far that is parsed */
};

/* A command of one key that came lately, by the bytes of its name. */
struct known {
    uint64_t name;
    size_t name_bytes; /* 0: none */
    const struct command *command;
};

struct batch {
    uint64_t began_ns; /* when its commands began to run */
    struct known known[1 << KNOWN_BITS];
    struct group groups[STREAM_EVENTS_MAX];
    uint32_t group_count;
    struct parsed parsed[BATCH_COMMANDS_MAX];
    uint32_t parsed_count;
    struct resp_arguments arguments;
    struct text items[BATCH_ARGUMENTS_MAX];
    /* For connections with no command in progress. What it knows when one ends within a command,
     * or badly, goes to the connection. */
    struct resp_parser parser;
};

struct batch *batch_create(void)
{
    struct batch *batch = calloc(1, sizeof *batch);

    if (batch != NULL)
        batch->arguments =
            (struct resp_arguments){.items = batch->items, .capacity = BATCH_ARGUMENTS_MAX};
    return batch;
}

void batch_destroy(struct batch *batch)
{
    if (batch != NULL)
        resp_parser_fini(&batch->parser);
    free(batch);
}

/* Up to eight bytes; with the length, no two names are alike. */
static inline uint64_t name_word(struct text name)
{
    if (name.len_bytes >= 4) {
        uint32_t head, tail;
        memcpy(&head, name.data, 4);
        memcpy(&tail, name.data + name.len_bytes - 4, 4);
        return head | (uint64_t)tail << 32;
    }
    return (uint64_t)(unsigned char)name.data[0] |
           (uint64_t)(unsigned char)name.data[name.len_bytes / 2] << 8 |
           (uint64_t)(unsigned char)name.data[name.len_bytes - 1] << 16;
}

static inline void take_key(struct worker *worker, struct parsed *parsed)
{
    struct text key = parsed->argv[parsed->command->keys.first];

#ifndef POLLUX_NO_SLOT_LAYER
    parsed->slot = crc16_slot(key.data, key.len_bytes);
#else
    parsed->slot = 0;
#endif
    parsed->hash = table_hash(worker->node->hash_seed, key);
    parsed->kind = PARSED_ONE_KEY;
}

static bool takes_one_key(const struct command *command)
{
    return command->keys.first > 0 && command->keys.first == command->keys.last &&
           command->find_keys == NULL;
}

/* Any command; true: it has one key. One that look_up() can find again goes to `known`. */
static bool look_up_any(struct worker *worker, struct parsed *parsed, struct known *known)
{
    struct text name = parsed->argv[0];
    const struct command *command = command_find(worker->node->commands, name);

    parsed->command = command;
    parsed->kind = PARSED_OTHER;
    if (command == NULL)
        return false;
    if (command->subcommand_count > 0 && parsed->argc > 1) {
        const struct command *sub = command_find_sub(command, parsed->argv[1]);
        if (sub != NULL)
            parsed->command = command = sub;
    } else if (command->subcommand_count == 0 && known != NULL && takes_one_key(command)) {
        *known = (struct known){name_word(name), name.len_bytes, command};
    }
    return takes_one_key(command) && (uint32_t)command->keys.first < parsed->argc;
}

/* The command that came lately under this name, if it has its key; NULL: look_up_any() knows. */
static inline const struct command *look_up_known(struct batch *batch, const struct parsed *parsed,
                                                  struct known **place)
{
    struct text name = parsed->argv[0];

    *place = NULL;
    if (name.len_bytes - 1 >= 8)
        return NULL;
    uint64_t word = name_word(name);
    struct known *known = &batch->known[word * 0x9e3779b97f4a7c15u >> (64 - KNOWN_BITS)];
    *place = known;
    return known->name == word && known->name_bytes == name.len_bytes &&
                   (uint32_t)known->command->keys.first < parsed->argc
               ? known->command
               : NULL;
}

static inline void look_up(struct worker *worker, struct batch *batch, struct parsed *parsed)
{
    struct known *place;
    const struct command *command = look_up_known(batch, parsed, &place);

    if (command != NULL)
        parsed->command = command;
    else if (!look_up_any(worker, parsed, place))
        return;
    take_key(worker, parsed);
}

/* The group's bytes end here, within a command or with one that is none. */
static void end_badly(struct batch *batch, struct group *group, struct resp_parser *parser,
                      bool bad)
{
    group->bad = bad;
    group->partial = !bad;
    group->complete = true;
    if (parser != &batch->parser)
        return;
    struct input *input = client_input(group->client);
    if (input != NULL) {
        input->parser = *parser;
        *parser = (struct resp_parser){0};
    } else { /* told as such: settle_group finds no parser */
        resp_parser_reset(parser);
        group->bad = true;
    }
}

/* Parses what fits. Returns false when the batch has to run before this group can go on. */
static bool parse_group(struct worker *worker, struct group *group)
{
    struct batch *batch = worker->clients->batch;
    struct client *client = group->client;
    struct resp_limits limits = {.bulk_max_bytes = worker->node->config->proto_max_bulk_len,
                                 .anonymous = client_is_anonymous(client)};
    struct resp_parser *parser = client->input == NULL ? &batch->parser : &client->input->parser;

    while (batch->parsed_count < BATCH_COMMANDS_MAX) {
        struct resp_command command;
        size_t consumed = 0;
        enum resp_step step;

        if (group->parsed_bytes == group->len_bytes) {
            group->complete = true;
            return true;
        }
        step = resp_parse(parser, &limits, group->data + group->parsed_bytes,
                          group->len_bytes - group->parsed_bytes, &batch->arguments, &command,
                          &consumed);
        group->parsed_bytes += consumed;
        if (step == RESP_EMPTY)
            continue;
        if (step == RESP_FULL)
            return false;
        if (step != RESP_COMMAND) {
            end_badly(batch, group, parser, step == RESP_BAD);
            return true;
        }
        struct parsed *parsed = &batch->parsed[batch->parsed_count++];
        parsed->argv = command.argv;
        parsed->argc = command.argc;
        parsed->end = group->parsed_bytes;
        group->count++;
        look_up(worker, batch, parsed);
        if (limits.anonymous ||
            (uintptr_t)command.argv - (uintptr_t)batch->items >= sizeof batch->items)
            return false; /* AUTH changes the limits; a huge argument array lives until the next parse */
    }
    return false;
}

static void prefetch(struct worker *worker)
{
    struct batch *batch = worker->clients->batch;
    struct node *node = worker->node;
    const struct slot *slots[BATCH_COMMANDS_MAX];

    for (uint32_t g = 0; g < batch->group_count; g++) {
        const struct group *group = &batch->groups[g];
        const struct keyspace *keyspace =
            atomic_load_explicit(&node->keyspaces[group->client->session.db], memory_order_acquire);
        for (uint32_t i = group->first; i < group->first + group->count; i++) {
            const struct parsed *parsed = &batch->parsed[i];
            slots[i] = NULL;
            if (parsed->kind == PARSED_ONE_KEY && keyspace != NULL &&
                node_owner(node, parsed->slot) == worker->index &&
                !slots_busy(worker, parsed->slot)) {
                slots[i] = &keyspace->slots[parsed->slot];
                __builtin_prefetch(slots[i]);
            }
        }
    }
    for (uint32_t i = 0; i < batch->parsed_count; i++)
        if (slots[i] != NULL)
            table_prefetch_bucket(&slots[i]->table, batch->parsed[i].hash);
    for (uint32_t i = 0; i < batch->parsed_count; i++)
        if (slots[i] != NULL)
            table_prefetch_entry(&slots[i]->table, batch->parsed[i].hash);
}

static void protocol_error(struct client *client)
{
    count_add(&client->worker->stats.protocol_errors, 1);
    run_count_error(client->worker, "ERR");
    client_reply_begin(client);
    client->reply.muted = client->conn == NULL;
    reply_errorf(&client->reply, "%s",
                 client->input == NULL ? "out of memory" : client->input->parser.error);
    client_reply_end(client);
    client_close(client, true);
}

/* Runs a group's commands; returns how many bytes of it are done. */
static size_t run_group(struct worker *worker, struct group *group)
{
    struct batch *batch = worker->clients->batch;
    struct client *client = group->client;
    size_t done = group->count == 0 ? group->parsed_bytes : group->ran_bytes;
    uint32_t i = 0;

    while (i < group->count && client_may_parse(client)) {
        struct parsed *parsed = &batch->parsed[group->first + i];
        uint32_t ran = client_run(client, parsed, group->count - i);
        if (ran == 0)
            break;
        i += ran;
        done = parsed[ran - 1].end;
        /* Long commands (a megabyte copied each): others have their turn, the rest its next one. */
        if (worker->clock_ns - batch->began_ns > BURST_SLICE_NS)
            break;
    }
    client_reply_end(client);
    if ((client->flags & CLIENT_CLOSE_AFTER_REPLY) != 0 && (client->flags & CLIENT_WAITING) == 0)
        client_close(client, true);
    else
        client_check_output(client);
    if (i == group->count)
        done = group->parsed_bytes;
    return done;
}

/* Nothing is left of a group's bytes, nothing waits, and reading goes on: nothing to settle. */
static inline bool is_settled(const struct group *group, size_t done)
{
    const struct client *client = group->client;

    return done == group->len_bytes && group->complete && !group->bad && client->input == NULL &&
           (client->flags & (CLIENT_CLOSED | CLIENT_READ_PAUSED | CLIENT_HALF_CLOSED)) == 0 &&
           client->conn->pending_bytes <= OUTPUT_PRESSED_BYTES;
}

/* Keeps what is left of a group's bytes, or goes on with it. */
static void settle_group(struct group *group, size_t done)
{
    struct client *client = group->client;
    bool may_parse = client_may_parse(client);

    if (group->bad && done == group->parsed_bytes && may_parse) {
        protocol_error(client);
        may_parse = false;
    } else if (client->input != NULL && (group->bad || done != group->parsed_bytes)) {
        resp_parser_reset(&client->input->parser); /* what is kept is parsed again */
    }
    if ((client->flags & CLIENT_CLOSED) != 0) {
        client_input_drop(client);
        return;
    }
    if (group->from_input)
        input_consume(&client->input->bytes, done);
    else
        client_keep(client, group->data + done, group->len_bytes - done);
    if (client_input_len(client) == 0)
        client_input_drop(client);
    if ((client->flags & CLIENT_CLOSED) != 0)
        return;
    if (may_parse && (!group->complete || done != group->parsed_bytes)) {
        client_continue_later(client);
    } else if (may_parse) {
        client_resume_reading(client);
        client_finish_half_closed(client);
    }
}

void batch_run(struct worker *worker)
{
    struct batch *batch = worker->clients->batch;

    if (batch->group_count == 0)
        return;
    batch->began_ns = worker->clock_ns;
    if (batch->parsed_count > 1)
        prefetch(worker);
    for (uint32_t g = 0; g < batch->group_count; g++) {
        struct group *group = &batch->groups[g];
        size_t done = run_group(worker, group);
        group->client->flags &= ~(uint32_t)CLIENT_IN_BATCH;
        if (!is_settled(group, done))
            settle_group(group, done);
    }
    batch->group_count = 0;
    batch->parsed_count = 0;
    batch->arguments.used = 0;
}

/* Runs the whole batch but for the last group's unparsed rest, which goes on in place. */
static void run_and_go_on(struct worker *worker, struct group *group)
{
    struct batch *batch = worker->clients->batch;

    for (unsigned round = 0, ran = 0;; round++) {
        struct group rest = *group;
        struct client *client = group->client;
        bool may_go_on;

        batch->began_ns = worker->clock_ns;
        if (batch->parsed_count > 1)
            prefetch(worker);
        for (uint32_t g = 0; g + 1 < batch->group_count; g++) {
            struct group *earlier = &batch->groups[g];
            size_t done = run_group(worker, earlier);
            earlier->client->flags &= ~(uint32_t)CLIENT_IN_BATCH;
            settle_group(earlier, done);
        }
        size_t done = run_group(worker, group);
        ran += group->count;
        may_go_on = round < BATCH_ROUNDS_MAX &&
                    (ran < BATCH_COMMANDS_MAX || !clients_have_work(worker)) &&
                    !worker_turn_long(worker) && client_may_parse(client) &&
                    done == group->parsed_bytes && !group->complete;
        batch->group_count = 0;
        batch->parsed_count = 0;
        batch->arguments.used = 0;
        if (!may_go_on) {
            client->flags &= ~(uint32_t)CLIENT_IN_BATCH;
            settle_group(&rest, done);
            return;
        }
        batch->groups[0] = rest;
        batch->groups[0].first = batch->groups[0].count = 0;
        batch->groups[0].ran_bytes = done;
        batch->group_count = 1;
        group = &batch->groups[0];
        if (parse_group(worker, group))
            return;
    }
}

void batch_add(struct worker *worker, struct client *client, const char *data, size_t len_bytes,
               bool from_input)
{
    struct batch *batch = worker->clients->batch;
    struct group *group;

    if (batch->group_count == STREAM_EVENTS_MAX || batch->parsed_count == BATCH_COMMANDS_MAX)
        batch_run(worker);
    group = &batch->groups[batch->group_count++];
    *group = (struct group){.client = client,
                            .data = data,
                            .len_bytes = len_bytes,
                            .first = batch->parsed_count,
                            .from_input = from_input};
    client->flags |= CLIENT_IN_BATCH;
    if (!parse_group(worker, group))
        run_and_go_on(worker, group);
}

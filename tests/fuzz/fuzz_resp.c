/* The RESP parser: whatever the pieces a stream arrives in, and however little room there is for
 * arguments, it must give the same commands, errors and rest as in one piece. Input: four bytes
 * that choose pieces, room and limits, then the stream. */
#include "dataplane/proto/resp.h"

#include <stdlib.h>
#include <string.h>

enum {
    ROOM_MAX = 64,
};

struct outcome {
    uint64_t digest; /* of all commands */
    size_t commands;
    size_t left_bytes;
    enum resp_step last;
    char error[RESP_ERROR_MAX];
};

static void digest(struct outcome *outcome, const void *data, size_t len)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < len; i++)
        outcome->digest = (outcome->digest ^ bytes[i]) * 0x100000001b3u;
}

static void digest_command(struct outcome *outcome, const struct resp_command *command)
{
    outcome->commands++;
    digest(outcome, &command->argc, sizeof command->argc);
    for (uint32_t i = 0; i < command->argc; i++) {
        digest(outcome, &command->argv[i].len_bytes, sizeof command->argv[i].len_bytes);
        digest(outcome, command->argv[i].data, command->argv[i].len_bytes);
    }
}

/* Parses `have` bytes as a connection would, in batches; returns what is left over. */
static size_t burst(struct resp_parser *parser, const struct resp_limits *limits,
                    struct resp_arguments *arguments, const char *data, size_t have,
                    struct outcome *outcome)
{
    struct resp_command batch[ROOM_MAX + 1];
    size_t batched = 0, at = 0;

    arguments->used = 0;
    do {
        size_t consumed = 0;

        outcome->last = RESP_MORE;
        if (at == have)
            break;
        outcome->last =
            resp_parse(parser, limits, data + at, have - at, arguments, &batch[batched], &consumed);
        at += consumed;
        if (outcome->last == RESP_COMMAND)
            batched++;
        if (outcome->last == RESP_FULL && arguments->used == 0)
            abort(); /* an empty array has room for every command */
        if (outcome->last == RESP_FULL || batched > ROOM_MAX || outcome->last == RESP_MORE ||
            outcome->last == RESP_BAD) {
            for (size_t i = 0; i < batched; i++)
                digest_command(outcome, &batch[i]);
            batched = 0;
            arguments->used = 0;
        }
    } while (outcome->last != RESP_MORE && outcome->last != RESP_BAD);
    for (size_t i = 0; i < batched; i++)
        digest_command(outcome, &batch[i]);
    return have - at;
}

static void parse(const char *data, size_t len, const struct resp_limits *limits, uint32_t room,
                  uint32_t seed, struct outcome *outcome)
{
    struct resp_parser parser = {0};
    struct text items[ROOM_MAX];
    struct resp_arguments arguments = {items, room, 0};
    size_t start = 0, have = 0;

    memset(outcome, 0, sizeof *outcome);
    outcome->last = RESP_MORE;
    while (have < len && outcome->last == RESP_MORE) {
        size_t piece = len;

        if (seed != 0) {
            seed = seed * 1664525u + 1013904223u;
            piece = 1 + (seed >> 24) % ((seed >> 16) % 4 == 0 ? 64 : 5);
        }
        have = len - have < piece ? len : have + piece;
        /* A copy of its own for each burst: a read past the end or a pointer kept is seen by ASan.
         */
        char *copy = malloc(have - start);
        memcpy(copy, data + start, have - start);
        start = have - burst(&parser, limits, &arguments, copy, have - start, outcome);
        free(copy);
    }
    outcome->left_bytes = len - start;
    if (outcome->last == RESP_BAD)
        memcpy(outcome->error, parser.error, sizeof outcome->error);
    resp_parser_fini(&parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct outcome whole, pieces;

    if (len < 4)
        return 0;
    struct resp_limits limits = {.bulk_max_bytes = (data[0] & 1) ? 512 << 20 : 1 << 20,
                                 .anonymous = data[0] & 2};
    uint32_t seed = 1u + data[1] + ((uint32_t)data[2] << 8);
    uint32_t room = 1 + data[3] % ROOM_MAX;

    parse((const char *)data + 4, len - 4, &limits, ROOM_MAX, 0, &whole);
    parse((const char *)data + 4, len - 4, &limits, room, seed, &pieces);
    if (whole.digest != pieces.digest || whole.commands != pieces.commands ||
        whole.last != pieces.last || strcmp(whole.error, pieces.error) != 0 ||
        (whole.last != RESP_BAD && whole.left_bytes != pieces.left_bytes))
        abort();
    return 0;
}

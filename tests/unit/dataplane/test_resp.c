#include "dataplane/proto/resp.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 64, LOG_BYTES = 1 << 16 };

static const struct resp_limits open_limits = {.bulk_max_bytes = 512 * 1024 * 1024};
static const struct resp_limits anonymous_limits = {.bulk_max_bytes = 512 * 1024 * 1024,
                                                    .anonymous = true};

/* What a stream of bytes came to: each command as "<word|word>", then how it ended. */
struct outcome {
    char log[LOG_BYTES];
    size_t used;
    enum resp_step last;
    size_t left_bytes; /* not consumed at the end */
};

static void put(struct outcome *outcome, const char *data, size_t len)
{
    cr_assert_lt(outcome->used + len, sizeof outcome->log);
    memcpy(outcome->log + outcome->used, data, len);
    outcome->used += len;
    outcome->log[outcome->used] = '\0';
}

static void put_command(struct outcome *outcome, const struct resp_command *command)
{
    put(outcome, "<", 1);
    for (uint32_t i = 0; i < command->argc; i++) {
        if (i > 0)
            put(outcome, "|", 1);
        put(outcome, command->argv[i].data, command->argv[i].len_bytes);
    }
    put(outcome, ">", 1);
}

/* Feeds `bytes` in pieces; each step sees a fresh copy of exactly the bytes there are, so that ASan
 * sees a read too far and pointers into an older copy are found out. */
static void feed(struct outcome *outcome, const struct resp_limits *limits, uint32_t room,
                 const char *bytes, size_t len, size_t piece)
{
    struct resp_parser parser = {0};
    struct text items[ROOM];
    struct resp_arguments arguments = {items, room, 0};
    size_t start = 0, have = 0;

    outcome->used = 0;
    outcome->last = RESP_EMPTY;
    put(outcome, "", 0);
    while (outcome->last != RESP_BAD && (start < have || have < len)) {
        if (outcome->last == RESP_MORE || start == have)
            have = len - have < piece ? len : have + piece;
        size_t seen = have - start;
        char *copy = malloc(seen);
        memcpy(copy, bytes + start, seen);
        struct resp_command command;
        size_t consumed = 0;
        arguments.used = 0;
        outcome->last = resp_parse(&parser, limits, copy, seen, &arguments, &command, &consumed);
        if (outcome->last == RESP_COMMAND) {
            cr_assert_eq(command.wire_bytes, consumed);
            put_command(outcome, &command);
        }
        cr_assert_neq(outcome->last, RESP_FULL);
        start += consumed;
        free(copy);
        if (outcome->last == RESP_MORE && have == len)
            break;
    }
    if (outcome->last == RESP_BAD)
        put(outcome, parser.error, strlen(parser.error));
    outcome->left_bytes = have - start;
    resp_parser_fini(&parser);
}

/* The same in one piece, in pieces of 1, 2, 3 and 7 bytes, and with little room for arguments. */
static void expect(const struct resp_limits *limits, const char *bytes, size_t len, const char *log,
                   enum resp_step last)
{
    static const size_t pieces[] = {SIZE_MAX / 2, 1, 2, 3, 7};
    static const uint32_t rooms[] = {ROOM, 2, 1};
    static struct outcome outcome;

    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        for (size_t k = 0; k < sizeof rooms / sizeof *rooms; k++) {
            feed(&outcome, limits, rooms[k], bytes, len, pieces[i]);
            cr_assert_eq(outcome.last, last, "step %d in pieces of %zu", outcome.last, pieces[i]);
            cr_assert_str_eq(outcome.log, log, "in pieces of %zu", pieces[i]);
        }
    }
}

#define EXPECT(bytes, log, last) expect(&open_limits, bytes, sizeof(bytes) - 1, log, last)
#define EXPECT_BAD(bytes, error)                                                                   \
    expect(&open_limits, bytes, sizeof(bytes) - 1, "Protocol error: " error, RESP_BAD)

Test(resp, cuts_arrays_of_bulk_strings)
{
    EXPECT("*1\r\n$4\r\nPING\r\n", "<PING>", RESP_COMMAND);
    EXPECT("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nhello\r\nworld\r\n", "<SET|k|hello\r\nworld>",
           RESP_COMMAND);
    EXPECT("*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n", "<GET|><PING>", RESP_COMMAND);
    EXPECT("*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI", "<PING>", RESP_MORE);
}

Test(resp, keeps_pipelined_commands_in_the_callers_array)
{
    static const char bytes[] = "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n*"
                                "2\r\n$3\r\nGET\r\n$1\r\nc\r\n";
    struct resp_parser parser = {0};
    struct text items[5];
    struct resp_arguments arguments = {items, 5, 0};
    struct resp_command command;
    size_t at = 0, consumed;

    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(resp_parse(&parser, &open_limits, bytes + at, sizeof bytes - 1 - at,
                                &arguments, &command, &consumed),
                     RESP_COMMAND);
        cr_assert_eq(command.argv, items + i * 2);
        cr_assert_eq(arguments.used, i * 2 + 2);
        at += consumed;
    }
    cr_assert_eq(resp_parse(&parser, &open_limits, bytes + at, sizeof bytes - 1 - at, &arguments,
                            &command, &consumed),
                 RESP_FULL);
    arguments.used = 0;
    cr_assert_eq(resp_parse(&parser, &open_limits, bytes + at, sizeof bytes - 1 - at, &arguments,
                            &command, &consumed),
                 RESP_COMMAND);
    cr_assert_eq(at + consumed, sizeof bytes - 1);
    cr_assert_eq(command.argv[1].data[0], 'c');
}

Test(resp, a_command_too_long_for_the_array_waits_for_an_empty_one)
{
    static const char bytes[] = "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n";
    struct resp_parser parser = {0};
    struct text items[2];
    struct resp_arguments arguments = {items, 2, 1};
    struct resp_command command;
    size_t consumed;

    cr_assert_eq(resp_parse(&parser, &open_limits, bytes, sizeof bytes - 1, &arguments, &command,
                            &consumed),
                 RESP_FULL);
    arguments.used = 0;
    cr_assert_eq(resp_parse(&parser, &open_limits, bytes, sizeof bytes - 1, &arguments, &command,
                            &consumed),
                 RESP_COMMAND);
    cr_assert_eq(command.argc, 3);
    cr_assert_eq(command.argv[2].data[0], 'c');
    /* Its memory is the parser's: nothing more before the batch has run. */
    cr_assert_eq(arguments.used, arguments.capacity);
    cr_assert_eq(resp_parse(&parser, &open_limits, bytes, sizeof bytes - 1, &arguments, &command,
                            &consumed),
                 RESP_FULL);
    cr_assert_eq(command.argv[2].data[0], 'c');
    resp_parser_fini(&parser);
}

Test(resp, empty_commands_are_skipped)
{
    EXPECT("*0\r\n*1\r\n$4\r\nPING\r\n", "<PING>", RESP_COMMAND);
    EXPECT("*-1\r\n", "", RESP_EMPTY);
    EXPECT("*-99999999999\r\n", "", RESP_EMPTY);
    EXPECT("\r\n\n  \r\nPING\r\n", "<PING>", RESP_COMMAND);
}

/* As redis-server: after CR any byte passes for LF, and two bytes after a bulk are skipped unseen.
 */
Test(resp, line_ends_are_not_looked_at_closely)
{
    EXPECT("*1\rX$4\rYPINGZZ*1\r\n$4\r\nPING\r\n", "<PING><PING>", RESP_COMMAND);
    EXPECT("*1\nX$4\r\nPING\r\n", "Protocol error: invalid multibulk length", RESP_BAD);
}

Test(resp, refuses_counts_that_are_not_canonical_numbers)
{
    EXPECT_BAD("*01\r\n", "invalid multibulk length");
    EXPECT_BAD("*+1\r\n", "invalid multibulk length");
    EXPECT_BAD("* 1\r\n", "invalid multibulk length");
    EXPECT_BAD("*-0\r\n", "invalid multibulk length");
    EXPECT_BAD("*\r\n", "invalid multibulk length");
    EXPECT_BAD("*2147483648\r\n", "invalid multibulk length");
    EXPECT_BAD("*99999999999999999999\r\n", "invalid multibulk length");
    EXPECT("*2147483647\r\n", "", RESP_MORE);
}

Test(resp, refuses_bulk_lengths_that_are_not_valid)
{
    EXPECT_BAD("*1\r\n$-1\r\n", "invalid bulk length");
    EXPECT_BAD("*1\r\n$4x\r\n", "invalid bulk length");
    EXPECT_BAD("*1\r\n$\r\n", "invalid bulk length");
    EXPECT_BAD("*1\r\n$04\r\n", "invalid bulk length");
    EXPECT_BAD("*1\r\n$536870913\r\n", "invalid bulk length");
    EXPECT_BAD("*1\r\n$9223372036854775807\r\n", "invalid bulk length");
    EXPECT("*1\r\n$536870912\r\n", "", RESP_MORE);
}

/* More bytes follow than the shortest header has. */
Test(resp, reads_headers_alike_whatever_follows)
{
    char bytes[256], log[256];

    EXPECT_BAD("*01\r\n$4\r\nPING\r\n", "invalid multibulk length");
    EXPECT_BAD("*x\r\n$4\r\nPING\r\n", "invalid multibulk length");
    EXPECT_BAD("*1x\r\n$4\r\nPING\r\n", "invalid multibulk length");
    EXPECT_BAD("*1\r\n$04\r\nPING\r\n", "invalid bulk length");
    EXPECT_BAD("*1\r\n$4:\r\nPING\r\n", "invalid bulk length");
    EXPECT_BAD("*1\r\n$/4\r\nPING\r\n", "invalid bulk length");
    EXPECT_BAD("*1\r\n$-1\r\nPING\r\n", "invalid bulk length");
    EXPECT_BAD("*1\r\n!4\r\nPING\r\n", "expected '$', got '!'");
    EXPECT_BAD("*1\r\n!14\r\nPING\r\n", "expected '$', got '!'");
    for (int len = 0; len <= 110; len++) {
        int used = snprintf(bytes, sizeof bytes, "*2\r\n$%d\r\n%0*d\r\n$1\r\nx\r\n",
                            len > 0 ? len : 1, len, len % 10);

        snprintf(log, sizeof log, "<%0*d|x>", len, len % 10);
        expect(&open_limits, bytes, (size_t)used, log, RESP_COMMAND);
    }
}

Test(resp, expects_a_dollar)
{
    EXPECT_BAD("*1\r\nPING\r\n", "expected '$', got 'P'");
    EXPECT_BAD("*1\r\n\r\n\r\n", "expected '$', got ' '");
    EXPECT_BAD("*1\r\n\n\r\n", "expected '$', got ' '");
    EXPECT_BAD("*1\r\n\xff\r\n", "expected '$', got '\xff'");
    EXPECT_BAD("*2\r\n$4\r\nPING\r\n*1\r\n", "expected '$', got '*'");
    EXPECT("*1\r\nPING", "", RESP_MORE);
}

Test(resp, a_client_that_must_authenticate_gets_tight_limits)
{
    const char *ok = "*10\r\n", *many = "*11\r\n", *fits = "*2\r\n$16384\r\n",
               *large = "*2\r\n$16385\r\n";

    expect(&anonymous_limits, ok, strlen(ok), "", RESP_MORE);
    expect(&anonymous_limits, many, strlen(many),
           "Protocol error: unauthenticated multibulk length", RESP_BAD);
    expect(&anonymous_limits, fits, strlen(fits), "", RESP_MORE);
    expect(&anonymous_limits, large, strlen(large), "Protocol error: unauthenticated bulk length",
           RESP_BAD);
    EXPECT("*11\r\n$16385\r\n", "", RESP_MORE);
}

Test(resp, inline_commands_are_cut_at_blanks)
{
    EXPECT("PING\r\n", "<PING>", RESP_COMMAND);
    EXPECT("PING\n", "<PING>", RESP_COMMAND);
    EXPECT("  set  k\tv \r\nGET k\r\n", "<set|k|v><GET|k>", RESP_COMMAND);
    EXPECT("\vPING a\vb\r\n", "<PING|a\vb>", RESP_COMMAND);
    EXPECT("PING\ra\r\n", "<PING|a>", RESP_COMMAND);
    EXPECT("A B C D E F\r\n", "<A|B|C|D|E|F>", RESP_COMMAND);
    EXPECT("PING", "", RESP_MORE);
}

Test(resp, inline_commands_can_quote)
{
    EXPECT("SET k \"a b\\x41\\n\\q\"\r\n", "<SET|k|a bA\nq>", RESP_COMMAND);
    EXPECT("SET k 'it\\'s\\n'\r\nPING\r\n", "<SET|k|it's\\n><PING>", RESP_COMMAND);
    EXPECT("\"\"\r\n", "<>", RESP_COMMAND);
    EXPECT("PING a\"b c\"\r\n", "<PING|ab c>", RESP_COMMAND);
    EXPECT_BAD("PING \"a\r\n", "unbalanced quotes in request");
    EXPECT_BAD("PING 'a\r\n", "unbalanced quotes in request");
    EXPECT_BAD("PING \"a\"b\r\n", "unbalanced quotes in request");
}

Test(resp, quoted_words_outlive_the_rest_of_their_batch)
{
    static const char bytes[] = "GET 'a b'\r\nGET 'c d'\r\n";
    struct resp_parser parser = {0};
    struct text items[8];
    struct resp_arguments arguments = {items, 8, 0};
    struct resp_command first, second;
    size_t at, consumed;

    cr_assert_eq(resp_parse(&parser, &open_limits, bytes, sizeof bytes - 1, &arguments, &first,
                            &at),
                 RESP_COMMAND);
    cr_assert_eq(resp_parse(&parser, &open_limits, bytes + at, sizeof bytes - 1 - at, &arguments,
                            &second, &consumed),
                 RESP_FULL);
    cr_assert_eq(first.argv[1].len_bytes, 3);
    cr_assert_arr_eq(first.argv[1].data, "a b", 3);
    arguments.used = 0;
    cr_assert_eq(resp_parse(&parser, &open_limits, bytes + at, sizeof bytes - 1 - at, &arguments,
                            &second, &consumed),
                 RESP_COMMAND);
    cr_assert_arr_eq(second.argv[1].data, "c d", 3);
    resp_parser_fini(&parser);
}

/* redis-server looks for the end of a line with strchr: a NUL before it hides it. */
Test(resp, a_nul_hides_the_end_of_the_line)
{
    EXPECT("PING \0\r\nPING\r\n", "", RESP_MORE);
    EXPECT("*1\0\r\n$4\r\nPING\r\n", "", RESP_MORE);
    EXPECT("*1\r\n\0004\r\nPING\r\n", "", RESP_MORE);
}

/* A line of `fill` bytes after `head`, then `tail`. */
static void expect_line(const char *head, size_t fill, const char *tail, const char *log,
                        enum resp_step last)
{
    static const size_t pieces[] = {SIZE_MAX / 2, 1, 16384};
    static struct outcome outcome;
    size_t head_len = strlen(head), tail_len = strlen(tail), len = head_len + fill + tail_len;
    char *bytes = malloc(len);

    memcpy(bytes, head, head_len);
    memset(bytes + head_len, '1', fill);
    memcpy(bytes + head_len + fill, tail, tail_len);
    /* A long line goes byte by byte in a test of its own: here each step copies all there is. */
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        if (pieces[i] == 1 && len > 2000)
            continue;
        feed(&outcome, &open_limits, ROOM, bytes, len, pieces[i]);
        cr_assert_eq(outcome.last, last, "%s: step %d", head, outcome.last);
        cr_assert_str_eq(outcome.log, log);
    }
    free(bytes);
}

Test(resp, lines_are_bounded)
{
    expect_line("*", RESP_INLINE_MAX_BYTES - 1, "", "", RESP_MORE);
    expect_line("*", RESP_INLINE_MAX_BYTES, "", "Protocol error: too big mbulk count string",
                RESP_BAD);
    expect_line("*", RESP_INLINE_MAX_BYTES - 1, "\r\n", "Protocol error: invalid multibulk length",
                RESP_BAD);
    expect_line("*1\r\n$", RESP_INLINE_MAX_BYTES - 1, "", "", RESP_MORE);
    expect_line("*1\r\n$", RESP_INLINE_MAX_BYTES, "", "Protocol error: too big bulk count string",
                RESP_BAD);
    expect_line("", RESP_INLINE_MAX_BYTES, "", "", RESP_MORE);
    expect_line("", RESP_INLINE_MAX_BYTES + 1, "", "Protocol error: too big inline request",
                RESP_BAD);
    expect_line("", 2 * RESP_INLINE_MAX_BYTES, "\r\n", "Protocol error: too big inline request",
                RESP_BAD);
}

Test(resp, an_announced_length_asks_for_no_more_than_twice_what_came)
{
    static const char bytes[] = "*2\r\n$3\r\nSET\r\n$536870912\r\n";
    struct resp_parser parser = {0};
    struct text items[4];
    struct resp_arguments arguments = {items, 4, 0};
    struct resp_command command;
    size_t consumed;

    cr_assert_eq(resp_parse(&parser, &open_limits, bytes, sizeof bytes - 1, &arguments, &command,
                            &consumed),
                 RESP_MORE);
    cr_assert_gt(parser.want_bytes, sizeof bytes - 1);
    cr_assert_leq(parser.want_bytes, 16384);
    cr_assert_null(parser.parts);
    resp_parser_fini(&parser);
}

/* Writes "*<count>\r\n" and that many arguments "$1\r\nx\r\n". */
static char *long_command(size_t count, size_t *len)
{
    char *bytes = malloc(count * 7 + 32);
    size_t at = (size_t)sprintf(bytes, "*%zu\r\n", count);

    for (size_t i = 0; i < count; i++, at += 7)
        memcpy(bytes + at, "$1\r\nx\r\n", 7);
    *len = at;
    return bytes;
}

Test(resp, an_announced_count_costs_nothing_until_arguments_come)
{
    size_t len;
    char *bytes = long_command(17, &len);
    struct resp_parser parser = {0};
    struct text items[4];
    struct resp_arguments arguments = {items, 4, 0};
    struct resp_command command;
    size_t consumed;

    memcpy(bytes, "*99\r\n", 5);
    cr_assert_eq(resp_parse(&parser, &open_limits, bytes, len, &arguments, &command, &consumed),
                 RESP_MORE);
    cr_assert_leq(parser.capacity, 128);
    resp_parser_fini(&parser);
    free(bytes);
}

Test(resp, a_million_arguments_in_small_pieces_are_linear_work, .timeout = 20)
{
    enum { COUNT = 1000000, PIECE = 11 };
    size_t len, consumed = 0;
    char *bytes = long_command(COUNT, &len);
    struct resp_parser parser = {0};
    struct text items[ROOM];
    struct resp_arguments arguments = {items, ROOM, 0};
    struct resp_command command;
    enum resp_step step = RESP_MORE;

    for (size_t have = PIECE; step == RESP_MORE; have = len - have < PIECE ? len : have + PIECE)
        step = resp_parse(&parser, &open_limits, bytes, have, &arguments, &command, &consumed);
    cr_assert_eq(step, RESP_COMMAND);
    cr_assert_eq(command.argc, COUNT);
    cr_assert_eq(consumed, len);
    cr_assert_eq(command.argv[COUNT - 1].data, bytes + len - 3);
    cr_assert_eq(command.argv[COUNT / 2].len_bytes, 1);
    resp_parser_fini(&parser);
    free(bytes);
}

Test(resp, a_long_line_byte_by_byte_is_linear_work, .timeout = 20)
{
    static char line[RESP_INLINE_MAX_BYTES + 1];
    struct resp_parser parser = {0};
    struct text items[ROOM];
    struct resp_arguments arguments = {items, ROOM, 0};
    struct resp_command command;
    size_t consumed;

    memset(line, 'x', sizeof line);
    line[5] = '\0'; /* nothing behind it may be looked at again and again either */
    for (size_t have = 1; have < sizeof line; have++)
        cr_assert_eq(resp_parse(&parser, &open_limits, line, have, &arguments, &command, &consumed),
                     RESP_MORE);
    cr_assert_eq(resp_parse(&parser, &open_limits, line, sizeof line, &arguments, &command,
                            &consumed),
                 RESP_BAD);
    cr_assert_str_eq(parser.error, "Protocol error: too big inline request");
    resp_parser_fini(&parser);
}

Test(resp, many_arguments_byte_by_byte_give_the_same_command)
{
    size_t len;
    char *bytes = long_command(300, &len);
    static struct outcome whole, pieces;

    feed(&whole, &open_limits, ROOM, bytes, len, len);
    feed(&pieces, &open_limits, ROOM, bytes, len, 1);
    cr_assert_eq(whole.last, RESP_COMMAND);
    cr_assert_str_eq(whole.log, pieces.log);
    free(bytes);
}

Test(resp, reset_forgets_a_command_in_progress)
{
    size_t len, consumed;
    char *bytes = long_command(40, &len);
    struct resp_parser parser = {0};
    struct text items[ROOM];
    struct resp_arguments arguments = {items, ROOM, 0};
    struct resp_command command;

    cr_assert_eq(resp_parse(&parser, &open_limits, bytes, len - 1, &arguments, &command, &consumed),
                 RESP_MORE);
    resp_parser_reset(&parser);
    cr_assert_eq(resp_parse(&parser, &open_limits, "PING\r\n", 6, &arguments, &command, &consumed),
                 RESP_COMMAND);
    cr_assert_eq(command.argc, 1);
    resp_parser_fini(&parser);
    free(bytes);
}

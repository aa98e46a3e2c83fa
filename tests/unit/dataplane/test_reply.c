#include "dataplane/proto/reply.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A reply in memory that is read back as one string. */
struct sample {
    struct reply_memory memory;
    char small[64];
};

static struct reply *start(struct sample *sample, uint8_t resp)
{
    reply_memory_init(&sample->memory, resp, sample->small, sizeof sample->small);
    return &sample->memory.reply;
}

/* A sink over one fixed buffer. */
struct fixed {
    struct reply reply;
    char error_code[REPLY_CODE_MAX];
    char room[1 << 20];
    size_t used, step; /* `step`: room given at a time */
    size_t appended;
    bool full;
};

static bool fixed_more(struct reply *reply, size_t need_bytes)
{
    struct fixed *fixed = reply->sink_arg;
    size_t give = need_bytes > fixed->step ? need_bytes : fixed->step;

    cr_assert_leq(need_bytes, REPLY_ROOM_MAX);
    fixed->used += (size_t)(reply->cur - reply->base);
    if (fixed->full)
        return false;
    reply->base = reply->cur = fixed->room + fixed->used;
    reply->end = reply->cur + give;
    return true;
}

static bool fixed_append(struct reply *reply, const char *data, size_t len_bytes,
                         void (*release)(void *), void *arg)
{
    struct fixed *fixed = reply->sink_arg;

    fixed->used += (size_t)(reply->cur - reply->base);
    reply->base = reply->cur = reply->end = NULL;
    if (fixed->full)
        return false;
    memcpy(fixed->room + fixed->used, data, len_bytes);
    fixed->used += len_bytes;
    fixed->appended++;
    release(arg);
    return true;
}

static const struct reply_sink fixed_sink = {fixed_more, fixed_append};

static struct fixed *fixed_new(size_t step)
{
    struct fixed *fixed = calloc(1, sizeof *fixed);

    fixed->reply.sink = &fixed_sink;
    fixed->reply.sink_arg = fixed;
    fixed->reply.resp = 2;
    fixed->reply.error_code = fixed->error_code;
    fixed->step = step;
    return fixed;
}

static size_t fixed_len(struct fixed *fixed)
{
    return fixed->used + (size_t)(fixed->reply.cur - fixed->reply.base);
}

static void expect_text(struct sample *sample, const char *expected)
{
    struct fixed *fixed = fixed_new(100);

    reply_memory_finish(&sample->memory);
    cr_assert_eq(sample->memory.total_bytes, strlen(expected));
    reply_memory_move(&sample->memory, &fixed->reply);
    fixed->room[fixed_len(fixed)] = '\0';
    cr_assert_str_eq(fixed->room, expected);
    reply_memory_fini(&sample->memory);
    free(fixed);
}

/* The same calls in RESP2 and in RESP3. */
#define EXPECT_BOTH(call, in2, in3)                                                                \
    do {                                                                                           \
        struct sample sample_;                                                                     \
        struct reply *reply = start(&sample_, 2);                                                  \
        call;                                                                                      \
        expect_text(&sample_, in2);                                                                \
        reply = start(&sample_, 3);                                                                \
        call;                                                                                      \
        expect_text(&sample_, in3);                                                                \
    } while (0)

static struct text text(const char *data)
{
    return (struct text){data, strlen(data)};
}

Test(reply, simple_types_are_the_same_in_both_protocols)
{
    EXPECT_BOTH(reply_ok(reply), "+OK\r\n", "+OK\r\n");
    EXPECT_BOTH(reply_status(reply, "PONG"), "+PONG\r\n", "+PONG\r\n");
    EXPECT_BOTH(reply_integer(reply, 0), ":0\r\n", ":0\r\n");
    EXPECT_BOTH(reply_integer(reply, 99), ":99\r\n", ":99\r\n");
    EXPECT_BOTH(reply_integer(reply, 100), ":100\r\n", ":100\r\n");
    EXPECT_BOTH(reply_integer(reply, -10), ":-10\r\n", ":-10\r\n");
    EXPECT_BOTH(reply_integer(reply, 1000000000), ":1000000000\r\n", ":1000000000\r\n");
    EXPECT_BOTH(reply_integer(reply, 999999999), ":999999999\r\n", ":999999999\r\n");
    EXPECT_BOTH(reply_integer(reply, 1234567), ":1234567\r\n", ":1234567\r\n");
    EXPECT_BOTH(reply_integer(reply, INT64_MIN), ":-9223372036854775808\r\n",
                ":-9223372036854775808\r\n");
    EXPECT_BOTH(reply_bulk(reply, text("")), "$0\r\n\r\n", "$0\r\n\r\n");
    EXPECT_BOTH(reply_bulk(reply, text("hello")), "$5\r\nhello\r\n", "$5\r\nhello\r\n");
    EXPECT_BOTH(reply_bulk(reply, text("hello, world")), "$12\r\nhello, world\r\n",
                "$12\r\nhello, world\r\n");
    EXPECT_BOTH(reply_bulk_integer(reply, -42), "$3\r\n-42\r\n", "$3\r\n-42\r\n");
    EXPECT_BOTH(reply_array(reply, 12), "*12\r\n", "*12\r\n");
}

Test(reply, resp3_has_types_of_its_own)
{
    EXPECT_BOTH(reply_null(reply), "$-1\r\n", "_\r\n");
    EXPECT_BOTH(reply_null_array(reply), "*-1\r\n", "_\r\n");
    EXPECT_BOTH(reply_map(reply, 3), "*6\r\n", "%3\r\n");
    EXPECT_BOTH(reply_set(reply, 3), "*3\r\n", "~3\r\n");
    EXPECT_BOTH(reply_push(reply, 3), "*3\r\n", ">3\r\n");
    EXPECT_BOTH(reply_bool(reply, true), ":1\r\n", "#t\r\n");
    EXPECT_BOTH(reply_bool(reply, false), ":0\r\n", "#f\r\n");
    EXPECT_BOTH(reply_big_number(reply, text("123456789012345678901")),
                "$21\r\n123456789012345678901\r\n", "(123456789012345678901\r\n");
    EXPECT_BOTH(reply_verbatim(reply, "txt", text("hi")), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n");
}

/* As many digits as a double needs at most: redis-server 7.0 prints so. */
Test(reply, doubles_have_17_digits)
{
    EXPECT_BOTH(reply_double(reply, 0.1), "$19\r\n0.10000000000000001\r\n",
                ",0.10000000000000001\r\n");
    EXPECT_BOTH(reply_double(reply, 3), "$1\r\n3\r\n", ",3\r\n");
    EXPECT_BOTH(reply_double(reply, 1e-7), "$22\r\n9.9999999999999995e-08\r\n",
                ",9.9999999999999995e-08\r\n");
    EXPECT_BOTH(reply_double(reply, INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
    EXPECT_BOTH(reply_double(reply, -INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
}

Test(reply, errors_get_a_code_unless_they_bring_one)
{
    EXPECT_BOTH(reply_error(reply, "syntax error"), "-ERR syntax error\r\n",
                "-ERR syntax error\r\n");
    EXPECT_BOTH(reply_error(reply, "-WRONGTYPE Operation"), "-WRONGTYPE Operation\r\n",
                "-WRONGTYPE Operation\r\n");
    EXPECT_BOTH(reply_errorf(reply, "no %s of %d", "sign", 7), "-ERR no sign of 7\r\n",
                "-ERR no sign of 7\r\n");
}

Test(reply, line_ends_cannot_forge_replies)
{
    EXPECT_BOTH(reply_error(reply, "a\r\n+OK\r\n"), "-ERR a  +OK\r\n", "-ERR a  +OK\r\n");
    EXPECT_BOTH(reply_errorf(reply, "got '%c'", '\n'), "-ERR got ' '\r\n", "-ERR got ' '\r\n");
    EXPECT_BOTH(reply_status(reply, "a\nb"), "+a b\r\n", "+a b\r\n");
}

Test(reply, errors_are_counted_with_their_code)
{
    struct sample sample;
    struct reply *reply = start(&sample, 2);

    reply_error(reply, "plain");
    cr_assert_str_eq(reply->error_code, "ERR");
    reply_error(reply, "-NOAUTH Authentication required.");
    cr_assert_str_eq(reply->error_code, "NOAUTH");
    reply_error(reply, "-NOSPACE");
    cr_assert_str_eq(reply->error_code, "ERR");
    reply_error(reply, "-ACODETHATISLONGERTHANTHEROOMTHEREIS x");
    cr_assert_eq(strlen(reply->error_code), REPLY_CODE_MAX - 1);
    cr_assert_eq(reply->errors, 4);
    reply_memory_fini(&sample.memory);
}

Test(reply, a_long_error_text_is_not_cut)
{
    struct sample sample;
    static char word[3000], expected[3100];

    memset(word, 'x', sizeof word - 1);
    snprintf(expected, sizeof expected, "-ERR '%s'\r\n", word);
    reply_errorf(start(&sample, 2), "'%s'", word);
    expect_text(&sample, expected);
}

Test(reply, muted_drops_bytes_and_still_counts_errors)
{
    struct sample sample;
    struct reply *reply = start(&sample, 2);

    reply_ok(reply);
    reply->muted = true;
    reply_ok(reply);
    reply_error(reply, "no");
    reply_bulk(reply, text("x"));
    reply->muted = false;
    reply_integer(reply, 1);
    cr_assert_eq(reply->errors, 1);
    expect_text(&sample, "+OK\r\n:1\r\n");
}

static void count_release(void *arg)
{
    ++*(unsigned *)arg;
}

Test(reply, a_sink_without_memory_fails_the_reply_and_the_rest_is_dropped)
{
    struct fixed *fixed = fixed_new(64);
    static char large[REPLY_OWNED_MIN_BYTES];
    unsigned released = 0;

    reply_ok(&fixed->reply);
    fixed->full = true;
    for (unsigned i = 0; i < 100; i++)
        reply_ok(&fixed->reply);
    cr_assert(fixed->reply.failed);
    size_t before = fixed_len(fixed);
    reply_bulk_owned(&fixed->reply, large, sizeof large, count_release, &released);
    reply_bytes(&fixed->reply, large, sizeof large);
    cr_assert_eq(released, 1);
    cr_assert_eq(fixed_len(fixed), before);
    free(fixed);
}

Test(reply, an_owned_value_is_released_once_whatever_happens)
{
    static char large[REPLY_OWNED_MIN_BYTES];
    unsigned released = 0;
    struct fixed *fixed = fixed_new(1000);

    reply_bulk_owned(&fixed->reply, "short", 5, count_release, &released);
    cr_assert_eq(released, 1);
    fixed->reply.muted = true;
    reply_bulk_owned(&fixed->reply, large, sizeof large, count_release, &released);
    cr_assert_eq(released, 2);
    fixed->reply.muted = false;
    reply_bulk_owned(&fixed->reply, large, sizeof large, count_release, &released);
    cr_assert_eq(released, 3);
    cr_assert_eq(fixed->appended, 1);
    fixed->full = true;
    reply_bulk_owned(&fixed->reply, large, sizeof large, count_release, &released);
    cr_assert_eq(released, 4);
    cr_assert(fixed->reply.failed);
    cr_assert_arr_eq(fixed->room, "$5\r\nshort\r\n$16384\r\n", 19);
    free(fixed);

    struct sample sample;
    reply_bulk_owned(start(&sample, 2), large, sizeof large, count_release, &released);
    cr_assert_eq(released, 4);
    reply_memory_fini(&sample.memory);
    cr_assert_eq(released, 5);
}

/* Writes a recognisable row of replies of very different lengths. */
static void write_row(struct reply *reply, unsigned *released)
{
    static char value[40000];

    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (char)('a' + i % 26);
    for (unsigned i = 0; i < 40; i++)
        reply_integer(reply, i);
    reply_bulk(reply, (struct text){value, 5000});
    reply_bulk(reply, (struct text){value, sizeof value});
    reply_bulk_owned(reply, value, sizeof value, count_release, released);
    reply_ok(reply);
    reply_bulk(reply, (struct text){value, 300});
}

Test(reply, memory_moves_all_in_order_and_can_be_used_again)
{
    struct fixed *direct = fixed_new(64), *moved = fixed_new(777);
    struct sample sample;
    unsigned released = 0;

    start(&sample, 2);
    for (unsigned round = 1; round <= 3; round++) {
        write_row(&direct->reply, &released);
        write_row(&sample.memory.reply, &released);
        reply_error(&sample.memory.reply, "-CODE x");
        reply_error(&direct->reply, "-CODE x");
        reply_memory_finish(&sample.memory);
        reply_memory_move(&sample.memory, &moved->reply);
        cr_assert_eq(sample.memory.total_bytes, 0);
        cr_assert_eq(released, round * 2);
        cr_assert_eq(moved->reply.errors, round);
        cr_assert_str_eq(moved->reply.error_code, "CODE");
    }
    cr_assert_eq(fixed_len(direct), fixed_len(moved));
    cr_assert_arr_eq(direct->room, moved->room, fixed_len(direct));
    reply_memory_fini(&sample.memory);
    free(direct);
    free(moved);
}

Test(reply, memory_can_be_taken_in_pieces_of_any_size)
{
    static const size_t pieces[] = {1, 13, 64, 1000, 16384, 70000};
    struct fixed *direct = fixed_new(64);
    unsigned released = 0;

    write_row(&direct->reply, &released);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct fixed *taken = fixed_new(64);
        struct sample sample;

        write_row(start(&sample, 2), &released);
        reply_memory_finish(&sample.memory);
        while (sample.memory.total_bytes > 0) {
            uint64_t left = sample.memory.total_bytes;
            reply_memory_take(&sample.memory, left < pieces[i] ? left : pieces[i], &taken->reply);
        }
        cr_assert_eq(fixed_len(direct), fixed_len(taken));
        cr_assert_arr_eq(direct->room, taken->room, fixed_len(direct));
        reply_memory_fini(&sample.memory);
        cr_assert_eq(released, i + 2);
        free(taken);
    }
    free(direct);
}

Test(reply, what_is_written_after_a_take_stays_behind)
{
    struct sample sample;
    struct fixed *fixed = fixed_new(64);
    struct reply *reply = start(&sample, 2);

    reply_integer(reply, 1);
    reply_integer(reply, 2);
    reply_memory_finish(&sample.memory);
    reply_memory_take(&sample.memory, 4, &fixed->reply);
    reply_integer(reply, 3);
    reply_memory_finish(&sample.memory);
    cr_assert_eq(sample.memory.total_bytes, 8);
    reply_memory_take(&sample.memory, 8, &fixed->reply);
    cr_assert_arr_eq(fixed->room, ":1\r\n:2\r\n:3\r\n", 12);
    cr_assert_eq(fixed_len(fixed), 12);
    reply_memory_fini(&sample.memory);
    free(fixed);
}

#include <criterion/criterion.h>
#include <string.h>

#include "tools/pollux-bench/reply.h"

static const char stream[] = "+OK\r\n$-1\r\n*2\r\n$3\r\na\n\r\r\n*2\r\n:1\r\n*-1\r\n-ERR x\r\n"
                             "$0\r\n\r\n*0\r\n-MOVED 1 h:2\r\n:-5\r\n";

Test(reply, counts_the_same_in_pieces_of_any_size)
{
    for (size_t piece = 1; piece < sizeof(stream); piece++) {
        struct reply reply = {0};
        struct reply_counts counts = {0};
        int64_t replies = 0;
        for (size_t at = 0; at < sizeof(stream) - 1; at += piece) {
            size_t left = sizeof(stream) - 1 - at;
            int64_t ended = reply_feed(&reply, stream + at, left < piece ? left : piece, &counts);
            cr_assert_geq(ended, 0);
            replies += ended;
        }
        cr_assert_eq(replies, 8, "pieces of %zu: %lld", piece, (long long)replies);
        cr_assert_eq(counts.errors, 1);
        cr_assert_eq(counts.moved, 1);
        cr_assert_eq(counts.nulls, 2);
        cr_assert_str_eq(counts.first_error, "ERR x");
    }
}

Test(reply, refuses_what_is_none)
{
    static const char *const texts[] = {"x\r\n",   "\r\n",           "$x\r\n", "$-2\r\n",
                                        "*1x\r\n", "$536870913\r\n", "$\r\n",  "*16777217\r\n"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct reply reply = {0};
        struct reply_counts counts = {0};
        cr_assert_lt(reply_feed(&reply, texts[i], strlen(texts[i]), &counts), 0, "%s", texts[i]);
    }
}

Test(reply, a_length_line_without_end_is_refused_not_kept)
{
    struct reply reply = {0};
    struct reply_counts counts = {0};
    char digits[REPLY_LINE_MAX];

    memset(digits, '1', sizeof(digits));
    cr_assert_eq(reply_feed(&reply, "$", 1, &counts), 0);
    cr_assert_lt(reply_feed(&reply, digits, sizeof(digits), &counts), 0);
}

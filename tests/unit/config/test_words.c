#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/words.h"

enum { WORDS_MAX = 8 };

/* Splits a copy of `line` and compares with the words, separated by '|'; "!" stands for -EINVAL. */
static void expect(const char *line, size_t len, const char *expected)
{
    struct words_span words[WORDS_MAX];
    char *copy = malloc(len + 1);
    char joined[256] = "";
    size_t used = 0;

    memcpy(copy, line, len);
    int counted = words_count(line, len);
    int count = words_split(copy, len, words, WORDS_MAX);
    cr_assert_eq(count, counted, "'%s': %d words split, %d counted", line, count, counted);
    if (count < 0)
        strcpy(joined, "!");
    for (int i = 0; i < count; i++) {
        if (i > 0)
            joined[used++] = '|';
        memcpy(joined + used, words[i].data, words[i].len);
        used += words[i].len;
        joined[used] = '\0';
    }
    cr_assert_str_eq(joined, expected, "'%s' gave '%s', not '%s'", line, joined, expected);
    free(copy);
}

static void splits(const char *line, const char *expected)
{
    expect(line, strlen(line), expected);
}

Test(words, blanks_separate)
{
    splits("", "");
    splits(" \t\r\n", "");
    splits("set key value", "set|key|value");
    splits("  set\tkey  \v value\r\n", "set|key|value");
    splits("a\vb c\fd", "a\vb|c\fd");
}

Test(words, double_quotes_know_escapes)
{
    splits("\"a b\" c", "a b|c");
    splits("\"\\n\\t\\\\\\\"\"", "\n\t\\\"");
    splits("\"\\x41\\x4a\\q\\xzz\"", "AJqxzz");
    splits("x\"y z\"", "xy z");
    splits("\"\"", "");
    cr_assert_eq(words_count("\"\"", 2), 1, "an empty word is one");
}

Test(words, single_quotes_know_one_escape)
{
    splits("'a b' c", "a b|c");
    splits("'it\\'s' '\\n'", "it's|\\n");
}

Test(words, quotes_that_do_not_close_as_they_must_are_refused)
{
    splits("\"abc", "!");
    splits("'abc", "!");
    splits("\"abc\"def", "!");
    splits("'abc'\"def\"", "!");
    splits("\"abc\\\"", "!");
    splits("\"abc\\", "!");
    splits("\"\\x4", "!");
}

Test(words, a_nul_byte_ends_the_line)
{
    expect("a b\0c d", 7, "a|b");
    expect("a \"b\0c\"", 7, "!");
}

Test(words, more_words_than_asked_for_are_refused)
{
    char line[] = "a b c";
    struct words_span words[2];

    cr_assert_eq(words_split(line, strlen(line), words, 2), -E2BIG);
    cr_assert_eq(words_count(line, strlen(line)), 3);
}

/* Callers put a NUL behind each word. */
Test(words, the_byte_behind_a_word_is_free)
{
    char line[] = "\"a\"  \"\\x62\" c";
    struct words_span words[3];

    cr_assert_eq(words_split(line, strlen(line), words, 3), 3);
    for (int i = 0; i < 3; i++)
        words[i].data[words[i].len] = '\0';
    cr_assert_str_eq(words[0].data, "a");
    cr_assert_str_eq(words[1].data, "b");
    cr_assert_str_eq(words[2].data, "c");
}

Test(words, quoting_is_undone_by_splitting)
{
    char bytes[256], quoted[2048];
    struct words_span word;

    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    size_t len = words_quote(quoted, sizeof(quoted), bytes, sizeof(bytes));
    cr_assert_lt(len, sizeof(quoted));
    cr_assert_eq(words_split(quoted, len, &word, 1), 1);
    cr_assert_eq(word.len, sizeof(bytes));
    cr_assert_arr_eq(word.data, bytes, sizeof(bytes));
}

Test(words, quoting_never_writes_past_its_room)
{
    char out[5] = "zzzz";

    cr_assert_eq(words_quote(out, 4, "abcdef", 6), 8);
    cr_assert_str_eq(out, "\"ab");
    cr_assert_eq(words_quote(NULL, 0, "\n", 1), 4);
}

Test(words, a_giant_line_is_split_in_one_pass)
{
    enum { LEN = 8 << 20 };
    char *line = malloc(LEN);
    struct words_span word;

    memset(line, 'x', LEN);
    cr_assert_eq(words_split(line, LEN, &word, 1), 1);
    cr_assert_eq(word.len, LEN);
    memset(line, '"', LEN);
    cr_assert_eq(words_count(line, LEN), -EINVAL);
    memset(line, '\\', LEN);
    line[0] = '"';
    cr_assert_eq(words_count(line, LEN), -EINVAL);
    free(line);
}

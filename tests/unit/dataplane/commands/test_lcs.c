#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/dataplane/commands/journal_fixture.h"

TestSuite(lcs, .init = start, .fini = stop);

Test(lcs, finds_the_sequence_its_length_and_its_ranges)
{
    expect("MSET a ohmytext b mynewtext", "+OK\r\n");
    expect("LCS a b", "$6\r\nmytext\r\n");
    expect("LCS a b LEN", ":6\r\n");
    expect("LCS a b IDX", "*4\r\n$7\r\nmatches\r\n*2\r\n*2\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n"
                          "*2\r\n*2\r\n:2\r\n:3\r\n*2\r\n:0\r\n:1\r\n$3\r\nlen\r\n:6\r\n");
    expect("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN",
           "*4\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n"
           "$3\r\nlen\r\n:6\r\n");
    expect("LCS a none", "$0\r\n\r\n");
    expect("LCS none a LEN", ":0\r\n");
    expect("LCS none nothing IDX", "*4\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:0\r\n");
    expect("LCS a b LEN IDX",
           "-ERR If you want both the length and indexes, please just use IDX.\r\n");
    expect("LCS a b MINMATCHLEN", "-ERR syntax error\r\n");
}

static void set(const char *name, const char *value, size_t len_bytes)
{
    struct text argv[] = {TEXT("SET"), {name, strlen(name)}, {value, len_bytes}};

    cr_assert_str_eq(fixture_run_argv(f, 3, argv), "+OK\r\n");
}

/* The textbook's table, and the way back as Redis takes it. */
static size_t plain_lcs(struct text a, struct text b, char *result)
{
    size_t width = b.len_bytes + 1;
    unsigned *cells = calloc((a.len_bytes + 1) * width, sizeof *cells);

    for (size_t i = 1; i <= a.len_bytes; i++)
        for (size_t j = 1; j < width; j++) {
            unsigned up = cells[(i - 1) * width + j], left = cells[i * width + j - 1];
            cells[i * width + j] = a.data[i - 1] == b.data[j - 1]
                                       ? cells[(i - 1) * width + j - 1] + 1
                                       : (up > left ? up : left);
        }
    size_t i = a.len_bytes, j = b.len_bytes, len = cells[i * width + j], at = len;
    while (i > 0 && j > 0) {
        if (a.data[i - 1] == b.data[j - 1]) {
            result[--at] = a.data[i - 1];
            i--;
            j--;
        } else if (cells[(i - 1) * width + j] > cells[i * width + j - 1]) {
            i--;
        } else {
            j--;
        }
    }
    free(cells);
    return len;
}

Test(lcs, agrees_with_the_plain_table)
{
    enum { LEN_MAX = 300 };
    char a[LEN_MAX], b[LEN_MAX], result[LEN_MAX], expected[LEN_MAX + 32];
    unsigned seed = 12345;

    for (int round = 0; round < 300; round++) {
        size_t a_len = (size_t)(rand_r(&seed) % LEN_MAX), b_len = (size_t)(rand_r(&seed) % LEN_MAX);
        int letters = 2 + rand_r(&seed) % 6;
        for (size_t i = 0; i < LEN_MAX; i++) {
            a[i] = (char)('a' + rand_r(&seed) % letters);
            b[i] = (char)('a' + rand_r(&seed) % letters);
        }
        set("a", a, a_len);
        set("b", b, b_len);
        size_t len = plain_lcs((struct text){a, a_len}, (struct text){b, b_len}, result);
        snprintf(expected, sizeof expected, "$%zu\r\n%.*s\r\n", len, (int)len, result);
        expect("LCS a b", expected);
    }
}

Test(lcs, large_strings_are_refused_as_for_want_of_memory)
{
    enum { LONG_BYTES = 9 << 20 };
    char *value = malloc(LONG_BYTES);

    memset(value, 'x', LONG_BYTES);
    set("a", value, 20000);
    set("b", value, 20000);
    expect("LCS a b LEN",
           "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len\r\n");
    set("a", value, LONG_BYTES);
    set("b", value, 3);
    expect("LCS a b LEN",
           "-ERR Insufficient memory, failed allocating transient memory for LCS\r\n");
    set("a", value, LONG_BYTES / 2);
    expect("LCS a b", "$3\r\nxxx\r\n");
    free(value);
}

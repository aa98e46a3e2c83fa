#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/dataplane/fixture.h"

/* Digests as redis-server 7.0.15 gives them for the same data. */
Test(debug, digests_are_those_of_redis)
{
    struct fixture *f = fixture_create(2);

    cr_assert_str_eq(fixture_run(f, "DEBUG DIGEST"),
                     "+0000000000000000000000000000000000000000\r\n");
    fixture_run(f, "SET a b");
    cr_assert_str_eq(fixture_run(f, "DEBUG DIGEST"),
                     "+479783d7290f02957dfbe3408a858ba13eea1709\r\n");
    cr_assert_str_eq(fixture_run(f, "DEBUG DIGEST-VALUE a none"),
                     "*2\r\n+b78559cd22bce6e6df712eb99ce7f3b08e8f8f1f\r\n"
                     "+0000000000000000000000000000000000000000\r\n");
    cr_assert_str_eq(fixture_run(f, "DEBUG DIGEST-VALUE"), "*0\r\n");
    fixture_destroy(f);
}

Test(debug, digest_tells_data_apart_but_not_their_order)
{
    struct fixture *f = fixture_create(1);
    static const char *const changes[] = {"SET a c",   "SET a 1", "EXPIRE a 1000",
                                          "PERSIST a", "SET b 1", "DEL b"};
    char *digests[6];

    fixture_run(f, "SET a 1");
    char *first = strdup(fixture_run(f, "DEBUG DIGEST"));
    for (int i = 0; i < 6; i++) {
        fixture_run(f, changes[i]);
        digests[i] = strdup(fixture_run(f, "DEBUG DIGEST"));
    }
    for (int i = 0; i < 6; i++) {
        bool same = i == 1 || i == 3 || i == 5;
        cr_assert_eq(strcmp(digests[i], first) == 0, same, "after %s", changes[i]);
        free(digests[i]);
    }
    free(first);
    fixture_destroy(f);
}

static void serialized(struct fixture *f, const char *encoding, const char *length)
{
    const char *text = fixture_run(f, "DEBUG OBJECT k");
    char wanted[64];

    snprintf(wanted, sizeof wanted, " encoding:%s serializedlength:%s lru:", encoding, length);
    cr_assert_not_null(strstr(text, wanted), "%s is not in %s", wanted, text);
}

Test(debug, object_tells_the_length_in_an_rdb_file)
{
    struct fixture *f = fixture_create(1);
    static const struct {
        const char *value, *encoding, *length;
    } rows[] = {
        {"127", "int", "2"},
        {"-128", "int", "2"},
        {"128", "int", "3"},
        {"32768", "int", "5"},
        {"2147483648", "int", "11"},
        {"007", "embstr", "4"},
        {"\"\"", "embstr", "1"},
        {"xxxxxxxxxxxxxxxxxxxxx", "embstr", "9"},
        {"abcdefghijklmnopqrstuvwxyz", "embstr", "27"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char line[128];
        snprintf(line, sizeof line, "SET k %s", rows[i].value);
        fixture_run(f, line);
        serialized(f, rows[i].encoding, rows[i].length);
    }
    cr_assert_str_eq(fixture_run(f, "DEBUG OBJECT none"), "-ERR no such key\r\n");
    fixture_destroy(f);
}

Test(debug, error_forges_no_replies)
{
    struct fixture *f = fixture_create(1);

    cr_assert_str_eq(fixture_run(f, "DEBUG ERROR \"MINE two\\r\\nlines\\n\""),
                     "-MINE two  lines \r\n");
    cr_assert_str_eq(fixture_run(f, "DEBUG ERROR \"\""), "-\r\n");
    fixture_destroy(f);
}

Test(debug, unknown_subcommands_and_wrong_counts)
{
    struct fixture *f = fixture_create(1);
    static const char *const lines[] = {"DEBUG x", "DEBUG x y z", "DEBUG x 1"};

    for (int i = 0; i < 3; i++)
        cr_assert_str_eq(fixture_run(f, lines[i]),
                         "-ERR unknown subcommand or wrong number of arguments for 'x'. Try DEBUG "
                         "HELP.\r\n");
    cr_assert_not_null(strstr(fixture_run(f, "DEBUG SLEEP"), "arguments for 'SLEEP'"));
    fixture_destroy(f);
}

Test(debug, htstats_and_pattern)
{
    struct fixture *f = fixture_create(1);

    cr_assert_not_null(strstr(fixture_run(f, "DEBUG HTSTATS 0"), "No stats available"));
    for (int i = 0; i < 50; i++) {
        char line[64];
        snprintf(line, sizeof line, "SET {one}%d x", i);
        fixture_run(f, line);
    }
    cr_assert_not_null(strstr(fixture_run(f, "DEBUG HTSTATS 0"), "number of elements: 50\n"));
    cr_assert_str_eq(fixture_run(f, "DEBUG HTSTATS 16"), "-ERR Out of range database\r\n");
    cr_assert_str_eq(fixture_run(f, "DEBUG STRINGMATCH-LEN a*c abbc"), ":1\r\n");
    cr_assert_str_eq(fixture_run(f, "DEBUG STRINGMATCH-LEN a*c abb"), ":0\r\n");
    fixture_destroy(f);
}

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/dataplane/commands/journal_fixture.h"

TestSuite(walk, .init = start, .fini = stop);

Test(walk, keys_by_pattern)
{
    expect("KEYS *", "*0\r\n");
    expect("MSET one 1 \"\" 2", "+OK\r\n");
    expect("KEYS o*", "*1\r\n$3\r\none\r\n");
    expect("KEYS x*", "*0\r\n");
    expect("KEYS **", "*1\r\n$3\r\none\r\n");
    expect("KEYS \"\"", "*1\r\n$0\r\n\r\n");
    expect("PEXPIRE one 10", ":1\r\n");
    fixture_sleep(f, 10);
    expect("KEYS o*", "*1\r\n$3\r\none\r\n");
    fixture_sleep(f, 1);
    expect("KEYS o*", "*0\r\n");
}

/* The cursor of a reply to SCAN, and how many elements came with it. */
static unsigned long long cursor_of(const char *reply, unsigned *elements)
{
    const char *at = strstr(strstr(reply, "\r\n") + 2, "\r\n") + 2;
    unsigned long long cursor = strtoull(at, NULL, 10);

    *elements = (unsigned)strtoul(strchr(at, '*') + 1, NULL, 10);
    return cursor;
}

Test(walk, scan_sees_every_key_once_when_nothing_changes)
{
    enum { KEYS = 1000 };
    char line[64];
    unsigned long long cursor = 0;
    unsigned seen = 0, elements;

    for (int i = 0; i < KEYS; i++) {
        snprintf(line, sizeof line, "SET key:%d v", i);
        expect(line, "+OK\r\n");
    }
    do {
        snprintf(line, sizeof line, "SCAN %llu COUNT 7", cursor);
        cursor = cursor_of(fixture_run(f, line), &elements);
        seen += elements;
    } while (cursor != 0);
    cr_assert_eq(seen, KEYS);
    cr_assert_eq(cursor_of(fixture_run(f, "SCAN 0 COUNT 100000 MATCH key:1? TYPE string"),
                           &elements),
                 0);
    cr_assert_eq(elements, 10);
    cr_assert_eq(cursor_of(fixture_run(f, "SCAN 0 COUNT 100000 TYPE hash"), &elements), 0);
    cr_assert_eq(elements, 0);
}

Test(walk, scan_reads_cursors_as_strtoul_does)
{
    static const char nothing[] = "*2\r\n$1\r\n0\r\n*0\r\n", invalid[] = "-ERR invalid cursor\r\n";

    expect("SCAN 0", nothing);
    expect("SCAN \"\"", nothing);
    expect("SCAN -1", nothing);
    expect("SCAN +5", nothing);
    expect("SCAN 00000000000000000000000000000000000000000001", nothing);
    expect("SCAN 18446744073709551615", nothing);
    expect("SCAN 18446744073709551616", invalid);
    expect("SCAN -", invalid);
    expect("SCAN x", invalid);
    expect("SCAN 5x", invalid);
    expect("SCAN \" 5\"", invalid);
    expect("SCAN 0 COUNT 0", "-ERR syntax error\r\n");
    expect("SCAN 0 COUNT x", "-ERR value is not an integer or out of range\r\n");
    expect("SCAN 0 MATCH", "-ERR syntax error\r\n");
    expect("SCAN 0 NONSENSE x", "-ERR syntax error\r\n");
}

Test(walk, randomkey_removes_what_has_expired_until_it_finds_a_key)
{
    char line[64];

    expect("RANDOMKEY", "$-1\r\n");
    expect("SET stays v", "+OK\r\n");
    expect("RANDOMKEY", "$5\r\nstays\r\n");
    for (int i = 0; i < 400; i++) {
        snprintf(line, sizeof line, "SET gone:%d v PX 1", i);
        expect(line, "+OK\r\n");
    }
    fixture_sleep(f, 2);
    expect("RANDOMKEY", "$5\r\nstays\r\n");
    expect("DEL stays", ":1\r\n");
    fixture_journal(f);
    expect("RANDOMKEY", "$-1\r\n");
    expect("DBSIZE", ":0\r\n");
    expect_journal("RANDOMKEY", "$-1\r\n", "");
}

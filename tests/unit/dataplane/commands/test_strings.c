#include <string.h>

#include "tests/unit/dataplane/commands/journal_fixture.h"

#define SOON "1700000010000" /* ten seconds after the fixture's now */

TestSuite(strings, .init = start, .fini = stop);

Test(strings, get_and_strlen)
{
    expect("GET k", "$-1\r\n");
    expect("STRLEN k", ":0\r\n");
    expect("SET k value", "+OK\r\n");
    expect("GET k", "$5\r\nvalue\r\n");
    expect("STRLEN k", ":5\r\n");
    expect("MGET k none k", "*3\r\n$5\r\nvalue\r\n$-1\r\n$5\r\nvalue\r\n");
    expect("SET n -17", "+OK\r\n");
    expect("STRLEN n", ":3\r\n");
}

Test(strings, getrange_clips_both_ends)
{
    expect("SET k abcdef", "+OK\r\n");
    expect("GETRANGE k 1 2", "$2\r\nbc\r\n");
    expect("GETRANGE k -2 -1", "$2\r\nef\r\n");
    expect("GETRANGE k -100 0", "$1\r\na\r\n");
    expect("GETRANGE k 4 100", "$2\r\nef\r\n");
    expect("GETRANGE k -1 -2", "$0\r\n\r\n");
    expect("SUBSTR k 0 0", "$1\r\na\r\n");
    expect("GETRANGE k 0 x", "-ERR value is not an integer or out of range\r\n");
}

Test(strings, set_options_that_exclude_each_other)
{
    expect("SET k v NX XX", "-ERR syntax error\r\n");
    expect("SET k v EX 1 PX 1", "-ERR syntax error\r\n");
    expect("SET k v KEEPTTL EX 1", "-ERR syntax error\r\n");
    expect("SET k v PERSIST", "-ERR syntax error\r\n");
    expect("SET k v EX", "-ERR syntax error\r\n");
    expect("SET k v EX 0", "-ERR invalid expire time in 'set' command\r\n");
    expect("SET k v EX 9223372036854775807", "-ERR invalid expire time in 'set' command\r\n");
    expect("SET k v PX x", "-ERR value is not an integer or out of range\r\n");
    expect("GETEX k EX 1 PERSIST", "-ERR syntax error\r\n");
    expect("GETEX k NX", "-ERR syntax error\r\n");
}

Test(strings, set_conditions)
{
    expect_journal("SET k v XX", "$-1\r\n", "");
    expect_journal("SET k v NX", "+OK\r\n", "0: SET k v NX\n");
    expect_journal("SET k w NX", "$-1\r\n", "");
    expect_journal("SET k w NX GET", "$1\r\nv\r\n", "");
    expect_journal("SET k w GET", "$1\r\nv\r\n", "0: SET k w GET\n");
    expect("GET k", "$1\r\nw\r\n");
    expect("SET none v GET", "$-1\r\n");
    expect("SETNX k x", ":0\r\n");
    expect("SETNX l x", ":1\r\n");
}

Test(strings, set_journals_deadlines_as_points_in_time)
{
    expect_journal("SET k v EX 10", "+OK\r\n", "0: SET k v PXAT " SOON "\n");
    expect_journal("SET k v PX 10000 XX", "+OK\r\n", "0: SET k v PXAT " SOON "\n");
    expect_journal("SETEX k 10 v", "+OK\r\n", "0: SET k v PXAT " SOON "\n");
    expect_journal("PSETEX k 10000 v", "+OK\r\n", "0: SET k v PXAT " SOON "\n");
    expect("SET k w KEEPTTL", "+OK\r\n");
    expect("PEXPIRETIME k", ":" SOON "\r\n");
    expect("SET k w", "+OK\r\n");
    expect("PEXPIRETIME k", ":-1\r\n");
    expect("SETEX k 0 v", "-ERR invalid expire time in 'setex' command\r\n");
}

Test(strings, a_deadline_that_has_passed_is_stored_and_the_key_is_gone)
{
    expect_journal("SET k v PXAT 1", "+OK\r\n", "0: SET k v PXAT 1\n");
    expect("DBSIZE", ":1\r\n");
    expect_journal("GET k", "$-1\r\n", "0: DEL k\n");
    expect("DBSIZE", ":0\r\n");
}

Test(strings, getset_returns_values_of_any_length)
{
    char line[3000] = "SET k ";

    expect_journal("GETSET k v", "$-1\r\n", "0: SET k v\n");
    expect_journal("GETSET k w", "$1\r\nv\r\n", "0: SET k w\n");
    memset(line + 6, 'x', 2000);
    expect(line, "+OK\r\n");
    const char *reply = fixture_run(f, "SET k w GET");
    cr_assert_eq(strlen(reply), 7 + 2000 + 2);
    cr_assert_eq(strncmp(reply, "$2000\r\nxx", 9), 0);
    expect("GET k", "$1\r\nw\r\n");
}

Test(strings, getdel_and_getex_journal_what_they_did)
{
    expect("SET k v", "+OK\r\n");
    expect_journal("GETEX k", "$1\r\nv\r\n", "");
    expect_journal("GETEX k PERSIST", "$1\r\nv\r\n", "");
    expect_journal("GETEX k EX 10", "$1\r\nv\r\n", "0: PEXPIREAT k " SOON "\n");
    expect_journal("GETEX k PERSIST", "$1\r\nv\r\n", "0: PERSIST k\n");
    expect_journal("GETEX k PXAT 1", "$1\r\nv\r\n", "0: DEL k\n");
    expect_journal("GETEX k EX 10", "$-1\r\n", "");
    expect("SET k v", "+OK\r\n");
    expect_journal("GETDEL k", "$1\r\nv\r\n", "0: DEL k\n");
    expect_journal("GETDEL k", "$-1\r\n", "");
}

Test(strings, mset_takes_pairs)
{
    expect_journal("MSET a 1 b 2 a 3", "+OK\r\n", "0: MSET a 1 b 2 a 3\n");
    expect("MGET a b", "*2\r\n$1\r\n3\r\n$1\r\n2\r\n");
    expect("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command\r\n");
    expect_journal("MSETNX c 1 b 2", ":0\r\n", "");
    expect("EXISTS c", ":0\r\n");
    expect_journal("MSETNX c 1 d 2", ":1\r\n", "0: MSETNX c 1 d 2\n");
    expect("MSETNX a 1 b", "-ERR wrong number of arguments for 'msetnx' command\r\n");
}

Test(strings, append_and_setrange_keep_the_deadline)
{
    expect("APPEND k ab", ":2\r\n");
    expect("EXPIRE k 10", ":1\r\n");
    expect("APPEND k cd", ":4\r\n");
    expect("SETRANGE k 6 ef", ":8\r\n");
    expect("GET k", "$8\r\nabcd"); /* the rest is behind a zero byte */
    expect("PEXPIRETIME k", ":" SOON "\r\n");
    expect_journal("SETRANGE none 0 \"\"", ":0\r\n", "");
    expect("EXISTS none", ":0\r\n");
    expect_journal("SETRANGE k 0 \"\"", ":8\r\n", "");
    expect("SETRANGE k -1 x", "-ERR offset is out of range\r\n");
    expect("SETRANGE k 536870911 xx",
           "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
}

Test(strings, counting_stays_in_64_bits)
{
    expect_journal("INCR n", ":1\r\n", "0: INCR n\n");
    expect("DECR n", ":0\r\n");
    expect("INCRBY n 9223372036854775807", ":9223372036854775807\r\n");
    expect("INCR n", "-ERR increment or decrement would overflow\r\n");
    expect("DECRBY n -9223372036854775808", "-ERR decrement would overflow\r\n");
    expect("SET n 01", "+OK\r\n");
    expect("INCR n", "-ERR value is not an integer or out of range\r\n");
    expect("INCRBY n x", "-ERR value is not an integer or out of range\r\n");
}

Test(strings, incrbyfloat_journals_its_result)
{
    expect("SET k 10.50", "+OK\r\n");
    expect("EXPIRE k 10", ":1\r\n");
    expect_journal("INCRBYFLOAT k 0.1", "$4\r\n10.6\r\n", "0: SET k 10.6 KEEPTTL\n");
    expect("PEXPIRETIME k", ":" SOON "\r\n");
    expect("INCRBYFLOAT k -10.6", "$1\r\n0\r\n");
    expect("OBJECT ENCODING k", "$6\r\nembstr\r\n");
    expect("INCRBYFLOAT k nan", "-ERR value is not a valid float\r\n");
    expect("INCRBYFLOAT k \" 1\"", "-ERR value is not a valid float\r\n");
    expect("INCRBYFLOAT k +inf", "-ERR increment would produce NaN or Infinity\r\n");
    expect("SET k text", "+OK\r\n");
    expect("INCRBYFLOAT k 1", "-ERR value is not a valid float\r\n");
}

/* One answer each, and the journal gets what was done. */
Test(strings, without_memory_there_is_one_answer)
{
    static const char oom[] = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";

    expect("SET k v", "+OK\r\n");
    memory_fail_nth(f->worker->memory, 1);
    expect_journal("SET k a-longer-value-than-before-by-far GET EX 10", oom, "");
    memory_fail_nth(f->worker->memory, 1);
    expect_journal("GETEX k EX 10", oom, "");
    memory_fail_nth(f->worker->memory, 1);
    expect_journal("GETSET none v", oom, "");
    memory_fail_nth(f->worker->memory, 2);
    expect_journal("MSET k 1 none 2 other 3", oom, "0: MSET k 1\n");
    memory_fail_nth(f->worker->memory, 0);
    expect("MGET k none other", "*3\r\n$1\r\n1\r\n$-1\r\n$-1\r\n");
    expect("TTL k", ":-1\r\n");
}

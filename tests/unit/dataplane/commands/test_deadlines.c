#include "tests/unit/dataplane/commands/journal_fixture.h"

TestSuite(deadlines, .init = start, .fini = stop);

Test(deadlines, are_journaled_as_points_in_time)
{
    expect_journal("EXPIRE k 10", ":0\r\n", "");
    expect("SET k v", "+OK\r\n");
    expect_journal("EXPIRE k 10", ":1\r\n", "0: PEXPIREAT k 1700000010000\n");
    expect_journal("PEXPIRE k 20", ":1\r\n", "0: PEXPIREAT k 1700000000020\n");
    expect_journal("EXPIREAT k 1700000001", ":1\r\n", "0: PEXPIREAT k 1700000001000\n");
    expect_journal("PEXPIREAT k 1700000002000 XX", ":1\r\n", "0: PEXPIREAT k 1700000002000\n");
    expect_journal("PERSIST k", ":1\r\n", "0: PERSIST k\n");
    expect_journal("PERSIST k", ":0\r\n", "");
}

Test(deadlines, that_have_passed_delete_at_once)
{
    expect("SET k v", "+OK\r\n");
    expect_journal("EXPIRE k 0", ":1\r\n", "0: DEL k\n");
    expect("SET k v", "+OK\r\n");
    expect_journal("PEXPIREAT k 1700000000000", ":1\r\n", "0: DEL k\n");
    expect("SET k v", "+OK\r\n");
    expect_journal("EXPIRE k -1", ":1\r\n", "0: DEL k\n");
    expect("DBSIZE", ":0\r\n");
}

Test(deadlines, conditions)
{
    expect("SET k v", "+OK\r\n");
    expect("EXPIRE k 10 XX", ":0\r\n");
    expect("EXPIRE k 10 GT", ":0\r\n");
    expect("EXPIRE k 10 LT", ":1\r\n");
    expect("EXPIRE k 20 NX", ":0\r\n");
    expect("EXPIRE k 10 GT", ":0\r\n");
    expect("EXPIRE k 20 GT XX", ":1\r\n");
    expect("EXPIRE k 30 LT", ":0\r\n");
    expect("EXPIRE k 5 LT", ":1\r\n");
    expect("TTL k", ":5\r\n");
    expect("EXPIRE k 1 NX GT",
           "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n");
    expect("EXPIRE k 1 GT LT", "-ERR GT and LT options at the same time are not compatible\r\n");
    expect("EXPIRE k 1 XY", "-ERR Unsupported option XY\r\n");
}

Test(deadlines, out_of_range)
{
    expect("SET k v", "+OK\r\n");
    expect("EXPIRE k x", "-ERR value is not an integer or out of range\r\n");
    expect("EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command\r\n");
    expect("EXPIRE k -9223372036854775808", "-ERR invalid expire time in 'expire' command\r\n");
    expect("PEXPIRE k 9223372036854775807", "-ERR invalid expire time in 'pexpire' command\r\n");
    expect("PEXPIREAT k 9223372036854775807", ":1\r\n");
    expect("PEXPIRETIME k", ":9223372036854775807\r\n");
    expect("EXPIRETIME k", ":9223372036854776\r\n");
}

Test(deadlines, are_told_in_seconds_and_milliseconds)
{
    expect("TTL k", ":-2\r\n");
    expect("SET k v", "+OK\r\n");
    expect("PTTL k", ":-1\r\n");
    expect("PEXPIRE k 1499", ":1\r\n");
    expect("TTL k", ":1\r\n");
    expect("PTTL k", ":1499\r\n");
    expect("PEXPIRE k 1500", ":1\r\n");
    expect("TTL k", ":2\r\n");
    expect("EXPIRETIME k", ":1700000002\r\n");
    fixture_sleep(f, 1500);
    expect("PTTL k", ":0\r\n");
    fixture_sleep(f, 1);
    expect_journal("PTTL k", ":-2\r\n", "0: DEL k\n");
}

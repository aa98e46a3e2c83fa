#include <criterion/criterion.h>

#include "tests/unit/dataplane/fixture.h"

Test(fixture, runs_commands_of_the_table)
{
    struct fixture *f = fixture_create(1);
    fixture_journal_on(f);
    cr_assert_str_eq(fixture_run(f, "SET key \"a value\" EX 10"), "+OK\r\n");
    cr_assert_str_eq(fixture_journal(f), "0: SET key a value PXAT 1700000010000\n");
    cr_assert_str_eq(fixture_run(f, "GET key"), "$7\r\na value\r\n");
    cr_assert_str_eq(fixture_run(f, "MSET a 1 b 2"), "+OK\r\n");
    cr_assert_str_eq(fixture_run(f, "MGET a b none"), "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n");
    cr_assert_str_eq(fixture_run(f, "GET"), "-ERR wrong number of arguments for 'get' command\r\n");
    fixture_journal(f);
    fixture_sleep(f, 10001);
    cr_assert_str_eq(fixture_run(f, "GET key"), "$-1\r\n");
    cr_assert_str_eq(fixture_journal(f), "0: DEL key\n");
    cr_assert_str_eq(fixture_run(f, "FLUSHALL"), "+OK\r\n");
    cr_assert_str_eq(fixture_run(f, "DBSIZE"), ":0\r\n");
    fixture_destroy(f);
}

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/commands/slowlog.h"
#include "tests/unit/dataplane/fixture.h"

static struct fixture *start(uint32_t workers)
{
    struct fixture *f = fixture_create(workers);

    for (uint32_t i = 0; i < workers; i++)
        cr_assert_not_null(f->node->workers[i]->slowlog = slowlog_create());
    fixture_run(f, "PING"); /* has the command table made */
    return f;
}

static void finish(struct fixture *f)
{
    for (uint32_t i = 0; i < f->node->worker_count; i++)
        slowlog_destroy(f->node->workers[i]->slowlog);
    fixture_destroy(f);
}

static void add(struct fixture *f, uint32_t worker, uint32_t argc, const struct text *argv)
{
    fixture_on(f, worker);
    struct call *call = fixture_call(f, argc, argv);
    call->command = command_find(f->node->commands, argv[0]);
    if (call->command->subcommand_count > 0)
        call->command = command_find_sub(call->command, argv[1]);
    slowlog_add(call, 100 + worker);
}

static void add_ping(struct fixture *f, uint32_t worker, const char *word)
{
    add(f, worker, 2, (struct text[]){TEXT("PING"), {word, strlen(word)}});
}

Test(slowlog, entry_has_the_form_of_redis)
{
    struct fixture *f = start(1);

    add_ping(f, 0, "hello");
    cr_assert_str_eq(fixture_run(f, "SLOWLOG GET"),
                     "*1\r\n*6\r\n:0\r\n:1700000000\r\n:100\r\n*2\r\n$4\r\nPING\r\n$5\r\nhello\r\n"
                     "$0\r\n\r\n$0\r\n\r\n");
    finish(f);
}

Test(slowlog, entries_of_all_workers_come_newest_first)
{
    struct fixture *f = start(3);

    for (uint32_t i = 0; i < 7; i++)
        add_ping(f, (i * 2) % 3, "x");
    const char *at = fixture_run(f, "SLOWLOG GET -1");
    cr_assert(strncmp(at, "*7\r\n", 4) == 0, "%s", at);
    for (int id = 6; id >= 0; id--) {
        char head[32];
        snprintf(head, sizeof head, "*6\r\n:%d\r\n", id);
        at = strstr(at, "*6\r\n");
        cr_assert(at != NULL && strncmp(at, head, strlen(head)) == 0, "id %d: %s", id, at);
        at++;
    }
    cr_assert_str_eq(fixture_run(f, "SLOWLOG LEN"), ":7\r\n");
    finish(f);
}

Test(slowlog, length_is_bounded_over_all_workers)
{
    struct fixture *f = start(2);

    f->node->config->slowlog_max_len = 4;
    for (uint32_t i = 0; i < 20; i++)
        add_ping(f, i % 2, "x");
    cr_assert_str_eq(fixture_run(f, "SLOWLOG LEN"), ":4\r\n");
    const char *text = fixture_run(f, "SLOWLOG GET 100");
    cr_assert(strncmp(text, "*4\r\n*6\r\n:19\r\n", 13) == 0, "%s", text);
    cr_assert_not_null(strstr(text, "*6\r\n:16\r\n"));
    f->node->config->slowlog_max_len = 0;
    cr_assert_str_eq(fixture_run(f, "SLOWLOG GET"), "*0\r\n");
    add_ping(f, 0, "x");
    cr_assert_str_eq(fixture_run(f, "SLOWLOG LEN"), ":0\r\n");
    finish(f);
}

Test(slowlog, reset_empties_every_worker)
{
    struct fixture *f = start(2);

    add_ping(f, 0, "x");
    add_ping(f, 1, "x");
    cr_assert_str_eq(fixture_run(f, "SLOWLOG RESET"), "+OK\r\n");
    cr_assert_str_eq(fixture_run(f, "SLOWLOG LEN"), ":0\r\n");
    cr_assert_str_eq(fixture_run(f, "SLOWLOG GET"), "*0\r\n");
    add_ping(f, 1, "x");
    cr_assert(strncmp(fixture_run(f, "SLOWLOG GET"), "*1\r\n*6\r\n:2\r\n", 12) == 0,
              "ids go on after a reset");
    finish(f);
}

Test(slowlog, long_commands_are_cut)
{
    struct fixture *f = start(1);
    struct text argv[40];
    char longest[300], wanted[512];

    memset(longest, 'y', sizeof longest);
    for (int i = 0; i < 40; i++)
        argv[i] = TEXT("k");
    argv[0] = TEXT("MGET");
    argv[1] = (struct text){longest, 128};
    argv[2] = (struct text){longest, 300};
    add(f, 0, 40, argv);
    const char *text = fixture_run(f, "SLOWLOG GET");
    cr_assert_not_null(strstr(text, "*32\r\n$4\r\nMGET\r\n$128\r\ny"), "%s", text);
    snprintf(wanted, sizeof wanted, "$148\r\n%.128s... (172 more bytes)\r\n$1\r\nk", longest);
    cr_assert_not_null(strstr(text, wanted), "%s", text);
    cr_assert_not_null(strstr(text, "$22\r\n... (9 more arguments)\r\n"), "%s", text);
    finish(f);
}

Test(slowlog, shows_no_passwords)
{
    struct fixture *f = start(1);

    add(f, 0, 3, (struct text[]){TEXT("AUTH"), TEXT("me"), TEXT("secret")});
    add(f, 0, 7,
        (struct text[]){TEXT("HELLO"), TEXT("3"), TEXT("SETNAME"), TEXT("auth"), TEXT("AUTH"),
                        TEXT("me"), TEXT("secret")});
    add(f, 0, 6,
        (struct text[]){TEXT("CONFIG"), TEXT("SET"), TEXT("maxclients"), TEXT("17"),
                        TEXT("requirepass"), TEXT("secret")});
    const char *text = fixture_run(f, "SLOWLOG GET");
    cr_assert_null(strstr(text, "secret"), "%s", text);
    cr_assert_null(strstr(text, "\r\nme\r\n"), "%s", text);
    cr_assert_not_null(strstr(text, "$4\r\nauth\r\n$4\r\nAUTH\r\n$10\r\n(redacted)"), "%s", text);
    cr_assert_not_null(strstr(text, "$2\r\n17\r\n"), "%s", text);
    finish(f);
}

Test(slowlog, wrong_counts_are_refused)
{
    struct fixture *f = start(2);
    static const char error[] = "-ERR count should be greater than or equal to -1\r\n";

    add_ping(f, 0, "x");
    cr_assert_str_eq(fixture_run(f, "SLOWLOG GET -2"), error);
    cr_assert_str_eq(fixture_run(f, "SLOWLOG GET x"), error);
    cr_assert_str_eq(fixture_run(f, "SLOWLOG GET 99999999999999999999"), error);
    cr_assert_str_eq(fixture_run(f, "SLOWLOG GET 0"), "*0\r\n");
    cr_assert_str_eq(fixture_run(f, "SLOWLOG GET 1 2"),
                     "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG "
                     "HELP.\r\n");
    finish(f);
}

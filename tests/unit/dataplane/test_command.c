#include "dataplane/commands/command.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* One call with its reply in memory. */
struct sample {
    struct call call;
    struct text argv[4];
    struct command command;
    struct reply_memory memory;
    char small[4096];
};

static struct text text(const char *data)
{
    return (struct text){data, strlen(data)};
}

static struct call *start(struct sample *sample, const char *argument)
{
    memset(sample, 0, sizeof *sample);
    reply_memory_init(&sample->memory, 2, sample->small, sizeof sample->small - 1);
    sample->argv[0] = text("any");
    sample->argv[1] = text(argument);
    sample->command.full_name = "config|set";
    sample->call = (struct call){.command = &sample->command,
                                 .argv = sample->argv,
                                 .argc = 2,
                                 .reply = &sample->memory.reply};
    return &sample->call;
}

static void expect_reply(struct sample *sample, const char *expected)
{
    reply_memory_finish(&sample->memory);
    sample->small[sample->memory.total_bytes] = '\0';
    cr_assert_str_eq(sample->small, expected);
    reply_memory_fini(&sample->memory);
}

Test(command, words_are_compared_without_case)
{
    cr_assert(text_is(text("GeT"), "get"));
    cr_assert(text_is(text(""), ""));
    cr_assert_not(text_is(text("ge"), "get"));
    cr_assert_not(text_is(text("gets"), "get"));
    cr_assert_not(text_is((struct text){"get\0", 4}, "get"));
    cr_assert_not(text_is(text("g\x05t"), "get"));
}

Test(command, integers_are_canonical)
{
    struct sample sample;
    int64_t value = 0;

    cr_assert(call_integer(start(&sample, "-9223372036854775808"), 1, &value));
    cr_assert_eq(value, INT64_MIN);
    expect_reply(&sample, "");
    cr_assert_not(call_integer(start(&sample, "9223372036854775808"), 1, &value));
    expect_reply(&sample, "-ERR value is not an integer or out of range\r\n");
    cr_assert_not(call_integer(start(&sample, "01"), 1, &value));
    cr_assert_not(call_integer(start(&sample, " 1"), 1, &value));
    cr_assert_not(call_integer(start(&sample, ""), 1, &value));
}

Test(command, integers_in_a_range)
{
    struct sample sample;
    int64_t value = 0;

    cr_assert(call_integer_range(start(&sample, "10"), 1, 0, 10, &value, NULL));
    cr_assert_eq(value, 10);
    cr_assert_not(call_integer_range(start(&sample, "11"), 1, 0, 10, &value, NULL));
    expect_reply(&sample, "-ERR value is out of range, value must between 0 and 10\r\n");
    cr_assert_not(call_integer_range(start(&sample, "-1"), 1, 0, 10, &value, "must be small"));
    expect_reply(&sample, "-ERR must be small\r\n");
    cr_assert_not(call_integer_range(start(&sample, "x"), 1, 0, 10, &value, "must be small"));
    expect_reply(&sample, "-ERR must be small\r\n");
    cr_assert_not(call_integer_range(start(&sample, "x"), 1, 0, 10, &value, NULL));
    expect_reply(&sample, "-ERR value is not an integer or out of range\r\n");
}

Test(command, errors_name_the_command_in_full)
{
    struct sample sample;

    call_wrong_arity(start(&sample, ""));
    expect_reply(&sample, "-ERR wrong number of arguments for 'config|set' command\r\n");
    call_syntax_error(start(&sample, ""));
    expect_reply(&sample, "-ERR syntax error\r\n");
}

Test(command, options_beyond_the_arguments_are_not_there)
{
    struct sample sample;

    cr_assert(call_option(start(&sample, "nx"), 1, "NX"));
    cr_assert_not(call_option(start(&sample, "nx"), 2, "NX"));
}

Test(command, help_has_the_frame_that_clients_know)
{
    static const char *const lines[] = {"GET <pattern>", "    Values."};
    struct sample sample;

    call_help(start(&sample, ""), lines, 2);
    expect_reply(&sample,
                 "*5\r\n+CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n"
                 "+GET <pattern>\r\n+    Values.\r\n+HELP\r\n+    Prints this help.\r\n");
}

Test(command, what_is_propagated_is_copied_and_the_last_one_counts)
{
    struct sample sample;
    char key[] = "key";
    struct text first[] = {text("DEL"), text(key)},
                second[] = {text("PEXPIREAT"), text(key), text("")};
    struct call *call = start(&sample, "");

    call_propagate(call, 2, first);
    call_propagate(call, 3, second);
    key[0] = 'X';
    cr_assert_eq(call->propagate_argc, 3);
    cr_assert_arr_eq(call->propagate_argv[1].data, "key", 3);
    cr_assert(call->propagate_owned);
    cr_assert_not(call->propagate_none);
    call_propagate(call, 0, NULL);
    cr_assert_null(call->propagate_argv);
    cr_assert(call->propagate_none);
    cr_assert_not(call->propagate_owned);
}

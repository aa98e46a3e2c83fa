#include "dataplane/commands/command.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/key_spec.h"
#include "dataplane/commands/table.h"
#include "dataplane/node.h"

static struct command_index *command_rows;

static void set_up(void)
{
    command_rows = command_index_create();
    cr_assert_not_null(command_rows);
}

static void tear_down(void)
{
    command_index_destroy(command_rows);
}

TestSuite(table, .init = set_up, .fini = tear_down);

static struct text text(const char *data)
{
    return (struct text){data, strlen(data)};
}

/* Words of a line as arguments. Returns how many. */
static uint32_t arguments(const char *line, struct text *argv)
{
    uint32_t argc = 0;

    for (const char *at = line; *at != '\0';) {
        size_t len = strcspn(at, " ");
        argv[argc++] = (struct text){at, len};
        at += len + (at[len] == ' ');
    }
    return argc;
}

static const struct command *find(const char *line)
{
    struct text argv[64];
    uint32_t argc = arguments(line, argv);
    const struct command *command = command_find(command_rows, argv[0]);

    if (command != NULL && command->subcommand_count > 0 && argc > 1)
        command = command_find_sub(command, argv[1]);
    return command;
}

#define FOR_EACH_ROW(row)                                                                          \
    for (uint32_t number_ = 0; number_ < command_numbers(command_rows); number_++)                 \
        for (const struct command *row = command_by_number(command_rows, number_); row != NULL;    \
             row = NULL)

Test(table, every_row_is_found_by_its_name_whatever_the_case)
{
    uint32_t count;
    const struct command *const *all = command_all(command_rows, &count);

    cr_assert_gt(count, 80);
    for (uint32_t i = 0; i < count; i++) {
        char name[COMMAND_FULL_NAME_MAX];

        cr_assert_eq(command_find(command_rows, text(all[i]->name)), all[i]);
        for (size_t k = 0; k <= strlen(all[i]->name); k++)
            name[k] = (char)(all[i]->name[k] >= 'a' && k % 2 == 0 ? all[i]->name[k] - 32
                                                                  : all[i]->name[k]);
        cr_assert_eq(command_find(command_rows, text(name)), all[i], "%s", name);
        for (uint32_t k = 0; k < all[i]->subcommand_count; k++)
            cr_assert_eq(command_find_sub(all[i], text(all[i]->subcommands[k].name)),
                         &all[i]->subcommands[k]);
    }
}

Test(table, other_names_are_not_found)
{
    static const char *const names[] = {"",
                                        "g",
                                        "ge",
                                        "gett",
                                        "xget",
                                        "get ",
                                        "getrang",
                                        "getrange1",
                                        "bitfield@ro",
                                        "bitfield\x7fro",
                                        "incrbyfloat0",
                                        "config|get",
                                        "nosuchcommandwithalongname"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cr_assert_null(command_find(command_rows, text(names[i])), "%s", names[i]);
    cr_assert_null(command_find(command_rows, (struct text){"get\0", 4}));
    cr_assert_null(command_find_sub(command_find(command_rows, text("config")), text("")));
    cr_assert_null(command_find_sub(command_find(command_rows, text("config")), text("gets")));
    cr_assert_not_null(command_find_sub(command_find(command_rows, text("config")), text("GeT")));
}

Test(table, rows_are_numbered_densely_and_have_full_names_of_their_own)
{
    uint32_t count = command_numbers(command_rows);

    for (uint32_t i = 0; i < count; i++) {
        const struct command *row = command_by_number(command_rows, i);
        cr_assert_eq(command_number(command_rows, row), i);
        for (uint32_t k = 0; k < i; k++)
            cr_assert_str_neq(command_full_name(command_rows, row),
                              command_full_name(command_rows, command_by_number(command_rows, k)));
    }
    cr_assert_str_eq(command_full_name(command_rows, find("CONFIG SET")), "config|set");
    cr_assert_str_eq(command_full_name(command_rows, find("get")), "get");
}

Test(table, names_are_lower_case_and_rows_are_documented)
{
    FOR_EACH_ROW(row)
    {
        for (const char *at = row->name; *at != '\0'; at++)
            cr_assert((*at >= 'a' && *at <= 'z') || *at == '_' || *at == '-', "%s", row->full_name);
        cr_assert_not_null(row->summary, "%s", row->full_name);
        cr_assert_not_null(row->since, "%s", row->full_name);
        cr_assert_eq(row->replaced_by != NULL, row->deprecated_since != NULL, "%s", row->full_name);
        cr_assert_neq(row->arity, 0);
    }
}

Test(table, a_row_runs_or_contains)
{
    FOR_EACH_ROW(row)
    {
        bool command = strcmp(row->full_name, "command") == 0; /* the one that does both */
        cr_assert_eq(row->run != NULL, row->subcommand_count == 0 || command, "%s", row->full_name);
        if (row->subcommand_count > 0)
            cr_assert_not_null(command_find_sub(row, text("help")), "%s", row->full_name);
        for (uint32_t i = 0; i < row->subcommand_count; i++)
            cr_assert_eq(row->subcommands[i].subcommand_count, 0);
    }
}

/* Each command knows where it runs, in one way only. */
Test(table, placement_is_complete_and_without_contradiction)
{
    FOR_EACH_ROW(row)
    {
        uint32_t place = row->flags & (CMD_HOME | CMD_ALL_SLOTS | CMD_WALK | CMD_AT_SLOT);
        bool chooses = (row->flags & (CMD_WALK | CMD_AT_SLOT)) != 0;

        if (row->run == NULL)
            continue;
        cr_assert(place != 0 || row->keys.first > 0, "%s runs nowhere", row->full_name);
        cr_assert_eq(chooses, row->slot_of != NULL, "%s", row->full_name);
        cr_assert_eq((row->flags & CMD_GATHER) != 0, row->gather != NULL, "%s", row->full_name);
        cr_assert_eq((row->flags & CMD_CONTROL) != 0, row->on_control != NULL, "%s",
                     row->full_name);
        if ((row->flags & (CMD_GATHER | CMD_CONTROL)) != 0)
            cr_assert_neq(row->flags & CMD_HOME, 0, "%s", row->full_name);
        cr_assert(!chooses || (row->flags & (CMD_HOME | CMD_ALL_SLOTS)) == 0, "%s", row->full_name);
        cr_assert(place == 0 || row->keys.first == 0 || strcmp(row->name, "watch") == 0, "%s",
                  row->full_name);
    }
}

Test(table, flags_and_categories_agree)
{
    FOR_EACH_ROW(row)
    {
        bool fast = (row->flags & CMD_FAST) != 0;

        cr_assert_eq((row->categories & CAT_FAST) != 0, fast, "%s", row->full_name);
        cr_assert_eq((row->categories & CAT_SLOW) != 0, !fast, "%s", row->full_name);
        cr_assert_neq(row->flags & (CMD_WRITE | CMD_READONLY), CMD_WRITE | CMD_READONLY, "%s",
                      row->full_name);
        cr_assert_eq((row->flags & CMD_WRITE) != 0, (row->categories & CAT_WRITE) != 0, "%s",
                     row->full_name);
        if ((row->flags & CMD_ADMIN) != 0)
            cr_assert_eq(row->categories & (CAT_ADMIN | CAT_DANGEROUS), CAT_ADMIN | CAT_DANGEROUS,
                         "%s", row->full_name);
        if ((row->flags & CMD_DENYOOM) != 0)
            cr_assert_neq(row->flags & CMD_WRITE, 0, "%s", row->full_name);
    }
}

/* What a client computes from the specifications and what we route by are the same keys. */
Test(table, the_triple_of_keys_and_the_specifications_agree)
{
    FOR_EACH_ROW(row)
    {
        uint32_t least = (uint32_t)abs(row->arity);
        struct text argv[16];
        uint32_t positions[16];
        bool expected[16] = {false};

        for (uint32_t argc = least; argc < least + (row->arity < 0 ? 5u : 1u); argc++) {
            memset(expected, 0, sizeof expected);
            for (uint32_t i = 0; i < argc; i++)
                argv[i] = text("x");
            for (uint32_t i = 0; i < row->key_spec_count; i++) {
                struct key_range range;
                if (key_spec_find(&row->key_specs[i], argv, argc, &range))
                    for (int64_t at = range.first; at <= range.last; at += range.step)
                        expected[at] = true;
            }
            int count = command_keys(row, argv, argc, positions, 16);
            for (int i = 0; i < count; i++) {
                cr_assert(expected[positions[i]], "%s with %u arguments", row->full_name, argc);
                expected[positions[i]] = false;
            }
            for (uint32_t i = 0; i < 16; i++)
                cr_assert_not(expected[i], "%s with %u arguments", row->full_name, argc);
        }
        cr_assert_eq(row->keys.first > 0, row->key_spec_count > 0, "%s", row->full_name);
        for (uint32_t i = 0; i < row->key_spec_count; i++)
            cr_assert_eq((row->key_specs[i].flags & KEY_VARIABLE_FLAGS) != 0,
                         row->key_flags != NULL);
    }
}

static void check_arguments(const struct command *row, const struct command_argument *rows,
                            uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        bool holds = rows[i].type == ARG_ONEOF || rows[i].type == ARG_BLOCK;

        cr_assert_not_null(rows[i].name);
        cr_assert_eq(rows[i].child_count > 0, holds, "%s: %s", row->full_name, rows[i].name);
        cr_assert(rows[i].type != ARG_PURE_TOKEN || rows[i].token != NULL, "%s: %s", row->full_name,
                  rows[i].name);
        cr_assert_leq(rows[i].key_spec, (int)row->key_spec_count, "%s: %s", row->full_name,
                      rows[i].name);
        check_arguments(row, rows[i].children, rows[i].child_count);
    }
}

Test(table, argument_trees_are_whole)
{
    FOR_EACH_ROW(row) check_arguments(row, row->arguments, row->argument_count);
}

static void expect_keys(const char *line, const char *keys)
{
    struct text argv[64];
    uint32_t positions[64], argc = arguments(line, argv);
    char found[256] = "";
    const struct command *command = find(line);

    cr_assert_not_null(command, "%s", line);
    int count = command_keys(command, argv, argc, positions, 64);
    for (int i = 0; i < count; i++)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%.*s", i > 0 ? " " : "",
                 (int)argv[positions[i]].len_bytes, argv[positions[i]].data);
    cr_assert_str_eq(found, keys, "%s", line);
}

Test(table, keys_are_found)
{
    expect_keys("GET a", "a");
    expect_keys("MSET a 1 b 2", "a b");
    expect_keys("MSET a 1 b", "a b");
    expect_keys("DEL a b c", "a b c");
    expect_keys("BITOP AND to a b", "to a b");
    expect_keys("OBJECT ENCODING a", "a");
    expect_keys("LCS a b LEN", "a b");
    expect_keys("COPY a b DB 1", "a b");
    expect_keys("PING a", "");
    expect_keys("MEMORY USAGE a SAMPLES 5", "a");
}

Test(table, no_more_keys_are_stored_than_there_is_room_for)
{
    struct text argv[64];
    uint32_t positions[64] = {0}, argc = arguments("DEL a b c d", argv);

    cr_assert_eq(command_keys(find("DEL"), argv, argc, positions, 2), 2);
    cr_assert_eq(positions[1], 2);
    cr_assert_eq(positions[2], 0);
}

static void expect_range(const struct key_spec *spec, const char *line, int64_t first, int64_t last)
{
    struct text argv[64];
    uint32_t argc = arguments(line, argv);
    struct key_range range;

    cr_assert_eq(key_spec_find(spec, argv, argc, &range), first > 0, "%s", line);
    if (first > 0) {
        cr_assert_eq(range.first, first, "%s", line);
        cr_assert_eq(range.last, last, "%s", line);
    }
}

Test(key_spec, keywords_counts_and_halves)
{
    struct key_spec streams = {.begin_kind = KEY_BEGIN_KEYWORD,
                               .begin_keyword = "STREAMS",
                               .begin_index = 1,
                               .find_kind = KEY_FIND_RANGE,
                               .last = -1,
                               .step = 1,
                               .limit = 2};
    struct key_spec from_end = {.begin_kind = KEY_BEGIN_KEYWORD,
                                .begin_keyword = "KEYS",
                                .begin_index = -2,
                                .find_kind = KEY_FIND_RANGE,
                                .last = -1,
                                .step = 1};
    struct key_spec counted = {.begin_kind = KEY_BEGIN_INDEX,
                               .begin_index = 2,
                               .find_kind = KEY_FIND_KEYNUM,
                               .first_key = 1,
                               .step = 1};

    expect_range(&streams, "XREAD COUNT 2 streams a b 0 0", 4, 5);
    expect_range(&streams, "XREAD COUNT 2 a b", 0, 0);
    expect_range(&streams, "XREAD STREAMS", 0, 0);
    expect_range(&from_end, "MIGRATE h 1 x KEYS a b", 5, 6);
    expect_range(&counted, "EVAL s 2 a b c", 3, 4);
    expect_range(&counted, "EVAL s 0 a", 0, 0);
    expect_range(&counted, "EVAL s 3 a b", 0, 0);
    expect_range(&counted, "EVAL s -1 a", 0, 0);
    expect_range(&counted, "EVAL s 9223372036854775807 a", 0, 0);
    expect_range(&counted, "EVAL s x a", 0, 0);
    expect_range(&counted, "EVAL s", 0, 0);
}

/* Runs a command of this file's subject and compares the whole reply. */
static void expect_reply(uint8_t resp, const char *line, const char *expected)
{
    static struct node node;
    struct text argv[64];
    struct reply_memory memory;
    static char small[65536];

    reply_memory_init(&memory, resp, small, sizeof small);
    node.commands = command_rows;
    struct call call = {.node = &node,
                        .argv = argv,
                        .argc = arguments(line, argv),
                        .reply = &memory.reply};
    call.command = find(line);
    cr_assert_not_null(call.command, "%s", line);
    call.command->run(&call);
    reply_memory_finish(&memory);
    small[memory.total_bytes] = '\0';
    cr_assert_null(memory.first);
    cr_assert_str_eq(small, expected, "%s", line);
    reply_memory_fini(&memory);
}

/* As redis-server 7.0.15 answers. */
Test(table, command_info_in_both_protocols)
{
    expect_reply(2, "COMMAND INFO get nosuch",
                 "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*"
                 "3\r\n+@read\r\n+@string\r\n"
                 "+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n+access\r\n$12\r\nbegin_"
                 "search\r\n*4\r\n$4\r\ntype\r\n"
                 "$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*"
                 "4\r\n$4\r\ntype\r\n$5\r\nrange\r\n"
                 "$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$"
                 "5\r\nlimit\r\n:0\r\n*0\r\n$-1\r\n");
    expect_reply(3, "COMMAND INFO config|get CONFIG|",
                 "*2\r\n*10\r\n$10\r\nconfig|get\r\n:-3\r\n~4\r\n+admin\r\n+noscript\r\n+"
                 "loading\r\n+stale\r\n:0\r\n:0\r\n:0\r\n"
                 "~3\r\n+@admin\r\n+@slow\r\n+@dangerous\r\n~0\r\n~0\r\n~0\r\n_\r\n");
}

Test(table, command_getkeys)
{
    expect_reply(2, "COMMAND GETKEYS mset a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    expect_reply(2, "COMMAND GETKEYS object encoding k", "*1\r\n$1\r\nk\r\n");
    expect_reply(2, "COMMAND GETKEYS nosuch k", "-ERR Invalid command specified\r\n");
    expect_reply(2, "COMMAND GETKEYS object k", "-ERR Invalid command specified\r\n");
    expect_reply(2, "COMMAND GETKEYS ping k", "-ERR The command has no key arguments\r\n");
    expect_reply(2, "COMMAND GETKEYS get k v",
                 "-ERR Invalid number of arguments specified for command\r\n");
    expect_reply(2, "COMMAND GETKEYS mset k",
                 "-ERR Invalid number of arguments specified for command\r\n");
}

Test(table, command_getkeysandflags_looks_at_the_options)
{
    expect_reply(3, "COMMAND GETKEYSANDFLAGS set k v",
                 "*1\r\n*2\r\n$1\r\nk\r\n~2\r\n+OW\r\n+update\r\n");
    expect_reply(2, "COMMAND GETKEYSANDFLAGS set k v get",
                 "*1\r\n*2\r\n$1\r\nk\r\n*3\r\n+RW\r\n+access\r\n+update\r\n");
    expect_reply(2, "COMMAND GETKEYSANDFLAGS bitfield k overflow wrap get u8 0",
                 "*1\r\n*2\r\n$1\r\nk\r\n*2\r\n+RO\r\n+access\r\n");
    expect_reply(2, "COMMAND GETKEYSANDFLAGS bitfield k get u8",
                 "*1\r\n*2\r\n$1\r\nk\r\n*3\r\n+RW\r\n+access\r\n+update\r\n");
    expect_reply(
        2, "COMMAND GETKEYSANDFLAGS copy a b",
        "*2\r\n*2\r\n$1\r\na\r\n*2\r\n+RO\r\n+access\r\n*2\r\n$1\r\nb\r\n*2\r\n+OW\r\n+update\r\n");
}

Test(table, command_list_filters)
{
    expect_reply(2, "COMMAND LIST FILTERBY PATTERN CONFIG|RE*",
                 "*2\r\n$14\r\nconfig|rewrite\r\n$16\r\nconfig|resetstat\r\n");
    expect_reply(2, "COMMAND LIST FILTERBY ACLCAT nosuch", "*0\r\n");
    expect_reply(
        2, "COMMAND LIST FILTERBY ACLCAT Transaction",
        "*5\r\n$5\r\nmulti\r\n$4\r\nexec\r\n$7\r\ndiscard\r\n$5\r\nwatch\r\n$7\r\nunwatch\r\n");
    expect_reply(2, "COMMAND LIST FILTERBY MODULE x", "*0\r\n");
    expect_reply(2, "COMMAND LIST FILTERBY x y", "-ERR syntax error\r\n");
    expect_reply(2, "COMMAND LIST FILTERBY", "-ERR syntax error\r\n");
    expect_reply(2, "COMMAND LIST all", "-ERR syntax error\r\n");
}

Test(table, command_docs_describes_arguments)
{
    expect_reply(
        3, "COMMAND DOCS nosuch getset",
        "%1\r\n$6\r\ngetset\r\n%8\r\n$7\r\nsummary\r\n$48\r\nStores a string and returns the one "
        "it replaces.\r\n"
        "$5\r\nsince\r\n$5\r\n1.0.0\r\n$5\r\ngroup\r\n$6\r\nstring\r\n$10\r\ncomplexity\r\n$4\r\nO("
        "1)\r\n"
        "$9\r\ndoc_flags\r\n~1\r\n+deprecated\r\n$16\r\ndeprecated_since\r\n$5\r\n6.2.0\r\n"
        "$11\r\nreplaced_by\r\n$30\r\n`SET` with the `!GET` argument\r\n$9\r\narguments\r\n*2\r\n"
        "%3\r\n$4\r\nname\r\n$3\r\nkey\r\n$4\r\ntype\r\n$3\r\nkey\r\n$14\r\nkey_spec_index\r\n:"
        "0\r\n"
        "%2\r\n$4\r\nname\r\n$5\r\nvalue\r\n$4\r\ntype\r\n$6\r\nstring\r\n");
}

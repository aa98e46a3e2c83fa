#include <string.h>

#include "dataplane/store/keyspace.h"
#include "tests/unit/dataplane/commands/journal_fixture.h"

static void set_large(const char *name, char byte, size_t len_bytes)
{
    char value[1 << 16];

    cr_assert_leq(len_bytes, sizeof value);
    memset(value, byte, len_bytes);
    cr_assert_str_eq(
        fixture_run_argv(f, 3,
                         (struct text[]){TEXT("SET"), {name, strlen(name)}, {value, len_bytes}}),
        "+OK\r\n");
}

static uint64_t value_bytes(uint32_t db)
{
    struct keyspace *keyspace = keyspace_get(f->node, db);
    uint64_t sum = 0;

    for (uint32_t slot = 0; keyspace != NULL && slot < SLOTS; slot++)
        sum += keyspace->slots[slot].value_bytes;
    return sum;
}

TestSuite(keys, .init = start, .fini = stop);

Test(keys, del_exists_touch_and_type_count_what_is_there)
{
    expect("MSET a 1 b 2 c 3", "+OK\r\n");
    expect("EXISTS a b none a", ":3\r\n");
    expect("TOUCH a none", ":1\r\n");
    expect("TYPE a", "+string\r\n");
    expect("TYPE none", "+none\r\n");
    expect_journal("DEL none", ":0\r\n", "");
    expect_journal("DEL a none b", ":2\r\n", "0: DEL a none b\n");
    expect_journal("UNLINK c c", ":1\r\n", "0: UNLINK c c\n");
    expect("DBSIZE", ":0\r\n");
}

Test(keys, rename_takes_value_and_deadline_along)
{
    expect("RENAME none b", "-ERR no such key\r\n");
    expect("SET a 5 PX 1000", "+OK\r\n");
    expect("SET b old", "+OK\r\n");
    expect("RENAME a a", "+OK\r\n");
    expect("RENAMENX a a", ":0\r\n");
    expect("RENAMENX a b", ":0\r\n");
    expect_journal("RENAME a b", "+OK\r\n", "0: RENAME a b\n");
    expect("GET b", "$1\r\n5\r\n");
    expect("OBJECT ENCODING b", "$3\r\nint\r\n");
    expect("PTTL b", ":1000\r\n");
    expect("EXISTS a", ":0\r\n");
    expect_journal("RENAMENX b c", ":1\r\n", "0: RENAMENX b c\n");
}

/* The string itself stays where it is, and the bytes are counted once. */
Test(keys, rename_and_move_do_not_copy_a_long_string)
{
    set_large("first", 'x', 60000);
    struct key key;
    char number[24];
    uint64_t before = value_bytes(0);

    cr_assert(key_find(fixture_call(f, 1, (struct text[]){TEXT("RENAME")}),
                       (struct text)TEXT("first"), FIND_WRITE, &key));
    const char *data = entry_string(key.entry, number).data;
    expect("PEXPIRE first 1000", ":1\r\n");
    expect("RENAME first a-longer-name", "+OK\r\n");
    cr_assert(key_find(fixture_call(f, 1, (struct text[]){TEXT("RENAME")}),
                       (struct text)TEXT("a-longer-name"), FIND_WRITE, &key));
    cr_assert_eq(entry_string(key.entry, number).data, data);
    cr_assert_geq(value_bytes(0), before);
    cr_assert_lt(value_bytes(0), before + 200);
    expect_journal("MOVE a-longer-name 3", ":1\r\n", "0: MOVE a-longer-name 3\n");
    cr_assert_eq(value_bytes(0), 0);
    cr_assert_geq(value_bytes(3), before);
    f->session.db = 3;
    cr_assert(key_find(fixture_call(f, 1, (struct text[]){TEXT("MOVE")}),
                       (struct text)TEXT("a-longer-name"), FIND_WRITE, &key));
    cr_assert_eq(entry_string(key.entry, number).data, data);
    expect("PTTL a-longer-name", ":1000\r\n");
    expect("STRLEN a-longer-name", ":60000\r\n");
    set_large("other", 'y', 50000);
    expect("RENAME a-longer-name other", "+OK\r\n");
    fixture_background(f);
    expect("GETRANGE other 59998 60000", "$2\r\nxx\r\n");
    expect("DEL other", ":1\r\n");
    fixture_background(f);
    cr_assert_eq(value_bytes(3), 0);
}

Test(keys, copy_leaves_the_source)
{
    expect("SET a text PX 1000", "+OK\r\n");
    expect("COPY none b", ":0\r\n");
    expect_journal("COPY a b", ":1\r\n", "0: COPY a b\n");
    expect("PTTL b", ":1000\r\n");
    expect("COPY a b", ":0\r\n");
    expect("SET a other", "+OK\r\n");
    expect("COPY a b REPLACE", ":1\r\n");
    expect("GET b", "$5\r\nother\r\n");
    expect("PTTL b", ":-1\r\n");
    expect("COPY a a", "-ERR source and destination objects are the same\r\n");
    expect("COPY a a DB 1", ":1\r\n");
    expect("COPY a b DB 16", "-ERR DB index is out of range\r\n");
    expect("COPY a b DB x", "-ERR value is not an integer or out of range\r\n");
    expect("COPY a b DB", "-ERR syntax error\r\n");
    f->session.db = 1;
    expect("GET a", "$5\r\nother\r\n");
}

Test(keys, move_goes_only_where_the_name_is_free)
{
    expect("SET a 1", "+OK\r\n");
    expect("MOVE a 0", "-ERR source and destination objects are the same\r\n");
    expect("MOVE a 99", "-ERR DB index is out of range\r\n");
    expect("MOVE a 99999999999",
           "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n");
    expect("COPY a a DB 2", ":1\r\n");
    expect("MOVE a 2", ":0\r\n");
    expect("MOVE none 2", ":0\r\n");
    expect("MOVE a 1", ":1\r\n");
    expect("EXISTS a", ":0\r\n");
}

Test(keys, whole_databases)
{
    expect("SET a 1", "+OK\r\n");
    expect("FLUSHDB nonsense", "-ERR syntax error\r\n");
    expect("FLUSHALL ASYNC SYNC", "-ERR syntax error\r\n");
    expect_journal("SWAPDB 0 1", "+OK\r\n", "0: SWAPDB 0 1\n");
    expect("DBSIZE", ":0\r\n");
    expect("SWAPDB 0 x", "-ERR invalid second DB index\r\n");
    expect("SWAPDB 99999999999 0", "-ERR invalid first DB index\r\n");
    expect("SWAPDB 0 16", "-ERR DB index is out of range\r\n");
    f->session.db = 1;
    expect("DBSIZE", ":1\r\n");
    expect_journal("FLUSHDB", "+OK\r\n", "1: FLUSHDB\n");
    expect("DBSIZE", ":0\r\n");
    expect_journal("FLUSHALL SYNC", "+OK\r\n", "1: FLUSHALL SYNC\n");
}

Test(keys, object_tells_of_the_value)
{
    expect("OBJECT ENCODING none", "$-1\r\n");
    expect("MSET a 123456 b text c 7", "+OK\r\n");
    set_large("d", 'z', 45);
    expect("OBJECT ENCODING a", "$3\r\nint\r\n");
    expect("OBJECT ENCODING b", "$6\r\nembstr\r\n");
    expect("OBJECT ENCODING d", "$3\r\nraw\r\n");
    expect("OBJECT REFCOUNT a", ":1\r\n");
    expect("OBJECT REFCOUNT c", ":2147483647\r\n");
    fixture_sleep(f, 5000);
    expect("OBJECT IDLETIME a", ":5\r\n");
    expect("GET a", "$6\r\n123456\r\n");
    expect("OBJECT IDLETIME a", ":0\r\n");
    cr_assert(strstr(fixture_run(f, "OBJECT FREQ a"), "LFU maxmemory policy") != NULL);
}

#define OOM "-OOM command not allowed when used memory > 'maxmemory'.\r\n"

/* Whichever allocation fails, both keys are as they were, or the command is done. */
Test(keys, rename_without_memory_changes_nothing)
{
    for (uint64_t nth = 1;; nth++) {
        set_large("from", 'x', 5000);
        expect("SET to old", "+OK\r\n");
        expect("PEXPIRE from 1000", ":1\r\n");
        memory_fail_nth(f->worker->memory, nth);
        const char *reply = fixture_run(f, "RENAME from unborn");
        bool done = strcmp(reply, "+OK\r\n") == 0;
        memory_fail_nth(f->worker->memory, 0);
        if (done)
            break;
        cr_assert_str_eq(reply, OOM);
        expect("STRLEN from", ":5000\r\n");
        expect("PTTL from", ":1000\r\n");
        expect("EXISTS unborn", ":0\r\n");
        memory_fail_nth(f->worker->memory, nth);
        reply = fixture_run(f, "RENAME from to");
        memory_fail_nth(f->worker->memory, 0);
        if (strcmp(reply, OOM) == 0)
            expect("GET to", "$3\r\nold\r\n");
        cr_assert_lt(nth, 100);
    }
    expect("STRLEN unborn", ":5000\r\n");
}

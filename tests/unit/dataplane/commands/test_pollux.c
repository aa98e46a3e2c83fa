#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/turns.h"
#include "tests/unit/dataplane/fixture.h"

static struct fixture *f;

static void start(void)
{
    f = fixture_create(2);
    f->node->commands = command_index_create();
}

static void stop(void)
{
    command_index_destroy(f->node->commands);
    fixture_destroy(f);
}

static const struct command *pollux(const char *sub)
{
    return command_find_sub(command_find(f->node->commands, (struct text)TEXT("pollux")),
                            (struct text){sub, strlen(sub)});
}

static void expect(const char *line, const char *reply)
{
    cr_assert_str_eq(fixture_run(f, line), reply, "%s", line);
}

/* What worker `index` has to say. */
static uint64_t gather(const char *sub, uint32_t index, char *text, size_t text_bytes)
{
    struct call *call = fixture_call(f, 2, (struct text[]){TEXT("POLLUX"), {sub, strlen(sub)}});
    struct reply_memory memory;
    uint64_t number = 0;

    reply_memory_init(&memory, 2, text, text_bytes - 1);
    call->command = pollux(sub);
    call->command->gather(f->node->workers[index], call, &memory, &number);
    reply_memory_finish(&memory);
    text[memory.total_bytes] = '\0';
    reply_memory_fini(&memory);
    return number;
}

TestSuite(pollux, .init = start, .fini = stop);

Test(pollux, move_slot_gives_a_slot_away)
{
    expect("POLLUX MOVE-SLOT 7 1", "+OK\r\n");
    cr_assert_eq(node_owner(f->node, 7), 1);
    expect("POLLUX MOVE-SLOT 7 0", "-TRYAGAIN the slot has just moved\r\n");
    fixture_on(f, 1);
    expect("POLLUX MOVE-SLOT 7 0", "+OK\r\n");
    cr_assert_eq(node_owner(f->node, 7), 0);
}

Test(pollux, move_slot_refuses_what_is_not_there)
{
    expect("POLLUX MOVE-SLOT 16384 1", "-ERR Invalid slot\r\n");
    expect("POLLUX MOVE-SLOT x 1", "-ERR Invalid slot\r\n");
    expect("POLLUX MOVE-SLOT 7 2", "-ERR Invalid worker\r\n");
    expect("POLLUX MOVE-SLOT 7 -1", "-ERR Invalid worker\r\n");
    cr_assert_eq(node_owner(f->node, 7), 0);
}

Test(pollux, slots_shows_ranges_and_keys_of_a_worker)
{
    char text[1024];

    expect("SET {0}a v", "+OK\r\n"); /* slot 13907, the second worker's */
    gather("slots", 0, text, sizeof text);
    cr_assert_not_null(strstr(text, "$10\r\nslot-count\r\n:8192\r\n"), "%s", text);
    cr_assert_not_null(strstr(text, "*1\r\n*2\r\n:0\r\n:8191\r\n"), "%s", text);
    expect("POLLUX MOVE-SLOT 100 1", "+OK\r\n");
    gather("slots", 0, text, sizeof text);
    cr_assert_not_null(strstr(text, "*2\r\n*2\r\n:0\r\n:99\r\n*2\r\n:101\r\n:8191\r\n"), "%s",
                       text);
    gather("slots", 1, text, sizeof text);
    cr_assert_not_null(strstr(text, "$4\r\nkeys\r\n:1\r\n"), "%s", text);
}

Test(pollux, rebalance_sends_slots_home)
{
    char text[16];

    expect("POLLUX MOVE-SLOT 100 1", "+OK\r\n");
    expect("POLLUX MOVE-SLOT 200 1", "+OK\r\n");
    cr_assert_eq(gather("rebalance", 0, text, sizeof text), 0);
    cr_assert_eq(gather("rebalance", 1, text, sizeof text), 2);
    cr_assert_eq(node_owner(f->node, 100), 0);
    cr_assert_eq(node_owner(f->node, 200), 0);
}

Test(pollux, gaps_shows_when_a_worker_lost_its_core)
{
    struct turns turns[2] = {0};
    uint64_t lost_ns;
    char text[1024];

    for (int i = 0; i < 2; i++)
        f->node->workers[i]->turns = &turns[i];
    turns_begin(&turns[1], 1000000, 0, 4);
    turns_read(&turns[1], 1100000, 60000, &lost_ns);
    cr_assert(turns_gap(&turns[1], 4, lost_ns));
    gather("gaps", 1, text, sizeof text);
    cr_assert_str_eq(text, "*6\r\n$6\r\nworker\r\n:1\r\n$5\r\ncount\r\n:1\r\n$4\r\ngaps\r\n"
                           "*1\r\n*3\r\n:1000\r\n:1100\r\n:40\r\n");
    gather("gaps", 0, text, sizeof text);
    cr_assert_not_null(strstr(text, "count\r\n:0\r\n$4\r\ngaps\r\n*0\r\n"), "%s", text);
}

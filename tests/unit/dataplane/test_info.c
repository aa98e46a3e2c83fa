/* INFO and MEMORY on a node of fixtures: two workers whose streams only have counters. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/client/client.h"
#include "tests/unit/dataplane/fixture.h"

static const struct stream_counters *counters(const struct stream *stream)
{
    static const struct stream_counters some = {.rx_bytes = 1000, .tx_bytes = 500};

    return &some;
}

static const struct stream_driver driver = {.name = "fixture", .counters = counters};

static struct fixture *start(void)
{
    struct fixture *f = fixture_create(2);

    fixture_run(f, "PING"); /* has the command table made */
    f->node->driver = &driver;
    for (uint32_t i = 0; i < 2; i++) {
        struct worker *worker = f->node->workers[i];
        worker->driver = &driver;
        worker->cpu = (int)i;
        worker->command_stats =
            calloc(command_numbers(f->node->commands), sizeof *worker->command_stats);
        cr_assert_not_null(worker->command_stats);
    }
    return f;
}

static void finish(struct fixture *f)
{
    for (uint32_t i = 0; i < 2; i++)
        free(f->node->workers[i]->command_stats);
    fixture_destroy(f);
}

/* The worker that executes has all slots. */
static void own(struct fixture *f, uint32_t worker)
{
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        atomic_store(&f->node->owner[slot], (uint8_t)worker);
    fixture_on(f, worker);
}

static void has(struct fixture *f, const char *command, const char *line)
{
    const char *text = fixture_run(f, command);

    cr_assert_not_null(strstr(text, line), "%s is not in %s", line, text);
}

Test(info, sections_by_name_in_one_order)
{
    struct fixture *f = start();

    cr_assert_str_eq(fixture_run(f, "INFO nonsense"), "$0\r\n\r\n");
    cr_assert_str_eq(fixture_run(f, "INFO modules CLUSTER"),
                     "$43\r\n# Modules\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n");
    cr_assert_null(strstr(fixture_run(f, "INFO"), "# Commandstats"));
    has(f, "INFO all", "# Commandstats\r\n");
    has(f, "INFO commandstats default", "# Commandstats\r\n\r\n# Errorstats\r\n");
    f->session.cluster = true;
    has(f, "INFO cluster", "cluster_enabled:1\r\n");
    has(f, "INFO server", "redis_mode:cluster\r\n");
    finish(f);
}

Test(info, adds_up_what_workers_count)
{
    struct fixture *f = start();

    for (uint32_t i = 0; i < 2; i++) {
        fixture_on(f, i);
        run_count_error(f->worker, "ERR");
        run_count_error(f->worker, i == 0 ? "OOM" : "NOAUTH");
        count_add(&f->worker->stats.commands, 10);
        count_add(&f->worker->stats.longest_turn_cpu_ns, 7000 * (i + 1));
        struct command_stats *get =
            &f->worker->command_stats[command_number(f->node->commands,
                                                     command_find(f->node->commands, TEXT("get")))];
        count_add(&get->calls, 2);
        count_add(&get->nanoseconds, 3000);
        count_add(&get->rejected, 1);
    }
    has(f, "INFO stats", "total_commands_processed:20\r\n");
    has(f, "INFO stats", "total_net_input_bytes:2000\r\n");
    has(f, "INFO stats", "total_error_replies:4\r\n");
    has(f, "INFO errorstats",
        "errorstat_ERR:count=2\r\nerrorstat_NOAUTH:count=1\r\nerrorstat_OOM:count=1\r\n");
    has(f, "INFO commandstats",
        "cmdstat_get:calls=4,usec=6,usec_per_call=1.50,rejected_calls=2,failed_calls=0\r\n");
    has(f, "INFO workers", "longest_turn_cpu_us=7,");
    has(f, "INFO workers", "\nworker1:cpu=1,");
    finish(f);
}

Test(info, mean_ttl_follows_the_deadlines)
{
    struct fixture *f = start();

    own(f, 0);
    fixture_run(f, "SET a 1 PX 1000");
    fixture_run(f, "SET b 1 PX 5000");
    fixture_run(f, "SET c 1");
    has(f, "INFO keyspace", "db0:keys=3,expires=2,avg_ttl=3000\r\n");
    fixture_run(f, "PEXPIRE a 3000");
    has(f, "INFO keyspace", "expires=2,avg_ttl=4000\r\n");
    own(f, 1); /* counts are the executing worker's: no sum of one worker alone is right */
    fixture_run(f, "DEL b");
    has(f, "INFO keyspace", "db0:keys=2,expires=1,avg_ttl=3000\r\n");
    fixture_sleep(f, 1000);
    has(f, "INFO keyspace", "expires=1,avg_ttl=2000\r\n");
    fixture_run(f, "PERSIST a");
    has(f, "INFO keyspace", "db0:keys=2,expires=0,avg_ttl=0\r\n");
    finish(f);
}

Test(info, mean_ttl_of_far_deadlines)
{
    struct fixture *f = start();

    own(f, 0);
    /* Sums of such deadlines wrap. */
    for (int i = 0; i < 100; i++) {
        char line[64];
        snprintf(line, sizeof line, "SET k%d 1 PXAT 80000000000000000", i);
        fixture_run(f, line);
    }
    has(f, "INFO keyspace", "expires=100,avg_ttl=79998300000000000\r\n");
    finish(f);
}

Test(memory_command, usage_and_stats)
{
    struct fixture *f = start();
    char value[2048];

    own(f, 0);
    memset(value, 'x', 2000);
    fixture_run_argv(f, 3, (struct text[]){TEXT("SET"), TEXT("long"), {value, 2000}});
    long usage = strtol(fixture_run(f, "MEMORY USAGE long") + 1, NULL, 10);
    cr_assert(usage > 2000 && usage < 3000, "%ld", usage);
    cr_assert_str_eq(fixture_run(f, "MEMORY USAGE none"), "$-1\r\n");
    cr_assert_str_eq(fixture_run(f, "MEMORY USAGE long SAMPLES -1"), "-ERR syntax error\r\n");
    cr_assert_str_eq(fixture_run(f, "MEMORY USAGE none SAMPLES x"),
                     "-ERR value is not an integer or out of range\r\n");
    has(f, "MEMORY STATS", "*56\r\n$14\r\npeak.allocated\r\n:");
    has(f, "MEMORY STATS", "$4\r\ndb.0\r\n*6\r\n$23\r\noverhead.hashtable.main\r\n:64\r\n");
    has(f, "MEMORY STATS", "$10\r\nkeys.count\r\n:1\r\n");
    finish(f);
}

Test(memory_command, parts_of_the_memory_add_up)
{
    struct memory *memory = memory_create();
    struct memory_parts parts = {0};
    static const size_t sizes[] = {20, 600, 5000, 900000, 3 << 20};
    void *blocks[5], *lines[2];

    for (int i = 0; i < 5; i++)
        cr_assert_not_null(blocks[i] = memory_alloc(memory, sizes[i]));
    blocks[1] = memory_resize(memory, blocks[1], sizes[1], 20000);
    blocks[3] = memory_resize(memory, blocks[3], sizes[3], 2 << 20);
    blocks[4] = memory_resize(memory, blocks[4], sizes[4], 5 << 20);
    cr_assert(blocks[1] != NULL && blocks[3] != NULL && blocks[4] != NULL);
    cr_assert_not_null(lines[0] = memory_alloc_lines(memory, 64));
    cr_assert_not_null(lines[1] = memory_alloc_lines(memory, 1 << 20));
    memory_add_parts(memory, &parts);
    cr_assert(parts.line_bytes >= 64 + (1 << 20) && parts.line_bytes < (2 << 20));
    cr_assert(parts.malloc_bytes >= 25000);
    cr_assert(parts.malloc_bytes + parts.mapped_bytes <= memory_used_bytes(memory));
#ifndef POLLUX_ASAN
    cr_assert(parts.malloc_bytes < 40000);
    cr_assert(parts.mapped_bytes >= (8 << 20) && parts.mapped_bytes < (9 << 20));
#endif
    memory_free(memory, blocks[0], 20);
    memory_free(memory, blocks[1], 20000);
    memory_free(memory, blocks[2], 5000);
    memory_free(memory, blocks[3], 2 << 20);
    memory_free(memory, blocks[4], 5 << 20);
    memory_free_lines(memory, lines[0], 64);
    memory_free_lines(memory, lines[1], 1 << 20);
    parts = (struct memory_parts){0};
    memory_add_parts(memory, &parts);
    cr_assert(parts.malloc_bytes == 0 && parts.mapped_bytes == 0 && parts.line_bytes == 0);
    cr_assert_eq(memory_used_bytes(memory), 0);
    memory_destroy(memory);
}

static uint64_t rate_after(struct worker *worker, uint64_t commands, uint64_t elapsed_us)
{
    atomic_fetch_add(&worker->stats.commands, commands);
    worker->now_us += elapsed_us;
    stats_cron(worker);
    return atomic_load(&worker->stats.operations_per_second);
}

Test(info, rates_fall_as_fast_where_a_worker_looks_seldom)
{
    struct fixture *f = start();
    struct worker *worker = f->node->workers[0];

    for (int i = 0; i < 16; i++)
        rate_after(worker, 1000, 100000);
    cr_expect_eq(rate_after(worker, 1000, 100000), 10000);
    cr_expect_eq(rate_after(worker, 0, 100000), 9375, "one of 16 samples");
    cr_expect_eq(rate_after(worker, 0, 800000), 4375, "eight more");
    cr_expect_eq(rate_after(worker, 0, 3600000000), 0, "all of them");
    finish(f);
}

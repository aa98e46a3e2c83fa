#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/histogram.h"
#include "dataplane/commands/latency.h"
#include "tests/unit/dataplane/fixture.h"

static struct fixture *start(uint32_t workers)
{
    struct fixture *f = fixture_create(workers);

    fixture_run(f, "PING"); /* has the command table made */
    for (uint32_t i = 0; i < workers; i++) {
        struct worker *worker = f->node->workers[i];
        cr_assert_not_null(worker->latency = latency_create());
        worker->command_stats =
            calloc(command_numbers(f->node->commands), sizeof *worker->command_stats);
        cr_assert_not_null(worker->command_stats);
    }
    return f;
}

static void finish(struct fixture *f)
{
    for (uint32_t i = 0; i < f->node->worker_count; i++) {
        struct worker *worker = f->node->workers[i];
        latency_destroy(worker->latency);
        for (uint32_t k = 0; k < command_numbers(f->node->commands); k++)
            free(worker->command_stats[k].latency);
        free(worker->command_stats);
    }
    fixture_destroy(f);
}

static void note(struct fixture *f, uint32_t worker, const char *event, uint64_t ms)
{
    latency_note(f->node->workers[worker], event, ms);
}

Test(latency, workers_samples_are_merged_by_time)
{
    struct fixture *f = start(3);

    note(f, 0, "command", 10);
    note(f, 2, "command", 30); /* the same second: the worst counts */
    fixture_sleep(f, 1000);
    note(f, 1, "command", 20);
    note(f, 1, "command", 15);
    fixture_sleep(f, 1000);
    note(f, 0, "command", 5);
    note(f, 0, "fast-command", 7);
    cr_assert_str_eq(fixture_run(f, "LATENCY HISTORY command"),
                     "*3\r\n*2\r\n:1700000000\r\n:30\r\n*2\r\n:1700000001\r\n:20\r\n"
                     "*2\r\n:1700000002\r\n:5\r\n");
    cr_assert_str_eq(fixture_run(f, "LATENCY LATEST"),
                     "*2\r\n*4\r\n$7\r\ncommand\r\n:1700000002\r\n:5\r\n:30\r\n"
                     "*4\r\n$12\r\nfast-command\r\n:1700000002\r\n:7\r\n:7\r\n");
    cr_assert_str_eq(fixture_run(f, "LATENCY HISTORY nothing"), "*0\r\n");
    finish(f);
}

Test(latency, keeps_the_latest_samples_of_an_event)
{
    struct fixture *f = start(2);

    for (int i = 0; i < 3 * LATENCY_SAMPLES; i++) {
        note(f, (uint32_t)i % 2, "command", (uint64_t)i + 1);
        fixture_sleep(f, 1000);
    }
    const char *text = fixture_run(f, "LATENCY HISTORY command");
    cr_assert(strncmp(text, "*160\r\n*2\r\n:1700000320\r\n:321\r\n", 29) == 0, "%.60s", text);
    cr_assert_not_null(strstr(text, "*2\r\n:1700000479\r\n:480\r\n"));
    finish(f);
}

Test(latency, reset_counts_events_once)
{
    struct fixture *f = start(2);

    for (uint32_t i = 0; i < 2; i++) {
        note(f, i, "command", 10);
        note(f, i, "fast-command", 10);
        note(f, i, "expire-cycle", 10);
    }
    cr_assert_str_eq(fixture_run(f, "LATENCY RESET nothing command"), ":1\r\n");
    cr_assert_str_eq(fixture_run(f, "LATENCY HISTORY command"), "*0\r\n");
    cr_assert_str_eq(fixture_run(f, "LATENCY RESET"), ":2\r\n");
    cr_assert_str_eq(fixture_run(f, "LATENCY LATEST"), "*0\r\n");
    finish(f);
}

Test(latency, events_are_bounded)
{
    struct fixture *f = start(1);
    static char names[LATENCY_EVENTS_MAX + 8][8];

    for (int i = 0; i < LATENCY_EVENTS_MAX + 8; i++) {
        snprintf(names[i], sizeof names[i], "e%d", i);
        note(f, 0, names[i], 10);
    }
    cr_assert(strncmp(fixture_run(f, "LATENCY LATEST"), "*16\r\n", 5) == 0);
    finish(f);
}

Test(latency, graph_and_doctor)
{
    struct fixture *f = start(1);

    cr_assert_str_eq(fixture_run(f, "LATENCY GRAPH command"),
                     "-ERR No samples available for event 'command'\r\n");
    cr_assert_not_null(strstr(fixture_run(f, "LATENCY DOCTOR"), "latency-monitor-threshold"));
    note(f, 0, "command", 50);
    fixture_sleep(f, 61000);
    note(f, 0, "command", 100);
    const char *text = fixture_run(f, "LATENCY GRAPH command");
    cr_assert_not_null(strstr(text, "command - high 100 ms, low 50 ms (all time high 100 ms)"));
    cr_assert_not_null(strstr(text, "1m ago |#########################      "), "%s", text);
    text = fixture_run(f, "LATENCY DOCTOR");
    cr_assert_not_null(strstr(text, "command: 2 spikes, 75 ms on average (mean deviation 25 ms)"),
                       "%s", text);
    finish(f);
}

/* ---- histograms ---- */

static void took(struct fixture *f, uint32_t worker, const char *name, uint64_t ns)
{
    const struct command *command =
        command_find(f->node->commands, (struct text){name, strlen(name)});
    struct command_stats *stats =
        &f->node->workers[worker]->command_stats[command_number(f->node->commands, command)];

    if (stats->latency == NULL)
        stats->latency = calloc(1, sizeof(struct histogram));
    histogram_add(stats->latency, ns);
}

Test(histogram, buckets_cover_all_durations_in_order)
{
    uint32_t before = 0;

    for (uint64_t ns = 0; ns < (uint64_t)1 << 37; ns = ns < 1024 ? ns + 1 : ns + ns / 37) {
        uint32_t bucket = histogram_bucket(ns);
        cr_assert(bucket < HISTOGRAM_BUCKETS && bucket >= before);
        cr_assert(bucket == HISTOGRAM_BUCKETS - 1 || ns <= histogram_bucket_top_ns(bucket));
        cr_assert(bucket == 0 || ns > histogram_bucket_top_ns(bucket - 1));
        before = bucket;
    }
}

Test(histogram, classes_are_labelled_and_cumulative_as_in_redis)
{
    struct fixture *f = start(2);

    took(f, 0, "ping", 900); /* up to 1 us */
    took(f, 1, "ping", 900);
    took(f, 1, "ping", 30000);    /* up to 2^15 ns */
    took(f, 0, "ping", 33000000); /* up to 2^25 ns */
    cr_assert_str_eq(fixture_run(f, "LATENCY HISTOGRAM ping nosuch set PING"),
                     "*2\r\n$4\r\nping\r\n*4\r\n$5\r\ncalls\r\n:4\r\n$14\r\nhistogram_usec\r\n"
                     "*6\r\n:1\r\n:2\r\n:33\r\n:3\r\n:33816\r\n:4\r\n");
    char *one = strdup(fixture_run(f, "LATENCY HISTOGRAM ping"));
    cr_assert_str_eq(fixture_run(f, "LATENCY HISTOGRAM"), one);
    free(one);
    cr_assert_str_eq(fixture_run(f, "LATENCY HISTOGRAM nosuch config|nosuch |"), "*0\r\n");
    finish(f);
}

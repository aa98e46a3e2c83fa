/* Gaps, with a clock of our own. Times are in us from 1 s on. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tools/pollux-bench/gaps.h"

static struct gaps *gaps;
static struct gaps_report report;
static const struct gaps_clock same_clock = {{1000000000, 2000000000}, {1000000000, 2000000000}};

static uint64_t at(uint64_t us)
{
    return 1000000000 + us * 1000;
}

static void start(void)
{
    cr_assert_eq(gaps_create(&gaps, 10000), 0);
}

static void stop(void)
{
    gaps_destroy(gaps);
}

/* A request each us for 10 ms; each takes 5 us, but what is due in [from, until) is answered then. */
static void run(uint64_t from, uint64_t until)
{
    for (uint64_t due = 0; due < 10000; due++) {
        uint64_t done = due >= from && due < until ? until + 5 : due + 5;
        gaps_sample(gaps, at(due), at(done), 1);
    }
}

static void finish(void)
{
    cr_assert_eq(gaps_finish(gaps, &report), 0);
    cr_assert_eq(report.latency.total + report.left_out, 10000);
}

static int read_reply(const char *reply, const struct gaps_clock *clock)
{
    struct ask_cursor cursor = {reply, reply + strlen(reply)};

    return gaps_read(gaps, &cursor, clock, at(0), at(10000));
}

TestSuite(gaps, .init = start, .fini = stop);

Test(gaps, what_the_server_does_slowly_stays_in)
{
    run(2000, 3000);
    finish();
    cr_assert_eq(report.left_out, 0);
    cr_assert_eq(report.latency.max_ns, 1005000);
    cr_assert_gt(histogram_quantile(&report.latency, 0.99), 800000);
}

Test(gaps, own_gaps_and_their_queue_are_left_out)
{
    run(2000, 3000);
    gaps_look(gaps, at(0), at(20)); /* at the bound: work */
    gaps_look(gaps, at(2000), at(3000));
    finish();
    cr_assert_eq(report.own.count, 1);
    cr_assert_eq(report.own.lost_ns, 1000000);
    /* 20 us before, the gap, and as long again. */
    cr_assert_eq(report.left_out, 2020);
    cr_assert_leq(report.latency.max_ns, 5000);
}

Test(gaps, a_slow_server_is_not_covered_by_a_short_gap)
{
    /* The server stalls for 3 ms of its own; for 30 us of that the machine was away. */
    run(2000, 5000);
    gaps_look(gaps, at(3000), at(3030));
    finish();
    cr_assert_eq(report.left_out, 80);
    cr_assert_eq(report.latency.max_ns, 3005000);
    cr_assert_gt(histogram_quantile(&report.latency, 0.99), 2800000);
}

Test(gaps, a_gap_that_may_lie_anywhere_leaves_nothing_out)
{
    run(0, 0);
    gaps_note_server(gaps, &(struct gap){at(1000), at(9000), 100000});
    finish();
    cr_assert_eq(report.server.vague, 1);
    cr_assert_eq(report.left_out, 0);
}

Test(gaps, overlapping_gaps_count_each_request_once)
{
    run(0, 0);
    gaps_note_server(gaps, &(struct gap){at(4000), at(4100), 100000});
    gaps_note_own(gaps, &(struct gap){at(4050), at(4100), 50000});
    gaps_note_own(gaps, &(struct gap){at(1000), at(1100), 100000});
    gaps_note_own(gaps, &(struct gap){at(1050), at(1080), 30000});
    finish();
    cr_assert_eq(report.left_out, 2 * 220);
}

Test(gaps, reads_what_the_server_tells)
{
    run(0, 0);
    cr_assert_eq(read_reply("*2\r\n"
                            "*6\r\n$6\r\nworker\r\n:0\r\n$5\r\ncount\r\n:3\r\n$4\r\ngaps\r\n*3\r\n"
                            "*3\r\n:900000\r\n:900100\r\n:100\r\n" /* before the run */
                            "*3\r\n:1002000\r\n:1002150\r\n:100\r\n"
                            "*3\r\n:1020000\r\n:1020100\r\n:100\r\n" /* after it */
                            "*6\r\n$6\r\nworker\r\n:1\r\n$5\r\ncount\r\n:0\r\n$4\r\ngaps\r\n*0\r\n",
                            &same_clock),
                 0);
    finish();
    cr_assert_eq(report.server.count, 1);
    cr_assert_eq(report.server.longest_ns, 100000);
    cr_assert_eq(report.left_out, 20 + 150 + 100);
}

Test(gaps, the_servers_clock_becomes_ours)
{
    /* Theirs began 1 s later and is slow by 1/1000. */
    const struct gaps_clock clock = {{at(0), at(10000)}, {at(1000000), at(1009990)}};

    run(0, 0);
    cr_assert_eq(read_reply("*1\r\n*6\r\n$6\r\nworker\r\n:0\r\n$5\r\ncount\r\n:1\r\n$4\r\ngaps\r\n"
                            "*1\r\n*3\r\n:2004995\r\n:2005094\r\n:99\r\n",
                            &clock),
                 0);
    finish();
    /* 5000 to 5099.1 us of ours, 20 before and 99 after. */
    cr_assert_geq(report.left_out, 217);
    cr_assert_leq(report.left_out, 219);
    cr_assert(report.latency.total > 0);
}

Test(gaps, refuses_what_is_no_answer)
{
    static const char *const wrong[] = {
        "",
        "*0\r\n",
        "-ERR unknown command\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n*6\r\n$6\r\nworker\r\n:0\r\n$5\r\ncount\r\n:1\r\n$4\r\ngaps\r\n*1\r\n",
        "*1\r\n*6\r\n$6\r\nworker\r\n:0\r\n$5\r\ncount\r\n:1\r\n$4\r\ngaps\r\n*1\r\n"
        "*3\r\n:5\r\n:4\r\n:0\r\n",
        "*1\r\n*6\r\n$6\r\nworker\r\n:0\r\n$5\r\ncount\r\n:1\r\n$4\r\ngaps\r\n*1\r\n"
        "*3\r\n:5\r\n:9\r\n:6\r\n",
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_eq(read_reply(wrong[i], &same_clock), -EPROTO, "%s", wrong[i]);
    /* Its first gap that is kept lies within the run: earlier ones are gone. */
    cr_assert_eq(read_reply("*1\r\n*6\r\n$6\r\nworker\r\n:0\r\n$5\r\ncount\r\n:9\r\n$4\r\ngaps\r\n"
                            "*1\r\n*3\r\n:1000100\r\n:1000200\r\n:100\r\n",
                            &same_clock),
                 -ENOBUFS);
}

Test(gaps, says_so_if_samples_have_no_room)
{
    struct gaps *small = NULL;

    cr_assert_eq(gaps_create(&small, 2), 0);
    gaps_sample(small, at(1), at(2), 3);
    gaps_sample(small, at(2), at(3), 40000);
    cr_assert_eq(gaps_finish(small, &report), -ENOBUFS);
    gaps_destroy(small);
    cr_assert_eq(gaps_create(&small, (uint64_t)GAPS_SAMPLES_MAX + 1), -E2BIG);
}

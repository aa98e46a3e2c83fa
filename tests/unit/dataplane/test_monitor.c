/* MONITOR beside replies that are being written: neither loses a byte to the other. The pipes give
 * room to one connection at a time, as the network stack does. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/stress/harness.h"

static struct harness *h;
static struct peer *peer, *here, *there; /* the last two watch, at worker 0 and 1 */
static char near[16], far[16];           /* keys of worker 0 and of worker 1 */

static struct peer *monitor_at(uint32_t worker)
{
    struct peer *monitor = peer_create(h, worker);

    peer_send(monitor, "MONITOR");
    cr_assert(peer_got(monitor, "+OK\r\n"));
    return monitor;
}

static void start(void)
{
    h = harness_create(&(struct harness_options){.workers = 2});
    peer = peer_create(h, 0);
    here = monitor_at(0);
    there = monitor_at(1);
    harness_name(h, 0, 0, near);
    harness_name(h, 1, 0, far);
}

static void stop(void)
{
    peer_close(peer);
    peer_close(here);
    peer_close(there);
    harness_stop(h);
    cr_assert(harness_check(h));
    harness_destroy(h);
}

TestSuite(monitor, .init = start, .fini = stop);

/* The next line that a monitor sees ends with this. */
static void expect_line(struct peer *monitor, const char *words)
{
    struct answer answer = peer_answer(monitor);

    cr_assert_eq(answer.type, '+');
    cr_assert_not_null(strstr(answer.text, words), "%s is not ... %s", answer.text, words);
    answer_free(&answer);
}

static void expect_text(const char *text)
{
    struct answer answer = peer_answer(peer);

    cr_assert(answer_is(&answer, text), "%s is not %s", answer.text, text);
    answer_free(&answer);
}

static void expect_both(const char *words)
{
    expect_line(here, words);
    expect_line(there, words);
}

Test(monitor, lines_between_the_replies_of_a_pipeline)
{
    enum { COMMANDS = 500 };

    for (int i = 0; i < COMMANDS; i++) {
        peer_add(peer, "SET %s %d", near, i);
        peer_add(peer, "GET %s", near);
        peer_add(peer, "ECHO %0100d", i);
    }
    peer_flush(peer);
    for (int i = 0; i < COMMANDS; i++) {
        char text[120], words[160];

        expect_text("OK");
        snprintf(text, sizeof text, "%d", i);
        expect_text(text);
        snprintf(words, sizeof words, "\"SET\" \"%s\" \"%d\"", near, i);
        expect_both(words);
        expect_both("\"GET\"");
        snprintf(text, sizeof text, "%0100d", i);
        expect_text(text);
        expect_both(text);
    }
}

/* Replies of both workers' commands, put in order at home while lines of each go out. */
Test(monitor, lines_between_replies_that_come_from_elsewhere)
{
    enum { COMMANDS = 300 };

    for (int i = 0; i < COMMANDS; i++)
        peer_add(peer, i % 3 == 0 ? "MSET %s %d %s b" : "SET %s %d", i % 3 == 1 ? far : near, i,
                 far);
    for (int i = 0; i < COMMANDS; i++)
        peer_add(peer, "GET %s", i % 2 == 0 ? far : near);
    peer_flush(peer);
    for (int i = 0; i < COMMANDS; i++)
        expect_text("OK");
    for (int i = 0; i < COMMANDS; i++) {
        char text[16];

        snprintf(text, sizeof text, "%d", i % 2 == 0 ? COMMANDS - 2 : COMMANDS - 1);
        expect_text(text);
    }
    for (int i = 0; i < 2 * COMMANDS; i++)
        expect_both(i < COMMANDS ? "SET\"" : "\"GET\"");
}

Test(monitor, lines_between_the_replies_of_a_transaction)
{
    peer_send(peer, "MULTI");
    expect_text("OK");
    for (int i = 0; i < 50; i++)
        peer_add(peer, "INCR %s", i % 2 == 0 ? near : far);
    peer_add(peer, "EXEC");
    peer_add(peer, "ECHO end");
    peer_flush(peer);
    for (int i = 0; i < 50; i++)
        expect_text("QUEUED");
    struct answer answer = peer_answer(peer);
    cr_assert_eq(answer.count, 50);
    for (unsigned i = 0; i < 50; i++)
        cr_assert_eq(answer.items[i].integer, i / 2 + 1);
    answer_free(&answer);
    expect_text("end");
    expect_both("\"MULTI\"");
    for (int i = 0; i < 50; i++)
        expect_both("\"INCR\"");
    expect_both("\"EXEC\"");
    expect_both("\"ECHO\" \"end\"");
}

/* A line longer than any room that can be reserved, between two small replies. */
Test(monitor, lines_longer_than_reserved_room)
{
    enum { LONG = 40000 };
    char *value = malloc(LONG + 1);

    memset(value, 'v', LONG);
    value[LONG] = '\0';
    for (int i = 0; i < 10; i++) {
        peer_add_words(peer, 3, (const char *const[]){"SET", near, value});
        peer_add(peer, "ECHO x");
        peer_add(peer, "GET %s", near);
    }
    peer_flush(peer);
    for (int i = 0; i < 10; i++) {
        expect_text("OK");
        expect_text("x");
        expect_text(value);
        expect_both(value);
        expect_both("\"ECHO\"");
        expect_both("\"GET\"");
    }
    free(value);
}

/* Who watches runs commands himself: his line comes between his replies. */
Test(monitor, a_monitor_that_runs_commands)
{
    for (int i = 0; i < 100; i++)
        peer_add(here, "PING %d", i);
    peer_flush(here);
    for (int i = 0; i < 100; i++)
        expect_line(there, "\"PING\"");
    for (int i = 0; i < 200; i++) {
        struct answer answer = peer_answer(here);
        char text[16];

        snprintf(text, sizeof text, "%d", i / 2);
        cr_assert_eq(answer.type, i % 2 == 0 ? '$' : '+');
        cr_assert_not_null(strstr(answer.text, text), "%s", answer.text);
        answer_free(&answer);
    }
}

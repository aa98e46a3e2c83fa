#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/client/client.h"
#include "dataplane/client/input.h"
#include "tests/stress/harness.h"

/* Workers turned by hand: what arrives, and when, is the test's. */
static struct harness *h;
static struct peer *peer;      /* at worker 0 */
static char near[16], far[16]; /* keys of worker 0 and of worker 1 */

static void start(void)
{
    h = harness_create(&(struct harness_options){.workers = 2});
    peer = peer_create(h, 0);
    harness_name(h, 0, 0, near);
    harness_name(h, 1, 0, far);
}

static void stop(void)
{
    peer_close(peer);
    harness_stop(h);
    cr_assert(harness_check(h));
    harness_destroy(h);
}

TestSuite(batch, .init = start, .fini = stop);

static void expect_status(const char *text)
{
    struct answer answer = peer_answer(peer);

    cr_assert(answer_is(&answer, text), "%s is not %s", answer.text, text);
    answer_free(&answer);
}

Test(batch, commands_in_single_bytes)
{
    const char *bytes = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n\r\n\r\nPING hello\r\nGET a\r\n";

    for (const char *byte = bytes; *byte != '\0'; byte++) {
        peer_add_raw(peer, byte, 1);
        peer_flush(peer);
        harness_idle(h);
    }
    cr_assert(peer_got(peer, "+OK\r\n$5\r\nhello\r\n$2\r\n\r\n\r\n"));
}

Test(batch, a_pipeline_longer_than_many_batches_is_answered_in_order)
{
    enum { COMMANDS = 20000 };

    for (unsigned i = 0; i < COMMANDS; i++)
        peer_add(peer, "INCR %s", near);
    peer_flush(peer);
    for (int i = 0; i < COMMANDS; i++)
        cr_assert_eq(peer_number(peer), i + 1);
}

static void expect_null(void)
{
    struct answer answer = peer_answer(peer);

    cr_assert_eq(answer.type, '_');
    answer_free(&answer);
}

static void expect_error(const char *begin)
{
    struct answer answer = peer_answer(peer);

    cr_assert_eq(answer.type, '-');
    cr_assert_eq(strncmp(answer.text, begin, strlen(begin)), 0, "%s is not %s", answer.text, begin);
    answer_free(&answer);
}

/* Names that were looked up lately are found by their bytes alone. */
Test(batch, a_command_is_found_again_under_its_own_name_only)
{
    for (unsigned round = 0; round < 3; round++) {
        peer_add(peer, "SET %s abc", near);
        peer_add(peer, "sEt %s abc", near);
        peer_add(peer, "GETDEL %s", near);
        peer_add(peer, "GET %s", near);
        peer_add(peer, "get"); /* without its key */
        peer_add(peer, "GES %s", near);
        peer_add(peer, "GETX %s", near);
        peer_add(peer, "GE %s", near);
        peer_add(peer, "TTL %s", near);
        peer_add(peer, "PTTL %s", near);
        peer_add(peer, "APPENDED %s x", near);
        peer_add(peer, "STRLEN %s", near);
        peer_flush(peer);
        expect_status("OK");
        expect_status("OK");
        expect_status("abc");
        expect_null();
        expect_error("ERR wrong number of arguments for 'get' command");
        expect_error("ERR unknown command 'GES'");
        expect_error("ERR unknown command 'GETX'");
        expect_error("ERR unknown command 'GE'");
        cr_assert_eq(peer_number(peer), -2);
        cr_assert_eq(peer_number(peer), -2);
        expect_error("ERR unknown command 'APPENDED'");
        cr_assert_eq(peer_number(peer), 0);
    }
}

Test(batch, near_and_far_keys_of_a_pipeline_keep_their_order)
{
    for (unsigned i = 0; i < 500; i++) {
        peer_add(peer, "APPEND %s x", i % 3 == 0 ? near : far);
        peer_add(peer, "STRLEN %s", i % 3 == 0 ? near : far);
        peer_add(peer, "MGET %s %s", near, far);
        peer_add(peer, "GET %s", near);
        peer_add(peer, "GET %s", far);
    }
    peer_flush(peer);
    for (size_t i = 0; i < 500; i++) {
        size_t nears = i / 3 + 1, fars = i + 1 - nears;
        size_t len = i % 3 == 0 ? nears : fars;
        cr_assert_eq(peer_number(peer), (int64_t)len);
        cr_assert_eq(peer_number(peer), (int64_t)len);
        struct answer both = peer_answer(peer);
        cr_assert_eq(both.count, 2);
        cr_assert_eq(both.items[0].len_bytes, nears);
        cr_assert_eq(both.items[1].len_bytes, fars);
        answer_free(&both);
        struct answer value = peer_answer(peer);
        cr_assert_eq(value.len_bytes, nears);
        answer_free(&value);
        value = peer_answer(peer);
        cr_assert_eq(value.len_bytes, fars);
        answer_free(&value);
    }
}

/* More arguments than the batch has room for, with commands before and behind in the same bytes. */
Test(batch, commands_with_very_many_arguments)
{
    enum { KEYS = 5000 };
    char names[KEYS][16];
    const char *words[1 + 2 * KEYS] = {"MSET"};

    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof names[i], "many%u", i);
        words[1 + 2 * i] = words[2 + 2 * i] = names[i];
    }
    peer_add(peer, "PING");
    peer_add_words(peer, 1 + 2 * KEYS, words);
    peer_add(peer, "GET many17");
    words[0] = "MGET";
    for (unsigned i = 0; i < KEYS; i++)
        words[1 + i] = names[i];
    peer_add_words(peer, 1 + KEYS, words);
    peer_add(peer, "GET many4999");
    peer_flush(peer);
    expect_status("PONG");
    expect_status("OK");
    expect_status("many17");
    struct answer all = peer_answer(peer);
    cr_assert_eq(all.count, KEYS);
    for (unsigned i = 0; i < KEYS; i++)
        cr_assert(answer_is(&all.items[i], names[i]));
    answer_free(&all);
    expect_status("many4999");
}

/* All of it comes in one piece, more than runs in two turns; the end in the next. */
Test(batch, the_end_behind_a_long_pipeline_waits_for_its_answers)
{
    enum { COMMANDS = PIPE_PIECE_BYTES / 6 };

    for (unsigned i = 0; i < COMMANDS; i++)
        peer_add_raw(peer, "PING\r\n", 6);
    peer_flush(peer);
    pipe_end(peer->pipe);
    for (unsigned i = 0; i < COMMANDS; i++)
        expect_status("PONG");
    cr_assert(peer_got(peer, "") && peer->closed);
}

Test(batch, the_end_behind_a_command_that_travels_waits_for_its_answer)
{
    peer_add(peer, "SET %s 1", far);
    peer_add(peer, "INCR %s", far);
    peer_add_raw(peer, "PI", 2); /* cut off: there is no answer to that */
    peer_flush(peer);
    pipe_end(peer->pipe);
    cr_assert(peer_got(peer, "+OK\r\n:2\r\n") && peer->closed);
}

Test(batch, a_malformed_request_behind_a_command_that_travels)
{
    peer_add(peer, "SET %s 1", far);
    peer_add_raw(peer, "*2\r\n$3\r\nGET\r\n+\r\n", 17);
    peer_flush(peer);
    cr_assert(peer_got(peer, "+OK\r\n-ERR Protocol error: expected '$', got '+'\r\n"));
    cr_assert(peer->closed);
}

/* Sends as much as worker 0 takes while worker 1 has no turn. */
static size_t send_meanwhile(const char *bytes, size_t len_bytes)
{
    size_t sent = 0;
    ssize_t taken;

    while ((taken = pipe_send(peer->pipe, bytes + sent, len_bytes - sent, 0)) > 0) {
        sent += (size_t)taken;
        for (unsigned i = 0; i < PIPE_IN_BYTES / PIPE_PIECE_BYTES; i++)
            harness_turn(h, 0);
    }
    return sent;
}

static void send_rest(const char *bytes, size_t len_bytes)
{
    while (len_bytes > 0) {
        harness_idle(h);
        ssize_t taken = pipe_send(peer->pipe, bytes, len_bytes, 0);
        cr_assert(taken > 0, "reading has stopped with %zu bytes to go", len_bytes);
        bytes += taken;
        len_bytes -= (size_t)taken;
    }
}

/* While a job is out not everything is read; when it is back, the rest of a command that has begun
 * to arrive must be. */
Test(batch, a_large_value_behind_a_command_that_travels)
{
    enum { VALUE_BYTES = 3 * 1024 * 1024 };
    char *bytes = malloc(VALUE_BYTES + 256);
    int len = snprintf(bytes, 256, "SET %s 1\r\n*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n", far,
                       VALUE_BYTES);

    memset(bytes + len, 'v', VALUE_BYTES);
    memcpy(bytes + len + VALUE_BYTES, "\r\n", 2);
    size_t all = (size_t)len + VALUE_BYTES + 2;
    size_t sent = send_meanwhile(bytes, all);
    cr_assert(sent < all, "everything was read while a job was out");
    send_rest(bytes + sent, all - sent);
    cr_assert(peer_got(peer, "+OK\r\n+OK\r\n"));
    free(bytes);
}

/* The same with many short commands: the last of them has come only in part. */
Test(batch, much_input_behind_a_command_that_travels)
{
    enum { COMMANDS = 1200, VALUE_BYTES = 1000 };
    char *bytes = malloc(COMMANDS * (VALUE_BYTES + 32)), value[VALUE_BYTES + 1];
    size_t all = (size_t)sprintf(bytes, "SET %s 1\r\n", far);

    memset(value, 'v', VALUE_BYTES);
    value[VALUE_BYTES] = '\0';
    for (unsigned i = 0; i < COMMANDS - 1; i++)
        all += (size_t)sprintf(bytes + all, "PING %s\r\n", value);
    size_t sent = send_meanwhile(bytes, all);
    send_rest(bytes + sent, all - sent);
    expect_status("OK");
    for (unsigned i = 0; i < COMMANDS - 1; i++)
        expect_status(value);
    free(bytes);
}

/* Unsent output stops parsing, and nothing is lost of what waits. */
Test(batch, a_peer_that_does_not_read_is_not_served_until_it_does)
{
    enum { VALUE_BYTES = 1 << 20, GETS = 500 };
    char *value = malloc(VALUE_BYTES + 1);
    const char *words[] = {"SET", near, value};

    memset(value, 'v', VALUE_BYTES);
    value[VALUE_BYTES] = '\0';
    peer_add_words(peer, 3, words);
    for (unsigned i = 0; i < GETS; i++)
        peer_add(peer, "GET %s", near);
    peer_add(peer, "PING");
    peer_flush(peer);
    harness_idle(h);
    cr_assert_leq(h->node->workers[0]->clients->first->conn->pending_bytes,
                  (uint64_t)OUTPUT_NODE_BYTES / h->node->worker_count + 2 * VALUE_BYTES);
    expect_status("OK");
    for (unsigned i = 0; i < GETS; i++) {
        struct answer answer = peer_answer(peer);
        cr_assert_eq(answer.len_bytes, VALUE_BYTES);
        answer_free(&answer);
    }
    expect_status("PONG");
    free(value);
}

/* Jobs of a burst come home halfway, with the replies that they have; the order stays. */
Test(batch, bursts_of_large_replies_are_cut_and_keep_their_order)
{
    enum { VALUE_BYTES = 300000, ROUNDS = 4, GETS = 60 };
    char *value = malloc(VALUE_BYTES + 1);

    value[VALUE_BYTES] = '\0';
    memset(value, 'n', VALUE_BYTES);
    peer_add_words(peer, 3, (const char *[]){"SET", near, value});
    memset(value, 'f', VALUE_BYTES);
    peer_add_words(peer, 3, (const char *[]){"SET", far, value});
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < GETS; i++) /* reads of two owners, then of one, with a write */
            peer_add(peer, "GET %s", round % 2 == 1 || i % 3 == 0 ? far : near);
        peer_add(peer, "APPEND %s x", far);
    }
    peer_flush(peer);
    harness_idle(h);
    expect_status("OK");
    expect_status("OK");
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < GETS; i++) {
            bool is_far = round % 2 == 1 || i % 3 == 0;
            struct answer answer = peer_answer(peer);
            cr_assert_eq(answer.len_bytes, VALUE_BYTES + (is_far ? round : 0));
            cr_assert_eq(answer.text[0], is_far ? 'f' : 'n');
            answer_free(&answer);
        }
        struct answer answer = peer_answer(peer);
        cr_assert_eq(answer.integer, VALUE_BYTES + round + 1);
        answer_free(&answer);
    }
    cr_assert_null(h->node->workers[0]->clients->first->parked);
    free(value);
}

Test(batch, a_reply_without_memory_closes_the_connection)
{
    pipes_starve(h->node->workers[0]->stream, 0, 1);
    struct peer *starved = peer_create(h, 0);

    starved->may_be_closed = true;
    peer_add(starved, "PING");
    peer_add(starved, "PING");
    peer_flush(starved);
    cr_assert(peer_got(starved, "") && starved->closed);
    peer_close(starved);
}

Test(batch, a_reply_that_travels_without_memory_closes_the_connection)
{
    pipes_starve(h->node->workers[0]->stream, 0, 1);
    struct peer *starved = peer_create(h, 0);

    starved->may_be_closed = true;
    peer_add(starved, "GET %s", far);
    peer_flush(starved);
    cr_assert(peer_got(starved, "") && starved->closed);
    peer_close(starved);
}

/* The first command of a round that cannot run takes those of earlier rounds not with it. */
Test(batch, a_pause_behind_a_full_batch_runs_nothing_twice)
{
    struct peer *other = peer_create(h, 0);

    for (unsigned i = 0; i < BATCH_COMMANDS_MAX - 1; i++)
        peer_add(peer, "INCR %s", near);
    peer_add(peer, "CLIENT PAUSE 1000000 ALL");
    peer_add(peer, "INCR %s", near);
    peer_add(peer, "PING");
    peer_flush(peer);
    for (int i = 0; i < BATCH_COMMANDS_MAX - 1; i++)
        cr_assert_eq(peer_number(peer), i + 1);
    cr_assert(peer_got(peer, "+OK\r\n"));
    peer_send(other, "CLIENT UNPAUSE");
    cr_assert(peer_got(peer, ":64\r\n+PONG\r\n"));
    peer_close(other);
}

/* Many connections may go on at one moment: each has its turn, but not all in the same one. */
Test(batch, the_end_of_a_pause_does_not_serve_everybody_in_one_turn)
{
    enum { WAITING = 300, COMMANDS = 1000 };
    struct peer *waiting[WAITING];
    uint64_t longest = 0; /* turn, in commands */

    peer_send(peer, "CLIENT PAUSE 1000000");
    cr_assert(peer_got(peer, "+OK\r\n"));
    for (unsigned i = 0; i < WAITING; i++) {
        waiting[i] = peer_create(h, 0);
        for (unsigned k = 0; k < COMMANDS; k++)
            peer_add_raw(waiting[i], "PING\r\n", 6);
        peer_flush(waiting[i]);
    }
    harness_idle(h);
    peer_send(peer, "CLIENT UNPAUSE");
    uint64_t first = count_get(&h->node->workers[0]->stats.commands);
    for (bool any = true; any;) {
        uint64_t before = count_get(&h->node->workers[0]->stats.commands);
        any = harness_turn(h, 0);
        uint64_t commands = count_get(&h->node->workers[0]->stats.commands) - before;
        longest = commands > longest ? commands : longest;
    }
    cr_assert_eq(count_get(&h->node->workers[0]->stats.commands) - first, WAITING * COMMANDS + 1);
    cr_assert_leq(longest, 100 * COMMANDS);
    for (unsigned i = 0; i < WAITING; i++)
        peer_close(waiting[i]);
}

/* A worker that is kept busy by others' mail still serves its own connections, and does not collect
 * what it cannot serve. */
Test(batch, long_turns_slow_connections_down_and_do_not_stop_them)
{
    enum { COMMANDS = 40000, INPUT_MAX_BYTES = 2 << 20 };
    static const char ping[] = "*2\r\n$4\r\nPING\r\n$60\r\n"
                               "012345678901234567890123456789012345678901234567890123456789\r\n";
    struct client *client;

    h->long_turns = true;
    peer_send(peer, "PING");
    cr_assert(peer_got(peer, "+PONG\r\n"));
    client = h->node->workers[0]->clients->first;
    for (unsigned i = 0; i < COMMANDS; i++)
        peer_add_raw(peer, ping, sizeof ping - 1);
    size_t sent = 0, received = 0, expected = COMMANDS * (sizeof "$60\r\n\r\n" - 1 + 60);
    for (unsigned turn = 0; received < expected; turn++) {
        char answers[PIPE_OUT_BYTES];
        sent += (size_t)pipe_send(peer->pipe, peer->out + sent, peer->out_len - sent, 0);
        harness_turn(h, 0);
        ssize_t got = pipe_receive(peer->pipe, answers, sizeof answers, 0);
        received += got > 0 ? (size_t)got : 0;
        cr_assert_leq(client_input_len(client), INPUT_MAX_BYTES);
        cr_assert_lt(turn, COMMANDS);
    }
    cr_assert_eq(sent, peer->out_len);
    peer->out_len = 0;
}

/* Connections without a command in progress share a parser: what one leaves half sent or wrong is
 * its own, and gone with the command. */
Test(batch, half_commands_of_several_connections_do_not_mix)
{
    static const char many[] = "*20\r\n$3\r\nDEL\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n"
                               "$1\r\n5\r\n$1\r\n6\r\n$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n$1\r\n0\r\n"
                               "$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n"
                               "$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n";
    static const char ping[] = "*2\r\n$4\r\nPING\r\n$5\r\nother\r\n";
    struct peer *other = peer_create(h, 0), *wrong = peer_create(h, 0);
    size_t sent[2] = {0};

    while (sent[0] < sizeof many - 1) {
        size_t part = sizeof many - 1 - sent[0] < 7 ? sizeof many - 1 - sent[0] : 7;
        peer_add_raw(peer, many + sent[0], part);
        sent[0] += part;
        part = sizeof ping - 1 - sent[1] < 3 ? sizeof ping - 1 - sent[1] : 3;
        peer_add_raw(other, ping + sent[1], part);
        sent[1] = (sent[1] + part) % (sizeof ping - 1);
        peer_flush(peer);
        peer_flush(other);
        harness_idle(h);
    }
    cr_assert_eq(peer_number(peer), 0);
    peer_add_raw(peer, "*1\r\n$4\r\nPI", 10);
    peer_add_raw(wrong, "*1\r\n+", 5);
    peer_flush(peer);
    peer_add_raw(wrong, "x\r\n", 3);
    peer_flush(wrong);
    harness_idle(h);
    cr_assert(peer_got(wrong, "-ERR Protocol error: expected '$', got '+'\r\n"));
    peer_add_raw(peer, "NG\r\n", 4);
    peer_flush(peer);
    expect_status("PONG");
    peer_close(other);
    peer_close(wrong);
}

/* What an idle connection costs is struct client and its address. */
Test(batch, an_idle_connection_has_no_blocks)
{
    const struct client *client;

    peer_send(peer, "PING");
    expect_status("PONG");
    client = h->node->workers[0]->clients->first;
    peer_add_raw(peer, "*1\r\n$4\r\nPI", 10);
    peer_flush(peer);
    harness_idle(h);
    cr_assert_not_null(client->input);
    peer_add_raw(peer, "NG\r\n", 4);
    peer_flush(peer);
    expect_status("PONG");
    cr_assert_null(client->input);
    cr_assert_null(client->extra);
    peer_send(peer, "CLIENT SETNAME me");
    expect_status("OK");
    cr_assert_not_null(client->extra);
}

static uint64_t memory_of_clients(const struct worker *worker)
{
    uint64_t bytes = 0;

    for (const struct client *at = worker->clients->first; at != NULL; at = at->next)
        bytes += client_memory_bytes(at);
    return bytes;
}

/* The second ends the round that the first began. */
static uint64_t memory_counted(struct worker *worker)
{
    clients_cron(worker);
    clients_cron(worker);
    return count_get(&worker->stats.client_bytes);
}

/* Idle connections are not looked at, and yet in the sum. */
Test(batch, the_cron_counts_idle_connections_without_a_look)
{
    struct worker *worker = h->node->workers[0];
    struct peer *other = peer_create(h, 0);
    struct client *client;

    peer_send(other, "CLIENT SETNAME other");
    peer_skip(other);
    peer_send(peer, "PING");
    expect_status("PONG");
    client = worker->clients->first;
    cr_assert_eq(memory_counted(worker), memory_of_clients(worker));
    for (struct client *at = client; at != NULL; at = at->next)
        cr_assert_eq(at->flags & CLIENT_TOUCHED, 0);
    peer_add_raw(peer, "*1\r\n$4\r\nPI", 10);
    peer_flush(peer);
    harness_idle(h);
    uint64_t idle = client_idle_bytes(client);
    cr_assert_gt(client_memory_bytes(client), idle);
    cr_assert_eq(memory_counted(worker), memory_of_clients(worker));
    cr_assert_eq(memory_counted(worker), memory_of_clients(worker), "looked at once only");
    cr_assert_gt(count_get(&worker->stats.client_input_max_bytes), 0);
    peer_add_raw(peer, "NG\r\n", 4);
    peer_flush(peer);
    expect_status("PONG");
    cr_assert_eq(memory_counted(worker), memory_of_clients(worker));
    peer_close(other);
    harness_idle(h);
    cr_assert_eq(memory_counted(worker), memory_of_clients(worker));
}

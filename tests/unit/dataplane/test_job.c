#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/client/client.h"
#include "dataplane/commands/command.h"
#include "dataplane/slots/crc16.h"
#include "dataplane/slots/move.h"
#include "dataplane/store/wheel.h"
#include "tests/stress/harness.h"

/* Four workers turned by hand: who holds what, and whose mail comes first, is the test's. */
enum { WORKERS = 4 };

static struct harness *h;
static struct peer *peers[WORKERS]; /* one at each worker */
static char keys[WORKERS][16];      /* one of each worker */
static char more[WORKERS][16];      /* and another, in another slot */

static void start(void)
{
    h = harness_create(&(struct harness_options){.workers = WORKERS});
    for (unsigned i = 0; i < WORKERS; i++) {
        peers[i] = peer_create(h, i);
        harness_name(h, i, 0, keys[i]);
        harness_name(h, i, 1, more[i]);
    }
    harness_idle(h);
}

static void stop(void)
{
    for (unsigned i = 0; i < WORKERS; i++)
        peer_close(peers[i]);
    harness_stop(h);
    cr_assert(harness_check(h));
    harness_destroy(h);
}

TestSuite(job, .init = start, .fini = stop);

static uint64_t count(unsigned worker, size_t statistic)
{
    return count_get((_Atomic uint64_t *)((char *)&h->node->workers[worker]->stats + statistic));
}

#define COUNT(worker, name) count(worker, offsetof(struct worker_stats, name))

static uint16_t slot_of(const char *key)
{
    return crc16_slot(key, strlen(key));
}

/* What has come in so far, without any worker having a turn. */
static bool has_answer(struct peer *peer)
{
    return peer_has_answer(peer);
}

static void set_all(void)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        peer_send(peers[i], "MSET %s %u %s %u", keys[i], i, more[i], 10 + i);
        cr_assert(peer_got(peers[i], "+OK\r\n"));
    }
}

/* ---- who executes ---- */

Test(job, one_owner_elsewhere_executes)
{
    peer_send(peers[0], "SET %s value", keys[2]);
    cr_assert(peer_got(peers[0], "+OK\r\n"));
    cr_assert_eq(COUNT(2, forwarded_in), 1);
    cr_assert_eq(COUNT(2, commands), 1);
    cr_assert_eq(COUNT(0, client_queries_hops), 1);
    for (unsigned i = 0; i < WORKERS; i++)
        cr_assert_eq(COUNT(i, loans_granted), 0);
}

/* Two mails instead of three: the home's slots travel with the job. */
Test(job, of_two_owners_the_one_that_is_not_home_executes)
{
    peer_send(peers[0], "MSET %s 1 %s 2 %s 3", keys[0], more[0], keys[1]);
    harness_turn(h, 0);
    cr_assert(slots_busy(h->node->workers[0], slot_of(keys[0])));
    cr_assert(slots_busy(h->node->workers[0], slot_of(more[0])));
    cr_assert(peer_got(peers[0], "+OK\r\n"));
    cr_assert_eq(COUNT(1, forwarded_in), 1);
    cr_assert_eq(COUNT(1, commands), 1);
    cr_assert_eq(COUNT(0, loans_granted), 0);
    cr_assert_not(queues_any_busy(h->node->workers[0]));
}

Test(job, the_owner_of_most_keys_executes)
{
    peer_send(peers[0], "MSET %s 1 %s 2 %s 3 %s 4", keys[0], keys[1], more[1], keys[3]);
    cr_assert(peer_got(peers[0], "+OK\r\n"));
    cr_assert_eq(COUNT(1, commands), 1);
    cr_assert_eq(COUNT(1, loans_taken), 2);
    cr_assert_eq(COUNT(3, loans_granted), 1);
    peer_send(peers[2], "MGET %s %s %s %s", keys[0], keys[1], more[1], keys[3]);
    cr_assert(peer_got(peers[2], "*4\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n"));
}

Test(job, a_key_named_twice_is_one_slot)
{
    peer_send(peers[0], "MSET %s 1 %s 2 %s 3", keys[1], keys[2], keys[1]);
    cr_assert(peer_got(peers[0], "+OK\r\n"));
    peer_send(peers[0], "MGET %s %s %s", keys[1], keys[2], keys[1]);
    cr_assert(peer_got(peers[0], "*3\r\n$1\r\n3\r\n$1\r\n2\r\n$1\r\n3\r\n"));
}

/* ---- what is lent ---- */

Test(job, a_command_on_a_lent_slot_waits_and_others_do_not)
{
    set_all();
    peer_send(peers[0], "MSET %s x %s y", keys[0], keys[1]);
    harness_turn(h, 0); /* keys[0] travels */
    struct peer *other = peer_create(h, 0);
    peer_add(other, "GET %s", more[0]);
    peer_add(other, "GET %s", keys[0]);
    peer_add(other, "GET %s", more[0]);
    peer_flush(other);
    harness_turn(h, 0); /* accepted */
    harness_turn(h, 0);
    harness_turn(h, 0);
    cr_assert(has_answer(other));
    struct answer answer = peer_answer(other);
    cr_assert(answer_is(&answer, "10"));
    answer_free(&answer);
    cr_assert_not(has_answer(other));
    cr_assert(peer_got(other, "$1\r\nx\r\n$2\r\n10\r\n"));
    cr_assert(peer_got(peers[0], "+OK\r\n"));
    peer_close(other);
}

/* The first round is refused where a slot is busy; the second stands in line. */
Test(job, a_refused_job_gets_its_slots_in_a_second_round)
{
    set_all();
    peer_send(peers[0], "MSET %s a %s b", keys[0], keys[3]); /* keys[0] is away for a while */
    harness_turn(h, 0);
    peer_send(peers[1], "MSET %s c %s d %s e", keys[1], more[1], keys[0]);
    harness_turn(h, 1); /* asks worker 0 with the job: it executes itself */
    harness_turn(h, 0);
    harness_turn(h, 1);
    harness_turn(h, 0);
    harness_turn(h, 1);
    cr_assert_not(has_answer(peers[1]));
    harness_idle(h);
    cr_assert(peer_got(peers[0], "+OK\r\n"));
    cr_assert(peer_got(peers[1], "+OK\r\n"));
    peer_send(peers[2], "MGET %s %s %s", keys[0], keys[1], keys[3]);
    cr_assert(peer_got(peers[2], "*3\r\n$1\r\ne\r\n$1\r\nc\r\n$1\r\nb\r\n"));
    uint64_t second = 0;
    for (unsigned i = 0; i < WORKERS; i++)
        second += COUNT(i, loan_second_rounds);
    cr_assert_geq(second, 1);
}

Test(job, jobs_that_overlap_everywhere_all_end)
{
    enum { JOBS = 12 };
    struct peer *many[JOBS];

    set_all();
    for (unsigned i = 0; i < JOBS; i++) {
        many[i] = peer_create(h, i % WORKERS);
        peer_add(many[i], "MULTI");
        for (unsigned k = 0; k < WORKERS; k++)
            peer_add(many[i], "INCR %s", keys[(i + k) % WORKERS]);
        peer_add(many[i], "EXEC");
        peer_flush(many[i]);
    }
    harness_idle(h);
    for (unsigned i = 0; i < JOBS; i++) {
        for (unsigned k = 0; k < WORKERS + 1; k++)
            peer_skip(many[i]);
        struct answer answer = peer_answer(many[i]);
        cr_assert_eq(answer.count, WORKERS);
        answer_free(&answer);
        peer_close(many[i]);
    }
    peer_send(peers[0], "MGET %s %s %s %s", keys[0], keys[1], keys[2], keys[3]);
    cr_assert(peer_got(peers[0], "*4\r\n$2\r\n12\r\n$2\r\n13\r\n$2\r\n14\r\n$2\r\n15\r\n"));
}

/* However many wait for one slot: a long turn serves a few, and goes on in the next. */
Test(job, a_crowd_that_waits_for_a_slot_is_served_in_several_turns)
{
    enum { CROWD = 300 };
    struct peer *crowd[CROWD];
    uint64_t longest = 0;

    for (unsigned i = 0; i < CROWD; i++)
        crowd[i] = peer_create(h, 0);
    harness_idle(h);
    peer_send(peers[0], "MSET %s 0 %s 0", keys[0], keys[1]);
    harness_turn(h, 0);
    for (unsigned i = 0; i < CROWD; i++)
        peer_send(crowd[i], "INCR %s", keys[0]);
    for (unsigned i = 0; i < 2 * CROWD / STREAM_EVENTS_MAX; i++)
        harness_turn(h, 0);
    harness_turn(h, 1);
    h->long_turns = true;
    for (bool any = true; any;) {
        uint64_t before = COUNT(0, commands);
        any = harness_turn(h, 0);
        longest = COUNT(0, commands) - before > longest ? COUNT(0, commands) - before : longest;
    }
    h->long_turns = false;
    cr_assert_leq(longest, 100);
    cr_assert(peer_got(peers[0], "+OK\r\n"));
    for (unsigned i = 0; i < CROWD; i++)
        peer_close(crowd[i]);
    peer_send(peers[1], "GET %s", keys[0]);
    cr_assert(peer_got(peers[1], "$3\r\n300\r\n"));
}

/* Deadlines that are set on borrowed slots get their tickets at the owner. */
Test(job, tickets_return_with_a_loan)
{
    set_all();
    h->now_unix_ms = h->node->workers[0]->now_unix_ms;
    peer_add(peers[0], "MULTI");
    for (unsigned i = 0; i < WORKERS; i++)
        peer_add(peers[0], "PEXPIRE %s 100", keys[i]);
    peer_add(peers[0], "EXEC");
    peer_flush(peers[0]);
    cr_assert(peer_got(peers[0], "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n"
                                 "*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n"));
    cr_assert_eq(harness_keys(h), 2 * WORKERS);
    h->now_unix_ms += 100 + 2 * WHEEL_TICK_MS;
    harness_idle(h);
    cr_assert_eq(harness_keys(h), WORKERS);
    cr_assert_eq(harness_expires(h), 0);
}

/* ---- slots that move meanwhile ---- */

static void move(unsigned from, const char *key, unsigned to)
{
    cr_assert_eq(slot_move(h->node->workers[from], slot_of(key), to), 0);
}

Test(job, a_job_on_its_way_follows_a_slot_that_moves)
{
    set_all();
    peer_send(peers[0], "GET %s", keys[1]);
    harness_turn(h, 0);
    move(1, keys[1], 2);
    harness_turn(h, 1); /* sends it home */
    cr_assert(peer_got(peers[0], "$1\r\n1\r\n"));
    cr_assert_eq(COUNT(2, forwarded_in), 1);
}

Test(job, a_given_home_part_comes_back_when_the_other_slot_has_moved)
{
    set_all();
    peer_send(peers[0], "MSET %s a %s b", keys[0], keys[1]);
    harness_turn(h, 0);
    move(1, keys[1], 3);
    cr_assert(peer_got(peers[0], "+OK\r\n"));
    cr_assert_not(queues_any_busy(h->node->workers[0]));
    peer_send(peers[0], "MGET %s %s", keys[0], keys[1]);
    cr_assert(peer_got(peers[0], "*2\r\n$1\r\na\r\n$1\r\nb\r\n"));
}

Test(job, a_part_that_waits_in_line_is_refused_when_its_slot_has_moved)
{
    set_all();
    peer_send(peers[1], "MSET %s a %s b", keys[1], keys[2]); /* lends keys[1] to worker 2 */
    harness_turn(h, 1);
    struct peer *mover = peer_create(h, 1), *waits = peer_create(h, 1);
    peer_send(mover, "POLLUX MOVE-SLOT %u 3", slot_of(keys[1]));
    peer_send(waits, "APPEND %s c", keys[1]);
    harness_turn(h, 1); /* both stand in line, in some order */
    harness_turn(h, 1);
    harness_turn(h, 1);
    cr_assert_not(has_answer(mover));
    cr_assert_not(has_answer(waits));
    cr_assert(peer_got(mover, "+OK\r\n"));
    cr_assert(peer_got(waits, ":2\r\n"));
    cr_assert_eq(node_owner(h->node, slot_of(keys[1])), 3);
    peer_send(peers[0], "GET %s", keys[1]);
    cr_assert(peer_got(peers[0], "$2\r\nac\r\n"));
    peer_close(mover);
    peer_close(waits);
}

/* ---- all slots at once ---- */

/* The whole loan of FLUSHDB is out; what looks at the database as a whole waits for it. */
Test(job, nobody_sees_a_transaction_over_all_slots_halfway)
{
    static const char *const lines[] = {"DBSIZE", "KEYS *", "SCAN 0 COUNT 1000", "RANDOMKEY"};
    struct peer *others[4];

    set_all();
    peer_add(peers[1], "MULTI");
    peer_add(peers[1], "FLUSHDB");
    peer_add(peers[1], "SET %s again", keys[3]);
    peer_add(peers[1], "EXEC");
    peer_flush(peers[1]);
    for (unsigned i = 0; i < 4; i++)
        others[i] = peer_create(h, 0);
    harness_turn(h, 0);
    /* Worker 1 asks all; worker 0 grants; worker 1 has not heard from worker 3 yet. */
    harness_turn(h, 1);
    harness_turn(h, 0);
    cr_assert(h->node->workers[0]->queues->whole_held);
    for (unsigned i = 0; i < 4; i++)
        peer_send(others[i], "%s", lines[i]);
    /* As the coordinator would see it in the midst of its commands. */
    struct keyspace *keyspace = keyspace_get(h->node, 0);
    atomic_store(&h->node->keyspaces[0], NULL);
    for (unsigned i = 0; i < 4; i++)
        harness_turn(h, 0);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_not(has_answer(others[i]), "%s", lines[i]);
    atomic_store(&h->node->keyspaces[0], keyspace);
    harness_idle(h);
    char key[64];
    snprintf(key, sizeof key, "$%zu\r\n%s\r\n", strlen(keys[3]), keys[3]);
    cr_assert(peer_got(others[0], ":1\r\n"));
    char expected[128];
    snprintf(expected, sizeof expected, "*1\r\n%s", key);
    cr_assert(peer_got(others[1], expected));
    cr_assert(peer_got(others[3], key));
    struct answer scan = peer_answer(others[2]);
    cr_assert_eq(scan.items[1].count, 1);
    answer_free(&scan);
    for (unsigned i = 0; i < WORKERS; i++)
        peer_skip(peers[1]);
    for (unsigned i = 0; i < 4; i++)
        peer_close(others[i]);
}

Test(job, exchanges_of_whole_databases_follow_each_other)
{
    set_all();
    for (unsigned i = 0; i < WORKERS; i++)
        peer_send(peers[i], "SWAPDB 0 1");
    harness_idle(h);
    for (unsigned i = 0; i < WORKERS; i++)
        cr_assert(peer_got(peers[i], "+OK\r\n"));
    peer_send(peers[0], "DBSIZE");
    cr_assert(peer_got(peers[0], ":8\r\n"));
}

Test(job, walks_pass_through_all_owners)
{
    set_all();
    peer_send(peers[2], "KEYS *");
    struct answer answer = peer_answer(peers[2]);
    cr_assert_eq(answer.count, 2 * WORKERS);
    answer_free(&answer);
}

Test(job, gathers_ask_every_worker)
{
    peer_send(peers[3], "POLLUX SLOTS");
    struct answer answer = peer_answer(peers[3]);
    cr_assert_eq(answer.count, WORKERS);
    answer_free(&answer);
    peer_add(peers[3], "MULTI"); /* and while slots of others are borrowed */
    peer_add(peers[3], "MSET %s 1 %s 2", keys[0], keys[1]);
    peer_add(peers[3], "CLIENT LIST");
    peer_add(peers[3], "EXEC");
    peer_flush(peers[3]);
    for (unsigned i = 0; i < 3; i++)
        peer_skip(peers[3]);
    answer = peer_answer(peers[3]);
    cr_assert_eq(answer.count, 2);
    unsigned lines = 0;
    for (size_t i = 0; i < answer.items[1].len_bytes; i++)
        lines += answer.items[1].text[i] == '\n';
    cr_assert_eq(lines, WORKERS);
    answer_free(&answer);
}

/* ---- without memory ---- */

Test(job, a_refused_burst_answers_each_of_its_commands)
{
    enum { COMMANDS = 60 };
    struct worker *worker = h->node->workers[0];
    struct session session = {.resp = 2};
    struct text argv[2] = {{"GET", 3}, {"key", 3}};
    struct job_command commands[COMMANDS];

    for (unsigned i = 0; i < COMMANDS; i++)
        commands[i] = (struct job_command){.command = command_find(h->node->commands, argv[0]),
                                           .argv = argv,
                                           .argc = 2};
    struct job *job = job_create(worker, JOB_COMMANDS, &session, commands, COMMANDS, NULL, 0);
    job_refuse(job, "-OOM nothing left");
    uint64_t bytes = 0;
    for (unsigned i = 0; i < COMMANDS; i++) {
        cr_assert_eq(job->commands[i].reply_bytes, strlen("-OOM nothing left\r\n"));
        bytes += job->commands[i].reply_bytes;
    }
    cr_assert_eq(job->reply.total_bytes, bytes);
    job_destroy(job);
}

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/client/client.h"
#include "dataplane/slots/crc16.h"
#include "tests/stress/harness.h"

enum { WORKERS = 3 };

static struct harness *h;
static struct peer *peer, *other; /* at worker 0, and at worker 1 */
static char near[16], far[16], third[16];

static void start(void)
{
    h = harness_create(&(struct harness_options){.workers = WORKERS});
    peer = peer_create(h, 0);
    other = peer_create(h, 1);
    harness_name(h, 0, 0, near);
    harness_name(h, 1, 0, far);
    harness_name(h, 2, 0, third);
    harness_idle(h);
}

static void stop(void)
{
    peer_close(peer);
    peer_close(other);
    harness_stop(h);
    cr_assert(harness_check(h));
    harness_destroy(h);
}

TestSuite(transaction, .init = start, .fini = stop);

static uint32_t records(void)
{
    return atomic_load(&h->node->watch_count);
}

Test(transaction, runs_on_borrowed_slots_as_one)
{
    peer_add(peer, "MULTI");
    peer_add(peer, "SET %s 1", near);
    peer_add(peer, "INCRBY %s 41", far);
    peer_add(peer, "GET %s", third);
    peer_add(peer, "INCR %s", far);
    peer_add(peer, "EXEC");
    peer_flush(peer);
    cr_assert(peer_got(peer, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n"
                             "*4\r\n+OK\r\n:41\r\n$-1\r\n:42\r\n"));
}

Test(transaction, an_empty_one_is_an_empty_array)
{
    peer_add(peer, "MULTI");
    peer_add(peer, "EXEC");
    peer_add(peer, "EXEC");
    peer_flush(peer);
    cr_assert(peer_got(peer, "+OK\r\n*0\r\n-ERR EXEC without MULTI\r\n"));
}

Test(transaction, errors_while_queueing_spoil_it)
{
    peer_add(peer, "WATCH %s %s", near, far);
    peer_add(peer, "MULTI");
    peer_add(peer, "SET %s", near);
    peer_add(peer, "SET %s 1", near);
    peer_add(peer, "EXEC");
    peer_add(peer, "EXISTS %s", near);
    peer_flush(peer);
    cr_assert(peer_got(peer,
                       "+OK\r\n+OK\r\n-ERR wrong number of arguments for 'set' command\r\n"
                       "+QUEUED\r\n-EXECABORT Transaction discarded because of previous errors.\r\n"
                       ":0\r\n"));
    cr_assert_eq(records(), 0);
}

Test(transaction, a_database_selected_inside_stays_selected)
{
    peer_add(peer, "MULTI");
    peer_add(peer, "SELECT 5");
    peer_add(peer, "SET %s five", far);
    peer_add(peer, "EXEC");
    peer_add(peer, "GET %s", far);
    peer_add(peer, "SELECT 0");
    peer_add(peer, "GET %s", far);
    peer_flush(peer);
    cr_assert(peer_got(peer, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n"
                             "$4\r\nfive\r\n+OK\r\n$-1\r\n"));
}

Test(transaction, a_watched_key_that_another_connection_changes_stops_it)
{
    peer_send(peer, "WATCH %s %s", near, far);
    cr_assert(peer_got(peer, "+OK\r\n"));
    cr_assert_eq(records(), 2);
    peer_send(other, "SET %s changed", far);
    cr_assert(peer_got(other, "+OK\r\n"));
    peer_add(peer, "MULTI");
    peer_add(peer, "SET %s mine", near);
    peer_add(peer, "EXEC");
    peer_add(peer, "GET %s", near);
    peer_flush(peer);
    cr_assert(peer_got(peer, "+OK\r\n+QUEUED\r\n*-1\r\n$-1\r\n"));
    cr_assert_eq(records(), 0);
    peer_add(peer, "MULTI"); /* the watches are gone */
    peer_add(peer, "PING");
    peer_add(peer, "EXEC");
    peer_flush(peer);
    cr_assert(peer_got(peer, "+OK\r\n+QUEUED\r\n*1\r\n+PONG\r\n"));
}

/* The change is made after EXEC has been sent, and before the transaction has its slots. */
Test(transaction, a_change_on_the_way_stops_it_too)
{
    peer_send(peer, "WATCH %s %s %s", near, far, third);
    cr_assert(peer_got(peer, "+OK\r\n"));
    peer_add(peer, "MULTI");
    peer_add(peer, "SET %s mine", near);
    peer_add(peer, "EXEC");
    peer_flush(peer);
    harness_turn(h, 0); /* the job is out */
    peer_send(other, "SET %s changed", far);
    struct answer answer;
    harness_idle(h);
    peer_skip(peer);
    peer_skip(peer);
    answer = peer_answer(peer);
    peer_skip(other);
    peer_send(peer, "GET %s", near);
    struct answer value = peer_answer(peer);
    /* Either order is right, a mixture is not. */
    cr_assert((answer.type == '_') == (value.type == '_'));
    answer_free(&answer);
    answer_free(&value);
    cr_assert_eq(records(), 0);
}

Test(transaction, own_changes_count)
{
    peer_add(peer, "WATCH %s", far);
    peer_add(peer, "SET %s mine", far);
    peer_add(peer, "MULTI");
    peer_add(peer, "PING");
    peer_add(peer, "EXEC");
    peer_flush(peer);
    cr_assert(peer_got(peer, "+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n"));
}

Test(transaction, watches_follow_slots_that_move)
{
    peer_send(peer, "WATCH %s", far);
    cr_assert(peer_got(peer, "+OK\r\n"));
    atomic_store(&h->node->owner[crc16_slot(far, strlen(far))], 2);
    peer_send(other, "SET %s changed", far);
    cr_assert(peer_got(other, "+OK\r\n"));
    peer_add(peer, "MULTI");
    peer_add(peer, "PING");
    peer_add(peer, "EXEC");
    peer_flush(peer);
    cr_assert(peer_got(peer, "+OK\r\n+QUEUED\r\n*-1\r\n"));
}

Test(transaction, unwatch_discard_and_reset_forget_watches_everywhere)
{
    static const char *const lines[] = {"UNWATCH", "RESET", "MULTI"};

    for (unsigned i = 0; i < 3; i++) {
        peer_add(peer, "WATCH %s %s %s", near, far, third);
        peer_flush(peer);
        cr_assert(peer_got(peer, "+OK\r\n"));
        cr_assert_eq(records(), 3);
        peer_add(peer, "%s", lines[i]);
        if (i == 2)
            peer_add(peer, "DISCARD");
        peer_add(peer, "PING");
        peer_flush(peer);
        cr_assert(peer_got(peer, i == 0   ? "+OK\r\n+PONG\r\n"
                                 : i == 1 ? "+RESET\r\n+PONG\r\n"
                                          : "+OK\r\n+OK\r\n+PONG\r\n"));
        cr_assert_eq(records(), 0);
    }
}

/* The records are all at home, so they are gone before the connection's own end is dealt with. */
Test(transaction, a_connection_that_ends_leaves_no_watches_at_home)
{
    struct peer *gone = peer_create(h, 0);

    peer_send(gone, "WATCH %s", near);
    cr_assert(peer_got(gone, "+OK\r\n"));
    peer_reset(gone);
    harness_idle(h);
    cr_assert_eq(records(), 0);
    cr_assert_eq(h->node->workers[0]->clients->count, 1);
}

Test(transaction, a_connection_that_ends_leaves_no_watches_elsewhere)
{
    struct peer *gone = peer_create(h, 0);

    peer_send(gone, "WATCH %s %s %s", near, far, third);
    harness_turn(h, 0);
    harness_turn(h, 0); /* under way */
    peer_close(gone);
    harness_idle(h);
    cr_assert_eq(records(), 0);
    cr_assert_eq(h->node->workers[0]->clients->count, 1);
}

Test(transaction, a_connection_that_ends_during_exec_is_freed_after_it)
{
    struct peer *gone = peer_create(h, 0);

    peer_add(gone, "WATCH %s", third);
    peer_add(gone, "MULTI");
    peer_add(gone, "SET %s 1", near);
    peer_add(gone, "SET %s 1", far);
    peer_add(gone, "EXEC");
    peer_flush(gone);
    harness_turn(h, 0);
    harness_turn(h, 0);
    harness_turn(h, 2); /* WATCH */
    harness_turn(h, 0);
    harness_turn(h, 0); /* EXEC is out */
    peer_reset(gone);
    harness_turn(h, 0);
    cr_assert_eq(h->node->workers[0]->clients->count, 2);
    harness_idle(h);
    cr_assert_eq(h->node->workers[0]->clients->count, 1);
    cr_assert_eq(records(), 0);
    peer_send(peer, "MGET %s %s", near, far);
    cr_assert(peer_got(peer, "*2\r\n$1\r\n1\r\n$1\r\n1\r\n"));
}

/* ---- replies that are not wanted ---- */

Test(transaction, replies_switched_off_stay_off_for_commands_that_travel)
{
    peer_add(peer, "CLIENT REPLY OFF");
    peer_add(peer, "SET %s 1", far);
    peer_add(peer, "MGET %s %s", near, far);
    peer_add(peer, "MULTI");
    peer_add(peer, "INCR %s", far);
    peer_add(peer, "INCR %s", near);
    peer_add(peer, "EXEC");
    peer_add(peer, "CLIENT REPLY ON");
    peer_add(peer, "GET %s", far);
    peer_flush(peer);
    cr_assert(peer_got(peer, "+OK\r\n$1\r\n2\r\n"));
}

Test(transaction, one_skipped_reply_is_that_of_the_next_command)
{
    peer_add(peer, "CLIENT REPLY SKIP");
    peer_add(peer, "SET %s 1", far);
    peer_add(peer, "INCR %s", far);
    peer_add(peer, "CLIENT REPLY SKIP");
    peer_add(peer, "MGET %s %s", near, far);
    peer_add(peer, "GET %s", far);
    peer_add(peer, "GET %s", far);
    peer_flush(peer);
    cr_assert(peer_got(peer, ":2\r\n$1\r\n2\r\n$1\r\n2\r\n"));
}

/* ---- kills and pauses ---- */

Test(transaction, a_killed_connection_whose_job_is_out_goes_when_it_is_back)
{
    struct peer *victim = peer_create(h, 0);

    victim->may_be_closed = true;
    peer_send(victim, "CLIENT ID");
    long long id = peer_number(victim);
    peer_send(victim, "MSET %s 1 %s 2", far, third);
    harness_turn(h, 0);
    peer_send(peer, "CLIENT KILL ID %lld", id);
    cr_assert(peer_got(peer, ":1\r\n"));
    cr_assert(peer_got(victim, "") && victim->closed);
    cr_assert_eq(h->node->workers[0]->clients->count, 1);
    peer_close(victim);
}

Test(transaction, a_pause_holds_the_next_command_and_not_the_job_that_is_out)
{
    peer_add(peer, "SET %s 1", far);
    peer_add(peer, "PING");
    peer_flush(peer);
    harness_turn(h, 0);
    peer_send(other, "CLIENT PAUSE 1000000");
    harness_turn(h, 1);
    cr_assert(peer_got(peer, "+OK\r\n"));
    cr_assert(peer_got(other, "+OK\r\n"));
    peer_send(other, "CLIENT UNPAUSE");
    cr_assert(peer_got(other, "+OK\r\n"));
    cr_assert(peer_got(peer, "+PONG\r\n"));
}

/* One waits since a pause of everything; when it is replaced by one of writes, and another has to
 * wait for that one, the first goes on all the same. */
Test(transaction, a_milder_pause_lets_those_go_on_who_wait_for_the_stricter)
{
    struct peer *reads = peer_create(h, 0), *writes = peer_create(h, 0);

    peer_send(other, "CLIENT PAUSE 1000000 ALL");
    cr_assert(peer_got(other, "+OK\r\n"));
    peer_send(reads, "GET %s", near);
    harness_idle(h);
    cr_assert_not(peer_has_answer(reads));
    peer_add(other, "CLIENT UNPAUSE");
    peer_add(other, "CLIENT PAUSE 1000000 WRITE");
    peer_flush(other);
    peer_send(writes, "SET %s 1", near);
    harness_idle(h);
    cr_assert(peer_got(other, "+OK\r\n+OK\r\n"));
    cr_assert(peer_got(reads, "$-1\r\n"));
    cr_assert(peer_got(writes, ""));
    peer_send(other, "CLIENT UNPAUSE");
    cr_assert(peer_got(writes, "+OK\r\n"));
    peer_close(reads);
    peer_close(writes);
    peer_skip(other);
}

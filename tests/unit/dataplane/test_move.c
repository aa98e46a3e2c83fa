#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/slots/crc16.h"
#include "dataplane/slots/move.h"
#include "dataplane/slots/queue.h"
#include "dataplane/store/wheel.h"
#include "tests/stress/harness.h"

enum { WORKERS = 3 };

static struct harness *h;
static struct peer *peers[WORKERS];
static char key[16]; /* of worker 0 */
static uint16_t slot;

static void start(void)
{
    h = harness_create(&(struct harness_options){.workers = WORKERS});
    for (unsigned i = 0; i < WORKERS; i++)
        peers[i] = peer_create(h, i);
    harness_name(h, 0, 0, key);
    slot = crc16_slot(key, strlen(key));
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

TestSuite(move, .init = start, .fini = stop);

Test(move, only_the_owner_moves_a_slot_and_only_a_free_one)
{
    struct part_ref ref = {.slot = slot};
    struct loan_part part = {.refs = &ref, .count = 1};

    cr_assert_eq(slot_move(h->node->workers[1], slot, 2), -ENOENT);
    cr_assert(queues_try(h->node->workers[0], &part));
    cr_assert_eq(slot_move(h->node->workers[0], slot, 2), -EBUSY);
    cr_assert_eq(slot_move_held(h->node->workers[0], slot, 2), 0); /* by its holder */
    queues_leave(h->node->workers[0], &part);
    cr_assert_eq(node_owner(h->node, slot), 2);
    cr_assert_eq(slot_move(h->node->workers[2], slot, 0), 0);
    cr_assert_eq(atomic_load(&h->node->config_epoch), 2);
}

Test(move, contents_are_served_by_the_new_owner_to_everybody)
{
    peer_send(peers[0], "SET %s value", key);
    cr_assert(peer_got(peers[0], "+OK\r\n"));
    for (unsigned to = 1; to < WORKERS; to++) {
        peer_send(peers[to], "POLLUX MOVE-SLOT %u %u", slot, to);
        cr_assert(peer_got(peers[to], "+OK\r\n"));
        cr_assert_eq(node_owner(h->node, slot), to);
        for (unsigned i = 0; i < WORKERS; i++) {
            peer_send(peers[i], "GET %s", key);
            cr_assert(peer_got(peers[i], "$5\r\nvalue\r\n"));
        }
    }
}

Test(move, what_is_no_slot_or_worker_is_refused)
{
    peer_add(peers[0], "POLLUX MOVE-SLOT 16384 1");
    peer_add(peers[0], "POLLUX MOVE-SLOT 0 3");
    peer_add(peers[0], "POLLUX MOVE-SLOT x 1");
    peer_add(peers[0], "PING");
    peer_flush(peers[0]);
    for (unsigned i = 0; i < 3; i++) {
        struct answer answer = peer_answer(peers[0]);
        cr_assert_eq(answer.type, '-');
        answer_free(&answer);
    }
    cr_assert(peer_got(peers[0], "+PONG\r\n"));
}

/* The ticket stays in the old owner's wheel and is mailed when it fires. */
Test(move, a_key_expires_at_the_new_owner_without_being_touched)
{
    h->now_unix_ms = h->node->workers[0]->now_unix_ms;
    peer_send(peers[0], "SET %s value PX 1000", key);
    cr_assert(peer_got(peers[0], "+OK\r\n"));
    peer_send(peers[0], "POLLUX MOVE-SLOT %u 1", slot);
    cr_assert(peer_got(peers[0], "+OK\r\n"));
    h->now_unix_ms += 500;
    harness_idle(h);
    peer_send(peers[0], "POLLUX MOVE-SLOT %u 2", slot);
    cr_assert(peer_got(peers[0], "+OK\r\n"));
    cr_assert_eq(harness_keys(h), 1);
    h->now_unix_ms += 500 + 2 * WHEEL_TICK_MS;
    harness_idle(h);
    cr_assert_eq(harness_keys(h), 0);
    cr_assert_eq(count_get(&h->node->workers[2]->stats.expired_keys), 1);
}

/* The ticket arrives while the slot is lent, or has gone on to yet another worker. */
Test(move, a_ticket_finds_a_slot_that_moves_while_it_is_on_its_way)
{
    h->now_unix_ms = h->node->workers[0]->now_unix_ms;
    peer_send(peers[0], "SET %s value PX 100", key);
    cr_assert(peer_got(peers[0], "+OK\r\n"));
    cr_assert_eq(slot_move(h->node->workers[0], slot, 1), 0);
    h->now_unix_ms += 100 + 2 * WHEEL_TICK_MS;
    harness_turn(h, 0); /* fires there, is mailed to worker 1 */
    cr_assert_eq(slot_move(h->node->workers[1], slot, 2), 0);
    harness_turn(h, 1);
    struct part_ref ref = {.slot = slot};
    struct loan_part part = {.refs = &ref, .count = 1};
    cr_assert(queues_try(h->node->workers[2], &part));
    harness_turn(h, 2); /* lent: filed again, for now */
    cr_assert_eq(harness_keys(h), 1);
    queues_leave(h->node->workers[2], &part);
    h->now_unix_ms += 2 * WHEEL_TICK_MS;
    harness_idle(h);
    cr_assert_eq(harness_keys(h), 0);
}

Test(move, rebalancing_gives_every_worker_its_equal_range_again)
{
    for (unsigned i = 0; i < 200; i++)
        peer_add(peers[0], "SET key:%u %u", i, i);
    for (unsigned i = 0; i < 300; i++)
        peer_add(peers[0], "POLLUX MOVE-SLOT %u %u", i * 50, i % WORKERS);
    peer_flush(peers[0]);
    for (unsigned i = 0; i < 500; i++)
        peer_skip(peers[0]);
    peer_send(peers[1], "POLLUX REBALANCE");
    cr_assert_gt(peer_number(peers[1]), 100);
    for (uint32_t i = 0; i < SLOTS; i++)
        cr_assert_eq(node_owner(h->node, i), i * WORKERS / SLOTS);
    peer_send(peers[2], "DBSIZE");
    cr_assert(peer_got(peers[2], ":200\r\n"));
}

/* A slot that is lent at that moment moves when it is its turn. */
Test(move, rebalancing_waits_in_line_for_slots_that_are_lent)
{
    char far[16];

    harness_name(h, 1, 0, far);
    peer_send(peers[0], "POLLUX MOVE-SLOT %u 1", slot);
    cr_assert(peer_got(peers[0], "+OK\r\n"));
    char third[16];
    harness_name(h, 2, 0, third);
    peer_send(peers[1], "MSET %s 1 %s 2", key, third); /* worker 1 lends the slot to worker 2 */
    harness_turn(h, 1);
    cr_assert(slots_busy(h->node->workers[1], slot));
    peer_send(peers[0], "POLLUX REBALANCE");
    harness_turn(h, 0);
    harness_turn(h, 1);
    cr_assert_eq(node_owner(h->node, slot), 1);
    harness_idle(h);
    cr_assert_eq(node_owner(h->node, slot), 0);
    cr_assert(peer_got(peers[0], ":1\r\n"));
    cr_assert(peer_got(peers[1], "+OK\r\n"));
}

/* On the ports of single cores a slot that has moved is found by redirection. */
Test(move, ports_of_single_cores_redirect_to_the_new_owner)
{
    struct peer *core = peer_create_core(h, 0);
    char moved[64];

    peer_send(core, "SET %s 1", key);
    cr_assert(peer_got(core, "+OK\r\n"));
    peer_send(peers[1], "POLLUX MOVE-SLOT %u 2", slot);
    cr_assert(peer_got(peers[1], "+OK\r\n"));
    peer_send(core, "GET %s", key);
    struct answer answer = peer_answer(core);
    snprintf(moved, sizeof moved, "MOVED %u ", slot);
    cr_assert_eq(answer.type, '-');
    cr_assert_eq(strncmp(answer.text, moved, strlen(moved)), 0);
    answer_free(&answer);
    peer_close(core);
}

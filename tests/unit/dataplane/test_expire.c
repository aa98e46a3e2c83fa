#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/slots/crc16.h"
#include "dataplane/slots/queue.h"
#include "tests/unit/dataplane/fixture.h"

static struct fixture *f;

static void start(void)
{
    f = fixture_create(2);
    fixture_journal_on(f);
}

static void stop(void)
{
    fixture_destroy(f);
}

TestSuite(expire, .init = start, .fini = stop);

enum { SECOND = 1000 };

static struct text text_of(const char *string)
{
    return (struct text){string, strlen(string)};
}

static uint16_t slot_number(const char *name)
{
    return crc16_slot(name, strlen(name));
}

static struct worker *owner(const char *name)
{
    return f->node->workers[node_owner(f->node, slot_number(name))];
}

/* A name whose slot belongs to that worker. */
static const char *name_of(uint32_t worker, int number)
{
    static char names[8][32];
    static int next;
    char *name = names[next++ % 8];

    for (int i = 0;; i++) {
        snprintf(name, sizeof names[0], "key:%d:%d", number, i);
        if (owner(name)->index == worker)
            return name;
    }
}

static void set(const char *name, int64_t in_ms)
{
    struct key key;
    struct call *call = fixture_call(f, 3, (struct text[]){TEXT("SET"), text_of(name), TEXT("v")});

    key_find(call, call->argv[1], FIND_WRITE, &key);
    slot_write_begin(call, &key);
    cr_assert(
        key_set_string(call, &key, call->argv[2], in_ms < 0 ? -1 : f->worker->now_unix_ms + in_ms));
    slot_write_end(call, &key, "set");
    gate_commit(call);
}

static void del(const char *name)
{
    struct key key;
    struct call *call = fixture_call(f, 2, (struct text[]){TEXT("DEL"), text_of(name)});

    if (!key_find(call, call->argv[1], FIND_WRITE, &key))
        return;
    slot_write_begin(call, &key);
    key_delete(call, &key);
    slot_write_end(call, &key, "del");
    gate_commit(call);
}

static int64_t keys(void)
{
    return keyspace_keys(keyspace_get(f->node, 0));
}

Test(expire, a_key_goes_without_being_looked_at)
{
    const char *name = name_of(0, 1);
    char expected[64];
    set(name, 5 * SECOND);
    cr_assert_eq(wheel_tickets(f->worker->wheel), 1);
    fixture_journal(f);
    fixture_sleep(f, 4900);
    fixture_background(f);
    cr_assert_eq(keys(), 1);
    fixture_sleep(f, 200);
    fixture_background(f);
    cr_assert_eq(keys(), 0);
    cr_assert_eq(wheel_tickets(f->worker->wheel), 0);
    snprintf(expected, sizeof expected, "0: DEL %s\n", name);
    cr_assert_str_eq(fixture_journal(f), expected);
    cr_assert_eq(count_get(&f->worker->stats.expired_keys), 1);
}

Test(expire, an_extended_deadline_needs_no_second_ticket)
{
    const char *name = name_of(0, 1);
    for (int i = 1; i <= 50; i++)
        set(name, i * SECOND);
    cr_assert_eq(wheel_tickets(f->worker->wheel), 1);
    cr_assert_eq(wheel_stale(f->worker->wheel), 0);
    for (int i = 1; i < 50; i++) {
        fixture_sleep(f, SECOND);
        fixture_background(f);
        cr_assert_eq(keys(), 1, "after %d s", i);
    }
    fixture_sleep(f, SECOND + WHEEL_TICK_MS + 1);
    fixture_background(f);
    cr_assert_eq(keys(), 0);
}

Test(expire, a_shortened_deadline_holds)
{
    const char *name = name_of(0, 1);
    set(name, 1000 * SECOND);
    set(name, 2 * SECOND);
    fixture_sleep(f, 2 * SECOND + 2 * WHEEL_TICK_MS);
    fixture_background(f);
    cr_assert_eq(keys(), 0);
    cr_assert_eq(wheel_stale(f->worker->wheel), 1);
    fixture_sleep(f, 2000 * SECOND);
    fixture_background(f);
    cr_assert_eq(wheel_tickets(f->worker->wheel), 0);
    cr_assert_eq(wheel_stale(f->worker->wheel), 0);
}

Test(expire, a_dropped_deadline_is_dropped_and_can_come_again)
{
    const char *name = name_of(0, 1);
    set(name, 2 * SECOND);
    set(name, -1);
    fixture_sleep(f, 3 * SECOND);
    fixture_background(f);
    cr_assert_eq(keys(), 1);
    cr_assert_eq(wheel_tickets(f->worker->wheel), 0);
    set(name, 2 * SECOND);
    set(name, -1);
    set(name, 1 * SECOND); /* earlier than the ticket that is still there */
    fixture_sleep(f, SECOND + 2 * WHEEL_TICK_MS);
    fixture_background(f);
    cr_assert_eq(keys(), 0);
}

Test(expire, stale_tickets_do_not_pile_up)
{
    const char *name = name_of(0, 1), *other = name_of(0, 2);
    set(other, 100000 * SECOND);
    for (int i = 0; i < 200000; i++) {
        set(name, 5000 * SECOND);
        del(name);
        if (i % 64 == 0)
            expire_run(f->worker, 50);
    }
    set(name, 5000 * SECOND);
    fixture_background(f);
    cr_assert_leq(wheel_tickets(f->worker->wheel), 2 * WHEEL_STALE_FREE);
    fixture_sleep(f, 5001 * SECOND);
    fixture_background(f);
    cr_assert_eq(keys(), 1);
    fixture_sleep(f, 100000 * SECOND);
    fixture_background(f);
    cr_assert_eq(keys(), 0);
}

Test(expire, a_sweep_loses_no_key)
{
    char names[3000][24];
    fixture_on(f, owner("{a}")->index);
    for (int i = 0; i < 3000; i++) {
        snprintf(names[i], sizeof names[i], "{a}%d", i); /* one slot: many share part of a hash */
        set(names[i], (i % 7 + 1) * 10 * SECOND);
    }
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < 3000; i++)
            set(names[i], (i % 7 + 1) * (10 - round) * SECOND);
        expire_run(owner("{a}"), 10);
    }
    for (int i = 0; i < 3000; i += 3)
        del(names[i]);
    fixture_background(f);
    for (int i = 0; i < 3000; i += 6)
        set(names[i], 20 * SECOND);
    fixture_background(f);
    fixture_sleep(f, 80 * SECOND);
    fixture_background(f);
    cr_assert_eq(keys(), 0);
    cr_assert_eq(wheel_tickets(owner("{a}")->wheel), 0);
}

Test(expire, rests_while_switched_off_or_paused)
{
    const char *name = name_of(0, 1);
    set(name, SECOND);
    fixture_sleep(f, 2 * SECOND);
    atomic_store(&f->node->active_expire, false);
    fixture_background(f);
    cr_assert_eq(keys(), 1);
    cr_assert_gt(expire_next_unix_ms(f->worker), f->worker->now_unix_ms);
    atomic_store(&f->node->active_expire, true);
    atomic_store(&f->node->pause_until_unix_ms, f->worker->now_unix_ms + 1);
    fixture_background(f);
    cr_assert_eq(keys(), 1);
    fixture_sleep(f, 2);
    cr_assert_leq(expire_next_unix_ms(f->worker), f->worker->now_unix_ms + 1);
    fixture_background(f);
    cr_assert_eq(keys(), 0);
    cr_assert_eq(expire_next_unix_ms(f->worker), INT64_MAX);
}

Test(expire, a_ticket_of_a_borrowed_slot_goes_to_its_owner)
{
    const char *name = name_of(1, 1);
    set(name, SECOND); /* executed by worker 0 */
    set(name, SECOND / 2);
    cr_assert_eq(wheel_tickets(f->node->workers[0]->wheel), 0);
    cr_assert_eq(f->effects.count, 2);
    cr_assert_eq(f->effects.stale, 1);
    fixture_give_back(f, slot_number(name));
    cr_assert_eq(wheel_tickets(f->node->workers[1]->wheel), 2);
    cr_assert_eq(wheel_stale(f->node->workers[1]->wheel), 1);
    cr_assert_eq(f->effects.count, 0);
    fixture_sleep(f, SECOND);
    fixture_background(f);
    cr_assert_eq(keys(), 0);
    /* A key that is there for a moment only. */
    set(name, SECOND);
    del(name);
    fixture_give_back(f, slot_number(name));
    fixture_sleep(f, 2 * SECOND);
    fixture_background(f);
    cr_assert_eq(wheel_tickets(f->node->workers[1]->wheel), 0);
}

Test(expire, the_ticket_of_a_slot_that_moved_follows_it)
{
    const char *name = name_of(0, 1), *early = name_of(0, 2);
    set(name, 2 * SECOND);
    set(name, 10 * SECOND);
    set(early, 2 * SECOND);
    atomic_store(&f->node->owner[slot_number(name)], 1);
    atomic_store(&f->node->owner[slot_number(early)], 1);
    fixture_sleep(f, 3 * SECOND);
    fixture_background(f);
    cr_assert_eq(keys(), 1);
    cr_assert_eq(wheel_tickets(f->node->workers[0]->wheel), 0);
    cr_assert_eq(wheel_tickets(f->node->workers[1]->wheel), 1);
    fixture_sleep(f, 8 * SECOND);
    fixture_background(f);
    cr_assert_eq(keys(), 0);
    cr_assert_eq(count_get(&f->node->workers[1]->stats.expired_keys), 2);
}

Test(expire, lent_slots_are_left_alone)
{
    const char *name = name_of(0, 1), *other = name_of(0, 2);
    struct part_ref ref = {.slot = slot_number(name)};
    struct loan_part part = {.refs = &ref, .count = 1, .owner = 0};
    set(name, SECOND);
    set(other, SECOND);
    cr_assert(queues_try(f->worker, &part));
    fixture_sleep(f, 2 * SECOND);
    for (int i = 0; i < 100; i++)
        expire_run(f->worker, 50);
    cr_assert_eq(keys(), 1);
    queues_leave(f->worker, &part);
    fixture_sleep(f, WHEEL_TICK_MS);
    fixture_background(f);
    cr_assert_eq(keys(), 0);
}

Test(expire, a_long_backlog_leaves_most_of_the_core_to_commands)
{
    char name[32];
    enum { MANY = 60000 };
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "key:%d", i);
        fixture_on(f, owner(name)->index);
        set(name, SECOND);
    }
    fixture_on(f, 0);
    fixture_sleep(f, 10 * SECOND); /* far behind at once */
    f->worker->expire = (struct expire){.credited_us = clock_now_us()};
    uint64_t began_us = clock_now_us(), worked_ns = 0, now_us = began_us;
    while (now_us - began_us < 20000) {
        uint64_t slice_ns = clock_thread_cpu_ns(); /* what others take in between is not its work */
        uint64_t before = count_get(&f->worker->stats.expired_keys);
        expire_run(f->worker, 50);
        if (count_get(&f->worker->stats.expired_keys) > before)
            worked_ns += clock_thread_cpu_ns() - slice_ns;
        now_us = clock_now_us();
    }
    uint64_t worked_us = worked_ns / 1000;
    cr_assert_gt(count_get(&f->worker->stats.expired_keys), 0);
    if (wheel_tickets(f->worker->wheel) > 0)
        cr_assert_leq(worked_us, (now_us - began_us) / 2, "%lu of %lu us", (unsigned long)worked_us,
                      (unsigned long)(now_us - began_us));
    /* A quarter of the core, however much of it this process is given. */
    for (uint64_t deadline_us = clock_now_us() + 30000000;
         keys() > 0 && clock_now_us() < deadline_us;)
        fixture_background(f);
    cr_assert_eq(keys(), 0);
}

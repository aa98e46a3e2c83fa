/* The gate between bursts and whoever changes a port. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>

#include "drivers/clock.h"
#include "drivers/dpdk/gate.h"

Test(dpdk_gate, closed_gate_lets_nobody_in)
{
    static struct gate gate;
    struct gate_user user;

    gate_init(&gate);
    cr_assert_eq(gate_add(&gate, &user), 0);
    cr_assert(gate_enter(&gate, &user));
    gate_exit(&user);
    cr_assert_eq(gate_close(&gate), 0);
    cr_expect(!gate_enter(&gate, &user));
    cr_assert_eq(gate_close(&gate), 0, "two may hold it closed");
    gate_open(&gate);
    cr_expect(!gate_enter(&gate, &user));
    gate_open(&gate);
    cr_expect(gate_enter(&gate, &user));
}

/* A worker polls on while the gate is closed. Were it to set its flag and take it back each time, the
 * closer would find it set as often as not, and wait for nobody. */
Test(dpdk_gate, who_polls_a_closed_gate_stays_off_its_flag)
{
    static struct gate gate;
    struct gate_user user;

    gate_init(&gate);
    cr_assert_eq(gate_add(&gate, &user), 0);
    cr_assert_eq(gate_close(&gate), 0);
    /* What nobody writes stays as it is. */
    atomic_store(&user.inside, true);
    cr_expect(!gate_enter(&gate, &user));
    cr_expect(atomic_load(&user.inside), "the flag was written");
    atomic_store(&user.inside, false);
    gate_open(&gate);
    cr_expect(gate_enter(&gate, &user));
    cr_expect(atomic_load(&user.inside));
}

Test(dpdk_gate, who_leaves_is_waited_for_no_more)
{
    static struct gate gate;
    struct gate_user users[3];

    gate_init(&gate);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(gate_add(&gate, &users[i]), 0);
    cr_assert(gate_enter(&gate, &users[0]));
    gate_leave_out(&gate, &users[0]); /* the last takes its place, and is still asked */
    cr_assert(gate_enter(&gate, &users[2]));
    cr_expect_eq(gate_close(&gate), -ETIMEDOUT);
    gate_exit(&users[2]);
    cr_expect_eq(gate_close(&gate), 0);
    gate_open(&gate);
    gate_open(&gate);
    cr_expect(gate_enter(&gate, &users[1]));
}

Test(dpdk_gate, no_more_users_than_it_has_room_for)
{
    static struct gate gate;
    static struct gate_user users[GATE_USERS_MAX + 1];

    gate_init(&gate);
    for (int i = 0; i < GATE_USERS_MAX; i++)
        cr_assert_eq(gate_add(&gate, &users[i]), 0);
    cr_expect_eq(gate_add(&gate, &users[GATE_USERS_MAX]), -ENOSPC);
}

Test(dpdk_gate, closing_gives_up_on_a_user_that_stays)
{
    static struct gate gate;
    struct gate_user user;

    gate_init(&gate);
    cr_assert_eq(gate_add(&gate, &user), 0);
    cr_assert(gate_enter(&gate, &user));
    cr_expect_eq(gate_close(&gate), -ETIMEDOUT);
    gate_exit(&user);
    gate_leave_out(&gate, &user);
    cr_expect_eq(gate.user_count, 0);
}

/* Bursts write `inside`; whoever closed the gate must never see it set. */
struct race {
    struct gate gate;
    struct gate_user user;
    _Atomic bool stop;
    _Atomic int inside;
    _Atomic uint64_t bursts; /* written by the user alone */
};

static void *burst(void *arg)
{
    struct race *race = arg;

    while (!atomic_load_explicit(&race->stop, memory_order_relaxed)) {
        if (!gate_enter(&race->gate, &race->user))
            continue;
        atomic_store_explicit(&race->inside, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&race->bursts, 1, memory_order_relaxed);
        atomic_store_explicit(&race->inside, 0, memory_order_relaxed);
        gate_exit(&race->user);
    }
    return NULL;
}

static void race_for(struct race *race, uint64_t duration_us)
{
    uint64_t end_us = clock_now_us() + duration_us;
    unsigned closed = 0;
    pthread_t thread;

    cr_assert_eq(gate_add(&race->gate, &race->user), 0);
    cr_assert_eq(pthread_create(&thread, NULL, burst, race), 0);
    while (clock_now_us() < end_us || closed < 10) {
        uint64_t before = atomic_load(&race->bursts);

        /* A gate that is closed again at once might never be found open. */
        while (atomic_load(&race->bursts) == before)
            ;
        cr_assert_eq(gate_close(&race->gate), 0);
        for (int i = 0; i < 100; i++)
            cr_assert_eq(atomic_load_explicit(&race->inside, memory_order_relaxed), 0);
        gate_open(&race->gate);
        closed++;
    }
    atomic_store(&race->stop, true);
    pthread_join(thread, NULL);
}

Test(dpdk_gate, nobody_is_inside_once_it_is_closed)
{
    static struct race race;

    gate_init(&race.gate);
    race_for(&race, 200000);
}

Test(dpdk_gate, the_same_where_workers_fence_themselves)
{
    static struct race race;

    gate_init(&race.gate);
    race.gate.fences = true;
    race_for(&race, 200000);
}

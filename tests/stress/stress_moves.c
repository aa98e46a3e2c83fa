/* Slots that move while the workload runs: at random, back to equal ranges, and together with keys
 * that expire. Every key with a deadline must go by itself, on whatever worker its slot is by then.
 * Usage: stress_moves [milliseconds [seed]]. Exits 0 when all is well. */
#include <stdio.h>
#include <stdlib.h>

#include "drivers/clock.h"
#include "tests/stress/workload.h"

enum {
    RUN_MS = 6000,
    WORKERS = 4,
    CLIENTS = 10,
    MOVES = 40, /* in one pipeline */
    KEYS = 400, /* with a deadline, written while slots move */
    EXPIRE_LATE_MS = 2000,
};

struct mover {
    pthread_t thread;
    struct harness *harness;
    struct dice dice;
    uint64_t moved;
};

static void move_some(struct mover *mover, struct peer *peer)
{
    for (unsigned i = 0; i < MOVES; i++)
        peer_add(peer, "POLLUX MOVE-SLOT %u %u", dice_below(&mover->dice, SLOTS),
                 dice_below(&mover->dice, WORKERS));
    peer_flush(peer);
    for (unsigned i = 0; i < MOVES; i++) {
        struct answer answer = peer_answer(peer);
        if (!answer_is(&answer, "OK"))
            harness_fail(mover->harness, "a move was answered with %s", answer.text);
        answer_free(&answer);
    }
    mover->moved += MOVES;
}

static void *move(void *arg)
{
    struct mover *mover = arg;
    struct peer *peer = peer_create(mover->harness, dice_below(&mover->dice, WORKERS));

    while (!atomic_load_explicit(&mover->harness->stop, memory_order_relaxed)) {
        if (dice_below(&mover->dice, 50) == 0) {
            peer_send(peer, "POLLUX REBALANCE");
            mover->moved += (uint64_t)peer_number(peer);
        } else {
            move_some(mover, peer);
        }
    }
    peer_close(peer);
    return NULL;
}

/* Keys that nobody touches again. Their tickets follow their slots. */
static void write_expiring(struct harness *harness, unsigned round)
{
    struct peer *peer = peer_create(harness, round % WORKERS);

    peer_add(peer, "SELECT 5");
    for (unsigned i = 0; i < KEYS; i++)
        peer_add(peer, "SET ttl:%u:%u x PX %u", round, i, 20 + i % 200);
    for (unsigned i = 0; i < KEYS; i += 3) /* loans and jobs file tickets as well */
        peer_add(peer, "COPY ttl:%u:%u ttl:%u:%u", round, i, round, i + KEYS);
    for (unsigned i = 0; i < KEYS; i += 5) /* shortened: a second ticket */
        peer_add(peer, "PEXPIRE ttl:%u:%u 10", round, i);
    peer_flush(peer);
    for (unsigned i = 0; i < 1 + KEYS + (KEYS + 2) / 3 + (KEYS + 4) / 5; i++)
        peer_skip(peer);
    peer_close(peer);
}

static bool all_expire(struct harness *harness)
{
    const struct keyspace *keyspace = keyspace_get(harness->node, 5);
    uint64_t end_us = clock_now_us() + (220 + EXPIRE_LATE_MS) * 1000;

    while (keyspace_keys(keyspace) > 0 && clock_now_us() < end_us)
        wait_ms(5);
    if (keyspace_keys(keyspace) == 0)
        return true;
    printf("%lld keys have not expired\n", (long long)keyspace_keys(keyspace));
    return false;
}

static bool stress(uint32_t mailbox_size, unsigned run_ms, uint64_t seed)
{
    struct harness *harness = harness_create(&(struct harness_options){
        .workers = WORKERS, .mailbox_size = mailbox_size, .tear = seed, .threads = true});
    struct workload *workload = workload_start(harness, CLIENTS, WORK_DATABASES, seed);
    struct mover movers[2];
    uint64_t end_us = clock_now_us() + run_ms * UINT64_C(1000);
    unsigned rounds = 0;
    bool right = true;

    for (unsigned i = 0; i < 2; i++) {
        movers[i] = (struct mover){.harness = harness, .dice.state = seed * 31 + i};
        if (pthread_create(&movers[i].thread, NULL, move, &movers[i]) != 0)
            abort();
    }
    while (clock_now_us() < end_us && right) {
        write_expiring(harness, rounds++);
        right = all_expire(harness);
    }
    atomic_store(&harness->stop, true);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(movers[i].thread, NULL);
    printf("mailboxes of %u: %llu moves, %u rounds of expiry, ", mailbox_size,
           (unsigned long long)(movers[0].moved + movers[1].moved), rounds);
    workload_stop(workload);
    harness_stop(harness);
    right = harness_check(harness) && right;
    harness_destroy(harness);
    return right;
}

int main(int argc, char **argv)
{
    return workload_main(argc, argv, RUN_MS, stress);
}

/* Memory that is scarce: while connections do all kinds of things, allocations of the workers fail
 * at random. Whoever is refused gets an error or is disconnected; nothing crashes, hangs, or is left
 * behind, and counts stay exact. Linked with --wrap for malloc, calloc and realloc.
 * Usage: stress_scarce [milliseconds [seed]]. Exits 0 when all is well. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/clock.h"
#include "tests/stress/workload.h"

enum { RUN_MS = 4000, WORKERS = 3, CLIENTS = 8, KEYS = 50, PIPELINE_MAX = 30, FAILS_ONE_IN = 300 };

/* What the linker has the program call instead; see ld(1), --wrap. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);

static _Atomic uint64_t allocations, failures;
static _Atomic bool scarce;

/* Only threads that the server has made: the test's own need what they ask for. */
static bool fails(void)
{
    char name[16];

    if (!atomic_load_explicit(&scarce, memory_order_relaxed) ||
        pthread_getname_np(pthread_self(), name, sizeof name) != 0 ||
        strncmp(name, "worker-", 7) != 0)
        return false;
    uint64_t number = atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    struct dice dice = {.state = number};
    if (dice_below(&dice, FAILS_ONE_IN) != 0)
        return false;
    atomic_fetch_add_explicit(&failures, 1, memory_order_relaxed);
    return true;
}

void *__wrap_malloc(size_t bytes)
{
    return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    return fails() ? NULL : __real_realloc(memory, bytes);
}

struct visitor {
    pthread_t thread;
    struct harness *harness;
    struct dice dice;
    uint64_t answers, errors, closed;
};

static void add_command(struct visitor *visitor, struct peer *peer)
{
    unsigned a = dice_below(&visitor->dice, KEYS), b = dice_below(&visitor->dice, KEYS);
    unsigned c = dice_below(&visitor->dice, KEYS);

    switch (dice_below(&visitor->dice, 22)) {
    case 0:
        peer_add(peer, "SET k:%u value", a);
        break;
    case 1:
        peer_add(peer, "MSET k:%u 1 k:%u 2 k:%u 3", a, b, c);
        break;
    case 2:
        peer_add(peer, "MGET k:%u k:%u k:%u", a, b, c);
        break;
    case 3:
        peer_add(peer, "DEL k:%u k:%u", a, b);
        break;
    case 4:
        peer_add(peer, "WATCH k:%u k:%u", a, b);
        break;
    case 5:
        peer_add(peer, "UNWATCH");
        break;
    case 6:
        peer_add(peer, "MULTI");
        break;
    case 7:
        peer_add(peer, "EXEC");
        break;
    case 8:
        peer_add(peer, "DISCARD");
        break;
    case 9:
        peer_add(peer, "COPY k:%u k:%u REPLACE", a, b);
        break;
    case 10:
        peer_add(peer, "RENAME k:%u k:%u", a, b);
        break;
    case 11:
        peer_add(peer, "SETRANGE k:%u 100000 x", a);
        break;
    case 12:
        peer_add(peer, "APPEND k:%u xxxxxxxxxxxxxxxxxxxxxxxxxxxx", a);
        break;
    case 13:
        peer_add(peer, "BITOP OR k:%u k:%u k:%u", a, b, c);
        break;
    case 14:
        peer_add(peer, "PEXPIRE k:%u %u", a, 1 + b * 4);
        break;
    case 15:
        peer_add(peer, "KEYS *");
        break;
    case 16:
        peer_add(peer, "SCAN 0 COUNT 100");
        break;
    case 17:
        peer_add(peer, "CLIENT LIST");
        break;
    case 18:
        peer_add(peer, "FLUSHDB");
        break;
    case 19:
        peer_add(peer, "GET k:%u", a);
        break;
    case 20:
        peer_add(peer, "POLLUX MOVE-SLOT %u %u", dice_below(&visitor->dice, SLOTS),
                 dice_below(&visitor->dice, WORKERS));
        break;
    case 21:
        peer_add(peer, "SWAPDB 0 1");
        break;
    }
}

static void visit(struct visitor *visitor, struct peer *peer)
{
    unsigned count = 1 + dice_below(&visitor->dice, PIPELINE_MAX);

    for (unsigned i = 0; i < count; i++)
        add_command(visitor, peer);
    peer_flush(peer);
    for (unsigned i = 0; i < count && !peer->closed; i++) {
        struct answer answer = peer_answer(peer);
        visitor->answers++;
        visitor->errors += answer.type == '-' && strstr(answer.text, "OOM") != NULL;
        answer_free(&answer);
    }
    visitor->closed += peer->closed;
}

static void *run(void *arg)
{
    struct visitor *visitor = arg;

    while (!atomic_load_explicit(&visitor->harness->stop, memory_order_relaxed)) {
        struct peer *peer = peer_create(visitor->harness, dice_below(&visitor->dice, WORKERS));
        peer->may_be_closed = true;
        for (unsigned i = dice_below(&visitor->dice, 20); i > 0 && !peer->closed; i--)
            visit(visitor, peer);
        if (dice_below(&visitor->dice, 2) == 0)
            peer_reset(peer);
        else
            peer_close(peer);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    unsigned run_ms = argc > 1 ? (unsigned)atoi(argv[1]) : RUN_MS;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : clock_now_ns();
    struct harness *harness = harness_create(&(struct harness_options){
        .workers = WORKERS, .mailbox_size = 8, .tear = seed, .threads = true});
    struct visitor visitors[CLIENTS];
    uint64_t answers = 0, errors = 0, closed = 0;

    printf("seed %llu\n", (unsigned long long)seed);
    atomic_store(&allocations, seed << 20);
    atomic_store(&scarce, true);
    for (unsigned i = 0; i < CLIENTS; i++) {
        visitors[i] = (struct visitor){.harness = harness, .dice.state = seed * 17 + i};
        if (pthread_create(&visitors[i].thread, NULL, run, &visitors[i]) != 0)
            abort();
    }
    wait_ms(run_ms);
    atomic_store(&harness->stop, true);
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(visitors[i].thread, NULL);
        answers += visitors[i].answers;
        errors += visitors[i].errors;
        closed += visitors[i].closed;
    }
    atomic_store(&scarce, false);
    printf("%llu answers, %llu of them out of memory, %llu connections closed, %llu of %llu "
           "allocations failed\n",
           (unsigned long long)answers, (unsigned long long)errors, (unsigned long long)closed,
           (unsigned long long)failures, (unsigned long long)(allocations - (seed << 20)));
    harness_stop(harness);
    bool right = harness_check(harness);
    if (failures == 0 || answers == 0) {
        puts("wrong: nothing failed, or nothing was answered");
        right = false;
    }
    harness_destroy(harness);
    return right ? 0 : 1;
}

/* The journals of a node, merged into one stream while the workload runs and slots move, are
 * replayed into a second node: both must hold the same afterwards.
 * Usage: stress_replay [milliseconds [seed]]. Exits 0 when all is well. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/log/merge.h"
#include "drivers/clock.h"
#include "tests/stress/workload.h"

enum { RUN_MS = 4000, WORKERS = 4, CLIENTS = 10, READ_BYTES = 65536, EXPIRE_MS = 3000 };

struct side {
    pthread_t thread;
    struct harness *harness;
    struct merge *merge;
    struct dice dice;
    _Atomic bool stop;
    uint64_t bytes;
};

static void *merge_all(void *arg)
{
    struct side *side = arg;

    while (!atomic_load_explicit(&side->stop, memory_order_relaxed)) {
        int64_t wrote = merge_step(side->merge);
        if (wrote < 0)
            harness_fail(side->harness, "the merge failed: %lld", (long long)wrote);
        side->bytes += (uint64_t)wrote;
        wait_ms(1);
    }
    return NULL;
}

static void *move_slots(void *arg)
{
    struct side *side = arg;
    struct peer *peer = NULL;

    while (!atomic_load_explicit(&side->stop, memory_order_relaxed)) {
        if (peer != NULL && peer->closed) { /* CLIENT KILL */
            peer_close(peer);
            peer = NULL;
        }
        if (peer == NULL)
            peer = peer_create(side->harness, 0);
        peer->may_be_closed = true;
        peer_send(peer, "POLLUX MOVE-SLOT %u %u", dice_below(&side->dice, SLOTS),
                  dice_below(&side->dice, WORKERS));
        if (!peer->closed)
            peer_skip(peer);
    }
    peer_close(peer);
    return NULL;
}

/* No key may run out between the two digests, so all that can do so must have. */
static void wait_for_expiry(const struct harness *harness)
{
    uint64_t end_us = clock_now_us() + EXPIRE_MS * 1000;

    while (harness_expires(harness) > 0 && clock_now_us() < end_us)
        wait_ms(5);
    if (harness_expires(harness) > 0)
        harness_fail(harness, "%lld keys have not expired", (long long)harness_expires(harness));
}

/* Keeps little in flight, and lets errors pass by only to count them: a stream that another node
 * wrote has none. */
static void replay(struct harness *harness, int fd)
{
    struct peer *peer = peer_create(harness, 0);
    char bytes[READ_BYTES];
    uint64_t sent = 0, errors = 0, answers = 0;
    ssize_t got;

    while ((got = read(fd, bytes, sizeof bytes)) > 0) {
        sent += (uint64_t)got;
        peer_add_raw(peer, bytes, (size_t)got);
        peer_flush(peer);
        while (peer_has_answer(peer)) {
            struct answer answer = peer_answer(peer);
            errors += answer.type == '-';
            answers++;
            answer_free(&answer);
        }
    }
    peer_send(peer, "ECHO the-end");
    for (bool end = false; !end; answers++) {
        struct answer answer = peer_answer(peer);
        errors += answer.type == '-';
        if (answer.type == '-')
            printf("replay: %s\n", answer.text);
        end = answer_is(&answer, "the-end");
        answer_free(&answer);
    }
    peer_close(peer);
    if (errors > 0)
        harness_fail(harness, "%llu errors in the replay", (unsigned long long)errors);
    printf("replayed %llu bytes, %llu answers\n", (unsigned long long)sent,
           (unsigned long long)answers);
}

/* Time stands still there: what has run out in the first node was deleted by its journal. */
static bool same_again(const struct harness *first, int fd, uint32_t workers, uint64_t seed)
{
    struct harness *second =
        harness_create(&(struct harness_options){.workers = workers,
                                                 .tear = seed,
                                                 .now_unix_ms = first->node->started_unix_ms});

    replay(second, fd);
    harness_stop(second);
    bool right = harness_check(second);
    if (harness_digest(first) != harness_digest(second) ||
        harness_keys(first) != harness_keys(second)) {
        printf("wrong: %lld keys, and %lld after the replay on %u workers, or other contents\n",
               (long long)harness_keys(first), (long long)harness_keys(second), workers);
        right = false;
    }
    harness_destroy(second);
    return right;
}

int main(int argc, char **argv)
{
    unsigned run_ms = argc > 1 ? (unsigned)atoi(argv[1]) : RUN_MS;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : clock_now_ns();
    char path[] = "/tmp/pollux-stress-replay-XXXXXX";
    int fd = mkstemp(path), error;
    struct harness *harness = harness_create(&(struct harness_options){
        .workers = WORKERS, .mailbox_size = 16, .tear = seed, .threads = true});
    struct side merging = {.harness = harness};
    struct side moving = {.harness = harness, .dice.state = seed};

    printf("seed %llu\n", (unsigned long long)seed);
    merging.merge = fd < 0 ? NULL : merge_create(harness->node, path, &error);
    if (merging.merge == NULL) {
        printf("cannot record: %s\n", path);
        return 1;
    }
    struct workload *workload =
        workload_start(harness, CLIENTS, WORK_DATABASES | WORK_VANISH, seed);
    if (pthread_create(&merging.thread, NULL, merge_all, &merging) != 0 ||
        pthread_create(&moving.thread, NULL, move_slots, &moving) != 0)
        abort();
    wait_ms(run_ms);
    workload_stop(workload);
    atomic_store(&moving.stop, true);
    pthread_join(moving.thread, NULL);
    wait_for_expiry(harness);
    harness_stop(harness);
    atomic_store(&merging.stop, true);
    pthread_join(merging.thread, NULL);
    error = merge_finish(merging.merge);
    bool right = harness_check(harness) && error == 0;
    right = same_again(harness, fd, 1, seed) && right;
    lseek(fd, 0, SEEK_SET);
    right = same_again(harness, fd, 3, seed) && right;
    harness_destroy(harness);
    close(fd);
    unlink(path);
    return right ? 0 : 1;
}

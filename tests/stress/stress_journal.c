/* Journal and merge under threads: workers with hybrid clocks write records and blocks, send each other their stamps, and a
 * merge runs beside them. Afterwards the recording must hold every record once, each worker's in order, and no effect before its cause.
 * Usage: stress_journal [milliseconds]. Exits 0 when all is well; prints what is wrong otherwise. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/log/merge.h"
#include "dataplane/persist/journal.h"
#include "dataplane/worker.h"

enum { WORKERS = 4, DATABASES = 3, RECORDS_MAX = 600 * 1000, RUN_MS = 1500 };

struct letter { /* from one worker to another; one at a time */
    _Atomic bool full;
    uint64_t stamp, number;
};

struct producer {
    pthread_t thread;
    struct worker *worker;
    struct rng rng;
    uint64_t written;        /* records; the last one's number */
    uint64_t known[WORKERS]; /* the last number heard of from each */
};

static struct letter letters[WORKERS][WORKERS];
static _Atomic bool stop;

static uint64_t stamp(struct worker *worker)
{
    uint64_t now = clock_stamp_ns(&worker->node->tsc);

    worker->last_stamp = now > worker->last_stamp ? now : worker->last_stamp + 1;
    return worker->last_stamp;
}

static uint64_t random_next(struct rng *rng)
{
    rng->state[0] ^= rng->state[0] << 13;
    rng->state[0] ^= rng->state[0] >> 7;
    rng->state[0] ^= rng->state[0] << 17;
    return rng->state[0];
}

/* What a worker knows when it writes is its cause: it goes into the record. */
static size_t describe(const struct producer *producer, char *text, size_t size, uint64_t number)
{
    return (size_t)snprintf(text, size, "%u %lu %lu %lu %lu %lu", producer->worker->index, number,
                            producer->known[0], producer->known[1], producer->known[2],
                            producer->known[3]);
}

static void write_record(struct producer *producer)
{
    struct journal *journal = producer->worker->journal;
    char text[128];
    struct text argv[2] = {{"R", 1}, {text, 0}};

    argv[1].len_bytes = describe(producer, text, sizeof text, producer->written + 1);
    journal_window_open(journal);
    journal_begin(journal, stamp(producer->worker),
                  (uint32_t)(random_next(&producer->rng) % DATABASES));
    journal_command(journal, 2, argv);
    journal_end(journal);
    journal_window_close(journal);
    producer->written++;
}

static void write_block(struct producer *producer)
{
    struct journal *journal = producer->worker->journal;
    unsigned commands = (unsigned)(random_next(&producer->rng) % 4) + 1;
    char text[128];
    struct text argv[2] = {{"R", 1}, {text, 0}};

    journal_block_begin(journal, 0);
    for (unsigned i = 0; i < commands; i++) {
        argv[1].len_bytes = describe(producer, text, sizeof text, producer->written + 1);
        journal_block_command(journal, (uint32_t)(random_next(&producer->rng) % DATABASES), 2,
                              argv);
        producer->written++;
    }
    journal_window_open(journal);
    journal_block_end(journal, stamp(producer->worker));
    journal_window_close(journal);
}

static void exchange(struct producer *producer)
{
    uint32_t self = producer->worker->index,
             other = (uint32_t)(random_next(&producer->rng) % WORKERS);
    struct letter *in = &letters[other][self], *out = &letters[self][other];

    if (atomic_load_explicit(&in->full, memory_order_acquire)) {
        worker_see_stamp(producer->worker, in->stamp);
        producer->known[other] = in->number;
        atomic_store_explicit(&in->full, false, memory_order_release);
    }
    if (!atomic_load_explicit(&out->full, memory_order_acquire)) {
        out->stamp = producer->worker->last_stamp;
        out->number = producer->written;
        atomic_store_explicit(&out->full, true, memory_order_release);
    }
}

static void *produce(void *arg)
{
    struct producer *producer = arg;

    while (!atomic_load_explicit(&stop, memory_order_relaxed) &&
           producer->written < RECORDS_MAX / WORKERS) {
        if (journal_over_limit(producer->worker->journal))
            sched_yield();
        else if (random_next(&producer->rng) % 8 == 0)
            write_block(producer);
        else
            write_record(producer);
        exchange(producer);
    }
    return NULL;
}

/* ---- checking ---- */

static int fail(const char *what, uint64_t line)
{
    fprintf(stderr, "stress_journal: %s, at record %lu\n", what, (unsigned long)line);
    return 1;
}

static int check(FILE *in, const struct producer *producers)
{
    uint64_t seen[WORKERS] = {0}, known[WORKERS], number, records = 0;
    unsigned worker;
    char line[256];

    while (fgets(line, sizeof line, in) != NULL) {
        if (sscanf(line, "%u %lu %lu %lu %lu %lu", &worker, &number, &known[0], &known[1],
                   &known[2], &known[3]) != 6 ||
            worker >= WORKERS)
            continue; /* RESP's own lines */
        records++;
        if (number != seen[worker] + 1)
            return fail("a record is missing, or out of its worker's order", records);
        for (unsigned i = 0; i < WORKERS; i++)
            if (i != worker && known[i] > seen[i])
                return fail("an effect stands before its cause", records);
        seen[worker] = number;
    }
    for (unsigned i = 0; i < WORKERS; i++)
        if (seen[i] != producers[i].written)
            return fail("the end is missing", records);
    printf("stress_journal: %lu records in order\n", (unsigned long)records);
    return records == 0;
}

/* ---- the run ---- */

static void *zeroed(size_t size)
{
    void *memory = aligned_alloc(64, (size + 63) & ~(size_t)63);

    if (memory == NULL)
        abort();
    return memset(memory, 0, size);
}

static int run(struct node *node, struct producer *producers, const char *path, unsigned run_ms)
{
    int error;
    struct merge *merge = merge_create(node, path, &error);

    if (merge == NULL)
        return fail(strerror(-error), 0);
    for (uint32_t i = 0; i < WORKERS; i++)
        if (pthread_create(&producers[i].thread, NULL, produce, &producers[i]) != 0)
            abort();
    uint64_t end_us = clock_now_us() + run_ms * 1000u;
    while (clock_now_us() < end_us)
        if (merge_step(merge) < 0)
            return fail("merge_step", 0);
    atomic_store(&stop, true);
    for (uint32_t i = 0; i < WORKERS; i++)
        pthread_join(producers[i].thread, NULL);
    return merge_finish(merge) < 0 ? fail("merge_finish", 0) : 0;
}

int main(int argc, char **argv)
{
    char path[] = "/tmp/pollux-stress-XXXXXX";
    struct node *node = zeroed(sizeof *node);
    struct producer *producers = zeroed(WORKERS * sizeof *producers);
    int fd = mkstemp(path);

    if (fd < 0)
        return fail("mkstemp", 0);
    close(fd);
    clock_tsc_init(&node->tsc);
    node->worker_count = WORKERS;
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct worker *worker = zeroed(sizeof *worker);
        worker->node = node;
        worker->index = i;
        worker->journal = journal_create();
        node->workers[i] = worker;
        producers[i].worker = worker;
        producers[i].rng.state[0] = i * 7919 + 1;
    }
    int failed = run(node, producers, path, argc > 1 ? (unsigned)atoi(argv[1]) : RUN_MS);
    FILE *in = fopen(path, "r");
    if (failed == 0 && in != NULL)
        failed = check(in, producers);
    if (in != NULL)
        fclose(in);
    unlink(path);
    for (uint32_t i = 0; i < WORKERS; i++) {
        journal_destroy(node->workers[i]->journal);
        free(node->workers[i]);
    }
    free(producers);
    free(node);
    return failed;
}

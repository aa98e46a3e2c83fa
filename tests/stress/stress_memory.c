/* stress_memory: workers free each other's blocks. Each thread has a `struct memory` and
 * exchanges blocks with the others through shared places: what it takes out it checks and frees,
 * whosoever it was. At the end every byte must be accounted for. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/store/memory.h"

enum {
    THREADS = 4,
    PLACES = 2000,
    ROUNDS = 60000,
};

struct block {
    uint32_t size_bytes;
    uint32_t fill; /* what its other bytes are; lines when odd */
    uint8_t bytes[];
};

struct shared {
    _Atomic(struct block *) places[PLACES];
};

struct thread {
    pthread_t id;
    struct shared *shared;
    struct memory *memory;
    uint64_t random;
};

static uint64_t next(struct thread *thread)
{
    thread->random = thread->random * 6364136223846793005u + 1442695040888963407u;
    return thread->random >> 33;
}

static struct block *make(struct thread *thread)
{
    uint32_t fill = (uint32_t)next(thread) & 255, size = 16 + (uint32_t)(next(thread) % 600);
    struct block *block;

    if (fill & 1) {
        size = 64 * (1 + size / 16);
        block = memory_alloc_lines(thread->memory, size);
    } else {
        block = memory_alloc(thread->memory, size);
    }
    if (block == NULL)
        abort();
    block->size_bytes = size;
    block->fill = fill;
    memset(block->bytes, (int)fill, size - sizeof(*block));
    return block;
}

static void check_and_free(struct thread *thread, struct block *block)
{
    size_t size = block->size_bytes;
    int lines = block->fill & 1;

    for (size_t i = 0; i < size - sizeof(*block); i++)
        if (block->bytes[i] != block->fill)
            abort();
    if (lines)
        memory_free_lines(thread->memory, block, size);
    else
        memory_free(thread->memory, block, size);
}

static void *run(void *arg)
{
    struct thread *thread = arg;

    for (int round = 0; round < ROUNDS; round++) {
        _Atomic(struct block *) *place = &thread->shared->places[next(thread) % PLACES];
        struct block *mine = next(thread) % 4 == 0 ? NULL : make(thread);
        struct block *other = atomic_exchange_explicit(place, mine, memory_order_acq_rel);

        if (other != NULL)
            check_and_free(thread, other);
        if (round % 16 == 0)
            memory_collect(thread->memory);
    }
    return NULL;
}

int main(void)
{
    static struct shared shared;
    static struct thread threads[THREADS];
    int64_t used = 0;

    for (int i = 0; i < THREADS; i++) {
        threads[i] = (struct thread){.shared = &shared,
                                     .memory = memory_create(),
                                     .random = 1234567 + (uint64_t)i};
        if (threads[i].memory == NULL ||
            pthread_create(&threads[i].id, NULL, run, &threads[i]) != 0)
            return 1;
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i].id, NULL);
    for (int i = 0; i < PLACES; i++)
        if (shared.places[i] != NULL)
            check_and_free(&threads[i % THREADS], shared.places[i]);
    for (int i = 0; i < THREADS; i++)
        used += memory_used_bytes(threads[i].memory);
    for (int i = 0; i < THREADS; i++)
        memory_destroy(threads[i].memory);
    if (used != 0) {
        fprintf(stderr, "stress_memory: %ld bytes are not accounted for\n", (long)used);
        return 1;
    }
    return 0;
}

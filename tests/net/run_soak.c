/* Runs the soak.
 * Usage: run_soak [-H HOURS] [-s SEED] [-d SECONDS] [-v]
 *   -H  hours of virtual time, 2 by default
 *   -d  runs seed after seed until so many real seconds are over
 *   -v  tells of the weather
 * Linked with --wrap for malloc, calloc, realloc and free. */
#include "tests/net/soak.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const double HOURS = 2, DAY_HOURS = 24;

struct soak_heap soak_heap;

/* What the linker has the program call instead; see ld(1), --wrap. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void __real_free(void *memory);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
void __wrap_free(void *memory);

static bool fails(void)
{
    struct soak_heap *heap = &soak_heap;

    if (heap->fail_one_in == 0)
        return false;
    uint64_t z = heap->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    if ((z ^ z >> 31) % heap->fail_one_in != 0)
        return false;
    heap->failed++;
    return true;
}

static void *counted(void *memory)
{
    soak_heap.blocks += memory != NULL;
    return memory;
}

void *__wrap_malloc(size_t bytes)
{
    return fails() ? NULL : counted(__real_malloc(bytes));
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : counted(__real_calloc(count, bytes));
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    if (fails())
        return NULL;
    void *moved = __real_realloc(memory, bytes);
    soak_heap.blocks += memory == NULL && moved != NULL;
    return moved;
}

void __wrap_free(void *memory)
{
    soak_heap.blocks -= memory != NULL;
    __real_free(memory);
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

#define COUNT(name) (unsigned long long)counts->name

static void show(const struct soak_world *world, double took)
{
    const struct soak_counts *counts = &world->counts;

    printf("seed %llu: %.1f h, %llu connections: %llu completed, %llu reset, %llu vanished, "
           "%llu half-open, %llu excused, %llu probed away\n",
           (unsigned long long)world->options.seed,
           (double)(world->now_us - world->start_us) / 3.6e9, COUNT(opened), COUNT(completed),
           COUNT(resets), COUNT(vanished), COUNT(half_open), COUNT(excused), COUNT(probed_away));
    printf("  %llu requests, %llu bytes, %llu frames, %llu lost; wraps: %llu of sequence numbers, "
           "%llu of timestamps, %llu of clocks; %llu leaps, %llu sleeps, %llu rests\n",
           COUNT(requests), COUNT(bytes), COUNT(frames), COUNT(lost), COUNT(sequence_wraps),
           COUNT(timestamp_wraps), COUNT(clock_wraps), COUNT(leaps), COUNT(sleeps), COUNT(rests));
    printf("  failed allocations: %llu of packets, %llu of memory; %llu cookies; %llu steps, "
           "%llu checks, %.1f s\n",
           COUNT(failed_packets), COUNT(failed_memory), COUNT(cookies), COUNT(steps), COUNT(checks),
           took);
}

/* A run that saw nothing of what it is for proves nothing. */
static const char *missing(const struct soak_world *world)
{
    const struct soak_counts *counts = &world->counts;

    if (world->options.hours < HOURS)
        return NULL;
    for (unsigned i = 0; i < SOAK_ENDINGS; i++) {
        if (counts->endings[i] == 0)
            return "connections of one of the endings";
    }
    for (unsigned i = 0; i < SOAK_WEATHERS; i++) {
        if (counts->weathers[i] == 0 && world->options.hours >= DAY_HOURS)
            return "days of one of the weathers";
    }
    return counts->completed * 4 < counts->opened ? "completed connections to speak of"
           : counts->sequence_wraps == 0          ? "sequence numbers that wrapped"
           : counts->timestamp_wraps == 0 && world->options.hours >= DAY_HOURS
               ? "timestamps that wrapped"
           : counts->clock_wraps < 2             ? "clocks that wrapped"
           : counts->leaps + counts->sleeps == 0 ? "leaps of clocks"
           : counts->rests == 0                  ? "connections at rest"
                                                 : NULL;
}

static bool run(struct soak_world *world, const struct soak_options *options)
{
    double started = seconds();
    bool fine = soak_run(world, options);

    show(world, seconds() - started);
    if (!fine)
        printf("seed %llu, %.3f s of virtual time: %s\n", (unsigned long long)options->seed,
               (double)(world->now_us - world->start_us) / 1e6, world->failure);
    else if (missing(world) != NULL)
        printf("seed %llu: there were no %s\n", (unsigned long long)options->seed, missing(world));
    fflush(stdout);
    return fine && missing(world) == NULL;
}

int main(int argc, char **argv)
{
    struct soak_options options = {.seed = 1, .hours = HOURS};
    struct soak_world *world = malloc(sizeof *world);
    double started = seconds(), duration = 0;
    unsigned passed = 0, failed = 0;
    int option;

    while ((option = getopt(argc, argv, "H:s:d:v")) != -1) {
        if (option == 'H')
            options.hours = strtod(optarg, NULL);
        else if (option == 's')
            options.seed = strtoull(optarg, NULL, 10);
        else if (option == 'd')
            duration = strtod(optarg, NULL);
        else if (option == 'v')
            options.tracing = true;
        else
            return 2;
    }
    if (world == NULL)
        return 2;
    do {
        if (run(world, &options))
            passed++;
        else
            failed++;
        options.seed++;
    } while (seconds() - started < duration && failed == 0);
    printf("%u passed, %u failed\n", passed, failed);
    free(world);
    return failed > 0;
}

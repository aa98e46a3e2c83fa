#include "tools/pollux-bench/probe.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

enum { PROBE_SAMPLES = PROBE_ROUNDS / PROBE_BATCH, PROBE_LINE = 128 };

/* Each direction on lines of its own: neighbouring lines are fetched in pairs. */
struct probe {
    _Alignas(PROBE_LINE) _Atomic uint32_t ping;
    _Alignas(PROBE_LINE) _Atomic uint32_t pong;
    _Alignas(PROBE_LINE) _Atomic int failed;
    uint64_t sample_ns[PROBE_SAMPLES];
    int cpus[2];
};

static int probe_pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    return pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static uint64_t probe_now_ns(void)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* Waits for a round's number. False: the other side failed. */
static bool probe_await(struct probe *probe, const _Atomic uint32_t *side, uint32_t round)
{
    while (atomic_load_explicit(side, memory_order_acquire) != round) {
        if (atomic_load_explicit(&probe->failed, memory_order_relaxed) != 0)
            return false;
    }
    return true;
}

static void *probe_answer(void *arg)
{
    struct probe *probe = arg;

    if (probe_pin(probe->cpus[1]) != 0)
        atomic_store(&probe->failed, EINVAL);
    for (uint32_t round = 1; round <= PROBE_ROUNDS && probe_await(probe, &probe->ping, round);
         round++)
        atomic_store_explicit(&probe->pong, round, memory_order_release);
    return NULL;
}

static void *probe_ask(void *arg)
{
    struct probe *probe = arg;
    uint32_t round = 0;

    if (probe_pin(probe->cpus[0]) != 0)
        atomic_store(&probe->failed, EINVAL);
    for (uint32_t sample = 0; sample < PROBE_SAMPLES; sample++) {
        uint64_t begin_ns = probe_now_ns();
        for (uint32_t i = 0; i < PROBE_BATCH; i++) {
            atomic_store_explicit(&probe->ping, ++round, memory_order_release);
            if (!probe_await(probe, &probe->pong, round))
                return NULL;
        }
        probe->sample_ns[sample] = probe_now_ns() - begin_ns;
    }
    return NULL;
}

static int probe_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

int probe_run(const int cpus[2], double *round_trip_ns)
{
    struct probe *probe = aligned_alloc(PROBE_LINE, sizeof(*probe));
    pthread_t ask, answer;

    if (probe == NULL)
        return -ENOMEM;
    *probe = (struct probe){.cpus = {cpus[0], cpus[1]}};
    int status = pthread_create(&answer, NULL, probe_answer, probe);
    if (status == 0) {
        status = pthread_create(&ask, NULL, probe_ask, probe);
        if (status == 0)
            pthread_join(ask, NULL);
        else
            atomic_store(&probe->failed, status);
        pthread_join(answer, NULL);
        if (status == 0)
            status = atomic_load(&probe->failed);
    }
    qsort(probe->sample_ns, PROBE_SAMPLES, sizeof(probe->sample_ns[0]), probe_compare);
    *round_trip_ns = (double)probe->sample_ns[PROBE_SAMPLES / 2] / PROBE_BATCH;
    free(probe);
    return -status;
}

const char *probe_label(double before_ns, double after_ns)
{
    if (before_ns <= 0 || after_ns <= 0)
        return "unknown";
    if ((before_ns >= PROBE_FAR_NS) != (after_ns >= PROBE_FAR_NS))
        return "mixed";
    return before_ns >= PROBE_FAR_NS ? "far" : "near";
}

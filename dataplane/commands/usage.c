#include "dataplane/commands/usage.h"

#include <stddef.h>
#ifdef POLLUX_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "dataplane/store/evict.h"
#include "dataplane/worker.h"
#include "drivers/system.h"

enum {
    CRON_MAX_US = 1000000, /* a longer pause between two crons is not counted in full */
};

static void show(_Atomic uint64_t *figure, uint64_t value)
{
    atomic_store_explicit(figure, value, memory_order_relaxed);
}

static uint64_t sum(const struct node *node, size_t offset)
{
    return node_sum(node, offset);
}

static uint64_t used_now(const struct node *node)
{
    return (uint64_t)evict_used_bytes(node) +
           sum(node, offsetof(struct worker_stats, client_bytes));
}

static uint64_t raise_peak(struct node *node, uint64_t used)
{
    uint64_t peak = count_get(&node->memory_peak_bytes);

    while (used > peak &&
           !atomic_compare_exchange_weak_explicit(&node->memory_peak_bytes, &peak, used,
                                                  memory_order_relaxed, memory_order_relaxed))
        continue;
    return used > peak ? used : peak;
}

static void note_over_limit(struct worker *worker)
{
    int64_t limit = worker->node->config->maxmemory;
    uint64_t since_us = worker->now_us - count_get(&worker->stats.sampled_at_us);

    show(&worker->stats.sampled_at_us, worker->now_us);
    if (limit > 0 && evict_used_bytes(worker->node) > limit && since_us <= CRON_MAX_US)
        count_add(&worker->stats.over_limit_ms, since_us / 1000);
}

void usage_cron(struct worker *worker)
{
    struct worker_stats *stats = &worker->stats;
    size_t spare_bytes, used_bytes = memory_page_bytes(worker->memory, &spare_bytes);

    show(&stats->page_bytes, used_bytes);
    show(&stats->spare_page_bytes, spare_bytes);
    show(&stats->wheel_bytes, wheel_bytes(worker->wheel) - wheel_empty_bytes());
    show(&stats->expiry_backlog_ms, wheel_backlog_ms(worker->wheel, worker->now_unix_ms));
    if (worker->index != 0)
        return;
    raise_peak(worker->node, used_now(worker->node));
    note_over_limit(worker);
}

/* ---- the allocator and the kernel ---- */

#ifdef POLLUX_JEMALLOC

#define TEXT_OF(macro)       TEXT_OF_TOKEN(macro)
#define TEXT_OF_TOKEN(token) #token

static uint64_t allocator_figure(const char *name)
{
    size_t value = 0, size = sizeof value;

    return mallctl(name, &value, &size, NULL, 0) == 0 ? value : 0;
}

static void ask_allocator(struct memory_sample *sample)
{
    uint64_t epoch = 1;
    size_t size = sizeof epoch;

    mallctl("epoch", &epoch, &size, &epoch, sizeof epoch);
    show(&sample->allocated_bytes, allocator_figure("stats.allocated"));
    show(&sample->active_bytes, allocator_figure("stats.active"));
    show(&sample->resident_bytes, allocator_figure("stats.resident"));
}

const char *usage_allocator(void)
{
    return "jemalloc-" TEXT_OF(JEMALLOC_VERSION_MAJOR) "." TEXT_OF(
        JEMALLOC_VERSION_MINOR) "." TEXT_OF(JEMALLOC_VERSION_BUGFIX);
}

#else

static void ask_allocator(struct memory_sample *sample)
{
}

const char *usage_allocator(void)
{
    return "libc";
}

#endif

static void refresh(struct worker *worker)
{
    struct memory_sample *sample = &worker->node->memory_sample;
    uint64_t taken_us = count_get(&sample->taken_us);

    if (taken_us != 0 && worker->now_us - taken_us < USAGE_SAMPLE_US)
        return;
    /* Whoever wins asks; the others make do with the figures that are there. */
    if (!atomic_compare_exchange_strong_explicit(&sample->taken_us, &taken_us, worker->now_us,
                                                 memory_order_relaxed, memory_order_relaxed))
        return;
    ask_allocator(sample);
    show(&sample->rss_bytes, system_rss_bytes());
}

static uint64_t at_least(uint64_t value, uint64_t low)
{
    return value > low ? value : low;
}

void usage_read(struct worker *worker, struct usage *usage)
{
    struct node *node = worker->node;
    struct memory_sample *sample = &node->memory_sample;
    struct memory_parts parts = {0};
    uint64_t pages = sum(node, offsetof(struct worker_stats, page_bytes));
    uint64_t spare = sum(node, offsetof(struct worker_stats, spare_page_bytes));

    refresh(worker);
    for (uint32_t i = 0; i < node->worker_count; i++)
        memory_add_parts(node->workers[i]->memory, &parts);
    uint64_t stored = (uint64_t)(evict_used_bytes(node) - evict_fixed_bytes(node));
    uint64_t mapped = (uint64_t)parts.mapped_bytes;
    *usage = (struct usage){
        .used = used_now(node),
        .startup = (uint64_t)evict_fixed_bytes(node) + node->worker_count * wheel_empty_bytes(),
        .clients = sum(node, offsetof(struct worker_stats, client_bytes)),
        .tables = (uint64_t)parts.line_bytes,
        .tickets = sum(node, offsetof(struct worker_stats, wheel_bytes)),
        .rss = count_get(&sample->rss_bytes),
    };
    usage->peak = raise_peak(node, usage->used);
    usage->overhead = usage->startup + usage->clients + usage->tables + usage->tickets;
    usage->dataset = usage->used > usage->overhead ? usage->used - usage->overhead : 0;
    /* The figures are not of one moment; none may contradict the others. */
    uint64_t own = (uint64_t)parts.malloc_bytes;
    usage->allocated = at_least(count_get(&sample->allocated_bytes), own) + stored - own;
    usage->active = at_least(count_get(&sample->active_bytes) + pages + mapped, usage->allocated);
    usage->resident =
        at_least(count_get(&sample->resident_bytes) + pages + spare + mapped, usage->active);
}

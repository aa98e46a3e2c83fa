/* INFO: memory. */
#include <stdio.h>

#include "dataplane/commands/info.h"
#include "dataplane/commands/usage.h"
#include "dataplane/worker.h"
#include "drivers/system.h"

/* The figure, and the same for people. */
static void size(struct report *report, const char *name, uint64_t bytes)
{
    char text[REPORT_SIZE_MAX];

    report_size(bytes, text);
    report_format(report, "%s:%llu\r\n%s_human:%s\r\n", name, (unsigned long long)bytes, name,
                  text);
}

static void percent(struct report *report, const char *name, uint64_t part, uint64_t whole)
{
    report_format(report, "%s:%.2f%%\r\n", name, usage_ratio(part, whole) * 100);
}

/* How many times, and how many bytes, the one is more than the other. */
static void excess(struct report *report, const char *name, uint64_t more, uint64_t less)
{
    report_format(report, "%s_ratio:%.2f\r\n%s_bytes:%lld\r\n", name, usage_ratio(more, less), name,
                  (long long)(more - less));
}

static void used(struct report *report, const struct usage *usage)
{
    size(report, "used_memory", usage->used);
    size(report, "used_memory_rss", usage->rss);
    size(report, "used_memory_peak", usage->peak);
    percent(report, "used_memory_peak_perc", usage->used, usage->peak);
    info_number(report, "used_memory_overhead", usage->overhead);
    info_number(report, "used_memory_startup", usage->startup);
    info_number(report, "used_memory_dataset", usage->dataset);
    percent(report, "used_memory_dataset_perc", usage->dataset, usage->used - usage->startup);
    info_number(report, "allocator_allocated", usage->allocated);
    info_number(report, "allocator_active", usage->active);
    info_number(report, "allocator_resident", usage->resident);
}

static void scripts(struct report *report)
{
    static const char *const numbers[] = {"used_memory_scripts_eval", "number_of_cached_scripts",
                                          "number_of_functions",      "number_of_libraries",
                                          "used_memory_vm_functions", NULL};

    info_number(report, "used_memory_lua", 0);
    info_number(report, "used_memory_vm_eval", 0);
    info_text(report, "used_memory_lua_human", "0B");
    info_zeros(report, numbers);
    size(report, "used_memory_vm_total", 0);
    info_number(report, "used_memory_functions", 0);
    size(report, "used_memory_scripts", 0);
}

static const char *policy(const struct config *config)
{
    switch ((enum config_policy)config->maxmemory_policy) {
    case CONFIG_POLICY_ALLKEYS_LRU:
        return "allkeys-lru";
    case CONFIG_POLICY_NOEVICTION:
        break;
    }
    return "noeviction";
}

void info_memory(struct call *call, struct report *report)
{
    static const char *const replicas[] = {"mem_replication_backlog",
                                           "mem_total_replication_buffers", "mem_clients_slaves",
                                           NULL};
    const struct node *node = call->node;
    struct usage usage;

    usage_read(call->worker, &usage);
    used(report, &usage);
    size(report, "total_system_memory", system_memory_bytes());
    scripts(report);
    size(report, "maxmemory", (uint64_t)node->config->maxmemory);
    info_text(report, "maxmemory_policy", policy(node->config));
    excess(report, "allocator_frag", usage.active, usage.allocated);
    excess(report, "allocator_rss", usage.resident, usage.active);
    excess(report, "rss_overhead", usage.rss, usage.resident);
    excess(report, "mem_fragmentation", usage.rss, usage.used);
    info_number(report, "mem_not_counted_for_evict", usage.clients);
    info_zeros(report, replicas);
    info_number(report, "mem_clients_normal", usage.clients);
    info_number(report, "mem_cluster_links", 0);
    info_number(report, "mem_aof_buffer", 0);
    info_text(report, "mem_allocator", usage_allocator());
    info_number(report, "active_defrag_running", 0);
    info_number(report, "lazyfree_pending_objects",
                node_sum(node, offsetof(struct worker_stats, lazyfree_pending)));
    info_number(report, "lazyfreed_objects",
                node_sum(node, offsetof(struct worker_stats, lazyfreed)));
}

/* INFO: which sections, in which order. */
#include "dataplane/commands/info.h"

#include "dataplane/commands/functions.h"
#include "dataplane/node.h"

static const struct section {
    const char *name, *title;
    void (*write)(struct call *call, struct report *report);
    bool by_default;
} sections[] = {
    {"server", "Server", info_server, true},
    {"clients", "Clients", info_clients, true},
    {"memory", "Memory", info_memory, true},
    {"persistence", "Persistence", info_persistence, true},
    {"stats", "Stats", info_stats, true},
    {"replication", "Replication", info_replication, true},
    {"cpu", "CPU", info_cpu, true},
    {"modules", "Modules", info_modules, true},
    {"commandstats", "Commandstats", info_commandstats, false},
    {"errorstats", "Errorstats", info_errorstats, true},
    {"latencystats", "Latencystats", info_latencystats, false},
    {"cluster", "Cluster", info_cluster, true},
    {"keyspace", "Keyspace", info_keyspace, true},
    {"workers", "Workers", info_workers, true},
    {"network", "Network", info_network, true},
};

enum { SECTIONS = sizeof sections / sizeof sections[0] };

static void choose(struct call *call, uint32_t position, bool chosen[SECTIONS])
{
    bool all = call_option(call, position, "all") || call_option(call, position, "everything");
    bool usual = position >= call->argc || call_option(call, position, "default");

    for (int i = 0; i < SECTIONS; i++)
        chosen[i] |= all || (usual && sections[i].by_default) ||
                     call_option(call, position, sections[i].name);
}

void cmd_info(struct call *call)
{
    struct report report = {0};
    bool chosen[SECTIONS] = {false};

    for (uint32_t i = 1; i == 1 || i < call->argc; i++)
        choose(call, i, chosen);
    for (int i = 0; i < SECTIONS; i++) {
        if (!chosen[i])
            continue;
        if (sections[i].write == info_network && call->node->packet_port == NULL)
            continue; /* the kernel's sockets have no such figures */
        report_format(&report, "%s# %s\r\n", report.len_bytes > 0 ? "\r\n" : "", sections[i].title);
        sections[i].write(call, &report);
    }
    report_reply(&report, call->reply);
}

void info_number(struct report *report, const char *name, uint64_t value)
{
    report_format(report, "%s:%llu\r\n", name, (unsigned long long)value);
}

void info_text(struct report *report, const char *name, const char *value)
{
    report_format(report, "%s:%s\r\n", name, value);
}

void info_zeros(struct report *report, const char *const *names)
{
    for (; *names != NULL; names++)
        info_number(report, *names, 0);
}

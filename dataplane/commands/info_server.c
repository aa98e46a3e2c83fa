/* INFO: server, clients, persistence, replication, cpu, modules, cluster. */
#include <string.h>
#include <unistd.h>

#include "dataplane/client/client.h"
#include "dataplane/commands/info.h"
#include "dataplane/commands/server.h"
#include "drivers/system.h"

enum {
    PATH_BYTES = 4096,
    CRON_HZ = 10, /* worker.c */
    SECONDS_A_DAY = 86400,
    REPL_BACKLOG_BYTES = 1 << 20, /* the default of repl-backlog-size, which cannot change yet */
};

static void compiler(struct report *report)
{
#if defined(__clang__)
    report_format(report, "gcc_version:%d.%d.%d\r\nclang_version:%d.%d.%d\r\n", __GNUC__,
                  __GNUC_MINOR__, __GNUC_PATCHLEVEL__, __clang_major__, __clang_minor__,
                  __clang_patchlevel__);
#else
    report_format(report, "gcc_version:%d.%d.%d\r\n", __GNUC__, __GNUC_MINOR__,
                  __GNUC_PATCHLEVEL__);
#endif
}

static void build(const struct node *node, struct report *report)
{
    const char *commit = node->commit != NULL ? node->commit : "";
    const char *dirty = strchr(commit, ':');
    size_t len = dirty != NULL ? (size_t)(dirty - commit) : strlen(commit);

    info_text(report, "redis_version", SERVER_REDIS_VERSION);
    info_text(report, "pollux_version", POLLUX_VERSION);
    report_format(report, "redis_git_sha1:%.*s\r\n", len > 0 ? (int)len : 8,
                  len > 0 ? commit : "00000000");
    info_number(report, "redis_git_dirty", dirty != NULL);
    report_format(report, "redis_build_id:%llx\r\n", (unsigned long long)node->build_id);
}

static void machine(const struct node *node, struct report *report)
{
    char text[SYSTEM_TEXT_MAX];

    system_kernel(text);
    info_text(report, "os", text);
    info_number(report, "arch_bits", sizeof(void *) * 8);
    if (node->tsc.counter) /* `mult` is ns for each tick, 32.32 */
        report_format(report, "monotonic_clock:CPU counter @ %.0f ticks/us\r\n",
                      4294967296.0 * 1000.0 / (double)node->tsc.mult);
    else
        info_text(report, "monotonic_clock", "POSIX clock_gettime");
    info_text(report, "multiplexing_api",
              strcmp(node->driver->name, "uring") == 0 ? "io_uring" : node->driver->name);
    info_text(report, "atomicvar_api", "c11-builtin");
    compiler(report);
}

static void executable(struct report *report)
{
    char path[PATH_BYTES];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);

    path[len > 0 ? len : 0] = '\0';
    info_text(report, "executable", path);
}

void info_server(struct call *call, struct report *report)
{
    const struct node *node = call->node;
    bool cluster = call->session->cluster;
    uint64_t uptime_s = (call->worker->now_us - node->started_us) / 1000000;

    build(node, report);
    info_text(report, "redis_mode", cluster ? "cluster" : "standalone");
    machine(node, report);
    info_number(report, "process_id", (uint64_t)getpid());
    info_text(report, "process_supervised", node->supervised ? "systemd" : "no");
    info_text(report, "run_id", node->run_id);
    info_number(report, "tcp_port",
                cluster ? node_core_port(node, call->session->port_worker)
                        : (uint64_t)node->config->port);
    info_number(report, "server_time_usec", clock_unix_us());
    info_number(report, "uptime_in_seconds", uptime_s);
    info_number(report, "uptime_in_days", uptime_s / SECONDS_A_DAY);
    info_number(report, "hz", CRON_HZ);
    info_number(report, "configured_hz", CRON_HZ);
    info_number(report, "lru_clock", (uint64_t)(call->now_unix_ms / 1000) & 0xffffff);
    executable(report);
    info_text(report, "config_file", node->config->file);
    info_number(report, "io_threads_active", 0);
}

static uint64_t greatest(const struct node *node, size_t offset)
{
    uint64_t most = 0;

    for (uint32_t i = 0; i < node->worker_count; i++) {
        uint64_t value =
            count_get((const _Atomic uint64_t *)((const char *)&node->workers[i]->stats + offset));
        most = value > most ? value : most;
    }
    return most;
}

void info_clients(struct call *call, struct report *report)
{
    static const char *const absent[] = {"blocked_clients", "tracking_clients",
                                         "clients_in_timeout_table", NULL};
    const struct node *node = call->node;
    int64_t count = atomic_load_explicit(&node->client_count, memory_order_relaxed);

    info_number(report, "connected_clients", count > 0 ? (uint64_t)count : 0);
    info_number(report, "cluster_connections", 0);
    info_number(report, "maxclients", (uint64_t)node->config->maxclients);
    info_number(report, "client_recent_max_input_buffer",
                greatest(node, offsetof(struct worker_stats, client_input_max_bytes)));
    info_number(report, "client_recent_max_output_buffer",
                greatest(node, offsetof(struct worker_stats, client_output_max_bytes)));
    info_zeros(report, absent);
}

void info_persistence(struct call *call, struct report *report)
{
    static const char *const before[] = {
        "loading",          "async_loading",        "current_cow_peak",
        "current_cow_size", "current_cow_size_age", NULL};
    static const char *const saves[] = {"current_save_keys_processed", "current_save_keys_total",
                                        NULL};
    static const char *const loads[] = {"rdb_saves",
                                        "rdb_last_cow_size",
                                        "rdb_last_load_keys_expired",
                                        "rdb_last_load_keys_loaded",
                                        "aof_enabled",
                                        "aof_rewrite_in_progress",
                                        "aof_rewrite_scheduled",
                                        NULL};
    static const char *const rewrites[] = {"aof_rewrites", "aof_rewrites_consecutive_failures",
                                           NULL};
    static const char *const after[] = {"aof_last_cow_size", "module_fork_in_progress",
                                        "module_fork_last_cow_size", NULL};
    const struct node *node = call->node;

    info_zeros(report, before);
    info_text(report, "current_fork_perc", "0.00");
    info_zeros(report, saves);
    /* Nothing was ever saved: as redis-server does then, the start counts as the last save. */
    info_number(report, "rdb_changes_since_last_save",
                node_sum(node, offsetof(struct worker_stats, changes)));
    info_number(report, "rdb_bgsave_in_progress", 0);
    info_number(report, "rdb_last_save_time", (uint64_t)node->started_unix_ms / 1000);
    info_text(report, "rdb_last_bgsave_status", "ok");
    info_text(report, "rdb_last_bgsave_time_sec", "-1");
    info_text(report, "rdb_current_bgsave_time_sec", "-1");
    info_zeros(report, loads);
    info_text(report, "aof_last_rewrite_time_sec", "-1");
    info_text(report, "aof_current_rewrite_time_sec", "-1");
    info_text(report, "aof_last_bgrewrite_status", "ok");
    info_zeros(report, rewrites);
    info_text(report, "aof_last_write_status", "ok");
    info_zeros(report, after);
}

void info_replication(struct call *call, struct report *report)
{
    static const char *const absent[] = {"repl_backlog_first_byte_offset", "repl_backlog_histlen",
                                         NULL};

    info_text(report, "role", "master");
    info_number(report, "connected_slaves", 0);
    info_text(report, "master_failover_state", "no-failover");
    info_text(report, "master_replid", call->node->replication_id);
    info_text(report, "master_replid2", "0000000000000000000000000000000000000000");
    info_number(report, "master_repl_offset", 0);
    info_text(report, "second_repl_offset", "-1");
    info_number(report, "repl_backlog_active", 0);
    info_number(report, "repl_backlog_size", REPL_BACKLOG_BYTES);
    info_zeros(report, absent);
}

static void cpu_time(struct report *report, const char *whose, struct system_cpu_time time)
{
    report_format(report, "used_cpu_sys%s:%.6f\r\nused_cpu_user%s:%.6f\r\n", whose,
                  (double)time.system_us / 1e6, whose, (double)time.user_us / 1e6);
}

void info_cpu(struct call *call, struct report *report)
{
    struct system_usage usage;

    system_usage(&usage);
    cpu_time(report, "", usage.process);
    cpu_time(report, "_children", usage.children);
    cpu_time(report, "_main_thread", usage.thread); /* of the worker that answers */
}

void info_modules(struct call *call, struct report *report)
{
}

void info_cluster(struct call *call, struct report *report)
{
    info_number(report, "cluster_enabled", call->session->cluster);
}

/* The rows of config/directive.h. First what this server serves; then what Redis 7.0 knows and this
 * server not yet, of which the default is accepted and everything else refused by name. */
#include "config/directive.h"

#include <assert.h>
#include <string.h>

#define MEBIBYTE (1024 * 1024)

enum {
    CPU_MAX = 1024,        /* CPU numbers are below */
    SOCKET_PATH_MAX = 107, /* sun_path of unix(7), without its NUL */
};

/* Redis takes any positive number for these two. Lengths are added up while a request is read, so
 * they stay far from the ends of the integers that hold them. */
#define BULK_MAX_BYTES         INT32_MAX
#define QUERY_BUFFER_MAX_BYTES (1LL << 40)

static const char *check_power_of_two(const char *text, int64_t number)
{
    return (number & (number - 1)) == 0 ? NULL : "argument must be a power of two";
}

static const char *check_socket_path(const char *text, int64_t number)
{
    return strlen(text) <= SOCKET_PATH_MAX ? NULL : "argument is too long for the path of a socket";
}

/* Reads a number below CPU_MAX; NULL if there is none. */
static const char *cpu_number(const char *at, unsigned *number)
{
    *number = 0;
    if (*at < '0' || *at > '9')
        return NULL;
    for (; *at >= '0' && *at <= '9'; at++) {
        *number = *number * 10 + (unsigned)(*at - '0');
        if (*number >= CPU_MAX)
            return NULL;
    }
    return at;
}

/* "0,2-5,8-14:2": single CPUs, ranges, and ranges with a step. */
static const char *check_cpus(const char *text, int64_t number)
{
    static const char reason[] = "argument must be a list of CPUs, such as 0-3,8";
    unsigned low, high, step;
    const char *at = text;

    if (*at == '\0')
        return NULL;
    for (;;) {
        at = cpu_number(at, &low);
        if (at == NULL)
            return reason;
        if (*at == '-') {
            at = cpu_number(at + 1, &high);
            if (at == NULL || high < low)
                return reason;
            if (*at == ':') {
                at = cpu_number(at + 1, &step);
                if (at == NULL || step == 0)
                    return reason;
            }
        }
        if (*at == '\0')
            return NULL;
        if (*at++ != ',')
            return reason;
    }
}

/* Choices in the order in which Redis lists them. */
static const struct directive_choice drivers[] = {{"uring", CONFIG_DRIVER_URING, false},
                                                  {"epoll", CONFIG_DRIVER_EPOLL, false},
                                                  {"dpdk", CONFIG_DRIVER_DPDK, false},
                                                  {NULL, 0, false}};
static const struct directive_choice congestions[] = {{"cubic", CONFIG_CONGESTION_CUBIC, false},
                                                      {"newreno", CONFIG_CONGESTION_NEWRENO, false},
                                                      {NULL, 0, false}};
static const struct directive_choice offloads[] = {{"no", CONFIG_OFFLOADS_NO, false},
                                                   {"yes", CONFIG_OFFLOADS_YES, false},
                                                   {"checksums", CONFIG_OFFLOADS_CHECKSUMS, false},
                                                   {NULL, 0, false}};
static const struct directive_choice kernel_paths[] = {{"no", 0, false},
                                                       {"yes", 1, false},
                                                       {NULL, 0, false}};
static const struct directive_choice policies[] = {{"volatile-lru", -1, true},
                                                   {"volatile-lfu", -1, true},
                                                   {"volatile-random", -1, true},
                                                   {"volatile-ttl", -1, true},
                                                   {"allkeys-lru", CONFIG_POLICY_ALLKEYS_LRU,
                                                    false},
                                                   {"allkeys-lfu", -1, true},
                                                   {"allkeys-random", -1, true},
                                                   {"noeviction", CONFIG_POLICY_NOEVICTION, false},
                                                   {NULL, 0, false}};
static const struct directive_choice loglevels[] = {{"debug", CONFIG_LOG_DEBUG, false},
                                                    {"verbose", CONFIG_LOG_VERBOSE, false},
                                                    {"notice", CONFIG_LOG_NOTICE, false},
                                                    {"warning", CONFIG_LOG_WARNING, false},
                                                    {NULL, 0, false}};
static const struct directive_choice facilities[] = {{"user", 0, false},   {"local0", 1, false},
                                                     {"local1", 2, false}, {"local2", 3, false},
                                                     {"local3", 4, false}, {"local4", 5, false},
                                                     {"local5", 6, false}, {"local6", 7, false},
                                                     {"local7", 8, false}, {NULL, 0, false}};
static const struct directive_choice supervisors[] = {{"upstart", -1, true},
                                                      {"systemd", CONFIG_SUPERVISED_SYSTEMD, false},
                                                      {"auto", CONFIG_SUPERVISED_AUTO, false},
                                                      {"no", CONFIG_SUPERVISED_NO, false},
                                                      {NULL, 0, false}};
static const struct directive_choice locals[] = {{"no", CONFIG_NO, false},
                                                 {"yes", CONFIG_YES, false},
                                                 {"local", CONFIG_LOCAL, false},
                                                 {NULL, 0, false}};

/* Of directives whose feature is not there: which choices there are is all that counts. */
#define PLAIN2(name, a, b)                                                                         \
    static const struct directive_choice name[] = {{a, 0, false}, {b, 1, false}, {NULL, 0, false}}
#define PLAIN3(name, a, b, c)                                                                      \
    static const struct directive_choice name[] = {{a, 0, false},                                  \
                                                   {b, 1, false},                                  \
                                                   {c, 2, false},                                  \
                                                   {NULL, 0, false}}
PLAIN3(fsyncs, "everysec", "always", "no");
PLAIN3(sanitizings, "no", "yes", "clients");
PLAIN3(diskless_loads, "disabled", "on-empty-db", "swapdb");
PLAIN3(propagations, "ignore", "panic", "panic-on-replicas");
PLAIN3(endpoint_types, "ip", "hostname", "unknown-endpoint");
PLAIN3(tls_auths, "no", "yes", "optional");
PLAIN2(pubsub_defaults, "allchannels", "resetchannels");
static const struct directive_choice oom_adjusts[] = {{"no", 0, false},
                                                      {"yes", 1, false},
                                                      {"relative", 1, false},
                                                      {"absolute", 2, false},
                                                      {NULL, 0, false}};

#define ROW(name_, kind_, fallback_) .name = name_, .kind = DIRECTIVE_##kind_, .fallback = fallback_
#define AT(field)                    .offset = offsetof(struct config, field)
#define RANGE(low, high)             .min = low, .max = high

enum {
    START = DIRECTIVE_IMMUTABLE,
    PROTECTED = DIRECTIVE_PROTECTED,
    SENSITIVE = DIRECTIVE_SENSITIVE,
    MULTI = DIRECTIVE_MULTI,
    HIDDEN = DIRECTIVE_HIDDEN,
    LATER = DIRECTIVE_LATER,
};

/* clang-format off */
const struct directive directives[] = {
    /* Network. */
    {ROW("bind", LIST, "127.0.0.1 -::1"), .flags = MULTI, AT(bind)},
    {ROW("port", INT, "6379"), AT(port), RANGE(0, 65535)},
    {ROW("unixsocket", STRING, ""), .flags = START, AT(unixsocket), .check = check_socket_path},
    {ROW("unixsocketperm", OCTAL, "0"), .flags = START, AT(unixsocketperm), RANGE(0, 0777)},
    {ROW("tcp-backlog", INT, "511"), .flags = START, AT(tcp_backlog), RANGE(0, INT32_MAX)},
    {ROW("tcp-keepalive", INT, "300"), AT(tcp_keepalive), RANGE(0, INT32_MAX)},
    {ROW("timeout", INT, "0"), AT(timeout), RANGE(0, INT32_MAX)},
    {ROW("maxclients", INT, "10000"), AT(maxclients), RANGE(1, UINT32_MAX)},
    {ROW("protected-mode", BOOL, "yes"), AT(protected_mode)},
    {ROW("net-driver", ENUM, "uring"), .flags = START, AT(net_driver), .choices = drivers},
    {ROW("per-core-endpoints", BOOL, "no"), .flags = START, AT(per_core_endpoints)},
    {ROW("per-core-port-base", INT, "0"), .flags = START, AT(per_core_port_base), RANGE(0, 65535)},

    /* Kernel bypass. */
    {ROW("dpdk-port", STRING, ""), .flags = START, AT(dpdk_port)},
    {ROW("dpdk-args", LIST, ""), .flags = START | MULTI, AT(dpdk_args)},
    {ROW("dpdk-address", LIST, ""), .flags = START | MULTI, AT(dpdk_address)},
    {ROW("dpdk-gateway", LIST, ""), .flags = START | MULTI, AT(dpdk_gateway)},
    {ROW("dpdk-mtu", INT, "1500"), .flags = START, AT(dpdk_mtu),
     RANGE(CONFIG_MTU_MIN, CONFIG_MTU_MAX)},
    {ROW("dpdk-queues", INT, "0"), .flags = START, AT(dpdk_queues), RANGE(0, 64)},
    {ROW("dpdk-offloads", ENUM, "yes"), .flags = START, AT(dpdk_offloads), .choices = offloads},
    {ROW("dpdk-flow-isolation", BOOL, "no"), .flags = START, AT(dpdk_flow_isolation)},
    {ROW("dpdk-kernel-path", ENUM, "no"), .flags = START, AT(dpdk_kernel_path),
     .choices = kernel_paths},
    {ROW("dpdk-idle", INT, "0"), .flags = START, AT(dpdk_idle), RANGE(0, 1000000000)},
    {ROW("dpdk-congestion", ENUM, "cubic"), .flags = START, AT(dpdk_congestion),
     .choices = congestions},

    /* Workers and memory. */
    {ROW("workers", INT, NULL), .flags = START, AT(workers), RANGE(1, CONFIG_WORKERS_MAX)},
    {ROW("worker-cpus", STRING, ""), .flags = START, AT(worker_cpus), .check = check_cpus},
    {ROW("worker-mailbox-size", INT, "1024"), .flags = START, AT(worker_mailbox_size),
     RANGE(CONFIG_MAILBOX_MIN, CONFIG_MAILBOX_MAX), .check = check_power_of_two},
    {ROW("worker-watchdog", INT, "0"), AT(worker_watchdog), RANGE(0, CONFIG_WATCHDOG_MAX_S)},
    {ROW("databases", INT, "16"), .flags = START, AT(databases), RANGE(1, CONFIG_DATABASES_MAX)},
    {ROW("maxmemory", MEMORY, "0"), AT(maxmemory), RANGE(0, INT64_MAX)},
    {ROW("maxmemory-policy", ENUM, "noeviction"), AT(maxmemory_policy), .choices = policies},
    {ROW("lazyfree-lazy-eviction", BOOL, "no"), AT(lazyfree_lazy_eviction)},
    {ROW("lazyfree-lazy-expire", BOOL, "no"), AT(lazyfree_lazy_expire)},
    {ROW("lazyfree-lazy-server-del", BOOL, "no"), AT(lazyfree_lazy_server_del)},
    {ROW("lazyfree-lazy-user-del", BOOL, "no"), AT(lazyfree_lazy_user_del)},
    {ROW("lazyfree-lazy-user-flush", BOOL, "no"), AT(lazyfree_lazy_user_flush)},

    /* Clients. */
    {ROW("requirepass", STRING, ""), .flags = SENSITIVE, AT(requirepass)},
    {ROW("proto-max-bulk-len", MEMORY, "512mb"), AT(proto_max_bulk_len),
     RANGE(MEBIBYTE, BULK_MAX_BYTES)},
    {ROW("client-query-buffer-limit", MEMORY, "1gb"), AT(client_query_buffer_limit),
     RANGE(MEBIBYTE, QUERY_BUFFER_MAX_BYTES)},
    {ROW("client-output-buffer-limit", LIMITS,
         "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60"),
     .flags = MULTI, AT(client_output_buffer_limit)},

    /* Process and log. */
    {ROW("dir", DIR, NULL), .flags = PROTECTED, AT(dir)},
    {ROW("loglevel", ENUM, "notice"), AT(loglevel), .choices = loglevels},
    {ROW("logfile", STRING, ""), .flags = START, AT(logfile)},
    {ROW("syslog-enabled", BOOL, "no"), .flags = START, AT(syslog_enabled)},
    {ROW("syslog-ident", STRING, "redis"), .flags = START, AT(syslog_ident)},
    {ROW("syslog-facility", ENUM, "local0"), .flags = START, AT(syslog_facility),
     .choices = facilities},
    {ROW("daemonize", BOOL, "no"), .flags = START, AT(daemonize)},
    {ROW("pidfile", STRING, ""), .flags = START, AT(pidfile)},
    {ROW("supervised", ENUM, "no"), .flags = START, AT(supervised), .choices = supervisors},

    /* Observation and protection. */
    {ROW("slowlog-log-slower-than", INT, "10000"), AT(slowlog_log_slower_than),
     RANGE(-1, INT64_MAX)},
    {ROW("slowlog-max-len", INT, "128"), AT(slowlog_max_len), RANGE(0, INT64_MAX)},
    {ROW("latency-monitor-threshold", INT, "0"), AT(latency_monitor_threshold),
     RANGE(0, INT64_MAX)},
    {ROW("latency-tracking", BOOL, "yes"), AT(latency_tracking)},
    {ROW("latency-tracking-info-percentiles", PERCENTILES, "50 99 99.9"), .flags = MULTI,
     AT(latency_tracking_info_percentiles)},
    {ROW("enable-debug-command", ENUM, "no"), .flags = START, AT(enable_debug_command),
     .choices = locals},
    {ROW("enable-protected-configs", ENUM, "no"), .flags = START, AT(enable_protected_configs),
     .choices = locals},

    /* Snapshots and the append-only file. */
    {ROW("save", SAVE, ""), .flags = LATER | MULTI},
    {ROW("appendonly", BOOL, "no"), .flags = LATER},
    {ROW("appendfsync", ENUM, "everysec"), .flags = LATER, .choices = fsyncs},
    {ROW("appendfilename", STRING, "appendonly.aof"), .flags = LATER | START},
    {ROW("appenddirname", STRING, "appendonlydir"), .flags = LATER | START},
    {ROW("dbfilename", STRING, "dump.rdb"), .flags = LATER | PROTECTED},
    {ROW("rdbcompression", BOOL, "yes"), .flags = LATER},
    {ROW("rdb-del-sync-files", BOOL, "no"), .flags = LATER},
    {ROW("stop-writes-on-bgsave-error", BOOL, "yes"), .flags = LATER},
    {ROW("aof-rewrite-incremental-fsync", BOOL, "yes"), .flags = LATER},
    {ROW("no-appendfsync-on-rewrite", BOOL, "no"), .flags = LATER},
    {ROW("rdb-save-incremental-fsync", BOOL, "yes"), .flags = LATER},
    {ROW("aof-load-truncated", BOOL, "yes"), .flags = LATER},
    {ROW("aof-use-rdb-preamble", BOOL, "yes"), .flags = LATER},
    {ROW("aof-timestamp-enabled", BOOL, "no"), .flags = LATER},
    {ROW("aof-disable-auto-gc", BOOL, "no"), .flags = LATER},
    {ROW("rdbchecksum", BOOL, "yes"), .flags = LATER | START},
    {ROW("sanitize-dump-payload", ENUM, "no"), .flags = LATER, .choices = sanitizings},
    {ROW("auto-aof-rewrite-percentage", INT, "100"), .flags = LATER, RANGE(0, INT32_MAX)},
    {ROW("auto-aof-rewrite-min-size", MEMORY, "64mb"), .flags = LATER, RANGE(0, INT64_MAX)},
    {ROW("rdb-key-save-delay", INT, "0"), .flags = LATER | HIDDEN, RANGE(INT32_MIN, INT32_MAX)},
    {ROW("key-load-delay", INT, "0"), .flags = LATER | HIDDEN, RANGE(INT32_MIN, INT32_MAX)},

    /* Replication. */
    {ROW("replicaof", LIST, ""), .flags = LATER | START | MULTI, .alias = "slaveof",
     .also = "no one"},
    {ROW("masteruser", STRING, ""), .flags = LATER},
    {ROW("masterauth", STRING, ""), .flags = LATER | SENSITIVE},
    {ROW("replica-announce-ip", STRING, ""), .flags = LATER, .alias = "slave-announce-ip"},
    {ROW("replica-announce-port", INT, "0"), .flags = LATER, .alias = "slave-announce-port",
     RANGE(0, 65535)},
    {ROW("replica-lazy-flush", BOOL, "no"), .flags = LATER, .alias = "slave-lazy-flush"},
    {ROW("replica-serve-stale-data", BOOL, "yes"), .flags = LATER,
     .alias = "slave-serve-stale-data"},
    {ROW("replica-read-only", BOOL, "yes"), .flags = LATER, .alias = "slave-read-only"},
    {ROW("replica-ignore-maxmemory", BOOL, "yes"), .flags = LATER,
     .alias = "slave-ignore-maxmemory"},
    {ROW("replica-announced", BOOL, "yes"), .flags = LATER},
    {ROW("replica-ignore-disk-write-errors", BOOL, "no"), .flags = LATER},
    {ROW("repl-disable-tcp-nodelay", BOOL, "no"), .flags = LATER},
    {ROW("repl-diskless-sync", BOOL, "yes"), .flags = LATER},
    {ROW("repl-diskless-load", ENUM, "disabled"), .flags = LATER, .choices = diskless_loads},
    {ROW("replica-priority", INT, "100"), .flags = LATER, .alias = "slave-priority",
     RANGE(0, INT32_MAX)},
    {ROW("repl-diskless-sync-delay", INT, "5"), .flags = LATER, RANGE(0, INT32_MAX)},
    {ROW("repl-diskless-sync-max-replicas", INT, "0"), .flags = LATER, RANGE(0, INT32_MAX)},
    {ROW("repl-timeout", INT, "60"), .flags = LATER, RANGE(1, INT32_MAX)},
    {ROW("repl-ping-replica-period", INT, "10"), .flags = LATER, .alias = "repl-ping-slave-period",
     RANGE(1, INT32_MAX)},
    {ROW("repl-backlog-ttl", INT, "3600"), .flags = LATER, RANGE(0, INT64_MAX)},
    {ROW("repl-backlog-size", MEMORY, "1mb"), .flags = LATER, RANGE(1, INT64_MAX)},
    {ROW("min-replicas-to-write", INT, "0"), .flags = LATER, .alias = "min-slaves-to-write",
     RANGE(0, INT32_MAX)},
    {ROW("min-replicas-max-lag", INT, "10"), .flags = LATER, .alias = "min-slaves-max-lag",
     RANGE(0, INT32_MAX)},
    {ROW("propagation-error-behavior", ENUM, "ignore"), .flags = LATER, .choices = propagations},

    /* Cluster. */
    {ROW("cluster-enabled", BOOL, "no"), .flags = LATER | START,
     .advice = "see per-core-endpoints"},
    {ROW("cluster-require-full-coverage", BOOL, "yes"), .flags = LATER},
    {ROW("cluster-replica-no-failover", BOOL, "no"), .flags = LATER,
     .alias = "cluster-slave-no-failover"},
    {ROW("cluster-allow-reads-when-down", BOOL, "no"), .flags = LATER},
    {ROW("cluster-allow-pubsubshard-when-down", BOOL, "yes"), .flags = LATER},
    {ROW("cluster-allow-replica-migration", BOOL, "yes"), .flags = LATER},
    {ROW("cluster-announce-ip", STRING, ""), .flags = LATER},
    {ROW("cluster-config-file", STRING, "nodes.conf"), .flags = LATER | START},
    {ROW("cluster-announce-hostname", STRING, ""), .flags = LATER},
    {ROW("cluster-preferred-endpoint-type", ENUM, "ip"), .flags = LATER, .choices = endpoint_types},
    {ROW("cluster-replica-validity-factor", INT, "10"), .flags = LATER,
     .alias = "cluster-slave-validity-factor", RANGE(0, INT32_MAX)},
    {ROW("cluster-migration-barrier", INT, "1"), .flags = LATER, RANGE(0, INT32_MAX)},
    {ROW("cluster-port", INT, "0"), .flags = LATER | START, RANGE(0, 65535)},
    {ROW("cluster-announce-bus-port", INT, "0"), .flags = LATER, RANGE(0, 65535)},
    {ROW("cluster-announce-port", INT, "0"), .flags = LATER, RANGE(0, 65535)},
    {ROW("cluster-announce-tls-port", INT, "0"), .flags = LATER, RANGE(0, 65535)},
    {ROW("cluster-node-timeout", INT, "15000"), .flags = LATER, RANGE(0, INT64_MAX)},
    {ROW("cluster-link-sendbuf-limit", MEMORY, "0"), .flags = LATER, RANGE(0, INT64_MAX)},

    /* TLS. */
    {ROW("tls-port", INT, "0"), .flags = LATER, RANGE(0, 65535)},
    {ROW("tls-session-cache-size", INT, "20480"), .flags = LATER, RANGE(0, INT32_MAX)},
    {ROW("tls-session-cache-timeout", INT, "300"), .flags = LATER, RANGE(0, INT32_MAX)},
    {ROW("tls-cluster", BOOL, "no"), .flags = LATER},
    {ROW("tls-replication", BOOL, "no"), .flags = LATER},
    {ROW("tls-prefer-server-ciphers", BOOL, "no"), .flags = LATER},
    {ROW("tls-session-caching", BOOL, "yes"), .flags = LATER},
    {ROW("tls-auth-clients", ENUM, "yes"), .flags = LATER, .choices = tls_auths},
    {ROW("tls-cert-file", STRING, ""), .flags = LATER},
    {ROW("tls-key-file", STRING, ""), .flags = LATER},
    {ROW("tls-client-cert-file", STRING, ""), .flags = LATER},
    {ROW("tls-client-key-file", STRING, ""), .flags = LATER},
    {ROW("tls-dh-params-file", STRING, ""), .flags = LATER},
    {ROW("tls-ca-cert-file", STRING, ""), .flags = LATER},
    {ROW("tls-ca-cert-dir", STRING, ""), .flags = LATER},
    {ROW("tls-protocols", STRING, ""), .flags = LATER},
    {ROW("tls-ciphers", STRING, ""), .flags = LATER},
    {ROW("tls-ciphersuites", STRING, ""), .flags = LATER},
    {ROW("tls-key-file-pass", STRING, ""), .flags = LATER | SENSITIVE},
    {ROW("tls-client-key-file-pass", STRING, ""), .flags = LATER | SENSITIVE},

    /* Access control, scripts, modules. */
    {ROW("aclfile", STRING, ""), .flags = LATER | START},
    {ROW("acllog-max-len", INT, "128"), .flags = LATER, RANGE(0, INT64_MAX)},
    {ROW("acl-pubsub-default", ENUM, "resetchannels"), .flags = LATER, .choices = pubsub_defaults},
    {ROW("enable-module-command", ENUM, "no"), .flags = LATER | START, .choices = locals},
    {ROW("busy-reply-threshold", INT, "5000"), .flags = LATER, .alias = "lua-time-limit",
     RANGE(0, INT64_MAX)},

    /* Data types and the keyspace. */
    {ROW("hash-max-listpack-entries", INT, "512"), .flags = LATER,
     .alias = "hash-max-ziplist-entries", RANGE(0, INT64_MAX)},
    {ROW("hash-max-listpack-value", MEMORY, "64"), .flags = LATER,
     .alias = "hash-max-ziplist-value", RANGE(0, INT64_MAX)},
    {ROW("list-max-listpack-size", INT, "-2"), .flags = LATER, .alias = "list-max-ziplist-size",
     RANGE(INT32_MIN, INT32_MAX)},
    {ROW("list-compress-depth", INT, "0"), .flags = LATER, RANGE(0, INT32_MAX)},
    {ROW("set-max-intset-entries", INT, "512"), .flags = LATER, RANGE(0, INT64_MAX)},
    {ROW("zset-max-listpack-entries", INT, "128"), .flags = LATER,
     .alias = "zset-max-ziplist-entries", RANGE(0, INT64_MAX)},
    {ROW("zset-max-listpack-value", MEMORY, "64"), .flags = LATER,
     .alias = "zset-max-ziplist-value", RANGE(0, INT64_MAX)},
    {ROW("hll-sparse-max-bytes", MEMORY, "3000"), .flags = LATER, RANGE(0, INT64_MAX)},
    {ROW("stream-node-max-bytes", MEMORY, "4096"), .flags = LATER, RANGE(0, INT64_MAX)},
    {ROW("stream-node-max-entries", INT, "100"), .flags = LATER, RANGE(0, INT64_MAX)},
    {ROW("notify-keyspace-events", STRING, ""), .flags = LATER},
    {ROW("tracking-table-max-keys", INT, "1000000"), .flags = LATER, RANGE(0, INT64_MAX)},
    {ROW("maxmemory-clients", MEMORY_SHARE, "0"), .flags = LATER, RANGE(-100, INT64_MAX)},
    {ROW("maxmemory-samples", INT, "5"), .flags = LATER, RANGE(1, INT32_MAX)},
    {ROW("maxmemory-eviction-tenacity", INT, "10"), .flags = LATER, RANGE(0, 100)},
    {ROW("lfu-log-factor", INT, "10"), .flags = LATER, RANGE(0, INT32_MAX)},
    {ROW("lfu-decay-time", INT, "1"), .flags = LATER, RANGE(0, INT32_MAX)},
    {ROW("active-expire-effort", INT, "1"), .flags = LATER, RANGE(1, 10)},
    {ROW("activerehashing", BOOL, "yes"), .flags = LATER},
    {ROW("hz", INT, "10"), .flags = LATER, RANGE(0, INT32_MAX)},
    {ROW("dynamic-hz", BOOL, "yes"), .flags = LATER},
    {ROW("activedefrag", BOOL, "no"), .flags = LATER},
    {ROW("active-defrag-ignore-bytes", MEMORY, "100mb"), .flags = LATER, RANGE(1, INT64_MAX)},
    {ROW("active-defrag-cycle-min", INT, "1"), .flags = LATER, RANGE(1, 99)},
    {ROW("active-defrag-cycle-max", INT, "25"), .flags = LATER, RANGE(1, 99)},
    {ROW("active-defrag-threshold-lower", INT, "10"), .flags = LATER, RANGE(0, 1000)},
    {ROW("active-defrag-threshold-upper", INT, "100"), .flags = LATER, RANGE(0, 1000)},
    {ROW("active-defrag-max-scan-fields", INT, "1000"), .flags = LATER, RANGE(1, INT64_MAX)},

    /* Process. */
    {ROW("always-show-logo", BOOL, "no"), .flags = LATER | START},
    {ROW("set-proc-title", BOOL, "yes"), .flags = LATER | START},
    {ROW("proc-title-template", STRING, "{title} {listen-addr} {server-mode}"), .flags = LATER},
    {ROW("crash-log-enabled", BOOL, "yes"), .flags = LATER},
    {ROW("crash-memcheck-enabled", BOOL, "yes"), .flags = LATER},
    {ROW("use-exit-on-panic", BOOL, "no"), .flags = LATER | HIDDEN},
    {ROW("disable-thp", BOOL, "yes"), .flags = LATER | START},
    {ROW("jemalloc-bg-thread", BOOL, "yes"), .flags = LATER},
    {ROW("oom-score-adj", ENUM, "no"), .flags = LATER, .choices = oom_adjusts},
    {ROW("oom-score-adj-values", LIST, "0 200 800"), .flags = LATER | MULTI},
    {ROW("ignore-warnings", STRING, ""), .flags = LATER},
    {ROW("bind-source-addr", STRING, ""), .flags = LATER},
    {ROW("socket-mark-id", INT, "0"), .flags = LATER | START, RANGE(0, UINT32_MAX)},
    {ROW("watchdog-period", INT, "0"), .flags = LATER | HIDDEN, RANGE(0, INT32_MAX)},
    {ROW("shutdown-timeout", INT, "10"), .flags = LATER, RANGE(0, INT32_MAX)},
    {ROW("shutdown-on-sigint", LIST, "default"), .flags = LATER | MULTI},
    {ROW("shutdown-on-sigterm", LIST, "default"), .flags = LATER | MULTI},
    {ROW("io-threads", INT, "1"), .flags = LATER | START, RANGE(1, 128), .advice = "see workers"},
    {ROW("io-threads-do-reads", BOOL, "no"), .flags = LATER | START, .advice = "see workers"},
    {ROW("server_cpulist", STRING, ""), .flags = LATER | START, .advice = "see worker-cpus"},
    {ROW("bio_cpulist", STRING, ""), .flags = LATER | START},
    {ROW("aof_rewrite_cpulist", STRING, ""), .flags = LATER | START},
    {ROW("bgsave_cpulist", STRING, ""), .flags = LATER | START},
};
/* clang-format on */

const unsigned directive_count = sizeof(directives) / sizeof(directives[0]);
static_assert(sizeof(directives) / sizeof(directives[0]) <= DIRECTIVES_MAX,
              "the bitmap of config_get");

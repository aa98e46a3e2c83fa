/* Configuration: the values an operator can set, and the commands that read and change them.
 * Purpose:   one struct with the current values; CONFIG GET and CONFIG SET over the table of
 *            directives (config/directive.h). Loading is config/load.h, CONFIG REWRITE
 *            config/rewrite.h.
 * Ownership: config_create/config_destroy. Strings and lists are immutable values that the struct
 *            owns; a replaced one is retired, and freed by config_reclaim or config_destroy.
 * Threading: any thread reads values, and calls config_get, at any time and without a lock; a
 *            worker that keeps derived values compares `generation` once a turn. A pointer read
 *            from here holds until the reader next tells (through whoever calls config_reclaim)
 *            that it has seen a newer generation. config_set, config_reclaim and config_rewrite
 *            exclude each other by one mutex. config_create and config_load run before any other
 *            thread exists.
 * Errors:    see each function; nothing that a file, a client or the command line says ends the
 *            process. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CONFIG_WORKERS_MAX = 128,
    CONFIG_DATABASES_MAX = 1024,
    CONFIG_BIND_MAX = 16, /* addresses */
    CONFIG_PERCENTILES_MAX = 32,
    CONFIG_MTU_MIN = 576, /* bytes behind the Ethernet header */
    CONFIG_MTU_MAX = 9000,
    CONFIG_MAILBOX_MIN = 4, /* entries */
    CONFIG_MAILBOX_MAX = 65536,
    CONFIG_WATCHDOG_MAX_S = 86400,  /* a day */
    CONFIG_VALUE_MAX_BYTES = 65536, /* one argument of a directive; one line of a file */
    CONFIG_GET_PATTERNS_MAX = 1024, /* of one config_get */
    CONFIG_SET_PAIRS_MAX = 1024,    /* of one config_set; more than there are directives */
    CONFIG_REASON_MAX = 1024,       /* bytes of an error text, NUL included */
};

/* Values of the enumerated directives. */
enum config_loglevel {
    CONFIG_LOG_DEBUG,
    CONFIG_LOG_VERBOSE,
    CONFIG_LOG_NOTICE,
    CONFIG_LOG_WARNING
};
enum config_driver { CONFIG_DRIVER_URING, CONFIG_DRIVER_EPOLL, CONFIG_DRIVER_DPDK };
enum config_offloads { CONFIG_OFFLOADS_NO, CONFIG_OFFLOADS_YES, CONFIG_OFFLOADS_CHECKSUMS };
enum config_congestion { CONFIG_CONGESTION_CUBIC, CONFIG_CONGESTION_NEWRENO };
enum config_local { CONFIG_NO, CONFIG_YES, CONFIG_LOCAL }; /* LOCAL: only for local connections */
enum config_supervised { CONFIG_SUPERVISED_NO, CONFIG_SUPERVISED_AUTO, CONFIG_SUPERVISED_SYSTEMD };
enum config_policy { CONFIG_POLICY_NOEVICTION, CONFIG_POLICY_ALLKEYS_LRU };
enum config_class {
    CONFIG_CLASS_NORMAL,
    CONFIG_CLASS_REPLICA,
    CONFIG_CLASS_PUBSUB,
    CONFIG_CLASSES
};

/* An immutable list of words. */
struct config_list {
    unsigned count;
    const char *items[];
};

/* Immutable percentiles in the order given, each from 0 to 100. */
struct config_percentiles {
    unsigned count;
    double values[];
};

/* An output buffer limit; 0 bytes: no limit. A client is closed at once over `hard_bytes`, and when
 * it has been over `soft_bytes` for `soft_seconds`. */
struct config_limit {
    _Atomic int64_t hard_bytes;
    _Atomic int64_t soft_bytes;
    _Atomic int64_t soft_seconds;
};

struct config_retired;

/* Current values, named like their directives. Numbers, booleans (0 or 1) and enums are plain to
 * read: `config->timeout`. Strings are never NULL; empty means unset. "start": fixed after
 * config_load. */
struct config {
    _Atomic uint64_t generation; /* raised after each successful config_set */

    /* Network */
    struct config_list *_Atomic bind; /* IPv4 or IPv6; a leading '-': fine if it is not available */
    _Atomic int64_t port;             /* 0: no TCP */
    const char *_Atomic unixsocket;   /* start; "": none */
    _Atomic int64_t unixsocketperm;   /* start; mode bits, 0: leave */
    _Atomic int64_t tcp_backlog;      /* start */
    _Atomic int64_t tcp_keepalive;    /* seconds, 0: off */
    _Atomic int64_t timeout;          /* seconds that a client may idle, 0: for ever */
    _Atomic int64_t maxclients;
    _Atomic int64_t protected_mode;
    _Atomic int64_t net_driver;         /* start; enum config_driver */
    _Atomic int64_t per_core_endpoints; /* start */
    _Atomic int64_t per_core_port_base; /* start; 0: port + 1 */

    /* Kernel bypass; all "start" */
    const char *_Atomic dpdk_port;            /* a PCI address or a virtual device; "": none */
    struct config_list *_Atomic dpdk_args;    /* more words for EAL */
    struct config_list *_Atomic dpdk_address; /* ours, each with the length of its prefix */
    struct config_list *_Atomic dpdk_gateway; /* one IPv4, one IPv6 */
    _Atomic int64_t dpdk_mtu;                 /* bytes */
    _Atomic int64_t dpdk_queues;              /* queue pairs to use; 0: one a worker */
    _Atomic int64_t dpdk_offloads;       /* enum config_offloads: what the card does, if it can */
    _Atomic int64_t dpdk_flow_isolation; /* the kernel keeps all but our TCP ports */
    _Atomic int64_t dpdk_kernel_path;    /* what is not ours goes to the kernel */
    _Atomic int64_t dpdk_idle;           /* us of quiet before a worker sleeps; 0: never */
    _Atomic int64_t dpdk_congestion;     /* enum config_congestion */

    /* Workers and memory */
    _Atomic int64_t workers;             /* start; at least 1 */
    const char *_Atomic worker_cpus;     /* start; "0-3,8" or "": the affinity mask */
    _Atomic int64_t worker_mailbox_size; /* start; entries of one ring, a power of two */
    _Atomic int64_t worker_watchdog;     /* seconds that a worker may hang, 0: for ever */
    _Atomic int64_t databases;           /* start */
    _Atomic int64_t maxmemory;           /* bytes, 0: no limit */
    _Atomic int64_t maxmemory_policy;    /* enum config_policy */
    _Atomic int64_t lazyfree_lazy_eviction;
    _Atomic int64_t lazyfree_lazy_expire;
    _Atomic int64_t lazyfree_lazy_server_del;
    _Atomic int64_t lazyfree_lazy_user_del;
    _Atomic int64_t lazyfree_lazy_user_flush;

    /* Clients */
    const char *_Atomic requirepass;           /* "": nobody needs to authenticate */
    _Atomic int64_t proto_max_bulk_len;        /* bytes */
    _Atomic int64_t client_query_buffer_limit; /* bytes */
    struct config_limit client_output_buffer_limit[CONFIG_CLASSES];

    /* Process and log */
    const char *_Atomic dir;          /* absolute; also the working directory of the process */
    _Atomic int64_t loglevel;         /* enum config_loglevel */
    const char *_Atomic logfile;      /* start; "": standard output */
    _Atomic int64_t syslog_enabled;   /* start */
    const char *_Atomic syslog_ident; /* start */
    _Atomic int64_t syslog_facility;  /* start; 0: user, 1 + n: localn */
    _Atomic int64_t daemonize;        /* start */
    const char *_Atomic pidfile;      /* start; "": none */
    _Atomic int64_t supervised;       /* start; enum config_supervised */

    /* Observation */
    _Atomic int64_t slowlog_log_slower_than; /* us; negative: off */
    _Atomic int64_t slowlog_max_len;
    _Atomic int64_t latency_monitor_threshold; /* ms, 0: off */
    _Atomic int64_t latency_tracking;
    struct config_percentiles *_Atomic latency_tracking_info_percentiles;
    _Atomic int64_t enable_debug_command;     /* start; enum config_local */
    _Atomic int64_t enable_protected_configs; /* start; enum config_local */

    /* Not directives. */
    const char *file;               /* absolute path of the file it was loaded from; "": none */
    int64_t cores;                  /* default of `workers`: counted before threads are pinned */
    struct config_retired *retired; /* under `mutex` */
    pthread_mutex_t mutex;
};

/* A new configuration with all defaults (`workers`: the cores of the affinity mask; `dir`: the
 * working directory). NULL when there is no memory or the working directory cannot be told. */
struct config *config_create(void);
void config_destroy(struct config *config);

/* Bytes of a client: a pattern, a name or a value. */
struct config_span {
    const char *data;
    size_t len;
};

/* Called for each directive found; the bytes hold during the call. */
typedef void config_emit(void *arg, const char *name, size_t name_len, const char *value,
                         size_t value_len);

/* Emits the directives that match any of the patterns, each name once, an alias as a name of its
 * own. Without a wildcard the name is emitted as it was asked for. Returns how many were emitted
 * (in no promised order), or -E2BIG beyond CONFIG_GET_PATTERNS_MAX. */
int config_get(const struct config *config, const struct config_span *patterns, unsigned count,
               config_emit *emit, void *arg);

/* One directive that config_set has changed: its canonical name. */
struct config_change {
    const char *name;
};

/* Puts a change into effect that storing it does not: opens ports, raises limits. The new values
 * are in `config` already. Returns NULL, or the reason for a refusal (a literal) with the index of
 * the change that is to blame in `*culprit`; the caller then restores all old values and calls
 * `apply` no more, so the callback undoes what it has done itself. The mutex is held: it must not
 * call config_set. */
typedef const char *config_apply(void *arg, const struct config *config,
                                 const struct config_change *changes, unsigned count,
                                 unsigned *culprit);

/* CONFIG SET name value [name value ...]: all or nothing. `words` are the 2 * n arguments behind
 * SET; `local` tells whether the client is local (enable-protected-configs local); `apply` may be
 * NULL. Returns 0, or -EINVAL with the error reply's text ("ERR ...", one line) in `text`. */
int config_set(struct config *config, const struct config_span *words, unsigned count, bool local,
               config_apply *apply, void *arg, char text[CONFIG_REASON_MAX]);

/* Frees the values that were replaced before `generation` was reached; every reader must have seen
 * that generation (or a later one) since it last took a pointer. */
void config_reclaim(struct config *config, uint64_t generation);

#endif

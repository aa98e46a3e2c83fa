/* Node: what all workers of one process share.
 * Purpose:   slot ownership, databases, the roster of workers, configuration and a few node-wide switches.
 * Ownership: created and destroyed by control/main; workers borrow it.
 * Threading: `owner` is written by a slot's present owner (release) and read by all (acquire); a keyspace pointer changes only while all slots are on loan
 *            to the writer; the rest is constant after start or atomic. */
#ifndef DATAPLANE_NODE_H
#define DATAPLANE_NODE_H

#include <stdint.h>

#include "config/config.h"
#include "dataplane/commands/command.h"
#include "dataplane/store/keyspace.h"
#include "dataplane/task.h"
#include "drivers/clock.h"
#include "drivers/stream.h"

enum {
    WORKERS_MAX = KEYSPACE_WORKERS_MAX,
    DATABASES_MAX = 1024,
    LISTENER_COMMON = 0, /* listener ids: the common port */
    LISTENER_UNIX = 1,
    LISTENER_SET =
        512, /* added to the ids of TCP listeners: those of every other CONFIG SET port or bind */
    LISTENER_CORE_BASE = 1024, /* + k: worker k's own port */
};
_Static_assert((int)WORKERS_MAX <= (int)LISTENER_SET, "ids of two sets are distinct");

struct log;         /* drivers/log.h */
struct watch;       /* slots/watch.h */
struct journal;     /* persist/journal.h: one worker's ring */
struct dpdk_port;   /* drivers/dpdk/dpdk.h */
struct steer_group; /* net/steer.h */
struct kernel_path; /* net/kernel_path.h */

struct node {
    struct config *config;
    struct log *log; /* NULL in tests without one */
    struct worker *workers[WORKERS_MAX];
    uint32_t worker_count;
    uint32_t network_count; /* of workers with a network; the ports of others are served by these */
    uint32_t database_count;
    uint64_t hash_seed;
    struct clock_tsc tsc;
    const struct stream_driver *driver;
    const struct dpdk_port *packet_port;   /* whose queues the workers drive; NULL: none */
    const struct steer_group *steering;    /* of frames between them; NULL: none */
    const struct kernel_path *kernel_path; /* of frames for the kernel; NULL: none */
    struct command_index *commands;
    _Atomic uint8_t owner[SLOTS]; /* slot -> worker; an idle server: equal contiguous ranges */
    struct keyspace
        *_Atomic keyspaces[DATABASES_MAX]; /* created on first write (compare and swap) */
    _Atomic uint64_t floor_stamps
        [DATABASES_MAX]; /* a slot's last change is at most the greater of this and its last_stamp */
    uint16_t label_of_db
        [DATABASES_MAX]; /* of expiry tickets, XOR the index, so that zero is "nothing swapped"; change with */
    uint16_t db_of_label[DATABASES_MAX]; /* the keyspace pointers */
    struct watch *watches[SLOTS]; /* watch records of a slot, all databases; the slot's holder's */
    _Atomic uint32_t watch_count; /* records on the node: 0 means nobody needs to look */

    char run_id[41];
    char node_id[41];        /* CLUSTER MYID */
    char replication_id[41]; /* of this history of changes */
    const char *commit;      /* of the build, "1a2b3c4d" or "1a2b3c4d:1" (dirty); NULL in tests */
    uint64_t build_id;
    bool supervised; /* systemd is told how we are */
    int64_t started_unix_ms;
    uint64_t started_us; /* monotonic */

    _Atomic uint64_t next_client_id;
    _Atomic uint64_t next_slowlog_id;
    _Atomic uint32_t monitors;          /* MONITOR connections on the node */
    _Atomic uint32_t dropped_keyspaces; /* whose memory is still being freed: store/lazyfree.h */
    struct memory_sample {
        _Atomic uint64_t taken_us, allocated_bytes, active_bytes, resident_bytes, rss_bytes;
    } memory_sample;                    /* commands/usage.h */
    _Atomic uint64_t memory_peak_bytes; /* of the memory used */
    _Atomic int64_t memory_drawn;       /* of the budget maxmemory, by all workers: store/evict.h */
    _Atomic int64_t client_count;       /* connections, against maxclients */
    _Atomic int64_t pause_until_unix_ms; /* CLIENT PAUSE; INT64_MAX: without end */
    _Atomic bool pause_writes_only;
    _Atomic uint64_t pause_generation; /* raised by PAUSE and UNPAUSE */
    _Atomic bool active_expire;        /* DEBUG SET-ACTIVE-EXPIRE */
    _Atomic uint32_t journal_readers;  /* 0: journals are off */
    _Atomic int shutdown_request;      /* enum node_shutdown; set by the control thread */
    _Atomic uint64_t config_epoch;     /* CLUSTER: raised by each slot move */

    unsigned connections_max; /* of one worker: what the limit of open files may become */
    const struct node_control
        *control_calls; /* what the control thread offers; NULL in tests without one */
    void *control;      /* its own */
};

/* SHUTS_DOWN: no new connections or bytes; what was read is executed and answered. */
enum node_shutdown { NODE_RUNS = 0, NODE_SHUTS_DOWN = 1 };

/* Calls up, into a room that this one does not know. */
struct node_control {
    /* Any thread, never blocks: has task->run(node, task) called on the control thread. */
    void (*post)(void *control, struct task *task);
    /* Any thread, never blocks: the server ends as with SIGTERM. */
    void (*shut_down)(void *control);
    /* Control thread only. 0 or negative errno: starts recording all changes into a file, in one order; ends that. */
    int (*record)(void *control, const char *path);
    int (*record_end)(void *control);
    /* Control thread only: config_set with everything that a change of these directives asks for; it waits for the workers. */
    int (*configure)(void *control, const struct config_span *words, unsigned count, bool local,
                     char text[CONFIG_REASON_MAX]);
    /* Any thread, under the configuration's mutex: puts a change into effect that needs no worker to be asked (config_apply). */
    const char *(*apply)(void *control, const struct config *config,
                         const struct config_change *changes, unsigned count, unsigned *culprit);
};

static inline bool listener_is_core(uint32_t id)
{
    return id >= LISTENER_CORE_BASE;
}
static inline uint32_t listener_core_worker(uint32_t id)
{
    return (id - LISTENER_CORE_BASE) % LISTENER_SET;
}

/* The port of worker's own, where there are such ports. */
static inline uint32_t node_core_port(const struct node *node, uint32_t worker)
{
    int64_t base = node->config->per_core_port_base;

    return (uint32_t)(base != 0 ? base : node->config->port + 1) + worker;
}

/* Who listens on a worker's port: itself, or, if it has no network, one that has. */
static inline uint32_t node_network_worker(const struct node *node, uint32_t worker)
{
    return worker < node->network_count ? worker : worker % node->network_count;
}

static inline uint32_t node_owner(const struct node *node, uint32_t slot)
{
    return atomic_load_explicit(&node->owner[slot], memory_order_acquire);
}

#endif

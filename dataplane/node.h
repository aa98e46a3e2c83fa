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
#include "drivers/clock.h"
#include "drivers/stream.h"

enum {
    WORKERS_MAX = KEYSPACE_WORKERS_MAX,
    DATABASES_MAX = 1024,
    LISTENER_COMMON = 0,          /* listener ids: the common port */
    LISTENER_UNIX = 1,
    LISTENER_CORE_BASE = 1024,    /* + k: worker k's own port */
};

struct watch;   /* slots/watch.h */
struct journal; /* persist/journal.h: one worker's ring */

struct node {
    struct config *config;
    struct worker *workers[WORKERS_MAX];
    uint32_t worker_count;
    uint32_t database_count;
    uint64_t hash_seed;
    struct clock_tsc tsc;
    const struct stream_driver *driver;
    struct command_index *commands;
    _Atomic uint8_t owner[SLOTS];                      /* slot -> worker; an idle server: equal contiguous ranges */
    struct keyspace *_Atomic keyspaces[DATABASES_MAX]; /* created on first write (compare and swap) */
    _Atomic uint64_t floor_stamps[DATABASES_MAX];      /* a slot's last change is at most the greater of this and its last_stamp */
    uint16_t label_of_db[DATABASES_MAX];               /* of expiry tickets, XOR the index, so that zero is "nothing swapped"; change with */
    uint16_t db_of_label[DATABASES_MAX];               /* the keyspace pointers */
    struct watch *watches[SLOTS];                      /* watch records of a slot, all databases; the slot's holder's */
    _Atomic uint32_t watch_count;                      /* records on the node: 0 means nobody needs to look */

    char run_id[41];
    char node_id[41];                                  /* CLUSTER MYID */
    int64_t started_unix_ms;
    uint64_t started_us;                               /* monotonic */

    _Atomic uint64_t next_client_id;
    _Atomic uint64_t next_slowlog_id;
    _Atomic uint32_t monitors;                         /* MONITOR connections on the node */
    _Atomic uint32_t dropped_keyspaces;                /* whose memory is still being freed: store/lazyfree.h */
    _Atomic int64_t memory_drawn;                      /* of the budget maxmemory, by all workers: store/evict.h */
    _Atomic int64_t client_count;                      /* connections, against maxclients */
    _Atomic int64_t pause_until_unix_ms;               /* CLIENT PAUSE; INT64_MAX: without end */
    _Atomic bool pause_writes_only;
    _Atomic uint64_t pause_generation;                 /* raised by PAUSE and UNPAUSE */
    _Atomic bool active_expire;                        /* DEBUG SET-ACTIVE-EXPIRE */
    _Atomic uint32_t journal_readers;                  /* 0: journals are off */
    _Atomic int shutdown_request;                      /* enum node_shutdown */
    _Atomic uint64_t config_epoch;                     /* CLUSTER: raised by each slot move */

    /* Set by the control thread; called from a worker, must not block (posts to the control thread). */
    void (*control_post)(void *control, uint32_t what, const char *text);
    void *control;
    _Atomic uint64_t journal_done;                     /* DEBUG JOURNAL: raised by the control thread when a request is finished */
};

enum node_shutdown { NODE_RUNS = 0, NODE_SHUTS_DOWN = 1 };
enum node_control { CONTROL_SHUTDOWN = 1, CONTROL_JOURNAL_START = 2, CONTROL_JOURNAL_STOP = 3, CONTROL_REOPEN_LOG = 4 };

static inline uint32_t node_owner(const struct node *node, uint32_t slot)
{
    return atomic_load_explicit(&node->owner[slot], memory_order_acquire);
}

#endif

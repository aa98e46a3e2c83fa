/* Control: what the process owns besides the workers, and the thread that waits for events.
 * Purpose:   start and end of the server; SHUTDOWN, CONFIG REWRITE, recordings and whatever else
 *            may wait runs here, on the main thread, and never on a worker.
 * Ownership: main owns the one struct control; it owns the node, the log and the listening sockets
 *            until workers have them.
 * Threading: the main thread, but for what struct node_control allows to others.
 * Errors:    whatever prevents a start is logged in one line; the caller then exits with status 1. */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "control/bypass.h"
#include "control/listeners.h"
#include "control/process.h"
#include "control/watchdog.h"
#include "dataplane/node.h"
#include "drivers/cpu.h"
#include "drivers/log.h"

struct merge;

enum {
    CONTROL_FDS_RESERVED = 32,     /* files besides connections: log, pid file, epoll, ... */
    CONTROL_FDS_WORKER = 8,        /* and for each worker: ring, eventfd, ... */
    CONTROL_DRAIN_MAX_MS = 10000,  /* what an end waits for replies to leave ... */
    CONTROL_DRAIN_STALL_MS = 1000, /* ... and without a byte leaving */
    CONTROL_END_MAX_MS = 10000,    /* and then for a worker that is in the midst of a command ... */
    CONTROL_END_HURRY_MS = 1000,   /* ... if the end was asked for twice */
};

struct control {
    struct config *config;
    struct log *log;
    struct node *node;
    struct process process;
    struct cpu_list cpus;    /* that workers are spread over */
    struct task_inbox inbox; /* from workers */
    int event_fd;            /* the inbox has something */
    int signal_fd;
    sigset_t signals;                  /* blocked in all threads: read from signal_fd */
    bool end;                          /* asked for */
    bool hurry;                        /* asked for a second time */
    char unixsocket[PROCESS_PATH_MAX]; /* bound, absolute; "": none */
    struct merge *merge;               /* a recording; NULL: none */
    bool merge_failed;                 /* and it was logged */
    bool reopen_log;                   /* now, not with the next housekeeping */
    uint64_t housekept_us;
    uint64_t reclaimed_generation; /* of the configuration */
    char refusal[160]; /* text of a refused CONFIG SET; under the configuration's mutex */
    struct task shut_down_task;
    _Atomic bool shut_down_posted;
    uint32_t listener_set;      /* which ids the present TCP listeners have: 0 or LISTENER_SET */
    struct listeners listeners; /* bound, and not with the workers yet */
    struct listeners_held held;
    struct bypass bypass; /* net-driver dpdk */
    struct watchdog watchdog;
};

/* start.c: from the loaded configuration to bound sockets and workers that run. 0 or -1 (logged). */
int control_start(struct control *control);
/* Frees the node with all that is in it. The workers have ended, or were never started. */
void control_free_node(struct control *control);
/* What every worker and the sockets are, for the operator. */
void control_log_start(struct control *control);

/* Open files that are no connections. */
uint64_t control_fds_besides_clients(const struct config *config);

/* configure.c: CONFIG SET, as struct node_control says. */
int configure(void *control, const struct config_span *words, unsigned count, bool local,
              char text[CONFIG_REASON_MAX]);
const char *configure_apply(void *control, const struct config *config,
                            const struct config_change *changes, unsigned count, unsigned *culprit);
/* Has the workers accept connections. 0 or -1 (logged). */
int configure_listen(struct control *control);
/* Frees old values that no worker can hold any more. */
void configure_reclaim(struct control *control);

/* control.c */
extern const struct node_control control_calls;
int control_open(struct control *control); /* signals and inbox; before any thread exists */
/* Undoes control_open and control_start, whatever of them succeeded; the workers have ended. */
void control_end(struct control *control);
/* Looks after the workers; does not return if one hangs for longer than worker-watchdog allows. To
 * be called about once a second by whoever keeps the control thread. */
void control_watch(struct control *control);
/* Serves until the end is asked for. */
void control_run(struct control *control);
/* Has the workers finish what they have read, then ends them. Does not return if one hangs. */
void control_stop_workers(struct control *control);

#endif

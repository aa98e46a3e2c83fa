/* Bypass: the network port that workers drive without the kernel (net-driver dpdk).
 * Purpose:   start DPDK and the port before workers exist, hand each worker its queue pair, end
 *            both after the workers.
 * Ownership: a struct bypass owns DPDK and the port.
 * Threading: the main thread.
 * Errors:    -1, logged in one line that says what to do about it. */
#ifndef CONTROL_BYPASS_H
#define CONTROL_BYPASS_H

#include "control/kernel.h"
#include "dataplane/task.h"

struct config;
struct dpdk;
struct dpdk_port;
struct log;
struct node;
struct steer_group;

struct bypass {
    struct dpdk *dpdk;
    struct dpdk_port *port;
    struct steer_group *steering; /* of frames between queues; NULL: there is one */
    uint16_t core_base;           /* port of worker 0 that the card was last told of; 0: none */
    bool table_seen;              /* the card's redirection table has been read */
    struct kernel_side kernel;    /* dpdk-kernel-path; else closed */
    bool link_up;                 /* at the last look */
    struct task announce;         /* for worker 0 ... */
    _Atomic bool announcing;      /* ... which has not run it yet */
};

/* Checks the directives, starts DPDK and opens `dpdk-port` with a queue pair for each worker. */
int bypass_start(struct bypass *bypass, const struct config *config, unsigned workers,
                 struct log *log);
/* How many of the workers have a queue, or `workers` without a bypass: the first so many. */
unsigned bypass_networked(const struct bypass *bypass, unsigned workers);
/* Before the workers' threads start. */
void bypass_give_queues(const struct bypass *bypass, struct node *node);
/* What the port is, for the operator. */
void bypass_log(const struct bypass *bypass, const struct config *config, struct log *log);
/* The ports of the configuration are others now. */
void bypass_ports_changed(struct bypass *bypass, const struct config *config, unsigned workers,
                          struct log *log);
/* What the control thread waits for besides, and for how long at most; and what follows. */
int bypass_wait(struct bypass *bypass, struct pollfd fds[KERNEL_SIDE_FDS], int timeout_ms);
void bypass_take(struct bypass *bypass);
/* About once a second, while workers run. Each time that the link is found to have come up, the
 * first look among them, the network is told whose the addresses are: the link of a card is still
 * down when its workers start. */
void bypass_tick(struct bypass *bypass, const struct node *node);
/* Harmless if nothing was started. All streams are destroyed. */
void bypass_end(struct bypass *bypass);

#endif

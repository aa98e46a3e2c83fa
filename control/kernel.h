/* The kernel's side of the port: dpdk-kernel-path.
 * Purpose:   a TAP interface with the port's MAC, MTU and addresses; carries frames between it and
 *            the workers (dataplane/net/kernel_path.h), and publishes to them what the kernel knows
 *            of neighbours and routes on it. The ports that the workers serve are reserved there.
 * Ownership: a struct kernel_side owns all of this. The interface ends with it.
 * Threading: the control thread, which calls it around each of its waits.
 * Errors:    -1 at the start, logged in one line that says what to do about it. Later nothing
 *            fails: frames that do not fit are dropped and counted.
 * Limits:    KERNEL_SIDE_FRAMES frames each way between two waits. */
#ifndef CONTROL_KERNEL_H
#define CONTROL_KERNEL_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/reserve.h"
#include "drivers/tap.h"

enum { KERNEL_SIDE_FDS = 3, KERNEL_SIDE_FRAMES = 256 };

struct config;
struct kernel_path;
struct log;
struct neighbours_table;

enum kernel_dump { KERNEL_DUMP_NONE, KERNEL_DUMP_NEIGHBOURS, KERNEL_DUMP_ROUTES };

struct kernel_side {
    struct kernel_path *path; /* NULL: all of it is closed */
    struct tap tap;
    struct reserve reserve; /* the service ports, on its addresses */
    int wake_fd;            /* workers say that there are frames */
    int watch_fd;           /* netlink: changes, dumps */
    int request_fd;         /* netlink: requests */
    struct neighbours_table *table;
    enum kernel_dump dump; /* that runs */
    uint32_t sequence;     /* its */
    bool stale;            /* something was missed: the tables are to be dumped again */
    bool changed;          /* since the last snapshot */
};

/* Of a port with this MAC and MTU. On failure it is as after kernel_side_close. */
int kernel_side_open(struct kernel_side *side, const struct config *config, unsigned workers,
                     const uint8_t mac[6], uint32_t mtu, struct log *log);
/* Harmless if it is closed, or all zero. No worker runs. */
void kernel_side_close(struct kernel_side *side);

/* Before the service ports become those of these values: reserves them besides the present ones. 0,
 * or a negative errno and a line; then the present ones stay. Nothing to do if it is closed. */
int kernel_side_reserve(struct kernel_side *side, const struct config *config,
                        char error[LISTEN_ERROR_MAX]);
/* Once these values are in force: other ports are free again. */
void kernel_side_settle(struct kernel_side *side, const struct config *config);

/* What to wait for besides, and for how long at most, given `timeout_ms`. */
int kernel_side_wait(struct kernel_side *side, struct pollfd fds[KERNEL_SIDE_FDS], int timeout_ms);
/* After the wait. */
void kernel_side_take(struct kernel_side *side);

#endif

/* Reserve: the kernel keeps its hands off the TCP ports that the dataplane serves.
 * Purpose:   where the kernel has the addresses of the port too (dpdk-kernel-path), every service
 *            port is bound on each of them by a socket that never listens. No other program of the
 *            machine gets such a port and believes that it can be reached, and the kernel opens no
 *            connection from one.
 * Ownership: a struct reserve owns its descriptors; all zero it has none.
 * Threading: the main thread.
 * Errors:    negative errno, with one line that names address, port and reason.
 * Limits:    one descriptor for each address of dpdk-address and port. */
#ifndef CONTROL_RESERVE_H
#define CONTROL_RESERVE_H

#include <stdint.h>

#include "dataplane/net/address.h"
#include "drivers/listen.h"

struct config;

struct reserve {
    unsigned count, capacity;
    struct reserved {
        int fd;
        struct net_address address;
        uint16_t port;
    } * items;
};

/* Descriptors that a reservation for these values needs at most. */
uint64_t reserve_fds(const struct config *config);
/* Takes what these values need and is not taken yet. On an error it holds what it held before. */
int reserve_take(struct reserve *reserve, const struct config *config,
                 char error[LISTEN_ERROR_MAX]);
/* Gives up what these values do not need. */
void reserve_trim(struct reserve *reserve, const struct config *config);
void reserve_close(struct reserve *reserve);

#endif

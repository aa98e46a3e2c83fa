/* Listeners: the sockets that clients connect to.
 * Purpose:   bind what `bind`, `port`, `unixsocket` and `per-core-endpoints` ask for, and give each
 *            worker its own.
 * Shape:     each worker has its own socket for each address (SO_REUSEPORT spreads connections);
 *            with per-core-endpoints worker k has another one at per-core-port-base + k. The unix
 *            socket has one acceptor, worker 0, which hands connections round.
 * Ownership: a struct listeners owns its descriptors until they are given away.
 * Drivers of packet ports have no sockets: there a listener is a port number alone, and `bind` has
 * no say, as the port has its own addresses.
 * Threading: the main thread.
 * Errors:    negative errno, with one line that names address, port and reason; then nothing is
 *            left open. */
#ifndef CONTROL_LISTENERS_H
#define CONTROL_LISTENERS_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "drivers/listen.h"

struct node;

enum { LISTENERS_ADDRESS_MAX = 64 };

/* Where the server listens already: nobody else can be there. All zero: nowhere. */
struct listeners_held {
    uint16_t port;       /* 0: none */
    uint16_t core_first; /* ports of the workers */
    uint32_t core_count; /* 0: none */
    unsigned count;      /* addresses, without '-' */
    char addresses[CONFIG_BIND_MAX][LISTENERS_ADDRESS_MAX];
};

struct listeners {
    unsigned count, capacity;
    struct listener {
        uint32_t worker, id;
        int fd;        /* -1: given away, or none: see port */
        uint16_t port; /* of a network driver without sockets; else 0 */
        bool hand_over;
    } * items;
};

/* Binds the TCP sockets of `workers` workers for the values in force, with ids of this set (0 or
 * LISTENER_SET); also tests that nobody else uses their ports. Port 0: none. */
int listeners_open_tcp(struct listeners *listeners, const struct config *config, uint32_t workers,
                       uint32_t set, const struct listeners_held *held,
                       char error[LISTEN_ERROR_MAX]);
/* What is held once the listeners of these values are in use. */
void listeners_hold(struct listeners_held *held, const struct config *config, uint32_t workers);
int listeners_open_unix(struct listeners *listeners, const struct config *config,
                        char error[LISTEN_ERROR_MAX]);
/* Closes what was not given away. */
void listeners_close(struct listeners *listeners);

/* Port of worker 0 with per-core-endpoints; the others follow. May lie past the last port. */
int64_t listeners_core_base(const struct config *config);

#endif

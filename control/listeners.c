#include "control/listeners.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/node.h"

uint16_t listeners_core_port(const struct config *config, uint32_t worker)
{
    int64_t base = config->per_core_port_base != 0 ? config->per_core_port_base : config->port + 1;

    return (uint16_t)(base + worker);
}

static int listeners_add(struct listeners *listeners, struct listener listener)
{
    if (listeners->count == listeners->capacity) {
        unsigned capacity = listeners->capacity == 0 ? 16 : listeners->capacity * 2;
        struct listener *grown = realloc(listeners->items, capacity * sizeof *grown);
        if (grown == NULL)
            return -ENOMEM;
        listeners->items = grown;
        listeners->capacity = capacity;
    }
    listeners->items[listeners->count++] = listener;
    return 0;
}

/* An address with a leading '-' may be missing on this machine. */
static bool is_missing(int result)
{
    return result == -EADDRNOTAVAIL || result == -EAFNOSUPPORT || result == -EPROTONOSUPPORT;
}

/* One socket; 1 when it is bound, 0 when the address is optional and missing. */
static int open_one(struct listeners *listeners, const struct config *config, const char *address,
                    uint16_t port, struct listener listener, char error[LISTEN_ERROR_MAX])
{
    bool optional = address[0] == '-';

    listener.fd = listen_tcp(address + optional, port, (int)config->tcp_backlog, error);
    if (listener.fd < 0)
        return optional && is_missing(listener.fd) ? 0 : listener.fd;
    if (listeners_add(listeners, listener) < 0) {
        close(listener.fd);
        snprintf(error, LISTEN_ERROR_MAX, "no memory for listening sockets");
        return -ENOMEM;
    }
    return 1;
}

/* `port` on every address, for workers first to last. Returns how many sockets were bound. */
static int open_port(struct listeners *listeners, const struct config *config, uint16_t port,
                     uint32_t id, uint32_t first, uint32_t last, char error[LISTEN_ERROR_MAX])
{
    const struct config_list *bind = config->bind;
    int opened = 0;

    for (unsigned i = 0; i < bind->count; i++) {
        bool optional = bind->items[i][0] == '-';
        int result = listen_probe(bind->items[i] + optional, port, error);
        if (optional && is_missing(result))
            continue;
        for (uint32_t worker = first; result >= 0 && worker <= last; worker++) {
            struct listener listener = {.worker = worker, .id = id};
            result = open_one(listeners, config, bind->items[i], port, listener, error);
            opened += result > 0;
        }
        if (result < 0)
            return result;
    }
    return opened;
}

static int open_core_ports(struct listeners *listeners, const struct config *config,
                           uint32_t workers, char error[LISTEN_ERROR_MAX])
{
    int64_t last = (int64_t)listeners_core_port(config, 0) + workers - 1;

    if (last > UINT16_MAX) {
        snprintf(error, LISTEN_ERROR_MAX,
                 "per-core-endpoints: %u workers from port %u on pass port 65535", workers,
                 listeners_core_port(config, 0));
        return -ERANGE;
    }
    for (uint32_t worker = 0; worker < workers; worker++) {
        uint16_t port = listeners_core_port(config, worker);
        if (port == config->port) {
            snprintf(error, LISTEN_ERROR_MAX,
                     "per-core-endpoints: port %u is wanted for all workers and for worker %u", port,
                     worker);
            return -EADDRINUSE;
        }
        int result = open_port(listeners, config, port, LISTENER_CORE_BASE + worker, worker, worker,
                               error);
        if (result < 0)
            return result;
    }
    return 0;
}

int listeners_open_tcp(struct listeners *listeners, const struct config *config, uint32_t workers,
                       char error[LISTEN_ERROR_MAX])
{
    if (config->port == 0)
        return 0;
    int result = open_port(listeners, config, (uint16_t)config->port, LISTENER_COMMON, 0,
                           workers - 1, error);
    if (result == 0) {
        snprintf(error, LISTEN_ERROR_MAX, "none of the addresses to bind exists on this machine");
        result = -EADDRNOTAVAIL;
    }
    if (result > 0 && config->per_core_endpoints != 0)
        result = open_core_ports(listeners, config, workers, error);
    if (result < 0)
        listeners_close(listeners);
    return result < 0 ? result : 0;
}

int listeners_open_unix(struct listeners *listeners, const struct config *config,
                        char error[LISTEN_ERROR_MAX])
{
    struct listener listener = {.worker = 0, .id = LISTENER_UNIX, .hand_over = true};

    listener.fd = listen_unix(config->unixsocket, (mode_t)config->unixsocketperm,
                              (int)config->tcp_backlog, error);
    if (listener.fd < 0)
        return listener.fd;
    if (listeners_add(listeners, listener) < 0) {
        close(listener.fd);
        snprintf(error, LISTEN_ERROR_MAX, "no memory for listening sockets");
        return -ENOMEM;
    }
    return 0;
}

void listeners_close(struct listeners *listeners)
{
    for (unsigned i = 0; i < listeners->count; i++)
        if (listeners->items[i].fd >= 0)
            close(listeners->items[i].fd);
    free(listeners->items);
    *listeners = (struct listeners){0};
}

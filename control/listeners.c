#include "control/listeners.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/node.h"

int64_t listeners_core_base(const struct config *config)
{
    return config->per_core_port_base != 0 ? config->per_core_port_base : config->port + 1;
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

/* What one call of listeners_open_tcp works on. */
struct opening {
    struct listeners *listeners;
    const struct config *config;
    const struct listeners_held *held;
    uint32_t workers, set;
    char *error;
};

static bool is_wildcard(const char *address)
{
    return strcmp(address, "*") == 0 || strcmp(address, "0.0.0.0") == 0 ||
           strcmp(address, "::*") == 0 || strcmp(address, "::") == 0;
}

/* Our own sockets would be in the way of a probe, and keep others out in its stead. */
static bool is_held(const struct listeners_held *held, const char *address, uint16_t port)
{
    bool port_held = (held->port != 0 && port == held->port) ||
                     (port >= held->core_first && port < held->core_first + held->core_count);

    if (!port_held)
        return false;
    for (unsigned i = 0; i < held->count; i++)
        if (strcmp(held->addresses[i], address) == 0 || is_wildcard(held->addresses[i]) ||
            is_wildcard(address))
            return true;
    return false;
}

/* The port of a driver without sockets: nobody else can be there. */
static int note_port(const struct opening *opening, uint16_t port, uint32_t id, uint32_t first,
                     uint32_t last)
{
    for (uint32_t worker = first; worker <= last; worker++) {
        struct listener listener = {.worker = worker,
                                    .id = id + opening->set,
                                    .fd = -1,
                                    .port = port};
        if (listeners_add(opening->listeners, listener) < 0) {
            snprintf(opening->error, LISTEN_ERROR_MAX, "no memory for listeners");
            return -ENOMEM;
        }
    }
    return (int)(last - first) + 1;
}

/* `port` on every address, for workers first to last. Returns how many sockets were bound. */
static int open_port(const struct opening *opening, uint16_t port, uint32_t id, uint32_t first,
                     uint32_t last)
{
    const struct config_list *bind = opening->config->bind;
    int opened = 0;

    if (opening->config->net_driver == CONFIG_DRIVER_DPDK)
        return note_port(opening, port, id, first, last);
    for (unsigned i = 0; i < bind->count; i++) {
        bool optional = bind->items[i][0] == '-';
        const char *address = bind->items[i] + optional;
        int result =
            is_held(opening->held, address, port) ? 0 : listen_probe(address, port, opening->error);
        if (optional && is_missing(result))
            continue;
        for (uint32_t worker = first; result >= 0 && worker <= last; worker++) {
            struct listener listener = {.worker = worker, .id = id + opening->set};
            result = open_one(opening->listeners, opening->config, bind->items[i], port, listener,
                              opening->error);
            opened += result > 0;
        }
        if (result < 0)
            return result;
    }
    return opened;
}

static int open_core_ports(const struct opening *opening)
{
    const struct config *config = opening->config;
    int64_t base = listeners_core_base(config);

    if (base + opening->workers - 1 > UINT16_MAX) {
        snprintf(opening->error, LISTEN_ERROR_MAX,
                 "per-core-endpoints: %u workers from port %lld on pass port 65535",
                 opening->workers, (long long)base);
        return -ERANGE;
    }
    for (uint32_t worker = 0; worker < opening->workers; worker++) {
        uint16_t port = (uint16_t)(base + worker);
        if (port == config->port) {
            snprintf(opening->error, LISTEN_ERROR_MAX,
                     "per-core-endpoints: port %u is wanted for all workers and for worker %u",
                     port, worker);
            return -EADDRINUSE;
        }
        int result = open_port(opening, port, LISTENER_CORE_BASE + worker, worker, worker);
        if (result < 0)
            return result;
    }
    return 0;
}

int listeners_open_tcp(struct listeners *listeners, const struct config *config, uint32_t workers,
                       uint32_t set, const struct listeners_held *held,
                       char error[LISTEN_ERROR_MAX])
{
    struct opening opening = {listeners, config, held, workers, set, error};

    if (config->port == 0)
        return 0;
    int result = open_port(&opening, (uint16_t)config->port, LISTENER_COMMON, 0, workers - 1);
    if (result == 0) {
        snprintf(error, LISTEN_ERROR_MAX, "none of the addresses to bind exists on this machine");
        result = -EADDRNOTAVAIL;
    }
    if (result > 0 && config->per_core_endpoints != 0)
        result = open_core_ports(&opening);
    if (result < 0)
        listeners_close(listeners);
    return result < 0 ? result : 0;
}

void listeners_hold(struct listeners_held *held, const struct config *config, uint32_t workers)
{
    const struct config_list *bind = config->bind;

    *held = (struct listeners_held){.port = (uint16_t)config->port};
    if (config->port == 0)
        return;
    if (config->per_core_endpoints != 0) {
        held->core_first = (uint16_t)listeners_core_base(config);
        held->core_count = workers;
    }
    for (unsigned i = 0; i < bind->count; i++)
        snprintf(held->addresses[held->count++], LISTENERS_ADDRESS_MAX, "%s",
                 bind->items[i] + (bind->items[i][0] == '-'));
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

#include "control/reserve.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "control/listeners.h"

enum { ADDRESS_TEXT_MAX = 64 };

/* The service ports: `first` to `last`, and the common one. */
struct ports {
    int64_t common; /* 0: none at all */
    int64_t first, last;
};

static struct ports ports_of(const struct config *config)
{
    struct ports ports = {.common = config->port, .first = 1, .last = 0};

    if (ports.common != 0 && config->per_core_endpoints != 0) {
        ports.first = listeners_core_base(config);
        ports.last = ports.first + config->workers - 1;
    }
    return ports;
}

static bool is_service(const struct ports *ports, int64_t port)
{
    return ports->common != 0 &&
           (port == ports->common || (port >= ports->first && port <= ports->last));
}

static bool is_taken(const struct reserve *reserve, const struct net_address *address,
                     uint16_t port)
{
    for (unsigned i = 0; i < reserve->count; i++)
        if (reserve->items[i].port == port &&
            net_address_equal(&reserve->items[i].address, address))
            return true;
    return false;
}

static bool make_room(struct reserve *reserve)
{
    if (reserve->count < reserve->capacity)
        return true;
    unsigned capacity = reserve->capacity == 0 ? 16 : reserve->capacity * 2;
    struct reserved *grown = realloc(reserve->items, capacity * sizeof *grown);
    if (grown == NULL)
        return false;
    reserve->items = grown;
    reserve->capacity = capacity;
    return true;
}

/* `text` was checked by stream_net_check. */
static int take_one(struct reserve *reserve, const char *text, uint16_t port,
                    char error[LISTEN_ERROR_MAX])
{
    char address[ADDRESS_TEXT_MAX];
    struct net_prefix prefix;

    if (net_prefix_parse(text, &prefix) < 0 || is_taken(reserve, &prefix.address, port))
        return 0;
    if (!make_room(reserve)) {
        snprintf(error, LISTEN_ERROR_MAX, "no memory to reserve port %u", port);
        return -ENOMEM;
    }
    snprintf(address, sizeof address, "%.*s", (int)strcspn(text, "/"), text);
    int fd = listen_reserve(address, port, error);
    if (fd < 0)
        return fd;
    reserve->items[reserve->count++] =
        (struct reserved){.fd = fd, .address = prefix.address, .port = port};
    return 0;
}

static int take_port(struct reserve *reserve, const struct config *config, int64_t port,
                     char error[LISTEN_ERROR_MAX])
{
    const struct config_list *addresses = config->dpdk_address;
    int result = 0;

    for (unsigned i = 0; i < addresses->count && result == 0; i++)
        result = take_one(reserve, addresses->items[i], (uint16_t)port, error);
    return result;
}

uint64_t reserve_fds(const struct config *config)
{
    uint64_t ports = 1 + (config->per_core_endpoints != 0 ? (uint64_t)config->workers : 0);

    return config->dpdk_kernel_path != 0 && config->port != 0 ? ports * config->dpdk_address->count
                                                              : 0;
}

int reserve_take(struct reserve *reserve, const struct config *config, char error[LISTEN_ERROR_MAX])
{
    struct ports ports = ports_of(config);
    unsigned before = reserve->count;
    int result = 0;

    if (ports.common == 0)
        return 0;
    if (ports.last > UINT16_MAX) {
        snprintf(error, LISTEN_ERROR_MAX, "per-core-endpoints: the last port would be %lld",
                 (long long)ports.last);
        return -ERANGE;
    }
    result = take_port(reserve, config, ports.common, error);
    for (int64_t port = ports.first; port <= ports.last && result == 0; port++)
        result = take_port(reserve, config, port, error);
    while (result < 0 && reserve->count > before)
        close(reserve->items[--reserve->count].fd);
    return result;
}

void reserve_trim(struct reserve *reserve, const struct config *config)
{
    struct ports ports = ports_of(config);
    unsigned kept = 0;

    for (unsigned i = 0; i < reserve->count; i++) {
        if (is_service(&ports, reserve->items[i].port))
            reserve->items[kept++] = reserve->items[i];
        else
            close(reserve->items[i].fd);
    }
    reserve->count = kept;
}

void reserve_close(struct reserve *reserve)
{
    for (unsigned i = 0; i < reserve->count; i++)
        close(reserve->items[i].fd);
    free(reserve->items);
    *reserve = (struct reserve){0};
}

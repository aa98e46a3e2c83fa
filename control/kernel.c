#include "control/kernel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config/config.h"
#include "dataplane/net/kernel_path.h"
#include "dataplane/net/net.h"
#include "drivers/log.h"

enum {
    STALL_MS = 1,       /* until worker 0 is looked at again when its ring was full */
    UNPUBLISHED_MS = 5, /* and until a snapshot is tried again that workers were in the way of */
    DATAGRAMS = 64,     /* of netlink between two waits */
};

/* ---- addresses ------------------------------------------------------------------------------- */

static void to_netlink(const struct net_address *address, uint8_t bits, struct netlink_address *to)
{
    *to = (struct netlink_address){.family = AF_INET6, .bits = bits};
    if (net_address_is_v4(address)) {
        to->family = AF_INET;
        to->bits = (uint8_t)(bits - 96);
        memcpy(to->bytes, net_address_v4_bytes(address), 4);
    } else {
        memcpy(to->bytes, address->bytes, sizeof to->bytes);
    }
}

/* ::, if it is none. */
static struct net_address from_netlink(const struct netlink_address *address)
{
    static const struct net_address nobody;

    return address->family == AF_INET    ? net_address_v4(address->bytes)
           : address->family == AF_INET6 ? net_address_v6(address->bytes)
                                         : nobody;
}

/* The directives were checked by stream_net_check. */
static unsigned read_addresses(const struct config_list *list, struct netlink_address *addresses)
{
    struct net_prefix prefix;
    unsigned count = 0;

    for (unsigned i = 0; i < list->count && count < NET_ADDRESSES_MAX; i++)
        if (net_prefix_parse(list->items[i], &prefix) == 0)
            to_netlink(&prefix.address, prefix.bits, &addresses[count++]);
    return count;
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void count(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, value, memory_order_relaxed);
}

static void count_one(_Atomic uint64_t *counter)
{
    count(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1);
}

static int want_neighbour(const struct kernel_side *side, const struct kernel_frame *frame)
{
    struct netlink_address wanted;
    struct net_address address;

    memcpy(&address, frame->bytes, sizeof address);
    to_netlink(&address, 128, &wanted);
    return netlink_want_neighbour(side->request_fd, side->tap.interface, &wanted);
}

static void frames_to_kernel(struct kernel_side *side)
{
    const struct kernel_frame *frame;

    for (int i = 0; i < KERNEL_SIDE_FRAMES; i++) {
        frame = kernel_path_next(side->path);
        if (frame == NULL)
            return;
        int result = frame->len == 0 ? want_neighbour(side, frame)
                                     : tap_write(&side->tap, frame->bytes, frame->len);
        if (result < 0)
            count_one(&kernel_path_count(side->path)->refused);
        kernel_path_done(side->path);
    }
}

static void frames_from_kernel(struct kernel_side *side)
{
    struct kernel_frame *frame;

    for (int i = 0; i < KERNEL_SIDE_FRAMES; i++) {
        frame = kernel_path_room(side->path);
        if (frame == NULL)
            return;
        int len = tap_read(&side->tap, frame->bytes, PACKET_ROOM_MAX);
        if (len <= 0)
            return;
        kernel_path_put(side->path, (uint16_t)len);
    }
}

/* ---- neighbours ------------------------------------------------------------------------------ */

static void begin_dump(struct kernel_side *side, enum kernel_dump dump)
{
    int result = netlink_dump(side->watch_fd,
                              dump == KERNEL_DUMP_ROUTES ? NETLINK_ROUTES : NETLINK_NEIGHBOURS,
                              ++side->sequence);

    /* -EBUSY: the last one is still under way. */
    side->dump = result == 0 ? dump : KERNEL_DUMP_NONE;
    side->stale |= result != 0;
}

/* All anew: what went away meanwhile is in no dump. */
static void dump_all(struct kernel_side *side)
{
    side->table->count = 0;
    side->table->route_count = 0;
    side->changed = true;
    side->stale = false;
    begin_dump(side, KERNEL_DUMP_NEIGHBOURS);
}

static void dump_done(struct kernel_side *side, const struct netlink_message *message)
{
    if (message->sequence != side->sequence || side->dump == KERNEL_DUMP_NONE)
        return;
    if (message->error != 0)
        side->stale = true;
    if (side->dump == KERNEL_DUMP_NEIGHBOURS)
        begin_dump(side, KERNEL_DUMP_ROUTES);
    else
        side->dump = KERNEL_DUMP_NONE;
}

static void heard_neighbour(struct kernel_side *side, const struct netlink_message *message)
{
    struct neighbour neighbour = {.address = from_netlink(&message->address)};

    memcpy(neighbour.mac, message->mac, sizeof neighbour.mac);
    side->changed |= message->gone ? neighbours_remove(side->table, &neighbour.address)
                                   : neighbours_put(side->table, &neighbour);
}

static void heard_route(struct kernel_side *side, const struct netlink_message *message)
{
    struct neighbours_route route = {.prefix = {.address = from_netlink(&message->address),
                                                .bits = message->address.bits},
                                     .gateway = from_netlink(&message->gateway),
                                     .metric = message->metric};

    if (message->address.family == AF_INET)
        route.prefix.bits += 96;
    side->changed |= message->gone ? neighbours_remove_route(side->table, &route)
                                   : neighbours_put_route(side->table, &route);
}

static void heard(struct kernel_side *side, const struct netlink_message *message)
{
    side->stale |= message->interrupted;
    switch (message->kind) {
    case NETLINK_GOT_NEIGHBOUR:
        if (message->interface == side->tap.interface)
            heard_neighbour(side, message);
        break;
    case NETLINK_GOT_ROUTE:
        if (message->interface == side->tap.interface)
            heard_route(side, message);
        break;
    case NETLINK_GOT_DONE:
        dump_done(side, message);
        break;
    case NETLINK_GOT_ACK: /* a dump that was refused */
        side->stale = true;
        side->dump = KERNEL_DUMP_NONE;
        break;
    case NETLINK_GOT_NOTHING:
    case NETLINK_GOT_OTHER:
    case NETLINK_GOT_BAD:
        break;
    }
}

static void hear(struct kernel_side *side)
{
    uint8_t buffer[NETLINK_BUFFER_BYTES];
    struct netlink_message message;

    for (int i = 0; i < DATAGRAMS; i++) {
        int got = netlink_receive(side->watch_fd, buffer, sizeof buffer);
        if (got < 0) {
            side->stale |= got == -ENOBUFS;
            break;
        }
        const uint8_t *at = buffer;
        size_t left = (size_t)got;
        while (netlink_read(&at, &left, &message) != NETLINK_GOT_NOTHING)
            heard(side, &message);
    }
    if (side->stale && side->dump == KERNEL_DUMP_NONE)
        dump_all(side);
}

/* Half a dump is not shown: neighbours would be missing for a moment. */
static void publish(struct kernel_side *side)
{
    struct kernel_path_counters *counters = kernel_path_count(side->path);

    if (!kernel_path_reclaim(side->path) || !side->changed || side->dump != KERNEL_DUMP_NONE)
        return;
    struct neighbours *snapshot = neighbours_snapshot(side->table);
    if (snapshot == NULL)
        return; /* no memory: the last one stays in force until the next wait */
    if (!kernel_path_publish(side->path, snapshot)) {
        free(snapshot);
        return;
    }
    side->changed = false;
    count(&counters->neighbours, side->table->count);
    count(&counters->routes, side->table->route_count);
    count(&counters->left_out, side->table->refused);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static int lesser(int timeout_ms, int other_ms)
{
    return timeout_ms < other_ms ? timeout_ms : other_ms;
}

int kernel_side_wait(struct kernel_side *side, struct pollfd fds[KERNEL_SIDE_FDS], int timeout_ms)
{
    for (int i = 0; i < KERNEL_SIDE_FDS; i++)
        fds[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    if (side->path == NULL)
        return timeout_ms;
    fds[0].fd = side->wake_fd;
    fds[1].fd = side->watch_fd;
    if (kernel_path_room(side->path) != NULL)
        fds[2].fd = side->tap.fd;
    else
        timeout_ms = lesser(timeout_ms, STALL_MS);
    if (side->changed && side->dump == KERNEL_DUMP_NONE)
        timeout_ms = lesser(timeout_ms, UNPUBLISHED_MS);
    return kernel_path_sleep(side->path) ? timeout_ms : 0;
}

void kernel_side_take(struct kernel_side *side)
{
    uint64_t calls;

    if (side->path == NULL)
        return;
    kernel_path_awake(side->path);
    while (read(side->wake_fd, &calls, sizeof calls) < 0 && errno == EINTR)
        continue;
    frames_to_kernel(side);
    frames_from_kernel(side);
    hear(side);
    publish(side);
}

/* By a worker. */
static void wake(void *arg)
{
    const struct kernel_side *side = arg;
    uint64_t one = 1;

    /* EAGAIN: the counter is full, so it is awake. */
    while (write(side->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_parts(struct kernel_side *side)
{
    reserve_close(&side->reserve);
    tap_close(&side->tap);
    close_fd(&side->wake_fd);
    close_fd(&side->watch_fd);
    close_fd(&side->request_fd);
    kernel_path_destroy(side->path);
    free(side->table);
    side->path = NULL;
    side->table = NULL;
}

void kernel_side_close(struct kernel_side *side)
{
    if (side->path != NULL)
        close_parts(side);
}

static int make_tap(struct kernel_side *side, const struct config *config, const uint8_t mac[6],
                    uint32_t mtu, char *error)
{
    struct netlink_address addresses[NET_ADDRESSES_MAX], gateways[NET_ADDRESSES_MAX];
    struct tap_options options = {
        .mac = mac,
        .mtu = mtu,
        .addresses = addresses,
        .address_count = read_addresses(config->dpdk_address, addresses),
        .gateways = gateways,
        .gateway_count = read_addresses(config->dpdk_gateway, gateways),
    };

    return tap_open(&side->tap, &options, error);
}

/* On addresses that the interface has by now. */
static int reserve_ports(struct kernel_side *side, const struct config *config, char *error)
{
    _Static_assert((int)LISTEN_ERROR_MAX <= (int)TAP_ERROR_MAX, "one buffer for both");
    return reserve_take(&side->reserve, config, error);
}

/* Neither needs a permission; what is missing is memory or descriptors. */
static int make_parts(struct kernel_side *side, const struct config *config, unsigned workers,
                      char *error)
{
    side->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    side->watch_fd = netlink_subscribe();
    side->request_fd = netlink_open();
    side->table = calloc(1, sizeof *side->table);
    side->path = kernel_path_create(config, workers, wake, side);
    if (side->wake_fd >= 0 && side->watch_fd >= 0 && side->request_fd >= 0 && side->table != NULL &&
        side->path != NULL)
        return 0;
    snprintf(error, TAP_ERROR_MAX,
             "dpdk-kernel-path: no memory, no descriptor (ulimit -n) or no netlink socket");
    return -ENOMEM;
}

int kernel_side_reserve(struct kernel_side *side, const struct config *config,
                        char error[LISTEN_ERROR_MAX])
{
    return side->path == NULL ? 0 : reserve_take(&side->reserve, config, error);
}

void kernel_side_settle(struct kernel_side *side, const struct config *config)
{
    reserve_trim(&side->reserve, config);
}

int kernel_side_open(struct kernel_side *side, const struct config *config, unsigned workers,
                     const uint8_t mac[6], uint32_t mtu, struct log *log)
{
    char error[TAP_ERROR_MAX];

    *side =
        (struct kernel_side){.tap = {.fd = -1}, .wake_fd = -1, .watch_fd = -1, .request_fd = -1};
    if (make_parts(side, config, workers, error) < 0 ||
        make_tap(side, config, mac, mtu, error) < 0 || reserve_ports(side, config, error) < 0) {
        log_write(log, LOG_LEVEL_WARNING, "Cannot start: %s", error);
        close_parts(side);
        return -1;
    }
    dump_all(side);
    return 0;
}

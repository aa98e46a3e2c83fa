/* Two workers give frames away and read snapshots of neighbours while a control thread takes, sends
 * and publishes: nothing is torn, out of order or slept through, no snapshot is used once freed. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "config/config.h"
#include "dataplane/net/kernel_path.h"
#include "dataplane/net/wire.h"
#include "tests/unit/net/pair_port.h"

enum {
    WORKERS = 2,
    FRAMES = 20000,
    PEERS = 50,
    BURST = 4,
    TURN_US = 1000,
    WAKE_MS = 10000,
    UDP = 17
};

static const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};

struct payload {
    uint8_t udp_header[8];
    uint32_t number, again; /* both the same: a torn frame has two */
};

struct run;

struct actor {
    struct run *run;
    struct kernel_port *kernel;
    struct pair_port port, outside;
    struct net *net;
    uint64_t now_us, random;
    uint32_t sent, heard; /* heard: from the kernel, last number */
    uint32_t taken;       /* by the control thread, last number */
    unsigned index;
    pthread_t thread;
};

struct run {
    struct config *config;
    struct kernel_path *path;
    int wake_fd;
    _Atomic bool end;
    struct actor actors[WORKERS];
};

static void need(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "kernel path: %s\n", what);
    abort();
}

static void wake(void *arg)
{
    uint64_t one = 1;

    need(write(((struct run *)arg)->wake_fd, &one, sizeof one) == sizeof one, "cannot wake");
}

static uint64_t now(void *arg)
{
    return ((struct actor *)arg)->now_us;
}

static uint64_t number(void *arg)
{
    return ((struct actor *)arg)->random += UINT64_C(0x9e3779b97f4a7c15);
}

/* ---- frames ---- */

static uint16_t write_frame(uint8_t *to, uint32_t value)
{
    struct payload payload = {.udp_header = {0, 53, 0, 53, 0, 16}, .number = value, .again = value};
    struct net_address from, own;

    net_address_parse("10.9.0.2", &from);
    net_address_parse("10.9.0.1", &own);
    unsigned at = wire_write_ethernet(to, mac, mac, WIRE_NO_VLAN, WIRE_IPV4);
    at += wire_write_ip(to + at, &from, &own, UDP, 0, 64, sizeof payload);
    memcpy(to + at, &payload, sizeof payload);
    return (uint16_t)(at + sizeof payload);
}

static uint32_t read_frame(const uint8_t *bytes, unsigned len)
{
    struct payload payload;

    need(len == WIRE_ETHERNET_LEN + WIRE_IPV4_LEN + sizeof payload, "a frame of another length");
    memcpy(&payload, bytes + len - sizeof payload, sizeof payload);
    need(payload.number == payload.again, "a torn frame");
    return payload.number;
}

/* ---- workers ---- */

/* All neighbours of a snapshot have the same MAC. */
static void read_snapshot(struct actor *actor)
{
    const struct neighbours *known =
        atomic_load_explicit(&kernel_port_neighbours(actor->kernel)->current, memory_order_acquire);
    uint8_t first[6], other[6];
    struct net_address to, hop;

    if (known == NULL)
        return;
    net_address_parse("10.9.0.0", &to);
    need(neighbours_find(known, &to, first, &hop) == NEIGHBOURS_FOUND, "the first is missing");
    for (unsigned i = 1; i < PEERS; i++) {
        to.bytes[15] = (uint8_t)i;
        need(neighbours_find(known, &to, other, &hop) == NEIGHBOURS_FOUND, "one is missing");
        need(memcmp(first, other, sizeof first) == 0, "a snapshot has two versions");
    }
}

static void hear(struct actor *actor)
{
    struct packet *packets[PACKET_BURST_MAX];
    unsigned count = packet_receive(&actor->outside.base, packets, PACKET_BURST_MAX);

    for (unsigned i = 0; i < count; i++) {
        uint32_t value = read_frame(packets[i]->data, packets[i]->len);
        need(value > actor->heard, "a frame of the kernel's out of order");
        actor->heard = value;
        packet_release(&actor->outside.base, packets[i]);
    }
}

static void *work(void *arg)
{
    struct actor *actor = arg;

    while (!atomic_load_explicit(&actor->run->end, memory_order_acquire)) {
        actor->now_us += TURN_US;
        for (unsigned i = 0; i < BURST; i++) {
            struct packet *packet = packet_alloc(&actor->outside.base);
            packet->len = write_frame(packet->data, ++actor->sent * WORKERS + actor->index);
            packet_transmit(&actor->outside.base, &packet, 1);
        }
        net_poll(actor->net);
        kernel_port_exchange(actor->kernel, actor->net, &actor->port.base, actor->now_us);
        read_snapshot(actor);
        net_flush(actor->net);
        hear(actor);
    }
    return NULL;
}

static void begin_worker(struct run *run, unsigned index)
{
    struct actor *actor = &run->actors[index];
    struct net_prefix own;

    *actor = (struct actor){.run = run, .index = index, .now_us = 1000000, .random = index + 1};
    actor->kernel = kernel_path_port(run->path, index);
    pair_port_init(&actor->port, &actor->outside);
    net_prefix_parse("10.9.0.1/24", &own);
    struct net_options options = {.port = &actor->port.base,
                                  .clock_us = now,
                                  .clock_arg = actor,
                                  .random = number,
                                  .random_arg = actor,
                                  .addresses = &own,
                                  .addresses_count = 1,
                                  .connections_max = 64,
                                  .kernel_path = true,
                                  .neighbours = kernel_port_neighbours(actor->kernel)};
    need(net_create(&actor->net, &options) == 0, "no stack");
}

static void end_worker(struct actor *actor)
{
    pthread_join(actor->thread, NULL);
    net_destroy(actor->net);
    pair_port_drop(&actor->port);
    pair_port_drop(&actor->outside);
    need(actor->port.live == 0 && actor->outside.live == 0, "packets are left");
}

/* ---- the control thread ---- */

static void take(struct run *run)
{
    const struct kernel_frame *frame;

    while ((frame = kernel_path_next(run->path)) != NULL) {
        uint32_t value = read_frame(frame->bytes, frame->len);
        struct actor *whose = &run->actors[value % WORKERS];
        value /= WORKERS;
        need(value > whose->taken, "a worker's frame out of order");
        whose->taken = value;
        kernel_path_done(run->path);
    }
}

static uint32_t give(struct run *run, uint32_t last)
{
    struct kernel_frame *room;

    for (unsigned i = 0; i < BURST && (room = kernel_path_room(run->path)) != NULL; i++)
        kernel_path_put(run->path, write_frame(room->bytes, ++last));
    return last;
}

static void publish(struct run *run, struct neighbours_table *table, uint32_t version)
{
    struct neighbour neighbour = {.mac = {2}};

    if (!kernel_path_reclaim(run->path))
        return;
    memcpy(neighbour.mac + 1, &version, sizeof version);
    net_address_parse("10.9.0.0", &neighbour.address);
    for (unsigned i = 0; i < PEERS; i++) {
        neighbour.address.bytes[15] = (uint8_t)i;
        neighbours_put(table, &neighbour);
    }
    need(kernel_path_publish(run->path, neighbours_snapshot(table)), "it was reclaimed just now");
}

static void control(struct run *run, struct neighbours_table *table)
{
    struct pollfd fd = {.fd = run->wake_fd, .events = POLLIN};
    uint32_t last = 0, version = 0;
    uint64_t calls;

    while (run->actors[0].taken < FRAMES || run->actors[1].taken < FRAMES) {
        if (kernel_path_sleep(run->path)) {
            need(poll(&fd, 1, WAKE_MS) == 1, "nobody wakes the control thread");
            need(read(run->wake_fd, &calls, sizeof calls) == sizeof calls, "cannot read");
        }
        kernel_path_awake(run->path);
        take(run);
        last = give(run, last);
        publish(run, table, ++version);
    }
}

int main(void)
{
    struct run *run = calloc(1, sizeof *run);
    struct neighbours_table *table = calloc(1, sizeof *table);
    struct neighbours_route route = {0};

    net_prefix_parse("10.9.0.0/24", &route.prefix);
    neighbours_put_route(table, &route);
    run->config = config_create();
    run->wake_fd = eventfd(0, EFD_CLOEXEC);
    run->path = kernel_path_create(run->config, WORKERS, wake, run);
    need(run->path != NULL && run->wake_fd >= 0, "no memory");
    for (unsigned i = 0; i < WORKERS; i++)
        begin_worker(run, i);
    for (unsigned i = 0; i < WORKERS; i++)
        need(pthread_create(&run->actors[i].thread, NULL, work, &run->actors[i]) == 0, "thread");
    control(run, table);
    atomic_store_explicit(&run->end, true, memory_order_release);
    for (unsigned i = 0; i < WORKERS; i++)
        end_worker(&run->actors[i]);
    need(run->actors[0].heard > 0 && run->actors[1].heard == 0, "whom the kernel's frames reach");
    need(kernel_path_counters(run->path)->snapshots > 1, "snapshots came");
    kernel_path_destroy(run->path);
    config_destroy(run->config);
    close(run->wake_fd);
    free(table);
    free(run);
    return 0;
}

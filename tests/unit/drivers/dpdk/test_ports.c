/* Ports over virtual devices, without hugepages: net_ring hands what is sent back, memif connects
 * two ports. Each test is a process of its own, as EAL wants it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drivers/clock.h"
#include "drivers/dpdk/dpdk.h"

enum { DEADLINE_US = 10000000, FRAME = 100, PEERS = 8 };

static char error[DPDK_ERROR_MAX];

static struct dpdk *start(const char *spec)
{
    const struct dpdk_options options = {
        .specs = &spec, .spec_count = 1, .queues = 2, .packets_per_queue = 4095, .mtu = 9000};
    struct dpdk *dpdk = NULL;

    if (!dpdk_built())
        cr_skip_test("this build has no DPDK");
    cr_assert_eq(dpdk_start(&dpdk, &options, error), 0, "%s", error);
    cr_assert_eq(dpdk_thread_register(), 0);
    return dpdk;
}

static struct dpdk_port *open_port(struct dpdk *dpdk, const char *spec)
{
    struct dpdk_port *port = NULL;

    cr_assert_eq(dpdk_port_open(dpdk, spec, 1, 0, &port, error), 0, "%s", error);
    return port;
}

static struct packet *frame(struct packet_port *port, uint8_t fill, unsigned len)
{
    struct packet *packet = packet_alloc(port);

    cr_assert_not_null(packet);
    memset(packet->data, fill, len);
    packet->len = (uint16_t)len;
    return packet;
}

/* The next frame that arrives. */
static struct packet *await(struct packet_port *port)
{
    uint64_t end_us = clock_now_us() + DEADLINE_US;
    struct packet *packet;

    while (packet_receive(port, &packet, 1) == 0)
        cr_assert_lt(clock_now_us(), end_us, "nothing arrived");
    return packet;
}

static void await_link(const struct dpdk_port *port, bool up)
{
    uint64_t end_us = clock_now_us() + DEADLINE_US;
    struct dpdk_link link;

    do {
        dpdk_port_link(port, &link);
        cr_assert_lt(clock_now_us(), end_us, "the link is not %s", up ? "up" : "down");
    } while (link.up != up);
}

Test(dpdk_ports, build_without_dpdk_says_how_to_get_one)
{
    const struct dpdk_options options = {0};
    struct dpdk *dpdk;

    if (dpdk_built())
        cr_skip_test("this build has DPDK");
    cr_expect_eq(dpdk_start(&dpdk, &options, error), -ENOSYS);
    cr_expect(strstr(error, "libdpdk-dev") != NULL, "%s", error);
}

Test(dpdk_ports, start_leaves_the_affinity_of_the_thread_alone)
{
    cpu_set_t before, after;
    struct dpdk *dpdk;

    sched_getaffinity(0, sizeof(before), &before);
    dpdk = start("net_ring0");
    sched_getaffinity(0, sizeof(after), &after);
    cr_expect(CPU_EQUAL(&before, &after));
    dpdk_stop(dpdk);
}

Test(dpdk_ports, ring_returns_what_was_sent)
{
    struct dpdk *dpdk = start("net_ring0");
    struct dpdk_port *port = open_port(dpdk, "net_ring0");
    struct packet_port *queue = dpdk_queue(port, 0);
    const struct dpdk_counters *counters = dpdk_queue_counters(port, 0);
    unsigned before = packet_available(queue);
    struct packet *sent = frame(queue, 0xab, FRAME), *got;

    cr_expect_eq(sent->data - (uint8_t *)sent, (ptrdiff_t)sizeof(*sent) + PACKET_HEADROOM);
    cr_assert_eq(packet_transmit(queue, &sent, 1), 1);
    got = await(queue);
    cr_expect_eq(got->len, FRAME);
    cr_expect_eq(got->data[FRAME - 1], 0xab);
    cr_expect_eq(got->flags, 0, "nobody verified a checksum");
    packet_release(queue, got);
    cr_expect_eq(packet_available(queue), before);
    cr_expect_eq(counters->tx_packets, 1);
    cr_expect_eq(counters->rx_bytes, FRAME);
    dpdk_port_close(port);
    dpdk_stop(dpdk);
}

Test(dpdk_ports, held_packet_is_the_senders_alone_on_a_ring)
{
    struct dpdk *dpdk = start("net_ring0");
    struct dpdk_port *port = open_port(dpdk, "net_ring0");
    struct packet_port *queue = dpdk_queue(port, 0);
    unsigned before = packet_available(queue);
    struct packet *sent = frame(queue, 1, FRAME), *got;

    packet_hold(queue, sent);
    cr_expect(packet_shared(queue, sent));
    cr_assert_eq(packet_transmit(queue, &sent, 1), 1);
    got = await(queue);
    cr_expect_neq(got, sent, "the receiver would write into a kept segment");
    cr_expect(!packet_shared(queue, sent));
    cr_expect_eq(got->data[0], 1);
    packet_release(queue, got);
    packet_release(queue, sent);
    cr_expect_eq(packet_available(queue), before);
    dpdk_port_close(port);
    dpdk_stop(dpdk);
}

Test(dpdk_ports, pinned_payload_follows_the_headers)
{
    struct dpdk *dpdk = start("net_ring0");
    struct dpdk_port *port = open_port(dpdk, "net_ring0");
    struct packet_port *queue = dpdk_queue(port, 0);
    unsigned before = packet_available(queue);
    static uint8_t value[PACKET_DATA_MAX + 1];
    struct packet *sent[3], *got;

    memset(value, 7, sizeof(value));
    for (int i = 0; i < 3; i++)
        sent[i] = frame(queue, (uint8_t)(20 + i), 54);
    sent[0]->more = value;
    sent[0]->more_len = 1400;
    sent[1]->more = value;
    sent[1]->more_len = PACKET_DATA_MAX; /* with its headers, too much: dropped and counted */
    cr_assert_eq(packet_transmit(queue, sent, 3), 3);
    got = await(queue);
    cr_expect_eq(got->len, 54 + 1400);
    cr_expect_eq(got->data[53], 20);
    cr_expect_arr_eq(got->data + 54, value, 1400);
    packet_release(queue, got);
    got = await(queue);
    cr_expect_eq(got->data[0], 22);
    packet_release(queue, got);
    cr_expect_eq(dpdk_queue_counters(port, 0)->tx_too_long, 1);
    cr_expect_eq(packet_available(queue), before);
    dpdk_port_close(port);
    dpdk_stop(dpdk);
}

Test(dpdk_ports, full_ring_leaves_the_rest_to_the_sender)
{
    struct dpdk *dpdk = start("net_ring0");
    struct dpdk_port *port = open_port(dpdk, "net_ring0");
    struct packet_port *queue = dpdk_queue(port, 0);
    unsigned before = packet_available(queue), total = 0, taken;
    struct packet *burst[PACKET_BURST_MAX];

    do {
        for (int i = 0; i < PACKET_BURST_MAX; i++)
            burst[i] = frame(queue, 3, FRAME);
        taken = packet_transmit(queue, burst, PACKET_BURST_MAX);
        total += taken;
        cr_assert_leq(total, 2048);
    } while (taken == PACKET_BURST_MAX);
    for (unsigned i = taken; i < PACKET_BURST_MAX; i++)
        packet_release(queue, burst[i]);
    cr_expect_eq(dpdk_queue_counters(port, 0)->tx_full, 1);
    while ((taken = packet_receive(queue, burst, PACKET_BURST_MAX)) > 0) {
        total -= taken;
        for (unsigned i = 0; i < taken; i++)
            packet_release(queue, burst[i]);
    }
    cr_expect_eq(total, 0);
    cr_expect_eq(packet_available(queue), before);
    dpdk_port_close(port);
    dpdk_stop(dpdk);
}

Test(dpdk_ports, empty_pool_is_an_ordinary_result)
{
    static struct packet *packets[4096];
    struct dpdk *dpdk = start("net_null0");
    struct dpdk_port *port = open_port(dpdk, "net_null0,no-rx=1");
    struct packet_port *queue = dpdk_queue(port, 0);
    unsigned before = packet_available(queue), count = 0;

    while ((packets[count] = packet_alloc(queue)) != NULL)
        count++;
    cr_expect_eq(count, 4095);
    cr_expect_eq(packet_available(queue), 0);
    cr_expect_eq(dpdk_queue_counters(port, 0)->alloc_failed, 1);
    while (count > 0)
        packet_release(queue, packets[--count]);
    cr_expect_eq(packet_available(queue), before);
    dpdk_port_close(port);
    dpdk_stop(dpdk);
}

Test(dpdk_ports, as_many_queues_as_the_device_has)
{
    const char *spec = "net_ring0";
    const struct dpdk_options options = {.specs = &spec,
                                         .spec_count = 1,
                                         .queues = DPDK_QUEUES_MAX,
                                         .packets_per_queue = 511};
    struct dpdk_port *port = NULL;
    struct dpdk_port_info info;
    struct dpdk *dpdk;

    if (!dpdk_built())
        cr_skip_test("this build has no DPDK");
    cr_assert_eq(dpdk_start(&dpdk, &options, error), 0, "%s", error);
    cr_assert_eq(dpdk_port_open(dpdk, "net_ring0", DPDK_QUEUES_MAX, 0, &port, error), 0, "%s",
                 error);
    dpdk_port_info(port, &info);
    cr_expect(info.queues > 0 && info.queues < DPDK_QUEUES_MAX, "%u", info.queues);
    cr_expect_eq(dpdk_queue_counters(port, info.queues - 1)->rx_packets, 0);
    dpdk_port_close(port);
    dpdk_stop(dpdk);
}

Test(dpdk_ports, unknown_drivers_and_sizes_are_told)
{
    struct dpdk *dpdk = start("net_ring0");
    struct dpdk_port *port = NULL;

    cr_expect_neq(dpdk_port_open(dpdk, "net_nosuch0", 1, 0, &port, error), 0);
    cr_expect(strstr(error, "net_nosuch0") != NULL && strchr(error, '\n') == NULL, "%s", error);
    cr_expect_neq(dpdk_port_open(dpdk, "net_null0", 1, 9001, &port, error), 0);
    cr_expect(strstr(error, "MTU") != NULL, "%s", error);
    cr_assert_eq(dpdk_port_open(dpdk, "net_ring0", 1, 0, &port, error), 0, "a failure frees: %s",
                 error);
    dpdk_stop(dpdk);
}

Test(dpdk_ports, jumbo_packets_have_room_in_one_piece)
{
    static const uint16_t mtus[] = {576, 1774, 1775, 2031, 9000};
    struct dpdk *dpdk = start("net_ring0");
    static uint8_t value[PACKET_ROOM_MAX];

    for (size_t i = 0; i < sizeof(value); i++)
        value[i] = (uint8_t)(i * 7 + (i >> 8));
    for (size_t i = 0; i < sizeof(mtus) / sizeof(*mtus); i++) {
        struct dpdk_port *port;
        struct packet *sent[2], *got;

        cr_assert_eq(dpdk_port_open(dpdk, "net_ring0", 1, mtus[i], &port, error), 0, "%s", error);
        struct packet_port *queue = dpdk_queue(port, 0);
        uint32_t payload = mtus[i] + 14u - 54;
        cr_expect_eq(queue->mtu, mtus[i]);
        cr_expect_geq(queue->room, mtus[i] + 18 + 256, "with what net_af_xdp leaves in front");
        cr_expect_eq(queue->room == PACKET_DATA_MAX, mtus[i] <= 1774);
        for (int k = 0; k < 2; k++) {
            sent[k] = frame(queue, (uint8_t)(20 + k), 54);
            sent[k]->more = value;
        }
        sent[0]->more_len = queue->room; /* with its headers, too much */
        sent[1]->more_len = payload;
        cr_assert_eq(packet_transmit(queue, sent, 2), 2);
        got = await(queue);
        cr_expect_eq(got->len, mtus[i] + 14);
        cr_expect_eq(got->data[0], 21);
        cr_expect_arr_eq(got->data + 54, value, payload);
        cr_expect_eq(got->room, queue->room - got->len);
        packet_release(queue, got);
        cr_expect_eq(dpdk_queue_counters(port, 0)->tx_too_long, 1);
        dpdk_port_close(port);
    }
    dpdk_stop(dpdk);
}

/* ---- memif ---- */

/* An abstract socket: nothing to clean up after a failure. */
static void memif_spec(char *spec, size_t size, int number, const char *role)
{
    snprintf(spec, size, "net_memif%d,role=%s,socket=pollux-test-%d", number, role, (int)getpid());
}

/* As the control thread does, until it has seen the link so. */
static void tick_until(struct dpdk_port *port, bool up, uint64_t changes)
{
    struct dpdk_link link;

    await_link(port, up);
    dpdk_port_tick(port);
    dpdk_port_link(port, &link);
    cr_expect_eq(link.changes, changes, "%llu", (unsigned long long)link.changes);
}

/* The driver may still be at work on the link that has just come up, and keeps us out meanwhile. */
static void send_one(struct packet_port *port, struct packet *packet)
{
    uint64_t end_us = clock_now_us() + DEADLINE_US;

    while (packet_transmit(port, &packet, 1) == 0)
        cr_assert_lt(clock_now_us(), end_us, "it cannot be sent");
}

static void count_xstat(void *arg, const char *name, uint64_t value)
{
    *(unsigned *)arg += name[0] != '\0';
}

Test(dpdk_ports, memif_pair_carries_frames_both_ways)
{
    char server_spec[128], client_spec[128];
    struct dpdk_port *server, *client;
    struct dpdk_stats stats;
    struct dpdk_port_info info;
    struct packet *sent, *got;
    struct dpdk *dpdk;
    unsigned xstats = 0;

    memif_spec(server_spec, sizeof(server_spec), 0, "server");
    memif_spec(client_spec, sizeof(client_spec), 1, "client");
    dpdk = start(server_spec);
    server = open_port(dpdk, server_spec);
    client = open_port(dpdk, client_spec);
    tick_until(server, true, 1);
    await_link(client, true);
    sent = frame(dpdk_queue(client, 0), 5, 1514);
    packet_hold(dpdk_queue(client, 0), sent);
    send_one(dpdk_queue(client, 0), sent);
    got = await(dpdk_queue(server, 0));
    cr_expect_eq(got->len, 1514);
    cr_expect_arr_eq(got->data, sent->data, 1514);
    cr_expect_eq(got->room, PACKET_DATA_MAX - 1514, "what is left of its buffer");
    cr_expect(!packet_shared(dpdk_queue(client, 0), sent), "memif copies");
    packet_release(dpdk_queue(client, 0), sent);
    /* A client gives its server buffers to fill whenever it polls. */
    cr_expect_eq(packet_receive(dpdk_queue(client, 0), &sent, 1), 0);
    send_one(dpdk_queue(server, 0), got);
    got = await(dpdk_queue(client, 0));
    packet_release(dpdk_queue(client, 0), got);
    cr_expect_eq(dpdk_port_stats(server, &stats), 0);
    cr_expect_eq(stats.rx_packets, 1);
    cr_expect_eq(stats.tx_bytes, 1514);
    cr_expect_eq(dpdk_port_xstats(server, count_xstat, &xstats), 0);
    cr_expect_gt(xstats, 0);
    dpdk_port_info(server, &info);
    cr_expect_str_eq(info.name, "net_memif0");
    cr_expect_eq(info.mtu, 1500);
    cr_expect_eq(info.offloads, 0);
    dpdk_stop(dpdk);
}

/* A frame of 9000 and its header; `args` behind both specs. */
static void large_frames_over_memif(const char *args)
{
    char server_spec[160], client_spec[160];
    struct dpdk_port *server, *client;
    struct packet *sent, *got;
    struct dpdk *dpdk;

    memif_spec(server_spec, sizeof(server_spec), 0, "server");
    memif_spec(client_spec, sizeof(client_spec), 1, "client");
    strcat(client_spec, args);
    dpdk = start(server_spec);
    cr_assert_eq(dpdk_port_open(dpdk, server_spec, 1, 9000, &server, error), 0, "%s", error);
    cr_assert_eq(dpdk_port_open(dpdk, client_spec, 1, 9000, &client, error), 0, "%s", error);
    tick_until(server, true, 1);
    await_link(client, true);
    sent = frame(dpdk_queue(client, 0), 5, 9014);
    for (unsigned i = 0; i < 9014; i++)
        sent->data[i] = (uint8_t)(i * 7 + i / 256);
    packet_hold(dpdk_queue(client, 0), sent);
    send_one(dpdk_queue(client, 0), sent);
    got = await(dpdk_queue(server, 0));
    cr_expect_eq(got->len, 9014);
    cr_expect_arr_eq(got->data, sent->data, 9014);
    cr_expect_eq(packet_receive(dpdk_queue(client, 0), &sent, 1), 0); /* gives buffers to fill */
    send_one(dpdk_queue(server, 0), got);
    got = await(dpdk_queue(client, 0));
    cr_expect_eq(got->len, 9014);
    cr_expect_eq(got->data[9013], (uint8_t)(9013 * 7 + 9013 / 256));
    packet_release(dpdk_queue(client, 0), got);
    dpdk_stop(dpdk);
}

Test(dpdk_ports, memif_carries_large_frames_in_one_buffer)
{
    large_frames_over_memif("");
}

Test(dpdk_ports, memif_carries_large_frames_in_several_buffers)
{
    large_frames_over_memif(",bsize=2048");
}

/* A peer that sends until it is killed. */
static void be_peer(const char *spec)
{
    const struct dpdk_options options = {.specs = &spec,
                                         .spec_count = 1,
                                         .queues = 1,
                                         .packets_per_queue = 4095};
    struct packet *packets[32];
    struct dpdk_port *port;
    struct dpdk *dpdk;

    if (dpdk_start(&dpdk, &options, error) != 0 || dpdk_thread_register() != 0 ||
        dpdk_port_open(dpdk, spec, 1, 0, &port, error) != 0)
        _exit(1);
    for (;;) {
        struct packet_port *queue = dpdk_queue(port, 0);
        unsigned got = packet_receive(queue, packets, 32);

        for (unsigned i = 0; i < got; i++)
            packet_release(queue, packets[i]);
        packets[0] = packet_alloc(queue);
        if (packets[0] == NULL)
            continue;
        memset(packets[0]->data, 9, FRAME);
        packets[0]->len = FRAME;
        if (packet_transmit(queue, packets, 1) == 0)
            packet_release(queue, packets[0]);
    }
}

/* Polls and sends as a worker would, at least once and until `goal` packets have come in all. */
static void exchange(struct packet_port *queue, const struct dpdk_counters *counters, uint64_t goal)
{
    uint64_t end_us = clock_now_us() + DEADLINE_US;
    struct packet *burst[32];

    do {
        unsigned got = packet_receive(queue, burst, 32);
        unsigned sent = got == 0 ? 0 : packet_transmit(queue, burst, got);

        for (unsigned i = sent; i < got; i++)
            packet_release(queue, burst[i]);
        cr_assert_lt(clock_now_us(), end_us, "the peer sent nothing");
    } while (counters->rx_packets < goal);
}

/* EAL does not survive a fork: peers exist before it starts, and wait for a byte. */
static pid_t fork_peer(const char *spec, int *go)
{
    int ends[2];
    char byte;
    pid_t pid;

    cr_assert_eq(pipe(ends), 0);
    pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        close(ends[1]);
        if (read(ends[0], &byte, 1) == 1)
            be_peer(spec);
        _exit(1);
    }
    close(ends[0]);
    *go = ends[1];
    return pid;
}

Test(dpdk_ports, peers_killed_in_the_middle_of_bursts_take_nobody_down, .timeout = 100)
{
    char server_spec[128], client_spec[128];
    const struct dpdk_counters *counters;
    struct packet_port *queue;
    struct dpdk_port *server;
    struct dpdk *dpdk;
    pid_t peers[PEERS];
    int go[PEERS];

    if (!dpdk_built())
        cr_skip_test("this build has no DPDK");
    memif_spec(server_spec, sizeof(server_spec), 0, "server");
    memif_spec(client_spec, sizeof(client_spec), 0, "client");
    for (int i = 0; i < PEERS; i++)
        peers[i] = fork_peer(client_spec, &go[i]);
    dpdk = start(server_spec);
    server = open_port(dpdk, server_spec);
    queue = dpdk_queue(server, 0);
    counters = dpdk_queue_counters(server, 0);
    for (int i = 0; i < PEERS; i++) {
        uint64_t end_us = clock_now_us() + DEADLINE_US;
        struct dpdk_link link;

        cr_assert_eq(write(go[i], "g", 1), 1);
        exchange(queue, counters, counters->rx_packets + 2000);
        tick_until(server, true, 2 * (uint64_t)i + 1);
        kill(peers[i], SIGKILL);
        do { /* goes on polling and sending while the driver takes the memory away */
            exchange(queue, counters, 0);
            dpdk_port_link(server, &link);
            cr_assert_lt(clock_now_us(), end_us, "the link stays up");
        } while (link.up);
        tick_until(server, false, 2 * (uint64_t)i + 2);
        waitpid(peers[i], NULL, 0);
        close(go[i]);
    }
    cr_expect_gt(counters->peer_gone, 0, "no poll was kept out");
    dpdk_stop(dpdk);
}

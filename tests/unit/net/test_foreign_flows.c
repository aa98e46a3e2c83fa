/* Stacks of several workers behind one card that changes its mind about which queue a flow comes to. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "config/config.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/net.h"
#include "dataplane/net/steer.h"
#include "dataplane/net/wire.h"
#include "tests/unit/net/pair_port.h"

enum { WORKERS = 3, PORT = 6379, ROUNDS = 1500, TURN_US = 1000 };

struct world {
    uint64_t now_us, random;
    struct config *config;
    struct steer_group *group;
    struct pair_port client_port, queues[WORKERS];
    struct net *stacks[WORKERS], *client;
    struct net_conn *conn;          /* the client's */
    struct net_conn *held[WORKERS]; /* the servers', the last one accepted */
    unsigned accepted[WORKERS];
    bool connected, closed;
    int error;
    size_t echoed;
};

static uint64_t now(void *arg)
{
    return ((struct world *)arg)->now_us;
}

static uint64_t number(void *arg)
{
    return ((struct world *)arg)->random += UINT64_C(0x9e3779b97f4a7c15);
}

static struct net *stack(struct world *world, struct packet_port *port, const char *address)
{
    struct net_prefix own;
    struct net *net;

    cr_assert_eq(net_prefix_parse(address, &own), 0);
    struct net_options options = {.port = port,
                                  .clock_us = now,
                                  .clock_arg = world,
                                  .random = number,
                                  .random_arg = world,
                                  .addresses = &own,
                                  .addresses_count = 1};
    cr_assert_eq(net_create(&net, &options), 0);
    return net;
}

static struct world *begin(void)
{
    struct world *world = calloc(1, sizeof *world);

    world->now_us = 1000000;
    world->config = config_create();
    world->group = steer_create(world->config, WORKERS, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        pair_port_init(&world->queues[i], &world->client_port);
        steer_port(world->group, i, &world->queues[i].base);
        world->stacks[i] = stack(world, &world->queues[i].base, "10.9.0.1/24");
        cr_assert_eq(net_listen(world->stacks[i], PORT, 0), 0);
    }
    world->client_port.other = &world->queues[0];
    world->client = stack(world, &world->client_port.base, "10.9.0.2/24");
    return world;
}

static void end(struct world *world)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        cr_expect_null(net_check(world->stacks[i]));
        net_destroy(world->stacks[i]);
    }
    net_destroy(world->client);
    steer_destroy(world->group);
    for (unsigned i = 0; i < WORKERS; i++) {
        pair_port_drop(&world->queues[i]);
        cr_expect_eq(world->queues[i].live, 0);
    }
    pair_port_drop(&world->client_port);
    cr_expect_eq(world->client_port.live, 0);
    config_destroy(world->config);
    free(world);
}

/* The server side: whatever comes goes back. */
static void turn_of_worker(struct world *world, unsigned worker)
{
    struct net *net = world->stacks[worker];
    struct net_event event;

    net_poll(net);
    while (net_event(net, &event)) {
        size_t room;
        if (event.kind == NET_ACCEPTED) {
            world->accepted[worker]++;
            world->held[worker] = event.conn;
        } else if (event.kind == NET_BYTES) {
            uint8_t *place = net_reserve(net, event.conn, event.len_bytes, &room);
            memcpy(place, event.data, event.len_bytes);
            net_commit(net, event.conn, event.len_bytes);
        } else if (event.kind == NET_END) {
            net_close(net, event.conn, NET_CLOSE_FLUSH);
        }
    }
    net_flush(net);
}

static void turn_of_client(struct world *world)
{
    struct net_event event;

    net_poll(world->client);
    while (net_event(world->client, &event)) {
        world->connected |= event.kind == NET_CONNECTED;
        if (event.kind == NET_BYTES)
            world->echoed += event.len_bytes;
        if (event.kind == NET_CLOSED) {
            world->closed = true;
            world->error = event.error;
            world->conn = NULL;
        }
    }
    net_flush(world->client);
}

static void run(struct world *world, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        turn_of_client(world);
        for (unsigned worker = 0; worker < WORKERS; worker++)
            turn_of_worker(world, worker);
        world->now_us += TURN_US;
    }
}

static void connect_to(struct world *world, unsigned worker)
{
    struct net_endpoint to = {.port = PORT};

    world->client_port.other = &world->queues[worker];
    world->connected = false;
    cr_assert_eq(net_address_parse("10.9.0.1", &to.address), 0);
    cr_assert_eq(net_connect(world->client, &to, 0, NULL, &world->conn), 0);
    run(world, ROUNDS);
    cr_assert(world->connected);
}

static void send(struct world *world, size_t bytes)
{
    size_t room;
    uint8_t *place = net_reserve(world->client, world->conn, bytes, &room);

    cr_assert_not_null(place);
    memset(place, 'x', bytes);
    net_commit(world->client, world->conn, bytes);
}

/* The card from now on brings all that the client sends to another queue. */
static void move_to(struct world *world, unsigned worker)
{
    world->client_port.other = &world->queues[worker];
    steer_table_changed(world->group);
}

static uint64_t sum(const struct world *world, size_t offset)
{
    uint64_t all = 0;

    for (unsigned i = 0; i < WORKERS; i++)
        all += atomic_load(
            (const _Atomic uint64_t *)((const char *)net_counters(world->stacks[i]) + offset));
    return all;
}

#define SUM(world, field) sum(world, offsetof(struct net_counters, field))

/* ---- established connections ---- */

Test(foreign_flows, a_connection_goes_on_wherever_its_segments_arrive)
{
    struct world *world = begin();
    size_t wanted = 0;

    connect_to(world, 0);
    for (unsigned at = 0; at < 3 * WORKERS; at++) {
        move_to(world, at % WORKERS);
        send(world, 10000);
        wanted += 10000;
        run(world, ROUNDS);
        cr_assert_eq(world->echoed, wanted, "queue %u: %zu of %zu bytes", at % WORKERS,
                     world->echoed, wanted);
    }
    cr_expect(!world->closed);
    cr_expect_eq(SUM(world, tx_resets), 0);
    cr_expect_eq(world->accepted[0], 1);
    cr_expect_eq(world->accepted[1] + world->accepted[2], 0);
    end(world);
}

Test(foreign_flows, a_hint_shortens_the_way)
{
    struct world *world = begin();

    connect_to(world, 0);
    move_to(world, 1); /* from there 2 is asked first */
    send(world, 100);
    run(world, ROUNDS);
    cr_assert_eq(world->echoed, 100);
    uint64_t detour = steer_counters(world->group, 2)->passed_on;
    cr_expect_geq(detour, 1);
    for (unsigned i = 0; i < 50; i++) {
        send(world, 100);
        run(world, 10);
    }
    run(world, ROUNDS);
    cr_expect_eq(world->echoed, 5100);
    cr_expect_leq(steer_counters(world->group, 2)->passed_on, detour + 1,
                  "the ACK of the first reply may still take it");
    cr_expect_geq(steer_counters(world->group, 1)->passed_on, 51);
    cr_expect_geq(steer_counters(world->group, 0)->found, 51);
    end(world);
}

Test(foreign_flows, an_end_reaches_the_connection_too)
{
    struct world *world = begin();

    connect_to(world, 0);
    move_to(world, 2);
    net_close(world->client, world->conn, NET_CLOSE_FLUSH);
    run(world, ROUNDS);
    cr_expect(world->closed);
    cr_expect_eq(world->error, 0);
    cr_expect_eq(SUM(world, tx_resets), 0);
    cr_expect_eq(SUM(world, connections), 0);
    end(world);
}

Test(foreign_flows, a_reset_reaches_the_connection_too)
{
    struct world *world = begin();

    connect_to(world, 0);
    move_to(world, 1);
    send(world, 10);
    net_close(world->client, world->conn, NET_CLOSE_NOW);
    run(world, ROUNDS);
    cr_expect_eq(SUM(world, connections), 0);
    cr_expect_eq(SUM(world, tx_resets), 0);
    end(world);
}

Test(foreign_flows, the_last_segment_of_a_handshake_finds_its_first)
{
    struct net_endpoint to = {.port = PORT};
    struct world *world = begin();

    connect_to(world, 0); /* the MAC is known from here on */
    world->connected = false;
    cr_assert_eq(net_address_parse("10.9.0.1", &to.address), 0);
    cr_assert_eq(net_connect(world->client, &to, 0, NULL, &world->conn), 0);
    turn_of_client(world); /* the SYN */
    turn_of_worker(world, 0);
    cr_assert_eq(SUM(world, half_open), 1);
    move_to(world, 1);
    send(world, 100);
    run(world, ROUNDS);
    cr_expect(world->connected);
    cr_expect_eq(world->echoed, 100);
    cr_expect_eq(world->accepted[0], 2);
    cr_expect_eq(SUM(world, tx_resets), 0);
    end(world);
}

Test(foreign_flows, new_connections_stay_where_they_arrive)
{
    struct world *world = begin();

    connect_to(world, 0);
    steer_table_changed(world->group);
    for (unsigned worker = 1; worker < WORKERS; worker++) {
        connect_to(world, worker);
        cr_expect_eq(world->accepted[worker], 1);
    }
    cr_expect_eq(world->accepted[0], 1);
    end(world);
}

/* ---- ICMP errors ---- */

/* "Fragmentation needed" (RFC 1191) for the next frame that the client would get, which is lost. */
static void complain(struct world *world, unsigned worker, uint16_t mtu)
{
    enum { IP = WIRE_ETHERNET_LEN, ICMP = IP + WIRE_IPV4_LEN, QUOTE = ICMP + 8, LEN = QUOTE + 28 };
    struct packet *sent, *packet = packet_alloc(&world->client_port.base);
    uint8_t *bytes = packet->data;
    uint16_t sum;

    cr_assert_eq(packet_receive(&world->client_port.base, &sent, 1), 1);
    memcpy(bytes, sent->data, ICMP);
    memcpy(bytes + QUOTE, sent->data + IP, 28);
    memcpy(bytes, world->queues[worker].base.mac, 6);
    memcpy(bytes + 6, world->client_port.base.mac, 6);
    packet_release(&world->client_port.base, sent);
    bytes[IP + 2] = 0;
    bytes[IP + 3] = LEN - IP;
    bytes[IP + 9] = 1;                              /* ICMP */
    memcpy(bytes + IP + 16, bytes + QUOTE + 12, 4); /* to who sent it, from a router */
    memcpy(bytes + IP + 12, (const uint8_t[]){10, 9, 0, 254}, 4);
    memset(bytes + IP + 10, 0, 2);
    sum = checksum_finish(checksum_sum(bytes + IP, WIRE_IPV4_LEN));
    memcpy(bytes + IP + 10, &sum, 2);
    memcpy(bytes + ICMP, (const uint8_t[]){3, 4, 0, 0, 0, 0, (uint8_t)(mtu >> 8), (uint8_t)mtu}, 8);
    sum = checksum_finish(checksum_sum(bytes + ICMP, LEN - ICMP));
    memcpy(bytes + ICMP + 2, &sum, 2);
    packet->len = LEN;
    world->client_port.other = &world->queues[worker];
    cr_assert_eq(packet_transmit(&world->client_port.base, &packet, 1), 1);
}

Test(foreign_flows, a_router_is_heard_whichever_queue_its_complaint_comes_to)
{
    struct world *world = begin();
    struct net_info info;

    connect_to(world, 0); /* the table is the first one */
    for (unsigned worker = 0; worker < WORKERS; worker++) {
        uint16_t mtu = (uint16_t)(1300 - 100 * worker);
        world->client_port.other = &world->queues[0];
        send(world, 1200);
        turn_of_client(world);
        turn_of_worker(world, 0);
        complain(world, worker, mtu);
        for (unsigned i = 0; i < 2 * WORKERS; i++)
            turn_of_worker(world, i % WORKERS);
        net_info(world->stacks[0], world->held[0], &info);
        cr_expect_leq(info.mss, (uint32_t)mtu - 40, "%u of %u, by queue %u", info.mss, mtu, worker);
        world->client_port.other = &world->queues[0];
        run(world, ROUNDS);
        cr_assert_eq(world->echoed, 1200 * (worker + 1));
    }
    cr_expect_eq(SUM(world, icmp_too_big), WORKERS);
    end(world);
}

/* ---- segments of nothing ---- */

/* An ACK of no connection arrives at the queue of `worker`. */
static void stray(struct world *world, unsigned worker, uint16_t from)
{
    struct packet *packet = packet_alloc(&world->client_port.base);
    struct net_flow flow = {.local_port = from, .remote_port = PORT};

    net_address_parse("10.9.0.1", &flow.remote);
    net_address_parse("10.9.0.2", &flow.local);
    struct wire_segment segment = {.flow = &flow,
                                   .remote_mac = world->queues[worker].base.mac,
                                   .local_mac = world->client_port.base.mac,
                                   .vlan = WIRE_NO_VLAN,
                                   .seq = 1000,
                                   .ack = 2000,
                                   .flags = TCP_ACK};
    packet->len = (uint16_t)wire_segment_len(&segment);
    wire_write_segment(packet->data, &segment, 0, 0);
    world->client_port.other = &world->queues[worker];
    cr_assert_eq(packet_transmit(&world->client_port.base, &packet, 1), 1);
}

Test(foreign_flows, the_last_one_answers_what_nobody_has)
{
    struct world *world = begin();

    steer_table_changed(world->group);
    stray(world, 1, 40000);
    run(world, 10);
    cr_expect_eq(SUM(world, tx_resets), 1);
    cr_expect_eq(SUM(world, rx_stray), 1);
    cr_expect_eq(SUM(world, rx_elsewhere), WORKERS - 1);
    cr_expect_eq(net_counters(world->stacks[0])->tx_resets, 1, "from 1 by 2 to 0");
    end(world);
}

Test(foreign_flows, nothing_is_passed_on_while_the_table_is_the_first_one)
{
    struct world *world = begin();

    stray(world, 1, 40000);
    run(world, 10);
    cr_expect_eq(net_counters(world->stacks[1])->tx_resets, 1);
    cr_expect_eq(SUM(world, rx_elsewhere), 0);
    end(world);
}

Test(foreign_flows, a_flood_of_strays_is_not_passed_on)
{
    struct world *world = begin();

    steer_table_changed(world->group);
    for (unsigned i = 0; i < NET_BURST; i++)
        stray(world, 0, (uint16_t)(30000 + i));
    run(world, 20);
    cr_expect_eq(steer_counters(world->group, 0)->walks_limited, NET_BURST - STEER_WALKS_A_POLL);
    cr_expect_eq(SUM(world, tx_resets), STEER_WALKS_A_POLL);
    end(world);
}

Test(foreign_flows, a_wrong_hint_ends_in_a_reset)
{
    struct world *world = begin();

    connect_to(world, 0);
    move_to(world, 1);
    send(world, 100);
    run(world, ROUNDS);
    cr_assert_eq(world->echoed, 100);
    /* It ends there, and the client is not told. */
    world->queues[0].lose = 1;
    world->queues[0].sent = 0;
    net_close(world->stacks[0], world->held[0], NET_CLOSE_NOW);
    for (unsigned worker = 0; worker < WORKERS; worker++)
        turn_of_worker(world, worker);
    while (net_counters(world->stacks[0])->connections > 0) { /* its FIN is not acknowledged */
        world->now_us += 1000000;
        turn_of_worker(world, 0);
    }
    world->queues[0].lose = 0;
    send(world, 100);
    run(world, ROUNDS);
    cr_expect(world->closed);
    cr_expect_eq(world->error, ECONNRESET);
    end(world);
}

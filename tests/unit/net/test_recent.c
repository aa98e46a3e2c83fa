/* Few of many connections at work: they are met without a hash, and nobody gets another's bytes. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/net_inside.h"
#include "tests/unit/net/pair_port.h"

enum { PORT = 6379, CONNS = 400, FEW = 6, FEW_BURSTS = 64, TURN_US = 50 };

/* One connection of the client; what it says is its number, in four bytes. */
struct talk {
    struct net_conn *conn;
    uint32_t sent, heard;
    bool connected;
};

static uint64_t now_us, random_state;
static struct pair_port server_port, client_port;
static struct net *server, *client;
static struct talk talks[CONNS];

static uint64_t now(void *arg)
{
    (void)arg;
    return now_us;
}

/* Splitmix64: ports that are multiples of one number would meet in few places. */
static uint64_t number(void *arg)
{
    uint64_t mixed = random_state += UINT64_C(0x9e3779b97f4a7c15);

    (void)arg;
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

static struct net *stack(struct packet_port *port, const char *address)
{
    struct net_prefix own;
    struct net *net;

    cr_assert_eq(net_prefix_parse(address, &own), 0);
    struct net_options options = {
        .port = port, .clock_us = now, .random = number, .addresses = &own, .addresses_count = 1};
    cr_assert_eq(net_create(&net, &options), 0);
    return net;
}

static void serve(void)
{
    struct net_event event;

    net_poll(server);
    while (net_event(server, &event)) {
        size_t room;

        if (event.kind == NET_BYTES) {
            uint8_t *place = net_reserve(server, event.conn, event.len_bytes, &room);

            cr_assert_not_null(place);
            memcpy(place, event.data, event.len_bytes);
            net_commit(server, event.conn, event.len_bytes);
        } else if (event.kind == NET_END) {
            net_close(server, event.conn, NET_CLOSE_FLUSH);
        }
    }
    net_flush(server);
}

static void hear(void)
{
    struct net_event event;

    net_poll(client);
    while (net_event(client, &event)) {
        struct talk *talk = net_conn_stream(event.conn)->user;
        uint32_t which;

        if (event.kind == NET_CONNECTED)
            talk->connected = true;
        for (uint32_t at = 0; event.kind == NET_BYTES && at < event.len_bytes; at += sizeof which) {
            memcpy(&which, event.data + at, sizeof which);
            cr_assert_eq(which, (uint32_t)(talk - talks), "bytes of another connection");
            talk->heard++;
        }
        if (event.kind == NET_CLOSED)
            talk->conn = NULL;
    }
    net_flush(client);
}

static void turns(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        hear();
        serve();
        now_us += TURN_US;
    }
}

static void open_talk(unsigned which)
{
    struct net_endpoint to = {.port = PORT};

    talks[which] = (struct talk){0};
    cr_assert_eq(net_address_parse("10.9.0.1", &to.address), 0);
    cr_assert_eq(net_connect(client, &to, 0, &talks[which], &talks[which].conn), 0);
    turns(6);
    cr_assert(talks[which].connected);
}

static void say(unsigned which)
{
    size_t room;
    uint32_t what = which;
    uint8_t *place = net_reserve(client, talks[which].conn, sizeof what, &room);

    cr_assert_not_null(place);
    memcpy(place, &what, sizeof what);
    net_commit(client, talks[which].conn, sizeof what);
    talks[which].sent++;
}

static void expect_all_heard(void)
{
    turns(10);
    for (unsigned i = 0; i < CONNS; i++)
        cr_assert_eq(talks[i].heard, talks[i].sent, "connection %u", i);
}

static void few_at_work(void)
{
    for (unsigned round = 0; round < 2 * FEW_BURSTS; round++) {
        for (unsigned i = 0; i < FEW; i++)
            say(i * 61);
        turns(1);
    }
    expect_all_heard();
}

static void start(void)
{
    now_us = 1000000;
    pair_port_init(&server_port, &client_port);
    server = stack(&server_port.base, "10.9.0.1/24");
    client = stack(&client_port.base, "10.9.0.2/24");
    cr_assert_eq(net_listen(server, PORT, 0), 0);
    for (unsigned i = 0; i < CONNS; i++)
        open_talk(i);
}

static void stop(void)
{
    cr_expect_null(net_check(server));
    net_destroy(server);
    net_destroy(client);
    pair_port_drop(&server_port);
    pair_port_drop(&client_port);
    cr_expect_eq(server_port.live + client_port.live, 0);
}

TestSuite(recent, .init = start, .fini = stop);

Test(recent, few_at_work_are_noticed_and_so_are_many)
{
    few_at_work();
    cr_expect_geq(server->few_bursts, FEW_BURSTS, "%u", server->few_bursts);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < CONNS; i++)
            say((i * 61 + round) % CONNS);
        turns(20);
    }
    expect_all_heard();
    cr_expect_lt(server->few_bursts, FEW_BURSTS);
    few_at_work();
    cr_expect_geq(server->few_bursts, FEW_BURSTS, "%u", server->few_bursts);
}

/* It counts up to the end of its byte and stays there. */
Test(recent, the_count_saturates)
{
    for (unsigned i = 0; i < 4; i++) {
        few_at_work();
        cr_expect_geq(server->few_bursts, FEW_BURSTS, "%u", server->few_bursts);
    }
    cr_expect_eq(server->few_bursts, UINT8_MAX);
}

/* What is remembered as recent may have ended, and its block be another connection's. */
Test(recent, blocks_that_change_hands)
{
    few_at_work();
    for (unsigned round = 0; round < 50; round++) {
        unsigned which = round % FEW * 61;

        say(which);
        turns(2);
        net_close(client, talks[which].conn, round % 2 == 0 ? NET_CLOSE_FLUSH : NET_CLOSE_NOW);
        turns(6);
        open_talk(which);
        for (unsigned i = 0; i < FEW; i++)
            say(i * 61);
        turns(2);
    }
    expect_all_heard();
    cr_expect_eq(atomic_load(&net_counters(server)->tx_resets), 0);
}

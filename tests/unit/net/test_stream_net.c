/* The driver on one end of a pair of ports, a bare stack as its client on the other. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "config/load.h"
#include "dataplane/net/net.h"
#include "dataplane/net/stream_net.h"
#include "drivers/clock.h"
#include "drivers/listen.h"
#include "tests/unit/net/pair_port.h"

enum { PORT = 6379, ID = 7, DEADLINE_US = 10000000 };

struct world {
    struct pair_port server_port, client_port;
    struct config *config;
    struct stream *stream;
    struct net *client;
    struct net_conn *conn; /* the client's */
    bool connected, client_end, client_closed;
    int client_error;
    char got[1 << 21]; /* by the client */
    size_t got_bytes;
    struct stream_conn *accepted;
    unsigned ends, drained, closed;
    char heard[1 << 16]; /* by the server */
    size_t heard_bytes;
};

static uint64_t now(void *arg)
{
    return clock_now_us();
}

static uint64_t number(void *arg)
{
    uint64_t *state = arg;

    return *state += UINT64_C(0x9e3779b97f4a7c15);
}

static struct config *configuration(const char *text)
{
    struct config *config = config_create();
    struct load_error error;

    cr_assert_eq(load_text(config, "test", text, strlen(text), &error), 0, "%s", error.reason);
    return config;
}

static struct world *begin(const char *directives)
{
    static uint64_t state = 1;
    struct world *world = calloc(1, sizeof *world);
    char error[STREAM_ERROR_MAX] = "";
    struct net_prefix own[2];

    pair_port_init(&world->server_port, &world->client_port);
    world->config = configuration(directives);
    struct stream_options options = {.connections_max = 1000,
                                     .may_sleep = true,
                                     .port = &world->server_port.base,
                                     .config = world->config,
                                     .error = error};
    cr_assert_eq(stream_net.create(&world->stream, &options), 0, "%s", error);
    cr_assert_eq(stream_net.listen_port(world->stream, PORT, ID), 0);
    net_prefix_parse("10.9.0.2/24", &own[0]);
    net_prefix_parse("10.9.0.3/24", &own[1]);
    struct net_options client = {.port = &world->client_port.base,
                                 .clock_us = now,
                                 .random = number,
                                 .random_arg = &state,
                                 .addresses = own,
                                 .addresses_count = 2};
    cr_assert_eq(net_create(&world->client, &client), 0);
    return world;
}

static struct world *begin_usual(void)
{
    return begin("dpdk-address 10.9.0.1/24\n");
}

static void end(struct world *world)
{
    stream_net.destroy(world->stream);
    net_destroy(world->client);
    pair_port_drop(&world->server_port);
    pair_port_drop(&world->client_port);
    cr_assert_eq(world->server_port.live, 0);
    cr_assert_eq(world->client_port.live, 0);
    config_destroy(world->config);
    free(world);
}

static void serve(struct world *world, const struct stream_event *event)
{
    switch (event->kind) {
    case STREAM_ACCEPTED:
        world->accepted = event->conn;
        event->conn->user = world;
        break;
    case STREAM_BYTES:
        cr_assert_leq(world->heard_bytes + event->len_bytes, sizeof world->heard);
        memcpy(world->heard + world->heard_bytes, event->data, event->len_bytes);
        world->heard_bytes += event->len_bytes;
        break;
    case STREAM_END:
        world->ends++;
        break;
    case STREAM_DRAINED:
        world->drained++;
        break;
    case STREAM_CLOSED:
        world->closed++;
        world->accepted = NULL;
        break;
    case STREAM_HANDED:
        cr_assert_fail("nobody hands over");
    }
}

static void hear(struct world *world, const struct net_event *event)
{
    switch (event->kind) {
    case NET_CONNECTED:
        world->connected = true;
        break;
    case NET_BYTES:
        cr_assert_leq(world->got_bytes + event->len_bytes, sizeof world->got);
        memcpy(world->got + world->got_bytes, event->data, event->len_bytes);
        world->got_bytes += event->len_bytes;
        break;
    case NET_END:
        world->client_end = true;
        break;
    case NET_CLOSED:
        world->client_closed = true;
        world->client_error = event->error;
        world->conn = NULL;
        break;
    case NET_ACCEPTED:
    case NET_DRAINED:
        break;
    }
}

static void turn(struct world *world)
{
    struct stream_event events[STREAM_EVENTS_MAX];
    struct net_event event;
    int count = stream_net.poll(world->stream, events, 4, 0);

    cr_assert_geq(count, 0);
    for (int i = 0; i < count; i++)
        serve(world, &events[i]);
    stream_net.flush(world->stream);
    net_poll(world->client);
    while (net_event(world->client, &event))
        hear(world, &event);
    net_flush(world->client);
}

#define UNTIL(world, condition)                                                                    \
    do {                                                                                           \
        uint64_t began_us = clock_now_us();                                                        \
        while (!(condition)) {                                                                     \
            turn(world);                                                                           \
            cr_assert_lt(clock_now_us() - began_us, DEADLINE_US, "never: " #condition);            \
        }                                                                                          \
    } while (0)

static void call(struct world *world, uint16_t port)
{
    struct net_endpoint to = {.port = port};

    net_address_parse("10.9.0.1", &to.address);
    world->connected = world->client_closed = world->client_end = false;
    cr_assert_eq(net_connect(world->client, &to, 0, NULL, &world->conn), 0);
}

static struct world *begin_connected(void)
{
    struct world *world = begin_usual();

    call(world, PORT);
    UNTIL(world, world->connected && world->accepted != NULL);
    return world;
}

static void client_says(struct world *world, const char *text)
{
    size_t room, len = strlen(text);
    uint8_t *at = net_reserve(world->client, world->conn, len, &room);

    cr_assert_not_null(at);
    memcpy(at, text, len);
    net_commit(world->client, world->conn, len);
}

static void server_says(struct world *world, const char *text)
{
    size_t room, len = strlen(text);
    char *at = stream_net.reserve(world->stream, world->accepted, len, &room);

    cr_assert_not_null(at);
    cr_assert_geq(room, len);
    memcpy(at, text, len);
    stream_net.commit(world->stream, world->accepted, len);
}

Test(stream_net, carries_bytes_both_ways)
{
    struct world *world = begin_connected();

    cr_assert_eq(world->accepted->listener_id, ID);
    cr_assert_eq(world->accepted->fd, STREAM_FD_NONE);
    client_says(world, "PING\r\n");
    UNTIL(world, world->heard_bytes == 6);
    cr_assert_eq(memcmp(world->heard, "PING\r\n", 6), 0);
    server_says(world, "+PONG\r\n");
    UNTIL(world, world->got_bytes == 7);
    cr_assert_eq(memcmp(world->got, "+PONG\r\n", 7), 0);
    const struct stream_counters *counters = stream_net.counters(world->stream);
    cr_assert_eq(counters->accepted, 1);
    cr_assert_eq(counters->rx_bytes, 6);
    cr_assert_eq(counters->tx_bytes, 7);
    end(world);
}

/* So many flows that some meet in one place of those last found; blocks are used again. */
Test(stream_net, flows_that_meet_do_not_disturb_each_other)
{
    enum { CONNS = 200, ROUNDS = 6 };
    struct world *world = begin_usual();
    struct net_conn *conns[CONNS];

    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < CONNS; i++) {
            if (round > 0 && (i + round) % 3 != 0)
                continue;
            if (round > 0)
                net_close(world->client, conns[i], NET_CLOSE_FLUSH);
            call(world, PORT);
            conns[i] = world->conn; /* until the end of another one is told */
            UNTIL(world, world->connected);
        }
        for (unsigned i = 0; i < CONNS; i++) {
            world->conn = conns[i];
            client_says(world, "x");
        }
        UNTIL(world, world->heard_bytes == (round + 1) * CONNS);
    }
    cr_assert_eq(world->client_error, 0);
    end(world);
}

Test(stream_net, tells_addresses_of_the_stack)
{
    struct world *world = begin_connected();
    char text[STREAM_ADDRESS_TEXT_MAX];
    unsigned port;

    cr_assert_eq(stream_net.local(world->accepted, text), 0);
    cr_assert_str_eq(text, "10.9.0.1:6379");
    cr_assert_eq(stream_net.peer(world->accepted, text), 0);
    cr_assert_eq(sscanf(text, "10.9.0.2:%u", &port), 1);
    cr_assert_not(stream_net.is_loopback(world->accepted));
    end(world);
}

/* Two addresses have the ports of both. */
Test(stream_net, connects_from_the_address_that_is_asked_for)
{
    static const char *const own[] = {"10.9.0.3", "10.9.0.2"};
    static const char *const others[] = {"10.9.0.4", "fd09::2"};
    enum { LOCAL_PORT = 2000 };
    struct world *world = begin_usual();
    struct net_endpoint to = {.port = PORT};
    struct net_address from;
    struct net_conn *conn;

    net_address_parse("10.9.0.1", &to.address);
    for (unsigned i = 0; i < 2; i++) {
        char text[STREAM_ADDRESS_TEXT_MAX], wanted[STREAM_ADDRESS_TEXT_MAX];

        world->accepted = NULL;
        net_address_parse(own[i], &from);
        cr_assert_eq(net_connect_from(world->client, &from, &to, LOCAL_PORT, NULL, &conn), 0);
        UNTIL(world, world->accepted != NULL);
        cr_assert_eq(stream_net.peer(world->accepted, text), 0);
        snprintf(wanted, sizeof wanted, "%s:%d", own[i], LOCAL_PORT);
        cr_assert_str_eq(text, wanted);
        cr_assert_eq(net_connect_from(world->client, &from, &to, LOCAL_PORT, NULL, &conn),
                     -EADDRINUSE);
    }
    for (unsigned i = 0; i < 2; i++) {
        net_address_parse(others[i], &from);
        cr_assert_eq(net_connect_from(world->client, &from, &to, LOCAL_PORT, NULL, &conn),
                     -EADDRNOTAVAIL, "%s", others[i]);
    }
    end(world);
}

static void note_release(void *arg)
{
    ++*(unsigned *)arg;
}

static void send_large(struct world *world, size_t bytes)
{
    char *data = malloc(bytes);
    unsigned released = 0;

    for (size_t i = 0; i < bytes; i++)
        data[i] = (char)(i * 31 + (i >> 8));
    cr_assert_eq(stream_net.append(world->stream, world->accepted, data, bytes, note_release,
                                   &released),
                 0);
    server_says(world, "\r\n");
    stream_net.notify_drained(world->stream, world->accepted);
    UNTIL(world, world->got_bytes == bytes + 2 && world->drained == 1 && released == 1);
    cr_assert_eq(memcmp(world->got, data, bytes), 0);
    cr_assert_eq(memcmp(world->got + bytes, "\r\n", 2), 0);
    cr_assert_eq(world->accepted->pending_bytes, 0);
    free(data);
}

Test(stream_net, sends_large_values_where_they_lie)
{
    struct world *world = begin_connected();

    send_large(world, 1 << 20);
    end(world);
}

Test(stream_net, sends_large_values_over_a_lossy_wire)
{
    struct world *world = begin_connected();

    world->server_port.lose = 53;
    world->client_port.lose = 71;
    send_large(world, 1 << 19);
    end(world);
}

Test(stream_net, delivers_nothing_while_paused)
{
    struct world *world = begin_connected();

    stream_net.pause(world->stream, world->accepted);
    client_says(world, "held");
    for (unsigned i = 0; i < 1000; i++)
        turn(world);
    cr_assert_eq(world->heard_bytes, 0);
    stream_net.resume(world->stream, world->accepted);
    UNTIL(world, world->heard_bytes == 4);
    end(world);
}

Test(stream_net, output_flows_after_the_peers_end)
{
    struct world *world = begin_connected();

    client_says(world, "QUIT");
    net_shutdown(world->client, world->conn);
    UNTIL(world, world->ends == 1);
    cr_assert_eq(world->heard_bytes, 4);
    server_says(world, "+OK\r\n");
    stream_net.close(world->stream, world->accepted, STREAM_CLOSE_FLUSH);
    UNTIL(world, world->client_closed && world->closed == 1);
    cr_assert_eq(world->got_bytes, 5);
    cr_assert_eq(world->client_error, 0);
    end(world);
}

Test(stream_net, a_close_without_output_is_no_reset)
{
    struct world *world = begin_connected();

    stream_net.close(world->stream, world->accepted, STREAM_CLOSE_NOW);
    UNTIL(world, world->client_end);
    net_close(world->client, world->conn, NET_CLOSE_FLUSH);
    UNTIL(world, world->client_closed && world->closed == 1);
    cr_assert_eq(world->client_error, 0);
    end(world);
}

Test(stream_net, a_listener_is_replaced_on_its_own_port)
{
    struct world *world = begin_usual();

    cr_assert_eq(stream_net.listen_port(world->stream, PORT, ID + 1), 0);
    cr_assert_eq(stream_net.unlisten(world->stream, ID), 0);
    call(world, PORT);
    UNTIL(world, world->accepted != NULL);
    cr_assert_eq(world->accepted->listener_id, ID + 1);
    cr_assert_eq(stream_net.unlisten(world->stream, ID + 1), 0);
    cr_assert_lt(stream_net.unlisten(world->stream, ID + 1), 0);
    call(world, PORT);
    UNTIL(world, world->client_closed);
    cr_assert_eq(world->client_error, ECONNREFUSED);
    end(world);
}

Test(stream_net, tells_its_neighbours_who_it_is)
{
    struct world *world = begin_usual();
    struct packet *packet;
    struct stream_event events[4];

    cr_assert_eq(stream_net.poll(world->stream, events, 4, 0), 0);
    cr_assert_eq(packet_receive(&world->client_port.base, &packet, 1), 1);
    cr_assert_eq(packet->data[12] << 8 | packet->data[13], 0x0806);
    packet_release(&world->client_port.base, packet);
    end(world);
}

Test(stream_net, keepalive_begins_when_it_is_set)
{
    struct world *world = begin_usual();

    stream_net.set_keepalive(world->stream, 1);
    call(world, PORT);
    UNTIL(world, world->connected && world->accepted != NULL);
    UNTIL(world, atomic_load(&stream_net_counters(world->stream)->tx_probes) > 0);
    cr_assert_not(world->client_closed);
    end(world);
}

/* ---- waiting ---- */

static void *wake_soon(void *arg)
{
    struct world *world = arg;

    usleep(20000); /* so that the poll is most likely under way: either order must work */
    stream_net.wake(NULL, world->stream);
    return NULL;
}

static void woken(const char *directives)
{
    struct world *world = begin(directives);
    struct stream_event events[4];
    pthread_t thread;
    uint64_t began_us = clock_now_us();

    pthread_create(&thread, NULL, wake_soon, world);
    cr_assert_eq(stream_net.poll(world->stream, events, 4, DEADLINE_US), 0);
    pthread_join(thread, NULL);
    cr_assert_lt(clock_now_us() - began_us, DEADLINE_US / 2);
    end(world);
}

Test(stream_net, mail_ends_a_poll_that_never_sleeps)
{
    woken("dpdk-address 10.9.0.1/24\n");
}

Test(stream_net, mail_ends_a_poll_that_sleeps)
{
    woken("dpdk-address 10.9.0.1/24\ndpdk-idle 100\n");
}

Test(stream_net, a_sleeping_poll_still_sees_frames)
{
    struct world *world = begin("dpdk-address 10.9.0.1/24\ndpdk-idle 10\n");
    struct stream_event events[4];

    call(world, PORT);
    uint64_t began_us = clock_now_us();
    while (world->accepted == NULL) {
        net_poll(world->client);
        int count = stream_net.poll(world->stream, events, 4, 1000);
        for (int i = 0; i < count; i++)
            serve(world, &events[i]);
        cr_assert_lt(clock_now_us() - began_us, DEADLINE_US);
    }
    end(world);
}

Test(stream_net, it_rests_although_the_port_takes_nothing)
{
    struct world *world = begin("dpdk-address 10.9.0.1/24\ndpdk-idle 10\n");
    struct stream_event events[4];

    world->server_port.stuck = true; /* what it has to say at the start stays with it */
    uint64_t cpu_ns = clock_thread_cpu_ns();
    cr_assert_eq(stream_net.poll(world->stream, events, 4, 200000), 0);
    cr_assert_lt(clock_thread_cpu_ns() - cpu_ns, 100000000);
    end(world);
}

/* ---- a port that wakes ---- */

static struct {
    int fd;
    unsigned looks, armed, disarmed;
    const struct packet_port_ops *ops;
} waker;

static unsigned count_look(struct packet_port *port, struct packet **packets, unsigned max)
{
    waker.looks++;
    return waker.ops->receive(port, packets, max);
}

static int waker_fd(const struct packet_port *port)
{
    return waker.fd;
}

static bool waker_arm(struct packet_port *port, bool on)
{
    waker.armed += on;
    waker.disarmed += !on;
    return true;
}

Test(stream_net, a_port_that_wakes_is_looked_at_seldom)
{
    struct pair_port outside, port;
    struct packet_port_ops ops;
    struct stream_event events[4];
    struct stream *stream;
    uint64_t one = 1;

    pair_port_init(&outside, &port);
    waker.ops = port.base.ops;
    ops = *waker.ops;
    ops.receive = count_look;
    ops.wake_fd = waker_fd;
    ops.arm = waker_arm;
    port.base.ops = &ops;
    waker.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct stream_options options = {.connections_max = 10,
                                     .may_sleep = true,
                                     .port = &port.base,
                                     .config =
                                         configuration("dpdk-address 10.9.0.1/24\ndpdk-idle 10\n")};
    cr_assert_eq(stream_net.create(&stream, &options), 0);
    cr_assert_eq(stream_net.poll(stream, events, 4, 1000), 0); /* says who it is */
    waker.looks = 0;
    cr_assert_eq(stream_net.poll(stream, events, 4, 1000000), 0);
    cr_expect_lt(waker.looks, 500u, "2000 without it: %u", waker.looks);
    cr_assert_eq(waker.armed, 1);
    cr_assert_eq(waker.disarmed, 0);
    /* A frame: it is looked for at once and for a while, and the port not armed meanwhile. */
    cr_assert_eq(write(waker.fd, &one, sizeof one), (ssize_t)sizeof one);
    cr_assert_eq(stream_net.poll(stream, events, 4, 100000), 0);
    cr_expect_eq(waker.disarmed, 1);
    cr_expect_eq(waker.armed, 2);
    stream_net.destroy(stream);
    pair_port_drop(&outside);
    pair_port_drop(&port);
    config_destroy((struct config *)(uintptr_t)options.config);
    close(waker.fd);
}

Test(stream_net, without_a_port_it_waits_for_mail)
{
    struct stream_options options = {.connections_max = 10, .may_sleep = true};
    struct stream *stream;
    struct stream_event events[4];

    cr_assert_eq(stream_net.create(&stream, &options), 0);
    cr_assert_eq(stream_net.listen_port(stream, PORT, ID), 0);
    stream_net.wake(NULL, stream);
    cr_assert_eq(stream_net.poll(stream, events, 4, DEADLINE_US), 0);
    cr_assert_eq(stream_net.poll(stream, events, 4, 1000), 0);
    cr_assert_eq(stream_net.unlisten(stream, ID), 0);
    stream_net.destroy(stream);
}

/* ---- unix sockets beside the port ---- */

Test(stream_net, serves_unix_sockets_as_well)
{
    struct world *world = begin_usual();
    struct stream_event events[4];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char error[LISTEN_ERROR_MAX], text[STREAM_ADDRESS_TEXT_MAX];
    struct stream_conn *conn = NULL;
    uint64_t began_us = clock_now_us();
    int client = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/pollux-stream-net-%d.sock",
             (int)getpid());
    int fd = listen_unix(address.sun_path, 0600, 5, error);
    cr_assert_geq(fd, 0, "%s", error);
    cr_assert_eq(stream_net.listen(world->stream, fd, 1, true), 0);
    cr_assert_eq(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(write(client, "hello", 5), 5);
    bool heard = false;
    while (!heard) {
        cr_assert_lt(clock_now_us() - began_us, DEADLINE_US);
        int count = stream_net.poll(world->stream, events, 4, 1000);
        for (int i = 0; i < count; i++) {
            if (events[i].kind == STREAM_HANDED)
                cr_assert_eq(stream_net.adopt(world->stream, events[i].fd, 1), 0);
            if (events[i].kind == STREAM_ACCEPTED)
                conn = events[i].conn;
            heard = heard || (events[i].kind == STREAM_BYTES && events[i].len_bytes == 5);
        }
    }
    cr_assert(stream_net.is_loopback(conn));
    cr_assert_eq(stream_net.local(conn, text), 0);
    stream_net.close(world->stream, conn, STREAM_CLOSE_NOW);
    cr_assert_null(stream_net.reserve(world->stream, conn, 1, &(size_t){0}));
    close(client);
    unlink(address.sun_path);
    end(world);
}

/* ---- directives ---- */

/* RFC 9293 section 3.9.2.3, MUST-46. */
Test(stream_net, no_connection_is_opened_to_many_or_nobody)
{
    static const char *const nobodies[] = {"255.255.255.255", "224.0.0.1", "0.0.0.0",
                                           "10.9.0.255",      "ff02::1",   "::"};
    struct world *world = begin_usual();

    for (unsigned i = 0; i < sizeof nobodies / sizeof *nobodies; i++) {
        struct net_endpoint to = {.port = PORT};

        cr_assert_eq(net_address_parse(nobodies[i], &to.address), 0, "%s", nobodies[i]);
        cr_assert_lt(net_connect(world->client, &to, 0, NULL, &world->conn), 0, "%s", nobodies[i]);
    }
    cr_assert_eq(atomic_load(&net_counters(world->client)->tx_frames), 0);
    end(world);
}

Test(stream_net, refuses_what_cannot_be_an_address)
{
    static const struct {
        const char *directives, *names;
    } rows[] = {{"", "dpdk-address"},
                {"dpdk-address 10.9.0.300/24\n", "10.9.0.300/24"},
                {"dpdk-address 10.9.0.1/33\n", "10.9.0.1/33"},
                {"dpdk-address 10.9.0.255/24\n", "10.9.0.255/24"},
                {"dpdk-address ff02::1/64\n", "ff02::1/64"},
                {"dpdk-address 10.9.0.1/24\ndpdk-gateway nowhere\n", "nowhere"},
                {"dpdk-address 10.9.0.1/24\ndpdk-gateway 10.9.0.2 10.9.0.3\n", "10.9.0.3"}};

    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        char error[STREAM_ERROR_MAX] = "";
        struct config *config = configuration(rows[i].directives);
        cr_assert_eq(stream_net_check(config, error), -EINVAL, "%s", rows[i].directives);
        cr_assert_not_null(strstr(error, rows[i].names), "%s", error);
        config_destroy(config);
    }
    struct config *config = configuration(
        "dpdk-address 10.9.0.1/24 fd00:9::1/64\ndpdk-gateway 10.9.0.254 fd00:9::ff\n");
    char error[STREAM_ERROR_MAX] = "";
    cr_assert_eq(stream_net_check(config, error), 0, "%s", error);
    config_destroy(config);
}

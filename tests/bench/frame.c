/* The way of a request through a worker, from received frame to sent frame, for instruction counts.
 * Usage: bench_frame [--set] [--offload] [--requests N] [--keys N] [--clients N] [--pipeline N]
 * A worker runs on its own thread with its own stack (loop, TCP, RESP, commands, store). Its port is
 * memory, and behind that a second stack plays the clients: 50 connections, one request each under
 * way. The clients run inside the worker's call of frames_received, so that callgrind can leave
 * them out; frames_begin and frames_end mark the measured part:
 *
 *   valgrind --tool=callgrind --toggle-collect=frames_received --toggle-collect=frames_sent
 *       --collect-atstart=yes --zero-before=frames_begin --dump-before=frames_end bench_frame
 *
 * Checksums are computed unless --offload. Prints how many requests the measured part had; exit
 * status 1 if a reply was not the right one. */
#include <errno.h>
#include <getopt.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/load.h"
#include "dataplane/net/net.h"
#include "dataplane/net/stream_net.h"
#include "drivers/clock.h"
#include "drivers/dpdk/dpdk.h"
#include "tests/bench/frame_port.h"
#include "tests/stress/harness.h"

enum {
    SERVER_PORT = 6379,
    CLIENTS_MAX = 10000,
    PIPELINE_MAX = 64,
    VALUE_BYTES = 64,
    REQUEST_BYTES = 160,
    PRELOAD_PIPELINE = 16,
    WARMUP = 2000, /* requests before the measured part */
};

enum phase { PRELOAD, WARM, MEASURE, OVER };

struct client {
    struct net_conn *conn;
    size_t owed_bytes; /* of replies */
};

struct bench {
    struct frame_port server, clients_port; /* server: first, as the worker's port */
    struct packet_port_ops ops;
    struct net *net;
    struct client *clients;
    unsigned clients_count, pipeline, connected;
    bool set;
    uint64_t keys, requests, random;
    enum phase phase;
    uint64_t sent, answered; /* in this phase */
    bool failed;
    sem_t over, end;
};

/* Without EAL nobody registers; meson.build has the linker call these instead, which link-time
 * optimisation does not see. */
int __wrap_dpdk_thread_register(void);
void __wrap_dpdk_thread_unregister(void);
__attribute__((used)) int __wrap_dpdk_thread_register(void)
{
    return 0;
}
__attribute__((used)) void __wrap_dpdk_thread_unregister(void)
{
}

/* Their bodies differ, or the compiler makes them one. */
__attribute__((noinline)) static void frames_begin(void)
{
    __asm__ volatile("# begin" ::: "memory");
}

__attribute__((noinline)) static void frames_end(void)
{
    __asm__ volatile("nop" ::: "memory");
}

static uint64_t now_us(void *arg)
{
    (void)arg;
    return clock_now_us();
}

static uint64_t random_number(void *arg)
{
    uint64_t *state = arg;

    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- the clients ---- */

static uint64_t phase_requests(const struct bench *bench)
{
    return bench->phase == PRELOAD ? bench->keys : bench->phase == WARM ? WARMUP : bench->requests;
}

static size_t put_request(struct bench *bench, char *out, size_t *owed)
{
    static const char value[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    bool set = bench->phase == PRELOAD || bench->set;
    uint64_t key =
        bench->phase == PRELOAD ? bench->sent : random_number(&bench->random) % bench->keys;

    bench->sent++;
    *owed += set ? strlen("+OK\r\n") : strlen("$64\r\n") + VALUE_BYTES + 2;
    return (size_t)(set ? snprintf(out, REQUEST_BYTES,
                                   "*3\r\n$3\r\nSET\r\n$16\r\nk:%014llu\r\n$64\r\n%s\r\n",
                                   (unsigned long long)key, value)
                        : snprintf(out, REQUEST_BYTES, "*2\r\n$3\r\nGET\r\n$16\r\nk:%014llu\r\n",
                                   (unsigned long long)key));
}

static void send_burst(struct bench *bench, struct client *client)
{
    unsigned count = bench->phase == PRELOAD ? PRELOAD_PIPELINE : bench->pipeline;
    char text[PIPELINE_MAX * REQUEST_BYTES];
    size_t len = 0, room;

    for (unsigned i = 0; i < count && bench->sent < phase_requests(bench); i++)
        len += put_request(bench, text + len, &client->owed_bytes);
    if (len == 0)
        return;
    uint8_t *out = net_reserve(bench->net, client->conn, len, &room);
    if (out == NULL) {
        bench->failed = true;
        return;
    }
    memcpy(out, text, len);
    net_commit(bench->net, client->conn, len);
}

static bool is_right(const struct bench *bench, const struct net_event *event)
{
    const char *begin = bench->phase == PRELOAD || bench->set ? "+OK\r\n" : "$64\r\n0123";

    /* With pipelines a packet may begin within a reply. */
    return bench->pipeline > 1 || bench->phase == PRELOAD ||
           (event->len_bytes >= strlen(begin) && memcmp(event->data, begin, strlen(begin)) == 0);
}

static void take_bytes(struct bench *bench, struct client *client, const struct net_event *event)
{
    size_t reply_bytes = bench->phase == PRELOAD || bench->set ? 5 : 7 + VALUE_BYTES;

    if (event->len_bytes > client->owed_bytes || !is_right(bench, event)) {
        bench->failed = true;
        return;
    }
    bench->answered += (client->owed_bytes + reply_bytes - 1) / reply_bytes;
    client->owed_bytes -= event->len_bytes;
    bench->answered -= (client->owed_bytes + reply_bytes - 1) / reply_bytes;
    if (client->owed_bytes == 0)
        send_burst(bench, client);
}

/* All replies of a phase are there: the next one begins. */
static void next_phase(struct bench *bench)
{
    if (bench->phase == MEASURE)
        frames_end();
    bench->phase++;
    bench->sent = bench->answered = 0;
    if (bench->phase == OVER)
        return;
    if (bench->phase == MEASURE)
        frames_begin();
    for (unsigned i = 0; i < bench->clients_count; i++)
        send_burst(bench, &bench->clients[i]);
}

static void clients_turn(struct bench *bench)
{
    struct net_event event;

    net_poll(bench->net);
    while (net_event(bench->net, &event)) {
        struct client *client = net_conn_stream(event.conn)->user;
        if (event.kind == NET_CONNECTED) {
            bench->connected++;
            send_burst(bench, client);
        } else if (event.kind == NET_BYTES) {
            take_bytes(bench, client, &event);
        } else {
            bench->failed = true;
        }
    }
    if (bench->answered == phase_requests(bench) && bench->connected == bench->clients_count)
        next_phase(bench);
    net_flush(bench->net);
}

/* What the worker's stack calls for frames; whatever the clients do happens in here. */
__attribute__((noinline)) static unsigned frames_received(struct packet_port *base,
                                                          struct packet **packets, unsigned max)
{
    struct bench *bench = (struct bench *)base;
    unsigned count = frame_receive(base, packets, max);

    while (count == 0 && bench->phase != OVER && !bench->failed) {
        clients_turn(bench);
        count = frame_receive(base, packets, max);
        if (count == 0 && bench->clients_port.queue_count == 0)
            return 0; /* it is the worker's turn, or a timer's */
    }
    if (count == 0 && (bench->phase == OVER || bench->failed) && bench->requests != 0) {
        bench->requests = 0;
        sem_post(&bench->over);
        sem_wait(&bench->end);
    }
    return count;
}

/* The same for what it sends. */
__attribute__((noinline)) static unsigned frames_sent(struct packet_port *base,
                                                      struct packet *const *packets, unsigned count)
{
    return frame_transmit(base, packets, count);
}

static void connect_clients(struct bench *bench)
{
    static uint64_t state = 88172645463325252u;
    struct net_prefix own;
    struct net_endpoint to = {.port = SERVER_PORT};

    net_prefix_parse("10.9.0.2/24", &own);
    net_address_parse("10.9.0.1", &to.address);
    struct net_options options = {.port = &bench->clients_port.base,
                                  .clock_us = now_us,
                                  .random = random_number,
                                  .random_arg = &state,
                                  .addresses = &own,
                                  .addresses_count = 1};
    bench->clients = calloc(bench->clients_count, sizeof *bench->clients);
    if (bench->clients == NULL || net_create(&bench->net, &options) < 0)
        abort();
    for (unsigned i = 0; i < bench->clients_count; i++)
        if (net_connect(bench->net, &to, 0, &bench->clients[i], &bench->clients[i].conn) < 0)
            abort();
}

/* ---- the worker ---- */

static void give_port(struct node *node, void *arg)
{
    static const char text[] = "dpdk-address 10.9.0.1/24\nprotected-mode no\n";
    struct bench *bench = arg;
    struct load_error error;

    if (load_text(node->config, "bench_frame", text, strlen(text), &error) < 0 ||
        worker_give_listener(node->workers[0], -1, SERVER_PORT, LISTENER_COMMON, false) < 0)
        abort();
    node->driver = &stream_net;
    node->workers[0]->driver = &stream_net;
    node->workers[0]->port = &bench->server.base;
    node->workers[0]->alone_on_cpu = true;
}

static bool run(struct bench *bench)
{
    struct harness *harness = harness_create(
        &(struct harness_options){.threads = true, .prepare = give_port, .arg = bench});
    struct worker *worker = harness->node->workers[0];

    while (sem_wait(&bench->over) < 0 && errno == EINTR)
        continue;
    worker_stop(worker);
    sem_post(&bench->end);
    worker_join(worker);
    bool right = bench->phase == OVER && !bench->failed;
    harness_destroy(harness);
    return right;
}

static int usage(void)
{
    fputs("usage: bench_frame [--set] [--offload] [--requests N] [--keys N] [--clients N] "
          "[--pipeline N]\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    static struct bench bench = {
        .clients_count = 50, .pipeline = 1, .keys = 100000, .requests = 100000, .random = 1};
    static const struct option longs[] = {{"set", no_argument, NULL, 's'},
                                          {"offload", no_argument, NULL, 'o'},
                                          {"requests", required_argument, NULL, 'r'},
                                          {"keys", required_argument, NULL, 'k'},
                                          {"clients", required_argument, NULL, 'c'},
                                          {"pipeline", required_argument, NULL, 'p'},
                                          {NULL, 0, NULL, 0}};
    bool offload = false;
    int option;

    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        uint64_t number = optarg != NULL ? strtoull(optarg, NULL, 10) : 0;
        if (option == 's')
            bench.set = true;
        else if (option == 'o')
            offload = true;
        else if (option == 'r')
            bench.requests = number;
        else if (option == 'k')
            bench.keys = number;
        else if (option == 'c')
            bench.clients_count = (unsigned)number;
        else if (option == 'p')
            bench.pipeline = (unsigned)number;
        else
            return usage();
    }
    if (bench.requests == 0 || bench.keys == 0 || bench.clients_count == 0 || bench.pipeline == 0 ||
        bench.clients_count > CLIENTS_MAX || bench.pipeline > PIPELINE_MAX)
        return usage();
    if (frame_ports_init(&bench.server, &bench.clients_port, offload) < 0) {
        fputs("bench_frame: no memory\n", stderr);
        return 1;
    }
    uint64_t requests = bench.requests;
    bench.ops = *bench.server.base.ops;
    bench.ops.receive = frames_received;
    bench.ops.transmit = frames_sent;
    bench.server.base.ops = &bench.ops;
    sem_init(&bench.over, 0, 0);
    sem_init(&bench.end, 0, 0);
    connect_clients(&bench);
    bool right = run(&bench);
    net_destroy(bench.net);
    free(bench.clients);
    frame_ports_fini(&bench.server, &bench.clients_port);
    if (!right) {
        fputs("bench_frame: a reply was wrong, or a connection ended\n", stderr);
        return 1;
    }
    printf("%llu requests\n", (unsigned long long)requests);
    return 0;
}

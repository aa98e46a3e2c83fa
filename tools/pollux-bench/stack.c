/* Our own stack as a transport: the client side of dataplane/net over one packet port, polled. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "dataplane/net/net.h"
#include "drivers/clock.h"
#include "tools/pollux-bench/device.h"
#include "tools/pollux-bench/flood.h"
#include "tools/pollux-bench/transport.h"

enum {
    STACK_UNSENT_MAX = 64 << 10, /* bytes of a connection that wait before it counts as full */
    STACK_PORT_FIRST = 1024,     /* local ports: all but the reserved ones */
    STACK_PORTS = 65536 - STACK_PORT_FIRST,
    STACK_TICK_US = 1000000,
    STACK_IDLE_POLLS = 1024,        /* after so many the clock is looked at */
    STACK_END_US = 300000,          /* for the last FINs, when the transport is destroyed */
    STACK_SPARE_CONNECTIONS = 1024, /* besides the clients': churned ones that are still closing */
};

/* A link is a connection of the stack; its `user` is the link's, NULL once that is closed. */
struct stack {
    struct transport transport;
    struct device *device;
    const struct clock_tsc *clock;
    struct net *net;
    struct net_prefix addresses[OPTIONS_ADDRESSES_MAX];
    uint32_t addresses_count;
    uint32_t next_port; /* of those of all addresses, one address after the other */
    uint64_t tick_us;
    uint32_t idle_polls;
    bool floods;
    struct flood flood;
    uint64_t random_left; /* words of `random_pool` */
    uint64_t random_pool[32];
};

static struct stack *stack_of(struct transport *transport)
{
    return (struct stack *)transport;
}

static struct net_conn *conn_of(struct transport_link *link)
{
    return (struct net_conn *)link;
}

static uint64_t stack_clock_us(void *arg)
{
    const struct stack *stack = arg;

    return clock_stamp_ns(stack->clock) / 1000;
}

static uint64_t stack_random(void *arg)
{
    struct stack *stack = arg;

    if (stack->random_left == 0) {
        /* 256 bytes come whole and uninterrupted (getrandom(2)), once the kernel has been seeded. */
        ssize_t got = getrandom(stack->random_pool, sizeof(stack->random_pool), 0);
        stack->random_left = got > 0 ? (uint64_t)got / sizeof(uint64_t) : 0;
        assert(stack->random_left > 0);
    }
    return stack->random_pool[--stack->random_left];
}

static int stack_endpoint(const struct transport_address *from, struct net_endpoint *to)
{
    if (from->storage.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&from->storage;
        to->address = net_address_v4(&v4->sin_addr);
        to->port = ntohs(v4->sin_port);
        return 0;
    }
    if (from->storage.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&from->storage;
        to->address = net_address_v6(&v6->sin6_addr);
        to->port = ntohs(v6->sin6_port);
        return 0;
    }
    return -EAFNOSUPPORT;
}

/* The stack's own choice of ports is the range for clients among strangers; here nearly all 65,536
 * are ours, and in turn, so that one in TIME_WAIT rests longest. */
static int stack_connect(struct transport *transport, const struct transport_address *address,
                         void *user, struct transport_link **link)
{
    struct stack *stack = stack_of(transport);
    struct net_conn *conn = NULL;
    struct net_endpoint to;
    int status = stack_endpoint(address, &to);

    if (status < 0)
        return status;
    status = -EADDRINUSE;
    uint32_t ports = stack->addresses_count * STACK_PORTS;
    for (uint32_t tried = 0; status == -EADDRINUSE && tried < ports; tried++) {
        const struct net_prefix *from = &stack->addresses[stack->next_port / STACK_PORTS];
        uint16_t port = (uint16_t)(STACK_PORT_FIRST + stack->next_port % STACK_PORTS);
        stack->next_port = (stack->next_port + 1) % ports;
        status = net_connect_from(stack->net, &from->address, &to, port, user, &conn);
    }
    *link = (struct transport_link *)conn;
    return status == -EADDRINUSE ? -EADDRNOTAVAIL : status;
}

static int stack_write(struct transport *transport, struct transport_link *link, const char *data,
                       size_t len)
{
    struct stack *stack = stack_of(transport);

    while (len > 0) {
        size_t room = 0, step = len < NET_RESERVE_MAX ? len : (size_t)NET_RESERVE_MAX;
        uint8_t *out = net_reserve(stack->net, conn_of(link), step, &room);
        if (out == NULL) {
            /* It ended already, or memory did; either way its NET_CLOSED tells the caller. */
            net_close(stack->net, conn_of(link), NET_CLOSE_NOW);
            return 0;
        }
        memcpy(out, data, step);
        net_commit(stack->net, conn_of(link), step);
        data += step;
        len -= step;
    }
    return 0;
}

static bool stack_has_unsent(const struct transport *transport, const struct transport_link *link)
{
    (void)transport;
    return ((const struct stream_conn *)link)->pending_bytes > STACK_UNSENT_MAX;
}

static void stack_close(struct transport *transport, struct transport_link *link, bool reset)
{
    net_conn_stream(conn_of(link))->user = NULL;
    net_close(stack_of(transport)->net, conn_of(link), reset ? NET_CLOSE_NOW : NET_CLOSE_FLUSH);
}

static int stack_poll(struct transport *transport, uint64_t sleep_ns)
{
    struct stack *stack = stack_of(transport);
    unsigned worked = net_poll(stack->net);

    (void)sleep_ns;
    if (stack->floods)
        flood_turn(&stack->flood, clock_stamp_ns(stack->clock));
    if (worked == 0 && ++stack->idle_polls % STACK_IDLE_POLLS == 0) {
        uint64_t now_us = stack_clock_us(stack);
        if (now_us >= stack->tick_us) {
            stack->tick_us = now_us + STACK_TICK_US;
            device_tick(stack->device);
        }
    }
    return (int)worked;
}

/* What the caller is to know of an event; false: nothing. */
static bool stack_translate(struct stack *stack, const struct net_event *from,
                            struct transport_event *event)
{
    void *user = net_conn_stream(from->conn)->user;

    if (user == NULL)
        return false;
    *event = (struct transport_event){.user = user};
    switch (from->kind) {
    case NET_CONNECTED:
        event->kind = TRANSPORT_CONNECTED;
        return true;
    case NET_BYTES:
        event->kind = TRANSPORT_BYTES;
        event->data = (const char *)from->data;
        event->len_bytes = from->len_bytes;
        return true;
    case NET_END:
        stack_close(&stack->transport, (struct transport_link *)from->conn, false);
        event->kind = TRANSPORT_CLOSED;
        return true;
    case NET_CLOSED:
        event->kind = TRANSPORT_CLOSED;
        event->error = from->error;
        return true;
    default:
        return false;
    }
}

static bool stack_event(struct transport *transport, struct transport_event *event)
{
    struct stack *stack = stack_of(transport);
    struct net_event next;

    while (net_event(stack->net, &next)) {
        if (stack_translate(stack, &next, event))
            return true;
    }
    return false;
}

static void stack_counters(struct transport *transport, struct transport_counters *counters)
{
    const struct stack *stack = stack_of(transport);
    const struct net_counters *net = net_counters(stack->net);

    counters->packets_sent = atomic_load_explicit(&net->tx_frames, memory_order_relaxed);
    counters->packets_received = atomic_load_explicit(&net->rx_frames, memory_order_relaxed);
    counters->retransmits = atomic_load_explicit(&net->tx_retransmits, memory_order_relaxed);
    counters->flood_per_s = stack->floods ? flood_rate(&stack->flood) : 0;
}

static void stack_destroy(struct transport *transport)
{
    struct stack *stack = stack_of(transport);

    if (stack->net != NULL) {
        uint64_t until_us = stack_clock_us(stack) + STACK_END_US;
        const struct net_counters *counters = net_counters(stack->net);
        struct net_event event;
        do {
            net_poll(stack->net);
            while (net_event(stack->net, &event))
                continue;
        } while (atomic_load_explicit(&counters->connections, memory_order_relaxed) > 0 &&
                 stack_clock_us(stack) < until_us);
        net_destroy(stack->net);
    }
    free(stack);
}

static const struct transport_ops stack_ops = {
    .connect = stack_connect,
    .write = stack_write,
    .has_unsent = stack_has_unsent,
    .close = stack_close,
    .poll = stack_poll,
    .event = stack_event,
    .counters = stack_counters,
    .destroy = stack_destroy,
};

/* Puts the flood between the stack and the device. */
static int stack_flood(struct stack *stack, const struct options *options)
{
    struct in_addr to;

    if (inet_pton(AF_INET, options->host, &to) != 1) {
        fprintf(stderr, "pollux-bench: --syn-flood wants an IPv4 address as --host\n");
        return -EINVAL;
    }
    flood_init(&stack->flood, device_queue(stack->device), options->syn_flood, to.s_addr,
               (uint16_t)atoi(options->port), stack_random(stack));
    stack->floods = true;
    return 0;
}

/* They differ in the last byte alone. */
static int stack_addresses(struct stack *stack, const struct options *options)
{
    struct net_prefix first;

    if (net_prefix_parse(options->address, &first) < 0) {
        fprintf(stderr, "pollux-bench: --address wants an address like 10.9.0.2/24\n");
        return -EINVAL;
    }
    uint8_t *last = &first.address.bytes[sizeof(first.address.bytes) - 1];
    if (*last + options->addresses > UINT8_MAX) {
        fprintf(stderr, "pollux-bench: no %u --addresses between --address and the last byte 254\n",
                options->addresses);
        return -EINVAL;
    }
    for (; stack->addresses_count < options->addresses; ++*last)
        stack->addresses[stack->addresses_count++] = first;
    return 0;
}

static int stack_net(struct stack *stack, const struct options *options)
{
    struct net_options net = {
        .port = device_queue(stack->device),
        .clock_us = stack_clock_us,
        .clock_arg = stack,
        .random = stack_random,
        .random_arg = stack,
        .addresses = stack->addresses,
        .addresses_count = options->addresses,
        .connections_max = options->clients + options->idle + STACK_SPARE_CONNECTIONS,
    };

    if (stack_addresses(stack, options) < 0)
        return -EINVAL;
    if (options->gateway != NULL) {
        struct net_address gateway;
        if (net_address_parse(options->gateway, &gateway) < 0) {
            fprintf(stderr, "pollux-bench: --gateway wants an address\n");
            return -EINVAL;
        }
        if (net_address_is_v4(&gateway))
            net.gateway4 = gateway;
        else
            net.gateway6 = gateway;
    }
    if (options->syn_flood > 0) {
        if (stack_flood(stack, options) < 0)
            return -EINVAL;
        net.port = &stack->flood.port;
    }
    int status = net_create(&stack->net, &net);
    if (status < 0)
        fprintf(stderr, "pollux-bench: stack: %s\n", strerror(-status));
    return status;
}

int transport_stack(struct transport **transport, struct device *device,
                    const struct clock_tsc *clock, const struct options *options)
{
    struct stack *stack = calloc(1, sizeof(*stack));

    if (stack == NULL)
        return -ENOMEM;
    stack->transport = (struct transport){.ops = &stack_ops, .polls = true};
    stack->device = device;
    stack->clock = clock;
    stack->next_port = (uint32_t)(stack_random(stack) % STACK_PORTS);
    stack->tick_us = stack_clock_us(stack) + STACK_TICK_US;
    int status = stack_net(stack, options);
    if (status < 0) {
        free(stack);
        return status;
    }
    *transport = &stack->transport;
    return 0;
}

#include "tests/net/host.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/net/chance.h"

enum {
    POLLS_MAX = 300,        /* polls at one time: more means that the stack never comes to rest */
    DEADLINES_MAX = 400000, /* deadlines within one host_advance() */
};

void host_blame(struct host *host, const char *format, ...)
{
    va_list arguments;

    if (host->fault[0] != '\0')
        return;
    va_start(arguments, format);
    vsnprintf(host->fault, sizeof host->fault, format, arguments);
    va_end(arguments);
}

uint8_t host_pattern(uint32_t key, uint64_t position)
{
    uint32_t mixed = ((uint32_t)position + key * 0x9e3779b9u) * 0x85ebca6bu;

    return (uint8_t)(mixed >> 24 ^ mixed >> 13);
}

void host_fill(uint8_t *bytes, size_t len, uint32_t key, uint64_t position)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = host_pattern(key, position + i);
}

static uint64_t clock_us(void *arg)
{
    return ((struct host *)arg)->now_us;
}

static uint64_t next_random(void *arg)
{
    struct host *host = arg;

    return chance_next(&host->random_state);
}

void host_side(unsigned number, bool v6, uint16_t port, struct frame_side *side)
{
    memset(side, 0, sizeof *side);
    side->mac[0] = 2;
    side->mac[5] = (uint8_t)number;
    if (v6) {
        side->address[0] = 0xfd;
        side->address[15] = (uint8_t)number;
    } else {
        side->address[0] = 10;
        side->address[3] = (uint8_t)number;
    }
    side->port = port;
}

struct net_address host_address(unsigned number, bool v6)
{
    struct frame_side side;

    host_side(number, v6, 0, &side);
    return v6 ? net_address_v6(side.address) : net_address_v4(side.address);
}

void host_prepare(struct host *host, struct port *port, unsigned number, unsigned packets,
                  uint64_t start_us, uint64_t seed, struct net_options *options)
{
    memset(host, 0, sizeof *host);
    host->port = port;
    host->now_us = start_us;
    host->random_state = seed;
    port_reset(port, packets, &host->now_us);
    port->base.mac[0] = 2;
    port->base.mac[5] = (uint8_t)number;
    *options = (struct net_options){
        .port = &port->base,
        .clock_us = clock_us,
        .clock_arg = host,
        .random = next_random,
        .random_arg = host,
        .connections_max = 64,
        .half_open_max = 32,
        .time_wait_max = 64,
        .boot_seed = {seed + 1, 2, 3, 4},
    };
}

int host_start(struct host *host, const struct net_options *options)
{
    struct net_prefix prefixes[2] = {
        {host_address(host->port->base.mac[5], false), 120},
        {host_address(host->port->base.mac[5], true), 64},
    };
    struct net_options full = *options;

    if (full.addresses == NULL) {
        full.addresses = prefixes;
        full.addresses_count = 2;
    }
    return net_create(&host->net, &full);
}

void host_stop(struct host *host)
{
    /* As a driver does that stops its queues first. */
    port_complete(host->port);
    if (host->net != NULL)
        net_destroy(host->net);
    host->net = NULL;
    port_complete(host->port);
    while (host->port->arrived_count > 0) {
        struct packet *packet;

        packet_receive(&host->port->base, &packet, 1);
        packet_release(&host->port->base, packet);
    }
    if (host->port->fault[0] != '\0')
        host_blame(host, "port: %s", host->port->fault);
    if (host->port->free_count != host->port->packets)
        host_blame(host, "%u packets leaked", host->port->packets - host->port->free_count);
    if (host->pins != 0)
        host_blame(host, "%u pieces of pinned memory were never released", host->pins);
}

static void check_bytes(struct host *host, struct host_conn *conn, const struct net_event *event)
{
    if (conn->unchecked || host->unchecked)
        return;
    for (uint32_t i = 0; i < event->len_bytes; i++) {
        if (event->data[i] != host_pattern(conn->in_key, conn->received + i)) {
            host_blame(host, "byte %llu of the stream is wrong",
                       (unsigned long long)conn->received + i);
            return;
        }
    }
}

static void handle_accepted(struct host *host, const struct net_event *event)
{
    struct net_endpoint local;

    if (host->conns_count == HOST_CONNS_MAX) {
        net_close(host->net, event->conn, NET_CLOSE_NOW);
        net_conn_stream(event->conn)->user = NULL;
        return;
    }
    struct host_conn *conn = &host->conns[host->conns_count++];
    *conn = (struct host_conn){.host = host, .conn = event->conn, .accepted = true, .out_key = 1};
    net_conn_stream(event->conn)->user = conn;
    if (net_conn_stream(event->conn)->listener_id != HOST_LISTENER_ID)
        host_blame(host, "accepted with a wrong listener");
    net_peer(event->conn, &conn->peer);
    net_local(event->conn, &local);
    conn->local_port = local.port;
}

static void handle(struct host *host, const struct net_event *event)
{
    struct host_conn *conn;

    if (event->kind == NET_ACCEPTED) {
        handle_accepted(host, event);
        return;
    }
    conn = net_conn_stream(event->conn)->user;
    if (conn == NULL)
        return;
    if (conn->closed) {
        host_blame(host, "an event after NET_CLOSED");
        return;
    }
    switch (event->kind) {
    case NET_CONNECTED:
        if (conn->accepted || conn->connected)
            host_blame(host, "connected twice");
        conn->connected = true;
        break;
    case NET_BYTES:
        if (conn->ended || event->len_bytes == 0)
            host_blame(host, "bytes after the end, or none");
        check_bytes(host, conn, event);
        conn->received += event->len_bytes;
        if (host->echo)
            host_write(host, conn, event->len_bytes);
        break;
    case NET_END:
        if (conn->ended)
            host_blame(host, "the end was told twice");
        conn->ended = true;
        break;
    case NET_DRAINED:
        conn->drained++;
        break;
    case NET_CLOSED:
        conn->closed = true;
        conn->error = event->error;
        conn->conn = NULL;
        break;
    case NET_ACCEPTED:
        break;
    }
}

void host_poll(struct host *host)
{
    for (unsigned polls = 0;; polls++) {
        struct net_event event;
        unsigned done = net_poll(host->net);
        bool any = false;

        while (net_event(host->net, &event)) {
            handle(host, &event);
            any = true;
        }
        net_flush(host->net);
        if (done == 0 && !any)
            break;
        if (polls == POLLS_MAX) {
            host_blame(host, "the stack does not come to rest");
            break;
        }
    }
    /* After each step, so that every script and every lossy run is one of resting connections. */
    host->rests += net_rest(host->net);
    const char *broken = net_check(host->net);
    if (broken != NULL)
        host_blame(host, "net_check: %s", broken);
    if (host->port->fault[0] != '\0')
        host_blame(host, "port: %s", host->port->fault);
}

void host_advance(struct host *host, uint64_t us)
{
    uint64_t end_us = host->now_us + us;

    for (unsigned steps = 0; host->now_us < end_us; steps++) {
        uint64_t next_us = net_next_deadline_us(host->net);

        if (next_us <= host->now_us)
            next_us = host->now_us + 1;
        host->now_us = next_us < end_us ? next_us : end_us;
        host_poll(host);
        if (host->fault[0] != '\0')
            return;
        if (steps == DEADLINES_MAX) {
            host_blame(host, "deadlines without end");
            return;
        }
    }
}

bool host_write(struct host *host, struct host_conn *conn, size_t len)
{
    while (len > 0 && conn->conn != NULL) {
        size_t piece = len < NET_RESERVE_MAX ? len : NET_RESERVE_MAX, room;
        uint8_t *at = net_reserve(host->net, conn->conn, piece, &room);

        if (at == NULL)
            return false;
        if (room < piece)
            host_blame(host, "net_reserve gave less room than asked for");
        host_fill(at, piece, conn->out_key, conn->written);
        net_commit(host->net, conn->conn, piece);
        conn->written += piece;
        len -= piece;
    }
    return len == 0;
}

struct pin {
    struct host *host;
    uint8_t bytes[];
};

static void unpin(void *arg)
{
    struct pin *pin = arg;

    pin->host->pins--;
    free(pin);
}

uint8_t *host_pin_memory(struct host *host, size_t len)
{
    struct pin *pin = malloc(sizeof *pin + len);

    if (pin == NULL)
        return NULL;
    pin->host = host;
    host->pins++;
    return pin->bytes;
}

bool host_pin_append(struct host *host, struct net_conn *conn, uint8_t *bytes, size_t len)
{
    struct pin *pin = (struct pin *)(void *)(bytes - offsetof(struct pin, bytes));

    if (net_append(host->net, conn, bytes, len, unpin, pin) >= 0)
        return true;
    unpin(pin);
    return false;
}

bool host_pin(struct host *host, struct host_conn *conn, size_t len)
{
    uint8_t *bytes = conn->conn == NULL ? NULL : host_pin_memory(host, len);

    if (bytes == NULL)
        return false;
    host_fill(bytes, len, conn->out_key, conn->written);
    if (!host_pin_append(host, conn->conn, bytes, len))
        return false;
    conn->written += len;
    return true;
}

struct host_conn *host_connect(struct host *host, const struct net_endpoint *to,
                               uint16_t local_port)
{
    struct host_conn *conn;
    int error;

    if (host->conns_count == HOST_CONNS_MAX)
        return NULL;
    conn = &host->conns[host->conns_count];
    *conn = (struct host_conn){.host = host, .peer = *to, .out_key = 1};
    error = net_connect(host->net, to, local_port, conn, &conn->conn);
    if (error < 0) {
        host_blame(host, "net_connect: %d", error);
        return NULL;
    }
    struct net_endpoint local;
    net_local(conn->conn, &local);
    conn->local_port = local.port;
    host->conns_count++;
    return conn;
}

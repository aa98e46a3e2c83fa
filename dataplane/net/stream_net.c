#include "dataplane/net/stream_net.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "dataplane/net/kernel_path.h"
#include "dataplane/net/net.h"
#include "drivers/clock.h"
#include "drivers/epoll/stream_epoll.h"

enum {
    SN_LISTENERS_MAX = 264,     /* ids of ports: two sets of the common one and of all workers' */
    SN_KERNEL_LOOK_US = 200,    /* how often unix sockets are looked at while frames come */
    SN_REST_MIN_US = 20,        /* between two looks at the port once it is quiet: first ... */
    SN_REST_MAX_US = 500,       /* ... and at most: that much latency is the price of resting */
    SN_REST_WATCHED_US = 10000, /* ... where frames end it: what a lost interrupt would cost */
    SN_YIELD_AFTER_US = 50,     /* of quiet, before others on the same CPU get a turn */
    SN_RANDOMS = 32,            /* fetched from the kernel at a time */
    SN_CONNECTIONS_MAX = 1 << 20,
};

struct sn_listener {
    uint32_t id;
    uint16_t port;
};

struct sn_stream {
    struct net *net; /* NULL: no port */
    struct packet_port *port;
    struct kernel_port *kernel_port; /* NULL: the kernel has no part in the port */
    struct stream *kernel;           /* unix sockets, and the place to sleep */
    bool may_sleep;
    bool kernel_used;      /* it has a listener or connections */
    bool events_left;      /* the stack has more to tell of its last poll */
    bool shares_cpu;       /* other workers run on the same CPU */
    uint64_t idle_us;      /* 0: never rests */
    uint64_t busy_at_us;   /* when something last happened */
    uint64_t rest_us;      /* the next rest */
    uint64_t kernel_at_us; /* when the kernel's side was last looked at */
    int wake_fd; /* readable when frames come and the port is armed; -1: frames end no rest */
    bool armed;
    unsigned listener_count;
    struct sn_listener listeners[SN_LISTENERS_MAX];
    unsigned randoms_left;
    uint64_t randoms[SN_RANDOMS];
    uint64_t segments; /* sent, as far as `counters` knows */
    struct stream_counters counters;
    _Alignas(64) _Atomic bool woken; /* by other threads */
    _Atomic bool asleep;             /* in the kernel: a wake-up needs a system call */
};

static struct sn_stream *sn_of(struct stream *stream)
{
    return (struct sn_stream *)stream;
}

/* Connections of the kernel have a descriptor, or had one. */
static bool of_kernel(const struct stream_conn *conn)
{
    return conn->fd != -1;
}

/* ---- what the stack is given ----------------------------------------------------------------- */

static uint64_t sn_clock_us(void *arg)
{
    (void)arg;
    return clock_now_us();
}

static uint64_t sn_random(void *arg)
{
    struct sn_stream *stream = arg;

    if (stream->randoms_left == 0) {
        /* Up to 256 bytes come whole and without a signal's say (getrandom(2)). */
        ssize_t got = getrandom(stream->randoms, sizeof stream->randoms, 0);
        assert(got == (ssize_t)sizeof stream->randoms);
        stream->randoms_left = SN_RANDOMS;
    }
    return stream->randoms[--stream->randoms_left];
}

struct sn_addresses {
    unsigned count;
    struct net_prefix prefixes[NET_ADDRESSES_MAX];
    struct net_address gateways[2]; /* IPv4, IPv6; all zero: none */
};

__attribute__((format(printf, 2, 3))) static int refuse(char *error, const char *format, ...)
{
    va_list args;

    if (error == NULL)
        return -EINVAL;
    va_start(args, format);
    vsnprintf(error, STREAM_ERROR_MAX, format, args);
    va_end(args);
    return -EINVAL;
}

static int read_gateways(const struct config *config, struct sn_addresses *addresses, char *error)
{
    const struct config_list *gateways = config->dpdk_gateway;

    for (unsigned i = 0; i < gateways->count; i++) {
        struct net_address gateway;
        if (net_address_parse(gateways->items[i], &gateway) < 0 ||
            !net_address_is_unicast(&gateway))
            return refuse(error, "dpdk-gateway %.64s is no address of a router",
                          gateways->items[i]);
        struct net_address *place = &addresses->gateways[!net_address_is_v4(&gateway)];
        if (!net_address_is_unspecified(place) && place->words[3] != 0)
            return refuse(error, "dpdk-gateway takes one address of each family, not %.64s as well",
                          gateways->items[i]);
        *place = gateway;
    }
    return 0;
}

static int read_addresses(const struct config *config, struct sn_addresses *addresses, char *error)
{
    const struct config_list *list = config->dpdk_address;

    *addresses = (struct sn_addresses){0};
    if (list->count == 0)
        return refuse(error, "net-driver dpdk needs dpdk-address, such as 10.9.0.1/24");
    if (list->count > NET_ADDRESSES_MAX)
        return refuse(error, "dpdk-address takes at most %d addresses", NET_ADDRESSES_MAX);
    for (unsigned i = 0; i < list->count; i++) {
        struct net_prefix *prefix = &addresses->prefixes[addresses->count];
        if (net_prefix_parse(list->items[i], prefix) < 0)
            return refuse(error,
                          "dpdk-address %.64s is no address with the length of its prefix, such as "
                          "10.9.0.1/24 or fd00:9::1/64",
                          list->items[i]);
        if (!net_address_is_unicast(&prefix->address) ||
            net_address_is_broadcast(&prefix->address, prefix))
            return refuse(error, "dpdk-address %.64s cannot be the address of a host",
                          list->items[i]);
        addresses->count++;
    }
    return read_gateways(config, addresses, error);
}

int stream_net_check(const struct config *config, char *error)
{
    struct sn_addresses addresses;

    return read_addresses(config, &addresses, error);
}

const struct net_counters *stream_net_counters(const struct stream *stream)
{
    const struct sn_stream *own = (const struct sn_stream *)stream;

    return own->net == NULL ? NULL : net_counters(own->net);
}

/* ---- output ---------------------------------------------------------------------------------- */

static char *sn_reserve(struct stream *base, struct stream_conn *conn, size_t len_bytes,
                        size_t *room_bytes)
{
    struct sn_stream *stream = sn_of(base);

    if (of_kernel(conn))
        return stream_epoll.reserve(stream->kernel, conn, len_bytes, room_bytes);
    return (char *)net_reserve(stream->net, net_stream_conn(conn), len_bytes, room_bytes);
}

static void sn_commit(struct stream *base, struct stream_conn *conn, size_t len_bytes)
{
    struct sn_stream *stream = sn_of(base);

    if (of_kernel(conn)) {
        stream_epoll.commit(stream->kernel, conn, len_bytes);
        return;
    }
    net_commit(stream->net, net_stream_conn(conn), len_bytes);
    stream_count(&stream->counters.tx_bytes, len_bytes);
}

static int sn_append(struct stream *base, struct stream_conn *conn, const char *data,
                     size_t len_bytes, void (*release)(void *arg), void *arg)
{
    struct sn_stream *stream = sn_of(base);
    int result;

    if (of_kernel(conn))
        return stream_epoll.append(stream->kernel, conn, data, len_bytes, release, arg);
    result = net_append(stream->net, net_stream_conn(conn), data, len_bytes, release, arg);
    if (result == 0)
        stream_count(&stream->counters.tx_bytes, len_bytes);
    return result;
}

static void sn_flush(struct stream *base)
{
    struct sn_stream *stream = sn_of(base);

    if (stream->net != NULL)
        net_flush(stream->net);
    if (stream->kernel_used)
        stream_epoll.flush(stream->kernel);
}

static void sn_notify_drained(struct stream *base, struct stream_conn *conn)
{
    struct sn_stream *stream = sn_of(base);

    if (of_kernel(conn))
        stream_epoll.notify_drained(stream->kernel, conn);
    else
        net_notify_drained(stream->net, net_stream_conn(conn));
}

static void sn_announce(struct stream *base)
{
    struct sn_stream *stream = sn_of(base);

    if (stream->net != NULL)
        net_announce(stream->net);
}

static void sn_set_keepalive(struct stream *base, unsigned keepalive_s)
{
    struct sn_stream *stream = sn_of(base);

    if (stream->net != NULL)
        net_set_keepalive(stream->net, keepalive_s);
}

/* ---- listeners ------------------------------------------------------------------------------- */

static int sn_listen(struct stream *base, int fd, uint32_t listener_id, bool hand_over)
{
    struct sn_stream *stream = sn_of(base);

    stream->kernel_used = true;
    return stream_epoll.listen(stream->kernel, fd, listener_id, hand_over);
}

static int sn_adopt(struct stream *base, int fd, uint32_t listener_id)
{
    struct sn_stream *stream = sn_of(base);

    stream->kernel_used = true;
    return stream_epoll.adopt(stream->kernel, fd, listener_id);
}

static struct sn_listener *listener_of_port(struct sn_stream *stream, uint16_t port)
{
    for (unsigned i = 0; i < stream->listener_count; i++)
        if (stream->listeners[i].port == port)
            return &stream->listeners[i];
    return NULL;
}

/* The stack listens on a port once, here it may have several ids: while CONFIG SET replaces one set
 * of listeners by another, both have the port. The stack knows the last one. */
static int sn_listen_port(struct stream *base, uint16_t port, uint32_t listener_id)
{
    struct sn_stream *stream = sn_of(base);

    if (stream->listener_count == SN_LISTENERS_MAX)
        return -ENOSPC;
    if (stream->net != NULL) {
        if (listener_of_port(stream, port) != NULL)
            net_unlisten(stream->net, port);
        int result = net_listen(stream->net, port, listener_id);
        if (result < 0)
            return result;
    }
    stream->listeners[stream->listener_count++] = (struct sn_listener){listener_id, port};
    return 0;
}

static int sn_unlisten(struct stream *base, uint32_t listener_id)
{
    struct sn_stream *stream = sn_of(base);

    for (unsigned i = 0; i < stream->listener_count; i++) {
        if (stream->listeners[i].id != listener_id)
            continue;
        uint16_t port = stream->listeners[i].port;
        stream->listeners[i] = stream->listeners[--stream->listener_count];
        struct sn_listener *other = listener_of_port(stream, port);
        if (stream->net == NULL)
            return 0;
        net_unlisten(stream->net, port);
        return other == NULL ? 0 : net_listen(stream->net, port, other->id);
    }
    return stream_epoll.unlisten(stream->kernel, listener_id);
}

/* ---- events ---------------------------------------------------------------------------------- */

static enum stream_event_kind kind_of(enum net_event_kind kind)
{
    switch (kind) {
    case NET_ACCEPTED:
        return STREAM_ACCEPTED;
    case NET_BYTES:
        return STREAM_BYTES;
    case NET_END:
        return STREAM_END;
    case NET_DRAINED:
        return STREAM_DRAINED;
    case NET_CONNECTED: /* nothing here opens connections */
    case NET_CLOSED:
        break;
    }
    return STREAM_CLOSED;
}

/* Takes what the stack has to tell; it may have more than there is room for. */
static unsigned take_events(struct sn_stream *stream, struct stream_event *events,
                            unsigned events_max)
{
    struct net_event event;
    unsigned count = 0, received = 0;
    uint64_t bytes = 0;

    for (; count < events_max && net_event(stream->net, &event); count++) {
        struct stream_conn *conn = net_conn_stream(event.conn);
        if (event.kind == NET_BYTES) { /* the other fields are not for these */
            events[count].kind = STREAM_BYTES;
            events[count].conn = conn;
            events[count].data = (const char *)event.data;
            events[count].len_bytes = event.len_bytes;
            bytes += event.len_bytes;
            received++;
            continue;
        }
        events[count] = (struct stream_event){.kind = kind_of(event.kind),
                                              .conn = conn,
                                              .listener_id = conn->listener_id,
                                              .error = event.error,
                                              .fd = -1};
        if (event.kind == NET_ACCEPTED)
            stream_count(&stream->counters.accepted, 1);
    }
    stream_count(&stream->counters.rx_bytes, bytes);
    stream_count(&stream->counters.rx_events, received);
    stream->events_left = count == events_max;
    return count;
}

/* Looks at the port, unless the stack still has events of its last look: their bytes lie in packets
 * that the next one would free. */
/* What other drivers count as calls that send: here, segments. */
static void count_sent(struct sn_stream *stream)
{
    uint64_t segments =
        atomic_load_explicit(&net_counters(stream->net)->tx_segments, memory_order_relaxed);

    if (segments == stream->segments)
        return;
    stream_count(&stream->counters.tx_calls, segments - stream->segments);
    stream->segments = segments;
}

static unsigned look_at_port(struct sn_stream *stream, struct stream_event *events,
                             unsigned events_max, uint64_t now_us, bool *busy)
{
    if (stream->net == NULL)
        return 0;
    if (stream->events_left) {
        net_flush(stream->net);
        unsigned count = take_events(stream, events, events_max);
        if (count > 0)
            return count;
    }
    *busy = net_poll(stream->net) > 0;
    count_sent(stream);
    if (stream->kernel_port != NULL)
        *busy |= kernel_port_exchange(stream->kernel_port, stream->net, stream->port, now_us) > 0;
    return take_events(stream, events, events_max);
}

/* Looks at the kernel's side, and sleeps there for `timeout_us`. */
static int look_at_kernel(struct sn_stream *stream, struct stream_event *events,
                          unsigned events_max, int64_t timeout_us)
{
    if (timeout_us != 0) {
        atomic_store_explicit(&stream->asleep, true, memory_order_relaxed);
        /* Pairs with sn_wake: either it sees that we sleep, or we see that it called. */
        atomic_thread_fence(memory_order_seq_cst);
        if (atomic_load_explicit(&stream->woken, memory_order_relaxed))
            timeout_us = 0;
    }
    int count = stream_epoll.poll(stream->kernel, events, events_max, timeout_us);
    atomic_store_explicit(&stream->asleep, false, memory_order_relaxed);
    return count;
}

/* True: the port has just been armed. */
static bool arm(struct sn_stream *stream)
{
    if (stream->armed)
        return false;
    stream->armed = packet_arm(stream->port, true);
    return stream->armed;
}

/* How long to rest now, or 0: look at the port again. */
static int64_t rest_us(struct sn_stream *stream, uint64_t now_us, uint64_t until_us)
{
    uint64_t end_us = until_us;

    if (!stream->may_sleep)
        return 0;
    if (stream->net != NULL) {
        uint64_t deadline_us = net_next_deadline_us(stream->net);
        if (stream->idle_us == 0 || now_us - stream->busy_at_us < stream->idle_us)
            return 0;
        /* What is due at once and was not done in all this quiet waits for the port to take it. */
        if (deadline_us <= now_us)
            deadline_us = now_us + SN_REST_MIN_US;
        end_us = deadline_us < end_us ? deadline_us : end_us;
        uint64_t most_us = stream->rest_us;
        if (most_us == SN_REST_MAX_US && stream->wake_fd >= 0) {
            if (arm(stream))
                return 0; /* a frame may have come before */
            if (stream->armed)
                most_us = SN_REST_WATCHED_US;
        }
        if (now_us + most_us < end_us)
            end_us = now_us + most_us;
        stream->rest_us =
            stream->rest_us * 2 < SN_REST_MAX_US ? stream->rest_us * 2 : SN_REST_MAX_US;
    }
    if (end_us == UINT64_MAX)
        return -1;
    return end_us <= now_us ? 0 : (int64_t)(end_us - now_us);
}

static void note_busy(struct sn_stream *stream, uint64_t now_us)
{
    stream->busy_at_us = now_us;
    stream->rest_us = SN_REST_MIN_US;
    if (stream->armed) {
        (void)packet_arm(stream->port, false); /* at worst it is woken in vain */
        stream->armed = false;
    }
}

static int sn_poll(struct stream *base, struct stream_event *events, unsigned events_max,
                   int64_t timeout_us)
{
    struct sn_stream *stream = sn_of(base);
    uint64_t now_us = clock_now_us();
    uint64_t until_us = timeout_us < 0 ? UINT64_MAX : now_us + (uint64_t)timeout_us;

    assert(events_max > 0 && events_max <= STREAM_EVENTS_MAX);
    for (;;) {
        bool busy = false;
        unsigned count = look_at_port(stream, events, events_max, now_us, &busy);
        if (busy || count > 0)
            note_busy(stream, now_us);
        bool ends = count > 0 || now_us >= until_us ||
                    atomic_exchange_explicit(&stream->woken, false, memory_order_acquire);
        int64_t rest = ends || busy ? 0 : rest_us(stream, now_us, until_us);
        bool kernel_due = stream->kernel_used && now_us - stream->kernel_at_us >= SN_KERNEL_LOOK_US;
        if ((kernel_due || rest != 0) && count < events_max) {
            int more = look_at_kernel(stream, events + count, events_max - count, rest);
            if (more < 0)
                return more;
            count += (unsigned)more;
            stream->kernel_at_us = now_us;
            /* Woken, by a frame that may take its time to show (net_tap waits for a signal). */
            uint64_t after_us = rest > SN_REST_MAX_US ? clock_now_us() : 0;
            if (after_us != 0 && after_us < now_us + (uint64_t)rest)
                note_busy(stream, after_us);
        }
        if (count > 0 || ends)
            return (int)count;
        if (stream->shares_cpu && now_us - stream->busy_at_us > SN_YIELD_AFTER_US)
            sched_yield();
        now_us = clock_now_us();
    }
}

static void sn_wake(struct stream *from, struct stream *target)
{
    struct sn_stream *stream = sn_of(target);

    (void)from;
    atomic_store_explicit(&stream->woken, true, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&stream->asleep, memory_order_relaxed))
        stream_epoll.wake(NULL, stream->kernel);
}

/* ---- back-pressure and closing --------------------------------------------------------------- */

static void sn_pause(struct stream *base, struct stream_conn *conn)
{
    struct sn_stream *stream = sn_of(base);

    if (of_kernel(conn))
        stream_epoll.pause(stream->kernel, conn);
    else
        net_pause(stream->net, net_stream_conn(conn));
}

static void sn_resume(struct stream *base, struct stream_conn *conn)
{
    struct sn_stream *stream = sn_of(base);

    if (of_kernel(conn)) {
        stream_epoll.resume(stream->kernel, conn);
        return;
    }
    net_resume(stream->net, net_stream_conn(conn));
    stream->events_left = true; /* what it held back is told before the next look at the port */
}

static void sn_close(struct stream *base, struct stream_conn *conn, enum stream_close how)
{
    struct sn_stream *stream = sn_of(base);

    if (of_kernel(conn)) {
        stream_epoll.close(stream->kernel, conn, how);
        return;
    }
    /* A reset is for those who would miss something: others see an orderly end as from a socket. */
    bool reset = how == STREAM_CLOSE_NOW && conn->pending_bytes > 0;
    net_close(stream->net, net_stream_conn(conn), reset ? NET_CLOSE_NOW : NET_CLOSE_FLUSH);
}

static int sn_peer(struct stream_conn *conn, char text[STREAM_ADDRESS_TEXT_MAX])
{
    struct net_endpoint endpoint;

    if (of_kernel(conn))
        return stream_epoll.peer(conn, text);
    net_peer(net_stream_conn(conn), &endpoint);
    net_endpoint_format(&endpoint, text, STREAM_ADDRESS_TEXT_MAX);
    return 0;
}

static int sn_local(struct stream_conn *conn, char text[STREAM_ADDRESS_TEXT_MAX])
{
    struct net_endpoint endpoint;

    if (of_kernel(conn))
        return stream_epoll.local(conn, text);
    net_local(net_stream_conn(conn), &endpoint);
    net_endpoint_format(&endpoint, text, STREAM_ADDRESS_TEXT_MAX);
    return 0;
}

/* Whoever comes by the port comes from elsewhere, whatever his address says. */
static bool sn_is_loopback(struct stream_conn *conn)
{
    return of_kernel(conn) && stream_epoll.is_loopback(conn);
}

static const struct stream_counters *sn_counters(const struct stream *base)
{
    return &((const struct sn_stream *)base)->counters;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void sn_destroy(struct stream *base)
{
    struct sn_stream *stream = sn_of(base);

    if (stream == NULL)
        return;
    if (stream->net != NULL)
        net_destroy(stream->net);
    stream_epoll.destroy(stream->kernel);
    free(stream);
}

static int make_net(struct sn_stream *stream, const struct stream_options *options)
{
    const struct config *config = options->config;
    struct sn_addresses addresses;
    int result = read_addresses(config, &addresses, options->error);

    if (result < 0)
        return result;
    unsigned connections_max = options->connections_max < SN_CONNECTIONS_MAX
                                   ? options->connections_max
                                   : SN_CONNECTIONS_MAX;
    struct net_options net = {
        .port = options->port,
        .clock_us = sn_clock_us,
        .random = sn_random,
        .random_arg = stream,
        .addresses = addresses.prefixes,
        .addresses_count = addresses.count,
        .gateway4 = addresses.gateways[0],
        .gateway6 = addresses.gateways[1],
        .kernel_path = stream->kernel_port != NULL,
        .neighbours =
            stream->kernel_port != NULL ? kernel_port_neighbours(stream->kernel_port) : NULL,
        .connections_max = connections_max,
        .keepalive_s = options->keepalive_s,
        .congestion =
            config->dpdk_congestion == CONFIG_CONGESTION_NEWRENO ? NET_NEWRENO : NET_CUBIC,
    };
    result = net_create(&stream->net, &net);
    if (result == 0)
        net_announce(stream->net); /* goes with the first poll */
    if (result == -ENOMEM && options->error != NULL)
        snprintf(options->error, STREAM_ERROR_MAX, "no memory for the network stack");
    return result;
}

/* The kernel's frames come by a ring that wakes nobody: with them, rests stay short. */
static void watch_port(struct sn_stream *stream)
{
    int fd = packet_wake_fd(stream->port);

    if (stream->idle_us != 0 && stream->kernel_port == NULL && fd >= 0 &&
        stream_epoll_watch(stream->kernel, fd) == 0)
        stream->wake_fd = fd;
}

static int sn_create(struct stream **out, const struct stream_options *options)
{
    struct sn_stream *stream = aligned_alloc(64, (sizeof *stream + 63) & ~(size_t)63);

    *out = NULL;
    if (stream == NULL)
        return -ENOMEM;
    memset(stream, 0, sizeof *stream);
    stream->wake_fd = -1;
    stream->may_sleep = options->may_sleep;
    stream->shares_cpu = options->shares_cpu;
    int result = stream_epoll.create(&stream->kernel, options);
    if (result == 0 && options->port != NULL) {
        stream->idle_us = (uint64_t)options->config->dpdk_idle;
        stream->port = options->port;
        stream->kernel_port = options->kernel;
        result = make_net(stream, options);
        watch_port(stream);
    }
    note_busy(stream, clock_now_us());
    if (result < 0) {
        sn_destroy((struct stream *)stream);
        return result;
    }
    *out = (struct stream *)stream;
    return 0;
}

const struct stream_driver stream_net = {
    .name = "dpdk",
    .flush_is_cheap = true,
    .create = sn_create,
    .destroy = sn_destroy,
    .listen = sn_listen,
    .listen_port = sn_listen_port,
    .unlisten = sn_unlisten,
    .set_keepalive = sn_set_keepalive,
    .announce = sn_announce,
    .adopt = sn_adopt,
    .poll = sn_poll,
    .wake = sn_wake,
    .reserve = sn_reserve,
    .commit = sn_commit,
    .append = sn_append,
    .flush = sn_flush,
    .notify_drained = sn_notify_drained,
    .pause = sn_pause,
    .resume = sn_resume,
    .close = sn_close,
    .peer = sn_peer,
    .local = sn_local,
    .is_loopback = sn_is_loopback,
    .counters = sn_counters,
};

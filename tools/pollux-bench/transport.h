/* Transports of pollux-bench: TCP connections over whatever carries them.
 * Purpose:   one interface for kernel sockets (kernel.c) and our own stack (stack.c), so that both
 *            run the same load. Events are pulled, nothing is called back.
 * Ownership: the transport owns its links. A link is the caller's to use from transport_connect
 *            until its TRANSPORT_CLOSED has come or transport_close was called. Bytes of an event
 *            stay valid until the next call of transport_event or transport_poll.
 * Threading: one thread.
 * Errors:    0 or a negative errno. An event carries a positive errno; 0 is the peer's orderly end. */
#ifndef POLLUX_BENCH_TRANSPORT_H
#define POLLUX_BENCH_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct transport_address {
    struct sockaddr_storage storage;
    socklen_t len;
};

enum transport_event_kind { TRANSPORT_CONNECTED, TRANSPORT_BYTES, TRANSPORT_CLOSED };

struct transport_event {
    enum transport_event_kind kind;
    int error;        /* TRANSPORT_CLOSED */
    void *user;       /* as given to transport_connect */
    const char *data; /* TRANSPORT_BYTES */
    size_t len_bytes;
};

/* Since the transport was made, over all its links, those that are closed included. */
struct transport_counters {
    uint64_t packets_sent; /* TCP segments, or frames where the transport sees those */
    uint64_t packets_received;
    uint64_t retransmits;
    double flood_per_s; /* SYNs of --syn-flood, since its first one */
};

struct transport_link;
struct transport;

struct transport_ops {
    int (*connect)(struct transport *transport, const struct transport_address *to, void *user,
                   struct transport_link **link);
    int (*write)(struct transport *transport, struct transport_link *link, const char *data,
                 size_t len_bytes);
    bool (*has_unsent)(const struct transport *transport, const struct transport_link *link);
    void (*close)(struct transport *transport, struct transport_link *link, bool reset);
    int (*poll)(struct transport *transport, uint64_t sleep_ns);
    bool (*event)(struct transport *transport, struct transport_event *event);
    void (*counters)(struct transport *transport, struct transport_counters *counters);
    void (*destroy)(struct transport *transport);
};

struct transport {
    const struct transport_ops *ops;
    bool polls; /* never sleeps, whatever `sleep_ns` says */
};

/* Begins a connection; TRANSPORT_CONNECTED or TRANSPORT_CLOSED follows. */
static inline int transport_connect(struct transport *transport, const struct transport_address *to,
                                    void *user, struct transport_link **link)
{
    return transport->ops->connect(transport, to, user, link);
}

/* Copies the bytes, or sends them at once; takes all or fails. */
static inline int transport_write(struct transport *transport, struct transport_link *link,
                                  const char *data, size_t len_bytes)
{
    return transport->ops->write(transport, link, data, len_bytes);
}

/* Whether bytes wait because the peer takes no more: better write nothing for now. */
static inline bool transport_has_unsent(const struct transport *transport,
                                        const struct transport_link *link)
{
    return transport->ops->has_unsent(transport, link);
}

/* Ends a link, with a reset or in order. No event of it follows. */
static inline void transport_close(struct transport *transport, struct transport_link *link,
                                   bool reset)
{
    transport->ops->close(transport, link, reset);
}

/* Sends what is owed, receives, and sleeps at most `sleep_ns` if there is nothing. Returns how much
 * there was to do, or a negative errno. Take all events before the next poll. */
static inline int transport_poll(struct transport *transport, uint64_t sleep_ns)
{
    return transport->ops->poll(transport, sleep_ns);
}

static inline bool transport_event(struct transport *transport, struct transport_event *event)
{
    return transport->ops->event(transport, event);
}

static inline void transport_counters(struct transport *transport,
                                      struct transport_counters *counters)
{
    transport->ops->counters(transport, counters);
}

static inline void transport_destroy(struct transport *transport)
{
    if (transport != NULL)
        transport->ops->destroy(transport);
}

/* Kernel sockets and epoll. -ENOMEM or what epoll_create1 says. */
int transport_kernel(struct transport **transport);

struct clock_tsc;
struct device;
struct options;
/* Our own stack over a packet port; that and the clock outlive the transport. Negative errno after a
 * line on standard error. */
int transport_stack(struct transport **transport, struct device *device,
                    const struct clock_tsc *clock, const struct options *options);

#endif

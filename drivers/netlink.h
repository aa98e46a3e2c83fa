/* Netlink: what the kernel knows of neighbours and routes, and how it is told to set up an
 * interface (rtnetlink(7), netlink(7)).
 * Purpose:   reads the messages of dumps and notifications one by one, and sends the few requests
 *            that an interface of ours needs.
 * Ownership: descriptors are the caller's; messages are plain values.
 * Threading: one thread for each descriptor; no state.
 * Errors:    negative errno; of a request the kernel's own. Every length in a message is checked
 *            before it is used; one that cannot be ends the reading (NETLINK_GOT_BAD).
 * Units:     addresses in network order. */
#ifndef DRIVERS_NETLINK_H
#define DRIVERS_NETLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NETLINK_ANSWER_MS = 2000,     /* the longest that a request waits for its answer */
    NETLINK_BUFFER_BYTES = 32768, /* for netlink_receive: the kernel's dumps are no longer */
};

struct netlink_address {
    uint8_t family; /* AF_INET, AF_INET6; 0: none */
    uint8_t bits;   /* of the prefix: at most 32, 128 */
    uint8_t bytes[16];
};

enum netlink_kind {
    NETLINK_GOT_NOTHING,   /* the input is used up */
    NETLINK_GOT_NEIGHBOUR, /* interface, address, gone, mac */
    NETLINK_GOT_ROUTE,     /* interface, address (the destination), gone, gateway, metric */
    NETLINK_GOT_DONE,      /* a dump has ended, with `error` */
    NETLINK_GOT_ACK,       /* the answer to a request: `error` */
    NETLINK_GOT_OTHER,     /* well-formed, and nothing of these */
    NETLINK_GOT_BAD,       /* a length that cannot be: what follows is not looked at */
};

struct netlink_message {
    enum netlink_kind kind;
    uint32_t sequence;
    uint32_t interface;
    uint32_t metric;
    int error;        /* 0 or a negative errno */
    bool gone;        /* deleted; of a neighbour also: it has no MAC that may be used */
    bool interrupted; /* the dump that it belongs to is not consistent: ask again */
    uint8_t mac[6];
    struct netlink_address address, gateway;
};

/* Reads the message at `*at` of `*left` bytes and moves both behind it. Routes are unicast ones of
 * the main table with one next hop. Returns message->kind. */
enum netlink_kind netlink_read(const uint8_t **at, size_t *left, struct netlink_message *message);

/* A descriptor for requests. */
int netlink_open(void);
/* One that hears of changes of neighbours and routes, and takes the answers to netlink_dump;
 * non-blocking. */
int netlink_subscribe(void);

enum netlink_table { NETLINK_NEIGHBOURS, NETLINK_ROUTES };
/* Asks for a whole table; its messages follow on `fd`, up to a NETLINK_GOT_DONE with `sequence`. */
int netlink_dump(int fd, enum netlink_table table, uint32_t sequence);
/* Takes one datagram of the kernel's; of others none. Bytes, 0 for one to be passed over, -EAGAIN,
 * -ENOBUFS (some were lost: dump again). */
int netlink_receive(int fd, uint8_t *buffer, size_t buffer_bytes);

/* Requests; each waits for the kernel's answer. */
int netlink_set_link(int fd, uint32_t interface, const uint8_t mac[6], uint32_t mtu);
int netlink_set_up(int fd, uint32_t interface);
/* Without the detection of duplicates, which would hold an IPv6 address back for a second. */
int netlink_add_address(int fd, uint32_t interface, const struct netlink_address *address);
/* The default route of the gateway's family. */
int netlink_add_default(int fd, uint32_t interface, const struct netlink_address *gateway,
                        uint32_t metric);
/* Has the kernel find out the neighbour's MAC, unless it knows it. */
int netlink_want_neighbour(int fd, uint32_t interface, const struct netlink_address *address);

#endif

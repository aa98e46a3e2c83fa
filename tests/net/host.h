/* One stack under test with its port, clock and application.
 * Purpose:   what packet scripts, the lossy pipe and the fuzz targets have in common: polling to
 *            the point of rest, the clock, an application that checks and makes patterned bytes.
 * Ownership: the test owns the host; connections belong to the stack, their records to the host.
 * Threading: none.
 * Errors:    the first thing that is wrong is kept as text in `fault`; it covers the port's faults,
 *            net_check() and bytes that arrive wrong. */
#ifndef POLLUX_TESTS_NET_HOST_H
#define POLLUX_TESTS_NET_HOST_H

#include "dataplane/net/net.h"
#include "tests/net/port.h"

enum {
    HOST_CONNS_MAX = 64, /* records, also of connections that are over */
    HOST_FAULT_MAX = 160,
    HOST_SERVICE_PORT = 6379,
    HOST_LISTENER_ID = 7,
};

struct host;

struct host_conn {
    struct host *host;
    struct net_conn *conn; /* NULL once NET_CLOSED came */
    struct net_endpoint peer;
    uint16_t local_port;
    bool accepted, connected, ended, closed;
    int error;                /* of NET_CLOSED */
    uint64_t received;        /* bytes so far */
    uint64_t written;         /* bytes committed or appended so far */
    unsigned drained;         /* NET_DRAINED events */
    uint32_t in_key, out_key; /* patterns of the two directions */
    bool unchecked;           /* incoming bytes follow no pattern */
};

struct host {
    struct port *port;
    struct net *net;
    uint64_t now_us;
    uint64_t random_state;
    bool echo;      /* the application answers each byte with one of its own */
    bool unchecked; /* new connections' bytes follow no pattern */
    unsigned pins;  /* memory appended and not yet released */
    uint64_t rests; /* times that a connection was put to rest */
    unsigned conns_count;
    struct host_conn conns[HOST_CONNS_MAX];
    char fault[HOST_FAULT_MAX];
};

/* The byte at `position` of the stream with this key. */
uint8_t host_pattern(uint32_t key, uint64_t position);
void host_fill(uint8_t *bytes, size_t len, uint32_t key, uint64_t position);

/* Defaults for a host at 10.0.0.`number` and fd00::`number` with the MAC 02:00:00:00:00:`number`;
 * random numbers grow from `seed`. The port is reset and has `packets`. */
void host_prepare(struct host *host, struct port *port, unsigned number, unsigned packets,
                  uint64_t start_us, uint64_t seed, struct net_options *options);
/* Creates the stack; -errno. */
int host_start(struct host *host, const struct net_options *options);
/* Destroys the stack and checks that the port got all of its packets back. */
void host_stop(struct host *host);

/* Polls and handles events until nothing is left to do at this time. */
void host_poll(struct host *host);
/* Lets time pass, polling at each deadline of the stack. */
void host_advance(struct host *host, uint64_t us);

/* Commits patterned bytes through net_reserve(). false: the stack has no room or no connection. */
bool host_write(struct host *host, struct host_conn *conn, size_t len);
/* Appends patterned memory in one piece. */
bool host_pin(struct host *host, struct host_conn *conn, size_t len);
/* The same in two steps, for bytes of the caller's own: memory to be filled (NULL: none), which must
 * then be appended; false: the connection did not take it, and it is free. */
uint8_t *host_pin_memory(struct host *host, size_t len);
bool host_pin_append(struct host *host, struct net_conn *conn, uint8_t *bytes, size_t len);
/* Opens a connection; NULL with `fault` set if it is refused. */
struct host_conn *host_connect(struct host *host, const struct net_endpoint *to,
                               uint16_t local_port);

/* Keeps the first fault only. */
__attribute__((format(printf, 2, 3))) void host_blame(struct host *host, const char *format, ...);

/* The side that frames to and from host `number` show. */
void host_side(unsigned number, bool v6, uint16_t port, struct frame_side *side);
struct net_address host_address(unsigned number, bool v6);

#endif

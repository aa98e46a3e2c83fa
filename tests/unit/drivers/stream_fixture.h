/* What the tests of the stream drivers share: a stream with a loopback listener, its events written
 * down, and blocking clients.
 * Ownership: the fixture owns its stream; clients are plain descriptors of the test.
 * Threading: as the stream's.
 * Errors:    fail the test. */
#ifndef TESTS_UNIT_DRIVERS_STREAM_FIXTURE_H
#define TESTS_UNIT_DRIVERS_STREAM_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/stream.h"

enum {
    FIXTURE_CONNS_MAX = 4096,
    FIXTURE_KEPT_MAX = 65536, /* first bytes of a connection that are kept */
    FIXTURE_DEADLINE_US = 20000000,
    FIXTURE_LISTENER = 7,
};

/* What was seen of one connection; `user` of the connection points here. */
struct fixture_conn {
    struct stream_conn *conn; /* NULL after STREAM_CLOSED */
    uint64_t bytes;
    unsigned accepted, ended, drained, closed;
    int error;
    char *kept; /* FIXTURE_KEPT_MAX bytes, once some came */
};

struct fixture {
    const struct stream_driver *driver;
    struct stream *stream;
    uint16_t port;
    unsigned conns_count;
    struct fixture_conn conns[FIXTURE_CONNS_MAX];
    unsigned handed_count;
    int handed[64];
    unsigned events; /* in all */
    /* Called for each event after it was written down; may be NULL. */
    void (*handle)(struct fixture *fixture, const struct stream_event *event,
                   struct fixture_conn *seen);
    void *arg; /* of `handle` */
};

/* Defines a test that runs once for each driver. */
#define DRIVER_TEST(name)                                                                          \
    static void name(const struct stream_driver *driver);                                          \
    Test(uring, name)                                                                              \
    {                                                                                              \
        fixture_require(&stream_uring);                                                            \
        name(&stream_uring);                                                                       \
    }                                                                                              \
    Test(epoll, name)                                                                              \
    {                                                                                              \
        name(&stream_epoll);                                                                       \
    }                                                                                              \
    static void name(const struct stream_driver *driver)

/* Skips the test where the machine does not offer the driver. */
void fixture_require(const struct stream_driver *driver);

/* With a listener; `options` may be NULL. The fixture is on the heap. */
struct fixture *fixture_open(const struct stream_driver *driver,
                             const struct stream_options *options);
void fixture_close(struct fixture *fixture);

/* Polls once and writes down what came. Returns the number of events. */
int fixture_step(struct fixture *fixture, int64_t timeout_us);
/* Polls until the counter is at least `wanted`; fails the test after FIXTURE_DEADLINE_US. */
void fixture_until(struct fixture *fixture, const unsigned *counter, unsigned wanted);
void fixture_until_bytes(struct fixture *fixture, const uint64_t *counter, uint64_t wanted);
/* Polls for this long whatever comes. */
void fixture_for(struct fixture *fixture, uint64_t time_us);

/* A client connected to the fixture's listener, and the connection as the stream sees it. */
int fixture_connect(struct fixture *fixture, struct fixture_conn **seen);
int fixture_connect_only(const struct fixture *fixture);
/* A client over a socket pair whose other end the stream adopted. */
int fixture_adopt(struct fixture *fixture, struct fixture_conn **seen);

/* Commits `len_bytes` of output, in pieces where needed. */
void fixture_send(struct fixture *fixture, struct fixture_conn *seen, const char *data,
                  size_t len_bytes);
/* Writes all, or fails the test. */
void fixture_write(int fd, const char *data, size_t len_bytes);
/* Polls the fixture and reads from a client until `len_bytes` are there or the end; the number. */
size_t fixture_read(struct fixture *fixture, int fd, char *data, size_t len_bytes);

/* Byte `position` of the endless test pattern. */
static inline char fixture_pattern(uint64_t position)
{
    return (char)((position * 0x9e3779b97f4a7c15u) >> 56);
}

void fixture_pattern_fill(char *data, uint64_t position, size_t len_bytes);
bool fixture_pattern_equals(const char *data, uint64_t position, size_t len_bytes);

#endif

/* The stream drivers under load: large transfers, slow readers, many connections, few buffers. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/clock.h"
#include "drivers/epoll/stream_epoll.h"
#include "drivers/uring/stream_uring.h"
#include "tests/unit/drivers/stream_fixture.h"

#if defined(POLLUX_ASAN)
enum { TRANSFER_BYTES = 32 << 20, CONNECTIONS = 1000 };
#else
enum { TRANSFER_BYTES = 128 << 20, CONNECTIONS = 3000 };
#endif

/* Stops reading a connection while more than this is on its way back. */
enum { PAUSE_BYTES = 1 << 20 };

static void handle_echo_with_back_pressure(struct fixture *fixture,
                                           const struct stream_event *event,
                                           struct fixture_conn *seen)
{
    const struct stream_driver *driver = fixture->driver;

    if (event->kind == STREAM_BYTES) {
        fixture_send(fixture, seen, event->data, event->len_bytes);
        if (event->conn->pending_bytes > PAUSE_BYTES) {
            driver->pause(fixture->stream, event->conn);
            driver->notify_drained(fixture->stream, event->conn);
        }
    } else if (event->kind == STREAM_DRAINED) {
        driver->resume(fixture->stream, event->conn);
    } else if (event->kind == STREAM_END) {
        driver->close(fixture->stream, event->conn, STREAM_CLOSE_FLUSH);
    }
    /* What one poll had collected before the pause may still have come. */
    if (event->kind != STREAM_CLOSED)
        cr_assert_leq(event->conn->pending_bytes,
                      PAUSE_BYTES + STREAM_EVENTS_MAX * STREAM_RX_BUFFER_BYTES);
}

struct transfer {
    int fd;
    pthread_t writer, reader;
    _Atomic uint64_t right_bytes; /* came back as they were sent */
    unsigned done;
};

enum { TRANSFER_PART = 1 << 16 };

static void *transfer_write(void *arg)
{
    struct transfer *transfer = arg;
    char *data = malloc(TRANSFER_PART);

    for (uint64_t sent = 0; sent < TRANSFER_BYTES;) {
        size_t part = TRANSFER_PART - sent % 977; /* never aligned with anything */
        if (part > TRANSFER_BYTES - sent)
            part = TRANSFER_BYTES - sent;
        fixture_pattern_fill(data, sent, part);
        fixture_write(transfer->fd, data, part);
        sent += part;
    }
    shutdown(transfer->fd, SHUT_WR);
    free(data);
    return NULL;
}

static void *transfer_read(void *arg)
{
    struct transfer *transfer = arg;
    char *data = malloc(TRANSFER_PART);
    uint64_t got = 0;
    ssize_t result;

    while ((result = recv(transfer->fd, data, TRANSFER_PART, 0)) > 0) {
        if (!fixture_pattern_equals(data, got, (size_t)result))
            break;
        got += (uint64_t)result;
        transfer->right_bytes = got;
    }
    free(data);
    return NULL;
}

DRIVER_TEST(carries_hundreds_of_megabytes_both_ways)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    struct transfer transfers[2];

    fixture->handle = handle_echo_with_back_pressure;
    for (int i = 0; i < 2; i++) {
        struct fixture_conn *seen;
        transfers[i] = (struct transfer){.done = 0};
        transfers[i].fd = i == 0 ? fixture_connect(fixture, &seen) : fixture_adopt(fixture, &seen);
        pthread_create(&transfers[i].writer, NULL, transfer_write, &transfers[i]);
        pthread_create(&transfers[i].reader, NULL, transfer_read, &transfers[i]);
    }
    uint64_t end_us = clock_now_us() + 100000000;
    while ((fixture->conns[0].closed == 0 || fixture->conns[1].closed == 0) &&
           clock_now_us() < end_us)
        fixture_step(fixture, 100000);
    for (int i = 0; i < 2; i++) {
        pthread_join(transfers[i].writer, NULL);
        pthread_join(transfers[i].reader, NULL);
        cr_assert_eq(transfers[i].right_bytes, TRANSFER_BYTES);
        cr_assert_eq(fixture->conns[i].bytes, TRANSFER_BYTES);
        cr_assert_eq(fixture->conns[i].error, 0);
        close(transfers[i].fd);
    }
    fixture_close(fixture);
}

DRIVER_TEST(serves_others_beside_a_client_that_never_reads)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    struct fixture_conn *slow;
    struct fixture_conn *quick;
    char *data = calloc(1, 1 << 20);
    uint64_t written = 0;
    uint64_t got = 0;
    char reply[4];
    int slow_fd = fixture_connect(fixture, &slow);
    int quick_fd = fixture_connect(fixture, &quick);

    fixture->handle = handle_echo_with_back_pressure;
    for (int round = 0; round < 300; round++) {
        ssize_t result = send(slow_fd, data, 1 << 20, MSG_DONTWAIT | MSG_NOSIGNAL);
        written += result > 0 ? (uint64_t)result : 0;
        fixture_write(quick_fd, "ping", 4);
        cr_assert_eq(fixture_read(fixture, quick_fd, reply, 4), 4);
    }
    cr_assert_gt(written, PAUSE_BYTES);
    cr_assert_gt(slow->conn->pending_bytes, 0);
    while (got < written) {
        size_t part = written - got < 1 << 20 ? written - got : 1 << 20;
        cr_assert_eq(fixture_read(fixture, slow_fd, data, part), part);
        got += part;
    }
    cr_assert_eq(slow->bytes, written);
    close(slow_fd);
    close(quick_fd);
    free(data);
    fixture_close(fixture);
}

static void handle_echo(struct fixture *fixture, const struct stream_event *event,
                        struct fixture_conn *seen)
{
    if (event->kind == STREAM_BYTES)
        fixture_send(fixture, seen, event->data, event->len_bytes);
    else if (event->kind == STREAM_END)
        fixture->driver->close(fixture->stream, event->conn, STREAM_CLOSE_FLUSH);
    else if (event->kind == STREAM_CLOSED)
        (*(unsigned *)fixture->arg)++;
}

/* Each client sends `size` bytes at once and gets them back, `rounds` times. */
static void echo_with_all(struct fixture *fixture, const int *fds, unsigned count, size_t size,
                          unsigned rounds)
{
    char *data = malloc(size);
    char *reply = malloc(size);

    for (unsigned round = 0; round < rounds; round++) {
        fixture_pattern_fill(data, round, size);
        for (unsigned i = 0; i < count; i++)
            fixture_write(fds[i], data, size);
        for (unsigned i = 0; i < count; i++) {
            cr_assert_eq(fixture_read(fixture, fds[i], reply, size), size);
            cr_assert_arr_eq(reply, data, size);
        }
    }
    free(data);
    free(reply);
}

static void serve_many(const struct stream_driver *driver, const struct stream_options *options,
                       unsigned count, size_t size, unsigned rounds)
{
    struct fixture *fixture = fixture_open(driver, options);
    int *fds = calloc(count, sizeof *fds);
    unsigned closed = 0;

    fixture->handle = handle_echo;
    fixture->arg = &closed;
    for (unsigned i = 0; i < count; i++) {
        fds[i] = fixture_connect_only(fixture);
        if (i % 100 == 0)
            fixture_until(fixture, &fixture->conns_count, i + 1);
    }
    fixture_until(fixture, &fixture->conns_count, count);
    echo_with_all(fixture, fds, count, size, rounds);
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
    fixture_until(fixture, &closed, count);
    free(fds);
    fixture_close(fixture);
}

DRIVER_TEST(serves_thousands_of_connections)
{
    serve_many(driver, NULL, CONNECTIONS, 100, 3);
}

DRIVER_TEST(gets_by_with_few_receive_buffers)
{
    struct stream_options options = {.connections_max = FIXTURE_CONNS_MAX,
                                     .may_sleep = true,
                                     .rx_buffers = 4,
                                     .rx_buffer_bytes = 512};

    serve_many(driver, &options, 200, 3000, 5);
}

/* A buffer is free again after the turn, whoever waits: idle and paused connections hold none. */
DRIVER_TEST(lets_paused_connections_hold_no_buffer)
{
    struct stream_options options = {.connections_max = FIXTURE_CONNS_MAX,
                                     .may_sleep = true,
                                     .rx_buffers = 4,
                                     .rx_buffer_bytes = 512};
    struct fixture *fixture = fixture_open(driver, &options);
    struct fixture_conn *seen[64];
    struct fixture_conn *last;
    char data[2000] = "";
    int fds[64];

    for (int i = 0; i < 64; i++) {
        fds[i] = fixture_connect(fixture, &seen[i]);
        driver->pause(fixture->stream, seen[i]->conn);
        fixture_write(fds[i], data, sizeof data);
    }
    int fd = fixture_connect(fixture, &last);
    fixture_write(fd, data, sizeof data);
    fixture_until_bytes(fixture, &last->bytes, sizeof data);
    for (int i = 0; i < 64; i++) {
        cr_assert_eq(seen[i]->bytes, 0);
        driver->resume(fixture->stream, seen[i]->conn);
    }
    for (int i = 0; i < 64; i++) {
        fixture_until_bytes(fixture, &seen[i]->bytes, sizeof data);
        close(fds[i]);
    }
    close(fd);
    fixture_close(fixture);
}

/* As handle_echo; the bytes of a client that has reset its connection since may come with the poll
 * that found it gone (Linux 6.1): then there is no room for a reply. */
static void handle_echo_if_there(struct fixture *fixture, const struct stream_event *event,
                                 struct fixture_conn *seen)
{
    size_t room;

    if (event->kind == STREAM_BYTES &&
        fixture->driver->reserve(fixture->stream, event->conn, event->len_bytes, &room) == NULL)
        return;
    handle_echo(fixture, event, seen);
}

DRIVER_TEST(survives_connections_that_come_and_go)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    unsigned closed = 0;

    fixture->handle = handle_echo_if_there;
    fixture->arg = &closed;
    for (unsigned i = 0; i < 1000; i++) {
        int fd = fixture_connect_only(fixture);
        if (i % 2 == 0)
            fixture_write(fd, "hello", 5);
        if (i % 3 == 0)
            shutdown(fd, SHUT_WR);
        if (i % 5 == 0)
            fixture_step(fixture, 0);
        if (i % 7 == 0)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(fd);
        if (i % 50 == 0)
            fixture_until(fixture, &fixture->conns_count, i + 1);
    }
    fixture_until(fixture, &closed, 1000);
    fixture_close(fixture);
}

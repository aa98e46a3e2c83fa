#include "tests/unit/drivers/stream_fixture.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/clock.h"
#include "drivers/listen.h"

void fixture_require(const struct stream_driver *driver)
{
    char error[STREAM_ERROR_MAX] = "";
    struct stream_options options = {.connections_max = 1, .error = error};
    struct stream *stream;
    int result = driver->create(&stream, &options);

    if (result == -EPERM || result == -ENOSYS)
        cr_skip_test("%s", error);
    cr_assert_eq(result, 0, "%s", error);
    driver->destroy(stream);
}

struct fixture *fixture_open(const struct stream_driver *driver,
                             const struct stream_options *options)
{
    struct stream_options usual = {.connections_max = FIXTURE_CONNS_MAX, .may_sleep = true};
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    char error[LISTEN_ERROR_MAX];

    cr_assert_not_null(fixture);
    fixture->driver = driver;
    cr_assert_eq(driver->create(&fixture->stream, options == NULL ? &usual : options), 0);
    int listener = listen_tcp("127.0.0.1", 0, 1024, error);
    cr_assert(listener >= 0, "%s", error);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    fixture->port = ntohs(address.sin_port);
    cr_assert_eq(driver->listen(fixture->stream, listener, FIXTURE_LISTENER, false), 0);
    return fixture;
}

void fixture_close(struct fixture *fixture)
{
    fixture->driver->destroy(fixture->stream);
    for (unsigned i = 0; i < fixture->conns_count; i++)
        free(fixture->conns[i].kept);
    free(fixture);
}

static void fixture_keep(struct fixture_conn *seen, const char *data, size_t len_bytes)
{
    if (seen->bytes < FIXTURE_KEPT_MAX) {
        size_t room = FIXTURE_KEPT_MAX - (size_t)seen->bytes;
        if (seen->kept == NULL)
            seen->kept = calloc(1, FIXTURE_KEPT_MAX);
        cr_assert_not_null(seen->kept);
        memcpy(seen->kept + seen->bytes, data, len_bytes < room ? len_bytes : room);
    }
    seen->bytes += len_bytes;
}

static void fixture_write_down(struct fixture *fixture, const struct stream_event *event)
{
    if (event->kind == STREAM_HANDED) {
        cr_assert(fixture->handed_count < 64);
        fixture->handed[fixture->handed_count++] = event->fd;
        return;
    }
    if (event->kind == STREAM_ACCEPTED) {
        cr_assert(fixture->conns_count < FIXTURE_CONNS_MAX);
        cr_assert_null(event->conn->user);
        event->conn->user = &fixture->conns[fixture->conns_count++];
    }
    struct fixture_conn *seen = event->conn->user;
    cr_assert_not_null(seen, "an event before STREAM_ACCEPTED");
    cr_assert_eq(seen->closed, 0, "an event after STREAM_CLOSED");
    switch (event->kind) {
    case STREAM_ACCEPTED:
        seen->conn = event->conn;
        seen->accepted++;
        break;
    case STREAM_BYTES:
        cr_assert_eq(seen->ended, 0, "bytes after STREAM_END");
        cr_assert(event->len_bytes > 0);
        fixture_keep(seen, event->data, event->len_bytes);
        break;
    case STREAM_END:
        seen->ended++;
        break;
    case STREAM_DRAINED:
        seen->drained++;
        break;
    default:
        seen->closed++;
        seen->error = event->error;
        seen->conn = NULL;
    }
}

int fixture_step(struct fixture *fixture, int64_t timeout_us)
{
    struct stream_event events[STREAM_EVENTS_MAX];
    int count = fixture->driver->poll(fixture->stream, events, STREAM_EVENTS_MAX, timeout_us);

    cr_assert(count >= 0, "poll: %s", strerror(-count));
    for (int i = 0; i < count; i++) {
        struct fixture_conn *seen = events[i].kind == STREAM_HANDED ? NULL : events[i].conn->user;
        fixture_write_down(fixture, &events[i]);
        fixture->events++;
        if (events[i].kind == STREAM_ACCEPTED)
            seen = events[i].conn->user;
        if (fixture->handle != NULL)
            fixture->handle(fixture, &events[i], seen);
    }
    return count;
}

void fixture_until(struct fixture *fixture, const unsigned *counter, unsigned wanted)
{
    uint64_t end_us = clock_now_us() + FIXTURE_DEADLINE_US;

    while (*counter < wanted) {
        cr_assert(clock_now_us() < end_us, "%u of %u after the deadline", *counter, wanted);
        fixture_step(fixture, 10000);
    }
}

void fixture_until_bytes(struct fixture *fixture, const uint64_t *counter, uint64_t wanted)
{
    uint64_t end_us = clock_now_us() + FIXTURE_DEADLINE_US;

    while (*counter < wanted) {
        cr_assert(clock_now_us() < end_us, "%llu of %llu bytes after the deadline",
                  (unsigned long long)*counter, (unsigned long long)wanted);
        fixture_step(fixture, 10000);
    }
}

void fixture_for(struct fixture *fixture, uint64_t time_us)
{
    uint64_t end_us = clock_now_us() + time_us;

    while (clock_now_us() < end_us)
        fixture_step(fixture, 1000);
}

int fixture_connect_only(const struct fixture *fixture)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(fixture->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert(fd >= 0, "%s", strerror(errno));
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0, "%s",
                 strerror(errno));
    return fd;
}

int fixture_connect(struct fixture *fixture, struct fixture_conn **seen)
{
    unsigned before = fixture->conns_count;
    int fd = fixture_connect_only(fixture);

    fixture_until(fixture, &fixture->conns_count, before + 1);
    *seen = &fixture->conns[before];
    return fd;
}

int fixture_adopt(struct fixture *fixture, struct fixture_conn **seen)
{
    unsigned before = fixture->conns_count;
    int ends[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    cr_assert_eq(fixture->driver->adopt(fixture->stream, ends[1], FIXTURE_LISTENER), 0);
    fixture_until(fixture, &fixture->conns_count, before + 1);
    *seen = &fixture->conns[before];
    return ends[0];
}

void fixture_send(struct fixture *fixture, struct fixture_conn *seen, const char *data,
                  size_t len_bytes)
{
    while (len_bytes > 0) {
        size_t part = len_bytes < STREAM_RESERVE_MAX ? len_bytes : STREAM_RESERVE_MAX;
        size_t room;
        char *memory = fixture->driver->reserve(fixture->stream, seen->conn, part, &room);

        cr_assert_not_null(memory);
        cr_assert(room >= part);
        memcpy(memory, data, part);
        fixture->driver->commit(fixture->stream, seen->conn, part);
        data += part;
        len_bytes -= part;
    }
}

void fixture_write(int fd, const char *data, size_t len_bytes)
{
    while (len_bytes > 0) {
        ssize_t written = send(fd, data, len_bytes, MSG_NOSIGNAL);
        cr_assert(written > 0, "write: %s", strerror(errno));
        data += written;
        len_bytes -= (size_t)written;
    }
}

size_t fixture_read(struct fixture *fixture, int fd, char *data, size_t len_bytes)
{
    uint64_t end_us = clock_now_us() + FIXTURE_DEADLINE_US;
    size_t got = 0;

    while (got < len_bytes) {
        cr_assert(clock_now_us() < end_us, "%zu of %zu bytes after the deadline", got, len_bytes);
        ssize_t result = recv(fd, data + got, len_bytes - got, MSG_DONTWAIT);
        if (result == 0 || (result < 0 && errno == ECONNRESET))
            return got;
        if (result > 0)
            got += (size_t)result;
        else
            fixture_step(fixture, 1000);
    }
    return got;
}

void fixture_pattern_fill(char *data, uint64_t position, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i++)
        data[i] = fixture_pattern(position + i);
}

bool fixture_pattern_equals(const char *data, uint64_t position, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i++) {
        if (data[i] != fixture_pattern(position + i))
            return false;
    }
    return true;
}

/* The stream drivers: what one connection goes through. */
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/clock.h"
#include "drivers/epoll/stream_epoll.h"
#include "drivers/listen.h"
#include "drivers/uring/stream_uring.h"
#include "tests/unit/drivers/stream_fixture.h"

static void handle_echo(struct fixture *fixture, const struct stream_event *event,
                        struct fixture_conn *seen)
{
    if (event->kind == STREAM_BYTES)
        fixture_send(fixture, seen, event->data, event->len_bytes);
}

/* The client's end is closed: the connection must end too. */
static void expect_closed(struct fixture *fixture, struct fixture_conn *seen)
{
    fixture_until(fixture, &seen->closed, 1);
    fixture_for(fixture, 5000);
    cr_assert_eq(seen->closed, 1);
}

Test(stream, finds_drivers_by_name)
{
    cr_assert_eq(stream_driver_find("uring"), &stream_uring);
    cr_assert_eq(stream_driver_find("epoll"), &stream_epoll);
    cr_assert_null(stream_driver_find("carrier-pigeon"));
}

DRIVER_TEST(echoes)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    struct fixture_conn *seen;
    char reply[5];
    int fd = fixture_connect(fixture, &seen);

    fixture->handle = handle_echo;
    for (int round = 0; round < 100; round++) {
        fixture_write(fd, "hello", 5);
        cr_assert_eq(fixture_read(fixture, fd, reply, 5), 5);
        cr_assert_arr_eq(reply, "hello", 5);
    }
    cr_assert_eq(seen->bytes, 500);
    fixture_step(fixture, 1000);
    cr_assert_eq(seen->conn->pending_bytes, 0);
    const struct stream_counters *counters = driver->counters(fixture->stream);
    cr_assert_eq(counters->rx_bytes, 500);
    cr_assert_eq(counters->tx_bytes, 500);
    cr_assert_eq(counters->accepted, 1);
    close(fd);
    fixture_close(fixture);
}

DRIVER_TEST(delivers_bytes_in_order_however_they_are_cut)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    struct fixture_conn *seen;
    char data[40000];
    uint64_t sent = 0;
    int fd = fixture_adopt(fixture, &seen);

    fixture_pattern_fill(data, 0, sizeof data);
    for (size_t part = 1; sent + part <= sizeof data; part = part * 3 / 2 + 1) {
        fixture_write(fd, data + sent, part);
        sent += part;
        if (part & 1)
            fixture_step(fixture, 0);
    }
    fixture_until_bytes(fixture, &seen->bytes, sent);
    cr_assert(fixture_pattern_equals(seen->kept, 0, sent));
    close(fd);
    fixture_close(fixture);
}

DRIVER_TEST(tells_addresses)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    struct fixture_conn *seen;
    char text[STREAM_ADDRESS_TEXT_MAX];
    char expected[STREAM_ADDRESS_TEXT_MAX];
    int fd = fixture_connect(fixture, &seen);

    cr_assert_eq(seen->conn->listener_id, FIXTURE_LISTENER);
    cr_assert_eq(driver->local(seen->conn, text), 0);
    snprintf(expected, sizeof expected, "127.0.0.1:%u", fixture->port);
    cr_assert_str_eq(text, expected);
    cr_assert_eq(driver->peer(seen->conn, text), 0);
    cr_assert_eq(strncmp(text, "127.0.0.1:", 10), 0);
    cr_assert(driver->is_loopback(seen->conn));
    close(fd);
    fd = fixture_adopt(fixture, &seen);
    cr_assert(driver->is_loopback(seen->conn));
    cr_assert_eq(driver->peer(seen->conn, text), 0);
    cr_assert_str_eq(text, ":0");
    close(fd);
    fixture_close(fixture);
}

static int option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t length = sizeof value;

    cr_assert_eq(getsockopt(fd, level, option, &value, &length), 0);
    return value;
}

DRIVER_TEST(sets_the_options_of_connections)
{
    struct stream_options options = {.connections_max = 4, .may_sleep = true, .keepalive_s = 300};
    struct fixture *fixture = fixture_open(driver, &options);
    struct fixture_conn *seen;
    int fd = fixture_connect(fixture, &seen);

    cr_assert_eq(option_of(seen->conn->fd, IPPROTO_TCP, TCP_NODELAY), 1);
    cr_assert_eq(option_of(seen->conn->fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    cr_assert_eq(option_of(seen->conn->fd, IPPROTO_TCP, TCP_KEEPIDLE), 300);
    cr_assert_eq(option_of(seen->conn->fd, IPPROTO_TCP, TCP_KEEPINTVL), 100);
    close(fd);
    fixture_close(fixture);
}

DRIVER_TEST(sends_after_the_peer_has_half_closed)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    struct fixture_conn *seen;
    char reply[16];
    int fd = fixture_connect(fixture, &seen);

    fixture_write(fd, "last words", 10);
    shutdown(fd, SHUT_WR);
    fixture_until(fixture, &seen->ended, 1);
    cr_assert_eq(seen->bytes, 10);
    fixture_send(fixture, seen, "goodbye", 7);
    cr_assert_eq(fixture_read(fixture, fd, reply, 7), 7);
    fixture_for(fixture, 5000);
    cr_assert_eq(seen->ended, 1);
    cr_assert_eq(seen->closed, 0);
    driver->close(fixture->stream, seen->conn, STREAM_CLOSE_FLUSH);
    expect_closed(fixture, seen);
    cr_assert_eq(recv(fd, reply, sizeof reply, 0), 0);
    close(fd);
    fixture_close(fixture);
}

DRIVER_TEST(tells_of_a_reset)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    for (int paused = 0; paused < 2; paused++) {
        struct fixture_conn *seen;
        int fd = fixture_connect(fixture, &seen);
        if (paused)
            driver->pause(fixture->stream, seen->conn);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(fd);
        expect_closed(fixture, seen);
        cr_assert_eq(seen->error, ECONNRESET);
    }
    fixture_close(fixture);
}

DRIVER_TEST(ends_a_connection_whose_peer_is_gone_when_it_sends)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    struct fixture_conn *seen;
    int fd = fixture_adopt(fixture, &seen);

    close(fd);
    fixture_until(fixture, &seen->ended, 1);
    fixture_send(fixture, seen, "anyone?", 7);
    expect_closed(fixture, seen);
    cr_assert_eq(seen->error, EPIPE);
    fixture_close(fixture);
}

DRIVER_TEST(flushes_before_it_closes)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    struct fixture_conn *seen;
    const size_t size = 8 << 20; /* more than the sockets take at once */
    char *data = malloc(size);
    char *got = malloc(size + 1);
    int fd = fixture_connect(fixture, &seen);

    fixture_pattern_fill(data, 0, size);
    fixture_send(fixture, seen, data, size);
    driver->close(fixture->stream, seen->conn, STREAM_CLOSE_FLUSH);
    fixture_write(fd, "too late", 8);
    fixture_for(fixture, 5000);
    cr_assert_eq(seen->bytes, 0);
    cr_assert_eq(seen->closed, 0);
    cr_assert_gt(seen->conn->pending_bytes, 0);
    cr_assert_eq(fixture_read(fixture, fd, got, size), size);
    cr_assert_arr_eq(got, data, size);
    expect_closed(fixture, seen);
    cr_assert_eq(seen->error, 0);
    close(fd);
    free(data);
    free(got);
    fixture_close(fixture);
}

DRIVER_TEST(drops_output_when_it_closes_at_once)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    const size_t size = 8 << 20;
    char *data = calloc(1, size);

    for (int flushing = 0; flushing < 2; flushing++) {
        struct fixture_conn *seen;
        int fd = fixture_connect(fixture, &seen);
        fixture_send(fixture, seen, data, size);
        fixture_for(fixture, 5000);
        if (flushing)
            driver->close(fixture->stream, seen->conn, STREAM_CLOSE_FLUSH);
        fixture_step(fixture, 0);
        driver->close(fixture->stream, seen->conn, STREAM_CLOSE_NOW);
        driver->close(fixture->stream, seen->conn, STREAM_CLOSE_NOW);
        expect_closed(fixture, seen);
        cr_assert_lt(fixture_read(fixture, fd, data, size), size);
        close(fd);
    }
    free(data);
    fixture_close(fixture);
}

/* Bytes and a reset that are both there before anything is read: the bytes come, and the end. */
DRIVER_TEST(notices_a_reset_behind_unread_bytes)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    struct fixture *fixture = fixture_open(driver, NULL);
    struct fixture_conn *seen[32];
    int fds[32];

    for (int i = 0; i < 32; i++) {
        fds[i] = fixture_connect(fixture, &seen[i]);
        if (i & 1)
            fixture_for(fixture, 1000); /* the receive is with the kernel by now */
        fixture_write(fds[i], "some bytes", 10);
        cr_assert_eq(setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
        close(fds[i]);
    }
    for (int i = 0; i < 32; i++) {
        uint64_t end_us = clock_now_us() + FIXTURE_DEADLINE_US;
        while (seen[i]->ended + seen[i]->closed == 0) {
            cr_assert(clock_now_us() < end_us, "no end of connection %d", i);
            fixture_step(fixture, 10000);
        }
    }
    fixture_close(fixture);
}

enum { STATES = 64 };

/* Brings a connection into one of many states and closes it there. */
static void close_in_state(struct fixture *fixture, unsigned state)
{
    const struct stream_driver *driver = fixture->driver;
    struct stream *stream = fixture->stream;
    struct fixture_conn *seen;
    int fd = state & 1 ? fixture_connect(fixture, &seen) : fixture_adopt(fixture, &seen);

    if (state & 2)
        driver->pause(stream, seen->conn);
    if (state & 4)
        fixture_write(fd, "some bytes", 10);
    if (state & 8)
        shutdown(fd, SHUT_WR);
    if (state & 16)
        fixture_for(fixture, 500);
    if ((state & 32) && seen->conn != NULL)
        fixture_send(fixture, seen, "output", 6);
    enum stream_close how = state % 3 ? STREAM_CLOSE_FLUSH : STREAM_CLOSE_NOW;
    driver->close(stream, seen->conn, how);
    driver->resume(stream, seen->conn);
    driver->pause(stream, seen->conn);
    driver->notify_drained(stream, seen->conn);
    if (state & 16)
        driver->close(stream, seen->conn, STREAM_CLOSE_NOW);
    fixture_until(fixture, &seen->closed, 1);
    cr_assert_eq(seen->drained, 0);
    close(fd);
}

DRIVER_TEST(closes_in_every_state)
{
    struct fixture *fixture = fixture_open(driver, NULL);

    for (unsigned state = 0; state < STATES; state++)
        close_in_state(fixture, state);
    fixture_close(fixture);
}

/* Closes all other connections from within a batch that may hold events of them. */
static void handle_massacre(struct fixture *fixture, const struct stream_event *event,
                            struct fixture_conn *seen)
{
    if (event->kind != STREAM_BYTES)
        return;
    for (unsigned i = 0; i < fixture->conns_count; i++) {
        struct fixture_conn *other = &fixture->conns[i];
        if (other != seen && other->conn != NULL)
            fixture->driver->close(fixture->stream, other->conn, STREAM_CLOSE_NOW);
    }
}

DRIVER_TEST(survives_closing_connections_that_have_events_in_the_same_batch)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    struct fixture_conn *seen[16];
    int fds[16];

    for (int i = 0; i < 16; i++)
        fds[i] = fixture_connect(fixture, &seen[i]);
    for (int i = 0; i < 16; i++)
        fixture_write(fds[i], "x", 1);
    fixture->handle = handle_massacre;
    unsigned closed = 0;
    uint64_t end_us = clock_now_us() + FIXTURE_DEADLINE_US;
    while (closed < 15 && clock_now_us() < end_us) {
        fixture_step(fixture, 1000);
        closed = 0;
        for (int i = 0; i < 16; i++)
            closed += seen[i]->closed;
    }
    cr_assert_geq(closed, 15);
    for (int i = 0; i < 16; i++)
        close(fds[i]);
    fixture_close(fixture);
}

static void count_release(void *arg)
{
    (*(unsigned *)arg)++;
}

DRIVER_TEST(appends_memory_between_replies_and_releases_it)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    struct fixture_conn *seen;
    const size_t size = 3 << 20;
    char *data = malloc(size);
    char *got = malloc(size + 8);
    unsigned released = 0;
    int fd = fixture_connect(fixture, &seen);

    fixture_pattern_fill(data, 0, size);
    fixture_send(fixture, seen, "head", 4);
    cr_assert_eq(driver->append(fixture->stream, seen->conn, data, size, count_release, &released),
                 0);
    cr_assert_eq(driver->append(fixture->stream, seen->conn, data, 0, count_release, &released), 0);
    fixture_send(fixture, seen, "tail", 4);
    cr_assert_eq(seen->conn->pending_bytes, size + 8);
    cr_assert_eq(fixture_read(fixture, fd, got, size + 8), size + 8);
    cr_assert_arr_eq(got, "head", 4);
    cr_assert(fixture_pattern_equals(got + 4, 0, size));
    cr_assert_arr_eq(got + 4 + size, "tail", 4);
    fixture_until(fixture, &released, 2);
    close(fd);
    free(data);
    free(got);
    fixture_close(fixture);
}

DRIVER_TEST(releases_what_it_drops)
{
    static const char data[1000];
    struct fixture *fixture = fixture_open(driver, NULL);
    struct fixture_conn *seen;
    unsigned released = 0;

    for (unsigned i = 0; i < 2; i++) {
        int fd = fixture_connect(fixture, &seen);
        for (int k = 0; k < 10000; k++)
            cr_assert_eq(driver->append(fixture->stream, seen->conn, data, sizeof data,
                                        count_release, &released),
                         0);
        fixture_for(fixture, 5000);
        if (i == 0)
            driver->close(fixture->stream, seen->conn, STREAM_CLOSE_NOW);
        else
            fixture_close(fixture);
        if (i == 0)
            fixture_until(fixture, &seen->closed, 1);
        cr_assert_eq(released, 10000 * (i + 1));
        close(fd);
    }
}

DRIVER_TEST(counts_pending_bytes_exactly)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    const struct stream_counters *counters = driver->counters(fixture->stream);
    struct fixture_conn *seen;
    char data[5000] = "";
    uint64_t committed = 0;
    size_t room;
    int fd = fixture_connect(fixture, &seen);

    for (int i = 0; i < 4000; i++) {
        fixture_send(fixture, seen, data, (size_t)i + 1);
        committed += (size_t)i + 1;
        if (i % 3 == 0) /* a reservation that comes to nothing */
            cr_assert_not_null(driver->reserve(fixture->stream, seen->conn, 16000, &room));
        if (i % 7 == 0)
            fixture_step(fixture, 0);
        cr_assert_eq(seen->conn->pending_bytes + counters->tx_bytes, committed);
    }
    for (uint64_t got = 0; got < committed; got += sizeof data) {
        size_t part = committed - got < sizeof data ? committed - got : sizeof data;
        cr_assert_eq(fixture_read(fixture, fd, data, part), part);
    }
    fixture_for(fixture, 1000);
    cr_assert_eq(seen->conn->pending_bytes, 0);
    close(fd);
    fixture_close(fixture);
}

DRIVER_TEST(tells_once_when_all_is_sent)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    struct fixture_conn *seen;
    const size_t size = 8 << 20;
    char *data = calloc(1, size);
    int fd = fixture_connect(fixture, &seen);

    driver->notify_drained(fixture->stream, seen->conn);
    fixture_until(fixture, &seen->drained, 1);
    fixture_send(fixture, seen, data, size);
    driver->notify_drained(fixture->stream, seen->conn);
    fixture_for(fixture, 5000);
    cr_assert_eq(seen->drained, 1);
    cr_assert_eq(fixture_read(fixture, fd, data, size), size);
    fixture_until(fixture, &seen->drained, 2);
    cr_assert_eq(seen->conn->pending_bytes, 0);
    fixture_send(fixture, seen, data, 1);
    fixture_for(fixture, 2000);
    cr_assert_eq(seen->drained, 2);
    close(fd);
    free(data);
    fixture_close(fixture);
}

DRIVER_TEST(delivers_nothing_while_paused)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    struct fixture_conn *seen;
    char data[FIXTURE_KEPT_MAX];
    int fd = fixture_connect(fixture, &seen);

    fixture_pattern_fill(data, 0, sizeof data);
    for (size_t round = 0; round < 8; round++) {
        size_t sent = round * 8000;
        driver->pause(fixture->stream, seen->conn);
        fixture_write(fd, data + sent, 4000);
        fixture_for(fixture, 1000);
        cr_assert_eq(seen->bytes, sent);
        fixture_write(fd, data + sent + 4000, 4000);
        if (round & 1)
            fixture_for(fixture, 1000);
        cr_assert_eq(seen->bytes, sent);
        driver->resume(fixture->stream, seen->conn);
        if (round & 2) {
            driver->pause(fixture->stream, seen->conn);
            driver->resume(fixture->stream, seen->conn);
        }
        fixture_until_bytes(fixture, &seen->bytes, sent + 8000);
    }
    driver->pause(fixture->stream, seen->conn);
    fixture_write(fd, data + 64000, 1000);
    shutdown(fd, SHUT_WR);
    fixture_for(fixture, 1000);
    driver->resume(fixture->stream, seen->conn);
    fixture_until(fixture, &seen->ended, 1);
    cr_assert_eq(seen->bytes, 65000);
    cr_assert(fixture_pattern_equals(seen->kept, 0, 65000));
    close(fd);
    fixture_close(fixture);
}

DRIVER_TEST(leaves_bytes_in_the_kernel_while_paused)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    struct fixture_conn *seen;
    const struct stream_counters *counters = driver->counters(fixture->stream);
    char *data = calloc(1, 1 << 20);
    uint64_t written = 0;
    int fd = fixture_connect(fixture, &seen);

    driver->pause(fixture->stream, seen->conn);
    fixture_write(fd, "first", 5);
    fixture_for(fixture, 2000);
    uint64_t end_us = clock_now_us() + 200000;
    while (clock_now_us() < end_us) {
        ssize_t result = send(fd, data, 1 << 20, MSG_DONTWAIT | MSG_NOSIGNAL);
        written += result > 0 ? (uint64_t)result : 0;
        fixture_step(fixture, 1000);
    }
    cr_assert_gt(written, 100000);
    cr_assert_leq(counters->rx_bytes, STREAM_RX_BUFFER_BYTES);
    driver->resume(fixture->stream, seen->conn);
    fixture_until_bytes(fixture, &seen->bytes, written + 5);
    close(fd);
    free(data);
    fixture_close(fixture);
}

DRIVER_TEST(stops_listening)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    struct fixture_conn *seen;
    char byte;
    int fd = fixture_connect(fixture, &seen);

    cr_assert_eq(driver->unlisten(fixture->stream, FIXTURE_LISTENER), 0);
    cr_assert_eq(driver->unlisten(fixture->stream, FIXTURE_LISTENER), -ENOENT);
    fixture_for(fixture, 5000);
    struct fixture again = {.port = fixture->port};
    char error[LISTEN_ERROR_MAX];
    cr_assert_eq(listen_probe("127.0.0.1", fixture->port, error), 0, "%s", error);
    int listener = listen_tcp("127.0.0.1", fixture->port, 16, error);
    cr_assert(listener >= 0, "%s", error);
    cr_assert_eq(driver->listen(fixture->stream, listener, 8, false), 0);
    int second = fixture_connect_only(&again);
    fixture_until(fixture, &fixture->conns_count, 2);
    cr_assert_eq(fixture->conns[1].conn->listener_id, 8);
    fixture_send(fixture, seen, "x", 1);
    cr_assert_eq(fixture_read(fixture, fd, &byte, 1), 1);
    close(fd);
    close(second);
    fixture_close(fixture);
}

DRIVER_TEST(hands_connections_of_a_unix_socket_to_another_stream)
{
    struct fixture *acceptor = fixture_open(driver, NULL);
    struct fixture *worker = fixture_open(driver, NULL);
    char path[64];
    char expected[80];
    char error[LISTEN_ERROR_MAX];
    char text[STREAM_ADDRESS_TEXT_MAX];
    char reply[4];

    snprintf(path, sizeof path, "/tmp/pollux-test-%d.sock", (int)getpid());
    int listener = listen_unix(path, 0700, 16, error);
    cr_assert(listener >= 0, "%s", error);
    cr_assert_eq(driver->listen(acceptor->stream, listener, 9, true), 0);
    for (unsigned i = 0; i < 3; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        struct sockaddr_storage address;
        socklen_t length = sizeof address;
        getsockname(listener, (struct sockaddr *)&address, &length);
        cr_assert_eq(connect(fd, (struct sockaddr *)&address, length), 0);
        fixture_until(acceptor, &acceptor->handed_count, i + 1);
        cr_assert_eq(driver->adopt(worker->stream, acceptor->handed[i], 9), 0);
        fixture_until(worker, &worker->conns_count, i + 1);
        worker->handle = handle_echo;
        fixture_write(fd, "ping", 4);
        cr_assert_eq(fixture_read(worker, fd, reply, 4), 4);
        cr_assert_eq(driver->peer(worker->conns[i].conn, text), 0);
        snprintf(expected, sizeof expected, "%s:0", path);
        cr_assert_str_eq(text, expected);
        close(fd);
    }
    cr_assert_eq(acceptor->conns_count, 0);
    unlink(path);
    fixture_close(acceptor);
    fixture_close(worker);
}

DRIVER_TEST(keeps_time)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    uint64_t start_us = clock_now_us();

    cr_assert_eq(fixture_step(fixture, 0), 0);
    cr_assert_lt(clock_now_us() - start_us, 1000000);
    start_us = clock_now_us();
    cr_assert_eq(fixture_step(fixture, 30000), 0);
    cr_assert_geq(clock_now_us() - start_us, 30000);
    fixture_close(fixture);
}

DRIVER_TEST(does_not_sleep_when_it_may_not)
{
    struct stream_options options = {.connections_max = 4, .may_sleep = false};
    struct fixture *fixture = fixture_open(driver, &options);

    cr_assert_eq(fixture_step(fixture, -1), 0); /* would hang */
    fixture_close(fixture);
}

DRIVER_TEST(gives_one_event_at_a_time_when_asked)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    struct stream_event event;
    unsigned accepted = 0;
    int fds[8];

    for (int i = 0; i < 8; i++)
        fds[i] = fixture_connect_only(fixture);
    uint64_t end_us = clock_now_us() + FIXTURE_DEADLINE_US;
    while (accepted < 8 && clock_now_us() < end_us) {
        int count = driver->poll(fixture->stream, &event, 1, 1000);
        cr_assert(count == 0 || count == 1);
        accepted += count == 1 && event.kind == STREAM_ACCEPTED;
    }
    cr_assert_eq(accepted, 8);
    for (int i = 0; i < 8; i++)
        close(fds[i]);
    fixture_close(fixture);
}

DRIVER_TEST(turns_away_connections_past_its_bound)
{
    struct stream_options options = {.connections_max = 2, .may_sleep = true};
    struct fixture *fixture = fixture_open(driver, &options);
    const struct stream_counters *counters = driver->counters(fixture->stream);
    struct fixture_conn *seen;
    char byte;
    int first = fixture_connect(fixture, &seen);
    int second = fixture_connect(fixture, &seen);
    int third = fixture_connect_only(fixture);

    cr_assert_eq(fixture_read(fixture, third, &byte, 1), 0);
    cr_assert_eq(counters->accept_errors, 1);
    driver->close(fixture->stream, seen->conn, STREAM_CLOSE_NOW);
    fixture_until(fixture, &seen->closed, 1);
    int fourth = fixture_connect(fixture, &seen);
    close(first);
    close(second);
    close(third);
    close(fourth);
    fixture_close(fixture);
}

/* The lowest limit at which no further descriptor can be made. */
static void forbid_descriptors(struct rlimit *before)
{
    int next = dup(0);

    close(next);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, before), 0);
    struct rlimit limit = {.rlim_cur = (rlim_t)next, .rlim_max = before->rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

DRIVER_TEST(rests_when_descriptors_run_out)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    const struct stream_counters *counters = driver->counters(fixture->stream);
    struct rlimit before;
    unsigned polls = 0;
    int first = fixture_connect_only(fixture);
    int second = fixture_connect_only(fixture);

    /* io_uring keeps the limit as it was when the accept was queued: that is at the first poll. */
    forbid_descriptors(&before);
    uint64_t end_us = clock_now_us() + 350000;
    while (clock_now_us() < end_us) {
        fixture_step(fixture, 50000);
        polls++;
    }
    setrlimit(RLIMIT_NOFILE, &before);
    cr_assert_geq(counters->accept_errors, 2);
    cr_assert_leq(counters->accept_errors, 5);
    cr_assert_leq(polls, 40);
    cr_assert_eq(fixture->conns_count, 0);
    fixture_until(fixture, &fixture->conns_count, 2);
    close(first);
    close(second);
    fixture_close(fixture);
}

DRIVER_TEST(destroys_with_everything_open)
{
    struct fixture *fixture = fixture_open(driver, NULL);
    char *data = calloc(1, 8 << 20);
    int fds[20];

    for (int i = 0; i < 20; i++) {
        struct fixture_conn *seen;
        fds[i] = i & 1 ? fixture_connect(fixture, &seen) : fixture_adopt(fixture, &seen);
        fixture_write(fds[i], "x", 1);
        if (i % 3 == 0)
            fixture_send(fixture, seen, data, 8 << 20);
        if (i % 4 == 0)
            driver->pause(fixture->stream, seen->conn);
        if (i % 5 == 0)
            fixture_step(fixture, 0);
        if (i % 7 == 0)
            driver->close(fixture->stream, seen->conn, STREAM_CLOSE_FLUSH);
    }
    int unaccepted = fixture_connect_only(fixture);
    fixture_close(fixture);
    for (int i = 0; i < 20; i++) {
        ssize_t got;
        while ((got = recv(fds[i], data, 8 << 20, 0)) > 0)
            continue;
        cr_assert(got == 0 || errno == ECONNRESET);
        close(fds[i]);
    }
    close(unaccepted);
    free(data);
}

DRIVER_TEST(destroys_what_was_never_polled)
{
    struct stream_options options = {.connections_max = 4, .may_sleep = true};
    struct stream *stream;
    int ends[2];
    char byte;

    cr_assert_eq(driver->create(&stream, &options), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    cr_assert_eq(driver->adopt(stream, ends[1], 1), 0);
    driver->destroy(stream);
    cr_assert_eq(recv(ends[0], &byte, 1, 0), 0);
    close(ends[0]);
}

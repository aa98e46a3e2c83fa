/* Echo server over drivers/stream.h, and the same as a bare epoll loop to measure against.
 * Usage: bench_stream_echo uring|epoll|bare <port>
 * Ends on SIGTERM or SIGINT and then prints what it served; CPU time is read by the load program
 * (bench_stream_load) from /proc. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/listen.h"
#include "drivers/stream.h"

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    stop = number;
}

static void echo(const struct stream_driver *driver, struct stream *stream,
                 const struct stream_event *event)
{
    size_t left_bytes = event->len_bytes;
    const char *data = event->data;

    while (left_bytes > 0) {
        size_t part_bytes = left_bytes < STREAM_RESERVE_MAX ? left_bytes : STREAM_RESERVE_MAX;
        size_t room_bytes;
        char *room = driver->reserve(stream, event->conn, part_bytes, &room_bytes);
        if (room == NULL) {
            driver->close(stream, event->conn, STREAM_CLOSE_NOW);
            return;
        }
        memcpy(room, data, part_bytes);
        driver->commit(stream, event->conn, part_bytes);
        data += part_bytes;
        left_bytes -= part_bytes;
    }
}

static int serve(const struct stream_driver *driver, int listener)
{
    char error[STREAM_ERROR_MAX] = "";
    struct stream_options options = {.connections_max = 20000, .may_sleep = true, .error = error};
    struct stream_event events[STREAM_EVENTS_MAX];
    struct stream *stream;
    unsigned long long polls = 0;
    unsigned long long handled = 0;
    int result = driver->create(&stream, &options);

    if (result < 0) {
        fprintf(stderr, "create: %s (%s)\n", strerror(-result), error);
        return 1;
    }
    result = driver->listen(stream, listener, 1, false);
    while (!stop && result >= 0) {
        result = driver->poll(stream, events, STREAM_EVENTS_MAX, -1);
        for (int i = 0; i < result; i++) {
            if (events[i].kind == STREAM_BYTES)
                echo(driver, stream, &events[i]);
            else if (events[i].kind == STREAM_END)
                driver->close(stream, events[i].conn, STREAM_CLOSE_FLUSH);
        }
        polls++;
        handled += result > 0 ? (unsigned)result : 0;
    }
    const struct stream_counters *counters = driver->counters(stream);
    printf("polls %llu events %llu (%.1f a poll) sends %llu no buffer %llu\n", polls, handled,
           (double)handled / (double)polls, (unsigned long long)counters->tx_calls,
           (unsigned long long)counters->rx_nobufs);
    driver->destroy(stream);
    if (result < 0)
        fprintf(stderr, "poll: %s\n", strerror(-result));
    return result < 0;
}

static void bare_accept(int epoll_fd, int listener)
{
    int on = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct epoll_event watch = {.events = EPOLLIN, .data.fd = fd};

    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &watch);
}

/* What any event loop does at least: epoll_wait, read, write. */
static int serve_bare(int listener)
{
    static char buffer[65536];
    struct epoll_event events[1024];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event watch = {.events = EPOLLIN, .data.fd = listener};

    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &watch);
    while (!stop) {
        int count = epoll_wait(epoll_fd, events, 1024, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                bare_accept(epoll_fd, listener);
                continue;
            }
            ssize_t length = read(fd, buffer, sizeof buffer);
            if (length <= 0 || write(fd, buffer, (size_t)length) != length)
                close(fd);
        }
    }
    close(epoll_fd);
    return 0;
}

int main(int argc, char **argv)
{
    char error[LISTEN_ERROR_MAX];
    struct sigaction action = {.sa_handler = on_signal};

    if (argc != 3) {
        fprintf(stderr, "usage: %s uring|epoll|bare <port>\n", argv[0]);
        return 2;
    }
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    int listener = listen_tcp("127.0.0.1", (uint16_t)atoi(argv[2]), 511, error);
    if (listener < 0) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    if (strcmp(argv[1], "bare") == 0)
        return serve_bare(listener);
    const struct stream_driver *driver = stream_driver_find(argv[1]);
    if (driver == NULL) {
        fprintf(stderr, "no driver %s\n", argv[1]);
        return 2;
    }
    return serve(driver, listener);
}

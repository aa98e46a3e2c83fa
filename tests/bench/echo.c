/* pollux-echo: sends back what it receives, with epoll and nothing else.
 * Purpose:   the ceiling that a server of kernel sockets nears when its own work costs nothing.
 *            A RESP command sent back is a RESP reply, so pollux-load can drive it.
 * Ownership: the process owns its sockets until it is killed.
 * Threading: one thread.
 * Errors:    what fails at the start ends the program; a connection that fails is closed. Sending
 *            blocks, so a client that does not read stalls everybody: no program to serve with. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ECHO_BYTES = 64 << 10, ECHO_EVENTS_MAX = 256, ECHO_BACKLOG = 511 };

static int echo_listen(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, ECHO_BACKLOG) < 0) {
        perror("pollux-echo: listen");
        exit(1);
    }
    return fd;
}

static void echo_accept(int epoll_fd, int listener)
{
    struct epoll_event event = {.events = EPOLLIN};
    int one = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    event.data.fd = fd;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        close(fd);
}

static void echo_back(int fd, char *buffer)
{
    ssize_t got = recv(fd, buffer, ECHO_BYTES, MSG_DONTWAIT);

    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0 || send(fd, buffer, (size_t)got, MSG_NOSIGNAL) != got)
        close(fd);
}

int main(int argc, char **argv)
{
    struct epoll_event events[ECHO_EVENTS_MAX];
    struct rlimit limit;
    char *end = NULL;
    unsigned long port = argc == 2 ? strtoul(argv[1], &end, 10) : 0;

    if (port == 0 || port > 65535 || *end != '\0') {
        fputs("usage: pollux-echo PORT\n", stderr);
        return 1;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    int listener = echo_listen((uint16_t)port);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    char *buffer = malloc(ECHO_BYTES);
    if (epoll_fd < 0 || buffer == NULL ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0) {
        perror("pollux-echo");
        return 1;
    }
    for (;;) {
        int count = epoll_wait(epoll_fd, events, ECHO_EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                echo_accept(epoll_fd, listener);
            else
                echo_back(events[i].data.fd, buffer);
        }
    }
}

/* Closed-loop load for bench_stream_echo: each connection sends a message, waits for it to come
 * back, and sends the next.
 * Usage: bench_stream_load <port> <server pid> <connections> <message bytes> <pipeline> <seconds>
 * Prints requests, the server's CPU time for each of them, and the rate. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/clock.h"

enum { LOAD_CONNECTIONS_MAX = 16384 };

struct load {
    int epoll_fd;
    int fds[LOAD_CONNECTIONS_MAX];
    size_t got[LOAD_CONNECTIONS_MAX]; /* bytes of the current round */
    size_t round_bytes;
    char *message; /* round_bytes */
    char *buffer;
    unsigned long long rounds;
};

/* CPU time of all threads of a process: the first field of /proc/<pid>/task/<tid>/schedstat. The
 * echo server has one thread; io_uring's own helpers would show up in `task` too. */
static double cpu_seconds(const char *pid)
{
    char path[64];
    unsigned long long nanoseconds = 0;

    snprintf(path, sizeof path, "/proc/%s/schedstat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL || fscanf(file, "%llu", &nanoseconds) != 1) {
        perror(path);
        exit(1);
    }
    fclose(file);
    return (double)nanoseconds / 1e9;
}

static void load_connect(struct load *load, unsigned index, uint16_t port)
{
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct epoll_event watch = {.events = EPOLLIN, .data.u32 = index};

    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        perror("connect");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, fd, &watch);
    load->fds[index] = fd;
}

static void load_send(struct load *load, unsigned index)
{
    load->got[index] = 0;
    if (send(load->fds[index], load->message, load->round_bytes, MSG_NOSIGNAL) !=
        (ssize_t)load->round_bytes) {
        perror("send");
        exit(1);
    }
}

static void load_run(struct load *load, double seconds)
{
    struct epoll_event events[256];
    uint64_t end_us = clock_now_us() + (uint64_t)(seconds * 1e6);

    while (clock_now_us() < end_us) {
        int count = epoll_wait(load->epoll_fd, events, 256, 1000);
        for (int i = 0; i < count; i++) {
            unsigned index = events[i].data.u32;
            ssize_t length = recv(load->fds[index], load->buffer, load->round_bytes, MSG_DONTWAIT);
            if (length <= 0) {
                fprintf(stderr, "connection lost\n");
                exit(1);
            }
            load->got[index] += (size_t)length;
            if (load->got[index] == load->round_bytes) {
                load->rounds++;
                load_send(load, index);
            }
        }
    }
}

int main(int argc, char **argv)
{
    static struct load load;

    if (argc != 7) {
        fprintf(stderr,
                "usage: %s <port> <server pid> <connections> <message bytes> <pipeline> "
                "<seconds>\n",
                argv[0]);
        return 2;
    }
    unsigned connections = (unsigned)atoi(argv[3]);
    unsigned pipeline = (unsigned)atoi(argv[5]);
    load.round_bytes = (size_t)atoi(argv[4]) * pipeline;
    if (connections == 0 || connections > LOAD_CONNECTIONS_MAX || load.round_bytes == 0)
        return 2;
    load.message = calloc(1, load.round_bytes);
    load.buffer = calloc(1, load.round_bytes);
    load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < connections; i++)
        load_connect(&load, i, (uint16_t)atoi(argv[1]));
    for (unsigned i = 0; i < connections; i++)
        load_send(&load, i);
    load_run(&load, 0.3); /* warm up */
    double cpu_before = cpu_seconds(argv[2]);
    uint64_t before_us = clock_now_us();
    load.rounds = 0;
    load_run(&load, atof(argv[6]));
    double elapsed = (double)(clock_now_us() - before_us) / 1e6;
    double cpu = cpu_seconds(argv[2]) - cpu_before;
    double requests = (double)load.rounds * pipeline;
    printf("%.0f requests, %.3f us of server CPU each, %.0f/s, server at %.0f %%\n", requests,
           cpu / requests * 1e6, requests / elapsed, cpu / elapsed * 100);
    return 0;
}

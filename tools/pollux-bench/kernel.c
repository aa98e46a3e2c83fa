/* Kernel sockets as a transport: non-blocking, edge-triggered epoll. */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tools/pollux-bench/transport.h"

enum {
    KERNEL_RECEIVE_BYTES = 256 << 10,
    KERNEL_EVENTS_MAX = 256,
};

struct transport_link {
    int fd; /* -1 once closed: what epoll still says of it is not for anybody */
    bool connecting;
    void *user;
    char *unsent; /* what the socket did not take; NULL until that happens first */
    size_t unsent_at;
    size_t unsent_len;
    size_t unsent_room;
    struct transport_link *previous;
    struct transport_link *next;
};

struct kernel {
    struct transport transport;
    int epoll_fd;
    int ready_count;
    int ready_at;
    struct epoll_event ready[KERNEL_EVENTS_MAX];
    struct transport_link *open;
    struct transport_link *closed;  /* freed by the next poll: `ready` may point to them */
    struct transport_counters past; /* of links that are closed */
    char *in;
};

static struct kernel *kernel_of(struct transport *transport)
{
    return (struct kernel *)transport;
}

/* Adds what the kernel counted on one TCP socket. A UNIX socket has nothing to tell. */
static void link_count(const struct transport_link *link, struct transport_counters *counters)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);

    if (getsockopt(link->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
        len < offsetof(struct tcp_info, tcpi_segs_in) + sizeof(info.tcpi_segs_in))
        return;
    counters->packets_sent += info.tcpi_segs_out;
    counters->packets_received += info.tcpi_segs_in;
    counters->retransmits += info.tcpi_total_retrans;
}

static int link_start(struct kernel *kernel, struct transport_link *link,
                      const struct transport_address *to)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = link};
    int one = 1;

    if (to->storage.ss_family != AF_UNIX &&
        setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
        return -errno;
    if (connect(link->fd, (const struct sockaddr *)&to->storage, to->len) < 0 &&
        errno != EINPROGRESS)
        return -errno;
    return epoll_ctl(kernel->epoll_fd, EPOLL_CTL_ADD, link->fd, &event) < 0 ? -errno : 0;
}

static int kernel_connect(struct transport *transport, const struct transport_address *to,
                          void *user, struct transport_link **link)
{
    struct kernel *kernel = kernel_of(transport);
    struct transport_link *made = calloc(1, sizeof(*made));

    if (made == NULL)
        return -ENOMEM;
    *made = (struct transport_link){.connecting = true, .user = user};
    made->fd = socket(to->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int status = made->fd < 0 ? -errno : link_start(kernel, made, to);
    if (status < 0) {
        if (made->fd >= 0)
            close(made->fd);
        free(made);
        return status;
    }
    made->next = kernel->open;
    if (made->next != NULL)
        made->next->previous = made;
    kernel->open = made;
    *link = made;
    return 0;
}

/* Keeps bytes for the time when the socket takes them. */
static int link_keep(struct transport_link *link, const char *data, size_t len)
{
    if (link->unsent_at > 0) {
        memmove(link->unsent, link->unsent + link->unsent_at, link->unsent_len);
        link->unsent_at = 0;
    }
    if (link->unsent_len + len > link->unsent_room) {
        char *more = realloc(link->unsent, link->unsent_len + len);
        if (more == NULL)
            return -ENOMEM;
        link->unsent = more;
        link->unsent_room = link->unsent_len + len;
    }
    memcpy(link->unsent + link->unsent_len, data, len);
    link->unsent_len += len;
    return 0;
}

static int kernel_write(struct transport *transport, struct transport_link *link, const char *data,
                        size_t len)
{
    ssize_t taken = 0;

    (void)transport;
    if (link->unsent_len == 0 && !link->connecting) {
        taken = send(link->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        /* A connection that broke says so by an event, too: there it is dealt with. */
        if (taken < 0 && errno != EAGAIN)
            return 0;
        if (taken < 0)
            taken = 0;
    }
    return (size_t)taken == len ? 0 : link_keep(link, data + taken, len - (size_t)taken);
}

static bool kernel_has_unsent(const struct transport *transport, const struct transport_link *link)
{
    (void)transport;
    return link->unsent_len > 0;
}

static void link_flush(struct transport_link *link)
{
    ssize_t taken = send(link->fd, link->unsent + link->unsent_at, link->unsent_len,
                         MSG_DONTWAIT | MSG_NOSIGNAL);

    if (taken > 0) {
        link->unsent_at += (size_t)taken;
        link->unsent_len -= (size_t)taken;
    }
}

static void kernel_close(struct transport *transport, struct transport_link *link, bool reset)
{
    struct kernel *kernel = kernel_of(transport);
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    link_count(link, &kernel->past);
    if (reset)
        (void)setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(link->fd);
    link->fd = -1;
    free(link->unsent);
    link->unsent = NULL;
    if (link->previous != NULL)
        link->previous->next = link->next;
    else
        kernel->open = link->next;
    if (link->next != NULL)
        link->next->previous = link->previous;
    link->next = kernel->closed;
    kernel->closed = link;
}

static void kernel_free_closed(struct kernel *kernel)
{
    while (kernel->closed != NULL) {
        struct transport_link *link = kernel->closed;
        kernel->closed = link->next;
        free(link);
    }
}

static int kernel_poll(struct transport *transport, uint64_t sleep_ns)
{
    struct kernel *kernel = kernel_of(transport);
    struct timespec sleep = {.tv_sec = (time_t)(sleep_ns / 1000000000),
                             .tv_nsec = (long)(sleep_ns % 1000000000)};

    kernel_free_closed(kernel);
    kernel->ready_at = 0;
    kernel->ready_count =
        epoll_pwait2(kernel->epoll_fd, kernel->ready, KERNEL_EVENTS_MAX, &sleep, NULL);
    if (kernel->ready_count < 0) {
        kernel->ready_count = 0;
        return errno == EINTR ? 0 : -errno;
    }
    return kernel->ready_count;
}

/* The link is closed on this side, too, before the event is passed on. */
static bool link_ended(struct kernel *kernel, struct transport_link *link, int error,
                       struct transport_event *event)
{
    *event = (struct transport_event){TRANSPORT_CLOSED, .error = error, .user = link->user};
    kernel_close(&kernel->transport, link, false);
    return true;
}

static int link_error(const struct transport_link *link)
{
    int error = 0;
    socklen_t len = sizeof(error);

    return getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? errno : error;
}

/* Reads once. Returns whether there is an event; `ready` is used up where the socket is empty. */
static bool link_receive(struct kernel *kernel, struct transport_link *link, uint32_t events,
                         struct transport_event *event)
{
    ssize_t got = recv(link->fd, kernel->in, KERNEL_RECEIVE_BYTES, MSG_DONTWAIT);

    if (got < 0 && errno == EAGAIN) {
        kernel->ready_at++;
        return false;
    }
    if (got <= 0) {
        kernel->ready_at++;
        return link_ended(kernel, link, got < 0 ? errno : 0, event);
    }
    /* A short read empties the socket, and the next arrival is a new edge; but an end of stream
     * that has come already would make none. */
    if (got < KERNEL_RECEIVE_BYTES && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) == 0)
        kernel->ready_at++;
    *event = (struct transport_event){TRANSPORT_BYTES, .user = link->user, .data = kernel->in,
                                      .len_bytes = (size_t)got};
    return true;
}

static bool link_step(struct kernel *kernel, struct epoll_event *ready,
                      struct transport_event *event)
{
    struct transport_link *link = ready->data.ptr;

    if (link->connecting && (ready->events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
        int error = link_error(link);
        if (error != 0) {
            kernel->ready_at++;
            return link_ended(kernel, link, error, event);
        }
        link->connecting = false;
        *event = (struct transport_event){TRANSPORT_CONNECTED, .user = link->user};
        return true;
    }
    if ((ready->events & EPOLLOUT) != 0 && link->unsent_len > 0)
        link_flush(link);
    ready->events &= ~(uint32_t)EPOLLOUT;
    if ((ready->events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) != 0)
        return link_receive(kernel, link, ready->events, event);
    kernel->ready_at++;
    return false;
}

static bool kernel_event(struct transport *transport, struct transport_event *event)
{
    struct kernel *kernel = kernel_of(transport);

    while (kernel->ready_at < kernel->ready_count) {
        struct epoll_event *ready = &kernel->ready[kernel->ready_at];
        if (((struct transport_link *)ready->data.ptr)->fd < 0)
            kernel->ready_at++;
        else if (link_step(kernel, ready, event))
            return true;
    }
    return false;
}

static void kernel_counters(struct transport *transport, struct transport_counters *counters)
{
    struct kernel *kernel = kernel_of(transport);

    *counters = kernel->past;
    for (struct transport_link *link = kernel->open; link != NULL; link = link->next)
        link_count(link, counters);
}

static void kernel_destroy(struct transport *transport)
{
    struct kernel *kernel = kernel_of(transport);

    while (kernel->open != NULL)
        kernel_close(transport, kernel->open, false);
    kernel_free_closed(kernel);
    if (kernel->epoll_fd >= 0)
        close(kernel->epoll_fd);
    free(kernel->in);
    free(kernel);
}

static const struct transport_ops kernel_ops = {
    .connect = kernel_connect,
    .write = kernel_write,
    .has_unsent = kernel_has_unsent,
    .close = kernel_close,
    .poll = kernel_poll,
    .event = kernel_event,
    .counters = kernel_counters,
    .destroy = kernel_destroy,
};

int transport_kernel(struct transport **transport)
{
    struct kernel *kernel = calloc(1, sizeof(*kernel));

    if (kernel == NULL)
        return -ENOMEM;
    kernel->transport.ops = &kernel_ops;
    kernel->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    kernel->in = malloc(KERNEL_RECEIVE_BYTES);
    if (kernel->epoll_fd < 0 || kernel->in == NULL) {
        int status = kernel->epoll_fd < 0 ? -errno : -ENOMEM;
        kernel_destroy(&kernel->transport);
        return status;
    }
    *transport = &kernel->transport;
    return 0;
}

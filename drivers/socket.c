#include "drivers/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

union socket_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
    struct sockaddr_storage storage;
};

static int socket_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0 ? 0 : -errno;
}

int socket_set_options(int fd, unsigned keepalive_s)
{
    int family = 0;
    socklen_t length = sizeof family;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) != 0)
        return -errno;
    if (family != AF_INET && family != AF_INET6)
        return 0;
    int result = socket_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (result < 0 || keepalive_s == 0)
        return result;
    /* A dead peer is found after the idle time and three probes at a third of it, as in Redis.
     * The kernel takes at most 32767 s. */
    int idle_s = keepalive_s > 32767 ? 32767 : (int)keepalive_s;
    int probe_s = idle_s / 3 == 0 ? 1 : idle_s / 3;
    if ((result = socket_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1)) < 0 ||
        (result = socket_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle_s)) < 0 ||
        (result = socket_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, probe_s)) < 0)
        return result;
    return socket_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

int socket_set_blocking(int fd, bool blocking)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return -errno;
    int wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
    if (wanted == flags)
        return 0;
    return fcntl(fd, F_SETFL, wanted) == 0 ? 0 : -errno;
}

/* Both ends of a unix connection are known by the path of its listener. */
static int socket_text_unix(int fd, char text[STREAM_ADDRESS_TEXT_MAX])
{
    union socket_address address;
    socklen_t length = sizeof address;

    memset(&address, 0, sizeof address);
    if (getsockname(fd, &address.any, &length) != 0)
        return -errno;
    snprintf(text, STREAM_ADDRESS_TEXT_MAX, "%.107s:0", address.local.sun_path);
    return 0;
}

static int socket_text(int fd, const union socket_address *address,
                       char text[STREAM_ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN];

    if (address->any.sa_family == AF_UNIX)
        return socket_text_unix(fd, text);
    if (address->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &address->v4.sin_addr, host, sizeof host);
        snprintf(text, STREAM_ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(address->v4.sin_port));
        return 0;
    }
    if (address->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &address->v6.sin6_addr, host, sizeof host);
        snprintf(text, STREAM_ADDRESS_TEXT_MAX, "[%s]:%u", host, ntohs(address->v6.sin6_port));
        return 0;
    }
    return -EAFNOSUPPORT;
}

int socket_peer(int fd, char text[STREAM_ADDRESS_TEXT_MAX])
{
    union socket_address address;
    socklen_t length = sizeof address;

    if (getpeername(fd, &address.any, &length) != 0)
        return -errno;
    return socket_text(fd, &address, text);
}

int socket_local(int fd, char text[STREAM_ADDRESS_TEXT_MAX])
{
    union socket_address address;
    socklen_t length = sizeof address;

    if (getsockname(fd, &address.any, &length) != 0)
        return -errno;
    return socket_text(fd, &address, text);
}

bool socket_is_loopback(int fd)
{
    union socket_address address;
    socklen_t length = sizeof address;

    if (getpeername(fd, &address.any, &length) != 0)
        return false;
    if (address.any.sa_family == AF_UNIX)
        return true;
    if (address.any.sa_family == AF_INET)
        return (ntohl(address.v4.sin_addr.s_addr) >> 24) == 127;
    return address.any.sa_family == AF_INET6 && (IN6_IS_ADDR_LOOPBACK(&address.v6.sin6_addr) ||
                                                 (IN6_IS_ADDR_V4MAPPED(&address.v6.sin6_addr) &&
                                                  address.v6.sin6_addr.s6_addr[12] == 127));
}

/* MSG_TRUNC has TCP drop the bytes without copying them (tcp(7)); unix sockets copy. */
void socket_discard_input(int fd)
{
    char buffer[16384];
    size_t discarded = 0;

    while (discarded < SOCKET_DISCARD_MAX) {
        ssize_t result = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT | MSG_TRUNC);
        if (result <= 0)
            return;
        discarded += (size_t)result;
    }
}

bool socket_accept_must_wait(int error)
{
    switch (error) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
        return false;
    default:
        return true;
    }
}

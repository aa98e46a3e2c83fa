#include "drivers/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct listen_address {
    struct sockaddr_storage storage;
    socklen_t length;
};

/* Writes "<where>: <step>: <reason>" and passes the errno on. */
static int listen_fail(char error[LISTEN_ERROR_MAX], const char *where, const char *step,
                       int result)
{
    snprintf(error, LISTEN_ERROR_MAX, "%.160s: %s: %s", where, step, strerror(-result));
    return result;
}

static int listen_tcp_fail(char error[LISTEN_ERROR_MAX], const char *address, uint16_t port,
                           const char *step, int result)
{
    char where[LISTEN_ERROR_MAX];

    snprintf(where, sizeof where, "Could not create server TCP listening socket %.80s:%u", address,
             port);
    return listen_fail(error, where, step, result);
}

/* Literals only: a name would have us wait for a resolver. */
static int listen_resolve(const char *address, uint16_t port, struct listen_address *resolved)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    char service[8];

    if (strcmp(address, "*") == 0)
        address = "0.0.0.0";
    else if (strcmp(address, "::*") == 0)
        address = "::";
    snprintf(service, sizeof service, "%u", port);
    if (getaddrinfo(address, service, &hints, &found) != 0)
        return -EINVAL;
    memcpy(&resolved->storage, found->ai_addr, found->ai_addrlen);
    resolved->length = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

/* Makes a bound TCP socket; -errno and `step` where it failed. */
static int listen_bind(const struct listen_address *address, bool share, const char **step)
{
    int on = 1;
    int family = address->storage.ss_family;

    *step = "socket";
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    *step = "setsockopt";
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (share && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) ||
        (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0))
        goto fail;
    *step = "bind";
    if (bind(fd, (const struct sockaddr *)&address->storage, address->length) != 0)
        goto fail;
    return fd;
fail:;
    int result = -errno;
    close(fd);
    return result;
}

int listen_tcp(const char *address, uint16_t port, int backlog, char error[LISTEN_ERROR_MAX])
{
    struct listen_address resolved;
    const char *step;
    int result = listen_resolve(address, port, &resolved);

    if (result < 0)
        return listen_tcp_fail(error, address, port, "address", result);
    int fd = listen_bind(&resolved, true, &step);
    if (fd < 0)
        return listen_tcp_fail(error, address, port, step, fd);
    if (listen(fd, backlog) != 0) {
        result = -errno;
        close(fd);
        return listen_tcp_fail(error, address, port, "listen", result);
    }
    return fd;
}

/* Without SO_REUSEPORT, binding fails where any socket listens, whatever options that one has. */
int listen_probe(const char *address, uint16_t port, char error[LISTEN_ERROR_MAX])
{
    struct listen_address resolved;
    const char *step;
    int result = listen_resolve(address, port, &resolved);

    if (result < 0)
        return listen_tcp_fail(error, address, port, "address", result);
    int fd = listen_bind(&resolved, false, &step);
    if (fd < 0)
        return listen_tcp_fail(error, address, port, step, fd);
    close(fd);
    return 0;
}

/* With neither SO_REUSEADDR nor SO_REUSEPORT nobody else can have it, and connect(2) passes over a
 * port that somebody has bound. */
int listen_reserve(const char *address, uint16_t port, char error[LISTEN_ERROR_MAX])
{
    struct listen_address resolved;
    char where[LISTEN_ERROR_MAX];

    snprintf(where, sizeof where, "Could not reserve TCP port %.80s:%u", address, port);
    int result = listen_resolve(address, port, &resolved);
    if (result < 0)
        return listen_fail(error, where, "address", result);
    int fd = socket(resolved.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return listen_fail(error, where, "socket", -errno);
    if (bind(fd, (const struct sockaddr *)&resolved.storage, resolved.length) == 0)
        return fd;
    result = -errno;
    close(fd);
    if (result == -EADDRINUSE)
        snprintf(error, LISTEN_ERROR_MAX,
                 "%.160s: another program of this machine has it: ss -tanp 'sport = :%u'", where,
                 port);
    else
        listen_fail(error, where, "bind", result);
    return result;
}

/* Removes what is left of a server that ended without cleaning up. */
static int listen_remove_stale(const struct sockaddr_un *address)
{
    struct stat status;

    if (lstat(address->sun_path, &status) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(status.st_mode))
        return -EADDRINUSE;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int result = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : -errno;
    close(fd);
    /* EAGAIN: somebody serves it, with a full backlog. */
    if (result == 0 || result == -EAGAIN)
        return -EADDRINUSE;
    if (result != -ECONNREFUSED)
        return result;
    return unlink(address->sun_path) == 0 || errno == ENOENT ? 0 : -errno;
}

/* The mode set on the socket before bind is what the file gets, less the umask: it is never open
 * to more than `mode`. chmod then grants what the umask took. */
static int listen_unix_bind(int fd, const struct sockaddr_un *address, mode_t mode, int backlog,
                            const char **step)
{
    *step = "chmod";
    if (mode != 0 && fchmod(fd, mode) != 0)
        return -errno;
    *step = "bind";
    if (bind(fd, (const struct sockaddr *)address, sizeof *address) != 0)
        return -errno;
    *step = "chmod";
    if (mode != 0 && chmod(address->sun_path, mode) != 0)
        return -errno;
    *step = "listen";
    return listen(fd, backlog) == 0 ? 0 : -errno;
}

int listen_unix(const char *path, mode_t mode, int backlog, char error[LISTEN_ERROR_MAX])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char where[LISTEN_ERROR_MAX];
    const char *step = "path";

    snprintf(where, sizeof where, "Could not create server unix socket %.120s", path);
    if (path[0] == '\0' || strlen(path) >= sizeof address.sun_path)
        return listen_fail(error, where, step, path[0] == '\0' ? -EINVAL : -ENAMETOOLONG);
    memcpy(address.sun_path, path, strlen(path) + 1);
    int result = listen_remove_stale(&address);
    if (result < 0)
        return listen_fail(error, where, "existing file", result);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return listen_fail(error, where, "socket", -errno);
    result = listen_unix_bind(fd, &address, mode, backlog, &step);
    if (result < 0) {
        close(fd);
        return listen_fail(error, where, step, result);
    }
    return fd;
}

uint64_t listen_raise_fd_limit(uint64_t wanted)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if (limit.rlim_cur >= wanted)
        return limit.rlim_cur;
    struct rlimit raised = {.rlim_cur = wanted,
                            .rlim_max = limit.rlim_max > wanted ? limit.rlim_max : wanted};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
        return wanted;
    /* Without privilege the hard limit is as far as it goes. */
    raised = (struct rlimit){.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    return setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

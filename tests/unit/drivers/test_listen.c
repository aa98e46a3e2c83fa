#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "drivers/listen.h"

static uint16_t port_of(int fd)
{
    struct sockaddr_in6 address;
    socklen_t length = sizeof address;

    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    return ntohs(address.sin6_port); /* at the same place for both families */
}

Test(listen, shares_a_port_between_workers_but_not_between_servers)
{
    char error[LISTEN_ERROR_MAX] = "";
    char expected[LISTEN_ERROR_MAX];
    int first = listen_tcp("127.0.0.1", 0, 16, error);
    uint16_t port = port_of(first);
    int second = listen_tcp("127.0.0.1", port, 16, error);

    cr_assert(first >= 0 && second >= 0, "%s", error);
    cr_assert_eq(fcntl(first, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    cr_assert_eq(fcntl(first, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    cr_assert_eq(listen_probe("127.0.0.1", port, error), -EADDRINUSE);
    snprintf(expected, sizeof expected,
             "Could not create server TCP listening socket 127.0.0.1:%u: bind: "
             "Address already in use",
             port);
    cr_assert_str_eq(error, expected);
    close(first);
    cr_assert_eq(listen_probe("127.0.0.1", port, error), -EADDRINUSE);
    close(second);
    cr_assert_eq(listen_probe("127.0.0.1", port, error), 0);
    cr_assert_eq(listen_probe("127.0.0.1", port, error), 0);
}

Test(listen, takes_literals_only)
{
    char error[LISTEN_ERROR_MAX] = "";

    cr_assert_eq(listen_tcp("localhost", 0, 16, error), -EINVAL);
    cr_assert_not_null(strstr(error, "localhost:0"));
    cr_assert_eq(listen_tcp("", 0, 16, error), -EINVAL);
    cr_assert_eq(listen_tcp("203.0.113.1", 0, 16, error), -EADDRNOTAVAIL);
    cr_assert_not_null(strstr(error, "203.0.113.1:0: bind: "));
    int any = listen_tcp("*", 0, 16, error);
    cr_assert(any >= 0, "%s", error);
    close(any);
}

Test(listen, keeps_ipv6_apart_from_ipv4)
{
    char error[LISTEN_ERROR_MAX] = "";
    int v6 = listen_tcp("::*", 0, 16, error);

    if (v6 == -EAFNOSUPPORT)
        cr_skip_test("no IPv6 here");
    cr_assert(v6 >= 0, "%s", error);
    int v4 = listen_tcp("*", port_of(v6), 16, error);
    cr_assert(v4 >= 0, "%s", error);
    close(v4);
    close(v6);
}

static void unix_path(char path[64])
{
    snprintf(path, 64, "/tmp/pollux-listen-%d.sock", (int)getpid());
    unlink(path);
}

Test(listen, gives_unix_sockets_the_mode_asked_for)
{
    static const mode_t modes[] = {0700, 0777, 0600};
    char path[64];
    char error[LISTEN_ERROR_MAX] = "";
    struct stat status;

    unix_path(path);
    umask(0022);
    for (unsigned i = 0; i < 3; i++) {
        int fd = listen_unix(path, modes[i], 16, error);
        cr_assert(fd >= 0, "%s", error);
        cr_assert_eq(stat(path, &status), 0);
        cr_assert_eq(status.st_mode & 0777, modes[i]);
        close(fd);
        unlink(path);
    }
    int fd = listen_unix(path, 0, 16, error);
    cr_assert(fd >= 0, "%s", error);
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0755);
    close(fd);
    unlink(path);
}

Test(listen, replaces_what_is_stale_and_nothing_else)
{
    char path[64];
    char error[LISTEN_ERROR_MAX] = "";

    unix_path(path);
    int first = listen_unix(path, 0700, 16, error);
    cr_assert(first >= 0, "%s", error);
    cr_assert_eq(listen_unix(path, 0700, 16, error), -EADDRINUSE);
    close(first); /* the file stays, as after a crash */
    int second = listen_unix(path, 0700, 16, error);
    cr_assert(second >= 0, "%s", error);
    close(second);
    unlink(path);
    int file = open(path, O_CREAT | O_WRONLY, 0600);
    close(file);
    cr_assert_eq(listen_unix(path, 0700, 16, error), -EADDRINUSE);
    cr_assert_not_null(strstr(error, path));
    cr_assert_eq(unlink(path), 0);
}

Test(listen, refuses_paths_that_do_not_fit)
{
    char path[200];
    char error[LISTEN_ERROR_MAX] = "";

    memset(path, 'a', sizeof path);
    path[sizeof path - 1] = '\0';
    cr_assert_eq(listen_unix(path, 0700, 16, error), -ENAMETOOLONG);
    cr_assert_eq(listen_unix("", 0700, 16, error), -EINVAL);
    cr_assert_eq(listen_unix("/nowhere/at/all", 0700, 16, error), -ENOENT);
}

Test(listen, raises_the_descriptor_limit_as_far_as_allowed)
{
    struct rlimit limit;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 64;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(listen_raise_fd_limit(50), 64);
    cr_assert_eq(listen_raise_fd_limit(100), 100);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(limit.rlim_cur, 100);
}

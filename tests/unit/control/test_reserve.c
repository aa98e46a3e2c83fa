/* Ports reserved on loopback addresses, which this machine has like those of a TAP. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config/config.h"
#include "config/load.h"
#include "control/reserve.h"

/* The first of `count` ports in a row that nobody uses. */
static uint16_t free_ports(unsigned count)
{
    char error[LISTEN_ERROR_MAX];

    for (unsigned port = 20000 + (unsigned)getpid() % 10000; port < 60000; port += count) {
        unsigned place = 0;
        while (place < count && listen_probe("0.0.0.0", (uint16_t)(port + place), error) == 0)
            place++;
        if (place == count)
            return (uint16_t)port;
    }
    cr_assert(false, "no free ports");
    return 0;
}

static struct config *config_of(unsigned port, const char *more)
{
    struct config *config = config_create();
    struct load_error error;
    char text[512];

    snprintf(text, sizeof text, "port %u\nworkers 3\ndpdk-address 127.0.0.1/8 127.0.0.2/8\n%s",
             port, more);
    cr_assert_not_null(config);
    cr_assert_eq(load_text(config, "test", text, strlen(text), &error), 0, "%s", error.reason);
    return config;
}

static struct sockaddr_in place(const char *address, uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};

    cr_assert_eq(inet_pton(AF_INET, address, &at.sin_addr), 1);
    return at;
}

/* What another program gets to hear that binds it. */
static int bind_there(const char *address, uint16_t port, int option)
{
    struct sockaddr_in at = place(address, port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

    if (option != 0)
        cr_assert_eq(setsockopt(fd, SOL_SOCKET, option, &on, sizeof on), 0);
    int result = bind(fd, (struct sockaddr *)&at, sizeof at) == 0 ? 0 : errno;
    close(fd);
    return result;
}

static int connect_there(const char *address, uint16_t port)
{
    struct sockaddr_in at = place(address, port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int result = connect(fd, (struct sockaddr *)&at, sizeof at) == 0 ? 0 : errno;

    close(fd);
    return result;
}

Test(reserve, nobody_else_gets_a_service_port)
{
    static const int options[] = {0, SO_REUSEADDR, SO_REUSEPORT};
    struct reserve reserve = {0};
    uint16_t port = free_ports(1);
    struct config *config = config_of(port, "");
    char error[LISTEN_ERROR_MAX];

    cr_assert_eq(reserve_take(&reserve, config, error), 0, "%s", error);
    cr_assert_eq(reserve.count, 2);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(bind_there("127.0.0.1", port, options[i]), EADDRINUSE);
        cr_assert_eq(bind_there("127.0.0.2", port, options[i]), EADDRINUSE);
        cr_assert_eq(bind_there("0.0.0.0", port, options[i]), EADDRINUSE);
        cr_assert_eq(bind_there("127.0.0.3", port, options[i]), 0, "another address");
    }
    cr_assert_eq(connect_there("127.0.0.1", port), ECONNREFUSED, "nobody listens");
    reserve_close(&reserve);
    cr_assert_eq(bind_there("127.0.0.1", port, 0), 0);
    config_destroy(config);
}

Test(reserve, each_worker_has_its_port_reserved)
{
    struct reserve reserve = {0};
    uint16_t port = free_ports(5);
    struct config *config = config_of(port, "per-core-endpoints yes\ndpdk-kernel-path yes\n");
    char error[LISTEN_ERROR_MAX];

    cr_assert_eq(reserve_take(&reserve, config, error), 0, "%s", error);
    cr_assert_eq(reserve.count, 8, "four ports on two addresses");
    cr_assert_eq(reserve_fds(config), 8);
    for (unsigned i = 0; i < 5; i++)
        cr_assert_eq(bind_there("127.0.0.2", (uint16_t)(port + i), 0), i < 4 ? EADDRINUSE : 0);
    cr_assert_eq(reserve_take(&reserve, config, error), 0, "again, which changes nothing");
    cr_assert_eq(reserve.count, 8);
    reserve_close(&reserve);
    config_destroy(config);
}

Test(reserve, other_values_take_over_what_they_share)
{
    struct reserve reserve = {0};
    uint16_t port = free_ports(6);
    struct config *before = config_of(port, "per-core-endpoints yes\n");
    struct config *after = config_of(port + 2u, "per-core-endpoints yes\n");
    char error[LISTEN_ERROR_MAX];

    cr_assert_eq(reserve_take(&reserve, before, error), 0, "%s", error);
    cr_assert_eq(reserve_take(&reserve, after, error), 0, "%s", error);
    cr_assert_eq(reserve.count, 12, "both at once");
    reserve_trim(&reserve, after);
    cr_assert_eq(reserve.count, 8);
    for (unsigned i = 0; i < 6; i++)
        cr_assert_eq(bind_there("127.0.0.1", (uint16_t)(port + i), 0), i < 2 ? 0 : EADDRINUSE);
    reserve_close(&reserve);
    config_destroy(before);
    config_destroy(after);
}

Test(reserve, a_port_that_somebody_has_is_named_and_nothing_changes)
{
    struct reserve reserve = {0};
    uint16_t port = free_ports(4);
    struct config *before = config_of(port, "");
    struct config *after = config_of(port + 1u, "per-core-endpoints yes\n");
    char error[LISTEN_ERROR_MAX], text[16];
    int theirs = listen_tcp("127.0.0.2", (uint16_t)(port + 3), 1, error);

    cr_assert_geq(theirs, 0, "%s", error);
    cr_assert_eq(reserve_take(&reserve, before, error), 0, "%s", error);
    cr_assert_eq(reserve_take(&reserve, after, error), -EADDRINUSE);
    snprintf(text, sizeof text, "127.0.0.2:%u", port + 3u);
    cr_assert_not_null(strstr(error, text), "%s", error);
    cr_assert_eq(reserve.count, 2);
    cr_assert_eq(bind_there("127.0.0.1", (uint16_t)(port + 1), 0), 0, "it was let go again");
    cr_assert_eq(bind_there("127.0.0.1", port, 0), EADDRINUSE);
    close(theirs);
    reserve_close(&reserve);
    config_destroy(before);
    config_destroy(after);
}

Test(reserve, without_a_port_there_is_nothing_to_reserve)
{
    struct reserve reserve = {0};
    struct config *config = config_of(0, "per-core-endpoints yes\ndpdk-kernel-path yes\n");
    char error[LISTEN_ERROR_MAX];

    cr_assert_eq(reserve_take(&reserve, config, error), 0);
    cr_assert_eq(reserve.count, 0);
    cr_assert_eq(reserve_fds(config), 0);
    reserve_close(&reserve);
    config_destroy(config);
}

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config/load.h"
#include "control/listeners.h"
#include "dataplane/node.h"

static const struct listeners_held nothing;

static struct config *config_of(const char *format, ...)
{
    struct config *config = config_create();
    struct load_error error;
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cr_assert_not_null(config);
    cr_assert_eq(load_text(config, "test", text, strlen(text), &error), 0, "%s", error.reason);
    return config;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;

    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    return ntohs(address.sin_port);
}

/* The first of `count` ports in a row that nobody uses. */
static uint16_t free_ports(unsigned count)
{
    char error[LISTEN_ERROR_MAX];

    for (unsigned port = 20000 + (unsigned)getpid() % 10000; port < 60000; port += count) {
        unsigned place = 0;
        while (place < count && listen_probe("127.0.0.1", (uint16_t)(port + place), error) == 0)
            place++;
        if (place == count)
            return (uint16_t)port;
    }
    cr_assert(false, "no free ports");
    return 0;
}

Test(listeners, each_worker_has_its_own_socket_for_each_address)
{
    uint16_t port = free_ports(1);
    struct config *config = config_of("bind 127.0.0.1 127.0.0.2 -203.0.113.7\nport %u\n", port);
    struct listeners listeners = {0};
    unsigned of_worker[3] = {0};
    char error[LISTEN_ERROR_MAX];

    cr_assert_eq(listeners_open_tcp(&listeners, config, 3, 0, &nothing, error), 0, "%s", error);
    cr_assert_eq(listeners.count, 6);
    for (unsigned i = 0; i < listeners.count; i++) {
        cr_assert_eq(port_of(listeners.items[i].fd), port);
        cr_assert_eq(listeners.items[i].id, LISTENER_COMMON);
        of_worker[listeners.items[i].worker]++;
    }
    cr_assert(of_worker[0] == 2 && of_worker[1] == 2 && of_worker[2] == 2);
    listeners_close(&listeners);
    config_destroy(config);
}

Test(listeners, a_worker_alone_has_its_core_port)
{
    uint16_t port = free_ports(3);
    struct config *config = config_of("bind 127.0.0.1\nport %u\nper-core-endpoints yes\n", port);
    struct listeners listeners = {0};
    unsigned core = 0;
    char error[LISTEN_ERROR_MAX];

    cr_assert_eq(listeners_open_tcp(&listeners, config, 2, LISTENER_SET, &nothing, error), 0, "%s",
                 error);
    cr_assert_eq(listeners.count, 4);
    for (unsigned i = 0; i < listeners.count; i++) {
        const struct listener *listener = &listeners.items[i];
        if (!listener_is_core(listener->id)) {
            cr_assert_eq(listener->id, LISTENER_COMMON + LISTENER_SET);
            continue;
        }
        core++;
        cr_assert_eq(listener_core_worker(listener->id), listener->worker);
        cr_assert_eq(port_of(listener->fd), port + 1 + listener->worker);
    }
    cr_assert_eq(core, 2);
    listeners_close(&listeners);
    config_destroy(config);
}

Test(listeners, a_port_in_use_leaves_nothing_open)
{
    uint16_t port = free_ports(3);
    struct config *config = config_of("bind 127.0.0.1\nport %u\nper-core-endpoints yes\n", port);
    struct listeners listeners = {0};
    char error[LISTEN_ERROR_MAX];
    int taken = listen_tcp("127.0.0.1", (uint16_t)(port + 2), 1, error);

    cr_assert_geq(taken, 0);
    cr_assert_eq(listeners_open_tcp(&listeners, config, 2, 0, &nothing, error), -EADDRINUSE);
    cr_assert_not_null(strstr(error, "in use"), "%s", error);
    cr_assert_eq(listeners.count, 0);
    cr_assert_eq(listen_probe("127.0.0.1", port, error), 0, "%s", error);
    close(taken);
    config_destroy(config);
}

Test(listeners, core_ports_past_the_last_port_and_on_the_common_one_are_refused)
{
    struct listeners listeners = {0};
    char error[LISTEN_ERROR_MAX];
    uint16_t port = free_ports(1);
    struct config *high =
        config_of("bind 127.0.0.1\nport %u\nper-core-endpoints yes\nper-core-port-base 65535\n",
                  port);
    struct config *same =
        config_of("bind 127.0.0.1\nport %u\nper-core-endpoints yes\nper-core-port-base %u\n", port,
                  port - 1u);

    cr_assert_eq(listeners_open_tcp(&listeners, high, 2, 0, &nothing, error), -ERANGE);
    cr_assert_eq(listeners_open_tcp(&listeners, same, 2, 0, &nothing, error), -EADDRINUSE);
    cr_assert_eq(listeners.count, 0);
    config_destroy(high);
    config_destroy(same);
}

Test(listeners, a_driver_without_sockets_gets_port_numbers)
{
    struct config *config = config_of("net-driver dpdk\nbind 203.0.113.7\nport 6379\n"
                                      "per-core-endpoints yes\nper-core-port-base 7000\n");
    struct listeners listeners = {0};
    char error[LISTEN_ERROR_MAX];

    cr_assert_eq(listeners_open_tcp(&listeners, config, 2, LISTENER_SET, &nothing, error), 0, "%s",
                 error);
    cr_assert_eq(listeners.count, 4);
    for (unsigned i = 0; i < 4; i++) {
        const struct listener *listener = &listeners.items[i];
        cr_assert_eq(listener->worker, i % 2);
        cr_assert_eq(listener->fd, -1);
        cr_assert_eq(listener->port, i < 2 ? 6379 : 7000 + i % 2);
        cr_assert_eq(listener->id,
                     LISTENER_SET + (i < 2 ? LISTENER_COMMON : LISTENER_CORE_BASE + i % 2));
    }
    listeners_close(&listeners);
    config_destroy(config);
}

Test(listeners, only_missing_addresses_is_an_error)
{
    struct config *config = config_of("bind -203.0.113.7\nport %u\n", free_ports(1));
    struct listeners listeners = {0};
    char error[LISTEN_ERROR_MAX];

    cr_assert_eq(listeners_open_tcp(&listeners, config, 1, 0, &nothing, error), -EADDRNOTAVAIL);
    config_destroy(config);
}

/* CONFIG SET bind while the port stays: our own sockets are not somebody else's. */
Test(listeners, what_is_held_already_is_bound_again)
{
    uint16_t port = free_ports(1);
    struct config *config = config_of("bind 127.0.0.1\nport %u\n", port);
    struct config *wide = config_of("bind * 127.0.0.1\nport %u\n", port);
    struct listeners first = {0}, second = {0};
    struct listeners_held held;
    char error[LISTEN_ERROR_MAX];

    cr_assert_eq(listeners_open_tcp(&first, config, 2, 0, &nothing, error), 0, "%s", error);
    cr_assert_eq(listeners_open_tcp(&second, config, 2, LISTENER_SET, &nothing, error),
                 -EADDRINUSE);
    listeners_hold(&held, config, 2);
    cr_assert_eq(listeners_open_tcp(&second, wide, 2, LISTENER_SET, &held, error), 0, "%s", error);
    cr_assert_eq(second.count, 4);
    listeners_close(&first);
    listeners_close(&second);
    config_destroy(config);
    config_destroy(wide);
}

#include "drivers/tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/if_tun.h>

#define DEVICE "/dev/net/tun"

__attribute__((format(printf, 3, 4))) static int fail(char *error, int code, const char *format,
                                                      ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, TAP_ERROR_MAX, format, args);
    va_end(args);
    return code;
}

static int refuse_device(char *error, int code)
{
    switch (code) {
    case -ENOENT:
        return fail(error, code,
                    "dpdk-kernel-path needs " DEVICE ", which is not there; as root: modprobe tun "
                    "(in a container: mkdir -p /dev/net && mknod " DEVICE " c 10 200)");
    case -ENODEV:
    case -ENXIO:
        return fail(error, code,
                    "dpdk-kernel-path needs the kernel's module tun; as root: modprobe tun");
    case -EACCES:
    case -EPERM:
        return fail(error, code,
                    "dpdk-kernel-path: " DEVICE " may not be opened; as root: chmod 0666 " DEVICE);
    default:
        return fail(error, code, "dpdk-kernel-path: cannot open " DEVICE ": %s", strerror(-code));
    }
}

static int refuse_step(char *error, int code, const char *step)
{
    if (code == -EPERM || code == -EACCES)
        return fail(error, code,
                    "dpdk-kernel-path: %s is not permitted; run as root, or: setcap "
                    "cap_net_admin+ep polluxd",
                    step);
    return fail(error, code, "dpdk-kernel-path: %s failed: %s", step, strerror(-code));
}

static int refuse_address(const struct tap *tap, char *error, int code, const char *what,
                          const struct netlink_address *address)
{
    char text[INET6_ADDRSTRLEN];

    inet_ntop(address->family, address->bytes, text, sizeof text);
    if (address->family == AF_INET6 && code != -EPERM)
        return fail(error, code,
                    "dpdk-kernel-path: the kernel refuses %s %s on %s: %s; as root: sysctl -w "
                    "net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0",
                    what, text, tap->name, strerror(-code));
    return fail(error, code, "dpdk-kernel-path: the kernel refuses %s %s on %s: %s", what, text,
                tap->name, strerror(-code));
}

static int make(struct tap *tap, char *error)
{
    struct ifreq request = {.ifr_name = "pollux%d", .ifr_flags = IFF_TAP | IFF_NO_PI};

    tap->fd = open(DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tap->fd < 0)
        return refuse_device(error, -errno);
    if (ioctl(tap->fd, TUNSETIFF, &request) < 0)
        return refuse_step(error, -errno, "making a TAP interface");
    memcpy(tap->name, request.ifr_name, sizeof tap->name);
    tap->name[sizeof tap->name - 1] = '\0';
    tap->interface = if_nametoindex(tap->name);
    return tap->interface != 0 ? 0 : refuse_step(error, -errno, "finding the TAP interface");
}

/* Up before it has addresses: their routes need an interface that is up. */
static int set_up(const struct tap *tap, int netlink, const struct tap_options *options,
                  char *error)
{
    int result = netlink_set_link(netlink, tap->interface, options->mac, options->mtu);

    if (result < 0)
        return refuse_step(error, result, "giving the TAP interface the port's MAC and MTU");
    result = netlink_set_up(netlink, tap->interface);
    if (result < 0)
        return refuse_step(error, result, "taking the TAP interface up");
    for (unsigned i = 0; i < options->address_count; i++) {
        result = netlink_add_address(netlink, tap->interface, &options->addresses[i]);
        if (result < 0)
            return refuse_address(tap, error, result, "dpdk-address", &options->addresses[i]);
    }
    for (unsigned i = 0; i < options->gateway_count; i++) {
        result = netlink_add_default(netlink, tap->interface, &options->gateways[i],
                                     TAP_METRIC + tap->interface);
        if (result < 0)
            return refuse_address(tap, error, result, "dpdk-gateway", &options->gateways[i]);
    }
    return 0;
}

int tap_open(struct tap *tap, const struct tap_options *options, char *error)
{
    *tap = (struct tap){.fd = -1};
    int result = make(tap, error);

    if (result == 0) {
        int netlink = netlink_open();
        result = netlink < 0 ? refuse_step(error, netlink, "opening a netlink socket")
                             : set_up(tap, netlink, options, error);
        if (netlink >= 0)
            close(netlink);
    }
    if (result < 0)
        tap_close(tap);
    return result;
}

void tap_close(struct tap *tap)
{
    if (tap->fd >= 0)
        close(tap->fd);
    tap->fd = -1;
}

int tap_read(const struct tap *tap, uint8_t *bytes, size_t room)
{
    ssize_t got;

    do
        got = read(tap->fd, bytes, room);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : (int)got;
}

int tap_write(const struct tap *tap, const uint8_t *bytes, size_t len)
{
    ssize_t put;

    do
        put = write(tap->fd, bytes, len);
    while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : 0;
}

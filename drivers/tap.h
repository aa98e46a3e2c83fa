/* TAP: an interface of the kernel's whose cable ends in this process.
 * Purpose:   makes it, with MAC, MTU and addresses, and carries frames (tuntap in the kernel's
 *            documentation). It gets the first free name of pollux0, pollux1 ...
 * Ownership: the caller owns the struct. The interface is gone, with its addresses and routes, as
 *            soon as the descriptor is closed, however the process ends.
 * Threading: one thread.
 * Errors:    negative errno, and one line in `error` that says what is missing and, where there is
 *            one, the command that mends it. */
#ifndef DRIVERS_TAP_H
#define DRIVERS_TAP_H

#include <stddef.h>
#include <stdint.h>

#include "drivers/netlink.h"

enum {
    TAP_NAME_MAX = 16,
    TAP_ERROR_MAX = 256,
    TAP_METRIC = 4096, /* of its default routes, and the interface's number: any other that the
                        * machine has comes first, and those of two servers differ */
};

struct tap {
    int fd; /* -1: none; non-blocking */
    uint32_t interface;
    char name[TAP_NAME_MAX];
};

struct tap_options {
    const uint8_t *mac;
    uint32_t mtu;
    const struct netlink_address *addresses; /* with the length of their networks' prefixes */
    unsigned address_count;
    const struct netlink_address *gateways; /* routers for default routes */
    unsigned gateway_count;
};

/* Makes the interface and takes it up. */
int tap_open(struct tap *tap, const struct tap_options *options, char *error);
/* Harmless without one. */
void tap_close(struct tap *tap);

/* One frame that the kernel sends; its length, or -EAGAIN: none. */
int tap_read(const struct tap *tap, uint8_t *bytes, size_t room);
/* One frame for the kernel. 0, or why it did not take it. */
int tap_write(const struct tap *tap, const uint8_t *bytes, size_t len);

#endif

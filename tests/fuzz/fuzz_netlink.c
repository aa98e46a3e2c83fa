/* Netlink messages: whatever the bytes, the reading ends, moves forward, and what it gives can be
 * used: families and prefixes that there are. Input: a datagram of the kernel's. */
#include "drivers/netlink.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void need(bool holds)
{
    if (!holds)
        abort();
}

static void check_address(const struct netlink_address *address, bool may_be_none)
{
    if (address->family == 0) {
        need(may_be_none);
        return;
    }
    need(address->family == AF_INET || address->family == AF_INET6);
    need(address->bits <= (address->family == AF_INET ? 32 : 128));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct netlink_message message;
    const uint8_t *at = data;
    size_t left = size;

    while (left > 0) {
        size_t before = left;
        enum netlink_kind kind = netlink_read(&at, &left, &message);
        need(kind == message.kind && kind != NETLINK_GOT_NOTHING);
        need(left < before && at == data + size - left);
        need(kind != NETLINK_GOT_BAD || left == 0);
        need(message.error <= 0);
        if (kind == NETLINK_GOT_NEIGHBOUR || kind == NETLINK_GOT_ROUTE)
            check_address(&message.address, false);
        if (kind == NETLINK_GOT_ROUTE)
            check_address(&message.gateway, true);
    }
    need(netlink_read(&at, &left, &message) == NETLINK_GOT_NOTHING);
    return 0;
}

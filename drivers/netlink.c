#include "drivers/netlink.h"

#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

enum {
    REQUEST_MAX = 256,
    ANSWERS_MAX = 64, /* messages passed over while one waits for an answer */
    RECEIVE_BYTES = 1 << 20,
    USABLE = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP,
};

/* ---- reading --------------------------------------------------------------------------------- */

/* What is left of a message or an attribute. */
struct span {
    const uint8_t *at;
    size_t left;
};

static uint32_t aligned(uint32_t len)
{
    return (len + 3) & ~UINT32_C(3);
}

static void skip(struct span *span, size_t bytes)
{
    bytes = bytes < span->left ? bytes : span->left;
    span->at += bytes;
    span->left -= bytes;
}

struct attribute {
    uint16_t type;
    struct span value;
};

enum taken { TAKEN, TAKEN_ALL, TAKEN_BAD };

static enum taken take_attribute(struct span *span, struct attribute *attribute)
{
    struct rtattr head;

    if (span->left == 0)
        return TAKEN_ALL;
    if (span->left < sizeof head)
        return TAKEN_BAD;
    memcpy(&head, span->at, sizeof head);
    if (head.rta_len < sizeof head || head.rta_len > span->left)
        return TAKEN_BAD;
    attribute->type = head.rta_type & NLA_TYPE_MASK;
    attribute->value = (struct span){span->at + sizeof head, head.rta_len - sizeof head};
    skip(span, aligned(head.rta_len));
    return TAKEN;
}

static size_t address_bytes(uint8_t family)
{
    return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
}

static bool take_address(const struct span *value, uint8_t family, struct netlink_address *address)
{
    size_t bytes = address_bytes(family);

    if (bytes == 0 || value->left != bytes)
        return false;
    address->family = family;
    address->bits = (uint8_t)(bytes * 8);
    memcpy(address->bytes, value->at, bytes);
    return true;
}

static bool take_u32(const struct span *value, uint32_t *number)
{
    if (value->left != sizeof *number)
        return false;
    memcpy(number, value->at, sizeof *number);
    return true;
}

static enum netlink_kind read_neighbour(struct span body, bool gone,
                                        struct netlink_message *message)
{
    struct attribute attribute;
    struct ndmsg head;
    enum taken taken;
    bool has_mac = false;

    if (body.left < sizeof head)
        return NETLINK_GOT_BAD;
    memcpy(&head, body.at, sizeof head);
    skip(&body, aligned(sizeof head));
    message->interface = (uint32_t)head.ndm_ifindex;
    while ((taken = take_attribute(&body, &attribute)) == TAKEN) {
        if (attribute.type == NDA_DST &&
            !take_address(&attribute.value, head.ndm_family, &message->address))
            return NETLINK_GOT_OTHER;
        if (attribute.type == NDA_LLADDR && attribute.value.left == sizeof message->mac) {
            memcpy(message->mac, attribute.value.at, sizeof message->mac);
            has_mac = true;
        }
    }
    if (taken == TAKEN_BAD)
        return NETLINK_GOT_BAD;
    message->gone = gone || !has_mac || (head.ndm_state & USABLE) == 0;
    return message->address.family == 0 || (head.ndm_flags & NTF_PROXY) != 0
               ? NETLINK_GOT_OTHER
               : NETLINK_GOT_NEIGHBOUR;
}

/* struct rtvia: a family, then an address of it. */
static bool take_via(const struct span *value, struct netlink_address *gateway)
{
    uint16_t family;

    if (value->left < sizeof family)
        return false;
    memcpy(&family, value->at, sizeof family);
    struct span address = {value->at + sizeof family, value->left - sizeof family};
    return family <= UINT8_MAX && take_address(&address, (uint8_t)family, gateway);
}

/* False: the attribute is not what it should be, or the route has no single next hop. */
static bool take_route_attribute(const struct attribute *attribute, uint8_t family,
                                 struct netlink_message *message, uint32_t *table)
{
    switch (attribute->type) {
    case RTA_DST:
        return take_address(&attribute->value, family, &message->address);
    case RTA_GATEWAY:
        return take_address(&attribute->value, family, &message->gateway);
    case RTA_VIA:
        return take_via(&attribute->value, &message->gateway);
    case RTA_OIF:
        return take_u32(&attribute->value, &message->interface);
    case RTA_PRIORITY:
        return take_u32(&attribute->value, &message->metric);
    case RTA_TABLE:
        return take_u32(&attribute->value, table);
    case RTA_MULTIPATH:
    case RTA_ENCAP:
        return false;
    default:
        return true;
    }
}

static enum netlink_kind read_route(struct span body, bool gone, struct netlink_message *message)
{
    struct attribute attribute;
    struct rtmsg head;
    enum taken taken;
    bool plain = true;

    if (body.left < sizeof head)
        return NETLINK_GOT_BAD;
    memcpy(&head, body.at, sizeof head);
    skip(&body, aligned(sizeof head));
    size_t bytes = address_bytes(head.rtm_family);
    uint32_t table = head.rtm_table;
    if (bytes == 0)
        return NETLINK_GOT_OTHER;
    message->address.family = head.rtm_family; /* the default route has no RTA_DST */
    while ((taken = take_attribute(&body, &attribute)) == TAKEN)
        plain = take_route_attribute(&attribute, head.rtm_family, message, &table) && plain;
    if (taken == TAKEN_BAD || head.rtm_dst_len > bytes * 8)
        return NETLINK_GOT_BAD;
    message->address.bits = head.rtm_dst_len;
    message->gone = gone;
    return plain && table == RT_TABLE_MAIN && head.rtm_type == RTN_UNICAST &&
                   head.rtm_src_len == 0 && head.rtm_tos == 0 &&
                   (head.rtm_flags & RTM_F_CLONED) == 0
               ? NETLINK_GOT_ROUTE
               : NETLINK_GOT_OTHER;
}

/* Of NLMSG_ERROR and, where it has one, of NLMSG_DONE. */
static int read_error(const struct span *body)
{
    int32_t error = 0;

    if (body->left >= sizeof error)
        memcpy(&error, body->at, sizeof error);
    return error > 0 || error < -4095 ? -EPROTO : error;
}

static enum netlink_kind read_body(const struct nlmsghdr *head, struct span body,
                                   struct netlink_message *message)
{
    switch (head->nlmsg_type) {
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
        return read_neighbour(body, head->nlmsg_type == RTM_DELNEIGH, message);
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
        return read_route(body, head->nlmsg_type == RTM_DELROUTE, message);
    case NLMSG_DONE:
        message->error = read_error(&body);
        return NETLINK_GOT_DONE;
    case NLMSG_ERROR:
        if (body.left < sizeof(int32_t))
            return NETLINK_GOT_BAD;
        message->error = read_error(&body);
        return NETLINK_GOT_ACK;
    default:
        return NETLINK_GOT_OTHER;
    }
}

enum netlink_kind netlink_read(const uint8_t **at, size_t *left, struct netlink_message *message)
{
    struct span rest = {*at, *left};
    struct nlmsghdr head;

    *message = (struct netlink_message){.kind = NETLINK_GOT_NOTHING};
    if (rest.left == 0)
        return NETLINK_GOT_NOTHING;
    if (rest.left >= sizeof head)
        memcpy(&head, rest.at, sizeof head);
    if (rest.left < sizeof head || head.nlmsg_len < sizeof head || head.nlmsg_len > rest.left) {
        message->kind = NETLINK_GOT_BAD;
        skip(&rest, rest.left);
    } else {
        struct span body = {rest.at + sizeof head, head.nlmsg_len - sizeof head};
        message->sequence = head.nlmsg_seq;
        message->interrupted = (head.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
        message->kind = read_body(&head, body, message);
        size_t step = ((size_t)head.nlmsg_len + 3) & ~(size_t)3;
        skip(&rest, message->kind == NETLINK_GOT_BAD ? rest.left : step);
    }
    *at = rest.at;
    *left = rest.left;
    return message->kind;
}

/* ---- sockets --------------------------------------------------------------------------------- */

static int open_socket(int flags, uint32_t groups)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, NETLINK_ROUTE);
    struct sockaddr_nl own = {.nl_family = AF_NETLINK, .nl_groups = groups};

    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&own, sizeof own) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

int netlink_open(void)
{
    struct timeval timeout = {.tv_sec = NETLINK_ANSWER_MS / 1000};
    int fd = open_socket(0, 0);

    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int netlink_subscribe(void)
{
    int fd = open_socket(SOCK_NONBLOCK, RTMGRP_NEIGH | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE);
    int bytes = RECEIVE_BYTES;

    /* Less room only means that a burst of changes leads to a dump. */
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    return fd;
}

int netlink_receive(int fd, uint8_t *buffer, size_t buffer_bytes)
{
    struct sockaddr_nl from = {0};
    struct iovec vector = {.iov_base = buffer, .iov_len = buffer_bytes};
    struct msghdr message = {.msg_name = &from,
                             .msg_namelen = sizeof from,
                             .msg_iov = &vector,
                             .msg_iovlen = 1};
    ssize_t got;

    do
        got = recvmsg(fd, &message, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    if ((message.msg_flags & MSG_TRUNC) != 0)
        return -ENOBUFS;
    return from.nl_pid != 0 ? 0 : (int)got; /* any process may send to us; the kernel is 0 */
}

/* ---- requests -------------------------------------------------------------------------------- */

struct request {
    struct nlmsghdr head;
    uint8_t body[REQUEST_MAX];
};

static struct request begin(uint16_t type, uint16_t flags, const void *body, size_t bytes)
{
    struct request request = {.head = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags}};

    memcpy(request.body, body, bytes);
    request.head.nlmsg_len = (uint32_t)sizeof request.head + aligned((uint32_t)bytes);
    return request;
}

static void add(struct request *request, uint16_t type, const void *value, size_t bytes)
{
    struct rtattr head = {.rta_len = (uint16_t)(sizeof head + bytes), .rta_type = type};
    uint8_t *at = (uint8_t *)request + request->head.nlmsg_len;

    assert(request->head.nlmsg_len + sizeof head + bytes + 3 <= sizeof *request);
    memcpy(at, &head, sizeof head);
    memcpy(at + sizeof head, value, bytes);
    request->head.nlmsg_len += aligned(head.rta_len);
}

static int transmit(int fd, const struct request *request)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t sent;

    do
        sent = sendto(fd, request, request->head.nlmsg_len, 0, (struct sockaddr *)&kernel,
                      sizeof kernel);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

/* Sends it and returns the kernel's answer. Answers come in the order of the requests. */
static int ask(int fd, struct request *request)
{
    uint8_t buffer[4096];
    struct netlink_message message;

    request->head.nlmsg_flags |= NLM_F_ACK;
    int result = transmit(fd, request);
    if (result < 0)
        return result;
    for (int i = 0; i < ANSWERS_MAX; i++) {
        result = netlink_receive(fd, buffer, sizeof buffer);
        if (result < 0)
            return result == -EAGAIN ? -ETIMEDOUT : result;
        const uint8_t *at = buffer;
        size_t left = (size_t)result;
        while (netlink_read(&at, &left, &message) != NETLINK_GOT_NOTHING)
            if (message.kind == NETLINK_GOT_ACK)
                return message.error;
    }
    return -EPROTO;
}

int netlink_dump(int fd, enum netlink_table table, uint32_t sequence)
{
    struct ndmsg neighbours = {.ndm_family = AF_UNSPEC};
    struct rtmsg routes = {.rtm_family = AF_UNSPEC};
    struct request request = table == NETLINK_NEIGHBOURS
                                 ? begin(RTM_GETNEIGH, NLM_F_DUMP, &neighbours, sizeof neighbours)
                                 : begin(RTM_GETROUTE, NLM_F_DUMP, &routes, sizeof routes);

    request.head.nlmsg_seq = sequence;
    return transmit(fd, &request);
}

int netlink_set_link(int fd, uint32_t interface, const uint8_t mac[6], uint32_t mtu)
{
    struct ifinfomsg body = {.ifi_index = (int)interface};
    struct request request = begin(RTM_NEWLINK, 0, &body, sizeof body);

    add(&request, IFLA_ADDRESS, mac, 6);
    add(&request, IFLA_MTU, &mtu, sizeof mtu);
    return ask(fd, &request);
}

int netlink_set_up(int fd, uint32_t interface)
{
    struct ifinfomsg body = {.ifi_index = (int)interface,
                             .ifi_flags = IFF_UP,
                             .ifi_change = IFF_UP};
    struct request request = begin(RTM_NEWLINK, 0, &body, sizeof body);

    return ask(fd, &request);
}

int netlink_add_address(int fd, uint32_t interface, const struct netlink_address *address)
{
    struct ifaddrmsg body = {.ifa_family = address->family,
                             .ifa_prefixlen = address->bits,
                             .ifa_flags = address->family == AF_INET6 ? IFA_F_NODAD : 0,
                             .ifa_index = interface};
    struct request request = begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof body);

    add(&request, IFA_LOCAL, address->bytes, address_bytes(address->family));
    add(&request, IFA_ADDRESS, address->bytes, address_bytes(address->family));
    return ask(fd, &request);
}

int netlink_add_default(int fd, uint32_t interface, const struct netlink_address *gateway,
                        uint32_t metric)
{
    struct rtmsg body = {.rtm_family = gateway->family,
                         .rtm_table = RT_TABLE_MAIN,
                         .rtm_protocol = RTPROT_STATIC,
                         .rtm_scope = RT_SCOPE_UNIVERSE,
                         .rtm_type = RTN_UNICAST,
                         /* A router need not lie within the prefix of an address. */
                         .rtm_flags = RTNH_F_ONLINK};
    struct request request = begin(RTM_NEWROUTE, NLM_F_CREATE, &body, sizeof body);

    add(&request, RTA_GATEWAY, gateway->bytes, address_bytes(gateway->family));
    add(&request, RTA_OIF, &interface, sizeof interface);
    add(&request, RTA_PRIORITY, &metric, sizeof metric);
    return ask(fd, &request);
}

int netlink_want_neighbour(int fd, uint32_t interface, const struct netlink_address *address)
{
    struct ndmsg body = {.ndm_family = address->family,
                         .ndm_ifindex = (int)interface,
                         .ndm_flags = NTF_USE};
    struct request request = begin(RTM_NEWNEIGH, NLM_F_CREATE, &body, sizeof body);

    add(&request, NDA_DST, address->bytes, address_bytes(address->family));
    return ask(fd, &request);
}

/* Messages as the kernel sends them, and as it never would. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "drivers/netlink.h"

static const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};
static const uint8_t router[4] = {10, 9, 0, 254};

struct text {
    size_t len;
    uint8_t bytes[512];
};

static struct nlmsghdr *begin(struct text *text, uint16_t type, const void *body, size_t bytes)
{
    struct nlmsghdr *head = (struct nlmsghdr *)(text->bytes + text->len);

    *head = (struct nlmsghdr){.nlmsg_type = type, .nlmsg_seq = 7};
    memcpy(head + 1, body, bytes);
    head->nlmsg_len = (uint32_t)(sizeof *head + bytes);
    text->len += head->nlmsg_len;
    return head;
}

static struct rtattr *add(struct text *text, struct nlmsghdr *head, uint16_t type,
                          const void *value, size_t bytes)
{
    struct rtattr *attribute = (struct rtattr *)(text->bytes + text->len);

    attribute->rta_type = type;
    attribute->rta_len = (uint16_t)(sizeof *attribute + bytes);
    memcpy(attribute + 1, value, bytes);
    text->len += (attribute->rta_len + 3u) & ~3u;
    head->nlmsg_len = (uint32_t)(text->bytes + text->len - (uint8_t *)head);
    return attribute;
}

static struct nlmsghdr *neighbour(struct text *text, uint16_t type, uint16_t state)
{
    struct ndmsg body = {.ndm_family = AF_INET, .ndm_ifindex = 4, .ndm_state = state};
    struct nlmsghdr *head = begin(text, type, &body, sizeof body);

    add(text, head, NDA_DST, router, sizeof router);
    add(text, head, NDA_LLADDR, mac, sizeof mac);
    return head;
}

static struct nlmsghdr *route(struct text *text, uint8_t table, uint8_t type)
{
    struct rtmsg body = {.rtm_family = AF_INET,
                         .rtm_table = table,
                         .rtm_type = type,
                         .rtm_dst_len = 0};
    struct nlmsghdr *head = begin(text, RTM_NEWROUTE, &body, sizeof body);
    uint32_t interface = 4, metric = 4096;

    add(text, head, RTA_GATEWAY, router, sizeof router);
    add(text, head, RTA_OIF, &interface, sizeof interface);
    add(text, head, RTA_PRIORITY, &metric, sizeof metric);
    return head;
}

static enum netlink_kind read_one(const struct text *text, struct netlink_message *message)
{
    const uint8_t *at = text->bytes;
    size_t left = text->len;

    return netlink_read(&at, &left, message);
}

Test(netlink, a_neighbour_has_address_and_mac)
{
    struct text text = {0};
    struct netlink_message message;

    neighbour(&text, RTM_NEWNEIGH, NUD_REACHABLE);
    cr_assert_eq(read_one(&text, &message), NETLINK_GOT_NEIGHBOUR);
    cr_assert_eq(message.interface, 4);
    cr_assert_eq(message.address.family, AF_INET);
    cr_assert_eq(message.address.bits, 32);
    cr_assert_arr_eq(message.address.bytes, router, 4);
    cr_assert_arr_eq(message.mac, mac, 6);
    cr_assert_not(message.gone);
    cr_assert_eq(message.sequence, 7);
}

Test(netlink, a_neighbour_that_failed_or_was_deleted_is_gone)
{
    static const uint16_t cases[][2] = {{RTM_NEWNEIGH, NUD_FAILED},
                                        {RTM_NEWNEIGH, NUD_INCOMPLETE},
                                        {RTM_NEWNEIGH, NUD_NONE},
                                        {RTM_DELNEIGH, NUD_REACHABLE}};

    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text text = {0};
        struct netlink_message message;
        neighbour(&text, cases[i][0], cases[i][1]);
        cr_assert_eq(read_one(&text, &message), NETLINK_GOT_NEIGHBOUR);
        cr_assert(message.gone, "case %u", i);
    }
}

Test(netlink, a_default_route_has_gateway_and_metric)
{
    struct text text = {0};
    struct netlink_message message;

    route(&text, RT_TABLE_MAIN, RTN_UNICAST);
    cr_assert_eq(read_one(&text, &message), NETLINK_GOT_ROUTE);
    cr_assert_eq(message.interface, 4);
    cr_assert_eq(message.metric, 4096);
    cr_assert_eq(message.address.family, AF_INET);
    cr_assert_eq(message.address.bits, 0);
    cr_assert_eq(message.gateway.family, AF_INET);
    cr_assert_arr_eq(message.gateway.bytes, router, 4);
}

Test(netlink, routes_of_other_tables_and_kinds_are_passed_over)
{
    struct netlink_message message;
    struct text local = {0}, blackhole = {0}, many = {0};

    route(&local, RT_TABLE_LOCAL, RTN_UNICAST);
    cr_assert_eq(read_one(&local, &message), NETLINK_GOT_OTHER);
    route(&blackhole, RT_TABLE_MAIN, RTN_BLACKHOLE);
    cr_assert_eq(read_one(&blackhole, &message), NETLINK_GOT_OTHER);
    add(&many, route(&many, RT_TABLE_MAIN, RTN_UNICAST), RTA_MULTIPATH, router, 4);
    cr_assert_eq(read_one(&many, &message), NETLINK_GOT_OTHER);
}

Test(netlink, routes_of_unknown_families_hide_nothing_behind_them)
{
    struct rtmsg multicast = {.rtm_family = 128, .rtm_dst_len = 32};
    struct netlink_message message;
    struct text text = {0};

    begin(&text, RTM_NEWROUTE, &multicast, sizeof multicast);
    route(&text, RT_TABLE_MAIN, RTN_UNICAST);
    const uint8_t *at = text.bytes;
    size_t left = text.len;
    cr_assert_eq(netlink_read(&at, &left, &message), NETLINK_GOT_OTHER);
    cr_assert_eq(netlink_read(&at, &left, &message), NETLINK_GOT_ROUTE);
}

Test(netlink, an_ipv4_route_may_have_an_ipv6_router)
{
    struct text text = {0};
    struct netlink_message message;
    uint8_t via[18] = {0};
    uint16_t family = AF_INET6;

    memcpy(via, &family, sizeof family);
    via[2] = 0xfe;
    via[3] = 0x80;
    via[17] = 1;
    add(&text, route(&text, RT_TABLE_MAIN, RTN_UNICAST), RTA_VIA, via, sizeof via);
    cr_assert_eq(read_one(&text, &message), NETLINK_GOT_ROUTE);
    cr_assert_eq(message.gateway.family, AF_INET6);
    cr_assert_eq(message.gateway.bytes[0], 0xfe);
    cr_assert_eq(message.gateway.bytes[15], 1);
}

Test(netlink, messages_of_one_datagram_come_one_by_one)
{
    struct text text = {0};
    struct netlink_message message;
    int32_t nothing = 0, refused = -EPERM;

    neighbour(&text, RTM_NEWNEIGH, NUD_STALE);
    route(&text, RT_TABLE_MAIN, RTN_UNICAST);
    begin(&text, NLMSG_ERROR, &refused, sizeof refused);
    begin(&text, NLMSG_DONE, &nothing, sizeof nothing);
    const uint8_t *at = text.bytes;
    size_t left = text.len;
    cr_assert_eq(netlink_read(&at, &left, &message), NETLINK_GOT_NEIGHBOUR);
    cr_assert_eq(netlink_read(&at, &left, &message), NETLINK_GOT_ROUTE);
    cr_assert_eq(netlink_read(&at, &left, &message), NETLINK_GOT_ACK);
    cr_assert_eq(message.error, -EPERM);
    cr_assert_eq(netlink_read(&at, &left, &message), NETLINK_GOT_DONE);
    cr_assert_eq(message.error, 0);
    cr_assert_eq(netlink_read(&at, &left, &message), NETLINK_GOT_NOTHING);
    cr_assert_eq(left, 0);
    cr_assert_eq(at, text.bytes + text.len);
}

Test(netlink, lengths_that_cannot_be_end_the_reading)
{
    static const uint32_t lengths[] = {0, 1, 15, 4096, UINT32_MAX, UINT32_MAX - 2};
    struct netlink_message message;

    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct text text = {0};
        neighbour(&text, RTM_NEWNEIGH, NUD_STALE)->nlmsg_len = lengths[i];
        const uint8_t *at = text.bytes;
        size_t left = text.len;
        cr_assert_eq(netlink_read(&at, &left, &message), NETLINK_GOT_BAD, "length %u", lengths[i]);
        cr_assert_eq(left, 0);
        cr_assert_eq(netlink_read(&at, &left, &message), NETLINK_GOT_NOTHING);
    }
}

Test(netlink, attributes_that_run_past_their_message_are_refused)
{
    static const uint16_t lengths[] = {0, 3, 200, UINT16_MAX};
    struct netlink_message message;

    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct text text = {0};
        struct ndmsg body = {.ndm_family = AF_INET};
        struct nlmsghdr *head = begin(&text, RTM_NEWNEIGH, &body, sizeof body);
        add(&text, head, NDA_DST, router, sizeof router)->rta_len = lengths[i];
        cr_assert_eq(read_one(&text, &message), NETLINK_GOT_BAD, "length %u", lengths[i]);
    }
}

Test(netlink, an_address_of_the_wrong_length_is_none)
{
    struct text text = {0}, route_text = {0};
    struct ndmsg body = {.ndm_family = AF_INET6};
    struct rtmsg route_body = {.rtm_family = AF_INET, .rtm_dst_len = 33};
    struct netlink_message message;

    add(&text, begin(&text, RTM_NEWNEIGH, &body, sizeof body), NDA_DST, router, sizeof router);
    cr_assert_eq(read_one(&text, &message), NETLINK_GOT_OTHER);
    begin(&route_text, RTM_NEWROUTE, &route_body, sizeof route_body);
    cr_assert_eq(read_one(&route_text, &message), NETLINK_GOT_BAD);
}

Test(netlink, every_truncation_is_survived)
{
    struct text text = {0};
    struct netlink_message message;

    neighbour(&text, RTM_NEWNEIGH, NUD_STALE);
    for (size_t len = 1; len < text.len; len++) {
        uint8_t *exact = malloc(len); /* so that ASan sees a byte too far */
        const uint8_t *at = exact;
        size_t left = len;
        memcpy(exact, text.bytes, len);
        cr_assert_eq(netlink_read(&at, &left, &message), NETLINK_GOT_BAD);
        cr_assert_eq(left, 0);
        if (len >= sizeof(struct nlmsghdr)) {
            ((struct nlmsghdr *)exact)->nlmsg_len = (uint32_t)len;
            at = exact;
            left = len;
            netlink_read(&at, &left, &message);
            cr_assert_eq(left, 0);
        }
        free(exact);
    }
}

Test(netlink, the_kernel_answers_a_dump)
{
    uint8_t buffer[NETLINK_BUFFER_BYTES];
    struct netlink_message message;
    int fd = netlink_subscribe(), datagrams = 0;
    bool done = false;

    cr_assert_geq(fd, 0);
    cr_assert_eq(netlink_dump(fd, NETLINK_ROUTES, 42), 0);
    while (!done && datagrams++ < 1000) {
        int got = netlink_receive(fd, buffer, sizeof buffer);
        cr_assert_geq(got, 0, "%s", strerror(-got));
        const uint8_t *at = buffer;
        size_t left = (size_t)got;
        while (netlink_read(&at, &left, &message) != NETLINK_GOT_NOTHING) {
            cr_assert_neq(message.kind, NETLINK_GOT_BAD);
            done = done || (message.kind == NETLINK_GOT_DONE && message.sequence == 42);
        }
    }
    cr_assert(done);
    cr_assert_eq(netlink_receive(fd, buffer, sizeof buffer), -EAGAIN);
    close(fd);
}

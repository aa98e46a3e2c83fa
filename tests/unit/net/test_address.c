#include <criterion/criterion.h>
#include <errno.h>

#include "dataplane/net/address.h"

static struct net_address of(const char *text)
{
    struct net_address address;

    cr_assert_eq(net_address_parse(text, &address), 0, "%s", text);
    return address;
}

static struct net_prefix prefix_of(const char *text)
{
    struct net_prefix prefix;

    cr_assert_eq(net_prefix_parse(text, &prefix), 0, "%s", text);
    return prefix;
}

Test(address, is_read_and_written)
{
    static const char *const texts[] = {"10.9.0.1",    "0.0.0.0", "255.255.255.255",
                                        "2001:db8::1", "::",      "fe80::1:2"};
    char text[NET_ADDRESS_TEXT], shown[NET_ENDPOINT_TEXT];

    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct net_address address = of(texts[i]);

        cr_assert_str_eq(net_address_format(&address, text, sizeof(text)), texts[i]);
    }
    struct net_endpoint v4 = {of("10.9.0.1"), 6379}, v6 = {of("2001:db8::1"), 6379};
    cr_assert_str_eq(net_endpoint_format(&v4, shown, sizeof(shown)), "10.9.0.1:6379");
    cr_assert_str_eq(net_endpoint_format(&v6, shown, sizeof(shown)), "[2001:db8::1]:6379");
    struct net_endpoint long6 = {of("1111:2222:3333:4444:5555:6666:7777:8888"), 65535};
    cr_assert_str_eq(net_endpoint_format(&long6, shown, sizeof(shown)),
                     "[1111:2222:3333:4444:5555:6666:7777:8888]:65535");
    cr_assert_str_eq(net_address_format(&long6.address, text, 5), "1111");
}

Test(address, refuses_what_is_none)
{
    static const char *const texts[] = {"",    "10.9.0", "10.9.0.256", "10.9.0.1 ",
                                        "::g", "1:2:3",  "localhost",  "10.9.0.1/24"};
    struct net_address address;

    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cr_assert_eq(net_address_parse(texts[i], &address), -EINVAL, "%s", texts[i]);
}

Test(address, prefixes_are_read_and_matched)
{
    static const char *const wrong[] = {"10.9.0.1/33", "10.9.0.1/",   "10.9.0.1/-1",   "::1/129",
                                        "/24",         "10.0.0.0/2x", "10.0.0.0/0024", ""};
    struct net_prefix prefix;
    static const struct {
        const char *prefix, *address;
        bool in;
    } cases[] = {
        {"10.9.0.0/24", "10.9.0.255", true},
        {"10.9.0.0/24", "10.9.1.0", false},
        {"10.9.0.0/23", "10.9.1.7", true},
        {"0.0.0.0/0", "8.8.8.8", true},
        {"0.0.0.0/0", "2001::1", false},
        {"::/0", "2001::1", true},
        {"10.9.0.1", "10.9.0.1", true},
        {"10.9.0.1", "10.9.0.2", false},
        {"2001:db8::/61", "2001:db8:0:7::1", true},
        {"2001:db8::/61", "2001:db8:0:8::1", false},
    };

    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_eq(net_prefix_parse(wrong[i], &prefix), -EINVAL, "%s", wrong[i]);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_address address = of(cases[i].address);

        prefix = prefix_of(cases[i].prefix);
        cr_assert_eq(net_address_in(&address, &prefix), cases[i].in, "%s in %s", cases[i].address,
                     cases[i].prefix);
    }
    cr_assert_eq(prefix_of("10.9.0.1/24").bits, 120);
    cr_assert_eq(prefix_of("2001:db8::/32").bits, 32);
}

Test(address, kinds_are_told_apart)
{
    enum { UNICAST = 1, MULTICAST = 2, LOOPBACK = 4, LINK_LOCAL = 8, UNSPECIFIED = 16 };
    static const struct {
        const char *address;
        int kinds;
    } cases[] = {
        {"10.0.0.1", UNICAST},
        {"223.255.255.255", UNICAST},
        {"224.0.0.1", MULTICAST},
        {"239.1.2.3", MULTICAST},
        {"240.0.0.1", 0},
        {"255.255.255.255", 0},
        {"127.0.0.1", LOOPBACK},
        {"0.0.0.0", UNSPECIFIED},
        {"0.1.2.3", 0},
        {"169.254.3.4", UNICAST | LINK_LOCAL},
        {"2001:db8::1", UNICAST},
        {"ff02::1", MULTICAST},
        {"::1", LOOPBACK},
        {"::", UNSPECIFIED},
        {"fe80::1", UNICAST | LINK_LOCAL},
        {"febf::1", UNICAST | LINK_LOCAL},
        {"fec0::1", UNICAST},
        {"1::", UNICAST},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_address address = of(cases[i].address);
        int kinds = net_address_is_unicast(&address) * UNICAST |
                    net_address_is_multicast(&address) * MULTICAST |
                    net_address_is_loopback(&address) * LOOPBACK |
                    net_address_is_link_local(&address) * LINK_LOCAL |
                    net_address_is_unspecified(&address) * UNSPECIFIED;

        cr_assert_eq(kinds, cases[i].kinds, "%s is %d", cases[i].address, kinds);
    }
}

Test(address, broadcasts_are_those_of_the_prefix)
{
    static const struct {
        const char *prefix, *address;
        bool broadcast;
    } cases[] = {
        {"10.9.0.1/24", "10.9.0.255", true},  {"10.9.0.1/24", "10.9.0.0", true},
        {"10.9.0.1/24", "10.9.0.254", false}, {"10.9.0.1/24", "10.9.1.255", false},
        {"10.9.0.1/31", "10.9.0.1", false},   {"10.9.0.1/30", "10.9.0.3", true},
        {"10.9.0.1/32", "10.9.0.1", false},   {"2001::1/64", "2001::ffff", false},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_prefix prefix = prefix_of(cases[i].prefix);
        struct net_address address = of(cases[i].address);

        cr_assert_eq(net_address_is_broadcast(&address, &prefix), cases[i].broadcast, "%s of %s",
                     cases[i].address, cases[i].prefix);
    }
}

Test(address, has_a_solicited_group_and_its_mac)
{
    struct net_address address = of("2001:db8::1:2345:6789"), group = of("ff02::1:ff45:6789");
    struct net_address got = net_address_solicited(&address);
    const uint8_t want[6] = {0x33, 0x33, 0xff, 0x45, 0x67, 0x89};
    uint8_t mac[6];

    cr_assert(net_address_equal(&got, &group));
    net_address_multicast_mac(&group, mac);
    cr_assert_arr_eq(mac, want, 6);
}

/* One bit anywhere makes another flow, with another hash. */
Test(address, flows_differ_in_every_bit)
{
    struct siphash_key key = {1, 2};
    struct net_flow flow = {of("2001:db8::1"), of("2001:db8::2"), 1234, 6379}, other;

    for (unsigned bit = 0; bit < 8 * sizeof(flow); bit++) {
        other = flow;
        ((uint8_t *)&other)[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_not(net_flow_equal(&flow, &other), "bit %u", bit);
        cr_assert_neq(net_flow_hash(&key, &flow), net_flow_hash(&key, &other), "bit %u", bit);
    }
    other = flow;
    cr_assert(net_flow_equal(&flow, &other));
}

Test(address, flows_of_ipv4_hash_by_all_that_differs)
{
    struct siphash_key key = {1, 2}, key2 = {1, 3};
    struct net_flow flow = {of("10.9.0.1"), of("10.9.0.2"), 1234, 6379}, other;

    for (unsigned bit = 0; bit < 32; bit++) {
        for (unsigned at = 12; at < 36; at += at == 12 ? 16 : 4) { /* remote, local, ports */
            other = flow;
            ((uint8_t *)&other)[at + bit / 8] ^= (uint8_t)(1 << bit % 8);
            cr_assert_neq(net_flow_hash(&key, &flow), net_flow_hash(&key, &other));
        }
    }
    cr_assert_neq(net_flow_hash(&key, &flow), net_flow_hash(&key2, &flow));
}

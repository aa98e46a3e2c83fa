#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "dataplane/net/icmp.h"
#include "tests/unit/net/lone_port.h"

static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 9}, our_mac[6] = {2, 0, 0, 0, 0, 1};

struct world {
    struct lone_port port;
    struct net_link link;
    struct net_icmp icmp;
    uint8_t bytes[2048];
    struct frame frame;
};

static struct net_address address(const char *text)
{
    struct net_address parsed;

    cr_assert_eq(net_address_parse(text, &parsed), 0, "%s", text);
    return parsed;
}

static void begin(struct world *world)
{
    struct net_prefix own[2];

    net_prefix_parse("10.9.0.1/24", &own[0]);
    net_prefix_parse("fd00:9::1/64", &own[1]);
    lone_port_init(&world->port);
    struct net_link_options options = {.port = &world->port.base,
                                       .addresses = own,
                                       .address_count = 2,
                                       .vlan = WIRE_NO_VLAN};
    cr_assert_eq(net_link_init(&world->link, &options), 0);
    net_icmp_init(&world->icmp, &world->link);
}

static struct packet *ping(struct world *world, const char *from, const char *to,
                           const uint8_t mac[6], uint8_t type, unsigned payload, uint64_t now_us)
{
    struct net_address source = address(from), destination = address(to);
    bool v4 = net_address_is_v4(&source);
    uint8_t protocol = v4 ? WIRE_ICMP : WIRE_ICMPV6;
    unsigned len = 8 + payload;
    unsigned at =
        wire_write_ethernet(world->bytes, mac, peer_mac, WIRE_NO_VLAN, v4 ? WIRE_IPV4 : WIRE_IPV6);

    at += wire_write_ip(world->bytes + at, &source, &destination, protocol, 0, 64, len);
    uint8_t *body = world->bytes + at;
    memset(body, 0, 8);
    body[0] = type;
    wire_put16(body + 4, 0x1234);
    wire_put16(body + 6, 7);
    for (unsigned i = 0; i < payload; i++)
        body[8 + i] = (uint8_t)i;
    uint64_t sum = checksum_sum(body, len);
    if (!v4)
        sum = checksum_add(sum, checksum_pseudo(&source, &destination, protocol, len));
    uint16_t checksum = checksum_finish(sum);
    memcpy(body + 2, &checksum, 2);
    cr_assert_eq(wire_parse(world->bytes, at + len, &world->frame), v4 ? FRAME_ICMP : FRAME_ICMPV6);
    cr_assert(wire_checksum_good(&world->frame));
    return net_icmp_input(&world->icmp, &world->frame, now_us);
}

static void echoes(const char *from, const char *to, uint8_t type, uint8_t reply, unsigned payload)
{
    struct world world;
    struct frame frame;

    begin(&world);
    struct packet *packet = ping(&world, from, to, our_mac, type, payload, 1);
    cr_assert_not_null(packet);
    wire_parse(packet->data, packet->len, &frame);
    cr_assert(wire_ip_checksum_good(&frame));
    cr_assert(wire_checksum_good(&frame));
    cr_assert_eq(frame.l4_len, 8 + payload);
    cr_assert_eq(frame.l4[0], reply);
    cr_assert_eq(memcmp(frame.l4 + 4, world.frame.l4 + 4, 4 + payload), 0);
    cr_assert_eq(memcmp(frame_destination_mac(&frame), peer_mac, 6), 0);
    cr_assert_eq(memcmp(frame_source_mac(&frame), our_mac, 6), 0);
    packet_release(&world.port.base, packet);
    cr_assert_eq(world.icmp.counters.echoes, 1);
}

Test(icmp, echoes_what_it_was_sent)
{
    static const unsigned sizes[] = {0, 1, 56, 1000, 1472};

    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        echoes("10.9.0.2", "10.9.0.1", 8, 0, sizes[i]);
}

Test(icmp, echoes_in_version_6)
{
    static const unsigned sizes[] = {0, 1, 56, 1452};

    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        echoes("fd00:9::2", "fd00:9::1", 128, 129, sizes[i]);
}

Test(icmp, says_nothing_to_who_is_nobody_or_to_everybody)
{
    static const uint8_t everyone[6] = {255, 255, 255, 255, 255, 255};
    struct world world;

    begin(&world);
    cr_assert_null(ping(&world, "10.9.0.2", "10.9.0.3", our_mac, 8, 8, 1));
    cr_assert_null(ping(&world, "10.9.0.2", "10.9.0.1", everyone, 8, 8, 1));
    cr_assert_null(ping(&world, "10.9.0.1", "10.9.0.1", our_mac, 8, 8, 1));
    cr_assert_null(ping(&world, "10.9.0.2", "10.9.0.1", our_mac, 0, 8, 1)); /* a reply */
    cr_assert_null(ping(&world, "10.9.0.255", "10.9.0.1", our_mac, 8, 8, 1));
    cr_assert_eq(world.icmp.counters.ignored, 5);
    cr_assert_eq(world.port.live, 0);
}

Test(icmp, a_flood_is_answered_up_to_the_limit)
{
    struct world world;
    unsigned answered = 0;

    begin(&world);
    for (unsigned i = 0; i < 2 * ICMP_ECHOES_PER_S; i++) {
        struct packet *packet =
            ping(&world, "10.9.0.2", "10.9.0.1", our_mac, 8, 8, 1000 + i * 50); /* one second */
        if (packet != NULL) {
            answered++;
            packet_release(&world.port.base, packet);
        }
    }
    cr_assert_leq(answered, ICMP_ECHOES_PER_S + ICMP_ECHOES_PER_S / 10 + 1);
    cr_assert_geq(answered, ICMP_ECHOES_PER_S);
}

/* ---- errors ---- */

static const struct icmp_flow established = {.snd_una = 0xfffffff0,
                                             .snd_nxt = 0x1000,
                                             .path_mtu = 1500,
                                             .is_synchronized = true,
                                             .is_v4 = true};

static enum icmp_verdict judge(const struct icmp_flow *flow, uint8_t type, uint8_t code,
                               uint32_t seq, uint32_t mtu, int *value)
{
    struct world world;
    struct wire_quote quote = {.type = type, .code = code, .seq = seq, .mtu = mtu};

    begin(&world);
    return net_icmp_judge(&world.icmp, &quote, flow, value);
}

Test(icmp, refuses_errors_about_bytes_that_are_not_on_their_way)
{
    int value;

    cr_assert_eq(judge(&established, 3, 4, 0xffffffef, 1000, &value), ICMP_REFUSED);
    cr_assert_eq(judge(&established, 3, 4, 0x1000, 1000, &value), ICMP_REFUSED);
    cr_assert_eq(judge(&established, 3, 4, 0xfffffff0, 1000, &value), ICMP_SHRINK);
    cr_assert_eq(judge(&established, 3, 4, 0xfff, 1000, &value), ICMP_SHRINK);
}

Test(icmp, refuses_all_errors_where_nothing_is_on_its_way)
{
    struct icmp_flow idle = established;
    int value;

    idle.snd_nxt = idle.snd_una;
    cr_assert_eq(judge(&idle, 3, 4, idle.snd_una, 1000, &value), ICMP_REFUSED);
}

Test(icmp, hard_errors_end_only_what_is_being_opened)
{
    struct icmp_flow opening = established;
    int value;

    opening.is_synchronized = false;
    cr_assert_eq(judge(&established, 3, 3, 1, 0, &value), ICMP_SOFT);
    cr_assert_eq(value, ECONNREFUSED);
    cr_assert_eq(judge(&opening, 3, 3, 1, 0, &value), ICMP_ABORT);
    cr_assert_eq(value, ECONNREFUSED);
    cr_assert_eq(judge(&opening, 3, 1, 1, 0, &value), ICMP_SOFT);
    cr_assert_eq(value, EHOSTUNREACH);
    opening.is_v4 = false;
    cr_assert_eq(judge(&opening, 1, 4, 1, 0, &value), ICMP_ABORT);
}

Test(icmp, paths_shrink_only_and_not_below_the_floor)
{
    struct icmp_flow flow = established;
    int value;

    cr_assert_eq(judge(&flow, 3, 4, 1, 1400, &value), ICMP_SHRINK);
    cr_assert_eq(value, 1400);
    cr_assert_eq(judge(&flow, 3, 4, 1, 1500, &value), ICMP_REFUSED);
    cr_assert_eq(judge(&flow, 3, 4, 1, 9000, &value), ICMP_REFUSED);
    cr_assert_eq(judge(&flow, 3, 4, 1, 68, &value), ICMP_SHRINK);
    cr_assert_eq(value, ICMP_MTU_MIN_V4);
    cr_assert_eq(judge(&flow, 3, 4, 1, 0, &value), ICMP_SHRINK);
    cr_assert_eq(value, 1492); /* RFC 1191 section 7.1 */
    flow.path_mtu = ICMP_MTU_MIN_V4;
    cr_assert_eq(judge(&flow, 3, 4, 1, 100, &value), ICMP_REFUSED);
    flow.is_v4 = false;
    flow.path_mtu = 1500;
    cr_assert_eq(judge(&flow, 2, 0, 1, 600, &value), ICMP_SHRINK);
    cr_assert_eq(value, ICMP_MTU_MIN_V6);
}

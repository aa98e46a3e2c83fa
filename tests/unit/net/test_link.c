#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/net/link.h"
#include "tests/unit/net/lone_port.h"

static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 9}, other_mac[6] = {2, 0, 0, 0, 0, 0x77};
static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1}, everyone[6] = {255, 255, 255, 255, 255, 255};

struct world {
    struct lone_port port;
    struct net_link link;
    uint8_t bytes[256];
    struct frame frame;
};

static struct net_address address(const char *text)
{
    struct net_address parsed;

    cr_assert_eq(net_address_parse(text, &parsed), 0, "%s", text);
    return parsed;
}

static struct net_prefix prefix(const char *text)
{
    struct net_prefix parsed;

    cr_assert_eq(net_prefix_parse(text, &parsed), 0, "%s", text);
    return parsed;
}

static void begin(struct world *world)
{
    struct net_prefix own[] = {prefix("10.9.0.1/24"), prefix("fd00:9::1/64")};
    struct net_address gateways[] = {address("10.9.0.254")};

    lone_port_init(&world->port);
    struct net_link_options options = {.port = &world->port.base,
                                       .addresses = own,
                                       .address_count = 2,
                                       .gateways = gateways,
                                       .gateway_count = 1,
                                       .vlan = WIRE_NO_VLAN};
    cr_assert_eq(net_link_init(&world->link, &options), 0);
}

static struct packet *hear_arp(struct world *world, const uint8_t to[6], uint16_t vlan,
                               uint16_t operation, const uint8_t mac[6], const char *sender,
                               const char *target, uint64_t now_us)
{
    struct wire_arp arp = {.operation = operation,
                           .sender = address(sender),
                           .target = address(target)};
    unsigned l2 = wire_write_ethernet(world->bytes, to, mac, vlan, WIRE_ARP);

    memcpy(arp.sender_mac, mac, 6);
    wire_write_arp(world->bytes + l2, &arp);
    cr_assert_eq(wire_parse(world->bytes, l2 + WIRE_ARP_LEN, &world->frame), FRAME_ARP);
    return net_link_input(&world->link, &world->frame, now_us);
}

static struct packet *hear_ndp(struct world *world, const char *from, const char *to,
                               const struct wire_ndp *ndp, uint64_t now_us)
{
    uint8_t message[WIRE_NDP_LEN_MAX];
    struct net_address source = address(from), destination = address(to);
    unsigned len = wire_write_ndp(message, ndp);
    unsigned at = wire_write_ethernet(world->bytes, everyone, peer_mac, WIRE_NO_VLAN, WIRE_IPV6);
    uint16_t sum =
        checksum_finish(checksum_add(checksum_sum(message, len),
                                     checksum_pseudo(&source, &destination, WIRE_ICMPV6, len)));

    memcpy(message + 2, &sum, 2);
    at += wire_write_ip(world->bytes + at, &source, &destination, WIRE_ICMPV6, 0, 255, len);
    memcpy(world->bytes + at, message, len);
    cr_assert_eq(wire_parse(world->bytes, at + len, &world->frame), FRAME_ICMPV6);
    cr_assert(wire_checksum_good(&world->frame));
    return net_link_input(&world->link, &world->frame, now_us);
}

static void read_answer(const struct packet *packet, struct frame *frame, enum frame_kind kind)
{
    cr_assert_not_null(packet);
    cr_assert_eq(wire_parse(packet->data, packet->len, frame), kind);
    cr_assert_eq(memcmp(frame_source_mac(frame), our_mac, 6), 0);
}

static void drop(struct world *world, struct packet *packet)
{
    packet_release(&world->port.base, packet);
    cr_assert_eq(world->port.live, 0);
}

Test(link, answers_requests_for_its_addresses_only)
{
    struct world world;
    struct frame frame;
    struct wire_arp arp;

    begin(&world);
    struct packet *answer = hear_arp(&world, everyone, WIRE_NO_VLAN, WIRE_ARP_REQUEST, peer_mac,
                                     "10.9.0.2", "10.9.0.1", 1);
    read_answer(answer, &frame, FRAME_ARP);
    cr_assert(wire_parse_arp(&frame, &arp));
    cr_assert_eq(arp.operation, WIRE_ARP_REPLY);
    cr_assert_eq(memcmp(arp.sender_mac, our_mac, 6), 0);
    cr_assert_eq(memcmp(arp.target_mac, peer_mac, 6), 0);
    cr_assert_eq(memcmp(frame_destination_mac(&frame), peer_mac, 6), 0);
    cr_assert(net_address_equal(&arp.sender, &world.link.addresses[0].address));
    drop(&world, answer);
    cr_assert_null(hear_arp(&world, everyone, WIRE_NO_VLAN, WIRE_ARP_REQUEST, peer_mac, "10.9.0.2",
                            "10.9.0.3", 1));
    cr_assert_eq(world.link.counters.arp_requests, 1);
    cr_assert_eq(world.link.counters.answers, 1);
}

Test(link, answers_with_the_tag_of_the_question)
{
    struct world world;
    struct frame frame;

    begin(&world);
    struct packet *answer =
        hear_arp(&world, everyone, 42, WIRE_ARP_REQUEST, peer_mac, "10.9.0.2", "10.9.0.1", 1);
    read_answer(answer, &frame, FRAME_ARP);
    cr_assert_eq(frame.vlan, 42);
    drop(&world, answer);
}

Test(link, answers_probes_of_who_wants_our_address)
{
    struct world world;

    begin(&world);
    struct packet *answer = hear_arp(&world, everyone, WIRE_NO_VLAN, WIRE_ARP_REQUEST, other_mac,
                                     "0.0.0.0", "10.9.0.1", 1); /* RFC 5227 section 2.1.1 */
    cr_assert_not_null(answer);
    drop(&world, answer);
    cr_assert_null(hear_arp(&world, everyone, WIRE_NO_VLAN, WIRE_ARP_REPLY, other_mac, "10.9.0.1",
                            "10.9.0.1", 1));
    cr_assert_eq(world.link.counters.conflicts, 1);
}

Test(link, an_empty_pool_drops_the_answer)
{
    struct world world;

    begin(&world);
    world.port.room = 0;
    cr_assert_null(hear_arp(&world, everyone, WIRE_NO_VLAN, WIRE_ARP_REQUEST, peer_mac, "10.9.0.2",
                            "10.9.0.1", 1));
    cr_assert_eq(world.link.counters.no_packet, 1);
    cr_assert_eq(world.link.counters.answers, 0);
}

Test(link, a_flood_of_requests_is_answered_up_to_the_limit)
{
    struct world world;
    unsigned answered = 0, asked = LINK_ANSWERS_PER_S;

    begin(&world);
    for (unsigned i = 0; i < asked; i++) {
        struct packet *answer = hear_arp(&world, everyone, WIRE_NO_VLAN, WIRE_ARP_REQUEST, peer_mac,
                                         "10.9.0.2", "10.9.0.1", 1000 + i);
        if (answer != NULL) {
            answered++;
            packet_release(&world.port.base, answer);
        }
    }
    /* A tenth at once, and what 20 ms bring. */
    cr_assert_leq(answered, LINK_ANSWERS_PER_S / 10 + LINK_ANSWERS_PER_S / 50 + 2);
    cr_assert_geq(answered, LINK_ANSWERS_PER_S / 10);
    cr_assert_eq(world.link.counters.limited, asked - answered);
}

Test(link, answers_solicitations)
{
    struct world world;
    struct frame frame;
    struct wire_ndp asked = {.type = WIRE_NDP_SOLICITATION,
                             .has_mac = true,
                             .mac = {2, 0, 0, 0, 0, 9},
                             .target = address("fd00:9::1")},
                    said;

    begin(&world);
    struct packet *answer = hear_ndp(&world, "fd00:9::2", "ff02::1:ff00:1", &asked, 1);
    read_answer(answer, &frame, FRAME_ICMPV6);
    cr_assert(wire_checksum_good(&frame));
    cr_assert(wire_parse_ndp(&frame, &said));
    cr_assert_eq(said.type, WIRE_NDP_ADVERTISEMENT);
    cr_assert_eq(said.flags, WIRE_NDP_SOLICITED | WIRE_NDP_OVERRIDE);
    cr_assert(said.has_mac);
    cr_assert_eq(memcmp(said.mac, our_mac, 6), 0);
    cr_assert(net_address_equal(&frame.flow.local, &(struct net_address){0}) == false);
    cr_assert_eq(memcmp(frame_destination_mac(&frame), peer_mac, 6), 0);
    drop(&world, answer);
    asked.target = address("fd00:9::7");
    cr_assert_null(hear_ndp(&world, "fd00:9::2", "ff02::1:ff00:7", &asked, 1));
}

Test(link, tells_all_nodes_when_a_duplicate_is_looked_for)
{
    struct world world;
    struct frame frame;
    struct wire_ndp asked = {.type = WIRE_NDP_SOLICITATION, .target = address("fd00:9::1")}, said;

    begin(&world);
    struct packet *answer = hear_ndp(&world, "::", "ff02::1:ff00:1", &asked, 1);
    read_answer(answer, &frame, FRAME_ICMPV6);
    cr_assert(wire_parse_ndp(&frame, &said));
    cr_assert_eq(said.flags, WIRE_NDP_OVERRIDE);
    struct net_address all = address("ff02::1");
    cr_assert(net_address_equal(&frame.flow.local, &all));
    cr_assert_eq(frame_destination_mac(&frame)[0], 0x33);
    drop(&world, answer);
}

static void resolve_after_answer(const char *to, const char *hop)
{
    struct world world;
    struct packet *question;
    struct net_address target = address(to);
    uint8_t mac[6];
    uint16_t vlan;

    begin(&world);
    cr_assert_eq(net_link_resolve(&world.link, &target, 1, mac, &vlan, &question), LINK_ASKED);
    cr_assert_not_null(question);
    drop(&world, question);
    cr_assert_eq(net_link_resolve(&world.link, &target, 2, mac, &vlan, &question), LINK_ASKED);
    cr_assert_null(question, "asked again without waiting");
    if (net_address_is_v4(&target)) {
        cr_assert_null(
            hear_arp(&world, our_mac, WIRE_NO_VLAN, WIRE_ARP_REPLY, peer_mac, hop, "10.9.0.1", 3));
    } else {
        struct wire_ndp said = {.type = WIRE_NDP_ADVERTISEMENT,
                                .flags = WIRE_NDP_SOLICITED | WIRE_NDP_OVERRIDE,
                                .has_mac = true,
                                .mac = {2, 0, 0, 0, 0, 9},
                                .target = address(hop)};
        cr_assert_null(hear_ndp(&world, hop, "fd00:9::1", &said, 3));
    }
    cr_assert_eq(net_link_resolve(&world.link, &target, 4, mac, &vlan, &question), LINK_FOUND);
    cr_assert_null(question);
    cr_assert_eq(memcmp(mac, peer_mac, 6), 0);
    cr_assert_eq(world.link.counters.questions, 1);
    cr_assert_eq(net_link_resolve(&world.link, &target, 4 + LINK_FRESH_US, mac, &vlan, &question),
                 LINK_FOUND);
    cr_assert_not_null(question, "an old entry is used and asked about");
    drop(&world, question);
}

Test(link, finds_a_neighbour)
{
    resolve_after_answer("10.9.0.2", "10.9.0.2");
}

Test(link, finds_a_neighbour_of_version_6)
{
    resolve_after_answer("fd00:9::2", "fd00:9::2");
}

Test(link, goes_through_the_gateway_for_what_is_elsewhere)
{
    resolve_after_answer("192.0.2.7", "10.9.0.254");
}

Test(link, has_no_way_without_a_gateway)
{
    struct world world;
    struct packet *question;
    struct net_address target = address("2001:db8::1");
    uint8_t mac[6];
    uint16_t vlan;

    begin(&world);
    cr_assert_eq(net_link_resolve(&world.link, &target, 1, mac, &vlan, &question), LINK_NO_WAY);
    cr_assert_null(question);
}

Test(link, gives_up_on_who_never_answers_and_asks_again_later)
{
    struct world world;
    struct packet *question;
    struct net_address target = address("10.9.0.2");
    uint64_t now_us = 1;
    unsigned questions = 0;
    uint8_t mac[6];
    uint16_t vlan;

    begin(&world);
    for (; now_us < 4 * LINK_RETRY_US; now_us += LINK_RETRY_US / 4) {
        net_link_resolve(&world.link, &target, now_us, mac, &vlan, &question);
        if (question != NULL) {
            questions++;
            packet_release(&world.port.base, question);
        }
    }
    cr_assert_eq(questions, LINK_TRIES_MAX);
    cr_assert_eq(net_link_resolve(&world.link, &target, now_us, mac, &vlan, &question),
                 LINK_ABSENT);
    now_us += LINK_ABSENT_US;
    cr_assert_eq(net_link_resolve(&world.link, &target, now_us, mac, &vlan, &question), LINK_ASKED);
    cr_assert_not_null(question);
    drop(&world, question);
}

Test(link, nobody_fills_the_cache_by_shouting)
{
    struct world world;
    char text[32];

    begin(&world);
    for (unsigned i = 2; i < 250; i++) {
        snprintf(text, sizeof text, "10.9.0.%u", i);
        cr_assert_null(
            hear_arp(&world, everyone, WIRE_NO_VLAN, WIRE_ARP_REPLY, other_mac, text, text, i));
    }
    cr_assert_eq(world.link.counters.learned, 0);
    for (unsigned i = 0; i < LINK_NEIGHBOURS; i++)
        cr_assert_not(world.link.neighbours[i].used);
}

Test(link, a_neighbour_without_override_keeps_its_mac)
{
    struct world world;
    struct packet *question;
    struct net_address target = address("fd00:9::2");
    struct wire_ndp said = {.type = WIRE_NDP_ADVERTISEMENT,
                            .flags = WIRE_NDP_SOLICITED,
                            .has_mac = true,
                            .mac = {2, 0, 0, 0, 0, 9},
                            .target = target};
    uint8_t mac[6];
    uint16_t vlan;

    begin(&world);
    net_link_resolve(&world.link, &target, 1, mac, &vlan, &question);
    drop(&world, question);
    cr_assert_null(hear_ndp(&world, "fd00:9::2", "fd00:9::1", &said, 2));
    memcpy(said.mac, other_mac, 6);
    said.flags = 0;
    cr_assert_null(hear_ndp(&world, "fd00:9::2", "ff02::1", &said, 3));
    cr_assert_eq(net_link_resolve(&world.link, &target, 4, mac, &vlan, &question), LINK_FOUND);
    cr_assert_eq(memcmp(mac, peer_mac, 6), 0);
    said.flags = WIRE_NDP_OVERRIDE;
    cr_assert_null(hear_ndp(&world, "fd00:9::2", "ff02::1", &said, 5));
    cr_assert_eq(net_link_resolve(&world.link, &target, 6, mac, &vlan, &question), LINK_FOUND);
    cr_assert_eq(memcmp(mac, other_mac, 6), 0);
}

Test(link, announces_every_address)
{
    struct world world;
    struct frame frame;
    struct wire_arp arp;
    struct wire_ndp ndp;

    begin(&world);
    struct packet *packet = net_link_announce(&world.link, 0);
    read_answer(packet, &frame, FRAME_ARP);
    cr_assert(wire_parse_arp(&frame, &arp));
    cr_assert(net_address_equal(&arp.sender, &arp.target));
    cr_assert_eq(memcmp(frame_destination_mac(&frame), everyone, 6), 0);
    drop(&world, packet);
    packet = net_link_announce(&world.link, 1);
    read_answer(packet, &frame, FRAME_ICMPV6);
    cr_assert(wire_checksum_good(&frame));
    cr_assert(wire_parse_ndp(&frame, &ndp));
    cr_assert(net_address_equal(&ndp.target, &world.link.addresses[1].address));
    drop(&world, packet);
}

Test(link, refuses_addresses_of_nobody)
{
    static const char *const bad[] = {"0.0.0.0/0", "224.0.0.1/24", "127.0.0.1/8", "10.9.0.255/24",
                                      "ff02::1/64"};

    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct lone_port port;
        struct net_link link;
        struct net_prefix own = prefix(bad[i]);
        lone_port_init(&port);
        struct net_link_options options = {.port = &port.base,
                                           .addresses = &own,
                                           .address_count = 1,
                                           .vlan = WIRE_NO_VLAN};
        cr_assert_eq(net_link_init(&link, &options), -EINVAL, "%s", bad[i]);
    }
}

/* Frames: what is written is read back, what is wrong is refused with its fault, and a frame cut
 * or damaged anywhere does no harm. Each frame lies at the end of a block of its own, so that ASan
 * sees a byte too far. */
#include <criterion/criterion.h>

#include "dataplane/net/wire_plain.h"
#include "tests/unit/dataplane/seed.h"

enum {
    ETHERNET = WIRE_ETHERNET_LEN,
    FRAME_MAX = 2048,
    HOP_BY_HOP = 0,
    ROUTING = 43,
    FRAGMENT = 44,
    DESTINATION = 60,
    NONE = 59,
};

static const uint8_t local_mac[6] = {2, 0, 0, 0, 0, 1}, remote_mac[6] = {2, 0, 0, 0, 0, 2};

struct bytes {
    uint8_t data[FRAME_MAX];
    size_t len;
};

static struct bytes built;
static struct frame frame;
static uint8_t *exact;

static enum frame_kind parse(const uint8_t *data, size_t len)
{
    free(exact);
    exact = malloc(len > 0 ? len : 1);
    memcpy(exact, data, len);
    memset(&frame, 0xee, sizeof(frame));
    return wire_parse(exact, len, &frame);
}

static enum frame_kind parse_built(void)
{
    return parse(built.data, built.len);
}

static void expect_bad(enum frame_fault fault)
{
    cr_assert_eq(parse_built(), FRAME_BAD);
    cr_assert_eq(frame.fault, fault, "fault %d, not %d", frame.fault, fault);
}

static struct net_flow flow_of(bool v6)
{
    uint8_t remote4[4] = {10, 9, 0, 2}, local4[4] = {10, 9, 0, 1};
    uint8_t remote6[16] = {0x20, 1, 0xd, 0xb8, [15] = 2},
            local6[16] = {0x20, 1, 0xd, 0xb8, [15] = 1};
    struct net_flow flow = {.remote_port = 40000, .local_port = 6379};

    flow.remote = v6 ? net_address_v6(remote6) : net_address_v4(remote4);
    flow.local = v6 ? net_address_v6(local6) : net_address_v4(local4);
    return flow;
}

static struct net_flow turned(struct net_flow flow)
{
    return (struct net_flow){flow.local, flow.remote, flow.local_port, flow.remote_port};
}

/* A segment that a peer sends to us. */
static void build_tcp(bool v6, uint16_t vlan, unsigned options_len, uint32_t payload_len)
{
    static uint8_t options[40];
    struct net_flow flow = turned(flow_of(v6));
    struct wire_segment segment = {.flow = &flow,
                                   .remote_mac = local_mac,
                                   .local_mac = remote_mac,
                                   .vlan = vlan,
                                   .seq = 0xfffffff0,
                                   .ack = 0x12345678,
                                   .flags = TCP_ACK | TCP_PSH,
                                   .window = 0xfedc,
                                   .tos = WIRE_ECN_ECT0,
                                   .options = options,
                                   .options_len = (uint8_t)options_len,
                                   .payload_len = payload_len};
    unsigned len = wire_segment_len(&segment);

    memset(options, 1, sizeof(options));
    for (uint32_t i = 0; i < payload_len; i++)
        built.data[len + i] = (uint8_t)(i * 7 + 1);
    wire_write_segment(built.data, &segment, 0, checksum_sum(built.data + len, payload_len));
    built.len = len + payload_len;
}

/* An IP packet with any payload. */
static void build_ip(bool v6, uint8_t protocol, const uint8_t *payload, uint32_t len)
{
    struct net_flow flow = flow_of(v6);
    unsigned at = wire_write_ethernet(built.data, local_mac, remote_mac, WIRE_NO_VLAN,
                                      v6 ? WIRE_IPV6 : WIRE_IPV4);

    at += wire_write_ip(built.data + at, &flow.remote, &flow.local, protocol, 0, 255, len);
    memcpy(built.data + at, payload, len);
    built.len = at + len;
}

static void fix_ipv4_checksum(unsigned header_len)
{
    uint8_t *ip = built.data + ETHERNET;
    uint16_t checksum;

    memset(ip + 10, 0, 2);
    checksum = checksum_finish(checksum_sum(ip, header_len));
    memcpy(ip + 10, &checksum, 2);
}

/* ---- TCP ---- */

Test(wire, a_segment_written_is_read)
{
    for (unsigned round = 0; round < 2 * 2 * 11 * 4; round++) {
        static const uint32_t payloads[] = {0, 1, 64, 1459};
        bool v6 = round & 1, tagged = round & 2;
        unsigned options_len = round / 4 % 11 * 4;
        uint32_t payload_len = payloads[round / 44];
        struct net_flow flow = flow_of(v6);

        if (options_len + payload_len > 1480)
            continue;
        build_tcp(v6, tagged ? 77 : WIRE_NO_VLAN, options_len, payload_len);
        cr_assert_eq(parse_built(), FRAME_TCP, "fault %d", frame.fault);
        cr_assert_eq(frame.fault, FRAME_FINE);
        cr_assert(net_flow_equal(&frame.flow, &flow));
        cr_assert_eq(frame.vlan, tagged ? 77 : WIRE_NO_VLAN);
        cr_assert_eq(frame.ether_type, v6 ? WIRE_IPV6 : WIRE_IPV4);
        cr_assert_eq(frame.l2_len, tagged ? 18 : 14);
        cr_assert_eq(frame.l3_len, v6 ? 40 : 20);
        cr_assert_eq(frame.seq, 0xfffffff0);
        cr_assert_eq(frame.ack, 0x12345678);
        cr_assert_eq(frame.flags, TCP_ACK | TCP_PSH);
        cr_assert_eq(frame.window, 0xfedc);
        cr_assert_eq(frame.tos, WIRE_ECN_ECT0);
        cr_assert_eq(frame.hops, WIRE_HOPS);
        cr_assert_eq(frame.protocol, WIRE_TCP);
        cr_assert_eq(frame.options_len, options_len);
        cr_assert_eq(frame.payload_len, payload_len);
        cr_assert_eq(frame.payload, exact + built.len - payload_len);
        cr_assert_eq(frame_options(&frame) + options_len, frame.payload);
        cr_assert_arr_eq(frame_source_mac(&frame), remote_mac, 6);
        cr_assert_arr_eq(frame_destination_mac(&frame), local_mac, 6);
        cr_assert(wire_ip_checksum_good(&frame));
        cr_assert(wire_checksum_good(&frame));
    }
}

Test(wire, sequence_space_counts_syn_and_fin)
{
    build_tcp(false, WIRE_NO_VLAN, 0, 10);
    parse_built();
    cr_assert_eq(frame_seg_len(&frame), 10);
    frame.flags = TCP_SYN | TCP_FIN;
    cr_assert_eq(frame_seg_len(&frame), 12);
}

/* Any damaged bit of the IPv4 header or what it carries shows; so do those of IPv6 that its
 * pseudo-header covers. */
Test(wire, every_flipped_bit_fails_a_checksum)
{
    for (int v6 = 0; v6 < 2; v6++) {
        build_tcp(v6, WIRE_NO_VLAN, 12, 50);
        for (unsigned bit = 8 * (v6 ? ETHERNET + 8 : ETHERNET); bit < 8 * built.len; bit++) {
            built.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (parse_built() == FRAME_TCP)
                cr_assert_not(wire_ip_checksum_good(&frame) && wire_checksum_good(&frame),
                              "bit %u of IPv%d", bit, v6 ? 6 : 4);
            built.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        cr_assert_eq(parse_built(), FRAME_TCP);
        cr_assert(wire_checksum_good(&frame));
    }
}

/* What a port with offloads gets, finished as it would do it, is what software makes. */
Test(wire, offloads_leave_the_pseudo_header_sum)
{
    for (int v6 = 0; v6 < 2; v6++) {
        struct net_flow flow = turned(flow_of(v6));
        struct wire_segment segment = {.flow = &flow,
                                       .remote_mac = local_mac,
                                       .local_mac = remote_mac,
                                       .vlan = WIRE_NO_VLAN,
                                       .seq = 99,
                                       .flags = TCP_ACK,
                                       .options_len = 4,
                                       .options = (const uint8_t[]){1, 1, 1, 0},
                                       .payload_len = 5};
        const uint8_t payload[5] = "hello";
        uint8_t soft[FRAME_MAX], port[FRAME_MAX];
        unsigned len = wire_segment_len(&segment);
        struct wire_lengths lengths =
            wire_write_segment(soft, &segment, 0, checksum_sum(payload, 5));
        uint8_t *ip, *tcp;
        uint16_t checksum;

        cr_assert_eq(lengths.l2 + lengths.l3 + lengths.l4, len);
        wire_write_segment(port, &segment, PACKET_TX_IP_CHECKSUM | PACKET_TX_TCP_CHECKSUM, 0);
        memcpy(port + len, payload, 5);
        ip = port + lengths.l2;
        tcp = ip + lengths.l3;
        if (!v6) {
            cr_assert_eq(wire_get16(ip + 10), 0);
            checksum = checksum_finish(checksum_sum(ip, lengths.l3));
            memcpy(ip + 10, &checksum, 2);
        }
        checksum = checksum_finish(checksum_sum(tcp, lengths.l4 + 5u));
        memcpy(tcp + 16, &checksum, 2);
        cr_assert_arr_eq(port, soft, len);
    }
}

/* DPDK, rte_ipv4_phdr_cksum: of a frame that the device cuts the pseudo-header has no length. */
Test(wire, a_frame_to_be_cut_has_a_pseudo_header_without_length)
{
    for (int v6 = 0; v6 < 2; v6++) {
        struct net_flow flow = turned(flow_of(v6));
        struct wire_segment segment = {.flow = &flow,
                                       .remote_mac = local_mac,
                                       .local_mac = remote_mac,
                                       .vlan = WIRE_NO_VLAN,
                                       .flags = TCP_ACK,
                                       .payload_len = 60000};
        uint8_t port[FRAME_MAX];
        struct wire_lengths lengths =
            wire_write_segment(port, &segment, PACKET_TX_TCP_CHECKSUM | PACKET_TX_TSO, 0);
        const uint8_t *ip = port + lengths.l2;
        uint16_t pseudo =
            checksum_fold(v6 ? checksum_pseudo6(&flow.local, &flow.remote, WIRE_TCP, 0)
                             : checksum_pseudo4(&flow.local, &flow.remote, WIRE_TCP, 0));

        cr_assert_eq(memcmp(ip + lengths.l3 + 16, &pseudo, 2), 0);
        cr_assert_eq(wire_get16(ip + (v6 ? 4 : 2)), 60000 + 20 + (v6 ? 0 : 20));
        /* Of IPv4's header it was not said that the port makes the checksum. */
        if (!v6)
            cr_assert_eq(checksum_finish(checksum_sum(ip, 20)), 0);
    }
}

Test(wire, a_bad_data_offset_is_refused)
{
    build_tcp(false, WIRE_NO_VLAN, 0, 10);
    for (unsigned offset = 0; offset < 16; offset++) {
        built.data[ETHERNET + 20 + 12] = (uint8_t)(offset << 4);
        if (offset >= 5 && offset * 4 <= 30)
            cr_assert_eq(parse_built(), FRAME_TCP);
        else
            expect_bad(FRAME_TCP_HEADER);
    }
}

Test(wire, port_zero_is_refused)
{
    for (unsigned at = 0; at < 4; at += 2) {
        build_tcp(true, WIRE_NO_VLAN, 0, 0);
        memset(built.data + ETHERNET + 40 + at, 0, 2);
        expect_bad(FRAME_TCP_HEADER);
    }
}

/* RFC 1122 sections 3.2.1.3 and 4.2.3.10, and a sender that claims to be us. */
Test(wire, segments_between_impossible_addresses_are_refused)
{
    static const uint8_t wrong4[][4] = {
        {224, 0, 0, 1}, {255, 255, 255, 255}, {127, 0, 0, 1}, {0, 0, 0, 0}, {240, 1, 1, 1}};
    static const uint8_t wrong6[][16] = {{0xff, 2, [15] = 1},
                                         {[15] = 1},
                                         {0},
                                         {[10] = 0xff, 0xff, 10, 9, 0, 2}};

    for (unsigned side = 0; side < 2; side++) {
        for (unsigned i = 0; i < 5; i++) {
            build_tcp(false, WIRE_NO_VLAN, 0, 0);
            memcpy(built.data + ETHERNET + 12 + 4 * side, wrong4[i], 4);
            expect_bad(FRAME_ADDRESS);
        }
        for (unsigned i = 0; i < 4; i++) {
            build_tcp(true, WIRE_NO_VLAN, 0, 0);
            memcpy(built.data + ETHERNET + 8 + 16 * side, wrong6[i], 16);
            expect_bad(FRAME_ADDRESS);
        }
    }
    build_tcp(false, WIRE_NO_VLAN, 0, 0);
    memcpy(built.data + ETHERNET + 12, built.data + ETHERNET + 16, 4);
    expect_bad(FRAME_ADDRESS);
    build_tcp(false, WIRE_NO_VLAN, 0, 0);
    memset(built.data, 0xff, 6); /* broadcast on Ethernet, unicast in IP */
    expect_bad(FRAME_ADDRESS);
    build_tcp(false, WIRE_NO_VLAN, 0, 0);
    built.data[6] |= 1; /* a group as Ethernet sender */
    expect_bad(FRAME_ADDRESS);
}

/* ---- lengths ---- */

/* Cut anywhere, a segment is refused; padding behind it is not part of it. */
Test(wire, truncated_frames_are_refused_and_padding_is_not_payload)
{
    for (unsigned round = 0; round < 4; round++) {
        build_tcp(round & 1, round & 2 ? 5 : WIRE_NO_VLAN, 12, 30);
        for (size_t len = 0; len < built.len; len++) {
            cr_assert_eq(parse(built.data, len), FRAME_BAD);
            cr_assert_eq(frame.fault, FRAME_SHORT, "%zu bytes: fault %d", len, frame.fault);
        }
        memset(built.data + built.len, 0xaa, 50);
        built.len += 50;
        cr_assert_eq(parse_built(), FRAME_TCP);
        cr_assert_eq(frame.payload_len, 30);
        cr_assert(wire_checksum_good(&frame));
    }
}

Test(wire, impossible_ip_lengths_are_refused)
{
    for (unsigned header = 0; header < 5; header++) {
        build_tcp(false, WIRE_NO_VLAN, 0, 10);
        built.data[ETHERNET] = (uint8_t)(0x40 | header);
        expect_bad(FRAME_IP_HEADER);
    }
    build_tcp(false, WIRE_NO_VLAN, 0, 10);
    built.data[ETHERNET] = 0x4f; /* 60 bytes of header in a packet of 50 */
    expect_bad(FRAME_IP_HEADER);
    build_tcp(false, WIRE_NO_VLAN, 0, 10);
    wire_put16(built.data + ETHERNET + 2, 19);
    expect_bad(FRAME_IP_HEADER);
    build_tcp(false, WIRE_NO_VLAN, 0, 10);
    wire_put16(built.data + ETHERNET + 2, 39); /* one byte short of a TCP header */
    expect_bad(FRAME_SHORT);
    build_tcp(false, WIRE_NO_VLAN, 0, 10);
    built.data[ETHERNET] = 0x65; /* version 6 in an IPv4 frame, and the other way round */
    expect_bad(FRAME_IP_HEADER);
    build_tcp(true, WIRE_NO_VLAN, 0, 10);
    built.data[ETHERNET] = 0x45;
    expect_bad(FRAME_IP_HEADER);
    build_tcp(true, WIRE_NO_VLAN, 0, 10);
    wire_put16(built.data + ETHERNET + 4, 0xffff);
    expect_bad(FRAME_SHORT);
    build_tcp(true, WIRE_NO_VLAN, 0, 10);
    wire_put16(built.data + ETHERNET + 4, 19);
    expect_bad(FRAME_SHORT);
}

/* ---- IPv4 options and fragments ---- */

/* Puts `len` bytes of options, a multiple of 4, into the IPv4 header of a segment. */
static void build_ipv4_options(const uint8_t *options, unsigned len)
{
    uint8_t *ip = built.data + ETHERNET;

    build_tcp(false, WIRE_NO_VLAN, 0, 10);
    memmove(ip + 20 + len, ip + 20, built.len - ETHERNET - 20);
    memcpy(ip + 20, options, len);
    built.len += len;
    ip[0] = (uint8_t)(0x45 + len / 4);
    wire_put16(ip + 2, (uint16_t)(built.len - ETHERNET));
    fix_ipv4_checksum(20 + len);
}

Test(wire, ipv4_options_are_stepped_over)
{
    build_ipv4_options((const uint8_t[]){148, 4, 0, 0, 1, 1, 0, 99}, 8); /* router alert */
    cr_assert_eq(parse_built(), FRAME_TCP);
    cr_assert_eq(frame.l3_len, 28);
    cr_assert_eq(frame.payload_len, 10);
    cr_assert(wire_ip_checksum_good(&frame) && wire_checksum_good(&frame));
    built.data[ETHERNET + 22] ^= 1;
    parse_built();
    cr_assert_not(wire_ip_checksum_good(&frame));
}

Test(wire, source_routes_and_malformed_ipv4_options_are_refused)
{
    build_ipv4_options((const uint8_t[]){1, 131, 3, 4}, 4);
    expect_bad(FRAME_IP_OPTION);
    build_ipv4_options((const uint8_t[]){137, 7, 4, 1, 2, 3, 4, 0}, 8);
    expect_bad(FRAME_IP_OPTION);
    build_ipv4_options((const uint8_t[]){148, 0, 0, 0}, 4);
    expect_bad(FRAME_IP_HEADER);
    build_ipv4_options((const uint8_t[]){148, 1, 0, 0}, 4);
    expect_bad(FRAME_IP_HEADER);
    build_ipv4_options((const uint8_t[]){148, 5, 0, 0}, 4);
    expect_bad(FRAME_IP_HEADER);
    build_ipv4_options((const uint8_t[]){1, 1, 1, 148}, 4);
    expect_bad(FRAME_IP_HEADER);
}

Test(wire, ipv4_fragments_are_told_apart)
{
    static const struct {
        uint16_t field;
        enum frame_kind kind;
    } cases[] = {{0x4000, FRAME_TCP},      {0x0000, FRAME_TCP},      {0x8000, FRAME_TCP},
                 {0x2000, FRAME_FRAGMENT}, {0x0001, FRAME_FRAGMENT}, {0x3fff, FRAME_FRAGMENT}};

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        build_tcp(false, WIRE_NO_VLAN, 0, 10);
        wire_put16(built.data + ETHERNET + 6, cases[i].field);
        cr_assert_eq(parse_built(), cases[i].kind, "%04x", cases[i].field);
        cr_assert_eq(frame.protocol, WIRE_TCP);
    }
}

/* ---- IPv6 extension headers ---- */

/* Puts headers before the TCP segment; the last one of them names it. */
static void build_chain(uint8_t first, const uint8_t *headers, unsigned len)
{
    uint8_t *ip = built.data + ETHERNET;

    build_tcp(true, WIRE_NO_VLAN, 0, 10);
    memmove(ip + 40 + len, ip + 40, 30);
    memcpy(ip + 40, headers, len);
    ip[6] = first;
    wire_put16(ip + 4, (uint16_t)(30 + len));
    built.len += len;
}

#define CHAIN(first, ...)                                                                          \
    build_chain(first, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

Test(wire, extension_headers_are_stepped_over)
{
    CHAIN(HOP_BY_HOP, DESTINATION, 0, 1, 4, 0, 0, 0, 0, ROUTING, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
          0, 0, 0, WIRE_TCP, 0, 4, 0, 0, 0, 0, 0);
    cr_assert_eq(parse_built(), FRAME_TCP, "fault %d", frame.fault);
    cr_assert_eq(frame.l3_len, 40 + 32);
    cr_assert_eq(frame.payload_len, 10);
    cr_assert(wire_checksum_good(&frame));
    CHAIN(FRAGMENT, WIRE_TCP, 0, 0, 0, 1, 2, 3, 4); /* RFC 6946: not a fragment */
    cr_assert_eq(parse_built(), FRAME_TCP);
    cr_assert(wire_checksum_good(&frame));
}

Test(wire, ipv6_fragments_are_told_apart)
{
    CHAIN(FRAGMENT, WIRE_TCP, 0, 0, 1, 1, 2, 3, 4);
    cr_assert_eq(parse_built(), FRAME_FRAGMENT);
    cr_assert_eq(frame.protocol, WIRE_TCP);
    CHAIN(FRAGMENT, WIRE_TCP, 0, 0, 8, 1, 2, 3, 4);
    cr_assert_eq(parse_built(), FRAME_FRAGMENT);
}

Test(wire, bad_chains_are_refused)
{
    uint8_t many[8 * (WIRE_EXTENSIONS_MAX + 1)], long_one[WIRE_CHAIN_MAX + 8] = {WIRE_TCP};

    CHAIN(DESTINATION, HOP_BY_HOP, 0, 1, 4, 0, 0, 0, 0, WIRE_TCP, 0, 1, 4, 0, 0, 0, 0);
    expect_bad(FRAME_IP_CHAIN); /* hop-by-hop is the first or nowhere */
    CHAIN(ROUTING, WIRE_TCP, 0, 0, 1, 0, 0, 0, 0);
    expect_bad(FRAME_IP_OPTION); /* a route that is not at its end */
    CHAIN(HOP_BY_HOP, WIRE_TCP, 0, 0xc2, 4, 0, 1, 0, 0);
    expect_bad(FRAME_IP_OPTION); /* jumbo payload: may not be ignored */
    CHAIN(HOP_BY_HOP, WIRE_TCP, 0, 0x05, 2, 0, 0, 1, 0);
    cr_assert_eq(parse_built(), FRAME_TCP); /* router alert: may */
    CHAIN(DESTINATION, WIRE_TCP, 0, 1, 5, 0, 0, 0, 0);
    expect_bad(FRAME_IP_CHAIN); /* an option past its header */
    CHAIN(DESTINATION, WIRE_TCP, 0, 0, 0, 0, 0, 0, 1);
    expect_bad(FRAME_IP_CHAIN);
    CHAIN(DESTINATION, WIRE_TCP, 200, 1, 4, 0, 0, 0, 0);
    expect_bad(FRAME_SHORT);

    memset(many, 0, sizeof(many));
    for (unsigned i = 0; i <= WIRE_EXTENSIONS_MAX; i++) {
        many[8 * i] = DESTINATION;
        many[8 * i + 2] = 1;
        many[8 * i + 3] = 4;
    }
    many[8 * WIRE_EXTENSIONS_MAX] = WIRE_TCP;
    build_chain(DESTINATION, many, sizeof(many));
    expect_bad(FRAME_IP_CHAIN);
    many[8 * (WIRE_EXTENSIONS_MAX - 1)] = WIRE_TCP;
    build_chain(DESTINATION, many, sizeof(many) - 8);
    cr_assert_eq(parse_built(), FRAME_TCP);

    long_one[1] = WIRE_CHAIN_MAX / 8; /* all Pad1 */
    build_chain(DESTINATION, long_one, sizeof(long_one));
    expect_bad(FRAME_IP_CHAIN);
}

/* ---- what is not ours ---- */

Test(wire, other_protocols_are_named)
{
    const uint8_t udp[8] = {0, 53, 0, 53, 0, 8, 0, 0};

    build_ip(false, 17, udp, 8);
    cr_assert_eq(parse_built(), FRAME_OTHER);
    cr_assert_eq(frame.protocol, 17);
    build_ip(true, NONE, udp, 0);
    cr_assert_eq(parse_built(), FRAME_OTHER);
    build_ip(true, WIRE_ICMP, udp, 8); /* of the other family */
    cr_assert_eq(parse_built(), FRAME_OTHER);
    build_ip(false, WIRE_ICMPV6, udp, 8);
    cr_assert_eq(parse_built(), FRAME_OTHER);
    build_ip(false, WIRE_ICMP, udp, 7);
    expect_bad(FRAME_SHORT);
    build_tcp(false, WIRE_NO_VLAN, 0, 0);
    wire_put16(built.data + 12, 0x88cc);
    cr_assert_eq(parse_built(), FRAME_OTHER);
    build_tcp(false, 0, 0, 0); /* a tag with a priority only */
    cr_assert_eq(parse_built(), FRAME_TCP);
    cr_assert_eq(frame.vlan, WIRE_NO_VLAN);
}

/* ---- ICMP errors ---- */

/* An ICMP error about a segment of ours with `quoted` bytes of it. */
static void build_error(bool v6, uint8_t type, uint8_t code, uint32_t rest, unsigned quoted)
{
    uint8_t message[8 + 200] = {type, code};
    struct net_flow flow = flow_of(v6);
    struct wire_segment segment = {.flow = &flow,
                                   .remote_mac = remote_mac,
                                   .local_mac = local_mac,
                                   .vlan = WIRE_NO_VLAN,
                                   .seq = 0xabcdef01,
                                   .flags = TCP_ACK,
                                   .payload_len = 1400};
    uint8_t ours[200];

    wire_write_segment(ours, &segment, 0, 0);
    wire_put32(message + 4, rest);
    memcpy(message + 8, ours + ETHERNET, quoted);
    build_ip(v6, v6 ? WIRE_ICMPV6 : WIRE_ICMP, message, 8 + quoted);
}

Test(wire, errors_quote_our_segment)
{
    struct net_flow flow4 = flow_of(false), flow6 = flow_of(true);
    struct wire_quote quote;

    build_error(false, 3, 4, 1280, 28);
    cr_assert_eq(parse_built(), FRAME_ICMP);
    cr_assert(wire_parse_quote(&frame, &quote));
    cr_assert(net_flow_equal(&quote.flow, &flow4));
    cr_assert_eq(quote.seq, 0xabcdef01);
    cr_assert_eq(quote.mtu, 1280);
    cr_assert_eq(quote.packet_len, 1440);
    cr_assert(quote.type == 3 && quote.code == 4);
    build_error(true, 2, 0, 0x10500, 48);
    cr_assert_eq(parse_built(), FRAME_ICMPV6);
    cr_assert(wire_parse_quote(&frame, &quote));
    cr_assert(net_flow_equal(&quote.flow, &flow6));
    cr_assert_eq(quote.mtu, 0x10500);
    cr_assert_eq(quote.packet_len, 1460);
    build_error(false, 3, 1, 1280, 40);
    parse_built();
    cr_assert(wire_parse_quote(&frame, &quote));
    cr_assert_eq(quote.mtu, 0);
}

Test(wire, quotes_too_short_or_of_something_else_are_none)
{
    struct wire_quote quote;

    for (unsigned quoted = 0; quoted < 28; quoted++) {
        build_error(false, 3, 4, 1280, quoted);
        cr_assert_eq(parse_built(), FRAME_ICMP);
        cr_assert_not(wire_parse_quote(&frame, &quote));
    }
    for (unsigned quoted = 0; quoted < 48; quoted++) {
        build_error(true, 2, 0, 1280, quoted);
        cr_assert_eq(parse_built(), FRAME_ICMPV6);
        cr_assert_not(wire_parse_quote(&frame, &quote));
    }
    static const struct {
        unsigned at;
        uint8_t value;
    } spoilt[] = {{0, 0x44}, {0, 0x46}, {0, 0x65}, {6, 0x01}, {7, 0x01}, {9, 17}};
    for (unsigned i = 0; i < sizeof(spoilt) / sizeof(spoilt[0]); i++) {
        build_error(false, 3, 4, 1280, 28);
        built.data[ETHERNET + 20 + 8 + spoilt[i].at] = spoilt[i].value;
        parse_built();
        cr_assert_not(wire_parse_quote(&frame, &quote), "%u", i);
    }
    build_error(false, 8, 0, 0, 28); /* an echo request */
    parse_built();
    cr_assert_not(wire_parse_quote(&frame, &quote));
    build_error(false, 4, 0, 0, 28); /* source quench: RFC 6633 */
    parse_built();
    cr_assert_not(wire_parse_quote(&frame, &quote));
    build_error(true, 128, 0, 0, 48);
    parse_built();
    cr_assert_not(wire_parse_quote(&frame, &quote));
    build_tcp(false, WIRE_NO_VLAN, 0, 40);
    parse_built();
    cr_assert_not(wire_parse_quote(&frame, &quote));
}

/* ---- ARP and neighbour discovery ---- */

Test(wire, arp_is_written_and_read)
{
    struct net_flow flow = flow_of(false);
    struct wire_arp arp = {.operation = WIRE_ARP_REPLY,
                           .sender = flow.local,
                           .target = flow.remote};
    struct wire_arp got;

    memcpy(arp.sender_mac, local_mac, 6);
    memcpy(arp.target_mac, remote_mac, 6);
    wire_write_ethernet(built.data, remote_mac, local_mac, WIRE_NO_VLAN, WIRE_ARP);
    wire_write_arp(built.data + ETHERNET, &arp);
    built.len = ETHERNET + WIRE_ARP_LEN;
    cr_assert_eq(parse_built(), FRAME_ARP);
    cr_assert(wire_parse_arp(&frame, &got));
    cr_assert_eq(got.operation, WIRE_ARP_REPLY);
    cr_assert_arr_eq(got.sender_mac, local_mac, 6);
    cr_assert_arr_eq(got.target_mac, remote_mac, 6);
    cr_assert(net_address_equal(&got.sender, &flow.local));
    cr_assert(net_address_equal(&got.target, &flow.remote));
    for (unsigned at = 0; at < 6; at++) { /* another hardware, protocol or length */
        built.data[ETHERNET + at] ^= 1;
        parse_built();
        cr_assert_not(wire_parse_arp(&frame, &got));
        built.data[ETHERNET + at] ^= 1;
    }
    built.len--;
    expect_bad(FRAME_SHORT);
}

static void build_ndp(const struct wire_ndp *ndp)
{
    uint8_t message[WIRE_NDP_LEN_MAX];
    unsigned len = wire_write_ndp(message, ndp);
    struct net_flow flow = flow_of(true);
    uint64_t sum = checksum_sum(message, len);
    uint16_t checksum;

    sum = checksum_add(sum, checksum_pseudo(&flow.local, &flow.remote, WIRE_ICMPV6, len));
    checksum = checksum_finish(sum);
    memcpy(message + 2, &checksum, 2);
    build_ip(true, WIRE_ICMPV6, message, len);
}

Test(wire, neighbour_discovery_is_written_and_read)
{
    struct wire_ndp ndp = {.type = WIRE_NDP_SOLICITATION, .target = flow_of(true).local}, got;

    for (unsigned round = 0; round < 4; round++) {
        ndp.type = round & 1 ? WIRE_NDP_ADVERTISEMENT : WIRE_NDP_SOLICITATION;
        ndp.flags = round & 1 ? WIRE_NDP_SOLICITED | WIRE_NDP_OVERRIDE : 0;
        ndp.has_mac = round & 2;
        memcpy(ndp.mac, remote_mac, 6);
        build_ndp(&ndp);
        cr_assert_eq(parse_built(), FRAME_ICMPV6);
        cr_assert(wire_checksum_good(&frame));
        cr_assert(wire_parse_ndp(&frame, &got));
        cr_assert_eq(got.type, ndp.type);
        cr_assert_eq(got.flags, ndp.flags);
        cr_assert_eq(got.has_mac, ndp.has_mac);
        cr_assert(net_address_equal(&got.target, &ndp.target));
        if (ndp.has_mac)
            cr_assert_arr_eq(got.mac, remote_mac, 6);
    }
}

/* RFC 4861 sections 7.1.1 and 7.1.2 */
Test(wire, invalid_neighbour_discovery_is_refused)
{
    struct wire_ndp ndp = {.type = WIRE_NDP_SOLICITATION,
                           .target = flow_of(true).local,
                           .has_mac = true};
    uint8_t *ip = built.data + ETHERNET, *icmp = ip + 40;
    struct wire_ndp got;

#define REFUSED(spoil)                                                                             \
    build_ndp(&ndp);                                                                               \
    parse_built();                                                                                 \
    cr_assert(wire_parse_ndp(&frame, &got));                                                       \
    spoil;                                                                                         \
    parse_built();                                                                                 \
    cr_assert_not(wire_parse_ndp(&frame, &got), #spoil)

    REFUSED(ip[7] = 254);
    REFUSED(icmp[1] = 1);
    REFUSED(icmp[0] = 134);
    REFUSED(icmp[8] = 0xff);        /* the target is a group */
    REFUSED(icmp[25] = 0);          /* an option without length */
    REFUSED(icmp[25] = 2);          /* past the message */
    REFUSED(memset(ip + 8, 0, 16)); /* without a sender, but with its link-layer address */
    ndp.has_mac = false;
    REFUSED(wire_put16(ip + 4, 23));
    REFUSED(memset(ip + 8, 0, 16)); /* without a sender, and not to the solicited group */
    build_ndp(&ndp);
    memset(ip + 8, 0, 16);
    struct net_address group = net_address_solicited(&ndp.target);
    memcpy(ip + 24, group.bytes, 16);
    parse_built();
    cr_assert(wire_parse_ndp(&frame, &got)); /* duplicate address detection */
    ndp.type = WIRE_NDP_ADVERTISEMENT;
    ndp.flags = WIRE_NDP_SOLICITED;
    REFUSED(ip[24] = 0xff); /* an answer to one goes to one */
    REFUSED(memset(ip + 8, 0, 16));
}

/* ---- damage ---- */

/* Whatever the bytes, the frame's parts lie within it, and the readers of parts stay there. */
static void check_inside(size_t len)
{
    const uint8_t *end = exact + len;
    struct wire_quote quote;
    struct wire_arp arp;
    struct wire_ndp ndp;

    if (frame.kind == FRAME_BAD) {
        cr_assert_neq(frame.fault, FRAME_FINE);
        return;
    }
    cr_assert_eq(frame.fault, FRAME_FINE);
    cr_assert(frame.l4 >= exact && frame.l4 <= end && frame.l4_len <= end - frame.l4);
    wire_parse_quote(&frame, &quote);
    wire_parse_arp(&frame, &arp);
    wire_parse_ndp(&frame, &ndp);
    wire_ip_checksum_good(&frame);
    if (frame.kind == FRAME_TCP || frame.kind == FRAME_ICMP || frame.kind == FRAME_ICMPV6)
        wire_checksum_good(&frame);
    if (frame.kind != FRAME_TCP)
        return;
    cr_assert_eq(frame.l4_len, 20 + frame.options_len + frame.payload_len);
    cr_assert(frame.options_len <= 40 && frame.payload + frame.payload_len <= end);
}

Test(wire, damaged_frames_stay_within_their_bytes)
{
    struct seed seed = seed_new(826);
    struct wire_ndp ndp = {.type = WIRE_NDP_SOLICITATION,
                           .target = flow_of(true).local,
                           .has_mac = true};
    struct wire_arp arp = {.operation = 1,
                           .sender = flow_of(false).local,
                           .target = flow_of(false).remote};
    unsigned kinds[FRAME_BAD + 1] = {0};

    for (unsigned round = 0; round < 100000; round++) {
        switch (round % 8) {
        case 0:
            build_error(false, 3, 4, 1280, 48);
            break;
        case 1:
            build_error(true, 2, 0, 1280, 60);
            break;
        case 2:
            build_ndp(&ndp);
            break;
        case 3:
            wire_write_ethernet(built.data, remote_mac, local_mac, WIRE_NO_VLAN, WIRE_ARP);
            wire_write_arp(built.data + ETHERNET, &arp);
            built.len = ETHERNET + WIRE_ARP_LEN;
            break;
        case 4:
            build_ipv4_options((const uint8_t[]){148, 4, 0, 0, 1, 1, 0, 99}, 8);
            break;
        case 5:
            CHAIN(HOP_BY_HOP, DESTINATION, 0, 1, 4, 0, 0, 0, 0, FRAGMENT, 0, 1, 4, 0, 0, 0, 0,
                  WIRE_TCP, 0, 0, 0, 1, 2, 3, 4);
            break;
        default:
            build_tcp(round & 1, WIRE_NO_VLAN, 12, 40);
        }
        for (uint64_t damage = seed_below(&seed, 4); damage > 0; damage--)
            built.data[seed_below(&seed, built.len)] = (uint8_t)seed_next(&seed);
        if (seed_below(&seed, 4) == 0)
            built.len = seed_below(&seed, built.len + 1);
        kinds[parse_built()]++;
        check_inside(built.len);
    }
    for (unsigned kind = 0; kind <= FRAME_BAD; kind++)
        cr_assert_gt(kinds[kind], 100, "kind %u", kind);
}

/* A priority tag says nothing, but leads past the short way for plain segments. */
Test(wire, a_plain_segment_reads_as_one_with_a_priority_tag)
{
    struct seed seed = seed_new(827);
    unsigned good = 0;

    for (unsigned round = 0; round < 200000; round++) {
        build_tcp(false, WIRE_NO_VLAN, (unsigned)seed_below(&seed, 11) * 4, 40);
        for (uint64_t damage = seed_below(&seed, 4); damage > 0; damage--)
            built.data[seed_below(&seed, 60)] ^= (uint8_t)(1u << seed_below(&seed, 8));
        if (seed_below(&seed, 4) == 0)
            built.len = ETHERNET + seed_below(&seed, built.len - ETHERNET + 1);
        enum frame_kind kind = parse_built();
        struct frame plain = frame;
        size_t at = kind == FRAME_TCP ? (size_t)(frame.l4 - exact) : 0;
        size_t payload_at = kind == FRAME_TCP ? (size_t)(frame.payload - exact) : 0;
        memmove(built.data + 16, built.data + 12, built.len - 12);
        memcpy(built.data + 12, (const uint8_t[]){0x81, 0, 0, 0}, 4);
        built.len += 4;
        /* Tagged twice it is not the same frame. */
        if (kind == FRAME_OTHER || plain.vlan != WIRE_NO_VLAN)
            continue;
        cr_assert_eq(parse_built(), kind, "seed %lu round %u", seed.start, round);
        cr_assert_eq(frame.fault, plain.fault);
        if (kind != FRAME_TCP)
            continue;
        good++;
        cr_assert_eq(frame.l2_len, plain.l2_len + 4);
        cr_assert_eq((size_t)(frame.l4 - exact), at + 4);
        cr_assert_eq((size_t)(frame.payload - exact), payload_at + 4);
        cr_assert_eq(frame.l3_len, plain.l3_len);
        cr_assert_eq(frame.l4_len, plain.l4_len);
        cr_assert_eq(frame.options_len, plain.options_len);
        cr_assert_eq(frame.payload_len, plain.payload_len);
        cr_assert_eq(frame.protocol, plain.protocol);
        cr_assert_eq(frame.ether_type, plain.ether_type);
        cr_assert_eq(frame.vlan, plain.vlan);
        cr_assert_eq(frame.tos, plain.tos);
        cr_assert_eq(frame.hops, plain.hops);
        cr_assert_eq(frame.flags, plain.flags);
        cr_assert_eq(frame.window, plain.window);
        cr_assert_eq(frame.seq, plain.seq);
        cr_assert_eq(frame.ack, plain.ack);
        cr_assert(net_flow_equal(&frame.flow, &plain.flow));
    }
    cr_assert_gt(good, 50000);
}

Test(wire, a_plain_segment_is_written_as_any_other)
{
    struct seed seed = seed_new(828);

    for (unsigned round = 0; round < 20000; round++) {
        uint8_t addresses[8], options[TCP_OPTIONS_TIMESTAMPS_LEN], payload[64];
        uint8_t plain_bytes[WIRE_PLAIN_LEN], any_bytes[WIRE_PLAIN_LEN];
        uint64_t words[3] = {seed_next(&seed), seed_next(&seed), seed_next(&seed)};
        unsigned offloads = 0;

        memcpy(addresses, &words[0], sizeof(addresses));
        for (unsigned i = 0; i < sizeof(payload); i++)
            payload[i] = (uint8_t)seed_next(&seed);
        if (seed_below(&seed, 3) == 0)
            offloads |= PACKET_TX_IP_CHECKSUM;
        if (seed_below(&seed, 3) == 0)
            offloads |= PACKET_TX_TCP_CHECKSUM;
        struct net_flow flow = {.remote = net_address_v4(addresses),
                                .local = net_address_v4(addresses + 4),
                                .remote_port = (uint16_t)words[1],
                                .local_port = (uint16_t)(words[1] >> 16)};
        struct wire_plain plain = {.flow = &flow,
                                   .remote_mac = remote_mac,
                                   .local_mac = local_mac,
                                   .seq = (uint32_t)(words[1] >> 32),
                                   .ack = (uint32_t)words[2],
                                   .ts_value = (uint32_t)(words[2] >> 32),
                                   .ts_echo = (uint32_t)seed_next(&seed),
                                   .payload_len = (uint32_t)seed_below(&seed, sizeof(payload) + 1),
                                   .window = (uint16_t)seed_next(&seed),
                                   .flags = (uint8_t)seed_next(&seed),
                                   .tos = (uint8_t)seed_next(&seed)};
        struct wire_segment any = {.flow = &flow,
                                   .remote_mac = remote_mac,
                                   .local_mac = local_mac,
                                   .vlan = WIRE_NO_VLAN,
                                   .window = plain.window,
                                   .seq = plain.seq,
                                   .ack = plain.ack,
                                   .flags = plain.flags,
                                   .tos = plain.tos,
                                   .options_len = sizeof(options),
                                   .options = options,
                                   .payload_len = plain.payload_len};
        uint64_t sum = checksum_sum(payload, plain.payload_len);

        tcp_options_write_timestamps(options, plain.ts_value, plain.ts_echo);
        wire_write_plain(plain_bytes, &plain, offloads, sum);
        cr_assert_eq(wire_segment_len(&any), WIRE_PLAIN_LEN);
        wire_write_segment(any_bytes, &any, offloads, sum);
        cr_assert_arr_eq(plain_bytes, any_bytes, WIRE_PLAIN_LEN, "seed %lu round %u", seed.start,
                         round);
    }
}

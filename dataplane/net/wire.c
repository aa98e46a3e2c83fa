#include "dataplane/net/wire.h"

#include <assert.h>

/* Next headers of IPv6 (IANA, "Protocol Numbers"). */
enum {
    NEXT_HOP_BY_HOP = 0,
    NEXT_ROUTING = 43,
    NEXT_FRAGMENT = 44,
    NEXT_DESTINATION = 60,
};

static enum frame_kind bad(struct frame *frame, enum frame_fault fault)
{
    frame->fault = (uint8_t)fault;
    return FRAME_BAD;
}

/* ---- what IP carries ---- */

/* `addresses_good`: between such addresses there may be a connection. */
static inline enum frame_kind parse_tcp(struct frame *frame, bool addresses_good)
{
    const uint8_t *tcp = frame->l4;
    unsigned header_len;

    if (frame->l4_len < WIRE_TCP_LEN)
        return bad(frame, FRAME_SHORT);
    header_len = (tcp[12] >> 4) * 4u;
    frame->flow.remote_port = wire_get16(tcp);
    frame->flow.local_port = wire_get16(tcp + 2);
    if (header_len < WIRE_TCP_LEN || header_len > frame->l4_len || frame->flow.remote_port == 0 ||
        frame->flow.local_port == 0)
        return bad(frame, FRAME_TCP_HEADER);
    if (!addresses_good || (frame_destination_mac(frame)[0] & 1) != 0)
        return bad(frame, FRAME_ADDRESS);
    frame->seq = wire_get32(tcp + 4);
    frame->ack = wire_get32(tcp + 8);
    frame->flags = tcp[13];
    frame->window = wire_get16(tcp + 14);
    frame->options_len = header_len - WIRE_TCP_LEN;
    frame->payload = tcp + header_len;
    frame->payload_len = frame->l4_len - header_len;
    return FRAME_TCP;
}

static enum frame_kind parse_other(struct frame *frame, bool v4)
{
    if (frame->protocol != (v4 ? WIRE_ICMP : WIRE_ICMPV6))
        return FRAME_OTHER;
    if (frame->l4_len < 8)
        return bad(frame, FRAME_SHORT);
    return v4 ? FRAME_ICMP : FRAME_ICMPV6;
}

/* ---- IPv4 ---- */

/* Source routes lead packets round filters: dropped, as RFC 7126 section 4.3 and 4.4 advise. */
static enum frame_fault ipv4_options_fault(const uint8_t *options, unsigned len)
{
    enum { END = 0, NOP = 1, LOOSE_ROUTE = 131, STRICT_ROUTE = 137 };
    unsigned at = 0;

    while (at < len && options[at] != END) {
        if (options[at] == NOP) {
            at++;
            continue;
        }
        if (len - at < 2 || options[at + 1] < 2 || options[at + 1] > len - at)
            return FRAME_IP_HEADER;
        if (options[at] == LOOSE_ROUTE || options[at] == STRICT_ROUTE)
            return FRAME_IP_OPTION;
        at += options[at + 1];
    }
    return FRAME_FINE;
}

/* The rules of net_address_is_unicast and sender_good below, for bytes: this is every request's
 * way. RFC 1122 sections 3.2.1.3 and 4.2.3.10: what comes from a group or a loopback address is
 * dropped, and so is a segment to one, without an answer. */
static bool ipv4_unicast(const uint8_t *bytes)
{
    return bytes[0] != 0 && bytes[0] != 127 && bytes[0] < 224;
}

static bool ipv4_sender_good(const uint8_t *bytes)
{
    return bytes[0] >> 4 != 0xe && bytes[0] != 127;
}

static bool ipv4_tcp_addresses_good(const uint8_t *source, const uint8_t *destination)
{
    return ipv4_unicast(source) && ipv4_unicast(destination) && memcmp(source, destination, 4) != 0;
}

static enum frame_kind parse_ipv4(struct frame *frame, const uint8_t *ip, size_t len)
{
    unsigned header_len, total_len;

    if (len < WIRE_IPV4_LEN)
        return bad(frame, FRAME_SHORT);
    header_len = (ip[0] & 15) * 4u;
    total_len = wire_get16(ip + 2);
    if (ip[0] >> 4 != 4 || header_len < WIRE_IPV4_LEN || total_len < header_len)
        return bad(frame, FRAME_IP_HEADER);
    if (total_len > len)
        return bad(frame, FRAME_SHORT);
    if (header_len > WIRE_IPV4_LEN) {
        enum frame_fault fault = ipv4_options_fault(ip + WIRE_IPV4_LEN, header_len - WIRE_IPV4_LEN);

        if (fault != FRAME_FINE)
            return bad(frame, fault);
    }
    frame->tos = ip[1];
    frame->hops = ip[8];
    frame->protocol = ip[9];
    frame->flow.remote = net_address_v4(ip + 12);
    frame->flow.local = net_address_v4(ip + 16);
    frame->l3_len = (uint16_t)header_len;
    frame->l4 = ip + header_len;
    frame->l4_len = total_len - header_len;
    if (!ipv4_sender_good(ip + 12))
        return bad(frame, FRAME_ADDRESS);
    if (wire_get16(ip + 6) & 0x3fff) /* more fragments, or an offset */
        return FRAME_FRAGMENT;
    if (frame->protocol == WIRE_TCP)
        return parse_tcp(frame, ipv4_tcp_addresses_good(ip + 12, ip + 16));
    return parse_other(frame, true);
}

/* ---- IPv6 ---- */

/* Options that we do not know say in their two high bits whether a packet goes on without them
 * (RFC 8200 section 4.2); the only one that we know is padding. */
static enum frame_fault ipv6_options_fault(const uint8_t *options, unsigned len)
{
    unsigned at = 0;

    while (at < len) {
        if (options[at] == 0) { /* Pad1 */
            at++;
            continue;
        }
        if (len - at < 2 || options[at + 1] > len - at - 2)
            return FRAME_IP_CHAIN;
        if (options[at] >> 6 != 0)
            return FRAME_IP_OPTION;
        at += 2u + options[at + 1];
    }
    return FRAME_FINE;
}

static bool is_extension(uint8_t next)
{
    return next == NEXT_HOP_BY_HOP || next == NEXT_ROUTING || next == NEXT_FRAGMENT ||
           next == NEXT_DESTINATION;
}

/* One extension header of `len` bytes, whole. */
static enum frame_fault extension_fault(uint8_t kind, const uint8_t *header, unsigned len)
{
    if (kind == NEXT_HOP_BY_HOP || kind == NEXT_DESTINATION)
        return ipv6_options_fault(header + 2, len - 2);
    /* A route with hops left would make a router of us (RFC 5095 for type 0). */
    if (kind == NEXT_ROUTING && header[3] != 0)
        return FRAME_IP_OPTION;
    return FRAME_FINE;
}

/* No sender on a wire has such an address (RFC 4291 sections 2.5.3, 2.7). */
static bool sender_good(const struct net_address *address)
{
    return !net_address_is_multicast(address) && !net_address_is_loopback(address);
}

static bool ipv6_tcp_addresses_good(const struct frame *frame)
{
    return net_address_is_unicast(&frame->flow.remote) &&
           net_address_is_unicast(&frame->flow.local) &&
           !net_address_equal(&frame->flow.remote, &frame->flow.local);
}

/* Walks the extension headers at frame->l4, which it moves behind them. */
static enum frame_kind parse_chain(struct frame *frame, uint8_t next)
{
    unsigned walked = 0;

    for (unsigned count = 0; is_extension(next); count++) {
        const uint8_t *header = frame->l4;
        enum frame_fault fault;
        unsigned len;

        if (frame->l4_len < 8)
            return bad(frame, FRAME_SHORT);
        len = next == NEXT_FRAGMENT ? 8 : (header[1] + 1u) * 8;
        if (len > frame->l4_len)
            return bad(frame, FRAME_SHORT);
        walked += len;
        if (count == WIRE_EXTENSIONS_MAX || walked > WIRE_CHAIN_MAX ||
            (next == NEXT_HOP_BY_HOP && count > 0))
            return bad(frame, FRAME_IP_CHAIN);
        fault = extension_fault(next, header, len);
        if (fault != FRAME_FINE)
            return bad(frame, fault);
        /* RFC 6946: a fragment that is the whole packet is not one. */
        if (next == NEXT_FRAGMENT && (wire_get16(header + 2) & 0xfff9) != 0) {
            frame->protocol = header[0];
            return FRAME_FRAGMENT;
        }
        next = header[0];
        frame->l4 += len;
        frame->l4_len -= len;
        frame->l3_len = (uint16_t)(frame->l3_len + len);
    }
    frame->protocol = next;
    if (next == WIRE_TCP)
        return parse_tcp(frame, ipv6_tcp_addresses_good(frame));
    return parse_other(frame, false);
}

static enum frame_kind parse_ipv6(struct frame *frame, const uint8_t *ip, size_t len)
{
    unsigned payload_len;

    if (len < WIRE_IPV6_LEN)
        return bad(frame, FRAME_SHORT);
    if (ip[0] >> 4 != 6)
        return bad(frame, FRAME_IP_HEADER);
    payload_len = wire_get16(ip + 4);
    if (payload_len > len - WIRE_IPV6_LEN)
        return bad(frame, FRAME_SHORT);
    frame->tos = (uint8_t)(ip[0] << 4 | ip[1] >> 4);
    frame->hops = ip[7];
    frame->flow.remote = net_address_v6(ip + 8);
    frame->flow.local = net_address_v6(ip + 24);
    frame->l3_len = WIRE_IPV6_LEN;
    frame->l4 = ip + WIRE_IPV6_LEN;
    frame->l4_len = payload_len;
    if (!sender_good(&frame->flow.remote) || net_address_is_v4(&frame->flow.remote) ||
        net_address_is_v4(&frame->flow.local))
        return bad(frame, FRAME_ADDRESS);
    return parse_chain(frame, ip[6]);
}

/* ---- Ethernet ---- */

static enum frame_kind parse_ethernet(const uint8_t *bytes, size_t len, struct frame *frame)
{
    size_t at = WIRE_ETHERNET_LEN;

    if (len < WIRE_ETHERNET_LEN)
        return bad(frame, FRAME_SHORT);
    if (bytes[WIRE_MAC_LEN] & 1) /* a group cannot send */
        return bad(frame, FRAME_ADDRESS);
    frame->ether_type = wire_get16(bytes + 12);
    if (frame->ether_type == WIRE_VLAN) {
        if (len < WIRE_ETHERNET_LEN + WIRE_VLAN_LEN)
            return bad(frame, FRAME_SHORT);
        frame->vlan = wire_get16(bytes + 14) & 0xfff;
        if (frame->vlan == 0)
            frame->vlan = WIRE_NO_VLAN;
        frame->ether_type = wire_get16(bytes + 16);
        at += WIRE_VLAN_LEN;
    }
    frame->l2_len = (uint16_t)at;
    frame->l4 = bytes + at;
    frame->l4_len = (uint32_t)(len - at);
    if (frame->ether_type == WIRE_IPV4)
        return parse_ipv4(frame, bytes + at, len - at);
    if (frame->ether_type == WIRE_IPV6)
        return parse_ipv6(frame, bytes + at, len - at);
    if (frame->ether_type == WIRE_ARP)
        return len - at < WIRE_ARP_LEN ? bad(frame, FRAME_SHORT) : FRAME_ARP;
    return FRAME_OTHER;
}

/* What nearly every frame is: TCP in IPv4 without tag, options of IP or fragments, and nothing
 * wrong with it. False: anything else, for parse_ethernet to judge. All fields are set. */
static inline bool parse_plain(const uint8_t *bytes, size_t len, struct frame *frame)
{
    const uint8_t *ip = bytes + WIRE_ETHERNET_LEN, *tcp = ip + WIRE_IPV4_LEN;
    unsigned total_len, header_len;

    if (len < WIRE_ETHERNET_LEN + WIRE_IPV4_LEN + WIRE_TCP_LEN ||
        ((bytes[0] | bytes[WIRE_MAC_LEN]) & 1) != 0 ||
        wire_get32(bytes + 12) >> 8 != ((uint32_t)WIRE_IPV4 << 8 | 0x45) || ip[9] != WIRE_TCP ||
        (wire_get16(ip + 6) & 0x3fff) != 0 || !ipv4_tcp_addresses_good(ip + 12, ip + 16))
        return false;
    total_len = wire_get16(ip + 2);
    header_len = (tcp[12] >> 4) * 4u;
    frame->flow.remote_port = wire_get16(tcp);
    frame->flow.local_port = wire_get16(tcp + 2);
    if (total_len > len - WIRE_ETHERNET_LEN || header_len < WIRE_TCP_LEN ||
        WIRE_IPV4_LEN + header_len > total_len || frame->flow.remote_port == 0 ||
        frame->flow.local_port == 0)
        return false;
    frame->kind = FRAME_TCP;
    frame->fault = FRAME_FINE;
    frame->flags = tcp[13];
    frame->protocol = WIRE_TCP;
    frame->ether_type = WIRE_IPV4;
    frame->vlan = WIRE_NO_VLAN;
    frame->tos = ip[1];
    frame->hops = ip[8];
    frame->l2_len = WIRE_ETHERNET_LEN;
    frame->l3_len = WIRE_IPV4_LEN;
    frame->window = wire_get16(tcp + 14);
    frame->bytes = bytes;
    frame->l4 = tcp;
    frame->l4_len = total_len - WIRE_IPV4_LEN;
    frame->seq = wire_get32(tcp + 4);
    frame->ack = wire_get32(tcp + 8);
    frame->options_len = header_len - WIRE_TCP_LEN;
    frame->payload_len = frame->l4_len - header_len;
    frame->payload = tcp + header_len;
    frame->flow.remote = net_address_v4(ip + 12);
    frame->flow.local = net_address_v4(ip + 16);
    return true;
}

enum frame_kind wire_parse(const uint8_t *bytes, size_t len, struct frame *frame)
{
    enum frame_kind kind;

    if (parse_plain(bytes, len, frame))
        return FRAME_TCP;
    /* In two pieces, as the compiler makes vector stores of them and a slow string instruction of
     * the whole. */
    memset(frame, 0, offsetof(struct frame, flow));
    memset(&frame->flow, 0, sizeof(frame->flow));
    frame->bytes = bytes;
    frame->vlan = WIRE_NO_VLAN;
    kind = parse_ethernet(bytes, len, frame);
    frame->kind = (uint8_t)kind;
    return kind;
}

static inline bool ip_sum_good(const struct frame *frame)
{
    const uint8_t *ip = frame->bytes + frame->l2_len;
    uint64_t words[2];
    uint32_t last;

    if (frame->ether_type != WIRE_IPV4 || frame->l3_len == 0)
        return true;
    if (frame->l3_len != WIRE_IPV4_LEN)
        return checksum_good(checksum_sum(ip, frame->l3_len));
    memcpy(words, ip, 16);
    memcpy(&last, ip + 16, 4);
    return checksum_good(checksum_add(checksum_add(words[0], words[1]), last));
}

static inline bool l4_sum_good(const struct frame *frame)
{
    uint64_t sum = checksum_sum_inline(frame->l4, frame->l4_len);

    assert(frame->kind == FRAME_TCP || frame->kind == FRAME_ICMP || frame->kind == FRAME_ICMPV6);
    if (frame->ether_type == WIRE_IPV6)
        sum = checksum_add(sum, checksum_pseudo6(&frame->flow.remote, &frame->flow.local,
                                                 frame->protocol, frame->l4_len));
    else if (frame->kind != FRAME_ICMP)
        sum = checksum_add(sum, checksum_pseudo4(&frame->flow.remote, &frame->flow.local,
                                                 frame->protocol, frame->l4_len));
    return checksum_good(sum);
}

bool wire_ip_checksum_good(const struct frame *frame)
{
    return ip_sum_good(frame);
}

bool wire_checksum_good(const struct frame *frame)
{
    return l4_sum_good(frame);
}

bool wire_checksums_good(const struct frame *frame)
{
    return ip_sum_good(frame) && l4_sum_good(frame);
}

/* ---- writing ---- */

unsigned wire_write_ethernet(uint8_t *to, const uint8_t destination[6], const uint8_t source[6],
                             uint16_t vlan, uint16_t ether_type)
{
    memcpy(to, destination, WIRE_MAC_LEN);
    memcpy(to + WIRE_MAC_LEN, source, WIRE_MAC_LEN);
    if (vlan == WIRE_NO_VLAN) {
        wire_put16(to + 12, ether_type);
        return WIRE_ETHERNET_LEN;
    }
    wire_put32(to + 12, (uint32_t)WIRE_VLAN << 16 | vlan);
    wire_put16(to + 16, ether_type);
    return WIRE_ETHERNET_LEN + WIRE_VLAN_LEN;
}

/* An IPv4 header without options, with the checksum unless the port makes it. */
static inline void write_ipv4(uint8_t *to, const struct net_address *source,
                              const struct net_address *destination, uint8_t protocol, uint8_t tos,
                              uint8_t hops, uint32_t len, bool offload)
{
    uint32_t first = __builtin_bswap32(0x45000000u | (uint32_t)tos << 16 | (WIRE_IPV4_LEN + len));
    uint32_t second = __builtin_bswap32(0x4000u); /* identification 0, don't fragment */
    uint32_t third = __builtin_bswap32((uint32_t)hops << 24 | (uint32_t)protocol << 16);
    uint32_t from = source->words[3], towards = destination->words[3];

    if (!offload)
        third |= (uint32_t)checksum_finish((uint64_t)first + second + third + from + towards) << 16;
    memcpy(to, &first, 4);
    memcpy(to + 4, &second, 4);
    memcpy(to + 8, &third, 4);
    memcpy(to + 12, &from, 4);
    memcpy(to + 16, &towards, 4);
}

static void write_ipv6(uint8_t *to, const struct net_address *source,
                       const struct net_address *destination, uint8_t protocol, uint8_t tos,
                       uint8_t hops, uint32_t len)
{
    wire_put32(to, 0x60000000u | (uint32_t)tos << 20);
    wire_put32(to + 4, len << 16 | (uint32_t)protocol << 8 | hops);
    memcpy(to + 8, source, 16);
    memcpy(to + 24, destination, 16);
}

unsigned wire_write_ip(uint8_t *to, const struct net_address *source,
                       const struct net_address *destination, uint8_t protocol, uint8_t tos,
                       uint8_t hops, uint32_t len)
{
    assert(len <= UINT16_MAX - WIRE_IPV4_LEN);
    if (net_address_is_v4(source)) {
        write_ipv4(to, source, destination, protocol, tos, hops, len, false);
        return WIRE_IPV4_LEN;
    }
    write_ipv6(to, source, destination, protocol, tos, hops, len);
    return WIRE_IPV6_LEN;
}

/* Copies the options; returns `sum` with theirs. */
static inline uint64_t write_options(uint8_t *to, const uint8_t *options, unsigned len,
                                     uint64_t sum)
{
    uint64_t two;
    uint32_t one;

    for (; len >= 8; len -= 8, to += 8, options += 8) {
        memcpy(&two, options, 8);
        memcpy(to, &two, 8);
        sum = checksum_add(sum, two);
    }
    if (len == 0)
        return sum;
    memcpy(&one, options, 4);
    memcpy(to, &one, 4);
    return checksum_add(sum, one);
}

/* Timestamps alone, as nearly always. */
static inline uint64_t write_timestamps(uint8_t *to, const uint8_t *options, uint64_t sum)
{
    uint64_t two;
    uint32_t one;

    memcpy(&two, options, 8);
    memcpy(&one, options + 8, 4);
    memcpy(to, &two, 8);
    memcpy(to + 8, &one, 4);
    return checksum_add(checksum_add(sum, two), one);
}

/* The TCP header and options. `pseudo` is the sum of the pseudo-header, `payload_sum` that of the
 * payload. */
static inline void write_tcp(uint8_t *to, const struct wire_segment *segment, bool offload,
                             uint64_t pseudo, uint64_t payload_sum)
{
    unsigned options_len = segment->options_len, offset = (WIRE_TCP_LEN + options_len) / 4u;
    uint64_t first = __builtin_bswap64((uint64_t)segment->flow->local_port << 48 |
                                       (uint64_t)segment->flow->remote_port << 32 | segment->seq);
    uint64_t second = __builtin_bswap64((uint64_t)segment->ack << 32 | offset << 28 |
                                        (uint32_t)segment->flags << 16 | segment->window);
    uint64_t sum = checksum_add(checksum_add(pseudo, payload_sum), checksum_add(first, second));
    uint32_t third; /* the checksum and, always 0, the urgent pointer */

    if (options_len == 12)
        sum = write_timestamps(to + WIRE_TCP_LEN, segment->options, sum);
    else
        sum = write_options(to + WIRE_TCP_LEN, segment->options, options_len, sum);
    third = offload ? checksum_fold(pseudo) : checksum_finish(sum);
    memcpy(to, &first, 8);
    memcpy(to + 8, &second, 8);
    memcpy(to + 16, &third, 4);
}

struct wire_lengths wire_write_segment(uint8_t *to, const struct wire_segment *segment,
                                       unsigned offloads, uint64_t payload_sum)
{
    const struct net_address *source = &segment->flow->local, *target = &segment->flow->remote;
    bool v4 = net_address_is_v4(source), offload = (offloads & PACKET_TX_TCP_CHECKSUM) != 0;
    uint32_t l4_len = WIRE_TCP_LEN + segment->options_len + segment->payload_len;
    /* Of segments that the port cuts it knows the lengths itself. */
    uint32_t pseudo_len = (offloads & PACKET_TX_TSO) != 0 ? 0 : l4_len;
    struct wire_lengths lengths;

    assert(segment->options_len <= 40 && segment->options_len % 4 == 0);
    assert(l4_len <= UINT16_MAX - WIRE_IPV4_LEN);
    lengths.l2 = (uint16_t)wire_write_ethernet(to, segment->remote_mac, segment->local_mac,
                                               segment->vlan, v4 ? WIRE_IPV4 : WIRE_IPV6);
    lengths.l3 = v4 ? WIRE_IPV4_LEN : WIRE_IPV6_LEN;
    lengths.l4 = (uint16_t)(WIRE_TCP_LEN + segment->options_len);
    to += lengths.l2;
    if (v4) {
        write_ipv4(to, source, target, WIRE_TCP, segment->tos, WIRE_HOPS, l4_len,
                   (offloads & PACKET_TX_IP_CHECKSUM) != 0);
        write_tcp(to + WIRE_IPV4_LEN, segment, offload,
                  checksum_pseudo4(source, target, WIRE_TCP, pseudo_len), payload_sum);
    } else {
        write_ipv6(to, source, target, WIRE_TCP, segment->tos, WIRE_HOPS, l4_len);
        write_tcp(to + WIRE_IPV6_LEN, segment, offload,
                  checksum_pseudo6(source, target, WIRE_TCP, pseudo_len), payload_sum);
    }
    return lengths;
}

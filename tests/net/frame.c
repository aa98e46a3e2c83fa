#include "tests/net/frame.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    ETHER_LEN = 14,
    VLAN_LEN = 4,
    IP4_LEN = 20,
    IP6_LEN = 40,
    TCP_LEN = 20,
    ETHERTYPE_IP4 = 0x0800,
    ETHERTYPE_IP6 = 0x86dd,
    ETHERTYPE_ARP = 0x0806,
    ETHERTYPE_VLAN = 0x8100,
    PROTO_ICMP = 1,
    PROTO_TCP = 6,
    PROTO_FRAGMENT = 44,
    PROTO_ICMP6 = 58,
    PROTO_DESTINATION = 60,
};

static void put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value & 0xffff);
}

static unsigned get16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* RFC 1071, a byte pair at a time: slow and plain. */
static uint32_t sum_add(uint32_t sum, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum += i % 2 == 0 ? (uint32_t)data[i] << 8 : data[i];
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

static uint32_t pseudo_sum(bool v6, const uint8_t *ip, size_t len, unsigned proto)
{
    uint32_t sum = v6 ? sum_add(0, ip + 8, 32) : sum_add(0, ip + 12, 8);

    return sum + (uint32_t)len + proto;
}

static unsigned upper_sum(bool v6, const uint8_t *ip, const uint8_t *upper, size_t len,
                          unsigned proto)
{
    return ~sum_add(pseudo_sum(v6, ip, len, proto), upper, len) & 0xffff;
}

/* ---- Building -------------------------------------------------------------------------------- */

static size_t build_options(const struct segment *segment, uint8_t *at)
{
    uint8_t *start = at;

    if (segment->has_mss) {
        at[0] = 2, at[1] = 4;
        put16(at + 2, segment->mss);
        at += 4;
    }
    if (segment->sack_ok) {
        at[0] = 4, at[1] = 2;
        at += 2;
    }
    if (segment->has_ts) {
        at[0] = 8, at[1] = 10;
        put32(at + 2, segment->ts_value);
        put32(at + 6, segment->ts_echo);
        at += 10;
    }
    if (segment->has_wscale) {
        at[0] = 3, at[1] = 3, at[2] = segment->wscale;
        at += 3;
    }
    if (segment->has_timeout) {
        at[0] = 28, at[1] = 4;
        put16(at + 2, segment->user_timeout);
        at += 4;
    }
    if (segment->sack_count > 0) {
        at[0] = 5, at[1] = (uint8_t)(2 + 8 * segment->sack_count);
        for (unsigned i = 0; i < segment->sack_count; i++) {
            put32(at + 2 + 8 * i, segment->sacks[i].start);
            put32(at + 6 + 8 * i, segment->sacks[i].end);
        }
        at += at[1];
    }
    memcpy(at, segment->raw_options, segment->raw_options_len);
    at += segment->raw_options_len;
    while ((at - start) % 4 != 0)
        *at++ = 1;
    assert(at - start <= FRAME_OPTIONS_MAX);
    return (size_t)(at - start);
}

/* Ethernet, and a tag if asked for; returns the length. */
static size_t build_ether(const struct frame_side *from, const struct frame_side *to, bool v6,
                          bool vlan, uint8_t *frame)
{
    size_t len = 12;

    memcpy(frame, to->mac, 6);
    memcpy(frame + 6, from->mac, 6);
    if (vlan) {
        put16(frame + 12, ETHERTYPE_VLAN);
        put16(frame + 14, 7);
        len += VLAN_LEN;
    }
    put16(frame + len, v6 ? ETHERTYPE_IP6 : ETHERTYPE_IP4);
    return len + 2;
}

static size_t build_ip4(const struct segment *segment, unsigned proto, size_t upper_len,
                        uint8_t *ip)
{
    size_t len = IP4_LEN;

    memset(ip, 0, IP4_LEN);
    if (segment->flaws & FRAME_FLAW_IP_OPTIONS) {
        memset(ip + len, 1, 4);
        len += 4;
    }
    ip[0] = (uint8_t)(0x40 | len / 4);
    ip[1] = segment->ecn;
    put16(ip + 2, (unsigned)(len + upper_len));
    put16(ip + 6, segment->flaws & FRAME_FLAW_FRAGMENT ? 0x2000 : 0x4000);
    ip[8] = segment->hops != 0 ? segment->hops : 64;
    ip[9] = (uint8_t)proto;
    memcpy(ip + 12, segment->from.address, 4);
    memcpy(ip + 16, segment->to.address, 4);
    put16(ip + 10, ~sum_add(0, ip, len) & 0xffff);
    if (segment->flaws & FRAME_FLAW_IP_SUM)
        ip[10] ^= 0x40;
    return len;
}

static size_t build_ip6(const struct segment *segment, unsigned proto, size_t upper_len,
                        uint8_t *ip)
{
    size_t len = IP6_LEN;
    uint8_t *next = ip + 6;

    memset(ip, 0, IP6_LEN);
    ip[0] = 0x60;
    ip[1] = (uint8_t)(segment->ecn << 4);
    ip[7] = segment->hops != 0 ? segment->hops : 64;
    memcpy(ip + 8, segment->from.address, 16);
    memcpy(ip + 24, segment->to.address, 16);
    if (segment->flaws & FRAME_FLAW_IP_OPTIONS) {
        static const uint8_t padding[8] = {0, 0, 1, 4};

        *next = PROTO_DESTINATION;
        memcpy(ip + len, padding, 8);
        next = ip + len;
        len += 8;
    }
    if (segment->flaws & FRAME_FLAW_FRAGMENT) {
        static const uint8_t fragment[8] = {0, 0, 0, 1, 0, 0, 0, 9};

        *next = PROTO_FRAGMENT;
        memcpy(ip + len, fragment, 8);
        next = ip + len;
        len += 8;
    }
    *next = (uint8_t)proto;
    put16(ip + 4, (unsigned)(len - IP6_LEN + upper_len));
    return len;
}

static size_t build_ip(const struct segment *segment, unsigned proto, size_t upper_len, uint8_t *ip)
{
    return segment->v6 ? build_ip6(segment, proto, upper_len, ip)
                       : build_ip4(segment, proto, upper_len, ip);
}

/* Returns the length of header and payload; the checksum is left at 0. */
static size_t build_tcp(const struct segment *segment, uint8_t *tcp)
{
    size_t header_len = TCP_LEN + build_options(segment, tcp + TCP_LEN);

    put16(tcp, segment->from.port);
    put16(tcp + 2, segment->to.port);
    put32(tcp + 4, segment->seq);
    put32(tcp + 8, segment->ack);
    tcp[12] = (uint8_t)((segment->data_offset != 0 ? segment->data_offset : header_len / 4) << 4);
    tcp[13] = segment->flags;
    put16(tcp + 14, segment->window);
    put16(tcp + 16, 0);
    put16(tcp + 18, segment->urgent);
    if (segment->payload_len > 0)
        memcpy(tcp + header_len, segment->payload, segment->payload_len);
    return header_len + segment->payload_len;
}

size_t frame_build(const struct segment *segment, uint8_t *frame, size_t room)
{
    uint8_t tcp[FRAME_MAX];
    size_t ether_len, ip_len, tcp_len, len;
    uint8_t *ip;

    assert(segment->payload_len + 200 <= sizeof tcp);
    assert(segment->payload_len + 200 <= room);
    tcp_len = build_tcp(segment, tcp);
    ether_len = build_ether(&segment->from, &segment->to, segment->v6,
                            segment->flaws & FRAME_FLAW_VLAN, frame);
    ip = frame + ether_len;
    ip_len = build_ip(segment, PROTO_TCP, tcp_len, ip);
    put16(tcp + 16, upper_sum(segment->v6, ip, tcp, tcp_len, PROTO_TCP));
    if (segment->flaws & FRAME_FLAW_TCP_SUM)
        tcp[17] ^= 0x10;
    memcpy(ip + ip_len, tcp, tcp_len);
    len = ether_len + ip_len + tcp_len;
    if (segment->flaws & FRAME_FLAW_SHORT)
        len--;
    if (segment->flaws & FRAME_FLAW_PADDED) {
        memset(frame + len, 0xaa, 8);
        len += 8;
    }
    return len;
}

size_t frame_build_icmp(const struct segment *about, const struct frame_side *from, unsigned type,
                        unsigned code, uint32_t rest, size_t quoted, uint8_t *frame, size_t room)
{
    struct segment outer = {.from = *from, .to = about->from, .v6 = about->v6};
    unsigned proto = about->v6 ? PROTO_ICMP6 : PROTO_ICMP;
    uint8_t icmp[FRAME_MAX], tcp[FRAME_MAX];
    size_t tcp_len = build_tcp(about, tcp), len = 8, ether_len, ip_len;
    uint8_t *ip;

    assert(quoted + 200 <= room);
    memset(icmp, 0, 8);
    icmp[0] = (uint8_t)type;
    icmp[1] = (uint8_t)code;
    put32(icmp + 4, rest);
    len += build_ip(about, PROTO_TCP, tcp_len, icmp + len);
    put16(tcp + 16, upper_sum(about->v6, icmp + 8, tcp, tcp_len, PROTO_TCP));
    memcpy(icmp + len, tcp, quoted < tcp_len ? quoted : tcp_len);
    len += quoted < tcp_len ? quoted : tcp_len;
    ether_len = build_ether(&outer.from, &outer.to, outer.v6, false, frame);
    ip = frame + ether_len;
    ip_len = build_ip(&outer, proto, len, ip);
    put16(icmp + 2,
          about->v6 ? upper_sum(true, ip, icmp, len, proto) : ~sum_add(0, icmp, len) & 0xffff);
    memcpy(ip + ip_len, icmp, len);
    return ether_len + ip_len + len;
}

/* Where the checksum lies in the header of this protocol; 0: it is not known. */
static size_t sum_place(unsigned proto, bool v6)
{
    if (proto == PROTO_TCP)
        return 16;
    return proto == (v6 ? PROTO_ICMP6 : PROTO_ICMP) ? 2 : 0;
}

void frame_repair(uint8_t *frame, size_t len)
{
    uint8_t *ip = frame + ETHER_LEN;
    size_t header_len, upper_len, place;
    unsigned proto, sum;
    bool v6;

    if (len < ETHER_LEN + IP6_LEN)
        return;
    v6 = get16(frame + 12) == ETHERTYPE_IP6;
    if (v6) {
        header_len = IP6_LEN;
        proto = ip[6];
        upper_len = get16(ip + 4);
        if (upper_len > len - ETHER_LEN - IP6_LEN)
            return;
    } else if (get16(frame + 12) == ETHERTYPE_IP4) {
        header_len = (size_t)(ip[0] & 15) * 4;
        proto = ip[9];
        if (header_len < IP4_LEN || get16(ip + 2) > len - ETHER_LEN || get16(ip + 2) < header_len)
            return;
        upper_len = get16(ip + 2) - header_len;
        put16(ip + 10, 0);
        put16(ip + 10, ~sum_add(0, ip, header_len) & 0xffff);
    } else {
        return;
    }
    place = sum_place(proto, v6);
    if (place == 0 || upper_len < place + 2)
        return;
    put16(ip + header_len + place, 0);
    sum = proto == PROTO_ICMP ? ~sum_add(0, ip + header_len, upper_len) & 0xffff
                              : upper_sum(v6, ip, ip + header_len, upper_len, proto);
    put16(ip + header_len + place, sum);
}

static size_t answer_arp(const uint8_t *frame, const uint8_t mac[6], uint8_t *answer)
{
    const uint8_t *arp = frame + ETHER_LEN;

    if (get16(arp + 6) != 1 || memcmp(arp + 14, arp + 24, 4) == 0)
        return 0; /* no request, or an announcement */
    memcpy(answer, frame + 6, 6);
    memcpy(answer + 6, mac, 6);
    put16(answer + 12, ETHERTYPE_ARP);
    memcpy(answer + ETHER_LEN, arp, 8);
    put16(answer + ETHER_LEN + 6, 2);
    memcpy(answer + ETHER_LEN + 8, mac, 6);
    memcpy(answer + ETHER_LEN + 14, arp + 24, 4);
    memcpy(answer + ETHER_LEN + 18, arp + 8, 10);
    return ETHER_LEN + 28;
}

static size_t answer_solicitation(const uint8_t *frame, const uint8_t mac[6], uint8_t *answer)
{
    const uint8_t *ip = frame + ETHER_LEN, *icmp = ip + IP6_LEN;
    uint8_t *out = answer + ETHER_LEN;

    memcpy(answer, frame + 6, 6);
    memcpy(answer + 6, mac, 6);
    put16(answer + 12, ETHERTYPE_IP6);
    memset(out, 0, IP6_LEN + 32);
    out[0] = 0x60;
    out[5] = 32;
    out[6] = PROTO_ICMP6;
    out[7] = 255;
    memcpy(out + 8, icmp + 8, 16);
    memcpy(out + 24, ip + 8, 16);
    out[IP6_LEN] = 136;
    out[IP6_LEN + 4] = 0x60; /* solicited, override */
    memcpy(out + IP6_LEN + 8, icmp + 8, 16);
    out[IP6_LEN + 24] = 2;
    out[IP6_LEN + 25] = 1;
    memcpy(out + IP6_LEN + 26, mac, 6);
    put16(out + IP6_LEN + 2, upper_sum(true, out, out + IP6_LEN, 32, PROTO_ICMP6));
    return ETHER_LEN + IP6_LEN + 32;
}

size_t frame_answer_neighbour(const uint8_t *frame, size_t len, const uint8_t mac[6],
                              uint8_t *answer)
{
    if (len >= ETHER_LEN + 28 && get16(frame + 12) == ETHERTYPE_ARP)
        return answer_arp(frame, mac, answer);
    if (len >= ETHER_LEN + IP6_LEN + 24 && get16(frame + 12) == ETHERTYPE_IP6 &&
        frame[ETHER_LEN + 6] == PROTO_ICMP6 && frame[ETHER_LEN + IP6_LEN] == 135)
        return answer_solicitation(frame, mac, answer);
    return 0;
}

/* ---- Parsing --------------------------------------------------------------------------------- */

static bool parse_option(struct segment *segment, const uint8_t *option, unsigned len)
{
    switch (option[0]) {
    case 2:
        segment->has_mss = true;
        if (len == 4)
            segment->mss = (uint16_t)get16(option + 2);
        return len == 4;
    case 3:
        segment->has_wscale = true;
        segment->wscale = len == 3 ? option[2] : 0;
        return len == 3 && option[2] <= 14;
    case 4:
        segment->sack_ok = true;
        return len == 2;
    case 5:
        if (len < 10 || (len - 2) % 8 != 0 || (len - 2) / 8 > FRAME_SACKS_MAX)
            return false;
        segment->sack_count = (len - 2) / 8;
        for (unsigned i = 0; i < segment->sack_count; i++) {
            segment->sacks[i].start = get32(option + 2 + 8 * i);
            segment->sacks[i].end = get32(option + 6 + 8 * i);
        }
        return true;
    case 8:
        segment->has_ts = true;
        if (len != 10)
            return false;
        segment->ts_value = get32(option + 2);
        segment->ts_echo = get32(option + 6);
        return true;
    case 28:
        segment->has_timeout = true;
        if (len == 4)
            segment->user_timeout = (uint16_t)get16(option + 2);
        return len == 4;
    default:
        return false;
    }
}

static bool parse_options(struct segment *segment, const uint8_t *options, size_t len)
{
    for (size_t i = 0; i < len && options[i] != 0;) {
        if (options[i] == 1) {
            i++;
            continue;
        }
        if (i + 1 >= len || options[i + 1] < 2 || i + options[i + 1] > len ||
            !parse_option(segment, options + i, options[i + 1]))
            return false;
        i += options[i + 1];
    }
    return true;
}

static enum frame_kind bad(char *why, const char *text)
{
    snprintf(why, FRAME_WHY_MAX, "%s", text);
    return FRAME_BAD;
}

static enum frame_kind parse_tcp(const uint8_t *ip, const uint8_t *tcp, size_t len,
                                 struct segment *segment, char *why)
{
    size_t header_len;

    if (len < TCP_LEN)
        return bad(why, "shorter than a TCP header");
    header_len = (size_t)(tcp[12] >> 4) * 4;
    if (header_len < TCP_LEN || header_len > len)
        return bad(why, "wrong TCP data offset");
    if ((tcp[12] & 15) != 0)
        return bad(why, "reserved bits of the TCP header are set");
    if (upper_sum(segment->v6, ip, tcp, len, PROTO_TCP) != 0)
        return bad(why, "wrong TCP checksum");
    segment->from.port = (uint16_t)get16(tcp);
    segment->to.port = (uint16_t)get16(tcp + 2);
    segment->seq = get32(tcp + 4);
    segment->ack = get32(tcp + 8);
    segment->flags = tcp[13];
    segment->window = (uint16_t)get16(tcp + 14);
    segment->urgent = (uint16_t)get16(tcp + 18);
    segment->payload = tcp + header_len;
    segment->payload_len = len - header_len;
    segment->options_len = header_len - TCP_LEN;
    if (!parse_options(segment, tcp + TCP_LEN, header_len - TCP_LEN))
        return bad(why, "malformed or unknown TCP option");
    if (segment->ack != 0 && !(segment->flags & FRAME_ACK))
        return bad(why, "an acknowledgment number without ACK");
    return FRAME_TCP;
}

static enum frame_kind parse_ip4(const uint8_t *ip, size_t len, struct segment *segment, char *why)
{
    if (len < IP4_LEN || ip[0] != 0x45)
        return bad(why, "not an IPv4 header of 20 bytes");
    if (get16(ip + 2) < IP4_LEN || get16(ip + 2) > len)
        return bad(why, "wrong IPv4 total length");
    if (get16(ip + 2) < len && len > 60 - ETHER_LEN)
        return bad(why, "bytes after the IPv4 datagram");
    if (sum_add(0, ip, IP4_LEN) != 0xffff)
        return bad(why, "wrong IPv4 checksum");
    segment->ecn = ip[1] & 3;
    segment->hops = ip[8];
    segment->ip_id = (uint16_t)get16(ip + 4);
    segment->dont_fragment = (ip[6] & 0x40) != 0;
    if ((get16(ip + 6) & 0x3fff) != 0)
        return bad(why, "an IPv4 fragment");
    memcpy(segment->from.address, ip + 12, 4);
    memcpy(segment->to.address, ip + 16, 4);
    if (ip[9] == PROTO_ICMP)
        return FRAME_ICMP;
    if (ip[9] != PROTO_TCP)
        return FRAME_OTHER;
    return parse_tcp(ip, ip + IP4_LEN, get16(ip + 2) - IP4_LEN, segment, why);
}

static enum frame_kind parse_ip6(const uint8_t *ip, size_t len, struct segment *segment, char *why)
{
    segment->v6 = true;
    if (len < IP6_LEN || ip[0] >> 4 != 6)
        return bad(why, "not an IPv6 header");
    if (get16(ip + 4) != len - IP6_LEN)
        return bad(why, "wrong IPv6 payload length");
    segment->ecn = ip[1] >> 4 & 3;
    segment->hops = ip[7];
    memcpy(segment->from.address, ip + 8, 16);
    memcpy(segment->to.address, ip + 24, 16);
    if (ip[6] == PROTO_ICMP6)
        return FRAME_ICMP6;
    if (ip[6] != PROTO_TCP)
        return FRAME_OTHER;
    return parse_tcp(ip, ip + IP6_LEN, len - IP6_LEN, segment, why);
}

enum frame_kind frame_parse(const uint8_t *frame, size_t len, struct segment *segment, char *why)
{
    memset(segment, 0, sizeof *segment);
    if (len < ETHER_LEN)
        return bad(why, "shorter than an Ethernet header");
    memcpy(segment->to.mac, frame, 6);
    memcpy(segment->from.mac, frame + 6, 6);
    unsigned type = get16(frame + 12);
    size_t at = ETHER_LEN;
    if (type == ETHERTYPE_VLAN && len >= ETHER_LEN + VLAN_LEN) {
        segment->flaws = FRAME_FLAW_VLAN;
        type = get16(frame + 16);
        at += VLAN_LEN;
    }
    if (type == ETHERTYPE_IP4)
        return parse_ip4(frame + at, len - at, segment, why);
    if (type == ETHERTYPE_IP6)
        return parse_ip6(frame + at, len - at, segment, why);
    return type == ETHERTYPE_ARP ? FRAME_ARP : FRAME_OTHER;
}

void frame_describe(const struct segment *segment, uint32_t seq_base, uint32_t ack_base, char *text,
                    size_t room)
{
    static const char letters[8] = {'F', 'S', 'R', 'P', 'A', 'U', 'E', 'C'};
    char flags[9], *flag = flags;
    size_t used;

    for (unsigned i = 0; i < 8; i++) {
        if (segment->flags & 1u << i)
            *flag++ = letters[i];
    }
    *flag = '\0';
    used = (size_t)snprintf(text, room, "%s %d..%d", flags, (int)(segment->seq - seq_base),
                            (int)(segment->seq - seq_base + segment->payload_len));
    if (segment->flags & FRAME_ACK)
        used +=
            (size_t)snprintf(text + used, room - used, " ack %d", (int)(segment->ack - ack_base));
    used += (size_t)snprintf(text + used, room - used, " win %u", segment->window);
    for (unsigned i = 0; i < segment->sack_count; i++)
        used += (size_t)snprintf(text + used, room - used, "%s%d..%d", i == 0 ? " sack " : ",",
                                 (int)(segment->sacks[i].start - ack_base),
                                 (int)(segment->sacks[i].end - ack_base));
    if (segment->has_mss)
        used += (size_t)snprintf(text + used, room - used, " mss %u", segment->mss);
    if (segment->has_wscale)
        used += (size_t)snprintf(text + used, room - used, " ws %u", segment->wscale);
    if (segment->has_ts)
        snprintf(text + used, room - used, " ts %u %u", segment->ts_value, segment->ts_echo);
}

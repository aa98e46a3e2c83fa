/* The control protocols of wire.h: quotes in ICMP errors, ARP, neighbour discovery. */
#include "dataplane/net/wire.h"

#include <assert.h>

/* ---- ICMP errors ---- */

enum {
    ICMP_UNREACHABLE = 3,
    ICMP_FRAGMENTATION_NEEDED = 4, /* a code of it */
    ICMP_TIME_EXCEEDED = 11,
    ICMP_PARAMETER_PROBLEM = 12,
    ICMPV6_UNREACHABLE = 1,
    ICMPV6_TOO_BIG = 2,
    ICMPV6_TIME_EXCEEDED = 3,
    ICMPV6_PARAMETER_PROBLEM = 4,
    QUOTE_TCP_LEN = 8, /* ports and sequence number: all that RFC 792 promises */
};

/* Source quench is not among them: RFC 6633 has it ignored. */
static bool is_error(const struct frame *frame)
{
    uint8_t type = frame->l4[0];

    if (frame->kind == FRAME_ICMP)
        return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED ||
               type == ICMP_PARAMETER_PROBLEM;
    return type >= ICMPV6_UNREACHABLE && type <= ICMPV6_PARAMETER_PROBLEM;
}

/* The TCP header in a quoted IPv4 packet of `len` bytes; NULL: there is none. */
static const uint8_t *quoted_ipv4(const uint8_t *ip, size_t len, struct wire_quote *quote)
{
    unsigned header_len;

    if (len < WIRE_IPV4_LEN + QUOTE_TCP_LEN || ip[0] >> 4 != 4)
        return NULL;
    header_len = (ip[0] & 15) * 4u;
    if (header_len < WIRE_IPV4_LEN || header_len + QUOTE_TCP_LEN > len || ip[9] != WIRE_TCP ||
        (wire_get16(ip + 6) & 0x1fff) != 0)
        return NULL;
    quote->packet_len = wire_get16(ip + 2);
    quote->flow.local = net_address_v4(ip + 12);
    quote->flow.remote = net_address_v4(ip + 16);
    return ip + header_len;
}

/* What we send has no extension headers. */
static const uint8_t *quoted_ipv6(const uint8_t *ip, size_t len, struct wire_quote *quote)
{
    if (len < WIRE_IPV6_LEN + QUOTE_TCP_LEN || ip[0] >> 4 != 6 || ip[6] != WIRE_TCP)
        return NULL;
    quote->packet_len = WIRE_IPV6_LEN + wire_get16(ip + 4);
    quote->flow.local = net_address_v6(ip + 8);
    quote->flow.remote = net_address_v6(ip + 24);
    if (net_address_is_v4(&quote->flow.local) || net_address_is_v4(&quote->flow.remote))
        return NULL;
    return ip + WIRE_IPV6_LEN;
}

bool wire_parse_quote(const struct frame *frame, struct wire_quote *quote)
{
    bool v4 = frame->kind == FRAME_ICMP;
    const uint8_t *icmp = frame->l4, *tcp;

    if ((!v4 && frame->kind != FRAME_ICMPV6) || !is_error(frame))
        return false;
    *quote = (struct wire_quote){.type = icmp[0], .code = icmp[1]};
    tcp = v4 ? quoted_ipv4(icmp + 8, frame->l4_len - 8, quote)
             : quoted_ipv6(icmp + 8, frame->l4_len - 8, quote);
    if (tcp == NULL)
        return false;
    quote->flow.local_port = wire_get16(tcp);
    quote->flow.remote_port = wire_get16(tcp + 2);
    quote->seq = wire_get32(tcp + 4);
    if (v4 && quote->type == ICMP_UNREACHABLE && quote->code == ICMP_FRAGMENTATION_NEEDED)
        quote->mtu = wire_get16(icmp + 6);
    else if (!v4 && quote->type == ICMPV6_TOO_BIG)
        quote->mtu = wire_get32(icmp + 4);
    return true;
}

/* ---- ARP ---- */

enum { ARP_HARDWARE_ETHERNET = 1 };

bool wire_parse_arp(const struct frame *frame, struct wire_arp *arp)
{
    const uint8_t *at = frame->l4;

    if (frame->kind != FRAME_ARP || frame->l4_len < WIRE_ARP_LEN ||
        wire_get16(at) != ARP_HARDWARE_ETHERNET || wire_get16(at + 2) != WIRE_IPV4 ||
        at[4] != WIRE_MAC_LEN || at[5] != 4)
        return false;
    arp->operation = wire_get16(at + 6);
    memcpy(arp->sender_mac, at + 8, WIRE_MAC_LEN);
    arp->sender = net_address_v4(at + 14);
    memcpy(arp->target_mac, at + 18, WIRE_MAC_LEN);
    arp->target = net_address_v4(at + 24);
    return true;
}

void wire_write_arp(uint8_t *to, const struct wire_arp *arp)
{
    assert(net_address_is_v4(&arp->sender) && net_address_is_v4(&arp->target));
    wire_put16(to, ARP_HARDWARE_ETHERNET);
    wire_put16(to + 2, WIRE_IPV4);
    to[4] = WIRE_MAC_LEN;
    to[5] = 4;
    wire_put16(to + 6, arp->operation);
    memcpy(to + 8, arp->sender_mac, WIRE_MAC_LEN);
    memcpy(to + 14, net_address_v4_bytes(&arp->sender), 4);
    memcpy(to + 18, arp->target_mac, WIRE_MAC_LEN);
    memcpy(to + 24, net_address_v4_bytes(&arp->target), 4);
}

/* ---- neighbour discovery ---- */

enum {
    NDP_HEADER_LEN = 24, /* with the target */
    NDP_HOPS = 255,      /* proof that no router forwarded it */
    NDP_OPTION_SOURCE = 1,
    NDP_OPTION_TARGET = 2,
    NDP_OPTION_LEN = 8, /* with an Ethernet address */
};

/* The options behind the target. False: one of them has no length or runs past the message. */
static bool read_ndp_options(const uint8_t *options, uint32_t len, struct wire_ndp *ndp)
{
    uint8_t wanted = ndp->type == WIRE_NDP_SOLICITATION ? NDP_OPTION_SOURCE : NDP_OPTION_TARGET;

    for (uint32_t at = 0; at < len;) {
        uint32_t option_len;

        if (len - at < 8)
            return false;
        option_len = options[at + 1] * 8u;
        if (option_len == 0 || option_len > len - at)
            return false;
        if (options[at] == wanted && option_len == NDP_OPTION_LEN) {
            memcpy(ndp->mac, options + at + 2, WIRE_MAC_LEN);
            ndp->has_mac = true;
        }
        at += option_len;
    }
    return true;
}

/* The rules that tie a message to its IP addresses. */
static bool ndp_addresses_good(const struct frame *frame, const struct wire_ndp *ndp)
{
    struct net_address group = net_address_solicited(&ndp->target);
    bool unspecified = net_address_is_unspecified(&frame->flow.remote);

    if (ndp->type == WIRE_NDP_SOLICITATION) /* without a sender: duplicate address detection */
        return !unspecified || (net_address_equal(&frame->flow.local, &group) && !ndp->has_mac);
    return !unspecified && !(net_address_is_multicast(&frame->flow.local) &&
                             (ndp->flags & WIRE_NDP_SOLICITED) != 0);
}

bool wire_parse_ndp(const struct frame *frame, struct wire_ndp *ndp)
{
    const uint8_t *icmp = frame->l4;

    if (frame->kind != FRAME_ICMPV6 || frame->l4_len < NDP_HEADER_LEN || frame->hops != NDP_HOPS ||
        (icmp[0] != WIRE_NDP_SOLICITATION && icmp[0] != WIRE_NDP_ADVERTISEMENT) || icmp[1] != 0)
        return false;
    *ndp = (struct wire_ndp){.type = icmp[0], .target = net_address_v6(icmp + 8)};
    if (ndp->type == WIRE_NDP_ADVERTISEMENT)
        ndp->flags = icmp[4];
    return !net_address_is_multicast(&ndp->target) &&
           read_ndp_options(icmp + NDP_HEADER_LEN, frame->l4_len - NDP_HEADER_LEN, ndp) &&
           ndp_addresses_good(frame, ndp);
}

unsigned wire_write_ndp(uint8_t *to, const struct wire_ndp *ndp)
{
    memset(to, 0, NDP_HEADER_LEN);
    to[0] = ndp->type;
    to[4] = ndp->flags;
    memcpy(to + 8, ndp->target.bytes, 16);
    if (!ndp->has_mac)
        return NDP_HEADER_LEN;
    to[NDP_HEADER_LEN] = ndp->type == WIRE_NDP_SOLICITATION ? NDP_OPTION_SOURCE : NDP_OPTION_TARGET;
    to[NDP_HEADER_LEN + 1] = 1; /* in units of eight bytes */
    memcpy(to + NDP_HEADER_LEN + 2, ndp->mac, WIRE_MAC_LEN);
    return NDP_HEADER_LEN + NDP_OPTION_LEN;
}

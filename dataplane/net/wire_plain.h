/* Writing the headers of plain segments: Ethernet without tag, IPv4, TCP with timestamps alone.
 * Purpose:   what nearly every segment of an established connection is. The same bytes as those of
 *            wire_write_segment(), without a question asked; inlined where replies are sent.
 * Ownership: none. Threading: any. Errors: none. */
#ifndef DATAPLANE_NET_WIRE_PLAIN_H
#define DATAPLANE_NET_WIRE_PLAIN_H

#include "dataplane/net/options.h"
#include "dataplane/net/wire.h"

enum {
    WIRE_PLAIN_L4_LEN = WIRE_TCP_LEN + TCP_OPTIONS_TIMESTAMPS_LEN,
    WIRE_PLAIN_LEN = WIRE_ETHERNET_LEN + WIRE_IPV4_LEN + WIRE_PLAIN_L4_LEN,
};

struct wire_plain {
    const struct net_flow *flow; /* of IPv4; local is the sender */
    const uint8_t *remote_mac, *local_mac;
    uint32_t seq, ack;
    uint32_t ts_value, ts_echo;
    uint32_t payload_len;
    uint16_t window;
    uint8_t flags; /* TCP_* */
    uint8_t tos;
};

/* Writes WIRE_PLAIN_LEN bytes at `to`; the rest is as with wire_write_segment(). */
static inline void wire_write_plain(uint8_t *to, const struct wire_plain *segment,
                                    unsigned offloads, uint64_t payload_sum)
{
    const struct net_flow *flow = segment->flow;
    uint32_t source = flow->local.words[3], target = flow->remote.words[3];
    uint32_t l4_len = WIRE_PLAIN_L4_LEN + segment->payload_len;
    uint64_t pseudo = checksum_pseudo4(&flow->local, &flow->remote, WIRE_TCP, l4_len);
    uint64_t ip[2], tcp[4], sum;
    uint16_t check;

    memcpy(to, segment->remote_mac, WIRE_MAC_LEN);
    memcpy(to + WIRE_MAC_LEN, segment->local_mac, WIRE_MAC_LEN);
    wire_put16(to + 2 * WIRE_MAC_LEN, WIRE_IPV4);

    /* RFC 6864: identification 0, don't fragment. */
    ip[0] = __builtin_bswap64(
        (uint64_t)(0x45000000u | (uint32_t)segment->tos << 16 | (WIRE_IPV4_LEN + l4_len)) << 32 |
        0x4000u);
    ip[1] = __builtin_bswap32((uint32_t)WIRE_HOPS << 24 | (uint32_t)WIRE_TCP << 16);
    ip[1] |= (uint64_t)source << 32;
    if ((offloads & PACKET_TX_IP_CHECKSUM) == 0) {
        check = checksum_finish(checksum_add(checksum_add(ip[0], ip[1]), target));
        ip[1] |= (uint64_t)check << 16;
    }
    to += WIRE_ETHERNET_LEN;
    memcpy(to, ip, sizeof(ip));
    memcpy(to + 16, &target, 4);

    tcp[0] = __builtin_bswap64((uint64_t)flow->local_port << 48 |
                               (uint64_t)flow->remote_port << 32 | segment->seq);
    tcp[1] = __builtin_bswap64((uint64_t)segment->ack << 32 | (WIRE_PLAIN_L4_LEN / 4u) << 28 |
                               (uint32_t)segment->flags << 16 | segment->window);
    /* The checksum, the urgent pointer, and the options with their padding. */
    tcp[2] = (uint64_t)__builtin_bswap32(0x0101080au) << 32;
    tcp[3] = __builtin_bswap64((uint64_t)segment->ts_value << 32 | segment->ts_echo);
    if ((offloads & PACKET_TX_TCP_CHECKSUM) != 0) {
        check = checksum_fold(pseudo);
    } else {
        sum = checksum_add(checksum_add(pseudo, payload_sum), checksum_add(tcp[0], tcp[1]));
        check = checksum_finish(checksum_add(sum, checksum_add(tcp[2], tcp[3])));
    }
    tcp[2] |= check;
    memcpy(to + WIRE_IPV4_LEN, tcp, sizeof(tcp));
}

#endif

/* Headers on the wire: reading received frames, writing ours.
 * Purpose:   Ethernet II (one 802.1Q tag), ARP, IPv4, IPv6 with extension headers, TCP, ICMP and
 *            ICMPv6. Nothing here keeps state or decides what happens to a packet.
 * Limits:    one VLAN tag; at most WIRE_EXTENSIONS_MAX extension headers with WIRE_CHAIN_MAX bytes.
 * Ownership: a frame's pointers lead into the bytes given to wire_parse.
 * Threading: any.
 * Errors:    every length is checked before it is used; what is wrong with a frame is its `kind`
 *            FRAME_BAD and `fault`, for a counter. Checksums are apart, as ports may have checked
 *            them: wire_ip_checksum_good, wire_checksum_good.
 * Units:     numbers in host order, addresses in network order. */
#ifndef DATAPLANE_NET_WIRE_H
#define DATAPLANE_NET_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dataplane/net/address.h"
#include "dataplane/net/checksum.h"
#include "drivers/packet.h"

enum {
    WIRE_MAC_LEN = 6,
    WIRE_ETHERNET_LEN = 14,
    WIRE_VLAN_LEN = 4,
    WIRE_IPV4_LEN = 20,
    WIRE_IPV6_LEN = 40,
    WIRE_TCP_LEN = 20,
    WIRE_ARP_LEN = 28,
    WIRE_HEADERS_MAX = WIRE_ETHERNET_LEN + WIRE_VLAN_LEN + WIRE_IPV6_LEN + WIRE_TCP_LEN + 40,
    WIRE_EXTENSIONS_MAX = 8,
    WIRE_CHAIN_MAX = 512,
    WIRE_HOPS = 64, /* time to live of what we send */
    WIRE_NO_VLAN = 0xffff,
};

enum wire_ether_type {
    WIRE_IPV4 = 0x0800,
    WIRE_ARP = 0x0806,
    WIRE_VLAN = 0x8100,
    WIRE_IPV6 = 0x86dd,
};

enum wire_protocol {
    WIRE_ICMP = 1,
    WIRE_TCP = 6,
    WIRE_ICMPV6 = 58,
};

enum tcp_flag {
    TCP_FIN = 0x01,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
    TCP_URG = 0x20,
    TCP_ECE = 0x40,
    TCP_CWR = 0x80,
};

/* The low two bits of the type of service (RFC 3168 section 5). */
enum wire_ecn {
    WIRE_ECN_NONE = 0,
    WIRE_ECN_ECT1 = 1,
    WIRE_ECN_ECT0 = 2,
    WIRE_ECN_CE = 3,
};

enum frame_kind {
    FRAME_TCP,      /* all of struct frame is valid */
    FRAME_ICMP,     /* flow's addresses, l4: ICMP header and body */
    FRAME_ICMPV6,   /* the same */
    FRAME_ARP,      /* l4: the ARP packet, for wire_parse_arp */
    FRAME_FRAGMENT, /* part of an IP packet: flow's addresses and protocol */
    FRAME_OTHER,    /* well-formed, but not ours to read: flow's addresses if ether_type is IP */
    FRAME_BAD,      /* see fault */
};

enum frame_fault {
    FRAME_FINE,
    FRAME_SHORT,      /* a header or a stated length runs past the frame */
    FRAME_IP_HEADER,  /* version, header length or total length impossible */
    FRAME_IP_OPTION,  /* source route, or an option that demands to be dropped */
    FRAME_IP_CHAIN,   /* extension headers: too many, misplaced or malformed */
    FRAME_ADDRESS,    /* a sender that cannot be one, a mapped address within IPv6; for TCP also a
                       * group as receiver, of IP or Ethernet, or one address at both ends */
    FRAME_TCP_HEADER, /* data offset below 5 or past the segment, port 0 */
    FRAME_FAULTS,
};

struct frame {
    uint8_t kind;  /* enum frame_kind */
    uint8_t fault; /* enum frame_fault */
    uint8_t flags; /* TCP_* */
    uint8_t protocol;
    uint16_t ether_type; /* behind the tag */
    uint16_t vlan;       /* identifier, or WIRE_NO_VLAN (priority tags, too) */
    uint8_t tos;         /* IPv4 type of service, IPv6 traffic class; ECN in the low bits */
    uint8_t hops;        /* IPv4 time to live, IPv6 hop limit */
    uint16_t l2_len, l3_len;
    uint16_t window;      /* as sent, not scaled */
    const uint8_t *bytes; /* the Ethernet header: destination, then source MAC */
    const uint8_t *l4;    /* behind the IP header, l4_len bytes of it without padding */
    uint32_t l4_len;
    uint32_t seq, ack;
    uint32_t options_len; /* 0 to 40, behind the 20 bytes of the TCP header */
    uint32_t payload_len;
    const uint8_t *payload;
    struct net_flow flow; /* remote: the sender */
};

static inline const uint8_t *frame_options(const struct frame *frame)
{
    return frame->l4 + WIRE_TCP_LEN;
}

static inline const uint8_t *frame_source_mac(const struct frame *frame)
{
    return frame->bytes + WIRE_MAC_LEN;
}

static inline const uint8_t *frame_destination_mac(const struct frame *frame)
{
    return frame->bytes;
}

/* Sequence space of the segment: payload, SYN and FIN. */
static inline uint32_t frame_seg_len(const struct frame *frame)
{
    return frame->payload_len + ((frame->flags & TCP_SYN) != 0) + ((frame->flags & TCP_FIN) != 0);
}

/* Reads a frame of `len` bytes that are in one piece. Returns frame->kind. */
enum frame_kind wire_parse(const uint8_t *bytes, size_t len, struct frame *frame);

/* The IPv4 header's checksum; true for IPv6, ARP and all else that has none. */
bool wire_ip_checksum_good(const struct frame *frame);
/* The checksum of TCP, ICMP and ICMPv6; not for the other kinds. */
bool wire_checksum_good(const struct frame *frame);
/* Both. */
bool wire_checksums_good(const struct frame *frame);

/* ---- ICMP errors: the packet of ours that they quote (RFC 792, 4443, 5927) ---- */

struct wire_quote {
    struct net_flow flow; /* of a TCP segment that we sent: local was its sender */
    uint32_t seq;         /* of that segment */
    uint32_t mtu;         /* of "fragmentation needed" and "packet too big"; else 0 */
    uint32_t packet_len;  /* total length that the quoted IP header states */
    uint8_t type, code;   /* of the ICMP message */
};

/* False unless `frame` is an ICMP or ICMPv6 error that quotes at least the ports and the sequence
 * number of a TCP segment. */
bool wire_parse_quote(const struct frame *frame, struct wire_quote *quote);

/* ---- ARP (RFC 826) ---- */

enum {
    WIRE_ARP_REQUEST = 1,
    WIRE_ARP_REPLY = 2,
};

struct wire_arp {
    uint16_t operation;
    uint8_t sender_mac[6], target_mac[6];
    struct net_address sender, target;
};

/* False unless it is a whole ARP packet of Ethernet and IPv4. */
bool wire_parse_arp(const struct frame *frame, struct wire_arp *arp);
/* Writes WIRE_ARP_LEN bytes. */
void wire_write_arp(uint8_t *to, const struct wire_arp *arp);

/* ---- neighbour discovery (RFC 4861) ---- */

enum {
    WIRE_NDP_SOLICITATION = 135,
    WIRE_NDP_ADVERTISEMENT = 136,
    WIRE_NDP_LEN_MAX = 32, /* with the address option */
    WIRE_NDP_ROUTER = 0x80,
    WIRE_NDP_SOLICITED = 0x40,
    WIRE_NDP_OVERRIDE = 0x20,
};

struct wire_ndp {
    uint8_t type;  /* WIRE_NDP_SOLICITATION or WIRE_NDP_ADVERTISEMENT */
    uint8_t flags; /* of an advertisement */
    bool has_mac;  /* source or target link-layer address option */
    uint8_t mac[6];
    struct net_address target;
};

/* False unless it is a valid solicitation or advertisement (RFC 4861 sections 7.1.1, 7.1.2: hop
 * limit 255, code 0, option lengths, target not multicast). The checksum is the caller's. */
bool wire_parse_ndp(const struct frame *frame, struct wire_ndp *ndp);
/* Writes the ICMPv6 message, its checksum left 0, and returns its length. */
unsigned wire_write_ndp(uint8_t *to, const struct wire_ndp *ndp);

/* ---- writing ---- */

/* Each writes at `to` and returns the bytes written. */
unsigned wire_write_ethernet(uint8_t *to, const uint8_t destination[6], const uint8_t source[6],
                             uint16_t vlan, uint16_t ether_type);

/* The IP header of a packet from `source`: IPv4 (RFC 6864: don't-fragment, identification 0; the
 * checksum filled in) or IPv6 by the kind of address. `len` is what follows the header. */
unsigned wire_write_ip(uint8_t *to, const struct net_address *source,
                       const struct net_address *destination, uint8_t protocol, uint8_t tos,
                       uint8_t hops, uint32_t len);

/* A TCP segment to send, but for its payload. */
struct wire_segment {
    const struct net_flow *flow; /* local is the sender */
    const uint8_t *remote_mac, *local_mac;
    uint16_t vlan; /* identifier or WIRE_NO_VLAN; a tag is put into the frame */
    uint16_t window;
    uint32_t seq, ack;
    uint8_t flags; /* TCP_* */
    uint8_t tos;
    uint8_t options_len; /* multiple of 4, at most 40 */
    const uint8_t *options;
    uint32_t payload_len;
};

struct wire_lengths {
    uint16_t l2, l3, l4; /* bytes of each header written */
};

/* The bytes of all headers of the segment: they start so many bytes before its payload. */
static inline unsigned wire_segment_len(const struct wire_segment *segment)
{
    return WIRE_ETHERNET_LEN + (segment->vlan != WIRE_NO_VLAN ? WIRE_VLAN_LEN : 0) +
           (net_address_is_v4(&segment->flow->local) ? WIRE_IPV4_LEN : WIRE_IPV6_LEN) +
           WIRE_TCP_LEN + segment->options_len;
}

/* Writes wire_segment_len() bytes of headers at `to`. `offloads`: PACKET_TX_* that the port does;
 * with PACKET_TX_TCP_CHECKSUM the field gets the pseudo-header's sum, with PACKET_TX_TSO beside it
 * that of a pseudo-header with length 0, and `payload_sum` is not looked at. Else that is
 * checksum_sum of the payload. */
struct wire_lengths wire_write_segment(uint8_t *to, const struct wire_segment *segment,
                                       unsigned offloads, uint64_t payload_sum);

/* Numbers in network order, at any address. */
static inline uint16_t wire_get16(const void *at)
{
    uint16_t value;

    memcpy(&value, at, 2);
    return __builtin_bswap16(value);
}

static inline uint32_t wire_get32(const void *at)
{
    uint32_t value;

    memcpy(&value, at, 4);
    return __builtin_bswap32(value);
}

static inline void wire_put16(void *at, uint16_t value)
{
    value = __builtin_bswap16(value);
    memcpy(at, &value, 2);
}

static inline void wire_put32(void *at, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(at, &value, 4);
}

#endif

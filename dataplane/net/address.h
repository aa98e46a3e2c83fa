/* Addresses, endpoints and flows of the network stack.
 * Purpose:   one 16-byte address for IPv4 and IPv6: IPv4 is kept as ::ffff:a.b.c.d (RFC 4291
 *            section 2.5.5.2), so that flows compare and hash without a family.
 * Units:     address bytes in network order, ports in host order.
 * Ownership: plain values. Threading: any.
 * Errors:    -EINVAL for text that is no address. A packet that carries a mapped address inside
 *            IPv6 is refused by the parser: it cannot pass for IPv4. */
#ifndef DATAPLANE_NET_ADDRESS_H
#define DATAPLANE_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dataplane/net/siphash.h"

enum {
    NET_ADDRESS_TEXT = 46,  /* room for any address as text, with the final zero */
    NET_ENDPOINT_TEXT = 54, /* the same with brackets and a port */
};

struct net_address {
    union {
        uint8_t bytes[16];
        uint32_t words[4]; /* as they stand in memory */
    };
};

struct net_endpoint {
    struct net_address address;
    uint16_t port;
};

/* An address with the length of its network's prefix, in bits of 128 (IPv4 /24 is 120). */
struct net_prefix {
    struct net_address address;
    uint8_t bits;
};

/* A connection as seen from here: remote is the sender of what we receive. */
struct net_flow {
    struct net_address remote, local;
    uint16_t remote_port, local_port;
};

_Static_assert(sizeof(struct net_flow) == 36, "the sums over structures of connections rely on it");

/* `bytes`: 4 in network order. */
static inline struct net_address net_address_v4(const void *bytes)
{
    struct net_address address = {.words = {0, 0, 0xffff0000u, 0}};

    memcpy(&address.words[3], bytes, 4);
    return address;
}

/* `bytes`: 16 in network order. */
static inline struct net_address net_address_v6(const void *bytes)
{
    struct net_address address;

    memcpy(address.bytes, bytes, 16);
    return address;
}

static inline bool net_address_is_v4(const struct net_address *address)
{
    return (address->words[0] | address->words[1] | (address->words[2] ^ 0xffff0000u)) == 0;
}

/* The 4 bytes of an IPv4 address, in network order. */
static inline const uint8_t *net_address_v4_bytes(const struct net_address *address)
{
    return address->bytes + 12;
}

static inline bool net_address_equal(const struct net_address *a, const struct net_address *b)
{
    uint64_t x[2], y[2];

    memcpy(x, a, 16);
    memcpy(y, b, 16);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

static inline bool net_flow_equal(const struct net_flow *a, const struct net_flow *b)
{
    uint64_t x[4], y[4];
    uint32_t p, q;

    memcpy(x, a, 32);
    memcpy(y, b, 32);
    memcpy(&p, &a->remote_port, 4);
    memcpy(&q, &b->remote_port, 4);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (p ^ q)) == 0;
}

/* Keyed hash of a flow (SipHash-1-3): who does not know the key cannot build collisions. */
static inline uint64_t net_flow_hash(const struct siphash_key *key, const struct net_flow *flow)
{
    uint64_t words[4];
    uint32_t ports;

    memcpy(&ports, &flow->remote_port, 4);
    if (net_address_is_v4(&flow->local)) {
        words[0] = flow->remote.words[3] | (uint64_t)flow->local.words[3] << 32;
        return siphash13_words(key, words, 1, ports, 4);
    }
    memcpy(words, flow, 32);
    return siphash13_words(key, words, 4, ports, 4);
}

/* ::, or 0.0.0.0 */
bool net_address_is_unspecified(const struct net_address *address);
bool net_address_is_multicast(const struct net_address *address);
bool net_address_is_loopback(const struct net_address *address);
/* 169.254/16 or fe80::/10 */
bool net_address_is_link_local(const struct net_address *address);
/* May be one end of a TCP connection as far as the address alone tells (RFC 9293 section 3.9.2.3):
 * not unspecified, multicast, loopback, 0/8 or 240/4 with the limited broadcast. */
bool net_address_is_unicast(const struct net_address *address);
/* In the network of `prefix`. */
bool net_address_in(const struct net_address *address, const struct net_prefix *prefix);
/* The directed broadcast of an IPv4 prefix of at most 30 bits, or its network's own address. */
bool net_address_is_broadcast(const struct net_address *address, const struct net_prefix *prefix);
/* The multicast group that neighbour solicitations for an IPv6 address go to (RFC 4291 section
 * 2.7.1), and the MAC of a multicast IPv6 address (RFC 2464 section 7). */
struct net_address net_address_solicited(const struct net_address *address);
void net_address_multicast_mac(const struct net_address *address, uint8_t mac[6]);

/* "10.9.0.1", "2001:db8::1". 0 or -EINVAL. */
int net_address_parse(const char *text, struct net_address *address);
/* The same with "/24"; without a length the whole address is the prefix. 0 or -EINVAL. */
int net_prefix_parse(const char *text, struct net_prefix *prefix);
/* Writes at most `size` bytes with the final zero; NET_ADDRESS_TEXT is always enough.
 * Returns `text`. */
char *net_address_format(const struct net_address *address, char *text, size_t size);
/* "10.9.0.1:6379", "[2001:db8::1]:6379". Returns `text`. */
char *net_endpoint_format(const struct net_endpoint *endpoint, char *text, size_t size);
#endif

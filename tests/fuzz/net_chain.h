/* Chains of IPv6 extension headers out of fuzz input.
 * Purpose:   what the targets fuzz_net_chain and fuzz_net_icmp put between an IPv6 header and what it
 *            carries: padded, unknown, nested, cut and plainly wrong headers, and what a receiver has
 *            to make of them.
 * Ownership: the caller's buffers.
 * Threading: none.
 * Source:    RFC 8200 section 4, RFC 6946, RFC 5095. */
#ifndef POLLUX_TESTS_FUZZ_NET_CHAIN_H
#define POLLUX_TESTS_FUZZ_NET_CHAIN_H

#include <stddef.h>
#include <stdint.h>

enum {
    CHAIN_BYTES_MAX = 1600, /* of one chain */
};

/* The rest of an input; what is taken beyond its end is 0. */
struct fuzz_input {
    const uint8_t *at;
    size_t left;
};
uint8_t fuzz_take8(struct fuzz_input *input);
unsigned fuzz_take16(struct fuzz_input *input);

/* Whether the packet behind the chain has to be taken, or may not be. */
enum chain_hope { CHAIN_PASSES, CHAIN_FAILS, CHAIN_UNKNOWN };

/* Puts a chain behind the IPv6 header at `ip`, the last packet in its buffer, of `len` bytes with
 * CHAIN_BYTES_MAX of room behind them. Lengths and next headers are made right, also where the chain
 * is none that passes. `hope` may be NULL. Returns the new length. */
size_t chain_insert(struct fuzz_input *input, uint8_t *ip, size_t len, enum chain_hope *hope);

#endif

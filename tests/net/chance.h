/* Chance from a seed: what hosts, the lossy pipe and the soak draw from.
 * Purpose:   SplitMix64, whose state may start with any number.
 * Ownership: the caller's word.
 * Threading: none.
 * Errors:    none. */
#ifndef POLLUX_TESTS_NET_CHANCE_H
#define POLLUX_TESTS_NET_CHANCE_H

#include <stdint.h>

static inline uint64_t chance_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* 0 to limit - 1; 0 if limit is 0. */
static inline uint32_t chance_below(uint64_t *state, uint32_t limit)
{
    uint64_t next = chance_next(state);

    return limit == 0 ? 0 : (uint32_t)(next % limit);
}

#endif

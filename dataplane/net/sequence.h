/* Order of sequence numbers and timestamps, modulo 2^32 (RFC 9293 section 3.4, RFC 7323 section
 * 5.2): meaningful for numbers less than 2^31 apart. */
#ifndef DATAPLANE_NET_SEQUENCE_H
#define DATAPLANE_NET_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

static inline bool sequence_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static inline bool sequence_after(uint32_t a, uint32_t b)
{
    return (int32_t)(b - a) < 0;
}

static inline uint32_t sequence_max(uint32_t a, uint32_t b)
{
    return sequence_after(a, b) ? a : b;
}

#endif

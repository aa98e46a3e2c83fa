#include "dataplane/net/isn.h"

#include <assert.h>

/* A cookie, high bits first: 2 of the period in which it was made, 3 for the MSS, 27 of hash. */
enum {
    PERIOD_SHIFT = 30,
    MSS_SHIFT = 27,
    MSS_COUNT = 8,
    HASH_MASK = (1 << MSS_SHIFT) - 1,
    PERIOD_US = ISN_COOKIE_PERIOD_S * 1000000,
    /* In the low bits of our timestamp: 4 of window scale, SACK, ECN. */
    CARRIED_MASK = 63,
    CARRIED_NO_SCALE = 15,
    CARRIED_SACK = 16,
    CARRIED_ECN = 32,
    CARRIED_NOTHING = 64, /* in the hash only: the peer has no timestamps */
};

/* What peers offer: the defaults of RFC 9293 section 3.7.1 for either family, tunnels, Ethernet
 * with and without VLAN or PPPoE, jumbo frames. */
static const uint16_t mss_values[MSS_COUNT] = {256, 536, 1220, 1360, 1420, 1440, 1460, 8960};

void isn_init(struct isn *isn, const uint8_t secret[ISN_SECRET_LEN])
{
    _Static_assert(ISN_SECRET_LEN == 3 * sizeof(struct siphash_key), "three keys");
    memcpy(&isn->sequence, secret, 16);
    memcpy(&isn->timestamp, secret + 16, 16);
    memcpy(&isn->cookie, secret + 32, 16);
    isn->cookies_until_us = 0;
}

uint32_t isn_sequence(const struct isn *isn, const struct net_flow *flow, uint64_t now_us)
{
    return (uint32_t)(net_flow_hash(&isn->sequence, flow) + now_us / 4);
}

uint32_t isn_timestamp_offset(const struct isn *isn, const struct net_flow *flow)
{
    return (uint32_t)net_flow_hash(&isn->timestamp, flow);
}

/* ---- cookies ---- */

/* The hash over all that the ACK must agree with. */
static uint32_t cookie_hash(const struct isn *isn, const struct net_flow *flow, uint32_t irs,
                            uint64_t period, unsigned mss, unsigned carried)
{
    uint64_t words[6];
    uint32_t ports;

    memcpy(&ports, &flow->remote_port, 4);
    words[0] = (uint64_t)irs << 32 | ports;
    words[1] = period << 16 | mss << 8 | carried;
    if (net_address_is_v4(&flow->local)) {
        words[2] = flow->remote.words[3] | (uint64_t)flow->local.words[3] << 32;
        return (uint32_t)siphash13_words(&isn->cookie, words, 3, 0, 0) & HASH_MASK;
    }
    memcpy(words + 2, flow, 32);
    return (uint32_t)siphash13_words(&isn->cookie, words, 6, 0, 0) & HASH_MASK;
}

static unsigned mss_index(uint16_t mss)
{
    unsigned index = MSS_COUNT - 1;

    while (index > 0 && mss_values[index] > mss)
        index--;
    return index;
}

static unsigned carried_bits(const struct isn_cookie *cookie)
{
    unsigned bits = cookie->window_scale == ISN_NO_WINDOW_SCALE ? (unsigned)CARRIED_NO_SCALE
                                                                : cookie->window_scale;

    if (!cookie->timestamps)
        return CARRIED_NOTHING;
    return bits | (cookie->sack ? CARRIED_SACK : 0) | (cookie->ecn ? CARRIED_ECN : 0);
}

static void read_carried(unsigned carried, struct isn_cookie *cookie)
{
    unsigned scale = carried & CARRIED_NO_SCALE;

    cookie->timestamps = carried != CARRIED_NOTHING;
    cookie->window_scale = !cookie->timestamps || scale == CARRIED_NO_SCALE
                               ? (uint8_t)ISN_NO_WINDOW_SCALE
                               : (uint8_t)scale;
    cookie->sack = cookie->timestamps && (carried & CARRIED_SACK) != 0;
    cookie->ecn = cookie->timestamps && (carried & CARRIED_ECN) != 0;
}

/* The latest value not after `now` with these low bits: timestamps may not run ahead of the clock,
 * as later ones would then be older (RFC 7323 section 5.3). */
static uint32_t with_low_bits(uint32_t now, unsigned bits)
{
    uint32_t value = (now & ~(uint32_t)CARRIED_MASK) | bits;

    return (int32_t)(value - now) > 0 ? value - CARRIED_MASK - 1 : value;
}

uint32_t isn_cookie_make(struct isn *isn, const struct net_flow *flow, uint32_t irs,
                         const struct isn_cookie *wanted, uint64_t now_us, uint32_t *ts_value,
                         struct isn_cookie *given)
{
    unsigned mss = mss_index(wanted->mss), carried = carried_bits(wanted);
    uint64_t period = now_us / PERIOD_US;

    assert(wanted->window_scale <= 14 || wanted->window_scale == ISN_NO_WINDOW_SCALE);
    if (wanted->timestamps)
        *ts_value = with_low_bits(*ts_value, carried);
    given->mss = mss_values[mss];
    read_carried(carried, given);
    isn->cookies_until_us = now_us + 2 * (uint64_t)PERIOD_US;
    return (uint32_t)period << PERIOD_SHIFT | mss << MSS_SHIFT |
           cookie_hash(isn, flow, irs, period, mss, carried);
}

bool isn_cookie_check(const struct isn *isn, const struct net_flow *flow, uint32_t seq,
                      uint32_t ack, bool timestamps, uint32_t ts_echo, uint64_t now_us,
                      struct isn_cookie *cookie)
{
    uint32_t number = ack - 1;
    unsigned mss = number >> MSS_SHIFT & (MSS_COUNT - 1);
    unsigned carried = timestamps ? ts_echo & CARRIED_MASK : (unsigned)CARRIED_NOTHING;
    uint64_t period = now_us / PERIOD_US;
    /* The two bits tell this period from the last three; only the last one is young enough. */
    unsigned age = ((unsigned)period - (number >> PERIOD_SHIFT)) & 3;

    if (now_us >= isn->cookies_until_us || age > 1)
        return false;
    if (cookie_hash(isn, flow, seq - 1, period - age, mss, carried) != (number & HASH_MASK))
        return false;
    cookie->mss = mss_values[mss];
    read_carried(carried, cookie);
    return true;
}

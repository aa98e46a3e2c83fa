/* Round trip times and the retransmission timeout of one connection.
 * Purpose:   RFC 6298 with microsecond samples, and the least round trip time of the last seconds
 *            that RFC 8985 section 6.1 asks for.
 * Ownership: the caller's struct, nothing behind it. Threading: any.
 * Errors:    none; a sample of 0 counts as 1 us, one above RTT_SAMPLE_MAX_US as that. */
#ifndef DATAPLANE_NET_RTT_H
#define DATAPLANE_NET_RTT_H

#include <stdint.h>

enum {
    /* Below the 1 s floor of RFC 6298 section 2.4: peers are near, and a loss stalls every request
     * that is pipelined behind it. */
    RTT_RTO_MIN_US = 200 * 1000,
    RTT_RTO_MAX_US = 60 * 1000 * 1000,     /* section 2.5 */
    RTT_RTO_FIRST_US = 1000 * 1000,        /* section 2.1: before the first sample */
    RTT_RTO_LOST_SYN_US = 3 * 1000 * 1000, /* section 5.7 */
    RTT_SAMPLE_MAX_US = 120 * 1000 * 1000,
    RTT_MIN_WINDOW_MS = 10 * 1000, /* a minimum is kept once to twice that long */
};

struct rtt {
    uint32_t srtt_x8_us; /* 0: no sample yet */
    uint32_t var_x4_us;
    uint32_t base_us; /* the timeout without back-off */
    uint32_t min_us; /* least sample of the last RTT_MIN_WINDOW_MS and the window before; 0: none */
    uint32_t young_us;  /* least sample of the current window; 0: none */
    uint32_t window_ms; /* when the current window began */
    uint8_t backoff;    /* doublings since the last sample */
};

void rtt_init(struct rtt *rtt);
/* RFC 6298 sections 2.2 and 2.3. Of a segment that was sent twice no sample may be taken (section
 * 3, Karn) unless a timestamp tells which one was answered. Ends the back-off. */
void rtt_sample(struct rtt *rtt, uint32_t sample_us, uint64_t now_us);
/* Works out base_us anew, if there has been a sample; it holds nothing that the others do not. */
void rtt_set_base(struct rtt *rtt);
/* Section 5.5: the timer has expired. */
void rtt_back_off(struct rtt *rtt);
/* Section 5.7: the handshake is over and its SYN or SYN-ACK had been sent again. Call it before the
 * first sample. */
void rtt_syn_was_lost(struct rtt *rtt);
/* The timeout now, us: RTT_RTO_MIN_US to RTT_RTO_MAX_US. */
static inline uint32_t rtt_timeout_us(const struct rtt *rtt)
{
    uint64_t timeout_us = rtt->base_us < RTT_RTO_MIN_US ? RTT_RTO_MIN_US : rtt->base_us;

    timeout_us <<= rtt->backoff;
    return timeout_us < RTT_RTO_MAX_US ? (uint32_t)timeout_us : RTT_RTO_MAX_US;
}

/* Smoothed round trip time, us; 0: no sample yet. */
static inline uint32_t rtt_smoothed_us(const struct rtt *rtt)
{
    return rtt->srtt_x8_us == 0 ? 0 : (rtt->srtt_x8_us + 7) / 8;
}

#endif

#include "dataplane/net/rtt.h"

/* The wheel's tick: G of RFC 6298 section 2. */
enum { RTT_CLOCK_US = 1000 };

void rtt_init(struct rtt *rtt)
{
    *rtt = (struct rtt){.base_us = RTT_RTO_FIRST_US};
}

static void rtt_minimum(struct rtt *rtt, uint32_t sample_us, uint64_t now_us)
{
    uint32_t now_ms = (uint32_t)(now_us / 1000);
    uint32_t age_ms = now_ms - rtt->window_ms;

    if (rtt->min_us == 0 || age_ms >= 2 * RTT_MIN_WINDOW_MS) {
        rtt->min_us = rtt->young_us = sample_us;
        rtt->window_ms = now_ms;
        return;
    }
    if (age_ms >= RTT_MIN_WINDOW_MS) {
        rtt->min_us = rtt->young_us;
        rtt->young_us = sample_us;
        rtt->window_ms = now_ms;
    }
    if (sample_us < rtt->young_us)
        rtt->young_us = sample_us;
    if (sample_us < rtt->min_us)
        rtt->min_us = sample_us;
}

void rtt_set_base(struct rtt *rtt)
{
    uint32_t spread_us = rtt->var_x4_us > RTT_CLOCK_US ? rtt->var_x4_us : RTT_CLOCK_US;

    if (rtt->srtt_x8_us != 0)
        rtt->base_us = rtt->srtt_x8_us / 8 + spread_us;
}

void rtt_sample(struct rtt *rtt, uint32_t sample_us, uint64_t now_us)
{
    if (sample_us == 0)
        sample_us = 1;
    if (sample_us > RTT_SAMPLE_MAX_US)
        sample_us = RTT_SAMPLE_MAX_US;
    rtt_minimum(rtt, sample_us, now_us);
    if (rtt->srtt_x8_us == 0) {
        rtt->srtt_x8_us = 8 * sample_us;
        rtt->var_x4_us = 2 * sample_us;
    } else {
        int32_t error_us = (int32_t)(sample_us - rtt->srtt_x8_us / 8);

        rtt->var_x4_us += (uint32_t)(error_us < 0 ? -error_us : error_us) - rtt->var_x4_us / 4;
        rtt->srtt_x8_us += (uint32_t)error_us;
    }
    rtt_set_base(rtt);
    rtt->backoff = 0;
}

void rtt_back_off(struct rtt *rtt)
{
    /* Further doublings would change nothing: 200 ms << 9 is beyond the cap. */
    if (rtt->backoff < 16)
        rtt->backoff++;
}

void rtt_syn_was_lost(struct rtt *rtt)
{
    rtt->backoff = 0;
    if (rtt->srtt_x8_us == 0)
        rtt->base_us = RTT_RTO_LOST_SYN_US;
}

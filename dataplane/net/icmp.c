#include "dataplane/net/icmp.h"

#include <errno.h>

enum {
    ECHO_REPLY_V4 = 0,
    UNREACHABLE_V4 = 3,
    ECHO_V4 = 8,
    TIME_EXCEEDED_V4 = 11,
    PARAMETER_V4 = 12,
    UNREACHABLE_V6 = 1,
    TOO_BIG_V6 = 2,
    TIME_EXCEEDED_V6 = 3,
    PARAMETER_V6 = 4,
    ECHO_V6 = 128,
    ECHO_REPLY_V6 = 129,
    ECHO_HEADER = 8, /* bytes */
};

void net_icmp_init(struct net_icmp *icmp, struct net_link *link)
{
    *icmp = (struct net_icmp){.link = link, .bucket = {.per_s = ICMP_ECHOES_PER_S}};
}

/* ---- echo ---- */

static bool is_echo(const struct frame *frame)
{
    uint8_t type = frame->kind == FRAME_ICMP ? ECHO_V4 : ECHO_V6;

    return frame->l4_len >= ECHO_HEADER && frame->l4[0] == type && frame->l4[1] == 0;
}

/* To us alone, from somebody: an answer to a broadcast would be one of many (RFC 1122 section
 * 3.2.2.6 allows silence), one to a group or to nobody would be an attack by our hand. */
static bool may_answer(const struct net_icmp *icmp, const struct frame *frame)
{
    return (frame_destination_mac(frame)[0] & 1) == 0 &&
           net_link_is_ours(icmp->link, &frame->flow.local) &&
           net_link_may_be_host(icmp->link, &frame->flow.remote) &&
           !net_link_is_ours(icmp->link, &frame->flow.remote);
}

struct packet *net_icmp_input(struct net_icmp *icmp, const struct frame *frame, uint64_t now_us)
{
    const struct net_address *us = &frame->flow.local, *them = &frame->flow.remote;
    bool v4 = frame->kind == FRAME_ICMP;
    uint8_t *body;

    if (!is_echo(frame) || !may_answer(icmp, frame)) {
        link_count(&icmp->counters.ignored);
        return NULL;
    }
    if (!link_bucket_take(&icmp->bucket, now_us)) {
        link_count(&icmp->counters.limited);
        return NULL;
    }
    struct packet *packet =
        net_link_packet(icmp->link, frame_source_mac(frame), frame->vlan, us, them,
                        v4 ? WIRE_ICMP : WIRE_ICMPV6, WIRE_HOPS, frame->l4_len, &body);
    if (packet == NULL) {
        link_count(&icmp->counters.limited);
        return NULL;
    }
    memcpy(body, frame->l4, frame->l4_len);
    body[0] = v4 ? ECHO_REPLY_V4 : ECHO_REPLY_V6;
    body[2] = body[3] = 0;
    uint64_t sum = checksum_sum(body, frame->l4_len);
    if (!v4)
        sum = checksum_add(sum, checksum_pseudo(us, them, WIRE_ICMPV6, frame->l4_len));
    uint16_t checksum = checksum_finish(sum);
    memcpy(body + 2, &checksum, sizeof checksum);
    link_count(&icmp->counters.echoes);
    return packet;
}

/* ---- errors ---- */

/* The errno of an error that RFC 1122 section 4.2.3.9 or RFC 4443 has an opinion on; *hard: it says
 * that there is no hope. 0: nothing of interest. */
static int meaning(const struct wire_quote *quote, bool is_v4, bool *hard)
{
    static const int errors_v4[] = {ENETUNREACH,  EHOSTUNREACH, ENOPROTOOPT,  ECONNREFUSED,
                                    EMSGSIZE,     EOPNOTSUPP,   ENETUNREACH,  EHOSTDOWN,
                                    ENONET,       ENETUNREACH,  EHOSTUNREACH, ENETUNREACH,
                                    EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH};
    static const int errors_v6[] = {ENETUNREACH,  EACCES, EHOSTUNREACH, EHOSTUNREACH,
                                    ECONNREFUSED, EACCES, EACCES};

    *hard = false;
    if (is_v4) {
        if (quote->type == UNREACHABLE_V4 && quote->code < sizeof errors_v4 / sizeof *errors_v4) {
            *hard = quote->code == 2 || quote->code == 3;
            return errors_v4[quote->code];
        }
        return quote->type == TIME_EXCEEDED_V4 ? EHOSTUNREACH
               : quote->type == PARAMETER_V4   ? EPROTO
                                               : 0;
    }
    if (quote->type == UNREACHABLE_V6 && quote->code < sizeof errors_v6 / sizeof *errors_v6) {
        *hard = quote->code == 1 || quote->code == 4;
        return errors_v6[quote->code];
    }
    return quote->type == TIME_EXCEEDED_V6 ? EHOSTUNREACH
           : quote->type == PARAMETER_V6   ? EPROTO
                                           : 0;
}

static bool is_too_big(const struct wire_quote *quote, bool is_v4)
{
    return is_v4 ? quote->type == UNREACHABLE_V4 && quote->code == 4 : quote->type == TOO_BIG_V6;
}

/* Routers before RFC 1191 say no size: the next lower one that is common (its section 7.1). */
static uint32_t next_plateau(uint32_t mtu)
{
    static const uint16_t plateaus[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 576};

    for (unsigned i = 0; i < sizeof plateaus / sizeof *plateaus; i++)
        if (plateaus[i] < mtu)
            return plateaus[i];
    return ICMP_MTU_MIN_V4;
}

/* RFC 5927 section 7: only downwards, never below the floor. */
static enum icmp_verdict judge_size(struct net_icmp *icmp, const struct wire_quote *quote,
                                    const struct icmp_flow *flow, int *value)
{
    uint32_t floor = flow->is_v4 ? ICMP_MTU_MIN_V4 : ICMP_MTU_MIN_V6;
    uint32_t mtu = quote->mtu;

    if (mtu == 0 && flow->is_v4)
        mtu = next_plateau(flow->path_mtu);
    if (mtu < floor)
        mtu = floor;
    if (mtu >= flow->path_mtu) {
        link_count(&icmp->counters.refused);
        return ICMP_REFUSED;
    }
    link_count(&icmp->counters.shrunk);
    *value = (int)mtu;
    return ICMP_SHRINK;
}

enum icmp_verdict net_icmp_judge(struct net_icmp *icmp, const struct wire_quote *quote,
                                 const struct icmp_flow *flow, int *value)
{
    bool hard;

    *value = 0;
    link_count(&icmp->counters.errors);
    /* RFC 5927 section 4.1: the quoted segment must be one that is still unacknowledged. */
    if (quote->seq - flow->snd_una >= flow->snd_nxt - flow->snd_una) {
        link_count(&icmp->counters.refused);
        return ICMP_REFUSED;
    }
    if (is_too_big(quote, flow->is_v4))
        return judge_size(icmp, quote, flow, value);
    *value = meaning(quote, flow->is_v4, &hard);
    /* RFC 5927 section 5.2: in a synchronized state hard errors are soft ones. */
    return hard && !flow->is_synchronized ? ICMP_ABORT : ICMP_SOFT;
}

void net_icmp_no_flow(struct net_icmp *icmp)
{
    link_count(&icmp->counters.errors);
    link_count(&icmp->counters.refused);
}

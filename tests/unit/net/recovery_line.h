/* A connection's sending half for tests of loss recovery: a queue of equal packets and a clock. */
#ifndef TESTS_UNIT_NET_RECOVERY_LINE_H
#define TESTS_UNIT_NET_RECOVERY_LINE_H

#include <criterion/criterion.h>

#include <string.h>

#include "dataplane/net/recovery.h"
#include "dataplane/net/sequence.h"

enum { LINE_MSS = 1000, LINE_PACKETS = 4096, LINE_START_US = 1000000 };

struct line {
    struct recovery recovery;
    struct packet packets[LINE_PACKETS]; /* the whole stream */
    uint32_t iss;
    unsigned sent; /* packets sent */
    unsigned gone; /* packets released */
    uint64_t now_us;
    uint32_t ts_offset;
    bool sack, stamps;
    unsigned short_ways;       /* ACKs that recovery_acked_all() took, too */
    struct recovery_news news; /* of the last ACK */
};

static inline uint32_t line_seq(const struct line *line, unsigned packet)
{
    return line->iss + packet * LINE_MSS;
}

static inline uint32_t line_ts(const struct line *line)
{
    return (uint32_t)(line->now_us / 1000) + line->ts_offset;
}

static inline void line_init(struct line *line, const struct congestion_ops *ops, uint32_t iss,
                             bool sack, bool stamps)
{
    struct rtt rtt;

    memset(line, 0, sizeof(*line));
    line->iss = iss;
    line->sack = sack;
    line->stamps = stamps;
    line->now_us = LINE_START_US;
    line->ts_offset = 77;
    for (unsigned i = 0; i < LINE_PACKETS; i++) {
        line->packets[i].seq = line_seq(line, i);
        line->packets[i].seg_len = LINE_MSS;
        line->packets[i].state = 0xabcd0000u;
        line->packets[i].next = i + 1 < LINE_PACKETS ? &line->packets[i + 1] : NULL;
    }
    rtt_init(&rtt);
    recovery_init(&line->recovery, ops, iss, LINE_MSS, sack, false, &rtt);
}

static inline struct packet *line_queue(struct line *line)
{
    return line->gone < LINE_PACKETS ? &line->packets[line->gone] : NULL;
}

static inline void line_check(struct line *line)
{
    const char *broken = recovery_check(&line->recovery, line_queue(line));

    cr_assert_null(broken, "%s", broken);
}

static inline void line_send_packet(struct line *line, struct packet *packet)
{
    recovery_sent(&line->recovery, packet, line_ts(line), line->now_us);
    line_check(line);
}

/* Sends `count` new packets, whatever the window. */
static inline void line_send(struct line *line, unsigned count)
{
    while (count-- > 0)
        line_send_packet(line, &line->packets[line->sent++]);
}

/* What output does: lost ones first, then new ones up to `new_max`; returns how many of both. */
static inline unsigned line_output(struct line *line, unsigned new_max)
{
    unsigned sent = 0;

    for (;;) {
        struct packet *packet = recovery_lost(&line->recovery, line_queue(line));

        if (packet == NULL || (new_max != 0 && recovery_new_first(&line->recovery))) {
            if (new_max == 0)
                return sent;
            packet = &line->packets[line->sent];
        }
        if (!recovery_may_send(&line->recovery, packet->seg_len, line->now_us))
            return sent;
        if (packet->sends == 0) {
            line->sent++;
            new_max--;
        }
        line_send_packet(line, packet);
        sent++;
    }
}

static inline void line_take(struct line *line, const struct recovery_ack *ack)
{
    struct recovery copy, before;
    bool short_way;

    /* The short way leads to the same place, or nowhere. */
    memcpy(&copy, &line->recovery, sizeof copy);
    memcpy(&before, &line->recovery, sizeof before);
    short_way = ack->ack == copy.nxt && ack->sack_count == 0 && !ack->ecn_echo &&
                recovery_acked_all(&copy, line_queue(line), ack->now_us);
    line->short_ways += short_way;
    recovery_acked(&line->recovery, line_queue(line), ack, &line->news);
    cr_assert_eq(memcmp(&copy, short_way ? &line->recovery : &before, sizeof copy), 0);
    cr_assert(!short_way || (!line->news.duplicate_told && !line->news.entered &&
                             !line->news.undone && !line->news.reduced));
    /* What is released may be used for anything. */
    while (line_queue(line) != line->news.left)
        memset(&line->packets[line->gone++].next, 0xee, sizeof(struct packet *));
    line_check(line);
}

struct line_blocks {
    unsigned count;
    struct tcp_sack sack[TCP_SACK_BLOCKS_MAX];
};

/* An ACK of everything before packet `acked`, with SACK blocks [from, to) in packets, the echo of
 * the timestamp `echo_us` ago. */
static inline void line_ack_echo(struct line *line, unsigned acked, uint64_t echo_us,
                                 unsigned count, const unsigned (*blocks)[2])
{
    struct tcp_sack sack[TCP_SACK_BLOCKS_MAX];
    struct recovery_ack ack = {
        .ack = line_seq(line, acked),
        .duplicate = acked == line->gone,
        .stamped = line->stamps,
        .ts_echo = (uint32_t)((line->now_us - echo_us) / 1000) + line->ts_offset,
        .ts_now = line_ts(line),
        .now_us = line->now_us,
        .sack_count = count,
        .sack = sack,
    };

    for (unsigned i = 0; i < count; i++)
        sack[i] = (struct tcp_sack){line_seq(line, blocks[i][0]), line_seq(line, blocks[i][1])};
    line_take(line, &ack);
}

static inline void line_ack(struct line *line, unsigned acked)
{
    line_ack_echo(line, acked, 0, 0, NULL);
}

static inline void line_sack(struct line *line, unsigned acked, unsigned from, unsigned to)
{
    line_ack_echo(line, acked, 0, 1, (const unsigned[1][2]){{from, to}});
}

static inline void line_pass(struct line *line, uint64_t us)
{
    line->now_us += us;
}

/* Waits for the next deadline and obeys it. */
static inline enum recovery_order line_expire(struct line *line)
{
    uint64_t deadline_us = recovery_deadline_us(&line->recovery);
    enum recovery_order order;

    cr_assert_neq(deadline_us, UINT64_MAX);
    if (deadline_us > line->now_us)
        line->now_us = deadline_us;
    order = recovery_expired(&line->recovery, line_queue(line), line->now_us);
    line_check(line);
    return order;
}

static inline unsigned line_state(const struct line *line, unsigned packet)
{
    return line->packets[packet].state & RECOVERY_STATE;
}

#endif

#include "dataplane/net/recovery.h"

#include <assert.h>

#include "dataplane/net/scoreboard.h"
#include "dataplane/net/sequence.h"

enum {
    REORDER_PERSIST = 16, /* RFC 8985 section 6.2, step 4: recoveries that a wider window lasts */
    FIRST_PROBE_US = 1000000, /* section 7.2: before the first round trip sample */
    CREDIT_FIRST = 1024,
    TIMESTAMP_AGE_MAX_MS = 60000, /* an echo older than that is no sample */
    FRTO_NEW = 2,                 /* RFC 5682 section 2.1, step 2b: new segments */
    RECOVERY_UNDO_US = 1000000,   /* news that a reduction was in vain comes no later */
};

void recovery_init(struct recovery *recovery, const struct congestion_ops *ops, uint32_t iss_next,
                   uint32_t mss, bool sack, bool syn_was_lost, const struct rtt *rtt)
{
    *recovery = (struct recovery){
        .una = iss_next,
        .nxt = iss_next,
        .full_seq = iss_next,
        .sack = sack,
        .reo_mult = 1,
        .credit = CREDIT_FIRST,
        .recover = iss_next - 1,
        .rack_seq = iss_next,
        .rack_fack = iss_next,
        .reo_round = iss_next,
        .rtt = *rtt,
    };
    congestion_init(&recovery->congestion, ops, mss, syn_was_lost);
}

static void add_credit(struct recovery *recovery)
{
    if (recovery->credit < RECOVERY_CREDIT_MAX)
        recovery->credit += RECOVERY_CREDIT_EACH;
}

/* ---- Timers ---- */

/* RFC 8985 section 7.2. */
static void arm_probe(struct recovery *recovery, uint64_t now_us)
{
    uint32_t srtt_us = rtt_smoothed_us(&recovery->rtt);
    uint64_t wait_us = srtt_us != 0 ? 2 * (uint64_t)srtt_us : FIRST_PROBE_US;

    recovery->probe_deadline_us = 0;
    if (!recovery->sack || recovery->phase != RECOVERY_OPEN || recovery->probe_out ||
        recovery->sacked_bytes != 0 || recovery->lost_bytes != 0 || recovery->newest == NULL)
        return;
    if (recovery_flight(recovery) <= recovery->congestion.mss)
        wait_us += RECOVERY_ACK_DELAY_US;
    if (wait_us < RECOVERY_PROBE_MIN_US)
        wait_us = RECOVERY_PROBE_MIN_US;
    recovery->probe_deadline_us = now_us + wait_us;
    if (recovery->probe_deadline_us > recovery->timeout_deadline_us)
        recovery->probe_deadline_us = recovery->timeout_deadline_us;
}

static void arm_timeout(struct recovery *recovery, uint64_t now_us)
{
    recovery->timeout_deadline_us = now_us + rtt_timeout_us(&recovery->rtt);
}

static void stop_timers(struct recovery *recovery)
{
    recovery->reorder_deadline_us = 0;
    recovery->probe_deadline_us = 0;
    recovery->timeout_deadline_us = 0;
}

void recovery_rest(struct recovery *recovery)
{
    assert(recovery->una == recovery->nxt);
    stop_timers(recovery);
}

/* ---- Sending ---- */

static void sent_new(struct recovery *recovery, struct packet *packet, uint64_t now_us)
{
    assert(packet->seq == recovery->nxt);
    assert(packet->seg_len != 0);
    if (recovery->pipe_bytes == 0) {
        recovery->oldest_us = now_us;
        recovery->live = packet;
    }
    recovery->nxt += packet->seg_len;
    recovery->pipe_bytes += packet->seg_len;
    recovery->newest = packet;
}

static void sent_again(struct recovery *recovery, struct packet *packet, uint32_t ts_now,
                       uint64_t now_us)
{
    if (packet->state & RECOVERY_LOST) {
        scoreboard_resent(recovery, packet, now_us);
        /* RFC 5682: without new data to send there is nothing to tell by. */
        if (recovery->frto_new)
            recovery->fast_frto = recovery->frto_new = false;
    }
    packet->state |= RECOVERY_RESENT;
    if (recovery->undo && recovery->phase >= RECOVERY_REPAIR) {
        recovery->undo_resent++;
        if (!recovery->resent_stamped) {
            recovery->resent_stamped = true;
            recovery->resent_ts = ts_now;
        }
    }
    /* The first unacknowledged one has a whole timeout again. */
    if (!sequence_after(packet->seq, recovery->una))
        arm_timeout(recovery, now_us);
}

/* Whether cwnd, and not the application or the peer, is what limits (RFC 7661 section 4.3): in slow
 * start half a window is enough, as that is what is left of it when the ACKs come in one burst. */
static bool window_full(const struct recovery *recovery)
{
    const struct congestion *congestion = &recovery->congestion;
    uint32_t pipe = recovery_pipe(recovery);

    if (congestion->cwnd < congestion->ssthresh && pipe >= congestion->cwnd / 2)
        return true;
    return pipe + congestion->mss > congestion->cwnd;
}

void recovery_sent(struct recovery *recovery, struct packet *packet, uint32_t ts_now,
                   uint64_t now_us)
{
    bool again = packet->sends != 0;

    if (packet->sends < UINT16_MAX)
        packet->sends++;
    recovery->last_sent_us = now_us;
    /* Nothing more is to be learned from it, and its sent_us is a link. */
    if (packet->state & RECOVERY_SACKED)
        return;
    if (again)
        sent_again(recovery, packet, ts_now, now_us);
    else
        sent_new(recovery, packet, now_us);
    packet->sent_us = now_us;
    packet->mark = ts_now;
    add_credit(recovery);
    recovery->prr_out += packet->seg_len;
    if (window_full(recovery))
        recovery->full_seq = recovery->nxt;
    if (recovery->timeout_deadline_us == 0)
        arm_timeout(recovery, now_us);
    if (recovery->probing) {
        recovery->probing = false;
        recovery->probe_out = true;
        recovery->probe_resent = again;
        recovery->probe_seq = recovery->nxt;
        recovery->probe_deadline_us = 0;
    } else if (!again) {
        arm_probe(recovery, now_us);
    }
}

struct packet *recovery_lost(struct recovery *recovery, struct packet *queue)
{
    struct packet *packet = recovery->resend != NULL ? recovery->resend : queue;

    if (recovery->lost_bytes == 0)
        return NULL;
    while ((packet->state & RECOVERY_LOST) == 0) {
        packet = scoreboard_after(packet);
        assert(packet != NULL);
    }
    recovery->resend = packet;
    return packet;
}

/* ---- Phases ---- */

/* A packet was lost: RFC 6675 section 5, step 4, with the window of RFC 6937. */
static void enter_repair(struct recovery *recovery, uint32_t flight)
{
    bool reduced = recovery->phase == RECOVERY_CWR;

    /* One reduction for each window of data, whatever the signs. */
    if (!reduced)
        congestion_event(&recovery->congestion, flight);
    recovery->phase = RECOVERY_REPAIR;
    recovery->recover = recovery->nxt;
    recovery->undo = !reduced;
    recovery->undo_seq = recovery->una;
    recovery->undo_resent = 0;
    recovery->resent_stamped = false;
    recovery->prr_flight = recovery_flight(recovery);
    recovery->prr_delivered = 0;
    recovery->prr_out = 0;
    recovery->probe_out = false;
    recovery->probing = false;
    recovery->probe_deadline_us = 0;
}

/* One reduction with nothing to send again: ECN (RFC 3168 section 6.1.2), or a loss that a probe
 * has mended (RFC 8985 section 7.4). */
static void enter_cwr(struct recovery *recovery, uint32_t flight)
{
    struct congestion *congestion = &recovery->congestion;

    congestion_event(congestion, flight);
    if (congestion->cwnd > congestion->ssthresh)
        congestion->cwnd = congestion->ssthresh;
    recovery->phase = RECOVERY_CWR;
    recovery->recover = recovery->nxt;
    recovery->undo = false;
    recovery->probe_deadline_us = 0;
}

static void leave(struct recovery *recovery)
{
    struct congestion *congestion = &recovery->congestion;

    if (recovery->phase == RECOVERY_REPAIR) {
        congestion->cwnd = congestion->ssthresh;
        if (recovery->reo_persist != 0 && --recovery->reo_persist == 0)
            recovery->reo_mult = 1;
    }
    recovery->phase = RECOVERY_OPEN;
    recovery->dup_acks = 0;
    recovery->dup_bytes = 0;
    recovery->fast_frto = false;
    recovery->frto_new = false;
}

/* RFC 4015: the reduction was for nothing. */
static void take_back(struct recovery *recovery, struct packet *queue, struct recovery_news *news)
{
    congestion_undo(&recovery->congestion);
    recovery->undo = false;
    scoreboard_find_all(recovery, queue);
    if (recovery->phase == RECOVERY_REPAIR)
        recovery->reordering = true;
    recovery->phase = RECOVERY_OPEN;
    /* RFC 6582 section 3.2, step 2 holds a fast retransmit back because repetitions make duplicates.
     * So few of them make none, and what is missing need not wait for another timeout. */
    if (recovery->undo_resent < RECOVERY_DUP_THRESHOLD)
        recovery->recover = recovery->una - 1;
    recovery->dup_acks = 0;
    recovery->dup_bytes = 0;
    recovery->fast_frto = false;
    recovery->frto_new = false;
    news->undone = true;
}

/* ---- What an acknowledgment means ---- */

/* Whether an echo from before the last transmission of what is acknowledged may have been brought by
 * that transmission. The first one had arrived and its ACK was lost: the peer takes no timestamp from
 * what it already has (RFC 7323 section 5.3, R2 before R3), so its echo is as old as the first one.
 * As a sample it would be the whole timeout, from which the next one is made twice as long, and so on
 * with each lost ACK; so this is Karn's case (RFC 6298 section 3). Sooner than any round trip it is
 * the answer to an earlier transmission, which was under way that long. */
static bool echo_ambiguous(const struct recovery *recovery, const struct scoreboard_news *found)
{
    return found->resent && sequence_before(found->ack->ts_echo, found->resent_mark) &&
           found->ack->now_us - found->resent_us >= recovery->rtt.min_us;
}

/* RFC 6298 sections 2 and 3, RFC 7323 section 4.1. */
static void take_sample(struct recovery *recovery, const struct scoreboard_news *found)
{
    const struct recovery_ack *ack = found->ack;
    uint32_t age_ms = ack->ts_now - ack->ts_echo;
    uint64_t sent_us =
        found->resent || found->sent_us == 0 ? found->sacked_sent_us : found->sent_us;

    if (sent_us != 0) {
        uint64_t age_us = ack->now_us - sent_us;

        rtt_sample(&recovery->rtt,
                   age_us < RTT_SAMPLE_MAX_US ? (uint32_t)age_us : RTT_SAMPLE_MAX_US, ack->now_us);
    } else if (found->moved && ack->stamped && age_ms < TIMESTAMP_AGE_MAX_MS &&
               !echo_ambiguous(recovery, found)) {
        /* The clock of timestamps ticks in ms. */
        rtt_sample(&recovery->rtt, age_ms != 0 ? age_ms * 1000 : 1000, ack->now_us);
    }
}

/* RFC 8985 section 6.2, step 4, and the count of RFC 3708 for undo. True: everything that was sent
 * again had arrived before. */
static bool take_duplicate(struct recovery *recovery, const struct scoreboard_news *found)
{
    uint32_t len = found->duplicate_right - found->duplicate_left;
    uint32_t packets = len <= recovery->congestion.mss ? 1 : len / recovery->congestion.mss;

    if (!sequence_before(recovery->una, recovery->reo_round)) {
        recovery->reo_round = recovery->nxt;
        recovery->reo_persist = REORDER_PERSIST;
        if (recovery->reo_mult < UINT8_MAX)
            recovery->reo_mult++;
    }
    if (!recovery->undo || recovery->undo_resent == 0 ||
        sequence_before(found->duplicate_left, recovery->undo_seq))
        return false;
    recovery->undo_resent -= packets < recovery->undo_resent ? packets : recovery->undo_resent;
    return recovery->undo_resent == 0;
}

/* RFC 8985 section 7.4.2. True: the probe has mended a loss, and the window was reduced for it. */
static bool take_probe(struct recovery *recovery, const struct scoreboard_news *found,
                       uint32_t flight)
{
    const struct recovery_ack *ack = found->ack;

    if (sequence_before(ack->ack, recovery->probe_seq))
        return false;
    if (!recovery->probe_resent ||
        (found->duplicate && found->duplicate_right == recovery->probe_seq) ||
        (!found->moved && ack->duplicate && ack->sack_count == 0)) {
        recovery->probe_out = false;
        return false;
    }
    if (ack->ack == recovery->probe_seq)
        return false; /* which of the two is answered shows with the next ACK */
    recovery->probe_out = false;
    if (recovery->phase != RECOVERY_OPEN)
        return false;
    enter_cwr(recovery, flight);
    return true;
}

/* Without SACK, una has moved. True: a partial acknowledgment (RFC 6582 section 3.2, step 3) that
 * shows the next packet lost, to be sent again whatever the window. */
static bool settle_duplicates(struct recovery *recovery, struct packet *queue,
                              struct scoreboard_news *found)
{
    uint32_t mss = recovery->congestion.mss;
    /* What was resent left the network by itself, the rest was counted by duplicates. */
    uint32_t counted = found->bytes > mss ? found->bytes - mss : 0;

    if (counted > recovery->dup_bytes)
        counted = recovery->dup_bytes;
    recovery->dup_bytes -= counted;
    found->bytes -= counted;
    recovery->dup_acks = 0;
    /* Never so far behind that the comparison in count_duplicates() turns over. */
    if (recovery->phase == RECOVERY_OPEN && sequence_after(recovery->una - 1, recovery->recover))
        recovery->recover = recovery->una - 1;
    if (recovery->phase != RECOVERY_REPAIR || queue == NULL ||
        !sequence_before(recovery->una, recovery->recover) || !scoreboard_in_flight(queue) ||
        (queue->state & RECOVERY_RESENT) != 0)
        return false;
    scoreboard_lose(recovery, queue);
    return true;
}

/* Without SACK, una stands still: RFC 5681 section 3.2, RFC 6582 section 3.2, step 2. */
static void count_duplicates(struct recovery *recovery, struct packet *queue,
                             struct scoreboard_news *found)
{
    uint32_t mss = recovery->congestion.mss;

    if (!found->ack->duplicate || queue == NULL || queue->sends == 0)
        return;
    if (recovery->phase == RECOVERY_TIMEOUT) {
        /* They may be those of our own repetitions; but the segments that F-RTO sent beyond them
         * have arrived (RFC 5682 section 2.1, step 3a), and no longer keep these back. */
        if (recovery->dup_bytes + mss <= recovery->nxt - recovery->recover &&
            recovery->dup_bytes + mss <= FRTO_NEW * mss)
            recovery->dup_bytes += mss;
        return;
    }
    if (recovery->dup_acks < UINT8_MAX)
        recovery->dup_acks++;
    /* No more than what is out behind the missing one, nor, while each of them lets another segment
     * go, than what was out when the recovery began (RFC 5681 section 3.2, step 4): else made-up
     * duplicates empty the whole queue into the path. */
    if (recovery->dup_bytes + mss + queue->seg_len <= recovery->pipe_bytes + recovery->lost_bytes &&
        (recovery->phase != RECOVERY_REPAIR || recovery->dup_bytes + mss <= recovery->prr_flight)) {
        recovery->dup_bytes += mss;
        found->bytes += mss;
    }
    if (recovery->dup_acks == RECOVERY_DUP_THRESHOLD && scoreboard_in_flight(queue) &&
        (recovery->phase == RECOVERY_CWR ||
         (recovery->phase == RECOVERY_OPEN && sequence_after(recovery->una, recovery->recover))))
        scoreboard_lose(recovery, queue);
}

/* RFC 3522: the echo is older than the first retransmission, so the original has arrived. */
static bool original_echoed(const struct recovery *recovery, const struct scoreboard_news *found)
{
    return recovery->undo && recovery->resent_stamped && found->moved && found->ack->stamped &&
           recovery->phase >= RECOVERY_REPAIR &&
           sequence_before(found->ack->ts_echo, recovery->resent_ts);
}

/* RFC 5682 section 3.1. True: the timeout was spurious. */
static bool take_frto(struct recovery *recovery, const struct scoreboard_news *found)
{
    recovery->frto_new = false;
    if (recovery->phase != RECOVERY_TIMEOUT || !recovery->fast_frto)
        return false;
    /* Step 3b. Without SACK, what a resent packet has uncovered proves nothing. */
    if (found->original && recovery->undo && (recovery->sack || !found->resent))
        return true;
    if (found->moved && sequence_after(recovery->nxt, recovery->una) &&
        recovery->recover == recovery->nxt) {
        /* Step 2b: new data next; what they bring in tells. */
        recovery->frto_new = true;
    } else if (found->bytes != 0 || found->ack->duplicate) {
        recovery->fast_frto = false; /* step 3a */
    }
    return false;
}

/* RFC 6937 section 3. `lost`: this ACK has shown more losses; `force`: one packet must go. */
static void reduce(struct recovery *recovery, const struct scoreboard_news *found, bool lost,
                   bool force)
{
    struct congestion *congestion = &recovery->congestion;
    uint32_t pipe = recovery_pipe(recovery), mss = congestion->mss;
    int64_t behind, send;

    recovery->prr_delivered += found->bytes;
    behind = (int64_t)recovery->prr_delivered - recovery->prr_out;
    if (pipe > congestion->ssthresh) {
        uint64_t share = (uint64_t)recovery->prr_delivered * congestion->ssthresh;

        send = (int64_t)((share + recovery->prr_flight - 1) / recovery->prr_flight) -
               recovery->prr_out;
    } else {
        /* Slow start only while the retransmissions bring what they should. */
        if (found->moved && !lost)
            behind = (behind > found->bytes ? behind : found->bytes) + mss;
        send = (int64_t)congestion->ssthresh - pipe;
        if (send > behind)
            send = behind;
    }
    if (send < 0)
        send = 0;
    /* The fast retransmit itself always goes. */
    if ((force || recovery->prr_out == 0) && send < mss)
        send = mss;
    congestion->cwnd = pipe + (uint32_t)send;
    if (congestion->cwnd < mss)
        congestion->cwnd = mss;
}

static void grow(struct recovery *recovery, uint32_t acked_bytes, uint32_t una_before,
                 uint64_t now_us)
{
    bool full = sequence_before(una_before, recovery->full_seq);

    if (sequence_before(recovery->full_seq, recovery->una))
        recovery->full_seq = recovery->una;
    if (acked_bytes != 0 &&
        (recovery->phase == RECOVERY_OPEN || recovery->phase == RECOVERY_TIMEOUT))
        congestion_acked(&recovery->congestion, acked_bytes, full,
                         recovery->phase == RECOVERY_OPEN ? 2 : 1, rtt_smoothed_us(&recovery->rtt),
                         now_us);
}

static void rearm(struct recovery *recovery, bool moved, uint64_t now_us)
{
    if (recovery->una == recovery->nxt) {
        stop_timers(recovery);
        return;
    }
    if (moved)
        arm_timeout(recovery, now_us);
    if (moved || recovery->sacked_bytes != 0)
        arm_probe(recovery, now_us);
}

/* Whether all that is out was sent once, and nothing was said of it since. */
static bool undisturbed(const struct recovery *recovery, const struct packet *queue)
{
    if (!recovery->sack || recovery->phase != RECOVERY_OPEN || recovery->probe_out ||
        recovery->sacked_bytes != 0 || recovery->newest == NULL)
        return false;
    while (queue != recovery->newest) {
        if (queue->state & RECOVERY_STATE)
            return false;
        queue = queue->next;
    }
    return (queue->state & RECOVERY_STATE) == 0;
}

bool recovery_acked_all(struct recovery *recovery, const struct packet *queue, uint64_t now_us)
{
    const struct packet *newest = recovery->newest;
    uint32_t acked_bytes = recovery_flight(recovery);
    uint64_t age_us;

    if (!undisturbed(recovery, queue))
        return false;
    add_credit(recovery);
    /* RACK: the newest is the one that was sent last. */
    age_us = now_us - newest->sent_us;
    recovery->rack_rtt_us = age_us == 0 ? 1 : age_us < UINT32_MAX ? (uint32_t)age_us : UINT32_MAX;
    recovery->rack_fack = recovery->nxt;
    if (newest->sent_us >= recovery->rack_us) {
        recovery->rack_us = newest->sent_us;
        recovery->rack_seq = recovery->nxt;
    }
    /* The round trip: the first one was under way the longest. */
    age_us = now_us - queue->sent_us;
    rtt_sample(&recovery->rtt, age_us < RTT_SAMPLE_MAX_US ? (uint32_t)age_us : RTT_SAMPLE_MAX_US,
               now_us);
    if (sequence_before(recovery->una, recovery->full_seq))
        congestion_acked(&recovery->congestion, acked_bytes, true, 2,
                         rtt_smoothed_us(&recovery->rtt), now_us);
    if (sequence_before(recovery->full_seq, recovery->nxt))
        recovery->full_seq = recovery->nxt;
    recovery->una = recovery->nxt;
    recovery->pipe_bytes = 0;
    recovery->timeouts = 0;
    recovery->newest = recovery->resend = recovery->live = recovery->hint = NULL;
    stop_timers(recovery);
    return true;
}

void recovery_acked(struct recovery *recovery, struct packet *queue, const struct recovery_ack *ack,
                    struct recovery_news *news)
{
    struct scoreboard_news found = {.ack = ack, .fack = recovery->rack_fack};
    uint32_t una_before = recovery->una, flight = recovery_flight(recovery);
    bool lost = false, partial = false, spurious = false;

    assert(!sequence_before(ack->ack, recovery->una) && !sequence_after(ack->ack, recovery->nxt));
    *news = (struct recovery_news){.acked_bytes = ack->ack - una_before};
    add_credit(recovery);
    if (ack->ecn_echo && recovery->phase == RECOVERY_OPEN && flight != 0) {
        enter_cwr(recovery, flight);
        news->reduced = true;
    }
    news->left = queue = scoreboard_acked(recovery, queue, &found);
    if (recovery->sack && ack->sack_count != 0)
        scoreboard_sacked(recovery, queue, &found);
    if (found.moved)
        recovery->timeouts = 0;
    take_sample(recovery, &found);
    if (recovery->probe_out && take_probe(recovery, &found, flight))
        news->reduced = true;
    if (found.duplicate || recovery->phase >= RECOVERY_REPAIR) {
        if (found.duplicate) {
            news->duplicate_told = true;
            spurious = take_duplicate(recovery, &found);
        }
        if (take_frto(recovery, &found) || original_echoed(recovery, &found) || spurious)
            take_back(recovery, queue, news);
    }

    if (!recovery->sack && found.moved)
        partial = settle_duplicates(recovery, queue, &found);
    else if (!recovery->sack)
        count_duplicates(recovery, queue, &found);
    else if (recovery->pipe_bytes != 0 || recovery->reorder_deadline_us != 0)
        lost = scoreboard_detect(recovery, queue, ack->now_us) != 0;

    grow(recovery, news->acked_bytes, una_before, ack->now_us);
    if (recovery->phase != RECOVERY_OPEN && !sequence_before(recovery->una, recovery->recover))
        leave(recovery);
    if (recovery->lost_bytes != 0 && recovery->phase < RECOVERY_REPAIR) {
        enter_repair(recovery, flight);
        news->entered = true;
        news->reduced = true;
    }
    if (recovery->phase == RECOVERY_REPAIR && (found.bytes != 0 || news->entered))
        reduce(recovery, &found, lost, partial);
    rearm(recovery, found.moved, ack->now_us);
}

/* ---- Time ---- */

/* RFC 6298 section 5, RFC 5681 section 3.1, RFC 8985 section 6.3. */
static void time_out(struct recovery *recovery, struct packet *queue, uint64_t now_us)
{
    struct congestion *congestion = &recovery->congestion;
    bool fresh = recovery->phase <= RECOVERY_CWR;

    /* RFC 2018 section 8: a SACKed first packet was thrown away by the peer. */
    if (queue->state & RECOVERY_SACKED)
        scoreboard_forget(recovery, queue);
    /* ssthresh falls once for each loss, not with each repetition. */
    if (recovery->phase == RECOVERY_OPEN ||
        (recovery->phase == RECOVERY_TIMEOUT && recovery->timeouts == 0)) {
        congestion_event(congestion, recovery_flight(recovery));
        recovery->undo = true;
        recovery->undo_seq = recovery->una;
        recovery->undo_resent = 0;
        recovery->resent_stamped = false;
    }
    scoreboard_timeout(recovery, queue, !recovery->sack || recovery->rack_us == 0, now_us);
    recovery->phase = RECOVERY_TIMEOUT;
    recovery->recover = recovery->nxt;
    recovery->fast_frto = fresh;
    recovery->frto_new = false;
    recovery->dup_acks = 0;
    recovery->dup_bytes = 0;
    recovery->probe_out = false;
    recovery->probing = false;
    recovery->probe_deadline_us = 0;
    /* One segment, beside what cannot be lost yet. */
    congestion->cwnd = recovery->pipe_bytes + congestion->mss;
    if (recovery->timeouts < UINT8_MAX)
        recovery->timeouts++;
    rtt_back_off(&recovery->rtt);
    arm_timeout(recovery, now_us);
}

/* What the reordering timer has found. */
static enum recovery_order overtaken_long(struct recovery *recovery, struct packet *queue,
                                          uint64_t now_us)
{
    if (scoreboard_detect(recovery, queue, now_us) == 0)
        return RECOVERY_NOTHING;
    if (recovery->phase < RECOVERY_REPAIR)
        enter_repair(recovery, recovery_flight(recovery));
    if (recovery->phase == RECOVERY_REPAIR) {
        struct scoreboard_news none = {0};

        reduce(recovery, &none, true, false);
    }
    return RECOVERY_OUTPUT;
}

enum recovery_order recovery_expired(struct recovery *recovery, struct packet *queue,
                                     uint64_t now_us)
{
    if (recovery->una == recovery->nxt) {
        stop_timers(recovery);
        return RECOVERY_NOTHING;
    }
    if (recovery->reorder_deadline_us != 0 && now_us >= recovery->reorder_deadline_us) {
        enum recovery_order order = overtaken_long(recovery, queue, now_us);

        if (order != RECOVERY_NOTHING)
            return order;
    }
    if (recovery->probe_deadline_us != 0 && now_us >= recovery->probe_deadline_us) {
        recovery->probe_deadline_us = 0;
        recovery->probing = true;
        arm_timeout(recovery, now_us);
        return RECOVERY_PROBE;
    }
    if (recovery->timeout_deadline_us == 0 || now_us < recovery->timeout_deadline_us)
        return RECOVERY_NOTHING;
    time_out(recovery, queue, now_us);
    return RECOVERY_RTO;
}

/* ---- Other events ---- */

void recovery_too_big(struct recovery *recovery, struct packet *queue, uint32_t mss)
{
    recovery->congestion.mss = mss;
    for (; queue != NULL && queue->sends != 0; queue = scoreboard_after(queue)) {
        if (scoreboard_in_flight(queue) && queue->seg_len > mss)
            scoreboard_lose(recovery, queue);
    }
    if (recovery->lost_bytes == 0 || recovery->phase >= RECOVERY_REPAIR)
        return;
    /* Sent again outside of recovery, at the window there is. */
    recovery->phase = RECOVERY_TIMEOUT;
    recovery->recover = recovery->nxt;
    recovery->undo = false;
    recovery->fast_frto = false;
    recovery->frto_new = false;
    recovery->dup_acks = 0;
    recovery->dup_bytes = 0;
    recovery->probe_out = false;
    recovery->probe_deadline_us = 0;
}

void recovery_larger(struct recovery *recovery, uint32_t mss)
{
    struct congestion *congestion = &recovery->congestion;

    congestion->mss = mss;
    if (congestion->cwnd < mss)
        congestion->cwnd = mss;
    if (congestion->ssthresh < 2 * mss)
        congestion->ssthresh = 2 * mss;
}

void recovery_split(struct recovery *recovery, struct packet *first, struct packet *second)
{
    assert((first->state & RECOVERY_SACKED) == 0);
    assert(first->next == second && second->seq == first->seq + first->seg_len);
    second->sends = first->sends;
    second->sent_us = first->sent_us;
    second->mark = first->mark;
    second->state = (second->state & ~(uint32_t)RECOVERY_STATE) | (first->state & RECOVERY_STATE);
    if (recovery->newest == first)
        recovery->newest = second;
}

void recovery_trimmed(struct recovery *recovery, const struct packet *packet, uint32_t len)
{
    assert((packet->state & RECOVERY_SACKED) == 0);
    if (packet->state & RECOVERY_LOST)
        recovery->lost_bytes -= len;
    else
        recovery->pipe_bytes -= len;
}

void recovery_replaced(struct recovery *recovery, struct packet *old, struct packet *copy)
{
    assert((copy->state & RECOVERY_SACKED) == 0);
    if (recovery->newest == old)
        recovery->newest = copy;
    if (recovery->resend == old)
        recovery->resend = copy;
    if (recovery->live == old)
        recovery->live = copy;
    if (recovery->hint == old)
        recovery->hint = copy;
}

/* ---- Rest ---- */

bool recovery_may_rest(const struct recovery *recovery, uint64_t now_us)
{
    return recovery->una == recovery->nxt && recovery->phase == RECOVERY_OPEN &&
           recovery->sacked_bytes == 0 && !recovery->probe_out && !recovery->fast_frto &&
           (!recovery->undo || now_us - recovery->last_sent_us > RECOVERY_UNDO_US);
}

void recovery_save(const struct recovery *recovery, struct recovery_rest *rest)
{
    const struct congestion *congestion = &recovery->congestion;

    assert(recovery->una == recovery->nxt && recovery->newest == NULL);
    *rest = (struct recovery_rest){
        .last_sent_ms = (uint32_t)(recovery->last_sent_us / 1000),
        .una = recovery->una,
        .cwnd = congestion->cwnd,
        .ssthresh = congestion->ssthresh,
        .w_max = congestion->ops == &congestion_newreno ? congestion->newreno.acked
                                                        : congestion->cubic.w_max,
        .srtt_x8_us = recovery->rtt.srtt_x8_us,
        .var_x4_us = recovery->rtt.var_x4_us,
        .min_us = recovery->rtt.min_us,
        .backoff = recovery->rtt.backoff,
        .mss = (uint16_t)congestion->mss,
        .credit = recovery->credit,
        .reo_mult = recovery->reo_mult,
        .reo_persist = recovery->reo_persist,
        .sack = recovery->sack,
        .reordering = recovery->reordering,
        .syn_was_lost =
            rtt_smoothed_us(&recovery->rtt) == 0 && recovery->rtt.base_us == RTT_RTO_LOST_SYN_US,
    };
}

void recovery_restore(struct recovery *recovery, const struct congestion_ops *ops,
                      const struct recovery_rest *rest, uint64_t now_us)
{
    struct congestion *congestion = &recovery->congestion;
    uint64_t now_ms = now_us / 1000;
    struct rtt rtt = {
        .srtt_x8_us = rest->srtt_x8_us,
        .var_x4_us = rest->var_x4_us,
        .base_us = rest->syn_was_lost ? RTT_RTO_LOST_SYN_US : RTT_RTO_FIRST_US,
        .min_us = rest->min_us,
        .young_us = rest->min_us,
        .window_ms = (uint32_t)now_ms,
        .backoff = rest->backoff,
    };

    rtt_set_base(&rtt);
    recovery_init(recovery, ops, rest->una, rest->mss, rest->sack, false, &rtt);
    if (rest->last_sent_ms != 0)
        recovery->last_sent_us =
            (now_ms - (uint32_t)((uint32_t)now_ms - rest->last_sent_ms)) * 1000;
    recovery->credit = rest->credit;
    recovery->reo_mult = rest->reo_mult;
    recovery->reo_persist = rest->reo_persist;
    recovery->reordering = rest->reordering;
    congestion->cwnd = rest->cwnd;
    congestion->ssthresh = rest->ssthresh;
    congestion->before_cwnd = rest->cwnd;
    congestion->before_ssthresh = rest->ssthresh;
    if (ops == &congestion_newreno) {
        congestion->newreno.acked = rest->w_max;
        return;
    }
    congestion->cubic.w_max = congestion->cubic.w_max_before = rest->w_max;
    if (rest->w_max > rest->cwnd)
        congestion->before_cwnd = rest->w_max;
}

const char *recovery_check(const struct recovery *recovery, const struct packet *queue)
{
    const struct congestion *congestion = &recovery->congestion;
    bool out = recovery->una != recovery->nxt;

    if (sequence_before(recovery->nxt, recovery->una))
        return "recovery: una is behind nxt";
    if (congestion->cwnd < congestion->mss || congestion->cwnd > CONGESTION_WINDOW_MAX)
        return "recovery: cwnd is out of bounds";
    if (congestion->ssthresh < congestion->mss)
        return "recovery: ssthresh is less than a segment";
    if (out && recovery->timeout_deadline_us == 0)
        return "recovery: data are out and no timer runs";
    if (!out && recovery_deadline_us(recovery) != UINT64_MAX)
        return "recovery: nothing is out and a timer runs";
    if (out != (recovery->newest != NULL))
        return "recovery: newest does not say whether data are out";
    if (recovery->phase == RECOVERY_OPEN && recovery->lost_bytes != 0)
        return "recovery: lost packets outside of recovery";
    return scoreboard_check(recovery, queue);
}

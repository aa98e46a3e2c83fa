#include "dataplane/net/scoreboard.h"

#include <assert.h>

#include "dataplane/net/sequence.h"

enum {
    CREDIT_FOR_DETECTION = 256, /* SACK blocks leave that much */
    DETECT_AGAIN_US = 1000,     /* when the credit did not suffice */
};

static uint32_t packet_end(const struct packet *packet)
{
    return packet->seq + packet->seg_len;
}

static struct packet *run_last(const struct packet *first)
{
    return (struct packet *)(uintptr_t)first->sent_us;
}

static void run_set_last(struct packet *first, struct packet *last)
{
    first->sent_us = (uint64_t)(uintptr_t)last;
}

struct packet *scoreboard_after(const struct packet *packet)
{
    if ((packet->state & RECOVERY_SACKED) != 0 && packet->sent_us != 0)
        return run_last(packet)->next;
    return packet->next;
}

static bool spend(struct recovery *recovery, uint32_t reserve)
{
    if (recovery->credit <= reserve)
        return false;
    recovery->credit--;
    return true;
}

/* ---- What has arrived ---- */

/* RFC 8985 section 6.2: whether one packet was sent after another. */
static bool sent_after(uint64_t a_us, uint32_t a_seq, uint64_t b_us, uint32_t b_seq)
{
    return a_us > b_us || (a_us == b_us && sequence_after(a_seq, b_seq));
}

/* Section 6.2, steps 2 and 3, for a packet that has newly arrived. */
static void rack_arrived(struct recovery *recovery, const struct packet *packet,
                         const struct scoreboard_news *news)
{
    const struct recovery_ack *ack = news->ack;
    uint32_t end = packet_end(packet);
    uint64_t age_us = ack->now_us - packet->sent_us;
    bool resent = (packet->state & RECOVERY_RESENT) != 0;

    if (sequence_after(end, recovery->rack_fack))
        recovery->rack_fack = end;
    else if (sequence_before(end, news->fack) && !resent)
        recovery->reordering = true;
    /* Forgotten after it had been SACKed: when it was sent is not known. */
    if (packet->sent_us == 0)
        return;
    /* An earlier transmission may be what has arrived. */
    if (resent && (recovery->rtt.min_us == 0 ||
                   (ack->stamped && sequence_before(ack->ts_echo, packet->mark)) ||
                   age_us < recovery->rtt.min_us))
        return;
    /* At least 1: a packet does not overtake those sent in the same instant, or one that is sent
     * again would be lost again before it has left. */
    recovery->rack_rtt_us = age_us == 0 ? 1 : age_us < UINT32_MAX ? (uint32_t)age_us : UINT32_MAX;
    if (sent_after(packet->sent_us, end, recovery->rack_us, recovery->rack_seq)) {
        recovery->rack_us = packet->sent_us;
        recovery->rack_seq = end;
    }
}

/* Takes a packet that was not SACKed off the counts. */
static void arrived(struct recovery *recovery, struct packet *packet, struct scoreboard_news *news)
{
    if (packet->state & RECOVERY_LOST)
        recovery->lost_bytes -= packet->seg_len;
    else
        recovery->pipe_bytes -= packet->seg_len;
    news->bytes += packet->seg_len;
    if ((packet->state & RECOVERY_RESENT) == 0 &&
        !sequence_after(packet_end(packet), recovery->recover))
        news->original = true;
    rack_arrived(recovery, packet, news);
}

/* Pointers to packets that are about to leave the queue. */
static void forget_before_una(struct recovery *recovery)
{
    if (recovery->resend != NULL && !sequence_after(packet_end(recovery->resend), recovery->una))
        recovery->resend = NULL;
    if (recovery->live != NULL && !sequence_after(packet_end(recovery->live), recovery->una))
        recovery->live = NULL;
    if (recovery->hint != NULL && !sequence_after(packet_end(recovery->hint), recovery->una))
        recovery->hint = NULL;
    if (recovery->una == recovery->nxt)
        recovery->newest = NULL;
}

struct packet *scoreboard_acked(struct recovery *recovery, struct packet *queue,
                                struct scoreboard_news *news)
{
    uint32_t una = news->ack->ack;

    news->moved = una != recovery->una;
    if (!news->moved)
        return queue;
    while (queue != NULL && queue->sends != 0 && !sequence_after(packet_end(queue), una)) {
        if (queue->state & RECOVERY_SACKED) {
            struct packet *last = queue->sent_us != 0 ? run_last(queue) : queue;

            recovery->sacked_bytes -= queue->seg_len;
            recovery->sacked_packets--;
            if (last != queue)
                run_set_last(queue->next, last);
        } else {
            arrived(recovery, queue, news);
            if ((queue->state & RECOVERY_RESENT) != 0 && !news->resent) {
                news->resent = true;
                news->resent_mark = queue->mark;
                news->resent_us = queue->sent_us;
            } else if ((queue->state & RECOVERY_RESENT) == 0 && news->sent_us == 0) {
                news->sent_us = queue->sent_us;
            }
        }
        queue = queue->next;
    }
    recovery->una = una;
    forget_before_una(recovery);
    return queue;
}

/* ---- SACK ---- */

/* Marks `packet`; `run` is the run that ends right before it, or NULL. Returns the run that it is
 * in now. */
static struct packet *mark_sacked(struct recovery *recovery, struct packet *packet,
                                  struct packet *run, struct scoreboard_news *news)
{
    struct packet *last = packet, *next = packet->next;

    if ((packet->state & RECOVERY_RESENT) == 0 && news->sacked_sent_us == 0)
        news->sacked_sent_us = packet->sent_us;
    arrived(recovery, packet, news);
    packet->state = (packet->state & ~(uint32_t)RECOVERY_LOST) | RECOVERY_SACKED;
    recovery->sacked_bytes += packet->seg_len;
    recovery->sacked_packets++;
    packet->sent_us = 0;
    if (next != NULL && (next->state & RECOVERY_SACKED) != 0 && next->sent_us != 0) {
        last = run_last(next);
        next->sent_us = 0;
        if (recovery->hint == next)
            recovery->hint = packet;
    }
    if (run == NULL)
        run = packet;
    run_set_last(run, last);
    if (recovery->hint == packet)
        recovery->hint = run;
    return run;
}

/* One block that lies within una and nxt. False: the credit ran out. */
static bool mark_block(struct recovery *recovery, struct packet *queue, uint32_t left,
                       uint32_t right, struct scoreboard_news *news)
{
    struct packet *packet = queue, *run = NULL;

    if (recovery->hint != NULL && !sequence_after(recovery->hint->seq, left))
        packet = recovery->hint;
    while (packet != NULL && packet->sends != 0 && sequence_before(packet->seq, right)) {
        if (!spend(recovery, CREDIT_FOR_DETECTION))
            return false;
        if (packet->state & RECOVERY_SACKED) {
            run = packet->sent_us != 0 ? packet : NULL;
        } else if (!sequence_before(packet->seq, left) &&
                   !sequence_after(packet_end(packet), right)) {
            run = mark_sacked(recovery, packet, run, news);
            packet = run;
        } else {
            run = NULL;
        }
        packet = scoreboard_after(packet);
    }
    if (run != NULL)
        recovery->hint = run;
    return true;
}

/* RFC 2883 section 4: the first block is below the ACK, or within the second one. */
static bool is_duplicate(const struct recovery_ack *ack)
{
    const struct tcp_sack *first = &ack->sack[0], *second = &ack->sack[1];

    if (!sequence_before(first->left, first->right))
        return false;
    if (!sequence_after(first->right, ack->ack))
        return true;
    return ack->sack_count > 1 && sequence_before(second->left, second->right) &&
           !sequence_before(first->left, second->left) &&
           !sequence_after(first->right, second->right);
}

/* Never 0. That two blocks agree is rare, and means that one of them is not heard. */
static uint32_t block_hash(const struct tcp_sack *block)
{
    uint64_t mixed = ((uint64_t)block->left << 32 | block->right) * 0x9e3779b97f4a7c15u;

    return (uint32_t)(mixed >> 32) | 1;
}

static bool block_known(const uint32_t *known, uint32_t hash)
{
    for (unsigned i = 0; i < TCP_SACK_BLOCKS_MAX; i++) {
        if (known[i] == hash)
            return true;
    }
    return false;
}

void scoreboard_sacked(struct recovery *recovery, struct packet *queue,
                       struct scoreboard_news *news)
{
    const struct recovery_ack *ack = news->ack;
    uint32_t known[TCP_SACK_BLOCKS_MAX] = {0};
    unsigned count = ack->sack_count < TCP_SACK_BLOCKS_MAX ? ack->sack_count : TCP_SACK_BLOCKS_MAX;
    unsigned i = 0;

    if (count != 0 && is_duplicate(ack)) {
        news->duplicate = true;
        news->duplicate_left = ack->sack[0].left;
        news->duplicate_right = ack->sack[0].right;
        i = 1;
    }
    for (; i < count; i++) {
        const struct tcp_sack *block = &ack->sack[i];

        /* A receiver that has the byte at una would acknowledge it: such a block is made up. */
        if (!sequence_before(block->left, block->right) ||
            !sequence_after(block->left, recovery->una) ||
            sequence_after(block->right, recovery->nxt))
            continue;
        known[i] = block_hash(block);
        if (!block_known(recovery->blocks, known[i]) &&
            !mark_block(recovery, queue, block->left, block->right, news))
            known[i] = 0;
    }
    for (i = 0; i < TCP_SACK_BLOCKS_MAX; i++)
        recovery->blocks[i] = known[i];
}

void scoreboard_forget(struct recovery *recovery, struct packet *queue)
{
    for (; queue != NULL && queue->sends != 0; queue = queue->next) {
        if ((queue->state & RECOVERY_SACKED) == 0)
            continue;
        queue->state = (queue->state & ~(uint32_t)RECOVERY_SACKED) | RECOVERY_RESENT;
        queue->sent_us = 0;
        recovery->pipe_bytes += queue->seg_len;
    }
    recovery->sacked_bytes = 0;
    recovery->sacked_packets = 0;
    recovery->oldest_us = 0;
    recovery->live = NULL;
    recovery->hint = NULL;
    for (unsigned i = 0; i < TCP_SACK_BLOCKS_MAX; i++)
        recovery->blocks[i] = 0;
}

/* ---- What is lost ---- */

void scoreboard_lose(struct recovery *recovery, struct packet *packet)
{
    assert(scoreboard_in_flight(packet));
    packet->state |= RECOVERY_LOST;
    recovery->pipe_bytes -= packet->seg_len;
    if (recovery->lost_bytes == 0 ||
        (recovery->resend != NULL && sequence_before(packet->seq, recovery->resend->seq)))
        recovery->resend = packet;
    recovery->lost_bytes += packet->seg_len;
}

void scoreboard_resent(struct recovery *recovery, struct packet *packet, uint64_t now_us)
{
    if (recovery->pipe_bytes == 0) {
        recovery->oldest_us = now_us;
        recovery->live = packet;
    } else if (recovery->live != NULL && sequence_before(packet->seq, recovery->live->seq)) {
        recovery->live = packet;
    }
    packet->state &= ~(uint32_t)RECOVERY_LOST;
    recovery->lost_bytes -= packet->seg_len;
    recovery->pipe_bytes += packet->seg_len;
}

void scoreboard_find_all(struct recovery *recovery, struct packet *queue)
{
    while (recovery->lost_bytes != 0) {
        if (queue->state & RECOVERY_LOST) {
            queue->state &= ~(uint32_t)RECOVERY_LOST;
            recovery->lost_bytes -= queue->seg_len;
            recovery->pipe_bytes += queue->seg_len;
        }
        queue = scoreboard_after(queue);
    }
    recovery->resend = NULL;
    recovery->live = NULL;
    recovery->oldest_us = 0;
}

/* RFC 8985 section 6.2, step 4: how long a packet may be overtaken before it counts as lost. */
static uint32_t reorder_window_us(const struct recovery *recovery)
{
    uint64_t window_us;
    uint32_t srtt_us = rtt_smoothed_us(&recovery->rtt);

    if (!recovery->reordering &&
        (recovery->phase == RECOVERY_REPAIR || recovery->phase == RECOVERY_TIMEOUT ||
         recovery->sacked_packets >= RECOVERY_DUP_THRESHOLD))
        return 0;
    window_us = (uint64_t)recovery->reo_mult * recovery->rtt.min_us / 4;
    return window_us < srtt_us ? (uint32_t)window_us : srtt_us;
}

/* Whether `packet`, in flight, was sent before what has arrived last. */
static bool overtaken(const struct recovery *recovery, const struct packet *packet)
{
    return sent_after(recovery->rack_us, recovery->rack_seq, packet->sent_us, packet_end(packet));
}

uint32_t scoreboard_detect(struct recovery *recovery, struct packet *queue, uint64_t now_us)
{
    uint64_t wait_us;
    uint64_t oldest_us = UINT64_MAX, next_us = UINT64_MAX;
    uint32_t before = recovery->lost_bytes;
    struct packet *live = NULL;

    recovery->reorder_deadline_us = 0;
    if (recovery->pipe_bytes == 0 || recovery->rack_us == 0)
        return 0;
    if (recovery->live != NULL)
        queue = recovery->live;
    /* Nearly always: all is in order, and what follows was sent later still. */
    if (scoreboard_in_flight(queue) && queue->sends == 1 && !overtaken(recovery, queue)) {
        recovery->oldest_us = queue->sent_us;
        return 0;
    }
    if (recovery->rack_us < recovery->oldest_us)
        return 0;
    wait_us = (uint64_t)recovery->rack_rtt_us + reorder_window_us(recovery);
    if (now_us < recovery->oldest_us + wait_us) {
        recovery->reorder_deadline_us = recovery->oldest_us + wait_us;
        return 0;
    }
    for (; queue != NULL && queue->sends != 0; queue = scoreboard_after(queue)) {
        if (!spend(recovery, 0)) {
            recovery->oldest_us = 0;
            recovery->live = live != NULL ? live : queue;
            recovery->reorder_deadline_us = now_us + DETECT_AGAIN_US;
            return recovery->lost_bytes - before;
        }
        if (!scoreboard_in_flight(queue))
            continue;
        bool passed = overtaken(recovery, queue);
        if (passed && queue->sent_us + wait_us <= now_us) {
            scoreboard_lose(recovery, queue);
            continue;
        }
        if (passed && queue->sent_us < next_us)
            next_us = queue->sent_us;
        if (live == NULL)
            live = queue;
        if (queue->sent_us < oldest_us)
            oldest_us = queue->sent_us;
        /* What follows was sent first after this one, and again later still. */
        if (queue->sends == 1 && !passed)
            break;
    }
    recovery->oldest_us = oldest_us;
    recovery->live = live;
    if (next_us != UINT64_MAX)
        recovery->reorder_deadline_us = next_us + wait_us;
    return recovery->lost_bytes - before;
}

void scoreboard_timeout(struct recovery *recovery, struct packet *queue, bool all, uint64_t now_us)
{
    uint64_t wait_us = (uint64_t)recovery->rack_rtt_us + reorder_window_us(recovery);
    const struct packet *head = queue;

    for (; queue != NULL && queue->sends != 0; queue = scoreboard_after(queue)) {
        if (scoreboard_in_flight(queue) &&
            (all || queue == head || queue->sent_us + wait_us <= now_us))
            scoreboard_lose(recovery, queue);
    }
    recovery->oldest_us = 0;
    recovery->reorder_deadline_us = 0;
}

/* Runs end where they say, within SACKed packets; the others in them are marked as such. */
static const char *check_run(const struct packet *first)
{
    const struct packet *last = run_last(first);

    for (const struct packet *packet = first; packet != last; packet = packet->next) {
        if (packet->next == NULL || (packet->next->state & RECOVERY_SACKED) == 0)
            return "scoreboard: a run goes past its end";
        if (packet->next->sent_us != 0)
            return "scoreboard: a run within a run";
    }
    return NULL;
}

/* Where the kept pointers must be met on the way. */
struct met {
    bool resend, live, hint, newest;
};

static const char *check_met(const struct recovery *recovery, const struct met *met)
{
    if (recovery->resend != NULL && recovery->lost_bytes != 0 && !met->resend)
        return "scoreboard: resend is not in the queue";
    if (recovery->live != NULL && !met->live)
        return "scoreboard: live is not in the queue";
    if (recovery->hint != NULL && !met->hint)
        return "scoreboard: hint is not in the queue";
    if (recovery->newest != NULL && !met->newest)
        return "scoreboard: newest is not in the queue";
    return NULL;
}

const char *scoreboard_check(const struct recovery *recovery, const struct packet *queue)
{
    uint32_t pipe = 0, lost = 0, sacked = 0, packets = 0;
    const struct packet *run_end = NULL;
    const char *broken = NULL;
    struct met met = {0};

    for (; queue != NULL && queue->sends != 0 && broken == NULL; queue = queue->next) {
        met.resend |= queue == recovery->resend;
        met.live |= queue == recovery->live;
        met.hint |= queue == recovery->hint;
        met.newest |= queue == recovery->newest;
        if (queue->state & RECOVERY_SACKED) {
            sacked += queue->seg_len;
            packets++;
            if (queue->sent_us == 0 && run_end == NULL)
                return "scoreboard: a SACKed packet outside of a run";
            if (queue->sent_us != 0) {
                broken = check_run(queue);
                run_end = run_last(queue);
            }
            if (queue == run_end)
                run_end = NULL;
        } else if (queue->state & RECOVERY_LOST) {
            lost += queue->seg_len;
            if (!met.resend && recovery->resend != NULL)
                return "scoreboard: a lost packet before resend";
        } else {
            pipe += queue->seg_len;
            if (!met.live && recovery->live != NULL)
                return "scoreboard: a packet in flight before live";
            if (queue->sent_us < recovery->oldest_us)
                return "scoreboard: a packet older than the oldest";
        }
    }
    if (broken != NULL)
        return broken;
    if (pipe != recovery->pipe_bytes || lost != recovery->lost_bytes ||
        sacked != recovery->sacked_bytes || packets != recovery->sacked_packets)
        return "scoreboard: counts do not agree with the queue";
    return check_met(recovery, &met);
}

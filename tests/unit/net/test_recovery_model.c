/* Loss recovery over a path that loses, delays, reorders and repeats, against a model of the
 * scoreboard that looks at every packet each time: no runs, hints or bounds kept from before. */
#include "tests/unit/net/recovery_line.h"
#include "tests/unit/dataplane/seed.h"

enum {
    STREAM = 160,       /* packets of one run */
    EVENTS = 4096,      /* on the way at once */
    STEPS_MAX = 100000, /* a run that takes more is stuck */
    ONE_WAY_US = 10000,
};

struct model_packet {
    bool acked, sacked, lost, resent;
    unsigned sends;
    uint64_t sent_us;
    uint32_t stamp;
};

struct model {
    struct model_packet packets[STREAM];
    uint64_t rack_us;
    uint32_t rack_seq, rack_rtt_us, fack, round;
    bool reordering;
    unsigned mult, persist;
};

/* A packet or an ACK on its way. */
struct event {
    uint64_t at_us;
    bool is_ack;
    unsigned packet;
    uint32_t ack, echo;
    unsigned sack_count;
    struct tcp_sack sack[TCP_SACK_BLOCKS_MAX];
};

struct path {
    unsigned loss_percent, ack_loss_percent, jitter_percent, repeat_percent, renege_percent;
    bool made_up_blocks;
};

static struct line line;
static struct model model;
static struct event events[EVENTS];
static unsigned events_count;
static struct seed seed;
static bool received[STREAM];
static uint32_t recent_stamp;
static struct path path;

static bool chance(unsigned percent)
{
    return seed_below(&seed, 100) < percent;
}

static uint32_t end_of(unsigned packet)
{
    return line_seq(&line, packet + 1);
}

/* ---- The model ---- */

static void model_begin(void)
{
    memset(&model, 0, sizeof(model));
    model.rack_seq = model.fack = model.round = line.iss;
    model.mult = 1;
}

static bool model_flying(unsigned i)
{
    const struct model_packet *packet = &model.packets[i];

    return packet->sends != 0 && !packet->acked && !packet->sacked && !packet->lost;
}

static bool later(uint64_t a_us, uint32_t a_seq, uint64_t b_us, uint32_t b_seq)
{
    return a_us > b_us || (a_us == b_us && (int32_t)(a_seq - b_seq) > 0);
}

static void model_arrived(unsigned i, const struct recovery_ack *ack, uint32_t fack_before,
                          uint32_t min_us)
{
    struct model_packet *packet = &model.packets[i];
    uint64_t age_us = ack->now_us - packet->sent_us;

    packet->lost = false;
    if ((int32_t)(end_of(i) - model.fack) > 0)
        model.fack = end_of(i);
    if ((int32_t)(end_of(i) - fack_before) < 0 && !packet->resent)
        model.reordering = true;
    if (packet->sent_us == 0)
        return;
    if (packet->resent && (min_us == 0 || age_us < min_us ||
                           (ack->stamped && (int32_t)(ack->ts_echo - packet->stamp) < 0)))
        return;
    model.rack_rtt_us = age_us != 0 ? (uint32_t)age_us : 1;
    if (later(packet->sent_us, end_of(i), model.rack_us, model.rack_seq)) {
        model.rack_us = packet->sent_us;
        model.rack_seq = end_of(i);
    }
}

static uint64_t model_wait_us(unsigned phase)
{
    uint32_t srtt_us = rtt_smoothed_us(&line.recovery.rtt);
    uint64_t window_us = (uint64_t)model.mult * line.recovery.rtt.min_us / 4;
    unsigned sacked = 0;

    for (unsigned i = 0; i < STREAM; i++)
        sacked += model.packets[i].sacked && !model.packets[i].acked;
    if (!model.reordering && (phase >= RECOVERY_REPAIR || sacked >= 3))
        window_us = 0;
    return model.rack_rtt_us + (window_us < srtt_us ? window_us : srtt_us);
}

static void model_detect(unsigned phase, uint64_t now_us)
{
    uint64_t wait_us = model_wait_us(phase);

    for (unsigned i = 0; i < STREAM; i++) {
        struct model_packet *packet = &model.packets[i];

        if (model_flying(i) && packet->sent_us + wait_us <= now_us &&
            later(model.rack_us, model.rack_seq, packet->sent_us, end_of(i)))
            packet->lost = true;
    }
}

/* Whether the first block is a DSACK; widens the reordering window. */
static bool model_duplicate(const struct recovery_ack *ack)
{
    const struct tcp_sack *a = &ack->sack[0], *b = &ack->sack[1];
    bool below = (int32_t)(a->right - ack->ack) <= 0;
    bool within = ack->sack_count > 1 && (int32_t)(b->left - b->right) < 0 &&
                  (int32_t)(a->left - b->left) >= 0 && (int32_t)(a->right - b->right) <= 0;

    if (ack->sack_count == 0 || (int32_t)(a->left - a->right) >= 0 || (!below && !within))
        return false;
    if ((int32_t)(ack->ack - model.round) >= 0) {
        model.round = line_seq(&line, line.sent);
        model.persist = 16;
        model.mult++;
    }
    return true;
}

static void model_ack(const struct recovery_ack *ack, uint32_t min_us)
{
    uint32_t fack = model.fack, nxt = line_seq(&line, line.sent);

    for (unsigned i = 0; i < line.sent; i++) {
        if (model.packets[i].acked || (int32_t)(end_of(i) - ack->ack) > 0)
            continue;
        if (!model.packets[i].sacked)
            model_arrived(i, ack, fack, min_us);
        model.packets[i].acked = true;
    }
    for (unsigned b = model_duplicate(ack) ? 1 : 0; b < ack->sack_count; b++) {
        const struct tcp_sack *block = &ack->sack[b];

        if ((int32_t)(block->left - block->right) >= 0 || (int32_t)(block->left - ack->ack) <= 0 ||
            (int32_t)(block->right - nxt) > 0)
            continue;
        for (unsigned i = 0; i < line.sent; i++) {
            if (model.packets[i].acked || model.packets[i].sacked ||
                (int32_t)(line_seq(&line, i) - block->left) < 0 ||
                (int32_t)(end_of(i) - block->right) > 0)
                continue;
            model_arrived(i, ack, fack, min_us);
            model.packets[i].sacked = true;
        }
    }
}

static void model_time_out(unsigned phase, uint64_t now_us)
{
    unsigned head = line.gone;

    if (model.packets[head].sacked) {
        for (unsigned i = head; i < line.sent; i++) {
            if (!model.packets[i].sacked)
                continue;
            model.packets[i].sacked = false;
            model.packets[i].resent = true;
            model.packets[i].sent_us = 0;
        }
    }
    for (unsigned i = head; i < line.sent; i++) {
        if (model_flying(i) && (i == head || model.rack_us == 0 ||
                                model.packets[i].sent_us + model_wait_us(phase) <= now_us))
            model.packets[i].lost = true;
    }
}

static void compare(const char *after)
{
    for (unsigned i = line.gone; i < line.sent; i++) {
        const struct model_packet *packet = &model.packets[i];
        unsigned expected = (packet->sacked ? RECOVERY_SACKED : 0u) |
                            (packet->lost ? RECOVERY_LOST : 0u) |
                            (packet->resent ? RECOVERY_RESENT : 0u);

        cr_assert_eq(line_state(&line, i), expected,
                     "seed %lu, %s: packet %u is %x and should be %x", seed.start, after, i,
                     line_state(&line, i), expected);
    }
    cr_assert_eq(line.recovery.reordering, model.reordering, "seed %lu, %s", seed.start, after);
}

/* A packet that was overtaken and not yet long enough has the timer run. */
static void check_timer(void)
{
    for (unsigned i = line.gone; i < line.sent; i++) {
        if (model_flying(i) &&
            later(model.rack_us, model.rack_seq, model.packets[i].sent_us, end_of(i)))
            cr_assert_neq(line.recovery.reorder_deadline_us, 0, "seed %lu: packet %u", seed.start,
                          i);
    }
}

/* ---- The path ---- */

static struct event *event_new(bool is_ack)
{
    struct event *event = &events[events_count++];
    uint64_t delay_us = ONE_WAY_US;

    cr_assert_leq(events_count, EVENTS);
    if (chance(path.jitter_percent))
        delay_us += seed_below(&seed, 2 * ONE_WAY_US);
    *event = (struct event){.at_us = line.now_us + delay_us, .is_ack = is_ack};
    return event;
}

static void path_send(unsigned i)
{
    struct packet *packet = &line.packets[i];
    unsigned copies = chance(path.repeat_percent) ? 2 : 1;

    model.packets[i].resent |= packet->sends != 0;
    model.packets[i].sends++;
    model.packets[i].lost = false;
    model.packets[i].sent_us = line.now_us;
    model.packets[i].stamp = line_ts(&line);
    line_send_packet(&line, packet);
    if (chance(path.loss_percent))
        return;
    while (copies-- > 0) {
        struct event *event = event_new(false);

        event->packet = i;
        event->echo = line_ts(&line);
    }
}

static void path_output(void)
{
    for (;;) {
        struct packet *packet = recovery_lost(&line.recovery, line_queue(&line));

        if (packet == NULL || (recovery_new_first(&line.recovery) && line.sent < STREAM))
            packet = line.sent < STREAM ? &line.packets[line.sent] : NULL;
        if (packet == NULL || !recovery_may_send(&line.recovery, LINE_MSS, line.now_us))
            return;
        if (packet->sends == 0)
            line.sent++;
        path_send((unsigned)(packet - line.packets));
    }
}

static unsigned receiver_next(void)
{
    unsigned next = 0;

    while (next < STREAM && received[next])
        next++;
    return next;
}

static void add_block(struct event *event, unsigned from, unsigned to)
{
    if (event->sack_count < TCP_SACK_BLOCKS_MAX - 1)
        event->sack[event->sack_count++] =
            (struct tcp_sack){line_seq(&line, from), line_seq(&line, to)};
}

/* The block around `newest` first, then others from the top. */
static void receiver_blocks(struct event *event, unsigned next, unsigned newest)
{
    unsigned from = newest, to = newest;

    if (newest > next) {
        while (from > next && received[from - 1])
            from--;
        while (to < STREAM && received[to])
            to++;
        add_block(event, from, to);
    }
    for (unsigned i = STREAM; i-- > next;) {
        unsigned end = i + 1;

        if (!received[i])
            continue;
        while (i > next && received[i - 1])
            i--;
        if (newest <= next || i != from)
            add_block(event, i, end);
    }
}

static void make_up_blocks(struct event *event)
{
    for (unsigned b = event->sack_count; b < TCP_SACK_BLOCKS_MAX; b++) {
        uint32_t left = line.iss + (uint32_t)seed_below(&seed, (line.sent + 4) * LINE_MSS);
        uint32_t len = (uint32_t)seed_below(&seed, 12 * LINE_MSS);

        event->sack[b] = (struct tcp_sack){left, left + len};
        if (chance(10))
            event->sack[b].right = left - len;
        event->sack_count = b + 1;
    }
}

static void receiver_take(const struct event *arrived)
{
    unsigned before = receiver_next(), next;
    bool duplicate = received[arrived->packet];
    struct event *event;

    /* RFC 7323 section 4.3: of the segment that advances the window's left edge. */
    if (arrived->packet <= before)
        recent_stamp = arrived->echo;
    received[arrived->packet] = true;
    if (chance(path.renege_percent)) {
        for (unsigned i = receiver_next(); i < STREAM; i++)
            received[i] = false;
    }
    next = receiver_next();
    if (chance(path.ack_loss_percent))
        return;
    event = event_new(true);
    event->ack = line_seq(&line, next);
    event->echo = recent_stamp;
    if (!line.sack)
        return;
    if (duplicate && path.renege_percent == 0)
        add_block(event, arrived->packet, arrived->packet + 1);
    receiver_blocks(event, next, arrived->packet);
    if (path.made_up_blocks)
        make_up_blocks(event);
}

static void sender_take(const struct event *event)
{
    unsigned phase = line.recovery.phase;
    uint32_t min_us = line.recovery.rtt.min_us, recover = line.recovery.recover;
    struct recovery_ack ack = {
        .ack = event->ack,
        .duplicate = event->ack == line_seq(&line, line.gone),
        .stamped = line.stamps,
        .ts_echo = event->echo,
        .ts_now = line_ts(&line),
        .now_us = line.now_us,
        .sack_count = event->sack_count,
        .sack = event->sack,
    };

    if ((int32_t)(event->ack - line.recovery.una) < 0)
        return;
    line.recovery.credit = RECOVERY_CREDIT_MAX; /* its limit has tests of its own */
    line_take(&line, &ack);
    if (!line.sack)
        return;
    model_ack(&ack, min_us);
    if (line.news.undone) {
        for (unsigned i = 0; i < STREAM; i++)
            model.packets[i].lost = false;
        model.reordering |= phase == RECOVERY_REPAIR;
        phase = RECOVERY_OPEN;
    }
    model_detect(phase, line.now_us);
    if (phase == RECOVERY_REPAIR && (int32_t)(ack.ack - recover) >= 0 && model.persist != 0 &&
        --model.persist == 0)
        model.mult = 1;
    compare("an ACK");
    check_timer();
    cr_assert_eq(line.recovery.reo_mult, model.mult, "seed %lu", seed.start);
}

static void sender_expire(void)
{
    unsigned phase = line.recovery.phase;
    enum recovery_order order = line_expire(&line);

    if (!line.sack) {
        cr_assert_neq(order, RECOVERY_PROBE, "seed %lu: a probe without SACK", seed.start);
        return;
    }
    if (order == RECOVERY_OUTPUT)
        model_detect(phase, line.now_us);
    else if (order == RECOVERY_RTO)
        model_time_out(phase, line.now_us);
    else if (order == RECOVERY_PROBE && line.sent < STREAM && chance(80))
        path_send(line.sent++);
    else if (order == RECOVERY_PROBE && chance(80))
        path_send((unsigned)(recovery_probe(&line.recovery) - line.packets));
    compare("a timer");
    cr_assert_gt(recovery_deadline_us(&line.recovery), line.now_us, "seed %lu: a timer spins",
                 seed.start);
}

/* One event; false: nothing is left to happen. */
static bool step(void)
{
    uint64_t deadline_us = recovery_deadline_us(&line.recovery);
    unsigned first = 0;
    struct event event;

    for (unsigned i = 1; i < events_count; i++) {
        if (events[i].at_us < events[first].at_us)
            first = i;
    }
    if (events_count == 0 || events[first].at_us > deadline_us) {
        if (deadline_us == UINT64_MAX)
            return false;
        sender_expire();
        return true;
    }
    event = events[first];
    events[first] = events[--events_count];
    if (event.at_us > line.now_us)
        line.now_us = event.at_us;
    if (event.is_ack)
        sender_take(&event);
    else
        receiver_take(&event);
    return true;
}

/* Carries the whole stream over. */
static void run(uint64_t number, const struct congestion_ops *ops, bool sack, bool stamps)
{
    unsigned steps = 0;

    seed = seed_new(number);
    line_init(&line, ops, (uint32_t)seed_next(&seed) | 0xfffe0000u, sack, stamps);
    model_begin();
    memset(received, 0, sizeof(received));
    events_count = 0;
    recent_stamp = line_ts(&line);
    path_output();
    while (line.gone < STREAM) {
        cr_assert_lt(steps++, STEPS_MAX, "seed %lu: stuck at packet %u", seed.start, line.gone);
        cr_assert(step(), "seed %lu: nothing happens at packet %u", seed.start, line.gone);
        path_output();
    }
    cr_assert_eq(recovery_deadline_us(&line.recovery), UINT64_MAX);
    cr_assert_eq(line.recovery.pipe_bytes, 0);
}

static void run_all(unsigned count, bool sack)
{
    for (unsigned i = 0; i < count; i++)
        run(i, i % 2 == 0 ? &congestion_cubic : &congestion_newreno, sack, i % 4 < 2);
}

static unsigned resent_packets(void)
{
    unsigned resent = 0;

    for (unsigned i = 0; i < STREAM; i++)
        resent += line.packets[i].sends > 1;
    return resent;
}

Test(recovery_model, a_clean_path_sees_no_packet_twice)
{
    path = (struct path){0};
    run(1, &congestion_cubic, true, true);
    cr_assert_eq(resent_packets(), 0);
    run(1, &congestion_newreno, false, false);
    cr_assert_eq(resent_packets(), 0);
}

Test(recovery_model, only_lost_packets_go_again_where_nothing_is_reordered)
{
    for (unsigned i = 0; i < 50; i++) {
        path = (struct path){.loss_percent = 3};
        run(i, &congestion_cubic, true, true);
        /* Loss of about 5 packets; what is more is a probe or two. */
        cr_assert_leq(resent_packets(), 20, "seed %u: %u", i, resent_packets());
    }
}

Test(recovery_model, loss)
{
    for (unsigned loss = 1; loss <= 30; loss += 4) {
        path = (struct path){.loss_percent = loss, .ack_loss_percent = loss / 2};
        run_all(20, true);
    }
}

Test(recovery_model, reordering)
{
    path = (struct path){.jitter_percent = 20};
    run_all(60, true);
}

Test(recovery_model, loss_reordering_and_repetition)
{
    path = (struct path){.loss_percent = 10,
                         .ack_loss_percent = 10,
                         .jitter_percent = 30,
                         .repeat_percent = 10};
    run_all(150, true);
}

Test(recovery_model, a_receiver_that_throws_away_what_it_sacked)
{
    path = (struct path){.loss_percent = 5, .jitter_percent = 10, .renege_percent = 5};
    run_all(60, true);
}

Test(recovery_model, blocks_made_up_by_a_hostile_peer)
{
    path = (struct path){.loss_percent = 5, .jitter_percent = 10, .made_up_blocks = true};
    run_all(150, true);
}

Test(recovery_model, peers_without_sack)
{
    for (unsigned loss = 0; loss <= 20; loss += 4) {
        path = (struct path){.loss_percent = loss,
                             .ack_loss_percent = loss / 2,
                             .jitter_percent = loss,
                             .repeat_percent = loss / 2};
        run_all(20, false);
    }
}

#include "tests/net/pipe.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/net/chance.h"

enum {
    STEPS_MAX = 400000, /* events of one case */
    CLIENT_PORT = 40001,
    BURST_US = 100000,    /* a burst of losses lasts no longer */
    LIMIT_S = 7200,       /* the longest that a case without losses may take, in its own time */
    TIMEOUT_S = 60,       /* the longest retransmission timeout */
    SEGMENT_LEAST = 500,  /* bytes of payload in a full segment */
    STILL_S = 1000,       /* ... without progress */
    WRITE_AHEAD = 100000, /* bytes that an application lets wait in its connection */
};

static bool fail(struct pipe_world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool fail(struct pipe_world *world, const char *format, ...)
{
    va_list arguments;

    if (world->failure[0] != '\0')
        return false;
    va_start(arguments, format);
    vsnprintf(world->failure, sizeof world->failure, format, arguments);
    va_end(arguments);
    return false;
}

static uint32_t below(struct pipe_world *world, uint32_t limit)
{
    return chance_below(&world->random, limit);
}

static bool happens(struct pipe_world *world, uint32_t of_10000)
{
    return below(world, 10000) < of_10000;
}

bool pipe_create(struct pipe_world *world)
{
    memset(world, 0, sizeof *world);
    world->ports[0] = port_create();
    world->ports[1] = port_create();
    if (lane_create(&world->lane) && world->ports[0] != NULL && world->ports[1] != NULL)
        return true;
    pipe_destroy(world);
    return false;
}

void pipe_destroy(struct pipe_world *world)
{
    port_destroy(world->ports[0]);
    port_destroy(world->ports[1]);
    lane_destroy(&world->lane);
}

/* ---- The pipe ------------------------------------------------------------------------------ */

static void send_copy(struct pipe_world *world, const struct pipe_case *wanted, unsigned to,
                      const uint8_t *bytes, size_t len)
{
    struct lane_frame *frame = lane_copy(&world->lane, to, bytes, len);

    if (frame == NULL) {
        world->lost_frames++;
        return;
    }
    frame->at_us = world->now_us + wanted->latency_us + below(world, wanted->jitter_us);
    if (happens(world, wanted->reorder))
        frame->at_us += 1 + below(world, 3 * (wanted->latency_us + 1000));
    /* Ethernet's own check sum guards its header; ARP has none. */
    if (happens(world, wanted->flip) && frame->bytes[13] != 0x06)
        frame->bytes[14 + below(world, frame->len - 14u)] ^= (uint8_t)(1u << below(world, 8));
    if (happens(world, wanted->truncate))
        frame->len = (uint16_t)(14 + below(world, frame->len - 14u));
    lane_send(&world->lane, frame);
}

/* What holds for each segment, whatever becomes of it on the way: the window is never shrunk nor
 * exceeded (RFC 9293 section 3.8.6), and new data follow the last without a gap. */
static const char *watch(struct pipe_world *world, unsigned from, const struct segment *segment)
{
    struct pipe_view *own = &world->views[from], *other = &world->views[1 - from];
    bool syn = segment->flags & FRAME_SYN;
    unsigned shift = !syn && own->scaled_known && other->scaled_known ? own->wscale : 0;
    uint32_t edge = segment->ack + ((uint32_t)segment->window << shift);
    uint32_t end = segment->seq + (uint32_t)segment->payload_len;

    if (segment->flags & FRAME_RST)
        return NULL;
    if (syn) {
        own->scaled_known = segment->has_wscale;
        own->wscale = segment->wscale;
        own->nxt = segment->seq + 1;
        if (!(segment->flags & FRAME_ACK))
            return NULL;
        /* After the end a late copy of the SYN gets a cookie: nothing was offered with that. */
        if (world->conns[from] != NULL && world->conns[from]->closed)
            own->has_edge = false;
    }
    if (own->has_edge && (int32_t)(edge - own->edge) < 0 && !other->fin)
        return "it shrinks its window";
    own->edge = edge;
    own->has_edge = true;
    /* One byte is a probe. */
    if (segment->payload_len > 1 && other->has_edge && (int32_t)(end - other->edge) > 0)
        return "it sends beyond the window";
    if (segment->payload_len > 0 && (int32_t)(segment->seq - own->nxt) > 0)
        return "it leaves a gap";
    if ((int32_t)(end - own->nxt) > 0)
        own->nxt = end;
    if (segment->flags & FRAME_FIN)
        own->fin = true;
    return NULL;
}

/* FNV-1a. A device that cuts frames counts in IPv4's identification, which says nothing (RFC 6864). */
static void note_frame(struct pipe_world *world, unsigned from, const struct port_frame *sent)
{
    uint64_t hash = (world->digest ^ from ^ world->now_us) * 0x100000001b3u;
    bool v4 = sent->bytes[12] == 0x08 && sent->bytes[13] == 0x00;

    for (unsigned i = 0; i < sent->len; i++)
        if (!v4 || !(i == 18 || i == 19 || i == 24 || i == 25))
            hash = (hash ^ sent->bytes[i]) * 0x100000001b3u;
    world->digest = hash;
}

static bool send_frame(struct pipe_world *world, const struct pipe_case *wanted, unsigned from,
                       const struct port_frame *sent)
{
    struct segment segment;
    char why[FRAME_WHY_MAX];
    enum frame_kind kind = frame_parse(sent->bytes, sent->len, &segment, why);

    world->sent_frames++;
    note_frame(world, from, sent);
    if (kind == FRAME_BAD)
        return fail(world, "side %u sent a malformed frame: %s", from, why);
    /* A second connection begins where the first one did: judge() says whether it may be. */
    if (kind == FRAME_TCP && !world->aborted && world->hosts[0].conns_count < 2) {
        const char *wrong = watch(world, from, &segment);

        if (wrong != NULL)
            return fail(world, "side %u: %s", from, wrong);
    }
    if (world->tracing && kind == FRAME_TCP) {
        char text[200];

        frame_describe(&segment, 0, 0, text, sizeof text);
        printf("%12.3f ms %u: %s\n", (double)world->now_us / 1000, from, text);
    }
    if (world->burst_left[from] > 0 && world->now_us < world->burst_end_us[from]) {
        world->burst_left[from]--;
        world->lost_frames++;
        return true;
    }
    if (happens(world, wanted->drop)) {
        world->burst_left[from] = below(world, wanted->burst_drop + 1);
        world->burst_end_us[from] = world->now_us + BURST_US;
        world->lost_frames++;
        return true;
    }
    send_copy(world, wanted, 1 - from, sent->bytes, sent->len);
    if (happens(world, wanted->duplicate))
        send_copy(world, wanted, 1 - from, sent->bytes, sent->len);
    return true;
}

static void deliver(struct pipe_world *world)
{
    const struct lane_frame *frame;

    while ((frame = lane_take(&world->lane, world->now_us)) != NULL) {
        port_push(world->ports[frame->to], frame->bytes, frame->len, 0);
        lane_drop(&world->lane, frame);
    }
}

/* ---- The applications ------------------------------------------------------------------------ */

static void write_some(struct pipe_world *world, const struct pipe_case *wanted, unsigned side)
{
    struct host_conn *conn = world->conns[side];
    uint64_t left;

    while (conn->conn != NULL && (left = wanted->bytes[side] - conn->written) > 0 &&
           net_conn_stream(conn->conn)->pending_bytes < WRITE_AHEAD) {
        size_t len = 1 + below(world, wanted->chunk);
        uint64_t before = conn->written;

        if (len > left)
            len = left;
        if (below(world, 100) < wanted->pin)
            host_pin(&world->hosts[side], conn, len);
        else
            host_write(&world->hosts[side], conn, len);
        if (conn->written == before)
            return;
    }
    if (conn->conn != NULL && conn->written == wanted->bytes[side] && !world->wrote_all[side]) {
        world->wrote_all[side] = true;
        net_shutdown(world->hosts[side].net, conn->conn);
    }
}

static void read_or_rest(struct pipe_world *world, const struct pipe_case *wanted, unsigned side)
{
    struct host_conn *conn = world->conns[side];
    struct net *net = world->hosts[side].net;

    if (conn->conn == NULL) {
        world->resume_us[side] = 0;
        return;
    }
    if (world->resume_us[side] != 0 && world->resume_us[side] <= world->now_us) {
        world->resume_us[side] = 0;
        net_resume(net, conn->conn);
    } else if (world->resume_us[side] == 0 && happens(world, wanted->pauses)) {
        world->resume_us[side] =
            world->now_us + 1000 + below(world, wanted->pause_ms) * UINT64_C(1000);
        net_pause(net, conn->conn);
    }
}

static void close_or_abort(struct pipe_world *world, const struct pipe_case *wanted, unsigned side)
{
    struct host_conn *conn = world->conns[side];
    struct net *net = world->hosts[side].net;

    if (conn->conn == NULL || world->closed_by_us[side])
        return;
    if (wanted->abort == side + 1 && conn->received >= wanted->abort_at) {
        world->closed_by_us[side] = world->aborted = true;
        net_close(net, conn->conn, NET_CLOSE_NOW);
    } else if (world->wrote_all[side] && conn->ended) {
        world->closed_by_us[side] = true;
        net_close(net, conn->conn, NET_CLOSE_FLUSH);
    }
}

static void run_application(struct pipe_world *world, const struct pipe_case *wanted, unsigned side)
{
    struct host *host = &world->hosts[side];

    if (world->conns[side] == NULL) {
        if (side == 1 || host->conns_count == 0)
            return;
        world->conns[0] = &host->conns[0];
    }
    write_some(world, wanted, side);
    read_or_rest(world, wanted, side);
    close_or_abort(world, wanted, side);
}

/* ---- One case -------------------------------------------------------------------------------- */

static bool set_up_side(struct pipe_world *world, const struct pipe_case *wanted, unsigned side)
{
    struct host *host = &world->hosts[side];
    struct net_options options;

    host_prepare(host, world->ports[side], side + 1, wanted->packets[side],
                 1000000 + world->offset_us[side], wanted->seed * 2u + side, &options);
    world->ports[side]->base.mtu = (uint16_t)wanted->mtu[side];
    world->ports[side]->lazy = wanted->lazy;
    if (wanted->tso[side] != 0)
        port_offer_tso(world->ports[side], wanted->tso[side],
                       wanted->seed % 3 == 0 ? 10000 : PACKET_TSO_BYTES_MAX,
                       wanted->seed % 2 == 0 ? PACKET_TX_IP_CHECKSUM : 0);
    world->ports[side]->fail_every = wanted->fail_every[side];
    options.receive_bytes = wanted->receive[side];
    options.congestion = wanted->newreno ? NET_NEWRENO : NET_CUBIC;
    options.no_sack = wanted->no_sack;
    options.no_timestamps = wanted->no_ts;
    options.no_window_scale = wanted->no_ws;
    options.no_ecn = wanted->no_ecn;
    options.cookies_only = wanted->cookies;
    /* Who waits for the answer to a lost RST learns of it from a keepalive probe. */
    options.keepalive_s = 100;
    if (host_start(host, &options) < 0)
        return fail(world, "net_create failed");
    if (side == 0 && net_listen(host->net, HOST_SERVICE_PORT, HOST_LISTENER_ID) < 0)
        return fail(world, "net_listen failed");
    return true;
}

static bool set_up(struct pipe_world *world, const struct pipe_case *wanted)
{
    struct net_endpoint to = {host_address(1, wanted->v6), HOST_SERVICE_PORT};

    world->now_us = 1000000;
    lane_reset(&world->lane);
    world->random = wanted->seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
    world->conns[0] = world->conns[1] = NULL;
    for (unsigned side = 0; side < 2; side++) {
        world->views[side] = (struct pipe_view){0};
        world->burst_left[side] = 0;
        world->resume_us[side] = 0;
        world->wrote_all[side] = world->closed_by_us[side] = false;
    }
    world->aborted = world->complete = false;
    world->sent_frames = world->lost_frames = world->digest = 0;
    if (!set_up_side(world, wanted, 0) || !set_up_side(world, wanted, 1))
        return false;
    world->conns[1] = host_connect(&world->hosts[1], &to, CLIENT_PORT);
    if (world->conns[1] == NULL)
        return fail(world, "client: %s", world->hosts[1].fault);
    world->conns[1]->in_key = 1;
    world->conns[1]->out_key = 0;
    return true;
}

static uint64_t next_time(const struct pipe_world *world)
{
    uint64_t next_us = lane_next_us(&world->lane);

    for (unsigned side = 0; side < 2; side++) {
        uint64_t due_us = net_next_deadline_us(world->hosts[side].net);

        if (due_us != UINT64_MAX && due_us > world->offset_us[side])
            due_us -= world->offset_us[side];
        if (due_us < next_us)
            next_us = due_us;
        if (world->resume_us[side] != 0 && world->resume_us[side] < next_us)
            next_us = world->resume_us[side];
    }
    return next_us <= world->now_us ? world->now_us + 1 : next_us;
}

/* Everything that is due at this time, on both sides. */
static bool step(struct pipe_world *world, const struct pipe_case *wanted)
{
    deliver(world);
    for (unsigned side = 0; side < 2; side++) {
        struct host *host = &world->hosts[side];
        const struct port_frame *sent;

        host->now_us = world->now_us + world->offset_us[side];
        host_poll(host);
        run_application(world, wanted, side);
        host_poll(host);
        while ((sent = port_pop(world->ports[side])) != NULL) {
            if (!send_frame(world, wanted, side, sent))
                return false;
        }
        if (host->fault[0] != '\0')
            return fail(world, "side %u: %s", side, host->fault);
    }
    return true;
}

static bool over(const struct pipe_world *world)
{
    for (unsigned i = 0; i < world->hosts[0].conns_count; i++) {
        if (!world->hosts[0].conns[i].closed)
            return false;
    }
    return world->conns[1]->closed;
}

static uint64_t progress(const struct pipe_world *world)
{
    uint64_t sum = 0;

    for (unsigned side = 0; side < 2; side++) {
        const struct host_conn *conn = world->conns[side];

        if (conn != NULL)
            sum +=
                2 + conn->received + conn->written + conn->ended + conn->closed + conn->connected;
    }
    return sum;
}

static bool judge(struct pipe_world *world, const struct pipe_case *wanted)
{
    const struct host_conn *server = world->conns[0], *client = world->conns[1];
    bool lossy = wanted->drop > 0 || wanted->fail_every[0] > 0 || wanted->fail_every[1] > 0 ||
                 wanted->flip > 0 || wanted->truncate > 0;

    if (server == NULL) {
        /* The handshake may drown. */
        if (client->error == ETIMEDOUT && lossy)
            return true;
        return world->aborted || lossy || wanted->cookies ||
               fail(world, "no connection was accepted; the client's error is %d", client->error);
    }
    /* A cookie is good once, whatever comes late or twice. */
    if (world->hosts[0].conns_count > 1)
        return fail(world, "one SYN opened %u connections", world->hosts[0].conns_count);
    for (unsigned side = 0; side < 2; side++) {
        const struct host_conn *conn = world->conns[side];

        if (conn->received > wanted->bytes[1 - side])
            return fail(world, "side %u received more than was sent", side);
        if (world->aborted)
            continue;
        if (conn->error != 0) {
            /* Heavy loss may outlast fifteen resends; a pool that fails may break an output. */
            if ((conn->error == ETIMEDOUT || conn->error == ECONNRESET) && wanted->drop > 1500)
                return true;
            /* A cookie is in the first segment alone: those that overtake it are refused. */
            if (conn->error == ECONNRESET && wanted->cookies)
                return true;
            if ((conn->error == ENOBUFS || conn->error == ECONNRESET) && lossy &&
                (wanted->fail_every[0] > 0 || wanted->fail_every[1] > 0))
                return true;
            return fail(world, "side %u ended with error %d", side, conn->error);
        }
        if (conn->received != wanted->bytes[1 - side] || !conn->ended)
            return fail(world, "side %u received %llu of %u bytes%s", side,
                        (unsigned long long)conn->received, wanted->bytes[1 - side],
                        conn->ended ? "" : " and no end");
    }
    world->complete = !world->aborted;
    return true;
}

/* The longest that a case may take, s. Without SACK and timestamps nothing tells the timeout that
 * it has grown too long but a segment that gets through the first time (RFC 6298 section 3), so
 * each one that is lost may cost the longest timeout there is. */
static uint64_t limit_s(const struct pipe_case *wanted)
{
    uint64_t segments = 2 + (wanted->bytes[0] + wanted->bytes[1]) / SEGMENT_LEAST;
    uint64_t lost = wanted->drop * (UINT64_C(2) + wanted->burst_drop) / 2; /* of 10,000 */

    if (wanted->limit_s != 0)
        return wanted->limit_s;
    lost += wanted->flip + wanted->truncate;
    for (unsigned side = 0; side < 2; side++) {
        if (wanted->fail_every[side] != 0)
            lost += 10000 / wanted->fail_every[side];
    }
    if (lost > 10000)
        lost = 10000;
    return LIMIT_S + segments * lost * TIMEOUT_S / 10000;
}

static bool play(struct pipe_world *world, const struct pipe_case *wanted)
{
    uint64_t last_progress = 0, progress_us = world->now_us;

    for (unsigned steps = 0;; steps++) {
        if (!step(world, wanted))
            return false;
        if (over(world))
            break;
        if (progress(world) != last_progress) {
            last_progress = progress(world);
            progress_us = world->now_us;
        }
        if (world->now_us - progress_us > STILL_S * UINT64_C(1000000) && wanted->pause_ms < 60000)
            return fail(world, "no progress for %d s at %llu ms", STILL_S,
                        (unsigned long long)world->now_us / 1000);
        if (world->now_us > limit_s(wanted) * 1000000 || steps == STEPS_MAX)
            return fail(world, "no end after %llu ms and %u steps",
                        (unsigned long long)world->now_us / 1000, steps);
        if (next_time(world) == UINT64_MAX)
            return fail(world, "both sides wait for ever");
        world->now_us = next_time(world);
    }
    return judge(world, wanted);
}

/* TIME-WAIT and half-open connections end too, and then nothing is left. */
static bool rest(struct pipe_world *world, const struct pipe_case *wanted)
{
    uint64_t end_us = world->now_us + UINT64_C(300000000);

    for (unsigned steps = 0; world->now_us < end_us; steps++) {
        if (steps == STEPS_MAX)
            return fail(world, "no rest after the end");
        uint64_t next_us = next_time(world);

        world->now_us = next_us < end_us ? next_us : end_us;
        if (!step(world, wanted))
            return false;
    }
    for (unsigned side = 0; side < 2; side++) {
        const struct net_counters *counters = net_counters(world->hosts[side].net);

        if (counters->connections != 0 || counters->time_wait != 0 || counters->half_open != 0)
            return fail(world, "side %u keeps %u connections, %u in TIME-WAIT, %u half-open", side,
                        (unsigned)counters->connections, (unsigned)counters->time_wait,
                        (unsigned)counters->half_open);
    }
    return true;
}

/* The first SYN or SYN-ACK of a side tells its ISN at this time; the clock of RFC 6528 then shows
 * how much later the ISN would be the wanted one. */
static bool find_offset(struct pipe_world *world, unsigned side, uint32_t wanted_isn)
{
    const struct port_frame *sent;
    struct segment segment;
    char why[FRAME_WHY_MAX];

    while ((sent = port_pop(world->ports[side])) != NULL) {
        if (frame_parse(sent->bytes, sent->len, &segment, why) == FRAME_TCP &&
            (segment.flags & FRAME_SYN)) {
            world->offset_us[side] = (uint64_t)(wanted_isn - segment.seq) * 4;
            return true;
        }
    }
    return false;
}

static bool find_offsets(struct pipe_world *world, const struct pipe_case *wanted)
{
    struct pipe_case calm = *wanted;
    bool found[2] = {false, false};

    world->offset_us[0] = world->offset_us[1] = 0;
    if (wanted->wrap == 0)
        return true;
    calm.fail_every[0] = calm.fail_every[1] = calm.cookies = 0;
    if (!set_up(world, &calm))
        return false;
    /* ARP or neighbour discovery, SYN, SYN-ACK: a few exchanges without loss. */
    for (unsigned turn = 0; turn < 8 && !(found[0] && found[1]); turn++) {
        for (unsigned side = 0; side < 2; side++) {
            struct port *port = world->ports[side], *other = world->ports[1 - side];
            unsigned waiting;

            host_poll(&world->hosts[side]);
            waiting = port->sent_count;
            for (unsigned i = 0; i < waiting; i++) {
                const struct port_frame *sent = &port->sent[(port->sent_first + i) % PORT_SENT_MAX];

                port_push(other, sent->bytes, sent->len, 0);
            }
            found[side] = found[side] || find_offset(world, side, 0u - wanted->wrap);
            port->sent_count = 0;
        }
    }
    host_stop(&world->hosts[0]);
    host_stop(&world->hosts[1]);
    return (found[0] && found[1]) || fail(world, "no SYN-ACK over a calm line");
}

bool pipe_run(struct pipe_world *world, const struct pipe_case *wanted)
{
    world->failure[0] = '\0';
    if (!find_offsets(world, wanted))
        return false;
    if (set_up(world, wanted) && play(world, wanted))
        rest(world, wanted);
    for (unsigned side = 0; side < 2; side++) {
        host_stop(&world->hosts[side]);
        if (world->failure[0] == '\0' && world->hosts[side].fault[0] != '\0')
            fail(world, "side %u at the end: %s", side, world->hosts[side].fault);
    }
    return world->failure[0] == '\0';
}

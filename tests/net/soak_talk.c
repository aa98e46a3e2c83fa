/* What the applications do: plans, requests and replies, and how it all ends. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/net/soak.h"
#include "tests/net/soak_inside.h"

enum {
    SERVER,
    CLIENT,
    PORT_FIRST = 20000,
    PORTS = 40000,
    OPEN_TRIES = 8,
    RETRY_US = 20000,           /* for memory that was not there */
    WRAP_NEAR = 200000,         /* bytes before a number wraps that a connection may be made for */
    WRAP_FAR = 2000000,         /* ... and it gives up */
    TIMESTAMP_NEAR_MS = 120000, /* the same of timestamps */
    VANISHED_US = 40 * 60000000u, /* by then the server has noticed */
    PAUSE_MS = 30000,
    PIN_OF_100 = 15,
    PIECE_MAX = 40000,
    DEAF_BYTES = 600000,
    PATTERN_OF_REPLIES = 0x5a000000,
};

static uint32_t plan_check(const struct soak_plan *plan)
{
    uint32_t sum = 0x811c9dc5;
    const uint32_t words[] = {plan->id, plan->request, plan->reply, plan->last, plan->ending};

    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        sum = (sum ^ words[i]) * 0x01000193;
    return sum;
}

static void due(struct soak_world *world, unsigned side, struct soak_end *end, uint64_t at_us)
{
    if (at_us < end->due_us)
        end->due_us = at_us;
    if (at_us < world->sides[side].due_us)
        world->sides[side].due_us = at_us;
}

/* ---- Plans ----------------------------------------------------------------------------------- */

static uint32_t choose_bytes(struct soak_world *world)
{
    return soak_chance(world, 600)   ? 1 + soak_below(world, 200)
           : soak_chance(world, 800) ? 1 + soak_below(world, 5000)
           : soak_chance(world, 900) ? 1 + soak_below(world, 60000)
                                     : 1 + soak_below(world, 300000);
}

static uint32_t choose_think_us(struct soak_world *world)
{
    return soak_chance(world, 500)   ? 0
           : soak_chance(world, 500) ? 50000
           : soak_chance(world, 600) ? 5000000
           : soak_chance(world, 800) ? 300 * 1000000u
                                     : 3600 * 1000000u;
}

static enum soak_ending choose_ending(struct soak_world *world)
{
    return soak_chance(world, 250)   ? SOAK_HALF_CLOSE
           : soak_chance(world, 400) ? SOAK_CLOSE
           : soak_chance(world, 300) ? SOAK_SERVER_CLOSES
           : soak_chance(world, 250) ? SOAK_SERVER_RESETS
           : soak_chance(world, 650) ? SOAK_RESET
           : soak_chance(world, 700) ? SOAK_VANISH
                                     : SOAK_HALF_OPEN;
}

static void choose_plan(struct soak_world *world, struct soak_end *end)
{
    struct soak_plan *plan = &end->plan;

    plan->id = world->next_id++;
    plan->ending = choose_ending(world);
    plan->request = choose_bytes(world);
    plan->reply = choose_bytes(world);
    end->requests = 1 + soak_below(world, soak_chance(world, 100) ? 60 : 6);
    end->depth = soak_chance(world, 700) ? 1 : 1 + soak_below(world, 20);
    end->think_us = choose_think_us(world);
    if (plan->ending == SOAK_SERVER_CLOSES || plan->ending == SOAK_SERVER_RESETS)
        plan->last = end->requests;
    if (plan->ending == SOAK_VANISH && soak_chance(world, 200)) {
        /* More than the window holds: the server probes it when the client is gone. */
        end->deaf = true;
        end->requests = 1;
        plan->reply = DEAF_BYTES;
    }
    plan->check = plan_check(plan);
}

/* One that is to carry numbers past their end: as many bytes as that takes. */
static void choose_long_plan(struct soak_world *world, struct soak_end *end)
{
    struct soak_plan *plan = &end->plan;

    plan->ending = soak_chance(world, 500) ? SOAK_HALF_CLOSE : SOAK_CLOSE;
    plan->last = 0;
    plan->request = 2000 + soak_below(world, 20000);
    plan->reply = 2000 + soak_below(world, 20000);
    end->depth = 1 + soak_below(world, 3);
    end->think_us = 0;
    end->deaf = false;
    plan->check = plan_check(plan);
}

/* How many requests it takes until both numbers, this far from their end, have passed it. */
static void plan_wrap(struct soak_world *world, struct soak_end *end)
{
    struct net_info info;

    net_info(world->sides[CLIENT].host.net, end->conn, &info);
    uint32_t ours = 0u - info.snd_una, theirs = 0u - info.rcv_nxt, least = UINT32_MAX;

    if (ours < WRAP_FAR)
        least = 2 + ours / end->plan.request;
    if (theirs < WRAP_FAR && 2 + theirs / end->plan.reply < least)
        least = 2 + theirs / end->plan.reply;
    end->sequence_wraps = least != UINT32_MAX;
    if (end->sequence_wraps)
        end->requests = least;
}

/* One whose timestamps are about to wrap: a request now and then, until they have. */
static void plan_timestamps(struct soak_end *end, uint32_t left_ms)
{
    end->think_us = 10 * 1000000u;
    end->requests = 4 + left_ms / 4000;
    end->plan.request = end->plan.reply = 1000;
    end->plan.check = plan_check(&end->plan);
}

/* The flow as `side` sees it. */
static struct net_flow flow_of(unsigned side, bool v6, uint16_t port)
{
    struct net_flow flow = {.local = host_address(side + 1, v6),
                            .remote = host_address(2 - side, v6)};

    flow.local_port = side == CLIENT ? port : HOST_SERVICE_PORT;
    flow.remote_port = side == CLIENT ? HOST_SERVICE_PORT : port;
    return flow;
}

static bool port_is_free(const struct soak_world *world, uint16_t port)
{
    if (world->black[port / 8] & 1u << port % 8)
        return false;
    for (unsigned i = 0; i < world->sides[CLIENT].ends_count; i++) {
        if (world->sides[CLIENT].ends[i].used && world->sides[CLIENT].ends[i].port == port)
            return false;
    }
    return true;
}

/* A port on which the sequence numbers of one side are about to wrap, 0: there is none now. The
 * numbers are hashes, so some of so many are near. */
static uint16_t wrapping_port(struct soak_world *world, bool v6)
{
    unsigned side = soak_below(world, 2);
    const struct net *net = world->sides[side].host.net;
    uint32_t first = soak_below(world, PORTS);

    for (uint32_t i = 0; i < PORTS; i++) {
        uint16_t port = (uint16_t)(PORT_FIRST + (first + i) % PORTS);
        struct net_flow flow = flow_of(side, v6, port);

        /* The clock of the numbers goes on until the other side has answered. */
        uint32_t left = 0u - soak_sequence(net, &flow, world->sides[side].host.now_us);
        if (left > WRAP_NEAR / 4 && left < WRAP_NEAR && port_is_free(world, port))
            return port;
    }
    return 0;
}

static uint16_t timestamp_port(struct soak_world *world, bool v6, uint32_t *left_ms)
{
    unsigned side = soak_below(world, 2);
    const struct soak_side *at = &world->sides[side];
    uint32_t first = soak_below(world, PORTS);

    for (uint32_t i = 0; i < PORTS; i++) {
        uint16_t port = (uint16_t)(PORT_FIRST + (first + i) % PORTS);
        struct net_flow flow = flow_of(side, v6, port);

        *left_ms = 0u - soak_timestamp(at->host.net, &flow, at->host.now_us);
        if (*left_ms < TIMESTAMP_NEAR_MS && port_is_free(world, port))
            return port;
    }
    return 0;
}

static struct soak_end *free_end(struct soak_side *side)
{
    for (unsigned i = 0; i < side->ends_count; i++) {
        if (!side->ends[i].used)
            return &side->ends[i];
    }
    return NULL;
}

void soak_open(struct soak_world *world)
{
    struct soak_side *side = &world->sides[CLIENT];
    struct soak_end *end = free_end(side);
    bool v6 = soak_chance(world, 400), wraps = soak_chance(world, 20);
    bool stamps = !wraps && soak_chance(world, 5);
    struct net_endpoint to = {host_address(1, v6), HOST_SERVICE_PORT};
    uint32_t left_ms = 0;

    if (end == NULL)
        return;
    *end = (struct soak_end){.due_us = UINT64_MAX, .planned = true, .excused = soak_harsh(world)};
    choose_plan(world, end);
    end->port = wraps ? wrapping_port(world, v6) : stamps ? timestamp_port(world, v6, &left_ms) : 0;
    if (end->port != 0) {
        choose_long_plan(world, end);
        if (stamps)
            plan_timestamps(end, left_ms);
        end->sequence_wraps = wraps;
        end->wrap_us = stamps ? world->now_us + left_ms * UINT64_C(1000) : 0;
    }
    for (unsigned tries = 0; end->conn == NULL && tries < OPEN_TRIES; tries++) {
        /* Of few: the same one comes again soon, in TIME-WAIT on one of the sides. */
        if (end->port == 0 || tries > 0)
            end->port = (uint16_t)(PORT_FIRST + soak_below(world, 3 * SOAK_TALKS_MAX));
        if (!port_is_free(world, end->port) ||
            net_connect(side->host.net, &to, end->port, end, &end->conn) < 0)
            end->conn = NULL;
    }
    if (end->conn == NULL)
        return;
    end->used = true;
    world->counts.opened++;
    world->counts.endings[end->plan.ending]++;
    if (end->plan.ending == SOAK_HALF_OPEN)
        due(world, CLIENT, end, world->now_us + 500);
}

/* ---- The end --------------------------------------------------------------------------------- */

/* Nothing passes to or from the client's port any more; the stack forgets the connection, and what
 * it sends of that is not heard. */
static void vanish(struct soak_world *world, struct soak_end *end)
{
    soak_set_black(world, end->port, true);
    end->black_until_us = world->now_us + VANISHED_US;
    net_close(world->sides[CLIENT].host.net, end->conn, NET_CLOSE_NOW);
    end->shut = true;
    due(world, CLIENT, end, end->black_until_us);
}

static bool whole(const struct soak_end *end)
{
    return end->received == (uint64_t)end->requests * end->plan.reply;
}

/* Whether a client's connection ended as planned. */
static bool client_fine(struct soak_world *world, const struct soak_end *end)
{
    switch ((enum soak_ending)end->plan.ending) {
    case SOAK_HALF_CLOSE:
    case SOAK_CLOSE:
    case SOAK_SERVER_CLOSES:
        if (end->error == 0 && whole(end)) {
            world->counts.completed++;
            world->counts.sequence_wraps += end->sequence_wraps;
            world->counts.timestamp_wraps += end->wrap_us != 0 && world->now_us > end->wrap_us;
            return true;
        }
        return false;
    case SOAK_SERVER_RESETS:
        /* With nothing unsent it is a FIN. */
        world->counts.resets += end->error == ECONNRESET;
        return end->error == ECONNRESET || (end->error == 0 && end->ended && whole(end));
    default:
        return end->error == 0;
    }
}

/* The server has nothing of a client any more that vanished long ago. */
static void look_for_vanished(struct soak_world *world, struct soak_end *end)
{
    soak_set_black(world, end->port, false);
    for (unsigned v6 = 0; v6 < 2; v6++) {
        struct net_flow flow = flow_of(SERVER, v6, end->port);

        if (world->sides[SERVER].asleep_until_us == 0 &&
            net_find(world->sides[SERVER].host.net, &flow) != NULL)
            soak_fail(world, "port %u vanished long ago, and the server has not noticed",
                      end->port);
    }
    end->used = false;
}

static void client_closed(struct soak_world *world, struct soak_end *end)
{
    if (end->plan.ending == SOAK_VANISH)
        world->counts.vanished++;
    if (end->plan.ending == SOAK_HALF_OPEN)
        world->counts.half_open++;
    if (end->excused)
        world->counts.excused++;
    /* Three probes in a row, or their answers, are lost once in a while. */
    else if (end->error == ETIMEDOUT && world->counts.probed_away <= world->counts.opened / 2000)
        world->counts.probed_away++;
    else if (!client_fine(world, end))
        soak_fail(world,
                  "connection %u from port %u, ending %u: error %d, %llu bytes of %u * %u, "
                  "%u asked",
                  end->plan.id, end->port, end->plan.ending, end->error,
                  (unsigned long long)end->received, end->requests, end->plan.reply, end->asked);
    if (end->black_until_us == 0)
        end->used = false;
}

static void server_closed(struct soak_world *world, struct soak_end *end)
{
    bool orderly = end->plan.ending <= SOAK_SERVER_CLOSES;

    end->used = false;
    if (!end->planned || end->excused || end->forgotten || !orderly || end->error == ETIMEDOUT)
        return;
    if (end->error != 0 || !end->ended || end->written != end->owed ||
        (end->received - SOAK_PRELUDE) % end->plan.request != 0)
        soak_fail(world,
                  "connection %u at the server, ending %u: error %d, %llu in, %llu of %llu out%s",
                  end->plan.id, end->plan.ending, end->error, (unsigned long long)end->received,
                  (unsigned long long)end->written, (unsigned long long)end->owed,
                  end->ended ? "" : ", no end");
}

/* ---- Bytes ----------------------------------------------------------------------------------- */

static void check_bytes(struct soak_world *world, struct soak_end *end, uint32_t key,
                        const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] != host_pattern(key, end->received + i)) {
            soak_fail(world, "connection %u, port %u: byte %llu is wrong", end->plan.id, end->port,
                      (unsigned long long)(end->received + i));
            return;
        }
    }
}

/* What the client's stream begins with. Returns how many bytes of `data` that were. */
static size_t take_prelude(struct soak_world *world, struct soak_end *end, const uint8_t *data,
                           size_t len)
{
    size_t part = SOAK_PRELUDE - end->received;

    if (part > len)
        part = len;
    memcpy(end->prelude + end->received, data, part);
    end->received += part;
    if (end->received < SOAK_PRELUDE)
        return part;
    memcpy(&end->plan, end->prelude, sizeof end->plan);
    end->planned = true;
    if (end->plan.check != plan_check(&end->plan) || end->plan.id >= world->next_id)
        soak_fail(world, "port %u: a stream begins with wrong bytes", end->port);
    return part;
}

static void server_bytes(struct soak_world *world, struct soak_end *end, const uint8_t *data,
                         size_t len)
{
    if (!end->planned) {
        size_t part = take_prelude(world, end, data, len);

        data += part;
        len -= part;
        if (!end->planned || world->failure[0] != '\0')
            return;
    }
    check_bytes(world, end, end->plan.id, data, len);
    end->received += len;
    uint64_t asked = (end->received - SOAK_PRELUDE) / end->plan.request;
    if (end->plan.last != 0 && asked > end->plan.last)
        asked = end->plan.last;
    end->owed = asked * end->plan.reply;
}

static void client_bytes(struct soak_world *world, struct soak_end *end, const uint8_t *data,
                         size_t len)
{
    check_bytes(world, end, end->plan.id ^ PATTERN_OF_REPLIES, data, len);
    end->received += len;
    if (end->received > (uint64_t)end->asked * end->plan.reply)
        soak_fail(world, "connection %u: more was answered than asked", end->plan.id);
}

/* The byte at a place of what this end sends: the plan, then the pattern. */
static void fill(const struct soak_end *end, unsigned side, uint8_t *at, size_t len)
{
    uint64_t from = end->written;

    if (side == SERVER) {
        host_fill(at, len, end->plan.id ^ PATTERN_OF_REPLIES, from);
        return;
    }
    for (; len > 0 && from < SOAK_PRELUDE; len--, from++)
        *at++ = ((const uint8_t *)&end->plan)[from];
    host_fill(at, len, end->plan.id, from);
}

/* Memory that is sent where it lies. */
static bool write_pinned(struct soak_world *world, unsigned side, struct soak_end *end, size_t len)
{
    struct host *host = &world->sides[side].host;
    uint8_t *bytes = host_pin_memory(host, len);

    if (bytes == NULL)
        return false;
    fill(end, side, bytes, len);
    return host_pin_append(host, end->conn, bytes, len);
}

static bool write_copied(struct soak_world *world, unsigned side, struct soak_end *end, size_t len)
{
    struct net *net = world->sides[side].host.net;
    size_t room;
    uint8_t *at = net_reserve(net, end->conn, len, &room);

    if (at == NULL)
        return false;
    fill(end, side, at, len);
    net_commit(net, end->conn, len);
    return true;
}

/* Up to what is owed, as far as the connection should hold it. False: it is gone. */
static bool write_owed(struct soak_world *world, unsigned side, struct soak_end *end)
{
    struct net *net = world->sides[side].host.net;

    while (end->conn != NULL && end->written < end->owed) {
        size_t len = end->owed - end->written;
        bool pinned = soak_below(world, 100) < PIN_OF_100;

        if (net_conn_stream(end->conn)->pending_bytes >= SOAK_WRITE_AHEAD) {
            net_notify_drained(net, end->conn);
            return true;
        }
        if (len > (pinned ? PIECE_MAX : NET_RESERVE_MAX))
            len = pinned ? PIECE_MAX : NET_RESERVE_MAX;
        if (!(pinned ? write_pinned(world, side, end, len) : write_copied(world, side, end, len))) {
            due(world, side, end, world->now_us + RETRY_US);
            return true;
        }
        end->written += len;
        world->counts.bytes += len;
    }
    return end->conn != NULL;
}

/* ---- Acting ---------------------------------------------------------------------------------- */

static void pause_or_resume(struct soak_world *world, unsigned side, struct soak_end *end)
{
    struct net *net = world->sides[side].host.net;

    if (end->deaf) {
        net_pause(net, end->conn);
        return;
    }
    if (end->paused && (end->pause_until_us <= world->now_us || world->draining)) {
        end->paused = false;
        net_resume(net, end->conn);
    } else if (!end->paused && !world->draining && soak_chance(world, 3)) {
        end->paused = true;
        end->pause_until_us = world->now_us + 1000 + soak_below(world, PAUSE_MS) * UINT64_C(1000);
        net_pause(net, end->conn);
    }
    if (end->paused)
        due(world, side, end, end->pause_until_us);
}

static void ask(struct soak_world *world, struct soak_end *end)
{
    while (end->asked < end->requests && world->now_us >= end->ask_us &&
           end->received + (uint64_t)end->depth * end->plan.reply >
               (uint64_t)end->asked * end->plan.reply) {
        if (end->asked == 0)
            end->owed = SOAK_PRELUDE;
        end->asked++;
        end->owed += end->plan.request;
        world->counts.requests++;
        if (end->think_us != 0 && !world->draining)
            end->ask_us = world->now_us + soak_below(world, end->think_us);
    }
    if (end->asked < end->requests && end->ask_us > world->now_us)
        due(world, CLIENT, end, end->ask_us);
}

static void end_client(struct soak_world *world, struct soak_end *end)
{
    struct net *net = world->sides[CLIENT].host.net;
    bool asked = end->asked == end->requests && end->written == end->owed;

    switch ((enum soak_ending)end->plan.ending) {
    case SOAK_HALF_CLOSE:
        if (asked && !end->shut)
            net_shutdown(net, end->conn);
        end->shut |= asked;
        if (end->ended)
            net_close(net, end->conn, NET_CLOSE_FLUSH);
        break;
    case SOAK_CLOSE:
        if ((asked && whole(end)) || end->ended)
            net_close(net, end->conn, NET_CLOSE_FLUSH);
        break;
    case SOAK_SERVER_CLOSES:
    case SOAK_SERVER_RESETS:
        if (end->ended)
            net_close(net, end->conn, NET_CLOSE_FLUSH);
        break;
    case SOAK_RESET:
        if (end->asked == end->requests && soak_chance(world, 300))
            net_close(net, end->conn, NET_CLOSE_NOW);
        else if (end->asked == end->requests)
            due(world, CLIENT, end, world->now_us + 1 + soak_below(world, 20000));
        break;
    case SOAK_VANISH:
        if (!end->shut && end->asked == end->requests && soak_chance(world, 300))
            vanish(world, end);
        else if (!end->shut && end->asked == end->requests)
            due(world, CLIENT, end, world->now_us + 1 + soak_below(world, 20000));
        break;
    default:
        break;
    }
}

static void act_client(struct soak_world *world, struct soak_end *end)
{
    if (end->black_until_us != 0) {
        if (end->conn == NULL && world->now_us >= end->black_until_us)
            look_for_vanished(world, end);
        else
            due(world, CLIENT, end,
                end->black_until_us > world->now_us ? end->black_until_us
                                                    : world->now_us + RETRY_US);
        return;
    }
    if (end->conn == NULL)
        return;
    if (end->plan.ending == SOAK_HALF_OPEN) {
        vanish(world, end);
        return;
    }
    if (!end->connected)
        return;
    if (world->draining)
        end->ask_us = 0;
    pause_or_resume(world, CLIENT, end);
    ask(world, end);
    if (write_owed(world, CLIENT, end))
        end_client(world, end);
}

static void act_server(struct soak_world *world, struct soak_end *end)
{
    struct net *net = world->sides[SERVER].host.net;

    if (end->conn == NULL)
        return;
    pause_or_resume(world, SERVER, end);
    if (!write_owed(world, SERVER, end) || end->written != end->owed)
        return;
    bool last = end->planned && end->plan.last != 0 &&
                end->written == (uint64_t)end->plan.last * end->plan.reply;
    if (last && end->plan.ending == SOAK_SERVER_RESETS) {
        net_close(net, end->conn, NET_CLOSE_NOW);
    } else if (last && !end->shut) {
        /* Not by close: what it hears from then on should be the client's end. */
        net_shutdown(net, end->conn);
        end->shut = true;
    }
    /* The client's stack must not wait for such a server, nor the server for such a client. */
    if (end->ended && end->plan.ending == SOAK_CLOSE && soak_chance(world, 30))
        end->forgotten = true;
    if (end->ended && !end->forgotten)
        net_close(net, end->conn, NET_CLOSE_FLUSH);
}

void soak_act(struct soak_world *world, unsigned side)
{
    struct soak_side *at = &world->sides[side];

    if (at->due_us > world->now_us)
        return;
    at->due_us = UINT64_MAX;
    for (unsigned i = 0; i < at->ends_count; i++) {
        struct soak_end *end = &at->ends[i];

        if (!end->used)
            continue;
        if (end->due_us <= world->now_us) {
            end->due_us = UINT64_MAX;
            if (side == CLIENT)
                act_client(world, end);
            else
                act_server(world, end);
        }
        if (end->used && end->due_us < at->due_us)
            at->due_us = end->due_us;
    }
}

/* ---- Events ---------------------------------------------------------------------------------- */

/* What may happen to a client's connection may happen to the server's. */
static bool client_excused(const struct soak_world *world, uint16_t port)
{
    for (unsigned i = 0; i < world->sides[CLIENT].ends_count; i++) {
        const struct soak_end *end = &world->sides[CLIENT].ends[i];

        if (end->used && end->port == port)
            return end->excused;
    }
    return true; /* it has gone already */
}

static void accepted(struct soak_world *world, const struct net_event *event)
{
    struct soak_end *end = free_end(&world->sides[SERVER]);
    struct net_endpoint peer;

    net_conn_stream(event->conn)->user = end;
    if (end == NULL) {
        soak_fail(world, "more connections at the server than can be");
        return;
    }
    net_peer(event->conn, &peer);
    *end = (struct soak_end){.used = true,
                             .connected = true,
                             .conn = event->conn,
                             .port = peer.port,
                             .due_us = UINT64_MAX,
                             .excused = soak_harsh(world) || client_excused(world, peer.port)};
}

void soak_event(struct soak_world *world, unsigned side, const struct net_event *event)
{
    struct soak_end *end;

    if (event->kind == NET_ACCEPTED) {
        accepted(world, event);
        return;
    }
    end = net_conn_stream(event->conn)->user;
    if (end == NULL)
        return;
    if (!end->used || end->conn != event->conn) {
        soak_fail(world, "an event of a connection that is over");
        return;
    }
    due(world, side, end, world->now_us);
    switch (event->kind) {
    case NET_CONNECTED:
        end->connected = true;
        if (end->sequence_wraps)
            plan_wrap(world, end);
        break;
    case NET_BYTES:
        if (end->ended)
            soak_fail(world, "bytes after the end");
        if (side == CLIENT)
            client_bytes(world, end, event->data, event->len_bytes);
        else
            server_bytes(world, end, event->data, event->len_bytes);
        break;
    case NET_END:
        end->ended = true;
        break;
    case NET_CLOSED:
        end->conn = NULL;
        end->error = event->error;
        if (side == CLIENT)
            client_closed(world, end);
        else
            server_closed(world, end);
        break;
    default:
        break;
    }
}

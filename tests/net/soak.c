/* The world of the soak: network, weather, clocks, and the count of what is left. */
#include "tests/net/soak.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/net/chance.h"
#include "tests/net/soak_inside.h"

enum {
    SERVER,
    CLIENT,
    PACKETS = 1024,
    CONNECTIONS = 1100,
    HALF_OPEN = 128,
    TIME_WAITS = 2000,
    KEEPALIVE_S = 120,
    LATENCY_US = 300,
    JITTER_US = 200,
    OPEN_MEAN_MS = 1000,
    CHECK_EACH = 128, /* steps between two looks at everything */
    POLLS_MAX = 400,
    STILL_STEPS_MAX = 100000, /* at one time */
    FLOOD_EACH_US = 100000,
    FLOOD_SYNS = 8,
    FLOOD_HOST = 77,
    FLOOD_AFTER_S = 150, /* a cookie is good for up to 128 s */
    DRAIN_MAX_S = 7200,
    AFTER_S = 10,
};

static const uint64_t SECOND_US = 1000000, HOUR_US = UINT64_C(3600000000);

bool soak_fail(struct soak_world *world, const char *format, ...)
{
    va_list arguments;

    if (world->failure[0] != '\0')
        return false;
    va_start(arguments, format);
    vsnprintf(world->failure, sizeof world->failure, format, arguments);
    va_end(arguments);
    return false;
}

uint32_t soak_below(struct soak_world *world, uint32_t limit)
{
    return chance_below(&world->random, limit);
}

void soak_set_black(struct soak_world *world, uint16_t port, bool black)
{
    uint8_t bit = (uint8_t)(1u << port % 8);

    if (black)
        world->black[port / 8] |= bit;
    else
        world->black[port / 8] &= (uint8_t)~bit;
}

static void trace(const struct soak_world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void trace(const struct soak_world *world, const char *format, ...)
{
    va_list arguments;

    if (!world->options.tracing)
        return;
    printf("%10.1f s  ", (double)(world->now_us - world->start_us) / 1e6);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

/* ---- The network ----------------------------------------------------------------------------- */

static bool is_lost(struct soak_world *world, enum frame_kind kind, const struct segment *segment)
{
    if (kind == FRAME_TCP) {
        uint16_t port =
            segment->from.port == HOST_SERVICE_PORT ? segment->to.port : segment->from.port;

        if (world->black[port / 8] & 1u << port % 8)
            return true;
    }
    if (world->weather == SOAK_CUT)
        return true;
    return world->weather != SOAK_CALM &&
           soak_chance(world, world->weather == SOAK_STORM ? 20 : 10);
}

static void send_copy(struct soak_world *world, unsigned to, const struct port_frame *sent)
{
    struct lane_frame *frame = lane_copy(&world->lane, to, sent->bytes, sent->len);

    if (frame == NULL) {
        world->counts.lost++;
        return;
    }
    frame->at_us = world->now_us + LATENCY_US + soak_below(world, JITTER_US);
    if (world->weather == SOAK_STORM) {
        if (soak_chance(world, 50))
            frame->at_us += soak_below(world, 4000);
        /* Ethernet's own check sum guards its header; ARP has none. */
        if (soak_chance(world, 5) && frame->bytes[13] != 0x06)
            frame->bytes[14 + soak_below(world, frame->len - 14u)] ^=
                (uint8_t)(1u << soak_below(world, 8));
    }
    lane_send(&world->lane, frame);
}

static void send_frames(struct soak_world *world, unsigned from)
{
    const struct port_frame *sent;

    while ((sent = port_pop(world->sides[from].port)) != NULL) {
        struct segment segment;
        char why[FRAME_WHY_MAX];
        enum frame_kind kind = frame_parse(sent->bytes, sent->len, &segment, why);

        world->counts.frames++;
        if (kind == FRAME_BAD)
            soak_fail(world, "side %u sent a malformed frame: %s", from, why);
        if (is_lost(world, kind, &segment)) {
            world->counts.lost++;
            continue;
        }
        send_copy(world, 1 - from, sent);
        if (world->weather == SOAK_STORM && soak_chance(world, 30))
            send_copy(world, 1 - from, sent);
    }
}

static void deliver(struct soak_world *world)
{
    const struct lane_frame *frame;

    while ((frame = lane_take(&world->lane, world->now_us)) != NULL) {
        port_push(world->sides[frame->to].port, frame->bytes, frame->len, 0);
        lane_drop(&world->lane, frame);
    }
}

/* SYNs of hosts that answer nothing. */
static void flood(struct soak_world *world)
{
    for (unsigned i = 0; i < FLOOD_SYNS; i++) {
        struct segment syn = {.v6 = soak_chance(world, 500),
                              .flags = FRAME_SYN,
                              .window = 1000,
                              .seq = soak_below(world, UINT32_MAX)};
        struct lane_frame *copy;
        uint8_t frame[FRAME_MAX];

        host_side(FLOOD_HOST, syn.v6, (uint16_t)(1 + soak_below(world, 60000)), &syn.from);
        host_side(SERVER + 1, syn.v6, HOST_SERVICE_PORT, &syn.to);
        copy = lane_copy(&world->lane, SERVER, frame, frame_build(&syn, frame, sizeof frame));
        if (copy == NULL)
            return;
        copy->at_us = world->now_us + LATENCY_US;
        lane_send(&world->lane, copy);
    }
}

/* ---- Weather and clocks ---------------------------------------------------------------------- */

/* What happens now may end any connection that there is. */
static void excuse_all(struct soak_world *world)
{
    for (unsigned side = 0; side < 2; side++) {
        for (unsigned i = 0; i < world->sides[side].ends_count; i++)
            world->sides[side].ends[i].excused = true;
    }
}

static void harsh_until(struct soak_world *world, uint64_t until_us)
{
    if (world->harsh_until_us < until_us)
        world->harsh_until_us = until_us;
}

static void clear_weather(struct soak_world *world)
{
    for (unsigned side = 0; side < 2; side++) {
        struct port *port = world->sides[side].port;

        port->fail_every = 0;
        port->fail_all = false;
        port->transmit_room = UINT_MAX;
    }
    soak_heap.fail_one_in = 0;
    world->flood_us = UINT64_MAX;
}

static enum soak_weather choose_weather(struct soak_world *world)
{
    if (world->draining || soak_chance(world, 500))
        return SOAK_RAIN;
    return soak_chance(world, 300)   ? SOAK_CALM
           : soak_chance(world, 400) ? SOAK_STORM
                                     : SOAK_CUT + soak_below(world, SOAK_WEATHERS - SOAK_CUT);
}

static void begin_weather(struct soak_world *world, enum soak_weather weather)
{
    static const char *const names[] = {"calm",    "rain", "storm", "cut",
                                        "packets", "heap", "stuck", "flood"};
    struct port *port;
    uint64_t seconds = 30 + soak_below(world, 300);

    clear_weather(world);
    if (world->weather >= SOAK_CUT)
        harsh_until(world, world->now_us + AFTER_S * SECOND_US);
    world->weather = weather;
    world->weather_side = soak_below(world, 2);
    world->counts.weathers[weather]++;
    port = world->sides[world->weather_side].port;
    switch (weather) {
    case SOAK_CUT:
        seconds = soak_chance(world, 700) ? 1 + soak_below(world, 20) : 60 + soak_below(world, 900);
        break;
    case SOAK_PACKETS:
        port->fail_all = soak_chance(world, 200);
        port->fail_every = 2 + soak_below(world, 20);
        seconds = port->fail_all ? 1 + soak_below(world, 10) : seconds / 4;
        break;
    case SOAK_HEAP:
        soak_heap.fail_one_in = 2 + soak_below(world, 10);
        break;
    case SOAK_STUCK:
        port->transmit_room = soak_below(world, 100);
        seconds = 1 + soak_below(world, 30);
        break;
    case SOAK_FLOOD:
        world->flood_us = world->now_us;
        seconds = FLOOD_AFTER_S + 10;
        break;
    default:
        break;
    }
    for (unsigned side = 0; side < 2; side++)
        world->sides[side].port->lazy = soak_chance(world, 300);
    world->weather_until_us = world->now_us + seconds * SECOND_US;
    if (weather >= SOAK_CUT)
        excuse_all(world);
    trace(world, "%s, side %u, for %u s", names[weather], world->weather_side, (unsigned)seconds);
}

static void change_weather(struct soak_world *world)
{
    if (world->flood_us <= world->now_us) {
        flood(world);
        world->flood_us = world->now_us + FLOOD_EACH_US;
        if (world->now_us + FLOOD_AFTER_S * SECOND_US > world->weather_until_us)
            world->flood_us = UINT64_MAX;
    }
    if (world->weather_until_us <= world->now_us)
        begin_weather(world, choose_weather(world));
}

/* The clock of one side leaps ahead, as after a machine was stopped and set right; or the side
 * stands still while the world goes on. A clock does not go back: struct net_options says so. */
static void disturb_clock(struct soak_world *world)
{
    struct soak_side *side = &world->sides[soak_below(world, 2)];

    world->clock_us = world->now_us + (600 + soak_below(world, 3600)) * SECOND_US;
    if (world->draining)
        return;
    excuse_all(world);
    if (soak_chance(world, 500)) {
        uint64_t seconds = soak_chance(world, 800) ? 1 + soak_below(world, 6 * 3600)
                                                   : 86400 + soak_below(world, 9 * 86400);

        side->offset_us += seconds * SECOND_US;
        world->counts.leaps++;
        trace(world, "the clock of side %u leaps by %u s", (unsigned)(side - world->sides),
              (unsigned)seconds);
        return;
    }
    side->asleep_until_us =
        world->now_us + (1 + soak_below(world, soak_chance(world, 500) ? 10 : 1800)) * SECOND_US;
    /* It may wake up to a queue of SYNs. */
    harsh_until(world, side->asleep_until_us + FLOOD_AFTER_S * SECOND_US);
    world->counts.sleeps++;
    trace(world, "side %u stands still", (unsigned)(side - world->sides));
}

/* ---- One step -------------------------------------------------------------------------------- */

static void poll_side(struct soak_world *world, unsigned index)
{
    struct soak_side *side = &world->sides[index];
    struct host *host = &side->host;
    uint32_t before_ms = (uint32_t)(host->now_us / 1000);

    host->now_us = world->now_us + side->offset_us;
    world->counts.clock_wraps += (uint32_t)(host->now_us / 1000) < before_ms;
    for (unsigned polls = 0;; polls++) {
        struct net_event event;
        unsigned done = net_poll(host->net);
        bool any = false;

        while (net_event(host->net, &event)) {
            soak_event(world, index, &event);
            any = true;
        }
        soak_act(world, index);
        net_flush(host->net);
        send_frames(world, index);
        if ((done == 0 && !any) || world->failure[0] != '\0')
            return;
        if (polls == POLLS_MAX) {
            soak_fail(world, "side %u does not come to rest", index);
            return;
        }
    }
}

static bool check(struct soak_world *world)
{
    world->counts.checks++;
    for (unsigned side = 0; side < 2; side++) {
        const char *broken = net_check(world->sides[side].host.net);

        if (broken != NULL)
            return soak_fail(world, "side %u: net_check: %s", side, broken);
        if (world->sides[side].port->fault[0] != '\0')
            return soak_fail(world, "side %u: port: %s", side, world->sides[side].port->fault);
    }
    return true;
}

static void step(struct soak_world *world)
{
    deliver(world);
    change_weather(world);
    if (world->clock_us <= world->now_us)
        disturb_clock(world);
    if (world->open_us <= world->now_us) {
        world->open_us = world->now_us + soak_below(world, 2 * OPEN_MEAN_MS) * UINT64_C(1000);
        if (!world->draining && world->sides[CLIENT].asleep_until_us == 0)
            soak_open(world);
    }
    for (unsigned side = 0; side < 2; side++) {
        if (world->sides[side].asleep_until_us <= world->now_us) {
            world->sides[side].asleep_until_us = 0;
            poll_side(world, side);
        }
    }
    /* The stuck device moves on a little now and then. */
    if (world->weather == SOAK_STUCK && soak_chance(world, 50))
        world->sides[world->weather_side].port->transmit_room = soak_below(world, 40);
    if (soak_chance(world, 20))
        for (unsigned side = 0; side < 2; side++)
            world->counts.rests += net_rest(world->sides[side].host.net);
    if (++world->counts.steps % CHECK_EACH == 0)
        check(world);
}

static void earlier(uint64_t *next_us, uint64_t at_us)
{
    if (at_us < *next_us)
        *next_us = at_us;
}

static uint64_t next_time(const struct soak_world *world)
{
    uint64_t next_us = lane_next_us(&world->lane);

    earlier(&next_us, world->weather_until_us);
    earlier(&next_us, world->flood_us);
    earlier(&next_us, world->clock_us);
    if (!world->draining)
        earlier(&next_us, world->open_us);
    for (unsigned i = 0; i < 2; i++) {
        const struct soak_side *side = &world->sides[i];
        uint64_t due_us = net_next_deadline_us(side->host.net);

        if (side->asleep_until_us != 0) {
            earlier(&next_us, side->asleep_until_us);
            continue;
        }
        if (due_us != UINT64_MAX)
            earlier(&next_us, due_us > side->offset_us ? due_us - side->offset_us : 0);
        earlier(&next_us, side->due_us);
    }
    return next_us <= world->now_us ? world->now_us + 1 : next_us;
}

static bool run_until(struct soak_world *world, uint64_t end_us)
{
    uint64_t still_us = world->now_us;
    unsigned steps = 0;

    while (world->now_us < end_us && world->failure[0] == '\0') {
        uint64_t next_us = next_time(world);

        world->now_us = next_us < end_us ? next_us : end_us;
        step(world);
        if (world->now_us - still_us > SECOND_US) {
            still_us = world->now_us;
            steps = 0;
        } else if (++steps > STILL_STEPS_MAX) {
            soak_fail(world, "%u steps within a second", steps);
        }
    }
    return world->failure[0] == '\0';
}

/* ---- What is left ---------------------------------------------------------------------------- */

static bool at_rest(const struct soak_world *world)
{
    uint64_t left;

    for (unsigned side = 0; side < 2; side++) {
        for (unsigned i = 0; i < world->sides[side].ends_count; i++) {
            if (world->sides[side].ends[i].used)
                return false;
        }
        if (soak_left(world->sides[side].host.net, &left) != NULL)
            return false;
    }
    return world->lane.heap_count == 0;
}

/* Every count of one side at its first level. */
static bool check_empty(struct soak_world *world, unsigned index)
{
    const struct soak_side *side = &world->sides[index];
    uint64_t left;
    const char *name = soak_left(side->host.net, &left);

    if (name == NULL && side->port->free_count != side->port->packets) {
        left = side->port->packets - side->port->free_count;
        name = "packets";
    }
    if (name == NULL && side->host.pins != 0) {
        left = side->host.pins;
        name = "pieces of pinned memory";
    }
    return name == NULL ||
           soak_fail(world, "side %u is left with %llu %s", index, (unsigned long long)left, name);
}

/* The blocks that two stacks without connections have: a table that has grown may still be two. */
static int64_t heap_blocks(const struct soak_world *world)
{
    int64_t blocks = soak_heap.blocks;

    for (unsigned side = 0; side < 2; side++)
        blocks -= soak_growing(world->sides[side].host.net);
    return blocks;
}

/* No new connections; those there are end. Then everything has to be as it was. */
static bool drain(struct soak_world *world)
{
    uint64_t end_us = world->now_us + DRAIN_MAX_S * SECOND_US;

    world->draining = true;
    world->weather_until_us = world->now_us;
    while (world->now_us < end_us && world->failure[0] == '\0' && !at_rest(world)) {
        for (unsigned side = 0; side < 2; side++) {
            for (unsigned i = 0; i < world->sides[side].ends_count; i++)
                world->sides[side].ends[i].due_us = world->now_us;
            world->sides[side].due_us = world->now_us;
        }
        run_until(world, world->now_us + 10 * SECOND_US);
    }
    for (unsigned side = 0; side < 2; side++)
        port_complete(world->sides[side].port);
    if (world->failure[0] != '\0' || !check(world) || !check_empty(world, SERVER) ||
        !check_empty(world, CLIENT))
        return false;
    if (!at_rest(world))
        return soak_fail(world, "no rest within %u s of the end of all connections", DRAIN_MAX_S);
    if (world->blocks == 0)
        world->blocks = heap_blocks(world);
    if (heap_blocks(world) != world->blocks)
        return soak_fail(world, "%lld blocks of memory more than at the beginning",
                         (long long)(heap_blocks(world) - world->blocks));
    trace(world, "all as at the beginning; %llu connections so far",
          (unsigned long long)world->counts.opened);
    world->draining = false;
    return true;
}

/* ---- The run --------------------------------------------------------------------------------- */

static bool set_up_side(struct soak_world *world, unsigned index)
{
    struct soak_side *side = &world->sides[index];
    struct net_options options;

    host_prepare(&side->host, side->port, index + 1, PACKETS, world->now_us + side->offset_us,
                 world->options.seed * 2 + index, &options);
    options.connections_max = CONNECTIONS;
    options.half_open_max = HALF_OPEN;
    options.time_wait_max = TIME_WAITS;
    options.keepalive_s = KEEPALIVE_S;
    side->port->base.mtu = soak_chance(world, 300) ? 9000 : 1500;
    if (host_start(&side->host, &options) < 0)
        return soak_fail(world, "net_create failed");
    if (index == SERVER && net_listen(side->host.net, HOST_SERVICE_PORT, HOST_LISTENER_ID) < 0)
        return soak_fail(world, "net_listen failed");
    side->ends_count = index == SERVER ? SOAK_ENDS_MAX : SOAK_TALKS_MAX;
    side->ends = calloc(side->ends_count, sizeof *side->ends);
    side->due_us = UINT64_MAX;
    return side->ends != NULL || soak_fail(world, "no memory");
}

static bool set_up(struct soak_world *world, const struct soak_options *options)
{
    memset(world, 0, sizeof *world);
    world->options = *options;
    world->random = options->seed;
    /* The clocks of milliseconds wrap after 20 and 40 minutes. */
    world->now_us = world->start_us = ((UINT64_C(1) << 32) - 1200000) * 1000;
    world->sides[CLIENT].offset_us = ((UINT64_C(1) << 32) - 1200000) * 1000;
    if (!lane_create(&world->lane))
        return soak_fail(world, "no memory");
    for (unsigned side = 0; side < 2; side++) {
        world->sides[side].port = port_create();
        if (world->sides[side].port == NULL || !set_up_side(world, side))
            return soak_fail(world, "no memory");
    }
    clear_weather(world);
    world->open_us = world->now_us;
    world->clock_us = world->now_us + 1500 * SECOND_US;
    return true;
}

static void tear_down(struct soak_world *world)
{
    for (unsigned side = 0; side < 2; side++) {
        if (world->sides[side].port == NULL)
            continue;
        const struct net *net = world->sides[side].host.net;
        if (net != NULL) {
            world->counts.cookies += net_counters(net)->cookies_sent;
            host_stop(&world->sides[side].host);
        }
        world->counts.failed_packets += world->sides[side].port->failed_allocations;
        if (world->sides[side].host.fault[0] != '\0')
            soak_fail(world, "side %u at the end: %s", side, world->sides[side].host.fault);
        port_destroy(world->sides[side].port);
        free(world->sides[side].ends);
    }
    lane_destroy(&world->lane);
    world->counts.failed_memory = soak_heap.failed;
    if (soak_heap.blocks != world->blocks_outside)
        soak_fail(world, "%lld blocks of memory are left at the end",
                  (long long)(soak_heap.blocks - world->blocks_outside));
}

bool soak_run(struct soak_world *world, const struct soak_options *options)
{
    int64_t outside = soak_heap.blocks;

    soak_heap.failed = 0;
    soak_heap.random = options->seed;
    if (set_up(world, options) && drain(world)) {
        uint64_t end_us = world->now_us + (uint64_t)(options->hours * (double)HOUR_US);

        while (world->now_us < end_us && world->failure[0] == '\0') {
            uint64_t left_us = end_us - world->now_us;

            if (run_until(world, world->now_us + (left_us < HOUR_US ? left_us : HOUR_US)))
                drain(world);
        }
    }
    clear_weather(world);
    world->blocks_outside = outside;
    tear_down(world);
    return world->failure[0] == '\0';
}

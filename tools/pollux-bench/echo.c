#include "tools/pollux-bench/echo.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tools/pollux-bench/stop.h"

#define ECHO_MAGIC 0x706f6c6c75786563ULL

enum {
    ECHO_BURST = 32,
    ECHO_CHORES_NS = 10000000, /* how often signals are looked at */
    ECHO_TICK_NS = 1000000000,
};

/* All of it travels unaligned in a frame of the local experimental type. */
struct echo_frame {
    uint8_t to[6];
    uint8_t from[6];
    uint16_t type;
    uint64_t magic;
    uint64_t sent_ns;
    uint32_t generation; /* frames of an earlier one were given up */
} __attribute__((packed));

struct echo {
    struct device *device;
    struct packet_port *port;
    const struct clock_tsc *clock;
    int stop_fd;
    bool stopped;
    uint64_t now_ns;
    uint64_t chores_ns;
    uint64_t tick_ns;
    /* The client's: */
    uint8_t peer[6]; /* all ones until a first frame came back */
    uint32_t generation;
    uint32_t under_way;
    uint64_t heard_ns;
    struct histogram latency;
    uint64_t sent;
    uint64_t echoed;
    uint64_t lost;
};

static uint64_t echo_cpu_ns(void)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static void echo_chores(struct echo *echo)
{
    if (echo->now_ns < echo->chores_ns)
        return;
    echo->chores_ns = echo->now_ns + ECHO_CHORES_NS;
    echo->stopped = echo->stopped || stop_requested(echo->stop_fd);
    if (echo->now_ns >= echo->tick_ns) {
        echo->tick_ns = echo->now_ns + ECHO_TICK_NS;
        device_tick(echo->device);
    }
}

static void echo_init(struct echo *echo, struct device *device, const struct clock_tsc *clock,
                      int stop_fd)
{
    *echo = (struct echo){.device = device,
                          .port = device_queue(device),
                          .clock = clock,
                          .stop_fd = stop_fd};
    memset(echo->peer, 0xff, sizeof(echo->peer));
    echo->now_ns = clock_stamp_ns(echo->clock);
    echo->tick_ns = echo->now_ns + ECHO_TICK_NS;
}

/* One of ours, or NULL. */
static struct echo_frame *echo_frame(const struct packet *packet)
{
    struct echo_frame *frame = (struct echo_frame *)packet->data;

    if (packet->len < sizeof(*frame) || frame->type != htons(ECHO_ETHERTYPE) ||
        frame->magic != ECHO_MAGIC)
        return NULL;
    return frame;
}

/* Sends what the device takes and gives the rest back to the pool. Returns how many went. */
static unsigned echo_send(struct echo *echo, struct packet *const *packets, unsigned count)
{
    unsigned taken = count > 0 ? packet_transmit(echo->port, packets, count) : 0;

    for (unsigned i = taken; i < count; i++)
        packet_release(echo->port, packets[i]);
    return taken;
}

/* ---- Server ----------------------------------------------------------------------------------- */

int echo_serve(struct device *device, const struct clock_tsc *clock, int stop_fd)
{
    struct echo echo;

    echo_init(&echo, device, clock, stop_fd);
    fprintf(stderr, "pollux-bench: echoing frames on %s\n", device_driver(device));
    while (!echo.stopped) {
        struct packet *packets[ECHO_BURST];
        unsigned got = packet_receive(echo.port, packets, ECHO_BURST), kept = 0;
        for (unsigned i = 0; i < got; i++) {
            struct echo_frame *frame = echo_frame(packets[i]);
            if (frame == NULL) {
                packet_release(echo.port, packets[i]);
                continue;
            }
            memcpy(frame->to, frame->from, sizeof(frame->to));
            memcpy(frame->from, echo.port->mac, sizeof(frame->from));
            packets[kept++] = packets[i];
        }
        echo.echoed += echo_send(&echo, packets, kept);
        if (got == 0) {
            echo.now_ns = clock_stamp_ns(clock);
            echo_chores(&echo);
        }
    }
    fprintf(stderr, "pollux-bench: %llu frames echoed\n", (unsigned long long)echo.echoed);
    return 0;
}

/* ---- Client ----------------------------------------------------------------------------------- */

static void echo_stamp(const struct echo *echo, struct echo_frame *frame)
{
    memcpy(frame->to, echo->peer, sizeof(frame->to));
    memcpy(frame->from, echo->port->mac, sizeof(frame->from));
    frame->sent_ns = echo->now_ns;
    frame->generation = echo->generation;
}

/* Takes what came back and sends it again at once. Returns the frames of this generation. */
static unsigned echo_turn(struct echo *echo, bool measuring)
{
    struct packet *packets[ECHO_BURST];
    unsigned got = packet_receive(echo->port, packets, ECHO_BURST), kept = 0;

    echo->now_ns = clock_stamp_ns(echo->clock);
    for (unsigned i = 0; i < got; i++) {
        struct echo_frame *frame = echo_frame(packets[i]);
        if (frame == NULL || frame->generation != echo->generation) {
            packet_release(echo->port, packets[i]);
            continue;
        }
        memcpy(echo->peer, frame->from, sizeof(echo->peer));
        if (measuring)
            histogram_add(&echo->latency, echo->now_ns - frame->sent_ns, 1);
        echo_stamp(echo, frame);
        packets[kept++] = packets[i];
    }
    if (kept > 0)
        echo->heard_ns = echo->now_ns;
    unsigned taken = echo_send(echo, packets, kept);
    echo->under_way -= kept - taken;
    echo->sent += taken;
    echo->echoed += kept;
    return kept;
}

/* Brings new frames under way, up to the window. */
static void echo_fill(struct echo *echo, const struct options *options)
{
    struct packet *packets[ECHO_BURST];
    unsigned count = 0;

    while (count < ECHO_BURST && echo->under_way + count < options->window) {
        struct packet *packet = packet_alloc(echo->port);
        if (packet == NULL)
            break;
        memset(packet->data, 0, options->frame_len);
        packet->len = (uint16_t)options->frame_len;
        struct echo_frame *frame = (struct echo_frame *)packet->data;
        frame->type = htons(ECHO_ETHERTYPE);
        frame->magic = ECHO_MAGIC;
        echo_stamp(echo, frame);
        packets[count++] = packet;
    }
    unsigned taken = echo_send(echo, packets, count);
    echo->under_way += taken;
    echo->sent += taken;
}

/* What has not come back for so long will not. */
static void echo_give_up(struct echo *echo)
{
    if (echo->now_ns - echo->heard_ns < ECHO_LOST_NS)
        return;
    echo->lost += echo->under_way;
    echo->under_way = 0;
    echo->generation++;
    echo->heard_ns = echo->now_ns;
}

/* Frames until one comes back, so that nothing is measured before the other side is there. */
static int echo_find_peer(struct echo *echo, const struct options *options)
{
    uint64_t deadline_ns = echo->now_ns + (uint64_t)(options->timeout_s * 1e9);

    echo->heard_ns = echo->now_ns;
    while (echo->echoed == 0) {
        if (echo->under_way == 0 && device_link_is_up(echo->device))
            echo_fill(echo, options);
        echo_turn(echo, false);
        echo_give_up(echo);
        echo_chores(echo);
        if (echo->stopped)
            return -EINTR;
        if (echo->now_ns > deadline_ns)
            return -ETIMEDOUT;
    }
    echo->lost = 0;
    return 0;
}

int echo_load(struct device *device, const struct clock_tsc *clock, const struct options *options,
              int stop_fd, struct result *result)
{
    struct echo echo;
    bool measuring = false;
    uint64_t own_cpu_ns = 0, echoed = 0, sent = 0, idle = 0, turns = 0;

    echo_init(&echo, device, clock, stop_fd);
    int status = echo_find_peer(&echo, options);
    if (status < 0)
        return status;
    uint64_t from_ns = echo.now_ns + (uint64_t)(options->warmup_s * 1e9);
    uint64_t until_ns = from_ns + (uint64_t)(options->seconds * 1e9);
    while (echo.now_ns < until_ns && !echo.stopped) {
        if (!measuring && echo.now_ns >= from_ns) {
            measuring = true;
            from_ns = echo.now_ns;
            echoed = echo.echoed;
            sent = echo.sent;
            own_cpu_ns = echo_cpu_ns();
        }
        if (echo.under_way < options->window)
            echo_fill(&echo, options);
        idle += echo_turn(&echo, measuring) == 0;
        turns++;
        echo_give_up(&echo);
        echo_chores(&echo);
    }
    if (!measuring)
        return -EINTR;
    result->seconds = (double)(echo.now_ns - from_ns) / 1e9;
    result->own_cpu_s = (double)(echo_cpu_ns() - own_cpu_ns) / 1e9;
    result->busy_share = 1 - (double)idle / (double)turns;
    result->requests = result->replies = echo.echoed - echoed;
    result->sent = result->packets.packets_sent = echo.sent - sent;
    result->packets.packets_received = result->requests;
    result->lost = echo.lost;
    result->latency = echo.latency;
    return 0;
}

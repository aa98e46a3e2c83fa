/* Two or more workers' ports in one group; frames are given to the queue of one of them. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "config/load.h"
#include "dataplane/net/steer.h"
#include "dataplane/net/wire.h"
#include "tests/unit/net/pair_port.h"

enum { WORKERS = 3, BASE = 7000 };

struct world {
    struct config *config;
    struct steer_group *group;
    struct pair_port outside[WORKERS], queues[WORKERS];
    struct packet_port *ports[WORKERS];
};

static struct world *begin_with(unsigned queues)
{
    static const char text[] = "port 6379\nper-core-endpoints yes\nper-core-port-base 7000\n";
    struct world *world = calloc(1, sizeof *world);
    struct load_error error;

    world->config = config_create();
    cr_assert_eq(load_text(world->config, "test", text, strlen(text), &error), 0);
    world->group = steer_create(world->config, WORKERS, queues);
    for (unsigned i = 0; i < WORKERS; i++) {
        pair_port_init(&world->outside[i], &world->queues[i]);
        world->ports[i] = &world->queues[i].base;
        if (i < queues)
            steer_port(world->group, i, world->ports[i]);
    }
    return world;
}

static struct world *begin(void)
{
    return begin_with(WORKERS);
}

static void end(struct world *world)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        pair_port_drop(&world->queues[i]);
        cr_assert_eq(world->queues[i].live, 0);
        cr_assert_eq(world->outside[i].live, 0);
    }
    steer_destroy(world->group);
    config_destroy(world->config);
    free(world);
}

/* A SYN for `port` arrives at the queue of `worker`; `seq` tells it from others. */
static void arrive(struct world *world, unsigned worker, const char *to, uint16_t port,
                   uint32_t seq)
{
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};
    struct pair_port *outside = &world->outside[worker];
    struct packet *packet = packet_alloc(&outside->base);
    struct net_flow flow = {.local_port = 40000, .remote_port = port};

    net_address_parse(to, &flow.remote);
    net_address_parse(net_address_is_v4(&flow.remote) ? "10.9.0.2" : "fd00:9::2", &flow.local);
    struct wire_segment segment = {.flow = &flow,
                                   .remote_mac = mac,
                                   .local_mac = mac,
                                   .vlan = WIRE_NO_VLAN,
                                   .seq = seq,
                                   .flags = TCP_SYN};
    packet->len = (uint16_t)wire_segment_len(&segment);
    wire_write_segment(packet->data, &segment, 0, 0);
    cr_assert_eq(packet_transmit(&outside->base, &packet, 1), 1);
}

/* Takes one burst; returns the number of frames and the sequence number of the last. */
static unsigned take(struct world *world, unsigned worker, uint32_t *seq)
{
    struct packet *packets[32];
    unsigned count = packet_receive(world->ports[worker], packets, 32);
    struct frame frame;

    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(wire_parse(packets[i]->data, packets[i]->len, &frame), FRAME_TCP);
        cr_assert(wire_checksum_good(&frame));
        *seq = frame.seq;
        packet_release(world->ports[worker], packets[i]);
    }
    return count;
}

Test(steer, the_common_port_stays_where_it_arrives)
{
    struct world *world = begin();
    uint32_t seq = 0;

    for (unsigned i = 0; i < WORKERS; i++) {
        arrive(world, i, "10.9.0.1", 6379, i + 1);
        cr_assert_eq(take(world, i, &seq), 1);
        cr_assert_eq(seq, i + 1);
    }
    end(world);
}

Test(steer, a_workers_port_reaches_it_from_every_queue)
{
    static const char *const addresses[] = {"10.9.0.1", "fd00:9::1"};
    struct world *world = begin();
    uint32_t seq = 0, number = 100;

    for (unsigned a = 0; a < 2; a++)
        for (unsigned from = 0; from < WORKERS; from++)
            for (unsigned to = 0; to < WORKERS; to++) {
                arrive(world, from, addresses[a], (uint16_t)(BASE + to), ++number);
                if (from != to)
                    cr_assert_eq(take(world, from, &seq), 0);
                cr_assert_eq(take(world, to, &seq), 1);
                cr_assert_eq(seq, number);
            }
    cr_assert_eq(steer_counters(world->group, 0)->handed_over, 4);
    cr_assert_eq(steer_counters(world->group, 0)->taken_over, 4);
    end(world);
}

Test(steer, the_port_of_a_worker_without_a_queue_is_served_by_one_that_has)
{
    struct world *world = begin_with(2);
    uint32_t seq = 0;

    for (unsigned from = 0; from < 2; from++) {
        arrive(world, from, "10.9.0.1", BASE + 2, 10 + from);
        if (from != 0)
            cr_assert_eq(take(world, from, &seq), 0);
        cr_assert_eq(take(world, 0, &seq), 1);
        cr_assert_eq(seq, 10 + from);
    }
    end(world);
}

Test(steer, nobody_looks_at_frames_that_the_card_steers)
{
    struct world *world = begin();
    uint32_t seq = 0;

    steer_by_card(world->group, true);
    arrive(world, 0, "10.9.0.1", BASE + 1, 1);
    cr_assert_eq(take(world, 0, &seq), 1);
    steer_by_card(world->group, false);
    arrive(world, 0, "10.9.0.1", BASE + 1, 2);
    cr_assert_eq(take(world, 0, &seq), 0);
    cr_assert_eq(take(world, 1, &seq), 1);
    end(world);
}

Test(steer, a_queue_is_as_before_once_the_group_has_ended)
{
    struct pair_port outside, queue;
    struct config *config = config_create();

    pair_port_init(&outside, &queue);
    const struct packet_port_ops *ops = queue.base.ops;
    struct steer_group *group = steer_create(config, 2, 2);
    steer_port(group, 0, &queue.base);
    cr_assert_neq(queue.base.ops, ops);
    steer_port(group, 0, &queue.base); /* by workers that start again */
    steer_destroy(group);
    cr_assert_eq(queue.base.ops, ops);
    config_destroy(config);
}

Test(steer, ports_beyond_the_workers_stay)
{
    struct world *world = begin();
    uint32_t seq;

    arrive(world, 0, "10.9.0.1", BASE + WORKERS, 1);
    arrive(world, 0, "10.9.0.1", BASE - 1, 2);
    cr_assert_eq(take(world, 0, &seq), 2);
    end(world);
}

Test(steer, a_full_ring_drops_and_counts)
{
    struct world *world = begin();
    uint32_t seq, taken = 0;

    for (unsigned i = 0; i < STEER_RING + 10; i++) {
        arrive(world, 0, "10.9.0.1", BASE + 1, i);
        cr_assert_eq(take(world, 0, &seq), 0);
    }
    cr_assert_eq(steer_counters(world->group, 0)->dropped, 10);
    for (unsigned round = 0; round < STEER_RING; round++)
        taken += take(world, 1, &seq);
    cr_assert_eq(taken, STEER_RING);
    cr_assert_eq(seq, STEER_RING - 1);
    end(world);
}

Test(steer, an_empty_pool_leaves_frames_in_the_ring)
{
    struct world *world = begin();
    uint32_t seq;

    arrive(world, 0, "10.9.0.1", BASE + 1, 5);
    cr_assert_eq(take(world, 0, &seq), 0);
    unsigned live = world->queues[1].live;
    world->queues[1].live = PAIR_POOL;
    cr_assert_eq(take(world, 1, &seq), 0);
    world->queues[1].live = live;
    cr_assert_eq(take(world, 1, &seq), 1);
    cr_assert_eq(seq, 5);
    end(world);
}

Test(steer, the_ports_follow_the_common_one)
{
    static const struct config_span words[] = {{"port", 4}, {"8000", 4}};
    static const char text[] = "per-core-port-base 0\n";
    struct world *world = begin();
    struct load_error error;
    char reason[CONFIG_REASON_MAX];
    uint32_t seq;

    cr_assert_eq(load_text(world->config, "test", text, strlen(text), &error), 0);
    cr_assert_eq(config_set(world->config, words, 2, true, NULL, NULL, reason), 0);
    arrive(world, 0, "10.9.0.1", 8003, 1);
    cr_assert_eq(take(world, 0, &seq), 0);
    cr_assert_eq(take(world, 2, &seq), 1);
    arrive(world, 0, "10.9.0.1", BASE + 2, 2);
    cr_assert_eq(take(world, 0, &seq), 1, "nobody knows of those before");
    steer_ports_moved(world->group, BASE);
    for (unsigned by_card = 0; by_card < 2; by_card++) {
        steer_by_card(world->group, by_card);
        arrive(world, 0, "10.9.0.1", BASE + 2, 3);
        cr_assert_eq(take(world, 0, &seq), 0, "its connections go on");
        cr_assert_eq(take(world, 2, &seq), 1);
    }
    end(world);
}

/* ---- across threads ---- */

enum { FRAMES = 20000 };

static void *give(void *arg)
{
    struct world *world = arg;
    uint32_t seq;

    for (uint32_t i = 0; i < FRAMES;) {
        uint64_t dropped = steer_counters(world->group, 0)->dropped;
        arrive(world, 0, "10.9.0.1", BASE + 1, i);
        take(world, 0, &seq);
        i += steer_counters(world->group, 0)->dropped == dropped; /* again, as TCP would */
    }
    return NULL;
}

Test(steer, frames_arrive_whole_and_in_order_on_another_thread)
{
    struct world *world = begin();
    pthread_t thread;
    uint32_t expected = 0;

    pthread_create(&thread, NULL, give, world);
    while (expected < FRAMES) {
        struct packet *packets[32];
        struct frame frame;
        unsigned count = packet_receive(world->ports[1], packets, 32);
        for (unsigned i = 0; i < count; i++) {
            cr_assert_eq(wire_parse(packets[i]->data, packets[i]->len, &frame), FRAME_TCP);
            cr_assert_eq(frame.seq, expected++);
            packet_release(world->ports[1], packets[i]);
        }
    }
    pthread_join(thread, NULL);
    end(world);
}

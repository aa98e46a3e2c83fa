/* Frames between workers and the control thread; both are this one thread, the TAP is the test. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "dataplane/net/kernel_path.h"
#include "dataplane/net/wire.h"
#include "tests/unit/net/pair_port.h"

enum { WORKERS = 2, BASE = 7000, SECOND_US = 1000000, UDP = 17 };

struct world {
    struct pair_port port, outside;
    struct config *config;
    struct kernel_path *path;
    struct kernel_port *workers[WORKERS];
    struct net *net; /* of worker 0 */
    uint64_t now_us;
    uint64_t random;
    unsigned wakes;
};

static const uint8_t mac[6] = {2, 0, 0, 0, 0, 9}, ours[6] = {2, 0, 0, 0, 0, 1};

static void count_wake(void *arg)
{
    ((struct world *)arg)->wakes++;
}

static uint64_t now(void *arg)
{
    return ((struct world *)arg)->now_us;
}

static uint64_t number(void *arg)
{
    return ((struct world *)arg)->random += UINT64_C(0x9e3779b97f4a7c15);
}

static struct world *begin(void)
{
    static const char text[] =
        "port 6379\nper-core-endpoints yes\nper-core-port-base 7000\nworkers 2\n"
        "dpdk-address 10.9.0.1/24 10.9.0.5/24\n";
    struct world *world = calloc(1, sizeof *world);
    struct load_error error;
    struct net_prefix own;

    world->now_us = SECOND_US;
    world->config = config_create();
    cr_assert_eq(load_text(world->config, "test", text, strlen(text), &error), 0, "%s",
                 error.reason);
    world->path = kernel_path_create(world->config, WORKERS, count_wake, world);
    cr_assert_not_null(world->path);
    for (unsigned i = 0; i < WORKERS; i++)
        world->workers[i] = kernel_path_port(world->path, i);
    pair_port_init(&world->port, &world->outside);
    net_prefix_parse("10.9.0.1/24", &own);
    struct net_options options = {.port = &world->port.base,
                                  .clock_us = now,
                                  .clock_arg = world,
                                  .random = number,
                                  .random_arg = world,
                                  .addresses = &own,
                                  .addresses_count = 1,
                                  .kernel_path = true,
                                  .neighbours = kernel_port_neighbours(world->workers[0])};
    cr_assert_eq(net_create(&world->net, &options), 0);
    cr_assert_eq(net_listen(world->net, 6379, 1), 0);
    return world;
}

static void end(struct world *world)
{
    net_destroy(world->net);
    pair_port_drop(&world->port);
    pair_port_drop(&world->outside);
    cr_assert_eq(world->port.live, 0);
    cr_assert_eq(world->outside.live, 0);
    kernel_path_destroy(world->path);
    config_destroy(world->config);
    free(world);
}

/* ---- frames ---- */

static struct packet *blank(struct world *world)
{
    return packet_alloc(&world->outside.base);
}

static struct packet *arp(struct world *world)
{
    struct packet *packet = blank(world);
    struct wire_arp question = {.operation = WIRE_ARP_REQUEST};
    static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};

    memcpy(question.sender_mac, mac, 6);
    net_address_parse("10.9.0.2", &question.sender);
    net_address_parse("10.9.0.1", &question.target);
    unsigned l2 = wire_write_ethernet(packet->data, all, mac, WIRE_NO_VLAN, WIRE_ARP);
    wire_write_arp(packet->data + l2, &question);
    packet->len = (uint16_t)(l2 + WIRE_ARP_LEN);
    return packet;
}

static struct packet *ip(struct world *world, uint8_t protocol, const void *body, unsigned len)
{
    struct packet *packet = blank(world);
    struct net_address from, to;

    net_address_parse("10.9.0.2", &from);
    net_address_parse("10.9.0.1", &to);
    unsigned at = wire_write_ethernet(packet->data, ours, mac, WIRE_NO_VLAN, WIRE_IPV4);
    at += wire_write_ip(packet->data + at, &from, &to, protocol, 0, 64, len);
    memcpy(packet->data + at, body, len);
    packet->len = (uint16_t)(at + len);
    return packet;
}

static struct packet *echo(struct world *world)
{
    static const uint8_t request[8] = {8, 0, 0xf7, 0xff};

    return ip(world, WIRE_ICMP, request, sizeof request);
}

static struct packet *udp(struct world *world)
{
    static const uint8_t datagram[8] = {0, 53, 0, 53, 0, 8, 0, 0};

    return ip(world, UDP, datagram, sizeof datagram);
}

static struct packet *segment_of(struct world *world, const char *sender, uint16_t from,
                                 const char *receiver, uint16_t to)
{
    struct packet *packet = blank(world);
    struct net_flow flow = {.local_port = from, .remote_port = to};

    net_address_parse(sender, &flow.local);
    net_address_parse(receiver, &flow.remote);
    struct wire_segment segment = {.flow = &flow,
                                   .remote_mac = ours,
                                   .local_mac = mac,
                                   .vlan = WIRE_NO_VLAN,
                                   .seq = 1,
                                   .flags = TCP_SYN};
    packet->len = (uint16_t)wire_segment_len(&segment);
    wire_write_segment(packet->data, &segment, 0, 0);
    return packet;
}

static struct packet *tcp(struct world *world, uint16_t from, uint16_t to)
{
    return segment_of(world, "10.9.0.2", from, "10.9.0.1", to);
}

/* Offered by a worker, and released. */
static bool offer(struct world *world, unsigned worker, struct packet *packet)
{
    bool offered = kernel_port_offer(world->workers[worker], packet, world->now_us);

    packet_release(&world->outside.base, packet);
    return offered;
}

static unsigned drain(struct world *world)
{
    unsigned drained = 0;

    for (; kernel_path_next(world->path) != NULL; drained++)
        kernel_path_done(world->path);
    return drained;
}

static const struct kernel_counters *counters(const struct world *world)
{
    return kernel_counters(world->path, 0);
}

/* ---- tests ---- */

Test(kernel_path, frames_come_as_they_were_and_in_order)
{
    struct world *world = begin();
    struct packet *(*const kinds[])(struct world *) = {arp, echo, udp};

    for (unsigned i = 0; i < 3; i++)
        cr_assert(offer(world, 0, kinds[i](world)));
    for (unsigned i = 0; i < 3; i++) {
        struct packet *same = kinds[i](world);
        const struct kernel_frame *frame = kernel_path_next(world->path);
        cr_assert_not_null(frame);
        cr_assert_eq(frame->len, same->len);
        cr_assert_arr_eq(frame->bytes, same->data, same->len);
        packet_release(&world->outside.base, same);
        kernel_path_done(world->path);
    }
    cr_assert_null(kernel_path_next(world->path));
    cr_assert_eq(counters(world)->to_kernel[KERNEL_FIRST], 1);
    cr_assert_eq(counters(world)->to_kernel[KERNEL_ICMP], 1);
    cr_assert_eq(counters(world)->to_kernel[KERNEL_OTHER], 1);
    end(world);
}

Test(kernel_path, ports_that_we_serve_are_no_business_of_the_kernel)
{
    static const uint16_t served[] = {6379, BASE, BASE + WORKERS - 1};
    static const uint16_t others[] = {22, 179, 6378, BASE - 1, BASE + WORKERS};
    struct world *world = begin();

    for (unsigned i = 0; i < 3; i++)
        cr_assert_not(offer(world, 0, tcp(world, 40000, served[i])), "port %u", served[i]);
    cr_assert_eq(counters(world)->ours, 3);
    for (unsigned i = 0; i < 5; i++)
        cr_assert(offer(world, 0, tcp(world, 40000, others[i])), "port %u", others[i]);
    cr_assert_eq(drain(world), 5);
    cr_assert_eq(counters(world)->to_kernel[KERNEL_FIRST], 1, "BGP");
    cr_assert_eq(counters(world)->to_kernel[KERNEL_TCP], 4);
    end(world);
}

Test(kernel_path, our_ports_of_other_addresses_are_the_kernels)
{
    struct world *world = begin();

    cr_assert(offer(world, 0, segment_of(world, "10.9.0.2", 40000, "10.9.0.77", 6379)));
    cr_assert_eq(drain(world), 1);
    cr_assert_eq(counters(world)->ours, 0);
    cr_assert_eq(counters(world)->to_kernel[KERNEL_TCP], 1);
    cr_assert_not(offer(world, 0, segment_of(world, "10.9.0.2", 40000, "10.9.0.5", 6379)),
                  "the second one of the port");
    end(world);
}

/* Who raises the MTU of the TAP gets no frames past the end of a packet. */
Test(kernel_path, frames_longer_than_a_packet_are_dropped)
{
    struct world *world = begin();
    struct kernel_frame *frame = kernel_path_room(world->path);
    uint16_t len = (uint16_t)(world->port.base.room + 1);

    memset(frame->bytes, 0xff, len);
    kernel_path_put(world->path, len);
    kernel_port_exchange(world->workers[0], world->net, &world->port.base, world->now_us);
    cr_expect_eq(counters(world)->too_long, 1);
    cr_expect_eq(counters(world)->from_kernel, 0);
    cr_expect_eq(world->port.live, 0, "no packet was taken");
    end(world);
}

/* Puts a frame of the kernel's for worker 0. */
static void from_kernel(struct world *world, struct packet *packet)
{
    struct kernel_frame *room = kernel_path_room(world->path);

    cr_assert_not_null(room);
    memcpy(room->bytes, packet->data, packet->len);
    kernel_path_put(world->path, packet->len);
    packet_release(&world->outside.base, packet);
}

/* One turn of worker 0. */
static unsigned turn(struct world *world)
{
    struct net_event event;

    net_poll(world->net);
    unsigned moved =
        kernel_port_exchange(world->workers[0], world->net, &world->port.base, world->now_us);
    while (net_event(world->net, &event))
        continue;
    net_flush(world->net);
    return moved;
}

/* The next frame that left the port, to be released; NULL: none. */
static struct packet *sent(struct world *world)
{
    struct packet *packet;

    return packet_receive(&world->outside.base, &packet, 1) == 1 ? packet : NULL;
}

Test(kernel_path, the_kernel_says_nothing_from_ports_that_we_serve)
{
    struct world *world = begin();

    static const uint16_t served[] = {6379, BASE, BASE + WORKERS - 1};

    for (unsigned i = 0; i < 3; i++)
        from_kernel(world, segment_of(world, "10.9.0.1", served[i], "10.9.0.2", 40000));
    from_kernel(world, segment_of(world, "10.9.0.5", 6379, "10.9.0.2", 40000));
    cr_assert_eq(turn(world), 0);
    cr_assert_eq(kernel_path_counters(world->path)->ours, 4);
    from_kernel(world, segment_of(world, "10.9.0.77", 6379, "10.9.0.2", 40000));
    from_kernel(world, segment_of(world, "10.9.0.1", 40000, "10.9.0.2", 6379));
    cr_assert_eq(turn(world), 2, "not from the port's address; to that port of another server");
    for (unsigned i = 0; i < 2; i++)
        packet_release(&world->outside.base, sent(world));
    from_kernel(world, segment_of(world, "10.9.0.1", 8080, "10.9.0.2", 40000));
    cr_assert_eq(turn(world), 1);
    struct packet *packet = sent(world),
                  *same = segment_of(world, "10.9.0.1", 8080, "10.9.0.2", 40000);
    cr_assert_not_null(packet);
    cr_assert_eq(packet->len, same->len);
    cr_assert_arr_eq(packet->data, same->data, same->len);
    packet_release(&world->outside.base, packet);
    packet_release(&world->outside.base, same);
    cr_assert_eq(counters(world)->from_kernel, 3);
    end(world);
}

Test(kernel_path, each_class_has_its_own_limit)
{
    struct world *world = begin();
    unsigned taken = 0;

    for (unsigned i = 0; i < 1000; i++) {
        taken += offer(world, 0, echo(world));
        drain(world);
    }
    cr_assert_eq(taken, 201, "a tenth of a second's worth");
    cr_assert_eq(counters(world)->limited[KERNEL_ICMP], 799);
    cr_assert(offer(world, 0, arp(world)));
    cr_assert(offer(world, 0, tcp(world, 40000, 22)));
    cr_assert(offer(world, 1, echo(world)), "another worker's is another");
    world->now_us += SECOND_US;
    cr_assert(offer(world, 0, echo(world)));
    end(world);
}

Test(kernel_path, a_full_ring_still_takes_arp)
{
    struct world *world = begin();
    unsigned taken = 0;

    for (unsigned i = 0; i < 2 * KERNEL_RING; i++)
        taken += offer(world, 0, tcp(world, 40000, 22));
    cr_assert_eq(taken, KERNEL_RING - KERNEL_KEPT);
    cr_assert_eq(counters(world)->full, KERNEL_RING + KERNEL_KEPT);
    for (unsigned i = 0; i < KERNEL_KEPT; i++)
        cr_assert(offer(world, 0, arp(world)));
    cr_assert_not(offer(world, 0, arp(world)));
    cr_assert_eq(drain(world), KERNEL_RING);
    cr_assert(offer(world, 0, tcp(world, 40000, 22)));
    end(world);
}

Test(kernel_path, workers_take_turns)
{
    struct world *world = begin();
    unsigned arps = 0;

    for (unsigned i = 0; i < 10; i++) {
        cr_assert(offer(world, 0, arp(world)));
        cr_assert(offer(world, 1, udp(world)));
    }
    for (unsigned i = 0; i < 10; i++) {
        arps += wire_get16(kernel_path_next(world->path)->bytes + 12) == WIRE_ARP;
        kernel_path_done(world->path);
    }
    cr_assert_eq(arps, 5);
    cr_assert_eq(drain(world), 10);
    end(world);
}

Test(kernel_path, a_tag_that_the_port_took_out_goes_back_in)
{
    struct world *world = begin();
    struct packet *packet = udp(world);
    struct frame frame;

    packet->flags |= PACKET_VLAN;
    packet->vlan = 42;
    uint16_t len = packet->len;
    cr_assert(offer(world, 0, packet));
    const struct kernel_frame *taken = kernel_path_next(world->path);
    cr_assert_eq(taken->len, len + WIRE_VLAN_LEN);
    cr_assert_eq(wire_parse(taken->bytes, taken->len, &frame), FRAME_OTHER);
    cr_assert_eq(frame.vlan, 42);
    end(world);
}

Test(kernel_path, the_longest_frames_fit_and_the_shortest_are_no_frames)
{
    struct world *world = begin();
    struct packet *packet = udp(world);

    packet->len = PACKET_DATA_MAX; /* padding behind the datagram */
    packet->flags |= PACKET_VLAN;
    cr_assert(offer(world, 0, packet));
    cr_assert_eq(kernel_path_next(world->path)->len, PACKET_DATA_MAX + 4);
    kernel_path_done(world->path);
    for (uint16_t len = 0; len < WIRE_ETHERNET_LEN; len++) {
        packet = udp(world);
        packet->len = len;
        cr_assert_not(offer(world, 0, packet));
    }
    cr_assert_null(kernel_path_next(world->path));
    end(world);
}

Test(kernel_path, what_arrives_for_others_wakes_a_control_thread_that_sleeps)
{
    struct world *world = begin();
    struct packet *packet = arp(world);

    cr_assert_eq(packet_transmit(&world->outside.base, &packet, 1), 1);
    cr_assert_eq(turn(world), 1);
    cr_assert_eq(world->wakes, 0, "it does not sleep");
    cr_assert_not(kernel_path_sleep(world->path), "there is something to take");
    cr_assert_eq(drain(world), 1);
    cr_assert_null(sent(world), "the stack leaves the answer to the kernel");
    cr_assert(kernel_path_sleep(world->path));
    for (unsigned i = 0; i < 3; i++) {
        packet = i == 0 ? echo(world) : udp(world);
        cr_assert_eq(packet_transmit(&world->outside.base, &packet, 1), 1);
        cr_assert_eq(turn(world), 1);
    }
    cr_assert_eq(world->wakes, 1, "once is enough");
    cr_assert_eq(drain(world), 3);
    end(world);
}

Test(kernel_path, the_stack_keeps_its_port_and_gives_the_others_away)
{
    struct world *world = begin();
    struct packet *packet = tcp(world, 40000, 6379);
    struct frame frame;

    cr_assert_eq(packet_transmit(&world->outside.base, &packet, 1), 1);
    cr_assert_eq(turn(world), 0);
    packet = sent(world);
    cr_assert_not_null(packet);
    cr_assert_eq(wire_parse(packet->data, packet->len, &frame), FRAME_TCP);
    cr_assert_eq(frame.flags & (TCP_SYN | TCP_ACK), TCP_SYN | TCP_ACK);
    packet_release(&world->outside.base, packet);
    packet = tcp(world, 40000, 22);
    cr_assert_eq(packet_transmit(&world->outside.base, &packet, 1), 1);
    cr_assert_eq(turn(world), 1);
    cr_assert_null(sent(world), "no reset of ours");
    cr_assert_eq(drain(world), 1);
    end(world);
}

Test(kernel_path, a_worker_that_takes_nothing_stalls_the_kernel)
{
    struct world *world = begin();

    for (unsigned i = 0; i < KERNEL_RING; i++)
        from_kernel(world, udp(world));
    cr_assert_null(kernel_path_room(world->path));
    cr_assert_eq(kernel_path_counters(world->path)->stalled, 1);
    cr_assert_eq(turn(world), KERNEL_TAKE_MAX);
    cr_assert_not_null(kernel_path_room(world->path));
    end(world);
}

/* ---- neighbours ---- */

static struct neighbours *snapshot(const char *peer)
{
    struct neighbours_table *table = calloc(1, sizeof *table);
    struct neighbours_route route = {0};
    struct neighbour neighbour = {.mac = {2, 0, 0, 0, 0, 9}};

    net_prefix_parse("10.9.0.0/24", &route.prefix);
    neighbours_put_route(table, &route);
    if (peer != NULL) {
        net_address_parse(peer, &neighbour.address);
        neighbours_put(table, &neighbour);
    }
    struct neighbours *made = neighbours_snapshot(table);
    free(table);
    return made;
}

static void exchange(struct world *world, unsigned worker)
{
    kernel_port_exchange(world->workers[worker], world->net, &world->port.base, world->now_us);
}

Test(kernel_path, a_snapshot_is_kept_until_no_worker_can_hold_it)
{
    struct world *world = begin();
    struct neighbours *third = snapshot(NULL);

    cr_assert(kernel_path_publish(world->path, snapshot(NULL)), "there was none before");
    for (unsigned i = 0; i < WORKERS; i++)
        exchange(world, i);
    cr_assert(kernel_path_publish(world->path, snapshot(NULL)));
    cr_assert_not(kernel_path_reclaim(world->path));
    exchange(world, 0);
    cr_assert_not(kernel_path_reclaim(world->path), "the other may still read it");
    cr_assert_not(kernel_path_publish(world->path, third));
    exchange(world, 1);
    cr_assert(kernel_path_publish(world->path, third));
    cr_assert_eq(kernel_path_counters(world->path)->snapshots, 3);
    end(world);
}

Test(kernel_path, an_active_open_has_the_kernel_find_the_neighbour)
{
    struct world *world = begin();
    struct net_endpoint to = {.port = 80};
    struct net_address wanted;
    struct net_conn *conn;
    struct frame frame;

    net_address_parse("10.9.0.2", &to.address);
    cr_assert(kernel_path_publish(world->path, snapshot(NULL)));
    cr_assert_eq(net_connect(world->net, &to, 0, NULL, &conn), 0);
    cr_assert_eq(turn(world), 1);
    cr_assert_null(sent(world), "a worker asks nobody by ARP");
    const struct kernel_frame *message = kernel_path_next(world->path);
    cr_assert_not_null(message);
    cr_assert_eq(message->len, 0);
    memcpy(&wanted, message->bytes, sizeof wanted);
    cr_assert(net_address_equal(&wanted, &to.address));
    kernel_path_done(world->path);

    exchange(world, 1);
    cr_assert(kernel_path_publish(world->path, snapshot("10.9.0.2")));
    struct packet *packet = NULL;
    for (int i = 0; i < 20 && packet == NULL; i++) {
        world->now_us += 20000;
        turn(world);
        packet = sent(world);
    }
    cr_assert_not_null(packet);
    cr_assert_eq(wire_parse(packet->data, packet->len, &frame), FRAME_TCP);
    cr_assert_eq(frame.flags & (TCP_SYN | TCP_ACK), TCP_SYN);
    cr_assert_arr_eq(frame_destination_mac(&frame), mac, 6);
    packet_release(&world->outside.base, packet);
    end(world);
}

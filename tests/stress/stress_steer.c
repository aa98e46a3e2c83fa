/* Workers whose queues bring frames of each other's ports and connections: every frame reaches its
 * owner whole, or is counted as dropped; nothing is answered as if nobody had it. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "dataplane/net/steer.h"
#include "dataplane/net/wire.h"

enum {
    WORKERS = 4,
    FRAMES = 20000,
    BASE = 7000,
    COMMON = 6379,
    POOL = 2048,
    BODY = 64,
    UNDER_WAY = 100
};

struct buffer {
    struct packet packet; /* first */
    struct buffer *next;
    uint8_t bytes[PACKET_HEADROOM + PACKET_DATA_MAX];
};

struct worker {
    struct packet_port base; /* first */
    struct steer_group *group;
    struct buffer *free;
    struct buffer *buffers;
    uint32_t made, got, unanswered; /* frames: brought by the queue, its own, of nobody */
    uint64_t random;
    unsigned index, live;
    pthread_t thread;
};

static _Atomic uint64_t brought, settled; /* frames made; of those, arrived or dropped */

static void need(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "steer: %s\n", what);
    abort();
}

/* ---- a queue that makes its frames up ---- */

static struct packet *take_buffer(struct packet_port *base)
{
    struct worker *worker = (struct worker *)base;
    struct buffer *buffer = worker->free;

    if (buffer == NULL)
        return NULL;
    worker->free = buffer->next;
    memset(&buffer->packet, 0, sizeof buffer->packet);
    buffer->packet.data = buffer->bytes + PACKET_HEADROOM;
    worker->live++;
    return &buffer->packet;
}

static void give_buffer(struct packet_port *base, struct packet *packet)
{
    struct worker *worker = (struct worker *)base;
    struct buffer *buffer = (struct buffer *)packet;

    buffer->next = worker->free;
    worker->free = buffer;
    worker->live--;
}

/* A segment from port 20000 + n: to a worker's port, or of the connection that worker n % WORKERS
 * has. Its body repeats its sequence number. */
static void fill(struct worker *worker, struct packet *packet)
{
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};
    struct net_flow flow = {.local_port = (uint16_t)(20000 + worker->random % 500)};
    uint64_t to = worker->random / 1000 % (2 * WORKERS);

    worker->random = worker->random * UINT64_C(6364136223846793005) + 1442695040888963407;
    flow.remote_port = to < WORKERS ? (uint16_t)(BASE + to) : COMMON;
    net_address_parse("10.9.0.1", &flow.remote);
    net_address_parse("10.9.0.2", &flow.local);
    struct wire_segment segment = {.flow = &flow,
                                   .remote_mac = mac,
                                   .local_mac = mac,
                                   .vlan = WIRE_NO_VLAN,
                                   .seq = (worker->index << 24) | worker->made,
                                   .flags = TCP_ACK};
    packet->len = (uint16_t)(wire_segment_len(&segment) + BODY);
    wire_write_segment(packet->data, &segment, 0, 0);
    for (unsigned i = 0; i < BODY; i += 4)
        memcpy(packet->data + packet->len - BODY + i, &segment.seq, 4);
}

static unsigned bring(struct packet_port *base, struct packet **packets, unsigned max)
{
    struct worker *worker = (struct worker *)base;
    unsigned count = 0;

    /* No more at a time than the rings hold, whoever gets the machine's cores. */
    while (count < max && worker->made < FRAMES &&
           atomic_load(&brought) - atomic_load(&settled) < UNDER_WAY) {
        struct packet *packet = take_buffer(base);
        if (packet == NULL)
            break;
        fill(worker, packet);
        worker->made++;
        atomic_fetch_add(&brought, 1);
        packets[count++] = packet;
    }
    return count;
}

/* ---- a worker ---- */

static unsigned owner_of(const struct packet *packet)
{
    unsigned from = wire_get16(packet->data + WIRE_ETHERNET_LEN + WIRE_IPV4_LEN);
    unsigned to = wire_get16(packet->data + WIRE_ETHERNET_LEN + WIRE_IPV4_LEN + 2);

    return to == COMMON ? from % WORKERS : to - BASE;
}

static void check_body(const struct packet *packet)
{
    uint32_t seq = wire_get32(packet->data + WIRE_ETHERNET_LEN + WIRE_IPV4_LEN + 4), body;

    for (unsigned i = 0; i < BODY; i += 4) {
        memcpy(&body, packet->data + packet->len - BODY + i, 4);
        need(body == seq, "a torn frame");
    }
}

static uint64_t dropped(const struct worker *worker)
{
    const struct steer_counters *counters = steer_counters(worker->group, worker->index);

    return atomic_load(&counters->dropped) + atomic_load(&counters->walks_limited);
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct packet_port *port = &worker->base;
    uint64_t told = 0, done;

    while (atomic_load(&settled) < (uint64_t)WORKERS * FRAMES) {
        struct packet *packets[32];
        unsigned count = packet_receive(port, packets, 32);

        for (unsigned i = 0; i < count; i++) {
            check_body(packets[i]);
            if (owner_of(packets[i]) == worker->index) {
                worker->got++;
                if (packet_seen(packets[i]))
                    packet_found(port, packets[i]);
            } else if (!packet_lost(port, packets[i])) {
                worker->unanswered++;
            }
            packet_release(port, packets[i]);
        }
        done = worker->got + worker->unanswered + dropped(worker);
        if (done > told)
            atomic_fetch_add(&settled, done - told);
        told = done;
        if (count == 0)
            sched_yield();
    }
    return NULL;
}

static void begin(struct worker *worker, struct steer_group *group, unsigned index)
{
    static const struct packet_port_ops ops = {.receive = bring,
                                               .alloc = take_buffer,
                                               .release = give_buffer};

    *worker = (struct worker){.base = {.ops = &ops, .mtu = 1500, .room = PACKET_DATA_MAX},
                              .group = group,
                              .index = index,
                              .random = index + 1,
                              .buffers = calloc(POOL, sizeof(struct buffer))};
    need(worker->buffers != NULL, "no memory");
    for (unsigned i = 0; i < POOL; i++) {
        worker->buffers[i].next = worker->free;
        worker->free = &worker->buffers[i];
    }
    steer_port(group, index, &worker->base);
}

int main(void)
{
    static const char text[] = "per-core-endpoints yes\nper-core-port-base 7000\n";
    static struct worker workers[WORKERS];
    struct config *config = config_create();
    struct load_error error;
    uint64_t got = 0, lost = 0;

    need(load_text(config, "stress", text, strlen(text), &error) == 0, "the directives");
    struct steer_group *group = steer_create(config, WORKERS, WORKERS);
    need(group != NULL, "no memory");
    for (unsigned i = 0; i < WORKERS; i++)
        begin(&workers[i], group, i);
    steer_table_changed(group);
    for (unsigned i = 0; i < WORKERS; i++)
        need(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0, "no thread");
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(workers[i].thread, NULL);
    for (unsigned i = 0; i < WORKERS; i++) {
        need(workers[i].unanswered == 0, "a frame was said to be nobody's");
        need(workers[i].live == 0, "packets were not given back");
        got += workers[i].got;
        lost += dropped(&workers[i]);
    }
    need(got + lost == (uint64_t)WORKERS * FRAMES, "frames are missing");
    need(got > (uint64_t)WORKERS * FRAMES / 2, "most were dropped");
    printf("%llu frames arrived, %llu were dropped\n", (unsigned long long)got,
           (unsigned long long)lost);
    steer_destroy(group);
    for (unsigned i = 0; i < WORKERS; i++)
        free(workers[i].buffers);
    config_destroy(config);
    return 0;
}

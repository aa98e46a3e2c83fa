#include "dataplane/net/net.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/net_inside.h"

enum {
    MTU_MIN = 576,
    TIME_WAIT_A_POLL = 64,
    LIMBO_US = 1000,
    TIMEOUT_MAX_S = 20 * 24 * 3600,
    CONNS_CACHED = 256, /* connections whose blocks the second level cache holds beside all else */
    FEW_BURSTS = 64,    /* before few of many connections are taken for the only ones at work */
    POOL_LAST_PART = 16,
    RETRY_DOUBLINGS = 10,
    RETRY_US = 100, /* for packets or room at the port, if nothing else calls for a poll; doubled */
};

static const uint64_t NO_DEADLINE = UINT64_MAX;

/* ---- making and ending --------------------------------------------------------------------- */

static void set_default(uint32_t *option, uint32_t value)
{
    if (*option == 0)
        *option = value;
}

/* Deadlines are kept in milliseconds modulo 2^32 and compared as less than half of that away. */
static void cap(uint32_t *seconds)
{
    if (*seconds > TIMEOUT_MAX_S)
        *seconds = TIMEOUT_MAX_S;
}

static uint32_t keepalive_interval_s(uint32_t keepalive_s)
{
    return keepalive_s / 3 + (keepalive_s < 3);
}

static int take_options(struct net *net, const struct net_options *options)
{
    struct net_options *own = &net->options;

    *own = *options;
    if (own->port == NULL || own->clock_us == NULL || own->random == NULL ||
        own->addresses_count == 0 || own->addresses_count > NET_ADDRESSES_MAX ||
        own->port->mtu < MTU_MIN || own->port->room < PACKET_DATA_MAX)
        return -EINVAL;
    set_default(&own->connections_max, 65536);
    set_default(&own->half_open_max, 4096);
    set_default(&own->time_wait_max, 65536);
    set_default(&own->receive_bytes, 262144);
    set_default(&own->fin_wait2_s, 60);
    set_default(&own->ack_delay_us, 40000);
    if (own->keepalive_interval_s == 0)
        own->keepalive_interval_s = keepalive_interval_s(own->keepalive_s);
    cap(&own->keepalive_s);
    cap(&own->keepalive_interval_s);
    cap(&own->user_timeout_s);
    cap(&own->fin_wait2_s);
    if (own->connections_max > FLOWS_CAPACITY_MAX || own->half_open_max > SYNCACHE_CAPACITY_MAX ||
        own->time_wait_max > TIMEWAIT_CAPACITY_MAX || own->ack_delay_us > 500000 ||
        own->receive_bytes > 1u << 30)
        return -EINVAL;
    net->port = own->port;
    /* Ethernet with a tag must fit into a packet beside the datagram. */
    net->mtu = own->port->room - WIRE_ETHERNET_LEN - WIRE_VLAN_LEN;
    if (net->mtu > own->port->mtu)
        net->mtu = own->port->mtu;
    while (net->window_scale < TCP_WINDOW_SCALE_MAX &&
           own->receive_bytes >> net->window_scale > 0xffff)
        net->window_scale++;
    if (own->no_window_scale && own->receive_bytes > 0xffff)
        own->receive_bytes = 0xffff;
    net->window_limit = own->receive_bytes;
    return 0;
}

static void take_seed(struct net *net)
{
    const uint64_t *given = net->options.boot_seed;
    uint64_t words[ISN_SECRET_LEN / 8 + 2];
    bool fixed = (given[0] | given[1] | given[2] | given[3]) != 0;

    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        words[i] = fixed ? given[i % 4] + i : net->options.random(net->options.random_arg);
    isn_init(&net->isn, (const uint8_t *)words);
    net->key = (struct siphash_key){words[ISN_SECRET_LEN / 8], words[ISN_SECRET_LEN / 8 + 1]};
}

static int init_link(struct net *net)
{
    const struct net_options *own = &net->options;
    struct net_address gateways[2];
    unsigned count = 0;

    if ((own->gateway4.words[0] | own->gateway4.words[1] | own->gateway4.words[2] |
         own->gateway4.words[3]) != 0)
        gateways[count++] = own->gateway4;
    if ((own->gateway6.words[0] | own->gateway6.words[1] | own->gateway6.words[2] |
         own->gateway6.words[3]) != 0)
        gateways[count++] = own->gateway6;
    struct net_link_options link = {.port = net->port,
                                    .addresses = own->addresses,
                                    .address_count = own->addresses_count,
                                    .gateways = gateways,
                                    .gateway_count = count,
                                    .vlan = WIRE_NO_VLAN,
                                    .kernel = own->kernel_path ? own->neighbours : NULL};
    int status = net_link_init(&net->link, &link);
    net_icmp_init(&net->icmp, &net->link);
    return status;
}

static uint64_t conn_hash(const void *owner, uint32_t index)
{
    const struct net *net = owner;

    return net_flow_hash(&net->key, &net->conns[index].flow);
}

static int init_tables(struct net *net)
{
    const struct net_options *own = &net->options;
    int status;

    if ((status = flows_init_growing(&net->flows, own->connections_max, conn_hash, net)) < 0)
        return status;
    if ((status = syncache_init(&net->syncache, own->half_open_max, &net->key)) < 0)
        goto no_syncache;
    if ((status = timewait_init(&net->timewait, own->time_wait_max)) < 0)
        goto no_timewait;
    if ((status = timewait_init(&net->cookies_used, own->time_wait_max)) < 0)
        goto no_cookies_used;
    net->cookies_used.lasts_ms = 2 * ISN_COOKIE_PERIOD_S * 1000;
    /* Not written to here: pages are taken as connections are first used. */
    net->conns = malloc((size_t)own->connections_max * sizeof *net->conns);
    net->scratch = malloc(NET_RESERVE_MAX);
    if (net->conns != NULL && net->scratch != NULL && rest_init(net) == 0)
        return 0;
    status = -ENOMEM;
    free(net->conns);
    free(net->scratch);
    timewait_fini(&net->cookies_used);
no_cookies_used:
    timewait_fini(&net->timewait);
no_timewait:
    syncache_fini(&net->syncache);
no_syncache:
    flows_fini(&net->flows);
    return status;
}

int net_create(struct net **made, const struct net_options *options)
{
    struct net *net = calloc(1, sizeof *net);
    int status;

    if (net == NULL)
        return -ENOMEM;
    status = take_options(net, options);
    if (status == 0)
        status = init_link(net);
    if (status == 0) {
        take_seed(net);
        status = init_tables(net);
    }
    if (status < 0) {
        free(net);
        return status;
    }
    net->options.addresses = NULL; /* the link has its own copy */
    net_read_clock(net);
    net->dirty_end = &net->dirty;
    net->ready_end = &net->ready;
    net->packets_total = packet_available(net->port);
    net->out_of_order_max = net->packets_total / 8;
    net->sendpool = (struct sendpool){.port = net->port, .reserve = net->packets_total / 8};
    timers_init(&net->timers, net->now_us);
    *made = net;
    return 0;
}

static void release_spent(struct net *net)
{
    while (net->spent != NULL) {
        struct packet *packet = net->spent;

        net->spent = packet->next;
        packet_release(net->port, packet);
    }
}

static void release_reserved(struct net *net)
{
    if (net->reserved_packet != NULL)
        packet_release(net->port, net->reserved_packet);
    net->reserved_packet = NULL;
    net->reserved_conn = NULL;
}

static void drop_foreign(struct net *net)
{
    for (unsigned i = 0; i < net->foreign_count; i++)
        packet_release(net->port, net->foreign[i]);
    net->foreign_count = 0;
}

void net_destroy(struct net *net)
{
    release_reserved(net);
    release_spent(net);
    drop_foreign(net);
    for (uint32_t i = 0; i < net->busy_fresh; i++) {
        struct net_conn *conn = net->busy[i].conn;

        if (conn == NULL)
            continue;
        tcp_receive_drop(net, conn);
        sendqueue_fini(&net->sendpool, &conn->busy->queue);
    }
    for (unsigned i = 0; i < net->tx_count; i++)
        packet_release_frame(net->port, net->tx[i]);
    sendpool_fini(&net->sendpool);
    timewait_fini(&net->cookies_used);
    timewait_fini(&net->timewait);
    syncache_fini(&net->syncache);
    flows_fini(&net->flows);
    rest_fini(net);
    free(net->conns);
    free(net->scratch);
    free(net);
}

/* ---- frames to send ------------------------------------------------------------------------ */

void net_transmit_burst(struct net *net)
{
    unsigned sent = 0;

    while (sent < net->tx_count) {
        unsigned part = net->tx_count - sent;
        uint64_t bytes = 0;

        part = part < PACKET_BURST_MAX ? part : PACKET_BURST_MAX;
        for (unsigned i = 0; i < part; i++)
            bytes += packet_bytes(net->tx[sent + i]);
        unsigned taken = packet_transmit(net->port, net->tx + sent, part);
        for (unsigned i = taken; i < part; i++)
            bytes -= packet_bytes(net->tx[sent + i]);
        net_count(&net->counters.tx_frames, taken);
        net_count(&net->counters.tx_bytes, bytes);
        sent += taken;
        if (taken < part)
            break;
    }
    net->tx_count -= sent;
    if (net->tx_count > 0)
        memmove(net->tx, net->tx + sent, net->tx_count * sizeof *net->tx);
}

bool net_transmit_make_room(struct net *net)
{
    net_transmit_burst(net);
    return NET_TX_MAX - net->tx_count >= NET_TX_ROOM_MIN;
}

bool net_transmit_full(struct net *net, struct packet *packet)
{
    net_transmit_burst(net);
    if (net->tx_count == NET_TX_MAX) {
        net_count(&net->counters.tx_queue_full, 1);
        packet_release_frame(net->port, packet);
        return false;
    }
    net->tx[net->tx_count++] = packet;
    return true;
}

struct packet *net_alloc(struct net *net)
{
    struct packet *packet = packet_alloc(net->port);

    if (packet == NULL)
        net_count(&net->counters.tx_no_packet, 1);
    return packet;
}

/* ---- connection blocks --------------------------------------------------------------------- */

struct net_conn *net_conn_open(struct net *net, const struct net_flow *flow, uint64_t hash)
{
    struct net_conn *conn;

    if (net->conn_free == NULL && net->conn_fresh == net->options.connections_max)
        return NULL;
    conn = net->conn_free != NULL ? net->conn_free : &net->conns[net->conn_fresh];
    if (flows_insert(&net->flows, hash, conn_index(net, conn)) < 0)
        return NULL;
    if (conn == net->conn_free)
        net->conn_free = conn->free_next;
    else
        net->conn_fresh++;
    memset(conn, 0, sizeof *conn);
    conn->stream.fd = -1;
    conn->flow = *flow;
    rest_begin_work(net, conn);
    conn->flags = CONN_IN_TABLE;
    conn->heard_ms = net_now_ms(net);
    conn->vlan = WIRE_NO_VLAN;
    net->conn_count++;
    atomic_store_explicit(&net->counters.connections, net->conn_count, memory_order_relaxed);
    return conn;
}

void net_conn_detach(struct net *net, struct net_conn *conn)
{
    timers_cancel(&net->timers, &conn->timer);
    if ((conn->flags & CONN_IN_TABLE) == 0)
        return;
    conn->flags &= ~(uint32_t)CONN_IN_TABLE;
    flows_remove(&net->flows, net_flow_hash(&net->key, &conn->flow), conn_index(net, conn));
}

/* Blocks of connections that have been told about, and are not on a list any more. */
static void free_dying(struct net *net)
{
    struct net_conn *keep = NULL;

    while (net->dying != NULL) {
        struct net_conn *conn = net->dying;

        net->dying = conn->busy->dying_next;
        if (conn->flags & (CONN_DIRTY | CONN_READY)) {
            conn->busy->dying_next = keep;
            keep = conn;
            continue;
        }
        assert(!net_timer_armed(&conn->timer) && (conn->flags & CONN_IN_TABLE) == 0);
        tcp_receive_drop(net, conn);
        sendqueue_fini(&net->sendpool, &conn->busy->queue);
        rest_leave(net, conn);
        conn->flags = 0;
        conn->state = NET_STATE_CLOSED;
        conn->free_next = net->conn_free;
        net->conn_free = conn;
        net->conn_count--;
    }
    net->dying = keep;
    atomic_store_explicit(&net->counters.connections, net->conn_count, memory_order_relaxed);
}

/* ---- the poll ------------------------------------------------------------------------------ */

/* What a connection may be offered: all while half of the pool is free, then less, down to two
 * segments; nothing once the last sixteenth is reached. */
static void set_window_limit(struct net *net)
{
    uint32_t free_packets = packet_available(net->port), total = net->packets_total;
    uint32_t least = 2 * (uint32_t)net->mtu, full = net->options.receive_bytes;

    if (free_packets >= total / 2)
        net->window_limit = full;
    else if (free_packets < total / POOL_LAST_PART)
        net->window_limit = 0;
    else
        net->window_limit = (uint32_t)((uint64_t)full * free_packets / (total / 2 + 1));
    if (net->window_limit != 0 && net->window_limit < least)
        net->window_limit = least < full ? least : full;
}

/* The lines of a connection block that most segments touch, for a burst of several. Returns the
 * block, which is nearly always the flow's; NULL: there is none. */
static struct net_conn *prefetch_conn(const struct net *net, uint64_t hash)
{
    struct flows_probe probe = flows_find(&net->flows, hash);
    uint32_t index = flows_next(&probe);

    if (index == FLOWS_NONE)
        return NULL;
    struct net_conn *conn = &net->conns[index];
    for (unsigned at = 0; at < offsetof(struct net_conn, rest); at += 64)
        __builtin_prefetch((const char *)conn + at);
    return conn;
}

/* The connection that was last found in the place of this flow, if it is the flow's. Ends whose
 * flows meet in one place only cost each other the look into the table. */
static struct net_conn *recent_conn(const struct net *net, const struct net_flow *flow)
{
    uint32_t index = net->recent[net_recent_place(flow)];
    struct net_conn *conn = &net->conns[index];

    /* Blocks from conn_fresh on hold nothing yet. */
    return index < net->conn_fresh && (conn->flags & CONN_IN_TABLE) != 0 &&
                   net_flow_equal(&conn->flow, flow)
               ? conn
               : NULL;
}

/* What it works with, or is to. */
static void prefetch_busy(const struct net_conn *conn)
{
    const char *from = conn->busy == NULL ? (const char *)&conn->rest : (const char *)conn->busy;
    size_t size = conn->busy == NULL ? sizeof conn->rest : sizeof *conn->busy;

    for (size_t at = 0; at < size; at += 64)
        __builtin_prefetch(from + at);
    __asm__ volatile(""); /* as in table_prefetch_entry() */
}

/* Would recent_conn() have found it? From now on it does. */
static bool meets_recent(struct net *net, const struct net_flow *flow, const struct net_conn *conn)
{
    uint32_t *place = &net->recent[net_recent_place(flow)];

    if (conn == NULL)
        return false;
    bool meets = *place == conn_index(net, conn);
    *place = conn_index(net, conn);
    return meets;
}

/* Whether few or many connections are at work shows in how many segments are for recent ones. */
static void note_burst(struct net *net, unsigned met, unsigned asked)
{
    if (met * 8 < asked * 7)
        net->few_bursts /= 2;
    else if (net->few_bursts < UINT8_MAX)
        net->few_bursts++;
}

/* What the port says of a frame besides its bytes. */
static void take_note(struct net *net, const struct packet *packet, struct frame *frame,
                      uint64_t hash)
{
    if (packet->flags & PACKET_VLAN)
        frame->vlan = packet->vlan & 0xfff;
    if (packet_seen(packet) && net_lookup(net, &frame->flow, hash) != NULL)
        packet_found(net->port, packet);
}

static void receive(struct net *net, struct packet **packets, unsigned count)
{
    struct frame frames[NET_BURST];
    uint64_t hashes[NET_BURST] = {0};
    struct net_conn *likely[NET_BURST] = {0};
    /* Where many are at work they are in no cache; a few are, however many are idle. */
    bool cached = net->conn_count <= CONNS_CACHED || net->few_bursts >= FEW_BURSTS;
    unsigned met = 0, asked = 0;
    uint64_t bytes = 0;

    unsigned available = packet_available(net->port);

    net->scarce = available < net->packets_total / POOL_LAST_PART;
    sendpool_look(&net->sendpool, available);
    for (unsigned i = 0; i < count; i++)
        __builtin_prefetch(packets[i]->data);
    for (unsigned i = 0; i < count; i++) {
        bytes += packets[i]->len;
        if (wire_parse(packets[i]->data, packets[i]->len, &frames[i]) == FRAME_TCP) {
            bool noted = (packets[i]->flags & ~(uint32_t)PACKET_CHECKSUM_FLAGS) != 0;
            asked++;
            if (cached && !noted && (likely[i] = recent_conn(net, &frames[i].flow)) != NULL) {
                met++;
                continue;
            }
            hashes[i] = net_flow_hash(&net->key, &frames[i].flow);
            flows_prefetch(&net->flows, hashes[i]);
            if (noted)
                take_note(net, packets[i], &frames[i], hashes[i]);
        }
    }
    if (!cached) {
        for (unsigned i = 0; i < count; i++)
            if (frames[i].kind == FRAME_TCP) {
                /* 0 says to net_input() that the flow was compared. */
                likely[i] = hashes[i] != 0 ? prefetch_conn(net, hashes[i]) : NULL;
                met += meets_recent(net, &frames[i].flow, likely[i]);
            }
        for (unsigned i = 0; i < count; i++)
            if (likely[i] != NULL)
                prefetch_busy(likely[i]);
    }
    if (asked > 0 && net->conn_count > CONNS_CACHED)
        note_burst(net, met, asked);
    for (unsigned i = 0; i < count; i++)
        net_input(net, packets[i], &frames[i], hashes[i], likely[i]);
    net_count(&net->counters.rx_frames, count);
    net_count(&net->counters.rx_bytes, bytes);
}

static unsigned run_timers(struct net *net)
{
    struct net_timer *due[NET_TIMERS_A_POLL];
    unsigned count = 0;

    if (timers_due(&net->timers, net->now_us)) {
        count = timers_collect(&net->timers, net->now_us, due, NET_TIMERS_A_POLL);
        for (unsigned i = 0; i < count; i++) {
            struct net_conn *conn =
                (struct net_conn *)((char *)due[i] - offsetof(struct net_conn, timer));
            tcp_alarm_run(net, conn);
        }
    }
    if (net->syncache.used > 0)
        tcp_syn_cache_run(net);
    if (net->timewait.used > 0)
        timewait_expire(&net->timewait, net->now_us, TIME_WAIT_A_POLL);
    if (net->cookies_used.used > 0) /* nobody is woken for it */
        timewait_expire(&net->cookies_used, net->now_us, TIME_WAIT_A_POLL);
    atomic_store_explicit(&net->counters.half_open, net->syncache.used, memory_order_relaxed);
    atomic_store_explicit(&net->counters.time_wait, net->timewait.used, memory_order_relaxed);
    return count;
}

void net_flush(struct net *net)
{
    release_reserved(net);
    if (net->dirty != NULL)
        set_window_limit(net);
    /* A connection that cannot send all for want of room stays for the next flush. */
    struct net_conn *conn = net->dirty;
    net->dirty = NULL;
    net->dirty_end = &net->dirty;
    while (conn != NULL) {
        struct net_conn *next = conn->busy->dirty_next;

        if (next != NULL)
            __builtin_prefetch(&next->rcv_nxt);
        conn->flags &= ~(uint32_t)CONN_DIRTY;
        if (conn->state != NET_STATE_CLOSED)
            tcp_output(net, conn);
        conn = next;
    }
    net->starved = net->dirty != NULL;
    if (net->tx_count > 0)
        net_transmit_burst(net);
    if (!net->starved && net->tx_count == 0)
        net->starved_flushes = 0;
    else if (net->starved_flushes < RETRY_DOUBLINGS)
        net->starved_flushes++;
}

unsigned net_poll(struct net *net)
{
    struct packet *packets[NET_BURST];
    unsigned count, timers;

    net_read_clock(net);
    net_flush(net);
    release_spent(net);
    drop_foreign(net);
    if (net->dying != NULL)
        free_dying(net);
    if (net->sendpool.limbo != NULL)
        sendpool_poll(&net->sendpool);
    net->sendpool.sure = 0; /* what the look at the pool was worth */
    count = packet_receive(net->port, packets, NET_BURST);
    assert(count <= NET_BURST);
    if (count > 0)
        receive(net, packets, count);
    timers = run_timers(net);
    /* Replies to come carry the ACKs, and share the burst with what is queued already. */
    if (net->ready == NULL && (net->dirty != NULL || net->tx_count > 0))
        net_flush(net);
    return count + timers;
}

uint64_t net_next_deadline_us(const struct net *net)
{
    uint64_t next = timers_next_us(&net->timers), other;

    if ((net->dirty != NULL && !net->starved) || net->ready != NULL || net->dying != NULL)
        return 0;
    other = net->now_us + ((uint64_t)RETRY_US << net->starved_flushes);
    if ((net->starved || net->tx_count > 0) && next > other)
        next = other;
    other = syncache_next_us(&net->syncache, net->now_us);
    next = other < next ? other : next;
    other = timewait_next_us(&net->timewait, net->now_us);
    next = other < next ? other : next;
    if (net->sendpool.limbo != NULL && next > net->now_us + LIMBO_US)
        next = net->now_us + LIMBO_US;
    return next == TIMERS_NEVER ? NO_DEADLINE : next;
}

void net_set_keepalive(struct net *net, uint32_t keepalive_s)
{
    net->options.keepalive_s = keepalive_s;
    net->options.keepalive_interval_s = keepalive_interval_s(keepalive_s);
}

void net_announce(struct net *net)
{
    for (unsigned i = 0; i < net->link.address_count; i++) {
        struct packet *packet = net_link_announce(&net->link, i);

        if (packet != NULL)
            net_transmit(net, packet);
    }
}

/* ---- listeners ----------------------------------------------------------------------------- */

const struct net_listener *net_listener_find(const struct net *net, uint16_t port)
{
    for (unsigned i = 0; i < net->listeners_end; i++)
        if (net->listeners[i].used && net->listeners[i].port == port)
            return &net->listeners[i];
    return NULL;
}

int net_listen(struct net *net, uint16_t tcp_port, uint32_t listener_id)
{
    if (tcp_port == 0)
        return -EINVAL;
    if (net_listener_find(net, tcp_port) != NULL)
        return -EADDRINUSE;
    for (unsigned i = 0; i < NET_LISTENERS_MAX; i++) {
        if (net->listeners[i].used)
            continue;
        net->listeners[i] =
            (struct net_listener){.port = tcp_port, .used = true, .id = listener_id};
        if (i >= net->listeners_end)
            net->listeners_end = i + 1;
        return 0;
    }
    return -ENOSPC;
}

int net_unlisten(struct net *net, uint16_t tcp_port)
{
    for (unsigned i = 0; i < net->listeners_end; i++) {
        struct syncache_entry *entry;
        unsigned place = 0;

        if (!net->listeners[i].used || net->listeners[i].port != tcp_port)
            continue;
        net->listeners[i].used = false;
        while ((entry = syncache_walk(&net->syncache, &place, (uint16_t)i)) != NULL)
            syncache_remove(&net->syncache, entry);
        atomic_store_explicit(&net->counters.half_open, net->syncache.used, memory_order_relaxed);
        return 0;
    }
    return -ENOENT;
}

/* ---- frames of others ---------------------------------------------------------------------- */

struct packet *net_take_foreign(struct net *net)
{
    if (net->foreign_count == 0)
        return NULL;
    struct packet *packet = net->foreign[0];
    net->foreign_count--;
    memmove(net->foreign, net->foreign + 1, net->foreign_count * sizeof *net->foreign);
    return packet;
}

bool net_take_wanted(struct net *net, struct net_address *wanted)
{
    if (!net->link.is_wanted)
        return false;
    net->link.is_wanted = false;
    *wanted = net->link.wanted;
    return true;
}

void net_send_frame(struct net *net, struct packet *packet)
{
    net_transmit(net, packet);
}

const struct net_counters *net_counters(const struct net *net)
{
    return &net->counters;
}

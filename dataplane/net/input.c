/* Received frames: which part of the stack each one is for. */
#include <assert.h>

#include "dataplane/net/net_inside.h"

static void drop(struct net *net, struct packet *packet, _Atomic uint64_t *counter)
{
    net_count(counter, 1);
    packet_release(net->port, packet);
}

/* Not for this stack: the kernel's, where there is one behind the port. */
static void foreign(struct net *net, struct packet *packet)
{
    net_count(&net->counters.rx_other, 1);
    if (!net->options.kernel_path || net->foreign_count == NET_FOREIGN_MAX) {
        packet_release(net->port, packet);
        return;
    }
    net->foreign[net->foreign_count++] = packet;
}

static inline struct net_conn *lookup(const struct net *net, const struct net_flow *flow,
                                      uint64_t hash)
{
    struct flows_probe probe = flows_find(&net->flows, hash);
    uint32_t index;

    while ((index = flows_next(&probe)) != FLOWS_NONE)
        if (net_flow_equal(&net->conns[index].flow, flow))
            return &net->conns[index];
    return NULL;
}

struct net_conn *net_lookup(const struct net *net, const struct net_flow *flow, uint64_t hash)
{
    return lookup(net, flow, hash);
}

static bool checksums_good(const struct packet *packet, const struct frame *frame)
{
    if (packet->flags & PACKET_CHECKSUM_BAD)
        return false;
    if (packet->flags & PACKET_CHECKSUM_GOOD)
        return true;
    return wire_checksums_good(frame);
}

bool tcp_elsewhere(struct net *net, const struct packet *packet, const struct frame *frame)
{
    if ((frame->flags & TCP_SYN) != 0 || !packet_lost(net->port, packet))
        return false;
    net_count(&net->counters.rx_elsewhere, 1);
    return true;
}

/* A segment of a flow that has no connection block. */
static void tcp_stray(struct net *net, struct packet *packet, const struct frame *frame,
                      uint64_t hash)
{
    const struct net_listener *listener = net_listener_find(net, frame->flow.local_port);
    struct syncache_entry *entry;
    struct timewait_entry *time_wait;

    /* RFC 9293 section 3.9.2.3: nothing that was sent to many, or from nobody, opens anything. */
    if ((frame_destination_mac(frame)[0] & 1) != 0 ||
        !net_link_is_ours(&net->link, &frame->flow.local)) {
        net_count(&net->counters.rx_not_ours, 1);
        foreign(net, packet);
        return;
    }
    if (!net_link_may_be_host(&net->link, &frame->flow.remote)) {
        drop(net, packet, &net->counters.rx_not_ours);
        return;
    }
    if (net->timewait.used > 0 && (time_wait = timewait_find(&net->timewait, hash)) != NULL) {
        tcp_time_wait_segment(net, time_wait, packet, frame, hash);
        return;
    }
    if (net->syncache.used > 0 &&
        (entry = syncache_find(&net->syncache, hash, &frame->flow)) != NULL) {
        tcp_half_open_segment(net, entry, packet, frame, hash);
        return;
    }
    if (listener != NULL) {
        tcp_listen_segment(net, listener, packet, frame, hash, NULL);
        return;
    }
    if (net->options.kernel_path) {
        foreign(net, packet);
        return;
    }
    if (!tcp_elsewhere(net, packet, frame)) {
        net_count(&net->counters.rx_stray, 1);
        tcp_refuse(net, frame);
    }
    packet_release(net->port, packet);
}

static void tcp_frame(struct net *net, struct packet *packet, const struct frame *frame,
                      uint64_t hash, struct net_conn *likely)
{
    struct net_conn *conn = likely;

    if (!checksums_good(packet, frame)) {
        drop(net, packet, &net->counters.rx_bad_checksum);
        return;
    }
    net_count(&net->counters.rx_tcp, 1);
    /* It may be another flow's, or have ended in this burst; no block changes its flow within one. */
    if (conn == NULL || (conn->flags & CONN_IN_TABLE) == 0 ||
        (hash != 0 && !net_flow_equal(&conn->flow, &frame->flow))) {
        if (hash == 0)
            hash = net_flow_hash(&net->key, &frame->flow);
        conn = lookup(net, &frame->flow, hash);
        if (conn != NULL)
            net->recent[net_recent_place(&frame->flow)] = conn_index(net, conn);
    }
    if (conn == NULL) {
        tcp_stray(net, packet, frame, hash);
        return;
    }
    conn_wake(net, conn);
    tcp_segment(net, conn, packet, frame);
}

static void answer(struct net *net, struct packet *packet)
{
    if (packet != NULL)
        net_transmit(net, packet);
}

/* Somebody's MAC may be known now: active opens that wait for it go on. */
static void neighbours_heard(struct net *net)
{
    for (uint32_t i = 0; i < net->conn_fresh && net->connects_waiting > 0; i++)
        if ((net->conns[i].flags & CONN_WAITS_MAC) && net->conns[i].state == NET_STATE_SYN_SENT)
            tcp_send_syn(net, &net->conns[i]);
}

static void icmp_frame(struct net *net, struct packet *packet, const struct frame *frame)
{
    struct wire_quote quote;
    struct wire_ndp ndp;

    if (!wire_ip_checksum_good(frame) || !wire_checksum_good(frame)) {
        drop(net, packet, &net->counters.rx_bad_checksum);
        return;
    }
    if (wire_parse_quote(frame, &quote)) {
        /* Cards spread by the addresses of the router that complains. */
        if (!tcp_icmp(net, &quote))
            (void)packet_lost(net->port, packet);
    } else if (net->options.kernel_path)
        ; /* the kernel answers */
    else if (wire_parse_ndp(frame, &ndp)) {
        answer(net, net_link_input(&net->link, frame, net->now_us));
        neighbours_heard(net);
    } else
        answer(net, net_icmp_input(&net->icmp, frame, net->now_us));
    if (packet_seen(packet)) /* the kernel has it from the first worker */
        packet_release(net->port, packet);
    else
        foreign(net, packet);
}

void net_input(struct net *net, struct packet *packet, const struct frame *frame, uint64_t hash,
               struct net_conn *likely)
{
    switch ((enum frame_kind)frame->kind) {
    case FRAME_TCP:
        tcp_frame(net, packet, frame, hash, likely);
        break;
    case FRAME_ICMP:
    case FRAME_ICMPV6:
        icmp_frame(net, packet, frame);
        break;
    case FRAME_ARP:
        if (!net->options.kernel_path)
            answer(net, net_link_input(&net->link, frame, net->now_us));
        neighbours_heard(net);
        foreign(net, packet);
        break;
    case FRAME_FRAGMENT:
        net_count(&net->counters.rx_fragments, 1);
        foreign(net, packet);
        break;
    case FRAME_OTHER:
        foreign(net, packet);
        break;
    case FRAME_BAD:
        drop(net, packet, &net->counters.rx_malformed);
        break;
    }
}

bool tcp_icmp(struct net *net, const struct wire_quote *quote)
{
    struct net_conn *conn = net_find(net, &quote->flow);
    int value = 0;

    if (conn == NULL || conn->state == NET_STATE_CLOSED) {
        net_icmp_no_flow(&net->icmp);
        net_count(&net->counters.icmp_ignored, 1);
        return false;
    }
    conn_wake(net, conn);
    struct icmp_flow flow = {.snd_una = conn->busy->recovery.una,
                             .snd_nxt = conn->busy->recovery.nxt,
                             .path_mtu = conn->path_mtu,
                             .is_synchronized = conn->state >= NET_STATE_ESTABLISHED,
                             .is_v4 = net_address_is_v4(&conn->flow.local)};
    switch (net_icmp_judge(&net->icmp, quote, &flow, &value)) {
    case ICMP_REFUSED:
        net_count(&net->counters.icmp_ignored, 1);
        break;
    case ICMP_SOFT:
        net_count(&net->counters.icmp_soft, 1);
        if (value != 0)
            conn->soft_error = (uint8_t)value;
        break;
    case ICMP_ABORT:
        tcp_finish(net, conn, value);
        break;
    case ICMP_SHRINK:
        net_count(&net->counters.icmp_too_big, 1);
        tcp_path_mtu(net, conn, (uint16_t)value);
        break;
    }
    return true;
}

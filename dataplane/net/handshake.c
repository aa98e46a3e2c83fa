/* Opening of connections: passive ones through the SYN cache or cookies (RFC 4987), active and
 * simultaneous ones (RFC 9293 section 3.5). */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "dataplane/net/net_inside.h"

enum {
    MSS_DEFAULT_V4 = 536, /* RFC 9293 section 3.7.1 */
    MSS_DEFAULT_V6 = 1220,
    MSS_PEER_MIN = 88, /* less would make us send mostly headers: an attack, not a network */
    TCP_SYN_RETRIES = 6,
    SYN_CACHE_A_POLL = 32,
    TIMESTAMP_LEN = TCP_OPTIONS_TIMESTAMPS_LEN,
};

/* What both ends know when a handshake ends. */
struct handshake {
    uint32_t iss, irs;
    uint32_t ts_recent;
    uint16_t mss;
    uint16_t vlan;
    uint8_t options; /* TCP_OPTION_* agreed on */
    uint8_t window_scale;
    bool ecn, syn_lost;
    uint32_t rtt_us; /* 0: not known */
    const uint8_t *remote_mac;
};

static unsigned headers_len(const struct net_flow *flow)
{
    return WIRE_TCP_LEN + (net_address_is_v4(&flow->local) ? WIRE_IPV4_LEN : WIRE_IPV6_LEN);
}

static uint16_t mss_ours(const struct net *net, const struct net_flow *flow)
{
    return (uint16_t)(net->mtu - headers_len(flow));
}

static uint16_t mss_default(const struct net_flow *flow)
{
    return net_address_is_v4(&flow->local) ? MSS_DEFAULT_V4 : MSS_DEFAULT_V6;
}

static uint16_t mss_of(const struct tcp_options *options, const struct net_flow *flow)
{
    if ((options->present & TCP_OPTION_MSS) == 0)
        return mss_default(flow);
    return options->mss > MSS_PEER_MIN ? options->mss : MSS_PEER_MIN;
}

/* Options that we are ready to use. */
static uint8_t options_offered(const struct net *net)
{
    return (uint8_t)((net->options.no_sack ? 0 : TCP_OPTION_SACK_PERMITTED) |
                     (net->options.no_timestamps ? 0 : TCP_OPTION_TIMESTAMPS) |
                     (net->options.no_window_scale ? 0 : TCP_OPTION_WINDOW_SCALE));
}

uint16_t tcp_mss(const struct net_conn *conn)
{
    unsigned path = conn->path_mtu - headers_len(&conn->flow);
    unsigned mss = conn->mss_peer < path ? conn->mss_peer : path;

    return (uint16_t)(mss - ((conn->flags & CONN_TIMESTAMPS) != 0 ? TIMESTAMP_LEN : 0));
}

/* The window in a SYN is never scaled (RFC 7323 section 2.2). */
static uint16_t syn_window(const struct net *net)
{
    return (uint16_t)(net->window_limit < 0xffff ? net->window_limit : 0xffff);
}

static bool send_syn(struct net *net, const struct net_flow *flow, const struct handshake *shake,
                     uint8_t flags, uint32_t ts_value)
{
    uint8_t bytes[TCP_OPTIONS_MAX];
    struct tcp_options options = {.present = TCP_OPTION_MSS | shake->options,
                                  .mss = mss_ours(net, flow),
                                  .window_scale = net->window_scale,
                                  .ts_value = ts_value,
                                  .ts_echo = shake->ts_recent};
    struct tcp_bare bare = {.seq = shake->iss,
                            .ack = (flags & TCP_ACK) != 0 ? shake->irs + 1 : 0,
                            .window = syn_window(net),
                            .flags = flags,
                            .options = bytes};

    bare.options_len = (uint8_t)tcp_options_write(bytes, &options);
    return tcp_send_bare(net, flow, shake->remote_mac, shake->vlan, &bare);
}

/* ---- a connection comes to be -------------------------------------------------------------- */

static void set_established(struct net *net, struct net_conn *conn, const struct handshake *shake)
{
    const struct congestion_ops *ops =
        net->options.congestion == NET_NEWRENO ? &congestion_newreno : &congestion_cubic;
    struct rtt rtt;

    conn->flags |= (shake->options & TCP_OPTION_SACK_PERMITTED ? CONN_SACK : 0) |
                   (shake->options & TCP_OPTION_TIMESTAMPS ? CONN_TIMESTAMPS : 0) |
                   (shake->options & TCP_OPTION_WINDOW_SCALE ? CONN_SCALED : 0) |
                   (shake->ecn ? CONN_ECN : 0);
    if (conn->flags & CONN_SCALED) {
        conn->snd_scale = shake->window_scale;
        conn->rcv_scale = net->window_scale;
    }
    conn->mss_peer = shake->mss;
    conn->path_mtu = net->mtu;
    conn->mss = tcp_mss(conn);
    conn->ts_recent = shake->ts_recent;
    conn->ts_recent_ms = net_now_ms(net);
    rtt_init(&rtt);
    if (shake->syn_lost)
        rtt_syn_was_lost(&rtt);
    if (shake->rtt_us > 0)
        rtt_sample(&rtt, shake->rtt_us, net->now_us);
    recovery_init(&conn->busy->recovery, ops, shake->iss + 1, conn->mss,
                  (conn->flags & CONN_SACK) != 0, shake->syn_lost, &rtt);
    /* Output may have been queued as pieces before there was an MSS. */
    conn->busy->queue.end_seq = shake->iss + 1;
    conn->state = conn->flags & CONN_FIN_WANTED ? NET_STATE_FIN_WAIT_1 : NET_STATE_ESTABLISHED;
    conn->busy->wait_ms = 0;
    conn->backoff = 0;
    if (net->options.keepalive_s > 0)
        conn->idle_ms = tcp_deadline_ms(net, (uint64_t)net->options.keepalive_s * 1000000);
    tcp_alarm(net, conn);
}

/* Opens a connection block for a handshake that is complete but for this segment, whose window is
 * scaled already. NULL: no room for it. */
static struct net_conn *accept(struct net *net, const struct frame *frame, uint64_t hash,
                               uint32_t listener_id, const struct handshake *shake)
{
    struct net_conn *conn = net_conn_open(net, &frame->flow, hash);

    if (conn == NULL) {
        net_count(&net->counters.refused_full, 1);
        return NULL;
    }
    conn->flags |= CONN_PASSIVE | CONN_TELL_ACCEPTED;
    conn->stream.listener_id = listener_id;
    conn->vlan = shake->vlan;
    memcpy(conn->remote_mac, shake->remote_mac, WIRE_MAC_LEN);
    conn->ts_offset = isn_timestamp_offset(&net->isn, &conn->flow);
    conn->rcv_nxt = conn->rcv_acked = shake->irs + 1;
    conn->rcv_edge = conn->rcv_nxt + syn_window(net);
    sendqueue_init(&conn->busy->queue, shake->iss + 1);
    set_established(net, conn, shake);
    conn->snd_wl1 = frame->seq - 1;
    conn->snd_wl2 = frame->ack;
    net_count(&net->counters.accepted, 1);
    conn_ready(net, conn);
    return conn;
}

/* ---- passive: SYN -------------------------------------------------------------------------- */

static uint32_t now_stamp(const struct net *net, const struct net_flow *flow)
{
    return net_now_ms(net) + isn_timestamp_offset(&net->isn, flow);
}

static void send_cookie(struct net *net, const struct frame *frame, struct handshake *shake)
{
    struct isn_cookie given,
        wanted = {.mss = shake->mss,
                  .window_scale = shake->options & TCP_OPTION_WINDOW_SCALE ? shake->window_scale
                                                                           : ISN_NO_WINDOW_SCALE,
                  .sack = (shake->options & TCP_OPTION_SACK_PERMITTED) != 0,
                  .ecn = shake->ecn,
                  .timestamps = (shake->options & TCP_OPTION_TIMESTAMPS) != 0};
    /* A flood is answered like this: no hash that is not needed. */
    uint32_t ts_value = wanted.timestamps ? now_stamp(net, &frame->flow) : 0;

    shake->iss = isn_cookie_make(&net->isn, &frame->flow, frame->seq, &wanted, net->now_us,
                                 &ts_value, &given);
    shake->options =
        (uint8_t)((given.timestamps ? TCP_OPTION_TIMESTAMPS : 0) |
                  (given.sack ? TCP_OPTION_SACK_PERMITTED : 0) |
                  (given.window_scale != ISN_NO_WINDOW_SCALE ? TCP_OPTION_WINDOW_SCALE : 0));
    net_count(&net->counters.cookies_sent, 1);
    send_syn(net, &frame->flow, shake, TCP_SYN | TCP_ACK | (given.ecn ? TCP_ECE : 0), ts_value);
}

static void shake_of_entry(const struct syncache_entry *entry, struct handshake *shake)
{
    *shake = (struct handshake){.iss = entry->iss,
                                .irs = entry->irs,
                                .ts_recent = entry->ts_recent,
                                .mss = entry->mss,
                                .vlan = entry->vlan,
                                .options = entry->options,
                                .window_scale = entry->window_scale,
                                .ecn = entry->ecn,
                                .syn_lost = entry->sends > 1,
                                .remote_mac = entry->remote_mac};
}

static void send_syn_ack(struct net *net, struct syncache_entry *entry)
{
    struct handshake shake;

    shake_of_entry(entry, &shake);
    entry->sent_us = (uint32_t)net->now_us;
    send_syn(net, &entry->flow, &shake, TCP_SYN | TCP_ACK | (entry->ecn ? TCP_ECE : 0),
             now_stamp(net, &entry->flow));
}

static void listen_syn(struct net *net, const struct net_listener *listener,
                       const struct frame *frame, uint64_t hash, const struct timewait_entry *last)
{
    struct tcp_options options;
    struct syncache_entry *entry = NULL;

    if (!tcp_options_parse(frame_options(frame), frame->options_len, true, &options)) {
        net_count(&net->counters.rx_malformed, 1);
        return;
    }
    net_count(&net->counters.syns, 1);
    if (net->conn_count >= net->options.connections_max) {
        net_count(&net->counters.refused_full, 1);
        return;
    }
    struct handshake shake = {
        .irs = frame->seq,
        .ts_recent = options.present & TCP_OPTION_TIMESTAMPS ? options.ts_value : 0,
        .mss = mss_of(&options, &frame->flow),
        .vlan = frame->vlan,
        .options = options.present & options_offered(net),
        .window_scale = options.window_scale,
        /* RFC 3168 section 6.1.1: both bits ask for it. */
        .ecn = !net->options.no_ecn && (frame->flags & TCP_ECE) && (frame->flags & TCP_CWR),
        .remote_mac = frame_source_mac(frame),
    };
    if (!net->options.cookies_only)
        entry = syncache_add(&net->syncache, hash, &frame->flow, net->now_us);
    if (entry == NULL) {
        send_cookie(net, frame, &shake);
        return;
    }
    entry->iss = isn_sequence(&net->isn, &frame->flow, net->now_us);
    if (last != NULL)
        entry->iss = timewait_iss(last, entry->iss);
    entry->irs = shake.irs;
    entry->ts_recent = shake.ts_recent;
    entry->mss = shake.mss;
    entry->vlan = shake.vlan;
    entry->listener = (uint16_t)(listener - net->listeners);
    memcpy(entry->remote_mac, shake.remote_mac, WIRE_MAC_LEN);
    entry->options = shake.options;
    entry->window_scale = shake.window_scale;
    entry->ecn = shake.ecn;
    send_syn_ack(net, entry);
}

/* ---- passive: the ACK of a cookie ---------------------------------------------------------- */

/* A cookie would be good again and again as long as it lasts: a late copy of the ACK, or of the
 * first segment with its request, would open the connection anew once it has ended, and the request
 * would be executed a second time. So those that were used are remembered until they have expired,
 * which costs nothing until a handshake is complete. When too many are, the oldest is forgotten. */
static uint64_t cookie_identity(const struct frame *frame, uint64_t hash)
{
    uint64_t numbers = (uint64_t)frame->seq << 32 | frame->ack;

    /* Flow and cookie, both by keys that nobody knows; the product spreads what they differ in. */
    return hash ^ numbers * UINT64_C(0x9e3779b97f4a7c15);
}

static bool cookie_was_used(const struct net *net, const struct frame *frame, uint64_t hash)
{
    const struct timewait_entry *entry =
        timewait_find(&net->cookies_used, cookie_identity(frame, hash));

    return entry != NULL && entry->rcv_nxt == frame->seq && entry->snd_nxt == frame->ack;
}

static void cookie_is_used(struct net *net, const struct frame *frame, uint64_t hash)
{
    struct timewait_entry entry = {.rcv_nxt = frame->seq, .snd_nxt = frame->ack};

    timewait_add(&net->cookies_used, cookie_identity(frame, hash), &entry, net->now_us);
}

/* False: it completes nothing. */
static bool listen_ack(struct net *net, const struct net_listener *listener, struct packet *packet,
                       const struct frame *frame, uint64_t hash)
{
    struct tcp_options options;
    struct isn_cookie cookie;
    struct net_conn *conn;

    if (!tcp_options_parse(frame_options(frame), frame->options_len, false, &options))
        return false;
    bool stamped = (options.present & TCP_OPTION_TIMESTAMPS) != 0 && !net->options.no_timestamps;
    uint32_t echo = stamped ? options.ts_echo - isn_timestamp_offset(&net->isn, &frame->flow) : 0;
    if (!isn_cookie_check(&net->isn, &frame->flow, frame->seq, frame->ack, stamped,
                          stamped ? options.ts_echo : 0, net->now_us, &cookie)) {
        if (net->isn.cookies_until_us > net->now_us)
            net_count(&net->counters.cookies_bad, 1);
        return false;
    }
    if (cookie_was_used(net, frame, hash)) {
        net_count(&net->counters.cookies_used, 1);
        return false;
    }
    struct handshake shake = {
        .iss = frame->ack - 1,
        .irs = frame->seq - 1,
        .ts_recent = stamped ? options.ts_value : 0,
        .mss = cookie.mss,
        .vlan = frame->vlan,
        .options =
            (uint8_t)((cookie.timestamps ? TCP_OPTION_TIMESTAMPS : 0) |
                      (cookie.sack ? TCP_OPTION_SACK_PERMITTED : 0) |
                      (cookie.window_scale != ISN_NO_WINDOW_SCALE ? TCP_OPTION_WINDOW_SCALE : 0)),
        .window_scale = cookie.window_scale,
        .ecn = cookie.ecn,
        .remote_mac = frame_source_mac(frame),
    };
    /* The echoed stamp was our clock when the SYN-ACK went out, or up to 64 ms before. */
    if (stamped && net_now_ms(net) - echo < 1000)
        shake.rtt_us = (net_now_ms(net) - echo) * 1000 + 1;
    net_count(&net->counters.cookies_good, 1);
    conn = accept(net, frame, hash, listener->id, &shake);
    if (conn == NULL) {
        packet_release(net->port, packet);
    } else {
        cookie_is_used(net, frame, hash);
        tcp_segment(net, conn, packet, frame);
    }
    return true;
}

void tcp_listen_segment(struct net *net, const struct net_listener *listener, struct packet *packet,
                        const struct frame *frame, uint64_t hash, const struct timewait_entry *last)
{
    uint8_t flags = frame->flags;

    if (flags & TCP_RST) {
        (void)tcp_elsewhere(net, packet, frame);
    } else if (flags & TCP_ACK) {
        if ((flags & TCP_SYN) == 0 && listen_ack(net, listener, packet, frame, hash))
            return;
        if (!tcp_elsewhere(net, packet, frame)) {
            net_count(&net->counters.rx_stray, 1);
            tcp_refuse(net, frame);
        }
    } else if ((flags & (TCP_SYN | TCP_FIN)) == TCP_SYN) {
        listen_syn(net, listener, frame, hash, last);
    }
    packet_release(net->port, packet);
}

/* ---- passive: half open -------------------------------------------------------------------- */

/* An ACK of a flow in the SYN cache that cannot be its last one: told where we stand. */
static void half_open_challenge(struct net *net, const struct syncache_entry *entry)
{
    struct tcp_bare bare = {.seq = entry->iss + 1,
                            .ack = entry->irs + 1,
                            .window = syn_window(net),
                            .flags = TCP_ACK};
    uint8_t bytes[TCP_OPTIONS_TIMESTAMPS_LEN];

    if (!net_limit_take(&net->resets, net->now_us, NET_RESETS_PER_S)) {
        net_count(&net->counters.challenge_acks_limited, 1);
        return;
    }
    if (entry->options & TCP_OPTION_TIMESTAMPS) {
        tcp_options_write_timestamps(bytes, now_stamp(net, &entry->flow), entry->ts_recent);
        bare.options = bytes;
        bare.options_len = sizeof bytes;
    }
    net_count(&net->counters.challenge_acks, 1);
    tcp_send_bare(net, &entry->flow, entry->remote_mac, entry->vlan, &bare);
}

enum half_open_verdict { HALF_OPEN_DROP, HALF_OPEN_CHALLENGE, HALF_OPEN_REFUSE, HALF_OPEN_DONE };

static enum half_open_verdict judge_half_open(struct net *net, struct syncache_entry *entry,
                                              const struct frame *frame,
                                              struct tcp_options *options)
{
    uint32_t offset = frame->seq - (entry->irs + 1);

    if (!tcp_options_parse(frame_options(frame), frame->options_len, (frame->flags & TCP_SYN) != 0,
                           options))
        return HALF_OPEN_DROP;
    if (frame->flags & TCP_RST) {
        if (offset != 0)
            return offset <= 0xffff ? HALF_OPEN_CHALLENGE : HALF_OPEN_DROP;
        syncache_remove(&net->syncache, entry);
        net_count(&net->counters.resets_received, 1);
        return HALF_OPEN_DROP;
    }
    if (frame->flags & TCP_SYN) {
        if (frame->seq != entry->irs || (frame->flags & TCP_ACK))
            return HALF_OPEN_CHALLENGE;
        send_syn_ack(net, entry);
        return HALF_OPEN_DROP;
    }
    if ((frame->flags & TCP_ACK) == 0)
        return HALF_OPEN_DROP;
    if (entry->options & TCP_OPTION_TIMESTAMPS) {
        if ((options->present & TCP_OPTION_TIMESTAMPS) == 0)
            return HALF_OPEN_DROP; /* RFC 7323 section 3.2 */
        if (seq_before(options->ts_value, entry->ts_recent))
            return HALF_OPEN_CHALLENGE;
    }
    if (offset > 0xffff)
        return HALF_OPEN_CHALLENGE;
    return frame->ack == entry->iss + 1 ? HALF_OPEN_DONE : HALF_OPEN_REFUSE;
}

void tcp_half_open_segment(struct net *net, struct syncache_entry *entry, struct packet *packet,
                           const struct frame *frame, uint64_t hash)
{
    struct tcp_options options;
    struct handshake shake;
    struct net_conn *conn;

    switch (judge_half_open(net, entry, frame, &options)) {
    case HALF_OPEN_DROP:
        break;
    case HALF_OPEN_CHALLENGE:
        half_open_challenge(net, entry);
        break;
    case HALF_OPEN_REFUSE:
        tcp_refuse(net, frame);
        break;
    case HALF_OPEN_DONE:
        shake_of_entry(entry, &shake);
        if (entry->sends == 1)
            shake.rtt_us = (uint32_t)net->now_us - entry->sent_us + 1;
        net_count(&net->counters.syn_cache_hits, 1);
        conn = accept(net, frame, hash, net->listeners[entry->listener].id, &shake);
        if (conn == NULL)
            break; /* full: the SYN-ACK goes again and there may be room then */
        syncache_remove(&net->syncache, entry);
        tcp_segment(net, conn, packet, frame);
        return;
    }
    packet_release(net->port, packet);
}

void tcp_syn_cache_run(struct net *net)
{
    struct syncache_entry *due[SYN_CACHE_A_POLL];
    unsigned count = syncache_collect(&net->syncache, net->now_us, due, SYN_CACHE_A_POLL);

    for (unsigned i = 0; i < count; i++)
        send_syn_ack(net, due[i]);
}

/* ---- active -------------------------------------------------------------------------------- */

void tcp_open(struct net *net, struct net_conn *conn, const struct timewait_entry *last)
{
    uint32_t iss = isn_sequence(&net->isn, &conn->flow, net->now_us);

    if (last != NULL)
        iss = timewait_iss(last, iss);
    conn->state = NET_STATE_SYN_SENT;
    conn->ts_offset = isn_timestamp_offset(&net->isn, &conn->flow);
    conn->path_mtu = net->mtu;
    conn->mss_peer = mss_default(&conn->flow);
    conn->mss = tcp_mss(conn);
    rtt_init(&conn->busy->recovery.rtt);
    conn->busy->recovery.una = iss;
    conn->busy->recovery.nxt = iss + 1;
    sendqueue_init(&conn->busy->queue, iss + 1);
    tcp_send_syn(net, conn);
    conn_dirty(net, conn);
}

void tcp_waits_mac(struct net *net, struct net_conn *conn, bool waits)
{
    if (waits == ((conn->flags & CONN_WAITS_MAC) != 0))
        return;
    conn->flags ^= CONN_WAITS_MAC;
    net->connects_waiting += waits ? 1 : UINT32_MAX;
}

/* False: no MAC yet. */
static bool resolve(struct net *net, struct net_conn *conn)
{
    struct packet *question = NULL;
    enum link_found found = net_link_resolve(&net->link, &conn->flow.remote, net->now_us,
                                             conn->remote_mac, &conn->vlan, &question);

    if (question != NULL)
        net_transmit(net, question);
    if (found == LINK_FOUND) {
        tcp_waits_mac(net, conn, false);
        return true;
    }
    if (found == LINK_ABSENT)
        conn->soft_error = EHOSTUNREACH;
    tcp_waits_mac(net, conn, true);
    return false;
}

void tcp_send_syn(struct net *net, struct net_conn *conn)
{
    bool received = conn->state == NET_STATE_SYN_RECEIVED;
    struct handshake shake = {.iss = conn->busy->recovery.una,
                              .irs = conn->rcv_nxt - 1,
                              .ts_recent = conn->ts_recent,
                              .vlan = conn->vlan,
                              .options = options_offered(net),
                              .remote_mac = conn->remote_mac};
    uint8_t flags = TCP_SYN;

    if (received) {
        flags |= TCP_ACK | (conn->flags & CONN_ECN ? TCP_ECE : 0);
        shake.options = (uint8_t)((conn->flags & CONN_SACK ? TCP_OPTION_SACK_PERMITTED : 0) |
                                  (conn->flags & CONN_TIMESTAMPS ? TCP_OPTION_TIMESTAMPS : 0) |
                                  (conn->flags & CONN_SCALED ? TCP_OPTION_WINDOW_SCALE : 0));
    } else if (!net->options.no_ecn && conn->backoff < 2) {
        /* A path that drops such SYNs gets plain ones later (RFC 3168 section 6.1.1.1). */
        flags |= TCP_ECE | TCP_CWR;
    }
    if (!received && !resolve(net, conn)) {
        /* The question is repeated by the link; look again soon after its answer may be there. */
        conn->busy->wait_ms = tcp_deadline_ms(net, LINK_RETRY_US / 20);
        tcp_alarm(net, conn);
        return;
    }
    shake.vlan = conn->vlan;
    if (send_syn(net, &conn->flow, &shake, flags, net_now_ms(net) + conn->ts_offset) &&
        conn->busy->stalled_ms == 0)
        conn->busy->stalled_ms = net_now_ms(net) | 1;
    conn->busy->recovery.last_sent_us = net->now_us;
    conn->busy->wait_ms = tcp_deadline_ms(net, (uint64_t)RTT_RTO_FIRST_US << conn->backoff);
    tcp_alarm(net, conn);
}

/* What the peer's SYN says, for an active open. */
static void take_syn(struct net *net, struct net_conn *conn, const struct frame *frame,
                     const struct tcp_options *options, struct handshake *shake)
{
    bool answer = (frame->flags & TCP_ACK) != 0;

    *shake = (struct handshake){
        .iss = conn->busy->recovery.una,
        .irs = frame->seq,
        .ts_recent = options->present & TCP_OPTION_TIMESTAMPS ? options->ts_value : 0,
        .mss = mss_of(options, &conn->flow),
        .vlan = conn->vlan,
        .options = options->present & options_offered(net),
        .window_scale = options->window_scale,
        .ecn = !net->options.no_ecn && (frame->flags & TCP_ECE) != 0 &&
               ((frame->flags & TCP_CWR) == 0) == answer,
        .syn_lost = (conn->flags & CONN_SYN_LOST) != 0,
        .remote_mac = conn->remote_mac,
    };
    conn->rcv_nxt = conn->rcv_acked = frame->seq + 1;
    conn->rcv_edge = conn->rcv_nxt + syn_window(net);
    conn->snd_wnd = conn->snd_wnd_max = frame->window;
    conn->snd_wl1 = frame->seq;
    conn->snd_wl2 = frame->ack;
    conn->heard_ms = net_now_ms(net);
}

static void connected(struct net *net, struct net_conn *conn, struct handshake *shake)
{
    if (!shake->syn_lost)
        shake->rtt_us = (uint32_t)(net->now_us - conn->busy->recovery.last_sent_us) + 1;
    conn->busy->stalled_ms = 0;
    set_established(net, conn, shake);
    conn->flags |= CONN_TELL_CONNECTED;
    net_count(&net->counters.connected, 1);
    conn_ready(net, conn);
    conn_dirty(net, conn);
}

/* RFC 9293 section 3.10.7.3. */
void tcp_syn_sent_segment(struct net *net, struct net_conn *conn, const struct frame *frame)
{
    bool acks = (frame->flags & TCP_ACK) != 0;
    struct tcp_options options;
    struct handshake shake;

    if (acks && frame->ack != conn->busy->recovery.nxt) {
        if ((frame->flags & TCP_RST) == 0)
            tcp_refuse(net, frame);
        return;
    }
    if (frame->flags & TCP_RST) {
        net_count(&net->counters.resets_received, 1);
        if (acks)
            tcp_finish(net, conn, ECONNREFUSED);
        return;
    }
    if ((frame->flags & TCP_SYN) == 0 ||
        !tcp_options_parse(frame_options(frame), frame->options_len, true, &options))
        return;
    take_syn(net, conn, frame, &options, &shake);
    if (acks) {
        connected(net, conn, &shake);
        conn->flags |= CONN_ACK_NOW;
        return;
    }
    /* Both opened at the same time (section 3.5, figure 8): what was agreed on is kept in the
     * flags until the last ACK. */
    memcpy(conn->remote_mac, frame_source_mac(frame), WIRE_MAC_LEN);
    conn->flags |= (shake.options & TCP_OPTION_SACK_PERMITTED ? CONN_SACK : 0) |
                   (shake.options & TCP_OPTION_TIMESTAMPS ? CONN_TIMESTAMPS : 0) |
                   (shake.options & TCP_OPTION_WINDOW_SCALE ? CONN_SCALED : 0) |
                   (shake.ecn ? CONN_ECN : 0);
    conn->snd_scale = conn->flags & CONN_SCALED ? shake.window_scale : 0;
    conn->mss_peer = shake.mss;
    conn->ts_recent = shake.ts_recent;
    conn->ts_recent_ms = net_now_ms(net);
    conn->state = NET_STATE_SYN_RECEIVED;
    conn->backoff = 0;
    tcp_send_syn(net, conn);
}

bool tcp_syn_received_segment(struct net *net, struct net_conn *conn, const struct frame *frame)
{
    if (frame->ack != conn->busy->recovery.nxt) {
        tcp_refuse(net, frame);
        return false;
    }
    struct handshake shake = {
        .iss = conn->busy->recovery.una,
        .irs = conn->rcv_nxt - 1,
        .ts_recent = conn->ts_recent,
        .mss = conn->mss_peer,
        .vlan = conn->vlan,
        .options = (uint8_t)((conn->flags & CONN_SACK ? TCP_OPTION_SACK_PERMITTED : 0) |
                             (conn->flags & CONN_TIMESTAMPS ? TCP_OPTION_TIMESTAMPS : 0) |
                             (conn->flags & CONN_SCALED ? TCP_OPTION_WINDOW_SCALE : 0)),
        .window_scale = conn->snd_scale,
        .ecn = (conn->flags & CONN_ECN) != 0,
        .syn_lost = (conn->flags & CONN_SYN_LOST) != 0,
        .remote_mac = conn->remote_mac,
    };
    connected(net, conn, &shake);
    return true;
}

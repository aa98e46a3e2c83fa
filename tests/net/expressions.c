/* The names that expressions of packet scripts may use. */
#include "tests/net/case.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct constant {
    const char *name;
    int64_t value;
};

static const struct constant constants[] = {
    {"CLOSED", NET_STATE_CLOSED},
    {"LISTEN", NET_STATE_LISTEN},
    {"SYN_SENT", NET_STATE_SYN_SENT},
    {"SYN_RECEIVED", NET_STATE_SYN_RECEIVED},
    {"ESTABLISHED", NET_STATE_ESTABLISHED},
    {"FIN_WAIT_1", NET_STATE_FIN_WAIT_1},
    {"FIN_WAIT_2", NET_STATE_FIN_WAIT_2},
    {"CLOSE_WAIT", NET_STATE_CLOSE_WAIT},
    {"CLOSING", NET_STATE_CLOSING},
    {"LAST_ACK", NET_STATE_LAST_ACK},
    {"TIME_WAIT", NET_STATE_TIME_WAIT},
    {"ECONNRESET", ECONNRESET},
    {"ETIMEDOUT", ETIMEDOUT},
    {"ECONNREFUSED", ECONNREFUSED},
    {"EHOSTUNREACH", EHOSTUNREACH},
    {"ENETUNREACH", ENETUNREACH},
    {"ENOBUFS", ENOBUFS},
    {"ECONNABORTED", ECONNABORTED},
    {"EPIPE", EPIPE},
    {"EPROTO", EPROTO},
};

struct counter {
    const char *name;
    size_t offset;
};

#define COUNTER(name)                                                                              \
    {                                                                                              \
        "count." #name, offsetof(struct net_counters, name)                                        \
    }

static const struct counter counters[] = {
    COUNTER(rx_frames),
    COUNTER(rx_tcp),
    COUNTER(rx_other),
    COUNTER(rx_malformed),
    COUNTER(rx_bad_checksum),
    COUNTER(rx_fragments),
    COUNTER(rx_not_ours),
    COUNTER(rx_stray),
    COUNTER(rx_out_of_order),
    COUNTER(rx_out_of_order_dropped),
    COUNTER(rx_duplicate),
    COUNTER(rx_outside_window),
    COUNTER(rx_no_memory),
    COUNTER(tx_no_packet),
    COUNTER(tx_queue_full),
    COUNTER(tx_segments),
    COUNTER(tx_retransmits),
    COUNTER(tx_acks),
    COUNTER(tx_resets),
    COUNTER(tx_probes),
    COUNTER(resets_limited),
    COUNTER(challenge_acks),
    COUNTER(challenge_acks_limited),
    COUNTER(paws_dropped),
    COUNTER(bad_acks),
    COUNTER(resets_received),
    COUNTER(accepted),
    COUNTER(connected),
    COUNTER(closed),
    COUNTER(aborted),
    COUNTER(timed_out),
    COUNTER(refused_full),
    COUNTER(syns),
    COUNTER(syn_cache_hits),
    COUNTER(cookies_sent),
    COUNTER(cookies_good),
    COUNTER(cookies_bad),
    COUNTER(cookies_used),
    COUNTER(time_wait_reused),
    COUNTER(rto_fired),
    COUNTER(tlp_sent),
    COUNTER(fast_recoveries),
    COUNTER(undos),
    COUNTER(dsacks_sent),
    COUNTER(icmp_soft),
    COUNTER(icmp_too_big),
    COUNTER(icmp_ignored),
    COUNTER(connections),
    COUNTER(half_open),
    COUNTER(time_wait),
};

struct fact {
    const char *name;
    size_t offset;
    char kind; /* 'w' 32-bit word, 'b' bool, 'i' int */
};

#define FACT(shown, field, kind)                                                                   \
    {                                                                                              \
        shown, offsetof(struct net_info, field), kind                                              \
    }

static const struct fact facts[] = {
    FACT("state", state, 'w'),
    FACT("sndwnd", snd_wnd, 'w'),
    FACT("rcvwnd", rcv_wnd, 'w'),
    FACT("cwnd", cwnd, 'w'),
    FACT("ssthresh", ssthresh, 'w'),
    FACT("flight", flight, 'w'),
    FACT("srtt", srtt_us, 'w'),
    FACT("rto", rto_us, 'w'),
    FACT("smss", mss, 'w'),
    FACT("retransmits", retransmits, 'w'),
    FACT("waiting", received_packets, 'w'),
    FACT("ooo", out_of_order_packets, 'w'),
    FACT("queued", queued_bytes, 'w'),
    FACT("softerror", soft_error, 'i'),
    FACT("has_sack", sack, 'b'),
    FACT("has_ts", timestamps, 'b'),
    FACT("has_ws", window_scale, 'b'),
    FACT("has_ecn", ecn, 'b'),
};

struct host_conn *run_conn(struct run *run)
{
    for (unsigned i = run->host.conns_count; i-- > 0;) {
        struct host_conn *conn = &run->host.conns[i];

        if (conn->peer.port == run->peer->side.port)
            return conn;
    }
    return NULL;
}

static bool look_up_info(struct run *run, const char *name, int64_t *value)
{
    struct host_conn *conn = run_conn(run);
    struct net_info info;

    for (unsigned i = 0; i < sizeof facts / sizeof *facts; i++) {
        const uint8_t *at = (const uint8_t *)&info + facts[i].offset;

        if (strcmp(facts[i].name, name) != 0)
            continue;
        if (conn == NULL || conn->conn == NULL) {
            /* A connection that is gone has no state but that of its flow. */
            *value = NET_STATE_CLOSED;
            return strcmp(name, "state") == 0;
        }
        net_info(run->host.net, conn->conn, &info);
        *value = facts[i].kind == 'b'   ? *(const bool *)at
                 : facts[i].kind == 'i' ? *(const int *)at
                                        : (int64_t) * (const uint32_t *)at;
        return true;
    }
    if (strcmp(name, "snduna") == 0 || strcmp(name, "sndnxt") == 0 || strcmp(name, "rcvnxt") == 0) {
        if (conn == NULL || conn->conn == NULL)
            return false;
        net_info(run->host.net, conn->conn, &info);
        *value = strcmp(name, "snduna") == 0   ? (int32_t)(info.snd_una - run->peer->irs)
                 : strcmp(name, "sndnxt") == 0 ? (int32_t)(info.snd_nxt - run->peer->irs)
                                               : (int32_t)(info.rcv_nxt - run->peer->iss);
        return true;
    }
    return false;
}

static bool look_up_conn(struct run *run, const char *name, int64_t *value)
{
    static const struct host_conn none;
    const struct host_conn *conn = run_conn(run);

    if (conn == NULL)
        conn = &none;
    if (strcmp(name, "received") == 0)
        *value = (int64_t)conn->received;
    else if (strcmp(name, "written") == 0)
        *value = (int64_t)conn->written;
    else if (strcmp(name, "accepted") == 0)
        *value = conn->accepted;
    else if (strcmp(name, "connected") == 0)
        *value = conn->connected;
    else if (strcmp(name, "ended") == 0)
        *value = conn->ended;
    else if (strcmp(name, "closed") == 0)
        *value = conn->closed;
    else if (strcmp(name, "error") == 0)
        *value = conn->error;
    else if (strcmp(name, "drained") == 0)
        *value = conn->drained;
    else if (strcmp(name, "pending") == 0)
        *value = conn->conn != NULL ? (int64_t)net_conn_stream(conn->conn)->pending_bytes : 0;
    else
        return false;
    return true;
}

static bool look_up_flow(struct run *run, int64_t *value)
{
    struct net_flow flow = {
        .remote = host_address(run->peer->side.mac[5], run->variant.v6),
        .local = host_address(CASE_HOST_NUMBER, run->variant.v6),
        .remote_port = run->peer->side.port,
        .local_port = HOST_SERVICE_PORT,
    };
    const struct host_conn *conn = run_conn(run);

    if (conn != NULL)
        flow.local_port = conn->local_port;
    *value = net_flow_state(run->host.net, &flow);
    return true;
}

static bool look_up_run(struct run *run, const char *name, int64_t *value)
{
    const struct peer *peer = run->peer;
    const struct segment *last = &run->last;

    if (strcmp(name, "mss") == 0)
        *value = run->mss - (run->variant.ts ? 12 : 0);
    else if (strcmp(name, "iw") == 0)
        *value = 10 * (run->mss - (run->variant.ts ? 12 : 0));
    else if (strcmp(name, "next") == 0)
        *value = peer->next;
    else if (strcmp(name, "seen") == 0)
        *value = peer->seen;
    else if (strcmp(name, "acked") == 0)
        *value = peer->acked;
    else if (strcmp(name, "edge") == 0)
        *value = peer->edge;
    else if (strcmp(name, "now") == 0)
        *value = (int64_t)(run->host.now_us - run->start_us);
    else if (strcmp(name, "conns") == 0)
        *value = run->host.conns_count;
    else if (strcmp(name, "pins") == 0)
        *value = run->host.pins;
    else if (strcmp(name, "used") == 0)
        *value = run->host.port->packets - run->host.port->free_count;
    else if (strcmp(name, "irs") == 0)
        *value = peer->irs;
    else if (strcmp(name, "last.seq") == 0)
        *value = (int32_t)(last->seq - peer->irs);
    else if (strcmp(name, "last.ack") == 0)
        *value = (int32_t)(last->ack - peer->iss);
    else if (strcmp(name, "last.len") == 0)
        *value = (int64_t)last->payload_len;
    else if (strcmp(name, "last.win") == 0)
        *value = (int64_t)last->window << (peer->scaled ? peer->wscale : 0);
    else if (strcmp(name, "last.rawwin") == 0)
        *value = last->window;
    else if (strcmp(name, "last.mss") == 0)
        *value = last->mss;
    else if (strcmp(name, "last.ws") == 0)
        *value = last->has_wscale ? last->wscale : -1;
    else if (strcmp(name, "last.ts") == 0)
        *value = last->ts_value;
    else if (strcmp(name, "last.echo") == 0)
        *value = (int32_t)(last->ts_echo - run->ts_base);
    else if (strcmp(name, "v6") == 0)
        *value = run->variant.v6;
    else
        return false;
    return true;
}

static bool look_up(void *arg, const char *name, int64_t *value)
{
    struct run *run = arg;

    for (unsigned i = 0; i < run->names_count; i++) {
        if (strcmp(run->names[i].name, name) == 0) {
            *value = run->names[i].value;
            return true;
        }
    }
    for (unsigned i = 0; i < sizeof constants / sizeof *constants; i++) {
        if (strcmp(constants[i].name, name) == 0) {
            *value = constants[i].value;
            return true;
        }
    }
    if (strcmp(name, "i") == 0 && run->loops_count > 0) {
        *value = run->loops[run->loops_count - 1].index;
        return true;
    }
    if (look_up_run(run, name, value))
        return true;
    if (!run->started)
        return false;
    for (unsigned i = 0; i < sizeof counters / sizeof *counters; i++) {
        const _Atomic uint64_t *at =
            (const void *)((const uint8_t *)net_counters(run->host.net) + counters[i].offset);

        if (strcmp(counters[i].name, name) == 0) {
            *value = (int64_t)*at;
            return true;
        }
    }
    if (strcmp(name, "flow") == 0)
        return look_up_flow(run, value);
    return look_up_conn(run, name, value) || look_up_info(run, name, value);
}

bool run_number(struct run *run, const char *text, int64_t *value)
{
    return script_evaluate(text, look_up, run, value) || run_fail(run, "what is \"%s\"?", text);
}

bool run_range(struct run *run, const char *text, int64_t *first, int64_t *last)
{
    return script_range(text, look_up, run, first, last) || run_fail(run, "what is \"%s\"?", text);
}

bool run_set_name(struct run *run, const char *name, int64_t value)
{
    for (unsigned i = 0; i < run->names_count; i++) {
        if (strcmp(run->names[i].name, name) == 0) {
            run->names[i].value = value;
            return true;
        }
    }
    if (run->names_count == CASE_NAMES_MAX)
        return run_fail(run, "too many names");
    run->names[run->names_count].name = name;
    run->names[run->names_count++].value = value;
    return true;
}

/* A list of operations on a connection in each state: segments whose fields are relative to what
 * the connection expects, calls of the application, time, memory that fails, ICMP errors.
 * Input: two bytes that choose variant and state, then eight bytes for each operation. */
#include "tests/fuzz/net_state.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OPS_MAX = 200, WRITE_MAX = 200000 };

static int word(const uint8_t *at)
{
    return (int16_t)(at[0] | at[1] << 8);
}

/* Small numbers are what they are, large ones reach far. */
static int64_t spread(int value)
{
    return value > 12000 || value < -12000 ? (int64_t)value * 40 : value;
}

static void send_segment(struct run *run, const uint8_t *op, bool sacks)
{
    struct peer *peer = run->peer;
    uint8_t payload[1000], frame[FRAME_MAX];
    struct segment segment = {
        .v6 = run->variant.v6,
        .flags = op[1],
        .seq = peer->iss + (uint32_t)(peer->next + spread(word(op + 2))),
        .ack = peer->irs + (uint32_t)(peer->seen + spread(word(op + 4))),
        .window = (uint16_t)(op[6] << 8 | op[7]),
        .from = peer->side,
        .has_ts = peer->ts != ((op[0] & 0x40) != 0),
        .ts_value = run->ts_base + (uint32_t)((run->host.now_us - run->start_us) / 1000) + op[6],
        .ts_echo = peer->ts_last - op[7],
        .payload = payload,
        .payload_len = sacks ? 0 : (size_t)op[7] * 3,
        .has_mss = op[1] & FRAME_SYN,
        .mss = (uint16_t)(op[6] * 8),
        .ecn = op[0] >> 6,
    };
    uint32_t end;

    host_side(CASE_HOST_NUMBER, run->variant.v6, HOST_SERVICE_PORT, &segment.to);
    for (unsigned i = 0; sacks && i < 2; i++) {
        segment.sacks[i].start = segment.ack + (uint32_t)op[6 + i] * 500;
        segment.sacks[i].end = segment.sacks[i].start + (uint32_t)op[7 - i] * 100;
        segment.sack_count = i + 1;
    }
    memset(payload, 'x', sizeof payload);
    port_push(run->host.port, frame, frame_build(&segment, frame, sizeof frame),
              PACKET_CHECKSUM_GOOD);
    /* In order as far as the connection can know: it goes on from there. */
    end = segment.seq + (uint32_t)segment.payload_len + !!(segment.flags & FRAME_FIN);
    if (word(op + 2) == 0 && (segment.flags & (FRAME_ACK | FRAME_RST | FRAME_SYN)) == FRAME_ACK)
        peer->next = (int32_t)(end - peer->iss);
}

static void call(struct run *run, const uint8_t *op)
{
    struct host_conn *conn = run_conn(run);
    struct net *net = run->host.net;
    size_t len = (size_t)(op[2] | op[3] << 8);

    if (conn == NULL || conn->conn == NULL)
        return;
    switch (op[1] % 10) {
    case 0:
    case 1:
        if (conn->written < WRITE_MAX)
            host_write(&run->host, conn, len);
        break;
    case 2:
        if (conn->written < WRITE_MAX)
            host_pin(&run->host, conn, len);
        break;
    case 3:
        net_pause(net, conn->conn);
        break;
    case 4:
        net_resume(net, conn->conn);
        break;
    case 5:
        net_shutdown(net, conn->conn);
        break;
    case 6:
        net_close(net, conn->conn, NET_CLOSE_FLUSH);
        break;
    case 7:
        net_close(net, conn->conn, NET_CLOSE_NOW);
        break;
    case 8:
        net_notify_drained(net, conn->conn);
        break;
    default:
        net_set_user_timeout(net, conn->conn, op[2]);
        break;
    }
}

static void send_icmp(struct run *run, const uint8_t *op)
{
    struct segment about = {.v6 = run->variant.v6, .flags = FRAME_ACK, .to = run->peer->side};
    struct frame_side router;
    uint8_t frame[FRAME_MAX];
    size_t len;

    host_side(CASE_HOST_NUMBER, run->variant.v6, HOST_SERVICE_PORT, &about.from);
    host_side(200, run->variant.v6, 0, &router);
    about.seq = run->peer->irs + (uint32_t)(run->peer->seen + spread(word(op + 2)));
    len = frame_build_icmp(&about, &router, op[1] % 16, op[4] % 8, (uint32_t)(op[6] << 8 | op[7]),
                           op[5], frame, sizeof frame);
    port_push(run->host.port, frame, len, 0);
}

static void operate(struct run *run, const uint8_t *op)
{
    static const uint32_t steps_us[] = {100, 5000, 50000, 250000, 1000000, 5000000, 61000000};

    switch (op[0] % 16) {
    case 8:
    case 9:
    case 10:
        call(run, op);
        break;
    case 11:
        host_advance(&run->host, steps_us[op[1] % 7]);
        break;
    case 12:
        run->host.port->fail_all = op[1] & 1;
        break;
    case 13:
        run->host.port->transmit_room = op[1] & 1 ? op[2] : UINT32_MAX;
        break;
    case 14:
        send_icmp(run, op);
        break;
    case 6:
    case 7:
        send_segment(run, op, true);
        break;
    default:
        send_segment(run, op, false);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run *run;

    if (size < 2)
        return 0;
    run = net_state_enter(data);
    for (unsigned ops = 0; 2 + (ops + 1) * 8 <= size && ops < OPS_MAX; ops++) {
        operate(run, data + 2 + ops * 8);
        host_poll(&run->host);
        net_state_look(run);
    }
    net_state_leave(run);
    return 0;
}

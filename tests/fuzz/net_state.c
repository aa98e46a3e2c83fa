#include "tests/fuzz/net_state.h"

#include <stdio.h>
#include <stdlib.h>

void net_state_stop(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    abort();
}

struct run *net_state_enter(const uint8_t choice[2])
{
    static const char *const ways[] = {
        "poll",
        "enter SYN_RECEIVED",
        "enter ESTABLISHED",
        "enter FIN_WAIT_1",
        "enter FIN_WAIT_2",
        "enter CLOSE_WAIT",
        "enter CLOSING",
        "enter LAST_ACK",
        "enter TIME_WAIT",
        "connect",
    };
    static struct run run;
    static struct port *port;
    struct variant variant = {.v6 = choice[0] & 1,
                              .sack = choice[0] & 2,
                              .ts = choice[0] & 4,
                              .start = (enum case_start)((choice[0] >> 3) % CASE_STARTS)};

    if (port == NULL) {
        port = port_create();
        run.queue = calloc(CASE_QUEUE_MAX, sizeof *run.queue);
        if (port == NULL || run.queue == NULL)
            abort();
    }
    case_prepare(&run, variant, port, 1000000);
    run.host.unchecked = true;
    if (choice[0] & 0x40)
        run.options.cookies_only = true;
    if (choice[0] & 0x80)
        run.host.echo = true;
    run.options.keepalive_s = 60;
    if (!run_text(&run, ways[choice[1] % (sizeof ways / sizeof *ways)]) &&
        !run.options.cookies_only)
        net_state_stop("the way into the state", run.failure);
    run.queue_count = 0;
    return &run;
}

void net_state_look(struct run *run)
{
    const struct port_frame *sent;

    while ((sent = port_pop(run->host.port)) != NULL) {
        struct segment segment;
        char why[FRAME_WHY_MAX];
        enum frame_kind kind = frame_parse(sent->bytes, sent->len, &segment, why);
        int64_t end;

        if (kind == FRAME_BAD)
            net_state_stop("a frame that was sent", why);
        if (kind != FRAME_TCP || (segment.flags & FRAME_RST))
            continue;
        end = (int32_t)(segment.seq - run->peer->irs) + (int64_t)segment.payload_len +
              !!(segment.flags & FRAME_FIN);
        if (end > run->peer->seen)
            run->peer->seen = end;
        run->peer->ts_last = segment.ts_value;
    }
    if (run->host.fault[0] != '\0')
        net_state_stop("the stack", run->host.fault);
}

void net_state_segment(const struct run *run, struct segment *segment)
{
    const struct peer *peer = run->peer;

    *segment = (struct segment){
        .v6 = run->variant.v6,
        .flags = FRAME_ACK,
        .seq = peer->iss + (uint32_t)peer->next,
        .ack = peer->irs + (uint32_t)peer->seen,
        .window = 60000,
        .from = peer->side,
        .has_ts = peer->ts,
        .ts_value = run->ts_base + (uint32_t)((run->host.now_us - run->start_us) / 1000),
        .ts_echo = peer->ts_last,
    };
    host_side(CASE_HOST_NUMBER, run->variant.v6, HOST_SERVICE_PORT, &segment->to);
}

int64_t net_state_now(struct run *run)
{
    int64_t state;

    if (!run_number(run, "flow", &state))
        net_state_stop("the flow's state", run->failure);
    return state;
}

void net_state_leave(struct run *run)
{
    run->host.port->fail_all = false;
    host_advance(&run->host, 300000);
    net_state_look(run);
    host_stop(&run->host);
    if (run->host.fault[0] != '\0')
        net_state_stop("at the end", run->host.fault);
}

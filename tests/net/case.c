#include "tests/net/case.h"

#include <stdio.h>
#include <string.h>

enum {
    START_US = 1000000,
    TEXT_MAX = 100,
    /* How far before 2^31 and 2^32 the sequence numbers begin: within the first segments. */
    BEFORE_THE_WRAP = 700,
};

static uint32_t start_of(enum case_start start)
{
    return start == CASE_AT_ZERO   ? 0
           : start == CASE_AT_HALF ? 0x80000000u - BEFORE_THE_WRAP
                                   : 0u - BEFORE_THE_WRAP;
}

/* RFC 6528: the stack's number is a hash of the flow plus a clock of 4 us. The hash is found out by
 * a first SYN; then the clock is set so that the next one gets `wanted`. */
static bool find_start(struct run *run, struct port *port, uint32_t wanted, uint64_t *start_us)
{
    struct host *host = &run->host;
    struct net_options options;
    struct segment syn = {.v6 = run->variant.v6, .flags = FRAME_SYN, .window = 1000}, answer;
    uint8_t frame[FRAME_MAX];
    const struct port_frame *sent;
    char why[FRAME_WHY_MAX];
    bool found = false;

    host_prepare(host, port, CASE_HOST_NUMBER, CASE_PORT_PACKETS, START_US, 1, &options);
    if (host_start(host, &options) < 0 ||
        net_listen(host->net, HOST_SERVICE_PORT, HOST_LISTENER_ID) < 0)
        return run_fail(run, "the stack cannot be made");
    host_side(CASE_PEER_NUMBER, run->variant.v6, CASE_PEER_PORT, &syn.from);
    host_side(CASE_HOST_NUMBER, run->variant.v6, HOST_SERVICE_PORT, &syn.to);
    syn.seq = start_of(run->variant.start);
    port_push(port, frame, frame_build(&syn, frame, sizeof frame), 0);
    host_poll(host);
    while ((sent = port_pop(port)) != NULL) {
        if (frame_parse(sent->bytes, sent->len, &answer, why) != FRAME_TCP)
            continue;
        *start_us = START_US + (uint64_t)(uint32_t)(wanted - answer.seq) * 4;
        found = true;
    }
    host_stop(host);
    return found || run_fail(run, "no answer to a SYN");
}

void case_prepare(struct run *run, struct variant variant, struct port *port, uint64_t start_us)
{
    struct seen_frame *queue = run->queue;
    bool tracing = run->tracing;

    memset(run, 0, sizeof *run);
    run->queue = queue;
    run->tracing = tracing;
    run->variant = variant;
    host_prepare(&run->host, port, CASE_HOST_NUMBER, CASE_PORT_PACKETS, start_us, 1, &run->options);
    if (variant.tso)
        port_offer_tso(port, PACKET_TSO_PARTS_MAX, PACKET_TSO_BYTES_MAX, PACKET_TX_IP_CHECKSUM);
    run->start_us = run->mark_us = start_us;
    run->ts_base = start_of(variant.start);
    /* So that the window of the SYN-ACK is all there is: more is told of by an ACK of its own. */
    run->options.receive_bytes = 65535;
    run->window = 60000;
    run->mss = 1000;
    run->wscale = 2;
    for (unsigned i = 0; i < CASE_PEERS_MAX; i++) {
        struct peer *peer = &run->peers[i];

        host_side(CASE_PEER_NUMBER, variant.v6, (uint16_t)(CASE_PEER_PORT + i), &peer->side);
        peer->iss = start_of(variant.start) + i;
    }
    run->peer = run->peers;
}

bool run_text(struct run *run, const char *text)
{
    char copy[TEXT_MAX];
    struct script_line line = {0};

    snprintf(copy, sizeof copy, "%s", text);
    return script_split(&line, copy) && run_line(run, &line);
}

bool run_start(struct run *run)
{
    if (run->started)
        return true;
    if (host_start(&run->host, &run->options) < 0)
        return run_fail(run, "net_create failed");
    run->started = true;
    if (net_listen(run->host.net, HOST_SERVICE_PORT, HOST_LISTENER_ID) < 0)
        return run_fail(run, "net_listen failed");
    return true;
}

bool case_run(struct run *run, const struct script *script, struct variant variant,
              struct port *port)
{
    uint64_t start_us;

    run->failure[0] = '\0';
    run->variant = variant;
    if (!find_start(run, port, start_of(variant.start), &start_us))
        return false;
    case_prepare(run, variant, port, start_us);
    run->script = script;
    for (run->line = 0; run->line < script->count && run->failure[0] == '\0'; run->line++) {
        bool holds = false;

        if (!run_holds(run, script->lines[run->line].condition, &holds) ||
            (holds && !run_line(run, &script->lines[run->line])))
            break;
    }
    if (run->failure[0] == '\0')
        run_quiet(run);
    host_stop(&run->host);
    if (run->failure[0] == '\0' && run->host.fault[0] != '\0')
        run_fail(run, "%s", run->host.fault);
    return run->failure[0] == '\0';
}

bool case_wanted(const struct script *script, struct variant variant, bool *valid)
{
    struct run run = {.variant = variant};

    *valid = true;
    for (unsigned i = 0; i < script->count; i++) {
        const struct script_line *line = &script->lines[i];
        bool holds;

        if (strcmp(line->words[0], "only") != 0)
            continue;
        if (line->count != 2 || !run_holds(&run, line->words[1], &holds)) {
            *valid = false;
            return false;
        }
        if (!holds)
            return false;
    }
    return true;
}

#include "tests/fuzz/net_state.h"

#include <stdio.h>
#include <stdlib.h>

static void stop(const char *what, const char *why)
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
        stop("the way into the state", run.failure);
    run.queue_count = 0;
    return &run;
}

void net_state_look(struct run *run)
{
    const struct port_frame *sent;

    while ((sent = port_pop(run->host.port)) != NULL) {
        struct segment segment;
        char why[FRAME_WHY_MAX];

        if (frame_parse(sent->bytes, sent->len, &segment, why) == FRAME_BAD)
            stop("a frame that was sent", why);
    }
    if (run->host.fault[0] != '\0')
        stop("the stack", run->host.fault);
}

void net_state_leave(struct run *run)
{
    run->host.port->fail_all = false;
    host_advance(&run->host, 300000);
    net_state_look(run);
    host_stop(&run->host);
    if (run->host.fault[0] != '\0')
        stop("at the end", run->host.fault);
}

/* The other verbs of packet scripts: application, clock, settings, loops and assertions. */
#include "tests/net/case.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

bool run_settle(struct run *run)
{
    if (!run_start(run))
        return false;
    host_poll(&run->host);
    if (!run_collect(run))
        return false;
    if (run->host.fault[0] != '\0')
        return run_fail(run, "%s", run->host.fault);
    return true;
}

bool run_holds(struct run *run, const char *condition, bool *holds)
{
    char copy[100], *rest = copy, *part;
    const struct variant *variant = &run->variant;

    *holds = true;
    if (condition == NULL)
        return true;
    snprintf(copy, sizeof copy, "%s", condition);
    while ((part = strsep(&rest, ",")) != NULL) {
        bool one;

        if (strcmp(part, "v4") == 0 || strcmp(part, "v6") == 0)
            one = variant->v6 == (part[1] == '6');
        else if (strcmp(part, "sack") == 0 || strcmp(part, "nosack") == 0)
            one = variant->sack == (part[0] == 's');
        else if (strcmp(part, "ts") == 0 || strcmp(part, "nots") == 0)
            one = variant->ts == (part[0] == 't');
        else if (strcmp(part, "zero") == 0)
            one = variant->start == CASE_AT_ZERO;
        else
            return run_fail(run, "unknown condition %s", part);
        *holds = *holds && one;
    }
    return true;
}

/* ---- Settings -------------------------------------------------------------------------------- */

static bool set_option(struct run *run, const char *name, int64_t value)
{
    struct net_options *options = &run->options;
    const struct {
        const char *name;
        uint32_t *word;
        bool *flag;
    } rows[] = {
        {"connections", &options->connections_max, NULL},
        {"half_open", &options->half_open_max, NULL},
        {"time_wait_max", &options->time_wait_max, NULL},
        {"receive", &options->receive_bytes, NULL},
        {"keepalive", &options->keepalive_s, NULL},
        {"keepalive_interval", &options->keepalive_interval_s, NULL},
        {"user_timeout", &options->user_timeout_s, NULL},
        {"fin_wait2", &options->fin_wait2_s, NULL},
        {"ack_delay", &options->ack_delay_us, NULL},
        {"no_sack", NULL, &options->no_sack},
        {"no_ts", NULL, &options->no_timestamps},
        {"no_ws", NULL, &options->no_window_scale},
        {"no_ecn", NULL, &options->no_ecn},
        {"cookies", NULL, &options->cookies_only},
    };

    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].name, name) != 0)
            continue;
        if (run->started)
            return run_fail(run, "%s has to be set before the first frame", name);
        if (rows[i].word != NULL)
            *rows[i].word = (uint32_t)value;
        else
            *rows[i].flag = value != 0;
        return true;
    }
    return run_fail(run, "unknown setting %s", name);
}

static bool do_set(struct run *run, const struct script_line *line)
{
    const char *name = line->words[1];
    struct port *port = run->host.port;
    int64_t value;

    if (strcmp(name, "congestion") == 0) {
        run->options.congestion = strcmp(line->words[2], "newreno") == 0 ? NET_NEWRENO : NET_CUBIC;
        return true;
    }
    if (!run_number(run, line->words[2], &value))
        return false;
    if (strcmp(name, "win") == 0)
        run->window = value;
    else if (strcmp(name, "mss") == 0)
        run->mss = value;
    else if (strcmp(name, "ws") == 0)
        run->wscale = value;
    else if (strcmp(name, "mtu") == 0)
        port->base.mtu = (uint16_t)value;
    else if (strcmp(name, "lazy") == 0)
        port->lazy = value != 0;
    else if (strcmp(name, "room") == 0)
        port->transmit_room = value < 0 ? UINT_MAX : (unsigned)value;
    else if (strcmp(name, "fail_all") == 0)
        port->fail_all = value != 0;
    else if (strcmp(name, "fail_every") == 0)
        port->fail_every = (unsigned)value;
    else if (strcmp(name, "offloads") == 0)
        port->base.offloads = (uint32_t)value;
    else if (strcmp(name, "echo") == 0)
        run->host.echo = value != 0;
    else if (strcmp(name, "unchecked") == 0)
        run->host.unchecked = value != 0;
    else if (strcmp(name, "loose") == 0)
        run->peer->loose = value != 0;
    else
        return set_option(run, name, value);
    return true;
}

static bool do_let(struct run *run, const struct script_line *line)
{
    int64_t value;

    return run_number(run, line->words[2], &value) && run_set_name(run, line->words[1], value);
}

/* ---- Assertions ------------------------------------------------------------------------------ */

static bool do_assert(struct run *run, const struct script_line *line)
{
    const char *operation = line->words[2];
    int64_t left, right, last;
    bool holds;

    if (!run_number(run, line->words[1], &left) || !run_range(run, line->words[3], &right, &last))
        return false;
    if (strcmp(operation, "==") == 0)
        holds = left == right;
    else if (strcmp(operation, "!=") == 0)
        holds = left != right;
    else if (strcmp(operation, "<") == 0)
        holds = left < right;
    else if (strcmp(operation, "<=") == 0)
        holds = left <= right;
    else if (strcmp(operation, ">") == 0)
        holds = left > right;
    else if (strcmp(operation, ">=") == 0)
        holds = left >= right;
    else if (strcmp(operation, "in") == 0)
        holds = left >= right && left <= last;
    else
        return run_fail(run, "unknown comparison %s", operation);
    return holds || run_fail(run, "%s is %lld, not %s %s", line->words[1], (long long)left,
                             operation, line->words[3]);
}

static bool do_read(struct run *run, const struct script_line *line)
{
    struct host_conn *conn = run_conn(run);
    int64_t len;

    if (!run_number(run, line->words[1], &len))
        return false;
    if (conn == NULL)
        return run_fail(run, "there is no connection");
    if ((int64_t)(conn->received - run->peer->read) != len)
        return run_fail(run, "%llu bytes have arrived, not %lld",
                        (unsigned long long)(conn->received - run->peer->read), (long long)len);
    run->peer->read = conn->received;
    return true;
}

/* ---- The application ------------------------------------------------------------------------- */

enum action {
    ACT_WRITE,
    ACT_PIN,
    ACT_SHUTDOWN,
    ACT_CLOSE,
    ACT_ABORT,
    ACT_PAUSE,
    ACT_RESUME,
    ACT_NOTIFY,
    ACT_TIMEOUT,
};

static bool act(struct run *run, enum action action, int64_t value)
{
    struct host_conn *conn = run_conn(run);
    struct net *net = run->host.net;
    bool good = true;

    if (conn == NULL || conn->conn == NULL)
        return run_fail(run, "the connection is gone");
    if (!run_quiet(run))
        return false;
    run->mark_us = run->host.now_us;
    switch (action) {
    case ACT_WRITE:
        good = host_write(&run->host, conn, (size_t)value);
        break;
    case ACT_PIN:
        good = host_pin(&run->host, conn, (size_t)value);
        break;
    case ACT_SHUTDOWN:
        net_shutdown(net, conn->conn);
        break;
    case ACT_CLOSE:
        net_close(net, conn->conn, NET_CLOSE_FLUSH);
        break;
    case ACT_ABORT:
        net_close(net, conn->conn, NET_CLOSE_NOW);
        break;
    case ACT_PAUSE:
        net_pause(net, conn->conn);
        break;
    case ACT_RESUME:
        net_resume(net, conn->conn);
        break;
    case ACT_NOTIFY:
        net_notify_drained(net, conn->conn);
        break;
    case ACT_TIMEOUT:
        net_set_user_timeout(net, conn->conn, (uint32_t)value);
        break;
    }
    if (!good)
        return run_fail(run, "the stack took no more");
    return run_settle(run);
}

static bool do_write(struct run *run, const struct script_line *line)
{
    int64_t value;

    return run_number(run, line->words[1], &value) && act(run, ACT_WRITE, value);
}

static bool do_pin(struct run *run, const struct script_line *line)
{
    int64_t value;

    return run_number(run, line->words[1], &value) && act(run, ACT_PIN, value);
}

static bool do_timeout(struct run *run, const struct script_line *line)
{
    int64_t value;

    return run_number(run, line->words[1], &value) && act(run, ACT_TIMEOUT, value);
}

static bool do_shutdown(struct run *run, const struct script_line *line)
{
    return act(run, ACT_SHUTDOWN, 0);
}

static bool do_close(struct run *run, const struct script_line *line)
{
    return act(run, ACT_CLOSE, 0);
}

static bool do_abort(struct run *run, const struct script_line *line)
{
    return act(run, ACT_ABORT, 0);
}

static bool do_pause(struct run *run, const struct script_line *line)
{
    return act(run, ACT_PAUSE, 0);
}

static bool do_resume(struct run *run, const struct script_line *line)
{
    return act(run, ACT_RESUME, 0);
}

static bool do_notify(struct run *run, const struct script_line *line)
{
    return act(run, ACT_NOTIFY, 0);
}

static bool do_connect(struct run *run, const struct script_line *line)
{
    struct net_endpoint to = {host_address(CASE_PEER_NUMBER, run->variant.v6),
                              run->peer->side.port};

    run->mark_us = run->host.now_us;
    if (host_connect(&run->host, &to, HOST_SERVICE_PORT) == NULL)
        return run_fail(run, "%s", run->host.fault);
    return run_settle(run);
}

static bool do_listen(struct run *run, const struct script_line *line)
{
    if (net_listen(run->host.net, HOST_SERVICE_PORT, HOST_LISTENER_ID) < 0)
        return run_fail(run, "net_listen failed");
    return true;
}

static bool do_unlisten(struct run *run, const struct script_line *line)
{
    if (net_unlisten(run->host.net, HOST_SERVICE_PORT) < 0)
        return run_fail(run, "net_unlisten failed");
    return run_settle(run);
}

/* ---- Time, peers, loops ---------------------------------------------------------------------- */

static bool do_advance(struct run *run, const struct script_line *line)
{
    int64_t us;

    if (!run_quiet(run) || !run_number(run, line->words[1], &us))
        return false;
    if (run->tracing)
        printf("%10.3f ms +  %s\n", (double)(run->host.now_us - run->start_us) / 1000,
               line->words[1]);
    host_advance(&run->host, (uint64_t)us);
    return run_settle(run);
}

static bool do_mark(struct run *run, const struct script_line *line)
{
    run->mark_us = run->host.now_us;
    return true;
}

static bool do_peer(struct run *run, const struct script_line *line)
{
    int64_t number;

    if (!run_number(run, line->words[1], &number))
        return false;
    if (number < 0 || number >= CASE_PEERS_MAX)
        return run_fail(run, "no such peer");
    run->peer = &run->peers[number];
    return true;
}

/* The same port again, with sequence numbers that are `value` higher. */
static bool do_reopen(struct run *run, const struct script_line *line)
{
    struct peer *peer = run->peer;
    int64_t value;

    if (!run_number(run, line->words[1], &value))
        return false;
    *peer =
        (struct peer){.side = peer->side, .iss = peer->iss + (uint32_t)value, .loose = peer->loose};
    return true;
}

static bool do_repeat(struct run *run, const struct script_line *line)
{
    int64_t count;

    if (!run_number(run, line->words[1], &count))
        return false;
    if (count < 1 || run->loops_count == CASE_LOOPS_MAX)
        return run_fail(run, "cannot repeat that");
    run->loops[run->loops_count].line = run->line;
    run->loops[run->loops_count].left = count;
    run->loops[run->loops_count++].index = 0;
    return true;
}

static bool do_end(struct run *run, const struct script_line *line)
{
    if (run->loops_count == 0)
        return run_fail(run, "an end without a loop");
    if (--run->loops[run->loops_count - 1].left > 0) {
        run->loops[run->loops_count - 1].index++;
        run->line = run->loops[run->loops_count - 1].line;
    } else {
        run->loops_count--;
    }
    return true;
}

static bool do_inject(struct run *run, const struct script_line *line)
{
    return run_inject(run, line, true);
}

static bool do_inject_more(struct run *run, const struct script_line *line)
{
    return run_inject(run, line, false);
}

static bool do_poll(struct run *run, const struct script_line *line)
{
    return run_settle(run);
}

static bool do_handshake(struct run *run, const struct script_line *line)
{
    return run_handshake(run);
}

/* Waits for a bare ACK of `ack`, for at most the 500 ms of RFC 9293 section 3.8.6.3. */
static bool do_acked(struct run *run, const struct script_line *line)
{
    struct script_line expected = *line;
    uint64_t end_us = run->host.now_us + 500000;

    while (run->queue_count == 0 && run->host.now_us < end_us) {
        uint64_t next_us = net_next_deadline_us(run->host.net);

        if (next_us <= run->host.now_us)
            next_us = run->host.now_us + 1;
        host_advance(&run->host, (next_us < end_us ? next_us : end_us) - run->host.now_us);
        if (!run_settle(run))
            return false;
    }
    if (expected.count + 2 > SCRIPT_WORDS_MAX)
        return run_fail(run, "too many words");
    memmove(expected.words + 3, expected.words + 1, (expected.count - 1) * sizeof *expected.words);
    expected.words[0] = ">";
    expected.words[1] = "A";
    expected.words[2] = "ack";
    expected.count += 2;
    return run_expect(run, &expected);
}

/* Ways into each state by the shortest path; what they leave is in README.md. */
static const struct {
    const char *state;
    const char *lines[8];
} ways[] = {
    {"SYN_RECEIVED", {"< S 0", "> SA 0 ack 1"}},
    {"ESTABLISHED", {"handshake"}},
    {"FIN_WAIT_1", {"handshake", "shutdown", "> FA 1 ack 1"}},
    {"FIN_WAIT_2", {"handshake", "shutdown", "> FA 1 ack 1", "< A 1 ack 2"}},
    {"CLOSE_WAIT", {"handshake", "< FA 1 ack 1", "acked 2"}},
    {"CLOSING", {"handshake", "shutdown", "> FA 1 ack 1", "< FA 1 ack 1", "acked 2"}},
    {"LAST_ACK", {"handshake", "< FA 1 ack 1", "acked 2", "shutdown", "> FA 1 ack 2"}},
    {"TIME_WAIT",
     {"handshake", "shutdown", "> FA 1 ack 1", "< A 1 ack 2", "< FA 1 ack 2", "acked 2"}},
};

static bool do_enter(struct run *run, const struct script_line *line)
{
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
        char assertion[60];
        struct script_line check = {0};

        if (strcmp(ways[i].state, line->words[1]) != 0)
            continue;
        for (unsigned j = 0; j < 8 && ways[i].lines[j] != NULL; j++) {
            char text[60];
            struct script_line step = {.number = line->number};

            snprintf(text, sizeof text, "%s", ways[i].lines[j]);
            if (!script_split(&step, text) || !run_line(run, &step))
                return false;
        }
        snprintf(assertion, sizeof assertion, "assert flow == %s", line->words[1]);
        return script_split(&check, assertion) && run_line(run, &check);
    }
    return run_fail(run, "unknown state %s", line->words[1]);
}

static bool do_nothing(struct run *run, const struct script_line *line)
{
    return true;
}

struct verb {
    const char *name;
    unsigned words; /* at least, with the verb */
    bool early;     /* before the stack starts */
    bool (*run)(struct run *run, const struct script_line *line);
};

static const struct verb verbs[] = {
    {"only", 2, true, do_nothing},
    {"set", 3, true, do_set},
    {"let", 3, true, do_let},
    {"peer", 2, true, do_peer},
    {"repeat", 2, true, do_repeat},
    {"end", 1, true, do_end},
    {"<", 2, false, do_inject},
    {"<<", 2, false, do_inject_more},
    {">", 2, false, run_expect},
    {">data", 2, false, run_expect_data},
    {"icmp", 2, false, run_icmp},
    {"poll", 1, false, do_poll},
    {"handshake", 1, false, do_handshake},
    {"acked", 2, false, do_acked},
    {"enter", 2, false, do_enter},
    {"+", 2, false, do_advance},
    {"mark", 1, false, do_mark},
    {"reopen", 2, false, do_reopen},
    {"assert", 4, false, do_assert},
    {"read", 2, false, do_read},
    {"write", 2, false, do_write},
    {"pin", 2, false, do_pin},
    {"shutdown", 1, false, do_shutdown},
    {"close", 1, false, do_close},
    {"abort", 1, false, do_abort},
    {"pause", 1, false, do_pause},
    {"resume", 1, false, do_resume},
    {"notify", 1, false, do_notify},
    {"timeout", 2, false, do_timeout},
    {"connect", 1, false, do_connect},
    {"listen", 1, false, do_listen},
    {"unlisten", 1, false, do_unlisten},
};

bool run_line(struct run *run, const struct script_line *line)
{
    for (unsigned i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(verbs[i].name, line->words[0]) != 0)
            continue;
        if (line->count < verbs[i].words)
            return run_fail(run, "%s needs more words", line->words[0]);
        return (verbs[i].early || run_start(run)) && verbs[i].run(run, line);
    }
    return run_fail(run, "unknown verb %s", line->words[0]);
}

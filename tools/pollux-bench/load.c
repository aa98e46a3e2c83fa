#include "tools/pollux-bench/load.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/pollux-bench/gaps.h"
#include "tools/pollux-bench/preload.h"
#include "tools/pollux-bench/route.h"
#include "tools/pollux-bench/schedule.h"
#include "tools/pollux-bench/stop.h"

#define LOAD_SECOND_NS 1000000000ULL

enum {
    LOAD_OPEN_BURSTS_MAX = 256, /* unanswered on one connection in the open loop; then the next */
    LOAD_OPEN_BURSTS_ALL = 1 << 20, /* the same over all connections */
    LOAD_OPENING_MAX = 128,         /* connections under way at a time: listen queues are short */
    LOAD_SLEEP_MAX_NS = 10000000,
    LOAD_CHORES_NS = 10000000, /* how often signals and broken connections are looked at */
    LOAD_SERIES_MAX = 100000,
    LOAD_STAMP_EVENTS = 4,  /* of a polling transport between two clock readings */
    LOAD_STAMP_BURSTS = 16, /* of those due in the open loop, likewise */
};

enum load_phase { LOAD_CONNECTING, LOAD_RUNNING };

struct burst {
    uint64_t due_ns; /* when it was sent, or was to be sent */
    uint32_t left;   /* replies to come */
};

struct conn {
    struct transport_link *link; /* NULL: not open */
    bool established;
    const struct route *route;
    struct reply reply;
    struct burst *bursts; /* ring of `load.bursts_max` */
    uint32_t first_burst;
    uint32_t burst_count;
    uint64_t used;      /* requests since it was opened */
    uint64_t opened_ns; /* when connecting began */
};

/* Counters at one moment; the difference of two is a measurement. */
struct load_mark {
    uint64_t now_ns;
    uint64_t replies;
    uint64_t connections;
    uint64_t server_cpu_ns;
    uint64_t own_cpu_ns;
    uint64_t idle_ns;
};

struct load {
    const struct options *options;
    struct transport *transport;
    struct request request;
    struct routes routes;
    struct routes idle_routes; /* of --idle-port */
    struct conn *conns;        /* the clients, then the idle ones */
    uint32_t conns_count;
    uint32_t bursts_max;
    char *out;
    const struct clock_tsc *clock;
    clockid_t server_clock;
    int stop_fd;
    enum load_phase phase;
    bool stopped; /* by a signal */

    uint64_t now_ns; /* of the event at hand */
    uint64_t start_ns;
    uint64_t measure_from_ns;
    uint64_t measure_until_ns;
    uint64_t last_sign_ns; /* of life: a reply or a connection */
    uint64_t chores_ns;    /* when they are next due */
    uint64_t idle_ns;

    uint32_t opened;      /* conns[0, opened) have been opened for the first time */
    uint32_t opening;     /* not established yet */
    uint32_t down;        /* broken, to be opened again */
    uint64_t connections; /* established ever */
    uint32_t next_conn;   /* open loop: whose turn it is */
    struct schedule schedule;

    bool measuring;
    struct load_mark begin;
    struct load_mark end;
    struct load_mark interval_begin;
    struct histogram interval; /* latencies since interval_begin */
    struct transport_counters packets_before;
    struct gaps *gaps; /* NULL: none are left out */
    struct gaps_clock gaps_clock;
    struct result result;
};

static uint64_t load_now_ns(const struct load *load)
{
    return clock_stamp_ns(load->clock);
}

/* The reading of the loop: what two of them have in between is no work but a gap, if it is long. */
static void load_look(struct load *load)
{
    uint64_t now_ns = load_now_ns(load);

    if (load->gaps != NULL && load->measuring)
        gaps_look(load->gaps, load->now_ns, now_ns);
    load->now_ns = now_ns;
}

static uint64_t load_cpu_ns(clockid_t clock)
{
    struct timespec now = {0};

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * LOAD_SECOND_NS + (uint64_t)now.tv_nsec;
}

/* The CPU clock of a process counts all its threads, those that have ended included, to the ns. */
static void load_mark(const struct load *load, struct load_mark *mark)
{
    mark->now_ns = load_now_ns(load);
    mark->replies = load->result.replies;
    mark->connections = load->connections;
    mark->own_cpu_ns = load_cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
    mark->server_cpu_ns = load->options->server_pid > 0 ? load_cpu_ns(load->server_clock) : 0;
    mark->idle_ns = load->idle_ns;
}

static int load_fail(const char *what, int status)
{
    fprintf(stderr, "pollux-bench: %s: %s\n", what, strerror(-status));
    return status;
}

/* ---- Sending ----------------------------------------------------------------------------------
 */

static uint64_t load_unsent_requests(const struct load *load)
{
    if (load->options->requests == 0)
        return UINT64_MAX;
    return load->options->requests - load->result.sent;
}

/* A connection that is about to be closed by --churn takes no more. */
static bool conn_is_used_up(const struct load *load, const struct conn *conn)
{
    return load->options->churn > 0 && conn->used >= load->options->churn;
}

static bool conn_has_room(const struct load *load, const struct conn *conn)
{
    return conn->established && conn->burst_count < load->bursts_max &&
           !conn_is_used_up(load, conn) && !transport_has_unsent(load->transport, conn->link);
}

/* Sends one burst, shorter or none at all where `requests` ends. */
static int conn_send_burst(struct load *load, struct conn *conn, uint64_t due_ns)
{
    uint64_t count = load->options->pipeline;
    uint64_t left = load_unsent_requests(load);
    size_t len = 0;

    if (left < count)
        count = left;
    if (load->options->churn > 0 && load->options->churn - conn->used < count)
        count = load->options->churn - conn->used;
    if (count == 0)
        return 0;
    for (uint64_t i = 0; i < count; i++)
        len += request_append(&load->request, &conn->route->pick, load->out + len);
    uint32_t slot = conn->first_burst + conn->burst_count;
    if (slot >= load->bursts_max)
        slot -= load->bursts_max;
    conn->bursts[slot] = (struct burst){.due_ns = due_ns, .left = (uint32_t)count};
    conn->burst_count++;
    conn->used += count;
    load->result.sent += count;
    int status = transport_write(load->transport, conn->link, load->out, len);
    return status < 0 ? load_fail("send", status) : 0;
}

static uint64_t load_due_ns(const struct load *load)
{
    return load->start_ns + schedule_due_ns(&load->schedule);
}

static bool load_is_offering(const struct load *load)
{
    if (load->options->requests > 0)
        return load_unsent_requests(load) > 0;
    return load_due_ns(load) < load->measure_until_ns;
}

/* Open loop: sends every burst that is due, on the connections in turn. What finds none with room
 * stays due, and its waiting counts. Returns the number of bursts or a negative errno. */
static int load_offer(struct load *load)
{
    uint32_t tried = 0;
    int bursts = 0;

    while (tried < load->options->clients && load_is_offering(load) &&
           load_due_ns(load) <= load->now_ns) {
        struct conn *conn = &load->conns[load->next_conn];
        load->next_conn = load->next_conn + 1 < load->options->clients ? load->next_conn + 1 : 0;
        if (!conn_has_room(load, conn)) {
            tried++;
            continue;
        }
        int status = conn_send_burst(load, conn, load_due_ns(load));
        if (status < 0)
            return status;
        schedule_advance(&load->schedule, load->options->poisson
                                              ? -log(1 - request_random_unit(&load->request))
                                              : 1);
        tried = 0;
        if (++bursts % LOAD_STAMP_BURSTS == 0)
            load_look(load);
    }
    return bursts;
}

/* ---- Connections ------------------------------------------------------------------------------
 */

/* Opens a connection, or opens it again. */
static int conn_open(struct load *load, struct conn *conn)
{
    conn->established = false;
    conn->first_burst = conn->burst_count = 0;
    conn->used = 0;
    conn->reply = (struct reply){0};
    conn->opened_ns = load->now_ns;
    int status = transport_connect(load->transport, &conn->route->address, conn, &conn->link);
    if (status == -EADDRNOTAVAIL && load->options->churn > 0 && !load->options->reset)
        return load_fail("connect: all local ports are in TIME_WAIT; --reset leaves none behind",
                         status);
    if (status < 0)
        return load_fail("connect", status);
    load->opening++;
    return 0;
}

/* How many connections there should be by now. */
static uint32_t load_wanted(const struct load *load)
{
    uint64_t ramp_ns = (uint64_t)(load->options->ramp_s * 1e9);
    uint64_t since_ns = load->now_ns - load->start_ns;

    if (load->phase == LOAD_CONNECTING || since_ns >= ramp_ns)
        return load->conns_count;
    return 1 + (uint32_t)((double)(load->conns_count - 1) * (double)since_ns / (double)ramp_ns);
}

static int load_open_more(struct load *load)
{
    uint32_t wanted = load_wanted(load);
    int status = 0;

    while (status == 0 && load->opened < wanted && load->opening < LOAD_OPENING_MAX)
        status = conn_open(load, &load->conns[load->opened++]);
    return status;
}

/* --reconnect: the requests on their way are lost. */
static int conn_broke(struct load *load, struct conn *conn, int error)
{
    if (!conn->established)
        load->opening--;
    conn->link = NULL;
    conn->established = false;
    if (!load->options->reconnect) {
        int status = load_fail(error == 0 ? "the server closed a connection" : "connection",
                               error == 0 ? -ECONNRESET : -error);
        return status;
    }
    for (; conn->burst_count > 0; conn->burst_count--) {
        load->result.lost += conn->bursts[conn->first_burst].left;
        conn->first_burst = (conn->first_burst + 1) % load->bursts_max;
    }
    load->result.broken++;
    load->down++;
    return 0;
}

/* Opens what is broken, as far as not too many are under way. */
static int load_open_broken(struct load *load)
{
    int status = 0;

    for (uint32_t i = 0; load->down > 0 && status == 0 && i < load->opened; i++) {
        struct conn *conn = &load->conns[i];
        if (load->opening >= LOAD_OPENING_MAX)
            break;
        if (conn->link == NULL) {
            load->down--;
            status = conn_open(load, conn);
        }
    }
    return status;
}

static bool conn_is_idle(const struct load *load, const struct conn *conn)
{
    return conn >= load->conns + load->options->clients;
}

static int conn_connected(struct load *load, struct conn *conn)
{
    conn->established = true;
    load->opening--;
    load->connections++;
    load->last_sign_ns = load->now_ns;
    if (load->measuring && conn->opened_ns >= load->measure_from_ns)
        histogram_add(&load->result.connect_latency, load->now_ns - conn->opened_ns, 1);
    if (load->options->rate > 0 || load->phase == LOAD_CONNECTING || conn_is_idle(load, conn))
        return 0;
    return conn_send_burst(load, conn, load->now_ns);
}

/* ---- Receiving --------------------------------------------------------------------------------
 */

static int conn_count_replies(struct load *load, struct conn *conn, uint64_t replies)
{
    load->result.replies += replies;
    while (replies > 0 && conn->burst_count > 0) {
        struct burst *burst = &conn->bursts[conn->first_burst];
        uint32_t step = replies < burst->left ? (uint32_t)replies : burst->left;
        if (burst->due_ns >= load->measure_from_ns) {
            histogram_add(&load->interval, load->now_ns - burst->due_ns, step);
            if (load->gaps != NULL)
                gaps_sample(load->gaps, burst->due_ns, load->now_ns, step);
        }
        burst->left -= step;
        replies -= step;
        if (burst->left == 0) {
            conn->first_burst =
                conn->first_burst + 1 < load->bursts_max ? conn->first_burst + 1 : 0;
            conn->burst_count--;
        }
    }
    return replies == 0 ? 0 : load_fail("more replies than requests", -EPROTO);
}

static int conn_receive(struct load *load, struct conn *conn, const struct transport_event *event)
{
    int64_t replies = reply_feed(&conn->reply, event->data, event->len_bytes, &load->result.counts);

    if (replies < 0)
        return load_fail("a reply that is no RESP2", -EPROTO);
    load->last_sign_ns = load->now_ns;
    int status = conn_count_replies(load, conn, (uint64_t)replies);
    if (status < 0 || conn->burst_count > 0)
        return status;
    if (conn_is_used_up(load, conn)) {
        transport_close(load->transport, conn->link, load->options->reset);
        conn->link = NULL;
        return conn_open(load, conn);
    }
    return load->options->rate > 0 ? 0 : conn_send_burst(load, conn, load->now_ns);
}

static int load_take(struct load *load, const struct transport_event *event)
{
    struct conn *conn = event->user;

    switch (event->kind) {
    case TRANSPORT_CONNECTED:
        return conn_connected(load, conn);
    case TRANSPORT_BYTES:
        return conn_receive(load, conn, event);
    default:
        return conn_broke(load, conn, event->error);
    }
}

/* ---- Progress and chores ----------------------------------------------------------------------
 */

static void load_print_interval(const struct load *load, const struct result_interval *interval)
{
    fprintf(stderr, "%8.1f s  %9.0f/s  ", interval->end_s,
            (double)interval->requests / interval->seconds);
    if (load->options->churn > 0)
        fprintf(stderr, "%8.0f connections/s  ", (double)interval->connections / interval->seconds);
    if (load->interval.total > 0)
        fprintf(stderr, "p50 %.1f  p99 %.1f  max %.1f us", (double)interval->p50_ns / 1e3,
                (double)interval->p99_ns / 1e3, (double)interval->max_ns / 1e3);
    else
        fprintf(stderr, "%u of %u connections%s", load->opened - load->opening - load->down,
                load->conns_count, load->measuring ? "" : ", not measured yet");
    if (load->result.counts.errors + load->result.broken > 0)
        fprintf(stderr, "  (%llu errors, %llu broken)",
                (unsigned long long)load->result.counts.errors,
                (unsigned long long)load->result.broken);
    fputc('\n', stderr);
}

static void load_keep_interval(struct load *load, const struct result_interval *interval)
{
    struct result *result = &load->result;

    if (result->series_count == result->series_room) {
        uint32_t room = result->series_room * 2 + 16;
        struct result_interval *more = realloc(result->series, room * sizeof(*more));
        if (more == NULL || room > LOAD_SERIES_MAX * 2) {
            result->series = more != NULL ? more : result->series;
            return; /* the plot ends here; nothing else needs it */
        }
        result->series = more;
        result->series_room = room;
    }
    result->series[result->series_count++] = *interval;
}

/* Closes the interval at hand and begins the next. */
static void load_interval(struct load *load, bool is_last)
{
    struct load_mark now;

    load_mark(load, &now);
    struct result_interval interval = {
        .end_s = (double)(now.now_ns - load->start_ns) / 1e9,
        .seconds = (double)(now.now_ns - load->interval_begin.now_ns) / 1e9,
        .requests = now.replies - load->interval_begin.replies,
        .connections = now.connections - load->interval_begin.connections,
        .p50_ns = histogram_quantile(&load->interval, 0.5),
        .p99_ns = histogram_quantile(&load->interval, 0.99),
        .max_ns = load->interval.max_ns,
    };
    if (load->options->progress_s > 0 && !is_last)
        load_print_interval(load, &interval);
    if (interval.seconds > 0)
        load_keep_interval(load, &interval);
    histogram_merge(&load->result.latency, &load->interval);
    histogram_init(&load->interval);
    load->interval_begin = now;
}

static int load_chores(struct load *load)
{
    const struct options *options = load->options;
    double interval_s = options->progress_s > 0 ? options->progress_s : 1;

    if (load->now_ns < load->chores_ns)
        return 0;
    load->chores_ns = load->now_ns + LOAD_CHORES_NS;
    load->stopped = load->stopped || stop_requested(load->stop_fd);
    if (load->phase == LOAD_RUNNING &&
        (double)(load->now_ns - load->interval_begin.now_ns) >= interval_s * 1e9)
        load_interval(load, false);
    bool waits = load->opening > 0 || load->result.sent > load->result.replies + load->result.lost;
    if (waits && (double)(load->now_ns - load->last_sign_ns) > options->timeout_s * 1e9)
        return load_fail(load->opening > 0 ? "the server takes no connection"
                                           : "the server does not answer",
                         -ETIMEDOUT);
    if (!waits)
        load->last_sign_ns = load->now_ns;
    return load_open_broken(load);
}

/* ---- The run ----------------------------------------------------------------------------------
 */

/* How long a turn may sleep: until the next burst is due, never long. */
static uint64_t load_sleep_ns(const struct load *load)
{
    if (load->options->spin || load->transport->polls)
        return 0;
    if (load->options->rate > 0 && load->phase == LOAD_RUNNING && load_is_offering(load)) {
        uint64_t due_ns = load_due_ns(load);
        uint64_t wait_ns = due_ns > load->now_ns ? due_ns - load->now_ns : 0;
        /* Every connection may be full: then replies wake the loop, and a due burst must not spin
         * it. */
        if (wait_ns == 0)
            wait_ns = 50000;
        return wait_ns < LOAD_SLEEP_MAX_NS ? wait_ns : LOAD_SLEEP_MAX_NS;
    }
    return LOAD_SLEEP_MAX_NS;
}

static int load_turn(struct load *load)
{
    struct transport_event event;
    uint64_t begin_ns = load->now_ns;
    int worked = transport_poll(load->transport, load_sleep_ns(load));
    int status = worked < 0 ? load_fail("poll", worked) : 0;

    load_look(load);
    while (status == 0 && transport_event(load->transport, &event)) {
        status = load_take(load, &event);
        /* Next to a system call a clock reading costs nothing, next to our stack a tenth; a stamp
         * that is a few requests old is early for a reply and for the request after it alike. */
        if (++worked % LOAD_STAMP_EVENTS == 0 || !load->transport->polls)
            load_look(load);
    }
    if (status == 0)
        status = load_open_more(load);
    if (status == 0 && load->options->rate > 0 && load->phase == LOAD_RUNNING) {
        int bursts = load_offer(load);
        status = bursts < 0 ? bursts : 0;
        worked += bursts > 0;
    }
    if (status == 0)
        status = load_chores(load);
    if (worked == 0)
        load->idle_ns += load->now_ns - begin_ns;
    return status;
}

static bool load_is_done(struct load *load)
{
    const struct options *options = load->options;
    uint64_t answered = load->result.replies + load->result.lost;

    if (!load->measuring && load->now_ns >= load->measure_from_ns) {
        load->measuring = true;
        load_mark(load, &load->begin);
    }
    if (load->stopped)
        return true;
    if (options->requests > 0)
        return answered >= options->requests;
    if (options->rate > 0)
        return !load_is_offering(load) && answered >= load->result.sent;
    return load->now_ns >= load->measure_until_ns;
}

/* Opens all connections, unless a ramp is to do that. */
static int load_connect(struct load *load)
{
    int status = 0;

    load->now_ns = load->last_sign_ns = load_now_ns(load);
    load->phase = LOAD_CONNECTING;
    while (status == 0 && !load->stopped && load->options->ramp_s == 0 &&
           load->connections < load->conns_count)
        status = load_turn(load);
    return status;
}

static void load_read_clocks(struct load *load, int moment)
{
    load->gaps_clock.ours_ns[moment] = load_now_ns(load);
    load->gaps_clock.theirs_ns[moment] = clock_now_ns();
}

static void load_start(struct load *load)
{
    const struct options *options = load->options;

    transport_counters(load->transport, &load->packets_before);
    load_read_clocks(load, 0);
    load_mark(load, &load->begin);
    load->interval_begin = load->begin;
    load->now_ns = load->start_ns = load->last_sign_ns = load->begin.now_ns;
    load->measuring = options->requests > 0;
    double lead_s = options->requests > 0 ? 0 : options->ramp_s + options->warmup_s;
    load->measure_from_ns = load->start_ns + (uint64_t)(lead_s * 1e9);
    load->measure_until_ns = load->measure_from_ns + (uint64_t)(options->seconds * 1e9);
    load->schedule = (struct schedule){.bursts_per_s = options->rate / options->pipeline,
                                       .ramp_s = options->ramp_s};
    load->phase = LOAD_RUNNING;
}

static void load_finish(struct load *load)
{
    struct result *result = &load->result;

    load_mark(load, &load->end);
    load_interval(load, true);
    result->seconds = (double)(load->end.now_ns - load->begin.now_ns) / 1e9;
    result->server_cpu_s = (double)(load->end.server_cpu_ns - load->begin.server_cpu_ns) / 1e9;
    result->own_cpu_s = (double)(load->end.own_cpu_ns - load->begin.own_cpu_ns) / 1e9;
    result->requests = load->end.replies - load->begin.replies;
    result->connections = load->end.connections - load->begin.connections;
    result->busy_share =
        load->options->spin || load->transport->polls
            ? 1 - (double)(load->end.idle_ns - load->begin.idle_ns) / 1e9 / result->seconds
            : result->own_cpu_s / result->seconds;
    result->opened = load->connections;
    result->next_key = load->request.next_number;
    result->ports = load->routes.count;
    transport_counters(load->transport, &result->packets);
    result->packets.packets_sent -= load->packets_before.packets_sent;
    result->packets.packets_received -= load->packets_before.packets_received;
    result->packets.retransmits -= load->packets_before.retransmits;
}

static void load_close(struct load *load)
{
    for (uint32_t i = 0; load->conns != NULL && i < load->conns_count; i++) {
        if (load->conns[i].link != NULL)
            transport_close(load->transport, load->conns[i].link, load->options->reset);
        load->conns[i].link = NULL;
    }
}

/* Asks the server for its gaps, once all is over. */
static int load_gaps(struct load *load)
{
    char *buffer = malloc(ASK_REPLY_MAX);
    int64_t len = -ENOMEM;

    load_close(load);
    if (buffer != NULL)
        len = ask_server(load->transport, &load->routes.list[0].address,
                         "*2\r\n$6\r\nPOLLUX\r\n$4\r\nGAPS\r\n", buffer, ASK_REPLY_MAX);
    struct ask_cursor cursor = {buffer, buffer + (len > 0 ? len : 0)};
    int status = len < 0 ? (int)len
                         : gaps_read(load->gaps, &cursor, &load->gaps_clock, load->begin.now_ns,
                                     load->end.now_ns);
    free(buffer);
    if (status < 0)
        return load_fail("--exclude-gaps: POLLUX GAPS", status);
    status = gaps_finish(load->gaps, &load->result.gaps);
    return status < 0 ? load_fail("--exclude-gaps: a shorter run, please", status) : 0;
}

int load_run(struct load *load)
{
    int status = load_connect(load);

    if (status < 0)
        return status;
    if (load->stopped)
        return load_fail("stopped before all connections were open", -EINTR);
    load_start(load);
    for (uint32_t i = 0; load->options->rate == 0 && i < load->options->clients && status == 0;
         i++) {
        if (load->conns[i].established)
            status = conn_send_burst(load, &load->conns[i], load_now_ns(load));
    }
    while (status == 0 && !load_is_done(load))
        status = load_turn(load);
    if (status == 0 && !load->measuring)
        return load_fail("stopped before the measurement began", -EINTR);
    load_finish(load);
    if (status == 0 && load->gaps != NULL) {
        load_read_clocks(load, 1);
        status = load_gaps(load);
    }
    return status;
}

/* ---- Start and end ----------------------------------------------------------------------------
 */

static int load_routes(struct load *load)
{
    const struct options *options = load->options;
    const struct key_format *format = &options->request.format;
    int status;

    if (options->cluster)
        status = routes_init_cluster(&load->routes, load->transport, options->host, options->port,
                                     format, options->keys);
    else if (options->split > 0)
        status = routes_init_split(&load->routes, options->host, options->port, format,
                                   options->keys, options->split);
    else
        status =
            routes_init_single(&load->routes, options->host, options->port, format, options->keys);
    if (status < 0)
        return load_fail("finding the server's ports", status);
    for (uint32_t i = 0; i < load->routes.count; i++) {
        if (load->routes.list[i].pick.count == 0)
            return load_fail("a port or slot range without any key: take more keys", -EINVAL);
    }
    if (options->zipf > 0)
        routes_set_zipf(&load->routes, options->zipf);
    return 0;
}

static int load_idle_conns(struct load *load)
{
    const struct options *options = load->options;

    if (options->idle_port != NULL) {
        int status = routes_init_single(&load->idle_routes, options->host, options->idle_port,
                                        &options->request.format, options->keys);
        if (status < 0)
            return load_fail("--idle-port", status);
    }
    for (uint32_t i = options->clients; i < load->conns_count; i++) {
        bool elsewhere = options->idle_port != NULL && i % 2 == 1;
        load->conns[i].route =
            elsewhere ? &load->idle_routes.list[0] : &load->routes.list[i % load->routes.count];
    }
    return 0;
}

static int load_conns(struct load *load)
{
    const struct options *options = load->options;

    load->conns_count = options->clients + options->idle;
    load->conns = calloc(load->conns_count, sizeof(*load->conns));
    if (load->conns == NULL)
        return load_fail("connections", -ENOMEM);
    load->bursts_max = 1;
    if (options->rate > 0) {
        uint32_t share = LOAD_OPEN_BURSTS_ALL / options->clients;
        load->bursts_max = share < LOAD_OPEN_BURSTS_MAX ? share : LOAD_OPEN_BURSTS_MAX;
    }
    for (uint32_t i = 0; i < options->clients; i++) {
        load->conns[i].route = &load->routes.list[i % load->routes.count];
        load->conns[i].bursts = calloc(load->bursts_max, sizeof(struct burst));
        if (load->conns[i].bursts == NULL)
            return load_fail("connections", -ENOMEM);
    }
    return load_idle_conns(load);
}

static int load_init(struct load *load)
{
    const struct options *options = load->options;
    int status = request_init(&load->request, &options->request, options->mix);

    if (status < 0)
        return load_fail("--mix, --multi or --value-len", status);
    uint64_t burst_bytes = (uint64_t)options->pipeline * load->request.longest_bytes;
    if (burst_bytes > OPTIONS_BURST_BYTES_MAX)
        return load_fail("a burst over 256 MB", -E2BIG);
    if (options->server_pid > 0 &&
        clock_getcpuclockid((pid_t)options->server_pid, &load->server_clock) != 0)
        return load_fail("--server-pid", -ESRCH);
    if (options->exclude_gaps) {
        double most = options->rate * (options->seconds + options->warmup_s + options->ramp_s);
        status = gaps_create(&load->gaps,
                             options->requests > 0 ? options->requests : (uint64_t)(most + 1));
        if (status < 0)
            return load_fail("--exclude-gaps keeps a sample of each request", status);
    }
    load->out = malloc(burst_bytes);
    if (load->out == NULL)
        return load_fail("buffers", -ENOMEM);
    status = load_routes(load);
    if (status == 0 && options->preload) {
        int64_t keys = preload_run(options, &load->routes, load->transport);
        load->result.preloaded = keys > 0 ? (uint64_t)keys : 0;
        status = keys < 0 ? (int)keys : 0;
    }
    return status < 0 ? status : load_conns(load);
}

int load_create(struct load **load, const struct options *options, struct transport *transport,
                const struct clock_tsc *clock, int stop_fd)
{
    struct load *made = calloc(1, sizeof(*made));

    if (made == NULL)
        return load_fail("start", -ENOMEM);
    made->options = options;
    made->transport = transport;
    made->clock = clock;
    made->stop_fd = stop_fd;
    int status = load_init(made);
    if (status < 0)
        load_destroy(made);
    else
        *load = made;
    return status;
}

void load_destroy(struct load *load)
{
    if (load == NULL)
        return;
    load_close(load);
    for (uint32_t i = 0; load->conns != NULL && i < load->conns_count; i++)
        free(load->conns[i].bursts);
    free(load->conns);
    gaps_destroy(load->gaps);
    free(load->out);
    free(load->result.series);
    routes_fini(&load->routes);
    routes_fini(&load->idle_routes);
    request_fini(&load->request);
    free(load);
}

const struct result *load_result(const struct load *load)
{
    return &load->result;
}

void load_set_probe(struct load *load, double before_ns, double after_ns)
{
    load->result.probe_ns[0] = before_ns;
    load->result.probe_ns[1] = after_ns;
}

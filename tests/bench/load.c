/* pollux-load: a load generator for one core.
 * Purpose:   offer RESP commands over kernel sockets at less cost than any server spends on them,
 * and report rates, latencies, and the CPU time that the server spent meanwhile. Ownership: `struct
 * load` owns connections and buffers, for the life of the process. Threading: one thread. Errors:
 * a connection that breaks or a reply that is no RESP ends the run with exit status 1.
 *
 * Closed loop: a connection sends a burst, waits for all its replies, sends the next. Open loop:
 * bursts are due at fixed times and latency counts from there, so that a stalled server is charged
 * for every request it kept from being sent. */
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/histogram.h"
#include "tests/bench/options.h"
#include "tests/bench/reply.h"
#include "tests/bench/request.h"
#include "tests/bench/route.h"

#define LOAD_SECOND_NS 1000000000ULL

enum {
    LOAD_RECEIVE_BYTES = 256 << 10,
    LOAD_EVENTS_MAX = 256,
    LOAD_OPEN_BURSTS_MAX =
        256, /* unanswered on one connection in the open loop; then the next one */
    LOAD_SLEEP_MAX_NS = 100000000,
    LOAD_SILENCE_MAX_S = 30, /* without any reply: the server has stopped serving */
};

struct burst {
    uint64_t due_ns; /* when it was sent, or was to be sent */
    uint32_t left;   /* replies to come */
};

struct conn {
    int fd;
    const struct route *route;
    struct reply reply;
    struct burst *bursts; /* ring of `load.bursts_max` */
    uint32_t first_burst;
    uint32_t burst_count;
    char *unsent; /* what the socket did not take; NULL until that happens first */
    size_t unsent_at;
    size_t unsent_len;
};

/* Counters at one moment; the difference of two is a measurement. */
struct load_mark {
    uint64_t now_ns;
    uint64_t replies;
    uint64_t server_cpu_ns;
    uint64_t own_cpu_ns;
};

struct load {
    struct options options;
    struct request request;
    struct routes routes;
    struct conn *conns;
    int epoll_fd;
    uint32_t bursts_max;
    uint32_t next_conn; /* open loop: whose turn it is */
    char *out;
    char *in;
    clockid_t server_clock;
    uint64_t start_ns;
    uint64_t measure_from_ns;
    uint64_t measure_until_ns;
    double burst_interval_ns;
    uint64_t bursts_due; /* open loop: sent so far */
    uint64_t sent;
    uint64_t replies;
    uint64_t last_reply_ns;
    bool measuring;
    struct load_mark begin;
    struct load_mark end;
    struct reply_counts counts;
    struct histogram latency;
};

static uint64_t load_clock_ns(clockid_t clock)
{
    struct timespec now = {0};

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * LOAD_SECOND_NS + (uint64_t)now.tv_nsec;
}

/* The CPU clock of a process counts all its threads, those that have ended included, to the ns. */
static void load_mark(const struct load *load, struct load_mark *mark)
{
    mark->now_ns = load_clock_ns(CLOCK_MONOTONIC);
    mark->replies = load->replies;
    mark->own_cpu_ns = load_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    mark->server_cpu_ns = load->options.server_pid > 0 ? load_clock_ns(load->server_clock) : 0;
}

static int load_fail(const char *what, int status)
{
    fprintf(stderr, "pollux-load: %s: %s\n", what, strerror(-status));
    return status;
}

/* ---- Sending ----------------------------------------------------------------------------------
 */

/* Hands bytes to the socket and keeps what it does not take. Returns 0 or a negative errno. */
static int conn_write(struct load *load, struct conn *conn, const char *data, size_t len)
{
    ssize_t taken = send(conn->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (taken < 0 && errno != EAGAIN)
        return load_fail("send", -errno);
    size_t done = taken < 0 ? 0 : (size_t)taken;
    if (done == len)
        return 0;
    if (conn->unsent == NULL) {
        conn->unsent = malloc((size_t)load->options.pipeline * load->request.longest_bytes);
        if (conn->unsent == NULL)
            return load_fail("send", -ENOMEM);
    }
    memcpy(conn->unsent, data + done, len - done);
    conn->unsent_at = 0;
    conn->unsent_len = len - done;
    return 0;
}

static int conn_flush(struct conn *conn)
{
    ssize_t taken = send(conn->fd, conn->unsent + conn->unsent_at, conn->unsent_len,
                         MSG_DONTWAIT | MSG_NOSIGNAL);

    if (taken < 0)
        return errno == EAGAIN ? 0 : load_fail("send", -errno);
    conn->unsent_at += (size_t)taken;
    conn->unsent_len -= (size_t)taken;
    return 0;
}

static bool conn_has_room(const struct load *load, const struct conn *conn)
{
    return conn->unsent_len == 0 && conn->burst_count < load->bursts_max;
}

/* Sends one burst, shorter or none at all where `requests` ends. */
static int conn_send_burst(struct load *load, struct conn *conn, uint64_t due_ns)
{
    const struct options *options = &load->options;
    uint64_t count = options->pipeline;
    size_t len = 0;

    if (options->requests > 0 && options->requests - load->sent < count)
        count = options->requests - load->sent;
    if (count == 0)
        return 0;
    for (uint64_t i = 0; i < count; i++)
        len += request_append(&load->request, &conn->route->pick, load->out + len);
    uint32_t slot = (conn->first_burst + conn->burst_count) % load->bursts_max;
    conn->bursts[slot] = (struct burst){.due_ns = due_ns, .left = (uint32_t)count};
    conn->burst_count++;
    load->sent += count;
    return conn_write(load, conn, load->out, len);
}

static uint64_t load_due_ns(const struct load *load)
{
    return load->start_ns + (uint64_t)((double)load->bursts_due * load->burst_interval_ns);
}

static bool load_is_offering(const struct load *load)
{
    if (load->options.requests > 0)
        return load->sent < load->options.requests;
    return load_due_ns(load) < load->measure_until_ns;
}

/* Open loop: sends every burst that is due, on the connections in turn. What finds none with room
 * stays due, and its waiting counts. */
static int load_offer(struct load *load)
{
    uint64_t now_ns = load_clock_ns(CLOCK_MONOTONIC);
    uint32_t tried = 0;

    while (load_is_offering(load) && load_due_ns(load) <= now_ns && tried < load->options.clients) {
        struct conn *conn = &load->conns[load->next_conn];
        load->next_conn = (load->next_conn + 1) % load->options.clients;
        if (!conn_has_room(load, conn)) {
            tried++;
            continue;
        }
        int status = conn_send_burst(load, conn, load_due_ns(load));
        if (status < 0)
            return status;
        load->bursts_due++;
        tried = 0;
    }
    return 0;
}

/* ---- Receiving --------------------------------------------------------------------------------
 */

static void conn_count_replies(struct load *load, struct conn *conn, uint64_t replies,
                               uint64_t now_ns)
{
    load->replies += replies;
    while (replies > 0 && conn->burst_count > 0) {
        struct burst *burst = &conn->bursts[conn->first_burst];
        uint32_t step = replies < burst->left ? (uint32_t)replies : burst->left;
        if (burst->due_ns >= load->measure_from_ns)
            histogram_add(&load->latency, now_ns - burst->due_ns, step);
        burst->left -= step;
        replies -= step;
        if (burst->left == 0) {
            conn->first_burst = (conn->first_burst + 1) % load->bursts_max;
            conn->burst_count--;
        }
    }
}

static int conn_receive(struct load *load, struct conn *conn)
{
    ssize_t got;

    do {
        got = recv(conn->fd, load->in, LOAD_RECEIVE_BYTES, MSG_DONTWAIT);
        if (got < 0)
            return errno == EAGAIN ? 0 : load_fail("receive", -errno);
        if (got == 0)
            return load_fail("the server closed a connection", -ECONNRESET);
        int64_t replies = reply_feed(&conn->reply, load->in, (size_t)got, &load->counts);
        if (replies < 0)
            return load_fail("a reply that is no RESP2", -EPROTO);
        load->last_reply_ns = load_clock_ns(CLOCK_MONOTONIC);
        conn_count_replies(load, conn, (uint64_t)replies, load->last_reply_ns);
        /* The events are edge-triggered; a short read says that the socket is empty. */
    } while (got == LOAD_RECEIVE_BYTES);
    if (load->options.rate > 0 || conn->burst_count > 0)
        return 0;
    return conn_send_burst(load, conn, load->last_reply_ns);
}

static int load_handle(struct load *load, const struct epoll_event *event)
{
    struct conn *conn = event->data.ptr;
    int status = 0;

    if ((event->events & EPOLLOUT) != 0 && conn->unsent_len > 0)
        status = conn_flush(conn);
    if (status == 0 && (event->events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0)
        status = conn_receive(load, conn);
    return status;
}

/* ---- The run ----------------------------------------------------------------------------------
 */

/* How long the loop may sleep: until the next burst is due, never long. */
static struct timespec load_sleep(const struct load *load)
{
    uint64_t sleep_ns = LOAD_SLEEP_MAX_NS;

    if (load->options.spin)
        sleep_ns = 0;
    else if (load->options.rate > 0 && load_is_offering(load)) {
        uint64_t now_ns = load_clock_ns(CLOCK_MONOTONIC);
        uint64_t due_ns = load_due_ns(load);
        uint64_t wait_ns = due_ns > now_ns ? due_ns - now_ns : 0;
        /* Every connection may be full: then replies wake the loop, and a due burst must not spin
         * it. */
        if (wait_ns == 0)
            wait_ns = 50000;
        sleep_ns = wait_ns < sleep_ns ? wait_ns : sleep_ns;
    }
    return (struct timespec){.tv_nsec = (long)sleep_ns};
}

static bool load_is_done(struct load *load)
{
    uint64_t now_ns = load_clock_ns(CLOCK_MONOTONIC);

    if (!load->measuring && now_ns >= load->measure_from_ns) {
        load->measuring = true;
        load_mark(load, &load->begin);
    }
    if (load->options.requests > 0)
        return load->replies >= load->options.requests;
    if (load->options.rate > 0)
        return !load_is_offering(load) && load->replies >= load->sent;
    return now_ns >= load->measure_until_ns;
}

static int load_turn(struct load *load)
{
    struct epoll_event events[LOAD_EVENTS_MAX];
    struct timespec sleep = load_sleep(load);
    int count = epoll_pwait2(load->epoll_fd, events, LOAD_EVENTS_MAX, &sleep, NULL);

    if (count < 0 && errno != EINTR)
        return load_fail("epoll", -errno);
    for (int i = 0; i < count; i++) {
        int status = load_handle(load, &events[i]);
        if (status < 0)
            return status;
    }
    if (load->sent > load->replies &&
        load_clock_ns(CLOCK_MONOTONIC) - load->last_reply_ns > LOAD_SILENCE_MAX_S * LOAD_SECOND_NS)
        return load_fail("the server does not answer", -ETIMEDOUT);
    return load->options.rate > 0 ? load_offer(load) : 0;
}

static int load_run(struct load *load)
{
    const struct options *options = &load->options;
    int status = 0;

    load_mark(load, &load->begin);
    load->start_ns = load->last_reply_ns = load->begin.now_ns;
    load->measuring = options->requests > 0;
    uint64_t warmup_ns = options->requests > 0 ? 0 : (uint64_t)(options->warmup_s * 1e9);
    load->measure_from_ns = load->start_ns + warmup_ns;
    load->measure_until_ns = load->measure_from_ns + (uint64_t)(options->seconds * 1e9);
    if (options->rate > 0)
        load->burst_interval_ns = 1e9 * options->pipeline / options->rate;
    for (uint32_t i = 0; options->rate == 0 && i < options->clients && status == 0; i++)
        status = conn_send_burst(load, &load->conns[i], load_clock_ns(CLOCK_MONOTONIC));
    while (status == 0 && !load_is_done(load))
        status = load_turn(load);
    load_mark(load, &load->end);
    return status;
}

/* ---- Start ------------------------------------------------------------------------------------
 */

static int load_pin(int cpu)
{
    cpu_set_t set;

    if (cpu < 0)
        return 0;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof(set), &set) < 0 ? load_fail("--cpu", -errno) : 0;
}

/* As many descriptors as the hard limit gives; connecting tells if that is too few. */
static void load_raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int load_connect(struct load *load)
{
    for (uint32_t i = 0; i < load->options.clients; i++) {
        struct conn *conn = &load->conns[i];
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = conn};
        conn->route = &load->routes.list[i % load->routes.count];
        conn->bursts = calloc(load->bursts_max, sizeof(*conn->bursts));
        if (conn->bursts == NULL)
            return load_fail("connections", -ENOMEM);
        conn->fd = route_connect(conn->route);
        if (conn->fd < 0)
            return load_fail("connect", conn->fd);
        if (epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) < 0)
            return load_fail("epoll", -errno);
    }
    return 0;
}

static int load_routes(struct load *load)
{
    const struct options *options = &load->options;
    const struct key_format *format = &options->request.format;
    int status;

    if (options->cluster)
        status =
            routes_init_cluster(&load->routes, options->host, options->port, format, options->keys);
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
    return 0;
}

static int load_init(struct load *load)
{
    const struct options *options = &load->options;
    int status = request_init(&load->request, &options->request, options->mix);

    if (status < 0)
        return load_fail("--mix, --multi or --value-len", status);
    uint64_t burst_bytes = (uint64_t)options->pipeline * load->request.longest_bytes;
    if (burst_bytes > OPTIONS_BURST_BYTES_MAX)
        return load_fail("a burst over 256 MB", -E2BIG);
    if (options->server_pid > 0 &&
        clock_getcpuclockid((pid_t)options->server_pid, &load->server_clock) != 0)
        return load_fail("--server-pid", -ESRCH);
    load->bursts_max = options->rate > 0 ? LOAD_OPEN_BURSTS_MAX : 1;
    load->out = malloc(burst_bytes);
    load->in = malloc(LOAD_RECEIVE_BYTES);
    load->conns = calloc(options->clients, sizeof(*load->conns));
    if (load->out == NULL || load->in == NULL || load->conns == NULL)
        return load_fail("buffers", -ENOMEM);
    load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (load->epoll_fd < 0)
        return load_fail("epoll", -errno);
    histogram_init(&load->latency);
    load_raise_descriptors();
    status = load_pin(options->cpu);
    if (status == 0)
        status = load_routes(load);
    return status < 0 ? status : load_connect(load);
}

static void load_fini(struct load *load)
{
    for (uint32_t i = 0; load->conns != NULL && i < load->options.clients; i++) {
        if (load->conns[i].fd > 0)
            close(load->conns[i].fd);
        free(load->conns[i].bursts);
        free(load->conns[i].unsent);
    }
    free(load->conns);
    free(load->in);
    free(load->out);
    routes_fini(&load->routes);
    request_fini(&load->request);
}

/* ---- Report -----------------------------------------------------------------------------------
 */

struct load_report {
    double seconds;
    double server_cpu_s;
    double own_cpu_s;
    uint64_t requests;
};

static const struct load_quantile {
    const char *name;
    double share;
} load_quantiles[] = {
    {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999},
};

enum { LOAD_QUANTILES = sizeof(load_quantiles) / sizeof(load_quantiles[0]) };

static void load_print_json(const struct load *load, const struct load_report *report)
{
    char error[REPLY_LINE_MAX];
    size_t len = strlen(load->counts.first_error);

    for (size_t i = 0; i <= len; i++) {
        char c = load->counts.first_error[i];
        error[i] = c == '"' || c == '\\' || (c != '\0' && (c < ' ' || c > '~')) ? '?' : c;
    }
    printf("{\"requests\": %llu, \"seconds\": %.6f, \"server_cpu_seconds\": %.9f, "
           "\"load_cpu_seconds\": %.9f, \"replies\": %llu, \"errors\": %llu, \"moved\": %llu, "
           "\"nulls\": %llu, \"ports\": %u, \"next_key\": %llu, \"first_error\": \"%s\", "
           "\"latency_us\": {",
           (unsigned long long)report->requests, report->seconds, report->server_cpu_s,
           report->own_cpu_s, (unsigned long long)load->replies,
           (unsigned long long)load->counts.errors, (unsigned long long)load->counts.moved,
           (unsigned long long)load->counts.nulls, load->routes.count,
           (unsigned long long)load->request.next_number, error);
    for (int i = 0; i < LOAD_QUANTILES; i++)
        printf("\"%s\": %.3f, ", load_quantiles[i].name,
               (double)histogram_quantile(&load->latency, load_quantiles[i].share) / 1e3);
    printf("\"max\": %.3f}}\n", (double)load->latency.max_ns / 1e3);
}

static void load_print_text(const struct load *load, const struct load_report *report)
{
    printf("%llu requests in %.3f s: %.0f a second\n", (unsigned long long)report->requests,
           report->seconds, (double)report->requests / report->seconds);
    if (report->server_cpu_s > 0)
        printf("server: %.3f CPU seconds, %.0f %% of a core, %.0f requests for each CPU second\n",
               report->server_cpu_s, 100 * report->server_cpu_s / report->seconds,
               (double)report->requests / report->server_cpu_s);
    printf("load: %.3f CPU seconds\nlatency, us:", report->own_cpu_s);
    for (int i = 0; i < LOAD_QUANTILES; i++)
        printf(" %s %.1f", load_quantiles[i].name,
               (double)histogram_quantile(&load->latency, load_quantiles[i].share) / 1e3);
    printf(" max %.1f\n", (double)load->latency.max_ns / 1e3);
    printf("replies: %llu errors, %llu MOVED, %llu nulls\n",
           (unsigned long long)load->counts.errors, (unsigned long long)load->counts.moved,
           (unsigned long long)load->counts.nulls);
    if (load->counts.errors > 0)
        printf("first error: %s\n", load->counts.first_error);
}

static void load_print(const struct load *load)
{
    struct load_report report = {
        .seconds = (double)(load->end.now_ns - load->begin.now_ns) / 1e9,
        .server_cpu_s = (double)(load->end.server_cpu_ns - load->begin.server_cpu_ns) / 1e9,
        .own_cpu_s = (double)(load->end.own_cpu_ns - load->begin.own_cpu_ns) / 1e9,
        .requests = load->end.replies - load->begin.replies,
    };

    if (load->options.json)
        load_print_json(load, &report);
    else
        load_print_text(load, &report);
}

int main(int argc, char **argv)
{
    struct load *load = calloc(1, sizeof(*load));

    if (load == NULL)
        return 1;
    int status = options_parse(&load->options, argc, argv);
    if (status == 0 && load->options.help) {
        options_usage();
    } else if (status == 0) {
        status = load_init(load);
        if (status == 0)
            status = load_run(load);
        if (status == 0)
            load_print(load);
        load_fini(load);
    }
    free(load);
    return status < 0 ? 1 : 0;
}

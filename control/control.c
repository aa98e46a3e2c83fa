/* The control thread: signals, and what workers ask for. */
#include "control/control.h"
#include "control/log/merge.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "dataplane/worker.h"
#include "drivers/clock.h"

enum {
    HOUSEKEEPING_MS = 1000,     /* log, old values of the configuration */
    RECORD_MS = 5,              /* how long records wait in the journals */
    DRAIN_LOOK_MS = 2,          /* how often an end looks whether it is there */
    SETTLE_ROUNDS_MAX = 1000000 /* a walk takes one for each slot */
};

/* ---- from workers ---- */

static void post(void *arg, struct task *task)
{
    struct control *control = arg;
    uint64_t one = 1;

    task_post(&control->inbox, task);
    /* EAGAIN: the counter is full, so it is awake. */
    while (write(control->event_fd, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

static void shut_down_task(void *runner, struct task *task)
{
    struct control *control = ((struct node *)runner)->control;

    if (!control->end)
        log_write(control->log, LOG_LEVEL_WARNING, "User requested shutdown...");
    control->end = true;
}

/* One task for all who ask: the first one posts it, and once is enough. */
static void shut_down(void *arg)
{
    struct control *control = arg;

    if (!atomic_exchange(&control->shut_down_posted, true)) {
        control->shut_down_task.run = shut_down_task;
        post(control, &control->shut_down_task);
    }
}

static int record(void *arg, const char *path)
{
    struct control *control = arg;
    int error;

    if (control->merge != NULL)
        return -EALREADY;
    control->merge = merge_create(control->node, path, &error);
    return control->merge == NULL ? error : 0;
}

static int record_end(void *arg)
{
    struct control *control = arg;

    if (control->merge == NULL)
        return -ENOENT;
    int result = merge_finish(control->merge);
    control->merge = NULL;
    return result;
}

const struct node_control control_calls = {
    .post = post,
    .shut_down = shut_down,
    .record = record,
    .record_end = record_end,
    .configure = configure,
    .apply = configure_apply,
};

/* ---- life ---- */

int control_open(struct control *control)
{
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&control->signals);
    sigaddset(&control->signals, SIGTERM);
    sigaddset(&control->signals, SIGINT);
    sigaddset(&control->signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &control->signals, NULL);
    control->signal_fd = signalfd(-1, &control->signals, SFD_NONBLOCK | SFD_CLOEXEC);
    control->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (control->signal_fd >= 0 && control->event_fd >= 0)
        return 0;
    log_write(control->log, LOG_LEVEL_WARNING, "Cannot wait for signals: %s", strerror(errno));
    return -1;
}

void control_end(struct control *control)
{
    if (control->merge != NULL)
        record_end(control);
    listeners_close(&control->listeners);
    control_free_node(control);
    bypass_end(&control->bypass);
    if (control->unixsocket[0] != '\0')
        unlink(control->unixsocket);
    if (control->signal_fd >= 0)
        close(control->signal_fd);
    if (control->event_fd >= 0)
        close(control->event_fd);
}

/* ---- the loop ---- */

static const char *signal_name(int number)
{
    return number == SIGTERM ? "SIGTERM" : number == SIGINT ? "SIGINT" : "SIGHUP";
}

static void take_signals(struct control *control)
{
    struct signalfd_siginfo info;

    while (read(control->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        int number = (int)info.ssi_signo;
        if (number == SIGHUP) {
            log_request_reopen(control->log);
            control->reopen_log = true;
            continue;
        }
        control->hurry = control->end;
        control->end = true;
        log_write(control->log, LOG_LEVEL_WARNING, "Received %s, %s", signal_name(number),
                  control->hurry ? "ending at once." : "shutting down.");
    }
}

static void take_tasks(struct control *control)
{
    uint64_t count;

    while (read(control->event_fd, &count, sizeof count) < 0 && errno == EINTR)
        continue;
    task_run_all(&control->inbox, control->node);
}

/* True: there is more to record right now. */
static bool record_some(struct control *control)
{
    if (control->merge == NULL)
        return false;
    int64_t written = merge_step(control->merge);
    if (written >= 0)
        return written > 0;
    if (!control->merge_failed)
        log_write(control->log, LOG_LEVEL_WARNING, "The recording has failed: %s",
                  strerror((int)-written));
    control->merge_failed = true;
    return false;
}

/* A thread that hangs cannot be ended, nor can what it uses be taken down in order. The others are
 * waited for where they have ended. */
static void give_up(struct control *control)
{
    for (uint32_t i = 0; i < control->node->worker_count; i++)
        if (atomic_load_explicit(&control->node->workers[i]->ended, memory_order_acquire))
            worker_join(control->node->workers[i]);
    process_remove_pidfile(&control->process);
    if (control->unixsocket[0] != '\0')
        unlink(control->unixsocket);
    _exit(EXIT_FAILURE);
}

void control_watch(struct control *control)
{
    if (!watchdog_look(&control->watchdog, control->node, clock_now_us()))
        give_up(control);
    if (watchdog_content(&control->watchdog, control->node))
        process_well(&control->process);
}

static void housekeep(struct control *control)
{
    uint64_t now_us = clock_now_us();

    if (now_us - control->housekept_us < HOUSEKEEPING_MS * 1000u && !control->reopen_log)
        return;
    control->housekept_us = now_us;
    control->reopen_log = false;
    bypass_tick(&control->bypass, control->node);
    control_watch(control);
    int result = log_refresh(control->log);

    if (result < 0)
        log_write(control->log, LOG_LEVEL_WARNING, "Cannot open the log file anew: %s",
                  strerror(-result));
}

static void wait_and_take(struct control *control, int timeout_ms)
{
    struct pollfd fds[2 + KERNEL_SIDE_FDS] = {{.fd = control->signal_fd, .events = POLLIN},
                                              {.fd = control->event_fd, .events = POLLIN}};

    timeout_ms = bypass_wait(&control->bypass, fds + 2, timeout_ms);
    if (poll(fds, 2 + KERNEL_SIDE_FDS, timeout_ms) < 0 && errno != EINTR)
        abort(); /* descriptors of our own */
    bypass_take(&control->bypass);
    take_signals(control);
    take_tasks(control);
}

void control_run(struct control *control)
{
    while (!control->end) {
        bool more = record_some(control);
        wait_and_take(control, more ? 0 : control->merge != NULL ? RECORD_MS : HOUSEKEEPING_MS);
        configure_reclaim(control);
        housekeep(control);
    }
}

/* ---- the end ---- */

static void drain_worker(void *runner, struct task *task)
{
    worker_drain(runner);
}

static bool all_drained(const struct node *node)
{
    for (uint32_t i = 0; i < node->worker_count; i++)
        if (!atomic_load_explicit(&node->workers[i]->drained, memory_order_acquire))
            return false;
    return true;
}

static uint64_t bytes_sent(const struct node *node)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < node->worker_count; i++)
        sum += count_get(&node->driver->counters(node->workers[i]->stream)->tx_bytes);
    return sum;
}

/* Until every connection has what it is owed, or those left do not take it. */
static void wait_until_drained(struct control *control)
{
    const struct node *node = control->node;
    uint64_t began_us = clock_now_us(), moved_us = began_us, sent = bytes_sent(node);

    while (!all_drained(node) && !control->hurry) {
        wait_and_take(control, DRAIN_LOOK_MS);
        uint64_t now_us = clock_now_us(), now_sent = bytes_sent(node);
        if (now_sent != sent)
            moved_us = now_us;
        sent = now_sent;
        if (now_us - moved_us > CONTROL_DRAIN_STALL_MS * 1000u ||
            now_us - began_us > CONTROL_DRAIN_MAX_MS * 1000u) {
            log_write(control->log, LOG_LEVEL_NOTICE,
                      "Some clients do not take their replies: closing their connections.");
            return;
        }
    }
}

static const struct worker *still_running(const struct node *node)
{
    for (uint32_t i = 0; i < node->worker_count; i++)
        if (!atomic_load_explicit(&node->workers[i]->ended, memory_order_acquire))
            return node->workers[i];
    return NULL;
}

static void wait_until_ended(struct control *control)
{
    uint64_t began_us = clock_now_us();
    const struct worker *worker;

    while ((worker = still_running(control->node)) != NULL) {
        uint64_t limit_ms = control->hurry ? CONTROL_END_HURRY_MS : CONTROL_END_MAX_MS;
        wait_and_take(control, DRAIN_LOOK_MS);
        if (clock_now_us() - began_us <= limit_ms * 1000)
            continue;
        log_write(control->log, LOG_LEVEL_WARNING,
                  "Worker %u hangs, and does not end within %llu ms: the server ends without it.",
                  worker->index, (unsigned long long)limit_ms);
        give_up(control);
    }
}

/* Without their threads the workers' mail is carried by hand until every job is home. */
static void settle(struct control *control)
{
    struct node *node = control->node;
    bool more = true;

    for (int round = 0; round < SETTLE_ROUNDS_MAX && more; round++) {
        more = task_waiting(&control->inbox);
        take_tasks(control);
        for (uint32_t i = 0; i < node->worker_count; i++)
            more = worker_settle(node->workers[i]) || more;
    }
}

void control_stop_workers(struct control *control)
{
    struct node *node = control->node;
    struct task drains[WORKERS_MAX];

    atomic_store(&node->shutdown_request, NODE_SHUTS_DOWN);
    for (uint32_t i = 0; i < node->worker_count; i++) {
        drains[i] = (struct task){.run = drain_worker};
        worker_post(node->workers[i], &drains[i]);
    }
    wait_until_drained(control);
    for (uint32_t i = 0; i < node->worker_count; i++)
        worker_stop(node->workers[i]);
    wait_until_ended(control);
    for (uint32_t i = 0; i < node->worker_count; i++)
        worker_join(node->workers[i]);
    settle(control);
}

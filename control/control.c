/* The control thread: signals, and what workers ask for. */
#include "control/control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "dataplane/worker.h"

enum {
    LOG_REFRESH_MS = 1000
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

const struct node_control control_calls = {
    .post = post,
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

void control_close(struct control *control)
{
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
            continue;
        }
        log_write(control->log, LOG_LEVEL_WARNING, "Received %s, shutting down.",
                  signal_name(number));
        control->end = true;
    }
}

static void take_tasks(struct control *control)
{
    uint64_t count;

    while (read(control->event_fd, &count, sizeof count) < 0 && errno == EINTR)
        continue;
    task_run_all(&control->inbox, control->node);
}

static void refresh_log(struct control *control)
{
    int result = log_refresh(control->log);

    if (result < 0)
        log_write(control->log, LOG_LEVEL_WARNING, "Cannot open the log file anew: %s",
                  strerror(-result));
}

void control_run(struct control *control)
{
    struct pollfd fds[2] = {{.fd = control->signal_fd, .events = POLLIN},
                            {.fd = control->event_fd, .events = POLLIN}};

    while (!control->end) {
        if (poll(fds, 2, LOG_REFRESH_MS) < 0 && errno != EINTR)
            abort(); /* two descriptors of our own */
        take_signals(control);
        take_tasks(control);
        refresh_log(control);
    }
}

void control_stop_workers(struct control *control)
{
    struct node *node = control->node;

    atomic_store(&node->shutdown_request, NODE_SHUTS_DOWN);
    for (uint32_t i = 0; i < node->worker_count; i++)
        worker_stop(node->workers[i]);
    for (uint32_t i = 0; i < node->worker_count; i++)
        worker_join(node->workers[i]);
}

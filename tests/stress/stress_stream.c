/* Streams of several threads: each passes connections to the next one and wakes it. What crosses
 * threads is the descriptor, in a box, and the wake-up; all else belongs to one thread.
 * Ends with 0, or with 1 and a line when connections got lost or a wake-up did not come. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/clock.h"
#include "drivers/stream.h"

enum {
    THREADS = 4,
    HOPS = 4000, /* of each connection, from thread to thread */
    CONNECTIONS = 8,
    DEADLINE_S = 60,
};

struct runner {
    const struct stream_driver *driver;
    struct stream *stream;
    struct runner *next;
    _Atomic int box[CONNECTIONS]; /* descriptors handed to this thread, plus 1; 0: empty */
    _Atomic unsigned *left;       /* hops of all connections that are still to come */
    bool failed;
};

/* Puts a descriptor into the next thread's box, which is as large as there are connections. */
static void pass_on(struct runner *runner, int fd)
{
    for (unsigned i = 0;; i = (i + 1) % CONNECTIONS) {
        int empty = 0;
        if (atomic_compare_exchange_strong(&runner->next->box[i], &empty, fd + 1))
            break;
    }
    runner->driver->wake(runner->stream, runner->next->stream);
}

static void take_over(struct runner *runner)
{
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        int fd = atomic_exchange(&runner->box[i], 0) - 1;
        if (fd >= 0 && runner->driver->adopt(runner->stream, fd, 1) < 0)
            runner->failed = true;
    }
}

/* A connection that arrives goes on as a duplicate, as long as there are hops left. */
static void handle(struct runner *runner, const struct stream_event *event)
{
    if (event->kind != STREAM_ACCEPTED)
        return;
    unsigned left = atomic_load(runner->left);
    while (left > 0 && !atomic_compare_exchange_weak(runner->left, &left, left - 1))
        continue;
    if (left > 0)
        pass_on(runner, dup(event->conn->fd));
    runner->driver->close(runner->stream, event->conn, STREAM_CLOSE_NOW);
}

static void *run(void *arg)
{
    struct runner *runner = arg;
    struct stream_event events[STREAM_EVENTS_MAX];
    uint64_t end_us = clock_now_us() + DEADLINE_S * 1000000u;

    while (atomic_load(runner->left) > 0 && !runner->failed) {
        take_over(runner);
        int count = runner->driver->poll(runner->stream, events, STREAM_EVENTS_MAX, 1000000);
        for (int i = 0; i < count; i++)
            handle(runner, &events[i]);
        runner->failed |= count < 0 || clock_now_us() > end_us;
    }
    runner->driver->wake(runner->stream, runner->next->stream);
    runner->driver->flush(runner->stream);
    return NULL;
}

static bool run_all(struct runner *runners, const int *fds)
{
    pthread_t threads[THREADS];
    bool failed = false;

    for (unsigned i = 0; i < CONNECTIONS; i++)
        runners[0].box[i] = fds[i] + 1;
    for (unsigned i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, run, &runners[i]) != 0)
            return false;
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        failed |= runners[i].failed;
    }
    return !failed;
}

static int stress(const char *name)
{
    char error[STREAM_ERROR_MAX] = "";
    struct stream_options options = {.connections_max = 64, .may_sleep = true, .error = error};
    struct runner runners[THREADS] = {{.failed = false}};
    _Atomic unsigned left = HOPS * CONNECTIONS;
    int mine[CONNECTIONS];
    int theirs[CONNECTIONS];

    for (unsigned i = 0; i < THREADS; i++) {
        runners[i].driver = stream_driver_find(name);
        runners[i].next = &runners[(i + 1) % THREADS];
        runners[i].left = &left;
        int result = runners[i].driver->create(&runners[i].stream, &options);
        if (i == 0 && (result == -EPERM || result == -ENOSYS)) {
            printf("%s: left out: %s\n", name, error);
            return 0;
        }
        if (result < 0)
            return 1;
    }
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
            return 1;
        mine[i] = ends[0];
        theirs[i] = ends[1];
    }
    bool right = run_all(runners, theirs);
    for (unsigned i = 0; i < CONNECTIONS; i++)
        close(mine[i]);
    for (unsigned i = 0; i < THREADS; i++) {
        for (unsigned k = 0; k < CONNECTIONS; k++) {
            if (runners[i].box[k] > 0)
                close(runners[i].box[k] - 1);
        }
        runners[i].driver->destroy(runners[i].stream);
    }
    printf("%s: %s\n", name, right ? "passed" : "connections or wake-ups were lost");
    return !right;
}

int main(void)
{
    return stress("uring") | stress("epoll");
}

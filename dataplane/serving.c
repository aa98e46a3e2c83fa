/* Serving: what the control thread has a worker do besides its loop: listen, stop listening, end. */
#include "dataplane/client/client.h"
#include "dataplane/slots/job.h"
#include "dataplane/slots/mailbox.h"
#include "dataplane/worker.h"
#include "drivers/socket.h"

int worker_listen_on(struct worker *worker, const struct worker_listener *listener)
{
    if (listener->fd < 0)
        return worker->driver->listen_port(worker->stream, listener->port, listener->id);
    return worker->driver->listen(worker->stream, listener->fd, listener->id, listener->hand_over);
}

int worker_listen(struct worker *worker, int fd, uint16_t port, uint32_t id, bool hand_over)
{
    int result = worker_give_listener(worker, fd, port, id, hand_over);

    if (result < 0)
        return result;
    result = worker_listen_on(worker, &worker->listeners[worker->listener_count - 1]);
    if (result < 0) {
        worker->listener_count--;
        return result;
    }
    worker->listeners[worker->listener_count - 1].taken = true;
    return 0;
}

static void stop_listener(struct worker *worker, uint32_t place)
{
    worker->driver->unlisten(worker->stream, worker->listeners[place].id);
    worker->listeners[place] = worker->listeners[--worker->listener_count];
}

void worker_unlisten(struct worker *worker, uint32_t set)
{
    for (uint32_t i = worker->listener_count; i-- > 0;) {
        uint32_t id = worker->listeners[i].id;
        if (id != LISTENER_UNIX && (id & LISTENER_SET) == set)
            stop_listener(worker, i);
    }
}

void worker_set_keepalive(struct worker *worker, unsigned keepalive_s)
{
    if (worker->driver->set_keepalive != NULL)
        worker->driver->set_keepalive(worker->stream, keepalive_s);
    for (uint32_t i = 0; i < worker->listener_count; i++)
        if (worker->listeners[i].fd >= 0)
            (void)socket_set_options(worker->listeners[i].fd,
                                     keepalive_s); /* nothing to be done about a failure */
}

void worker_drain(struct worker *worker)
{
    if (!atomic_load_explicit(&worker->running, memory_order_relaxed))
        return; /* too late: the thread has ended, and streams are its alone */
    if (!worker->draining) {
        worker->draining = true;
        while (worker->listener_count > 0)
            stop_listener(worker, worker->listener_count - 1);
    }
    if (clients_drain(worker))
        atomic_store_explicit(&worker->drained, true, memory_order_release);
}

bool worker_settle(struct worker *worker)
{
    struct mail mails[MAIL_BATCH_MAX];
    uint32_t from[MAIL_BATCH_MAX];
    unsigned count = mail_take(worker, mails, from, MAIL_BATCH_MAX);
    bool more = task_waiting(&worker->tasks) || count > 0;

    task_run_all(&worker->tasks, worker);
    for (unsigned i = 0; i < count; i++)
        job_mail(worker, &mails[i], from[i]);
    job_ready_parts(worker);
    return clients_settle(worker) || queues_any_ready(worker) || more;
}

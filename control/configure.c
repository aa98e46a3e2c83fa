/* Configure: changes of the configuration that need more than a new value. */
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/directive.h"
#include "control/control.h"
#include "dataplane/worker.h"

/* ---- what needs nobody's answer ---- */

static const char *apply_maxclients(struct control *control, const struct config *config)
{
    uint64_t besides = control_fds_besides_clients(config);
    uint64_t wanted = (uint64_t)config->maxclients + besides;
    uint64_t limit = listen_raise_fd_limit(wanted);

    if (limit >= wanted || config->net_driver == CONFIG_DRIVER_DPDK)
        return NULL;
    snprintf(control->refusal, sizeof control->refusal,
             "The operating system is not able to handle the specified number of clients, try "
             "with %llu",
             (unsigned long long)(limit > besides ? limit - besides : 0));
    return control->refusal;
}

struct keepalive_task {
    struct task task;
    unsigned seconds;
};

static void set_keepalive(void *runner, struct task *task)
{
    struct keepalive_task *keepalive = (struct keepalive_task *)task;

    worker_set_keepalive(runner, keepalive->seconds);
    free(keepalive);
}

static const char *apply_keepalive(struct control *control, const struct config *config)
{
    for (uint32_t i = 0; i < control->node->worker_count; i++) {
        struct keepalive_task *keepalive = malloc(sizeof *keepalive);
        if (keepalive == NULL)
            return "out of memory";
        *keepalive = (struct keepalive_task){.task = {.run = set_keepalive},
                                             .seconds = (unsigned)config->tcp_keepalive};
        worker_post(control->node->workers[i], &keepalive->task);
    }
    return NULL;
}

static bool is_listening(const char *name)
{
    return strcmp(name, "port") == 0 || strcmp(name, "bind") == 0;
}

static const char *apply_one(struct control *control, const struct config *config, const char *name)
{
    if (strcmp(name, "loglevel") == 0)
        log_set_level(control->log, (enum log_level)config->loglevel);
    if (strcmp(name, "maxclients") == 0)
        return apply_maxclients(control, config);
    if (strcmp(name, "tcp-keepalive") == 0)
        return apply_keepalive(control, config);
    return NULL;
}

/* The log's level is the one thing here that would outlast a refusal. */
static const char *apply_all(struct control *control, const struct config *config,
                             const struct config_change *changes, unsigned count, unsigned *culprit)
{
    enum log_level level = log_level(control->log);

    for (unsigned i = 0; i < count; i++) {
        const char *reason = apply_one(control, config, changes[i].name);
        if (reason != NULL) {
            log_set_level(control->log, level);
            *culprit = i;
            return reason;
        }
    }
    return NULL;
}

const char *configure_apply(void *arg, const struct config *config,
                            const struct config_change *changes, unsigned count, unsigned *culprit)
{
    for (unsigned i = 0; i < count; i++)
        if (is_listening(changes[i].name)) {
            *culprit = i;
            return "changing it is for the control thread";
        }
    return apply_all(arg, config, changes, count, culprit);
}

/* ---- listening elsewhere ---- */

/* One round with all workers: each does its part on its own thread, the control thread waits. */
struct round {
    struct task task;
    struct round *first; /* of all workers' */
    struct listeners *listeners;
    uint32_t unlisten_set;
    unsigned keepalive_s;
    int result;
    sem_t done; /* of the first one */
};

/* A worker without a network leaves its own port to another, and the common one to all that have. */
static bool is_for(const struct worker *worker, const struct listener *listener)
{
    if (!listener_is_core(listener->id))
        return listener->worker == worker->index;
    return node_network_worker(worker->node, listener->worker) == worker->index;
}

static void listen_there(void *runner, struct task *task)
{
    struct round *round = (struct round *)task;
    struct worker *worker = runner;
    struct listeners *listeners = round->listeners;

    for (unsigned i = 0; i < listeners->count && round->result == 0; i++) {
        struct listener *listener = &listeners->items[i];
        if (!is_for(worker, listener))
            continue;
        round->result =
            worker_listen(worker, listener->fd, listener->port, listener->id, listener->hand_over);
        if (round->result == 0)
            listener->fd = -1;
    }
    worker_set_keepalive(worker, round->keepalive_s);
    sem_post(&round->first->done);
}

static void unlisten_there(void *runner, struct task *task)
{
    struct round *round = (struct round *)task;

    worker_unlisten(runner, round->unlisten_set);
    sem_post(&round->first->done);
}

/* A worker that hangs does not answer: the watchdog goes on meanwhile. By the wall clock, whose jumps
 * only put a look of the watchdog off: ThreadSanitizer does not know sem_clockwait. */
static void wait_for_one(struct control *control, sem_t *done)
{
    struct timespec deadline;

    for (;;) {
        clock_gettime(CLOCK_REALTIME, &deadline);
        deadline.tv_sec++;
        if (sem_timedwait(done, &deadline) == 0)
            return;
        if (errno == ETIMEDOUT)
            control_watch(control);
    }
}

/* Has every worker run `run`; returns the first error of any. `rounds` has one for each. */
static int with_all_workers(struct control *control, struct round *rounds,
                            void (*run)(void *runner, struct task *task))
{
    uint32_t count = control->node->worker_count;
    int result = 0;

    sem_init(&rounds[0].done, 0, 0);
    for (uint32_t i = 0; i < count; i++) {
        rounds[i].task.run = run;
        rounds[i].first = &rounds[0];
        rounds[i].result = 0;
        worker_post(control->node->workers[i], &rounds[i].task);
    }
    for (uint32_t i = 0; i < count; i++)
        wait_for_one(control, &rounds[0].done);
    sem_destroy(&rounds[0].done);
    for (uint32_t i = 0; i < count && result == 0; i++)
        result = rounds[i].result;
    return result;
}

/* `rounds` in which every worker is given its own of these sockets. */
static struct round *listening_rounds(struct control *control, struct listeners *listeners)
{
    uint32_t count = control->node->worker_count;
    struct round *rounds = calloc(count, sizeof *rounds);

    for (uint32_t i = 0; i < count && rounds != NULL; i++) {
        rounds[i].listeners = listeners;
        rounds[i].keepalive_s = (unsigned)control->config->tcp_keepalive;
    }
    return rounds;
}

int configure_listen(struct control *control)
{
    struct round *rounds = listening_rounds(control, &control->listeners);
    int result = rounds == NULL ? -ENOMEM : with_all_workers(control, rounds, listen_there);

    free(rounds);
    if (result < 0)
        log_write(control->log, LOG_LEVEL_WARNING, "A worker cannot listen: %s", strerror(-result));
    listeners_close(&control->listeners);
    listeners_hold(&control->held, control->config, control->node->worker_count);
    return result < 0 ? -1 : 0;
}

/* All workers listen on the new sockets, then they leave the old ones; or, if one cannot, the new
 * ones again. */
static int switch_listeners(struct control *control, struct listeners *listeners)
{
    uint32_t count = control->node->worker_count;
    uint32_t old_set = control->listener_set, new_set = old_set ^ LISTENER_SET;
    struct round *rounds = listening_rounds(control, listeners);

    if (rounds == NULL)
        return -ENOMEM;
    int result = with_all_workers(control, rounds, listen_there);
    for (uint32_t i = 0; i < count; i++)
        rounds[i].unlisten_set = result == 0 ? old_set : new_set;
    with_all_workers(control, rounds, unlisten_there);
    free(rounds);
    if (result < 0)
        return result;
    control->listener_set = new_set;
    listeners_hold(&control->held, control->config, count);
    return 0;
}

/* A config_set whose changes need sockets. */
struct configuring {
    struct control *control;
    struct listeners listeners; /* bound while the change is applied */
    bool listens;               /* port or bind is among the changes */
};

/* With a kernel behind the port nobody listens there, but the ports are to be had. */
static int open_listeners(struct configuring *configuring, const struct config *config,
                          char error[LISTEN_ERROR_MAX])
{
    struct control *control = configuring->control;
    int result = listeners_open_tcp(&configuring->listeners, config, control->node->worker_count,
                                    control->listener_set ^ LISTENER_SET, &control->held, error);

    if (result == 0)
        result = kernel_side_reserve(&control->bypass.kernel, config, error);
    if (result < 0)
        listeners_close(&configuring->listeners);
    return result;
}

static const char *apply_with_listeners(void *arg, const struct config *config,
                                        const struct config_change *changes, unsigned count,
                                        unsigned *culprit)
{
    struct configuring *configuring = arg;
    struct control *control = configuring->control;
    char error[LISTEN_ERROR_MAX];

    for (unsigned i = 0; i < count; i++)
        if (is_listening(changes[i].name)) {
            configuring->listens = true;
            *culprit = i;
        }
    if (configuring->listens && open_listeners(configuring, config, error) < 0) {
        log_write(control->log, LOG_LEVEL_WARNING, "CONFIG SET %s: %s", changes[*culprit].name,
                  error);
        return strcmp(changes[*culprit].name, "bind") == 0
                   ? "Failed to bind to specified addresses."
                   : "Unable to listen on this port. Check server logs.";
    }
    const char *reason = apply_all(control, config, changes, count, culprit);
    if (reason != NULL)
        listeners_close(&configuring->listeners);
    return reason;
}

/* The values in force of all directives that a CONFIG SET names, as the words that set them again. */
struct saved {
    struct config_span *words;
    unsigned count;
    bool failed; /* no memory: not all are here */
};

static void save_one(void *arg, const char *name, size_t name_len, const char *value,
                     size_t value_len)
{
    struct saved *saved = arg;
    struct config_span *pair = &saved->words[saved->count];

    pair[0] = (struct config_span){strndup(name, name_len), name_len};
    pair[1] = (struct config_span){strndup(value, value_len), value_len};
    saved->count += 2;
    saved->failed |= pair[0].data == NULL || pair[1].data == NULL;
}

static void saved_free(struct saved *saved)
{
    for (unsigned i = 0; i < saved->count; i++)
        free((char *)saved->words[i].data);
    free(saved->words);
}

/* Names that are none or have wildcards are for config_set to refuse. */
static bool save(struct saved *saved, const struct config *config, const struct config_span *words,
                 unsigned count)
{
    *saved = (struct saved){.words = calloc(count, sizeof *saved->words)};
    if (saved->words == NULL)
        return false;
    for (unsigned i = 0; i + 1 < count; i += 2)
        if (directive_find(words[i].data, words[i].len, NULL) != NULL)
            config_get(config, &words[i], 1, save_one, saved);
    return !saved->failed;
}

/* Everything but the sockets, which nobody has left yet. */
static const char *apply_besides_listeners(void *arg, const struct config *config,
                                           const struct config_change *changes, unsigned count,
                                           unsigned *culprit)
{
    return apply_all(arg, config, changes, count, culprit);
}

static void restore(struct control *control, const struct saved *saved)
{
    char text[CONFIG_REASON_MAX];

    /* They were in force before, so that nothing but memory can be short. */
    if (config_set(control->config, saved->words, saved->count, true, apply_besides_listeners,
                   control, text) < 0)
        log_write(control->log, LOG_LEVEL_WARNING, "CONFIG SET: the old values are lost: %s", text);
}

int configure(void *arg, const struct config_span *words, unsigned count, bool local,
              char text[CONFIG_REASON_MAX])
{
    struct control *control = arg;
    struct configuring configuring = {.control = control};
    struct saved saved;
    int result;

    if (!save(&saved, control->config, words, count)) {
        saved_free(&saved);
        snprintf(text, CONFIG_REASON_MAX, "ERR out of memory");
        return -ENOMEM;
    }
    result =
        config_set(control->config, words, count, local, apply_with_listeners, &configuring, text);
    if (result == 0 && configuring.listens) {
        /* Not under the configuration's mutex: a worker may be waiting for that. */
        result = switch_listeners(control, &configuring.listeners);
        listeners_close(&configuring.listeners);
        if (result < 0) {
            restore(control, &saved);
            snprintf(text, CONFIG_REASON_MAX, "ERR CONFIG SET failed - a worker cannot listen: %s",
                     strerror(-result));
        }
    }
    if (configuring.listens) { /* whichever values are in force now */
        kernel_side_settle(&control->bypass.kernel, control->config);
        bypass_ports_changed(&control->bypass, control->config, control->node->worker_count,
                             control->log);
    }
    saved_free(&saved);
    return result;
}

/* ---- old values ---- */

void configure_reclaim(struct control *control)
{
    const struct node *node = control->node;
    uint64_t least = UINT64_MAX;

    for (uint32_t i = 0; i < node->worker_count; i++) {
        uint64_t seen =
            atomic_load_explicit(&node->workers[i]->config_generation, memory_order_acquire);
        least = seen < least ? seen : least;
    }
    if (least == control->reclaimed_generation)
        return;
    config_reclaim(control->config, least);
    control->reclaimed_generation = least;
}

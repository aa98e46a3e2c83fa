/* Start: limits, CPUs, the node, its workers and their sockets. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#ifdef POLLUX_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "control/control.h"
#include "control/listeners.h"
#include "control/usage.h"
#include "dataplane/net/stream_net.h"
#include "dataplane/slots/watch.h"
#include "dataplane/store/lazyfree.h"
#include "dataplane/worker.h"
#include "drivers/clock.h"

/* ---- limits ---- */

uint64_t control_fds_besides_clients(const struct config *config)
{
    uint64_t sockets = config->bind->count * (config->per_core_endpoints != 0 ? 2u : 1u);

    return CONTROL_FDS_RESERVED + reserve_fds(config) +
           (uint64_t)config->workers * (CONTROL_FDS_WORKER + (config->port != 0 ? sockets : 0));
}

/* As Redis does: the limit goes up as far as it may, then maxclients comes down to it. */
static int fit_clients(struct control *control)
{
    struct config *config = control->config;
    uint64_t besides = control_fds_besides_clients(config);
    uint64_t wanted = (uint64_t)config->maxclients + besides;
    uint64_t limit = listen_raise_fd_limit(wanted);

    if (config->net_driver == CONFIG_DRIVER_DPDK)
        return 0; /* connections of ours are no files */
    if (limit <= besides) {
        log_write(control->log, LOG_LEVEL_WARNING,
                  "The limit of open files is %llu, and %llu are needed without any client. Raise "
                  "it (ulimit -n, LimitNOFILE) or use fewer workers.",
                  (unsigned long long)limit, (unsigned long long)besides);
        return -1;
    }
    if (limit < wanted) {
        log_write(control->log, LOG_LEVEL_WARNING,
                  "maxclients lowered from %lld to %llu: the limit of open files is %llu, and %lld "
                  "clients need %llu. Raise it with ulimit -n or LimitNOFILE.",
                  (long long)config->maxclients, (unsigned long long)(limit - besides),
                  (unsigned long long)limit, (long long)config->maxclients,
                  (unsigned long long)wanted);
        config->maxclients = (int64_t)(limit - besides);
    }
    return 0;
}

/* A worker's stream refuses what the limit of open files could never hold. */
static unsigned connections_max(const struct config *config)
{
    struct rlimit limit;

    if (config->net_driver == CONFIG_DRIVER_DPDK)
        return INT32_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max > INT32_MAX)
        return INT32_MAX;
    return (unsigned)limit.rlim_max;
}

/* ---- CPUs ---- */

static bool holds(const struct cpu_list *list, unsigned cpu)
{
    for (unsigned i = 0; i < list->count; i++)
        if (list->cpus[i] == cpu)
            return true;
    return false;
}

/* Fewer workers than CPUs: they begin where the kernel has put us, so that several servers on one
 * machine do not all sit on the first CPU. */
static void begin_at_current(struct cpu_list *list)
{
    struct cpu_list turned = *list;
    unsigned current = cpu_current(), first = 0;

    while (first < list->count && list->cpus[first] != current)
        first++;
    for (unsigned i = 0; i < list->count; i++)
        turned.cpus[i] = list->cpus[(first + i) % list->count];
    *list = turned;
}

static int choose_cpus(struct control *control)
{
    const char *wanted = control->config->worker_cpus;
    struct cpu_list allowed;
    int result = cpu_allowed(&allowed);

    if (result < 0) {
        log_write(control->log, LOG_LEVEL_WARNING, "Cannot read the CPU affinity mask: %s",
                  strerror(-result));
        return -1;
    }
    if (wanted[0] == '\0') {
        control->cpus = allowed;
        if (control->config->workers < (int64_t)allowed.count)
            begin_at_current(&control->cpus);
        return 0;
    }
    result = cpu_list_parse(wanted, &control->cpus);
    for (unsigned i = 0; result == 0 && i < control->cpus.count; i++)
        if (!holds(&allowed, control->cpus.cpus[i])) {
            log_write(control->log, LOG_LEVEL_WARNING,
                      "worker-cpus %s: CPU %u does not exist or is outside the affinity mask",
                      wanted, control->cpus.cpus[i]);
            return -1;
        }
    if (result < 0)
        log_write(control->log, LOG_LEVEL_WARNING, "worker-cpus %s: %s", wanted, strerror(-result));
    return result;
}

/* ---- the node ---- */

static int make_id(char id[41])
{
    unsigned char bytes[20];

    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return -EIO;
    for (int i = 0; i < 20; i++)
        snprintf(id + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

static struct node *make_node(struct control *control)
{
    struct config *config = control->config;
    struct node *node = aligned_alloc(64, (sizeof *node + 63) & ~(size_t)63);

    if (node == NULL)
        return NULL;
    memset(node, 0, sizeof *node);
    node->config = config;
    node->log = control->log;
    node->worker_count = (uint32_t)config->workers;
    node->network_count = bypass_networked(&control->bypass, node->worker_count);
    node->database_count = (uint32_t)config->databases;
    node->connections_max = connections_max(config);
    node->commands = command_index_create();
    if (node->commands == NULL || make_id(node->run_id) < 0 || make_id(node->node_id) < 0 ||
        make_id(node->replication_id) < 0 ||
        getrandom(&node->hash_seed, sizeof node->hash_seed, 0) != (ssize_t)sizeof node->hash_seed) {
        command_index_destroy(node->commands);
        free(node);
        return NULL;
    }
    clock_tsc_init(&node->tsc);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        atomic_init(&node->owner[slot], (uint8_t)((uint64_t)slot * node->worker_count / SLOTS));
    node->started_unix_ms = (int64_t)clock_unix_ms();
    node->started_us = clock_now_us();
    node->commit = usage_commit();
    node->build_id = usage_build_id();
    node->supervised = control->process.systemd;
    atomic_init(&node->next_client_id, 1);
    atomic_init(&node->active_expire, true);
    node->control = control;
    node->control_calls = &control_calls;
    return node;
}

/* Entries point into any worker's memory: everything goes before the first memory does. */
static void free_workers(struct node *node)
{
    for (uint32_t i = 0; i < node->worker_count; i++)
        if (node->workers[i] != NULL)
            worker_empty(node->workers[i]);
    if (node->workers[0] != NULL) {
        struct memory *memory = node->workers[0]->memory;
        watch_destroy_all(node, memory);
        for (uint32_t db = 0; db < node->database_count; db++)
            if (atomic_load(&node->keyspaces[db]) != NULL)
                keyspace_destroy(atomic_load(&node->keyspaces[db]), memory);
    }
    for (uint32_t i = 0; i < node->worker_count; i++) {
        if (node->workers[i] != NULL)
            worker_destroy(node->workers[i]);
        node->workers[i] = NULL;
    }
}

void control_free_node(struct control *control)
{
    struct node *node = control->node;

    if (node == NULL)
        return;
    free_workers(node);
    command_index_destroy(node->commands);
    free(node);
    control->node = NULL;
}

/* ---- workers ---- */

static int make_workers(struct control *control)
{
    struct node *node = control->node;
    unsigned cpus = control->cpus.count;

    for (uint32_t i = 0; i < node->worker_count; i++) {
        int result = worker_create(&node->workers[i], node, i, control->cpus.cpus[i % cpus]);
        if (result < 0) {
            log_write(control->log, LOG_LEVEL_WARNING, "Cannot create worker %u: %s", i,
                      strerror(-result));
            return result;
        }
        node->workers[i]->alone_on_cpu = i + cpus >= node->worker_count && i < cpus;
    }
    return 0;
}

/* Bound before workers run: a port in use ends the start early, and clients that come meanwhile
 * wait in the kernel's queues. */
static int bind_sockets(struct control *control)
{
    const struct config *config = control->config;
    const struct listeners_held nothing = {0};
    char error[LISTEN_ERROR_MAX];
    int result = listeners_open_tcp(&control->listeners, config, control->node->worker_count, 0,
                                    &nothing, error);

    if (result == 0 && config->unixsocket[0] != '\0') {
        snprintf(error, sizeof error, "unixsocket %.100s: the path is too long",
                 config->unixsocket);
        result = process_absolute_path(control->unixsocket, config->unixsocket);
        if (result == 0)
            result = listeners_open_unix(&control->listeners, config, error);
        if (result < 0)
            control->unixsocket[0] = '\0'; /* not ours to remove */
    }
    if (result < 0)
        log_write(control->log, LOG_LEVEL_WARNING, "%s", error);
    return result;
}

static void end_workers(struct node *node, uint32_t started)
{
    for (uint32_t i = 0; i < started; i++)
        if (worker_wait_started(node->workers[i]) == 0)
            worker_stop(node->workers[i]);
    for (uint32_t i = 0; i < started; i++)
        worker_join(node->workers[i]);
}

/* Returns 0, or a negative errno with everything ended again; `error` says why. */
static int run_workers(struct node *node, char *error, size_t error_bytes)
{
    int result = 0;

    for (uint32_t i = 0; i < node->worker_count; i++) {
        result = worker_start(node->workers[i]);
        if (result < 0) {
            snprintf(error, error_bytes, "cannot start the thread of worker %u: %s", i,
                     strerror(-result));
            end_workers(node, i);
            return result;
        }
    }
    for (uint32_t i = 0; i < node->worker_count && result == 0; i++) {
        result = worker_wait_started(node->workers[i]);
        if (result < 0)
            snprintf(error, error_bytes, "worker %u: %s", i, node->workers[i]->start_error);
    }
    if (result < 0)
        end_workers(node, node->worker_count);
    return result;
}

static int try_driver(struct control *control, const struct stream_driver *driver, char *error,
                      size_t error_bytes)
{
    error[0] = '\0'; /* stays so for what was logged here */
    control->node->driver = driver;
    if (make_workers(control) < 0)
        return -1;
    bypass_give_queues(&control->bypass, control->node);
    return run_workers(control->node, error, error_bytes);
}

/* Those of kernel sockets are in the drivers' room; ours is built on the stack above it. */
static const struct stream_driver *driver_of(const struct config *config)
{
    switch ((enum config_driver)config->net_driver) {
    case CONFIG_DRIVER_EPOLL:
        return stream_driver_find("epoll");
    case CONFIG_DRIVER_DPDK:
        return &stream_net;
    case CONFIG_DRIVER_URING:
        break;
    }
    return stream_driver_find("uring");
}

static int start_workers(struct control *control)
{
    char error[STREAM_ERROR_MAX + 64];
    bool uring = control->config->net_driver == CONFIG_DRIVER_URING;
    int result = try_driver(control, driver_of(control->config), error, sizeof error);

    if (result < 0 && uring && error[0] != '\0') {
        log_write(control->log, LOG_LEVEL_WARNING,
                  "io_uring cannot be used (%s); the epoll driver takes over. To have no such "
                  "line, set net-driver epoll.",
                  error);
        free_workers(control->node);
        result = try_driver(control, stream_driver_find("epoll"), error, sizeof error);
    }
    if (result < 0 && error[0] != '\0')
        log_write(control->log, LOG_LEVEL_WARNING, "Cannot start: %s", error);
    return result < 0 ? -1 : 0;
}

void control_log_start(struct control *control)
{
    const struct config *config = control->config;
    const struct node *node = control->node;
    const struct config_list *bind = config->bind;
    char text[LOG_MESSAGE_MAX] = "";
    size_t used = 0;

    for (uint32_t i = 0; i < node->worker_count && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%d", i == 0 ? "" : ",",
                                 node->workers[i]->cpu);
    log_write(control->log, LOG_LEVEL_NOTICE, "%u worker%s on CPU%s %s, network driver %s",
              node->worker_count, node->worker_count == 1 ? "" : "s",
              node->worker_count == 1 ? "" : "s", text, node->driver->name);
    used = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < bind->count && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, " %s", bind->items[i]);
    if (config->net_driver == CONFIG_DRIVER_DPDK)
        bypass_log(&control->bypass, config, control->log);
    else if (config->port != 0)
        log_write(control->log, LOG_LEVEL_NOTICE, "Port %lld on%s", (long long)config->port, text);
    if (config->port != 0 && config->per_core_endpoints != 0)
        log_write(control->log, LOG_LEVEL_NOTICE, "Ports %lld to %lld for each worker its own",
                  (long long)listeners_core_base(config),
                  (long long)listeners_core_base(config) + node->worker_count - 1);
    if (config->unixsocket[0] != '\0')
        log_write(control->log, LOG_LEVEL_NOTICE, "Unix socket %s", config->unixsocket);
}

/* Freed memory goes back to the machine in jemalloc's own thread, not in a worker's turn. */
static void purge_in_background(struct control *control)
{
#ifdef POLLUX_JEMALLOC
    bool on = true;
    int result = mallctl("background_thread", NULL, NULL, &on, sizeof on);

    if (result != 0)
        log_write(control->log, LOG_LEVEL_NOTICE, "jemalloc has no background thread here: %s",
                  strerror(result));
#else
    (void)control;
#endif
}

int control_start(struct control *control)
{
    struct config *config = control->config;

    if (config->port == 0 && config->unixsocket[0] == '\0') {
        log_write(control->log, LOG_LEVEL_WARNING,
                  "Nothing to listen on: port is 0 and no unixsocket is set.");
        return -1;
    }
    if (choose_cpus(control) < 0 || fit_clients(control) < 0)
        return -1;
    if (config->net_driver == CONFIG_DRIVER_DPDK &&
        bypass_start(&control->bypass, config, (unsigned)config->workers, control->log) < 0)
        return -1;
    purge_in_background(control);
    control->node = make_node(control);
    if (control->node == NULL) {
        log_write(control->log, LOG_LEVEL_WARNING, "No memory, or no random numbers, to start.");
        return -1;
    }
    return bind_sockets(control) < 0 ? -1 : start_workers(control);
}

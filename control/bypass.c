#include "control/bypass.h"
#include "control/listeners.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "dataplane/net/kernel_path.h"
#include "dataplane/net/steer.h"
#include "dataplane/net/stream_net.h"
#include "dataplane/node.h"
#include "dataplane/worker.h"
#include "drivers/dpdk/dpdk.h"
#include "drivers/log.h"

enum {
    ARGS_MAX = CONFIG_BIND_MAX * 256,
    ADDRESSES_TEXT_MAX = CONFIG_BIND_MAX * 64,
};

/* The words of a list with blanks between; false: they do not fit. */
static bool join(const struct config_list *list, char *text, size_t text_bytes)
{
    size_t used = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < list->count && used < text_bytes; i++)
        used += (size_t)snprintf(text + used, text_bytes - used, "%s%s", i == 0 ? "" : " ",
                                 list->items[i]);
    return used < text_bytes;
}

static int refuse(struct log *log, const char *reason)
{
    log_write(log, LOG_LEVEL_WARNING, "Cannot start: %s", reason);
    return -1;
}

static int check(const struct config *config, struct log *log)
{
    char error[STREAM_ERROR_MAX];

    if (!dpdk_built())
        return refuse(log, "net-driver dpdk: this program was built without DPDK (install "
                           "libdpdk-dev and build again, or use net-driver uring)");
    if (config->dpdk_port[0] == '\0')
        return refuse(log, "net-driver dpdk needs dpdk-port: a PCI address, or a virtual device "
                           "such as net_af_xdp0,iface=eth1");
    return stream_net_check(config, error) < 0 ? refuse(log, error) : 0;
}

static int open_kernel_side(struct bypass *bypass, const struct config *config, unsigned workers,
                            struct log *log)
{
    struct dpdk_port_info info;

    if (config->dpdk_kernel_path == 0)
        return 0;
    dpdk_port_info(bypass->port, &info);
    return kernel_side_open(&bypass->kernel, config, workers, info.mac, info.mtu, log);
}

/* ---- which frames come to which queue ---- */

/* The families of our addresses. */
static void families(const struct config *config, struct dpdk_steer_ports *ports)
{
    const struct config_list *addresses = config->dpdk_address;

    for (unsigned i = 0; i < addresses->count; i++) {
        bool v6 = strchr(addresses->items[i], ':') != NULL;
        ports->v4 |= !v6;
        ports->v6 |= v6;
    }
}

/* Rules of the card for the ports of the configuration; what it refuses is done in software. */
static int steer_ports(struct bypass *bypass, const struct config *config, unsigned workers,
                       struct log *log)
{
    struct dpdk_steer_ports ports = {.common = (uint16_t)config->port};
    struct dpdk_steering result;

    if (config->per_core_endpoints != 0 && config->port != 0) {
        ports.first = (uint16_t)listeners_core_base(config);
        ports.count = workers;
        if (bypass->steering != NULL && bypass->core_base != 0 && bypass->core_base != ports.first)
            steer_ports_moved(bypass->steering, bypass->core_base);
        bypass->core_base = ports.first;
    }
    families(config, &ports);
    if (bypass->steering != NULL)
        steer_by_card(bypass->steering, false);
    int status = dpdk_port_steer(bypass->port, &ports, &result);
    if (status < 0) {
        log_write(log, LOG_LEVEL_WARNING,
                  "dpdk-flow-isolation: the card takes no rules for our ports (%s); set: "
                  "dpdk-flow-isolation no",
                  result.reason);
        return status;
    }
    if (result.ports > 0 && result.by_rule < result.ports)
        log_write(log, LOG_LEVEL_NOTICE,
                  "Ports of workers: %u of %u steered by rules of the card, the others in software "
                  "(%s)",
                  result.by_rule, result.ports, result.reason);
    else if (result.ports > 0)
        log_write(log, LOG_LEVEL_NOTICE, "Ports of workers: %u steered by rules of the card",
                  result.by_rule);
    if (bypass->steering != NULL)
        steer_by_card(bypass->steering, result.by_rule == result.ports);
    return 0;
}

void bypass_ports_changed(struct bypass *bypass, const struct config *config, unsigned workers,
                          struct log *log)
{
    if (bypass->port == NULL)
        return;
    /* Connections to the ports of before go on, and come to any queue from now on. */
    if (bypass->steering != NULL && config->per_core_endpoints != 0)
        steer_table_changed(bypass->steering);
    (void)steer_ports(bypass, config, workers, log); /* said in the log */
}

/* A table that the device does not show may change at any time. */
static void look_at_table(struct bypass *bypass, struct log *log)
{
    if (bypass->steering == NULL || steer_passes_on(bypass->steering))
        return;
    int changed = dpdk_port_table_changed(bypass->port);
    if (changed == -ENOMEM || changed == 0 || (changed > 0 && !bypass->table_seen)) {
        bypass->table_seen |= changed >= 0;
        return;
    }
    steer_table_changed(bypass->steering);
    if (changed > 0)
        log_write(log, LOG_LEVEL_NOTICE,
                  "The card spreads flows over its queues otherwise than before: segments of "
                  "connections elsewhere are passed on between workers");
}

/* Frames come to the wrong queue only where there are several. */
static int start_steering(struct bypass *bypass, const struct config *config, unsigned workers,
                          struct log *log)
{
    struct dpdk_port_info info;

    dpdk_port_info(bypass->port, &info);
    if (info.queues > 1) {
        bypass->steering = steer_create(config, workers, info.queues);
        if (bypass->steering == NULL)
            return refuse(log, "no memory to steer frames");
    }
    look_at_table(bypass, log);
    return steer_ports(bypass, config, workers, log);
}

/* Queue pairs to ask for. */
static unsigned wanted_queues(const struct config *config, unsigned workers)
{
    unsigned limit = config->dpdk_queues != 0 ? (unsigned)config->dpdk_queues : DPDK_QUEUES_MAX;

    return workers < limit ? workers : limit;
}

int bypass_start(struct bypass *bypass, const struct config *config, unsigned workers,
                 struct log *log)
{
    const char *spec = config->dpdk_port;
    unsigned queues = wanted_queues(config, workers);
    char args[ARGS_MAX], error[DPDK_ERROR_MAX];
    struct dpdk_options options = {
        .specs = &spec, .spec_count = 1, .queues = queues, .args = args, .log = log};

    options.mtu = (unsigned)config->dpdk_mtu;
    options.isolate = config->dpdk_flow_isolation != 0;
    options.no_offloads = config->dpdk_offloads == CONFIG_OFFLOADS_NO;
    options.no_tso = config->dpdk_offloads != CONFIG_OFFLOADS_YES;
    options.interrupts = config->dpdk_idle != 0;

    if (check(config, log) < 0)
        return -1;
    if (!join(config->dpdk_args, args, sizeof args))
        return refuse(log, "dpdk-args is too long");
    if (dpdk_start(&bypass->dpdk, &options, error) < 0)
        return refuse(log, error);
    if (dpdk_port_open(bypass->dpdk, spec, queues, (unsigned)config->dpdk_mtu, &bypass->port,
                       error) < 0)
        return refuse(log, error);
    if (open_kernel_side(bypass, config, workers, log) < 0)
        return -1;
    return start_steering(bypass, config, workers, log);
}

unsigned bypass_networked(const struct bypass *bypass, unsigned workers)
{
    struct dpdk_port_info info;

    if (bypass->port == NULL)
        return workers;
    dpdk_port_info(bypass->port, &info);
    return info.queues;
}

void bypass_give_queues(const struct bypass *bypass, struct node *node)
{
    if (bypass->port == NULL)
        return;
    node->packet_port = bypass->port;
    node->steering = bypass->steering;
    node->kernel_path = bypass->kernel.path;
    for (uint32_t i = 0; i < node->network_count; i++) {
        node->workers[i]->port = dpdk_queue(bypass->port, i);
        if (bypass->steering != NULL)
            steer_port(bypass->steering, i, node->workers[i]->port);
        if (bypass->kernel.path != NULL)
            node->workers[i]->kernel = kernel_path_port(bypass->kernel.path, i);
    }
}

/* Queues that nobody drives. */
static void log_queues_left(const struct dpdk_port_info *info, struct log *log)
{
    if (info->queues_left == 0)
        return;
    log_write(log, LOG_LEVEL_WARNING,
              "Port %s drives %u of its interface's %u queues: flows that come by the others reach "
              "the kernel and are served by nobody (ethtool -L INTERFACE combined %u, or more "
              "workers)",
              info->name, info->queues, info->queues + info->queues_left, info->queues);
}

/* Workers that got no queue, and what would give them one. */
static void log_workers_without(const struct config *config, const struct dpdk_port_info *info,
                                struct log *log)
{
    unsigned workers = (unsigned)config->workers, without = workers - info->queues;

    if (without == 0)
        return;
    log_write(log, LOG_LEVEL_WARNING,
              "Port %s has %u queue pair%s for %u workers: %u without network serve%s their slots "
              "for the others; set workers %u, or more queues: %s",
              info->name, info->queues, info->queues == 1 ? "" : "s", workers, without,
              without == 1 ? "s" : "", info->queues,
              config->dpdk_queues != 0 && config->dpdk_queues <= (int64_t)info->queues
                  ? "dpdk-queues 0"
                  : dpdk_queues_remedy(info->driver));
}

void bypass_log(const struct bypass *bypass, const struct config *config, struct log *log)
{
    struct dpdk_port_info info;
    struct dpdk_link link;
    char addresses[ADDRESSES_TEXT_MAX];

    if (bypass->port == NULL)
        return;
    dpdk_port_info(bypass->port, &info);
    dpdk_port_link(bypass->port, &link);
    join(config->dpdk_address, addresses, sizeof addresses);
    log_write(log, LOG_LEVEL_NOTICE,
              "Port %s (%s), MAC %02x:%02x:%02x:%02x:%02x:%02x, MTU %u, %u queue%s%s, link %s: %s",
              info.name, info.driver, info.mac[0], info.mac[1], info.mac[2], info.mac[3],
              info.mac[4], info.mac[5], info.mtu, info.queues, info.queues == 1 ? "" : "s",
              info.tso.v4 || info.tso.v6 ? ", cuts segments" : "", link.up ? "up" : "down",
              addresses);
    log_workers_without(config, &info, log);
    log_queues_left(&info, log);
    if (bypass->kernel.path != NULL)
        log_write(log, LOG_LEVEL_NOTICE,
                  "Interface %s takes to the kernel what is not for the workers",
                  bypass->kernel.tap.name);
}

int bypass_wait(struct bypass *bypass, struct pollfd fds[KERNEL_SIDE_FDS], int timeout_ms)
{
    return kernel_side_wait(&bypass->kernel, fds, timeout_ms);
}

void bypass_take(struct bypass *bypass)
{
    kernel_side_take(&bypass->kernel);
}

/* By worker 0. */
static void announce(void *runner, struct task *task)
{
    struct bypass *bypass = (struct bypass *)((char *)task - offsetof(struct bypass, announce));
    struct worker *worker = runner;

    if (worker->driver->announce != NULL)
        worker->driver->announce(worker->stream);
    atomic_store_explicit(&bypass->announcing, false, memory_order_release);
}

static void look_at_link(struct bypass *bypass, const struct node *node)
{
    struct dpdk_link link;
    bool was_up = bypass->link_up;

    dpdk_port_link(bypass->port, &link);
    bypass->link_up = link.up;
    if (link.up && !was_up &&
        !atomic_exchange_explicit(&bypass->announcing, true, memory_order_acquire)) {
        bypass->announce.run = announce;
        worker_post(node->workers[0], &bypass->announce);
    }
}

void bypass_tick(struct bypass *bypass, const struct node *node)
{
    if (bypass->port == NULL)
        return;
    dpdk_port_tick(bypass->port);
    look_at_table(bypass, node->log);
    look_at_link(bypass, node);
}

void bypass_end(struct bypass *bypass)
{
    kernel_side_close(&bypass->kernel);
    steer_destroy(bypass->steering);
    if (bypass->port != NULL)
        dpdk_port_close(bypass->port);
    if (bypass->dpdk != NULL)
        dpdk_stop(bypass->dpdk);
    *bypass = (struct bypass){0};
}

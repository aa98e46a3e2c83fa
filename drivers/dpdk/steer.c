/* Steering by the device: flow rules of ports, and what becomes of its redirection table. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_flow.h>

#include "drivers/dpdk/inside.h"

/* ---- flow rules ------------------------------------------------------------------------------ */

/* Flow functions return a negative errno, or only set rte_errno. */
static int status_of(int result)
{
    return result < 0 ? result : rte_errno != 0 ? -rte_errno : -EIO;
}

static int make(void *arg, const struct rule *rule, struct rte_flow **flow,
                struct rte_flow_error *error)
{
    const struct dpdk_port *port = arg;
    int result = rte_flow_validate(port->id, &rule->attr, rule->pattern, rule->actions, error);

    if (result != 0)
        return status_of(result);
    *flow = rte_flow_create(port->id, &rule->attr, rule->pattern, rule->actions, error);
    return *flow != NULL ? 0 : status_of(0);
}

static int destroy(void *arg, struct rte_flow *flow)
{
    const struct dpdk_port *port = arg;
    struct rte_flow_error error;

    return rte_flow_destroy(port->id, flow, &error);
}

int dpdk_steer_init(struct dpdk_port *port, const struct rte_eth_dev_info *info, char *error)
{
    struct rte_flow_error why = {0};
    int result;

    port->table_size = info->reta_size;
    port->rules.device = (struct rules_device){port, make, destroy};
    if (!port->dpdk->isolate)
        return 0;
    result = rte_flow_isolate(port->id, 1, &why);
    if (result != 0) {
        snprintf(error, DPDK_ERROR_MAX,
                 "port %s: its driver has no flow isolation (%s); set: dpdk-flow-isolation no",
                 port->spec.name, why.message != NULL ? why.message : rte_strerror(-result));
        return result;
    }
    port->rules.isolated = true;
    return 0;
}

void dpdk_steer_fini(struct dpdk_port *port)
{
    rules_clear(&port->rules);
    free(port->table);
    port->table = NULL;
}

int dpdk_port_steer(struct dpdk_port *port, const struct dpdk_steer_ports *ports,
                    struct dpdk_steering *result)
{
    int status;

    port->dpdk->starting = true; /* the driver's own lines about refusals are in `reason` */
    status = rules_set(&port->rules, ports, port->queue_count, result);
    port->dpdk->starting = false;
    atomic_store_explicit(&port->steer_ports, result->ports, memory_order_relaxed);
    atomic_store_explicit(&port->steer_by_rule, result->by_rule, memory_order_relaxed);
    return status;
}

void dpdk_port_steering(const struct dpdk_port *port, struct dpdk_steering *result)
{
    *result =
        (struct dpdk_steering){.ports =
                                   atomic_load_explicit(&port->steer_ports, memory_order_relaxed),
                               .by_rule =
                                   atomic_load_explicit(&port->steer_by_rule, memory_order_relaxed),
                               .isolated = port->rules.isolated};
}

/* ---- the redirection table ------------------------------------------------------------------- */

int dpdk_port_table_changed(struct dpdk_port *port)
{
    unsigned groups = (port->table_size + RTE_ETH_RETA_GROUP_SIZE - 1u) / RTE_ETH_RETA_GROUP_SIZE;
    struct rte_eth_rss_reta_entry64 *table;
    bool changed;

    if (groups == 0)
        return -ENOTSUP;
    table = calloc(groups, sizeof(*table));
    if (table == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < port->table_size; i++)
        table[i / RTE_ETH_RETA_GROUP_SIZE].mask |= UINT64_C(1) << i % RTE_ETH_RETA_GROUP_SIZE;
    if (rte_eth_dev_rss_reta_query(port->id, table, port->table_size) != 0) {
        free(table);
        return -ENOTSUP;
    }
    changed = port->table == NULL;
    for (unsigned i = 0; i < port->table_size && !changed; i++)
        changed = table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] !=
                  port->table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
    free(port->table);
    port->table = table;
    return changed;
}

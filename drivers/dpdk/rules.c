#include "drivers/dpdk/rules.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_ethdev.h>

/* ---- one rule -------------------------------------------------------------------------------- */

void rule_build(struct rule *rule, const struct rule_wish *wish)
{
    assert(wish->spread <= DPDK_QUEUES_MAX);
    *rule = (struct rule){.attr = {.ingress = 1},
                          .spec = {.hdr = {.dst_port = rte_cpu_to_be_16(wish->tcp_port)}},
                          .mask = {.hdr = {.dst_port = RTE_BE16(0xffff)}},
                          .queue = {.index = wish->queue}};
    rule->pattern[0].type = RTE_FLOW_ITEM_TYPE_ETH;
    rule->pattern[1].type = wish->v6 ? RTE_FLOW_ITEM_TYPE_IPV6 : RTE_FLOW_ITEM_TYPE_IPV4;
    rule->pattern[2] = (struct rte_flow_item){.type = RTE_FLOW_ITEM_TYPE_TCP,
                                              .spec = &rule->spec,
                                              .mask = &rule->mask};
    rule->pattern[3].type = RTE_FLOW_ITEM_TYPE_END;
    rule->actions[0] = (struct rte_flow_action){RTE_FLOW_ACTION_TYPE_QUEUE, &rule->queue};
    rule->actions[1].type = RTE_FLOW_ACTION_TYPE_END;
    if (wish->spread == 0)
        return;
    for (uint16_t i = 0; i < wish->spread; i++)
        rule->queues[i] = i;
    rule->rss = (struct rte_flow_action_rss){.func = RTE_ETH_HASH_FUNCTION_DEFAULT,
                                             .types = wish->v6 ? RTE_ETH_RSS_NONFRAG_IPV6_TCP
                                                               : RTE_ETH_RSS_NONFRAG_IPV4_TCP,
                                             .queue_num = wish->spread,
                                             .queue = rule->queues};
    rule->actions[0] = (struct rte_flow_action){RTE_FLOW_ACTION_TYPE_RSS, &rule->rss};
}

/* ---- those of a device ----------------------------------------------------------------------- */

static void forget(struct rules *rules, unsigned place)
{
    rules->device.destroy(rules->device.arg, rules->made[place].flow);
    rules->count--;
    memmove(&rules->made[place], &rules->made[place + 1],
            (rules->count - place) * sizeof(rules->made[0]));
}

void rules_clear(struct rules *rules)
{
    while (rules->count > 0)
        forget(rules, rules->count - 1);
}

/* Makes one rule, after the one of before that matches the same frames is gone. */
static int make(struct rules *rules, const struct rule_wish *wish, struct dpdk_steering *result)
{
    struct rte_flow_error error = {0};
    struct rte_flow *flow = NULL;
    struct rule rule;

    for (unsigned i = rules->count; i > 0; i--)
        if (rules->made[i - 1].wish.tcp_port == wish->tcp_port &&
            rules->made[i - 1].wish.v6 == wish->v6)
            forget(rules, i - 1);
    if (rules->count == RULES_MAX)
        forget(rules, 0);
    rule_build(&rule, wish);
    int status = rules->device.make(rules->device.arg, &rule, &flow, &error);
    if (status == 0) {
        rules->made[rules->count++] = (struct rules_made){*wish, flow};
        return 0;
    }
    if (result->reason[0] == '\0')
        snprintf(result->reason, sizeof(result->reason), "%s",
                 error.message != NULL ? error.message : rte_strerror(-status));
    return status;
}

/* The rules of one port: for all families, or none. */
static int make_port(struct rules *rules, struct rule_wish wish,
                     const struct dpdk_steer_ports *ports, struct dpdk_steering *result)
{
    int status = 0;

    if (ports->v4)
        status = make(rules, &wish, result);
    if (status == 0 && ports->v6) {
        wish.v6 = true;
        status = make(rules, &wish, result);
        if (status != 0 && ports->v4)
            forget(rules, rules->count - 1);
    }
    return status;
}

int rules_set(struct rules *rules, const struct dpdk_steer_ports *ports, unsigned queues,
              struct dpdk_steering *result)
{
    assert(ports->count <= RULES_WORKERS_MAX && queues > 0 && queues <= DPDK_QUEUES_MAX);
    *result = (struct dpdk_steering){.ports = ports->count, .isolated = rules->isolated};
    if (!rules->isolated)
        rules_clear(rules);
    if (rules->isolated && ports->common != 0) {
        struct rule_wish wish = {.tcp_port = ports->common,
                                 .spread = queues > 1 ? (uint16_t)queues : 0};
        int status = make_port(rules, wish, ports, result);
        if (status != 0)
            return status;
    }
    if (queues == 1 && !rules->isolated) { /* all comes there anyway */
        result->ports = 0;
        return 0;
    }
    for (unsigned i = 0; i < ports->count; i++) {
        struct rule_wish wish = {.tcp_port = (uint16_t)(ports->first + i),
                                 .queue = (uint16_t)(i % queues)};
        int status = make_port(rules, wish, ports, result);
        result->by_rule += status == 0;
        if (status == -ENOSYS || status == -ENOTSUP)
            break; /* it takes none at all */
    }
    if (rules->isolated && result->by_rule < result->ports)
        return -ENOTSUP; /* software sees no frame without a rule */
    return 0;
}

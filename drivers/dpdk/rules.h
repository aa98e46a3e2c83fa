/* Rules: which TCP ports a card brings to which queue, by rte_flow.
 * Purpose:   builds the rules "TCP to port P goes to queue k" and "TCP to port P is spread over all
 *            queues", and keeps those that a device has taken. What it refuses is left to software
 *            (dataplane/net/steer.h).
 * Ownership: struct rules, in the caller's memory, owns the device's rules until rules_clear. A
 *            struct rule points into itself: it is not copied.
 * Threading: one thread, the one that opens the port.
 * Errors:    a refusal is an ordinary result; the device's words for it are kept in `reason`. Only
 *            with RULES_ISOLATED is a common port without its rule an error, as nothing would come.
 * Source:    DPDK 22.11, Programmer's Guide, "Generic flow API". Only what all cards with port rules
 *            take is used: one pattern eth / ipv4 or ipv6 / tcp dst is P, one action, no priority,
 *            as no two rules match the same frame. */
#ifndef POLLUX_DRIVERS_DPDK_RULES_H
#define POLLUX_DRIVERS_DPDK_RULES_H

#include <rte_flow.h>

#include "drivers/dpdk/dpdk.h"

enum {
    RULES_WORKERS_MAX = 128,
    RULES_MAX = 4 * (RULES_WORKERS_MAX + 1), /* two families, the ports of now and of before */
};

/* One rule as it is wanted. */
struct rule_wish {
    uint16_t tcp_port;
    bool v6;
    uint16_t queue;  /* where it goes, if `spread` is 0 */
    uint16_t spread; /* over the first so many queues */
};

/* The same as a device takes it. */
struct rule {
    struct rte_flow_attr attr;
    struct rte_flow_item pattern[4];
    struct rte_flow_action actions[2];
    struct rte_flow_item_tcp spec, mask;
    struct rte_flow_action_queue queue;
    struct rte_flow_action_rss rss;
    uint16_t queues[DPDK_QUEUES_MAX];
};

/* What takes rules: a port, or a test. Both return 0 or a negative errno, with words in `error`. */
struct rules_device {
    void *arg;
    int (*make)(void *arg, const struct rule *rule, struct rte_flow **flow,
                struct rte_flow_error *error); /* validates, then creates */
    int (*destroy)(void *arg, struct rte_flow *flow);
};

struct rules {
    struct rules_device device;
    bool isolated; /* nothing comes but by a rule */
    unsigned count;
    struct rules_made {
        struct rule_wish wish;
        struct rte_flow *flow;
    } made[RULES_MAX]; /* oldest first */
};

void rule_build(struct rule *rule, const struct rule_wish *wish);

/* Makes the rules for `ports`, in place of those before; with `isolated` set those of other ports
 * stay as long as there is room, as connections there go on. 0, or -errno with words in
 * `result->reason`. */
int rules_set(struct rules *rules, const struct dpdk_steer_ports *ports, unsigned queues,
              struct dpdk_steering *result);
void rules_clear(struct rules *rules);

#endif

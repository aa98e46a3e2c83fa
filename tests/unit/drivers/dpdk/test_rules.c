/* Flow rules: what is built, what a device is asked for, and what follows when it refuses. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_ethdev.h>

#include "drivers/dpdk/rules.h"

/* ---- one rule ---- */

Test(dpdk_rules, a_port_of_one_queue)
{
    for (int v6 = 0; v6 < 2; v6++) {
        struct rule rule;

        rule_build(&rule, &(struct rule_wish){.tcp_port = 6380, .v6 = v6, .queue = 3});
        cr_expect_eq(rule.attr.ingress, 1);
        cr_expect_eq(rule.attr.egress, 0);
        cr_expect_eq(rule.attr.transfer, 0);
        cr_expect_eq(rule.attr.group, 0);
        cr_expect_eq(rule.attr.priority, 0);
        cr_expect_eq(rule.pattern[0].type, RTE_FLOW_ITEM_TYPE_ETH);
        cr_expect_null(rule.pattern[0].spec, "any MAC");
        cr_expect_null(rule.pattern[0].mask);
        cr_expect_eq(rule.pattern[1].type, v6 ? RTE_FLOW_ITEM_TYPE_IPV6 : RTE_FLOW_ITEM_TYPE_IPV4);
        cr_expect_null(rule.pattern[1].spec, "any address");
        cr_expect_eq(rule.pattern[2].type, RTE_FLOW_ITEM_TYPE_TCP);
        cr_expect_eq(rule.pattern[3].type, RTE_FLOW_ITEM_TYPE_END);
        const struct rte_flow_item_tcp *spec = rule.pattern[2].spec, *mask = rule.pattern[2].mask;
        static const uint8_t port[2] = {6380 >> 8, 6380 & 255}, all[2] = {255, 255};
        cr_expect_arr_eq(&spec->hdr.dst_port, port, 2, "network order");
        cr_expect_arr_eq(&mask->hdr.dst_port, all, 2);
        struct rte_flow_item_tcp rest = *mask;
        rest.hdr.dst_port = 0;
        static const struct rte_flow_item_tcp nothing;
        cr_expect_arr_eq(&rest, &nothing, sizeof(rest), "no other field is looked at");
        cr_expect_null(rule.pattern[2].last);
        cr_expect_eq(rule.actions[0].type, RTE_FLOW_ACTION_TYPE_QUEUE);
        cr_expect_eq(((const struct rte_flow_action_queue *)rule.actions[0].conf)->index, 3);
        cr_expect_eq(rule.actions[1].type, RTE_FLOW_ACTION_TYPE_END);
    }
}

Test(dpdk_rules, a_port_over_all_queues)
{
    struct rule rule;

    rule_build(&rule, &(struct rule_wish){.tcp_port = 6379, .v6 = true, .spread = DPDK_QUEUES_MAX});
    cr_assert_eq(rule.actions[0].type, RTE_FLOW_ACTION_TYPE_RSS);
    const struct rte_flow_action_rss *rss = rule.actions[0].conf;
    cr_expect_eq(rss->types, RTE_ETH_RSS_NONFRAG_IPV6_TCP);
    cr_expect_eq(rss->queue_num, DPDK_QUEUES_MAX);
    for (unsigned i = 0; i < rss->queue_num; i++)
        cr_expect_eq(rss->queue[i], i);
    cr_expect_eq(rss->level, 0);
    cr_expect_null(rss->key, "that of the port");
    cr_expect_eq(rss->key_len, 0);
    cr_expect_eq(rule.actions[1].type, RTE_FLOW_ACTION_TYPE_END);
    rule_build(&rule, &(struct rule_wish){.tcp_port = 6379, .spread = 2});
    cr_expect_eq(((const struct rte_flow_action_rss *)rule.actions[0].conf)->types,
                 RTE_ETH_RSS_NONFRAG_IPV4_TCP);
}

/* ---- a device ---- */

struct device {
    struct rules rules;
    unsigned live, room, asked; /* rules it has, can have, was asked for */
    int refusal;                /* what it says then */
    bool no_v6, none;
    char text[4096]; /* "4:7000>1 ": IPv4, port 7000 to queue 1; "6:6379>*2 ": over two queues */
};

static int fake_make(void *arg, const struct rule *rule, struct rte_flow **flow,
                     struct rte_flow_error *error)
{
    struct device *device = arg;
    const struct rte_flow_item_tcp *tcp = rule->pattern[2].spec;
    bool v6 = rule->pattern[1].type == RTE_FLOW_ITEM_TYPE_IPV6;
    size_t used = strlen(device->text);

    device->asked++;
    if (device->none || (v6 && device->no_v6) || device->live == device->room) {
        error->message = "no such rules";
        return device->refusal;
    }
    bool spread = rule->actions[0].type == RTE_FLOW_ACTION_TYPE_RSS;
    snprintf(device->text + used, sizeof(device->text) - used, "%d:%u>%s%u ", v6 ? 6 : 4,
             rte_be_to_cpu_16(tcp->hdr.dst_port), spread ? "*" : "",
             spread ? rule->rss.queue_num : rule->queue.index);
    device->live++;
    *flow = (struct rte_flow *)(uintptr_t)device->asked;
    return 0;
}

static int fake_destroy(void *arg, struct rte_flow *flow)
{
    struct device *device = arg;

    cr_assert_not_null(flow);
    cr_assert_gt(device->live, 0);
    device->live--;
    return 0;
}

static struct device *new_device(void)
{
    struct device *device = calloc(1, sizeof(*device));

    device->room = RULES_MAX;
    device->refusal = -ENOSPC;
    device->rules.device = (struct rules_device){device, fake_make, fake_destroy};
    return device;
}

static void end(struct device *device)
{
    rules_clear(&device->rules);
    cr_assert_eq(device->live, 0, "what a device was given is taken back");
    free(device);
}

static const struct dpdk_steer_ports three = {
    .common = 6379, .first = 7000, .count = 3, .v4 = true, .v6 = true};

Test(dpdk_rules, each_worker_has_one_for_each_family)
{
    struct device *device = new_device();
    struct dpdk_steering result;

    cr_assert_eq(rules_set(&device->rules, &three, 2, &result), 0);
    cr_expect_eq(result.ports, 3);
    cr_expect_eq(result.by_rule, 3);
    cr_expect_str_eq(device->text, "4:7000>0 6:7000>0 4:7001>1 6:7001>1 4:7002>0 6:7002>0 ",
                     "the third worker has no queue: %s", device->text);
    end(device);
}

Test(dpdk_rules, families_without_an_address_want_none)
{
    struct dpdk_steer_ports ports = three;
    struct device *device = new_device();
    struct dpdk_steering result;

    ports.v6 = false;
    device->no_v6 = true;
    cr_assert_eq(rules_set(&device->rules, &ports, 3, &result), 0);
    cr_expect_eq(result.by_rule, 3);
    cr_expect_str_eq(device->text, "4:7000>0 4:7001>1 4:7002>2 ");
    end(device);
}

Test(dpdk_rules, one_queue_needs_none)
{
    struct device *device = new_device();
    struct dpdk_steering result;

    cr_assert_eq(rules_set(&device->rules, &three, 1, &result), 0);
    cr_expect_eq(result.ports, 0);
    cr_expect_eq(device->asked, 0);
    end(device);
}

Test(dpdk_rules, refused_ports_are_left_to_software)
{
    struct device *device = new_device();
    struct dpdk_steering result;

    device->room = 5;
    cr_assert_eq(rules_set(&device->rules, &three, 3, &result), 0);
    cr_expect_eq(result.ports, 3);
    cr_expect_eq(result.by_rule, 2);
    cr_expect_eq(device->live, 4, "half of a port is none: its IPv4 rule has gone again");
    cr_expect_str_eq(result.reason, "no such rules");
    end(device);
}

Test(dpdk_rules, a_device_without_rules_is_asked_once)
{
    struct device *device = new_device();
    struct dpdk_steering result;

    device->none = true;
    device->refusal = -ENOSYS;
    cr_assert_eq(rules_set(&device->rules, &three, 3, &result), 0);
    cr_expect_eq(result.by_rule, 0);
    cr_expect_eq(device->asked, 1);
    end(device);
}

Test(dpdk_rules, new_ports_take_the_place_of_old_ones)
{
    struct dpdk_steer_ports moved = three;
    struct device *device = new_device();
    struct dpdk_steering result;

    moved.first = 7001;
    moved.v6 = false;
    cr_assert_eq(rules_set(&device->rules, &three, 3, &result), 0);
    cr_assert_eq(device->live, 6);
    device->text[0] = '\0';
    cr_assert_eq(rules_set(&device->rules, &moved, 3, &result), 0);
    cr_expect_eq(device->live, 3);
    cr_expect_str_eq(device->text, "4:7001>0 4:7002>1 4:7003>2 ");
    cr_assert_eq(rules_set(&device->rules, &(struct dpdk_steer_ports){.v4 = true}, 3, &result), 0);
    cr_expect_eq(device->live, 0);
    end(device);
}

/* ---- isolated ---- */

Test(dpdk_rules, isolated_the_common_port_is_spread)
{
    struct device *device = new_device();
    struct dpdk_steering result;

    device->rules.isolated = true;
    cr_assert_eq(rules_set(&device->rules, &three, 2, &result), 0);
    cr_expect(result.isolated);
    cr_expect_eq(strncmp(device->text, "4:6379>*2 6:6379>*2 4:7000>0 ", 29), 0, "%s", device->text);
    end(device);
}

Test(dpdk_rules, isolated_one_queue_needs_rules_too)
{
    struct device *device = new_device();
    struct dpdk_steering result;

    device->rules.isolated = true;
    cr_assert_eq(rules_set(&device->rules, &three, 1, &result), 0);
    cr_expect_eq(device->live, 8);
    cr_expect_eq(strncmp(device->text, "4:6379>0 6:6379>0 ", 18), 0, "%s", device->text);
    end(device);
}

Test(dpdk_rules, isolated_old_ports_stay_for_their_connections)
{
    struct dpdk_steer_ports moved = {.common = 7001, .first = 7002, .count = 3, .v4 = true};
    struct dpdk_steer_ports first = {.common = 6379, .first = 7000, .count = 3, .v4 = true};
    struct device *device = new_device();
    struct dpdk_steering result;

    device->rules.isolated = true;
    cr_assert_eq(rules_set(&device->rules, &first, 3, &result), 0);
    cr_assert_eq(rules_set(&device->rules, &moved, 3, &result), 0);
    cr_expect_eq(device->live, 6, "6379 and 7000 of before, and the four of now");
    for (uint16_t base = 8000; base < 20000; base = (uint16_t)(base + 10)) {
        moved = (struct dpdk_steer_ports){.common = base,
                                          .first = (uint16_t)(base + 1),
                                          .count = 3,
                                          .v4 = true};
        cr_assert_eq(rules_set(&device->rules, &moved, 3, &result), 0);
        cr_assert_leq(device->live, (unsigned)RULES_MAX);
    }
    cr_expect_eq(device->live, RULES_MAX, "the oldest made room");
    end(device);
}

Test(dpdk_rules, isolated_a_refusal_is_an_error)
{
    struct device *device = new_device();
    struct dpdk_steering result;

    device->rules.isolated = true;
    device->room = 3;
    cr_expect_lt(rules_set(&device->rules, &three, 2, &result), 0);
    cr_expect_str_eq(result.reason, "no such rules");
    device->none = true;
    cr_expect_eq(rules_set(&device->rules, &three, 2, &result), -ENOSPC);
    end(device);
}

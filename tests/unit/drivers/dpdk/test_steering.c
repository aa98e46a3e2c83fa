/* Steering by a device that has a redirection table and no flow rules: net_null. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include <rte_ethdev.h>

#include "drivers/dpdk/dpdk.h"

static char error[DPDK_ERROR_MAX];

static struct dpdk_port *open_port(struct dpdk **dpdk, const char *spec, unsigned queues,
                                   bool isolate)
{
    const struct dpdk_options options = {.specs = &spec,
                                         .spec_count = 1,
                                         .queues = queues,
                                         .packets_per_queue = 1023,
                                         .isolate = isolate};
    struct dpdk_port *port = NULL;

    cr_assert_eq(dpdk_start(dpdk, &options, error), 0, "%s", error);
    (void)dpdk_port_open(*dpdk, spec, queues, 0, &port, error);
    return port;
}

Test(dpdk_steering, another_table_is_noticed)
{
    struct rte_eth_rss_reta_entry64 table[RTE_ETH_RSS_RETA_SIZE_128 / RTE_ETH_RETA_GROUP_SIZE];
    struct dpdk *dpdk;
    struct dpdk_port *port = open_port(&dpdk, "net_null0", 2, false);
    uint16_t id;

    cr_assert_not_null(port, "%s", error);
    cr_assert_eq(rte_eth_dev_get_port_by_name("net_null0", &id), 0);
    cr_expect_eq(dpdk_port_table_changed(port), 1, "seen for the first time");
    cr_expect_eq(dpdk_port_table_changed(port), 0);
    memset(table, 0, sizeof(table));
    table[1].mask = UINT64_C(1) << 63;
    table[1].reta[63] = 1;
    cr_assert_eq(rte_eth_dev_rss_reta_update(id, table, RTE_ETH_RSS_RETA_SIZE_128), 0);
    cr_expect_eq(dpdk_port_table_changed(port), 1, "the last entry");
    cr_expect_eq(dpdk_port_table_changed(port), 0);
    dpdk_stop(dpdk);
}

Test(dpdk_steering, a_device_without_a_table_says_so)
{
    struct dpdk *dpdk;
    struct dpdk_port *port = open_port(&dpdk, "net_ring0", 2, false);

    cr_assert_not_null(port, "%s", error);
    cr_expect_eq(dpdk_port_table_changed(port), -ENOTSUP);
    dpdk_stop(dpdk);
}

Test(dpdk_steering, a_device_without_rules_leaves_the_ports_to_software)
{
    const struct dpdk_steer_ports ports = {.first = 7000, .count = 2, .v4 = true};
    struct dpdk_steering result;
    struct dpdk *dpdk;
    struct dpdk_port *port = open_port(&dpdk, "net_null0", 2, false);

    cr_assert_not_null(port, "%s", error);
    cr_expect_eq(dpdk_port_steer(port, &ports, &result), 0);
    cr_expect_eq(result.ports, 2);
    cr_expect_eq(result.by_rule, 0);
    cr_expect(result.reason[0] != '\0', "the log has to say why");
    dpdk_port_steering(port, &result);
    cr_expect_eq(result.ports, 2);
    cr_expect(!result.isolated);
    dpdk_stop(dpdk);
}

Test(dpdk_steering, a_device_without_isolation_is_refused)
{
    struct dpdk *dpdk;

    cr_assert_null(open_port(&dpdk, "net_null0", 1, true));
    cr_expect(strstr(error, "set: dpdk-flow-isolation no") != NULL, "%s", error);
    cr_expect_null(strchr(error, '\n'));
    dpdk_stop(dpdk);
}

/* INFO: network. The port that the workers drive themselves; a line for each queue pair with what
 * the stack behind it counted, "queue0:name=value,name=value". */
#include <stddef.h>

#include "dataplane/commands/info.h"
#include "dataplane/net/kernel_path.h"
#include "dataplane/net/net.h"
#include "dataplane/net/steer.h"
#include "dataplane/net/stream_net.h"
#include "dataplane/worker.h"
#include "drivers/dpdk/dpdk.h"
#include "drivers/packet.h"

struct figure {
    const char *name;
    size_t offset;
};

/* In struct dpdk_counters. */
static const struct figure queue_figures[] = {
    {"rx_packets", offsetof(struct dpdk_counters, rx_packets)},
    {"rx_bytes", offsetof(struct dpdk_counters, rx_bytes)},
    {"tx_packets", offsetof(struct dpdk_counters, tx_packets)},
    {"tx_bytes", offsetof(struct dpdk_counters, tx_bytes)},
    {"rx_too_long", offsetof(struct dpdk_counters, rx_too_long)},
    {"tx_too_long", offsetof(struct dpdk_counters, tx_too_long)},
    {"tx_tso_refused", offsetof(struct dpdk_counters, tx_tso_refused)},
    {"tx_full", offsetof(struct dpdk_counters, tx_full)},
    {"alloc_failed", offsetof(struct dpdk_counters, alloc_failed)},
    {"peer_gone", offsetof(struct dpdk_counters, peer_gone)},
};

/* In struct steer_counters. */
static const struct figure steering_figures[] = {
    {"handed_over", offsetof(struct steer_counters, handed_over)},
    {"taken_over", offsetof(struct steer_counters, taken_over)},
    {"steering_dropped", offsetof(struct steer_counters, dropped)},
    {"steering_no_packet", offsetof(struct steer_counters, no_packet)},
    {"passed_on", offsetof(struct steer_counters, passed_on)},
    {"found", offsetof(struct steer_counters, found)},
    {"walks_limited", offsetof(struct steer_counters, walks_limited)},
};

/* In struct kernel_counters. */
static const struct figure kernel_figures[] = {
    {"kernel_first", offsetof(struct kernel_counters, to_kernel[KERNEL_FIRST])},
    {"kernel_icmp", offsetof(struct kernel_counters, to_kernel[KERNEL_ICMP])},
    {"kernel_tcp", offsetof(struct kernel_counters, to_kernel[KERNEL_TCP])},
    {"kernel_other", offsetof(struct kernel_counters, to_kernel[KERNEL_OTHER])},
    {"kernel_first_limited", offsetof(struct kernel_counters, limited[KERNEL_FIRST])},
    {"kernel_icmp_limited", offsetof(struct kernel_counters, limited[KERNEL_ICMP])},
    {"kernel_tcp_limited", offsetof(struct kernel_counters, limited[KERNEL_TCP])},
    {"kernel_other_limited", offsetof(struct kernel_counters, limited[KERNEL_OTHER])},
    {"kernel_full", offsetof(struct kernel_counters, full)},
    {"kernel_ours", offsetof(struct kernel_counters, ours)},
    {"kernel_from", offsetof(struct kernel_counters, from_kernel)},
    {"kernel_no_packet", offsetof(struct kernel_counters, no_packet)},
    {"kernel_too_long", offsetof(struct kernel_counters, too_long)},
    {"kernel_wanted", offsetof(struct kernel_counters, wanted)},
};

/* In struct net_counters: first what is dropped, by reason, then what happened. */
static const struct figure stack_figures[] = {
#define FIGURE(field)                                                                              \
    {                                                                                              \
#field, offsetof(struct net_counters, field)                                               \
    }
    FIGURE(rx_malformed),
    FIGURE(rx_bad_checksum),
    FIGURE(rx_fragments),
    FIGURE(rx_not_ours),
    FIGURE(rx_other),
    FIGURE(rx_stray),
    FIGURE(rx_elsewhere),
    FIGURE(rx_outside_window),
    FIGURE(rx_duplicate),
    FIGURE(rx_out_of_order),
    FIGURE(rx_out_of_order_dropped),
    FIGURE(rx_no_memory),
    FIGURE(tx_no_packet),
    FIGURE(tx_queue_full),
    FIGURE(tx_segments),
    FIGURE(tx_tso_frames),
    FIGURE(tx_tso_segments),
    FIGURE(tx_retransmits),
    FIGURE(tx_acks),
    FIGURE(tx_resets),
    FIGURE(tx_probes),
    FIGURE(resets_limited),
    FIGURE(resets_received),
    FIGURE(challenge_acks),
    FIGURE(challenge_acks_limited),
    FIGURE(paws_dropped),
    FIGURE(bad_acks),
    FIGURE(accepted),
    FIGURE(closed),
    FIGURE(aborted),
    FIGURE(timed_out),
    FIGURE(refused_full),
    FIGURE(syns),
    FIGURE(cookies_sent),
    FIGURE(cookies_good),
    FIGURE(cookies_bad),
    FIGURE(cookies_used),
    FIGURE(time_wait_reused),
    FIGURE(rto_fired),
    FIGURE(tlp_sent),
    FIGURE(fast_recoveries),
    FIGURE(undos),
    FIGURE(dsacks_sent),
    FIGURE(icmp_soft),
    FIGURE(icmp_too_big),
    FIGURE(icmp_ignored),
    FIGURE(connections),
    FIGURE(half_open),
    FIGURE(time_wait),
#undef FIGURE
};

static void write_figures(struct report *report, const void *counters, const struct figure *figures,
                          size_t count)
{
    for (size_t i = 0; i < count; i++)
        report_format(report, ",%s=%llu", figures[i].name,
                      (unsigned long long)count_get(
                          (const _Atomic uint64_t *)((const char *)counters + figures[i].offset)));
}

static void queue_line(const struct worker *worker, const struct dpdk_port *port,
                       struct report *report)
{
    const struct dpdk_counters *queue = dpdk_queue_counters(port, worker->index);
    const struct net_counters *stack = stream_net_counters(worker->stream);

    report_format(report, "queue%u:worker=%u", worker->index, worker->index);
    if (worker->port != NULL)
        report_format(report, ",pool_free=%u", packet_available(worker->port));
    if (queue != NULL)
        write_figures(report, queue, queue_figures, sizeof queue_figures / sizeof *queue_figures);
    if (worker->node->steering != NULL)
        write_figures(report, steer_counters(worker->node->steering, worker->index),
                      steering_figures, sizeof steering_figures / sizeof *steering_figures);
    if (worker->node->kernel_path != NULL)
        write_figures(report, kernel_counters(worker->node->kernel_path, worker->index),
                      kernel_figures, sizeof kernel_figures / sizeof *kernel_figures);
    if (stack != NULL)
        write_figures(report, stack, stack_figures, sizeof stack_figures / sizeof *stack_figures);
    report_text(report, "\r\n");
}

static void device(const struct dpdk_port *port, struct report *report)
{
    struct dpdk_port_info info;
    struct dpdk_link link;
    struct dpdk_stats stats;

    dpdk_port_info(port, &info);
    dpdk_port_link(port, &link);
    info_text(report, "network_port", info.name);
    info_text(report, "network_driver", info.driver);
    report_format(report, "network_mac:%02x:%02x:%02x:%02x:%02x:%02x\r\n", info.mac[0], info.mac[1],
                  info.mac[2], info.mac[3], info.mac[4], info.mac[5]);
    info_number(report, "network_mtu", info.mtu);
    info_text(report, "network_link", link.up ? "up" : "down");
    info_number(report, "network_link_changes", link.changes);
    info_number(report, "network_speed_mbps", link.speed_mbps);
    info_number(report, "network_queues", info.queues);
    info_number(report, "network_rss", info.rss);
    /* What decides on the queue of a flow: our key, or whatever the device does by itself. */
    info_text(report, "network_flow_spreading",
              info.queues == 1 ? "one_queue"
              : info.rss       ? "symmetric_rss"
                               : "device");
    info_number(report, "network_rx_interrupts", info.rx_interrupts);
    info_number(report, "network_hugepages", info.hugepages);
    info_number(report, "network_rx_checksum_offload", info.checks_rx);
    info_number(report, "network_tx_checksum_offload", info.offloads != 0);
    info_number(report, "network_pool_packets", info.pool_packets);
    if (dpdk_port_stats(port, &stats) < 0)
        return;
    info_number(report, "network_rx_packets", stats.rx_packets);
    info_number(report, "network_rx_bytes", stats.rx_bytes);
    info_number(report, "network_rx_missed", stats.rx_missed);
    info_number(report, "network_rx_errors", stats.rx_errors);
    info_number(report, "network_rx_no_pool", stats.rx_no_pool);
    info_number(report, "network_tx_packets", stats.tx_packets);
    info_number(report, "network_tx_bytes", stats.tx_bytes);
    info_number(report, "network_tx_errors", stats.tx_errors);
}

/* What the device cuts, and what it has been given to cut. */
static void segment_offload(const struct node *node, const struct dpdk_port *port,
                            struct report *report)
{
    struct dpdk_port_info info;
    uint64_t frames = 0, segments = 0;

    dpdk_port_info(port, &info);
    for (uint32_t i = 0; i < node->network_count; i++) {
        const struct net_counters *stack = stream_net_counters(node->workers[i]->stream);

        if (stack == NULL)
            continue;
        frames += count_get(&stack->tx_tso_frames);
        segments += count_get(&stack->tx_tso_segments);
    }
    report_format(report,
                  "network_tx_segment_offload:ipv4=%d,ipv6=%d,frames=%llu,segments=%llu\r\n",
                  info.tso.v4, info.tso.v6, (unsigned long long)frames,
                  (unsigned long long)segments);
}

/* Who brings a worker's port to its queue, and what happens to segments at the wrong one. */
static void steering(const struct node *node, const struct dpdk_port *port, struct report *report)
{
    struct dpdk_steering result;

    dpdk_port_steering(port, &result);
    info_number(report, "network_flow_isolation", result.isolated);
    info_number(report, "network_core_ports_by_rule", result.by_rule);
    info_number(report, "network_core_ports_by_software", result.ports - result.by_rule);
    info_number(report, "network_passes_on",
                node->steering != NULL && steer_passes_on(node->steering));
}

static void kernel_side(const struct kernel_path *path, struct report *report)
{
    const struct kernel_path_counters *counters = kernel_path_counters(path);

    info_number(report, "network_kernel_neighbours", count_get(&counters->neighbours));
    info_number(report, "network_kernel_routes", count_get(&counters->routes));
    info_number(report, "network_kernel_left_out", count_get(&counters->left_out));
    info_number(report, "network_kernel_snapshots", count_get(&counters->snapshots));
    info_number(report, "network_kernel_refused", count_get(&counters->refused));
    info_number(report, "network_kernel_ours", count_get(&counters->ours));
    info_number(report, "network_kernel_stalled", count_get(&counters->stalled));
}

/* Devices have hundreds, most of them 0 for ever. */
static void extended(void *arg, const char *name, uint64_t value)
{
    if (value != 0)
        report_format(arg, "network_device_%s:%llu\r\n", name, (unsigned long long)value);
}

void info_network(struct call *call, struct report *report)
{
    const struct dpdk_port *port = call->node->packet_port;

    if (port == NULL)
        return;
    device(port, report);
    segment_offload(call->node, port, report);
    steering(call->node, port, report);
    info_number(report, "network_workers_without_queue",
                call->node->worker_count - call->node->network_count);
    if (call->node->kernel_path != NULL)
        kernel_side(call->node->kernel_path, report);
    (void)dpdk_port_xstats(port, extended, report); /* some devices have none */
    for (uint32_t i = 0; i < call->node->network_count; i++)
        queue_line(call->node->workers[i], port, report);
}

#include "tools/pollux-bench/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "drivers/dpdk/dpdk.h"

struct device {
    struct packet_port merged; /* first; in use if there is more than one queue */
    struct packet_port_ops merged_ops;
    struct packet_port *queues[OPTIONS_QUEUES_MAX];
    unsigned queue_count;
    unsigned next_queue; /* whose turn it is */
    struct dpdk *dpdk;
    struct dpdk_port *port;
    bool registered;
    struct dpdk_port_info info;
};

/* ---- Many queues as one -----------------------------------------------------------------------
 */

static unsigned merged_receive(struct packet_port *port, struct packet **packets, unsigned max)
{
    struct device *device = (struct device *)port;
    unsigned got = 0;

    for (unsigned i = 0; i < device->queue_count && got < max; i++) {
        struct packet_port *queue = device->queues[device->next_queue];
        device->next_queue =
            device->next_queue + 1 < device->queue_count ? device->next_queue + 1 : 0;
        got += packet_receive(queue, packets + got, max - got);
    }
    return got;
}

static unsigned merged_transmit(struct packet_port *port, struct packet *const *packets,
                                unsigned count)
{
    return packet_transmit(((struct device *)port)->queues[0], packets, count);
}

static struct packet *merged_alloc(struct packet_port *port)
{
    return packet_alloc(((struct device *)port)->queues[0]);
}

/* A packet knows its pool, whichever queue's it is. */
static void merged_hold(struct packet_port *port, struct packet *packet)
{
    packet_hold(((struct device *)port)->queues[0], packet);
}

static void merged_release(struct packet_port *port, struct packet *packet)
{
    packet_release(((struct device *)port)->queues[0], packet);
}

static unsigned merged_available(const struct packet_port *port)
{
    return packet_available(((const struct device *)port)->queues[0]);
}

static void device_merge(struct device *device)
{
    device->merged = *device->queues[0];
    device->merged_ops = (struct packet_port_ops){.receive = merged_receive,
                                                  .transmit = merged_transmit,
                                                  .alloc = merged_alloc,
                                                  .hold = merged_hold,
                                                  .release = merged_release,
                                                  .shared = device->queues[0]->ops->shared,
                                                  .available = merged_available};
    device->merged.ops = &device->merged_ops;
}

/* ---- Opening and closing ----------------------------------------------------------------------
 */

static int device_start(struct device *device, const struct options *options, char *error)
{
    const struct dpdk_options dpdk_options = {.specs = &options->dpdk_port,
                                              .mtu = options->mtu,
                                              .spec_count = 1,
                                              .queues = options->queues,
                                              .args = options->dpdk_args};
    int status = dpdk_start(&device->dpdk, &dpdk_options, error);

    if (status < 0)
        return status;
    status = dpdk_thread_register();
    if (status < 0) {
        snprintf(error, DPDK_ERROR_MAX, "DPDK takes no more threads");
        return status;
    }
    device->registered = true;
    status = dpdk_port_open(device->dpdk, options->dpdk_port, options->queues, options->mtu,
                            &device->port, error);
    if (status < 0)
        return status;
    dpdk_port_info(device->port, &device->info);
    device->queue_count = device->info.queues;
    for (unsigned i = 0; i < device->queue_count; i++)
        device->queues[i] = dpdk_queue(device->port, i);
    device_merge(device);
    return 0;
}

int device_open(struct device **device, const struct options *options)
{
    char error[DPDK_ERROR_MAX] = "";
    struct device *made = calloc(1, sizeof(*made));

    if (made == NULL)
        return -ENOMEM;
    if (!dpdk_built()) {
        free(made);
        fprintf(stderr, "pollux-bench: --dpdk-port: built without DPDK; install libdpdk-dev and "
                        "build again\n");
        return -ENOSYS;
    }
    int status = device_start(made, options, error);
    if (status < 0) {
        fprintf(stderr, "pollux-bench: %s\n", error);
        device_close(made);
        return status;
    }
    *device = made;
    return 0;
}

void device_close(struct device *device)
{
    if (device == NULL)
        return;
    if (device->registered)
        dpdk_thread_unregister();
    /* The port with it: a memif port must not close while EAL's own thread connects it. */
    if (device->dpdk != NULL)
        dpdk_stop(device->dpdk);
    free(device);
}

struct packet_port *device_queue(struct device *device)
{
    return device->queue_count > 1 ? &device->merged : device->queues[0];
}

void device_tick(struct device *device)
{
    dpdk_port_tick(device->port);
}

bool device_link_is_up(const struct device *device)
{
    struct dpdk_link link;

    dpdk_port_link(device->port, &link);
    return link.up;
}

const char *device_driver(const struct device *device)
{
    return device->info.driver;
}

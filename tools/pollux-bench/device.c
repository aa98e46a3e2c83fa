#include "tools/pollux-bench/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "drivers/dpdk/dpdk.h"

struct device {
    struct dpdk *dpdk;
    struct dpdk_port *port;
    bool registered;
    struct dpdk_port_info info;
};

static int device_start(struct device *device, const struct options *options, char *error)
{
    const struct dpdk_options dpdk_options = {.specs = &options->dpdk_port,
                                              .spec_count = 1,
                                              .queues = 1,
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
    status =
        dpdk_port_open(device->dpdk, options->dpdk_port, 1, options->mtu, &device->port, error);
    if (status == 0)
        dpdk_port_info(device->port, &device->info);
    return status;
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
    if (device->port != NULL)
        dpdk_port_close(device->port);
    if (device->registered)
        dpdk_thread_unregister();
    if (device->dpdk != NULL)
        dpdk_stop(device->dpdk);
    free(device);
}

struct packet_port *device_queue(struct device *device)
{
    return dpdk_queue(device->port, 0);
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

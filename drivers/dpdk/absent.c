/* drivers/dpdk/dpdk.h in a build without DPDK: starting says so, and nothing comes after. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "drivers/dpdk/dpdk.h"

bool dpdk_built(void)
{
    return false;
}

int dpdk_start(struct dpdk **dpdk, const struct dpdk_options *options, char *error)
{
    *dpdk = NULL;
    snprintf(error, DPDK_ERROR_MAX,
             "this program was built without DPDK; apt-get install libdpdk-dev and build it again");
    return -ENOSYS;
}

void dpdk_stop(struct dpdk *dpdk)
{
}

int dpdk_thread_register(void)
{
    return -ENOSYS;
}

void dpdk_thread_unregister(void)
{
}

int dpdk_port_open(struct dpdk *dpdk, const char *spec, unsigned queues, unsigned mtu,
                   struct dpdk_port **port, char *error)
{
    *port = NULL;
    snprintf(error, DPDK_ERROR_MAX, "port %.80s: this program was built without DPDK", spec);
    return -ENOSYS;
}

/* There is no port that the functions below could be given. */
void dpdk_port_close(struct dpdk_port *port)
{
    abort();
}

struct packet_port *dpdk_queue(struct dpdk_port *port, unsigned index)
{
    abort();
}

void dpdk_port_info(const struct dpdk_port *port, struct dpdk_port_info *info)
{
    abort();
}

int dpdk_port_steer(struct dpdk_port *port, const struct dpdk_steer_ports *ports,
                    struct dpdk_steering *result)
{
    abort();
}

void dpdk_port_steering(const struct dpdk_port *port, struct dpdk_steering *result)
{
    abort();
}

int dpdk_port_table_changed(struct dpdk_port *port)
{
    abort();
}

void dpdk_port_link(const struct dpdk_port *port, struct dpdk_link *link)
{
    abort();
}

void dpdk_port_tick(struct dpdk_port *port)
{
    abort();
}

const struct dpdk_counters *dpdk_queue_counters(const struct dpdk_port *port, unsigned index)
{
    abort();
}

int dpdk_port_stats(const struct dpdk_port *port, struct dpdk_stats *stats)
{
    abort();
}

int dpdk_port_xstats(const struct dpdk_port *port,
                     void (*each)(void *arg, const char *name, uint64_t value), void *arg)
{
    abort();
}

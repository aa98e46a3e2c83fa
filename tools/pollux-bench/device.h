/* The packet port of a run: DPDK, with all its queue pairs as if they were one. What arrives is taken
 * from each in turn, what is sent goes out by the first.
 * Ownership: the device owns the port and its queue. Threading: one thread, which is registered with
 *            DPDK and must be pinned before.
 * Errors:    device_open: negative errno after a line on standard error that says what is missing. */
#ifndef POLLUX_BENCH_DEVICE_H
#define POLLUX_BENCH_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "drivers/packet.h"
#include "tools/pollux-bench/options.h"

struct device;

int device_open(struct device **device, const struct options *options);
void device_close(struct device *device);

struct packet_port *device_queue(struct device *device);
/* About once a second: a memif client whose server went away tries again. */
void device_tick(struct device *device);
bool device_link_is_up(const struct device *device);
/* The driver's name, as "net_memif". Valid until device_close. */
const char *device_driver(const struct device *device);

#endif

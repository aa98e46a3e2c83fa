/* What this machine offers to DPDK: hugepages, devices, permissions.
 * Purpose:   finds out before EAL starts what EAL would only stumble over, and says it in one line
 *            with the command that mends it.
 * Ownership: plain values; nothing is kept. `root` is "" for this machine, or a directory that holds
 *            another's /sys, /proc and /dev (tests).
 * Threading: any.
 * Errors:    negative errno, with the line in `error` (DPDK_ERROR_MAX bytes). */
#ifndef POLLUX_DRIVERS_DPDK_MACHINE_H
#define POLLUX_DRIVERS_DPDK_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "drivers/dpdk/spec.h"

/* Bytes in free hugepages of all sizes. */
uint64_t machine_free_hugepages(const char *root);

/* Whether port `spec` can be opened as far as files tell: the PCI device exists, is a network device,
 * has a driver that DPDK can use, /dev/vfio lets us in; the interface, tun device, memif server or
 * capture file that a virtual device names is there. -ENODEV, -EACCES, -EBUSY, -ENOENT. */
int machine_check(const char *root, const struct dpdk_spec *spec, char *error);

/* Whether a PCI device is driven by its kernel driver and DPDK side by side (NVIDIA). */
/* How many of `wanted` queue pairs a port can have, as far as the machine tells before it is open:
 * net_af_xdp refuses to start with more than its interface has. At least 1. */
unsigned machine_queues(const struct dpdk_spec *spec, unsigned wanted);
/* How many receive queues of a kernel's interface stay the kernel's if net_af_xdp drives `driven` of
 * them: the flows that come by those are served by nobody. 0 where a start_queue beyond
 * the first tells that it is meant so. */
unsigned machine_queues_left(const struct dpdk_spec *spec, unsigned driven);

bool machine_is_bifurcated(const char *root, const struct dpdk_spec *spec);

#endif

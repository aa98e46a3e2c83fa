/* Port specs: the text that names a port, taken apart.
 * Purpose:   tells PCI addresses from virtual devices, reads and adds driver arguments.
 * Ownership: plain values; nothing is kept of the text.
 * Threading: any.
 * Errors:    -EINVAL with one line in `error` (DPDK_ERROR_MAX bytes) for a text that is no spec. */
#ifndef POLLUX_DRIVERS_DPDK_SPEC_H
#define POLLUX_DRIVERS_DPDK_SPEC_H

#include <stdbool.h>
#include <stddef.h>

#include "drivers/dpdk/dpdk.h"

enum { DPDK_SPEC_MAX = 1024 }; /* bytes of a whole spec, with its NUL */

struct dpdk_spec {
    bool pci;
    char name[DPDK_NAME_MAX];   /* "0000:03:00.0", "net_memif0" */
    char driver[DPDK_NAME_MAX]; /* virtual: the name without its number, "net_memif"; PCI: "" */
    char args[DPDK_SPEC_MAX];   /* "role=server,socket=/run/a.sock", or "" */
};

int dpdk_spec_parse(const char *text, struct dpdk_spec *spec, char *error);

/* Copies the value of argument `key`; false if the spec has none, or it does not fit. */
bool dpdk_spec_value(const struct dpdk_spec *spec, const char *key, char *value, size_t size);

/* Appends "key=number" unless the key is there. -ENOSPC if it does not fit. */
int dpdk_spec_default(struct dpdk_spec *spec, const char *key, unsigned number);

/* The spec as EAL takes it: name, then its arguments. -ENOSPC if it does not fit. */
int dpdk_spec_text(const struct dpdk_spec *spec, char *text, size_t size);

#endif

/* Neighbours: what the kernel knows of the way to others, for workers that may not ask themselves.
 * Purpose:   a table that the control thread keeps as the kernel tells of changes, and immutable
 *            snapshots of it in which workers look up the MAC of the next hop.
 * Ownership: the caller owns tables and snapshots (free() ends a snapshot). A worker's pointer to
 *            one is valid until the worker says that it holds none: see kernel_path.h.
 * Threading: the table belongs to one thread; a snapshot may be read by all.
 * Errors:    no memory for a snapshot: NULL, and the last one stays in force. A full table takes no
 *            more and counts it.
 * Limits:    NEIGHBOURS_MAX neighbours, NEIGHBOURS_ROUTES_MAX routes. */
#ifndef DATAPLANE_NET_NEIGHBOURS_H
#define DATAPLANE_NET_NEIGHBOURS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/net/address.h"

enum { NEIGHBOURS_MAX = 4096, NEIGHBOURS_ROUTES_MAX = 256 };

struct neighbour {
    struct net_address address;
    uint8_t mac[6];
};

struct neighbours_route {
    struct net_prefix prefix;
    struct net_address gateway; /* ::, the unspecified one: itself is on the link */
    uint32_t metric;            /* among equal prefixes the least counts */
};

struct neighbours; /* a snapshot */

/* Where the present snapshot is found; no snapshot yet: NULL. */
struct neighbours_cell {
    const struct neighbours *_Atomic current;
};

struct neighbours_table {
    unsigned count, route_count;
    uint64_t refused; /* entries beyond the limits */
    struct neighbour items[NEIGHBOURS_MAX];
    struct neighbours_route routes[NEIGHBOURS_ROUTES_MAX];
};

/* Each returns whether the table has changed. */
bool neighbours_put(struct neighbours_table *table, const struct neighbour *neighbour);
bool neighbours_remove(struct neighbours_table *table, const struct net_address *address);
/* Replaces one of the same prefix and metric. */
bool neighbours_put_route(struct neighbours_table *table, const struct neighbours_route *route);
/* The one of the same prefix, gateway and metric. */
bool neighbours_remove_route(struct neighbours_table *table, const struct neighbours_route *route);

/* A copy of the table as it is; NULL: no memory. */
struct neighbours *neighbours_snapshot(const struct neighbours_table *table);

enum neighbours_found {
    NEIGHBOURS_FOUND,   /* mac is set */
    NEIGHBOURS_UNKNOWN, /* hop is set: its MAC is not known */
    NEIGHBOURS_NO_WAY,  /* no route leads there */
};

/* Who takes a packet to `to`, and at which MAC. */
enum neighbours_found neighbours_find(const struct neighbours *neighbours,
                                      const struct net_address *to, uint8_t mac[6],
                                      struct net_address *hop);

#endif

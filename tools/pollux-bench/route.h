/* Routes of the load generator: which address serves which keys.
 * Purpose:   find a server's addresses and, as a cluster-aware client does, send each key to the
 *            port that CLUSTER SLOTS names for its slot.
 * Ownership: `struct routes` owns its key lists.
 * Threading: one thread; discovery waits for the server's answer.
 * Errors:    negative errno; -EPROTO for a reply that is no slot map, -ENOENT for a slot that no
 *            port serves, -ETIMEDOUT for a server that does not answer. */
#ifndef POLLUX_BENCH_ROUTE_H
#define POLLUX_BENCH_ROUTE_H

#include "tools/pollux-bench/request.h"
#include "tools/pollux-bench/transport.h"

enum {
    ROUTE_SLOTS = 16384,
    ROUTES_MAX = 256,            /* ports of one node or nodes of one cluster */
    ROUTE_KEYS_MAX = 1000000000, /* numbers in a key list are 32 bits wide */
};

struct route {
    struct transport_address address;
    struct key_pick pick;
    uint32_t *numbers; /* memory of pick.list; NULL if every key goes here */
};

struct routes {
    struct route *list;
    uint32_t count;
};

/* One route for everything. `keys` counts keys; the pick counts groups where the format has groups.
 */
int routes_init_single(struct routes *routes, const char *host, const char *port,
                       const struct key_format *format, uint64_t keys);

/* Asks host:port for CLUSTER SLOTS, through the transport, and deals the keys to the ports. */
int routes_init_cluster(struct routes *routes, struct transport *transport, const char *host,
                        const char *port, const struct key_format *format, uint64_t keys);

/* One address as `parts` routes, each with the keys of one of as many equal ranges of slots: what a
 * connection sends then belongs to one owner, while its keys are as random as before. */
int routes_init_split(struct routes *routes, const char *host, const char *port,
                      const struct key_format *format, uint64_t keys, uint32_t parts);

void routes_fini(struct routes *routes);

/* Draws the keys of each route by Zipf's law from now on. */
void routes_set_zipf(struct routes *routes, double exponent);

/* CRC16 (XMODEM) of the key, or of its hash tag, modulo 16384: the slot by the cluster
 * specification. */
uint32_t route_slot(const char *key, uint32_t len_bytes);

#endif

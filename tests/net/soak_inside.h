/* What the soak wants to know of the inside of a stack; apart, as the stack's own names for kinds of
 * frames are those of frame.h, too. */
#ifndef POLLUX_TESTS_NET_SOAK_INSIDE_H
#define POLLUX_TESTS_NET_SOAK_INSIDE_H

#include "dataplane/net/net.h"

/* The sequence number and the timestamp with which the stack would open the flow now. */
uint32_t soak_sequence(const struct net *net, const struct net_flow *flow, uint64_t now_us);
uint32_t soak_timestamp(const struct net *net, const struct net_flow *flow, uint64_t now_us);

/* The first count that is not zero, of those that are in a stack without connections; NULL: all
 * are. `left` gets the count. */
const char *soak_left(const struct net *net, uint64_t *left);

/* Blocks of memory beyond those of a stack without connections, for a table that is growing. */
unsigned soak_growing(const struct net *net);

#endif

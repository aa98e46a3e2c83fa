/* Streams over our own network stack: drivers/stream.h on a packet port.
 * Purpose:   the driver "dpdk". Clients of the port come through net.h; unix sockets are still the
 *            kernel's and served from an epoll stream inside, on which a worker also sleeps.
 * Ownership: as drivers/stream.h says. The packet port in the options is the caller's and outlives
 *            the stream; without one the worker has no network and serves the others by mail alone.
 * Threading: as drivers/stream.h says.
 * Errors:    negative errno; `options->error` names the directive at fault.
 * Idling:    a poll that may wait looks at the port again and again. With `dpdk-idle` it rests
 *            between the looks once nothing came for that long: 20 us first, then ever longer up to
 *            500 us. Mail and unix sockets end a rest at once, frames only where the port has a wake_fd:
 *            then rests become 10 ms long, unless others may hand it frames by rings. */
#ifndef DATAPLANE_NET_STREAM_NET_H
#define DATAPLANE_NET_STREAM_NET_H

#include "config/config.h"
#include "drivers/stream.h"

struct net_counters;

extern const struct stream_driver stream_net;

/* Whether the directives about addresses can be. 0, or -EINVAL with the line in `error`, which has
 * STREAM_ERROR_MAX bytes. */
int stream_net_check(const struct config *config, char *error);

/* Of the stack inside; NULL: there is none. Any thread, while the stream exists. */
const struct net_counters *stream_net_counters(const struct stream *stream);

#endif

/* Steering: frames for the port of one worker that came to the queue of another.
 * Purpose:   with per-core-endpoints each worker has a TCP port of its own. A NIC without flow
 *            rules spreads such connections like all others, so the worker that receives a frame
 *            for another's port hands it over. A steered port is a packet_port around a queue pair:
 *            the stack above sees the frames that are its own, wherever they arrived.
 * Way:       one ring for each ordered pair of workers, made when the first frame goes that way.
 *            Frames are copied, as packets and their references belong to one worker; replies leave
 *            by the queue of the worker that serves them.
 * Ownership: the caller owns group and queue pairs; the ports live in the group.
 * Threading: each steered port is its worker's; the group is made and destroyed while no worker
 *            runs. Counters have one writer and relaxed readers.
 * Errors:    a full ring or no memory for one drops the frame as a full queue of the NIC would, and
 *            counts it.
 * Limits:    STEER_RING frames under way between two workers. */
#ifndef DATAPLANE_NET_STEER_H
#define DATAPLANE_NET_STEER_H

#include <stdatomic.h>
#include <stdint.h>

#include "config/config.h"
#include "drivers/packet.h"

enum { STEER_RING = 256 }; /* power of two */

struct steer_group;

struct steer_counters {
    _Atomic uint64_t handed_over, taken_over; /* frames */
    _Atomic uint64_t dropped;                 /* of those to hand over: ring full, no memory */
    _Atomic uint64_t no_packet; /* of those to take over: left in the ring until there is one */
};

/* A group of `count` workers; ports of workers as `config` has them at each moment. NULL: no
 * memory. */
struct steer_group *steer_create(const struct config *config, unsigned count);
void steer_destroy(struct steer_group *group);

/* The port of worker `index`, around its queue pair, which outlives the group. */
struct packet_port *steer_port(struct steer_group *group, unsigned index,
                               struct packet_port *queue);

const struct steer_counters *steer_counters(const struct steer_group *group, unsigned index);

#endif

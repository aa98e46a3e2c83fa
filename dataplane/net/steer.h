/* Steering: frames that came to the queue of one worker and are for another.
 * Purpose:   with per-core-endpoints each worker has a TCP port of its own. Unless flow rules of the
 *            NIC bring its frames to its queue (steer_by_card), the worker that receives them hands
 *            them over. And when a NIC begins to spread flows otherwise (steer_table_changed),
 *            segments of established connections come to workers that know nothing of them: those
 *            pass them on until one is found that does; so do they with ICMP errors at all times.
 * Way:       one ring for each ordered pair of workers, made when the first frame goes that way.
 *            Frames are copied, as packets and their references belong to one worker; replies leave
 *            by the queue of the worker that serves them. A segment without a connection goes round
 *            the workers, the last of which answers it with an RST. Who has the connection leaves a
 *            hint in a table that all share, so that those that follow go straight there.
 * Workers without a queue: there may be more workers than queues; the port of worker k is then
 *            served by worker k modulo the number of queues.
 * Ownership: the caller owns group and queue pairs; the ports live in the group.
 * Threading: each steered port is its worker's; the group is made and destroyed while no worker
 *            runs; steer_by_card, steer_ports_moved and steer_table_changed: any thread. Counters
 *            have one writer and relaxed readers.
 * Errors:    a full ring or no memory for one drops the frame as a full queue of the NIC would, and
 *            counts it.
 * Limits:    STEER_RING frames under way between two workers, half of them segments passed on;
 *            STEER_WALKS_A_POLL segments without a hint are sent round by a worker in one poll, so
 *            that a flood of stray segments stays where it comes in. */
#ifndef DATAPLANE_NET_STEER_H
#define DATAPLANE_NET_STEER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "drivers/packet.h"

enum {
    STEER_RING = 256, /* power of two */
    STEER_WALKS_A_POLL = 16,
    STEER_HINTS = 4096, /* power of two */
};

struct steer_group;

struct steer_counters {
    _Atomic uint64_t handed_over, taken_over; /* frames */
    _Atomic uint64_t dropped;                 /* of those to hand over: ring full, no memory */
    _Atomic uint64_t no_packet; /* of those to take over: left in the ring until there is one */
    _Atomic uint64_t passed_on; /* segments without a connection here, given to another worker */
    _Atomic uint64_t found;     /* of those passed on by others: the connection is here */
    _Atomic uint64_t walks_limited; /* not passed on, and dropped: too many in one poll */
};

/* A group of `workers`, the first `queues` of which have a queue; ports of workers as `config` has
 * them at each moment. NULL: no memory. */
struct steer_group *steer_create(const struct config *config, unsigned workers, unsigned queues);
/* The queues are as they were before. */
void steer_destroy(struct steer_group *group);

/* Worker `index` receives by `queue` what is its own, wherever it came in: from now on the queue's
 * `receive` and its questions about lost segments are the group's, all else stays as it is. */
void steer_port(struct steer_group *group, unsigned index, struct packet_port *queue);

/* Whether the card brings the frames for each worker's port to its queue: then nobody looks. */
void steer_by_card(struct steer_group *group, bool does);
/* The workers' ports are others now; those from `base` on were theirs before, and their connections
 * go on. Only the last such ones are known. */
void steer_ports_moved(struct steer_group *group, uint16_t base);
/* The card spreads flows otherwise than before, or may do so at any time without being seen. */
void steer_table_changed(struct steer_group *group);
bool steer_passes_on(const struct steer_group *group);

const struct steer_counters *steer_counters(const struct steer_group *group, unsigned index);

#endif

/* Kernel path: what a port brings that is not for our stacks goes to the kernel, and back.
 * Purpose:   ARP, neighbour discovery, ICMP, UDP, fragments and TCP to other ports than ours are
 *            the kernel's, behind a TAP interface with the port's MAC and addresses
 *            (drivers/tap.h). This is what workers and control thread share for it: rings of copied
 *            frames, and the kernel's neighbours as a snapshot that workers read without locks.
 * Way:       worker -> ring of its own -> control thread -> TAP; TAP -> control thread -> one ring
 *            -> worker 0 -> its queue. TCP from or to ports that we serve, on addresses of
 *            dpdk-address, goes neither way, so that the kernel cannot answer for them, not even
 *            while a start or an end leaves a moment without listeners.
 * Ownership: the caller owns the path; the ports live in it. Snapshots given to it are its own.
 * Threading: a port is its worker's, the rest the control thread's; made and destroyed while no
 *            worker runs. `wake` is called by workers. Counters have one writer and relaxed
 *            readers.
 * Errors:    what does not fit is dropped as by a full queue of a NIC, and counted.
 * Limits:    KERNEL_RING frames on the way in each ring, of which KERNEL_KEPT are kept for ARP,
 *            neighbour discovery and BGP; frames a second by class, see kernel_path.c. */
#ifndef DATAPLANE_NET_KERNEL_PATH_H
#define DATAPLANE_NET_KERNEL_PATH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "dataplane/net/neighbours.h"
#include "dataplane/net/net.h"
#include "drivers/packet.h"

enum {
    KERNEL_RING = 256, /* power of two */
    KERNEL_KEPT = 64,
    KERNEL_FRAME_MAX = PACKET_ROOM_MAX + 4, /* with a tag that the port had taken out */
    KERNEL_TAKE_MAX = 32,                   /* frames sent for the kernel in one exchange */
};

enum kernel_class {
    KERNEL_FIRST, /* ARP, neighbour discovery, BGP: without them there is no network at all */
    KERNEL_ICMP,
    KERNEL_TCP,
    KERNEL_OTHER, /* UDP, fragments and whatever else there is */
    KERNEL_CLASSES,
};

/* Of one worker. */
struct kernel_counters {
    _Atomic uint64_t to_kernel[KERNEL_CLASSES]; /* frames handed over */
    _Atomic uint64_t limited[KERNEL_CLASSES];   /* dropped: too many a second of their class */
    _Atomic uint64_t full;                      /* dropped: the ring was full */
    _Atomic uint64_t ours;                      /* dropped: to a port of ours */
    _Atomic uint64_t from_kernel;               /* frames sent for the kernel */
    _Atomic uint64_t no_packet;                 /* put off: no packet for one */
    _Atomic uint64_t too_long;                  /* dropped: longer than a packet of the port */
    _Atomic uint64_t wanted;                    /* neighbours that the kernel was to look for */
};

/* Of the control thread. */
struct kernel_path_counters {
    _Atomic uint64_t refused;    /* frames that the TAP did not take */
    _Atomic uint64_t ours;       /* frames of the kernel's from a port of ours, dropped */
    _Atomic uint64_t stalled;    /* the ring to worker 0 was full: the kernel had to wait */
    _Atomic uint64_t neighbours; /* in the present snapshot */
    _Atomic uint64_t routes;
    _Atomic uint64_t left_out;  /* neighbours and routes, for want of room in the table */
    _Atomic uint64_t snapshots; /* published so far */
};

/* One on the way to the kernel. */
struct kernel_frame {
    uint16_t len; /* 0: not a frame, but a neighbour wanted, its struct net_address in `bytes` */
    uint8_t bytes[KERNEL_FRAME_MAX];
};

struct kernel_path;
struct kernel_port;

/* `wake(arg)` is called when there is something for the control thread and it sleeps. NULL: no
 * memory. */
struct kernel_path *kernel_path_create(const struct config *config, unsigned workers,
                                       void (*wake)(void *arg), void *arg);
void kernel_path_destroy(struct kernel_path *path);

/* ---- workers ---- */

struct kernel_port *kernel_path_port(struct kernel_path *path, unsigned index);
/* For the stack's options. */
const struct neighbours_cell *kernel_port_neighbours(const struct kernel_port *port);
/* Between two polls of the stack: takes what is not for it, gives it what the kernel sends, and
 * says that the worker holds no snapshot. `queue` is the stack's packet port. Returns the frames
 * moved. */
unsigned kernel_port_exchange(struct kernel_port *port, struct net *net, struct packet_port *queue,
                              uint64_t now_us);
/* One frame for the kernel; the packet stays the caller's. False: dropped and counted. */
bool kernel_port_offer(struct kernel_port *port, const struct packet *packet, uint64_t now_us);

/* ---- control thread ---- */

/* The next one for the kernel, of all workers in turn, until kernel_path_done(). NULL: none. */
const struct kernel_frame *kernel_path_next(struct kernel_path *path);
void kernel_path_done(struct kernel_path *path);
/* Room for one frame from the kernel; NULL: worker 0 has not taken those before. */
struct kernel_frame *kernel_path_room(struct kernel_path *path);
/* There are `len` bytes of a frame in it. */
void kernel_path_put(struct kernel_path *path, uint16_t len);
/* Whether it may sleep now, and is woken; false: there is something to take. */
bool kernel_path_sleep(struct kernel_path *path);
void kernel_path_awake(struct kernel_path *path);
/* Takes the snapshot into force and owns it, unless it returns false: workers may still hold the
 * one before the last; try again. */
bool kernel_path_publish(struct kernel_path *path, struct neighbours *snapshot);
/* Frees the snapshot before the present one, once nobody holds it. Whether there is none. */
bool kernel_path_reclaim(struct kernel_path *path);
/* Its own to write. */
struct kernel_path_counters *kernel_path_count(struct kernel_path *path);

/* ---- anyone ---- */

const struct kernel_counters *kernel_counters(const struct kernel_path *path, unsigned index);
const struct kernel_path_counters *kernel_path_counters(const struct kernel_path *path);

#endif

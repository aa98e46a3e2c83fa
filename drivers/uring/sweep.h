/* Sweep: finds connections whose end the kernel does not tell.
 * Purpose:   a multishot receive that has read bytes waits for the next event of the socket. Where
 *            a reset had come before those bytes were read there is none, and the receive would
 *            stay with the kernel for ever (seen on 6.18). So a few connections at a time are asked
 *            whether they still live.
 * Ownership: the stream's connections; one found dead ends as after an error of its receive.
 * Threading: the stream's worker.
 * Errors:    none. */
#ifndef DRIVERS_URING_SWEEP_H
#define DRIVERS_URING_SWEEP_H

#include <stdint.h>

#include "drivers/uring/state.h"

enum {
    UR_SWEEP_US = 250000, /* between two looks: one system call each */
    UR_SWEEP_CONNS = 64,  /* looked at together */
};

/* Looks at the next connections, where it is time and the kernel has nothing for us. */
void ur_sweep(struct ur_stream *stream, uint64_t now_us);
/* The connection is about to be freed. */
void ur_sweep_forget(struct ur_stream *stream, const struct ur_conn *conn);

#endif

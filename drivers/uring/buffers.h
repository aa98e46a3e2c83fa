/* Receive buffers that the kernel picks from when bytes have arrived (provided buffer ring).
 * Purpose:   an idle connection holds no buffer, and a burst needs only as many as are unread.
 * Ownership: the caller owns struct buffers; the kernel has each buffer from buffers_publish until
 *            a completion names it, the caller from there until the next buffers_publish.
 * Threading: the ring's owner.
 * Errors:    negative errno. */
#ifndef DRIVERS_URING_BUFFERS_H
#define DRIVERS_URING_BUFFERS_H

#include <stddef.h>
#include <stdint.h>

#include "drivers/uring/ring.h"

enum {
    BUFFERS_GROUP = 1,        /* the ring has one group */
    BUFFERS_COUNT_MAX = 4096, /* buffers of one ring; the kernel allows 32768 */
    BUFFERS_START = 64,       /* in use at first: few stay in the cache; more when they run out */
    /* Between buffers: equal strides of a power of two would crowd into few cache sets. */
    BUFFERS_STAGGER_BYTES = 192,
};

struct buffers {
    struct io_uring_buf_ring *ring; /* shared with the kernel */
    char *memory;
    size_t memory_bytes;
    unsigned buffer_bytes;
    unsigned count;  /* power of two */
    unsigned active; /* have been given to the kernel at least once */
    unsigned taken;  /* named by a completion and not published since */
    bool ran_out;    /* since the last buffers_publish */
};

int buffers_init(struct buffers *buffers, struct ring *ring, unsigned count, unsigned buffer_bytes);
void buffers_fini(struct buffers *buffers); /* after the ring is closed */

static inline char *buffers_data(const struct buffers *buffers, unsigned id)
{
    return buffers->memory + (size_t)id * (buffers->buffer_bytes + BUFFERS_STAGGER_BYTES);
}

/* A completion named this buffer: it is the caller's until the next buffers_publish. */
void buffers_take(struct buffers *buffers, unsigned id);
/* Returns to the kernel all buffers taken so far, and more if they had run out. */
void buffers_publish(struct buffers *buffers);

/* How many the kernel has, of which completions not yet read may have used some. */
static inline unsigned buffers_free(const struct buffers *buffers)
{
    return buffers->active - buffers->taken;
}

#endif

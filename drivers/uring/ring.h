/* One io_uring and how this project uses it: probed, cheap to enter, used by one thread.
 * Purpose:   setup with the best flags that the kernel has, submission, waiting.
 * Ownership: the caller owns the memory of struct ring.
 * Threading: ring_open by any thread; the first ring_enable makes the calling thread its only user,
 *            as IORING_SETUP_SINGLE_ISSUER demands. ring_close by that thread, or by any other once
 *            that thread has ended.
 * Errors:    negative errno; ring_open adds a line that says what is missing. */
#ifndef DRIVERS_URING_RING_H
#define DRIVERS_URING_RING_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ring {
    struct io_uring io;
    pid_t owner;  /* thread that enabled it; 0: none yet */
    bool flagged; /* the kernel tells in the ring when work waits for us */
};

/* -ENOSYS: no io_uring, or one from before kernel 6.0; -EPERM: forbidden; -ENOMEM: memory or
 * RLIMIT_MEMLOCK. `error` has room for `error_max` bytes. */
int ring_open(struct ring *ring, unsigned submissions, unsigned completions, char *error,
              size_t error_max);
void ring_close(struct ring *ring);

/* Makes the calling thread the owner; nothing can be submitted before. */
int ring_enable(struct ring *ring);
static inline bool ring_is_enabled(const struct ring *ring)
{
    return ring->owner != 0;
}

/* An empty entry of the submission queue; submits what is there when the queue is full. Never NULL
 * unless the kernel refuses to take any entry at all. */
struct io_uring_sqe *ring_entry(struct ring *ring);

/* Hands the queued entries to the kernel without collecting anything. */
int ring_submit(struct ring *ring);

/* The same, and waits up to timeout_us (0: not at all, < 0: for ever) for a completion. Returns 0
 * also when the time is over, -EINTR when a signal came; another negative errno is fatal. */
int ring_wait(struct ring *ring, int64_t timeout_us);

#endif

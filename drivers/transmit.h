/* Transmit queues: the bytes of one connection that wait to be sent, and their memory.
 * Purpose:   contiguous room for replies, adopted memory between them, and what to send next.
 * Ownership: a queue owns its pieces; a pool keeps spare ones of its stream, a bounded number.
 *            An empty queue owns nothing, so an idle connection costs no transmit memory.
 * Threading: one worker: a pool and the queues that use it.
 * Errors:    NULL or -ENOMEM when memory is short. */
#ifndef DRIVERS_TRANSMIT_H
#define DRIVERS_TRANSMIT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
    /* With the header of 64 bytes they fill size classes of jemalloc, 2.5 and 20 KiB. */
    TRANSMIT_SMALL_BYTES = 2496,  /* room of a queue's first piece: most replies fit */
    TRANSMIT_LARGE_BYTES = 20416, /* room of the following ones; most that can be reserved */
#ifdef POLLUX_ASAN
    /* Every piece its own malloc block, so that the sanitizer sees what oversteps it. */
    TRANSMIT_SPARE_SMALL = 0,
    TRANSMIT_SPARE_LARGE = 0,
    TRANSMIT_SPARE_ADOPTED = 0,
#else
    TRANSMIT_SPARE_SMALL = 256,   /* pieces that a pool keeps: half a MiB, */
    TRANSMIT_SPARE_LARGE = 64,    /* one MiB, */
    TRANSMIT_SPARE_ADOPTED = 256, /* and 16 KiB */
#endif
};

struct transmit_piece;

struct transmit_spare {
    struct transmit_piece *first;
    unsigned count;
};

struct transmit_pool {
    struct transmit_spare small, large, adopted;
};

/* One connection's queue. All zero is an empty one. */
struct transmit {
    struct transmit_piece *head, *tail;
};

void transmit_pool_init(struct transmit_pool *pool);
void transmit_pool_fini(struct transmit_pool *pool);

/* Contiguous room of at least len_bytes (at most TRANSMIT_LARGE_BYTES) at the end of the queue. */
char *transmit_reserve(struct transmit_pool *pool, struct transmit *queue, size_t len_bytes,
                       size_t *room_bytes);
/* The first len_bytes of the room last reserved count as written. */
void transmit_commit(struct transmit *queue, size_t len_bytes);
/* Adopts memory; release(arg) runs once it is sent or dropped. -ENOMEM leaves it the caller's. */
int transmit_append(struct transmit_pool *pool, struct transmit *queue, const char *data,
                    size_t len_bytes, void (*release)(void *arg), void *arg);

/* Describes the next unsent bytes in up to `iov_max` parts; returns how many parts (0: nothing). */
unsigned transmit_next(const struct transmit *queue, struct iovec *iov, unsigned iov_max);
/* The first len_bytes of what transmit_next describes have gone. */
void transmit_sent(struct transmit_pool *pool, struct transmit *queue, size_t len_bytes);
/* Drops everything. */
void transmit_drop(struct transmit_pool *pool, struct transmit *queue);

#endif

/* RESP2 reply counter: finds where replies end in a stream of bytes, in pieces of any size.
 * Purpose:   let the load generator count replies without keeping or decoding them.
 * Ownership: the caller owns one struct for each connection; it holds no pointer.
 * Threading: one thread.
 * Errors:    -EPROTO for bytes that are no RESP2 reply; the connection is of no use afterwards. */
#ifndef POLLUX_BENCH_REPLY_H
#define POLLUX_BENCH_REPLY_H

#include <stddef.h>
#include <stdint.h>

enum {
    REPLY_LINE_MAX = 160, /* of a status or an error, what is kept; of a length, the limit */
    REPLY_ELEMENTS_MAX = 1 << 24, /* open elements of one reply */
    REPLY_BULK_MAX = 512 << 20,   /* bytes of one bulk string */
};

struct reply {
    uint64_t skip_bytes;    /* left of the bulk string at hand, its line end included */
    uint64_t open_elements; /* left of the reply at hand; 0 between replies */
    uint32_t line_len;      /* of a header line that is not complete yet */
    char line[REPLY_LINE_MAX];
};

struct reply_counts {
    uint64_t errors; /* error replies, MOVED left out */
    uint64_t moved;
    uint64_t nulls;                   /* null bulk strings and arrays: keys that were not there */
    char first_error[REPLY_LINE_MAX]; /* text of the first that is no MOVED, or empty */
};

/* Takes the next bytes of the connection. Returns how many replies came to their end, or -EPROTO.
 */
int64_t reply_feed(struct reply *reply, const char *data, size_t len_bytes,
                   struct reply_counts *counts);

#endif

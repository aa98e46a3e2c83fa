/* LZF: the compression that RDB files use for strings.
 * Purpose:   finds the same matches as redis-server does, so that a value takes as many bytes in
 *            our files as in its own.
 * Format:    a control byte below 32 opens a run of that many bytes and one; else its high three
 *            bits are the length of a match less two (7: a byte with the rest follows), its low
 *            five bits and the next byte how far back the match lies, less one.
 * Ownership: the caller owns everything; the table is scratch.
 * Threading: none.
 * Errors:    0 when the result does not fit. */
#ifndef DATAPLANE_PERSIST_LZF_H
#define DATAPLANE_PERSIST_LZF_H

#include <stddef.h>
#include <stdint.h>

enum {
    LZF_TABLE_BITS = 16,
    LZF_RUN_MAX = 32,
    LZF_DISTANCE_MAX = 1 << 13,
    LZF_MATCH_MAX = (1 << 8) + (1 << 3),
};

/* Where three bytes of this hash were last seen. */
struct lzf_table {
    uint32_t at[1 << LZF_TABLE_BITS];
};

/* Returns how many bytes of `out` were written; 0: they would be more than out_bytes. */
size_t lzf_compress(struct lzf_table *table, const char *data, size_t len_bytes, char *out,
                    size_t out_bytes);

#endif

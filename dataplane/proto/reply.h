/* Replies: RESP2 and RESP3 written straight into transmit memory.
 * Purpose:   one writer for a connection's stream, for a reply that travels, and for memory.
 * Ownership: the sink owns the memory behind `cur`..`end`. Large values may be handed over by
 *            reply_bulk_owned.
 * Threading: one worker at a time.
 * Errors:    when the sink has no memory `failed` is set, further writes are dropped, and whoever
 *            owns the reply closes the connection.
 * Source:    RESP3 specification; texts as redis-server 7.0. */
#ifndef DATAPLANE_PROTO_REPLY_H
#define DATAPLANE_PROTO_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/store/entry.h"

enum {
    REPLY_ROOM_MAX = 16384,
    REPLY_CODE_MAX = 32,
    REPLY_OWNED_MIN_BYTES = 16384, /* shorter values are copied: cheaper than a buffer each */
};

struct reply;
struct reply_sink {
    /* Commits base..cur (adding to committed_bytes) and provides at least need_bytes (<=
     * REPLY_ROOM_MAX) of new room: sets base, cur and end. false: no memory. */
    bool (*more)(struct reply *reply, size_t need_bytes);
    /* Commits base..cur, then appends memory that the sink releases later with release(arg). Room
     * may remain behind. false: no memory, nothing was taken over. */
    bool (*append)(struct reply *reply, const char *data, size_t len_bytes, void (*release)(void *),
                   void *arg);
};

struct reply {
    char *cur, *end, *base; /* base..cur is written and not yet committed; NULL: no room yet */
    const struct reply_sink *sink;
    void *sink_arg;
    uint64_t committed_bytes;
    char *error_code; /* NULL, or the owner's REPLY_CODE_MAX bytes for the first word of the last
                       * error, e.g. "ERR", for errorstats: read before another error comes */
    uint32_t errors;  /* error replies written so far (for statistics and EXEC); wraps */
    uint8_t resp;     /* 2 or 3 */
    bool muted;       /* CLIENT REPLY OFF and SKIP: everything is dropped (errors still count) */
    bool failed;
};

/* The first word of the last error; empty: not known. */
static inline const char *reply_error_code(const struct reply *reply)
{
    return reply->error_code == NULL ? "" : reply->error_code;
}
void reply_bytes(struct reply *reply, const char *data, size_t len_bytes); /* raw, already RESP */
void reply_status(struct reply *reply, const char *text); /* +text; CR and LF become spaces */
void reply_ok(struct reply *reply);
/* -text; "ERR " is put in front unless it starts with '-' (code given: "-WRONGTYPE ..."). CR and LF
 * at its ends are cut, others become spaces. */
void reply_error(struct reply *reply, const char *text);
void reply_errorf(struct reply *reply, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void reply_integer(struct reply *reply, int64_t value);
void reply_bulk(struct reply *reply, struct text text);
void reply_bulk_cstr(struct reply *reply, const char *text);
void reply_bulk_integer(struct reply *reply, int64_t value); /* number as bulk string */
void reply_null(struct reply *reply);                        /* $-1 or _ */
void reply_null_array(struct reply *reply);                  /* *-1 or _ */
void reply_array(struct reply *reply, uint64_t count);
void reply_map(struct reply *reply, uint64_t pairs);       /* %n, or *2n in RESP2 */
void reply_set(struct reply *reply, uint64_t count);       /* ~n or *n */
void reply_push(struct reply *reply, uint64_t count);      /* >n or *n */
void reply_attribute(struct reply *reply, uint64_t pairs); /* |n; only in RESP3 */
void reply_bool(struct reply *reply, bool value);          /* #t/#f or :1/:0 */
void reply_double(struct reply *reply, double value);      /* ,d or bulk; %.17g as Redis 7.0 */
void reply_big_number(struct reply *reply, struct text digits);
/* "=n", format and ':' before the text, or bulk. */
void reply_verbatim(struct reply *reply, const char *format3, struct text text);
/* A value that is not copied when it is long; `data` stays valid until release(arg), which is
 * called exactly once, also when the reply is muted or fails (then before this returns). */
void reply_bulk_owned(struct reply *reply, const char *data, size_t len_bytes,
                      void (*release)(void *), void *arg);

/* A reply in memory of its own, for counts that are known only at the end and for replies that
 * travel. Chunks are chained; reply_memory_move hands them to another reply without copying large
 * ones. */
struct reply_chunk;
struct reply_memory {
    struct reply reply; /* write here */
    struct reply_chunk *first, *last;
    uint64_t total_bytes; /* committed and not moved away */
    char *small;          /* optional caller's buffer used before chunks are allocated */
    size_t small_bytes, small_used, small_taken;
    char error_code[REPLY_CODE_MAX];
};
void reply_memory_init(struct reply_memory *memory, uint8_t resp, char *small, size_t small_bytes);
/* Commits what is written; call before move or take. */
void reply_memory_finish(struct reply_memory *memory);
/* Appends all to `to` (with the count and code of errors); leaves the memory empty and re-usable. A
 * memory that failed makes `to` fail. */
void reply_memory_move(struct reply_memory *memory, struct reply *to);
/* Moves only the first `bytes`; the count of errors stays. */
void reply_memory_take(struct reply_memory *memory, uint64_t bytes, struct reply *to);
void reply_memory_fini(struct reply_memory *memory);

#endif

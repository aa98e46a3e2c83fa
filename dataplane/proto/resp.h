/* RESP requests: arrays of bulk strings, and inline commands.
 * Purpose:   cut a connection's bytes into commands without copying them.
 * Ownership: arguments point into the caller's bytes; the parser owns only the offsets of a command
 *            still incomplete, and the arguments of one too long for the caller's array or with
 *            quotes in it. A parser is zeroed to start and released with resp_parser_fini.
 * Threading: one worker.
 * Errors:    RESP_BAD with Redis 7.0's text in `error` (without "-ERR "): reply, then close.
 * Source:    RESP specification; limits and texts as redis-server 7.0 gives them. */
#ifndef DATAPLANE_PROTO_RESP_H
#define DATAPLANE_PROTO_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/store/entry.h"

enum {
    RESP_INLINE_MAX_BYTES = 65536, /* an inline line, and a header line, without its end */
    RESP_ANONYMOUS_ARGS_MAX = 10,  /* before authentication */
    RESP_ANONYMOUS_BULK_MAX_BYTES = 16384,
    RESP_ERROR_MAX = 128,
};

enum resp_step {
    RESP_COMMAND, /* one command, argc >= 1 */
    RESP_EMPTY,   /* an empty line or *0: nothing to do, bytes consumed */
    RESP_MORE,    /* incomplete: call again with the same start and more bytes */
    RESP_FULL,    /* the argument array handed in has no room: run what is parsed and call again */
    RESP_BAD,
};

struct resp_limits {
    int64_t bulk_max_bytes; /* proto-max-bulk-len */
    bool anonymous;         /* connection has to authenticate first */
};

/* Arguments of commands parsed in this turn: a plain array the caller empties after each batch
 * (used = 0). A command with more arguments than its whole capacity, or with quotes, gets a heap
 * array owned by the parser; it then counts as filling the array (used = capacity), so that nothing
 * more is parsed before the batch has run. */
struct resp_arguments {
    struct text *items;
    uint32_t capacity, used; /* capacity at least 1 */
};

struct resp_command {
    struct text *argv; /* in arguments->items, or the parser's until the call after the batch */
    uint32_t argc;
    size_t wire_bytes; /* what it took on the wire */
};

union resp_part { /* an argument of a command in progress; becomes its text in place */
    struct {
        size_t offset, len_bytes; /* offset from the command's first byte */
    } at;
    struct text text;
};

struct resp_parser {        /* state of an incomplete command; offsets count from its first byte */
    int64_t args_left;      /* multibulk: arguments still to come; 0: at a header */
    int64_t bulk_len_bytes; /* of the argument in progress, valid when bulk_known */
    size_t position_bytes;  /* all before it is in `parts`; 0: start over (few arguments) */
    size_t line_bytes;      /* where the line in progress starts ... */
    size_t scanned_bytes;   /* ... and before what it has no end */
    size_t need_bytes;      /* fewer bytes than this can't change anything */
    /* After RESP_MORE: how many bytes from the command's start are worth having room for. At most
     * twice what has arrived, or 16 KiB. */
    size_t want_bytes;
    uint32_t argc, capacity;
    bool bulk_known;
    bool handed_out;        /* big_argv was given to the caller */
    union resp_part *parts; /* heap; only for incomplete commands that grew long */
    struct text *big_argv;  /* heap: of the last command, or NULL */
    char *big_bytes;        /* heap: unquoted bytes behind big_argv */
    char error[RESP_ERROR_MAX];
};

/* Parses the command that starts at data[0], len_bytes >= 1. On RESP_COMMAND and RESP_EMPTY
 * *consumed_bytes is its length. After RESP_MORE the bytes seen must come again (they may have
 * moved). Work is linear in the bytes whatever the pieces they arrive in. */
enum resp_step resp_parse(struct resp_parser *parser, const struct resp_limits *limits,
                          const char *data, size_t len_bytes, struct resp_arguments *arguments,
                          struct resp_command *command, size_t *consumed_bytes);
/* Forgets a command in progress and frees what the parser holds. */
void resp_parser_reset(struct resp_parser *parser);
void resp_parser_fini(struct resp_parser *parser);

#endif

/* Directives: the one table that says what can be configured, and how a value is read and written.
 * Purpose:   type, range, default and mutability of every directive of Redis 7.0 and of our own.
 *            Files, the command line, CONFIG GET, SET and REWRITE all go through it; a new
 *            directive is one row.
 * Ownership: the table is constant. A `struct directive_value` belongs to the caller until it is
 *            stored.
 * Threading: reading and parsing anywhere; storing under the configuration's mutex or before
 *            threads exist.
 * Errors:    a reason in Redis's words, as a NUL-terminated text in the caller's buffer. */
#ifndef CONFIG_DIRECTIVE_H
#define CONFIG_DIRECTIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

enum directive_kind {
    DIRECTIVE_BOOL,
    DIRECTIVE_INT,
    DIRECTIVE_OCTAL,
    DIRECTIVE_MEMORY,       /* bytes, with a unit */
    DIRECTIVE_MEMORY_SHARE, /* the same, or a percentage */
    DIRECTIVE_ENUM,
    DIRECTIVE_STRING,
    DIRECTIVE_LIST,
    DIRECTIVE_SAVE,   /* pairs of seconds and changes */
    DIRECTIVE_LIMITS, /* client-output-buffer-limit */
    DIRECTIVE_PERCENTILES,
    DIRECTIVE_DIR, /* a string that is also the working directory */
};

enum directive_flags {
    DIRECTIVE_IMMUTABLE = 1 << 0, /* set at start only */
    DIRECTIVE_PROTECTED = 1 << 1, /* CONFIG SET needs enable-protected-configs */
    DIRECTIVE_SENSITIVE = 1 << 2, /* never logged */
    DIRECTIVE_MULTI = 1 << 3,     /* takes several arguments */
    DIRECTIVE_HIDDEN = 1 << 4,    /* CONFIG GET shows it by its whole name only */
    DIRECTIVE_LATER = 1 << 5, /* its feature is not there: no value but the default is accepted */
};

/* A choice of an enum; one that is `later` is valid, and refused as not supported yet. */
struct directive_choice {
    const char *name;
    int64_t number;
    bool later;
};

struct directive {
    const char *name;
    const char *alias; /* NULL: none */
    enum directive_kind kind;
    unsigned flags;
    const char *fallback; /* the default, as in a file; NULL: found out at start */
    size_t offset;        /* of the value in struct config; nothing there with DIRECTIVE_LATER */
    int64_t min, max;     /* of numbers */
    const struct directive_choice *choices; /* of enums, ended by a NULL name */
    const char *(*check)(const char *text,
                         int64_t number); /* NULL, or one more test; returns a reason */
    const char *also;   /* with DIRECTIVE_LATER: another spelling of the default, or NULL */
    const char *advice; /* with DIRECTIVE_LATER: what to use instead, or NULL */
};

/* A value that was read and is not stored yet. */
struct directive_value {
    int64_t number;
    void *object; /* string, list or percentiles; allocated by malloc */
    struct {
        bool given;
        int64_t hard_bytes, soft_bytes, soft_seconds;
    } limits[CONFIG_CLASSES];
};

enum {
    DIRECTIVES_MAX = 256,
    DIRECTIVE_REASON_MAX = 512, /* bytes of a reason, NUL included */
    DIRECTIVE_WORDS_MAX = 128,  /* arguments of one directive */
    DIRECTIVE_WORD_MAX = 255,   /* bytes of an item of a list */
};

/* The rows are in config/directive_table.c. */
extern const struct directive directives[];
extern const unsigned directive_count;

/* The directive with this name or alias, whatever the case of letters; NULL if there is none.
 * `*aliased` (may be NULL) tells whether it was the alias. */
const struct directive *directive_find(const char *name, size_t name_len, bool *aliased);

/* Reads `argc` NUL-terminated arguments. Returns 0 and a value that must be stored or dropped, or
 * -EINVAL (-ENOMEM) with the reason. */
int directive_parse(const struct directive *directive, const char *const *argv, unsigned argc,
                    struct directive_value *value, char reason[DIRECTIVE_REASON_MAX]);

/* Exchanges the value in `config` with `*value`, which holds the old one then; objects are not
 * freed, as readers may still hold the old one. Returns 0, or -errno when the working directory
 * cannot be changed. */
int directive_swap(struct config *config, const struct directive *directive,
                   struct directive_value *value);

/* Frees what a value holds. */
void directive_drop(struct directive_value *value);

/* Whether storing `value` would change nothing. */
bool directive_holds(const struct config *config, const struct directive *directive,
                     const struct directive_value *value);

enum { DIRECTIVE_TEXT_MAX = CONFIG_BIND_MAX * (DIRECTIVE_WORD_MAX + 1) };

/* The current value as CONFIG GET shows it, in `buffer` or where it is stored; `*len` bytes and
 * a NUL. */
const char *directive_text(const struct config *config, const struct directive *directive,
                           char buffer[DIRECTIVE_TEXT_MAX], size_t *len);

#endif

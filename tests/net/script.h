/* Packet scripts: text, words and numbers. What the verbs do is in case.h; docs in README.md.
 * Purpose:   reads a script into lines of words, and evaluates expressions such as `1+2*mss`.
 * Ownership: a script owns its text; words point into it.
 * Threading: none.
 * Errors:    NULL or false, with the reason on stderr (script_load) or in the caller's hands. */
#ifndef POLLUX_TESTS_NET_SCRIPT_H
#define POLLUX_TESTS_NET_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SCRIPT_WORDS_MAX = 32,
    SCRIPT_LINES_MAX = 400,
};

struct script_line {
    unsigned number; /* in the file, from 1 */
    unsigned count;
    const char *condition; /* "sack,v6" of a line that starts with [sack,v6], or NULL */
    const char *words[SCRIPT_WORDS_MAX];
};

struct script {
    char *path;
    char *text;
    unsigned count;
    struct script_line lines[SCRIPT_LINES_MAX];
};

/* Splits `text`, which is changed, into words; they point into it. false: too many. */
bool script_split(struct script_line *line, char *text);

struct script *script_load(const char *path);
void script_free(struct script *script);

/* Gives the value of a name in an expression. */
typedef bool script_lookup(void *arg, const char *name, int64_t *value);

/* + - * / % and parentheses over decimal numbers, numbers with a unit of time (us, ms, s: the value
 * is in us) and names. false: malformed, or an unknown name. */
bool script_evaluate(const char *text, script_lookup *lookup, void *arg, int64_t *value);

/* "A..B" as two expressions; a single one gives *last == *first. */
bool script_range(const char *text, script_lookup *lookup, void *arg, int64_t *first,
                  int64_t *last);

#endif

/* Glob patterns, as KEYS, SCAN, CONFIG GET and PSUBSCRIBE use them.
 * Purpose:   match bytes against `*`, `?`, `[abc]`, `[^a-z]` and `\x` with the meaning Redis gives
 *            them.
 * Ownership: nothing is kept and nothing allocated.
 * Threading: pure functions.
 * Errors:    none: every pattern means something. An unclosed class ends with the pattern, a lone
 *            backslash at the end stands for itself. The empty string is matched by the empty
 *            pattern alone, not by stars (callers let a single star stand for everything).
 * Cost:      no recursion and no exponential case. A pattern is a row of segments between stars,
 *            each of fixed length, of which the first is tried at the start, the last at the end,
 *            and each other once at its leftmost place. Plain text is searched for in linear time;
 *            a segment of m bytes that holds `?` or a class costs at most m steps for each byte of
 *            the string. */
#ifndef CONFIG_GLOB_H
#define CONFIG_GLOB_H

#include <stdbool.h>
#include <stddef.h>

/* Whether `string` matches the whole of `pattern`; `nocase` folds ASCII letters. */
bool glob_match(const char *pattern, size_t pattern_len, const char *string, size_t string_len,
                bool nocase);

/* Whether the pattern has a byte that can make it match more than itself. */
bool glob_is_pattern(const char *pattern, size_t pattern_len);

#endif

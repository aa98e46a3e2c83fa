/* Splitting a line into words: configuration lines and inline commands.
 * Purpose:   blanks separate words; "..." with \n \r \t \b \a \xHH and \c, '...' with \' only; a
 *            closing quote must be followed by a blank or the end, as Redis asks for.
 * Ownership: words are decoded in the caller's bytes and point into them; nothing is allocated.
 * Threading: pure functions.
 * Errors:    negative errno, see words_split. */
#ifndef CONFIG_WORDS_H
#define CONFIG_WORDS_H

#include <stddef.h>

/* Bytes that somebody else owns; not closed by NUL. */
struct words_span {
    char *data;
    size_t len;
};

/* Splits `len` bytes at `line`, overwriting them with the decoded words. A NUL byte ends the line.
 * Returns the number of words (0 for a blank line), at most `words_max`; -EINVAL for quotes that do
 * not close or are followed by something else; -E2BIG for more words. After an error the bytes are
 * spoilt. The byte behind a word is none of another word, so a caller who owns the byte behind the
 * line may close each with a NUL. */
int words_split(char *line, size_t len, struct words_span *words, unsigned words_max);

/* The number of words as words_split would return it without a limit, or -EINVAL; the line stays
 * whole. */
int words_count(const char *line, size_t len);

/* Writes `data` in double quotes so that words_split reads it back, closed by NUL. Returns the
 * length without that NUL; as with snprintf, nothing is written beyond `size` and more means it was
 * cut. */
size_t words_quote(char *out, size_t size, const char *data, size_t len);

#endif

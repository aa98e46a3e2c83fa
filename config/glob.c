#include "config/glob.h"

#include <string.h>

/* What is left of a pattern or a string. */
struct cursor {
    const char *at;
    const char *end;
};

static unsigned char fold(char byte, bool nocase)
{
    unsigned char c = (unsigned char)byte;

    return nocase && c >= 'A' && c <= 'Z' ? (unsigned char)(c + 'a' - 'A') : c;
}

/* Where the class that opens at `at` ('[') ends: behind its ']', or at the end of the pattern. */
static const char *class_end(const char *at, const char *end)
{
    at++;
    if (at < end && *at == '^')
        at++;
    while (at < end) {
        if (*at == '\\' && end - at >= 2)
            at += 2;
        else if (*at == ']')
            return at + 1;
        else if (end - at >= 3 && at[1] == '-')
            at += 3;
        else
            at++;
    }
    return end;
}

/* The length in the pattern of the element at `at`; it stands for exactly one byte. */
static const char *element_end(const char *at, const char *end)
{
    if (*at == '[')
        return class_end(at, end);
    if (*at == '\\' && end - at >= 2)
        return at + 2;
    return at + 1;
}

static bool class_holds(const char *at, const char *end, char byte, bool nocase)
{
    unsigned char c = fold(byte, nocase);
    bool negated = false;
    bool found = false;

    at++;
    if (at < end && *at == '^') {
        negated = true;
        at++;
    }
    while (at < end && !found) {
        if (*at == '\\' && end - at >= 2) {
            found = fold(at[1], nocase) == c;
            at += 2;
        } else if (*at == ']') {
            break;
        } else if (end - at >= 3 && at[1] == '-') {
            unsigned char low = fold(at[0], nocase);
            unsigned char high = fold(at[2], nocase);
            /* A range written backwards means the same. */
            found = low <= high ? c >= low && c <= high : c >= high && c <= low;
            at += 3;
        } else {
            found = fold(*at, nocase) == c;
            at++;
        }
    }
    return found != negated;
}

static bool element_matches(const char *at, const char *end, char byte, bool nocase)
{
    switch (*at) {
    case '?':
        return true;
    case '[':
        return class_holds(at, end, byte, nocase);
    case '\\':
        return fold(end - at >= 2 ? at[1] : *at, nocase) == fold(byte, nocase);
    default:
        return fold(*at, nocase) == fold(byte, nocase);
    }
}

/* Takes the segment up to the next star (or the end) off `pattern`. Counts the bytes it stands for
 * and tells whether it is plain text, that is, equal to what it matches. */
static struct cursor segment_take(struct cursor *pattern, size_t *width, bool *plain)
{
    struct cursor segment = {pattern->at, pattern->at};

    *width = 0;
    *plain = true;
    while (segment.end < pattern->end && *segment.end != '*') {
        if (*segment.end == '?' || *segment.end == '[' || *segment.end == '\\')
            *plain = false;
        segment.end = element_end(segment.end, pattern->end);
        ++*width;
    }
    pattern->at = segment.end;
    return segment;
}

/* Whether the segment matches at `string`, which has enough bytes. */
static bool segment_matches(struct cursor segment, const char *string, bool nocase)
{
    while (segment.at < segment.end) {
        const char *next = element_end(segment.at, segment.end);

        if (!element_matches(segment.at, next, *string++, nocase))
            return false;
        segment.at = next;
    }
    return true;
}

/* The leftmost place of the segment, which is `width` bytes wide; NULL if there is none. */
static const char *segment_find(struct cursor segment, size_t width, bool plain,
                                struct cursor string, bool nocase)
{
    if ((size_t)(string.end - string.at) < width)
        return NULL;
    if (plain && !nocase)
        return memmem(string.at, (size_t)(string.end - string.at), segment.at, width);
    for (; (size_t)(string.end - string.at) >= width; string.at++) {
        if (segment_matches(segment, string.at, nocase))
            return string.at;
    }
    return NULL;
}

bool glob_match(const char *pattern, size_t pattern_len, const char *string, size_t string_len,
                bool nocase)
{
    struct cursor rest = {pattern, pattern + pattern_len};
    struct cursor left = {string, string + string_len};
    size_t width;
    bool plain;
    struct cursor segment = segment_take(&rest, &width, &plain);

    if (string_len == 0)
        return pattern_len == 0;
    if (string_len < width || !segment_matches(segment, left.at, nocase))
        return false;
    left.at += width;
    if (rest.at == rest.end)
        return left.at == left.end;

    while (rest.at < rest.end) {
        while (rest.at < rest.end && *rest.at == '*')
            rest.at++;
        segment = segment_take(&rest, &width, &plain);
        if (rest.at == rest.end) {
            /* The last one ends where the string does; after a closing star it is empty. */
            return (size_t)(left.end - left.at) >= width &&
                   segment_matches(segment, left.end - width, nocase);
        }
        const char *found = segment_find(segment, width, plain, left, nocase);
        if (found == NULL)
            return false;
        left.at = found + width;
    }
    return true;
}

bool glob_is_pattern(const char *pattern, size_t pattern_len)
{
    for (size_t i = 0; i < pattern_len; i++) {
        if (pattern[i] == '*' || pattern[i] == '?' || pattern[i] == '[')
            return true;
    }
    return false;
}

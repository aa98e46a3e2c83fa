/* Patterns: the first byte is the length of the pattern, the rest pattern and string. The answer
 * must be that of a plain matcher that tries everything, on inputs short enough for it. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "config/glob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS_MAX = 200000 };

/* Matches stars by trying all lengths, everything else by glob_match itself on single elements.
 * Gives up (and says so) after STEPS_MAX steps. */
static bool slow_match(const char *pattern, size_t pattern_len, const char *string,
                       size_t string_len, unsigned *steps)
{
    if (++*steps > STEPS_MAX)
        return false;
    if (pattern_len == 0)
        return string_len == 0;
    if (*pattern == '*') {
        for (size_t skipped = 0; skipped <= string_len; skipped++) {
            if (slow_match(pattern + 1, pattern_len - 1, string + skipped, string_len - skipped,
                           steps))
                return true;
        }
        return false;
    }
    if (string_len == 0)
        return false;
    size_t element = 1;
    if (*pattern == '\\' && pattern_len >= 2)
        element = 2;
    if (*pattern == '[') {
        /* The class ends at the first ']' that is neither escaped nor the end of a range. */
        element = pattern_len >= 2 && pattern[1] == '^' ? 2 : 1;
        while (element < pattern_len && pattern[element] != ']') {
            if (pattern[element] == '\\' && pattern_len - element >= 2)
                element += 2;
            else if (pattern_len - element >= 3 && pattern[element + 1] == '-')
                element += 3;
            else
                element++;
        }
        if (element < pattern_len)
            element++;
    }
    return glob_match(pattern, element, string, 1, false) &&
           slow_match(pattern + element, pattern_len - element, string + 1, string_len - 1, steps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned steps = 0;

    if (size < 1 || size > 64)
        return 0;
    size_t pattern_len = data[0] % size;
    const char *pattern = (const char *)data + 1;
    const char *string = pattern + pattern_len;
    size_t string_len = size - 1 - pattern_len;
    bool fast = glob_match(pattern, pattern_len, string, string_len, false);
    /* As in Redis, the empty string is matched by the empty pattern alone. */
    bool slow = string_len == 0 ? pattern_len == 0
                                : slow_match(pattern, pattern_len, string, string_len, &steps);

    if (steps <= STEPS_MAX && fast != slow)
        abort();
    glob_match(pattern, pattern_len, string, string_len, true);
    return 0;
}

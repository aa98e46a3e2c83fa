#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/glob.h"

static bool matches(const char *pattern, const char *string)
{
    return glob_match(pattern, strlen(pattern), string, strlen(string), false);
}

static bool matches_nocase(const char *pattern, const char *string)
{
    return glob_match(pattern, strlen(pattern), string, strlen(string), true);
}

Test(glob, plain_text_matches_itself_only)
{
    cr_assert(matches("", ""));
    cr_assert(matches("key", "key"));
    cr_assert_not(matches("key", "ke"));
    cr_assert_not(matches("key", "keys"));
    cr_assert_not(matches("", "a"));
    cr_assert_not(matches("key", "KEY"));
}

Test(glob, star_stands_for_any_bytes)
{
    cr_assert(matches("**", "abc"));
    cr_assert(matches("a*", "a"));
    cr_assert(matches("*c", "abc"));
    cr_assert(matches("a*c", "ac"));
    cr_assert(matches("a*b*c", "axxbyyc"));
    cr_assert_not(matches("a*b*c", "axxcyyb"));
    cr_assert_not(matches("*ab", "a"));
    cr_assert(matches("*ab*ab", "abab"));
    cr_assert_not(matches("*ab*ab", "aab"));
}

/* KEYS ** does not find the key without a name, and KEYS * does because Redis does not match there. */
Test(glob, empty_string_is_matched_by_the_empty_pattern_alone)
{
    cr_assert(matches("", ""));
    cr_assert_not(matches("*", ""));
    cr_assert_not(matches("**", ""));
}

Test(glob, question_mark_stands_for_one_byte)
{
    cr_assert(matches("h?llo", "hello"));
    cr_assert_not(matches("h?llo", "hllo"));
    cr_assert(matches("*?", "a"));
    cr_assert_not(matches("*?", ""));
}

Test(glob, classes_with_ranges_negation_and_escapes)
{
    cr_assert(matches("h[ae]llo", "hallo"));
    cr_assert_not(matches("h[ae]llo", "hillo"));
    cr_assert(matches("h[^e]llo", "hallo"));
    cr_assert_not(matches("h[^e]llo", "hello"));
    cr_assert(matches("h[a-c]llo", "hbllo"));
    cr_assert(matches("h[c-a]llo", "hbllo"));
    cr_assert(matches("[\\]]", "]"));
    cr_assert(matches("[\\-]", "-"));
    cr_assert(matches("*[0-9]x", "abc7x"));
}

/* What Redis makes of patterns that nobody means. */
Test(glob, unfinished_patterns_have_a_meaning)
{
    cr_assert(matches("[ab", "a"));
    cr_assert_not(matches("[ab", "c"));
    cr_assert_not(matches("[]", "]"));
    cr_assert(matches("[^]", "x"));
    cr_assert(matches("a\\", "a\\"));
    cr_assert(matches("[a-]", "^"), "the range from a to ]");
    cr_assert_not(matches("[", "["));
}

Test(glob, escapes_take_the_meaning_away)
{
    cr_assert(matches("\\*", "*"));
    cr_assert_not(matches("\\*", "a"));
    cr_assert(matches("a\\?b", "a?b"));
    cr_assert(matches("*\\[x", "abc[x"));
}

Test(glob, letters_fold_when_asked)
{
    cr_assert(matches_nocase("MAX*", "maxmemory"));
    cr_assert(matches_nocase("[A-C]x", "bX"));
    cr_assert(matches_nocase("*MEM*", "maxmemory"));
    cr_assert_not(matches_nocase("*MEM?", "maxmemory"));
}

Test(glob, bytes_of_all_values_are_compared)
{
    cr_assert(glob_match("a\0*", 3, "a\0bc", 4, false));
    cr_assert_not(glob_match("a\0b", 3, "a\0c", 3, false));
    cr_assert(glob_match("[\x80-\xff]", 5, "\xf0", 1, false));
}

Test(glob, tells_patterns_from_plain_names)
{
    cr_assert(glob_is_pattern("a*", 2));
    cr_assert(glob_is_pattern("a?", 2));
    cr_assert(glob_is_pattern("a[b", 3));
    cr_assert_not(glob_is_pattern("a\\b", 3));
}

static double cpu_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Patterns that explode in a matcher that goes back, or overflow the stack of one that recurses. */
Test(glob, hostile_patterns_stay_cheap)
{
    enum { LEN = 1 << 17 };
    char *pattern = malloc(LEN);
    char *string = malloc(LEN);
    double started = cpu_seconds();

    memset(string, 'a', LEN);
    for (size_t i = 0; i < LEN; i += 2)
        memcpy(pattern + i, "a*", 2);
    pattern[LEN - 1] = 'b';
    cr_assert_not(glob_match(pattern, LEN, string, LEN, false));
    memset(pattern, '*', LEN);
    cr_assert(glob_match(pattern, LEN, string, LEN, false));
    memset(pattern, 'a', LEN);
    pattern[0] = '*';
    pattern[LEN / 2] = 'b';
    pattern[LEN - 1] = '*';
    cr_assert_not(glob_match(pattern, LEN, string, LEN, false));
    memset(pattern, '[', LEN);
    cr_assert_not(glob_match(pattern, LEN, string, LEN, false));
    cr_assert_lt(cpu_seconds() - started, 5.0);
    free(pattern);
    free(string);
}

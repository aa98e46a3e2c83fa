#include <criterion/criterion.h>
#include <string.h>

#include "dataplane/commands/expiry.h"
#include "tests/unit/dataplane/fixture.h"

static void reads(const char *text, bool valid)
{
    long double value;

    cr_assert_eq(text_to_long_double((struct text){text, strlen(text)}, &value), valid, "%s", text);
}

static void prints(long double value, const char *expected)
{
    char text[FLOAT_TEXT_MAX];
    size_t len = long_double_to_text(value, text);

    cr_assert_eq(len, strlen(expected), "%s", expected);
    cr_assert_eq(memcmp(text, expected, len), 0, "%s", expected);
}

Test(expiry, floats_are_read_as_redis_reads_them)
{
    reads("1", true);
    reads("-1.5e3", true);
    reads("0x10", true);
    reads("inf", true);
    reads("", false);
    reads(" 1", false);
    reads("1 ", false);
    reads("1x", false);
    reads("nan", false);
    reads("1e5000", false);
}

Test(expiry, floats_are_printed_without_needless_zeros)
{
    prints(10.5L, "10.5");
    prints(3.0L, "3");
    prints(-0.0L, "0");
    prints(100000000000000000000.0L, "100000000000000000000");
    prints(1e-17L, "0.00000000000000001");
    prints(1e-18L, "0");
}

Test(expiry, a_text_too_long_for_a_float_is_none)
{
    char digits[FLOAT_TEXT_MAX];
    long double value;

    memset(digits, '1', sizeof digits);
    cr_assert_not(text_to_long_double((struct text){digits, sizeof digits}, &value));
    digits[sizeof digits - 2] = '.';
    cr_assert(text_to_long_double((struct text){digits + 5000, 100}, &value));
}

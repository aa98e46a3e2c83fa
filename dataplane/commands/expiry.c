#include "dataplane/commands/expiry.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/node.h"

bool expiry_deadline(struct call *call, int64_t value, bool seconds, bool relative,
                     bool must_be_positive, int64_t *deadline_unix_ms)
{
    int64_t deadline = value;
    bool valid = !must_be_positive || value > 0;

    if (valid && seconds)
        valid = !__builtin_mul_overflow(deadline, 1000, &deadline);
    if (valid && relative)
        valid = !__builtin_add_overflow(deadline, call->now_unix_ms, &deadline);
    if (!valid) {
        reply_errorf(call->reply, "invalid expire time in '%s' command",
                     command_full_name(call->node->commands, call->command));
        return false;
    }
    *deadline_unix_ms = deadline;
    return true;
}

bool text_to_long_double(struct text text, long double *value)
{
    char copy[FLOAT_TEXT_MAX];
    char *end;

    if (text.len_bytes == 0 || text.len_bytes >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.len_bytes);
    copy[text.len_bytes] = '\0';
    if (copy[0] == ' ' || (copy[0] >= '\t' && copy[0] <= '\r'))
        return false;
    errno = 0;
    *value = strtold(copy, &end);
    if ((size_t)(end - copy) != text.len_bytes || isnan(*value))
        return false;
    return !(errno == ERANGE &&
             (*value == HUGE_VALL || *value == -HUGE_VALL || fpclassify(*value) == FP_ZERO));
}

size_t long_double_to_text(long double value, char text[FLOAT_TEXT_MAX])
{
    int len = snprintf(text, FLOAT_TEXT_MAX, "%.17Lf", value);

    if (memchr(text, '.', (size_t)len) != NULL) {
        while (text[len - 1] == '0')
            len--;
        if (text[len - 1] == '.')
            len--;
    }
    if (len == 2 && text[0] == '-' && text[1] == '0') {
        text[0] = '0';
        len = 1;
    }
    return (size_t)len;
}

bool long_double_is_finite(long double value)
{
    return isfinite(value);
}

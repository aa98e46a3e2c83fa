#include "dataplane/commands/key_spec.h"

#include <limits.h>

/* The word behind a keyword; negative positions look backwards from the end. 0: not there. */
static int64_t after_keyword(const struct key_spec *spec, const struct text *argv, uint32_t argc)
{
    bool forward = spec->begin_index > 0;
    int64_t from = forward ? spec->begin_index : (int64_t)argc + spec->begin_index;
    int64_t step = forward ? 1 : -1;

    for (int64_t i = from; i >= 1 && i < argc; i += step)
        if (text_is(argv[i], spec->begin_keyword))
            return i + 1;
    return 0;
}

static int64_t begin(const struct key_spec *spec, const struct text *argv, uint32_t argc)
{
    switch ((enum key_begin)spec->begin_kind) {
    case KEY_BEGIN_INDEX:
        return spec->begin_index;
    case KEY_BEGIN_KEYWORD:
        return after_keyword(spec, argv, argc);
    case KEY_BEGIN_UNUSED:
    case KEY_BEGIN_UNKNOWN:
        break;
    }
    return 0;
}

static int64_t range_end(const struct key_spec *spec, int64_t first, uint32_t argc)
{
    if (spec->last >= 0)
        return first + spec->last;
    if (spec->limit <= 1)
        return (int64_t)argc + spec->last;
    /* Only a part of what follows are keys: half of it for 2, as in XREAD. */
    return first + (argc - first) / spec->limit + spec->last;
}

/* Keys are counted by an argument. */
static bool counted(const struct key_spec *spec, const struct text *argv, uint32_t argc,
                    struct key_range *range)
{
    int64_t at = range->first + spec->keynum_index, count;

    if (at >= argc || !text_to_integer(argv[at], &count) || count < 0 || count > INT_MAX)
        return false;
    range->first += spec->first_key;
    range->last = range->first + (count - 1) * range->step;
    return range->last < argc; /* fewer than announced: malformed */
}

bool key_spec_find(const struct key_spec *spec, const struct text *argv, uint32_t argc,
                   struct key_range *range)
{
    range->first = begin(spec, argv, argc);
    range->step = spec->step;
    if (range->first <= 0 || range->first >= argc)
        return false;
    switch ((enum key_find)spec->find_kind) {
    case KEY_FIND_RANGE:
        range->last = range_end(spec, range->first, argc);
        break;
    case KEY_FIND_KEYNUM:
        if (!counted(spec, argv, argc, range))
            return false;
        break;
    case KEY_FIND_UNUSED:
    case KEY_FIND_UNKNOWN:
        return false;
    }
    if (range->last >= argc)
        range->last = (int64_t)argc - 1;
    return range->last >= range->first;
}

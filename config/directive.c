#include "config/directive.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* ---- Finding ------------------------------------------------------------------------------- */

static bool name_is(const char *name, const char *bytes, size_t len)
{
    return name != NULL && strlen(name) == len && strncasecmp(name, bytes, len) == 0;
}

const struct directive *directive_find(const char *name, size_t name_len, bool *aliased)
{
    for (unsigned i = 0; i < directive_count; i++) {
        bool by_alias = name_is(directives[i].alias, name, name_len);

        if (by_alias || name_is(directives[i].name, name, name_len)) {
            if (aliased != NULL)
                *aliased = by_alias;
            return &directives[i];
        }
    }
    return NULL;
}

/* ---- Reading scalars: each returns NULL or a reason ---------------------------------------- */

/* Reads digits; false if there are none or the number does not fit. `*end` is behind them. */
static bool read_digits(const char *text, const char **end, int64_t *number)
{
    int64_t value = 0;

    for (*end = text; **end >= '0' && **end <= '9'; ++*end) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, **end - '0', &value))
            return false;
    }
    *number = value;
    return *end != text;
}

/* As strict as Redis: no plus sign, no leading zero, no "-0", nothing around it. */
static const char *read_integer(const char *text, int64_t *number)
{
    static const char reason[] = "argument couldn't be parsed into an integer";
    const char *digits = text + (*text == '-');
    const char *end;

    if (digits[0] == '0' && (digits != text || digits[1] != '\0'))
        return reason;
    if (strcmp(text, "-9223372036854775808") == 0) {
        *number = INT64_MIN;
        return NULL;
    }
    if (!read_digits(digits, &end, number) || *end != '\0')
        return reason;
    if (digits != text)
        *number = -*number;
    return NULL;
}

static const char *read_octal(const char *text, int64_t *number)
{
    int64_t value = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '7' && value <= INT32_MAX; at++)
        value = value * 8 + (*at - '0');
    *number = value;
    return at != text && *at == '\0' ? NULL : "argument couldn't be parsed as an octal number";
}

/* A number of bytes: 1k is 1000, 1kb is 1024, and so on for m and g. No digits are 0, as in Redis. */
static bool read_bytes(const char *text, int64_t *number)
{
    static const struct {
        const char *unit;
        int64_t factor;
    } units[] = {{"", 1},        {"b", 1},        {"k", 1000},       {"kb", 1 << 10},
                 {"m", 1000000}, {"mb", 1 << 20}, {"g", 1000000000}, {"gb", 1 << 30}};
    const char *end;

    if (!read_digits(text, &end, number) && end != text)
        return false;
    for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcasecmp(end, units[i].unit) == 0)
            return !__builtin_mul_overflow(*number, units[i].factor, number);
    }
    return false;
}

/* A share of `maxmemory` is kept as a negative number. */
static const char *read_share(const char *text, int64_t *number)
{
    static const char reason[] = "argument must be a memory or percent value";
    const char *end;

    if (strchr(text, '%') == NULL)
        return read_bytes(text, number) ? NULL : reason;
    if (!read_digits(text, &end, number) || strcmp(end, "%") != 0)
        return reason;
    if (*number > 100)
        return "percentage argument must be less or equal to 100";
    *number = -*number;
    return NULL;
}

static int read_choice(const struct directive *directive, const char *text, int64_t *number,
                       char reason[DIRECTIVE_REASON_MAX])
{
    const struct directive_choice *choice = directive->choices;
    size_t used;

    for (; choice->name != NULL; choice++) {
        if (strcasecmp(choice->name, text) != 0)
            continue;
        *number = choice->number;
        if (!choice->later)
            return 0;
        snprintf(reason, DIRECTIVE_REASON_MAX, "'%s' is not supported yet", choice->name);
        return -EINVAL;
    }
    used = (size_t)snprintf(reason, DIRECTIVE_REASON_MAX,
                            "argument(s) must be one of the following: ");
    for (choice = directive->choices; choice->name != NULL && used < DIRECTIVE_REASON_MAX; choice++)
        used += (size_t)snprintf(reason + used, DIRECTIVE_REASON_MAX - used, "%s%s",
                                 choice == directive->choices ? "" : ", ", choice->name);
    return -EINVAL;
}

static int refuse(char reason[DIRECTIVE_REASON_MAX], const char *text)
{
    snprintf(reason, DIRECTIVE_REASON_MAX, "%s", text);
    return -EINVAL;
}

static int read_number(const struct directive *directive, const char *text, int64_t *number,
                       char reason[DIRECTIVE_REASON_MAX])
{
    const char *bad = NULL;

    switch (directive->kind) {
    case DIRECTIVE_BOOL:
        *number = strcasecmp(text, "yes") == 0;
        return *number == 1 || strcasecmp(text, "no") == 0
                   ? 0
                   : refuse(reason, "argument must be 'yes' or 'no'");
    case DIRECTIVE_ENUM:
        return read_choice(directive, text, number, reason);
    case DIRECTIVE_OCTAL:
        bad = read_octal(text, number);
        break;
    case DIRECTIVE_MEMORY:
        bad = read_bytes(text, number) ? NULL : "argument must be a memory value";
        break;
    case DIRECTIVE_MEMORY_SHARE:
        bad = read_share(text, number);
        break;
    default:
        bad = read_integer(text, number);
        break;
    }
    if (bad != NULL)
        return refuse(reason, bad);
    if (*number >= directive->min && *number <= directive->max)
        return 0;
    snprintf(reason, DIRECTIVE_REASON_MAX,
             directive->kind == DIRECTIVE_OCTAL
                 ? "argument must be between %llo and %llo inclusive"
                 : "argument must be between %lld and %lld inclusive",
             (long long)directive->min, (long long)directive->max);
    return -EINVAL;
}

/* ---- Reading what has several arguments ---------------------------------------------------- */

static int no_memory(char reason[DIRECTIVE_REASON_MAX])
{
    refuse(reason, "out of memory");
    return -ENOMEM;
}

/* Whether a word can stand in a list: one that needs quotes, or is empty, is a slip of the pen. */
static bool is_plain_word(const char *word)
{
    const char *at = word;

    for (; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~' || strchr("\"'\\#", *at) != NULL)
            return false;
    }
    return at != word;
}

/* One block holds the list and its words, so that one free is enough. */
static int read_list(const char *const *argv, unsigned argc, struct directive_value *value,
                     char reason[DIRECTIVE_REASON_MAX])
{
    size_t bytes = sizeof(struct config_list) + argc * sizeof(char *);

    if (argc > CONFIG_BIND_MAX)
        return refuse(reason, "Too many bind addresses specified.");
    for (unsigned i = 0; i < argc; i++) {
        if (strlen(argv[i]) > DIRECTIVE_WORD_MAX)
            return refuse(reason, "argument is too long");
        if (!is_plain_word(argv[i]))
            return refuse(reason, "argument must be a list of plain words");
        bytes += strlen(argv[i]) + 1;
    }
    struct config_list *list = malloc(bytes);
    if (list == NULL)
        return no_memory(reason);
    char *text = (char *)&list->items[argc];
    list->count = argc;
    for (unsigned i = 0; i < argc; i++) {
        list->items[i] = text;
        text = stpcpy(text, argv[i]) + 1;
    }
    value->object = list;
    return 0;
}

static int read_save(const char *const *argv, unsigned argc, struct directive_value *value,
                     char reason[DIRECTIVE_REASON_MAX])
{
    static const char bad[] = "Invalid save parameters";
    int64_t seconds, changes;

    if (argc % 2 != 0)
        return refuse(reason, bad);
    for (unsigned i = 0; i < argc; i += 2) {
        if (read_integer(argv[i], &seconds) != NULL ||
            read_integer(argv[i + 1], &changes) != NULL || seconds < 1 || changes < 0)
            return refuse(reason, bad);
    }
    value->number = argc / 2;
    return 0;
}

static int client_class(const char *name)
{
    static const char *const names[] = {"normal", "slave", "pubsub"};

    if (strcasecmp(name, "replica") == 0)
        return CONFIG_CLASS_REPLICA;
    for (int class = 0; class < CONFIG_CLASSES; class ++) {
        if (strcasecmp(name, names[class]) == 0)
            return class;
    }
    return -1;
}

static int read_limits(const char *const *argv, unsigned argc, struct directive_value *value,
                       char reason[DIRECTIVE_REASON_MAX])
{
    if (argc % 4 != 0)
        return refuse(reason, "Wrong number of arguments in buffer limit configuration.");
    for (unsigned i = 0; i < argc; i += 4) {
        int class = client_class(argv[i]);

        if (class < 0)
            return refuse(reason, "Invalid client class specified in buffer limit configuration.");
        value->limits[class].given = true;
        if (!read_bytes(argv[i + 1], &value->limits[class].hard_bytes) ||
            !read_bytes(argv[i + 2], &value->limits[class].soft_bytes) ||
            read_integer(argv[i + 3], &value->limits[class].soft_seconds) != NULL ||
            value->limits[class].soft_seconds < 0)
            return refuse(reason, "Error in hard, soft or soft_seconds setting in buffer limit "
                                  "configuration.");
    }
    return 0;
}

static int read_percentiles(const char *const *argv, unsigned argc, struct directive_value *value,
                            char reason[DIRECTIVE_REASON_MAX])
{
    if (argc > CONFIG_PERCENTILES_MAX)
        return refuse(reason, "too many percentiles");
    struct config_percentiles *list = malloc(sizeof(*list) + argc * sizeof(double));
    if (list == NULL)
        return no_memory(reason);
    value->object = list;
    list->count = argc;
    for (unsigned i = 0; i < argc; i++) {
        char *end;

        list->values[i] = strtod(argv[i], &end);
        /* strtod skips blanks in front; an empty argument is no number either. */
        if (argv[i][0] == '\0' || strchr(" \t\n\v\f\r", argv[i][0]) != NULL || *end != '\0' ||
            isnan(list->values[i]))
            return refuse(reason, "Invalid latency-tracking-info-percentiles parameters");
        if (list->values[i] < 0 || list->values[i] > 100)
            return refuse(reason, "latency-tracking-info-percentiles parameters should sit between "
                                  "[0.0,100.0]");
    }
    return 0;
}

static int read_string(const char *text, struct directive_value *value,
                       char reason[DIRECTIVE_REASON_MAX])
{
    value->object = strdup(text);
    return value->object != NULL ? 0 : no_memory(reason);
}

/* ---- Reading a directive ------------------------------------------------------------------- */

static int read_value(const struct directive *directive, const char *const *argv, unsigned argc,
                      struct directive_value *value, char reason[DIRECTIVE_REASON_MAX])
{
    const char *bad = NULL;
    int result;

    switch (directive->kind) {
    case DIRECTIVE_LIST:
        return read_list(argv, argc, value, reason);
    case DIRECTIVE_SAVE:
        return read_save(argv, argc, value, reason);
    case DIRECTIVE_LIMITS:
        return read_limits(argv, argc, value, reason);
    case DIRECTIVE_PERCENTILES:
        return read_percentiles(argv, argc, value, reason);
    case DIRECTIVE_STRING:
    case DIRECTIVE_DIR:
        result = read_string(argv[0], value, reason);
        break;
    default:
        result = read_number(directive, argv[0], &value->number, reason);
        break;
    }
    if (result == 0 && directive->check != NULL)
        bad = directive->check(argv[0], value->number);
    return bad != NULL ? refuse(reason, bad) : result;
}

/* Cuts `text` at each single space, as Redis does with the value of a directive that takes several
 * arguments; an empty text is no argument. Returns the count, or -E2BIG. */
static int cut(char *text, const char *words[DIRECTIVE_WORDS_MAX])
{
    unsigned count = 0;

    while (*text != '\0' || count > 0) {
        if (count == DIRECTIVE_WORDS_MAX)
            return -E2BIG;
        words[count++] = text;
        text = strchr(text, ' ');
        if (text == NULL)
            break;
        *text++ = '\0';
    }
    return (int)count;
}

/* Reads arguments of the right number. */
static int parse_words(const struct directive *directive, const char *const *argv, unsigned argc,
                       struct directive_value *value, char reason[DIRECTIVE_REASON_MAX])
{
    const char *words[DIRECTIVE_WORDS_MAX];

    if (!(directive->flags & DIRECTIVE_MULTI) || argc > 1)
        return read_value(directive, argv, argc, value, reason);
    char *copy = strdup(argv[0]);
    if (copy == NULL)
        return no_memory(reason);
    int count = cut(copy, words);
    int result = count < 0 ? refuse(reason, "too many arguments")
                           : read_value(directive, words, (unsigned)count, value, reason);
    free(copy);
    return result;
}

static bool lists_equal(const struct config_list *a, const struct config_list *b)
{
    if (a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++) {
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    }
    return true;
}

/* Limits are left out: there is no directive of the kind whose feature is not there. */
static bool values_equal(const struct directive *directive, const struct directive_value *a,
                         const struct directive_value *b)
{
    switch (directive->kind) {
    case DIRECTIVE_STRING:
    case DIRECTIVE_DIR:
        return strcmp(a->object, b->object) == 0;
    case DIRECTIVE_LIST:
        return lists_equal(a->object, b->object);
    case DIRECTIVE_PERCENTILES: {
        const struct config_percentiles *p = a->object;
        const struct config_percentiles *q = b->object;
        return p->count == q->count &&
               memcmp(p->values, q->values, p->count * sizeof(p->values[0])) == 0;
    }
    default:
        return a->number == b->number;
    }
}

/* Whether `value` is what `text` means for the directive; 1, 0 or -errno. */
static int means(const struct directive *directive, const struct directive_value *value,
                 const char *text)
{
    char ignored[DIRECTIVE_REASON_MAX];
    struct directive_value other = {0};
    int result = parse_words(directive, &text, 1, &other, ignored);

    if (result == 0)
        result = values_equal(directive, value, &other);
    directive_drop(&other);
    return result;
}

/* The feature is not there: only the value that means off, or what would happen anyway, will do. */
static int check_later(const struct directive *directive, const struct directive_value *value,
                       char reason[DIRECTIVE_REASON_MAX])
{
    int same = means(directive, value, directive->fallback);

    if (same == 0 && directive->also != NULL)
        same = means(directive, value, directive->also);
    if (same < 0)
        return no_memory(reason);
    if (same)
        return 0;
    snprintf(reason, DIRECTIVE_REASON_MAX, "not supported yet: only '%s' is accepted%s%s",
             directive->fallback, directive->advice != NULL ? "; " : "",
             directive->advice != NULL ? directive->advice : "");
    return -EINVAL;
}

int directive_parse(const struct directive *directive, const char *const *argv, unsigned argc,
                    struct directive_value *value, char reason[DIRECTIVE_REASON_MAX])
{
    *value = (struct directive_value){0};
    if (argc == 0 || (argc > 1 && !(directive->flags & DIRECTIVE_MULTI)))
        return refuse(reason, "wrong number of arguments");
    int result = parse_words(directive, argv, argc, value, reason);
    if (result == 0 && (directive->flags & DIRECTIVE_LATER))
        result = check_later(directive, value, reason);
    if (result < 0)
        directive_drop(value);
    return result;
}

void directive_drop(struct directive_value *value)
{
    free(value->object);
    value->object = NULL;
}

/* ---- Storing ------------------------------------------------------------------------------- */

static _Atomic int64_t *number_of(const struct config *config, const struct directive *directive)
{
    return (_Atomic int64_t *)((char *)config + directive->offset);
}

/* All pointers to values look alike to the machine; the kind tells them apart. */
static void *_Atomic *object_of(const struct config *config, const struct directive *directive)
{
    return (void *_Atomic *)((char *)config + directive->offset);
}

static void swap_number(_Atomic int64_t *stored, int64_t *number)
{
    *number = atomic_exchange_explicit(stored, *number, memory_order_relaxed);
}

static void swap_limits(struct config *config, struct directive_value *value)
{
    for (unsigned class = 0; class < CONFIG_CLASSES; class ++) {
        struct config_limit *limit = &config->client_output_buffer_limit[class];

        if (!value->limits[class].given)
            continue;
        swap_number(&limit->hard_bytes, &value->limits[class].hard_bytes);
        swap_number(&limit->soft_bytes, &value->limits[class].soft_bytes);
        swap_number(&limit->soft_seconds, &value->limits[class].soft_seconds);
    }
}

/* Enters the directory, and makes the path absolute: it is to mean the same tomorrow. */
static int enter_dir(struct directive_value *value)
{
    if (chdir(value->object) != 0)
        return -errno;
    char *absolute = getcwd(NULL, 0);
    if (absolute != NULL) {
        free(value->object);
        value->object = absolute;
    }
    return 0;
}

int directive_swap(struct config *config, const struct directive *directive,
                   struct directive_value *value)
{
    int result;

    if (directive->flags & DIRECTIVE_LATER)
        return 0;
    switch (directive->kind) {
    case DIRECTIVE_DIR:
        result = enter_dir(value);
        if (result < 0)
            return result;
        break;
    case DIRECTIVE_STRING:
    case DIRECTIVE_LIST:
    case DIRECTIVE_PERCENTILES:
        break;
    case DIRECTIVE_LIMITS:
        swap_limits(config, value);
        return 0;
    default:
        swap_number(number_of(config, directive), &value->number);
        return 0;
    }
    value->object =
        atomic_exchange_explicit(object_of(config, directive), value->object, memory_order_acq_rel);
    return 0;
}

static bool limits_hold(const struct config *config, const struct directive_value *value)
{
    for (unsigned class = 0; class < CONFIG_CLASSES; class ++) {
        const struct config_limit *limit = &config->client_output_buffer_limit[class];

        if (value->limits[class].given &&
            (limit->hard_bytes != value->limits[class].hard_bytes ||
             limit->soft_bytes != value->limits[class].soft_bytes ||
             limit->soft_seconds != value->limits[class].soft_seconds))
            return false;
    }
    return true;
}

bool directive_holds(const struct config *config, const struct directive *directive,
                     const struct directive_value *value)
{
    struct directive_value stored = {0};

    if (directive->flags & DIRECTIVE_LATER)
        return true;
    switch (directive->kind) {
    case DIRECTIVE_LIMITS:
        return limits_hold(config, value);
    case DIRECTIVE_STRING:
    case DIRECTIVE_DIR:
    case DIRECTIVE_LIST:
    case DIRECTIVE_PERCENTILES:
        stored.object = atomic_load_explicit(object_of(config, directive), memory_order_acquire);
        break;
    default:
        stored.number = atomic_load_explicit(number_of(config, directive), memory_order_relaxed);
        break;
    }
    return values_equal(directive, &stored, value);
}

/* ---- Showing ------------------------------------------------------------------------------- */

/* Appends to a text of DIRECTIVE_TEXT_MAX bytes; the bounds of the parts keep it from being cut. */
__attribute__((format(printf, 3, 4))) static void append(char *text, size_t *len,
                                                         const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int added = vsnprintf(text + *len, DIRECTIVE_TEXT_MAX - *len, format, args);
    va_end(args);
    if (added > 0)
        *len += (size_t)added;
    if (*len >= DIRECTIVE_TEXT_MAX)
        *len = DIRECTIVE_TEXT_MAX - 1;
}

static void list_text(const struct config_list *list, char *text, size_t *len)
{
    for (unsigned i = 0; i < list->count; i++)
        append(text, len, "%s%s", i > 0 ? " " : "", list->items[i]);
}

/* Six digits at most, without the zeros at the end: 50, 99.9. */
static void percentiles_text(const struct config_percentiles *list, char *text, size_t *len)
{
    for (unsigned i = 0; i < list->count; i++) {
        append(text, len, "%s%.6f", i > 0 ? " " : "", list->values[i]);
        while (text[*len - 1] == '0')
            --*len;
        if (text[*len - 1] == '.')
            --*len;
        text[*len] = '\0';
    }
}

static void limits_text(const struct config *config, char *text, size_t *len)
{
    static const char *const names[] = {"normal", "slave", "pubsub"};

    for (unsigned class = 0; class < CONFIG_CLASSES; class ++) {
        const struct config_limit *limit = &config->client_output_buffer_limit[class];

        append(text, len, "%s%s %lld %lld %lld", class > 0 ? " " : "", names[class],
               (long long)limit->hard_bytes, (long long)limit->soft_bytes,
               (long long)limit->soft_seconds);
    }
}

static void number_text(const struct directive *directive, int64_t number, char *text, size_t *len)
{
    const struct directive_choice *choice = directive->choices;

    switch (directive->kind) {
    case DIRECTIVE_BOOL:
        append(text, len, "%s", number ? "yes" : "no");
        break;
    case DIRECTIVE_ENUM:
        while (choice->name != NULL && (choice->later || choice->number != number))
            choice++;
        append(text, len, "%s", choice->name != NULL ? choice->name : "unknown");
        break;
    case DIRECTIVE_OCTAL:
        append(text, len, "%llo", (unsigned long long)number);
        break;
    default:
        append(text, len, "%lld", (long long)number);
        break;
    }
}

/* What CONFIG GET shows of a directive that has no value of its own. */
static const char *later_text(const struct directive *directive, char *text, size_t *len)
{
    if (directive->kind == DIRECTIVE_MEMORY) {
        int64_t bytes = 0;

        read_bytes(directive->fallback, &bytes);
        append(text, len, "%lld", (long long)bytes);
        return text;
    }
    *len = strlen(directive->fallback);
    return directive->fallback;
}

const char *directive_text(const struct config *config, const struct directive *directive,
                           char buffer[DIRECTIVE_TEXT_MAX], size_t *len)
{
    void *object;

    *len = 0;
    buffer[0] = '\0';
    if (directive->flags & DIRECTIVE_LATER)
        return later_text(directive, buffer, len);
    switch (directive->kind) {
    case DIRECTIVE_STRING:
    case DIRECTIVE_DIR:
        object = atomic_load_explicit(object_of(config, directive), memory_order_acquire);
        *len = strlen(object);
        return object;
    case DIRECTIVE_LIST:
        object = atomic_load_explicit(object_of(config, directive), memory_order_acquire);
        list_text(object, buffer, len);
        break;
    case DIRECTIVE_PERCENTILES:
        object = atomic_load_explicit(object_of(config, directive), memory_order_acquire);
        percentiles_text(object, buffer, len);
        break;
    case DIRECTIVE_LIMITS:
        limits_text(config, buffer, len);
        break;
    default:
        number_text(directive,
                    atomic_load_explicit(number_of(config, directive), memory_order_relaxed),
                    buffer, len);
        break;
    }
    return buffer;
}

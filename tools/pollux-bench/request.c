#include "tools/pollux-bench/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct request_verb_info {
    const char *name;
    const char *command;
    int keys; /* -1: the option `multi` */
    int has_value;
} request_verbs[REQUEST_VERBS] = {
    [REQUEST_PING] = {"ping", "PING", 0, 0},  [REQUEST_GET] = {"get", "GET", 1, 0},
    [REQUEST_SET] = {"set", "SET", 1, 1},     [REQUEST_SETNEW] = {"setnew", "SET", 1, 1},
    [REQUEST_INCR] = {"incr", "INCR", 1, 0},  [REQUEST_MSET] = {"mset", "MSET", -1, 1},
    [REQUEST_MGET] = {"mget", "MGET", -1, 0},
};

static uint32_t key_digits(const struct key_format *format)
{
    uint32_t fixed = (uint32_t)strlen(format->prefix) + (format->group > 0 ? 4 : 0);
    return format->len_bytes > fixed ? format->len_bytes - fixed : 0;
}

int key_format_check(const struct key_format *format, uint64_t count)
{
    uint64_t numbers = format->group > 0 ? count / format->group : count;
    uint32_t needed = 1;

    for (uint64_t largest = numbers > 0 ? numbers - 1 : 0; largest >= 10; largest /= 10)
        needed++;
    if (format->len_bytes > KEY_LEN_MAX || format->group > KEY_GROUP_MAX ||
        key_digits(format) < needed)
        return -EINVAL;
    return 0;
}

static void key_write_digits(uint64_t number, uint32_t digits, char *out)
{
    memset(out, '0', digits);
    for (char *at = out + digits; number > 0 && at > out; number /= 10)
        *--at = (char)('0' + number % 10);
}

void key_format_write(const struct key_format *format, uint64_t number, char *out)
{
    size_t prefix_len = strlen(format->prefix);
    uint32_t digits = key_digits(format);

    if (format->group == 0) {
        memcpy(out, format->prefix, prefix_len);
        key_write_digits(number, digits, out + prefix_len);
        return;
    }
    *out++ = '{';
    memcpy(out, format->prefix, prefix_len);
    out += prefix_len;
    key_write_digits(number / format->group, digits, out);
    out += digits;
    *out++ = '}';
    key_write_digits(number % format->group, 2, out);
}

static uint64_t request_random_bits(struct request *request)
{
    uint64_t x = request->random;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    request->random = x;
    return x * 0x2545F4914F6CDD1DULL;
}

uint64_t request_random(struct request *request, uint64_t bound)
{
    __extension__ unsigned __int128 product = request_random_bits(request);

    return (uint64_t)((product * bound) >> 64);
}

double request_random_unit(struct request *request)
{
    return (double)(request_random_bits(request) >> 11) * 0x1p-53;
}

/* ---- Value sizes ------------------------------------------------------------------------------
 */

static int sizes_add(struct request_sizes *sizes, unsigned long bytes, unsigned long weight)
{
    if (sizes->count == REQUEST_SIZES_MAX || bytes > REQUEST_VALUE_MAX || weight == 0 ||
        weight > 1000000)
        return -EINVAL;
    sizes->list[sizes->count].bytes = (uint32_t)bytes;
    sizes->list[sizes->count].weight = (uint32_t)weight;
    sizes->total += weight;
    sizes->count++;
    return 0;
}

static int sizes_range(struct request_sizes *sizes, unsigned long first, const char *text)
{
    char *end;
    unsigned long last = strtoul(text, &end, 10);

    if (end == text || *end != '\0' || last <= first || last > REQUEST_VALUE_MAX)
        return -EINVAL;
    uint32_t steps = last - first + 1 < REQUEST_SIZES_MAX ? (uint32_t)(last - first + 1)
                                                          : (uint32_t)REQUEST_SIZES_MAX;
    for (uint32_t i = 0; i < steps; i++) {
        int status = sizes_add(sizes, first + (last - first) * i / (steps - 1), 1);
        if (status < 0)
            return status;
    }
    return 0;
}

int request_sizes_parse(struct request_sizes *sizes, const char *text)
{
    *sizes = (struct request_sizes){0};
    for (;;) {
        char *end;
        unsigned long weight = 1;
        unsigned long bytes = strtoul(text, &end, 10);
        if (end == text || text[0] < '0' || text[0] > '9')
            return -EINVAL;
        if (*end == '-' && sizes->count == 0)
            return sizes_range(sizes, bytes, end + 1);
        if (*end == '=') {
            text = end + 1;
            weight = strtoul(text, &end, 10);
            if (end == text || *text < '0' || *text > '9')
                return -EINVAL;
        }
        if (sizes_add(sizes, bytes, weight) < 0 || (*end != ',' && *end != '\0'))
            return -EINVAL;
        if (*end == '\0')
            return 0;
        text = end + 1;
    }
}

static uint32_t sizes_longest(const struct request_sizes *sizes)
{
    uint32_t longest = 0;

    for (uint32_t i = 0; i < sizes->count; i++)
        longest = sizes->list[i].bytes > longest ? sizes->list[i].bytes : longest;
    return longest;
}

/* The index of a size, by its weight. */
static uint32_t request_size(struct request *request)
{
    const struct request_sizes *sizes = &request->options.sizes;

    if (sizes->count == 1)
        return 0;
    uint64_t at = request_random(request, sizes->total);
    uint32_t index = 0;
    while (at >= sizes->list[index].weight)
        at -= sizes->list[index++].weight;
    return index;
}

/* ---- Commands ---------------------------------------------------------------------------------
 */

/* Letters, so that no server stores it as a number, or digits, so that INCR takes it. */
static void request_value(const struct request_options *options, uint32_t len_bytes, char *out)
{
    memset(out, options->value_is_integer ? '1' : 'v', len_bytes);
}

/* Writes one bulk string without its contents. Returns where those go. */
static char *request_bulk(char **at, uint32_t len_bytes)
{
    *at += sprintf(*at, "$%u\r\n", len_bytes);
    char *contents = *at;
    memcpy(contents + len_bytes, "\r\n", 2);
    *at = contents + len_bytes + 2;
    return contents;
}

static void request_word(char **at, const char *word)
{
    uint32_t len = (uint32_t)strlen(word);
    memcpy(request_bulk(at, len), word, len);
}

static int request_template_init(struct request_template *template,
                                 const struct request_options *options, enum request_verb verb,
                                 uint32_t value_bytes)
{
    const struct request_verb_info *info = &request_verbs[verb];
    uint32_t keys = info->keys < 0 ? options->multi : (uint32_t)info->keys;
    int has_ttl = options->ttl_s > 0 && (verb == REQUEST_SET || verb == REQUEST_SETNEW);
    uint32_t words = 1 + keys * (info->has_value ? 2 : 1) + (has_ttl ? 2 : 0);
    size_t each = 32 + options->format.len_bytes + (info->has_value ? value_bytes : 0);

    template->bytes = malloc(128 + keys * each);
    if (template->bytes == NULL)
        return -ENOMEM;
    char *at = template->bytes;
    at += sprintf(at, "*%u\r\n", words);
    request_word(&at, info->command);
    for (uint32_t i = 0; i < keys; i++) {
        char *key = request_bulk(&at, options->format.len_bytes);
        key_format_write(&options->format, 0, key);
        template->key_offset[i] = (uint32_t)(key - template->bytes);
        if (info->has_value)
            request_value(options, value_bytes, request_bulk(&at, value_bytes));
    }
    if (has_ttl) {
        char seconds[24];
        snprintf(seconds, sizeof(seconds), "%llu", (unsigned long long)options->ttl_s);
        request_word(&at, "EX");
        request_word(&at, seconds);
    }
    template->keys = keys;
    template->len_bytes = (uint32_t)(at - template->bytes);
    return 0;
}

/* Reads one "verb=times" up to a comma or the end. Returns the bytes read or -EINVAL. */
static int request_mix_part(const char *text, enum request_verb *verb, uint32_t *times)
{
    size_t name_len = strcspn(text, "=,");
    int part_len = (int)strcspn(text, ",");
    char *end = NULL;

    *times = 1;
    if (text[name_len] == '=') {
        unsigned long number = strtoul(text + name_len + 1, &end, 10);
        if (end != text + part_len || number == 0 || number > REQUEST_CYCLE_MAX)
            return -EINVAL;
        *times = (uint32_t)number;
    }
    for (int i = 0; i < REQUEST_VERBS; i++) {
        if (strlen(request_verbs[i].name) == name_len &&
            memcmp(request_verbs[i].name, text, name_len) == 0) {
            *verb = (enum request_verb)i;
            return part_len;
        }
    }
    return -EINVAL;
}

/* One for each value size, or a single one where the command has no value. */
static int request_templates(struct request *request, enum request_verb verb)
{
    const struct request_options *options = &request->options;
    uint32_t count = request_verbs[verb].has_value ? options->sizes.count : 1;

    for (uint32_t i = 0; i < count; i++) {
        struct request_template *template = &request->templates[verb][i];
        if (request_template_init(template, options, verb, options->sizes.list[i].bytes) < 0)
            return -ENOMEM;
        if (template->len_bytes > request->longest_bytes)
            request->longest_bytes = template->len_bytes;
    }
    return 0;
}

static int request_mix(struct request *request, const char *mix)
{
    for (;;) {
        enum request_verb verb;
        uint32_t times;
        int len = request_mix_part(mix, &verb, &times);
        if (len < 0 || request->cycle_len + times > REQUEST_CYCLE_MAX)
            return -EINVAL;
        if (request->templates[verb][0].bytes == NULL && request_templates(request, verb) < 0)
            return -ENOMEM;
        memset(request->cycle + request->cycle_len, (int)verb, times);
        request->cycle_len += times;
        if (mix[len] == '\0')
            return 0;
        mix += len + 1;
    }
}

int request_init(struct request *request, const struct request_options *options, const char *mix)
{
    memset(request, 0, sizeof(*request));
    request->options = *options;
    request->next_number = options->next_number;
    request->random = (options->seed + 1) * 0x9E3779B97F4A7C15ULL;
    if (request->random == 0)
        request->random = 1;
    if (options->multi == 0 || options->multi > REQUEST_KEYS_MAX || options->sizes.count == 0 ||
        (options->value_is_integer && sizes_longest(&options->sizes) > 15) ||
        (options->format.group > 0 && options->multi > options->format.group))
        return -EINVAL;
    int status = request_mix(request, mix);
    if (status < 0)
        request_fini(request);
    return status;
}

void request_fini(struct request *request)
{
    for (int verb = 0; verb < REQUEST_VERBS; verb++) {
        for (int i = 0; i < REQUEST_SIZES_MAX; i++) {
            free(request->templates[verb][i].bytes);
            request->templates[verb][i].bytes = NULL;
        }
    }
}

static uint64_t request_pick(struct request *request, const struct key_pick *pick)
{
    uint64_t at = 0;

    if (pick->zipf.n == 0)
        at = request_random(request, pick->count);
    else
        while (!zipf_try(&pick->zipf, request_random_unit(request), &at))
            continue;
    return pick->list != NULL ? pick->list[at] : at;
}

/* Fills the key places of one command in `out`. */
static void request_fill(struct request *request, const struct request_template *template,
                         enum request_verb verb, const struct key_pick *pick, char *out)
{
    const struct key_format *format = &request->options.format;
    uint32_t group = format->group;
    uint64_t first = 0;

    if (verb == REQUEST_SETNEW) {
        key_format_write(format, request->next_number++, out + template->key_offset[0]);
        return;
    }
    if (group > 0) {
        first = request_pick(request, pick) * group;
        /* One key of the group at random, or the first ones of it, which share its slot. */
        if (template->keys == 1)
            first += request_random(request, group);
    }
    for (uint32_t i = 0; i < template->keys; i++) {
        uint64_t number = group > 0 ? first + i : request_pick(request, pick);
        key_format_write(format, number, out + template->key_offset[i]);
    }
}

uint32_t request_append(struct request *request, const struct key_pick *pick, char *out)
{
    enum request_verb verb = (enum request_verb)request->cycle[request->cycle_at];
    uint32_t size = request_verbs[verb].has_value ? request_size(request) : 0;
    const struct request_template *template = &request->templates[verb][size];

    if (++request->cycle_at == request->cycle_len)
        request->cycle_at = 0;
    memcpy(out, template->bytes, template->len_bytes);
    if (template->keys > 0)
        request_fill(request, template, verb, pick, out);
    return template->len_bytes;
}

uint32_t request_append_set(struct request *request, uint64_t number, char *out)
{
    const struct request_template *template =
        &request->templates[REQUEST_SETNEW][request_size(request)];

    memcpy(out, template->bytes, template->len_bytes);
    key_format_write(&request->options.format, number, out + template->key_offset[0]);
    return template->len_bytes;
}

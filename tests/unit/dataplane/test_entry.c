#include "dataplane/store/entry.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/dataplane/seed.h"

static struct text text_of(const char *string)
{
    return (struct text){.data = string, .len_bytes = strlen(string)};
}

static bool text_equal(struct text a, struct text b)
{
    return a.len_bytes == b.len_bytes &&
           (a.len_bytes == 0 || memcmp(a.data, b.data, a.len_bytes) == 0);
}

static bool holds(const struct entry *entry, const char *value)
{
    char number[24];

    return text_equal(entry_string(entry, number), text_of(value));
}

/* ---- layout ---- */

Test(entry, costs_a_header_of_eight_bytes)
{
    struct memory *memory = memory_create();
    struct text key = text_of("a-key-of-20-bytes---"), value = text_of("a-value-of-20-bytes-");
    struct entry *entry = entry_create_string(memory, key, value, -1);

    cr_assert_eq(entry_size_bytes(entry), 48);
    cr_assert_eq(entry_total_bytes(entry), 48);
    entry = entry_set_expiry(memory, entry, 1700000000000);
    cr_assert_eq(entry_size_bytes(entry), 56);
    entry = entry_set_integer(memory, entry, 7);
    cr_assert_eq(entry_size_bytes(entry), 44);
    entry_free(memory, entry);
    cr_assert_eq(memory_used_bytes(memory), 0);
    memory_destroy(memory);
}

Test(entry, takes_keys_of_any_length_and_any_bytes)
{
    static const size_t lengths[] = {0, 1, 254, 255, 256, 65535, 65536, 2 << 20};
    static char bytes[2 << 20];
    struct memory *memory = memory_create();

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 31);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct text key = {.data = bytes, .len_bytes = lengths[i]};
        struct entry *entry = entry_create_string(memory, key, text_of("v"), 99);

        cr_assert(text_equal(entry_key(entry), key));
        entry = entry_set_string(memory, entry, key);
        entry = entry_set_expiry(memory, entry, -1);
        cr_assert(text_equal(entry_key(entry), key));
        entry_free(memory, entry);
    }
    cr_assert_eq(memory_used_bytes(memory), 0);
    memory_destroy(memory);
}

Test(entry, access_is_24_bits)
{
    struct memory *memory = memory_create();
    struct entry *entry = entry_create_integer(memory, text_of("k"), 1, -1);

    cr_assert_eq(entry_access(entry), 0);
    entry_set_access(entry, 0xabcdef);
    entry = entry_set_string(memory, entry, text_of("something longer"));
    cr_assert_eq(entry_access(entry), 0xabcdef);
    entry_free(memory, entry);
    memory_destroy(memory);
}

/* ---- encodings: each line was asked of redis-server 7.0.15 (OBJECT ENCODING) ---- */

Test(entry, set_chooses_the_encoding_as_redis_does)
{
    static const struct {
        const char *value;
        enum entry_encoding encoding;
    } rows[] = {
        {"", ENTRY_ENC_EMBSTR},
        {"0", ENTRY_ENC_INT},
        {"-1", ENTRY_ENC_INT},
        {"-0", ENTRY_ENC_EMBSTR},
        {"00", ENTRY_ENC_EMBSTR},
        {"01", ENTRY_ENC_EMBSTR},
        {"+1", ENTRY_ENC_EMBSTR},
        {" 1", ENTRY_ENC_EMBSTR},
        {"1 ", ENTRY_ENC_EMBSTR},
        {"-", ENTRY_ENC_EMBSTR},
        {"1.5", ENTRY_ENC_EMBSTR},
        {"9223372036854775807", ENTRY_ENC_INT},
        {"9223372036854775808", ENTRY_ENC_EMBSTR},
        {"-9223372036854775808", ENTRY_ENC_INT},
        {"-9223372036854775809", ENTRY_ENC_EMBSTR},
        {"12345678901234567890", ENTRY_ENC_EMBSTR},
        {"123456789012345678901", ENTRY_ENC_EMBSTR},
        {"12345678901234567890123456789012345678901234", ENTRY_ENC_EMBSTR},
        {"123456789012345678901234567890123456789012345", ENTRY_ENC_RAW},
    };
    struct memory *memory = memory_create();
    struct entry *other = entry_create_string(memory, text_of("o"), text_of("x"), -1);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct entry *entry = entry_create_string(memory, text_of("k"), text_of(rows[i].value), -1);

        other = entry_set_string(memory, other, text_of(rows[i].value));
        cr_assert_eq(entry_encoding(entry), rows[i].encoding, "\"%s\"", rows[i].value);
        cr_assert_eq(entry_encoding(other), rows[i].encoding, "\"%s\"", rows[i].value);
        cr_assert(holds(entry, rows[i].value));
        cr_assert(holds(other, rows[i].value));
        cr_assert_eq(entry_string_len(entry), strlen(rows[i].value));
        entry_free(memory, entry);
    }
    entry_free(memory, other);
    memory_destroy(memory);
}

Test(entry, text_is_never_an_integer)
{
    struct memory *memory = memory_create();
    struct entry *entry = entry_create_text(memory, text_of("k"), text_of("4"), -1);
    int64_t value = 0;

    cr_assert_eq(entry_encoding(entry), ENTRY_ENC_EMBSTR);
    cr_assert_not(entry_string_is_integer(entry, &value));
    entry = entry_set_integer(memory, entry, 5);
    cr_assert(entry_string_is_integer(entry, &value));
    cr_assert_eq(value, 5);
    entry = entry_set_text(memory, entry, text_of("6"));
    cr_assert_eq(entry_encoding(entry), ENTRY_ENC_EMBSTR);
    cr_assert(holds(entry, "6"));
    entry_free(memory, entry);
    memory_destroy(memory);
}

Test(entry, what_is_written_into_becomes_raw)
{
    struct memory *memory = memory_create();
    struct entry *entry = entry_create_string(memory, text_of("k"), text_of("12"), -1);
    char *data;

    entry = entry_string_append(memory, entry, text_of("3"));
    cr_assert_eq(entry_encoding(entry), ENTRY_ENC_RAW);
    cr_assert(holds(entry, "123"));
    entry = entry_set_string(memory, entry, text_of("abc"));
    entry = entry_string_append(memory, entry, text_of(""));
    cr_assert_eq(entry_encoding(entry), ENTRY_ENC_RAW);
    entry = entry_set_string(memory, entry, text_of("abc"));
    entry = entry_string_writable(memory, entry, 5, &data);
    cr_assert_eq(entry_encoding(entry), ENTRY_ENC_RAW);
    cr_assert(text_equal(entry_string(entry, NULL), (struct text){"abc\0\0", 5}));
    data[4] = 'e';
    cr_assert(text_equal(entry_string(entry, NULL), (struct text){"abc\0e", 5}));

    struct entry *copy = entry_copy(memory, entry, text_of("other"), 77);

    cr_assert_eq(entry_encoding(copy), ENTRY_ENC_RAW);
    cr_assert_eq(entry_expiry_unix_ms(copy), 77);
    cr_assert(text_equal(entry_string(copy, NULL), (struct text){"abc\0e", 5}));
    entry_free(memory, copy);
    entry_free(memory, entry);
    entry = entry_create_zeros(memory, text_of("k"), 3, -1);
    cr_assert_eq(entry_encoding(entry), ENTRY_ENC_RAW);
    cr_assert(text_equal(entry_string(entry, NULL), (struct text){"\0\0\0", 3}));
    entry_free(memory, entry);
    cr_assert_eq(memory_used_bytes(memory), 0);
    memory_destroy(memory);
}

Test(entry, bits_that_are_not_the_values_survive_every_change)
{
    const uint8_t bits = ENTRY_TICKET | ENTRY_TICKET_PASS | ENTRY_EPOCH_MASK;
    static const char long_value[3000];
    struct memory *memory = memory_create();
    struct entry *entry = entry_create_string(memory, text_of("k"), text_of("v"), -1);
    struct text long_text = {.data = long_value, .len_bytes = sizeof(long_value)};
    char *data;

    entry->flags |= bits;
    entry_set_access(entry, 0x123456);
    entry = entry_set_string(memory, entry, long_text);
    cr_assert_eq(entry->flags, bits | ENTRY_POINTER);
    entry = entry_set_expiry(memory, entry, 5);
    cr_assert_eq(entry->flags, bits | ENTRY_POINTER | ENTRY_EXPIRES);
    entry = entry_set_integer(memory, entry, 8);
    cr_assert_eq(entry->flags, bits | ENTRY_EXPIRES);
    entry = entry_string_append(memory, entry, text_of("x"));
    cr_assert_eq(entry->flags, bits | ENTRY_EXPIRES);
    entry = entry_string_writable(memory, entry, 2000, &data);
    cr_assert_eq(entry->flags, bits | ENTRY_POINTER | ENTRY_EXPIRES);
    entry = entry_set_string_expiry(memory, entry, text_of("short"), -1);
    cr_assert_eq(entry->flags, bits);
    cr_assert_eq(entry_access(entry), 0x123456);
    entry_free(memory, entry);
    cr_assert_eq(memory_used_bytes(memory), 0);
    memory_destroy(memory);
}

/* ---- cost ---- */

Test(entry, appending_byte_by_byte_moves_the_string_seldom)
{
    struct memory *memory = memory_create();
    struct entry *entry = entry_create_string(memory, text_of("k"), text_of("x"), -1);
    const char *at = NULL;
    int moves = 0;

    for (int i = 1; i < 3000000; i++) {
        entry = entry_string_append(memory, entry, text_of("y"));
        if (i > ENTRY_EMBED_MAX_BYTES && entry_string(entry, NULL).data != at)
            moves++;
        at = entry_string(entry, NULL).data;
    }
    cr_assert_eq(entry_string_len(entry), 3000000);
    cr_assert_leq(moves, 16);
    entry_free(memory, entry);
    memory_destroy(memory);
}

Test(entry, total_bytes_are_what_the_memory_counts)
{
    static char value[100000];
    static const size_t lengths[] = {0, 5, 44, 45, 1024, 1025, 5000, 100000};
    struct memory *memory = memory_create();

    memset(value, 'v', sizeof(value));
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct text text = {.data = value, .len_bytes = lengths[i]};
        struct entry *entry = entry_create_string(memory, text_of("key"), text, 1);

        cr_assert_eq((int64_t)entry_total_bytes(entry), memory_used_bytes(memory), "length %zu",
                     lengths[i]);
        entry = entry_string_append(memory, entry, text);
        cr_assert_eq((int64_t)entry_total_bytes(entry), memory_used_bytes(memory), "length %zu",
                     lengths[i]);
        entry_free(memory, entry);
        cr_assert_eq(memory_used_bytes(memory), 0);
    }
    memory_destroy(memory);
}

/* ---- against a model, without memory at times ---- */

enum { MODEL_BYTES = 300000 };

struct model {
    char bytes[MODEL_BYTES];
    size_t len;
    int64_t expiry;
    enum entry_encoding encoding;
};

struct trial {
    struct seed seed;
    struct memory *memory;
    struct entry *entry;
    struct model model;
    char other[MODEL_BYTES];
};

static size_t any_length(struct seed *seed)
{
    static const size_t limits[] = {3, 25, 60, 600, 1100, 3000, 100000};

    return seed_below(seed, limits[seed_below(seed, 7)]);
}

static struct text any_value(struct trial *trial)
{
    size_t len = any_length(&trial->seed);

    if (seed_below(&trial->seed, 4) == 0) {
        char number[24];

        len = integer_to_text((int64_t)(seed_next(&trial->seed) >> seed_below(&trial->seed, 64)),
                              number);
        memcpy(trial->other, number, len);
    } else {
        memset(trial->other, (int)seed_next(&trial->seed), len);
    }
    return (struct text){.data = trial->other, .len_bytes = len};
}

static enum entry_encoding encoding_for(struct text value, bool maybe_integer)
{
    int64_t integer;

    if (maybe_integer && text_to_integer(value, &integer))
        return ENTRY_ENC_INT;
    return value.len_bytes <= 44 ? ENTRY_ENC_EMBSTR : ENTRY_ENC_RAW;
}

static void model_set(struct model *model, struct text value, enum entry_encoding encoding)
{
    memcpy(model->bytes, value.data, value.len_bytes);
    model->len = value.len_bytes;
    model->encoding = encoding;
}

/* One change, of the entry and, when there was memory for it, of the model. */
static struct entry *change(struct trial *trial)
{
    struct model *model = &trial->model;
    struct text value = any_value(trial);
    int64_t expiry = seed_below(&trial->seed, 2) == 0 ? -1 : (int64_t)seed_next(&trial->seed);
    size_t len;
    struct entry *entry;
    char *data;

    switch (seed_below(&trial->seed, 6)) {
    case 0:
        entry = entry_set_string(trial->memory, trial->entry, value);
        if (entry != NULL)
            model_set(model, value, encoding_for(value, true));
        return entry;
    case 1:
        entry = entry_set_string_expiry(trial->memory, trial->entry, value, expiry);
        if (entry != NULL) {
            model_set(model, value, encoding_for(value, true));
            model->expiry = expiry;
        }
        return entry;
    case 2:
        entry = entry_set_text(trial->memory, trial->entry, value);
        if (entry != NULL)
            model_set(model, value, encoding_for(value, false));
        return entry;
    case 3:
        entry = entry_set_expiry(trial->memory, trial->entry, expiry);
        if (entry != NULL)
            model->expiry = expiry;
        return entry;
    case 4:
        if (model->len + value.len_bytes > MODEL_BYTES)
            return trial->entry;
        entry = entry_string_append(trial->memory, trial->entry, value);
        if (entry != NULL) {
            memcpy(model->bytes + model->len, value.data, value.len_bytes);
            model->len += value.len_bytes;
            model->encoding = ENTRY_ENC_RAW;
        }
        return entry;
    default:
        len = any_length(&trial->seed);
        entry = entry_string_writable(trial->memory, trial->entry, len, &data);
        if (entry != NULL) {
            if (len > model->len) {
                memset(model->bytes + model->len, 0, len - model->len);
                model->len = len;
            }
            model->encoding = ENTRY_ENC_RAW;
            if (model->len > 0) {
                size_t at = seed_below(&trial->seed, model->len);

                data[at] = '!';
                model->bytes[at] = '!';
            }
        }
        return entry;
    }
}

static void check(const struct trial *trial, struct text key)
{
    char number[24];
    struct text expected = {.data = trial->model.bytes, .len_bytes = trial->model.len};

    cr_assert(text_equal(entry_key(trial->entry), key), "seed %lu", trial->seed.start);
    cr_assert(text_equal(entry_string(trial->entry, number), expected), "length %zu, seed %lu",
              expected.len_bytes, trial->seed.start);
    cr_assert_eq(entry_expiry_unix_ms(trial->entry), trial->model.expiry, "seed %lu",
                 trial->seed.start);
    cr_assert_eq(entry_encoding(trial->entry), trial->model.encoding, "seed %lu",
                 trial->seed.start);
    cr_assert_eq((int64_t)entry_total_bytes(trial->entry), memory_used_bytes(trial->memory),
                 "seed %lu", trial->seed.start);
}

Test(entry, equals_a_simple_model_and_a_failure_changes_nothing)
{
    static struct trial trial;
    static const char *const keys[] = {"", "k", "a-key-of-20-bytes---"};
    char long_key[300];

    trial.seed = seed_new(2);
    trial.memory = memory_create();
    memset(long_key, 'k', sizeof(long_key));
    for (int life = 0; life < 400; life++) {
        struct text key =
            life % 4 == 3 ? (struct text){long_key, sizeof(long_key)} : text_of(keys[life % 4]);
        int failures = 0;

        trial.model = (struct model){.expiry = -1, .encoding = ENTRY_ENC_EMBSTR};
        trial.entry = entry_create_string(trial.memory, key, text_of(""), -1);
        for (int round = 0; round < 100; round++) {
            if (seed_below(&trial.seed, 3) == 0)
                memory_fail_nth(trial.memory, 1 + seed_below(&trial.seed, 2));

            struct entry *changed = change(&trial);

            memory_fail_nth(trial.memory, 0);
            failures += changed == NULL;
            if (changed != NULL)
                trial.entry = changed;
            check(&trial, key);
        }
        cr_assert_gt(failures, 0);
        entry_free(trial.memory, trial.entry);
        cr_assert_eq(memory_used_bytes(trial.memory), 0, "seed %lu", trial.seed.start);
    }
    memory_destroy(trial.memory);
}

Test(entry, creation_without_memory_leaves_nothing_behind)
{
    static const char value[5000];
    struct memory *memory = memory_create();
    struct text text = {.data = value, .len_bytes = sizeof(value)};
    struct entry *entry = entry_create_string(memory, text_of("k"), text, 4);
    int64_t before = memory_used_bytes(memory);

    for (unsigned nth = 1; nth <= 2; nth++) {
        memory_fail_nth(memory, nth);
        cr_assert_null(entry_create_string(memory, text_of("k"), text, 4));
        memory_fail_nth(memory, nth);
        cr_assert_null(entry_copy(memory, entry, text_of("other"), -1));
        memory_fail_nth(memory, nth);
        cr_assert_null(entry_create_zeros(memory, text_of("k"), 5000, 4));
        cr_assert_eq(memory_used_bytes(memory), before);
    }
    memory_fail_nth(memory, 0);
    entry_free(memory, entry);
    memory_destroy(memory);
}

/* ---- numbers ---- */

Test(entry, integers_and_their_text_go_both_ways)
{
    struct seed seed = seed_new(3);
    char number[24], expected[32];
    int64_t value, back;

    for (int i = 0; i < 200000; i++) {
        value = (int64_t)(seed_next(&seed) >> seed_below(&seed, 64));
        if (i & 1)
            value = -value;

        size_t len = integer_to_text(value, number);

        cr_assert_eq(snprintf(expected, sizeof(expected), "%ld", value), (int)len);
        cr_assert_eq(memcmp(number, expected, len), 0);
        cr_assert(text_to_integer((struct text){number, len}, &back));
        cr_assert_eq(back, value, "seed %lu", seed.start);
    }
    cr_assert_eq(integer_to_text(INT64_MIN, number), 20);
    cr_assert(text_to_integer((struct text){number, 20}, &back));
    cr_assert_eq(back, INT64_MIN);
    cr_assert_not(text_to_integer((struct text){NULL, 0}, &back));
    cr_assert_not(text_to_integer(text_of("--1"), &back));
    cr_assert_not(text_to_integer((struct text){"1\0", 2}, &back));
    cr_assert_not(text_to_integer(text_of("99999999999999999999"), &back));
}

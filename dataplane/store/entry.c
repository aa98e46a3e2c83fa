#include "dataplane/store/entry.h"

#include <assert.h>

enum {
    INTEGER_TEXT_MAX_BYTES = 20, /* "-9223372036854775808" */
};

/* What an entry is to hold: the encoding says which field counts. */
struct value {
    enum entry_encoding encoding;
    struct text text;
    int64_t integer;
    bool zeros; /* text.data is not there: text.len_bytes zero bytes */
};

/* ---- layout ---- */

static bool has_field(const struct entry *entry)
{
    return (entry->flags & ENTRY_POINTER) || entry_encoding(entry) == ENTRY_ENC_INT;
}

/* Where the 8-byte field (pointer or integer) is, or would be: behind header, long key length
 * and expiry. */
static size_t field_offset(const struct entry *entry)
{
    return sizeof(*entry) + (entry->key_len == ENTRY_KEY_LONG ? sizeof(uint32_t) : 0) +
           (entry->flags & ENTRY_EXPIRES ? sizeof(int64_t) : 0);
}

static char *expiry_field(const struct entry *entry)
{
    assert(entry->flags & ENTRY_EXPIRES);
    return (char *)entry + field_offset(entry) - sizeof(int64_t);
}

static int64_t get_field(const struct entry *entry)
{
    int64_t field;

    memcpy(&field, (const char *)entry + field_offset(entry), sizeof(field));
    return field;
}

static void set_field(struct entry *entry, int64_t field)
{
    memcpy((char *)entry + field_offset(entry), &field, sizeof(field));
}

static struct string_block *get_block(const struct entry *entry)
{
    return entry->flags & ENTRY_POINTER ? (struct string_block *)(uintptr_t)get_field(entry) : NULL;
}

static char *embedded(const struct entry *entry)
{
    struct text key = entry_key(entry);

    assert(!has_field(entry));
    return (char *)(uintptr_t)key.data + key.len_bytes;
}

int64_t entry_expiry_unix_ms(const struct entry *entry)
{
    int64_t expiry = -1;

    if (entry->flags & ENTRY_EXPIRES)
        memcpy(&expiry, expiry_field(entry), sizeof(expiry));
    return expiry;
}

size_t entry_size_bytes(const struct entry *entry)
{
    struct text key = entry_key(entry);

    return (size_t)(key.data - (const char *)entry) + key.len_bytes +
           (has_field(entry) ? 0 : entry->value_len);
}

size_t entry_total_bytes(const struct entry *entry)
{
    const struct string_block *block = get_block(entry);
    size_t bytes = memory_usable(entry_size_bytes(entry));

    return block == NULL ? bytes : bytes + memory_usable(sizeof(*block) + block->capacity_bytes);
}

uint32_t entry_access(const struct entry *entry)
{
    return (uint32_t)entry->access[0] | (uint32_t)entry->access[1] << 8 |
           (uint32_t)entry->access[2] << 16;
}

uint32_t entry_idle_seconds(const struct entry *entry, int64_t now_unix_ms)
{
    uint32_t idle = ((uint32_t)(now_unix_ms / 1000) - entry_access(entry)) & 0xffffff;

    return idle <= 0xffffff / 2 ? idle : 0;
}

void entry_set_access(struct entry *entry, uint32_t access)
{
    entry->access[0] = (uint8_t)access;
    entry->access[1] = (uint8_t)(access >> 8);
    entry->access[2] = (uint8_t)(access >> 16);
}

/* ---- blocks of long strings ---- */

static struct string_block *block_create(struct memory *memory, size_t len_bytes,
                                         size_t capacity_bytes, bool zero)
{
    size_t size = sizeof(struct string_block) + capacity_bytes;
    struct string_block *block;

    if (size < capacity_bytes)
        return NULL;
    block = zero ? memory_alloc_zero(memory, size) : memory_alloc(memory, size);
    if (block == NULL)
        return NULL;
    block->len_bytes = len_bytes;
    block->capacity_bytes = memory_usable(size) - sizeof(*block);
    return block;
}

static void block_free(struct memory *memory, struct string_block *block)
{
    if (block != NULL)
        memory_free(memory, block, sizeof(*block) + block->capacity_bytes);
}

static size_t grown_capacity(size_t len_bytes)
{
    size_t more = len_bytes < ENTRY_GROWTH_MAX_BYTES ? len_bytes : ENTRY_GROWTH_MAX_BYTES;

    return len_bytes + more < len_bytes ? len_bytes : len_bytes + more;
}

/* Room for len_bytes, zero behind the present length. The block may move. */
static struct string_block *block_grow(struct memory *memory, struct string_block *block,
                                       size_t len_bytes)
{
    if (len_bytes > block->capacity_bytes) {
        size_t old_size = sizeof(*block) + block->capacity_bytes;
        size_t size = sizeof(*block) + grown_capacity(len_bytes);

        if (size < len_bytes)
            return NULL;
        block = memory_resize_zero(memory, block, old_size, size);
        if (block == NULL)
            return NULL;

        size_t old_capacity = block->capacity_bytes;

        block->capacity_bytes = memory_usable(size) - sizeof(*block);
        memset(block->data + block->len_bytes, 0, old_capacity - block->len_bytes);
    } else {
        memset(block->data + block->len_bytes, 0, len_bytes - block->len_bytes);
    }
    block->len_bytes = len_bytes;
    return block;
}

/* ---- making and remaking ---- */

/* A block of the shape that `shape` describes, with header and key; expiry and value are not
 * set. */
static struct entry *entry_shape(struct memory *memory, struct entry shape, struct text key)
{
    if (key.len_bytes > UINT32_MAX)
        return NULL;
    shape.key_len = key.len_bytes < ENTRY_KEY_LONG ? (uint8_t)key.len_bytes : ENTRY_KEY_LONG;

    size_t size = field_offset(&shape) + key.len_bytes +
                  (has_field(&shape) ? sizeof(int64_t) : shape.value_len);
    struct entry *entry = memory_alloc(memory, size);

    if (entry == NULL)
        return NULL;
    *entry = shape;
    if (shape.key_len == ENTRY_KEY_LONG) {
        uint32_t len = (uint32_t)key.len_bytes;

        memcpy((char *)entry + sizeof(*entry), &len, sizeof(len));
    }
    if (key.len_bytes > 0)
        memcpy((char *)(uintptr_t)entry_key(entry).data, key.data, key.len_bytes);
    return entry;
}

/* The header that stands for `value`; of `before` the bits stay that do not depend on it. */
static struct entry header_for(struct entry before, const struct value *value, bool expires)
{
    bool is_long =
        value->encoding != ENTRY_ENC_INT && value->text.len_bytes > ENTRY_EMBED_MAX_BYTES;

    before.type_encoding = (uint8_t)(ENTRY_STRING | value->encoding << 4);
    before.flags &= (uint8_t) ~(ENTRY_EXPIRES | ENTRY_POINTER);
    before.flags |= (uint8_t)((expires ? ENTRY_EXPIRES : 0) | (is_long ? ENTRY_POINTER : 0));
    before.value_len = has_field(&before) ? 0 : (uint16_t)value->text.len_bytes;
    return before;
}

/* Writes expiry and value into an entry whose header is already that of `value`. */
static void fill(struct entry *entry, const struct value *value, int64_t expiry_unix_ms,
                 struct string_block *block)
{
    if (entry->flags & ENTRY_EXPIRES)
        memcpy(expiry_field(entry), &expiry_unix_ms, sizeof(expiry_unix_ms));
    if (block != NULL)
        set_field(entry, (int64_t)(uintptr_t)block);
    else if (value->encoding == ENTRY_ENC_INT)
        set_field(entry, value->integer);
    else if (value->zeros)
        memset(embedded(entry), 0, value->text.len_bytes);
    else if (value->text.len_bytes > 0)
        memcpy(embedded(entry), value->text.data, value->text.len_bytes);
}

/* The block for `value` when it is a long one: `old` where that fits without waste. False: no
 * memory. */
static bool block_for(struct memory *memory, const struct value *value, struct string_block *old,
                      struct string_block **block)
{
    size_t len = value->text.len_bytes;

    *block = NULL;
    if (value->encoding == ENTRY_ENC_INT || len <= ENTRY_EMBED_MAX_BYTES)
        return true;
    if (old != NULL && len <= old->capacity_bytes && len >= old->capacity_bytes / 2)
        *block = old;
    else
        *block = block_create(memory, len, len, value->zeros);
    if (*block == NULL)
        return false;
    (*block)->len_bytes = len;
    if (!value->zeros)
        memcpy((*block)->data, value->text.data, len);
    return true;
}

static struct entry *create(struct memory *memory, struct text key, const struct value *value,
                            int64_t expiry_unix_ms)
{
    struct string_block *block;

    if (!block_for(memory, value, NULL, &block))
        return NULL;

    struct entry header = header_for((struct entry){0}, value, expiry_unix_ms != -1);
    struct entry *entry = entry_shape(memory, header, key);

    if (entry == NULL)
        block_free(memory, block);
    else
        fill(entry, value, expiry_unix_ms, block);
    return entry;
}

/* Gives the entry another value and expiry. In place when nothing before the value moves. */
static struct entry *change(struct memory *memory, struct entry *entry, const struct value *value,
                            int64_t expiry_unix_ms)
{
    struct string_block *old = get_block(entry), *block;
    struct entry header = header_for(*entry, value, expiry_unix_ms != -1);
    struct entry *changed;

    /* Reusing the old block overwrites it, so the entry must be sure to stay where it is. */
    bool same_front = has_field(&header) == has_field(entry) &&
                      (header.flags & ENTRY_EXPIRES) == (entry->flags & ENTRY_EXPIRES);

    if (!block_for(memory, value, same_front ? old : NULL, &block))
        return NULL;
    if (same_front) {
        size_t old_size = entry_size_bytes(entry);
        size_t size = old_size - (has_field(entry) ? 0 : entry->value_len) + header.value_len;

        changed = memory_resize(memory, entry, old_size, size);
    } else {
        changed = entry_shape(memory, header, entry_key(entry));
        if (changed != NULL)
            memory_free(memory, entry, entry_size_bytes(entry));
    }
    if (changed == NULL) {
        if (block != old)
            block_free(memory, block);
        return NULL;
    }
    *changed = header;
    fill(changed, value, expiry_unix_ms, block);
    if (block != old)
        block_free(memory, old);
    return changed;
}

static struct value value_text(struct text text)
{
    return (struct value){
        .encoding = text.len_bytes <= ENTRY_EMBSTR_MAX_BYTES ? ENTRY_ENC_EMBSTR : ENTRY_ENC_RAW,
        .text = text,
    };
}

static struct value value_integer(int64_t integer)
{
    return (struct value){.encoding = ENTRY_ENC_INT, .integer = integer};
}

static struct value value_string(struct text text)
{
    int64_t integer;

    return text_to_integer(text, &integer) ? value_integer(integer) : value_text(text);
}

struct entry *entry_create_string(struct memory *memory, struct text key, struct text text,
                                  int64_t expiry_unix_ms)
{
    struct value value = value_string(text);

    return create(memory, key, &value, expiry_unix_ms);
}

struct entry *entry_create_text(struct memory *memory, struct text key, struct text text,
                                int64_t expiry_unix_ms)
{
    struct value value = value_text(text);

    return create(memory, key, &value, expiry_unix_ms);
}

struct entry *entry_create_integer(struct memory *memory, struct text key, int64_t integer,
                                   int64_t expiry_unix_ms)
{
    struct value value = value_integer(integer);

    return create(memory, key, &value, expiry_unix_ms);
}

struct entry *entry_create_zeros(struct memory *memory, struct text key, size_t len_bytes,
                                 int64_t expiry_unix_ms)
{
    struct value value = {.encoding = ENTRY_ENC_RAW,
                          .text = {.len_bytes = len_bytes},
                          .zeros = true};

    return create(memory, key, &value, expiry_unix_ms);
}

struct entry *entry_copy(struct memory *memory, const struct entry *entry, struct text key,
                         int64_t expiry_unix_ms)
{
    char number[24];
    struct value value = {.encoding = entry_encoding(entry), .text = entry_string(entry, number)};

    entry_string_is_integer(entry, &value.integer);
    return create(memory, key, &value, expiry_unix_ms);
}

struct entry *entry_rename(struct memory *memory, const struct entry *entry, struct text key,
                           int64_t expiry_unix_ms)
{
    if ((entry->flags & ENTRY_POINTER) == 0)
        return entry_copy(memory, entry, key, expiry_unix_ms);

    struct entry header = {.type_encoding = entry->type_encoding,
                           .flags = ENTRY_POINTER | (expiry_unix_ms != -1 ? ENTRY_EXPIRES : 0)};
    struct entry *renamed = entry_shape(memory, header, key);

    if (renamed == NULL)
        return NULL;
    if (expiry_unix_ms != -1)
        memcpy(expiry_field(renamed), &expiry_unix_ms, sizeof(expiry_unix_ms));
    set_field(renamed, 0);
    return renamed;
}

void entry_rename_share(struct entry *renamed, const struct entry *entry)
{
    if (entry->flags & ENTRY_POINTER)
        set_field(renamed, get_field(entry));
}

void entry_rename_done(struct entry *entry)
{
    if (entry->flags & ENTRY_POINTER)
        set_field(entry, 0);
}

struct entry *entry_set_string(struct memory *memory, struct entry *entry, struct text text)
{
    struct value value = value_string(text);

    return change(memory, entry, &value, entry_expiry_unix_ms(entry));
}

struct entry *entry_set_text(struct memory *memory, struct entry *entry, struct text text)
{
    struct value value = value_text(text);

    return change(memory, entry, &value, entry_expiry_unix_ms(entry));
}

struct entry *entry_set_integer(struct memory *memory, struct entry *entry, int64_t integer)
{
    struct value value = value_integer(integer);

    return change(memory, entry, &value, entry_expiry_unix_ms(entry));
}

struct entry *entry_set_string_expiry(struct memory *memory, struct entry *entry, struct text text,
                                      int64_t expiry_unix_ms)
{
    struct value value = value_string(text);

    return change(memory, entry, &value, expiry_unix_ms);
}

struct entry *entry_set_expiry(struct memory *memory, struct entry *entry, int64_t expiry_unix_ms)
{
    bool expires = expiry_unix_ms != -1;
    struct entry *changed = entry;

    if (expires != ((entry->flags & ENTRY_EXPIRES) != 0)) {
        struct entry header = *entry;

        header.flags ^= ENTRY_EXPIRES;
        changed = entry_shape(memory, header, entry_key(entry));
        if (changed == NULL)
            return NULL;
        if (has_field(entry))
            set_field(changed, get_field(entry));
        else
            memcpy(embedded(changed), embedded(entry), entry->value_len);
        memory_free(memory, entry, entry_size_bytes(entry));
    }
    if (expires)
        memcpy(expiry_field(changed), &expiry_unix_ms, sizeof(expiry_unix_ms));
    return changed;
}

void entry_free(struct memory *memory, struct entry *entry)
{
    if (entry == NULL)
        return;
    block_free(memory, get_block(entry));
    memory_free(memory, entry, entry_size_bytes(entry));
}

/* ---- strings ---- */

struct text entry_string(const struct entry *entry, char number[24])
{
    const struct string_block *block = get_block(entry);

    if (block != NULL)
        return (struct text){.data = block->data, .len_bytes = block->len_bytes};
    if (entry_encoding(entry) == ENTRY_ENC_INT)
        return (struct text){.data = number,
                             .len_bytes = integer_to_text(get_field(entry), number)};
    return (struct text){.data = embedded(entry), .len_bytes = entry->value_len};
}

bool entry_string_is_integer(const struct entry *entry, int64_t *value)
{
    if (entry_encoding(entry) != ENTRY_ENC_INT)
        return false;
    *value = get_field(entry);
    return true;
}

size_t entry_string_len(const struct entry *entry)
{
    char number[24];

    return entry_string(entry, number).len_bytes;
}

/* From an integer or a short string to `len_bytes` bytes, raw, the new ones zero. */
static struct entry *widen(struct memory *memory, struct entry *entry, size_t len_bytes)
{
    char copy[ENTRY_EMBED_MAX_BYTES];
    char number[24];
    struct text text = entry_string(entry, number);
    struct value value = {.encoding = ENTRY_ENC_RAW,
                          .text = {.len_bytes = len_bytes},
                          .zeros = true};
    struct string_block *block = NULL;

    assert(text.len_bytes <= sizeof(copy));
    memcpy(copy, text.data, text.len_bytes);
    if (len_bytes > ENTRY_EMBED_MAX_BYTES) {
        block = block_create(memory, len_bytes, grown_capacity(len_bytes), true);
        if (block == NULL)
            return NULL;
        memcpy(block->data, copy, text.len_bytes);
    }

    struct entry header = header_for(*entry, &value, (entry->flags & ENTRY_EXPIRES) != 0);
    struct entry *wide = entry_shape(memory, header, entry_key(entry));

    if (wide == NULL) {
        block_free(memory, block);
        return NULL;
    }
    fill(wide, &value, entry_expiry_unix_ms(entry), block);
    if (block == NULL)
        memcpy(embedded(wide), copy, text.len_bytes);
    memory_free(memory, entry, entry_size_bytes(entry));
    return wide;
}

struct entry *entry_string_writable(struct memory *memory, struct entry *entry, size_t len_bytes,
                                    char **data)
{
    struct string_block *block = get_block(entry);
    size_t old_len = entry_string_len(entry);
    size_t len = len_bytes > old_len ? len_bytes : old_len;

    if (block != NULL) {
        block = block_grow(memory, block, len);
        if (block == NULL)
            return NULL;
        set_field(entry, (int64_t)(uintptr_t)block);
    } else if (has_field(entry) || len > ENTRY_EMBED_MAX_BYTES) {
        entry = widen(memory, entry, len);
    } else if (len > old_len) {
        size_t size = entry_size_bytes(entry);

        entry = memory_resize(memory, entry, size, size + len - old_len);
        if (entry != NULL) {
            entry->value_len = (uint16_t)len;
            memset(embedded(entry) + old_len, 0, len - old_len);
        }
    }
    if (entry == NULL)
        return NULL;
    entry->type_encoding = ENTRY_STRING | ENTRY_ENC_RAW << 4;
    block = get_block(entry);
    *data = block != NULL ? block->data : embedded(entry);
    return entry;
}

struct entry *entry_string_append(struct memory *memory, struct entry *entry, struct text tail)
{
    size_t old_len = entry_string_len(entry);
    char *data;

    if (tail.len_bytes > SIZE_MAX - old_len)
        return NULL;
    entry = entry_string_writable(memory, entry, old_len + tail.len_bytes, &data);
    if (entry != NULL && tail.len_bytes > 0)
        memcpy(data + old_len, tail.data, tail.len_bytes);
    return entry;
}

/* ---- numbers ---- */

bool text_to_integer(struct text text, int64_t *value)
{
    if (text.len_bytes == 0 || text.len_bytes > INTEGER_TEXT_MAX_BYTES)
        return false;

    const char *at = text.data, *end = text.data + text.len_bytes;
    bool negative = *at == '-';
    uint64_t magnitude = 0;

    at += negative;
    if (at == end || *at < '0' || *at > '9')
        return false;
    if (*at == '0' && text.len_bytes > 1)
        return false; /* neither leading zeros nor "-0" */
    for (; at < end; at++) {
        unsigned digit = (unsigned)(unsigned char)*at - '0';

        if (digit > 9 || __builtin_mul_overflow(magnitude, 10u, &magnitude) ||
            __builtin_add_overflow(magnitude, digit, &magnitude))
            return false;
    }
    if (magnitude > (uint64_t)INT64_MAX + negative)
        return false;
    *value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

/* Decimal digits of a magnitude, at least one. */
static unsigned count_digits(uint64_t magnitude)
{
    static const uint64_t powers[] = {
        0,
        10,
        100,
        1000,
        10000,
        100000,
        1000000,
        10000000,
        100000000,
        1000000000,
        10000000000,
        100000000000,
        1000000000000,
        10000000000000,
        100000000000000,
        1000000000000000,
        10000000000000000,
        100000000000000000,
        1000000000000000000,
        10000000000000000000u,
    };
    unsigned bits = 64 - (unsigned)__builtin_clzll(magnitude | 1);
    unsigned guess = bits * 1233 >> 12; /* log10(2) */

    return guess + (magnitude >= powers[guess]);
}

size_t integer_to_text(int64_t value, char number[24])
{
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
        "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
        "8081828384858687888990919293949596979899";
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    size_t sign = value < 0, len = sign + count_digits(magnitude);
    char *at = number + len;

    if (sign)
        number[0] = '-';
    while (magnitude >= 100) {
        at -= 2;
        memcpy(at, pairs + magnitude % 100 * 2, 2);
        magnitude /= 100;
    }
    if (magnitude >= 10)
        memcpy(at - 2, pairs + magnitude * 2, 2);
    else
        at[-1] = (char)('0' + magnitude);
    return len;
}

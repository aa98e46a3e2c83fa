/* BITFIELD: integers of 1 to 64 bits anywhere in a string. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/bits.h"
#include "dataplane/commands/functions.h"
#include "dataplane/node.h"
#include "dataplane/store/keyspace.h"

enum overflow { OVERFLOW_WRAP, OVERFLOW_SAT, OVERFLOW_FAIL };
enum operation_kind { FIELD_GET, FIELD_SET, FIELD_INCRBY };

struct operation {
    enum operation_kind kind;
    enum overflow overflow;
    bool is_signed;
    unsigned bits;
    uint64_t offset;
    int64_t value;
};

/* ---- arguments ---- */

static bool read_type(struct call *call, struct text text, struct operation *operation)
{
    int64_t bits;
    bool valid = text.len_bytes > 1 && (text.data[0] == 'i' || text.data[0] == 'u');

    if (valid) {
        operation->is_signed = text.data[0] == 'i';
        valid = text_to_integer((struct text){text.data + 1, text.len_bytes - 1}, &bits) &&
                bits >= 1 && bits <= (operation->is_signed ? 64 : 63);
    }
    if (!valid) {
        reply_error(call->reply, "Invalid bitfield type. Use something like i16 u8. Note that u64 "
                                 "is not supported but i64 is.");
        return false;
    }
    operation->bits = (unsigned)bits;
    return true;
}

static bool read_overflow(struct call *call, uint32_t position, enum overflow *overflow)
{
    if (call_option(call, position, "wrap"))
        *overflow = OVERFLOW_WRAP;
    else if (call_option(call, position, "sat"))
        *overflow = OVERFLOW_SAT;
    else if (call_option(call, position, "fail"))
        *overflow = OVERFLOW_FAIL;
    else {
        reply_error(call->reply, "Invalid OVERFLOW type specified");
        return false;
    }
    return true;
}

/* Reads all operations into a fresh array; -1: an error was replied. */
static int64_t read_operations(struct call *call, bool read_only, struct operation *operations,
                               bool *writes, uint64_t *highest_byte)
{
    enum overflow overflow = OVERFLOW_WRAP;
    int64_t count = 0;

    *writes = false;
    *highest_byte = 0;
    for (uint32_t i = 2; i < call->argc;) {
        struct operation *operation = &operations[count];
        uint32_t left = call->argc - i - 1;
        if (call_option(call, i, "overflow") && left >= 1) {
            if (!read_overflow(call, i + 1, &overflow))
                return -1;
            i += 2;
            continue;
        }
        if (call_option(call, i, "get") && left >= 2) {
            operation->kind = FIELD_GET;
        } else if (call_option(call, i, "set") && left >= 3) {
            operation->kind = FIELD_SET;
        } else if (call_option(call, i, "incrby") && left >= 3) {
            operation->kind = FIELD_INCRBY;
        } else {
            call_syntax_error(call);
            return -1;
        }
        operation->overflow = overflow;
        if (!read_type(call, call->argv[i + 1], operation) ||
            !call_bit_offset(call, call->argv[i + 2], true, operation->bits, &operation->offset))
            return -1;
        if (operation->kind != FIELD_GET) {
            *writes = true;
            uint64_t byte = (operation->offset + operation->bits - 1) / 8;
            *highest_byte = byte > *highest_byte ? byte : *highest_byte;
            if (!call_integer(call, i + 3, &operation->value))
                return -1;
        }
        i += operation->kind == FIELD_GET ? 3 : 4;
        count++;
    }
    if (read_only && *writes) {
        reply_error(call->reply, "BITFIELD_RO only supports the GET subcommand");
        return -1;
    }
    return count;
}

/* ---- fields ---- */

static uint64_t load(const unsigned char *bytes, size_t len, uint64_t offset, unsigned bits)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bits; i++, offset++) {
        unsigned bit = offset / 8 < len ? bytes[offset / 8] >> (7 - offset % 8) & 1 : 0;
        value = value << 1 | bit;
    }
    return value;
}

static void save(unsigned char *bytes, uint64_t offset, unsigned bits, uint64_t value)
{
    for (unsigned i = 0; i < bits; i++, offset++) {
        unsigned char mask = (unsigned char)(1u << (7 - offset % 8));
        if ((value >> (bits - 1 - i) & 1) != 0)
            bytes[offset / 8] |= mask;
        else
            bytes[offset / 8] &= (unsigned char)~mask;
    }
}

static int64_t extend(uint64_t value, unsigned bits)
{
    if (bits < 64 && (value >> (bits - 1) & 1) != 0)
        value |= UINT64_MAX << bits;
    return (int64_t)value;
}

/* value + by as an integer of that type. False: it overflows and the operation is to fail. */
static bool add_field(const struct operation *operation, int64_t value, int64_t by, int64_t *result)
{
    __extension__ __int128 sum = (__int128)value + by, low, high;

    if (operation->is_signed) {
        high = ((__int128)1 << (operation->bits - 1)) - 1;
        low = -high - 1;
    } else {
        high = ((__int128)1 << operation->bits) - 1;
        low = 0;
    }
    if (sum > high || sum < low) {
        if (operation->overflow == OVERFLOW_FAIL)
            return false;
        if (operation->overflow == OVERFLOW_SAT)
            sum = sum > high ? high : low;
    }
    uint64_t wrapped = (uint64_t)sum;
    if (operation->bits < 64)
        wrapped &= ((uint64_t)1 << operation->bits) - 1;
    *result = operation->is_signed ? extend(wrapped, operation->bits) : (int64_t)wrapped;
    return true;
}

static int64_t read_field(const struct operation *operation, const unsigned char *bytes, size_t len)
{
    uint64_t raw = load(bytes, len, operation->offset, operation->bits);

    return operation->is_signed ? extend(raw, operation->bits) : (int64_t)raw;
}

/* SET's value as an unsigned field wraps from a negative number through 64 bits, as in Redis. */
static bool fit_value(const struct operation *operation, int64_t *result)
{
    if (!operation->is_signed && operation->value < 0) {
        if (operation->overflow == OVERFLOW_FAIL)
            return false;
        *result =
            operation->overflow == OVERFLOW_SAT
                ? (int64_t)(((uint64_t)1 << operation->bits) - 1)
                : (int64_t)((uint64_t)operation->value & (((uint64_t)1 << operation->bits) - 1));
        return true;
    }
    /* How far a number this low is from the highest overflows in Redis: it counts as too high. */
    int64_t high = (int64_t)(((uint64_t)1 << (operation->bits - 1)) - 1);
    if (operation->is_signed && operation->bits < 64 && operation->overflow == OVERFLOW_SAT &&
        operation->value < high - INT64_MAX) {
        *result = high;
        return true;
    }
    return add_field(operation, operation->value, 0, result);
}

/* Returns whether the string is different now, or was `grown` for something that is written. */
static bool run_operation(struct call *call, const struct operation *operation,
                          unsigned char *bytes, size_t len, bool grown)
{
    int64_t old = read_field(operation, bytes, len), result = 0;
    bool fits;

    if (operation->kind == FIELD_GET) {
        reply_integer(call->reply, old);
        return false;
    }
    fits = operation->kind == FIELD_SET ? fit_value(operation, &result)
                                        : add_field(operation, old, operation->value, &result);
    if (!fits) {
        reply_null(call->reply);
        return false;
    }
    save(bytes, operation->offset, operation->bits, (uint64_t)result);
    reply_integer(call->reply, operation->kind == FIELD_SET ? old : result);
    return grown || result != old;
}

static void run_writes(struct call *call, struct key *key, size_t len, uint64_t highest_byte,
                       const struct operation *operations, int64_t count)
{
    size_t needed = highest_byte + 1 > len ? highest_byte + 1 : len;
    bool grown = needed > len, changed = false;

    slot_write_begin(call, key);
    char *data = key_string_writable(call, key, needed);
    if (data != NULL) {
        reply_array(call->reply, (uint64_t)count);
        for (int64_t i = 0; i < count; i++)
            changed |= run_operation(call, &operations[i], (unsigned char *)data, needed, grown);
    }
    if (grown && !changed) /* every write overflowed: longer all the same, and nobody is told */
        slot_write_end_unseen(call, key);
    else
        slot_write_end(call, key, changed ? "setbit" : NULL);
}

static void run_reads(struct call *call, struct text text, const struct operation *operations,
                      int64_t count)
{
    reply_array(call->reply, (uint64_t)count);
    for (int64_t i = 0; i < count; i++)
        reply_integer(call->reply,
                      read_field(&operations[i], (const unsigned char *)text.data, text.len_bytes));
}

static void bitfield(struct call *call, bool read_only)
{
    struct operation *operations = malloc(call->argc * sizeof *operations);
    bool writes, wrong = false;
    uint64_t highest_byte;
    struct key key;
    char number[24];

    if (operations == NULL) {
        reply_error(call->reply, "-OOM no memory for the operations");
        return;
    }
    int64_t count = read_operations(call, read_only, operations, &writes, &highest_byte);
    if (count >= 0) {
        bool there = key_find_string(call, 1, writes ? FIND_WRITE : FIND_READ, &key, &wrong);
        struct text text = there ? entry_string(key.entry, number) : (struct text){"", 0};
        if (!wrong && writes)
            run_writes(call, &key, text.len_bytes, highest_byte, operations, count);
        else if (!wrong)
            run_reads(call, text, operations, count);
    }
    free(operations);
}

void cmd_bitfield(struct call *call)
{
    bitfield(call, false);
}

void cmd_bitfield_ro(struct call *call)
{
    bitfield(call, true);
}

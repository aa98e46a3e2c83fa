/* DEBUG OBJECT: how a value is kept, and what it would take in an RDB file. */
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/commands/debug.h"
#include "dataplane/persist/lzf.h"
#include "dataplane/slots/crc16.h"
#include "dataplane/worker.h"

enum {
    RDB_INTEGER_MAX_BYTES = 11, /* longer strings are not tried as integers */
    RDB_COMPRESS_MIN_BYTES = 21,
    RDB_COMPRESS_SAVES_BYTES = 4, /* else it is left as it is */
};

struct entry *debug_entry(struct call *call, struct text name)
{
    const struct keyspace *keyspace = keyspace_get(call->node, call->session->db);
    uint32_t slot = crc16_slot(name.data, name.len_bytes);

    if (keyspace == NULL)
        return NULL;
    return table_find(&keyspace->slots[slot].table, table_hash(call->node->hash_seed, name), name);
}

/* ---- the RDB form of a string (Redis's rdb.h) ---- */

static size_t length_bytes(uint64_t len)
{
    if (len < 1 << 6)
        return 1;
    if (len < 1 << 14)
        return 2;
    return len <= UINT32_MAX ? 5 : 9;
}

/* 0: it has no form as an integer. */
static size_t integer_bytes(struct text text)
{
    int64_t value;

    if (text.len_bytes > RDB_INTEGER_MAX_BYTES || !text_to_integer(text, &value))
        return 0;
    if (value >= INT8_MIN && value <= INT8_MAX)
        return 2;
    if (value >= INT16_MIN && value <= INT16_MAX)
        return 3;
    return value >= INT32_MIN && value <= INT32_MAX ? 5 : 0;
}

/* 0: compressing does not pay. */
static size_t compressed_bytes(struct text text, bool *no_memory)
{
    size_t room, packed;

    if (text.len_bytes < RDB_COMPRESS_MIN_BYTES)
        return 0;
    room = text.len_bytes - RDB_COMPRESS_SAVES_BYTES;
    struct lzf_table *table = malloc(sizeof *table + room);
    if (table == NULL) {
        *no_memory = true;
        return 0;
    }
    packed = lzf_compress(table, text.data, text.len_bytes, (char *)(table + 1), room);
    free(table);
    return packed == 0 ? 0 : 1 + length_bytes(packed) + length_bytes(text.len_bytes) + packed;
}

static size_t serialized_bytes(struct text text, bool *no_memory)
{
    size_t bytes = integer_bytes(text);

    if (bytes == 0)
        bytes = compressed_bytes(text, no_memory);
    return bytes != 0 ? bytes : length_bytes(text.len_bytes) + text.len_bytes;
}

static const char *encoding_name(const struct entry *entry)
{
    switch (entry_encoding(entry)) {
    case ENTRY_ENC_INT:
        return "int";
    case ENTRY_ENC_EMBSTR:
        return "embstr";
    case ENTRY_ENC_RAW:
        break;
    }
    return "raw";
}

void debug_object(struct call *call)
{
    const struct entry *entry = debug_entry(call, call->argv[2]);
    char number[24], text[256];
    bool no_memory = false;

    if (entry == NULL) {
        reply_error(call->reply, "no such key");
        return;
    }
    size_t serialized = serialized_bytes(entry_string(entry, number), &no_memory);
    if (no_memory) {
        reply_error(call->reply, "-OOM no memory to compress the value");
        return;
    }
    uint32_t lru = entry_access(entry);
    uint32_t idle = ((uint32_t)(call->now_unix_ms / 1000) - lru) & 0xffffff;
    snprintf(text, sizeof text,
             "Value at:%p refcount:1 encoding:%s serializedlength:%zu lru:%u lru_seconds_idle:%u",
             (const void *)entry, encoding_name(entry), serialized, lru, idle);
    reply_status(call->reply, text);
}

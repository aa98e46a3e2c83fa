/* Entry: one key with its value, in one allocation.
 * Layout:    8-byte header | [u32 key length when key_len == ENTRY_KEY_LONG] | [i64 expiry, unix
 *            ms, when ENTRY_EXPIRES] | value pointer or integer (8 bytes, when the form is not
 *            EMBEDDED) | key | embedded value. Fields past the header may be unaligned: memcpy
 *            only.
 * Ownership: an entry belongs to its slot; its memory comes from the `struct memory` passed in.
 * Threading: the worker that holds the slot.
 * Errors:    NULL without memory. */
#ifndef DATAPLANE_STORE_ENTRY_H
#define DATAPLANE_STORE_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dataplane/store/memory.h"

/* Numbers as in Redis's object types. */
enum entry_type {
    ENTRY_STRING = 0,
    ENTRY_LIST = 1,
    ENTRY_SET = 2,
    ENTRY_ZSET = 3,
    ENTRY_HASH = 4,
    ENTRY_MODULE = 5,
    ENTRY_STREAM = 6,
};

/* What OBJECT ENCODING answers; strings today. */
enum entry_encoding {
    ENTRY_ENC_RAW = 0,
    ENTRY_ENC_INT = 1,
    ENTRY_ENC_EMBSTR = 2,
};

enum {
    ENTRY_EXPIRES = 1,     /* an expiry is stored */
    ENTRY_TICKET = 2,      /* the wheel holds the live ticket of this entry */
    ENTRY_TICKET_PASS = 4, /* parity of the last ticket sweep that saw it */
    ENTRY_POINTER = 8,     /* value is an 8-byte pointer: struct string_block for strings */
    ENTRY_EPOCH_SHIFT = 4, /* two bits: snapshot epoch */
    ENTRY_EPOCH_MASK = 0x30,
    ENTRY_GROWTH_MAX_BYTES = 1 << 20,
    ENTRY_KEY_LONG = 255,         /* key_len: the length follows in 4 bytes */
    ENTRY_EMBED_MAX_BYTES = 1024, /* longer strings live in a block of their own */
    ENTRY_EMBSTR_MAX_BYTES = 44,  /* OBJECT ENCODING says embstr up to here, as in Redis */
};

struct entry {
    uint8_t type_encoding; /* type in the low, encoding in the high 4 bits */
    uint8_t flags;
    /* LRU clock (seconds, 24 bits), or LFU minutes (16) and counter (8); s3fifo bits */
    uint8_t access[3];
    uint8_t key_len;
    uint16_t value_len; /* of an embedded value */
};

/* A string too long to embed. What SET stores has just its length; what APPEND and its like
 * lengthen gets room for as much again, up to 1 MiB (as Redis's sds). From
 * MEMORY_MALLOC_MAX_BYTES on it grows without copying. */
struct string_block {
    size_t len_bytes, capacity_bytes;
    char data[];
};

struct text { /* bytes that do not own; binary safe */
    const char *data;
    size_t len_bytes;
};

static inline enum entry_type entry_type(const struct entry *entry)
{
    return entry->type_encoding & 15;
}

static inline enum entry_encoding entry_encoding(const struct entry *entry)
{
    return entry->type_encoding >> 4;
}

static inline struct text entry_key(const struct entry *entry)
{
    const char *at = (const char *)entry + sizeof(*entry);
    uint32_t len = entry->key_len;

    if (len == ENTRY_KEY_LONG) {
        memcpy(&len, at, sizeof(len));
        at += sizeof(len);
    }
    if (entry->flags & ENTRY_EXPIRES)
        at += sizeof(int64_t);
    if ((entry->flags & ENTRY_POINTER) || entry_encoding(entry) == ENTRY_ENC_INT)
        at += sizeof(int64_t);
    return (struct text){.data = at, .len_bytes = len};
}

int64_t entry_expiry_unix_ms(const struct entry *entry); /* -1: none */
/* As allocated for the entry itself, without a block behind a pointer. */
size_t entry_size_bytes(const struct entry *entry);
/* With everything behind it, usable sizes: MEMORY USAGE, byte counts. */
size_t entry_total_bytes(const struct entry *entry);

/* Strings. `number` is scratch for integer values (at least 24 bytes); the result points there
 * or into the entry. */
struct text entry_string(const struct entry *entry, char number[24]);
bool entry_string_is_integer(const struct entry *entry, int64_t *value);
size_t entry_string_len(const struct entry *entry);

/* Creates a string entry. Encoding as Redis's SET chooses: integer when it is the canonical text
 * of a signed 64-bit number (at most 20 characters), embstr up to 44 bytes, raw beyond.
 * expiry_unix_ms -1: none. */
struct entry *entry_create_string(struct memory *memory, struct text key, struct text value,
                                  int64_t expiry_unix_ms);
struct entry *entry_create_integer(struct memory *memory, struct text key, int64_t value,
                                   int64_t expiry_unix_ms);
/* The same but never an integer: the results of INCRBYFLOAT stay embstr even when they read 5. */
struct entry *entry_create_text(struct memory *memory, struct text key, struct text value,
                                int64_t expiry_unix_ms);
/* A string of len_bytes zero bytes, encoding raw, for SETRANGE, SETBIT and APPEND. */
struct entry *entry_create_zeros(struct memory *memory, struct text key, size_t len_bytes,
                                 int64_t expiry_unix_ms);
/* Each of these returns the entry that now stands for the key: the same one changed in place
 * when its block has room, or a new one (the caller, i.e. the slot functions, replaces the
 * pointer in the table and the old one is freed here). Header bits other than value form (ticket
 * bits, access, epoch) are kept. NULL: no memory, nothing changed. `value` and `tail` must not
 * point into the entry. */
struct entry *entry_set_string(struct memory *memory, struct entry *entry, struct text value);
/* Never an integer. */
struct entry *entry_set_text(struct memory *memory, struct entry *entry, struct text value);
struct entry *entry_set_integer(struct memory *memory, struct entry *entry, int64_t value);
/* -1 removes it. */
struct entry *entry_set_expiry(struct memory *memory, struct entry *entry, int64_t expiry_unix_ms);
/* Value and expiry in one go, as SET does. */
struct entry *entry_set_string_expiry(struct memory *memory, struct entry *entry, struct text value,
                                      int64_t expiry_unix_ms);
/* Makes the value raw and at least len_bytes long (new bytes are zero), with *data at its bytes,
 * writable until the next call on this entry. Never shortens. */
struct entry *entry_string_writable(struct memory *memory, struct entry *entry, size_t len_bytes,
                                    char **data);
struct entry *entry_string_append(struct memory *memory, struct entry *entry, struct text tail);
/* A copy under another key, with expiry given (-1: none). The encoding stays; ticket, access and
 * epoch bits start at 0. */
struct entry *entry_copy(struct memory *memory, const struct entry *entry, struct text key,
                         int64_t expiry_unix_ms);
/* The same without copying a long string, in three steps, so that the ones that may fail come first: the
 * new entry, with a long string still missing (until the second step it may only be placed in a table, or
 * freed); both entries have the string; the old one has it no more and is to be freed. */
struct entry *entry_rename(struct memory *memory, const struct entry *entry, struct text key,
                           int64_t expiry_unix_ms);
void entry_rename_share(struct entry *renamed, const struct entry *entry);
void entry_rename_done(struct entry *entry);
void entry_free(struct memory *memory, struct entry *entry);

/* Text to integer as Redis's string2ll: canonical decimal only. */
bool text_to_integer(struct text text, int64_t *value);
size_t integer_to_text(int64_t value, char number[24]);

uint32_t entry_access(const struct entry *entry); /* 24 bits */
/* Seconds since its last access. 0 also where that lies ahead: workers' clocks differ by what their
 * turns last. */
uint32_t entry_idle_seconds(const struct entry *entry, int64_t now_unix_ms);
void entry_set_access(struct entry *entry, uint32_t access);

#endif

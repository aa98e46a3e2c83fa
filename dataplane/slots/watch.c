#include "dataplane/slots/watch.h"

#include <errno.h>
#include <string.h>

#include "dataplane/node.h"

struct watch_record {
    struct watch_record *next;
    uint64_t client_id, hash;
    uint32_t db, key_bytes;
    bool expired; /* the key had run out when it was watched, and is there still */
    bool dirty;
    char key[];
};

struct watch {
    uint32_t count, bucket_count; /* a power of two */
    struct watch_record *buckets[];
};

static size_t table_size(uint32_t buckets)
{
    return sizeof(struct watch) + buckets * sizeof(struct watch_record *);
}

static size_t record_size(uint32_t key_bytes)
{
    return sizeof(struct watch_record) + key_bytes;
}

static struct watch_record **bucket_of(struct watch *watch, uint64_t hash)
{
    return &watch->buckets[hash & (watch->bucket_count - 1)];
}

static struct text record_key(const struct watch_record *record)
{
    return (struct text){record->key, record->key_bytes};
}

static bool is_key(const struct watch_record *record, uint32_t db, uint64_t hash, struct text key)
{
    return record->hash == hash && record->db == db && record->key_bytes == key.len_bytes &&
           memcmp(record->key, key.data, key.len_bytes) == 0;
}

enum presence { ABSENT, ALIVE, RUN_OUT };

static enum presence presence(const struct keyspace *keyspace, uint16_t slot, uint64_t hash,
                              struct text key, int64_t now_unix_ms)
{
    if (keyspace == NULL)
        return ABSENT;
    const struct entry *entry = table_find(&keyspace->slots[slot].table, hash, key);
    if (entry == NULL)
        return ABSENT;
    int64_t deadline = entry_expiry_unix_ms(entry);
    return deadline >= 0 && now_unix_ms > deadline ? RUN_OUT : ALIVE;
}

/* Makes room for one more record. */
static struct watch *with_room(struct node *node, struct memory *memory, uint16_t slot)
{
    struct watch *old = node->watches[slot];

    if (old != NULL && old->count < old->bucket_count)
        return old;
    uint32_t buckets = old == NULL ? WATCH_BUCKETS_MIN : old->bucket_count * 2;
    struct watch *watch = memory_alloc(memory, table_size(buckets));
    if (watch == NULL)
        return old; /* longer chains, or nothing at all */
    memset(watch, 0, table_size(buckets));
    watch->bucket_count = buckets;
    for (uint32_t i = 0; old != NULL && i < old->bucket_count; i++) {
        for (struct watch_record *record = old->buckets[i], *next; record != NULL; record = next) {
            struct watch_record **bucket = bucket_of(watch, record->hash);
            next = record->next;
            record->next = *bucket;
            *bucket = record;
            watch->count++;
        }
    }
    if (old != NULL)
        memory_free(memory, old, table_size(old->bucket_count));
    node->watches[slot] = watch;
    return watch;
}

int watch_add(struct node *node, struct memory *memory, uint16_t slot, uint64_t client_id,
              uint32_t db, struct text key, int64_t now_unix_ms)
{
    uint64_t hash = table_hash(node->hash_seed, key);
    struct watch *watch = with_room(node, memory, slot);

    if (watch == NULL)
        return -ENOMEM;
    struct watch_record **bucket = bucket_of(watch, hash);
    for (struct watch_record *record = *bucket; record != NULL; record = record->next)
        if (record->client_id == client_id && is_key(record, db, hash, key))
            return 0;
    struct watch_record *record = memory_alloc(memory, record_size((uint32_t)key.len_bytes));
    if (record == NULL)
        return -ENOMEM;
    *record = (struct watch_record){.next = *bucket,
                                    .client_id = client_id,
                                    .hash = hash,
                                    .db = db,
                                    .key_bytes = (uint32_t)key.len_bytes,
                                    .expired = presence(keyspace_get(node, db), slot, hash, key,
                                                        now_unix_ms) == RUN_OUT};
    memcpy(record->key, key.data, key.len_bytes);
    *bucket = record;
    watch->count++;
    atomic_fetch_add_explicit(&node->watch_count, 1, memory_order_relaxed);
    return 0;
}

bool watch_check(const struct node *node, uint16_t slot, uint64_t client_id, int64_t now_unix_ms)
{
    const struct watch *watch = node->watches[slot];

    for (uint32_t i = 0; watch != NULL && i < watch->bucket_count; i++) {
        for (const struct watch_record *record = watch->buckets[i]; record != NULL;
             record = record->next) {
            if (record->client_id != client_id)
                continue;
            if (record->dirty)
                return true;
            if (!record->expired && presence(keyspace_get(node, record->db), slot, record->hash,
                                             record_key(record), now_unix_ms) == RUN_OUT)
                return true;
        }
    }
    return false;
}

static void drop_table(struct node *node, struct memory *memory, uint16_t slot)
{
    struct watch *watch = node->watches[slot];

    memory_free(memory, watch, table_size(watch->bucket_count));
    node->watches[slot] = NULL;
}

/* Removes the records of one client; `everybody`: all. */
static void remove_records(struct node *node, struct memory *memory, uint16_t slot,
                           uint64_t client_id, bool everybody)
{
    struct watch *watch = node->watches[slot];

    if (watch == NULL)
        return;
    for (uint32_t i = 0; i < watch->bucket_count; i++) {
        struct watch_record **link = &watch->buckets[i];
        while (*link != NULL) {
            struct watch_record *record = *link;
            if (!everybody && record->client_id != client_id) {
                link = &record->next;
                continue;
            }
            *link = record->next;
            memory_free(memory, record, record_size(record->key_bytes));
            watch->count--;
            atomic_fetch_sub_explicit(&node->watch_count, 1, memory_order_relaxed);
        }
    }
    if (watch->count == 0)
        drop_table(node, memory, slot);
}

void watch_remove_client(struct node *node, struct memory *memory, uint16_t slot,
                         uint64_t client_id)
{
    remove_records(node, memory, slot, client_id, false);
}

void watch_destroy_all(struct node *node, struct memory *memory)
{
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        remove_records(node, memory, (uint16_t)slot, 0, true);
}

void watch_touch(struct node *node, uint16_t slot, uint32_t db, uint64_t hash, struct text key)
{
    struct watch *watch = node->watches[slot];

    if (watch == NULL)
        return;
    const struct keyspace *keyspace = keyspace_get(node, db);
    for (struct watch_record *record = *bucket_of(watch, hash); record != NULL;
         record = record->next) {
        if (!is_key(record, db, hash, key))
            continue;
        /* That it is removed now which had run out already is no change to whoever watches. */
        if (record->expired && presence(keyspace, slot, hash, key, 0) == ABSENT)
            record->expired = false;
        else
            record->dirty = true;
    }
}

static void exchange_record(struct watch_record *record, uint16_t slot,
                            const struct keyspace *emptied, const struct keyspace *replaced_with,
                            int64_t now_unix_ms)
{
    struct text key = record_key(record);
    enum presence was = presence(emptied, slot, record->hash, key, now_unix_ms);
    enum presence will = presence(replaced_with, slot, record->hash, key, now_unix_ms);

    if (was == ABSENT && will == ABSENT)
        return;
    if (record->expired) {
        if (will == ABSENT)
            record->expired = false;
        else if (will == ALIVE)
            record->dirty = true;
    } else if (was == ABSENT && will == RUN_OUT) {
        record->expired = true;
    } else {
        record->dirty = true;
    }
}

void watch_touch_db(struct node *node, uint32_t db, const struct keyspace *emptied,
                    const struct keyspace *replaced_with, int64_t now_unix_ms)
{
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        struct watch *watch = node->watches[slot];
        for (uint32_t i = 0; watch != NULL && i < watch->bucket_count; i++)
            for (struct watch_record *record = watch->buckets[i]; record != NULL;
                 record = record->next)
                if (record->db == db)
                    exchange_record(record, (uint16_t)slot, emptied, replaced_with, now_unix_ms);
    }
}

#include "dataplane/store/keyspace.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#include "dataplane/slots/crc16.h"
#include "dataplane/slots/watch.h"
#include "dataplane/store/lazyfree.h"
#include "dataplane/worker.h"

/* ---- objects ---- */

static size_t slots_offset(void)
{
    return (sizeof(struct keyspace) + 63) & ~(size_t)63;
}

static size_t mapping_bytes(void)
{
    return slots_offset() + SLOTS * sizeof(struct slot);
}

struct keyspace *keyspace_create(void)
{
    char *mapping =
        mmap(NULL, mapping_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (mapping == MAP_FAILED)
        return NULL;
    struct keyspace *keyspace = (struct keyspace *)mapping;
    keyspace->slots = (struct slot *)(mapping + slots_offset());
    return keyspace;
}

void keyspace_destroy_empty(struct keyspace *keyspace)
{
    munmap(keyspace, mapping_bytes());
}

void keyspace_destroy(struct keyspace *keyspace, struct memory *memory)
{
    struct entry *entries[LAZYFREE_BATCH];
    unsigned count;

    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        do {
            count = table_drain(&keyspace->slots[slot].table, memory, entries, LAZYFREE_BATCH);
            for (unsigned i = 0; i < count; i++)
                entry_free(memory, entries[i]);
        } while (count > 0);
    }
    keyspace_destroy_empty(keyspace);
}

struct keyspace *keyspace_get(const struct node *node, uint32_t db)
{
    return atomic_load_explicit(&node->keyspaces[db], memory_order_acquire);
}

struct keyspace *keyspace_need(struct node *node, uint32_t db)
{
    struct keyspace *found = keyspace_get(node, db);

    if (found != NULL)
        return found;
    struct keyspace *fresh = keyspace_create();
    if (fresh == NULL)
        return NULL;
    if (atomic_compare_exchange_strong_explicit(&node->keyspaces[db], &found, fresh,
                                                memory_order_acq_rel, memory_order_acquire))
        return fresh;
    keyspace_destroy_empty(fresh); /* another worker was first */
    return found;
}

/* Counts of one worker can be negative (it deleted what another one wrote); the sum cannot, but a
 * sum taken while others write may catch a deletion without its insertion. */
int64_t keyspace_keys(const struct keyspace *keyspace)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < KEYSPACE_WORKERS_MAX; i++)
        sum += atomic_load_explicit(&keyspace->counts[i].keys, memory_order_relaxed);
    return sum < 0 ? 0 : sum;
}

int64_t keyspace_expires(const struct keyspace *keyspace)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < KEYSPACE_WORKERS_MAX; i++)
        sum += atomic_load_explicit(&keyspace->counts[i].expires, memory_order_relaxed);
    return sum < 0 ? 0 : sum;
}

int64_t keyspace_mean_ttl_ms(const struct keyspace *keyspace, int64_t now_unix_ms)
{
    int64_t expires = keyspace_expires(keyspace);
    uint64_t deadlines_ms = 0;

    for (unsigned i = 0; i < KEYSPACE_WORKERS_MAX; i++)
        deadlines_ms +=
            atomic_load_explicit(&keyspace->counts[i].deadlines_ms, memory_order_relaxed);
    /* The sum of deadlines may wrap, the sum of what is left does not. */
    int64_t left_ms = (int64_t)(deadlines_ms - (uint64_t)expires * (uint64_t)now_unix_ms);
    return expires == 0 || left_ms < 0 ? 0 : left_ms / expires;
}

int32_t keyspace_next_slot(const struct keyspace *keyspace, int32_t from)
{
    if (from < 0 || from >= SLOTS)
        return -1;
    uint32_t index = (uint32_t)from / 64;
    uint64_t word = atomic_load_explicit(&keyspace->in_use[index], memory_order_relaxed) &
                    (UINT64_MAX << (from % 64));
    while (word == 0) {
        if (++index == SLOT_WORDS)
            return -1;
        word = atomic_load_explicit(&keyspace->in_use[index], memory_order_relaxed);
    }
    return (int32_t)(index * 64 + (uint32_t)__builtin_ctzll(word));
}

/* ---- labels ---- */

uint16_t keyspace_label(const struct node *node, uint32_t db)
{
    return (uint16_t)(node->label_of_db[db] ^ db);
}

uint32_t keyspace_of_label(const struct node *node, uint16_t label)
{
    return label < DATABASES_MAX ? (uint32_t)(node->db_of_label[label] ^ label) : DATABASES_MAX;
}

static void set_label(struct node *node, uint32_t db, uint16_t label)
{
    node->label_of_db[db] = (uint16_t)(label ^ db);
    node->db_of_label[label] = (uint16_t)(label ^ db);
}

/* ---- finding ---- */

static inline bool is_name(struct text a, struct text b)
{
    return a.data == b.data && a.len_bytes == b.len_bytes;
}

static inline void find_name(struct call *call, struct text name, struct key *key)
{
    uint32_t *hint = &call->worker->gate.key_hint;

    if (call->key_count == 1 && is_name(call->argv[call->keys[0].position], name)) {
        key->hash = call->keys[0].hash;
        key->slot_number = call->keys[0].slot;
        return;
    }

    /* Commands look their keys up in the order in which routing found them. */
    uint32_t first = *hint < call->key_count ? *hint : 0;
    for (uint32_t tried = 0; tried < call->key_count; tried++) {
        uint32_t i =
            first + tried < call->key_count ? first + tried : first + tried - call->key_count;
        struct text known = call->argv[call->keys[i].position];
        if (is_name(known, name)) {
            key->hash = call->keys[i].hash;
            key->slot_number = call->keys[i].slot;
            *hint = i + 1;
            return;
        }
    }
    key->hash = table_hash(call->node->hash_seed, name);
    key->slot_number = crc16_slot(name.data, name.len_bytes);
}

static void touch(struct call *call, struct entry *entry)
{
    uint32_t now = (uint32_t)(call->now_unix_ms / 1000) & 0xffffff;

    if (call->session != NULL && call->session->no_touch &&
        strcmp(call->command->name, "touch") != 0)
        return;
    if (entry_access(entry) != now) /* not a write to the cache line of a hot entry each time */
        entry_set_access(entry, now);
}

static bool is_there(struct call *call, unsigned flags, struct key *key)
{
    if (key->slot == NULL || !table_locate(&key->slot->table, key->hash, key->name, &key->place))
        return false;
    key->entry = table_at(key->place);
    if ((key->entry->flags & ENTRY_EXPIRES) == 0 ||
        call->now_unix_ms <= entry_expiry_unix_ms(key->entry))
        return true;
    if ((flags & FIND_WRITE) == 0 && expire_paused(call->node, call->now_unix_ms)) {
        key->hidden = true;
        key->entry = NULL;
        return false;
    }
    key_expire_now(call, key);
    return false;
}

bool key_find_in(struct call *call, uint32_t db, struct text name, unsigned flags, struct key *key)
{
    struct worker_stats *stats = &call->worker->stats;

    *key = (struct key){.name = name, .db = (uint16_t)db};
    find_name(call, name, key);
    key->keyspace = keyspace_get(call->node, db);
    if (key->keyspace != NULL) {
        key->slot = &key->keyspace->slots[key->slot_number];
        key->slot->operations++;
    }
    key->seen = call->worker->gate.changes;
    bool there = is_there(call, flags, key);
    if ((flags & (FIND_WRITE | FIND_NO_STATS)) == 0)
        count_add(there ? &stats->keyspace_hits : &stats->keyspace_misses, 1);
    if (there && (flags & FIND_NO_TOUCH) == 0)
        touch(call, key->entry);
    return there;
}

bool key_find(struct call *call, struct text name, unsigned flags, struct key *key)
{
    return key_find_in(call, call->session->db, name, flags, key);
}

bool key_find_string(struct call *call, uint32_t position, unsigned flags, struct key *key,
                     bool *wrong)
{
    *wrong = false;
    if (!key_find(call, call->argv[position], flags, key))
        return false;
    if (entry_type(key->entry) == ENTRY_STRING)
        return true;
    *wrong = true;
    reply_error(call->reply, "-WRONGTYPE Operation against a key holding the wrong kind of value");
    return false;
}

int64_t key_expiry(const struct key *key)
{
    return key->entry == NULL ? -1 : entry_expiry_unix_ms(key->entry);
}

/* ---- whole databases ---- */

/* The stamp of this change is given at gate_commit, to whole databases. */
static void raise_floor(struct gate *gate, uint32_t first, uint32_t end)
{
    if (gate->floor_first == gate->floor_end) {
        gate->floor_first = first;
        gate->floor_end = end;
        return;
    }
    gate->floor_first = first < gate->floor_first ? first : gate->floor_first;
    gate->floor_end = end > gate->floor_end ? end : gate->floor_end;
}

/* Slots of a keyspace that nobody can reach any more need no stamp. */
static void forget_touched(struct gate *gate, const struct keyspace *keyspace)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < gate->touched_count; i++)
        if (gate->touched[i] < keyspace->slots || gate->touched[i] >= keyspace->slots + SLOTS)
            gate->touched[kept++] = gate->touched[i];
    gate->touched_count = kept;
}

static void flush_one(struct call *call, uint32_t db)
{
    struct node *node = call->node;
    struct keyspace *old = keyspace_get(node, db);

    raise_floor(&call->worker->gate, db, db + 1);
    if (old == NULL)
        return;
    if (atomic_load_explicit(&node->watch_count, memory_order_relaxed) != 0)
        watch_touch_db(node, db, old, NULL, call->now_unix_ms);
    call->dirty += (uint64_t)keyspace_keys(old);
    atomic_store_explicit(&node->keyspaces[db], NULL, memory_order_release);
    forget_touched(&call->worker->gate, old);
    lazyfree_add_keyspace(node, old);
}

void keyspace_flush(struct call *call, int32_t db)
{
    uint32_t first = db < 0 ? 0 : (uint32_t)db;
    uint32_t end = db < 0 ? call->node->database_count : first + 1;

    assert(end <= call->node->database_count);
    for (uint32_t i = first; i < end; i++)
        flush_one(call, i);
    call->worker->gate.changes++;
    call->dirty++; /* is journaled also when there was nothing to drop, as Redis does */
}

void keyspace_swap(struct call *call, uint32_t a, uint32_t b)
{
    struct node *node = call->node;

    assert(a < node->database_count && b < node->database_count);
    call->dirty++;
    if (a == b)
        return;
    struct keyspace *in_a = keyspace_get(node, a), *in_b = keyspace_get(node, b);
    if (atomic_load_explicit(&node->watch_count, memory_order_relaxed) != 0) {
        watch_touch_db(node, a, in_a, in_b, call->now_unix_ms);
        watch_touch_db(node, b, in_b, in_a, call->now_unix_ms);
    }
    atomic_store_explicit(&node->keyspaces[a], in_b, memory_order_release);
    atomic_store_explicit(&node->keyspaces[b], in_a, memory_order_release);
    uint16_t label_a = keyspace_label(node, a), label_b = keyspace_label(node, b);
    set_label(node, a, label_b);
    set_label(node, b, label_a);
    raise_floor(&call->worker->gate, a, a + 1);
    raise_floor(&call->worker->gate, b, b + 1);
    call->worker->gate.changes++;
}

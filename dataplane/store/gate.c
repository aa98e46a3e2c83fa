#include "dataplane/store/gate.h"

#include <assert.h>
#include <stdlib.h>

#include "dataplane/persist/journal.h"
#include "dataplane/slots/watch.h"
#include "dataplane/store/lazyfree.h"
#include "dataplane/worker.h"

enum { GATE_GROWTH_BUCKETS = 4 }; /* of a table that is growing, moved with each write to it */

static const char oom_text[] = "-OOM command not allowed when used memory > 'maxmemory'.";

/* ---- begin and end of one change ---- */

/* Looks the place up again when something in the keyspace changed since. */
static void look_again(struct call *call, struct key *key)
{
    if (key->seen == call->worker->gate.changes)
        return;
    key->seen = call->worker->gate.changes;
    key->entry = NULL;
    if (table_locate(&key->slot->table, key->hash, key->name, &key->place))
        key->entry = table_at(key->place);
}

static bool has_slot(struct call *call, struct key *key)
{
    struct keyspace *keyspace = keyspace_need(call->node, key->db);

    if (keyspace == NULL)
        return false;
    if (keyspace != key->keyspace) {
        key->keyspace = keyspace;
        key->slot = &keyspace->slots[key->slot_number];
        key->seen = call->worker->gate.changes - 1;
    }
    return true;
}

void slot_write_begin(struct call *call, struct key *key)
{
    struct worker *worker = call->worker;

    assert(!call->write_open);
    if (key->hidden) {
        key->hidden = false;
        key->seen = worker->gate.changes - 1;
        look_again(call, key);
        if (key->entry != NULL)
            key_expire_now(call, key);
    }
    call->write_open = true;
    key->failed = !has_slot(call, key);
    if (key->failed)
        return;
    if (key->slot->table.growth != NULL) {
        table_step(&key->slot->table, worker->memory, call->node->hash_seed, GATE_GROWTH_BUCKETS);
        worker->gate.changes++;
    }
    look_again(call, key);
    key->was_there = key->entry != NULL;
    key->expired_before = key->was_there && (key->entry->flags & ENTRY_EXPIRES) != 0;
    key->deadline_before = key->expired_before ? entry_expiry_unix_ms(key->entry) : 0;
    key->bytes_before = key->was_there ? entry_total_bytes(key->entry) : 0;
}

static void count(_Atomic int64_t *counter, int by)
{
    if (by != 0)
        atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                              memory_order_relaxed);
}

static void count_deadline(_Atomic uint64_t *sum_ms, int64_t before, int64_t after)
{
    if (after != before)
        atomic_store_explicit(sum_ms,
                              atomic_load_explicit(sum_ms, memory_order_relaxed) + (uint64_t)after -
                                  (uint64_t)before,
                              memory_order_relaxed);
}

static void count_change(struct call *call, struct key *key)
{
    struct slot *slot = key->slot;
    struct keyspace *keyspace = key->keyspace;
    struct keyspace_count *counts = &keyspace->counts[call->worker->index];
    bool expires = key->entry != NULL && (key->entry->flags & ENTRY_EXPIRES) != 0;
    int keys = (key->entry != NULL) - key->was_there;
    int deadlines = expires - key->expired_before;
    uint64_t bit = (uint64_t)1 << (key->slot_number % 64);

    slot->value_bytes -= key->bytes_before;
    if (key->entry != NULL)
        slot->value_bytes += entry_total_bytes(key->entry);
    atomic_store_explicit(&slot->expires,
                          atomic_load_explicit(&slot->expires, memory_order_relaxed) +
                              (uint32_t)deadlines,
                          memory_order_relaxed);
    count(&counts->expires, deadlines);
    count_deadline(&counts->deadlines_ms, key->deadline_before,
                   expires ? entry_expiry_unix_ms(key->entry) : 0);
    count(&counts->keys, keys);
    /* Words are shared between workers, so the bits change only when a slot fills or empties. */
    if (keys > 0 && table_used(&slot->table) == 1)
        atomic_fetch_or_explicit(&keyspace->in_use[key->slot_number / 64], bit,
                                 memory_order_relaxed);
    else if (keys < 0 && table_used(&slot->table) == 0)
        atomic_fetch_and_explicit(&keyspace->in_use[key->slot_number / 64], ~bit,
                                  memory_order_relaxed);
}

/* Notes a slot for its stamp. */
static void note_touched(struct gate *gate, struct slot *slot, uint32_t db)
{
    if (gate->touched_count > 0 && gate->touched[gate->touched_count - 1] == slot)
        return;
    if (gate->touched_count < GATE_TOUCHED_MAX) {
        gate->touched[gate->touched_count++] = slot;
        return;
    }
    if (gate->floor_first == gate->floor_end) {
        gate->floor_first = db;
        gate->floor_end = db + 1;
    } else if (db < gate->floor_first) {
        gate->floor_first = db;
    } else if (db >= gate->floor_end) {
        gate->floor_end = db + 1;
    }
}

/* What hangs on a change, whoever makes it. The name is valid, the key's entry is what stands now.
 */
static void change_made(struct call *call, struct key *key)
{
    struct node *node = call->node;

    count_change(call, key);
    call->worker->gate.changes++;
    if (atomic_load_explicit(&node->watch_count, memory_order_relaxed) != 0)
        watch_touch(node, key->slot_number, key->db, key->hash, key->name);
}

void slot_write_end(struct call *call, struct key *key, const char *event)
{
    assert(call->write_open);
    call->write_open = false;
    if (event == NULL) {
        assert(key->was_there == (key->entry != NULL));
        if (!key->failed)
            count_change(call, key);
        call->worker->gate.changes++;
        return;
    }
    /* Without memory nothing has changed, unless the command had deleted the old value before. */
    bool lost = key->slot != NULL && key->was_there && key->entry == NULL;
    if (key->failed && !lost)
        return;
    change_made(call, key);
    note_touched(&call->worker->gate, key->slot, key->db);
    call->dirty++;
}

void slot_write_end_unseen(struct call *call, struct key *key)
{
    assert(call->write_open);
    call->write_open = false;
    if (key->failed)
        return;
    count_change(call, key);
    call->worker->gate.changes++;
    note_touched(&call->worker->gate, key->slot, key->db);
    call->dirty++;
}

/* ---- changes ---- */

static bool no_memory(struct call *call, struct key *key)
{
    key->failed = true;
    if (call->reply != NULL)
        reply_error(call->reply, oom_text);
    return false;
}

static bool writable(struct call *call, struct key *key)
{
    assert(call->write_open);
    if (key->failed)
        return no_memory(call, key);
    if (key->entry != NULL)
        look_again(call, key); /* an insertion in this bracket moved things */
    return true;
}

static void set_access(struct call *call, struct entry *entry)
{
    entry_set_access(entry, (uint32_t)(call->now_unix_ms / 1000) & 0xffffff);
}

static void release(struct call *call, struct entry *entry)
{
    lazyfree_entry(call->worker, entry);
}

/* Puts a new entry where none was. Takes it. */
static bool insert(struct call *call, struct key *key, struct entry *entry)
{
    struct memory *memory = call->worker->memory;

    if (entry == NULL)
        return no_memory(call, key);
    if (table_insert(&key->slot->table, memory, call->node->hash_seed, key->hash, entry) < 0) {
        entry_free(memory, entry);
        return no_memory(call, key);
    }
    key->entry = entry;
    key->seen =
        call->worker->gate.changes - 1; /* where it went is looked up only if somebody asks */
    expire_note(call, key, -1, entry_expiry_unix_ms(entry));
    return true;
}

/* The entry functions have returned what now stands for the key; the old one is gone, so `before`,
 * its deadline, must have been read ahead of them (and not in the same list of arguments). */
static bool stands_now(struct call *call, struct key *key, struct entry *entry, int64_t before)
{
    if (entry == NULL)
        return no_memory(call, key);
    if (entry != key->entry)
        table_replace(key->place, entry);
    key->entry = entry;
    int64_t deadline = entry_expiry_unix_ms(entry);
    if (deadline != before)
        expire_note(call, key, before, deadline);
    return true;
}

/* Replaces the entry by one of another make. Takes it. */
static bool exchange(struct call *call, struct key *key, struct entry *entry)
{
    const uint8_t kept = ENTRY_TICKET | ENTRY_TICKET_PASS | ENTRY_EPOCH_MASK;
    struct entry *old = key->entry;
    int64_t before = key_expiry(key);

    if (entry == NULL)
        return no_memory(call, key);
    entry->flags = (uint8_t)((entry->flags & ~kept) | (old->flags & kept));
    stands_now(call, key, entry, before);
    release(call, old);
    return true;
}

/* Can the value be set inside the entry that is there, and the deadline then without memory? */
static bool same_make(const struct key *key, int64_t expiry_unix_ms)
{
    return entry_type(key->entry) == ENTRY_STRING &&
           ((key->entry->flags & ENTRY_EXPIRES) != 0) == (expiry_unix_ms >= 0);
}

static void move_deadline(struct call *call, struct key *key, int64_t expiry_unix_ms)
{
    int64_t before = key_expiry(key);

    if (before == expiry_unix_ms)
        return;
    struct entry *entry = entry_set_expiry(call->worker->memory, key->entry, expiry_unix_ms);
    assert(entry == key->entry); /* it has room for a deadline already */
    expire_note(call, key, before, expiry_unix_ms);
}

enum form { AS_STRING, AS_TEXT, AS_INTEGER };

struct value {
    enum form form;
    struct text text;
    int64_t integer;
};

static struct entry *make(struct memory *memory, struct text name, const struct value *value,
                          int64_t expiry_unix_ms)
{
    if (value->form == AS_INTEGER)
        return entry_create_integer(memory, name, value->integer, expiry_unix_ms);
    if (value->form == AS_TEXT)
        return entry_create_text(memory, name, value->text, expiry_unix_ms);
    return entry_create_string(memory, name, value->text, expiry_unix_ms);
}

static struct entry *change(struct memory *memory, struct entry *entry, const struct value *value)
{
    if (value->form == AS_INTEGER)
        return entry_set_integer(memory, entry, value->integer);
    if (value->form == AS_TEXT)
        return entry_set_text(memory, entry, value->text);
    return entry_set_string(memory, entry, value->text);
}

static bool set_value(struct call *call, struct key *key, const struct value *value,
                      int64_t expiry_unix_ms)
{
    struct memory *memory = call->worker->memory;

    if (!writable(call, key))
        return false;
    if (key->entry == NULL) {
        if (!insert(call, key, make(memory, key->name, value, expiry_unix_ms)))
            return false;
    } else if (same_make(key, expiry_unix_ms)) {
        int64_t before = key_expiry(key);

        if (!stands_now(call, key, change(memory, key->entry, value), before))
            return false;
        move_deadline(call, key, expiry_unix_ms);
    } else if (!exchange(call, key, make(memory, key->name, value, expiry_unix_ms))) {
        return false;
    }
    set_access(call, key->entry);
    return true;
}

bool key_set_string(struct call *call, struct key *key, struct text value, int64_t expiry_unix_ms)
{
    return set_value(call, key, &(struct value){.form = AS_STRING, .text = value}, expiry_unix_ms);
}

bool key_set_text(struct call *call, struct key *key, struct text value, int64_t expiry_unix_ms)
{
    return set_value(call, key, &(struct value){.form = AS_TEXT, .text = value}, expiry_unix_ms);
}

bool key_set_integer(struct call *call, struct key *key, int64_t value, int64_t expiry_unix_ms)
{
    return set_value(call, key, &(struct value){.form = AS_INTEGER, .integer = value},
                     expiry_unix_ms);
}

bool key_append(struct call *call, struct key *key, struct text tail)
{
    if (key->entry == NULL)
        return key_set_string(call, key, tail, -1);
    if (!writable(call, key))
        return false;
    int64_t before = key_expiry(key);

    return stands_now(call, key, entry_string_append(call->worker->memory, key->entry, tail),
                      before);
}

char *key_string_writable(struct call *call, struct key *key, size_t len_bytes)
{
    struct memory *memory = call->worker->memory;
    char *data = NULL;

    if (!writable(call, key))
        return NULL;
    if (key->entry == NULL) {
        if (!insert(call, key, entry_create_zeros(memory, key->name, len_bytes, -1)))
            return NULL;
        set_access(call, key->entry);
    }
    look_again(call, key);
    int64_t before = key_expiry(key);

    if (!stands_now(call, key, entry_string_writable(memory, key->entry, len_bytes, &data), before))
        return NULL;
    return data;
}

bool key_set_expiry(struct call *call, struct key *key, int64_t expiry_unix_ms)
{
    if (!writable(call, key))
        return false;
    assert(key->entry != NULL);
    int64_t before = key_expiry(key);

    return stands_now(call, key, entry_set_expiry(call->worker->memory, key->entry, expiry_unix_ms),
                      before);
}

/* Takes the entry out of its table. The caller releases it when nothing needs the name any more. */
static struct entry *take_out(struct call *call, struct key *key)
{
    struct entry *entry =
        table_remove(&key->slot->table, call->worker->memory, call->node->hash_seed, key->place);

    if ((entry->flags & ENTRY_TICKET) != 0)
        expire_stale(call, key->slot_number);
    key->entry = NULL;
    return entry;
}

void key_delete(struct call *call, struct key *key)
{
    assert(call->write_open && !key->failed && key->entry != NULL);
    look_again(call, key);
    release(call, take_out(call, key));
}

bool key_adopt(struct call *call, struct key *key, struct entry *entry)
{
    if (!writable(call, key)) {
        entry_free(call->worker->memory, entry);
        return false;
    }
    set_access(call, entry);
    return key->entry == NULL ? insert(call, key, entry) : exchange(call, key, entry);
}

bool key_rename(struct call *call, struct key *source, struct key *target, const char *from_event,
                const char *to_event)
{
    struct entry *renamed =
        entry_rename(call->worker->memory, source->entry, target->name, key_expiry(source));

    slot_write_begin(call, target);
    bool done = renamed != NULL ? key_adopt(call, target, renamed) : no_memory(call, target);
    if (done)
        entry_rename_share(target->entry, source->entry);
    slot_write_end(call, target, to_event);
    if (!done)
        return false;
    slot_write_begin(call, source);
    entry_rename_done(source->entry);
    key_delete(call, source);
    slot_write_end(call, source, from_event);
    return true;
}

/* ---- stamps and journal ---- */

static bool journal_read(const struct node *node)
{
    return atomic_load_explicit(&node->journal_readers, memory_order_relaxed) != 0;
}

static void raise_stamp(_Atomic uint64_t *floor, uint64_t stamp)
{
    uint64_t known = atomic_load_explicit(floor, memory_order_relaxed);

    while (known < stamp &&
           !atomic_compare_exchange_weak_explicit(floor, &known, stamp, memory_order_relaxed,
                                                  memory_order_relaxed))
        continue;
}

/* Gives one stamp to all that was changed since the last. */
static uint64_t stamp_touched(struct worker *worker)
{
    struct gate *gate = &worker->gate;
    uint64_t stamp = worker_stamp(worker);

    for (uint32_t i = 0; i < gate->touched_count; i++)
        gate->touched[i]->last_stamp = stamp;
    for (uint32_t db = gate->floor_first; db < gate->floor_end; db++)
        raise_stamp(&worker->node->floor_stamps[db], stamp);
    gate->touched_count = 0;
    gate->floor_first = gate->floor_end = 0;
    return stamp;
}

static void write_record(struct worker *worker, uint64_t stamp, uint32_t db, uint32_t argc,
                         const struct text *argv)
{
    journal_begin(worker->journal, stamp, db);
    journal_command(worker->journal, argc, argv);
    journal_end(worker->journal);
}

static void write_to_block(struct worker *worker, uint32_t db, uint32_t argc,
                           const struct text *argv)
{
    if (!worker->gate.block_open)
        journal_block_begin(worker->journal, db);
    worker->gate.block_open = true;
    journal_block_command(worker->journal, db, argc, argv);
}

/* A key goes on its own account, while the command that found it may not have changed anything yet.
 */
static void drop_now(struct call *call, struct key *key, _Atomic uint64_t *statistic)
{
    struct worker *worker = call->worker;
    struct gate *gate = &worker->gate;
    const struct text argv[2] = {{"DEL", 3}, key->name};

    assert(key->entry != NULL);
    slot_write_begin(call, key);
    struct entry *entry = take_out(call, key);
    call->write_open = false;
    change_made(call, key);
    count_add(statistic, 1);
    count_add(&gate->dirty, 1);
    if (gate->transaction) {
        note_touched(gate, key->slot, key->db);
        if (gate->journaling)
            write_to_block(worker, key->db, 2, argv);
    } else if (journal_read(call->node)) {
        journal_window_open(worker->journal);
        key->slot->last_stamp = worker_stamp(worker);
        write_record(worker, key->slot->last_stamp, key->db, 2, argv);
        journal_window_close(worker->journal);
    } else {
        key->slot->last_stamp = worker_stamp(worker);
    }
    key->seen = gate->changes;
    release(call, entry);
}

void key_expire_now(struct call *call, struct key *key)
{
    drop_now(call, key, &call->worker->stats.expired_keys);
}

void key_evict_now(struct call *call, struct key *key)
{
    drop_now(call, key, &call->worker->stats.evicted_keys);
}

static void commit(struct call *call, uint32_t argc, const struct text *argv)
{
    struct worker *worker = call->worker;
    struct gate *gate = &worker->gate;
    bool silent = call->propagate_none;

    count_add(&gate->dirty, call->dirty);
    if (gate->transaction) {
        if (gate->journaling && !silent)
            write_to_block(worker, call->session->db, argc, argv);
        return;
    }
    if (silent || !journal_read(call->node)) {
        call->stamp = stamp_touched(worker);
        return;
    }
    journal_window_open(worker->journal);
    call->stamp = stamp_touched(worker);
    write_record(worker, call->stamp, call->session->db, argc, argv);
    journal_window_close(worker->journal);
}

void gate_commit(struct call *call)
{
    assert(!call->write_open);
    call->worker->gate.key_hint = 0;
    if (call->dirty > 0) {
        if (call->propagate_argv != NULL)
            commit(call, call->propagate_argc, call->propagate_argv);
        else
            commit(call, call->argc, call->argv);
        call->dirty = 0;
    }
    if (call->propagate_owned)
        free(call->propagate_argv);
    call->propagate_argv = NULL;
    call->propagate_argc = 0;
    call->propagate_owned = call->propagate_none = false;
}

void gate_transaction_begin(struct call *call)
{
    struct gate *gate = &call->worker->gate;

    assert(!gate->transaction);
    gate->transaction = true;
    gate->journaling = journal_read(call->node);
    gate->block_open = false;
}

void gate_transaction_end(struct call *call)
{
    struct worker *worker = call->worker;
    struct gate *gate = &worker->gate;

    assert(gate->transaction);
    gate->transaction = false;
    if (gate->block_open) {
        journal_window_open(worker->journal);
        call->stamp = stamp_touched(worker);
        journal_block_end(worker->journal, call->stamp);
        journal_window_close(worker->journal);
    } else if (gate->touched_count > 0 || gate->floor_end > 0) {
        call->stamp = stamp_touched(worker);
    }
}

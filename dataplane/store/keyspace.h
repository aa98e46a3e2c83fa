/* Keyspace: databases, their slots, and the one gate for every change.
 * Purpose:   what command functions use: find a key, change it, tell the world. Journal, watch
 *            records, byte counts (and later snapshots, events, tracking, waiters) hang on
 *            slot_write_begin/slot_write_end and nowhere else.
 * Shape:     a node has `databases` keyspaces, each created by its first write; each has 16,384
 *            slots (64 bytes each, zero pages until touched).
 * Ownership: a slot object belongs to the worker that owns its slot, or to the coordinator that has
 *            it on loan.
 * Threading: functions run on the worker that holds the slot. Counters are sharded by executing
 *            worker and read by anyone.
 * Errors:    no memory: an OOM error is replied and nothing is changed. */
#ifndef DATAPLANE_STORE_KEYSPACE_H
#define DATAPLANE_STORE_KEYSPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/commands/command.h"
#include "dataplane/store/entry.h"
#include "dataplane/store/gate.h"
#include "dataplane/store/table.h"
#include "dataplane/store/wheel.h"

enum { SLOTS = 16384, SLOT_WORDS = SLOTS / 64, KEYSPACE_WORKERS_MAX = 128 };

struct slot { /* one cache line */
    struct table table;
    _Atomic uint32_t expires; /* entries with a deadline; read by others, as the table's `used` */
    uint32_t epoch;           /* snapshot epoch it was last swept for */
    uint64_t value_bytes;     /* entry_total_bytes of all entries */
    uint64_t last_stamp;      /* of its last change */
    uint64_t operations;      /* commands run on it: load, for balancing */
    void *snapshot;           /* before-images while a snapshot runs */
};
_Static_assert(sizeof(struct slot) <= 72, "a slot is about one cache line");

struct keyspace_count {
    _Alignas(64) _Atomic int64_t keys, expires;
    _Atomic uint64_t deadlines_ms; /* their sum, modulo 2^64 */
};

struct keyspace;

/* A worker's part in freeing a keyspace that was dropped (store/lazyfree.h). */
struct keyspace_drain {
    struct keyspace_drain *next;
    struct keyspace *keyspace;
    uint32_t slot, end; /* what is left of its range */
};

/* One database's contents; FLUSHALL and SWAPDB exchange the node's pointers to these. */
struct keyspace {
    struct slot *slots; /* SLOTS of them, mapped zero pages */
    /* Bit: the slot has keys. Atomic or/and, on the change from and to zero only. */
    _Atomic uint64_t in_use[SLOT_WORDS];
    struct keyspace_count counts[KEYSPACE_WORKERS_MAX]; /* by executing worker */
    _Atomic uint32_t draining; /* workers that have not freed their part yet */
    struct keyspace_drain drains[KEYSPACE_WORKERS_MAX];
};

/* One mapping holds the keyspace and its slots. NULL: no memory. */
struct keyspace *keyspace_create(void);
/* Every table is empty and has freed its arrays. */
void keyspace_destroy_empty(struct keyspace *keyspace);
/* Frees what is in it, in one go: for the end of a node. */
void keyspace_destroy(struct keyspace *keyspace, struct memory *memory);
/* The contents of a database; NULL while nothing was ever written there. */
struct keyspace *keyspace_get(const struct node *node, uint32_t db);
/* The same, created when absent (any number of workers may race). NULL: no memory. */
struct keyspace *keyspace_need(struct node *node, uint32_t db);
int64_t keyspace_keys(const struct keyspace *keyspace); /* sum over workers */
int64_t keyspace_expires(const struct keyspace *keyspace);
/* What entries with a deadline have left on average; 0: there are none. */
int64_t keyspace_mean_ttl_ms(const struct keyspace *keyspace, int64_t now_unix_ms);
/* First slot >= from that has keys, or -1. */
int32_t keyspace_next_slot(const struct keyspace *keyspace, int32_t from);

/* FLUSHDB, FLUSHALL (db -1) and SWAPDB; the call holds every slot of the node. The contents are
 * dropped or exchanged in O(databases), watch records are told as Redis tells them, memory is freed
 * in slices by all workers (lazyfree). They raise call->dirty. */
void keyspace_flush(struct call *call, int32_t db);
void keyspace_swap(struct call *call, uint32_t a, uint32_t b);

/* Tickets in the wheels name a database by a label that follows its contents through SWAPDB, so
 * that a swap leaves the wheels alone. */
uint16_t keyspace_label(const struct node *node, uint32_t db);
/* The database; DATABASES_MAX: none. */
uint32_t keyspace_of_label(const struct node *node, uint16_t label);

/* A key of the running command. Filled by key_find; `entry` is valid until this key changes (also
 * when it is a key of another struct), `place` until the next change in its slot: slot_write_begin
 * looks again when there was one. */
struct key {
    struct text name;
    uint64_t hash;
    struct keyspace *keyspace; /* NULL: nothing was ever written to that database */
    struct slot *slot;         /* NULL likewise */
    struct entry *entry;       /* NULL: absent */
    struct table_place place;
    uint16_t db, slot_number;
    bool hidden; /* past its deadline, left in place while clients are paused */
    /* the gate's */
    bool failed, was_there, expired_before;
    uint64_t seen; /* gate.changes when `place` was found */
    uint64_t bytes_before;
    int64_t deadline_before; /* where expired_before */
};

enum key_find_flag {
    FIND_READ = 0,     /* touches the access clock, counts hit or miss */
    FIND_WRITE = 1,    /* for a change: touches, counts nothing */
    FIND_NO_TOUCH = 2, /* OBJECT, TYPE, TTL ...: leaves the access clock */
    FIND_NO_STATS = 4, /* counts nothing */
};

/* Looks `name` up in the session's database (key_find_in: in db). An entry past its deadline is
 * removed first (journaled as DEL) and reads as absent. Returns whether it is there. Not between
 * slot_write_begin and slot_write_end. */
bool key_find(struct call *call, struct text name, unsigned flags, struct key *key);
bool key_find_in(struct call *call, uint32_t db, struct text name, unsigned flags, struct key *key);
/* As key_find for argv[position], and replies WRONGTYPE (and returns false with *wrong true) when
 * it is there with another type. */
bool key_find_string(struct call *call, uint32_t position, unsigned flags, struct key *key,
                     bool *wrong);
int64_t key_expiry(const struct key *key); /* unix ms; -1: none, or the key is absent */

/* The gate. Every change of a key lies between these two; several keys may be changed by one
 * command, one after the other. `event` is the keyspace event's name ("set", "del", "expire" ...).
 * slot_write_begin finds the key again if anything changed since key_find. slot_write_end marks
 * watchers, counts bytes and keys, raises call->dirty; it does nothing after a change that failed
 * for want of memory. `event` NULL: the value is still the same, only its form has changed (bytes
 * are counted, and nobody is told). */
void slot_write_begin(struct call *call, struct key *key);
void slot_write_end(struct call *call, struct key *key, const char *event);
/* The same for a change that Redis does not tell watchers of (and sends no event for). */
void slot_write_end_unseen(struct call *call, struct key *key);

/* Changes; only inside the gate. false: no memory, error replied, nothing changed. They keep `key`
 * up to date. The deadline passed is the new one: -1 none, key_expiry(key) as it was. */
bool key_set_string(struct call *call, struct key *key, struct text value, int64_t expiry_unix_ms);
/* Never as an integer: the result of INCRBYFLOAT. */
bool key_set_text(struct call *call, struct key *key, struct text value, int64_t expiry_unix_ms);
bool key_set_integer(struct call *call, struct key *key, int64_t value, int64_t expiry_unix_ms);
/* Creates when absent (then as key_set_string), keeps the deadline. */
bool key_append(struct call *call, struct key *key, struct text tail);
/* The string's bytes, raw and at least len_bytes of them, new ones zero; creates when absent, keeps
 * the deadline. NULL: no memory. Valid until the next change. */
char *key_string_writable(struct call *call, struct key *key, size_t len_bytes);
/* The entry must be there; -1 removes the deadline. */
bool key_set_expiry(struct call *call, struct key *key, int64_t expiry_unix_ms);
/* The entry must be there; large values are freed in slices. */
void key_delete(struct call *call, struct key *key);
/* Puts an entry (made with entry_copy under this name) in, replacing what is there. Takes the
 * entry: without memory it is freed. */
bool key_adopt(struct call *call, struct key *key, struct entry *entry);
/* Moves the value and deadline of `source`, which must be there, to `target`, replacing what that
 * holds; a long string is not copied. Opens and closes the gate for both, so not inside it. The
 * names of the two must not be the same in one database. False: no memory, error replied, nothing
 * changed. */
bool key_rename(struct call *call, struct key *source, struct key *target, const char *from_event,
                const char *to_event);

/* A key that goes on its own account, not the command's: begin, delete, end, and a DEL in the
 * journal in front of what the command will write. `key->name` may point into the entry. expire:
 * the deadline has passed; evict: for memory. */
void key_expire_now(struct call *call, struct key *key);
void key_evict_now(struct call *call, struct key *key);

#endif

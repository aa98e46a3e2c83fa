#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/slots/crc16.h"
#include "dataplane/slots/watch.h"
#include "dataplane/store/lazyfree.h"
#include "tests/unit/dataplane/fixture.h"

static struct fixture *f;

static void start(void)
{
    f = fixture_create(2);
    fixture_journal_on(f);
}

static void stop(void)
{
    fixture_destroy(f);
}

TestSuite(keyspace, .init = start, .fini = stop);

static struct text text_of(const char *string)
{
    return (struct text){string, strlen(string)};
}

static struct slot *slot_of(uint32_t db, const char *name)
{
    return &keyspace_get(f->node, db)->slots[crc16_slot(name, strlen(name))];
}

/* The keys of the first worker's half are run by it, the others by the second. */
static void on_owner(const char *name)
{
    fixture_on(f, node_owner(f->node, crc16_slot(name, strlen(name))));
}

static bool set(const char *name, const char *value, int64_t deadline)
{
    struct key key;
    struct call *call =
        fixture_call(f, 3, (struct text[]){TEXT("SET"), text_of(name), text_of(value)});

    fixture_keys(f, 1, (uint32_t[]){1});
    key_find(call, call->argv[1], FIND_WRITE, &key);
    slot_write_begin(call, &key);
    bool done = key_set_string(call, &key, call->argv[2], deadline);
    slot_write_end(call, &key, "set");
    gate_commit(call);
    return done;
}

static bool del(const char *name)
{
    struct key key;
    struct call *call = fixture_call(f, 2, (struct text[]){TEXT("DEL"), text_of(name)});

    if (!key_find(call, call->argv[1], FIND_WRITE, &key))
        return false;
    slot_write_begin(call, &key);
    key_delete(call, &key);
    slot_write_end(call, &key, "del");
    gate_commit(call);
    return true;
}

static const char *get(const char *name)
{
    static char value[4096];
    char number[24];
    struct key key;
    struct call *call = fixture_call(f, 2, (struct text[]){TEXT("GET"), text_of(name)});

    if (!key_find(call, call->argv[1], FIND_READ, &key))
        return NULL;
    struct text found = entry_string(key.entry, number);
    snprintf(value, sizeof value, "%.*s", (int)found.len_bytes, found.data);
    gate_commit(call);
    return value;
}

Test(keyspace, is_created_by_the_first_write_only)
{
    cr_assert_null(get("a"));
    cr_assert_null(keyspace_get(f->node, 0));
    cr_assert(set("a", "1", -1));
    cr_assert_not_null(keyspace_get(f->node, 0));
    cr_assert_null(keyspace_get(f->node, 1));
    cr_assert_str_eq(get("a"), "1");
}

Test(keyspace, counts_keys_deadlines_and_bytes_by_the_executing_worker)
{
    on_owner("a");
    set("a", "1", FIXTURE_NOW_UNIX_MS + 1000);
    struct keyspace *keyspace = keyspace_get(f->node, 0);
    struct slot *slot = slot_of(0, "a");
    struct call *call = fixture_call(f, 1, (struct text[]){TEXT("x")});
    struct key key;
    cr_assert(key_find(call, TEXT("a"), FIND_READ, &key));
    cr_assert_eq(slot->value_bytes, entry_total_bytes(key.entry));
    cr_assert_eq(slot->expires, 1);
    cr_assert_eq(keyspace_expires(keyspace), 1);
    set("a", "a longer value than before", -1);
    cr_assert_eq(slot->expires, 0);
    cr_assert_eq(keyspace_keys(keyspace), 1);
    cr_assert(key_find(call, TEXT("a"), FIND_READ, &key));
    cr_assert_eq(slot->value_bytes, entry_total_bytes(key.entry));
    /* Deleted by the other worker, as on a loan: one count falls below zero, the sum is right. */
    fixture_on(f, 1 - f->worker->index);
    cr_assert(del("a"));
    cr_assert_eq(keyspace_keys(keyspace), 0);
    cr_assert_eq(slot->value_bytes, 0);
    cr_assert_eq(slot->table.used, 0);
}

Test(keyspace, a_bit_tells_which_slots_have_keys)
{
    set("{x}1", "1", -1);
    set("{x}2", "1", -1);
    struct keyspace *keyspace = keyspace_get(f->node, 0);
    int32_t slot = crc16_slot("x", 1);
    cr_assert_eq(keyspace_next_slot(keyspace, 0), slot);
    cr_assert_eq(keyspace_next_slot(keyspace, slot), slot);
    cr_assert_eq(keyspace_next_slot(keyspace, slot + 1), -1);
    del("{x}1");
    cr_assert_eq(keyspace_next_slot(keyspace, 0), slot);
    del("{x}2");
    cr_assert_eq(keyspace_next_slot(keyspace, 0), -1);
    cr_assert_eq(keyspace_next_slot(keyspace, SLOTS), -1);
}

Test(keyspace, a_key_past_its_deadline_is_absent_and_its_deletion_comes_first)
{
    on_owner("k");
    set("k", "1", FIXTURE_NOW_UNIX_MS + 10);
    fixture_journal(f);
    fixture_sleep(f, 10);
    cr_assert_str_eq(get("k"), "1"); /* not before the deadline is over */
    fixture_sleep(f, 1);
    cr_assert_null(get("k"));
    cr_assert_str_eq(fixture_journal(f), "0: DEL k\n");
    cr_assert_eq(count_get(&f->worker->stats.expired_keys), 1);
    set("k", "2", FIXTURE_NOW_UNIX_MS + 20);
    fixture_journal(f);
    fixture_sleep(f, 100);
    set("k", "3", -1);
    cr_assert_str_eq(fixture_journal(f), "0: DEL k\n0: SET k 3\n");
    cr_assert_eq(keyspace_keys(keyspace_get(f->node, 0)), 1);
}

Test(keyspace, while_clients_are_paused_expired_keys_are_hidden_and_kept)
{
    on_owner("k");
    set("k", "1", FIXTURE_NOW_UNIX_MS + 10);
    fixture_journal(f);
    fixture_sleep(f, 100);
    atomic_store(&f->node->pause_until_unix_ms, FIXTURE_NOW_UNIX_MS + 1000);
    cr_assert_null(get("k"));
    cr_assert_str_eq(fixture_journal(f), "");
    cr_assert_eq(keyspace_keys(keyspace_get(f->node, 0)), 1);
    /* A change that was under way when the pause began must not see a second entry of that name. */
    struct call *call = fixture_call(f, 3, (struct text[]){TEXT("SET"), TEXT("k"), TEXT("2")});
    struct key key;
    cr_assert_not(key_find(call, call->argv[1], FIND_READ, &key));
    slot_write_begin(call, &key);
    cr_assert(key_set_string(call, &key, call->argv[2], -1));
    slot_write_end(call, &key, "set");
    gate_commit(call);
    cr_assert_str_eq(fixture_journal(f), "0: DEL k\n0: SET k 2\n");
    cr_assert_eq(keyspace_keys(keyspace_get(f->node, 0)), 1);
}

Test(keyspace, reading_touches_the_access_clock_unless_told_not_to)
{
    struct key key;
    set("k", "1", -1);
    struct call *call = fixture_call(f, 2, (struct text[]){TEXT("GET"), TEXT("k")});
    cr_assert(key_find(call, TEXT("k"), FIND_NO_TOUCH, &key));
    uint32_t written = entry_access(key.entry);
    cr_assert_eq(written, (FIXTURE_NOW_UNIX_MS / 1000) & 0xffffff);
    fixture_sleep(f, 5000);
    call = fixture_call(f, 2, (struct text[]){TEXT("GET"), TEXT("k")});
    key_find(call, TEXT("k"), FIND_NO_TOUCH, &key);
    cr_assert_eq(entry_access(key.entry), written);
    const struct command get_row = {.name = "get"}, touch_row = {.name = "touch"};
    call->command = &get_row;
    f->session.no_touch = true;
    key_find(call, TEXT("k"), FIND_READ, &key);
    cr_assert_eq(entry_access(key.entry), written);
    call->command = &touch_row;
    key_find(call, TEXT("k"), FIND_READ, &key);
    cr_assert_eq(entry_access(key.entry), written + 5);
    fixture_sleep(f, 5000);
    f->session.no_touch = false;
    get("k");
    cr_assert_eq(entry_access(key.entry), written + 10);
}

Test(keyspace, only_reads_count_hits_and_misses)
{
    struct key key;
    set("k", "1", -1);
    get("k");
    get("other");
    struct call *call = fixture_call(f, 2, (struct text[]){TEXT("x"), TEXT("k")});
    key_find(call, TEXT("k"), FIND_WRITE, &key);
    key_find(call, TEXT("k"), FIND_NO_STATS, &key);
    key_find(call, TEXT("k"), FIND_NO_TOUCH, &key);
    cr_assert_eq(count_get(&f->worker->stats.keyspace_hits), 2);
    cr_assert_eq(count_get(&f->worker->stats.keyspace_misses), 1);
}

Test(keyspace, hashes_that_routing_worked_out_are_used_by_position)
{
    struct key key;
    struct call *call =
        fixture_call(f, 4, (struct text[]){TEXT("MGET"), TEXT("one"), TEXT("two"), TEXT("three")});
    fixture_keys(f, 3, (uint32_t[]){1, 2, 3});
    for (uint32_t i = 0; i < 3; i++)
        call->keys[i].hash = i + 7; /* nobody else would come up with these */
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 1; i <= 3; i++) {
            key_find(call, call->argv[i], FIND_READ, &key);
            cr_assert_eq(key.hash, i + 6);
            cr_assert_eq(key.slot_number, crc16_slot(call->argv[i].data, call->argv[i].len_bytes));
        }
    }
    key_find(call, TEXT("four"), FIND_READ, &key);
    cr_assert_eq(key.hash, table_hash(f->node->hash_seed, TEXT("four")));
}

Test(keyspace, a_key_found_before_another_changed_is_looked_up_again)
{
    char names[200][32];
    struct key keys[200];
    struct text argv[201] = {TEXT("MSET")};

    for (int i = 0; i < 200; i++) {
        snprintf(names[i], sizeof names[i], "{t}%d", i);
        argv[i + 1] = text_of(names[i]);
    }
    struct call *call = fixture_call(f, 201, argv);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 200; i++)
            key_find(call, call->argv[i + 1], FIND_WRITE, &keys[i]);
        for (int i = 0; i < 200; i++) { /* the table grows under the places found */
            slot_write_begin(call, &keys[i]);
            cr_assert(key_set_integer(call, &keys[i], i, -1));
            slot_write_end(call, &keys[i], "set");
        }
        cr_assert_eq(keyspace_keys(keyspace_get(f->node, 0)), 200);
    }
    for (int i = 0; i < 200; i++)
        key_find(call, call->argv[i + 1], FIND_WRITE, &keys[i]);
    for (int i = 0; i < 200; i++) {
        slot_write_begin(call, &keys[i]);
        key_delete(call, &keys[i]);
        slot_write_end(call, &keys[i], "del");
    }
    cr_assert_eq(keyspace_keys(keyspace_get(f->node, 0)), 0);
    cr_assert_eq(slot_of(0, "{t}")->value_bytes, 0);
    gate_commit(call);
}

Test(keyspace, changes_of_every_kind_keep_the_books)
{
    struct key key;
    struct call *call = fixture_call(f, 2, (struct text[]){TEXT("x"), TEXT("k")});

    on_owner("k");
    call->worker = f->worker;
    key_find(call, TEXT("k"), FIND_WRITE, &key);
    slot_write_begin(call, &key);
    cr_assert(key_append(call, &key, TEXT("12")));
    cr_assert(key_append(call, &key, TEXT("34")));
    cr_assert(key_set_expiry(call, &key, FIXTURE_NOW_UNIX_MS + 77));
    slot_write_end(call, &key, "append");
    cr_assert_eq(key_expiry(&key), FIXTURE_NOW_UNIX_MS + 77);
    slot_write_begin(call, &key);
    char *data = key_string_writable(call, &key, 2000);
    cr_assert_eq(memcmp(data, "1234\0\0", 6), 0);
    data[1999] = 'x';
    slot_write_end(call, &key, "setrange");
    cr_assert_eq(key_expiry(&key), FIXTURE_NOW_UNIX_MS + 77);
    cr_assert_eq(key.slot->value_bytes, entry_total_bytes(key.entry));
    cr_assert_eq(entry_string_len(key.entry), 2000);
    slot_write_begin(call, &key);
    cr_assert(key_set_integer(call, &key, 5, key_expiry(&key)));
    cr_assert(key_set_expiry(call, &key, -1));
    slot_write_end(call, &key, "incrby");
    cr_assert_eq(keyspace_expires(keyspace_get(f->node, 0)), 0);
    cr_assert_str_eq(get("k"), "5");
    cr_assert_eq(call->dirty, 0); /* get has committed */
    /* A large value, and an entry that comes from elsewhere. */
    char *large = malloc(300000);
    memset(large, 'v', 300000);
    call = fixture_call(f, 2, (struct text[]){TEXT("x"), TEXT("k")});
    key_find(call, TEXT("k"), FIND_WRITE, &key);
    slot_write_begin(call, &key);
    cr_assert(key_set_string(call, &key, (struct text){large, 300000}, -1));
    slot_write_end(call, &key, "set");
    cr_assert_gt(key.slot->value_bytes, 300000);
    struct entry *copy = entry_copy(f->worker->memory, key.entry, TEXT("k"), -1);
    slot_write_begin(call, &key);
    cr_assert(key_adopt(call, &key, copy));
    slot_write_end(call, &key, "restore");
    cr_assert_eq(key.slot->value_bytes, entry_total_bytes(copy));
    slot_write_begin(call, &key);
    key_delete(call, &key);
    slot_write_end(call, &key, "del");
    cr_assert_eq(call->dirty, 3);
    gate_commit(call);
    free(large);
}

Test(keyspace, text_is_never_an_integer_and_a_value_can_be_replaced_in_two_steps)
{
    struct key key;
    struct call *call = fixture_call(f, 2, (struct text[]){TEXT("x"), TEXT("k")});
    key_find(call, TEXT("k"), FIND_WRITE, &key);
    slot_write_begin(call, &key);
    cr_assert(key_set_text(call, &key, TEXT("17"), -1));
    slot_write_end(call, &key, "incrbyfloat");
    cr_assert_eq(entry_encoding(key.entry), ENTRY_ENC_EMBSTR);
    slot_write_begin(call, &key);
    cr_assert(key_set_string(call, &key, TEXT("17"), FIXTURE_NOW_UNIX_MS + 50));
    slot_write_end(call, &key, "set");
    cr_assert_eq(entry_encoding(key.entry), ENTRY_ENC_INT);
    slot_write_begin(call, &key);
    key_delete(call, &key);
    memcpy(key_string_writable(call, &key, 2), "18", 2);
    slot_write_end(call, &key, "set");
    cr_assert_eq(entry_encoding(key.entry), ENTRY_ENC_RAW);
    cr_assert_eq(key.slot->value_bytes, entry_total_bytes(key.entry));
    cr_assert_eq(key.slot->expires, 0);
    cr_assert_eq(keyspace_keys(keyspace_get(f->node, 0)), 1);
    gate_commit(call);
    cr_assert_str_eq(get("k"), "18");
}

Test(keyspace, one_of_another_type_answers_wrongtype)
{
    bool wrong;
    struct key key;
    set("k", "1", -1);
    struct call *call = fixture_call(f, 2, (struct text[]){TEXT("GET"), TEXT("k")});
    cr_assert(key_find_string(call, 1, FIND_READ, &key, &wrong));
    key.entry->type_encoding |= ENTRY_LIST;
    cr_assert_not(key_find_string(call, 1, FIND_READ, &key, &wrong));
    cr_assert(wrong);
    cr_assert_str_eq(fixture_reply(f),
                     "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
    key.entry->type_encoding &= 0xf0;
}

Test(keyspace, stamps_grow_and_are_noted_on_the_slots)
{
    set("a", "1", -1);
    uint64_t first = slot_of(0, "a")->last_stamp;
    cr_assert_eq(f->call.stamp, first);
    cr_assert_neq(first, 0);
    set("a", "2", -1);
    cr_assert_gt(slot_of(0, "a")->last_stamp, first);
    uint64_t last = slot_of(0, "a")->last_stamp;
    get("a");
    cr_assert_eq(slot_of(0, "a")->last_stamp, last);
    cr_assert_eq(f->node->floor_stamps[0], 0);
}

Test(keyspace, a_command_on_many_slots_raises_the_floor_of_its_database)
{
    char names[100][16];
    struct text argv[101] = {TEXT("MSET")};
    struct key key;

    for (int i = 0; i < 100; i++) {
        snprintf(names[i], sizeof names[i], "key:%d", i);
        argv[i + 1] = text_of(names[i]);
    }
    struct call *call = fixture_call(f, 101, argv);
    for (int i = 0; i < 100; i++) {
        key_find(call, call->argv[i + 1], FIND_WRITE, &key);
        slot_write_begin(call, &key);
        key_set_integer(call, &key, i, -1);
        slot_write_end(call, &key, "set");
    }
    gate_commit(call);
    cr_assert_neq(call->stamp, 0);
    cr_assert_eq(f->node->floor_stamps[0], call->stamp);
    cr_assert_eq(f->node->floor_stamps[1], 0);
    for (int i = 0; i < 100; i++)
        cr_assert(slot_of(0, names[i])->last_stamp == call->stamp ||
                  f->node->floor_stamps[0] == call->stamp);
}

Test(keyspace, a_transaction_is_one_block_with_one_stamp)
{
    struct call outer;
    set("old", "1", FIXTURE_NOW_UNIX_MS + 5);
    fixture_journal(f);
    fixture_sleep(f, 100);
    outer = *fixture_call(f, 1, (struct text[]){TEXT("EXEC")});
    gate_transaction_begin(&outer);
    set("a", "1", -1);
    get("old"); /* runs out inside */
    f->session.db = 3;
    set("b", "2", -1);
    f->session.db = 0;
    cr_assert_str_eq(fixture_journal(f), "");
    gate_transaction_end(&outer);
    cr_assert_str_eq(fixture_journal(f), "0: MULTI; SET a 1; DEL old; SELECT 3; SET b 2; EXEC\n");
    cr_assert_eq(slot_of(0, "a")->last_stamp, outer.stamp);
    cr_assert_eq(slot_of(3, "b")->last_stamp, outer.stamp);
    cr_assert_eq(slot_of(0, "old")->last_stamp, outer.stamp);
}

Test(keyspace, a_transaction_with_one_change_needs_no_multi)
{
    struct call outer = *fixture_call(f, 1, (struct text[]){TEXT("EXEC")});
    gate_transaction_begin(&outer);
    get("a");
    f->session.db = 2;
    set("a", "1", -1);
    gate_transaction_end(&outer);
    cr_assert_str_eq(fixture_journal(f), "2: SET a 1\n");
    gate_transaction_begin(&outer);
    get("a");
    gate_transaction_end(&outer);
    cr_assert_str_eq(fixture_journal(f), "");
}

Test(keyspace, a_command_can_say_what_the_journal_gets)
{
    struct key key;
    struct call *call = fixture_call(f, 2, (struct text[]){TEXT("INCR"), TEXT("k")});
    struct text *other = malloc(3 * sizeof *other);
    memcpy(other, (struct text[]){TEXT("SET"), TEXT("k"), TEXT("1")}, 3 * sizeof *other);
    key_find(call, TEXT("k"), FIND_WRITE, &key);
    slot_write_begin(call, &key);
    key_set_integer(call, &key, 1, -1);
    slot_write_end(call, &key, "incrby");
    call->propagate_argv = other;
    call->propagate_argc = 3;
    call->propagate_owned = true;
    gate_commit(call);
    cr_assert_str_eq(fixture_journal(f), "0: SET k 1\n");
    slot_write_begin(call, &key);
    key_set_integer(call, &key, 2, -1);
    slot_write_end(call, &key, "incrby");
    call->propagate_none = true;
    gate_commit(call);
    cr_assert_str_eq(fixture_journal(f), "");
    cr_assert_eq(call->dirty, 0);
    cr_assert_not(call->propagate_none);
}

Test(keyspace, flushing_drops_all_and_frees_in_slices)
{
    char name[32];
    int64_t before = memory_used_bytes(f->node->workers[0]->memory) +
                     memory_used_bytes(f->node->workers[1]->memory);

    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "key:%d", i);
        on_owner(name);
        set(name, "a value that is long enough", i % 2 == 0 ? -1 : FIXTURE_NOW_UNIX_MS + 5000);
    }
    f->session.db = 1;
    set("other", "1", -1);
    f->session.db = 0;
    struct call *call = fixture_call(f, 1, (struct text[]){TEXT("FLUSHDB")});
    keyspace_flush(call, 0);
    cr_assert_eq(call->dirty, 5001);
    fixture_journal(f);
    gate_commit(call);
    cr_assert_str_eq(fixture_journal(f), "0: FLUSHDB\n");
    cr_assert_eq(f->node->floor_stamps[0], call->stamp);
    cr_assert_null(get("key:1"));
    cr_assert_null(keyspace_get(f->node, 0));
    cr_assert_eq(atomic_load(&f->node->dropped_keyspaces), 1);
    set("key:1", "again", -1);
    /* What is dropped goes in slices, by both workers; the tickets of its keys are stale now. */
    lazyfree_run(f->node->workers[0], 0);
    cr_assert_eq(atomic_load(&f->node->dropped_keyspaces), 1);
    fixture_background(f);
    cr_assert_eq(atomic_load(&f->node->dropped_keyspaces), 0);
    cr_assert_eq(wheel_stale(f->node->workers[0]->wheel) + wheel_stale(f->node->workers[1]->wheel),
                 2500);
    cr_assert_str_eq(get("key:1"), "again");
    call = fixture_call(f, 1, (struct text[]){TEXT("FLUSHALL")});
    keyspace_flush(call, -1);
    gate_commit(call);
    fixture_sleep(f, 100000);
    fixture_background(f);
    cr_assert_null(keyspace_get(f->node, 1));
    cr_assert_eq(wheel_tickets(f->node->workers[0]->wheel), 0);
    int64_t after = memory_used_bytes(f->node->workers[0]->memory) +
                    memory_used_bytes(f->node->workers[1]->memory);
    cr_assert_leq(after, before + 1024, "%ld bytes are not given back", (long)(after - before));
}

Test(keyspace, a_swap_takes_deadlines_along)
{
    on_owner("a");
    set("a", "in 0", FIXTURE_NOW_UNIX_MS + 1000);
    f->session.db = 5;
    set("a", "in 5", FIXTURE_NOW_UNIX_MS + 9000);
    f->session.db = 0;
    fixture_journal(f);
    for (int round = 0; round < 3; round++) {
        struct call *call =
            fixture_call(f, 3, (struct text[]){TEXT("SWAPDB"), TEXT("0"), TEXT("5")});
        keyspace_swap(call, 0, 5);
        gate_commit(call);
    }
    cr_assert_str_eq(get("a"), "in 5");
    fixture_journal(f);
    fixture_sleep(f, 1100);
    fixture_background(f);
    cr_assert_str_eq(fixture_journal(f), "5: DEL a\n"); /* nobody had to look */
    cr_assert_eq(keyspace_keys(keyspace_get(f->node, 5)), 0);
    /* A swap with a database that was never written. */
    struct call *call = fixture_call(f, 3, (struct text[]){TEXT("SWAPDB"), TEXT("0"), TEXT("9")});
    keyspace_swap(call, 0, 9);
    gate_commit(call);
    cr_assert_null(get("a"));
    fixture_journal(f);
    fixture_sleep(f, 9000);
    fixture_background(f);
    cr_assert_str_eq(fixture_journal(f), "9: DEL a\n");
}

Test(keyspace, without_memory_for_a_key_nothing_changes)
{
    struct key key;
    struct call *call = fixture_call(f, 3, (struct text[]){TEXT("SET"), TEXT("k"), TEXT("v")});
    key_find(call, TEXT("k"), FIND_WRITE, &key);
    slot_write_begin(call, &key);
    key.failed = true; /* as when the database could not be created */
    cr_assert_not(key_set_string(call, &key, TEXT("v"), -1));
    slot_write_end(call, &key, "set");
    cr_assert_eq(call->dirty, 0);
    gate_commit(call);
    cr_assert_str_eq(fixture_journal(f), "");
    cr_assert_str_eq(fixture_reply(f),
                     "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    cr_assert_eq(keyspace_keys(keyspace_get(f->node, 0)), 0);
}

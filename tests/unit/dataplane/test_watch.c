#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/slots/crc16.h"
#include "dataplane/slots/watch.h"
#include "tests/unit/dataplane/fixture.h"

static struct fixture *f;

static void start(void)
{
    f = fixture_create(1);
}

static void stop(void)
{
    fixture_destroy(f);
}

TestSuite(watch, .init = start, .fini = stop);

static struct text text_of(const char *string)
{
    return (struct text){string, strlen(string)};
}

static uint16_t slot_of(const char *name)
{
    return crc16_slot(name, strlen(name));
}

static void watch(uint64_t client, const char *name)
{
    cr_assert_eq(watch_add(f->node, f->worker->memory, slot_of(name), client, f->session.db,
                           text_of(name), f->worker->now_unix_ms),
                 0);
}

static bool dirty(uint64_t client, const char *name)
{
    return watch_check(f->node, slot_of(name), client, f->worker->now_unix_ms);
}

static void unwatch(uint64_t client, const char *name)
{
    watch_remove_client(f->node, f->worker->memory, slot_of(name), client);
}

static void set(const char *name, int64_t in_ms)
{
    struct key key;
    struct call *call = fixture_call(f, 3, (struct text[]){TEXT("SET"), text_of(name), TEXT("v")});

    key_find(call, call->argv[1], FIND_WRITE, &key);
    slot_write_begin(call, &key);
    key_set_string(call, &key, call->argv[2], in_ms < 0 ? -1 : f->worker->now_unix_ms + in_ms);
    slot_write_end(call, &key, "set");
    gate_commit(call);
}

static void del(const char *name)
{
    struct key key;
    struct call *call = fixture_call(f, 2, (struct text[]){TEXT("DEL"), text_of(name)});

    cr_assert(key_find(call, call->argv[1], FIND_WRITE, &key));
    slot_write_begin(call, &key);
    key_delete(call, &key);
    slot_write_end(call, &key, "del");
    gate_commit(call);
}

static void get(const char *name)
{
    struct key key;
    key_find(fixture_call(f, 1, (struct text[]){TEXT("GET")}), text_of(name), FIND_READ, &key);
}

static void flush(int32_t db)
{
    struct call *call = fixture_call(f, 1, (struct text[]){TEXT("FLUSHALL")});
    keyspace_flush(call, db);
    gate_commit(call);
}

static void swap(uint32_t a, uint32_t b)
{
    struct call *call = fixture_call(f, 1, (struct text[]){TEXT("SWAPDB")});
    keyspace_swap(call, a, b);
    gate_commit(call);
}

Test(watch, a_change_marks_every_client_that_watches_the_key)
{
    set("k", -1);
    watch(1, "k");
    watch(2, "k");
    watch(3, "{k}other");
    cr_assert_not(dirty(1, "k"));
    set("k", -1);
    cr_assert(dirty(1, "k"));
    cr_assert(dirty(2, "k"));
    cr_assert_not(dirty(3, "k"));
    unwatch(1, "k");
    cr_assert_not(dirty(1, "k"));
    cr_assert(dirty(2, "k"));
}

Test(watch, an_absent_key_is_watched_too)
{
    watch(1, "k");
    set("{k}2", -1);
    cr_assert_not(dirty(1, "k"));
    set("k", -1);
    cr_assert(dirty(1, "k"));
}

Test(watch, records_are_counted_and_go)
{
    char name[32];
    for (uint64_t client = 1; client <= 100; client++) {
        for (int i = 0; i < 20; i++) {
            snprintf(name, sizeof name, "{k}%d", i);
            watch(client, name);
            watch(client, name); /* twice is once */
        }
    }
    cr_assert_eq(atomic_load(&f->node->watch_count), 2000);
    set("{k}7", -1);
    for (uint64_t client = 1; client <= 100; client++) {
        cr_assert(dirty(client, "k"));
        unwatch(client, "k");
    }
    cr_assert_eq(atomic_load(&f->node->watch_count), 0);
    cr_assert_null(f->node->watches[slot_of("k")]);
}

Test(watch, databases_are_apart)
{
    watch(1, "k");
    f->session.db = 1;
    set("k", -1);
    cr_assert_not(dirty(1, "k"));
    watch(2, "k");
    f->session.db = 0;
    set("k", -1);
    cr_assert(dirty(1, "k"));
    cr_assert_not(dirty(2, "k"));
}

Test(watch, a_key_that_runs_out_after_watch_fails_the_transaction)
{
    set("k", 100);
    watch(1, "k");
    fixture_sleep(f, 101);
    cr_assert(dirty(1, "k")); /* nobody has deleted it yet */
    set("j", 100);
    watch(2, "j");
    fixture_sleep(f, 101);
    get("j"); /* deletes it */
    cr_assert(dirty(2, "j"));
}

Test(watch, a_key_that_had_run_out_already_may_go)
{
    set("k", 100);
    fixture_sleep(f, 101);
    watch(1, "k");
    cr_assert_not(dirty(1, "k"));
    get("k");
    cr_assert_not(dirty(1, "k"));
    set("k", -1); /* but a new one is a change */
    cr_assert(dirty(1, "k"));
}

Test(watch, deleting_marks)
{
    set("k", -1);
    watch(1, "k");
    del("k");
    cr_assert(dirty(1, "k"));
}

Test(watch, flushing_marks_what_was_there)
{
    set("there", -1);
    set("gone", 100);
    fixture_sleep(f, 101);
    watch(1, "there");
    watch(1, "absent");
    watch(2, "absent");
    watch(3, "gone");
    flush(3);
    cr_assert_not(dirty(1, "there"));
    flush(0);
    cr_assert(dirty(1, "there"));
    cr_assert_not(dirty(2, "absent"));
    cr_assert_not(dirty(3, "gone"));
    set("gone", -1);
    cr_assert(dirty(3, "gone"));
}

Test(watch, a_swap_marks_what_is_in_either_database)
{
    set("first", -1);
    watch(1, "first");
    watch(2, "second");
    watch(3, "neither");
    f->session.db = 1;
    set("second", -1);
    watch(4, "first");
    f->session.db = 0;
    swap(2, 3);
    cr_assert_not(dirty(1, "first"));
    swap(0, 1);
    cr_assert(dirty(1, "first"));
    cr_assert(dirty(2, "second"));
    cr_assert_not(dirty(3, "neither"));
    cr_assert(dirty(4, "first"));
}

Test(watch, a_swap_knows_keys_that_have_run_out)
{
    f->session.db = 1;
    set("a", 100); /* will have run out in 1 */
    set("b", -1);
    f->session.db = 0;
    set("b", 100); /* and in 0 */
    set("c", 100);
    f->session.db = 1;
    set("c", 100);
    f->session.db = 0;
    fixture_sleep(f, 101);
    watch(1, "a"); /* absent, gets one that has run out: no change */
    watch(2, "b"); /* had run out, gets a live one */
    watch(3, "c"); /* had run out, gets one that has run out */
    swap(0, 1);
    cr_assert_not(dirty(1, "a"));
    cr_assert(dirty(2, "b"));
    cr_assert_not(dirty(3, "c"));
    get("a");
    cr_assert_not(dirty(1, "a"));
    set("a", -1);
    cr_assert(dirty(1, "a"));
}

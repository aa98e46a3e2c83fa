#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/slots/crc16.h"
#include "dataplane/store/lazyfree.h"
#include "tests/unit/dataplane/fixture.h"

static struct fixture *f;

static void stop(void)
{
    fixture_destroy(f);
}

TestSuite(lazyfree, .fini = stop);

static void set(const char *name, struct text value)
{
    struct key key;
    struct call *call =
        fixture_call(f, 3, (struct text[]){TEXT("SET"), {name, strlen(name)}, value});

    key_find(call, call->argv[1], FIND_WRITE, &key);
    slot_write_begin(call, &key);
    cr_assert(key_set_string(call, &key, value, -1));
    slot_write_end(call, &key, "set");
    gate_commit(call);
}

static void del(const char *name)
{
    struct key key;
    struct call *call = fixture_call(f, 2, (struct text[]){TEXT("DEL"), {name, strlen(name)}});

    cr_assert(key_find(call, call->argv[1], FIND_WRITE, &key));
    slot_write_begin(call, &key);
    key_delete(call, &key);
    slot_write_end(call, &key, "del");
    gate_commit(call);
}

static int64_t used(void)
{
    return memory_used_bytes(f->worker->memory);
}

Test(lazyfree, a_large_value_goes_after_its_command)
{
    f = fixture_create(1);
    char *large = calloc(1, 1024 * 1024);
    set("small", TEXT("v"));
    int64_t before = used();
    set("large", (struct text){large, 1024 * 1024});
    del("small");
    cr_assert_eq(count_get(&f->worker->stats.lazyfree_pending), 0);
    del("large");
    cr_assert_eq(count_get(&f->worker->stats.lazyfree_pending), 1);
    cr_assert_gt(used(), 1024 * 1024);
    cr_assert_not(lazyfree_run(f->worker, 1000));
    cr_assert_leq(used(), before);
    cr_assert_eq(count_get(&f->worker->stats.lazyfree_pending), 0);
    cr_assert_eq(count_get(&f->worker->stats.lazyfreed), 1);
    free(large);
}

Test(lazyfree, what_is_left_at_the_end_goes_with_the_worker)
{
    f = fixture_create(1);
    char *large = calloc(1, 1024 * 1024);
    set("large", (struct text){large, 1024 * 1024});
    del("large"); /* the leak checker sees whether it is freed */
    set("other", TEXT("v"));
    keyspace_flush(fixture_call(f, 1, (struct text[]){TEXT("FLUSHALL")}), -1);
    free(large);
}

Test(lazyfree, every_worker_frees_its_part_of_a_keyspace_and_the_last_one_ends_it)
{
    char name[32];
    f = fixture_create(3);
    for (int i = 0; i < 9000; i++) {
        snprintf(name, sizeof name, "key:%d", i);
        fixture_on(f, node_owner(f->node, crc16_slot(name, strlen(name))));
        set(name, TEXT("value"));
    }
    struct call *call = fixture_call(f, 1, (struct text[]){TEXT("FLUSHALL")});
    keyspace_flush(call, -1);
    gate_commit(call);
    for (uint32_t i = 0; i < 3; i++) {
        struct worker *worker = f->node->workers[i];
        cr_assert(lazyfree_run(worker, 0)); /* not in one go */
        cr_assert_leq(count_get(&worker->stats.lazyfreed), LAZYFREE_BATCH);
        cr_assert_eq(atomic_load(&f->node->dropped_keyspaces), 1);
        while (lazyfree_run(worker, 100))
            continue;
        cr_assert_gt(count_get(&worker->stats.lazyfreed), 2000);
    }
    cr_assert_eq(atomic_load(&f->node->dropped_keyspaces), 0);
    cr_assert_eq(count_get(&f->node->workers[0]->stats.lazyfreed) +
                     count_get(&f->node->workers[1]->stats.lazyfreed) +
                     count_get(&f->node->workers[2]->stats.lazyfreed),
                 9000);
}

#include "tests/unit/dataplane/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/persist/journal.h"
#include "dataplane/slots/crc16.h"
#include "dataplane/slots/queue.h"
#include "dataplane/slots/watch.h"
#include "dataplane/store/evict.h"
#include "dataplane/store/lazyfree.h"

enum { FIXTURE_ROUNDS_MAX = 1000000 };

static void need(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "fixture: %s failed\n", what);
    abort();
}

/* ---- stand-ins for what needs running workers; weak, so that a test may link the real ones ----
 */

static struct fixture *fixture_of(struct node *node)
{
    return node->control;
}

__attribute__((weak)) struct effects *call_effects(struct call *call, uint16_t slot)
{
    return node_owner(call->node, slot) == call->worker->index ? NULL
                                                               : &fixture_of(call->node)->effects;
}

__attribute__((weak)) void expire_ticket_elsewhere(struct worker *worker, uint32_t owner,
                                                   struct wheel_ticket ticket)
{
    expire_tickets_arrived(worker->node->workers[owner], &ticket, 1);
}

__attribute__((weak)) uint64_t worker_stamp(struct worker *worker)
{
    return ++worker->last_stamp;
}

__attribute__((weak)) uint64_t rng_next(struct rng *rng)
{
    rng->state[0] = rng->state[0] * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return rng->state[0] ^ rng->state[0] >> 29;
}

__attribute__((weak)) void rng_seed(struct rng *rng, uint64_t seed)
{
    rng->state[0] = seed;
}

/* ---- replies ---- */

static bool more(struct reply *reply, size_t need_bytes)
{
    struct fixture *fixture = reply->sink_arg;
    size_t written = reply->base == NULL ? 0 : (size_t)(reply->cur - reply->base);
    size_t used = reply->committed_bytes + written;

    if (fixture->reply_capacity < used + need_bytes + 1) {
        fixture->reply_capacity = (used + need_bytes + 1) * 2;
        fixture->reply_text = realloc(fixture->reply_text, fixture->reply_capacity);
        need(fixture->reply_text != NULL, "memory for a reply");
    }
    reply->committed_bytes = used;
    reply->base = reply->cur = fixture->reply_text + used;
    reply->end = fixture->reply_text + fixture->reply_capacity - 1;
    return true;
}

static bool append(struct reply *reply, const char *data, size_t len_bytes, void (*release)(void *),
                   void *arg)
{
    more(reply, len_bytes);
    memcpy(reply->cur, data, len_bytes);
    reply->cur += len_bytes;
    if (release != NULL)
        release(arg);
    return true;
}

static const struct reply_sink sink = {.more = more, .append = append};

static void start_reply(struct fixture *fixture)
{
    fixture->reply =
        (struct reply){.sink = &sink, .sink_arg = fixture, .resp = fixture->session.resp};
}

const char *fixture_reply(struct fixture *fixture)
{
    more(&fixture->reply, 1);
    fixture->reply_text[fixture->reply.committed_bytes] = '\0';
    start_reply(fixture);
    return fixture->reply_text;
}

/* ---- life ---- */

static struct worker *make_worker(struct node *node, uint32_t index)
{
    struct worker *worker = aligned_alloc(64, (sizeof *worker + 63) & ~(size_t)63);

    need(worker != NULL, "memory for a worker");
    memset(worker, 0, sizeof *worker);
    worker->node = node;
    worker->index = index;
    worker->now_unix_ms = FIXTURE_NOW_UNIX_MS;
    worker->memory = memory_create();
    need(worker->memory != NULL, "memory_create");
    worker->wheel = wheel_create(worker->memory, FIXTURE_NOW_UNIX_MS);
    worker->journal = journal_create();
    worker->lazyfree = lazyfree_create();
    worker->evict = evict_create();
    need(worker->wheel != NULL && worker->journal != NULL && worker->lazyfree != NULL &&
             worker->evict != NULL && queues_create(&worker->queues, SLOTS) == 0,
         "a part of a worker");
    rng_seed(&worker->rng, 0x9e3779b97f4a7c15 + index);
    return worker;
}

struct fixture *fixture_create(uint32_t workers)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct node *node = aligned_alloc(64, (sizeof *node + 63) & ~(size_t)63);

    need(fixture != NULL && node != NULL, "memory");
    memset(node, 0, sizeof *node);
    fixture->node = node;
    node->control = fixture;
    node->config = config_create();
    need(node->config != NULL, "config_create");
    node->worker_count = workers;
    node->database_count = FIXTURE_DATABASES;
    node->hash_seed = 0x5ca1ab1e0ddba11;
    node->started_unix_ms = FIXTURE_NOW_UNIX_MS;
    atomic_store(&node->active_expire, true);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        atomic_store(&node->owner[slot], (uint8_t)(slot * workers / SLOTS));
    for (uint32_t i = 0; i < workers; i++)
        node->workers[i] = make_worker(node, i);
    fixture->session = (struct session){.client_id = 1, .resp = 2};
    fixture->worker = node->workers[0];
    start_reply(fixture);
    return fixture;
}

void fixture_destroy(struct fixture *fixture)
{
    struct node *node = fixture->node;
    struct memory *memory = node->workers[0]->memory;

    watch_destroy_all(node, memory);
    for (uint32_t i = 0; i < node->worker_count; i++)
        lazyfree_destroy(node->workers[i], node->workers[i]->lazyfree);
    for (uint32_t db = 0; db < node->database_count; db++)
        if (keyspace_get(node, db) != NULL)
            keyspace_destroy(keyspace_get(node, db), memory);
    for (uint32_t i = 0; i < node->worker_count; i++) {
        struct worker *worker = node->workers[i];
        wheel_destroy(worker->wheel);
        journal_destroy(worker->journal);
        evict_destroy(worker->evict);
        queues_destroy(worker->queues);
    }
    for (uint32_t i = 0; i < node->worker_count; i++) {
        memory_destroy(node->workers[i]->memory);
        free(node->workers[i]);
    }
    effects_fini(&fixture->effects);
    if (fixture->run_fini != NULL)
        fixture->run_fini(fixture);
    config_destroy(node->config);
    free(node);
    free(fixture->reply_text);
    free(fixture->journal_text);
    free(fixture->line);
    free(fixture);
}

void fixture_on(struct fixture *fixture, uint32_t worker)
{
    fixture->worker = fixture->node->workers[worker];
}

void fixture_sleep(struct fixture *fixture, int64_t ms)
{
    for (uint32_t i = 0; i < fixture->node->worker_count; i++)
        fixture->node->workers[i]->now_unix_ms += ms;
}

void fixture_give_back(struct fixture *fixture, uint16_t slot)
{
    effects_apply(fixture->node->workers[node_owner(fixture->node, slot)], &fixture->effects);
}

void fixture_background(struct fixture *fixture)
{
    unsigned idle = 0;

    /* One worker sends what it frees to another that was idle before it: two rounds tell. */
    for (unsigned round = 0; idle < 2; round++) {
        bool busy = false;
        need(round < FIXTURE_ROUNDS_MAX, "background work coming to an end");
        for (uint32_t i = 0; i < fixture->node->worker_count; i++) {
            struct worker *worker = fixture->node->workers[i];
            worker->expire = (struct expire){.credit_us = EXPIRE_CREDIT_MAX_US};
            busy = expire_run(worker, 1000) || busy;
            /* Where another process has the CPU meanwhile, the credit is gone before the work. */
            busy = worker->expire.credit_us <= 0 || busy;
            busy = lazyfree_run(worker, 1000) || busy;
        }
        idle = busy ? 0 : idle + 1;
    }
}

/* ---- calls ---- */

struct call *fixture_call(struct fixture *fixture, uint32_t argc, const struct text *argv)
{
    need(argc <= FIXTURE_ARGC_MAX, "so many arguments");
    memcpy(fixture->argv, argv, argc * sizeof *argv);
    fixture->call = (struct call){.worker = fixture->worker,
                                  .node = fixture->node,
                                  .session = &fixture->session,
                                  .argv = fixture->argv,
                                  .argc = argc,
                                  .reply = &fixture->reply,
                                  .now_unix_ms = fixture->worker->now_unix_ms,
                                  .continue_slot = -1};
    fixture->reply.resp = fixture->session.resp;
    return &fixture->call;
}

void fixture_keys(struct fixture *fixture, uint32_t count, const uint32_t *positions)
{
    struct call *call = &fixture->call;

    for (call->key_count = 0; call->key_count < count && call->key_count < CALL_KEYS_MAX;
         call->key_count++) {
        uint32_t position = positions[call->key_count];
        struct text name = call->argv[position];
        call->keys[call->key_count] =
            (struct call_key){.hash = table_hash(fixture->node->hash_seed, name),
                              .position = position,
                              .slot = crc16_slot(name.data, name.len_bytes)};
    }
}

/* ---- journal ---- */

void fixture_journal_on(struct fixture *fixture)
{
    atomic_store(&fixture->node->journal_readers, 1);
}

/* RESP commands as one line. They are ours, so their form is taken for granted. */
static void print_commands(FILE *out, struct text bytes)
{
    const char *at = bytes.data, *end = bytes.data + bytes.len_bytes;
    const char *between = "";
    char *next;

    while (at < end) {
        unsigned long argc = strtoul(at + 1, &next, 10);
        fputs(between, out);
        between = "; ";
        at = next + 2;
        for (unsigned long i = 0; i < argc; i++) {
            unsigned long len = strtoul(at + 1, &next, 10);
            if (i > 0)
                fputc(' ', out);
            fwrite(next + 2, 1, len, out);
            at = next + 2 + len + 2;
        }
    }
}

const char *fixture_journal(struct fixture *fixture)
{
    struct journal_record record;
    size_t size;

    free(fixture->journal_text);
    FILE *out = open_memstream(&fixture->journal_text, &size);
    need(out != NULL, "open_memstream");
    while (journal_peek(fixture->worker->journal, &record)) {
        fprintf(out, "%u: ", record.db);
        print_commands(out, record.bytes);
        fputc('\n', out);
        journal_next(fixture->worker->journal);
    }
    fclose(out);
    return fixture->journal_text;
}

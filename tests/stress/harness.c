#include "tests/stress/harness.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/client/batch.h"
#include "dataplane/client/client.h"
#include "dataplane/client/input.h"
#include "dataplane/slots/job.h"
#include "dataplane/slots/watch.h"
#include "dataplane/store/lazyfree.h"
#include "drivers/clock.h"

enum {
    HARNESS_DATABASES = 16,
    ROUNDS_MAX = 1000000,
    MAIL_ROUNDS = 4,
    PARTS_SHOWN_MAX = 40,
    CLIENTS_SHOWN_MAX = 40,
    WATCH_MS = 1,
};

static void *need(void *memory)
{
    if (memory == NULL) {
        fputs("harness: no memory\n", stderr);
        abort();
    }
    return memory;
}

/* ---- life ---- */

static struct node *make_node(const struct harness_options *options)
{
    struct node *node = need(aligned_alloc(64, (sizeof *node + 63) & ~(size_t)63));

    memset(node, 0, sizeof *node);
    node->config = need(config_create());
    node->worker_count = options->workers == 0 ? 1 : options->workers;
    node->database_count = options->databases == 0 ? HARNESS_DATABASES : options->databases;
    atomic_store(&node->config->workers, node->worker_count);
    atomic_store(&node->config->databases, node->database_count);
    if (options->mailbox_size != 0)
        atomic_store(&node->config->worker_mailbox_size, options->mailbox_size);
    node->driver = &stream_pipes;
    node->commands = need(command_index_create());
    node->hash_seed = UINT64_C(0x5eed0ff00d5eed);
    clock_tsc_init(&node->tsc);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        atomic_init(&node->owner[slot], (uint8_t)((uint64_t)slot * node->worker_count / SLOTS));
    snprintf(node->run_id, sizeof node->run_id, "%040d", 1);
    snprintf(node->node_id, sizeof node->node_id, "%040d", 2);
    node->started_unix_ms = (int64_t)clock_unix_ms();
    node->started_us = clock_now_us();
    node->connections_max = 10000;
    atomic_init(&node->next_client_id, 1);
    atomic_init(&node->active_expire, true);
    return node;
}

static void read_clocks(const struct harness *harness, struct worker *worker)
{
    worker->now_us = clock_now_us();
    worker->now_unix_ms =
        harness->now_unix_ms != 0 ? harness->now_unix_ms : (int64_t)clock_unix_ms();
    worker->clock_ns = run_clock_ns(worker);
    worker->turn_began_ns = harness->long_turns ? 0 : worker->clock_ns;
}

/* What a worker's own thread does first. */
static void prepare(const struct harness *harness, struct worker *worker)
{
    struct stream_options options = {.may_sleep = true};

    stream_pipes.create(&worker->stream, &options);
    read_clocks(harness, worker);
    worker->wheel = need(wheel_create(worker->memory, worker->now_unix_ms));
}

struct harness *harness_create(const struct harness_options *options)
{
    struct harness *harness = need(calloc(1, sizeof *harness));
    struct node *node = harness->node = make_node(options);

    harness->threads = options->threads;
    harness->now_unix_ms = options->now_unix_ms;
    for (uint32_t i = 0; i < node->worker_count; i++)
        if (worker_create(&node->workers[i], node, i, -1) < 0)
            abort();
    if (options->prepare != NULL)
        options->prepare(node, options->arg);
    for (uint32_t i = 0; i < node->worker_count; i++)
        if (!options->threads)
            prepare(harness, node->workers[i]);
        else if (worker_start(node->workers[i]) < 0)
            abort();
    for (uint32_t i = 0; i < node->worker_count; i++) {
        if (options->threads && worker_wait_started(node->workers[i]) < 0)
            abort();
        if (options->tear != 0)
            pipes_tear(node->workers[i]->stream, options->tear + i);
    }
    return harness;
}

static bool settle(struct node *node)
{
    bool more = false;

    for (uint32_t i = 0; i < node->worker_count; i++)
        more = worker_settle(node->workers[i]) || more;
    for (uint32_t i = 0; i < node->worker_count; i++)
        clients_resume(node->workers[i]); /* connections that are gone are freed here */
    return more;
}

/* What peers left behind when they went is dealt with by workers that run. */
static bool nobody_left(const struct node *node)
{
    return atomic_load(&node->client_count) == 0 && atomic_load(&node->watch_count) == 0;
}

void harness_stop(struct harness *harness)
{
    struct node *node = harness->node;
    uint64_t end_us = clock_now_us() + HARNESS_PATIENCE_MS * 1000;

    if (!harness->threads) {
        harness_idle(harness);
        return;
    }
    while (!nobody_left(node) && clock_now_us() < end_us)
        nanosleep(&(struct timespec){.tv_nsec = WATCH_MS * 1000000}, NULL);
    for (uint32_t i = 0; i < node->worker_count; i++)
        worker_stop(node->workers[i]);
    for (uint32_t i = 0; i < node->worker_count; i++)
        worker_join(node->workers[i]);
    for (unsigned round = 0; settle(node); round++)
        if (round == ROUNDS_MAX)
            harness_fail(harness, "what workers left in their mailboxes never ends");
}

void harness_destroy(struct harness *harness)
{
    struct node *node = harness->node;
    struct memory *memory = node->workers[0]->memory;

    for (uint32_t i = 0; i < node->worker_count; i++)
        worker_empty(node->workers[i]);
    watch_destroy_all(node, memory);
    for (uint32_t db = 0; db < node->database_count; db++)
        if (keyspace_get(node, db) != NULL)
            keyspace_destroy(keyspace_get(node, db), memory);
    for (uint32_t i = 0; i < node->worker_count; i++)
        worker_destroy(node->workers[i]);
    command_index_destroy(node->commands);
    config_destroy(node->config);
    free(node);
    free(harness);
}

/* ---- turns by hand: the loop of worker.c without its sleeps ---- */

static bool take_mail(struct worker *worker)
{
    struct mail mails[MAIL_BATCH_MAX];
    uint32_t from[MAIL_BATCH_MAX];
    bool any = false;

    for (int round = 0; round < MAIL_ROUNDS; round++) {
        unsigned count = mail_take(worker, mails, from, MAIL_BATCH_MAX);
        for (unsigned i = 0; i < count; i++)
            job_mail(worker, &mails[i], from[i]);
        job_ready_parts(worker);
        any = any || count > 0;
    }
    return any;
}

bool harness_turn(struct harness *harness, uint32_t index)
{
    struct worker *worker = harness->node->workers[index];
    struct stream_event events[STREAM_EVENTS_MAX];
    int count = worker->driver->poll(worker->stream, events, STREAM_EVENTS_MAX, 0);
    bool any = count > 0;

    read_clocks(harness, worker);
    any = any || task_waiting(&worker->tasks);
    task_run_all(&worker->tasks, worker);
    clients_pause_check(worker);
    any = take_mail(worker) || any;
    clients_events(worker, events, (unsigned)count);
    if (clients_have_work(worker)) {
        clients_resume(worker);
        any = true;
    }
    job_ready_parts(worker);
    any = queues_any_ready(worker) || any;
    any = expire_run(worker, 1000) || any;
    any = lazyfree_run(worker, 1000) || any;
    tickets_flush(worker);
    mail_flush(worker);
    worker->driver->flush(worker->stream);
    return any;
}

void harness_idle(struct harness *harness)
{
    bool any = true;

    for (unsigned round = 0; any; round++) {
        if (round == ROUNDS_MAX)
            harness_fail(harness, "the workers never come to rest");
        any = false;
        for (uint32_t i = 0; i < harness->node->worker_count; i++)
            any = harness_turn(harness, i) || any;
    }
}

/* ---- what must hold at the end ---- */

struct tally {
    const struct node *node;
    uint64_t digest;
    uint32_t db, keys, expires;
};

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

static void count_entry(void *arg, struct entry *entry)
{
    struct tally *tally = arg;
    char number[24];
    struct text value = entry_string(entry, number);
    uint64_t digest = tally->db + 1;

    digest = mix(digest ^ table_hash(1, entry_key(entry)));
    digest = mix(digest ^ table_hash(2, value));
    digest = mix(digest ^ (uint64_t)entry_expiry_unix_ms(entry));
    tally->digest += digest;
    tally->keys++;
    tally->expires += entry_expiry_unix_ms(entry) >= 0;
}

static void count_slot(struct tally *tally, const struct slot *slot)
{
    uint64_t cursor = 0;

    do {
        cursor = table_scan(&slot->table, tally->node->hash_seed, cursor, count_entry, tally);
    } while (cursor != 0);
}

uint64_t harness_digest(const struct harness *harness)
{
    struct tally tally = {.node = harness->node};

    for (tally.db = 0; tally.db < harness->node->database_count; tally.db++) {
        const struct keyspace *keyspace = keyspace_get(harness->node, tally.db);
        for (uint32_t slot = 0; keyspace != NULL && slot < SLOTS; slot++)
            count_slot(&tally, &keyspace->slots[slot]);
    }
    return tally.digest;
}

int64_t harness_keys(const struct harness *harness)
{
    int64_t sum = 0;

    for (uint32_t db = 0; db < harness->node->database_count; db++)
        if (keyspace_get(harness->node, db) != NULL)
            sum += keyspace_keys(keyspace_get(harness->node, db));
    return sum;
}

int64_t harness_expires(const struct harness *harness)
{
    int64_t sum = 0;

    for (uint32_t db = 0; db < harness->node->database_count; db++)
        if (keyspace_get(harness->node, db) != NULL)
            sum += keyspace_expires(keyspace_get(harness->node, db));
    return sum;
}

static bool wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool wrong(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fputs("wrong: ", stdout);
    vprintf(format, arguments);
    puts("");
    va_end(arguments);
    return false;
}

static bool check_slot(const struct keyspace *keyspace, uint32_t db, uint32_t number,
                       struct tally *tally)
{
    const struct slot *slot = &keyspace->slots[number];
    uint32_t keys = tally->keys, expires = tally->expires;
    bool bit = (atomic_load(&keyspace->in_use[number / 64]) >> (number % 64) & 1) != 0;

    count_slot(tally, slot);
    keys = tally->keys - keys;
    expires = tally->expires - expires;
    if (slot->table.used != keys)
        return wrong("db %u slot %u holds %u keys and says %u", db, number, keys, slot->table.used);
    if (slot->expires != expires)
        return wrong("db %u slot %u has %u deadlines and says %u", db, number, expires,
                     slot->expires);
    if (bit != (keys > 0))
        return wrong("db %u slot %u holds %u keys, its bit is %d", db, number, keys, bit);
    return true;
}

static bool check_db(const struct node *node, uint32_t db)
{
    const struct keyspace *keyspace = keyspace_get(node, db);
    struct tally tally = {.node = node, .db = db};
    bool right = true;

    if (keyspace == NULL)
        return true;
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        right = check_slot(keyspace, db, slot, &tally) && right;
    if (keyspace_keys(keyspace) != tally.keys)
        right = wrong("db %u holds %u keys, the counts say %lld", db, tally.keys,
                      (long long)keyspace_keys(keyspace));
    if (keyspace_expires(keyspace) != tally.expires)
        right = wrong("db %u holds %u deadlines, the counts say %lld", db, tally.expires,
                      (long long)keyspace_expires(keyspace));
    return right;
}

static bool check_worker(const struct worker *worker)
{
    if (worker->clients->count != 0)
        return wrong("worker %u has %u clients left", worker->index, worker->clients->count);
    if (queues_any_busy(worker) || queues_any_ready(worker))
        return wrong("worker %u has busy slots left", worker->index);
    if (mail_waiting(worker) || mail_expecting(worker))
        return wrong("worker %u has mail left", worker->index);
    return true;
}

bool harness_check(struct harness *harness)
{
    const struct node *node = harness->node;
    bool right = true;

    if (atomic_load(&node->client_count) != 0)
        right = wrong("%lld clients are counted", (long long)atomic_load(&node->client_count));
    if (atomic_load(&node->watch_count) != 0)
        right = wrong("%u watch records are left", atomic_load(&node->watch_count));
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        if (node->watches[slot] != NULL)
            right = wrong("slot %u has a table of watch records left", slot);
    for (uint32_t i = 0; i < node->worker_count; i++)
        right = check_worker(node->workers[i]) && right;
    for (uint32_t db = 0; db < node->database_count; db++)
        right = check_db(node, db) && right;
    return right;
}

/* ---- what is shown when something hangs: read as it is, while workers may still run ---- */

#define LOOKS_WITHOUT_ASKING __attribute__((no_sanitize("address", "thread", "undefined")))

LOOKS_WITHOUT_ASKING static void print_part(const struct loan_part *part)
{
    const struct job *job = part->job;

    fprintf(stderr,
            " [job %p home %u coordinator %u second %d started %d open %u: part of %u, state %u, "
            "pending %u, given %d]",
            (const void *)job, job->home, job->coordinator, job->second_round, job->started,
            job->open, part->owner, part->state, part->pending, part->given);
}

LOOKS_WITHOUT_ASKING static void print_queues(const struct worker *worker)
{
    const struct slot_queues *queues = worker->queues;
    unsigned shown = 0;

    fprintf(stderr, "  busy slots %u, whole %p held %d, ready %p, behind %p\n", queues->busy_slots,
            (const void *)queues->whole, queues->whole_held, (const void *)queues->ready_first,
            (const void *)queues->behind_first);
    if (queues->whole != NULL) {
        fputs("  whole:", stderr);
        print_part(queues->whole);
        fputs("\n", stderr);
    }
    for (uint32_t slot = 0; slot < SLOTS && shown < PARTS_SHOWN_MAX; slot++) {
        if (queues->lines[slot].first == NULL)
            continue;
        fprintf(stderr, "  slot %u:", slot);
        for (const struct part_ref *ref = queues->lines[slot].first; ref != NULL; ref = ref->next)
            if (shown++ < PARTS_SHOWN_MAX)
                print_part(ref->part);
        fputs("\n", stderr);
    }
}

LOOKS_WITHOUT_ASKING static void print_clients(const struct worker *worker)
{
    unsigned shown = 0;

    for (const struct client *client = worker->clients->first;
         client != NULL && shown < CLIENTS_SHOWN_MAX; client = client->next, shown++)
        fprintf(stderr, "  client %llu: flags %x, input %zu, last %s\n",
                (unsigned long long)client->session.client_id, client->flags,
                client_input_len(client),
                client->last_command == NULL ? "-" : client->last_command->name);
}

LOOKS_WITHOUT_ASKING void harness_print(const struct harness *harness)
{
    const struct node *node = harness->node;

    for (uint32_t i = 0; i < node->worker_count; i++) {
        const struct worker *worker = node->workers[i];
        fprintf(stderr,
                "worker %u: turns %llu, sleeping %u, mail waiting %d, expecting %d, parked %llu\n",
                i, (unsigned long long)count_get(&worker->stats.turns),
                atomic_load(&worker->sleeping), mail_waiting(worker), mail_expecting(worker),
                (unsigned long long)count_get(&worker->stats.parked));
        print_queues(worker);
        print_clients(worker);
    }
}

void harness_fail(const struct harness *harness, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fputs("failed: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    va_end(arguments);
    harness_print(harness);
    fflush(NULL);
    _Exit(1);
}

uint32_t dice_below(struct dice *dice, uint32_t end)
{
    dice->state += UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)((mix(dice->state) >> 32) * end >> 32);
}

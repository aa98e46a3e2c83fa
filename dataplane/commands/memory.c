/* MEMORY: what a key takes, where the memory goes, and giving some back. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef POLLUX_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "dataplane/commands/debug.h"
#include "dataplane/commands/functions.h"
#include "dataplane/commands/gather.h"
#include "dataplane/commands/report.h"
#include "dataplane/commands/usage.h"
#include "dataplane/slots/queue.h"
#include "dataplane/worker.h"

enum {
    STATS_SLOTS_MAX = 32768,         /* looked at by one worker; of more, every nth */
    STATS_FIELDS = 27,               /* besides the databases */
    DOCTOR_SMALL_BYTES = 5 << 20,    /* too little to say anything about */
    DOCTOR_WASTE_BYTES = 10 << 20,   /* less is not worth a word */
    DOCTOR_CLIENT_BYTES = 200 << 10, /* for each client on average */
};

#define DOCTOR_PEAK_RATIO  1.5
#define DOCTOR_WASTE_RATIO 1.4
#define DOCTOR_PAGES_RATIO 1.1

/* ---- USAGE ---- */

void cmd_memory_usage(struct call *call)
{
    int64_t samples;

    /* Strings have no elements to sample; the option is checked all the same. */
    for (uint32_t i = 3; i < call->argc; i += 2) {
        if (!call_option(call, i, "samples") || i + 1 >= call->argc) {
            call_syntax_error(call);
            return;
        }
        if (!call_integer(call, i + 1, &samples))
            return;
        if (samples < 0) {
            call_syntax_error(call);
            return;
        }
    }
    const struct entry *entry = debug_entry(call, call->argv[2]);
    if (entry == NULL)
        reply_null(call->reply);
    else /* and its place in the table, were that full */
        reply_integer(call->reply, (int64_t)(entry_total_bytes(entry) +
                                             sizeof(struct table_bucket) / TABLE_BUCKET_ENTRIES));
}

/* ---- STATS ---- */

struct database_bytes {
    uint64_t db, bytes;
};

static uint32_t databases_in_use(const struct node *node)
{
    uint32_t count = 0;

    for (uint32_t db = 0; db < node->database_count; db++) {
        const struct keyspace *keyspace = keyspace_get(node, db);
        count += keyspace != NULL && keyspace_keys(keyspace) > 0;
    }
    return count;
}

/* Tables of this worker's slots; those that are lent are left out. */
static uint64_t tables_of(const struct worker *worker, const struct keyspace *keyspace,
                          uint32_t step)
{
    uint64_t bytes = 0;

    for (uint32_t slot = 0; slot < SLOTS; slot += step)
        if (node_owner(worker->node, slot) == worker->index && !slots_busy(worker, (uint16_t)slot))
            bytes += table_bytes(&keyspace->slots[slot].table);
    return bytes * step;
}

void gather_memory_stats(struct worker *worker, struct call *call, struct reply_memory *part,
                         uint64_t *number)
{
    const struct node *node = worker->node;
    uint32_t step = databases_in_use(node) * SLOTS / STATS_SLOTS_MAX;

    for (uint32_t db = 0; db < node->database_count; db++) {
        const struct keyspace *keyspace = keyspace_get(node, db);
        if (keyspace == NULL || keyspace_keys(keyspace) == 0)
            continue;
        struct database_bytes bytes = {.db = db,
                                       .bytes = tables_of(worker, keyspace, step > 0 ? step : 1)};
        reply_bytes(&part->reply, (const char *)&bytes, sizeof bytes);
    }
}

static void field(struct reply *reply, const char *name, uint64_t value)
{
    reply_bulk_cstr(reply, name);
    reply_integer(reply, (int64_t)value);
}

static void ratio_field(struct reply *reply, const char *name, double value)
{
    reply_bulk_cstr(reply, name);
    reply_double(reply, value);
}

/* How many times, and how many bytes, the one is more than the other. */
static void excess_fields(struct reply *reply, const char *ratio, const char *bytes, uint64_t more,
                          uint64_t less)
{
    ratio_field(reply, ratio, usage_ratio(more, less));
    field(reply, bytes, more - less);
}

static void write_database(struct call *call, uint32_t db, uint64_t table_bytes, uint64_t tickets,
                           int64_t all_expires)
{
    const struct keyspace *keyspace = keyspace_get(call->node, db);
    int64_t expires = keyspace == NULL ? 0 : keyspace_expires(keyspace);
    char name[32];

    snprintf(name, sizeof name, "db.%u", db);
    reply_bulk_cstr(call->reply, name);
    reply_map(call->reply, 3);
    field(call->reply, "overhead.hashtable.main", table_bytes);
    /* The wheels know no databases: each has its share by its deadlines. */
    field(call->reply, "overhead.hashtable.expires",
          (uint64_t)((double)tickets * usage_ratio((uint64_t)expires, (uint64_t)all_expires)));
    field(call->reply, "overhead.hashtable.slot-to-keys", 0);
}

struct totals {
    uint64_t *tables;          /* by database */
    bool shown[DATABASES_MAX]; /* it has keys */
    uint32_t databases;
    int64_t keys, expires;
};

/* False: an error was replied. */
static bool add_up(struct call *call, struct totals *totals)
{
    struct database_bytes bytes;

    *totals = (struct totals){0};
    if (gather_failed(call))
        return false;
    totals->tables = calloc(call->node->database_count, sizeof *totals->tables);
    if (totals->tables == NULL) {
        reply_error(call->reply, "-OOM no memory for the figures");
        return false;
    }
    for (uint32_t i = 0; i < call->part_count; i++)
        while (gather_read(&call->parts[i], &bytes, sizeof bytes))
            totals->tables[bytes.db] += bytes.bytes;
    for (uint32_t db = 0; db < call->node->database_count; db++) {
        const struct keyspace *keyspace = keyspace_get(call->node, db);
        int64_t keys = keyspace == NULL ? 0 : keyspace_keys(keyspace);
        totals->shown[db] = keys > 0;
        totals->databases += keys > 0;
        totals->keys += keys;
        totals->expires += keyspace == NULL ? 0 : keyspace_expires(keyspace);
    }
    return true;
}

static void write_first_fields(struct reply *reply, const struct usage *usage)
{
    field(reply, "peak.allocated", usage->peak);
    field(reply, "total.allocated", usage->used);
    field(reply, "startup.allocated", usage->startup);
    field(reply, "replication.backlog", 0);
    field(reply, "clients.slaves", 0);
    field(reply, "clients.normal", usage->clients);
    field(reply, "cluster.links", 0);
    field(reply, "aof.buffer", 0);
    field(reply, "lua.caches", 0);
    field(reply, "functions.caches", 0);
}

static void write_last_fields(struct reply *reply, const struct usage *usage, uint64_t keys)
{
    uint64_t net = usage->used - usage->startup;

    field(reply, "overhead.total", usage->overhead);
    field(reply, "keys.count", keys);
    field(reply, "keys.bytes-per-key", keys == 0 ? 0 : net / keys);
    field(reply, "dataset.bytes", usage->dataset);
    ratio_field(reply, "dataset.percentage", usage_ratio(usage->dataset, net) * 100);
    ratio_field(reply, "peak.percentage", usage_ratio(usage->used, usage->peak) * 100);
    field(reply, "allocator.allocated", usage->allocated);
    field(reply, "allocator.active", usage->active);
    field(reply, "allocator.resident", usage->resident);
    excess_fields(reply, "allocator-fragmentation.ratio", "allocator-fragmentation.bytes",
                  usage->active, usage->allocated);
    excess_fields(reply, "allocator-rss.ratio", "allocator-rss.bytes", usage->resident,
                  usage->active);
    excess_fields(reply, "rss-overhead.ratio", "rss-overhead.bytes", usage->rss, usage->resident);
    excess_fields(reply, "fragmentation", "fragmentation.bytes", usage->rss, usage->used);
}

void cmd_memory_stats(struct call *call)
{
    struct totals totals;
    struct usage usage;

    if (!add_up(call, &totals))
        return;
    usage_read(call->worker, &usage);
    reply_map(call->reply, STATS_FIELDS + totals.databases);
    write_first_fields(call->reply, &usage);
    for (uint32_t db = 0; db < call->node->database_count; db++)
        if (totals.shown[db])
            write_database(call, db, totals.tables[db], usage.tickets, totals.expires);
    write_last_fields(call->reply, &usage, (uint64_t)totals.keys);
    free(totals.tables);
}

/* ---- DOCTOR ---- */

static uint32_t complain(const struct node *node, const struct usage *usage, struct report *report)
{
    int64_t clients = atomic_load_explicit(&node->client_count, memory_order_relaxed);
    uint32_t complaints = 0;

    if (usage_ratio(usage->peak, usage->used) > DOCTOR_PEAK_RATIO) {
        complaints++;
        report_text(report,
                    "* Once much more memory was in use than now. What is left of that may "
                    "lie scattered, so that the process keeps pages it hardly needs: a high "
                    "fragmentation is normal after such a peak.\n");
    }
    if (usage_ratio(usage->rss, usage->used) > DOCTOR_WASTE_RATIO &&
        usage->rss > usage->used + DOCTOR_WASTE_BYTES) {
        complaints++;
        report_format(report,
                      "* The process holds %.2f times the memory that its data need. MEMORY PURGE "
                      "gives back what is free; the rest goes as keys are written anew.\n",
                      usage_ratio(usage->rss, usage->used));
    }
    if (usage_ratio(usage->active, usage->allocated) > DOCTOR_PAGES_RATIO &&
        usage->active > usage->allocated + DOCTOR_WASTE_BYTES) {
        complaints++;
        report_text(report, "* Many pages are only partly filled, as happens when values of very "
                            "different sizes come and go.\n");
    }
    if (usage_ratio(usage->resident, usage->active) > DOCTOR_PAGES_RATIO &&
        usage->resident > usage->active + DOCTOR_WASTE_BYTES) {
        complaints++;
        report_text(report, "* The allocator keeps free pages that it has not returned yet. They "
                            "go after some seconds without use, or with MEMORY PURGE.\n");
    }
    if (clients > 0 && usage->clients / (uint64_t)clients > DOCTOR_CLIENT_BYTES) {
        complaints++;
        report_text(report, "* Clients' buffers are large: some ask for more than they read, or "
                            "send long commands in pieces. CLIENT LIST shows them by omem and "
                            "qbuf; client-output-buffer-limit bounds them.\n");
    }
    return complaints;
}

void cmd_memory_doctor(struct call *call)
{
    struct report report = {0};
    struct usage usage;

    usage_read(call->worker, &usage);
    if (usage.used < DOCTOR_SMALL_BYTES)
        report_text(&report, "There is too little data in memory to tell anything from it.\n");
    else if (complain(call->node, &usage, &report) == 0)
        report_text(&report, "No problem with memory was found.\n");
    report_reply(&report, call->reply);
}

/* ---- PURGE ---- */

static void purge(void)
{
#ifdef POLLUX_JEMALLOC
    char name[32];

    snprintf(name, sizeof name, "arena.%u.purge", (unsigned)MALLCTL_ARENAS_ALL);
    mallctl(name, NULL, NULL, NULL, 0);
#else
    malloc_trim(0);
#endif
}

/* Away from the workers: returning gigabytes takes its time. */
void control_memory_purge(struct call *call, struct gather_part *part)
{
    purge();
}

static void purge_task(void *runner, struct task *task)
{
    purge();
    free(task);
}

void cmd_memory_purge(struct call *call)
{
    const struct node_control *control = call->node->control_calls;

    /* A transaction does not wait for it. */
    if (call->part_count == 0 && control != NULL) {
        struct task *task = calloc(1, sizeof *task);
        if (task == NULL) {
            reply_error(call->reply, "-OOM no memory to ask the control thread");
            return;
        }
        task->run = purge_task;
        control->post(call->node->control, task);
    }
    reply_ok(call->reply);
}

/* ---- MALLOC-STATS ---- */

#ifdef POLLUX_JEMALLOC

static void write_stats(void *report, const char *text)
{
    report_text(report, text);
}

static void allocator_report(struct report *report)
{
    malloc_stats_print(write_stats, report, "a"); /* all arenas as one */
}

#else

static void allocator_report(struct report *report)
{
    report_text(report, "Allocated by malloc of the C library, which keeps no statistics here.\n");
}

#endif

static void reply_allocator_report(struct reply *reply)
{
    struct report report = {0};

    allocator_report(&report);
    report_reply(&report, reply);
}

void control_memory_malloc_stats(struct call *call, struct gather_part *part)
{
    reply_allocator_report(&part->memory.reply);
}

void cmd_memory_malloc_stats(struct call *call)
{
    if (call->part_count == 0) /* in a transaction: here and now */
        reply_allocator_report(call->reply);
    else
        reply_memory_move(&call->parts[0].memory, call->reply);
}

void cmd_memory_help(struct call *call)
{
    static const char *const lines[] = {
        "DOCTOR",
        "    Problems with memory, in words.",
        "MALLOC-STATS",
        "    The allocator's own report.",
        "PURGE",
        "    Have the allocator return what is free.",
        "STATS",
        "    Where the memory goes.",
        "USAGE <key> [SAMPLES <count>]",
        "    How many bytes a key takes, with its value.",
    };

    call_help(call, lines, sizeof lines / sizeof *lines);
}

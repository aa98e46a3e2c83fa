/* DEBUG: what tests of servers and clients ask for. Runs at home, with every slot of the node on
 * loan, so that all commands on keys wait, as they do in redis-server. */
#include "dataplane/commands/debug.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/glob.h"
#include "dataplane/commands/functions.h"
#include "dataplane/commands/report.h"
#include "dataplane/commands/server.h"
#include "dataplane/worker.h"
#include "drivers/log.h"

enum {
    NUMBER_MAX_BYTES = 64, /* of SLEEP's argument */
    SLEEP_MAX_S = 1 << 30,
    FILLS = TABLE_BUCKET_ENTRIES + 1,
    PRESENT_MASK = (1 << TABLE_BUCKET_ENTRIES) - 1,
};

static void debug_sleep(struct call *call)
{
    char text[NUMBER_MAX_BYTES] = "";
    size_t len = call->argv[2].len_bytes;

    /* Whatever is no number reads as 0. */
    memcpy(text, call->argv[2].data, len < sizeof text ? len : sizeof text - 1);
    double seconds = strtod(text, NULL);
    if (!(seconds > 0))
        seconds = 0;
    if (seconds > SLEEP_MAX_S)
        seconds = SLEEP_MAX_S;
    struct timespec left = {.tv_sec = (time_t)seconds,
                            .tv_nsec = (long)((seconds - floor(seconds)) * 1e9)};
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        continue;
    reply_ok(call->reply);
}

static void debug_set_active_expire(struct call *call)
{
    int64_t on;

    atomic_store_explicit(&call->node->active_expire,
                          text_to_integer(call->argv[2], &on) && on != 0, memory_order_relaxed);
    reply_ok(call->reply);
}

/* The text becomes the error as it is, its code included, and counts nowhere. */
static void debug_error(struct call *call)
{
    struct text text = call->argv[2];

    reply_bytes(call->reply, "-", 1);
    while (text.len_bytes > 0) {
        size_t clean = 0;
        while (clean < text.len_bytes && text.data[clean] != '\r' && text.data[clean] != '\n')
            clean++;
        reply_bytes(call->reply, text.data, clean);
        if (clean < text.len_bytes) {
            reply_bytes(call->reply, " ", 1); /* a line end would let it forge replies */
            clean++;
        }
        text.data += clean;
        text.len_bytes -= clean;
    }
    reply_bytes(call->reply, "\r\n", 2);
}

static void debug_log(struct call *call)
{
    int len =
        call->argv[2].len_bytes > LOG_MESSAGE_MAX ? LOG_MESSAGE_MAX : (int)call->argv[2].len_bytes;

    if (call->node->log != NULL)
        log_write(call->node->log, LOG_LEVEL_WARNING, "DEBUG LOG: %.*s", len, call->argv[2].data);
    reply_ok(call->reply);
}

static void debug_stringmatch(struct call *call)
{
    struct text pattern = call->argv[2], text = call->argv[3];

    reply_integer(call->reply,
                  glob_match(pattern.data, pattern.len_bytes, text.data, text.len_bytes, false));
}

/* ---- hash tables ---- */

struct table_figures {
    uint64_t slots, buckets, keys, bytes, moving;
    uint64_t fills[FILLS]; /* buckets by their number of entries */
};

static void count_table(const struct table *table, struct table_figures *figures)
{
    figures->slots++;
    figures->keys += table_used(table);
    figures->bytes += table_bytes(table);
    figures->moving += table->growth != NULL;
    figures->buckets += table->bucket_count;
    for (uint32_t i = 0; table->buckets != NULL && i < table->bucket_count; i++)
        figures->fills[__builtin_popcount(table->buckets[i].present & PRESENT_MASK)]++;
}

static void write_tables(const struct table_figures *figures, struct report *report)
{
    report_format(report,
                  "Hash tables of %llu slots:\n table size: %llu\n number of elements: %llu\n"
                  " buckets: %llu\n bytes: %llu\n tables that grow or shrink: %llu\n"
                  " Entries in a bucket:\n",
                  (unsigned long long)figures->slots,
                  (unsigned long long)figures->buckets * TABLE_BUCKET_ENTRIES,
                  (unsigned long long)figures->keys, (unsigned long long)figures->buckets,
                  (unsigned long long)figures->bytes, (unsigned long long)figures->moving);
    for (int i = 0; i < FILLS; i++)
        if (figures->fills[i] > 0)
            report_format(report, "   %d: %llu (%.2f%%)\n", i,
                          (unsigned long long)figures->fills[i],
                          (double)figures->fills[i] * 100 / (double)figures->buckets);
}

static void debug_htstats(struct call *call)
{
    struct table_figures figures = {0};
    struct report report = {0};
    int64_t db;

    if (!call_integer(call, 2, &db))
        return;
    if (db < 0 || db >= (int64_t)call->node->database_count) {
        reply_error(call->reply, "Out of range database");
        return;
    }
    const struct keyspace *keyspace = keyspace_get(call->node, (uint32_t)db);
    for (int32_t slot = keyspace == NULL ? -1 : keyspace_next_slot(keyspace, 0); slot >= 0;
         slot = keyspace_next_slot(keyspace, slot + 1))
        count_table(&keyspace->slots[slot].table, &figures);
    report_text(&report, "[Dictionary HT]\n");
    if (figures.keys == 0)
        report_text(&report, "No stats available for empty dictionaries\n");
    else
        write_tables(&figures, &report);
    report_format(&report, "[Expires HT]\n number of elements: %lld\n",
                  (long long)(keyspace == NULL ? 0 : keyspace_expires(keyspace)));
    report_reply(&report, call->reply);
}

static void debug_htstats_key(struct call *call)
{
    if (debug_entry(call, call->argv[2]) == NULL)
        reply_error(call->reply, "no such key");
    else
        reply_error(call->reply, "The value stored at the specified key is not represented using "
                                 "an hash table");
}

/* ---- all of them ---- */

static void debug_help(struct call *call)
{
    static const char *const lines[] = {
        "DIGEST",
        "    A digest of all data: equal data give equal digests.",
        "DIGEST-VALUE [<key> ...]",
        "    Digests of the values of these keys.",
        "ERROR <text>",
        "    Reply this text as an error.",
        "HTSTATS <db>",
        "    How full the hash tables of a database are.",
        "HTSTATS-KEY <key>",
        "    The same for the hash table of a value.",
        "JOURNAL <path>|OFF",
        "    Record all changes of the server into a file; end that.",
        "LOG <text>",
        "    Write a line to the log.",
        "OBJECT <key>",
        "    How the value of a key is kept.",
        "PROTOCOL <type>",
        "    A reply of this type: string, integer, double, bignum, null, array, set, map,",
        "    attrib, push, verbatim, true or false.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    With 0, expired keys go when they are asked for, and not before.",
        "SLEEP <seconds>",
        "    Hold all commands on keys for so long.",
        "STRINGMATCH-LEN <pattern> <text>",
        "    Whether a pattern of KEYS matches a text.",
    };

    call_help(call, lines, sizeof lines / sizeof *lines);
}

static const struct debug_command {
    const char *name;
    uint32_t argc_min, argc_max;
    void (*run)(struct call *call);
} commands[] = {
    {"digest", 2, 2, debug_digest},
    {"digest-value", 2, UINT32_MAX, debug_digest_value},
    {"error", 3, 3, debug_error},
    {"help", 2, 2, debug_help},
    {"htstats", 3, 3, debug_htstats},
    {"htstats-key", 3, 3, debug_htstats_key},
    {"journal", 2, UINT32_MAX, debug_journal},
    {"log", 3, 3, debug_log},
    {"object", 3, 3, debug_object},
    {"protocol", 3, 3, debug_protocol},
    {"set-active-expire", 3, 3, debug_set_active_expire},
    {"sleep", 3, 3, debug_sleep},
    {"stringmatch-len", 4, 4, debug_stringmatch},
};

void cmd_debug(struct call *call)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const struct debug_command *command = &commands[i];
        if (call_option(call, 1, command->name) && call->argc >= command->argc_min &&
            call->argc <= command->argc_max) {
            command->run(call);
            return;
        }
    }
    call_wrong_subcommand(call);
}

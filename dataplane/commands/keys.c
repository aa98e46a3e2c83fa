/* Commands on keys whatever their type: DEL, EXISTS, TYPE, TOUCH, RENAME, COPY, MOVE, FLUSH, SWAPDB,
 * DBSIZE, OBJECT. */
#include <limits.h>
#include <string.h>

#include "dataplane/commands/functions.h"
#include "dataplane/commands/holdings.h"
#include "dataplane/worker.h"

/* A database number of the client's; else replies as Redis does. */
static bool read_database(struct call *call, uint32_t position, uint32_t *db)
{
    int64_t value;

    if (!call_integer_range(call, position, INT_MIN, INT_MAX, &value, NULL))
        return false;
    if (value < 0 || value >= (int64_t)call->node->database_count) {
        reply_error(call->reply, "DB index is out of range");
        return false;
    }
    *db = (uint32_t)value;
    return true;
}

static bool same_text(struct text a, struct text b)
{
    return a.len_bytes == b.len_bytes && memcmp(a.data, b.data, a.len_bytes) == 0;
}

void cmd_del(struct call *call)
{
    int64_t removed = 0;

    for (uint32_t i = 1; i < call->argc; i++) {
        struct key key;
        if (!key_find(call, call->argv[i], FIND_WRITE, &key))
            continue;
        slot_write_begin(call, &key);
        key_delete(call, &key);
        slot_write_end(call, &key, "del");
        removed++;
    }
    reply_integer(call->reply, removed);
}

void cmd_unlink(struct call *call)
{
    cmd_del(call); /* large values are freed in slices in either case */
}

static void count_keys(struct call *call, unsigned flags)
{
    int64_t there = 0;

    for (uint32_t i = 1; i < call->argc; i++) {
        struct key key;
        there += key_find(call, call->argv[i], flags, &key);
    }
    reply_integer(call->reply, there);
}

void cmd_exists(struct call *call)
{
    count_keys(call, FIND_READ | FIND_NO_TOUCH);
}

void cmd_touch(struct call *call)
{
    count_keys(call, FIND_READ);
}

static const char *type_name(enum entry_type type)
{
    static const char *const names[] = {"string", "list",   "set",   "zset",
                                        "hash",   "module", "stream"};

    return names[type];
}

void cmd_type(struct call *call)
{
    struct key key;

    reply_status(call->reply, key_find(call, call->argv[1], FIND_READ | FIND_NO_TOUCH, &key)
                                  ? type_name(entry_type(key.entry))
                                  : "none");
}

/* ---- to another name or database ---- */

static void rename_key(struct call *call, bool only_if_absent)
{
    struct key source, target;

    if (!key_find(call, call->argv[1], FIND_WRITE, &source)) {
        reply_error(call->reply, "no such key");
        return;
    }
    if (same_text(call->argv[1], call->argv[2])) {
        if (only_if_absent)
            reply_integer(call->reply, 0);
        else
            reply_ok(call->reply);
        return;
    }
    if (key_find(call, call->argv[2], FIND_WRITE, &target) && only_if_absent) {
        reply_integer(call->reply, 0);
        return;
    }
    if (!key_rename(call, &source, &target, "rename_from", "rename_to"))
        return;
    if (only_if_absent)
        reply_integer(call->reply, 1);
    else
        reply_ok(call->reply);
}

void cmd_rename(struct call *call)
{
    rename_key(call, false);
}

void cmd_renamenx(struct call *call)
{
    rename_key(call, true);
}

void cmd_copy(struct call *call)
{
    uint32_t db = call->session->db;
    bool replace = false;
    struct key source, target;

    for (uint32_t i = 3; i < call->argc; i++) {
        if (call_option(call, i, "replace")) {
            replace = true;
        } else if (call_option(call, i, "db") && i + 1 < call->argc) {
            if (!read_database(call, ++i, &db))
                return;
        } else {
            call_syntax_error(call);
            return;
        }
    }
    if (call->session->cluster && db != 0) {
        reply_error(call->reply, "Copying to another database is not allowed in cluster mode");
        return;
    }
    if (db == call->session->db && same_text(call->argv[1], call->argv[2])) {
        reply_error(call->reply, "source and destination objects are the same");
        return;
    }
    if (!key_find(call, call->argv[1], FIND_READ, &source)) {
        reply_integer(call->reply, 0);
        return;
    }
    if (key_find_in(call, db, call->argv[2], FIND_WRITE, &target) && !replace) {
        reply_integer(call->reply, 0);
        return;
    }
    struct entry *copy =
        entry_copy(call->worker->memory, source.entry, call->argv[2], key_expiry(&source));
    if (copy == NULL) {
        reply_error(call->reply, "-OOM no memory for the copy");
        return;
    }
    slot_write_begin(call, &target);
    bool done = key_adopt(call, &target, copy);
    slot_write_end(call, &target, "copy_to");
    if (done)
        reply_integer(call->reply, 1);
}

void cmd_move(struct call *call)
{
    struct key source, target;
    uint32_t db;

    if (call->session->cluster) {
        reply_error(call->reply, "MOVE is not allowed in cluster mode");
        return;
    }
    if (!read_database(call, 2, &db))
        return;
    if (db == call->session->db) {
        reply_error(call->reply, "source and destination objects are the same");
        return;
    }
    if (!key_find(call, call->argv[1], FIND_WRITE, &source) ||
        key_find_in(call, db, call->argv[1], FIND_WRITE, &target)) {
        reply_integer(call->reply, 0);
        return;
    }
    if (key_rename(call, &source, &target, "move_from", "move_to"))
        reply_integer(call->reply, 1);
}

/* ---- whole databases ---- */

static bool flush_options(struct call *call)
{
    if (call->argc > 2 ||
        (call->argc == 2 && !call_option(call, 1, "async") && !call_option(call, 1, "sync"))) {
        call_syntax_error(call);
        return false;
    }
    return true; /* memory is freed in slices in either case, and the keys are gone at once */
}

void cmd_flushdb(struct call *call)
{
    if (!flush_options(call))
        return;
    keyspace_flush(call, (int32_t)call->session->db);
    reply_ok(call->reply);
}

void cmd_flushall(struct call *call)
{
    if (!flush_options(call))
        return;
    keyspace_flush(call, -1);
    reply_ok(call->reply);
}

void cmd_swapdb(struct call *call)
{
    int64_t a, b;

    if (call->session->cluster) {
        reply_error(call->reply, "SWAPDB is not allowed in cluster mode");
        return;
    }
    if (!call_integer_range(call, 1, INT_MIN, INT_MAX, &a, "invalid first DB index") ||
        !call_integer_range(call, 2, INT_MIN, INT_MAX, &b, "invalid second DB index"))
        return;
    if (a < 0 || b < 0 || a >= (int64_t)call->node->database_count ||
        b >= (int64_t)call->node->database_count) {
        reply_error(call->reply, "DB index is out of range");
        return;
    }
    keyspace_swap(call, (uint32_t)a, (uint32_t)b);
    reply_ok(call->reply);
}

/* No slot, but behind a transaction that holds all of them. */
int32_t slot_of_dbsize(struct call *call)
{
    (void)call;
    return -1;
}

void cmd_dbsize(struct call *call)
{
    struct keyspace *keyspace = keyspace_get(call->node, call->session->db);

    if (keyspace == NULL)
        reply_integer(call->reply, 0);
    else if (call->session->cluster) /* cluster clients add up what the ports say */
        reply_integer(call->reply, holdings_of_port(call, keyspace).keys);
    else
        reply_integer(call->reply, keyspace_keys(keyspace));
}

/* ---- OBJECT ---- */

static bool object_key(struct call *call, struct key *key)
{
    if (key_find(call, call->argv[2], FIND_READ | FIND_NO_TOUCH, key))
        return true;
    reply_null(call->reply);
    return false;
}

void cmd_object_encoding(struct call *call)
{
    static const char *const names[] = {"raw", "int", "embstr"};
    struct key key;

    if (object_key(call, &key))
        reply_bulk_cstr(call->reply, names[entry_encoding(key.entry)]);
}

void cmd_object_refcount(struct call *call)
{
    enum { SHARED_INTEGERS = 10000 }; /* Redis shares these objects and says so */
    struct key key;
    int64_t value;

    if (!object_key(call, &key))
        return;
    bool shared = entry_encoding(key.entry) == ENTRY_ENC_INT &&
                  entry_string_is_integer(key.entry, &value) && value >= 0 &&
                  value < SHARED_INTEGERS &&
                  (call->node->config->maxmemory == 0 ||
                   call->node->config->maxmemory_policy == CONFIG_POLICY_NOEVICTION);
    reply_integer(call->reply, shared ? INT_MAX : 1);
}

void cmd_object_idletime(struct call *call)
{
    struct key key;

    if (!object_key(call, &key))
        return;
    reply_integer(call->reply, entry_idle_seconds(key.entry, call->now_unix_ms));
}

void cmd_object_freq(struct call *call)
{
    struct key key;

    if (object_key(call, &key))
        reply_error(call->reply,
                    "An LFU maxmemory policy is not selected, access frequency not tracked. Please "
                    "note that when switching between "
                    "policies at runtime LRU and LFU data will take some time to adjust.");
}

void cmd_object_help(struct call *call)
{
    static const char *const lines[] = {
        "ENCODING <key>",
        "    How the value is stored: int, embstr, raw ...",
        "FREQ <key>",
        "    How often the key is used, on a logarithmic scale (LFU policies only).",
        "IDLETIME <key>",
        "    Seconds since the key was last used.",
        "REFCOUNT <key>",
        "    References to the value.",
    };

    call_help(call, lines, sizeof lines / sizeof lines[0]);
}

/* String commands. Replies, error texts and what is journaled are Redis 7.0's. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/expiry.h"
#include "dataplane/commands/functions.h"
#include "dataplane/node.h"
#include "dataplane/store/keyspace.h"

enum string_option {
    SET_NX = 1 << 0,
    SET_XX = 1 << 1,
    SET_GET = 1 << 2,
    SET_KEEPTTL = 1 << 3,
    SET_PERSIST = 1 << 4,
    SET_EX = 1 << 5,
    SET_PX = 1 << 6,
    SET_EXAT = 1 << 7,
    SET_PXAT = 1 << 8,
    SET_TIMES = SET_EX | SET_PX | SET_EXAT | SET_PXAT,
};

enum {
    OLD_VALUE_SMALL_BYTES = 256, /* kept on the stack */
};

static void reply_string(struct call *call, const struct entry *entry)
{
    char number[24];

    reply_bulk(call->reply, entry_string(entry, number));
}

/* Is a string of that size allowed? Else replies. */
static bool size_allowed(struct call *call, uint64_t len_bytes)
{
    if (len_bytes <= (uint64_t)call->node->config->proto_max_bulk_len)
        return true;
    reply_error(call->reply, "string exceeds maximum allowed size (proto-max-bulk-len)");
    return false;
}

/* ---- GET and its kin ---- */

void cmd_get(struct call *call)
{
    struct key key;
    bool wrong = false;

    if (key_find_string(call, 1, FIND_READ, &key, &wrong))
        reply_string(call, key.entry);
    else if (!wrong)
        reply_null(call->reply);
}

void cmd_mget(struct call *call)
{
    reply_array(call->reply, call->argc - 1);
    for (uint32_t i = 1; i < call->argc; i++) {
        struct key key;
        if (key_find(call, call->argv[i], FIND_READ, &key) && entry_type(key.entry) == ENTRY_STRING)
            reply_string(call, key.entry);
        else
            reply_null(call->reply);
    }
}

void cmd_strlen(struct call *call)
{
    struct key key;
    bool wrong = false;

    if (key_find_string(call, 1, FIND_READ, &key, &wrong))
        reply_integer(call->reply, (int64_t)entry_string_len(key.entry));
    else if (!wrong)
        reply_integer(call->reply, 0);
}

void cmd_getrange(struct call *call)
{
    int64_t start, end;
    struct key key;
    bool wrong = false;
    char number[24];

    if (!call_integer(call, 2, &start) || !call_integer(call, 3, &end))
        return;
    if (!key_find_string(call, 1, FIND_READ, &key, &wrong)) {
        if (!wrong)
            reply_bulk(call->reply, (struct text){"", 0});
        return;
    }
    struct text text = entry_string(key.entry, number);
    int64_t len = (int64_t)text.len_bytes;
    if (start < 0 && end < 0 && start > end) {
        reply_bulk(call->reply, (struct text){"", 0});
        return;
    }
    start = start < 0 ? (start < -len ? 0 : start + len) : start;
    end = end < 0 ? (end < -len ? 0 : end + len) : end;
    end = end >= len ? len - 1 : end;
    if (start > end || len == 0)
        reply_bulk(call->reply, (struct text){"", 0});
    else
        reply_bulk(call->reply, (struct text){text.data + start, (size_t)(end - start + 1)});
}

void cmd_substr(struct call *call)
{
    cmd_getrange(call);
}

/* ---- SET and its kin ---- */

/* Reads the options of SET and GETEX from `first` on; *time is where the time's argument is. */
static bool read_options(struct call *call, uint32_t first, bool getex, uint32_t *options,
                         uint32_t *time)
{
    static const struct {
        const char *word;
        uint32_t bit, excludes;
        bool set, getex, value;
    } rows[] = {
        {"nx", SET_NX, SET_XX, true, false, false},
        {"xx", SET_XX, SET_NX, true, false, false},
        {"get", SET_GET, 0, true, false, false},
        {"keepttl", SET_KEEPTTL, SET_PERSIST | SET_TIMES, true, false, false},
        {"persist", SET_PERSIST, SET_KEEPTTL | SET_TIMES, false, true, false},
        {"ex", SET_EX, SET_KEEPTTL | SET_PERSIST | (SET_TIMES & ~SET_EX), true, true, true},
        {"px", SET_PX, SET_KEEPTTL | SET_PERSIST | (SET_TIMES & ~SET_PX), true, true, true},
        {"exat", SET_EXAT, SET_KEEPTTL | SET_PERSIST | (SET_TIMES & ~SET_EXAT), true, true, true},
        {"pxat", SET_PXAT, SET_KEEPTTL | SET_PERSIST | (SET_TIMES & ~SET_PXAT), true, true, true},
    };

    *options = 0;
    *time = 0;
    for (uint32_t i = first; i < call->argc; i++) {
        bool known = false;
        for (size_t r = 0; r < sizeof rows / sizeof rows[0] && !known; r++) {
            if (!(getex ? rows[r].getex : rows[r].set) || !text_is(call->argv[i], rows[r].word) ||
                (*options & rows[r].excludes) != 0 || (rows[r].value && i + 1 >= call->argc))
                continue;
            known = true;
            *options |= rows[r].bit;
            if (rows[r].value)
                *time = ++i;
        }
        if (!known) {
            call_syntax_error(call);
            return false;
        }
    }
    return true;
}

/* The deadline that the options ask for; -1: none given. False: an error was replied. */
static bool read_deadline(struct call *call, uint32_t options, uint32_t time, int64_t *deadline)
{
    int64_t value;

    *deadline = -1;
    if ((options & SET_TIMES) == 0)
        return true;
    if (!call_integer(call, time, &value))
        return false;
    return expiry_deadline(call, value, (options & (SET_EX | SET_EXAT)) != 0,
                           (options & (SET_EXAT | SET_PXAT)) == 0, true, deadline);
}

static void propagate_set(struct call *call, struct text key, struct text value, int64_t deadline)
{
    char number[24];
    struct text argv[] = {{"SET", 3}, key, value, {"PXAT", 4}, {number, 0}};

    if (deadline < 0) {
        call_propagate(call, 3, argv);
        return;
    }
    argv[4].len_bytes = integer_to_text(deadline, number);
    call_propagate(call, 5, argv);
}

static void propagate_del(struct call *call, struct text key)
{
    struct text argv[] = {{"DEL", 3}, key};

    call_propagate(call, 2, argv);
}

/* A deadline in the past is stored as well: the key is gone for whoever looks next. */
static bool store(struct call *call, struct key *key, struct text value, int64_t deadline)
{
    bool stored;

    slot_write_begin(call, key);
    stored = key_set_string(call, key, value, deadline);
    slot_write_end(call, key, "set");
    return stored;
}

/* The value that SET ... GET and GETSET answer with. It is gone once the change is made, and the
 * change may lack memory, which is another answer: so it is kept in between. */
struct old_value {
    bool there;
    struct text text;
    char *large;
    char small[OLD_VALUE_SMALL_BYTES];
};

/* False: an error was replied. */
static bool old_value_keep(struct call *call, struct key *key, struct old_value *old)
{
    char number[24];
    bool wrong = false;

    old->large = NULL;
    old->there = key_find_string(call, 1, FIND_READ, key, &wrong);
    if (!old->there)
        return !wrong;
    struct text text = entry_string(key->entry, number);
    char *to = old->small;
    if (text.len_bytes > sizeof old->small && (to = old->large = malloc(text.len_bytes)) == NULL) {
        reply_error(call->reply, "-OOM no memory for the old value");
        return false;
    }
    memcpy(to, text.data, text.len_bytes);
    old->text = (struct text){to, text.len_bytes};
    return true;
}

static void old_value_reply(struct call *call, const struct old_value *old)
{
    if (old->there)
        reply_bulk(call->reply, old->text);
    else
        reply_null(call->reply);
}

static bool set_applies(uint32_t options, bool there)
{
    return !((options & SET_NX) != 0 && there) && !((options & SET_XX) != 0 && !there);
}

/* False: no memory, error replied. */
static bool set_found(struct call *call, struct key *key, uint32_t options, int64_t deadline)
{
    if ((options & SET_KEEPTTL) != 0)
        deadline = key_expiry(key);
    if (!store(call, key, call->argv[2], deadline))
        return false;
    if ((options & SET_TIMES) != 0)
        propagate_set(call, call->argv[1], call->argv[2], deadline);
    return true;
}

static void set_and_get(struct call *call, uint32_t options, int64_t deadline)
{
    struct old_value old;
    struct key key;

    if (!old_value_keep(call, &key, &old))
        return;
    if (!set_applies(options, old.there) || set_found(call, &key, options, deadline))
        old_value_reply(call, &old);
    free(old.large);
}

void cmd_set(struct call *call)
{
    uint32_t options, time;
    int64_t deadline;
    struct key key;

    if (!read_options(call, 3, false, &options, &time) ||
        !read_deadline(call, options, time, &deadline))
        return;
    if ((options & SET_GET) != 0)
        set_and_get(call, options, deadline);
    else if (!set_applies(options, key_find(call, call->argv[1], FIND_WRITE, &key)))
        reply_null(call->reply);
    else if (set_found(call, &key, options, deadline))
        reply_ok(call->reply);
}

static void set_if(struct call *call, bool must_be_absent, uint32_t value_at, int64_t deadline)
{
    struct key key;

    if (key_find(call, call->argv[1], FIND_WRITE, &key) && must_be_absent) {
        reply_integer(call->reply, 0);
        return;
    }
    if (!store(call, &key, call->argv[value_at], deadline))
        return;
    if (deadline >= 0)
        propagate_set(call, call->argv[1], call->argv[value_at], deadline);
    if (must_be_absent)
        reply_integer(call->reply, 1);
    else
        reply_ok(call->reply);
}

void cmd_setnx(struct call *call)
{
    set_if(call, true, 2, -1);
}

static void set_for(struct call *call, bool seconds)
{
    int64_t value, deadline;

    if (!call_integer(call, 2, &value) ||
        !expiry_deadline(call, value, seconds, true, true, &deadline))
        return;
    set_if(call, false, 3, deadline);
}

void cmd_setex(struct call *call)
{
    set_for(call, true);
}

void cmd_psetex(struct call *call)
{
    set_for(call, false);
}

void cmd_getset(struct call *call)
{
    struct text argv[] = {{"SET", 3}, call->argv[1], call->argv[2]};
    struct old_value old;
    struct key key;

    if (!old_value_keep(call, &key, &old))
        return;
    if (store(call, &key, call->argv[2], -1)) {
        call_propagate(call, 3, argv);
        old_value_reply(call, &old);
    }
    free(old.large);
}

static void delete_now(struct call *call, struct key *key)
{
    reply_string(call, key->entry);
    slot_write_begin(call, key);
    key_delete(call, key);
    slot_write_end(call, key, "del");
    propagate_del(call, call->argv[1]);
}

void cmd_getdel(struct call *call)
{
    struct key key;
    bool wrong = false;

    if (!key_find_string(call, 1, FIND_READ, &key, &wrong)) {
        if (!wrong)
            reply_null(call->reply);
        return;
    }
    delete_now(call, &key);
}

/* -1: no deadline any more. */
static void change_deadline(struct call *call, struct key *key, int64_t deadline)
{
    char number[24];
    struct text argv[] = {{"PEXPIREAT", 9}, call->argv[1], {number, 0}};
    struct text persist[] = {{"PERSIST", 7}, call->argv[1]};

    slot_write_begin(call, key);
    bool done = key_set_expiry(call, key, deadline);
    slot_write_end(call, key, deadline < 0 ? "persist" : "expire");
    if (!done)
        return;
    reply_string(call, key->entry);
    if (deadline < 0) {
        call_propagate(call, 2, persist);
        return;
    }
    argv[2].len_bytes = integer_to_text(deadline, number);
    call_propagate(call, 3, argv);
}

void cmd_getex(struct call *call)
{
    uint32_t options, time;
    int64_t deadline;
    struct key key;
    bool wrong = false;

    if (!read_options(call, 2, true, &options, &time))
        return;
    if (!key_find_string(call, 1, FIND_READ, &key, &wrong)) {
        if (!wrong)
            reply_null(call->reply);
        return;
    }
    if (!read_deadline(call, options, time, &deadline))
        return;
    if ((options & SET_TIMES) != 0 && deadline <= call->now_unix_ms)
        delete_now(call, &key);
    else if ((options & SET_TIMES) != 0 || ((options & SET_PERSIST) != 0 && key_expiry(&key) >= 0))
        change_deadline(call, &key, deadline);
    else
        reply_string(call, key.entry);
}

/* ---- several keys ---- */

static bool store_all(struct call *call)
{
    for (uint32_t i = 1; i < call->argc; i += 2) {
        struct key key;

        key_find(call, call->argv[i], FIND_WRITE, &key);
        if (store(call, &key, call->argv[i + 1], -1))
            continue;
        if (call->dirty > 0) { /* what came before the lack of memory stands */
            call->argv[0] = (struct text){"MSET", 4};
            call_propagate(call, i, call->argv);
        }
        return false;
    }
    return true;
}

void cmd_mset(struct call *call)
{
    if (call->argc % 2 == 0) {
        reply_error(call->reply, "wrong number of arguments for 'mset' command");
        return;
    }
    if (store_all(call))
        reply_ok(call->reply);
}

void cmd_msetnx(struct call *call)
{
    struct key key;

    if (call->argc % 2 == 0) {
        reply_error(call->reply, "wrong number of arguments for 'msetnx' command");
        return;
    }
    for (uint32_t i = 1; i < call->argc; i += 2) {
        if (key_find(call, call->argv[i], FIND_WRITE, &key)) {
            reply_integer(call->reply, 0);
            return;
        }
    }
    if (store_all(call))
        reply_integer(call->reply, 1);
}

/* ---- APPEND, SETRANGE ---- */

void cmd_append(struct call *call)
{
    struct key key;
    bool wrong = false, done;
    size_t len = 0;

    if (key_find_string(call, 1, FIND_WRITE, &key, &wrong))
        len = entry_string_len(key.entry);
    if (wrong || !size_allowed(call, (uint64_t)len + call->argv[2].len_bytes))
        return;
    slot_write_begin(call, &key);
    done = key_append(call, &key, call->argv[2]);
    slot_write_end(call, &key, "append");
    if (done)
        reply_integer(call->reply, (int64_t)(len + call->argv[2].len_bytes));
}

void cmd_setrange(struct call *call)
{
    struct text value = call->argv[3];
    struct key key;
    int64_t offset;
    bool wrong = false;
    size_t len = 0;

    if (!call_integer(call, 2, &offset))
        return;
    if (offset < 0) {
        reply_error(call->reply, "offset is out of range");
        return;
    }
    if (key_find_string(call, 1, FIND_WRITE, &key, &wrong))
        len = entry_string_len(key.entry);
    if (wrong)
        return;
    if (value.len_bytes == 0) {
        reply_integer(call->reply, (int64_t)len);
        return;
    }
    if (!size_allowed(call, (uint64_t)offset + value.len_bytes))
        return;
    slot_write_begin(call, &key);
    size_t needed = (size_t)offset + value.len_bytes;
    char *data = key_string_writable(call, &key, needed > len ? needed : len);
    if (data != NULL)
        memcpy(data + offset, value.data, value.len_bytes);
    slot_write_end(call, &key, "setrange");
    if (data != NULL)
        reply_integer(call->reply, (int64_t)(needed > len ? needed : len));
}

/* ---- numbers ---- */

static void add(struct call *call, int64_t by)
{
    struct key key;
    int64_t value = 0;
    bool wrong = false;

    if (key_find_string(call, 1, FIND_WRITE, &key, &wrong)) {
        char number[24];
        if (!entry_string_is_integer(key.entry, &value) &&
            !text_to_integer(entry_string(key.entry, number), &value)) {
            reply_error(call->reply, "value is not an integer or out of range");
            return;
        }
    }
    if (wrong)
        return;
    if (__builtin_add_overflow(value, by, &value)) {
        reply_error(call->reply, "increment or decrement would overflow");
        return;
    }
    slot_write_begin(call, &key);
    bool done = key_set_integer(call, &key, value, key_expiry(&key));
    slot_write_end(call, &key, "incrby");
    if (done)
        reply_integer(call->reply, value);
}

void cmd_incr(struct call *call)
{
    add(call, 1);
}

void cmd_decr(struct call *call)
{
    add(call, -1);
}

void cmd_incrby(struct call *call)
{
    int64_t by;

    if (call_integer(call, 2, &by))
        add(call, by);
}

void cmd_decrby(struct call *call)
{
    int64_t by;

    if (!call_integer(call, 2, &by))
        return;
    if (by == INT64_MIN)
        reply_error(call->reply, "decrement would overflow");
    else
        add(call, -by);
}

void cmd_incrbyfloat(struct call *call)
{
    struct key key;
    long double value = 0, by;
    bool wrong = false;
    char number[24], text[FLOAT_TEXT_MAX];

    if (key_find_string(call, 1, FIND_WRITE, &key, &wrong)) {
        if (!text_to_long_double(entry_string(key.entry, number), &value)) {
            reply_error(call->reply, "value is not a valid float");
            return;
        }
    }
    if (wrong)
        return;
    if (!text_to_long_double(call->argv[2], &by)) {
        reply_error(call->reply, "value is not a valid float");
        return;
    }
    value += by;
    if (!long_double_is_finite(value)) {
        reply_error(call->reply, "increment would produce NaN or Infinity");
        return;
    }
    struct text result = {text, long_double_to_text(value, text)};
    slot_write_begin(call, &key);
    bool done = key_set_text(call, &key, result, key_expiry(&key));
    slot_write_end(call, &key, "incrbyfloat");
    if (!done)
        return;
    struct text argv[] = {{"SET", 3}, call->argv[1], result, {"KEEPTTL", 7}};
    call_propagate(call, 4, argv);
    reply_bulk(call->reply, result);
}

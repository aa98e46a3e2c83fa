/* Commands on deadlines: EXPIRE and its kin, TTL and its kin, PERSIST. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/commands/expiry.h"
#include "dataplane/commands/functions.h"
#include "dataplane/worker.h"

enum { EXPIRE_NX = 1, EXPIRE_XX = 2, EXPIRE_GT = 4, EXPIRE_LT = 8 };

static bool read_flags(struct call *call, unsigned *flags)
{
    static const char *const words[] = {"nx", "xx", "gt", "lt"};

    *flags = 0;
    for (uint32_t i = 3; i < call->argc; i++) {
        unsigned bit = 0;
        for (unsigned w = 0; w < 4; w++)
            if (call_option(call, i, words[w]))
                bit = 1u << w;
        if (bit == 0) {
            reply_errorf(call->reply, "Unsupported option %.*s", text_shown(call->argv[i]),
                         call->argv[i].data);
            return false;
        }
        *flags |= bit;
    }
    if ((*flags & EXPIRE_NX) != 0 && (*flags & ~(unsigned)EXPIRE_NX) != 0) {
        reply_error(call->reply, "NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((*flags & EXPIRE_GT) != 0 && (*flags & EXPIRE_LT) != 0) {
        reply_error(call->reply, "GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

static bool condition_holds(unsigned flags, int64_t current, int64_t deadline)
{
    if ((flags & EXPIRE_NX) != 0 && current >= 0)
        return false;
    if ((flags & EXPIRE_XX) != 0 && current < 0)
        return false;
    if ((flags & EXPIRE_GT) != 0 &&
        (current < 0 || deadline <= current)) /* no deadline counts as infinite */
        return false;
    return (flags & EXPIRE_LT) == 0 || current < 0 || deadline < current;
}

static void set_deadline(struct call *call, bool seconds, bool relative)
{
    struct key key;
    unsigned flags;
    int64_t value, deadline;
    char number[24];

    if (!read_flags(call, &flags) || !call_integer(call, 2, &value) ||
        !expiry_deadline(call, value, seconds, relative, false, &deadline))
        return;
    if (!key_find(call, call->argv[1], FIND_WRITE, &key) ||
        !condition_holds(flags, key_expiry(&key), deadline)) {
        reply_integer(call->reply, 0);
        return;
    }
    slot_write_begin(call, &key);
    if (deadline <= call->now_unix_ms) {
        struct text argv[] = {{"DEL", 3}, call->argv[1]};
        key_delete(call, &key);
        slot_write_end(call, &key, "del");
        call_propagate(call, 2, argv);
        reply_integer(call->reply, 1);
        return;
    }
    bool done = key_set_expiry(call, &key, deadline);
    slot_write_end(call, &key, "expire");
    if (!done)
        return;
    struct text argv[] = {{"PEXPIREAT", 9},
                          call->argv[1],
                          {number, integer_to_text(deadline, number)}};
    call_propagate(call, 3, argv);
    reply_integer(call->reply, 1);
}

void cmd_expire(struct call *call)
{
    set_deadline(call, true, true);
}

void cmd_pexpire(struct call *call)
{
    set_deadline(call, false, true);
}

void cmd_expireat(struct call *call)
{
    set_deadline(call, true, false);
}

void cmd_pexpireat(struct call *call)
{
    set_deadline(call, false, false);
}

/* -2: no such key; -1: no deadline. */
static void reply_deadline(struct call *call, bool seconds, bool relative)
{
    struct key key;
    int64_t value;

    if (!key_find(call, call->argv[1], FIND_READ | FIND_NO_TOUCH, &key)) {
        reply_integer(call->reply, -2);
        return;
    }
    value = key_expiry(&key);
    if (value >= 0 && relative)
        value = value > call->now_unix_ms ? value - call->now_unix_ms : 0;
    if (value >= 0 && seconds)
        value = (int64_t)(((uint64_t)value + 500) / 1000);
    reply_integer(call->reply, value);
}

void cmd_ttl(struct call *call)
{
    reply_deadline(call, true, true);
}

void cmd_pttl(struct call *call)
{
    reply_deadline(call, false, true);
}

void cmd_expiretime(struct call *call)
{
    reply_deadline(call, true, false);
}

void cmd_pexpiretime(struct call *call)
{
    reply_deadline(call, false, false);
}

void cmd_persist(struct call *call)
{
    struct key key;

    if (!key_find(call, call->argv[1], FIND_WRITE, &key) || key_expiry(&key) < 0) {
        reply_integer(call->reply, 0);
        return;
    }
    slot_write_begin(call, &key);
    bool done = key_set_expiry(call, &key, -1);
    slot_write_end(call, &key, "persist");
    if (done)
        reply_integer(call->reply, 1);
}

/* DEBUG PROTOCOL: one reply of each type, for tests of clients. */
#include "dataplane/commands/debug.h"

#define TEXT(literal) ((struct text){literal, sizeof(literal) - 1})

static void string(struct reply *reply)
{
    reply_bulk_cstr(reply, "Hello World");
}

static void integer(struct reply *reply)
{
    reply_integer(reply, 12345);
}

static void number(struct reply *reply)
{
    reply_double(reply, 3.141);
}

static void big_number(struct reply *reply)
{
    reply_big_number(reply, TEXT("1234567999999999999999999999999999999"));
}

static void numbers(struct reply *reply)
{
    for (int i = 0; i < 3; i++)
        reply_integer(reply, i);
}

static void array(struct reply *reply)
{
    reply_array(reply, 3);
    numbers(reply);
}

static void set(struct reply *reply)
{
    reply_set(reply, 3);
    numbers(reply);
}

static void map(struct reply *reply)
{
    reply_map(reply, 3);
    for (int i = 0; i < 3; i++) {
        reply_integer(reply, i);
        reply_bool(reply, i == 1);
    }
}

static void attribute(struct reply *reply)
{
    if (reply->resp >= 3) {
        reply_attribute(reply, 1);
        reply_bulk_cstr(reply, "key-popularity");
        reply_array(reply, 2);
        reply_bulk_cstr(reply, "key:123");
        reply_integer(reply, 90);
    }
    reply_bulk_cstr(reply, "Some real reply following the attribute");
}

static void push(struct reply *reply)
{
    if (reply->resp < 3) {
        reply_error(reply, "RESP2 is not supported by this command");
        return;
    }
    reply_push(reply, 2);
    reply_bulk_cstr(reply, "server-cpu-usage");
    reply_integer(reply, 42);
    reply_bulk_cstr(reply, "Some real reply following the push reply");
}

static void verbatim(struct reply *reply)
{
    reply_verbatim(reply, "txt", TEXT("This is a verbatim\nstring"));
}

static void yes(struct reply *reply)
{
    reply_bool(reply, true);
}

static void no(struct reply *reply)
{
    reply_bool(reply, false);
}

void debug_protocol(struct call *call)
{
    static const struct {
        const char *name;
        void (*write)(struct reply *reply);
    } types[] = {
        {"string", string},    {"integer", integer}, {"double", number},     {"bignum", big_number},
        {"null", reply_null},  {"array", array},     {"set", set},           {"map", map},
        {"attrib", attribute}, {"push", push},       {"verbatim", verbatim}, {"true", yes},
        {"false", no},
    };

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (call_option(call, 2, types[i].name)) {
            types[i].write(call->reply);
            return;
        }
    }
    reply_error(call->reply,
                "Wrong protocol type name. Please use one of the following: "
                "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false");
}

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/dataplane/commands/client_fixture.h"

static struct client_fixture *fixture;
static struct fixture *f;
static struct client *client;

static const char *run(const char *line)
{
    return client_fixture_run(fixture, line);
}

static void expect(const char *line, const char *reply)
{
    cr_assert_str_eq(run(line), reply, "%s", line);
}

static void stop(void)
{
    client_fixture_destroy(fixture);
}

static struct client *others[3];

static void start(void)
{
    fixture = client_fixture_create();
    f = fixture->base;
    client = fixture->client;
    for (unsigned i = 0; i < 3; i++)
        others[i] = client_fixture_add(fixture, 10 + i, client->peer);
}

TestSuite(clients, .init = start, .fini = stop);

/* The ids at the start of the lines of a listing, separated by spaces. */
static const char *ids(const char *reply)
{
    static char text[256];
    size_t used = 0;

    text[0] = '\0';
    for (const char *at = strstr(reply, "id="); at != NULL; at = strstr(at + 1, "\nid=")) {
        at += *at == '\n';
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%.*s", used > 0 ? " " : "",
                                 (int)strcspn(at + 3, " "), at + 3);
    }
    return text;
}

Test(clients, list_by_id_keeps_the_order_of_the_ids)
{
    cr_assert_str_eq(ids(run("CLIENT LIST")), "1 10 11 12");
    cr_assert_str_eq(ids(run("CLIENT LIST ID 12 99 1 -5 12 0")), "12 1 12");
    expect("CLIENT LIST ID 99", "$0\r\n\r\n");
    others[2]->flags |= CLIENT_CLOSED;
    cr_assert_str_eq(ids(run("CLIENT LIST ID 12 11")), "11");
    f->session.resp = 3;
    cr_assert_eq(strncmp(run("CLIENT LIST ID 11"), "=", 1), 0);
}

Test(clients, list_refuses_in_the_words_of_redis)
{
    expect("CLIENT LIST ID 1 x", "-ERR Invalid client ID\r\n");
    expect("CLIENT LIST TYPE nonsense", "-ERR Unknown client type 'nonsense'\r\n");
    expect("CLIENT LIST TYPE", "-ERR syntax error\r\n");
    expect("CLIENT LIST NONSENSE 1", "-ERR syntax error\r\n");
    expect("CLIENT LIST TYPE pubsub", "$0\r\n\r\n");
}

Test(clients, kill_of_oneself_waits_for_the_reply)
{
    expect("CLIENT KILL ID 1", ":0\r\n");
    expect("CLIENT KILL ID 1 SKIPME no", ":1\r\n");
    cr_assert_neq(client->flags & CLIENT_CLOSE_AFTER_REPLY, 0);
    expect("CLIENT KILL 10.0.0.2:1", "-ERR No such client\r\n");
    expect("CLIENT KILL ID 0", "-ERR client-id should be greater than 0\r\n");
    expect("CLIENT KILL USER bob", "-ERR No such user 'bob'\r\n");
    expect("CLIENT KILL TYPE x", "-ERR Unknown client type 'x'\r\n");
    expect("CLIENT KILL SKIPME perhaps", "-ERR syntax error\r\n");
    expect("CLIENT KILL ID 1 ADDR", "-ERR syntax error\r\n");
    expect("CLIENT KILL USER default TYPE pubsub", ":0\r\n");
}

Test(clients, names)
{
    expect("CLIENT ID", ":1\r\n");
    expect("CLIENT GETNAME", "$-1\r\n");
    expect("CLIENT SETNAME bob", "+OK\r\n");
    expect("CLIENT GETNAME", "$3\r\nbob\r\n");
    expect("CLIENT SETNAME \"a\\nb\"",
           "-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
    expect("CLIENT SETNAME \"\"", "+OK\r\n");
    expect("CLIENT GETNAME", "$-1\r\n");
    expect("CLIENT SETINFO LIB-NAME redis-py", "+OK\r\n");
    expect("CLIENT SETINFO LIB-VER 5.0", "+OK\r\n");
    cr_assert_str_eq(client->extra->texts[CLIENT_LIBRARY_NAME], "redis-py");
    expect("CLIENT SETINFO NONSENSE x", "-ERR Unrecognized option 'NONSENSE'\r\n");
}

Test(clients, a_transaction_shows_in_the_flags)
{
    cr_assert_not_null(strstr(run("CLIENT INFO"), " flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 "));
    client->flags |= CLIENT_MULTI | CLIENT_NO_EVICT;
    cr_assert_not_null(strstr(run("CLIENT INFO"), " flags=xe "));
    client->flags &= ~(uint32_t)CLIENT_MULTI;
    client_extra_make(client)->executing = 3; /* EXEC of two commands */
    cr_assert_not_null(strstr(run("CLIENT INFO"), " flags=xe db=0 sub=0 psub=0 ssub=0 multi=2 "));
    client->extra->executing = 0;
}

Test(clients, pauses_grow_longer_and_stricter)
{
    expect("CLIENT PAUSE 1000 WRITE", "+OK\r\n");
    cr_assert_eq(atomic_load(&f->node->pause_until_unix_ms), FIXTURE_NOW_UNIX_MS + 1000);
    cr_assert(atomic_load(&f->node->pause_writes_only));
    expect("CLIENT PAUSE 10", "+OK\r\n");
    cr_assert_eq(atomic_load(&f->node->pause_until_unix_ms), FIXTURE_NOW_UNIX_MS + 1000);
    cr_assert_not(atomic_load(&f->node->pause_writes_only));
    expect("CLIENT UNPAUSE", "+OK\r\n");
    cr_assert_eq(atomic_load(&f->node->pause_until_unix_ms), 0);
    expect("CLIENT PAUSE -1", "-ERR timeout is negative\r\n");
    expect("CLIENT PAUSE x", "-ERR timeout is not an integer or out of range\r\n");
    expect("CLIENT PAUSE 1 READ", "-ERR CLIENT PAUSE mode must be WRITE or ALL\r\n");
    expect("CLIENT pause 1 ALL x", "-ERR unknown subcommand or wrong number of arguments for "
                                   "'pause'. Try CLIENT HELP.\r\n");
}

Test(clients, what_is_not_there_yet_says_so)
{
    expect("CLIENT GETREDIR", ":-1\r\n");
    expect("CLIENT UNBLOCK 5", ":0\r\n");
    expect("CLIENT UNBLOCK 5 NONSENSE",
           "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n");
    expect("CLIENT UNBLOCK 5 ERROR x", "-ERR unknown subcommand or wrong number of arguments for "
                                       "'UNBLOCK'. Try CLIENT HELP.\r\n");
    expect("CLIENT REPLY NONSENSE", "-ERR syntax error\r\n");
    expect("CLIENT NO-EVICT NONSENSE", "-ERR syntax error\r\n");
}

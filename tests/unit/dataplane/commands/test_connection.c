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

static void start(void)
{
    fixture = client_fixture_create();
    f = fixture->base;
    client = fixture->client;
}

static void stop(void)
{
    client_fixture_destroy(fixture);
}

TestSuite(connection, .init = start, .fini = stop);

Test(connection, ping_echo_and_quit)
{
    expect("PING", "+PONG\r\n");
    expect("PING hello", "$5\r\nhello\r\n");
    expect("PING a b", "-ERR wrong number of arguments for 'ping' command\r\n");
    expect("ECHO x", "$1\r\nx\r\n");
    expect("QUIT", "+OK\r\n");
    cr_assert_neq(client->flags & CLIENT_CLOSE_AFTER_REPLY, 0);
}

Test(connection, select_stays_within_the_databases)
{
    expect("SELECT 15", "+OK\r\n");
    cr_assert_eq(f->session.db, 15);
    expect("SELECT 16", "-ERR DB index is out of range\r\n");
    expect("SELECT -1", "-ERR DB index is out of range\r\n");
    expect("SELECT x", "-ERR value is not an integer or out of range\r\n");
    f->session.cluster = true;
    expect("SELECT 1", "-ERR SELECT is not allowed in cluster mode\r\n");
    expect("SELECT 0", "+OK\r\n");
}

Test(connection, auth_against_the_password)
{
    expect("AUTH x", "-ERR AUTH <password> called without any password configured for the default "
                     "user. Are you sure your configuration is correct?\r\n");
    expect("AUTH default anything", "+OK\r\n");
    const char *none = f->node->config->requirepass;
    f->node->config->requirepass = "secret";
    client->flags = 0;
    expect("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    expect("AUTH other secret",
           "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    cr_assert_eq(client->flags, 0);
    expect("AUTH a b c", "-ERR syntax error\r\n");
    expect("AUTH secret", "+OK\r\n");
    cr_assert_eq(client->flags, (uint32_t)CLIENT_AUTHENTICATED);
    f->node->config->requirepass = none;
}

Test(connection, hello_switches_only_when_authenticated)
{
    expect("HELLO 4", "-NOPROTO unsupported protocol version\r\n");
    expect("HELLO x", "-ERR Protocol version is not an integer or out of range\r\n");
    expect("HELLO 3 NONSENSE", "-ERR Syntax error in HELLO option 'NONSENSE'\r\n");
    expect("HELLO 3 AUTH a", "-ERR Syntax error in HELLO option 'AUTH'\r\n");
    client->flags = 0;
    const char *none = f->node->config->requirepass;
    f->node->config->requirepass = "secret";
    cr_assert_eq(strncmp(run("HELLO 3"), "-NOAUTH HELLO must be called", 28), 0);
    cr_assert_eq(f->session.resp, 2);
    cr_assert_eq(strncmp(run("HELLO 3 AUTH default secret"), "%7\r\n", 4), 0);
    cr_assert_eq(f->session.resp, 3);
    cr_assert_eq(client->reply.resp, 3);
    f->node->config->requirepass = none;
}

/* What an option did stays done when a later one is refused, as in Redis. */
Test(connection, hello_names_the_client_where_setname_stands)
{
    expect("HELLO 3 SETNAME bob NONSENSE", "-ERR Syntax error in HELLO option 'NONSENSE'\r\n");
    expect("CLIENT GETNAME", "$3\r\nbob\r\n");
    expect("HELLO 3 SETNAME \"a b\" NONSENSE",
           "-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
    cr_assert_eq(f->session.resp, 2);
}

Test(connection, reset_leaves_only_no_evict)
{
    run("HELLO 3 SETNAME bob");
    run("SELECT 3");
    run("CLIENT NO-EVICT ON");
    run("CLIENT NO-TOUCH ON");
    run("CLIENT REPLY OFF");
    run("MULTI");
    expect("RESET", "+RESET\r\n");
    cr_assert_eq(client->flags, (uint32_t)(CLIENT_AUTHENTICATED | CLIENT_NO_EVICT));
    cr_assert_eq(f->session.db, 0);
    cr_assert_eq(f->session.resp, 2);
    cr_assert_not(f->session.no_touch);
    expect("CLIENT GETNAME", "$-1\r\n");
}

Test(connection, commands_for_cluster_clients_need_a_port_for_one_core)
{
    static const char disabled[] = "-ERR This instance has cluster support disabled\r\n";

    expect("READONLY", disabled);
    expect("READWRITE", disabled);
    expect("ASKING", disabled);
    expect("CLUSTER KEYSLOT a", disabled);
    expect("CLUSTER HELP", disabled);
    f->session.cluster = true;
    expect("READONLY", "+OK\r\n");
    expect("CLUSTER KEYSLOT foo{bar}", ":5061\r\n");
    expect("CLUSTER COUNTKEYSINSLOT 16384", "-ERR Invalid slot\r\n");
    expect("CLUSTER GETKEYSINSLOT 0 -1", "-ERR Invalid slot or number of keys\r\n");
}

Test(connection, monitor_is_refused_in_a_transaction)
{
    struct call *call = fixture_call(f, 1, (struct text[]){TEXT("MONITOR")});

    call->client = client;
    call->command = command_find(f->node->commands, call->argv[0]);
    call->in_transaction = true;
    call->command->run(call);
    cr_assert_str_eq(fixture_reply(f), "-ERR MONITOR isn't allowed for DENY BLOCKING client\r\n");
    expect("MONITOR", "+OK\r\n");
    cr_assert_eq(atomic_load(&f->node->monitors), 1);
    expect("RESET", "+RESET\r\n");
    cr_assert_eq(atomic_load(&f->node->monitors), 0);
}

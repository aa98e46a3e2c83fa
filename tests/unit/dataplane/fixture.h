/* Fixture: a node that no thread runs, for tests of the store and of commands.
 * Purpose:   a node with its databases, one worker or more with memory, wheel, journal, queues,
 *            eviction and lazy free, a session and a call whose reply ends up as text. The wall
 *            clock stands still until the test moves it.
 * Use:       struct fixture *f = fixture_create(1);
 *            fixture_call(f, 2, (struct text[]){TEXT("GET"), TEXT("key")});
 *            ... functions of the store with &f->call, then gate_commit(&f->call) ...
 *            cr_assert_str_eq(fixture_reply(f), "$-1\r\n");
 *            fixture_destroy(f);
 *            With fixture_run.c linked as well, whole commands of the command table:
 *            cr_assert_str_eq(fixture_run(f, "SET key \"a value\" EX 10"), "+OK\r\n");
 * Ownership: the fixture owns all of it; a text that it returns holds until the next call of the
 *            same function.
 * Threading: one thread; what workers do is called by the test, in turn. There are no jobs and no
 *            mail: call_effects hands out fixture->effects, and a ticket for another worker arrives
 *            there at once. (They are weak symbols: a test may link the real ones.)
 * Errors:    anything that fails ends the test program. */
#ifndef TESTS_UNIT_DATAPLANE_FIXTURE_H
#define TESTS_UNIT_DATAPLANE_FIXTURE_H

#include "dataplane/slots/effects.h"
#include "dataplane/worker.h"

#define TEXT(literal) ((struct text){literal, sizeof(literal) - 1})

enum {
    FIXTURE_ARGC_MAX = 4096,
    FIXTURE_DATABASES = 16,
};

#define FIXTURE_NOW_UNIX_MS INT64_C(1700000000000)

struct fixture {
    struct node *node;
    struct worker *worker; /* that executes: node->workers[0] until fixture_on changes it */
    struct session session;
    struct call call;
    struct reply reply;
    struct text argv[FIXTURE_ARGC_MAX];
    struct effects effects; /* of calls on slots of other workers; fixture_give_back applies them */
    char *reply_text, *journal_text, *line;
    size_t reply_capacity;
    void (*run_fini)(struct fixture *fixture); /* set by fixture_run.c */
};

struct fixture *fixture_create(uint32_t workers);
void fixture_destroy(struct fixture *fixture);

/* Which worker executes from now on. */
void fixture_on(struct fixture *fixture, uint32_t worker);
/* Moves the clock of all workers. */
void fixture_sleep(struct fixture *fixture, int64_t ms);
/* Applies f->effects at the owner of `slot`, as the end of a loan does. */
void fixture_give_back(struct fixture *fixture, uint16_t slot);
/* Runs expiry, lazy free and sweeps on every worker until there is nothing to do. */
void fixture_background(struct fixture *fixture);

/* Prepares f->call for these arguments (they must stay valid). The keys at `positions` (0-ended)
 * are hashed, as routing would. */
struct call *fixture_call(struct fixture *fixture, uint32_t argc, const struct text *argv);
void fixture_keys(struct fixture *fixture, uint32_t count, const uint32_t *positions);
/* The reply so far, NUL at its end, and starts a new one. */
const char *fixture_reply(struct fixture *fixture);
/* What the worker that executes has written to its journal since the last call, a line for each
 * record: its commands in inline form, separated by "; ", with the record's database in front: "0:
 * SET a b". Start with fixture_journal_on. */
void fixture_journal_on(struct fixture *fixture);
const char *fixture_journal(struct fixture *fixture);

/* In fixture_run.c: splits the line as redis-cli does, finds the command, checks its arity, hashes
 * its keys, runs and commits it; returns the reply. fixture_run_argv: the same with binary
 * arguments. */
const char *fixture_run(struct fixture *fixture, const char *line);
const char *fixture_run_argv(struct fixture *fixture, uint32_t argc, const struct text *argv);

#endif

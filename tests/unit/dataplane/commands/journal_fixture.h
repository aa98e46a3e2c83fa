#ifndef POLLUX_TESTS_JOURNAL_FIXTURE_H
#define POLLUX_TESTS_JOURNAL_FIXTURE_H

/* Purpose: what suites of commands share: one worker with a journal, and lines that are run on it.
 * Include it once, in the file that has the suite: .init = start, .fini = stop. */

#include <criterion/criterion.h>

#include "tests/unit/dataplane/fixture.h"

static struct fixture *f;

static inline void start(void)
{
    f = fixture_create(1);
    fixture_journal_on(f);
}

static inline void stop(void)
{
    fixture_destroy(f);
}

static inline void expect(const char *line, const char *reply)
{
    cr_assert_str_eq(fixture_run(f, line), reply, "%s", line);
}

/* Runs it, and compares what goes to the journal ("": nothing). */
static inline void expect_journal(const char *line, const char *reply, const char *journal)
{
    fixture_journal(f);
    expect(line, reply);
    const char *written = fixture_journal(f);
    cr_assert_str_eq(written, journal, "%s journals %s", line, written);
}

#endif

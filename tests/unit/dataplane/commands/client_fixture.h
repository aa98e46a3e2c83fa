/* Commands of a connection, run on a client without a stream.
 * Purpose:   as fixture_run, with call->client set; a gather runs first, on the only worker.
 * Ownership: the fixture owns all; one at a time in a program.
 * Threading: one thread. Errors: as the fixture's. */
#ifndef TESTS_UNIT_DATAPLANE_COMMANDS_CLIENT_FIXTURE_H
#define TESTS_UNIT_DATAPLANE_COMMANDS_CLIENT_FIXTURE_H

#include "dataplane/client/client.h"
#include "tests/unit/dataplane/fixture.h"

struct client_fixture {
    struct fixture *base;
    struct stream_conn conn;
    struct client *client; /* first in its worker's list */
};

struct client_fixture *client_fixture_create(void);
/* Another one at the end of the worker's list, from `peer`; the fixture's. */
struct client *client_fixture_add(struct client_fixture *fixture, uint64_t id, const char *peer);
void client_fixture_destroy(struct client_fixture *fixture);
/* The reply holds until the next call. */
const char *client_fixture_run(struct client_fixture *fixture, const char *line);

#endif

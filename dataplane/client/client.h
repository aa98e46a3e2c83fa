/* Clients: the connections of one worker.
 * Purpose:   bytes become commands, commands run here or travel as jobs, replies go out in the order of the commands.
 * Flow:      client_bytes collects what arrived into a batch (several connections), parses, prefetches, then runs in order. A connection whose command
 *            travels is `waiting`: its later bytes are kept, not parsed, until client_job_done.
 * Memory:    an idle connection has struct client and its address, no more than 224 bytes; what only some connections need is in blocks made
 *            when they first do: struct client_extra, and struct input while bytes wait.
 * Ownership: the worker's list owns clients; one is freed when its stream is closed and no job is out.
 * Threading: its worker; other workers see a client only as `client_id` in a job's session.
 * Errors:    a connection without memory is closed. */
#ifndef DATAPLANE_CLIENT_CLIENT_H
#define DATAPLANE_CLIENT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/commands/command.h"
#include "dataplane/proto/resp.h"
#include "dataplane/slots/job.h"
#include "dataplane/worker.h"

enum {
    BATCH_COMMANDS_MAX = 64, /* parsed before they run; also the longest burst that is one job */
    /* A burst of long commands or large replies stops there, and goes on later. */
    BURST_SLICE_NS = 200000,
    BURST_REPLIES_MAX_BYTES = 1 << 20,
    BATCH_ARGUMENTS_MAX = 1024,
    BURST_KEYS_MAX = 1024,
    OUTPUT_ANONYMOUS_MAX_BYTES = 4096, /* unsent before authentication: closed */
    /* While a worker's connections hold more unsent output than its share of the node's (or the
     * least share), those with more than OUTPUT_PRESSED_BYTES are not parsed. */
    OUTPUT_NODE_BYTES = 512 << 20,
    OUTPUT_SHARE_MIN_BYTES = 192 << 20,
    OUTPUT_PRESSED_BYTES = 1 << 20,
    CLIENT_NAME_MAX_BYTES = 65536,
};

enum client_flag {
    CLIENT_AUTHENTICATED = 1 << 0,
    CLIENT_MULTI = 1 << 1,
    CLIENT_DIRTY_EXEC = 1 << 2,
    CLIENT_MONITOR = 1 << 3,
    CLIENT_REPLY_OFF = 1 << 4,
    CLIENT_REPLY_SKIP_NEXT = 1 << 5,
    CLIENT_REPLY_SKIP = 1 << 6,
    CLIENT_CLOSE_AFTER_REPLY = 1 << 7,
    CLIENT_CLOSED = 1 << 8,
    CLIENT_WAITING = 1 << 9,      /* a job is out */
    CLIENT_PAUSED = 1 << 10,      /* CLIENT PAUSE holds its next command */
    CLIENT_HALF_CLOSED = 1 << 11, /* the peer sends no more: close when everything is answered */
    CLIENT_READ_PAUSED = 1 << 12,
    CLIENT_OUTPUT_FULL = 1 << 13,
    CLIENT_UNIX = 1 << 14,
    CLIENT_READONLY = 1 << 15,
    CLIENT_ASKING = 1 << 16,
    CLIENT_RESUME = 1 << 17, /* in the worker's resume list */
    CLIENT_NO_EVICT = 1 << 18,
    CLIENT_UNWATCHING = 1 << 19, /* a job that removes its watch records is out */
    CLIENT_IN_BATCH = 1 << 20,
    CLIENT_SCATTERED = 1 << 21, /* the jobs of the client's plan are out */
    CLIENT_SENT = 1 << 22,    /* the command at hand has gone as a job, which may be back already */
    CLIENT_TOUCHED = 1 << 23, /* may have input or output: the cron looks at it */
};

struct bytes {
    char *data;
    size_t start, end, capacity;
}; /* unparsed input: data[start, end) */

/* A queued transaction. */
struct multi {
    struct job_command *commands; /* arguments in one allocation each (commands[i].argv) */
    uint32_t count, capacity;
    int32_t slot;        /* cluster rules: of all its keys; -1: none yet, -2: several */
    uint32_t flags_seen; /* or of all commands' flags */
    uint64_t bytes;
};

/* A scattered burst, or the one job that is out. */
struct plan {
    struct job *jobs[WORKERS_MAX]; /* by index; NULL: there was no memory for it */
    uint32_t job_count, open;
    uint32_t command_count, delivered;                   /* delivered: replies, in order */
    uint8_t order[BATCH_COMMANDS_MAX];                   /* command -> index of its job */
    uint32_t taken_of[WORKERS_MAX], ran_of[WORKERS_MAX]; /* ran_of: 0 while the job is away */
};

/* Bytes that could not be parsed or run at once, and how far the command that they begin is parsed. */
struct input {
    struct bytes bytes;
    struct resp_parser parser;
};

enum client_text { CLIENT_NAME, CLIENT_LIBRARY_NAME, CLIENT_LIBRARY_VERSION, CLIENT_TEXTS };

/* What few connections need, and those seldom; once made it stays. Made while no job is out, as
 * other workers look at its texts then (the slow log). */
struct client_extra {
    struct multi multi;
    char exec_word[4];  /* EXEC as the client wrote it, for MONITOR */
    uint32_t executing; /* commands of the EXEC whose job is out, and one more; 0: none is out */
    struct job_watch *watches;
    uint32_t watch_count, watch_capacity; /* each slot once */
    uint64_t *watch_bits; /* [SLOTS / 64], once there are more than a few: the slots in watches */
    struct plan *plan;    /* NULL: no scattered burst yet */
    char *texts[CLIENT_TEXTS]; /* by enum client_text: NULL or owned; valid characters only */
};

struct client {
    /* All that the cron looks at of an idle one, in one cache line. */
    uint32_t flags;                    /* enum client_flag */
    uint32_t output_soft_since_unix_s; /* soft output limit exceeded since; 0: not */
    struct client *next;               /* the worker's list */
    int64_t last_active_unix_ms;
    /* hot */
    struct worker *worker;
    struct stream_conn *conn; /* NULL once closed */
    struct session session;
    struct reply reply;  /* sink: the stream */
    struct input *input; /* NULL: nothing waits */
    const struct command *last_command;
    /* the rest */
    struct client *previous;
    struct client *resume_next;
    struct client_extra *extra; /* NULL: as one all zero; see client_extra() */
    struct job *parked; /* bursts come home halfway, until there is room for their replies */
    int64_t created_unix_ms;
    uint64_t output_counted; /* unsent output, as in the list's sum */
    char peer[];             /* its address; most are short */
};
_Static_assert(sizeof(struct client) <= 192, "there may be a million of them");

extern const struct client_extra client_no_extra;

/* To be read. */
static inline const struct client_extra *client_extra(const struct client *client)
{
    return client->extra == NULL ? &client_no_extra : client->extra;
}
/* To be written to; NULL: no memory. */
struct client_extra *client_extra_make(struct client *client);
/* "ip:port" that the client has reached, as long as its connection lives; empty: it does not. */
void client_local(const struct client *client, char local[STREAM_ADDRESS_TEXT_MAX]);

/* Has it yet to give the password that is wanted now? */
static inline bool client_is_anonymous(const struct client *client)
{
    return (client->flags & CLIENT_AUTHENTICATED) == 0 &&
           client->worker->node->config->requirepass[0] != '\0';
}

struct batch;

struct client_list {
    struct client *first, *last;
    uint32_t count;
    struct client *resume_first, *resume_last; /* to be processed in the next turn */
    struct client *cron_next;
    struct job *redo_first, *redo_last; /* jobs to be routed anew */
    uint64_t output_bytes; /* unsent over all clients: the sum of their output_counted */
    uint64_t idle_bytes;   /* what all clients take when they are idle */
    uint64_t memory_counted, input_max,
        output_max; /* and what some take beside it, in the cron's round under way, for INFO */
    uint64_t pause_generation_seen;
    _Atomic uint32_t monitors; /* of this worker */
    uint32_t paused;
    struct batch *batch;
    char error_code[REPLY_CODE_MAX]; /* of the clients' replies */
};

int clients_create(struct client_list **list);
void clients_destroy(struct worker *worker);

/* Stream events, in one burst. */
void clients_events(struct worker *worker, const struct stream_event *events, unsigned count);
/* Continues connections whose job came back, whose pause ended, whose output drained. */
void clients_resume(struct worker *worker);
bool clients_have_work(const struct worker *worker);
/* Ten times a second: time-outs, output limits, pauses. */
void clients_cron(struct worker *worker);
/* The server ends: connections whose commands are all executed are closed once their replies are sent, the others are not
 * read any more. Called each turn; true: none is left. */
bool clients_drain(struct worker *worker);
/* After the worker's thread: jobs that came home to be routed again are. True: there were some. */
bool clients_settle(struct worker *worker);
void client_accepted(struct worker *worker, struct stream_conn *conn);
void client_close(struct client *client, bool flush);
void client_continue_later(struct client *client);
void client_redo_job(struct worker *worker, struct job *job); /* route it anew in the next turn */

/* burst.c: a job with some of the replies it owes; what can be delivered is. */
void burst_came_halfway(struct client *client, struct job *job);
/* A job of the client's plan that is done; returns how many are still out. */
uint32_t burst_came_home(struct client *client, struct job *job);
/* Output has drained, or the connection is gone: parked jobs go on if they may. */
void burst_unpark(struct client *client);
void burst_unpark_all(struct client *client); /* the server ends: nobody will read the replies */

/* Between these two, client->reply may be written to outside command execution. */
void client_reply_begin(struct client *client);
void client_reply_end(struct client *client);

/* dispatch.c: one parsed command; returns false when the connection must wait (the command is not consumed unless *taken). */
struct parsed {
    struct text *argv;
    uint32_t argc;
    const struct command *command; /* container resolved to its subcommand; NULL: unknown */
    size_t end;                    /* offset behind it in the group's bytes */
    uint64_t hash;                 /* of the single key */
    uint16_t slot;
    uint8_t kind; /* enum parsed_kind */
};
enum parsed_kind { PARSED_OTHER, PARSED_ONE_KEY };
/* Runs parsed[0]; may take more of the `count` that follow (a burst). Returns how many were consumed; 0: wait, nothing consumed. */
uint32_t client_run(struct client *client, struct parsed *parsed, uint32_t count);

/* A call with everything but keys[] set; cheaper than zeroing it all. */
static inline void call_init(struct call *call, struct worker *worker, struct session *session,
                             const struct command *command, struct text *argv, uint32_t argc,
                             struct reply *reply)
{
    call->worker = worker;
    call->node = worker->node;
    call->session = session;
    call->client = NULL;
    call->job = NULL;
    call->command = command;
    call->argv = argv;
    call->argc = argc;
    call->reply = reply;
    call->now_unix_ms = worker->now_unix_ms;
    call->key_count = 0;
    call->parts = NULL;
    call->part_count = 0;
    call->dirty = 0;
    call->stamp = 0;
    call->propagate_argv = NULL;
    call->propagate_argc = 0;
    call->propagate_owned = call->propagate_none = call->in_transaction = call->write_open = false;
    call->continue_slot = -1;
    call->walk_reply = NULL;
}

/* run.c: one command on this worker, with statistics, gate, slow log. */
void call_run(struct call *call);
void run_note(struct call *call, uint64_t took_ns,
              uint64_t errors); /* statistics of a command that ran */
uint64_t run_clock_ns(const struct worker *worker);
void run_count_error(struct worker *worker, const char *code);
void run_reject(struct client *client, const struct command *command,
                const char *error); /* error before execution; spoils a MULTI */
/* A command that ran and failed, counted as such: for what is not run by call_run. */
void run_fail(struct client *client, const struct command *command, const char *error);

/* transaction.c */
void multi_queue(struct client *client, const struct parsed *parsed);
void multi_discard(struct client *client); /* drops the queue and the flags; watches stay */
void client_unwatch(
    struct client *client); /* removes the client's watch records wherever they are */
uint32_t client_exec(struct client *client, const struct parsed *parsed);
uint32_t client_watch(struct client *client, struct parsed *parsed);

void transaction_done(struct client *client,
                      bool begun);                 /* EXEC's job came home; begun: job->begun */
void transaction_unwatched(struct client *client); /* the watch records are gone */

/* "-MOVED slot host:port" for the port of `owner`, as this client reaches this node. */
void client_moved_text(struct client *client, uint16_t slot, uint32_t owner, char *text,
                       size_t text_bytes);

/* monitor.c: tells all monitors of a command that has run, in that database */
void monitor_feed(struct client *client, uint32_t db, const struct command *command,
                  const struct text *argv, uint32_t argc);
void monitor_feed_job(
    struct client *client,
    const struct job *job); /* the same for all commands of a job that came home */
void monitor_line(struct worker *worker, struct text line); /* to this worker's monitors */

/* describe.c: what CLIENT LIST and CLIENT INFO print; names are cut when the line is full */
enum { CLIENT_LINE_MAX_BYTES = 1024 };
/* Itself, what it has set and its address; to this its buffers and queued commands come. */
uint64_t client_idle_bytes(const struct client *client);
uint64_t client_memory_bytes(const struct client *client);
size_t client_describe(const struct client *client, char *line,
                       size_t line_bytes); /* one line without its end; returns its length */

#endif

/* Commands: the table's row, and the call that a command function gets.
 * Purpose:   adding a command is one row, one function, one test.
 * Ownership: rows are const data. A call lives on the stack of the worker that runs it; argv points into the receive
 *            buffer or the job's memory and is valid while the function runs.
 * Threading: a command function runs on the worker that holds every slot of the command's keys (its own, or on loan), and sees the slot objects as if it were
 *            alone: no command contains cross-core code. Functions with CMD_HOME run on the worker of the connection.
 * Errors:    replied through call->reply. */
#ifndef DATAPLANE_COMMANDS_COMMAND_H
#define DATAPLANE_COMMANDS_COMMAND_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/proto/reply.h"
#include "dataplane/store/entry.h"

struct worker;
struct node;
struct client;
struct job;
struct call;
struct gather_part;

enum command_flag { /* the first 20 are what COMMAND INFO names */
                    CMD_WRITE = 1u << 0,
                    CMD_READONLY = 1u << 1,
                    CMD_DENYOOM = 1u << 2,
                    CMD_ADMIN = 1u << 3,
                    CMD_PUBSUB = 1u << 4,
                    CMD_NOSCRIPT = 1u << 5,
                    CMD_BLOCKING = 1u << 6,
                    CMD_LOADING = 1u << 7,
                    CMD_STALE = 1u << 8,
                    CMD_SKIP_MONITOR = 1u << 9,
                    CMD_SKIP_SLOWLOG = 1u << 10,
                    CMD_ASKING = 1u << 11,
                    CMD_FAST = 1u << 12,
                    CMD_NO_AUTH = 1u << 13,
                    CMD_MAY_REPLICATE = 1u << 14,
                    CMD_NO_MANDATORY_KEYS = 1u << 15,
                    CMD_NO_ASYNC_LOADING = 1u << 16,
                    CMD_NO_MULTI = 1u << 17,
                    CMD_ALLOW_BUSY = 1u << 18,
                    CMD_MOVABLE_KEYS = 1u << 19,
                    /* ours: where it runs */
                    CMD_HOME = 1u << 24, /* touches the connection: runs on its worker */
                    CMD_ALL_SLOTS =
                        1u
                        << 25, /* runs under loans of every slot of the node (FLUSHALL, SWAPDB ...) */
                    CMD_WALK =
                        1u
                        << 26, /* visits slots one after the other: `slot_of` gives the first, call_continue_at the next (SCAN, KEYS, RANDOMKEY); in EXEC under
                                 loans of every slot, where continuing is immediate */
                    CMD_GATHER =
                        1u
                        << 27, /* `gather` runs on each worker (owner of clients, logs), then `run` at home with the parts; implies CMD_HOME */
                    CMD_AT_SLOT =
                        1u
                        << 28, /* no key, but one slot: `slot_of` says which (CLUSTER COUNTKEYSINSLOT) */
                    CMD_CONTROL =
                        1u
                        << 30, /* `on_control` runs on the control thread, which may wait for a disk or for all workers; then `run` at home with its part as
                                 parts[0]. Inside EXEC it is asked only if `waits` says so, and `run` comes when the other commands
                                 have run, all slots still held; else part_count is 0 and `run` says what that means */
                    CMD_TRANSACTION =
                        1u
                        << 29, /* runs at once inside MULTI (EXEC, DISCARD, MULTI, WATCH, QUIT, RESET) */
};

enum command_category { /* ACL categories, bits as names in COMMAND INFO; see category names in table.c */
                        CAT_KEYSPACE = 1u << 0,
                        CAT_READ = 1u << 1,
                        CAT_WRITE = 1u << 2,
                        CAT_SET = 1u << 3,
                        CAT_SORTEDSET = 1u << 4,
                        CAT_LIST = 1u << 5,
                        CAT_HASH = 1u << 6,
                        CAT_STRING = 1u << 7,
                        CAT_BITMAP = 1u << 8,
                        CAT_HYPERLOGLOG = 1u << 9,
                        CAT_GEO = 1u << 10,
                        CAT_STREAM = 1u << 11,
                        CAT_PUBSUB = 1u << 12,
                        CAT_ADMIN = 1u << 13,
                        CAT_FAST = 1u << 14,
                        CAT_SLOW = 1u << 15,
                        CAT_BLOCKING = 1u << 16,
                        CAT_DANGEROUS = 1u << 17,
                        CAT_CONNECTION = 1u << 18,
                        CAT_TRANSACTION = 1u << 19,
                        CAT_SCRIPTING = 1u << 20,
};

enum command_group {
    GROUP_GENERIC,
    GROUP_STRING,
    GROUP_LIST,
    GROUP_SET,
    GROUP_SORTED_SET,
    GROUP_HASH,
    GROUP_PUBSUB,
    GROUP_TRANSACTIONS,
    GROUP_CONNECTION,
    GROUP_SERVER,
    GROUP_SCRIPTING,
    GROUP_HYPERLOGLOG,
    GROUP_CLUSTER,
    GROUP_SENTINEL,
    GROUP_GEO,
    GROUP_STREAM,
    GROUP_BITMAP
};

enum key_flag { /* flags of a key specification, as COMMAND INFO names them */
                KEY_RO = 1,
                KEY_RW = 2,
                KEY_OW = 4,
                KEY_RM = 8,
                KEY_ACCESS = 16,
                KEY_UPDATE = 32,
                KEY_INSERT = 64,
                KEY_DELETE = 128,
                KEY_NOT_KEY = 256,
                KEY_INCOMPLETE = 512,
                KEY_VARIABLE_FLAGS = 1024,
};

struct key_spec {
    uint16_t flags;
    const char *notes;
    uint8_t begin_kind;  /* 0 unused, 1 index, 2 keyword, 3 unknown */
    int16_t begin_index; /* index, or startfrom of a keyword */
    const char *begin_keyword;
    uint8_t find_kind;               /* 1 range, 2 keynum, 3 unknown */
    int16_t last, step, limit;       /* range */
    int16_t keynum_index, first_key; /* keynum (step shared) */
};

enum argument_type {
    ARG_STRING,
    ARG_INTEGER,
    ARG_DOUBLE,
    ARG_KEY,
    ARG_PATTERN,
    ARG_UNIX_TIME,
    ARG_PURE_TOKEN,
    ARG_ONEOF,
    ARG_BLOCK
};
enum argument_flag { ARG_OPTIONAL = 1, ARG_MULTIPLE = 2, ARG_MULTIPLE_TOKEN = 4 };
struct command_argument { /* for COMMAND DOCS */
    const char *name;
    enum argument_type type;
    uint8_t flags;
    int8_t key_spec; /* index + 1; 0: none */
    const char *token, *summary, *since, *deprecated_since, *display_text;
    const struct command_argument *children;
    uint8_t child_count;
};
struct command_history {
    const char *since, *change;
};

enum { COMMAND_KEY_POSITIONS_MAX = 1024 * 1024, COMMAND_FULL_NAME_MAX = 64 };

struct command {
    const char *
        name; /* lower case; a subcommand's full name is "container|sub" in listings, here only "sub" */
    const char *full_name; /* set in the index's copies */
    int16_t arity;         /* counts the name (and the container's); negative for "at least" */
    uint32_t flags, categories;
    struct {
        int16_t first, last, step;
    } keys; /* {0,0,0}: none; last -1: to the end */
    /* Keys that a triple can't tell; positions into `positions` (at most `max`), returns the count, or -1 for an invalid call. */
    int (*find_keys)(const struct text *argv, uint32_t argc, uint32_t *positions, uint32_t max);
    /* What a call does to its key, where a KEY_VARIABLE_FLAGS specification leaves it to the arguments. */
    uint16_t (*key_flags)(const struct text *argv, uint32_t argc);
    int32_t (*slot_of)(
        struct call
            *call); /* CMD_WALK, CMD_AT_SLOT: slot to run at; -1: anywhere. Replies nothing */
    void (*run)(struct call *call);
    void (*gather)(struct worker *worker, struct call *call, struct reply_memory *part,
                   uint64_t *number); /* CMD_GATHER: on each worker; must not change call */
    void (*on_control)(
        struct call *call,
        struct gather_part *
            part); /* CMD_CONTROL: may use call's node, command and arguments; part->number is 1 for a local client */
    /* CMD_CONTROL: must this call, inside EXEC, ask the control thread? Looks at the arguments only. NULL: no. */
    bool (*waits)(const struct call *call);
    const struct key_spec *key_specs;
    uint8_t key_spec_count;
    const struct command *subcommands;
    uint8_t subcommand_count;
    /* documentation */
    enum command_group group;
    const char *summary, *complexity, *since;
    const char *deprecated_since, *replaced_by;
    bool system; /* not meant for applications: COMMAND DOCS calls it syscmd */
    const struct command_argument *arguments;
    uint8_t argument_count;
    const struct command_history *history;
    uint8_t history_count;
    const char *const *tips;
    uint8_t tip_count;
};

/* The part of a connection that travels with its commands. */
struct session {
    uint64_t client_id;
    uint32_t db;
    uint8_t resp;  /* 2 or 3 */
    bool no_touch; /* CLIENT NO-TOUCH */
    bool no_evict;
    bool cluster;         /* came through a port for one core: cluster rules */
    uint16_t port_worker; /* that port's worker */
};

enum { CALL_KEYS_MAX = 16 };

struct call_key {
    uint64_t hash;
    uint32_t position;
    uint16_t slot;
}; /* computed once, when the command was routed */

struct gather_part {
    struct reply_memory memory;
    uint64_t number;
};

struct call {
    struct worker *worker; /* that runs it */
    struct node *node;
    struct session *
        session; /* the client's, or the job's copy (copied back to the client when the job returns) */
    struct client *client; /* only where CMD_HOME guarantees it; else NULL */
    struct job *job;       /* NULL when run at once on its own worker */
    const struct command *command;
    struct text *argv;
    uint32_t argc;
    struct reply *reply;
    int64_t now_unix_ms; /* one reading for the whole command or transaction */
    struct call_key keys[CALL_KEYS_MAX];
    uint32_t key_count;
    struct gather_part *parts; /* CMD_GATHER: one for each worker; CMD_CONTROL: one */
    uint32_t part_count;
    /* the gate's */
    uint64_t dirty; /* changes made by this command */
    uint64_t stamp;
    struct text *propagate_argv; /* what the journal gets instead of argv */
    uint32_t propagate_argc;
    bool propagate_owned, propagate_none;
    bool in_transaction; /* inside EXEC */
    bool write_open;
    /* CMD_WALK */
    int32_t continue_slot; /* -1: finished */
    struct reply_memory
        *walk_reply; /* memory that stays with a walking command between its steps */
    uint64_t walk_state[4];
};

/* Finds a row by name (case-insensitive), and with a second word its subcommand. The index holds copies of all rows, side by
 * side, so that a row's number is its position: compare rows by pointer or `run`, never with the tables they came from. */
struct command_index;
struct command_index *command_index_create(void); /* NULL: no memory */
void command_index_destroy(struct command_index *index);
const struct command *command_find(const struct command_index *index, struct text name);
const struct command *command_find_sub(const struct command *container, struct text name);
/* All containers and plain commands, in table order. */
const struct command *const *command_all(const struct command_index *index, uint32_t *count);
/* Position in the per-command statistics: dense, subcommands included (all behind the commands); and back. */
uint32_t command_number(const struct command_index *index, const struct command *command);
uint32_t command_numbers(const struct command_index *index);
const char *command_full_name(const struct command_index *index,
                              const struct command *command); /* "config|set" */
const struct command *command_by_number(const struct command_index *index, uint32_t number);

/* Positions of the keys of a call that fits the command's arity, at most `max`. Returns how many were stored, or -1 when the call is
 * malformed. */
int command_keys(const struct command *command, const struct text *argv, uint32_t argc,
                 uint32_t *positions, uint32_t max);

/* Helpers for command functions. */
bool call_integer(struct call *call, uint32_t position,
                  int64_t *value); /* else replies "value is not an integer or out of range" */
bool call_integer_range(struct call *call, uint32_t position, int64_t low, int64_t high,
                        int64_t *value, const char *error_or_null);
bool call_option(const struct call *call, uint32_t position,
                 const char *word);               /* case-insensitive equality */
bool text_is(struct text text, const char *word); /* case-insensitive equality */
/* Length of a client's text for "%.*s" in an error; printf stops at a zero byte, as Redis's errors do. */
static inline int text_shown(struct text text)
{
    return text.len_bytes < INT_MAX ? (int)text.len_bytes : INT_MAX;
}
void call_wrong_arity(struct call *call);
void call_wrong_subcommand(
    struct call *call); /* of argv[1]: unknown, or with a wrong number of arguments */
void call_syntax_error(struct call *call);
/* Another argument vector for the journal (copied; without memory for that the original one goes). NULL/0 argc: the command is not
 * journaled although it changed something. */
void call_propagate(struct call *call, uint32_t argc, const struct text *argv);
/* CMD_WALK: run again at this slot (on its owner); -1 ends the walk. */
static inline void call_continue_at(struct call *call, int32_t slot)
{
    call->continue_slot = slot;
}
/* HELP subcommands: lines in Redis's form. */
void call_help(struct call *call, const char *const *lines, uint32_t count);

#endif

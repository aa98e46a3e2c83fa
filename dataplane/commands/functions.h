/* The functions behind the command table, one list for all files that hold some.
 * Purpose:   table rows name them, files of commands define them.
 * Ownership, threading, errors: as command.h says of `run`, `gather`, `slot_of` and `key_flags`. */
#ifndef DATAPLANE_COMMANDS_FUNCTIONS_H
#define DATAPLANE_COMMANDS_FUNCTIONS_H

#include "dataplane/commands/command.h"

/* Strings */
void cmd_get(struct call *call);
void cmd_set(struct call *call);
void cmd_getex(struct call *call);
void cmd_getdel(struct call *call);
void cmd_getset(struct call *call);
void cmd_append(struct call *call);
void cmd_strlen(struct call *call);
void cmd_incr(struct call *call);
void cmd_incrby(struct call *call);
void cmd_incrbyfloat(struct call *call);
void cmd_decr(struct call *call);
void cmd_decrby(struct call *call);
void cmd_setrange(struct call *call);
void cmd_getrange(struct call *call);
void cmd_substr(struct call *call);
void cmd_mset(struct call *call);
void cmd_msetnx(struct call *call);
void cmd_mget(struct call *call);
void cmd_lcs(struct call *call);
void cmd_psetex(struct call *call);
void cmd_setex(struct call *call);
void cmd_setnx(struct call *call);

/* Bitmaps */
void cmd_setbit(struct call *call);
void cmd_getbit(struct call *call);
void cmd_bitcount(struct call *call);
void cmd_bitpos(struct call *call);
void cmd_bitop(struct call *call);
void cmd_bitfield(struct call *call);
void cmd_bitfield_ro(struct call *call);

/* Keys of any type */
void cmd_del(struct call *call);
void cmd_unlink(struct call *call);
void cmd_exists(struct call *call);
void cmd_type(struct call *call);
void cmd_keys(struct call *call);
void cmd_scan(struct call *call);
void cmd_randomkey(struct call *call);
void cmd_rename(struct call *call);
void cmd_renamenx(struct call *call);
void cmd_copy(struct call *call);
void cmd_move(struct call *call);
void cmd_touch(struct call *call);
void cmd_expire(struct call *call);
void cmd_expireat(struct call *call);
void cmd_pexpire(struct call *call);
void cmd_pexpireat(struct call *call);
void cmd_ttl(struct call *call);
void cmd_pttl(struct call *call);
void cmd_expiretime(struct call *call);
void cmd_pexpiretime(struct call *call);
void cmd_persist(struct call *call);
void cmd_object_encoding(struct call *call);
void cmd_object_freq(struct call *call);
void cmd_object_idletime(struct call *call);
void cmd_object_refcount(struct call *call);
void cmd_object_help(struct call *call);

/* The connection */
void cmd_ping(struct call *call);
void cmd_echo(struct call *call);
void cmd_hello(struct call *call);
void cmd_auth(struct call *call);
void cmd_select(struct call *call);
void cmd_quit(struct call *call);
void cmd_reset(struct call *call);
void cmd_client_id(struct call *call);
void cmd_client_info(struct call *call);
void cmd_client_list(struct call *call);
void cmd_client_kill(struct call *call);
void cmd_client_getname(struct call *call);
void cmd_client_setname(struct call *call);
void cmd_client_setinfo(struct call *call);
void cmd_client_pause(struct call *call);
void cmd_client_unpause(struct call *call);
void cmd_client_reply(struct call *call);
void cmd_client_no_evict(struct call *call);
void cmd_client_no_touch(struct call *call);
void cmd_client_unblock(struct call *call);
void cmd_client_getredir(struct call *call);
void cmd_client_help(struct call *call);

/* Transactions */
void cmd_multi(struct call *call);
void cmd_exec(struct call *call);
void cmd_discard(struct call *call);
void cmd_watch(struct call *call);
void cmd_unwatch(struct call *call);

/* The server */
void cmd_info(struct call *call);
void cmd_config_get(struct call *call);
void cmd_config_set(struct call *call);
void cmd_config_rewrite(struct call *call);
void cmd_config_resetstat(struct call *call);
void cmd_config_help(struct call *call);
void cmd_time(struct call *call);
void cmd_lolwut(struct call *call);
void cmd_slowlog_get(struct call *call);
void cmd_slowlog_len(struct call *call);
void cmd_slowlog_reset(struct call *call);
void cmd_slowlog_help(struct call *call);
void cmd_latency_histogram(struct call *call);
void cmd_latency_history(struct call *call);
void cmd_latency_latest(struct call *call);
void cmd_latency_reset(struct call *call);
void cmd_latency_graph(struct call *call);
void cmd_latency_doctor(struct call *call);
void cmd_latency_help(struct call *call);
void cmd_memory_usage(struct call *call);
void cmd_memory_stats(struct call *call);
void cmd_memory_doctor(struct call *call);
void cmd_memory_purge(struct call *call);
void cmd_memory_malloc_stats(struct call *call);
void cmd_memory_help(struct call *call);
void cmd_monitor(struct call *call);
void cmd_shutdown(struct call *call);
void cmd_debug(struct call *call);
void cmd_command(struct call *call);
void cmd_command_count(struct call *call);
void cmd_command_list(struct call *call);
void cmd_command_info(struct call *call);
void cmd_command_docs(struct call *call);
void cmd_command_getkeys(struct call *call);
void cmd_command_getkeysandflags(struct call *call);
void cmd_command_help(struct call *call);
void cmd_dbsize(struct call *call);
void cmd_flushdb(struct call *call);
void cmd_flushall(struct call *call);
void cmd_swapdb(struct call *call);
void cmd_pollux_slots(struct call *call);
void cmd_pollux_move_slot(struct call *call);
void cmd_pollux_rebalance(struct call *call);
void cmd_pollux_gaps(struct call *call);
void cmd_pollux_help(struct call *call);

/* Slots and nodes */
void cmd_readonly(struct call *call);
void cmd_readwrite(struct call *call);
void cmd_asking(struct call *call);
void cmd_cluster_slots(struct call *call);
void cmd_cluster_shards(struct call *call);
void cmd_cluster_nodes(struct call *call);
void cmd_cluster_info(struct call *call);
void cmd_cluster_myid(struct call *call);
void cmd_cluster_keyslot(struct call *call);
void cmd_cluster_countkeysinslot(struct call *call);
void cmd_cluster_getkeysinslot(struct call *call);
void cmd_cluster_help(struct call *call);

/* CMD_GATHER */
void gather_config_resetstat(struct worker *worker, struct call *call, struct reply_memory *part,
                             uint64_t *number);
void gather_client_list(struct worker *worker, struct call *call, struct reply_memory *part,
                        uint64_t *number);
void gather_pollux_slots(struct worker *worker, struct call *call, struct reply_memory *part,
                         uint64_t *number);
void gather_pollux_gaps(struct worker *worker, struct call *call, struct reply_memory *part,
                        uint64_t *number);
void gather_pollux_rebalance(struct worker *worker, struct call *call, struct reply_memory *part,
                             uint64_t *number);
void gather_client_kill(struct worker *worker, struct call *call, struct reply_memory *part,
                        uint64_t *number);
void gather_slowlog_get(struct worker *worker, struct call *call, struct reply_memory *part,
                        uint64_t *number);
void gather_slowlog_len(struct worker *worker, struct call *call, struct reply_memory *part,
                        uint64_t *number);
void gather_slowlog_reset(struct worker *worker, struct call *call, struct reply_memory *part,
                          uint64_t *number);
void gather_latency_history(struct worker *worker, struct call *call, struct reply_memory *part,
                            uint64_t *number);
void gather_latency_latest(struct worker *worker, struct call *call, struct reply_memory *part,
                           uint64_t *number);
void gather_latency_reset(struct worker *worker, struct call *call, struct reply_memory *part,
                          uint64_t *number);
void gather_latency_graph(struct worker *worker, struct call *call, struct reply_memory *part,
                          uint64_t *number);
void gather_latency_doctor(struct worker *worker, struct call *call, struct reply_memory *part,
                           uint64_t *number);
void gather_memory_stats(struct worker *worker, struct call *call, struct reply_memory *part,
                         uint64_t *number);

/* CMD_CONTROL */
void control_memory_purge(struct call *call, struct gather_part *part);
void control_memory_malloc_stats(struct call *call, struct gather_part *part);
void control_config_set(struct call *call, struct gather_part *part);
void control_config_rewrite(struct call *call, struct gather_part *part);
void control_debug(struct call *call, struct gather_part *part);
bool waits_config_set(const struct call *call);
bool waits_config_rewrite(const struct call *call);
bool waits_debug(const struct call *call);

/* CMD_WALK and CMD_AT_SLOT */
int32_t slot_of_keys(struct call *call);
int32_t slot_of_scan(struct call *call);
int32_t slot_of_randomkey(struct call *call);
int32_t slot_of_dbsize(struct call *call);
int32_t slot_of_argument(struct call *call); /* the third argument; replies what is wrong with it */

/* KEY_VARIABLE_FLAGS */
uint16_t key_flags_set(const struct text *argv, uint32_t argc);
uint16_t key_flags_bitfield(const struct text *argv, uint32_t argc);

#endif

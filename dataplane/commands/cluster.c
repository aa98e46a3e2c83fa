/* CLUSTER as a port for one core shows it: every worker is a node of its own, at its own port. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/client/client.h"
#include "dataplane/commands/functions.h"
#include "dataplane/commands/server.h"
#include "dataplane/slots/crc16.h"

enum { HOST_MAX = STREAM_ADDRESS_TEXT_MAX, NODE_ID_CHARS = 40 };

static bool enabled(struct call *call)
{
    if (call->session->cluster || call->node->config->per_core_endpoints != 0)
        return true;
    reply_error(call->reply, "This instance has cluster support disabled");
    return false;
}

/* The address that this client reached us at, without the port. */
static void host_of(const struct client *client, char host[HOST_MAX])
{
    char text[STREAM_ADDRESS_TEXT_MAX];
    const char *local = "127.0.0.1:0";

    if (client != NULL && client->conn != NULL) { /* else nobody will read it */
        client_local(client, text);
        local = text;
    }
    const char *end = strrchr(local, ':');
    size_t len = end == NULL ? strlen(local) : (size_t)(end - local);

    if (client != NULL && (client->flags & CLIENT_UNIX) != 0) {
        strcpy(host, "127.0.0.1");
        return;
    }
    if (len >= 2 && local[0] == '[') {
        local++;
        len -= 2;
    }
    memcpy(host, local, len);
    host[len] = '\0';
}

/* The process's id with the worker's number in its last four digits. */
static void worker_node_id(const struct node *node, uint32_t worker, char id[NODE_ID_CHARS + 1])
{
    memcpy(id, node->node_id, NODE_ID_CHARS - 4);
    snprintf(id + NODE_ID_CHARS - 4, 5, "%04x", worker & 0xffff);
}

void client_moved_text(struct client *client, uint16_t slot, uint32_t owner, char *text,
                       size_t text_bytes)
{
    char host[HOST_MAX];

    host_of(client, host);
    snprintf(text, text_bytes, "-MOVED %u %s:%u", slot, host,
             node_core_port(client->worker->node, owner));
}

/* Contiguous slots of one owner, from `first` on. */
static uint32_t range_end(const struct node *node, uint32_t first)
{
    uint32_t owner = node_owner(node, first), slot = first;

    while (slot + 1 < SLOTS && node_owner(node, slot + 1) == owner)
        slot++;
    return slot;
}

void cmd_cluster_slots(struct call *call)
{
    struct node *node = call->node;
    struct reply_memory memory;
    char host[HOST_MAX], id[NODE_ID_CHARS + 1];
    uint64_t ranges = 0;

    if (!enabled(call))
        return;
    host_of(call->client, host);
    reply_memory_init(&memory, call->reply->resp, NULL, 0);
    for (uint32_t slot = 0; slot < SLOTS; ranges++) {
        uint32_t owner = node_owner(node, slot), end = range_end(node, slot);
        worker_node_id(node, owner, id);
        reply_array(&memory.reply, 3);
        reply_integer(&memory.reply, slot);
        reply_integer(&memory.reply, end);
        reply_array(&memory.reply, 4);
        reply_bulk_cstr(&memory.reply, host);
        reply_integer(&memory.reply, node_core_port(node, owner));
        reply_bulk_cstr(&memory.reply, id);
        reply_map(&memory.reply, 0);
        slot = end + 1;
    }
    reply_array(call->reply, ranges);
    reply_memory_finish(&memory);
    reply_memory_move(&memory, call->reply);
    reply_memory_fini(&memory);
}

static void reply_shard(struct call *call, struct reply *reply, uint32_t worker, const char *host)
{
    struct node *node = call->node;
    struct reply_memory memory;
    char id[NODE_ID_CHARS + 1];
    uint64_t bounds = 0;

    reply_memory_init(&memory, reply->resp, NULL, 0);
    for (uint32_t slot = 0; slot < SLOTS;) {
        uint32_t owner = node_owner(node, slot), end = range_end(node, slot);
        if (owner == worker) {
            reply_integer(&memory.reply, slot);
            reply_integer(&memory.reply, end);
            bounds += 2;
        }
        slot = end + 1;
    }
    worker_node_id(node, worker, id);
    reply_map(reply, 2);
    reply_bulk_cstr(reply, "slots");
    reply_array(reply, bounds);
    reply_memory_finish(&memory);
    reply_memory_move(&memory, reply);
    reply_memory_fini(&memory);
    reply_bulk_cstr(reply, "nodes");
    reply_array(reply, 1);
    reply_map(reply, 7);
    reply_bulk_cstr(reply, "id");
    reply_bulk_cstr(reply, id);
    reply_bulk_cstr(reply, "port");
    reply_integer(reply, node_core_port(node, worker));
    reply_bulk_cstr(reply, "ip");
    reply_bulk_cstr(reply, host);
    reply_bulk_cstr(reply, "endpoint");
    reply_bulk_cstr(reply, host);
    reply_bulk_cstr(reply, "role");
    reply_bulk_cstr(reply, "master");
    reply_bulk_cstr(reply, "replication-offset");
    reply_integer(reply, 0);
    reply_bulk_cstr(reply, "health");
    reply_bulk_cstr(reply, "online");
}

void cmd_cluster_shards(struct call *call)
{
    char host[HOST_MAX];

    if (!enabled(call))
        return;
    host_of(call->client, host);
    reply_array(call->reply, call->node->worker_count);
    for (uint32_t worker = 0; worker < call->node->worker_count; worker++)
        reply_shard(call, call->reply, worker, host);
}

/* Appends to a text that grows in a reply's memory. */
static void append(struct reply_memory *memory, const char *text)
{
    reply_bytes(&memory->reply, text, strlen(text));
}

static void reply_text(struct call *call, struct reply_memory *memory)
{
    struct gather_part part;

    reply_memory_finish(memory);
    part.memory = *memory;
    call->parts = &part;
    call->part_count = 1;
    reply_gathered_text(call);
    reply_memory_fini(&part.memory);
    call->parts = NULL;
    call->part_count = 0;
}

void cmd_cluster_nodes(struct call *call)
{
    struct node *node = call->node;
    struct reply_memory memory;
    char host[HOST_MAX], id[NODE_ID_CHARS + 1], line[HOST_MAX + 160];

    if (!enabled(call))
        return;
    host_of(call->client, host);
    reply_memory_init(&memory, call->reply->resp, NULL, 0);
    for (uint32_t worker = 0; worker < node->worker_count; worker++) {
        bool myself = call->session->cluster ? call->session->port_worker == worker : worker == 0;
        uint32_t port = node_core_port(node, worker);
        worker_node_id(node, worker, id);
        snprintf(line, sizeof line, "%s %s:%u@%u %smaster - 0 0 %llu connected", id, host, port,
                 port + 10000 <= 65535 ? port + 10000 : 0, myself ? "myself," : "",
                 (unsigned long long)atomic_load_explicit(&node->config_epoch,
                                                          memory_order_relaxed));
        append(&memory, line);
        for (uint32_t slot = 0; slot < SLOTS;) {
            uint32_t end = range_end(node, slot);
            if (node_owner(node, slot) == worker) {
                if (end == slot)
                    snprintf(line, sizeof line, " %u", slot);
                else
                    snprintf(line, sizeof line, " %u-%u", slot, end);
                append(&memory, line);
            }
            slot = end + 1;
        }
        append(&memory, "\n");
    }
    reply_text(call, &memory);
}

void cmd_cluster_info(struct call *call)
{
    struct node *node = call->node;
    unsigned long long epoch =
        (unsigned long long)atomic_load_explicit(&node->config_epoch, memory_order_relaxed);
    char text[1024];

    if (!enabled(call))
        return;
    int len = snprintf(text, sizeof text,
                       "cluster_state:ok\r\ncluster_slots_assigned:%d\r\ncluster_slots_ok:%"
                       "d\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n"
                       "cluster_known_nodes:%u\r\ncluster_size:%u\r\ncluster_current_epoch:%"
                       "llu\r\ncluster_my_epoch:%llu\r\n"
                       "cluster_stats_messages_sent:0\r\ncluster_stats_messages_received:"
                       "0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n",
                       SLOTS, SLOTS, node->worker_count, node->worker_count, epoch, epoch);
    reply_verbatim(call->reply, "txt", (struct text){text, (size_t)len});
}

void cmd_cluster_myid(struct call *call)
{
    char id[NODE_ID_CHARS + 1];

    if (!enabled(call))
        return;
    worker_node_id(call->node, call->session->cluster ? call->session->port_worker : 0, id);
    reply_bulk_cstr(call->reply, id);
}

void cmd_cluster_keyslot(struct call *call)
{
    if (enabled(call))
        reply_integer(call->reply, crc16_slot(call->argv[2].data, call->argv[2].len_bytes));
}

/* ---- one slot: these run at its owner ---- */

static bool read_slot(struct call *call, int64_t *slot)
{
    if (!enabled(call) || !call_integer(call, 2, slot))
        return false;
    if (*slot >= 0 && *slot < SLOTS)
        return true;
    reply_error(call->reply, "Invalid slot");
    return false;
}

void cmd_cluster_countkeysinslot(struct call *call)
{
    struct keyspace *keyspace = keyspace_get(call->node, call->session->db);
    int64_t slot;

    if (read_slot(call, &slot))
        reply_integer(call->reply, keyspace == NULL ? 0 : table_used(&keyspace->slots[slot].table));
}

struct listing {
    struct reply *reply;
    uint64_t left, found;
};

static void list_key(void *argument, struct entry *entry)
{
    struct listing *listing = argument;

    if (listing->left == 0)
        return;
    listing->left--;
    listing->found++;
    reply_bulk(listing->reply, entry_key(entry));
}

void cmd_cluster_getkeysinslot(struct call *call)
{
    struct keyspace *keyspace = keyspace_get(call->node, call->session->db);
    struct reply_memory memory;
    int64_t slot, count;

    if (!enabled(call) || !call_integer(call, 2, &slot) || !call_integer(call, 3, &count))
        return;
    if (slot < 0 || slot >= SLOTS || count < 0) {
        reply_error(call->reply, "Invalid slot or number of keys");
        return;
    }
    reply_memory_init(&memory, call->reply->resp, NULL, 0);
    struct listing listing = {.reply = &memory.reply, .left = (uint64_t)count};
    uint64_t position = 0;
    while (keyspace != NULL && listing.left > 0) {
        position = table_scan(&keyspace->slots[slot].table, call->node->hash_seed, position,
                              list_key, &listing);
        if (position == 0)
            break;
    }
    reply_array(call->reply, listing.found);
    reply_memory_finish(&memory);
    reply_memory_move(&memory, call->reply);
    reply_memory_fini(&memory);
}

void cmd_cluster_help(struct call *call)
{
    static const char *const lines[] = {
        "COUNTKEYSINSLOT <slot>",
        "    How many keys a slot has.",
        "GETKEYSINSLOT <slot> <count>",
        "    Names of keys in a slot.",
        "INFO",
        "    State of the cluster.",
        "KEYSLOT <key>",
        "    The slot of a key.",
        "MYID",
        "    The id of the node behind this port.",
        "NODES",
        "    All nodes, a line each.",
        "SHARDS",
        "    Slots and nodes of each shard.",
        "SLOTS",
        "    Ranges of slots and where they are served.",
    };

    if (enabled(call))
        call_help(call, lines, sizeof lines / sizeof lines[0]);
}

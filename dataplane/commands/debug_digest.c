/* DEBUG DIGEST and DIGEST-VALUE: what redis-server computes for the same data.
 * A key's digest is a chain of SHA-1 over its name, type and value; those of all keys are combined
 * by exclusive or, so that their order does not matter. */
#include <arpa/inet.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/commands/debug.h"
#include "dataplane/worker.h"

enum { DIGEST_BYTES = 20 };

struct digest {
    uint8_t bytes[DIGEST_BYTES];
};

struct hasher {
    EVP_MD *sha1;
    EVP_MD_CTX *context;
    bool failed;
};

static void hasher_init(struct hasher *hasher)
{
    hasher->sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    hasher->context = EVP_MD_CTX_new();
    hasher->failed = hasher->sha1 == NULL || hasher->context == NULL;
}

static void hasher_fini(struct hasher *hasher)
{
    EVP_MD_CTX_free(hasher->context);
    EVP_MD_free(hasher->sha1);
}

static struct digest hash(struct hasher *hasher, const void *data, size_t len_bytes)
{
    struct digest digest = {{0}};

    hasher->failed = hasher->failed ||
                     EVP_DigestInit_ex(hasher->context, hasher->sha1, NULL) != 1 ||
                     EVP_DigestUpdate(hasher->context, data, len_bytes) != 1 ||
                     EVP_DigestFinal_ex(hasher->context, digest.bytes, NULL) != 1;
    return digest;
}

/* Adds data in any order ... */
static void add(struct hasher *hasher, struct digest *to, const void *data, size_t len_bytes)
{
    struct digest other = hash(hasher, data, len_bytes);

    for (int i = 0; i < DIGEST_BYTES; i++)
        to->bytes[i] ^= other.bytes[i];
}

/* ... and in this order. */
static void chain(struct hasher *hasher, struct digest *to, const void *data, size_t len_bytes)
{
    add(hasher, to, data, len_bytes);
    *to = hash(hasher, to->bytes, sizeof to->bytes);
}

static void add_value(struct hasher *hasher, struct digest *to, const struct entry *entry)
{
    uint32_t type = htonl((uint32_t)entry_type(entry));
    char number[24];
    struct text value = entry_string(entry, number);

    chain(hasher, to, &type, sizeof type);
    chain(hasher, to, value.data, value.len_bytes);
    if (entry_expiry_unix_ms(entry) != -1)
        add(hasher, to, "!!expire!!", 10);
}

static void reply_digest(struct call *call, const struct digest *digest)
{
    char text[2 * DIGEST_BYTES + 1];

    for (int i = 0; i < DIGEST_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", digest->bytes[i]);
    reply_status(call->reply, text);
}

static void reply_no_hash(struct call *call)
{
    reply_error(call->reply, "SHA-1 is not available");
}

/* ---- all data ---- */

struct walk {
    struct hasher *hasher;
    struct digest *sum;
};

static void visit(void *arg, struct entry *entry)
{
    struct walk *walk = arg;
    struct text name = entry_key(entry);
    struct digest digest = {{0}};

    chain(walk->hasher, &digest, name.data, name.len_bytes);
    add_value(walk->hasher, &digest, entry);
    add(walk->hasher, walk->sum, digest.bytes, sizeof digest.bytes);
}

static void add_database(struct node *node, uint32_t db, struct walk *walk)
{
    const struct keyspace *keyspace = keyspace_get(node, db);
    uint32_t number = htonl(db);

    if (keyspace == NULL || keyspace_keys(keyspace) == 0)
        return;
    chain(walk->hasher, walk->sum, &number, sizeof number);
    for (int32_t slot = keyspace_next_slot(keyspace, 0); slot >= 0;
         slot = keyspace_next_slot(keyspace, slot + 1)) {
        uint64_t cursor = 0;
        do
            cursor = table_scan(&keyspace->slots[slot].table, node->hash_seed, cursor, visit, walk);
        while (cursor != 0);
    }
}

void debug_digest(struct call *call)
{
    struct hasher hasher;
    struct digest sum = {{0}};
    struct walk walk = {&hasher, &sum};

    hasher_init(&hasher);
    for (uint32_t db = 0; db < call->node->database_count; db++)
        add_database(call->node, db, &walk);
    if (hasher.failed)
        reply_no_hash(call);
    else
        reply_digest(call, &sum);
    hasher_fini(&hasher);
}

void debug_digest_value(struct call *call)
{
    struct hasher hasher;

    hasher_init(&hasher);
    hash(&hasher, "", 0); /* finds out whether it works before anything is replied */
    if (hasher.failed) {
        reply_no_hash(call);
    } else {
        reply_array(call->reply, call->argc - 2);
        for (uint32_t i = 2; i < call->argc; i++) {
            const struct entry *entry = debug_entry(call, call->argv[i]);
            struct digest digest = {{0}};
            if (entry != NULL)
                add_value(&hasher, &digest, entry);
            reply_digest(call, &digest);
        }
    }
    hasher_fini(&hasher);
}

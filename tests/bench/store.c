/* bench_store: what the store costs by itself, without commands or a network.
 * Usage:     bench_store [keys] [slots] [ttl]
 * keys   how many, default 1000000; 20 bytes each, with values of 20 bytes slots  tables they
 * are spread over by CRC16, default 16384; 1 makes one large table ttl    seconds to live; every
 * key then has a ticket in the wheel Prints nanoseconds of CPU time for each operation, the
 * longest single insert, and bytes of RSS a key beyond those of key and value. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/slots/crc16.h"
#include "dataplane/store/table.h"
#include "dataplane/store/wheel.h"

enum {
    KEY_BYTES = 20,
    VALUE_BYTES = 20,
    SLOT_BYTES = 64,
    LOOKUPS = 4000000,
    BATCH = 16,
};

struct bench {
    struct memory *memory;
    struct wheel *wheel;
    char *slots; /* tables, SLOT_BYTES apart as in slot objects */
    uint32_t slot_count, keys;
    uint64_t seed;
    int64_t now_unix_ms;
};

static uint64_t cpu_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static size_t rss_bytes(void)
{
    size_t total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file == NULL || fscanf(file, "%zu %zu", &total, &resident) != 2)
        resident = 0;
    if (file != NULL)
        fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* Keys in an order that is not theirs: a permutation of 0 to 2^32 - 1. */
static struct text key_text(uint32_t i, char key[KEY_BYTES + 1])
{
    uint32_t number = i * 2654435761u;

    for (int at = KEY_BYTES - 1; at >= 4; at--, number /= 10)
        key[at] = (char)('0' + number % 10);
    memcpy(key, "key:", 4);
    return (struct text){.data = key, .len_bytes = KEY_BYTES};
}

static struct table *table_of(struct bench *bench, struct text key)
{
    uint16_t slot = crc16_slot(key.data, key.len_bytes);

    return (struct table *)(bench->slots + (size_t)(slot % bench->slot_count) * SLOT_BYTES);
}

static void insert(struct bench *bench, uint32_t i, int64_t deadline)
{
    char buffer[KEY_BYTES + 1];
    struct text key = key_text(i, buffer);
    struct text value = {.data = "value:of:twenty:byte", .len_bytes = VALUE_BYTES};
    uint64_t hash = table_hash(bench->seed, key);
    struct entry *entry = entry_create_string(bench->memory, key, value, deadline);

    if (entry == NULL ||
        table_insert(table_of(bench, key), bench->memory, bench->seed, hash, entry) < 0)
        exit(1);
    if (deadline != -1) {
        uint16_t slot = crc16_slot(key.data, key.len_bytes) % bench->slot_count;

        entry->flags |= ENTRY_TICKET;
        if (wheel_file(bench->wheel, wheel_ticket_of(0, slot, hash), deadline) < 0)
            exit(1);
    }
}

static void fill(struct bench *bench, int64_t ttl_ms)
{
    uint64_t start = cpu_ns(), before = start, longest = 0, over = 0;
    size_t rss = rss_bytes();

    for (uint32_t i = 0; i < bench->keys; i++) {
        insert(bench, i, ttl_ms > 0 ? bench->now_unix_ms + ttl_ms + i % 60000 : -1);

        uint64_t now = cpu_ns(), took = now - before;

        longest = took > longest ? took : longest;
        over += took > 50000;
        before = now;
    }
    printf("insert  %7.1f ns (two clock readings included), longest %" PRIu64 " us, %" PRIu64
           " over 50 us\n",
           (double)(cpu_ns() - start) / bench->keys, longest / 1000, over);

    double counted = (double)memory_used_bytes(bench->memory) / bench->keys;
    double resident = (double)(rss_bytes() - rss) / bench->keys;

    printf("memory  %7.2f bytes a key counted, %.2f in RSS: overhead %.2f\n", counted, resident,
           resident - KEY_BYTES - VALUE_BYTES);
    if (bench->wheel != NULL)
        printf("tickets %7.2f bytes a key\n", (double)wheel_bytes(bench->wheel) / bench->keys);
}

static void find_one_by_one(struct bench *bench)
{
    char buffer[KEY_BYTES + 1];
    uint64_t random = 1, found = 0, start = cpu_ns();

    for (uint32_t n = 0; n < LOOKUPS; n++) {
        random = random * 6364136223846793005u + 1442695040888963407u;

        struct text key = key_text((uint32_t)((random >> 32) * bench->keys >> 32), buffer);

        found += table_find(table_of(bench, key), table_hash(bench->seed, key), key) != NULL;
    }
    printf("find    %7.1f ns one by one\n", (double)(cpu_ns() - start) / LOOKUPS);
    if (found != LOOKUPS)
        exit(1);
}

/* As the worker does it: hash a burst, prefetch, then look. */
static void find_in_bursts(struct bench *bench)
{
    char buffer[BATCH][KEY_BYTES + 1];
    struct text keys[BATCH];
    struct table *tables[BATCH];
    uint64_t hashes[BATCH], random = 2, found = 0, start = cpu_ns();

    for (uint32_t n = 0; n < LOOKUPS; n += BATCH) {
        for (int i = 0; i < BATCH; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            keys[i] = key_text((uint32_t)((random >> 32) * bench->keys >> 32), buffer[i]);
            tables[i] = table_of(bench, keys[i]);
            hashes[i] = table_hash(bench->seed, keys[i]);
            __builtin_prefetch(tables[i]);
        }
        for (int i = 0; i < BATCH; i++)
            table_prefetch_bucket(tables[i], hashes[i]);
        for (int i = 0; i < BATCH; i++)
            table_prefetch_entry(tables[i], hashes[i]);
        for (int i = 0; i < BATCH; i++)
            found += table_find(tables[i], hashes[i], keys[i]) != NULL;
    }
    printf("find    %7.1f ns in bursts of %d\n", (double)(cpu_ns() - start) / LOOKUPS, BATCH);
    if (found != LOOKUPS)
        exit(1);
}

static void delete_all(struct bench *bench)
{
    char buffer[KEY_BYTES + 1];
    uint64_t start = cpu_ns(), before = start, longest = 0;

    for (uint32_t i = 0; i < bench->keys; i++) {
        struct text key = key_text(i, buffer);
        struct table *table = table_of(bench, key);
        struct table_place place;

        if (!table_locate(table, table_hash(bench->seed, key), key, &place))
            exit(1);
        entry_free(bench->memory, table_remove(table, bench->memory, bench->seed, place));
        memory_collect(bench->memory);

        uint64_t now = cpu_ns(), took = now - before;

        longest = took > longest ? took : longest;
        before = now;
    }
    printf("delete  %7.1f ns (clock and collection included), longest %" PRIu64 " us\n",
           (double)(cpu_ns() - start) / bench->keys, longest / 1000);
}

static uint32_t argument(int argc, char **argv, int index, uint32_t otherwise)
{
    return index < argc ? (uint32_t)strtoul(argv[index], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    struct bench bench = {
        .keys = argument(argc, argv, 1, 1000000),
        .slot_count = argument(argc, argv, 2, CRC16_SLOTS),
        .seed = 0x5eed,
        .now_unix_ms = 1700000000000,
    };
    int64_t ttl_ms = (int64_t)argument(argc, argv, 3, 0) * 1000;

    if (bench.keys == 0 || bench.slot_count == 0 || bench.slot_count > CRC16_SLOTS) {
        fprintf(stderr, "usage: bench_store [keys] [slots, at most %d] [ttl in seconds]\n",
                CRC16_SLOTS);
        return 1;
    }
    bench.memory = memory_create();
    bench.slots = mmap(NULL, (size_t)bench.slot_count * SLOT_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bench.memory == NULL || bench.slots == MAP_FAILED)
        return 1;
    if (ttl_ms > 0 && (bench.wheel = wheel_create(bench.memory, bench.now_unix_ms)) == NULL)
        return 1;
    printf("%u keys in %u slots\n", bench.keys, bench.slot_count);
    fill(&bench, ttl_ms);
    find_one_by_one(&bench);
    find_in_bursts(&bench);
    delete_all(&bench);
    wheel_destroy(bench.wheel);
    printf("left    %7" PRId64 " bytes counted, %.1f MB in RSS\n", memory_used_bytes(bench.memory),
           (double)rss_bytes() / 1e6);
    return 0;
}

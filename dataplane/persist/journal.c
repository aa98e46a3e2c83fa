#include "dataplane/persist/journal.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct chunk {
    struct chunk *_Atomic next; /* set once, after the last record of this one is published */
    _Atomic size_t published_bytes;
    size_t capacity_bytes;
    _Alignas(8) char data[];
};

struct header {
    uint64_t stamp;
    uint64_t len_bytes; /* of what follows, without padding */
    uint32_t db, db_after;
    uint64_t skip_bytes; /* of it at the front that do not count: the MULTI of a single command */
};

static const char multi_text[] = "*1\r\n$5\r\nMULTI\r\n";
static const char exec_text[] = "*1\r\n$4\r\nEXEC\r\n";

enum {
    MULTI_BYTES = sizeof multi_text - 1,
    EXEC_BYTES = sizeof exec_text - 1,
    LENGTH_TEXT_MAX = 24 /* '*' or '$', digits, CR LF */
};

struct journal {
    /* the worker's */
    struct chunk *tail;
    size_t start; /* of the record under construction, its header included */
    size_t end;   /* of what is written of it */
    uint64_t block_commands;
    bool open, lost; /* a record is under construction; and could not be kept */
    uint64_t written_bytes;
    _Atomic uint64_t window;
    _Atomic bool failed;
    /* both */
    struct chunk *_Atomic spare; /* one empty chunk that the reader gives back */
    /* the reader's */
    _Alignas(64) struct chunk *head;
    size_t at;
    _Atomic uint64_t read_bytes;
};

/* ---- chunks ---- */

static struct chunk *chunk_create(struct journal *journal, size_t capacity_bytes)
{
    struct chunk *chunk = NULL;

    if (capacity_bytes == JOURNAL_CHUNK_BYTES)
        chunk = atomic_exchange_explicit(&journal->spare, NULL, memory_order_acquire);
    if (chunk == NULL)
        chunk = malloc(sizeof *chunk + capacity_bytes);
    if (chunk == NULL)
        return NULL;
    atomic_init(&chunk->next, NULL);
    atomic_init(&chunk->published_bytes, 0);
    chunk->capacity_bytes = capacity_bytes;
    return chunk;
}

struct journal *journal_create(void)
{
    struct journal *journal = aligned_alloc(64, (sizeof *journal + 63) & ~(size_t)63);

    if (journal == NULL)
        return NULL;
    memset(journal, 0, sizeof *journal);
    /* The first chunk is small: most servers never have a reader. */
    journal->head = journal->tail = chunk_create(journal, 0);
    if (journal->head == NULL) {
        free(journal);
        return NULL;
    }
    return journal;
}

void journal_destroy(struct journal *journal)
{
    if (journal == NULL)
        return;
    free(atomic_load_explicit(&journal->spare, memory_order_acquire));
    for (struct chunk *chunk = journal->head, *next; chunk != NULL; chunk = next) {
        next = atomic_load_explicit(&chunk->next, memory_order_acquire);
        free(chunk);
    }
    free(journal);
}

/* ---- the worker's side ---- */

void journal_window_open(struct journal *journal)
{
    uint64_t window = atomic_load_explicit(&journal->window, memory_order_relaxed);

    assert((window & 1) == 0);
    /* A locked instruction: the store is visible before the clock is read for the stamp
     * (clock_ticks waits for it). */
    atomic_exchange_explicit(&journal->window, window + 1, memory_order_seq_cst);
}

void journal_window_close(struct journal *journal)
{
    uint64_t window = atomic_load_explicit(&journal->window, memory_order_relaxed);

    assert((window & 1) == 1);
    atomic_store_explicit(&journal->window, window + 1, memory_order_release);
}

/* Records start at multiples of 8, so that their headers can be read in place. */
static size_t padded(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

static void lose(struct journal *journal)
{
    journal->lost = true;
    atomic_store_explicit(&journal->failed, true, memory_order_relaxed);
}

/* Contiguous room behind what the record has so far. A record never crosses a chunk: what there is
 * of it moves to a new one. */
static char *room(struct journal *journal, size_t need_bytes)
{
    struct chunk *tail = journal->tail;

    if (journal->lost)
        return NULL;
    if (tail->capacity_bytes - journal->end >= need_bytes)
        return tail->data + journal->end;
    size_t have = journal->end - journal->start;
    size_t capacity = JOURNAL_CHUNK_BYTES;
    if (have + need_bytes > capacity / 4) /* a giant: with room to grow, so that it moves seldom */
        capacity = padded((have + need_bytes) * 2);
    struct chunk *chunk = chunk_create(journal, capacity);
    if (chunk == NULL) {
        lose(journal);
        return NULL;
    }
    memcpy(chunk->data, tail->data + journal->start, have);
    atomic_store_explicit(&tail->next, chunk, memory_order_release);
    journal->tail = chunk;
    journal->start = 0;
    journal->end = have;
    return chunk->data + have;
}

static void put(struct journal *journal, const char *data, size_t len_bytes)
{
    char *to = room(journal, len_bytes);

    if (to == NULL)
        return;
    memcpy(to, data, len_bytes);
    journal->end += len_bytes;
}

static void begin(struct journal *journal, uint64_t stamp, uint32_t db)
{
    struct header header = {.stamp = stamp, .db = db, .db_after = db};

    assert(!journal->open);
    journal->open = true;
    journal->lost = atomic_load_explicit(&journal->failed, memory_order_relaxed);
    put(journal, (const char *)&header, sizeof header);
}

static char *put_length(char *to, char kind, uint64_t length)
{
    char digits[20];
    unsigned count = 0;

    *to++ = kind;
    do {
        digits[count++] = (char)('0' + length % 10);
        length /= 10;
    } while (length > 0);
    while (count > 0)
        *to++ = digits[--count];
    *to++ = '\r';
    *to++ = '\n';
    return to;
}

void journal_command(struct journal *journal, uint32_t argc, const struct text *argv)
{
    size_t need = LENGTH_TEXT_MAX;

    assert(journal->open);
    for (uint32_t i = 0; i < argc; i++)
        need += LENGTH_TEXT_MAX + argv[i].len_bytes + 2;
    char *start = room(journal, need);
    if (start == NULL)
        return;
    char *to = put_length(start, '*', argc);
    for (uint32_t i = 0; i < argc; i++) {
        to = put_length(to, '$', argv[i].len_bytes);
        memcpy(to, argv[i].data, argv[i].len_bytes);
        to += argv[i].len_bytes;
        *to++ = '\r';
        *to++ = '\n';
    }
    journal->end += (size_t)(to - start);
}

static struct header *header_of(struct journal *journal)
{
    return (struct header *)(journal->tail->data + journal->start);
}

static void publish(struct journal *journal)
{
    assert(journal->open);
    journal->open = false;
    if (journal->lost) {
        journal->end = journal->start;
        return;
    }
    header_of(journal)->len_bytes = journal->end - journal->start - sizeof(struct header);
    size_t end = padded(journal->end); /* the capacity is a multiple of 8 as well */
    journal->written_bytes += end - journal->start;
    journal->start = journal->end = end;
    atomic_store_explicit(&journal->tail->published_bytes, end, memory_order_release);
}

void journal_begin(struct journal *journal, uint64_t stamp, uint32_t db)
{
    begin(journal, stamp, db);
}

void journal_end(struct journal *journal)
{
    publish(journal);
}

void journal_block_begin(struct journal *journal, uint32_t db)
{
    begin(journal, 0, db);
    put(journal, multi_text, MULTI_BYTES);
    journal->block_commands = 0;
}

static void put_select(struct journal *journal, uint32_t db)
{
    char number[LENGTH_TEXT_MAX];
    char *end = put_length(number, '$', db); /* for its digits */
    const struct text argv[2] = {{"SELECT", 6}, {number + 1, (size_t)(end - number) - 3}};

    journal_command(journal, 2, argv);
}

void journal_block_command(struct journal *journal, uint32_t db, uint32_t argc,
                           const struct text *argv)
{
    if (!journal->lost && header_of(journal)->db_after != db) {
        put_select(journal, db);
        if (!journal->lost)
            header_of(journal)->db_after = db;
    }
    journal_command(journal, argc, argv);
    journal->block_commands++;
}

void journal_block_end(struct journal *journal, uint64_t stamp)
{
    assert(journal->block_commands > 0);
    if (journal->block_commands > 1)
        put(journal, exec_text, EXEC_BYTES);
    if (!journal->lost) {
        header_of(journal)->stamp = stamp;
        header_of(journal)->skip_bytes = journal->block_commands > 1 ? 0 : MULTI_BYTES;
    }
    publish(journal);
}

bool journal_over_limit(const struct journal *journal)
{
    return journal->written_bytes -
               atomic_load_explicit(&journal->read_bytes, memory_order_relaxed) >
           JOURNAL_MAX_BYTES;
}

bool journal_failed(const struct journal *journal)
{
    return atomic_load_explicit(&journal->failed, memory_order_relaxed);
}

/* ---- the reader's side ---- */

/* Keeps loads that follow from running ahead of a counter that was read before. */
static void wait_for_clock(void)
{
#if defined(__x86_64__)
    __builtin_ia32_lfence();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

bool journal_settled(const struct journal *journal)
{
    wait_for_clock();
    return (atomic_load_explicit(&journal->window, memory_order_acquire) & 1) == 0;
}

static void give_back(struct journal *journal, struct chunk *chunk)
{
    if (chunk->capacity_bytes == JOURNAL_CHUNK_BYTES)
        chunk = atomic_exchange_explicit(&journal->spare, chunk, memory_order_acq_rel);
    free(chunk);
}

bool journal_peek(struct journal *journal, struct journal_record *record)
{
    struct chunk *head = journal->head;

    while (journal->at == atomic_load_explicit(&head->published_bytes, memory_order_acquire)) {
        struct chunk *next = atomic_load_explicit(&head->next, memory_order_acquire);
        if (next == NULL)
            return false;
        /* More may have been published before the next chunk was linked. */
        if (journal->at != atomic_load_explicit(&head->published_bytes, memory_order_acquire))
            break;
        give_back(journal, head);
        journal->head = head = next;
        journal->at = 0;
    }
    const struct header *header = (const struct header *)(head->data + journal->at);
    *record = (struct journal_record){.stamp = header->stamp,
                                      .db = header->db,
                                      .db_after = header->db_after,
                                      .bytes = {(const char *)(header + 1) + header->skip_bytes,
                                                header->len_bytes - header->skip_bytes}};
    return true;
}

void journal_next(struct journal *journal)
{
    const struct header *header = (const struct header *)(journal->head->data + journal->at);
    size_t bytes = padded(sizeof *header + header->len_bytes);

    journal->at += bytes;
    atomic_store_explicit(&journal->read_bytes,
                          atomic_load_explicit(&journal->read_bytes, memory_order_relaxed) + bytes,
                          memory_order_relaxed);
}

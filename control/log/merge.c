#include "control/log/merge.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/persist/journal.h"
#include "dataplane/worker.h"

struct source {
    struct journal *journal;
    struct journal_record record; /* its oldest unread */
    bool has_record;
    uint64_t settled; /* everything with a stamp up to here is readable */
};

struct merge {
    struct node *node;
    int fd, error;
    uint64_t since; /* records up to here are from before */
    uint32_t db;
    bool db_known;
    uint32_t source_count;
    struct source sources[WORKERS_MAX];
    size_t used;
    uint64_t written;
    char buffer[MERGE_BUFFER_BYTES];
};

/* ---- file ---- */

static void write_all(struct merge *merge, const char *data, size_t len_bytes)
{
    while (len_bytes > 0 && merge->error == 0) {
        ssize_t wrote = write(merge->fd, data, len_bytes);
        if (wrote < 0 && errno != EINTR)
            merge->error = -errno;
        if (wrote > 0) {
            data += wrote;
            len_bytes -= (size_t)wrote;
        }
    }
}

static void flush(struct merge *merge)
{
    write_all(merge, merge->buffer, merge->used);
    merge->used = 0;
}

static void put(struct merge *merge, const char *data, size_t len_bytes)
{
    merge->written += len_bytes;
    if (len_bytes > sizeof merge->buffer - merge->used)
        flush(merge);
    if (len_bytes > sizeof merge->buffer) {
        write_all(merge, data, len_bytes);
        return;
    }
    memcpy(merge->buffer + merge->used, data, len_bytes);
    merge->used += len_bytes;
}

static void put_select(struct merge *merge, uint32_t db)
{
    char digits[16], text[64];
    int digit_count = snprintf(digits, sizeof digits, "%u", db);
    int len =
        snprintf(text, sizeof text, "*2\r\n$6\r\nSELECT\r\n$%d\r\n%s\r\n", digit_count, digits);

    put(merge, text, (size_t)len);
}

static void put_record(struct merge *merge, const struct journal_record *record)
{
    if (!merge->db_known || merge->db != record->db)
        put_select(merge, record->db);
    merge->db_known = true;
    merge->db = record->db_after;
    put(merge, record->bytes.data, record->bytes.len_bytes);
}

/* ---- order ---- */

/* Reads the clock and finds out up to where all journals are complete. */
static uint64_t horizon(struct merge *merge)
{
    uint64_t now = clock_stamp_ns(&merge->node->tsc), least = UINT64_MAX;

    for (uint32_t i = 0; i < merge->source_count; i++) {
        struct source *source = &merge->sources[i];
        if (journal_settled(source->journal))
            source->settled = now;
        if (source->settled < least)
            least = source->settled;
    }
    return least;
}

/* The source whose oldest record is the next of all; NULL: nothing is readable. */
static struct source *oldest(struct merge *merge)
{
    struct source *best = NULL;

    for (uint32_t i = 0; i < merge->source_count; i++) {
        struct source *source = &merge->sources[i];
        if (!source->has_record)
            source->has_record = journal_peek(source->journal, &source->record);
        if (source->has_record && (best == NULL || source->record.stamp < best->record.stamp))
            best = source;
    }
    return best;
}

/* Writes records with stamps up to `limit`. The limit was taken before the rings are looked into
 * here, so an empty ring has nothing below it. */
static void merge_up_to(struct merge *merge, uint64_t limit, uint64_t records_max)
{
    struct source *source;

    for (uint64_t i = 0; i < records_max; i++) {
        source = oldest(merge);
        if (source == NULL || source->record.stamp > limit)
            return;
        if (source->record.stamp > merge->since)
            put_record(merge, &source->record);
        journal_next(source->journal);
        source->has_record = false;
    }
}

static int lost_records(const struct merge *merge)
{
    for (uint32_t i = 0; i < merge->source_count; i++)
        if (journal_failed(merge->sources[i].journal))
            return -ENOMEM;
    return 0;
}

/* ---- life ---- */

struct merge *merge_create(struct node *node, const char *path, int *error)
{
    struct merge *merge = calloc(1, sizeof *merge);

    *error = -ENOMEM;
    if (merge == NULL)
        return NULL;
    merge->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (merge->fd < 0) {
        *error = -errno;
        free(merge);
        return NULL;
    }
    merge->node = node;
    merge->source_count = node->worker_count;
    for (uint32_t i = 0; i < node->worker_count; i++)
        merge->sources[i].journal = node->workers[i]->journal;
    merge->since = clock_stamp_ns(&node->tsc);
    atomic_fetch_add_explicit(&node->journal_readers, 1, memory_order_seq_cst);
    *error = 0;
    return merge;
}

int64_t merge_step(struct merge *merge)
{
    uint64_t before = merge->written;

    merge_up_to(merge, horizon(merge), MERGE_STEP_RECORDS);
    flush(merge);
    if (merge->error == 0)
        merge->error = lost_records(merge);
    return merge->error != 0 ? merge->error : (int64_t)(merge->written - before);
}

static bool all_settled(const struct merge *merge)
{
    for (uint32_t i = 0; i < merge->source_count; i++)
        if (!journal_settled(merge->sources[i].journal))
            return false;
    return true;
}

int merge_finish(struct merge *merge)
{
    atomic_fetch_sub_explicit(&merge->node->journal_readers, 1, memory_order_seq_cst);
    /* A window is open for less than a microsecond, unless its worker lost its core just then. */
    while (!all_settled(merge))
        sched_yield();
    /* Stamps may run ahead of the clock; what is in the rings now is all there is, whatever its
     * stamp. */
    merge_up_to(merge, UINT64_MAX, UINT64_MAX);
    flush(merge);
    int error = merge->error != 0 ? merge->error : lost_records(merge);
    if (close(merge->fd) < 0 && error == 0)
        error = -errno;
    free(merge);
    return error;
}

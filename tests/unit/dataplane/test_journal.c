#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/persist/journal.h"

#define TEXT(literal) ((struct text){literal, sizeof(literal) - 1})

static struct journal *journal;

static void start(void)
{
    journal = journal_create();
    cr_assert_not_null(journal);
}

static void stop(void)
{
    journal_destroy(journal);
}

TestSuite(journal, .init = start, .fini = stop);

static void write_one(uint64_t stamp, uint32_t db, uint32_t argc, const struct text *argv)
{
    journal_window_open(journal);
    journal_begin(journal, stamp, db);
    journal_command(journal, argc, argv);
    journal_end(journal);
    journal_window_close(journal);
}

static struct journal_record next(void)
{
    struct journal_record record;
    cr_assert(journal_peek(journal, &record));
    return record;
}

static bool bytes_are(struct text bytes, const char *expected)
{
    return bytes.len_bytes == strlen(expected) &&
           memcmp(bytes.data, expected, bytes.len_bytes) == 0;
}

Test(journal, a_record_is_its_command_in_resp)
{
    struct journal_record record;
    cr_assert_not(journal_peek(journal, &record));
    write_one(7, 3, 3, (struct text[]){TEXT("SET"), TEXT("a\r\nb"), TEXT("")});
    record = next();
    cr_assert_eq(record.stamp, 7);
    cr_assert_eq(record.db, 3);
    cr_assert_eq(record.db_after, 3);
    cr_assert(bytes_are(record.bytes, "*3\r\n$3\r\nSET\r\n$4\r\na\r\nb\r\n$0\r\n\r\n"));
    journal_next(journal);
    cr_assert_not(journal_peek(journal, &record));
}

Test(journal, records_come_out_as_they_went_in_across_chunks)
{
    char value[3000];
    struct journal_record record;
    uint64_t read = 0;
    for (uint64_t stamp = 1; stamp <= 2000; stamp++) {
        memset(value, (int)('a' + stamp % 26), sizeof value);
        write_one(stamp, (uint32_t)(stamp % 16), 2,
                  (struct text[]){TEXT("PING"), {value, stamp % sizeof value}});
        /* The reader stays some records behind. */
        while (stamp - read > 300 || stamp == 2000) {
            if (!journal_peek(journal, &record))
                break;
            read++;
            cr_assert_eq(record.stamp, read);
            cr_assert_eq(record.db, read % 16);
            size_t length = read % sizeof value;
            cr_assert_geq(record.bytes.len_bytes, length);
            const char *tail = record.bytes.data + record.bytes.len_bytes - 2 - length;
            for (size_t i = 0; i < length; i++)
                cr_assert_eq(tail[i], (char)('a' + read % 26));
            journal_next(journal);
        }
    }
    cr_assert_eq(read, 2000);
}

Test(journal, a_giant_has_a_chunk_of_its_own)
{
    size_t size = 20 * 1000 * 1000;
    char *giant = malloc(size);
    struct journal_record record;
    memset(giant, 'g', size);
    write_one(1, 0, 1, (struct text[]){TEXT("PING")});
    write_one(2, 0, 2, (struct text[]){TEXT("PING"), {giant, size}});
    write_one(3, 0, 1, (struct text[]){TEXT("PING")});
    cr_assert_eq(next().stamp, 1);
    journal_next(journal);
    record = next();
    cr_assert_eq(record.stamp, 2);
    cr_assert_gt(record.bytes.len_bytes, size);
    cr_assert_eq(memcmp(record.bytes.data + record.bytes.len_bytes - 2 - size, giant, size), 0);
    journal_next(journal);
    cr_assert_eq(next().stamp, 3);
    free(giant);
}

Test(journal, a_block_is_invisible_until_it_ends)
{
    struct journal_record record;
    journal_block_begin(journal, 1);
    journal_block_command(journal, 1, 2, (struct text[]){TEXT("DEL"), TEXT("a")});
    cr_assert_not(journal_peek(journal, &record));
    cr_assert(journal_settled(journal)); /* nobody waits for a long transaction */
    journal_block_command(journal, 12, 2, (struct text[]){TEXT("DEL"), TEXT("b")});
    journal_block_command(journal, 12, 2, (struct text[]){TEXT("DEL"), TEXT("c")});
    journal_window_open(journal);
    cr_assert_not(journal_settled(journal));
    journal_block_end(journal, 99);
    journal_window_close(journal);
    cr_assert(journal_settled(journal));
    record = next();
    cr_assert_eq(record.stamp, 99);
    cr_assert_eq(record.db, 1);
    cr_assert_eq(record.db_after, 12);
    cr_assert(bytes_are(record.bytes,
                        "*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"
                        "*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n*2\r\n$3\r\nDEL\r\n$1\r\nb\r\n"
                        "*2\r\n$3\r\nDEL\r\n$1\r\nc\r\n*1\r\n$4\r\nEXEC\r\n"));
}

Test(journal, a_block_of_one_command_is_that_command)
{
    struct journal_record record;
    journal_block_begin(journal, 5);
    journal_block_command(journal, 5, 2, (struct text[]){TEXT("DEL"), TEXT("a")});
    journal_window_open(journal);
    journal_block_end(journal, 1);
    journal_window_close(journal);
    record = next();
    cr_assert(bytes_are(record.bytes, "*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"));
    journal_next(journal);
    write_one(2, 0, 1, (struct text[]){TEXT("PING")});
    cr_assert_eq(next().stamp, 2);
}

Test(journal, a_block_grows_across_chunks)
{
    char value[10000];
    struct journal_record record;
    memset(value, 'v', sizeof value);
    journal_block_begin(journal, 0);
    for (int i = 0; i < 500; i++)
        journal_block_command(journal, 0, 2, (struct text[]){TEXT("PING"), {value, sizeof value}});
    journal_window_open(journal);
    journal_block_end(journal, 1);
    journal_window_close(journal);
    record = next();
    cr_assert_gt(record.bytes.len_bytes, 500 * sizeof value);
    cr_assert_eq(memcmp(record.bytes.data, "*1\r\n$5\r\nMULTI", 13), 0);
    cr_assert_eq(memcmp(record.bytes.data + record.bytes.len_bytes - 14, "*1\r\n$4\r\nEXEC\r\n",
                        14),
                 0);
}

Test(journal, says_when_the_reader_is_too_far_behind)
{
    char *value = calloc(1, 1024 * 1024);
    struct journal_record record;
    for (uint64_t i = 0; i < JOURNAL_MAX_BYTES / (1024 * 1024); i++) {
        cr_assert_not(journal_over_limit(journal));
        write_one(i + 1, 0, 2, (struct text[]){TEXT("PING"), {value, 1024 * 1024}});
    }
    cr_assert(journal_over_limit(journal));
    cr_assert_not(journal_failed(journal));
    cr_assert(journal_peek(journal, &record));
    journal_next(journal);
    cr_assert_not(journal_over_limit(journal));
    free(value);
}

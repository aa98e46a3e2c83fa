#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/log/merge.h"
#include "dataplane/persist/journal.h"
#include "dataplane/worker.h"

#define TEXT(literal) ((struct text){literal, sizeof(literal) - 1})
enum { WORKERS = 3 };

static struct node *node;
static struct merge *merge;
static char path[] = "/tmp/pollux-merge-XXXXXX";

static void start(void)
{
    int error;
    node = aligned_alloc(64, (sizeof *node + 63) & ~(size_t)63);
    memset(node, 0, sizeof *node);
    clock_tsc_init(&node->tsc);
    node->worker_count = WORKERS;
    for (int i = 0; i < WORKERS; i++) {
        node->workers[i] = aligned_alloc(64, (sizeof(struct worker) + 63) & ~(size_t)63);
        memset(node->workers[i], 0, sizeof(struct worker));
        node->workers[i]->journal = journal_create();
    }
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    merge = merge_create(node, path, &error);
    cr_assert_not_null(merge);
    cr_assert_eq(node->journal_readers, 1);
}

static void stop(void)
{
    for (int i = 0; i < WORKERS; i++) {
        journal_destroy(node->workers[i]->journal);
        free(node->workers[i]);
    }
    free(node);
    unlink(path);
}

TestSuite(merge, .init = start, .fini = stop);

static void write_at(int worker, uint64_t stamp, uint32_t db, const char *what)
{
    struct journal *journal = node->workers[worker]->journal;
    struct text argv = {what, strlen(what)};
    journal_window_open(journal);
    journal_begin(journal, stamp, db);
    journal_command(journal, 1, &argv);
    journal_end(journal);
    journal_window_close(journal);
}

/* The commands in the file, names only, a space between them; SELECT with its number. */
static const char *recorded(void)
{
    static char text[4096];
    char line[128];
    FILE *in = fopen(path, "r");
    text[0] = '\0';
    while (fgets(line, sizeof line, in) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] != '*' && line[0] != '$') {
            strcat(text, text[0] == '\0' ? "" : " ");
            strcat(text, line);
        }
    }
    fclose(in);
    return text;
}

Test(merge, orders_by_stamp_then_worker)
{
    uint64_t base = clock_stamp_ns(&node->tsc);
    write_at(0, base + 3, 0, "third");
    write_at(1, base + 1, 0, "first");
    write_at(2, base + 2, 0, "second-b");
    write_at(1, base + 2, 0, "second-a");
    while (clock_stamp_ns(&node->tsc) < base + 3)
        continue;
    cr_assert_gt(merge_step(merge), 0);
    cr_assert_str_eq(recorded(), "SELECT 0 first second-a second-b third");
    cr_assert_eq(merge_step(merge), 0);
    cr_assert_eq(merge_finish(merge), 0);
    cr_assert_eq(node->journal_readers, 0);
}

Test(merge, waits_for_a_worker_in_its_window)
{
    write_at(0, clock_stamp_ns(&node->tsc), 0, "before");
    cr_assert_gt(merge_step(merge), 0);
    journal_window_open(node->workers[2]->journal);
    uint64_t stamp = clock_stamp_ns(&node->tsc);
    write_at(0, clock_stamp_ns(&node->tsc), 0, "later");
    cr_assert_eq(merge_step(merge), 0); /* something earlier may still come */
    journal_begin(node->workers[2]->journal, stamp, 0);
    journal_command(node->workers[2]->journal, 1, (struct text[]){TEXT("earlier")});
    journal_end(node->workers[2]->journal);
    journal_window_close(node->workers[2]->journal);
    cr_assert_gt(merge_step(merge), 0);
    cr_assert_str_eq(recorded(), "SELECT 0 before earlier later");
    merge_finish(merge);
}

Test(merge, selects_where_the_database_changes)
{
    uint64_t stamp = clock_stamp_ns(&node->tsc);
    struct journal *journal = node->workers[0]->journal;
    write_at(0, stamp, 2, "a");
    write_at(0, stamp + 1, 2, "b");
    journal_block_begin(journal, 2);
    journal_block_command(journal, 2, 1, (struct text[]){TEXT("c")});
    journal_block_command(journal, 0, 1, (struct text[]){TEXT("d")});
    journal_window_open(journal);
    journal_block_end(journal, stamp + 2);
    journal_window_close(journal);
    write_at(1, stamp + 3, 0, "e");
    write_at(1, stamp + 4, 2, "f");
    cr_assert_eq(merge_finish(merge), 0);
    cr_assert_str_eq(recorded(), "SELECT 2 a b MULTI c SELECT 0 d EXEC e SELECT 2 f");
}

Test(merge, what_was_written_before_is_left_out)
{
    int error;
    merge_finish(merge);
    write_at(0, clock_stamp_ns(&node->tsc), 0, "unread");
    merge = merge_create(node, path, &error);
    cr_assert_not_null(merge);
    write_at(0, clock_stamp_ns(&node->tsc), 0, "read");
    merge_finish(merge);
    cr_assert_str_eq(recorded(), "SELECT 0 read");
}

Test(merge, says_what_is_wrong_with_the_file)
{
    int error = 0;
    cr_assert_null(merge_create(node, "/tmp/no-such-directory/file", &error));
    cr_assert_eq(error, -ENOENT);
    cr_assert_eq(node->journal_readers, 1);
    merge_finish(merge);
    merge = merge_create(node, "/dev/full", &error);
    cr_assert_not_null(merge);
    write_at(0, clock_stamp_ns(&node->tsc), 0, "lost");
    cr_assert_eq(merge_step(merge), -ENOSPC);
    write_at(0, clock_stamp_ns(&node->tsc), 0, "lost");
    cr_assert_eq(merge_finish(merge), -ENOSPC);
    cr_assert_not(journal_over_limit(node->workers[0]->journal));
}

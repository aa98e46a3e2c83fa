#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/gather.h"
#include "dataplane/commands/report.h"

static char *replied(struct report *report, uint8_t resp, char *room, size_t room_bytes)
{
    struct reply_memory memory;

    memset(room, 0, room_bytes);
    reply_memory_init(&memory, resp, room, room_bytes - 1);
    report_reply(report, &memory.reply);
    reply_memory_finish(&memory);
    cr_assert_null(memory.first, "the reply fits");
    return room;
}

Test(report, becomes_one_text)
{
    struct report report = {0};
    char room[256];

    report_text(&report, "a ");
    report_format(&report, "%d %s", 17, "b");
    report_bytes(&report, "\0", 1);
    cr_assert(memcmp(replied(&report, 3, room, sizeof room), "=11\r\ntxt:a 17 b\0\r\n", 18) == 0);
    cr_assert_str_eq(replied(&report, 2, room, sizeof room), "$0\r\n\r\n", "it is empty again");
}

Test(report, lines_of_any_length)
{
    struct report report = {0};
    static char room[100000], line[5000];

    memset(line, 'x', sizeof line - 1);
    for (int i = 0; i < 10; i++)
        report_format(&report, "%s|", line);
    cr_assert_eq(report.len_bytes, 50000);
    replied(&report, 2, room, sizeof room);
    cr_assert_eq(strncmp(room, "$50000\r\nxxx", 11), 0);
    cr_assert_eq(room[8 + 49999], '|');
}

Test(report, sizes_for_people)
{
    char text[REPORT_SIZE_MAX];
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        {0, "0B"},
        {1023, "1023B"},
        {1024, "1.00K"},
        {1536, "1.50K"},
        {1 << 20, "1.00M"},
        {25276510208, "23.54G"},
        {1ull << 40, "1.00T"},
        {1ull << 60, "1024.00P"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        report_size(rows[i].bytes, text);
        cr_assert_str_eq(text, rows[i].text);
    }
}

Test(gather, records_are_read_in_order)
{
    struct gather_part part = {0};
    uint64_t value, count = 5000;

    reply_memory_init(&part.memory, 2, NULL, 0);
    for (value = 0; value < count; value++)
        reply_bytes(&part.memory.reply, (const char *)&value, sizeof value);
    reply_memory_finish(&part.memory);
    for (uint64_t i = 0; i < count; i++) {
        cr_assert(gather_read(&part, &value, sizeof value));
        cr_assert_eq(value, i);
    }
    cr_assert_not(gather_read(&part, &value, 1));
    reply_memory_fini(&part.memory);
}

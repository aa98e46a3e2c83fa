#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "drivers/cpu.h"
#include "drivers/system.h"

static void expect_list(const char *text, const char *expected)
{
    static struct cpu_list list;
    char written[256] = "";

    cr_assert_eq(cpu_list_parse(text, &list), 0, "%s", text);
    for (unsigned i = 0; i < list.count; i++)
        snprintf(written + strlen(written), sizeof written - strlen(written), "%u ", list.cpus[i]);
    cr_assert_str_eq(written, expected);
}

Test(cpu, reads_lists)
{
    expect_list("0", "0 ");
    expect_list("3,1,2", "3 1 2 ");
    expect_list("0-3", "0 1 2 3 ");
    expect_list("0-7:2,9", "0 2 4 6 9 ");
    expect_list(" 1 , 2-3 ", "1 2 3 ");
    expect_list("1,0-2,1", "1 0 2 ");
    expect_list("1023", "1023 ");
}

Test(cpu, refuses_other_texts)
{
    static struct cpu_list list;
    static const char *const wrong[] = {"",    ",",   "1,",    ",1",   "a",   "1-",  "-1",
                                        "3-1", "1 2", "0-7:0", "0-7:", "1:2", "0x1", "1;2"};

    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_eq(cpu_list_parse(wrong[i], &list), -EINVAL, "%s", wrong[i]);
    cr_assert_eq(cpu_list_parse("1024", &list), -ERANGE);
    cr_assert_eq(cpu_list_parse("0-99999999999999999999", &list), -ERANGE);
    cr_assert_eq(cpu_list_parse("0-1023,0-1023,0-1023:3", &list), 0);
    cr_assert_eq(list.count, CPU_LIST_MAX);
}

Test(cpu, pins_to_an_allowed_cpu)
{
    static struct cpu_list before;
    static struct cpu_list after;

    cr_assert_eq(cpu_allowed(&before), 0);
    cr_assert_geq(before.count, 1);
    unsigned cpu = before.cpus[before.count - 1];
    cr_assert_eq(cpu_pin(cpu), 0);
    cr_assert_eq(cpu_current(), cpu);
    cr_assert_eq(cpu_allowed(&after), 0);
    cr_assert_eq(after.count, 1);
    cr_assert_eq(after.cpus[0], cpu);
    cr_assert_lt(cpu_node(cpu), 64);
    cpu_prefer_node(cpu_node(cpu));
    cr_assert_eq(cpu_pin(CPU_LIST_MAX - 1), -EINVAL);
    cr_assert_eq(cpu_pin(1u << 20), -EINVAL);
}

Test(system, tells_figures)
{
    char text[SYSTEM_TEXT_MAX];
    struct system_usage usage;

    system_kernel(text);
    cr_assert_eq(strncmp(text, "Linux ", 6), 0);
    cr_assert_gt(system_memory_bytes(), 64 << 20);
    cr_assert_gt(system_rss_bytes(), 1 << 18);
    cr_assert_lt(system_rss_bytes(), system_memory_bytes());
    system_usage(&usage);
    cr_assert_geq(usage.process.user_us + usage.process.system_us,
                  usage.thread.user_us + usage.thread.system_us);
}

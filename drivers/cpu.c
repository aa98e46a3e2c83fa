#include "drivers/cpu.h"

#include <ctype.h>
#include <errno.h>
#include <numa.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>

int cpu_allowed(struct cpu_list *list)
{
    size_t size = CPU_ALLOC_SIZE(CPU_LIST_MAX);
    cpu_set_t *set = CPU_ALLOC(CPU_LIST_MAX);

    list->count = 0;
    if (set == NULL)
        return -ENOMEM;
    CPU_ZERO_S(size, set);
    if (sched_getaffinity(0, size, set) != 0) {
        int error = errno == EINVAL ? E2BIG : errno; /* EINVAL: the machine has more CPUs */
        CPU_FREE(set);
        return -error;
    }
    for (unsigned cpu = 0; cpu < CPU_LIST_MAX; cpu++) {
        if (CPU_ISSET_S(cpu, size, set))
            list->cpus[list->count++] = (uint16_t)cpu;
    }
    CPU_FREE(set);
    return 0;
}

/* Reads a number below CPU_LIST_MAX and advances; -EINVAL for no digit, -ERANGE for too large. */
static int cpu_number(const char **text)
{
    int number = 0;

    if (!isdigit((unsigned char)**text))
        return -EINVAL;
    for (; isdigit((unsigned char)**text); (*text)++) {
        number = number * 10 + (**text - '0');
        if (number >= CPU_LIST_MAX)
            return -ERANGE;
    }
    return number;
}

static void cpu_list_add(struct cpu_list *list, int cpu)
{
    for (unsigned i = 0; i < list->count; i++) {
        if (list->cpus[i] == cpu)
            return;
    }
    list->cpus[list->count++] = (uint16_t)cpu; /* distinct and below the maximum: there is room */
}

/* Reads one element: N, N-M or N-M:STEP. */
static int cpu_range(const char **text, struct cpu_list *list)
{
    int first = cpu_number(text);
    int last = first;
    int step = 1;

    if (first < 0)
        return first;
    if (**text == '-') {
        (*text)++;
        last = cpu_number(text);
        if (last < 0)
            return last;
        if (**text == ':') {
            (*text)++;
            step = cpu_number(text);
        }
    }
    if (step <= 0)
        return step < 0 ? step : -EINVAL;
    if (last < first)
        return -EINVAL;
    for (int cpu = first; cpu <= last; cpu += step)
        cpu_list_add(list, cpu);
    return 0;
}

int cpu_list_parse(const char *text, struct cpu_list *list)
{
    list->count = 0;
    for (;;) {
        while (*text == ' ')
            text++;
        int result = cpu_range(&text, list);
        if (result < 0)
            return result;
        while (*text == ' ')
            text++;
        if (*text == '\0')
            return 0;
        if (*text++ != ',')
            return -EINVAL;
    }
}

int cpu_pin(unsigned cpu)
{
    cpu_set_t set;

    if (cpu >= CPU_SETSIZE)
        return -EINVAL;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0 ? 0 : -errno;
}

unsigned cpu_node(unsigned cpu)
{
    if (numa_available() < 0)
        return 0;
    int node = numa_node_of_cpu((int)cpu);
    return node < 0 ? 0 : (unsigned)node;
}

void cpu_prefer_node(unsigned node)
{
    if (numa_available() >= 0 && numa_max_node() > 0)
        numa_set_preferred((int)node);
}

void cpu_place_memory(void *memory, size_t bytes, unsigned node)
{
    if (numa_available() >= 0 && numa_max_node() > 0)
        numa_tonode_memory(memory, bytes, (int)node);
}

unsigned cpu_current(void)
{
    int cpu = sched_getcpu();

    return cpu < 0 ? 0 : (unsigned)cpu;
}

/* CPUs and NUMA nodes: which ones we may use, and where a thread runs.
 * Purpose:   the affinity mask, cpu lists as operators write them, pinning, node of a CPU.
 * Ownership: plain values; nothing is kept.
 * Threading: any; cpu_pin and cpu_prefer_node act on the calling thread.
 * Errors:    negative errno. */
#ifndef DRIVERS_CPU_H
#define DRIVERS_CPU_H

#include <stddef.h>
#include <stdint.h>

enum { CPU_LIST_MAX = 1024 }; /* CPUs of one list, and the highest number is one less */

struct cpu_list {
    unsigned count;
    uint16_t cpus[CPU_LIST_MAX]; /* ascending for cpu_allowed, as written for cpu_list_parse */
};

/* The CPUs of this process's affinity mask. Returns 0, or -errno (-E2BIG beyond CPU_LIST_MAX). */
int cpu_allowed(struct cpu_list *list);

/* Reads "0,2-5,8-14:2" (the form of worker-cpus and Redis's *_cpulist; ":2" is every second one),
 * repeats dropped. Returns 0, -EINVAL for another text, -ERANGE for a CPU past CPU_LIST_MAX - 1. */
int cpu_list_parse(const char *text, struct cpu_list *list);

/* Binds the calling thread to one CPU. -EINVAL when it does not exist or is not ours. */
int cpu_pin(unsigned cpu);

/* The NUMA node of a CPU; 0 on machines without NUMA. */
unsigned cpu_node(unsigned cpu);

/* Has the calling thread's memory come from `node` while it has some; no-op without NUMA. */
void cpu_prefer_node(unsigned node);

/* Has memory that is mapped, and not yet touched, come from `node`; no-op without NUMA. */
void cpu_place_memory(void *memory, size_t bytes, unsigned node);

/* The CPU that the calling thread is on. */
unsigned cpu_current(void);

#endif

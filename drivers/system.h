/* The machine and our process as INFO shows them.
 * Purpose:   kernel name, memory of the machine, memory and CPU time of the process.
 * Ownership: plain values; nothing is kept.
 * Threading: any.
 * Errors:    a figure that the machine does not give is 0. Each call reads the kernel: none of
 *            these belongs on the request path (system_rss_bytes opens a file, some 10 us). */
#ifndef DRIVERS_SYSTEM_H
#define DRIVERS_SYSTEM_H

#include <stddef.h>
#include <stdint.h>

enum { SYSTEM_TEXT_MAX = 256 };

struct system_cpu_time {
    uint64_t user_us;
    uint64_t system_us;
};

struct system_usage {
    struct system_cpu_time process;
    struct system_cpu_time thread;   /* the calling one */
    struct system_cpu_time children; /* waited for */
    uint64_t page_faults;
};

/* "Linux 6.1.0-18-amd64 x86_64". */
void system_kernel(char text[SYSTEM_TEXT_MAX]);
uint64_t system_memory_bytes(void); /* of the machine */
uint64_t system_rss_bytes(void);    /* resident memory of this process */
void system_usage(struct system_usage *usage);
/* Times that the calling thread has given up its core by itself. */
uint64_t system_thread_sleeps(void);

#endif

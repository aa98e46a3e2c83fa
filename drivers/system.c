#include "drivers/system.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

void system_kernel(char text[SYSTEM_TEXT_MAX])
{
    struct utsname name;

    if (uname(&name) != 0) {
        text[0] = '\0';
        return;
    }
    snprintf(text, SYSTEM_TEXT_MAX, "%.80s %.80s %.80s", name.sysname, name.release, name.machine);
}

uint64_t system_memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_bytes = sysconf(_SC_PAGESIZE);

    return pages < 0 || page_bytes < 0 ? 0 : (uint64_t)pages * (uint64_t)page_bytes;
}

/* /proc/self/statm: "size resident shared ..." in pages (proc(5)). */
uint64_t system_rss_bytes(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0)
        return 0;
    text[length] = '\0';
    char *resident;
    strtoull(text, &resident, 10);
    return strtoull(resident, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static struct system_cpu_time cpu_time(const struct rusage *usage)
{
    return (struct system_cpu_time){
        .user_us = (uint64_t)usage->ru_utime.tv_sec * 1000000u + (uint64_t)usage->ru_utime.tv_usec,
        .system_us =
            (uint64_t)usage->ru_stime.tv_sec * 1000000u + (uint64_t)usage->ru_stime.tv_usec,
    };
}

void system_usage(struct system_usage *usage)
{
    struct rusage process = {0};
    struct rusage thread = {0};
    struct rusage children = {0};

    getrusage(RUSAGE_SELF, &process);
    getrusage(RUSAGE_THREAD, &thread);
    getrusage(RUSAGE_CHILDREN, &children);
    usage->process = cpu_time(&process);
    usage->thread = cpu_time(&thread);
    usage->children = cpu_time(&children);
    usage->page_faults = (uint64_t)process.ru_majflt;
}

uint64_t system_thread_sleeps(void)
{
    struct rusage thread = {0};

    getrusage(RUSAGE_THREAD, &thread);
    return (uint64_t)thread.ru_nvcsw;
}

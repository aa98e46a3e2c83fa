#include "tools/pollux-bench/stop.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

int stop_watch(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    int stop_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return stop_fd < 0 ? -errno : stop_fd;
}

bool stop_requested(int stop_fd)
{
    struct signalfd_siginfo info;

    return read(stop_fd, &info, sizeof(info)) == (ssize_t)sizeof(info);
}

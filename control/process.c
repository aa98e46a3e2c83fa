#include "control/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "config/config.h"
#include "drivers/log.h"

static const char default_pidfile[] = "/var/run/pollux.pid"; /* of a daemon that names none */

/* ---- daemon ---- */

static bool is_supervised(const struct config *config)
{
    return config->supervised != CONFIG_SUPERVISED_NO && getenv("NOTIFY_SOCKET") != NULL;
}

/* The child's status: what it reports, or how it ended without doing so. */
static int wait_for_child(pid_t child, int fd)
{
    unsigned char status = 1;
    int how;

    while (read(fd, &status, 1) < 0 && errno == EINTR)
        continue;
    close(fd);
    if (status == 0)
        return 0;
    while (waitpid(child, &how, 0) < 0 && errno == EINTR)
        continue;
    return 1;
}

int process_detach(struct process *process, const struct config *config)
{
    int fds[2];

    *process = (struct process){.report_fd = -1, .systemd = is_supervised(config)};
    process->watched = process->systemd && sd_watchdog_enabled(0, NULL) > 0;
    if (config->daemonize == 0 || process->systemd)
        return -1;
    if (pipe2(fds, O_CLOEXEC) < 0) {
        fprintf(stderr, "Cannot become a daemon: %s\n", strerror(errno));
        return 1;
    }
    pid_t child = fork();
    if (child < 0) {
        fprintf(stderr, "Cannot become a daemon: %s\n", strerror(errno));
        return 1;
    }
    if (child > 0) {
        close(fds[1]);
        return wait_for_child(child, fds[0]);
    }
    close(fds[0]);
    process->report_fd = fds[1];
    setsid();
    return -1;
}

static void leave_terminal(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return;
    for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
        dup2(fd, i);
    if (fd > STDERR_FILENO)
        close(fd);
}

void process_ready(struct process *process)
{
    if (process->systemd)
        sd_notify(0, "READY=1\nSTATUS=Ready to accept connections");
    if (process->report_fd < 0)
        return;
    leave_terminal();
    unsigned char status = 0;
    while (write(process->report_fd, &status, 1) < 0 && errno == EINTR)
        continue; /* a parent that was killed is none of our business */
    close(process->report_fd);
    process->report_fd = -1;
}

void process_well(const struct process *process)
{
    if (process->watched)
        sd_notify(0, "WATCHDOG=1");
}

void process_stopping(struct process *process)
{
    if (process->systemd)
        sd_notify(0, "STOPPING=1\nSTATUS=Sending what is still to be answered");
}

/* ---- pid file ---- */

int process_absolute_path(char path[PROCESS_PATH_MAX], const char *given)
{
    char folder[PATH_MAX] = "";

    if (given[0] != '/' && getcwd(folder, sizeof folder) == NULL)
        return -errno;
    int len = snprintf(path, PROCESS_PATH_MAX, "%s%s%s", folder, given[0] == '/' ? "" : "/", given);
    return len < PROCESS_PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int write_pid(const char *path)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%d\n", (int)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0)
        return -errno;
    ssize_t written = write(fd, text, (size_t)len);
    int result = written == len ? 0 : written < 0 ? -errno : -ENOSPC;
    if (close(fd) < 0 && result == 0)
        result = -errno;
    if (result < 0)
        unlink(path);
    return result;
}

void process_write_pidfile(struct process *process, const struct config *config, struct log *log)
{
    const char *path = config->pidfile;

    if (path[0] == '\0') {
        if (process->report_fd < 0)
            return;
        path = default_pidfile;
    }
    int result = process_absolute_path(process->pidfile, path);
    if (result == 0)
        result = write_pid(process->pidfile);
    if (result == 0)
        return;
    process->pidfile[0] = '\0';
    log_write(log, LOG_LEVEL_WARNING, "Cannot write the pid file %s: %s", path, strerror(-result));
}

void process_remove_pidfile(struct process *process)
{
    if (process->pidfile[0] != '\0')
        unlink(process->pidfile);
    process->pidfile[0] = '\0';
}

/* ---- the machine ---- */

/* The first line of a small file of the kernel; false when it cannot be read. */
static bool read_line(const char *path, char *line, size_t line_bytes)
{
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return false;
    bool read = fgets(line, (int)line_bytes, file) != NULL;
    fclose(file);
    return read;
}

void process_check_machine(const struct config *config, struct log *log)
{
    char line[256];

    if (config->port != 0 && read_line("/proc/sys/net/core/somaxconn", line, sizeof line) &&
        atoll(line) < config->tcp_backlog)
        log_write(log, LOG_LEVEL_WARNING,
                  "tcp-backlog %lld is cut to %lld by the kernel: sysctl net.core.somaxconn=%lld",
                  (long long)config->tcp_backlog, atoll(line), (long long)config->tcp_backlog);
    if (read_line("/proc/sys/vm/overcommit_memory", line, sizeof line) && atoi(line) == 2)
        log_write(log, LOG_LEVEL_WARNING,
                  "The kernel grants no memory beyond its commit limit, so tables may fail to grow "
                  "while memory is free: sysctl vm.overcommit_memory=0");
    if (read_line("/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof line) &&
        strstr(line, "[always]") != NULL)
        log_write(log, LOG_LEVEL_WARNING,
                  "Transparent huge pages are forced on, so freed memory may stay resident: "
                  "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
}

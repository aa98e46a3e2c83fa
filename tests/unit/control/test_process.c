#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/load.h"
#include "control/process.h"
#include "drivers/log.h"

static char folder[] = "/tmp/pollux-process-XXXXXX";
static char path[64];

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/pid", folder);
}

static void remove_folder(void)
{
    unlink(path);
    cr_assert_eq(rmdir(folder), 0);
}

TestSuite(process, .init = make_folder, .fini = remove_folder);

static struct config *config_with(const char *directive, const char *value)
{
    struct config *config = config_create();
    struct load_error error;
    char text[256];
    int len = snprintf(text, sizeof text, "%s %s\n", directive, value);

    cr_assert_eq(load_text(config, "test", text, (size_t)len, &error), 0, "%s", error.reason);
    return config;
}

static struct log *quiet_log(void)
{
    struct log_options options = {.level = LOG_LEVEL_NOTHING};
    struct log *log;

    cr_assert_eq(log_create(&log, &options), 0);
    return log;
}

Test(process, pid_file_is_ours_and_goes_with_us)
{
    struct config *config = config_with("pidfile", path);
    struct log *log = quiet_log();
    struct process process = {.report_fd = -1};
    char text[32] = "";

    process_write_pidfile(&process, config, log);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    cr_assert_not_null(fgets(text, sizeof text, file));
    fclose(file);
    cr_assert_eq(atoi(text), (int)getpid());
    process_remove_pidfile(&process);
    cr_assert_neq(access(path, F_OK), 0);
    log_destroy(log);
    config_destroy(config);
}

Test(process, relative_pid_file_is_found_again_from_another_folder)
{
    struct config *config = config_with("pidfile", "pid");
    struct log *log = quiet_log();
    struct process process = {.report_fd = -1};

    cr_assert_eq(chdir(folder), 0);
    process_write_pidfile(&process, config, log);
    cr_assert_eq(access(path, F_OK), 0);
    cr_assert_eq(chdir("/"), 0);
    process_remove_pidfile(&process);
    cr_assert_neq(access(path, F_OK), 0);
    log_destroy(log);
    config_destroy(config);
}

Test(process, pid_file_that_cannot_be_written_is_not_removed_later)
{
    struct config *config = config_with("pidfile", "/proc/version");
    struct log *log = quiet_log();
    struct process process = {.report_fd = -1};

    process_write_pidfile(&process, config, log);
    cr_assert_str_empty(process.pidfile);
    process_remove_pidfile(&process);
    cr_assert_eq(access("/proc/version", F_OK), 0);
    log_destroy(log);
    config_destroy(config);
}

Test(process, no_pid_file_unless_asked_for_or_a_daemon)
{
    struct config *config = config_create();
    struct log *log = quiet_log();
    struct process process = {.report_fd = -1};

    process_write_pidfile(&process, config, log);
    cr_assert_str_empty(process.pidfile);
    log_destroy(log);
    config_destroy(config);
}

Test(process, supervised_needs_a_supervisor)
{
    struct config *config = config_with("supervised", "auto");
    struct process process;

    unsetenv("NOTIFY_SOCKET");
    cr_assert_eq(process_detach(&process, config), -1);
    cr_assert_not(process.systemd);
    setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
    cr_assert_eq(process_detach(&process, config), -1);
    cr_assert(process.systemd);
    config_destroy(config);
}

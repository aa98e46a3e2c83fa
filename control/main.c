/* Main: the command line, the configuration, the start, the wait, the end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/load.h"
#include "control/control.h"
#include "control/usage.h"

static int load(struct config *config, int argc, char **argv)
{
    struct load_error error;
    char message[LOAD_MESSAGE_MAX];

    if (load_arguments(config, argc, argv, &error) == 0)
        return 0;
    load_error_format(&error, message);
    fputs(message, stderr);
    return -1;
}

static int open_log(struct control *control)
{
    const struct config *config = control->config;
    struct log_options options = {.level = (enum log_level)config->loglevel,
                                  .path = config->logfile,
                                  .syslog = config->syslog_enabled != 0,
                                  .syslog_ident = config->syslog_ident,
                                  .syslog_facility = (int)config->syslog_facility};
    int result = log_create(&control->log, &options);

    if (result < 0)
        fprintf(stderr, "Can't open the log file %s: %s\n", config->logfile, strerror(-result));
    return result;
}

static void log_beginning(const struct control *control)
{
    const struct config *config = control->config;

    log_write(control->log, LOG_LEVEL_NOTICE, "Pollux %s starts, pid %d", POLLUX_VERSION,
              (int)getpid());
    if (config->file[0] != '\0')
        log_write(control->log, LOG_LEVEL_NOTICE, "Configuration loaded from %s", config->file);
    else
        log_write(control->log, LOG_LEVEL_WARNING,
                  "No configuration file: defaults and the command line count. To use a file: "
                  "polluxd /path/to/pollux.conf");
    if (config->supervised == CONFIG_SUPERVISED_SYSTEMD && !control->process.systemd)
        log_write(control->log, LOG_LEVEL_WARNING,
                  "supervised systemd, but NOTIFY_SOCKET is not set: nobody is told of the start.");
}

/* With running workers, up to their end. Returns the exit status. */
static int serve_clients(struct control *control)
{
    struct process *process = &control->process;
    int status = 1;

    process_write_pidfile(process, control->config, control->log);
    process_check_machine(control->config, control->log);
    control_log_start(control);
    if (configure_listen(control) == 0) {
        log_write(control->log, LOG_LEVEL_NOTICE, "Ready to accept connections");
        process_ready(process);
        control_run(control);
        process_stopping(process);
        status = 0;
    }
    control_stop_workers(control);
    return control->hurry ? 1 : status;
}

static int serve(struct control *control)
{
    struct process *process = &control->process;
    int status = 1;

    log_beginning(control);
    if (control_open(control) == 0 && control_start(control) == 0)
        status = serve_clients(control);
    control_end(control);
    process_remove_pidfile(process);
    if (status == 0)
        log_write(control->log, LOG_LEVEL_WARNING, "Pollux has ended, bye bye...");
    return status;
}

int main(int argc, char **argv)
{
    struct control control = {.signal_fd = -1, .event_fd = -1};
    int status = 1;

    if (load_requested(argc, argv) != LOAD_RUN)
        return usage_print(load_requested(argc, argv));
    control.config = config_create();
    if (control.config == NULL) {
        fputs("No memory, or no working directory, to start.\n", stderr);
        return 1;
    }
    if (load(control.config, argc, argv) == 0) {
        status = process_detach(&control.process, control.config);
        if (status < 0)
            status = open_log(&control) == 0 ? serve(&control) : 1;
    }
    log_destroy(control.log);
    config_destroy(control.config);
    return status;
}

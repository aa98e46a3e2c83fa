/* Main: the command line, the configuration, the start, the wait, the end. */
#include <stdio.h>
#include <string.h>

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

static int serve(struct control *control)
{
    int status = 1;

    if (control_open(control) == 0 && control_start(control) == 0) {
        log_write(control->log, LOG_LEVEL_NOTICE, "Ready to accept connections");
        control_run(control);
        control_stop_workers(control);
        status = 0;
    }
    control_free_node(control);
    control_close(control);
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
    if (load(control.config, argc, argv) == 0 && open_log(&control) == 0)
        status = serve(&control);
    log_destroy(control.log);
    config_destroy(control.config);
    return status;
}

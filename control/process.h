/* Process: daemon, pid file, supervisor.
 * Purpose:   what the operating system's side of a server asks for around its start and end.
 * Ownership: the pid file is ours from process_write_pidfile to process_remove_pidfile.
 * Threading: process_detach before any other thread exists; the rest on the main thread.
 * Errors:    logged by the caller where a start depends on them. */
#ifndef CONTROL_PROCESS_H
#define CONTROL_PROCESS_H

#include <stdbool.h>

struct config;
struct log;

enum { PROCESS_PATH_MAX = 4096 };

/* A start that goes on in a child while the parent waits to hear how it ended. */
struct process {
    int report_fd;                  /* to the parent; -1: not a daemon */
    bool systemd;                   /* is told of start and end ... */
    bool watched;                   /* ... and wants to hear that all is well (WatchdogSec) */
    char pidfile[PROCESS_PATH_MAX]; /* absolute; "": none written */
};

/* Finds out who supervises, and becomes a daemon if asked to: the parent returns its exit status
 * once the child has reported, the child -1. `process` is filled in. */
int process_detach(struct process *process, const struct config *config);
/* Tells the parent and the supervisor that the server serves; a daemon lets go of its terminal. */
void process_ready(struct process *process);
/* To be called about once a second while all is well. */
void process_well(const struct process *process);
void process_stopping(struct process *process);

/* `given` as an absolute path: CONFIG SET dir may change the folder. 0 or a negative errno. */
int process_absolute_path(char path[PROCESS_PATH_MAX], const char *given);

/* A pid file that cannot be written is logged, and the server does without. */
void process_write_pidfile(struct process *process, const struct config *config, struct log *log);
void process_remove_pidfile(struct process *process);

/* One line for each setting of the machine that is in our way and says what to do about it. */
void process_check_machine(const struct config *config, struct log *log);

#endif

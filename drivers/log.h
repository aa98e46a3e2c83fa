/* The log: lines to standard output, a file or syslog, in Redis's form:
 * "pid:role DD Mon YYYY HH:MM:SS.mmm # message".
 * Purpose:   leveled lines that any thread can write without waiting for another thread.
 * Ownership: log_create makes it, log_destroy frees it after all threads that log have ended.
 * Threading: log_write and log_write_limited from any thread: no lock, one write(2) for each line.
 *            log_request_reopen also from signal handlers. log_refresh from one thread.
 * Errors:    creation returns a negative errno; a line that cannot be written is counted. */
#ifndef DRIVERS_LOG_H
#define DRIVERS_LOG_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    LOG_MESSAGE_MAX = 1024,  /* bytes of a message; the rest is cut */
    LOG_LIMIT_BURST = 10,    /* lines of one kind let through in each window */
    LOG_LIMIT_WINDOW_S = 10, /* length of that window */
    LOG_IDENT_MAX = 64,      /* syslog-ident */
};

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_VERBOSE,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTHING, /* as a threshold: no line at all */
};

struct log_options {
    enum log_level level;
    const char *path;         /* NULL or "": standard output */
    bool syslog;              /* to syslog as well */
    const char *syslog_ident; /* NULL: "redis", the default of syslog-ident */
    int syslog_facility;      /* 0 for USER, 1 + n for LOCALn */
    const char *syslog_path;  /* the socket; NULL: /dev/log */
};

/* Counts of one kind of line; zero-initialised, lives as long as lines of that kind are written. */
struct log_limit {
    _Atomic uint64_t window;     /* number of the current window */
    _Atomic uint32_t lines;      /* let through in it */
    _Atomic uint32_t suppressed; /* held back since the last one let through */
};

struct log;

/* Copies what `options` points to. -errno of open(2) when the file cannot be opened. */
int log_create(struct log **log, const struct log_options *options);
void log_destroy(struct log *log);

void log_set_level(struct log *log, enum log_level level);
enum log_level log_level(const struct log *log);
bool log_wants(const struct log *log, enum log_level level);
void log_set_role(struct log *log, char role); /* 'M' primary (at start), 'S' replica, 'X', 'C' */
/* Takes the pid again, after daemonize forked. */
void log_set_pid(struct log *log);

__attribute__((format(printf, 3, 4))) void log_write(struct log *log, enum log_level level,
                                                     const char *format, ...);
void log_vwrite(struct log *log, enum log_level level, const char *format, va_list args);
/* The same for lines that a client can provoke: at most LOG_LIMIT_BURST in LOG_LIMIT_WINDOW_S; the
 * next line let through says how many were held back. */
__attribute__((format(printf, 4, 5))) void log_write_limited(struct log *log,
                                                             struct log_limit *limit,
                                                             enum log_level level,
                                                             const char *format, ...);

/* Asks for the file to be opened anew (after logrotate moved it); log_refresh does it. */
void log_request_reopen(struct log *log);
/* Call about once a second: opens the file anew if asked, follows changes of the local time zone
 * (daylight saving), connects to syslog again. Returns 0 or -errno of the reopening; the old file
 * then stays in use. */
int log_refresh(struct log *log);

uint64_t log_lost_lines(const struct log *log);

/* "debug", "verbose", "notice", "warning", "nothing"; -EINVAL for another word. */
int log_level_parse(const char *word, enum log_level *level);

#endif

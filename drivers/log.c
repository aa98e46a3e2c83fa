#include "drivers/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "drivers/clock.h"

enum {
    LOG_LINE_MAX = LOG_MESSAGE_MAX + 128,
};

struct log {
    int fd;        /* the number never changes: reopening replaces what is behind it */
    int syslog_fd; /* -1: not used; else a datagram socket, the number never changes either */
    _Atomic int level;
    _Atomic int pid;
    _Atomic char role;
    _Atomic bool reopen;
    _Atomic bool syslog_broken;
    _Atomic int64_t zone_s; /* local time minus UTC, kept here as localtime_r takes a lock */
    _Atomic uint64_t lost_lines;
    char *path; /* NULL: standard output */
    char *syslog_path;
    char syslog_ident[LOG_IDENT_MAX];
    int syslog_facility;
};

static const char log_months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static const struct {
    const char *word;
    char mark;    /* in the line */
    int severity; /* RFC 5424, section 6.2.1 */
} log_levels[] = {
    [LOG_LEVEL_DEBUG] = {"debug", '.', 7},     [LOG_LEVEL_VERBOSE] = {"verbose", '-', 6},
    [LOG_LEVEL_NOTICE] = {"notice", '*', 5},   [LOG_LEVEL_WARNING] = {"warning", '#', 4},
    [LOG_LEVEL_NOTHING] = {"nothing", '#', 4},
};

int log_level_parse(const char *word, enum log_level *level)
{
    for (unsigned i = 0; i < sizeof log_levels / sizeof *log_levels; i++) {
        if (strcasecmp(word, log_levels[i].word) == 0) {
            *level = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

static void log_read_zone(struct log *log)
{
    time_t now = time(NULL);
    struct tm local;

    tzset();
    if (localtime_r(&now, &local) != NULL)
        atomic_store_explicit(&log->zone_s, local.tm_gmtoff, memory_order_relaxed);
}

static int log_open_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);

    return fd < 0 ? -errno : fd;
}

/* Connecting a datagram socket does not wait; where nobody listens yet, log_refresh tries again. */
static void log_syslog_connect(struct log *log)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(log->syslog_path) >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, log->syslog_path, strlen(log->syslog_path) + 1);
    bool broken = connect(log->syslog_fd, (struct sockaddr *)&address, sizeof address) != 0;
    atomic_store(&log->syslog_broken, broken);
}

static int log_open_syslog(struct log *log, const struct log_options *options)
{
    const char *ident = options->syslog_ident == NULL ? "redis" : options->syslog_ident;

    snprintf(log->syslog_ident, sizeof log->syslog_ident, "%s", ident);
    /* The codes of RFC 5424: 1 is USER, 16 to 23 are LOCAL0 to LOCAL7. */
    log->syslog_facility = options->syslog_facility == 0 ? 1 : 15 + options->syslog_facility;
    log->syslog_path = strdup(options->syslog_path == NULL ? "/dev/log" : options->syslog_path);
    if (log->syslog_path == NULL)
        return -ENOMEM;
    log->syslog_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (log->syslog_fd < 0)
        return -errno;
    log_syslog_connect(log);
    return 0;
}

int log_create(struct log **out, const struct log_options *options)
{
    struct log *log = calloc(1, sizeof *log);
    int result = -ENOMEM;

    *out = NULL;
    if (log == NULL)
        return -ENOMEM;
    log->fd = STDOUT_FILENO;
    log->syslog_fd = -1;
    log->level = (int)options->level;
    log->pid = getpid();
    log->role = 'M';
    log_read_zone(log);
    if (options->path != NULL && options->path[0] != '\0') {
        log->path = strdup(options->path);
        if (log->path == NULL)
            goto fail;
        log->fd = result = log_open_file(log->path);
        if (result < 0)
            goto fail;
    }
    if (options->syslog) {
        result = log_open_syslog(log, options);
        if (result < 0)
            goto fail;
    }
    *out = log;
    return 0;
fail:
    log_destroy(log);
    return result;
}

void log_destroy(struct log *log)
{
    if (log == NULL)
        return;
    if (log->fd > STDERR_FILENO)
        close(log->fd);
    if (log->syslog_fd >= 0)
        close(log->syslog_fd);
    free(log->path);
    free(log->syslog_path);
    free(log);
}

void log_set_level(struct log *log, enum log_level level)
{
    atomic_store_explicit(&log->level, (int)level, memory_order_relaxed);
}

enum log_level log_level(const struct log *log)
{
    return (enum log_level)atomic_load_explicit(&log->level, memory_order_relaxed);
}

bool log_wants(const struct log *log, enum log_level level)
{
    return level >= log_level(log);
}

void log_set_role(struct log *log, char role)
{
    atomic_store_explicit(&log->role, role, memory_order_relaxed);
}

void log_set_pid(struct log *log)
{
    atomic_store_explicit(&log->pid, getpid(), memory_order_relaxed);
}

void log_request_reopen(struct log *log)
{
    atomic_store(&log->reopen, true);
}

uint64_t log_lost_lines(const struct log *log)
{
    return atomic_load_explicit(&log->lost_lines, memory_order_relaxed);
}

/* dup3 swaps the file behind the descriptor at once, so writers need no lock. */
static int log_reopen(struct log *log)
{
    if (log->path == NULL)
        return 0;
    int fd = log_open_file(log->path);
    if (fd < 0)
        return fd;
    int result = dup3(fd, log->fd, O_CLOEXEC) < 0 ? -errno : 0;
    close(fd);
    return result;
}

int log_refresh(struct log *log)
{
    log_read_zone(log);
    if (log->syslog_fd >= 0 && atomic_load(&log->syslog_broken))
        log_syslog_connect(log);
    return atomic_exchange(&log->reopen, false) ? log_reopen(log) : 0;
}

static void log_lose(struct log *log)
{
    atomic_fetch_add_explicit(&log->lost_lines, 1, memory_order_relaxed);
}

/* gmtime_r of the shifted time: it takes no lock, as the offset is known already. */
static void log_stamp(struct log *log, struct tm *local, unsigned *ms)
{
    uint64_t now_ms = clock_unix_ms();
    time_t seconds =
        (time_t)(now_ms / 1000) + (time_t)atomic_load_explicit(&log->zone_s, memory_order_relaxed);

    if (gmtime_r(&seconds, local) == NULL)
        *local = (struct tm){.tm_mday = 1};
    *ms = (unsigned)(now_ms % 1000);
}

static void log_to_file(struct log *log, enum log_level level, const struct tm *local, unsigned ms,
                        const char *message)
{
    char line[LOG_LINE_MAX];
    int length = snprintf(line, sizeof line, "%d:%c %02d %s %d %02d:%02d:%02d.%03u %c %s\n",
                          atomic_load_explicit(&log->pid, memory_order_relaxed),
                          atomic_load_explicit(&log->role, memory_order_relaxed), local->tm_mday,
                          log_months[local->tm_mon], local->tm_year + 1900, local->tm_hour,
                          local->tm_min, local->tm_sec, ms, log_levels[level].mark, message);

    assert(length > 0 && (size_t)length < sizeof line);
    if (write(log->fd, line, (size_t)length) != length)
        log_lose(log);
}

/* A datagram "<facility * 8 + severity>Mon dd hh:mm:ss ident[pid]: text" (RFC 3164, section 4.1).
 * Sent by hand, as syslog(3) takes a lock and waits for a slow receiver. */
static void log_to_syslog(struct log *log, enum log_level level, const struct tm *local,
                          const char *message)
{
    char line[LOG_LINE_MAX];
    int length =
        snprintf(line, sizeof line, "<%d>%s %2d %02d:%02d:%02d %s[%d]: %s",
                 log->syslog_facility * 8 + log_levels[level].severity, log_months[local->tm_mon],
                 local->tm_mday, local->tm_hour, local->tm_min, local->tm_sec, log->syslog_ident,
                 atomic_load_explicit(&log->pid, memory_order_relaxed), message);

    if (length >= (int)sizeof line)
        length = (int)sizeof line - 1;
    if (send(log->syslog_fd, line, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return;
    log_lose(log);
    if (errno != EAGAIN)
        atomic_store(&log->syslog_broken, true);
}

/* What a client sent may be part of a message: it must not start a line of its own. */
static void log_blank_controls(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = ' ';
    }
}

void log_vwrite(struct log *log, enum log_level level, const char *format, va_list args)
{
    char message[LOG_MESSAGE_MAX];
    struct tm local;
    unsigned ms;

    if (!log_wants(log, level))
        return;
    if (vsnprintf(message, sizeof message, format, args) < 0)
        return;
    log_blank_controls(message);
    log_stamp(log, &local, &ms);
    log_to_file(log, level, &local, ms, message);
    if (log->syslog_fd >= 0)
        log_to_syslog(log, level, &local, message);
}

void log_write(struct log *log, enum log_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    log_vwrite(log, level, format, args);
    va_end(args);
}

/* Whether one more line fits; races between threads may let a few more through, never fewer. */
static bool log_limit_take(struct log_limit *limit)
{
    uint64_t window = clock_now_us() / (LOG_LIMIT_WINDOW_S * 1000000u) + 1;
    uint64_t seen = atomic_load(&limit->window);

    if (seen != window && atomic_compare_exchange_strong(&limit->window, &seen, window))
        atomic_store(&limit->lines, 0);
    if (atomic_fetch_add(&limit->lines, 1) < LOG_LIMIT_BURST)
        return true;
    atomic_fetch_sub(&limit->lines, 1);
    atomic_fetch_add(&limit->suppressed, 1);
    return false;
}

void log_write_limited(struct log *log, struct log_limit *limit, enum log_level level,
                       const char *format, ...)
{
    char message[LOG_MESSAGE_MAX];
    va_list args;

    if (!log_wants(log, level) || !log_limit_take(limit))
        return;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    unsigned suppressed = atomic_exchange(&limit->suppressed, 0);
    if (suppressed == 0)
        log_write(log, level, "%s", message);
    else
        log_write(log, level, "%.960s (and %u more such lines not shown)", message, suppressed);
}

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "drivers/log.h"

static char path[64];

static struct log *open_log(enum log_level level)
{
    struct log_options options = {.level = level, .path = path};
    struct log *log;

    snprintf(path, sizeof path, "/tmp/pollux-log-%d.txt", (int)getpid());
    unlink(path);
    cr_assert_eq(log_create(&log, &options), 0);
    return log;
}

/* The whole file; the caller frees it. */
static char *read_file(const char *name)
{
    char *text = calloc(1, 1 << 20);
    int fd = open(name, O_RDONLY);

    cr_assert(fd >= 0, "%s", name);
    cr_assert_geq(read(fd, text, (1 << 20) - 1), 0);
    close(fd);
    return text;
}

static void expect_match(const char *text, const char *pattern)
{
    regex_t regex;

    cr_assert_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    cr_assert_eq(regexec(&regex, text, 0, NULL, 0), 0, "%s does not match %s", text, pattern);
    regfree(&regex);
}

static unsigned count_lines(const char *text)
{
    unsigned lines = 0;

    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

Test(log, writes_the_form_of_redis)
{
    struct log *log = open_log(LOG_LEVEL_DEBUG);
    char pattern[256];

    log_write(log, LOG_LEVEL_WARNING, "number %d", 7);
    log_set_role(log, 'S');
    log_write(log, LOG_LEVEL_NOTICE, "notice");
    log_write(log, LOG_LEVEL_VERBOSE, "verbose");
    log_write(log, LOG_LEVEL_DEBUG, "debug");
    char *text = read_file(path);
    snprintf(pattern, sizeof pattern,
             "^%d:M [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3} "
             "# number 7\n%d:S .* \\* notice\n%d:S .* - verbose\n%d:S .* \\. debug\n$",
             getpid(), getpid(), getpid(), getpid());
    expect_match(text, pattern);
    free(text);
    log_destroy(log);
    unlink(path);
}

Test(log, shows_local_time)
{
    setenv("TZ", "XYZ-05:30", 1);
    struct log *log = open_log(LOG_LEVEL_NOTICE);
    /* Not time(): that clock moves only with the timer's ticks. */
    struct timespec before, after;
    clock_gettime(CLOCK_REALTIME, &before);
    log_write(log, LOG_LEVEL_NOTICE, "x");
    clock_gettime(CLOCK_REALTIME, &after);
    char *text = read_file(path);
    char expected[2][64];

    for (int i = 0; i < 2; i++) {
        struct tm local;
        time_t shifted = i == 0 ? before.tv_sec : after.tv_sec;
        localtime_r(&shifted, &local);
        strftime(expected[i], sizeof expected[i], "%d %b %Y %H:%M:%S", &local);
    }
    cr_assert(strstr(text, expected[0]) != NULL || strstr(text, expected[1]) != NULL, "%s", text);
    free(text);
    log_destroy(log);
    unlink(path);
}

Test(log, drops_what_is_below_the_level)
{
    struct log *log = open_log(LOG_LEVEL_NOTICE);

    log_write(log, LOG_LEVEL_VERBOSE, "no");
    log_set_level(log, LOG_LEVEL_WARNING);
    log_write(log, LOG_LEVEL_NOTICE, "no");
    log_write(log, LOG_LEVEL_WARNING, "yes");
    log_set_level(log, LOG_LEVEL_NOTHING);
    log_write(log, LOG_LEVEL_WARNING, "no");
    cr_assert(!log_wants(log, LOG_LEVEL_WARNING));
    char *text = read_file(path);
    cr_assert_eq(count_lines(text), 1);
    cr_assert_not_null(strstr(text, "# yes\n"));
    free(text);
    log_destroy(log);
    unlink(path);
}

Test(log, keeps_a_message_on_its_line_and_bounded)
{
    struct log *log = open_log(LOG_LEVEL_NOTICE);
    char *message = malloc(100000);

    memset(message, 'a', 100000);
    message[99999] = '\0';
    log_write(log, LOG_LEVEL_NOTICE, "%s", message);
    log_write(log, LOG_LEVEL_NOTICE, "%s", "key\n1:M forged line\r\x1b[31m");
    char *text = read_file(path);
    cr_assert_eq(count_lines(text), 2);
    cr_assert_lt(strlen(text), 2 * LOG_MESSAGE_MAX);
    cr_assert_null(strchr(text, '\r'));
    cr_assert_null(strchr(text, '\x1b'));
    free(text);
    free(message);
    log_destroy(log);
    unlink(path);
}

Test(log, reopens_its_file_when_asked)
{
    struct log *log = open_log(LOG_LEVEL_NOTICE);
    char moved[80];

    snprintf(moved, sizeof moved, "%s.1", path);
    log_write(log, LOG_LEVEL_NOTICE, "before");
    cr_assert_eq(rename(path, moved), 0);
    log_write(log, LOG_LEVEL_NOTICE, "between");
    cr_assert_eq(log_refresh(log), 0);
    log_request_reopen(log);
    cr_assert_eq(log_refresh(log), 0);
    log_write(log, LOG_LEVEL_NOTICE, "after");
    char *old = read_file(moved);
    char *new = read_file(path);
    cr_assert_eq(count_lines(old), 2);
    cr_assert_eq(count_lines(new), 1);
    cr_assert_not_null(strstr(new, "after"));
    free(old);
    free(new);
    log_destroy(log);
    unlink(path);
    unlink(moved);
}

Test(log, says_why_it_cannot_open)
{
    struct log_options options = {.path = "/nowhere/at/all/log"};
    struct log *log;

    cr_assert_eq(log_create(&log, &options), -ENOENT);
    cr_assert_null(log);
}

Test(log, limits_lines_that_clients_provoke)
{
    struct log *log = open_log(LOG_LEVEL_NOTICE);
    struct log_limit limit = {0};

    for (int i = 0; i < 1000; i++)
        log_write_limited(log, &limit, LOG_LEVEL_NOTICE, "provoked %d", i);
    char *text = read_file(path);
    unsigned lines = count_lines(text);
    free(text);
    /* A window may end in between. */
    cr_assert(lines >= LOG_LIMIT_BURST && lines <= 2 * LOG_LIMIT_BURST, "%u", lines);
    atomic_store(&limit.window, 0); /* as if the window had ended */
    log_write_limited(log, &limit, LOG_LEVEL_NOTICE, "last");
    text = read_file(path);
    cr_assert_not_null(strstr(text, "last (and "));
    cr_assert_not_null(strstr(text, " more such lines not shown)\n"));
    free(text);
    log_destroy(log);
    unlink(path);
}

enum { WRITERS = 4, LINES = 2000 };

static void *write_lines(void *arg)
{
    for (int i = 0; i < LINES; i++)
        log_write(arg, LOG_LEVEL_NOTICE, "a line of some length that must stay in one piece %d", i);
    return NULL;
}

Test(log, keeps_lines_of_several_threads_whole)
{
    struct log *log = open_log(LOG_LEVEL_NOTICE);
    pthread_t threads[WRITERS];
    unsigned lines = 0;

    for (int i = 0; i < WRITERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, write_lines, log), 0);
    for (int i = 0; i < 200; i++) {
        log_request_reopen(log);
        cr_assert_eq(log_refresh(log), 0);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    char *text = read_file(path);
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        expect_match(line, "^[0-9]+:M .* \\* a line of some length that must stay in one piece "
                           "[0-9]+$");
        lines++;
    }
    cr_assert_eq(lines, WRITERS * LINES);
    cr_assert_eq(log_lost_lines(log), 0);
    free(text);
    log_destroy(log);
    unlink(path);
}

static int open_syslog(struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    address->sun_family = AF_UNIX;
    snprintf(address->sun_path, sizeof address->sun_path, "/tmp/pollux-syslog-%d", (int)getpid());
    unlink(address->sun_path);
    cr_assert_eq(bind(fd, (struct sockaddr *)address, sizeof *address), 0);
    return fd;
}

Test(log, sends_to_syslog_and_finds_it_again_after_a_restart)
{
    struct sockaddr_un address;
    char line[2048] = "";
    int server = open_syslog(&address);
    struct log_options options = {.level = LOG_LEVEL_NOTICE,
                                  .path = "/dev/null",
                                  .syslog = true,
                                  .syslog_ident = "cache",
                                  .syslog_facility = 1,
                                  .syslog_path = address.sun_path};
    struct log *log;

    cr_assert_eq(log_create(&log, &options), 0);
    log_write(log, LOG_LEVEL_WARNING, "to syslog");
    cr_assert_gt(recv(server, line, sizeof line - 1, 0), 0);
    /* LOCAL0 is 16, warning is 4. */
    expect_match(line, "^<132>[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} cache\\[[0-9]+\\]: to syslog$");
    close(server);
    log_write(log, LOG_LEVEL_WARNING, "lost");
    cr_assert_eq(log_lost_lines(log), 1);
    server = open_syslog(&address);
    cr_assert_eq(log_refresh(log), 0);
    log_write(log, LOG_LEVEL_WARNING, "again");
    memset(line, 0, sizeof line);
    cr_assert_gt(recv(server, line, sizeof line - 1, 0), 0);
    cr_assert_not_null(strstr(line, "again"));
    close(server);
    unlink(address.sun_path);
    log_destroy(log);
}

Test(log, reads_level_names)
{
    enum log_level level;

    cr_assert_eq(log_level_parse("Verbose", &level), 0);
    cr_assert_eq(level, LOG_LEVEL_VERBOSE);
    cr_assert_eq(log_level_parse("nothing", &level), 0);
    cr_assert_eq(level, LOG_LEVEL_NOTHING);
    cr_assert_eq(log_level_parse("loud", &level), -EINVAL);
}

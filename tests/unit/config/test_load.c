#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/directive.h"
#include "config/load.h"

static void loads(struct config *config, const char *text)
{
    struct load_error error;
    int result = load_text(config, "test.conf", text, strlen(text), &error);

    cr_assert_eq(result, 0, "'%s': %s", text, error.reason);
}

static void fails(const char *text, unsigned line, const char *shown, const char *reason)
{
    struct config *config = config_create();
    struct load_error error;

    cr_assert_lt(load_text(config, "test.conf", text, strlen(text), &error), 0, "'%s'", text);
    cr_assert_eq(error.line, line, "'%s': line %u", text, error.line);
    cr_assert_str_eq(error.text, shown);
    cr_assert_str_eq(error.reason, reason, "'%s': %s", text, error.reason);
    cr_assert_str_eq(error.file, "test.conf");
    config_destroy(config);
}

/* Applies a command line, ended by NULL. Returns the reason, "" if it went well. */
static const char *arguments(struct config *config, struct load_error *error,
                             const char *const *argv)
{
    int argc = 0;

    while (argv[argc] != NULL)
        argc++;
    int result = load_arguments(config, argc, (char *const *)argv, error);
    cr_assert_eq(result == 0, error->reason[0] == '\0');
    return error->reason;
}

#define ARGUMENTS(config, error, ...)                                                              \
    arguments(config, error, (const char *const[]){"polluxd", __VA_ARGS__, NULL})

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    return remove(path);
}

static void remove_folder(const char *folder)
{
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* A new folder, which becomes the working directory. */
static void enter_new_folder(char *folder)
{
    strcpy(folder, "/tmp/pollux-load-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
}

Test(load, syntax_of_redis_conf)
{
    struct config *config = config_create();

    loads(config,
          "# comment\n\n  # indented\nport 7000\r\nTIMEOUT 5\n\tmaxmemory 100mb  \n"
          "requirepass \"a \\\"b\\x41\"\nlogfile '/tmp/a b'\nbind 127.0.0.1 -::1 10.0.0.1\n"
          "client-output-buffer-limit normal 1k 2kb 3\nsave \"\"\nappendonly no\nport 7001");
    cr_assert_eq(config->port, 7001, "the last one counts");
    cr_assert_eq(config->timeout, 5);
    cr_assert_eq(config->maxmemory, 100 << 20);
    cr_assert_str_eq(config->requirepass, "a \"bA");
    cr_assert_str_eq(config->logfile, "/tmp/a b");
    cr_assert_eq(config->bind->count, 3);
    cr_assert_eq(config->client_output_buffer_limit[CONFIG_CLASS_NORMAL].hard_bytes, 1000);
    config_destroy(config);
}

Test(load, memory_units)
{
    static const struct {
        const char *text;
        int64_t bytes;
    } cases[] = {{"1024", 1024},     {"1b", 1},
                 {"1k", 1000},       {"1KB", 1024},
                 {"2m", 2000000},    {"2Mb", 2 << 20},
                 {"3g", 3000000000}, {"3gB", 3LL << 30},
                 {"0", 0},           {"9223372036854775807", INT64_MAX}};
    struct config *config = config_create();

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char line[64];

        snprintf(line, sizeof(line), "maxmemory %s", cases[i].text);
        loads(config, line);
        cr_assert_eq(config->maxmemory, cases[i].bytes, "%s", cases[i].text);
    }
    config_destroy(config);
}

Test(load, errors_name_file_line_and_reason)
{
    fails("port 0\nfoo bar\n", 2, "foo bar", "Bad directive or wrong number of arguments");
    fails("port 0\ntimeout abc\n", 2, "timeout abc", "argument couldn't be parsed into an integer");
    fails("timeout\n", 1, "timeout", "wrong number of arguments");
    fails("timeout 1 2\n", 1, "timeout 1 2", "wrong number of arguments");
    fails("timeout \"1\n", 1, "timeout \"1", "Unbalanced quotes in configuration line");
    fails("requirepass 'a'b\n", 1, "requirepass 'a'b", "Unbalanced quotes in configuration line");
    fails("save 1\n", 1, "save 1", "Invalid save parameters");
    fails("save 900 1\n", 1, "save 900 1", "not supported yet: only '' is accepted");
    fails("appendonly yes", 1, "appendonly yes", "not supported yet: only 'no' is accepted");
    fails("io-threads 4", 1, "io-threads 4",
          "not supported yet: only '1' is accepted; see workers");
    fails("rename-command GET \"\"", 1, "rename-command GET \"\"",
          "'rename-command' is not supported yet");
    fails("replicaof 127.0.0.1 6379", 1, "replicaof 127.0.0.1 6379",
          "not supported yet: only '' is accepted");
    fails("unixsocketperm 888", 1, "unixsocketperm 888",
          "argument couldn't be parsed as an octal number");
    fails("unixsocketperm 1000", 1, "unixsocketperm 1000",
          "argument must be between 0 and 777 inclusive");
    fails("supervised upstart", 1, "supervised upstart", "'upstart' is not supported yet");
    fails("supervised foo", 1, "supervised foo",
          "argument(s) must be one of the following: upstart, systemd, auto, no");
    fails("worker-mailbox-size 100", 1, "worker-mailbox-size 100",
          "argument must be a power of two");
    fails("worker-mailbox-size 2", 1, "worker-mailbox-size 2",
          "argument must be between 4 and 65536 inclusive");
    fails("worker-cpus 3-1", 1, "worker-cpus 3-1",
          "argument must be a list of CPUs, such as 0-3,8");
    fails("dir /nonexistent/x", 1, "dir /nonexistent/x", "No such file or directory");
    fails("include", 1, "include", "Bad directive or wrong number of arguments");
    fails("maxmemory 1x", 1, "maxmemory 1x", "argument must be a memory value");
    fails("workers 0", 1, "workers 0", "argument must be between 1 and 128 inclusive");
}

Test(load, words_that_redis_ignores_are_accepted)
{
    struct config *config = config_create();

    loads(config, "list-max-ziplist-entries 1\nlist-max-ziplist-value 2\nreplicaof no one\n");
    config_destroy(config);
}

Test(load, cpu_lists)
{
    static const char *const good[] = {"0", "0,2", "0-3", "0-3,8", "0-8:2,11", "1023"};
    static const char *const bad[] = {",",     "0,",  "a",    "1-",  "-1",
                                      "0-4:0", "0:2", "1024", "0 1", "99999999999999999999"};
    struct config *config = config_create();
    struct load_error error;
    char line[128];

    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(line, sizeof(line), "worker-cpus %s", good[i]);
        loads(config, line);
        cr_assert_str_eq(config->worker_cpus, good[i]);
    }
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(line, sizeof(line), "worker-cpus \"%s\"", bad[i]);
        cr_assert_lt(load_text(config, "t", line, strlen(line), &error), 0, "%s", bad[i]);
    }
    config_destroy(config);
}

Test(load, the_message_reads_as_that_of_redis)
{
    struct config *config = config_create();
    struct load_error error;
    char message[LOAD_MESSAGE_MAX];

    cr_assert_lt(load_text(config, "/etc/p.conf", "\nfoo x\n", 7, &error), 0);
    cr_assert_eq(load_error_format(&error, message), strlen(message));
    cr_assert_str_eq(message, "\n*** FATAL CONFIG FILE ERROR (Pollux " POLLUX_VERSION ") ***\n"
                              "Reading the configuration file, at line 2 of /etc/p.conf\n"
                              ">>> 'foo x'\nBad directive or wrong number of arguments\n");
    cr_assert_lt(load_file(config, "/nonexistent.conf", &error), 0);
    load_error_format(&error, message);
    cr_assert_str_eq(message, "Fatal error, can't open config file '/nonexistent.conf': No such "
                              "file or directory\n");
    config_destroy(config);
}

Test(load, includes_are_read_in_place_and_in_order)
{
    char folder[64];
    struct config *config = config_create();
    struct load_error error;

    enter_new_folder(folder);
    write_file("b.conf", "timeout 2\n");
    write_file("a.conf", "timeout 1\nport 7001\n");
    write_file("main", "timeout 9\ninclude *.conf\ntcp-keepalive 3\ninclude none-*.conf\n");
    cr_assert_eq(load_file(config, "main", &error), 0, "%s", error.reason);
    cr_assert_eq(config->timeout, 2, "names in order");
    cr_assert_eq(config->port, 7001);
    cr_assert_eq(config->tcp_keepalive, 3);

    write_file("b.conf", "\nfoo\n");
    cr_assert_lt(load_file(config, "main", &error), 0);
    cr_assert_str_eq(error.file, "b.conf");
    cr_assert_eq(error.line, 2);
    write_file("main", "\n\ninclude nowhere\n");
    cr_assert_lt(load_file(config, "main", &error), 0);
    cr_assert_str_eq(error.file, "main");
    cr_assert_eq(error.line, 3);
    remove_folder(folder);
    config_destroy(config);
}

Test(load, includes_that_loop_or_fan_out_end)
{
    char folder[64];
    struct config *config = config_create();
    struct load_error error;

    enter_new_folder(folder);
    write_file("self", "include self\n");
    cr_assert_lt(load_file(config, "self", &error), 0);
    cr_assert_not_null(strstr(error.reason, "nested too deeply"));
    write_file("1", "include 2\ninclude 2\n");
    write_file("2", "include 3\ninclude 3\n");
    write_file("3", "include 4\ninclude 4\n");
    write_file("4", "include 5\ninclude 5\n");
    write_file("5", "include 6\ninclude 6\n");
    write_file("6", "include 7\ninclude 7\n");
    write_file("7", "include 8\ninclude 8\n");
    write_file("8", "include 9\ninclude 9\n");
    write_file("9", "timeout 1\n");
    cr_assert_lt(load_file(config, "1", &error), 0);
    cr_assert_not_null(strstr(error.reason, "too many files"));
    remove_folder(folder);
    config_destroy(config);
}

Test(load, hostile_files_end_with_an_error)
{
    struct config *config = config_create();
    struct load_error error;
    size_t len = 2 << 20;
    char *text = malloc(len);

    memset(text, 'x', len);
    cr_assert_lt(load_text(config, "t", text, len, &error), 0);
    cr_assert_not_null(strstr(error.reason, "longer than"));
    cr_assert_lt(strlen(error.text), LOAD_SHOWN_MAX);
    for (size_t i = 0; i < len; i++)
        text[i] = i % 2 ? ' ' : 'y';
    cr_assert_lt(load_text(config, "t", text, 60000, &error), 0);
    cr_assert_str_eq(error.reason, "too many arguments");
    cr_assert_lt(load_text(config, "t", "timeout 1\0 2", 12, &error), 0);
    cr_assert_lt(load_text(config, "t", "requirepass \"a\\x00b\"", 20, &error), 0);
    memset(text, '\n', len);
    cr_assert_eq(load_text(config, "t", text, len, &error), 0);
    cr_assert_lt(load_file(config, "/dev/zero", &error), 0);
    cr_assert_lt(load_file(config, "/tmp", &error), 0);
    free(text);
    config_destroy(config);
}

Test(load, command_line_options)
{
    struct config *config = config_create();
    struct load_error error;

    cr_assert_str_eq(ARGUMENTS(config, &error, "--port", "7000", "--bind", "127.0.0.1", "::1",
                               "--timeout 5", "--save", "--requirepass", "--x"),
                     "");
    cr_assert_eq(config->port, 7000);
    cr_assert_eq(config->bind->count, 2);
    cr_assert_eq(config->timeout, 5);
    cr_assert_str_eq(config->requirepass, "--x", "the value of an option may look like one");
    cr_assert_str_eq(ARGUMENTS(config, &error, "--save", "", "--logfile", ""), "");
    cr_assert_str_eq(ARGUMENTS(config, &error, "--save"), "");
    cr_assert_str_eq(ARGUMENTS(config, &error, "--client-output-buffer-limit",
                               "normal 1 2 3 pubsub 4 5 6"),
                     "");
    config_destroy(config);
}

Test(load, command_line_errors)
{
    struct config *config = config_create();
    struct load_error error;

    cr_assert_str_eq(ARGUMENTS(config, &error, "--port", "1", "--foo", "bar"),
                     "Bad directive or wrong number of arguments");
    cr_assert_str_eq(error.file, "command line");
    cr_assert_eq(error.line, 2);
    cr_assert_str_eq(error.text, "foo \"bar\"");
    cr_assert_str_eq(ARGUMENTS(config, &error, "--timeout"), "wrong number of arguments");
    cr_assert_str_eq(ARGUMENTS(config, &error, "--timeout", "1", "2"), "wrong number of arguments");
    cr_assert_str_eq(ARGUMENTS(config, &error, "--timeout", "x"),
                     "argument couldn't be parsed into an integer");
    cr_assert_str_eq(ARGUMENTS(config, &error, "--"), "Bad directive or wrong number of arguments");
    cr_assert_str_eq(ARGUMENTS(config, &error, "-x"), "Bad directive or wrong number of arguments");
    cr_assert_str_eq(ARGUMENTS(config, &error, "--\"port"),
                     "Unbalanced quotes in configuration line");
    cr_assert_neq(ARGUMENTS(config, &error, "/nonexistent/x")[0], '\0');
    config_destroy(config);
}

Test(load, file_then_options_and_the_file_is_remembered)
{
    char folder[64], expected[128];
    struct config *config = config_create();
    struct load_error error;

    enter_new_folder(folder);
    write_file("p.conf", "port 7001\ntimeout 3\n");
    cr_assert_str_eq(ARGUMENTS(config, &error, "p.conf", "--port", "7002"), "");
    cr_assert_eq(config->port, 7002);
    cr_assert_eq(config->timeout, 3);
    snprintf(expected, sizeof(expected), "%s/p.conf", folder);
    cr_assert_str_eq(config->file, expected);
    remove_folder(folder);
    config_destroy(config);
}

Test(load, standard_input_comes_between_file_and_options)
{
    int ends[2];
    struct config *config = config_create();
    struct load_error error;

    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    cr_assert_eq(write(ends[1], "port 7003\ntimeout 4\n", 20), 20);
    close(ends[1]);
    cr_assert_str_eq(ARGUMENTS(config, &error, "-", "--timeout", "6"), "");
    cr_assert_eq(config->port, 7003);
    cr_assert_eq(config->timeout, 6);
    config_destroy(config);
}

Test(load, requests_for_version_and_help)
{
    char *const version[] = {(char *)"polluxd", (char *)"--version", NULL};
    char *const help[] = {(char *)"polluxd", (char *)"-h", NULL};
    char *const run[] = {(char *)"polluxd", (char *)"--port", (char *)"-v", NULL};

    cr_assert_eq(load_requested(2, version), LOAD_VERSION);
    cr_assert_eq(load_requested(2, help), LOAD_HELP);
    cr_assert_eq(load_requested(3, run), LOAD_RUN);
    cr_assert_eq(load_requested(1, run), LOAD_RUN);
}

/* The annotated file documents the defaults: it must load and change nothing. */
Test(load, the_annotated_file_holds_the_defaults)
{
    struct config *config = config_create();
    struct config *plain = config_create();
    struct load_error error;

    cr_assert_eq(load_file(config, POLLUX_SOURCE_ROOT "/config/pollux.conf", &error), 0,
                 "line %u: %s", error.line, error.reason);
    for (unsigned i = 0; i < directive_count; i++) {
        char mine[DIRECTIVE_TEXT_MAX], theirs[DIRECTIVE_TEXT_MAX];
        size_t my_len, their_len;
        const char *my_text = directive_text(config, &directives[i], mine, &my_len);
        const char *their_text = directive_text(plain, &directives[i], theirs, &their_len);

        cr_assert_eq(my_len, their_len, "%s", directives[i].name);
        cr_assert_arr_eq(my_text, their_text, my_len, "%s", directives[i].name);
    }
    config_destroy(config);
    config_destroy(plain);
}

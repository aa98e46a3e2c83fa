#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "config/directive.h"

enum { TEXT_MAX = 16384 };

/* What config_get emits, as "name=value\n" lines. */
struct seen {
    char text[TEXT_MAX];
    size_t len;
};

static void collect(void *arg, const char *name, size_t name_len, const char *value,
                    size_t value_len)
{
    struct seen *seen = arg;

    seen->len += (size_t)snprintf(seen->text + seen->len, TEXT_MAX - seen->len, "%.*s=%.*s\n",
                                  (int)name_len, name, (int)value_len, value);
    cr_assert_lt(seen->len, TEXT_MAX);
}

static struct config_span span(const char *text)
{
    return (struct config_span){text, strlen(text)};
}

static void gives(struct config *config, const char *pattern, const char *expected)
{
    struct seen seen = {0};
    struct config_span patterns[1] = {span(pattern)};

    cr_assert_geq(config_get(config, patterns, 1, collect, &seen), 0);
    cr_assert_str_eq(seen.text, expected, "%s gives '%s'", pattern, seen.text);
}

/* Sets the pairs, ended by NULL; the reply is "OK" or the error. */
static const char *set(struct config *config, char text[CONFIG_REASON_MAX],
                       const char *const *words)
{
    struct config_span spans[16];
    unsigned count = 0;

    for (; words[count] != NULL; count++)
        spans[count] = span(words[count]);
    strcpy(text, "OK");
    int result = config_set(config, spans, count, true, NULL, NULL, text);
    cr_assert_eq(result == 0, strcmp(text, "OK") == 0);
    return text;
}

#define SET(config, ...)                                                                           \
    set(config, (char[CONFIG_REASON_MAX]){0}, (const char *const[]){__VA_ARGS__, NULL})
#define REFUSED(name, reason)                                                                      \
    "ERR CONFIG SET failed (possibly related to argument '" name "') - " reason

Test(config, defaults_are_those_of_redis)
{
    struct config *config = config_create();

    cr_assert_eq(config->port, 6379);
    cr_assert_eq(config->databases, 16);
    cr_assert_eq(config->maxclients, 10000);
    cr_assert_eq(config->proto_max_bulk_len, 512 << 20);
    cr_assert_eq(config->loglevel, CONFIG_LOG_NOTICE);
    cr_assert_eq(config->protected_mode, 1);
    cr_assert_eq(config->bind->count, 2);
    cr_assert_str_eq(config->bind->items[1], "-::1");
    cr_assert_geq(config->workers, 1);
    cr_assert_str_eq(config->requirepass, "");
    cr_assert_eq(config->client_output_buffer_limit[CONFIG_CLASS_PUBSUB].hard_bytes, 32 << 20);
    cr_assert_eq(config->latency_tracking_info_percentiles->count, 3);
    config_destroy(config);
}

Test(config, the_table_is_sound)
{
    for (unsigned i = 0; i < directive_count; i++) {
        const struct directive *directive = &directives[i];
        struct directive_value value;
        char reason[DIRECTIVE_REASON_MAX] = "";
        bool aliased;

        cr_assert_eq(directive_find(directive->name, strlen(directive->name), &aliased), directive);
        cr_assert_not(aliased);
        if (directive->alias != NULL) {
            cr_assert_eq(directive_find(directive->alias, strlen(directive->alias), &aliased),
                         directive);
            cr_assert(aliased);
        }
        cr_assert_eq(directive->kind == DIRECTIVE_ENUM, directive->choices != NULL);
        if (!(directive->flags & DIRECTIVE_LATER))
            cr_assert_gt(directive->offset, 0, "%s", directive->name);
        if (directive->fallback == NULL)
            continue;
        cr_assert_eq(directive_parse(directive, &directive->fallback, 1, &value, reason), 0,
                     "%s: %s", directive->name, reason);
        directive_drop(&value);
    }
}

Test(config, get_finds_by_name_and_pattern)
{
    struct config *config = config_create();

    gives(config, "port", "port=6379\n");
    gives(config, "PORT", "PORT=6379\n");
    gives(config, "maxmemory", "maxmemory=0\n");
    gives(config, "slave-priority", "slave-priority=100\n");
    gives(config, "h[a-z]", "hz=10\n");
    gives(config, "nothing", "");
    gives(config, "save", "save=\n");
    gives(config, "appendonly", "appendonly=no\n");
    gives(config, "client-output-buffer-limit",
          "client-output-buffer-limit=normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 "
          "8388608 60\n");
    gives(config, "auto-aof-rewrite-min-size", "auto-aof-rewrite-min-size=67108864\n");
    gives(config, "latency-tracking-info-percentiles",
          "latency-tracking-info-percentiles=50 99 99.9\n");
    gives(config, "watchdog-*", "");
    gives(config, "watchdog-period", "watchdog-period=0\n");
    config_destroy(config);
}

Test(config, get_emits_each_name_once)
{
    struct config *config = config_create();
    struct config_span patterns[3] = {span("hz"), span("h?"), span("HZ")};
    struct seen seen = {0};

    cr_assert_eq(config_get(config, patterns, 3, collect, &seen), 1);
    cr_assert_str_eq(seen.text, "hz=10\n");
    config_destroy(config);
}

Test(config, get_bounds_the_number_of_patterns)
{
    struct config *config = config_create();
    struct config_span *patterns = calloc(CONFIG_GET_PATTERNS_MAX + 1, sizeof(*patterns));
    struct seen seen = {0};

    for (unsigned i = 0; i <= CONFIG_GET_PATTERNS_MAX; i++)
        patterns[i] = span("port");
    cr_assert_eq(config_get(config, patterns, CONFIG_GET_PATTERNS_MAX + 1, collect, &seen), -E2BIG);
    cr_assert_eq(config_get(config, patterns, CONFIG_GET_PATTERNS_MAX, collect, &seen), 1);
    free(patterns);
    config_destroy(config);
}

Test(config, set_changes_values_and_raises_the_generation)
{
    struct config *config = config_create();
    uint64_t before = config->generation;

    cr_assert_str_eq(SET(config, "timeout", "7", "maxmemory", "1gb", "loglevel", "DEBUG"), "OK");
    cr_assert_eq(config->timeout, 7);
    cr_assert_eq(config->maxmemory, 1 << 30);
    cr_assert_eq(config->loglevel, CONFIG_LOG_DEBUG);
    cr_assert_gt(config->generation, before);
    cr_assert_str_eq(SET(config, "maxmemory-policy", "allkeys-lru"), "OK");
    gives(config, "maxmemory-policy", "maxmemory-policy=allkeys-lru\n");
    cr_assert_str_eq(SET(config, "requirepass", "secret"), "OK");
    cr_assert_str_eq(config->requirepass, "secret");
    cr_assert_str_eq(SET(config, "bind", "1.2.3.4 -::1"), "OK");
    gives(config, "bind", "bind=1.2.3.4 -::1\n");
    cr_assert_str_eq(SET(config, "bind", ""), "OK");
    cr_assert_eq(config->bind->count, 0);
    config_destroy(config);
}

Test(config, set_is_all_or_nothing)
{
    struct config *config = config_create();
    uint64_t before = config->generation;

    cr_assert_str_eq(SET(config, "timeout", "7", "requirepass", "x", "tcp-keepalive", "y"),
                     REFUSED("tcp-keepalive", "argument couldn't be parsed into an integer"));
    cr_assert_eq(config->timeout, 0);
    cr_assert_str_eq(config->requirepass, "");
    cr_assert_eq(config->generation, before);
    config_destroy(config);
}

/* The texts are those of Redis 7.0.15. */
Test(config, set_refuses_in_the_words_of_redis)
{
    static const struct {
        const char *name, *value, *reply;
    } cases[] = {
        {"foo", "bar", "ERR Unknown option or number of arguments for CONFIG SET - 'foo'"},
        {"a\r\nb", "1", "ERR Unknown option or number of arguments for CONFIG SET - 'a  b'"},
        {"include", "x", "ERR Unknown option or number of arguments for CONFIG SET - 'include'"},
        {"TIMEOUT", "x", REFUSED("timeout", "argument couldn't be parsed into an integer")},
        {"timeout", "4294967296",
         REFUSED("timeout", "argument must be between 0 and 2147483647 inclusive")},
        {"timeout", "1.5", REFUSED("timeout", "argument couldn't be parsed into an integer")},
        {"timeout", " 1", REFUSED("timeout", "argument couldn't be parsed into an integer")},
        {"timeout", "007", REFUSED("timeout", "argument couldn't be parsed into an integer")},
        {"timeout", "+7", REFUSED("timeout", "argument couldn't be parsed into an integer")},
        {"timeout", "-0", REFUSED("timeout", "argument couldn't be parsed into an integer")},
        {"timeout", "", REFUSED("timeout", "argument couldn't be parsed into an integer")},
        {"slowlog-log-slower-than", "-5",
         REFUSED("slowlog-log-slower-than",
                 "argument must be between -1 and 9223372036854775807 inclusive")},
        {"slowlog-log-slower-than", "9223372036854775808",
         REFUSED("slowlog-log-slower-than", "argument couldn't be parsed into an integer")},
        {"slowlog-log-slower-than", "-9223372036854775808",
         REFUSED("slowlog-log-slower-than",
                 "argument must be between -1 and 9223372036854775807 inclusive")},
        {"port", "70000", REFUSED("port", "argument must be between 0 and 65535 inclusive")},
        {"maxclients", "0",
         REFUSED("maxclients", "argument must be between 1 and 4294967295 inclusive")},
        {"databases", "3", REFUSED("databases", "can't set immutable config")},
        {"workers", "3", REFUSED("workers", "can't set immutable config")},
        {"dir", "/tmp", REFUSED("dir", "can't set protected config")},
        {"maxmemory", "10xb", REFUSED("maxmemory", "argument must be a memory value")},
        {"maxmemory", "-1", REFUSED("maxmemory", "argument must be a memory value")},
        {"maxmemory", "1.5k", REFUSED("maxmemory", "argument must be a memory value")},
        {"maxmemory", "1 k", REFUSED("maxmemory", "argument must be a memory value")},
        {"maxmemory", "99999999999999999999",
         REFUSED("maxmemory", "argument must be a memory value")},
        {"maxmemory", "17179869184gb", REFUSED("maxmemory", "argument must be a memory value")},
        {"client-query-buffer-limit", "1",
         REFUSED("client-query-buffer-limit",
                 "argument must be between 1048576 and 1099511627776 inclusive")},
        {"loglevel", "foo",
         REFUSED("loglevel",
                 "argument(s) must be one of the following: debug, verbose, notice, warning")},
        {"maxmemory-policy", "bar",
         REFUSED("maxmemory-policy", "argument(s) must be one of the following: volatile-lru, "
                                     "volatile-lfu, volatile-random, volatile-ttl, allkeys-lru, "
                                     "allkeys-lfu, allkeys-random, noeviction")},
        {"latency-tracking", "maybe",
         REFUSED("latency-tracking", "argument must be 'yes' or 'no'")},
        {"bind", "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
         REFUSED("bind", "Too many bind addresses specified.")},
        {"bind", "1.2.3.4  ::1", REFUSED("bind", "argument must be a list of plain words")},
        {"bind", "1.2.3.4 \"::1\"", REFUSED("bind", "argument must be a list of plain words")},
        {"save", "abc", REFUSED("save", "Invalid save parameters")},
        {"save", "0 1", REFUSED("save", "Invalid save parameters")},
        {"client-output-buffer-limit", "foo 1 2 3",
         REFUSED("client-output-buffer-limit",
                 "Invalid client class specified in buffer limit configuration.")},
        {"client-output-buffer-limit", "normal 1 2",
         REFUSED("client-output-buffer-limit",
                 "Wrong number of arguments in buffer limit configuration.")},
        {"client-output-buffer-limit", "normal 1 2 -3",
         REFUSED("client-output-buffer-limit",
                 "Error in hard, soft or soft_seconds setting in buffer limit configuration.")},
        {"client-output-buffer-limit", "normal 1x 2 3",
         REFUSED("client-output-buffer-limit",
                 "Error in hard, soft or soft_seconds setting in buffer limit configuration.")},
        {"latency-tracking-info-percentiles", "50 101",
         REFUSED("latency-tracking-info-percentiles",
                 "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]")},
        {"latency-tracking-info-percentiles", "a",
         REFUSED("latency-tracking-info-percentiles",
                 "Invalid latency-tracking-info-percentiles parameters")},
        {"latency-tracking-info-percentiles", "nan",
         REFUSED("latency-tracking-info-percentiles",
                 "Invalid latency-tracking-info-percentiles parameters")},
        {"latency-tracking-info-percentiles", "50  99",
         REFUSED("latency-tracking-info-percentiles",
                 "Invalid latency-tracking-info-percentiles parameters")},
        {"slave-priority", "abc",
         REFUSED("slave-priority", "argument couldn't be parsed into an integer")},
        {"maxmemory-clients", "101%",
         REFUSED("maxmemory-clients", "percentage argument must be less or equal to 100")},
        {"maxmemory-clients", "-1%",
         REFUSED("maxmemory-clients", "argument must be a memory or percent value")},
    };
    struct config *config = config_create();

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *reply = SET(config, cases[i].name, cases[i].value);

        cr_assert_str_eq(reply, cases[i].reply, "%s %s: %s", cases[i].name, cases[i].value, reply);
    }
    cr_assert_str_eq(SET(config, "timeout", "5", "timeout", "6"),
                     REFUSED("timeout", "duplicate parameter"));
    cr_assert_str_eq(SET(config, "timeout", "5", "TimeOut", "6"),
                     REFUSED("TimeOut", "duplicate parameter"));
    cr_assert_str_eq(SET(config, "timeout", "5", "foo", "6", "databases", "1"),
                     "ERR Unknown option or number of arguments for CONFIG SET - 'foo'");
    cr_assert_str_eq(SET(config, "timeout", "5", "port"), "ERR syntax error");
    config_destroy(config);
}

Test(config, what_is_not_there_yet_takes_its_default_only)
{
    struct config *config = config_create();

    cr_assert_str_eq(SET(config, "appendonly", "no", "save", "", "hz", "10"), "OK");
    cr_assert_str_eq(SET(config, "appendonly", "yes"),
                     REFUSED("appendonly", "not supported yet: only 'no' is accepted"));
    cr_assert_str_eq(SET(config, "save", "900 1"),
                     REFUSED("save", "not supported yet: only '' is accepted"));
    cr_assert_str_eq(SET(config, "repl-backlog-size", "1048576"), "OK", "1mb in other words");
    cr_assert_str_eq(SET(config, "repl-backlog-size", "2mb"),
                     REFUSED("repl-backlog-size", "not supported yet: only '1mb' is accepted"));
    cr_assert_str_eq(SET(config, "maxmemory-policy", "volatile-ttl"),
                     REFUSED("maxmemory-policy", "'volatile-ttl' is not supported yet"));
    cr_assert_str_eq(SET(config, "oom-score-adj-values", "0 200 800"), "OK");
    cr_assert_str_eq(SET(config, "oom-score-adj-values", "0 200 801"),
                     REFUSED("oom-score-adj-values",
                             "not supported yet: only '0 200 800' is accepted"));
    config_destroy(config);
}

Test(config, limits_are_set_class_by_class)
{
    struct config *config = config_create();

    cr_assert_str_eq(SET(config, "client-output-buffer-limit", "replica 1kb 1k 10 NORMAL 1mb 2 3"),
                     "OK");
    gives(
        config, "client-output-buffer-limit",
        "client-output-buffer-limit=normal 1048576 2 3 slave 1024 1000 10 pubsub 33554432 8388608 "
        "60\n");
    cr_assert_str_eq(SET(config, "client-output-buffer-limit", ""), "OK");
    cr_assert_eq(config->client_output_buffer_limit[CONFIG_CLASS_NORMAL].soft_seconds, 3);
    config_destroy(config);
}

Test(config, percentiles_show_six_digits_at_most)
{
    struct config *config = config_create();

    cr_assert_str_eq(SET(config, "latency-tracking-info-percentiles",
                         "5.12345678 0.0000001 100 0 99.900"),
                     "OK");
    gives(config, "latency-tracking-info-percentiles",
          "latency-tracking-info-percentiles=5.123457 0 100 0 99.9\n");
    cr_assert_str_eq(SET(config, "latency-tracking-info-percentiles", ""), "OK");
    gives(config, "latency-tracking-info-percentiles", "latency-tracking-info-percentiles=\n");
    config_destroy(config);
}

/* A callback that refuses a name, and remembers what it was told. */
struct judge {
    const char *refused;
    unsigned calls, count;
    int64_t timeout;
};

static const char *judge_apply(void *arg, const struct config *config,
                               const struct config_change *changes, unsigned count,
                               unsigned *culprit)
{
    struct judge *judge = arg;

    judge->calls++;
    judge->count = count;
    judge->timeout = config->timeout;
    for (unsigned i = 0; i < count; i++) {
        if (judge->refused != NULL && strcmp(changes[i].name, judge->refused) == 0) {
            *culprit = i;
            return "Unable to listen on this port. Check server logs.";
        }
    }
    return NULL;
}

Test(config, the_callback_can_refuse_and_all_is_as_before)
{
    struct config *config = config_create();
    struct judge judge = {.refused = "port"};
    struct config_span words[6] = {span("timeout"), span("9"),    span("requirepass"),
                                   span("x"),       span("port"), span("7000")};
    char text[CONFIG_REASON_MAX];

    cr_assert_eq(config_set(config, words, 6, true, judge_apply, &judge, text), -EINVAL);
    cr_assert_str_eq(text, REFUSED("port", "Unable to listen on this port. Check server logs."));
    cr_assert_eq(judge.calls, 1);
    cr_assert_eq(judge.timeout, 9, "the callback sees the new values");
    cr_assert_eq(config->timeout, 0);
    cr_assert_eq(config->port, 6379);
    cr_assert_str_eq(config->requirepass, "");

    judge.refused = NULL;
    cr_assert_eq(config_set(config, words, 6, true, judge_apply, &judge, text), 0);
    cr_assert_eq(config->port, 7000);
    cr_assert_eq(judge.count, 3);
    cr_assert_eq(config_set(config, words, 6, true, judge_apply, &judge, text), 0);
    cr_assert_eq(judge.calls, 2, "what does not change is not applied");
    config_destroy(config);
}

Test(config, protected_directives_follow_the_setting)
{
    struct config *config = config_create();
    char folder[] = "/tmp/pollux-config-XXXXXX";
    char text[CONFIG_REASON_MAX], cwd[4096], before[4096];

    cr_assert_not_null(mkdtemp(folder));
    cr_assert_not_null(getcwd(before, sizeof(before)));
    struct config_span words[2] = {span("dir"), span(folder)};
    config->enable_protected_configs = CONFIG_LOCAL;
    cr_assert_eq(config_set(config, words, 2, false, NULL, NULL, text), -EINVAL);
    cr_assert_eq(config_set(config, words, 2, true, NULL, NULL, text), 0);
    cr_assert_str_eq(getcwd(cwd, sizeof(cwd)), folder);
    cr_assert_str_eq(config->dir, folder);
    cr_assert_str_eq(SET(config, "dir", "/nonexistent/x", "timeout", "1"),
                     REFUSED("dir", "No such file or directory"));
    cr_assert_str_eq(SET(config, "timeout", "1", "dir", "/nonexistent/x"),
                     REFUSED("dir", "No such file or directory"));
    cr_assert_eq(config->timeout, 0);
    cr_assert_eq(chdir(before), 0);
    rmdir(folder);
    config_destroy(config);
}

Test(config, giant_and_binary_values_are_refused)
{
    struct config *config = config_create();
    size_t len = 64 << 20;
    char *giant = malloc(len);
    char text[CONFIG_REASON_MAX];

    memset(giant, 'x', len);
    struct config_span words[2] = {span("requirepass"), {giant, len}};
    cr_assert_eq(config_set(config, words, 2, true, NULL, NULL, text), -EINVAL);
    cr_assert_str_eq(text, REFUSED("requirepass", "argument is too long"));
    words[0] = (struct config_span){giant, len};
    cr_assert_eq(config_set(config, words, 2, true, NULL, NULL, text), -EINVAL);
    cr_assert_lt(strlen(text), CONFIG_REASON_MAX);
    struct config_span binary[2] = {span("requirepass"), {"a\0b", 3}};
    cr_assert_eq(config_set(config, binary, 2, true, NULL, NULL, text), -EINVAL);
    memset(giant, ' ', CONFIG_VALUE_MAX_BYTES);
    struct config_span blanks[2] = {span("bind"), {giant, CONFIG_VALUE_MAX_BYTES}};
    cr_assert_eq(config_set(config, blanks, 2, true, NULL, NULL, text), -EINVAL);
    free(giant);
    config_destroy(config);
}

Test(config, replaced_strings_live_until_they_are_reclaimed)
{
    struct config *config = config_create();

    SET(config, "requirepass", "one");
    const char *held = config->requirepass;
    uint64_t seen = config->generation;
    SET(config, "requirepass", "two");
    config_reclaim(config, seen);
    cr_assert_str_eq(held, "one", "a reader at the old generation may still hold it");
    config_reclaim(config, config->generation);
    cr_assert_null(config->retired);
    cr_assert_str_eq(config->requirepass, "two");
    config_destroy(config);
}

static void *change_for_a_while(void *arg)
{
    struct config *config = arg;

    for (int i = 0; i < 500; i++)
        cr_assert_str_eq(SET(config, "requirepass", i % 2 ? "one" : "three", "timeout", "3"), "OK");
    return NULL;
}

Test(config, readers_need_no_lock)
{
    struct config *config = config_create();
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, change_for_a_while, config), 0);
    for (int i = 0; i < 500; i++) {
        struct seen seen = {0};
        struct config_span patterns[1] = {span("*")};

        cr_assert_gt(config_get(config, patterns, 1, collect, &seen), 150);
        size_t len = strlen(config->requirepass);
        cr_assert(len == 0 || len == 3 || len == 5);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    config_destroy(config);
}

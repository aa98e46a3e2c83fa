#include "config/config.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/directive.h"
#include "config/glob.h"

/* What one config_set has replaced; readers may hold it until they have seen `generation`. */
struct config_retired {
    struct config_retired *next;
    uint64_t generation;
    unsigned count;
    void *objects[];
};

/* ---- Creating ------------------------------------------------------------------------------ */

/* The cores that we may run on, at least 1. */
static int64_t core_count(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    int count = CPU_COUNT(&set);
    if (count < 1)
        return 1;
    return count < CONFIG_WORKERS_MAX ? count : CONFIG_WORKERS_MAX;
}

/* Reads and stores the default of one directive; false when there is no memory. */
static bool set_default(struct config *config, const struct directive *directive)
{
    char reason[DIRECTIVE_REASON_MAX];
    struct directive_value value;

    if ((directive->flags & DIRECTIVE_LATER) || directive->fallback == NULL)
        return true;
    int result = directive_parse(directive, &directive->fallback, 1, &value, reason);
    assert(result == 0 || result == -ENOMEM);
    if (result < 0)
        return false;
    directive_swap(config, directive, &value);
    return true;
}

struct config *config_create(void)
{
    struct config *config = calloc(1, sizeof(*config));
    bool complete = true;

    if (config == NULL)
        return NULL;
    pthread_mutex_init(&config->mutex, NULL);
    config->cores = core_count();
    config->workers = config->cores;
    config->dir = getcwd(NULL, 0);
    config->file = strdup("");
    for (unsigned i = 0; i < directive_count && complete; i++)
        complete = set_default(config, &directives[i]);
    if (!complete || config->dir == NULL || config->file == NULL) {
        config_destroy(config);
        return NULL;
    }
    return config;
}

static void retired_free(struct config_retired *retired)
{
    for (unsigned i = 0; i < retired->count; i++)
        free(retired->objects[i]);
    free(retired);
}

void config_destroy(struct config *config)
{
    if (config == NULL)
        return;
    config_reclaim(config, UINT64_MAX);
    for (unsigned i = 0; i < directive_count; i++) {
        const struct directive *directive = &directives[i];
        bool is_object = directive->kind == DIRECTIVE_STRING || directive->kind == DIRECTIVE_LIST ||
                         directive->kind == DIRECTIVE_PERCENTILES ||
                         directive->kind == DIRECTIVE_DIR;

        if (is_object && !(directive->flags & DIRECTIVE_LATER))
            free(*(void *_Atomic *)((char *)config + directive->offset));
    }
    free((char *)config->file);
    pthread_mutex_destroy(&config->mutex);
    free(config);
}

void config_reclaim(struct config *config, uint64_t generation)
{
    pthread_mutex_lock(&config->mutex);
    struct config_retired **link = &config->retired;
    while (*link != NULL) {
        struct config_retired *retired = *link;

        if (retired->generation > generation) {
            link = &retired->next;
            continue;
        }
        *link = retired->next;
        retired_free(retired);
    }
    pthread_mutex_unlock(&config->mutex);
}

/* ---- CONFIG GET ---------------------------------------------------------------------------- */

/* The state of one config_get: which names went out already, canonical ones first, then aliases. */
struct getting {
    const struct config *config;
    config_emit *emit;
    void *arg;
    bool emitted[2 * DIRECTIVES_MAX];
    int count;
};

/* Emits one name of a directive unless it went out already; `shown` is how the name is written. */
static void emit_once(struct getting *getting, const struct directive *directive, bool aliased,
                      const char *shown, size_t shown_len)
{
    char buffer[DIRECTIVE_TEXT_MAX];
    size_t index = (size_t)(directive - directives) + (aliased ? DIRECTIVES_MAX : 0);
    size_t len;

    if (getting->emitted[index])
        return;
    getting->emitted[index] = true;
    getting->count++;
    const char *text = directive_text(getting->config, directive, buffer, &len);
    getting->emit(getting->arg, shown, shown_len, text, len);
}

static void emit_matching(struct getting *getting, const struct config_span *pattern)
{
    for (unsigned i = 0; i < directive_count; i++) {
        const struct directive *directive = &directives[i];
        const char *names[2] = {directive->name, directive->alias};

        for (unsigned which = 0; which < 2; which++) {
            const char *name = names[which];

            if (name != NULL && !(directive->flags & DIRECTIVE_HIDDEN) &&
                glob_match(pattern->data, pattern->len, name, strlen(name), true))
                emit_once(getting, directive, which == 1, name, strlen(name));
        }
    }
}

int config_get(const struct config *config, const struct config_span *patterns, unsigned count,
               config_emit *emit, void *arg)
{
    struct getting getting = {.config = config, .emit = emit, .arg = arg};

    if (count > CONFIG_GET_PATTERNS_MAX)
        return -E2BIG;
    for (unsigned i = 0; i < count; i++) {
        bool aliased;

        if (glob_is_pattern(patterns[i].data, patterns[i].len)) {
            emit_matching(&getting, &patterns[i]);
            continue;
        }
        const struct directive *directive =
            directive_find(patterns[i].data, patterns[i].len, &aliased);
        if (directive != NULL)
            emit_once(&getting, directive, aliased, patterns[i].data, patterns[i].len);
    }
    return getting.count;
}

/* ---- CONFIG SET ---------------------------------------------------------------------------- */

/* One pair of a config_set. While `stored`, `value` is the old one. */
struct pending {
    const struct directive *directive;
    const char *shown; /* the name or the alias, whichever was asked for */
    struct directive_value value;
    bool parsed;
    bool stored;
};

/* Writes the refusal of one pair; `reason` may be cut. */
static int set_refuse(char text[CONFIG_REASON_MAX], const char *name, const char *reason)
{
    snprintf(text, CONFIG_REASON_MAX,
             "ERR CONFIG SET failed (possibly related to argument '%s') - %s", name, reason);
    return -EINVAL;
}

/* The same for a name that is shown as the client wrote it. */
static int set_refuse_word(char text[CONFIG_REASON_MAX], const struct config_span *word,
                           const char *reason)
{
    char name[DIRECTIVE_REASON_MAX];

    snprintf(name, sizeof(name), "%.*s", (int)word->len, word->data);
    return set_refuse(text, name, reason);
}

/* Writes the refusal of a name that is none. An error reply is one line, whatever the client
 * sent. */
static int set_unknown(char text[CONFIG_REASON_MAX], const struct config_span *name)
{
    int shown = name->len < CONFIG_REASON_MAX / 2 ? (int)name->len : CONFIG_REASON_MAX / 2;

    snprintf(text, CONFIG_REASON_MAX,
             "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'", shown,
             name->data);
    for (char *at = text; *at != '\0'; at++) {
        if (*at == '\r' || *at == '\n')
            *at = ' ';
    }
    return -EINVAL;
}

/* Finds the directive of each pair and tests whether it may be set at all. */
static int set_resolve(const struct config *config, const struct config_span *words,
                       struct pending *pending, unsigned pairs, bool local,
                       char text[CONFIG_REASON_MAX])
{
    int64_t protection = config->enable_protected_configs;
    bool allowed = protection == CONFIG_YES || (protection == CONFIG_LOCAL && local);

    for (unsigned i = 0; i < pairs; i++) {
        const struct config_span *name = &words[2 * i];
        bool aliased;
        const struct directive *directive = directive_find(name->data, name->len, &aliased);

        if (directive == NULL)
            return set_unknown(text, name);
        pending[i].directive = directive;
        pending[i].shown = aliased ? directive->alias : directive->name;
        if (directive->flags & DIRECTIVE_IMMUTABLE)
            return set_refuse_word(text, name, "can't set immutable config");
        if ((directive->flags & DIRECTIVE_PROTECTED) && !allowed)
            return set_refuse_word(text, name, "can't set protected config");
        for (unsigned j = 0; j < i; j++) {
            if (pending[j].shown == pending[i].shown)
                return set_refuse_word(text, name, "duplicate parameter");
        }
    }
    return 0;
}

/* Reads the value of one pair. */
static int set_parse(struct pending *pending, const struct config_span *value,
                     char text[CONFIG_REASON_MAX])
{
    char reason[DIRECTIVE_REASON_MAX];

    if (value->len > CONFIG_VALUE_MAX_BYTES)
        return set_refuse(text, pending->shown, "argument is too long");
    enum directive_kind kind = pending->directive->kind;
    bool has_nul = memchr(value->data, '\0', value->len) != NULL;
    char *copy = strndup(value->data, value->len);
    if (copy == NULL)
        return set_refuse(text, pending->shown, "out of memory");
    /* As in Redis, a choice or a size ends at a NUL byte, and a number has none. */
    const char *const argv[1] = {has_nul && kind == DIRECTIVE_INT ? "" : copy};
    int result = directive_parse(pending->directive, argv, 1, &pending->value, reason);
    free(copy);
    if (result < 0)
        return set_refuse(text, pending->shown, reason);
    pending->parsed = true;
    if (has_nul && (kind == DIRECTIVE_STRING || kind == DIRECTIVE_DIR || kind == DIRECTIVE_LIST))
        return set_refuse(text, pending->shown, "argument must not contain a NUL byte");
    return 0;
}

/* Stores all values; on a failure the caller takes back those that are `stored`. */
static int set_store(struct config *config, struct pending *pending, unsigned pairs,
                     struct config_change *changes, unsigned *change_pairs, unsigned *change_count,
                     char text[CONFIG_REASON_MAX])
{
    for (unsigned i = 0; i < pairs; i++) {
        bool changed = !directive_holds(config, pending[i].directive, &pending[i].value);
        int result = directive_swap(config, pending[i].directive, &pending[i].value);

        if (result < 0)
            return set_refuse(text, pending[i].shown, strerror(-result));
        pending[i].stored = true;
        if (changed) {
            change_pairs[*change_count] = i;
            changes[(*change_count)++].name = pending[i].directive->name;
        }
    }
    return 0;
}

/* Puts the old values back, the last one first. */
static void set_restore(struct config *config, struct pending *pending, unsigned pairs)
{
    for (unsigned i = pairs; i-- > 0;) {
        /* Only entering a directory can fail, and only if the old one is gone: then we stay. */
        if (pending[i].stored)
            (void)directive_swap(config, pending[i].directive, &pending[i].value);
    }
}

/* Everything that config_set allocates, at once: nothing can fail once values are exchanged. */
struct setting {
    struct pending *pending;
    struct config_change *changes;
    unsigned *change_pairs;
    struct config_retired *retired;
};

static void setting_free(struct setting *setting)
{
    free(setting->pending);
    free(setting->changes);
    free(setting->change_pairs);
    free(setting->retired);
}

static bool setting_allocate(struct setting *setting, unsigned pairs)
{
    setting->pending = calloc(pairs, sizeof(*setting->pending));
    setting->changes = calloc(pairs, sizeof(*setting->changes));
    setting->change_pairs = calloc(pairs, sizeof(*setting->change_pairs));
    setting->retired = calloc(1, sizeof(*setting->retired) + pairs * sizeof(void *));
    return setting->pending != NULL && setting->changes != NULL && setting->change_pairs != NULL &&
           setting->retired != NULL;
}

/* Keeps what was exchanged until all readers have moved on, and frees what nobody has seen. */
static void set_retire(struct config *config, struct setting *setting, unsigned pairs, bool seen)
{
    struct config_retired *retired = setting->retired;

    for (unsigned i = 0; i < pairs; i++) {
        struct pending *pending = &setting->pending[i];

        if (!pending->parsed || pending->value.object == NULL)
            continue;
        if (pending->stored)
            retired->objects[retired->count++] = pending->value.object;
        else
            directive_drop(&pending->value);
    }
    if (!seen)
        return;
    retired->generation = atomic_fetch_add(&config->generation, 1) + 1;
    retired->next = config->retired;
    config->retired = retired;
    setting->retired = NULL;
}

/* The work of config_set under its mutex. */
static int set_locked(struct config *config, const struct config_span *words, unsigned pairs,
                      bool local, config_apply *apply, void *arg, struct setting *setting,
                      char text[CONFIG_REASON_MAX])
{
    unsigned change_count = 0, culprit = 0;
    int result = set_resolve(config, words, setting->pending, pairs, local, text);

    for (unsigned i = 0; i < pairs && result == 0; i++)
        result = set_parse(&setting->pending[i], &words[2 * i + 1], text);
    if (result < 0) {
        set_retire(config, setting, pairs, false);
        return result;
    }
    result = set_store(config, setting->pending, pairs, setting->changes, setting->change_pairs,
                       &change_count, text);
    if (result == 0 && apply != NULL && change_count > 0) {
        const char *reason = apply(arg, config, setting->changes, change_count, &culprit);

        assert(culprit < change_count);
        if (reason != NULL)
            result =
                set_refuse(text, setting->pending[setting->change_pairs[culprit]].shown, reason);
    }
    if (result < 0)
        set_restore(config, setting->pending, pairs);
    set_retire(config, setting, pairs, true);
    return result;
}

int config_set(struct config *config, const struct config_span *words, unsigned count, bool local,
               config_apply *apply, void *arg, char text[CONFIG_REASON_MAX])
{
    struct setting setting = {0};
    int result = -EINVAL;

    if (count == 0 || count % 2 != 0 || count / 2 > CONFIG_SET_PAIRS_MAX) {
        snprintf(text, CONFIG_REASON_MAX, "ERR syntax error");
        return -EINVAL;
    }
    if (setting_allocate(&setting, count / 2)) {
        pthread_mutex_lock(&config->mutex);
        result = set_locked(config, words, count / 2, local, apply, arg, &setting, text);
        pthread_mutex_unlock(&config->mutex);
    } else {
        snprintf(text, CONFIG_REASON_MAX, "ERR out of memory");
    }
    setting_free(&setting);
    return result;
}

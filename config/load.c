#include "config/load.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "config/directive.h"
#include "config/glob.h"
#include "config/words.h"

/* One run: where it is, for the error, and how much was read already. */
struct loading {
    struct config *config;
    struct load_error *error;
    const char *file; /* as errors name it */
    unsigned line;
    unsigned depth; /* files that are open above this one */
    unsigned files; /* read in all */
};

/* ---- Errors -------------------------------------------------------------------------------- */

/* Copies bytes as printable text, cut to the room. */
static void show(char out[LOAD_SHOWN_MAX], const char *text, size_t len)
{
    size_t used = 0;

    for (; used < len && used < LOAD_SHOWN_MAX - 1; used++)
        out[used] = (unsigned char)text[used] >= 0x20 && text[used] != 0x7f ? text[used] : '?';
    out[used] = '\0';
}

/* Describes a bad line. */
__attribute__((format(printf, 4, 5))) static int
line_error(struct loading *loading, const char *line, size_t len, const char *format, ...)
{
    va_list args;

    show(loading->error->file, loading->file, strlen(loading->file));
    show(loading->error->text, line, len);
    loading->error->line = loading->line;
    va_start(args, format);
    vsnprintf(loading->error->reason, CONFIG_REASON_MAX, format, args);
    va_end(args);
    return -EINVAL;
}

/* Describes a failure that belongs to no line. */
static int file_error(struct load_error *error, const char *path, const char *doing, int result)
{
    *error = (struct load_error){0};
    snprintf(error->reason, CONFIG_REASON_MAX, "Fatal error, can't %s config file '%.*s': %s",
             doing, LOAD_SHOWN_MAX, path, strerror(-result));
    return result;
}

size_t load_error_format(const struct load_error *error, char out[LOAD_MESSAGE_MAX])
{
    int len;

    if (error->line == 0)
        len = snprintf(out, LOAD_MESSAGE_MAX, "%s\n", error->reason);
    else
        len = snprintf(out, LOAD_MESSAGE_MAX,
                       "\n*** FATAL CONFIG FILE ERROR (Pollux " POLLUX_VERSION ") ***\n"
                       "Reading the configuration file, at line %u of %s\n>>> '%s'\n%s\n",
                       error->line, error->file, error->text, error->reason);
    return len < LOAD_MESSAGE_MAX ? (size_t)len : LOAD_MESSAGE_MAX - 1;
}

/* ---- Files --------------------------------------------------------------------------------- */

/* Reads all of a descriptor into memory that the caller frees. -EFBIG beyond LOAD_FILE_MAX_BYTES,
 * as for a device without an end. */
static int read_all(int fd, char **bytes, size_t *len)
{
    size_t room = 1 << 16;
    char *buffer = malloc(room);

    *len = 0;
    for (;;) {
        if (buffer == NULL)
            return -ENOMEM;
        ssize_t got = read(fd, buffer + *len, room - *len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0) {
            *bytes = buffer;
            return 0;
        }
        int failure = got < 0 ? -errno : *len + (size_t)got > LOAD_FILE_MAX_BYTES ? -EFBIG : 0;
        if (failure < 0) {
            free(buffer);
            return failure;
        }
        *len += (size_t)got;
        if (*len < room)
            continue;
        room *= 2;
        char *larger = realloc(buffer, room);
        if (larger == NULL)
            free(buffer);
        buffer = larger;
    }
}

static int read_file(const char *path, char **bytes, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    int result = read_all(fd, bytes, len);
    close(fd);
    return result;
}

static int run_text(struct loading *loading, const char *name, const char *text, size_t len);

/* Reads one file in the place of an include. */
static int include_file(struct loading *loading, const char *path)
{
    char *bytes;
    size_t len;

    if (loading->files == LOAD_FILES_MAX)
        return line_error(loading, path, strlen(path), "too many files are included (%d)",
                          LOAD_FILES_MAX);
    loading->files++;
    int result = read_file(path, &bytes, &len);
    if (result < 0)
        return line_error(loading, path, strlen(path), "can't open the file to include: %s",
                          strerror(-result));

    struct loading outer = *loading;
    loading->depth++;
    result = run_text(loading, path, bytes, len);
    loading->depth = outer.depth;
    loading->file = outer.file;
    loading->line = outer.line;
    free(bytes);
    return result;
}

/* Includes a file, or in order of their names all that match a pattern; none is no error then. */
static int include(struct loading *loading, const char *pattern)
{
    glob_t found;
    int result = 0;

    if (loading->depth == LOAD_INCLUDE_DEPTH_MAX)
        return line_error(loading, pattern, strlen(pattern),
                          "includes are nested too deeply (%d); does a file include itself?",
                          LOAD_INCLUDE_DEPTH_MAX);
    if (!glob_is_pattern(pattern, strlen(pattern)))
        return include_file(loading, pattern);

    int failure = glob(pattern, 0, NULL, &found);
    if (failure == GLOB_NOMATCH)
        return 0;
    if (failure != 0)
        return line_error(loading, pattern, strlen(pattern),
                          "can't read the folder to include from");
    for (size_t i = 0; i < found.gl_pathc && result == 0; i++)
        result = include_file(loading, found.gl_pathv[i]);
    globfree(&found);
    return result;
}

/* ---- Lines --------------------------------------------------------------------------------- */

/* Words that Redis knows in a file and that are no directives of CONFIG. */
static const struct {
    const char *name;
    bool obsolete; /* without effect in Redis as well */
} others[] = {
    {"list-max-ziplist-entries", true},
    {"list-max-ziplist-value", true},
    {"rename-command", false},
    {"user", false},
    {"loadmodule", false},
};

/* Applies what is no row of the table; `line` is for the error. */
static int run_other(struct loading *loading, const char *const *argv, unsigned argc,
                     const char *line, size_t len)
{
    if (argc == 2 && strcasecmp(argv[0], "include") == 0)
        return include(loading, argv[1]);
    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (strcasecmp(argv[0], others[i].name) != 0 || argc < 2)
            continue;
        if (others[i].obsolete)
            return 0;
        return line_error(loading, line, len, "'%s' is not supported yet", others[i].name);
    }
    return line_error(loading, line, len, "Bad directive or wrong number of arguments");
}

/* Applies one directive; `argv[0]` is its name. */
static int run_words(struct loading *loading, const char *const *argv, unsigned argc,
                     const char *line, size_t len)
{
    const struct directive *directive = directive_find(argv[0], strlen(argv[0]), NULL);
    struct directive_value value;
    char reason[DIRECTIVE_REASON_MAX];

    if (directive == NULL)
        return run_other(loading, argv, argc, line, len);
    if (directive_parse(directive, argv + 1, argc - 1, &value, reason) < 0)
        return line_error(loading, line, len, "%s", reason);
    int result = directive_swap(loading->config, directive, &value);
    /* Nobody reads yet: the old value goes at once. */
    directive_drop(&value);
    if (result < 0)
        return line_error(loading, line, len, "%s", strerror(-result));
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Applies one line, without its line end. */
static int run_line(struct loading *loading, const char *line, size_t len)
{
    struct words_span words[LOAD_WORDS_MAX];
    const char *argv[LOAD_WORDS_MAX];

    /* Blanks around a line mean nothing: a comment may be indented, and lines may end in CR LF. */
    while (len > 0 && is_blank(line[len - 1]))
        len--;
    for (; len > 0 && is_blank(*line); len--)
        line++;
    if (len == 0 || *line == '#')
        return 0;
    if (len > LOAD_LINE_MAX_BYTES)
        return line_error(loading, line, len, "the line is longer than %d bytes",
                          LOAD_LINE_MAX_BYTES);
    if (memchr(line, '\0', len) != NULL)
        return line_error(loading, line, len, "the line has a NUL byte");

    char *copy = malloc(len + 1);
    if (copy == NULL)
        return line_error(loading, line, len, "out of memory");
    memcpy(copy, line, len);
    copy[len] = '\0';
    int result = 0;
    int count = words_split(copy, len, words, LOAD_WORDS_MAX);
    if (count == -E2BIG)
        result = line_error(loading, line, len, "too many arguments");
    else if (count < 0)
        result = line_error(loading, line, len, "Unbalanced quotes in configuration line");
    /* The NUL behind a word lies on its blank or closing quote, or behind the line. */
    for (int i = 0; i < count && result == 0; i++) {
        argv[i] = words[i].data;
        if (memchr(words[i].data, '\0', words[i].len) != NULL)
            result = line_error(loading, line, len, "the line has a NUL byte");
    }
    for (int i = 0; i < count && result == 0; i++)
        words[i].data[words[i].len] = '\0';
    if (result == 0 && count > 0)
        result = run_words(loading, argv, (unsigned)count, line, len);
    free(copy);
    return result;
}

static int run_text(struct loading *loading, const char *name, const char *text, size_t len)
{
    const char *end = text + len;
    int result = 0;

    loading->file = name;
    for (loading->line = 1; text < end && result == 0; loading->line++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline != NULL ? newline : end;

        result = run_line(loading, text, (size_t)(stop - text));
        if (result < 0)
            break;
        text = newline != NULL ? newline + 1 : end;
    }
    return result;
}

int load_text(struct config *config, const char *name, const char *text, size_t len,
              struct load_error *error)
{
    struct loading loading = {.config = config, .error = error};

    *error = (struct load_error){0};
    return run_text(&loading, name, text, len);
}

int load_file(struct config *config, const char *path, struct load_error *error)
{
    char *bytes;
    size_t len;
    int result = read_file(path, &bytes, &len);

    if (result < 0)
        return file_error(error, path, "open", result);
    result = load_text(config, path, bytes, len, error);
    free(bytes);
    return result;
}

/* ---- The command line ---------------------------------------------------------------------- */

enum load_request load_requested(int argc, char *const argv[])
{
    if (argc < 2)
        return LOAD_RUN;
    if (strcmp(argv[1], "-v") == 0 || strcmp(argv[1], "--version") == 0)
        return LOAD_VERSION;
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)
        return LOAD_HELP;
    return LOAD_RUN;
}

/* Makes the path absolute, as `dir` may change and CONFIG REWRITE needs it. */
static int remember_file(struct config *config, const char *path)
{
    char *absolute = NULL;

    if (path[0] == '/') {
        absolute = strdup(path);
    } else {
        char *cwd = getcwd(NULL, 0);

        if (cwd != NULL && asprintf(&absolute, "%s/%s", cwd, path) < 0)
            absolute = NULL;
        free(cwd);
    }
    if (absolute == NULL)
        return -ENOMEM;
    free((char *)config->file);
    config->file = absolute;
    return 0;
}

static int load_stdin(struct config *config, struct load_error *error)
{
    char *bytes;
    size_t len;
    int result = read_all(STDIN_FILENO, &bytes, &len);

    if (result < 0)
        return file_error(error, "-", "read", result);
    result = load_text(config, "standard input", bytes, len, error);
    free(bytes);
    return result;
}

static bool is_option(const char *argument)
{
    return argument[0] == '-' && argument[1] == '-';
}

/* Splits "--name" or "--name value" (one argument of the shell) into words; the name loses its
 * dashes. */
static int option_name(struct loading *loading, char *copy, struct words_span *words)
{
    size_t len = strlen(copy);
    int count = words_split(copy, len, words, LOAD_WORDS_MAX);

    if (count == -E2BIG)
        return line_error(loading, copy, len, "too many arguments");
    if (count < 0)
        return line_error(loading, copy, len, "Unbalanced quotes in configuration line");
    for (int i = 0; i < count; i++)
        words[i].data[words[i].len] = '\0';
    return count;
}

/* Applies the option that begins at `argv[0]`, with the arguments that belong to it. Its first
 * argument is its value even if it looks like an option (`--requirepass --x`), save after --save,
 * whose value may be left out. Returns how many arguments it took, or -errno. */
static int run_option(struct loading *loading, int argc, char *const argv[])
{
    struct words_span words[LOAD_WORDS_MAX];
    const char *arguments[LOAD_WORDS_MAX];
    int taken = 1;
    char *copy = strdup(argv[0] + 2);

    if (copy == NULL)
        return line_error(loading, argv[0], strlen(argv[0]), "out of memory");
    int count = option_name(loading, copy, words);
    for (int i = 0; i < count; i++)
        arguments[i] = words[i].data;

    bool bare_save = count == 1 && strcasecmp(arguments[0], "save") == 0;
    if (bare_save && (argc == 1 || is_option(argv[1]))) {
        arguments[count++] = "";
    } else {
        bool open = count == 1; /* a name alone takes whatever follows */

        while (count > 0 && taken < argc && (open || !is_option(argv[taken]))) {
            open = false;
            if (count == LOAD_WORDS_MAX) {
                count = line_error(loading, argv[0], strlen(argv[0]), "too many arguments");
                break;
            }
            arguments[count++] = argv[taken++];
        }
    }
    int result = count < 0 ? count : 0;
    if (count == 0)
        result = line_error(loading, argv[0], strlen(argv[0]),
                            "Bad directive or wrong number of arguments");
    for (int i = 1; i < count && result == 0; i++) {
        if (strlen(arguments[i]) > CONFIG_VALUE_MAX_BYTES)
            result = line_error(loading, argv[0], strlen(argv[0]), "argument is too long");
    }
    if (result == 0) {
        char shown[LOAD_SHOWN_MAX];
        size_t used = 0;

        for (int i = 0; i < count && used < sizeof(shown) - 1; i++)
            used += (size_t)snprintf(shown + used, sizeof(shown) - used, i == 0 ? "%s" : " \"%s\"",
                                     arguments[i]);
        result = run_words(loading, arguments, (unsigned)count, shown, strlen(shown));
    }
    free(copy);
    return result < 0 ? result : taken;
}

int load_arguments(struct config *config, int argc, char *const argv[], struct load_error *error)
{
    struct loading loading = {.config = config, .error = error, .file = "command line"};
    bool from_stdin = false;
    int result = 0;
    int first = 1;

    *error = (struct load_error){0};
    if (argc > LOAD_ARGUMENTS_MAX) {
        snprintf(error->reason, CONFIG_REASON_MAX, "Fatal error, too many arguments");
        return -E2BIG;
    }
    if (argc > first && argv[first][0] != '-') {
        result = remember_file(config, argv[first]);
        if (result == 0)
            result = load_file(config, config->file, error);
        else
            file_error(error, argv[first], "open", result);
        first++;
    }
    /* `-` counts where Redis looks for it: as the first argument or the last. */
    if (argc > first && first == 1 && strcmp(argv[first], "-") == 0) {
        from_stdin = true;
        first++;
    }
    if (argc > first && strcmp(argv[argc - 1], "-") == 0) {
        from_stdin = true;
        argc--;
    }
    if (result == 0 && from_stdin)
        result = load_stdin(config, error);
    for (int at = first; at < argc && result == 0;) {
        loading.line++;
        if (!is_option(argv[at])) {
            return line_error(&loading, argv[at], strlen(argv[at]),
                              "Bad directive or wrong number of arguments");
        }
        int taken = run_option(&loading, argc - at, argv + at);
        result = taken < 0 ? taken : 0;
        at += taken;
    }
    return result;
}

/* Loading: the configuration file and the command line, with Redis's rules.
 * Purpose:   `polluxd [file] [-] [--directive value ...]`: the file, then standard input, then the
 *            options. `include` takes patterns; everything is applied in the order read, the last
 *            value counts.
 * Ownership: nothing is kept but the values and `config->file`.
 * Threading: before any other thread exists.
 * Errors:    the first bad line ends it, described in a struct load_error; the configuration is
 *            then partly changed and only good for config_destroy. */
#ifndef CONFIG_LOAD_H
#define CONFIG_LOAD_H

#include "config/config.h"

enum {
    LOAD_FILE_MAX_BYTES = 16 << 20, /* of one file */
    LOAD_LINE_MAX_BYTES = CONFIG_VALUE_MAX_BYTES,
    LOAD_WORDS_MAX = 128, /* words of a line */
    LOAD_INCLUDE_DEPTH_MAX = 16,
    LOAD_FILES_MAX = 256,      /* files read in all: includes can fan out */
    LOAD_SHOWN_MAX = 256,      /* bytes of a line that an error repeats */
    LOAD_ARGUMENTS_MAX = 4096, /* of the command line */
};

/* What the command line asks for besides running. */
enum load_request { LOAD_RUN, LOAD_VERSION, LOAD_HELP };

struct load_error {
    char file
        [LOAD_SHOWN_MAX]; /* path, "standard input", "command line"; "": there is no line to name */
    unsigned line;        /* from 1; of the command line the number of the option; 0: none */
    char text[LOAD_SHOWN_MAX]; /* the line, cut where long */
    char reason[CONFIG_REASON_MAX];
};

/* `-v`, `--version`, `-h` and `--help` count as the first argument only. */
enum load_request load_requested(int argc, char *const argv[]);

/* Applies the command line. Returns 0, or -errno with `error` filled in. */
int load_arguments(struct config *config, int argc, char *const argv[], struct load_error *error);

/* Applies one file and what it includes. Returns 0, or -errno with `error` filled in. */
int load_file(struct config *config, const char *path, struct load_error *error);

/* Applies text as if it were a file of that name; for standard input and tests. */
int load_text(struct config *config, const char *name, const char *text, size_t len,
              struct load_error *error);

enum { LOAD_MESSAGE_MAX = 2 * LOAD_SHOWN_MAX + CONFIG_REASON_MAX + 256 };

/* Writes the lines to print before exiting, each ended by a newline, closed by NUL; returns the
 * length. */
size_t load_error_format(const struct load_error *error, char out[LOAD_MESSAGE_MAX]);

#endif

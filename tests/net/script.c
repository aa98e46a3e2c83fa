#include "tests/net/script.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 40, RANGE_MAX_BYTES = 120, DEPTH_MAX = 16 };

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = NULL;
    long size;

    if (file == NULL)
        return NULL;
    if (fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0) {
        rewind(file);
        text = calloc(1, (size_t)size + 1);
        if (text != NULL && fread(text, 1, (size_t)size, file) != (size_t)size) {
            free(text);
            text = NULL;
        }
    }
    fclose(file);
    return text;
}

bool script_split(struct script_line *line, char *text)
{
    char *rest = text, *word;

    /* A '#' starts a comment. */
    text[strcspn(text, "#")] = '\0';
    while ((word = strsep(&rest, " \t")) != NULL) {
        if (*word == '\0')
            continue;
        if (line->count == 0 && line->condition == NULL && word[0] == '[' &&
            word[strlen(word) - 1] == ']') {
            word[strlen(word) - 1] = '\0';
            line->condition = word + 1;
            continue;
        }
        if (line->count == SCRIPT_WORDS_MAX)
            return false;
        line->words[line->count++] = word;
    }
    return true;
}

struct script *script_load(const char *path)
{
    struct script *script = calloc(1, sizeof *script);
    char *rest, *text;
    unsigned number = 0;

    if (script == NULL)
        return NULL;
    script->path = strdup(path);
    script->text = read_file(path);
    if (script->path == NULL || script->text == NULL) {
        fprintf(stderr, "%s: cannot be read\n", path);
        script_free(script);
        return NULL;
    }
    rest = script->text;
    while ((text = strsep(&rest, "\n")) != NULL) {
        struct script_line *line = &script->lines[script->count];

        number++;
        if (script->count == SCRIPT_LINES_MAX || !script_split(line, text)) {
            fprintf(stderr, "%s:%u: too long\n", path, number);
            script_free(script);
            return NULL;
        }
        line->number = number;
        if (line->count > 0)
            script->count++;
        else
            memset(line, 0, sizeof *line);
    }
    return script;
}

void script_free(struct script *script)
{
    if (script == NULL)
        return;
    free(script->path);
    free(script->text);
    free(script);
}

/* ---- Expressions ----------------------------------------------------------------------------- */

struct parser {
    const char *at;
    script_lookup *lookup;
    void *arg;
    unsigned depth;
    bool bad;
};

static int64_t parse_sum(struct parser *parser);

static int64_t parse_number(struct parser *parser)
{
    char *end;
    double value = strtod(parser->at, &end);
    /* "1..5" is a range, not 1. followed by .5 */
    if (parser->at[0] == '0' && parser->at[1] == 'x') {
        value = (double)strtoull(parser->at, &end, 16);
    } else {
        const char *dot = parser->at;

        while (isdigit((unsigned char)*dot))
            dot++;
        if (dot[0] == '.' && dot[1] == '.')
            end = (char *)dot;
    }
    parser->at = end;
    if (strncmp(end, "us", 2) == 0) {
        parser->at += 2;
    } else if (strncmp(end, "ms", 2) == 0) {
        parser->at += 2;
        value *= 1000;
    } else if (end[0] == 's') {
        parser->at++;
        value *= 1000000;
    }
    return (int64_t)(value + 0.5);
}

static int64_t parse_name(struct parser *parser)
{
    char name[NAME_MAX_BYTES];
    size_t len = 0;
    int64_t value = 0;

    while (isalnum((unsigned char)parser->at[len]) || parser->at[len] == '_' ||
           (parser->at[len] == '.' && parser->at[len + 1] != '.'))
        len++;
    if (len == 0 || len >= sizeof name) {
        parser->bad = true;
        return 0;
    }
    memcpy(name, parser->at, len);
    name[len] = '\0';
    parser->at += len;
    if (!parser->lookup(parser->arg, name, &value))
        parser->bad = true;
    return value;
}

static int64_t parse_atom(struct parser *parser)
{
    int64_t value;

    if (++parser->depth > DEPTH_MAX) {
        parser->bad = true;
        return 0;
    }
    if (*parser->at == '(') {
        parser->at++;
        value = parse_sum(parser);
        if (*parser->at++ != ')')
            parser->bad = true;
    } else if (*parser->at == '-') {
        parser->at++;
        value = -parse_atom(parser);
    } else if (isdigit((unsigned char)*parser->at)) {
        value = parse_number(parser);
    } else {
        value = parse_name(parser);
    }
    parser->depth--;
    return value;
}

static int64_t parse_product(struct parser *parser)
{
    int64_t value = parse_atom(parser);

    while (!parser->bad && (*parser->at == '*' || *parser->at == '/' || *parser->at == '%')) {
        char operation = *parser->at++;
        int64_t right = parse_atom(parser);

        if (operation == '*')
            value *= right;
        else if (right == 0)
            parser->bad = true;
        else
            value = operation == '/' ? value / right : value % right;
    }
    return value;
}

static int64_t parse_sum(struct parser *parser)
{
    int64_t value = parse_product(parser);

    while (!parser->bad && (*parser->at == '+' || *parser->at == '-')) {
        char operation = *parser->at++;
        int64_t right = parse_product(parser);

        value = operation == '+' ? value + right : value - right;
    }
    return value;
}

bool script_evaluate(const char *text, script_lookup *lookup, void *arg, int64_t *value)
{
    struct parser parser = {.at = text, .lookup = lookup, .arg = arg};

    *value = parse_sum(&parser);
    return !parser.bad && *parser.at == '\0';
}

bool script_range(const char *text, script_lookup *lookup, void *arg, int64_t *first, int64_t *last)
{
    const char *dots = strstr(text, "..");
    char left[RANGE_MAX_BYTES];

    if (dots == NULL) {
        if (!script_evaluate(text, lookup, arg, first))
            return false;
        *last = *first;
        return true;
    }
    if ((size_t)(dots - text) >= sizeof left)
        return false;
    memcpy(left, text, (size_t)(dots - text));
    left[dots - text] = '\0';
    return script_evaluate(left, lookup, arg, first) &&
           script_evaluate(dots + 2, lookup, arg, last);
}

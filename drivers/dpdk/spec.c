#include "drivers/dpdk/spec.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool all_of(const char *text, size_t len, const char *accepted)
{
    return strspn(text, accepted) >= len;
}

/* Matches "DDDD:BB:DD.F" or, with the domain left out, "BB:DD.F", in hexadecimal digits. */
static bool is_pci(const char *name, size_t len)
{
    static const char hex[] = "0123456789abcdefABCDEF";

    if (len == 12) {
        if (!all_of(name, 4, hex) || name[4] != ':')
            return false;
        name += 5;
        len -= 5;
    }
    return len == 7 && all_of(name, 2, hex) && name[2] == ':' && all_of(name + 3, 2, hex) &&
           name[5] == '.' && name[6] >= '0' && name[6] <= '7';
}

static bool is_virtual(const char *name, size_t len)
{
    return len > 4 && len < DPDK_NAME_MAX && strncmp(name, "net_", 4) == 0 && islower(name[4]) &&
           all_of(name, len, "abcdefghijklmnopqrstuvwxyz0123456789_");
}

/* Arguments are "key=value" or "key" between commas; brackets group a list in one value. */
static const char *wrong_args(const char *args)
{
    const char *at = args;
    int depth = 0;

    for (;;) {
        if (!islower(*at) && !isupper(*at))
            return "an argument has no name";
        for (; *at != '\0' && (*at != ',' || depth > 0); at++) {
            depth += (*at == '[') - (*at == ']');
            if (depth < 0 || *at <= ' ' || *at == '\x7f')
                return depth < 0 ? "a ']' without its '['" : "it holds a blank";
        }
        if (*at == '\0')
            return depth == 0 ? NULL : "a '[' without its ']'";
        at++;
    }
}

__attribute__((format(printf, 2, 3))) static int wrong(char *error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, DPDK_ERROR_MAX, format, args);
    va_end(args);
    return -EINVAL;
}

int dpdk_spec_parse(const char *text, struct dpdk_spec *spec, char *error)
{
    size_t len = strcspn(text, ",");
    const char *args = text[len] == ',' ? text + len + 1 : "";
    const char *reason;

    memset(spec, 0, sizeof(*spec));
    if (is_pci(text, len)) {
        spec->pci = true;
        snprintf(spec->name, sizeof(spec->name), "%s%.*s", len == 7 ? "0000:" : "", (int)len, text);
        for (char *at = spec->name; *at != '\0'; at++)
            *at = (char)tolower(*at);
    } else if (is_virtual(text, len)) {
        memcpy(spec->name, text, len);
        memcpy(spec->driver, text, len);
        while (isdigit(spec->driver[len - 1]))
            spec->driver[--len] = '\0';
    } else {
        return wrong(error,
                     "'%.80s' names no port: give a PCI address (0000:03:00.0) or a virtual device "
                     "(net_memif0,role=server,socket=PATH)",
                     text);
    }
    if (strlen(args) >= sizeof(spec->args))
        return wrong(error, "port %s: its arguments are longer than %d bytes", spec->name,
                     DPDK_SPEC_MAX - 1);
    strcpy(spec->args, args);
    reason = text[strcspn(text, ",")] == ',' ? wrong_args(args) : NULL;
    if (reason != NULL)
        return wrong(error, "port %s: cannot read its arguments '%.80s': %s", spec->name, args,
                     reason);
    return 0;
}

bool dpdk_spec_value(const struct dpdk_spec *spec, const char *key, char *value, size_t size)
{
    size_t key_len = strlen(key);

    for (const char *at = spec->args; *at != '\0'; at += at[0] == ',') {
        const char *end = at;

        for (int depth = 0; *end != '\0' && (*end != ',' || depth > 0); end++)
            depth += (*end == '[') - (*end == ']');
        if (strncmp(at, key, key_len) == 0 && at[key_len] == '=') {
            size_t len = (size_t)(end - at) - key_len - 1;

            if (len >= size)
                return false;
            memcpy(value, at + key_len + 1, len);
            value[len] = '\0';
            return true;
        }
        at = end;
    }
    return false;
}

int dpdk_spec_default(struct dpdk_spec *spec, const char *key, unsigned number)
{
    char value[DPDK_SPEC_MAX];
    size_t used = strlen(spec->args);
    int len;

    if (dpdk_spec_value(spec, key, value, sizeof(value)))
        return 0;
    len = snprintf(spec->args + used, sizeof(spec->args) - used, "%s%s=%u", used > 0 ? "," : "",
                   key, number);
    if ((size_t)len < sizeof(spec->args) - used)
        return 0;
    spec->args[used] = '\0';
    return -ENOSPC;
}

int dpdk_spec_text(const struct dpdk_spec *spec, char *text, size_t size)
{
    int len =
        snprintf(text, size, "%s%s%s", spec->name, spec->args[0] != '\0' ? "," : "", spec->args);

    return (size_t)len < size ? 0 : -ENOSPC;
}

#include "dataplane/commands/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_BYTES = 4096,
    LINE_BYTES = 512, /* longer ones are formatted twice */
};

static char *room(struct report *report, size_t need_bytes)
{
    size_t capacity = report->capacity_bytes == 0 ? FIRST_BYTES : report->capacity_bytes;

    if (report->failed)
        return NULL;
    while (capacity - report->len_bytes < need_bytes)
        capacity *= 2;
    if (capacity != report->capacity_bytes) {
        char *text = realloc(report->text, capacity);
        if (text == NULL) {
            report->failed = true;
            return NULL;
        }
        report->text = text;
        report->capacity_bytes = capacity;
    }
    return report->text + report->len_bytes;
}

void report_bytes(struct report *report, const char *data, size_t len_bytes)
{
    char *at = len_bytes > 0 ? room(report, len_bytes) : NULL;

    if (at == NULL)
        return;
    memcpy(at, data, len_bytes);
    report->len_bytes += len_bytes;
}

void report_text(struct report *report, const char *text)
{
    report_bytes(report, text, strlen(text));
}

void report_format(struct report *report, const char *format, ...)
{
    va_list list, again;
    char *at = room(report, LINE_BYTES);

    if (at == NULL)
        return;
    va_start(list, format);
    va_copy(again, list);
    int len = vsnprintf(at, LINE_BYTES, format, list);
    if (len >= LINE_BYTES && (at = room(report, (size_t)len + 1)) != NULL)
        vsnprintf(at, (size_t)len + 1, format, again);
    va_end(again);
    va_end(list);
    if (len < 0 || at == NULL)
        report->failed = true;
    else
        report->len_bytes += (size_t)len;
}

void report_reply(struct report *report, struct reply *reply)
{
    if (report->failed)
        reply_error(reply, "-OOM no memory for the text");
    else
        reply_verbatim(reply, "txt",
                       (struct text){report->text != NULL ? report->text : "", report->len_bytes});
    free(report->text);
    *report = (struct report){0};
}

void report_size(uint64_t bytes, char text[REPORT_SIZE_MAX])
{
    static const char units[] = "BKMGTP";
    double shown = (double)bytes;
    int unit = 0;

    while (shown >= 1024 && unit < 5) {
        shown /= 1024;
        unit++;
    }
    if (unit == 0)
        snprintf(text, REPORT_SIZE_MAX, "%lluB", (unsigned long long)bytes);
    else
        snprintf(text, REPORT_SIZE_MAX, "%.2f%c", shown, units[unit]);
}

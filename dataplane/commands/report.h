/* Report: a text that is written piece by piece, then replied as one.
 * Purpose:   INFO and the other commands that answer in prose or tables.
 * Ownership: the caller's, on its stack; report_reply frees what it holds.
 * Threading: the worker that answers.
 * Errors:    without memory the reply says so. */
#ifndef DATAPLANE_COMMANDS_REPORT_H
#define DATAPLANE_COMMANDS_REPORT_H

#include "dataplane/commands/command.h"

struct report { /* zeroed is empty */
    char *text;
    size_t len_bytes, capacity_bytes;
    bool failed;
};

void report_bytes(struct report *report, const char *data, size_t len_bytes);
void report_text(struct report *report, const char *text);
__attribute__((format(printf, 2, 3))) void report_format(struct report *report, const char *format,
                                                         ...);
/* A verbatim string (a bulk string in RESP2). */
void report_reply(struct report *report, struct reply *reply);

enum { REPORT_SIZE_MAX = 32 };
/* "1.50M", as Redis writes sizes for people. */
void report_size(uint64_t bytes, char text[REPORT_SIZE_MAX]);

#endif

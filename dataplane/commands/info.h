/* INFO's sections: each file of the family writes some of them.
 * Purpose:   the names of redis-server 7.0, in its order, with true values; where a feature is not
 *            there its figures are those of a server that does not use it.
 * Ownership: the report is the command's.
 * Threading: the worker that answers; other workers' figures are read through relaxed atomics, so
 *            nobody waits and figures of one answer may be of slightly different moments.
 * Errors:    kept by the report. */
#ifndef DATAPLANE_COMMANDS_INFO_H
#define DATAPLANE_COMMANDS_INFO_H

#include "dataplane/commands/command.h"
#include "dataplane/commands/report.h"

/* Each writes its section's lines, without the title. */
void info_server(struct call *call, struct report *report);
void info_clients(struct call *call, struct report *report);
void info_memory(struct call *call, struct report *report);
void info_persistence(struct call *call, struct report *report);
void info_stats(struct call *call, struct report *report);
void info_replication(struct call *call, struct report *report);
void info_cpu(struct call *call, struct report *report);
void info_modules(struct call *call, struct report *report);
void info_commandstats(struct call *call, struct report *report);
void info_errorstats(struct call *call, struct report *report);
void info_latencystats(struct call *call, struct report *report);
void info_cluster(struct call *call, struct report *report);
void info_keyspace(struct call *call, struct report *report);
void info_workers(struct call *call, struct report *report);
void info_network(struct call *call, struct report *report);

/* "name:value\r\n". */
void info_number(struct report *report, const char *name, uint64_t value);
void info_text(struct report *report, const char *name, const char *value);
/* Figures that are 0 as long as what they count is not there; the list ends with NULL. */
void info_zeros(struct report *report, const char *const *names);

#endif

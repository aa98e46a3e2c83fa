/* Latency monitor of one worker: events that took latency-monitor-threshold or longer, the last 160 of each event.
 * Ownership: the worker's. Threading: its thread; others ask by a gather. Errors: without memory an event is left out. */
#ifndef DATAPLANE_COMMANDS_LATENCY_H
#define DATAPLANE_COMMANDS_LATENCY_H

#include <stdint.h>

struct latency;
struct worker;

enum { LATENCY_SAMPLES = 160, LATENCY_EVENTS_MAX = 16 };

struct latency *latency_create(void);
void latency_destroy(struct latency *latency);
/* `event`: a constant string such as "command", "fast-command", "expire-cycle", "eviction-cycle". The caller has compared with the threshold. */
void latency_note(struct worker *worker, const char *event, uint64_t duration_ms);

#endif

/* A stack with a connection in some state, for the fuzz targets of the network stack.
 * Purpose:   what the targets share: the way into the state, looking at what is sent, the end.
 * Ownership: memory is made at the first input and kept for all others.
 * Threading: none.
 * Errors:    a fault of the stack aborts, as libFuzzer wants it. */
#ifndef POLLUX_TESTS_FUZZ_NET_STATE_H
#define POLLUX_TESTS_FUZZ_NET_STATE_H

#include "tests/net/case.h"

/* The first two bytes of an input choose variant and state. */
struct run *net_state_enter(const uint8_t choice[2]);
/* Everything that was sent has to be well-formed; it tells the peer where it stands. */
void net_state_look(struct run *run);
/* The peer's next segment: in order, acknowledging all that it saw, without payload. */
void net_state_segment(const struct run *run, struct segment *segment);
/* The state of the peer's flow, enum net_state. */
int64_t net_state_now(struct run *run);
/* Ends the run, telling what is wrong. */
_Noreturn void net_state_stop(const char *what, const char *why);
/* Time for all timers, then the end; nothing may be left. */
void net_state_leave(struct run *run);

#endif

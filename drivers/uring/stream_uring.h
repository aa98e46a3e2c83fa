/* Streams over io_uring: kernel sockets, the default.
 * Purpose:   the stream driver "uring": multishot accept and receive, provided buffers, batched
 *            sends; one system call for each turn of a busy worker.
 * Ownership, threading, errors: those of drivers/stream.h. Needs kernel 6.0; -ENOSYS before. */
#ifndef DRIVERS_URING_STREAM_URING_H
#define DRIVERS_URING_STREAM_URING_H

#include "drivers/stream.h"

extern const struct stream_driver stream_uring;

#endif

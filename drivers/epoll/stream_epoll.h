/* Streams over epoll(7): kernel sockets where io_uring is forbidden.
 * Purpose:   the stream driver "epoll": edge-triggered, one recv for each event, one send for each
 *            connection that has output.
 * Ownership, threading, errors: those of drivers/stream.h. A stream may be made by one thread and
 *            used by another, and destroyed by a third once the second has ended. */
#ifndef DRIVERS_EPOLL_STREAM_EPOLL_H
#define DRIVERS_EPOLL_STREAM_EPOLL_H

#include "drivers/stream.h"

extern const struct stream_driver stream_epoll;

/* Whenever `fd` becomes readable, it ends the stream's sleep; nobody reads it. It stays the caller's
 * and is open as long as the stream. 0 or a negative errno. */
int stream_epoll_watch(struct stream *stream, int fd);

#endif

/* Listening sockets of the kernel: bound once at start, one per worker and address.
 * Purpose:   bind TCP (SO_REUSEPORT, so that each worker accepts for itself) and unix sockets.
 * Ownership: the caller owns every descriptor returned.
 * Threading: any; no state.
 * Errors:    negative errno, and a line in `error` that names address, port and reason. */
#ifndef DRIVERS_LISTEN_H
#define DRIVERS_LISTEN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { LISTEN_ERROR_MAX = 256 };

/* Binds one TCP socket. `address` is an IPv4 or IPv6 literal or "*" / "::*"; a caller that saw a
 * leading "-" in the directive strips it and ignores EADDRNOTAVAIL/EAFNOSUPPORT. IPv6 sockets are
 * V6ONLY. Non-blocking, close-on-exec. Returns the descriptor. SO_REUSEPORT alone would let two
 * servers share a port: call listen_probe before the first socket of a port. */
int listen_tcp(const char *address, uint16_t port, int backlog, char error[LISTEN_ERROR_MAX]);

/* Returns 0 when nobody listens on address:port, else -EADDRINUSE (or why it cannot be bound at
 * all) and the line. Nothing listens there meanwhile, so no client is turned away. */
int listen_probe(const char *address, uint16_t port, char error[LISTEN_ERROR_MAX]);

/* Binds a TCP socket that never listens: no other program gets address:port, and the kernel opens
 * no connection from it, while the descriptor is open. A segment that comes to it is refused. */
int listen_reserve(const char *address, uint16_t port, char error[LISTEN_ERROR_MAX]);

/* Binds a unix socket that never has more permissions than `mode` (0: what the umask leaves).
 * Replaces a socket file that nobody serves any more; -EADDRINUSE for one that is served and for
 * a file that is no socket. */
int listen_unix(const char *path, mode_t mode, int backlog, char error[LISTEN_ERROR_MAX]);

/* Raises RLIMIT_NOFILE towards `wanted`; returns the limit in force afterwards. */
uint64_t listen_raise_fd_limit(uint64_t wanted);

#endif

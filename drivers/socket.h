/* Kernel sockets, as far as both drivers that use them are alike.
 * Purpose:   options of connections, and the texts of their addresses.
 * Ownership: descriptors stay the caller's.
 * Threading: any; no state.
 * Errors:    negative errno. */
#ifndef DRIVERS_SOCKET_H
#define DRIVERS_SOCKET_H

#include <stdbool.h>

#include "drivers/stream.h"

/* Sets TCP_NODELAY and keepalive (0 is off); nothing for other families. On a listening socket
 * before it accepts, as connections inherit both (tcp(7)): no call for each of them. */
int socket_set_options(int fd, unsigned keepalive_s);

/* O_NONBLOCK on or off. */
int socket_set_blocking(int fd, bool blocking);

int socket_peer(int fd, char text[STREAM_ADDRESS_TEXT_MAX]);
int socket_local(int fd, char text[STREAM_ADDRESS_TEXT_MAX]);
bool socket_is_loopback(int fd); /* also true for unix sockets */

/* Throws away what has arrived and was not read, before a close: the kernel answers a close over
 * unread bytes with a reset, which makes the peer lose what it has not read yet, such as the error
 * that made us close. Bounded by SOCKET_DISCARD_MAX; a peer that keeps sending gets the reset. */
void socket_discard_input(int fd);

/* Whether trying again at once is of no use after accept(2) failed: for want of a descriptor or of
 * memory. Not so if only that one connection is broken or forbidden (accept(2), "Errors"). */
bool socket_accept_must_wait(int error);

enum {
    SOCKET_DISCARD_MAX = 1 << 20,
    SOCKET_ACCEPT_RETRY_US = 100000, /* how long accepting rests then */
};

#endif

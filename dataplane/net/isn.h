/* Numbers that others must not be able to guess: initial sequence numbers (RFC 6528), timestamp
 * offsets (RFC 7323 section 5.4) and SYN cookies (RFC 4987 section 3.6).
 * Purpose:   all are SipHash-1-3 of the flow under the boot's secret, so nothing is stored.
 * Cookie:    27 bits of hash, 3 bits of MSS, 2 bits of time. What else was negotiated stands in
 *            the low bits of our timestamp and is covered by the hash; a peer without timestamps
 *            gets neither window scale nor SACK.
 * Ownership: the caller's struct. Threading: one worker; all workers of a process may have the
 *            same secret, so that a segment that reaches another one is still understood.
 * Errors:    a cookie that is not ours, too old, or that comes though none was sent is refused. */
#ifndef DATAPLANE_NET_ISN_H
#define DATAPLANE_NET_ISN_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/net/address.h"
#include "dataplane/net/siphash.h"

enum {
    ISN_SECRET_LEN = 48,      /* random bytes */
    ISN_COOKIE_PERIOD_S = 64, /* a cookie is good for one to two periods */
    ISN_NO_WINDOW_SCALE = 0xff,
};

struct isn {
    struct siphash_key sequence, timestamp, cookie;
    uint64_t cookies_until_us; /* cookies are looked for until then; 0: none was sent */
};

void isn_init(struct isn *isn, const uint8_t secret[ISN_SECRET_LEN]);

/* The ISN of a new connection: RFC 6528's hash plus a clock of 4 us. */
uint32_t isn_sequence(const struct isn *isn, const struct net_flow *flow, uint64_t now_us);
/* What is added to the millisecond clock in this flow's timestamps. The same for each incarnation
 * of a flow, so that timestamps grow from one to the next (RFC 6191). */
uint32_t isn_timestamp_offset(const struct isn *isn, const struct net_flow *flow);

/* What a cookie carries from the SYN to the ACK. */
struct isn_cookie {
    uint16_t mss;         /* rounded down to one of eight values; of smaller ones, the smallest */
    uint8_t window_scale; /* the peer's, 0 to 14, or ISN_NO_WINDOW_SCALE */
    bool sack, ecn;
    bool timestamps; /* false: window_scale, sack and ecn are lost */
};

/* The ISN of a SYN-ACK that keeps no state. `irs` is the SYN's sequence number. `ts_value` is our
 * timestamp for the SYN-ACK, offset included, if wanted->timestamps: its low bits are replaced,
 * and it becomes at most 64 ms older. `given` gets what the cookie carries, for the SYN-ACK's
 * options. */
uint32_t isn_cookie_make(struct isn *isn, const struct net_flow *flow, uint32_t irs,
                         const struct isn_cookie *wanted, uint64_t now_us, uint32_t *ts_value,
                         struct isn_cookie *given);
/* Whether an ACK completes a handshake made by isn_cookie_make: `seq` and `ack` are those of the
 * segment, `ts_echo` its echoed timestamp if it has `timestamps`. */
bool isn_cookie_check(const struct isn *isn, const struct net_flow *flow, uint32_t seq,
                      uint32_t ack, bool timestamps, uint32_t ts_echo, uint64_t now_us,
                      struct isn_cookie *cookie);

#endif

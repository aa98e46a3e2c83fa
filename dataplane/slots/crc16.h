/* CRC16: which of the 16,384 slots a key belongs to, as Redis Cluster says it.
 * Source:    Redis Cluster specification, "Key distribution model" and "Hash tags": CRC16/XMODEM
 *            (polynomial 0x1021, initial value 0, not reflected) of the key, or of what stands
 *            between the first '{' and the first '}' behind it when that is not empty, modulo
 *            16384.
 * Threading: pure functions of their arguments.
 * Errors:    none. */
#ifndef DATAPLANE_SLOTS_CRC16_H
#define DATAPLANE_SLOTS_CRC16_H

#include <stddef.h>
#include <stdint.h>

enum { CRC16_SLOTS = 16384 };

uint16_t crc16(const char *data, size_t len_bytes);
uint16_t crc16_slot(const char *key, size_t len_bytes);

#endif

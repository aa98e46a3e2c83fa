#include "dataplane/net/checksum.h"

uint64_t checksum_sum(const void *data, size_t len)
{
    return checksum_sum_inline(data, len);
}

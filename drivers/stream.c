#include "drivers/stream.h"

#include <string.h>

#include "drivers/epoll/stream_epoll.h"
#include "drivers/uring/stream_uring.h"

const struct stream_driver *stream_driver_find(const char *name)
{
    static const struct stream_driver *const drivers[] = {&stream_uring, &stream_epoll};

    for (unsigned i = 0; i < sizeof drivers / sizeof *drivers; i++) {
        if (strcmp(name, drivers[i]->name) == 0)
            return drivers[i];
    }
    return NULL;
}

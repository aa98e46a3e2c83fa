#include "drivers/uring/buffers.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

static void *buffers_map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

static size_t buffers_ring_bytes(const struct buffers *buffers)
{
    return buffers->count * sizeof(struct io_uring_buf);
}

/* Writes the entry behind those that the kernel may see; buffers_publish shows it. */
static void buffers_add(struct buffers *buffers, unsigned id)
{
    io_uring_buf_ring_add(buffers->ring, buffers_data(buffers, id), buffers->buffer_bytes,
                          (unsigned short)id, io_uring_buf_ring_mask(buffers->count),
                          (int)buffers->taken);
    buffers->taken++;
}

static void buffers_activate(struct buffers *buffers, unsigned active)
{
    while (buffers->active < buffers->count && buffers->active < active)
        buffers_add(buffers, buffers->active++);
}

int buffers_init(struct buffers *buffers, struct ring *ring, unsigned count, unsigned buffer_bytes)
{
    *buffers = (struct buffers){.count = count, .buffer_bytes = buffer_bytes};
    if (count == 0 || count > BUFFERS_COUNT_MAX || (count & (count - 1)) != 0 || buffer_bytes == 0)
        return -EINVAL;
    buffers->memory_bytes = (size_t)count * (buffer_bytes + BUFFERS_STAGGER_BYTES);
    buffers->memory = buffers_map(buffers->memory_bytes);
    buffers->ring = buffers_map(buffers_ring_bytes(buffers));
    if (buffers->memory == NULL || buffers->ring == NULL)
        return -ENOMEM;
    struct io_uring_buf_reg registration = {.ring_addr = (uint64_t)(uintptr_t)buffers->ring,
                                            .ring_entries = count,
                                            .bgid = BUFFERS_GROUP};
    int result = io_uring_register_buf_ring(&ring->io, &registration, 0);
    if (result < 0)
        return result;
    io_uring_buf_ring_init(buffers->ring);
    buffers_activate(buffers, BUFFERS_START);
    buffers_publish(buffers);
    return 0;
}

void buffers_fini(struct buffers *buffers)
{
    if (buffers->memory != NULL)
        munmap(buffers->memory, buffers->memory_bytes);
    if (buffers->ring != NULL)
        munmap(buffers->ring, buffers_ring_bytes(buffers));
}

void buffers_take(struct buffers *buffers, unsigned id)
{
    assert(id < buffers->active && buffers->taken < buffers->active);
    buffers_add(buffers, id);
}

void buffers_publish(struct buffers *buffers)
{
    if (buffers->ran_out)
        buffers_activate(buffers, buffers->active * 2);
    buffers->ran_out = false;
    if (buffers->taken == 0)
        return;
    io_uring_buf_ring_advance(buffers->ring, (int)buffers->taken);
    buffers->taken = 0;
}

#include "drivers/transmit.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "drivers/stream.h"

/* Own memory follows the header; adopted memory is elsewhere and has room 0. */
struct transmit_piece {
    struct transmit_piece *next;
    const char *data;
    size_t filled_bytes;
    size_t sent_bytes;
    size_t room_bytes; /* of all of `data` */
    void (*release)(void *arg);
    void *arg;
    uint64_t unused; /* own memory starts on a cache line of its own */
    char memory[];
};

static_assert(sizeof(struct transmit_piece) == 64, "one cache line before the room");
static_assert((int)TRANSMIT_LARGE_BYTES > (int)TRANSMIT_SMALL_BYTES, "two sizes");
static_assert((int)TRANSMIT_LARGE_BYTES >= (int)STREAM_RESERVE_MAX, "what may be reserved fits");

void transmit_pool_init(struct transmit_pool *pool)
{
    *pool = (struct transmit_pool){{NULL, 0}, {NULL, 0}, {NULL, 0}};
}

static void transmit_spare_free(struct transmit_spare *spare)
{
    while (spare->first != NULL) {
        struct transmit_piece *piece = spare->first;
        spare->first = piece->next;
        free(piece);
    }
    spare->count = 0;
}

void transmit_pool_fini(struct transmit_pool *pool)
{
    transmit_spare_free(&pool->small);
    transmit_spare_free(&pool->large);
    transmit_spare_free(&pool->adopted);
}

/* Takes a piece with room for `room_bytes` of its own, empty and unlinked. */
static struct transmit_piece *transmit_get(struct transmit_spare *spare, size_t room_bytes)
{
    struct transmit_piece *piece = spare->first;

    if (piece != NULL) {
        spare->first = piece->next;
        spare->count--;
    } else {
        piece = malloc(sizeof *piece + room_bytes);
        if (piece == NULL)
            return NULL;
        piece->room_bytes = room_bytes;
        piece->data = piece->memory;
        piece->release = NULL;
    }
    piece->next = NULL;
    piece->filled_bytes = 0;
    piece->sent_bytes = 0;
    return piece;
}

static void transmit_put(struct transmit_pool *pool, struct transmit_piece *piece)
{
    struct transmit_spare *spare = &pool->adopted;
    unsigned spare_max = TRANSMIT_SPARE_ADOPTED;

    if (piece->room_bytes == TRANSMIT_SMALL_BYTES) {
        spare = &pool->small;
        spare_max = TRANSMIT_SPARE_SMALL;
    } else if (piece->room_bytes == TRANSMIT_LARGE_BYTES) {
        spare = &pool->large;
        spare_max = TRANSMIT_SPARE_LARGE;
    } else if (piece->release != NULL) {
        piece->release(piece->arg);
    }
    if (spare->count >= spare_max) {
        free(piece);
        return;
    }
    piece->next = spare->first;
    spare->first = piece;
    spare->count++;
}

static void transmit_link(struct transmit *queue, struct transmit_piece *piece)
{
    if (queue->tail == NULL)
        queue->head = piece;
    else
        queue->tail->next = piece;
    queue->tail = piece;
}

/* A reservation that was not used leaves an empty piece at the end: it can serve the next one
 * only if it is large enough. An empty one in the middle is skipped when its turn comes. */
char *transmit_reserve(struct transmit_pool *pool, struct transmit *queue, size_t len_bytes,
                       size_t *room_bytes)
{
    struct transmit_piece *piece = queue->tail;

    assert(len_bytes <= TRANSMIT_LARGE_BYTES);
    if (piece == NULL || piece->room_bytes < piece->filled_bytes + len_bytes ||
        piece->room_bytes == piece->filled_bytes) {
        /* Also after adopted memory: what follows a large value is mostly short. */
        bool small = (piece == NULL || piece->room_bytes == 0) && len_bytes <= TRANSMIT_SMALL_BYTES;
        piece = small ? transmit_get(&pool->small, TRANSMIT_SMALL_BYTES)
                      : transmit_get(&pool->large, TRANSMIT_LARGE_BYTES);
        if (piece == NULL)
            return NULL;
        transmit_link(queue, piece);
    }
    *room_bytes = piece->room_bytes - piece->filled_bytes;
    return piece->memory + piece->filled_bytes;
}

void transmit_commit(struct transmit *queue, size_t len_bytes)
{
    struct transmit_piece *piece = queue->tail;

    if (len_bytes == 0)
        return;
    assert(piece != NULL && len_bytes <= piece->room_bytes - piece->filled_bytes);
    piece->filled_bytes += len_bytes;
}

int transmit_append(struct transmit_pool *pool, struct transmit *queue, const char *data,
                    size_t len_bytes, void (*release)(void *arg), void *arg)
{
    struct transmit_piece *piece = transmit_get(&pool->adopted, 0);

    if (piece == NULL)
        return -ENOMEM;
    piece->data = data;
    piece->filled_bytes = len_bytes;
    piece->release = release;
    piece->arg = arg;
    transmit_link(queue, piece);
    return 0;
}

unsigned transmit_next(const struct transmit *queue, struct iovec *iov, unsigned iov_max)
{
    unsigned count = 0;

    for (struct transmit_piece *piece = queue->head; piece != NULL && count < iov_max;
         piece = piece->next) {
        if (piece->filled_bytes == piece->sent_bytes)
            continue;
        iov[count].iov_base = (char *)(uintptr_t)(piece->data + piece->sent_bytes);
        iov[count].iov_len = piece->filled_bytes - piece->sent_bytes;
        count++;
    }
    return count;
}

static void transmit_pop(struct transmit_pool *pool, struct transmit *queue)
{
    struct transmit_piece *piece = queue->head;

    queue->head = piece->next;
    if (queue->head == NULL)
        queue->tail = NULL;
    transmit_put(pool, piece);
}

void transmit_sent(struct transmit_pool *pool, struct transmit *queue, size_t len_bytes)
{
    while (queue->head != NULL) {
        struct transmit_piece *piece = queue->head;
        size_t left_bytes = piece->filled_bytes - piece->sent_bytes;

        if (left_bytes > len_bytes) {
            piece->sent_bytes += len_bytes;
            return;
        }
        len_bytes -= left_bytes;
        transmit_pop(pool, queue);
    }
    assert(len_bytes == 0);
}

void transmit_drop(struct transmit_pool *pool, struct transmit *queue)
{
    while (queue->head != NULL)
        transmit_pop(pool, queue);
}

#include "dataplane/store/lines.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum {
    LINES_WORDS = MEMORY_PAGE_BYTES / (MEMORY_LINES_MAX * MEMORY_LINE_BYTES),
    LINES_WORD_BYTES = MEMORY_LINES_MAX * MEMORY_LINE_BYTES,
};

struct lines_page {
    struct page page;
    struct lines_word words[LINES_WORDS];
};

enum {
    LINES_HEADER = (sizeof(struct lines_page) + MEMORY_LINE_BYTES - 1) / MEMORY_LINE_BYTES,
};
_Static_assert(LINES_WORDS == 16, "struct page has room for 16 runs");

static struct lines_page *page_of(const void *address)
{
    return (struct lines_page *)pages_of(address);
}

static unsigned word_index(const struct lines_word *word)
{
    return (unsigned)(word - page_of(word)->words);
}

static uint64_t mask_of(unsigned count, unsigned first)
{
    return (~0ull >> (MEMORY_LINES_MAX - count)) << first;
}

/* Each round shortens every run of ones by one. */
static unsigned longest_run(uint64_t free)
{
    unsigned run = 0;

    for (; free != 0; run++)
        free &= free >> 1;
    return run;
}

/* Where the shortest run of at least `count` ones begins; there is one. */
static unsigned best_run(uint64_t free, unsigned count)
{
    unsigned best = 0, best_length = MEMORY_LINES_MAX + 1;

    while (free != 0) {
        unsigned first = (unsigned)__builtin_ctzll(free);
        uint64_t rest = ~(free >> first);
        unsigned length = rest != 0 ? (unsigned)__builtin_ctzll(rest) : MEMORY_LINES_MAX;

        if (length >= count && length < best_length) {
            best = first;
            best_length = length;
        }
        free &= ~mask_of(length, first);
    }
    assert(best_length <= MEMORY_LINES_MAX);
    return best;
}

static void list(struct lines *lines, struct lines_word *word)
{
    unsigned run = longest_run(word->free);

    page_of(word)->page.lines.run[word_index(word)] = (uint8_t)run;
    if (run == 0)
        return;
    word->previous = NULL;
    word->next = lines->heads[run];
    if (word->next != NULL)
        word->next->previous = word;
    lines->heads[run] = word;
    lines->listed |= 1ull << (run - 1);
}

static void unlist(struct lines *lines, struct lines_word *word)
{
    unsigned run = page_of(word)->page.lines.run[word_index(word)];

    if (run == 0)
        return;
    if (word->previous != NULL)
        word->previous->next = word->next;
    else
        lines->heads[run] = word->next;
    if (word->next != NULL)
        word->next->previous = word->previous;
    if (lines->heads[run] == NULL)
        lines->listed &= ~(1ull << (run - 1));
}

static bool add_page(struct lines *lines)
{
    struct lines_page *page = (struct lines_page *)pages_get(lines->pages);

    if (page == NULL)
        return false;
    page->page.is_lines = true;
    /* Listed last to first: the low words are handed out first. */
    for (unsigned i = LINES_WORDS; i-- > 0;) {
        page->words[i].free = i == 0 ? ~0ull << LINES_HEADER : ~0ull;
        list(lines, &page->words[i]);
    }
    lines->empty_pages++;
    return true;
}

static void drop_page(struct lines *lines, struct lines_page *page)
{
    for (unsigned i = 0; i < LINES_WORDS; i++)
        unlist(lines, &page->words[i]);
    lines->empty_pages--;
    pages_put(lines->pages, &page->page);
}

static void *take(struct lines *lines, struct lines_word *word, unsigned count)
{
    struct lines_page *page = page_of(word);
    unsigned first = best_run(word->free, count);

    unlist(lines, word);
    word->free &= ~mask_of(count, first);
    list(lines, word);
    if (page->page.lines.used_lines == 0)
        lines->empty_pages--;
    page->page.lines.used_lines += count;
    return (char *)page + (size_t)word_index(word) * LINES_WORD_BYTES +
           (size_t)first * MEMORY_LINE_BYTES;
}

void lines_init(struct lines *lines, struct pages *pages)
{
    memset(lines, 0, sizeof(*lines));
    lines->pages = pages;
}

void *lines_alloc(struct lines *lines, unsigned count)
{
    assert(count >= 1 && count <= MEMORY_LINES_MAX);

    uint64_t fitting = lines->listed >> (count - 1);

    if (fitting == 0) {
        if (!add_page(lines))
            return NULL;
        fitting = lines->listed >> (count - 1);
    }
    return take(lines, lines->heads[count + (unsigned)__builtin_ctzll(fitting)], count);
}

void lines_free(struct lines *lines, void *block, unsigned count)
{
    struct lines_page *page = page_of(block);
    size_t offset = (size_t)((char *)block - (char *)page);
    struct lines_word *word = &page->words[offset / LINES_WORD_BYTES];
    uint64_t mask = mask_of(count, offset % LINES_WORD_BYTES / MEMORY_LINE_BYTES);

    assert((word->free & mask) == 0);
    unlist(lines, word);
    word->free |= mask;
    list(lines, word);
    page->page.lines.used_lines -= count;
    if (page->page.lines.used_lines == 0 && lines->empty_pages++ > 0)
        drop_page(lines, page);
}

void *lines_better(struct lines *lines, const void *block, unsigned count)
{
    struct lines_page *page = page_of(block);
    struct lines_word *own = &page->words[((uintptr_t)block - (uintptr_t)page) / LINES_WORD_BYTES];
    uint64_t fitting = lines->listed >> (count - 1);

    if (fitting == 0)
        return NULL;

    unsigned run = count + (unsigned)__builtin_ctzll(fitting);
    struct lines_word *word = lines->heads[run];

    /* A hole of just this size is always better; else only a word with less free room than the own one. */
    if (word == own ||
        (run != count && __builtin_popcountll(word->free) >= __builtin_popcountll(own->free)))
        return NULL;
    return take(lines, word, count);
}

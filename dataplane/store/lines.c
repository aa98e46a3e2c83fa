#include "dataplane/store/lines.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct lines_page {
    struct page page;
    struct lines_word words[];
};

enum {
    LINES_WORDS_MAX = MEMORY_PAGE_BYTES / LINES_FINE_MAX_BYTES,
};
_Static_assert(LINES_WORDS_MAX == 16, "struct page has room for 16 runs");
_Static_assert(sizeof(struct lines_page) + sizeof(struct lines_word) <= LINES_COARSE_UNIT_BYTES,
               "the header of a page with one word is one unit");

static struct lines_page *page_of(const void *address)
{
    return (struct lines_page *)pages_of(address);
}

static size_t word_bytes(const struct lines *lines)
{
    return (size_t)LINES_WORD_UNITS * lines->unit_bytes;
}

static unsigned page_words(const struct lines *lines)
{
    return (unsigned)(MEMORY_PAGE_BYTES / word_bytes(lines));
}

static unsigned header_units(const struct lines *lines)
{
    size_t bytes = sizeof(struct lines_page) + page_words(lines) * sizeof(struct lines_word);

    return (unsigned)((bytes + lines->unit_bytes - 1) / lines->unit_bytes);
}

static unsigned word_index(const struct lines_word *word)
{
    return (unsigned)(word - page_of(word)->words);
}

static uint64_t mask_of(unsigned count, unsigned first)
{
    return (~0ull >> (LINES_WORD_UNITS - count)) << first;
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
    unsigned best = 0, best_length = LINES_WORD_UNITS + 1;

    while (free != 0) {
        unsigned first = (unsigned)__builtin_ctzll(free);
        uint64_t rest = ~(free >> first);
        unsigned length = rest != 0 ? (unsigned)__builtin_ctzll(rest) : LINES_WORD_UNITS;

        if (length >= count && length < best_length) {
            best = first;
            best_length = length;
        }
        free &= ~mask_of(length, first);
    }
    assert(best_length <= LINES_WORD_UNITS);
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
    page->page.unit_bytes = lines->unit_bytes;
    /* Listed last to first: the low words are handed out first. */
    for (unsigned i = page_words(lines); i-- > 0;) {
        page->words[i].free = i == 0 ? ~0ull << header_units(lines) : ~0ull;
        list(lines, &page->words[i]);
    }
    lines->empty_pages++;
    return true;
}

static void drop_page(struct lines *lines, struct lines_page *page)
{
    for (unsigned i = 0; i < page_words(lines); i++)
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
    if (page->page.lines.used_units == 0)
        lines->empty_pages--;
    page->page.lines.used_units += count;
    return (char *)page + word_index(word) * word_bytes(lines) + (size_t)first * lines->unit_bytes;
}

/* The word whose longest run is the shortest that will do; NULL: none has such a run. */
static struct lines_word *fitting_word(const struct lines *lines, unsigned count, unsigned *run)
{
    uint64_t fitting = lines->listed >> (count - 1);

    if (fitting == 0)
        return NULL;
    *run = count + (unsigned)__builtin_ctzll(fitting);
    return lines->heads[*run];
}

static unsigned unit_count(const struct lines *lines, size_t size_bytes)
{
    size_t count = size_bytes / lines->unit_bytes;

    assert(count >= 1 && count <= LINES_WORD_UNITS && size_bytes % lines->unit_bytes == 0);
    return (unsigned)count;
}

void lines_init(struct lines *lines, struct pages *pages, uint32_t unit_bytes)
{
    memset(lines, 0, sizeof(*lines));
    lines->pages = pages;
    lines->unit_bytes = unit_bytes;
}

void *lines_alloc(struct lines *lines, size_t size_bytes)
{
    unsigned count = unit_count(lines, size_bytes), run;
    struct lines_word *word = fitting_word(lines, count, &run);

    if (word == NULL && add_page(lines))
        word = fitting_word(lines, count, &run);
    return word != NULL ? take(lines, word, count) : NULL;
}

void lines_free(struct lines *lines, void *block, size_t size_bytes)
{
    unsigned count = unit_count(lines, size_bytes);
    struct lines_page *page = page_of(block);
    size_t offset = (size_t)((char *)block - (char *)page);
    struct lines_word *word = &page->words[offset / word_bytes(lines)];
    uint64_t mask = mask_of(count, (unsigned)(offset % word_bytes(lines) / lines->unit_bytes));

    assert((word->free & mask) == 0);
    unlist(lines, word);
    word->free |= mask;
    list(lines, word);
    page->page.lines.used_units -= count;
    if (page->page.lines.used_units == 0 && lines->empty_pages++ > 0)
        drop_page(lines, page);
}

void *lines_better(struct lines *lines, const void *block, size_t size_bytes)
{
    unsigned count = unit_count(lines, size_bytes), run;
    size_t offset = (size_t)((const char *)block - (const char *)page_of(block));
    struct lines_word *own = &page_of(block)->words[offset / word_bytes(lines)];
    struct lines_word *word = fitting_word(lines, count, &run);

    /* A hole of just this size is always better; else only a word with less free room than the
     * own one. */
    if (word == NULL || word == own ||
        (run != count && __builtin_popcountll(word->free) >= __builtin_popcountll(own->free)))
        return NULL;
    return take(lines, word, count);
}

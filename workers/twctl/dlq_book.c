#include "dlq_book.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- finding ------------------------------------------------------------------------------------------------------ */

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare_places(const struct tw_dlq_letter *a, const struct tw_dlq_letter *b)
{
    int order = compare_numbers(a->domain, b->domain);

    if (!order)
        order = compare_numbers(a->partition, b->partition);
    return order ? order : compare_numbers(a->first_offset, b->first_offset);
}

static size_t lower_bound(const struct tw_dlq_book *book, const struct tw_dlq_letter *wanted)
{
    size_t low = 0;
    size_t high = book->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (compare_places(book->letters[middle], wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct tw_dlq_letter *tw_dlq_book_find(const struct tw_dlq_book *book, enum tw_domain_number domain, int32_t partition,
                                       int64_t first_offset)
{
    const struct tw_dlq_letter wanted = {.domain = domain, .partition = partition, .first_offset = first_offset};
    size_t                     at = lower_bound(book, &wanted);

    return at < book->count && compare_places(book->letters[at], &wanted) == 0 ? book->letters[at] : NULL;
}

/* A topic is read in its order, so that this is its end but for a few. */
static void insert(struct tw_dlq_book *book, struct tw_dlq_letter *letter)
{
    size_t at = lower_bound(book, letter);

    if (book->count == book->cap) {
        book->cap = book->cap ? 2 * book->cap : 64;
        book->letters = tw_realloc(book->letters, book->cap * sizeof(struct tw_dlq_letter *));
        book->by_key = tw_realloc(book->by_key, book->cap * sizeof(struct tw_dlq_letter *));
    }
    memmove(&book->letters[at + 1], &book->letters[at], (book->count - at) * sizeof(struct tw_dlq_letter *));
    book->letters[at] = letter;
    book->count++;
}

/* --- taking ------------------------------------------------------------------------------------------------------- */

/* Text from outside, which may be anything. */
static const char *text_of(struct tw_dlq_book *book, struct tw_str text)
{
    if (!tw_str_is_utf8(text))
        return tw_arena_printf(&book->arena, "(%zu bytes)", text.len).ptr;
    return tw_arena_copy(&book->arena, text).ptr;
}

/* Of millions most say the same as the one before. */
static const char *text_like(struct tw_dlq_book *book, const char *before, struct tw_str text)
{
    return before && tw_str_is(text, before) ? before : text_of(book, text);
}

static void fill_last(struct tw_dlq_book *book, struct tw_dlq_letter *letter, const struct tw_dead_letter *said)
{
    letter->last_offset = said->offset;
    letter->reason = text_like(book, letter->reason, said->reason);
    letter->message = text_like(book, letter->message, said->message);
    letter->program = text_like(book, letter->program, said->program);
    letter->parks |= said->parks && !tw_uuid_is_nil(letter->key_id);
    letter->attempts = said->attempts;
    letter->last_failed_ms = said->last_failed_ms;
}

static const char *why_broken(struct tw_dlq_book *book, const struct tw_record *record)
{
    size_t        count;
    struct tw_err err;

    if (tw_dead_letter_own_headers(record, &count, &err) == TW_OK)
        return NULL;
    return text_of(book, tw_str_of(err.msg));
}

static void add_new(struct tw_dlq_book *book, enum tw_domain_number domain, const struct tw_record *record,
                    const struct tw_dead_letter *said)
{
    const struct tw_dlq_letter *before = book->count ? book->letters[book->count - 1] : NULL;
    struct tw_dlq_letter       *letter = TW_NEW(&book->arena, struct tw_dlq_letter);

    *letter = (struct tw_dlq_letter){
        .domain = domain,
        .partition = record->partition,
        .first_offset = said->first_offset,
        .record_at = record->offset,
        .timestamp_ms = said->timestamp_ms,
        .first_failed_ms = said->first_failed_ms,
        .settled_by = -1,
        .written_at = -1,
        .broken = why_broken(book, record),
        .reason = before ? before->reason : NULL,
        .message = before ? before->message : NULL,
        .program = before ? before->program : NULL,
        .key = text_of(book, record->key),
        .type = text_like(book, before ? before->type : NULL, tw_header_find(record, TW_H_TYPE)),
    };
    if (!tw_uuid_parse(record->key, &letter->key_id))
        letter->key_id = tw_uuid_nil;
    fill_last(book, letter, said);
    insert(book, letter);
}

/* The first one counts: a worker settles once, but deliveries repeat. A record that was given up settles nothing. */
static void settle(struct tw_dlq_book *book, struct tw_dlq_letter *letter, const struct tw_dead_letter *said)
{
    if (!letter || !tw_dlq_is_open(letter) || letter->last_offset == said->offset)
        return;
    letter->settled_by = said->offset;
    letter->settled_at_ms = said->settled_at_ms;
    letter->settled_as = text_of(book, said->settled_as);
    letter->asked_by = text_of(book, said->asked_by);
    letter->because = text_of(book, said->because);
}

enum tw_rc tw_dlq_book_take(struct tw_dlq_book *book, const struct tw_topic *topic, const struct tw_record *record,
                            struct tw_err *reterr)
{
    struct tw_dead_letter said;
    struct tw_dlq_letter *letter;

    if (!tw_dead_letter_read(record, &said))
        return TW_OK; /* nobody's: the worker passes it, too */
    letter = tw_dlq_book_find(book, topic->domain, record->partition, said.first_offset);
    if (said.is_settlement) {
        settle(book, letter, &said);
    } else if (letter) {
        if (said.offset > letter->last_offset)
            fill_last(book, letter, &said);
        if (said.offset == letter->settled_by)
            letter->settled_by = -1; /* folded once more by a store that went back, and given up this time */
    } else if (book->count == TW_DLQ_LETTERS_MAX) {
        return tw_fail(reterr, TW_REFUSED, "twctl.dlq", 0, "there are more than %d dead letters: name one domain",
                       TW_DLQ_LETTERS_MAX);
    } else {
        add_new(book, topic->domain, record, &said);
    }
    return TW_OK;
}

/* --- who waits for whom ------------------------------------------------------------------------------------------- */

bool tw_dlq_is_open(const struct tw_dlq_letter *letter)
{
    return letter->settled_by < 0;
}

bool tw_dlq_same_key(const struct tw_dlq_letter *letter, const struct tw_dlq_letter *other)
{
    return letter->domain == other->domain && letter->partition == other->partition &&
           !tw_uuid_is_nil(letter->key_id) && tw_uuid_eq(letter->key_id, other->key_id);
}

static int compare_keys(const void *left, const void *right)
{
    const struct tw_dlq_letter *a = *(struct tw_dlq_letter *const *)left;
    const struct tw_dlq_letter *b = *(struct tw_dlq_letter *const *)right;
    int                         order = compare_numbers(a->domain, b->domain);

    if (!order)
        order = compare_numbers(a->partition, b->partition);
    if (!order)
        order = tw_uuid_cmp(a->key_id, b->key_id);
    return order ? order : compare_numbers(a->first_offset, b->first_offset);
}

void tw_dlq_book_link(struct tw_dlq_book *book)
{
    struct tw_dlq_letter *oldest = NULL;

    if (!book->count)
        return;
    memcpy(book->by_key, book->letters, book->count * sizeof(struct tw_dlq_letter *));
    qsort(book->by_key, book->count, sizeof(struct tw_dlq_letter *), compare_keys);
    for (size_t i = 0; i < book->count; i++) {
        struct tw_dlq_letter *letter = book->by_key[i];

        if (oldest && !tw_dlq_same_key(oldest, letter))
            oldest = NULL;
        letter->waits_for = tw_dlq_is_open(letter) ? oldest : NULL;
        if (!oldest && letter->parks && tw_dlq_is_open(letter))
            oldest = letter;
    }
}

struct tw_str tw_dlq_name(const struct tw_dlq_letter *letter, struct tw_arena *arena)
{
    const char *topic = tw_topic_of(letter->domain, TW_TOPIC_DLQ)->name;

    return tw_arena_printf(arena, "%.*s/%" PRId32 "/%" PRId64, (int)strcspn(topic, "."), topic, letter->partition,
                           letter->first_offset);
}

void tw_dlq_book_done(struct tw_dlq_book *book)
{
    if (!book)
        return;
    free(book->letters);
    free(book->by_key);
    tw_arena_done(&book->arena);
    *book = (struct tw_dlq_book){0};
}

#include "verdicts.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/clock.h"
#include "tillwire/log.h"

#define NEVER INT64_MAX

struct letter {
    int64_t        first_offset;
    int64_t        parks_from; /* offset of the record whose dead letter could be read; NEVER: parks nothing */
    int64_t        settled_by; /* offset of the requeue or drop; NEVER: open */
    struct tw_uuid key;        /* when it parks */
    struct letter *next;       /* of its key, by first offset */
};

/* A key may have parked many thousands: what is settled is walked over only by a fold that is not yet there. */
struct parked_key {
    struct tw_uuid key;
    struct letter *letters; /* by first offset */
    struct letter *last;
    struct letter *unsettled;     /* all before it are settled … */
    int64_t        settled_until; /* … up to this offset */
    size_t         open_count;
};

/* --- offsets to pass over ---------------------------------------------------------------------------------------- */

static size_t lower_bound(const struct tw_verdicts *verdicts, int64_t offset)
{
    size_t low = 0;
    size_t high = verdicts->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (verdicts->offsets[middle] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool tw_verdicts_has(const struct tw_verdicts *verdicts, int64_t offset)
{
    size_t at = lower_bound(verdicts, offset);

    return at < verdicts->count && verdicts->offsets[at] == offset;
}

void tw_verdicts_add(struct tw_verdicts *verdicts, int64_t offset)
{
    size_t at = lower_bound(verdicts, offset);

    if (at < verdicts->count && verdicts->offsets[at] == offset)
        return;
    if (verdicts->count == verdicts->cap) {
        verdicts->cap = verdicts->cap ? 2 * verdicts->cap : 16;
        verdicts->offsets = tw_realloc(verdicts->offsets, verdicts->cap * sizeof(*verdicts->offsets));
    }
    memmove(&verdicts->offsets[at + 1], &verdicts->offsets[at], (verdicts->count - at) * sizeof(*verdicts->offsets));
    verdicts->offsets[at] = offset;
    verdicts->count++;
}

/* --- dead letters and what they park ----------------------------------------------------------------------------- */

static int compare_letters(const void *left, const void *right)
{
    const struct letter *a = left;
    const struct letter *b = right;

    return (a->first_offset > b->first_offset) - (a->first_offset < b->first_offset);
}

static int compare_keys(const void *left, const void *right)
{
    return tw_uuid_cmp(((const struct parked_key *)left)->key, ((const struct parked_key *)right)->key);
}

static struct letter *find_letter(const struct tw_verdicts *verdicts, int64_t first_offset)
{
    const struct letter   wanted = {.first_offset = first_offset};
    struct letter *const *found = tfind(&wanted, &verdicts->letters, compare_letters);

    return found ? *found : NULL;
}

static struct parked_key *find_key(const struct tw_verdicts *verdicts, struct tw_uuid key)
{
    const struct parked_key   wanted = {.key = key};
    struct parked_key *const *found = tfind(&wanted, &verdicts->keys, compare_keys);

    return found ? *found : NULL;
}

static void insert(const void *node, void **tree, int (*compare)(const void *, const void *))
{
    if (!tsearch(node, tree, compare))
        tw_out_of_memory(sizeof(void *));
}

static struct letter *letter_at(struct tw_verdicts *verdicts, int64_t first_offset)
{
    struct letter *letter = find_letter(verdicts, first_offset);

    if (letter)
        return letter;
    letter = tw_alloc_zeroed(1, sizeof(*letter));
    *letter = (struct letter){.first_offset = first_offset, .parks_from = NEVER, .settled_by = NEVER};
    insert(letter, &verdicts->letters, compare_letters);
    verdicts->open_count++;
    return letter;
}

static struct parked_key *key_at(struct tw_verdicts *verdicts, struct tw_uuid key)
{
    struct parked_key *parked = find_key(verdicts, key);

    if (parked)
        return parked;
    parked = tw_alloc_zeroed(1, sizeof(*parked));
    parked->key = key;
    insert(parked, &verdicts->keys, compare_keys);
    return parked;
}

static void count_open(struct tw_verdicts *verdicts, struct parked_key *parked, int change)
{
    verdicts->parked_count -= parked->open_count > 0;
    parked->open_count += (size_t)change;
    verdicts->parked_count += parked->open_count > 0;
}

static void add_to_key(struct parked_key *parked, struct letter *letter)
{
    struct letter **at = &parked->letters;

    if (parked->last && parked->last->first_offset < letter->first_offset)
        at = &parked->last->next;
    while (*at && (*at)->first_offset < letter->first_offset)
        at = &(*at)->next;
    letter->next = *at;
    *at = letter;
    if (!letter->next)
        parked->last = letter;
    if (!parked->unsettled || letter->first_offset < parked->unsettled->first_offset)
        parked->unsettled = letter;
}

static void pass_settled(struct parked_key *parked)
{
    for (; parked->unsettled && parked->unsettled->settled_by != NEVER; parked->unsettled = parked->unsettled->next)
        if (parked->settled_until < parked->unsettled->settled_by)
            parked->settled_until = parked->unsettled->settled_by;
}

static void park(struct tw_verdicts *verdicts, struct letter *letter, struct tw_uuid key, int64_t offset)
{
    struct parked_key *parked;

    if (letter->parks_from != NEVER) { /* it failed again */
        if (letter->parks_from > offset)
            letter->parks_from = offset;
        return;
    }
    parked = key_at(verdicts, key);
    letter->key = key;
    letter->parks_from = offset;
    add_to_key(parked, letter);
    pass_settled(parked);
    count_open(verdicts, parked, letter->settled_by == NEVER ? 1 : 0);
}

static void settle(struct tw_verdicts *verdicts, struct letter *letter, int64_t offset)
{
    struct parked_key *parked;

    if (letter->settled_by != NEVER)
        return;
    letter->settled_by = offset;
    verdicts->open_count--;
    if (letter->parks_from == NEVER)
        return;
    parked = find_key(verdicts, letter->key);
    pass_settled(parked);
    count_open(verdicts, parked, -1);
}

/* The record that settled it was folded once more, by a store that went back, and given up this time: every fold passes
 * over it from now on. */
static void reopen(struct tw_verdicts *verdicts, struct letter *letter)
{
    struct parked_key *parked;

    letter->settled_by = NEVER;
    verdicts->open_count++;
    if (letter->parks_from == NEVER)
        return;
    parked = find_key(verdicts, letter->key);
    if (!parked->unsettled || letter->first_offset < parked->unsettled->first_offset)
        parked->unsettled = letter;
    count_open(verdicts, parked, 1);
}

static bool is_open(const struct letter *letter, int64_t offset)
{
    return letter->first_offset < offset && letter->settled_by >= offset;
}

static bool is_parking(const struct letter *letter, int64_t offset)
{
    return letter->parks_from < offset && letter->settled_by >= offset;
}

bool tw_verdicts_is_open(const struct tw_verdicts *verdicts, int64_t first_offset, int64_t offset)
{
    const struct letter *letter = find_letter(verdicts, first_offset);

    return letter && is_open(letter, offset);
}

bool tw_verdicts_is_parking(const struct tw_verdicts *verdicts, int64_t first_offset, int64_t offset)
{
    const struct letter *letter = find_letter(verdicts, first_offset);

    return letter && is_parking(letter, offset);
}

bool tw_verdicts_is_settled_by(const struct tw_verdicts *verdicts, int64_t first_offset, int64_t offset)
{
    const struct letter *letter = find_letter(verdicts, first_offset);

    return letter && letter->settled_by == offset;
}

int64_t tw_verdicts_parked_behind(const struct tw_verdicts *verdicts, struct tw_uuid key, int64_t first_offset,
                                  int64_t offset)
{
    const struct parked_key *parked = verdicts->keys ? find_key(verdicts, key) : NULL;
    const struct letter     *letter;

    if (!parked)
        return -1;
    letter = offset > parked->settled_until ? parked->unsettled : parked->letters;
    for (; letter && letter->first_offset < first_offset; letter = letter->next)
        if (is_parking(letter, offset))
            return letter->first_offset;
    return -1;
}

void tw_verdicts_take(struct tw_verdicts *verdicts, const struct tw_record *dead_letter)
{
    struct tw_dead_letter said;
    struct tw_uuid        key;
    struct letter        *letter;

    if (!tw_dead_letter_read(dead_letter, &said)) {
        tw_log(TW_LOG_WARN, "dead letter without an origin offset is ignored",
               TW_F_INT("partition", dead_letter->partition), TW_F_INT("offset", dead_letter->offset));
        return;
    }
    letter = letter_at(verdicts, said.first_offset);
    if (said.is_settlement) {
        if (!tw_verdicts_has(verdicts, said.offset))
            settle(verdicts, letter, said.offset);
        return;
    }
    tw_verdicts_add(verdicts, said.offset);
    if (letter->settled_by == said.offset)
        reopen(verdicts, letter);
    if (said.parks && tw_uuid_parse(dead_letter->key, &key))
        park(verdicts, letter, key, said.offset);
}

/* --- the topic --------------------------------------------------------------------------------------------------- */

static void take_dead_letter(void *self, const char *topic, const struct tw_record *record)
{
    struct tw_verdicts *verdicts = self;

    (void)topic;
    tw_verdicts_take(verdicts, record);
    verdicts->read_to = record->offset + 1;
}

static enum tw_rc read_dead_letters(struct tw_verdicts *verdicts, struct tw_reader *reader, const char *dlq_topic,
                                    int32_t partition, int timeout_ms, struct tw_err *reterr)
{
    int64_t            deadline_us = tw_monotonic_us() + (int64_t)timeout_ms * 1000;
    int64_t            low, high;
    struct tw_position position = {dlq_topic, partition, 0};

    TW_TRY(tw_reader_bounds(reader, dlq_topic, partition, timeout_ms, &low, &high, reterr));
    if (verdicts->read_to < low)
        verdicts->read_to = low;
    if (verdicts->read_to >= high)
        return TW_OK;
    position.offset = verdicts->read_to;
    TW_TRY(tw_reader_assign(reader, &position, 1, reterr));
    while (verdicts->read_to < high) {
        size_t count;

        TW_TRY(tw_reader_poll(reader, 100, 1000, take_dead_letter, verdicts, &count, reterr));
        if (!count && tw_monotonic_us() > deadline_us)
            return tw_fail(reterr, TW_UNREACHED, "verdicts.read", 0, "reading '%s' partition %d took over %d ms",
                           dlq_topic, partition, timeout_ms);
    }
    return TW_OK;
}

/* What a dead letter names stands behind the headers of the record that was given up, however many those are. */
enum tw_rc tw_verdicts_read(struct tw_verdicts *verdicts, struct tw_reader *reader, const char *dlq_topic,
                            int32_t partition, int timeout_ms, struct tw_err *reterr)
{
    enum tw_rc rc;

    tw_reader_take_all_headers(reader, true);
    rc = read_dead_letters(verdicts, reader, dlq_topic, partition, timeout_ms, reterr);
    tw_reader_take_all_headers(reader, false);
    return rc;
}

void tw_verdicts_done(struct tw_verdicts *verdicts)
{
    if (!verdicts)
        return;
    tdestroy(verdicts->keys, free);
    tdestroy(verdicts->letters, free);
    free(verdicts->offsets);
    *verdicts = (struct tw_verdicts){0};
}

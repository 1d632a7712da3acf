#include "dlq_choice.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/clock.h"

#define WHERE "twctl.dlq"

/* --- what is said ------------------------------------------------------------------------------------------------- */

static bool is_domain(struct tw_str text, enum tw_domain_number domain)
{
    const char *topic = tw_topic_of(domain, TW_TOPIC_DLQ)->name;

    return tw_str_eq(text, (struct tw_str){topic, strcspn(topic, ".")});
}

static enum tw_domain_number domain_of(struct tw_str text)
{
    for (int domain = TW_DOMAIN_MEMBER; domain <= TW_DOMAIN_CART; domain++)
        if (is_domain(text, (enum tw_domain_number)domain))
            return (enum tw_domain_number)domain;
    return (enum tw_domain_number)0;
}

enum tw_rc tw_dlq_domain_parse(const char *text, enum tw_domain_number *ret_domain, struct tw_err *reterr)
{
    enum tw_domain_number domain = domain_of(tw_str_of(text));

    if (!domain)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "there is no domain '%.40s': member, product or cart", text);
    *ret_domain = domain;
    return TW_OK;
}

/* What stands before the next `separator`; `rest` begins behind it. */
static struct tw_str cut(struct tw_str *rest, char separator)
{
    const char   *at = rest->len ? memchr(rest->ptr, separator, rest->len) : NULL;
    struct tw_str head = {rest->ptr, at ? (size_t)(at - rest->ptr) : rest->len};

    *rest = at ? (struct tw_str){at + 1, rest->len - head.len - 1} : (struct tw_str){NULL, 0};
    return head;
}

enum tw_rc tw_dlq_name_parse(struct tw_str text, struct tw_dlq_place *ret_place, struct tw_err *reterr)
{
    struct tw_str       rest = text;
    struct tw_dlq_place place = {.domain = domain_of(cut(&rest, '/'))};
    int64_t             partition;

    if (!place.domain || !tw_str_to_int(cut(&rest, '/'), &partition) || !tw_str_to_int(rest, &place.first_offset) ||
        place.first_offset < 0)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "'%.*s' is no name of a dead letter like cart/3/17",
                       (int)(text.len < 60 ? text.len : 60), text.ptr ? text.ptr : "");
    if (partition < 0 || partition >= tw_topic_of(place.domain, TW_TOPIC_DLQ)->partitions)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "'%.*s': '%s' has no partition %" PRId64,
                       (int)(text.len < 60 ? text.len : 60), text.ptr, tw_topic_of(place.domain, TW_TOPIC_DLQ)->name,
                       partition);
    place.partition = (int32_t)partition;
    *ret_place = place;
    return TW_OK;
}

enum tw_rc tw_dlq_names_parse(const char *text, enum tw_domain_number domain, struct tw_arena *arena,
                              struct tw_dlq_wish *wish, struct tw_err *reterr)
{
    struct tw_str        rest = tw_str_of(text);
    struct tw_dlq_place *places = NULL;
    uint32_t             count = 0, cap = 0;

    while (rest.len) {
        struct tw_str name = cut(&rest, ',');

        places = tw_arena_grow(arena, places, count, &cap, sizeof(*places));
        TW_TRY(tw_dlq_name_parse(name, &places[count], reterr));
        if (places[count++].domain != domain)
            return tw_fail(reterr, TW_INVALID, WHERE, 0, "'%.*s' is of another domain", TW_STR_ARG(name));
    }
    wish->places = places;
    wish->place_count = count;
    return TW_OK;
}

enum tw_rc tw_dlq_reason_check(const char *reason, struct tw_err *reterr)
{
    TW_AUTO(tw_buf_done) struct tw_buf known = {0};

    if (!*reason)
        return TW_OK;
    for (int i = TW_DEAD_BAD_ENVELOPE; i <= TW_DEAD_PARKED; i++) {
        const char *code = tw_dead_reason_code((enum tw_dead_reason)i);

        if (!strcmp(code, reason))
            return TW_OK;
        tw_buf_printf(&known, "%s%s", known.len ? ", " : "", code);
    }
    return tw_fail(reterr, TW_INVALID, WHERE, 0, "'%.40s' is none of the reasons %.*s", reason,
                   TW_STR_ARG(tw_buf_str(&known)));
}

/* --- what is meant ------------------------------------------------------------------------------------------------ */

static bool is_key(const struct tw_dlq_letter *letter, const char *key)
{
    struct tw_uuid id;

    if (tw_uuid_parse(tw_str_of(key), &id)) /* in either case */
        return tw_uuid_eq(id, letter->key_id);
    return !strcmp(key, letter->key);
}

bool tw_dlq_is_meant(const struct tw_dlq_wish *wish, const struct tw_dlq_letter *letter)
{
    return (!wish->domain || wish->domain == letter->domain) &&
           (!*wish->reason || !strcmp(wish->reason, letter->reason)) && (!*wish->key || is_key(letter, wish->key));
}

static void refuse(struct tw_dlq_letter *letter, const char *why_not)
{
    letter->fate = TW_DLQ_REFUSED;
    letter->why_not = why_not;
}

static const char *why_settled(struct tw_dlq_book *book, const struct tw_dlq_letter *letter)
{
    char time[TW_TIME_TEXT + 1];

    tw_time_format(letter->settled_at_ms, time);
    return tw_arena_printf(&book->arena, "is not open: %s, by %s at %s", letter->settled_as, letter->asked_by, time)
        .ptr;
}

static void mark(struct tw_dlq_book *book, struct tw_dlq_letter *letter)
{
    if (tw_dlq_is_open(letter))
        letter->fate = TW_DLQ_CHOSEN;
    else
        refuse(letter, why_settled(book, letter));
}

static void mark_meant(struct tw_dlq_book *book, const struct tw_dlq_wish *wish)
{
    for (size_t i = 0; i < wish->place_count; i++) {
        const struct tw_dlq_place *place = &wish->places[i];
        struct tw_dlq_letter *letter = tw_dlq_book_find(book, place->domain, place->partition, place->first_offset);

        if (letter)
            mark(book, letter);
    }
    for (size_t i = 0; wish->place_count == 0 && i < book->count; i++)
        if (tw_dlq_is_open(book->letters[i]) && tw_dlq_is_meant(wish, book->letters[i]))
            mark(book, book->letters[i]);
}

/* --- what may be requeued ----------------------------------------------------------------------------------------- */

/* One that is chosen, behind `before`, the oldest of its key that is open and not chosen. */
static void check(struct tw_dlq_book *book, struct tw_dlq_letter *letter, const struct tw_dlq_letter *before,
                  int64_t max_attempts)
{
    if (before)
        refuse(letter, tw_arena_printf(&book->arena, "an older one of its key is open: %s",
                                       tw_dlq_name(before, &book->arena).ptr)
                           .ptr);
    else if (letter->broken)
        refuse(letter, tw_arena_printf(&book->arena,
                                       "it is not as a worker of this release writes one: %s; drop it, or use the "
                                       "twctl of the release that wrote it",
                                       letter->broken)
                           .ptr);
    else if (letter->attempts >= max_attempts)
        refuse(letter, tw_arena_printf(&book->arena,
                                       "has failed %" PRId64 " times: mend what its message says, then say "
                                       "--max-attempts %" PRId64,
                                       letter->attempts, letter->attempts + 1)
                           .ptr);
}

/* Key by key, oldest first: what is refused stands in the way of those behind it. */
static size_t check_order(struct tw_dlq_book *book, int64_t max_attempts)
{
    const struct tw_dlq_letter *before = NULL;
    size_t                      chosen = 0;

    for (size_t i = 0; i < book->count; i++) {
        struct tw_dlq_letter *letter = book->by_key[i];

        if (before && !tw_dlq_same_key(before, letter))
            before = NULL;
        if (letter->fate == TW_DLQ_CHOSEN && max_attempts)
            check(book, letter, before, max_attempts);
        if (letter->fate == TW_DLQ_CHOSEN)
            chosen++;
        else if (!before && letter->parks && tw_dlq_is_open(letter))
            before = letter;
    }
    return chosen;
}

size_t tw_dlq_choose(struct tw_dlq_book *book, const struct tw_dlq_wish *wish)
{
    mark_meant(book, wish);
    return check_order(book, wish->max_attempts);
}

/* Calls @p fn for those that are open, untouched and of a key of which one was chosen before. */
static size_t for_each_behind(const struct tw_dlq_book *book, void (*fn)(struct tw_dlq_letter *letter))
{
    const struct tw_dlq_letter *ours = NULL;
    size_t                      count = 0;

    for (size_t i = 0; i < book->count; i++) {
        struct tw_dlq_letter *letter = book->by_key[i];

        if (ours && !tw_dlq_same_key(ours, letter))
            ours = NULL;
        if (ours && letter->fate == TW_DLQ_UNTOUCHED && letter->parks && tw_dlq_is_open(letter)) {
            count++;
            fn(letter);
        }
        if (!ours && letter->parks && letter->fate != TW_DLQ_UNTOUCHED && letter->fate != TW_DLQ_REFUSED)
            ours = letter;
    }
    return count;
}

static void choose(struct tw_dlq_letter *letter)
{
    letter->fate = TW_DLQ_CHOSEN;
    letter->follows = true;
}

static void leave(struct tw_dlq_letter *letter)
{
    (void)letter;
}

/* Nobody named what only follows: where it cannot be requeued it waits on. */
size_t tw_dlq_choose_behind(struct tw_dlq_book *book, int64_t max_attempts)
{
    size_t chosen;

    for_each_behind(book, choose);
    chosen = check_order(book, max_attempts);
    for (size_t i = 0; i < book->count; i++)
        if (book->letters[i]->follows && book->letters[i]->fate == TW_DLQ_REFUSED)
            book->letters[i]->fate = TW_DLQ_UNTOUCHED;
    return chosen;
}

size_t tw_dlq_left_behind(const struct tw_dlq_book *book)
{
    return for_each_behind(book, leave);
}

#include "dlq_lines.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"
#include "tillwire/clock.h"

const char *tw_dlq_time(int64_t time_ms, struct tw_arena *arena)
{
    char text[TW_TIME_TEXT + 1];

    tw_time_format(time_ms, text);
    return tw_arena_copy(arena, tw_str_of(text)).ptr;
}

/* Who reads only "repeated" looks for what it did. */
static const char *why_repeated(const struct tw_dlq_letter *letter)
{
    return strcmp(letter->settled_as, TW_SETTLED_REPEATED) ? "" : " (another record of its id has the outcome)";
}

const char *tw_dlq_state(const struct tw_dlq_letter *letter, struct tw_arena *arena)
{
    if (tw_dlq_is_open(letter))
        return "open";
    return tw_arena_printf(arena, "%s%s by %s at %s (offset %" PRId64 ")%s%s", letter->settled_as, why_repeated(letter),
                           letter->asked_by, tw_dlq_time(letter->settled_at_ms, arena), letter->settled_by,
                           *letter->because ? ": " : "", letter->because)
        .ptr;
}

static const char *domain_name(const struct tw_dlq_letter *letter, struct tw_arena *arena)
{
    const char *topic = tw_topic_of(letter->domain, TW_TOPIC_DLQ)->name;

    return tw_arena_copy(arena, (struct tw_str){topic, strcspn(topic, ".")}).ptr;
}

static const char *number_text(int64_t number, struct tw_arena *arena)
{
    return tw_arena_printf(arena, "%" PRId64, number).ptr;
}

static void add_member(struct tw_json *json, const char *name, const char *text)
{
    tw_json_key(json, name);
    tw_json_text(json, tw_str_of(text));
}

static void add_number(struct tw_json *json, const char *name, int64_t number)
{
    tw_json_key(json, name);
    tw_json_int(json, number);
}

static void add_time(struct tw_json *json, const char *name, int64_t time_ms)
{
    tw_json_key(json, name);
    tw_json_time(json, time_ms);
}

/* --- groups ------------------------------------------------------------------------------------------------------- */

struct group {
    const struct tw_dlq_letter *like; /* its first: domain, reason, what it waits for, open or settled */
    int64_t                     count, keys, first_ms, last_ms;
};

static bool is_shown(const struct tw_dlq_wish *wish, bool all, const struct tw_dlq_letter *letter)
{
    return (all || tw_dlq_is_open(letter)) && tw_dlq_is_meant(wish, letter);
}

size_t tw_dlq_count_shown(const struct tw_dlq_book *book, const struct tw_dlq_wish *wish, bool all)
{
    size_t count = 0;

    for (size_t i = 0; i < book->count; i++)
        count += is_shown(wish, all, book->letters[i]);
    return count;
}

/* Shown of those that could be read; the others wait for nothing but a program that can. */
static const struct tw_dlq_letter *shown_wait(const struct tw_dlq_letter *letter)
{
    return letter->parks ? letter->waits_for : NULL;
}

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare_waits(const struct tw_dlq_letter *a, const struct tw_dlq_letter *b)
{
    int order;

    if (!a || !b)
        return (a != NULL) - (b != NULL);
    order = compare_numbers(a->partition, b->partition);
    return order ? order : compare_numbers(a->first_offset, b->first_offset);
}

static int compare_groups(const void *left, const void *right)
{
    const struct tw_dlq_letter *a = *(struct tw_dlq_letter *const *)left;
    const struct tw_dlq_letter *b = *(struct tw_dlq_letter *const *)right;
    int                         order = compare_numbers(a->domain, b->domain);

    if (!order)
        order = tw_dlq_is_open(b) - tw_dlq_is_open(a);
    if (!order)
        order = strcmp(a->reason, b->reason);
    return order ? order : compare_waits(shown_wait(a), shown_wait(b));
}

/* Of one group by key, for counting them. */
static int compare_in_groups(const void *left, const void *right)
{
    int order = compare_groups(left, right);

    return order ? order
                 : strcmp((*(struct tw_dlq_letter *const *)left)->key, (*(struct tw_dlq_letter *const *)right)->key);
}

static void count_in(struct group *group, const struct tw_dlq_letter *letter, bool is_new_key)
{
    group->count++;
    group->keys += is_new_key;
    if (group->count == 1 || letter->first_failed_ms < group->first_ms)
        group->first_ms = letter->first_failed_ms;
    if (group->count == 1 || letter->last_failed_ms > group->last_ms)
        group->last_ms = letter->last_failed_ms;
}

static size_t make_groups(const struct tw_dlq_book *book, const struct tw_dlq_wish *wish, bool all,
                          struct tw_arena *arena, struct group **ret_groups)
{
    struct tw_dlq_letter **shown = TW_NEW_ARRAY(arena, book->count, struct tw_dlq_letter *);
    struct group          *groups = NULL;
    uint32_t               count = 0, cap = 0;
    size_t                 shown_count = 0;

    for (size_t i = 0; i < book->count; i++)
        if (is_shown(wish, all, book->letters[i]))
            shown[shown_count++] = book->letters[i];
    if (shown_count)
        qsort(shown, shown_count, sizeof(struct tw_dlq_letter *), compare_in_groups);
    for (size_t i = 0; i < shown_count; i++) {
        bool is_new = i == 0 || compare_groups(&shown[i - 1], &shown[i]) != 0;

        if (is_new) {
            groups = tw_arena_grow(arena, groups, count, &cap, sizeof(*groups));
            groups[count++] = (struct group){.like = shown[i]};
        }
        count_in(&groups[count - 1], shown[i], is_new || strcmp(shown[i - 1]->key, shown[i]->key) != 0);
    }
    *ret_groups = groups;
    return count;
}

static const char *waited_for(const struct tw_dlq_letter *letter, struct tw_arena *arena)
{
    return shown_wait(letter) ? tw_dlq_name(shown_wait(letter), arena).ptr : "";
}

static void add_group_json(const struct group *group, struct tw_json *json, struct tw_arena *arena)
{
    tw_json_open(json, '{');
    add_member(json, "domain", domain_name(group->like, arena));
    add_member(json, "reason", group->like->reason);
    if (shown_wait(group->like))
        add_member(json, "waits_for", waited_for(group->like, arena));
    tw_json_key(json, "open");
    tw_json_bool(json, tw_dlq_is_open(group->like));
    add_number(json, "count", group->count);
    add_number(json, "keys", group->keys);
    add_time(json, "first_failed", group->first_ms);
    add_time(json, "last_failed", group->last_ms);
    tw_json_close(json, '}');
}

enum { G_DOMAIN, G_REASON, G_WAITS, G_STATE, G_COUNT, G_KEYS, G_FIRST, G_LAST, G_COLUMNS };

static void fill_group(const struct group *group, const char *cells[G_COLUMNS], struct tw_arena *arena)
{
    cells[G_DOMAIN] = domain_name(group->like, arena);
    cells[G_REASON] = group->like->reason;
    cells[G_WAITS] = waited_for(group->like, arena);
    cells[G_STATE] = tw_dlq_is_open(group->like) ? "open" : "settled";
    cells[G_COUNT] = number_text(group->count, arena);
    cells[G_KEYS] = number_text(group->keys, arena);
    cells[G_FIRST] = tw_dlq_time(group->first_ms, arena);
    cells[G_LAST] = tw_dlq_time(group->last_ms, arena);
}

static void add_group_table(const struct group *groups, size_t count, struct tw_buf *out, struct tw_arena *arena)
{
    static const char *const heading[G_COLUMNS] = {"DOMAIN", "REASON", "WAITS FOR",    "STATE",
                                                   "COUNT",  "KEYS",   "FIRST FAILED", "LAST FAILED"};
    const char             **cells = TW_NEW_ARRAY(arena, (count + 1) * G_COLUMNS, const char *);

    memcpy(cells, heading, sizeof(heading));
    for (size_t i = 0; i < count; i++)
        fill_group(&groups[i], cells + (i + 1) * G_COLUMNS, arena);
    tw_ctl_table_add(out, cells, count + 1, G_COLUMNS);
}

void tw_dlq_add_groups(const struct tw_dlq_book *book, const struct tw_dlq_wish *wish, bool all, bool json,
                       struct tw_buf *out)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_json                         writer = {out, false};
    struct group                          *groups;
    size_t                                 count = make_groups(book, wish, all, &arena, &groups);

    if (!json) {
        add_group_table(groups, count, out, &arena);
        return;
    }
    tw_json_open(&writer, '[');
    for (size_t i = 0; i < count; i++)
        add_group_json(&groups[i], &writer, &arena);
    tw_json_close(&writer, ']');
    tw_buf_add(out, "\n", 1);
}

/* --- each --------------------------------------------------------------------------------------------------------- */

static void add_settlement(const struct tw_dlq_letter *letter, struct tw_json *json)
{
    tw_json_key(json, "settled");
    tw_json_open(json, '{');
    add_member(json, "as", letter->settled_as);
    add_member(json, "by", letter->asked_by);
    add_time(json, "at", letter->settled_at_ms);
    add_number(json, "offset", letter->settled_by);
    if (*letter->because)
        add_member(json, "because", letter->because);
    tw_json_close(json, '}');
}

void tw_dlq_add_letter(const struct tw_dlq_letter *letter, struct tw_json *json, struct tw_arena *arena)
{
    add_member(json, "name", tw_dlq_name(letter, arena).ptr);
    add_member(json, "reason", letter->reason);
    add_member(json, "key", letter->key);
    add_member(json, "type", letter->type);
    add_number(json, "attempts", letter->attempts);
    add_time(json, "written", letter->timestamp_ms);
    add_time(json, "first_failed", letter->first_failed_ms);
    add_time(json, "last_failed", letter->last_failed_ms);
    add_member(json, "message", letter->message);
    add_member(json, "program", letter->program);
    tw_json_key(json, "open");
    tw_json_bool(json, tw_dlq_is_open(letter));
    if (shown_wait(letter))
        add_member(json, "waits_for", waited_for(letter, arena));
    if (!tw_dlq_is_open(letter))
        add_settlement(letter, json);
}

static void add_each_json(const struct tw_dlq_book *book, const struct tw_dlq_wish *wish, bool all, struct tw_buf *out)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_json                         json = {out, false};

    tw_json_open(&json, '[');
    for (size_t i = 0; i < book->count; i++) {
        if (!is_shown(wish, all, book->letters[i]))
            continue;
        tw_json_open(&json, '{');
        tw_dlq_add_letter(book->letters[i], &json, &arena);
        tw_json_close(&json, '}');
        tw_arena_reset(&arena);
    }
    tw_json_close(&json, ']');
    tw_buf_add(out, "\n", 1);
}

enum { NAME, REASON, KEY, TYPE, ATTEMPTS, FIRST, LAST, STATE, MESSAGE, COLUMNS };

static void fill_each(const struct tw_dlq_letter *letter, const char *cells[COLUMNS], struct tw_arena *arena)
{
    cells[NAME] = tw_dlq_name(letter, arena).ptr;
    cells[REASON] = letter->reason;
    cells[KEY] = letter->key;
    cells[TYPE] = letter->type;
    cells[ATTEMPTS] = number_text(letter->attempts, arena);
    cells[FIRST] = tw_dlq_time(letter->first_failed_ms, arena);
    cells[LAST] = tw_dlq_time(letter->last_failed_ms, arena);
    cells[STATE] = tw_dlq_state(letter, arena);
    cells[MESSAGE] = letter->message;
}

void tw_dlq_add_each(const struct tw_dlq_book *book, const struct tw_dlq_wish *wish, bool all, bool json,
                     struct tw_buf *out)
{
    static const char *const heading[COLUMNS] = {"NAME",         "REASON",      "KEY",   "TYPE", "ATTEMPTS",
                                                 "FIRST FAILED", "LAST FAILED", "STATE", "SAYS"};
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    const char                           **cells;
    size_t                                 rows = 1;

    if (json) {
        add_each_json(book, wish, all, out);
        return;
    }
    cells = TW_NEW_ARRAY(&arena, (book->count + 1) * COLUMNS, const char *);
    memcpy(cells, heading, sizeof(heading));
    for (size_t i = 0; i < book->count; i++)
        if (is_shown(wish, all, book->letters[i]))
            fill_each(book->letters[i], cells + rows++ * COLUMNS, &arena);
    tw_ctl_table_add(out, cells, rows, COLUMNS);
}

/* --- what became of them ------------------------------------------------------------------------------------------ */

/* A word for programs. */
static const char *became(const struct tw_dlq_letter *letter)
{
    switch (letter->fate) {
    case TW_DLQ_UNTOUCHED:
        break;
    case TW_DLQ_CHOSEN:
        return "not_written";
    case TW_DLQ_WRITTEN:
        return "written";
    case TW_DLQ_SETTLED:
        return letter->settled_as;
    case TW_DLQ_FAILED:
        return "failed_again";
    case TW_DLQ_NOT_HEARD:
        return "waits";
    case TW_DLQ_REFUSED:
        return "refused";
    }
    return "";
}

static const char *explained(const struct tw_dlq_letter *letter, struct tw_arena *arena)
{
    switch (letter->fate) {
    case TW_DLQ_REFUSED:
        return letter->why_not;
    case TW_DLQ_FAILED:
        return tw_arena_printf(arena, "%s, attempt %" PRId64 ": %s", letter->reason, letter->attempts, letter->message)
            .ptr;
    case TW_DLQ_NOT_HEARD:
        if (!letter->waits_for)
            return "an older one of its key was open";
        return tw_arena_printf(arena, "an older one of its key is open: %s", tw_dlq_name(letter->waits_for, arena).ptr)
            .ptr;
    case TW_DLQ_SETTLED:
        if (letter->settled_by != letter->written_at)
            return tw_arena_printf(arena, "by %s meanwhile", letter->asked_by).ptr;
        return tw_arena_printf(arena, "by record %" PRId64 "%s", letter->written_at, why_repeated(letter)).ptr;
    case TW_DLQ_WRITTEN:
        return letter->written_at < 0 ? "not decided yet"
                                      : tw_arena_printf(arena, "as record %" PRId64, letter->written_at).ptr;
    case TW_DLQ_UNTOUCHED:
    case TW_DLQ_CHOSEN:
        break;
    }
    return "";
}

struct fate {
    const char *name, *key, *type, *became, *says;
};

static size_t list_fates(const struct tw_dlq_book *book, const struct tw_dlq_wish *wish, bool dry,
                         struct tw_arena *arena, struct fate *fates)
{
    size_t count = 0;

    for (size_t i = 0; i < wish->place_count; i++) {
        const struct tw_dlq_place *place = &wish->places[i];
        const struct tw_dlq_letter nobody = {
            .domain = place->domain, .partition = place->partition, .first_offset = place->first_offset};

        if (!tw_dlq_book_find(book, place->domain, place->partition, place->first_offset))
            fates[count++] =
                (struct fate){tw_dlq_name(&nobody, arena).ptr, "", "", "refused", "there is no such dead letter"};
    }
    for (size_t i = 0; i < book->count; i++) {
        const struct tw_dlq_letter *letter = book->letters[i];
        bool                        is_plan = dry && letter->fate == TW_DLQ_CHOSEN;

        if (letter->fate != TW_DLQ_UNTOUCHED)
            fates[count++] = (struct fate){tw_dlq_name(letter, arena).ptr, letter->key, letter->type,
                                           is_plan ? "chosen" : became(letter),
                                           is_plan ? letter->message : explained(letter, arena)};
    }
    return count;
}

static void add_fates_json(const struct fate *fates, size_t count, struct tw_buf *out)
{
    struct tw_json json = {out, false};

    tw_json_open(&json, '[');
    for (size_t i = 0; i < count; i++) {
        tw_json_open(&json, '{');
        add_member(&json, "name", fates[i].name);
        add_member(&json, "key", fates[i].key);
        add_member(&json, "type", fates[i].type);
        add_member(&json, "became", fates[i].became);
        add_member(&json, "says", fates[i].says);
        tw_json_close(&json, '}');
    }
    tw_json_close(&json, ']');
    tw_buf_add(out, "\n", 1);
}

enum { F_NAME, F_KEY, F_TYPE, F_BECAME, F_SAYS, F_COLUMNS };

void tw_dlq_add_fates(const struct tw_dlq_book *book, const struct tw_dlq_wish *wish, bool dry, bool json,
                      struct tw_buf *out)
{
    static const char *const               heading[F_COLUMNS] = {"NAME", "KEY", "TYPE", "BECAME", "SAYS"};
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct fate                           *fates = TW_NEW_ARRAY(&arena, book->count + wish->place_count, struct fate);
    size_t                                 count = list_fates(book, wish, dry, &arena, fates);
    const char                           **cells;

    if (json) {
        add_fates_json(fates, count, out);
        return;
    }
    cells = TW_NEW_ARRAY(&arena, (count + 1) * F_COLUMNS, const char *);
    memcpy(cells, heading, sizeof(heading));
    for (size_t i = 0; i < count; i++) {
        const char *row[F_COLUMNS] = {fates[i].name, fates[i].key, fates[i].type, fates[i].became, fates[i].says};

        memcpy(cells + (i + 1) * F_COLUMNS, row, sizeof(row));
    }
    tw_ctl_table_add(out, cells, count + 1, F_COLUMNS);
}

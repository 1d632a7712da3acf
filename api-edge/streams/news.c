/*
 * Whose is an event? An outcome is its caller's. What is keyed by a member is that member's, unless its schema says
 * `internal`: a claim on an address is keyed by the address's identity, which may be another member's, and names who
 * wants it. All else (products, and what nobody called for) is for those who may see everything.
 */
#include "streams/news.h"

#include <stdlib.h>
#include <string.h>

#include "tillwire/json_type.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/gen/product_messages.h"
#include "tillwire/gen/shared_messages.h"

static const struct tw_type *find_among(const struct tw_type *const *types, size_t count, struct tw_str ce_type)
{
    for (size_t i = 0; i < count; i++) {
        if (tw_str_is(ce_type, types[i]->ce_type))
            return types[i];
    }
    return NULL;
}

static const struct tw_type *type_of(struct tw_str ce_type)
{
    const struct {
        const struct tw_type *const *types;
        size_t                       count;
    } lists[] = {
        {tw_shared_events, tw_shared_event_count},
        {tw_product_events, tw_product_event_count},
        {tw_cart_events, tw_cart_event_count},
        {tw_member_events, tw_member_event_count},
    };
    const struct tw_type *type = NULL;

    for (size_t i = 0; !type && i < TW_LEN(lists); i++)
        type = find_among(lists[i].types, lists[i].count, ce_type);
    return type;
}

static struct tw_uuid caller_of(struct tw_str value, struct tw_arena *arena)
{
    struct tw_command_outcome outcome = {0};

    tw_arena_reset(arena);
    if (tw_command_outcome_type.unpack(value, arena, &outcome, NULL) != TW_OK || !outcome.has_caller)
        return tw_uuid_nil;
    return outcome.caller;
}

static struct tw_uuid owner_of(const struct tw_type *type, const struct tw_record *record, struct tw_arena *arena)
{
    struct tw_uuid key = tw_uuid_nil;

    if (type == &tw_command_outcome_type)
        return caller_of(record->value, arena);
    if (!type->internal && type->key && strcmp(type->key, "member_id") == 0)
        tw_uuid_parse(record->key, &key);
    return key;
}

struct tw_news *tw_news_of(const struct tw_record *record, size_t place, struct tw_arena *arena)
{
    const struct tw_type *type = type_of(tw_header_find(record, TW_H_TYPE));
    const struct tw_str   texts[TW_NEWS_TEXTS] = {
          [TW_NEWS_ID] = tw_header_find(record, TW_H_ID),
          [TW_NEWS_TIME] = tw_header_find(record, TW_H_TIME),
          [TW_NEWS_COMMAND] = tw_header_find(record, TW_H_COMMAND_ID),
          [TW_NEWS_TRACE] = tw_header_find(record, TW_H_TRACEPARENT),
          [TW_NEWS_VALUE] = record->value,
    };
    size_t size = sizeof(struct tw_news);

    if (!type)
        return NULL;
    for (size_t i = 0; i < TW_NEWS_TEXTS; i++)
        size += texts[i].len;
    struct tw_news *news = tw_alloc(size);
    char           *at = news->bytes;
    *news = (struct tw_news){.size = size, .place = place, .offset = record->offset, .type = type};
    news->owner = owner_of(type, record, arena);
    for (size_t i = 0; i < TW_NEWS_TEXTS; i++) {
        news->lens[i] = (uint32_t)texts[i].len;
        if (texts[i].len > 0)
            memcpy(at, texts[i].ptr, texts[i].len);
        at += texts[i].len;
    }
    return news;
}

struct tw_str tw_news_text(const struct tw_news *news, enum tw_news_text which)
{
    const char *at = news->bytes;

    for (size_t i = 0; i < which; i++)
        at += news->lens[i];
    return (struct tw_str){at, news->lens[which]};
}

static void add_text(struct tw_json *json, const char *name, struct tw_str text)
{
    if (text.len == 0)
        return;
    tw_json_key(json, name);
    tw_json_text(json, text);
}

bool tw_news_write(const struct tw_news *news, struct tw_arena *arena, struct tw_buf *out)
{
    struct tw_json json = {out, false};

    tw_arena_reset(arena);
    void *value = tw_arena_alloc(arena, news->type->size);
    if (news->type->unpack(tw_news_text(news, TW_NEWS_VALUE), arena, value, NULL) != TW_OK)
        return false;
    tw_buf_printf(out, "event: %s\ndata: ", news->type->name);
    tw_json_open(&json, '{');
    add_text(&json, "id", tw_news_text(news, TW_NEWS_ID));
    add_text(&json, "type", tw_str_of(news->type->name));
    add_text(&json, "time", tw_news_text(news, TW_NEWS_TIME));
    add_text(&json, "command_id", tw_news_text(news, TW_NEWS_COMMAND));
    add_text(&json, "traceparent", tw_news_text(news, TW_NEWS_TRACE));
    tw_json_key(&json, "data");
    tw_json_struct(&json, news->type->layout, value);
    tw_json_close(&json, '}');
    tw_buf_add(out, "\n", 1);
    return true;
}

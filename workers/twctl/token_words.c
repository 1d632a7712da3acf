#include "token_words.h"

#include <string.h>

#define WHERE "twctl.token"

#define TTL_MAX_S (INT64_C(3650) * 24 * 60 * 60)

enum { SCOPE_WORD_MAX = 64, NAME_MAX_BYTES = 64 };

static const char word_characters[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";

enum tw_rc tw_ctl_ttl_parse(struct tw_str text, int64_t *ret_seconds, struct tw_err *reterr)
{
    static const struct {
        char    letter;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    int64_t count;

    if (text.len > 1 && tw_str_to_int((struct tw_str){text.ptr, text.len - 1}, &count) && count > 0)
        for (size_t i = 0; i < TW_LEN(units); i++)
            if (text.ptr[text.len - 1] == units[i].letter && count <= TTL_MAX_S / units[i].seconds) {
                *ret_seconds = count * units[i].seconds;
                return TW_OK;
            }
    return tw_fail(reterr, TW_INVALID, WHERE, 0, "ttl '%.*s' is not a time such as 90d, 12h, 30m or 45s, at most 3650d",
                   TW_STR_ARG(text));
}

static bool is_made_of(struct tw_str text, const char *characters)
{
    for (size_t i = 0; i < text.len; i++)
        if (!text.ptr[i] || !strchr(characters, text.ptr[i]))
            return false;
    return text.len > 0;
}

/* products:write */
static bool is_scope(struct tw_str word)
{
    const char *colon = word.len ? memchr(word.ptr, ':', word.len) : NULL;
    size_t      front = colon ? (size_t)(colon - word.ptr) : 0;

    return colon && word.len <= SCOPE_WORD_MAX && is_made_of((struct tw_str){word.ptr, front}, word_characters) &&
           is_made_of((struct tw_str){colon + 1, word.len - front - 1}, word_characters);
}

static bool has_word(struct tw_str words, struct tw_str word)
{
    for (size_t at = 0; at < words.len;) {
        const char *space = memchr(words.ptr + at, ' ', words.len - at);
        size_t      end = space ? (size_t)(space - words.ptr) : words.len;

        if (tw_str_eq((struct tw_str){words.ptr + at, end - at}, word))
            return true;
        at = end + 1;
    }
    return false;
}

enum tw_rc tw_ctl_scope_parse(struct tw_str text, struct tw_arena *arena, struct tw_str *ret_scope,
                              struct tw_err *reterr)
{
    struct tw_str scope = {0};

    for (size_t at = 0; at < text.len;) {
        struct tw_str word = {text.ptr + at, 0};

        while (at + word.len < text.len && !strchr(", ", text.ptr[at + word.len]))
            word.len++;
        at += word.len + 1;
        if (word.len == 0)
            continue;
        if (!is_scope(word))
            return tw_fail(reterr, TW_INVALID, WHERE, 0, "'%.*s' is not a scope such as products:write",
                           TW_STR_ARG(word));
        if (!has_word(scope, word))
            scope = tw_arena_printf(arena, "%.*s%s%.*s", TW_STR_ARG(scope), scope.len ? " " : "", TW_STR_ARG(word));
    }
    if (scope.len == 0)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "a token needs a scope such as products:write");
    *ret_scope = scope;
    return TW_OK;
}

enum tw_rc tw_ctl_service_email(struct tw_str name, struct tw_arena *arena, struct tw_str *ret_email,
                                struct tw_err *reterr)
{
    if (name.len > NAME_MAX_BYTES || !is_made_of(name, word_characters))
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "name '%.*s' must be 1 to %d of a-z, 0-9, '.', '_' and '-'",
                       TW_STR_ARG(name), NAME_MAX_BYTES);
    *ret_email = tw_arena_printf(arena, "%.*s@service.tillwire.invalid", TW_STR_ARG(name));
    return TW_OK;
}

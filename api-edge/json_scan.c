#include "json_scan.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* jansson says the same of a text that is no JSON and of memory that is missing, and who asks would call a good body bad.
 * With our allocation (tillwire/base.h) the second does not happen. */
__attribute__((constructor)) static void give_jansson_our_memory(void)
{
    json_set_alloc_funcs(tw_alloc, free);
}

size_t tw_json_depth(struct tw_str text)
{
    size_t depth = 0;
    size_t deepest = 0;
    bool   in_string = false;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            depth++;
            deepest = depth > deepest ? depth : deepest;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return deepest;
}

/** Behind the string that begins at @p at. */
static size_t skip_string(const char *text, size_t len, size_t at)
{
    for (at++; at < len && text[at] != '"'; at++) {
        if (text[at] == '\\')
            at++;
    }
    return at + 1;
}

void tw_json_tame_numbers(char *text, size_t len)
{
    static const char number[] = "+-.0123456789eE";
    enum { SHORT = 3, LONG = 19 };

    for (size_t at = 0; at < len;) {
        size_t from = at;

        if (text[at] == '"') {
            at = skip_string(text, len, at);
            continue;
        }
        while (at < len && memchr(number, text[at], sizeof(number) - 1))
            at++;
        bool has_exponent = memchr(text + from, 'e', at - from) || memchr(text + from, 'E', at - from);
        if (at - from >= LONG || (at - from >= SHORT && has_exponent)) {
            memset(text + from, ' ', at - from);
            memcpy(text + from, "0.0", SHORT);
        }
        if (at == from)
            at++;
    }
}

void tw_json_release(struct json_t **json)
{
    json_decref(*json);
}

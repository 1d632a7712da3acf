#include "json_scan.h"

#include <jansson.h>

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

void tw_json_release(struct json_t **json)
{
    json_decref(*json);
}

#include "tillwire/json_out.h"

#include <string.h>

#include "tillwire/clock.h"
#include "tillwire/money.h"

/** A value follows: its comma first. */
static void before_value(struct tw_json *json)
{
    if (json->comma)
        tw_buf_add(json->out, ",", 1);
    json->comma = true;
}

/** Quotes, escapes what RFC 8259 says must be, leaves UTF-8 as it is. Runs of plain bytes are copied at once. */
static void add_quoted(struct tw_buf *out, struct tw_str text)
{
    size_t plain_from = 0;

    tw_buf_add(out, "\"", 1);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
            continue;
        tw_buf_add(out, text.ptr + plain_from, i - plain_from);
        plain_from = i + 1;
        if (c == '"' || c == '\\')
            tw_buf_printf(out, "\\%c", c);
        else
            tw_buf_printf(out, "\\u%04x", (unsigned)c);
    }
    if (text.len > plain_from)
        tw_buf_add(out, text.ptr + plain_from, text.len - plain_from);
    tw_buf_add(out, "\"", 1);
}

void tw_json_open(struct tw_json *json, char bracket)
{
    before_value(json);
    tw_buf_add(json->out, &bracket, 1);
    json->comma = false;
}

void tw_json_close(struct tw_json *json, char bracket)
{
    tw_buf_add(json->out, &bracket, 1);
    json->comma = true;
}

void tw_json_key(struct tw_json *json, const char *name)
{
    tw_buf_add(json->out, json->comma ? ",\"" : "\"", json->comma ? 2 : 1);
    tw_buf_add(json->out, name, strlen(name));
    tw_buf_add(json->out, "\":", 2);
    json->comma = false;
}

void tw_json_key_text(struct tw_json *json, struct tw_str name)
{
    before_value(json);
    add_quoted(json->out, name);
    tw_buf_add(json->out, ":", 1);
    json->comma = false;
}

void tw_json_text(struct tw_json *json, struct tw_str text)
{
    before_value(json);
    add_quoted(json->out, text);
}

void tw_json_int(struct tw_json *json, int64_t value)
{
    before_value(json);
    tw_buf_printf(json->out, "%lld", (long long)value);
}

void tw_json_bool(struct tw_json *json, bool value)
{
    before_value(json);
    tw_buf_add_str(json->out, value ? TW_STR("true") : TW_STR("false"));
}

void tw_json_null(struct tw_json *json)
{
    before_value(json);
    tw_buf_add(json->out, "null", 4);
}

void tw_json_uuid(struct tw_json *json, struct tw_uuid id)
{
    char text[TW_UUID_TEXT + 1];

    tw_uuid_format(id, text);
    tw_json_text(json, (struct tw_str){text, TW_UUID_TEXT});
}

void tw_json_time(struct tw_json *json, int64_t time_ms)
{
    char text[TW_TIME_TEXT + 1];

    tw_time_format(time_ms, text);
    tw_json_text(json, (struct tw_str){text, TW_TIME_TEXT});
}

void tw_json_money(struct tw_json *json, int64_t minor)
{
    char   text[TW_MONEY_TEXT];
    size_t len = tw_money_format(minor, text);

    tw_json_text(json, (struct tw_str){text, len});
}

void tw_json_hundredths(struct tw_json *json, int64_t hundredths)
{
    char   text[TW_MONEY_TEXT];
    size_t len = tw_money_format(hundredths, text);

    before_value(json);
    tw_buf_add(json->out, text, len);
}

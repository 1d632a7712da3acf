/* Decimals with two places as integers; see tillwire/money.h. */
#include "tillwire/money.h"

#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool tw_money_parse(struct tw_str text, int64_t *ret_minor)
{
    int64_t minor = 0;
    size_t  at = 0;
    size_t  places = 0;

    for (; at < text.len && is_digit(text.ptr[at]) && minor <= TW_MONEY_MAX_MINOR; at++)
        minor = minor * 10 + (text.ptr[at] - '0');
    if (at == 0 || (at > 1 && text.ptr[0] == '0'))
        return false;
    if (at < text.len && text.ptr[at] == '.') {
        for (at++; at < text.len && is_digit(text.ptr[at]) && places < 2; at++, places++)
            minor = minor * 10 + (text.ptr[at] - '0');
        if (places == 0)
            return false;
    }
    for (; places < 2; places++)
        minor *= 10;
    if (at != text.len || minor > TW_MONEY_MAX_MINOR)
        return false;
    *ret_minor = minor;
    return true;
}

/* Not by printf, which is ten times as slow: every price of every line is written, again and again. */
size_t tw_money_format(int64_t minor, char ret_text[TW_MONEY_TEXT])
{
    uint64_t      magnitude = minor < 0 ? -(uint64_t)minor : (uint64_t)minor;
    char          digits[TW_INT_TEXT];
    struct tw_str whole = tw_str_of_int((int64_t)(magnitude / 100), digits);
    char         *at = ret_text;

    if (minor < 0)
        *at++ = '-';
    at = mempcpy(at, whole.ptr, whole.len);
    *at++ = '.';
    *at++ = (char)('0' + magnitude % 100 / 10);
    *at++ = (char)('0' + magnitude % 10);
    *at = '\0';
    return (size_t)(at - ret_text);
}

#include "ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/settings.h"

enum tw_ctl_exit tw_ctl_exit_of(enum tw_rc rc)
{
    switch (rc) {
    case TW_OK:
        return TW_CTL_DONE;
    case TW_INVALID:
        return TW_CTL_USAGE;
    case TW_UNREACHED:
    case TW_UNKNOWN:
        return TW_CTL_UNREACHED;
    default:
        return TW_CTL_REFUSED;
    }
}

enum tw_ctl_exit tw_ctl_failed(const char *part, const struct tw_err *err)
{
    fprintf(stderr, "twctl: %s%s%s\n", part ? part : "", part ? ": " : "", err->msg);
    return tw_ctl_exit_of(err->rc);
}

void tw_ctl_print_lines(const char *part, struct tw_str lines)
{
    while (lines.len > 0) {
        const char *end = memchr(lines.ptr, '\n', lines.len);
        size_t      len = end ? (size_t)(end - lines.ptr) : lines.len;
        size_t      step = end ? len + 1 : len;

        printf("%s: %.*s\n", part, (int)len, lines.ptr);
        lines = (struct tw_str){lines.ptr + step, lines.len - step};
    }
}

enum tw_rc tw_ctl_id_key_read(const char *path, uint8_t ret_key[TW_ID_KEY_BYTES], struct tw_err *reterr)
{
    char *text = NULL;
    bool  good;

    TW_TRY(tw_secret_read(path, 1024, &text, reterr));
    good = tw_hex_parse(tw_str_of(text), ret_key, TW_ID_KEY_BYTES);
    explicit_bzero(text, strlen(text));
    free(text);
    if (!good)
        return tw_fail(reterr, TW_INVALID, "twctl.id_key", 0, "id_key_file '%s' must hold %d bytes as hex", path,
                       TW_ID_KEY_BYTES);
    return TW_OK;
}

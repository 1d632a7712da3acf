/*
 * E-mail addresses as identities; see tillwire/email.h. The local part goes through libunistring, the domain through
 * libidn2. Folding is idempotent. Code points that Unicode has not assigned yet are refused, because what a later
 * version would make of them is not known today, and a folded address is part of the data.
 */
#include "tillwire/email.h"

#include <errno.h>
#include <idn2.h>
#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>

#include "tillwire/failpoint.h"

enum { ADDRESS_MAX_BYTES = 254, LOCAL_MAX_BYTES = 64, DOMAIN_MAX_BYTES = 253, LABEL_MAX_BYTES = 63 };

static const char where[] = "email.fold";

static struct tw_str trim(struct tw_str s)
{
    static const char blanks[] = " \t\r\n\f\v";

    while (s.len && memchr(blanks, *s.ptr, sizeof(blanks) - 1))
        s = (struct tw_str){s.ptr + 1, s.len - 1};
    while (s.len && memchr(blanks, s.ptr[s.len - 1], sizeof(blanks) - 1))
        s.len--;
    return s;
}

static bool is_ascii(struct tw_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] >= 0x80)
            return false;
    }
    return true;
}

static struct tw_str lower_ascii(struct tw_str s, struct tw_arena *arena)
{
    char *lower = tw_arena_alloc(arena, s.len);

    for (size_t i = 0; i < s.len; i++)
        lower[i] = (char)(s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? s.ptr[i] + ('a' - 'A') : s.ptr[i]);
    return (struct tw_str){lower, s.len};
}

/* `atext` of RFC 5322 with the UTF-8 of RFC 6531, less what nobody can see or what has no meaning yet. */
static bool is_local_char(ucs4_t c)
{
    const uint32_t refused = UC_CATEGORY_MASK_Cc | UC_CATEGORY_MASK_Cn | UC_CATEGORY_MASK_Cs | UC_CATEGORY_MASK_Z;

    if (c < 0x80)
        return c > 0x20 && c < 0x7F && !strchr("\"(),:;<>@[\\]", (int)c);
    return !uc_is_general_category_withtable(c, refused);
}

static bool is_local_part(struct tw_str local)
{
    ucs4_t before = '.';

    for (size_t at = 0; at < local.len;) {
        ucs4_t c;

        at += (size_t)u8_mbtouc(&c, (const uint8_t *)local.ptr + at, local.len - at);
        if (!is_local_char(c) || (c == '.' && before == '.'))
            return false;
        before = c;
    }
    return before != '.';
}

/* Takes over a text libunistring allocated. */
static struct tw_str adopt(uint8_t *text, size_t len, struct tw_arena *arena)
{
    struct tw_str copy;

    if (!text && errno == ENOMEM)
        tw_out_of_memory(len);
    copy = text ? tw_arena_copy(arena, (struct tw_str){(char *)text, len}) : (struct tw_str){NULL, 0};
    free(text);
    return copy;
}

static struct tw_str lower_unicode(struct tw_str s, struct tw_arena *arena)
{
    size_t        len = 0;
    uint8_t      *text = u8_normalize(UNINORM_NFC, (const uint8_t *)s.ptr, s.len, NULL, &len);
    struct tw_str composed = adopt(text, len, arena);

    text = u8_tolower((const uint8_t *)composed.ptr, composed.len, NULL, UNINORM_NFC, NULL, &len);
    return adopt(text, len, arena);
}

static enum tw_rc fold_local(struct tw_str typed, struct tw_arena *arena, struct tw_str *ret_local,
                             struct tw_err *reterr)
{
    struct tw_str local = is_ascii(typed) ? lower_ascii(typed, arena) : lower_unicode(typed, arena);

    if (tw_failpoint("mutant_email_unfolded"))
        local = typed;
    if (typed.len > LOCAL_MAX_BYTES || local.len > LOCAL_MAX_BYTES)
        return tw_fail(reterr, TW_INVALID, where, 0, "the part before '@' is longer than %d bytes", LOCAL_MAX_BYTES);
    /* After folding, because composing can make a forbidden character: U+037E becomes ';'. */
    if (!is_local_part(local))
        return tw_fail(reterr, TW_INVALID, where, 0, "the part before '@' is not a local part of RFC 5321");
    *ret_local = local;
    return TW_OK;
}

static bool is_label(struct tw_str label)
{
    if (label.len == 0 || label.len > LABEL_MAX_BYTES || label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
        return false;
    for (size_t i = 0; i < label.len; i++) {
        char c = label.ptr[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    return true;
}

/* Lower-case labels of letters, digits and hyphens. One label will do: RFC 5321 allows `user@localhost`. */
static bool is_ascii_domain(struct tw_str domain)
{
    if (domain.len > DOMAIN_MAX_BYTES)
        return false;
    for (;;) {
        const char *dot = domain.len ? memchr(domain.ptr, '.', domain.len) : NULL;
        size_t      len = dot ? (size_t)(dot - domain.ptr) : domain.len;

        if (!is_label((struct tw_str){domain.ptr, len}))
            return false;
        if (!dot)
            return true;
        domain = (struct tw_str){dot + 1, domain.len - len - 1};
    }
}

/* Has a label that says it is encoded? `domain` is in lower case. */
static bool has_encoded_label(struct tw_str domain)
{
    for (size_t i = 0; i + 4 <= domain.len; i++) {
        if ((i == 0 || domain.ptr[i - 1] == '.') && memcmp(domain.ptr + i, "xn--", 4) == 0)
            return true;
    }
    return false;
}

/* By libidn2: maps, checks and encodes; decodes labels that are encoded already and checks them, too. Not with
 * IDN2_USE_STD3_ASCII_RULES, which drops what it dislikes instead of refusing it. */
static enum tw_rc encode_domain(struct tw_str typed, struct tw_arena *arena, struct tw_str *ret_domain,
                                struct tw_err *reterr)
{
    struct tw_str text = tw_arena_copy(arena, typed);
    char         *ascii = NULL;
    int           rc = idn2_to_ascii_8z(text.ptr, &ascii, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);

    if (rc == IDN2_MALLOC)
        tw_out_of_memory(typed.len);
    if (rc != IDN2_OK)
        return tw_fail(reterr, TW_INVALID, where, rc, "the domain does not fit IDNA 2008: %s", idn2_strerror(rc));
    *ret_domain = tw_arena_copy(arena, tw_str_of(ascii));
    idn2_free(ascii);
    return TW_OK;
}

static enum tw_rc fold_domain(struct tw_str typed, struct tw_arena *arena, struct tw_str *ret_domain,
                              struct tw_err *reterr)
{
    struct tw_str domain = lower_ascii(typed, arena);

    if (!is_ascii(typed) || has_encoded_label(domain))
        TW_TRY(encode_domain(typed, arena, &domain, reterr));
    if (!is_ascii_domain(domain))
        return tw_fail(reterr, TW_INVALID, where, 0, "the part behind '@' is not a domain of RFC 5321");
    *ret_domain = domain;
    return TW_OK;
}

enum tw_rc tw_email_fold(struct tw_str typed, struct tw_arena *arena, struct tw_str *ret_trimmed,
                         struct tw_str *ret_folded, struct tw_err *reterr)
{
    struct tw_str trimmed = trim(typed);
    const char   *at = trimmed.len ? memrchr(trimmed.ptr, '@', trimmed.len) : NULL;
    struct tw_str local = {NULL, 0};
    struct tw_str domain = {NULL, 0};
    struct tw_str folded;
    size_t        local_len;

    if (trimmed.len > ADDRESS_MAX_BYTES)
        return tw_fail(reterr, TW_INVALID, where, 0, "the address is longer than %d bytes", ADDRESS_MAX_BYTES);
    if (!tw_str_is_utf8(trimmed))
        return tw_fail(reterr, TW_INVALID, where, 0, "the address is not UTF-8");
    if (!at)
        return tw_fail(reterr, TW_INVALID, where, 0, "the address has no '@'");
    local_len = (size_t)(at - trimmed.ptr);
    TW_TRY(fold_local((struct tw_str){trimmed.ptr, local_len}, arena, &local, reterr));
    TW_TRY(fold_domain((struct tw_str){at + 1, trimmed.len - local_len - 1}, arena, &domain, reterr));
    folded = tw_arena_printf(arena, "%.*s@%.*s", TW_STR_ARG(local), TW_STR_ARG(domain));
    if (folded.len > ADDRESS_MAX_BYTES)
        return tw_fail(reterr, TW_INVALID, where, 0, "the folded address is longer than %d bytes", ADDRESS_MAX_BYTES);
    *ret_trimmed = tw_arena_copy(arena, trimmed);
    *ret_folded = folded;
    return TW_OK;
}

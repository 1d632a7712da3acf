/*
 * The order matters: everything libjwt would trust a token for (algorithm, key, well-formedness) is settled by us on
 * the token's own bytes first; only then does libjwt compute the signature; only then are claims believed.
 */
#include "auth/token.h"

#include <jansson.h>
#include <jwt.h>
#include <stdlib.h>
#include <string.h>

#include "json_scan.h"
#include "tillwire/settings.h"

#define WHERE "edge.token"

enum { HS256_SIGNATURE_CHARS = 43, FILE_MAX_BYTES = 16384 };

static void jwt_release(jwt_t **jwt)
{
    if (*jwt)
        jwt_free(*jwt);
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

static bool kid_is_valid(struct tw_str kid)
{
    if (kid.len == 0 || kid.len > TW_TOKEN_KID_MAX)
        return false;
    for (size_t i = 0; i < kid.len; i++) {
        char c = kid.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '_' || c == '.';
        if (!plain)
            return false;
    }
    return true;
}

static const struct tw_token_key *key_find(const struct tw_token_keys *keys, struct tw_str kid)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (tw_str_is(kid, keys->keys[i].kid))
            return &keys->keys[i];
    }
    return NULL;
}

static enum tw_rc key_line_parse(struct tw_str line, struct tw_token_keys *keys, long number, struct tw_err *reterr)
{
    const char          *colon = memchr(line.ptr, ':', line.len);
    struct tw_token_key *key = &keys->keys[keys->count];

    if (!colon)
        return tw_fail(reterr, TW_INVALID, WHERE, number, "line %ld of the token keys is not kid:hex", number);
    struct tw_str kid = {line.ptr, (size_t)(colon - line.ptr)};
    struct tw_str hex = {colon + 1, line.len - kid.len - 1};
    if (!kid_is_valid(kid) || key_find(keys, kid))
        return tw_fail(reterr, TW_INVALID, WHERE, number, "line %ld of the token keys has a bad or repeated kid",
                       number);
    if (keys->count == TW_TOKEN_KEYS_MAX)
        return tw_fail(reterr, TW_INVALID, WHERE, number, "more than %d token keys", TW_TOKEN_KEYS_MAX);
    /* An empty or short HMAC key verifies forged tokens: refused before it can reach libjwt. */
    if (hex.len % 2 != 0 || hex.len / 2 < TW_TOKEN_KEY_MIN_BYTES || hex.len / 2 > TW_TOKEN_KEY_MAX_BYTES ||
        !tw_hex_parse(hex, key->bytes, hex.len / 2))
        return tw_fail(reterr, TW_INVALID, WHERE, number,
                       "line %ld of the token keys is not a key of 32 to 64 bytes in hex", number);
    key->len = hex.len / 2;
    memcpy(key->kid, kid.ptr, kid.len);
    key->kid[kid.len] = '\0';
    keys->count++;
    return TW_OK;
}

static struct tw_str line_trim(struct tw_str line)
{
    while (line.len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t'))
        line = (struct tw_str){line.ptr + 1, line.len - 1};
    while (line.len > 0 && strchr(" \t\r", line.ptr[line.len - 1]))
        line.len--;
    return line;
}

enum tw_rc tw_token_keys_parse(struct tw_str text, struct tw_token_keys *ret_keys, struct tw_err *reterr)
{
    struct tw_token_keys keys = {0};
    long                 number = 0;

    while (text.len > 0) {
        const char   *newline = memchr(text.ptr, '\n', text.len);
        size_t        line_len = newline ? (size_t)(newline - text.ptr) : text.len;
        struct tw_str line = line_trim((struct tw_str){text.ptr, line_len});
        size_t        step = line_len + (newline ? 1 : 0);

        text = (struct tw_str){text.ptr + step, text.len - step};
        number++;
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        TW_TRY(key_line_parse(line, &keys, number, reterr));
    }
    if (keys.count == 0)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "there is no token key");
    *ret_keys = keys;
    return TW_OK;
}

enum tw_rc tw_token_keys_read(const char *path, struct tw_token_keys *ret_keys, struct tw_err *reterr)
{
    char *text = NULL;

    TW_TRY(tw_secret_read(path, FILE_MAX_BYTES, &text, reterr));
    enum tw_rc rc = tw_token_keys_parse(tw_str_of(text), ret_keys, reterr);
    explicit_bzero(text, strlen(text));
    free(text);
    return rc;
}

/* --- signing ------------------------------------------------------------------------------------------------------ */

static bool claims_add(jwt_t *jwt, const struct tw_token_rules *rules, const struct tw_token_claims *claims)
{
    char subject[TW_UUID_TEXT + 1];
    char token_id[TW_UUID_TEXT + 1];

    tw_uuid_format(claims->subject, subject);
    tw_uuid_format(claims->token_id, token_id);
    return jwt_add_grant(jwt, "iss", rules->issuer) == 0 && jwt_add_grant(jwt, "aud", rules->audience) == 0 &&
           jwt_add_grant(jwt, "sub", subject) == 0 && jwt_add_grant(jwt, "jti", token_id) == 0 &&
           jwt_add_grant_int(jwt, "iat", (long)claims->issued_s) == 0 &&
           jwt_add_grant_int(jwt, "exp", (long)claims->expires_s) == 0 &&
           jwt_add_grant(jwt, "scope", claims->scope) == 0;
}

enum tw_rc tw_token_sign(const struct tw_token_rules *rules, const struct tw_token_claims *claims, char **ret_token,
                         struct tw_err *reterr)
{
    const struct tw_token_key  *key = &rules->keys->keys[0];
    TW_AUTO(jwt_release) jwt_t *jwt = NULL;

    if (rules->keys->count == 0 || key->len < TW_TOKEN_KEY_MIN_BYTES)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "there is no key to sign with");
    if (jwt_new(&jwt) != 0)
        tw_out_of_memory(sizeof(void *));
    if (jwt_set_alg(jwt, JWT_ALG_HS256, key->bytes, (int)key->len) != 0 || jwt_add_header(jwt, "kid", key->kid) != 0 ||
        !claims_add(jwt, rules, claims))
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "libjwt refused a claim");
    char *token = jwt_encode_str(jwt);
    if (!token)
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "libjwt did not encode the token");
    *ret_token = token;
    return TW_OK;
}

/* --- verifying ---------------------------------------------------------------------------------------------------- */

static int base64url_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/** Decodes canonical base64url without padding: one spelling per value, so that a token has no second form. */
static bool base64url_decode(struct tw_str text, char *ret_bytes, size_t *ret_len)
{
    uint32_t bits = 0;
    unsigned count = 0;
    size_t   len = 0;

    if (text.len == 0 || text.len % 4 == 1)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int value = base64url_value(text.ptr[i]);
        if (value < 0)
            return false;
        bits = (bits << 6) | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            ret_bytes[len++] = (char)(unsigned char)(bits >> count);
            bits &= (1u << count) - 1;
        }
    }
    *ret_len = len;
    return bits == 0;
}

struct parts {
    struct tw_str header;
    struct tw_str payload;
    struct tw_str signature;
};

static bool split(struct tw_str token, struct parts *ret_parts)
{
    const char *first = memchr(token.ptr, '.', token.len);
    if (!first)
        return false;
    struct tw_str rest = {first + 1, token.len - (size_t)(first - token.ptr) - 1};
    const char   *second = memchr(rest.ptr, '.', rest.len);
    if (!second)
        return false;
    ret_parts->header = (struct tw_str){token.ptr, (size_t)(first - token.ptr)};
    ret_parts->payload = (struct tw_str){rest.ptr, (size_t)(second - rest.ptr)};
    ret_parts->signature = (struct tw_str){second + 1, rest.len - ret_parts->payload.len - 1};
    return true; /* a third dot fails as no base64url character */
}

/** One part as a flat JSON object without repeated members; NULL when it is anything else. */
static json_t *part_object(struct tw_str part)
{
    char   bytes[TW_TOKEN_MAX_BYTES];
    size_t len = 0;

    if (part.len > sizeof(bytes) || !base64url_decode(part, bytes, &len))
        return NULL;
    if (tw_json_depth((struct tw_str){bytes, len}) != 1)
        return NULL;
    json_t *object = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, NULL);
    if (object && !json_is_object(object)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static bool member_is(const json_t *object, const char *name, const char *value)
{
    const json_t *member = json_object_get(object, name);

    return json_is_string(member) && json_string_length(member) == strlen(value) &&
           strcmp(json_string_value(member), value) == 0;
}

/** Only what we write ourselves is allowed in the header: no crit, no jku, no x5c, nothing to be talked into. */
static const struct tw_token_key *header_key(const struct tw_token_rules *rules, const json_t *header)
{
    const json_t *kid = json_object_get(header, "kid");

    if (json_object_size(header) != 3 || !member_is(header, "alg", "HS256") || !member_is(header, "typ", "JWT") ||
        !json_is_string(kid))
        return NULL;
    return key_find(rules->keys, (struct tw_str){json_string_value(kid), json_string_length(kid)});
}

static bool signature_is_valid(struct tw_str token, const struct tw_token_key *key)
{
    char                        text[TW_TOKEN_MAX_BYTES + 1];
    TW_AUTO(jwt_release) jwt_t *jwt = NULL;

    memcpy(text, token.ptr, token.len);
    text[token.len] = '\0';
    if (jwt_decode(&jwt, text, key->bytes, (int)key->len) != 0)
        return false;
    return jwt_get_alg(jwt) == JWT_ALG_HS256;
}

static bool member_uuid(const json_t *payload, const char *name, struct tw_uuid *ret_id)
{
    const json_t *member = json_object_get(payload, name);

    return json_is_string(member) &&
           tw_uuid_parse((struct tw_str){json_string_value(member), json_string_length(member)}, ret_id);
}

static bool member_time(const json_t *payload, const char *name, int64_t *ret_s)
{
    const json_t *member = json_object_get(payload, name);

    if (!json_is_integer(member) || json_integer_value(member) < 0)
        return false;
    *ret_s = json_integer_value(member);
    return true;
}

static bool member_scope(const json_t *payload, char ret_scope[TW_TOKEN_SCOPE_MAX + 1])
{
    const json_t *member = json_object_get(payload, "scope");

    if (!json_is_string(member) || json_string_length(member) > TW_TOKEN_SCOPE_MAX)
        return false;
    memcpy(ret_scope, json_string_value(member), json_string_length(member) + 1);
    return strlen(ret_scope) == json_string_length(member);
}

static bool not_before_has_passed(const json_t *payload, int64_t now_s)
{
    int64_t not_before_s = 0;

    return !json_object_get(payload, "nbf") ||
           (member_time(payload, "nbf", &not_before_s) && not_before_s <= now_s + TW_TOKEN_SKEW_S);
}

static enum tw_rc claims_read(const struct tw_token_rules *rules, const json_t *payload, int64_t now_s,
                              struct tw_token_claims *ret_claims, struct tw_err *reterr)
{
    struct tw_token_claims claims = {0};

    if (!member_is(payload, "iss", rules->issuer) || !member_is(payload, "aud", rules->audience))
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the token is of another issuer or for another audience");
    if (!member_uuid(payload, "sub", &claims.subject) || !member_uuid(payload, "jti", &claims.token_id) ||
        !member_time(payload, "iat", &claims.issued_s) || !member_time(payload, "exp", &claims.expires_s) ||
        !member_scope(payload, claims.scope))
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "a claim of the token is missing or wrong");
    if (claims.expires_s <= now_s - TW_TOKEN_SKEW_S)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the token has expired");
    if (claims.issued_s > now_s + TW_TOKEN_SKEW_S || !not_before_has_passed(payload, now_s))
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the token is not valid yet");
    *ret_claims = claims;
    return TW_OK;
}

enum tw_rc tw_token_verify(const struct tw_token_rules *rules, struct tw_str token, int64_t now_s,
                           struct tw_token_claims *ret_claims, struct tw_err *reterr)
{
    struct parts parts;
    char         signature[HS256_SIGNATURE_CHARS];
    size_t       signature_len = 0;

    if (token.len == 0 || token.len > TW_TOKEN_MAX_BYTES || !split(token, &parts))
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the token is not of three parts");
    if (parts.signature.len != HS256_SIGNATURE_CHARS || !base64url_decode(parts.signature, signature, &signature_len))
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the token's signature is not in its one canonical form");
    TW_AUTO(tw_json_release) json_t *header = part_object(parts.header);
    TW_AUTO(tw_json_release) json_t *payload = part_object(parts.payload);
    if (!header || !payload)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "a part of the token is not canonical base64url of a flat object");
    const struct tw_token_key *key = header_key(rules, header);
    if (!key || key->len < TW_TOKEN_KEY_MIN_BYTES)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the token's header is not one of ours");
    if (!signature_is_valid(token, key))
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the token's signature is wrong");
    return claims_read(rules, payload, now_s, ret_claims, reterr);
}

bool tw_token_has_scope(const char *scopes, const char *scope)
{
    size_t len = strlen(scope);

    for (const char *word = scopes; *word;) {
        size_t word_len = strcspn(word, " ");
        if (word_len == len && memcmp(word, scope, len) == 0)
            return true;
        word += word_len;
        word += strspn(word, " ");
    }
    return false;
}

/*
 * The order matters: everything libjwt would trust a token for (algorithm, key, well-formedness) is settled by us on
 * the token's own bytes first; only then does libjwt compute the signature; only then are claims believed.
 */
#include "auth/token.h"

#include <errno.h>
#include <jansson.h>
#include <jwt.h>
#include <stdlib.h>
#include <string.h>

#include "json_scan.h"

#define WHERE "edge.token"

enum { HS256_SIGNATURE_CHARS = 43, ES256_SIGNATURE_CHARS = 86 };

/* After a call of libjwt's that failed, with errno 0 before: it tells a wrong token and missing memory apart nowhere but in
 * errno, and not always in what it returns. */
static void end_without_memory(void)
{
    if (errno == ENOMEM)
        tw_out_of_memory(sizeof(void *));
}

static void jwt_release(jwt_t **jwt)
{
    if (*jwt)
        jwt_free(*jwt);
}

/** What differs between the algorithms; the key as libjwt wants it. */
struct method {
    jwt_alg_t      alg;
    size_t         signature_chars; /* exactly */
    const uint8_t *sign_key;
    size_t         sign_key_len; /* 0: the key does not sign */
    const uint8_t *verify_key;
    size_t         verify_key_len;
};

static struct method method_of(enum tw_token_algorithm algorithm, const struct tw_token_key *key)
{
    if (algorithm == TW_TOKEN_ES256)
        return (struct method){
            .alg = JWT_ALG_ES256,
            .signature_chars = ES256_SIGNATURE_CHARS,
            .sign_key = (const uint8_t *)key->private_pem,
            .sign_key_len = strlen(key->private_pem),
            .verify_key = (const uint8_t *)key->public_pem,
            .verify_key_len = strlen(key->public_pem),
        };
    return (struct method){
        .alg = JWT_ALG_HS256,
        .signature_chars = HS256_SIGNATURE_CHARS,
        .sign_key = key->secret,
        .sign_key_len = key->secret_len,
        .verify_key = key->secret,
        .verify_key_len = key->secret_len,
    };
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
    struct method               method = method_of(rules->keys->algorithm, key);
    TW_AUTO(jwt_release) jwt_t *jwt = NULL;

    if (rules->keys->count == 0 || method.sign_key_len < TW_TOKEN_KEY_MIN_BYTES)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "there is no key to sign with");
    errno = 0;
    if (jwt_new(&jwt) != 0 || jwt_set_alg(jwt, method.alg, method.sign_key, (int)method.sign_key_len) != 0 ||
        jwt_add_header(jwt, "kid", key->kid) != 0 || !claims_add(jwt, rules, claims)) {
        end_without_memory();
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "libjwt refused a claim");
    }
    char *token = jwt_encode_str(jwt);
    if (!token) {
        end_without_memory();
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "libjwt did not encode the token");
    }
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

    if (json_object_size(header) != 3 || !member_is(header, "alg", tw_token_algorithm_name(rules->keys->algorithm)) ||
        !member_is(header, "typ", "JWT") || !json_is_string(kid))
        return NULL;
    return tw_token_key_find(rules->keys, (struct tw_str){json_string_value(kid), json_string_length(kid)});
}

static bool signature_is_valid(struct tw_str token, const struct method *method)
{
    char                        text[TW_TOKEN_MAX_BYTES + 1];
    TW_AUTO(jwt_release) jwt_t *jwt = NULL;

    memcpy(text, token.ptr, token.len);
    text[token.len] = '\0';
    errno = 0;
    if (jwt_decode(&jwt, text, method->verify_key, (int)method->verify_key_len) == 0 && jwt_get_alg(jwt) == method->alg)
        return true;
    end_without_memory(); /* then libjwt may even take a token for an unsigned one */
    return false;
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
    char         signature[ES256_SIGNATURE_CHARS];
    size_t       signature_len = 0;

    if (token.len == 0 || token.len > TW_TOKEN_MAX_BYTES || !split(token, &parts))
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the token is not of three parts");
    TW_AUTO(tw_json_release) json_t *header = part_object(parts.header);
    TW_AUTO(tw_json_release) json_t *payload = part_object(parts.payload);
    if (!header || !payload)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "a part of the token is not canonical base64url of a flat object");
    const struct tw_token_key *key = header_key(rules, header);
    if (!key)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the token's header is not one of ours");
    struct method method = method_of(rules->keys->algorithm, key);
    if (method.verify_key_len < TW_TOKEN_KEY_MIN_BYTES)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the key is too short to verify with");
    if (parts.signature.len != method.signature_chars || !base64url_decode(parts.signature, signature, &signature_len))
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the token's signature is not in its one canonical form");
    if (!signature_is_valid(token, &method))
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

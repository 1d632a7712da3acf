/*
 * Key files. Whatever is wrong with one is found here, before anything is signed or verified: libjwt takes empty HMAC
 * keys and any curve. An ES256 key is read once and written anew in one form, so that what libjwt parses with every
 * token is what was checked.
 */
#include "auth/token.h"

#include <assert.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/settings.h"

#define WHERE "edge.token"

enum { FILE_MAX_BYTES = 16384, GROUP_NAME_MAX = 64 };

/* --- memory ------------------------------------------------------------------------------------------------------- */

/* OpenSSL, and libjwt over it, say the same of a wrong key or signature and of memory that is missing; libjwt even goes on
 * with a MAC that was not computed. With our allocation (tillwire/base.h) the second does not happen. A size of 0 gives
 * NULL, as OpenSSL's own. */
static void *openssl_alloc(size_t size_bytes, const char *file, int line)
{
    (void)file, (void)line;
    return size_bytes ? tw_alloc(size_bytes) : NULL;
}

static void openssl_free(void *memory, const char *file, int line)
{
    (void)file, (void)line;
    free(memory);
}

static void *openssl_realloc(void *old, size_t size_bytes, const char *file, int line)
{
    if (size_bytes)
        return tw_realloc(old, size_bytes);
    openssl_free(old, file, line);
    return NULL;
}

static void give_openssl_our_memory(void)
{
    int taken = CRYPTO_set_mem_functions(openssl_alloc, openssl_realloc, openssl_free);

    assert(taken);
}

/* OpenSSL takes it only before it has allocated anything, and libmongoc's constructor makes it do so: before all of them. */
__attribute__((section(".preinit_array"),
               used)) static void (*const before_constructors)(void) = give_openssl_our_memory;

enum tw_token_algorithm tw_token_algorithm_of(const char *name)
{
    return strcmp(name, "ES256") == 0 ? TW_TOKEN_ES256 : TW_TOKEN_HS256;
}

const char *tw_token_algorithm_name(enum tw_token_algorithm algorithm)
{
    return algorithm == TW_TOKEN_ES256 ? "ES256" : "HS256";
}

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

const struct tw_token_key *tw_token_key_find(const struct tw_token_keys *keys, struct tw_str kid)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (tw_str_is(kid, keys->keys[i].kid))
            return &keys->keys[i];
    }
    return NULL;
}

/** A new key of this name behind the others; @p line for the sentence. */
static enum tw_rc key_begin(struct tw_token_keys *keys, struct tw_str kid, long line, struct tw_token_key **ret_key,
                            struct tw_err *reterr)
{
    struct tw_token_key *key = &keys->keys[keys->count];

    if (!kid_is_valid(kid) || tw_token_key_find(keys, kid))
        return tw_fail(reterr, TW_INVALID, WHERE, line, "line %ld of the token keys has a bad or repeated kid", line);
    if (keys->count == TW_TOKEN_KEYS_MAX)
        return tw_fail(reterr, TW_INVALID, WHERE, line, "more than %d token keys", TW_TOKEN_KEYS_MAX);
    *key = (struct tw_token_key){0};
    memcpy(key->kid, kid.ptr, kid.len);
    *ret_key = key;
    return TW_OK;
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

struct lines {
    struct tw_str rest;
    struct tw_str line; /* without blanks around it */
    long          number;
};

static struct tw_str trim(struct tw_str text)
{
    while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
        text = (struct tw_str){text.ptr + 1, text.len - 1};
    while (text.len > 0 && strchr(" \t\r", text.ptr[text.len - 1]))
        text.len--;
    return text;
}

static bool next_line(struct lines *lines)
{
    if (lines->rest.len == 0)
        return false;
    const char *newline = memchr(lines->rest.ptr, '\n', lines->rest.len);
    size_t      len = newline ? (size_t)(newline - lines->rest.ptr) : lines->rest.len;
    size_t      step = len + (newline ? 1 : 0);
    lines->line = trim((struct tw_str){lines->rest.ptr, len});
    lines->rest = (struct tw_str){lines->rest.ptr + step, lines->rest.len - step};
    lines->number++;
    return true;
}

static bool is_remark(struct tw_str line)
{
    return line.len == 0 || line.ptr[0] == '#';
}

static bool starts_with(struct tw_str text, const char *start)
{
    return text.len >= strlen(start) && memcmp(text.ptr, start, strlen(start)) == 0;
}

/* --- HS256 -------------------------------------------------------------------------------------------------------- */

static enum tw_rc parse_secret(struct tw_str line, struct tw_token_keys *keys, long number, struct tw_err *reterr)
{
    const char          *colon = memchr(line.ptr, ':', line.len);
    struct tw_token_key *key;

    if (!colon)
        return tw_fail(reterr, TW_INVALID, WHERE, number, "line %ld of the token keys is not kid:hex", number);
    struct tw_str kid = {line.ptr, (size_t)(colon - line.ptr)};
    struct tw_str hex = {colon + 1, line.len - kid.len - 1};
    TW_TRY(key_begin(keys, kid, number, &key, reterr));
    /* An empty or short HMAC key verifies forged tokens: refused before it can reach libjwt. */
    if (hex.len % 2 != 0 || hex.len / 2 < TW_TOKEN_KEY_MIN_BYTES || hex.len / 2 > TW_TOKEN_KEY_MAX_BYTES ||
        !tw_hex_parse(hex, key->secret, hex.len / 2))
        return tw_fail(reterr, TW_INVALID, WHERE, number,
                       "line %ld of the token keys is not a key of 32 to 64 bytes in hex", number);
    key->secret_len = hex.len / 2;
    keys->count++;
    return TW_OK;
}

static enum tw_rc parse_secrets(struct lines *lines, struct tw_token_keys *keys, struct tw_err *reterr)
{
    while (next_line(lines)) {
        if (!is_remark(lines->line))
            TW_TRY(parse_secret(lines->line, keys, lines->number, reterr));
    }
    return TW_OK;
}

/* --- ES256 -------------------------------------------------------------------------------------------------------- */

static void bio_release(BIO **bio)
{
    BIO_free(*bio); /* accepts NULL; the memory of a secret one is wiped */
}

static void pkey_release(EVP_PKEY **pkey)
{
    EVP_PKEY_free(*pkey);
}

static void pkey_ctx_release(EVP_PKEY_CTX **ctx)
{
    EVP_PKEY_CTX_free(*ctx);
}

static void bn_release(BIGNUM **number)
{
    BN_clear_free(*number);
}

/** Instead of OpenSSL's own, which would ask at the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *unused)
{
    (void)buffer, (void)size, (void)writing, (void)unused;
    return -1;
}

static bool is_p256(const EVP_PKEY *pkey)
{
    char   name[GROUP_NAME_MAX];
    size_t len = 0;

    return EVP_PKEY_is_a(pkey, "EC") && EVP_PKEY_get_group_name(pkey, name, sizeof(name), &len) == 1 &&
           strcmp(name, "prime256v1") == 0;
}

/** The point is on the curve, and the private part is its own. */
static bool is_sound(EVP_PKEY *pkey, bool is_private)
{
    TW_AUTO(pkey_ctx_release) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);

    return ctx && (is_private ? EVP_PKEY_check(ctx) : EVP_PKEY_public_check(ctx)) == 1;
}

static bool take_pem(BIO *bio, char ret_pem[TW_TOKEN_PEM_MAX])
{
    char *text = NULL;
    long  len = BIO_get_mem_data(bio, &text);

    if (len <= 0 || len >= TW_TOKEN_PEM_MAX)
        return false;
    memcpy(ret_pem, text, (size_t)len);
    ret_pem[len] = '\0';
    return true;
}

static bool write_private(EVP_PKEY *pkey, char ret_pem[TW_TOKEN_PEM_MAX])
{
    TW_AUTO(bio_release) BIO *bio = BIO_new(BIO_s_secmem());

    return bio && PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) == 1 && take_pem(bio, ret_pem);
}

static bool write_public(EVP_PKEY *pkey, char ret_pem[TW_TOKEN_PEM_MAX])
{
    TW_AUTO(bio_release) BIO *bio = BIO_new(BIO_s_mem());

    return bio && PEM_write_bio_PUBKEY(bio, pkey) == 1 && take_pem(bio, ret_pem);
}

static bool write_coordinate(const EVP_PKEY *pkey, const char *name, uint8_t ret_bytes[TW_TOKEN_COORDINATE])
{
    TW_AUTO(bn_release) BIGNUM *number = NULL;

    return EVP_PKEY_get_bn_param(pkey, name, &number) == 1 &&
           BN_bn2binpad(number, ret_bytes, TW_TOKEN_COORDINATE) == TW_TOKEN_COORDINATE;
}

static EVP_PKEY *read_pem(struct tw_str pem, bool is_private)
{
    TW_AUTO(bio_release) BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);

    if (!bio)
        return NULL;
    return is_private ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL)
                      : PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
}

static bool take_pkey(EVP_PKEY *pkey, bool is_private, struct tw_token_key *key)
{
    return is_p256(pkey) && is_sound(pkey, is_private) && (!is_private || write_private(pkey, key->private_pem)) &&
           write_public(pkey, key->public_pem) && write_coordinate(pkey, OSSL_PKEY_PARAM_EC_PUB_X, key->x) &&
           write_coordinate(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, key->y);
}

static enum tw_rc parse_pem(struct tw_str pem, struct tw_token_key *key, long number, struct tw_err *reterr)
{
    bool is_public = starts_with(pem, "-----BEGIN PUBLIC KEY-----");
    bool is_private =
        starts_with(pem, "-----BEGIN PRIVATE KEY-----") || starts_with(pem, "-----BEGIN EC PRIVATE KEY-----");

    if (!is_public && !is_private)
        return tw_fail(reterr, TW_INVALID, WHERE, number,
                       "line %ld of the token keys begins neither a PRIVATE KEY, an EC PRIVATE KEY nor a PUBLIC KEY",
                       number);
    TW_AUTO(pkey_release) EVP_PKEY *pkey = read_pem(pem, is_private);
    if (!pkey || !take_pkey(pkey, is_private, key))
        return tw_fail(reterr, TW_INVALID, WHERE, number, "line %ld of the token keys begins no plain key of P-256",
                       number);
    return TW_OK;
}

/** From the line that begins it to the one that ends it. */
static enum tw_rc next_pem(struct lines *lines, struct tw_str *ret_pem, struct tw_err *reterr)
{
    const char *start = lines->line.ptr;
    long        number = lines->number;

    while (next_line(lines)) {
        if (starts_with(lines->line, "-----END ")) {
            *ret_pem = (struct tw_str){start, (size_t)(lines->line.ptr - start) + lines->line.len};
            return TW_OK;
        }
    }
    return tw_fail(reterr, TW_INVALID, WHERE, number, "the token key of line %ld has no end", number);
}

/** The key that belongs to the `kid:` line just read. */
static enum tw_rc parse_block(struct lines *lines, struct tw_token_keys *keys, struct tw_err *reterr)
{
    struct tw_str        kid = trim((struct tw_str){lines->line.ptr + 4, lines->line.len - 4});
    long                 number = lines->number;
    struct tw_token_key *key;
    struct tw_str        pem = {0};

    TW_TRY(key_begin(keys, kid, number, &key, reterr));
    do {
        if (!next_line(lines))
            return tw_fail(reterr, TW_INVALID, WHERE, number, "the kid of line %ld of the token keys has no key",
                           number);
    } while (is_remark(lines->line));
    number = lines->number;
    if (!starts_with(lines->line, "-----BEGIN "))
        return tw_fail(reterr, TW_INVALID, WHERE, number, "line %ld of the token keys begins no key", number);
    TW_TRY(next_pem(lines, &pem, reterr));
    TW_TRY(parse_pem(pem, key, number, reterr));
    keys->count++;
    return TW_OK;
}

static enum tw_rc parse_blocks(struct lines *lines, struct tw_token_keys *keys, struct tw_err *reterr)
{
    while (next_line(lines)) {
        if (is_remark(lines->line))
            continue;
        if (!starts_with(lines->line, "kid:"))
            return tw_fail(reterr, TW_INVALID, WHERE, lines->number, "line %ld of the token keys is not kid: NAME",
                           lines->number);
        TW_TRY(parse_block(lines, keys, reterr));
    }
    if (keys->count > 0 && keys->keys[0].private_pem[0] == '\0')
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the first token key signs and must be a private one");
    return TW_OK;
}

/* --- both --------------------------------------------------------------------------------------------------------- */

enum tw_rc tw_token_keys_parse(enum tw_token_algorithm algorithm, struct tw_str text, struct tw_token_keys *ret_keys,
                               struct tw_err *reterr)
{
    struct tw_token_keys keys = {.algorithm = algorithm};
    struct lines         lines = {.rest = text};
    enum tw_rc           rc =
        algorithm == TW_TOKEN_ES256 ? parse_blocks(&lines, &keys, reterr) : parse_secrets(&lines, &keys, reterr);

    if (rc == TW_OK && keys.count == 0)
        rc = tw_fail(reterr, TW_INVALID, WHERE, 0, "there is no token key");
    if (rc == TW_OK)
        *ret_keys = keys;
    explicit_bzero(&keys, sizeof(keys));
    return rc;
}

enum tw_rc tw_token_keys_read(enum tw_token_algorithm algorithm, const char *path, struct tw_token_keys *ret_keys,
                              struct tw_err *reterr)
{
    char *text = NULL;

    TW_TRY(tw_secret_read(path, FILE_MAX_BYTES, &text, reterr));
    enum tw_rc rc = tw_token_keys_parse(algorithm, tw_str_of(text), ret_keys, reterr);
    explicit_bzero(text, strlen(text));
    free(text);
    return rc;
}

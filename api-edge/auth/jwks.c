#include "auth/jwks.h"

#include <assert.h>
#include <sodium.h>

#include "tillwire/json_out.h"

enum { COORDINATE_TEXT = 44 }; /* 32 bytes in base64url, with its NUL */

static void write_member(struct tw_json *json, const char *name, const char *value)
{
    tw_json_key(json, name);
    tw_json_text(json, tw_str_of(value));
}

static void write_coordinate(struct tw_json *json, const char *name, const uint8_t bytes[TW_TOKEN_COORDINATE])
{
    char text[COORDINATE_TEXT];

    sodium_bin2base64(text, sizeof(text), bytes, TW_TOKEN_COORDINATE, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    write_member(json, name, text);
}

static void write_key(struct tw_json *json, const struct tw_token_key *key)
{
    tw_json_open(json, '{');
    write_member(json, "kty", "EC");
    write_member(json, "crv", "P-256");
    write_member(json, "alg", "ES256");
    write_member(json, "use", "sig");
    write_member(json, "kid", key->kid);
    write_coordinate(json, "x", key->x);
    write_coordinate(json, "y", key->y);
    tw_json_close(json, '}');
}

void tw_jwks_write(const struct tw_token_keys *keys, struct tw_buf *out)
{
    struct tw_json json = {out, false};

    assert(keys->algorithm == TW_TOKEN_ES256);
    tw_json_open(&json, '{');
    tw_json_key(&json, "keys");
    tw_json_open(&json, '[');
    for (size_t i = 0; i < keys->count; i++)
        write_key(&json, &keys->keys[i]);
    tw_json_close(&json, ']');
    tw_json_close(&json, '}');
}

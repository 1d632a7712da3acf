#include "product_index.h"

#include <string.h>

#include "product_bson.h"

static bool find_bool(const bson_t *in, const char *name)
{
    bson_iter_t iter;

    return bson_iter_init_find(&iter, in, name) && bson_iter_as_bool(&iter);
}

bool tw_mongo_wants_index(const bson_t *index, bool is_stand_in, bool is_shadow)
{
    const char *server = tw_bson_find_text(index, "server");

    if (is_shadow && !find_bool(index, "shadow"))
        return false;
    return !*server || !strcmp(server, is_stand_in ? "stand-in" : "mongod");
}

/* 1 and 1.0 are the same; a text is the kind of an index. */
static bool same_value(const bson_iter_t *a, const bson_iter_t *b)
{
    if (BSON_ITER_HOLDS_UTF8(a) || BSON_ITER_HOLDS_UTF8(b))
        return BSON_ITER_HOLDS_UTF8(a) && BSON_ITER_HOLDS_UTF8(b) &&
               !strcmp(bson_iter_utf8(a, NULL), bson_iter_utf8(b, NULL));
    return bson_iter_as_int64(a) == bson_iter_as_int64(b);
}

/* In this order. */
static bool same_keys(const bson_t *a, const bson_t *b)
{
    bson_t      key_a, key_b;
    bson_iter_t at_a, at_b;

    if (!tw_bson_find_document(a, "key", &key_a) || !tw_bson_find_document(b, "key", &key_b) ||
        !bson_iter_init(&at_a, &key_a) || !bson_iter_init(&at_b, &key_b))
        return false;
    while (bson_iter_next(&at_a))
        if (!bson_iter_next(&at_b) || strcmp(bson_iter_key(&at_a), bson_iter_key(&at_b)) != 0 ||
            !same_value(&at_a, &at_b))
            return false;
    return !bson_iter_next(&at_b);
}

/* In whatever order: the server sorts them. */
static bool same_weights(const bson_t *a, const bson_t *b)
{
    bson_t      weights_a, weights_b;
    bson_iter_t at_a, at_b;

    if (!tw_bson_find_document(a, "weights", &weights_a) || !tw_bson_find_document(b, "weights", &weights_b) ||
        bson_count_keys(&weights_a) != bson_count_keys(&weights_b) || !bson_iter_init(&at_a, &weights_a))
        return false;
    while (bson_iter_next(&at_a))
        if (!bson_iter_init_find(&at_b, &weights_b, bson_iter_key(&at_a)) || !same_value(&at_a, &at_b))
            return false;
    return true;
}

static bool is_text(const bson_t *index)
{
    bson_t      key;
    bson_iter_t iter;

    if (!tw_bson_find_document(index, "key", &key) || !bson_iter_init(&iter, &key))
        return false;
    while (bson_iter_next(&iter))
        if (BSON_ITER_HOLDS_UTF8(&iter) && !strcmp(bson_iter_utf8(&iter, NULL), "text"))
            return true;
    return false;
}

bool tw_mongo_same_index(const bson_t *wanted, const bson_t *stored)
{
    if (is_text(wanted))
        return is_text(stored) && same_weights(wanted, stored) &&
               !strcmp(tw_bson_find_text(wanted, "default_language"), tw_bson_find_text(stored, "default_language"));
    return same_keys(wanted, stored) && find_bool(wanted, "unique") == find_bool(stored, "unique");
}

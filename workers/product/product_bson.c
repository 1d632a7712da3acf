#include "product_bson.h"

bool tw_bson_find_document(const bson_t *in, const char *name, bson_t *ret_view)
{
    bson_iter_t    iter;
    const uint8_t *bytes;
    uint32_t       len;

    if (!bson_iter_init_find(&iter, in, name) || (!BSON_ITER_HOLDS_DOCUMENT(&iter) && !BSON_ITER_HOLDS_ARRAY(&iter)))
        return false;
    if (BSON_ITER_HOLDS_ARRAY(&iter))
        bson_iter_array(&iter, &len, &bytes);
    else
        bson_iter_document(&iter, &len, &bytes);
    return bson_init_static(ret_view, bytes, len);
}

const char *tw_bson_find_text(const bson_t *in, const char *name)
{
    bson_iter_t iter;

    return bson_iter_init_find(&iter, in, name) && BSON_ITER_HOLDS_UTF8(&iter) ? bson_iter_utf8(&iter, NULL) : "";
}

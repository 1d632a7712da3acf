#include "cart_policy.h"

#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/product_messages.h"

static enum tw_rc open_reprice(const struct tw_policy_settings *settings, void **ret_self, struct tw_err *reterr)
{
    struct tw_holders   holders;
    struct tw_catalogue catalogue;
    enum tw_rc          rc;

    TW_TRY(tw_redis_holders_open(settings->store_uri, settings->timeout_ms, &holders, reterr));
    rc = tw_mongo_catalogue_open(settings->uri, settings->timeout_ms, &catalogue, reterr);
    if (rc != TW_OK) {
        holders.close(holders.self);
        return rc;
    }
    *ret_self = tw_reprice_new(&holders, &catalogue);
    return TW_OK;
}

/* product.created is not among them: a line is never older than the first version of its product. */
static const struct tw_type *const types[] = {
    &tw_product_changed_type,
    &tw_cart_item_added_type,
    &tw_cart_item_set_type,
    NULL,
};

static const struct tw_policy_work work = {
    .open = open_reprice,
    .close = tw_reprice_free,
    .settle = tw_reprice_settle,
    .spread = tw_reprice_spread,
    .is_spreading = tw_reprice_is_spreading,
    .is_full = tw_reprice_is_full,
    .oldest = tw_reprice_oldest,
    .suspend = tw_reprice_suspend,
    .forget = tw_reprice_forget,
};

const struct tw_policy tw_cart_reprice_policy = {
    .name = "cart-reprice",
    .follows = {TW_DOMAIN_PRODUCT, TW_DOMAIN_CART},
    .types = types,
    .repeats = true,
    .gather_ms = 100,
    .react = tw_reprice_react,
    .work = &work,
};

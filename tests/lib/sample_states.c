/*
 * Entity i at generation g is computed from i and g alone, so any process can say what a store must hold. Lists are
 * windows that slide with the generation: elements go, come and change their place in it.
 */
#include "sample_states.h"

#include <string.h>

#include "tillwire/codec.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/gen/product_messages.h"
#include "workers/member/member_domain.h"
#include "workers/product/product_domain.h"

#define EPOCH_MS INT64_C(0)
#define Y2026_MS INT64_C(1795428000123)
#define Y9999_MS INT64_C(253402300799999)
#define LARGEST  ((INT64_C(1) << 53) - 1) /* the schemas' end of the integers */

/* As much of a domain as a store sees; the rest would bring the whole runtime into a store's test. */
#define KEPT_DOMAIN(domain_name, domain_number, ...)                          \
    static const struct tw_type *const domain_name##_kinds[] = {__VA_ARGS__}; \
    static const struct tw_domain      domain_name##_domain = {               \
             .name = #domain_name,                                            \
             .number = (domain_number),                                       \
             .states = domain_name##_kinds,                                   \
             .state_count = TW_LEN(domain_name##_kinds),                      \
    }

KEPT_DOMAIN(member,
            TW_DOMAIN_MEMBER, [TW_MEMBER_ENTITY] = &tw_member_type, [TW_MEMBER_CLAIM_ENTITY] = &tw_member_claim_type);
KEPT_DOMAIN(product,
            TW_DOMAIN_PRODUCT, [TW_PRODUCT_ENTITY] = &tw_product_type, [TW_RATING_ENTITY] = &tw_product_rating_type);
KEPT_DOMAIN(cart, TW_DOMAIN_CART, &tw_cart_type);

/* What breaks careless quoting: of SQL, of array literals, of JSON, of printf, of protocols with lines. */
static const char *const hostile_texts[] = {
    "plain",
    "NULL",
    "it's \"quoted\" \\ and \\\\ more \\'",
    "{curly},{\"a\":1},[],(1,2)",
    " leading and trailing ",
    "line\nbreak\r\nand\ttab",
    "\x01\x1f\x7f control",
    "%s%n$1 $$ ?::text -- ; drop",
    "\xc3\xa9\xe6\xbc\xa2\xf0\x9f\x99\x82\xef\xbf\xbd",
    "\xe2\x80\xa8\xe2\x80\xa9 separators",
};

/* A hostile text, different for every (i, g, salt) and at most max_bytes long. */
static struct tw_str hostile(struct tw_arena *arena, uint32_t i, int64_t g, unsigned salt, size_t max_bytes)
{
    const char   *text = hostile_texts[(i + (uint64_t)g + salt) % TW_LEN(hostile_texts)];
    struct tw_str whole = tw_arena_printf(arena, "%u.%lld.%u %s", i, (long long)g, salt, text);

    if (whole.len <= max_bytes)
        return whole;
    return tw_arena_printf(arena, "%u.%lld.%u", i, (long long)g, salt);
}

/* The longest text a field may hold. */
static struct tw_str filled(struct tw_arena *arena, char with, size_t bytes)
{
    char *text = tw_arena_alloc(arena, bytes);

    memset(text, with, bytes);
    return (struct tw_str){text, bytes};
}

/* An id that looks like any other, from a few numbers. */
static struct tw_uuid id_of(const char *what, uint32_t i, uint32_t k)
{
    struct tw_uuid base = {{0}};

    memcpy(base.bytes, &i, sizeof(i));
    memcpy(base.bytes + 4, &k, sizeof(k));
    return tw_derived_id(base, tw_uuid_nil, what);
}

/* --- members, and claims of their addresses ---------------------------------------------------------------------- */

/* Every fourth is a claim, under the id of the member before it: a registration loads both. */
static bool is_claim(uint32_t i)
{
    return i % 4 == 3;
}

static struct tw_key member_key(uint32_t i)
{
    if (is_claim(i))
        return (struct tw_key){.kind = TW_MEMBER_CLAIM_ENTITY, .id = id_of("member", i - 1, 0)};
    return (struct tw_key){.kind = TW_MEMBER_ENTITY, .id = id_of("member", i, 0)};
}

static void fill_addresses(struct tw_member *member, uint32_t i, int64_t g, struct tw_arena *arena)
{
    uint32_t first = (uint32_t)(g % 3);

    member->addresses_len = (uint32_t)(g * 3 + i) % 5;
    member->addresses_cap = member->addresses_len;
    member->addresses = TW_NEW_ARRAY(arena, member->addresses_len, struct tw_member_address);
    for (uint32_t n = 0; n < member->addresses_len; n++) {
        uint32_t k = first + n;

        member->addresses[n] = (struct tw_member_address){
            .address_id = id_of("address", i, k),
            .label = hostile(arena, i, g, k, 50),
            .address_line1 = hostile(arena, i, g, k + 1, 200),
            .has_address_line2 = (g + k) % 2 == 0,
            .city = hostile(arena, i, g, k + 2, 100),
            .province = filled(arena, 'p', 100),
            .postal_code = TW_STR("NULL"),
            .is_default = n == (uint32_t)g % member->addresses_len,
            .created_at_ms = Y2026_MS + k,
        };
        if (member->addresses[n].has_address_line2)
            member->addresses[n].address_line2 = k % 2 ? TW_STR("") : hostile(arena, i, g, k + 3, 200);
    }
}

static void fill_tokens(struct tw_member *member, uint32_t i, int64_t g, struct tw_arena *arena)
{
    uint32_t first = (uint32_t)(g / 2);

    member->tokens_len = (uint32_t)(g * 2 + i) % 6;
    member->tokens_cap = member->tokens_len;
    member->tokens = TW_NEW_ARRAY(arena, member->tokens_len, struct tw_member_token);
    for (uint32_t n = 0; n < member->tokens_len; n++) {
        uint32_t       k = first + n;
        struct tw_uuid hash[2] = {id_of("hash", i, k), id_of("more hash", i, k)};

        member->tokens[n] = (struct tw_member_token){
            .token_id = id_of("token", i, k),
            .family_id = id_of("family", i, k / 2),
            .kind = (enum tw_member_token_kind)(k % 3),
            .scope = k % 2 ? TW_STR("") : TW_STR("products:write commands:read"),
            .label = hostile(arena, i, 0, k, 100),
            .expires_at_ms = Y9999_MS,
            .is_revoked = k < (uint32_t)g,
            .created_at_ms = Y2026_MS + k,
        };
        memcpy(member->tokens[n].token_hash, hash, sizeof(hash));
    }
}

/* By turns: there is none, one comes, it stays as it is, another takes its place. */
static void fill_email_change(struct tw_member *member, uint32_t i, int64_t g, struct tw_arena *arena)
{
    enum { NONE, COME, STAYS, REPLACED, TURNS };
    int            turn = (int)((g + i) % TURNS);
    uint32_t       k = (uint32_t)((g + i) / TURNS * TURNS) + (turn == REPLACED);
    struct tw_uuid fingerprint = id_of("fingerprint", i, k);

    member->has_email_change = turn != NONE;
    if (!member->has_email_change)
        return;
    member->email_change = (struct tw_member_email_change){
        .change_id = id_of("change", i, k),
        .email = k % 3 ? tw_arena_printf(arena, "New'%u\"\\{NULL}@Example.INVALID", k) : filled(arena, 'e', 254),
        .email_folded = k % 3 == 1 ? TW_STR("e@x") : tw_arena_printf(arena, "new'%u.%u@example.invalid", i, k),
        .caller = k % 2 ? tw_uuid_nil : id_of("caller", i, k),
        .record_offset = k % 2 ? LARGEST : 0,
        .submitted_at_ms = k % 2 ? EPOCH_MS : Y9999_MS,
    };
    memcpy(member->email_change.fingerprint, &fingerprint, sizeof(fingerprint));
}

static void *claim_make(uint32_t i, int64_t g, struct tw_arena *arena)
{
    struct tw_member_claim *claim = TW_NEW(arena, struct tw_member_claim);

    *claim = (struct tw_member_claim){
        .claim_id = member_key(i).id,
        .member_id = id_of("member", i, (uint32_t)(g / 2)),
        .created_at_ms = g % 7 == 6 ? Y9999_MS : Y2026_MS + (g + 1) / 2,
    };
    return claim;
}

static void *member_make(uint32_t i, int64_t g, struct tw_arena *arena)
{
    struct tw_member *member = TW_NEW(arena, struct tw_member);
    struct tw_str     folded = tw_arena_printf(arena, "m%u+%%s'\"@example.invalid", i);

    *member = (struct tw_member){
        .member_id = member_key(i).id,
        .email = tw_arena_printf(arena, "M%u+%%s'\"@Example.INVALID", i),
        .email_folded = folded,
        .has_password_hash = i % 5 != 4,
        .full_name = g % 4 == 3 ? filled(arena, 'n', 200) : hostile(arena, i, g, 0, 200),
        .has_phone_number = g % 2 == 0,
        .status = (enum tw_member_status)(g % 3),
        .created_at_ms = EPOCH_MS,
        .updated_at_ms = g % 7 == 6 ? Y9999_MS : Y2026_MS + g,
        .has_last_login_at = g % 3 != 0,
        .version = g % 5 == 4 ? LARGEST - g : g,
        .credential_version = g,
        .is_service = i % 5 == 4,
    };
    if (member->has_password_hash)
        member->password_hash = tw_arena_printf(arena, "$argon2id$v=19$m=65536,t=2,p=1$c2FsdA$%lld", (long long)g);
    if (member->has_phone_number)
        member->phone_number = TW_STR("+628123456789012");
    if (member->has_last_login_at)
        member->last_login_at_ms = Y2026_MS + g;
    fill_addresses(member, i, g, arena);
    fill_tokens(member, i, g, arena);
    fill_email_change(member, i, g, arena);
    return member;
}

static void *member_or_claim_make(uint32_t i, int64_t g, struct tw_arena *arena)
{
    return is_claim(i) ? claim_make(i, g, arena) : member_make(i, g, arena);
}

const struct tw_sample_states tw_sample_members = {&member_domain, true, member_key, member_or_claim_make};

/* --- products and their ratings ---------------------------------------------------------------------------------- */

static struct tw_str sku_of(uint32_t i, struct tw_arena *arena)
{
    return tw_arena_printf(arena, "SKU-%u-\"'\\{}$%%", i);
}

static struct tw_uuid product_id(uint32_t i)
{
    struct tw_arena arena = {0};
    struct tw_uuid  id = tw_product_id_of_sku(sku_of(i, &arena));

    tw_arena_done(&arena);
    return id;
}

/* Two of four are ratings, by different members, of the product before them: a command loads both kinds. */
static bool is_rating(uint32_t i)
{
    return i % 4 == 1 || i % 4 == 2;
}

static struct tw_key product_key(uint32_t i)
{
    if (is_rating(i))
        return (struct tw_key){.kind = TW_RATING_ENTITY, .id = product_id(i - i % 4), .sub = id_of("rater", i, 0)};
    return (struct tw_key){.kind = TW_PRODUCT_ENTITY, .id = product_id(i)};
}

/* Withdrawn ones, too; and one that only says once more what it said. */
static void *rating_make(uint32_t i, int64_t g, struct tw_arena *arena)
{
    struct tw_product_rating *rating = TW_NEW(arena, struct tw_product_rating);

    *rating = (struct tw_product_rating){
        .product_id = product_key(i).id,
        .member_id = product_key(i).sub,
        .stars = (g / 2 + i) % 6,
        .rated_at_ms = g % 7 == 6 ? Y9999_MS : Y2026_MS + g,
    };
    return rating;
}

/* What a generation changes, by turns and different for neighbours, because a store may write each in its own way. */
enum step { STEP_CHANGE, STEP_VIEW, STEP_RATING, STEPS };

static enum step step_of(uint32_t i, int64_t g)
{
    return (enum step)((g + i) % STEPS);
}

static void fill_tags_and_images(struct tw_product *product, uint32_t i, int64_t version, struct tw_arena *arena)
{
    product->tags_len = product->tags_cap = (uint32_t)(version * 5 + i) % 21;
    product->tags = TW_NEW_ARRAY(arena, product->tags_len, struct tw_str);
    for (uint32_t n = 0; n < product->tags_len; n++)
        product->tags[n] = hostile(arena, i, version, n, 50);
    product->images_len = product->images_cap = (uint32_t)(version + i) % 4;
    product->images = TW_NEW_ARRAY(arena, product->images_len, struct tw_pair);
    for (uint32_t n = 0; n < product->images_len; n++) {
        product->images[n].name = tw_arena_printf(arena, "image %u \"quoted\"", n);
        product->images[n].value =
            tw_arena_printf(arena, "https://cdn.example.invalid/%u/%lld?n=%u&%%20", i, (long long)version, n);
    }
}

/* What only a change moves: a function of the version. */
static void fill_changeable(struct tw_product *product, uint32_t i, int64_t version, struct tw_arena *arena)
{
    product->name = version % 4 == 3 ? filled(arena, 'n', 200) : hostile(arena, i, version, 0, 200);
    product->slug = version % 2 ? TW_STR("") : tw_arena_printf(arena, "slug-%u-\xc3\xa9", i);
    product->has_description = version % 3 != 0;
    if (product->has_description)
        product->description = version % 3 == 1 ? filled(arena, 'd', 8000) : hostile(arena, i, version, 2, 8000);
    product->price_minor = version % 3 == 2 ? INT64_C(999999999999) : 19900 + version;
    product->has_discount_price = version % 2 == 0;
    if (product->has_discount_price)
        product->discount_price_minor = version % 4;
    product->effective_price_minor = product->has_discount_price ? product->discount_price_minor : product->price_minor;
    product->category = hostile(arena, i, version, 1, 100);
    product->is_active = version % 2 == 0;
    product->updated_at_ms = version % 7 == 6 ? Y9999_MS : Y2026_MS + version;
    fill_tags_and_images(product, i, version, arena);
}

static void *product_make(uint32_t i, int64_t g, struct tw_arena *arena)
{
    struct tw_product *product = TW_NEW(arena, struct tw_product);
    enum step          step = step_of(i, g);

    *product = (struct tw_product){
        .product_id = product_id(i),
        .sku = sku_of(i, arena),
        .view_count = (i % 2 ? LARGEST - 100000 : 0) + g, /* only ever grows */
        .rating_hundredths = step == STEP_RATING ? 500 - g % 100 : 0,
        .rating_sum = step == STEP_RATING ? 5 * g : 0,
        .review_count = step == STEP_RATING ? g : 0,
        .created_at_ms = EPOCH_MS,
        .version = g - (int64_t)step + STEPS,
        .revision = g - (int64_t)step + STEPS + (step == STEP_RATING), /* a change comes before the next rating */
    };
    fill_changeable(product, i, product->version, arena);
    return product;
}

static void *product_or_rating_make(uint32_t i, int64_t g, struct tw_arena *arena)
{
    return is_rating(i) ? rating_make(i, g, arena) : product_make(i, g, arena);
}

const struct tw_sample_states tw_sample_products = {&product_domain, false, product_key, product_or_rating_make};

/* --- carts ------------------------------------------------------------------------------------------------------- */

static struct tw_key cart_key(uint32_t i)
{
    return (struct tw_key){.id = id_of("cart", i, 0)};
}

static struct tw_cart_line cart_line(uint32_t i, int64_t g, uint32_t k, struct tw_arena *arena)
{
    struct tw_cart_line line = {
        .product_id = product_id(k),
        .product_name = k % 7 == 6 ? filled(arena, 'n', 200) : hostile(arena, i, g, k, 200),
        .price_minor = k % 3 == 2 ? INT64_C(999999999999) : 100 * g + k,
        .quantity = k % 3 == 2 ? 999 : 1 + g % 5,
        .added_at_ms = Y2026_MS + k,
        .product_version = 1 + g,
        .has_previous_price = (g + k) % 2 == 0,
        .available = (g + k) % 3 != 0,
    };

    if (line.has_previous_price)
        line.previous_price_minor = k;
    return line;
}

static void *cart_make(uint32_t i, int64_t g, struct tw_arena *arena)
{
    struct tw_cart *cart = TW_NEW(arena, struct tw_cart);
    uint32_t        first = (uint32_t)(g % 3);

    *cart = (struct tw_cart){
        .member_id = cart_key(i).id,
        .version = g % 5 == 4 ? LARGEST - g : g,
        .created_at_ms = EPOCH_MS,
        .updated_at_ms = Y2026_MS + g,
        .ends_at_ms = Y9999_MS,
        .lines_len = g % 6 == 5 ? 100 : (uint32_t)(g * 7 + i) % 9,
    };
    cart->lines_cap = cart->lines_len;
    cart->lines = TW_NEW_ARRAY(arena, cart->lines_len, struct tw_cart_line);
    for (uint32_t n = 0; n < cart->lines_len; n++)
        cart->lines[n] = cart_line(i, g, first + n, arena);
    return cart;
}

const struct tw_sample_states tw_sample_carts = {&cart_domain, false, cart_key, cart_make};

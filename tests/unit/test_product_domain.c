/* The rules of the product domain: a state, a command, and what must follow. */
#include "workers/product/product_domain.h"

#include "domain_fixture.h"
#include "tillwire/gen/product_messages.h"

/* --- given, when -------------------------------------------------------------------------------------------------- */

static struct tw_str  tags[] = {{"cotton", 6}, {"summer", 6}};
static struct tw_pair images[] = {{{"front", 5}, {"https://cdn.example.com/front.jpg", 33}}};

static struct tw_product_create a_create(void)
{
    return (struct tw_product_create){
        .product_id = tw_product_id_of_sku(TW_STR("TEE-BLK-M")),
        .sku = TW_STR("TEE-BLK-M"),
        .name = TW_STR("Black T-shirt, M"),
        .slug = TW_STR("black-t-shirt-m"),
        .has_description = true,
        .description = TW_STR("Heavy cotton."),
        .price_minor = 19900,
        .category = TW_STR("shirts"),
        .tags = tags,
        .tags_len = TW_LEN(tags),
        .tags_cap = TW_LEN(tags),
        .images = images,
        .images_len = TW_LEN(images),
        .images_cap = TW_LEN(images),
        .is_active = true,
    };
}

static int setup(void **state)
{
    return given_nothing_stored(state, &tw_product_domain);
}

static const struct tw_outcome *when_created(struct tw_turn *turn, const struct tw_product_create *cmd)
{
    return when(turn, &tw_product_create_type, cmd, AT_MS);
}

static const struct tw_outcome *when_viewed(struct tw_turn *turn)
{
    struct tw_product_record_view cmd = {.product_id = tw_product_id_of_sku(TW_STR("TEE-BLK-M"))};

    return when(turn, &tw_product_record_view_type, &cmd, AT_MS);
}

/* A product of the store, as an earlier batch left it. */
static struct tw_product *given_product(struct tw_turn *turn)
{
    struct tw_product_create cmd = a_create();

    assert_int_equal(when_created(turn, &cmd)->status, TW_SUCCEEDED);
    next_batch(turn);
    return alter(turn);
}

static const struct tw_product *product_of(const struct tw_turn *turn)
{
    return newest(turn);
}

static void assert_refused(const struct tw_turn *turn, const struct tw_outcome *outcome, enum tw_problem problem,
                           int http_status)
{
    assert_problem(outcome, problem);
    assert_int_equal(outcome->http_status, http_status);
    assert_true(outcome->detail.len > 0);
    assert_null(turn->entities[0].state);
    assert_false(turn->entities[0].changed);
    assert_int_equal(turn->entities[0].coalesce_offset, -1);
    assert_int_equal(turn->event_count, 0);
}

/* --- create ------------------------------------------------------------------------------------------------------- */

static void create__makes_the_product_of_the_command(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_product_create cmd = a_create();
    const struct tw_outcome *outcome = when_created(turn, &cmd);
    const struct tw_product *product = product_of(turn);

    assert_int_equal(outcome->status, TW_SUCCEEDED);
    assert_int_equal(outcome->http_status, 201);
    assert_path(outcome->resource, "/v1/products", cmd.product_id);
    assert_true(tw_uuid_eq(product->product_id, cmd.product_id));
    assert_str(product->sku, "TEE-BLK-M");
    assert_str(product->name, "Black T-shirt, M");
    assert_str(product->slug, "black-t-shirt-m");
    assert_true(product->has_description);
    assert_str(product->description, "Heavy cotton.");
    assert_int_equal(product->price_minor, 19900);
    assert_false(product->has_discount_price);
    assert_str(product->category, "shirts");
    assert_int_equal(product->tags_len, 2);
    assert_str(product->tags[1], "summer");
    assert_int_equal(product->images_len, 1);
    assert_str(product->images[0].name, "front");
    assert_true(product->is_active);
}

static void create__begins_with_version_1_no_views_and_no_ratings(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_product_create cmd = a_create();
    const struct tw_product *product;

    when_created(turn, &cmd);
    product = product_of(turn);
    assert_int_equal(product->version, 1);
    assert_int_equal(product->view_count, 0);
    assert_int_equal(product->rating_hundredths, 0);
    assert_int_equal(product->rating_sum, 0);
    assert_int_equal(product->review_count, 0);
    assert_int_equal(product->created_at_ms, AT_MS);
    assert_int_equal(product->updated_at_ms, AT_MS);
    assert_int_equal(tw_product_domain.version(product, 0), 1);
}

static void create__without_a_discount_sells_at_the_price(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_product_create cmd = a_create();

    cmd.discount_price_minor = 1; /* no discount: whatever stands there */
    when_created(turn, &cmd);
    assert_int_equal(product_of(turn)->effective_price_minor, 19900);
}

static void create__with_a_discount_sells_at_the_discount_price(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_product_create cmd = a_create();

    cmd.has_discount_price = true;
    cmd.discount_price_minor = 19899;
    assert_int_equal(when_created(turn, &cmd)->status, TW_SUCCEEDED);
    assert_int_equal(product_of(turn)->effective_price_minor, 19899);
    assert_int_equal(product_of(turn)->discount_price_minor, 19899);
}

static void create__is_refused_when_the_discount_is_not_below(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_product_create cmd = a_create();

    cmd.has_discount_price = true;
    cmd.discount_price_minor = 19900;
    assert_refused(turn, when_created(turn, &cmd), TW_PROBLEM_PRICE_RULE, 422);
    cmd.discount_price_minor = 20000;
    assert_refused(turn, when_created(turn, &cmd), TW_PROBLEM_PRICE_RULE, 422);
}

static void create__is_refused_when_price_and_discount_are_0(void **state)
{
    struct tw_product_create cmd = a_create();

    cmd.price_minor = 0;
    cmd.has_discount_price = true;
    assert_refused(*state, when_created(*state, &cmd), TW_PROBLEM_PRICE_RULE, 422);
}

static void create__is_refused_when_the_sku_is_taken(void **state)
{
    struct tw_product_create cmd = a_create();

    given_product(*state);
    assert_refused(*state, when_created(*state, &cmd), TW_PROBLEM_SKU_TAKEN, 409);
}

static void create__is_refused_when_an_inactive_product_has_the_sku(void **state)
{
    struct tw_product_create cmd = a_create();

    given_product(*state)->is_active = false;
    assert_refused(*state, when_created(*state, &cmd), TW_PROBLEM_SKU_TAKEN, 409);
}

static void create__publishes_what_was_made(void **state)
{
    struct tw_turn                  *turn = *state;
    struct tw_product_create         cmd = a_create();
    const struct tw_product_created *created;

    cmd.has_discount_price = true;
    cmd.discount_price_minor = 14900;
    when_created(turn, &cmd);
    assert_int_equal(turn->event_count, 1);
    assert_ptr_equal(turn->event_type, &tw_product_created_type);
    created = turn->event;
    assert_true(tw_uuid_eq(created->product_id, cmd.product_id));
    assert_str(created->sku, "TEE-BLK-M");
    assert_str(created->name, "Black T-shirt, M");
    assert_str(created->slug, "black-t-shirt-m");
    assert_int_equal(created->price_minor, 19900);
    assert_true(created->has_discount_price);
    assert_int_equal(created->discount_price_minor, 14900);
    assert_int_equal(created->effective_price_minor, 14900);
    assert_str(created->category, "shirts");
    assert_int_equal(created->tags_len, 2);
    assert_true(created->is_active);
    assert_int_equal(created->version, 1);
    assert_int_equal(turn->entities[0].coalesce_offset, -1);
}

/* --- record_view -------------------------------------------------------------------------------------------------- */

static void record_view__counts_one(void **state)
{
    struct tw_turn          *turn = *state;
    const struct tw_product *before = given_product(turn);
    const struct tw_outcome *outcome = when_viewed(turn);
    const struct tw_product *after = product_of(turn);

    assert_int_equal(outcome->status, TW_SUCCEEDED);
    assert_int_equal(outcome->http_status, 202);
    assert_int_equal(before->view_count, 0);
    assert_int_equal(after->view_count, 1);
}

static void record_view__moves_neither_version_nor_updated_at(void **state)
{
    struct tw_turn          *turn = *state;
    const struct tw_product *after;

    given_product(turn)->updated_at_ms = AT_MS - 5000;
    when_viewed(turn);
    after = product_of(turn);
    assert_int_equal(after->version, 1);
    assert_int_equal(after->updated_at_ms, AT_MS - 5000);
}

static void record_view__asks_for_one_event_at_the_last_view(void **state)
{
    struct tw_turn                 *turn = *state;
    const void                     *payload;
    const struct tw_product_viewed *viewed;

    given_product(turn);
    for (int64_t offset = 50; offset <= 54; offset += 2) {
        turn->offset = offset;
        when_viewed(turn);
        assert_int_equal(turn->event_count, 0);
        assert_int_equal(turn->entities[0].coalesce_offset, offset);
    }
    assert_ptr_equal(tw_product_domain.coalesced(product_of(turn), &turn->arena, &payload), &tw_product_viewed_type);
    viewed = payload;
    assert_true(tw_uuid_eq(viewed->product_id, tw_product_id_of_sku(TW_STR("TEE-BLK-M"))));
    assert_int_equal(viewed->view_count, 3);
    assert_int_equal(viewed->version, 1);
}

static void record_view__of_a_product_made_in_the_same_batch_counts(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_product_create cmd = a_create();

    when_created(turn, &cmd);
    assert_int_equal(when_viewed(turn)->status, TW_SUCCEEDED);
    assert_int_equal(product_of(turn)->view_count, 1);
}

static void record_view__of_an_unknown_product_is_refused(void **state)
{
    assert_refused(*state, when_viewed(*state), TW_PROBLEM_NOT_FOUND, 404);
}

static void record_view__of_an_inactive_product_is_not_counted(void **state)
{
    struct tw_turn *turn = *state;

    given_product(turn)->is_active = false;
    assert_refused(turn, when_viewed(turn), TW_PROBLEM_GONE, 410);
}

/* --- ids ---------------------------------------------------------------------------------------------------------- */

static bool owns_its_id(const struct tw_type *type, const void *body)
{
    static const uint8_t id_key[TW_ID_KEY_BYTES] = {0};
    struct tw_command    cmd = {.type = type, .body = body};

    return tw_product_domain.owns_its_id(&cmd, id_key);
}

static void an_id__must_follow_from_the_sku(void **state)
{
    struct tw_product_create cmd = a_create();

    (void)state;
    assert_true(owns_its_id(&tw_product_create_type, &cmd));
    cmd.sku = TW_STR("TEE-BLK-L");
    assert_false(owns_its_id(&tw_product_create_type, &cmd));
}

static void an_id__that_is_viewed_may_be_any(void **state)
{
    struct tw_product_record_view cmd = {.product_id = tw_uuid_nil};

    (void)state;
    assert_true(owns_its_id(&tw_product_record_view_type, &cmd));
}

static void keys__are_the_product_alone(void **state)
{
    struct tw_product_create      create = a_create();
    struct tw_product_record_view view = {.product_id = {{1, 2, 3}}};
    struct tw_command             cmd = {.type = &tw_product_create_type, .body = &create};
    struct tw_key                 keys[TW_KEYS_MAX];

    (void)state;
    assert_int_equal(tw_product_domain.keys(&cmd, keys), 1);
    assert_true(tw_uuid_eq(keys[0].id, create.product_id));
    assert_true(tw_uuid_is_nil(keys[0].sub));
    cmd = (struct tw_command){.type = &tw_product_record_view_type, .body = &view};
    assert_int_equal(tw_product_domain.keys(&cmd, keys), 1);
    assert_true(tw_uuid_eq(keys[0].id, view.product_id));
    assert_int_equal(keys[0].kind, 0);
}

static void the_version__of_no_product_is_0(void **state)
{
    (void)state;
    assert_int_equal(tw_product_domain.version(NULL, 0), 0);
}

/* A released command without a decider would be a hole in the table. */
static void every_command__is_decided(void **state)
{
    (void)state;
    assert_int_equal(tw_product_domain.command_count, tw_product_command_count);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, setup, turn_done)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(create__makes_the_product_of_the_command),
        RULE(create__begins_with_version_1_no_views_and_no_ratings),
        RULE(create__without_a_discount_sells_at_the_price),
        RULE(create__with_a_discount_sells_at_the_discount_price),
        RULE(create__is_refused_when_the_discount_is_not_below),
        RULE(create__is_refused_when_price_and_discount_are_0),
        RULE(create__is_refused_when_the_sku_is_taken),
        RULE(create__is_refused_when_an_inactive_product_has_the_sku),
        RULE(create__publishes_what_was_made),
        RULE(record_view__counts_one),
        RULE(record_view__moves_neither_version_nor_updated_at),
        RULE(record_view__asks_for_one_event_at_the_last_view),
        RULE(record_view__of_a_product_made_in_the_same_batch_counts),
        RULE(record_view__of_an_unknown_product_is_refused),
        RULE(record_view__of_an_inactive_product_is_not_counted),
        cmocka_unit_test(an_id__must_follow_from_the_sku),
        cmocka_unit_test(an_id__that_is_viewed_may_be_any),
        cmocka_unit_test(keys__are_the_product_alone),
        cmocka_unit_test(the_version__of_no_product_is_0),
        cmocka_unit_test(every_command__is_decided),
    };

    return cmocka_run_group_tests_name("product_domain", tests, NULL, NULL);
}

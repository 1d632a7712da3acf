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
    assert_int_equal(product->revision, 1);
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
    assert_true(created->has_description);
    assert_str(created->description, "Heavy cotton.");
    assert_int_equal(created->images_len, 1);
    assert_str(created->images[0].name, "front");
    assert_true(created->is_active);
    assert_int_equal(created->version, 1);
    assert_int_equal(turn->entities[0].coalesce_offset, -1);
}

/* --- change: given, when, then ------------------------------------------------------------------------------------ */

static struct tw_uuid tee_id(void)
{
    return tw_product_id_of_sku(TW_STR("TEE-BLK-M"));
}

static struct tw_product_change a_change(void)
{
    return (struct tw_product_change){.product_id = tee_id()};
}

static const struct tw_outcome *when_changed_at(struct tw_turn *turn, const struct tw_product_change *cmd,
                                                int64_t at_ms)
{
    return when(turn, &tw_product_change_type, cmd, at_ms);
}

static const struct tw_outcome *when_changed(struct tw_turn *turn, const struct tw_product_change *cmd)
{
    return when_changed_at(turn, cmd, AT_MS + HOUR_MS);
}

static const struct tw_outcome *when_deactivated(struct tw_turn *turn)
{
    struct tw_product_deactivate cmd = {.product_id = tee_id()};

    return when(turn, &tw_product_deactivate_type, &cmd, AT_MS + HOUR_MS);
}

static void assert_same_product(const struct tw_product *a, const struct tw_product *b)
{
    struct tw_buf packed[2] = {0};

    tw_product_type.pack(a, &packed[0]);
    tw_product_type.pack(b, &packed[1]);
    assert_true(tw_str_eq(tw_buf_str(&packed[0]), tw_buf_str(&packed[1])));
    tw_buf_done(&packed[0]);
    tw_buf_done(&packed[1]);
}

/* The product is `expected`, one version later. */
static void assert_changed_into(const struct tw_turn *turn, const struct tw_outcome *outcome,
                                struct tw_product expected)
{
    assert_int_equal(outcome->status, TW_SUCCEEDED);
    expected.version++;
    expected.revision++;
    expected.updated_at_ms = AT_MS + HOUR_MS;
    assert_same_product(product_of(turn), &expected);
    assert_ptr_equal(turn->event_type, &tw_product_changed_type);
    assert_int_equal(turn->event_count, 1);
}

/* Nothing came of a command that succeeded. */
static void assert_left_alone(const struct tw_turn *turn, const struct tw_outcome *outcome)
{
    assert_int_equal(outcome->status, TW_SUCCEEDED);
    assert_false(turn->entities[0].changed);
    assert_int_equal(turn->event_count, 0);
}

/* --- change ------------------------------------------------------------------------------------------------------- */

static void change__answers_with_the_product(void **state)
{
    struct tw_product_change cmd = a_change();
    const struct tw_outcome *outcome;

    given_product(*state);
    cmd.has_name = true;
    cmd.name = TW_STR("Tee");
    outcome = when_changed(*state, &cmd);
    assert_int_equal(outcome->http_status, 200);
    assert_path(outcome->resource, "/v1/products", tee_id());
}

static void change__of_an_unknown_product_is_refused(void **state)
{
    struct tw_product_change cmd = a_change();

    assert_refused(*state, when_changed(*state, &cmd), TW_PROBLEM_NOT_FOUND, 404);
}

static void change__sets_the_name_and_leaves_the_slug(void **state)
{
    struct tw_product        expected = *given_product(*state);
    struct tw_product_change cmd = a_change();

    cmd.has_name = true;
    cmd.name = expected.name = TW_STR("Tee");
    assert_changed_into(*state, when_changed(*state, &cmd), expected);
}

static void change__sets_the_slug(void **state)
{
    struct tw_product        expected = *given_product(*state);
    struct tw_product_change cmd = a_change();

    cmd.has_slug = true;
    cmd.slug = expected.slug = TW_STR("tee");
    assert_changed_into(*state, when_changed(*state, &cmd), expected);
}

static void change__sets_the_category(void **state)
{
    struct tw_product        expected = *given_product(*state);
    struct tw_product_change cmd = a_change();

    cmd.has_category = true;
    cmd.category = expected.category = TW_STR("tops");
    assert_changed_into(*state, when_changed(*state, &cmd), expected);
}

static void change__sets_the_description_or_takes_it_away(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_product        expected = *given_product(turn);
    struct tw_product_change cmd = a_change();

    cmd.has_description = true;
    cmd.description = expected.description = TW_STR(""); /* empty is not none */
    assert_changed_into(turn, when_changed(turn, &cmd), expected);
    expected = *product_of(turn);
    cmd = a_change();
    cmd.clear_description = true;
    expected.has_description = false;
    expected.description = (struct tw_str){0};
    assert_changed_into(turn, when_changed(turn, &cmd), expected);
}

static void change__of_tags_replaces_all_of_them(void **state)
{
    static struct tw_str     one[] = {{"linen", 5}};
    struct tw_turn          *turn = *state;
    struct tw_product        expected = *given_product(turn);
    struct tw_product_change cmd = a_change();

    cmd.has_tags = true;
    cmd.tags = expected.tags = one;
    cmd.tags_len = expected.tags_len = 1;
    assert_changed_into(turn, when_changed(turn, &cmd), expected);
    expected = *product_of(turn);
    cmd.tags_len = expected.tags_len = 0;
    assert_changed_into(turn, when_changed(turn, &cmd), expected);
}

static void change__without_tags_leaves_them(void **state)
{
    struct tw_product_change cmd = a_change();

    given_product(*state);
    cmd.has_category = true;
    cmd.category = TW_STR("tops");
    when_changed(*state, &cmd);
    assert_int_equal(product_of(*state)->tags_len, TW_LEN(tags));
}

static void change__moves_version_and_updated_at_but_no_count(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_product       *before = given_product(turn);
    struct tw_product_change cmd = a_change();

    before->view_count = 9;
    before->rating_sum = 7;
    before->review_count = 2;
    before->rating_hundredths = 350;
    cmd.has_name = true;
    cmd.name = TW_STR("Tee");
    when_changed(turn, &cmd);
    assert_int_equal(product_of(turn)->version, 2);
    assert_int_equal(product_of(turn)->updated_at_ms, AT_MS + HOUR_MS);
    assert_int_equal(product_of(turn)->created_at_ms, AT_MS);
    assert_int_equal(product_of(turn)->view_count, 9);
    assert_int_equal(product_of(turn)->rating_sum, 7);
    assert_int_equal(product_of(turn)->review_count, 2);
    assert_int_equal(product_of(turn)->rating_hundredths, 350);
}

static void change__into_what_is_there_moves_nothing_and_is_no_event(void **state)
{
    struct tw_turn          *turn = *state;
    const struct tw_product *product = given_product(turn);
    struct tw_product_change cmd = {
        .product_id = tee_id(),
        .has_name = true,
        .name = product->name,
        .has_slug = true,
        .slug = product->slug,
        .has_description = true,
        .description = product->description,
        .has_price = true,
        .price_minor = product->price_minor,
        .clear_discount_price = true,
        .has_category = true,
        .category = product->category,
        .has_tags = true,
        .tags = product->tags,
        .tags_len = product->tags_len,
        .has_images = true,
        .images = product->images,
        .images_len = product->images_len,
        .has_is_active = true,
        .is_active = true,
    };

    assert_left_alone(turn, when_changed(turn, &cmd));
    cmd = a_change(); /* nor one that says nothing */
    assert_left_alone(turn, when_changed(turn, &cmd));
}

static void change__of_a_requeued_command_does_not_move_updated_at_back(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_product_change cmd = a_change();

    given_product(turn)->updated_at_ms = AT_MS + DAY_MS;
    cmd.has_name = true;
    cmd.name = TW_STR("Tee");
    when_changed(turn, &cmd);
    assert_str(product_of(turn)->name, "Tee");
    assert_int_equal(product_of(turn)->version, 2);
    assert_int_equal(product_of(turn)->updated_at_ms, AT_MS + DAY_MS);
}

static void change__publishes_the_whole_product(void **state)
{
    struct tw_turn                  *turn = *state;
    struct tw_product_change         cmd = a_change();
    const struct tw_product_changed *changed;

    given_product(turn);
    cmd.has_discount_price = true;
    cmd.discount_price_minor = 14900;
    when_changed(turn, &cmd);
    changed = event_of(turn, &tw_product_changed_type);
    assert_non_null(changed);
    assert_true(tw_uuid_eq(changed->product_id, tee_id()));
    assert_str(changed->sku, "TEE-BLK-M");
    assert_str(changed->name, "Black T-shirt, M");
    assert_str(changed->slug, "black-t-shirt-m");
    assert_true(changed->has_description);
    assert_str(changed->description, "Heavy cotton.");
    assert_int_equal(changed->price_minor, 19900);
    assert_true(changed->has_discount_price);
    assert_int_equal(changed->discount_price_minor, 14900);
    assert_int_equal(changed->effective_price_minor, 14900);
    assert_str(changed->category, "shirts");
    assert_int_equal(changed->tags_len, 2);
    assert_int_equal(changed->images_len, 1);
    assert_true(changed->is_active);
    assert_int_equal(changed->version, 2);
    assert_int_equal(changed->changed_len, 2);
    assert_str(changed->changed[0], "discount_price");
    assert_str(changed->changed[1], "effective_price");
}

static void change__of_a_product_made_in_the_same_batch_changes_it(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_product_create create = a_create();
    struct tw_product_change cmd = a_change();

    when_created(turn, &create);
    cmd.has_name = true;
    cmd.name = TW_STR("Tee");
    assert_int_equal(when_changed(turn, &cmd)->status, TW_SUCCEEDED);
    assert_int_equal(product_of(turn)->version, 2);
    assert_int_equal(product_of(turn)->revision, 2);
}

/* --- change: prices ----------------------------------------------------------------------------------------------- */

static void change__of_the_price_sells_at_it(void **state)
{
    struct tw_product        expected = *given_product(*state);
    struct tw_product_change cmd = a_change();

    cmd.has_price = true;
    cmd.price_minor = expected.price_minor = expected.effective_price_minor = 18000;
    assert_changed_into(*state, when_changed(*state, &cmd), expected);
}

static void change__of_the_discount_sells_at_it_until_it_is_cleared(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_product        expected = *given_product(turn);
    struct tw_product_change cmd = a_change();

    cmd.has_discount_price = expected.has_discount_price = true;
    cmd.discount_price_minor = expected.discount_price_minor = expected.effective_price_minor = 100;
    assert_changed_into(turn, when_changed(turn, &cmd), expected);
    expected = *product_of(turn);
    cmd = a_change();
    cmd.clear_discount_price = true;
    expected.has_discount_price = false;
    expected.discount_price_minor = 0;
    expected.effective_price_minor = 19900;
    assert_changed_into(turn, when_changed(turn, &cmd), expected);
}

static void change__of_the_price_alone_keeps_the_discount_that_customers_pay(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_product       *product = given_product(turn);
    struct tw_product_change cmd = a_change();
    struct tw_product        expected;

    product->has_discount_price = true;
    product->discount_price_minor = product->effective_price_minor = 100;
    expected = *product;
    cmd.has_price = true;
    cmd.price_minor = expected.price_minor = 101;
    assert_changed_into(turn, when_changed(turn, &cmd), expected);
}

static void change__is_refused_when_the_discount_is_not_below_the_stored_price(void **state)
{
    struct tw_product_change cmd = a_change();

    given_product(*state);
    cmd.has_discount_price = true;
    cmd.discount_price_minor = 19900;
    assert_refused(*state, when_changed(*state, &cmd), TW_PROBLEM_PRICE_RULE, 422);
}

static void change__is_refused_when_the_price_falls_to_the_stored_discount(void **state)
{
    struct tw_product       *product = given_product(*state);
    struct tw_product_change cmd = a_change();

    product->has_discount_price = true;
    product->discount_price_minor = product->effective_price_minor = 100;
    cmd.has_price = true;
    cmd.price_minor = 100;
    assert_refused(*state, when_changed(*state, &cmd), TW_PROBLEM_PRICE_RULE, 422);
}

static void change__of_price_and_discount_at_once_is_judged_as_a_whole(void **state)
{
    struct tw_product       *product = given_product(*state);
    struct tw_product_change cmd = a_change();
    struct tw_product        expected;

    product->has_discount_price = true;
    product->discount_price_minor = product->effective_price_minor = 15000;
    expected = *product;
    cmd.has_price = cmd.clear_discount_price = true; /* below the old discount, which goes */
    cmd.price_minor = expected.price_minor = expected.effective_price_minor = 14000;
    expected.has_discount_price = false;
    expected.discount_price_minor = 0;
    assert_changed_into(*state, when_changed(*state, &cmd), expected);
}

/* --- change: images ----------------------------------------------------------------------------------------------- */

static struct tw_pair image(const char *name, const char *url)
{
    return (struct tw_pair){tw_str_of(name), tw_str_of(url)};
}

static void change__of_images_adds_replaces_and_keeps(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_pair           added[] = {image("back", "https://x.invalid/b"), image("front", "https://x.invalid/f")};
    struct tw_pair           left[] = {image("side", "https://x.invalid/s")};
    struct tw_product       *product = given_product(turn);
    struct tw_product_change cmd = a_change();

    cmd.has_images = true;
    cmd.images = left;
    cmd.images_len = TW_LEN(left);
    when_changed(turn, &cmd);
    cmd.images = added;
    cmd.images_len = TW_LEN(added);
    assert_int_equal(when_changed(turn, &cmd)->status, TW_SUCCEEDED);
    assert_int_equal(product_of(turn)->images_len, 3);
    assert_str(product_of(turn)->images[0].name, "front");
    assert_str(product_of(turn)->images[0].value, "https://x.invalid/f");
    assert_str(product_of(turn)->images[1].name, "side");
    assert_str(product_of(turn)->images[2].name, "back");
    assert_str(product->images[0].value, "https://cdn.example.com/front.jpg"); /* the state before is another one */
}

static void change__takes_images_away_by_name(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_str            names[] = {TW_STR("front"), TW_STR("no such image")};
    struct tw_product        expected = *given_product(turn);
    struct tw_product_change cmd = a_change();

    cmd.removed_images = names;
    cmd.removed_images_len = TW_LEN(names);
    expected.images_len = 0;
    assert_changed_into(turn, when_changed(turn, &cmd), expected);
    next_batch(turn);
    assert_left_alone(turn, when_changed(turn, &cmd)); /* there are none any more */
}

static struct tw_pair *images_of(struct tw_turn *turn, uint32_t count)
{
    struct tw_pair *many = TW_NEW_ARRAY(&turn->arena, count, struct tw_pair);

    for (uint32_t i = 0; i < count; i++)
        many[i] = (struct tw_pair){tw_arena_printf(&turn->arena, "image-%u", i), TW_STR("https://x.invalid/i")};
    return many;
}

static void change__is_refused_beyond_20_images(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_product_change cmd = a_change();

    given_product(turn); /* with one */
    cmd.has_images = true;
    cmd.images = images_of(turn, 20);
    cmd.images_len = 20;
    assert_refused(turn, when_changed(turn, &cmd), TW_PROBLEM_IMAGES_LIMIT, 422);
    cmd.images_len = 19;
    assert_int_equal(when_changed(turn, &cmd)->status, TW_SUCCEEDED);
    assert_int_equal(product_of(turn)->images_len, 20);
}

static void change__may_replace_20_images_by_20_others(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_str            front = TW_STR("front");
    struct tw_product_change cmd = a_change();

    given_product(turn);
    cmd.has_images = true;
    cmd.images = images_of(turn, 20);
    cmd.images_len = 20;
    cmd.removed_images = &front;
    cmd.removed_images_len = 1;
    assert_int_equal(when_changed(turn, &cmd)->status, TW_SUCCEEDED);
    assert_int_equal(product_of(turn)->images_len, 20);
    assert_str(product_of(turn)->images[0].name, "image-0");
}

/* --- deactivate and reactivate ------------------------------------------------------------------------------------ */

static void deactivate__takes_the_product_off_sale(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_product        expected = *given_product(turn);
    const struct tw_outcome *outcome = when_deactivated(turn);

    expected.is_active = false;
    assert_changed_into(turn, outcome, expected);
    assert_int_equal(outcome->http_status, 204);
    assert_false(((const struct tw_product_changed *)turn->event)->is_active);
}

static void deactivate__again_changes_nothing(void **state)
{
    struct tw_turn          *turn = *state;
    const struct tw_outcome *outcome;

    given_product(turn)->is_active = false;
    outcome = when_deactivated(turn);
    assert_left_alone(turn, outcome);
    assert_int_equal(outcome->http_status, 204);
}

static void deactivate__of_an_unknown_product_is_refused(void **state)
{
    assert_refused(*state, when_deactivated(*state), TW_PROBLEM_NOT_FOUND, 404);
}

static void deactivate__by_a_requeued_command_does_not_move_updated_at_back(void **state)
{
    struct tw_turn *turn = *state;

    given_product(turn)->updated_at_ms = AT_MS + DAY_MS;
    when_deactivated(turn);
    assert_int_equal(product_of(turn)->updated_at_ms, AT_MS + DAY_MS);
}

static void change__brings_an_inactive_product_back_with_its_counts(void **state)
{
    struct tw_turn          *turn = *state;
    struct tw_product       *product = given_product(turn);
    struct tw_product_change cmd = a_change();
    struct tw_product        expected;

    product->is_active = false;
    product->view_count = 9;
    expected = *product;
    cmd.has_is_active = cmd.is_active = expected.is_active = true;
    assert_changed_into(turn, when_changed(turn, &cmd), expected);
    assert_int_equal(when_viewed(turn)->status, TW_SUCCEEDED);
    assert_int_equal(product_of(turn)->view_count, 10);
}

static void change__of_an_inactive_product_is_a_merchants_business(void **state)
{
    struct tw_product_change cmd = a_change();

    given_product(*state)->is_active = false;
    cmd.has_name = true;
    cmd.name = TW_STR("Tee");
    assert_int_equal(when_changed(*state, &cmd)->status, TW_SUCCEEDED);
    assert_false(product_of(*state)->is_active);
}

/* --- ratings ------------------------------------------------------------------------------------------------------ */

static const struct tw_uuid ana = {{0xa1}}, budi = {{0xb2}};

static const struct tw_outcome *when_rated_at(struct tw_turn *turn, struct tw_uuid member_id, int64_t stars,
                                              int64_t at_ms)
{
    struct tw_product_rate cmd = {.product_id = tee_id(), .member_id = member_id, .stars = stars};

    return when(turn, &tw_product_rate_type, &cmd, at_ms);
}

static const struct tw_outcome *when_rated(struct tw_turn *turn, struct tw_uuid member_id, int64_t stars)
{
    return when_rated_at(turn, member_id, stars, AT_MS + HOUR_MS);
}

static const struct tw_outcome *when_withdrawn(struct tw_turn *turn, struct tw_uuid member_id)
{
    struct tw_product_withdraw_rating cmd = {.product_id = tee_id(), .member_id = member_id};

    return when(turn, &tw_product_withdraw_rating_type, &cmd, AT_MS + HOUR_MS);
}

static struct tw_entity *rating_of(struct tw_turn *turn, struct tw_uuid member_id)
{
    return entity_of(turn, &(struct tw_key){.kind = TW_RATING_ENTITY, .id = tee_id(), .sub = member_id});
}

static void assert_rating(const struct tw_turn *turn, int64_t hundredths, int64_t sum, int64_t count)
{
    assert_int_equal(product_of(turn)->rating_hundredths, hundredths);
    assert_int_equal(product_of(turn)->rating_sum, sum);
    assert_int_equal(product_of(turn)->review_count, count);
}

/* Neither the product nor the rating was touched; the product exists. */
static void assert_rating_refused(struct tw_turn *turn, const struct tw_outcome *outcome, struct tw_uuid member_id,
                                  enum tw_problem problem, int http_status)
{
    assert_refused(turn, outcome, problem, http_status);
    assert_false(rating_of(turn, member_id)->changed);
}

static void rate__adds_a_rating_and_tells_the_mean(void **state)
{
    struct tw_turn                 *turn = *state;
    const struct tw_outcome        *outcome;
    const struct tw_product_rating *rating;
    const struct tw_product_rated  *rated;

    given_product(turn);
    outcome = when_rated(turn, ana, 4);
    assert_int_equal(outcome->status, TW_SUCCEEDED);
    assert_int_equal(outcome->http_status, 200);
    assert_path(outcome->resource, "/v1/products", tee_id());
    assert_rating(turn, 400, 4, 1);
    rating = rating_of(turn, ana)->state;
    assert_true(tw_uuid_eq(rating->product_id, tee_id()));
    assert_true(tw_uuid_eq(rating->member_id, ana));
    assert_int_equal(rating->stars, 4);
    assert_int_equal(rating->rated_at_ms, AT_MS + HOUR_MS);
    assert_int_equal(turn->event_count, 1);
    rated = event_of(turn, &tw_product_rated_type);
    assert_true(tw_uuid_eq(rated->product_id, tee_id()));
    assert_true(tw_uuid_eq(rated->member_id, ana));
    assert_true(rated->has_stars);
    assert_int_equal(rated->stars, 4);
    assert_int_equal(rated->rating_hundredths, 400);
    assert_int_equal(rated->review_count, 1);
    assert_int_equal(rated->version, 1);
}

static void rate__moves_the_revision_but_neither_version_nor_updated_at(void **state)
{
    struct tw_turn *turn = *state;

    given_product(turn);
    when_rated(turn, ana, 4);
    assert_int_equal(product_of(turn)->revision, 2);
    assert_int_equal(product_of(turn)->version, 1);
    assert_int_equal(product_of(turn)->updated_at_ms, AT_MS);
}

static void rate__by_two_members_counts_both(void **state)
{
    struct tw_turn *turn = *state;

    given_product(turn);
    when_rated(turn, ana, 5);
    when_rated(turn, budi, 2);
    assert_rating(turn, 350, 7, 2);
}

static void rate__again_replaces_the_members_own(void **state)
{
    struct tw_turn *turn = *state;

    given_product(turn);
    when_rated(turn, ana, 5);
    when_rated(turn, budi, 5);
    next_batch(turn);
    assert_int_equal(when_rated(turn, ana, 1)->status, TW_SUCCEEDED);
    assert_rating(turn, 300, 6, 2);
    assert_int_equal(((const struct tw_product_rated *)turn->event)->stars, 1);
}

static void rate__with_as_many_stars_changes_nothing(void **state)
{
    struct tw_turn          *turn = *state;
    const struct tw_outcome *outcome;

    given_product(turn);
    when_rated(turn, ana, 5);
    next_batch(turn);
    outcome = when_rated(turn, ana, 5);
    assert_left_alone(turn, outcome);
    assert_int_equal(outcome->http_status, 200);
    assert_false(rating_of(turn, ana)->changed);
}

/* Means whose third decimal is 5 or next to it. */
static void a_mean__has_two_decimals_and_is_rounded_half_up(void **state)
{
    static const struct {
        int64_t sum, count, hundredths;
    } cases[] = {
        {4, 1, 400},      {9, 2, 450},     {10, 3, 333},    {11, 3, 367},    /* 3.333…, 3.666… */
        {25, 8, 313},     {27, 8, 338},    {31, 8, 388},    {33, 8, 413},    /* 3.125, 3.375, 3.875, 4.125: up */
        {481, 200, 241},  {401, 200, 201}, {999, 200, 500}, {997, 200, 499}, /* 2.405, 2.005, 4.995, 4.985 */
        {1000, 200, 500}, {200, 200, 100},
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(cases); i++) {
        void              *fresh;
        struct tw_turn    *turn;
        struct tw_product *product;

        assert_int_equal(setup(&fresh), 0);
        turn = fresh;
        product = given_product(turn);
        product->rating_sum = cases[i].sum - 1; /* the last one gives a star */
        product->review_count = cases[i].count - 1;
        when_rated(turn, ana, 1);
        assert_rating(turn, cases[i].hundredths, cases[i].sum, cases[i].count);
        turn_done(&fresh);
    }
}

static void rate__of_an_unknown_product_is_refused(void **state)
{
    assert_rating_refused(*state, when_rated(*state, ana, 3), ana, TW_PROBLEM_NOT_FOUND, 404);
}

static void rate__of_an_inactive_product_is_refused(void **state)
{
    given_product(*state)->is_active = false;
    assert_rating_refused(*state, when_rated(*state, ana, 3), ana, TW_PROBLEM_GONE, 410);
}

static void rate__by_a_requeued_command_does_not_move_its_time_back(void **state)
{
    struct tw_turn                 *turn = *state;
    const struct tw_product_rating *rating;

    given_product(turn);
    when_rated_at(turn, ana, 5, AT_MS + DAY_MS);
    when_rated_at(turn, ana, 2, AT_MS);
    rating = rating_of(turn, ana)->state;
    assert_int_equal(rating->stars, 2);
    assert_int_equal(rating->rated_at_ms, AT_MS + DAY_MS);
}

static void withdraw_rating__takes_it_out_of_the_mean_and_leaves_no_stars(void **state)
{
    struct tw_turn                *turn = *state;
    const struct tw_outcome       *outcome;
    const struct tw_product_rated *rated;

    given_product(turn);
    when_rated(turn, ana, 5);
    when_rated(turn, budi, 2);
    next_batch(turn);
    outcome = when_withdrawn(turn, ana);
    assert_int_equal(outcome->http_status, 204);
    assert_path(outcome->resource, "/v1/products", tee_id());
    assert_rating(turn, 200, 2, 1);
    assert_int_equal(((const struct tw_product_rating *)rating_of(turn, ana)->state)->stars, 0);
    assert_int_equal(product_of(turn)->revision, 4);
    rated = event_of(turn, &tw_product_rated_type);
    assert_false(rated->has_stars);
    assert_int_equal(rated->rating_hundredths, 200);
    assert_int_equal(rated->review_count, 1);
}

static void withdraw_rating__of_the_only_one_leaves_a_mean_of_0(void **state)
{
    struct tw_turn *turn = *state;

    given_product(turn);
    when_rated(turn, ana, 5);
    when_withdrawn(turn, ana);
    assert_rating(turn, 0, 0, 0);
}

static void withdraw_rating__of_none_or_a_second_time_is_refused(void **state)
{
    struct tw_turn *turn = *state;

    assert_rating_refused(turn, when_withdrawn(turn, ana), ana, TW_PROBLEM_NOT_FOUND, 404); /* nor a product */
    given_product(turn);
    assert_rating_refused(turn, when_withdrawn(turn, ana), ana, TW_PROBLEM_NOT_FOUND, 404);
    when_rated(turn, ana, 5);
    when_withdrawn(turn, ana);
    next_batch(turn);
    assert_rating_refused(turn, when_withdrawn(turn, ana), ana, TW_PROBLEM_NOT_FOUND, 404);
}

static void withdraw_rating__works_on_an_inactive_product_too(void **state)
{
    struct tw_turn *turn = *state;

    given_product(turn);
    when_rated(turn, ana, 5);
    when_deactivated(turn);
    next_batch(turn);
    assert_int_equal(when_withdrawn(turn, ana)->status, TW_SUCCEEDED);
    assert_rating(turn, 0, 0, 0);
}

static void rate__after_a_withdrawal_counts_anew(void **state)
{
    struct tw_turn *turn = *state;

    given_product(turn);
    when_rated(turn, ana, 5);
    when_withdrawn(turn, ana);
    next_batch(turn);
    assert_int_equal(when_rated(turn, ana, 3)->status, TW_SUCCEEDED);
    assert_rating(turn, 300, 3, 1);
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
    assert_int_equal(after->revision, 1); /* a store that expects it finds it whatever was viewed */
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

static size_t keys_of(const struct tw_type *type, const void *body, struct tw_key ret_keys[TW_KEYS_MAX])
{
    return tw_product_domain.keys(&(struct tw_command){.type = type, .body = body}, ret_keys);
}

static void keys__are_the_product_alone(void **state)
{
    struct tw_product_create      create = a_create();
    struct tw_product_record_view view = {.product_id = {{1, 2, 3}}};
    struct tw_product_change      change = {.product_id = {{1, 2, 3}}};
    struct tw_product_deactivate  deactivate = {.product_id = {{1, 2, 3}}};
    struct tw_key                 keys[TW_KEYS_MAX];

    (void)state;
    assert_int_equal(keys_of(&tw_product_create_type, &create, keys), 1);
    assert_true(tw_uuid_eq(keys[0].id, create.product_id));
    assert_true(tw_uuid_is_nil(keys[0].sub));
    assert_int_equal(keys_of(&tw_product_record_view_type, &view, keys), 1);
    assert_true(tw_uuid_eq(keys[0].id, view.product_id));
    assert_int_equal(keys[0].kind, TW_PRODUCT_ENTITY);
    assert_int_equal(keys_of(&tw_product_change_type, &change, keys), 1);
    assert_int_equal(keys_of(&tw_product_deactivate_type, &deactivate, keys), 1);
}

static void assert_keys_of_rating(const struct tw_type *type, const void *body)
{
    struct tw_key keys[TW_KEYS_MAX];

    assert_int_equal(keys_of(type, body, keys), 2);
    assert_int_equal(keys[0].kind, TW_PRODUCT_ENTITY);
    assert_true(tw_uuid_eq(keys[0].id, tee_id()));
    assert_true(tw_uuid_is_nil(keys[0].sub));
    assert_int_equal(keys[1].kind, TW_RATING_ENTITY);
    assert_true(tw_uuid_eq(keys[1].id, tee_id()));
    assert_true(tw_uuid_eq(keys[1].sub, ana));
}

static void keys__of_a_rating_are_the_product_and_the_members_rating_of_it(void **state)
{
    struct tw_product_rate            rate = {.product_id = tee_id(), .member_id = ana, .stars = 3};
    struct tw_product_withdraw_rating withdraw = {.product_id = tee_id(), .member_id = ana};

    (void)state;
    assert_keys_of_rating(&tw_product_rate_type, &rate);
    assert_keys_of_rating(&tw_product_withdraw_rating_type, &withdraw);
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
        RULE(change__answers_with_the_product),
        RULE(change__of_an_unknown_product_is_refused),
        RULE(change__sets_the_name_and_leaves_the_slug),
        RULE(change__sets_the_slug),
        RULE(change__sets_the_category),
        RULE(change__sets_the_description_or_takes_it_away),
        RULE(change__of_tags_replaces_all_of_them),
        RULE(change__without_tags_leaves_them),
        RULE(change__moves_version_and_updated_at_but_no_count),
        RULE(change__into_what_is_there_moves_nothing_and_is_no_event),
        RULE(change__of_a_requeued_command_does_not_move_updated_at_back),
        RULE(change__publishes_the_whole_product),
        RULE(change__of_a_product_made_in_the_same_batch_changes_it),
        RULE(change__of_the_price_sells_at_it),
        RULE(change__of_the_discount_sells_at_it_until_it_is_cleared),
        RULE(change__of_the_price_alone_keeps_the_discount_that_customers_pay),
        RULE(change__is_refused_when_the_discount_is_not_below_the_stored_price),
        RULE(change__is_refused_when_the_price_falls_to_the_stored_discount),
        RULE(change__of_price_and_discount_at_once_is_judged_as_a_whole),
        RULE(change__of_images_adds_replaces_and_keeps),
        RULE(change__takes_images_away_by_name),
        RULE(change__is_refused_beyond_20_images),
        RULE(change__may_replace_20_images_by_20_others),
        RULE(deactivate__takes_the_product_off_sale),
        RULE(deactivate__again_changes_nothing),
        RULE(deactivate__of_an_unknown_product_is_refused),
        RULE(deactivate__by_a_requeued_command_does_not_move_updated_at_back),
        RULE(change__brings_an_inactive_product_back_with_its_counts),
        RULE(change__of_an_inactive_product_is_a_merchants_business),
        RULE(rate__adds_a_rating_and_tells_the_mean),
        RULE(rate__moves_the_revision_but_neither_version_nor_updated_at),
        RULE(rate__by_two_members_counts_both),
        RULE(rate__again_replaces_the_members_own),
        RULE(rate__with_as_many_stars_changes_nothing),
        cmocka_unit_test(a_mean__has_two_decimals_and_is_rounded_half_up),
        RULE(rate__of_an_unknown_product_is_refused),
        RULE(rate__of_an_inactive_product_is_refused),
        RULE(rate__by_a_requeued_command_does_not_move_its_time_back),
        RULE(withdraw_rating__takes_it_out_of_the_mean_and_leaves_no_stars),
        RULE(withdraw_rating__of_the_only_one_leaves_a_mean_of_0),
        RULE(withdraw_rating__of_none_or_a_second_time_is_refused),
        RULE(withdraw_rating__works_on_an_inactive_product_too),
        RULE(rate__after_a_withdrawal_counts_anew),
        RULE(record_view__counts_one),
        RULE(record_view__moves_neither_version_nor_updated_at),
        RULE(record_view__asks_for_one_event_at_the_last_view),
        RULE(record_view__of_a_product_made_in_the_same_batch_counts),
        RULE(record_view__of_an_unknown_product_is_refused),
        RULE(record_view__of_an_inactive_product_is_not_counted),
        cmocka_unit_test(an_id__must_follow_from_the_sku),
        cmocka_unit_test(an_id__that_is_viewed_may_be_any),
        cmocka_unit_test(keys__are_the_product_alone),
        cmocka_unit_test(keys__of_a_rating_are_the_product_and_the_members_rating_of_it),
        cmocka_unit_test(the_version__of_no_product_is_0),
        cmocka_unit_test(every_command__is_decided),
    };

    return cmocka_run_group_tests_name("product_domain", tests, NULL, NULL);
}

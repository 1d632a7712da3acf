/* Links: tw_histories tw_product_domain */
/*
 * Random lives of a few products and their ratings, command by command, through the turn and the store in memory. After
 * each command the promises of the domain hold; and the log that came about gives the same store and the same events in
 * one batch as one by one, swept or not. Views of a batch are one event, which must be the last of them.
 *
 * Every history is the same on every run; who fails prints its number and the offset.
 */
#include <string.h>

#include "histories.h"
#include "tillwire/gen/product_messages.h"
#include "tillwire/gen/shared_messages.h"
#include "workers/product/product_domain.h"

enum { PRODUCTS = 3, MEMBERS = 4, STEPS = 700, HISTORIES = 12, EVENTS_MAX = 3 * STEPS };

/* Histories of three kinds: of everything, of ratings, of products that are looked at. */
enum { EVERYTHING, RATINGS, VIEWS, KINDS };

/* --- a history ---------------------------------------------------------------------------------------------------- */

/* What the store has. */
struct view {
    struct tw_arena                 arena;
    const struct tw_product        *products[PRODUCTS];
    const struct tw_product_rating *ratings[PRODUCTS][MEMBERS];
};

/* An event of the fold one by one. */
struct told {
    const struct tw_type *type;
    int64_t               offset;
    int32_t               n;
    struct tw_str         payload;
};

struct tally;

struct history {
    struct tw_history base;
    struct tw_uuid    ids[PRODUCTS];
    struct tw_uuid    members[MEMBERS];
    struct view       views[2];
    struct view      *before, *now;
    struct told       events[EVENTS_MAX];
    uint32_t          event_count;
    struct tally     *tally;
};

/* What came to pass over all histories; one that has not proves nothing about it. */
struct tally {
    struct tw_tally base;
    size_t          merged; /* views that were no event of their own in some batch */
};

static const char *const skus[PRODUCTS] = {"TEE-BLK-M", "MUG-1", "CAP-RED"};

static void load_view(struct history *history)
{
    struct view     *view = history->before; /* the older one is used again */
    struct tw_entity entities[PRODUCTS + PRODUCTS * MEMBERS];
    struct tw_load   load = {.entities = entities, .entity_count = TW_LEN(entities)};

    history->before = history->now;
    history->now = view;
    tw_arena_reset(&view->arena);
    for (uint32_t i = 0; i < PRODUCTS; i++) {
        entities[i] = (struct tw_entity){.key = {.id = history->ids[i]}};
        for (uint32_t k = 0; k < MEMBERS; k++)
            entities[PRODUCTS + i * MEMBERS + k].key =
                (struct tw_key){.kind = TW_RATING_ENTITY, .id = history->ids[i], .sub = history->members[k]};
    }
    tw_history_load(&history->base, &load, &view->arena);
    for (uint32_t i = 0; i < PRODUCTS; i++) {
        view->products[i] = entities[i].before;
        for (uint32_t k = 0; k < MEMBERS; k++)
            view->ratings[i][k] = entities[PRODUCTS + i * MEMBERS + k].before;
    }
}

static void history_open(struct history *history, int number, struct tally *tally)
{
    *history = (struct history){.tally = tally};
    tw_history_open(&history->base, number, (uint64_t)number, &tw_product_domain);
    for (int i = 0; i < PRODUCTS; i++)
        history->ids[i] = tw_product_id_of_sku(tw_str_of(skus[i]));
    for (uint32_t k = 0; k < MEMBERS; k++)
        history->members[k] = tw_test_uuid(1000 + k);
    history->before = &history->views[0];
    history->now = &history->views[1];
}

static void history_close(struct history *history)
{
    tw_history_close(&history->base);
    tw_arena_done(&history->views[0].arena);
    tw_arena_done(&history->views[1].arena);
}

/* Some product; half of the time the first one. */
static uint32_t any_product(struct history *history)
{
    return dice(history, 2) ? 0 : dice(history, PRODUCTS);
}

static void send(struct history *history, const struct tw_type *type, uint32_t which, const void *body)
{
    bool               is_keyed = dice(history, 2) == 0;
    uint32_t           fresh = ++history->base.command_number;
    uint32_t           number = dice(history, 40) ? fresh : dice(history, fresh); /* a key that was used before */
    struct tw_uuid     id = is_keyed ? tw_test_keyed_id(&history->base.log, TW_DOMAIN_PRODUCT, number)
                                     : tw_test_command_id(&history->base.log, TW_DOMAIN_PRODUCT, number);
    struct tw_envelope envelope = tw_test_envelope(&history->base.log, type, id);

    envelope.caller = history->members[0];
    memcpy(envelope.fingerprint, &fresh, sizeof(fresh));
    tw_history_requeue_some(&history->base, &envelope);
    if (dice(history, 30) == 0) /* If-Match: one of the first few versions */
        envelope.if_version = 1 + dice(history, 8);
    tw_test_append(&history->base.log, type, history->ids[which], body, &envelope);
}

/* --- what merchants do -------------------------------------------------------------------------------------------- */

static struct tw_str tags[] = {{"cotton", 6}, {"summer", 6}, {"sale", 4}};

static int64_t any_price(struct history *history)
{
    return 100 * (1 + dice(history, 6)); /* few, so that rules are met */
}

/* Up to `max` images, each name once, beginning anywhere. */
static struct tw_pair *any_images(struct history *history, uint32_t max, uint32_t *ret_count)
{
    struct tw_arena *arena = &history->base.log.arena;
    uint32_t         first = dice(history, 30), count = dice(history, max + 1);
    struct tw_pair  *images = TW_NEW_ARRAY(arena, count, struct tw_pair);

    for (uint32_t i = 0; i < count; i++)
        images[i] = (struct tw_pair){
            tw_arena_printf(arena, "image %u", first + i),
            tw_arena_printf(arena, "https://cdn.example.invalid/%u", history->base.command_number % 3)};
    *ret_count = count;
    return images;
}

static void do_create(struct history *history)
{
    uint32_t                 which = dice(history, PRODUCTS);
    struct tw_product_create body = {
        .product_id = history->ids[which],
        .sku = tw_str_of(skus[which]),
        .name = TW_STR("New"),
        .slug = TW_STR("new"),
        .has_description = dice(history, 2),
        .description = TW_STR("All of cotton."),
        .price_minor = any_price(history),
        .has_discount_price = dice(history, 2),
        .discount_price_minor = any_price(history),
        .category = TW_STR("shirts"),
        .tags = tags,
        .tags_len = dice(history, 3),
        .is_active = dice(history, 4) > 0,
    };

    body.images = any_images(history, 3, &body.images_len);
    send(history, &tw_product_create_type, which, &body);
}

static void choose_prices(struct history *history, struct tw_product_change *body)
{
    body->has_price = dice(history, 3) == 0;
    body->price_minor = body->has_price ? any_price(history) : 0;
    body->has_discount_price = dice(history, 3) == 0;
    body->discount_price_minor = body->has_discount_price ? any_price(history) : 0;
    body->clear_discount_price = !body->has_discount_price && dice(history, 6) == 0;
}

static void choose_images(struct history *history, struct tw_product_change *body)
{
    body->has_images = dice(history, 3) == 0;
    if (body->has_images)
        body->images = any_images(history, 9, &body->images_len);
    if (dice(history, 4))
        return;
    body->removed_images = TW_NEW_ARRAY(&history->base.log.arena, 2, struct tw_str);
    body->removed_images_len = 2;
    for (uint32_t i = 0; i < 2; i++)
        body->removed_images[i] = tw_arena_printf(&history->base.log.arena, "image %u", dice(history, 40));
}

static void do_change(struct history *history)
{
    uint32_t                 which = any_product(history);
    struct tw_product_change body = {
        .product_id = history->ids[which],
        .has_name = dice(history, 4) == 0,
        .name = tw_arena_printf(&history->base.log.arena, "Name %u", dice(history, 3)),
        .has_slug = dice(history, 6) == 0,
        .slug = tw_arena_printf(&history->base.log.arena, "slug-%u", dice(history, 3)),
        .has_category = dice(history, 6) == 0,
        .category = dice(history, 2) ? TW_STR("shirts") : TW_STR("tops"),
        .has_tags = dice(history, 6) == 0,
        .has_is_active = dice(history, 5) == 0,
        .is_active = dice(history, 3) > 0,
    };

    body.clear_description = dice(history, 8) == 0;
    body.has_description = !body.clear_description && dice(history, 8) == 0;
    if (body.has_description)
        body.description = TW_STR("Of linen.");
    if (body.has_tags) {
        body.tags = tags;
        body.tags_len = dice(history, 1 + TW_LEN(tags));
    }
    choose_prices(history, &body);
    choose_images(history, &body);
    send(history, &tw_product_change_type, which, &body);
}

static void do_deactivate(struct history *history)
{
    uint32_t which = any_product(history);

    send(history, &tw_product_deactivate_type, which,
         &(struct tw_product_deactivate){.product_id = history->ids[which]});
}

static void do_reactivate(struct history *history)
{
    uint32_t                 which = any_product(history);
    struct tw_product_change body = {.product_id = history->ids[which], .has_is_active = true, .is_active = true};

    send(history, &tw_product_change_type, which, &body);
}

/* --- what customers do -------------------------------------------------------------------------------------------- */

static void do_view(struct history *history)
{
    uint32_t which = any_product(history);

    send(history, &tw_product_record_view_type, which,
         &(struct tw_product_record_view){.product_id = history->ids[which]});
}

static void do_rate(struct history *history)
{
    uint32_t               which = any_product(history);
    struct tw_product_rate body = {.product_id = history->ids[which],
                                   .member_id = history->members[dice(history, MEMBERS)],
                                   .stars = 1 + dice(history, 5)};

    send(history, &tw_product_rate_type, which, &body);
}

static void do_withdraw(struct history *history)
{
    uint32_t                          which = any_product(history);
    struct tw_product_withdraw_rating body = {.product_id = history->ids[which],
                                              .member_id = history->members[dice(history, MEMBERS)]};

    send(history, &tw_product_withdraw_rating_type, which, &body);
}

/* --- what befalls them -------------------------------------------------------------------------------------------- */

static void do_repeat(struct history *history)
{
    tw_history_repeat(&history->base, tw_history_recent(&history->base));
}

static void pass_time(struct history *history)
{
    history->base.log.now_ms += dice(history, 10) == 0 ? 25 * HOUR_MS : (int64_t)dice(history, 20) * MINUTE_MS;
}

/* How often what is done, by kind of history. */
static const struct tw_deed deeds[] = {
    {do_create, {4, 3, 3}},     {do_change, {20, 2, 4}}, {do_deactivate, {2, 1, 1}},
    {do_reactivate, {4, 3, 3}}, {do_view, {15, 4, 80}},  {do_rate, {15, 40, 3}},
    {do_withdraw, {5, 15, 1}},  {do_repeat, {6, 6, 6}},  {pass_time, {5, 2, 2}},
};

/* --- what holds of a product -------------------------------------------------------------------------------------- */

static void check_prices(const struct history *history, const struct tw_product *product)
{
    int64_t effective = product->has_discount_price ? product->discount_price_minor : product->price_minor;

    HOLDS(history, !product->has_discount_price || product->discount_price_minor < product->price_minor);
    HOLDS(history, product->effective_price_minor == effective);
}

static void check_images(const struct history *history, const struct tw_product *product)
{
    HOLDS(history, product->images_len <= 20);
    for (uint32_t i = 0; i < product->images_len; i++)
        for (uint32_t k = 0; k < i; k++)
            HOLDS(history, !tw_str_eq(product->images[i].name, product->images[k].name));
}

/* The mean in hundredths, half up, by steps of one. */
static int64_t mean_of(int64_t sum, int64_t count)
{
    int64_t hundredths = 0;

    while (count && 2 * count * hundredths + count <= 200 * sum)
        hundredths++;
    return hundredths;
}

static void check_ratings(const struct history *history, uint32_t which)
{
    const struct tw_product *product = history->now->products[which];
    int64_t                  sum = 0, count = 0;

    for (uint32_t k = 0; k < MEMBERS; k++) {
        const struct tw_product_rating *rating = history->now->ratings[which][k];

        HOLDS(history, rating || !history->before->ratings[which][k]); /* withdrawn, but there */
        if (!rating)
            continue;
        HOLDS(history, rating->stars >= 0 && rating->stars <= 5);
        HOLDS(history, tw_uuid_eq(rating->product_id, product->product_id));
        HOLDS(history, tw_uuid_eq(rating->member_id, history->members[k]));
        sum += rating->stars;
        count += rating->stars > 0;
    }
    HOLDS(history, product->rating_sum == sum);
    HOLDS(history, product->review_count == count);
    HOLDS(history, product->rating_hundredths == mean_of(sum, count));
}

/* --- what holds of a change --------------------------------------------------------------------------------------- */

/* The product without its counts, packed: what a merchant may change. */
static struct tw_str changeable(const struct tw_product *product, struct tw_arena *arena)
{
    struct tw_product part = *product;
    struct tw_buf     packed = {0};
    struct tw_str     copy;

    part.view_count = part.rating_hundredths = part.rating_sum = part.review_count = 0;
    part.version = part.revision = part.updated_at_ms = 0;
    tw_product_type.pack(&part, &packed);
    copy = tw_arena_copy(arena, tw_buf_str(&packed));
    tw_buf_done(&packed);
    return copy;
}

static void check_change(const struct history *history, const struct tw_product *before, const struct tw_product *now)
{
    struct tw_arena *arena = &history->now->arena;
    bool             is_changed = !tw_str_eq(changeable(before, arena), changeable(now, arena));
    bool             is_rated = before->rating_sum != now->rating_sum || before->review_count != now->review_count;
    bool             is_viewed = before->view_count != now->view_count;

    HOLDS(history, is_changed + is_rated + is_viewed <= 1);
    HOLDS(history, now->version == before->version + is_changed);
    HOLDS(history, now->revision == before->revision + is_changed + is_rated);
    HOLDS(history, now->view_count == before->view_count + is_viewed);
    HOLDS(history, now->updated_at_ms >= before->updated_at_ms);
    HOLDS(history, is_changed || now->updated_at_ms == before->updated_at_ms);
    HOLDS(history, now->created_at_ms == before->created_at_ms && tw_str_eq(now->sku, before->sku));
    HOLDS(history, before->is_active || !is_viewed);
    HOLDS(history, before->is_active || now->review_count == before->review_count - is_rated); /* withdrawn at most */
}

static void check_rating_times(const struct history *history, uint32_t which)
{
    for (uint32_t k = 0; k < MEMBERS; k++) {
        const struct tw_product_rating *before = history->before->ratings[which][k];
        const struct tw_product_rating *now = history->now->ratings[which][k];

        HOLDS(history, !before || now->rated_at_ms >= before->rated_at_ms);
        HOLDS(history, !before || now->stars != before->stars || now->rated_at_ms == before->rated_at_ms);
    }
}

static void check_product(const struct history *history, uint32_t which)
{
    const struct tw_product *before = history->before->products[which], *now = history->now->products[which];

    if (!now) {
        HOLDS(history, !before);
        return;
    }
    check_prices(history, now);
    check_images(history, now);
    check_ratings(history, which);
    check_rating_times(history, which);
    if (before)
        check_change(history, before, now);
    else
        HOLDS(history, now->version == 1 && now->revision == 1 && !now->view_count && !now->review_count);
}

/* --- one history -------------------------------------------------------------------------------------------------- */

static void keep_events(struct history *history)
{
    const struct tw_turn *turn = &history->base.live.turn;

    for (uint32_t i = 0; i < turn->event_count; i++) {
        const struct tw_event *event = &turn->events[i];

        assert_true(history->event_count < EVENTS_MAX);
        history->events[history->event_count++] = (struct told){
            event->type, event->cause_offset, event->n, tw_arena_copy(&history->base.log.arena, event->payload)};
    }
}

/* Every rule that refuses was met, every command went through, every event was told. */
static void assert_all_met(const struct tally *tally)
{
    static const enum tw_problem problems[] = {
        TW_PROBLEM_NOT_FOUND,    TW_PROBLEM_SKU_TAKEN,  TW_PROBLEM_PRICE_RULE,          TW_PROBLEM_GONE,
        TW_PROBLEM_IMAGES_LIMIT, TW_PROBLEM_KEY_REUSED, TW_PROBLEM_PRECONDITION_FAILED,
    };

    tw_tally_assert_commands(&tally->base, &tw_product_domain);
    for (size_t i = 0; i < tw_product_event_count; i++)
        if (tally->base.events[tw_product_events[i]->number] < 5)
            fail_msg("%s was told %zu times", tw_product_events[i]->ce_type,
                     tally->base.events[tw_product_events[i]->number]);
    tw_tally_assert_problems(&tally->base, problems, TW_LEN(problems));
    assert_true(tally->merged > 100);
}

static void live(struct history *history)
{
    for (int i = 0; i < STEPS; i++) {
        tw_history_choose(&history->base, deeds, TW_LEN(deeds), history->base.number % KINDS)->run(history);
        while (tw_history_step(&history->base)) {
            keep_events(history);
            tw_tally_step(&history->tally->base, &history->base);
            load_view(history);
            for (uint32_t which = 0; which < PRODUCTS; which++)
                check_product(history, which);
        }
    }
}

/* --- other batches ------------------------------------------------------------------------------------------------ */

static struct tw_product_viewed viewed_in(struct tw_str payload, struct tw_arena *arena)
{
    struct tw_product_viewed viewed;

    assert_int_equal(tw_product_viewed_type.unpack(payload, arena, &viewed, NULL), TW_OK);
    return viewed;
}

/* Does a view come after it, of the same version of the same product and before `next`? */
static bool is_merged(const struct history *history, uint32_t index, int64_t next, struct tw_arena *arena)
{
    struct tw_product_viewed viewed = viewed_in(history->events[index].payload, arena);

    for (uint32_t i = index + 1; i < history->event_count && history->events[i].offset < next; i++) {
        struct tw_product_viewed later;

        if (history->events[i].type != &tw_product_viewed_type)
            continue;
        later = viewed_in(history->events[i].payload, arena);
        if (tw_uuid_eq(later.product_id, viewed.product_id) && later.version == viewed.version)
            return true;
    }
    return false;
}

static bool same_event(const struct told *told, const struct tw_event *event)
{
    return told->type == event->type && told->offset == event->cause_offset && told->n == event->n &&
           tw_str_eq(told->payload, event->payload);
}

/* The events of the fold's last batch are those of its records one by one, but for merged views. */
static void assert_same_events(const struct history *history, struct tw_fold *fold, uint32_t *inout_index)
{
    const struct tw_turn *turn = &fold->turn;
    int64_t               next = fold->progress.next_offset;
    uint32_t              i = *inout_index, k = 0;

    for (; i < history->event_count && history->events[i].offset < next; i++) {
        const struct told *told = &history->events[i];

        if (told->type == &tw_product_viewed_type && is_merged(history, i, next, &fold->arena)) {
            history->tally->merged++;
            continue;
        }
        if (k == turn->event_count || !same_event(told, &turn->events[k]))
            fail_msg("history %d, batch before %lld: another event than %s of offset %lld", history->base.number,
                     (long long)next, told->type->ce_type, (long long)told->offset);
        k++;
    }
    assert_int_equal(k, turn->event_count);
    *inout_index = i;
}

static void assert_same_in_batches_of(const struct history *history, const struct tw_buf *expected, size_t batch,
                                      size_t cache_bytes)
{
    struct tw_fold fold;
    uint32_t       index = 0;

    tw_fold_open(&fold, &tw_product_domain, cache_bytes);
    while (tw_fold_next(&fold, &history->base.log, batch)) {
        assert_same_events(history, &fold, &index);
        tw_fold_sweep(&fold);
    }
    assert_int_equal(index, history->event_count);
    tw_history_assert_same_dump(&history->base, &fold, expected, batch);
    tw_fold_close(&fold);
}

static void histories__keep_every_promise_after_each_command_and_give_one_store_for_any_batch(void **state)
{
    static struct history history;
    struct tally          tally = {0};

    (void)state;
    for (int number = 0; number < HISTORIES; number++) {
        struct tw_buf expected = {0};

        history_open(&history, number, &tally);
        live(&history);
        tw_fold_dump(&history.base.live, &expected);
        assert_same_in_batches_of(&history, &expected, 1, 0);
        assert_same_in_batches_of(&history, &expected, history.base.log.len, 0);
        assert_same_in_batches_of(&history, &expected, 8, 0);
        assert_same_in_batches_of(&history, &expected, 100, 4096);
        tw_buf_done(&expected);
        history_close(&history);
    }
    assert_all_met(&tally);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histories__keep_every_promise_after_each_command_and_give_one_store_for_any_batch),
    };

    return cmocka_run_group_tests_name("product_histories", tests, NULL, NULL);
}

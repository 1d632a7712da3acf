/* Where a batch ends (workers/runtime/cut.c). */
#include <stdlib.h>

#include "cart_domain.h"
#include "cut.h"
#include "member_domain.h"
#include "product_domain.h"
#include "records.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/product_messages.h"
#include "unit.h"

enum { PARTITION = 2, PARTITIONS = 6, RECORDS = 10, BYTES = 100000, ALL_RECORDS = 80 };

struct world {
    struct tw_test_log      log;
    struct tw_arena         arena;
    const struct tw_domain *domain;
};

static struct world *new_world(const struct tw_domain *domain)
{
    struct world *world = tw_alloc_zeroed(1, sizeof(*world));

    world->domain = domain;
    tw_test_log_init(&world->log, PARTITION, PARTITIONS);
    return world;
}

static void free_world(struct world *world)
{
    tw_arena_done(&world->arena);
    tw_test_log_done(&world->log);
    free(world);
}

static void append(struct world *world, const struct tw_type *type, uint32_t key, const void *body,
                   struct tw_uuid command_id)
{
    struct tw_envelope envelope = tw_test_envelope(&world->log, type, command_id);

    tw_test_append(&world->log, type, tw_test_id(&world->log, key), body, &envelope);
}

static struct tw_uuid next_id(const struct world *world)
{
    return tw_test_command_id(&world->log, world->domain->number, world->log.len);
}

static void append_views(struct world *world, uint32_t product, uint32_t count)
{
    struct tw_product_record_view body = {.product_id = tw_test_id(&world->log, product)};

    for (uint32_t i = 0; i < count; i++)
        append(world, &tw_product_record_view_type, product, &body, next_id(world));
}

static void append_keyed_views(struct world *world, uint32_t product, uint32_t count)
{
    struct tw_product_record_view body = {.product_id = tw_test_id(&world->log, product)};

    for (uint32_t i = 0; i < count; i++)
        append(world, &tw_product_record_view_type, product, &body,
               tw_test_keyed_id(&world->log, TW_DOMAIN_PRODUCT, world->log.len));
}

static void append_changes(struct world *world, uint32_t product, uint32_t count)
{
    struct tw_product_change body = {.product_id = tw_test_id(&world->log, product), .has_price = true};

    for (uint32_t i = 0; i < count; i++)
        append(world, &tw_product_change_type, product, &body, next_id(world));
}

/* How many of the log's records go together. */
static size_t cut_with(struct world *world, const struct tw_cut_limits *limits)
{
    struct tw_cut cut;

    tw_cut_begin(&cut, world->domain, limits, world->log.records, world->log.len, &world->arena);
    while (tw_cut_takes(&cut))
        ;
    return cut.record_count;
}

static size_t cut_at(struct world *world, size_t records, size_t bytes)
{
    struct tw_cut_limits limits = tw_cut_limits_of(world->domain, records, bytes);

    return cut_with(world, &limits);
}

static size_t bytes_of(const struct tw_record *record)
{
    return record->key.len + record->value.len;
}

static void a_batch__has_so_many_records_that_write_something_of_their_own(void **unused)
{
    struct world *world = new_world(&tw_product_domain);

    (void)unused;
    append_changes(world, 1, 3 * RECORDS);
    assert_int_equal(cut_at(world, RECORDS, BYTES), RECORDS);
    free_world(world);
}

static void views__share_what_the_first_one_of_their_product_writes(void **unused)
{
    struct world *world = new_world(&tw_product_domain);

    (void)unused;
    append_views(world, 1, 25);
    append_views(world, 2, 25);
    append_changes(world, 3, RECORDS); /* two less: the first views took their places */
    assert_int_equal(cut_at(world, RECORDS, BYTES), 50 + RECORDS - 2);
    free_world(world);
}

static void views__of_many_products_are_no_more_than_other_records(void **unused)
{
    struct world *world = new_world(&tw_product_domain);

    (void)unused;
    for (uint32_t product = 0; product < 2 * RECORDS; product++)
        append_views(world, product, 1);
    assert_int_equal(cut_at(world, RECORDS, BYTES), RECORDS);
    free_world(world);
}

static void views__however_many_share_fill_a_batch_some_time(void **unused)
{
    struct world *world = new_world(&tw_product_domain);

    (void)unused;
    append_views(world, 1, 2 * ALL_RECORDS);
    assert_int_equal(cut_at(world, RECORDS, BYTES), ALL_RECORDS);
    free_world(world);
}

/* It has a ledger row and an outcome event. */
static void a_keyed_view__shares_nothing(void **unused)
{
    struct world *world = new_world(&tw_product_domain);

    (void)unused;
    append_views(world, 1, 5);
    append_keyed_views(world, 1, 2 * RECORDS);
    assert_int_equal(cut_at(world, RECORDS, BYTES), 5 + RECORDS - 1);
    free_world(world);
}

static void a_record_without_a_type__shares_nothing(void **unused)
{
    struct world *world = new_world(&tw_product_domain);

    (void)unused;
    append_views(world, 1, 3 * RECORDS);
    for (uint32_t i = 0; i < world->log.len; i++)
        world->log.records[i].header_count = i % 2 ? 0 : 1; /* no header, or nothing but an id */
    assert_int_equal(cut_at(world, RECORDS, BYTES), RECORDS);
    free_world(world);
}

/* Each writes a cart of its own and has an event of its own. */
static void quiet_commands__of_a_domain_that_coalesces_nothing_count_each(void **unused)
{
    struct world          *world = new_world(&tw_cart_domain);
    struct tw_cart_reprice body = {.member_id = tw_test_id(&world->log, 1), .product_id = tw_test_uuid(2)};

    (void)unused;
    for (uint32_t i = 0; i < 3 * RECORDS; i++)
        append(world, &tw_cart_reprice_type, 1, &body, next_id(world));
    assert_int_equal(cut_at(world, RECORDS, BYTES), RECORDS);
    assert_int_equal(tw_cut_limits_of(&tw_member_domain, RECORDS, BYTES).all_records, RECORDS);
    free_world(world);
}

static void bytes__of_records_that_count_are_bounded(void **unused)
{
    struct world *world = new_world(&tw_product_domain);
    size_t        bytes;

    (void)unused;
    append_changes(world, 1, 3 * RECORDS);
    bytes = bytes_of(&world->log.records[0]);
    for (size_t fit = 1; fit < RECORDS; fit++) {
        assert_int_equal(cut_at(world, RECORDS, fit * bytes), fit);
        assert_int_equal(cut_at(world, RECORDS, fit * bytes + bytes - 1), fit);
    }
    free_world(world);
}

static void bytes__of_all_records_are_bounded_too(void **unused)
{
    struct world        *world = new_world(&tw_product_domain);
    struct tw_cut_limits limits = {.records = RECORDS, .all_records = ALL_RECORDS};

    (void)unused;
    append_views(world, 1, ALL_RECORDS);
    limits.bytes = bytes_of(&world->log.records[0]); /* of the one that counts */
    limits.all_bytes = 33 * limits.bytes;
    assert_int_equal(cut_with(world, &limits), 33);
    limits.all_bytes--;
    assert_int_equal(cut_with(world, &limits), 32);
    free_world(world);
}

static void one_record__always_goes_however_large(void **unused)
{
    struct world *world = new_world(&tw_product_domain);

    (void)unused;
    append_changes(world, 1, 3);
    assert_int_equal(cut_at(world, RECORDS, 1), 1);
    free_world(world);
}

static void a_lane__holds_a_few_batches_and_the_largest_one(void **unused)
{
    struct tw_cut_limits carts = tw_cut_limits_of(&tw_cart_domain, RECORDS, BYTES);
    struct tw_cut_limits products = tw_cut_limits_of(&tw_product_domain, RECORDS, BYTES);

    (void)unused;
    assert_int_equal(tw_cut_lane_records(&carts), 4 * RECORDS);
    assert_int_equal(tw_cut_lane_bytes(&carts), 4 * BYTES);
    assert_int_equal(tw_cut_lane_records(&products), products.all_records);
    assert_int_equal(tw_cut_lane_bytes(&products), products.all_bytes);
}

static void the_same_log__is_cut_again_where_the_batch_before_ended(void **unused)
{
    struct world           *world = new_world(&tw_product_domain);
    const struct tw_record *records;
    size_t                  batches = 0;

    (void)unused;
    for (uint32_t i = 0; i < 400; i++)
        append_views(world, i % 7, 1);
    records = world->log.records;
    for (size_t taken; world->log.len > 0; batches++) {
        taken = cut_at(world, RECORDS, BYTES);
        assert_int_equal(taken, ALL_RECORDS);
        world->log.records += taken;
        world->log.len -= (uint32_t)taken;
    }
    assert_int_equal(batches, 400 / ALL_RECORDS);
    assert_ptr_equal(world->log.records, records + 400);
    free_world(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch__has_so_many_records_that_write_something_of_their_own),
        cmocka_unit_test(views__share_what_the_first_one_of_their_product_writes),
        cmocka_unit_test(views__of_many_products_are_no_more_than_other_records),
        cmocka_unit_test(views__however_many_share_fill_a_batch_some_time),
        cmocka_unit_test(a_keyed_view__shares_nothing),
        cmocka_unit_test(a_record_without_a_type__shares_nothing),
        cmocka_unit_test(quiet_commands__of_a_domain_that_coalesces_nothing_count_each),
        cmocka_unit_test(bytes__of_records_that_count_are_bounded),
        cmocka_unit_test(bytes__of_all_records_are_bounded_too),
        cmocka_unit_test(one_record__always_goes_however_large),
        cmocka_unit_test(a_lane__holds_a_few_batches_and_the_largest_one),
        cmocka_unit_test(the_same_log__is_cut_again_where_the_batch_before_ended),
    };

    return cmocka_run_group_tests_name("cut", tests, NULL, NULL);
}

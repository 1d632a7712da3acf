/* Reading all that a store holds (workers/replay/scan.c), from the store in memory. */
#include "scan.h"

#include <stdlib.h>
#include <string.h>

#include "filled_store.h"
#include "memory_store.h"
#include "sample_states.h"
#include "unit.h"

enum { PARTITIONS = 3, ITEMS_MAX = 100000 };

struct world {
    struct tw_store    store;
    struct tw_progress vector[PARTITIONS];
    struct tw_scan    *scan;
    struct tw_err      err;
    /* what was found */
    size_t             entities[2]; /* by kind */
    size_t             rows[PARTITIONS];
};

static void open_store(struct world *world, const struct tw_filling *filling)
{
    memset(world, 0, sizeof(*world));
    tw_memory_store_open(filling->samples->domain, &world->store);
    tw_fill_store(&world->store, filling, world->vector);
}

static void open_scan(struct world *world, const struct tw_filling *filling)
{
    world->scan = tw_scan_open(filling->samples->domain, &world->store, world->vector, PARTITIONS);
}

static void close_all(struct world *world)
{
    tw_scan_close(world->scan);
    tw_memory_store_close(&world->store);
}

static enum tw_rc next(struct world *world, struct tw_scan_item *ret_item)
{
    return tw_scan_next(world->scan, ret_item, &world->err);
}

static void take_entity(struct world *world, const struct tw_sample_states *samples, const struct tw_scan_item *item)
{
    const struct tw_entity *entity = item->entity;

    assert_int_equal(item->partition, tw_partition_of_id(entity->key.id, PARTITIONS));
    assert_ptr_equal(item->type, samples->domain->states[entity->key.kind]);
    assert_non_null(entity->before);
    assert_true(tw_uuid_eq(samples->key((uint32_t)entity->before_guard).id, entity->key.id));
    world->entities[entity->key.kind]++;
}

static void take_row(struct world *world, const struct tw_scan_item *item)
{
    assert_int_equal(item->row->offset, world->rows[item->partition]); /* as they were filled in, and none twice */
    assert_str(item->row->type, "thing.do");
    world->rows[item->partition]++;
}

/* The item before, whose content is gone with the next. */
struct before {
    struct tw_scan_item  item;
    struct tw_entity     entity;
    struct tw_ledger_row row;
};

static void remember(struct before *before, const struct tw_scan_item *item)
{
    before->item = *item;
    if (item->what == TW_SCAN_ENTITY)
        before->entity = *item->entity;
    if (item->what == TW_SCAN_ROW)
        before->row = *item->row;
    before->item.entity = &before->entity;
    before->item.row = &before->row;
}

/* To the end, in order; and END again and again. */
static void read_all(struct world *world, const struct tw_filling *filling)
{
    struct before       before;
    struct tw_scan_item item;

    open_scan(world, filling);
    assert_rc(next(world, &item), TW_OK, world->err);
    for (size_t i = 0; item.what != TW_SCAN_END; i++) {
        if (i > 0)
            assert_true(tw_scan_cmp(&before.item, &item) < 0 && tw_scan_cmp(&item, &before.item) > 0);
        assert_int_equal(tw_scan_cmp(&item, &item), 0);
        if (item.what == TW_SCAN_ENTITY)
            take_entity(world, filling->samples, &item);
        else
            take_row(world, &item);
        remember(&before, &item);
        assert_true(i < ITEMS_MAX);
        assert_rc(next(world, &item), TW_OK, world->err);
    }
    for (int i = 0; i < 3; i++) {
        assert_rc(next(world, &item), TW_OK, world->err);
        assert_int_equal(item.what, TW_SCAN_END);
        assert_int_equal(tw_scan_cmp(&item, &item), 0);
    }
}

static void a_scan__gives_everything_once_whatever_the_pages(void **state)
{
    static const uint32_t counts[] = {0, 1, 2999, 3000, 3001, 6000, 6001};

    (void)state;
    for (size_t i = 0; i < TW_LEN(counts); i++) {
        struct tw_filling filling = {&tw_sample_carts, counts[i], counts[TW_LEN(counts) - 1 - i], 0, PARTITIONS};
        struct world      world;

        open_store(&world, &filling);
        read_all(&world, &filling);
        assert_int_equal(world.entities[0], filling.count);
        for (int32_t p = 0; p < PARTITIONS; p++)
            assert_int_equal(world.rows[p], filling.rows);
        close_all(&world);
    }
}

static void a_scan__gives_one_kind_after_the_other(void **state)
{
    struct tw_filling filling = {&tw_sample_products, 1100, 7, 0, PARTITIONS};
    struct world      world;

    (void)state;
    open_store(&world, &filling);
    read_all(&world, &filling);
    assert_int_equal(world.entities[0], 550);
    assert_int_equal(world.entities[1], 550);
    close_all(&world);
}

static void read_share(struct world *world, const struct tw_filling *filling, int32_t share, int32_t shares)
{
    struct tw_scan_item item;

    open_scan(world, filling);
    tw_scan_take_share(world->scan, share, shares);
    assert_rc(next(world, &item), TW_OK, world->err);
    while (item.what == TW_SCAN_ENTITY) {
        assert_int_equal(item.partition % shares, share);
        take_entity(world, filling->samples, &item);
        assert_rc(next(world, &item), TW_OK, world->err);
    }
    tw_scan_close(world->scan);
    world->scan = NULL;
}

static void shares__are_all_together_and_none_twice(void **state)
{
    static const uint32_t counts[] = {0, 1, 3000, 6001};

    (void)state;
    for (size_t i = 0; i < TW_LEN(counts); i++) {
        struct tw_filling filling = {&tw_sample_carts, counts[i], 1, 0, PARTITIONS};
        struct world      world;

        open_store(&world, &filling);
        read_share(&world, &filling, 0, 2);
        assert_true(counts[i] < 2 || (world.entities[0] > 0 && world.entities[0] < counts[i]));
        read_share(&world, &filling, 1, 2);
        assert_int_equal(world.entities[0], counts[i]);
        close_all(&world);
    }
}

static void what_has_ended__is_among_the_items(void **state)
{
    struct tw_filling filling = {&tw_sample_carts, 3, 5, 4, PARTITIONS};
    struct world      world;

    (void)state;
    open_store(&world, &filling);
    read_all(&world, &filling);
    assert_int_equal(world.rows[1], 5);
    close_all(&world);
}

/* --- what is swept while it is read ------------------------------------------------------------------------------- */

static enum tw_rc (*real_load)(void *self, int32_t partition, int64_t first_offset, struct tw_load *load,
                               struct tw_arena *arena, struct tw_err *reterr);
static bool all_are_gone;

static enum tw_rc load_what_is_left(void *self, int32_t partition, int64_t first_offset, struct tw_load *load,
                                    struct tw_arena *arena, struct tw_err *reterr)
{
    TW_TRY(real_load(self, partition, first_offset, load, arena, reterr));
    for (size_t i = 0; i < load->entity_count; i++)
        if (all_are_gone || load->entities[i].before_guard % 2)
            load->entities[i].before = NULL;
    if (all_are_gone)
        load->row_count = 0;
    return TW_OK;
}

static void assert_scan_without_gone(bool all, size_t entities, size_t rows)
{
    struct tw_filling filling = {&tw_sample_carts, 1200, 600, 0, PARTITIONS};
    struct world      world;

    open_store(&world, &filling);
    real_load = world.store.load;
    all_are_gone = all;
    world.store.load = load_what_is_left;
    read_all(&world, &filling);
    assert_int_equal(world.entities[0], entities);
    assert_int_equal(world.rows[0] + world.rows[1] + world.rows[2], rows);
    close_all(&world);
}

static void what_is_gone_when_it_is_loaded__is_left_out(void **state)
{
    (void)state;
    assert_scan_without_gone(false, 600, 3 * 600);
    assert_scan_without_gone(true, 0, 0);
}

/* --- what goes wrong ---------------------------------------------------------------------------------------------- */

static void a_store_that_moved__is_fenced(void **state)
{
    struct tw_filling   filling = {&tw_sample_carts, 50, 50, 0, PARTITIONS};
    struct world        world;
    struct tw_scan_item item;

    (void)state;
    open_store(&world, &filling);
    world.vector[1].next_offset--;
    open_scan(&world, &filling);
    assert_rc(next(&world, &item), TW_FENCED, world.err);
    assert_int_equal(item.what, TW_SCAN_END);
    close_all(&world);
}

static void a_store_that_moved_before_its_rows_are_read__is_fenced(void **state)
{
    struct tw_filling   filling = {&tw_sample_carts, 0, 5, 0, PARTITIONS};
    struct world        world;
    struct tw_scan_item item;

    (void)state;
    open_store(&world, &filling);
    open_scan(&world, &filling);
    for (int i = 0; i < 5; i++)
        assert_rc(next(&world, &item), TW_OK, world.err);
    world.vector[1].next_offset++;
    assert_rc(next(&world, &item), TW_FENCED, world.err);
    close_all(&world);
}

static void a_store_that_is_away__is_told_and_read_on_later(void **state)
{
    struct tw_filling   filling = {&tw_sample_carts, 4, 1, 0, PARTITIONS};
    struct world        world;
    struct tw_scan_item item;

    (void)state;
    open_store(&world, &filling);
    for (unsigned calls = 1; calls < 3; calls++) {
        open_scan(&world, &filling);
        tw_memory_fail(tw_memory_store_db(&world.store), calls, TW_UNREACHED);
        for (unsigned i = 0; i < calls; i++)
            assert_rc(next(&world, &item), TW_UNREACHED, world.err);
        tw_scan_close(world.scan);
    }
    read_all(&world, &filling);
    assert_int_equal(world.entities[0], 4);
    close_all(&world);
}

static void a_scan_may_end_anywhere__and_no_scan_is_closed(void **state)
{
    struct tw_filling   filling = {&tw_sample_carts, 3, 1, 0, PARTITIONS};
    struct world        world;
    struct tw_scan_item item;

    (void)state;
    tw_scan_close(NULL);
    open_store(&world, &filling);
    open_scan(&world, &filling);
    assert_rc(next(&world, &item), TW_OK, world.err);
    close_all(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scan__gives_everything_once_whatever_the_pages),
        cmocka_unit_test(a_scan__gives_one_kind_after_the_other),
        cmocka_unit_test(shares__are_all_together_and_none_twice),
        cmocka_unit_test(what_has_ended__is_among_the_items),
        cmocka_unit_test(what_is_gone_when_it_is_loaded__is_left_out),
        cmocka_unit_test(a_store_that_moved__is_fenced),
        cmocka_unit_test(a_store_that_moved_before_its_rows_are_read__is_fenced),
        cmocka_unit_test(a_store_that_is_away__is_told_and_read_on_later),
        cmocka_unit_test(a_scan_may_end_anywhere__and_no_scan_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Exported files and the cluster behind them as one log (workers/replay/source_chain.c), from arrays. */
#include <stdlib.h>
#include <string.h>

#include "array_source.h"
#include "cart_domain.h"
#include "tillwire/gen/cart_messages.h"
#include "unit.h"

enum { PARTITION = 1, RECORDS = 20, FILES_END = 12, READ_MAX = 5 };

struct world {
    struct tw_test_log     log;
    struct tw_array_source files;
    struct tw_array_source cluster;
    struct tw_source       chain;
    struct tw_record       records[RECORDS];
    size_t                 count;
    struct tw_arena        arena;
    struct tw_err          err;
};

static void cut(struct tw_array_source *array, int64_t low, int64_t high)
{
    array->records += low;
    array->count = (size_t)(high - low);
    array->low = low;
    array->high = high;
}

/* Files with the first 12 of 20 records, and a cluster that forgot the first 8. */
static int begin(void **state)
{
    struct world        *world = calloc(1, sizeof(*world));
    struct tw_cart_clear body = {.member_id = {{1}}};
    struct tw_source     files, cluster;
    struct tw_test_log  *log;

    assert_non_null(world);
    log = &world->log;
    tw_test_log_init(log, PARTITION, 3);
    while (log->len < RECORDS) {
        struct tw_envelope envelope =
            tw_test_envelope(log, &tw_cart_clear_type, tw_test_command_id(log, TW_DOMAIN_CART, log->len));

        tw_test_append(log, &tw_cart_clear_type, body.member_id, &body, &envelope);
    }
    tw_array_source_open(&world->files, log, &files);
    tw_array_source_open(&world->cluster, log, &cluster);
    files.name = "the files";
    cut(&world->files, 0, FILES_END);
    cut(&world->cluster, 8, RECORDS);
    tw_source_chain(files, cluster, &world->chain);
    *state = world;
    return 0;
}

static int end(void **state)
{
    struct world *world = *state;

    world->chain.close(world->chain.self);
    assert_true(world->files.is_closed && world->cluster.is_closed);
    tw_test_log_done(&world->log);
    tw_arena_done(&world->arena);
    free(world);
    return 0;
}

/* Reads to the end, or to what goes wrong. */
static enum tw_rc read_from(struct world *world, int64_t offset)
{
    struct tw_source *chain = &world->chain;

    world->count = 0;
    TW_TRY(chain->seek(chain->self, PARTITION, offset, &world->err));
    for (int quiet = 0; quiet < 2;) {
        size_t count, room = RECORDS - world->count;

        TW_TRY(chain->read(chain->self, room < READ_MAX ? room : READ_MAX, SIZE_MAX, &world->arena,
                           world->records + world->count, &count, &world->err));
        quiet = count ? 0 : quiet + 1;
        world->count += count;
    }
    return TW_OK;
}

static void assert_reads_all_from(struct world *world, int64_t offset)
{
    assert_rc(read_from(world, offset), TW_OK, world->err);
    assert_int_equal(world->count, RECORDS - offset);
    for (size_t i = 0; i < world->count; i++)
        assert_int_equal(world->records[i].offset, offset + (int64_t)i);
}

static void assert_broken(struct world *world, enum tw_rc rc, const char *words)
{
    assert_rc(rc, TW_BROKEN, world->err);
    if (!strstr(world->err.msg, words))
        fail_msg("'%s' does not say '%s'", world->err.msg, words);
    assert_non_null(strstr(world->err.msg, "partition 1"));
}

static enum tw_rc bounds(struct world *world, int64_t *ret_low, int64_t *ret_high)
{
    return world->chain.bounds(world->chain.self, PARTITION, ret_low, ret_high, &world->err);
}

static void the_whole_log__is_there_from_every_offset(void **state)
{
    struct world *world = *state;
    int64_t       low, high;

    assert_rc(bounds(world, &low, &high), TW_OK, world->err);
    assert_int_equal(low, 0);
    assert_int_equal(high, RECORDS);
    for (int64_t offset = 0; offset < RECORDS; offset++)
        assert_reads_all_from(world, offset);
}

static void a_cluster__may_have_no_more_than_the_files(void **state)
{
    struct world *world = *state;

    world->cluster.high = FILES_END;
    world->cluster.count = FILES_END - 8;
    assert_rc(read_from(world, 3), TW_OK, world->err);
    assert_int_equal(world->count, FILES_END - 3);
}

static void a_cluster_that_begins_where_the_files_end__is_enough_where_they_were_read_before(void **state)
{
    struct world *world = *state;

    cut(&world->cluster, FILES_END - 8, FILES_END - 8);
    world->cluster.low = FILES_END;
    world->cluster.high = RECORDS;
    world->cluster.count = RECORDS - FILES_END;
    assert_reads_all_from(world, FILES_END);
    assert_broken(world, read_from(world, FILES_END - 1), "the cluster begins only at 12");
}

static void an_export_of_another_cluster__is_found_where_they_meet(void **state)
{
    struct world    *world = *state;
    struct tw_record other[FILES_END];

    memcpy(other, world->log.records, sizeof(other));
    other[FILES_END - 1].timestamp_ms++;
    world->files.records = other;
    assert_broken(world, read_from(world, 0),
                  "record 11 of partition 1 is another one in the cluster than in the files");
    assert_int_equal(world->count, FILES_END);
}

static void a_cluster_without_the_record_where_they_meet__is_found(void **state)
{
    struct world *world = *state;

    world->cluster.records += 4; /* it says that it begins at 8, and it does not */
    world->cluster.count -= 4;
    assert_broken(world, read_from(world, 0), "record 11 of partition 1 is another one in the cluster");
}

static void a_cluster_that_lost_its_tail__is_refused(void **state)
{
    struct world *world = *state;
    int64_t       low, high;

    world->cluster.high = FILES_END - 1;
    assert_broken(world, bounds(world, &low, &high), "ends at 11 in the cluster, but at 12 in the files");
}

static void a_cluster_that_begins_too_late__is_refused(void **state)
{
    struct world *world = *state;

    world->cluster.low = FILES_END + 1;
    assert_broken(world, read_from(world, 0), "the files end before 12, and the cluster begins only at 13");
    assert_broken(world, read_from(world, FILES_END), "the files end before 12, and the cluster begins only at 13");
}

static void an_empty_export__is_followed_by_the_whole_cluster(void **state)
{
    struct world *world = *state;

    cut(&world->files, 0, 0);
    world->cluster.records -= 8;
    cut(&world->cluster, 0, RECORDS);
    assert_reads_all_from(world, 0);
}

static void verdicts__of_both_hold_and_are_counted_once(void **state)
{
    static const int64_t in_files[] = {3, 7}, in_cluster[] = {7, 15};
    struct world        *world = *state;
    struct tw_verdicts   verdicts = {0};

    world->files.dead = in_files;
    world->cluster.dead = in_cluster;
    world->files.dead_count = world->cluster.dead_count = 2;
    for (int i = 0; i < 2; i++)
        assert_rc(world->chain.verdicts(world->chain.self, PARTITION, &verdicts, &world->err), TW_OK, world->err);
    assert_int_equal(verdicts.count, 3);
    assert_true(tw_verdicts_has(&verdicts, 3) && tw_verdicts_has(&verdicts, 7) && tw_verdicts_has(&verdicts, 15));
    tw_verdicts_done(&verdicts);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_whole_log__is_there_from_every_offset),
        TEST(a_cluster__may_have_no_more_than_the_files),
        TEST(a_cluster_that_begins_where_the_files_end__is_enough_where_they_were_read_before),
        TEST(an_export_of_another_cluster__is_found_where_they_meet),
        TEST(a_cluster_without_the_record_where_they_meet__is_found),
        TEST(a_cluster_that_lost_its_tail__is_refused),
        TEST(a_cluster_that_begins_too_late__is_refused),
        TEST(an_empty_export__is_followed_by_the_whole_cluster),
        TEST(verdicts__of_both_hold_and_are_counted_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

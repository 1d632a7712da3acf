/* Folding a partition's log (workers/replay/fold.c) from arrays into the store in memory, with carts. */
#include "fold.h"

#include <stdlib.h>
#include <string.h>

#include "array_source.h"
#include "cart_domain.h"
#include "digest.h"
#include "memory_store.h"
#include "scan.h"
#include "tillwire/gen/cart_messages.h"
#include "unit.h"

enum { PARTITION = 1, PARTITIONS = 3, MEMBERS = 12, RECORDS = 400, COMMIT_MAX = 5 };

#define HOUR_MS INT64_C(3600000)
#define ALL     ((struct tw_fold_end){RECORDS, INT64_MAX})

struct world {
    struct tw_test_log     log;
    struct tw_array_source array;
    struct tw_source       source;
    struct tw_store        store;
    struct tw_fold         fold;
    struct tw_progress     at;
    atomic_llong           folded;
    atomic_bool            stop;
    struct tw_err          err;
};

static void append_add(struct tw_test_log *log, uint32_t member, uint32_t product, int64_t quantity, uint32_t command)
{
    struct tw_cart_add_item body = {
        .member_id = tw_test_id(log, member),
        .product_id = tw_test_uuid(product),
        .quantity = quantity,
        .product_name = TW_STR("T-shirt"),
        .price_minor = 1990,
        .product_version = 1,
    };
    struct tw_envelope envelope =
        tw_test_envelope(log, &tw_cart_add_item_type, tw_test_keyed_id(log, TW_DOMAIN_CART, command));

    envelope.caller = body.member_id;
    tw_test_append(log, &tw_cart_add_item_type, body.member_id, &body, &envelope);
}

/* Days of shopping; every tenth command comes twice. */
static void write_log(struct tw_test_log *log)
{
    uint64_t random = 1;

    tw_test_log_init(log, PARTITION, PARTITIONS);
    while (log->len < RECORDS) {
        uint32_t command = log->len % 10 == 9 ? log->len - 1 : log->len;

        append_add(log, (uint32_t)(tw_random(&random) % MEMBERS), (uint32_t)(tw_random(&random) % 30), 1, command);
        if (log->len % 50 == 0)
            log->now_ms += 7 * HOUR_MS;
    }
}

static int begin(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    write_log(&world->log);
    tw_array_source_open(&world->array, &world->log, &world->source);
    tw_memory_store_open(&tw_cart_domain, &world->store);
    world->fold = (struct tw_fold){
        .config = {.domain = &tw_cart_domain,
                   .store = &world->store,
                   .partition_count = PARTITIONS,
                   .program = "test 1",
                   .silent = true},
        .source = &world->source,
        .cache_bytes = 1 << 16,
        .keeps_digest = true,
        .sweeps = true,
        .folded = &world->folded,
        .stop = &world->stop,
    };
    *state = world;
    return 0;
}

static int end(void **state)
{
    struct world *world = *state;

    tw_memory_store_close(&world->store);
    tw_test_log_done(&world->log);
    free(world);
    return 0;
}

static enum tw_rc fold_to(struct world *world, struct tw_fold_end fold_end)
{
    return tw_fold_partition(&world->fold, PARTITION, fold_end, &world->at, &world->err);
}

static void assert_folded(struct world *world, struct tw_fold_end fold_end, int64_t next_offset)
{
    assert_rc(fold_to(world, fold_end), TW_OK, world->err);
    assert_int_equal(world->at.next_offset, next_offset);
}

static void assert_broken(struct world *world, const char *words)
{
    assert_rc(fold_to(world, ALL), TW_BROKEN, world->err);
    if (!strstr(world->err.msg, words))
        fail_msg("'%s' does not say '%s'", world->err.msg, words);
    assert_non_null(strstr(world->err.msg, "partition 1"));
}

/* Everything the store holds, its digest included, but not what has ended. */
static void dump(struct world *world, struct tw_buf *ret_dump)
{
    struct tw_err err;

    tw_buf_clear(ret_dump);
    assert_rc(world->store.sweep(world->store.self, PARTITION, world->at.next_offset, world->at.clock_ms, &err), TW_OK,
              err);
    tw_memory_dump(tw_memory_store_db(&world->store), ret_dump);
}

/* --- the same in any batches -------------------------------------------------------------------------------------- */

static enum tw_rc (*real_commit)(void *self, const struct tw_changes *changes, struct tw_err *reterr);
static unsigned refusals;

/* Bears little in one commit. */
static enum tw_rc commit_a_few(void *self, const struct tw_changes *changes, struct tw_err *reterr)
{
    if (changes->after.next_offset - changes->first_offset <= COMMIT_MAX)
        return real_commit(self, changes, reterr);
    refusals++;
    return tw_fail(reterr, TW_REFUSED, "test", 0, "too much at once");
}

static void refuse_large_commits(struct world *world)
{
    refusals = 0;
    real_commit = world->store.commit;
    world->store.commit = commit_a_few;
}

static void assert_same_store(struct world *world, const struct tw_buf *expected)
{
    struct tw_buf found = {0};

    assert_folded(world, ALL, RECORDS);
    assert_int_equal(world->folded, RECORDS);
    dump(world, &found);
    assert_true(tw_str_eq(tw_buf_str(&found), tw_buf_str(expected)));
    tw_buf_done(&found);
    tw_memory_wipe(tw_memory_store_db(&world->store));
    world->folded = 0;
}

static void a_log__gives_the_same_store_and_digest_in_any_batches(void **state)
{
    static const size_t reads[] = {1, 2, 7, 50, 399, 400, 401};
    struct world       *world = *state;
    struct tw_buf       expected = {0};

    assert_folded(world, ALL, RECORDS);
    dump(world, &expected);
    assert_true(expected.len > 10000);
    tw_memory_wipe(tw_memory_store_db(&world->store));
    world->folded = 0;
    for (size_t i = 0; i < TW_LEN(reads); i++) {
        world->array.per_read = reads[i];
        world->fold.cache_bytes = i % 2 ? 0 : 1 << 16;
        assert_same_store(world, &expected);
    }
    refuse_large_commits(world);
    assert_same_store(world, &expected);
    assert_true(refusals > 5 && refusals < RECORDS); /* it grows again, and does not try in vain every time */
    tw_buf_done(&expected);
}

static enum tw_rc (*real_sweep)(void *self, int32_t partition, int64_t next_offset, int64_t clock_ms,
                                struct tw_err *reterr);
static int64_t sweeps;

static enum tw_rc count_sweep(void *self, int32_t partition, int64_t next_offset, int64_t clock_ms,
                              struct tw_err *reterr)
{
    sweeps++;
    return real_sweep(self, partition, next_offset, clock_ms, reterr);
}

static void rows__are_swept_when_a_day_is_over_and_not_when_the_first_begins(void **state)
{
    struct world                 *world = *state;
    const struct tw_record *const records = world->log.records;
    int64_t days_over = records[RECORDS - 1].timestamp_ms / (24 * HOUR_MS) - records[0].timestamp_ms / (24 * HOUR_MS);

    sweeps = 0;
    real_sweep = world->store.sweep;
    world->store.sweep = count_sweep;
    world->array.per_read = 10;
    assert_folded(world, ALL, RECORDS);
    assert_true(days_over > 1);
    assert_int_equal(sweeps, days_over);
}

static void an_interrupted_fold__goes_on_to_the_same_store(void **state)
{
    struct world *world = *state;
    struct tw_buf expected = {0};

    assert_folded(world, ALL, RECORDS);
    dump(world, &expected);
    tw_memory_wipe(tw_memory_store_db(&world->store));
    world->folded = 0;
    world->array.per_read = 30;
    world->array.stop = &world->stop;
    for (unsigned after = 1; after < 6; after += 2) {
        world->array.reads = 0;
        world->array.stop_after = after;
        atomic_store(&world->stop, false);
        assert_rc(fold_to(world, ALL), TW_OK, world->err);
        assert_true(world->at.next_offset < RECORDS);
        assert_int_equal(world->at.next_offset, world->folded);
    }
    assert_true(world->at.next_offset > 0);
    world->array.stop = NULL;
    atomic_store(&world->stop, false);
    assert_same_store(world, &expected);
    tw_buf_done(&expected);
}

static void a_fold_that_is_stopped_before_it_begins__folds_nothing(void **state)
{
    struct world *world = *state;

    atomic_store(&world->stop, true);
    assert_folded(world, ALL, 0);
}

static void the_digest__is_that_of_what_is_read_back(void **state)
{
    struct world      *world = *state;
    struct tw_progress vector[PARTITIONS] = {0};
    struct tw_digest   kept, found = {0};
    struct tw_buf      scratch = {0};
    struct tw_arena    arena = {0};
    struct tw_scan    *scan;

    world->array.per_read = 17;
    assert_folded(world, ALL, RECORDS);
    assert_rc(world->store.watermark(world->store.self, PARTITION, &arena, &vector[PARTITION], &world->err), TW_OK,
              world->err);
    assert_true(tw_digest_read(vector[PARTITION].outbox, &kept));
    scan = tw_scan_open(&tw_cart_domain, &world->store, vector, PARTITIONS);
    for (struct tw_scan_item item;;) {
        assert_rc(tw_scan_next(scan, &item, &world->err), TW_OK, world->err);
        if (item.what != TW_SCAN_ENTITY)
            break;
        tw_digest_add(&found, item.type, &item.entity->key, item.entity->before, &scratch);
    }
    assert_true(tw_digest_eq(&kept, &found));
    tw_scan_close(scan);
    tw_buf_done(&scratch);
    tw_arena_done(&arena);
}

static void a_store_without_digest__is_told_from_a_shadow(void **state)
{
    struct world *world = *state;

    world->fold.config.silent = false; /* its outbox has events */
    world->fold.keeps_digest = false;
    assert_folded(world, (struct tw_fold_end){10, INT64_MAX}, 10);
    world->fold.keeps_digest = true;
    assert_broken(world, "was not made by a rebuild");
}

/* --- where it ends ------------------------------------------------------------------------------------------------ */

static void an_offset__is_where_it_ends_and_where_it_goes_on(void **state)
{
    struct world *world = *state;

    assert_folded(world, (struct tw_fold_end){0, INT64_MAX}, 0);
    assert_folded(world, (struct tw_fold_end){7, INT64_MAX}, 7);
    assert_memory_not_equal(world->at.last_hash, (uint8_t[TW_RECORD_HASH_BYTES]){0}, TW_RECORD_HASH_BYTES);
    assert_folded(world, (struct tw_fold_end){8, INT64_MAX}, 8);
    assert_folded(world, ALL, RECORDS);
}

static void an_end_that_is_reached__asks_the_log_nothing(void **state)
{
    struct world *world = *state;

    assert_folded(world, (struct tw_fold_end){7, INT64_MAX}, 7);
    world->array.low = 1000; /* would be refused */
    assert_folded(world, (struct tw_fold_end){7, INT64_MAX}, 7);
    assert_folded(world, (struct tw_fold_end){3, INT64_MAX}, 7);
}

static void a_time__is_the_last_that_is_folded(void **state)
{
    struct world *world = *state;
    int64_t       time_ms = world->log.records[20].timestamp_ms;

    assert_folded(world, (struct tw_fold_end){RECORDS, time_ms - 1}, 20);
    assert_folded(world, (struct tw_fold_end){RECORDS, time_ms}, 21);
    assert_folded(world, (struct tw_fold_end){RECORDS, time_ms}, 21);
    assert_folded(world, (struct tw_fold_end){23, time_ms + HOUR_MS}, 23);
    assert_int_equal(world->at.clock_ms, world->log.records[22].timestamp_ms);
}

static void a_time__ends_before_the_first_later_record_whatever_comes_behind_it(void **state)
{
    struct world *world = *state;

    world->log.records[30].timestamp_ms += HOUR_MS; /* a broker with another clock led for a moment */
    assert_folded(world, (struct tw_fold_end){RECORDS, world->log.records[40].timestamp_ms}, 30);
}

/* --- a log that is not what it should be -------------------------------------------------------------------------- */

static void a_gap__is_named_and_nothing_behind_it_is_folded(void **state)
{
    struct world *world = *state;

    world->array.per_read = 10;
    memmove(&world->log.records[55], &world->log.records[56], 300 * sizeof(struct tw_record));
    world->array.count = 300;
    assert_broken(world, "has no record 55 in the arrays (next is 56): the log has a gap");
    assert_int_equal(world->folded, 50);
}

static void a_gap__is_found_between_two_reads(void **state)
{
    struct world *world = *state;

    world->array.per_read = 55;
    memmove(&world->log.records[55], &world->log.records[58], 200 * sizeof(struct tw_record));
    world->array.count = 200;
    assert_broken(world, "has no record 55 in the arrays (next is 58)");
}

static void a_log_whose_beginning_is_gone__is_refused(void **state)
{
    struct world *world = *state;

    world->array.low = 1;
    assert_broken(world, "begins at 1 in the arrays, but is needed from 0: its beginning is gone");
    assert_int_equal(world->array.reads, 0);
    world->array.low = 0;
    assert_folded(world, (struct tw_fold_end){10, INT64_MAX}, 10);
    world->array.low = 10; /* the record before the watermark must be there, too */
    assert_broken(world, "begins at 10 in the arrays, but is needed from 9");
    world->array.low = 9;
    assert_folded(world, ALL, RECORDS);
}

static void a_log_that_lost_its_tail__is_refused(void **state)
{
    struct world *world = *state;

    assert_folded(world, (struct tw_fold_end){10, INT64_MAX}, 10);
    world->array.high = 9;
    assert_broken(world, "ends at 9 in the arrays, but was folded up to 400: lost tail");
    assert_rc(fold_to(world, (struct tw_fold_end){INT64_MAX, INT64_MAX}), TW_BROKEN, world->err);
    assert_non_null(strstr(world->err.msg, "ends at 9 in the arrays, but was folded up to 10: lost tail"));
}

static void a_log_that_ends_before_its_store__is_refused_before_anything_is_folded(void **state)
{
    struct world *world = *state;

    world->array.high = RECORDS - 1;
    assert_broken(world, "ends at 399 in the arrays, but was folded up to 400: lost tail");
    assert_int_equal(world->folded, 0);
}

static void another_record_before_the_watermark__is_found(void **state)
{
    struct world *world = *state;

    assert_folded(world, (struct tw_fold_end){10, INT64_MAX}, 10);
    world->array.per_read = 1;
    world->log.records[9].timestamp_ms++;
    assert_broken(world, "record 9 of partition 1 in the arrays is not the one that was folded");
    world->log.records[9].timestamp_ms--;
    assert_folded(world, ALL, RECORDS);
}

static void a_record_before_the_watermark_that_is_not_there__is_found(void **state)
{
    struct world *world = *state;

    assert_folded(world, (struct tw_fold_end){10, INT64_MAX}, 10);
    world->array.records += 10;
    world->array.count -= 10;
    assert_broken(world, "record 9 of partition 1 in the arrays is not the one that was folded");
}

static void a_log_that_gives_nothing__is_given_up_after_a_while(void **state)
{
    struct world *world = *state;

    world->array.count = 100;
    assert_rc(fold_to(world, ALL), TW_UNREACHED, world->err);
    assert_non_null(strstr(world->err.msg, "the arrays: record 100 of partition 1 does not come"));
    assert_int_equal(world->folded, 100);
}

/* --- verdicts ----------------------------------------------------------------------------------------------------- */

static void what_dead_letters_name__is_passed_over(void **state)
{
    static const int64_t dead[] = {0, 3, 9};
    struct world        *world = *state;
    struct tw_buf        without = {0}, found = {0};

    world->array.dead = dead;
    world->array.dead_count = TW_LEN(dead);
    assert_folded(world, (struct tw_fold_end){1, INT64_MAX}, 1);
    assert_int_equal(world->at.clock_ms, world->log.records[0].timestamp_ms); /* moves all the same */
    tw_memory_dump(tw_memory_store_db(&world->store), &without);
    assert_null(memmem(without.ptr, without.len, "entity", 6));
    assert_folded(world, (struct tw_fold_end){2, INT64_MAX}, 2);
    tw_memory_dump(tw_memory_store_db(&world->store), &found);
    assert_non_null(memmem(found.ptr, found.len, "entity", 6));
    tw_buf_done(&without);
    tw_buf_done(&found);
}

/* --- what the store refuses --------------------------------------------------------------------------------------- */

static void a_record_that_can_never_be_stored__is_named(void **state)
{
    struct world  *world = *state;
    struct tw_uuid member;

    assert_true(tw_uuid_parse(world->log.records[5].key, &member));
    assert_folded(world, (struct tw_fold_end){5, INT64_MAX}, 5);
    tw_memory_refuse(tw_memory_store_db(&world->store), member);
    assert_broken(world, "record 5 of partition 1 cannot be stored: the test refuses this aggregate");
    assert_int_equal(world->folded, 5);
    tw_memory_refuse(tw_memory_store_db(&world->store), tw_uuid_nil);
    assert_folded(world, ALL, RECORDS);
}

static void a_store_that_fails__is_told_and_the_fold_goes_on_later(void **state)
{
    static const enum tw_rc failures[] = {TW_UNREACHED, TW_FENCED, TW_BROKEN};
    struct world           *world = *state;
    struct tw_buf           expected = {0};

    assert_folded(world, ALL, RECORDS);
    dump(world, &expected);
    tw_memory_wipe(tw_memory_store_db(&world->store));
    world->folded = 0;
    for (size_t i = 0; i < TW_LEN(failures); i++) {
        world->array.per_read = 40 + i;
        assert_rc(fold_to(world, (struct tw_fold_end){100 * (int64_t)i + 20, INT64_MAX}), TW_OK, world->err);
        tw_memory_fail(tw_memory_store_db(&world->store), 1, failures[i]);
        assert_rc(fold_to(world, ALL), failures[i], world->err);
    }
    tw_memory_lose_answer(tw_memory_store_db(&world->store));
    assert_rc(fold_to(world, ALL), TW_UNKNOWN, world->err); /* it was written: only the count does not know */
    world->folded = 0;
    assert_folded(world, ALL, RECORDS);
    world->folded = RECORDS;
    assert_same_store(world, &expected);
    tw_buf_done(&expected);
}

/* --- housekeeping ------------------------------------------------------------------------------------------------- */

static size_t row_count(struct world *world)
{
    static struct tw_uuid ids[2 * RECORDS];
    size_t                count;

    assert_rc(world->store.list_rows(world->store.self, PARTITION, true, ids, TW_LEN(ids), &count, &world->err), TW_OK,
              world->err);
    return count;
}

static void remembered_commands__are_dropped_when_a_day_is_over(void **state)
{
    struct world *world = *state;

    world->array.per_read = 10;
    assert_folded(world, ALL, RECORDS);
    assert_true(row_count(world) < RECORDS * 9 / 10 - 50);
    tw_memory_wipe(tw_memory_store_db(&world->store));
    world->fold.sweeps = false;
    assert_folded(world, ALL, RECORDS);
    assert_int_equal(row_count(world), RECORDS * 9 / 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_log__gives_the_same_store_and_digest_in_any_batches),
        TEST(rows__are_swept_when_a_day_is_over_and_not_when_the_first_begins),
        TEST(an_interrupted_fold__goes_on_to_the_same_store),
        TEST(a_fold_that_is_stopped_before_it_begins__folds_nothing),
        TEST(the_digest__is_that_of_what_is_read_back),
        TEST(a_store_without_digest__is_told_from_a_shadow),
        TEST(an_offset__is_where_it_ends_and_where_it_goes_on),
        TEST(an_end_that_is_reached__asks_the_log_nothing),
        TEST(a_time__is_the_last_that_is_folded),
        TEST(a_time__ends_before_the_first_later_record_whatever_comes_behind_it),
        TEST(a_gap__is_named_and_nothing_behind_it_is_folded),
        TEST(a_gap__is_found_between_two_reads),
        TEST(a_log_whose_beginning_is_gone__is_refused),
        TEST(a_log_that_lost_its_tail__is_refused),
        TEST(a_log_that_ends_before_its_store__is_refused_before_anything_is_folded),
        TEST(another_record_before_the_watermark__is_found),
        TEST(a_record_before_the_watermark_that_is_not_there__is_found),
        TEST(a_log_that_gives_nothing__is_given_up_after_a_while),
        TEST(what_dead_letters_name__is_passed_over),
        TEST(a_record_that_can_never_be_stored__is_named),
        TEST(a_store_that_fails__is_told_and_the_fold_goes_on_later),
        TEST(remembered_commands__are_dropped_when_a_day_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

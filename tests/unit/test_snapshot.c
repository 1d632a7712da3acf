/* Snapshots (workers/replay/snapshot.c) of one store in memory, put into another. */
#include "snapshot.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "canonical.h"
#include "digest.h"
#include "filled_store.h"
#include "memory_store.h"
#include "sample_states.h"
#include "tillwire/clock.h"
#include "tillwire/ledger.h"
#include "unit.h"

enum { PARTITIONS = 3 };

static char                    folder[64], path[80];
static int32_t                 partitions; /* of the test: all of them, or one that has much */
static struct tw_store         store;
static struct tw_progress      vector[PARTITIONS];
static struct tw_snapshot_head head;
static struct tw_scan         *scan;
static char                    hash[TW_SNAPSHOT_HASH_TEXT];
static int64_t                 items;
static unsigned                renewals, renewals_max;
static atomic_bool             stop;
static struct tw_err           err;

static int begin(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/tillwire-snapshot-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/cart.snapshot", folder);
    partitions = PARTITIONS;
    renewals = 0;
    renewals_max = UINT32_MAX;
    stop = false;
    return 0;
}

static int end(void **state)
{
    (void)state;
    tw_scan_close(scan);
    scan = NULL;
    tw_memory_store_close(&store);
    unlink(path);
    assert_int_equal(rmdir(folder), 0); /* nothing else was left in it */
    return 0;
}

static void given_a_store(const struct tw_sample_states *samples, uint32_t count, uint32_t rows, uint32_t ended_rows)
{
    const struct tw_filling filling = {samples, count, rows, ended_rows, partitions};

    tw_memory_store_open(samples->domain, &store);
    tw_fill_store(&store, &filling, vector);
    head = (struct tw_snapshot_head){samples->domain, "0123456789abcdef", partitions, vector};
    scan = tw_scan_open(samples->domain, &store, vector, partitions);
}

static enum tw_rc renew(void *self, struct tw_err *reterr)
{
    assert_ptr_equal(self, &store);
    if (renewals++ < renewals_max)
        return TW_OK;
    return tw_fail(reterr, TW_FENCED, "test", 0, "it was lost");
}

static enum tw_rc write_it(void)
{
    return tw_snapshot_write(path, &head, scan, renew, &store, hash, &items, &err);
}

static enum tw_rc open_it(struct tw_snapshot **ret_snapshot)
{
    *ret_snapshot = NULL;
    return tw_snapshot_open(path, &head, ret_snapshot, &err);
}

static void assert_says(const char *words)
{
    if (!strstr(err.msg, words))
        fail_msg("'%s' does not say '%s'", err.msg, words);
}

/* The file as it is, with an end that is not part of it. */
static size_t read_file(char *ret_bytes, size_t size)
{
    FILE  *file = fopen(path, "r");
    size_t len;

    assert_non_null(file);
    len = fread(ret_bytes, 1, size, file);
    assert_true(len < size);
    fclose(file);
    return len;
}

static void write_file(const char *bytes, size_t len)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

/* --- there and back ----------------------------------------------------------------------------------------------- */

/* Everything a store holds, in its canonical form, with guards. */
static void dump(const struct tw_store *of, struct tw_buf *out)
{
    struct tw_scan     *all = tw_scan_open(head.domain, of, vector, partitions);
    struct tw_scan_item item;

    for (;;) {
        assert_rc(tw_scan_next(all, &item, &err), TW_OK, err);
        if (item.what == TW_SCAN_END)
            break;
        if (item.what == TW_SCAN_ENTITY) {
            tw_canonical_entity(item.type, &item.entity->key, item.entity->before, out);
            tw_buf_printf(out, " %d\n", (int)item.entity->before_guard);
        } else if (tw_ledger_row_counts(item.row, TW_FILLED_MS)) {
            tw_canonical_row(item.partition, item.row, out);
            tw_buf_add_str(out, TW_STR("\n"));
        }
    }
    tw_scan_close(all);
}

static void assert_same_content(const struct tw_store *other)
{
    struct tw_buf expected = {0}, found = {0};

    dump(&store, &expected);
    dump(other, &found);
    assert_true(tw_str_eq(tw_buf_str(&expected), tw_buf_str(&found)));
    tw_buf_done(&expected);
    tw_buf_done(&found);
}

static void assert_progress(const struct tw_progress *found, const struct tw_progress *expected)
{
    assert_int_equal(found->next_offset, expected->next_offset);
    assert_int_equal(found->clock_ms, expected->clock_ms);
    assert_memory_equal(found->last_hash, expected->last_hash, TW_RECORD_HASH_BYTES);
}

static struct tw_digest digest_of(const struct tw_store *of)
{
    struct tw_scan     *all = tw_scan_open(head.domain, of, vector, partitions);
    struct tw_digest    digest = {0};
    struct tw_buf       scratch = {0};
    struct tw_scan_item item;

    assert_rc(tw_scan_next(all, &item, &err), TW_OK, err);
    while (item.what == TW_SCAN_ENTITY) {
        tw_digest_add(&digest, item.type, &item.entity->key, item.entity->before, &scratch);
        assert_rc(tw_scan_next(all, &item, &err), TW_OK, err);
    }
    tw_scan_close(all);
    tw_buf_done(&scratch);
    return digest;
}

/* At the vector, with digests that say what is there. */
static void assert_stands_at_vector(const struct tw_store *other)
{
    struct tw_digest expected = digest_of(&store), sum = {0};
    struct tw_arena  arena = {0};

    for (int32_t p = 0; p < partitions; p++) {
        struct tw_progress progress;
        struct tw_digest   of_partition;

        assert_rc(other->watermark(other->self, p, &arena, &progress, &err), TW_OK, err);
        assert_progress(&progress, &vector[p]);
        assert_true(tw_digest_read(progress.outbox, &of_partition));
        tw_digest_join(&sum, &of_partition);
    }
    assert_true(tw_digest_eq(&sum, &expected));
    tw_arena_done(&arena);
}

static void assert_loads_into(struct tw_store *other)
{
    struct tw_snapshot *snapshot;

    assert_rc(open_it(&snapshot), TW_OK, err);
    assert_string_equal(tw_snapshot_hash(snapshot), hash);
    for (int32_t p = 0; p < partitions; p++)
        assert_progress(&tw_snapshot_vector(snapshot)[p], &vector[p]);
    assert_rc(tw_snapshot_load(snapshot, other, &stop, &err), TW_OK, err);
    tw_snapshot_close(snapshot);
    assert_same_content(other);
    assert_stands_at_vector(other);
}

static void assert_there_and_back(const struct tw_sample_states *samples, uint32_t count, uint32_t rows)
{
    struct tw_store other;

    given_a_store(samples, count, rows, 0);
    assert_rc(write_it(), TW_OK, err);
    assert_int_equal(items, count + (uint32_t)partitions * rows);
    assert_int_equal(renewals, items);
    tw_memory_store_open(samples->domain, &other);
    assert_loads_into(&other);
    tw_memory_store_close(&other);
}

static void members__come_back(void **state)
{
    (void)state;
    assert_there_and_back(&tw_sample_members, 300, 40);
}

static void products_and_ratings__come_back(void **state)
{
    (void)state;
    assert_there_and_back(&tw_sample_products, 300, 0);
}

static void carts__come_back_in_several_commits(void **state)
{
    (void)state;
    partitions = 1;
    assert_there_and_back(&tw_sample_carts, 2100, 2001);
}

static void an_empty_store__comes_back(void **state)
{
    (void)state;
    assert_there_and_back(&tw_sample_carts, 0, 0);
}

static void a_partition_nothing_was_folded_of__stays_so(void **state)
{
    struct tw_store other;

    (void)state;
    tw_memory_store_open(tw_sample_carts.domain, &store);
    memset(vector, 0, sizeof(vector));
    head = (struct tw_snapshot_head){tw_sample_carts.domain, "0123456789abcdef", partitions, vector};
    scan = tw_scan_open(tw_sample_carts.domain, &store, vector, partitions);
    assert_rc(write_it(), TW_OK, err);
    tw_memory_store_open(tw_sample_carts.domain, &other);
    assert_loads_into(&other);
    tw_memory_store_close(&other);
}

static void commands_that_count_no_more__are_left_out_and_not_counted(void **state)
{
    struct tw_store other;

    (void)state;
    given_a_store(&tw_sample_carts, 4, 10, 7);
    assert_rc(write_it(), TW_OK, err);
    assert_int_equal(items, 4 + partitions * 3);
    tw_memory_store_open(tw_sample_carts.domain, &other);
    assert_loads_into(&other);
    tw_memory_store_close(&other);
}

/* What some stores bear in one commit. */
enum { COMMIT_MAX_BYTES = (4 << 20) + (64 << 10) };
static enum tw_rc (*real_commit)(void *self, const struct tw_changes *changes, struct tw_err *reterr);

static enum tw_rc commit_some_bytes(void *self, const struct tw_changes *changes, struct tw_err *reterr)
{
    struct tw_buf packed = {0};
    size_t        len;

    assert_int_equal(changes->after.clock_ms, vector[changes->partition].clock_ms); /* rows are filed by it */
    for (size_t i = 0; i < changes->entity_count; i++)
        head.domain->states[changes->entities[i]->key.kind]->pack(changes->entities[i]->state, &packed);
    len = packed.len;
    tw_buf_done(&packed);
    if (len > COMMIT_MAX_BYTES)
        return tw_fail(reterr, TW_REFUSED, "test", 0, "%zu bytes are too much", len);
    return real_commit(self, changes, reterr);
}

static void large_states__are_put_in_with_more_commits(void **state)
{
    struct tw_store other;

    (void)state;
    partitions = 1;
    given_a_store(&tw_sample_products, 2 * 1900, 0, 0);
    assert_rc(write_it(), TW_OK, err);
    tw_memory_store_open(head.domain, &other);
    real_commit = other.commit;
    other.commit = commit_some_bytes;
    assert_loads_into(&other);
    tw_memory_store_close(&other);
}

/* --- files that are not it ---------------------------------------------------------------------------------------- */

static void assert_foreign(const struct tw_snapshot_head *wanted, const char *words)
{
    struct tw_snapshot *snapshot = NULL;

    assert_rc(tw_snapshot_open(path, wanted, &snapshot, &err), TW_INVALID, err);
    assert_null(snapshot);
    assert_says(words);
    assert_says(path);
}

static void another_domain_id_key_or_number_of_partitions__is_refused(void **state)
{
    struct tw_snapshot_head wanted;

    (void)state;
    given_a_store(&tw_sample_carts, 4, 1, 0);
    assert_rc(write_it(), TW_OK, err);
    wanted = head;
    wanted.domain = tw_sample_products.domain;
    assert_foreign(&wanted, "is of another domain: cart, not product");
    wanted = head;
    wanted.id_key_check[15] = '0';
    assert_foreign(&wanted, "is of another id key: 0123456789abcdef, not 0123456789abcde0");
    wanted = head;
    wanted.partition_count = 6;
    assert_foreign(&wanted, "is of another number of partitions: 3, not 6");
}

static void a_file_that_is_not_there__is_named(void **state)
{
    struct tw_snapshot *snapshot;

    (void)state;
    assert_rc(open_it(&snapshot), TW_INVALID, err);
    assert_says("cannot read '");
    assert_says("No such file");
}

static void a_file_of_something_else__is_told_to_be_no_snapshot(void **state)
{
    static const char   text[] = "once upon a time there was a file that had nothing to do with any of this";
    struct tw_snapshot *snapshot;

    (void)state;
    write_file(text, sizeof(text));
    assert_rc(open_it(&snapshot), TW_INVALID, err);
    assert_says("is no snapshot");
}

/* Not again and again as a new file, which some file systems take their time for. */
static void flip(size_t at)
{
    FILE *file = fopen(path, "r+");
    int   byte;

    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    byte = fgetc(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_true(fputc(byte ^ (1 << at % 8), file) != EOF);
    fclose(file);
}

/* Found to be damaged; in its first line, to be no snapshot. */
static void assert_damaged(size_t at)
{
    struct tw_snapshot *snapshot;
    enum tw_rc          rc = open_it(&snapshot);

    if (rc != (at < strlen("tillwire snapshot 1\n") ? TW_INVALID : TW_BROKEN))
        fail_msg("byte %zu: %s", at, tw_rc_name(rc));
    assert_says(path);
}

static void every_byte_that_is_another_one__is_found(void **state)
{
    struct tw_snapshot *snapshot;
    struct stat         status;

    (void)state;
    given_a_store(&tw_sample_carts, 3, 2, 0);
    assert_rc(write_it(), TW_OK, err);
    assert_int_equal(stat(path, &status), 0);
    for (size_t i = 0; i < (size_t)status.st_size; i++) {
        flip(i);
        assert_damaged(i);
        flip(i);
    }
    assert_rc(open_it(&snapshot), TW_OK, err);
    tw_snapshot_close(snapshot);
}

static void a_file_that_is_cut_or_longer__is_found(void **state)
{
    struct stat status;
    size_t      len;

    (void)state;
    given_a_store(&tw_sample_carts, 3, 2, 0);
    assert_rc(write_it(), TW_OK, err);
    assert_int_equal(stat(path, &status), 0);
    len = (size_t)status.st_size;
    assert_int_equal(truncate(path, (off_t)len + 1), 0);
    assert_damaged(len);
    while (len-- > 0) {
        assert_int_equal(truncate(path, (off_t)len), 0);
        assert_damaged(len);
    }
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void a_file_that_is_there__is_left_alone(void **state)
{
    char bytes[16];

    (void)state;
    given_a_store(&tw_sample_carts, 3, 2, 0);
    write_file("mine", 4);
    assert_rc(write_it(), TW_INVALID, err);
    assert_says("is there already");
    assert_int_equal(read_file(bytes, sizeof(bytes)), 4);
}

static enum tw_rc renew_and_write(void *self, struct tw_err *reterr)
{
    (void)self;
    (void)reterr;
    if (access(path, F_OK) != 0)
        write_file("theirs", 6);
    return TW_OK;
}

static void a_file_that_comes_meanwhile__is_left_alone(void **state)
{
    char bytes[16];

    (void)state;
    given_a_store(&tw_sample_carts, 3, 2, 0);
    assert_rc(tw_snapshot_write(path, &head, scan, renew_and_write, NULL, hash, &items, &err), TW_INVALID, err);
    assert_says("is there already");
    assert_int_equal(read_file(bytes, sizeof(bytes)), 6);
}

static void a_hold_that_is_lost__leaves_no_file(void **state)
{
    (void)state;
    given_a_store(&tw_sample_carts, 3, 2, 0);
    renewals_max = 4;
    assert_rc(write_it(), TW_FENCED, err);
    assert_says("it was lost");
    assert_int_not_equal(access(path, F_OK), 0);
}

static void a_store_that_cannot_be_read__leaves_no_file(void **state)
{
    (void)state;
    given_a_store(&tw_sample_carts, 3, 2, 0);
    tw_memory_fail(tw_memory_store_db(&store), 1, TW_UNREACHED);
    assert_rc(write_it(), TW_UNREACHED, err);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void a_folder_that_is_not_there__is_named(void **state)
{
    (void)state;
    given_a_store(&tw_sample_carts, 3, 2, 0);
    assert_rc(tw_snapshot_write("/nonexistent/x", &head, scan, renew, &store, hash, &items, &err), TW_INVALID, err);
    assert_says("cannot write '/nonexistent/x");
    assert_says("No such file or directory");
}

static void a_disk_that_is_full__is_told_and_leaves_no_file(void **state)
{
    struct rlimit before, small;

    (void)state;
    given_a_store(&tw_sample_carts, 200, 2, 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 10000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_rc(write_it(), TW_UNREACHED, err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_says("cannot write '");
    assert_says("File too large");
    assert_true(renewals < 200); /* it did not hold the store for nothing */
    assert_int_not_equal(access(path, F_OK), 0);
}

static void a_snapshot__is_its_owner_s_to_read(void **state)
{
    struct stat status;

    (void)state;
    given_a_store(&tw_sample_carts, 3, 2, 0);
    assert_rc(write_it(), TW_OK, err);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(status.st_nlink, 1);
}

static void what_was_left_of_one_that_was_killed__is_written_over(void **state)
{
    struct tw_snapshot *snapshot;
    char                part[100];
    FILE               *file;

    (void)state;
    snprintf(part, sizeof(part), "%s.part", path);
    file = fopen(part, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        fprintf(file, "left over from yesterday\n");
    fclose(file);
    given_a_store(&tw_sample_carts, 3, 2, 0);
    assert_rc(write_it(), TW_OK, err);
    assert_rc(open_it(&snapshot), TW_OK, err);
    tw_snapshot_close(snapshot);
    tw_snapshot_close(NULL);
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

static void a_store_that_fails__is_told(void **state)
{
    struct tw_store     other;
    struct tw_snapshot *snapshot;

    (void)state;
    given_a_store(&tw_sample_carts, 30, 2, 0);
    assert_rc(write_it(), TW_OK, err);
    tw_memory_store_open(head.domain, &other);
    assert_rc(open_it(&snapshot), TW_OK, err);
    for (unsigned calls = 1; calls < 3; calls++) {
        tw_memory_fail(tw_memory_store_db(&other), calls, TW_UNREACHED);
        assert_rc(tw_snapshot_load(snapshot, &other, &stop, &err), TW_UNREACHED, err);
        tw_memory_end_faults(tw_memory_store_db(&other));
    }
    assert_rc(tw_snapshot_load(snapshot, &other, &stop, &err), TW_OK, err);
    assert_same_content(&other);
    tw_snapshot_close(snapshot);
    tw_memory_store_close(&other);
}

static void a_store_that_is_not_empty__is_fenced(void **state)
{
    struct tw_snapshot *snapshot;

    (void)state;
    given_a_store(&tw_sample_carts, 30, 2, 0);
    assert_rc(write_it(), TW_OK, err);
    assert_rc(open_it(&snapshot), TW_OK, err);
    assert_rc(tw_snapshot_load(snapshot, &store, &stop, &err), TW_FENCED, err);
    tw_snapshot_close(snapshot);
}

static void an_interruption__ends_it_before_a_watermark_moves(void **state)
{
    struct tw_store     other;
    struct tw_snapshot *snapshot;
    struct tw_progress  found;
    struct tw_arena     arena = {0};

    (void)state;
    given_a_store(&tw_sample_carts, 30, 2, 0);
    assert_rc(write_it(), TW_OK, err);
    tw_memory_store_open(head.domain, &other);
    assert_rc(open_it(&snapshot), TW_OK, err);
    stop = true;
    assert_rc(tw_snapshot_load(snapshot, &other, &stop, &err), TW_UNREACHED, err);
    assert_says("interrupted");
    for (int32_t p = 0; p < PARTITIONS; p++) {
        assert_rc(other.watermark(other.self, p, &arena, &found, &err), TW_OK, err);
        assert_int_equal(found.next_offset, 0);
    }
    stop = false;
    assert_rc(tw_snapshot_load(snapshot, &other, &stop, &err), TW_OK, err);
    assert_same_content(&other);
    tw_arena_done(&arena);
    tw_snapshot_close(snapshot);
    tw_memory_store_close(&other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(members__come_back),
        TEST(products_and_ratings__come_back),
        TEST(carts__come_back_in_several_commits),
        TEST(an_empty_store__comes_back),
        TEST(a_partition_nothing_was_folded_of__stays_so),
        TEST(commands_that_count_no_more__are_left_out_and_not_counted),
        TEST(large_states__are_put_in_with_more_commits),
        TEST(another_domain_id_key_or_number_of_partitions__is_refused),
        TEST(a_file_that_is_not_there__is_named),
        TEST(a_file_of_something_else__is_told_to_be_no_snapshot),
        TEST(every_byte_that_is_another_one__is_found),
        TEST(a_file_that_is_cut_or_longer__is_found),
        TEST(a_file_that_is_there__is_left_alone),
        TEST(a_file_that_comes_meanwhile__is_left_alone),
        TEST(a_hold_that_is_lost__leaves_no_file),
        TEST(a_store_that_cannot_be_read__leaves_no_file),
        TEST(a_folder_that_is_not_there__is_named),
        TEST(a_disk_that_is_full__is_told_and_leaves_no_file),
        TEST(a_snapshot__is_its_owner_s_to_read),
        TEST(what_was_left_of_one_that_was_killed__is_written_over),
        TEST(a_store_that_fails__is_told),
        TEST(a_store_that_is_not_empty__is_fenced),
        TEST(an_interruption__ends_it_before_a_watermark_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Links: tw_log_file */
#include "tillwire/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

enum { PARTITIONS = 4, MANY_HEADERS = 100, FILE_MAX = 1 << 20 };

/* Partition 1 has none, partition 2 begins above 0. */
static const struct tw_log_bounds bounds[PARTITIONS] = {{0, 5}, {7, 7}, {100, 103}, {0, 1}};

static char             folder[64];
static char             path[128];
static struct tw_header many[MANY_HEADERS];
static struct tw_err    err;

static struct tw_log_info info_of(const struct tw_log_bounds *partitions, int32_t count)
{
    return (struct tw_log_info){.topic = TW_STR("cart.commands"),
                                .cluster = TW_STR("4L6g3nShT-eMCtK--X86sw"),
                                .program = TW_STR("test 1.0"),
                                .written_ms = INT64_C(1795432108123),
                                .partitions = partitions,
                                .partition_count = count};
}

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/tw-log-file-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/cart.commands.twlog", folder);
    for (size_t i = 0; i < MANY_HEADERS; i++)
        many[i] = (struct tw_header){TW_STR("again"), TW_STR("and again")};
    memset(&err, 0, sizeof(err));
    return 0;
}

static int teardown(void **state)
{
    char part[160];

    (void)state;
    snprintf(part, sizeof(part), "%s.part", path);
    unlink(part);
    unlink(path);
    assert_int_equal(rmdir(folder), 0); /* so nothing else was left there */
    return 0;
}

/* --- records that differ in every way records can differ */

static const struct tw_header headers[] = {{{"ce_id", 5}, {"0192", 4}},
                                           {{"empty", 5}, {"", 0}},
                                           {{"null", 4}, {NULL, 0}},
                                           {{"ce_id", 5}, {"again", 5}},
                                           {{"", 0}, {"\0\xff", 2}}};

static struct tw_record record_at(int32_t partition, int64_t offset)
{
    static const struct tw_record kinds[] = {
        {.key = {"k", 1}, .value = {"value", 5}, .timestamp_ms = 1000, .time_type = TW_TIME_LOG_APPEND},
        {.key = {"", 0}, .value = {"", 0}, .timestamp_ms = 999, .time_type = TW_TIME_CREATE},
        {.key = {NULL, 0}, .value = {NULL, 0}, .timestamp_ms = -1, .time_type = TW_TIME_UNKNOWN},
        {.key = {"a\0b", 3},
         .value = {"\x80\x00\xff", 3},
         .timestamp_ms = INT64_MAX,
         .headers = headers,
         .header_count = TW_LEN(headers)},
        {.key = {"k", 1}, .value = {"v", 1}, .timestamp_ms = INT64_MIN, .headers = many, .header_count = MANY_HEADERS},
    };
    struct tw_record record = kinds[(partition + offset) % (int64_t)TW_LEN(kinds)];

    record.partition = partition;
    record.offset = offset;
    return record;
}

static void assert_bytes(struct tw_str actual, struct tw_str expected)
{
    assert_int_equal(actual.ptr == NULL, expected.ptr == NULL); /* null is not empty */
    assert_true(tw_str_eq(actual, expected));
}

static void assert_record(const struct tw_record *actual, const struct tw_record *expected)
{
    assert_int_equal(actual->partition, expected->partition);
    assert_int_equal(actual->offset, expected->offset);
    assert_int_equal(actual->timestamp_ms, expected->timestamp_ms);
    assert_int_equal(actual->time_type, expected->time_type);
    assert_bytes(actual->key, expected->key);
    assert_bytes(actual->value, expected->value);
    assert_int_equal(actual->header_count, expected->header_count);
    for (size_t i = 0; i < expected->header_count; i++) {
        assert_bytes(actual->headers[i].name, expected->headers[i].name);
        assert_bytes(actual->headers[i].value, expected->headers[i].value);
    }
}

static struct tw_log_writer *given_writer(void)
{
    struct tw_log_info    info = info_of(bounds, PARTITIONS);
    struct tw_log_writer *writer = NULL;

    assert_rc(tw_log_writer_open(path, &info, &writer, &err), TW_OK, err);
    return writer;
}

static void write_small_file(uint8_t ret_sha256[TW_LOG_SHA256_BYTES])
{
    struct tw_log_writer *writer = given_writer();

    for (int32_t p = 0; p < PARTITIONS; p++)
        for (int64_t offset = bounds[p].first; offset < bounds[p].behind; offset++) {
            struct tw_record record = record_at(p, offset);

            assert_rc(tw_log_writer_add(writer, &record, &err), TW_OK, err);
        }
    assert_int_equal(access(path, F_OK), -1); /* not before all of it is there */
    assert_rc(tw_log_writer_finish(writer, ret_sha256, &err), TW_OK, err);
    tw_log_writer_close(writer);
}

static struct tw_log_reader *given_reader(void)
{
    struct tw_log_reader *reader = NULL;

    assert_rc(tw_log_reader_open(path, &reader, &err), TW_OK, err);
    return reader;
}

/* From @p from to the end of the partition. */
static void assert_reads(struct tw_log_reader *reader, int32_t partition, int64_t from)
{
    struct tw_record record;
    bool             there;

    assert_rc(tw_log_reader_seek(reader, partition, from, &err), TW_OK, err);
    for (int64_t offset = from; offset < bounds[partition].behind; offset++) {
        struct tw_record expected = record_at(partition, offset);

        assert_rc(tw_log_reader_next(reader, &record, &there, &err), TW_OK, err);
        assert_true(there);
        assert_record(&record, &expected);
    }
    assert_rc(tw_log_reader_next(reader, &record, &there, &err), TW_OK, err);
    assert_false(there);
}

static void file__gives_back_every_byte_from_any_offset(void **state)
{
    uint8_t               sha256[TW_LOG_SHA256_BYTES];
    struct tw_log_reader *reader;
    struct stat           about;

    (void)state;
    write_small_file(sha256);
    reader = given_reader();
    for (int32_t p = PARTITIONS - 1; p >= 0; p--)
        for (int64_t offset = bounds[p].behind; offset >= bounds[p].first; offset--)
            assert_reads(reader, p, offset);
    assert_rc(tw_log_reader_check(reader, NULL, NULL, &err), TW_OK, err);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600); /* it may hold hashes of passwords */
    assert_memory_equal(tw_log_reader_sha256(reader), sha256, sizeof(sha256));
    tw_log_reader_close(reader);
}

static void file__says_what_it_is(void **state)
{
    uint8_t                   sha256[TW_LOG_SHA256_BYTES];
    struct tw_log_reader     *reader;
    const struct tw_log_info *info;

    (void)state;
    write_small_file(sha256);
    reader = given_reader();
    info = tw_log_reader_info(reader);
    assert_str(info->topic, "cart.commands");
    assert_str(info->cluster, "4L6g3nShT-eMCtK--X86sw");
    assert_str(info->program, "test 1.0");
    assert_int_equal(info->written_ms, INT64_C(1795432108123));
    assert_int_equal(info->partition_count, PARTITIONS);
    assert_memory_equal(info->partitions, bounds, sizeof(bounds));
    assert_int_equal(tw_log_info_records(info), 9);
    tw_log_reader_close(reader);
}

static void seek__refuses_what_the_file_does_not_reach(void **state)
{
    uint8_t               sha256[TW_LOG_SHA256_BYTES];
    struct tw_log_reader *reader;

    (void)state;
    write_small_file(sha256);
    reader = given_reader();
    assert_rc(tw_log_reader_seek(reader, 2, 99, &err), TW_INVALID, err);
    assert_non_null(strstr(err.msg, "offsets 100 to 102 of partition 2, not 99"));
    assert_rc(tw_log_reader_seek(reader, 2, 104, &err), TW_INVALID, err);
    assert_rc(tw_log_reader_seek(reader, 4, 0, &err), TW_INVALID, err);
    assert_non_null(strstr(err.msg, "partitions 0 to 3, not 4"));
    assert_rc(tw_log_reader_seek(reader, -1, 0, &err), TW_INVALID, err);
    tw_log_reader_close(reader);
}

/* Values that do not compress fill one block after the other. */
static void file__of_many_blocks_can_be_entered_anywhere(void **state)
{
    static const struct tw_log_bounds long_bounds[] = {{1000, 1400}, {0, 3}};
    static char                       noise[20000];
    struct tw_log_info                info = info_of(long_bounds, 2);
    struct tw_log_writer             *writer;
    struct tw_log_reader             *reader;
    struct tw_record                  record;
    uint8_t                           sha256[TW_LOG_SHA256_BYTES];
    uint64_t                          dice = 7;
    bool                              there;

    (void)state;
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (char)tw_random(&dice);
    assert_rc(tw_log_writer_open(path, &info, &writer, &err), TW_OK, err);
    for (int32_t p = 0; p < 2; p++)
        for (int64_t offset = long_bounds[p].first; offset < long_bounds[p].behind; offset++) {
            record = (struct tw_record){
                .partition = p, .offset = offset, .timestamp_ms = offset * 3, .value = {noise + offset, 10000}};
            assert_rc(tw_log_writer_add(writer, &record, &err), TW_OK, err);
        }
    assert_rc(tw_log_writer_finish(writer, sha256, &err), TW_OK, err);
    tw_log_writer_close(writer);
    reader = given_reader();
    for (int64_t offset = 1399; offset >= 1000; offset -= 37) {
        assert_rc(tw_log_reader_seek(reader, 0, offset, &err), TW_OK, err);
        assert_rc(tw_log_reader_next(reader, &record, &there, &err), TW_OK, err);
        assert_true(there && record.offset == offset && record.timestamp_ms == offset * 3);
        assert_memory_equal(record.value.ptr, noise + offset, 10000);
    }
    tw_log_reader_close(reader);
}

/* --- what is wrong is named */

struct bytes {
    size_t len;
    char   ptr[FILE_MAX];
};

static void read_file(struct bytes *ret_bytes)
{
    FILE *file = fopen(path, "rb");

    assert_non_null(file);
    ret_bytes->len = fread(ret_bytes->ptr, 1, sizeof(ret_bytes->ptr), file);
    assert_true(ret_bytes->len < sizeof(ret_bytes->ptr));
    fclose(file);
}

static void write_file(const struct bytes *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes->ptr, 1, len, file), len);
    fclose(file);
}

static enum tw_rc open_and_check(void)
{
    struct tw_log_reader *reader = NULL;
    enum tw_rc            rc;

    memset(&err, 0, sizeof(err));
    rc = tw_log_reader_open(path, &reader, &err);
    if (rc == TW_OK)
        rc = tw_log_reader_check(reader, NULL, NULL, &err);
    tw_log_reader_close(reader);
    return rc;
}

static void a_flipped_bit__is_found_wherever_it_is_and_named(void **state)
{
    static struct bytes bytes;
    uint8_t             sha256[TW_LOG_SHA256_BYTES];
    size_t              blocks_named = 0;

    (void)state;
    write_small_file(sha256);
    read_file(&bytes);
    for (size_t i = 0; i < bytes.len; i++) {
        bytes.ptr[i] = (char)(bytes.ptr[i] ^ 1 << i % 8);
        write_file(&bytes, bytes.len);
        assert_int_not_equal(open_and_check(), TW_OK);
        assert_non_null(strstr(err.msg, "'cart.commands.twlog'"));
        assert_null(strstr(err.msg, "has format version")); /* that would send people looking for a newer program */
        blocks_named += strstr(err.msg, "block 1 (partition 2, offsets 100 to 102; bytes ") != NULL &&
                        strstr(err.msg, "is damaged: its checksum is ") && strstr(err.msg, "..., expected ");
        bytes.ptr[i] = (char)(bytes.ptr[i] ^ 1 << i % 8);
    }
    assert_true(blocks_named > 28 + 16); /* all of its bytes, and what is packed in it */
}

static void a_file_cut_short__is_found_at_every_length(void **state)
{
    static struct bytes bytes;
    uint8_t             sha256[TW_LOG_SHA256_BYTES];

    (void)state;
    write_small_file(sha256);
    read_file(&bytes);
    for (size_t len = 0; len < bytes.len; len++) {
        write_file(&bytes, len);
        assert_int_equal(open_and_check(), len < 8 ? TW_INVALID : TW_BROKEN);
        assert_non_null(strstr(err.msg, len < 8 ? "is no exported log" : "is cut short"));
    }
}

static void a_later_version__is_refused_with_its_number(void **state)
{
    static struct bytes bytes;
    uint8_t             sha256[TW_LOG_SHA256_BYTES];

    (void)state;
    write_small_file(sha256);
    read_file(&bytes);
    memcpy(bytes.ptr + 8, "\x07\0\0\0\xf8\xff\xff\xff", 8);
    write_file(&bytes, bytes.len);
    assert_int_equal(open_and_check(), TW_INVALID);
    assert_non_null(strstr(err.msg, "has format version 7; this program reads version 1"));
}

static void what_is_no_log__is_refused(void **state)
{
    static const struct bytes text = {27, "topic: cart.commands\nthat's\n"};

    (void)state;
    assert_int_equal(open_and_check(), TW_INVALID);
    assert_non_null(strstr(err.msg, "No such file"));
    write_file(&text, text.len);
    assert_int_equal(open_and_check(), TW_INVALID);
    assert_non_null(strstr(err.msg, "is no exported log"));
}

/* --- golden bytes: made of docs/log-files.md with Python's hashlib and the zstd program, to be read for ever */

static void write_golden(void)
{
    static struct bytes bytes;
    FILE               *hex = fopen("tests/data/golden/log_file.v1.twlog.hex", "r");
    unsigned            byte;

    assert_non_null(hex);
    bytes.len = 0;
    while (fscanf(hex, "%2x", &byte) == 1)
        bytes.ptr[bytes.len++] = (char)byte;
    fclose(hex);
    write_file(&bytes, bytes.len);
}

static void assert_next(struct tw_log_reader *reader, const struct tw_record *expected)
{
    struct tw_record record;
    bool             there;

    assert_rc(tw_log_reader_next(reader, &record, &there, &err), TW_OK, err);
    assert_true(there);
    assert_record(&record, expected);
}

static void the_golden_file__is_read_for_ever(void **state)
{
    static const struct tw_log_bounds golden_bounds[] = {{0, 2}, {4, 4}, {300, 301}};
    static const struct tw_header     first[] = {
            {{"ce_id", 5}, {"one", 3}}, {{"none", 4}, {NULL, 0}}, {{"ce_id", 5}, {"", 0}}};
    static const struct tw_header third[] = {{{"h", 1}, {"\0\xff", 2}}};
    static const struct tw_record records[] = {
        {.timestamp_ms = INT64_C(1795432100000),
         .time_type = TW_TIME_LOG_APPEND,
         .key = {"key", 3},
         .value = {"value", 5},
         .headers = first,
         .header_count = 3},
        {.offset = 1, .timestamp_ms = INT64_C(1795432099750), .time_type = TW_TIME_CREATE, .value = {"", 0}},
        {.partition = 2, .offset = 300, .timestamp_ms = 7, .key = {"", 0}, .headers = third, .header_count = 1},
    };
    struct tw_log_reader *reader;

    (void)state;
    write_golden();
    assert_int_equal(open_and_check(), TW_OK);
    reader = given_reader();
    assert_str(tw_log_reader_info(reader)->topic, "cart.dlq");
    assert_str(tw_log_reader_info(reader)->cluster, "some-cluster");
    assert_str(tw_log_reader_info(reader)->program, "golden 1");
    assert_memory_equal(tw_log_reader_info(reader)->partitions, golden_bounds, sizeof(golden_bounds));
    assert_next(reader, &records[0]);
    assert_next(reader, &records[1]);
    assert_rc(tw_log_reader_seek(reader, 2, 300, &err), TW_OK, err);
    assert_next(reader, &records[2]);
    tw_log_reader_close(reader);
}

/* Two blocks that changed places: each is whole. */
static void blocks_that_changed_places__are_found(void **state)
{
    static const struct tw_log_bounds alike[] = {{0, 1}, {0, 1}};
    static struct bytes               bytes;
    struct tw_log_info                info = info_of(alike, 2);
    struct tw_log_writer             *writer;
    uint8_t                           sha256[TW_LOG_SHA256_BYTES];
    size_t                            first, second, size;
    char                              block[200];

    (void)state;
    assert_rc(tw_log_writer_open(path, &info, &writer, &err), TW_OK, err);
    for (int32_t p = 0; p < 2; p++)
        assert_rc(tw_log_writer_add(writer, &(struct tw_record){.partition = p, .value = {p ? "b" : "a", 1}}, &err),
                  TW_OK, err);
    assert_rc(tw_log_writer_finish(writer, sha256, &err), TW_OK, err);
    tw_log_writer_close(writer);
    read_file(&bytes);
    first = (size_t)((char *)memmem(bytes.ptr, bytes.len, "TBLK", 4) - bytes.ptr);
    second = (size_t)((char *)memmem(bytes.ptr + first + 1, bytes.len - first - 1, "TBLK", 4) - bytes.ptr);
    size = second - first;
    memcpy(block, bytes.ptr + first, size);
    memcpy(bytes.ptr + first, bytes.ptr + second, size);
    memcpy(bytes.ptr + second, block, size);
    write_file(&bytes, bytes.len);
    assert_int_equal(open_and_check(), TW_BROKEN);
    assert_non_null(strstr(err.msg, "block 0 (partition 0, offsets 0 to 0"));
    assert_non_null(strstr(err.msg, "not the block that the index has there"));
}

/* --- writing */

static void writer__refuses_a_gap_and_leaves_nothing(void **state)
{
    struct tw_log_writer *writer = given_writer();
    struct tw_record      record = record_at(0, 0);
    uint8_t               sha256[TW_LOG_SHA256_BYTES];

    (void)state;
    assert_rc(tw_log_writer_add(writer, &record, &err), TW_OK, err);
    record = record_at(0, 2);
    assert_rc(tw_log_writer_add(writer, &record, &err), TW_BROKEN, err);
    assert_non_null(strstr(err.msg, "partition 0 should go on with offset 1, but partition 0 offset 2 comes"));
    assert_rc(tw_log_writer_finish(writer, sha256, &err), TW_BROKEN, err);
    assert_non_null(strstr(err.msg, "partition 0: offsets 1 to 4 are missing"));
    tw_log_writer_close(writer);
    assert_int_equal(access(path, F_OK), -1);
}

static void writer__refuses_more_than_was_said(void **state)
{
    struct tw_log_writer *writer;
    struct tw_log_info    info = info_of(&bounds[1], 1);
    struct tw_record      record = record_at(0, 7);

    (void)state;
    assert_rc(tw_log_writer_open(path, &info, &writer, &err), TW_OK, err);
    assert_rc(tw_log_writer_add(writer, &record, &err), TW_BROKEN, err);
    assert_non_null(strstr(err.msg, "more records than it said: partition 0 offset 7"));
    tw_log_writer_close(writer);
}

static void writer__never_touches_a_file_that_is_there(void **state)
{
    static struct bytes   before, after;
    struct tw_log_info    info = info_of(bounds, PARTITIONS);
    struct tw_log_writer *writer;
    uint8_t               sha256[TW_LOG_SHA256_BYTES];

    (void)state;
    write_small_file(sha256);
    read_file(&before);
    assert_rc(tw_log_writer_open(path, &info, &writer, &err), TW_INVALID, err);
    assert_non_null(strstr(err.msg, "is there already"));
    read_file(&after);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.ptr, after.ptr, before.len);
}

static void writer__is_the_only_one_and_takes_over_what_a_killed_one_left(void **state)
{
    struct tw_log_info    info = info_of(bounds, PARTITIONS);
    struct tw_log_writer *writer = given_writer(), *second;
    uint8_t               sha256[TW_LOG_SHA256_BYTES];
    char                  part[160];
    FILE                 *left;

    (void)state;
    assert_rc(tw_log_writer_open(path, &info, &second, &err), TW_REFUSED, err);
    assert_non_null(strstr(err.msg, "is being written by somebody else"));
    tw_log_writer_close(writer);
    snprintf(part, sizeof(part), "%s.part", path);
    left = fopen(part, "w");
    assert_non_null(left);
    fputs("half of a file that is longer than the whole one will be", left);
    fclose(left);
    write_small_file(sha256);
    assert_int_equal(open_and_check(), TW_OK);
    assert_int_equal(access(part, F_OK), -1);
}

static int write_with_little_room(void *arg)
{
    struct rlimit little = {2000, 2000};
    static char   noise[4000];
    uint64_t      dice = 3;

    (void)arg;
    signal(SIGXFSZ, SIG_IGN);
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (char)tw_random(&dice);
    if (setrlimit(RLIMIT_FSIZE, &little) != 0)
        return 100;
    struct tw_log_writer *writer = given_writer();
    struct tw_record      record = {.value = {noise, sizeof(noise)}};
    enum tw_rc            rc = TW_OK;

    for (; rc == TW_OK; record.offset++)
        rc = tw_log_writer_add(writer, &record, &err);
    fputs(err.msg, stderr);
    tw_log_writer_close(writer);
    return (int)rc;
}

static void writer__says_when_there_is_no_room_and_leaves_nothing(void **state)
{
    static struct tw_child child;

    (void)state;
    tw_child_run(write_with_little_room, NULL, &child);
    assert_int_equal(child.exit_code, TW_REFUSED);
    assert_non_null(strstr(child.err, "cannot write '"));
    assert_non_null(strstr(child.err, "File too large"));
    assert_int_equal(access(path, F_OK), -1);
}

static void writer__says_when_the_folder_is_none(void **state)
{
    struct tw_log_info    info = info_of(bounds, PARTITIONS);
    struct tw_log_writer *writer;

    (void)state;
    assert_rc(tw_log_writer_open("/nowhere/x.twlog", &info, &writer, &err), TW_INVALID, err);
    assert_non_null(strstr(err.msg, "cannot write '/nowhere/x.twlog.part': No such file or directory"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(file__gives_back_every_byte_from_any_offset),
        TEST(file__says_what_it_is),
        TEST(seek__refuses_what_the_file_does_not_reach),
        TEST(file__of_many_blocks_can_be_entered_anywhere),
        TEST(a_flipped_bit__is_found_wherever_it_is_and_named),
        TEST(a_file_cut_short__is_found_at_every_length),
        TEST(a_later_version__is_refused_with_its_number),
        TEST(what_is_no_log__is_refused),
        TEST(the_golden_file__is_read_for_ever),
        TEST(blocks_that_changed_places__are_found),
        TEST(writer__refuses_a_gap_and_leaves_nothing),
        TEST(writer__refuses_more_than_was_said),
        TEST(writer__never_touches_a_file_that_is_there),
        TEST(writer__is_the_only_one_and_takes_over_what_a_killed_one_left),
        TEST(writer__says_when_there_is_no_room_and_leaves_nothing),
        TEST(writer__says_when_the_folder_is_none),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Links: tw_replay_files */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "source.h"
#include "tillwire/gen/topics.h"
#include "tillwire/log_file.h"
#include "unit.h"

enum { COMMANDS = 7, HEADERS = TW_HEADERS_MAX + 6, READ_MAX = 10 };

static char          folder[64];
static struct tw_err err;

static const struct tw_topic *commands_topic(void)
{
    return tw_topic_of(TW_DOMAIN_CART, TW_TOPIC_COMMANDS);
}

static const struct tw_topic *dlq_topic(void)
{
    return tw_topic_of(TW_DOMAIN_CART, TW_TOPIC_DLQ);
}

static void path_of(const char *name, char ret_path[128])
{
    snprintf(ret_path, 128, "%s/%s.twlog", folder, name);
}

/* @p count records of partition 2, whose header TW_H_DLQ_OFFSET, the last of many, is three times their offset. */
static void write_file(const char *name, const char *topic, int32_t partitions, int64_t count)
{
    struct tw_log_bounds  bounds[64] = {0};
    struct tw_log_info    info = {.topic = tw_str_of(topic), .partitions = bounds, .partition_count = partitions};
    struct tw_log_writer *writer;
    uint8_t               sha256[TW_LOG_SHA256_BYTES];
    char                  path[128];

    path_of(name, path);
    bounds[2].behind = count;
    assert_rc(tw_log_writer_open(path, &info, &writer, &err), TW_OK, err);
    for (int64_t offset = 0; offset < count; offset++) {
        struct tw_header headers[HEADERS];
        char             text[TW_INT_TEXT];
        struct tw_record record = {.partition = 2,
                                   .offset = offset,
                                   .timestamp_ms = 1000 + offset,
                                   .value = {"v", 1},
                                   .headers = headers,
                                   .header_count = HEADERS};

        for (size_t i = 0; i < HEADERS; i++)
            headers[i] = (struct tw_header){TW_STR("x"), TW_STR("y")};
        headers[HEADERS - 1] = (struct tw_header){TW_STR(TW_H_DLQ_OFFSET), tw_str_of_int(offset * 3, text)};
        assert_rc(tw_log_writer_add(writer, &record, &err), TW_OK, err);
    }
    assert_rc(tw_log_writer_finish(writer, sha256, &err), TW_OK, err);
    tw_log_writer_close(writer);
}

static void remove_file(const char *name)
{
    char path[128];

    path_of(name, path);
    unlink(path);
}

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/tw-source-XXXXXX");
    assert_non_null(mkdtemp(folder));
    write_file(commands_topic()->name, commands_topic()->name, commands_topic()->partitions, COMMANDS);
    write_file(dlq_topic()->name, dlq_topic()->name, dlq_topic()->partitions, 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    remove_file(commands_topic()->name);
    remove_file(dlq_topic()->name);
    return rmdir(folder);
}

static void files__give_records_in_order_as_workers_saw_them(void **state)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_source                       source;
    struct tw_record                       records[READ_MAX];
    int64_t                                low, high;
    size_t                                 count;

    (void)state;
    assert_rc(tw_source_open_files(folder, TW_DOMAIN_CART, &source, &err), TW_OK, err);
    assert_non_null(strstr(source.name, folder));
    assert_rc(source.bounds(source.self, 2, &low, &high, &err), TW_OK, err);
    assert_true(low == 0 && high == COMMANDS);
    assert_rc(source.seek(source.self, 2, 3, &err), TW_OK, err);
    assert_rc(source.read(source.self, 2, 1000, &arena, records, &count, &err), TW_OK, err);
    assert_int_equal(count, 2);
    assert_rc(source.read(source.self, READ_MAX, 1, &arena, records + 2, &count, &err), TW_OK, err);
    assert_int_equal(count, 1); /* one always goes */
    for (int64_t i = 0; i < 3; i++) {
        assert_int_equal(records[i].offset, 3 + i);
        assert_int_equal(records[i].timestamp_ms, 1003 + i);
        assert_int_equal(records[i].header_count, TW_HEADERS_MAX);
        assert_null(records[i].key.ptr);
        assert_str(records[i].value, "v");
    }
    assert_rc(source.read(source.self, READ_MAX, 1000, &arena, records, &count, &err), TW_OK, err);
    assert_int_equal(count, 1);
    assert_rc(source.read(source.self, READ_MAX, 1000, &arena, records, &count, &err), TW_OK, err);
    assert_int_equal(count, 0);
    assert_rc(source.bounds(source.self, 99, &low, &high, &err), TW_BROKEN, err);
    source.close(source.self);
}

static void verdicts__are_those_of_the_dead_letters_and_disturb_no_reading(void **state)
{
    TW_AUTO(tw_arena_done) struct tw_arena       arena = {0};
    TW_AUTO(tw_verdicts_done) struct tw_verdicts verdicts = {0};
    struct tw_source                             source;
    struct tw_record                             records[READ_MAX];
    size_t                                       count;

    (void)state;
    assert_rc(tw_source_open_files(folder, TW_DOMAIN_CART, &source, &err), TW_OK, err);
    assert_rc(source.seek(source.self, 2, 5, &err), TW_OK, err);
    for (int i = 0; i < 2; i++)
        assert_rc(source.verdicts(source.self, 2, &verdicts, &err), TW_OK, err);
    assert_int_equal(verdicts.count, 2);
    assert_true(tw_verdicts_has(&verdicts, 0) && tw_verdicts_has(&verdicts, 3));
    assert_int_equal(verdicts.read_to, 2);
    assert_rc(source.read(source.self, 1, 1000, &arena, records, &count, &err), TW_OK, err);
    assert_int_equal(records[0].offset, 5);
    source.close(source.self);
}

static void files__of_another_log_are_refused(void **state)
{
    struct tw_source source;

    (void)state;
    remove_file(dlq_topic()->name);
    assert_rc(tw_source_open_files(folder, TW_DOMAIN_CART, &source, &err), TW_INVALID, err);
    assert_non_null(strstr(err.msg, "cart.dlq.twlog': No such file"));
    write_file(dlq_topic()->name, "product.dlq", dlq_topic()->partitions, 1);
    assert_rc(tw_source_open_files(folder, TW_DOMAIN_CART, &source, &err), TW_BROKEN, err);
    assert_non_null(strstr(err.msg, "holds the topic 'product.dlq'"));
    remove_file(dlq_topic()->name);
    write_file(dlq_topic()->name, dlq_topic()->name, dlq_topic()->partitions + 1, 1);
    assert_rc(tw_source_open_files(folder, TW_DOMAIN_CART, &source, &err), TW_BROKEN, err);
    assert_non_null(strstr(err.msg, "holds a topic of "));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(files__give_records_in_order_as_workers_saw_them),
        TEST(verdicts__are_those_of_the_dead_letters_and_disturb_no_reading),
        TEST(files__of_another_log_are_refused),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Links: tw_torture tw_log_file */
/* What workers and edge share (lib/), with failing allocations. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tillwire/email.h"
#include "tillwire/envelope.h"
#include "tillwire/json_out.h"
#include "tillwire/log_file.h"
#include "tillwire/settings.h"
#include "torture.h"

static char folder[64];
static char path[128];

/* --- envelope ----------------------------------------------------------------------------------------------------- */

static void answer_headers(const struct tw_header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tw_torture_answer(headers[i].name);
        tw_torture_answer(headers[i].value);
    }
}

static enum tw_rc write_and_read_envelope(void *world, struct tw_err *reterr)
{
    const struct tw_envelope               envelope = {.type = TW_STR("cart.add_item.v1"),
                                                       .command_id = {{1, 2, 3}},
                                                       .submitted_ms = INT64_C(1795432108123),
                                                       .traceparent =
                                                           TW_STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
                                                       .caller = {{4, 5}},
                                                       .fingerprint = {6},
                                                       .if_version = 7,
                                                       .original_ms = -1};
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_record                       record = {.key = TW_STR("key"), .value = TW_STR("value")};
    struct tw_envelope                     read;

    (void)world;
    tw_envelope_write(&envelope, "/tillwire/test", &arena, &record.headers, &record.header_count);
    record = tw_record_copy(&record, TW_HEADERS_MAX, &arena);
    answer_headers(record.headers, record.header_count);
    TW_TRY(tw_envelope_read(&record, &read, reterr));
    tw_torture_answer(read.type);
    return TW_OK;
}

static void envelope__survives_every_failing_allocation(void **state)
{
    (void)state;
    tw_torture(&(struct tw_torture){.name = "envelope", .run = write_and_read_envelope});
}

/* --- e-mail ------------------------------------------------------------------------------------------------------- */

static enum tw_rc fold_email(void *world, struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_str                          trimmed, folded;

    TW_TRY(tw_email_fold(tw_str_of(world), &arena, &trimmed, &folded, reterr));
    tw_torture_answer(trimmed);
    tw_torture_answer(folded);
    return TW_OK;
}

static void *foreign_address(void)
{
    static char text[] = " Gr\xc3\xa4\xc3\x9f"
                         "er.J\xc3\xb6rg.A\xcc\x8a@B\xc3\xbc"
                         "cher.Stra\xc3\x9f"
                         "e.example ";

    return text;
}

static void *refused_address(void)
{
    static char text[] = "J\xc3\xb6rg@xn--a\xc3\xbc.example";

    return text;
}

static void email__is_folded_alike_or_not_at_all(void **state)
{
    (void)state;
    tw_torture(&(struct tw_torture){
        .name = "an e-mail with all sorts of letters", .before = foreign_address, .run = fold_email});
    tw_torture(&(struct tw_torture){
        .name = "an e-mail that is refused", .gives = TW_INVALID, .before = refused_address, .run = fold_email});
}

/* --- settings ----------------------------------------------------------------------------------------------------- */

struct settings {
    const char *kafka;
    const char *label;
    int64_t     number;
};

static const struct tw_setting table[] = {
    {"kafka", TW_SET_TEXT, offsetof(struct settings, kafka), NULL, 1, 0, NULL, false, "Brokers, host:port."},
    {"label", TW_SET_TEXT, offsetof(struct settings, label), "x", 0, 0, NULL, false, "Any length."},
    {"number", TW_SET_INT, offsetof(struct settings, number), "1", 1, 100, NULL, false, "A number."},
    TW_SETTING_END,
};

/* The last line is longer than what room for a line begins with. */
static const char settings_text[] =
    "kafka = a:1\nnumber = 7\n"
    "label = 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\n";

static enum tw_rc read_settings(void *world, struct tw_err *reterr)
{
    char           *argv[] = {(char[]){"test"}, (char[]){"--config"}, path, NULL};
    struct settings settings = {0};

    (void)world;
    if (tw_settings_read(table, "test", "Tests settings.", 3, argv, &settings, NULL) != TW_SETTINGS_RUN)
        return tw_fail(reterr, TW_BROKEN, "test", 0, "it told what was wrong");
    tw_torture_answer(tw_str_of(settings.kafka));
    tw_torture_answer(tw_str_of(settings.label));
    assert(settings.number == 7);
    return TW_OK;
}

static void settings__are_read_whole_or_not_at_all(void **state)
{
    FILE *file = fopen(path, "we");

    (void)state;
    unsetenv("TW_KAFKA");
    assert_non_null(file);
    fputs(settings_text, file);
    fclose(file);
    tw_torture(&(struct tw_torture){.name = "settings", .run = read_settings});
    unlink(path);
}

/* --- JSON, metrics ------------------------------------------------------------------------------------------------ */

static enum tw_rc write_json(void *world, struct tw_err *reterr)
{
    TW_AUTO(tw_buf_done) struct tw_buf out = {0};
    struct tw_json                     json = {.out = &out};

    (void)world;
    (void)reterr;
    tw_json_open(&json, '[');
    for (int i = 0; i < 200; i++)
        tw_json_text(&json, TW_STR("a \"text\"\n with \xc3\xa4"));
    tw_json_close(&json, ']');
    tw_torture_answer(tw_buf_str(&out));
    return TW_OK;
}

static void json__is_written_whole_or_not_at_all(void **state)
{
    (void)state;
    tw_torture(&(struct tw_torture){.name = "JSON", .run = write_json});
}

/* --- log files ---------------------------------------------------------------------------------------------------- */

enum { RECORDS = 40 };

static const struct tw_log_bounds bounds[] = {{0, RECORDS}, {5, 5}, {7, 8}};

static struct tw_record record_at(int32_t partition, int64_t offset)
{
    static const struct tw_header headers[] = {{{"ce_id", 5}, {"0192", 4}}, {{"null", 4}, {NULL, 0}}};

    return (struct tw_record){.partition = partition,
                              .offset = offset,
                              .timestamp_ms = 1000 + offset,
                              .time_type = TW_TIME_LOG_APPEND,
                              .key = TW_STR("key"),
                              .value = TW_STR("a value of some length, which comes again"),
                              .headers = headers,
                              .header_count = TW_LEN(headers)};
}

static enum tw_rc add_records(struct tw_log_writer *writer, struct tw_err *reterr)
{
    for (int32_t p = 0; p < (int32_t)TW_LEN(bounds); p++)
        for (int64_t offset = bounds[p].first; offset < bounds[p].behind; offset++) {
            struct tw_record record = record_at(p, offset);

            TW_TRY(tw_log_writer_add(writer, &record, reterr));
        }
    return TW_OK;
}

static enum tw_rc write_log(void *world, struct tw_err *reterr)
{
    struct tw_log_info    info = {.topic = TW_STR("cart.commands"),
                                  .cluster = TW_STR("4L6g3nShT-eMCtK--X86sw"),
                                  .program = TW_STR("test 1.0"),
                                  .written_ms = INT64_C(1795432108123),
                                  .partitions = bounds,
                                  .partition_count = TW_LEN(bounds)};
    struct tw_log_writer *writer = NULL;
    uint8_t               sha256[TW_LOG_SHA256_BYTES] = {0};
    enum tw_rc            rc;

    (void)world;
    TW_TRY(tw_log_writer_open(path, &info, &writer, reterr));
    rc = add_records(writer, reterr);
    if (rc == TW_OK)
        rc = tw_log_writer_finish(writer, sha256, reterr);
    tw_log_writer_close(writer);
    tw_torture_answer((struct tw_str){(const char *)sha256, sizeof(sha256)});
    return rc;
}

/* The file that has its name, or none; it is gone afterwards, and so is what an exit left of it. */
static uint64_t file_remains(void)
{
    char     part[160];
    char     text[1 << 16];
    FILE    *file = fopen(path, "re");
    size_t   len = file ? fread(text, 1, sizeof(text), file) : 0;
    uint64_t digest = file ? tw_torture_digest(0, (struct tw_str){text, len}) : 0;

    if (file)
        fclose(file);
    snprintf(part, sizeof(part), "%s.part", path);
    unlink(part);
    unlink(path);
    return digest;
}

static void log_file__has_its_name_only_when_it_is_whole(void **state)
{
    (void)state;
    tw_torture(&(struct tw_torture){.name = "a log file being written", .run = write_log, .remains = file_remains});
}

static enum tw_rc read_records(struct tw_log_reader *reader, struct tw_err *reterr)
{
    for (int32_t p = 0; p < (int32_t)TW_LEN(bounds); p++)
        for (int64_t offset = bounds[p].first; offset < bounds[p].behind; offset++) {
            struct tw_record record;
            bool             there = false;

            if (offset == bounds[p].first)
                TW_TRY(tw_log_reader_seek(reader, p, offset, reterr));
            TW_TRY(tw_log_reader_next(reader, &record, &there, reterr));
            assert(there);
            tw_torture_answer(record.value);
            answer_headers(record.headers, record.header_count);
        }
    return TW_OK;
}

static enum tw_rc read_log(void *world, struct tw_err *reterr)
{
    struct tw_log_reader *reader = NULL;
    enum tw_rc            rc;

    (void)world;
    TW_TRY(tw_log_reader_open(path, &reader, reterr));
    rc = read_records(reader, reterr);
    tw_log_reader_close(reader);
    return rc;
}

static void log_file__is_read_right_or_not_at_all(void **state)
{
    struct tw_err err;

    (void)state;
    assert_rc(write_log(NULL, &err), TW_OK, err);
    tw_torture(&(struct tw_torture){.name = "a log file being read", .run = read_log});
    unlink(path);
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/tw-torture-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/file", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* so nothing else was left there */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(envelope__survives_every_failing_allocation),
        cmocka_unit_test(email__is_folded_alike_or_not_at_all),
        cmocka_unit_test(settings__are_read_whole_or_not_at_all),
        cmocka_unit_test(json__is_written_whole_or_not_at_all),
        cmocka_unit_test(log_file__has_its_name_only_when_it_is_whole),
        cmocka_unit_test(log_file__is_read_right_or_not_at_all),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

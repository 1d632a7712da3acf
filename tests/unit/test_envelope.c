/* Links: PkgConfig::RDKAFKA */
#include "tillwire/envelope.h"

#include <librdkafka/rdkafka.h>
#include <string.h>

#include "unit.h"

#define COMMAND_ID  "0192f0a0-b1c2-7c05-8811-223344556677"
#define CALLER      "8d546db7-4db5-8236-b176-2a7b606eca26"
#define TRACEPARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#define HEADER(name, value)            \
    {                                  \
        {(name), sizeof(name) - 1},    \
        {                              \
            (value), sizeof(value) - 1 \
        }                              \
    }

enum { ID, TYPE, SOURCE, TIME, SPECVERSION, CONTENT_TYPE, TRACE, WHO, FINGERPRINT, IF_VERSION, ORIGINAL, HEADERS };

static const struct tw_header full[HEADERS] = {
    [ID] = HEADER(TW_H_ID, COMMAND_ID),
    [TYPE] = HEADER(TW_H_TYPE, "cart.add_item.v1"),
    [SOURCE] = HEADER(TW_H_SOURCE, "/tillwire/edge"),
    [TIME] = HEADER(TW_H_TIME, "2026-11-23T10:00:00.000Z"),
    [SPECVERSION] = HEADER(TW_H_SPECVERSION, "1.0"),
    [CONTENT_TYPE] = HEADER(TW_H_CONTENT_TYPE, "application/msgpack"),
    [TRACE] = HEADER(TW_H_TRACEPARENT, TRACEPARENT),
    [WHO] = HEADER(TW_H_CALLER, CALLER),
    [FINGERPRINT] = HEADER(TW_H_FINGERPRINT, "000102030405060708090a0b0c0d0e0f"),
    [IF_VERSION] = HEADER(TW_H_IF_VERSION, "12"),
    [ORIGINAL] = HEADER(TW_H_ORIGINAL_TIME, "1700000000123"),
};

static enum tw_rc read_headers(const struct tw_header *headers, size_t count, struct tw_envelope *ret_envelope,
                               struct tw_err *reterr)
{
    return tw_envelope_read(&(struct tw_record){.headers = headers, .header_count = count}, ret_envelope, reterr);
}

/* The full set with one header's value replaced. */
static enum tw_rc read_with(size_t index, const char *value, struct tw_envelope *ret_envelope, struct tw_err *reterr)
{
    struct tw_header headers[HEADERS];

    memcpy(headers, full, sizeof(full));
    headers[index].value = tw_str_of(value);
    return read_headers(headers, HEADERS, ret_envelope, reterr);
}

static void read__takes_all_headers(void **state)
{
    struct tw_envelope envelope;
    struct tw_err      err = {0};
    char               text[TW_UUID_TEXT + 1];

    (void)state;
    assert_rc(read_headers(full, HEADERS, &envelope, &err), TW_OK, err);
    tw_uuid_format(envelope.command_id, text);
    assert_string_equal(text, COMMAND_ID);
    assert_str(envelope.type, "cart.add_item.v1");
    assert_int_equal(envelope.submitted_ms, 1795428000000);
    assert_str(envelope.traceparent, TRACEPARENT);
    tw_uuid_format(envelope.caller, text);
    assert_string_equal(text, CALLER);
    for (uint8_t i = 0; i < TW_FINGERPRINT_BYTES; i++)
        assert_int_equal(envelope.fingerprint[i], i);
    assert_int_equal(envelope.if_version, 12);
    assert_int_equal(envelope.original_ms, 1700000000123);
}

static void read__gives_defaults_for_what_is_optional(void **state)
{
    static const uint8_t zeros[TW_FINGERPRINT_BYTES] = {0};
    struct tw_envelope   envelope;
    struct tw_err        err = {0};

    (void)state;
    assert_rc(read_headers(full, TRACE, &envelope, &err), TW_OK, err);
    assert_int_equal(envelope.traceparent.len, 0);
    assert_true(tw_uuid_is_nil(envelope.caller));
    assert_memory_equal(envelope.fingerprint, zeros, sizeof(zeros));
    assert_int_equal(envelope.if_version, -1);
    assert_int_equal(envelope.original_ms, -1);
}

static void read__takes_any_order_and_unknown_headers(void **state)
{
    struct tw_header   headers[HEADERS + 1];
    struct tw_envelope envelope;
    struct tw_err      err = {0};

    (void)state;
    for (size_t i = 0; i < HEADERS; i++)
        headers[i] = full[HEADERS - 1 - i];
    headers[HEADERS] = (struct tw_header)HEADER("ce_future", "?");
    assert_rc(read_headers(headers, TW_LEN(headers), &envelope, &err), TW_OK, err);
    assert_str(envelope.type, "cart.add_item.v1");
    assert_int_equal(envelope.if_version, 12);
}

static void read__names_the_header_that_is_missing(void **state)
{
    (void)state;
    for (size_t missing = 0; missing < HEADERS; missing++) {
        struct tw_header   headers[HEADERS];
        struct tw_envelope envelope;
        struct tw_err      err = {0};
        size_t             count = 0;

        for (size_t i = 0; i < HEADERS; i++) {
            if (i != missing)
                headers[count++] = full[i];
        }
        if (missing >= TRACE) {
            assert_rc(read_headers(headers, count, &envelope, &err), TW_OK, err);
            continue;
        }
        assert_rc(read_headers(headers, count, &envelope, &err), TW_INVALID, err);
        assert_non_null(strstr(err.msg, full[missing].name.ptr));
        assert_non_null(strstr(err.msg, "missing"));
    }
}

static void read__names_the_header_that_is_wrong(void **state)
{
    static const struct {
        size_t      index;
        const char *value;
    } rows[] = {
        {ID, "x"},
        {ID, "00000000-0000-0000-0000-000000000000"},
        {TYPE, ""},
        {TYPE, ".v1"},
        {SOURCE, ""},
        {TIME, "yesterday"},
        {TIME, "1969-12-31T23:59:59.999Z"},
        {SPECVERSION, "1.1"},
        {CONTENT_TYPE, "application/json"},
        {WHO, "me"},
        {FINGERPRINT, "00"},
        {FINGERPRINT, "000102030405060708090a0b0c0d0e0g"},
        {IF_VERSION, "-1"},
        {IF_VERSION, "1.5"},
        {ORIGINAL, ""},
        {ORIGINAL, "-5"},
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(rows); i++) {
        struct tw_envelope envelope = {.if_version = 77};
        struct tw_err      err = {0};

        assert_rc(read_with(rows[i].index, rows[i].value, &envelope, &err), TW_INVALID, err);
        assert_non_null(strstr(err.msg, full[rows[i].index].name.ptr));
        assert_int_equal(envelope.if_version, 77);
    }
}

static void read__lets_the_last_of_repeated_headers_count(void **state)
{
    struct tw_header   headers[HEADERS + 1];
    struct tw_envelope envelope;
    struct tw_err      err = {0};

    (void)state;
    memcpy(headers, full, sizeof(full));
    headers[HEADERS] = full[IF_VERSION];
    headers[IF_VERSION].value = TW_STR("nonsense");
    assert_rc(read_headers(headers, TW_LEN(headers), &envelope, &err), TW_OK, err);
    assert_int_equal(envelope.if_version, 12);
}

static void read__forgets_a_broken_traceparent(void **state)
{
    static const char *const broken[] = {"", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
                                         "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                                         "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"};
    struct tw_envelope       envelope;
    struct tw_err            err = {0};

    (void)state;
    for (size_t i = 0; i < TW_LEN(broken); i++) {
        assert_rc(read_with(TRACE, broken[i], &envelope, &err), TW_OK, err);
        assert_int_equal(envelope.traceparent.len, 0);
    }
}

static void write__is_read_back(void **state)
{
    struct tw_arena         arena = {0};
    struct tw_envelope      envelope;
    struct tw_envelope      back;
    struct tw_err           err = {0};
    const struct tw_header *headers;
    size_t                  count;

    (void)state;
    assert_rc(read_headers(full, HEADERS, &envelope, &err), TW_OK, err);
    tw_envelope_write(&envelope, "/tillwire/edge", &arena, &headers, &count);
    assert_int_equal(count, HEADERS);
    for (size_t i = 0; i < HEADERS; i++) {
        assert_str(headers[i].name, full[i].name.ptr);
        assert_str(headers[i].value, full[i].value.ptr);
    }
    assert_rc(read_headers(full, TRACE, &envelope, &err), TW_OK, err);
    tw_envelope_write(&envelope, "/tillwire/edge", &arena, &headers, &count);
    assert_int_equal(count, TRACE);
    assert_rc(read_headers(headers, count, &back, &err), TW_OK, err);
    assert_int_equal(back.if_version, -1);
    assert_int_equal(back.original_ms, -1);
    tw_arena_done(&arena);
}

static void header_find__gives_the_last_or_the_empty_view(void **state)
{
    const struct tw_header headers[] = {HEADER("a", "1"), HEADER("b", "2"), HEADER("a", "3")};
    const struct tw_record record = {.headers = headers, .header_count = 3};

    (void)state;
    assert_str(tw_header_find(&record, "a"), "3");
    assert_str(tw_header_find(&record, "b"), "2");
    assert_null(tw_header_find(&record, "c").ptr);
}

/* Computed with Python's hashlib.blake2b(digest_size=16); stores keep this value. */
static void record_hash__is_pinned(void **state)
{
    static const uint8_t   expected[] = {0x15, 0xeb, 0xb9, 0x73, 0xe2, 0xa0, 0x3f, 0xb1,
                                         0x51, 0x70, 0x62, 0x55, 0x0f, 0xdd, 0x24, 0x00};
    const struct tw_header headers[] = {HEADER("ce_id", "x"), HEADER("a", "")};
    const struct tw_record record = {9, 42, 1700000000123, TW_STR("key"), TW_STR("value"), headers, 2, TW_TIME_CREATE};
    uint8_t                hash[TW_RECORD_HASH_BYTES];

    (void)state;
    tw_record_hash(&record, hash);
    assert_memory_equal(hash, expected, sizeof(expected));
}

static void record_hash__tells_records_apart_that_differ_in_any_part(void **state)
{
    static const struct tw_header h1[] = {HEADER("ab", "c")};
    static const struct tw_header h2[] = {HEADER("a", "bc")};
    static const struct tw_header h3[] = {HEADER("ab", "c"), HEADER("", "")};
    const struct tw_record        records[] = {
               {0, 1, 2, TW_STR("k"), TW_STR("v"), NULL, 0, TW_TIME_LOG_APPEND},
               {0, 2, 2, TW_STR("k"), TW_STR("v"), NULL, 0, TW_TIME_LOG_APPEND},
               {0, 1, 3, TW_STR("k"), TW_STR("v"), NULL, 0, TW_TIME_LOG_APPEND},
               {0, 1, 2, TW_STR("kv"), TW_STR(""), NULL, 0, TW_TIME_LOG_APPEND},
               {0, 1, 2, TW_STR(""), TW_STR("kv"), NULL, 0, TW_TIME_LOG_APPEND},
               {0, 1, 2, TW_STR("k"), TW_STR("v"), h1, 1, TW_TIME_LOG_APPEND},
               {0, 1, 2, TW_STR("k"), TW_STR("v"), h2, 1, TW_TIME_LOG_APPEND},
               {0, 1, 2, TW_STR("k"), TW_STR("v"), h3, 2, TW_TIME_LOG_APPEND},
    };
    uint8_t hashes[TW_LEN(records)][TW_RECORD_HASH_BYTES];

    (void)state;
    for (size_t i = 0; i < TW_LEN(records); i++) {
        tw_record_hash(&records[i], hashes[i]);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(hashes[i], hashes[j], TW_RECORD_HASH_BYTES);
    }
}

/* From UtilsTest.testMurmur2 of Apache Kafka. With 2^31 - 1 partitions the number itself comes out. */
static void record_copy__outlives_what_it_was_made_from(void **state)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    char                                   bytes[] = "value";
    const struct tw_header                 headers[] = {
                        {TW_STR("a"), TW_STR("1")}, {TW_STR("b"), {NULL, 0}}, {TW_STR("c"), TW_STR("3")}};
    const struct tw_record record = {
        .partition = 2, .offset = 7, .timestamp_ms = 9, .value = {bytes, 5}, .headers = headers, .header_count = 3};
    struct tw_record copy = tw_record_copy(&record, 2, &arena);

    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    assert_true(tw_str_is(copy.value, "value"));
    assert_null(copy.key.ptr);
    assert_int_equal(copy.header_count, 2);
    assert_true(tw_str_is(copy.headers[0].value, "1"));
    assert_true(tw_str_is(copy.headers[1].name, "b"));
    assert_null(copy.headers[1].value.ptr);
    assert_int_equal(copy.offset, 7);
}

static void partition_of__is_javas_murmur2(void **state)
{
    static const struct {
        const char *key;
        int32_t     hash;
    } rows[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(rows); i++)
        assert_int_equal(tw_partition_of(tw_str_of(rows[i].key), INT32_MAX), rows[i].hash & 0x7FFFFFFF);
}

static void partition_of_id__is_that_of_the_key_of_its_records(void **state)
{
    const struct tw_uuid id = {
        {0x01, 0x92, 0xf5, 0xc0, 0xab, 0xcd, 0x7c, 0x04, 0x81, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}};

    (void)state;
    for (int32_t count = 1; count < 100; count++)
        assert_int_equal(tw_partition_of_id(id, count),
                         tw_partition_of(TW_STR("0192f5c0-abcd-7c04-8123-456789abcdef"), count));
}

static void partition_of__agrees_with_librdkafka_on_random_keys(void **state)
{
    static const int32_t counts[] = {1, 2, 3, 6, 12, 100, 1024};
    uint64_t             random = 6;
    char                 key[80];

    (void)state;
    for (int i = 0; i < 20000; i++) {
        size_t  len = tw_random(&random) % sizeof(key);
        int32_t count = counts[tw_random(&random) % TW_LEN(counts)];

        for (size_t j = 0; j < len; j++)
            key[j] = (char)tw_random(&random);
        assert_int_equal(tw_partition_of((struct tw_str){key, len}, count),
                         rd_kafka_msg_partitioner_murmur2_random(NULL, key, len, count, NULL, NULL));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read__takes_all_headers),
        cmocka_unit_test(read__gives_defaults_for_what_is_optional),
        cmocka_unit_test(read__takes_any_order_and_unknown_headers),
        cmocka_unit_test(read__names_the_header_that_is_missing),
        cmocka_unit_test(read__names_the_header_that_is_wrong),
        cmocka_unit_test(read__lets_the_last_of_repeated_headers_count),
        cmocka_unit_test(read__forgets_a_broken_traceparent),
        cmocka_unit_test(write__is_read_back),
        cmocka_unit_test(header_find__gives_the_last_or_the_empty_view),
        cmocka_unit_test(record_hash__is_pinned),
        cmocka_unit_test(record_hash__tells_records_apart_that_differ_in_any_part),
        cmocka_unit_test(record_copy__outlives_what_it_was_made_from),
        cmocka_unit_test(partition_of__is_javas_murmur2),
        cmocka_unit_test(partition_of_id__is_that_of_the_key_of_its_records),
        cmocka_unit_test(partition_of__agrees_with_librdkafka_on_random_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

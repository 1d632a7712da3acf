/* Links: tw_ctl */
#include "trace_lines.h"

#include <string.h>

#include "log_import.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/gen/product_messages.h"
#include "tillwire/gen/shared_messages.h"
#include "tillwire/outcome.h"
#include "unit.h"

#define COMMAND "0192f0a0-b1c2-7c05-8811-223344556677"
#define OTHER   "0192f0a0-b1c2-7c05-8811-223344556678"
#define MEMBER  "8d546db7-4db5-8236-b176-2a7b606eca26"

enum { HEADERS_MAX = 8, LINES_MAX = 16 };

static struct tw_arena      arena;
static struct tw_buf        out;
static struct tw_trace_line lines[LINES_MAX];

static int forget(void **state)
{
    (void)state;
    tw_arena_done(&arena);
    tw_buf_done(&out);
    return 0;
}

static const struct tw_topic *topic(enum tw_topic_kind kind)
{
    return tw_topic_of(TW_DOMAIN_CART, kind);
}

static struct tw_uuid id_of(const char *text)
{
    struct tw_uuid id;

    assert_true(tw_uuid_parse(tw_str_of(text), &id));
    return id;
}

/* Name and value in turn; ends with NULL. */
static struct tw_record record_with(int64_t offset, struct tw_str value, const char *const *texts)
{
    struct tw_header *headers = TW_NEW_ARRAY(&arena, HEADERS_MAX, struct tw_header);
    struct tw_record  record = {.partition = 3,
                                .offset = offset,
                                .timestamp_ms = INT64_C(1795432108123) + offset,
                                .key = TW_STR(MEMBER),
                                .value = value,
                                .headers = headers};

    for (; *texts; texts += 2)
        headers[record.header_count++] = (struct tw_header){tw_str_of(texts[0]), tw_str_of(texts[1])};
    return record;
}

static struct tw_str packed(const struct tw_type *type, const void *body)
{
    TW_AUTO(tw_buf_done) struct tw_buf bytes = {0};

    type->pack(body, &bytes);
    return tw_arena_copy(&arena, tw_buf_str(&bytes));
}

static struct tw_record a_command(int64_t offset)
{
    const struct tw_cart_clear body = {.member_id = id_of(MEMBER)};

    return record_with(offset, packed(&tw_cart_clear_type, &body),
                       (const char *const[]){TW_H_ID, COMMAND, TW_H_TYPE, "cart.clear.v1", NULL});
}

static struct tw_record an_event(int64_t offset, const char *cause, const char *n)
{
    return record_with(offset, TW_STR("\xc1"),
                       (const char *const[]){TW_H_ID, "x", TW_H_TYPE, "cart.cleared.v1", TW_H_COMMAND_ID, COMMAND,
                                             TW_H_CAUSE_OFFSET, cause, TW_H_N, n, NULL});
}

static struct tw_record an_outcome(int64_t offset, const char *cause_command, const char *ended_command)
{
    const struct tw_command_outcome body = {
        .command_id = id_of(ended_command),
        .command_type = TW_STR("cart.clear"),
        .status = (enum tw_command_status)TW_REJECTED,
        .http_status = 422,
        .has_problem_code = true,
        .problem_code = TW_STR("cart-lines-limit"),
        .has_detail = true,
        .detail = TW_STR("too many"),
    };

    return record_with(offset, packed(&tw_command_outcome_type, &body),
                       (const char *const[]){TW_H_TYPE, "command.outcome.v1", TW_H_COMMAND_ID, cause_command,
                                             TW_H_CAUSE_OFFSET, "7", TW_H_N, "1", NULL});
}

static struct tw_record a_dead_letter(int64_t offset)
{
    return record_with(offset, TW_STR("password=secret"),
                       (const char *const[]){TW_H_ID, COMMAND, TW_H_TYPE, "cart.clear.v1", TW_H_DLQ_OFFSET, "9",
                                             TW_H_DLQ_REASON, "undecodable", TW_H_DLQ_MESSAGE, "no map", NULL});
}

static bool is_about(enum tw_topic_kind kind, struct tw_record record, enum tw_trace_subject subject, const char *id)
{
    return tw_trace_is_about(topic(kind), &record, subject, id_of(id));
}

static void a_command__is_found_by_its_id_in_all_three_topics(void **state)
{
    (void)state;
    assert_true(is_about(TW_TOPIC_COMMANDS, a_command(7), TW_TRACE_COMMAND, COMMAND));
    assert_true(is_about(TW_TOPIC_EVENTS, an_event(1, "7", "0"), TW_TRACE_COMMAND, COMMAND));
    assert_true(is_about(TW_TOPIC_DLQ, a_dead_letter(0), TW_TRACE_COMMAND, COMMAND));
    assert_false(is_about(TW_TOPIC_COMMANDS, a_command(7), TW_TRACE_COMMAND, OTHER));
    assert_false(is_about(TW_TOPIC_EVENTS, an_event(1, "7", "0"), TW_TRACE_COMMAND, OTHER));
    assert_false(is_about(TW_TOPIC_DLQ, a_dead_letter(0), TW_TRACE_COMMAND, OTHER));
    assert_false(is_about(TW_TOPIC_COMMANDS, a_command(7), TW_TRACE_COMMAND, MEMBER));
}

/* As the last step of a saga does. */
static void an_outcome__belongs_to_the_command_it_ends_too(void **state)
{
    (void)state;
    assert_true(is_about(TW_TOPIC_EVENTS, an_outcome(1, OTHER, COMMAND), TW_TRACE_COMMAND, COMMAND));
    assert_true(is_about(TW_TOPIC_EVENTS, an_outcome(1, OTHER, COMMAND), TW_TRACE_COMMAND, OTHER));
    assert_false(is_about(TW_TOPIC_EVENTS, an_outcome(1, OTHER, OTHER), TW_TRACE_COMMAND, COMMAND));
}

static void an_aggregate__is_found_by_the_key(void **state)
{
    struct tw_record keyless = a_command(7);

    (void)state;
    assert_true(is_about(TW_TOPIC_COMMANDS, a_command(7), TW_TRACE_AGGREGATE, MEMBER));
    assert_true(is_about(TW_TOPIC_DLQ, a_dead_letter(0), TW_TRACE_AGGREGATE, MEMBER));
    assert_false(is_about(TW_TOPIC_COMMANDS, a_command(7), TW_TRACE_AGGREGATE, COMMAND));
    keyless.key = (struct tw_str){NULL, 0};
    assert_false(is_about(TW_TOPIC_COMMANDS, keyless, TW_TRACE_AGGREGATE, MEMBER));
}

static void add_line(size_t *count, enum tw_topic_kind kind, struct tw_record record)
{
    lines[(*count)++] = tw_trace_line_of(topic(kind), &record, &arena);
}

static void lines__stand_in_the_order_of_their_causes(void **state)
{
    static const int64_t expected[][3] = {
        {TW_TOPIC_COMMANDS, 7, 0}, {TW_TOPIC_EVENTS, 40, 0},   {TW_TOPIC_EVENTS, 39, 1}, {TW_TOPIC_COMMANDS, 9, 0},
        {TW_TOPIC_DLQ, 2, 0},      {TW_TOPIC_COMMANDS, 10, 0}, {TW_TOPIC_EVENTS, 41, 0}};
    size_t count = 0;

    (void)state;
    add_line(&count, TW_TOPIC_DLQ, a_dead_letter(2));
    add_line(&count, TW_TOPIC_EVENTS, an_event(39, "7", "1"));
    add_line(&count, TW_TOPIC_EVENTS, an_event(40, "7", "0"));
    add_line(&count, TW_TOPIC_EVENTS, an_event(41, "10", "0"));
    add_line(&count, TW_TOPIC_COMMANDS, a_command(10));
    add_line(&count, TW_TOPIC_COMMANDS, a_command(9));
    add_line(&count, TW_TOPIC_COMMANDS, a_command(7));
    assert_int_equal(tw_trace_sort(lines, count), TW_LEN(expected));
    for (size_t i = 0; i < TW_LEN(expected); i++) {
        assert_ptr_equal(lines[i].topic, topic((enum tw_topic_kind)expected[i][0]));
        assert_int_equal(lines[i].record.offset, expected[i][1]);
        assert_int_equal(lines[i].n, expected[i][2]);
    }
}

static void events_that_came_again__are_one_line(void **state)
{
    size_t count = 0;

    (void)state;
    add_line(&count, TW_TOPIC_EVENTS, an_event(50, "7", "0"));
    add_line(&count, TW_TOPIC_EVENTS, an_event(40, "7", "0"));
    add_line(&count, TW_TOPIC_EVENTS, an_event(51, "7", "1"));
    add_line(&count, TW_TOPIC_EVENTS, an_event(52, "what?", "0"));
    add_line(&count, TW_TOPIC_EVENTS, an_event(53, "what?", "0")); /* names no cause: nothing says it is the same */
    assert_int_equal(tw_trace_sort(lines, count), 4);
    assert_int_equal(lines[0].record.offset, 40);
    assert_int_equal(lines[0].repeats, 1);
    assert_int_equal(lines[1].repeats, 0);
}

static const char *text(void)
{
    tw_buf_add(&out, "", 1);
    return out.ptr;
}

static void assert_says(const char *words)
{
    if (!strstr(out.ptr, words))
        fail_msg("'%s' is not in:\n%s", words, out.ptr);
}

static size_t all_kinds(void)
{
    size_t count = 0;

    add_line(&count, TW_TOPIC_COMMANDS, a_command(7));
    add_line(&count, TW_TOPIC_EVENTS, an_event(40, "7", "0"));
    add_line(&count, TW_TOPIC_EVENTS, an_outcome(41, COMMAND, COMMAND));
    add_line(&count, TW_TOPIC_DLQ, a_dead_letter(2));
    return tw_trace_sort(lines, count);
}

static struct tw_record a_requeue(int64_t offset)
{
    struct tw_record record = a_command(offset);

    return record_with(offset, record.value,
                       (const char *const[]){TW_H_REQUEUE_OF, "9", TW_H_ATTEMPT, "2", TW_H_OPERATOR, "ana", TW_H_ID,
                                             COMMAND, TW_H_TYPE, "cart.clear.v1", NULL});
}

static struct tw_record a_drop(int64_t offset)
{
    return record_with(offset, TW_STR(""),
                       (const char *const[]){TW_H_ID, OTHER, TW_H_TYPE, "dead_letter.drop.v1", TW_H_DROP_OF, "9",
                                             TW_H_OPERATOR, "ana", TW_H_BECAUSE, "nobody's", NULL});
}

static struct tw_record a_settlement(int64_t offset)
{
    return record_with(offset, TW_STR(""),
                       (const char *const[]){TW_H_DLQ_SETTLES, "9", TW_H_DLQ_SETTLED_BY, "12", TW_H_DLQ_SETTLED_AS,
                                             "dropped", TW_H_DLQ_SETTLED_AT, "1", TW_H_OPERATOR, "ana", NULL});
}

static size_t all_words(void)
{
    size_t count = 0;

    add_line(&count, TW_TOPIC_DLQ, a_settlement(3));
    add_line(&count, TW_TOPIC_COMMANDS, a_drop(12));
    add_line(&count, TW_TOPIC_COMMANDS, a_requeue(11));
    add_line(&count, TW_TOPIC_DLQ, a_dead_letter(2));
    return tw_trace_sort(lines, count);
}

static void an_operators_words__stand_where_they_were_said(void **state)
{
    (void)state;
    assert_int_equal(all_words(), 4);
    assert_int_equal(lines[0].record.offset, 2);
    assert_int_equal(lines[1].record.offset, 11);
    assert_int_equal(lines[2].record.offset, 12);
    assert_int_equal(lines[3].record.offset, 3);
    tw_trace_add_table(lines, 4, &out);
    text();
    assert_says("requeue of cart/3/9, attempt 2, by ana; {\"member_id\":");
    assert_says("drop of cart/3/9, by ana: nobody's\n");
    assert_says("settles cart/3/9: dropped, by ana\n");
}

static void an_operators_words__are_objects_in_json(void **state)
{
    (void)state;
    tw_trace_add_json(lines, all_words(), &out);
    text();
    assert_says("\"requeue\":{\"of\":\"cart/3/9\",\"attempt\":2,\"operator\":\"ana\",\"because\":\"\"},\"body\":{");
    assert_says("\"drop\":{\"of\":\"cart/3/9\",\"operator\":\"ana\",\"because\":\"nobody's\"}}");
    assert_says("\"settlement\":{\"of\":\"cart/3/9\",\"as\":\"dropped\",\"operator\":\"ana\",\"because\":\"\"}}");
}

/* A drop has an id of its own, and a settlement none. */
static void words_on_a_dead_letter__are_known_by_its_name(void **state)
{
    const struct tw_record said[] = {a_drop(12), a_settlement(3)};
    const struct tw_record others[] = {a_dead_letter(2), a_requeue(11), a_command(9)};

    (void)state;
    for (size_t i = 0; i < TW_LEN(said); i++) {
        assert_true(tw_trace_is_word_on(&said[i], 9));
        assert_false(tw_trace_is_word_on(&said[i], 8));
    }
    for (size_t i = 0; i < TW_LEN(others); i++)
        assert_false(tw_trace_is_word_on(&others[i], 9));
}

static void table__says_what_each_record_says(void **state)
{
    (void)state;
    tw_trace_add_table(lines, all_kinds(), &out);
    text();
    assert_says("TIME                      TOPIC          P  OFFSET  CAUSE  TYPE                KEY ");
    assert_says("2026-11-23T11:08:28.130Z  cart.commands  3  7              cart.clear.v1       " MEMBER
                "  {\"member_id\":\"" MEMBER "\"}\n");
    assert_says("cart.events    3  40      7/0    cart.cleared.v1 ");
    assert_says("  1 bytes that cannot be decoded: ");
    assert_says("cart.events    3  41      7/1    command.outcome.v1  " MEMBER
                "  rejected 422 cart-lines-limit: too many, command " COMMAND "\n");
    assert_says("cart.dlq       3  2       9      cart.clear.v1       " MEMBER
                "  given up, undecodable: no map; 15 bytes that cannot be decoded: ");
    assert_null(strstr(out.ptr, "secret")); /* what cannot be read may be anything */
}

static void json__has_the_same_and_is_an_array(void **state)
{
    (void)state;
    tw_trace_add_json(lines, all_kinds(), &out);
    assert_ptr_equal(strstr(text(), "[{\"topic\":\"cart.commands\",\"partition\":3,\"offset\":7,"), out.ptr);
    assert_says("\"body\":{\"member_id\":\"" MEMBER "\"}},{\"topic\":\"cart.events\"");
    assert_says("\"cause_offset\":7,\"n\":0,\"command_id\":\"" COMMAND
                "\",\"not_decoded\":\"1 bytes that cannot be decoded");
    assert_says("\"problem_code\":\"cart-lines-limit\"");
    assert_says(
        "\"dead_letter\":{\"reason\":\"undecodable\",\"message\":\"no map\",\"program\":\"\"},\"not_decoded\":");
    assert_string_equal(out.ptr + out.len - 4, "}]\n");
    assert_null(strstr(out.ptr, "secret"));
}

static void a_strangers_bytes__do_not_reach_the_terminal(void **state)
{
    struct tw_record record = a_command(7);
    size_t           count = 0;

    (void)state;
    record.key = TW_STR("\xff\x1b[2J");
    record.headers = (const struct tw_header[]){{TW_STR(TW_H_TYPE), TW_STR("\x1b[2J.v1")}};
    record.header_count = 1;
    add_line(&count, TW_TOPIC_COMMANDS, record);
    tw_trace_add_table(lines, count, &out);
    tw_trace_add_json(lines, count, &out);
    assert_null(strchr(text(), '\x1b'));
    assert_says("(5 bytes)");
    assert_says("bytes of a type that this program does not know");
}

/* --- secrets */

static void assert_no_secrets(const struct tw_layout *layout)
{
    for (size_t i = 0; i < layout->field_count; i++) {
        const struct tw_field *field = &layout->fields[i];
        bool                   is_secret = strstr(field->name, "hash") || strstr(field->name, "password") ||
                         (field->kind == TW_KIND_BYTES && strcmp(field->name, "fingerprint") != 0); /* an HMAC */

        if (is_secret && !tw_field_is_secret(field))
            fail_msg("%s of %s would be shown", field->name, layout->name);
        if (field->layout)
            assert_no_secrets(field->layout);
    }
}

static void hashes__of_no_message_or_state_are_shown(void **state)
{
    (void)state;
    assert_no_secrets(tw_member_type.layout);
    for (size_t i = 0; i < tw_member_command_count; i++)
        assert_no_secrets(tw_member_commands[i]->layout);
    for (size_t i = 0; i < tw_member_event_count; i++)
        assert_no_secrets(tw_member_events[i]->layout);
    for (size_t i = 0; i < tw_product_command_count; i++)
        assert_no_secrets(tw_product_commands[i]->layout);
    for (size_t i = 0; i < tw_cart_command_count; i++)
        assert_no_secrets(tw_cart_commands[i]->layout);
}

static void a_registration__is_shown_without_its_hash(void **state)
{
    const struct tw_member_register body = {
        .member_id = id_of(MEMBER),
        .email = TW_STR("ada@example.com"),
        .email_folded = TW_STR("ada@example.com"),
        .password_hash = TW_STR("$argon2id$v=19$m=65536"),
        .full_name = TW_STR("Ada"),
    };
    struct tw_record record = record_with(1, packed(&tw_member_register_type, &body),
                                          (const char *const[]){TW_H_TYPE, "member.register.v1", NULL});
    size_t           count = 0;

    (void)state;
    lines[count++] = tw_trace_line_of(tw_topic_of(TW_DOMAIN_MEMBER, TW_TOPIC_COMMANDS), &record, &arena);
    tw_trace_add_table(lines, count, &out);
    tw_trace_add_json(lines, count, &out);
    assert_null(strstr(text(), "argon2id"));
    assert_says("\"full_name\":\"Ada\"");
}

/* --- records that are or are not alike, for imports */

static void records__differ_in_any_part_of_theirs(void **state)
{
    const struct tw_record record = a_command(7);
    struct tw_header       headers[HEADERS_MAX];
    struct tw_record       other = record;

    (void)state;
    memcpy(headers, record.headers, sizeof(headers));
    other.headers = headers;
    assert_null(tw_ctl_record_difference(&record, &other));
    other.timestamp_ms++;
    assert_string_equal(tw_ctl_record_difference(&record, &other), "time");
    other = record;
    other.key = TW_STR("");
    assert_string_equal(tw_ctl_record_difference(&record, &other), "key");
    other = record;
    other.value.len--;
    assert_string_equal(tw_ctl_record_difference(&record, &other), "value");
    other = record;
    other.headers = headers;
    headers[1].value = (struct tw_str){NULL, 0};
    assert_string_equal(tw_ctl_record_difference(&record, &other), "list of headers");
    other.header_count--;
    assert_string_equal(tw_ctl_record_difference(&record, &other), "list of headers");
}

static void records__with_nothing_and_with_empty_bytes_are_not_alike(void **state)
{
    const struct tw_record none = {.key = {NULL, 0}}, empty = {.key = {"", 0}};

    (void)state;
    assert_string_equal(tw_ctl_record_difference(&none, &empty), "key");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, forget)
    const struct CMUnitTest tests[] = {
        TEST(a_command__is_found_by_its_id_in_all_three_topics),
        TEST(an_outcome__belongs_to_the_command_it_ends_too),
        TEST(an_aggregate__is_found_by_the_key),
        TEST(lines__stand_in_the_order_of_their_causes),
        TEST(events_that_came_again__are_one_line),
        TEST(an_operators_words__stand_where_they_were_said),
        TEST(an_operators_words__are_objects_in_json),
        TEST(words_on_a_dead_letter__are_known_by_its_name),
        TEST(table__says_what_each_record_says),
        TEST(json__has_the_same_and_is_an_array),
        TEST(a_strangers_bytes__do_not_reach_the_terminal),
        TEST(hashes__of_no_message_or_state_are_shown),
        TEST(a_registration__is_shown_without_its_hash),
        TEST(records__differ_in_any_part_of_theirs),
        TEST(records__with_nothing_and_with_empty_bytes_are_not_alike),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}

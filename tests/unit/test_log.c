#include "tillwire/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tillwire/clock.h"
#include "unit.h"

static struct tw_child child;

/* What one call writes; the part in front, time to pid, is checked and cut off. */
static const char *members_of(int (*fn)(void *arg), void *arg)
{
    char       *level, *message;
    int64_t     time_ms;
    const char *end;

    tw_child_run(fn, arg, &child);
    assert_int_equal(child.exit_code, 0);
    assert_memory_equal(child.err, "{\"time\":\"", 9);
    assert_true(tw_time_parse((struct tw_str){child.err + 9, TW_TIME_TEXT}, &time_ms));
    assert_in_range(time_ms, tw_now_ms() - 60000, tw_now_ms());
    level = child.err + 9 + TW_TIME_TEXT;
    assert_memory_equal(level, "\",\"level\":\"", 11);
    message = strstr(level, ",\"message\":");
    assert_non_null(message);
    end = child.err + strlen(child.err);
    assert_memory_equal(end - 2, "}\n", 2);
    return message;
}

static int log_fields(void *arg)
{
    (void)arg;
    tw_log_init("tillwire-cart", TW_LOG_INFO);
    tw_log(TW_LOG_WARN, "store did not answer", TW_F_INT("partition", 3), TW_F_BOOL("again", true),
           TW_F_BOOL("last", 0), TW_F_TEXT("topic", "cart.commands"), TW_F_STR("id", ((struct tw_str){"abcdef", 3})),
           TW_F_INT("low", INT64_MIN), TW_F_TEXT("none", NULL));
    return 0;
}

static void line__has_time_level_program_pid_message_and_typed_fields(void **state)
{
    const char *members = members_of(log_fields, NULL);
    int         pid;

    (void)state;
    assert_string_equal(members,
                        ",\"message\":\"store did not answer\",\"partition\":3,\"again\":true,\"last\":false,"
                        "\"topic\":\"cart.commands\",\"id\":\"abc\",\"low\":-9223372036854775808,\"none\":\"\"}\n");
    assert_int_equal(
        sscanf(child.err + 9 + TW_TIME_TEXT, "\",\"level\":\"warn\",\"program\":\"tillwire-cart\",\"pid\":%d,", &pid),
        1);
    assert_true(pid > 1);
}

static int log_without_fields(void *arg)
{
    (void)arg;
    tw_log(TW_LOG_ERROR, "bare");
    return 0;
}

static void line__needs_no_fields_and_no_init(void **state)
{
    (void)state;
    assert_string_equal(members_of(log_without_fields, NULL), ",\"message\":\"bare\"}\n");
    assert_non_null(strstr(child.err, "\"program\":\"test_log\""));
}

static int log_text(void *arg)
{
    const struct tw_str *text = arg;

    tw_log(TW_LOG_ERROR, "m", TW_F_STR("text", *text));
    return 0;
}

static void text__is_escaped_for_json(void **state)
{
    static const struct {
        struct tw_str raw;
        const char   *escaped;
    } rows[] = {
        {{"q\"b\\s/", 6}, "q\\\"b\\\\s/"},
        {{"\n\r\t\0\x1f\x7f", 6}, "\\u000a\\u000d\\u0009\\u0000\\u001f\\u007f"},
        {{"Grüße 😀", 12}, "Grüße 😀"},
        {{"a\xFF\xC3(", 4}, "a\xEF\xBF\xBD\xEF\xBF\xBD("},
        {{"\xE2\x82", 2}, "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {{"\xED\xA0\x80", 3}, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(rows); i++) {
        struct tw_str raw = rows[i].raw;
        char          expected[256];

        snprintf(expected, sizeof(expected), ",\"message\":\"m\",\"text\":\"%s\"}\n", rows[i].escaped);
        assert_string_equal(members_of(log_text, &raw), expected);
    }
}

static void text__is_cut_at_512_bytes_between_characters(void **state)
{
    char          raw[600];
    struct tw_str text = {raw, sizeof(raw)};
    char          expected[700];

    (void)state;
    memset(raw, 'x', sizeof(raw));
    snprintf(expected, sizeof(expected), ",\"message\":\"m\",\"text\":\"%.512s…\"}\n", raw);
    assert_string_equal(members_of(log_text, &text), expected);
    memcpy(raw + 511, "ü", 2); /* would be cut in two */
    snprintf(expected, sizeof(expected), ",\"message\":\"m\",\"text\":\"%.511s…\"}\n", raw);
    assert_string_equal(members_of(log_text, &text), expected);
    text.len = 512;
    raw[511] = 'y';
    snprintf(expected, sizeof(expected), ",\"message\":\"m\",\"text\":\"%.512s\"}\n", raw);
    assert_string_equal(members_of(log_text, &text), expected);
}

static int log_too_much(void *arg)
{
    static char         raw[512];
    const struct tw_str text = {raw, sizeof(raw)}; /* NULs, six bytes each when escaped */

    (void)arg;
    tw_log(TW_LOG_ERROR, "m", TW_F_STR("a", text), TW_F_STR("b", text), TW_F_STR("c", text), TW_F_INT("d", 1));
    return 0;
}

static void line__leaves_out_what_does_not_fit_and_says_so(void **state)
{
    const char *members = members_of(log_too_much, NULL);

    (void)state;
    assert_non_null(strstr(members, "\"b\":"));
    assert_null(strstr(members, "\"c\":"));
    assert_null(strstr(members, "\"d\":"));
    assert_string_equal(members + strlen(members) - 20, "\",\"truncated\":true}\n");
}

static int log_at_all_levels(void *arg)
{
    enum tw_log_level level = TW_LOG_ERROR;

    if (!tw_log_level_parse(arg, &level))
        return 1;
    tw_log_init("p", TW_LOG_DEBUG);
    tw_log_set_level(level);
    tw_log(TW_LOG_ERROR, "E");
    tw_log(TW_LOG_WARN, "W");
    tw_log(TW_LOG_INFO, "I");
    tw_log(TW_LOG_DEBUG, "D");
    tw_log_err(TW_LOG_DEBUG, "X", &(struct tw_err){0}, NULL);
    return 0;
}

static void level__silences_what_is_below_it(void **state)
{
    static const struct {
        char   level[8];
        size_t lines;
    } rows[] = {{"error", 1}, {"warn", 2}, {"info", 3}, {"debug", 5}};
    enum tw_log_level level;

    (void)state;
    for (size_t i = 0; i < TW_LEN(rows); i++) {
        char   name[8];
        size_t lines = 0;

        memcpy(name, rows[i].level, sizeof(name));
        tw_child_run(log_at_all_levels, name, &child);
        assert_int_equal(child.exit_code, 0);
        for (const char *p = child.err; *p; p++)
            lines += *p == '\n';
        assert_int_equal(lines, rows[i].lines);
    }
    assert_false(tw_log_level_parse("loud", &level));
    assert_false(tw_log_level_parse("", &level));
}

static int log_an_error(void *arg)
{
    struct tw_err             err = {0};
    const struct tw_log_field more[] = {TW_F_INT("partition", 4), {0}};

    (void)arg;
    tw_fail(&err, TW_UNREACHED, "cart.store.commit", 110, "timed out");
    tw_log_err(TW_LOG_WARN, "will try again", &err, more);
    return 0;
}

static void err__becomes_members(void **state)
{
    (void)state;
    assert_string_equal(members_of(log_an_error, NULL),
                        ",\"message\":\"will try again\",\"rc\":\"UNREACHED\",\"where\":\"cart.store.commit\","
                        "\"native\":110,\"error\":\"timed out\",\"partition\":4}\n");
}

static int log_with_errno(void *arg)
{
    (void)arg;
    errno = 1234;
    close(STDERR_FILENO);
    tw_log(TW_LOG_ERROR, "nobody hears");
    return errno == 1234 ? 0 : 1;
}

static void log__leaves_errno_alone_and_survives_a_closed_descriptor(void **state)
{
    (void)state;
    tw_child_run(log_with_errno, NULL, &child);
    assert_int_equal(child.exit_code, 0);
}

static void *log_many(void *arg)
{
    for (int i = 0; i < 100; i++)
        tw_log(TW_LOG_ERROR, "many", TW_F_TEXT("who", arg), TW_F_INT("i", i));
    return NULL;
}

static int log_from_threads(void *arg)
{
    static char names[][2] = {"a", "b", "c", "d"};
    pthread_t   threads[TW_LEN(names)];

    (void)arg;
    for (size_t i = 0; i < TW_LEN(names); i++)
        pthread_create(&threads[i], NULL, log_many, names[i]);
    for (size_t i = 0; i < TW_LEN(names); i++)
        pthread_join(threads[i], NULL);
    return 0;
}

static void lines_of_threads__do_not_mix(void **state)
{
    size_t lines = 0;

    (void)state;
    tw_child_run(log_from_threads, NULL, &child);
    assert_int_equal(child.exit_code, 0);
    for (char *line = strtok(child.err, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        assert_memory_equal(line, "{\"time\":", 8);
        assert_int_equal(line[strlen(line) - 1], '}');
        assert_null(strstr(line + 1, "{\"time\""));
    }
    assert_int_equal(lines, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line__has_time_level_program_pid_message_and_typed_fields),
        cmocka_unit_test(line__needs_no_fields_and_no_init),
        cmocka_unit_test(text__is_escaped_for_json),
        cmocka_unit_test(text__is_cut_at_512_bytes_between_characters),
        cmocka_unit_test(line__leaves_out_what_does_not_fit_and_says_so),
        cmocka_unit_test(level__silences_what_is_below_it),
        cmocka_unit_test(err__becomes_members),
        cmocka_unit_test(log__leaves_errno_alone_and_survives_a_closed_descriptor),
        cmocka_unit_test(lines_of_threads__do_not_mix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tillwire/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

struct settings {
    const char    *kafka;
    int64_t        batch_records;
    bool           fast;
    const char    *log_level;
    const char    *postgres_uri;
    const char    *label;
    struct tw_rate pace;
};

static const struct tw_setting table[] = {
    {"kafka", TW_SET_TEXT, offsetof(struct settings, kafka), NULL, 1, 0, NULL, false, "Brokers, host:port."},
    {"batch_records", TW_SET_INT, offsetof(struct settings, batch_records), "500", 1, 10000, NULL, false,
     "Most records."},
    {"fast", TW_SET_BOOL, offsetof(struct settings, fast), "on", 0, 0, NULL, false, "Whether to hurry."},
    {"log_level", TW_SET_CHOICE, offsetof(struct settings, log_level), "info", 0, 0, "error|warn|info|debug", false,
     "Least level."},
    {"postgres_uri", TW_SET_TEXT, offsetof(struct settings, postgres_uri), "", 0, 40, NULL, true, "Where members are."},
    {"label", TW_SET_TEXT, offsetof(struct settings, label), "x", 0, 3, NULL, false, "Short."},
    {"pace", TW_SET_RATE, offsetof(struct settings, pace), "600/60", 1, 1000, NULL, false, "How often."},
    TW_SETTING_END,
};

static struct tw_child child;

struct call {
    const char *argv[12]; /* behind the program's name */
    const char *env[6];
    bool        takes_rest;
};

/* Prints what it read; exit code = the result. */
static int read_settings(void *arg)
{
    const struct call      *call = arg;
    struct settings         settings = {0};
    char                   *argv[13] = {strdup("tillwire-test")};
    struct tw_settings_rest rest = {.name = "WORD"};
    int                     argc = 1;
    enum tw_settings_result result;

    clearenv();
    for (size_t i = 0; call->env[i]; i++)
        putenv(strdup(call->env[i]));
    for (; call->argv[argc - 1]; argc++)
        argv[argc] = strdup(call->argv[argc - 1]);
    result = tw_settings_read(table, "tillwire-test", "Tests settings.", argc, argv, &settings,
                              call->takes_rest ? &rest : NULL);
    for (int i = 0; i < argc; i++)
        free(argv[i]); /* texts must not point into it */
    if (result == TW_SETTINGS_RUN && !call->takes_rest)
        printf("%s %d %d %s %s %s", settings.kafka, (int)settings.batch_records, settings.fast, settings.log_level,
               settings.postgres_uri, settings.label);
    return (int)result;
}

static void run(struct call call)
{
    tw_child_run(read_settings, &call, &child);
}

static void assert_runs(struct call call, const char *expected)
{
    run(call);
    assert_string_equal(child.err, "");
    assert_int_equal(child.exit_code, TW_SETTINGS_RUN);
    assert_string_equal(child.out, expected);
}

static void assert_refused(struct call call, const char *line)
{
    run(call);
    assert_int_equal(child.exit_code, TW_SETTINGS_EXIT_BAD);
    assert_string_equal(child.err, line);
}

static void defaults__fill_what_nobody_gives(void **state)
{
    (void)state;
    assert_runs((struct call){.env = {"TW_KAFKA=a:1"}}, "a:1 500 1 info  x");
}

static void options__come_with_a_space_or_an_equals_sign(void **state)
{
    (void)state;
    assert_runs(
        (struct call){.argv = {"--kafka", "a", "--batch-records=7", "--fast", "off", "--log-level=debug", "--label="}},
        "a 7 0 debug  ");
}

/* Path of a new file with this content, in a directory of its own. */
static const char *file_with(const char *content)
{
    static char path[64];
    int         fd;

    strcpy(path, "/tmp/test_settings.XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
    return path;
}

static void later_sources__win(void **state)
{
    const char *path = file_with("# local\n\n  kafka = file\r\nbatch_records=1\n log_level = warn # not a comment\n");

    (void)state;
    run((struct call){.argv = {"--config", path}});
    assert_int_equal(child.exit_code, TW_SETTINGS_EXIT_BAD); /* the value is all behind the equals sign */
    unlink(path);
    path = file_with("# local\n\n  kafka = file\r\nbatch_records=1\n label =a=b\n");
    assert_runs((struct call){.argv = {"--config", path}}, "file 1 1 info  a=b");
    assert_runs((struct call){.argv = {"--config", path}, .env = {"TW_KAFKA=env"}}, "env 1 1 info  a=b");
    assert_runs((struct call){.argv = {"--kafka=cmd", "--config", path}, .env = {"TW_KAFKA=env", "TW_BATCH_RECORDS=2"}},
                "cmd 2 1 info  a=b");
    unlink(path);
}

static void an_empty_environment_value__is_not_set(void **state)
{
    (void)state;
    assert_runs((struct call){.argv = {"--kafka=a"}, .env = {"TW_BATCH_RECORDS=", "TW_NONSENSE="}}, "a 500 1 info  x");
    assert_refused((struct call){.env = {"TW_KAFKA="}},
                   "tillwire-test: kafka must be given (--kafka, TW_KAFKA or a line in the --config file): "
                   "text of 1..4096 bytes. Brokers, host:port.\n");
}

static void numbers__keep_to_their_range(void **state)
{
    static const char *const bad[] = {"0", "10001", "-1", "x", "", "1.5", "99999999999999999999"};

    (void)state;
    assert_runs((struct call){.argv = {"--kafka=a", "--batch-records=1"}}, "a 1 1 info  x");
    assert_runs((struct call){.argv = {"--kafka=a", "--batch-records=10000"}}, "a 10000 1 info  x");
    for (size_t i = 0; i < TW_LEN(bad); i++) {
        char line[200];

        snprintf(
            line, sizeof(line),
            "tillwire-test: batch_records (--batch-records, TW_BATCH_RECORDS) cannot be '%s': allowed is 1..10000\n",
            bad[i]);
        assert_refused((struct call){.argv = {"--kafka=a", "--batch-records", bad[i]}}, line);
    }
}

/* Prints the rate it read. */
static int read_pace(void *arg)
{
    char           *argv[] = {strdup("tillwire-test"), strdup("--kafka=a"), strdup("--pace"), strdup(arg), NULL};
    struct settings settings = {0};

    clearenv();
    if (tw_settings_read(table, "tillwire-test", "", 4, argv, &settings, NULL) == TW_SETTINGS_RUN)
        printf("%d in %d s", settings.pace.count, settings.pace.window_s);
    for (size_t i = 0; argv[i]; i++)
        free(argv[i]);
    return 0;
}

static void rates__are_a_count_and_seconds(void **state)
{
    static const char *const bad[] = {"600", "/",       "600/", "/60",   "0/60",  "1001/60",
                                      "5/0", "5/86401", "5/1m", "-5/60", "5/6/7", ""};
    struct {
        char text[16], said[32];
    } good[] = {{"5/60", "5 in 60 s"}, {"1000/86400", "1000 in 86400 s"}, {"1/1", "1 in 1 s"}};

    (void)state;
    for (size_t i = 0; i < TW_LEN(good); i++) {
        tw_child_run(read_pace, good[i].text, &child);
        assert_string_equal(child.out, good[i].said);
    }
    for (size_t i = 0; i < TW_LEN(bad); i++) {
        char line[200];

        snprintf(line, sizeof(line),
                 "tillwire-test: pace (--pace, TW_PACE) cannot be '%s': allowed is 1..1000/1..86400 s\n", bad[i]);
        assert_refused((struct call){.argv = {"--kafka=a", "--pace", bad[i]}}, line);
    }
}

static void switches__know_three_pairs_of_words(void **state)
{
    static const char *const on[] = {"on", "true", "1"};
    static const char *const off[] = {"off", "false", "0"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_runs((struct call){.argv = {"--kafka=a", "--fast", on[i]}}, "a 500 1 info  x");
        assert_runs((struct call){.argv = {"--kafka=a", "--fast", off[i]}}, "a 500 0 info  x");
    }
    assert_refused((struct call){.argv = {"--kafka=a", "--fast=yes"}},
                   "tillwire-test: fast (--fast, TW_FAST) cannot be 'yes': allowed is on|off\n");
}

static void choices__take_whole_words_only(void **state)
{
    static const char *const bad[] = {"inf", "infos", "", "warn|info", "fo"};

    (void)state;
    assert_runs((struct call){.argv = {"--kafka=a", "--log-level=error"}}, "a 500 1 error  x");
    for (size_t i = 0; i < TW_LEN(bad); i++) {
        run((struct call){.argv = {"--kafka=a", "--log-level", bad[i]}});
        assert_int_equal(child.exit_code, TW_SETTINGS_EXIT_BAD);
        assert_non_null(strstr(child.err, "allowed is error|warn|info|debug\n"));
    }
}

static void texts__keep_to_their_length(void **state)
{
    (void)state;
    assert_refused((struct call){.argv = {"--kafka", ""}},
                   "tillwire-test: kafka (--kafka, TW_KAFKA) cannot be '': allowed is text of 1..4096 bytes\n");
    assert_refused((struct call){.argv = {"--kafka=a", "--label", "abcd"}},
                   "tillwire-test: label (--label, TW_LABEL) cannot be 'abcd': allowed is text of 0..3 bytes\n");
}

static void unknown_names__are_refused_wherever_they_come_from(void **state)
{
    const char *path = file_with("kafka = a\nbatch = 5\nnonsense\n");
    char        lines[400];

    (void)state;
    assert_refused((struct call){.argv = {"--kafka=a", "--batch=5"}},
                   "tillwire-test: '--batch' is no option; see --help\n");
    assert_refused((struct call){.argv = {"--kafka=a", "-v"}}, "tillwire-test: '-v' is no option; see --help\n");
    assert_refused((struct call){.argv = {"--kafka=a", "--batch_records=5"}},
                   "tillwire-test: '--batch_records' is no option; see --help\n");
    assert_refused((struct call){.env = {"TW_KAFKA=a", "TW_BATCH_RECORD=5"}},
                   "tillwire-test: TW_BATCH_RECORD in the environment is no setting of tillwire; see --help\n");
    snprintf(lines, sizeof(lines),
             "tillwire-test: %s:2: 'batch' is no setting; see --help\ntillwire-test: %s:3: is not `name = value`\n",
             path, path);
    assert_refused((struct call){.argv = {"--config", path}}, lines);
    unlink(path);
}

static void a_file_with_a_nul__is_refused(void **state)
{
    static const char text[] = "kafka = a\nlabel = b\0c\n";
    const char       *path = file_with("");
    FILE             *file = fopen(path, "we");
    char              line[200];

    (void)state;
    fwrite(text, 1, sizeof(text) - 1, file);
    fclose(file);
    snprintf(line, sizeof(line), "tillwire-test: %s:2: has a NUL byte\n", path);
    assert_refused((struct call){.argv = {"--config", path}}, line);
    unlink(path);
}

static void environment__may_hold_what_others_need(void **state)
{
    (void)state;
    assert_runs((struct call){.env = {"TW_KAFKA=a", "TW_FAIL=after_commit=exit@99", "TW_REDIS_URI=redis://x", "HOME=/x",
                                      "TWO=2"}},
                "a 500 1 info  x");
}

static void mistakes__are_all_shown_at_once(void **state)
{
    (void)state;
    run((struct call){.argv = {"--batch-records=0", "--fast=x", "--what"}});
    assert_non_null(strstr(child.err, "--what"));
    assert_non_null(strstr(child.err, "kafka must be given"));
    assert_non_null(strstr(child.err, "batch_records"));
    assert_non_null(strstr(child.err, "fast"));
}

static void a_switch_alone__is_on(void **state)
{
    (void)state;
    assert_runs((struct call){.argv = {"--kafka=a", "--fast", "off", "--fast", "--label", "y"}}, "a 500 1 info  y");
    assert_runs((struct call){.argv = {"--kafka=a", "--fast"}}, "a 500 1 info  x");
    assert_refused((struct call){.argv = {"--kafka=a", "--fast", "perhaps"}},
                   "tillwire-test: argument 3 is one argument too many; see --help\n");
}

static void an_option_without_value__is_refused(void **state)
{
    (void)state;
    run((struct call){.argv = {"--kafka"}});
    assert_int_equal(child.exit_code, TW_SETTINGS_EXIT_BAD);
    assert_non_null(strstr(child.err, "'--kafka' needs a value\n"));
    assert_refused((struct call){.argv = {"--kafka=a", "--config"}}, "tillwire-test: '--config' needs a value\n");
    assert_refused((struct call){.argv = {"--kafka=a", "--config=/nonexistent"}},
                   "tillwire-test: cannot open '/nonexistent': No such file or directory\n");
}

static void secrets__are_never_printed(void **state)
{
    (void)state;
    run((struct call){.argv = {"--kafka=a", "--check"}, .env = {"TW_POSTGRES_URI=hunter2"}});
    assert_int_equal(child.exit_code, TW_SETTINGS_CHECK);
    assert_null(strstr(child.out, "hunter2"));
    assert_non_null(strstr(child.out, "postgres_uri = (set)  # environment\n"));
    run((struct call){.argv = {"--kafka=a"}, .env = {"TW_POSTGRES_URI=hunter2hunter2hunter2hunter2hunter2hunter2"}});
    assert_int_equal(child.exit_code, TW_SETTINGS_EXIT_BAD);
    assert_null(strstr(child.err, "hunter2"));
    assert_non_null(strstr(child.err, "postgres_uri (--postgres-uri, TW_POSTGRES_URI) cannot be '(secret)'"));
}

static void check__prints_values_and_where_they_come_from(void **state)
{
    (void)state;
    run((struct call){.argv = {"--check", "--fast=off"}, .env = {"TW_KAFKA=a"}});
    assert_int_equal(child.exit_code, TW_SETTINGS_CHECK);
    assert_string_equal(child.out,
                        "kafka = a  # environment\nbatch_records = 500  # default\nfast = off  # command line\n"
                        "log_level = info  # default\npostgres_uri = (not set)  # default\nlabel = x  # default\n"
                        "pace = 600/60  # default\n");
    run((struct call){.argv = {"--check"}});
    assert_int_equal(child.exit_code, TW_SETTINGS_EXIT_BAD);
}

static void help__shows_each_setting_with_range_default_and_sentence(void **state)
{
    static const char *const parts[] = {
        "Usage: tillwire-test",
        "Tests settings.",
        "--batch-records",
        "TW_BATCH_RECORDS",
        "1..10000",
        "500",
        "Most records.",
        "on|off",
        "error|warn|info|debug",
        "(must be given)",
        "text of 0..40 bytes",
        "Where members are.",
    };

    (void)state;
    run((struct call){.argv = {"--help"}, .env = {"TW_NONSENSE=1"}});
    assert_int_equal(child.exit_code, TW_SETTINGS_EXIT_OK);
    for (size_t i = 0; i < TW_LEN(parts); i++)
        assert_non_null(strstr(child.out, parts[i]));
    run((struct call){.argv = {"--version"}});
    assert_int_equal(child.exit_code, TW_SETTINGS_EXIT_OK);
    assert_string_equal(child.out, "tillwire-test " TW_VERSION "\n");
}

/* A file of this mode that holds the text, in a folder that ends with the test. */
static const char *file_of(const char *text, mode_t mode)
{
    static char path[] = "/tmp/test_settings_file_XXXXXX";
    int         fd;

    strcpy(path + strlen(path) - 6, "XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    fchmod(fd, mode);
    close(fd);
    return path;
}

static void a_secret__may_stand_in_a_file(void **state)
{
    const char *path = file_of("postgres://u:p@h/d\n", 0600);
    char        variable[100], option[100];

    (void)state;
    snprintf(variable, sizeof(variable), "TW_POSTGRES_URI_FILE=%s", path);
    snprintf(option, sizeof(option), "--postgres-uri-file=%s", path);
    assert_runs((struct call){.argv = {"--kafka=k"}, .env = {variable}}, "k 500 1 info postgres://u:p@h/d x");
    assert_runs((struct call){.argv = {"--kafka=k", option}}, "k 500 1 info postgres://u:p@h/d x");
    assert_runs((struct call){.argv = {"--kafka=k", option}, .env = {"TW_POSTGRES_URI=other"}},
                "k 500 1 info postgres://u:p@h/d x");
    assert_runs((struct call){.argv = {"--kafka=k", "--postgres-uri=other"}, .env = {variable}},
                "k 500 1 info other x");
    run((struct call){.argv = {"--kafka=k", "--check"}, .env = {variable}});
    assert_non_null(strstr(child.out, "postgres_uri = (set)  # environment, in the file /tmp/test_settings_file_"));
    assert_null(strstr(child.out, "u:p"));
    unlink(path);
}

static void a_secret_in_a_file__is_refused_by_name(void **state)
{
    const char *path = file_of("a text that is longer than the forty bytes of its setting", 0600);
    char        variable[100];

    (void)state;
    snprintf(variable, sizeof(variable), "TW_POSTGRES_URI_FILE=%s", path);
    run((struct call){.argv = {"--kafka=k"}, .env = {variable}});
    assert_int_equal(child.exit_code, TW_SETTINGS_EXIT_BAD);
    assert_non_null(strstr(child.err, "postgres_uri_file (--postgres-uri-file, TW_POSTGRES_URI_FILE): '/tmp/"));
    assert_non_null(strstr(child.err, "1 to 40 bytes"));
    assert_null(strstr(child.err, "longer"));
    unlink(path);
    assert_refused((struct call){.argv = {"--kafka=k", "--postgres-uri-file=/nonexistent"}},
                   "tillwire-test: postgres_uri_file (--postgres-uri-file, TW_POSTGRES_URI_FILE): cannot open "
                   "'/nonexistent': No such "
                   "file or directory\n");
    run((struct call){.argv = {"--kafka=k", "--postgres-uri=a", "--postgres-uri-file=/b"}});
    assert_int_equal(child.exit_code, TW_SETTINGS_EXIT_BAD);
    assert_non_null(strstr(child.err, "--postgres-uri and --postgres-uri-file are both given: one is enough\n"));
    assert_refused((struct call){.argv = {"--kafka=k", "--kafka-file=/b"}},
                   "tillwire-test: '--kafka-file' is no option; see --help\n");
}

static void arguments__are_refused_unless_asked_for(void **state)
{
    (void)state;
    assert_refused((struct call){.argv = {"--kafka=a", "topics"}},
                   "tillwire-test: argument 2 is one argument too many; see --help\n");
    run((struct call){.argv = {"--kafka=a", "--postgres-url", "postgresql://u:hidden@h/d"}});
    assert_int_equal(child.exit_code, TW_SETTINGS_EXIT_BAD);
    assert_non_null(strstr(child.err, "'--postgres-url' is no option"));
    assert_null(strstr(child.err, "hidden"));
}

static void arguments__keep_their_order(void **state)
{
    char *argv[] = {
        strdup("twctl"), strdup("topics"), strdup("--kafka=a"), strdup("-"), strdup("--"), strdup("--fast"), NULL};
    struct settings         settings;
    struct tw_settings_rest rest = {.name = "COMMAND"};

    (void)state;
    assert_int_equal(tw_settings_read(table, "twctl", "", 6, argv, &settings, &rest), TW_SETTINGS_RUN);
    assert_string_equal(rest.words[0], "topics");
    assert_string_equal(rest.words[1], "-");
    assert_string_equal(rest.words[2], "--fast");
    assert_null(rest.words[3]);
    for (size_t i = 0; i < 6; i++)
        free(argv[i]);
}

static enum tw_rc read_secret_of(const char *content, mode_t mode, char **ret_text, struct tw_err *reterr)
{
    const char *path = file_with(content);
    enum tw_rc  rc;

    assert_int_equal(chmod(path, mode), 0);
    rc = tw_secret_read(path, 8, ret_text, reterr);
    unlink(path);
    return rc;
}

static void a_secret_file__is_trimmed_at_its_end(void **state)
{
    static const char *const contents[] = {"12345678", "12345678\n", "12345678\r\n \t\n"};
    struct tw_err            err = {0};
    char                    *text;

    (void)state;
    for (size_t i = 0; i < TW_LEN(contents); i++) {
        assert_rc(read_secret_of(contents[i], 0600, &text, &err), TW_OK, err);
        assert_string_equal(text, "12345678");
        free(text);
    }
    assert_rc(read_secret_of(" a", 0440, &text, &err), TW_OK, err);
    assert_string_equal(text, " a");
    free(text);
}

static void a_secret_file__is_refused_when_others_may_use_it_or_it_does_not_fit(void **state)
{
    struct tw_err err = {0};
    char         *text = NULL;
    char          long_tail[200];

    (void)state;
    assert_rc(read_secret_of("a", 0604, &text, &err), TW_INVALID, err);
    assert_non_null(strstr(err.msg, "others may use"));
    assert_rc(read_secret_of("a", 0602, &text, &err), TW_INVALID, err);
    assert_rc(read_secret_of("123456789", 0600, &text, &err), TW_INVALID, err);
    assert_rc(read_secret_of("", 0600, &text, &err), TW_INVALID, err);
    assert_rc(read_secret_of("\n", 0600, &text, &err), TW_INVALID, err);
    snprintf(long_tail, sizeof(long_tail), "1234%150s", "5");
    assert_rc(read_secret_of(long_tail, 0600, &text, &err), TW_INVALID, err);
    assert_rc(tw_secret_read("/nonexistent", 8, &text, &err), TW_INVALID, err);
    assert_non_null(strstr(err.msg, "No such file"));
    assert_rc(tw_secret_read("/", 8, &text, &err), TW_INVALID, err);
    assert_null(text);
}

static void hex__is_read_at_its_exact_length_only(void **state)
{
    uint8_t bytes[3] = {9, 9, 9};
    char    text[7];

    (void)state;
    assert_true(tw_hex_parse(TW_STR("00fFa5"), bytes, 3));
    tw_hex_format(bytes, 3, text);
    assert_string_equal(text, "00ffa5");
    assert_false(tw_hex_parse(TW_STR("00ffa"), bytes, 3));
    assert_false(tw_hex_parse(TW_STR("00ffa5a"), bytes, 3));
    assert_false(tw_hex_parse(TW_STR("11223g"), bytes, 3));
    assert_false(tw_hex_parse(TW_STR("11 223"), bytes, 3));
    assert_int_equal(bytes[0], 0);
}

/* The environment of whoever runs the tests, servers' addresses included, is none of theirs. */
static void forget_environment(void)
{
    for (char **at = environ; *at;) {
        char *name = strndup(*at, strcspn(*at, "="));

        if (strncmp(name, "TW_", 3) != 0) {
            at++;
        } else {
            unsetenv(name); /* the rest moves up */
        }
        free(name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults__fill_what_nobody_gives),
        cmocka_unit_test(options__come_with_a_space_or_an_equals_sign),
        cmocka_unit_test(later_sources__win),
        cmocka_unit_test(an_empty_environment_value__is_not_set),
        cmocka_unit_test(numbers__keep_to_their_range),
        cmocka_unit_test(rates__are_a_count_and_seconds),
        cmocka_unit_test(switches__know_three_pairs_of_words),
        cmocka_unit_test(choices__take_whole_words_only),
        cmocka_unit_test(texts__keep_to_their_length),
        cmocka_unit_test(unknown_names__are_refused_wherever_they_come_from),
        cmocka_unit_test(a_file_with_a_nul__is_refused),
        cmocka_unit_test(environment__may_hold_what_others_need),
        cmocka_unit_test(mistakes__are_all_shown_at_once),
        cmocka_unit_test(a_switch_alone__is_on),
        cmocka_unit_test(an_option_without_value__is_refused),
        cmocka_unit_test(secrets__are_never_printed),
        cmocka_unit_test(check__prints_values_and_where_they_come_from),
        cmocka_unit_test(help__shows_each_setting_with_range_default_and_sentence),
        cmocka_unit_test(a_secret__may_stand_in_a_file),
        cmocka_unit_test(a_secret_in_a_file__is_refused_by_name),
        cmocka_unit_test(arguments__are_refused_unless_asked_for),
        cmocka_unit_test(arguments__keep_their_order),
        cmocka_unit_test(a_secret_file__is_trimmed_at_its_end),
        cmocka_unit_test(a_secret_file__is_refused_when_others_may_use_it_or_it_does_not_fit),
        cmocka_unit_test(hex__is_read_at_its_exact_length_only),
    };

    forget_environment();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* One table drives parsing, --help, --check and messages; see tillwire/settings.h. */
#include "tillwire/settings.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tillwire/arena.h"

enum { TEXT_MAX_BYTES = 4096 };

/* Later wins. */
enum source { FROM_DEFAULT, FROM_FILE, FROM_ENVIRONMENT, FROM_COMMAND_LINE, SOURCES };

struct value {
    const struct tw_setting *row;
    const char              *names[SOURCES]; /* how each source spells it: batch_records, TW_BATCH_RECORDS, … */
    const char              *paths[SOURCES]; /* the same for the file a secret may stand in; NULL: it has none */
    const char              *text;           /* NULL: not given */
    bool                     is_path;        /* `text` names such a file, until it is read */
    const char              *path;           /* of the file it was read from */
    enum source              source;
};

struct reading {
    const char    *program;
    struct value  *values;
    size_t         value_count;
    const char    *config_path;
    bool           help, version, check;
    bool           bad;   /* something was refused; reading goes on, so that one run shows all mistakes */
    struct tw_err *first; /* takes the first complaint instead of standard error; NULL: all go there */
};

/* What is read lives as long as the process: settings point into it. */
static struct tw_arena  read_at_start;
static struct tw_arena  read_again; /* until the next time */
static struct tw_arena *texts = &read_at_start;

/* Environment variables with our prefix that are right to be there although this program does not know them: settings
 * of the others, which often share one environment, and what scripts use. A name that ends in _ stands for all it
 * begins. tests/unit/check_setting_names.py sees to it that no program's setting is missing here. */
static const char *const shared_names[] = {
    "TW_ACCESS_LOG",
    "TW_ACCESS_TTL_S",
    "TW_ADDRESS_READ_LIMIT",
    "TW_ADDRESS_WRITE_LIMIT",
    "TW_ADMIN_LISTEN",
    "TW_ADMIN_URL",
    "TW_AGAINST_LOG",
    "TW_ALL",
    "TW_ALL_OPEN",
    "TW_BASE_PORT",
    "TW_BATCH_KBYTES",
    "TW_BATCH_MAX_KBYTES",
    "TW_BATCH_RECORDS",
    "TW_BECAUSE",
    "TW_BENCH_",
    "TW_BIN_DIR",
    "TW_BODY_MAX_KBYTES",
    "TW_BROKER_TIMEOUT_MS",
    "TW_CACHE_MBYTES",
    "TW_CART_ADMIN_URL",
    "TW_CORS_ORIGINS",
    "TW_DEV_",
    "TW_DROP",
    "TW_DRY_RUN",
    "TW_DUMP",
    "TW_EACH",
    "TW_EDGE_KEY_FILE",
    "TW_EDGE_PASSWORD",
    "TW_EDGE_URL",
    "TW_EMAIL_CHANGE_LIMIT",
    "TW_FAIL",
    "TW_FAILPOINTS",
    "TW_FAULTS",
    "TW_FETCH_MBYTES",
    "TW_FROM",
    "TW_GID",
    "TW_GOLDEN",
    "TW_GROUP",
    "TW_HANG_TIMEOUT_S",
    "TW_HEADERS_MAX_BYTES",
    "TW_HTTPS_PORT",
    "TW_IDLE_CONNECTIONS",
    "TW_ID_KEY_FILE",
    "TW_INSTANCE_ID",
    "TW_JARS_DIR",
    "TW_JSON",
    "TW_JWT_ALGORITHM",
    "TW_JWT_AUDIENCE",
    "TW_JWT_ISSUER",
    "TW_JWT_KEYS",
    "TW_JWT_KEYS_FILE",
    "TW_KAFKA",
    "TW_KAFKA_HEAP",
    "TW_KEY",
    "TW_LABEL",
    "TW_LINGER_US",
    "TW_LISTEN",
    "TW_LOGIN_ACCOUNT_LIMIT",
    "TW_LOGIN_ADDRESS_LIMIT",
    "TW_LOG_FOLDER",
    "TW_LOG_LEVEL",
    "TW_MAX_ATTEMPTS",
    "TW_MAX_ROUNDS",
    "TW_MEASURE",
    "TW_MEMBER_ADMIN_URL",
    "TW_MONGO_PASSWORD",
    "TW_MONGO_URI",
    "TW_MONGO_URI_FILE",
    "TW_NAME",
    "TW_NO_WAIT",
    "TW_OPERATOR",
    "TW_OUTPUT",
    "TW_PASSWORD_LIMIT",
    "TW_PASSWORD_QUEUE",
    "TW_PASSWORD_THREADS",
    "TW_POLICY_RATE",
    "TW_POSTGRES_ADMIN_PASSWORD",
    "TW_POSTGRES_EDGE_PASSWORD",
    "TW_POSTGRES_PASSWORD",
    "TW_POSTGRES_URI",
    "TW_POSTGRES_URI_FILE",
    "TW_PRODUCT_ADMIN_URL",
    "TW_PUBLISH_MBYTES",
    "TW_QUEUE_KBYTES",
    "TW_RATE",
    "TW_RATE_LIMITS",
    "TW_READ_LIMIT",
    "TW_REASON",
    "TW_RECORD",
    "TW_REDIS_PASSWORD",
    "TW_REDIS_URI",
    "TW_REDIS_URI_FILE",
    "TW_REFRESH_TTL_S",
    "TW_REGISTRATION_LIMIT",
    "TW_REPLICATION",
    "TW_REPORT",
    "TW_REQUEST_DEADLINE_MS",
    "TW_REQUEST_THREADS",
    "TW_ROLL_BACK",
    "TW_SCOPE",
    "TW_SEED",
    "TW_SESSION_TIMEOUT_MS",
    "TW_SHADOW",
    "TW_SKIP_STORES",
    "TW_SNAPSHOT",
    "TW_STATE_DIR",
    "TW_STORE_CONNECTIONS",
    "TW_STORE_TIMEOUT_MS",
    "TW_STREAMS_PER_CALLER",
    "TW_STREAM_HEARTBEAT_S",
    "TW_STREAM_HISTORY_KBYTES",
    "TW_STREAM_SLOTS",
    "TW_TEST_",
    "TW_THREADS",
    "TW_TO",
    "TW_TORTURE",
    "TW_TRUSTED_PROXIES",
    "TW_TTL",
    "TW_UID",
    "TW_UNTIL",
    "TW_URI_MAX_BYTES",
    "TW_WAIT_S",
    "TW_WAIT_SLOTS",
    "TW_WORKER_PASSWORD",
    "TW_WRITE_GOLDEN",
    "TW_WRITE_LIMIT",
};

static void complain(struct reading *reading, const char *format, ...) TW_PRINTF(2, 3);
static void complain(struct reading *reading, const char *format, ...)
{
    char    text[2 * TEXT_MAX_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (!reading->first)
        fprintf(stderr, "%s: %s\n", reading->program, text);
    else if (!reading->bad)
        tw_fail(reading->first, TW_INVALID, "settings.read", 0, "%s", text);
    reading->bad = true;
}

/* --- how a row looks to people ---------------------------------------------------------------------------------- */

static int64_t text_max(const struct tw_setting *row)
{
    return row->max ? row->max : TEXT_MAX_BYTES;
}

/* What a row takes: `1..1000`, `text of 1..4096 bytes`, `on|off`, `a|b|c`. */
static const char *allowed(const struct tw_setting *row)
{
    switch (row->type) {
    case TW_SET_INT:
        return tw_arena_printf(texts, "%" PRId64 "..%" PRId64, row->min, row->max).ptr;
    case TW_SET_TEXT:
        return tw_arena_printf(texts, "text of %" PRId64 "..%" PRId64 " bytes", row->min, text_max(row)).ptr;
    case TW_SET_BOOL:
        return "on|off";
    case TW_SET_CHOICE:
        return row->choices;
    case TW_SET_RATE:
        return tw_arena_printf(texts, "%" PRId64 "..%" PRId64 "/1..%d s", row->min, row->max, TW_RATE_WINDOW_MAX_S).ptr;
    }
    return "";
}

/* A value as it may be shown. */
static const char *shown(const struct tw_setting *row, const char *text)
{
    if (*text == '\0')
        return "(not set)";
    return row->secret ? "(set)" : text;
}

/* `default_text` NULL: must be given. */
static void print_row(const char *const names[SOURCES], const char *takes, const char *default_text, const char *help)
{
    printf("  %-28s %-28s %-26s %s\n      %s\n", names[FROM_COMMAND_LINE], names[FROM_ENVIRONMENT], takes,
           default_text ? default_text : "(must be given)", help);
}

static void print_help(const struct reading *reading, const char *about, const struct tw_settings_rest *rest)
{
    printf("Usage: %s%s%s [--config FILE] [--SETTING VALUE]...\n\n%s\n\n", reading->program, rest ? " " : "",
           rest ? rest->name : "", about);
    printf("  --help, --version    print this, or the version\n"
           "  --check              check the settings and the files they name, print them and where they come from, "
           "and end\n"
           "  --config FILE        lines `name = value`, # for comments\n\n"
           "Settings (the command line counts over the environment over the file over the default):\n\n");
    printf("  %-28s %-28s %-26s %s\n", "OPTION", "ENVIRONMENT", "VALUE", "DEFAULT");
    for (size_t i = 0; i < reading->value_count; i++) {
        const struct value      *value = &reading->values[i];
        const struct tw_setting *row = value->row;

        print_row(value->names, allowed(row), row->fallback ? shown(row, row->fallback) : NULL, row->help);
        if (value->paths[FROM_FILE])
            print_row(value->paths, "path of a file", "(not set)",
                      tw_arena_printf(texts, "File that holds %s, instead of it.", row->name).ptr);
    }
}

static void print_values(const struct reading *reading)
{
    static const char *const source_names[SOURCES] = {"default", "file", "environment", "command line"};

    for (size_t i = 0; i < reading->value_count; i++) {
        const struct value *value = &reading->values[i];

        printf("%s = %s  # %s%s%s\n", value->row->name, shown(value->row, value->text), source_names[value->source],
               value->is_path ? ", in the file " : "", value->is_path ? value->path : "");
    }
}

/* --- gathering texts from the four sources ---------------------------------------------------------------------- */

/* The same in every locale: toupper('i') is no 'I' in some. */
static int upper(int c)
{
    return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c;
}

static int hyphen(int c)
{
    return c == '_' ? '-' : c;
}

static const char *mapped(struct tw_str text, int (*map)(int))
{
    char *copy = tw_arena_alloc(texts, text.len + 1);

    for (size_t i = 0; i < text.len; i++)
        copy[i] = (char)map((unsigned char)text.ptr[i]);
    return copy;
}

/* How each source spells `name`. */
static void spell(const char *name, const char *ret_names[SOURCES])
{
    ret_names[FROM_FILE] = name;
    ret_names[FROM_ENVIRONMENT] = mapped(tw_arena_printf(texts, "TW_%s", name), upper);
    ret_names[FROM_COMMAND_LINE] = mapped(tw_arena_printf(texts, "--%s", name), hyphen);
}

/* A secret that is itself the path of a file needs no second one. */
static bool may_stand_in_a_file(const struct tw_setting *row)
{
    static const char suffix[] = "_file";
    size_t            len = strlen(row->name);

    return row->secret && (len < strlen(suffix) || strcmp(row->name + len - strlen(suffix), suffix) != 0);
}

static void start_reading(struct reading *reading, const struct tw_setting *table)
{
    while (table[reading->value_count].name)
        reading->value_count++;
    reading->values = tw_arena_array(texts, reading->value_count, sizeof(struct value));
    for (size_t i = 0; i < reading->value_count; i++) {
        struct value *value = &reading->values[i];

        value->row = &table[i];
        value->text = table[i].fallback;
        spell(table[i].name, value->names);
        if (may_stand_in_a_file(&table[i]))
            spell(tw_arena_printf(texts, "%s_file", table[i].name).ptr, value->paths);
    }
}

/* NULL when no setting has this name where it comes from. */
static struct value *find_value(const struct reading *reading, struct tw_str name, enum source source)
{
    for (size_t i = 0; i < reading->value_count; i++) {
        struct value *value = &reading->values[i];

        if (tw_str_is(name, value->names[source]) || (value->paths[source] && tw_str_is(name, value->paths[source])))
            return value;
    }
    return NULL;
}

/* `name`: how the source spelled it, which tells a secret from the file it stands in. */
static void give(struct reading *reading, struct value *value, struct tw_str name, struct tw_str text,
                 enum source source)
{
    bool is_path = !tw_str_is(name, value->names[source]);

    if (value->source > source)
        return;
    if (value->source == source && value->is_path != is_path)
        complain(reading, "%s and %s are both given: one is enough", value->names[source], value->paths[source]);
    value->text = tw_arena_copy(texts, text).ptr;
    value->is_path = is_path;
    value->source = source;
}

static struct tw_str trim(struct tw_str s)
{
    while (s.len && isspace((unsigned char)*s.ptr))
        s = (struct tw_str){s.ptr + 1, s.len - 1};
    while (s.len && isspace((unsigned char)s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static void read_file_line(struct reading *reading, struct tw_str line, unsigned int number)
{
    const char   *equals;
    struct tw_str name;
    struct value *value;

    if (memchr(line.ptr, '\0', line.len)) { /* a value would end there, and nobody would see */
        complain(reading, "%s:%u: has a NUL byte", reading->config_path, number);
        return;
    }
    line = trim(line);
    if (line.len == 0 || *line.ptr == '#')
        return;
    equals = memchr(line.ptr, '=', line.len);
    name = trim((struct tw_str){line.ptr, equals ? (size_t)(equals - line.ptr) : line.len});
    value = find_value(reading, name, FROM_FILE);
    if (!equals)
        complain(reading, "%s:%u: is not `name = value`", reading->config_path, number);
    else if (!value)
        complain(reading, "%s:%u: '%.*s' is no setting; see --help", reading->config_path, number, TW_STR_ARG(name));
    else
        give(reading, value, name, trim((struct tw_str){equals + 1, (size_t)(line.ptr + line.len - equals - 1)}),
             FROM_FILE);
}

static void read_file(struct reading *reading)
{
    FILE        *file = fopen(reading->config_path, "re");
    char        *line = NULL;
    size_t       cap = 0;
    ssize_t      len;
    unsigned int number = 0;

    if (!file) {
        complain(reading, "cannot open '%s': %s", reading->config_path, strerror(errno));
        return;
    }
    while ((len = getline(&line, &cap, file)) >= 0)
        read_file_line(reading, (struct tw_str){line, (size_t)len}, ++number);
    if (!feof(file)) /* nor when memory for a line is missing, which ferror() does not tell */
        complain(reading, "cannot read '%s': %s", reading->config_path, strerror(errno));
    free(line);
    fclose(file);
}

static bool is_shared_name(struct tw_str name)
{
    for (size_t i = 0; i < TW_LEN(shared_names); i++) {
        struct tw_str shared = tw_str_of(shared_names[i]);
        bool          is_family = shared.ptr[shared.len - 1] == '_';

        if (tw_str_eq(name, shared) ||
            (is_family && name.len > shared.len && !memcmp(name.ptr, shared.ptr, shared.len)))
            return true;
    }
    return false;
}

static void read_environment(struct reading *reading)
{
    for (char **entry = environ; entry && *entry; entry++) { /* NULL when there is none at all */
        const char   *equals = strchr(*entry, '=');
        struct tw_str name = {*entry, equals ? (size_t)(equals - *entry) : 0};
        struct value *value;

        if (name.len < 3 || memcmp(name.ptr, "TW_", 3) != 0 || equals[1] == '\0')
            continue;
        value = find_value(reading, name, FROM_ENVIRONMENT);
        if (value)
            give(reading, value, name, tw_str_of(equals + 1), FROM_ENVIRONMENT);
        else if (!is_shared_name(name))
            complain(reading, "%.*s in the environment is no setting of tillwire; see --help", TW_STR_ARG(name));
    }
}

/* Options without a value. */
static bool read_flag(struct reading *reading, struct tw_str option)
{
    const struct {
        const char *name;
        bool       *flag;
    } flags[] = {{"--help", &reading->help}, {"--version", &reading->version}, {"--check", &reading->check}};

    for (size_t i = 0; i < TW_LEN(flags); i++) {
        if (tw_str_is(option, flags[i].name)) {
            *flags[i].flag = true;
            return true;
        }
    }
    return false;
}

static bool parse_bool(struct tw_str text, bool *ret_value)
{
    static const char *const words[][2] = {{"off", "on"}, {"false", "true"}, {"0", "1"}};

    for (size_t i = 0; i < TW_LEN(words); i++) {
        if (tw_str_is(text, words[i][0]) || tw_str_is(text, words[i][1])) {
            *ret_value = tw_str_is(text, words[i][1]);
            return true;
        }
    }
    return false;
}

/* `--json` alone: a switch is on when no word for on or off follows. */
static bool is_switched_on(const struct value *value, const char *next)
{
    bool ignored;

    return value && value->row->type == TW_SET_BOOL && !(next && parse_bool(tw_str_of(next), &ignored));
}

/* One option with its value, which may stand in the next argument. Returns how many arguments it took. */
static int read_option(struct reading *reading, char **argv)
{
    const char   *equals = strchr(argv[0], '=');
    struct tw_str name = {argv[0], equals ? (size_t)(equals - argv[0]) : strlen(argv[0])};
    const char   *text = equals ? equals + 1 : argv[1];
    bool          is_config = tw_str_is(name, "--config");
    struct value *value = find_value(reading, name, FROM_COMMAND_LINE);

    if (!is_config && !value) {
        complain(reading, "'%.*s' is no option; see --help", TW_STR_ARG(name));
        return 1;
    }
    if (!equals && is_switched_on(value, text)) {
        give(reading, value, name, TW_STR("on"), FROM_COMMAND_LINE);
        return 1;
    }
    if (!text) {
        complain(reading, "'%.*s' needs a value", TW_STR_ARG(name));
        return 1;
    }
    if (is_config)
        reading->config_path = text;
    else
        give(reading, value, name, tw_str_of(text), FROM_COMMAND_LINE);
    return equals ? 1 : 2;
}

/* Arguments that are no options go to `rest` in their order; behind `--` all are. Returns how many. */
static size_t read_command_line(struct reading *reading, int argc, char **argv, char **rest)
{
    size_t rest_count = 0;
    bool   options_ended = false;

    for (int i = 1; i < argc;) {
        bool is_option = !options_ended && argv[i][0] == '-' && argv[i][1] != '\0';

        if (is_option && strcmp(argv[i], "--") == 0) {
            options_ended = true;
            i++;
        } else if (!is_option) {
            rest[rest_count++] = argv[i++];
        } else if (read_flag(reading, tw_str_of(argv[i]))) {
            i++;
        } else {
            i += read_option(reading, argv + i);
        }
    }
    return rest_count;
}

/* --- from text to values ---------------------------------------------------------------------------------------- */

static bool is_choice(const char *choices, const char *text)
{
    size_t len = strlen(text);

    for (const char *at = choices; at; at = strchr(at, '|')) {
        at += *at == '|';
        if (strcspn(at, "|") == len && memcmp(at, text, len) == 0)
            return true;
    }
    return false;
}

/* `600/60`: 600 in 60 seconds. */
static bool parse_rate(const struct tw_setting *row, const char *text, struct tw_rate *ret_rate)
{
    const char *slash = strchr(text, '/');
    int64_t     count;
    int64_t     window_s;

    if (!slash || !tw_str_to_int((struct tw_str){text, (size_t)(slash - text)}, &count) ||
        !tw_str_to_int(tw_str_of(slash + 1), &window_s))
        return false;
    if (count < row->min || count > row->max || window_s < 1 || window_s > TW_RATE_WINDOW_MAX_S)
        return false;
    *ret_rate = (struct tw_rate){(int)count, (int)window_s};
    return true;
}

/* Puts the value of one row into its member; false when the row does not take it. */
static bool put_value(const struct tw_setting *row, const char *text, void *settings)
{
    void   *member = (char *)settings + row->offset;
    int64_t len = (int64_t)strlen(text);
    int64_t number;

    switch (row->type) {
    case TW_SET_INT:
        if (!tw_str_to_int(tw_str_of(text), &number) || number < row->min || number > row->max)
            return false;
        *(int64_t *)member = number;
        return true;
    case TW_SET_BOOL:
        return parse_bool(tw_str_of(text), member);
    case TW_SET_RATE:
        return parse_rate(row, text, member);
    case TW_SET_TEXT:
        if (len < row->min || len > text_max(row))
            return false;
        break;
    case TW_SET_CHOICE:
        if (!is_choice(row->choices, text))
            return false;
        break;
    }
    *(const char **)member = text;
    return true;
}

/* Puts what the file holds in the place of its path. */
static bool take_from_file(struct reading *reading, struct value *value)
{
    struct tw_err err;
    char         *text = NULL;

    value->path = value->text;
    if (tw_secret_read(value->path, (size_t)text_max(value->row), &text, &err) != TW_OK) {
        complain(reading, "%s_file (%s, %s): %s", value->row->name, value->paths[FROM_COMMAND_LINE],
                 value->paths[FROM_ENVIRONMENT], err.msg);
        return false;
    }
    value->text = tw_arena_copy(texts, tw_str_of(text)).ptr;
    explicit_bzero(text, strlen(text));
    free(text);
    return true;
}

static void put_values(struct reading *reading, void *settings)
{
    for (size_t i = 0; i < reading->value_count; i++) {
        struct value            *value = &reading->values[i];
        const struct tw_setting *row = value->row;

        if (value->is_path && !take_from_file(reading, value))
            continue;
        if (!value->text)
            complain(reading, "%s must be given (%s, %s or a line in the --config file): %s. %s", row->name,
                     value->names[FROM_COMMAND_LINE], value->names[FROM_ENVIRONMENT], allowed(row), row->help);
        else if (!put_value(row, value->text, settings))
            complain(reading, "%s (%s, %s) cannot be '%s': allowed is %s", row->name, value->names[FROM_COMMAND_LINE],
                     value->names[FROM_ENVIRONMENT], row->secret ? "(secret)" : value->text, allowed(row));
    }
}

/* Told instead of the text, which may be a secret behind an option that was misspelt. */
static int place_of(char *const *argv, const char *argument)
{
    int i = 0;

    while (argv[i] != argument)
        i++;
    return i;
}

enum tw_settings_result tw_settings_read(const struct tw_setting *table, const char *program, const char *about,
                                         int argc, char **argv, void *ret_settings, struct tw_settings_rest *rest)
{
    struct reading reading = {.program = program};
    char         **words = tw_arena_array(texts, (size_t)argc + 1, sizeof(char *));
    size_t         rest_count;

    start_reading(&reading, table);
    rest_count = read_command_line(&reading, argc, argv, words);
    if (reading.help || reading.version) {
        if (reading.help)
            print_help(&reading, about, rest);
        else
            printf("%s %s\n", program, TW_VERSION);
        return TW_SETTINGS_EXIT_OK;
    }
    if (rest_count > 0 && !rest)
        complain(&reading, "argument %d is one argument too many; see --help", place_of(argv, words[0]));
    if (reading.config_path)
        read_file(&reading);
    read_environment(&reading);
    put_values(&reading, ret_settings);
    if (reading.bad)
        return TW_SETTINGS_EXIT_BAD;
    if (reading.check) {
        print_values(&reading);
        return TW_SETTINGS_CHECK;
    }
    if (rest)
        rest->words = words;
    return TW_SETTINGS_RUN;
}

enum tw_rc tw_settings_read_again(const struct tw_setting *table, const char *program, int argc, char **argv,
                                  void *ret_settings, struct tw_err *reterr)
{
    struct reading reading = {.program = program, .first = reterr};
    char         **rest;

    texts = &read_again;
    tw_arena_reset(texts);
    rest = tw_arena_array(texts, (size_t)argc + 1, sizeof(char *));
    start_reading(&reading, table);
    read_command_line(&reading, argc, argv, rest);
    if (reading.config_path)
        read_file(&reading);
    read_environment(&reading);
    put_values(&reading, ret_settings);
    return reading.bad ? TW_INVALID : TW_OK;
}

/* Of values that were put by put_value(). */
static bool is_same(const struct tw_setting *row, const void *left, const void *right)
{
    const void *a = (const char *)left + row->offset;
    const void *b = (const char *)right + row->offset;

    switch (row->type) {
    case TW_SET_INT:
        return *(const int64_t *)a == *(const int64_t *)b;
    case TW_SET_BOOL:
        return *(const bool *)a == *(const bool *)b;
    case TW_SET_TEXT:
    case TW_SET_CHOICE:
        return strcmp(*(const char *const *)a, *(const char *const *)b) == 0;
    case TW_SET_RATE:
        return memcmp(a, b, sizeof(struct tw_rate)) == 0;
    }
    return true;
}

const struct tw_setting *tw_settings_differ(const struct tw_setting *table, const void *left, const void *right)
{
    while (table->name && is_same(table, left, right))
        table++;
    return table->name ? table : NULL;
}

/* --- secrets ------------------------------------------------------------------------------------------------------ */

/* Reads up to `size` bytes; -1 with errno. */
static ssize_t read_all(int fd, char *bytes, size_t size)
{
    size_t  len = 0;
    ssize_t n;

    while (len < size && (n = read(fd, bytes + len, size - len)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

static enum tw_rc read_secret(int fd, const char *path, size_t max_bytes, char **ret_text, struct tw_err *reterr)
{
    static const char where[] = "secret.read";
    struct stat       status;
    size_t            size = max_bytes + 64; /* a little more, for line ends and to see what is too long */
    char             *text;
    ssize_t           len;
    bool              is_cut;

    if (fstat(fd, &status) != 0)
        return tw_fail(reterr, TW_INVALID, where, errno, "cannot look at '%s': %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return tw_fail(reterr, TW_INVALID, where, 0, "'%s' is not a file", path);
    if (status.st_mode & S_IRWXO)
        return tw_fail(reterr, TW_INVALID, where, 0, "others may use '%s' (mode %03o): make it 0600", path,
                       (unsigned int)status.st_mode & 0777U);
    text = tw_alloc(size + 1);
    len = read_all(fd, text, size);
    if (len < 0) {
        free(text);
        return tw_fail(reterr, TW_INVALID, where, errno, "cannot read '%s': %s", path, strerror(errno));
    }
    is_cut = (size_t)len == size;
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        len--;
    text[len] = '\0';
    if (is_cut || (size_t)len > max_bytes || strlen(text) != (size_t)len || len == 0) {
        sodium_memzero(text, size);
        free(text);
        return tw_fail(reterr, TW_INVALID, where, 0, "'%s' must hold a text of 1 to %zu bytes", path, max_bytes);
    }
    *ret_text = text;
    return TW_OK;
}

enum tw_rc tw_secret_read(const char *path, size_t max_bytes, char **ret_text, struct tw_err *reterr)
{
    int        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    enum tw_rc rc;

    if (fd < 0)
        return tw_fail(reterr, TW_INVALID, "secret.read", errno, "cannot open '%s': %s", path, strerror(errno));
    rc = read_secret(fd, path, max_bytes, ret_text, reterr);
    close(fd);
    return rc;
}

/* --- hex ---------------------------------------------------------------------------------------------------------- */

bool tw_hex_parse(struct tw_str hex, uint8_t *ret_bytes, size_t len)
{
    if (hex.len != 2 * len)
        return false;
    for (size_t i = 0; i < hex.len; i++) {
        if (!isxdigit((unsigned char)hex.ptr[i]))
            return false;
    }
    return sodium_hex2bin(ret_bytes, len, hex.ptr, hex.len, NULL, NULL, NULL) == 0;
}

void tw_hex_format(const uint8_t *bytes, size_t len, char *ret_text)
{
    sodium_bin2hex(ret_text, 2 * len + 1, bytes, len);
}

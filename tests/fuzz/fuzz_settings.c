/*
 * Hostile settings: lines that begin with f are lines of a file, with e entries of the environment, with a arguments.
 *
 * What is taken lies in the range of its row, and says the same when it is given once more on the command line alone;
 * what is refused is refused with a sentence.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "tillwire/arena.h"
#include "tillwire/settings.h"

enum { WORDS_MAX = 64, CONFIG_FD = 199 };

struct settings {
    const char    *kafka;
    int64_t        batch_records;
    bool           fast;
    const char    *log_level;
    const char    *postgres_uri;
    struct tw_rate pace;
};

static const struct tw_setting table[] = {
    {"kafka", TW_SET_TEXT, offsetof(struct settings, kafka), "127.0.0.1:9092", 1, 0, NULL, false, "Brokers."},
    {"batch_records", TW_SET_INT, offsetof(struct settings, batch_records), "500", -1, 10000, NULL, false, "Most."},
    {"fast", TW_SET_BOOL, offsetof(struct settings, fast), "on", 0, 0, NULL, false, "Whether to hurry."},
    {"log_level", TW_SET_CHOICE, offsetof(struct settings, log_level), "info", 0, 0, "error|warn|info", false,
     "Level."},
    {"postgres_uri", TW_SET_TEXT, offsetof(struct settings, postgres_uri), "", 0, 40, NULL, true, "Where members are."},
    {"pace", TW_SET_RATE, offsetof(struct settings, pace), "600/60", 1, 1000, NULL, false, "How often."},
    TW_SETTING_END,
};

static struct tw_arena arena;

/* What the program is started with. */
struct start {
    struct tw_buf file;
    char         *argv[WORDS_MAX];
    int           argc;
    char         *environment[WORDS_MAX];
    size_t        environment_count;
};

static char *text_of(struct tw_str text)
{
    char *copy = tw_arena_alloc(&arena, text.len + 1);

    if (text.len)
        memcpy(copy, text.ptr, text.len);
    return copy;
}

static void add_argument(struct start *start, char *argument)
{
    if (start->argc < WORDS_MAX - 1)
        start->argv[start->argc++] = argument;
}

static void add_line(struct start *start, struct tw_str line)
{
    char kind = (char)tw_fuzz_take_byte(&line);

    if (kind == 'f') {
        tw_buf_add_str(&start->file, line);
        tw_buf_add(&start->file, "\n", 1);
    } else if (kind == 'e' && start->environment_count < WORDS_MAX - 1) {
        start->environment[start->environment_count++] = text_of(line);
    } else if (kind == 'a' && (line.len < 8 || memcmp(line.ptr, "--config", 8) != 0)) { /* no file but ours */
        add_argument(start, text_of(line));
    }
}

static void write_file(const struct tw_buf *file)
{
    int fd = memfd_create("settings", 0);

    must(fd >= 0 && dup2(fd, CONFIG_FD) == CONFIG_FD);
    close(fd);
    must(file->len == 0 || write(CONFIG_FD, file->ptr, file->len) == (ssize_t)file->len);
    must(lseek(CONFIG_FD, 0, SEEK_SET) == 0);
}

static enum tw_rc read_all(struct start *start, struct settings *ret_settings, struct tw_err *reterr)
{
    char     **before = environ;
    enum tw_rc rc;

    environ = start->environment;
    rc = tw_settings_read_again(table, "fuzz", start->argc, start->argv, ret_settings, reterr);
    environ = before;
    return rc;
}

static void must_be_in_range(const struct settings *settings)
{
    must(strlen(settings->kafka) >= 1 && strlen(settings->kafka) <= 4096);
    must(settings->batch_records >= -1 && settings->batch_records <= 10000);
    must(strcmp(settings->log_level, "error") == 0 || strcmp(settings->log_level, "warn") == 0 ||
         strcmp(settings->log_level, "info") == 0);
    must(strlen(settings->postgres_uri) <= 40);
    must(settings->pace.count >= 1 && settings->pace.count <= 1000);
    must(settings->pace.window_s >= 1 && settings->pace.window_s <= TW_RATE_WINDOW_MAX_S);
}

/* Their texts are of the call before, so they are spelled out first. */
static void must_say_the_same_alone(const struct settings *settings)
{
    struct start    start = {.argc = 1, .argv = {text_of(TW_STR("fuzz"))}};
    struct settings again, kept = *settings;

    kept.kafka = text_of(tw_str_of(settings->kafka));
    kept.log_level = text_of(tw_str_of(settings->log_level));
    kept.postgres_uri = text_of(tw_str_of(settings->postgres_uri));
    add_argument(&start, text_of(tw_arena_printf(&arena, "--kafka=%s", kept.kafka)));
    add_argument(&start, text_of(tw_arena_printf(&arena, "--batch-records=%" PRId64, kept.batch_records)));
    add_argument(&start, text_of(kept.fast ? TW_STR("--fast") : TW_STR("--fast=off")));
    add_argument(&start, text_of(tw_arena_printf(&arena, "--log-level=%s", kept.log_level)));
    add_argument(&start, text_of(tw_arena_printf(&arena, "--postgres-uri=%s", kept.postgres_uri)));
    add_argument(&start, text_of(tw_arena_printf(&arena, "--pace=%d/%d", kept.pace.count, kept.pace.window_s)));
    must(read_all(&start, &again, NULL) == TW_OK);
    must(!tw_settings_differ(table, &kept, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct tw_str   rest = {(const char *)bytes, len};
    struct start    start = {.argc = 2, .argv = {text_of(TW_STR("fuzz"))}};
    struct settings settings = {0};
    struct tw_err   err = {0};

    start.argv[1] = text_of(tw_arena_printf(&arena, "--config=/proc/self/fd/%d", CONFIG_FD));
    while (rest.len > 0)
        add_line(&start, tw_fuzz_take(&rest, '\n'));
    write_file(&start.file);
    if (read_all(&start, &settings, &err) == TW_OK) {
        must(start.file.len == 0 || !memchr(start.file.ptr, '\0', start.file.len)); /* nothing is cut in silence */
        must_be_in_range(&settings);
        must_say_the_same_alone(&settings);
    } else {
        must(err.rc == TW_INVALID && err.msg[0] != '\0');
    }
    tw_buf_done(&start.file);
    tw_arena_reset(&arena);
    return 0;
}

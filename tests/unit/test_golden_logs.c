/* Links: tw_test tw_replay PkgConfig::SODIUM */
/*
 * Logs that were recorded once fold into what they folded into then, for ever: a released version of a command keeps its
 * behaviour. tests/data/logs/<n>.txt is a log, <n>.sha256 has what `twctl verify` would say of its stores, and how many
 * lines that is of. See the README.md there.
 *
 * TW_WRITE_GOLDEN=1 writes the .sha256 of logs that have none yet.
 */
#include <glob.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "array_source.h"
#include "canonical.h"
#include "cart_domain.h"
#include "fold.h"
#include "fold_store.h"
#include "member_domain.h"
#include "product_domain.h"
#include "scan.h"
#include "text_log.h"
#include "tillwire/gen/topics.h"
#include "tillwire/ledger.h"
#include "unit.h"

#define LOGS "tests/data/logs"

enum { PARTITIONS_MAX = 64, COMMANDS_MAX = 64, CACHE_BYTES = 1 << 20, LINE_BYTES = 128 };

static const atomic_bool             never; /* asked to stop */
static const struct tw_domain *const domains[] = {&tw_member_domain, &tw_product_domain, &tw_cart_domain};

/* One domain's store, folded from a log. */
struct folded {
    const struct tw_domain *domain;
    int32_t                 partition_count;
    struct tw_store         store;
    struct tw_progress      vector[PARTITIONS_MAX];
    size_t                  records;
    size_t                  of_command[COMMANDS_MAX]; /* by place in the domain's commands: records of it */
};

/* --- folding ------------------------------------------------------------------------------------------------------ */

static void count_commands(struct folded *f, const struct tw_test_log *log)
{
    f->records += log->len;
    for (uint32_t i = 0; i < log->len; i++)
        for (size_t k = 0; k < f->domain->command_count; k++)
            f->of_command[k] += tw_str_is(tw_header_find(&log->records[i], TW_H_TYPE), f->domain->commands[k]->ce_type);
}

static void fold_partition(struct folded *f, const char *path, int32_t partition)
{
    const struct tw_topic *topic = tw_topic_of(f->domain->number, TW_TOPIC_COMMANDS);
    struct tw_test_log     log;
    struct tw_array_source array;
    struct tw_source       source;
    struct tw_fold         fold = {
                .config = {.domain = f->domain,
                           .store = &f->store,
                           .partition_count = f->partition_count,
                           .program = "test 1",
                           .silent = true},
                .source = &source,
                .cache_bytes = CACHE_BYTES,
                .sweeps = true,
                .stop = &never,
    };
    struct tw_err err;

    tw_test_log_init(&log, partition, f->partition_count);
    tw_text_log_read(path, topic->name, &log);
    count_commands(f, &log);
    tw_array_source_open(&array, &log, &source);
    assert_rc(
        tw_fold_partition(&fold, partition, (struct tw_fold_end){log.len, INT64_MAX}, &f->vector[partition], &err),
        TW_OK, err);
    tw_test_log_done(&log);
}

static void fold_log(struct folded *f, const struct tw_domain *domain, const char *path)
{
    *f = (struct folded){.domain = domain,
                         .partition_count = tw_topic_of(domain->number, TW_TOPIC_COMMANDS)->partitions};
    assert_true(f->partition_count <= PARTITIONS_MAX && domain->command_count <= COMMANDS_MAX);
    tw_fold_store_open(domain, &f->store);
    for (int32_t p = 0; p < f->partition_count; p++)
        fold_partition(f, path, p);
}

/* --- its hash ----------------------------------------------------------------------------------------------------- */

static void put_line(const struct folded *f, const struct tw_scan_item *item, struct tw_arena *arena,
                     struct tw_buf *line)
{
    int64_t     clock_ms = f->vector[item->partition].clock_ms;
    const void *live;

    tw_buf_clear(line);
    if (item->what == TW_SCAN_ROW) {
        if (tw_ledger_row_counts(item->row, clock_ms))
            tw_canonical_row(item->partition, item->row, line);
        return;
    }
    live = tw_canonical_live(item->type, item->entity->before, clock_ms, arena);
    if (live)
        tw_canonical_entity(item->type, &item->entity->key, live, line);
}

/* "cart 1c9f… of 120 lines": the same hash as `twctl verify` has. */
static void describe(const struct folded *f, char ret_line[LINE_BYTES])
{
    struct tw_scan          *scan = tw_scan_open(f->domain, &f->store, f->vector, f->partition_count);
    struct tw_scan_item      item;
    struct tw_arena          arena = {0};
    struct tw_buf            line = {0};
    crypto_hash_sha256_state hash;
    unsigned char            digest[crypto_hash_sha256_BYTES];
    char                     hex[2 * sizeof(digest) + 1];
    unsigned                 lines = 0;
    struct tw_err            err;

    crypto_hash_sha256_init(&hash);
    for (;;) {
        assert_rc(tw_scan_next(scan, &item, &err), TW_OK, err);
        if (item.what == TW_SCAN_END)
            break;
        tw_arena_reset(&arena);
        put_line(f, &item, &arena, &line);
        if (!line.len)
            continue;
        tw_buf_add(&line, "\n", 1);
        crypto_hash_sha256_update(&hash, (const unsigned char *)line.ptr, line.len);
        lines++;
    }
    crypto_hash_sha256_final(&hash, digest);
    sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest));
    snprintf(ret_line, LINE_BYTES, "%s %s of %u lines\n", f->domain->name, hex, lines);
    tw_scan_close(scan);
    tw_arena_done(&arena);
    tw_buf_done(&line);
}

/* --- all logs ----------------------------------------------------------------------------------------------------- */

static void find_logs(glob_t *ret_found)
{
    assert_int_equal(glob(LOGS "/*.txt", 0, NULL, ret_found), 0); /* fails when there is none */
}

static void describe_all(const char *path, struct tw_buf *out)
{
    for (size_t i = 0; i < TW_LEN(domains); i++) {
        struct folded f;
        char          line[LINE_BYTES];

        fold_log(&f, domains[i], path);
        assert_true(f.records > 0);
        describe(&f, line);
        tw_buf_add_str(out, tw_str_of(line));
        tw_fold_store_close(&f.store);
    }
}

static void sha256_path(const char *path, char ret_path[256])
{
    snprintf(ret_path, 256, "%.*s.sha256", (int)(strlen(path) - strlen(".txt")), path);
}

static void write_once(const char *path, struct tw_str text)
{
    FILE *file = fopen(path, "wxe");

    if (!file)
        return; /* it is there: it never changes */
    assert_int_equal(fwrite(text.ptr, 1, text.len, file), text.len);
    fclose(file);
}

static void assert_kept(const char *path, struct tw_str found)
{
    char  kept[TW_LEN(domains) * LINE_BYTES] = "";
    FILE *file = fopen(path, "re");

    if (!file)
        fail_msg("%s is not there: see " LOGS "/README.md", path);
    kept[fread(kept, 1, sizeof(kept) - 1, file)] = '\0';
    fclose(file);
    if (!tw_str_is(found, kept))
        fail_msg(
            "a recorded log means something else than when it was recorded: a command of a released version keeps\n"
            "its behaviour for ever, so make a new version of it (see " LOGS
            "/README.md).\n%s has\n%sand now it is\n%.*s",
            path, kept, TW_STR_ARG(found));
}

static void recorded_logs_mean_the_same_for_ever(void **state)
{
    glob_t found;

    (void)state;
    find_logs(&found);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct tw_buf text = {0};
        char          path[256];

        describe_all(found.gl_pathv[i], &text);
        sha256_path(found.gl_pathv[i], path);
        if (getenv("TW_WRITE_GOLDEN"))
            write_once(path, tw_buf_str(&text));
        assert_kept(path, tw_buf_str(&text));
        tw_buf_done(&text);
    }
    globfree(&found);
}

static void every_command_is_in_a_recorded_log(void **state)
{
    glob_t found;

    (void)state;
    find_logs(&found);
    for (size_t d = 0; d < TW_LEN(domains); d++) {
        size_t times[COMMANDS_MAX] = {0};

        for (size_t i = 0; i < found.gl_pathc; i++) {
            struct folded f;

            fold_log(&f, domains[d], found.gl_pathv[i]);
            for (size_t k = 0; k < domains[d]->command_count; k++)
                times[k] += f.of_command[k];
            tw_fold_store_close(&f.store);
        }
        for (size_t k = 0; k < domains[d]->command_count; k++)
            if (!times[k])
                fail_msg("%s is in no log of " LOGS ": record one, as its README.md says",
                         domains[d]->commands[k]->ce_type);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_logs_mean_the_same_for_ever),
        cmocka_unit_test(every_command_is_in_a_recorded_log),
    };

    return cmocka_run_group_tests_name("golden_logs", tests, NULL, NULL);
}

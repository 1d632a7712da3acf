/*
 * What a store holds, as one hash, and whether its log says the same. The store is held still while it is read; folding
 * the log, which takes longer, happens before, up to where the store is, and what came meanwhile is folded behind it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "canonical.h"
#include "catch_up.h"
#include "fold_store.h"
#include "freeze.h"
#include "progress_bar.h"
#include "replay.h"
#include "scan.h"
#include "tillwire/clock.h"
#include "tillwire/ledger.h"
#include "tillwire/settings.h"

/* One tells what is wrong, some tell of what kind it is. */
enum { DIFFERENCES_TOLD = 20 };

struct verification {
    const struct tw_replay_domain *domain;
    const struct tw_ctl_settings  *settings;
    int32_t                        partition_count;
    struct tw_store                store;
    struct tw_store                log_store; /* the log, folded; all zero: not asked for */
    struct tw_source               source;
    struct tw_freeze               freeze;
    struct tw_progress            *vector;       /* by partition: where the store was when it was last asked */
    struct tw_progress            *at;           /* beside it: where log_store is */
    bool                           is_published; /* what was left to publish when it was asked */
    FILE                          *dump;         /* NULL: not asked for */
    /* results */
    crypto_hash_sha256_state       hash;
    struct tw_buf                  line;
    struct tw_buf                  other_line;
    struct tw_buf                  told; /* the first differences; a line each */
    struct tw_readers_check        readers;
    struct tw_arena                arena;
    int64_t                        entities, rows, differences;
    int64_t                        ahead; /* records of the log that the store has not folded yet */
};

static void verification_done(struct verification *v)
{
    tw_freeze_done(&v->freeze);
    tw_fold_store_close(&v->log_store);
    free(v->vector);
    free(v->at);
    v->domain->close_store(&v->store);
    if (v->source.close)
        v->source.close(v->source.self);
    if (v->dump)
        fclose(v->dump);
    tw_buf_done(&v->line);
    tw_buf_done(&v->other_line);
    tw_buf_done(&v->told);
    tw_buf_done(&v->readers.findings);
    tw_arena_done(&v->arena);
}

/* --- the log ------------------------------------------------------------------------------------------------------ */

/* Counts a difference; true when it is among the first, which are told. */
static bool is_told(struct verification *v)
{
    return v->differences++ < DIFFERENCES_TOLD;
}

/* Of a store that is held: what counts depends on its clock, and its watermark on the record before it. */
static void compare_progress(struct verification *v, int32_t partition, const struct tw_progress *wanted)
{
    const struct tw_progress *stored = &v->freeze.vector[partition];
    char                      is[TW_TIME_TEXT + 1], should_be[TW_TIME_TEXT + 1];

    if (stored->clock_ms != wanted->clock_ms && is_told(v)) {
        tw_time_format(stored->clock_ms, is);
        tw_time_format(wanted->clock_ms, should_be);
        tw_buf_printf(&v->told, "partition %" PRId32 ": the clock is %s, the log says %s\n", partition, is, should_be);
    }
    if (memcmp(stored->last_hash, wanted->last_hash, sizeof(stored->last_hash)) != 0 && is_told(v))
        tw_buf_printf(&v->told, "partition %" PRId32 ": record %" PRId64 " that was folded is another one in the log\n",
                      partition, stored->next_offset - 1);
}

/* What is held, if anything is yet, stays so. */
static enum tw_rc go_on(void *self, struct tw_err *reterr)
{
    struct verification *v = self;

    if (tw_replay_stop)
        return tw_fail(reterr, TW_UNREACHED, "verify", 0, "interrupted");
    return tw_freeze_renew(&v->freeze, reterr);
}

static int64_t count_behind(const struct verification *v, const struct tw_progress *vector)
{
    int64_t behind = 0;

    for (int32_t p = 0; p < v->partition_count; p++)
        behind += vector[p].next_offset - v->at[p].next_offset;
    return behind;
}

static enum tw_rc fold_up_to(struct verification *v, const struct tw_progress *vector, struct tw_err *reterr)
{
    TW_AUTO(tw_progress_bar_end) struct tw_progress_bar bar = {0};
    struct tw_fold                                      fold;
    atomic_llong                                        folded = 0;

    TW_TRY(tw_replay_fold_config(v->domain, v->settings, &fold, reterr));
    fold.config.store = &v->log_store;
    fold.source = &v->source;
    fold.sweeps = true;
    fold.folded = &folded;
    tw_progress_bar_begin(&bar, v->domain->domain->name, "records", count_behind(v, vector));
    for (int32_t p = 0; p < v->partition_count; p++) {
        struct tw_fold_end end = {vector[p].next_offset, INT64_MAX};

        TW_TRY(tw_fold_partition(&fold, p, end, &v->at[p], reterr));
        tw_progress_bar_show(&bar, folded);
        if (v->freeze.frozen)
            compare_progress(v, p, &v->at[p]);
        TW_TRY(go_on(v, reterr));
    }
    return TW_OK;
}

static enum tw_rc fold_round(void *self, struct tw_err *reterr)
{
    struct verification *v = self;

    return fold_up_to(v, v->vector, reterr);
}

/* The rest is folded while the store is held. A store without a worker can be verified, too. */
static enum tw_rc fold_most(struct verification *v, struct tw_err *reterr)
{
    struct tw_catch_up catch_up = {
        .live = &v->store,
        .partition_count = v->partition_count,
        .vector = v->vector,
        .at = v->at,
        .fold = fold_round,
        .self = v,
    };

    TW_TRY(tw_catch_up(&catch_up, reterr));
    v->is_published = catch_up.is_published;
    return TW_OK;
}

/* What the last commits gave up stands in the dead letters once it is published, where somebody does that. */
static enum tw_rc fold_rest(struct verification *v, struct tw_err *reterr)
{
    enum tw_rc rc = TW_OK;

    if (v->is_published)
        rc = tw_freeze_wait_for_outboxes(&v->freeze, &tw_replay_stop, reterr);
    if (rc != TW_OK && rc != TW_UNREACHED)
        return rc;
    return fold_up_to(v, v->freeze.vector, reterr);
}

/* A store that is behind agrees with its log all the same, also one that is empty: whoever reads the answer should know. */
static enum tw_rc count_ahead(struct verification *v, struct tw_err *reterr)
{
    for (int32_t p = 0; p < v->partition_count; p++) {
        int64_t low, high;

        TW_TRY(v->source.bounds(v->source.self, p, &low, &high, reterr));
        v->ahead += high - v->freeze.vector[p].next_offset;
    }
    return TW_OK;
}

/* --- one record --------------------------------------------------------------------------------------------------- */

/* The line of what counts, into @p line; empty: it has ended. */
static void make_line(struct verification *v, const struct tw_scan_item *item, struct tw_buf *line)
{
    int64_t clock_ms = v->freeze.vector[item->partition].clock_ms;

    tw_buf_clear(line);
    if (item->what == TW_SCAN_ENTITY) {
        const void *live = tw_canonical_live(item->type, item->entity->before, clock_ms, &v->arena);

        if (live)
            tw_canonical_entity(item->type, &item->entity->key, live, line);
    } else if (tw_ledger_row_counts(item->row, clock_ms)) {
        tw_canonical_row(item->partition, item->row, line);
    }
}

static void take_line(struct verification *v, const struct tw_scan_item *item)
{
    if (!v->line.len)
        return;
    if (item->what == TW_SCAN_ENTITY)
        v->entities++;
    else
        v->rows++;
    tw_buf_add(&v->line, "\n", 1);
    crypto_hash_sha256_update(&v->hash, (const unsigned char *)v->line.ptr, v->line.len);
    if (v->dump)
        fwrite(v->line.ptr, 1, v->line.len, v->dump);
}

static void tell_name(const struct tw_scan_item *item, struct tw_buf *out)
{
    char id[TW_UUID_TEXT + 1];

    if (item->what == TW_SCAN_ENTITY) {
        tw_canonical_name(item->type, &item->entity->key, out);
        return;
    }
    tw_uuid_format(item->row->id, id);
    tw_buf_printf(out, "command %s in partition %" PRId32, id, item->partition);
}

static void tell_difference(struct verification *v, const struct tw_scan_item *stored,
                            const struct tw_scan_item *wanted)
{
    static const char other[] = "the log says";

    if (!is_told(v))
        return;
    tell_name(stored, &v->told);
    tw_buf_add_str(&v->told, TW_STR(": "));
    if (stored->what == TW_SCAN_ENTITY) {
        int64_t clock_ms = v->freeze.vector[stored->partition].clock_ms;

        tw_canonical_difference(
            stored->type, tw_canonical_live(stored->type, stored->entity->before, clock_ms, &v->arena),
            tw_canonical_live(wanted->type, wanted->entity->before, clock_ms, &v->arena), other, &v->told);
    } else {
        tw_canonical_row_difference(stored->row, wanted->row, other, &v->told);
    }
    tw_buf_add_str(&v->told, TW_STR("\n"));
}

static void tell_missing(struct verification *v, const struct tw_scan_item *item, const char *what)
{
    if (!is_told(v))
        return;
    tell_name(item, &v->told);
    tw_buf_printf(&v->told, " %s\n", what);
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

/* Both lines are made; an empty one is of something that has ended, or is not there. */
static void compare(struct verification *v, const struct tw_scan_item *stored, const struct tw_scan_item *wanted)
{
    bool has_stored = v->line.len > 0, has_wanted = v->other_line.len > 0;

    if (has_stored && !has_wanted)
        tell_missing(v, stored, "is not in the log");
    else if (!has_stored && has_wanted)
        tell_missing(v, wanted, "is missing");
    else if (!tw_str_eq(tw_buf_str(&v->line), tw_buf_str(&v->other_line)))
        tell_difference(v, stored, wanted);
}

/* Two sorted streams side by side; without a log the other one is empty. */
static enum tw_rc walk(struct verification *v, struct tw_scan *store_scan, struct tw_scan *log_scan,
                       struct tw_err *reterr)
{
    struct tw_scan_item stored, wanted = {.what = TW_SCAN_END};

    TW_TRY(tw_scan_next(store_scan, &stored, reterr));
    if (log_scan)
        TW_TRY(tw_scan_next(log_scan, &wanted, reterr));
    while (stored.what != TW_SCAN_END || wanted.what != TW_SCAN_END) {
        int order = tw_scan_cmp(&stored, &wanted);

        tw_arena_reset(&v->arena);
        tw_buf_clear(&v->line);
        tw_buf_clear(&v->other_line);
        if (order <= 0)
            make_line(v, &stored, &v->line);
        if (order >= 0)
            make_line(v, &wanted, &v->other_line);
        if (log_scan)
            compare(v, &stored, &wanted);
        take_line(v, &stored);
        if (order <= 0)
            TW_TRY(tw_scan_next(store_scan, &stored, reterr));
        if (order >= 0 && log_scan)
            TW_TRY(tw_scan_next(log_scan, &wanted, reterr));
        TW_TRY(go_on(v, reterr));
    }
    return TW_OK;
}

static enum tw_rc walk_both(struct verification *v, struct tw_err *reterr)
{
    struct tw_scan *store_scan = tw_scan_open(v->domain->domain, &v->store, v->freeze.vector, v->partition_count);
    struct tw_scan *log_scan =
        v->log_store.self ? tw_scan_open(v->domain->domain, &v->log_store, v->freeze.vector, v->partition_count) : NULL;
    enum tw_rc rc = walk(v, store_scan, log_scan, reterr);

    tw_scan_close(store_scan);
    tw_scan_close(log_scan);
    return rc;
}

static enum tw_rc check_readers(struct verification *v, struct tw_err *reterr)
{
    v->readers.go_on = go_on;
    v->readers.self = v;
    return v->domain->check_readers ? v->domain->check_readers(&v->store, v->partition_count, &v->readers, reterr)
                                    : TW_OK;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static enum tw_rc look(struct verification *v, struct tw_err *reterr)
{
    TW_TRY(tw_replay_check_live(v->domain, v->settings, &v->store, reterr));
    if (v->settings->against_log) {
        TW_TRY(tw_replay_open_source(v->domain, v->settings, &v->source, reterr));
        tw_fold_store_open(v->domain->domain, &v->log_store);
        v->vector = tw_alloc_zeroed((size_t)v->partition_count, sizeof(*v->vector));
        v->at = tw_alloc_zeroed((size_t)v->partition_count, sizeof(*v->at));
        TW_TRY(fold_most(v, reterr));
    }
    TW_TRY(tw_freeze_take(&v->freeze, &v->store, v->partition_count, "", reterr));
    if (v->settings->against_log)
        TW_TRY(fold_rest(v, reterr));
    TW_TRY(walk_both(v, reterr));
    TW_TRY(check_readers(v, reterr));
    tw_freeze_release(&v->freeze);
    return v->settings->against_log ? count_ahead(v, reterr) : TW_OK;
}

/* The file is made before anything is held, and for its owner only. */
static enum tw_rc open_dump(struct verification *v, struct tw_err *reterr)
{
    const char *path = v->settings->dump;
    int         fd;

    if (!*path)
        return TW_OK;
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0)
        fchmod(fd, 0600); /* one that was there before, too */
    v->dump = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!v->dump)
        return tw_fail(reterr, TW_INVALID, "verify", errno, "cannot write '%s': %s", path, strerror(errno));
    return TW_OK;
}

static enum tw_rc close_dump(struct verification *v, struct tw_err *reterr)
{
    bool failed;

    if (!v->dump)
        return TW_OK;
    failed = ferror(v->dump) | fclose(v->dump);
    v->dump = NULL;
    if (failed)
        return tw_fail(reterr, TW_UNREACHED, "verify", errno, "cannot write '%s' to its end: %s", v->settings->dump,
                       strerror(errno));
    return TW_OK;
}

static void tell_vector(const struct verification *v)
{
    printf("%s: watermarks", v->domain->domain->name);
    for (int32_t p = 0; p < v->partition_count; p++)
        printf(" %" PRId64, v->freeze.vector[p].next_offset);
    printf("\n");
}

static enum tw_ctl_exit tell(struct verification *v)
{
    const char   *name = v->domain->domain->name;
    unsigned char digest[crypto_hash_sha256_BYTES];
    char          hex[2 * sizeof(digest) + 1];

    crypto_hash_sha256_final(&v->hash, digest);
    tw_hex_format(digest, sizeof(digest), hex);
    tell_vector(v);
    printf("%s: sha256 %s of %" PRId64 " aggregates and %" PRId64 " remembered commands\n", name, hex, v->entities,
           v->rows);
    if (v->domain->check_readers)
        printf("%s: what readers see was compared for %" PRId64 " aggregates, %" PRId64 " differences\n", name,
               v->readers.compared, v->readers.count);
    tw_ctl_print_lines(name, tw_buf_str(&v->readers.findings));
    tw_ctl_print_lines(name, tw_buf_str(&v->told));
    if (v->differences)
        printf("%s: %" PRId64 " of %" PRId64 " differ from the log\n", name, v->differences, v->entities + v->rows);
    else if (v->settings->against_log)
        printf("%s: the log says the same of all %" PRId64 "\n", name, v->entities + v->rows);
    if (v->ahead > 0)
        printf("%s: the log goes on: %" PRId64 " records behind these watermarks are not folded yet\n", name, v->ahead);
    return v->differences || v->readers.count ? TW_CTL_REFUSED : TW_CTL_DONE;
}

static enum tw_ctl_exit verify(const struct tw_replay_domain *domain, const struct tw_ctl_settings *settings)
{
    const char   *uri = tw_replay_uri(domain, settings);
    struct tw_err err;
    enum tw_rc    rc;
    TW_AUTO(verification_done)
    struct verification v = {
        .domain = domain, .settings = settings, .partition_count = tw_replay_partition_count(domain)};

    if (!uri)
        return TW_CTL_USAGE;
    crypto_hash_sha256_init(&v.hash);
    rc = open_dump(&v, &err);
    if (rc == TW_OK)
        rc = tw_replay_open_store(domain, settings, uri, &v.store, &err);
    if (rc == TW_OK)
        rc = look(&v, &err);
    if (rc == TW_OK)
        rc = close_dump(&v, &err);
    return rc == TW_OK ? tell(&v) : tw_ctl_failed(domain->domain->name, &err);
}

enum tw_ctl_exit tw_replay_verify(const struct tw_ctl_settings *settings)
{
    enum tw_ctl_exit worst = TW_CTL_DONE;

    if (*settings->log_folder && !settings->against_log) {
        fprintf(stderr, "twctl: log_folder is read with against_log only: give that, too\n");
        return TW_CTL_USAGE;
    }
    if (strcmp(settings->argument, "all") != 0) {
        const struct tw_replay_domain *domain =
            tw_replay_domain_find(settings->argument, "member, product, cart or all");

        return domain ? verify(domain, settings) : TW_CTL_USAGE;
    }
    if (*settings->dump) {
        fprintf(stderr, "twctl: a dump is of one domain: verify " TW_REPLAY_DOMAINS "\n");
        return TW_CTL_USAGE;
    }
    for (size_t i = 0; i < tw_replay_domain_count && !tw_replay_stop; i++) {
        enum tw_ctl_exit of_this = verify(&tw_replay_domains[i], settings);

        worst = of_this > worst ? of_this : worst;
    }
    return worst;
}

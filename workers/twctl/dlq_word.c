/*
 * `twctl dlq requeue` and `twctl dlq drop`: an operator's word on dead letters. It is written into the command log, and
 * the worker decides. Ended at any point nothing is half done: what is written will be decided, the rest is open, and the
 * same words go on from there. Two operators at once do no harm for the same reason: of two requeues of one dead letter
 * the worker takes the first, and to the second it is no longer open.
 */
#include <inttypes.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dlq_choice.h"
#include "dlq_follow.h"
#include "dlq_lines.h"
#include "dlq_write.h"

struct word {
    const struct tw_ctl_settings *settings;
    bool                          is_drop;
    struct tw_arena               arena;
    struct tw_dlq_wish            wish;
    struct tw_operator_word       operator_word;
    struct tw_dlq_log             log;
    struct tw_dlq_writer          writer;
    struct tw_dlq_follow          follow;
    struct tw_err                 err; /* why it ended early */
};

static void word_done(struct word *word)
{
    tw_dlq_writer_close(&word->writer);
    tw_dlq_follow_done(&word->follow);
    tw_dlq_log_close(&word->log);
    tw_arena_done(&word->arena);
}

/* --- what is said ------------------------------------------------------------------------------------------------- */

static enum tw_rc read_selection(struct word *word, struct tw_err *reterr)
{
    const struct tw_ctl_settings *settings = word->settings;
    int said = !!*settings->record + !!*settings->reason + !!*settings->key + settings->all_open;

    if (said != 1)
        return tw_fail(reterr, TW_INVALID, "twctl.dlq", 0,
                       "say which ones: one of --record NAME[,NAME...], --reason REASON, --key KEY, --all-open");
    word->wish = (struct tw_dlq_wish){
        .reason = settings->reason, .key = settings->key, .max_attempts = word->is_drop ? 0 : settings->max_attempts};
    TW_TRY(tw_dlq_domain_parse(settings->argument, &word->wish.domain, reterr));
    TW_TRY(tw_dlq_reason_check(settings->reason, reterr));
    return tw_dlq_names_parse(settings->record, word->wish.domain, &word->arena, &word->wish, reterr);
}

static enum tw_rc read_operator(struct word *word, struct tw_err *reterr)
{
    const struct passwd *user = *word->settings->operator_name ? NULL : getpwuid(getuid());
    const char          *name = user ? user->pw_name : word->settings->operator_name;

    if (!*name)
        return tw_fail(reterr, TW_INVALID, "twctl.dlq", 0, "you have no login name: say who you are, --operator NAME");
    if (word->is_drop && !*word->settings->because)
        return tw_fail(reterr, TW_INVALID, "twctl.dlq", 0,
                       "a dropped command is never carried out: say why, --because TEXT");
    word->operator_word.asked_by = tw_arena_copy(&word->arena, tw_str_of(name));
    word->operator_word.because = tw_str_of(word->settings->because);
    if (!tw_str_is_utf8(word->operator_word.asked_by) || !tw_str_is_utf8(word->operator_word.because))
        return tw_fail(reterr, TW_INVALID, "twctl.dlq", 0, "--operator and --because must be UTF-8");
    return TW_OK;
}

static enum tw_rc read_and_choose(struct word *word, size_t *ret_chosen, struct tw_err *reterr)
{
    TW_TRY(read_selection(word, reterr));
    TW_TRY(read_operator(word, reterr));
    TW_TRY(tw_dlq_log_open(word->settings, &word->log, reterr));
    TW_TRY(tw_dlq_log_read(&word->log, word->wish.domain, reterr));
    *ret_chosen = tw_dlq_choose(&word->log.book, &word->wish);
    return TW_OK;
}

/* --- what is done ------------------------------------------------------------------------------------------------- */

static enum tw_rc run_round(struct word *word, size_t chosen, struct tw_err *reterr)
{
    word->writer.all = (int64_t)chosen;
    TW_TRY(tw_dlq_write(&word->writer, reterr));
    return word->settings->no_wait ? TW_OK : tw_dlq_follow(&word->follow, reterr);
}

/* A drop is no reason to carry out what waited behind it. */
static size_t choose_next(struct word *word)
{
    return word->is_drop || word->settings->no_wait ? 0
                                                    : tw_dlq_choose_behind(&word->log.book, word->wish.max_attempts);
}

static void on_signal(int number)
{
    (void)number;
    tw_dlq_stop = 1;
}

/* Whoever asks a second time does not wait for the end in order. */
static void listen_to_signals(void)
{
    const struct sigaction stop = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
}

static enum tw_rc run_rounds(struct word *word, size_t chosen, struct tw_err *reterr)
{
    listen_to_signals();
    word->writer.log = &word->log;
    word->writer.domain = word->wish.domain;
    word->writer.is_drop = word->is_drop;
    word->writer.word = word->operator_word;
    TW_TRY(tw_dlq_follow_begin(&word->follow, &word->log, word->wish.domain, reterr));
    TW_TRY(tw_dlq_writer_open(&word->writer, reterr));
    for (int64_t round = 1; chosen; round++) {
        TW_TRY(run_round(word, chosen, reterr));
        chosen = round < word->settings->max_rounds ? choose_next(word) : 0;
    }
    return TW_OK;
}

/* --- what is told ------------------------------------------------------------------------------------------------- */

static size_t count_fate(const struct word *word, enum tw_dlq_fate fate)
{
    size_t count = 0;

    for (size_t i = 0; i < word->log.book.count; i++)
        count += word->log.book.letters[i]->fate == fate;
    return count;
}

static size_t count_unknown(const struct word *word)
{
    size_t count = 0;

    for (size_t i = 0; i < word->wish.place_count; i++) {
        const struct tw_dlq_place *place = &word->wish.places[i];

        count += !tw_dlq_book_find(&word->log.book, place->domain, place->partition, place->first_offset);
    }
    return count;
}

static enum tw_ctl_exit tell_fates(const struct word *word)
{
    TW_AUTO(tw_buf_done) struct tw_buf out = {.max_bytes = (size_t)1 << 30};

    tw_dlq_add_fates(&word->log.book, &word->wish, word->settings->dry_run, word->settings->json, &out);
    if (out.overflow) {
        fprintf(stderr, "twctl: more than can be shown at once: `twctl dlq list --all` has what became of them\n");
        return TW_CTL_REFUSED;
    }
    fwrite(out.ptr, 1, out.len, stdout);
    return TW_CTL_DONE;
}

static enum tw_ctl_exit tell_plan(const struct word *word, size_t chosen, size_t refused, size_t behind)
{
    fprintf(stderr, "%s: %zu would be %s, %zu refused; %zu wait behind them%s. Nothing was written.\n",
            word->settings->argument, chosen, word->is_drop ? "dropped" : "requeued", refused, behind,
            behind && !word->is_drop && word->settings->max_rounds > 1 ? " and would follow" : "");
    return refused ? TW_CTL_REFUSED : TW_CTL_DONE;
}

static enum tw_ctl_exit exit_of(const struct word *word, size_t unsettled, size_t behind)
{
    if (word->err.rc != TW_OK)
        return tw_ctl_failed(word->settings->argument, &word->err);
    if (unsettled)
        return TW_CTL_REFUSED;
    return behind && !word->is_drop && word->settings->max_rounds > 1 ? TW_CTL_REFUSED : TW_CTL_DONE;
}

/* Who does not wait is done when all is written; what follows from it is nobody's to say yet. */
static enum tw_ctl_exit tell_written(const struct word *word, size_t refused, size_t behind)
{
    size_t unwritten = count_fate(word, TW_DLQ_CHOSEN);

    fprintf(stderr, "%s: %zu written for the worker to decide, %zu not, %zu refused; %zu wait behind them\n",
            word->settings->argument, count_fate(word, TW_DLQ_WRITTEN), unwritten, refused, behind);
    return exit_of(word, refused + unwritten, 0);
}

/* All that was meant is settled, and nothing waits behind it any more: only then it is done. */
static enum tw_ctl_exit tell_settled(const struct word *word, size_t refused, size_t behind)
{
    size_t failed = count_fate(word, TW_DLQ_FAILED) + count_fate(word, TW_DLQ_NOT_HEARD);
    size_t undecided = count_fate(word, TW_DLQ_WRITTEN) + count_fate(word, TW_DLQ_CHOSEN);

    fprintf(stderr, "%s: %zu settled, %zu failed again or wait, %zu undecided, %zu refused; %zu wait behind them\n",
            word->settings->argument, count_fate(word, TW_DLQ_SETTLED), failed, undecided, refused, behind);
    return exit_of(word, refused + failed + undecided, behind);
}

/* Also when it is said again after all is settled; a mistyped key should not look like that. */
static enum tw_ctl_exit tell_nothing(const struct word *word)
{
    fprintf(stderr, "%s: nothing to do: none that is open is meant; `twctl dlq list %s --each` shows those that are\n",
            word->settings->argument, word->settings->argument);
    return TW_CTL_DONE;
}

static enum tw_ctl_exit tell_end(const struct word *word, size_t chosen)
{
    size_t refused = count_fate(word, TW_DLQ_REFUSED) + count_unknown(word);
    size_t behind = tw_dlq_left_behind(&word->log.book);

    if (!chosen && !refused)
        return tell_nothing(word);
    if (word->settings->dry_run)
        return tell_plan(word, chosen, refused, behind);
    return word->settings->no_wait ? tell_written(word, refused, behind) : tell_settled(word, refused, behind);
}

static enum tw_ctl_exit say(const struct tw_ctl_settings *settings, bool is_drop)
{
    TW_AUTO(word_done) struct word word = {.settings = settings, .is_drop = is_drop};
    struct tw_err                  err = {0};
    size_t                         chosen = 0;
    enum tw_ctl_exit               told;

    if (read_and_choose(&word, &chosen, &err) != TW_OK)
        return tw_ctl_failed(NULL, &err);
    if (!settings->dry_run && chosen && run_rounds(&word, chosen, &err) != TW_OK)
        word.err = err;
    told = tell_fates(&word);
    if (told != TW_CTL_DONE)
        return told;
    return tell_end(&word, chosen);
}

enum tw_ctl_exit tw_ctl_dlq_requeue(const struct tw_ctl_settings *settings)
{
    return say(settings, false);
}

enum tw_ctl_exit tw_ctl_dlq_drop(const struct tw_ctl_settings *settings)
{
    return say(settings, true);
}

#include "torture.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sysexits.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_do_recoverable_leak_check() 0
#endif

enum {
    PLACES = 25,
    PLACES_OF_ALL = 2500, /* with TW_TORTURE=all */
    HANGS_S = 300,        /* a process that is not done by then never will be */
    EFFECTS_MAX = 64,
};

static const uint64_t seed = 20261127;

/* What a process leaves; in memory that outlives it. */
struct left {
    struct tw_alloc_tally tally;
    bool                  finished;
    bool                  leaked;
    enum tw_rc            rc;
    struct tw_err         err;
    uint64_t              answer;
    uint64_t              effects[EFFECTS_MAX];
    size_t                effect_count;
    uint64_t              remains; /* found by the process that waited */
};

/* One process: which allocation fails. */
struct trial {
    const struct tw_torture *torture;
    uint64_t                 nth; /* 0: none */
    bool                     onward;
};

struct counts {
    uint64_t trials, exits, errors, unmoved;
};

static struct left    *left; /* of the trial that runs */
static struct tw_child child;

uint64_t tw_torture_digest(uint64_t digest, struct tw_str bytes)
{
    digest = digest ? digest : UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < bytes.len; i++)
        digest = (digest ^ (unsigned char)bytes.ptr[i]) * UINT64_C(0x100000001b3);
    return digest;
}

void tw_torture_answer(struct tw_str part)
{
    uint64_t len = part.len;

    if (!left) /* the test does once more what the scenario did, outside of it */
        return;
    left->answer = tw_torture_digest(left->answer, (struct tw_str){(const char *)&len, sizeof(len)});
    left->answer = tw_torture_digest(left->answer, part);
}

void tw_torture_effect(struct tw_str image)
{
    if (!left)
        return;
    assert(left->effect_count < EFFECTS_MAX);
    left->effects[left->effect_count++] = tw_torture_digest(0, image);
}

/* --- one trial ---------------------------------------------------------------------------------------------------- */

static void play(const struct trial *trial)
{
    const struct tw_torture *torture = trial->torture;
    void                    *world = torture->before ? torture->before() : NULL;

    tw_alloc_plan_begin(trial->nth, trial->onward, &left->tally);
    left->rc = torture->run(world, &left->err);
    tw_alloc_plan_end();
    if (torture->after)
        torture->after(world);
}

static int play_apart(void *arg)
{
    static const int crashes[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL};

    /* cmocka would go on with the next test, here. */
    for (size_t i = 0; i < TW_LEN(crashes); i++)
        signal(crashes[i], SIG_DFL);
    alarm(HANGS_S);
    play(arg);
    left->finished = true;
    /* At the end of the process it would take its time with each of thousands. */
    left->leaked = left->tally.failed > 0 && __lsan_do_recoverable_leak_check() != 0;
    fflush(NULL);
    _exit(0);
}

static void try(const struct trial *trial, struct left *ret_left)
{
    struct trial copy = *trial;

    memset(left, 0, sizeof(*left));
    tw_child_run(play_apart, &copy, &child);
    *ret_left = *left;
    ret_left->remains = trial->torture->remains ? trial->torture->remains() : 0;
}

/* --- judging ------------------------------------------------------------------------------------------------------ */

/* As far as it came, it did what it does when nothing fails. */
static bool effects_are_whole(const struct left *found, const struct left *wanted)
{
    return found->effect_count <= wanted->effect_count &&
           memcmp(found->effects, wanted->effects, found->effect_count * sizeof(*found->effects)) == 0;
}

static bool is_same_answer(const struct left *found, const struct left *wanted)
{
    return found->rc == wanted->rc && found->answer == wanted->answer &&
           (found->rc == TW_OK || strcmp(found->err.msg, wanted->err.msg) == 0);
}

/* A verdict on what was given, unless it says that memory was missing. */
static bool is_verdict(const struct left *found)
{
    enum tw_action action = tw_rc_action(found->rc);

    return (action == TW_REFUSE_RECORD || action == TW_BISECT) && !strstr(found->err.msg, strerror(ENOMEM));
}

static const char *judge_exit(const struct left *wanted, struct counts *counts)
{
    (void)wanted;
    counts->exits++;
    return strstr(child.err, "out of memory") ? NULL : "it exited without the line that says why";
}

static const char *judge_end(const struct left *found, const struct left *wanted, struct counts *counts)
{
    if (is_same_answer(found, wanted)) {
        counts->unmoved++;
        return found->effect_count == wanted->effect_count && found->remains == wanted->remains
                   ? NULL
                   : "it gave the answer without the effect";
    }
    counts->errors++;
    if (found->rc == TW_OK || found->rc == wanted->rc)
        return "it gave another answer";
    if (found->err.rc != found->rc || found->err.msg[0] == '\0')
        return "it gave an error without a sentence";
    return is_verdict(found) ? "it gave a verdict on good input" : NULL;
}

/* NULL: as it must be. */
static const char *judge(const struct left *found, const struct left *begun, const struct left *wanted,
                         struct counts *counts)
{
    counts->trials++;
    if (found->leaked)
        return "it leaked";
    if (!effects_are_whole(found, wanted) || (found->remains != begun->remains && found->remains != wanted->remains))
        return "half an effect remains";
    if (child.exit_code == EX_OSERR)
        return judge_exit(wanted, counts);
    if (child.exit_code != 0 || !found->finished)
        return "it crashed";
    return judge_end(found, wanted, counts);
}

static void tell(const struct trial *trial, const struct left *found, const char *complaint)
{
    fail_msg("%s, allocation %" PRIu64 "%s fails: %s (exit code %d, %s: %s)\n%s", trial->torture->name, trial->nth,
             trial->onward ? " and all behind it" : "", complaint, child.exit_code,
             found->finished ? tw_rc_name(found->rc) : "unfinished", found->err.msg, child.err);
}

/* --- walking ------------------------------------------------------------------------------------------------------ */

/* False: there was no such allocation, the scenario made fewer. */
static bool step(const struct trial *trial, const struct left *begun, const struct left *wanted, struct counts *counts)
{
    struct left found;
    const char *complaint;

    try(trial, &found);
    complaint = found.tally.failed == 0 && is_same_answer(&found, wanted) ? NULL : judge(&found, begun, wanted, counts);
    if (complaint)
        tell(trial, &found, complaint);
    return found.tally.failed > 0;
}

static uint64_t part_of(const struct tw_torture *torture)
{
    const char *wish = getenv("TW_TORTURE");

    if (wish && strcmp(wish, "all") == 0)
        return PLACES_OF_ALL;
    return torture->places ? torture->places : PLACES;
}

static bool walks_all(const struct tw_torture *torture, uint64_t places)
{
    return places <= 2 * part_of(torture);
}

static void walk(const struct tw_torture *torture, bool onward, const struct left *begun, const struct left *wanted,
                 struct counts *counts)
{
    struct trial trial = {.torture = torture, .onward = onward};
    uint64_t     places = wanted->tally.asked;
    bool         all = walks_all(torture, places);
    uint64_t     part = part_of(torture);
    uint64_t     random = seed;

    for (trial.nth = 1; all || trial.nth <= part; trial.nth++)
        if (!step(&trial, begun, wanted, counts))
            return;
    for (uint64_t i = 0; i < part; i++) {
        trial.nth = part + 1 + tw_random(&random) % (places - part);
        step(&trial, begun, wanted, counts);
    }
}

/* What it comes to when nothing fails, and what there is before: `remains` of a trial that does nothing. */
static void play_unharmed(const struct tw_torture *torture, struct left *ret_begun, struct left *ret_wanted)
{
    struct trial trial = {.torture = torture};

    memset(left, 0, sizeof(*left));
    if (torture->warm)
        play(&trial);
    *ret_begun = (struct left){.remains = torture->remains ? torture->remains() : 0};
    if (torture->warm && torture->remains)
        ret_begun->remains = torture->remains(); /* the first told of what warming left */
    try(&trial, ret_wanted);
    if (child.exit_code != 0 || !ret_wanted->finished || ret_wanted->rc != torture->gives)
        fail_msg("%s when nothing fails: exit code %d, %s: %s\n%s", torture->name, child.exit_code,
                 tw_rc_name(ret_wanted->rc), ret_wanted->err.msg, child.err);
    if (ret_wanted->tally.asked == 0)
        fail_msg("%s allocates nothing, so nothing can fail", torture->name);
}

/* Where TW_REPORT names a file, there, too. */
static void tell_counts(const struct tw_torture *torture, uint64_t places, const struct counts *counts)
{
    const char *path = getenv("TW_REPORT");
    FILE       *report = path ? fopen(path, "ae") : NULL;
    char        text[400];

    snprintf(text, sizeof(text),
             "%s: %" PRIu64 " allocations; one failed in each of %" PRIu64 " processes%s: %" PRIu64
             " ended cleanly, %" PRIu64 " gave a clear error, %" PRIu64 " did without",
             torture->name, places, counts->trials, walks_all(torture, places) ? "" : ", chosen from seed 20261127",
             counts->exits, counts->errors, counts->unmoved);
    print_message("%s\n", text);
    if (!report)
        return;
    fprintf(report, "%s\n", text);
    fclose(report);
}

void tw_torture(const struct tw_torture *torture)
{
    struct counts counts = {0};
    struct left   begun, wanted;

    left = mmap(NULL, sizeof(*left), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(left, MAP_FAILED);
    play_unharmed(torture, &begun, &wanted);
    walk(torture, false, &begun, &wanted, &counts);
    walk(torture, true, &begun, &wanted, &counts);
    assert_true(counts.trials > 0);
    tell_counts(torture, wanted.tally.asked, &counts);
    munmap(left, sizeof(*left));
    left = NULL;
}

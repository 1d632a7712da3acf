/* Links: tw_torture tw_test tw_fold tw_member_domain tw_product_domain tw_cart_domain */
/*
 * Turns of the loop, with failing allocations: recorded logs (tests/data/logs) are folded into the store in memory. The
 * store is not what is tried here, so what it allocates itself does not fail; each of its commits is an effect, and each
 * has to be the one that is due when nothing fails.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cart_domain.h"
#include "member_domain.h"
#include "memory_store.h"
#include "outbox.h"
#include "product_domain.h"
#include "text_log.h"
#include "tillwire/gen/topics.h"
#include "torture.h"
#include "turn.h"

enum { BATCH = 20, RECORDS_MAX = 100, PARTITIONS_MAX = 16, CACHE_BYTES = 1 << 20 };

/* --- the log ------------------------------------------------------------------------------------------------------ */

static const struct tw_domain *domain; /* of the scenario */
static int32_t                 partition_count;
static struct tw_test_log      logs[PARTITIONS_MAX];

static void read_log(const struct tw_domain *of, const char *path)
{
    domain = of;
    partition_count = tw_topic_of(domain->number, TW_TOPIC_COMMANDS)->partitions;
    assert_true(partition_count <= PARTITIONS_MAX);
    for (int32_t p = 0; p < partition_count; p++) {
        tw_test_log_init(&logs[p], p, partition_count);
        tw_text_log_read(path, tw_topic_of(domain->number, TW_TOPIC_COMMANDS)->name, &logs[p]);
    }
}

static void forget_log(void)
{
    for (int32_t p = 0; p < partition_count; p++)
        tw_test_log_done(&logs[p]);
}

/* --- the store ---------------------------------------------------------------------------------------------------- */

static struct tw_store memory; /* what stands behind the one of the turn */

static enum tw_rc load(void *self, int32_t partition, int64_t first_offset, struct tw_load *wanted,
                       struct tw_arena *arena, struct tw_err *reterr)
{
    enum tw_rc rc;

    tw_alloc_plan_pause();
    rc = memory.load(self, partition, first_offset, wanted, arena, reterr);
    tw_alloc_plan_resume();
    return rc;
}

static enum tw_rc commit(void *self, const struct tw_changes *changes, struct tw_err *reterr)
{
    TW_AUTO(tw_buf_done) struct tw_buf image = {0};
    enum tw_rc                         rc;

    tw_alloc_plan_pause();
    rc = memory.commit(self, changes, reterr);
    tw_memory_dump(tw_memory_store_db(&memory), &image);
    tw_torture_effect(tw_buf_str(&image));
    tw_alloc_plan_resume();
    return rc;
}

/* --- turns -------------------------------------------------------------------------------------------------------- */

static void *open_store(void)
{
    struct tw_store *store = tw_alloc(sizeof(*store));

    tw_memory_store_open(domain, &memory);
    *store = memory;
    store->load = load;
    store->commit = commit;
    return store;
}

static void close_store(void *world)
{
    tw_memory_store_close(&memory);
    free(world);
}

static enum tw_rc answer_outbox(const struct tw_turn *turn, struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_outbox_record               *records;
    size_t                                 count;

    TW_TRY(
        tw_outbox_render(turn->changes.after.outbox, domain->name, turn->partition, &arena, &records, &count, reterr));
    for (size_t i = 0; i < count; i++)
        tw_torture_answer(records[i].value);
    return TW_OK;
}

static enum tw_rc run_turn(struct tw_turn *turn, struct tw_cache *cache, struct tw_err *reterr)
{
    tw_turn_decode(turn);
    TW_TRY(tw_turn_load(turn, cache, reterr));
    tw_turn_decide(turn);
    TW_TRY(tw_turn_commit(turn, cache, reterr));
    return answer_outbox(turn, reterr);
}

static void free_cache(struct tw_cache **cache)
{
    tw_cache_free(*cache);
}

static enum tw_rc fold_partition(const struct tw_turn_config *config, const struct tw_test_log *log,
                                 struct tw_err *reterr)
{
    TW_AUTO(free_cache) struct tw_cache   *cache = tw_cache_new(CACHE_BYTES);
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_progress                     progress = {0};
    uint32_t                               end = log->len < RECORDS_MAX ? log->len : RECORDS_MAX;

    while ((uint32_t)progress.next_offset < end) {
        uint32_t left = end - (uint32_t)progress.next_offset;
        TW_AUTO(tw_turn_done)
        struct tw_turn turn = {.config = config,
                               .arena = &arena,
                               .partition = log->partition,
                               .before = progress,
                               .records = log->records + progress.next_offset,
                               .record_count = left < BATCH ? left : BATCH};

        TW_TRY(run_turn(&turn, cache, reterr));
        progress = turn.changes.after;
        progress.outbox = (struct tw_str){NULL, 0}; /* the next commit forgets it */
        tw_arena_reset(&arena);
    }
    return TW_OK;
}

static enum tw_rc fold_log(void *world, struct tw_err *reterr)
{
    struct tw_turn_config config = {
        .domain = domain, .store = world, .partition_count = partition_count, .program = "test 1"};

    for (int32_t p = 0; p < partition_count; p++)
        TW_TRY(fold_partition(&config, &logs[p], reterr));
    return TW_OK;
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static bool is_there(const char *ce_type)
{
    for (int32_t p = 0; p < partition_count; p++)
        for (uint32_t i = 0; i < logs[p].len && i < RECORDS_MAX; i++)
            if (tw_str_is(tw_header_find(&logs[p].records[i], TW_H_TYPE), ce_type))
                return true;
    return false;
}

static void walk(const struct tw_domain *of, const char *name)
{
    static const char *const paths[] = {"tests/data/logs/1-day.txt", "tests/data/logs/1-limits.txt"};
    bool                     seen[64] = {false};

    assert_true(of->command_count <= TW_LEN(seen));
    for (size_t i = 0; i < TW_LEN(paths); i++) {
        read_log(of, paths[i]);
        for (size_t k = 0; k < of->command_count; k++)
            seen[k] |= is_there(of->commands[k]->ce_type);
        tw_torture(&(struct tw_torture){.name = name, .before = open_store, .run = fold_log, .after = close_store});
        forget_log();
    }
    for (size_t k = 0; k < of->command_count; k++)
        if (!seen[k])
            fail_msg("%s is in no turn", of->commands[k]->ce_type);
}

static void member_turns__are_whole_or_nothing(void **state)
{
    (void)state;
    walk(&tw_member_domain, "turns of members");
}

static void product_turns__are_whole_or_nothing(void **state)
{
    (void)state;
    walk(&tw_product_domain, "turns of products");
}

static void cart_turns__are_whole_or_nothing(void **state)
{
    (void)state;
    walk(&tw_cart_domain, "turns of carts");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(member_turns__are_whole_or_nothing),
        cmocka_unit_test(product_turns__are_whole_or_nothing),
        cmocka_unit_test(cart_turns__are_whole_or_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

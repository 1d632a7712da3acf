/*
 * The store that a log is folded into without a server (workers/replay/fold_store.c) under the contract suite, with the
 * states of all three domains. It has one handle and no faults: handles of the suite all lead to it, and what goes lost is
 * lost on the way there.
 */
#include <stdlib.h>

#include "fold_store.h"
#include "sample_states.h"
#include "store_contract.h"
#include "tillwire/ledger.h"
#include "unit.h"

enum { PARTITIONS = 4, ITEMS_MAX = 8192 };

enum lost { LOST_NOTHING, LOST_ANSWER, LOST_REQUEST };

/* All that it holds; read and put back through the port. */
struct image {
    struct tw_arena       arena;
    struct tw_progress    progress[PARTITIONS];
    struct tw_entity     *entities;
    size_t                entity_count;
    struct tw_ledger_row *rows[PARTITIONS];
    size_t                row_count[PARTITIONS];
};

static const struct tw_domain *domain;
static struct tw_store         store;
static enum lost               lose_next;
static struct image            image;

static enum lost take_lost(void)
{
    enum lost lost = lose_next;

    lose_next = LOST_NOTHING;
    return lost;
}

static enum tw_rc tell_lost(struct tw_err *reterr)
{
    return tw_fail(reterr, TW_UNKNOWN, "test.fold", 0, "lost on the way");
}

/* --- a handle ----------------------------------------------------------------------------------------------------- */

static enum tw_rc handle_watermark(void *self, int32_t partition, struct tw_arena *arena,
                                   struct tw_progress *ret_progress, struct tw_err *reterr)
{
    (void)self;
    return store.watermark(store.self, partition, arena, ret_progress, reterr);
}

static enum tw_rc handle_load(void *self, int32_t partition, int64_t first_offset, struct tw_load *load,
                              struct tw_arena *arena, struct tw_err *reterr)
{
    (void)self;
    return store.load(store.self, partition, first_offset, load, arena, reterr);
}

static enum tw_rc handle_commit(void *self, const struct tw_changes *changes, struct tw_err *reterr)
{
    enum lost  lost = take_lost();
    enum tw_rc rc;

    (void)self;
    if (lost == LOST_REQUEST)
        return tell_lost(reterr);
    rc = store.commit(store.self, changes, reterr);
    return lost == LOST_ANSWER ? tell_lost(reterr) : rc;
}

static void handle_abandon(void *self, int32_t partition)
{
    (void)self;
    store.abandon(store.self, partition);
}

static enum tw_rc handle_forget_outbox(void *self, int32_t partition, int64_t next_offset, struct tw_err *reterr)
{
    (void)self;
    return store.forget_outbox(store.self, partition, next_offset, reterr);
}

static enum tw_rc handle_sweep(void *self, int32_t partition, int64_t next_offset, int64_t clock_ms,
                               struct tw_err *reterr)
{
    (void)self;
    return store.sweep(store.self, partition, next_offset, clock_ms, reterr);
}

static void handle_release(void *self, int32_t partition)
{
    (void)self;
    store.release(store.self, partition);
}

static enum tw_rc handle_set_mark(void *self, int32_t partition, int64_t next_offset, int64_t from, int64_t to,
                                  struct tw_err *reterr)
{
    enum lost  lost = take_lost();
    enum tw_rc rc;

    (void)self;
    if (lost == LOST_REQUEST)
        return tell_lost(reterr);
    rc = store.set_mark(store.self, partition, next_offset, from, to, reterr);
    return lost == LOST_ANSWER ? tell_lost(reterr) : rc;
}

static enum tw_rc handle_list(void *self, uint32_t kind, bool from_start, struct tw_key *ret_keys, size_t max,
                              size_t *ret_count, struct tw_err *reterr)
{
    (void)self;
    return store.list(store.self, kind, from_start, ret_keys, max, ret_count, reterr);
}

static enum tw_rc handle_list_rows(void *self, int32_t partition, bool from_start, struct tw_uuid *ret_ids, size_t max,
                                   size_t *ret_count, struct tw_err *reterr)
{
    (void)self;
    return store.list_rows(store.self, partition, from_start, ret_ids, max, ret_count, reterr);
}

static void fold_open(void *self, struct tw_store *ret_store)
{
    (void)self;
    *ret_store = (struct tw_store){
        .watermark = handle_watermark,
        .load = handle_load,
        .commit = handle_commit,
        .abandon = handle_abandon,
        .forget_outbox = handle_forget_outbox,
        .sweep = handle_sweep,
        .release = handle_release,
        .set_mark = handle_set_mark,
        .list = handle_list,
        .list_rows = handle_list_rows,
    };
}

static void fold_close(void *self, struct tw_store *handle)
{
    (void)self;
    *handle = (struct tw_store){0};
}

/* --- losses and backups ------------------------------------------------------------------------------------------- */

static void fold_connect(void *self, const char *uri)
{
    (void)self;
    (void)uri;
    tw_fold_store_open(domain, &store);
}

static void fold_wipe(void *self)
{
    (void)self;
    tw_fold_store_close(&store);
    tw_fold_store_open(domain, &store);
}

static void must(enum tw_rc rc)
{
    assert_string_equal(tw_rc_name(rc), tw_rc_name(TW_OK));
}

static void take_entities(uint32_t kind)
{
    static struct tw_key keys[ITEMS_MAX];
    struct tw_load       load = {.entities = image.entities + image.entity_count};

    must(store.list(store.self, kind, true, keys, ITEMS_MAX, &load.entity_count, NULL));
    assert_true(image.entity_count + load.entity_count < ITEMS_MAX);
    for (size_t i = 0; i < load.entity_count; i++)
        load.entities[i] = (struct tw_entity){.key = keys[i]};
    must(store.load(store.self, 0, image.progress[0].next_offset, &load, &image.arena, NULL));
    image.entity_count += load.entity_count;
}

static void take_partition(int32_t partition)
{
    static struct tw_uuid ids[ITEMS_MAX];
    struct tw_load        load = {.ledger_ids = ids};

    must(store.watermark(store.self, partition, &image.arena, &image.progress[partition], NULL));
    must(store.list_rows(store.self, partition, true, ids, ITEMS_MAX, &load.ledger_id_count, NULL));
    assert_true(load.ledger_id_count < ITEMS_MAX);
    must(store.load(store.self, partition, image.progress[partition].next_offset, &load, &image.arena, NULL));
    image.rows[partition] = load.rows;
    image.row_count[partition] = load.row_count;
}

static void fold_take(void *self)
{
    (void)self;
    tw_arena_done(&image.arena);
    image = (struct image){0};
    image.entities = TW_NEW_ARRAY(&image.arena, ITEMS_MAX, struct tw_entity);
    for (int32_t p = 0; p < PARTITIONS; p++)
        take_partition(p);
    for (uint32_t kind = 0; kind < domain->state_count; kind++)
        take_entities(kind);
}

static void put_partition_back(int32_t partition)
{
    struct tw_arena          arena = {0};
    const struct tw_entity **entities = TW_NEW_ARRAY(&arena, image.entity_count, const struct tw_entity *);
    struct tw_changes        changes = {
               .partition = partition,
               .after = image.progress[partition],
               .rows = image.rows[partition],
               .row_count = image.row_count[partition],
               .entities = entities,
               .entity_count = partition ? 0 : image.entity_count, /* whatever their partition: they are in one place */
    };

    for (size_t i = 0; i < image.entity_count; i++) {
        struct tw_entity *entity = TW_NEW(&arena, struct tw_entity);

        *entity = image.entities[i];
        entity->guard = entity->before_guard;
        entity->state = tw_arena_alloc(&arena, domain->states[entity->key.kind]->size);
        domain->states[entity->key.kind]->copy(entity->before, &arena, entity->state);
        entities[i] = entity;
    }
    changes.after.mark = 0;
    must(store.commit(store.self, &changes, NULL));
    if (image.progress[partition].mark)
        must(store.set_mark(store.self, partition, changes.after.next_offset, 0, image.progress[partition].mark, NULL));
    tw_arena_done(&arena);
}

static void fold_put_back(void *self)
{
    fold_wipe(self);
    for (int32_t p = 0; p < PARTITIONS; p++)
        put_partition_back(p);
}

static void fold_lose_answer(void *self)
{
    (void)self;
    lose_next = LOST_ANSWER;
}

static void fold_lose_request(void *self)
{
    (void)self;
    lose_next = LOST_REQUEST;
}

static bool fold_end_fault(void *self)
{
    (void)self;
    return take_lost() == LOST_NOTHING;
}

static int run(int argc, char **argv, const char *name, const struct tw_sample_states *states)
{
    struct tw_store_fixture fixture = {
        .name = name,
        .states = states,
        .connect = fold_connect,
        .open = fold_open,
        .close = fold_close,
        .wipe = fold_wipe,
        .take = fold_take,
        .put_back = fold_put_back,
        .lose_request = fold_lose_request,
        .lose_commit = fold_lose_request,
        .lose_answer = fold_lose_answer,
        .end_fault = fold_end_fault,
    };
    int failed;

    domain = states->domain;
    failed = tw_store_contract_main(argc, argv, &fixture);
    tw_fold_store_close(&store);
    tw_arena_done(&image.arena);
    image = (struct image){0};
    return failed;
}

int main(int argc, char **argv)
{
    return run(argc, argv, "store_fold_members", &tw_sample_members) +
           run(argc, argv, "store_fold_products", &tw_sample_products) +
           run(argc, argv, "store_fold_carts", &tw_sample_carts);
}

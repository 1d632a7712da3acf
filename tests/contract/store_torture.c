/*
 * A worker's first turn after its start: connect, watermark, load, commit; and a turn of one that is connected already.
 * Another process, with all the memory it wants, folded a batch before, and looks afterwards.
 */
#include "store_torture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "torture.h"

enum { PARTITION = 1, ENTITIES = 5, ROWS = 3, ROOM_BYTES = 1 << 20, PLACES = 8 };

#define NOON_MS INT64_C(1795435200000)

static const struct tw_store_fixture *fixture;

/* A worker. */
struct world {
    struct tw_store store;
    struct tw_arena arena; /* has room for all: what the runtime allocates is not tried here */
};

static void open_world(struct world *world)
{
    *world = (struct world){.store = {0}};
    tw_arena_alloc(&world->arena, ROOM_BYTES);
    tw_arena_reset(&world->arena);
    fixture->open(fixture->self, &world->store);
}

static void close_world(struct world *world)
{
    fixture->close(fixture->self, &world->store);
    tw_arena_done(&world->arena);
}

/* --- a batch ------------------------------------------------------------------------------------------------------ */

static struct tw_uuid row_id(uint32_t n)
{
    return (struct tw_uuid){{(uint8_t)(n + 1), 7, 7}};
}

static int compare_entities(const void *left, const void *right)
{
    const struct tw_key *a = &((const struct tw_entity *)left)->key, *b = &((const struct tw_entity *)right)->key;

    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return tw_uuid_cmp(a->id, b->id) ? tw_uuid_cmp(a->id, b->id) : tw_uuid_cmp(a->sub, b->sub);
}

static enum tw_rc load(struct world *world, int64_t first, struct tw_load *ret_load, struct tw_err *reterr)
{
    struct tw_uuid *ids = TW_NEW_ARRAY(&world->arena, 2 * ROWS, struct tw_uuid);

    *ret_load = (struct tw_load){
        .entities = TW_NEW_ARRAY(&world->arena, ENTITIES, struct tw_entity),
        .entity_count = ENTITIES,
        .ledger_ids = ids,
        .ledger_id_count = 2 * ROWS,
    };
    for (uint32_t n = 0; n < 2 * ROWS; n++)
        ids[n] = row_id(n);
    for (uint32_t n = 0; n < ENTITIES; n++)
        ret_load->entities[n] =
            (struct tw_entity){.key = fixture->states->key(n), .before_guard = -1, .guard = -1, .coalesce_offset = -1};
    return world->store.load(world->store.self, PARTITION, first, ret_load, &world->arena, reterr);
}

static const struct tw_entity **decide(struct world *world, int64_t generation, struct tw_load *load_)
{
    const struct tw_entity **changed = TW_NEW_ARRAY(&world->arena, ENTITIES, const struct tw_entity *);

    for (uint32_t n = 0; n < ENTITIES; n++) {
        load_->entities[n].state = fixture->states->make(n, generation, &world->arena);
        load_->entities[n].guard = generation * ROWS - 1;
        load_->entities[n].changed = true;
    }
    qsort(load_->entities, ENTITIES, sizeof(*load_->entities), compare_entities);
    for (uint32_t n = 0; n < ENTITIES; n++)
        changed[n] = &load_->entities[n];
    return changed;
}

static struct tw_ledger_row *remember(struct world *world, int64_t generation)
{
    struct tw_ledger_row *rows = TW_NEW_ARRAY(&world->arena, ROWS, struct tw_ledger_row);

    for (uint32_t n = 0; n < ROWS; n++)
        rows[n] = (struct tw_ledger_row){.id = row_id((uint32_t)(generation - 1) * ROWS + n),
                                         .type = TW_STR("thing.do"),
                                         .outcome = {.status = TW_SUCCEEDED, .http_status = 204},
                                         .offset = (generation - 1) * ROWS + n,
                                         .submitted_ms = NOON_MS,
                                         .at_ms = NOON_MS};
    return rows;
}

/* Batch 1, 2: three records each. */
static enum tw_rc fold(struct world *world, int64_t generation, struct tw_err *reterr)
{
    struct tw_load    loaded;
    struct tw_changes changes = {
        .partition = PARTITION,
        .first_offset = (generation - 1) * ROWS,
        .after = {.next_offset = generation * ROWS, .clock_ms = NOON_MS, .outbox = TW_STR("outbox")},
        .entity_count = ENTITIES,
        .row_count = ROWS,
    };

    TW_TRY(load(world, changes.first_offset, &loaded, reterr));
    changes.entities = decide(world, generation, &loaded);
    changes.rows = remember(world, generation);
    return world->store.commit(world->store.self, &changes, reterr);
}

/* --- the scenario ------------------------------------------------------------------------------------------------- */

static void *worker(void)
{
    struct world *world = tw_alloc(sizeof(*world));

    open_world(world);
    return world;
}

/* Its connection is there, and what a first use of the vendor's library sets up. */
static void *settled_worker(void)
{
    struct world      *world = worker();
    struct tw_progress progress;
    struct tw_err      err = {0};

    if (world->store.watermark(world->store.self, PARTITION, &world->arena, &progress, &err) != TW_OK)
        abort();
    return world;
}

static void free_worker(void *self)
{
    close_world(self);
    free(self);
}

static enum tw_rc turn(void *self, struct tw_err *reterr)
{
    struct world      *world = self;
    struct tw_progress progress;

    TW_TRY(world->store.watermark(world->store.self, PARTITION, &world->arena, &progress, reterr));
    tw_torture_answer((struct tw_str){(const char *)&progress.next_offset, sizeof(progress.next_offset)});
    return fold(world, 2, reterr);
}

/* --- what is there ------------------------------------------------------------------------------------------------ */

static uint64_t digest_int(uint64_t digest, int64_t number)
{
    return tw_torture_digest(digest, (struct tw_str){(const char *)&number, sizeof(number)});
}

static uint64_t digest_of(const struct tw_load *loaded)
{
    TW_AUTO(tw_buf_done) struct tw_buf packed = {0};
    uint64_t                           digest = digest_int(0, (int64_t)loaded->row_count);

    for (size_t i = 0; i < loaded->entity_count; i++) {
        const struct tw_entity *entity = &loaded->entities[i];

        digest = digest_int(digest, entity->before_guard);
        tw_buf_clear(&packed);
        if (entity->before)
            fixture->states->domain->states[entity->key.kind]->pack(entity->before, &packed);
        digest = tw_torture_digest(digest, tw_buf_str(&packed));
    }
    return digest;
}

static void begin_anew(struct world *world)
{
    struct tw_progress progress;
    struct tw_err      err;

    fixture->wipe(fixture->self);
    tw_arena_reset(&world->arena);
    assert_rc(world->store.watermark(world->store.self, PARTITION, &world->arena, &progress, &err), TW_OK, err);
    assert_rc(fold(world, 1, &err), TW_OK, err);
    world->store.release(world->store.self, PARTITION);
}

static uint64_t remains(void)
{
    struct world       world;
    struct tw_progress progress;
    struct tw_load     loaded;
    struct tw_err      err;
    uint64_t           digest;

    open_world(&world);
    assert_rc(world.store.watermark(world.store.self, PARTITION, &world.arena, &progress, &err), TW_OK, err);
    assert_rc(load(&world, progress.next_offset, &loaded, &err), TW_OK, err);
    digest = digest_int(digest_of(&loaded), progress.next_offset);
    digest = tw_torture_digest(digest, progress.outbox);
    world.store.abandon(world.store.self, PARTITION);
    world.store.release(world.store.self, PARTITION);
    begin_anew(&world);
    close_world(&world);
    return digest;
}

static void begin(void)
{
    struct world world;

    open_world(&world);
    begin_anew(&world);
    close_world(&world);
}

void tw_store_torture(const struct tw_store_fixture *of)
{
    char                    name[64];
    const struct tw_torture torture = {
        .name = name, .run = turn, .after = free_worker, .remains = remains, .places = PLACES};
    struct tw_torture first = torture, later = torture;

    fixture = of;
    begin();
    first.before = worker;
    snprintf(name, sizeof(name), "%s, a first turn", fixture->name);
    tw_torture(&first);
    later.before = settled_worker;
    snprintf(name, sizeof(name), "%s, a turn", fixture->name);
    tw_torture(&later);
}

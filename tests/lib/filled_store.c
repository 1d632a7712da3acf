#include "filled_store.h"

#include <stdlib.h>

#include "records.h"
#include "unit.h"

static int compare_entities(const void *left, const void *right)
{
    const struct tw_key *a = &(*(const struct tw_entity *const *)left)->key;
    const struct tw_key *b = &(*(const struct tw_entity *const *)right)->key;

    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return tw_uuid_cmp(a->id, b->id) ? tw_uuid_cmp(a->id, b->id) : tw_uuid_cmp(a->sub, b->sub);
}

static bool is_of(struct tw_uuid id, int32_t partition, int32_t partition_count)
{
    return tw_partition_of_id(id, partition_count) == partition;
}

static void fill_entities(const struct tw_filling *filling, int32_t partition, struct tw_changes *changes,
                          struct tw_arena *arena)
{
    changes->entities = TW_NEW_ARRAY(arena, filling->count, const struct tw_entity *);
    for (uint32_t i = 0; i < filling->count; i++) {
        struct tw_key     key = filling->samples->key(i);
        struct tw_entity *entity;

        if (!is_of(key.id, partition, filling->partition_count))
            continue;
        entity = TW_NEW(arena, struct tw_entity);
        *entity = (struct tw_entity){
            .key = key,
            .before_guard = -1,
            .state = filling->samples->make(i, 1, arena),
            .guard = i,
            .changed = true,
            .coalesce_offset = -1,
        };
        changes->entities[changes->entity_count++] = entity;
    }
    if (changes->entity_count)
        qsort((void *)changes->entities, changes->entity_count, sizeof(struct tw_entity *), compare_entities);
}

static void fill_rows(const struct tw_filling *filling, struct tw_changes *changes, struct tw_arena *arena)
{
    struct tw_ledger_row *rows = TW_NEW_ARRAY(arena, filling->rows, struct tw_ledger_row);

    for (uint32_t i = 0; i < filling->rows; i++)
        rows[i] = (struct tw_ledger_row){
            .id = tw_test_uuid(i),
            .type = TW_STR("thing.do"),
            .outcome = tw_succeeded(201, tw_arena_printf(arena, "/v1/things/%u", (unsigned)i)),
            .offset = i,
            .submitted_ms = TW_FILLED_MS - 500,
            .at_ms = i < filling->ended_rows ? TW_FILLED_MS - TW_LEDGER_LIFE_MS : TW_FILLED_MS,
        };
    changes->rows = rows;
    changes->row_count = filling->rows;
}

static void fill_partition(const struct tw_store *store, const struct tw_filling *filling, int32_t partition,
                           struct tw_progress *ret_progress)
{
    struct tw_arena   arena = {0};
    struct tw_changes changes = {.partition = partition};
    struct tw_load    nothing = {0};
    struct tw_err     err;

    changes.after = (struct tw_progress){
        .next_offset = (int64_t)filling->count + filling->rows + 1 + partition,
        .clock_ms = TW_FILLED_MS,
        .last_hash = {(uint8_t)(partition + 1), 0xfe},
    };
    *ret_progress = changes.after;
    fill_entities(filling, partition, &changes, &arena);
    fill_rows(filling, &changes, &arena);
    assert_rc(store->load(store->self, partition, 0, &nothing, &arena, &err), TW_OK, err);
    assert_rc(store->commit(store->self, &changes, &err), TW_OK, err);
    tw_arena_done(&arena);
}

void tw_fill_store(const struct tw_store *store, const struct tw_filling *filling, struct tw_progress *ret_vector)
{
    for (int32_t partition = 0; partition < filling->partition_count; partition++)
        fill_partition(store, filling, partition, &ret_vector[partition]);
}

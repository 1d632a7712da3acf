#include "fold_store.h"

#include <stdlib.h>
#include <string.h>

#include "index.h"
#include "tillwire/ledger.h"

/* An entity, packed; or a ledger row, whose key is (partition, id). */
struct entry {
    struct entry *next;
    struct tw_key key;
    int64_t       guard;
    size_t        len;
    char          packed[];
};

/* Chained, doubled when there are more entries than chains. */
struct table {
    struct entry **chains;
    size_t         chain_count;
    size_t         count;
};

/* The keys of a kind, or of a partition's rows, sorted, while they are handed out. */
struct listing {
    struct tw_key *keys;
    size_t         count, next;
};

/* A partition's progress, with its outbox beside it. */
struct part {
    struct tw_progress progress;
    struct tw_buf      outbox;
};

struct fold_store {
    const struct tw_domain *domain;
    struct part            *parts; /* by partition */
    size_t                  part_count;
    struct table            entities;
    struct table            rows;
    struct listing          listing;
    struct tw_buf           scratch;
};

/* --- tables ------------------------------------------------------------------------------------------------------- */

static size_t hash_of(const struct tw_key *key)
{
    return (size_t)(tw_index_hash(key->id.bytes, 16) ^ tw_index_hash(key->sub.bytes, 16) ^ key->kind);
}

static int compare_keys(const void *left, const void *right)
{
    const struct tw_key *a = left;
    const struct tw_key *b = right;
    int                  order = tw_uuid_cmp(a->id, b->id);

    return order ? order : tw_uuid_cmp(a->sub, b->sub);
}

static struct entry **find(const struct table *table, const struct tw_key *key)
{
    struct entry **place = &table->chains[hash_of(key) & (table->chain_count - 1)];

    while (*place && ((*place)->key.kind != key->kind || compare_keys(&(*place)->key, key)))
        place = &(*place)->next;
    return place;
}

static void table_open(struct table *table, size_t chain_count)
{
    *table = (struct table){tw_alloc_zeroed(chain_count, sizeof(struct entry *)), chain_count, 0};
}

static void table_grow(struct table *table)
{
    struct table larger;

    table_open(&larger, 2 * table->chain_count);
    larger.count = table->count;
    for (size_t i = 0; i < table->chain_count; i++) {
        while (table->chains[i]) {
            struct entry  *entry = table->chains[i];
            struct entry **place = &larger.chains[hash_of(&entry->key) & (larger.chain_count - 1)];

            table->chains[i] = entry->next;
            entry->next = *place;
            *place = entry;
        }
    }
    free(table->chains);
    *table = larger;
}

static void table_put(struct table *table, const struct tw_key *key, int64_t guard, struct tw_str packed)
{
    struct entry  *entry = tw_alloc(sizeof(*entry) + packed.len);
    struct entry **place = find(table, key);
    struct entry  *old = *place;

    entry->next = old ? old->next : NULL;
    entry->key = *key;
    entry->guard = guard;
    entry->len = packed.len;
    memcpy(entry->packed, packed.ptr, packed.len);
    *place = entry;
    free(old);
    if (!old && ++table->count > table->chain_count)
        table_grow(table);
}

static void table_done(struct table *table)
{
    for (size_t i = 0; i < table->chain_count; i++) {
        while (table->chains[i]) {
            struct entry *entry = table->chains[i];

            table->chains[i] = entry->next;
            free(entry);
        }
    }
    free(table->chains);
}

static struct tw_key row_key(int32_t partition, struct tw_uuid id)
{
    return (struct tw_key){.kind = (uint32_t)partition, .id = id};
}

/* --- the port ----------------------------------------------------------------------------------------------------- */

static struct part *part_of(struct fold_store *self, int32_t partition)
{
    size_t wanted = (size_t)partition + 1;

    if (self->part_count < wanted) {
        self->parts = tw_realloc(self->parts, wanted * sizeof(*self->parts));
        memset(self->parts + self->part_count, 0, (wanted - self->part_count) * sizeof(*self->parts));
        self->part_count = wanted;
    }
    return &self->parts[partition];
}

static struct tw_progress *progress_of(struct fold_store *self, int32_t partition)
{
    return &part_of(self, partition)->progress;
}

static enum tw_rc check_fence(struct fold_store *self, int32_t partition, int64_t offset, struct tw_err *reterr)
{
    int64_t stored = progress_of(self, partition)->next_offset;

    if (stored == offset)
        return TW_OK;
    return tw_fail(reterr, TW_FENCED, "fold.store", 0, "the watermark of partition %d is %lld, not %lld",
                   (int)partition, (long long)stored, (long long)offset);
}

static enum tw_rc fold_watermark(void *store, int32_t partition, struct tw_arena *arena,
                                 struct tw_progress *ret_progress, struct tw_err *reterr)
{
    (void)reterr;
    *ret_progress = *progress_of(store, partition);
    ret_progress->outbox = tw_arena_copy(arena, tw_buf_str(&part_of(store, partition)->outbox));
    return TW_OK;
}

static enum tw_rc load_entity(struct fold_store *self, struct tw_entity *entity, struct tw_arena *arena,
                              struct tw_err *reterr)
{
    const struct tw_type *type = self->domain->states[entity->key.kind];
    const struct entry   *entry = *find(&self->entities, &entity->key);
    void                 *state;

    entity->before = NULL;
    entity->before_guard = -1;
    if (!entry)
        return TW_OK;
    state = tw_arena_alloc(arena, type->size);
    TW_TRY(type->unpack(tw_arena_copy(arena, (struct tw_str){entry->packed, entry->len}), arena, state, reterr));
    entity->before = state;
    entity->before_guard = entry->guard;
    return TW_OK;
}

static enum tw_rc load_row(struct fold_store *self, int32_t partition, struct tw_uuid id, struct tw_load *load,
                           struct tw_arena *arena, struct tw_err *reterr)
{
    struct tw_key         key = row_key(partition, id);
    const struct entry   *entry = *find(&self->rows, &key);
    struct tw_ledger_row *row = &load->rows[load->row_count];

    if (!entry)
        return TW_OK;
    TW_TRY(tw_ledger_row_unpack((struct tw_str){entry->packed, entry->len}, arena, row, reterr));
    row->id = id;
    load->row_count++;
    return TW_OK;
}

static enum tw_rc fold_load(void *store, int32_t partition, int64_t first_offset, struct tw_load *load,
                            struct tw_arena *arena, struct tw_err *reterr)
{
    struct fold_store *self = store;

    TW_TRY(check_fence(self, partition, first_offset, reterr));
    for (size_t i = 0; i < load->entity_count; i++)
        TW_TRY(load_entity(self, &load->entities[i], arena, reterr));
    load->rows = TW_NEW_ARRAY(arena, load->ledger_id_count, struct tw_ledger_row);
    load->row_count = 0;
    for (size_t i = 0; i < load->ledger_id_count; i++)
        TW_TRY(load_row(self, partition, load->ledger_ids[i], load, arena, reterr));
    return TW_OK;
}

static void apply(struct fold_store *self, const struct tw_changes *changes)
{
    for (size_t i = 0; i < changes->entity_count; i++) {
        const struct tw_entity *entity = changes->entities[i];

        tw_buf_clear(&self->scratch);
        self->domain->states[entity->key.kind]->pack(entity->state, &self->scratch);
        table_put(&self->entities, &entity->key, entity->guard, tw_buf_str(&self->scratch));
    }
    for (size_t i = 0; i < changes->row_count; i++) {
        struct tw_key key = row_key(changes->partition, changes->rows[i].id);

        tw_buf_clear(&self->scratch);
        tw_ledger_row_pack(&changes->rows[i], &self->scratch);
        table_put(&self->rows, &key, changes->rows[i].offset, tw_buf_str(&self->scratch));
    }
}

static void put_progress(struct part *part, const struct tw_progress *progress)
{
    tw_buf_clear(&part->outbox);
    tw_buf_add_str(&part->outbox, progress->outbox);
    part->progress = *progress;
    part->progress.outbox = (struct tw_str){NULL, 0};
}

static enum tw_rc fold_commit(void *store, const struct tw_changes *changes, struct tw_err *reterr)
{
    struct part *part = part_of(store, changes->partition);

    TW_TRY(check_fence(store, changes->partition, changes->first_offset, reterr));
    if (part->progress.mark)
        return tw_fail(reterr, TW_FENCED, "fold.store", 0, "partition %d is frozen", (int)changes->partition);
    apply(store, changes);
    put_progress(part, &changes->after);
    return TW_OK;
}

static void fold_abandon(void *store, int32_t partition)
{
    (void)store; /* nothing is held */
    (void)partition;
}

static enum tw_rc fold_forget_outbox(void *store, int32_t partition, int64_t next_offset, struct tw_err *reterr)
{
    TW_TRY(check_fence(store, partition, next_offset, reterr));
    tw_buf_clear(&part_of(store, partition)->outbox);
    return TW_OK;
}

static bool is_over(const struct entry *entry, int32_t partition, int64_t clock_ms, struct tw_arena *arena)
{
    struct tw_ledger_row row = {0};

    return entry->key.kind == (uint32_t)partition &&
           tw_ledger_row_unpack((struct tw_str){entry->packed, entry->len}, arena, &row, NULL) == TW_OK &&
           !tw_ledger_row_counts(&row, clock_ms);
}

static enum tw_rc fold_sweep(void *store, int32_t partition, int64_t next_offset, int64_t clock_ms,
                             struct tw_err *reterr)
{
    struct fold_store                     *self = store;
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};

    TW_TRY(check_fence(self, partition, next_offset, reterr));
    for (size_t i = 0; i < self->rows.chain_count; i++) {
        struct entry **place = &self->rows.chains[i];

        tw_arena_reset(&arena);
        while (*place) {
            struct entry *entry = *place;

            if (!is_over(entry, partition, clock_ms, &arena)) {
                place = &entry->next;
                continue;
            }
            *place = entry->next;
            self->rows.count--;
            free(entry);
        }
    }
    return TW_OK;
}

static void fold_release(void *store, int32_t partition)
{
    (void)store;
    (void)partition;
}

static enum tw_rc fold_set_mark(void *store, int32_t partition, int64_t next_offset, int64_t from, int64_t to,
                                struct tw_err *reterr)
{
    struct tw_progress *progress = progress_of(store, partition);

    TW_TRY(check_fence(store, partition, next_offset, reterr));
    if (progress->mark != from)
        return tw_fail(reterr, TW_FENCED, "fold.store", 0, "partition %d has another mark", (int)partition);
    progress->mark = to;
    return TW_OK;
}

static void begin_listing(struct listing *listing, const struct table *table, uint32_t kind)
{
    listing->keys = tw_realloc(listing->keys, (table->count + 1) * sizeof(*listing->keys));
    listing->count = listing->next = 0;
    for (size_t i = 0; i < table->chain_count; i++)
        for (const struct entry *entry = table->chains[i]; entry; entry = entry->next)
            if (entry->key.kind == kind)
                listing->keys[listing->count++] = entry->key;
    if (listing->count)
        qsort(listing->keys, listing->count, sizeof(*listing->keys), compare_keys);
}

static size_t take_page(const struct listing *listing, size_t max)
{
    size_t left = listing->count - listing->next;

    return left < max ? left : max;
}

static enum tw_rc fold_list(void *store, uint32_t kind, bool from_start, struct tw_key *ret_keys, size_t max,
                            size_t *ret_count, struct tw_err *reterr)
{
    struct fold_store *self = store;

    (void)reterr;
    if (from_start)
        begin_listing(&self->listing, &self->entities, kind);
    *ret_count = take_page(&self->listing, max);
    if (*ret_count)
        memcpy(ret_keys, self->listing.keys + self->listing.next, *ret_count * sizeof(*ret_keys));
    self->listing.next += *ret_count;
    return TW_OK;
}

static enum tw_rc fold_list_rows(void *store, int32_t partition, bool from_start, struct tw_uuid *ret_ids, size_t max,
                                 size_t *ret_count, struct tw_err *reterr)
{
    struct fold_store *self = store;

    (void)reterr;
    if (from_start)
        begin_listing(&self->listing, &self->rows, (uint32_t)partition);
    *ret_count = take_page(&self->listing, max);
    for (size_t i = 0; i < *ret_count; i++)
        ret_ids[i] = self->listing.keys[self->listing.next + i].id;
    self->listing.next += *ret_count;
    return TW_OK;
}

/* --- open and close ----------------------------------------------------------------------------------------------- */

void tw_fold_store_open(const struct tw_domain *domain, struct tw_store *ret_store)
{
    struct fold_store *self = tw_alloc_zeroed(1, sizeof(*self));

    self->domain = domain;
    table_open(&self->entities, 1024);
    table_open(&self->rows, 1024);
    *ret_store = (struct tw_store){
        .watermark = fold_watermark,
        .load = fold_load,
        .commit = fold_commit,
        .abandon = fold_abandon,
        .forget_outbox = fold_forget_outbox,
        .sweep = fold_sweep,
        .release = fold_release,
        .set_mark = fold_set_mark,
        .list = fold_list,
        .list_rows = fold_list_rows,
        .self = self,
    };
}

void tw_fold_store_close(struct tw_store *store)
{
    struct fold_store *self = store ? store->self : NULL;

    if (!self)
        return;
    table_done(&self->entities);
    table_done(&self->rows);
    for (size_t i = 0; i < self->part_count; i++)
        tw_buf_done(&self->parts[i].outbox);
    free(self->parts);
    free(self->listing.keys);
    tw_buf_done(&self->scratch);
    free(self);
    *store = (struct tw_store){0};
}

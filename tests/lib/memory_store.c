/*
 * Three sorted tables of bytes (progress, entities, ledger rows) behind one lock. States are kept packed by their
 * tw_type, as real adapters must, so that nothing survives by sharing a pointer with the test.
 */
#include "memory_store.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/ledger.h"

enum { KEY_MAX_BYTES = 4 + 16 + 16, TURNS_MAX = 1024 };

struct key {
    uint8_t bytes[KEY_MAX_BYTES]; /* big endian numbers, then ids: sorts like the values; short keys end in zeros */
};

struct row {
    struct key    key;
    int64_t       guard; /* entities: offset of the last record that changed it */
    struct tw_buf value;
};

struct table {
    struct row *rows;
    size_t      count;
    size_t      cap;
};

/* What a value of the progress table begins with; the outbox follows. */
struct progress_head {
    int64_t next_offset;
    int64_t clock_ms;
    uint8_t last_hash[TW_RECORD_HASH_BYTES];
    int64_t mark;
};

struct tables {
    struct table progress; /* partition */
    struct table entities; /* kind, id, sub */
    struct table ledger;   /* partition, command id */
};

struct tw_memory_image {
    struct tables tables;
};

enum lost { LOST_NOTHING, LOST_ANSWER, LOST_REQUEST };

struct tw_memory_db {
    pthread_mutex_t         lock; /* guards everything below */
    const struct tw_domain *domain;
    struct tables           tables;
    unsigned                handles;
    unsigned                failing_calls;
    enum tw_rc              failing_rc;
    enum lost               lose_next;
    struct tw_uuid          refused_id;
};

/* Where a list of keys goes on. */
struct place {
    struct key key;
    bool       is_passed; /* the key itself was given already */
};

/* One handle: a worker. */
struct owner {
    struct tw_memory_db *db;
    bool                 in_turn[TURNS_MAX]; /* by partition: loaded, neither committed nor abandoned yet */
    struct place         listed;             /* of list() */
    struct place         listed_row;         /* of list_rows() */
};

/* --- tables ------------------------------------------------------------------------------------------------------ */

static void put_number(uint8_t *to, uint32_t number)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(number >> (24 - 8 * i));
}

static struct key progress_key(int32_t partition)
{
    struct key key = {0};

    put_number(key.bytes, (uint32_t)partition);
    return key;
}

static struct key ledger_key(int32_t partition, struct tw_uuid id)
{
    struct key key = progress_key(partition);

    memcpy(key.bytes + 4, id.bytes, sizeof(id.bytes));
    return key;
}

static struct key entity_key(const struct tw_key *of)
{
    struct key key = {0};

    put_number(key.bytes, of->kind);
    memcpy(key.bytes + 4, of->id.bytes, sizeof(of->id.bytes));
    memcpy(key.bytes + 20, of->sub.bytes, sizeof(of->sub.bytes));
    return key;
}

/* Position of the first row that is not below `key`. */
static size_t lower_bound(const struct table *table, const struct key *key)
{
    size_t low = 0, high = table->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (memcmp(table->rows[middle].key.bytes, key->bytes, KEY_MAX_BYTES) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct row *table_find(const struct table *table, const struct key *key)
{
    size_t at = lower_bound(table, key);

    if (at == table->count || memcmp(table->rows[at].key.bytes, key->bytes, KEY_MAX_BYTES) != 0)
        return NULL;
    return &table->rows[at];
}

/* The row of `key`, made when there is none, with an empty value to fill. */
static struct row *table_put(struct table *table, const struct key *key)
{
    size_t      at = lower_bound(table, key);
    struct row *row;

    if (at < table->count && memcmp(table->rows[at].key.bytes, key->bytes, KEY_MAX_BYTES) == 0) {
        tw_buf_clear(&table->rows[at].value);
        return &table->rows[at];
    }
    if (table->count == table->cap) {
        table->cap = table->cap ? 2 * table->cap : 64;
        table->rows = tw_realloc(table->rows, table->cap * sizeof(*table->rows));
    }
    row = &table->rows[at];
    memmove(row + 1, row, (table->count++ - at) * sizeof(*row));
    *row = (struct row){.key = *key};
    return row;
}

static void table_done(struct table *table)
{
    for (size_t i = 0; i < table->count; i++)
        tw_buf_done(&table->rows[i].value);
    free(table->rows);
    *table = (struct table){0};
}

static void table_copy(const struct table *from, struct table *ret_to)
{
    *ret_to = (struct table){.count = from->count, .cap = from->count};
    ret_to->rows = tw_alloc_zeroed(from->count ? from->count : 1, sizeof(*ret_to->rows));
    for (size_t i = 0; i < from->count; i++) {
        ret_to->rows[i].key = from->rows[i].key;
        ret_to->rows[i].guard = from->rows[i].guard;
        tw_buf_add_str(&ret_to->rows[i].value, tw_buf_str(&from->rows[i].value));
    }
}

static void tables_done(struct tables *tables)
{
    table_done(&tables->progress);
    table_done(&tables->entities);
    table_done(&tables->ledger);
}

static void tables_copy(const struct tables *from, struct tables *ret_to)
{
    table_copy(&from->progress, &ret_to->progress);
    table_copy(&from->entities, &ret_to->entities);
    table_copy(&from->ledger, &ret_to->ledger);
}

/* --- the port ---------------------------------------------------------------------------------------------------- */

static void unlock(pthread_mutex_t **lock)
{
    pthread_mutex_unlock(*lock);
}

/* Locks until the end of the scope. */
#define LOCKED(db)                                       \
    TW_AUTO(unlock) pthread_mutex_t *lock = &(db)->lock; \
    pthread_mutex_lock(lock)

static enum tw_rc fail_as_asked(struct tw_memory_db *db, const char *where, struct tw_err *reterr)
{
    if (db->failing_calls == 0)
        return TW_OK;
    db->failing_calls--;
    return tw_fail(reterr, db->failing_rc, where, 0, "the test asked for it");
}

static bool *turn_of(struct owner *owner, int32_t partition)
{
    assert(partition >= 0 && partition < TURNS_MAX);
    return &owner->in_turn[partition];
}

static struct progress_head progress_head(const struct tw_memory_db *db, int32_t partition)
{
    struct key           key = progress_key(partition);
    const struct row    *row = table_find(&db->tables.progress, &key);
    struct progress_head head = {0};

    if (row)
        memcpy(&head, row->value.ptr, sizeof(head));
    return head;
}

static void put_progress(struct tw_memory_db *db, int32_t partition, const struct tw_progress *progress)
{
    struct key           key = progress_key(partition);
    struct row          *row = table_put(&db->tables.progress, &key);
    struct progress_head head = {
        .next_offset = progress->next_offset,
        .clock_ms = progress->clock_ms,
        .mark = progress->mark,
    };

    memcpy(head.last_hash, progress->last_hash, sizeof(head.last_hash));
    tw_buf_add(&row->value, &head, sizeof(head));
    tw_buf_add_str(&row->value, progress->outbox);
}

static enum tw_rc check_fence(const struct tw_memory_db *db, int32_t partition, int64_t offset, const char *where,
                              struct tw_err *reterr)
{
    int64_t stored = progress_head(db, partition).next_offset;

    if (stored == offset)
        return TW_OK;
    return tw_fail(reterr, TW_FENCED, where, 0, "the watermark of partition %d is %lld, not %lld", (int)partition,
                   (long long)stored, (long long)offset);
}

static enum tw_rc check_mark(const struct tw_memory_db *db, int32_t partition, int64_t mark, const char *where,
                             struct tw_err *reterr)
{
    int64_t stored = progress_head(db, partition).mark;

    if (stored == mark)
        return TW_OK;
    return tw_fail(reterr, TW_FENCED, where, 0, "the mark of partition %d is %lld, not %lld", (int)partition,
                   (long long)stored, (long long)mark);
}

/* All that is kept of a partition, the outbox in `arena`. */
static struct tw_progress read_progress(const struct tw_memory_db *db, int32_t partition, struct tw_arena *arena)
{
    struct key           key = progress_key(partition);
    const struct row    *row = table_find(&db->tables.progress, &key);
    struct progress_head head = progress_head(db, partition);
    struct tw_progress   progress = {
          .next_offset = head.next_offset,
          .clock_ms = head.clock_ms,
          .mark = head.mark,
    };

    memcpy(progress.last_hash, head.last_hash, sizeof(head.last_hash));
    if (row)
        progress.outbox =
            tw_arena_copy(arena, (struct tw_str){row->value.ptr + sizeof(head), row->value.len - sizeof(head)});
    return progress;
}

static enum tw_rc memory_watermark(void *self, int32_t partition, struct tw_arena *arena,
                                   struct tw_progress *ret_progress, struct tw_err *reterr)
{
    struct owner *owner = self;

    LOCKED(owner->db);
    *turn_of(owner, partition) = false;
    TW_TRY(fail_as_asked(owner->db, "memory.store.watermark", reterr));
    *ret_progress = read_progress(owner->db, partition, arena);
    return TW_OK;
}

static enum tw_rc load_entity(const struct tw_memory_db *db, struct tw_entity *entity, struct tw_arena *arena,
                              struct tw_err *reterr)
{
    const struct tw_type *type;
    struct key            key = entity_key(&entity->key);
    const struct row     *row = table_find(&db->tables.entities, &key);
    struct tw_err         why = {0};
    void                 *state;

    assert(entity->key.kind < db->domain->state_count);
    entity->before = NULL;
    entity->before_guard = -1;
    if (!row)
        return TW_OK;
    type = db->domain->states[entity->key.kind];
    state = tw_arena_alloc(arena, type->size);
    if (type->unpack(tw_arena_copy(arena, tw_buf_str(&row->value)), arena, state, &why) != TW_OK)
        return tw_fail(reterr, TW_BROKEN, "memory.store.load", 0, "cannot unpack a kept %s: %s", type->name, why.msg);
    entity->before = state;
    entity->before_guard = row->guard;
    return TW_OK;
}

static enum tw_rc load_rows(const struct tw_memory_db *db, int32_t partition, struct tw_load *load,
                            struct tw_arena *arena, struct tw_err *reterr)
{
    load->rows = TW_NEW_ARRAY(arena, load->ledger_id_count, struct tw_ledger_row);
    load->row_count = 0;
    for (size_t i = 0; i < load->ledger_id_count; i++) {
        struct key        key = ledger_key(partition, load->ledger_ids[i]);
        const struct row *row = table_find(&db->tables.ledger, &key);

        if (!row)
            continue;
        TW_TRY(tw_ledger_row_unpack(tw_buf_str(&row->value), arena, &load->rows[load->row_count], reterr));
        load->rows[load->row_count++].id = load->ledger_ids[i];
    }
    return TW_OK;
}

static enum tw_rc memory_load(void *self, int32_t partition, int64_t first_offset, struct tw_load *load,
                              struct tw_arena *arena, struct tw_err *reterr)
{
    struct owner *owner = self;

    LOCKED(owner->db);
    assert(!*turn_of(owner, partition)); /* the turn before was neither committed nor abandoned */
    TW_TRY(fail_as_asked(owner->db, "memory.store.load", reterr));
    TW_TRY(check_fence(owner->db, partition, first_offset, "memory.store.load", reterr));
    for (size_t i = 0; i < load->entity_count; i++)
        TW_TRY(load_entity(owner->db, &load->entities[i], arena, reterr));
    TW_TRY(load_rows(owner->db, partition, load, arena, reterr));
    *turn_of(owner, partition) = true;
    return TW_OK;
}

/* What every adapter relies on and may break without. */
static void assert_well_formed(const struct tw_memory_db *db, const struct tw_changes *changes)
{
    bool is_filling = changes->first_offset == 0 && changes->after.next_offset == 0;

    assert(is_filling || changes->after.next_offset > changes->first_offset);
    assert(changes->after.mark == 0); /* it is never part of a commit */
    for (size_t i = 0; i < changes->entity_count; i++) {
        const struct tw_entity *entity = changes->entities[i];

        assert(entity->changed && entity->state && entity->key.kind < db->domain->state_count);
        assert(entity->guard >= changes->first_offset);
        assert(is_filling || entity->guard < changes->after.next_offset);
        if (i > 0) {
            struct key before = entity_key(&changes->entities[i - 1]->key), key = entity_key(&entity->key);

            assert(memcmp(before.bytes, key.bytes, KEY_MAX_BYTES) < 0);
        }
    }
    for (size_t i = 1; i < changes->row_count; i++)
        assert(tw_uuid_cmp(changes->rows[i - 1].id, changes->rows[i].id) < 0);
}

static bool is_refused(const struct tw_memory_db *db, const struct tw_changes *changes)
{
    for (size_t i = 0; i < changes->entity_count && !tw_uuid_is_nil(db->refused_id); i++)
        if (tw_uuid_eq(changes->entities[i]->key.id, db->refused_id))
            return true;
    return false;
}

static void apply(struct tw_memory_db *db, const struct tw_changes *changes)
{
    for (size_t i = 0; i < changes->entity_count; i++) {
        const struct tw_entity *entity = changes->entities[i];
        struct key              key = entity_key(&entity->key);
        struct row             *row = table_put(&db->tables.entities, &key);

        row->guard = entity->guard;
        db->domain->states[entity->key.kind]->pack(entity->state, &row->value);
    }
    for (size_t i = 0; i < changes->row_count; i++) {
        struct key key = ledger_key(changes->partition, changes->rows[i].id);

        assert(changes->rows[i].replaces || !table_find(&db->tables.ledger, &key)); /* PostgreSQL would refuse it */
        tw_ledger_row_pack(&changes->rows[i], &table_put(&db->tables.ledger, &key)->value);
    }
    put_progress(db, changes->partition, &changes->after);
}

static enum tw_rc write_if_allowed(struct tw_memory_db *db, const struct tw_changes *changes, struct tw_err *reterr)
{
    static const char where[] = "memory.store.commit";

    TW_TRY(check_fence(db, changes->partition, changes->first_offset, where, reterr));
    TW_TRY(check_mark(db, changes->partition, 0, where, reterr));
    if (is_refused(db, changes))
        return tw_fail(reterr, TW_REFUSED, where, 0, "the test refuses this aggregate");
    apply(db, changes);
    return TW_OK;
}

/* What is to be lost of the call under way. */
static enum lost take_lost(struct tw_memory_db *db)
{
    enum lost lost = db->lose_next;

    db->lose_next = LOST_NOTHING;
    return lost;
}

static enum tw_rc memory_commit(void *self, const struct tw_changes *changes, struct tw_err *reterr)
{
    static const char where[] = "memory.store.commit";
    struct owner     *owner = self;
    enum lost         lost;
    enum tw_rc        rc;

    LOCKED(owner->db);
    assert(*turn_of(owner, changes->partition)); /* a commit ends a turn that began with a load */
    *turn_of(owner, changes->partition) = false;
    assert_well_formed(owner->db, changes);
    TW_TRY(fail_as_asked(owner->db, where, reterr));
    lost = take_lost(owner->db);
    if (lost == LOST_REQUEST)
        return tw_fail(reterr, TW_UNKNOWN, where, 0, "the request was lost");
    rc = write_if_allowed(owner->db, changes, reterr);
    return lost == LOST_ANSWER ? tw_fail(reterr, TW_UNKNOWN, where, 0, "the answer was lost") : rc;
}

static void memory_abandon(void *self, int32_t partition)
{
    *turn_of(self, partition) = false;
}

static enum tw_rc memory_forget_outbox(void *self, int32_t partition, int64_t next_offset, struct tw_err *reterr)
{
    static const char  where[] = "memory.store.forget_outbox";
    struct owner      *owner = self;
    struct tw_arena    arena = {0};
    struct tw_progress progress;

    LOCKED(owner->db);
    assert(!*turn_of(owner, partition)); /* in Redis it would drop the turn's WATCH */
    TW_TRY(fail_as_asked(owner->db, where, reterr));
    TW_TRY(check_fence(owner->db, partition, next_offset, where, reterr));
    progress = read_progress(owner->db, partition, &arena);
    progress.outbox = (struct tw_str){NULL, 0};
    put_progress(owner->db, partition, &progress);
    tw_arena_done(&arena);
    return TW_OK;
}

static bool is_over(const struct row *row, int64_t clock_ms)
{
    struct tw_arena      arena = {0};
    struct tw_ledger_row content = {0};
    enum tw_rc           rc = tw_ledger_row_unpack(tw_buf_str(&row->value), &arena, &content, NULL);

    tw_arena_done(&arena);
    return rc == TW_OK && !tw_ledger_row_counts(&content, clock_ms); /* load() complains about an unreadable one */
}

static void sweep_ledger(struct table *ledger, int32_t partition, int64_t clock_ms)
{
    struct key prefix = progress_key(partition);
    size_t     kept = 0;

    for (size_t i = 0; i < ledger->count; i++) {
        struct row *row = &ledger->rows[i];

        if (memcmp(row->key.bytes, prefix.bytes, 4) == 0 && is_over(row, clock_ms))
            tw_buf_done(&row->value);
        else
            ledger->rows[kept++] = *row;
    }
    ledger->count = kept;
}

static enum tw_rc memory_sweep(void *self, int32_t partition, int64_t next_offset, int64_t clock_ms,
                               struct tw_err *reterr)
{
    static const char where[] = "memory.store.sweep";
    struct owner     *owner = self;

    LOCKED(owner->db);
    assert(!*turn_of(owner, partition));
    TW_TRY(fail_as_asked(owner->db, where, reterr));
    TW_TRY(check_fence(owner->db, partition, next_offset, where, reterr));
    sweep_ledger(&owner->db->tables.ledger, partition, clock_ms);
    return TW_OK;
}

static void memory_release(void *self, int32_t partition)
{
    memory_abandon(self, partition);
}

/* --- for what looks at the whole store --------------------------------------------------------------------------- */

static void put_mark(struct tw_memory_db *db, int32_t partition, int64_t mark)
{
    struct tw_arena    arena = {0};
    struct tw_progress progress = read_progress(db, partition, &arena);

    progress.mark = mark;
    put_progress(db, partition, &progress);
    tw_arena_done(&arena);
}

static enum tw_rc mark_if_allowed(struct tw_memory_db *db, int32_t partition, int64_t next_offset, int64_t from,
                                  int64_t to, struct tw_err *reterr)
{
    static const char where[] = "memory.store.set_mark";

    TW_TRY(check_fence(db, partition, next_offset, where, reterr));
    TW_TRY(check_mark(db, partition, from, where, reterr));
    put_mark(db, partition, to);
    return TW_OK;
}

static enum tw_rc memory_set_mark(void *self, int32_t partition, int64_t next_offset, int64_t from, int64_t to,
                                  struct tw_err *reterr)
{
    static const char where[] = "memory.store.set_mark";
    struct owner     *owner = self;
    enum lost         lost;
    enum tw_rc        rc;

    LOCKED(owner->db);
    assert(!*turn_of(owner, partition));
    TW_TRY(fail_as_asked(owner->db, where, reterr));
    lost = take_lost(owner->db);
    if (lost == LOST_REQUEST)
        return tw_fail(reterr, TW_UNKNOWN, where, 0, "the request was lost");
    rc = mark_if_allowed(owner->db, partition, next_offset, from, to, reterr);
    return lost == LOST_ANSWER ? tw_fail(reterr, TW_UNKNOWN, where, 0, "the answer was lost") : rc;
}

static void start_at(struct place *place, uint32_t number)
{
    *place = (struct place){0};
    put_number(place->key.bytes, number);
}

/* The first key behind `place` that begins with `number`, where the place then is; NULL: none. */
static const uint8_t *next_key(const struct table *table, uint32_t number, struct place *place)
{
    size_t     at = lower_bound(table, &place->key);
    struct key begin = {0};

    put_number(begin.bytes, number);
    if (place->is_passed && at < table->count && memcmp(&table->rows[at].key, &place->key, sizeof(place->key)) == 0)
        at++;
    if (at == table->count || memcmp(table->rows[at].key.bytes, begin.bytes, 4) != 0)
        return NULL;
    *place = (struct place){table->rows[at].key, true};
    return place->key.bytes;
}

static enum tw_rc memory_list(void *self, uint32_t kind, bool from_start, struct tw_key *ret_keys, size_t max,
                              size_t *ret_count, struct tw_err *reterr)
{
    struct owner  *owner = self;
    const uint8_t *key;
    size_t         count = 0;

    LOCKED(owner->db);
    TW_TRY(fail_as_asked(owner->db, "memory.store.list", reterr));
    if (from_start)
        start_at(&owner->listed, kind);
    while (count < max && (key = next_key(&owner->db->tables.entities, kind, &owner->listed))) {
        struct tw_key *found = &ret_keys[count++];

        found->kind = kind;
        memcpy(found->id.bytes, key + 4, sizeof(found->id.bytes));
        memcpy(found->sub.bytes, key + 20, sizeof(found->sub.bytes));
    }
    *ret_count = count;
    return TW_OK;
}

static enum tw_rc memory_list_rows(void *self, int32_t partition, bool from_start, struct tw_uuid *ret_ids, size_t max,
                                   size_t *ret_count, struct tw_err *reterr)
{
    struct owner  *owner = self;
    const uint8_t *key;
    size_t         count = 0;

    LOCKED(owner->db);
    TW_TRY(fail_as_asked(owner->db, "memory.store.list_rows", reterr));
    if (from_start)
        start_at(&owner->listed_row, (uint32_t)partition);
    while (count < max && (key = next_key(&owner->db->tables.ledger, (uint32_t)partition, &owner->listed_row)))
        memcpy(ret_ids[count++].bytes, key + 4, sizeof(ret_ids->bytes));
    *ret_count = count;
    return TW_OK;
}

/* --- opening and closing ----------------------------------------------------------------------------------------- */

void tw_memory_store_join(struct tw_memory_db *db, struct tw_store *ret_store)
{
    struct owner *owner = tw_alloc_zeroed(1, sizeof(*owner));

    LOCKED(db);
    db->handles++;
    owner->db = db;
    *ret_store = (struct tw_store){
        .watermark = memory_watermark,
        .load = memory_load,
        .commit = memory_commit,
        .abandon = memory_abandon,
        .forget_outbox = memory_forget_outbox,
        .sweep = memory_sweep,
        .release = memory_release,
        .set_mark = memory_set_mark,
        .list = memory_list,
        .list_rows = memory_list_rows,
        .self = owner,
    };
}

void tw_memory_store_open(const struct tw_domain *domain, struct tw_store *ret_store)
{
    struct tw_memory_db *db = tw_alloc_zeroed(1, sizeof(*db));

    pthread_mutex_init(&db->lock, NULL);
    db->domain = domain;
    tw_memory_store_join(db, ret_store);
}

void tw_memory_store_close(struct tw_store *store)
{
    struct owner        *owner = store->self;
    struct tw_memory_db *db;
    unsigned             handles;

    if (!owner)
        return;
    db = owner->db;
    pthread_mutex_lock(&db->lock);
    handles = --db->handles;
    pthread_mutex_unlock(&db->lock);
    free(owner);
    *store = (struct tw_store){0};
    if (handles > 0)
        return;
    tables_done(&db->tables);
    pthread_mutex_destroy(&db->lock);
    free(db);
}

struct tw_memory_db *tw_memory_store_db(const struct tw_store *store)
{
    return ((struct owner *)store->self)->db;
}

/* --- faults, backups --------------------------------------------------------------------------------------------- */

void tw_memory_lose_answer(struct tw_memory_db *db)
{
    LOCKED(db);
    db->lose_next = LOST_ANSWER;
}

void tw_memory_lose_request(struct tw_memory_db *db)
{
    LOCKED(db);
    db->lose_next = LOST_REQUEST;
}

void tw_memory_fail(struct tw_memory_db *db, unsigned calls, enum tw_rc rc)
{
    LOCKED(db);
    db->failing_calls = calls;
    db->failing_rc = rc;
}

void tw_memory_refuse(struct tw_memory_db *db, struct tw_uuid id)
{
    LOCKED(db);
    db->refused_id = id;
}

static bool faults_happened(const struct tw_memory_db *db)
{
    return db->failing_calls == 0 && db->lose_next == LOST_NOTHING;
}

bool tw_memory_faults_happened(struct tw_memory_db *db)
{
    LOCKED(db);
    return faults_happened(db);
}

bool tw_memory_end_faults(struct tw_memory_db *db)
{
    bool all_happened;

    LOCKED(db);
    all_happened = faults_happened(db);
    db->failing_calls = 0;
    db->lose_next = LOST_NOTHING;
    return all_happened;
}

struct tw_memory_image *tw_memory_take(struct tw_memory_db *db)
{
    struct tw_memory_image *image = tw_alloc_zeroed(1, sizeof(*image));

    LOCKED(db);
    tables_copy(&db->tables, &image->tables);
    return image;
}

void tw_memory_put_back(struct tw_memory_db *db, const struct tw_memory_image *image)
{
    LOCKED(db);
    tables_done(&db->tables);
    tables_copy(&image->tables, &db->tables);
}

void tw_memory_image_free(struct tw_memory_image *image)
{
    if (image)
        tables_done(&image->tables);
    free(image);
}

void tw_memory_wipe(struct tw_memory_db *db)
{
    LOCKED(db);
    tables_done(&db->tables);
}

static void add_hex(struct tw_buf *out, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;

    for (size_t i = 0; i < len; i++) {
        const char hex[2] = {"0123456789abcdef"[at[i] >> 4], "0123456789abcdef"[at[i] & 15]};

        tw_buf_add(out, hex, sizeof(hex));
    }
}

static void dump_table(const char *name, const struct table *table, struct tw_buf *out)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct row *row = &table->rows[i];

        tw_buf_printf(out, "%s ", name);
        add_hex(out, row->key.bytes, KEY_MAX_BYTES);
        tw_buf_printf(out, " %lld ", (long long)row->guard);
        add_hex(out, row->value.ptr, row->value.len);
        tw_buf_add(out, "\n", 1);
    }
}

void tw_memory_dump(struct tw_memory_db *db, struct tw_buf *out)
{
    LOCKED(db);
    dump_table("progress", &db->tables.progress, out);
    dump_table("entity", &db->tables.entities, out);
    dump_table("ledger", &db->tables.ledger, out);
}

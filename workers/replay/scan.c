#include "scan.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = 3000 }; /* split by partition for each load, so several times what one should ask for */

struct tw_scan {
    const struct tw_domain   *domain;
    const struct tw_store    *store;
    const struct tw_progress *vector;
    int32_t                   partition_count;
    int32_t                   share, shares;
    struct tw_arena           arena; /* of the page */
    bool                      in_rows;
    uint32_t                  kind;      /* that is read, before the rows */
    int32_t                   partition; /* whose rows are read */
    bool                      from_start;
    bool                      is_last_page;
    bool                      has_ended;
    size_t                    count, next;
    struct tw_entity         *entities;   /* of the page, in order */
    int32_t                  *partitions; /* beside them */
    struct tw_ledger_row     *rows;
};

struct tw_scan *tw_scan_open(const struct tw_domain *domain, const struct tw_store *store,
                             const struct tw_progress *vector, int32_t partition_count)
{
    struct tw_scan *scan = tw_alloc_zeroed(1, sizeof(*scan));

    *scan = (struct tw_scan){
        .domain = domain,
        .store = store,
        .vector = vector,
        .partition_count = partition_count,
        .shares = 1,
        .from_start = true,
    };
    return scan;
}

void tw_scan_take_share(struct tw_scan *scan, int32_t share, int32_t shares)
{
    scan->share = share;
    scan->shares = shares;
}

void tw_scan_close(struct tw_scan *scan)
{
    if (scan)
        tw_arena_done(&scan->arena);
    free(scan);
}

/* --- pages -------------------------------------------------------------------------------------------------------- */

static enum tw_rc load(struct tw_scan *scan, int32_t partition, struct tw_load *load, struct tw_err *reterr)
{
    const struct tw_store *store = scan->store;
    enum tw_rc             rc =
        store->load(store->self, partition, scan->vector[partition].next_offset, load, &scan->arena, reterr);

    store->abandon(store->self, partition);
    return rc;
}

/* A load is of one partition: those of the page's entities that are of it. */
static enum tw_rc load_part(struct tw_scan *scan, int32_t partition, struct tw_err *reterr)
{
    size_t        *places = TW_NEW_ARRAY(&scan->arena, scan->count, size_t);
    struct tw_load part = {.entities = TW_NEW_ARRAY(&scan->arena, scan->count, struct tw_entity)};

    for (size_t i = 0; i < scan->count; i++) {
        if (scan->partitions[i] != partition)
            continue;
        places[part.entity_count] = i;
        part.entities[part.entity_count++] = scan->entities[i];
    }
    if (!part.entity_count)
        return TW_OK;
    TW_TRY(load(scan, partition, &part, reterr));
    for (size_t i = 0; i < part.entity_count; i++)
        scan->entities[places[i]] = part.entities[i];
    return TW_OK;
}

static enum tw_rc read_entities(struct tw_scan *scan, struct tw_err *reterr)
{
    struct tw_key *keys = TW_NEW_ARRAY(&scan->arena, PAGE, struct tw_key);
    size_t         listed;

    TW_TRY(scan->store->list(scan->store->self, scan->kind, scan->from_start, keys, PAGE, &listed, reterr));
    scan->is_last_page = listed < PAGE;
    scan->entities = TW_NEW_ARRAY(&scan->arena, listed, struct tw_entity);
    scan->partitions = TW_NEW_ARRAY(&scan->arena, listed, int32_t);
    scan->count = 0;
    for (size_t i = 0; i < listed; i++) {
        int32_t partition = tw_partition_of_id(keys[i].id, scan->partition_count);

        if (partition % scan->shares != scan->share)
            continue;
        scan->entities[scan->count] = (struct tw_entity){.key = keys[i], .before_guard = -1};
        scan->partitions[scan->count++] = partition;
    }
    for (int32_t partition = 0; partition < scan->partition_count; partition++)
        TW_TRY(load_part(scan, partition, reterr));
    return TW_OK;
}

static int compare_rows(const void *left, const void *right)
{
    return tw_uuid_cmp(((const struct tw_ledger_row *)left)->id, ((const struct tw_ledger_row *)right)->id);
}

static enum tw_rc read_rows(struct tw_scan *scan, struct tw_err *reterr)
{
    struct tw_uuid *ids = TW_NEW_ARRAY(&scan->arena, PAGE, struct tw_uuid);
    struct tw_load  rows = {.ledger_ids = ids};

    TW_TRY(scan->store->list_rows(scan->store->self, scan->partition, scan->from_start, ids, PAGE,
                                  &rows.ledger_id_count, reterr));
    scan->count = 0;
    scan->is_last_page = rows.ledger_id_count < PAGE;
    if (!rows.ledger_id_count)
        return TW_OK;
    TW_TRY(load(scan, scan->partition, &rows, reterr));
    scan->rows = rows.rows;
    scan->count = rows.row_count;
    if (scan->count)
        qsort(scan->rows, scan->count, sizeof(*scan->rows), compare_rows);
    return TW_OK;
}

/* Whose turn it is after the last page of a kind, or of a partition's rows. False: that was all. */
static bool go_on(struct tw_scan *scan)
{
    scan->from_start = true;
    scan->is_last_page = false;
    if (scan->in_rows)
        return ++scan->partition < scan->partition_count;
    scan->in_rows = ++scan->kind == scan->domain->state_count;
    return true;
}

static enum tw_rc read_page(struct tw_scan *scan, struct tw_err *reterr)
{
    tw_arena_reset(&scan->arena);
    scan->next = 0;
    TW_TRY(scan->in_rows ? read_rows(scan, reterr) : read_entities(scan, reterr));
    scan->from_start = false;
    return TW_OK;
}

/* --- items -------------------------------------------------------------------------------------------------------- */

/* Listed and not there any more: swept in between, so it had ended. */
static bool is_gone(const struct tw_scan *scan)
{
    return !scan->in_rows && !scan->entities[scan->next].before;
}

/* To the next item there is. */
static enum tw_rc find_item(struct tw_scan *scan, struct tw_err *reterr)
{
    while (!scan->has_ended && (scan->next == scan->count || is_gone(scan))) {
        if (scan->next < scan->count)
            scan->next++;
        else if (scan->is_last_page && !go_on(scan))
            scan->has_ended = true;
        else
            TW_TRY(read_page(scan, reterr));
    }
    return TW_OK;
}

enum tw_rc tw_scan_next(struct tw_scan *scan, struct tw_scan_item *ret_item, struct tw_err *reterr)
{
    size_t at;

    *ret_item = (struct tw_scan_item){.what = TW_SCAN_END};
    TW_TRY(find_item(scan, reterr));
    if (scan->has_ended)
        return TW_OK;
    at = scan->next++;
    if (scan->in_rows)
        *ret_item = (struct tw_scan_item){TW_SCAN_ROW, scan->partition, NULL, NULL, &scan->rows[at]};
    else
        *ret_item = (struct tw_scan_item){TW_SCAN_ENTITY, scan->partitions[at], scan->domain->states[scan->kind],
                                          &scan->entities[at], NULL};
    return TW_OK;
}

static int compare_keys(const struct tw_key *a, const struct tw_key *b)
{
    int order = (a->kind > b->kind) - (a->kind < b->kind);

    if (!order)
        order = tw_uuid_cmp(a->id, b->id);
    return order ? order : tw_uuid_cmp(a->sub, b->sub);
}

static int rank(enum tw_scan_what what)
{
    return what == TW_SCAN_END ? 2 : what == TW_SCAN_ROW;
}

int tw_scan_cmp(const struct tw_scan_item *a, const struct tw_scan_item *b)
{
    if (a->what != b->what)
        return rank(a->what) - rank(b->what);
    if (a->what == TW_SCAN_END)
        return 0;
    if (a->what == TW_SCAN_ENTITY)
        return compare_keys(&a->entity->key, &b->entity->key);
    if (a->partition != b->partition)
        return a->partition < b->partition ? -1 : 1;
    return tw_uuid_cmp(a->row->id, b->row->id);
}

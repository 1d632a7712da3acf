/*
 * Whose a database is stands in its collection tw_shadow, in one document that is written before anything else and goes
 * last:
 *
 *     { _id: "shadow", of: "tillwire", state: "made", note: "…", step: 2, marks: [-17, -18, -19],
 *       owner: … }
 *
 * `step` is that of a swap on its way (enum step); it is moved when a step is over, and each may be done again. The marks
 * are those that hold the live store's partitions. The owner is the call that is at work: one that finds another's there
 * stops. docs/decisions/mongodb-swap.md says why it is done like this.
 */
#include "product_shadow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "product_exchange.h"
#include "product_schema.h"
#include "product_store.h"
#include "product_writer.h"
#include "tillwire/failpoint.h"
#include "tillwire/product_document.h"

static const char where[] = "product.shadow";

#define COLLECTION "tw_shadow"

enum {
    NAME_MAX_BYTES = 63,   /* MongoDB's limit */
    PARTITIONS_MAX = 1024, /* what a command id has room for */
    URI_PART_MAX_BYTES = 3 * NAME_MAX_BYTES + 1,
};

/* Unfinished: begun to be made, or begun to be dropped. */
enum state { UNFINISHED, MADE, OLD };

static const char *const state_names[] = {[UNFINISHED] = "unfinished", [MADE] = "made", [OLD] = "old"};

/* What a swap does next. Up to COMPARE both stores are as they were, from FREE on the exchange is done. */
enum step { NONE, MARK, COMPARE, BRING, KEEP, FREE };

/* The document. */
struct marker {
    bool       is_there;
    bool       is_ours;
    enum state state;
    enum step  step;
    char       note[TW_SHADOW_NOTE + 1];
    bson_oid_t owner; /* zeros: nobody */
    int32_t    mark_count;
    int64_t    marks[PARTITIONS_MAX];
    int32_t    held; /* by these marks, now; not in the document */
};

struct product_shadow {
    struct tw_mongo live;
    struct tw_mongo shadow;
    struct tw_store live_store;
    struct tw_store shadow_store;
    bson_oid_t      owner; /* while a swap is at work: this call */
    char           *uri;
    char            place[sizeof("database ") + NAME_MAX_BYTES];
};

static void free_bson(bson_t **document)
{
    bson_destroy(*document);
}

static enum tw_rc connect_both(struct product_shadow *self, struct tw_err *reterr)
{
    TW_TRY(tw_mongo_connect(&self->live, reterr));
    return tw_mongo_connect(&self->shadow, reterr);
}

/* --- the marker --------------------------------------------------------------------------------------------------- */

static const char *text_in(const bson_t *document, const char *name)
{
    bson_iter_t iter;

    return bson_iter_init_find(&iter, document, name) && BSON_ITER_HOLDS_UTF8(&iter) ? bson_iter_utf8(&iter, NULL) : "";
}

static bool find_state(const char *name, enum state *ret_state)
{
    for (size_t i = 0; i < TW_LEN(state_names); i++)
        if (!strcmp(name, state_names[i])) {
            *ret_state = (enum state)i;
            return true;
        }
    return false;
}

static void take_marks(const bson_t *document, struct marker *marker)
{
    bson_iter_t iter;
    bson_iter_t item;

    if (!bson_iter_init_find(&iter, document, "marks") || !bson_iter_recurse(&iter, &item))
        return;
    while (marker->mark_count < PARTITIONS_MAX && bson_iter_next(&item))
        marker->marks[marker->mark_count++] = bson_iter_as_int64(&item);
}

struct reading {
    const char    *live; /* whose shadow it should be */
    struct marker *marker;
};

static enum tw_rc take_marker(void *context, const bson_t *document, struct tw_err *reterr)
{
    const struct reading *reading = context;
    struct marker        *marker = reading->marker;
    bson_iter_t           iter;

    (void)reterr;
    marker->is_there = true;
    marker->is_ours = !strcmp(text_in(document, "of"), reading->live) &&
                      find_state(text_in(document, "state"), &marker->state) &&
                      bson_iter_init_find(&iter, document, "step") && BSON_ITER_HOLDS_INT32(&iter);
    if (!marker->is_ours)
        return TW_OK;
    marker->step = (enum step)bson_iter_int32(&iter);
    snprintf(marker->note, sizeof(marker->note), "%s", text_in(document, "note"));
    if (bson_iter_init_find(&iter, document, "owner") && BSON_ITER_HOLDS_OID(&iter))
        bson_oid_copy(bson_iter_oid(&iter), &marker->owner);
    take_marks(document, marker);
    return TW_OK;
}

static enum tw_rc read_marker(struct product_shadow *self, struct marker *ret_marker, struct tw_err *reterr)
{
    struct reading             reading = {self->live.database, ret_marker};
    TW_AUTO(free_bson) bson_t *all = bson_new();

    *ret_marker = (struct marker){0};
    return tw_mongo_find(&self->shadow, COLLECTION, all, NULL, take_marker, &reading, where, reterr);
}

static bson_t *new_document(const struct product_shadow *self, const struct marker *marker)
{
    bson_t *document = BCON_NEW("_id", BCON_UTF8("shadow"), "of", BCON_UTF8(self->live.database), "state",
                                BCON_UTF8(state_names[marker->state]), "note", BCON_UTF8(marker->note), "step",
                                BCON_INT32((int32_t)marker->step), "owner", BCON_OID(&marker->owner));
    bson_t  marks;

    BSON_APPEND_ARRAY_BEGIN(document, "marks", &marks);
    for (int32_t i = 0; i < marker->mark_count; i++) {
        char        buffer[16];
        const char *name;
        size_t      name_len = bson_uint32_to_string((uint32_t)i, &name, buffer, sizeof(buffer));

        bson_append_int64(&marks, name, (int)name_len, marker->marks[i]);
    }
    bson_append_array_end(document, &marks);
    return document;
}

/* @p owner: only where this one still stands there; NULL: whatever is there. */
static enum tw_rc write_marker(struct product_shadow *self, const struct marker *marker, const bson_oid_t *owner,
                               struct tw_err *reterr)
{
    TW_AUTO(free_bson) bson_t *document = new_document(self, marker);
    TW_AUTO(free_bson) bson_t *expected = BCON_NEW("_id", BCON_UTF8("shadow"));
    TW_AUTO(free_bson) bson_t *command = NULL;
    struct tw_mongo_written    written;

    if (owner)
        BSON_APPEND_OID(expected, "owner", owner);
    command = BCON_NEW("update", COLLECTION, "updates", "[", "{", "q", BCON_DOCUMENT(expected), "u",
                       BCON_DOCUMENT(document), "upsert", BCON_BOOL(!owner), "}", "]");
    TW_TRY(tw_mongo_write(&self->shadow, command, where, &written, reterr));
    if (owner && written.matched != 1)
        return tw_fail(reterr, TW_FENCED, where, 0, "another call goes on with the swap");
    if (tw_failpoint("in_swap"))
        return tw_fail(reterr, TW_UNKNOWN, where, 0, "failpoint in_swap");
    return TW_OK;
}

static enum tw_rc move_on(struct product_shadow *self, struct marker *marker, enum step next, struct tw_err *reterr)
{
    marker->step = next;
    return write_marker(self, marker, &marker->owner, reterr);
}

/* From here on any other call stops at its next write. */
static enum tw_rc take_over(struct product_shadow *self, struct marker *marker, struct tw_err *reterr)
{
    bson_oid_init(&marker->owner, NULL);
    return write_marker(self, marker, NULL, reterr);
}

static enum tw_rc may_go_on(void *asked, struct tw_err *reterr)
{
    struct product_shadow *self = asked;
    struct marker          marker;

    TW_TRY(read_marker(self, &marker, reterr));
    if (!bson_oid_equal(&marker.owner, &self->owner))
        return tw_fail(reterr, TW_FENCED, where, 0, "another call goes on with the swap");
    return TW_OK;
}

/* --- look --------------------------------------------------------------------------------------------------------- */

static enum tw_rc is_empty(struct product_shadow *self, bool *ret_empty, struct tw_err *reterr)
{
    char **names = NULL;

    TW_TRY(tw_mongo_collections(&self->shadow, &names, reterr));
    *ret_empty = !*names;
    bson_strfreev(names);
    return TW_OK;
}

static enum tw_rc take_mark(void *context, const bson_t *document, struct tw_err *reterr)
{
    bson_iter_t iter;

    (void)reterr;
    *(int64_t *)context =
        bson_iter_init_find(&iter, document, "mark") && BSON_ITER_HOLDS_INT64(&iter) ? bson_iter_int64(&iter) : 0;
    return TW_OK;
}

static enum tw_rc read_mark(struct product_shadow *self, int32_t partition, int64_t *ret_mark, struct tw_err *reterr)
{
    TW_AUTO(free_bson) bson_t *filter = BCON_NEW("_id", BCON_INT32(partition));

    *ret_mark = 0;
    return tw_mongo_find(&self->live, TW_MONGO_PROGRESS, filter, NULL, take_mark, ret_mark, where, reterr);
}

/* Partitions that a swap on its way still holds. */
static enum tw_rc count_held(struct product_shadow *self, const struct marker *marker, int32_t *ret_held,
                             struct tw_err *reterr)
{
    int32_t held = 0;

    for (int32_t i = 0; i < marker->mark_count; i++) {
        int64_t mark;

        TW_TRY(read_mark(self, i, &mark, reterr));
        held += mark == marker->marks[i];
    }
    *ret_held = held;
    return TW_OK;
}

/* A swap that does not hold all before it brings anything has not begun; one that freed the last is over, whether it
 * could write that down or not. */
static enum tw_rc see_where_it_is(struct product_shadow *self, struct marker *marker, struct tw_err *reterr)
{
    TW_TRY(count_held(self, marker, &marker->held, reterr));
    if (marker->step <= COMPARE && marker->held < marker->mark_count)
        marker->step = NONE;
    if (marker->step == FREE && !marker->held) {
        marker->state = OLD;
        marker->step = NONE;
    }
    return TW_OK;
}

static enum tw_rc find_marker(struct product_shadow *self, struct marker *ret_marker, struct tw_err *reterr)
{
    TW_TRY(connect_both(self, reterr));
    TW_TRY(read_marker(self, ret_marker, reterr));
    return ret_marker->is_ours && ret_marker->step != NONE ? see_where_it_is(self, ret_marker, reterr) : TW_OK;
}

/* One that holds nothing any more cannot go on: what it left is for nothing, and all there is to do is to forget it. */
static bool is_on_its_way(const struct marker *marker)
{
    return marker->step != NONE && marker->held > 0;
}

static enum tw_shadow_content content_of(const struct marker *marker)
{
    static const enum tw_shadow_content at_rest[] = {
        [UNFINISHED] = TW_SHADOW_NONE, [MADE] = TW_SHADOW_MADE, [OLD] = TW_SHADOW_OLD};

    if (!is_on_its_way(marker))
        return at_rest[marker->state];
    return marker->state == MADE ? TW_SHADOW_SWAPPING : TW_SHADOW_SWAPPING_BACK;
}

static enum tw_rc look(void *shadow, enum tw_shadow_content *ret_content, char ret_note[TW_SHADOW_NOTE + 1],
                       struct tw_err *reterr)
{
    struct product_shadow *self = shadow;
    struct marker          marker;
    bool                   empty = false;

    TW_TRY(find_marker(self, &marker, reterr));
    if (!marker.is_there)
        TW_TRY(is_empty(self, &empty, reterr));
    if (marker.is_ours)
        *ret_content = content_of(&marker);
    else
        *ret_content = empty ? TW_SHADOW_NONE : TW_SHADOW_FOREIGN;
    snprintf(ret_note, TW_SHADOW_NOTE + 1, "%s",
             *ret_content == TW_SHADOW_MADE && marker.step == NONE ? marker.note : "");
    return TW_OK;
}

/* --- make and drop ------------------------------------------------------------------------------------------------ */

static bool is_content(const char *collection)
{
    return strcmp(collection, COLLECTION) != 0;
}

static bool is_marker(const char *collection)
{
    return !is_content(collection);
}

/* The marker stays. */
static enum tw_rc forget_content(struct product_shadow *self, struct marker *marker, struct tw_err *reterr)
{
    *marker = (struct marker){.is_there = true, .is_ours = true, .state = UNFINISHED};
    TW_TRY(write_marker(self, marker, NULL, reterr));
    return tw_mongo_drop(&self->shadow, is_content, reterr);
}

static enum tw_rc make(void *shadow, const char *note, struct tw_err *reterr)
{
    TW_AUTO(tw_buf_done) struct tw_buf lines = {0};
    struct product_shadow             *self = shadow;
    enum tw_shadow_content             content;
    struct marker                      marker = {0};

    if (strlen(note) > TW_SHADOW_NOTE)
        return tw_fail(reterr, TW_INVALID, where, 0, "a shadow's note has at most %d bytes", TW_SHADOW_NOTE);
    TW_TRY(look(self, &content, marker.note, reterr));
    if (content != TW_SHADOW_NONE)
        return tw_fail(reterr, TW_BROKEN, where, 0, "%s is there already", self->place);
    TW_TRY(forget_content(self, &marker, reterr));
    TW_TRY(tw_product_schema_apply(&self->shadow, &lines, reterr));
    marker.state = MADE;
    snprintf(marker.note, sizeof(marker.note), "%s", note);
    return write_marker(self, &marker, NULL, reterr);
}

/* Not by dropDatabase: the stand-in takes every database for meant whose name begins alike. One without collections is
 * no more. */
static enum tw_rc drop(void *shadow, struct tw_err *reterr)
{
    struct product_shadow *self = shadow;
    enum tw_shadow_content content;
    struct marker          marker;
    char                   note[TW_SHADOW_NOTE + 1];

    TW_TRY(look(self, &content, note, reterr));
    if (content == TW_SHADOW_FOREIGN)
        return tw_fail(reterr, TW_BROKEN, where, 0, "%s is not ours: nothing was dropped", self->place);
    TW_TRY(find_marker(self, &marker, reterr));
    if (!marker.is_ours)
        return TW_OK;
    if (is_on_its_way(&marker))
        return tw_fail(reterr, TW_BROKEN, where, 0,
                       "%s is on its way into the live store's place: give the rebuild command again, it ends that",
                       self->place);
    TW_TRY(forget_content(self, &marker, reterr));
    return tw_mongo_drop(&self->shadow, is_marker, reterr);
}

/* --- swap: before anything happens -------------------------------------------------------------------------------- */

/* The store's own look at a partition, which finishes what a worker left half done. */
static enum tw_rc read_progress(const struct tw_store *store, int32_t partition, struct tw_progress *ret_progress,
                                bool *ret_outbox, struct tw_err *reterr)
{
    struct tw_arena arena = {0};
    enum tw_rc      rc;

    store->release(store->self, partition); /* whatever was there before another swap: nothing of it is remembered */
    rc = store->watermark(store->self, partition, &arena, ret_progress, reterr);
    if (rc == TW_OK)
        *ret_outbox = ret_progress->outbox.len > 0;
    ret_progress->outbox = (struct tw_str){0};
    tw_arena_done(&arena);
    return rc;
}

static enum tw_rc check_live(struct product_shadow *self, int32_t partition, const struct tw_frozen *frozen,
                             struct tw_err *reterr)
{
    struct tw_progress progress = {0};
    bool               has_outbox = false;

    TW_TRY(read_progress(&self->live_store, partition, &progress, &has_outbox, reterr));
    if (!frozen->mark || progress.mark != frozen->mark || progress.next_offset != frozen->next_offset)
        return tw_fail(reterr, TW_FENCED, where, 0,
                       "partition %d of the live store is not frozen at offset %lld with mark %lld", (int)partition,
                       (long long)frozen->next_offset, (long long)frozen->mark);
    if (has_outbox)
        return tw_fail(reterr, TW_FENCED, where, 0, "partition %d of the live store still has something to publish",
                       (int)partition);
    return TW_OK;
}

static enum tw_rc check_shadow(struct product_shadow *self, int32_t partition, const struct tw_frozen *frozen,
                               struct tw_err *reterr)
{
    struct tw_progress progress = {0};
    bool               has_outbox = false;

    TW_TRY(read_progress(&self->shadow_store, partition, &progress, &has_outbox, reterr));
    if (!frozen) /* an old store: whatever its watermark */
        return TW_OK;
    if (progress.next_offset != frozen->next_offset)
        return tw_fail(reterr, TW_BROKEN, where, 0,
                       "the shadow's partition %d is folded up to offset %lld, the live one up to %lld", (int)partition,
                       (long long)progress.next_offset, (long long)frozen->next_offset);
    return TW_OK;
}

static enum tw_rc take_partition(void *context, const bson_t *document, struct tw_err *reterr)
{
    bson_iter_t iter;

    (void)context;
    if (!bson_iter_init_find(&iter, document, "_id"))
        return TW_OK;
    return tw_fail(reterr, TW_FENCED, where, 0, "partition %lld of the live store is not among the frozen ones",
                   (long long)bson_iter_as_int64(&iter));
}

static enum tw_rc check_no_others(struct product_shadow *self, int32_t partition_count, struct tw_err *reterr)
{
    TW_AUTO(free_bson) bson_t *filter = BCON_NEW("_id", "{", "$gte", BCON_INT32(partition_count), "}");

    return tw_mongo_find(&self->live, TW_MONGO_PROGRESS, filter, NULL, take_partition, NULL, where, reterr);
}

static enum tw_rc check_all(struct product_shadow *self, enum state wanted, const struct tw_frozen *frozen,
                            int32_t partition_count, struct tw_err *reterr)
{
    if (partition_count < 1 || partition_count > PARTITIONS_MAX)
        return tw_fail(reterr, TW_INVALID, where, 0, "a store has 1 to %d partitions", PARTITIONS_MAX);
    TW_TRY(check_no_others(self, partition_count, reterr));
    for (int32_t i = 0; i < partition_count; i++) {
        TW_TRY(check_live(self, i, &frozen[i], reterr));
        TW_TRY(check_shadow(self, i, wanted == MADE ? &frozen[i] : NULL, reterr));
    }
    return TW_OK;
}

static enum tw_rc set_mark(struct product_shadow *self, int32_t partition, int64_t next_offset, int64_t from,
                           int64_t to, struct tw_err *reterr)
{
    const struct tw_store *store = &self->live_store;

    TW_TRY(store->set_mark(store->self, partition, next_offset, from, to, reterr));
    if (tw_failpoint("in_swap"))
        return tw_fail(reterr, TW_UNKNOWN, where, 0, "failpoint in_swap");
    return TW_OK;
}

/* Of a lease; a lasting mark is what it is. */
static int64_t lasting(int64_t mark)
{
    return mark < 0 ? mark : -mark;
}

/* Leases as they were, of the first so many partitions. One that cannot be reached is its maker's to take away. */
static void give_back(struct product_shadow *self, const struct tw_frozen *frozen, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        if (frozen[i].mark > 0)
            (void)set_mark(self, i, frozen[i].next_offset, lasting(frozen[i].mark), frozen[i].mark, NULL);
}

static enum tw_rc make_lasting(struct product_shadow *self, const struct tw_frozen *frozen, const struct marker *marker,
                               struct tw_err *reterr)
{
    for (int32_t i = 0; i < marker->mark_count; i++) {
        enum tw_rc rc = TW_OK;

        if (frozen[i].mark > 0)
            rc = set_mark(self, i, frozen[i].next_offset, frozen[i].mark, marker->marks[i], reterr);
        if (rc == TW_FENCED)
            give_back(self, frozen, i);
        TW_TRY(rc);
    }
    return TW_OK;
}

/* --- swap --------------------------------------------------------------------------------------------------------- */

/* The marks are written down before they are set, so that it can be told whose they are. */
static enum tw_rc begin(struct product_shadow *self, struct marker *marker, const struct tw_frozen *frozen,
                        int32_t partition_count, struct tw_err *reterr)
{
    TW_TRY(check_all(self, marker->state, frozen, partition_count, reterr));
    marker->mark_count = partition_count;
    for (int32_t i = 0; i < partition_count; i++)
        marker->marks[i] = lasting(frozen[i].mark);
    marker->step = MARK;
    TW_TRY(take_over(self, marker, reterr));
    TW_TRY(make_lasting(self, frozen, marker, reterr));
    return move_on(self, marker, COMPARE, reterr);
}

/* Of a swap on its way only itself may end the freeze. */
static enum tw_rc check_held(struct product_shadow *self, const struct marker *marker, enum tw_rc rc,
                             const char *what_now, struct tw_err *reterr)
{
    for (int32_t i = 0; i < marker->mark_count; i++) {
        int64_t mark;

        TW_TRY(read_mark(self, i, &mark, reterr));
        if (mark != marker->marks[i])
            return tw_fail(reterr, rc, where, 0, "partition %d of the live store lost the mark of the swap: %s", (int)i,
                           what_now);
    }
    return TW_OK;
}

static enum tw_rc check_held_between(struct product_shadow *self, const struct marker *marker, struct tw_err *reterr)
{
    return check_held(self, marker, TW_BROKEN, "restore it, or forget the shadow and rebuild anew", reterr);
}

static enum tw_rc free_partition(struct product_shadow *self, int32_t partition, int64_t mark, struct tw_err *reterr)
{
    TW_AUTO(free_bson)
    bson_t *statement = BCON_NEW("q", "{", "_id", BCON_INT32(partition), "mark", BCON_INT64(mark), "}", "u", "{",
                                 "$unset", "{", "mark", BCON_INT32(1), "}", "}");
    TW_AUTO(tw_writer_done) struct tw_writer writer;

    tw_writer_init(&writer, &self->live, "update", TW_MONGO_PROGRESS);
    TW_TRY(tw_writer_add(&writer, statement, reterr));
    return tw_writer_flush(&writer, reterr);
}

static enum tw_rc free_partitions(struct product_shadow *self, const struct marker *marker, struct tw_err *reterr)
{
    for (int32_t i = 0; i < marker->mark_count; i++)
        TW_TRY(free_partition(self, i, marker->marks[i], reterr));
    return TW_OK;
}

static enum tw_rc compare_held(struct product_shadow *self, struct marker *marker, struct tw_exchange *with,
                               struct tw_err *reterr)
{
    TW_TRY(tw_exchange_compare(with, reterr));
    return check_held(self, marker, TW_FENCED, "nothing has happened", reterr);
}

/* What cannot be exchanged is found out here, while nothing has happened yet. */
static enum tw_rc compare(struct product_shadow *self, struct marker *marker, const struct tw_frozen *frozen,
                          struct tw_exchange *with, struct tw_err *reterr)
{
    enum tw_rc rc = compare_held(self, marker, with, reterr);

    if (rc == TW_OK)
        return move_on(self, marker, BRING, reterr);
    if ((rc == TW_BROKEN || rc == TW_FENCED) && move_on(self, marker, NONE, NULL) == TW_OK)
        give_back(self, frozen, marker->mark_count);
    return rc;
}

static enum tw_rc go_on(struct product_shadow *self, struct marker *marker, struct tw_exchange *with,
                        struct tw_err *reterr)
{
    if (marker->step == BRING) {
        TW_TRY(check_held_between(self, marker, reterr));
        TW_TRY(tw_exchange_bring(with, reterr));
        TW_TRY(move_on(self, marker, KEEP, reterr));
    }
    if (marker->step == KEEP) {
        TW_TRY(check_held_between(self, marker, reterr));
        TW_TRY(tw_exchange_keep(with, reterr));
        TW_TRY(tw_exchange_forget(with, reterr));
        TW_TRY(move_on(self, marker, FREE, reterr));
    }
    TW_TRY(free_partitions(self, marker, reterr));
    *marker = (struct marker){.state = OLD, .owner = marker->owner};
    return move_on(self, marker, NONE, reterr);
}

static enum tw_rc exchange(struct product_shadow *self, enum state wanted, const struct tw_frozen *frozen,
                           int32_t partition_count, struct tw_exchange *with, struct tw_err *reterr)
{
    struct marker marker;

    TW_TRY(find_marker(self, &marker, reterr));
    if (!marker.is_ours || marker.state != wanted)
        return tw_fail(reterr, TW_BROKEN, where, 0, "%s holds no %s", self->place,
                       wanted == MADE ? "shadow to put into the live store's place" : "old store to go back to");
    if (marker.step <= COMPARE)
        TW_TRY(begin(self, &marker, frozen, partition_count, reterr));
    else if (marker.mark_count != partition_count)
        return tw_fail(reterr, TW_BROKEN, where, 0, "the swap on its way is of %d partitions, not of %d",
                       (int)marker.mark_count, (int)partition_count);
    else
        TW_TRY(take_over(self, &marker, reterr));
    self->owner = marker.owner;
    with->may_go_on = may_go_on;
    with->asked = self;
    with->partition_count = partition_count;
    if (marker.step == COMPARE)
        TW_TRY(compare(self, &marker, frozen, with, reterr));
    return go_on(self, &marker, with, reterr);
}

static enum tw_rc swap(void *shadow, const struct tw_frozen *frozen, int32_t partition_count, tw_swap_fn tell,
                       void *teller, struct tw_err *reterr)
{
    struct product_shadow *self = shadow;
    struct tw_exchange     with = {.live = &self->live, .shadow = &self->shadow, .tell = tell, .teller = teller};

    return exchange(self, MADE, frozen, partition_count, &with, reterr);
}

static enum tw_rc swap_back(void *shadow, const struct tw_frozen *frozen, int32_t partition_count, tw_swap_fn tell,
                            void *teller, struct tw_err *reterr)
{
    struct product_shadow *self = shadow;
    struct tw_exchange     with = {.live = &self->live, .shadow = &self->shadow, .tell = tell, .teller = teller};

    return exchange(self, OLD, frozen, partition_count, &with, reterr);
}

/* --- open and close ----------------------------------------------------------------------------------------------- */

static void close_shadow(void *shadow)
{
    struct product_shadow *self = shadow;

    if (!self)
        return;
    tw_product_store_close(&self->live_store);
    tw_product_store_close(&self->shadow_store);
    tw_mongo_done(&self->live);
    tw_mongo_done(&self->shadow);
    free(self->uri);
    free(self);
}

static enum tw_rc open_both(struct product_shadow *self, const char *live_uri, const char *name, int timeout_ms,
                            struct tw_err *reterr)
{
    char database[NAME_MAX_BYTES + sizeof("_shadow")];

    TW_TRY(tw_mongo_init(live_uri, timeout_ms, &self->live, reterr));
    if (*name)
        snprintf(database, sizeof(database), "%s", name);
    else
        snprintf(database, sizeof(database), "%.*s_shadow", NAME_MAX_BYTES, self->live.database);
    TW_TRY(tw_mongo_uri_beside(live_uri, database, &self->uri, reterr));
    TW_TRY(tw_mongo_init(self->uri, timeout_ms, &self->shadow, reterr));
    snprintf(self->place, sizeof(self->place), "database %s", self->shadow.database);
    TW_TRY(tw_product_store_open(live_uri, timeout_ms, &self->live_store, reterr));
    return tw_product_store_open(self->uri, timeout_ms, &self->shadow_store, reterr);
}

enum tw_rc tw_product_shadow_open(const char *live_uri, const char *name, int timeout_ms, struct tw_shadow *ret_shadow,
                                  struct tw_err *reterr)
{
    struct product_shadow *self = tw_alloc_zeroed(1, sizeof(*self));
    enum tw_rc             rc = open_both(self, live_uri, name, timeout_ms, reterr);

    if (rc != TW_OK) {
        close_shadow(self);
        return rc;
    }
    *ret_shadow = (struct tw_shadow){
        .uri = self->uri,
        .place = self->place,
        .look = look,
        .make = make,
        .drop = drop,
        .swap = swap,
        .swap_back = swap_back,
        .close = close_shadow,
        .self = self,
    };
    return TW_OK;
}

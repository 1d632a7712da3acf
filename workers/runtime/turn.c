/*
 * The hard rules of a turn, in the order they apply to a record:
 *   1. an offset that the dead-letter topic names is passed over (it still moves clock, hash and watermark);
 *   2. what cannot be decoded, or came to the wrong partition, becomes a dead letter, but for a requeue of one that is
 *      not open: it would have a name of its own, by which what is settled could be carried out once more;
 *   3. an operator's drop, and a requeue of a dead letter that is not open, go no further;
 *   4. an id that the ledger knows is a repeat (or a misuse of the key): nothing changes;
 *   5. while an older dead letter of its key is open, a command becomes one, too;
 *   6. If-Match;
 *   7. decide().
 * What may open or settle a dead letter that parks its key stands alone in its turn, so that rule 5 knows of it.
 */
#include "turn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "index.h"
#include "outbox.h"
#include "parking.h"
#include "tillwire/failpoint.h"
#include "tillwire/gen/shared_messages.h"

static const struct tw_verdicts no_verdicts;

const struct tw_type *tw_domain_command(const struct tw_domain *domain, struct tw_str ce_type)
{
    for (size_t i = 0; i < domain->command_count; i++)
        if (tw_str_is(ce_type, domain->commands[i]->ce_type))
            return domain->commands[i];
    return NULL;
}

/* --- decode ------------------------------------------------------------------------------------------------------ */

static void give_up(struct tw_turn *turn, struct tw_item *item, enum tw_dead_reason reason, const char *message)
{
    item->kind = TW_ITEM_DEAD;
    item->reason = reason;
    item->message = tw_arena_copy(turn->arena, tw_str_of(message));
}

static uint32_t entity_at(struct tw_turn *turn, const struct tw_key *key)
{
    uint64_t hash = tw_index_hash(key->id.bytes, 16) ^ tw_index_hash(key->sub.bytes, 16) ^ key->kind;
    uint32_t slot = tw_index_first(turn->entity_index, hash);

    for (; turn->entity_index->slots[slot]; slot = tw_index_next(turn->entity_index, slot)) {
        const struct tw_key *known = &turn->entities[turn->entity_index->slots[slot] - 1].key;

        if (known->kind == key->kind && tw_uuid_eq(known->id, key->id) && tw_uuid_eq(known->sub, key->sub))
            return turn->entity_index->slots[slot] - 1;
    }
    turn->entities =
        tw_arena_grow(turn->arena, turn->entities, turn->entity_count, &turn->entity_cap, sizeof(*turn->entities));
    turn->entities[turn->entity_count] =
        (struct tw_entity){.key = *key, .before_guard = -1, .guard = -1, .coalesce_offset = -1};
    turn->entity_index->slots[slot] = ++turn->entity_count;
    return turn->entity_count - 1;
}

static struct tw_known_row *row_at(struct tw_turn *turn, struct tw_uuid command_id)
{
    struct tw_uuid id = tw_command_id_ledger(command_id);
    uint32_t       slot = tw_index_first(turn->row_index, tw_index_hash(id.bytes, 16));

    for (; turn->row_index->slots[slot]; slot = tw_index_next(turn->row_index, slot)) {
        struct tw_known_row *known = &turn->rows[turn->row_index->slots[slot] - 1];

        if (tw_uuid_eq(known->row.id, id))
            return known;
    }
    turn->rows = tw_arena_grow(turn->arena, turn->rows, turn->row_count, &turn->row_cap, sizeof(*turn->rows));
    turn->rows[turn->row_count] = (struct tw_known_row){.row = {.id = id}};
    turn->row_index->slots[slot] = ++turn->row_count;
    return &turn->rows[turn->row_count - 1];
}

/* Views have no row unless the client gave a key: each record is one view. */
static bool is_remembered(const struct tw_item *item)
{
    return item->readable &&
           !(item->cmd.type && item->cmd.type->quiet && !tw_command_id_is_keyed(item->envelope.command_id));
}

/* The key must be the aggregate's id, hash to this partition, and follow from its natural key: else two partitions
 * would write one aggregate in an order that no replay repeats. */
static const char *why_misrouted(const struct tw_turn *turn, const struct tw_item *item, const struct tw_key *keys)
{
    const struct tw_turn_config *config = turn->config;

    if (!tw_uuid_eq(keys[0].id, item->cmd.key_id))
        return "the key is not the aggregate's id in the payload";
    if (tw_partition_of(item->record->key, config->partition_count) != turn->partition)
        return "the key belongs to another partition";
    if (config->domain->owns_its_id && !config->domain->owns_its_id(&item->cmd, config->id_key))
        return "the id does not follow from the natural key";
    return NULL;
}

static void decode_drop(struct tw_turn *turn, struct tw_item *item)
{
    if (item->envelope.drop_of >= 0)
        item->kind = TW_ITEM_DROP;
    else
        give_up(turn, item, TW_DEAD_BAD_ENVELOPE, "header '" TW_H_DROP_OF "' is missing");
}

static void decode_command(struct tw_turn *turn, struct tw_item *item)
{
    struct tw_err err = {0};
    struct tw_key keys[TW_KEYS_MAX];
    const char   *misrouted;
    void         *body;

    item->cmd.type = tw_domain_command(turn->config->domain, item->envelope.type);
    if (!item->cmd.type) {
        give_up(turn, item, TW_DEAD_UNKNOWN_TYPE, "this program does not know the command type");
        return;
    }
    if (!tw_uuid_parse(item->record->key, &item->cmd.key_id)) {
        give_up(turn, item, TW_DEAD_MISROUTED, "the key is not a UUID");
        return;
    }
    body = tw_arena_alloc(turn->arena, item->cmd.type->size);
    if (item->cmd.type->unpack(item->record->value, turn->arena, body, &err) != TW_OK ||
        tw_failpoint("mutant_good_given_up")) {
        give_up(turn, item, TW_DEAD_UNDECODABLE, err.msg);
        return;
    }
    item->cmd.body = body;
    item->entity_count = turn->config->domain->keys(&item->cmd, keys);
    misrouted = why_misrouted(turn, item, keys);
    if (misrouted) {
        item->entity_count = 0;
        give_up(turn, item, TW_DEAD_MISROUTED, misrouted);
        return;
    }
    for (size_t k = 0; k < item->entity_count; k++)
        item->entities[k] = entity_at(turn, &keys[k]);
}

static void decode_record(struct tw_turn *turn, struct tw_item *item)
{
    struct tw_err err = {0};

    item->readable = tw_envelope_read(item->record, &item->envelope, &err) == TW_OK;
    if (tw_verdicts_has(turn->verdicts, item->record->offset))
        item->kind = TW_ITEM_PASSED_OVER;
    else if (!item->readable)
        give_up(turn, item, TW_DEAD_BAD_ENVELOPE, err.msg);
    else if (tw_parking_is_late(turn, item))
        item->kind = TW_ITEM_COMMAND; /* whatever it is: it goes no further */
    else if (tw_str_is(item->envelope.type, TW_DROP_TYPE))
        decode_drop(turn, item);
    else
        decode_command(turn, item);
    if (turn->condemned && turn->condemned->offset == item->record->offset && item->kind != TW_ITEM_PASSED_OVER)
        give_up(turn, item, TW_DEAD_REFUSED_BY_STORE, turn->condemned->message);
}

/* Is there, or will there be, a row of this command? Of a view, too, once it was given up. */
static bool has_row(const struct tw_item *item)
{
    return is_remembered(item) || (item->readable && (item->kind != TW_ITEM_COMMAND || item->waits_for >= 0 ||
                                                      item->envelope.requeue_of >= 0));
}

/* An operator's word, or what the store refuses: what comes behind it rests on the dead letters that are open by then. */
static bool stands_alone(const struct tw_item *item)
{
    return tw_parking_is_word(item) || (item->kind == TW_ITEM_DEAD && item->reason == TW_DEAD_REFUSED_BY_STORE);
}

void tw_turn_decode(struct tw_turn *turn)
{
    if (!turn->verdicts)
        turn->verdicts = &no_verdicts;
    turn->items = TW_NEW_ARRAY(turn->arena, turn->record_count, struct tw_item);
    turn->entity_index = tw_index_new(turn->arena, turn->record_count * TW_KEYS_MAX);
    turn->row_index = tw_index_new(turn->arena, 2 * turn->record_count); /* each may end a pending command, too */
    for (size_t i = 0; i < turn->record_count; i++) {
        struct tw_item *item = &turn->items[i];

        item->record = &turn->records[i];
        item->envelope =
            (struct tw_envelope){.if_version = -1, .original_ms = -1, .requeue_of = -1, .attempt = -1, .drop_of = -1};
        decode_record(turn, item);
        if (stands_alone(item)) { /* the next record comes with the next turn */
            turn->record_count = i ? i : 1;
            if (i)
                break;
        }
        item->cmd.envelope = &item->envelope;
        item->cmd.offset = item->record->offset;
        item->waits_for = tw_parking_waits_for(turn, item);
        if (has_row(item))
            row_at(turn, item->envelope.command_id);
    }
}

/* --- load -------------------------------------------------------------------------------------------------------- */

static enum tw_rc take_from_cache(struct tw_turn *turn, struct tw_cache *cache, struct tw_entity *entity, bool *ret_hit,
                                  struct tw_err *reterr)
{
    const struct tw_type *type = turn->config->domain->states[entity->key.kind];
    struct tw_str         packed;
    void                 *state;

    *ret_hit = tw_cache_get(cache, &entity->key, &packed, &entity->before_guard);
    if (!*ret_hit)
        return TW_OK;
    state = tw_arena_alloc(turn->arena, type->size);
    TW_TRY(type->unpack(tw_arena_copy(turn->arena, packed), turn->arena, state, reterr));
    entity->before = state;
    return TW_OK;
}

static const struct tw_uuid *wanted_rows(const struct tw_turn *turn)
{
    struct tw_uuid *ids = TW_NEW_ARRAY(turn->arena, turn->row_count, struct tw_uuid);

    for (uint32_t i = 0; i < turn->row_count; i++)
        ids[i] = turn->rows[i].row.id;
    return ids;
}

enum tw_rc tw_turn_load(struct tw_turn *turn, struct tw_cache *cache, struct tw_err *reterr)
{
    const struct tw_store *store = turn->config->store;
    uint32_t              *positions = TW_NEW_ARRAY(turn->arena, turn->entity_count, uint32_t);
    struct tw_load         load = {
                .entities = TW_NEW_ARRAY(turn->arena, turn->entity_count, struct tw_entity),
                .ledger_ids = wanted_rows(turn),
                .ledger_id_count = turn->row_count,
    };

    for (uint32_t i = 0; i < turn->entity_count; i++) {
        bool hit;

        TW_TRY(take_from_cache(turn, cache, &turn->entities[i], &hit, reterr));
        if (hit)
            continue;
        positions[load.entity_count] = i;
        load.entities[load.entity_count++] = turn->entities[i];
    }
    TW_TRY(store->load(store->self, turn->partition, turn->before.next_offset, &load, turn->arena, reterr));
    for (size_t i = 0; i < load.entity_count; i++)
        turn->entities[positions[i]] = load.entities[i];
    for (size_t i = 0; i < load.row_count; i++) {
        struct tw_known_row *known = row_at(turn, load.rows[i].id);

        known->row = load.rows[i];
        known->present = known->stored = true;
    }
    return TW_OK;
}

/* --- what decide() may call -------------------------------------------------------------------------------------- */

const void *tw_state(const struct tw_decision *d, size_t index)
{
    const struct tw_entity *entity = d->entities[index];

    return entity->state ? entity->state : entity->before;
}

void *tw_state_change(struct tw_decision *d, size_t index)
{
    struct tw_entity     *entity = d->entities[index];
    const struct tw_type *type = d->turn->config->domain->states[entity->key.kind];

    if (!entity->state) {
        entity->state = tw_arena_alloc(d->arena, type->size);
        if (entity->before)
            type->copy(entity->before, d->arena, entity->state);
    }
    entity->changed = true;
    entity->guard = d->cmd->offset;
    return entity->state;
}

static void add_event(struct tw_turn *turn, struct tw_item *cause, const struct tw_type *type, const void *payload)
{
    if (turn->config->silent)
        return;
    tw_buf_clear(&turn->scratch);
    type->pack(payload, &turn->scratch);
    turn->events = tw_arena_grow(turn->arena, turn->events, turn->event_count, &turn->event_cap, sizeof(*turn->events));
    turn->events[turn->event_count++] = (struct tw_event){
        .type = type,
        .cause_offset = cause->record->offset,
        .n = cause->event_count++,
        .at_ms = cause->cmd.at_ms,
        .command_id = cause->envelope.command_id,
        .traceparent = cause->envelope.traceparent,
        .key = cause->record->key,
        .payload = tw_arena_copy(turn->arena, tw_buf_str(&turn->scratch)),
    };
}

void tw_emit(struct tw_decision *d, const struct tw_type *type, const void *payload)
{
    add_event(d->turn, d->turn->current, type, payload);
}

static void tell_coalesced(struct tw_turn *turn, struct tw_entity *entity)
{
    const struct tw_type *type;
    const void           *payload;

    if (entity->coalesce_offset < 0)
        return;
    if (!turn->config->silent) {
        type = turn->config->domain->coalesced(entity->state, turn->arena, &payload);
        add_event(turn, &turn->items[entity->coalesce_offset - turn->before.next_offset], type, payload);
    }
    entity->coalesce_offset = -1;
}

void tw_tell_coalesced(struct tw_decision *d, size_t index)
{
    tell_coalesced(d->turn, d->entities[index]);
}

void tw_emit_coalesced(struct tw_decision *d, size_t index)
{
    d->entities[index]->coalesce_offset = d->cmd->offset;
}

/* --- decide ------------------------------------------------------------------------------------------------------ */

/* Of the command @p command_id, whose row is @p row; the cause is it, or what ended it. */
void tw_turn_emit_outcome(struct tw_turn *turn, struct tw_item *cause, struct tw_uuid command_id,
                          const struct tw_ledger_row *row, bool repeated)
{
    const struct tw_outcome  *outcome = &row->outcome;
    struct tw_command_outcome payload = {
        .command_id = command_id,
        .command_type = row->type,
        .status = (enum tw_command_status)outcome->status,
        .http_status = outcome->http_status,
        .has_problem_code = outcome->problem != TW_PROBLEM_NONE,
        .problem_code = tw_str_of(tw_problem_code(outcome->problem)),
        .has_detail = outcome->detail.len > 0,
        .detail = outcome->detail,
        .has_resource = outcome->resource.len > 0,
        .resource = outcome->resource,
        .has_caller = !tw_uuid_is_nil(row->caller),
        .caller = row->caller,
        .repeated = repeated,
        .submitted_at_ms = row->submitted_ms,
        .finished_at_ms = row->at_ms,
        .has_record_offset = !repeated && row->offset != cause->record->offset,
        .record_offset = row->offset,
    };

    if (outcome->status != TW_PENDING) /* else it has none yet */
        add_event(turn, cause, &tw_command_outcome_type, &payload);
}

/* "cart.add_item.v1" -> "cart.add_item", from the envelope alone: programs that do not know the type agree. */
static struct tw_str command_name(struct tw_str ce_type)
{
    const char *version = ce_type.len ? memrchr(ce_type.ptr, '.', ce_type.len) : NULL;

    return version ? (struct tw_str){ce_type.ptr, (size_t)(version - ce_type.ptr)} : ce_type;
}

struct tw_ledger_row tw_turn_make_row(const struct tw_turn *turn, const struct tw_item *item, struct tw_outcome outcome)
{
    struct tw_ledger_row row = {
        .id = tw_command_id_ledger(item->envelope.command_id),
        .caller = item->envelope.caller,
        .type = command_name(item->envelope.type),
        .outcome = outcome,
        .offset = item->record->offset,
        .submitted_ms = item->envelope.submitted_ms,
        .at_ms = turn->clock_ms,
    };

    memcpy(row.fingerprint, item->envelope.fingerprint, sizeof(row.fingerprint));
    return row;
}

static void remember(struct tw_turn *turn, struct tw_item *item, struct tw_known_row *known, struct tw_outcome outcome)
{
    known->row = tw_turn_make_row(turn, item, outcome);
    known->present = known->fresh = true;
    tw_turn_emit_outcome(turn, item, item->envelope.command_id, &known->row, false);
}

void tw_finish(struct tw_decision *d, const struct tw_pending_command *pending, struct tw_outcome outcome)
{
    struct tw_turn      *turn = d->turn;
    struct tw_known_row *known = row_at(turn, pending->command_id);

    if (!known->present)
        known->stored = true; /* the load did not look for it: there is a pending row, unless it was swept */
    known->row = (struct tw_ledger_row){
        .id = tw_command_id_ledger(pending->command_id),
        .caller = pending->caller,
        .type = tw_str_of(pending->type),
        .outcome = outcome,
        .offset = pending->offset,
        .submitted_ms = pending->submitted_ms,
        .at_ms = turn->clock_ms,
    };
    memcpy(known->row.fingerprint, pending->fingerprint, sizeof(known->row.fingerprint));
    known->present = known->fresh = true;
    tw_turn_emit_outcome(turn, turn->current, pending->command_id, &known->row, false);
}

bool tw_turn_row_counts(const struct tw_turn *turn, const struct tw_known_row *known)
{
    return known->present && turn->clock_ms - known->row.at_ms < TW_LEDGER_LIFE_MS &&
           !tw_failpoint("mutant_ledger_ignored");
}

bool tw_turn_is_same_request(const struct tw_item *item, const struct tw_ledger_row *row)
{
    return !memcmp(row->fingerprint, item->envelope.fingerprint, sizeof(row->fingerprint));
}

void tw_turn_answer_repeat(struct tw_turn *turn, struct tw_item *item, const struct tw_ledger_row *row)
{
    if (tw_turn_is_same_request(item, row)) {
        turn->counts.repeated++;
        tw_turn_emit_outcome(turn, item, item->envelope.command_id, row, true);
    } else {
        struct tw_ledger_row misuse = tw_turn_make_row(
            turn, item, tw_rejected(TW_PROBLEM_KEY_REUSED, "the key belongs to a request with another body"));

        turn->counts.rejected++;
        tw_turn_emit_outcome(turn, item, item->envelope.command_id, &misuse, false);
    }
}

static struct tw_outcome decide_command(struct tw_turn *turn, struct tw_item *item)
{
    const struct tw_domain *domain = turn->config->domain;
    struct tw_entity       *entities[TW_KEYS_MAX];
    struct tw_decision      decision = {turn->arena, entities, turn, &item->cmd};
    uint32_t                events_before = turn->event_count;
    struct tw_outcome       outcome;

    assert(item->entity_count); /* the aggregate at least */
    for (size_t k = 0; k < item->entity_count; k++)
        entities[k] = &turn->entities[item->entities[k]];
    if (item->envelope.if_version >= 0 &&
        domain->version(tw_state(&decision, 0), turn->clock_ms) != item->envelope.if_version)
        return tw_rejected(TW_PROBLEM_PRECONDITION_FAILED, "the resource changed since it was read");
    outcome = domain->decide(&decision, &item->cmd);
    if (outcome.status == TW_REJECTED && !outcome.has_effect) { /* changes nothing: else it is our own mistake */
        assert(turn->event_count == events_before);
        for (size_t k = 0; k < item->entity_count; k++)
            assert(entities[k]->guard != item->record->offset);
    }
    return outcome;
}

void tw_turn_set_aside(struct tw_turn *turn, struct tw_item *item)
{
    struct tw_outcome    outcome = tw_rejected(TW_PROBLEM_DEAD_LETTERED, "");
    struct tw_known_row *known;

    if (item->kind == TW_ITEM_PASSED_OVER)
        turn->counts.passed_over++;
    else
        turn->counts.dead++;
    if (!item->readable)
        return;
    outcome.status = TW_DEAD_LETTERED;
    known = row_at(turn, item->envelope.command_id);
    if (!tw_turn_row_counts(turn, known))
        remember(turn, item, known, outcome);
}

struct tw_known_row *tw_turn_row_of(struct tw_turn *turn, const struct tw_item *item)
{
    return has_row(item) ? row_at(turn, item->envelope.command_id) : NULL;
}

void tw_turn_count_and_remember(struct tw_turn *turn, struct tw_item *item, struct tw_outcome outcome)
{
    struct tw_known_row *known = tw_turn_row_of(turn, item); /* looked up late: rows move when tw_finish() adds one */

    if (outcome.status == TW_REJECTED)
        turn->counts.rejected++;
    else
        turn->counts.succeeded++;
    if (known)
        remember(turn, item, known, outcome);
}

static void decide_item(struct tw_turn *turn, struct tw_item *item)
{
    struct tw_known_row *known = tw_turn_row_of(turn, item);
    bool                 is_requeue = item->envelope.requeue_of >= 0;
    struct tw_outcome    outcome;

    if (tw_parking_is_late(turn, item)) {
        tw_parking_refuse(turn, item, known, "there is no such open dead letter");
        return;
    }
    if (known && is_remembered(item) && tw_turn_row_counts(turn, known) && !tw_parking_is_requeued(item, known)) {
        tw_turn_answer_repeat(turn, item, &known->row);
        if (is_requeue)
            item->settled_as = tw_parking_settled_by(item, &known->row);
        return;
    }
    if (tw_parking_waits(turn, item, known))
        return;
    outcome = decide_command(turn, item);
    if (is_requeue)
        item->settled_as = tw_status_name(outcome.status);
    tw_turn_count_and_remember(turn, item, outcome);
}

static void emit_coalesced(struct tw_turn *turn)
{
    for (uint32_t i = 0; i < turn->entity_count; i++)
        tell_coalesced(turn, &turn->entities[i]);
}

static int compare_events(const void *left, const void *right)
{
    const struct tw_event *a = left;
    const struct tw_event *b = right;

    if (a->cause_offset != b->cause_offset)
        return a->cause_offset < b->cause_offset ? -1 : 1;
    return (a->n > b->n) - (a->n < b->n);
}

/* Events, dead letters and settlements in the order of their causes. */
static struct tw_str pack_outbox(struct tw_turn *turn)
{
    uint32_t event = 0;

    if (turn->event_count)
        qsort(turn->events, turn->event_count, sizeof(*turn->events), compare_events);
    for (size_t i = 0; i < turn->record_count; i++) {
        const struct tw_item *item = &turn->items[i];

        for (; event < turn->event_count && turn->events[event].cause_offset == item->record->offset; event++)
            tw_outbox_pack_event(&turn->outbox, &turn->events[event]);
        if (turn->config->silent)
            continue;
        if (item->kind == TW_ITEM_DEAD)
            tw_parking_pack_dead_letter(turn, item);
        else if (item->settled_as)
            tw_outbox_pack_settlement(&turn->outbox, item->record,
                                      item->kind == TW_ITEM_DROP ? item->envelope.drop_of : item->envelope.requeue_of,
                                      item->settled_as, item->cmd.clock_ms);
    }
    return tw_buf_str(&turn->outbox);
}

static int compare_keys(const void *left, const void *right)
{
    const struct tw_key *a = &(*(const struct tw_entity *const *)left)->key;
    const struct tw_key *b = &(*(const struct tw_entity *const *)right)->key;
    int                  order = (a->kind > b->kind) - (a->kind < b->kind);

    if (!order)
        order = tw_uuid_cmp(a->id, b->id);
    return order ? order : tw_uuid_cmp(a->sub, b->sub);
}

static int compare_rows(const void *left, const void *right)
{
    return tw_uuid_cmp(((const struct tw_ledger_row *)left)->id, ((const struct tw_ledger_row *)right)->id);
}

static void collect_entities(struct tw_turn *turn)
{
    const struct tw_entity **changed = TW_NEW_ARRAY(turn->arena, turn->entity_count, const struct tw_entity *);
    size_t                   count = 0;

    for (uint32_t i = 0; i < turn->entity_count; i++)
        if (turn->entities[i].changed)
            changed[count++] = &turn->entities[i];
    if (count)
        qsort(changed, count, sizeof(*changed), compare_keys);
    turn->changes.entities = changed;
    turn->changes.entity_count = count;
}

static void collect_rows(struct tw_turn *turn)
{
    struct tw_ledger_row *fresh = TW_NEW_ARRAY(turn->arena, turn->row_count, struct tw_ledger_row);
    size_t                count = 0;

    for (uint32_t i = 0; i < turn->row_count; i++) {
        if (!turn->rows[i].fresh)
            continue;
        fresh[count] = turn->rows[i].row;
        fresh[count++].replaces = turn->rows[i].stored;
    }
    if (count)
        qsort(fresh, count, sizeof(*fresh), compare_rows);
    turn->changes.rows = fresh;
    turn->changes.row_count = count;
}

void tw_turn_decide(struct tw_turn *turn)
{
    const struct tw_record *last = &turn->records[turn->record_count - 1];

    turn->clock_ms = turn->before.clock_ms + (tw_failpoint("mutant_clock_of_batches") ? 1000 : 0);
    for (size_t i = 0; i < turn->record_count; i++) {
        struct tw_item *item = &turn->items[i];

        if (item->record->timestamp_ms > turn->clock_ms)
            turn->clock_ms = item->record->timestamp_ms;
        item->cmd.at_ms = tw_parking_time_of(turn, item);
        item->cmd.clock_ms = turn->clock_ms;
        turn->current = item;
        if (item->kind == TW_ITEM_COMMAND)
            decide_item(turn, item);
        else if (item->kind == TW_ITEM_DROP)
            tw_parking_decide_drop(turn, item);
        else
            tw_turn_set_aside(turn, item);
    }
    emit_coalesced(turn);
    turn->changes.partition = turn->partition;
    turn->changes.first_offset = turn->before.next_offset;
    turn->changes.after.next_offset = last->offset + 1;
    turn->changes.after.clock_ms = turn->clock_ms;
    tw_record_hash(last, turn->changes.after.last_hash);
    turn->changes.after.outbox = pack_outbox(turn);
    collect_entities(turn);
    collect_rows(turn);
}

/* --- commit ------------------------------------------------------------------------------------------------------ */

static void keep(struct tw_turn *turn, struct tw_cache *cache, const struct tw_entity *entity)
{
    const void   *state = entity->changed ? entity->state : entity->before;
    struct tw_str known;
    int64_t       guard;

    if (!state)
        return;
    if (!entity->changed && tw_cache_get(cache, &entity->key, &known, &guard))
        return;
    tw_buf_clear(&turn->scratch);
    turn->config->domain->states[entity->key.kind]->pack(state, &turn->scratch);
    tw_cache_put(cache, &entity->key, tw_buf_str(&turn->scratch),
                 entity->changed ? entity->guard : entity->before_guard);
}

enum tw_rc tw_turn_commit(struct tw_turn *turn, struct tw_cache *cache, struct tw_err *reterr)
{
    const struct tw_store *store = turn->config->store;

    TW_TRY(store->commit(store->self, &turn->changes, reterr));
    for (uint32_t i = 0; i < turn->entity_count; i++)
        keep(turn, cache, &turn->entities[i]);
    return TW_OK;
}

void tw_turn_done(struct tw_turn *turn)
{
    if (!turn)
        return;
    tw_buf_done(&turn->scratch);
    tw_buf_done(&turn->outbox);
}

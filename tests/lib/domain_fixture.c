/* See domain_fixture.h. */
#include "domain_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what decide() may call --------------------------------------------------------------------------------------- */

const void *tw_state(const struct tw_decision *d, size_t index)
{
    return d->entities[index]->state ? d->entities[index]->state : d->entities[index]->before;
}

void *tw_state_change(struct tw_decision *d, size_t index)
{
    struct tw_entity     *entity = d->entities[index];
    const struct tw_type *type = d->turn->domain->states[entity->key.kind];

    if (!entity->state) {
        entity->state = tw_arena_alloc(d->arena, type->size);
        if (entity->before)
            type->copy(entity->before, d->arena, entity->state);
    }
    entity->changed = true;
    entity->guard = d->cmd->offset;
    return entity->state;
}

void tw_emit(struct tw_decision *d, const struct tw_type *type, const void *payload)
{
    struct tw_turn *turn = d->turn;
    void           *copy = tw_arena_alloc(d->arena, type->size);

    type->copy(payload, d->arena, copy);
    turn->events = tw_arena_grow(d->arena, turn->events, turn->event_count, &turn->event_cap, sizeof(*turn->events));
    turn->events[turn->event_count++] = (struct tw_turn_event){type, copy};
    turn->event_type = type;
    turn->event = copy;
}

void tw_emit_coalesced(struct tw_decision *d, size_t index)
{
    assert_non_null(d->turn->domain->coalesced);
    d->entities[index]->coalesce_offset = d->cmd->offset;
}

void tw_tell_coalesced(struct tw_decision *d, size_t index)
{
    d->entities[index]->coalesce_offset = -1;
}

void tw_finish(struct tw_decision *d, const struct tw_pending_command *pending, struct tw_outcome outcome)
{
    struct tw_turn *turn = d->turn;

    assert_false(turn->has_finished);
    turn->has_finished = true;
    turn->finished = *pending;
    turn->finished_outcome = outcome;
}

/* --- given -------------------------------------------------------------------------------------------------------- */

int given_nothing_stored(void **state, const struct tw_domain *domain)
{
    struct tw_turn *turn = tw_alloc_zeroed(1, sizeof(*turn));

    turn->domain = domain;
    turn->offset = 40;
    *state = turn;
    return 0;
}

int turn_done(void **state)
{
    struct tw_turn *turn = *state;

    tw_arena_done(&turn->arena);
    free(turn);
    return 0;
}

void forget_stored(struct tw_turn *turn)
{
    turn->entity_count = 0;
}

void next_batch(struct tw_turn *turn)
{
    for (size_t i = 0; i < turn->entity_count; i++) {
        struct tw_entity *entity = &turn->entities[i];

        if (entity->changed) {
            entity->before = entity->state;
            entity->before_guard = entity->guard;
        }
        entity->state = NULL;
        entity->guard = -1;
        entity->changed = false;
        entity->coalesce_offset = -1;
    }
}

void *alter(struct tw_turn *turn)
{
    struct tw_entity     *entity = &turn->entities[0];
    const struct tw_type *type = turn->domain->states[entity->key.kind];
    void                 *copy;

    assert_non_null(newest(turn));
    if (entity->state)
        return entity->state;
    copy = tw_arena_alloc(&turn->arena, type->size);
    type->copy(entity->before, &turn->arena, copy);
    entity->before = copy;
    return copy;
}

struct tw_uuid command_id(uint32_t number)
{
    struct tw_uuid id = {{0x01}};

    memcpy(id.bytes + 12, &number, sizeof(number));
    return id;
}

/* --- when --------------------------------------------------------------------------------------------------------- */

static void decide(struct tw_turn *turn, const struct tw_command *cmd, struct tw_entity **entities, size_t count)
{
    struct tw_decision d = {&turn->arena, entities, turn, cmd};

    turn->events = NULL;
    turn->event_count = turn->event_cap = 0;
    turn->event_type = NULL;
    turn->event = NULL;
    turn->has_finished = false;
    turn->outcome = turn->domain->decide(&d, cmd);
    if (turn->outcome.status != TW_REJECTED)
        return;
    assert_false(turn->has_finished);
    if (turn->outcome.has_effect) {
        assert_true(turn->event_count > 0);
        return;
    }
    assert_int_equal(turn->event_count, 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_not_equal(entities[i]->guard, cmd->offset);
        assert_int_not_equal(entities[i]->coalesce_offset, cmd->offset);
    }
}

const struct tw_outcome *when(struct tw_turn *turn, const struct tw_type *type, const void *body, int64_t at_ms)
{
    struct tw_envelope envelope = {
        .command_id = command_id(turn->command_number),
        .submitted_ms = at_ms - SUBMITTED_MS,
        .fingerprint = {(uint8_t)turn->command_number},
        .if_version = -1,
    };
    struct tw_command cmd = {
        .type = type, .body = body, .envelope = &envelope, .offset = turn->offset++, .at_ms = at_ms};
    struct tw_key     keys[TW_KEYS_MAX];
    struct tw_entity *entities[TW_KEYS_MAX];
    size_t            count = turn->domain->keys(&cmd, keys);

    assert_in_range(count, 1, TW_KEYS_MAX);
    for (size_t i = 0; i < count; i++) {
        entities[i] = entity_of(turn, &keys[i]);
        for (size_t k = 0; k < i; k++)
            assert_ptr_not_equal(entities[i], entities[k]); /* a key is named once */
    }
    if (at_ms > turn->clock_ms)
        turn->clock_ms = at_ms;
    envelope.original_ms = at_ms < turn->clock_ms ? at_ms : -1;
    cmd.clock_ms = turn->clock_ms;
    cmd.key_id = envelope.caller = keys[0].id;
    turn->command_number++;
    decide(turn, &cmd, entities, count);
    return &turn->outcome;
}

/* --- then --------------------------------------------------------------------------------------------------------- */

const void *newest(const struct tw_turn *turn)
{
    const struct tw_entity *entity = &turn->entities[0];

    if (!turn->entity_count)
        return NULL;
    return entity->state ? entity->state : entity->before;
}

struct tw_entity *entity_of(struct tw_turn *turn, const struct tw_key *key)
{
    for (size_t i = 0; i < turn->entity_count; i++) {
        const struct tw_key *known = &turn->entities[i].key;

        if (known->kind == key->kind && tw_uuid_eq(known->id, key->id) && tw_uuid_eq(known->sub, key->sub))
            return &turn->entities[i];
    }
    assert_true(turn->entity_count < TW_LEN(turn->entities));
    turn->entities[turn->entity_count] =
        (struct tw_entity){.key = *key, .before_guard = -1, .guard = -1, .coalesce_offset = -1};
    return &turn->entities[turn->entity_count++];
}

const void *event_of(const struct tw_turn *turn, const struct tw_type *type)
{
    const void *found = NULL;

    for (uint32_t i = 0; i < turn->event_count; i++) {
        if (turn->events[i].type != type)
            continue;
        assert_null(found);
        found = turn->events[i].payload;
    }
    return found;
}

void assert_problem(const struct tw_outcome *outcome, enum tw_problem problem)
{
    assert_int_equal(outcome->status, TW_REJECTED);
    assert_string_equal(tw_problem_code(outcome->problem), tw_problem_code(problem));
}

void assert_path(struct tw_str actual, const char *folder, struct tw_uuid id)
{
    char text[TW_UUID_TEXT + 1], path[96];

    tw_uuid_format(id, text);
    snprintf(path, sizeof(path), "%s/%s", folder, text);
    assert_str(actual, path);
}

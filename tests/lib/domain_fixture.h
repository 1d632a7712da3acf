/**
 * What decide() of a domain works in, without a log and a store: given what is stored, when a command comes, then this
 * follows. It stands in for workers/runtime/turn.c, so a program links one of the two.
 *
 * A turn holds the entities that its commands name, by key, from one command to the next. Commands share a batch until
 * next_batch() makes what they left the stored state. Whatever a refusal must not do (events, changes) fails the test
 * in when() itself.
 */
#ifndef TILLWIRE_TESTS_DOMAIN_FIXTURE_H
#define TILLWIRE_TESTS_DOMAIN_FIXTURE_H

#include "tillwire/domain.h"
#include "unit.h"

#define AT_MS   INT64_C(1795428000123) /* when most things happen */
#define DAY_MS  INT64_C(86400000)
#define HOUR_MS INT64_C(3600000)

struct tw_turn_event {
    const struct tw_type *type;
    const void           *payload; /**< its generated struct, a copy */
};

struct tw_turn {
    const struct tw_domain *domain;
    struct tw_arena         arena;
    struct tw_entity        entities[16]; /**< the first one is the aggregate that most tests are about */
    size_t                  entity_count;

    /* Of the next command; each may be set before it. */
    int64_t  offset;
    uint32_t command_number; /**< its id is command_id(command_number) */
    int64_t  clock_ms;       /**< of the partition; moved on by each command's time */

    /* What followed from the last one. */
    struct tw_outcome     outcome;
    struct tw_turn_event *events;
    uint32_t              event_count;
    uint32_t              event_cap;
    const struct tw_type *event_type; /**< of the last event; NULL: there was none */
    const void           *event;
};

/* --- given -------------------------------------------------------------------------------------------------------- */

/** For a cmocka setup: an empty store of @p domain. turn_done() is the teardown. */
int given_nothing_stored(void **state, const struct tw_domain *domain);
int turn_done(void **state);

/** The store forgets all it has, as a sweep of what ended does. */
void  forget_stored(struct tw_turn *turn);
/** The batch is over: what was decided is what the store has now. */
void  next_batch(struct tw_turn *turn);
/** The newest state of the first entity, to be changed into what no command makes. It must exist. */
void *alter(struct tw_turn *turn);

struct tw_uuid command_id(uint32_t number);

/* --- when --------------------------------------------------------------------------------------------------------- */

/** Decides one command, @p body being the generated struct of @p type. One whose time lies before the partition's
 *  clock is a requeued one. */
const struct tw_outcome *when(struct tw_turn *turn, const struct tw_type *type, const void *body, int64_t at_ms);

/* --- then --------------------------------------------------------------------------------------------------------- */

/** The newest state of the first entity; NULL when it does not exist. */
const void       *newest(const struct tw_turn *turn);
/** The entity of a key, which need not exist in the store. */
struct tw_entity *entity_of(struct tw_turn *turn, const struct tw_key *key);

void assert_problem(const struct tw_outcome *outcome, enum tw_problem problem);
/** @p actual is `<folder>/<id>`. */
void assert_path(struct tw_str actual, const char *folder, struct tw_uuid id);

#endif

/* Links: tw_test tw_fold tw_cart_domain tw_product_domain */
/*
 * What a dead letter means for the commands behind it, and how an operator's words mend it (workers/runtime/parking.c,
 * verdicts.c): on the store in memory, by a loop that narrows down and remembers its verdicts as a worker does.
 */
#include <stdlib.h>
#include <string.h>

#include "cart_domain.h"
#include "memory_store.h"
#include "outbox.h"
#include "product_domain.h"
#include "records.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/product_messages.h"
#include "tillwire/gen/shared_messages.h"
#include "turn.h"
#include "unit.h"

enum { PARTITION = 2, PARTITIONS = 6, LETTERS_MAX = 4000, MEMBERS = 12 };

struct world {
    struct tw_test_log    log;
    struct tw_store       store;
    struct tw_turn_config config;
    struct tw_arena       arena; /* of a turn */
    struct tw_arena       letters_arena;
    struct tw_cache      *cache;
    struct tw_progress    progress;
    struct tw_verdicts    verdicts;
    struct tw_record     *letters; /* the dead-letter topic; offsets count from 0 */
    size_t                letter_count;
    struct tw_turn        turn; /* the last one */
};

static struct world *new_world(const struct tw_domain *domain)
{
    struct world *world = tw_alloc_zeroed(1, sizeof(*world));

    tw_test_log_init(&world->log, PARTITION, PARTITIONS);
    tw_memory_store_open(domain, &world->store);
    world->config = (struct tw_turn_config){
        .domain = domain, .store = &world->store, .partition_count = PARTITIONS, .program = "test 1"};
    world->cache = tw_cache_new(1 << 20);
    world->letters = tw_alloc_zeroed(LETTERS_MAX, sizeof(*world->letters));
    return world;
}

static void free_world(struct world *world)
{
    tw_turn_done(&world->turn);
    tw_test_log_done(&world->log);
    tw_memory_store_close(&world->store);
    tw_arena_done(&world->arena);
    tw_arena_done(&world->letters_arena);
    tw_cache_free(world->cache);
    tw_verdicts_done(&world->verdicts);
    free(world->letters);
    free(world);
}

/* --- a worker ---------------------------------------------------------------------------------------------------- */

static void publish(struct world *world)
{
    struct tw_outbox_record *records;
    size_t                   count;
    struct tw_err            err;

    assert_int_equal(tw_outbox_render(world->turn.changes.after.outbox, world->config.domain->name, PARTITION,
                                      &world->arena, &records, &count, &err),
                     TW_OK);
    for (size_t i = 0; i < count; i++) {
        struct tw_record letter = {.partition = PARTITION,
                                   .offset = (int64_t)world->letter_count,
                                   .key = records[i].key,
                                   .value = records[i].value,
                                   .headers = records[i].headers,
                                   .header_count = records[i].header_count};

        if (!records[i].dead_letter)
            continue;
        assert_true(world->letter_count < LETTERS_MAX);
        letter = tw_record_copy(&letter, letter.header_count, &world->letters_arena);
        world->letters[world->letter_count++] = letter;
        tw_verdicts_take(&world->verdicts, &letter);
    }
}

static enum tw_rc fold(struct world *world, size_t count, const struct tw_condemned *condemned, struct tw_err *reterr)
{
    tw_turn_done(&world->turn);
    tw_arena_reset(&world->arena);
    world->turn = (struct tw_turn){
        .config = &world->config,
        .arena = &world->arena,
        .partition = PARTITION,
        .before = world->progress,
        .records = world->log.records + world->progress.next_offset,
        .record_count = count,
        .verdicts = &world->verdicts,
        .condemned = condemned,
    };
    tw_turn_decode(&world->turn);
    TW_TRY(tw_turn_load(&world->turn, world->cache, reterr));
    tw_turn_decide(&world->turn);
    TW_TRY(tw_turn_commit(&world->turn, world->cache, reterr));
    world->progress = world->turn.changes.after;
    publish(world);
    return TW_OK;
}

static void fold_all(struct world *world, size_t batch)
{
    struct tw_condemned condemned = {.offset = -1};
    size_t              limit = batch;

    while ((size_t)world->progress.next_offset < world->log.len) {
        size_t        left = world->log.len - (size_t)world->progress.next_offset;
        struct tw_err err = {0};
        enum tw_rc    rc = fold(world, left < limit ? left : limit, &condemned, &err);

        if (rc == TW_OK) {
            limit = batch;
            continue;
        }
        assert_int_equal(rc, TW_REFUSED);
        world->store.abandon(world->store.self, PARTITION);
        tw_cache_clear(world->cache);
        if (world->turn.record_count > 1)
            limit = world->turn.record_count / 2;
        else
            condemned = (struct tw_condemned){world->progress.next_offset, "the store does not bear it"};
    }
}

/* --- commands ---------------------------------------------------------------------------------------------------- */

/* As an older release has it: all of them are of an unknown type. */
static struct tw_domain domain_without_commands(void)
{
    struct tw_domain older = tw_cart_domain;

    older.command_count = 0;
    return older;
}

static struct tw_record *append_add(struct world *world, uint32_t member, uint32_t product, int64_t quantity)
{
    struct tw_cart_add_item body = {
        .member_id = tw_test_id(&world->log, member),
        .product_id = tw_test_uuid(1000 + product),
        .quantity = quantity,
        .product_name = TW_STR("Tea"),
        .price_minor = 450,
        .product_version = 1,
    };
    struct tw_envelope envelope = tw_test_envelope(&world->log, &tw_cart_add_item_type,
                                                   tw_test_command_id(&world->log, TW_DOMAIN_CART, world->log.len));

    return tw_test_append(&world->log, &tw_cart_add_item_type, body.member_id, &body, &envelope);
}

static const struct tw_cart *cart_of(struct world *world, uint32_t member)
{
    struct tw_entity entity = {
        .key = {.id = tw_test_id(&world->log, member)}, .before_guard = -1, .guard = -1, .coalesce_offset = -1};
    struct tw_load load = {.entities = &entity, .entity_count = 1};
    struct tw_err  err;

    assert_int_equal(
        world->store.load(world->store.self, PARTITION, world->progress.next_offset, &load, &world->arena, &err),
        TW_OK);
    world->store.abandon(world->store.self, PARTITION);
    return entity.before;
}

static int64_t pieces_of(struct world *world, uint32_t member)
{
    const struct tw_cart *cart = cart_of(world, member);

    return cart ? cart->lines[0].quantity : 0;
}

/* --- an operator ------------------------------------------------------------------------------------------------- */

static void store_breaks_for(struct world *world, uint32_t member)
{
    tw_memory_refuse(tw_memory_store_db(&world->store), tw_test_id(&world->log, member));
}

static void store_is_mended(struct world *world)
{
    tw_memory_refuse(tw_memory_store_db(&world->store), tw_uuid_nil);
}

static void append(struct world *world, const struct tw_record *record)
{
    const struct tw_envelope envelope =
        tw_test_envelope(&world->log, &tw_cart_clear_type, tw_test_command_id(&world->log, TW_DOMAIN_CART, 0));
    const struct tw_cart_clear body = {.member_id = tw_test_id(&world->log, 0)};
    struct tw_record          *end = tw_test_append(&world->log, &tw_cart_clear_type, body.member_id, &body, &envelope);
    struct tw_record           copy = tw_record_copy(record, record->header_count, &world->log.arena);

    end->key = copy.key;
    end->value = copy.value;
    end->headers = copy.headers;
    end->header_count = copy.header_count;
}

static struct tw_dead_letter letter_at(const struct world *world, size_t at)
{
    struct tw_dead_letter letter;

    assert_true(at < world->letter_count);
    assert_true(tw_dead_letter_read(&world->letters[at], &letter));
    return letter;
}

static void requeue(struct world *world, size_t at)
{
    const struct tw_operator_word word = {.asked_by = TW_STR("night shift"), .because = TW_STR("mended")};
    struct tw_dead_letter         letter = letter_at(world, at);
    struct tw_record              record;
    struct tw_err                 err;

    assert_int_equal(tw_requeue_record(&world->letters[at], &letter, &word, &world->log.arena, &record, &err), TW_OK);
    append(world, &record);
}

static void drop(struct world *world, size_t at)
{
    const struct tw_operator_word word = {.asked_by = TW_STR("night shift"),
                                          .command_id =
                                              tw_test_command_id(&world->log, TW_DOMAIN_CART, 100000 + world->log.len),
                                          .now_ms = world->log.now_ms};
    struct tw_dead_letter         letter = letter_at(world, at);
    struct tw_record              record = tw_drop_record(&world->letters[at], &letter, &word, &world->log.arena);

    append(world, &record);
}

/* Of a dead letter, not of a settlement. */
static void say(struct world *world, size_t at, void (*word)(struct world *world, size_t at))
{
    if (!letter_at(world, at).is_settlement)
        word(world, at);
}

/* Every open dead letter once, oldest first, and again what has come meanwhile; how many rounds it took. */
static int requeue_until_none_is_open(struct world *world, size_t batch)
{
    int rounds = 0;

    for (; world->verdicts.open_count; rounds++) {
        size_t end = world->letter_count;

        assert_true(rounds < 100);
        for (size_t i = 0; i < end; i++) {
            struct tw_dead_letter letter = letter_at(world, i);

            if (!letter.is_settlement && letter.offset == letter.first_offset &&
                tw_verdicts_is_open(&world->verdicts, letter.first_offset, INT64_MAX))
                requeue(world, i);
        }
        fold_all(world, batch);
    }
    return rounds;
}

/* The outcome event of one cause in the last turn. */
static struct tw_command_outcome outcome_at(struct world *world, int64_t offset)
{
    struct tw_command_outcome outcome = {0};
    struct tw_outbox_record  *records;
    size_t                    count;
    struct tw_err             err;

    assert_int_equal(tw_outbox_render(world->turn.changes.after.outbox, world->config.domain->name, PARTITION,
                                      &world->arena, &records, &count, &err),
                     TW_OK);
    for (size_t i = 0; i < count; i++) {
        struct tw_record view = {.headers = records[i].headers, .header_count = records[i].header_count};
        int64_t          cause;

        if (!tw_str_to_int(tw_header_find(&view, TW_H_CAUSE_OFFSET), &cause) || cause != offset)
            continue;
        if (!tw_str_is(tw_header_find(&view, TW_H_TYPE), tw_command_outcome_type.ce_type))
            continue;
        assert_int_equal(tw_command_outcome_type.unpack(records[i].value, &world->arena, &outcome, NULL), TW_OK);
        return outcome;
    }
    fail_msg("no outcome event for offset %lld", (long long)offset);
    return outcome;
}

/* --- what is parked ---------------------------------------------------------------------------------------------- */

static void a_command__waits_behind_a_dead_letter_of_its_key_and_other_keys_flow(void **unused)
{
    struct world         *world = new_world(&tw_cart_domain);
    struct tw_dead_letter letter;

    (void)unused;
    append_add(world, 1, 1, 1);
    append_add(world, 2, 1, 1);
    append_add(world, 1, 1, 10);
    append_add(world, 2, 1, 10);
    store_breaks_for(world, 1);
    fold_all(world, 4);
    store_is_mended(world);
    append_add(world, 1, 1, 100); /* would be stored by now, but not before those in front of it */
    fold_all(world, 4);
    assert_null(cart_of(world, 1));
    assert_int_equal(pieces_of(world, 2), 11);
    assert_int_equal(world->letter_count, 3);
    letter = letter_at(world, 0);
    assert_true(tw_str_is(letter.reason, "refused_by_store") && letter.first_offset == 0 && letter.attempts == 1);
    assert_int_equal(letter.first_failed_ms, world->log.records[0].timestamp_ms);
    letter = letter_at(world, 2);
    assert_true(tw_str_is(letter.reason, "parked") && letter.offset == 4 && letter.parks);
    assert_true(tw_str_is(letter.message, "waits for record 0 of its key"));
    assert_int_equal(world->verdicts.open_count, 3);
    assert_int_equal(world->verdicts.parked_count, 1);
    free_world(world);
}

/* It was all there was when the store refused it; what has come since is not in the same turn. */
static void what_has_come_since_a_record_was_refused_alone__waits_behind_it(void **unused)
{
    const struct tw_condemned condemned = {0, "the store does not bear it"};
    struct world             *world = new_world(&tw_cart_domain);
    struct tw_err             err;

    (void)unused;
    append_add(world, 1, 1, 1);
    append_add(world, 2, 1, 1);
    append_add(world, 1, 1, 10);
    assert_int_equal(fold(world, 3, &condemned, &err), TW_OK);
    fold_all(world, 3);
    assert_null(cart_of(world, 1));
    assert_int_equal(pieces_of(world, 2), 1);
    assert_int_equal(world->letter_count, 2);
    assert_true(tw_str_is(letter_at(world, 1).reason, "parked"));
    free_world(world);
}

static void a_dead_letter_that_cannot_be_read__parks_nothing(void **unused)
{
    struct world *world = new_world(&tw_cart_domain);

    (void)unused;
    append_add(world, 1, 1, 1)->value = TW_STR("\xc1");
    append_add(world, 1, 1, 2)->header_count = 0;
    append_add(world, 1, 1, 4);
    fold_all(world, 3);
    assert_int_equal(pieces_of(world, 1), 4);
    assert_int_equal(world->verdicts.open_count, 2);
    assert_int_equal(world->verdicts.parked_count, 0);
    free_world(world);
}

static void a_repeat_of_what_was_done__is_answered_as_ever_while_its_key_is_parked(void **unused)
{
    struct world *world = new_world(&tw_cart_domain);

    (void)unused;
    append_add(world, 1, 1, 1);
    fold_all(world, 1);
    store_breaks_for(world, 1);
    append_add(world, 1, 1, 2);
    append(world, &world->log.records[0]);
    fold_all(world, 1);
    assert_int_equal(world->turn.counts.repeated, 1);
    assert_int_equal(outcome_at(world, 2).status, TW_COMMAND_STATUS_SUCCEEDED);
    assert_int_equal(world->letter_count, 1);
    free_world(world);
}

/* --- requeue ----------------------------------------------------------------------------------------------------- */

static void a_requeue__is_decided_at_its_first_time_and_opens_its_key(void **unused)
{
    struct world         *world = new_world(&tw_cart_domain);
    struct tw_dead_letter settlement;

    (void)unused;
    store_breaks_for(world, 1);
    append_add(world, 1, 1, 1);
    fold_all(world, 1);
    store_is_mended(world);
    world->log.now_ms += 3600000;
    requeue(world, 0);
    append_add(world, 1, 1, 2);
    fold_all(world, 2);
    assert_int_equal(pieces_of(world, 1), 3);
    assert_int_equal(cart_of(world, 1)->lines[0].added_at_ms, world->log.records[0].timestamp_ms);
    settlement = letter_at(world, 1);
    assert_true(settlement.is_settlement && settlement.first_offset == 0 && settlement.offset == 1);
    assert_true(tw_str_is(settlement.settled_as, "succeeded") && tw_str_is(settlement.asked_by, "night shift") &&
                tw_str_is(settlement.because, "mended"));
    assert_int_equal(settlement.settled_at_ms, world->log.records[1].timestamp_ms);
    assert_int_equal(world->verdicts.open_count, 0);
    assert_int_equal(world->verdicts.parked_count, 0);
    free_world(world);
}

static void a_requeue_that_is_rejected__opens_its_key_too(void **unused)
{
    struct world *world = new_world(&tw_cart_domain);

    (void)unused;
    append_add(world, 1, 1, 1);
    fold_all(world, 1);
    store_breaks_for(world, 1);
    append_add(world, 1, 1, 998);
    append_add(world, 1, 1, 5);
    fold_all(world, 1);
    store_is_mended(world);
    requeue(world, 0);
    requeue(world, 1);
    fold_all(world, 2);
    assert_int_equal(pieces_of(world, 1), 999);
    assert_true(tw_str_is(letter_at(world, 2).settled_as, "succeeded"));
    assert_true(tw_str_is(letter_at(world, 3).settled_as, "rejected"));
    assert_int_equal(world->verdicts.open_count, 0);
    free_world(world);
}

static void a_requeue_out_of_order__changes_nothing_and_keeps_its_place(void **unused)
{
    struct world *world = new_world(&tw_cart_domain);

    (void)unused;
    store_breaks_for(world, 1);
    append_add(world, 1, 1, 1);
    append_add(world, 1, 1, 2);
    fold_all(world, 1);
    store_is_mended(world);
    requeue(world, 1);
    fold_all(world, 1);
    assert_null(cart_of(world, 1));
    assert_int_equal(outcome_at(world, 2).status, TW_COMMAND_STATUS_DEAD_LETTERED);
    assert_true(outcome_at(world, 2).repeated);
    assert_int_equal(world->letter_count, 2);
    assert_int_equal(world->verdicts.open_count, 2);
    assert_int_equal(requeue_until_none_is_open(world, 5), 1);
    assert_int_equal(pieces_of(world, 1), 3);
    free_world(world);
}

static void a_requeue_that_fails_again__keeps_its_place_and_counts_its_attempts(void **unused)
{
    struct world         *world = new_world(&tw_cart_domain);
    struct tw_dead_letter again;

    (void)unused;
    store_breaks_for(world, 1);
    append_add(world, 1, 1, 1);
    append_add(world, 1, 1, 2);
    fold_all(world, 2);
    requeue(world, 0);
    requeue(world, 1);
    fold_all(world, 2);
    assert_int_equal(world->letter_count, 3); /* the second of them did not even try */
    again = letter_at(world, 2);
    assert_true(again.offset == 2 && again.first_offset == 0 && again.attempts == 2);
    assert_int_equal(again.first_failed_ms, world->log.records[0].timestamp_ms);
    assert_int_equal(again.last_failed_ms, world->log.records[2].timestamp_ms);
    assert_int_equal(world->verdicts.open_count, 2);
    store_is_mended(world);
    requeue(world, 2); /* of the requeue's own dead letter: it names the first one */
    requeue(world, 1);
    fold_all(world, 9);
    assert_int_equal(pieces_of(world, 1), 3);
    assert_int_equal(cart_of(world, 1)->lines[0].added_at_ms, world->log.records[0].timestamp_ms);
    assert_int_equal(world->verdicts.open_count, 0);
    free_world(world);
}

static void a_requeue_of_what_is_settled__changes_nothing(void **unused)
{
    struct world *world = new_world(&tw_cart_domain);

    (void)unused;
    store_breaks_for(world, 1);
    append_add(world, 1, 1, 1);
    fold_all(world, 1);
    store_is_mended(world);
    for (int i = 0; i < 3; i++) {
        requeue(world, 0);
        world->log.now_ms += INT64_C(25) * 3600000; /* its ledger row does not count any more */
    }
    fold_all(world, 3);
    assert_int_equal(pieces_of(world, 1), 1);
    assert_int_equal(outcome_at(world, 3).status, TW_COMMAND_STATUS_REJECTED);
    assert_true(tw_str_is(outcome_at(world, 3).problem_code, "not-found"));
    free_world(world);
}

/* Names of a dead letter's headers, which anybody may write. */
static void give_names_of_a_dead_letter(struct world *world, struct tw_record *record)
{
    static const char *const names[] = {TW_H_DLQ_LAST_FAILED,  TW_H_DLQ_TOPIC,   TW_H_DLQ_PARTITION, TW_H_DLQ_OFFSET,
                                        TW_H_DLQ_FIRST_OFFSET, TW_H_DLQ_SETTLES, TW_H_DLQ_REASON};
    struct tw_header *headers = TW_NEW_ARRAY(&world->log.arena, record->header_count + TW_LEN(names), struct tw_header);

    memcpy(headers, record->headers, record->header_count * sizeof(*headers));
    for (size_t i = 0; i < TW_LEN(names); i++)
        headers[record->header_count++] = (struct tw_header){tw_str_of(names[i]), TW_STR("77")};
    record->headers = headers;
}

static void a_requeue__has_all_headers_of_its_record_whatever_their_names(void **unused)
{
    struct world           *world = new_world(&tw_cart_domain);
    const struct tw_record *first, *requeued;
    size_t                  words;

    (void)unused;
    store_breaks_for(world, 1);
    give_names_of_a_dead_letter(world, append_add(world, 1, 1, 1));
    fold_all(world, 1);
    store_is_mended(world);
    requeue(world, 0);
    first = &world->log.records[0];
    requeued = &world->log.records[1];
    assert_true(tw_str_eq(first->key, requeued->key) && tw_str_eq(first->value, requeued->value));
    words = requeued->header_count - first->header_count;
    assert_int_equal(words, 5);
    for (size_t i = 0; i < first->header_count; i++) {
        assert_true(tw_str_eq(first->headers[i].name, requeued->headers[words + i].name));
        assert_true(tw_str_eq(first->headers[i].value, requeued->headers[words + i].value));
    }
    fold_all(world, 1);
    assert_true(letter_at(world, 1).is_settlement && letter_at(world, 1).first_offset == 0);
    assert_int_equal(world->verdicts.open_count, 0);
    free_world(world);
}

static void assert_not_requeued(struct world *world, const struct tw_record *dead_letter, const char *why)
{
    const struct tw_operator_word word = {.asked_by = TW_STR("night shift")};
    const struct tw_dead_letter   letter = letter_at(world, 0);
    struct tw_record              record;
    struct tw_err                 err;

    assert_int_equal(tw_requeue_record(dead_letter, &letter, &word, &world->log.arena, &record, &err), TW_REFUSED);
    assert_string_equal(err.msg, why);
}

/* Nobody knows which headers its record had. */
static void a_dead_letter_without_all_headers_of_a_worker__is_not_requeued(void **unused)
{
    struct world     *world = new_world(&tw_cart_domain);
    struct tw_record  letter;
    struct tw_header *headers;

    (void)unused;
    store_breaks_for(world, 1);
    append_add(world, 1, 1, 1);
    fold_all(world, 1);
    letter = world->letters[0];
    letter.header_count--;
    assert_not_requeued(world, &letter, "header 'content-type' stands where the worker's 'tw_dlq_topic' belongs");
    letter.header_count = 10;
    assert_not_requeued(world, &letter, "it has 10 headers, and a worker adds 11 to a record's");
    letter = world->letters[0];
    headers = TW_NEW_ARRAY(&world->log.arena, letter.header_count, struct tw_header);
    memcpy(headers, letter.headers, letter.header_count * sizeof(*headers));
    headers[letter.header_count - 1].name = TW_STR("\xff");
    letter.headers = headers;
    assert_not_requeued(world, &letter,
                        "a header with a name of 1 bytes stands where the worker's 'tw_dlq_last_failed' belongs");
    free_world(world);
}

/* A client that retried while its worker was too old: one command, two dead letters. */
static void a_requeue_of_what_another_record_of_its_id_has_done__is_settled_as_repeated(void **unused)
{
    struct world    *world = new_world(&tw_cart_domain);
    struct tw_domain older = domain_without_commands();

    (void)unused;
    world->config.domain = &older;
    append_add(world, 1, 1, 1);
    append(world, &world->log.records[0]);
    fold_all(world, 2);
    world->config.domain = &tw_cart_domain;
    requeue(world, 0);
    fold_all(world, 1);
    store_breaks_for(world, 1);
    append_add(world, 1, 1, 2); /* no matter that one of its key is open: nothing is decided */
    requeue(world, 1);
    world->log.now_ms += INT64_C(25) * 3600000;
    requeue(world, 1);
    fold_all(world, 9);
    assert_int_equal(world->letter_count, 5);
    assert_true(letter_at(world, 4).is_settlement && letter_at(world, 4).first_offset == 1);
    assert_true(tw_str_is(letter_at(world, 4).settled_as, "repeated"));
    assert_int_equal(letter_at(world, 4).offset, 4);
    assert_true(tw_str_is(outcome_at(world, 5).problem_code, "not-found"));
    assert_int_equal(pieces_of(world, 1), 1);
    free_world(world);
}

static void a_requeue_whose_id_was_used_for_something_else__is_settled_as_rejected(void **unused)
{
    struct world      *world = new_world(&tw_cart_domain);
    struct tw_domain   older = domain_without_commands();
    struct tw_envelope envelope;
    struct tw_record  *other;

    (void)unused;
    world->config.domain = &older;
    append_add(world, 1, 1, 1);
    assert_int_equal(tw_envelope_read(&world->log.records[0], &envelope, NULL), TW_OK);
    envelope.fingerprint[0] ^= 1;
    other = append_add(world, 1, 1, 2);
    tw_envelope_write(&envelope, "/tillwire/edge", &world->log.arena, &other->headers, &other->header_count);
    fold_all(world, 2);
    world->config.domain = &tw_cart_domain;
    requeue(world, 0);
    requeue(world, 1);
    fold_all(world, 9);
    assert_true(tw_str_is(outcome_at(world, 3).problem_code, "idempotency-key-reused"));
    assert_true(tw_str_is(letter_at(world, 3).settled_as, "rejected"));
    assert_int_equal(pieces_of(world, 1), 1);
    assert_int_equal(world->verdicts.open_count, 0);
    free_world(world);
}

static void a_record_that_only_claims_to_be_a_requeue__is_a_dead_letter_of_its_own(void **unused)
{
    static const struct tw_header claim = {{TW_H_REQUEUE_OF, sizeof(TW_H_REQUEUE_OF) - 1}, {"0", 1}};
    struct world                 *world = new_world(&tw_cart_domain);
    struct tw_record             *record;

    (void)unused;
    append_add(world, 1, 1, 1);
    record = append_add(world, 1, 1, 2);
    record->headers = &claim;
    record->header_count = 1;
    fold_all(world, 2);
    assert_int_equal(letter_at(world, 0).first_offset, 1);
    assert_int_equal(letter_at(world, 0).attempts, 1);
    assert_int_equal(world->verdicts.open_count, 1);
    free_world(world);
}

static struct tw_uuid append_product(struct world *world)
{
    struct tw_product_create body = {
        .name = TW_STR("Tea"), .slug = TW_STR("tea"), .price_minor = 450, .category = TW_STR("Tea"), .is_active = true};
    struct tw_envelope envelope =
        tw_test_envelope(&world->log, &tw_product_create_type, tw_test_command_id(&world->log, TW_DOMAIN_PRODUCT, 999));

    for (int i = 0;; i++) { /* a SKU whose product lives in this partition */
        body.sku = tw_arena_printf(&world->log.arena, "SKU-%d", i);
        body.product_id = tw_product_id_of_sku(body.sku);
        if (tw_partition_of_id(body.product_id, PARTITIONS) == PARTITION)
            break;
    }
    tw_test_append(&world->log, &tw_product_create_type, body.product_id, &body, &envelope);
    return body.product_id;
}

static void append_view_with(struct world *world, struct tw_uuid product_id, struct tw_uuid command_id)
{
    const struct tw_product_record_view body = {.product_id = product_id};
    const struct tw_envelope envelope = tw_test_envelope(&world->log, &tw_product_record_view_type, command_id);

    tw_test_append(&world->log, &tw_product_record_view_type, product_id, &body, &envelope);
}

static void append_view(struct world *world, struct tw_uuid product_id)
{
    append_view_with(world, product_id, tw_test_command_id(&world->log, TW_DOMAIN_PRODUCT, world->log.len));
}

static void a_view_without_a_key__is_counted_once_however_often_it_is_requeued(void **unused)
{
    struct world  *world = new_world(&tw_product_domain);
    struct tw_uuid product_id = append_product(world);

    (void)unused;
    fold_all(world, 1);
    tw_memory_refuse(tw_memory_store_db(&world->store), product_id);
    append_view(world, product_id);
    append_view(world, product_id);
    fold_all(world, 2);
    store_is_mended(world);
    for (size_t i = 0; i < 6; i++)
        requeue(world, i % 2);
    append_view(world, product_id);
    fold_all(world, 4);
    assert_int_equal(((const struct tw_product *)world->turn.changes.entities[0]->state)->view_count, 3);
    assert_int_equal(world->verdicts.open_count, 0);
    free_world(world);
}

/* As without a dead letter: each record is one view, whatever its id. */
static void views_of_one_id__are_each_counted_when_they_are_requeued(void **unused)
{
    static const size_t batches[] = {1, 9};

    (void)unused;
    for (size_t i = 0; i < TW_LEN(batches); i++) {
        struct world  *world = new_world(&tw_product_domain);
        struct tw_uuid product_id = append_product(world);
        struct tw_uuid command_id = tw_test_command_id(&world->log, TW_DOMAIN_PRODUCT, 7);

        fold_all(world, 1);
        tw_memory_refuse(tw_memory_store_db(&world->store), product_id);
        append_view_with(world, product_id, command_id);
        fold_all(world, 1);
        append_view_with(world, product_id, command_id);
        append_view_with(world, product_id, command_id);
        fold_all(world, batches[i]);
        assert_int_equal(world->verdicts.open_count, 3);
        store_is_mended(world);
        requeue_until_none_is_open(world, batches[i]);
        assert_int_equal(((const struct tw_product *)world->turn.changes.entities[0]->state)->view_count, 3);
        free_world(world);
    }
}

static void a_view_that_fails_in_two_ways__has_one_row_all_the_time(void **unused)
{
    struct world                *world = new_world(&tw_product_domain);
    struct tw_uuid               product_id = append_product(world);
    const struct tw_type *const *known = (const struct tw_type *const[]){&tw_product_create_type};
    struct tw_domain             older = tw_product_domain;

    (void)unused;
    older.commands = known;
    older.command_count = 1;
    fold_all(world, 1);
    world->config.domain = &older;
    append_view(world, product_id);
    fold_all(world, 1); /* an unknown type, with a row */
    world->config.domain = &tw_product_domain;
    tw_memory_refuse(tw_memory_store_db(&world->store), product_id);
    requeue(world, 0);
    append_view(world, product_id);
    requeue(world, 0);
    fold_all(world, 9);
    store_is_mended(world);
    assert_true(tw_str_is(letter_at(world, 1).reason, "refused_by_store") && letter_at(world, 1).first_offset == 1);
    assert_int_equal(requeue_until_none_is_open(world, 9), 1);
    assert_int_equal(((const struct tw_product *)world->turn.changes.entities[0]->state)->view_count, 2);
    assert_int_equal(world->turn.changes.row_count, 1);
    assert_true(world->turn.changes.rows[0].replaces);
    assert_int_equal(world->turn.changes.rows[0].outcome.status, TW_SUCCEEDED);
    free_world(world);
}

/* --- drop -------------------------------------------------------------------------------------------------------- */

static void a_drop__opens_its_key_and_what_was_dropped_never_happens(void **unused)
{
    struct world *world = new_world(&tw_cart_domain);

    (void)unused;
    store_breaks_for(world, 1);
    append_add(world, 1, 1, 1);
    append_add(world, 1, 1, 2);
    fold_all(world, 2);
    store_is_mended(world);
    drop(world, 0);
    drop(world, 0);
    requeue(world, 0);
    requeue(world, 1);
    append_add(world, 1, 1, 4);
    fold_all(world, 9);
    assert_int_equal(pieces_of(world, 1), 6);
    assert_int_equal(world->letter_count, 4);
    assert_true(tw_str_is(letter_at(world, 2).settled_as, "dropped"));
    assert_int_equal(letter_at(world, 2).offset, 2);
    assert_int_equal(world->verdicts.open_count, 0);
    free_world(world);
}

/* Two operators at once, and a worker that is still too old: else the second word would be a dead letter with a name of its
 * own, by which the command could be carried out after all. */
static void a_requeue_that_cannot_be_decoded_of_what_is_settled__is_no_dead_letter(void **unused)
{
    struct world    *world = new_world(&tw_cart_domain);
    struct tw_domain older = domain_without_commands();

    (void)unused;
    world->config.domain = &older;
    append_add(world, 1, 1, 1);
    fold_all(world, 1);
    drop(world, 0);
    requeue(world, 0);
    world->log.now_ms += INT64_C(25) * 3600000; /* no ledger row speaks for it any more */
    requeue(world, 0);
    fold_all(world, 9);
    assert_true(tw_str_is(outcome_at(world, 3).problem_code, "not-found"));
    assert_int_equal(world->letter_count, 2);
    world->config.domain = &tw_cart_domain;
    requeue_until_none_is_open(world, 9);
    assert_null(cart_of(world, 1));
    free_world(world);
}

static void a_drop_without_what_it_drops__is_a_dead_letter(void **unused)
{
    struct world      *world = new_world(&tw_cart_domain);
    struct tw_record  *record = append_add(world, 1, 1, 1);
    struct tw_envelope envelope =
        tw_test_envelope(&world->log, &tw_cart_add_item_type, tw_test_command_id(&world->log, TW_DOMAIN_CART, 9));

    (void)unused;
    envelope.type = TW_STR(TW_DROP_TYPE);
    tw_envelope_write(&envelope, "/stranger", &world->log.arena, &record->headers, &record->header_count);
    fold_all(world, 1);
    assert_true(tw_str_is(letter_at(world, 0).reason, "bad_envelope"));
    assert_true(tw_str_is(letter_at(world, 0).message, "header 'tw_drop_of' is missing"));
    free_world(world);
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

/* A log in which the store cannot bear some members for a while; @p broken false: it always can. */
static void run_shop(struct world *world, unsigned seed, bool broken, size_t batch)
{
    for (uint32_t phase = 0; phase < 6; phase++) {
        if (broken && phase % 2)
            store_breaks_for(world, phase / 2);
        for (int i = 0; i < 60; i++)
            append_add(world, (uint32_t)rand_r(&seed) % MEMBERS, (uint32_t)rand_r(&seed) % 5, 1 + rand_r(&seed) % 300);
        fold_all(world, batch);
        store_is_mended(world);
    }
    if (broken) {
        assert_true(world->verdicts.open_count > 10);
        requeue_until_none_is_open(world, batch);
    }
}

static void dump_carts(struct world *world, struct tw_buf *out)
{
    for (uint32_t member = 0; member < MEMBERS; member++) {
        const struct tw_cart *cart = cart_of(world, member);

        if (cart)
            tw_cart_domain.states[0]->pack(cart, out);
    }
}

static void after_a_mended_requeue__the_carts_are_those_of_a_run_that_was_never_broken(void **unused)
{
    (void)unused;
    for (unsigned seed = 1; seed <= 20; seed++) {
        struct world *whole = new_world(&tw_cart_domain), *broken = new_world(&tw_cart_domain);
        struct tw_buf expected = {0}, is = {0};

        run_shop(whole, seed, false, 7);
        run_shop(broken, seed, true, 1 + seed * 3);
        dump_carts(whole, &expected);
        dump_carts(broken, &is);
        assert_true(expected.len > 100);
        if (!tw_str_eq(tw_buf_str(&expected), tw_buf_str(&is)))
            fail_msg("seed %u: the carts differ", seed);
        tw_buf_done(&expected);
        tw_buf_done(&is);
        free_world(whole);
        free_world(broken);
    }
}

static void append_set(struct world *world, uint32_t member, uint32_t product, int64_t quantity)
{
    const struct tw_cart_set_item body = {
        .member_id = tw_test_id(&world->log, member),
        .product_id = tw_test_uuid(1000 + product),
        .quantity = quantity,
        .product_name = TW_STR("Tea"),
        .price_minor = 450,
        .product_version = 1,
    };
    const struct tw_envelope envelope = tw_test_envelope(
        &world->log, &tw_cart_set_item_type, tw_test_command_id(&world->log, TW_DOMAIN_CART, world->log.len));

    tw_test_append(&world->log, &tw_cart_set_item_type, body.member_id, &body, &envelope);
}

/* The cart domain of a program that does not know cart.set_item yet. */
static struct tw_domain older_domain(const struct tw_type *known[])
{
    struct tw_domain older = tw_cart_domain;

    older.command_count = 0;
    for (size_t i = 0; i < tw_cart_domain.command_count; i++)
        if (tw_cart_domain.commands[i] != &tw_cart_set_item_type)
            known[older.command_count++] = tw_cart_domain.commands[i];
    older.commands = known;
    return older;
}

/* Stores that break, programs that are too old, and an operator who says anything at any time. */
static void run_wild(struct world *world, unsigned seed, size_t batch)
{
    const struct tw_type  *known[32];
    const struct tw_domain older = older_domain(known);

    for (int phase = 0; phase < 12; phase++) {
        world->config.domain = rand_r(&seed) % 3 ? &tw_cart_domain : &older;
        if (rand_r(&seed) % 2)
            store_breaks_for(world, (uint32_t)rand_r(&seed) % 3);
        for (int i = 0; i < 20; i++) {
            uint32_t member = (uint32_t)rand_r(&seed) % 4;
            unsigned dice = (unsigned)rand_r(&seed) % 10;

            if (dice < 6 || !world->letter_count)
                append_add(world, member, (uint32_t)rand_r(&seed) % 3, 1 + rand_r(&seed) % 90);
            else if (dice < 8)
                append_set(world, member, (uint32_t)rand_r(&seed) % 3, 1 + rand_r(&seed) % 90);
            else if (dice == 8)
                say(world, (size_t)rand_r(&seed) % world->letter_count, requeue);
            else if (rand_r(&seed) % 4 == 0)
                say(world, (size_t)rand_r(&seed) % world->letter_count, drop);
        }
        fold_all(world, batch);
        store_is_mended(world);
    }
    world->config.domain = &tw_cart_domain;
    requeue_until_none_is_open(world, batch);
}

static void replay(const struct world *live, size_t batch, struct tw_buf *out)
{
    struct world *world = new_world(&tw_cart_domain);

    for (size_t i = 0; i < live->letter_count; i++)
        tw_verdicts_take(&world->verdicts, &live->letters[i]);
    for (uint32_t i = 0; i < live->log.len; i++)
        *append_add(world, 0, 0, 1) = live->log.records[i];
    world->config.silent = true;
    fold_all(world, batch);
    assert_int_equal(world->letter_count, 0);
    tw_memory_dump(tw_memory_store_db(&world->store), out);
    free_world(world);
}

/* The backup is from before the store was mended. */
static void a_requeue_that_is_folded_again_and_refused_then__leaves_its_dead_letter_open(void **unused)
{
    struct world *world = new_world(&tw_cart_domain);
    struct tw_buf expected = {0}, is = {0};

    (void)unused;
    store_breaks_for(world, 1);
    append_add(world, 1, 1, 1);
    append_add(world, 1, 1, 2);
    fold_all(world, 1);
    store_is_mended(world);
    requeue(world, 0);
    requeue(world, 1);
    append_add(world, 1, 1, 10);
    fold_all(world, 9);
    assert_int_equal(world->verdicts.open_count, 0);
    tw_memory_wipe(tw_memory_store_db(&world->store));
    tw_cache_clear(world->cache);
    world->progress = (struct tw_progress){0};
    store_breaks_for(world, 1);
    fold_all(world, 9);
    assert_int_equal(letter_at(world, 4).offset, 2);
    assert_true(tw_str_is(letter_at(world, 5).reason, "parked") && letter_at(world, 5).first_offset == 1);
    assert_int_equal(world->verdicts.open_count, 3);
    assert_int_equal(world->verdicts.parked_count, 1);
    store_is_mended(world);
    requeue_until_none_is_open(world, 9);
    assert_int_equal(pieces_of(world, 1), 13);
    world->store.forget_outbox(world->store.self, PARTITION, world->progress.next_offset, NULL);
    tw_memory_dump(tw_memory_store_db(&world->store), &expected);
    replay(world, 9, &is);
    assert_true(tw_str_eq(tw_buf_str(&expected), tw_buf_str(&is)));
    tw_buf_done(&expected);
    tw_buf_done(&is);
    free_world(world);
}

static void the_same_log_with_its_dead_letters__gives_the_same_store_for_any_batch_size(void **unused)
{
    static const size_t batches[] = {1, 5, 400};

    (void)unused;
    for (unsigned seed = 1; seed <= 40; seed++) {
        struct world *live = new_world(&tw_cart_domain);
        struct tw_buf expected = {0};

        run_wild(live, seed, 1 + seed % 9);
        live->store.forget_outbox(live->store.self, PARTITION, live->progress.next_offset, NULL);
        tw_memory_dump(tw_memory_store_db(&live->store), &expected);
        for (size_t b = 0; b < TW_LEN(batches); b++) {
            struct tw_buf is = {0};

            replay(live, batches[b], &is);
            if (!tw_str_eq(tw_buf_str(&expected), tw_buf_str(&is)))
                fail_msg("seed %u: the store differs in batches of %zu", seed, batches[b]);
            tw_buf_done(&is);
        }
        tw_buf_done(&expected);
        free_world(live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command__waits_behind_a_dead_letter_of_its_key_and_other_keys_flow),
        cmocka_unit_test(what_has_come_since_a_record_was_refused_alone__waits_behind_it),
        cmocka_unit_test(a_dead_letter_that_cannot_be_read__parks_nothing),
        cmocka_unit_test(a_repeat_of_what_was_done__is_answered_as_ever_while_its_key_is_parked),
        cmocka_unit_test(a_requeue__is_decided_at_its_first_time_and_opens_its_key),
        cmocka_unit_test(a_requeue_that_is_rejected__opens_its_key_too),
        cmocka_unit_test(a_requeue_out_of_order__changes_nothing_and_keeps_its_place),
        cmocka_unit_test(a_requeue_that_fails_again__keeps_its_place_and_counts_its_attempts),
        cmocka_unit_test(a_requeue_of_what_is_settled__changes_nothing),
        cmocka_unit_test(a_requeue__has_all_headers_of_its_record_whatever_their_names),
        cmocka_unit_test(a_dead_letter_without_all_headers_of_a_worker__is_not_requeued),
        cmocka_unit_test(a_requeue_of_what_another_record_of_its_id_has_done__is_settled_as_repeated),
        cmocka_unit_test(a_requeue_whose_id_was_used_for_something_else__is_settled_as_rejected),
        cmocka_unit_test(a_record_that_only_claims_to_be_a_requeue__is_a_dead_letter_of_its_own),
        cmocka_unit_test(a_view_without_a_key__is_counted_once_however_often_it_is_requeued),
        cmocka_unit_test(views_of_one_id__are_each_counted_when_they_are_requeued),
        cmocka_unit_test(a_view_that_fails_in_two_ways__has_one_row_all_the_time),
        cmocka_unit_test(a_drop__opens_its_key_and_what_was_dropped_never_happens),
        cmocka_unit_test(a_requeue_that_cannot_be_decoded_of_what_is_settled__is_no_dead_letter),
        cmocka_unit_test(a_drop_without_what_it_drops__is_a_dead_letter),
        cmocka_unit_test(after_a_mended_requeue__the_carts_are_those_of_a_run_that_was_never_broken),
        cmocka_unit_test(a_requeue_that_is_folded_again_and_refused_then__leaves_its_dead_letter_open),
        cmocka_unit_test(the_same_log_with_its_dead_letters__gives_the_same_store_for_any_batch_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

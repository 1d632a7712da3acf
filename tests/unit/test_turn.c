/* The rules of a turn (workers/runtime/turn.c) on the store in memory, with the commands of three domains. */
#include <stdlib.h>
#include <string.h>

#include "cart_domain.h"
#include "member_domain.h"
#include "memory_store.h"
#include "outbox.h"
#include "product_domain.h"
#include "records.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/gen/product_messages.h"
#include "tillwire/gen/shared_messages.h"
#include "turn.h"
#include "unit.h"

enum { PARTITION = 2, PARTITIONS = 6 };

struct world {
    struct tw_test_log    log;
    struct tw_store       store;
    struct tw_turn_config config;
    struct tw_arena       arena;
    struct tw_cache      *cache;
    struct tw_progress    progress;
    struct tw_verdicts    verdicts;
    struct tw_condemned   condemned;
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
    world->condemned.offset = -1;
    return world;
}

static void free_world(struct world *world)
{
    tw_turn_done(&world->turn);
    tw_test_log_done(&world->log);
    tw_memory_store_close(&world->store);
    tw_arena_done(&world->arena);
    tw_cache_free(world->cache);
    tw_verdicts_done(&world->verdicts);
    free(world);
}

static enum tw_rc fold(struct world *world, size_t count)
{
    struct tw_err err;

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
        .condemned = &world->condemned,
    };
    tw_turn_decode(&world->turn);
    TW_TRY(tw_turn_load(&world->turn, world->cache, &err));
    tw_turn_decide(&world->turn);
    TW_TRY(tw_turn_commit(&world->turn, world->cache, &err));
    world->progress = world->turn.changes.after;
    return TW_OK;
}

static void fold_all(struct world *world, size_t batch)
{
    while ((size_t)world->progress.next_offset < world->log.len) {
        size_t left = world->log.len - (size_t)world->progress.next_offset;

        assert_int_equal(fold(world, left < batch ? left : batch), TW_OK);
    }
}

static struct tw_outbox_record *outbox(struct world *world, size_t *ret_count)
{
    struct tw_outbox_record *records;
    struct tw_err            err;

    assert_int_equal(tw_outbox_render(world->turn.changes.after.outbox, world->config.domain->name, PARTITION,
                                      &world->arena, &records, ret_count, &err),
                     TW_OK);
    return records;
}

static struct tw_str header_of(const struct tw_outbox_record *record, const char *name)
{
    struct tw_record view = {.headers = record->headers, .header_count = record->header_count};

    return tw_header_find(&view, name);
}

static size_t count_of_type(struct world *world, const char *ce_type)
{
    size_t                   count, found = 0;
    struct tw_outbox_record *records = outbox(world, &count);

    for (size_t i = 0; i < count; i++)
        found += !records[i].dead_letter && tw_str_is(header_of(&records[i], TW_H_TYPE), ce_type);
    return found;
}

static size_t dead_letters(struct world *world, const char *reason)
{
    size_t                   count, found = 0;
    struct tw_outbox_record *records = outbox(world, &count);

    for (size_t i = 0; i < count; i++)
        found += records[i].dead_letter && tw_str_is(header_of(&records[i], TW_H_DLQ_REASON), reason);
    return found;
}

/* The outcome event of one cause. */
static struct tw_command_outcome outcome_at(struct world *world, int64_t offset)
{
    struct tw_command_outcome outcome = {0};
    size_t                    count;
    struct tw_outbox_record  *records = outbox(world, &count);

    for (size_t i = 0; i < count; i++) {
        int64_t cause;

        if (records[i].dead_letter || !tw_str_is(header_of(&records[i], TW_H_TYPE), tw_command_outcome_type.ce_type))
            continue;
        assert_true(tw_str_to_int(header_of(&records[i], TW_H_CAUSE_OFFSET), &cause));
        if (cause == offset) {
            assert_int_equal(tw_command_outcome_type.unpack(records[i].value, &world->arena, &outcome, NULL), TW_OK);
            return outcome;
        }
    }
    fail_msg("no outcome event for offset %lld", (long long)offset);
    return outcome;
}

static struct tw_record *append_add(struct world *world, uint32_t member, uint32_t product, int64_t quantity,
                                    const struct tw_envelope *envelope)
{
    struct tw_cart_add_item body = {
        .member_id = tw_test_id(&world->log, member),
        .product_id = tw_test_uuid(1000 + product),
        .quantity = quantity,
        .product_name = TW_STR("Tea"),
        .price_minor = 450,
        .product_version = 1,
    };
    struct tw_envelope fresh = tw_test_envelope(&world->log, &tw_cart_add_item_type,
                                                tw_test_command_id(&world->log, TW_DOMAIN_CART, world->log.len));

    return tw_test_append(&world->log, &tw_cart_add_item_type, body.member_id, &body, envelope ? envelope : &fresh);
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

static void a_batch__changes_state_ledger_and_outbox_in_one_commit(void **unused)
{
    struct world *world = new_world(&tw_cart_domain);

    (void)unused;
    append_add(world, 1, 1, 2, NULL);
    append_add(world, 1, 1, 3, NULL);
    append_add(world, 2, 1, 1, NULL);
    assert_int_equal(fold(world, 3), TW_OK);
    assert_int_equal(world->turn.counts.succeeded, 3);
    assert_int_equal(world->turn.changes.entity_count, 2);
    assert_int_equal(world->turn.changes.row_count, 3);
    assert_int_equal(count_of_type(world, "cart.item_added.v1"), 3);
    assert_int_equal(count_of_type(world, "command.outcome.v1"), 3);
    assert_int_equal(outcome_at(world, 2).status, TW_COMMAND_STATUS_SUCCEEDED);
    assert_int_equal(world->progress.next_offset, 3);
    assert_int_equal(world->progress.clock_ms, world->log.records[2].timestamp_ms);
    assert_int_equal(cart_of(world, 1)->lines[0].quantity, 5);
    free_world(world);
}

static void events__stand_in_the_order_of_cause_and_number(void **unused)
{
    struct world            *world = new_world(&tw_cart_domain);
    int64_t                  last_cause = -1, last_n = -1;
    size_t                   count;
    struct tw_outbox_record *records;

    (void)unused;
    for (uint32_t i = 0; i < 20; i++)
        append_add(world, i % 3, i, 1, NULL);
    fold_all(world, 20);
    records = outbox(world, &count);
    assert_int_equal(count, 40);
    for (size_t i = 0; i < count; i++) {
        int64_t cause, n;

        assert_true(tw_str_to_int(header_of(&records[i], TW_H_CAUSE_OFFSET), &cause));
        assert_true(tw_str_to_int(header_of(&records[i], TW_H_N), &n));
        assert_true(cause > last_cause || (cause == last_cause && n == last_n + 1));
        last_cause = cause;
        last_n = n;
    }
    free_world(world);
}

static void a_repeated_command__changes_nothing_and_is_answered_once_more(void **unused)
{
    struct world      *world = new_world(&tw_cart_domain);
    struct tw_envelope envelope =
        tw_test_envelope(&world->log, &tw_cart_add_item_type, tw_test_keyed_id(&world->log, TW_DOMAIN_CART, 7));

    (void)unused;
    append_add(world, 1, 1, 2, &envelope);
    append_add(world, 1, 1, 2, &envelope); /* in the same batch */
    fold_all(world, 2);
    assert_true(outcome_at(world, 1).repeated);
    assert_int_equal(world->turn.counts.repeated, 1);
    append_add(world, 1, 1, 2, &envelope); /* known from the store */
    fold_all(world, 1);
    assert_true(outcome_at(world, 2).repeated);
    assert_int_equal(count_of_type(world, "cart.item_added.v1"), 0);
    assert_int_equal(world->turn.changes.entity_count, 0);
    assert_int_equal(cart_of(world, 1)->lines[0].quantity, 2);
    free_world(world);
}

static void a_view_that_is_given_up_twice__is_answered_once(void **unused)
{
    struct world                 *world = new_world(&tw_product_domain);
    struct tw_product_record_view body = {.product_id = tw_test_id(&world->log, 1)};
    struct tw_envelope            envelope = tw_test_envelope(&world->log, &tw_product_record_view_type,
                                                              tw_test_command_id(&world->log, TW_DOMAIN_PRODUCT, 1));

    (void)unused;
    for (size_t before = 0; before < 2; before++) {
        size_t rows = before ? 0 : 1;

        tw_test_append(&world->log, &tw_product_record_view_type, tw_test_id(&world->log, 2), &body, &envelope);
        fold_all(world, 1);
        assert_int_equal(dead_letters(world, "misrouted"), 1);
        assert_int_equal(world->turn.changes.row_count, rows);
        assert_int_equal(count_of_type(world, "command.outcome.v1"), rows);
    }
    free_world(world);
}

static void a_key_with_another_fingerprint__is_refused_and_the_first_answer_stays(void **unused)
{
    struct world             *world = new_world(&tw_cart_domain);
    struct tw_envelope        envelope;
    struct tw_command_outcome outcome;

    (void)unused;
    envelope = tw_test_envelope(&world->log, &tw_cart_add_item_type, tw_test_keyed_id(&world->log, TW_DOMAIN_CART, 7));
    append_add(world, 1, 1, 2, &envelope);
    fold_all(world, 1);
    envelope.fingerprint[0] = 1;
    append_add(world, 1, 1, 3, &envelope);
    fold_all(world, 1);
    outcome = outcome_at(world, 1);
    assert_int_equal(outcome.http_status, 422);
    assert_true(tw_str_is(outcome.problem_code, "idempotency-key-reused"));
    assert_int_equal(world->turn.changes.row_count, 0);
    assert_int_equal(cart_of(world, 1)->lines[0].quantity, 2);
    free_world(world);
}

static void a_ledger_row__counts_for_a_day_of_the_partitions_clock(void **unused)
{
    struct world      *world = new_world(&tw_cart_domain);
    struct tw_envelope envelope =
        tw_test_envelope(&world->log, &tw_cart_add_item_type, tw_test_keyed_id(&world->log, TW_DOMAIN_CART, 7));

    (void)unused;
    append_add(world, 1, 1, 2, &envelope);
    fold_all(world, 1);
    world->log.now_ms = world->log.records[0].timestamp_ms + TW_LEDGER_LIFE_MS - 1;
    append_add(world, 1, 1, 2, &envelope);
    fold_all(world, 1);
    assert_int_equal(world->turn.counts.repeated, 1);
    world->log.now_ms = world->log.records[0].timestamp_ms + TW_LEDGER_LIFE_MS;
    append_add(world, 1, 1, 2, &envelope);
    fold_all(world, 1);
    assert_int_equal(world->turn.counts.succeeded, 1);
    assert_int_equal(cart_of(world, 1)->lines[0].quantity, 4);
    free_world(world);
}

static void the_clock__never_goes_back(void **unused)
{
    struct world *world = new_world(&tw_cart_domain);
    int64_t       latest;

    (void)unused;
    append_add(world, 1, 1, 1, NULL);
    latest = world->log.records[0].timestamp_ms;
    append_add(world, 1, 2, 1, NULL)->timestamp_ms = latest - 3600000; /* leadership moved to a slow clock */
    fold_all(world, 1);
    assert_int_equal(world->progress.clock_ms, latest);
    assert_int_equal(cart_of(world, 1)->lines[1].added_at_ms, latest);
    free_world(world);
}

static void a_rejected_command__leaves_no_trace_but_its_answer(void **unused)
{
    struct world *world = new_world(&tw_cart_domain);

    (void)unused;
    append_add(world, 1, 1, 999, NULL);
    fold_all(world, 1);
    append_add(world, 1, 1, 1, NULL);
    fold_all(world, 1);
    assert_int_equal(world->turn.counts.rejected, 1);
    assert_int_equal(world->turn.changes.entity_count, 0);
    assert_int_equal(world->turn.changes.row_count, 1);
    assert_int_equal(outcome_at(world, 1).http_status, 422);
    assert_int_equal(cart_of(world, 1)->lines[0].quantity, 999);
    free_world(world);
}

static void if_match__compares_the_version_before_deciding(void **unused)
{
    struct world      *world = new_world(&tw_cart_domain);
    struct tw_envelope envelope;

    (void)unused;
    append_add(world, 1, 1, 1, NULL);
    fold_all(world, 1);
    envelope =
        tw_test_envelope(&world->log, &tw_cart_add_item_type, tw_test_command_id(&world->log, TW_DOMAIN_CART, 90));
    envelope.if_version = cart_of(world, 1)->version + 1;
    append_add(world, 1, 1, 1, &envelope);
    fold_all(world, 1);
    assert_int_equal(outcome_at(world, 1).http_status, 412);
    envelope.command_id = tw_test_command_id(&world->log, TW_DOMAIN_CART, 91);
    envelope.if_version--;
    append_add(world, 1, 1, 1, &envelope);
    fold_all(world, 1);
    assert_int_equal(outcome_at(world, 2).http_status, 200);
    free_world(world);
}

static void records_that_cannot_be_decoded__become_dead_letters_and_neighbours_go_on(void **unused)
{
    struct world            *world = new_world(&tw_cart_domain);
    size_t                   count;
    struct tw_outbox_record *records;
    struct tw_record        *spoiled;

    (void)unused;
    append_add(world, 1, 1, 1, NULL);
    append_add(world, 1, 1, 1, NULL)->value = TW_STR("\xc1 not msgpack");
    append_add(world, 1, 1, 1, NULL)->header_count = 0;
    spoiled = append_add(world, 1, 1, 1, NULL);
    spoiled->key = (struct tw_str){NULL, 0};
    spoiled = append_add(world, 1, 1, 1, NULL);
    spoiled->partition = PARTITION;
    spoiled->key = tw_arena_copy(&world->log.arena, world->log.records[0].key);
    append_add(world, 1, 1, 1, NULL);
    fold_all(world, 10);
    assert_int_equal(world->turn.counts.succeeded, 3);
    assert_int_equal(world->turn.counts.dead, 3);
    assert_int_equal(dead_letters(world, "undecodable"), 1);
    assert_int_equal(dead_letters(world, "bad_envelope"), 1);
    assert_int_equal(dead_letters(world, "misrouted"), 1);
    records = outbox(world, &count);
    for (size_t i = 0; i < count; i++) {
        if (!records[i].dead_letter || !tw_str_is(header_of(&records[i], TW_H_DLQ_REASON), "undecodable"))
            continue;
        assert_true(tw_str_eq(records[i].value, world->log.records[1].value));
        assert_true(tw_str_is(header_of(&records[i], TW_H_DLQ_OFFSET), "1"));
        assert_true(tw_str_is(header_of(&records[i], TW_H_DLQ_PARTITION), "2"));
        assert_true(tw_str_eq(header_of(&records[i], TW_H_TYPE), TW_STR("cart.add_item.v1")));
    }
    /* the readable one answers its client */
    assert_int_equal(outcome_at(world, 1).status, TW_COMMAND_STATUS_DEAD_LETTERED);
    assert_int_equal(cart_of(world, 1)->lines[0].quantity, 3);
    free_world(world);
}

static void a_dead_letter__keeps_null_apart_from_empty(void **unused)
{
    struct world            *world = new_world(&tw_cart_domain);
    struct tw_outbox_record *records;
    size_t                   count;

    (void)unused;
    append_add(world, 1, 1, 1, NULL)->key = (struct tw_str){NULL, 0};
    append_add(world, 1, 1, 1, NULL)->key = TW_STR("");
    world->log.records[1].value = (struct tw_str){NULL, 0};
    fold_all(world, 2);
    records = outbox(world, &count);
    for (size_t i = 0, dead = 0; i < count; i++) {
        if (!records[i].dead_letter)
            continue;
        assert_int_equal(records[i].key.ptr == NULL, dead == 0);
        assert_int_equal(records[i].value.ptr == NULL, dead == 1);
        dead++;
    }
    assert_int_equal(world->turn.counts.dead, 2);
    free_world(world);
}

static void a_record_in_a_foreign_partition__is_misrouted(void **unused)
{
    struct world           *world = new_world(&tw_cart_domain);
    struct tw_test_log      other;
    struct tw_cart_add_item body = {
        .quantity = 1, .product_name = TW_STR("Tea"), .price_minor = 1, .product_version = 1};
    struct tw_envelope envelope;

    (void)unused;
    tw_test_log_init(&other, PARTITION + 1, PARTITIONS);
    body.member_id = tw_test_id(&other, 0);
    envelope =
        tw_test_envelope(&world->log, &tw_cart_add_item_type, tw_test_command_id(&world->log, TW_DOMAIN_CART, 1));
    tw_test_append(&world->log, &tw_cart_add_item_type, body.member_id, &body, &envelope);
    fold_all(world, 1);
    assert_int_equal(dead_letters(world, "misrouted"), 1);
    assert_int_equal(world->turn.changes.entity_count, 0);
    tw_test_log_done(&other);
    free_world(world);
}

static void an_offset_the_dead_letters_name__is_passed_over_but_moves_clock_hash_and_watermark(void **unused)
{
    struct world *world = new_world(&tw_cart_domain);
    uint8_t       hash[TW_RECORD_HASH_BYTES];

    (void)unused;
    append_add(world, 1, 1, 1, NULL);
    append_add(world, 1, 1, 1, NULL); /* readable: given up once, for ever */
    tw_verdicts_add(&world->verdicts, 1);
    fold_all(world, 2);
    assert_int_equal(world->turn.counts.passed_over, 1);
    assert_int_equal(world->turn.counts.dead, 0);
    assert_int_equal(cart_of(world, 1)->lines[0].quantity, 1);
    assert_int_equal(world->progress.next_offset, 2);
    assert_int_equal(world->progress.clock_ms, world->log.records[1].timestamp_ms);
    tw_record_hash(&world->log.records[1], hash);
    assert_memory_equal(hash, world->progress.last_hash, sizeof(hash));
    assert_int_equal(outcome_at(world, 1).status, TW_COMMAND_STATUS_DEAD_LETTERED);
    free_world(world);
}

static void a_verdict__leaves_the_same_store_when_it_is_given_and_when_it_is_passed_over(void **unused)
{
    struct world *judged = new_world(&tw_cart_domain);
    struct world *replayed = new_world(&tw_cart_domain);
    struct tw_buf a = {0}, b = {0};

    (void)unused;
    for (int i = 0; i < 2; i++) {
        struct world *world = i ? replayed : judged;

        append_add(world, 1, 1, 1, NULL);
        append_add(world, 1, 1, 1, NULL)->value = TW_STR("\xc1");
        append_add(world, 1, 2, 1, NULL);
    }
    tw_verdicts_add(&replayed->verdicts, 1);
    fold_all(judged, 3);
    fold_all(replayed, 3);
    judged->store.forget_outbox(judged->store.self, PARTITION, 3, NULL);
    replayed->store.forget_outbox(replayed->store.self, PARTITION, 3, NULL);
    tw_memory_dump(tw_memory_store_db(&judged->store), &a);
    tw_memory_dump(tw_memory_store_db(&replayed->store), &b);
    assert_true(tw_str_eq(tw_buf_str(&a), tw_buf_str(&b)));
    tw_buf_done(&a);
    tw_buf_done(&b);
    free_world(judged);
    free_world(replayed);
}

static void a_condemned_record__is_dead_lettered_with_the_stores_words(void **unused)
{
    struct world *world = new_world(&tw_cart_domain);

    (void)unused;
    append_add(world, 1, 1, 1, NULL);
    world->condemned = (struct tw_condemned){0, "value out of range"};
    fold_all(world, 1);
    assert_int_equal(dead_letters(world, "refused_by_store"), 1);
    assert_int_equal(world->turn.changes.entity_count, 0);
    free_world(world);
}

static void a_requeued_command__is_decided_at_its_original_time_though_it_was_given_up(void **unused)
{
    struct world      *world = new_world(&tw_cart_domain);
    struct tw_envelope envelope =
        tw_test_envelope(&world->log, &tw_cart_add_item_type, tw_test_keyed_id(&world->log, TW_DOMAIN_CART, 7));

    (void)unused;
    append_add(world, 1, 1, 2, &envelope);
    tw_verdicts_add(&world->verdicts, 0);
    fold_all(world, 1);
    envelope.original_ms = world->log.records[0].timestamp_ms;
    world->log.now_ms += 3600000;
    append_add(world, 1, 1, 2, &envelope);
    fold_all(world, 1);
    assert_int_equal(world->turn.counts.succeeded, 1);
    assert_int_equal(cart_of(world, 1)->lines[0].added_at_ms, envelope.original_ms);
    append_add(world, 1, 1, 2, &envelope); /* and only once */
    fold_all(world, 1);
    assert_int_equal(world->turn.counts.repeated, 1);
    free_world(world);
}

static void a_requeued_command__is_never_of_later_than_now(void **unused)
{
    struct world      *world = new_world(&tw_cart_domain);
    struct tw_envelope envelope =
        tw_test_envelope(&world->log, &tw_cart_add_item_type, tw_test_keyed_id(&world->log, TW_DOMAIN_CART, 7));

    (void)unused;
    envelope.original_ms = INT64_MAX;
    append_add(world, 1, 1, 2, &envelope);
    fold_all(world, 1);
    assert_int_equal(cart_of(world, 1)->lines[0].added_at_ms, world->log.records[0].timestamp_ms);
    free_world(world);
}

static void a_requeued_command__meets_a_cart_that_has_ended_by_the_clock(void **unused)
{
    struct world      *world = new_world(&tw_cart_domain);
    struct tw_envelope envelope =
        tw_test_envelope(&world->log, &tw_cart_add_item_type, tw_test_keyed_id(&world->log, TW_DOMAIN_CART, 7));

    (void)unused;
    append_add(world, 1, 1, 2, NULL);
    fold_all(world, 1);
    envelope.original_ms = world->log.records[0].timestamp_ms + 1000; /* the cart was alive then */
    world->log.now_ms += INT64_C(8) * 24 * 3600000;
    append_add(world, 1, 2, 1, &envelope);
    fold_all(world, 1);
    assert_int_equal(world->turn.counts.succeeded, 1);
    assert_int_equal(cart_of(world, 1)->lines_len, 1); /* whether the old copy was swept or not */
    free_world(world);
}

/* Views: no ledger row without a key, one coalesced event a batch with the new total. */
static void append_view(struct world *world, struct tw_uuid product_id, const struct tw_uuid *command_id)
{
    struct tw_product_record_view body = {.product_id = product_id};
    struct tw_envelope            envelope =
        tw_test_envelope(&world->log, &tw_product_record_view_type,
                         command_id ? *command_id : tw_test_command_id(&world->log, TW_DOMAIN_PRODUCT, world->log.len));

    tw_test_append(&world->log, &tw_product_record_view_type, product_id, &body, &envelope);
}

static struct tw_uuid append_product(struct world *world)
{
    struct tw_product_create body = {
        .name = TW_STR("Tea"), .slug = TW_STR("tea"), .price_minor = 450, .category = TW_STR("Tea"), .is_active = true};
    char               text[TW_UUID_TEXT + 1];
    struct tw_envelope envelope =
        tw_test_envelope(&world->log, &tw_product_create_type, tw_test_command_id(&world->log, TW_DOMAIN_PRODUCT, 999));

    for (int i = 0;; i++) { /* a SKU whose product lives in this partition */
        body.sku = tw_arena_printf(&world->log.arena, "SKU-%d", i);
        body.product_id = tw_product_id_of_sku(body.sku);
        tw_uuid_format(body.product_id, text);
        if (tw_partition_of(tw_str_of(text), PARTITIONS) == PARTITION)
            break;
    }
    tw_test_append(&world->log, &tw_product_create_type, body.product_id, &body, &envelope);
    return body.product_id;
}

static void views_of_one_batch__are_one_change_and_one_event_with_the_new_total(void **unused)
{
    struct world            *world = new_world(&tw_product_domain);
    struct tw_uuid           product_id = append_product(world);
    struct tw_product_viewed viewed;
    size_t                   count;
    struct tw_outbox_record *records;

    (void)unused;
    fold_all(world, 1);
    for (int i = 0; i < 50; i++)
        append_view(world, product_id, NULL);
    fold_all(world, 50);
    assert_int_equal(world->turn.changes.entity_count, 1);
    assert_int_equal(world->turn.changes.row_count, 0);
    records = outbox(world, &count);
    assert_int_equal(count, 1);
    assert_true(tw_str_is(header_of(&records[0], TW_H_CAUSE_OFFSET), "50"));
    assert_int_equal(tw_product_viewed_type.unpack(records[0].value, &world->arena, &viewed, NULL), TW_OK);
    assert_int_equal(viewed.view_count, 50);
    free_world(world);
}

static void append_price(struct world *world, struct tw_uuid product_id, int64_t price_minor)
{
    struct tw_product_change body = {.product_id = product_id, .has_price = true, .price_minor = price_minor};
    struct tw_envelope       envelope = tw_test_envelope(&world->log, &tw_product_change_type,
                                                         tw_test_command_id(&world->log, TW_DOMAIN_PRODUCT, world->log.len));

    tw_test_append(&world->log, &tw_product_change_type, product_id, &body, &envelope);
}

/* Else an event with an older version would follow one with a newer, and what a batch holds could be told from events. */
static void a_change_among_views__leaves_each_event_the_version_of_its_record(void **unused)
{
    static const struct {
        const char *offset;
        int64_t     views, version;
    } wanted[] = {{"2", 2, 1}, {"6", 4, 3}};
    struct world            *world = new_world(&tw_product_domain);
    struct tw_uuid           product_id = append_product(world);
    size_t                   count, found = 0;
    struct tw_outbox_record *records;

    (void)unused;
    fold_all(world, 1);
    append_view(world, product_id, NULL);
    append_view(world, product_id, NULL);
    append_price(world, product_id, 500);
    append_price(world, product_id, 600);
    append_view(world, product_id, NULL);
    append_view(world, product_id, NULL);
    fold_all(world, 6);
    records = outbox(world, &count);
    for (size_t i = 0; i < count; i++) {
        struct tw_product_viewed viewed;

        if (!tw_str_is(header_of(&records[i], TW_H_TYPE), tw_product_viewed_type.ce_type))
            continue;
        assert_int_equal(tw_product_viewed_type.unpack(records[i].value, &world->arena, &viewed, NULL), TW_OK);
        assert_true(found < TW_LEN(wanted));
        assert_true(tw_str_is(header_of(&records[i], TW_H_CAUSE_OFFSET), wanted[found].offset));
        assert_int_equal(viewed.view_count, wanted[found].views);
        assert_int_equal(viewed.version, wanted[found++].version);
    }
    assert_int_equal(found, TW_LEN(wanted));
    free_world(world);
}

static void a_keyed_view__counts_once_and_is_remembered(void **unused)
{
    struct world  *world = new_world(&tw_product_domain);
    struct tw_uuid product_id = append_product(world);
    struct tw_uuid keyed = tw_test_keyed_id(&world->log, TW_DOMAIN_PRODUCT, 5);

    (void)unused;
    append_view(world, product_id, &keyed);
    append_view(world, product_id, &keyed);
    append_view(world, product_id, NULL);
    fold_all(world, 10);
    assert_int_equal(world->turn.counts.repeated, 1);
    assert_int_equal(world->turn.counts.succeeded, 3);
    assert_int_equal(world->turn.changes.row_count, 2);
    free_world(world);
}

/* --- commands that another one ends ------------------------------------------------------------------------------- */

static struct tw_envelope member_envelope(struct world *world, const struct tw_type *type, uint32_t command)
{
    struct tw_envelope envelope =
        tw_test_envelope(&world->log, type, tw_test_command_id(&world->log, TW_DOMAIN_MEMBER, command));

    envelope.caller = tw_test_uuid(4711);
    envelope.fingerprint[0] = 5;
    return envelope;
}

static void append_member(struct world *world, const struct tw_type *type, uint32_t command, struct tw_uuid member_id,
                          const void *body)
{
    struct tw_envelope envelope = member_envelope(world, type, command);

    tw_test_append(&world->log, type, member_id, body, &envelope);
}

/* A member of this partition is there; returns the id. Takes offset 0. */
static struct tw_uuid given_member(struct world *world)
{
    struct tw_member_register body = {.password_hash = TW_STR("$x"), .full_name = TW_STR("Ana Lim")};
    char                      text[TW_UUID_TEXT + 1];

    for (int i = 0;; i++) {
        body.email = body.email_folded = tw_arena_printf(&world->log.arena, "ana%d@example.com", i);
        body.member_id = tw_member_id(world->config.id_key, body.email_folded);
        tw_uuid_format(body.member_id, text);
        if (tw_partition_of(tw_str_of(text), PARTITIONS) == PARTITION)
            break;
    }
    append_member(world, &tw_member_register_type, 1, body.member_id, &body);
    fold_all(world, 1);
    assert_int_equal(outcome_at(world, 0).http_status, 201);
    return body.member_id;
}

enum { CHANGE = 2, COMPLETE = 3, OTHERS = 10 }; /* numbers of commands */

static struct tw_member_change_email change_email(const struct world *world, struct tw_uuid member_id)
{
    struct tw_member_change_email body = {
        .member_id = member_id,
        .credential_version = 1,
        .email = TW_STR("Ana@new.example"),
        .email_folded = TW_STR("ana@new.example"),
    };

    body.claim_id = tw_member_id(world->config.id_key, body.email_folded);
    return body;
}

static void append_change(struct world *world, struct tw_uuid member_id)
{
    struct tw_member_change_email body = change_email(world, member_id);

    append_member(world, &tw_member_change_email_type, CHANGE, member_id, &body);
}

static void append_complete(struct world *world, struct tw_uuid member_id)
{
    struct tw_member_complete_email_change body = {.member_id = member_id, .granted = true};

    for (size_t i = 0; i < world->log.len; i++) { /* the id that the change was given, whatever the time was then */
        struct tw_envelope envelope;

        assert_int_equal(tw_envelope_read(&world->log.records[i], &envelope, NULL), TW_OK);
        if (tw_str_is(envelope.type, tw_member_change_email_type.ce_type))
            body.change_id = envelope.command_id;
    }
    append_member(world, &tw_member_complete_email_change_type, COMPLETE, member_id, &body);
}

/* Something the member does that has nothing to do with it. */
static void append_profile(struct world *world, struct tw_uuid member_id, uint32_t command)
{
    struct tw_member_change_profile body = {
        .member_id = member_id, .has_full_name = true, .full_name = TW_STR("Ana L.")};

    append_member(world, &tw_member_change_profile_type, command, member_id, &body);
}

static size_t event_count(struct world *world)
{
    size_t count;

    outbox(world, &count);
    return count;
}

/* What the store remembers of the command at @p offset; an outcome without http_status: nothing. */
static struct tw_ledger_row remembered(struct world *world, size_t offset)
{
    struct tw_envelope envelope;
    struct tw_uuid     id;
    struct tw_load     load = {.ledger_ids = &id, .ledger_id_count = 1};
    struct tw_err      err;

    assert_int_equal(tw_envelope_read(&world->log.records[offset], &envelope, NULL), TW_OK);
    id = tw_command_id_ledger(envelope.command_id);
    assert_rc(world->store.load(world->store.self, PARTITION, world->progress.next_offset, &load, &world->arena, &err),
              TW_OK, err);
    world->store.abandon(world->store.self, PARTITION);
    return load.row_count ? load.rows[0] : (struct tw_ledger_row){0};
}

/* Quiet ones, too, which are not remembered otherwise: the same in one batch and in two. */
static void a_quiet_command__that_is_given_up_twice_is_remembered_once(void **unused)
{
    for (size_t batch = 1; batch <= 2; batch++) {
        struct world        *world = new_world(&tw_product_domain);
        struct tw_uuid       id = tw_test_command_id(&world->log, TW_DOMAIN_PRODUCT, 7);
        struct tw_ledger_row row;

        (void)unused;
        for (int i = 0; i < 2; i++) {
            append_view(world, tw_test_id(&world->log, 1), &id);
            world->log.records[i].value = TW_STR("\x80");
        }
        fold_all(world, batch);
        assert_int_equal(dead_letters(world, "undecodable"), batch);
        row = remembered(world, 0);
        assert_int_equal(row.outcome.status, TW_DEAD_LETTERED);
        assert_int_equal(row.offset, 0);
        free_world(world);
    }
}

/* A final row and the outcome event of the change at @p change_offset, caused by the record at @p cause_offset. */
static void assert_ended(struct world *world, int64_t change_offset, int64_t cause_offset)
{
    struct tw_command_outcome outcome = outcome_at(world, cause_offset); /* n = 0 or after the domain's own event */
    struct tw_ledger_row      row = remembered(world, (size_t)change_offset);
    struct tw_envelope        envelope;

    assert_int_equal(tw_envelope_read(&world->log.records[change_offset], &envelope, NULL), TW_OK);
    assert_true(tw_uuid_eq(outcome.command_id, envelope.command_id));
    assert_true(tw_str_is(outcome.command_type, "member.change_email"));
    assert_int_equal(outcome.status, TW_COMMAND_STATUS_SUCCEEDED);
    assert_int_equal(outcome.http_status, 200);
    assert_true(tw_str_is(outcome.resource, "/v1/members/me"));
    assert_true(outcome.has_caller && tw_uuid_eq(outcome.caller, envelope.caller));
    assert_false(outcome.repeated);
    assert_true(outcome.has_record_offset);
    assert_int_equal(outcome.record_offset, change_offset);
    assert_int_equal(outcome.submitted_at_ms, envelope.submitted_ms);
    assert_int_equal(outcome.finished_at_ms, world->log.records[cause_offset].timestamp_ms);

    assert_int_equal(row.outcome.status, TW_SUCCEEDED);
    assert_int_equal(row.outcome.http_status, 200);
    assert_int_equal(row.offset, change_offset);
    assert_int_equal(row.at_ms, outcome.finished_at_ms);
    assert_int_equal(row.submitted_ms, envelope.submitted_ms);
    assert_true(tw_uuid_eq(row.caller, envelope.caller));
    assert_memory_equal(row.fingerprint, envelope.fingerprint, sizeof(row.fingerprint));
    assert_true(tw_str_is(row.type, "member.change_email"));
}

static void a_pending_command__is_remembered_and_has_no_outcome_yet(void **unused)
{
    struct world        *world = new_world(&tw_member_domain);
    struct tw_uuid       member_id = given_member(world);
    struct tw_ledger_row row;

    (void)unused;
    append_change(world, member_id);
    fold_all(world, 1);
    assert_int_equal(world->turn.counts.succeeded, 1);
    assert_int_equal(event_count(world), 1);
    assert_int_equal(count_of_type(world, "member.email_change_asked.v1"), 1);
    row = remembered(world, 1);
    assert_int_equal(row.outcome.status, TW_PENDING);
    assert_int_equal(row.outcome.http_status, 202);
    assert_int_equal(row.offset, 1);
    free_world(world);
}

static void a_repeat_of_a_pending_command__publishes_nothing_and_changes_nothing(void **unused)
{
    struct world  *world = new_world(&tw_member_domain);
    struct tw_uuid member_id = given_member(world);
    struct tw_uuid id;

    (void)unused;
    append_change(world, member_id);
    append_change(world, member_id); /* in the same batch */
    world->log.records[2].headers = world->log.records[1].headers;
    fold_all(world, 2);
    assert_int_equal(world->turn.counts.repeated, 1);
    assert_int_equal(event_count(world), 1);
    append_change(world, member_id); /* known from the store */
    world->log.records[3].headers = world->log.records[1].headers;
    fold_all(world, 1);
    assert_int_equal(world->turn.counts.repeated, 1);
    assert_int_equal(event_count(world), 0);
    assert_int_equal(world->turn.changes.entity_count, 0);
    assert_int_equal(world->turn.changes.row_count, 0);
    assert_int_equal(remembered(world, 1).offset, 1);
    id = remembered(world, 1).id;
    assert_true(tw_uuid_eq(remembered(world, 3).id, id));
    free_world(world);
}

static void a_pending_key_with_another_fingerprint__is_refused_and_stays_pending(void **unused)
{
    struct world                 *world = new_world(&tw_member_domain);
    struct tw_uuid                member_id = given_member(world);
    struct tw_member_change_email body = change_email(world, member_id);
    struct tw_envelope            envelope = member_envelope(world, &tw_member_change_email_type, CHANGE);

    (void)unused;
    tw_test_append(&world->log, &tw_member_change_email_type, member_id, &body, &envelope);
    envelope.fingerprint[0] = 6;
    tw_test_append(&world->log, &tw_member_change_email_type, member_id, &body, &envelope);
    fold_all(world, 2);
    assert_int_equal(outcome_at(world, 2).http_status, 422);
    assert_false(outcome_at(world, 2).has_record_offset);
    assert_int_equal(remembered(world, 1).outcome.status, TW_PENDING);
    free_world(world);
}

static void a_pending_command__ends_with_the_one_that_ends_it(void **unused)
{
    struct world  *world = new_world(&tw_member_domain);
    struct tw_uuid member_id = given_member(world);

    (void)unused;
    append_change(world, member_id);
    fold_all(world, 1);
    append_complete(world, member_id);
    fold_all(world, 1);
    assert_ended(world, 1, 2);
    assert_int_equal(world->turn.changes.row_count, 2);
    for (size_t i = 0; i < 2; i++) /* the pending row goes; of the one that ends it there was none */
        assert_int_equal(world->turn.changes.rows[i].replaces, world->turn.changes.rows[i].offset == 1);
    assert_int_equal(count_of_type(world, "command.outcome.v1"), 2);
    assert_int_equal(count_of_type(world, "member.email_changed.v1"), 1);
    free_world(world);
}

static void a_command_that_was_pending__is_repeated_like_any_other_after_its_end(void **unused)
{
    struct world             *world = new_world(&tw_member_domain);
    struct tw_uuid            member_id = given_member(world);
    struct tw_command_outcome outcome;

    (void)unused;
    append_change(world, member_id);
    append_complete(world, member_id);
    fold_all(world, 1);
    append_change(world, member_id);
    world->log.records[3].headers = world->log.records[1].headers;
    fold_all(world, 1);
    outcome = outcome_at(world, 3);
    assert_true(outcome.repeated);
    assert_int_equal(outcome.http_status, 200);
    assert_false(outcome.has_record_offset); /* the repeat is its own cause */
    assert_int_equal(world->turn.changes.entity_count, 0);
    assert_int_equal(world->turn.changes.row_count, 0);
    free_world(world);
}

static void a_pending_command__that_ends_in_the_batch_it_began_in_has_one_row_and_one_outcome(void **unused)
{
    struct world  *world = new_world(&tw_member_domain);
    struct tw_uuid member_id = given_member(world);

    (void)unused;
    append_change(world, member_id);
    append_complete(world, member_id);
    append_change(world, member_id);
    world->log.records[3].headers = world->log.records[1].headers;
    fold_all(world, 3);
    assert_ended(world, 1, 2);
    assert_true(outcome_at(world, 3).repeated);
    assert_int_equal(world->turn.changes.row_count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_false(world->turn.changes.rows[i].replaces); /* the store has none of the two */
    assert_int_equal(count_of_type(world, "command.outcome.v1"), 3);
    free_world(world);
}

static void a_pending_command__whose_row_was_swept_ends_all_the_same(void **unused)
{
    struct world  *world = new_world(&tw_member_domain);
    struct tw_uuid member_id = given_member(world);

    (void)unused;
    append_change(world, member_id);
    fold_all(world, 1);
    world->log.now_ms += TW_LEDGER_LIFE_MS;
    append_profile(world, member_id, OTHERS); /* moves the clock */
    fold_all(world, 1);
    assert_int_equal(
        world->store.sweep(world->store.self, PARTITION, world->progress.next_offset, world->progress.clock_ms, NULL),
        TW_OK);
    assert_int_equal(remembered(world, 1).outcome.http_status, 0);
    append_complete(world, member_id);
    fold_all(world, 1);
    assert_ended(world, 1, 3);
    free_world(world);
}

/* The row of the ended command joins those of the batch, however many there are. */
static void commands_of_a_batch__keep_their_rows_when_one_of_them_ends_another(void **unused)
{
    (void)unused;
    for (uint32_t others = 0; others < 20; others++) {
        struct world  *world = new_world(&tw_member_domain);
        struct tw_uuid member_id = given_member(world);

        append_change(world, member_id);
        fold_all(world, 1);
        append_complete(world, member_id);
        for (uint32_t i = 0; i < others; i++)
            append_profile(world, member_id, OTHERS + i);
        fold_all(world, 1 + others);
        assert_int_equal(world->turn.changes.row_count, 2 + others);
        for (size_t offset = 1; offset < world->log.len; offset++)
            assert_int_equal(remembered(world, offset).outcome.http_status, 200);
        free_world(world);
    }
}

/* One log with everything in it gives one store, whatever the batches, with and without the cache. */
static void fill_mixed_log(struct world *world)
{
    unsigned seed = 20261123;

    for (uint32_t i = 0; i < 3000; i++) {
        unsigned           dice = (unsigned)rand_r(&seed) % 100;
        struct tw_envelope envelope =
            tw_test_envelope(&world->log, &tw_cart_add_item_type,
                             dice < 20 ? tw_test_keyed_id(&world->log, TW_DOMAIN_CART, (uint32_t)rand_r(&seed) % 40)
                                       : tw_test_command_id(&world->log, TW_DOMAIN_CART, i));

        if (dice < 3)
            envelope.fingerprint[0] = 9;
        if (dice == 50)
            envelope.if_version = 3;
        append_add(world, (uint32_t)rand_r(&seed) % 20, (uint32_t)rand_r(&seed) % 130, 1 + rand_r(&seed) % 300,
                   &envelope);
        if (dice == 98)
            world->log.records[world->log.len - 1].value = TW_STR("\x81");
        if (dice == 99)
            world->log.records[world->log.len - 1].key = TW_STR("nobody");
        if (dice == 97)
            world->log.now_ms += INT64_C(6) * 3600000; /* rows and carts come of age */
    }
}

static void dump_fold(size_t batch, size_t cache_bytes, bool silent, struct tw_buf *out)
{
    struct world *world = new_world(&tw_cart_domain);

    tw_cache_free(world->cache);
    world->cache = tw_cache_new(cache_bytes);
    world->config.silent = silent;
    fill_mixed_log(world);
    fold_all(world, batch);
    assert_int_equal(world->store.forget_outbox(world->store.self, PARTITION, world->progress.next_offset, NULL),
                     TW_OK);
    tw_memory_dump(tw_memory_store_db(&world->store), out);
    free_world(world);
}

static void the_same_log__gives_the_same_store_for_any_batch_size(void **unused)
{
    static const size_t batches[] = {1, 2, 7, 100, 999, 3000};
    struct tw_buf       first = {0};

    (void)unused;
    dump_fold(500, 1 << 20, false, &first);
    assert_true(first.len > 10000);
    for (size_t i = 0; i < TW_LEN(batches); i++) {
        struct tw_buf other = {0};

        dump_fold(batches[i], i % 2 ? 0 : i == 4 ? 4096 : 1 << 20, i % 3 == 0, &other);
        assert_true(tw_str_eq(tw_buf_str(&first), tw_buf_str(&other)));
        tw_buf_done(&other);
    }
    tw_buf_done(&first);
}

/* Records that end in every way there is. */
static void fold_every_end(struct world *world)
{
    struct tw_envelope envelope =
        tw_test_envelope(&world->log, &tw_cart_add_item_type, tw_test_keyed_id(&world->log, TW_DOMAIN_CART, 7));

    append_add(world, 1, 1, 2, &envelope);
    append_add(world, 1, 1, 2, &envelope);                    /* a repeat */
    append_add(world, 1, 1, 999, NULL);                       /* rejected */
    append_add(world, 2, 1, 1, NULL)->value = TW_STR("\xc1"); /* a dead letter with a row */
    append_add(world, 2, 1, 1, NULL)->header_count = 0;       /* and one without */
    append_add(world, 2, 2, 1, NULL);                         /* passed over */
    append_add(world, 2, 3, 1, NULL);
    tw_verdicts_add(&world->verdicts, 5);
    fold_all(world, 7);
}

static void a_silent_turn__makes_the_same_changes_and_tells_nobody(void **unused)
{
    struct world *loud = new_world(&tw_cart_domain), *silent = new_world(&tw_cart_domain);
    struct tw_buf expected = {0}, is = {0};

    (void)unused;
    silent->config.silent = true;
    fold_every_end(loud);
    fold_every_end(silent);
    assert_true(loud->progress.outbox.len > 0 && loud->turn.event_count > 0);
    assert_int_equal(silent->progress.outbox.len, 0);
    assert_int_equal(silent->turn.event_count, 0);
    assert_memory_equal(&silent->turn.counts, &loud->turn.counts, sizeof(loud->turn.counts));
    assert_int_equal(silent->turn.counts.dead + silent->turn.counts.passed_over, 3);
    assert_int_equal(silent->turn.changes.entity_count, loud->turn.changes.entity_count);
    assert_int_equal(silent->turn.changes.row_count, loud->turn.changes.row_count);
    assert_int_equal(loud->store.forget_outbox(loud->store.self, PARTITION, 7, NULL), TW_OK);
    tw_memory_dump(tw_memory_store_db(&loud->store), &expected);
    tw_memory_dump(tw_memory_store_db(&silent->store), &is);
    assert_true(tw_str_eq(tw_buf_str(&is), tw_buf_str(&expected)));
    tw_buf_done(&expected);
    tw_buf_done(&is);
    free_world(silent);
    free_world(loud);
}

static void silent_views__are_counted_though_nobody_hears_of_them(void **unused)
{
    struct world  *world = new_world(&tw_product_domain);
    struct tw_uuid product_id;

    (void)unused;
    world->config.silent = true;
    product_id = append_product(world);
    fold_all(world, 1);
    for (int i = 0; i < 5; i++)
        append_view(world, product_id, NULL);
    fold_all(world, 5);
    assert_int_equal(world->progress.outbox.len, 0);
    assert_int_equal(world->turn.changes.entity_count, 1);
    assert_int_equal(((const struct tw_product *)world->turn.changes.entities[0]->state)->view_count, 5);
    free_world(world);
}

static void an_outbox_that_is_damaged__is_refused_at_every_byte(void **unused)
{
    struct world            *world = new_world(&tw_cart_domain);
    struct tw_outbox_record *records;
    size_t                   count;

    (void)unused;
    append_add(world, 1, 1, 1, NULL);
    append_add(world, 1, 1, 1, NULL)->value = TW_STR("\xc1");
    fold_all(world, 2);
    for (size_t len = 1; len < world->turn.changes.after.outbox.len; len++) {
        struct tw_str cut = {world->turn.changes.after.outbox.ptr, len};
        enum tw_rc    rc = tw_outbox_render(cut, "cart", PARTITION, &world->arena, &records, &count, NULL);

        assert_true(rc == TW_BROKEN || count < 4); /* a cut between entries is a shorter outbox */
    }
    free_world(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch__changes_state_ledger_and_outbox_in_one_commit),
        cmocka_unit_test(events__stand_in_the_order_of_cause_and_number),
        cmocka_unit_test(a_repeated_command__changes_nothing_and_is_answered_once_more),
        cmocka_unit_test(a_view_that_is_given_up_twice__is_answered_once),
        cmocka_unit_test(a_key_with_another_fingerprint__is_refused_and_the_first_answer_stays),
        cmocka_unit_test(a_ledger_row__counts_for_a_day_of_the_partitions_clock),
        cmocka_unit_test(the_clock__never_goes_back),
        cmocka_unit_test(a_rejected_command__leaves_no_trace_but_its_answer),
        cmocka_unit_test(if_match__compares_the_version_before_deciding),
        cmocka_unit_test(records_that_cannot_be_decoded__become_dead_letters_and_neighbours_go_on),
        cmocka_unit_test(a_dead_letter__keeps_null_apart_from_empty),
        cmocka_unit_test(a_record_in_a_foreign_partition__is_misrouted),
        cmocka_unit_test(an_offset_the_dead_letters_name__is_passed_over_but_moves_clock_hash_and_watermark),
        cmocka_unit_test(a_verdict__leaves_the_same_store_when_it_is_given_and_when_it_is_passed_over),
        cmocka_unit_test(a_condemned_record__is_dead_lettered_with_the_stores_words),
        cmocka_unit_test(a_requeued_command__is_decided_at_its_original_time_though_it_was_given_up),
        cmocka_unit_test(a_quiet_command__that_is_given_up_twice_is_remembered_once),
        cmocka_unit_test(a_requeued_command__is_never_of_later_than_now),
        cmocka_unit_test(a_requeued_command__meets_a_cart_that_has_ended_by_the_clock),
        cmocka_unit_test(views_of_one_batch__are_one_change_and_one_event_with_the_new_total),
        cmocka_unit_test(a_change_among_views__leaves_each_event_the_version_of_its_record),
        cmocka_unit_test(a_keyed_view__counts_once_and_is_remembered),
        cmocka_unit_test(a_pending_command__is_remembered_and_has_no_outcome_yet),
        cmocka_unit_test(a_repeat_of_a_pending_command__publishes_nothing_and_changes_nothing),
        cmocka_unit_test(a_pending_key_with_another_fingerprint__is_refused_and_stays_pending),
        cmocka_unit_test(a_pending_command__ends_with_the_one_that_ends_it),
        cmocka_unit_test(a_command_that_was_pending__is_repeated_like_any_other_after_its_end),
        cmocka_unit_test(a_pending_command__that_ends_in_the_batch_it_began_in_has_one_row_and_one_outcome),
        cmocka_unit_test(a_pending_command__whose_row_was_swept_ends_all_the_same),
        cmocka_unit_test(commands_of_a_batch__keep_their_rows_when_one_of_them_ends_another),
        cmocka_unit_test(the_same_log__gives_the_same_store_for_any_batch_size),
        cmocka_unit_test(a_silent_turn__makes_the_same_changes_and_tells_nobody),
        cmocka_unit_test(silent_views__are_counted_though_nobody_hears_of_them),
        cmocka_unit_test(an_outbox_that_is_damaged__is_refused_at_every_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Links: tw_histories tw_member_domain tw_product_domain tw_cart_domain PkgConfig::JANSSON */
/*
 * Hostile records through whole turns: decode, load, decide, commit, on the store in memory. The first byte says whose
 * (1 member, 2 product, 3 cart), the second how many records go into a batch; then come records, see read_record().
 *
 * Every record ends applied, rejected, as a repeat or as a dead letter, and whoever has a command id is told so once.
 * Dead letters are untouched, events can be read by those who know their types, states are what their domain promises.
 * And the fold is a fold: one by one, in batches, and in silence after the verdicts are known it gives the same store.
 */
#include <stdio.h>
#include <string.h>

#include "fuzz.h"
#include "histories.h"
#include "outbox.h"
#include "tillwire/cart_keys.h"
#include "tillwire/codec.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/gen/product_messages.h"
#include "tillwire/gen/shared_messages.h"
#include "workers/cart/cart_domain.h"
#include "workers/member/member_domain.h"
#include "workers/product/product_domain.h"

enum { RECORDS_MAX = 64, HEAD_BYTES = 24, LIST_MAX = 256, EXTREMES = 4 };

/* What is odd about a record beside its payload. */
enum oddity {
    OTHER_KEY = 1, /* not the aggregate's */
    OTHER_IDS = 2, /* what follows from a SKU or an address is left as it is in the payload */
    NO_KEY = 4,
    IF_MATCH = 8,    /* of version `extra` */
    REQUEUED = 16,   /* of a time that `extra` chooses, and of a dead letter when it is odd */
    ODD_TIME = 32,   /* ce_time likewise */
    ODD_HEADER = 64, /* one of the headers is nonsense: `extra` chooses which */
    IS_KEYED = 128,  /* the command id is one of an Idempotency-Key */
};

struct spec {
    struct tw_str name; /* "cart.add_item.v1" */
    uint8_t       id[16];
    int32_t       delta_ms; /* since the record before */
    uint8_t       oddities;
    uint8_t       extra;
    struct tw_str payload;
};

static const struct tw_domain *const domains[] = {&tw_member_domain, &tw_product_domain, &tw_cart_domain};

static uint8_t id_key[TW_ID_KEY_BYTES];

/* --- from an input to a log --------------------------------------------------------------------------------------- */

/* Length and text of the type's name, command id 16, ms 4, oddities 1, extra 1, length of the payload 2, payload. False:
 * no record is left. */
static bool read_record(struct tw_str *rest, struct spec *ret_spec)
{
    size_t         name_len = tw_fuzz_take_byte(rest), payload_len;
    const uint8_t *at;

    if (rest->len < name_len + HEAD_BYTES)
        return false;
    ret_spec->name = (struct tw_str){rest->ptr, name_len};
    at = (const uint8_t *)rest->ptr + name_len;
    memcpy(ret_spec->id, at, 16);
    ret_spec->delta_ms = (int32_t)((uint32_t)at[16] << 24 | (uint32_t)at[17] << 16 | (uint32_t)at[18] << 8 | at[19]);
    ret_spec->oddities = at[20];
    ret_spec->extra = at[21];
    payload_len = (size_t)at[22] << 8 | at[23];
    *rest = (struct tw_str){rest->ptr + name_len + HEAD_BYTES, rest->len - name_len - HEAD_BYTES};
    if (payload_len > rest->len)
        payload_len = rest->len;
    ret_spec->payload = (struct tw_str){rest->ptr, payload_len};
    *rest = (struct tw_str){rest->ptr + payload_len, rest->len - payload_len};
    return true;
}

static size_t read_records(struct tw_str rest, struct spec specs[RECORDS_MAX])
{
    size_t count = 0;

    while (count < RECORDS_MAX && read_record(&rest, &specs[count]))
        count++;
    return count;
}

/* Ids that follow from a natural key do. */
static void put_ids_right(const struct tw_type *type, void *body)
{
    if (type == &tw_product_create_type) {
        struct tw_product_create *cmd = body;
        cmd->product_id = tw_product_id_of_sku(cmd->sku);
    } else if (type == &tw_member_register_type) {
        struct tw_member_register *cmd = body;
        cmd->member_id = tw_member_id(id_key, cmd->email_folded);
    } else if (type == &tw_member_register_service_type) {
        struct tw_member_register_service *cmd = body;
        cmd->member_id = tw_member_id(id_key, cmd->email_folded);
    } else if (type == &tw_member_change_email_type) {
        struct tw_member_change_email *cmd = body;
        cmd->claim_id = tw_member_id(id_key, cmd->email_folded);
    }
}

static struct tw_uuid key_of(const struct tw_type *type, const void *body)
{
    struct tw_uuid id = tw_uuid_nil;

    for (size_t i = 0; i < type->layout->field_count; i++)
        if (strcmp(type->layout->fields[i].name, type->key) == 0)
            memcpy(&id, (const char *)body + type->layout->fields[i].offset, sizeof(id));
    return id;
}

static struct tw_str uuid_text(struct tw_uuid id, struct tw_arena *arena)
{
    char text[TW_UUID_TEXT + 1];

    tw_uuid_format(id, text);
    return tw_arena_copy(arena, tw_str_of(text));
}

static int64_t extreme(uint8_t extra, int64_t now_ms)
{
    const int64_t extremes[EXTREMES] = {now_ms - (int64_t)extra * HOUR_MS, 0, INT64_MAX, INT64_C(253402300799999)};

    return extremes[extra % EXTREMES];
}

static struct tw_envelope envelope_of(const struct spec *spec, const struct tw_domain *domain, int64_t now_ms)
{
    static const int64_t times[EXTREMES] = {INT64_C(-62135596800000), 0, INT64_C(253402300799999), -1};
    struct tw_envelope   envelope = {.type = spec->name, .submitted_ms = now_ms, .if_version = -1, .original_ms = -1};

    memcpy(envelope.command_id.bytes, spec->id, sizeof(spec->id));
    if (spec->oddities & IS_KEYED)
        envelope.command_id = tw_command_id_keyed(spec->id, domain->number, 0);
    envelope.fingerprint[0] = spec->oddities & (ODD_HEADER | IF_MATCH | REQUEUED | ODD_TIME) ? 0 : spec->extra;
    if (spec->oddities & IF_MATCH)
        envelope.if_version = spec->extra;
    if (spec->oddities & REQUEUED)
        envelope.original_ms = extreme(spec->extra, now_ms);
    if (spec->oddities & ODD_TIME)
        envelope.submitted_ms = times[spec->extra % EXTREMES];
    return envelope;
}

static void spoil_header(struct tw_record *record, uint8_t extra, struct tw_arena *arena)
{
    static const char *const nonsense[] = {"", "x", "\xff", "1.1", "-1", "99999999999999999999"};
    struct tw_header        *headers = TW_NEW_ARRAY(arena, record->header_count, struct tw_header);

    memcpy(headers, record->headers, record->header_count * sizeof(*headers));
    headers[extra % record->header_count].value = tw_str_of(nonsense[extra / 16 % TW_LEN(nonsense)]);
    record->headers = headers;
}

/* The payload with what is to be put right in it, and the key that goes with it. */
static void fill_in(struct tw_record *record, const struct spec *spec, const struct tw_domain *domain,
                    struct tw_arena *arena)
{
    const struct tw_type *type = tw_domain_command(domain, spec->name);
    struct tw_buf         packed = {0};
    void                 *body;

    record->value = tw_arena_copy(arena, spec->payload);
    record->key = uuid_text(tw_test_uuid(spec->extra), arena);
    if (!type)
        return;
    body = tw_arena_alloc(arena, type->size);
    if (type->unpack(record->value, arena, body, NULL) != TW_OK)
        return;
    if (!(spec->oddities & OTHER_IDS)) {
        put_ids_right(type, body);
        type->pack(body, &packed);
        record->value = tw_arena_copy(arena, tw_buf_str(&packed));
        tw_buf_done(&packed);
    }
    if (!(spec->oddities & OTHER_KEY))
        record->key = uuid_text(key_of(type, body), arena);
}

/* What an operator says of a dead letter, that there is or is not: the record is its next attempt, or its end. */
static void add_words(struct tw_record *record, const struct spec *spec, struct tw_arena *arena)
{
    bool              drops = tw_str_is(spec->name, TW_DROP_TYPE);
    struct tw_header *headers = TW_NEW_ARRAY(arena, record->header_count + 3, struct tw_header);
    struct tw_str     of = tw_arena_printf(arena, "%d", spec->extra / 2 % 8);

    memcpy(headers, record->headers, record->header_count * sizeof(*headers));
    headers[record->header_count++] = (struct tw_header){drops ? TW_STR(TW_H_DROP_OF) : TW_STR(TW_H_REQUEUE_OF), of};
    headers[record->header_count++] = (struct tw_header){TW_STR(TW_H_ATTEMPT), TW_STR("2")};
    headers[record->header_count++] = (struct tw_header){TW_STR(TW_H_OPERATOR), TW_STR("ada")};
    record->headers = headers;
}

static void append(struct tw_test_log *log, const struct spec *spec, const struct tw_domain *domain)
{
    struct tw_envelope envelope;
    struct tw_record  *record;

    log->now_ms += spec->delta_ms;
    if (log->now_ms < 0)
        log->now_ms = 0;
    envelope = envelope_of(spec, domain, log->now_ms);
    log->records = tw_arena_grow(&log->arena, log->records, log->len, &log->cap, sizeof(*log->records));
    record = &log->records[log->len];
    *record = (struct tw_record){.offset = log->len++, .timestamp_ms = log->now_ms};
    fill_in(record, spec, domain, &log->arena);
    if (spec->oddities & NO_KEY)
        record->key = (struct tw_str){NULL, 0};
    tw_envelope_write(&envelope, "/tillwire/edge", &log->arena, &record->headers, &record->header_count);
    if ((spec->oddities & REQUEUED) && spec->extra % 2)
        add_words(record, spec, &log->arena);
    if (spec->oddities & ODD_HEADER)
        spoil_header(record, spec->extra, &log->arena);
}

/* --- what holds of a turn of one record --------------------------------------------------------------------------- */

static bool is_same(struct tw_str a, struct tw_str b)
{
    return tw_str_eq(a, b) && !a.ptr == !b.ptr;
}

static void must_be_untouched(const struct tw_record *record, const struct tw_outbox_record *letter)
{
    must(is_same(record->key, letter->key) && is_same(record->value, letter->value));
    must(letter->header_count > record->header_count);
    for (size_t i = 0; i < record->header_count; i++)
        must(is_same(record->headers[i].name, letter->headers[i].name) &&
             is_same(record->headers[i].value, letter->headers[i].value));
}

static void must_be_readable(const struct tw_event *event, struct tw_arena *arena)
{
    void         *value = tw_arena_alloc(arena, event->type->size);
    struct tw_err err = {0};

    if (event->type->unpack(event->payload, arena, value, &err) != TW_OK) {
        fprintf(stderr, "%s cannot be read: %s\n", event->type->ce_type, err.msg);
        abort();
    }
}

/* Outcomes of the record's own command. */
static size_t check_events(const struct tw_turn *turn, const struct tw_envelope *envelope, struct tw_arena *arena)
{
    size_t outcomes = 0;

    for (uint32_t i = 0; i < turn->event_count; i++) {
        const struct tw_event *event = &turn->events[i];

        must(event->n == (int32_t)i && event->cause_offset == turn->records[0].offset);
        must_be_readable(event, arena);
        if (event->type == &tw_command_outcome_type) {
            struct tw_command_outcome outcome;
            event->type->unpack(event->payload, arena, &outcome, NULL);
            outcomes += envelope && tw_uuid_eq(outcome.command_id, envelope->command_id);
        }
    }
    return outcomes;
}

/* A saga's first command is told of when it ends; views are told of when they have a key. */
static bool may_be_silent(const struct tw_envelope *envelope, const struct tw_type *type)
{
    return type &&
           ((type->quiet && !tw_command_id_is_keyed(envelope->command_id)) || type == &tw_member_change_email_type);
}

static void check_outcome(const struct tw_turn *turn, struct tw_arena *arena)
{
    const struct tw_turn_counts *counts = &turn->counts;
    struct tw_envelope           envelope;
    bool                         has_id = tw_envelope_read(&turn->records[0], &envelope, NULL) == TW_OK;
    size_t                       outcomes = check_events(turn, has_id ? &envelope : NULL, arena);

    must(counts->succeeded + counts->rejected + counts->repeated + counts->dead + counts->passed_over == 1);
    must(outcomes <= 1 && (has_id || counts->dead == 1));
    if (has_id && !counts->dead && !may_be_silent(&envelope, tw_domain_command(turn->config->domain, envelope.type)))
        must(outcomes == 1);
}

/* What the outbox says of dead letters is known before the next turn, as to a worker. How many records are given up. */
static size_t take_verdicts(const struct tw_turn *turn, struct tw_verdicts *verdicts, struct tw_arena *arena)
{
    struct tw_outbox_record *records = NULL;
    size_t                   count = 0, dead = 0;

    must(tw_outbox_render(turn->changes.after.outbox, turn->config->domain->name, 0, arena, &records, &count, NULL) ==
         TW_OK);
    for (size_t i = 0; i < count; i++) {
        struct tw_record      read = {.offset = verdicts->read_to,
                                      .key = records[i].key,
                                      .value = records[i].value,
                                      .headers = records[i].headers,
                                      .header_count = records[i].header_count};
        struct tw_dead_letter letter;

        if (!records[i].dead_letter)
            continue;
        must(tw_dead_letter_read(&read, &letter));
        if (!letter.is_settlement) {
            dead++;
            must_be_untouched(&turn->records[letter.offset - turn->before.next_offset], &records[i]);
        }
        tw_verdicts_take(verdicts, &read);
        must(letter.is_settlement || tw_verdicts_has(verdicts, letter.offset));
    }
    return dead;
}

/* --- what holds of states ----------------------------------------------------------------------------------------- */

static void check_member(const struct tw_member *member, int64_t clock_ms)
{
    size_t defaults = 0, sessions = 0;

    for (uint32_t i = 0; i < member->addresses_len; i++)
        defaults += member->addresses[i].is_default;
    must(member->addresses_len <= 20 && defaults == (member->addresses_len > 0 ? 1 : 0));
    for (uint32_t i = 0; i < member->tokens_len; i++) {
        const struct tw_member_token *token = &member->tokens[i];
        bool                          is_live = !token->is_revoked && token->expires_at_ms > clock_ms;

        must(!is_live || member->status == TW_MEMBER_STATUS_ACTIVE);
        sessions += is_live && token->kind != TW_MEMBER_TOKEN_KIND_ACCESS;
    }
    must(sessions <= 100 && member->version >= 1);
    must(tw_uuid_eq(member->member_id, tw_member_id(id_key, member->email_folded)) || !member->is_service);
}

static void check_product(const struct tw_product *product)
{
    int64_t effective = product->has_discount_price ? product->discount_price_minor : product->price_minor;

    must(!product->has_discount_price || product->discount_price_minor < product->price_minor);
    must(product->effective_price_minor == effective && product->version >= 1 && product->view_count >= 0);
    must(tw_uuid_eq(product->product_id, tw_product_id_of_sku(product->sku)));
    must(product->rating_sum >= product->review_count && product->rating_sum <= 5 * product->review_count);
}

static void check_cart(const struct tw_cart *cart)
{
    struct tw_cart_totals totals = tw_cart_totals(cart);
    int64_t               items = 0, price_minor = 0;

    must(cart->lines_len <= 100 && cart->ends_at_ms == cart->updated_at_ms + 7 * DAY_MS);
    for (uint32_t i = 0; i < cart->lines_len; i++) {
        const struct tw_cart_line *line = &cart->lines[i];

        must(line->quantity >= 1 && line->quantity <= 999);
        items += line->available ? line->quantity : 0;
        price_minor += line->available ? line->quantity * line->price_minor : 0;
    }
    must(totals.items == items && totals.price_minor == price_minor);
}

static void check_state(const struct tw_type *type, const void *state, int64_t clock_ms)
{
    if (strcmp(type->name, "member") == 0)
        check_member(state, clock_ms);
    else if (strcmp(type->name, "product") == 0)
        check_product(state);
    else if (strcmp(type->name, "cart") == 0)
        check_cart(state);
}

static void check_states(struct tw_fold *fold, uint32_t kind, struct tw_arena *arena)
{
    static struct tw_key    keys[LIST_MAX];
    static struct tw_entity entities[LIST_MAX];
    const struct tw_store  *store = &fold->store;
    struct tw_load          load = {.entities = entities};

    must(store->list(store->self, kind, true, keys, LIST_MAX, &load.entity_count, NULL) == TW_OK);
    for (size_t i = 0; i < load.entity_count; i++)
        entities[i] = (struct tw_entity){.key = keys[i]};
    must(store->load(store->self, 0, fold->progress.next_offset, &load, arena, NULL) == TW_OK);
    store->abandon(store->self, 0);
    for (size_t i = 0; i < load.entity_count; i++)
        check_state(fold->config.domain->states[kind], entities[i].before, fold->progress.clock_ms);
}

/* --- folds -------------------------------------------------------------------------------------------------------- */

static void open_fold(struct tw_fold *fold, const struct tw_domain *domain, size_t cache_bytes)
{
    tw_fold_open(fold, domain, cache_bytes);
    memcpy(fold->config.id_key, id_key, sizeof(id_key));
}

static void fold_one_by_one(const struct tw_domain *domain, const struct tw_test_log *log, struct tw_verdicts *verdicts,
                            struct tw_buf *out)
{
    struct tw_fold  fold;
    struct tw_arena arena = {0};

    open_fold(&fold, domain, 2000);
    fold.verdicts = verdicts;
    while (tw_fold_next(&fold, log, 1)) {
        check_outcome(&fold.turn, &arena);
        must(take_verdicts(&fold.turn, verdicts, &arena) == fold.turn.counts.dead);
    }
    for (uint32_t kind = 0; kind < domain->state_count; kind++)
        check_states(&fold, kind, &arena);
    tw_fold_dump(&fold, out);
    tw_fold_close(&fold);
    tw_arena_done(&arena);
}

/* In silence when the verdicts are known; else they are given anew. */
static void must_fold_the_same(const struct tw_domain *domain, const struct tw_test_log *log, size_t batch,
                               const struct tw_verdicts *known, const struct tw_buf *expected)
{
    struct tw_fold     fold;
    struct tw_arena    arena = {0};
    struct tw_verdicts own = {0};
    struct tw_buf      dump = {0};

    open_fold(&fold, domain, 0);
    fold.verdicts = known ? known : &own;
    fold.config.silent = known != NULL;
    while (tw_fold_next(&fold, log, batch))
        take_verdicts(&fold.turn, &own, &arena);
    tw_fold_dump(&fold, &dump);
    must(tw_str_eq(tw_buf_str(&dump), tw_buf_str(expected)));
    tw_buf_done(&dump);
    tw_fold_close(&fold);
    tw_arena_done(&arena);
    tw_verdicts_done(&own);
}

static void try_log(const struct tw_domain *domain, const struct tw_test_log *log, size_t batch)
{
    struct tw_verdicts verdicts = {0};
    struct tw_buf      dump = {0};

    fold_one_by_one(domain, log, &verdicts, &dump);
    must_fold_the_same(domain, log, log->len, NULL, &dump);
    must_fold_the_same(domain, log, batch, &verdicts, &dump);
    tw_buf_done(&dump);
    tw_verdicts_done(&verdicts);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static struct spec specs[RECORDS_MAX];
    struct tw_str      rest = {(const char *)bytes, len};
    uint8_t            number = tw_fuzz_take_byte(&rest), batch = tw_fuzz_take_byte(&rest);
    size_t             count = read_records(rest, specs);
    struct tw_test_log log;

    if (number < '1' || number > '3' || count == 0)
        return -1; /* not worth keeping */
    tw_test_log_init(&log, 0, 1);
    for (size_t i = 0; i < count; i++)
        append(&log, &specs[i], domains[number - '1']);
    try_log(domains[number - '1'], &log, 1 + batch % 8);
    tw_test_log_done(&log);
    return 0;
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

static void put_record(const struct spec *spec, struct tw_buf *out)
{
    uint8_t name_len = (uint8_t)(spec->name.len < 255 ? spec->name.len : 255);
    size_t  payload_len = spec->payload.len < 65535 ? spec->payload.len : 65535;
    uint8_t tail[8] = {(uint8_t)((uint32_t)spec->delta_ms >> 24),
                       (uint8_t)((uint32_t)spec->delta_ms >> 16),
                       (uint8_t)((uint32_t)spec->delta_ms >> 8),
                       (uint8_t)spec->delta_ms,
                       spec->oddities,
                       spec->extra,
                       (uint8_t)(payload_len >> 8),
                       (uint8_t)payload_len};

    tw_buf_add(out, &name_len, 1);
    tw_buf_add(out, spec->name.ptr, name_len);
    tw_buf_add(out, spec->id, sizeof(spec->id));
    tw_buf_add(out, tail, sizeof(tail));
    tw_buf_add(out, spec->payload.ptr, payload_len);
}

/* The first UUID in the payload, which mostly is the aggregate's; NULL: there is none. */
static char *first_uuid(struct tw_str payload)
{
    char *found = payload.len ? memmem(payload.ptr, payload.len, "\xd9\x24", 2) : NULL;

    return found && (size_t)(payload.ptr + payload.len - found) >= 2 + TW_UUID_TEXT ? found + 2 : NULL;
}

static void change_payload(struct spec *spec, const struct spec *other, uint64_t *random, struct tw_buf *payload)
{
    char *mine;

    if (tw_fuzz_dice(random, 5) == 0 && first_uuid(spec->payload) && first_uuid(other->payload)) {
        tw_buf_add_str(payload, spec->payload);
        mine = first_uuid(tw_buf_str(payload));
        memcpy(mine, first_uuid(other->payload), TW_UUID_TEXT);
    } else if (tw_fuzz_dice(random, 5) == 0 || !tw_fuzz_mutate_msgpack(spec->payload, random, payload)) {
        tw_fuzz_add_mutated(payload, spec->payload, 32);
    }
    spec->payload = tw_buf_str(payload);
}

static void change_head(struct spec *spec, const struct spec *other, uint64_t *random)
{
    static const int32_t deltas[] = {0, 1, 60000, 3600000, 86400000, 8 * 86400000, INT32_MAX, -3600000};

    switch (tw_fuzz_dice(random, 5)) {
    case 0:
        spec->oddities ^= (uint8_t)(1U << tw_fuzz_dice(random, 8));
        break;
    case 1:
        spec->extra = (uint8_t)tw_fuzz_dice(random, 256);
        break;
    case 2:
        spec->delta_ms = deltas[tw_fuzz_dice(random, TW_LEN(deltas))];
        break;
    case 3:
        memcpy(spec->id, other->id, sizeof(spec->id));
        break;
    default:
        spec->name = other->name;
        break;
    }
}

/* Records with one of them changed, left out, put a second time or elsewhere. */
static void put_changed(struct spec *specs, size_t count, uint64_t *random, struct tw_buf *out)
{
    struct tw_buf payload = {0};
    size_t target = tw_fuzz_dice(random, count), other = tw_fuzz_dice(random, count), deed = tw_fuzz_dice(random, 9);
    struct spec moved = specs[other];

    if (deed < 4)
        change_payload(&specs[target], &specs[other], random, &payload);
    else if (deed < 6)
        change_head(&specs[target], &specs[other], random);
    for (size_t i = 0; i < count; i++) {
        if (i != target || deed != 6)
            put_record(&specs[i], out);
        if (i == target && deed > 6)
            put_record(&moved, out);
    }
    tw_buf_done(&payload);
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t len, size_t max, unsigned int seed)
{
    static struct spec specs[RECORDS_MAX];
    uint64_t           random = seed;
    struct tw_buf      out = {0};
    size_t             count = len > 2 ? read_records((struct tw_str){(const char *)bytes + 2, len - 2}, specs) : 0;

    if (count > 0 && tw_fuzz_dice(&random, 10) > 0) {
        tw_buf_add(&out, bytes, 2);
        put_changed(specs, count, &random, &out);
    }
    return tw_fuzz_replace(bytes, len, max, &out);
}

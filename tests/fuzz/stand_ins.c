#include "stand_ins.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/refresh_token.h"
#include "health.h"
#include "sample_states.h"
#include "tillwire/clock.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/gen/product_messages.h"

static struct tw_str choices;
static void (*sent)(const struct tw_send *send);
static struct tw_arena of_the_request; /* where a call gives no arena */

void tw_stand_ins_begin(struct tw_str new_choices, void (*new_sent)(const struct tw_send *send))
{
    choices = new_choices;
    sent = new_sent;
    tw_arena_reset(&of_the_request);
}

char tw_stand_ins_choose(void)
{
    if (choices.len == 0)
        return 0;
    choices = (struct tw_str){choices.ptr + 1, choices.len - 1};
    return choices.ptr[-1];
}

/* `n` there is none, `u` the store is away. */
static enum tw_rc choose_rc(struct tw_err *reterr)
{
    switch (tw_stand_ins_choose()) {
    case 'n':
        return tw_fail(reterr, TW_NOT_FOUND, "stand_in", 0, "there is none");
    case 'u':
        return tw_fail(reterr, TW_UNREACHED, "stand_in", 0, "it is away");
    default:
        return TW_OK;
    }
}

static uint32_t choose_number(void)
{
    return (uint32_t)(unsigned char)tw_stand_ins_choose();
}

static enum tw_rc ledger_row(struct tw_ledger_row *ret_row, struct tw_err *reterr)
{
    static const struct tw_outcome outcomes[] = {
        {.status = TW_SUCCEEDED, .http_status = 200},
        {.status = TW_SUCCEEDED, .http_status = 201},
        {.status = TW_SUCCEEDED, .http_status = 204},
        {.status = TW_REJECTED, .http_status = 409, .problem = TW_PROBLEM_SKU_TAKEN, .detail = {"\"no\"", 4}},
        {.status = TW_DEAD_LETTERED, .http_status = 500, .problem = TW_PROBLEM_DEAD_LETTERED},
        {.status = TW_PENDING, .http_status = 202},
    };
    char choice = tw_stand_ins_choose();

    if (choice == 0 || choice == 'n') /* mostly a command is new */
        return tw_fail(reterr, TW_NOT_FOUND, "stand_in", 0, "there is none");
    if (choice == 'u')
        return tw_fail(reterr, TW_UNREACHED, "stand_in", 0, "it is away");
    *ret_row = (struct tw_ledger_row){.type = TW_STR("cart.add_item"),
                                      .outcome = outcomes[(unsigned char)choice % TW_LEN(outcomes)],
                                      .offset = 4711,
                                      .submitted_ms = tw_now_ms(),
                                      .at_ms = tw_now_ms()};
    return TW_OK;
}

/* --- products ----------------------------------------------------------------------------------------------------- */

/* `i` it is not for sale. */
static struct tw_product sample_product(struct tw_arena *arena)
{
    struct tw_product *product = tw_sample_products.make(4 * choose_number(), 1 + choose_number() % 5, arena);

    product->is_active = tw_stand_ins_choose() != 'i';
    return *product;
}

enum tw_rc tw_products_get(struct tw_products *products, struct tw_uuid product_id, struct tw_arena *arena,
                           struct tw_product *ret_product, struct tw_err *reterr)
{
    (void)products;
    TW_TRY(choose_rc(reterr));
    *ret_product = sample_product(arena);
    ret_product->product_id = product_id;
    return TW_OK;
}

enum tw_rc tw_products_exists(struct tw_products *products, struct tw_uuid product_id, struct tw_arena *arena,
                              struct tw_err *reterr)
{
    (void)products, (void)product_id, (void)arena;
    return choose_rc(reterr);
}

enum tw_rc tw_products_list(struct tw_products *products, const struct tw_product_filter *filter,
                            const struct tw_product_place *after, size_t limit, struct tw_arena *arena,
                            struct tw_product **ret_list, size_t *ret_count, struct tw_err *reterr)
{
    size_t count = limit < 3 ? limit : choose_number() % 3;

    (void)products, (void)filter, (void)after;
    TW_TRY(choose_rc(reterr));
    *ret_list = TW_NEW_ARRAY(arena, count, struct tw_product);
    for (size_t i = 0; i < count; i++)
        (*ret_list)[i] = sample_product(arena);
    *ret_count = count;
    return TW_OK;
}

static enum tw_rc names(struct tw_arena *arena, struct tw_name_count **ret_list, size_t *ret_count,
                        struct tw_err *reterr)
{
    TW_TRY(choose_rc(reterr));
    *ret_list = TW_NEW(arena, struct tw_name_count);
    **ret_list = (struct tw_name_count){sample_product(arena).category, 7};
    *ret_count = 1;
    return TW_OK;
}

enum tw_rc tw_products_categories(struct tw_products *products, struct tw_arena *arena, struct tw_name_count **ret_list,
                                  size_t *ret_count, struct tw_err *reterr)
{
    (void)products;
    return names(arena, ret_list, ret_count, reterr);
}

enum tw_rc tw_products_tags(struct tw_products *products, struct tw_arena *arena, struct tw_name_count **ret_list,
                            size_t *ret_count, struct tw_err *reterr)
{
    (void)products;
    return names(arena, ret_list, ret_count, reterr);
}

enum tw_rc tw_products_watermark(struct tw_products *products, int32_t partition, int64_t *ret_next_offset,
                                 struct tw_err *reterr)
{
    (void)products, (void)partition;
    *ret_next_offset = 4712;
    return choose_rc(reterr);
}

enum tw_rc tw_products_watermarks(struct tw_products *products, struct tw_arena *arena, int64_t **ret_next_offsets,
                                  size_t *ret_count, struct tw_err *reterr)
{
    (void)products;
    *ret_next_offsets = TW_NEW(arena, int64_t);
    *ret_count = 1;
    return choose_rc(reterr);
}

enum tw_rc tw_products_ledger(struct tw_products *products, struct tw_uuid command_id, struct tw_arena *arena,
                              struct tw_ledger_row *ret_row, struct tw_err *reterr)
{
    (void)products, (void)command_id, (void)arena;
    return ledger_row(ret_row, reterr);
}

enum tw_rc tw_products_ledgers(struct tw_products *products, const struct tw_uuid *command_ids, size_t count,
                               struct tw_arena *arena, const struct tw_ledger_row **ret_rows, struct tw_err *reterr)
{
    (void)products, (void)command_ids;
    TW_TRY(choose_rc(reterr));
    for (size_t i = 0; i < count; i++) {
        struct tw_ledger_row *row = TW_NEW(arena, struct tw_ledger_row);
        ret_rows[i] = ledger_row(row, NULL) == TW_OK ? row : NULL;
    }
    return TW_OK;
}

/* --- members ------------------------------------------------------------------------------------------------------ */

/* `s` it is not active. */
static enum tw_rc sample_member(struct tw_arena *arena, struct tw_member *ret_member, struct tw_err *reterr)
{
    uint32_t i = 0;

    TW_TRY(choose_rc(reterr));
    for (i = choose_number(); tw_sample_members.key(i).kind != 0; i++) /* no claim */
        ;
    *ret_member = *(struct tw_member *)tw_sample_members.make(i, 1 + choose_number() % 5, arena);
    ret_member->status = tw_stand_ins_choose() == 's' ? TW_MEMBER_STATUS_SUSPENDED : TW_MEMBER_STATUS_ACTIVE;
    return TW_OK;
}

enum tw_rc tw_members_by_id(struct tw_members *members, struct tw_uuid member_id, struct tw_arena *arena,
                            struct tw_member *ret_member, struct tw_err *reterr)
{
    (void)members;
    TW_TRY(sample_member(arena, ret_member, reterr));
    ret_member->member_id = member_id;
    return TW_OK;
}

enum tw_rc tw_members_by_email(struct tw_members *members, struct tw_str folded_email, struct tw_arena *arena,
                               struct tw_member *ret_member, struct tw_err *reterr)
{
    (void)members, (void)folded_email;
    return sample_member(arena, ret_member, reterr);
}

enum tw_rc tw_members_addresses(struct tw_members *members, struct tw_uuid member_id, struct tw_arena *arena,
                                struct tw_member *ret_member, struct tw_err *reterr)
{
    return tw_members_by_id(members, member_id, arena, ret_member, reterr);
}

enum tw_rc tw_members_list(struct tw_members *members, const struct tw_member_filter *filter,
                           const struct tw_member_place *after, size_t limit, struct tw_arena *arena,
                           struct tw_member **ret_list, size_t *ret_count, struct tw_err *reterr)
{
    size_t count = limit < 2 ? limit : choose_number() % 2;

    (void)members, (void)filter, (void)after;
    *ret_list = TW_NEW_ARRAY(arena, count, struct tw_member);
    for (size_t i = 0; i < count; i++)
        TW_TRY(sample_member(arena, &(*ret_list)[i], reterr));
    *ret_count = count;
    return TW_OK;
}

enum tw_rc tw_members_watermark(struct tw_members *members, int32_t partition, int64_t *ret_next_offset,
                                struct tw_err *reterr)
{
    (void)members, (void)partition;
    *ret_next_offset = 4712;
    return choose_rc(reterr);
}

enum tw_rc tw_members_ledger(struct tw_members *members, struct tw_uuid command_id, struct tw_arena *arena,
                             struct tw_ledger_row *ret_row, struct tw_err *reterr)
{
    (void)members, (void)command_id, (void)arena;
    return ledger_row(ret_row, reterr);
}

/* --- sessions ----------------------------------------------------------------------------------------------------- */

/* The refresh token that was handed out has an `A` for each letter of its secret. */
static void hash_of_token(struct tw_uuid token_id, uint8_t ret_hash[TW_TOKEN_HASH_BYTES])
{
    char text[TW_REFRESH_TEXT];

    memset(text, 'A', sizeof(text));
    tw_uuid_format(token_id, text);
    text[TW_UUID_TEXT] = '.';
    tw_token_hash((struct tw_str){text, sizeof(text)}, ret_hash);
}

enum tw_rc tw_sessions_token(struct tw_sessions *sessions, struct tw_uuid token_id, struct tw_uuid *ret_member_id,
                             struct tw_member_token *ret_token, struct tw_err *reterr)
{
    (void)sessions;
    TW_TRY(choose_rc(reterr));
    *ret_member_id = token_id;
    *ret_token = (struct tw_member_token){
        .token_id = token_id,
        .family_id = token_id,
        .kind = TW_MEMBER_TOKEN_KIND_REFRESH,
        .expires_at_ms = tw_now_ms() + 60000,
    };
    hash_of_token(token_id, ret_token->token_hash);
    return TW_OK;
}

enum tw_rc tw_sessions_live(struct tw_sessions *sessions, struct tw_uuid member_id, struct tw_uuid current_token_id,
                            int64_t now_ms, struct tw_arena *arena, struct tw_session **ret_sessions, size_t *ret_count,
                            struct tw_err *reterr)
{
    (void)sessions;
    TW_TRY(choose_rc(reterr));
    *ret_sessions = TW_NEW(arena, struct tw_session);
    **ret_sessions = (struct tw_session){
        .session_id = current_token_id, .label = TW_STR("\"\x01"), .scope = TW_STR("a b"), .created_at_ms = now_ms};
    *ret_count = tw_uuid_is_nil(member_id) ? 0 : 1;
    return TW_OK;
}

enum tw_rc tw_sessions_has(struct tw_sessions *sessions, struct tw_uuid member_id, struct tw_uuid session_id,
                           struct tw_err *reterr)
{
    (void)sessions, (void)member_id, (void)session_id;
    return choose_rc(reterr);
}

/* --- carts -------------------------------------------------------------------------------------------------------- */

enum tw_rc tw_carts_get(struct tw_carts *carts, struct tw_uuid member_id, int64_t now_ms, struct tw_arena *arena,
                        struct tw_cart *ret_cart, struct tw_err *reterr)
{
    (void)carts, (void)now_ms;
    TW_TRY(choose_rc(reterr));
    *ret_cart = *(struct tw_cart *)tw_sample_carts.make(choose_number(), 1 + choose_number() % 5, arena);
    ret_cart->member_id = member_id;
    return TW_OK;
}

enum tw_rc tw_carts_ledger(struct tw_carts *carts, struct tw_uuid command_id, int64_t now_ms, struct tw_arena *arena,
                           struct tw_ledger_row *ret_row, struct tw_err *reterr)
{
    (void)carts, (void)command_id, (void)now_ms, (void)arena;
    return ledger_row(ret_row, reterr);
}

enum tw_rc tw_carts_watermark(struct tw_carts *carts, int32_t partition, int64_t *ret_next_offset,
                              struct tw_err *reterr)
{
    (void)carts, (void)partition;
    *ret_next_offset = 4712;
    return choose_rc(reterr);
}

/* --- is it ready -------------------------------------------------------------------------------------------------- */

bool tw_health_look(struct tw_edge *edge, struct tw_health_part ret_parts[TW_HEALTH_PARTS],
                    char ret_why[TW_HEALTH_TEXT])
{
    (void)edge;
    for (size_t i = 0; i < TW_HEALTH_PARTS; i++)
        ret_parts[i] = (struct tw_health_part){"part", choose_number() % 2};
    snprintf(ret_why, TW_HEALTH_TEXT, "the broker does not answer");
    return choose_number() % 2;
}

/* --- how far the stores are --------------------------------------------------------------------------------------- */

enum tw_rc tw_watermarks_look(struct tw_watermarks *watermarks, enum tw_domain_number domain, int32_t partition,
                              int64_t offset, struct tw_err *reterr)
{
    (void)watermarks, (void)domain, (void)partition, (void)offset;
    return choose_rc(reterr);
}

enum tw_rc tw_watermarks_await(struct tw_watermarks *watermarks, enum tw_domain_number domain, int32_t partition,
                               int64_t offset, int64_t until_us, struct tw_err *reterr)
{
    (void)watermarks, (void)domain, (void)partition, (void)offset, (void)until_us;
    return choose_rc(reterr);
}

/* --- the log and its events --------------------------------------------------------------------------------------- */

enum tw_rc tw_sender_begin(struct tw_sender *sender, int lane, const struct tw_send *send, struct tw_err *reterr)
{
    (void)sender, (void)lane;
    sent(send);
    return choose_rc(reterr) == TW_UNREACHED ? TW_UNREACHED : TW_OK;
}

enum tw_rc tw_sender_await(struct tw_sender *sender, int lane, int timeout_ms, int64_t *ret_offset,
                           struct tw_err *reterr)
{
    (void)sender, (void)lane, (void)timeout_ms;
    if (tw_stand_ins_choose() == 'u')
        return tw_fail(reterr, TW_UNKNOWN, "stand_in", 0, "no report came");
    *ret_offset = 4711;
    return TW_OK;
}

size_t tw_sender_borrow(struct tw_sender *sender, size_t want, int *ret_lanes)
{
    (void)sender;
    for (size_t i = 0; i < want; i++)
        ret_lanes[i] = (int)i;
    return tw_stand_ins_choose() == 'n' ? 0 : want;
}

void tw_sender_give_back(struct tw_sender *sender, const int *lanes, size_t count)
{
    (void)sender, (void)lanes, (void)count;
}

struct tw_sender_state tw_sender_state(struct tw_sender *sender)
{
    (void)sender;
    return (struct tw_sender_state){true, true, 0};
}

static char seat; /* somewhere to point at */

struct tw_seat *tw_tail_sit(struct tw_tail *tail, struct tw_uuid command_id)
{
    (void)tail, (void)command_id;
    return tw_stand_ins_choose() == 'n' ? NULL : (struct tw_seat *)&seat;
}

struct tw_seat *tw_tail_must_sit(struct tw_tail *tail, struct tw_uuid command_id)
{
    return tw_tail_sit(tail, command_id);
}

bool tw_tail_await(struct tw_tail *tail, struct tw_seat *taken, int64_t offset, int64_t deadline_us,
                   struct tw_told *ret_told)
{
    struct tw_ledger_row row = {.outcome = {.status = TW_SUCCEEDED, .http_status = 200}};

    (void)tail, (void)taken, (void)offset, (void)deadline_us;
    if (ledger_row(&row, NULL) == TW_UNREACHED || row.outcome.status == TW_PENDING)
        return false;
    *ret_told = (struct tw_told){.outcome = row.outcome, .repeated = tw_stand_ins_choose() == 'r'};
    return true;
}

void tw_tail_leave(struct tw_tail *tail, struct tw_seat *taken)
{
    (void)tail, (void)taken;
}

bool tw_tail_is_up(const struct tw_tail *tail)
{
    (void)tail;
    return true;
}

bool tw_tail_is_fresh(const struct tw_tail *tail)
{
    (void)tail;
    return true;
}

/* --- streams: there is no place for one --------------------------------------------------------------------------- */

enum tw_stream_open tw_stream_open(struct tw_hub *hub, const struct tw_stream_wish *wish, struct tw_stream **ret_stream)
{
    (void)hub, (void)wish, (void)ret_stream;
    return (enum tw_stream_open)(TW_STREAM_NO_SLOT + choose_number() % 3);
}

void tw_stream_close(struct tw_stream *stream)
{
    (void)stream;
}

void tw_stream_watch(struct tw_stream *stream, int socket)
{
    (void)stream, (void)socket;
}

enum tw_stream_news tw_stream_next(struct tw_stream *stream, int64_t until_us, const struct tw_news **ret_news)
{
    (void)stream, (void)until_us, (void)ret_news;
    return TW_STREAM_GONE;
}

const int64_t *tw_stream_bookmark(const struct tw_stream *stream)
{
    (void)stream;
    return NULL;
}

/* --- who calls ---------------------------------------------------------------------------------------------------- */

enum tw_rc tw_callers_recheck(struct tw_callers *callers, struct tw_uuid token_id, struct tw_uuid member_id,
                              struct tw_err *reterr)
{
    (void)callers, (void)token_id, (void)member_id;
    return choose_rc(reterr);
}

bool tw_revocations_has(struct tw_revocations *revocations, struct tw_uuid token_id)
{
    (void)revocations, (void)token_id;
    return false;
}

bool tw_passwords_have_room(struct tw_passwords *passwords)
{
    (void)passwords;
    return tw_stand_ins_choose() != 'n';
}

enum tw_rc tw_passwords_hash(struct tw_passwords *passwords, struct tw_str password,
                             char ret_hash[TW_PASSWORD_HASH_MAX], struct tw_err *reterr)
{
    static const char hash[] = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$"
                               "aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";

    (void)passwords, (void)password;
    memcpy(ret_hash, hash, sizeof(hash));
    return tw_stand_ins_choose() == 'u' ? tw_fail(reterr, TW_UNREACHED, "stand_in", 0, "the queue is full") : TW_OK;
}

enum tw_rc tw_passwords_verify(struct tw_passwords *passwords, struct tw_str password, const char *hash,
                               bool *ret_matches, struct tw_err *reterr)
{
    (void)passwords, (void)password;
    *ret_matches = hash && tw_stand_ins_choose() != 'n';
    return choose_rc(reterr) == TW_UNREACHED ? TW_UNREACHED : TW_OK;
}

bool tw_password_hash_is_outdated(const char *hash)
{
    (void)hash;
    return tw_stand_ins_choose() == 'o';
}

bool tw_password_is_common(struct tw_str password)
{
    return tw_str_is(password, "password");
}

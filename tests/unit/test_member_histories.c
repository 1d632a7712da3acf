/* Links: tw_histories tw_member_domain */
/*
 * Random lives of a few members, command by command, through the turn and the store in memory. After each command the
 * promises of the domain hold; and the log that came about gives the same store in one batch as one by one, swept or
 * not.
 *
 * All members share a partition and the addresses they register with, ask for and leave again. A small policy carries
 * the steps of e-mail changes, late, repeated and in any order. Every history is the same on every run; who fails
 * prints its number and the offset.
 */
#include "histories.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/gen/shared_messages.h"
#include "workers/member/member_domain.h"

enum { ADDRESSES = 6, STEPS = 600, HISTORIES = 12, ERRANDS_MAX = 256, CHANGES_MAX = STEPS };

/* Histories of three kinds: of everything, of e-mail addresses, of one member who has much. */
enum { EVERYTHING, EMAILS, ONE_MEMBER };

/* --- a history ---------------------------------------------------------------------------------------------------- */

/* What the store has of one address: the member who registered with it, and whose it is otherwise. */
struct view {
    struct tw_arena               arena;
    const struct tw_member       *members[ADDRESSES];
    const struct tw_member_claim *claims[ADDRESSES];
};

/* A command that the policy still has to write. */
struct errand {
    const struct tw_type                  *type;
    struct tw_uuid                         key;
    struct tw_member_claim_email           claim;
    struct tw_member_complete_email_change complete;
};

struct history {
    struct tw_history base;
    struct tw_uuid    ids[ADDRESSES];
    struct view       views[2];
    struct view      *before, *now;
    struct errand     errands[ERRANDS_MAX];
    size_t            errand_count;
    struct tw_uuid    changes[CHANGES_MAX]; /* commands that asked for another e-mail address */
    size_t            change_count;
    struct tw_tally  *tally;
};

static const char *const folded[ADDRESSES] = {"a@example.com", "b@example.com", "c@example.com",
                                              "d@example.com", "e@example.com", "f@example.com"};

static void load_view(struct history *history)
{
    struct view     *view = history->before; /* the older one is used again */
    struct tw_entity entities[2 * ADDRESSES];
    struct tw_load   load = {.entities = entities, .entity_count = TW_LEN(entities)};

    history->before = history->now;
    history->now = view;
    tw_arena_reset(&view->arena);
    for (uint32_t i = 0; i < TW_LEN(entities); i++)
        entities[i] = (struct tw_entity){.key = {.kind = i / ADDRESSES, .id = history->ids[i % ADDRESSES]}};
    tw_history_load(&history->base, &load, &view->arena);
    for (uint32_t i = 0; i < ADDRESSES; i++) {
        view->members[i] = entities[i].before;
        view->claims[i] = entities[ADDRESSES + i].before;
    }
}

static void history_open(struct history *history, int number, struct tw_tally *tally)
{
    *history = (struct history){.tally = tally};
    tw_history_open(&history->base, number, (uint64_t)number, &tw_member_domain);
    for (int i = 0; i < ADDRESSES; i++)
        history->ids[i] = tw_member_id(history->base.live.config.id_key, tw_str_of(folded[i]));
    history->before = &history->views[0];
    history->now = &history->views[1];
}

static void history_close(struct history *history)
{
    tw_history_close(&history->base);
    tw_arena_done(&history->views[0].arena);
    tw_arena_done(&history->views[1].arena);
}

static int kind_of(const struct history *history)
{
    return history->base.number % 3;
}

/* Some address; mostly one that somebody registered with. */
static uint32_t anybody(struct history *history)
{
    uint32_t which = 0;

    if (kind_of(history) == ONE_MEMBER && dice(history, 10) > 0)
        return which;
    for (int tries = 0; tries < 8; tries++) {
        which = dice(history, ADDRESSES);
        if (history->now->members[which])
            break;
    }
    return which;
}

/* The credentials the edge saw: mostly those that are. */
static int64_t credentials_of(struct history *history, uint32_t who)
{
    const struct tw_member *member = history->now->members[who];
    int64_t                 version = member ? member->credential_version : 1;

    return version > 1 && dice(history, 8) == 0 ? version - 1 : version;
}

static const struct tw_member_token *any_token(struct history *history, uint32_t who)
{
    static const struct tw_member_token none;
    const struct tw_member             *member = history->now->members[who];

    return member && member->tokens_len ? &member->tokens[dice(history, member->tokens_len)] : &none;
}

static struct tw_uuid any_postal_address(struct history *history, uint32_t who)
{
    const struct tw_member *member = history->now->members[who];

    return member && member->addresses_len ? member->addresses[dice(history, member->addresses_len)].address_id
                                           : tw_uuid_nil;
}

static struct tw_envelope envelope_of(struct history *history, const struct tw_type *type, struct tw_uuid key)
{
    uint32_t           number = history->base.command_number++;
    struct tw_envelope envelope =
        tw_test_envelope(&history->base.log, type, tw_test_command_id(&history->base.log, TW_DOMAIN_MEMBER, number));

    envelope.caller = key;
    envelope.fingerprint[0] = (uint8_t)number;
    tw_history_requeue_some(&history->base, &envelope);
    return envelope;
}

static struct tw_uuid send(struct history *history, const struct tw_type *type, uint32_t who, const void *body)
{
    struct tw_envelope envelope = envelope_of(history, type, history->ids[who]);

    if (dice(history, 30) == 0) /* If-Match: one before the first few changes, or none that is */
        envelope.if_version = 1 + dice(history, 8);
    tw_test_append(&history->base.log, type, history->ids[who], body, &envelope);
    return envelope.command_id;
}

/* --- what members do ---------------------------------------------------------------------------------------------- */

static void do_register(struct history *history)
{
    uint32_t                  who = dice(history, ADDRESSES);
    struct tw_member_register body = {
        .member_id = history->ids[who],
        .email = tw_str_of(folded[who]),
        .email_folded = tw_str_of(folded[who]),
        .password_hash = TW_STR("$first"),
        .full_name = TW_STR("Ana Lim"),
    };

    send(history, &tw_member_register_type, who, &body);
}

static void do_register_service(struct history *history)
{
    uint32_t                          who = dice(history, ADDRESSES);
    struct tw_member_register_service body = {
        .member_id = history->ids[who],
        .email = tw_str_of(folded[who]),
        .email_folded = tw_str_of(folded[who]),
        .full_name = TW_STR("Import job"),
    };

    send(history, &tw_member_register_service_type, who, &body);
}

static void do_change_profile(struct history *history)
{
    uint32_t                        who = anybody(history);
    struct tw_member_change_profile body = {
        .member_id = history->ids[who],
        .has_full_name = dice(history, 2),
        .full_name = tw_arena_printf(&history->base.log.arena, "Ana %u", history->base.command_number),
        .clear_phone_number = dice(history, 2),
    };

    send(history, &tw_member_change_profile_type, who, &body);
}

static void do_change_password(struct history *history)
{
    uint32_t                         who = anybody(history);
    struct tw_member_change_password body = {
        .member_id = history->ids[who],
        .credential_version = credentials_of(history, who),
        .password_hash = tw_arena_printf(&history->base.log.arena, "$%u", history->base.command_number),
        .keep_session_id = any_token(history, who)->family_id,
    };

    send(history, &tw_member_change_password_type, who, &body);
}

static void do_deactivate(struct history *history)
{
    uint32_t who = anybody(history);

    send(history, &tw_member_deactivate_type, who, &(struct tw_member_deactivate){.member_id = history->ids[who]});
}

static void do_set_status(struct history *history)
{
    static const enum tw_member_status statuses[] = {TW_MEMBER_STATUS_ACTIVE, TW_MEMBER_STATUS_ACTIVE,
                                                     TW_MEMBER_STATUS_ACTIVE, TW_MEMBER_STATUS_INACTIVE,
                                                     TW_MEMBER_STATUS_SUSPENDED};
    uint32_t                           who = anybody(history);
    struct tw_member_set_status        body = {.member_id = history->ids[who],
                                               .status = statuses[dice(history, TW_LEN(statuses))],
                                               .reason = TW_STR("asked for")};

    send(history, &tw_member_set_status_type, who, &body);
}

static void do_change_email(struct history *history)
{
    uint32_t                      who = anybody(history), address = dice(history, ADDRESSES);
    struct tw_member_change_email body = {
        .member_id = history->ids[who],
        .credential_version = credentials_of(history, who),
        .email = tw_str_of(folded[address]),
        .email_folded = tw_str_of(folded[address]),
        .claim_id = history->ids[address],
    };
    struct tw_uuid id = send(history, &tw_member_change_email_type, who, &body);

    assert_true(history->change_count < CHANGES_MAX);
    history->changes[history->change_count++] = id;
}

static void do_add_address(struct history *history)
{
    uint32_t                     who = anybody(history);
    struct tw_member_add_address body = {
        .member_id = history->ids[who],
        .label = TW_STR("Home"),
        .address_line1 = TW_STR("Jl. Sudirman 1"),
        .city = TW_STR("Jakarta"),
        .province = TW_STR("DKI Jakarta"),
        .postal_code = TW_STR("10220"),
        .has_is_default = dice(history, 2),
        .is_default = dice(history, 2),
    };

    send(history, &tw_member_add_address_type, who, &body);
}

static void do_change_address(struct history *history)
{
    uint32_t                        who = anybody(history);
    struct tw_member_change_address body = {
        .member_id = history->ids[who],
        .address_id = any_postal_address(history, who),
        .has_label = dice(history, 2),
        .label = tw_arena_printf(&history->base.log.arena, "Home %u", history->base.command_number),
        .has_is_default = dice(history, 2),
        .is_default = dice(history, 2),
    };

    send(history, &tw_member_change_address_type, who, &body);
}

static void do_remove_address(struct history *history)
{
    uint32_t                        who = anybody(history);
    struct tw_member_remove_address body = {.member_id = history->ids[who],
                                            .address_id = any_postal_address(history, who)};

    send(history, &tw_member_remove_address_type, who, &body);
}

static void do_set_default_address(struct history *history)
{
    uint32_t                             who = anybody(history);
    struct tw_member_set_default_address body = {.member_id = history->ids[who],
                                                 .address_id = any_postal_address(history, who)};

    send(history, &tw_member_set_default_address_type, who, &body);
}

static void do_start_session(struct history *history)
{
    uint32_t                       who = anybody(history);
    int64_t                        now_ms = history->base.log.now_ms;
    struct tw_member_start_session body = {
        .member_id = history->ids[who],
        .credential_version = credentials_of(history, who),
        .access_expires_at_ms = now_ms + 10 * MINUTE_MS,
        .refresh_expires_at_ms = now_ms + 14 * DAY_MS,
        .has_password_hash = dice(history, 10) == 0,
        .password_hash = TW_STR("$anew"),
    };

    send(history, &tw_member_start_session_type, who, &body);
}

static void do_refresh_session(struct history *history)
{
    uint32_t                         who = anybody(history);
    int64_t                          now_ms = history->base.log.now_ms;
    struct tw_member_refresh_session body = {
        .member_id = history->ids[who],
        .refresh_token_id = any_token(history, who)->token_id,
        .access_expires_at_ms = now_ms + 10 * MINUTE_MS,
        .refresh_expires_at_ms = now_ms + 14 * DAY_MS,
    };

    send(history, &tw_member_refresh_session_type, who, &body);
}

static void do_end_session(struct history *history)
{
    uint32_t                     who = anybody(history);
    struct tw_member_end_session body = {.member_id = history->ids[who],
                                         .session_id = any_token(history, who)->family_id};

    send(history, &tw_member_end_session_type, who, &body);
}

static void do_end_all_sessions(struct history *history)
{
    uint32_t who = anybody(history);

    send(history, &tw_member_end_all_sessions_type, who,
         &(struct tw_member_end_all_sessions){.member_id = history->ids[who]});
}

static void do_issue_token(struct history *history)
{
    uint32_t                     who = anybody(history);
    struct tw_member_issue_token body = {
        .member_id = history->ids[who],
        .expires_at_ms = history->base.log.now_ms + (int64_t)(1 + dice(history, 60)) * DAY_MS,
        .scope = TW_STR("products:write"),
        .label = TW_STR("import job"),
    };

    send(history, &tw_member_issue_token_type, who, &body);
}

static void do_revoke_token(struct history *history)
{
    uint32_t                      who = anybody(history);
    struct tw_member_revoke_token body = {.member_id = history->ids[who],
                                          .token_id = any_token(history, who)->token_id};

    send(history, &tw_member_revoke_token_type, who, &body);
}

/* --- what befalls them -------------------------------------------------------------------------------------------- */

/* The policy writes one of its commands, whichever, and may forget that it did. */
static void run_errand(struct history *history)
{
    uint32_t           which;
    struct errand     *errand;
    struct tw_envelope envelope;

    if (!history->errand_count)
        return;
    which = dice(history, (uint32_t)history->errand_count);
    errand = &history->errands[which];
    envelope = envelope_of(history, errand->type, errand->key);
    tw_test_append(&history->base.log, errand->type, errand->key,
                   errand->type == &tw_member_claim_email_type ? (const void *)&errand->claim : &errand->complete,
                   &envelope);
    if (dice(history, 4) > 0)
        *errand = history->errands[--history->errand_count];
}

/* An id that comes again when its row has ended begins another command, which may be refused while the first one's
 * change is still under way: its row tells of both. */
static void forget_change(struct history *history, const struct tw_record *record)
{
    struct tw_envelope envelope;

    assert_int_equal(tw_envelope_read(record, &envelope, NULL), TW_OK);
    if (history->base.log.now_ms - envelope.submitted_ms < TW_LEDGER_LIFE_MS)
        return;
    for (size_t i = 0; i < history->change_count; i++)
        if (tw_uuid_eq(history->changes[i], envelope.command_id))
            history->changes[i] = history->changes[--history->change_count];
}

/* A record of lately comes once more. */
static void do_repeat(struct history *history)
{
    const struct tw_record *record = tw_history_recent(&history->base);

    if (record)
        forget_change(history, record);
    tw_history_repeat(&history->base, record);
}

static void pass_time(struct history *history)
{
    history->base.log.now_ms += (int64_t)dice(history, 10) == 0 ? 25 * HOUR_MS : (int64_t)dice(history, 20) * MINUTE_MS;
}

/* How often what is done, by kind of history. */
static const struct tw_deed deeds[] = {
    {do_register, {6, 6, 2}},        {do_register_service, {2, 2, 1}},
    {do_change_profile, {4, 2, 0}},  {do_change_password, {4, 2, 0}},
    {do_deactivate, {1, 1, 0}},      {do_set_status, {5, 4, 0}},
    {do_change_email, {8, 24, 1}},   {run_errand, {10, 40, 2}},
    {do_add_address, {14, 0, 16}},   {do_change_address, {6, 0, 2}},
    {do_remove_address, {4, 0, 2}},  {do_set_default_address, {4, 0, 2}},
    {do_start_session, {10, 2, 80}}, {do_refresh_session, {10, 0, 20}},
    {do_end_session, {3, 0, 1}},     {do_end_all_sessions, {1, 0, 0}},
    {do_issue_token, {4, 0, 40}},    {do_revoke_token, {3, 0, 2}},
    {do_repeat, {6, 8, 4}},          {pass_time, {6, 4, 1}},
};

/* --- what holds of a member --------------------------------------------------------------------------------------- */

static bool is_live(const struct history *history, const struct tw_member_token *token)
{
    return !token->is_revoked && token->expires_at_ms > history->base.live.progress.clock_ms;
}

static void check_addresses(const struct history *history, const struct tw_member *member)
{
    uint32_t defaults = 0;

    HOLDS(history, member->addresses_len <= 20);
    for (uint32_t i = 0; i < member->addresses_len; i++) {
        const struct tw_member_address *address = &member->addresses[i];

        defaults += address->is_default;
        HOLDS(history, !i || address[-1].created_at_ms <= address->created_at_ms);
        for (uint32_t k = 0; k < i; k++)
            HOLDS(history, !tw_uuid_eq(member->addresses[k].address_id, address->address_id));
    }
    HOLDS(history, defaults == (member->addresses_len > 0));
}

static void check_tokens(const struct history *history, const struct tw_member *member)
{
    uint32_t sessions = 0;

    HOLDS(history, member->tokens_len <= 400);
    for (uint32_t i = 0; i < member->tokens_len; i++) {
        const struct tw_member_token *token = &member->tokens[i];

        HOLDS(history, !is_live(history, token) || member->status == TW_MEMBER_STATUS_ACTIVE);
        HOLDS(history, (token->kind == TW_MEMBER_TOKEN_KIND_SERVICE) == member->is_service);
        HOLDS(history, !i || token[-1].created_at_ms <= token->created_at_ms);
        sessions += is_live(history, token) && token->kind != TW_MEMBER_TOKEN_KIND_ACCESS;
    }
    HOLDS(history, sessions <= 100);
}

/* The address a member has follows from the identity it registered with or from a claim of its own. */
static void check_email(const struct history *history, uint32_t who)
{
    const struct tw_member *member = history->now->members[who];
    bool                    is_own = false;

    for (uint32_t i = 0; i < ADDRESSES; i++) {
        const struct tw_member_claim *claim = history->now->claims[i];

        if (tw_str_is(member->email_folded, folded[i]))
            is_own = i == who || (claim && tw_uuid_eq(claim->member_id, member->member_id));
        if (i != who && history->now->members[i])
            HOLDS(history, !tw_str_eq(history->now->members[i]->email_folded, member->email_folded));
    }
    HOLDS(history, is_own);
    HOLDS(history, tw_uuid_eq(member->member_id, history->ids[who]));
    HOLDS(history, !member->is_service || tw_str_is(member->email_folded, folded[who]));
}

static void check_claim(const struct history *history, uint32_t which)
{
    const struct tw_member_claim *claim = history->now->claims[which], *before = history->before->claims[which];

    if (!claim) {
        HOLDS(history, !before);
        return;
    }
    HOLDS(history, tw_uuid_eq(claim->claim_id, history->ids[which]));
    HOLDS(history, !history->now->members[which]); /* nobody registered with it */
    HOLDS(history, !before || (tw_uuid_eq(claim->member_id, before->member_id) &&
                               claim->created_at_ms == before->created_at_ms)); /* for ever */
}

/* --- what holds of a change --------------------------------------------------------------------------------------- */

/* What a member or an operator may edit, packed. */
static struct tw_str editable(const struct tw_member *member, struct tw_arena *arena)
{
    struct tw_member part = *member;
    struct tw_buf    packed = {0};
    struct tw_str    copy;

    part.password_hash = TW_STR("$"); /* a login may hash it anew, which is no edit */
    part.updated_at_ms = part.version = part.credential_version = 0;
    part.has_last_login_at = part.has_email_change = false;
    part.tokens_len = 0;
    tw_member_type.pack(&part, &packed);
    copy = tw_arena_copy(arena, tw_buf_str(&packed));
    tw_buf_done(&packed);
    return copy;
}

static void check_versions(const struct history *history, const struct tw_member *before, const struct tw_member *now)
{
    struct view *view = history->now;
    bool         edited = !tw_str_eq(editable(before, &view->arena), editable(now, &view->arena));
    int64_t      credentials = now->credential_version - before->credential_version;
    bool         moved = now->status != before->status || !tw_str_eq(now->email_folded, before->email_folded);

    HOLDS(history, now->version == before->version || now->version == before->version + 1);
    HOLDS(history, !edited || now->version == before->version + 1);
    HOLDS(history, now->updated_at_ms >= before->updated_at_ms);
    HOLDS(history, now->version > before->version || now->updated_at_ms == before->updated_at_ms);
    HOLDS(history, credentials == 0 || credentials == 1);
    HOLDS(history, !moved || credentials == 1);
    HOLDS(history, !credentials || now->version == before->version + 1);
    if (!tw_str_eq(now->password_hash, before->password_hash)) /* changed, or hashed anew */
        HOLDS(history, credentials == 1 || tw_str_is(now->password_hash, "$anew"));
}

static const struct tw_member_token *find_token(const struct tw_member *member, struct tw_uuid id)
{
    for (uint32_t i = 0; i < member->tokens_len; i++)
        if (tw_uuid_eq(member->tokens[i].token_id, id))
            return &member->tokens[i];
    return NULL;
}

/* Is the token named by an event of the last command: revoked, or spent? */
static bool is_named(const struct history *history, struct tw_uuid token_id)
{
    const struct tw_turn *turn = &history->base.live.turn;

    for (uint32_t i = 0; i < turn->event_count; i++) {
        struct tw_member_tokens_revoked event;

        if (turn->events[i].type != &tw_member_tokens_revoked_type)
            continue;
        assert_int_equal(tw_member_tokens_revoked_type.unpack(turn->events[i].payload, turn->arena, &event, NULL),
                         TW_OK);
        for (uint32_t k = 0; k < event.tokens_len; k++)
            if (tw_uuid_eq(event.tokens[k].token_id, token_id))
                return true;
    }
    return false;
}

/* Rows go only when nobody can need them; what is revoked stays so; each revocation is told. */
static void check_kept_tokens(const struct history *history, const struct tw_member *before,
                              const struct tw_member *now)
{
    uint32_t spent = 0;

    for (uint32_t i = 0; i < before->tokens_len; i++) {
        const struct tw_member_token *old = &before->tokens[i], *token = find_token(now, old->token_id);
        bool may_be_taken = old->expires_at_ms + TW_MEMBER_TOKEN_LEEWAY_MS > history->base.live.progress.clock_ms;

        if (!token) {
            HOLDS(history, !is_live(history, old));
            HOLDS(history, old->kind == TW_MEMBER_TOKEN_KIND_REFRESH || !may_be_taken);
            continue;
        }
        HOLDS(history, !old->is_revoked || token->is_revoked);
        HOLDS(history, !is_named(history, token->token_id) || (token->is_revoked && !old->is_revoked));
        if (token->is_revoked && !old->is_revoked && !is_named(history, token->token_id))
            spent++;
    }
    HOLDS(history, spent == tw_history_has_emitted(&history->base, &tw_member_session_refreshed_type) || !spent);
}

static void check_member(const struct history *history, uint32_t who)
{
    const struct tw_member *before = history->before->members[who], *now = history->now->members[who];

    check_claim(history, who);
    if (!now) {
        HOLDS(history, !before);
        return;
    }
    check_addresses(history, now);
    check_tokens(history, now);
    check_email(history, who);
    if (!before) {
        HOLDS(history, now->version == 1 && now->credential_version == 1);
        return;
    }
    check_versions(history, before, now);
    check_kept_tokens(history, before, now);
}

/* A change of address is under way as long as its command is pending. */
static bool is_under_way(const struct history *history, struct tw_uuid change_id)
{
    for (uint32_t i = 0; i < ADDRESSES; i++) {
        const struct tw_member *member = history->now->members[i];

        if (member && member->has_email_change && tw_uuid_eq(member->email_change.change_id, change_id))
            return true;
    }
    return false;
}

static void check_pending(const struct history *history)
{
    struct tw_uuid ids[CHANGES_MAX];
    struct tw_load load = {.ledger_ids = ids, .ledger_id_count = history->change_count};

    for (size_t i = 0; i < history->change_count; i++)
        ids[i] = tw_command_id_ledger(history->changes[i]);
    tw_history_load(&history->base, &load, &history->now->arena);
    HOLDS(history, load.row_count == history->change_count);
    for (size_t i = 0; i < load.row_count; i++)
        HOLDS(history, (load.rows[i].outcome.status == TW_PENDING) == is_under_way(history, history->changes[i]));
}

/* --- one history -------------------------------------------------------------------------------------------------- */

/* What the policy makes of the last command's events. */
static void collect_errands(struct history *history)
{
    const struct tw_turn *turn = &history->base.live.turn;

    for (uint32_t i = 0; i < turn->event_count; i++) {
        struct errand *errand = &history->errands[history->errand_count];
        struct tw_str  payload = turn->events[i].payload;

        assert_true(history->errand_count < ERRANDS_MAX);
        if (turn->events[i].type == &tw_member_email_change_asked_type) {
            struct tw_member_email_change_asked event;

            assert_int_equal(tw_member_email_change_asked_type.unpack(payload, &history->base.log.arena, &event, NULL),
                             TW_OK);
            *errand = (struct errand){.type = &tw_member_claim_email_type, .key = event.claim_id};
            errand->claim = (struct tw_member_claim_email){
                .claim_id = event.claim_id,
                .member_id = event.member_id,
                .change_id = event.change_id,
            };
            history->errand_count++;
        } else if (turn->events[i].type == &tw_member_email_claim_decided_type) {
            struct tw_member_email_claim_decided event;

            assert_int_equal(tw_member_email_claim_decided_type.unpack(payload, &history->base.log.arena, &event, NULL),
                             TW_OK);
            *errand = (struct errand){.type = &tw_member_complete_email_change_type, .key = event.member_id};
            errand->complete = (struct tw_member_complete_email_change){
                .member_id = event.member_id, .change_id = event.change_id, .granted = event.granted};
            history->errand_count++;
        }
    }
}

/* Every rule that refuses was met, and every command went through. */
static void assert_all_met(const struct tw_tally *tally)
{
    static const enum tw_problem problems[] = {
        TW_PROBLEM_NOT_FOUND,     TW_PROBLEM_EMAIL_TAKEN,         TW_PROBLEM_STALE_CREDENTIALS,
        TW_PROBLEM_SUPERSEDED,    TW_PROBLEM_MEMBER_NOT_ACTIVE,   TW_PROBLEM_UNAUTHENTICATED,
        TW_PROBLEM_SESSION_LIMIT, TW_PROBLEM_ADDRESSES_LIMIT,     TW_PROBLEM_DEFAULT_ADDRESS,
        TW_PROBLEM_KEY_REUSED,    TW_PROBLEM_PRECONDITION_FAILED,
    };

    tw_tally_assert_commands(tally, &tw_member_domain);
    tw_tally_assert_problems(tally, problems, TW_LEN(problems));
}

static void fold_what_is_new(struct history *history)
{
    while (tw_history_step(&history->base)) {
        tw_tally_step(history->tally, &history->base);
        load_view(history);
        for (uint32_t i = 0; i < ADDRESSES; i++)
            check_member(history, i);
        collect_errands(history);
    }
}

static void live(struct history *history)
{
    for (int i = 0; i < STEPS; i++) {
        tw_history_choose(&history->base, deeds, TW_LEN(deeds), kind_of(history))->run(history);
        fold_what_is_new(history);
        if (i % 20 == 0)
            check_pending(history);
    }
    while (history->errand_count) { /* the policy catches up: every change of address ends */
        run_errand(history);
        fold_what_is_new(history);
    }
    check_pending(history);
    for (int i = 0; i < ADDRESSES; i++)
        HOLDS(history, !history->now->members[i] || !history->now->members[i]->has_email_change);
}

static void histories__keep_every_promise_after_each_command_and_give_one_store_for_any_batch(void **state)
{
    static struct history history;
    struct tw_tally       tally = {0};

    (void)state;
    for (int number = 0; number < HISTORIES; number++) {
        history_open(&history, number, &tally);
        live(&history);
        tw_history_assert_same_in_any_batches(&history.base);
        history_close(&history);
    }
    assert_all_met(&tally);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histories__keep_every_promise_after_each_command_and_give_one_store_for_any_batch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

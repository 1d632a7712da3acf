/*
 * What member commands mean. A member is one aggregate with its addresses and tokens; its id follows from the folded
 * e-mail it registered with, so two registrations for one address meet in one partition and the second finds the first.
 *
 * `version` and `updated_at` belong to what a member, or an operator, may edit; sessions and tokens move neither.
 * `credential_version` counts changes of password, e-mail and status: a command that rests on what the edge read of them
 * carries the version it saw and is refused when that has moved.
 *
 * Here: registering, profile, password, status. member_addresses.c, member_sessions.c, member_email.c: the rest.
 */
#include "member_rules.h"

#include <string.h>

/* --- shared ------------------------------------------------------------------------------------------------------- */

struct tw_str tw_member_path(struct tw_arena *arena, const char *folder, struct tw_uuid id)
{
    char text[TW_UUID_TEXT + 1];

    tw_uuid_format(id, text);
    return tw_arena_printf(arena, "%s/%s", folder, text);
}

const struct tw_member *tw_member_active(const struct tw_decision *d, struct tw_outcome *ret_refusal)
{
    const struct tw_member *known = tw_state(d, TW_MEMBER_ENTITY);

    if (!known)
        *ret_refusal = tw_rejected(TW_PROBLEM_NOT_FOUND, "there is no such member");
    else if (known->status != TW_MEMBER_STATUS_ACTIVE)
        *ret_refusal = tw_rejected(TW_PROBLEM_MEMBER_NOT_ACTIVE, "only active members do this");
    else
        return known;
    return NULL;
}

const struct tw_member *tw_member_with_credentials(const struct tw_decision *d, int64_t credential_version,
                                                   struct tw_outcome *ret_refusal)
{
    const struct tw_member *known = tw_member_active(d, ret_refusal);

    if (!known)
        return NULL;
    if (known->is_service)
        *ret_refusal = tw_rejected(TW_PROBLEM_STALE_CREDENTIALS, "a service member has no password");
    else if (known->credential_version != credential_version)
        *ret_refusal = tw_rejected(TW_PROBLEM_STALE_CREDENTIALS, "password, e-mail or status changed after the check");
    else
        return known;
    return NULL;
}

struct tw_member *tw_member_edit(struct tw_decision *d, const struct tw_command *cmd)
{
    struct tw_member *member = tw_state_change(d, TW_MEMBER_ENTITY);

    member->version++;
    if (member->updated_at_ms < cmd->at_ms) /* a requeued command is decided at its old time */
        member->updated_at_ms = cmd->at_ms;
    return member;
}

/* --- registering -------------------------------------------------------------------------------------------------- */

/* By a member who registered with the address, or who changed to it. */
static bool is_taken(const struct tw_decision *d)
{
    return tw_state(d, TW_MEMBER_ENTITY) || tw_state(d, TW_MEMBER_CLAIM_ENTITY);
}

static struct tw_outcome email_taken(void)
{
    return tw_rejected(TW_PROBLEM_EMAIL_TAKEN, "a member with this e-mail address exists");
}

/* Version 1 of @p who. */
static struct tw_member *make_member(struct tw_decision *d, const struct tw_command *cmd, const struct tw_member *who)
{
    struct tw_member *member = tw_state_change(d, TW_MEMBER_ENTITY);

    *member = *who;
    member->status = TW_MEMBER_STATUS_ACTIVE;
    member->created_at_ms = cmd->at_ms;
    member->updated_at_ms = cmd->at_ms;
    member->version = 1;
    member->credential_version = 1;
    return member;
}

static struct tw_outcome decide_register(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_register *body = cmd->body;
    struct tw_member                *member;

    if (is_taken(d))
        return email_taken();
    member = make_member(d, cmd,
                         &(struct tw_member){
                             .member_id = body->member_id,
                             .email = body->email,
                             .email_folded = body->email_folded,
                             .has_password_hash = true,
                             .password_hash = body->password_hash,
                             .full_name = body->full_name,
                             .has_phone_number = body->has_phone_number,
                             .phone_number = body->phone_number,
                         });
    tw_emit(d, &tw_member_registered_type,
            &(struct tw_member_registered){
                .member_id = member->member_id, .status = member->status, .version = member->version});
    return tw_succeeded(201, TW_STR("/v1/members/me"));
}

static struct tw_outcome decide_register_service(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_register_service *body = cmd->body;
    struct tw_member                        *member;

    if (is_taken(d))
        return email_taken();
    member = make_member(d, cmd,
                         &(struct tw_member){
                             .member_id = body->member_id,
                             .email = body->email,
                             .email_folded = body->email_folded,
                             .full_name = body->full_name,
                             .is_service = true,
                         });
    tw_emit(d, &tw_member_service_registered_type,
            &(struct tw_member_service_registered){
                .member_id = member->member_id, .status = member->status, .version = member->version});
    return tw_succeeded(201, tw_member_path(d->arena, "/v1/members", member->member_id));
}

/* --- profile, password, status ------------------------------------------------------------------------------------ */

static struct tw_outcome decide_change_profile(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_change_profile *body = cmd->body;
    struct tw_outcome                      refusal;
    struct tw_member                      *member;

    if (!tw_member_active(d, &refusal))
        return refusal;
    member = tw_member_edit(d, cmd);
    if (body->has_full_name)
        member->full_name = body->full_name;
    if (body->has_phone_number || body->clear_phone_number) {
        member->has_phone_number = body->has_phone_number;
        member->phone_number = body->phone_number;
    }
    tw_emit(d, &tw_member_profile_changed_type,
            &(struct tw_member_profile_changed){.member_id = member->member_id, .version = member->version});
    return tw_succeeded(200, TW_STR("/v1/members/me"));
}

static struct tw_outcome decide_change_password(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_change_password *body = cmd->body;
    struct tw_outcome                       refusal;
    struct tw_member                       *member;

    if (!tw_member_with_credentials(d, body->credential_version, &refusal))
        return refusal;
    member = tw_member_edit(d, cmd);
    member->password_hash = body->password_hash;
    member->credential_version++;
    tw_emit(d, &tw_member_password_changed_type,
            &(struct tw_member_password_changed){.member_id = member->member_id, .version = member->version});
    tw_member_revoke(d, cmd, tw_uuid_nil, body->keep_session_id);
    return tw_succeeded(204, (struct tw_str){0});
}

static void change_status(struct tw_decision *d, const struct tw_command *cmd, enum tw_member_status status)
{
    struct tw_member *member = tw_member_edit(d, cmd);

    member->status = status;
    member->credential_version++;
    tw_emit(d, &tw_member_status_changed_type,
            &(struct tw_member_status_changed){
                .member_id = member->member_id, .status = status, .version = member->version});
    if (status != TW_MEMBER_STATUS_ACTIVE)
        tw_member_revoke(d, cmd, tw_uuid_nil, tw_uuid_nil);
}

static struct tw_outcome decide_deactivate(struct tw_decision *d, const struct tw_command *cmd)
{
    struct tw_outcome refusal;

    if (!tw_member_active(d, &refusal))
        return refusal;
    change_status(d, cmd, TW_MEMBER_STATUS_INACTIVE);
    return tw_succeeded(204, (struct tw_str){0});
}

static struct tw_outcome decide_set_status(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_set_status *body = cmd->body;
    const struct tw_member            *known = tw_state(d, TW_MEMBER_ENTITY);

    if (!known)
        return tw_rejected(TW_PROBLEM_NOT_FOUND, "there is no such member");
    if (known->status != body->status)
        change_status(d, cmd, body->status);
    return tw_succeeded(200, tw_member_path(d->arena, "/v1/members", known->member_id));
}

/* --- the domain --------------------------------------------------------------------------------------------------- */

#define KEY(type, member) offsetof(struct tw_##type, member)

static const struct {
    size_t key_offset; /* of the aggregate's id in the command's struct */
    bool   may_claim;  /* the identity of an address is asked whether it is anybody's: its claim is loaded, too */
    struct tw_outcome (*decide)(struct tw_decision *d, const struct tw_command *cmd);
} handlers[] = {
    [TW_MEMBER_REGISTER] = {KEY(member_register, member_id), true, decide_register},
    [TW_MEMBER_REGISTER_SERVICE] = {KEY(member_register_service, member_id), true, decide_register_service},
    [TW_MEMBER_CHANGE_PROFILE] = {KEY(member_change_profile, member_id), false, decide_change_profile},
    [TW_MEMBER_CHANGE_PASSWORD] = {KEY(member_change_password, member_id), false, decide_change_password},
    [TW_MEMBER_DEACTIVATE] = {KEY(member_deactivate, member_id), false, decide_deactivate},
    [TW_MEMBER_SET_STATUS] = {KEY(member_set_status, member_id), false, decide_set_status},
    [TW_MEMBER_CHANGE_EMAIL] = {KEY(member_change_email, member_id), false, tw_member_decide_change_email},
    [TW_MEMBER_CLAIM_EMAIL] = {KEY(member_claim_email, claim_id), true, tw_member_decide_claim_email},
    [TW_MEMBER_COMPLETE_EMAIL_CHANGE] = {KEY(member_complete_email_change, member_id), false,
                                         tw_member_decide_complete_email_change},
    [TW_MEMBER_ADD_ADDRESS] = {KEY(member_add_address, member_id), false, tw_member_decide_add_address},
    [TW_MEMBER_CHANGE_ADDRESS] = {KEY(member_change_address, member_id), false, tw_member_decide_change_address},
    [TW_MEMBER_REMOVE_ADDRESS] = {KEY(member_remove_address, member_id), false, tw_member_decide_remove_address},
    [TW_MEMBER_SET_DEFAULT_ADDRESS] = {KEY(member_set_default_address, member_id), false,
                                       tw_member_decide_set_default_address},
    [TW_MEMBER_START_SESSION] = {KEY(member_start_session, member_id), false, tw_member_decide_start_session},
    [TW_MEMBER_REFRESH_SESSION] = {KEY(member_refresh_session, member_id), false, tw_member_decide_refresh_session},
    [TW_MEMBER_END_SESSION] = {KEY(member_end_session, member_id), false, tw_member_decide_end_session},
    [TW_MEMBER_END_ALL_SESSIONS] = {KEY(member_end_all_sessions, member_id), false, tw_member_decide_end_all_sessions},
    [TW_MEMBER_ISSUE_TOKEN] = {KEY(member_issue_token, member_id), false, tw_member_decide_issue_token},
    [TW_MEMBER_REVOKE_TOKEN] = {KEY(member_revoke_token, member_id), false, tw_member_decide_revoke_token},
};

static size_t member_keys(const struct tw_command *cmd, struct tw_key ret_keys[TW_KEYS_MAX])
{
    const char    *body = cmd->body;
    struct tw_uuid id;

    memcpy(&id, body + handlers[cmd->type->number].key_offset, sizeof(id));
    ret_keys[TW_MEMBER_ENTITY] = (struct tw_key){.kind = TW_MEMBER_ENTITY, .id = id};
    ret_keys[TW_MEMBER_CLAIM_ENTITY] = (struct tw_key){.kind = TW_MEMBER_CLAIM_ENTITY, .id = id};
    return handlers[cmd->type->number].may_claim ? 2 : 1;
}

/* That `email_folded` is the folding of `email` is the promise of the edge: folding needs Unicode tables, which a
 * domain does not link. */
static bool member_owns_its_id(const struct tw_command *cmd, const uint8_t id_key[TW_ID_KEY_BYTES])
{
    if (cmd->type == &tw_member_register_type) {
        const struct tw_member_register *body = cmd->body;

        return tw_uuid_eq(body->member_id, tw_member_id(id_key, body->email_folded));
    }
    if (cmd->type == &tw_member_register_service_type) {
        const struct tw_member_register_service *body = cmd->body;

        return tw_uuid_eq(body->member_id, tw_member_id(id_key, body->email_folded));
    }
    if (cmd->type == &tw_member_change_email_type) {
        const struct tw_member_change_email *body = cmd->body;

        return tw_uuid_eq(body->claim_id, tw_member_id(id_key, body->email_folded));
    }
    return true;
}

static struct tw_outcome member_decide(struct tw_decision *d, const struct tw_command *cmd)
{
    return handlers[cmd->type->number].decide(d, cmd);
}

static int64_t member_version(const void *state, int64_t clock_ms)
{
    (void)clock_ms; /* nothing ends here */
    const struct tw_member *member = state;

    return member ? member->version : 0;
}

static const struct tw_type *const member_states[] = {
    [TW_MEMBER_ENTITY] = &tw_member_type,
    [TW_MEMBER_CLAIM_ENTITY] = &tw_member_claim_type,
};

const struct tw_domain tw_member_domain = {
    .name = "member",
    .number = TW_DOMAIN_MEMBER,
    .commands = tw_member_commands,
    .command_count = TW_LEN(handlers),
    .states = member_states,
    .state_count = TW_LEN(member_states),
    .keys = member_keys,
    .owns_its_id = member_owns_its_id,
    .decide = member_decide,
    .version = member_version,
};

/*
 * A change of e-mail address, as a saga over two partitions:
 *
 *   the member            change_email            remembers the wish, emits email_change_asked
 *   the address           claim_email             its identity (the id somebody registering with it would have) decides
 *                                                 in its own partition, so two who want it meet there
 *   the member            complete_email_change   takes the address, or learns that it cannot; change_email ends
 *
 * The policy (member_policy.c) carries each event to the next command. A claim stays the member's for ever, also when the
 * change came to nothing: an address that was anybody's once is never given to somebody else.
 */
#include "member_rules.h"

#include <string.h>

static struct tw_str me(void)
{
    return TW_STR("/v1/members/me");
}

static void take_address(struct tw_decision *d, const struct tw_command *cmd, struct tw_str email, struct tw_str folded)
{
    struct tw_member *member = tw_member_edit(d, cmd);

    if (!tw_str_eq(member->email_folded, folded))
        member->credential_version++;
    member->email = email;
    member->email_folded = folded;
    tw_emit(d, &tw_member_email_changed_type,
            &(struct tw_member_email_changed){.member_id = member->member_id, .version = member->version});
}

/* Ends the command that began @p change. */
static void finish(struct tw_decision *d, const struct tw_member_email_change *change, struct tw_outcome outcome)
{
    struct tw_pending_command pending = {
        .command_id = change->change_id,
        .caller = change->caller,
        .offset = change->record_offset,
        .submitted_ms = change->submitted_at_ms,
        .type = tw_member_change_email_type.name,
    };

    memcpy(pending.fingerprint, change->fingerprint, sizeof(pending.fingerprint));
    tw_finish(d, &pending, outcome);
}

static struct tw_member_email_change change_of(const struct tw_command *cmd)
{
    const struct tw_member_change_email *body = cmd->body;
    struct tw_member_email_change        change = {
               .change_id = cmd->envelope->command_id,
               .email = body->email,
               .email_folded = body->email_folded,
               .caller = cmd->envelope->caller,
               .record_offset = cmd->offset,
               .submitted_at_ms = cmd->envelope->submitted_ms,
    };

    memcpy(change.fingerprint, cmd->envelope->fingerprint, sizeof(change.fingerprint));
    return change;
}

struct tw_outcome tw_member_decide_change_email(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_change_email *body = cmd->body;
    struct tw_outcome                    refusal;
    const struct tw_member              *known = tw_member_with_credentials(d, body->credential_version, &refusal);
    struct tw_member                    *member;

    if (!known)
        return refusal;
    member = tw_state_change(d, TW_MEMBER_ENTITY);
    if (member->has_email_change) /* two at once: the later one counts, whatever the address says to the earlier */
        finish(d, &member->email_change, tw_rejected(TW_PROBLEM_SUPERSEDED, "another address was asked for"));
    member->has_email_change = false;
    /* The address it has, written in another way, or the one it registered with, which is its own identity. */
    if (tw_str_eq(known->email_folded, body->email_folded) || tw_uuid_eq(body->claim_id, member->member_id)) {
        take_address(d, cmd, body->email, body->email_folded);
        return tw_succeeded(200, me());
    }
    member->has_email_change = true;
    member->email_change = change_of(cmd);
    tw_emit(d, &tw_member_email_change_asked_type,
            &(struct tw_member_email_change_asked){
                .member_id = member->member_id,
                .change_id = cmd->envelope->command_id,
                .claim_id = body->claim_id,
                .version = member->version,
            });
    return tw_pending(me());
}

/* The same question again gets the same answer, so the policy may ask as often as it likes. */
struct tw_outcome tw_member_decide_claim_email(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_claim_email *body = cmd->body;
    const struct tw_member             *registered = tw_state(d, TW_MEMBER_ENTITY);
    const struct tw_member_claim       *claimed = tw_state(d, TW_MEMBER_CLAIM_ENTITY);
    bool                                granted = !registered;

    if (claimed) {
        granted = tw_uuid_eq(claimed->member_id, body->member_id);
    } else if (granted) {
        struct tw_member_claim *claim = tw_state_change(d, TW_MEMBER_CLAIM_ENTITY);
        *claim = (struct tw_member_claim){body->claim_id, body->member_id, cmd->at_ms};
    }
    tw_emit(d, &tw_member_email_claim_decided_type,
            &(struct tw_member_email_claim_decided){
                .claim_id = body->claim_id,
                .member_id = body->member_id,
                .change_id = body->change_id,
                .granted = granted,
            });
    return tw_succeeded(200, (struct tw_str){0});
}

/* What comes late, or again, finds another change or none: nothing happens. */
struct tw_outcome tw_member_decide_complete_email_change(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_complete_email_change *body = cmd->body;
    const struct tw_member                       *known = tw_state(d, TW_MEMBER_ENTITY);
    struct tw_member_email_change                 change;
    struct tw_member                             *member;

    if (!known || !known->has_email_change || !tw_uuid_eq(known->email_change.change_id, body->change_id))
        return tw_succeeded(200, (struct tw_str){0});
    member = tw_state_change(d, TW_MEMBER_ENTITY);
    change = member->email_change;
    member->has_email_change = false;
    member->email_change = (struct tw_member_email_change){0};
    if (!body->granted) {
        finish(d, &change, tw_rejected(TW_PROBLEM_EMAIL_TAKEN, "a member with this e-mail address exists"));
    } else if (member->status != TW_MEMBER_STATUS_ACTIVE) {
        finish(d, &change, tw_rejected(TW_PROBLEM_MEMBER_NOT_ACTIVE, "the member left before the address was taken"));
    } else {
        take_address(d, cmd, change.email, change.email_folded);
        finish(d, &change, tw_succeeded(200, me()));
    }
    return tw_succeeded(200, (struct tw_str){0});
}

#include "member_policy.h"

#include "tillwire/gen/member_messages.h"

/* The wish of a member goes to the identity of the address. */
static enum tw_rc ask_the_address(const struct tw_policy_event *event, struct tw_arena *arena,
                                  struct tw_policy_out *out, struct tw_err *reterr)
{
    struct tw_member_email_change_asked asked;

    TW_TRY(tw_member_email_change_asked_type.unpack(event->payload, arena, &asked, reterr));
    tw_policy_send(out, &(struct tw_policy_command){
                            .cause = &event->cause,
                            .type = &tw_member_claim_email_type,
                            .domain = TW_DOMAIN_MEMBER,
                            .aggregate = asked.claim_id,
                            .caller = asked.member_id,
                            .body =
                                &(struct tw_member_claim_email){
                                    .claim_id = asked.claim_id,
                                    .member_id = asked.member_id,
                                    .change_id = asked.change_id,
                                },
                        });
    return TW_OK;
}

/* The answer of the address goes back to the member. */
static enum tw_rc tell_the_member(const struct tw_policy_event *event, struct tw_arena *arena,
                                  struct tw_policy_out *out, struct tw_err *reterr)
{
    struct tw_member_email_claim_decided decided;

    TW_TRY(tw_member_email_claim_decided_type.unpack(event->payload, arena, &decided, reterr));
    tw_policy_send(out, &(struct tw_policy_command){
                            .cause = &event->cause,
                            .type = &tw_member_complete_email_change_type,
                            .domain = TW_DOMAIN_MEMBER,
                            .aggregate = decided.member_id,
                            .caller = decided.member_id,
                            .body =
                                &(struct tw_member_complete_email_change){
                                    .member_id = decided.member_id,
                                    .change_id = decided.change_id,
                                    .granted = decided.granted,
                                },
                        });
    return TW_OK;
}

static enum tw_rc react(void *self, const struct tw_policy_event *event, struct tw_arena *arena,
                        struct tw_policy_out *out, struct tw_err *reterr)
{
    (void)self;
    if (tw_str_is(event->type, tw_member_email_change_asked_type.ce_type))
        return ask_the_address(event, arena, out, reterr);
    return tell_the_member(event, arena, out, reterr);
}

static const struct tw_type *const types[] = {&tw_member_email_change_asked_type, &tw_member_email_claim_decided_type,
                                              NULL};

const struct tw_policy tw_member_email_policy = {
    .name = "member-email",
    .follows = {TW_DOMAIN_MEMBER},
    .types = types,
    .react = react,
};

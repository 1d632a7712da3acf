/*
 * Postal addresses. Whenever a member has any, exactly one is the default: the first becomes it, removing it passes it to
 * the oldest left, and it can only be given away, never given up. The list is oldest first, ties by id: the order a
 * store gives back.
 */
#include "member_rules.h"

#define NO_ADDRESS UINT32_MAX

static uint32_t find_address(const struct tw_member *member, struct tw_uuid address_id)
{
    for (uint32_t i = 0; i < member->addresses_len; i++)
        if (tw_uuid_eq(member->addresses[i].address_id, address_id))
            return i;
    return NO_ADDRESS;
}

static void make_default(struct tw_member *member, uint32_t which)
{
    for (uint32_t i = 0; i < member->addresses_len; i++)
        member->addresses[i].is_default = i == which;
}

static bool is_older(const struct tw_member_address *a, const struct tw_member_address *b)
{
    if (a->created_at_ms != b->created_at_ms)
        return a->created_at_ms < b->created_at_ms;
    return tw_uuid_cmp(a->address_id, b->address_id) < 0;
}

/* A requeued command may come with an old time, so the end of the list is not always the place. Returns it. */
static uint32_t insert(struct tw_member *member, struct tw_arena *arena, const struct tw_member_address *address)
{
    uint32_t place = member->addresses_len;

    member->addresses = tw_arena_grow(arena, member->addresses, member->addresses_len, &member->addresses_cap,
                                      sizeof(*member->addresses));
    for (; place && is_older(address, &member->addresses[place - 1]); place--)
        member->addresses[place] = member->addresses[place - 1];
    member->addresses[place] = *address;
    member->addresses_len++;
    return place;
}

/* The three events say the same things. */
static void emit(struct tw_decision *d, const struct tw_type *type, const struct tw_member *member,
                 struct tw_uuid address_id)
{
    struct tw_member_address_changed payload = {
        .member_id = member->member_id, .address_id = address_id, .version = member->version};

    _Static_assert(sizeof(struct tw_member_address_added) == sizeof(payload) &&
                       sizeof(struct tw_member_address_removed) == sizeof(payload),
                   "one payload for the three events of addresses");
    for (uint32_t i = 0; i < member->addresses_len; i++) {
        if (!member->addresses[i].is_default)
            continue;
        payload.has_default_address_id = true;
        payload.default_address_id = member->addresses[i].address_id;
    }
    tw_emit(d, type, &payload);
}

/* The active member who has the address; NULL: @p ret_refusal says why there is none. */
static const struct tw_member *find_owner(struct tw_decision *d, struct tw_uuid address_id, uint32_t *ret_place,
                                          struct tw_outcome *ret_refusal)
{
    const struct tw_member *known = tw_member_active(d, ret_refusal);
    uint32_t                place = known ? find_address(known, address_id) : NO_ADDRESS;

    if (known && place == NO_ADDRESS)
        *ret_refusal = tw_rejected(TW_PROBLEM_NOT_FOUND, "there is no such address");
    if (place == NO_ADDRESS)
        return NULL;
    *ret_place = place;
    return known;
}

static struct tw_str path_of(struct tw_decision *d, struct tw_uuid address_id)
{
    return tw_member_path(d->arena, "/v1/members/me/addresses", address_id);
}

struct tw_outcome tw_member_decide_add_address(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_add_address *body = cmd->body;
    struct tw_outcome                   refusal;
    const struct tw_member             *known = tw_member_active(d, &refusal);
    struct tw_member_address            address = {
                   .address_id = tw_derived_id(cmd->envelope->command_id, cmd->key_id, TW_MEMBER_ID_ADDRESS),
                   .label = body->label,
                   .address_line1 = body->address_line1,
                   .has_address_line2 = body->has_address_line2,
                   .address_line2 = body->address_line2,
                   .city = body->city,
                   .province = body->province,
                   .postal_code = body->postal_code,
                   .created_at_ms = cmd->at_ms,
    };
    struct tw_member *member;
    uint32_t          place;

    if (!known)
        return refusal;
    if (find_address(known, address.address_id) != NO_ADDRESS)
        return tw_rejected(TW_PROBLEM_KEY_REUSED, "this command id made an address before");
    if (known->addresses_len == TW_MEMBER_ADDRESSES_MAX)
        return tw_rejected(TW_PROBLEM_ADDRESSES_LIMIT, "the member has 20 addresses");
    member = tw_member_edit(d, cmd);
    place = insert(member, d->arena, &address);
    if (member->addresses_len == 1 || (body->has_is_default && body->is_default))
        make_default(member, place);
    emit(d, &tw_member_address_added_type, member, address.address_id);
    return tw_succeeded(201, path_of(d, address.address_id));
}

static void change(struct tw_member_address *address, const struct tw_member_change_address *body)
{
    if (body->has_label)
        address->label = body->label;
    if (body->has_address_line1)
        address->address_line1 = body->address_line1;
    if (body->has_address_line2 || body->clear_address_line2) {
        address->has_address_line2 = body->has_address_line2;
        address->address_line2 = body->address_line2;
    }
    if (body->has_city)
        address->city = body->city;
    if (body->has_province)
        address->province = body->province;
    if (body->has_postal_code)
        address->postal_code = body->postal_code;
}

struct tw_outcome tw_member_decide_change_address(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_change_address *body = cmd->body;
    uint32_t                               place;
    struct tw_outcome                      refusal;
    const struct tw_member                *known = find_owner(d, body->address_id, &place, &refusal);
    struct tw_member                      *member;

    if (!known)
        return refusal;
    if (body->has_is_default && !body->is_default && known->addresses[place].is_default)
        return tw_rejected(TW_PROBLEM_DEFAULT_ADDRESS, "make another address the default instead");
    member = tw_member_edit(d, cmd);
    change(&member->addresses[place], body);
    if (body->has_is_default && body->is_default)
        make_default(member, place);
    emit(d, &tw_member_address_changed_type, member, body->address_id);
    return tw_succeeded(200, path_of(d, body->address_id));
}

struct tw_outcome tw_member_decide_remove_address(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_remove_address *body = cmd->body;
    uint32_t                               place;
    struct tw_outcome                      refusal;
    const struct tw_member                *known = find_owner(d, body->address_id, &place, &refusal);
    struct tw_member                      *member;
    bool                                   was_default;

    if (!known)
        return refusal;
    member = tw_member_edit(d, cmd);
    was_default = member->addresses[place].is_default;
    for (member->addresses_len--; place < member->addresses_len; place++)
        member->addresses[place] = member->addresses[place + 1];
    if (was_default && member->addresses_len)
        make_default(member, 0);
    emit(d, &tw_member_address_removed_type, member, body->address_id);
    return tw_succeeded(204, (struct tw_str){0});
}

struct tw_outcome tw_member_decide_set_default_address(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_set_default_address *body = cmd->body;
    uint32_t                                    place;
    struct tw_outcome                           refusal;
    const struct tw_member                     *known = find_owner(d, body->address_id, &place, &refusal);
    struct tw_member                           *member;

    if (!known)
        return refusal;
    if (known->addresses[place].is_default)
        return tw_succeeded(200, path_of(d, body->address_id));
    member = tw_member_edit(d, cmd);
    make_default(member, place);
    emit(d, &tw_member_address_changed_type, member, body->address_id);
    return tw_succeeded(200, path_of(d, body->address_id));
}

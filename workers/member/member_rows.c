/* Compares two states of a member row by row; see member_rows.h. */
#include "member_rows.h"

#include <stdlib.h>
#include <string.h>

/* Appends to `list` of @p rows. */
#define APPEND(rows, list, arena, ...)                                                                            \
    do {                                                                                                          \
        (rows)->list =                                                                                            \
            tw_arena_grow((arena), (rows)->list, (rows)->list##_len, &(rows)->list##_cap, sizeof(*(rows)->list)); \
        (rows)->list[(rows)->list##_len++] = __VA_ARGS__;                                                         \
    } while (0)

static bool same_optional_str(bool has_a, struct tw_str a, bool has_b, struct tw_str b)
{
    return has_a == has_b && (!has_a || tw_str_eq(a, b));
}

static bool same_member_row(const struct tw_member *a, const struct tw_member *b)
{
    return tw_str_eq(a->email, b->email) && tw_str_eq(a->email_folded, b->email_folded) &&
           same_optional_str(a->has_password_hash, a->password_hash, b->has_password_hash, b->password_hash) &&
           tw_str_eq(a->full_name, b->full_name) &&
           same_optional_str(a->has_phone_number, a->phone_number, b->has_phone_number, b->phone_number) &&
           a->status == b->status && a->created_at_ms == b->created_at_ms && a->updated_at_ms == b->updated_at_ms &&
           a->has_last_login_at == b->has_last_login_at &&
           (!a->has_last_login_at || a->last_login_at_ms == b->last_login_at_ms) && a->version == b->version &&
           a->credential_version == b->credential_version && a->is_service == b->is_service;
}

static bool same_address(const struct tw_member_address *a, const struct tw_member_address *b)
{
    return tw_str_eq(a->label, b->label) && tw_str_eq(a->address_line1, b->address_line1) &&
           same_optional_str(a->has_address_line2, a->address_line2, b->has_address_line2, b->address_line2) &&
           tw_str_eq(a->city, b->city) && tw_str_eq(a->province, b->province) &&
           tw_str_eq(a->postal_code, b->postal_code) && a->is_default == b->is_default &&
           a->created_at_ms == b->created_at_ms;
}

static bool same_token(const struct tw_member_token *a, const struct tw_member_token *b)
{
    return tw_uuid_eq(a->family_id, b->family_id) && a->kind == b->kind &&
           !memcmp(a->token_hash, b->token_hash, sizeof(a->token_hash)) && tw_str_eq(a->scope, b->scope) &&
           tw_str_eq(a->label, b->label) && a->expires_at_ms == b->expires_at_ms && a->is_revoked == b->is_revoked &&
           a->created_at_ms == b->created_at_ms;
}

static bool same_change(const struct tw_member_email_change *a, const struct tw_member_email_change *b)
{
    return tw_uuid_eq(a->change_id, b->change_id) && tw_str_eq(a->email, b->email) &&
           tw_str_eq(a->email_folded, b->email_folded) && tw_uuid_eq(a->caller, b->caller) &&
           !memcmp(a->fingerprint, b->fingerprint, sizeof(a->fingerprint)) && a->record_offset == b->record_offset &&
           a->submitted_at_ms == b->submitted_at_ms;
}

static bool same_claim(const struct tw_member_claim *a, const struct tw_member_claim *b)
{
    return tw_uuid_eq(a->member_id, b->member_id) && a->created_at_ms == b->created_at_ms;
}

_Static_assert(offsetof(struct tw_member_address, address_id) == 0, "find_row() looks there");
_Static_assert(offsetof(struct tw_member_token, token_id) == 0, "find_row() looks there");

static struct tw_uuid id_at(const void *list, uint32_t i, size_t size_bytes)
{
    struct tw_uuid id;

    memcpy(&id, (const char *)list + i * size_bytes, sizeof(id));
    return id;
}

/* Position of an id in a list of addresses or tokens; `len` when it is not there. Both lists of a comparison have the
 * same order, so the row behind the last one found is nearly always the one: @p cursor remembers it. */
static uint32_t find_row(const void *list, uint32_t len, size_t size_bytes, struct tw_uuid id, uint32_t *cursor)
{
    uint32_t i = *cursor;

    if (i >= len || !tw_uuid_eq(id_at(list, i, size_bytes), id))
        for (i = 0; i < len && !tw_uuid_eq(id_at(list, i, size_bytes), id); i++)
            ;
    if (i < len)
        *cursor = i + 1;
    return i;
}

static void add_addresses(struct tw_member_rows *rows, const struct tw_member *before, const struct tw_member *after,
                          struct tw_arena *arena)
{
    uint32_t cursor = 0;

    for (uint32_t i = 0; i < after->addresses_len; i++) {
        const struct tw_member_address *address = &after->addresses[i];
        uint32_t                        old =
            find_row(before->addresses, before->addresses_len, sizeof(*address), address->address_id, &cursor);

        if (old == before->addresses_len) {
            APPEND(rows, new_addresses, arena, (struct tw_address_row){after->member_id, address});
            continue;
        }
        if (!same_address(&before->addresses[old], address))
            APPEND(rows, addresses, arena, (struct tw_address_row){after->member_id, address});
        if (before->addresses[old].is_default && !address->is_default)
            APPEND(rows, lost_defaults, arena, address->address_id);
    }
}

static void add_gone_addresses(struct tw_member_rows *rows, const struct tw_member *before,
                               const struct tw_member *after, struct tw_arena *arena)
{
    uint32_t cursor = 0;

    for (uint32_t i = 0; i < before->addresses_len; i++) {
        struct tw_uuid id = before->addresses[i].address_id;

        if (find_row(after->addresses, after->addresses_len, sizeof(*after->addresses), id, &cursor) ==
            after->addresses_len)
            APPEND(rows, gone_addresses, arena, id);
    }
}

static void add_tokens(struct tw_member_rows *rows, const struct tw_member *before, const struct tw_member *after,
                       struct tw_arena *arena)
{
    uint32_t cursor = 0;

    for (uint32_t i = 0; i < after->tokens_len; i++) {
        const struct tw_member_token *token = &after->tokens[i];
        uint32_t old = find_row(before->tokens, before->tokens_len, sizeof(*token), token->token_id, &cursor);

        if (old == before->tokens_len)
            APPEND(rows, new_tokens, arena, (struct tw_token_row){after->member_id, token});
        else if (!same_token(&before->tokens[old], token))
            APPEND(rows, tokens, arena, (struct tw_token_row){after->member_id, token});
    }
}

static void add_gone_tokens(struct tw_member_rows *rows, const struct tw_member *before, const struct tw_member *after,
                            struct tw_arena *arena)
{
    uint32_t cursor = 0;

    for (uint32_t i = 0; i < before->tokens_len; i++) {
        struct tw_uuid id = before->tokens[i].token_id;

        if (find_row(after->tokens, after->tokens_len, sizeof(*after->tokens), id, &cursor) == after->tokens_len)
            APPEND(rows, gone_tokens, arena, id);
    }
}

static void add_email_change(struct tw_member_rows *rows, const struct tw_member *before, const struct tw_member *after,
                             struct tw_arena *arena)
{
    struct tw_email_change_row row = {after->member_id, &after->email_change};

    if (before->has_email_change && !after->has_email_change)
        APPEND(rows, gone_changes, arena, after->member_id);
    else if (after->has_email_change && !before->has_email_change)
        APPEND(rows, new_changes, arena, row);
    else if (after->has_email_change && !same_change(&before->email_change, &after->email_change))
        APPEND(rows, changes, arena, row);
}

void tw_member_rows_add(struct tw_member_rows *rows, const struct tw_member *before, const struct tw_member *after,
                        struct tw_arena *arena)
{
    static const struct tw_member nothing;

    if (!before) {
        APPEND(rows, new_members, arena, after);
        before = &nothing;
    } else if (!same_member_row(before, after)) {
        APPEND(rows, members, arena, after);
    }
    add_addresses(rows, before, after, arena);
    add_gone_addresses(rows, before, after, arena);
    add_tokens(rows, before, after, arena);
    add_gone_tokens(rows, before, after, arena);
    add_email_change(rows, before, after, arena);
}

void tw_member_rows_add_claim(struct tw_member_rows *rows, const struct tw_member_claim *before,
                              const struct tw_member_claim *after, struct tw_arena *arena)
{
    if (!before)
        APPEND(rows, new_claims, arena, after);
    else if (!same_claim(before, after))
        APPEND(rows, claims, arena, after);
}

static int compare_members(const void *left, const void *right)
{
    return tw_uuid_cmp((*(const struct tw_member *const *)left)->member_id,
                       (*(const struct tw_member *const *)right)->member_id);
}

static int compare_addresses(const void *left, const void *right)
{
    return tw_uuid_cmp(((const struct tw_address_row *)left)->address->address_id,
                       ((const struct tw_address_row *)right)->address->address_id);
}

static int compare_tokens(const void *left, const void *right)
{
    return tw_uuid_cmp(((const struct tw_token_row *)left)->token->token_id,
                       ((const struct tw_token_row *)right)->token->token_id);
}

static int compare_changes(const void *left, const void *right)
{
    return tw_uuid_cmp(((const struct tw_email_change_row *)left)->member_id,
                       ((const struct tw_email_change_row *)right)->member_id);
}

static int compare_claims(const void *left, const void *right)
{
    return tw_uuid_cmp((*(const struct tw_member_claim *const *)left)->claim_id,
                       (*(const struct tw_member_claim *const *)right)->claim_id);
}

static int compare_ids(const void *left, const void *right)
{
    return tw_uuid_cmp(*(const struct tw_uuid *)left, *(const struct tw_uuid *)right);
}

/* Members and claims are: they come in the order of the turn's entities. */
static bool is_sorted(const char *items, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    for (size_t i = 1; i < count; i++)
        if (compare(items + (i - 1) * size, items + i * size) > 0)
            return false;
    return true;
}

static void sort(void *items, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    if (!is_sorted(items, count, size, compare))
        qsort(items, count, size, compare);
}

#define SORT(rows, list, compare) sort((rows)->list, (rows)->list##_len, sizeof(*(rows)->list), compare)

void tw_member_rows_sort(struct tw_member_rows *rows)
{
    SORT(rows, new_members, compare_members);
    SORT(rows, members, compare_members);
    SORT(rows, new_addresses, compare_addresses);
    SORT(rows, addresses, compare_addresses);
    SORT(rows, new_tokens, compare_tokens);
    SORT(rows, tokens, compare_tokens);
    SORT(rows, gone_addresses, compare_ids);
    SORT(rows, gone_tokens, compare_ids);
    SORT(rows, lost_defaults, compare_ids);
    SORT(rows, new_changes, compare_changes);
    SORT(rows, changes, compare_changes);
    SORT(rows, gone_changes, compare_ids);
    SORT(rows, new_claims, compare_claims);
    SORT(rows, claims, compare_claims);
}

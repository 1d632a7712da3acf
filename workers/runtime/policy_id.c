#include "policy_id.h"

#include <sodium.h>
#include <string.h>

static void add_text(crypto_generichash_state *state, const char *text)
{
    crypto_generichash_update(state, (const uint8_t *)text, strlen(text) + 1);
}

/* The event's id has the end behind it only where something follows: the ids of before had none. */
static void digest_of(const char *policy, const struct tw_policy_command *command, struct tw_str body,
                      uint8_t ret_digest[16])
{
    struct tw_str            event_id = command->cause->id;
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, 16);
    add_text(&state, "tillwire/policy/v1");
    add_text(&state, policy);
    add_text(&state, command->type->ce_type);
    crypto_generichash_update(&state, command->aggregate.bytes, sizeof(command->aggregate.bytes));
    crypto_generichash_update(&state, (const uint8_t *)event_id.ptr, event_id.len);
    if (command->type->quiet) {
        add_text(&state, "");
        crypto_generichash_update(&state, (const uint8_t *)body.ptr, body.len);
    }
    crypto_generichash_final(&state, ret_digest, 16);
}

struct tw_uuid tw_policy_command_id(const char *policy, const struct tw_policy_command *command, struct tw_str body,
                                    int32_t partition)
{
    uint8_t digest[16];

    digest_of(policy, command, body, digest);
    return command->type->quiet ? tw_command_id_unkeyed(digest, command->cause->time_ms, command->domain, partition)
                                : tw_command_id_keyed(digest, command->domain, partition);
}

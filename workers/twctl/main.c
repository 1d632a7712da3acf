/*
 * twctl: commands and the settings each takes. Adding a command: its function in ctl.h, a row in `commands`, its bit in
 * the rows of `settings_of` it needs.
 */
#include "program.h"

enum {
    TOPICS_APPLY = 1,
    TOPICS_DIFF = 2,
    SCHEMA_APPLY = 4,
    SCHEMA_DIFF = 8,
    TOKEN_ISSUE = 16,
    TOKEN_LIST = 32,
    TOKEN_REVOKE = 64,
    PING = 128,
    LOG_EXPORT = 256,
    LOG_IMPORT = 512,
    LOG_CHECK = 1024,
    TRACE = 2048,
    REPLAY = 1u << 31, /* commands of tillwire-replay, which has their settings */
};
enum { TOPICS = TOPICS_APPLY | TOPICS_DIFF, SCHEMA = SCHEMA_APPLY | SCHEMA_DIFF };
enum { LOGS = LOG_EXPORT | LOG_IMPORT | TRACE }; /* what asks the brokers about them */
enum { BY_COMMAND = TOKEN_ISSUE | TOKEN_REVOKE, TOKENS = BY_COMMAND | TOKEN_LIST };

static const struct tw_ctl_command commands[] = {
    {TOPICS_APPLY, "topics apply", NULL,
     "Creates topics that are missing and sets what differs from the manifest; never changes a partition count.",
     tw_ctl_topics_apply, NULL},
    {TOPICS_DIFF, "topics diff", NULL, "Shows how the cluster's topics differ from the manifest.", tw_ctl_topics_diff,
     NULL},
    {SCHEMA_APPLY, "schema apply", NULL, "Brings PostgreSQL and MongoDB up to date, pins the id key, and checks Redis.",
     tw_ctl_schema_apply, NULL},
    {SCHEMA_DIFF, "schema diff", NULL, "Shows what `schema apply` would do or refuse.", tw_ctl_schema_diff, NULL},
    {TOKEN_ISSUE, "token issue", NULL,
     "Issues a token with scopes to a service member and prints it. A running tillwire-member is needed.",
     tw_ctl_token_issue, NULL},
    {TOKEN_LIST, "token list", NULL, "Shows the tokens of service members: ids, scopes, ends, and what is revoked.",
     tw_ctl_token_list, NULL},
    {TOKEN_REVOKE, "token revoke", "JTI",
     "Revokes the token with that id; edges refuse it within a second. A running tillwire-member is needed.",
     tw_ctl_token_revoke, NULL},
    {LOG_EXPORT, "log export", "TOPIC", "Writes all records of a topic to a file, with every byte, offset and time.",
     tw_ctl_log_export, NULL},
    {LOG_IMPORT, "log import", "FILE",
     "Gives an empty topic the records of such a file, at their offsets and times. An interrupted one goes on.",
     tw_ctl_log_import, NULL},
    {LOG_CHECK, "log check", "FILE", "Shows what such a file holds, and that every byte of it is as it was written.",
     tw_ctl_log_check, NULL},
    {TRACE, "trace", "ID",
     "Shows what the logs hold of a command, a member, a product or a cart: records, events, outcomes, dead letters.",
     tw_ctl_trace, NULL},
    {PING, "ping", NULL, "Shows which servers answer.", tw_ctl_ping, NULL},
    {REPLAY, "verify", "DOMAIN", "Proves that a store is what its log says: a hash, and where they differ.", NULL,
     "tillwire-replay"},
    {REPLAY, "rebuild", "DOMAIN", "Builds a store anew from its log and puts it in the live one's place.", NULL,
     "tillwire-replay"},
    {REPLAY, "snapshot", "DOMAIN", "Writes all a store holds to a file, from which a rebuild can start.", NULL,
     "tillwire-replay"},
};

#define AT(member) offsetof(struct tw_ctl_settings, member)

static const struct tw_ctl_setting settings_of[] = {
    {TOPICS | BY_COMMAND | LOGS | PING,
     {"kafka", TW_SET_TEXT, AT(kafka), "127.0.0.1:9092", 1, 1024, NULL, false, "Kafka brokers, comma separated."}},
    {SCHEMA | TOKENS | PING,
     {"postgres_uri", TW_SET_TEXT, AT(postgres_uri), NULL, 1, 1024, NULL, true,
      "PostgreSQL of the members, with the worker's account."}},
    {SCHEMA | PING,
     {"mongo_uri", TW_SET_TEXT, AT(mongo_uri), NULL, 1, 1024, NULL, true,
      "MongoDB of the products; names the database."}},
    {SCHEMA | PING,
     {"redis_uri", TW_SET_TEXT, AT(redis_uri), NULL, 1, 4096, NULL, true,
      "Redis servers of the carts, comma separated, in the order the worker has them."}},
    {SCHEMA | TOKEN_ISSUE,
     {"id_key_file", TW_SET_TEXT, AT(id_key_file), NULL, 1, 1024, NULL, false,
      "File with the 32 bytes in hex that member ids are made with; pinned for ever."}},
    {TOKEN_ISSUE,
     {"jwt_algorithm", TW_SET_CHOICE, AT(jwt_algorithm), "HS256", 0, 0, "HS256|ES256", false,
      "How the token is signed, as the edge has it."}},
    {TOKEN_ISSUE,
     {"jwt_keys_file", TW_SET_TEXT, AT(jwt_keys_file), NULL, 1, 1024, NULL, false,
      "The edge's file of token keys; the first key signs."}},
    {TOKEN_ISSUE,
     {"jwt_issuer", TW_SET_TEXT, AT(jwt_issuer), "tillwire", 1, 256, NULL, false,
      "`iss` of tokens, as the edge has it."}},
    {TOKEN_ISSUE,
     {"jwt_audience", TW_SET_TEXT, AT(jwt_audience), "tillwire-api", 1, 256, NULL, false,
      "`aud` of tokens, as the edge has it."}},
    {TOKEN_ISSUE,
     {"scope", TW_SET_TEXT, AT(scope), NULL, 1, 512, NULL, false,
      "What the token is good for, comma separated: products:write,commands:read."}},
    {TOKEN_ISSUE,
     {"name", TW_SET_TEXT, AT(name), "operator", 1, 64, NULL, false,
      "The service member, made when there is none: <name>@service.tillwire.invalid."}},
    {TOKEN_ISSUE, {"ttl", TW_SET_TEXT, AT(ttl), "90d", 2, 16, NULL, false, "Life of the token: 90d, 12h, 30m or 45s."}},
    {TOKEN_ISSUE, {"label", TW_SET_TEXT, AT(label), "", 0, 100, NULL, false, "What the token is for, for people."}},
    {BY_COMMAND,
     {"wait_s", TW_SET_INT, AT(wait_s), "30", 1, 600, NULL, false,
      "How long to wait for the worker's decision, seconds."}},
    {TOKEN_LIST | TRACE,
     {"json", TW_SET_BOOL, AT(json), "off", 0, 0, NULL, false, "A JSON array instead of a table for people."}},
    {LOG_EXPORT,
     {"to", TW_SET_TEXT, AT(to), NULL, 1, 4000, NULL, false, "Folder that the file <topic>.twlog is written to."}},
    {TRACE,
     {"from", TW_SET_TEXT, AT(from), "", 0, 40, NULL, false,
      "Only records of that time and later: 2026-11-23T10:00:00Z. Default: from the beginning."}},
    {TRACE,
     {"until", TW_SET_TEXT, AT(until), "", 0, 40, NULL, false,
      "Only records before that time. Default: to the end as it is now."}},
    {TOPICS_APPLY | LOG_IMPORT,
     {"replication", TW_SET_INT, AT(replication), "1", 1, 16, NULL, false,
      "Copies of each partition of a topic that is created."}},
    {SCHEMA | TOKENS | PING,
     {"store_timeout_ms", TW_SET_INT, AT(store_timeout_ms), "5000", 100, 60000, NULL, false,
      "A store that takes longer to answer is not reached, ms."}},
    {TOPICS | BY_COMMAND | LOGS | PING,
     {"broker_timeout_ms", TW_SET_INT, AT(broker_timeout_ms), "10000", 500, 60000, NULL, false,
      "A broker that takes longer to answer is not reached, ms."}},
};

int main(int argc, char **argv)
{
    static const struct tw_ctl_program program = {
        .name = "twctl",
        .about = "The operator's tool of tillwire.",
        .commands = commands,
        .command_count = TW_LEN(commands),
        .settings = settings_of,
        .setting_count = TW_LEN(settings_of),
    };

    return tw_ctl_program_main(&program, argc, argv);
}

/*
 * The commands of tillwire-replay, which people call as `twctl verify|rebuild|snapshot`.
 */
#include <signal.h>

#include "program.h"
#include "replay.h"

enum { VERIFY = 1, REBUILD = 2, SNAPSHOT = 4 };
enum { ALL = VERIFY | REBUILD | SNAPSHOT };
enum { LOG = VERIFY | REBUILD }; /* what folds the log */

static const struct tw_ctl_command commands[] = {
    {VERIFY, "verify", "DOMAIN",
     "Shows the SHA-256 of all that a store holds (member, product, cart or all) and where its log says otherwise. "
     "Holds the workers of the store while it reads: commands are accepted meanwhile and take effect afterwards.",
     tw_replay_verify, NULL},
    {REBUILD, "rebuild", "DOMAIN",
     "Builds the store of a domain (member, product or cart) anew from its log, beside the live one, and puts it in "
     "its place. Goes on where it was interrupted. The old store is kept.",
     tw_replay_rebuild, NULL},
    {SNAPSHOT, "snapshot", "DOMAIN",
     "Writes all that a store holds (member, product or cart) to a file, from which a rebuild can start.",
     tw_replay_snapshot, NULL},
};

#define AT(member) offsetof(struct tw_ctl_settings, member)

static const struct tw_ctl_setting settings_of[] = {
    {ALL, {"kafka", TW_SET_TEXT, AT(kafka), "127.0.0.1:9092", 1, 1024, NULL, false, "Kafka brokers, comma separated."}},
    {ALL,
     {"postgres_uri", TW_SET_TEXT, AT(postgres_uri), "", 0, 1024, NULL, true,
      "PostgreSQL of the members, with the worker's account; for the member domain."}},
    {ALL,
     {"mongo_uri", TW_SET_TEXT, AT(mongo_uri), "", 0, 1024, NULL, true,
      "MongoDB of the products; names the database; for the product domain."}},
    {ALL,
     {"redis_uri", TW_SET_TEXT, AT(redis_uri), "", 0, 4096, NULL, true,
      "Redis servers of the carts, comma separated, in the order the worker has them; for the cart domain."}},
    {ALL,
     {"id_key_file", TW_SET_TEXT, AT(id_key_file), NULL, 1, 1024, NULL, false,
      "File with the 32 bytes in hex that member ids are made with; pinned for ever."}},
    {VERIFY,
     {"against_log", TW_SET_BOOL, AT(against_log), "off", 0, 0, NULL, false,
      "Folds the log in memory and compares: names the first that differ, each with a field."}},
    {VERIFY,
     {"dump", TW_SET_TEXT, AT(dump), "", 0, 1024, NULL, false,
      "File for the canonical form itself, a line a record: what the hash is of. It holds all personal data "
      "there is."}},
    {LOG,
     {"log_folder", TW_SET_TEXT, AT(log_folder), "", 0, 1024, NULL, false,
      "Folder with exported topics (`twctl log export`) to read before the cluster's own log; verify reads a log with "
      "against_log only."}},
    {REBUILD,
     {"snapshot", TW_SET_TEXT, AT(snapshot), "", 0, 1024, NULL, false,
      "Snapshot to start from instead of the log's beginning."}},
    {REBUILD,
     {"until", TW_SET_TEXT, AT(until), "", 0, 1024, NULL, false,
      "Only up to this time (2026-11-23T10:00:00Z) or these offsets (0:120,1:98, others whole): to look at the store "
      "as it was then. It stays in the shadow; the live store is left alone."}},
    {REBUILD,
     {"shadow", TW_SET_TEXT, AT(shadow), "", 0, 63, NULL, false,
      "Where to build: name of a schema (PostgreSQL; else tillwire_shadow) or database (MongoDB; else the live one's "
      "with _shadow behind it), number of a database (Redis; else the one behind the live one's)."}},
    {REBUILD,
     {"roll_back", TW_SET_BOOL, AT(roll_back), "off", 0, 0, NULL, false,
      "Puts the store before the last rebuild back; the worker folds on from there."}},
    {REBUILD,
     {"drop", TW_SET_BOOL, AT(drop), "off", 0, 0, NULL, false,
      "Forgets the shadow, or the old store that the last rebuild kept."}},
    {REBUILD,
     {"threads", TW_SET_INT, AT(threads), "2", 1, 16, NULL, false,
      "Partitions that are folded, or read back, at the same time."}},
    {SNAPSHOT, {"output", TW_SET_TEXT, AT(output), NULL, 1, 1024, NULL, false, "File to write; must not exist."}},
    {ALL,
     {"store_timeout_ms", TW_SET_INT, AT(store_timeout_ms), "60000", 100, 60000, NULL, false,
      "A store that takes longer to answer is not reached, ms."}},
    {ALL,
     {"broker_timeout_ms", TW_SET_INT, AT(broker_timeout_ms), "10000", 500, 60000, NULL, false,
      "A broker that takes longer to answer is not reached, ms."}},
};

static void on_signal(int number)
{
    (void)number;
    atomic_store(&tw_replay_stop, true);
}

int main(int argc, char **argv)
{
    static const struct tw_ctl_program program = {
        .name = "twctl",
        .about = "Replays tillwire's logs.",
        .commands = commands,
        .command_count = TW_LEN(commands),
        .settings = settings_of,
        .setting_count = TW_LEN(settings_of),
    };
    struct sigaction stop = {.sa_handler = on_signal};

    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    return tw_ctl_program_main(&program, argc, argv);
}

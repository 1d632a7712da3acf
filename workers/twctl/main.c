/*
 * twctl: commands and the settings each takes. Adding a command: its function in ctl.h, a row in `commands`, its bit in
 * the rows of `settings_of` it needs.
 */
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "tillwire/arena.h"
#include "tillwire/log.h"
#include "tillwire/settings.h"

enum {
    TOPICS_APPLY = 1,
    TOPICS_DIFF = 2,
    SCHEMA_APPLY = 4,
    SCHEMA_DIFF = 8,
    TOKEN_ISSUE = 16,
    TOKEN_LIST = 32,
    TOKEN_REVOKE = 64,
    PING = 128,
};
enum { TOPICS = TOPICS_APPLY | TOPICS_DIFF, SCHEMA = SCHEMA_APPLY | SCHEMA_DIFF };
enum { BY_COMMAND = TOKEN_ISSUE | TOKEN_REVOKE, TOKENS = BY_COMMAND | TOKEN_LIST };
enum { ALL = TOPICS | SCHEMA | TOKENS | PING };

static const struct command {
    unsigned    bit;
    const char *name;     /* "topics apply": one word, or a group and what to do with it */
    const char *argument; /* what must stand behind the name: "JTI"; NULL: nothing */
    const char *about;
    enum tw_ctl_exit (*run)(const struct tw_ctl_settings *settings);
} commands[] = {
    {TOPICS_APPLY, "topics apply", NULL,
     "Creates topics that are missing and sets what differs from the manifest; never changes a partition count.",
     tw_ctl_topics_apply},
    {TOPICS_DIFF, "topics diff", NULL, "Shows how the cluster's topics differ from the manifest.", tw_ctl_topics_diff},
    {SCHEMA_APPLY, "schema apply", NULL, "Brings PostgreSQL and MongoDB up to date, pins the id key, and checks Redis.",
     tw_ctl_schema_apply},
    {SCHEMA_DIFF, "schema diff", NULL, "Shows what `schema apply` would do or refuse.", tw_ctl_schema_diff},
    {TOKEN_ISSUE, "token issue", NULL,
     "Issues a token with scopes to a service member and prints it. A running tillwire-member is needed.",
     tw_ctl_token_issue},
    {TOKEN_LIST, "token list", NULL, "Shows the tokens of service members: ids, scopes, ends, and what is revoked.",
     tw_ctl_token_list},
    {TOKEN_REVOKE, "token revoke", "JTI",
     "Revokes the token with that id; edges refuse it within a second. A running tillwire-member is needed.",
     tw_ctl_token_revoke},
    {PING, "ping", NULL, "Shows which servers answer.", tw_ctl_ping},
};

#define AT(member) offsetof(struct tw_ctl_settings, member)

static const struct {
    unsigned          commands; /* that take it */
    struct tw_setting row;
} settings_of[] = {
    {TOPICS | BY_COMMAND | PING,
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
    {TOKEN_LIST,
     {"json", TW_SET_BOOL, AT(json), "off", 0, 0, NULL, false, "A JSON array instead of a table for people."}},
    {TOPICS_APPLY,
     {"replication", TW_SET_INT, AT(replication), "1", 1, 16, NULL, false,
      "Copies of each partition of a topic that is created."}},
    {SCHEMA | TOKENS | PING,
     {"store_timeout_ms", TW_SET_INT, AT(store_timeout_ms), "5000", 100, 60000, NULL, false,
      "A store that takes longer to answer is not reached, ms."}},
    {TOPICS | BY_COMMAND | PING,
     {"broker_timeout_ms", TW_SET_INT, AT(broker_timeout_ms), "10000", 500, 60000, NULL, false,
      "A broker that takes longer to answer is not reached, ms."}},
};

/* The rows that any of @p bits takes. */
static void select_rows(unsigned bits, struct tw_setting ret_table[TW_LEN(settings_of) + 1])
{
    size_t count = 0;

    for (size_t i = 0; i < TW_LEN(settings_of); i++)
        if (settings_of[i].commands & bits)
            ret_table[count++] = settings_of[i].row;
    ret_table[count] = (struct tw_setting)TW_SETTING_END;
}

/* --- finding a command -------------------------------------------------------------------------------------------- */

static bool is_in_group(const struct command *command, const char *group)
{
    return strcspn(command->name, " ") == strlen(group) && strncmp(command->name, group, strlen(group)) == 0;
}

static bool is_group(const char *word)
{
    for (size_t i = 0; i < TW_LEN(commands); i++)
        if (is_in_group(&commands[i], word))
            return true;
    return false;
}

static int word_count(const struct command *command)
{
    return strchr(command->name, ' ') ? 2 : 1;
}

static bool is_called(const struct command *command, int argc, char **argv)
{
    if (argc <= word_count(command) || !is_in_group(command, argv[1]))
        return false;
    return word_count(command) == 1 || !strcmp(strchr(command->name, ' ') + 1, argv[2]);
}

static const struct command *find_command(int argc, char **argv)
{
    for (size_t i = 0; i < TW_LEN(commands); i++)
        if (is_called(&commands[i], argc, argv))
            return &commands[i];
    return NULL;
}

/* --- help --------------------------------------------------------------------------------------------------------- */

/* "token revoke JTI" */
static const char *shown_name(struct tw_arena *arena, const struct command *command)
{
    return command->argument ? tw_arena_printf(arena, "%s %s", command->name, command->argument).ptr : command->name;
}

/* The commands of a group, NULL for all, a line each. */
static struct tw_str list_commands(struct tw_arena *arena, const char *group)
{
    struct tw_str list = {0};

    for (size_t i = 0; i < TW_LEN(commands); i++)
        if (!group || is_in_group(&commands[i], group))
            list = tw_arena_printf(arena, "%.*s  twctl %-16s %s\n", TW_STR_ARG(list), shown_name(arena, &commands[i]),
                                   commands[i].about);
    return list;
}

static void show_commands(FILE *to, const char *group)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};

    fprintf(to, "%.*s", TW_STR_ARG(list_commands(&arena, group)));
}

/* All commands, and all settings any of them takes. */
static enum tw_ctl_exit show_help(char **argv)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_setting                      table[TW_LEN(settings_of) + 1];
    struct tw_str                          about =
        tw_arena_printf(&arena,
                        "The operator's tool of tillwire. `twctl COMMAND --help` shows what a command takes.\n\n%.*s\n"
                        "Ends with 0: done; 1: differences, or refused; 2: wrong usage; 3: not reached.",
                        TW_STR_ARG(list_commands(&arena, NULL)));

    select_rows(ALL, table);
    tw_settings_read(table, "twctl COMMAND", about.ptr, 2, argv, NULL, NULL);
    return TW_CTL_DONE;
}

/* --- running ------------------------------------------------------------------------------------------------------ */

static bool take_argument(const struct command *command, char **rest, struct tw_ctl_settings *settings)
{
    if (!command->argument)
        return true;
    if (!rest || !rest[0] || rest[1]) {
        fprintf(stderr, "twctl %s: needs one argument, %s; see --help\n", command->name, command->argument);
        return false;
    }
    settings->argument = rest[0];
    return true;
}

static enum tw_ctl_exit run(const struct command *command, int argc, char **argv)
{
    static struct tw_ctl_settings settings;
    struct tw_setting             table[TW_LEN(settings_of) + 1];
    char                          program[32];
    char                        **rest = NULL;
    int                           words = word_count(command);

    snprintf(program, sizeof(program), "twctl %s", command->name);
    select_rows(command->bit, table);
    switch (tw_settings_read(table, program, command->about, argc - words, argv + words, &settings,
                             command->argument ? &rest : NULL)) {
    case TW_SETTINGS_EXIT_OK:
    case TW_SETTINGS_CHECK:
        return TW_CTL_DONE;
    case TW_SETTINGS_EXIT_BAD:
        return TW_CTL_USAGE;
    case TW_SETTINGS_RUN:
        break;
    }
    return take_argument(command, rest, &settings) ? command->run(&settings) : TW_CTL_USAGE;
}

static enum tw_ctl_exit refuse(int argc, char **argv)
{
    const char *group = argc > 1 && is_group(argv[1]) ? argv[1] : NULL;

    if (argc < 2)
        fprintf(stderr, "twctl: which command?\n");
    else if (argc < 3 && group)
        fprintf(stderr, "twctl: %s what?\n", group);
    else
        fprintf(stderr, "twctl: there is no command '%s%s%s'\n", argv[1], group ? " " : "", group ? argv[2] : "");
    show_commands(stderr, group);
    return TW_CTL_USAGE;
}

/* What is not a command: --version, --help of all or of a group, or a mistake. */
static enum tw_ctl_exit tell(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "--help"))
        return show_help(argv);
    if (argc > 1 && !strcmp(argv[1], "--version")) {
        printf("twctl %s\n", TW_VERSION);
        return TW_CTL_DONE;
    }
    if (argc > 2 && is_group(argv[1]) && !strcmp(argv[2], "--help")) {
        show_commands(stdout, argv[1]);
        return TW_CTL_DONE;
    }
    return refuse(argc, argv);
}

int main(int argc, char **argv)
{
    const struct command *command = find_command(argc, argv);

    tw_log_init("twctl", TW_LOG_ERROR);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0); /* so that results and failures stand in their order in one file, too */
    if (sodium_init() < 0) {
        fprintf(stderr, "twctl: libsodium does not start\n");
        return TW_CTL_REFUSED;
    }
    return command ? (int)run(command, argc, argv) : (int)tell(argc, argv);
}

#include "program.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sodium.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tillwire/arena.h"
#include "tillwire/log.h"

static const unsigned all_commands = ~0u;

/* The rows that any of @p bits takes. */
static void select_rows(const struct tw_ctl_program *program, unsigned bits,
                        struct tw_setting ret_table[TW_CTL_SETTINGS_MAX + 1])
{
    size_t count = 0;

    for (size_t i = 0; i < program->setting_count; i++)
        if (program->settings[i].commands & bits)
            ret_table[count++] = program->settings[i].row;
    ret_table[count] = (struct tw_setting)TW_SETTING_END;
}

/* --- finding a command -------------------------------------------------------------------------------------------- */

static bool is_in_group(const struct tw_ctl_command *command, const char *group)
{
    return strcspn(command->name, " ") == strlen(group) && strncmp(command->name, group, strlen(group)) == 0;
}

static bool is_group(const struct tw_ctl_program *program, const char *word)
{
    for (size_t i = 0; i < program->command_count; i++)
        if (is_in_group(&program->commands[i], word))
            return true;
    return false;
}

static int word_count(const struct tw_ctl_command *command)
{
    return strchr(command->name, ' ') ? 2 : 1;
}

static bool is_called(const struct tw_ctl_command *command, int argc, char **argv)
{
    if (argc <= word_count(command) || !is_in_group(command, argv[1]))
        return false;
    return word_count(command) == 1 || !strcmp(strchr(command->name, ' ') + 1, argv[2]);
}

static const struct tw_ctl_command *find_command(const struct tw_ctl_program *program, int argc, char **argv)
{
    for (size_t i = 0; i < program->command_count; i++)
        if (is_called(&program->commands[i], argc, argv))
            return &program->commands[i];
    return NULL;
}

/* --- help --------------------------------------------------------------------------------------------------------- */

/* "token revoke JTI" */
static const char *shown_name(struct tw_arena *arena, const struct tw_ctl_command *command)
{
    return command->argument ? tw_arena_printf(arena, "%s %s", command->name, command->argument).ptr : command->name;
}

/* The commands of a group, NULL for all, a line each. */
static struct tw_str list_commands(const struct tw_ctl_program *program, struct tw_arena *arena, const char *group)
{
    struct tw_str list = {0};

    for (size_t i = 0; i < program->command_count; i++) {
        const struct tw_ctl_command *command = &program->commands[i];

        if (!group || is_in_group(command, group))
            list = tw_arena_printf(arena, "%.*s  %s %-18s %s\n", TW_STR_ARG(list), program->name,
                                   shown_name(arena, command), command->about);
    }
    return list;
}

static void show_commands(const struct tw_ctl_program *program, FILE *to, const char *group)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};

    fprintf(to, "%.*s", TW_STR_ARG(list_commands(program, &arena, group)));
}

/* All commands, and all settings any of them takes. */
static enum tw_ctl_exit show_help(const struct tw_ctl_program *program, char **argv)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_setting                      table[TW_CTL_SETTINGS_MAX + 1];
    struct tw_str                          usage = tw_arena_printf(&arena, "%s COMMAND", program->name);
    struct tw_str                          about =
        tw_arena_printf(&arena,
                        "%s `%s --help` shows what a command takes.\n\n%.*s\n"
                        "Ends with 0: done; 1: differences, or refused; 2: wrong usage; 3: not reached.",
                        program->about, usage.ptr, TW_STR_ARG(list_commands(program, &arena, NULL)));

    select_rows(program, all_commands, table);
    tw_settings_read(table, usage.ptr, about.ptr, 2, argv, NULL, NULL);
    return TW_CTL_DONE;
}

/* --- running ------------------------------------------------------------------------------------------------------ */

static bool take_argument(const struct tw_ctl_program *program, const struct tw_ctl_command *command, char **words,
                          struct tw_ctl_settings *settings)
{
    if (!command->argument)
        return true;
    if (words[0] ? words[1] != NULL : *command->argument != '[') { /* "[DOMAIN]" may be left out */
        fprintf(stderr, "%s %s: %s one argument, %s; see --help\n", program->name, command->name,
                words[0] ? "takes only" : "needs", command->argument);
        return false;
    }
    settings->argument = words[0];
    return true;
}

/* Of the program that stands beside this one. */
static void path_beside(const char *name, char ret_path[PATH_MAX])
{
    ssize_t len = readlink("/proc/self/exe", ret_path, PATH_MAX - 1);
    char   *slash;

    ret_path[len > 0 ? len : 0] = '\0';
    slash = strrchr(ret_path, '/');
    slash = slash ? slash + 1 : ret_path;
    snprintf(slash, PATH_MAX - (size_t)(slash - ret_path), "%s", name);
}

static volatile sig_atomic_t child; /* to whom a request to end is handed on */

static void hand_on(int number)
{
    if (child > 0)
        kill((pid_t)child, number);
}

/* It ends by a signal only before it listens to them, or by force: nothing of it has been told yet. */
static enum tw_ctl_exit exit_of(const struct tw_ctl_program *program, const char *elsewhere, int status)
{
    if (WIFEXITED(status))
        return (enum tw_ctl_exit)WEXITSTATUS(status);
    if (WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM)
        fprintf(stderr, "%s: interrupted before it began\n", program->name);
    else
        fprintf(stderr, "%s: '%s', which has this command, was ended by signal %d (%s)\n", program->name, elsewhere,
                WTERMSIG(status), strsignal(WTERMSIG(status)));
    return TW_CTL_UNREACHED;
}

/* A process of its own, not exec(): libmongoc's constructor keeps a file by the number of this one until it ends. */
static enum tw_ctl_exit run_elsewhere(const struct tw_ctl_program *program, const char *elsewhere, char **argv)
{
    struct sigaction forward = {.sa_handler = hand_on, .sa_flags = SA_RESTART};
    char             path[PATH_MAX];
    pid_t            pid;
    int              failed, status = 0;

    path_beside(elsewhere, path);
    setenv("MONGOC_DISABLE_SHM", "1", 0); /* else it may complain about files that killed processes left behind */
    failed = posix_spawn(&pid, path, NULL, NULL, argv, environ);
    if (failed) {
        fprintf(stderr, "%s: cannot start '%s', which has this command: %s\n", program->name, path, strerror(failed));
        return TW_CTL_REFUSED;
    }
    child = pid;
    sigaction(SIGTERM, &forward, NULL);
    signal(SIGINT, SIG_IGN); /* a terminal tells both */
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return exit_of(program, elsewhere, status);
}

static enum tw_ctl_exit run(const struct tw_ctl_program *program, const struct tw_ctl_command *command, int argc,
                            char **argv)
{
    static struct tw_ctl_settings settings;
    struct tw_setting             table[TW_CTL_SETTINGS_MAX + 1];
    char                          usage[64];
    struct tw_settings_rest       rest = {.name = command->argument};
    int                           words = word_count(command);

    if (command->elsewhere)
        return run_elsewhere(program, command->elsewhere, argv);
    snprintf(usage, sizeof(usage), "%s %s", program->name, command->name);
    select_rows(program, command->bit, table);
    switch (tw_settings_read(table, usage, command->about, argc - words, argv + words, &settings,
                             command->argument ? &rest : NULL)) {
    case TW_SETTINGS_EXIT_OK:
    case TW_SETTINGS_CHECK:
        return TW_CTL_DONE;
    case TW_SETTINGS_EXIT_BAD:
        return TW_CTL_USAGE;
    case TW_SETTINGS_RUN:
        break;
    }
    return take_argument(program, command, rest.words, &settings) ? command->run(&settings) : TW_CTL_USAGE;
}

static enum tw_ctl_exit refuse(const struct tw_ctl_program *program, int argc, char **argv)
{
    const char *group = argc > 1 && is_group(program, argv[1]) ? argv[1] : NULL;

    if (argc < 2)
        fprintf(stderr, "%s: which command?\n", program->name);
    else if (argc < 3 && group)
        fprintf(stderr, "%s: %s what?\n", program->name, group);
    else
        fprintf(stderr, "%s: there is no command '%s%s%s'\n", program->name, argv[1], group ? " " : "",
                group ? argv[2] : "");
    show_commands(program, stderr, group);
    return TW_CTL_USAGE;
}

/* What is not a command: --version, --help of all or of a group, or a mistake. */
static enum tw_ctl_exit tell(const struct tw_ctl_program *program, int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "--help"))
        return show_help(program, argv);
    if (argc > 1 && !strcmp(argv[1], "--version")) {
        printf("%s %s\n", program->name, TW_VERSION);
        return TW_CTL_DONE;
    }
    if (argc > 2 && is_group(program, argv[1]) && !strcmp(argv[2], "--help")) {
        show_commands(program, stdout, argv[1]);
        return TW_CTL_DONE;
    }
    return refuse(program, argc, argv);
}

int tw_ctl_program_main(const struct tw_ctl_program *program, int argc, char **argv)
{
    const struct tw_ctl_command *command = find_command(program, argc, argv);

    tw_log_init(program->name, TW_LOG_ERROR);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0); /* so that results and failures stand in their order in one file, too */
    if (sodium_init() < 0) {
        fprintf(stderr, "%s: libsodium does not start\n", program->name);
        return TW_CTL_REFUSED;
    }
    return command ? (int)run(program, command, argc, argv) : (int)tell(program, argc, argv);
}

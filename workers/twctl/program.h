/**
 * A program of several commands, as twctl is one: finds the command that is meant, reads the settings it takes, runs it;
 * tells the rest (help, version, mistakes). The commands and settings are tables of the program.
 */
#ifndef TILLWIRE_TWCTL_PROGRAM_H
#define TILLWIRE_TWCTL_PROGRAM_H

#include "ctl.h"
#include "tillwire/settings.h"

struct tw_ctl_command {
    unsigned    bit;      /**< a bit of its own */
    const char *name;     /**< "topics apply": one word, or a group and what to do with it */
    const char *argument; /**< what must stand behind the name: "JTI"; "[DOMAIN]": what may; NULL: nothing */
    const char *about;
    enum tw_ctl_exit (*run)(const struct tw_ctl_settings *settings); /**< NULL: `elsewhere` has it */
    const char *elsewhere; /**< program beside this one that has the command, with its help and settings; NULL: none */
};

struct tw_ctl_setting {
    unsigned          commands; /**< bits of those that take it */
    struct tw_setting row;      /**< a member of struct tw_ctl_settings */
};

enum { TW_CTL_SETTINGS_MAX = 64 };

struct tw_ctl_program {
    const char                  *name;  /**< in help and mistakes: "twctl" */
    const char                  *about; /**< one sentence */
    const struct tw_ctl_command *commands;
    size_t                       command_count;
    const struct tw_ctl_setting *settings;
    size_t                       setting_count; /**< at most TW_CTL_SETTINGS_MAX */
};

/** The whole of main(). */
int tw_ctl_program_main(const struct tw_ctl_program *program, int argc, char **argv);

#endif

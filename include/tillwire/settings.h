/**
 * Settings of a program: one table of rows; parsing, --help, --check, validation and documentation come from it.
 * Sources, later wins: default, file (`--config FILE`, lines `name = value`, # comments), environment (TW_ + upper-case
 * name), command line (`--name value` or `--name=value`, dashes for underscores). An empty environment value is "not set".
 *
 * Every secret can also stand in a file that only its owner may read: `name_file`, TW_NAME_FILE or `--name-file` give
 * its path. One source must not give both.
 */
#ifndef TILLWIRE_SETTINGS_H
#define TILLWIRE_SETTINGS_H

#include "tillwire/err.h"
#include "tillwire/str.h"

enum tw_setting_type {
    TW_SET_TEXT,   /**< const char * */
    TW_SET_INT,    /**< int64_t within min..max */
    TW_SET_BOOL,   /**< bool: on/off, true/false, 1/0; `--name` alone is on */
    TW_SET_CHOICE, /**< const char *, one of `choices`, separated by | */
    TW_SET_RATE,   /**< struct tw_rate: `count/seconds`, the count within min..max */
};

/** So many in so many seconds. */
struct tw_rate {
    int count;
    int window_s;
};
enum { TW_RATE_WINDOW_MAX_S = 86400 };

struct tw_setting {
    const char          *name; /**< "batch_records" */
    enum tw_setting_type type;
    size_t               offset;   /**< of the member in the program's settings struct */
    const char          *fallback; /**< default as text; NULL: must be given */
    int64_t              min, max; /**< TW_SET_INT, TW_SET_RATE: range; TW_SET_TEXT: length in bytes (max 0: 4096) */
    const char          *choices;  /**< TW_SET_CHOICE */
    bool                 secret;   /**< never printed; holds or points to a secret */
    const char          *help;     /**< a sentence, with the unit */
};

#define TW_SETTING_END \
    {                  \
        0              \
    }

enum tw_settings_result {
    TW_SETTINGS_RUN,
    TW_SETTINGS_EXIT_OK,
    TW_SETTINGS_EXIT_BAD,
    TW_SETTINGS_CHECK, /**< look at what the settings name (files, addresses) as at a start, and end */
};

/** What may stand on the command line beside settings. */
struct tw_settings_rest {
    const char *name;  /**< in --help: "DOMAIN" */
    char      **words; /**< out; NULL behind the last */
};

/**
 * Fills @p ret_settings. --help and --version print and give EXIT_OK, --check prints the values and gives CHECK; a wrong
 * or unknown setting is named with its allowed range on standard error and gives EXIT_BAD. Unknown TW_… environment
 * variables that no program of ours knows are refused too (a list of shared prefixes such as TW_FAIL is allowed).
 * Texts live as long as the process. @p about: a few lines for --help. `argv` left over after the options comes to
 * @p rest (NULL: none allowed).
 */
enum tw_settings_result tw_settings_read(const struct tw_setting *table, const char *program, const char *about,
                                         int argc, char **argv, void *ret_settings, struct tw_settings_rest *rest);

/**
 * Reads the same sources once more, for a program that runs: prints nothing, takes no notice of --check and the like.
 * INVALID: the first thing that is wrong; @p ret_settings is then of no use. Its texts live until the next call.
 * Not for two threads at once.
 */
enum tw_rc tw_settings_read_again(const struct tw_setting *table, const char *program, int argc, char **argv,
                                  void *ret_settings, struct tw_err *reterr);
/** The first row of @p table (which may begin anywhere in it) whose values differ; NULL: none. */
const struct tw_setting *tw_settings_differ(const struct tw_setting *table, const void *left, const void *right);

/** Reads a small secret file, trims white space at its end; refuses one that others may read. Free with free(). */
enum tw_rc tw_secret_read(const char *path, size_t max_bytes, char **ret_text, struct tw_err *reterr);
/** Exactly @p len bytes as hex. */
bool       tw_hex_parse(struct tw_str hex, uint8_t *ret_bytes, size_t len);
void       tw_hex_format(const uint8_t *bytes, size_t len, char *ret_text /* 2 * len + 1 */);

#endif

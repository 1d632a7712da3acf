/**
 * twctl, the operator's tool: its settings, its commands and how they end. main.c picks a command and reads its
 * settings; each command is one function. Results go to standard output, everything else to standard error.
 */
#ifndef TILLWIRE_CTL_H
#define TILLWIRE_CTL_H

#include "tillwire/err.h"
#include "tillwire/str.h"
#include "tillwire/uuid.h"

/** Only those a command asks for (main.c) are filled. */
struct tw_ctl_settings {
    const char *kafka;
    const char *postgres_uri;
    const char *mongo_uri;
    const char *redis_uri;
    const char *id_key_file;
    const char *jwt_algorithm;
    const char *jwt_keys_file;
    const char *jwt_issuer;
    const char *jwt_audience;
    const char *scope;
    const char *name;
    const char *ttl;
    const char *label;
    const char *to;
    const char *from;
    const char *until;
    const char *argument; /**< what stands behind the command's name: a token's id */
    const char *log_folder;
    const char *dump;
    const char *snapshot;
    const char *shadow;
    const char *output;
    const char *record;
    const char *reason;
    const char *key;
    const char *because;
    const char *operator_name;
    bool        each;
    bool        all;
    bool        all_open;
    bool        dry_run;
    bool        no_wait;
    int64_t     rate;
    int64_t     max_attempts;
    int64_t     max_rounds;
    bool        against_log;
    bool        roll_back;
    bool        drop;
    bool        json;
    int64_t     threads;
    int64_t     replication;
    int64_t     wait_s;
    int64_t     store_timeout_ms;
    int64_t     broker_timeout_ms;
};

/** Exit codes. A command of several parts ends with the largest of theirs. */
enum tw_ctl_exit {
    TW_CTL_DONE = 0,
    TW_CTL_REFUSED = 1,   /**< there are differences, or somebody refused */
    TW_CTL_USAGE = 2,     /**< arguments, settings or files that cannot be read */
    TW_CTL_UNREACHED = 3, /**< a server or a worker did not answer; trying again may help */
};

enum tw_ctl_exit tw_ctl_exit_of(enum tw_rc rc);
/** Says on standard error what failed, `twctl: MongoDB: …`, and gives the exit code. @p part NULL: no part. */
enum tw_ctl_exit tw_ctl_failed(const char *part, const struct tw_err *err);
/** Prints each line of @p lines behind `part: `. */
void             tw_ctl_print_lines(const char *part, struct tw_str lines);

/** The key that makes member ids. INVALID says what is wrong with the file. */
enum tw_rc tw_ctl_id_key_read(const char *path, uint8_t ret_key[TW_ID_KEY_BYTES], struct tw_err *reterr);

/* --- commands ----------------------------------------------------------------------------------------------------- */

enum tw_ctl_exit tw_ctl_topics_apply(const struct tw_ctl_settings *settings);
enum tw_ctl_exit tw_ctl_topics_diff(const struct tw_ctl_settings *settings);
enum tw_ctl_exit tw_ctl_schema_apply(const struct tw_ctl_settings *settings);
enum tw_ctl_exit tw_ctl_schema_diff(const struct tw_ctl_settings *settings);
enum tw_ctl_exit tw_ctl_token_issue(const struct tw_ctl_settings *settings);
enum tw_ctl_exit tw_ctl_token_list(const struct tw_ctl_settings *settings);
enum tw_ctl_exit tw_ctl_token_revoke(const struct tw_ctl_settings *settings);
enum tw_ctl_exit tw_ctl_log_export(const struct tw_ctl_settings *settings);
enum tw_ctl_exit tw_ctl_log_import(const struct tw_ctl_settings *settings);
enum tw_ctl_exit tw_ctl_log_check(const struct tw_ctl_settings *settings);
enum tw_ctl_exit tw_ctl_trace(const struct tw_ctl_settings *settings);
enum tw_ctl_exit tw_ctl_dlq_list(const struct tw_ctl_settings *settings);
enum tw_ctl_exit tw_ctl_dlq_show(const struct tw_ctl_settings *settings);
enum tw_ctl_exit tw_ctl_dlq_requeue(const struct tw_ctl_settings *settings);
enum tw_ctl_exit tw_ctl_dlq_drop(const struct tw_ctl_settings *settings);
enum tw_ctl_exit tw_ctl_ping(const struct tw_ctl_settings *settings);

#endif

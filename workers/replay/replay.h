/**
 * tillwire-replay: what `twctl verify`, `twctl rebuild` and `twctl snapshot` do. It reads the log and writes shadows, and
 * publishes nothing: no producer is linked into it, and no policy.
 */
#ifndef TILLWIRE_REPLAY_REPLAY_H
#define TILLWIRE_REPLAY_REPLAY_H

#include "ctl.h"
#include "fold.h"
#include "tillwire/shadow.h"

/** Sentences that are kept of differences; the others are counted. */
enum { TW_READERS_FINDINGS = 20 };

/** What comparing a store with what its readers see gives. */
struct tw_readers_check {
    struct tw_buf findings; /**< sentences, a line each; the caller frees it */
    int64_t       count;    /**< of all that differs */
    int64_t       compared; /**< aggregates */
    /** Called now and then: what holds the store still is renewed. */
    enum tw_rc (*go_on)(void *self, struct tw_err *reterr);
    void *self;
};

/** A domain with its store, as replay needs to know them. */
struct tw_replay_domain {
    const struct tw_domain *domain;
    const char             *uri_setting; /**< "postgres_uri" */
    size_t                  uri_offset;  /**< of it in struct tw_ctl_settings */
    enum tw_rc (*open_store)(const char *uri, int timeout_ms, struct tw_store *ret_store, struct tw_err *reterr);
    void (*close_store)(struct tw_store *store);
    /** Tells the store which id key its ids must be of; NULL: they do not depend on it. */
    void (*pin_id_key)(struct tw_store *store, const char *id_key_check);
    /** From now on the store is a shadow that nobody reads, and takes large batches; NULL: it makes no difference. */
    void (*bulk)(struct tw_store *store);
    /** Writes what bulk commits have left out of a partition of a shadow; once, before it is read. NULL: nothing is. */
    enum tw_rc (*complete)(struct tw_store *store, int32_t partition, struct tw_err *reterr);
    enum tw_rc (*open_shadow)(const char *live_uri, const char *name, int timeout_ms, struct tw_shadow *ret_shadow,
                              struct tw_err *reterr);
    /** Of one commit of a rebuild at most: what its memory and its store bear well; 0: as tw_fold has it. */
    size_t turn_records;
    size_t turn_bytes;
    bool   sweeps_rows; /**< the store's sweep() drops remembered commands and no aggregates; else commits drop them */
    /** Compares what the store keeps for readers with what it decides on; NULL: readers see the very same. */
    enum tw_rc (*check_readers)(struct tw_store *store, int32_t partition_count, struct tw_readers_check *check,
                                struct tw_err *reterr);
};

extern const struct tw_replay_domain tw_replay_domains[];
extern const size_t                  tw_replay_domain_count;

/** Names of all domains, for people. */
#define TW_REPLAY_DOMAINS "member, product or cart"
/** The one called @p name; NULL: none is, which has been said, with what is @p allowed. */
const struct tw_replay_domain *tw_replay_domain_find(const char *name, const char *allowed);
int32_t                        tw_replay_partition_count(const struct tw_replay_domain *domain);
/** Its store's address; NULL: the setting is missing, which has been said. */
const char *tw_replay_uri(const struct tw_replay_domain *domain, const struct tw_ctl_settings *settings);

/** Set by SIGINT and SIGTERM: end in order. */
extern atomic_bool tw_replay_stop;

/** The log that the settings name: the cluster's, or exported files and what the cluster has beyond them. */
enum tw_rc tw_replay_open_source(const struct tw_replay_domain *domain, const struct tw_ctl_settings *settings,
                                 struct tw_source *ret_source, struct tw_err *reterr);
/** A store for this domain at @p uri, pinned to the id key of the settings. */
enum tw_rc tw_replay_open_store(const struct tw_replay_domain *domain, const struct tw_ctl_settings *settings,
                                const char *uri, struct tw_store *ret_store, struct tw_err *reterr);
/** Before @p store is read as what the log says, or the log is folded as far as it says. BROKEN: nothing was ever folded
 *  into it, though its log has records; the log is asked only then. */
enum tw_rc tw_replay_check_live(const struct tw_replay_domain *domain, const struct tw_ctl_settings *settings,
                                const struct tw_store *store, struct tw_err *reterr);
/** Of every fold of this domain, but for store and source. */
enum tw_rc tw_replay_fold_config(const struct tw_replay_domain *domain, const struct tw_ctl_settings *settings,
                                 struct tw_fold *ret_fold, struct tw_err *reterr);

enum tw_ctl_exit tw_replay_verify(const struct tw_ctl_settings *settings);
enum tw_ctl_exit tw_replay_rebuild(const struct tw_ctl_settings *settings);
enum tw_ctl_exit tw_replay_snapshot(const struct tw_ctl_settings *settings);

#endif

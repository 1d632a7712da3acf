/**
 * Is a store that is to be read as the truth the one that the log's worker folds into? A name that was mistyped is an empty
 * store where servers make one for whoever asks: it agrees with every log, and is a snapshot of nothing.
 */
#ifndef TILLWIRE_REPLAY_LIVE_STORE_H
#define TILLWIRE_REPLAY_LIVE_STORE_H

#include "source.h"
#include "tillwire/store.h"

/** Was anything ever folded into it? */
enum tw_rc tw_live_store_was_folded(const struct tw_store *store, int32_t partition_count, bool *ret_was,
                                    struct tw_err *reterr);
/** Of a store into which nothing was: BROKEN when @p log has records; the sentence asks about @p uri_setting. OK: the shop
 *  has just begun. */
enum tw_rc tw_live_store_check_log(const struct tw_source *log, int32_t partition_count, const char *uri_setting,
                                   struct tw_err *reterr);

#endif

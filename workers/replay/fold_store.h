/**
 * A store in memory, for folding a log without a server: an adapter of tillwire/store.h. States are kept packed, as every
 * store keeps them. Nobody else has a handle on it, so nothing is ever fenced but a caller's mistake.
 *
 * Threads: one.
 */
#ifndef TILLWIRE_REPLAY_FOLD_STORE_H
#define TILLWIRE_REPLAY_FOLD_STORE_H

#include "tillwire/domain.h"

void tw_fold_store_open(const struct tw_domain *domain, struct tw_store *ret_store);
/** Accepts NULL and a zeroed store. */
void tw_fold_store_close(struct tw_store *store);

#endif

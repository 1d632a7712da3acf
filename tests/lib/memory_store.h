/**
 * A store in memory: the twin of the real adapters for tests of the runtime, and the smallest complete example of the
 * port. Several handles on one database stand for several workers, so zombies can be played in one process.
 *
 * The twin is strict where real stores are only fragile: a commit without a load, a turn that is swept in the middle,
 * unsorted or unchanged entities are mistakes of the caller and end the test by assert().
 *
 * workers/replay/fold_store.h is another store in memory, for folding millions of records: hash tables of one thread. This one
 * is sorted bytes, so that a backup is a copy, a dump is a walk, and several workers on it are one lock.
 *
 * Threads: handles may be on different threads, the database has a lock; one handle stays on one thread.
 */
#ifndef TILLWIRE_TESTS_MEMORY_STORE_H
#define TILLWIRE_TESTS_MEMORY_STORE_H

#include "tillwire/domain.h"

struct tw_memory_db;

/** A handle on a new, empty database, which lives until its last handle is closed. */
void                 tw_memory_store_open(const struct tw_domain *domain, struct tw_store *ret_store);
/** One more handle on the database of another: a second worker. */
void                 tw_memory_store_join(struct tw_memory_db *db, struct tw_store *ret_store);
/** Accepts a zeroed store. */
void                 tw_memory_store_close(struct tw_store *store);
/** The database behind a handle of this kind. */
struct tw_memory_db *tw_memory_store_db(const struct tw_store *store);

/* --- faults ---------------------------------------------------------------------------------------------------- */

/** The answer of the next commit or set_mark is lost, whatever it was: UNKNOWN. */
void tw_memory_lose_answer(struct tw_memory_db *db);
/** The next commit or set_mark never arrives, and its caller cannot tell: UNKNOWN. */
void tw_memory_lose_request(struct tw_memory_db *db);
/** The next @p calls of functions that can fail give @p rc and do nothing. */
void tw_memory_fail(struct tw_memory_db *db, unsigned calls, enum tw_rc rc);
/** Every commit that changes an entity of this aggregate is REFUSED from now on; nil: none is. */
void tw_memory_refuse(struct tw_memory_db *db, struct tw_uuid id);
/** All of the first three has happened, or there was none. */
bool tw_memory_faults_happened(struct tw_memory_db *db);
/** Takes back what has not happened of the first three; true when all of it had: so a test proves its fault did. */
bool tw_memory_end_faults(struct tw_memory_db *db);

/* --- backups and losses ---------------------------------------------------------------------------------------- */

/** Everything the database holds at this instant. */
struct tw_memory_image *tw_memory_take(struct tw_memory_db *db);
/** Puts the database back to @p image, which can be used again. */
void                    tw_memory_put_back(struct tw_memory_db *db, const struct tw_memory_image *image);
void                    tw_memory_image_free(struct tw_memory_image *image);
/** The database is empty, as after FLUSHALL. */
void                    tw_memory_wipe(struct tw_memory_db *db);

/** The whole content as text in one order, for comparing two folds. Outboxes and ledger rows included. */
void tw_memory_dump(struct tw_memory_db *db, struct tw_buf *out);

#endif

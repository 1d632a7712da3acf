/**
 * What the tests of the carts' store on a real Redis share: a connection of their own to the server that TW_REDIS_URI
 * names, and a worker that folds batches of one record. They EMPTY databases of that server from the named one on: never
 * name a server that others use.
 */
#ifndef TILLWIRE_TESTS_CARTS_ON_REDIS_H
#define TILLWIRE_TESTS_CARTS_ON_REDIS_H

#include <hiredis/hiredis.h>

#include "tillwire/cart_keys.h"
#include "unit.h"

enum { TIMEOUT_MS = 2000, PARTITION = 4, DATABASES = 4 };

#define DAY_MS  INT64_C(86400000)
/* A partition clock beyond any wall clock of a test run, at noon; carts changed then live until 2050. */
#define AT_MS   (INT64_C(29200) * DAY_MS + DAY_MS / 2)
#define ENDS_MS (AT_MS + 7 * DAY_MS)

#define ALICE "a11ce000-0000-8000-8000-000000000001"
#define BOB   "b0b00000-0000-8000-8000-000000000002"
#define SHIRT "51510000-0000-8000-8000-000000000003"
#define SOCKS "52520000-0000-8000-8000-000000000004"

/** main() of such a program: connects and runs all tests; 1 when no server is named, unless TW_SKIP_STORES=1. */
int on_redis(const char *program, int (*run_all)(void));

/* --- the server --------------------------------------------------------------------------------------------------- */

/** As TW_REDIS_URI names it. */
extern struct tw_redis_uri server;
/** The tests' own connection, in the named database. */
extern redisContext       *link_;

/** An address of the server, its database counted from the one that was named; one of the last four. */
const char *uri_of(int db, const char *user, const char *password);
/** The same with the server's own user. */
const char *database(int db);
/** The tests' connection goes to this database, counted likewise. */
void        use(int db);

/** Another connection to the named database, for another thread; freed with redisFree(). */
redisContext *connect_one_more(void);

/** A command that must not be refused. */
void      say(const char *format, ...);
long long ask_number(const char *format, ...);
void      assert_answer(const char *expected, const char *format, ...);
/** All keys of the database, sorted, with a blank behind each. */
void      assert_keys(const char *expected);

/* --- a worker ----------------------------------------------------------------------------------------------------- */

struct worker {
    struct tw_store store;
    struct tw_arena arena;
    int64_t         next_offset;
    struct tw_err   err;
};

struct tw_uuid id_of(const char *text);
void           open_on(struct worker *worker, const char *uris);
void           close_worker(struct worker *worker);
/** For cmocka: the databases are empty, *state is a worker on the first. */
int            setup(void **state);
int            teardown(void **state);

/** Reads the watermark. */
enum tw_rc look_in(struct worker *worker, int32_t partition);
enum tw_rc look(struct worker *worker);

/** One batch of one record. */
struct batch {
    int32_t                 partition;
    struct tw_entity        entity;
    const struct tw_entity *entities[1];
    struct tw_ledger_row    row;
    struct tw_load          load;
    struct tw_uuid          ids[1];
    int64_t                 clock_ms; /**< after the batch */
    int64_t                 row_ms;   /**< of its record; 0: the same */
};

struct batch *batch_of(struct worker *worker, const char *member);
enum tw_rc    load(struct worker *worker, struct batch *batch);
enum tw_rc    commit(struct worker *worker, struct batch *batch, struct tw_cart *after);
/** A whole turn that makes a member's cart hold @p after. */
void          fold(struct worker *worker, const char *member, struct tw_cart *after, int64_t clock_ms);
void fold_in(struct worker *worker, int32_t partition, const char *member, struct tw_cart *after, int64_t clock_ms);

/** A cart of the first @p count of shirt and socks, changed at @p at_ms. */
struct tw_cart *cart_of(struct worker *worker, const char *member, uint32_t count, int64_t at_ms);

#endif

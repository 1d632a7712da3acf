/**
 * What an adapter's test program gives to the contract suite (tests/contract/store_contract.h): a server to break, and
 * states of its domain to keep there.
 */
#ifndef TILLWIRE_TESTS_STORE_FIXTURE_H
#define TILLWIRE_TESTS_STORE_FIXTURE_H

#include "tillwire/domain.h"

/** Entity states of one domain, endless and always the same: entity @p i at its @p generation 1, 2, 3, … Where a domain
 *  has several kinds of entities, all are among the first few, and some have the id of another of another kind. */
struct tw_sample_states {
    const struct tw_domain *domain;
    bool                    has_sagas; /**< some of its commands are answered with tw_pending() */
    struct tw_key (*key)(uint32_t i);
    /** The state in @p arena. Valid for the domain, at the edges of what a field may hold, and different in every
     *  generation: texts with quotes and control characters, extreme numbers, lists that grow, shrink and vanish,
     *  optional members that come, stay, differ and go.
     *  Nothing in it ends before the year 9999. */
    void *(*make)(uint32_t i, int64_t generation, struct tw_arena *arena);
};

/** All functions end the test program when they cannot do what they promise. */
struct tw_store_fixture {
    const char                    *name;
    const char                    *variable; /**< environment variable with the server's address; NULL: needs none */
    const struct tw_sample_states *states;
    /** Once, before anything else. */
    void (*connect)(void *self, const char *uri);
    /** One more worker's handle on the same server. */
    void (*open)(void *self, struct tw_store *ret_store);
    void (*close)(void *self, struct tw_store *store);
    /** The store is empty, as after FLUSHALL; open handles are not told. */
    void (*wipe)(void *self);
    /** Remembers all the store holds, replacing what was remembered; put_back() restores it like a backup. */
    void (*take)(void *self);
    void (*put_back)(void *self);
    /** Before one call of this thread. lose_request: its first request is lost, and with it the connection;
     *  lose_commit: of a commit, the part that makes it one is lost; lose_answer: that part arrives, its answer is
     *  lost.
     *  end_fault() after the call tells whether that happened. */
    void (*lose_request)(void *self);
    void (*lose_commit)(void *self);
    void (*lose_answer)(void *self);
    bool (*end_fault)(void *self);
    /** TW_FAIL values that put a worker to sleep inside a commit, "in_commit=stop"; NULL at the end. NULL: none. */
    const char *const *stops;
    void              *self;
};

#endif

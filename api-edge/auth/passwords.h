/**
 * argon2id in a bounded pool of its own. Hashing is slow on purpose; threads of their own, few and of low priority,
 * keep it from taking the processor away from requests, and a short queue keeps a flood of logins from taking the
 * memory. A password is bytes: all of them count, none is changed, NUL is one of them.
 */
#ifndef TILLWIRE_EDGE_PASSWORDS_H
#define TILLWIRE_EDGE_PASSWORDS_H

#include "tillwire/err.h"
#include "tillwire/str.h"

struct tw_passwords;

enum { TW_PASSWORD_HASH_MAX = 128 }; /**< longest PHC text, with its NUL */

/** @p threads 0: half as many as processors that this process may use, one at least. */
struct tw_passwords *tw_passwords_new(size_t threads, size_t queue);
/** No call may be under way. Accepts NULL. */
void                 tw_passwords_free(struct tw_passwords *passwords);

/** Would the queue take one more now? In a storm a login that is going to be refused should cost nothing else. */
bool       tw_passwords_have_room(struct tw_passwords *passwords);
/** Blocks while the pool works. UNREACHED: the queue is full. */
enum tw_rc tw_passwords_hash(struct tw_passwords *passwords, struct tw_str password,
                             char ret_hash[TW_PASSWORD_HASH_MAX], struct tw_err *reterr);
/** Blocks while the pool works. @p hash NULL: there is no such account; takes as long and never matches. */
enum tw_rc tw_passwords_verify(struct tw_passwords *passwords, struct tw_str password, const char *hash,
                               bool *ret_matches, struct tw_err *reterr);

/** A hash made with smaller parameters than ours: worth making anew when its password is at hand. */
bool tw_password_hash_is_outdated(const char *hash);

/** One of the passwords everybody tries first? Case does not matter. */
bool tw_password_is_common(struct tw_str password);

#endif

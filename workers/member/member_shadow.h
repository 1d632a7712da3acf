/**
 * A second copy of the members' store: another schema of the same database. An adapter of the port tillwire/shadow.h.
 */
#ifndef TILLWIRE_MEMBER_SHADOW_H
#define TILLWIRE_MEMBER_SHADOW_H

#include "tillwire/shadow.h"

/** @p live_uri: of the members' store, whose schema is `tillwire`; as its owner. Copied. @p name: the shadow's schema,
 *  letters, digits and _; empty: `tillwire_shadow`. A swap keeps the live store in the schema of that name with `_old`
 *  in `_shadow`'s place or behind it. @p timeout_ms: of each question. Connects when it is used. INVALID: the URI cannot
 *  be read, or the name cannot be a shadow's. */
enum tw_rc tw_member_shadow_open(const char *live_uri, const char *name, int timeout_ms, struct tw_shadow *ret_shadow,
                                 struct tw_err *reterr);

#endif

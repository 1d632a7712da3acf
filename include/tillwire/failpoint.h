/**
 * Named points where tests make a crash, a hang or an error happen. Compiled in with TW_FAILPOINTS only; otherwise the
 * macro is nothing. Environment: TW_FAIL="after_commit=exit@2,in_commit=sleep:500" (action exit|stop|error|sleep:ms,
 * @ which hit, default 1; `@*` every hit). `error:SUBJECT` is meant for one subject alone.
 *
 * A mutant is a point that breaks one rule when it is set to `error`: TW_FAIL="mutant_view_twice=error@*". There is one for
 * each invariant that the judge of tests/e2e watches over, to see that it would notice. Its name begins with `mutant_`.
 */
#ifndef TILLWIRE_FAILPOINT_H
#define TILLWIRE_FAILPOINT_H

#include "tillwire/str.h"

#ifdef TW_FAILPOINTS
/** True when the point is set to `error`; does not return for `exit` (exit code 86) and, until SIGCONT, for `stop`. */
bool tw_failpoint(const char *name);
/** The same for a point of `error:SUBJECT`, which others do not hit. */
bool tw_failpoint_of(const char *name, struct tw_str subject);
#else
#define tw_failpoint(name)             false
/* Nothing is done to name the subject. */
#define tw_failpoint_of(name, subject) ((void)sizeof(subject), false)
#endif

#endif

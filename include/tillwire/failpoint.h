/**
 * Named points where tests make a crash, a hang or an error happen. Compiled in with TW_FAILPOINTS only; otherwise the
 * macro is nothing. Environment: TW_FAIL="after_commit=exit@2,in_commit=sleep:500" (action exit|stop|error|sleep:ms,
 * @ which hit, default 1; `@*` every hit).
 */
#ifndef TILLWIRE_FAILPOINT_H
#define TILLWIRE_FAILPOINT_H

#include "tillwire/base.h"

#ifdef TW_FAILPOINTS
/** True when the point is set to `error`; does not return for `exit` (exit code 86) and, until SIGCONT, for `stop`. */
bool tw_failpoint(const char *name);
#else
#define tw_failpoint(name) false
#endif

#endif

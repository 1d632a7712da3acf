/**
 * Failures of our own machinery. One row of TW_RC_MAP is a whole policy: the runtime reads the action, the edge the
 * HTTP status, logs and documentation the text. What a *domain* refuses is no failure: see tillwire/outcome.h.
 */
#ifndef TILLWIRE_ERR_H
#define TILLWIRE_ERR_H

#include "tillwire/base.h"

enum tw_action { TW_GO_ON, TW_REFUSE_RECORD, TW_RETRY, TW_REREAD, TW_BISECT, TW_STOP };

/* clang-format off */
/*    name       the runtime does   HTTP  for people                                            */
#define TW_RC_MAP(X)                                                                             \
    X(OK,        TW_GO_ON,          200, "done")                                                 \
    X(INVALID,   TW_REFUSE_RECORD,  422, "is malformed")                                         \
    X(NOT_FOUND, TW_REFUSE_RECORD,  404, "does not exist")                                       \
    X(UNREACHED, TW_RETRY,          503, "did not answer, worth retrying; nothing was written")  \
    X(UNKNOWN,   TW_REREAD,         503, "the answer was lost: read the watermark to learn what happened") \
    X(FENCED,    TW_REREAD,         503, "another worker went on")                               \
    X(REFUSED,   TW_BISECT,         500, "the store refuses something in this batch for good")   \
    X(BROKEN,    TW_STOP,           500, "an invariant is violated")
/* clang-format on */

enum tw_rc {
#define X(name, action, http, text) TW_##name,
    TW_RC_MAP(X)
#undef X
};

/** What failed, on the caller's stack; filling it never allocates. All functions accept NULL for it. */
struct tw_err {
    enum tw_rc  rc;       /**< the value the function returned */
    const char *where;    /**< static text, "cart.store.commit" */
    long        native;   /**< errno or the vendor's code, 0 when none */
    char        msg[224]; /**< one lower-case clause: what failed; never personal data */
};

const char    *tw_rc_name(enum tw_rc rc);
const char    *tw_rc_text(enum tw_rc rc);
enum tw_action tw_rc_action(enum tw_rc rc);
int            tw_rc_http(enum tw_rc rc);

/** Fills @p reterr (may be NULL) and returns @p rc, so that `return tw_fail(...)` is one line. */
enum tw_rc tw_fail(struct tw_err *reterr, enum tw_rc rc, const char *where, long native, const char *format, ...)
    TW_PRINTF(5, 6);
#ifdef __clang_analyzer__ /* which sees one file at a time, and must know that a failure is never TW_OK */
#define tw_fail(reterr, rc, ...) ((void)tw_fail((reterr), (rc), __VA_ARGS__), (rc))
#endif

#endif

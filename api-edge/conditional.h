/**
 * `ETag`, `If-None-Match` and `If-Match` (RFC 9110, 8.8.3 and 13.1). Pure.
 *
 * A tag is `"<version>.<hash>"`. Reading asks for the whole tag, so that what moves no version (a login, a view) still
 * shows. Writing asks for the version only: it goes into the command, and the worker compares it with the state.
 */
#ifndef TILLWIRE_EDGE_CONDITIONAL_H
#define TILLWIRE_EDGE_CONDITIONAL_H

#include "tillwire/str.h"

enum {
    TW_ETAG_KEY_BYTES = 16,
    TW_ETAG_TEXT = TW_INT_TEXT + 20, /**< longest tag with its quotes, and a NUL */
};

/** The tag of @p body, the representation of @p version. All edges share the key, so all give the same tag. */
void tw_etag_format(const uint8_t key[TW_ETAG_KEY_BYTES], int64_t version, struct tw_str body,
                    char ret_etag[TW_ETAG_TEXT]);

/** Does `If-None-Match: @p field` name @p etag? Weak comparison; `*` names everything. */
bool tw_etag_is_among(struct tw_str field, struct tw_str etag);

/** The version that `If-Match: @p field` asks for; -1 for `*`, which any version fits. Versions only go up, so of
 *  several tags the newest is the only one that can still fit. False: no tag of ours is in it, nothing can fit. */
bool tw_if_match_version(struct tw_str field, int64_t *ret_version);

#endif

/**
 * A bookmark: how far a reader of the event topics has come, in all of their partitions at once, as the opaque text that
 * stands in `id:` of every event of a stream. Any edge can go on from it, because it names nothing but offsets in the log.
 *
 * It is one number a partition, in the order of the topic manifest, so a stream's bookmark is some hundred characters for
 * three topics of six partitions.
 */
#ifndef TILLWIRE_EDGE_BOOKMARK_H
#define TILLWIRE_EDGE_BOOKMARK_H

#include "tillwire/str.h"

enum { TW_BOOKMARK_KEY_BYTES = 16 };

/** How many partitions the event topics have together: the length of every bookmark. */
size_t tw_bookmark_places(void);
/** The number of a partition among them; tw_bookmark_places() when it is of no event topic. */
size_t tw_bookmark_place(const char *topic, int32_t partition);

/** Appends the text of @p next: for each place the offset that is read next. base64url without padding. */
void tw_bookmark_seal(const uint8_t key[TW_BOOKMARK_KEY_BYTES], const int64_t *next, struct tw_buf *out);
/** False: not ours, or of another topic manifest; then @p ret_next is as it was. */
bool tw_bookmark_open(const uint8_t key[TW_BOOKMARK_KEY_BYTES], struct tw_str text, int64_t *ret_next);

#endif

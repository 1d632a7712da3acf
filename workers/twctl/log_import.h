/**
 * When is a record what another one is? For `log import`, and its tests. Pure.
 */
#ifndef TILLWIRE_TWCTL_LOG_IMPORT_H
#define TILLWIRE_TWCTL_LOG_IMPORT_H

#include "tillwire/envelope.h"

/** What of them is different, for people: "time", "list of headers"; NULL: nothing. Null and empty bytes are not alike;
 *  the type of a time is not looked at. */
const char *tw_ctl_record_difference(const struct tw_record *a, const struct tw_record *b);

#endif

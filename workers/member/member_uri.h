/**
 * The address of a schema: a connection URI of the members' database that says which schema of it is meant.
 */
#ifndef TILLWIRE_MEMBER_URI_H
#define TILLWIRE_MEMBER_URI_H

#include "tillwire/err.h"

/** @p uri, a URI or a line of words as libpq takes both, with all it says and the schema @p schema (letters, digits, _),
 *  which tw_pg_open() then makes the session's. The result is a URI; free it with free(). INVALID: @p uri cannot be
 *  read. */
enum tw_rc tw_member_uri_of_schema(const char *uri, const char *schema, char **ret_uri, struct tw_err *reterr);

#endif

/**
 * Files of schemas/ inside a program (library tw_embedded), so that it stands alone. Generated at build time by
 * schemas/embed.py.
 */
#ifndef TILLWIRE_EMBEDDED_H
#define TILLWIRE_EMBEDDED_H

#include <stddef.h>

struct tw_embedded_file {
    const char *name; /**< "001_fold.sql" */
    const char *text;
};

/** schemas/sql, in the order of their names. */
extern const struct tw_embedded_file tw_embedded_sql[];
extern const size_t                  tw_embedded_sql_count;
/** schemas/mongo, `products.json` first as all others are sorted behind it. */
extern const struct tw_embedded_file tw_embedded_mongo[];
extern const size_t                  tw_embedded_mongo_count;

#endif

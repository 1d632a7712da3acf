/**
 * A table for people: columns as wide as their widest cell, two spaces between them. Pure.
 */
#ifndef TILLWIRE_CTL_TABLE_H
#define TILLWIRE_CTL_TABLE_H

#include "tillwire/str.h"

/** Appends @p rows lines of @p columns cells each, row by row in @p cells (UTF-8); the first row is the heading.
 *  Control characters become `?`: a cell cannot break its line or speak to the terminal. */
void tw_ctl_table_add(struct tw_buf *out, const char *const *cells, size_t rows, size_t columns);

#endif

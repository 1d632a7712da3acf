/**
 * A log as text, as tests/data/logs keeps it (see its README.md): the command records of all partitions of a domain.
 */
#ifndef TILLWIRE_TESTS_TEXT_LOG_H
#define TILLWIRE_TESTS_TEXT_LOG_H

#include "records.h"

/** Appends the records of @p topic and @p partition, in their order, with offsets from 0. Fails the test where the file
 *  is not what it should be. */
void tw_text_log_read(const char *path, const char *topic, struct tw_test_log *log);

#endif

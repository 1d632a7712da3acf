/**
 * Offsets of a topic's partitions as the runner hands them to floors: "10,11,12", partition 0 first.
 */
#ifndef TILLWIRE_BENCH_OFFSETS_H
#define TILLWIRE_BENCH_OFFSETS_H

#include <stddef.h>
#include <stdint.h>

enum { BENCH_PARTITIONS_MAX = 1024 };

/** Returns how many there are; 0 when @p text is something else or holds too many. */
size_t bench_offsets_read(const char *text, int64_t ret_offsets[BENCH_PARTITIONS_MAX]);

#endif

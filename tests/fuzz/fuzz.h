/**
 * What the fuzzers have in common: how they fail, how an input is cut into parts, and changes of an input that keep it
 * what it is, so that it gets behind the first check (mutate_msgpack.c, mutate_json.c).
 */
#ifndef TILLWIRE_TESTS_FUZZ_H
#define TILLWIRE_TESTS_FUZZ_H

#include <stdint.h>
#include <stdlib.h>

#include "tillwire/str.h"

/* libFuzzer's. */
int    LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t len, size_t max, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t len, size_t max);

/** What a fuzzer promises. When it does not hold, the input that shows it is kept. */
#define must(holds) tw_fuzz_must((holds), #holds, __FILE__, __LINE__)
void tw_fuzz_must(bool holds, const char *what, const char *file, int line);

/** A copy of exactly these bytes, so that one read too many is found; free its ptr. */
struct tw_str tw_fuzz_own(struct tw_str bytes);
/** The front of @p rest up to the first @p end, which is taken, too; all of it when there is none. */
struct tw_str tw_fuzz_take(struct tw_str *rest, char end);
/** One byte of the front; 0 when there is none. */
uint8_t       tw_fuzz_take_byte(struct tw_str *rest);

/** A number below @p sides, which is at least 1; @p random is any number at first. */
size_t tw_fuzz_dice(uint64_t *random, size_t sides);
/** Appends @p bytes with a change by libFuzzer, which may make them longer by @p room bytes at most. */
void   tw_fuzz_add_mutated(struct tw_buf *out, struct tw_str bytes, size_t room);
/** Puts @p out in the place of the input when it fits, and frees it; else libFuzzer's own change. The new length. */
size_t tw_fuzz_replace(uint8_t *bytes, size_t len, size_t max, struct tw_buf *out);

/** Appends @p packed with one of its values changed, taken away or doubled: still one msgpack value. False: it is none,
 *  or none that can be changed so; then nothing is appended. */
bool tw_fuzz_mutate_msgpack(struct tw_str packed, uint64_t *random, struct tw_buf *out);
/** The same of a JSON text. */
bool tw_fuzz_mutate_json(struct tw_str text, uint64_t *random, struct tw_buf *out);

#endif

/**
 * What people type for a token, read into what the command holds. Pure.
 */
#ifndef TILLWIRE_CTL_TOKEN_WORDS_H
#define TILLWIRE_CTL_TOKEN_WORDS_H

#include "tillwire/arena.h"
#include "tillwire/err.h"

/** `90d`, `12h`, `30m`, `45s`: seconds, at most ten years. */
enum tw_rc tw_ctl_ttl_parse(struct tw_str text, int64_t *ret_seconds, struct tw_err *reterr);
/** `products:write,commands:read`, commas or spaces between them: the words with single spaces, each once, in their
 *  order. */
enum tw_rc tw_ctl_scope_parse(struct tw_str text, struct tw_arena *arena, struct tw_str *ret_scope,
                              struct tw_err *reterr);
/** The address of the service member: `<name>@service.tillwire.invalid`. A name is 1 to 64 of a-z 0-9 . _ - . */
enum tw_rc tw_ctl_service_email(struct tw_str name, struct tw_arena *arena, struct tw_str *ret_email,
                                struct tw_err *reterr);

#endif

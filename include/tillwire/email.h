/**
 * E-mail addresses as identities. Folding = Unicode NFC, trimmed, lower case (full case mapping), domain to ASCII by
 * IDNA 2008 (UTS 46, non-transitional). The folding version is pinned beside the data like partition counts.
 */
#ifndef TILLWIRE_EMAIL_H
#define TILLWIRE_EMAIL_H

#include "tillwire/arena.h"
#include "tillwire/err.h"

#define TW_FOLDING_VERSION 1

/** Checks a mailbox of RFC 5321 with UTF-8 allowed in both parts (RFC 6531): at most 254 bytes, local part at most 64,
 *  no comments, quoted parts or address literals; and folds it into @p arena. INVALID says what is wrong. */
enum tw_rc tw_email_fold(struct tw_str typed, struct tw_arena *arena, struct tw_str *ret_trimmed,
                         struct tw_str *ret_folded, struct tw_err *reterr);

#endif

/**
 * Which dead letters an operator means, and which of those may be requeued or dropped now. Pure.
 */
#ifndef TILLWIRE_TWCTL_DLQ_CHOICE_H
#define TILLWIRE_TWCTL_DLQ_CHOICE_H

#include "dlq_book.h"

struct tw_dlq_place {
    enum tw_domain_number domain;
    int32_t               partition;
    int64_t               first_offset;
};

/** What an operator says; texts "" and counts 0 where nothing was said. */
struct tw_dlq_wish {
    enum tw_domain_number      domain; /**< 0: all */
    const char                *reason;
    const char                *key;
    const struct tw_dlq_place *places;
    size_t                     place_count;
    int64_t max_attempts; /**< 0: a drop, which no number of attempts and no older one stands in the way of */
};

/** "member", "product" or "cart". INVALID names what was said instead. */
enum tw_rc tw_dlq_domain_parse(const char *text, enum tw_domain_number *ret_domain, struct tw_err *reterr);
/** Reads "cart/3/17". INVALID: that is no name, or of no partition there is. */
enum tw_rc tw_dlq_name_parse(struct tw_str text, struct tw_dlq_place *ret_place, struct tw_err *reterr);
/** Reads names with commas between them into @p arena. INVALID: one is none, or not of @p domain. */
enum tw_rc tw_dlq_names_parse(const char *text, enum tw_domain_number domain, struct tw_arena *arena,
                              struct tw_dlq_wish *wish, struct tw_err *reterr);
/** INVALID: @p reason is none that this program knows; the sentence lists them. */
enum tw_rc tw_dlq_reason_check(const char *reason, struct tw_err *reterr);

/** Is it one of those that are meant by domain, reason and key? */
bool   tw_dlq_is_meant(const struct tw_dlq_wish *wish, const struct tw_dlq_letter *letter);
/** Gives what is meant, of open ones or by name, the fate CHOSEN, or REFUSED with the reason. Returns how many are
 *  chosen. The book must be linked. */
size_t tw_dlq_choose(struct tw_dlq_book *book, const struct tw_dlq_wish *wish);
/** Chooses what waits behind those that were requeued before. Where one failed again, what is behind it is left alone. */
size_t tw_dlq_choose_behind(struct tw_dlq_book *book, int64_t max_attempts);
/** Open ones that wait behind what was chosen or requeued, but are not chosen themselves. */
size_t tw_dlq_left_behind(const struct tw_dlq_book *book);

#endif

/**
 * Reads dead-letter topics into a book, and goes on later where it stopped. One thread.
 */
#ifndef TILLWIRE_TWCTL_DLQ_LOG_H
#define TILLWIRE_TWCTL_DLQ_LOG_H

#include <signal.h>

#include "ctl.h"
#include "dlq_book.h"
#include "tillwire/kafka.h"

/** Set by SIGINT and SIGTERM once something may be written: end in order, and tell what became of it. */
extern volatile sig_atomic_t tw_dlq_stop;
/** UNREACHED when it is. */
enum tw_rc                   tw_dlq_go_on(struct tw_err *reterr);

/** Is given every record that is read. */
typedef void (*tw_dlq_record_fn)(void *self, const struct tw_topic *topic, const struct tw_record *record);

struct tw_dlq_log {
    const struct tw_ctl_settings *settings;
    struct tw_reader             *reader;
    struct tw_dlq_book            book;
    int64_t                      *read_to[TW_DOMAIN_CART + 1]; /**< by domain and partition: next offset to read */
    tw_dlq_record_fn              fn;                          /**< may be NULL; set it before reading */
    void                         *self;
};

enum tw_rc tw_dlq_log_open(const struct tw_ctl_settings *settings, struct tw_dlq_log *ret_log, struct tw_err *reterr);
/** All that is there now, of @p domain or (0) of all, and links the book. */
enum tw_rc tw_dlq_log_read(struct tw_dlq_log *log, enum tw_domain_number domain, struct tw_err *reterr);
/** Of one partition. */
enum tw_rc tw_dlq_log_read_partition(struct tw_dlq_log *log, enum tw_domain_number domain, int32_t partition,
                                     struct tw_err *reterr);
/** For TW_AUTO. */
void       tw_dlq_log_close(struct tw_dlq_log *log);

#endif

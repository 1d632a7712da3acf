/**
 * What the Kafka files of lib/ share: configuration, error mapping, records from messages. Private to lib/ and
 * workers/runtime, because it shows librdkafka's types.
 */
#ifndef TILLWIRE_KAFKA_COMMON_H
#define TILLWIRE_KAFKA_COMMON_H

#include <librdkafka/rdkafka.h>

#include "tillwire/envelope.h"
#include "tillwire/err.h"

struct tw_kafka_option {
    const char *name;
    const char *value;
};

/**
 * A configuration with what all our clients share (no auto-creation, no Nagle, logs through tw_log) and @p options.
 * @p brokers: "host:port,host:port", optionally followed by `?name=value&name=value`: librdkafka's own settings, for
 * TLS and SASL. The caller owns it until rd_kafka_new() succeeds.
 */
enum tw_rc tw_kafka_conf(const char *brokers, const char *client_id, const struct tw_kafka_option *options,
                         size_t option_count, rd_kafka_conf_t **ret_conf, struct tw_err *reterr);
/** rd_kafka_new() that takes the configuration in any case. */
enum tw_rc tw_kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **ret_rk, struct tw_err *reterr);

/** UNREACHED for what passes by itself, BROKEN for the rest; the message ends with librdkafka's words. */
enum tw_rc tw_kafka_fail(struct tw_err *reterr, const char *where, rd_kafka_resp_err_t error, const char *subject);

enum { TW_KAFKA_HEADERS_MAX = TW_HEADERS_MAX };
/** Views into @p message; headers beyond TW_KAFKA_HEADERS_MAX are left out (such a record is refused by its envelope). */
void tw_kafka_record(const rd_kafka_message_t *message, struct tw_header headers[TW_KAFKA_HEADERS_MAX],
                     struct tw_record *ret_record);

/** The same with room for @p max headers. */
void   tw_kafka_record_of(const rd_kafka_message_t *message, struct tw_header *headers, size_t max,
                          struct tw_record *ret_record);
size_t tw_kafka_header_count(const rd_kafka_message_t *message);

/** Counts brokers in state UP in librdkafka's statistics JSON. */
int     tw_kafka_brokers_up(const char *statistics_json);
/** From the same: since when nothing has come from a broker in state UP, of the one that was heard last; 0 when none is, or
 *  it has not said anything yet. */
int64_t tw_kafka_silent_us(const char *statistics_json);

#endif

#include "kafka_common.h"

#include <stdlib.h>
#include <string.h>

#include "tillwire/arena.h"
#include "tillwire/kafka.h"
#include "tillwire/log.h"

static void log_line(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk;
    /* Connection trouble is told once, by who waits for it; librdkafka repeats it for every broker and attempt. */
    tw_log(level <= 3 ? TW_LOG_INFO : TW_LOG_DEBUG, "librdkafka", TW_F_TEXT("facility", facility),
           TW_F_TEXT("text", text));
}

static enum tw_rc set(rd_kafka_conf_t *conf, const char *name, const char *value, struct tw_err *reterr)
{
    char text[160];

    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) == RD_KAFKA_CONF_OK)
        return TW_OK;
    return tw_fail(reterr, TW_BROKEN, "kafka.conf", 0, "setting '%s': %s", name, text);
}

static enum tw_rc set_extra(rd_kafka_conf_t *conf, char *query, struct tw_err *reterr)
{
    char         *rest = query;
    char         *pair;
    struct tw_err err;

    while ((pair = strsep(&rest, "&"))) {
        char *value = strchr(pair, '=');

        if (!value)
            return tw_fail(reterr, TW_INVALID, "kafka.conf", 0, "kafka: '%s' behind the brokers is not name=value",
                           pair);
        *value++ = '\0';
        if (set(conf, pair, value, &err) != TW_OK)
            return tw_fail(reterr, TW_INVALID, err.where, 0, "kafka: %s", err.msg);
    }
    return TW_OK;
}

static void free_text(char **text)
{
    free(*text);
}

enum tw_rc tw_kafka_conf(const char *brokers, const char *client_id, const struct tw_kafka_option *options,
                         size_t option_count, rd_kafka_conf_t **ret_conf, struct tw_err *reterr)
{
    static const struct tw_kafka_option shared[] = {
        {"allow.auto.create.topics", "false"},
        {"socket.nagle.disable", "true"},
        {"socket.keepalive.enable", "true"},
        {"reconnect.backoff.ms", "100"},
        {"reconnect.backoff.max.ms", "2000"},
        {"log.connection.close", "false"},
        {"topic.metadata.refresh.interval.ms", "60000"},
    };
    TW_AUTO(free_text) char *servers = tw_strdup(brokers);
    char                    *query = strchr(servers, '?');
    rd_kafka_conf_t         *conf = rd_kafka_conf_new();
    enum tw_rc               rc;

    if (query)
        *query++ = '\0';
    rd_kafka_conf_set_log_cb(conf, log_line);
    rc = set(conf, "bootstrap.servers", servers, reterr);
    if (rc == TW_OK)
        rc = set(conf, "client.id", client_id, reterr);
    for (size_t i = 0; rc == TW_OK && i < TW_LEN(shared); i++)
        rc = set(conf, shared[i].name, shared[i].value, reterr);
    for (size_t i = 0; rc == TW_OK && i < option_count; i++)
        rc = set(conf, options[i].name, options[i].value, reterr);
    if (rc == TW_OK && query)
        rc = set_extra(conf, query, reterr);
    if (rc != TW_OK) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    *ret_conf = conf;
    return TW_OK;
}

enum tw_rc tw_kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **ret_rk, struct tw_err *reterr)
{
    char        text[160];
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof(text));

    if (!rk) {
        rd_kafka_conf_destroy(conf);
        return tw_fail(reterr, TW_BROKEN, "kafka.new", 0, "librdkafka: %s", text);
    }
    *ret_rk = rk;
    return TW_OK;
}

static bool passes_by_itself(rd_kafka_resp_err_t error)
{
    switch (error) {
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__RETRY:
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
    case RD_KAFKA_RESP_ERR__STATE:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: /* metadata may lag behind a start */
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_PREFERRED_LEADER_NOT_AVAILABLE:
        return true;
    default:
        return false;
    }
}

enum tw_rc tw_kafka_fail(struct tw_err *reterr, const char *where, rd_kafka_resp_err_t error, const char *subject)
{
    return tw_fail(reterr, passes_by_itself(error) ? TW_UNREACHED : TW_BROKEN, where, error, "%s: %s", subject,
                   rd_kafka_err2str(error));
}

size_t tw_kafka_header_count(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *list;

    return rd_kafka_message_headers(message, &list) == RD_KAFKA_RESP_ERR_NO_ERROR ? rd_kafka_header_cnt(list) : 0;
}

static size_t take_headers(const rd_kafka_message_t *message, struct tw_header *headers, size_t max)
{
    rd_kafka_headers_t *list;
    const char         *name;
    const void         *value;
    size_t              size;
    size_t              count = 0;

    if (rd_kafka_message_headers(message, &list) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    while (count < max && rd_kafka_header_get_all(list, count, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        headers[count].name = tw_str_of(name);
        headers[count].value = (struct tw_str){value, value ? size : 0};
        count++;
    }
    return count;
}

static enum tw_time_type time_type_of(rd_kafka_timestamp_type_t type)
{
    switch (type) {
    case RD_KAFKA_TIMESTAMP_CREATE_TIME:
        return TW_TIME_CREATE;
    case RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME:
        return TW_TIME_LOG_APPEND;
    default:
        return TW_TIME_UNKNOWN;
    }
}

void tw_kafka_record_of(const rd_kafka_message_t *message, struct tw_header *headers, size_t max,
                        struct tw_record *ret_record)
{
    rd_kafka_timestamp_type_t type;

    *ret_record = (struct tw_record){
        .partition = message->partition,
        .offset = message->offset,
        .timestamp_ms = rd_kafka_message_timestamp(message, &type),
        .key = {message->key, message->key_len},
        .value = {message->payload, message->len},
        .headers = headers,
        .header_count = take_headers(message, headers, max),
    };
    ret_record->time_type = time_type_of(type);
}

void tw_kafka_record(const rd_kafka_message_t *message, struct tw_header headers[TW_KAFKA_HEADERS_MAX],
                     struct tw_record *ret_record)
{
    tw_kafka_record_of(message, headers, TW_KAFKA_HEADERS_MAX, ret_record);
}

int tw_kafka_brokers_up(const char *statistics_json)
{
    static const char up[] = "\"state\":\"UP\"";
    int               count = 0;

    for (const char *at = statistics_json; (at = strstr(at, up)); at += sizeof(up) - 1)
        count++;
    return count;
}

/* A broker's state stands before its idle time, and both before the next broker's. */
int64_t tw_kafka_silent_us(const char *statistics_json)
{
    static const char up[] = "\"state\":\"UP\"";
    static const char idle[] = "\"rxidle\":";
    int64_t           least = INT64_MAX;

    for (const char *at = statistics_json; (at = strstr(at, up)); at += sizeof(up) - 1) {
        const char *found = strstr(at, idle);
        int64_t     idle_us = found ? strtoll(found + sizeof(idle) - 1, NULL, 10) : -1;

        if (idle_us < least)
            least = idle_us;
    }
    return least == INT64_MAX || least < 0 ? 0 : least;
}

enum tw_rc tw_kafka_check(const char *brokers, struct tw_err *reterr)
{
    rd_kafka_conf_t *conf = NULL;

    TW_TRY(tw_kafka_conf(brokers, "check", NULL, 0, &conf, reterr));
    rd_kafka_conf_destroy(conf);
    return TW_OK;
}

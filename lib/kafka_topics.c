/*
 * The cluster's topics against the manifest, by librdkafka's admin interface. Each question is one request and one event
 * on a queue of its own.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kafka_common.h"
#include "tillwire/clock.h"
#include "tillwire/gen/topics.h"
#include "tillwire/kafka.h"
#include "tillwire/pulse.h"

struct admin {
    struct tw_str     brokers; /* their addresses, without options */
    rd_kafka_t       *rk;
    rd_kafka_queue_t *queue;
    int               timeout_ms;
};

static void close_admin(struct admin *admin)
{
    if (admin->queue)
        rd_kafka_queue_destroy(admin->queue);
    if (admin->rk)
        rd_kafka_destroy(admin->rk);
}

static enum tw_rc open_admin(const char *brokers, int timeout_ms, struct admin *ret_admin, struct tw_err *reterr)
{
    rd_kafka_conf_t *conf;

    TW_TRY(tw_kafka_conf(brokers, "tillwire-topics", NULL, 0, &conf, reterr));
    TW_TRY(tw_kafka_new(RD_KAFKA_PRODUCER, conf, &ret_admin->rk, reterr));
    ret_admin->brokers = (struct tw_str){brokers, strcspn(brokers, "?")};
    ret_admin->queue = rd_kafka_queue_new(ret_admin->rk);
    ret_admin->timeout_ms = timeout_ms;
    return TW_OK;
}

static rd_kafka_AdminOptions_t *make_options(struct admin *admin, rd_kafka_admin_op_t operation)
{
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(admin->rk, operation);
    char                     text[128];

    rd_kafka_AdminOptions_set_request_timeout(options, admin->timeout_ms, text, sizeof(text));
    return options;
}

static void destroy_event(rd_kafka_event_t **event)
{
    if (*event)
        rd_kafka_event_destroy(*event);
}

/* Whoever mistyped an address sees it. */
static enum tw_rc fail_asking(const struct admin *admin, rd_kafka_resp_err_t error, const char *what,
                              struct tw_err *reterr)
{
    char subject[160];

    snprintf(subject, sizeof(subject), "asking the brokers %.*s %s",
             admin->brokers.len < 100 ? (int)admin->brokers.len : 100, admin->brokers.ptr, what);
    return tw_kafka_fail(reterr, "topics", error, subject);
}

/* Waits for the answer to one request. */
static enum tw_rc take_answer(struct admin *admin, const char *what, rd_kafka_event_t **ret_event,
                              struct tw_err *reterr)
{
    rd_kafka_event_t   *event;
    rd_kafka_resp_err_t error;

    tw_pulse("asking the broker for a topic's settings");
    event = rd_kafka_queue_poll(admin->queue, admin->timeout_ms + 1000);
    error = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (error) {
        destroy_event(&event);
        return fail_asking(admin, error, what, reterr);
    }
    *ret_event = event;
    return TW_OK;
}

/* --- what there is ----------------------------------------------------------------------------------------------- */

/* A topic that was just made shows errors and partitions without a leader for a moment: that passes by itself. */
static rd_kafka_resp_err_t error_of(const rd_kafka_metadata_topic_t *topic)
{
    if (topic->err)
        return topic->err;
    for (int i = 0; i < topic->partition_cnt; i++)
        if (topic->partitions[i].leader < 0)
            return RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* 0 partitions: there is no such topic. */
static enum tw_rc count_partitions(struct admin *admin, const char *topic, int *ret_count, struct tw_err *reterr)
{
    const rd_kafka_metadata_t *metadata;
    rd_kafka_topic_t          *handle = rd_kafka_topic_new(admin->rk, topic, NULL);
    rd_kafka_resp_err_t        error;

    tw_pulse("asking the broker for a topic");
    error = rd_kafka_metadata(admin->rk, 0, handle, &metadata, admin->timeout_ms);
    rd_kafka_topic_destroy(handle);
    if (error)
        return fail_asking(admin, error, "for topics", reterr);
    error = metadata->topic_cnt == 1 ? error_of(&metadata->topics[0]) : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    *ret_count = error ? 0 : metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    return !error || error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ? TW_OK
                                                                      : tw_kafka_fail(reterr, "topics", error, topic);
}

static enum tw_rc describe(struct admin *admin, const char *topic, rd_kafka_event_t **ret_event, struct tw_err *reterr)
{
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_AdminOptions_t   *options = make_options(admin, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);

    rd_kafka_DescribeConfigs(admin->rk, &resource, 1, options, admin->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy(resource);
    return take_answer(admin, "to describe topics", ret_event, reterr);
}

/* The value of one setting in a description; NULL: it has none. */
static const char *described_value(rd_kafka_event_t *event, const char *name)
{
    const rd_kafka_DescribeConfigs_result_t *result = rd_kafka_event_DescribeConfigs_result(event);
    const rd_kafka_ConfigResource_t        **resources;
    const rd_kafka_ConfigEntry_t           **entries;
    size_t                                   resource_count, entry_count;

    resources = rd_kafka_DescribeConfigs_result_resources(result, &resource_count);
    if (resource_count != 1 || rd_kafka_ConfigResource_error(resources[0]))
        return NULL;
    entries = rd_kafka_ConfigResource_configs(resources[0], &entry_count);
    for (size_t i = 0; i < entry_count; i++)
        if (!strcmp(rd_kafka_ConfigEntry_name(entries[i]), name))
            return rd_kafka_ConfigEntry_value(entries[i]);
    return NULL;
}

static enum tw_rc diff_settings(struct admin *admin, const struct tw_topic *topic, struct tw_buf *ret_differences,
                                struct tw_err *reterr)
{
    TW_AUTO(destroy_event) rd_kafka_event_t *event = NULL;

    TW_TRY(describe(admin, topic->name, &event, reterr));
    for (size_t i = 0; i < topic->config_count; i++) {
        const struct tw_topic_config *config = &topic->configs[i];
        const char                   *value = described_value(event, config->name);

        if (!value || strcmp(value, config->value) != 0)
            tw_buf_printf(ret_differences, "topic '%s': %s is %s, the manifest says %s\n", topic->name, config->name,
                          value ? value : "unset", config->value);
    }
    return TW_OK;
}

static enum tw_rc diff_topic(struct admin *admin, const struct tw_topic *topic, struct tw_buf *ret_differences,
                             struct tw_err *reterr)
{
    int partitions;

    TW_TRY(count_partitions(admin, topic->name, &partitions, reterr));
    if (!partitions) {
        tw_buf_printf(ret_differences, "topic '%s' is missing\n", topic->name);
        return TW_OK;
    }
    if (partitions != topic->partitions)
        tw_buf_printf(ret_differences, "topic '%s' has %d partitions, the manifest says %" PRId32 "\n", topic->name,
                      partitions, topic->partitions);
    return diff_settings(admin, topic, ret_differences, reterr);
}

static bool is_of_domain(const struct tw_topic *topic, const char *domain)
{
    size_t len = domain ? strlen(domain) : 0;

    return !domain || (!strncmp(topic->name, domain, len) && topic->name[len] == '.');
}

enum tw_rc tw_topics_diff(const char *brokers, const char *domain, int timeout_ms, struct tw_buf *ret_differences,
                          struct tw_err *reterr)
{
    TW_AUTO(close_admin) struct admin admin = {0};

    TW_TRY(open_admin(brokers, timeout_ms, &admin, reterr));
    for (size_t i = 0; i < tw_topic_count; i++)
        if (is_of_domain(&tw_topics[i], domain))
            TW_TRY(diff_topic(&admin, &tw_topics[i], ret_differences, reterr));
    return TW_OK;
}

/* --- making it so ------------------------------------------------------------------------------------------------ */

static enum tw_rc check_created(rd_kafka_event_t *event, const char *topic, struct tw_err *reterr)
{
    const rd_kafka_CreateTopics_result_t *result = rd_kafka_event_CreateTopics_result(event);
    size_t                                count;
    const rd_kafka_topic_result_t       **topics = rd_kafka_CreateTopics_result_topics(result, &count);
    rd_kafka_resp_err_t error = count == 1 ? rd_kafka_topic_result_error(topics[0]) : RD_KAFKA_RESP_ERR__FAIL;

    if (error && error != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) /* somebody else made it just now */
        return tw_fail(reterr, TW_BROKEN, "topics", error, "cannot create topic '%s': %s", topic,
                       count == 1 ? rd_kafka_topic_result_error_string(topics[0]) : "no answer");
    return TW_OK;
}

static enum tw_rc create(struct admin *admin, const struct tw_topic *topic, int replication, struct tw_err *reterr)
{
    TW_AUTO(destroy_event) rd_kafka_event_t *event = NULL;
    rd_kafka_AdminOptions_t                 *options = make_options(admin, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    char                                     text[160];
    rd_kafka_NewTopic_t *fresh = rd_kafka_NewTopic_new(topic->name, topic->partitions, replication, text, sizeof(text));

    if (!fresh) {
        rd_kafka_AdminOptions_destroy(options);
        return tw_fail(reterr, TW_BROKEN, "topics", 0, "topic '%s': %s", topic->name, text);
    }
    for (size_t i = 0; i < topic->config_count; i++)
        rd_kafka_NewTopic_set_config(fresh, topic->configs[i].name, topic->configs[i].value);
    rd_kafka_CreateTopics(admin->rk, &fresh, 1, options, admin->queue);
    rd_kafka_NewTopic_destroy(fresh);
    rd_kafka_AdminOptions_destroy(options);
    TW_TRY(take_answer(admin, "to create topics", &event, reterr));
    return check_created(event, topic->name, reterr);
}

/* AlterConfigs replaces all settings of a topic, so all that the manifest names go along. */
static enum tw_rc alter(struct admin *admin, const struct tw_topic *topic, struct tw_err *reterr)
{
    TW_AUTO(destroy_event) rd_kafka_event_t *event = NULL;
    rd_kafka_ConfigResource_t        *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic->name);
    rd_kafka_AdminOptions_t          *options = make_options(admin, RD_KAFKA_ADMIN_OP_ALTERCONFIGS);
    const rd_kafka_ConfigResource_t **answers;
    size_t                            count;

    for (size_t i = 0; i < topic->config_count; i++)
        rd_kafka_ConfigResource_set_config(resource, topic->configs[i].name, topic->configs[i].value);
    rd_kafka_AlterConfigs(admin->rk, &resource, 1, options, admin->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy(resource);
    TW_TRY(take_answer(admin, "to set topics", &event, reterr));
    answers = rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(event), &count);
    if (count != 1 || rd_kafka_ConfigResource_error(answers[0]))
        return tw_fail(reterr, TW_BROKEN, "topics", 0, "cannot set topic '%s': %s", topic->name,
                       count == 1 ? rd_kafka_ConfigResource_error_string(answers[0]) : "no answer");
    return TW_OK;
}

/* Whoever is started next finds the topic: the broker's answer to its creation comes before its metadata. */
static enum tw_rc wait_until_there(struct admin *admin, const struct tw_topic *topic, struct tw_err *reterr)
{
    const struct timespec pause = {0, 50 * 1000000L};
    int64_t               deadline_us = tw_monotonic_us() + (int64_t)admin->timeout_ms * 1000;

    while (tw_monotonic_us() < deadline_us) {
        int partitions = 0;

        if (count_partitions(admin, topic->name, &partitions, NULL) == TW_OK && partitions)
            return TW_OK;
        nanosleep(&pause, NULL);
    }
    return tw_fail(reterr, TW_UNREACHED, "topics", 0, "topic '%s' was created but has no leaders after %d ms",
                   topic->name, admin->timeout_ms);
}

static enum tw_rc other_count(const struct tw_topic *topic, int partitions, struct tw_err *reterr)
{
    return tw_fail(reterr, TW_BROKEN, "topics", 0,
                   "topic '%s' has %d partitions, the manifest says %" PRId32
                   ": partition counts are part of the data and are never changed",
                   topic->name, partitions, topic->partitions);
}

static enum tw_rc apply_topic(struct admin *admin, const struct tw_topic *topic, int replication,
                              struct tw_buf *ret_log, struct tw_err *reterr)
{
    TW_AUTO(tw_buf_done) struct tw_buf differences = {0};
    int                                partitions = 0;

    TW_TRY(count_partitions(admin, topic->name, &partitions, reterr));
    if (!partitions) {
        TW_TRY(create(admin, topic, replication, reterr));
        tw_buf_printf(ret_log, "created '%s' with %" PRId32 " partitions\n", topic->name, topic->partitions);
        return TW_OK;
    }
    if (partitions != topic->partitions)
        return other_count(topic, partitions, reterr);
    TW_TRY(diff_settings(admin, topic, &differences, reterr));
    if (!differences.len)
        return TW_OK;
    TW_TRY(alter(admin, topic, reterr));
    tw_buf_printf(ret_log, "changed the settings of '%s'\n", topic->name);
    return TW_OK;
}

enum tw_rc tw_topics_apply(const char *brokers, int replication, int timeout_ms, struct tw_buf *ret_log,
                           struct tw_err *reterr)
{
    TW_AUTO(close_admin) struct admin admin = {0};

    TW_TRY(open_admin(brokers, timeout_ms, &admin, reterr));
    for (size_t i = 0; i < tw_topic_count; i++)
        TW_TRY(apply_topic(&admin, &tw_topics[i], replication, ret_log, reterr));
    for (size_t i = 0; i < tw_topic_count; i++)
        TW_TRY(wait_until_there(&admin, &tw_topics[i], reterr));
    return TW_OK;
}

/* --- one topic, for exporting and importing ---------------------------------------------------------------------- */

enum tw_rc tw_topic_count_partitions(const char *brokers, const char *topic, int timeout_ms, int *ret_count,
                                     struct tw_err *reterr)
{
    TW_AUTO(close_admin) struct admin admin = {0};

    TW_TRY(open_admin(brokers, timeout_ms, &admin, reterr));
    return count_partitions(&admin, topic, ret_count, reterr);
}

/* What an import needs otherwise than the manifest has it: the broker's clock would overwrite the times of the records,
 * and old ones would go before the import ends. */
static const struct tw_topic_config for_import[] = {{"message.timestamp.type", "CreateTime"}, {"retention.ms", "-1"}};

enum { CONFIGS_MAX = 32 };

static struct tw_topic importing(const struct tw_topic *topic, struct tw_topic_config configs[CONFIGS_MAX])
{
    struct tw_topic changed = *topic;

    assert(topic->config_count <= CONFIGS_MAX);
    memcpy(configs, topic->configs, topic->config_count * sizeof(*configs));
    for (size_t i = 0; i < topic->config_count; i++)
        for (size_t j = 0; j < TW_LEN(for_import); j++)
            if (!strcmp(configs[i].name, for_import[j].name))
                configs[i] = for_import[j];
    changed.configs = configs;
    return changed;
}

/* The answer to a change comes before the brokers go by it. */
static enum tw_rc settle(struct admin *admin, const struct tw_topic *topic, struct tw_err *reterr)
{
    const struct timespec pause = {0, 50 * 1000000L};
    int64_t               deadline_us = tw_monotonic_us() + (int64_t)admin->timeout_ms * 1000;

    for (;;) {
        TW_AUTO(tw_buf_done) struct tw_buf differences = {0};

        TW_TRY(diff_settings(admin, topic, &differences, reterr));
        if (!differences.len)
            break;
        if (tw_monotonic_us() > deadline_us)
            return tw_fail(reterr, TW_UNREACHED, "topics", 0, "topic '%s' does not go by its new settings after %d ms",
                           topic->name, admin->timeout_ms);
        nanosleep(&pause, NULL);
    }
    return TW_OK;
}

static enum tw_rc set_existing(struct admin *admin, const struct tw_topic *topic, struct tw_err *reterr)
{
    TW_AUTO(tw_buf_done) struct tw_buf differences = {0};

    TW_TRY(diff_settings(admin, topic, &differences, reterr));
    if (!differences.len)
        return TW_OK;
    TW_TRY(alter(admin, topic, reterr));
    return settle(admin, topic, reterr);
}

enum tw_rc tw_topic_prepare_import(const char *brokers, const struct tw_topic *topic, int replication, int timeout_ms,
                                   struct tw_err *reterr)
{
    TW_AUTO(close_admin) struct admin admin = {0};
    struct tw_topic_config            configs[CONFIGS_MAX];
    struct tw_topic                   changed = importing(topic, configs);
    const struct timespec             moment = {1, 0};
    int                               partitions = 0;

    TW_TRY(open_admin(brokers, timeout_ms, &admin, reterr));
    TW_TRY(count_partitions(&admin, topic->name, &partitions, reterr));
    if (!partitions) {
        TW_TRY(create(&admin, &changed, replication, reterr));
        TW_TRY(wait_until_there(&admin, topic, reterr));
        TW_TRY(
            count_partitions(&admin, topic->name, &partitions, reterr)); /* somebody else may have made it just now */
    }
    if (partitions != topic->partitions)
        return other_count(topic, partitions, reterr);
    TW_TRY(set_existing(&admin, &changed, reterr));
    nanosleep(&moment, NULL); /* brokers tell of a change before they go by it; a record that came too early would have
                                 the wrong time for ever */
    return TW_OK;
}

enum tw_rc tw_topic_restore(const char *brokers, const struct tw_topic *topic, int timeout_ms, struct tw_err *reterr)
{
    TW_AUTO(close_admin) struct admin admin = {0};

    TW_TRY(open_admin(brokers, timeout_ms, &admin, reterr));
    return set_existing(&admin, topic, reterr);
}

enum tw_rc tw_cluster_id(const char *brokers, int timeout_ms, char ret_id[TW_CLUSTER_ID_MAX + 1], struct tw_err *reterr)
{
    TW_AUTO(close_admin) struct admin admin = {0};
    char                             *id;

    TW_TRY(open_admin(brokers, timeout_ms, &admin, reterr));
    id = rd_kafka_clusterid(admin.rk, timeout_ms);
    snprintf(ret_id, TW_CLUSTER_ID_MAX + 1, "%s", id ? id : "");
    if (id)
        rd_kafka_mem_free(admin.rk, id);
    return TW_OK;
}

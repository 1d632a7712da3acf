/**
 * What a consumer with a group and one without share: being assigned partitions, and leaving even where their topics are
 * gone. Private to lib/ and workers/runtime, because it shows librdkafka's types.
 *
 * rd_kafka_destroy() of librdkafka before 2.1.0 waits for ever when a topic was deleted that partitions had been assigned
 * of: the fetch queue of a partition still holds a note that refers to the partition, which is no longer found by name. So
 * the queues are held from the assignment on, and emptied between rd_kafka_consumer_close() and rd_kafka_destroy().
 *
 * Threads: that of its consumer.
 */
#ifndef TILLWIRE_KAFKA_ASSIGNMENT_H
#define TILLWIRE_KAFKA_ASSIGNMENT_H

#include <librdkafka/rdkafka.h>

struct tw_kafka_held {
    rd_kafka_topic_partition_list_t *partitions; /**< that were ever assigned, each with its queue; NULL: none */
};

rd_kafka_resp_err_t tw_kafka_assign(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list,
                                    struct tw_kafka_held *held);
/** Leaves the group, if it is in one, and destroys @p rk. */
void                tw_kafka_leave(rd_kafka_t *rk, struct tw_kafka_held *held);

#endif

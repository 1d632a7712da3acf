#include "kafka_assignment.h"

enum { BATCH = 64 };

/* After the assignment: then it is this partition's queue, and nothing is made by asking for it. */
static void hold(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list, struct tw_kafka_held *held)
{
    if (!held->partitions)
        held->partitions = rd_kafka_topic_partition_list_new(list->cnt);
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *assigned = &list->elems[i];

        if (!rd_kafka_topic_partition_list_find(held->partitions, assigned->topic, assigned->partition))
            rd_kafka_topic_partition_list_add(held->partitions, assigned->topic, assigned->partition)->opaque =
                rd_kafka_queue_get_partition(rk, assigned->topic, assigned->partition);
    }
}

/* What was assigned before is being stopped, and librdkafka ends the process by an assertion when it is told to stop it once
 * more meanwhile. A question to the thread that does it is answered behind all that. */
static void wait_for_stops(rd_kafka_t *rk)
{
    rd_kafka_topic_partition_list_t *list;

    if (!rd_kafka_assignment(rk, &list))
        rd_kafka_topic_partition_list_destroy(list);
}

rd_kafka_resp_err_t tw_kafka_assign(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list,
                                    struct tw_kafka_held *held)
{
    rd_kafka_resp_err_t error = rd_kafka_assign(rk, list);

    if (error)
        return error;
    wait_for_stops(rk);
    hold(rk, list, held);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Its notes are no messages: reading frees them and returns nothing. */
static void empty(rd_kafka_queue_t *queue)
{
    rd_kafka_message_t *batch[BATCH];
    ssize_t             count;

    while ((count = rd_kafka_consume_batch_queue(queue, 0, batch, BATCH)) > 0)
        for (ssize_t i = 0; i < count; i++)
            rd_kafka_message_destroy(batch[i]);
}

static void let_go(struct tw_kafka_held *held)
{
    for (int i = 0; held->partitions && i < held->partitions->cnt; i++) {
        rd_kafka_queue_t *queue = held->partitions->elems[i].opaque;

        if (!queue)
            continue;
        empty(queue);
        rd_kafka_queue_destroy(queue);
    }
    if (held->partitions)
        rd_kafka_topic_partition_list_destroy(held->partitions);
    held->partitions = NULL;
}

void tw_kafka_leave(rd_kafka_t *rk, struct tw_kafka_held *held)
{
    rd_kafka_consumer_close(rk);
    let_go(held);
    rd_kafka_destroy(rk);
}

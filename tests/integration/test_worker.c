/* Links: tw_test tw_runtime tw_cart_domain PkgConfig::RDKAFKA Threads::Threads */
/*
 * A whole worker on librdkafka's mock cluster and the store in memory: what the loop does when the broker or the store
 * fails. The mock fetches slowly, so logs are small, and it takes its time to let anybody join a group, so each test is a
 * process of its own and all run side by side. Also the program for the thread sanitizer.
 */
#include <stdatomic.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cart_domain.h"
#include "memory_store.h"
#include "records.h"
#include "tillwire/clock.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/kafka.h"
#include "tillwire/metrics.h"
#include "worker.h"

enum { PARTITION = 0, PARTITIONS = 6, PATIENCE_S = 60, PRODUCE_KEY = 0, HEARTBEAT_KEY = 12 };

static rd_kafka_t              *mock_owner;
static rd_kafka_mock_cluster_t *cluster;
static struct tw_store          shared_store; /* keeps the database alive; every worker joins it */
static struct tw_test_log       sent;
static rd_kafka_t              *producer;
static char                     id_key_path[64];
static char                     admin_listen[32];
static pthread_t                worker_thread;
static int                      worker_exit;

/* --- the worker under test --------------------------------------------------------------------------------------- */

static enum tw_rc open_store(const char *uri, int timeout_ms, struct tw_store *ret_store, struct tw_err *reterr)
{
    (void)uri;
    (void)timeout_ms;
    (void)reterr;
    tw_memory_store_join(tw_memory_store_db(&shared_store), ret_store);
    return TW_OK;
}

static enum tw_rc no_differences(const char *brokers, const char *domain, int timeout_ms,
                                 struct tw_buf *ret_differences, struct tw_err *reterr)
{
    (void)brokers;
    (void)domain;
    (void)timeout_ms;
    (void)ret_differences;
    (void)reterr;
    return TW_OK;
}

/* A policy of the test's own: whatever is added becomes seven pieces. NULL unless a test wants it. */
static const struct tw_policy *policy;

static enum tw_rc make_it_seven(void *self, const struct tw_policy_event *event, struct tw_arena *arena,
                                struct tw_policy_out *out, struct tw_err *reterr)
{
    struct tw_cart_item_added added;
    struct tw_cart_set_item   set = {.quantity = 7};

    assert_null(self);
    TW_TRY(tw_cart_item_added_type.unpack(event->payload, arena, &added, reterr));
    set.member_id = added.member_id;
    set.product_id = added.product_id;
    set.product_name = added.product_name;
    set.price_minor = added.price_minor;
    set.product_version = added.product_version;
    tw_policy_send(out, &(struct tw_policy_command){
                            .cause = &event->cause,
                            .type = &tw_cart_set_item_type,
                            .domain = TW_DOMAIN_CART,
                            .aggregate = added.member_id,
                            .caller = added.member_id,
                            .body = &set,
                        });
    return TW_OK;
}

static const struct tw_type *const added_only[] = {&tw_cart_item_added_type, NULL};
static const struct tw_policy      seven = {
         .name = "seven",
         .follows = {TW_DOMAIN_CART},
         .types = added_only,
         .react = make_it_seven,
};

/* One that keeps what is added in mind while `waits`, three of them at most. */
static atomic_bool waits;
static atomic_int  kept, finished, found_full;

static enum tw_rc keep(void *self, const struct tw_policy_event *event, struct tw_arena *arena,
                       struct tw_policy_out *out, struct tw_err *reterr)
{
    (void)self, (void)event, (void)arena, (void)out, (void)reterr;
    kept++;
    return TW_OK;
}

static enum tw_rc open_nothing(const struct tw_policy_settings *settings, void **ret_self, struct tw_err *reterr)
{
    (void)settings, (void)ret_self, (void)reterr;
    return TW_OK;
}

static void close_nothing(void *self)
{
    (void)self;
}

static enum tw_rc finish_kept(void *self, int64_t now_us, struct tw_arena *arena, struct tw_policy_out *out,
                              struct tw_err *reterr)
{
    (void)self, (void)now_us, (void)arena, (void)out;
    if (waits)
        return tw_fail(reterr, TW_UNREACHED, "test", 0, "not yet");
    finished += kept;
    kept = 0;
    return TW_OK;
}

static enum tw_rc spread_nothing(void *self, size_t max, struct tw_arena *arena, struct tw_policy_out *out,
                                 struct tw_err *reterr)
{
    (void)self, (void)max, (void)arena, (void)out, (void)reterr;
    return TW_OK;
}

static bool is_never_spreading(const void *self)
{
    (void)self;
    return false;
}

static bool keeps_three(void *self, enum tw_domain_number domain)
{
    (void)self, (void)domain;
    found_full += kept >= 3;
    return kept >= 3;
}

static int64_t nothing_is_old(const void *self, enum tw_domain_number domain, int32_t partition)
{
    (void)self, (void)domain, (void)partition;
    return INT64_MAX;
}

static void leave_it(void *self, enum tw_domain_number domain, int32_t partition)
{
    (void)self, (void)domain, (void)partition;
}

static const struct tw_policy_work keeping = {
    .open = open_nothing,
    .close = close_nothing,
    .settle = finish_kept,
    .spread = spread_nothing,
    .is_spreading = is_never_spreading,
    .is_full = keeps_three,
    .oldest = nothing_is_old,
    .suspend = leave_it,
    .forget = leave_it,
};
static const struct tw_policy keeper = {
    .name = "keeper",
    .follows = {TW_DOMAIN_CART},
    .types = added_only,
    .react = keep,
    .work = &keeping,
};

/* How soon it hears that a topic is gone. */
static int refresh_ms = 300000;

static void *run_worker(void *brokers)
{
    const struct tw_worker_spec spec = {
        .program = "test-worker",
        .about = "A worker in a test.",
        .domain = &tw_cart_domain,
        .store_uri = "store_uri",
        .store_help = "unused",
        .batch_records = "500",
        .batch_kbytes = "256",
        .open_store = open_store,
        .close_store = tw_memory_store_close,
        .diff_topics = no_differences,
        .policy = policy,
        .policy_uri = policy && policy->work ? "policy_uri" : NULL,
        .policy_help = "unused",
    };
    char *arguments[] = {"test-worker", "--kafka",
                         brokers,       "--admin-listen",
                         admin_listen,  "--id-key-file",
                         id_key_path,   "--store-uri",
                         "memory://",   "--batch-records",
                         "8",           "--instance-id",
                         "w1",          "--session-timeout-ms",
                         "6000",        "--threads",
                         "2",           NULL};

    worker_exit = tw_worker_main(&spec, (int)TW_LEN(arguments) - 1, arguments);
    return NULL;
}

static void start_worker(void)
{
    static char brokers[256];

    snprintf(brokers, sizeof(brokers), "%s?topic.metadata.refresh.interval.ms=%d",
             rd_kafka_mock_cluster_bootstraps(cluster), refresh_ms);
    assert_int_equal(pthread_create(&worker_thread, NULL, run_worker, brokers), 0);
}

static int join_worker(void)
{
    pthread_join(worker_thread, NULL);
    return worker_exit;
}

static int stop_worker(void)
{
    kill(getpid(), SIGTERM);
    return join_worker();
}

/* --- the world around it ----------------------------------------------------------------------------------------- */

static int set_up(void **unused)
{
    static const char *const topics[] = {"cart.commands", "cart.events", "cart.dlq"};
    rd_kafka_conf_t         *conf = rd_kafka_conf_new();
    rd_kafka_conf_t         *owner = rd_kafka_conf_new();
    char                     text[256];

    (void)unused;
    rd_kafka_conf_set(owner, "bootstrap.servers", "127.0.0.1:1", text, sizeof(text)); /* it only carries the mock */
    rd_kafka_conf_set(owner, "log_level", "0", text, sizeof(text));
    mock_owner = rd_kafka_new(RD_KAFKA_PRODUCER, owner, text, sizeof(text));
    cluster = rd_kafka_mock_cluster_new(mock_owner, 1);
    for (size_t i = 0; i < TW_LEN(topics); i++)
        rd_kafka_mock_topic_create(cluster, topics[i], PARTITIONS, 1);
    rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(cluster), text, sizeof(text));
    rd_kafka_conf_set(conf, "linger.ms", "0", text, sizeof(text));
    producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    tw_memory_store_open(&tw_cart_domain, &shared_store);
    tw_test_log_init(&sent, PARTITION, PARTITIONS);
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    rd_kafka_flush(producer, 5000);
    rd_kafka_destroy(producer);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(mock_owner);
    tw_memory_store_close(&shared_store);
    tw_test_log_done(&sent);
    return 0;
}

static void send_record(const struct tw_record *record)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->header_count);
    rd_kafka_vu_t       arguments[] = {
              {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = "cart.commands"},
              {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = record->partition},
              {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
              {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
              {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {.size = record->key.len}},
              {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {.size = record->value.len}},
    };

    for (size_t i = 0; i < record->header_count; i++)
        rd_kafka_header_add(headers, record->headers[i].name.ptr, (ssize_t)record->headers[i].name.len,
                            record->headers[i].value.ptr, (ssize_t)record->headers[i].value.len);
    memcpy(&arguments[4].u.mem.ptr, &record->key.ptr, sizeof(record->key.ptr)); /* keeps const: it is copied */
    memcpy(&arguments[5].u.mem.ptr, &record->value.ptr, sizeof(record->value.ptr));
    assert_null(rd_kafka_produceva(producer, arguments, TW_LEN(arguments)));
    assert_int_equal(rd_kafka_flush(producer, 10000), 0);
}

static void send_add(uint32_t member, uint32_t product, int64_t quantity)
{
    struct tw_cart_add_item body = {
        .member_id = tw_test_id(&sent, member),
        .product_id = tw_test_uuid(1000 + product),
        .quantity = quantity,
        .product_name = TW_STR("Tea"),
        .price_minor = 450,
        .product_version = 1,
    };
    struct tw_envelope envelope =
        tw_test_envelope(&sent, &tw_cart_add_item_type, tw_test_command_id(&sent, TW_DOMAIN_CART, sent.len));

    send_record(tw_test_append(&sent, &tw_cart_add_item_type, body.member_id, &body, &envelope));
}

/* What runs beside us comes to it in its own time, on a busy machine in a long one. */
#define AWAIT(condition)                              \
    for (int looks = 0; !(condition); looks++) {      \
        assert_int_not_equal(looks, PATIENCE_S * 20); \
        usleep(50000);                                \
    }

static int64_t stored_watermark(void)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_progress                     progress = {0};

    shared_store.watermark(shared_store.self, PARTITION, &arena, &progress, NULL);
    return progress.next_offset;
}

static void wait_for_watermark(int64_t offset)
{
    AWAIT(stored_watermark() >= offset);
    assert_int_equal(stored_watermark(), offset);
}

/* An idle worker forgets its outbox as soon as all of it is published. */
static bool outbox_is_empty(void)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_progress                     progress = {0};

    shared_store.watermark(shared_store.self, PARTITION, &arena, &progress, NULL);
    return progress.outbox.len == 0;
}

static bool store_holds(const struct tw_buf *dump)
{
    struct tw_buf now = {0};
    bool          same;

    tw_memory_dump(tw_memory_store_db(&shared_store), &now);
    same = tw_str_eq(tw_buf_str(&now), tw_buf_str(dump));
    tw_buf_done(&now);
    return same;
}

/* --- what the topics hold ---------------------------------------------------------------------------------------- */

struct seen {
    int64_t last_cause, last_n;
    size_t  fresh; /* above all before it by the readers' rule */
    size_t  repeats;
    size_t  added; /* fresh cart.item_added */
    size_t  total;
    char    reason[64];
};

static void look(void *self, const char *topic, const struct tw_record *record)
{
    struct seen *seen = self;
    int64_t      cause, n;

    (void)topic;
    seen->total++;
    snprintf(seen->reason, sizeof(seen->reason), "%.*s", TW_STR_ARG(tw_header_find(record, TW_H_DLQ_REASON)));
    if (!tw_str_to_int(tw_header_find(record, TW_H_CAUSE_OFFSET), &cause))
        return;
    assert_true(tw_str_to_int(tw_header_find(record, TW_H_N), &n));
    if (cause < seen->last_cause || (cause == seen->last_cause && n <= seen->last_n)) {
        seen->repeats++;
        return;
    }
    /* without gaps: the next number of the same cause, or the first of the next one */
    assert_true((cause == seen->last_cause && n == seen->last_n + 1) || (cause > seen->last_cause && n == 0));
    seen->last_cause = cause;
    seen->last_n = n;
    seen->fresh++;
    seen->added += tw_str_is(tw_header_find(record, TW_H_TYPE), "cart.item_added.v1");
}

static struct seen read_topic(const char *topic)
{
    struct tw_position position = {topic, PARTITION, TW_OFFSET_BEGINNING};
    struct tw_reader  *reader;
    struct seen        seen = {.last_cause = -1, .last_n = -1};
    int64_t            low, high;
    size_t             count = 0;
    struct tw_err      err;

    assert_int_equal(tw_reader_open(rd_kafka_mock_cluster_bootstraps(cluster), "look", &reader, &err), TW_OK);
    assert_int_equal(tw_reader_bounds(reader, topic, PARTITION, 10000, &low, &high, &err), TW_OK);
    assert_int_equal(tw_reader_assign(reader, &position, 1, &err), TW_OK);
    for (int i = 0; i < 200 && (int64_t)seen.total < high; i++)
        tw_reader_poll(reader, 100, 100, look, &seen, &count, &err);
    assert_int_equal(seen.total, high);
    tw_reader_close(reader);
    return seen;
}

/* Distinct command ids of a type in the commands topic. */
struct ids {
    const char    *type;
    struct tw_uuid found[16];
    size_t         count;
    size_t         records;
};

static void collect_id(void *self, const char *topic, const struct tw_record *record)
{
    struct ids    *ids = self;
    struct tw_uuid id;

    (void)topic;
    if (!tw_str_is(tw_header_find(record, TW_H_TYPE), ids->type))
        return;
    assert_true(tw_uuid_parse(tw_header_find(record, TW_H_ID), &id));
    ids->records++;
    for (size_t i = 0; i < ids->count; i++)
        if (tw_uuid_eq(ids->found[i], id))
            return;
    assert_in_range(ids->count, 0, TW_LEN(ids->found) - 1);
    ids->found[ids->count++] = id;
}

static struct ids read_ids(const char *type)
{
    struct tw_position position = {"cart.commands", PARTITION, TW_OFFSET_BEGINNING};
    struct ids         ids = {.type = type};
    struct tw_reader  *reader;
    size_t             count = 1;
    struct tw_err      err;

    assert_int_equal(tw_reader_open(rd_kafka_mock_cluster_bootstraps(cluster), "look", &reader, &err), TW_OK);
    assert_int_equal(tw_reader_assign(reader, &position, 1, &err), TW_OK);
    for (int quiet = 0; quiet < 10; quiet = count ? 0 : quiet + 1)
        tw_reader_poll(reader, 100, 100, collect_id, &ids, &count, &err);
    tw_reader_close(reader);
    return ids;
}

/* --- tests ------------------------------------------------------------------------------------------------------- */

static void a_worker__folds_publishes_and_leaves_in_peace(void **unused)
{
    struct seen seen;

    (void)unused;
    for (uint32_t i = 0; i < 20; i++)
        send_add(i % 3, i, 1);
    start_worker();
    wait_for_watermark(20);
    assert_int_equal(stop_worker(), 0);
    seen = read_topic("cart.events");
    assert_int_equal(seen.added, 20);
    assert_int_equal(seen.fresh, 40);
}

static void wait_for(const atomic_int *count, int wanted)
{
    for (int i = 0; i < PATIENCE_S * 20 && *count < wanted; i++)
        usleep(50000);
    assert_int_equal(*count, wanted);
}

static void a_policy_that_is_full__leaves_events_in_the_log_until_there_is_room(void **unused)
{
    (void)unused;
    policy = &keeper;
    setenv("TW_POLICY_URI", "nowhere://", 1);
    waits = true;
    for (uint32_t i = 0; i < 3; i++)
        send_add(i, 1, 1);
    start_worker();
    wait_for(&kept, 3);
    AWAIT(found_full > 1); /* it was told so in one round, and went on to the next */
    for (uint32_t i = 3; i < 9; i++)
        send_add(i, 1, 1);
    wait_for_watermark(9);
    sleep(1);
    assert_int_equal(kept, 3);
    waits = false;
    wait_for(&finished, 9);
    assert_int_equal(stop_worker(), 0);
    unsetenv("TW_POLICY_URI");
    policy = NULL;
}

static void a_policy__turns_each_event_into_one_command_whatever_comes_again(void **unused)
{
    struct ids ids;

    (void)unused;
    policy = &seven;
    for (uint32_t i = 0; i < 3; i++)
        send_add(i, 1, 1);
    start_worker();
    wait_for_watermark(6);                             /* three commands of ours, three of the policy's */
    tw_memory_wipe(tw_memory_store_db(&shared_store)); /* the refill publishes all events again */
    AWAIT(stored_watermark() >= 6);
    assert_int_equal(stop_worker(), 0);
    start_worker();
    send_add(3, 1, 1); /* behind all that may come again */
    AWAIT(read_ids(tw_cart_set_item_type.ce_type).count == 4);
    assert_int_equal(stop_worker(), 0);
    policy = NULL;
    ids = read_ids(tw_cart_set_item_type.ce_type);
    assert_int_equal(ids.count, 4);
    assert_in_range(ids.records, 4, 7); /* the group may not have been told before the stop */
}

static void commit_answers_and_requests_that_get_lost__leave_one_effect(void **unused)
{
    struct tw_memory_db *db = tw_memory_store_db(&shared_store);

    (void)unused;
    tw_memory_lose_answer(db);
    for (uint32_t i = 0; i < 5; i++)
        send_add(1, 1, 1);
    start_worker();
    wait_for_watermark(5);
    assert_true(tw_memory_end_faults(db));
    tw_memory_lose_request(db);
    send_add(1, 1, 1);
    wait_for_watermark(6);
    assert_true(tw_memory_end_faults(db));
    tw_memory_fail(db, 3, TW_UNREACHED);
    send_add(1, 1, 1);
    AWAIT(tw_memory_faults_happened(db)); /* the worker's: looking at the watermark would use them up */
    wait_for_watermark(7);
    assert_int_equal(stop_worker(), 0);
    assert_int_equal(read_topic("cart.events").added, 7);
}

static void a_store_that_was_set_back__is_refilled_from_the_log(void **unused)
{
    struct tw_memory_db    *db = tw_memory_store_db(&shared_store);
    struct tw_memory_image *image;
    struct tw_buf           before = {0};

    (void)unused;
    start_worker();
    send_add(1, 1, 1);
    send_add(1, 2, 1);
    wait_for_watermark(2);
    image = tw_memory_take(db);
    send_add(1, 3, 1);
    send_add(2, 1, 1);
    wait_for_watermark(4);
    AWAIT(outbox_is_empty());
    tw_memory_dump(db, &before);
    tw_memory_put_back(db, image);
    wait_for_watermark(4);
    AWAIT(store_holds(&before));
    tw_memory_wipe(db); /* emptied while idle */
    wait_for_watermark(4);
    AWAIT(store_holds(&before));
    assert_int_equal(stop_worker(), 0);
    assert_int_equal(read_topic("cart.events").added, 4);
    assert_true(read_topic("cart.events").repeats > 0);
    tw_memory_image_free(image);
    tw_buf_done(&before);
}

static void a_record_the_store_refuses__is_found_and_set_aside_alone(void **unused)
{
    struct tw_memory_db *db = tw_memory_store_db(&shared_store);
    struct seen          dead;

    (void)unused;
    tw_memory_refuse(db, tw_test_id(&sent, 3));
    for (uint32_t i = 0; i < 8; i++)
        send_add(i, 1, 1);
    start_worker();
    wait_for_watermark(8);
    assert_int_equal(stop_worker(), 0);
    assert_int_equal(read_topic("cart.events").added, 7);
    dead = read_topic("cart.dlq");
    assert_int_equal(dead.total, 1);
    assert_string_equal(dead.reason, "refused_by_store");
}

static void a_verdict__outlives_the_store(void **unused)
{
    struct tw_memory_db *db = tw_memory_store_db(&shared_store);

    (void)unused;
    send_add(1, 1, 1);
    tw_test_append(&sent, &tw_cart_add_item_type, tw_test_id(&sent, 1),
                   &(struct tw_cart_add_item){.quantity = 1, .product_name = TW_STR("x"), .product_version = 1},
                   &(struct tw_envelope){.type = TW_STR("cart.unheard_of.v1"),
                                         .if_version = -1,
                                         .original_ms = -1,
                                         .command_id = tw_test_command_id(&sent, TW_DOMAIN_CART, 77)});
    send_record(&sent.records[1]);
    send_add(1, 1, 1);
    start_worker();
    wait_for_watermark(3);
    AWAIT(outbox_is_empty()); /* the verdict is in its topic */
    tw_memory_wipe(db);
    wait_for_watermark(3);
    assert_int_equal(stop_worker(), 0);
    assert_int_equal(read_topic("cart.dlq").total, 1); /* judged once, passed over in the refill */
}

static void a_producer_that_dies__is_replaced_without_a_gap(void **unused)
{
    struct seen   seen;
    struct tw_buf metrics = {0};

    (void)unused;
    for (uint32_t i = 0; i < 20; i++)
        send_add(1, i, 1);
    /* After a first acknowledged record, an error that no idempotent producer survives; several times, because a broker
     * also refuses the requests behind the failed one, which the mock, without sequence numbers, would let in. */
    rd_kafka_mock_push_request_errors(
        cluster, PRODUCE_KEY, 6, RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
        RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
        RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    start_worker();
    wait_for_watermark(20);
    assert_int_equal(stop_worker(), 0);
    seen = read_topic("cart.events");
    assert_int_equal(seen.added, 20);
    tw_metrics_render(&metrics);
    tw_buf_add(&metrics, "", 1);
    assert_null(strstr(metrics.ptr, "tillwire_producer_renewals_total 0")); /* the fault fired */
    assert_non_null(strstr(metrics.ptr, "tillwire_producer_renewals_total"));
    tw_buf_done(&metrics);
}

static void a_broker_that_goes_away__is_waited_for(void **unused)
{
    (void)unused;
    start_worker();
    send_add(1, 1, 1);
    wait_for_watermark(1);
    rd_kafka_mock_broker_set_down(cluster, 1);
    sleep(3); /* the fault itself: it is away for this long */
    rd_kafka_mock_broker_set_up(cluster, 1);
    for (uint32_t i = 0; i < 5; i++)
        send_add(1, 2 + i, 1);
    wait_for_watermark(6);
    assert_int_equal(stop_worker(), 0);
    assert_int_equal(read_topic("cart.events").added, 6);
}

/* @p line: a metric's name between a line break and a blank. */
static long metric(const char *line)
{
    struct tw_buf metrics = {0};
    const char   *found;
    long          value;

    tw_metrics_render(&metrics);
    tw_buf_add(&metrics, "", 1);
    found = strstr(metrics.ptr, line);
    value = found ? strtol(found + strlen(line), NULL, 10) : -1;
    tw_buf_done(&metrics);
    return value;
}

static long owned_partitions(void)
{
    return metric("\ntillwire_partitions ");
}

/* Its consumers are told so and give their partitions up; what librdkafka keeps of those must not hold them here. */
static void a_worker_whose_topics_were_deleted__leaves_in_peace(void **unused)
{
    static const char *const topics[] = {"cart.commands", "cart.events", "cart.dlq"};

    (void)unused;
    refresh_ms = 500;
    for (uint32_t i = 0; i < 5; i++)
        send_add(i, 1, 1);
    start_worker();
    wait_for_watermark(5);
    AWAIT(outbox_is_empty());
    for (size_t i = 0; i < TW_LEN(topics); i++)
        rd_kafka_mock_topic_set_error(cluster, topics[i], RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    AWAIT(metric("\ntillwire_partitions ") == 0);
    assert_int_equal(stop_worker(), 0);
}

static void a_static_member_that_is_fenced__joins_again(void **unused)
{
    (void)unused;
    start_worker();
    send_add(1, 1, 1);
    wait_for_watermark(1);
    AWAIT(owned_partitions() == PARTITIONS);
    assert_int_equal(rd_kafka_mock_broker_push_request_error_rtts(cluster, 1, HEARTBEAT_KEY, 1,
                                                                  RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, 0),
                     0);
    AWAIT(owned_partitions() < PARTITIONS); /* one of two loops is out */
    AWAIT(owned_partitions() == PARTITIONS);
    send_add(1, 2, 1);
    wait_for_watermark(2);
    assert_int_equal(stop_worker(), 0);
}

static long frozen_partitions(void)
{
    return metric("\ntillwire_frozen_partitions ");
}

/* What /readyz answers begins and ends so. */
static bool readiness_is(const char *head, const char *line)
{
    char               answer[1024];
    static const char  request[] = "GET /readyz HTTP/1.1\r\nHost: test\r\n\r\n";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t             used = 0;
    ssize_t            got;

    address.sin_port = htons((uint16_t)strtol(strchr(admin_listen, ':') + 1, NULL, 10));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    while ((got = read(fd, answer + used, sizeof(answer) - 1 - used)) > 0)
        used += (size_t)got;
    close(fd);
    answer[used] = '\0';
    return strncmp(answer, head, strlen(head)) == 0 && strstr(answer, line) != NULL;
}

/* As who rebuilds the store: again until no commit comes between. Returns the watermark it is frozen at. */
static int64_t freeze(int64_t mark)
{
    for (int tries = 0;; tries++) {
        int64_t offset = stored_watermark();

        if (shared_store.set_mark(shared_store.self, PARTITION, offset, 0, mark, NULL) == TW_OK)
            return offset;
        assert_int_not_equal(tries, 10000);
    }
}

static void thaw(int64_t offset, int64_t mark)
{
    assert_int_equal(shared_store.set_mark(shared_store.self, PARTITION, offset, mark, 0, NULL), TW_OK);
}

static void a_frozen_partition__is_not_folded_and_its_worker_stays_ready(void **unused)
{
    (void)unused;
    start_worker();
    send_add(1, 1, 1);
    wait_for_watermark(1);
    AWAIT(outbox_is_empty());
    freeze(7);
    AWAIT(frozen_partitions() == 1); /* idle, it looks every second */
    for (uint32_t i = 0; i < 3; i++)
        send_add(1, 2, 1);
    AWAIT(readiness_is("HTTP/1.1 200 ", "\r\n\r\nready: partition 0 is frozen: a rebuild or verify is at work\n"));
    assert_int_equal(stored_watermark(), 1);
    thaw(1, 7);
    wait_for_watermark(4);
    assert_int_equal(frozen_partitions(), 0);
    assert_int_equal(stop_worker(), 0);
    assert_int_equal(read_topic("cart.events").added, 4);
}

/* Whoever froze it waits for that: then all that was folded is public, and nothing more comes. */
static void a_partition_frozen_under_load__publishes_what_it_folded_and_goes_on_there(void **unused)
{
    enum { HALF = 30, MARK = -7 };
    int64_t     frozen_at;
    struct seen seen;

    (void)unused;
    start_worker();
    send_add(1, 0, 1);
    wait_for_watermark(1);
    for (uint32_t i = 1; i < HALF; i++)
        send_add(i % 3, i, 1);
    frozen_at = freeze(MARK);
    for (uint32_t i = HALF; i < 2 * HALF; i++)
        send_add(i % 3, i, 1);
    AWAIT(outbox_is_empty());
    AWAIT(frozen_partitions() == 1);
    assert_int_equal(stored_watermark(), frozen_at);
    seen = read_topic("cart.events");
    assert_int_equal(seen.added, frozen_at);
    assert_int_equal(seen.last_cause, frozen_at - 1);
    thaw(frozen_at, MARK);
    wait_for_watermark(INT64_C(2) * HALF);
    assert_int_equal(stop_worker(), 0);
    assert_int_equal(read_topic("cart.events").added, 2 * HALF);
}

/* Nobody was there when it was frozen: whoever comes publishes what the last owner left behind. */
static void a_worker_that_starts_on_a_frozen_partition__publishes_the_outbox_that_was_left(void **unused)
{
    struct tw_memory_db    *db = tw_memory_store_db(&shared_store);
    struct tw_memory_image *image = NULL;
    int                     count = 0;

    (void)unused;
    start_worker();
    do { /* until it was not forgotten yet: then the image has it, too */
        send_add(1, 1, 1);
        wait_for_watermark(++count);
        tw_memory_image_free(image);
        image = tw_memory_take(db);
    } while (outbox_is_empty());
    assert_int_equal(stop_worker(), 0);
    tw_memory_put_back(db, image);
    tw_memory_image_free(image);
    assert_int_equal(freeze(7), count);
    assert_false(outbox_is_empty());
    start_worker();
    AWAIT(outbox_is_empty());
    AWAIT(frozen_partitions() == 1);
    assert_int_equal(read_topic("cart.events").added, count);
    thaw(count, 7);
    send_add(1, 2, 1);
    wait_for_watermark(count + 1);
    assert_int_equal(stop_worker(), 0);
    assert_int_equal(read_topic("cart.events").added, count + 1);
}

static void commit_foreign_progress(int64_t next_offset, const uint8_t *hash)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_load                         load = {0};
    struct tw_changes changes = {.partition = PARTITION, .after = {.next_offset = next_offset, .clock_ms = 1}};

    memcpy(changes.after.last_hash, hash, sizeof(changes.after.last_hash));
    assert_int_equal(shared_store.load(shared_store.self, PARTITION, 0, &load, &arena, NULL), TW_OK);
    assert_int_equal(shared_store.commit(shared_store.self, &changes, NULL), TW_OK);
}

static void a_log_shorter_than_the_store_remembers__stops_the_worker(void **unused)
{
    static const uint8_t hash[TW_RECORD_HASH_BYTES] = {1};

    (void)unused;
    send_add(1, 1, 1);
    commit_foreign_progress(5, hash);
    start_worker();
    assert_int_equal(join_worker(), 3);
    assert_int_equal(stored_watermark(), 5);
}

static void a_log_with_another_last_record__stops_the_worker(void **unused)
{
    static const uint8_t hash[TW_RECORD_HASH_BYTES] = {1};

    (void)unused;
    for (uint32_t i = 0; i < 3; i++)
        send_add(1, 1, 1);
    commit_foreign_progress(2, hash);
    start_worker();
    assert_int_equal(join_worker(), 3);
    assert_int_equal(stored_watermark(), 2);
}

/* --- each in a process of its own -------------------------------------------------------------------------------- */

struct started {
    pid_t pid;
    FILE *says;
};

static void write_id_key(void)
{
    FILE *id_key;

    snprintf(id_key_path, sizeof(id_key_path), "/tmp/tillwire-test-key-%d", getpid());
    id_key = fopen(id_key_path, "w");
    assert_non_null(id_key);
    fprintf(id_key, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n");
    fclose(id_key);
    chmod(id_key_path, 0600);
}

/* It is kept until the process ends, so that none of the others is given the same: who names it may listen there. */
static void choose_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t          len = sizeof(address);
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int                on = 1;

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    snprintf(admin_listen, sizeof(admin_listen), "127.0.0.1:%d", ntohs(address.sin_port));
}

static int run_one(const struct CMUnitTest *test)
{
    const struct CMUnitTest tests[] = {*test};
    int                     failed;

    write_id_key();
    choose_port();
    cmocka_set_test_filter(getenv("TEST_FILTER")); /* one test by name, for hunting */
    failed = cmocka_run_group_tests_name(test->name, tests, NULL, NULL);
    unlink(id_key_path);
    return failed;
}

static void start(const struct CMUnitTest *test, struct started *ret_started)
{
    ret_started->says = tmpfile();
    assert_non_null(ret_started->says);
    ret_started->pid = fork();
    assert_int_not_equal(ret_started->pid, -1);
    if (ret_started->pid)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(fileno(ret_started->says), STDOUT_FILENO);
    dup2(fileno(ret_started->says), STDERR_FILENO);
    exit(run_one(test));
}

/* Prints all it said; true when it ended with 0. */
static bool passed(struct started *started)
{
    char   text[4096];
    size_t len;
    int    status;

    assert_int_equal(waitpid(started->pid, &status, 0), started->pid);
    rewind(started->says);
    while ((len = fread(text, 1, sizeof(text), started->says)) > 0)
        fwrite(text, 1, len, stdout);
    fclose(started->says);
    if (status)
        printf("that process ended with status %d\n", status);
    return status == 0;
}

int main(void)
{
#define WORKER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WORKER_TEST(a_worker__folds_publishes_and_leaves_in_peace),
        WORKER_TEST(a_worker_whose_topics_were_deleted__leaves_in_peace),
        WORKER_TEST(a_policy_that_is_full__leaves_events_in_the_log_until_there_is_room),
        WORKER_TEST(a_policy__turns_each_event_into_one_command_whatever_comes_again),
        WORKER_TEST(commit_answers_and_requests_that_get_lost__leave_one_effect),
        WORKER_TEST(a_store_that_was_set_back__is_refilled_from_the_log),
        WORKER_TEST(a_record_the_store_refuses__is_found_and_set_aside_alone),
        WORKER_TEST(a_verdict__outlives_the_store),
        WORKER_TEST(a_producer_that_dies__is_replaced_without_a_gap),
        WORKER_TEST(a_broker_that_goes_away__is_waited_for),
        WORKER_TEST(a_static_member_that_is_fenced__joins_again),
        WORKER_TEST(a_frozen_partition__is_not_folded_and_its_worker_stays_ready),
        WORKER_TEST(a_partition_frozen_under_load__publishes_what_it_folded_and_goes_on_there),
        WORKER_TEST(a_worker_that_starts_on_a_frozen_partition__publishes_the_outbox_that_was_left),
        WORKER_TEST(a_log_shorter_than_the_store_remembers__stops_the_worker),
        WORKER_TEST(a_log_with_another_last_record__stops_the_worker),
    };
    struct started started[TW_LEN(tests)];
    int            failed = 0;

    for (size_t i = 0; i < TW_LEN(tests); i++)
        start(&tests[i], &started[i]);
    for (size_t i = 0; i < TW_LEN(tests); i++)
        failed += !passed(&started[i]);
    return failed;
}

#include "publisher.h"

#include <stdlib.h>
#include <string.h>

#include "tillwire/clock.h"
#include "tillwire/failpoint.h"
#include "tillwire/log.h"
#include "tillwire/metrics.h"

/* A broker forgets an idle producer after producer.id.expiration.ms, a day unless an operator shortened it. */
#define KNOWN_FOR_US (INT64_C(600) * 1000000)

struct tw_flight_slot {
    struct tw_flight *flight;
    bool              is_event;
    bool              reported;
};

struct tw_publisher {
    struct tw_publisher_options options;
    struct tw_producer         *producer; /* NULL: could not be made yet */
    unsigned                    number;   /* of the producer: 1, 2, … */
    struct tw_flight           *flights;  /* on their way */
    bool                        failed;   /* a report failed: records behind it must not overtake it */
    int64_t                     renew_at_us;
};

static struct tw_metric published = {.name = "tillwire_events_published_total",
                                     .help = "Records of outboxes acknowledged by the broker."};
static struct tw_metric renewed = {.name = "tillwire_producer_renewals_total",
                                   .help = "Producers made anew after a failed report."};
static struct tw_metric publish_time = {
    .name = "tillwire_publish_seconds",
    .kind = TW_HISTOGRAM,
    .help = "From the commit of a batch to the broker's acknowledgement of its last event."};
TW_METRICS_SHOWN(&published, &renewed, &publish_time)

static void on_report(void *self, const struct tw_report *report)
{
    struct tw_publisher   *publisher = self;
    struct tw_flight_slot *slot = report->opaque;
    struct tw_flight      *flight = slot->flight;

    if (tw_failpoint("after_report"))
        publisher->failed = true;
    if (report->rc != TW_OK) {
        publisher->failed = true;
        return;
    }
    slot->reported = true;
    if (slot->is_event) {
        flight->known_to = publisher->number;
        flight->known_at_us = tw_monotonic_us();
    }
    while (flight->reported < flight->count && flight->slots[flight->reported].reported)
        flight->reported++;
    tw_metric_add(&published, 1);
    if (flight->reported == flight->count)
        tw_metric_observe_us(&publish_time, tw_monotonic_us() - flight->put_at_us);
}

static enum tw_rc make_producer(struct tw_publisher *publisher, struct tw_err *reterr)
{
    struct tw_producer_options options = {
        .brokers = publisher->options.brokers,
        .client_id = publisher->options.client_id,
        .linger_us = publisher->options.linger_us,
        .timeout_ms = 0,
        .queue_kbytes = publisher->options.queue_kbytes,
        .report = on_report,
        .self = publisher,
    };

    publisher->number++;
    TW_TRY(tw_producer_open(&options, &publisher->producer, reterr));
    TW_TRY(tw_producer_know(publisher->producer, publisher->options.events_topic, reterr));
    return tw_producer_know(publisher->producer, publisher->options.dlq_topic, reterr);
}

enum tw_rc tw_publisher_open(const struct tw_publisher_options *options, struct tw_publisher **ret_publisher,
                             struct tw_err *reterr)
{
    struct tw_publisher *publisher = tw_alloc_zeroed(1, sizeof(*publisher));
    enum tw_rc           rc;

    publisher->options = *options;
    rc = make_producer(publisher, reterr);
    if (rc != TW_OK) {
        free(publisher);
        return rc;
    }
    *ret_publisher = publisher;
    return TW_OK;
}

/* May the next record follow those that are not reported yet? */
static bool may_follow(const struct tw_publisher *publisher, const struct tw_flight *flight)
{
    return flight->sent == flight->reported ||
           (flight->known_to == publisher->number && tw_monotonic_us() - flight->known_at_us < KNOWN_FOR_US);
}

/* Hands over records in order until the queue is full or a report must come first; the rest goes with a later serve. */
static void send_some(struct tw_publisher *publisher, struct tw_flight *flight)
{
    while (publisher->producer && !publisher->failed && flight->sent < flight->count && may_follow(publisher, flight)) {
        const struct tw_outbox_record *record = &flight->records[flight->sent];
        const char *topic = record->dead_letter ? publisher->options.dlq_topic : publisher->options.events_topic;

        if (tw_producer_send(publisher->producer, topic, flight->partition, record->key, record->value, record->headers,
                             record->header_count, &flight->slots[flight->sent], NULL) != TW_OK)
            return;
        flight->sent++;
        tw_failpoint("after_produce_before_report");
    }
}

bool tw_flight_is_done(const struct tw_flight *flight)
{
    return flight->reported == flight->count;
}

static void unlink_flight(struct tw_publisher *publisher, struct tw_flight *flight)
{
    struct tw_flight **at = &publisher->flights;

    if (!flight->on_its_way)
        return;
    while (*at != flight)
        at = &(*at)->next;
    *at = flight->next;
    flight->on_its_way = false;
}

enum tw_rc tw_publisher_put(struct tw_publisher *publisher, struct tw_flight *flight, struct tw_str packed,
                            int64_t next_offset, struct tw_err *reterr)
{
    unlink_flight(publisher, flight);
    tw_buf_clear(&flight->packed);
    tw_arena_reset(&flight->arena);
    flight->count = flight->sent = flight->reported = 0;
    flight->next_offset = next_offset;
    flight->put_at_us = tw_monotonic_us();
    tw_buf_add_str(&flight->packed, packed);
    TW_TRY(tw_outbox_render(tw_buf_str(&flight->packed), publisher->options.domain, flight->partition, &flight->arena,
                            &flight->records, &flight->count, reterr));
    if (!flight->count)
        return TW_OK;
    flight->slots = TW_NEW_ARRAY(&flight->arena, flight->count, struct tw_flight_slot);
    for (size_t i = 0; i < flight->count; i++)
        flight->slots[i] = (struct tw_flight_slot){flight, !flight->records[i].dead_letter, false};
    flight->next = publisher->flights;
    publisher->flights = flight;
    flight->on_its_way = true;
    if (tw_failpoint("before_publish"))
        publisher->failed = true;
    send_some(publisher, flight);
    return TW_OK;
}

/* Every record of the old producer is reported while it closes; what is not in the log then goes again, in order. */
static void renew(struct tw_publisher *publisher)
{
    struct tw_err err;

    tw_producer_close(publisher->producer, 0);
    publisher->producer = NULL;
    publisher->failed = false;
    publisher->renew_at_us = tw_monotonic_us() + 1000000;
    tw_metric_add(&renewed, 1);
    if (make_producer(publisher, &err) != TW_OK) {
        tw_log_err(TW_LOG_ERROR, "cannot make a producer; trying again", &err, NULL);
        return;
    }
    for (struct tw_flight *flight = publisher->flights; flight; flight = flight->next) {
        flight->sent = flight->reported;
        /* Those behind the first unreported one go again even if they were reported: readers drop repeats. */
        for (size_t i = flight->reported; i < flight->count; i++)
            flight->slots[i].reported = false;
    }
}

void tw_publisher_serve(struct tw_publisher *publisher, int timeout_ms)
{
    struct tw_flight *next;

    if (publisher->producer)
        tw_producer_poll(publisher->producer, timeout_ms);
    if (!publisher->producer || publisher->failed || tw_producer_is_dead(publisher->producer))
        if (tw_monotonic_us() >= publisher->renew_at_us)
            renew(publisher);
    for (struct tw_flight *flight = publisher->flights; flight; flight = next) {
        next = flight->next;
        send_some(publisher, flight);
        if (tw_flight_is_done(flight))
            unlink_flight(publisher, flight);
    }
}

bool tw_publisher_is_waiting(const struct tw_publisher *publisher)
{
    for (const struct tw_flight *flight = publisher->flights; flight; flight = flight->next)
        if (flight->sent < flight->count)
            return true;
    return false;
}

bool tw_publisher_wait(struct tw_publisher *publisher, struct tw_flight *flight, int timeout_ms)
{
    int64_t deadline_us = tw_monotonic_us() + (int64_t)timeout_ms * 1000;

    while (!tw_flight_is_done(flight) && tw_monotonic_us() < deadline_us)
        tw_publisher_serve(publisher, 5);
    return tw_flight_is_done(flight);
}

void tw_publisher_withdraw(struct tw_publisher *publisher, struct tw_flight *flight)
{
    bool on_its_way = !tw_flight_is_done(flight) && flight->sent > flight->reported;

    unlink_flight(publisher, flight);
    if (on_its_way)
        renew(publisher); /* its reports point into the flight: let them all come in before it goes */
    flight->count = flight->sent = flight->reported = 0;
}

void tw_flight_done(struct tw_flight *flight)
{
    tw_buf_done(&flight->packed);
    tw_arena_done(&flight->arena);
}

bool tw_publisher_has_producer(const struct tw_publisher *publisher)
{
    return publisher->producer != NULL;
}

void tw_publisher_close(struct tw_publisher *publisher, int flush_ms)
{
    int64_t deadline_us = tw_monotonic_us() + (int64_t)flush_ms * 1000;

    if (!publisher)
        return;
    while (publisher->flights && tw_monotonic_us() < deadline_us)
        tw_publisher_serve(publisher, 5);
    tw_producer_close(publisher->producer, 0);
    free(publisher);
}

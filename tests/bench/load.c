/*
 * Backlogs for benches, written straight to Kafka and, byte for byte, as the edge would have written them: envelope,
 * payload, key and partition. The same arguments give the same commands, but for their ids and times.
 *
 *   bench_load BROKERS members  ROUND COUNT   registrations of people no other round has; needs TW_ID_KEY_FILE
 *   bench_load BROKERS products ROUND COUNT   the catalogue, the same in every round
 *   bench_load BROKERS assortment ROUND COUNT products that no other round has
 *   bench_load BROKERS views    ROUND COUNT   uniform over the catalogue of CATALOGUE products
 *   bench_load BROKERS zipf     ROUND COUNT   views of it, Zipf: of the n-th product in proportion to 1/n
 *   bench_load BROKERS hot      ROUND COUNT   views of it, 90 % of them of one product
 *   bench_load BROKERS carts    ROUND COUNT   adds to CARTS carts no other round has, at most LINES lines each
 *   bench_load BROKERS ends     TOPIC         the next offset of each partition, with commas
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tillwire/clock.h"
#include "tillwire/email.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/gen/product_messages.h"
#include "tillwire/gen/topics.h"
#include "tillwire/kafka.h"
#include "tillwire/settings.h"

enum { CATALOGUE = 5000, CARTS = 10000, LINES = 10, HOT_PERCENT = 90 };
enum { LINGER_US = 5000, QUEUE_KBYTES = 65536, TIMEOUT_MS = 30000 };

/* Everybody's, so that they can log in: of "the bench password of everybody" (storm_rounds.py), at the edge's own cost. */
#define HASH "$argon2id$v=19$m=65536,t=2,p=1$tnz9imccHLuTMAAkYgXbmw$t8ZTm2yfLXo0oBWyYrItwExfgU7ZziNnGjhJdX1dckc"

/* A command before it is a record. */
struct draft {
    struct tw_uuid aggregate;
    struct tw_uuid caller; /* nil: anonymous */
    union {
        struct tw_member_register     member;
        struct tw_product_create      product;
        struct tw_product_record_view view;
        struct tw_cart_add_item       add;
    } body;
};

struct load {
    struct tw_producer *producer;
    struct tw_arena     arena; /* one command's */
    struct tw_buf       pack;
    uint64_t            random;
    int64_t             round;
    int64_t             reported;
    int64_t             failed;
    uint8_t             id_key[TW_ID_KEY_BYTES];
};

struct recipe {
    const char           *name;
    enum tw_domain_number domain;
    const struct tw_type *type;
    void (*fill)(struct load *load, int64_t i, struct draft *ret_draft);
};

_Noreturn static void give_up(const char *what, const struct tw_err *err)
{
    fprintf(stderr, "bench_load: %s: %s\n", what, err->msg);
    exit(1);
}

/* splitmix64: the same numbers in every run. */
static uint64_t next_random(struct load *load)
{
    uint64_t z = load->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int random_below(struct load *load, int end)
{
    return (int)(next_random(load) % (uint64_t)end);
}

/* --- what the commands say ---------------------------------------------------------------------------------------- */

static void fill_member(struct load *load, int64_t i, struct draft *ret_draft)
{
    struct tw_member_register *member = &ret_draft->body.member;
    struct tw_err              err;

    member->email = tw_arena_printf(&load->arena, "Person.%" PRId64 ".%" PRId64 "@example.com", load->round, i);
    if (tw_email_fold(member->email, &load->arena, &member->email, &member->email_folded, &err) != TW_OK)
        give_up("e-mail", &err);
    member->member_id = tw_member_id(load->id_key, member->email_folded);
    member->password_hash = TW_STR(HASH);
    member->full_name = tw_arena_printf(&load->arena, "Person Number %" PRId64, i);
    member->has_phone_number = true;
    member->phone_number = tw_arena_printf(&load->arena, "+62812%08" PRId64, i);
    ret_draft->aggregate = member->member_id;
}

static struct tw_uuid product_of(struct load *load, int64_t i)
{
    return tw_product_id_of_sku(tw_arena_printf(&load->arena, "BENCH-%04" PRId64, i));
}

static struct tw_str *product_tags(struct load *load, uint32_t *ret_len)
{
    struct tw_str *tags = TW_NEW_ARRAY(&load->arena, 2, struct tw_str);

    tags[0] = TW_STR("cotton");
    tags[1] = TW_STR("summer");
    *ret_len = 2;
    return tags;
}

static void fill_product_of(struct load *load, struct tw_str sku, int64_t i, struct draft *ret_draft)
{
    struct tw_product_create *product = &ret_draft->body.product;

    *product = (struct tw_product_create){
        .sku = sku,
        .product_id = tw_product_id_of_sku(sku),
        .name = tw_arena_printf(&load->arena, "Product number %" PRId64, i),
        .slug = tw_arena_printf(&load->arena, "product-number-%" PRId64, i),
        .has_description = true,
        .description = TW_STR("Heavy cotton, cut straight, washed once before it is sewn so that it keeps its size."),
        .price_minor = 1000 + i,
        .category = tw_arena_printf(&load->arena, "category-%" PRId64, i % 20),
        .is_active = true,
    };
    product->tags = product_tags(load, &product->tags_len);
    ret_draft->aggregate = product->product_id;
}

static void fill_product(struct load *load, int64_t i, struct draft *ret_draft)
{
    fill_product_of(load, tw_arena_printf(&load->arena, "BENCH-%04" PRId64, i), i, ret_draft);
}

static void fill_new_product(struct load *load, int64_t i, struct draft *ret_draft)
{
    fill_product_of(load, tw_arena_printf(&load->arena, "NEW-%" PRId64 "-%" PRId64, load->round, i), i, ret_draft);
}

static void fill_view_of(struct load *load, int64_t product, struct draft *ret_draft)
{
    ret_draft->aggregate = product_of(load, product);
    ret_draft->body.view.product_id = ret_draft->aggregate;
}

static void fill_view(struct load *load, int64_t i, struct draft *ret_draft)
{
    (void)i;
    fill_view_of(load, random_below(load, CATALOGUE), ret_draft);
}

/* How often the n-th product or one before it is viewed. */
static const double *zipf_sums(void)
{
    static double sums[CATALOGUE];
    double        sum = 0;

    for (int n = 0; n < CATALOGUE && sums[CATALOGUE - 1] == 0; n++)
        sums[n] = sum += 1.0 / (n + 1);
    return sums;
}

static void fill_zipf_view(struct load *load, int64_t i, struct draft *ret_draft)
{
    const double *sums = zipf_sums();
    double        at = (double)(next_random(load) >> 11) * 0x1p-53 * sums[CATALOGUE - 1];
    int           low = 0, high = CATALOGUE - 1;

    (void)i;
    while (low < high) {
        int middle = (low + high) / 2;

        if (sums[middle] > at)
            high = middle;
        else
            low = middle + 1;
    }
    fill_view_of(load, low, ret_draft);
}

static void fill_hot_view(struct load *load, int64_t i, struct draft *ret_draft)
{
    (void)i;
    fill_view_of(load, random_below(load, 100) < HOT_PERCENT ? 0 : random_below(load, CATALOGUE), ret_draft);
}

static void fill_add(struct load *load, int64_t i, struct draft *ret_draft)
{
    int cart = random_below(load, CARTS);
    int product = (cart * LINES + random_below(load, LINES)) % CATALOGUE;
    int owner[2] = {(int)load->round, cart};

    (void)i;
    ret_draft->aggregate =
        tw_derived_id(tw_uuid_nil, tw_uuid_nil, tw_arena_printf(&load->arena, "%d.%d", owner[0], owner[1]).ptr);
    ret_draft->caller = ret_draft->aggregate;
    ret_draft->body.add = (struct tw_cart_add_item){
        .member_id = ret_draft->aggregate,
        .product_id = product_of(load, product),
        .quantity = 1 + random_below(load, 3),
        .product_name = tw_arena_printf(&load->arena, "Product number %d", product),
        .price_minor = 1000 + product,
        .product_version = 1,
    };
}

static const struct recipe recipes[] = {
    {"members", TW_DOMAIN_MEMBER, &tw_member_register_type, fill_member},
    {"products", TW_DOMAIN_PRODUCT, &tw_product_create_type, fill_product},
    {"assortment", TW_DOMAIN_PRODUCT, &tw_product_create_type, fill_new_product},
    {"views", TW_DOMAIN_PRODUCT, &tw_product_record_view_type, fill_view},
    {"zipf", TW_DOMAIN_PRODUCT, &tw_product_record_view_type, fill_zipf_view},
    {"hot", TW_DOMAIN_PRODUCT, &tw_product_record_view_type, fill_hot_view},
    {"carts", TW_DOMAIN_CART, &tw_cart_add_item_type, fill_add},
};

/* --- writing them ------------------------------------------------------------------------------------------------- */

static void on_report(void *self, const struct tw_report *report)
{
    struct load *load = self;

    load->reported++;
    load->failed += report->rc != TW_OK;
}

static void write_record(struct load *load, const struct tw_topic *topic, struct tw_str key,
                         const struct tw_envelope *envelope)
{
    const struct tw_header *headers;
    size_t                  header_count;
    int32_t                 partition = tw_partition_of(key, topic->partitions);
    struct tw_err           err;

    tw_envelope_write(envelope, "/tillwire/edge", &load->arena, &headers, &header_count);
    while (tw_producer_send(load->producer, topic->name, partition, key, tw_buf_str(&load->pack), headers, header_count,
                            NULL, &err) != TW_OK) {
        if (tw_producer_is_dead(load->producer))
            give_up("producer", &err);
        tw_producer_poll(load->producer, 10); /* the queue is full */
    }
}

static void write_command(struct load *load, const struct recipe *recipe, int64_t i)
{
    const struct tw_topic *topic = tw_topic_of(recipe->domain, TW_TOPIC_COMMANDS);
    struct draft           draft = {0};
    char                   key[TW_UUID_TEXT + 1];

    tw_arena_reset(&load->arena);
    recipe->fill(load, i, &draft);
    tw_buf_clear(&load->pack);
    recipe->type->pack(&draft.body, &load->pack);
    tw_uuid_format(draft.aggregate, key);
    struct tw_str      key_text = {key, TW_UUID_TEXT};
    struct tw_envelope envelope = {
        .type = tw_str_of(recipe->type->ce_type),
        .command_id = tw_command_id_new(tw_now_ms(), recipe->domain, tw_partition_of(key_text, topic->partitions)),
        .submitted_ms = tw_now_ms(),
        .traceparent = tw_arena_printf(&load->arena, "00-%016" PRIx64 "%016" PRIx64 "-%016" PRIx64 "-01",
                                       next_random(load), next_random(load), next_random(load)),
        .caller = draft.caller,
        .if_version = -1,
        .original_ms = -1,
    };
    write_record(load, topic, key_text, &envelope);
}

static void write_all(struct load *load, const struct recipe *recipe, int64_t count)
{
    const char   *topic = tw_topic_of(recipe->domain, TW_TOPIC_COMMANDS)->name;
    struct tw_err err;

    if (tw_producer_warm(load->producer, &topic, 1, TIMEOUT_MS, &err) != TW_OK)
        give_up("broker", &err);
    for (int64_t i = 0; i < count; i++) {
        write_command(load, recipe, i);
        if (i % 1000 == 0)
            tw_producer_poll(load->producer, 0);
    }
    while (load->reported < count)
        tw_producer_poll(load->producer, 100);
}

static int run_recipe(struct load *load, const char *brokers, const struct recipe *recipe, int64_t count)
{
    struct tw_producer_options options = {
        .brokers = brokers,
        .client_id = "bench-load",
        .linger_us = LINGER_US,
        .timeout_ms = TIMEOUT_MS,
        .queue_kbytes = QUEUE_KBYTES,
        .report = on_report,
        .self = load,
    };
    int64_t       started_us = tw_monotonic_us();
    struct tw_err err;

    if (tw_producer_open(&options, &load->producer, &err) != TW_OK)
        give_up("producer", &err);
    write_all(load, recipe, count);
    tw_producer_close(load->producer, 0);
    tw_arena_done(&load->arena);
    tw_buf_done(&load->pack);
    printf("records=%" PRId64 " seconds=%.3f\n", count, (double)(tw_monotonic_us() - started_us) / 1e6);
    if (load->failed)
        fprintf(stderr, "bench_load: %" PRId64 " records were not acknowledged\n", load->failed);
    return load->failed ? 1 : 0;
}

static void read_id_key(struct load *load)
{
    const char   *path = getenv("TW_ID_KEY_FILE");
    char         *text = NULL;
    struct tw_err err;

    if (tw_secret_read(path ? path : "", 1024, &text, &err) != TW_OK)
        give_up("TW_ID_KEY_FILE", &err);
    if (!tw_hex_parse(tw_str_of(text), load->id_key, TW_ID_KEY_BYTES)) {
        fprintf(stderr, "bench_load: TW_ID_KEY_FILE does not hold %d bytes in hex\n", TW_ID_KEY_BYTES);
        exit(1);
    }
    free(text);
}

/* --- how far a topic goes ----------------------------------------------------------------------------------------- */

static int32_t partitions_of(const char *topic)
{
    for (size_t i = 0; i < tw_topic_count; i++)
        if (!strcmp(tw_topics[i].name, topic))
            return tw_topics[i].partitions;
    return tw_topic_of(TW_DOMAIN_PRODUCT, TW_TOPIC_COMMANDS)->partitions; /* the peers' is made like this one */
}

/* The first question about a topic may be answered before librdkafka knows it: UNREACHED, worth asking again. */
static int64_t end_of(struct tw_reader *reader, const char *topic, int32_t partition)
{
    int64_t       deadline_us = tw_monotonic_us() + INT64_C(1000) * TIMEOUT_MS;
    int64_t       low, high;
    struct tw_err err;

    while (tw_reader_bounds(reader, topic, partition, TIMEOUT_MS, &low, &high, &err) != TW_OK) {
        if (err.rc != TW_UNREACHED || tw_monotonic_us() > deadline_us)
            give_up(topic, &err);
        usleep(50000);
    }
    return high;
}

static int print_ends(const char *brokers, const char *topic)
{
    struct tw_reader *reader;
    struct tw_err     err;

    if (tw_reader_open(brokers, "bench-ends", &reader, &err) != TW_OK)
        give_up("reader", &err);
    for (int32_t i = 0; i < partitions_of(topic); i++)
        printf("%s%" PRId64, i ? "," : "", end_of(reader, topic, i));
    putchar('\n');
    tw_reader_close(reader);
    return 0;
}

static int usage(void)
{
    fputs("bench_load BROKERS members|products|views|zipf|hot|carts ROUND COUNT\nbench_load BROKERS ends TOPIC\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    struct load load = {0};
    int64_t     count;

    if (argc == 4 && !strcmp(argv[2], "ends"))
        return print_ends(argv[1], argv[3]);
    if (argc != 5 || !tw_str_to_int(tw_str_of(argv[3]), &load.round) || !tw_str_to_int(tw_str_of(argv[4]), &count))
        return usage();
    load.random = (uint64_t)load.round;
    for (size_t i = 0; i < TW_LEN(recipes); i++) {
        if (strcmp(recipes[i].name, argv[2]) != 0)
            continue;
        if (recipes[i].domain == TW_DOMAIN_MEMBER)
            read_id_key(&load);
        return run_recipe(&load, argv[1], &recipes[i], count);
    }
    return usage();
}

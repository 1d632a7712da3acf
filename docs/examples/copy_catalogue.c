/*
 * Keeps a copy of the shop's catalogue in a text file by reading product.events.
 *
 *     copy-catalogue BROKERS FILE [--once]
 *
 * The file is written anew and put in place with rename(), so it always holds the copy of one moment together with how
 * far it came: stop this program whenever you like, and start it again. --once: stop at the present end of the topic.
 * Needs librdkafka and msgpack-c. A real copy would use a database; what matters is that copy and place are one step.
 */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <msgpack.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOPIC "product.events"

enum { PARTITIONS_MAX = 1024, ID_TEXT = 36, MONEY_TEXT = 24, NAME_BYTES = 200, TIMEOUT_MS = 15000, SAVE_EVERY = 1000 };

struct product {
    char    id[ID_TEXT + 1];
    int64_t version; /* 0: only numbers have been seen so far */
    bool    is_active;
    char    price[MONEY_TEXT]; /* what a customer pays */
    char    name[NAME_BYTES + 1];
    int64_t view_count;
    char    rating[MONEY_TEXT];
    int64_t review_count;
};

/** How far one partition has come: where to read on, and the highest (tw_cause_offset, tw_n) that was processed. */
struct place {
    int64_t next_offset;
    int64_t cause_offset;
    int64_t n;
    bool    at_end;
};

struct copy {
    struct product *products; /* sorted by id */
    size_t          count;
    size_t          cap;
    struct place    places[PARTITIONS_MAX];
    int             partitions;
};

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "copy-catalogue: %s: %s\n", what, why);
    exit(1);
}

/* --- the copy ----------------------------------------------------------------------------------------------------- */

/** The product of that id; a new one, with nothing in it, when there is none. */
static struct product *product_of(struct copy *copy, const char *id)
{
    size_t low = 0;
    size_t high = copy->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int    order = strcmp(copy->products[middle].id, id);
        if (order == 0)
            return &copy->products[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (copy->count == copy->cap) {
        copy->cap = copy->cap > 0 ? copy->cap * 2 : 64;
        copy->products = reallocarray(copy->products, copy->cap, sizeof(*copy->products));
        if (!copy->products)
            die("products", "out of memory");
    }
    memmove(&copy->products[low + 1], &copy->products[low], (copy->count - low) * sizeof(*copy->products));
    copy->products[low] = (struct product){.rating = "0.00"};
    snprintf(copy->products[low].id, sizeof(copy->products[low].id), "%s", id);
    copy->count++;
    return &copy->products[low];
}

static void save(const struct copy *copy, const char *path)
{
    char  temporary[4096];
    FILE *file;

    snprintf(temporary, sizeof(temporary), "%s.new", path);
    file = fopen(temporary, "w");
    if (!file)
        die("cannot write", temporary);
    for (int p = 0; p < copy->partitions; p++)
        fprintf(file, "at %d %" PRId64 " %" PRId64 " %" PRId64 "\n", p, copy->places[p].next_offset,
                copy->places[p].cause_offset, copy->places[p].n);
    for (size_t i = 0; i < copy->count; i++) {
        const struct product *product = &copy->products[i];
        fprintf(file, "product %s %" PRId64 " %d %s %" PRId64 " %s %" PRId64 " %s\n", product->id, product->version,
                product->is_active, product->version > 0 ? product->price : "0.00", product->view_count,
                product->rating, product->review_count, product->name);
    }
    if (fflush(file) != 0 || fsync(fileno(file)) != 0 || fclose(file) != 0 || rename(temporary, path) != 0)
        die("cannot write", path);
}

/** The next word of a line, "" at its end. */
static const char *next_word(char **rest)
{
    char *word = *rest + strspn(*rest, " ");
    char *end = word + strcspn(word, " \n");

    *rest = *end ? end + 1 : end;
    *end = '\0';
    return word;
}

static int64_t next_number(char **rest)
{
    const char *word = next_word(rest);
    char       *end = NULL;
    int64_t     number = strtoll(word, &end, 10);

    if (end == word || *end != '\0')
        die("not one of our files: this should be a number", word);
    return number;
}

static void read_place(struct copy *copy, char *rest)
{
    int64_t partition = next_number(&rest);

    if (partition < 0 || partition >= PARTITIONS_MAX)
        die("not one of our files", "no such partition");
    copy->places[partition].next_offset = next_number(&rest);
    copy->places[partition].cause_offset = next_number(&rest);
    copy->places[partition].n = next_number(&rest);
}

static void read_product(struct copy *copy, char *rest)
{
    struct product *product = product_of(copy, next_word(&rest));

    product->version = next_number(&rest);
    product->is_active = next_number(&rest) != 0;
    snprintf(product->price, sizeof(product->price), "%s", next_word(&rest));
    product->view_count = next_number(&rest);
    snprintf(product->rating, sizeof(product->rating), "%s", next_word(&rest));
    product->review_count = next_number(&rest);
    snprintf(product->name, sizeof(product->name), "%.*s", (int)strcspn(rest, "\n"), rest);
}

/** What was saved before; nothing is a beginning, too. */
static void load(struct copy *copy, const char *path)
{
    FILE *file = fopen(path, "r");
    char  line[1024];

    for (int p = 0; p < PARTITIONS_MAX; p++)
        copy->places[p] = (struct place){.cause_offset = -1, .n = -1};
    while (file && fgets(line, sizeof(line), file)) {
        char *rest = line;
        if (strcmp(next_word(&rest), "at") == 0)
            read_place(copy, rest);
        else
            read_product(copy, rest);
    }
    if (file)
        fclose(file);
}

/* --- one event ---------------------------------------------------------------------------------------------------- */

/** A member of the payload, or NULL: readers ignore members they do not know, and optional ones may be absent. */
static const msgpack_object *member(const msgpack_object *body, const char *name)
{
    for (uint32_t i = 0; i < body->via.map.size; i++) {
        const msgpack_object_kv *pair = &body->via.map.ptr[i];
        if (pair->key.type == MSGPACK_OBJECT_STR && pair->key.via.str.size == strlen(name) &&
            memcmp(pair->key.via.str.ptr, name, pair->key.via.str.size) == 0)
            return &pair->val;
    }
    return NULL;
}

/** The schemas of /asyncapi.json say which members are required, and of which type: anything else is not the shop's. */
static void text_of(const msgpack_object *body, const char *name, char *ret_text, size_t size)
{
    const msgpack_object *value = member(body, name);

    if (!value || value->type != MSGPACK_OBJECT_STR || value->via.str.size >= size)
        die("an event does not fit its schema", name);
    memcpy(ret_text, value->via.str.ptr, value->via.str.size);
    ret_text[value->via.str.size] = '\0';
}

static int64_t int_of(const msgpack_object *body, const char *name)
{
    const msgpack_object *value = member(body, name);

    if (!value || value->type != MSGPACK_OBJECT_POSITIVE_INTEGER || value->via.u64 > INT64_MAX)
        die("an event does not fit its schema", name);
    return value ? (int64_t)value->via.u64 : 0;
}

static bool bool_of(const msgpack_object *body, const char *name)
{
    const msgpack_object *value = member(body, name);

    if (!value || value->type != MSGPACK_OBJECT_BOOLEAN)
        die("an event does not fit its schema", name);
    return value && value->via.boolean;
}

static void apply(struct copy *copy, const char *type, const msgpack_object *body)
{
    char            id[ID_TEXT + 1];
    struct product *product;

    text_of(body, "product_id", id, sizeof(id));
    product = product_of(copy, id);
    if (strcmp(type, "product.created.v1") == 0 || strcmp(type, "product.changed.v1") == 0) {
        if (int_of(body, "version") <= product->version)
            return;
        product->version = int_of(body, "version");
        product->is_active = bool_of(body, "is_active");
        text_of(body, "effective_price", product->price, sizeof(product->price));
        text_of(body, "name", product->name, sizeof(product->name));
        for (char *at = strpbrk(product->name, "\r\n"); at; at = strpbrk(at, "\r\n")) /* our file has lines */
            *at = ' ';
    } else if (strcmp(type, "product.viewed.v1") == 0) {
        product->view_count = int_of(body, "view_count");
    } else {
        text_of(body, "rating", product->rating, sizeof(product->rating));
        product->review_count = int_of(body, "review_count");
    }
}

static bool is_of_the_catalogue(const char *type)
{
    return strcmp(type, "product.created.v1") == 0 || strcmp(type, "product.changed.v1") == 0 ||
           strcmp(type, "product.viewed.v1") == 0 || strcmp(type, "product.rated.v1") == 0;
}

static void decode(struct copy *copy, const char *type, const rd_kafka_message_t *message)
{
    msgpack_unpacked unpacked;
    size_t           at = 0;

    msgpack_unpacked_init(&unpacked);
    if (msgpack_unpack_next(&unpacked, message->payload, message->len, &at) != MSGPACK_UNPACK_SUCCESS ||
        at != message->len || unpacked.data.type != MSGPACK_OBJECT_MAP)
        die("a payload is no msgpack map", type);
    apply(copy, type, &unpacked.data);
    msgpack_unpacked_destroy(&unpacked);
}

/** A header's text, ended by a NUL; empty when it is absent. */
static void header_of(const rd_kafka_message_t *message, const char *name, char *ret_text, size_t size)
{
    rd_kafka_headers_t *headers = NULL;
    const void         *value = NULL;
    size_t              len = 0;

    ret_text[0] = '\0';
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        rd_kafka_header_get_last(headers, name, &value, &len) != RD_KAFKA_RESP_ERR_NO_ERROR || !value || len >= size)
        return;
    memcpy(ret_text, value, len);
    ret_text[len] = '\0';
}

static int64_t number_of(const rd_kafka_message_t *message, const char *name)
{
    char  text[24];
    char *end = NULL;

    header_of(message, name, text, sizeof(text));
    int64_t number = strtoll(text, &end, 10);
    if (text[0] == '\0' || *end != '\0')
        die("an event without a good header", name);
    return number;
}

/** The rule for every reader: what is not above the highest position of its partition came before. */
static void take(struct copy *copy, const rd_kafka_message_t *message)
{
    struct place *place = &copy->places[message->partition];
    int64_t       cause_offset = number_of(message, "tw_cause_offset");
    int64_t       n = number_of(message, "tw_n");
    char          type[80];

    place->next_offset = message->offset + 1;
    place->at_end = false;
    if (cause_offset < place->cause_offset || (cause_offset == place->cause_offset && n <= place->n))
        return;
    place->cause_offset = cause_offset;
    place->n = n;
    header_of(message, "ce_type", type, sizeof(type));
    if (is_of_the_catalogue(type)) /* others, and those of later versions, are not for us */
        decode(copy, type, message);
}

/* --- Kafka -------------------------------------------------------------------------------------------------------- */

static rd_kafka_t *open_consumer(const char *brokers)
{
    const char *settings[][2] = {
        {"bootstrap.servers", brokers},
        {"group.id", "copy-catalogue-c"}, /* must be there; our place is in our file */
        {"enable.auto.commit", "false"},  /* see above */
        {"enable.partition.eof", "true"}, /* for --once */
        {"auto.offset.reset", "error"},   /* events that we have not read are gone: begin anew */
        {"allow.auto.create.topics", "false"},
    };
    char             why[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof(why)) != RD_KAFKA_CONF_OK)
            die(settings[i][0], why);
    rd_kafka_t *kafka = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
    if (!kafka)
        die("cannot make a consumer", why);
    rd_kafka_poll_set_consumer(kafka);
    return kafka;
}

static int count_partitions(rd_kafka_t *kafka)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t               *topic = rd_kafka_topic_new(kafka, TOPIC, NULL);
    rd_kafka_resp_err_t             rc = rd_kafka_metadata(kafka, 0, topic, &metadata, TIMEOUT_MS);
    int                             count = 0;

    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR)
        die("cannot ask for the partitions of " TOPIC, rd_kafka_err2str(rc));
    if (metadata->topic_cnt == 1)
        count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    if (count == 0 || count > PARTITIONS_MAX)
        die("no such topic", TOPIC);
    return count;
}

static void assign(rd_kafka_t *kafka, const struct copy *copy)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(copy->partitions);

    for (int p = 0; p < copy->partitions; p++)
        rd_kafka_topic_partition_list_add(list, TOPIC, p)->offset = copy->places[p].next_offset;
    rd_kafka_resp_err_t rc = rd_kafka_assign(kafka, list);
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR)
        die("cannot assign", rd_kafka_err2str(rc));
    rd_kafka_topic_partition_list_destroy(list);
}

static bool is_at_end(const struct copy *copy)
{
    for (int p = 0; p < copy->partitions; p++)
        if (!copy->places[p].at_end)
            return false;
    return true;
}

/** One message or event of the client; false: nothing came for a while. */
static bool step(rd_kafka_t *kafka, struct copy *copy)
{
    rd_kafka_message_t *message = rd_kafka_consumer_poll(kafka, 500);

    if (!message)
        return false;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        take(copy, message);
    else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
        copy->places[message->partition].at_end = true;
    else if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
             message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)
        die("events we have not read are gone, begin with GET /v1/products", rd_kafka_message_errstr(message));
    else
        fprintf(stderr, "copy-catalogue: goes on after: %s\n", rd_kafka_message_errstr(message));
    rd_kafka_message_destroy(message);
    return true;
}

int main(int argc, char **argv)
{
    bool        once = argc == 4 && strcmp(argv[3], "--once") == 0;
    struct copy copy = {0};
    int         unsaved = 0;

    if (argc != 3 && !once)
        die("usage", "copy-catalogue BROKERS FILE [--once]");
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    load(&copy, argv[2]);
    rd_kafka_t *kafka = open_consumer(argv[1]);
    copy.partitions = count_partitions(kafka);
    assign(kafka, &copy);
    while (!stopping && !(once && is_at_end(&copy))) {
        unsaved = step(kafka, &copy) ? unsaved + 1 : SAVE_EVERY;
        if (unsaved >= SAVE_EVERY) {
            save(&copy, argv[2]);
            unsaved = 0;
        }
    }
    save(&copy, argv[2]);
    printf("%zu products in %s\n", copy.count, argv[2]);
    rd_kafka_consumer_close(kafka);
    rd_kafka_destroy(kafka);
    free(copy.products);
    return 0;
}

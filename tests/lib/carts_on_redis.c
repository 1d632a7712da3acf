#include "carts_on_redis.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/log.h"
#include "workers/cart/cart_store.h"

/* --- the server --------------------------------------------------------------------------------------------------- */

struct tw_redis_uri server;
redisContext       *link_;

const char *uri_of(int db, const char *user, const char *password)
{
    static char texts[4][900];
    static int  next;
    char       *text = texts[next++ % 4];

    snprintf(text, sizeof(texts[0]), "redis://%s:%s@%s:%d/%d", user, password, server.host, server.port,
             server.db + db);
    return text;
}

const char *database(int db)
{
    return uri_of(db, server.user, server.password);
}

static redisReply *vask(const char *format, va_list args)
{
    redisReply *reply = redisvCommand(link_, format, args);

    if (!reply)
        fail_msg("%s: %s", format, link_->errstr);
    return reply;
}

void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    redisReply *reply = vask(format, args);
    va_end(args);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", format, reply->str);
    freeReplyObject(reply);
}

long long ask_number(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    redisReply *reply = vask(format, args);
    va_end(args);
    long long number = reply->type == REDIS_REPLY_INTEGER ? reply->integer : -999;
    freeReplyObject(reply);
    return number;
}

void assert_answer(const char *expected, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    redisReply *reply = vask(format, args);
    va_end(args);
    assert_int_equal(reply->type, REDIS_REPLY_STRING);
    assert_string_equal(reply->str, expected);
    freeReplyObject(reply);
}

static int compare_texts(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

void assert_keys(const char *expected)
{
    redisReply   *keys = redisCommand(link_, "KEYS *");
    const char   *names[64];
    struct tw_buf all = {0};

    assert_true(keys->elements < TW_LEN(names));
    for (size_t i = 0; i < keys->elements; i++)
        names[i] = keys->element[i]->str;
    qsort(names, keys->elements, sizeof(names[0]), compare_texts);
    for (size_t i = 0; i < keys->elements; i++)
        tw_buf_printf(&all, "%s ", names[i]);
    assert_str(tw_buf_str(&all), expected);
    tw_buf_done(&all);
    freeReplyObject(keys);
}

void use(int db)
{
    say("SELECT %d", server.db + db);
}

static void connect_to_server(void)
{
    link_ = redisConnectWithTimeout(server.host, server.port, (struct timeval){2, 0});
    if (!link_ || link_->err)
        fail_msg("cannot connect: %s", link_ ? link_->errstr : "no memory");
    if (server.user[0])
        say("AUTH %s %s", server.user, server.password);
    else if (server.password[0])
        say("AUTH %s", server.password);
    use(0);
}

redisContext *connect_one_more(void)
{
    redisContext *own = link_, *more;

    connect_to_server();
    more = link_;
    link_ = own;
    return more;
}

/* --- a worker ----------------------------------------------------------------------------------------------------- */

struct tw_uuid id_of(const char *text)
{
    struct tw_uuid id;

    assert_true(tw_uuid_parse(tw_str_of(text), &id));
    return id;
}

void open_on(struct worker *worker, const char *uris)
{
    assert_rc(tw_cart_store_open(uris, TIMEOUT_MS, &worker->store, &worker->err), TW_OK, worker->err);
}

void close_worker(struct worker *worker)
{
    tw_cart_store_close(&worker->store);
    tw_arena_done(&worker->arena);
}

int setup(void **state)
{
    struct worker *worker = tw_alloc_zeroed(1, sizeof(*worker));

    for (int db = DATABASES; db-- > 0;) {
        use(db);
        say("FLUSHDB");
    }
    open_on(worker, database(0));
    *state = worker;
    return 0;
}

int teardown(void **state)
{
    close_worker(*state);
    free(*state);
    return 0;
}

enum tw_rc look_in(struct worker *worker, int32_t partition)
{
    struct tw_progress progress;
    enum tw_rc rc = worker->store.watermark(worker->store.self, partition, &worker->arena, &progress, &worker->err);

    if (rc == TW_OK)
        worker->next_offset = progress.next_offset;
    return rc;
}

enum tw_rc look(struct worker *worker)
{
    return look_in(worker, PARTITION);
}

struct batch *batch_of(struct worker *worker, const char *member)
{
    struct batch *batch = TW_NEW(&worker->arena, struct batch);

    batch->partition = PARTITION;
    batch->clock_ms = AT_MS;
    batch->entity.key.id = id_of(member);
    batch->ids[0] = (struct tw_uuid){{(uint8_t)worker->next_offset, 0x77}};
    batch->load =
        (struct tw_load){.entities = &batch->entity, .entity_count = 1, .ledger_ids = batch->ids, .ledger_id_count = 1};
    return batch;
}

enum tw_rc load(struct worker *worker, struct batch *batch)
{
    return worker->store.load(worker->store.self, batch->partition, worker->next_offset, &batch->load, &worker->arena,
                              &worker->err);
}

enum tw_rc commit(struct worker *worker, struct batch *batch, struct tw_cart *after)
{
    struct tw_changes changes = {
        .partition = batch->partition,
        .first_offset = worker->next_offset,
        .after = {.next_offset = worker->next_offset + 1, .clock_ms = batch->clock_ms, .outbox = TW_STR("events")},
        .entities = batch->entities,
        .entity_count = after != NULL,
        .rows = &batch->row,
        .row_count = 1,
    };

    batch->entities[0] = &batch->entity;
    batch->entity.state = after;
    batch->entity.changed = after != NULL;
    batch->row = (struct tw_ledger_row){
        .id = batch->ids[0],
        .type = TW_STR("cart.add_item"),
        .at_ms = batch->row_ms ? batch->row_ms : batch->clock_ms,
        .offset = worker->next_offset,
    };
    enum tw_rc rc = worker->store.commit(worker->store.self, &changes, &worker->err);
    if (rc == TW_OK)
        worker->next_offset++;
    return rc;
}

void fold_in(struct worker *worker, int32_t partition, const char *member, struct tw_cart *after, int64_t clock_ms)
{
    struct batch *batch;

    assert_rc(look_in(worker, partition), TW_OK, worker->err);
    batch = batch_of(worker, member);
    batch->partition = partition;
    batch->clock_ms = clock_ms;
    assert_rc(load(worker, batch), TW_OK, worker->err);
    assert_rc(commit(worker, batch, after), TW_OK, worker->err);
}

void fold(struct worker *worker, const char *member, struct tw_cart *after, int64_t clock_ms)
{
    fold_in(worker, PARTITION, member, after, clock_ms);
}

static struct tw_cart_line *lines_of_shirt_and_socks(struct worker *worker)
{
    struct tw_cart_line *lines = TW_NEW_ARRAY(&worker->arena, 2, struct tw_cart_line);

    lines[0] = (struct tw_cart_line){.product_id = id_of(SHIRT),
                                     .product_name = TW_STR("Shirt \"M\""),
                                     .price_minor = 14900,
                                     .quantity = 2,
                                     .added_at_ms = AT_MS,
                                     .product_version = 7,
                                     .available = true};
    lines[1] = (struct tw_cart_line){.product_id = id_of(SOCKS),
                                     .product_name = TW_STR("Socks"),
                                     .price_minor = 495,
                                     .quantity = 3,
                                     .added_at_ms = AT_MS,
                                     .product_version = 1,
                                     .available = true};
    return lines;
}

struct tw_cart *cart_of(struct worker *worker, const char *member, uint32_t count, int64_t at_ms)
{
    struct tw_cart *cart = TW_NEW(&worker->arena, struct tw_cart);

    *cart = (struct tw_cart){.member_id = id_of(member),
                             .version = 1,
                             .created_at_ms = at_ms,
                             .updated_at_ms = at_ms,
                             .ends_at_ms = at_ms + 7 * DAY_MS,
                             .lines = lines_of_shirt_and_socks(worker),
                             .lines_len = count,
                             .lines_cap = 2};
    return cart;
}

/* --- a program ---------------------------------------------------------------------------------------------------- */

int on_redis(const char *program, int (*run_all)(void))
{
    static struct tw_redis_uri uris[TW_REDIS_SERVERS_MAX];
    const char                *uri = getenv("TW_REDIS_URI");
    const char                *skips = getenv("TW_SKIP_STORES");
    bool                       may_skip = skips && !strcmp(skips, "1");
    size_t                     count = 0;

    signal(SIGPIPE, SIG_IGN); /* as every program of ours does */
    tw_log_init(program, TW_LOG_ERROR);
    if (!uri || !*uri) {
        fprintf(stderr, "%s: TW_REDIS_URI is not set: %s\n", program,
                may_skip ? "ALL ITS TESTS ARE SKIPPED (TW_SKIP_STORES=1)" : "no server to test against");
        return may_skip ? 0 : 1;
    }
    if (tw_redis_uris_parse(uri, uris, &count, NULL) != TW_OK)
        return 1;
    server = uris[0];
    connect_to_server();
    int failed = run_all();
    redisFree(link_);
    return failed;
}

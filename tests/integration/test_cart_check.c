/* Links: tw_carts_on_redis Threads::Threads */
/*
 * What readers see of carts is compared with what it follows from: each kind of difference is found and told once, and
 * nothing else is.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "carts_on_redis.h"
#include "tillwire/clock.h"
#include "tillwire/envelope.h"
#include "tillwire/gen/topics.h"
#include "workers/cart/cart_store.h"

/* Sentences, each with a newline behind it. */
static void gather(void *self, const char *sentence)
{
    tw_buf_printf(self, "%s\n", sentence);
}

static void check_members(struct worker *worker, const struct tw_uuid *ids, size_t count, struct tw_buf *found)
{
    assert_rc(tw_cart_store_check(&worker->store, PARTITION, ids, count, gather, found, &worker->err), TW_OK,
              worker->err);
}

/* Both ways, over all there is. */
static void check_all(struct worker *worker, struct tw_buf *found)
{
    struct tw_key  keys[256];
    struct tw_uuid ids[256];
    size_t         count = 0;
    bool           more = true;

    assert_rc(worker->store.list(worker->store.self, 0, true, keys, TW_LEN(keys), &count, &worker->err), TW_OK,
              worker->err);
    for (size_t i = 0; i < count; i++)
        ids[i] = keys[i].id;
    check_members(worker, ids, count, found);
    for (bool first = true; more; first = false)
        assert_rc(tw_cart_store_check_strays(&worker->store, first, gather, found, &more, &worker->err), TW_OK,
                  worker->err);
}

static void assert_found(struct worker *worker, const char *expected)
{
    struct tw_buf found = {0};

    check_all(worker, &found);
    assert_str(tw_buf_str(&found), expected);
    tw_buf_done(&found);
}

static void given_alice_and_bob(struct worker *worker)
{
    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS), AT_MS);
    fold(worker, BOB, cart_of(worker, BOB, 1, AT_MS), AT_MS);
}

/* --- nothing ------------------------------------------------------------------------------------------------------ */

static void a_store__as_commits_leave_it_has_no_findings(void **state)
{
    struct worker  *worker = *state;
    struct tw_cart *cart;
    char            member[TW_UUID_TEXT + 1];

    assert_found(worker, "");
    given_alice_and_bob(worker);
    for (unsigned i = 0; i < 230; i++) { /* more than are looked at in one go, and more keys than a page has */
        snprintf(member, sizeof(member), "c0000000-0000-8000-8000-%012u", i);
        cart = cart_of(worker, member, i % 3, AT_MS);
        cart->lines[0].available = i % 2;
        fold(worker, member, cart, AT_MS);
    }
    assert_found(worker, "");
}

static void carts__that_have_ended_may_lack_their_keys(void **state)
{
    struct worker *worker = *state;
    int64_t        now = tw_now_ms();

    fold(worker, BOB, cart_of(worker, BOB, 2, now - 8 * DAY_MS), now - 8 * DAY_MS); /* by the server's clock */
    assert_found(worker, "");
    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS), AT_MS);
    say("UNLINK cart:" ALICE ":summary cart:" ALICE ":" SHIRT);
    fold(worker, BOB, NULL, ENDS_MS - 1);
    assert_found(worker, "cart:" ALICE ":" SHIRT ": it is missing\n"
                         "cart:" ALICE ":summary: it is missing\n");
    fold(worker, BOB, NULL, ENDS_MS); /* by the partition's */
    assert_found(worker, "");
}

static void a_cart_that_was_swept_meanwhile__is_passed_over(void **state)
{
    struct worker *worker = *state;
    struct tw_uuid gone = id_of(ALICE);
    struct tw_buf  found = {0};

    check_members(worker, &gone, 1, &found);
    assert_int_equal(found.len, 0);
}

/* Another list of servers leaves keys behind that nobody reads. */
static void what_is_left_behind_on_another_server__is_passed_over(void **state)
{
    struct worker *one = *state, two = {0};
    struct tw_buf  found = {0};
    char           uris[2000];
    bool           more = true;

    given_alice_and_bob(one);
    say("DEL tw:cart:" ALICE " tw:cart:" BOB);
    snprintf(uris, sizeof(uris), "%s,%s", database(2), database(0));
    open_on(&two, uris);
    for (bool first = true; more; first = false)
        assert_rc(tw_cart_store_check_strays(&two.store, first, gather, &found, &more, &two.err), TW_OK, two.err);
    /* database 0 is the second server now: odd partitions only */
    for (size_t i = 0; i < 2; i++) {
        const char *member = i ? ALICE : BOB;
        bool odd = tw_partition_of(tw_str_of(member), tw_topic_of(TW_DOMAIN_CART, TW_TOPIC_COMMANDS)->partitions) % 2;

        tw_buf_add(&found, "", 1);
        found.len--;
        assert_int_equal(strstr(found.ptr, member) != NULL, odd);
    }
    tw_buf_done(&found);
    close_worker(&two);
}

/* --- differences -------------------------------------------------------------------------------------------------- */

static void a_value_that_differs__is_told_by_its_first_field_that_does(void **state)
{
    struct worker *worker = *state;

    given_alice_and_bob(worker);
    say("SET cart:" ALICE ":summary %s KEEPTTL",
        "{\"total_items\":5,\"total_price\":10.00,\"updated_at\":\"2049-12-12T12:00:00.001Z\"}");
    say("SET cart:" BOB ":" SHIRT " %s KEEPTTL",
        "{\"product_id\":\"" SHIRT "\",\"product_name\":\"Shirt \\\"L\\\"\",\"price\":149.00,\"quantity\":2,"
        "\"added_at\":\"2049-12-12T12:00:00.000Z\"}");
    assert_found(worker,
                 "cart:" ALICE ":summary: total_price is 10.00, the copy says 312.85\n"
                 "cart:" BOB ":" SHIRT ": product_name is \"Shirt \\\"L\\\"\", the copy says \"Shirt \\\"M\\\"\"\n");
}

static void a_value_that_is_no_such_object__is_told_by_its_first_byte_that_differs(void **state)
{
    static const struct {
        const char *value, *told;
    } values[] = {
        {"", "from byte 0 on it is '', the copy says '{\"total_items\":2,"},
        {"x", "from byte 0 on it is 'x', the copy says '{\"total_items\":2,"},
        {"{", "from byte 1 on it is '', the copy says '\"total_items\":2,"},
        {"{\"total_items\"", "from byte 14 on it is '', the copy says ':2,"},
        {"{\"total_items\":2", "from byte 16 on it is '', the copy says ',\"total_price\":"},
        {"{\"total\":2}", "from byte 7 on it is '\":2}', the copy says '_items\":2,"},
        {"{\"total_items\":2,\"total_price\":298.00,\"updated_at\":\"2049-12-12T12:00:00.000Z\"}x",
         "from byte 78 on it is 'x', the copy says ''"},
        {"a\tb\x7f", "from byte 0 on it is 'a?b?', the copy says '{\"total_items\":2,"},
        {"{\"total_items\":\"\\", "total_items is \"\\, the copy says 2"},
    };
    struct worker *worker = *state;

    fold(worker, BOB, cart_of(worker, BOB, 1, AT_MS), AT_MS);
    for (size_t i = 0; i < TW_LEN(values); i++) {
        struct tw_buf found = {0}, expected = {0};

        say("SET cart:" BOB ":summary %s KEEPTTL", values[i].value);
        check_all(worker, &found);
        tw_buf_add(&found, "", 1);
        tw_buf_printf(&expected, "cart:" BOB ":summary: %s", values[i].told);
        tw_buf_add(&expected, "", 1);
        if (strncmp(found.ptr, expected.ptr, expected.len - 1) != 0)
            fail_msg("'%s' does not begin with '%s'", found.ptr, expected.ptr);
        tw_buf_done(&found);
        tw_buf_done(&expected);
    }
}

/* A sentence has room for all of it, and ends where a character does. */
static void a_long_value__is_cut_between_two_characters(void **state)
{
    struct worker *worker = *state;
    struct tw_buf  value = {0};

    fold(worker, BOB, cart_of(worker, BOB, 1, AT_MS), AT_MS);
    tw_buf_printf(&value, "{\"product_id\":\"");
    for (int i = 0; i < 500; i++)
        tw_buf_printf(&value, "ä");
    say("SET cart:" BOB ":" SHIRT " %b KEEPTTL", value.ptr, value.len);
    assert_found(worker, "cart:" BOB ":" SHIRT ": product_id is \"äääääääääääääääääääääääääääää, the copy says "
                         "\"" SHIRT "\"\n");
    tw_buf_done(&value);
}

static void a_key_that_is_missing__is_told(void **state)
{
    struct worker *worker = *state;

    given_alice_and_bob(worker);
    say("UNLINK cart:" ALICE ":" SOCKS " cart:" BOB ":summary");
    assert_found(worker, "cart:" ALICE ":" SOCKS ": it is missing\n"
                         "cart:" BOB ":summary: it is missing\n");
}

static void a_key_that_ends_at_another_time__is_told(void **state)
{
    struct worker *worker = *state;

    given_alice_and_bob(worker);
    say("PEXPIREAT cart:" ALICE ":" SOCKS " %lld", (long long)ENDS_MS - 1);
    say("PERSIST cart:" BOB ":summary");
    assert_found(worker, "cart:" ALICE ":" SOCKS ": it expires at 2049-12-19T11:59:59.999Z, the cart ends at "
                         "2049-12-19T12:00:00.000Z\n"
                         "cart:" BOB ":summary: it never expires, the cart ends at 2049-12-19T12:00:00.000Z\n");
}

static void a_key_of_another_type__is_told(void **state)
{
    struct worker *worker = *state;

    given_alice_and_bob(worker);
    say("DEL cart:" BOB ":summary");
    say("LPUSH cart:" BOB ":summary sabotage");
    say("PEXPIREAT cart:" BOB ":summary %lld", (long long)ENDS_MS);
    assert_found(worker, "cart:" BOB ":summary: it is not a string\n");
}

/* --- strays ------------------------------------------------------------------------------------------------------- */

static void keys_without_a_copy__are_told(void **state)
{
    struct worker *worker = *state;

    fold(worker, BOB, cart_of(worker, BOB, 1, AT_MS), AT_MS);
    say("SET cart:" ALICE ":summary x");
    assert_found(worker, "cart:" ALICE ":summary: it stands there without a copy\n");
}

static void a_key_of_a_line_that_the_copy_does_not_have__is_told(void **state)
{
    struct worker *worker = *state;

    fold(worker, BOB, cart_of(worker, BOB, 1, AT_MS), AT_MS);
    say("SET cart:" BOB ":" SOCKS " x");
    assert_found(worker, "cart:" BOB ":" SOCKS ": it stands there, the copy has no such line\n");
}

static void a_summary_of_a_cart_without_lines__is_told(void **state)
{
    struct worker *worker = *state;

    fold(worker, BOB, cart_of(worker, BOB, 0, AT_MS), AT_MS);
    say("SET cart:" BOB ":summary x");
    assert_found(worker, "cart:" BOB ":summary: it stands there, the copy has no lines\n");
}

static void a_key_of_no_cart__is_told(void **state)
{
    struct worker *worker = *state;

    fold(worker, BOB, cart_of(worker, BOB, 1, AT_MS), AT_MS);
    say("SET cart:%s x", "sabo\ntage");
    assert_found(worker, "cart:sabo?tage: it is the name of no cart's key\n");
}

static void strays__are_found_on_every_page(void **state)
{
    struct worker *worker = *state;
    struct tw_buf  found = {0};
    size_t         sentences = 0;

    for (int i = 0; i < 2000; i++)
        say("SET cart:a11ce000-0000-8000-8000-%012d:summary x", i);
    check_all(worker, &found);
    for (size_t i = 0; i < found.len; i++)
        sentences += found.ptr[i] == '\n';
    assert_in_range(sentences, 2000, 2100); /* a scan may tell some twice */
    tw_buf_done(&found);
}

/* A cart with its keys comes and goes, each in one step, as commits and sweeps do. */
struct swept {
    redisContext *link;
    redisReply   *copy; /* packed */
    atomic_bool   ends;
};

static bool is_answered(struct swept *swept)
{
    void *reply = NULL;

    if (redisGetReply(swept->link, &reply) != REDIS_OK)
        return false;
    freeReplyObject(reply);
    return true;
}

static void *come_and_go(void *argument)
{
    struct swept *swept = argument;
    bool          works = true;

    while (works && !atomic_load(&swept->ends)) {
        redisAppendCommand(swept->link, "MSET tw:cart:" BOB " %b cart:" BOB ":" SHIRT " x", swept->copy->str,
                           (size_t)swept->copy->len);
        works = is_answered(swept);
        redisAppendCommand(swept->link, "UNLINK tw:cart:" BOB " cart:" BOB ":" SHIRT);
        works = works && is_answered(swept);
    }
    return NULL;
}

static void a_cart_that_is_swept_meanwhile__leaves_no_strays(void **state)
{
    struct worker *worker = *state;
    struct swept   swept = {0};
    struct tw_buf  found = {0};
    pthread_t      thread;
    bool           more;

    fold(worker, BOB, cart_of(worker, BOB, 1, AT_MS), AT_MS);
    say("UNLINK cart:" BOB ":summary");
    swept.copy = redisCommand(link_, "GET tw:cart:" BOB);
    swept.link = connect_one_more();
    assert_int_equal(pthread_create(&thread, NULL, come_and_go, &swept), 0);
    for (int i = 0; i < 500; i++)
        assert_rc(tw_cart_store_check_strays(&worker->store, true, gather, &found, &more, &worker->err), TW_OK,
                  worker->err);
    atomic_store(&swept.ends, true);
    pthread_join(thread, NULL);
    redisFree(swept.link);
    freeReplyObject(swept.copy);
    assert_str(tw_buf_str(&found), "");
}

/* --- servers ------------------------------------------------------------------------------------------------------ */

static void a_copy_that_cannot_be_read__is_broken_and_named(void **state)
{
    struct worker *worker = *state;
    struct tw_uuid bob = id_of(BOB);
    struct tw_buf  found = {0};
    bool           more;

    fold(worker, BOB, cart_of(worker, BOB, 1, AT_MS), AT_MS);
    say("SET tw:cart:" BOB " sabotage");
    assert_rc(tw_cart_store_check(&worker->store, PARTITION, &bob, 1, gather, &found, &worker->err), TW_BROKEN,
              worker->err);
    assert_non_null(strstr(worker->err.msg, "tw:cart:" BOB));
    assert_rc(tw_cart_store_check_strays(&worker->store, true, gather, &found, &more, &worker->err), TW_BROKEN,
              worker->err);
    assert_int_equal(found.len, 0);
}

/* Redis 6.2, as far as it is asked: it answers ahead of the questions of a new connection. */
static void *answer_as_6_2(void *listener)
{
    static const char answers[] = "+OK\r\n$43\r\nredis_version:6.2.14\r\nredis_mode:standalone\r\n"
                                  "*2\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n+OK\r\n*0\r\n";
    char              questions[512];
    int               fd = accept(*(int *)listener, NULL, NULL);

    if (fd < 0 || write(fd, answers, sizeof(answers) - 1) < 0)
        return NULL;
    while (read(fd, questions, sizeof(questions)) > 0)
        ;
    close(fd);
    return NULL;
}

static int listen_somewhere(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          len = sizeof(address);
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void a_server_older_than_7__is_refused_with_a_sentence_that_says_so(void **state)
{
    struct worker  old = {0};
    struct tw_uuid bob = id_of(BOB);
    pthread_t      thread;
    uint16_t       port;
    int            listener = listen_somewhere(&port);
    char           uri[64];

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, answer_as_6_2, &listener), 0);
    snprintf(uri, sizeof(uri), "redis://127.0.0.1:%u", port);
    open_on(&old, uri);
    assert_rc(tw_cart_store_check(&old.store, PARTITION, &bob, 1, gather, NULL, &old.err), TW_BROKEN, old.err);
    assert_string_equal(old.err.msg, "Redis of partition 4 is 6.2: 7.0 or later is needed to tell when keys end");
    close_worker(&old);
    pthread_join(thread, NULL);
    close(listener);
}

static int run_all(void)
{
#define RULE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        RULE(a_store__as_commits_leave_it_has_no_findings),
        RULE(carts__that_have_ended_may_lack_their_keys),
        RULE(a_cart_that_was_swept_meanwhile__is_passed_over),
        RULE(what_is_left_behind_on_another_server__is_passed_over),
        RULE(a_value_that_differs__is_told_by_its_first_field_that_does),
        RULE(a_value_that_is_no_such_object__is_told_by_its_first_byte_that_differs),
        RULE(a_long_value__is_cut_between_two_characters),
        RULE(a_key_that_is_missing__is_told),
        RULE(a_key_that_ends_at_another_time__is_told),
        RULE(a_key_of_another_type__is_told),
        RULE(keys_without_a_copy__are_told),
        RULE(a_key_of_a_line_that_the_copy_does_not_have__is_told),
        RULE(a_summary_of_a_cart_without_lines__is_told),
        RULE(a_key_of_no_cart__is_told),
        RULE(strays__are_found_on_every_page),
        RULE(a_cart_that_is_swept_meanwhile__leaves_no_strays),
        RULE(a_copy_that_cannot_be_read__is_broken_and_named),
        RULE(a_server_older_than_7__is_refused_with_a_sentence_that_says_so),
    };

    return cmocka_run_group_tests_name("cart_check", tests, NULL, NULL);
}

int main(void)
{
    return on_redis("cart_check", run_all);
}

/* Names and packed forms that worker and edge share: what is written here is in people's stores. */
#include "tillwire/cart_keys.h"

#include <stdio.h>
#include <string.h>

#include "unit.h"

static const struct tw_uuid member = {
    {0x3e, 0x7c, 0x2b, 0x7a, 0x1f, 0x60, 0x8c, 0x5d, 0x9a, 0x31, 0x5b, 0x0f, 0x6c, 0x2d, 0x9e, 0x11}};
static const struct tw_uuid product = {
    {0x01, 0x92, 0xf5, 0xc0, 0x7b, 0x1e, 0x8d, 0x3a, 0x8f, 0x27, 0x6c, 0x1d, 0x2e, 0x3f, 0x4a, 0x5b}};

#define MEMBER  "3e7c2b7a-1f60-8c5d-9a31-5b0f6c2d9e11"
#define PRODUCT "0192f5c0-7b1e-8d3a-8f27-6c1d2e3f4a5b"

static void assert_key(size_t len, const char *key, const char *expected)
{
    assert_string_equal(key, expected);
    assert_int_equal(len, strlen(expected));
}

static void keys__have_their_released_names(void **state)
{
    char key[TW_CART_KEY_SIZE];

    (void)state;
    assert_key(tw_cart_key_copy(member, key), key, "tw:cart:" MEMBER);
    assert_key(tw_cart_key_item(member, product, key), key, "cart:" MEMBER ":" PRODUCT);
    assert_key(tw_cart_key_summary(member, key), key, "cart:" MEMBER ":summary");
    assert_key(tw_cart_key_progress(5, key), key, "tw:progress:5");
    assert_key(tw_cart_key_ledger(5, 20780, key), key, "tw:ledger:5:20780");
    assert_key(tw_cart_key_holders(5, product, key), key, "tw:holders:5:" PRODUCT);
    assert_key(tw_cart_key_ends(5, key), key, "tw:ends:5");
    assert_key(tw_cart_key_unprojected(5, key), key, "tw:unprojected:5");
}

static void keys__tell_whose_they_are(void **state)
{
    struct tw_uuid member_id, product_id = member;

    (void)state;
    assert_true(tw_cart_key_is_copy(tw_str_of("tw:cart:" MEMBER), &member_id));
    assert_true(tw_uuid_eq(member_id, member));
    member_id = tw_uuid_nil;
    assert_true(tw_cart_key_is_readers(tw_str_of("cart:" MEMBER ":" PRODUCT), &member_id, &product_id));
    assert_true(tw_uuid_eq(member_id, member));
    assert_true(tw_uuid_eq(product_id, product));
    assert_true(tw_cart_key_is_readers(tw_str_of("cart:" MEMBER ":summary"), &member_id, &product_id));
    assert_true(tw_uuid_is_nil(product_id));
}

static void keys__of_another_form_are_nobodys(void **state)
{
    static const char *const wrong[] = {
        "",
        "c",
        "cart:",
        "tw:cart:",
        "cart:" MEMBER,
        "tw:cart:" MEMBER "x",
        "xw:cart:" MEMBER,
        "cart:" MEMBER ":",
        "cart:" MEMBER ":summary2",
        "cart:" MEMBER ":" PRODUCT "0",
        "cart:" MEMBER "-" PRODUCT,
        "cart:3E7c2b7a-1f60-8c5d-9a31-5b0f6c2d9e11:summary",
        "tw:cart:3E7c2b7a-1f60-8c5d-9a31-5b0f6c2d9e11",
        "cart:" MEMBER ":00000000-0000-0000-0000-000000000000",
    };
    struct tw_uuid member_id, product_id;

    (void)state;
    for (size_t i = 0; i < TW_LEN(wrong); i++) {
        struct tw_str key = tw_guarded(tw_str_of(wrong[i]));

        assert_false(tw_cart_key_is_copy(key, &member_id));
        assert_false(tw_cart_key_is_readers(key, &member_id, &product_id));
        tw_guarded_free(key);
    }
}

static void keys__of_extreme_numbers_fit(void **state)
{
    char key[TW_CART_KEY_SIZE];

    (void)state;
    assert_true(tw_cart_key_ledger(INT32_MAX, INT64_MIN, key) < sizeof(key));
    assert_true(tw_cart_key_holders(INT32_MAX, product, key) < sizeof(key));
}

static void day__begins_at_midnight_also_before_1970(void **state)
{
    (void)state;
    assert_int_equal(tw_cart_day(0), 0);
    assert_int_equal(tw_cart_day(86399999), 0);
    assert_int_equal(tw_cart_day(86400000), 1);
    assert_int_equal(tw_cart_day(-1), -1);
    assert_int_equal(tw_cart_day(-86400000), -1);
    assert_int_equal(tw_cart_day(-86400001), -2);
}

static void server_of__is_partition_modulo_servers(void **state)
{
    (void)state;
    assert_int_equal(tw_cart_server_of(0, 1), 0);
    assert_int_equal(tw_cart_server_of(5, 1), 0);
    assert_int_equal(tw_cart_server_of(5, 2), 1);
    assert_int_equal(tw_cart_server_of(6, 3), 0);
}

static void totals__count_available_lines_only(void **state)
{
    struct tw_cart_line lines[] = {
        {.price_minor = 1999, .quantity = 3, .available = true},
        {.price_minor = 5000, .quantity = 7, .available = false},
        {.price_minor = 1, .quantity = 999, .available = true},
    };
    struct tw_cart        cart = {.lines = lines, .lines_len = TW_LEN(lines)};
    struct tw_cart_totals totals = tw_cart_totals(&cart);

    (void)state;
    assert_int_equal(totals.items, 1002);
    assert_int_equal(totals.price_minor, 3 * 1999 + 999);
    cart.lines_len = 0;
    assert_int_equal(tw_cart_totals(&cart).items, 0);
}

static void a_cart__is_live_until_its_end(void **state)
{
    struct tw_cart cart = {.ends_at_ms = 1000};

    (void)state;
    assert_true(tw_cart_is_live(&cart, 999));
    assert_false(tw_cart_is_live(&cart, 1000));
    assert_false(tw_cart_is_live(NULL, 0));
}

/* --- progress ----------------------------------------------------------------------------------------------------- */

static const struct tw_progress sample = {
    .next_offset = 0x0102030405060708,
    .clock_ms = -2,
    .last_hash = {0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf},
    .outbox = {"out\0box", 7},
};

static void progress__has_its_released_form(void **state)
{
    static const char form[] = "\x01\x08\x07\x06\x05\x04\x03\x02\x01\xfe\xff\xff\xff\xff\xff\xff\xff"
                               "\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab\xac\xad\xae\xafout\0box";
    struct tw_buf     packed = {0};

    (void)state;
    tw_cart_progress_pack(&sample, &packed);
    assert_int_equal(packed.len, sizeof(form) - 1);
    assert_memory_equal(packed.ptr, form, packed.len);
    tw_buf_done(&packed);
}

/* Whoever watches the value must notice a mark that comes or goes. */
static void progress__of_a_frozen_partition_has_its_mark_before_the_outbox(void **state)
{
    static const char  form[] = "\x02\x08\x07\x06\x05\x04\x03\x02\x01\xfe\xff\xff\xff\xff\xff\xff\xff"
                                "\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab\xac\xad\xae\xaf"
                                "\xfd\xff\xff\xff\xff\xff\xff\xffout\0box";
    struct tw_progress frozen = sample, progress;
    struct tw_buf      packed = {0};

    (void)state;
    frozen.mark = -3;
    tw_cart_progress_pack(&frozen, &packed);
    assert_int_equal(packed.len, sizeof(form) - 1);
    assert_memory_equal(packed.ptr, form, packed.len);
    assert_true(tw_cart_progress_unpack(tw_buf_str(&packed), &progress));
    assert_int_equal(progress.mark, -3);
    assert_int_equal(progress.next_offset, sample.next_offset);
    assert_int_equal(progress.clock_ms, sample.clock_ms);
    assert_memory_equal(progress.last_hash, sample.last_hash, sizeof(sample.last_hash));
    assert_true(tw_str_eq(progress.outbox, sample.outbox));
    tw_buf_done(&packed);
}

/* GETRANGE 0 40, as the fence and the edge read it. */
static void progress__tells_of_a_mark_without_its_outbox(void **state)
{
    struct tw_progress frozen = sample, progress;
    struct tw_buf      packed = {0};

    (void)state;
    frozen.mark = 0x1112131415161718;
    tw_cart_progress_pack(&frozen, &packed);
    assert_true(tw_cart_progress_unpack((struct tw_str){packed.ptr, TW_CART_PROGRESS_HEAD_MAX}, &progress));
    assert_int_equal(progress.mark, frozen.mark);
    assert_int_equal(progress.next_offset, sample.next_offset);
    assert_int_equal(progress.outbox.len, 0);
    tw_buf_done(&packed);
}

static void progress__comes_back_with_and_without_its_outbox(void **state)
{
    struct tw_progress progress;
    struct tw_buf      packed = {0};

    (void)state;
    tw_cart_progress_pack(&sample, &packed);
    assert_true(tw_cart_progress_unpack(tw_buf_str(&packed), &progress));
    assert_int_equal(progress.next_offset, sample.next_offset);
    assert_int_equal(progress.clock_ms, sample.clock_ms);
    assert_memory_equal(progress.last_hash, sample.last_hash, sizeof(sample.last_hash));
    assert_true(tw_str_eq(progress.outbox, sample.outbox));
    assert_true(tw_cart_progress_unpack((struct tw_str){packed.ptr, TW_CART_PROGRESS_HEAD}, &progress));
    assert_int_equal(progress.next_offset, sample.next_offset);
    assert_int_equal(progress.outbox.len, 0);
    tw_buf_done(&packed);
}

static void progress__of_no_bytes_is_that_of_nothing_folded(void **state)
{
    struct tw_progress progress = sample;

    (void)state;
    assert_true(tw_cart_progress_unpack((struct tw_str){NULL, 0}, &progress));
    assert_int_equal(progress.next_offset, 0);
    assert_int_equal(progress.clock_ms, 0);
    assert_int_equal(progress.outbox.len, 0);
}

static void assert_refused_when_cut_short(const struct tw_buf *packed, size_t head, struct tw_progress *progress)
{
    for (size_t len = 1; len < head; len++) {
        struct tw_str cut = tw_guarded((struct tw_str){packed->ptr, len});
        assert_false(tw_cart_progress_unpack(cut, progress));
        tw_guarded_free(cut);
    }
}

static void progress__refuses_other_bytes_and_leaves_the_result_alone(void **state)
{
    struct tw_progress progress = sample, frozen = sample;
    struct tw_buf      packed = {0};

    (void)state;
    tw_cart_progress_pack(&sample, &packed);
    assert_refused_when_cut_short(&packed, TW_CART_PROGRESS_HEAD, &progress);
    packed.ptr[8] = (char)0x80; /* a negative offset */
    assert_false(tw_cart_progress_unpack(tw_buf_str(&packed), &progress));
    packed.ptr[8] = 1;
    packed.ptr[0] = 3; /* a later release */
    assert_false(tw_cart_progress_unpack(tw_buf_str(&packed), &progress));
    tw_buf_clear(&packed);
    frozen.mark = 1;
    tw_cart_progress_pack(&frozen, &packed);
    assert_refused_when_cut_short(&packed, TW_CART_PROGRESS_HEAD_MAX, &progress);
    packed.ptr[TW_CART_PROGRESS_HEAD] = 0; /* frozen, and by nobody */
    assert_false(tw_cart_progress_unpack(tw_buf_str(&packed), &progress));
    assert_int_equal(progress.next_offset, sample.next_offset);
    tw_buf_done(&packed);
}

/* --- addresses ---------------------------------------------------------------------------------------------------- */

static struct tw_redis_uri parse_one(const char *uri)
{
    static struct tw_redis_uri uris[TW_REDIS_SERVERS_MAX];
    struct tw_err              err = {0};
    size_t                     count = 0;

    assert_rc(tw_redis_uris_parse(uri, uris, &count, &err), TW_OK, err);
    assert_int_equal(count, 1);
    return uris[0];
}

static void redis_uri__may_be_no_more_than_a_host(void **state)
{
    struct tw_redis_uri uri = parse_one("redis://cache.example");

    (void)state;
    assert_string_equal(uri.host, "cache.example");
    assert_int_equal(uri.port, 6379);
    assert_int_equal(uri.db, 0);
    assert_string_equal(uri.user, "");
    assert_string_equal(uri.password, "");
}

static void redis_uri__has_user_password_port_and_database(void **state)
{
    struct tw_redis_uri uri = parse_one("redis://till:s%40cr%2ct%3A%2f@127.0.0.1:27901/12");

    (void)state;
    assert_string_equal(uri.user, "till");
    assert_string_equal(uri.password, "s@cr,t:/");
    assert_string_equal(uri.host, "127.0.0.1");
    assert_int_equal(uri.port, 27901);
    assert_int_equal(uri.db, 12);
    assert_string_equal(parse_one("redis://u:p@ss@h").password, "p@ss");
    uri = parse_one("redis://:secret@h/");
    assert_string_equal(uri.user, "");
    assert_string_equal(uri.password, "secret");
    assert_int_equal(uri.db, 0);
}

static void redis_uri__may_name_an_ipv6_host(void **state)
{
    struct tw_redis_uri uri = parse_one("redis://[::1]:7000/3");

    (void)state;
    assert_string_equal(uri.host, "::1");
    assert_int_equal(uri.port, 7000);
    assert_int_equal(uri.db, 3);
    assert_int_equal(parse_one("redis://[fe80::1]").port, 6379);
}

static void redis_uris__keep_the_order_of_the_list(void **state)
{
    static struct tw_redis_uri uris[TW_REDIS_SERVERS_MAX];
    size_t                     count = 0;

    (void)state;
    assert_int_equal(tw_redis_uris_parse("redis://a:1,redis://b:2,redis://:p@c:3", uris, &count, NULL), TW_OK);
    assert_int_equal(count, 3);
    assert_string_equal(uris[0].host, "a");
    assert_string_equal(uris[1].host, "b");
    assert_string_equal(uris[2].password, "p");
}

static void redis_uris__can_be_moved_to_other_databases(void **state)
{
    const int     dbs[] = {1, 12, 0, 7};
    struct tw_buf moved = {0};

    (void)state;
    tw_redis_uris_on("redis://a,redis://u:p@s%2f/x@b:7000/3,redis://[::1]/,redis://:@[fe80::1]:9/2147483647", dbs,
                     &moved);
    assert_str(tw_buf_str(&moved), "redis://a/1,redis://u:p@s%2f/x@b:7000/12,redis://[::1]/0,redis://:@[fe80::1]:9/7");
    tw_buf_done(&moved);
}

static void redis_uris__that_are_wrong_are_refused_without_showing_them(void **state)
{
    static const struct {
        const char *uris, *message;
    } wrong[] = {
        {"", "Redis address 1 does not begin with redis://"},
        {"rediss://h", "Redis address 1 does not begin with redis://"},
        {"redis://a,", "Redis address 2 does not begin with redis://"},
        {"redis://a, redis://b", "Redis address 2 does not begin with redis://"},
        {"redis://", "Redis address 1 has a wrong host"},
        {"redis://:hush@", "Redis address 1 has a wrong host"},
        {"redis://::1", "Redis address 1 has a wrong host"},
        {"redis://[::1", "Redis address 1 has a bracket that is not closed"},
        {"redis://[::1]7", "Redis address 1 has a wrong port"},
        {"redis://h:", "Redis address 1 has a wrong port"},
        {"redis://h:0", "Redis address 1 has a wrong port"},
        {"redis://h:65536", "Redis address 1 has a wrong port"},
        {"redis://h:12x", "Redis address 1 has a wrong port"},
        {"redis://h/x", "Redis address 1 has a wrong database number"},
        {"redis://h/-1", "Redis address 1 has a wrong database number"},
        {"redis://%zz:hush@h", "Redis address 1 has a wrong user"},
        {"redis://u:hush%4@h", "Redis address 1 has a wrong password"},
        {"redis://u:hush%00@h", "Redis address 1 has a wrong password"},
    };
    static struct tw_redis_uri uris[TW_REDIS_SERVERS_MAX];

    (void)state;
    for (size_t i = 0; i < TW_LEN(wrong); i++) {
        size_t        count = 77;
        struct tw_err err = {0};
        assert_rc(tw_redis_uris_parse(wrong[i].uris, uris, &count, &err), TW_INVALID, err);
        assert_string_equal(err.msg, wrong[i].message);
        assert_int_equal(count, 77);
    }
}

static void redis_uris__are_refused_beyond_64_servers(void **state)
{
    static struct tw_redis_uri uris[TW_REDIS_SERVERS_MAX];
    struct tw_buf              list = {0};
    size_t                     count = 0;

    (void)state;
    for (int i = 0; i < 64; i++)
        tw_buf_printf(&list, "%sredis://h%d", i ? "," : "", i);
    tw_buf_add(&list, "", 1);
    assert_int_equal(tw_redis_uris_parse(list.ptr, uris, &count, NULL), TW_OK);
    assert_int_equal(count, 64);
    list.len--;
    tw_buf_printf(&list, ",redis://h64");
    tw_buf_add(&list, "", 1);
    assert_int_equal(tw_redis_uris_parse(list.ptr, uris, &count, NULL), TW_INVALID);
    tw_buf_done(&list);
}

static void redis_uri__parts_that_are_too_long_are_refused(void **state)
{
    static struct tw_redis_uri uris[TW_REDIS_SERVERS_MAX];
    char                       text[600];
    size_t                     count = 0;

    (void)state;
    snprintf(text, sizeof(text), "redis://%0255d", 0);
    assert_int_equal(tw_redis_uris_parse(text, uris, &count, NULL), TW_OK);
    snprintf(text, sizeof(text), "redis://%0256d", 0);
    assert_int_equal(tw_redis_uris_parse(text, uris, &count, NULL), TW_INVALID);
    snprintf(text, sizeof(text), "redis://:%0256d@h", 0);
    assert_int_equal(tw_redis_uris_parse(text, uris, &count, NULL), TW_INVALID);
    snprintf(text, sizeof(text), "redis://%0128d@h", 0);
    assert_int_equal(tw_redis_uris_parse(text, uris, &count, NULL), TW_INVALID);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys__have_their_released_names),
        cmocka_unit_test(keys__tell_whose_they_are),
        cmocka_unit_test(keys__of_another_form_are_nobodys),
        cmocka_unit_test(keys__of_extreme_numbers_fit),
        cmocka_unit_test(day__begins_at_midnight_also_before_1970),
        cmocka_unit_test(server_of__is_partition_modulo_servers),
        cmocka_unit_test(totals__count_available_lines_only),
        cmocka_unit_test(a_cart__is_live_until_its_end),
        cmocka_unit_test(progress__has_its_released_form),
        cmocka_unit_test(progress__of_a_frozen_partition_has_its_mark_before_the_outbox),
        cmocka_unit_test(progress__tells_of_a_mark_without_its_outbox),
        cmocka_unit_test(progress__comes_back_with_and_without_its_outbox),
        cmocka_unit_test(progress__of_no_bytes_is_that_of_nothing_folded),
        cmocka_unit_test(progress__refuses_other_bytes_and_leaves_the_result_alone),
        cmocka_unit_test(redis_uri__may_be_no_more_than_a_host),
        cmocka_unit_test(redis_uri__has_user_password_port_and_database),
        cmocka_unit_test(redis_uri__may_name_an_ipv6_host),
        cmocka_unit_test(redis_uris__keep_the_order_of_the_list),
        cmocka_unit_test(redis_uris__can_be_moved_to_other_databases),
        cmocka_unit_test(redis_uris__that_are_wrong_are_refused_without_showing_them),
        cmocka_unit_test(redis_uris__are_refused_beyond_64_servers),
        cmocka_unit_test(redis_uri__parts_that_are_too_long_are_refused),
    };

    return cmocka_run_group_tests_name("cart_keys", tests, NULL, NULL);
}

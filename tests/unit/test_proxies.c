#include "proxies.h"

#include <stdio.h>
#include <string.h>

#include "unit.h"

static struct tw_arena   arena;
static struct tw_proxies proxies;

static int teardown(void **state)
{
    (void)state;
    tw_arena_done(&arena);
    return 0;
}

static void trust(const char *list)
{
    struct tw_err err = {0};

    assert_rc(tw_proxies_parse(list, &proxies, &err), TW_OK, err);
}

static void assert_client(const char *peer, const char *forwarded_for, const char *expected)
{
    assert_str(tw_proxies_client(&proxies, tw_str_of(peer), tw_str_of(forwarded_for), &arena), expected);
}

static void nobody__is_believed_unless_listed(void **state)
{
    (void)state;
    trust("");
    assert_client("127.0.0.1", "203.0.113.7", "127.0.0.1");
    trust("10.0.0.0/8");
    assert_client("127.0.0.1", "203.0.113.7", "127.0.0.1");
    assert_client("11.0.0.1", "203.0.113.7", "11.0.0.1");
    assert_client("10.255.0.1", "203.0.113.7", "203.0.113.7");
    assert_client("10.255.0.1", NULL, "10.255.0.1");
    assert_client("10.255.0.1", "", "10.255.0.1");
}

static void client__is_the_right_most_address_that_is_no_proxy(void **state)
{
    (void)state;
    trust("127.0.0.1, 10.0.0.0/8 ,fd00::/8");
    assert_client("127.0.0.1", "203.0.113.7", "203.0.113.7");
    assert_client("127.0.0.1", "203.0.113.7, 10.1.2.3", "203.0.113.7");
    assert_client("127.0.0.1", "203.0.113.7,10.1.2.3,fd00::1", "203.0.113.7");
    /* what a client wrote itself stands to the left of what the first proxy saw */
    assert_client("127.0.0.1", "198.51.100.1, 203.0.113.7", "203.0.113.7");
    assert_client("127.0.0.1", "10.9.9.9, 127.0.0.1, 203.0.113.7, 10.1.2.3", "203.0.113.7");
    assert_client("127.0.0.1", "198.51.100.1, 203.0.113.7, 192.0.2.9, 10.1.2.3", "192.0.2.9");
    /* a request of a proxy itself */
    assert_client("127.0.0.1", "10.1.2.3, 10.1.2.4", "10.1.2.3");
}

static void hostile__values_end_the_search(void **state)
{
    static const char *const values[] = {
        "unknown",
        "_hidden",
        "203.0.113.7x",
        "203.0.113",
        "203.0.113.7.8",
        "203.0.113.256",
        "0203.0.113.7",
        "0x7f.1",
        ",",
        ",,",
        ", ,",
        "fe80::1%eth0",
        "[2001:db8::1",
        "2001:db8::1]",
        "[]",
        "[]:1",
        ":",
        "::1::",
        "1:2",
        "<script>",
        "203.0.113.7;10.0.0.1",
        "203.0.113.7 10.0.0.1",
        "\"203.0.113.7\"",
        "for=203.0.113.7",
        "203.0.113.7,",
        "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff:1",
        "11111111111111111111111111111111111111111111111111111111111111",
    };

    (void)state;
    trust("127.0.0.1,10.0.0.0/8");
    for (size_t i = 0; i < TW_LEN(values); i++) {
        char list[128];
        assert_client("127.0.0.1", values[i], "127.0.0.1");
        snprintf(list, sizeof(list), "198.51.100.1, %s, 10.0.0.9", values[i]);
        assert_client("127.0.0.1", list, "10.0.0.9");
    }
}

static void value__as_long_as_a_head_is_read_without_harm(void **state)
{
    struct tw_buf list = {0};

    (void)state;
    trust("127.0.0.1,10.0.0.0/8");
    tw_buf_add_str(&list, TW_STR("203.0.113.7"));
    for (int i = 0; i < 800; i++)
        tw_buf_add_str(&list, TW_STR(",10.0.0.1"));
    struct tw_str guarded = tw_guarded(tw_buf_str(&list));
    assert_str(tw_proxies_client(&proxies, TW_STR("127.0.0.1"), guarded, &arena), "203.0.113.7");
    tw_guarded_free(guarded);
    tw_buf_done(&list);
}

static void ports__and_spellings_make_no_difference(void **state)
{
    (void)state;
    trust("127.0.0.1");
    assert_client("127.0.0.1", "203.0.113.7:4711", "203.0.113.7");
    assert_client("127.0.0.1", "[2001:db8::1]:4711", "2001:db8::1");
    assert_client("127.0.0.1", "[2001:DB8:0:0::1]", "2001:db8::1");
    assert_client("127.0.0.1", "2001:0db8:0000::0001", "2001:db8::1");
    assert_client("127.0.0.1", "::ffff:203.0.113.7", "203.0.113.7");
    assert_client("::ffff:127.0.0.1", "203.0.113.7", "203.0.113.7");
}

static void ipv6__networks_are_known_to_the_bit(void **state)
{
    (void)state;
    trust("2001:db8:0:8000::/49, ::1");
    assert_client("2001:db8:0:8000::1", "203.0.113.7", "203.0.113.7");
    assert_client("2001:db8:0:ffff::1", "203.0.113.7", "203.0.113.7");
    assert_client("2001:db8:0:7fff::1", "203.0.113.7", "2001:db8:0:7fff::1");
    assert_client("::1", "203.0.113.7", "203.0.113.7");
    trust("::ffff:0:0/96");
    assert_client("192.0.2.1", "203.0.113.7, 10.0.0.1", "203.0.113.7");
}

static void wrong__lists_are_refused_with_a_reason(void **state)
{
    static const struct {
        const char *list, *message;
    } rows[] = {
        {"10.0.0.1/8", "'10.0.0.1/8' has bits set beyond its prefix"},
        {"10.0.0.0/33", "'10.0.0.0/33' has no prefix length that its kind of address can have"},
        {"0.0.0.0/0", "'0.0.0.0/0' has no prefix length that its kind of address can have"},
        {"::/0", "'::/0' has no prefix length that its kind of address can have"},
        {"10.0.0.0/", "'10.0.0.0/' has no prefix length that its kind of address can have"},
        {"10.0.0.0/8x", "'10.0.0.0/8x' has no prefix length that its kind of address can have"},
        {"fd00::/129", "'fd00::/129' has no prefix length that its kind of address can have"},
        {"127.0.0.1,,10.0.0.0/8", "'' is no IPv4 or IPv6 address"},
        {"localhost", "'localhost' is no IPv4 or IPv6 address"},
        {"*", "'*' is no IPv4 or IPv6 address"},
        {" ", "'' is no IPv4 or IPv6 address"},
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(rows); i++) {
        struct tw_err err = {0};
        assert_int_equal(tw_proxies_parse(rows[i].list, &proxies, &err), TW_INVALID);
        assert_string_equal(err.msg, rows[i].message);
    }
}

static void list__has_an_end(void **state)
{
    struct tw_buf list = {0};
    struct tw_err err = {0};

    (void)state;
    for (int i = 0; i <= TW_PROXIES_MAX; i++)
        tw_buf_printf(&list, "%s10.0.0.%d", i == 0 ? "" : ",", i);
    tw_buf_add(&list, "", 1);
    assert_int_equal(tw_proxies_parse(list.ptr, &proxies, &err), TW_INVALID);
    assert_string_equal(err.msg, "more than 64 networks");
    tw_buf_done(&list);
}

static void network__of_an_address_is_what_one_customer_has(void **state)
{
    (void)state;
    assert_str(tw_address_network(TW_STR("203.0.113.7"), &arena), "203.0.113.7");
    assert_str(tw_address_network(TW_STR("2001:db8:1:2:3:4:5:6"), &arena), "2001:db8:1:2::");
    assert_str(tw_address_network(TW_STR("2001:db8:1:2::"), &arena), "2001:db8:1:2::");
    assert_str(tw_address_network(TW_STR("::ffff:203.0.113.7"), &arena), "::ffff:203.0.113.7");
    assert_str(tw_address_network(TW_STR(""), &arena), "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, teardown)
    const struct CMUnitTest tests[] = {
        TEST(nobody__is_believed_unless_listed),
        TEST(client__is_the_right_most_address_that_is_no_proxy),
        TEST(hostile__values_end_the_search),
        TEST(value__as_long_as_a_head_is_read_without_harm),
        TEST(ports__and_spellings_make_no_difference),
        TEST(ipv6__networks_are_known_to_the_bit),
        TEST(wrong__lists_are_refused_with_a_reason),
        TEST(list__has_an_end),
        TEST(network__of_an_address_is_what_one_customer_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

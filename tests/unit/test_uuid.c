#include "tillwire/uuid.h"

#include <string.h>

#include "unit.h"

static struct tw_uuid parsed(const char *text)
{
    struct tw_uuid id;

    assert_true(tw_uuid_parse(tw_str_of(text), &id));
    return id;
}

static void assert_uuid(struct tw_uuid id, const char *expected)
{
    char text[TW_UUID_TEXT + 1];

    tw_uuid_format(id, text);
    assert_string_equal(text, expected);
}

static struct tw_uuid random_id(uint64_t *random)
{
    struct tw_uuid id;

    for (size_t i = 0; i < sizeof(id.bytes); i++)
        id.bytes[i] = (uint8_t)tw_random(random);
    return id;
}

static void text_form__round_trips_in_lower_case(void **state)
{
    (void)state;
    assert_uuid(parsed("0192F0A0-b1c2-7C05-8811-223344556677"), "0192f0a0-b1c2-7c05-8811-223344556677");
    assert_uuid(tw_uuid_nil, "00000000-0000-0000-0000-000000000000");
    assert_true(tw_uuid_is_nil(parsed("00000000-0000-0000-0000-000000000000")));
    assert_false(tw_uuid_is_nil(parsed("00000000-0000-0000-0000-000000000001")));
}

static void parse__refuses_other_forms(void **state)
{
    static const char *const texts[] = {
        "",
        "0192f0a0b1c27c058811223344556677",
        "{0192f0a0-b1c2-7c05-8811-223344556677}",
        "0192f0a0-b1c2-7c05-8811-22334455667",
        "0192f0a0-b1c2-7c05-8811-2233445566777",
        "0192f0a0-b1c2-7c05-8811-22334455667g",
        "0192f0a0-b1c2-7c05-8811 223344556677",
        "0192f0a0-b1c2-7c0-58811-223344556677",
        "-192f0a0-b1c2-7c05-8811-223344556677",
    };
    struct tw_uuid id = {{9}};

    (void)state;
    for (size_t i = 0; i < TW_LEN(texts); i++) {
        struct tw_str guarded = tw_guarded(tw_str_of(texts[i]));

        assert_false(tw_uuid_parse(guarded, &id));
        assert_int_equal(id.bytes[0], 9);
        tw_guarded_free(guarded);
    }
}

static void cmp__orders_like_the_text(void **state)
{
    (void)state;
    assert_true(tw_uuid_cmp(parsed("0fffffff-ffff-ffff-ffff-ffffffffffff"),
                            parsed("f0000000-0000-0000-0000-000000000000")) < 0);
    assert_true(
        tw_uuid_eq(parsed("0192f0a0-b1c2-7c05-8811-223344556677"), parsed("0192F0A0-B1C2-7C05-8811-223344556677")));
}

static void command_id_new__is_a_version_7_with_time_domain_and_partition(void **state)
{
    static const int32_t partitions[] = {0, 1, 255, 256, 511, 512, 1023};

    (void)state;
    for (int domain = TW_DOMAIN_MEMBER; domain <= TW_DOMAIN_CART; domain++) {
        for (size_t i = 0; i < TW_LEN(partitions); i++) {
            struct tw_uuid id = tw_command_id_new(1763892000123, (enum tw_domain_number)domain, partitions[i]);

            assert_int_equal(id.bytes[6] >> 4, 7);
            assert_int_equal(id.bytes[8] >> 6, 2);
            assert_false(tw_command_id_is_keyed(id));
            assert_int_equal(tw_command_id_time_ms(id), 1763892000123);
            assert_int_equal(tw_command_id_domain(id), domain);
            assert_int_equal(tw_command_id_partition(id), partitions[i]);
        }
    }
}

static void command_id_new__has_62_random_bits(void **state)
{
    uint8_t seen_one[8] = {0};
    uint8_t seen_zero[8] = {0};

    (void)state;
    for (int i = 0; i < 200; i++) {
        struct tw_uuid id = tw_command_id_new(1, TW_DOMAIN_CART, 0);

        for (size_t j = 0; j < 8; j++) {
            seen_one[j] |= id.bytes[8 + j];
            seen_zero[j] |= (uint8_t)~id.bytes[8 + j];
        }
    }
    assert_int_equal(seen_one[0], 0xBF);
    assert_int_equal(seen_zero[0], 0x7F);
    for (size_t j = 1; j < 8; j++) {
        assert_int_equal(seen_one[j], 0xFF);
        assert_int_equal(seen_zero[j], 0xFF);
    }
}

static void command_id_keyed__follows_from_the_digest(void **state)
{
    uint8_t        digest[16];
    struct tw_uuid id;

    (void)state;
    memset(digest, 0xFF, sizeof(digest));
    id = tw_command_id_keyed(digest, TW_DOMAIN_PRODUCT, 5);
    assert_uuid(id, "ffffffff-ffff-8805-bfff-ffffffffffff");
    assert_true(tw_command_id_is_keyed(id));
    assert_int_equal(tw_command_id_time_ms(id), -1);
    assert_int_equal(tw_command_id_domain(id), TW_DOMAIN_PRODUCT);
    assert_int_equal(tw_command_id_partition(id), 5);
}

static void command_id_unkeyed__follows_from_digest_and_time_and_is_none_of_a_key(void **state)
{
    uint8_t        digest[16];
    struct tw_uuid id;

    (void)state;
    memset(digest, 0xFF, sizeof(digest));
    id = tw_command_id_unkeyed(digest, 0x0192F0A0B1C2, TW_DOMAIN_CART, 5);
    assert_uuid(id, "0192f0a0-b1c2-7c05-bfff-ffffffffffff");
    assert_false(tw_command_id_is_keyed(id));
    assert_int_equal(tw_command_id_time_ms(id), 0x0192F0A0B1C2);
    assert_int_equal(tw_command_id_domain(id), TW_DOMAIN_CART);
    assert_int_equal(tw_command_id_partition(id), 5);
    digest[15] = 0;
    assert_false(tw_uuid_eq(id, tw_command_id_unkeyed(digest, 0x0192F0A0B1C2, TW_DOMAIN_CART, 5)));
}

static void command_id_domain__is_0_when_the_bits_name_none(void **state)
{
    (void)state;
    assert_int_equal(tw_command_id_domain(parsed("0192f0a0-b1c2-7005-8811-223344556677")), 0);
}

static void command_id_ledger__forgets_the_partition_only(void **state)
{
    uint8_t digest[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

    (void)state;
    assert_true(tw_uuid_eq(tw_command_id_ledger(tw_command_id_keyed(digest, TW_DOMAIN_CART, 0)),
                           tw_command_id_ledger(tw_command_id_keyed(digest, TW_DOMAIN_CART, 1023))));
    assert_uuid(tw_command_id_ledger(parsed("ffffffff-ffff-8fff-bfff-ffffffffffff")),
                "ffffffff-ffff-8c00-bfff-ffffffffffff");
    assert_false(tw_uuid_eq(tw_command_id_ledger(tw_command_id_keyed(digest, TW_DOMAIN_CART, 0)),
                            tw_command_id_ledger(tw_command_id_keyed(digest, TW_DOMAIN_MEMBER, 0))));
}

/* The values below were computed with Python's hashlib and hmac; they are part of the data and never change. */

static void derived_id__is_pinned(void **state)
{
    struct tw_uuid command_id = parsed("0192f0a0-b1c2-7c05-8811-223344556677");
    struct tw_uuid owner = parsed("60ec45f4-e4a3-84d3-b5ee-bee43579306a");

    (void)state;
    assert_uuid(tw_derived_id(command_id, owner, "session"), "cddf7993-bf78-889f-be32-082491b44dcd");
    assert_false(tw_uuid_eq(tw_derived_id(command_id, owner, "session"), tw_derived_id(command_id, owner, "address")));
    assert_false(
        tw_uuid_eq(tw_derived_id(command_id, owner, "session"), tw_derived_id(command_id, command_id, "session")));
}

static void product_id__is_pinned(void **state)
{
    static const uint8_t expected[12] = {0xa7, 0x4b, 0x86, 0x41, 0x93, 0xb3, 0xa3, 0x39, 0x66, 0xad, 0x28, 0x79};
    uint8_t              object_id[12];

    (void)state;
    tw_product_object_id(TW_STR("TSHIRT-RED-M"), object_id);
    assert_memory_equal(object_id, expected, 12);
    assert_uuid(tw_product_id_of_sku(TW_STR("TSHIRT-RED-M")), "a74b8641-93b3-8ca7-a109-a33966ad2879");
}

static void product_id__is_inverted_exactly(void **state)
{
    uint64_t random = 3;

    (void)state;
    for (int i = 0; i < 10000; i++) {
        struct tw_uuid source = random_id(&random);
        uint8_t        back[12];
        struct tw_uuid id = tw_product_id(source.bytes);

        assert_int_equal(id.bytes[6] >> 4, 8);
        assert_int_equal(id.bytes[8] >> 6, 2);
        assert_true(tw_product_id_to_object_id(id, back));
        assert_memory_equal(back, source.bytes, 12);
    }
}

static int sign(int number)
{
    return (number > 0) - (number < 0);
}

/* What is sorted by ObjectId is sorted by UUID. */
static void product_ids__sort_as_their_object_ids(void **state)
{
    uint64_t random = 20261127;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        uint8_t a[12], b[12];

        for (size_t byte = 0; byte < sizeof(a); byte++) { /* alike up to some byte, also behind the constant */
            a[byte] = (uint8_t)tw_random(&random);
            b[byte] = byte < (size_t)i % (sizeof(a) + 1) ? a[byte] : (uint8_t)tw_random(&random);
        }
        assert_int_equal(sign(tw_uuid_cmp(tw_product_id(a), tw_product_id(b))), sign(memcmp(a, b, sizeof(a))));
    }
}

static void product_id_to_object_id__refuses_what_is_no_image(void **state)
{
    uint64_t random = 4;
    uint8_t  back[12] = {7};

    (void)state;
    for (int i = 0; i < 10000; i++) {
        struct tw_uuid id = random_id(&random);

        id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0F) | 0x80);
        id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3F) | 0x80);
        assert_false(tw_product_id_to_object_id(id, back));
    }
    assert_int_equal(back[0], 7);
    assert_false(tw_product_id_to_object_id(tw_uuid_nil, back));
    assert_false(tw_product_id_to_object_id(parsed("a74b8641-93b3-7ca7-a109-a33966ad2879"), back));
    assert_false(tw_product_id_to_object_id(parsed("a74b8641-93b3-8ca7-a108-a33966ad2879"), back));
}

static void member_id__is_pinned(void **state)
{
    uint8_t key[TW_ID_KEY_BYTES];
    char    check[17];

    (void)state;
    for (uint8_t i = 0; i < TW_ID_KEY_BYTES; i++)
        key[i] = i;
    assert_uuid(tw_member_id(key, TW_STR("ann@example.com")), "8d546db7-4db5-8236-b176-2a7b606eca26");
    tw_id_key_check(key, check);
    assert_string_equal(check, "6b82ececb713c272");
    key[31] ^= 1;
    assert_false(
        tw_uuid_eq(tw_member_id(key, TW_STR("ann@example.com")), parsed("8d546db7-4db5-8236-b176-2a7b606eca26")));
    tw_id_key_check(key, check);
    assert_string_not_equal(check, "6b82ececb713c272");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_form__round_trips_in_lower_case),
        cmocka_unit_test(parse__refuses_other_forms),
        cmocka_unit_test(cmp__orders_like_the_text),
        cmocka_unit_test(command_id_new__is_a_version_7_with_time_domain_and_partition),
        cmocka_unit_test(command_id_new__has_62_random_bits),
        cmocka_unit_test(command_id_keyed__follows_from_the_digest),
        cmocka_unit_test(command_id_unkeyed__follows_from_digest_and_time_and_is_none_of_a_key),
        cmocka_unit_test(command_id_domain__is_0_when_the_bits_name_none),
        cmocka_unit_test(command_id_ledger__forgets_the_partition_only),
        cmocka_unit_test(derived_id__is_pinned),
        cmocka_unit_test(product_id__is_pinned),
        cmocka_unit_test(product_id__is_inverted_exactly),
        cmocka_unit_test(product_ids__sort_as_their_object_ids),
        cmocka_unit_test(product_id_to_object_id__refuses_what_is_no_image),
        cmocka_unit_test(member_id__is_pinned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

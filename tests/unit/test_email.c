/* Links: unistring */
#include "tillwire/email.h"

#include <stdio.h>
#include <string.h>
#include <unictype.h>
#include <unistr.h>

#include "unit.h"

static struct tw_arena arena;

static int setup(void **state)
{
    (void)state;
    tw_arena_reset(&arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_arena_done(&arena);
    return 0;
}

static bool folds(struct tw_str typed, struct tw_str *ret_folded)
{
    struct tw_str trimmed;

    return tw_email_fold(typed, &arena, &trimmed, ret_folded, NULL) == TW_OK;
}

static void assert_folds(const char *typed, const char *expected)
{
    struct tw_str trimmed = {NULL, 0};
    struct tw_str folded = {NULL, 0};
    struct tw_str guarded = tw_guarded(tw_str_of(typed));
    struct tw_err err = {0};

    assert_rc(tw_email_fold(guarded, &arena, &trimmed, &folded, &err), TW_OK, err);
    tw_guarded_free(guarded);
    assert_str(folded, expected);
    assert_true(folds(folded, &folded));
    assert_str(folded, expected);
}

static void assert_refused(struct tw_str typed, const char *reason)
{
    struct tw_str untouched = TW_STR("untouched");
    struct tw_str trimmed = untouched;
    struct tw_str folded = untouched;
    struct tw_str guarded = tw_guarded(typed);
    struct tw_err err = {0};
    enum tw_rc    rc = tw_email_fold(guarded, &arena, &trimmed, &folded, &err);

    tw_guarded_free(guarded);
    if (rc != TW_INVALID || !strstr(err.msg, reason))
        fail_msg("'%.*s': %s '%s' instead of '%s'", TW_STR_ARG(typed), tw_rc_name(rc), err.msg, reason);
    assert_str(trimmed, "untouched");
    assert_str(folded, "untouched");
}

static void ascii__becomes_lower_case(void **state)
{
    (void)state;
    assert_folds("ann@example.com", "ann@example.com");
    assert_folds("Ann.O'Neil+Shop@EXAMPLE.Com", "ann.o'neil+shop@example.com");
    assert_folds("!#$%&'*+-/=?^_`{|}~@x.y", "!#$%&'*+-/=?^_`{|}~@x.y");
    assert_folds("a@b", "a@b");
    assert_folds("user@localhost", "user@localhost");
    assert_folds("a@127.0.0.1", "a@127.0.0.1");
    assert_folds("a@r3---sn.example", "a@r3---sn.example");
}

static void typed_form__is_trimmed_and_otherwise_kept(void **state)
{
    struct tw_str trimmed, folded;

    (void)state;
    assert_int_equal(tw_email_fold(TW_STR(" \t\r\nAnn@Example.com \n"), &arena, &trimmed, &folded, NULL), TW_OK);
    assert_str(trimmed, "Ann@Example.com");
    assert_str(folded, "ann@example.com");
}

static void local_part__is_composed_and_in_lower_case_by_unicode(void **state)
{
    (void)state;
    assert_folds("JOSÉ@x.y", "josé@x.y");
    assert_folds("JOSE\xCC\x81@x.y", "josé@x.y");                /* E + combining acute */
    assert_folds("\xC4\xB0stanbul@x.y", "i\xCC\x87stanbul@x.y"); /* İ keeps its dot: no Turkish rule */
    assert_folds("I\xCC\x87stanbul@x.y", "i\xCC\x87stanbul@x.y");
    assert_folds("Istanbul@x.y", "istanbul@x.y");
    assert_folds("STRASSE@x.y", "strasse@x.y");
    assert_folds("Straße@x.y", "straße@x.y");
    assert_folds("STRA\xE1\xBA\x9E"
                 "E@x.y",
                 "straße@x.y"); /* ẞ */
    assert_folds("ΟΔΟΣ@x.y", "οδος@x.y");
    assert_folds("οδος@x.y", "οδος@x.y");
    assert_folds("οδοσ@x.y", "οδοσ@x.y");
    assert_folds("\xE2\x84\xAA"
                 "elvin@x.y",
                 "kelvin@x.y");       /* the Kelvin sign */
    assert_folds("Ａ@x.y", "ａ@x.y"); /* NFC keeps full width */
    assert_folds("用户@x.y", "用户@x.y");
}

static void domain__goes_through_idna_2008(void **state)
{
    (void)state;
    assert_folds("a@Bücher.DE", "a@xn--bcher-kva.de");
    assert_folds("a@Bu\xCC\x88"
                 "cher.de",
                 "a@xn--bcher-kva.de");
    assert_folds("a@xn--bcher-kva.de", "a@xn--bcher-kva.de");
    assert_folds("a@XN--BCHER-KVA.DE", "a@xn--bcher-kva.de");
    assert_folds("a@faß.de", "a@xn--fa-hia.de"); /* not fass.de: non-transitional */
    assert_folds("a@βόλος.com", "a@xn--nxasmm1c.com");
    assert_folds("a@ＦＵＬＬ。com", "a@full.com"); /* full width, ideographic full stop */
    assert_folds("a@\xC4\xB0.com", "a@xn--i-9bb.com");
    assert_folds("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v");
}

static void parts__are_counted_in_bytes(void **state)
{
    char text[400];

    (void)state;
    snprintf(text, sizeof(text), "%064d@x.y", 1);
    assert_folds(text, text);
    snprintf(text, sizeof(text), "%065d@x.y", 1);
    assert_refused(tw_str_of(text), "longer than 64 bytes");
    snprintf(text, sizeof(text), "%062dü@x.y", 1);
    assert_folds(text, text);
    snprintf(text, sizeof(text), "%062d\xC4\xB0@x.y", 1); /* folding makes 65 bytes of 64 */
    assert_refused(tw_str_of(text), "longer than 64 bytes");
    snprintf(text, sizeof(text), "a@%063d.y", 1);
    assert_folds(text, text);
    snprintf(text, sizeof(text), "a@%064d.y", 1);
    assert_refused(tw_str_of(text), "not a domain");
    snprintf(text, sizeof(text), "%061d@%063d.%063d.%063d", 1, 1, 1, 1);
    assert_int_equal(strlen(text), 253);
    assert_folds(text, text);
    snprintf(text, sizeof(text), "%062d@%063d.%063d.%063d", 1, 1, 1, 1);
    assert_folds(text, text);
    snprintf(text, sizeof(text), "%063d@%063d.%063d.%063d", 1, 1, 1, 1);
    assert_refused(tw_str_of(text), "longer than 254 bytes");
    snprintf(text, sizeof(text), "%063d@%063d.%063d.%055dü", 1, 1, 1, 1); /* 249 bytes; encoding makes 255 */
    assert_refused(tw_str_of(text), "the folded address is longer");
}

static void wrong_local_parts__are_refused(void **state)
{
    static const char *const typed[] = {
        "@x.y",
        ".a@x.y",
        "a.@x.y",
        "a..b@x.y",
        "a b@x.y",
        "\"a b\"@x.y",
        "a(c)@x.y",
        "a,b@x.y",
        "a:b@x.y",
        "a;b@x.y",
        "<a@x.y",
        "a\\b@x.y",
        "[a]@x.y",
        "a\x01@x.y",
        "a\x7F@x.y",
        "a\xC2\x80@x.y" /* C1 control */,
        "a\tb@x.y",
        "a\xC2\xA0@x.y" /* no-break space */,
        "a\xE3\x80\x80@x.y" /* ideographic space */,
        "a\xE2\x80\xA8@x.y" /* line separator */,
        "a\xCD\xBE@x.y" /* Greek question mark, which NFC makes a semicolon */,
        "a\xCD\xB8@x.y" /* not assigned */,
        "a@b@x.y",
        "Ann <ann@x.y",
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(typed); i++)
        assert_refused(tw_str_of(typed[i]), "not a local part");
}

static void wrong_domains__are_refused(void **state)
{
    static const char *const typed[] = {
        "a@",      "a@.",     "a@x.",          "a@.x",         "a@x..y",   "a@-x.y",   "a@x-.y",
        "a@x_y.z", "a@x y.z", "a@[127.0.0.1]", "a@[IPv6:::1]", "a@x.y(c)", "a@x/y",    "a@x:25",
        "a@x.y>",  "a@ü.",    "a@bücher.de。", "a@x\x01.y",    "a@ü_x.de", "a@ü x.de",
    };
    static const char *const not_idna[] = {
        "a@\xE2\x98\x83.net",                       /* snowman */
        "a@xn--a.com",                              /* does not decode to what encodes to it */
        "a@xn--zz--.com",     "a@\xE2\x80\x8D.com", /* joiner without context */
        "a@1א.com",           "a@\xCC\x80.com",
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(typed); i++)
        assert_refused(tw_str_of(typed[i]), "");
    for (size_t i = 0; i < TW_LEN(not_idna); i++)
        assert_refused(tw_str_of(not_idna[i]), "does not fit IDNA 2008");
    assert_refused(TW_STR("a@x."), "not a domain of RFC 5321");
}

static void what_is_no_address__is_refused(void **state)
{
    (void)state;
    assert_refused(TW_STR(""), "no '@'");
    assert_refused((struct tw_str){NULL, 0}, "no '@'");
    assert_refused(TW_STR("   "), "no '@'");
    assert_refused(TW_STR("ann.example.com"), "no '@'");
    assert_refused(TW_STR("ann＠example.com"), "no '@'");
    assert_refused(TW_STR("a\xFF@x.y"), "not UTF-8");
    assert_refused(TW_STR("a\0b@x.y"), "not UTF-8");
    assert_refused(TW_STR("a@x.y\0"), "not UTF-8");
    assert_refused(TW_STR("a@x.\xED\xA0\x80"), "not UTF-8");
}

static void messages__hold_no_address(void **state)
{
    static const char *const typed[] = {"secretname", "secretname..@x.y", "secretname@secretname_",
                                        "secretname@\xE2\x98\x83"};

    (void)state;
    for (size_t i = 0; i < TW_LEN(typed); i++) {
        struct tw_str trimmed, folded;
        struct tw_err err = {0};

        assert_int_equal(tw_email_fold(tw_str_of(typed[i]), &arena, &trimmed, &folded, &err), TW_INVALID);
        assert_null(strstr(err.msg, "secretname"));
    }
}

/* Folds addresses with one character between two texts, twice; how many could be folded. */
static size_t fold_twice_with_every_character(const char *before, const char *behind, ucs4_t step)
{
    size_t count = 0;

    for (ucs4_t c = 0x21; c < 0xE0200; c += c < 0x3400 ? 1 : step) {
        uint8_t       character[8] = {0};
        char          text[64];
        struct tw_str once, twice;
        int           len = u8_uctomb(character, c, sizeof(character));

        tw_arena_reset(&arena);
        if (len < 1)
            continue;
        snprintf(text, sizeof(text), "%s%s%s", before, (char *)character, behind);
        if (!folds(tw_str_of(text), &once))
            continue;
        count++;
        if (!folds(once, &twice) || !tw_str_eq(once, twice))
            fail_msg("U+%04X in '%s' folds to '%.*s', which does not fold to itself", c, text, TW_STR_ARG(once));
    }
    return count;
}

static void folding__is_idempotent_for_every_character(void **state)
{
    (void)state;
    assert_in_range(fold_twice_with_every_character("", "@x.y", 1), 150000, 160000);
    assert_in_range(fold_twice_with_every_character("Aσ", "\xCC\x87.ΣI@x.y", 13), 10000, 300000);
    assert_in_range(fold_twice_with_every_character("E", "\xCC\x81\xCD\x85@x.y", 13), 10000, 300000);
    assert_in_range(fold_twice_with_every_character("a@X", "y.com", 13), 5000, 300000);
}

static void folding__gives_lower_case_letters_only(void **state)
{
    (void)state;
    for (ucs4_t c = 0x80; c < 0x20000; c++) {
        uint8_t       character[8] = {0};
        char          text[16];
        struct tw_str folded;
        ucs4_t        first;

        tw_arena_reset(&arena);
        if (!uc_is_general_category(c, UC_LETTER) || u8_uctomb(character, c, sizeof(character)) < 1)
            continue;
        snprintf(text, sizeof(text), "%s@x.y", (char *)character);
        assert_true(folds(tw_str_of(text), &folded));
        u8_mbtouc(&first, (const uint8_t *)folded.ptr, folded.len);
        if (uc_is_property(first, UC_PROPERTY_CHANGES_WHEN_LOWERCASED))
            fail_msg("U+%04X folds to U+%04X", c, first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ascii__becomes_lower_case, setup, teardown),
        cmocka_unit_test_setup_teardown(typed_form__is_trimmed_and_otherwise_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(local_part__is_composed_and_in_lower_case_by_unicode, setup, teardown),
        cmocka_unit_test_setup_teardown(domain__goes_through_idna_2008, setup, teardown),
        cmocka_unit_test_setup_teardown(parts__are_counted_in_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_local_parts__are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_domains__are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_address__is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(messages__hold_no_address, setup, teardown),
        cmocka_unit_test_setup_teardown(folding__is_idempotent_for_every_character, setup, teardown),
        cmocka_unit_test_setup_teardown(folding__gives_lower_case_letters_only, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

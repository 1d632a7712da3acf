/* Links: PkgConfig::PQ */
#include "member_uri.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

static char *with_schema(const char *uri)
{
    struct tw_err err = {0};
    char         *changed;

    assert_rc(tw_member_uri_of_schema(uri, "tillwire_shadow", &changed, &err), TW_OK, err);
    return changed;
}

/* That libpq reads the changed URI as the given one, but for what @p options it names. */
static void assert_differs_only_in_options(const char *uri, const char *options)
{
    char             *changed = with_schema(uri);
    PQconninfoOption *before = PQconninfoParse(uri, NULL);
    PQconninfoOption *after = PQconninfoParse(changed, NULL);

    assert_non_null(after);
    for (size_t i = 0; before[i].keyword; i++) {
        const char *expected = strcmp(before[i].keyword, "options") ? before[i].val : options;

        assert_string_equal(after[i].keyword, before[i].keyword);
        if (expected && after[i].val)
            assert_string_equal(after[i].val, expected);
        else
            assert_true(expected == after[i].val);
    }
    PQconninfoFree(before);
    PQconninfoFree(after);
    free(changed);
}

#define SCHEMA "-c tillwire.schema=tillwire_shadow"

static void a_uri__keeps_all_it_says(void **state)
{
    static const char *const uris[] = {
        "postgresql://u:p@h:5433/d",
        "postgres://u@h",
        "postgresql://",
        "postgresql://u:p%40%26%3D%25x@h/d?sslmode=require&connect_timeout=7",
        "postgresql://u@[::1]:5433,two.example:5434,three/d?target_session_attrs=any",
        "postgresql:///d?host=/var/run/postgresql&user=u",
        "host=one,two password='it\\'s \\\\ a secret' dbname='a b'",
        "service=shop",
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(uris); i++)
        assert_differs_only_in_options(uris[i], SCHEMA);
}

static void options_of_a_uri__stay_before_the_schema(void **state)
{
    (void)state;
    assert_differs_only_in_options(
        "postgresql://u@h/d?options=-csynchronous_commit%3Doff%20-c%20a.b%3Dc&sslmode=require",
        "-csynchronous_commit=off -c a.b=c " SCHEMA);
    assert_differs_only_in_options("host=h options='-c a.b=c'", "-c a.b=c " SCHEMA);
}

static void a_schema__is_named_once_more_by_the_uri_of_a_shadow(void **state)
{
    char *once = with_schema("postgresql://u@h/d");

    (void)state;
    assert_differs_only_in_options(once, SCHEMA " " SCHEMA); /* the last one counts */
    free(once);
}

static void what_is_no_uri__is_invalid_and_not_repeated(void **state)
{
    struct tw_err err = {0};
    char         *changed = NULL;

    (void)state;
    assert_rc(tw_member_uri_of_schema("postgresql://u:secret@h/d?no_such_word=1", "x", &changed, &err), TW_INVALID,
              err);
    assert_null(strstr(err.msg, "secret"));
    assert_null(changed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_uri__keeps_all_it_says),
        cmocka_unit_test(options_of_a_uri__stay_before_the_schema),
        cmocka_unit_test(a_schema__is_named_once_more_by_the_uri_of_a_shadow),
        cmocka_unit_test(what_is_no_uri__is_invalid_and_not_repeated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

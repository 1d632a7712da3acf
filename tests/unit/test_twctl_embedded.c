/* Links: tw_ctl tw_embedded */
/* That the program carries what schemas/ says, and that workers ask for what it carries. Runs in the source folder. */
#include <stdio.h>
#include <stdlib.h>

#include "tillwire/embedded.h"
#include "tillwire/product_document.h"
#include "unit.h"
#include "workers/member/member_store.h"

static void assert_is_file(const struct tw_embedded_file *file, const char *folder)
{
    static char text[1 << 18];
    char        path[300];
    FILE       *source;
    size_t      len;

    snprintf(path, sizeof(path), "%s/%s", folder, file->name);
    source = fopen(path, "r");
    if (!source)
        fail_msg("there is no %s", path);
    len = fread(text, 1, sizeof(text), source);
    fclose(source);
    if (!tw_str_eq((struct tw_str){text, len}, tw_str_of(file->text)))
        fail_msg("%s is embedded in another form", path);
}

static void files__are_embedded_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < tw_embedded_sql_count; i++)
        assert_is_file(&tw_embedded_sql[i], "schemas/sql");
    for (size_t i = 0; i < tw_embedded_mongo_count; i++)
        assert_is_file(&tw_embedded_mongo[i], "schemas/mongo");
}

static void migrations__are_numbered_without_gaps(void **state)
{
    (void)state;
    assert_true(tw_embedded_sql_count > 0);
    for (size_t i = 0; i < tw_embedded_sql_count; i++)
        assert_int_equal(strtol(tw_embedded_sql[i].name, NULL, 10), i + 1);
}

static void last_migration__is_the_one_the_member_worker_asks_for(void **state)
{
    (void)state;
    assert_int_equal(strtol(TW_MEMBER_SCHEMA_VERSION, NULL, 10), tw_embedded_sql_count);
}

static void collections__are_those_the_product_worker_writes(void **state)
{
    static const char *const names[] = {TW_MONGO_PRODUCTS, TW_MONGO_APPLIED, TW_MONGO_LEDGER, TW_MONGO_PROGRESS,
                                        TW_MONGO_RATINGS};

    (void)state;
    assert_int_equal(tw_embedded_mongo_count, TW_LEN(names));
    for (size_t i = 0; i < TW_LEN(names); i++) {
        char file_name[64];

        snprintf(file_name, sizeof(file_name), "%s.json", names[i]);
        assert_string_equal(tw_embedded_mongo[i].name, file_name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files__are_embedded_byte_by_byte),
        cmocka_unit_test(migrations__are_numbered_without_gaps),
        cmocka_unit_test(last_migration__is_the_one_the_member_worker_asks_for),
        cmocka_unit_test(collections__are_those_the_product_worker_writes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tillwire/part_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

static char          folder[] = "/tmp/tw_part_file.XXXXXX";
static char          path[64], part[64];
static struct tw_err err;

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/file", folder);
    snprintf(part, sizeof(part), "%s.part", path);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    unlink(part);
    return rmdir(folder);
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void assert_holds(const char *text)
{
    char  found[64] = "";
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    assert_int_equal(fread(found, 1, sizeof(found) - 1, file), strlen(text));
    fclose(file);
    assert_string_equal(found, text);
}

static struct tw_part_file given_a_file(const char *text)
{
    struct tw_part_file file;

    assert_int_equal(tw_part_file_open(path, &file, &err), TW_OK);
    assert_int_equal(write(file.fd, text, strlen(text)), strlen(text));
    return file;
}

static void file__has_its_name_only_when_it_is_finished(void **state)
{
    struct tw_part_file file = given_a_file("whole");
    struct stat         status;

    (void)state;
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(tw_part_file_finish(&file, &err), TW_OK);
    tw_part_file_done(&file);
    assert_holds("whole");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(status.st_nlink, 1); /* whoever empties a part later empties nothing of it */
    assert_int_equal(access(part, F_OK), -1);
}

static void file__that_is_not_finished_leaves_nothing(void **state)
{
    struct tw_part_file file = given_a_file("half");

    (void)state;
    tw_part_file_done(&file);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(part, F_OK), -1);
}

static void file__that_came_meanwhile_is_left_alone(void **state)
{
    struct tw_part_file file = given_a_file("ours");

    (void)state;
    write_file(path, "theirs");
    assert_int_equal(tw_part_file_finish(&file, &err), TW_INVALID);
    assert_non_null(strstr(err.msg, "is there already"));
    tw_part_file_done(&file);
    assert_holds("theirs");
}

static void file__has_one_writer_at_a_time(void **state)
{
    struct tw_part_file file = given_a_file("first"), second;

    (void)state;
    assert_int_equal(tw_part_file_open(path, &second, &err), TW_REFUSED);
    assert_non_null(strstr(err.msg, "is being written by somebody else"));
    assert_int_equal(tw_part_file_finish(&file, &err), TW_OK);
    tw_part_file_done(&file);
    assert_holds("first");
}

static void file__takes_over_what_an_interrupted_writer_left(void **state)
{
    struct tw_part_file file;

    (void)state;
    write_file(part, "half of a file that is longer than the whole one");
    file = given_a_file("whole");
    assert_int_equal(tw_part_file_finish(&file, &err), TW_OK);
    tw_part_file_done(&file);
    assert_holds("whole");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(file__has_its_name_only_when_it_is_finished, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(file__that_is_not_finished_leaves_nothing, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(file__that_came_meanwhile_is_left_alone, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(file__has_one_writer_at_a_time, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(file__takes_over_what_an_interrupted_writer_left, make_folder, remove_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

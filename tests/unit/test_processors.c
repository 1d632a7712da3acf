#include "tillwire/processors.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

/* What the kernel shows in /proc and /sys, in a folder of the test. */
static char root[] = "/tmp/tw_processors.XXXXXX";

static const char *const folders[] = {"/proc",
                                      "/proc/self",
                                      "/sys",
                                      "/sys/fs",
                                      "/sys/fs/cgroup",
                                      "/sys/fs/cgroup/shop",
                                      "/sys/fs/cgroup/shop/edge.service"};
static const char *const files[] = {"/proc/self/cgroup", "/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/shop/cpu.max",
                                    "/sys/fs/cgroup/shop/edge.service/cpu.max"};

static const char *path_of(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s%s", root, name);
    return path;
}

static int make_tree(void **state)
{
    (void)state;
    strcpy(root + strlen(root) - 6, "XXXXXX");
    if (!mkdtemp(root))
        return -1;
    for (size_t i = 0; i < TW_LEN(folders); i++)
        if (mkdir(path_of(folders[i]), 0700) != 0)
            return -1;
    return 0;
}

static int remove_tree(void **state)
{
    (void)state;
    for (size_t i = 0; i < TW_LEN(files); i++)
        unlink(path_of(files[i]));
    for (size_t i = TW_LEN(folders); i > 0; i--)
        rmdir(path_of(folders[i - 1]));
    return rmdir(root);
}

static void given(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void given_a_unit(const char *quota)
{
    given("/proc/self/cgroup", "2:cpu:/elsewhere\n0::/shop/edge.service\n");
    given("/sys/fs/cgroup/shop/edge.service/cpu.max", quota);
}

static void without_a_quota__all_processors_count(void **state)
{
    (void)state;
    assert_int_equal(tw_processors_within_quota(root, 8), 8); /* not even a line that tells the group */
    given_a_unit("max 100000\n");
    given("/sys/fs/cgroup/shop/cpu.max", "max 100000\n");
    assert_int_equal(tw_processors_within_quota(root, 8), 8);
}

static void a_quota__bounds_them_and_its_fraction_does_not_count(void **state)
{
    (void)state;
    given_a_unit("250000 100000\n");
    assert_int_equal(tw_processors_within_quota(root, 8), 2);
    assert_int_equal(tw_processors_within_quota(root, 1), 1);
    given_a_unit("25000 50000\n");
    assert_int_equal(tw_processors_within_quota(root, 8), 1);
}

static void a_quota_of_a_group_around_it__bounds_them_too(void **state)
{
    (void)state;
    given_a_unit("600000 100000\n");
    given("/sys/fs/cgroup/shop/cpu.max", "400000 100000\n");
    assert_int_equal(tw_processors_within_quota(root, 8), 4);
    given("/sys/fs/cgroup/cpu.max", "300000 100000\n"); /* of a container, which sees its own group as the root */
    assert_int_equal(tw_processors_within_quota(root, 8), 3);
    given("/proc/self/cgroup", "0::/\n");
    assert_int_equal(tw_processors_within_quota(root, 8), 3);
}

static void what_nobody_understands__bounds_nothing(void **state)
{
    static const char *const texts[] = {"", "\n", "250000\n", "250000 \n", "250000 0\n", "2.5 1\n", "many words\n"};

    (void)state;
    for (size_t i = 0; i < TW_LEN(texts); i++) {
        given_a_unit(texts[i]);
        assert_int_equal(tw_processors_within_quota(root, 8), 8);
    }
    given("/proc/self/cgroup", "2:cpu:/shop\n");
    assert_int_equal(tw_processors_within_quota(root, 8), 8);
}

static void a_process_that_may_run_on_one_processor__has_one(void **state)
{
    cpu_set_t before, one;

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    assert_true(tw_processors() <= CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (size_t i = 0; !CPU_COUNT(&one); i++)
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(tw_processors(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_a_quota__all_processors_count, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(a_quota__bounds_them_and_its_fraction_does_not_count, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(a_quota_of_a_group_around_it__bounds_them_too, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(what_nobody_understands__bounds_nothing, make_tree, remove_tree),
        cmocka_unit_test(a_process_that_may_run_on_one_processor__has_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

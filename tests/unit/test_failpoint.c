/* The program runs itself again with TW_FAIL set: failpoints are read before main(). */
#include "tillwire/failpoint.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tillwire/clock.h"
#include "unit.h"

#ifdef TW_FAILPOINTS

static struct tw_child child;

/* What the program does as a child: five hits of one point, a letter for each result. */
static int hit_five_times(void)
{
    for (int i = 0; i < 5; i++) {
        putchar(tw_failpoint("after_commit") ? 'e' : '.');
        fflush(stdout);
    }
    return 0;
}

/* The same for hits of several subjects. */
static int hit_subjects(void)
{
    static const char *const subjects[] = {"a", "b", "b", "c", "c", "a"};

    for (size_t i = 0; i < TW_LEN(subjects); i++)
        putchar(tw_failpoint_of("store_refuses", tw_str_of(subjects[i])) ? 'e' : '.');
    return 0;
}

static void run_with(const char *spec)
{
    char env[256];

    snprintf(env, sizeof(env), "TW_FAIL=%s", spec);
    tw_child_exec((const char *const[]){"/proc/self/exe", "hit", NULL}, (const char *const[]){env, NULL}, &child);
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;

    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        count++;
    return count;
}

static void error__makes_the_asked_hit_true(void **state)
{
    (void)state;
    run_with("after_commit=error");
    assert_string_equal(child.out, "e....");
    run_with("after_commit=error@3");
    assert_string_equal(child.out, "..e..");
    run_with("after_commit=error@*");
    assert_string_equal(child.out, "eeeee");
    run_with("after_commit=error@2,after_commit=error@4");
    assert_string_equal(child.out, ".e.e.");
    assert_int_equal(child.exit_code, 0);
}

static void error_of_a_subject__is_for_that_one_alone(void **state)
{
    (void)state;
    run_with("after_commit=error:b@*");
    assert_string_equal(child.out, ".....");
    tw_child_exec((const char *const[]){"/proc/self/exe", "subjects", NULL},
                  (const char *const[]){"TW_FAIL=store_refuses=error:b@*,store_refuses=error:c", NULL}, &child);
    assert_string_equal(child.out, ".eee..");
}

static void other_points__do_nothing(void **state)
{
    (void)state;
    run_with("after_commi=error@*,after_commit2=exit");
    assert_string_equal(child.out, ".....");
    assert_string_equal(child.err, "");
    run_with("");
    assert_string_equal(child.out, ".....");
}

static void exit__ends_with_86_at_the_asked_hit(void **state)
{
    (void)state;
    run_with("after_commit=exit@3");
    assert_string_equal(child.out, "..");
    assert_int_equal(child.exit_code, 86);
}

static void firing__leaves_one_log_line_with_name_action_and_hit(void **state)
{
    (void)state;
    run_with("after_commit=error@2");
    assert_int_equal(count_of(child.err, "\n"), 1);
    assert_non_null(
        strstr(child.err, "\"message\":\"failpoint fired\",\"name\":\"after_commit\",\"action\":\"error\",\"hit\":2}"));
    run_with("after_commit=exit");
    assert_non_null(strstr(child.err, "\"action\":\"exit\",\"hit\":1}"));
}

static void sleep__waits_that_long(void **state)
{
    int64_t before_us = tw_monotonic_us();

    (void)state;
    run_with("after_commit=sleep:300@2");
    assert_true(tw_monotonic_us() - before_us >= 300000);
    assert_string_equal(child.out, ".....");
}

static void stop__lasts_until_sigcont(void **state)
{
    pid_t pid = fork();
    int   status;

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("TW_FAIL", "after_commit=stop@1", 1);
        freopen("/dev/null", "w", stdout);
        execl("/proc/self/exe", "test_failpoint", "hit", (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    kill(pid, SIGCONT);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void malformed_specs__are_refused_before_main(void **state)
{
    static const char *const specs[] = {
        "after_commit",
        "after_commit=",
        "=exit",
        "after_commit=crash",
        "after_commit=exit@",
        "after_commit=exit@0",
        "after_commit=exit@x",
        "a=exit,",
        "a=exit,,b=exit",
        "after_commit=sleep",
        "after_commit=sleep:",
        "a=sleep:-1",
        "a=sleep:x",
        "a=exit:5",
        "a=sleep:99999999999",
        "a=exit@-1",
        "a=exit@**",
        "a0123456789012345678901234567890123456789012345678=exit",
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(specs); i++) {
        run_with(specs[i]);
        if (child.exit_code != 78 || !strstr(child.err, "TW_FAIL: '"))
            fail_msg("'%s' ended with %d: %s", specs[i], child.exit_code, child.err);
        assert_string_equal(child.out, "");
    }
}

static void the_point_alloc__makes_an_allocation_fail(void **state)
{
    (void)state;
    tw_child_exec((const char *const[]){"/proc/self/exe", "alloc", NULL},
                  (const char *const[]){"TW_FAIL=alloc=error@3", NULL}, &child);
    assert_int_equal(child.exit_code, 71);
    assert_string_equal(child.out, "12");
    assert_non_null(strstr(child.err, "\"message\":\"out of memory\""));
}

static int allocate_three_times(void)
{
    free(tw_alloc(1));
    putchar('1');
    fflush(stdout);
    free(tw_alloc_zeroed(1, 1));
    putchar('2');
    fflush(stdout);
    free(tw_realloc(NULL, 1));
    putchar('3');
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error__makes_the_asked_hit_true),
        cmocka_unit_test(error_of_a_subject__is_for_that_one_alone),
        cmocka_unit_test(other_points__do_nothing),
        cmocka_unit_test(exit__ends_with_86_at_the_asked_hit),
        cmocka_unit_test(firing__leaves_one_log_line_with_name_action_and_hit),
        cmocka_unit_test(sleep__waits_that_long),
        cmocka_unit_test(stop__lasts_until_sigcont),
        cmocka_unit_test(malformed_specs__are_refused_before_main),
        cmocka_unit_test(the_point_alloc__makes_an_allocation_fail),
    };

    if (argc == 2 && strcmp(argv[1], "subjects") == 0)
        return hit_subjects();
    if (argc == 2)
        return strcmp(argv[1], "hit") == 0 ? hit_five_times() : allocate_three_times();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void failpoints__are_nothing_when_not_compiled_in(void **state)
{
    (void)state;
    assert_false(tw_failpoint("alloc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(failpoints__are_nothing_when_not_compiled_in)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif

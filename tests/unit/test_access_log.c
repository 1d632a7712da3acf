/* Links: tw_edge PkgConfig::JANSSON */
#include "access_log.h"

#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "edge.h"
#include "router.h"
#include "tillwire/clock.h"
#include "tillwire/metrics.h"
#include "unit.h"

enum { THREADS = 4, LINES = 100, ROUNDS = 20 };

static const struct tw_route route = {.method = TW_METHOD_PUT, .pattern = "/v1/cart/items/{product_id}"};
static struct tw_buf         scratch;
static char                  folder[64];
static char                  path[96];

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/test_access_log_XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/access.log", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    rmdir(folder);
    tw_buf_done(&scratch);
    return 0;
}

static struct tw_access_log *open_log(const char *where)
{
    struct tw_access_log *log = NULL;
    struct tw_err         err = {0};

    assert_rc(tw_access_log_open(where, &log, &err), TW_OK, err);
    return log;
}

static char *read_file(const char *name)
{
    static char text[4 << 20];
    int         fd = open(name, O_RDONLY | O_CLOEXEC);
    size_t      len = 0;
    ssize_t     n;

    assert_true(fd >= 0);
    while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)n;
    close(fd);
    text[len] = '\0';
    return text;
}

/* The one line that this request leaves. */
static json_t *line_of(const struct tw_request *request)
{
    struct tw_access_log *log = open_log(path);
    json_t               *line;

    tw_access_log_put(log, request, &(struct tw_answered){202, 512, 1204}, &scratch);
    tw_access_log_close(log);
    line = json_loads(read_file(path), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(line);
    return line;
}

static const char *text_of(const json_t *line, const char *name)
{
    const char *text = json_string_value(json_object_get(line, name));

    assert_non_null(text);
    return text;
}

static void a_line__tells_what_was_asked_and_answered(void **state)
{
    struct tw_request request = {
        .route = &route,
        .method = TW_METHOD_PUT,
        .path = TW_STR("/v1/cart/items/7"),
        .query = TW_STR("ticket=hidden"),
        .address = TW_STR("203.0.113.7"),
        .caller = {.known = true, .member_id = {{1}}},
        .command_id = {{2}},
        .trace_id = "4bf92f3577b34da6a3ce929d0e0e4736",
        .fields[TW_HEADER_AUTHORIZATION] = TW_STR("Bearer hidden"),
    };
    json_t *line = line_of(&request);

    (void)state;
    assert_string_equal(text_of(line, "method"), "PUT");
    assert_string_equal(text_of(line, "route"), "/v1/cart/items/{product_id}");
    assert_string_equal(text_of(line, "path"), "/v1/cart/items/7");
    assert_string_equal(text_of(line, "client"), "203.0.113.7");
    assert_string_equal(text_of(line, "member_id"), "01000000-0000-0000-0000-000000000000");
    assert_string_equal(text_of(line, "command_id"), "02000000-0000-0000-0000-000000000000");
    assert_string_equal(text_of(line, "trace_id"), request.trace_id);
    assert_int_equal(strlen(text_of(line, "time")), 24);
    assert_int_equal(json_integer_value(json_object_get(line, "status")), 202);
    assert_int_equal(json_integer_value(json_object_get(line, "bytes")), 512);
    assert_true(json_real_value(json_object_get(line, "duration_ms")) == 1.204);
    assert_int_equal(json_object_size(line), 11);
    assert_null(strstr(read_file(path), "hidden"));
    json_decref(line);
}

static void a_head_that_was_no_request__leaves_what_is_known(void **state)
{
    struct tw_request request = {.method = TW_METHOD_OTHER, .trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"};
    json_t           *line = line_of(&request);

    (void)state;
    for (const char *const *name = (const char *const[]){"route", "path", "client", "member_id", "command_id", NULL};
         *name; name++)
        assert_null(json_object_get(line, *name));
    json_decref(line);
}

static void a_path__is_cut_between_characters_and_escaped(void **state)
{
    char              text[600] = "/\"\n";
    struct tw_request request = {.method = TW_METHOD_GET, .trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"};
    json_t           *line;

    (void)state;
    while (strlen(text) < 590)
        strcat(text, "ü");
    request.path = tw_str_of(text);
    line = line_of(&request);
    assert_int_equal(strlen(text_of(line, "path")), 511);
    assert_memory_equal(text_of(line, "path"), text, 511);
    json_decref(line);
    unlink(path);
    request.path = TW_STR("/\xff");
    line = line_of(&request);
    assert_null(json_object_get(line, "path"));
    json_decref(line);
}

struct putter {
    struct tw_access_log *log;
    struct tw_thread      thread; /* its address chooses the buffer */
    struct tw_buf         scratch;
};

static void *put_many(void *arg)
{
    struct putter    *putter = arg;
    struct tw_request request = {.method = TW_METHOD_GET, .path = TW_STR("/v1/cart"), .thread = &putter->thread};

    for (int i = 0; i < LINES; i++) {
        tw_access_log_put(putter->log, &request, &(struct tw_answered){200, 1, i}, &putter->scratch);
        usleep(10);
    }
    tw_buf_done(&putter->scratch);
    return NULL;
}

static int count_whole_lines(char *text)
{
    int count = 0;

    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), count++) {
        json_t *json = json_loads(line, 0, NULL);
        assert_non_null(json);
        json_decref(json);
    }
    return count;
}

static void put_from_threads(struct tw_access_log *log, struct putter putters[THREADS])
{
    pthread_t threads[THREADS];

    for (size_t i = 0; i < THREADS; i++) {
        putters[i] = (struct putter){.log = log};
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, &putters[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static long long value_of(const char *line)
{
    struct tw_buf page = {0};
    long long     value = -1;

    tw_metrics_render(&page);
    tw_buf_add(&page, "", 1);
    const char *at = strstr(page.ptr, line);
    assert_non_null(at);
    sscanf(at + strlen(line), "%lld", &value);
    tw_buf_done(&page);
    return value;
}

#define WRITTEN "\ntillwire_edge_access_lines_total{result=\"written\"} "
#define DROPPED "\ntillwire_edge_access_lines_total{result=\"dropped\"} "

/* A round is as much as there is room for, whenever the writer comes; it comes every now and then, also in between. */
static void lines_of_threads__are_whole_and_none_is_lost(void **state)
{
    static struct putter  putters[THREADS];
    struct tw_access_log *log = open_log(path);
    long long             written = value_of(WRITTEN);

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        put_from_threads(log, putters);
        written += (long long)THREADS * LINES;
        for (int i = 0; i < 60000 && value_of(WRITTEN) < written; i++)
            usleep(1000);
        assert_int_equal(value_of(WRITTEN), written);
    }
    tw_access_log_close(log);
    assert_int_equal(count_whole_lines(read_file(path)), ROUNDS * THREADS * LINES);
}

/* Whoever waited for a reader would never end. */
static void a_pipe_nobody_reads__costs_lines_and_is_waited_for_by_nobody(void **state)
{
    long long             written = value_of(WRITTEN);
    long long             dropped = value_of(DROPPED);
    struct tw_request     request = {.method = TW_METHOD_GET, .path = TW_STR("/v1/cart")};
    struct tw_access_log *log;

    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    log = open_log(path);
    for (int i = 0; i < 20000; i++)
        tw_access_log_put(log, &request, &(struct tw_answered){200, 1, 1}, &scratch);
    tw_access_log_close(log);
    assert_true(value_of(DROPPED) > dropped);
    assert_int_equal(value_of(DROPPED) - dropped + value_of(WRITTEN) - written, 20000);
    close(reader);
}

static void a_renamed_file__is_left_for_a_new_one(void **state)
{
    char                  old_path[128];
    struct tw_request     request = {.method = TW_METHOD_GET, .path = TW_STR("/v1/cart")};
    struct tw_access_log *log = open_log(path);
    struct tw_err         err = {0};
    struct stat           status;

    (void)state;
    snprintf(old_path, sizeof(old_path), "%s.1", path);
    tw_access_log_put(log, &request, &(struct tw_answered){200, 1, 1}, &scratch);
    while (stat(path, &status) != 0 || status.st_size == 0)
        usleep(1000);
    rename(path, old_path);
    assert_rc(tw_access_log_reopen(log, &err), TW_OK, err);
    tw_access_log_put(log, &request, &(struct tw_answered){201, 1, 1}, &scratch);
    tw_access_log_close(log);
    assert_non_null(strstr(read_file(old_path), "\"status\":200"));
    assert_null(strstr(read_file(old_path), "\"status\":201"));
    assert_non_null(strstr(read_file(path), "\"status\":201"));
    unlink(old_path);
}

static void what_is_no_stream__is_refused(void **state)
{
    struct tw_access_log *log = NULL;
    struct tw_err         err = {0};

    (void)state;
    assert_rc(tw_access_log_open("relative.log", &log, &err), TW_INVALID, err);
    assert_rc(tw_access_log_open("/nonexistent/access.log", &log, &err), TW_INVALID, err);
    assert_rc(tw_access_log_open("off", &log, &err), TW_OK, err);
    assert_null(log);
    tw_access_log_put(NULL, NULL, NULL, NULL);
    assert_rc(tw_access_log_reopen(NULL, &err), TW_OK, err);
    tw_access_log_close(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_line__tells_what_was_asked_and_answered),
        TEST(a_head_that_was_no_request__leaves_what_is_known),
        TEST(a_path__is_cut_between_characters_and_escaped),
        TEST(lines_of_threads__are_whole_and_none_is_lost),
        TEST(a_pipe_nobody_reads__costs_lines_and_is_waited_for_by_nobody),
        TEST(a_renamed_file__is_left_for_a_new_one),
        TEST(what_is_no_stream__is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

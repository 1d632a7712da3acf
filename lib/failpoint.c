/* Crash points of tests; see tillwire/failpoint.h. Without TW_FAILPOINTS this file is empty. */
#include "tillwire/failpoint.h"

#ifdef TW_FAILPOINTS

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "tillwire/log.h"

enum { POINTS_MAX = 16, NAME_MAX_BYTES = 47, EXIT_CODE = 86, EVERY_HIT = 0, SLEEP_MAX_MS = 3600000 };

enum action { ACTION_EXIT, ACTION_STOP, ACTION_ERROR, ACTION_SLEEP };
static const char *const action_names[] = {"exit", "stop", "error", "sleep"};

struct point {
    char            name[NAME_MAX_BYTES + 1];
    enum action     action;
    struct tw_str   subject; /* of an error that is meant for one; empty: for all */
    int64_t         sleep_ms;
    int64_t         hit; /* which one fires, or EVERY_HIT */
    _Atomic int64_t hits;
};

/* Written once, before main(); afterwards only the hit counters change. */
static struct point points[POINTS_MAX];
static size_t       point_count;

/* What stands before `separator`, or all; `rest` keeps what is behind it, NULL when there was none. */
static struct tw_str cut(struct tw_str *rest, char separator)
{
    const char   *at = rest->len ? memchr(rest->ptr, separator, rest->len) : NULL;
    struct tw_str head = {rest->ptr, at ? (size_t)(at - rest->ptr) : rest->len};

    *rest = at ? (struct tw_str){at + 1, rest->len - head.len - 1} : (struct tw_str){NULL, 0};
    return head;
}

/* `exit`, `stop`, `error`, `error:subject` or `sleep:ms`. */
static bool parse_action(struct tw_str text, struct point *point)
{
    struct tw_str argument = text;
    struct tw_str name = cut(&argument, ':');

    for (size_t i = 0; i < TW_LEN(action_names); i++) {
        if (!tw_str_is(name, action_names[i]))
            continue;
        point->action = (enum action)i;
        if (point->action == ACTION_ERROR && argument.len) {
            point->subject = argument;
            return true;
        }
        if (point->action != ACTION_SLEEP)
            return !argument.ptr;
        return tw_str_to_int(argument, &point->sleep_ms) && point->sleep_ms >= 0 && point->sleep_ms <= SLEEP_MAX_MS;
    }
    return false;
}

/* `name=action`, `name=action@3` or `name=action@*`. */
static bool parse_point(struct tw_str text, struct point *point)
{
    struct tw_str rest = text;
    struct tw_str name = cut(&rest, '=');
    struct tw_str hit = rest;
    struct tw_str action = cut(&hit, '@');

    if (name.len == 0 || name.len > NAME_MAX_BYTES || !parse_action(action, point))
        return false;
    memcpy(point->name, name.ptr, name.len);
    point->hit = 1;
    if (!hit.ptr)
        return true;
    if (tw_str_is(hit, "*")) {
        point->hit = EVERY_HIT;
        return true;
    }
    return tw_str_to_int(hit, &point->hit) && point->hit >= 1;
}

__attribute__((constructor)) static void read_points(void)
{
    struct tw_str rest = tw_str_of(getenv("TW_FAIL"));

    if (rest.len == 0)
        return;
    while (rest.ptr) {
        struct tw_str text = cut(&rest, ',');

        if (point_count == POINTS_MAX || !parse_point(text, &points[point_count])) {
            fprintf(stderr,
                    "TW_FAIL: '%.*s' is not name=exit|stop|error|error:subject|sleep:ms with @n or @* behind it, "
                    "or there are more than %d\n",
                    TW_STR_ARG(text), POINTS_MAX);
            _exit(EX_CONFIG);
        }
        point_count++;
    }
}

static void sleep_ms(int64_t ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

/* True for ACTION_ERROR. */
static bool fire(const struct point *point, int64_t hit)
{
    tw_log(TW_LOG_WARN, "failpoint fired", TW_F_TEXT("name", point->name),
           TW_F_TEXT("action", action_names[point->action]), TW_F_INT("hit", hit));
    switch (point->action) {
    case ACTION_EXIT:
        _exit(EXIT_CODE);
    case ACTION_STOP:
        raise(SIGSTOP);
        return false;
    case ACTION_SLEEP:
        sleep_ms(point->sleep_ms);
        return false;
    case ACTION_ERROR:
        return true;
    }
    return false;
}

bool tw_failpoint_of(const char *name, struct tw_str subject)
{
    bool is_error = false;

    for (size_t i = 0; i < point_count; i++) {
        struct point *point = &points[i];

        if (strcmp(point->name, name) != 0 || !tw_str_eq(point->subject, subject))
            continue;

        int64_t hit = atomic_fetch_add(&point->hits, 1) + 1;

        if (point->hit == EVERY_HIT || point->hit == hit)
            is_error |= fire(point, hit);
    }
    return is_error;
}

bool tw_failpoint(const char *name)
{
    return tw_failpoint_of(name, (struct tw_str){NULL, 0});
}

#endif

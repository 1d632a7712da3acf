/* The table of refusals; see tillwire/outcome.h. */
#include "tillwire/outcome.h"

#include <assert.h>

static const struct {
    const char *code;
    int         http;
    const char *title;
} problems[] = {
#define X(name, code, http, title) {code, http, title},
    TW_PROBLEM_MAP(X)
#undef X
};

const char *tw_problem_code(enum tw_problem problem)
{
    assert((size_t)problem < TW_LEN(problems));
    return problems[problem].code;
}

const char *tw_problem_title(enum tw_problem problem)
{
    assert((size_t)problem < TW_LEN(problems));
    return problems[problem].title;
}

int tw_problem_http(enum tw_problem problem)
{
    assert((size_t)problem < TW_LEN(problems));
    return problems[problem].http;
}

enum tw_problem tw_problem_of_code(struct tw_str code)
{
    for (size_t i = 0; i < TW_LEN(problems); i++) {
        if (tw_str_is(code, problems[i].code))
            return (enum tw_problem)i;
    }
    return TW_PROBLEM_INTERNAL;
}

const char *tw_status_name(enum tw_status status)
{
    static const char *const names[] = {
        [TW_SUCCEEDED] = "succeeded",
        [TW_REJECTED] = "rejected",
        [TW_DEAD_LETTERED] = "dead_lettered",
        [TW_PENDING] = "accepted",
    };

    assert((size_t)status < TW_LEN(names));
    return names[status];
}

struct tw_outcome tw_succeeded(int http_status, struct tw_str resource)
{
    return (struct tw_outcome){.status = TW_SUCCEEDED, .http_status = http_status, .resource = resource};
}

struct tw_outcome tw_pending(struct tw_str resource)
{
    return (struct tw_outcome){.status = TW_PENDING, .http_status = 202, .resource = resource};
}

struct tw_outcome tw_rejected(enum tw_problem problem, const char *static_detail)
{
    return (struct tw_outcome){
        .status = TW_REJECTED,
        .http_status = tw_problem_http(problem),
        .problem = problem,
        .detail = tw_str_of(static_detail),
    };
}

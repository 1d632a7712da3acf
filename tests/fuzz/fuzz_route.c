/* Links: tw_histories tw_edge tw_member_domain tw_product_domain tw_cart_domain PkgConfig::JANSSON */
/*
 * From a request to the record in the log: HTTP requests as in fuzz_request.c, whose heads are good, through the router and
 * the handlers, with stores, log and passwords played by stand_ins.c. A header field `Choices` has a letter for each
 * answer of these; `Caller` says who calls: nobody, a member, or whoever may do anything.
 *
 * No record that is sent becomes a dead letter of its worker: what the edge takes, the worker can decode, and it came to
 * the right partition. Every request gets one well-formed answer, and none of them is that we failed.
 */
#include <jansson.h>
#include <sodium.h>
#include <string.h>

#include "answer.h"
#include "histories.h"
#include "http_cut.h"
#include "routes/routes.h"
#include "stand_ins.h"
#include "tillwire/clock.h"
#include "tillwire/gen/topics.h"
#include "tillwire/log.h"
#include "workers/cart/cart_domain.h"
#include "workers/member/member_domain.h"
#include "workers/product/product_domain.h"

enum { BODY_MAX = 65536 };

static const struct tw_edge_settings settings = {.access_ttl_s = 900, .refresh_ttl_s = 86400};
static struct tw_edge edge = {.settings = &settings, .opaque_key = {1, 2, 3}, .id_key = {4, 5}, .idempotency_key = {6}};
static struct tw_router router;
static struct tw_arena  arena;
static struct tw_reply  reply;
static struct tw_thread thread;

static const struct tw_request_limits limits = {
    .uri_bytes = 2048, .headers_bytes = 8192, .body_bytes = BODY_MAX, .batch_bytes = BODY_MAX, .deadline_ms = 10000};

static void prepare(void)
{
    static struct tw_token_keys keys;

    if (router.count > 0)
        return;
    must(sodium_init() >= 0);
    tw_log_set_level(TW_LOG_ERROR);
    must(tw_token_keys_parse(TW_TOKEN_HS256,
                             TW_STR("k1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"), &keys,
                             NULL) == TW_OK);
    edge.keys = tw_key_ring_new(&keys, "tillwire", "api");
    edge.recent = tw_recent_new();
    edge.categories = tw_kept_new();
    edge.tags = tw_kept_new();
    edge.used_tickets = tw_used_tickets_new();
    tw_routes_public(&router);
}

/* --- what is sent ------------------------------------------------------------------------------------------------- */

static const struct tw_domain *domain_of(const char *topic)
{
    static const struct tw_domain *const domains[] = {&tw_member_domain, &tw_product_domain, &tw_cart_domain};

    for (size_t i = 0; i < TW_LEN(domains); i++)
        if (strcmp(tw_topic_of(domains[i]->number, TW_TOPIC_COMMANDS)->name, topic) == 0)
            return domains[i];
    abort();
}

/* The worker's own turn, on an empty store. */
static void must_be_understood(const struct tw_send *send)
{
    const struct tw_domain *domain = domain_of(send->topic);
    struct tw_record        record = {.partition = send->partition,
                                      .timestamp_ms = tw_now_ms(),
                                      .key = send->key,
                                      .value = send->value,
                                      .headers = send->headers,
                                      .header_count = send->header_count};
    struct tw_test_log      log = {.records = &record, .len = 1, .partition = send->partition};
    struct tw_fold          fold;

    tw_fold_open(&fold, domain, 0);
    fold.config.partition_count = tw_topic_of(domain->number, TW_TOPIC_COMMANDS)->partitions;
    memcpy(fold.config.id_key, edge.id_key, sizeof(edge.id_key));
    fold.partition = send->partition;
    must(tw_fold_next(&fold, &log, 1));
    must(fold.turn.counts.dead == 0 && fold.turn.counts.succeeded + fold.turn.counts.rejected == 1);
    tw_fold_close(&fold);
}

/* --- a request ---------------------------------------------------------------------------------------------------- */

static struct tw_str field_of(const struct tw_raw_request *raw, const char *name)
{
    for (size_t i = 0; i < raw->field_count; i++)
        if (strcmp(raw->fields[i].name, name) == 0)
            return tw_str_of(raw->fields[i].value);
    return (struct tw_str){0};
}

static struct tw_caller caller_of(struct tw_str who)
{
    struct tw_caller caller = {.scope = ""};

    if (tw_str_is(who, "nobody"))
        return caller;
    caller = (struct tw_caller){.known = true, .member_id = {{1, 2, 3}}, .token_id = {{7}}, .scope = ""};
    caller.expires_s = tw_now_ms() / 1000 + 60;
    if (!tw_str_is(who, "member"))
        caller.scope = "products:write products:read members:read members:admin events:read commands:read";
    return caller;
}

static bool may_call(const struct tw_route *route, const struct tw_caller *caller)
{
    if (route->access == TW_ACCESS_BEARER && !caller->known)
        return false;
    return !route->scope || tw_token_has_scope(caller->scope, route->scope);
}

static void handle(struct tw_request *request, const struct tw_raw_request *raw)
{
    char allow[TW_ALLOW_TEXT] = "";

    request->route = tw_router_find(&router, request, allow);
    if (!request->route)
        return;
    request->caller = caller_of(field_of(raw, "Caller"));
    if (request->route->access == TW_ACCESS_PUBLIC)
        request->caller = (struct tw_caller){.scope = ""};
    if (!may_call(request->route, &request->caller))
        return;
    tw_reply_reset(&reply);
    tw_stand_ins_begin(field_of(raw, "Choices"), must_be_understood);
    request->route->handle(request, &reply);
    must(reply.status != 500 || memmem(reply.body.ptr, reply.body.len, "dead-lettered", 13));
    tw_fuzz_answer(&edge, request, &reply);
}

/* The body is all that follows, whatever its head says of it. */
static bool try_request(const struct tw_http_cut *cut, struct tw_str behind)
{
    static const uint64_t random[3] = {1, 2, 3};
    const char           *detail = "";
    struct tw_request     request = {.limits = &limits,
                                     .edge = &edge,
                                     .thread = &thread,
                                     .arena = &arena,
                                     .address = TW_STR("192.0.2.1"),
                                     .network = TW_STR("192.0.2.1"),
                                     .start_us = tw_monotonic_us()};

    if (tw_request_parse(&cut->raw, &request, &detail) != TW_PROBLEM_NONE)
        return false;
    request.body = behind;
    tw_request_trace(&request, random);
    handle(&request, &cut->raw);
    return request.route != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct tw_str      own = tw_fuzz_own((struct tw_str){(const char *)bytes, len});
    struct tw_http_cut cut = {0};
    bool               is_found = false;

    prepare();
    if (tw_http_cut(own, &cut))
        is_found = try_request(&cut, (struct tw_str){own.ptr + cut.head_len, own.len - cut.head_len});
    tw_http_cut_done(&cut);
    tw_arena_reset(&arena);
    free((char *)(uintptr_t)own.ptr);
    return is_found ? 0 : -1; /* what no route gets is the affair of fuzz_request */
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

/* Another letter for one of the answers. */
static void change_choices(struct tw_str head, uint64_t *random, struct tw_buf *out)
{
    static const char letters[] = "nuuro012345AZ";
    const char       *field = memmem(head.ptr, head.len, "\r\nChoices: ", 11);
    size_t            before = field ? (size_t)(field - head.ptr) + 11 : head.len - 2;
    char              letter = letters[tw_fuzz_dice(random, sizeof(letters) - 1)];

    tw_buf_add(out, head.ptr, before);
    if (!field)
        tw_buf_add_str(out, TW_STR("Choices: "));
    for (size_t i = tw_fuzz_dice(random, 8); field && i > 0 && head.ptr[before] != '\r'; i--)
        tw_buf_add(out, head.ptr + before++, 1);
    tw_buf_add(out, &letter, 1);
    if (!field)
        tw_buf_add_str(out, TW_STR("\r\n"));
    else if (head.ptr[before] != '\r' && tw_fuzz_dice(random, 2))
        before++;
    tw_buf_add(out, head.ptr + before, head.len - before);
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t len, size_t max, unsigned int seed)
{
    uint64_t      random = seed;
    const char   *end = len ? memmem(bytes, len, "\r\n\r\n", 4) : NULL;
    struct tw_str head = {(const char *)bytes, end ? (size_t)(end + 4 - (const char *)bytes) : 0};
    struct tw_str body = {(const char *)bytes + head.len, len - head.len};
    struct tw_buf out = {0};
    size_t        deed = tw_fuzz_dice(&random, 10);

    if (!end || deed == 0)
        return tw_fuzz_replace(bytes, len, max, &out);
    if (deed < 3) {
        change_choices(head, &random, &out);
        tw_buf_add_str(&out, body);
    } else if (deed < 5 || body.len == 0) {
        tw_fuzz_add_mutated(&out, head, 32);
        tw_buf_add_str(&out, body);
    } else {
        tw_buf_add_str(&out, head);
        if (!tw_fuzz_mutate_json(body, &random, &out))
            tw_fuzz_add_mutated(&out, body, 64);
    }
    return tw_fuzz_replace(bytes, len, max, &out);
}

/* /v1/commands/{id}: what became of a command. */
#include "routes/routes.h"

#include "tillwire/clock.h"
#include "tillwire/gen/topics.h"

enum { COMMAND_SEGMENT = 2 };

#define KEPT_MS TW_LEDGER_LIFE_MS

/** NULL: there is none of this number. */
static const struct tw_type *type_of(struct tw_uuid command_id, uint16_t number)
{
    enum tw_domain_number        domain = tw_command_id_domain(command_id);
    const struct tw_type *const *types = domain == TW_DOMAIN_MEMBER    ? tw_member_commands
                                         : domain == TW_DOMAIN_PRODUCT ? tw_product_commands
                                                                       : tw_cart_commands;
    size_t                       count = domain == TW_DOMAIN_MEMBER    ? tw_member_command_count
                                         : domain == TW_DOMAIN_PRODUCT ? tw_product_command_count
                                                                       : tw_cart_command_count;

    return number < count ? types[number] : NULL;
}

static void open_status(struct tw_json *json, struct tw_uuid command_id, struct tw_str type, const char *status,
                        int64_t submitted_ms)
{
    tw_json_open(json, '{');
    tw_json_key(json, "command_id");
    tw_json_uuid(json, command_id);
    tw_json_key(json, "type");
    tw_json_text(json, type);
    tw_json_key(json, "status");
    tw_json_text(json, tw_str_of(status));
    tw_json_key(json, "submitted_at");
    tw_json_time(json, submitted_ms);
}

static void reply_accepted(struct tw_uuid command_id, const struct tw_location *location, struct tw_reply *reply)
{
    const struct tw_type *type = type_of(command_id, location->type);
    struct tw_json        json = {&reply->body, false};

    tw_reply_json(reply, 200);
    tw_reply_retry_after(reply, 1);
    open_status(&json, command_id, type ? tw_str_of(type->name) : TW_STR(""), "accepted", location->submitted_ms);
    tw_json_close(&json, '}');
}

static void write_end(struct tw_json *json, const struct tw_request *request, const struct tw_ledger_row *row)
{
    tw_json_key(json, "finished_at");
    tw_json_time(json, row->at_ms);
    tw_json_key(json, "http_status");
    tw_json_int(json, row->outcome.http_status);
    if (row->outcome.problem != TW_PROBLEM_NONE) {
        tw_json_key(json, "problem");
        tw_problem_write(json, request, row->outcome.problem, row->outcome.detail, NULL);
    }
}

/** A saga's row says `accepted` until its last step. */
static void reply_row(const struct tw_request *request, struct tw_uuid command_id, const struct tw_ledger_row *row,
                      struct tw_reply *reply)
{
    struct tw_json json = {&reply->body, false};

    tw_reply_json(reply, 200);
    open_status(&json, command_id, row->type, tw_status_name(row->outcome.status), row->submitted_ms);
    if (row->outcome.resource.len > 0) {
        tw_json_key(&json, "resource");
        tw_json_text(&json, row->outcome.resource);
    }
    if (row->outcome.status == TW_PENDING)
        tw_reply_retry_after(reply, 1);
    else
        write_end(&json, request, row);
    tw_json_close(&json, '}');
}

static const char no_such_command[] = "there is no such command";

/** Anonymous commands are everybody's who knows the id, which nobody can guess; others are their caller's. */
static bool may_see(const struct tw_request *request, struct tw_uuid caller)
{
    return tw_uuid_is_nil(caller) || tw_uuid_eq(caller, request->caller.member_id) ||
           tw_token_has_scope(request->caller.scope, "commands:read");
}

/** The sentence is that of an unknown command: nobody learns that somebody else's exists. */
static void reply_hidden(const struct tw_request *request, struct tw_reply *reply)
{
    if (request->caller.known)
        tw_reply_refuse(reply, request, TW_PROBLEM_NOT_FOUND, no_such_command);
    else
        tw_reply_refuse(reply, request, TW_PROBLEM_UNAUTHENTICATED, "");
}

/** Is it known to have been accepted: by the sealed text of its Location, or by this edge's memory? */
static bool find_accepted(struct tw_request *request, struct tw_uuid command_id, struct tw_uuid *ret_caller,
                          struct tw_location *ret_location)
{
    struct tw_str text;

    if (tw_request_query(request, "at", &text) == TW_QUERY_OK &&
        tw_location_open(request->edge->opaque_key, command_id, text, ret_caller, ret_location))
        return true;
    return tw_recent_find(request->edge->recent, command_id, ret_caller, ret_location);
}

static void reply_unknown(const struct tw_request *request, struct tw_uuid command_id, struct tw_reply *reply)
{
    int64_t made_ms = tw_command_id_time_ms(command_id);
    bool    is_old = made_ms >= 0 && made_ms < tw_now_ms() - KEPT_MS;

    tw_reply_refuse(reply, request, is_old ? TW_PROBLEM_GONE : TW_PROBLEM_NOT_FOUND,
                    is_old ? "outcomes are kept for 24 hours" : no_such_command);
}

/** Everything that is known of a command. */
struct found {
    struct tw_ledger_row row;         /* when rc is OK */
    struct tw_location   location;    /* else, when it is accepted */
    bool                 is_accepted; /* not in the ledger yet, but certainly sent */
    struct tw_uuid       caller;
    enum tw_rc           rc; /* of the ledger */
};

static void look_up(struct tw_request *request, struct tw_uuid command_id, struct found *found, struct tw_err *reterr)
{
    found->rc = tw_command_ledger(request, command_id, &found->row, reterr);
    if (found->rc == TW_OK)
        found->caller = found->row.caller;
    else if (found->rc == TW_NOT_FOUND)
        found->is_accepted = find_accepted(request, command_id, &found->caller, &found->location) &&
                             found->location.submitted_ms > tw_now_ms() - KEPT_MS;
}

static void await_end(struct tw_request *request, struct tw_uuid command_id, struct found *found, int wait_s,
                      struct tw_err *reterr)
{
    int64_t offset = found->rc == TW_OK ? found->row.offset : found->location.offset;

    found->rc = tw_command_await_end(request, command_id, offset, wait_s, &found->row, reterr);
}

/** Is there an end to wait for? A quiet command's is never told: whoever waited for it would hold a seat for nothing. */
static bool has_end_ahead(struct tw_uuid command_id, const struct found *found)
{
    const struct tw_type *type = found->is_accepted ? type_of(command_id, found->location.type) : NULL;

    if (found->rc == TW_OK)
        return found->row.outcome.status == TW_PENDING;
    return found->is_accepted && (tw_command_id_is_keyed(command_id) || (type && !type->quiet));
}

static void get_command(struct tw_request *request, struct tw_reply *reply)
{
    struct found   found = {.caller = tw_uuid_nil};
    struct tw_uuid command_id;
    struct tw_err  err = {0};
    int            wait_s = tw_request_wait_s(request);

    if (!tw_route_uuid(request, COMMAND_SEGMENT, &command_id, reply))
        return;
    look_up(request, command_id, &found, &err);
    if (wait_s > 0 && may_see(request, found.caller) && has_end_ahead(command_id, &found))
        await_end(request, command_id, &found, wait_s, &err);
    if (found.rc != TW_OK && found.rc != TW_NOT_FOUND)
        tw_route_store_failed(request, found.rc, &err, reply);
    else if (found.rc == TW_NOT_FOUND && !found.is_accepted)
        reply_unknown(request, command_id, reply);
    else if (!may_see(request, found.caller))
        reply_hidden(request, reply);
    else if (found.rc == TW_OK)
        reply_row(request, command_id, &found.row, reply);
    else
        reply_accepted(command_id, &found.location, reply);
    if (reply->status == 200 && wait_s > 0 && found.rc == TW_OK && found.row.outcome.status != TW_PENDING)
        tw_buf_printf(&reply->fields, "Preference-Applied: wait=%d\r\n", wait_s);
}

const struct tw_route tw_routes_commands[] = {
    {TW_METHOD_GET, "/v1/commands/{command_id}", TW_ACCESS_OPTIONAL, NULL, get_command},
    {0},
};

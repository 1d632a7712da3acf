#include "member_commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tillwire/clock.h"
#include "tillwire/gen/topics.h"

#define WHERE  "twctl.commands"
#define SOURCE "/tillwire/twctl"

enum { QUEUE_KBYTES = 4096, POLL_MS = 100, LOOK_AGAIN_US = 50 * 1000 };

static const struct tw_topic *topic(void)
{
    return tw_topic_of(TW_DOMAIN_MEMBER, TW_TOPIC_COMMANDS);
}

/* --- producer ----------------------------------------------------------------------------------------------------- */

static void on_report(void *self, const struct tw_report *report)
{
    struct tw_ctl_commands *commands = self;

    commands->report = *report;
    commands->reported = true;
}

enum tw_rc tw_ctl_commands_open(const char *brokers, int timeout_ms, struct tw_ctl_commands *ret_commands,
                                struct tw_err *reterr)
{
    const char *const          topics[] = {topic()->name};
    struct tw_producer_options options = {
        .brokers = brokers,
        .client_id = "twctl",
        .timeout_ms = timeout_ms,
        .queue_kbytes = QUEUE_KBYTES,
        .report = on_report,
        .self = ret_commands,
    };

    *ret_commands = (struct tw_ctl_commands){.timeout_ms = timeout_ms};
    TW_TRY(tw_producer_open(&options, &ret_commands->producer, reterr));
    return tw_producer_warm(ret_commands->producer, topics, TW_LEN(topics), timeout_ms, reterr);
}

void tw_ctl_commands_close(struct tw_ctl_commands *commands)
{
    tw_producer_close(commands->producer, 0);
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static int32_t partition_of(struct tw_uuid member_id, char ret_key[TW_UUID_TEXT + 1])
{
    tw_uuid_format(member_id, ret_key);
    return tw_partition_of((struct tw_str){ret_key, TW_UUID_TEXT}, topic()->partitions);
}

struct tw_uuid tw_ctl_command_id(struct tw_uuid member_id)
{
    char key[TW_UUID_TEXT + 1];

    return tw_command_id_new(tw_now_ms(), TW_DOMAIN_MEMBER, partition_of(member_id, key));
}

/* What does not read back would only go to the dead letters. */
static enum tw_rc pack(const struct tw_type *type, const void *body, struct tw_arena *arena, struct tw_buf *out,
                       struct tw_err *reterr)
{
    type->pack(body, out);
    return type->unpack(tw_buf_str(out), arena, tw_arena_alloc(arena, type->size), reterr);
}

static enum tw_rc await_report(struct tw_ctl_commands *commands, struct tw_err *reterr)
{
    /* The producer gives up by itself after its time-out; more than that is a library that hangs. */
    int64_t deadline_us = tw_monotonic_us() + INT64_C(1000) * (commands->timeout_ms + 5000);

    while (!commands->reported && tw_monotonic_us() < deadline_us)
        tw_producer_poll(commands->producer, POLL_MS);
    if (!commands->reported)
        return tw_fail(reterr, TW_UNKNOWN, WHERE, 0, "Kafka did not acknowledge: the command may be in the log");
    if (commands->report.rc != TW_OK)
        return tw_fail(reterr, commands->report.rc, WHERE, 0, "Kafka did not acknowledge: %s", commands->report.text);
    return TW_OK;
}

static enum tw_rc send(struct tw_ctl_commands *commands, const struct tw_envelope *envelope, struct tw_uuid member_id,
                       struct tw_str value, struct tw_arena *arena, struct tw_err *reterr)
{
    const struct tw_header *headers;
    size_t                  header_count;
    char                    key[TW_UUID_TEXT + 1];
    int32_t                 partition = partition_of(member_id, key);

    tw_envelope_write(envelope, SOURCE, arena, &headers, &header_count);
    commands->reported = false;
    TW_TRY(tw_producer_send(commands->producer, topic()->name, partition, (struct tw_str){key, TW_UUID_TEXT}, value,
                            headers, header_count, NULL, reterr));
    return await_report(commands, reterr);
}

enum tw_rc tw_ctl_command_send(struct tw_ctl_commands *commands, const struct tw_type *type, struct tw_uuid id,
                               struct tw_uuid member_id, const void *body, struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    TW_AUTO(tw_buf_done) struct tw_buf     value = {0};
    struct tw_envelope                     envelope = {
                            .type = tw_str_of(type->ce_type),
                            .command_id = id,
                            .submitted_ms = tw_now_ms(),
                            .if_version = -1,
                            .original_ms = -1,
    };

    TW_TRY(pack(type, body, &arena, &value, reterr));
    return send(commands, &envelope, member_id, tw_buf_str(&value), &arena, reterr);
}

/* --- outcomes ----------------------------------------------------------------------------------------------------- */

static enum tw_status status_of(const char *name)
{
    static const enum tw_status others[] = {TW_SUCCEEDED, TW_REJECTED, TW_PENDING};

    for (size_t i = 0; i < TW_LEN(others); i++)
        if (!strcmp(name, tw_status_name(others[i])))
            return others[i];
    return TW_DEAD_LETTERED;
}

static void read_outcome(const PGresult *row, struct tw_arena *arena, struct tw_outcome *ret_outcome)
{
    *ret_outcome = (struct tw_outcome){
        .status = status_of(PQgetvalue(row, 0, 0)),
        .http_status = (int)strtol(PQgetvalue(row, 0, 1), NULL, 10),
        .problem = tw_problem_of_code(tw_str_of(PQgetvalue(row, 0, 2))),
        .detail = tw_arena_copy(arena, tw_str_of(PQgetvalue(row, 0, 3))),
        .resource = tw_arena_copy(arena, tw_str_of(PQgetvalue(row, 0, 4))),
    };
}

/* NOT_FOUND: not decided yet. */
static enum tw_rc look(PGconn *pg, struct tw_uuid id, struct tw_arena *arena, struct tw_outcome *ret_outcome,
                       struct tw_err *reterr)
{
    TW_AUTO(tw_ctl_pg_free) PGresult *row = NULL;
    char                              ledger_id[TW_UUID_TEXT + 1];
    char                              partition[12];
    const char *const                 args[] = {ledger_id, partition};

    tw_uuid_format(tw_command_id_ledger(id), ledger_id);
    snprintf(partition, sizeof(partition), "%d", tw_command_id_partition(id));
    TW_TRY(tw_ctl_pg_query(pg,
                           "select status, http_status, coalesce(problem, ''), coalesce(detail, ''),"
                           " coalesce(resource, '') from tillwire.tw_ledger where id = $1 and partition = $2",
                           2, args, "reading the ledger", &row, reterr));
    if (PQntuples(row) == 0)
        return TW_NOT_FOUND;
    read_outcome(row, arena, ret_outcome);
    return TW_OK;
}

enum tw_rc tw_ctl_command_wait(PGconn *pg, struct tw_uuid id, int64_t timeout_ms, struct tw_arena *arena,
                               struct tw_outcome *ret_outcome, struct tw_err *reterr)
{
    int64_t    deadline_us = tw_monotonic_us() + 1000 * timeout_ms;
    enum tw_rc rc;

    while ((rc = look(pg, id, arena, ret_outcome, reterr)) == TW_NOT_FOUND && tw_monotonic_us() < deadline_us)
        usleep(LOOK_AGAIN_US);
    if (rc == TW_NOT_FOUND)
        return tw_fail(reterr, TW_UNREACHED, WHERE, 0,
                       "no worker decided the command within %d s: is tillwire-member running?",
                       (int)(timeout_ms / 1000));
    return rc;
}

enum tw_rc tw_ctl_command_accepted(const struct tw_outcome *outcome, struct tw_err *reterr)
{
    if (outcome->status == TW_SUCCEEDED)
        return TW_OK;
    return tw_fail(reterr, TW_REFUSED, WHERE, outcome->http_status, "refused: %s (%s)",
                   outcome->detail.len ? outcome->detail.ptr : tw_status_name(outcome->status),
                   tw_problem_code(outcome->problem));
}

/*
 * `twctl token revoke`: one token by command, whoever has it. The rows only say whose it is: the worker decides.
 */
#include <stdio.h>

#include "ctl.h"
#include "member_commands.h"
#include "tillwire/arena.h"
#include "tillwire/gen/member_messages.h"

#define WHERE "twctl.token"

struct revoking {
    const struct tw_ctl_settings *settings;
    const char                   *part; /* that is being asked, for the sentence of a failure; NULL: none */
    struct tw_member_revoke_token body;
    PGconn                       *pg;
    struct tw_ctl_commands        commands;
};

static void revoking_done(struct revoking *revoking)
{
    tw_ctl_commands_close(&revoking->commands);
    tw_ctl_pg_close(&revoking->pg);
}

static enum tw_rc read_id(struct revoking *revoking, struct tw_err *reterr)
{
    const char *text = revoking->settings->argument;

    if (tw_uuid_parse(tw_str_of(text), &revoking->body.token_id))
        return TW_OK;
    return tw_fail(reterr, TW_INVALID, WHERE, 0, "'%.64s' is no token id: `twctl token list` shows them", text);
}

static enum tw_rc find_member(struct revoking *revoking, struct tw_err *reterr)
{
    TW_AUTO(tw_ctl_pg_free) PGresult *row = NULL;
    struct tw_ctl_meta                meta;
    char                              id[TW_UUID_TEXT + 1];
    const char *const                 args[] = {id};

    tw_uuid_format(revoking->body.token_id, id);
    TW_TRY(tw_ctl_pg_meta_needed(revoking->pg, &meta, reterr));
    TW_TRY(tw_ctl_pg_query(revoking->pg, "select member_id from tillwire.jwt_tokens where id = $1", TW_LEN(args), args,
                           "looking for the token", &row, reterr));
    if (PQntuples(row) == 0)
        return tw_fail(reterr, TW_REFUSED, WHERE, 0, "there is no token %s: `twctl token list` shows those there are",
                       id);
    if (!tw_uuid_parse(tw_str_of(PQgetvalue(row, 0, 0)), &revoking->body.member_id))
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "the member_id of token %s is no UUID", id);
    return TW_OK;
}

static enum tw_rc ask(struct revoking *revoking, struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_uuid                         member_id = revoking->body.member_id;
    struct tw_uuid                         id = tw_ctl_command_id(member_id);
    struct tw_outcome                      outcome;

    TW_TRY(
        tw_ctl_command_send(&revoking->commands, &tw_member_revoke_token_type, id, member_id, &revoking->body, reterr));
    revoking->part = NULL;
    TW_TRY(tw_ctl_command_wait(revoking->pg, id, 1000 * revoking->settings->wait_s, &arena, &outcome, reterr));
    return tw_ctl_command_accepted(&outcome, reterr);
}

static enum tw_rc run(struct revoking *revoking, struct tw_err *reterr)
{
    const struct tw_ctl_settings *settings = revoking->settings;

    TW_TRY(read_id(revoking, reterr));
    revoking->part = "PostgreSQL";
    TW_TRY(tw_ctl_pg_open(settings->postgres_uri, (int)settings->store_timeout_ms, &revoking->pg, reterr));
    TW_TRY(find_member(revoking, reterr));
    revoking->part = "Kafka";
    TW_TRY(tw_ctl_commands_open(settings->kafka, (int)settings->broker_timeout_ms, &revoking->commands, reterr));
    return ask(revoking, reterr);
}

enum tw_ctl_exit tw_ctl_token_revoke(const struct tw_ctl_settings *settings)
{
    TW_AUTO(revoking_done) struct revoking revoking = {.settings = settings};
    struct tw_err                          err = {0};

    if (run(&revoking, &err) != TW_OK)
        return tw_ctl_failed(err.rc == TW_REFUSED ? NULL : revoking.part, &err);
    printf("token %s is revoked\n", settings->argument);
    return TW_CTL_DONE;
}

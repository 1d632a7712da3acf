/* `twctl snapshot`: holds the live store still and writes all of it to a file. */
#include <inttypes.h>
#include <stdio.h>

#include "freeze.h"
#include "replay.h"
#include "snapshot.h"

struct taking {
    const struct tw_replay_domain *domain;
    const struct tw_ctl_settings  *settings;
    struct tw_store                store;
    struct tw_freeze               freeze;
    struct tw_scan                *scan;
};

static void taking_done(struct taking *taking)
{
    tw_scan_close(taking->scan);
    tw_freeze_done(&taking->freeze);
    taking->domain->close_store(&taking->store);
}

static enum tw_rc renew(void *self, struct tw_err *reterr)
{
    struct taking *taking = self;

    if (tw_replay_stop)
        return tw_fail(reterr, TW_UNREACHED, "snapshot", 0, "interrupted: nothing was written");
    return tw_freeze_renew(&taking->freeze, reterr);
}

static enum tw_rc take(struct taking *taking, const char *uri, struct tw_err *reterr)
{
    int32_t                 partition_count = tw_replay_partition_count(taking->domain);
    struct tw_snapshot_head head = {.domain = taking->domain->domain, .partition_count = partition_count};
    uint8_t                 id_key[TW_ID_KEY_BYTES];
    char                    hash[TW_SNAPSHOT_HASH_TEXT];
    int64_t                 items;

    TW_TRY(tw_ctl_id_key_read(taking->settings->id_key_file, id_key, reterr));
    tw_id_key_check(id_key, head.id_key_check);
    TW_TRY(tw_replay_open_store(taking->domain, taking->settings, uri, &taking->store, reterr));
    TW_TRY(tw_replay_check_live(taking->domain, taking->settings, &taking->store, reterr));
    TW_TRY(tw_freeze_take(&taking->freeze, &taking->store, partition_count, "", reterr));
    head.vector = taking->freeze.vector;
    taking->scan = tw_scan_open(taking->domain->domain, &taking->store, head.vector, partition_count);
    TW_TRY(tw_snapshot_write(taking->settings->output, &head, taking->scan, renew, taking, hash, &items, reterr));
    printf("%s: %" PRId64 " aggregates and remembered commands in '%s', sha256 %s\n", taking->domain->domain->name,
           items, taking->settings->output, hash);
    return TW_OK;
}

enum tw_ctl_exit tw_replay_snapshot(const struct tw_ctl_settings *settings)
{
    const struct tw_replay_domain *domain = tw_replay_domain_find(settings->argument, TW_REPLAY_DOMAINS);
    const char                    *uri = domain ? tw_replay_uri(domain, settings) : NULL;
    struct tw_err                  err;

    if (!uri)
        return TW_CTL_USAGE;
    TW_AUTO(taking_done) struct taking taking = {.domain = domain, .settings = settings};
    return take(&taking, uri, &err) == TW_OK ? TW_CTL_DONE : tw_ctl_failed(domain->domain->name, &err);
}

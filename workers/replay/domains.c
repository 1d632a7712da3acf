#include <stdio.h>
#include <string.h>

#include "cart_domain.h"
#include "cart_readers.h"
#include "cart_shadow.h"
#include "cart_store.h"
#include "live_store.h"
#include "member_domain.h"
#include "member_shadow.h"
#include "member_store.h"
#include "product_domain.h"
#include "product_shadow.h"
#include "product_store.h"
#include "replay.h"
#include "tillwire/gen/topics.h"

enum { CACHE_BYTES = 8 << 20 };

atomic_bool tw_replay_stop;

const struct tw_replay_domain tw_replay_domains[] = {
    {
        .domain = &tw_member_domain,
        .uri_setting = "postgres_uri",
        .uri_offset = offsetof(struct tw_ctl_settings, postgres_uri),
        .open_store = tw_member_store_open,
        .close_store = tw_member_store_close,
        .pin_id_key = tw_member_store_pin,
        .bulk = tw_member_store_bulk,
        .open_shadow = tw_member_shadow_open,
        .sweeps_rows = true,
    },
    {
        .domain = &tw_product_domain,
        .uri_setting = "mongo_uri",
        .uri_offset = offsetof(struct tw_ctl_settings, mongo_uri),
        .open_store = tw_product_store_open,
        .close_store = tw_product_store_close,
        .bulk = tw_product_store_bulk,
        .open_shadow = tw_product_shadow_open,
        .turn_records = 20000, /* views of a product share a write, and there are many */
        .turn_bytes = 8 << 20,
        .sweeps_rows = true,
    },
    {
        .domain = &tw_cart_domain,
        .uri_setting = "redis_uri",
        .uri_offset = offsetof(struct tw_ctl_settings, redis_uri),
        .open_store = tw_cart_store_open,
        .close_store = tw_cart_store_close,
        .bulk = tw_cart_store_bulk,
        .complete = tw_cart_store_project,
        .open_shadow = tw_cart_shadow_open,
        .turn_records = 20000,
        .turn_bytes = 8 << 20,
        .check_readers = tw_cart_readers_check,
    },
};
const size_t tw_replay_domain_count = TW_LEN(tw_replay_domains);

const struct tw_replay_domain *tw_replay_domain_find(const char *name, const char *allowed)
{
    for (size_t i = 0; i < TW_LEN(tw_replay_domains); i++)
        if (!strcmp(tw_replay_domains[i].domain->name, name))
            return &tw_replay_domains[i];
    fprintf(stderr, "twctl: there is no domain '%s': %s\n", name, allowed);
    return NULL;
}

int32_t tw_replay_partition_count(const struct tw_replay_domain *domain)
{
    return tw_topic_of(domain->domain->number, TW_TOPIC_COMMANDS)->partitions;
}

const char *tw_replay_uri(const struct tw_replay_domain *domain, const struct tw_ctl_settings *settings)
{
    const char *uri;

    memcpy(&uri, (const char *)settings + domain->uri_offset, sizeof(uri));
    if (*uri)
        return uri;
    fprintf(stderr, "twctl: %s must be given: it is where the %s store is\n", domain->uri_setting,
            domain->domain->name);
    return NULL;
}

enum tw_rc tw_replay_open_source(const struct tw_replay_domain *domain, const struct tw_ctl_settings *settings,
                                 struct tw_source *ret_source, struct tw_err *reterr)
{
    struct tw_source cluster, files;

    TW_TRY(tw_source_open_kafka(settings->kafka, domain->domain->number, (int)settings->broker_timeout_ms, &cluster,
                                reterr));
    if (!settings->log_folder || !*settings->log_folder) { /* a snapshot has none */
        *ret_source = cluster;
        return TW_OK;
    }
    if (tw_source_open_files(settings->log_folder, domain->domain->number, &files, reterr) != TW_OK) {
        cluster.close(cluster.self);
        return reterr->rc;
    }
    tw_source_chain(files, cluster, ret_source);
    return TW_OK;
}

enum tw_rc tw_replay_open_store(const struct tw_replay_domain *domain, const struct tw_ctl_settings *settings,
                                const char *uri, struct tw_store *ret_store, struct tw_err *reterr)
{
    uint8_t id_key[TW_ID_KEY_BYTES];
    char    check[17];

    TW_TRY(tw_ctl_id_key_read(settings->id_key_file, id_key, reterr));
    TW_TRY(domain->open_store(uri, (int)settings->store_timeout_ms, ret_store, reterr));
    if (domain->pin_id_key) {
        tw_id_key_check(id_key, check);
        domain->pin_id_key(ret_store, check);
    }
    return TW_OK;
}

enum tw_rc tw_replay_check_live(const struct tw_replay_domain *domain, const struct tw_ctl_settings *settings,
                                const struct tw_store *store, struct tw_err *reterr)
{
    int32_t          partition_count = tw_replay_partition_count(domain);
    struct tw_source log;
    bool             was_folded;
    enum tw_rc       rc;

    TW_TRY(tw_live_store_was_folded(store, partition_count, &was_folded, reterr));
    if (was_folded)
        return TW_OK;
    TW_TRY(tw_replay_open_source(domain, settings, &log, reterr));
    rc = tw_live_store_check_log(&log, partition_count, domain->uri_setting, reterr);
    log.close(log.self);
    return rc;
}

enum tw_rc tw_replay_fold_config(const struct tw_replay_domain *domain, const struct tw_ctl_settings *settings,
                                 struct tw_fold *ret_fold, struct tw_err *reterr)
{
    *ret_fold = (struct tw_fold){
        .config =
            {
                .domain = domain->domain,
                .partition_count = tw_replay_partition_count(domain),
                .program = "tillwire-replay " TW_VERSION,
                .silent = true,
            },
        .cache_bytes = CACHE_BYTES,
        .turn_records = domain->turn_records,
        .turn_bytes = domain->turn_bytes,
        .stop = &tw_replay_stop,
    };
    return tw_ctl_id_key_read(settings->id_key_file, ret_fold->config.id_key, reterr);
}

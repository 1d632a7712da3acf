#include "cart_readers.h"

#include <string.h>

#include "cart_store.h"

enum { PAGE = 500 };

static void take_finding(void *self, const char *sentence)
{
    struct tw_readers_check *check = self;

    if (check->count++ < TW_READERS_FINDINGS)
        tw_buf_printf(&check->findings, "%s\n", sentence);
}

/* A question is of one partition: those of the page that are of it. */
static enum tw_rc check_part(struct tw_store *store, int32_t partition, int32_t partition_count,
                             const struct tw_key *keys, size_t count, struct tw_readers_check *check,
                             struct tw_err *reterr)
{
    struct tw_uuid members[PAGE];
    size_t         member_count = 0;

    for (size_t i = 0; i < count; i++)
        if (tw_partition_of_id(keys[i].id, partition_count) == partition)
            members[member_count++] = keys[i].id;
    check->compared += (int64_t)member_count;
    if (!member_count)
        return TW_OK;
    return tw_cart_store_check(store, partition, members, member_count, take_finding, check, reterr);
}

static enum tw_rc check_carts(struct tw_store *store, int32_t partition_count, struct tw_readers_check *check,
                              struct tw_err *reterr)
{
    struct tw_key keys[PAGE];
    size_t        count = PAGE;

    for (bool from_start = true; count == PAGE; from_start = false) {
        TW_TRY(store->list(store->self, 0, from_start, keys, PAGE, &count, reterr));
        for (int32_t partition = 0; partition < partition_count; partition++)
            TW_TRY(check_part(store, partition, partition_count, keys, count, check, reterr));
        TW_TRY(check->go_on(check->self, reterr));
    }
    return TW_OK;
}

static enum tw_rc check_strays(struct tw_store *store, struct tw_readers_check *check, struct tw_err *reterr)
{
    bool more = true;

    for (bool from_start = true; more; from_start = false) {
        TW_TRY(tw_cart_store_check_strays(store, from_start, take_finding, check, &more, reterr));
        TW_TRY(check->go_on(check->self, reterr));
    }
    return TW_OK;
}

enum tw_rc tw_cart_readers_check(struct tw_store *store, int32_t partition_count, struct tw_readers_check *check,
                                 struct tw_err *reterr)
{
    TW_TRY(check_carts(store, partition_count, check, reterr));
    return check_strays(store, check, reterr);
}

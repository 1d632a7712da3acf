/* `twctl schema`: the stores one after the other. A store that fails does not keep the others from being looked at. */
#include <stdio.h>

#include "parts.h"

typedef enum tw_rc part_fn(const struct tw_ctl_settings *settings, struct tw_buf *ret_lines, struct tw_err *reterr);

static const struct {
    const char *name;
    part_fn    *apply;
    part_fn    *diff;
} parts[] = {
    {"PostgreSQL", tw_ctl_postgres_apply, tw_ctl_postgres_diff},
    {"MongoDB", tw_ctl_mongo_apply, tw_ctl_mongo_diff},
    {"Redis", tw_ctl_redis_check, tw_ctl_redis_check},
};

static enum tw_ctl_exit worse(enum tw_ctl_exit a, enum tw_ctl_exit b)
{
    return a > b ? a : b;
}

/* Runs a part and says how it went. @p lines_mean: the exit code when it has something to tell. */
static enum tw_ctl_exit run(const char *name, part_fn *part, enum tw_ctl_exit lines_mean,
                            const struct tw_ctl_settings *settings)
{
    TW_AUTO(tw_buf_done) struct tw_buf lines = {0};
    struct tw_err                      err = {0};
    enum tw_rc                         rc = part(settings, &lines, &err);

    tw_ctl_print_lines(name, tw_buf_str(&lines));
    if (rc != TW_OK)
        return tw_ctl_failed(name, &err);
    if (lines.len > 0)
        return lines_mean;
    printf("%s: as it should be\n", name);
    return TW_CTL_DONE;
}

enum tw_ctl_exit tw_ctl_schema_apply(const struct tw_ctl_settings *settings)
{
    enum tw_ctl_exit result = TW_CTL_DONE;

    for (size_t i = 0; i < TW_LEN(parts); i++)
        result = worse(result, run(parts[i].name, parts[i].apply, TW_CTL_DONE, settings));
    return result;
}

enum tw_ctl_exit tw_ctl_schema_diff(const struct tw_ctl_settings *settings)
{
    enum tw_ctl_exit result = TW_CTL_DONE;

    for (size_t i = 0; i < TW_LEN(parts); i++)
        result = worse(result, run(parts[i].name, parts[i].diff, TW_CTL_REFUSED, settings));
    return result;
}

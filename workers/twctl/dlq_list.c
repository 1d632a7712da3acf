/*
 * `twctl dlq list`: what is open, by domain and reason; `--each` every one, `--all` what is settled, too.
 */
#include <stdio.h>

#include "dlq_lines.h"
#include "dlq_log.h"

static enum tw_rc read_wish(const struct tw_ctl_settings *settings, struct tw_dlq_wish *ret_wish, struct tw_err *reterr)
{
    *ret_wish = (struct tw_dlq_wish){.reason = settings->reason, .key = settings->key};
    if (settings->argument)
        TW_TRY(tw_dlq_domain_parse(settings->argument, &ret_wish->domain, reterr));
    return tw_dlq_reason_check(settings->reason, reterr);
}

static enum tw_rc read_all(const struct tw_ctl_settings *settings, struct tw_dlq_log *log, struct tw_dlq_wish *ret_wish,
                           struct tw_err *reterr)
{
    TW_TRY(read_wish(settings, ret_wish, reterr));
    TW_TRY(tw_dlq_log_open(settings, log, reterr));
    return tw_dlq_log_read(log, ret_wish->domain, reterr);
}

static void tell_none(const struct tw_ctl_settings *settings)
{
    bool asked = settings->argument || *settings->reason || *settings->key;

    fprintf(stderr, "twctl: %s%s\n", settings->all ? "there is no dead letter" : "no dead letter is open",
            asked ? " of those that were asked for" : "");
}

enum tw_ctl_exit tw_ctl_dlq_list(const struct tw_ctl_settings *settings)
{
    TW_AUTO(tw_dlq_log_close) struct tw_dlq_log log = {0};
    TW_AUTO(tw_buf_done) struct tw_buf          out = {.max_bytes = (size_t)1 << 30};
    struct tw_dlq_wish                          wish;
    struct tw_err                               err = {0};

    if (read_all(settings, &log, &wish, &err) != TW_OK)
        return tw_ctl_failed(NULL, &err);
    if (!tw_dlq_count_shown(&log.book, &wish, settings->all))
        tell_none(settings);
    (settings->each ? tw_dlq_add_each : tw_dlq_add_groups)(&log.book, &wish, settings->all, settings->json, &out);
    if (out.overflow) {
        fprintf(stderr, "twctl: more than can be shown at once: narrow it by --reason or --key\n");
        return TW_CTL_REFUSED;
    }
    fwrite(out.ptr, 1, out.len, stdout);
    return TW_CTL_DONE;
}

/*
 * Metrics in Prometheus' text form 0.0.4. The registry is a list that only grows, by compare and swap at its head, so
 * that whoever renders never waits for whoever counts.
 */
#include "tillwire/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { US_PER_SECOND = 1000000 };

static const int64_t first_bucket_us = 100;

static struct tw_metric *_Atomic registry;

static void ensure_registered(struct tw_metric *metric)
{
    if (atomic_load_explicit(&metric->registered, memory_order_relaxed) || atomic_exchange(&metric->registered, true))
        return;
    metric->next = atomic_load(&registry);
    while (!atomic_compare_exchange_weak(&registry, &metric->next, metric))
        ;
}

void tw_metric_show(struct tw_metric *metric)
{
    atomic_store_explicit(&metric->hidden, false, memory_order_relaxed);
    ensure_registered(metric);
}

void tw_metric_hide(struct tw_metric *metric)
{
    atomic_store_explicit(&metric->hidden, true, memory_order_relaxed);
}

void tw_metric_add(struct tw_metric *metric, int64_t n)
{
    ensure_registered(metric);
    atomic_fetch_add_explicit(&metric->value, n, memory_order_relaxed);
}

void tw_metric_set(struct tw_metric *metric, int64_t value)
{
    ensure_registered(metric);
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

static int64_t first_bucket(const struct tw_metric *metric)
{
    return metric->kind == TW_SIZES ? 1 : first_bucket_us;
}

static void observe(struct tw_metric *metric, int64_t value)
{
    size_t bucket = 0;

    ensure_registered(metric);
    while (bucket < TW_BUCKETS && value > first_bucket(metric) << bucket)
        bucket++;
    atomic_fetch_add_explicit(&metric->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&metric->value, value, memory_order_relaxed);
}

void tw_metric_observe_us(struct tw_metric *metric, int64_t microseconds)
{
    observe(metric, microseconds);
}

void tw_metric_observe_size(struct tw_metric *metric, int64_t size)
{
    observe(metric, size);
}

/* Microseconds as decimal seconds, exactly, in `text`. */
static const char *seconds_text(int64_t microseconds, char text[32])
{
    int len = snprintf(text, 32, "%" PRId64 ".%06" PRId64, microseconds / US_PER_SECOND, microseconds % US_PER_SECOND);

    while (text[len - 1] == '0' && text[len - 2] != '.')
        text[--len] = '\0';
    return text;
}

/* A bound or sum of a histogram. */
static const char *amount_text(const struct tw_metric *metric, int64_t amount, char text[32])
{
    if (metric->kind != TW_SIZES)
        return seconds_text(amount, text);
    snprintf(text, 32, "%" PRId64, amount);
    return text;
}

static void put_head(struct tw_buf *out, const char *name, enum tw_metric_kind kind, const char *help)
{
    static const char *const kind_names[] = {"counter", "gauge", "histogram", "histogram"};

    tw_buf_printf(out, "# HELP %s ", name);
    for (; *help; help++) {
        if (*help == '\\' || *help == '\n')
            tw_buf_add_str(out, *help == '\n' ? TW_STR("\\n") : TW_STR("\\\\"));
        else
            tw_buf_add(out, help, 1);
    }
    tw_buf_printf(out, "\n# TYPE %s %s\n", name, kind_names[kind]);
}

/* `name` `suffix` `{labels}` and a space. */
static void put_name(struct tw_buf *out, const struct tw_metric *metric, const char *suffix)
{
    if (metric->labels)
        tw_buf_printf(out, "%s%s{%s} ", metric->name, suffix, metric->labels);
    else
        tw_buf_printf(out, "%s%s ", metric->name, suffix);
}

static void put_histogram(struct tw_buf *out, struct tw_metric *metric)
{
    int64_t count = 0;
    char    text[32];

    for (size_t i = 0; i <= TW_BUCKETS; i++) {
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        tw_buf_printf(out, "%s_bucket{%s%sle=\"%s\"} %" PRId64 "\n", metric->name, metric->labels ? metric->labels : "",
                      metric->labels ? "," : "",
                      i < TW_BUCKETS ? amount_text(metric, first_bucket(metric) << i, text) : "+Inf", count);
    }
    put_name(out, metric, "_sum");
    tw_buf_printf(out, "%s\n", amount_text(metric, atomic_load_explicit(&metric->value, memory_order_relaxed), text));
    put_name(out, metric, "_count"); /* what +Inf says, also while others are counting */
    tw_buf_printf(out, "%" PRId64 "\n", count);
}

static void put_metric(struct tw_buf *out, struct tw_metric *metric)
{
    if (metric->kind >= TW_HISTOGRAM) {
        put_histogram(out, metric);
        return;
    }
    put_name(out, metric, "");
    tw_buf_printf(out, "%" PRId64 "\n", atomic_load_explicit(&metric->value, memory_order_relaxed));
}

static int by_name_and_labels(const void *a, const void *b)
{
    const struct tw_metric *left = *(struct tw_metric *const *)a;
    const struct tw_metric *right = *(struct tw_metric *const *)b;
    int                     order = strcmp(left->name, right->name);

    return order ? order : strcmp(left->labels ? left->labels : "", right->labels ? right->labels : "");
}

static void put_registry(struct tw_buf *out)
{
    struct tw_metric  *head = atomic_load(&registry);
    struct tw_metric **sorted;
    size_t             count = 0;

    for (struct tw_metric *metric = head; metric; metric = metric->next)
        count++;
    sorted = tw_alloc_zeroed(count, sizeof(struct tw_metric *));
    for (count = 0; head; head = head->next)
        if (!atomic_load_explicit(&head->hidden, memory_order_relaxed))
            sorted[count++] = head;
    if (count > 1)
        qsort(sorted, count, sizeof(struct tw_metric *), by_name_and_labels);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(sorted[i]->name, sorted[i - 1]->name) != 0)
            put_head(out, sorted[i]->name, sorted[i]->kind, sorted[i]->help);
        put_metric(out, sorted[i]);
    }
    free(sorted);
}

static void put_value(struct tw_buf *out, const char *name, enum tw_metric_kind kind, const char *help, int64_t value)
{
    put_head(out, name, kind, help);
    tw_buf_printf(out, "%s %" PRId64 "\n", name, value);
}

static void put_seconds(struct tw_buf *out, const char *name, enum tw_metric_kind kind, const char *help,
                        int64_t microseconds)
{
    char text[32];

    put_head(out, name, kind, help);
    tw_buf_printf(out, "%s %s\n", name, seconds_text(microseconds, text));
}

static void put_cpu(struct tw_buf *out)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return;
    put_seconds(out, "process_cpu_seconds_total", TW_COUNTER, "User and system processor time, in seconds.",
                (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * US_PER_SECOND + usage.ru_utime.tv_usec +
                    usage.ru_stime.tv_usec);
}

static void put_descriptors(struct tw_buf *out)
{
    DIR          *dir = opendir("/proc/self/fd");
    int64_t       count = -3; /* ".", ".." and the directory's own */
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        put_value(out, "process_max_fds", TW_GAUGE, "File descriptors that may be open at once.",
                  (int64_t)limit.rlim_cur);
    if (!dir)
        return;
    while (readdir(dir))
        count++;
    closedir(dir);
    put_value(out, "process_open_fds", TW_GAUGE, "Open file descriptors.", count);
}

/* Microseconds since 1970 at which a process began that /proc/self/stat says began `ticks` after the boot. */
static int64_t start_us(unsigned long long ticks)
{
    struct timespec now, since_boot;
    int64_t         after_boot_us = (int64_t)ticks * (US_PER_SECOND / sysconf(_SC_CLK_TCK));

    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &since_boot);
    return (int64_t)(now.tv_sec - since_boot.tv_sec) * US_PER_SECOND + (now.tv_nsec - since_boot.tv_nsec) / 1000 +
           after_boot_us;
}

/* What /proc/self/stat knows (proc(5)); fields are counted from behind the program's name, which may hold anything. */
static void put_stat(struct tw_buf *out)
{
    FILE              *file = fopen("/proc/self/stat", "re");
    char               text[1024];
    size_t             len = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
    const char        *fields;
    long               threads, resident_pages;
    unsigned long long start_ticks, virtual_bytes;

    if (file)
        fclose(file);
    text[len] = '\0';
    fields = strrchr(text, ')');
    /* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers fit */
    if (!fields || sscanf(fields,
                          ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu "
                          "%llu %ld",
                          &threads, &start_ticks, &virtual_bytes, &resident_pages) != 4)
        return;
    put_value(out, "process_virtual_memory_bytes", TW_GAUGE, "Virtual memory, in bytes.", (int64_t)virtual_bytes);
    put_value(out, "process_resident_memory_bytes", TW_GAUGE, "Resident memory, in bytes.",
              resident_pages * sysconf(_SC_PAGESIZE));
    put_seconds(out, "process_start_time_seconds", TW_GAUGE, "When the process began, in seconds since 1970.",
                start_us(start_ticks));
    put_value(out, "process_threads", TW_GAUGE, "Threads.", threads);
}

void tw_metrics_render(struct tw_buf *out)
{
    put_registry(out);
    put_cpu(out);
    put_descriptors(out);
    put_stat(out);
}

#include "tillwire/processors.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tillwire/str.h"

/* "0::/system.slice/tillwire-edge.service": the one line of the unified hierarchy. */
static bool read_group(const char *root, char ret_group[PATH_MAX])
{
    char  path[PATH_MAX], line[PATH_MAX];
    FILE *file;
    bool  is_found = false;

    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    file = fopen(path, "re");
    while (file && !is_found && fgets(line, sizeof(line), file))
        is_found = !strncmp(line, "0::/", 4);
    if (file)
        fclose(file);
    if (is_found)
        snprintf(ret_group, PATH_MAX, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
    return is_found;
}

/* "250000 100000": microseconds in each period; "max 100000": no quota. */
static int bounded_by(const char *root, const char *group, int processors)
{
    char    path[3 * PATH_MAX], text[64] = "";
    FILE   *file;
    int64_t quota_us, period_us;
    size_t  split;

    snprintf(path, sizeof(path), "%s/sys/fs/cgroup%s/cpu.max", root, group);
    file = fopen(path, "re");
    if (!file)
        return processors;
    split = fgets(text, sizeof(text), file) ? strcspn(text, " ") : 0;
    fclose(file);
    text[strcspn(text, "\n")] = '\0';
    if (!text[split] || !tw_str_to_int((struct tw_str){text, split}, &quota_us) ||
        !tw_str_to_int(tw_str_of(text + split + 1), &period_us) || period_us <= 0)
        return processors;
    return quota_us / period_us < processors ? (int)(quota_us / period_us) : processors;
}

int tw_processors_within_quota(const char *root, int processors)
{
    char  group[PATH_MAX];
    char *end;

    if (!read_group(root, group))
        return processors;
    do { /* from the inside out; the last is the root, "" */
        end = strrchr(group, '/');
        processors = bounded_by(root, group, processors);
        if (end)
            *end = '\0';
    } while (end);
    return processors < 1 ? 1 : processors;
}

int tw_processors(void)
{
    cpu_set_t mask;
    long      online = sysconf(_SC_NPROCESSORS_ONLN);
    int       processors = online > 1 ? (int)online : 1;

    if (sched_getaffinity(0, sizeof(mask), &mask) == 0) /* it fails where there are more than a mask has room for */
        processors = CPU_COUNT(&mask);
    return tw_processors_within_quota("", processors);
}

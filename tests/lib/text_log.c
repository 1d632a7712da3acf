/* See text_log.h. A line that begins with '#' says something to people. */
#include "text_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/settings.h"
#include "unit.h"

enum { LINE_MAX_BYTES = 1 << 16, TOPIC_MAX_BYTES = 63, HEADERS_MAX = 32 };

struct reading {
    const char         *path;
    int                 line_number;
    const char         *topic;
    struct tw_test_log *log;
    struct tw_record   *record;  /* the one that lines are about; NULL: it is not wanted */
    struct tw_header   *headers; /* its own */
};

static void fail_here(const struct reading *r, const char *what)
{
    fail_msg("%s:%d: %s", r->path, r->line_number, what);
}

/* "record cart.commands 3 1790000000000" */
static void begin_record(struct reading *r, const char *text)
{
    struct tw_test_log *log = r->log;
    char                topic[TOPIC_MAX_BYTES + 1];
    int                 partition;
    long long           timestamp_ms;

    if (sscanf(text, "%63s %d %lld", topic, &partition, &timestamp_ms) != 3)
        fail_here(r, "there must be a topic, a partition and a time");
    r->record = NULL;
    if (strcmp(topic, r->topic) != 0 || partition != log->partition)
        return;
    log->records = tw_arena_grow(&log->arena, log->records, log->len, &log->cap, sizeof(*log->records));
    r->record = &log->records[log->len];
    r->headers = TW_NEW_ARRAY(&log->arena, HEADERS_MAX, struct tw_header);
    *r->record = (struct tw_record){
        .partition = partition,
        .offset = log->len++,
        .timestamp_ms = timestamp_ms,
        .headers = r->headers,
    };
}

/* "ce_type cart.add_item.v1" */
static void add_header(struct reading *r, const char *text)
{
    struct tw_arena *arena = &r->log->arena;
    const char      *space = strchr(text, ' ');

    if (!space || r->record->header_count == HEADERS_MAX) {
        fail_here(r, "there must be a name and a value, at most 32 times");
        return;
    }
    r->headers[r->record->header_count++] = (struct tw_header){
        .name = tw_arena_copy(arena, (struct tw_str){text, (size_t)(space - text)}),
        .value = tw_arena_copy(arena, tw_str_of(space + 1)),
    };
}

static struct tw_str bytes_of(struct reading *r, const char *hex)
{
    size_t   len = strlen(hex) / 2;
    uint8_t *bytes = tw_arena_alloc(&r->log->arena, len + 1);

    if (!tw_hex_parse(tw_str_of(hex), bytes, len))
        fail_here(r, "there must be bytes as hex");
    return (struct tw_str){(const char *)bytes, len};
}

static void read_line(struct reading *r, const char *line)
{
    if (!*line || *line == '#')
        return;
    if (!strncmp(line, "record ", 7))
        begin_record(r, line + 7);
    else if (!r->record)
        return;
    else if (!strncmp(line, "header ", 7))
        add_header(r, line + 7);
    else if (!strncmp(line, "key ", 4))
        r->record->key = bytes_of(r, line + 4);
    else if (!strncmp(line, "value ", 6))
        r->record->value = bytes_of(r, line + 6);
    else
        fail_here(r, "there must be record, header, key or value");
}

void tw_text_log_read(const char *path, const char *topic, struct tw_test_log *log)
{
    struct reading r = {.path = path, .topic = topic, .log = log};
    FILE          *file = fopen(path, "r");
    char          *line = malloc(LINE_MAX_BYTES);

    assert_non_null(file);
    assert_non_null(line);
    while (fgets(line, LINE_MAX_BYTES, file)) {
        r.line_number++;
        line[strcspn(line, "\n")] = '\0';
        read_line(&r, line);
    }
    free(line);
    fclose(file);
}

#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "digest.h"
#include "tillwire/clock.h"
#include "tillwire/ledger.h"
#include "tillwire/part_file.h"
#include "tillwire/settings.h"

#define MAGIC "tillwire snapshot 1\n"

enum {
    LINE_MAX_BYTES = 256,
    PART_MAX_BYTES = 16 << 20,
    LOAD_ITEMS = 2000,    /* of a partition, in one commit; */
    LOAD_BYTES = 4 << 20, /* or so much, packed: every store bears it */
};

/* --- writing ------------------------------------------------------------------------------------------------------ */

struct writer {
    FILE                    *file;
    struct tw_part_file      part;
    crypto_hash_sha256_state hash;
    struct tw_buf            scratch;
    int64_t                  items;
};

static void put(struct writer *writer, const void *bytes, size_t len)
{
    if (!len)
        return;
    crypto_hash_sha256_update(&writer->hash, bytes, len);
    fwrite(bytes, 1, len, writer->file); /* failures are found at the end: ferror() */
}

static void put_line(struct writer *writer, struct tw_str line)
{
    put(writer, line.ptr, line.len);
}

static void put_number(struct tw_buf *out, uint64_t number, size_t size_bytes)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < size_bytes; i++)
        bytes[i] = (uint8_t)(number >> (8 * i));
    tw_buf_add(out, bytes, size_bytes);
}

static void put_item(struct writer *writer, char tag, struct tw_str content)
{
    struct tw_buf head = {0};

    tw_buf_add(&head, &tag, 1);
    put_number(&head, content.len, 4);
    put(writer, head.ptr, head.len);
    put(writer, content.ptr, content.len);
    tw_buf_done(&head);
}

static void put_head(struct writer *writer, const struct tw_snapshot_head *head)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    char                                   now[TW_TIME_TEXT + 1];

    tw_time_format(tw_now_ms(), now);
    put_line(writer, TW_STR(MAGIC));
    put_line(writer, tw_arena_printf(&arena, "domain %s\nid_key %s\nwritten %s\nprogram %s\npartitions %" PRId32 "\n",
                                     head->domain->name, head->id_key_check, now, TW_VERSION, head->partition_count));
    for (int32_t p = 0; p < head->partition_count; p++) {
        char hash[2 * TW_RECORD_HASH_BYTES + 1];

        tw_hex_format(head->vector[p].last_hash, TW_RECORD_HASH_BYTES, hash);
        put_line(writer, tw_arena_printf(&arena, "partition %" PRId32 " %" PRId64 " %" PRId64 " %s\n", p,
                                         head->vector[p].next_offset, head->vector[p].clock_ms, hash));
    }
    put_line(writer, TW_STR("\n"));
}

static void put_entity(struct writer *writer, const struct tw_scan_item *item)
{
    const struct tw_entity *entity = item->entity;

    tw_buf_clear(&writer->scratch);
    put_number(&writer->scratch, entity->key.kind, 4);
    tw_buf_add(&writer->scratch, entity->key.id.bytes, 16);
    tw_buf_add(&writer->scratch, entity->key.sub.bytes, 16);
    put_number(&writer->scratch, (uint64_t)entity->before_guard, 8);
    item->type->pack(entity->before, &writer->scratch);
    put_item(writer, 'E', tw_buf_str(&writer->scratch));
    writer->items++;
}

static void put_row(struct writer *writer, const struct tw_scan_item *item)
{
    tw_buf_clear(&writer->scratch);
    put_number(&writer->scratch, (uint64_t)item->partition, 4);
    tw_buf_add(&writer->scratch, item->row->id.bytes, 16);
    tw_ledger_row_pack(item->row, &writer->scratch);
    put_item(writer, 'R', tw_buf_str(&writer->scratch));
    writer->items++;
}

static enum tw_rc put_items(struct writer *writer, const struct tw_snapshot_head *head, struct tw_scan *scan,
                            enum tw_rc (*renew)(void *self, struct tw_err *reterr), void *self, struct tw_err *reterr)
{
    struct tw_scan_item item;

    TW_TRY(tw_scan_next(scan, &item, reterr));
    while (item.what != TW_SCAN_END && !ferror(writer->file)) {
        if (item.what == TW_SCAN_ENTITY)
            put_entity(writer, &item);
        else if (tw_ledger_row_counts(item.row, head->vector[item.partition].clock_ms))
            put_row(writer, &item);
        TW_TRY(renew(self, reterr));
        TW_TRY(tw_scan_next(scan, &item, reterr));
    }
    put_item(writer, 'Z', (struct tw_str){NULL, 0});
    return TW_OK;
}

static enum tw_rc cannot_write(const char *path, struct tw_err *reterr)
{
    return tw_fail(reterr, TW_UNREACHED, "snapshot", errno, "cannot write '%s': %s", path, strerror(errno));
}

/* The hash, and all of it on the disk before the file gets its name. */
static enum tw_rc finish(struct writer *writer, char ret_hash[TW_SNAPSHOT_HASH_TEXT], struct tw_err *reterr)
{
    unsigned char hash[crypto_hash_sha256_BYTES];

    crypto_hash_sha256_final(&writer->hash, hash);
    fwrite(hash, 1, sizeof(hash), writer->file);
    tw_hex_format(hash, sizeof(hash), ret_hash);
    if (fflush(writer->file) || ferror(writer->file))
        return cannot_write(writer->part.part, reterr);
    return tw_part_file_finish(&writer->part, reterr);
}

enum tw_rc tw_snapshot_write(const char *path, const struct tw_snapshot_head *head, struct tw_scan *scan,
                             enum tw_rc (*renew)(void *self, struct tw_err *reterr), void *self,
                             char ret_hash[TW_SNAPSHOT_HASH_TEXT], int64_t *ret_items, struct tw_err *reterr)
{
    struct writer writer = {0};
    enum tw_rc    rc;

    TW_TRY(tw_part_file_open(path, &writer.part, reterr));
    writer.file = fdopen(fcntl(writer.part.fd, F_DUPFD_CLOEXEC, 0), "w");
    if (!writer.file)
        tw_out_of_memory(BUFSIZ);
    crypto_hash_sha256_init(&writer.hash);
    put_head(&writer, head);
    rc = put_items(&writer, head, scan, renew, self, reterr);
    if (rc == TW_OK)
        rc = finish(&writer, ret_hash, reterr);
    *ret_items = writer.items;
    fclose(writer.file);
    tw_part_file_done(&writer.part);
    tw_buf_done(&writer.scratch);
    return rc;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

struct tw_snapshot {
    FILE                   *file;
    const char             *path;
    const struct tw_domain *domain;
    struct tw_progress     *vector;
    int32_t                 partition_count;
    long                    items_at; /* where in the file the items begin */
    char                    hash[TW_SNAPSHOT_HASH_TEXT];
};

static enum tw_rc damaged(const struct tw_snapshot *snapshot, const char *what, struct tw_err *reterr)
{
    return tw_fail(reterr, TW_BROKEN, "snapshot", 0, "'%.120s' is damaged: %s", snapshot->path, what);
}

static enum tw_rc check_magic(const struct tw_snapshot *snapshot, struct tw_err *reterr)
{
    char line[LINE_MAX_BYTES];

    if (fgets(line, sizeof(line), snapshot->file) && !strcmp(line, MAGIC))
        return TW_OK;
    return tw_fail(reterr, TW_INVALID, "snapshot", 0, "'%.120s' is no snapshot that this program can read",
                   snapshot->path);
}

static enum tw_rc check_hash(struct tw_snapshot *snapshot, struct tw_err *reterr)
{
    crypto_hash_sha256_state state;
    unsigned char            block[65536], wanted[crypto_hash_sha256_BYTES], found[crypto_hash_sha256_BYTES];
    long                     left;
    size_t                   len;

    if (fseek(snapshot->file, 0, SEEK_END) != 0 || (left = ftell(snapshot->file) - (long)sizeof(wanted)) < 0)
        return damaged(snapshot, "it is cut short", reterr);
    rewind(snapshot->file);
    crypto_hash_sha256_init(&state);
    for (; left > 0; left -= (long)len) {
        len = fread(block, 1, left < (long)sizeof(block) ? (size_t)left : sizeof(block), snapshot->file);
        if (!len)
            return damaged(snapshot, "it cannot be read to its end", reterr);
        crypto_hash_sha256_update(&state, block, len);
    }
    crypto_hash_sha256_final(&state, found);
    if (fread(wanted, 1, sizeof(wanted), snapshot->file) != sizeof(wanted) || memcmp(wanted, found, sizeof(found)) != 0)
        return damaged(snapshot, "its SHA-256 is not the one it ends with, so a byte of it was changed or is missing",
                       reterr);
    tw_hex_format(found, sizeof(found), snapshot->hash);
    rewind(snapshot->file);
    return TW_OK;
}

/* The next line must be `name value`. */
static enum tw_rc read_word(struct tw_snapshot *snapshot, const char *name, char ret_value[LINE_MAX_BYTES],
                            struct tw_err *reterr)
{
    char   line[LINE_MAX_BYTES];
    size_t len = strlen(name);

    if (!fgets(line, sizeof(line), snapshot->file) || strncmp(line, name, len) != 0 || line[len] != ' ')
        return damaged(snapshot, "its head is not that of a snapshot", reterr);
    line[strcspn(line, "\n")] = '\0';
    snprintf(ret_value, LINE_MAX_BYTES, "%s", line + len + 1);
    return TW_OK;
}

static enum tw_rc must_be(struct tw_snapshot *snapshot, const char *name, const char *wanted, const char *of,
                          struct tw_err *reterr)
{
    char value[LINE_MAX_BYTES];

    TW_TRY(read_word(snapshot, name, value, reterr));
    if (strcmp(value, wanted) != 0)
        return tw_fail(reterr, TW_INVALID, "snapshot", 0, "'%.100s' is of another %s: %.40s, not %.40s", snapshot->path,
                       of, value, wanted);
    return TW_OK;
}

static struct tw_str next_word(char **rest)
{
    const char *word = strsep(rest, " ");

    return tw_str_of(word ? word : "");
}

/* "3 4711 1795428000123 9f86…": the partition, and how far it was folded. */
static bool parse_progress(char *text, int32_t partition, struct tw_progress *ret_at)
{
    int64_t number;

    return tw_str_to_int(next_word(&text), &number) && number == partition &&
           tw_str_to_int(next_word(&text), &ret_at->next_offset) &&
           tw_str_to_int(next_word(&text), &ret_at->clock_ms) &&
           tw_hex_parse(next_word(&text), ret_at->last_hash, TW_RECORD_HASH_BYTES) && !text;
}

static enum tw_rc read_vector(struct tw_snapshot *snapshot, struct tw_err *reterr)
{
    snapshot->vector = tw_alloc_zeroed((size_t)snapshot->partition_count, sizeof(*snapshot->vector));
    for (int32_t p = 0; p < snapshot->partition_count; p++) {
        char value[LINE_MAX_BYTES];

        TW_TRY(read_word(snapshot, "partition", value, reterr));
        if (!parse_progress(value, p, &snapshot->vector[p]))
            return damaged(snapshot, "its watermarks cannot be read", reterr);
    }
    return TW_OK;
}

static enum tw_rc read_head(struct tw_snapshot *snapshot, const struct tw_snapshot_head *wanted, struct tw_err *reterr)
{
    char line[LINE_MAX_BYTES];

    TW_TRY(check_magic(snapshot, reterr));
    TW_TRY(must_be(snapshot, "domain", wanted->domain->name, "domain", reterr));
    TW_TRY(must_be(snapshot, "id_key", wanted->id_key_check, "id key", reterr));
    TW_TRY(read_word(snapshot, "written", line, reterr));
    TW_TRY(read_word(snapshot, "program", line, reterr));
    snprintf(line, sizeof(line), "%" PRId32, wanted->partition_count);
    TW_TRY(must_be(snapshot, "partitions", line, "number of partitions", reterr));
    TW_TRY(read_vector(snapshot, reterr));
    if (fgetc(snapshot->file) != '\n')
        return damaged(snapshot, "its head does not end", reterr);
    snapshot->items_at = ftell(snapshot->file);
    return TW_OK;
}

enum tw_rc tw_snapshot_open(const char *path, const struct tw_snapshot_head *wanted, struct tw_snapshot **ret_snapshot,
                            struct tw_err *reterr)
{
    struct tw_snapshot *snapshot = tw_alloc_zeroed(1, sizeof(*snapshot));
    enum tw_rc          rc = TW_OK;

    *snapshot = (struct tw_snapshot){
        .file = fopen(path, "re"),
        .path = path,
        .domain = wanted->domain,
        .partition_count = wanted->partition_count,
    };
    if (!snapshot->file)
        rc = tw_fail(reterr, TW_INVALID, "snapshot", errno, "cannot read '%.120s': %s", path, strerror(errno));
    if (rc == TW_OK)
        rc = check_magic(snapshot, reterr);
    if (rc == TW_OK)
        rc = check_hash(snapshot, reterr);
    if (rc == TW_OK)
        rc = read_head(snapshot, wanted, reterr);
    if (rc == TW_OK)
        *ret_snapshot = snapshot;
    else
        tw_snapshot_close(snapshot);
    return rc;
}

const struct tw_progress *tw_snapshot_vector(const struct tw_snapshot *snapshot)
{
    return snapshot->vector;
}

const char *tw_snapshot_hash(const struct tw_snapshot *snapshot)
{
    return snapshot->hash;
}

void tw_snapshot_close(struct tw_snapshot *snapshot)
{
    if (!snapshot)
        return;
    if (snapshot->file)
        fclose(snapshot->file);
    free(snapshot->vector);
    free(snapshot);
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

/* What is gathered of a partition for its next commit. */
struct part {
    struct tw_arena         arena;
    struct tw_entity        entities[LOAD_ITEMS];
    const struct tw_entity *pointers[LOAD_ITEMS];
    size_t                  entity_count;
    struct tw_ledger_row    rows[LOAD_ITEMS];
    size_t                  row_count;
    size_t                  bytes;
    struct tw_digest        digest;
};

struct loader {
    struct tw_snapshot    *snapshot;
    const struct tw_store *store;
    const atomic_bool     *stop;
    struct part           *parts; /* by partition */
    struct tw_buf          item;
    struct tw_buf          scratch;
};

/* Several commits from offset 0 to offset 0, all with the clock that some stores file rows by; the last one moves the
 * watermark. */
static enum tw_rc commit(struct loader *loader, int32_t partition, bool is_last, struct tw_err *reterr)
{
    const struct tw_store *store = loader->store;
    struct part           *part = &loader->parts[partition];
    char                   digest[TW_DIGEST_BYTES];
    struct tw_load         nothing = {0};
    struct tw_changes      changes = {
             .partition = partition,
             .after = {.clock_ms = loader->snapshot->vector[partition].clock_ms},
             .entities = part->pointers,
             .entity_count = part->entity_count,
             .rows = part->rows,
             .row_count = part->row_count,
    };

    if (is_last) {
        changes.after = loader->snapshot->vector[partition];
        tw_digest_write(&part->digest, digest);
        changes.after.outbox = (struct tw_str){digest, TW_DIGEST_BYTES};
    }
    TW_TRY(store->load(store->self, partition, 0, &nothing, &part->arena, reterr));
    TW_TRY(store->commit(store->self, &changes, reterr));
    part->entity_count = part->row_count = part->bytes = 0;
    tw_arena_reset(&part->arena);
    return TW_OK;
}

static uint64_t take_number(struct tw_str *rest, size_t size_bytes)
{
    uint64_t number = 0;

    for (size_t i = 0; i < size_bytes; i++)
        number |= (uint64_t)(uint8_t)rest->ptr[i] << (8 * i);
    *rest = (struct tw_str){rest->ptr + size_bytes, rest->len - size_bytes};
    return number;
}

static struct tw_uuid take_id(struct tw_str *rest)
{
    struct tw_uuid id;

    memcpy(id.bytes, rest->ptr, sizeof(id.bytes));
    *rest = (struct tw_str){rest->ptr + sizeof(id.bytes), rest->len - sizeof(id.bytes)};
    return id;
}

/* Of a partition that has room for one item more. */
static enum tw_rc make_room(struct loader *loader, int32_t partition, size_t bytes, struct part **ret_part,
                            struct tw_err *reterr)
{
    struct part *part = &loader->parts[partition];

    *ret_part = part;
    if (part->entity_count == LOAD_ITEMS || part->row_count == LOAD_ITEMS ||
        (part->bytes && part->bytes + bytes > LOAD_BYTES))
        TW_TRY(commit(loader, partition, false, reterr));
    part->bytes += bytes;
    return TW_OK;
}

static enum tw_rc take_entity(struct loader *loader, struct tw_str rest, struct tw_err *reterr)
{
    struct tw_entity      entity = {.before_guard = -1, .changed = true, .coalesce_offset = -1};
    const struct tw_type *type;
    struct part          *part;

    if (rest.len < 4 + 16 + 16 + 8)
        return damaged(loader->snapshot, "an item is too short", reterr);
    entity.key.kind = (uint32_t)take_number(&rest, 4);
    entity.key.id = take_id(&rest);
    entity.key.sub = take_id(&rest);
    entity.guard = (int64_t)take_number(&rest, 8);
    if (entity.key.kind >= loader->snapshot->domain->state_count)
        return damaged(loader->snapshot, "an item is of no kind that this release knows", reterr);
    type = loader->snapshot->domain->states[entity.key.kind];
    TW_TRY(make_room(loader, tw_partition_of_id(entity.key.id, loader->snapshot->partition_count), rest.len, &part,
                     reterr));
    entity.state = tw_arena_alloc(&part->arena, type->size);
    if (type->unpack(tw_arena_copy(&part->arena, rest), &part->arena, entity.state, NULL) != TW_OK)
        return damaged(loader->snapshot, "an aggregate is not as this release reads it", reterr);
    tw_digest_add(&part->digest, type, &entity.key, entity.state, &loader->scratch);
    part->entities[part->entity_count] = entity;
    part->pointers[part->entity_count] = &part->entities[part->entity_count];
    part->entity_count++;
    return TW_OK;
}

static enum tw_rc take_row(struct loader *loader, struct tw_str rest, struct tw_err *reterr)
{
    int32_t               partition;
    struct tw_ledger_row *row;
    struct part          *part;

    if (rest.len < 4 + 16)
        return damaged(loader->snapshot, "an item is too short", reterr);
    partition = (int32_t)take_number(&rest, 4);
    if (partition < 0 || partition >= loader->snapshot->partition_count)
        return damaged(loader->snapshot, "a row is of no partition there is", reterr);
    TW_TRY(make_room(loader, partition, rest.len, &part, reterr));
    row = &part->rows[part->row_count];
    *row = (struct tw_ledger_row){.id = take_id(&rest)};
    if (tw_ledger_row_unpack(rest, &part->arena, row, NULL) != TW_OK)
        return damaged(loader->snapshot, "a remembered command is not as this release reads it", reterr);
    part->row_count++;
    return TW_OK;
}

static enum tw_rc next_item(struct loader *loader, char *ret_tag, struct tw_err *reterr)
{
    struct tw_snapshot *snapshot = loader->snapshot;
    uint8_t             head[5];
    struct tw_str       rest = {(const char *)head + 1, 4};
    size_t              len;
    char                block[4096];

    if (fread(head, 1, sizeof(head), snapshot->file) != sizeof(head))
        return damaged(snapshot, "it is cut short", reterr);
    *ret_tag = (char)head[0];
    len = (size_t)take_number(&rest, 4);
    if (len > PART_MAX_BYTES)
        return damaged(snapshot, "an item is larger than any can be", reterr);
    tw_buf_clear(&loader->item);
    while (len > 0) {
        size_t step = fread(block, 1, len < sizeof(block) ? len : sizeof(block), snapshot->file);

        if (!step)
            return damaged(snapshot, "it is cut short", reterr);
        tw_buf_add(&loader->item, block, step);
        len -= step;
    }
    return TW_OK;
}

static enum tw_rc load_items(struct loader *loader, struct tw_err *reterr)
{
    char tag;

    for (;;) {
        if (atomic_load_explicit(loader->stop, memory_order_relaxed))
            return tw_fail(reterr, TW_UNREACHED, "snapshot", 0, "interrupted while the snapshot was loaded");
        TW_TRY(next_item(loader, &tag, reterr));
        if (tag == 'Z')
            break;
        if (tag == 'E')
            TW_TRY(take_entity(loader, tw_buf_str(&loader->item), reterr));
        else if (tag == 'R')
            TW_TRY(take_row(loader, tw_buf_str(&loader->item), reterr));
        else
            return damaged(loader->snapshot, "an item is of no kind that this release knows", reterr);
    }
    for (int32_t p = 0; p < loader->snapshot->partition_count; p++)
        if (loader->snapshot->vector[p].next_offset > 0)
            TW_TRY(commit(loader, p, true, reterr));
    return TW_OK;
}

enum tw_rc tw_snapshot_load(struct tw_snapshot *snapshot, const struct tw_store *store, const atomic_bool *stop,
                            struct tw_err *reterr)
{
    struct loader                          loader = {.snapshot = snapshot, .store = store, .stop = stop};
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    enum tw_rc                             rc = TW_OK;

    loader.parts = tw_alloc_zeroed((size_t)snapshot->partition_count, sizeof(*loader.parts));
    for (int32_t p = 0; rc == TW_OK && p < snapshot->partition_count; p++) {
        struct tw_progress progress;

        rc = store->watermark(store->self, p, &arena, &progress, reterr);
    }
    if (rc == TW_OK && fseek(snapshot->file, snapshot->items_at, SEEK_SET) != 0)
        rc = damaged(snapshot, "it cannot be read", reterr);
    if (rc == TW_OK)
        rc = load_items(&loader, reterr);
    for (int32_t p = 0; p < snapshot->partition_count; p++)
        tw_arena_done(&loader.parts[p].arena);
    free(loader.parts);
    tw_buf_done(&loader.item);
    tw_buf_done(&loader.scratch);
    return rc;
}

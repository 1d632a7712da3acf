/*
 * Lines gather in a few buffers, each with a lock that is held for one memcpy; a request thread always uses the same
 * one. Every 20 ms the writer exchanges each for an empty one and writes it: no request thread ever makes a system
 * call for a line, and a pipe that is full stops the writer alone. What then does not fit is dropped.
 *
 * Into a pipe go whole lines of at most PIPE_BUF bytes a call, which POSIX keeps together, so that they mix with nobody
 * else's.
 */
#include "access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tillwire/json_out.h"
#include "router.h"
#include "tillwire/clock.h"
#include "tillwire/metrics.h"

#define WHERE "edge.access_log"

enum { SHARDS = 8, SHARD_BYTES = 65536, PATH_MAX_BYTES = 512, PAUSE_US = 20000, CLOSE_US = 1000000, POLL_MS = 100 };

struct shard {
    _Alignas(64) pthread_mutex_t lock; /* guards the next two */
    size_t len;
    char  *bytes;
};

struct tw_access_log {
    struct shard shards[SHARDS];
    char        *spare; /* of the writer: what it exchanges for a full one */
    char        *path;  /* NULL: standard output */
    int          fd;    /* stays the same number, whatever file it stands for */
    pthread_t    writer;
    atomic_bool  closing;
    atomic_llong close_by_us; /* then the writer gives up */
};

static struct tw_metric written = {.name = "tillwire_edge_access_lines_total",
                                   .labels = "result=\"written\"",
                                   .help = "Lines of the access log, by what became of them."};
static struct tw_metric dropped = {.name = "tillwire_edge_access_lines_total",
                                   .labels = "result=\"dropped\"",
                                   .help = "Lines of the access log, by what became of them."};
TW_METRICS_SHOWN(&written, &dropped)

/* --- a line ------------------------------------------------------------------------------------------------------- */

/** What fits, and no half character. */
static struct tw_str cut(struct tw_str text)
{
    if (text.len <= PATH_MAX_BYTES)
        return text;
    text.len = PATH_MAX_BYTES;
    while (text.len > 0 && ((unsigned char)text.ptr[text.len] & 0xC0) == 0x80)
        text.len--;
    return text;
}

static void put_duration(struct tw_json *json, int64_t duration_us)
{
    tw_json_key(json, "duration_ms");
    tw_buf_printf(json->out, "%" PRId64 ".%03" PRId64, duration_us / 1000, duration_us % 1000);
    json->comma = true;
}

static void put_text(struct tw_json *json, const char *name, struct tw_str text)
{
    if (!text.ptr || !tw_str_is_utf8(text))
        return;
    tw_json_key(json, name);
    tw_json_text(json, text);
}

static void put_id(struct tw_json *json, const char *name, struct tw_uuid id)
{
    if (tw_uuid_is_nil(id))
        return;
    tw_json_key(json, name);
    tw_json_uuid(json, id);
}

static void write_line(const struct tw_request *request, const struct tw_answered *answered, struct tw_buf *out)
{
    struct tw_json json = {out, false};

    tw_json_open(&json, '{');
    tw_json_key(&json, "time");
    tw_json_time(&json, tw_now_ms());
    put_text(&json, "method", tw_str_of(tw_method_name(request->method)));
    if (request->route)
        put_text(&json, "route", tw_str_of(request->route->pattern));
    put_text(&json, "path", cut(request->path));
    tw_json_key(&json, "status");
    tw_json_int(&json, answered->status);
    tw_json_key(&json, "bytes");
    tw_json_int(&json, (int64_t)answered->bytes);
    put_duration(&json, answered->duration_us);
    put_text(&json, "client", request->address);
    put_id(&json, "member_id", request->caller.member_id);
    put_text(&json, "trace_id", tw_str_of(request->trace_id));
    put_id(&json, "command_id", request->command_id);
    tw_json_close(&json, '}');
    tw_buf_add(out, "\n", 1);
}

static struct shard *shard_of(struct tw_access_log *log, const void *thread)
{
    return &log->shards[(uintptr_t)thread * UINT64_C(0x9e3779b97f4a7c15) >> 61];
}

void tw_access_log_put(struct tw_access_log *log, const struct tw_request *request, const struct tw_answered *answered,
                       struct tw_buf *scratch)
{
    struct shard *shard;
    bool          fits;

    if (!log)
        return;
    tw_buf_clear(scratch);
    write_line(request, answered, scratch);
    shard = shard_of(log, request->thread);
    pthread_mutex_lock(&shard->lock);
    fits = scratch->len <= SHARD_BYTES - shard->len;
    if (fits) {
        memcpy(shard->bytes + shard->len, scratch->ptr, scratch->len);
        shard->len += scratch->len;
    }
    pthread_mutex_unlock(&shard->lock);
    if (!fits)
        tw_metric_add(&dropped, 1);
}

/* --- the writer --------------------------------------------------------------------------------------------------- */

static int64_t count_lines(const char *bytes, size_t len)
{
    int64_t count = 0;

    for (size_t i = 0; i < len; i++)
        count += bytes[i] == '\n';
    return count;
}

/** Whole lines of at most PIPE_BUF bytes; a longer one stands alone. */
static size_t portion(const char *bytes, size_t len)
{
    const char *end;

    if (len <= PIPE_BUF)
        return len;
    end = memrchr(bytes, '\n', PIPE_BUF);
    if (!end)
        end = memchr(bytes, '\n', len);
    return end ? (size_t)(end - bytes) + 1 : len;
}

static bool time_is_up(const struct tw_access_log *log)
{
    return atomic_load(&log->closing) && tw_monotonic_us() > atomic_load(&log->close_by_us);
}

/** False: time is up before the stream takes anything. */
static bool wait_for_room(const struct tw_access_log *log)
{
    struct pollfd stream = {log->fd, POLLOUT, 0};

    while (poll(&stream, 1, time_is_up(log) ? 0 : POLL_MS) <= 0)
        if (time_is_up(log))
            return false;
    return true;
}

static bool write_portion(const struct tw_access_log *log, const char *bytes, size_t len)
{
    while (len > 0 && wait_for_room(log)) {
        ssize_t n = write(log->fd, bytes, len);

        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return false;
        bytes += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return len == 0;
}

static void write_all(struct tw_access_log *log, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t  step = portion(bytes, len);
        int64_t lines = count_lines(bytes, step);

        tw_metric_add(write_portion(log, bytes, step) ? &written : &dropped, lines);
        bytes += step;
        len -= step;
    }
}

/** Takes what gathered, leaving an empty buffer. */
static size_t exchange(struct tw_access_log *log, struct shard *shard)
{
    char  *full;
    size_t len;

    pthread_mutex_lock(&shard->lock);
    len = shard->len;
    full = shard->bytes;
    if (len > 0) {
        shard->bytes = log->spare;
        shard->len = 0;
        log->spare = full;
    }
    pthread_mutex_unlock(&shard->lock);
    return len;
}

static void write_what_is_there(struct tw_access_log *log)
{
    for (size_t i = 0; i < SHARDS; i++) {
        size_t len = exchange(log, &log->shards[i]);

        if (len > 0)
            write_all(log, log->spare, len);
    }
}

static void *writer_main(void *self)
{
    struct tw_access_log *log = self;

    pthread_setname_np(pthread_self(), "access-log");
    while (!atomic_load(&log->closing)) {
        write_what_is_there(log);
        usleep(PAUSE_US);
    }
    write_what_is_there(log);
    return NULL;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static enum tw_rc open_file(const char *path, int *ret_fd, struct tw_err *reterr)
{
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640) : STDOUT_FILENO;

    if (fd < 0)
        return tw_fail(reterr, TW_INVALID, WHERE, errno, "cannot open '%s': %s", path, strerror(errno));
    *ret_fd = fd;
    return TW_OK;
}

static bool is_word(const char *where)
{
    return strcmp(where, "off") == 0 || strcmp(where, "stdout") == 0;
}

enum tw_rc tw_access_log_check(const char *where, struct tw_err *reterr)
{
    return is_word(where) || where[0] == '/'
               ? TW_OK
               : tw_fail(reterr, TW_INVALID, WHERE, 0, "'%s' is neither off, nor stdout, nor the full path of a file",
                         where);
}

enum tw_rc tw_access_log_open(const char *where, struct tw_access_log **ret_log, struct tw_err *reterr)
{
    bool                  is_stdout = strcmp(where, "stdout") == 0;
    struct tw_access_log *log;
    int                   fd = -1;

    if (strcmp(where, "off") == 0)
        return TW_OK;
    TW_TRY(tw_access_log_check(where, reterr));
    TW_TRY(open_file(is_stdout ? NULL : where, &fd, reterr));
    log = aligned_alloc(64, sizeof(*log));
    if (!log)
        tw_out_of_memory(sizeof(*log));
    *log = (struct tw_access_log){.fd = fd, .path = is_stdout ? NULL : tw_strdup(where)};
    log->spare = tw_alloc(SHARD_BYTES);
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&log->shards[i].lock, NULL);
        log->shards[i].bytes = tw_alloc(SHARD_BYTES);
    }
    if (pthread_create(&log->writer, NULL, writer_main, log) != 0)
        tw_out_of_memory(sizeof(*log));
    *ret_log = log;
    return TW_OK;
}

/** The writer may be in the middle of the old file: the new one takes its number, which is one step. */
enum tw_rc tw_access_log_reopen(struct tw_access_log *log, struct tw_err *reterr)
{
    int fd;

    if (!log || !log->path)
        return TW_OK;
    TW_TRY(open_file(log->path, &fd, reterr));
    int moved = dup3(fd, log->fd, O_CLOEXEC);
    close(fd);
    return moved >= 0 ? TW_OK : tw_fail(reterr, TW_INVALID, WHERE, errno, "cannot go on in '%s'", log->path);
}

void tw_access_log_close(struct tw_access_log *log)
{
    if (!log)
        return;
    atomic_store(&log->close_by_us, tw_monotonic_us() + CLOSE_US);
    atomic_store(&log->closing, true);
    pthread_join(log->writer, NULL);
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_destroy(&log->shards[i].lock);
        free(log->shards[i].bytes);
    }
    if (log->path)
        close(log->fd);
    free(log->path);
    free(log->spare);
    free(log);
}

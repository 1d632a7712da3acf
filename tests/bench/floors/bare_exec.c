/*
 * Floor of the cart worker: what Redis takes of the same transactions when nothing else is done. The worker's own bytes,
 * recorded on their way (recorder.py), are held in memory; then each connection of the worker's sends its `MULTI … EXEC`
 * one after the other, as soon as the one before is answered, so that the server always has another one waiting. No
 * Kafka, no watch, no load, no look-up, no decision, no encoding.
 *
 *   bench_bare_exec REDIS_URI FILE...      one file a connection; EMPTIES the database of the address
 *
 * Prints `transactions=N commands=N bytes=N seconds=S`.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "redis_lane.h"
#include "tillwire/clock.h"

enum { LANES_MAX = 64, TIMEOUT_MS = 60000, COMMANDS_MIN = 3 }; /* MULTI EXEC alone is how the worker tries an account */

struct transaction {
    struct tw_str bytes;
    size_t        commands; /* with MULTI and EXEC */
};

struct connection {
    struct tw_lane      lane;
    struct transaction *transactions;
    size_t              count;
    size_t              next;
};

_Noreturn static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "bench_bare_exec: %s: %s\n", what, why);
    exit(1);
}

/* --- what was recorded -------------------------------------------------------------------------------------------- */

static struct tw_str read_file(const char *name)
{
    FILE         *file = fopen(name, "rb");
    struct tw_buf bytes = {0};
    char          part[65536];
    size_t        len;

    if (!file)
        give_up(name, "cannot open it");
    while ((len = fread(part, 1, sizeof(part), file)) > 0)
        tw_buf_add(&bytes, part, len);
    fclose(file);
    return tw_buf_str(&bytes); /* for the life of the program */
}

/* `*3\r\n` or `$16\r\n` at @p at; moves behind it. */
static size_t take_head(struct tw_str all, size_t *at, char kind)
{
    char  *end;
    size_t number;

    if (*at + 4 > all.len || all.ptr[*at] != kind)
        give_up("recording", "it is not made of commands");
    number = strtoull(all.ptr + *at + 1, &end, 10);
    *at = (size_t)(end - all.ptr) + 2;
    return number;
}

/* The next command; its name is the result. */
static struct tw_str take_command(struct tw_str all, size_t *at)
{
    size_t        args = take_head(all, at, '*');
    struct tw_str name = {NULL, 0};

    for (size_t i = 0; i < args; i++) {
        size_t len = take_head(all, at, '$');

        if (*at + len + 2 > all.len)
            give_up("recording", "it ends within a command");
        if (i == 0)
            name = (struct tw_str){all.ptr + *at, len};
        *at += len + 2;
    }
    return name;
}

/* The worker is ended while it works: what it sent behind its last EXEC may be half a command. */
static struct tw_str without_rest(struct tw_str all)
{
    static const char exec[] = "*1\r\n$4\r\nEXEC\r\n";
    const size_t      len = sizeof(exec) - 1;
    size_t            end = 0;

    for (const char *at = all.ptr; (at = memmem(at, all.len - (size_t)(at - all.ptr), exec, len)) != NULL; at += len)
        end = (size_t)(at - all.ptr) + len;
    return (struct tw_str){all.ptr, end};
}

static void find_transactions(struct connection *connection, struct tw_str all)
{
    struct transaction *found = tw_alloc_zeroed(all.len / 64 + 1, sizeof(*found)); /* none is shorter */
    size_t              commands = 0, start = 0, at = 0;

    all = without_rest(all);
    while (at < all.len) {
        size_t        before = at;
        struct tw_str name = take_command(all, &at);

        if (tw_str_is(name, "MULTI")) {
            start = before;
            commands = 0;
        }
        commands++;
        if (tw_str_is(name, "EXEC") && commands >= COMMANDS_MIN)
            found[connection->count++] = (struct transaction){{all.ptr + start, at - start}, commands};
    }
    connection->transactions = found;
}

/* --- sending it again --------------------------------------------------------------------------------------------- */

static void open_lane(struct connection *connection, const struct tw_redis_uri *uri)
{
    struct tw_err err;

    connection->lane.server = uri;
    connection->lane.timeout_ms = TIMEOUT_MS;
    if (tw_lane_open(&connection->lane, "floor", &err) != TW_OK)
        give_up("Redis", err.msg);
}

static void empty_database(struct tw_lane *lane)
{
    struct tw_err err;

    tw_lane_command(lane, "FLUSHDB", 0);
    if (tw_lane_send(lane, "floor", &err) != TW_OK || tw_lane_receive_ok(lane, "floor", "FLUSHDB", &err) != TW_OK)
        give_up("FLUSHDB", err.msg);
}

static void send_next(struct connection *connection)
{
    const struct transaction *transaction = &connection->transactions[connection->next++];

    for (size_t sent = 0; sent < transaction->bytes.len;) {
        ssize_t part = write(connection->lane.redis->fd, transaction->bytes.ptr + sent, transaction->bytes.len - sent);

        if (part < 0)
            give_up("Redis", "it does not take what is sent");
        sent += (size_t)part;
    }
    connection->lane.unanswered = transaction->commands;
}

static void receive(struct connection *connection)
{
    struct tw_err err;

    if (connection->lane.unanswered && tw_lane_receive_transaction(&connection->lane, "floor", &err) != TW_OK)
        give_up("transaction", err.msg);
}

/* While the server executes one connection's transaction, the next one's is on its way. */
static void send_all(struct connection *connections, size_t count)
{
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < count; i++) {
            receive(&connections[i]);
            if (connections[i].next == connections[i].count)
                continue;
            send_next(&connections[i]);
            more = true;
        }
    }
}

int main(int argc, char **argv)
{
    static struct connection connections[LANES_MAX];
    struct tw_redis_uri      uris[TW_REDIS_SERVERS_MAX];
    size_t                   uri_count, transactions = 0, commands = 0, bytes = 0;
    size_t                   count = (size_t)argc - 2;
    struct tw_err            err;

    if (argc < 3 || count > LANES_MAX)
        give_up("usage", "REDIS_URI FILE...");
    if (tw_redis_uris_parse(argv[1], uris, &uri_count, &err) != TW_OK)
        give_up("REDIS_URI", err.msg);
    for (size_t i = 0; i < count; i++) {
        find_transactions(&connections[i], read_file(argv[i + 2]));
        open_lane(&connections[i], &uris[0]);
        transactions += connections[i].count;
        for (size_t n = 0; n < connections[i].count; n++) {
            commands += connections[i].transactions[n].commands;
            bytes += connections[i].transactions[n].bytes.len;
        }
    }
    empty_database(&connections[0].lane);

    int64_t started_us = tw_monotonic_us();
    send_all(connections, count);
    printf("transactions=%zu commands=%zu bytes=%zu seconds=%.6f\n", transactions, commands, bytes,
           (double)(tw_monotonic_us() - started_us) / 1e6);
    return 0;
}

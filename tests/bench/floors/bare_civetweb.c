/*
 * Floor of the edge: what civetweb itself answers with nothing behind it. The options are those of api-edge/server.c;
 * the answer is one the edge gave, byte for byte.
 *
 *   bench_bare_civetweb PORT ANSWER-FILE      until SIGTERM or SIGINT
 */
#include <civetweb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

enum { ANSWER_MAX_BYTES = 4096, STACK_BYTES = 256 * 1024 };

struct answer {
    char   bytes[ANSWER_MAX_BYTES];
    size_t len;
};

static int on_request(struct mg_connection *connection)
{
    const struct answer *answer = mg_get_user_data(mg_get_context(connection));

    mg_write(connection, answer->bytes, answer->len);
    return 202;
}

static int read_answer(const char *path, struct answer *ret_answer)
{
    FILE *file = fopen(path, "rb");

    if (!file) {
        perror(path);
        return -1;
    }
    ret_answer->len = fread(ret_answer->bytes, 1, sizeof(ret_answer->bytes), file);
    fclose(file);
    return ret_answer->len > 0 ? 0 : -1;
}

/* civetweb makes its threads with default attributes. */
static void make_stacks_small(void)
{
    pthread_attr_t attr;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_setattr_default_np(&attr);
    pthread_attr_destroy(&attr);
}

static struct mg_context *serve(const char *port, struct answer *answer)
{
    static const struct mg_callbacks callbacks = {.begin_request = on_request};
    char                             listen[64];
    const char                      *table[] = {
                             "listening_ports",
                             listen,
                             "num_threads",
                             "512",
                             "enable_keep_alive",
                             "yes",
                             "tcp_nodelay",
                             "1",
                             "request_timeout_ms",
                             "5000",
                             "keep_alive_timeout_ms",
                             "2000",
                             "max_request_size",
                             "65536",
                             "connection_queue",
                             "512",
                             "listen_backlog",
                             "1024",
                             "decode_url",
                             "no",
                             "enable_auth_domain_check",
                             "no",
                             "access_control_allow_methods",
                             "",
                             NULL,
    };

    snprintf(listen, sizeof(listen), "127.0.0.1:%s", port);
    make_stacks_small();
    mg_init_library(MG_FEATURES_DEFAULT);
    return mg_start(&callbacks, answer, table);
}

int main(int argc, char **argv)
{
    static struct answer answer;
    sigset_t             signals;
    int                  number;

    if (argc != 3 || read_answer(argv[2], &answer) != 0) {
        fputs("bench_bare_civetweb PORT ANSWER-FILE\n", stderr);
        return 2;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    struct mg_context *context = serve(argv[1], &answer);
    if (!context) {
        fprintf(stderr, "bench_bare_civetweb: cannot listen on 127.0.0.1:%s\n", argv[1]);
        return 1;
    }
    sigwait(&signals, &number);
    mg_stop(context);
    return 0;
}

/* Helpers of all tests; see unit.h. */
#include "unit.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tillwire/metrics.h"

void tw_assert_str(struct tw_str actual, struct tw_str expected, const char *file, int line)
{
    if (tw_str_eq(actual, expected))
        return;
    print_error("'%.*s' is not '%.*s'\n", TW_STR_ARG(actual), TW_STR_ARG(expected));
    _fail(file, line);
}

void tw_assert_rc(enum tw_rc actual, enum tw_rc expected, const struct tw_err *err, const char *file, int line)
{
    if (actual == expected && (actual == TW_OK || err->rc == actual))
        return;
    print_error("%s instead of %s: %s\n", tw_rc_name(actual), tw_rc_name(expected), actual == TW_OK ? "" : err->msg);
    _fail(file, line);
}

/* A file without a name: unlike a pipe it takes any amount before somebody reads. Appending, so that writers on several
 * threads do not overwrite each other. */
static int open_catcher(void)
{
    int fd = memfd_create("caught", MFD_CLOEXEC);

    assert(fd >= 0);
    fcntl(fd, F_SETFL, O_APPEND);
    return fd;
}

static void read_catcher(int fd, char *ret_text, size_t size)
{
    ssize_t len = pread(fd, ret_text, size - 1, 0);

    assert(len >= 0);
    ret_text[len] = '\0';
    close(fd);
}

/* 128 + signal when a signal ended the process. */
static int wait_for(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        assert(errno == EINTR);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void tw_child_run(int (*fn)(void *arg), void *arg, struct tw_child *ret_child)
{
    int   out = open_catcher();
    int   err = open_catcher();
    pid_t pid;

    fflush(NULL);
    pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        exit(fn(arg));
    }
    ret_child->exit_code = wait_for(pid);
    read_catcher(out, ret_child->out, sizeof(ret_child->out));
    read_catcher(err, ret_child->err, sizeof(ret_child->err));
}

struct program {
    const char *const *argv;
    const char *const *env;
};

static int exec_program(void *arg)
{
    const struct program *program = arg;
    char                 *argv[64] = {NULL};

    for (size_t i = 0; program->env[i]; i++)
        putenv(strdup(program->env[i]));
    for (size_t i = 0; program->argv[i] && i + 1 < TW_LEN(argv); i++)
        argv[i] = strdup(program->argv[i]);
    if (argv[0])
        execv(argv[0], argv);
    return 127;
}

void tw_child_exec(const char *const *argv, const char *const *env, struct tw_child *ret_child)
{
    tw_child_run(exec_program, &(struct program){argv, env}, ret_child);
}

static size_t guarded_bytes(size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (len + page - 1) / page * page;
}

struct tw_str tw_guarded(struct tw_str bytes)
{
    size_t room = guarded_bytes(bytes.len);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char  *memory = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert(memory != MAP_FAILED);
    if (bytes.len)
        memcpy(memory + room - bytes.len, bytes.ptr, bytes.len);
    mprotect(memory + room, page, PROT_NONE);
    return (struct tw_str){memory + room - bytes.len, bytes.len};
}

void tw_guarded_free(struct tw_str guarded)
{
    size_t    room = guarded_bytes(guarded.len);
    uintptr_t start = (uintptr_t)guarded.ptr + guarded.len - room;

    munmap((void *)start, room + (size_t)sysconf(_SC_PAGESIZE));
}

/* SplitMix64 (Steele, Lea, Flood 2014; public domain code by Vigna). */
uint64_t tw_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static struct tw_buf page;

__attribute__((destructor)) static void forget_page(void)
{
    tw_buf_done(&page);
}

const char *tw_metrics_page(void)
{
    tw_buf_clear(&page);
    tw_metrics_render(&page);
    tw_buf_add(&page, "", 1);
    return page.ptr;
}

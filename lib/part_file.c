#include "tillwire/part_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define WHERE "part_file"

static enum tw_rc fail_io(struct tw_err *reterr, enum tw_rc rc, const char *what, const char *path)
{
    return tw_fail(reterr, rc, WHERE, errno, "cannot %s '%s': %s", what, path, strerror(errno));
}

static enum tw_rc is_there(const char *path, struct tw_err *reterr)
{
    return tw_fail(reterr, TW_INVALID, WHERE, 0, "'%s' is there already: move it away first", path);
}

/* --- beginning ---------------------------------------------------------------------------------------------------- */

/* Of two writers that open the same file, one locks it; and when that one has given it its name meanwhile, it is not ours
 * to empty. */
static enum tw_rc lock_part(struct tw_part_file *file, struct tw_err *reterr)
{
    struct stat ours, there;

    file->fd = open(file->part, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file->fd < 0)
        return fail_io(reterr, TW_INVALID, "write", file->part);
    if (flock(file->fd, LOCK_EX | LOCK_NB) != 0 || fstat(file->fd, &ours) != 0 || stat(file->part, &there) != 0 ||
        ours.st_ino != there.st_ino) {
        close(file->fd); /* before anybody removes it */
        file->fd = -1;
        return tw_fail(reterr, TW_REFUSED, WHERE, 0, "'%s' is being written by somebody else", file->part);
    }
    if (ftruncate(file->fd, 0) != 0) /* what an interrupted one left */
        return fail_io(reterr, TW_REFUSED, "write", file->part);
    return TW_OK;
}

enum tw_rc tw_part_file_open(const char *path, struct tw_part_file *ret_file, struct tw_err *reterr)
{
    struct tw_part_file file = {.fd = -1};
    size_t              path_len = strlen(path);
    enum tw_rc          rc;

    if (access(path, F_OK) == 0)
        return is_there(path, reterr);
    file.path = tw_strdup(path);
    file.part = tw_alloc(path_len + sizeof(".part"));
    memcpy(file.part, path, path_len);
    memcpy(file.part + path_len, ".part", sizeof(".part"));
    rc = lock_part(&file, reterr);
    if (rc == TW_OK)
        *ret_file = file;
    else
        tw_part_file_done(&file);
    return rc;
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

/* Some file systems cannot do this in one step: a second name then, before the first one goes. */
static int rename_to_nothing(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    return link(from, to) == 0 ? unlink(from) : -1;
}

static enum tw_rc sync_folder(const char *path, struct tw_err *reterr)
{
    char *copy = tw_strdup(path);
    int   fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool  good = fd >= 0 && fsync(fd) == 0;

    if (!good)
        fail_io(reterr, TW_REFUSED, "bring to the disk the folder of", path);
    if (fd >= 0)
        close(fd);
    free(copy);
    return good ? TW_OK : TW_REFUSED;
}

/* On the disk before it has its name: a name is a promise. */
enum tw_rc tw_part_file_finish(struct tw_part_file *file, struct tw_err *reterr)
{
    if (fsync(file->fd) != 0)
        return fail_io(reterr, TW_REFUSED, "write", file->part);
    if (rename_to_nothing(file->part, file->path) != 0)
        return errno == EEXIST ? is_there(file->path, reterr) : fail_io(reterr, TW_REFUSED, "name", file->path);
    file->finished = true;
    return sync_folder(file->path, reterr);
}

void tw_part_file_done(struct tw_part_file *file)
{
    if (!file || !file->part)
        return;
    if (file->fd >= 0) {
        if (!file->finished)
            unlink(file->part);
        close(file->fd);
    }
    free(file->path);
    free(file->part);
    *file = (struct tw_part_file){.fd = -1};
}

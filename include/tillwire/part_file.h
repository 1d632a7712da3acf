/**
 * A file that has its name only when all of it is on the disk. Until then it is `<path>.part`, locked, its owner's alone to
 * read; what an interrupted writer left is taken over. A file that has the name already is never replaced.
 *
 *     tw_part_file_open(path, &file, …)  ->  write to file.fd  ->  tw_part_file_finish(&file, …)  ->  tw_part_file_done(&file)
 */
#ifndef TILLWIRE_PART_FILE_H
#define TILLWIRE_PART_FILE_H

#include "tillwire/err.h"

struct tw_part_file {
    int   fd; /**< to write to, from its beginning */
    char *path;
    char *part; /**< NULL: not open */
    bool  finished;
};

/** INVALID: @p path is there already, or its folder cannot be written. REFUSED: another writer is at it. */
enum tw_rc tw_part_file_open(const char *path, struct tw_part_file *ret_file, struct tw_err *reterr);
/** All of it is written: it gets its name. INVALID: a file of that name came meanwhile. REFUSED: the disk does not take it. */
enum tw_rc tw_part_file_finish(struct tw_part_file *file, struct tw_err *reterr);
/** Removes what was not finished. Accepts NULL and what is all zero. */
void       tw_part_file_done(struct tw_part_file *file);

#endif

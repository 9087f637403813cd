/* The index on disk: a copy without free pages. See index.h. Knows LMDB and files. */
#include "cold/index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lmdb.h>

#include "base/file.h"
#include "cold/store_files.h"

/* 0 or an errno or an error of LMDB. The lock that LMDB keeps is not needed: nobody else is there.
 */
static int copy_to(const char *directory, int fd) {
    MDB_env *env;
    int error = mdb_env_create(&env);
    if (error != 0) {
        return error;
    }
    error = mdb_env_open(env, directory, MDB_RDONLY | MDB_NOLOCK | MDB_NORDAHEAD, 0666);
    if (error == 0) {
        error = mdb_env_copyfd2(env, fd, MDB_CP_COMPACT);
    }
    mdb_env_close(env);
    return error == 0 && fsync(fd) != 0 ? errno : error;
}

static int failed(firn_detail *detail, const char *path, int error) {
    int code = error > 0 ? firn_code_of_errno(error) : FIRN_EIO;
    return firn_detail_set(detail, code, "%s: cannot make a copy without free pages: %s", path,
                           mdb_strerror(error));
}

static bool is_smaller(const char *path, const char *other) {
    struct stat one;
    struct stat two;
    return stat(path, &one) == 0 && stat(other, &two) == 0 && one.st_size < two.st_size;
}

static int replace(const char *directory, const char *data, const char *copy, firn_detail *detail) {
    int fd = open(copy, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int error = fd >= 0 ? copy_to(directory, fd) : errno;
    struct stat status;
    if (error == 0 && stat(data, &status) == 0) {
        (void)fchmod(fd, status.st_mode & 07777);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (error == 0 && !is_smaller(copy, data)) {
        (void)unlink(copy);
        return FIRN_OK;
    }
    if (error == 0 && rename(copy, data) != 0) {
        error = errno;
    }
    if (error != 0) {
        (void)unlink(copy);
        return failed(detail, data, error);
    }
    (void)firn_sync_directory(directory); /* some file systems cannot */
    return FIRN_OK;
}

int firn_index_pack(const char *directory, firn_heap *heap, firn_detail *detail) {
    char *data = firn_path_join(heap, directory, FIRN_DATA_FILE);
    char *copy = firn_path_join(heap, directory, FIRN_DATA_FILE ".tmp");
    int result = data != NULL && copy != NULL
                     ? replace(directory, data, copy, detail)
                     : firn_detail_set(detail, FIRN_ENOMEM, "%s: no memory to pack it", directory);
    firn_path_free(heap, data);
    firn_path_free(heap, copy);
    return result;
}

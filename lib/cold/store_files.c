/* See store_files.h. */
#include "cold/store_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <firn/error.h>

#include "base/file.h"
#include "cold/blobs.h"
#include "cold/clears_file.h"
#include "cold/delta_file.h"
#include "cold/journal.h"
#include "cold/links_file.h"
#include "cold/lock.h"
#include "cold/log.h"
#include "cold/type_names.h"
#include "observe/curve_file.h"
#include "observe/page.h"

/* In the order in which they are moved or removed. */
static const char *const own_files[] = {
    FIRN_DATA_FILE,
    FIRN_DATA_FILE ".tmp",
    "lock.mdb",
    FIRN_LOG_FILE,
    FIRN_DELTA_FILE,
    "firn.hot.tmp",
    "firn.hot",
    FIRN_PAGE_FILE,
    FIRN_CURVE_FILE ".tmp",
    FIRN_CURVE_FILE,
    "firn.filter.tmp",
    "firn.filter",
    FIRN_LINKS_FILE ".tmp",
    FIRN_LINKS_FILE,
    FIRN_TYPE_NAMES_FILE ".tmp",
    FIRN_TYPE_NAMES_FILE,
    FIRN_CLEARS_FILE ".tmp",
    FIRN_CLEARS_FILE,
    FIRN_JOURNAL_FILE,
};

enum { OWN_FILES = sizeof own_files / sizeof own_files[0] };

typedef struct contents {
    bool journal;
    bool data;
    bool foreign;
    char foreign_name[256]; /* the first of them */
} contents;

static int system_failed(firn_detail *detail, const char *path, const char *what) {
    int error = errno;
    return firn_detail_set(detail, firn_code_of_errno(error), "%s: cannot %s: %s", path, what,
                           strerror(error));
}

static void note_name(contents *found, const char *name) {
    if (strcmp(name, FIRN_JOURNAL_FILE) == 0) {
        found->journal = true;
    } else if (strcmp(name, FIRN_DATA_FILE) == 0) {
        found->data = true;
    } else if (name[0] != '.' && strcmp(name, FIRN_LOCK_FILE) != 0 && !found->foreign) {
        found->foreign = true;
        snprintf(found->foreign_name, sizeof found->foreign_name, "%s", name);
    }
}

static int list(const char *path, contents *found, firn_detail *detail) {
    *found = (contents){0};
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return firn_detail_set(detail, FIRN_EIO, "%s: cannot list the directory: %s", path,
                               strerror(errno));
    }
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            break;
        }
        note_name(found, entry->d_name);
    }
    int error = errno;
    closedir(directory);
    return error == 0 ? FIRN_OK
                      : firn_detail_set(detail, FIRN_EIO, "%s: cannot list the directory: %s", path,
                                        strerror(error));
}

static int identify_directory(const char *path, firn_store_kind *kind, firn_heap *heap,
                              firn_detail *detail) {
    contents found;
    int result = list(path, &found, detail);
    if (result != FIRN_OK) {
        return result;
    }
    if (!found.journal && found.data) {
        return firn_detail_set(detail, FIRN_ENOTSTORE,
                               "%s: holds an LMDB environment that is not firn's; choose another "
                               "directory",
                               path);
    }
    if (!found.journal && found.foreign) {
        return firn_detail_set(detail, FIRN_ENOTSTORE,
                               "%s: holds other files (%s); choose an empty or new directory", path,
                               found.foreign_name);
    }
    *kind = !found.journal                                       ? FIRN_STORE_EMPTY
            : firn_journal_is_unfinished(path, found.data, heap) ? FIRN_STORE_UNFINISHED
                                                                 : FIRN_STORE_PRESENT;
    return FIRN_OK;
}

int firn_store_files_identify(const char *path, firn_store_kind *kind, firn_heap *heap,
                              firn_detail *detail) {
    struct stat status;
    *kind = FIRN_STORE_ABSENT;
    if (stat(path, &status) != 0) {
        return errno == ENOENT ? FIRN_OK
                               : firn_detail_set(detail, FIRN_EIO, "%s: %s", path, strerror(errno));
    }
    if (!S_ISDIR(status.st_mode)) {
        return firn_detail_set(detail, FIRN_ENOTSTORE,
                               "%s: is not a directory; a store is one: choose another path", path);
    }
    return identify_directory(path, kind, heap, detail);
}

bool firn_store_files_has_data(const char *path, firn_heap *heap) {
    char *data = firn_path_join(heap, path, FIRN_DATA_FILE);
    bool there = data != NULL && access(data, F_OK) == 0;
    firn_path_free(heap, data);
    return there;
}

bool firn_store_files_data_is(const char *path, uint64_t file_bytes, uint64_t mtime_ns,
                              firn_heap *heap) {
    char *data = firn_path_join(heap, path, FIRN_DATA_FILE);
    struct stat status;
    bool there = data != NULL && stat(data, &status) == 0;
    firn_path_free(heap, data);
    return there && (uint64_t)status.st_size == file_bytes &&
           (uint64_t)status.st_mtim.tv_sec * 1000000000u + (uint64_t)status.st_mtim.tv_nsec ==
               mtime_ns;
}

int firn_store_files_make_directory(const char *path, firn_detail *detail) {
    if (mkdir(path, 0777) == 0 || errno == EEXIST) {
        return FIRN_OK;
    }
    return errno == ENOENT
               ? firn_detail_set(detail, FIRN_EIO,
                                 "%s: the directory above it does not exist; make it first", path)
               : system_failed(detail, path, "make the directory");
}

static int remove_file(const char *path, const char *name, firn_heap *heap, firn_detail *detail) {
    char *file = firn_path_join(heap, path, name);
    if (file == NULL) {
        return firn_detail_set(detail, FIRN_ENOMEM, "%s: no memory to clear it", path);
    }
    int result = FIRN_OK;
    if (unlink(file) != 0 && errno != ENOENT) {
        result = system_failed(detail, file, "remove");
    }
    firn_path_free(heap, file);
    return result;
}

static int move_file(const char *from, const char *to, const char *name, firn_heap *heap,
                     firn_detail *detail) {
    char *old_path = firn_path_join(heap, from, name);
    char *new_path = firn_path_join(heap, to, name);
    int result = FIRN_OK;
    if (old_path == NULL || new_path == NULL) {
        result = firn_detail_set(detail, FIRN_ENOMEM, "%s: no memory to set it aside", from);
    } else if (rename(old_path, new_path) != 0 && errno != ENOENT) {
        result = system_failed(detail, old_path, "set aside");
    }
    firn_path_free(heap, old_path);
    firn_path_free(heap, new_path);
    return result;
}

/* Removes each blob, or moves it to another directory. Entries may go while a directory is read. */
static int clear_blobs(const char *path, const char *to, firn_heap *heap, firn_detail *detail) {
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return firn_detail_set(detail, FIRN_EIO, "%s: cannot list the directory: %s", path,
                               strerror(errno));
    }
    int result = FIRN_OK;
    struct dirent *entry;
    while (result == FIRN_OK && (entry = readdir(directory)) != NULL) {
        if (firn_blob_is_name(entry->d_name)) {
            result = to != NULL ? move_file(path, to, entry->d_name, heap, detail)
                                : remove_file(path, entry->d_name, heap, detail);
        }
    }
    closedir(directory);
    return result;
}

int firn_store_files_wipe(const char *path, firn_heap *heap, firn_detail *detail) {
    int result = clear_blobs(path, NULL, heap, detail);
    for (unsigned i = 0; i < OWN_FILES && result == FIRN_OK; i++) {
        result = remove_file(path, own_files[i], heap, detail);
    }
    return result;
}

static int set_aside_into(const char *path, const char *aside, firn_heap *heap,
                          firn_detail *detail) {
    int result = firn_store_files_make_directory(aside, detail);
    if (result == FIRN_OK) {
        result = firn_store_files_wipe(aside, heap, detail);
    }
    if (result == FIRN_OK) {
        result = clear_blobs(path, aside, heap, detail);
    }
    for (unsigned i = 0; i < OWN_FILES && result == FIRN_OK; i++) {
        result = move_file(path, aside, own_files[i], heap, detail);
    }
    return result;
}

/* PATH.damaged, with slashes at the end of PATH left out. */
static char *aside_name(const char *path, firn_heap *heap) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    static const char suffix[] = ".damaged";
    char *name = firn_heap_zalloc(heap, length + sizeof suffix);
    if (name != NULL) {
        memcpy(name, path, length);
        memcpy(name + length, suffix, sizeof suffix);
    }
    return name;
}

int firn_store_files_set_aside(const char *path, firn_heap *heap, firn_detail *detail) {
    char *aside = aside_name(path, heap);
    if (aside == NULL) {
        return firn_detail_set(detail, FIRN_ENOMEM, "%s: no memory to set it aside", path);
    }
    int result = set_aside_into(path, aside, heap, detail);
    firn_path_free(heap, aside);
    return result;
}

/* See replace.h. */
#include "base/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <firn/error.h>

#include "base/file.h"

#define BEING_WRITTEN ".tmp"

static int failed(const firn_replacement *self, const char *path, int error) {
    return firn_detail_set(self->detail, firn_code_of_errno(error), "%s: cannot write: %s", path,
                           strerror(error));
}

static void release(firn_replacement *self) {
    if (self->fd >= 0) {
        close(self->fd);
    }
    firn_path_free(self->heap, self->directory);
    firn_path_free(self->heap, self->path);
    firn_path_free(self->heap, self->temporary);
    *self = (firn_replacement){.fd = -1};
}

static char *temporary_of(const char *path, firn_heap *heap) {
    size_t size = strlen(path) + sizeof BEING_WRITTEN;
    char *temporary = firn_heap_alloc(heap, size);
    if (temporary != NULL) {
        snprintf(temporary, size, "%s" BEING_WRITTEN, path);
    }
    return temporary;
}

int firn_replacement_begin(firn_replacement *self, const char *directory, const char *name,
                           firn_heap *heap, firn_detail *detail) {
    *self = (firn_replacement){.heap = heap, .detail = detail, .fd = -1};
    self->directory = firn_heap_strdup(heap, directory);
    self->path = firn_path_join(heap, directory, name);
    self->temporary = self->path != NULL ? temporary_of(self->path, heap) : NULL;
    if (self->directory == NULL || self->temporary == NULL) {
        release(self);
        return FIRN_ENOMEM;
    }
    self->fd = open(self->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (self->fd < 0) {
        int result = failed(self, self->temporary, errno);
        release(self);
        return result;
    }
    return FIRN_OK;
}

void firn_replacement_write(firn_replacement *self, const void *bytes, size_t size,
                            uint64_t offset) {
    if (self->error == 0 && firn_write_at(self->fd, bytes, size, offset) != 0) {
        self->error = errno;
    }
}

/* 0, or an errno. */
static int put_in_place(const firn_replacement *self) {
    if (self->error != 0) {
        return self->error;
    }
    if (fsync(self->fd) != 0 || rename(self->temporary, self->path) != 0) {
        return errno;
    }
    /* Some file systems cannot, and say EINVAL. */
    return firn_sync_directory(self->directory) == 0 || errno == EINVAL ? 0 : errno;
}

static int finish(firn_replacement *self, bool keep_old) {
    int error = put_in_place(self);
    int result = error == 0 ? FIRN_OK : failed(self, self->path, error);
    if (error != 0) {
        (void)unlink(self->temporary);
    }
    if (error != 0 && !keep_old) {
        (void)unlink(self->path);
    }
    release(self);
    return result;
}

int firn_replacement_finish(firn_replacement *self) {
    return finish(self, true);
}

int firn_replacement_finish_or_remove(firn_replacement *self) {
    return finish(self, false);
}

void firn_replacement_cancel(firn_replacement *self) {
    (void)unlink(self->temporary);
    release(self);
}

int firn_replace_file(const char *directory, const char *name, const void *bytes, size_t size,
                      firn_heap *heap, firn_detail *detail) {
    firn_replacement file;
    int result = firn_replacement_begin(&file, directory, name, heap, detail);
    if (result == FIRN_OK) {
        firn_replacement_write(&file, bytes, size, 0);
        result = firn_replacement_finish(&file);
    }
    return result;
}

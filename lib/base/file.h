/* Small file work that the system calls leave half done: short reads and writes, syncing of
 * folders, the machine's boot id. Knows nothing of what the files hold. */
#ifndef FIRN_BASE_FILE_H
#define FIRN_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/heap.h"

/* The whole of size bytes at the offset, or an error: 0, -1 with errno; a read that meets the end
 * of the file fails with errno 0. */
int firn_read_at(int fd, void *buffer, size_t size, uint64_t offset);
int firn_write_at(int fd, const void *buffer, size_t size, uint64_t offset);

/* Makes entries of a directory (a rename, a new file) durable. 0, or -1 with errno. */
int firn_sync_directory(const char *path);

/* "directory/name", terminated. NULL: no memory. Free with firn_path_free. */
char *firn_path_join(firn_heap *heap, const char *directory, const char *name);
void firn_path_free(firn_heap *heap, char *path);

/* What tells one boot of the machine from the next; zeros where the system does not say. */
void firn_boot_id(unsigned char id[16]);

/* A firn error code for an errno met while writing or reading. */
int firn_code_of_errno(int error);

#endif

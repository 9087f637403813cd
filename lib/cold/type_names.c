/* See type_names.h. */
#include "cold/type_names.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/replace.h"

#define TITLE "firn types 1\n"

enum {
    LINE_MAX = FIRN_TYPE_NAME_MAX + 16,
    FILE_MAX = (FIRN_TYPE_NAMES_MAX + 1) * LINE_MAX,
};

bool firn_type_name_valid(const char *name) {
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t size = strnlen(name, FIRN_TYPE_NAME_MAX + 1);
    return size > 0 && size <= FIRN_TYPE_NAME_MAX && strspn(name, allowed) == size;
}

uint32_t firn_type_id(const char *name) {
    uint32_t id = (uint32_t)firn_hash64(0, name, strlen(name));
    return id != 0 ? id : 1;
}

const firn_type_name *firn_type_names_find(const firn_type_names *names, uint32_t id) {
    for (size_t i = 0; i < names->count; i++) {
        if (names->names[i].id == id) {
            return &names->names[i];
        }
    }
    return NULL;
}

void firn_type_names_free(firn_type_names *names, firn_heap *heap) {
    firn_heap_free(heap, names->names, names->room * sizeof *names->names);
    *names = (firn_type_names){0};
}

static int reserve(firn_type_names *names, firn_heap *heap) {
    if (names->count < names->room) {
        return FIRN_OK;
    }
    size_t room = names->room * 2 + 8;
    firn_type_name *grown = firn_heap_alloc(heap, room * sizeof *grown);
    if (grown == NULL) {
        return FIRN_ENOMEM;
    }
    if (names->count > 0) {
        memcpy(grown, names->names, names->count * sizeof *grown);
    }
    firn_heap_free(heap, names->names, names->room * sizeof *names->names);
    names->names = grown;
    names->room = room;
    return FIRN_OK;
}

/* A line of the file, terminated. FIRN_OK also if it is none of ours. */
static int take_line(firn_type_names *names, const char *line, firn_heap *heap) {
    firn_type_name one;
    char end;
    if (sscanf(line, "%63s %u%c", one.name, &one.version, &end) != 2 ||
        !firn_type_name_valid(one.name)) {
        return FIRN_OK;
    }
    one.id = firn_type_id(one.name);
    if (firn_type_names_find(names, one.id) != NULL || names->count == FIRN_TYPE_NAMES_MAX) {
        return FIRN_OK;
    }
    int result = reserve(names, heap);
    if (result == FIRN_OK) {
        names->names[names->count++] = one;
    }
    return result;
}

static int take_lines(firn_type_names *names, char *text, firn_heap *heap) {
    if (strncmp(text, TITLE, strlen(TITLE)) != 0) {
        return FIRN_OK;
    }
    int result = FIRN_OK;
    char *rest = text + strlen(TITLE);
    for (char *line; result == FIRN_OK && (line = strsep(&rest, "\n")) != NULL;) {
        result = take_line(names, line, heap);
    }
    return result;
}

int firn_type_names_read(firn_type_names *names, const char *path, firn_heap *heap) {
    *names = (firn_type_names){0};
    char *file = firn_path_join(heap, path, FIRN_TYPE_NAMES_FILE);
    if (file == NULL) {
        return FIRN_ENOMEM;
    }
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    firn_path_free(heap, file);
    struct stat status;
    int result = FIRN_OK;
    if (fd >= 0 && fstat(fd, &status) == 0 && status.st_size > 0 && status.st_size <= FILE_MAX) {
        size_t size = (size_t)status.st_size;
        char *text = firn_heap_zalloc(heap, size + 1);
        result = text != NULL ? FIRN_OK : FIRN_ENOMEM;
        if (text != NULL && firn_read_at(fd, text, size, 0) == 0) {
            result = take_lines(names, text, heap);
        }
        firn_heap_free(heap, text, size + 1);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (result != FIRN_OK) {
        firn_type_names_free(names, heap);
    }
    return result;
}

/* In place of the file there is. */
static int write_file(const firn_type_names *names, const char *path, firn_heap *heap,
                      firn_detail *detail) {
    size_t room = sizeof TITLE + names->count * LINE_MAX;
    char *text = firn_heap_alloc(heap, room);
    if (text == NULL) {
        return FIRN_ENOMEM;
    }
    size_t size = (size_t)snprintf(text, room, "%s", TITLE);
    for (size_t i = 0; i < names->count; i++) {
        size += (size_t)snprintf(text + size, room - size, "%s %u\n", names->names[i].name,
                                 names->names[i].version);
    }
    int result = firn_replace_file(path, FIRN_TYPE_NAMES_FILE, text, size, heap, detail);
    firn_heap_free(heap, text, room);
    return result;
}

int firn_type_names_write(const firn_type_names *names, const char *path, firn_heap *heap,
                          firn_detail *detail) {
    return names->count > 0 ? write_file(names, path, heap, detail) : FIRN_OK;
}

int firn_type_names_add(firn_type_names *names, const char *path, const char *name,
                        uint32_t version, firn_heap *heap, firn_detail *detail) {
    uint32_t id = firn_type_id(name);
    for (size_t i = 0; i < names->count; i++) {
        firn_type_name *known = &names->names[i];
        uint32_t before = known->version;
        if (known->id == id) {
            if (version <= before) {
                return FIRN_OK;
            }
            known->version = version;
            int result = write_file(names, path, heap, detail);
            known->version = result == FIRN_OK ? version : before;
            return result;
        }
    }
    if (names->count == FIRN_TYPE_NAMES_MAX) {
        return firn_detail_set(detail, FIRN_ENOSPC,
                               "%s: the store remembers %d types already, which is the most", path,
                               FIRN_TYPE_NAMES_MAX);
    }
    int result = reserve(names, heap);
    if (result != FIRN_OK) {
        return result;
    }
    firn_type_name *added = &names->names[names->count++];
    *added = (firn_type_name){.id = id, .version = version};
    snprintf(added->name, sizeof added->name, "%s", name);
    result = write_file(names, path, heap, detail);
    names->count -= result == FIRN_OK ? 0 : 1;
    return result;
}

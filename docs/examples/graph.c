/* Links that depend: results that become invalid by themselves when what they were made from does.
 *
 *     cc graph.c $(pkg-config --cflags --libs firn) -o graph
 *     ./graph FOLDER    # again after a change of a file: only what it touches is computed
 *
 * counts the words of all files in a folder. What is computed depends, by links, on what it was
 * computed from:
 *
 *     report FOLDER -> total FOLDER -> listing FOLDER       (the names in it)
 *                                   -> words FILE -> source FILE       (its time and size)
 *                                   -> total FOLDER/SUB -> ...
 *
 * The program first tells the cache of what has changed in the file system: it puts a source or a
 * listing that is not as it was. That is all there is to invalidation: in the same call the cache
 * deletes what depends on it, over any number of links, in memory and on disk. Then it asks for the
 * report, and whatever is missing on the way is computed.
 *
 * Without arguments it makes a small folder, changes a file in it, and so on, to show that. The
 * store is graph-store. */
#include "example.h"

#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <unistd.h>

#define STORE "graph-store"

enum { KEY_MAX = 4096 + 16, TRIES = 10 };

static unsigned computed; /* since the build began */

static size_t make_key(char *key, const char *kind, const char *path) {
    int length = snprintf(key, KEY_MAX, "%s %s", kind, path);
    if (length < 0 || length >= KEY_MAX) {
        fail("%s: the path is too long", path);
    }
    return (size_t)length;
}

static char *join(const char *folder, const char *name) {
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = allocate(size);
    snprintf(path, size, "%s/%s", folder, name);
    return path;
}

/* ---- what a result is made from ---- */

/* The links of a result in the making. Each remembers the version of what was read: if that is not
 * the newest any more when the result is put, the put fails, and nothing stale gets in. */
typedef struct links {
    firn_link *items;
    size_t count;
} links;

static void add_link(links *self, const firn_object *target) {
    self->items = realloc(self->items, (self->count + 1) * sizeof *self->items);
    if (self->items == NULL) {
        fail("out of memory");
    }
    firn_link *link = &self->items[self->count++];
    size_t key_size;
    const void *key = firn_object_key(target, &key_size);
    void *copy = allocate(key_size);
    memcpy(copy, key, key_size);
    *link = (firn_link){FIRN_LINK_DEPENDS, copy, key_size, firn_object_version(target)};
}

static void free_links(links *self) {
    for (size_t i = 0; i < self->count; i++) {
        free((void *)(uintptr_t)self->items[i].key);
    }
    free(self->items);
    *self = (links){NULL, 0};
}

/* A computation: from the path to a value, noting what it reads. The caller frees the value. */
typedef char *(*computation)(firn_cache *cache, const char *path, links *from);

/* The result of a computation: of the cache, or computed and put. The caller drops the reference,
 * and has a link to it in `from` (which may be NULL). */
static firn_object *get_result(firn_cache *cache, const char *kind, const char *path,
                               computation compute, links *from) {
    char key[KEY_MAX];
    size_t key_size = make_key(key, kind, path);
    firn_object *object;
    int result = firn_get(cache, key, key_size, &object);
    for (int tries = 0; result == FIRN_NOT_FOUND || result == FIRN_CONFLICT; tries++) {
        if (tries == TRIES) {
            fail("%s: what it is made from keeps changing", key);
        }
        links made_from = {NULL, 0};
        char *value = compute(cache, path, &made_from);
        firn_put_options options = FIRN_PUT_OPTIONS_INIT;
        options.links = made_from.items;
        options.link_count = made_from.count;
        /* As an object rather than by firn_put: so its version is known. */
        check(cache, firn_object_new(cache, key, key_size, strlen(value) + 1, &options, &object),
              key);
        memcpy(firn_object_value(object), value, strlen(value) + 1);
        result = firn_put_object(cache, object);
        if (result == FIRN_OK) {
            printf("  computed: %s\n", key);
            computed++;
        } else {
            firn_object_unref(object);
        }
        free(value);
        free_links(&made_from);
    }
    check(cache, result, key);
    if (from != NULL) {
        add_link(from, object);
    }
    return object;
}

/* ---- the computations; values are strings ---- */

static firn_object *get_source(firn_cache *cache, const char *kind, const char *path, links *from) {
    char key[KEY_MAX];
    size_t key_size = make_key(key, kind, path);
    firn_object *object;
    check(cache, firn_get(cache, key, key_size, &object), key);
    add_link(from, object);
    return object;
}

static char *count_words(firn_cache *cache, const char *path, links *from) {
    firn_object_unref(get_source(cache, "source", path, from)); /* before the file is read */
    size_t size;
    char *text = read_file(path, &size);
    unsigned long words = 0;
    bool inside = false;
    for (size_t i = 0; i < size; i++) {
        bool space = isspace((unsigned char)text[i]) != 0;
        words += !space && !inside;
        inside = !space;
    }
    free(text);
    char *value = allocate(32);
    snprintf(value, 32, "%lu", words);
    return value;
}

static char *add_up(firn_cache *cache, const char *path, links *from) {
    unsigned long words = 0;
    firn_object *listing = get_source(cache, "listing", path, from);
    /* Lines of a kind and a name: f for files, d for folders. */
    for (const char *line = firn_object_data(listing); *line != '\0'; line += strlen(line) + 1) {
        char *inner = join(path, line + 1);
        firn_object *part = line[0] == 'd' ? get_result(cache, "total", inner, add_up, from)
                                           : get_result(cache, "words", inner, count_words, from);
        words += strtoul(firn_object_data(part), NULL, 10);
        firn_object_unref(part);
        free(inner);
    }
    firn_object_unref(listing);
    char *value = allocate(32);
    snprintf(value, 32, "%lu", words);
    return value;
}

static char *report(firn_cache *cache, const char *path, links *from) {
    firn_object *total = get_result(cache, "total", path, add_up, from);
    size_t size = strlen(path) + 64;
    char *value = allocate(size);
    snprintf(value, size, "%s: %s words", path, (const char *)firn_object_data(total));
    firn_object_unref(total);
    return value;
}

/* ---- what the file system says ---- */

/* Puts what is told of a file or folder unless it is there and the same: a put, even of the same
 * value, makes what depends on it invalid. */
static void put_if_changed(firn_cache *cache, const char *kind, const char *path, const void *value,
                           size_t size) {
    char key[KEY_MAX];
    size_t key_size = make_key(key, kind, path);
    firn_object *object;
    int result = firn_get(cache, key, key_size, &object);
    bool same = false;
    if (result == FIRN_OK) {
        same =
            firn_object_size(object) == size && memcmp(firn_object_data(object), value, size) == 0;
        firn_object_unref(object);
    } else if (result != FIRN_NOT_FOUND) {
        check(cache, result, key);
    }
    if (!same) {
        printf("  changed: %s\n", key);
        check(cache, firn_put(cache, key, key_size, value, size, NULL), key);
    }
}

static void look_at_folder(firn_cache *cache, const char *path) {
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);
    if (count < 0) {
        fail("%s: %s", path, strerror(errno));
    }
    char *listing = allocate(1);
    size_t listing_size = 0;
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        char *inner = join(path, name);
        struct stat status;
        bool skip = name[0] == '.' || strcmp(name, STORE) == 0 || lstat(inner, &status) != 0;
        if (!skip && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))) {
            size_t line = strlen(name) + 2;
            listing = realloc(listing, listing_size + line + 1);
            if (listing == NULL) {
                fail("out of memory");
            }
            listing[listing_size] = S_ISDIR(status.st_mode) ? 'd' : 'f';
            memcpy(listing + listing_size + 1, name, line - 1);
            listing_size += line;
            if (S_ISDIR(status.st_mode)) {
                look_at_folder(cache, inner);
            } else {
                const int64_t stamp[] = {status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
                                         status.st_size};
                put_if_changed(cache, "source", inner, stamp, sizeof stamp);
            }
        }
        free(inner);
        free(names[i]);
    }
    listing[listing_size] = '\0'; /* an empty line is the end */
    put_if_changed(cache, "listing", path, listing, listing_size + 1);
    free(listing);
    free(names);
}

/* Opens the store, brings the report up to date, prints it, and closes the store: each build might
 * be another run of the program. */
static void build(const char *folder) {
    firn_cache *cache = open_store(STORE);
    computed = 0;
    look_at_folder(cache, folder);
    firn_object *object = get_result(cache, "report", folder, report, NULL);
    firn_stats stats = FIRN_STATS_INIT;
    check(cache, firn_get_stats(cache, &stats), "firn_get_stats");
    printf("%s (%llu results became invalid, %u were computed)\n",
           (const char *)firn_object_data(object), (unsigned long long)stats.invalidated, computed);
    firn_object_unref(object);
    close_store(cache);
}

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0) {
        fail("%s: %s", path, strerror(errno));
    }
}

static void make_folder(const char *path) {
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        fail("%s: %s", path, strerror(errno));
    }
}

int main(int argc, char **argv) {
    if (argc > 2) {
        fprintf(stderr, "usage: %s [FOLDER]\n", argv[0]);
        return 2;
    }
    if (argc == 2) {
        build(argv[1]);
        return 0;
    }
    make_folder("graph-folder");
    make_folder("graph-folder/fruit");
    make_folder("graph-folder/trees");
    write_file("graph-folder/fruit/apple", "round and red\n");
    write_file("graph-folder/fruit/pear", "green\n");
    write_file("graph-folder/trees/oak", "old and tall\n");
    build("graph-folder");
    puts("Nothing changed:");
    build("graph-folder");
    puts("One file changed:");
    write_file("graph-folder/fruit/pear", "green or yellow\n");
    build("graph-folder");
    puts("A file is gone:");
    if (unlink("graph-folder/trees/oak") != 0) {
        fail("graph-folder/trees/oak: %s", strerror(errno));
    }
    build("graph-folder");
    return 0;
}

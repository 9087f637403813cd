/* Live structures in a cache: configuration files, parsed once and used in place.
 *
 *     cc parsed.c $(pkg-config --cflags --libs firn) -o parsed
 *     ./parsed SECTION.NAME FILE...    # ./parsed core.bare .git/config
 *
 * looks a setting up in files of the form
 *
 *     [section]
 *     name = value    ; comments stand on lines of their own, behind ; or #
 *
 * Without arguments it looks into a few of its own. What a file says is parsed into a structure
 * that owns memory, and that structure is what the cache holds: while it is hot a lookup follows
 * its pointers, with nothing copied or parsed. When it leaves memory it is encoded, and when it is
 * wanted again decoded. The program looks three times: at what is in the store parsed-store from
 * an earlier run, then at what the first look brought into memory, then after opening it anew. */
#include "example.h"

#include <stdbool.h>

typedef struct setting {
    const char *section; /* three strings in the text of the config */
    const char *name;
    const char *value;
} setting;

/* A parsed file. This is the value in the cache; text and settings are memory that it owns. */
typedef struct config {
    int64_t stamp[3]; /* of the file it was parsed from: seconds, nanoseconds, size */
    char *text;
    size_t text_size;
    setting *settings;
    size_t count;
} config;

/* How often what happened, beside what firn_get_stats counts. The functions of a type may be called
 * from any thread: in a program with threads these would have to be atomic. */
typedef struct tally {
    unsigned parsed;
    unsigned encoded;
    unsigned decoded;
    unsigned dropped;
} tally;

static tally counts;

/* ---- the type: what the cache has to know of a config ---- */

/* What it takes beside sizeof(config), so that hot_bytes is a bound of all memory. */
static size_t config_charge(void *context, const void *value, size_t value_size) {
    (void)context;
    (void)value_size;
    const config *self = value;
    return self->text_size + self->count * sizeof(setting);
}

/* The stamp, then each setting as three strings with their zeros. Pointers mean nothing on disk. */
static int config_encode(void *context, const void *value, size_t value_size,
                         firn_encoder *encoder) {
    (void)value_size;
    const config *self = value;
    int result = firn_encode_bytes(encoder, self->stamp, sizeof self->stamp);
    for (size_t i = 0; i < self->count && result == FIRN_OK; i++) {
        const char *parts[] = {self->settings[i].section, self->settings[i].name,
                               self->settings[i].value};
        for (int part = 0; part < 3 && result == FIRN_OK; part++) {
            result = firn_encode_bytes(encoder, parts[part], strlen(parts[part]) + 1);
        }
    }
    ((tally *)context)->encoded++;
    return result;
}

/* The opposite. The bytes have passed a checksum, but another program may have written them: they
 * are looked at as any input. Whatever is returned but FIRN_OK, nothing may be left allocated. */
static int config_decode(void *context, uint32_t version, const void *bytes, size_t size,
                         void *value, size_t value_size) {
    (void)version; /* there is only one */
    (void)value_size;
    config *self = value;
    if (size < sizeof self->stamp) {
        return FIRN_EINVAL;
    }
    memcpy(self->stamp, bytes, sizeof self->stamp);
    const char *strings = (const char *)bytes + sizeof self->stamp;
    self->text_size = size - sizeof self->stamp;
    size_t zeros = 0;
    for (size_t i = 0; i < self->text_size; i++) {
        zeros += strings[i] == '\0';
    }
    if (zeros % 3 != 0 || (self->text_size > 0 && strings[self->text_size - 1] != '\0')) {
        return FIRN_EINVAL;
    }
    self->count = zeros / 3;
    self->text = malloc(self->text_size + 1);
    self->settings = malloc(self->count * sizeof(setting) + 1);
    if (self->text == NULL || self->settings == NULL) {
        free(self->text);
        free(self->settings);
        return FIRN_ENOMEM;
    }
    memcpy(self->text, strings, self->text_size);
    const char *at = self->text;
    for (size_t i = 0; i < self->count; i++) {
        const char **parts[] = {&self->settings[i].section, &self->settings[i].name,
                                &self->settings[i].value};
        for (int part = 0; part < 3; part++) {
            *parts[part] = at;
            at += strlen(at) + 1;
        }
    }
    ((tally *)context)->decoded++;
    return FIRN_OK;
}

/* Called exactly once for each, when nobody uses it any more. The config itself is the cache's. */
static void config_drop(void *context, void *value, size_t value_size) {
    (void)value_size;
    config *self = value;
    free(self->text);
    free(self->settings);
    ((tally *)context)->dropped++;
}

static const firn_type config_type = {.size = sizeof(firn_type),
                                      .name = "example.config",
                                      .version = 1,
                                      .value_size = sizeof(config),
                                      .context = &counts,
                                      .charge = config_charge,
                                      .encode = config_encode,
                                      .decode = config_decode,
                                      .drop = config_drop};

/* ---- the parser ---- */

/* Ends the string before the white space at its end, and returns where it begins behind that at its
 * start. */
static char *trim(char *text) {
    text += strspn(text, " \t\r");
    size_t length = strlen(text);
    while (length > 0 && strchr(" \t\r", text[length - 1]) != NULL) {
        length--;
    }
    text[length] = '\0';
    return text;
}

/* Parses the text in place: the strings of the settings are pieces of it. */
static void parse(config *self, const char *path, char *text, size_t size) {
    self->text = text;
    self->text_size = size + 1;
    if (strlen(text) != size) {
        fail("%s: not a text", path);
    }
    const char *section = "";
    char *next = NULL;
    size_t room = 0;
    unsigned number = 1;
    for (char *line = text; line != NULL; line = next, number++) {
        next = strchr(line, '\n');
        if (next != NULL) {
            *next++ = '\0';
        }
        line = trim(line);
        size_t length = strlen(line);
        char *equals = strchr(line, '=');
        if (length == 0 || line[0] == ';' || line[0] == '#') {
            continue;
        }
        if (line[0] == '[' && line[length - 1] == ']') {
            line[length - 1] = '\0';
            section = trim(line + 1);
            continue;
        }
        if (equals == NULL) {
            fail("%s:%u: neither [section] nor name = value", path, number);
        }
        *equals = '\0';
        if (self->count == room) {
            room = room * 2 + 8;
            self->settings = realloc(self->settings, room * sizeof(setting));
            if (self->settings == NULL) {
                fail("out of memory");
            }
        }
        self->settings[self->count++] = (setting){section, trim(line), trim(equals + 1)};
    }
    counts.parsed++;
}

/* ---- the cache in front of the parser ---- */

/* The file's config, of the cache or parsed anew if the file has changed since. The caller drops
 * the reference; until then the config stays where it is, whatever happens to its entry. */
static firn_object *get_config(firn_cache *cache, const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) {
        fail("%s: %s", path, strerror(errno));
    }
    const int64_t stamp[3] = {status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_size};
    firn_object *object;
    int result = firn_get(cache, path, strlen(path), &object);
    if (result == FIRN_OK) {
        const config *found = firn_object_data(object);
        if (memcmp(found->stamp, stamp, sizeof stamp) == 0) {
            return object;
        }
        firn_object_unref(object);
    } else if (result != FIRN_NOT_FOUND) {
        check(cache, result, path);
    }

    /* An object of a type is zeroed, and filled in place. */
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.type = &config_type;
    check(cache, firn_object_new(cache, path, strlen(path), sizeof(config), &options, &object),
          path);
    config *made = firn_object_value(object);
    memcpy(made->stamp, stamp, sizeof stamp);
    size_t size;
    char *text = read_file(path, &size);
    parse(made, path, text, size);
    check(cache, firn_put_object(cache, object), path);
    return object;
}

/* One look at all files. */
static void look(firn_cache *cache, const char *title, const char *wanted, char **paths,
                 bool show) {
    const tally before = counts;
    firn_stats stats_before = FIRN_STATS_INIT;
    check(cache, firn_get_stats(cache, &stats_before), "firn_get_stats");
    for (; *paths != NULL; paths++) {
        firn_object *object = get_config(cache, *paths);
        const config *settings = firn_object_data(object);
        const char *value = NULL;
        for (size_t i = 0; i < settings->count; i++) { /* the last one holds */
            const setting *one = &settings->settings[i];
            size_t length = strlen(one->section);
            if (strncmp(wanted, one->section, length) == 0 && wanted[length] == '.' &&
                strcmp(wanted + length + 1, one->name) == 0) {
                value = one->value;
            }
        }
        if (show) {
            printf("%s: %s = %s\n", *paths, wanted, value != NULL ? value : "(not set)");
        }
        firn_object_unref(object);
    }
    firn_stats stats = FIRN_STATS_INIT;
    check(cache, firn_get_stats(cache, &stats), "firn_get_stats");
    printf("%s: %u parsed, %llu found in memory, %llu on disk (%u decoded)\n", title,
           counts.parsed - before.parsed,
           (unsigned long long)(stats.hot_hits - stats_before.hot_hits),
           (unsigned long long)(stats.cold_hits - stats_before.cold_hits),
           counts.decoded - before.decoded);
}

static firn_cache *open_typed(void) {
    firn_cache *cache = open_store("parsed-store");
    /* Before anything is got: entries of a type that is not known give FIRN_ETYPE. */
    check(cache, firn_register_type(cache, &config_type), "firn_register_type");
    return cache;
}

int main(int argc, char **argv) {
    static char *own[] = {"parsed-one.ini", "parsed-two.ini", NULL};
    const char *wanted = "server.port";
    char **paths = own;
    if (argc == 2) {
        fprintf(stderr, "usage: %s [SECTION.NAME FILE...]\n", argv[0]);
        return 2;
    }
    if (argc > 2) {
        wanted = argv[1];
        paths = argv + 2;
    } else {
        for (int i = 0; own[i] != NULL; i++) {
            struct stat status;
            FILE *file = stat(own[i], &status) == 0 ? NULL : fopen(own[i], "w");
            if (file != NULL) {
                fprintf(file, "# made by the example\n[server]\nname = %s\nport = %d\n", own[i],
                        8000 + i);
                fclose(file);
            }
        }
    }
    firn_cache *cache = open_typed();
    look(cache, "first look", wanted, paths, true);
    look(cache, "second look", wanted, paths, false);
    close_store(cache); /* what is not on disk yet is encoded and written */
    cache = open_typed();
    look(cache, "opened anew", wanted, paths, false);
    close_store(cache);
    printf("%u encoded; %u parsed or decoded, %u dropped\n", counts.encoded,
           counts.parsed + counts.decoded, counts.dropped);
    return 0;
}

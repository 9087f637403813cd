/* A store with every kind of attribute: entries of types, whose names it knows or not, with links,
 * and owned. Written through the cold tier, so that each record is as it is told here. For the
 * suites of stores, and for the program that test_program.sh runs. */
#ifndef FIRN_TESTS_LINKED_STORE_H
#define FIRN_TESTS_LINKED_STORE_H

#include <stdio.h>
#include <string.h>

#include <firn/firn.h>

#include "base/hash.h"
#include "base/links.h"
#include "cold/cold.h"
#include "cold/links_file.h"
#include "cold/type_names.h"

enum { LINKED_STORE_LARGE = 9000 }; /* the size of a value that is not read for its head */

typedef struct linked_entry {
    const char *key;
    const char *value; /* NULL: LINKED_STORE_LARGE letters */
    const char *type;  /* NULL: bytes */
    uint32_t type_version;
    bool owned;
    unsigned link_count;
    firn_link links[3];
} linked_entry;

static const linked_entry linked_entries[] = {
    {"plain", "as ever", NULL, 0, false, 0, {{0}}},
    {"typed", "an encoded graph", "graph", 2, false, 0, {{0}}},
    {"stranger", "who knows", "nobody.knows", 9, false, 0, {{0}}},
    {"chunk", "one part", NULL, 0, true, 0, {{0}}},
    {"manifest",
     "two parts",
     NULL,
     0,
     false,
     3,
     {{FIRN_LINK_KEEPS, "chunk", 5, 0},
      {FIRN_LINK_KEEPS, "\x00\xff\t", 3, 0},
      {FIRN_LINK_DEPENDS, "typed", 5, 300}}},
    {"all", NULL, "graph", 3, true, 1, {{FIRN_LINK_DEPENDS, "plain", 5, 7}}},
};

enum { LINKED_ENTRIES = sizeof linked_entries / sizeof linked_entries[0] };

static inline const char *linked_value(const linked_entry *entry, size_t *size) {
    static char large[LINKED_STORE_LARGE];
    memset(large, 'l', sizeof large);
    *size = entry->value != NULL ? strlen(entry->value) : sizeof large;
    return entry->value != NULL ? entry->value : large;
}

typedef struct linked_links {
    const linked_entry *expected;
    unsigned count;
} linked_links;

/* Another than was expected: 1. */
static inline int compare_link(void *context, const firn_link *link) {
    linked_links *self = context;
    const firn_link *expected = &self->expected->links[self->count];
    return self->count++ == self->expected->link_count || link->kind != expected->kind ||
           link->version != expected->version || link->key_size != expected->key_size ||
           memcmp(link->key, expected->key, link->key_size) != 0;
}

/* Whether it is the one that is told; with its value, or without. */
static inline bool is_linked_entry(const firn_store_entry *entry, const linked_entry *expected,
                                   bool with_value) {
    size_t size;
    const char *value = linked_value(expected, &size);
    linked_links links = {expected, 0};
    return entry->key_size == strlen(expected->key) &&
           memcmp(entry->key, expected->key, entry->key_size) == 0 && entry->value_size == size &&
           (entry->value != NULL) == with_value &&
           (!with_value || memcmp(entry->value, value, size) == 0) &&
           entry->type_id == (expected->type != NULL ? firn_type_id(expected->type) : 0) &&
           (entry->type != NULL) == (expected->type != NULL) &&
           entry->type_version == expected->type_version &&
           (entry->owned != 0) == expected->owned && entry->link_count == expected->link_count &&
           firn_store_entry_links(entry, compare_link, &links) == 0 &&
           links.count == expected->link_count;
}

/* ---- writing ---- */

static inline int write_linked_item(firn_cold *cold, firn_cold_item *item) {
    item->hash = firn_hash64(firn_cold_seed(cold), item->key, item->key_size);
    int result = firn_cold_write(cold, item, 1, item->version + 1);
    return result == FIRN_OK ? item->result : result;
}

static inline int write_linked_entry(firn_cold *cold, const linked_entry *entry, uint64_t version,
                                     firn_heap *heap) {
    firn_links *links = firn_links_new(heap, entry->links, entry->link_count);
    if (links == NULL) {
        return FIRN_ENOMEM;
    }
    firn_cold_item item = {
        .version = version,
        .key = entry->key,
        .key_size = strlen(entry->key),
        .attributes = {.type = entry->type != NULL ? firn_type_id(entry->type) : 0,
                       .type_version = entry->type_version,
                       .owned = entry->owned,
                       .links = links->bytes,
                       .links_size = links->size},
    };
    item.value = linked_value(entry, &item.value_size);
    int result = write_linked_item(cold, &item);
    firn_links_unref(links, heap);
    return result;
}

static inline int write_linked_entries(firn_cold *cold, firn_heap *heap) {
    firn_type_names names = {0};
    const char *path = firn_cold_path(cold);
    int result = firn_type_names_add(&names, path, "graph", 3, heap, NULL);
    if (result == FIRN_OK) {
        result = firn_type_names_add(&names, path, "idle", 1, heap, NULL);
    }
    if (result == FIRN_OK) {
        result = firn_links_file_mark_dirty(path, firn_cold_store_id(cold), heap, NULL);
    }
    for (unsigned i = 0; i < LINKED_ENTRIES && result == FIRN_OK; i++) {
        result = write_linked_entry(cold, &linked_entries[i], 1000 + i, heap);
    }
    firn_type_names_free(&names, heap);
    return result;
}

/* Opens the cold tier of a store, which may be new, has it changed, and closes it. Returns FIRN_OK
 * or what failed. */
static inline int change_store(const char *path,
                               int (*change)(firn_cold *cold, void *context, firn_heap *heap),
                               void *context) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_detail detail;
    firn_cold *cold = NULL;
    if (heap == NULL || firn_detail_init(&detail) != 0) {
        return FIRN_ENOMEM;
    }
    firn_cold_config config = {.path = path,
                               .heap = heap,
                               .detail = &detail,
                               .budget_bytes = 8 << 20,
                               .compression_level = 3,
                               .compression_min_bytes = 64};
    int result = firn_cold_open(&cold, &config);
    if (result == FIRN_OK) {
        result = change(cold, context, heap);
        int closed = firn_cold_close(cold, result == FIRN_OK);
        result = result == FIRN_OK ? closed : result;
    }
    firn_detail_fini(&detail);
    firn_heap_unref(heap);
    return result;
}

static inline int write_all_linked(firn_cold *cold, void *item, firn_heap *heap) {
    int result = write_linked_entries(cold, heap);
    return result == FIRN_OK && item != NULL ? write_linked_item(cold, item) : result;
}

/* Makes the store at a path where nothing is; and an entry "odd" in it that has these attributes,
 * which need not be sound. */
static inline int make_odd_linked_store(const char *path, const firn_attributes *attributes) {
    firn_cold_item item = {.version = 2000, .key = "odd", .key_size = 3, .attributes = *attributes};
    return change_store(path, write_all_linked, &item);
}

static inline int make_linked_store(const char *path) {
    return change_store(path, write_all_linked, NULL);
}

static inline int remove_hash(firn_cold *cold, void *context, firn_heap *heap) {
    (void)heap;
    const uint64_t *hash = context;
    firn_cold_item item = {.hash = *hash, .version = 1 << 30, .remove = true};
    return firn_cold_write(cold, &item, 1, firn_cold_version_next(cold));
}

/* Takes away the record of a hash, as if it had been reclaimed. */
static inline int remove_record(const char *path, uint64_t hash) {
    return change_store(path, remove_hash, &hash);
}

/* ---- values that are shared ---- */

enum { INTERNED_ENTRIES = 3, INTERNED_SIZE = 2000 };

/* Makes a store of entries "twin 0" and so on that share a value of INTERNED_SIZE letters, the last
 * with a link of its own, and one "plain". */
static inline int make_interned_store(const char *path) {
    static char value[INTERNED_SIZE];
    static const firn_link link = {FIRN_LINK_KEEPS, "plain", 5, 0};
    firn_options options = FIRN_OPTIONS_INIT;
    firn_put_options put = FIRN_PUT_OPTIONS_INIT;
    firn_cache *cache;
    options.threads = 0;
    options.cold_bytes = 8 << 20;
    put.intern = FIRN_INTERN_YES;
    memset(value, 'i', sizeof value);
    int result = firn_open(&cache, path, &options);
    if (result != FIRN_OK) {
        return result;
    }
    result = firn_put(cache, "plain", 5, "as ever", 7, NULL);
    for (unsigned i = 0; i < INTERNED_ENTRIES && result == FIRN_OK; i++) {
        char key[16];
        int size = snprintf(key, sizeof key, "twin %u", i);
        put.links = &link;
        put.link_count = i == INTERNED_ENTRIES - 1;
        result = firn_put(cache, key, (size_t)size, value, sizeof value, &put);
    }
    int closed = firn_close(cache);
    return result == FIRN_OK ? closed : result;
}

#endif
